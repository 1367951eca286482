// bench/peers/darkbird/src/main.rs - the workload on darkbird.
//
//     peer_darkbird SYSTEM N THREADS PHASES SHARE FOLDER
//
// What    loads N documents, then the phases asked for in the workload's order, each checked.
//         SHARE of the operations are done. FOLDER: where darkbird makes its empty log.
// Owns    the storage, and a plain copy of what the documents must say (stage.rs).
// Sees    RESULT and WRONG lines on stdout as bench/peers/README.md says; a WRONG ends it.
// Threads the workers are threads of their own; record i is written by worker i % threads only.
//
// darkbird has no update: a document is removed and inserted again, and for a moment it is not
// there. It has no highest n either: a window of scores is asked for, twice as large until it holds
// enough, and sorted here.
//
// SPDX-License-Identifier: Apache-2.0
mod stage;

use darkbird::document::{Document, FullText, Indexer, MaterializedView, Range, RangeField, Tags};
use darkbird::{Options, Storage, StorageType};
use serde::{Deserialize, Serialize};
use stage::{below, digits, guild_count, guild_of, mix, score_of, Found, Operation, Stage};
use std::collections::HashSet;
use tokio::runtime::Handle;

const BATCH: usize = 64;

#[derive(Clone, Serialize, Deserialize)]
pub struct Player {
    name: String,
    email: String,
    score: u64,
    tags: Vec<String>,
    bio: String,
    gold: u64,
}

impl Document for Player {}
impl Indexer for Player {
    fn extract(&self) -> Vec<String> {
        vec![self.name.clone(), self.email.clone()]
    }
}
impl Tags for Player {
    fn get_tags(&self) -> Vec<String> {
        self.tags.clone()
    }
}
impl Range for Player {
    fn get_fields(&self) -> Vec<RangeField> {
        vec![RangeField { name: "score".to_string(), value: score_text(self.score) }]
    }
}
impl MaterializedView for Player {
    fn filter(&self) -> Option<String> {
        None
    }
}
impl FullText for Player {
    fn get_content(&self) -> Option<String> {
        None
    }
}

type Players = Storage<String, Player>;

// ---- records ----

fn key_of(i: u32) -> String {
    digits("p00000000", 1, 8, i)
}
fn email_of(i: u32) -> String {
    digits("u00000000@example.net", 1, 8, i)
}
fn guild_text(guild: u32) -> String {
    digits("guild:000000", 6, 6, guild)
}
fn lang_text(lang: u32) -> String {
    digits("lang:0", 5, 1, lang)
}
/// Ranges compare texts, so that all must have the same length.
fn score_text(score: u64) -> String {
    digits("00000000", 0, 8, score as u32)
}
fn absent_key_of(i: u32) -> String {
    let mut key = key_of(i);
    let last = key.pop().unwrap() as u8 - b'0' + b'a';
    key.push(last as char);
    key
}

fn player_of(i: u32, email_from: u32, version: u64, count: u32) -> Player {
    Player {
        name: digits("player_00000000", 7, 8, i),
        email: email_of(email_from),
        score: score_of(i, version, count),
        tags: vec![guild_text(guild_of(i, version, count)), lang_text((mix(i as u64) % 8) as u32)],
        bio: "b".repeat(64),
        gold: 0,
    }
}

// ---- operations ----

async fn insert(players: &Players, i: u32, email_from: u32, count: u32) -> bool {
    players.insert(key_of(i), player_of(i, email_from, 0, count)).await.is_ok()
}

fn score_by_key(players: &Players, key: String) -> Option<u64> {
    players.lookup(&key).map(|player| player.score)
}

fn between(players: &Players, from: u64, to: u64) -> Found {
    let mut all = Found::default();
    for player in players.range("score", score_text(from), score_text(to)) {
        all.add(player.score);
    }
    all
}

fn top(players: &Players, highest: u64, limit: usize) -> Found {
    let mut width = 128;
    loop {
        let from = (highest + 1).saturating_sub(width);
        let found = players.range("score", score_text(from), score_text(highest + 1));
        if found.len() >= limit || from == 0 {
            let mut scores: Vec<u64> = found.iter().map(|player| player.score).collect();
            scores.sort_unstable_by(|a, b| b.cmp(a));
            let mut all = Found::default();
            scores.iter().take(limit).for_each(|score| all.add(*score));
            return all;
        }
        width *= 2;
    }
}

/// Language 8 is any.
fn tagged(players: &Players, guild: u32, lang: u32) -> Found {
    let mut all = Found::default();
    let other = lang_text(lang);
    for player in players.lookup_by_tag(&guild_text(guild)) {
        if lang == 8 || player.tags[1] == other {
            all.add(player.score);
        }
    }
    all
}

async fn replace(players: &Players, key: String, player: Player) -> bool {
    players.remove(key.clone()).await.is_ok() && players.insert(key, player).await.is_ok()
}

async fn update(players: &Players, i: u32, version: u64, count: u32) -> bool {
    replace(players, key_of(i), player_of(i, i, version, count)).await
}

async fn patch(players: &Players, i: u32) -> bool {
    let key = key_of(i);
    let player = players.lookup(&key).map(|player| player.value().clone());
    match player {
        Some(mut player) => {
            player.gold += 1;
            replace(players, key, player).await
        }
        None => false,
    }
}

async fn remove(players: &Players, i: u32) -> bool {
    let key = key_of(i);
    players.lookup(&key).is_some() && players.remove(key).await.is_ok()
}

// ---- phases ----

struct Bench {
    stage: Stage,
    players: Players,
    handle: Handle,
}

impl Bench {
    fn load(&mut self, wanted: &HashSet<&str>) {
        let count = self.stage.count;
        let order = stage::shuffled(count, stage::SEED_ORDER);
        let before = stage::resident();
        let (all, seconds) = self.writes("insert", &order, |players, op| async move {
            insert(players, op.i, op.i, count).await
        });
        self.stage.check("insert", all, Found { count: order.len() as u64, sum: 0 });
        if self.players.collection_len() != count as usize {
            self.stage.wrong("insert", "the number of documents is another");
        }
        if wanted.contains("insert") {
            self.stage.result("insert", order.len() as f64 / seconds, "docs/s");
        }
        if wanted.contains("memory") {
            let encoded: u64 =
                (0..count).map(|i| stage::encoded_size(self.stage.score[i as usize])).sum();
            let bytes = stage::resident() as i64 - before as i64 - encoded as i64;
            self.stage.result("memory", bytes as f64 / count as f64, "bytes");
        }
    }

    /// Lets the workers read: each operation adds what it found.
    fn reads(
        &self,
        phase: &str,
        million: f64,
        limit: u32,
        seed: u64,
        unit: &str,
        one: impl Fn(&Players, u32, &mut Found) + Sync,
        wanted: impl Fn(&Stage, u32) -> Found,
    ) {
        let chosen = stage::picks(self.stage.operations(million), limit, seed);
        let hands = self.stage.deal(&chosen, false);
        let (got, seconds) = stage::run(&hands, |hand: &[Operation]| {
            let mut all = Found::default();
            hand.iter().for_each(|op| one(&self.players, op.i, &mut all));
            all
        });
        let mut all = Found::default();
        chosen.iter().for_each(|i| all.join(wanted(&self.stage, *i)));
        self.stage.check(phase, got, all);
        self.stage.result(phase, chosen.len() as f64 / seconds, unit);
    }

    /// Lets the workers write: each operation says whether it went as it should.
    fn writes<'a, Fut: std::future::Future<Output = bool>>(
        &'a self,
        _phase: &str,
        chosen: &[u32],
        one: impl Fn(&'a Players, Operation) -> Fut + Sync,
    ) -> (Found, f64) {
        let hands = self.stage.deal(chosen, true);
        stage::run(&hands, |hand: &[Operation]| {
            self.handle.block_on(async {
                let mut all = Found::default();
                for op in hand {
                    if one(&self.players, *op).await {
                        all.add(0);
                    }
                }
                all
            })
        })
    }

    fn get_many(&self) {
        let chosen = stage::picks(self.stage.operations(2e6), self.stage.count, stage::SEED_MANY);
        let hands = self.stage.deal(&chosen, false);
        let (got, seconds) = stage::run(&hands, |hand: &[Operation]| {
            let mut all = Found::default();
            for part in hand.chunks(BATCH) {
                let keys = part.iter().map(|op| key_of(op.i)).collect();
                self.players.gets_by_value(keys).iter().for_each(|player| all.add(player.score));
            }
            all
        });
        let mut all = Found::default();
        chosen.iter().for_each(|i| all.add(self.stage.score[*i as usize]));
        self.stage.check("get_many", got, all);
        self.stage.result("get_many", chosen.len() as f64 / seconds, "ops/s");
    }

    fn read_phase(&self, phase: &str) {
        let count = self.stage.count;
        let guilds = guild_count(count);
        let one = |stage: &Stage, i: u32| Found { count: 1, sum: stage.score[i as usize] };
        match phase {
            "get" => self.reads(
                phase,
                2e6,
                count,
                stage::SEED_GET,
                "ops/s",
                |players, i, all| {
                    if let Some(score) = score_by_key(players, key_of(i)) {
                        all.add(score)
                    }
                },
                one,
            ),
            "get_miss" => self.reads(
                phase,
                1e6,
                count,
                stage::SEED_MISS,
                "ops/s",
                |players, i, all| {
                    if let Some(score) = score_by_key(players, absent_key_of(i)) {
                        all.add(score)
                    }
                },
                |_, _| Found::default(),
            ),
            "get_many" => self.get_many(),
            "unique" => self.reads(
                phase,
                1e6,
                count,
                stage::SEED_UNIQUE,
                "ops/s",
                |players, i, all| {
                    if let Some(player) = players.lookup_by_index(&email_of(i)) {
                        all.add(player.score)
                    }
                },
                one,
            ),
            "range100" => self.reads(
                phase,
                2e4,
                count,
                stage::SEED_RANGE,
                "queries/s",
                |players, i, all| all.join(between(players, i as u64, i as u64 + 100)),
                |stage, i| stage.wanted_between(i as u64, i as u64 + 100),
            ),
            "top100" => self.reads(
                phase,
                2e4,
                count,
                stage::SEED_TOP,
                "queries/s",
                |players, i, all| all.join(top(players, i as u64, 100)),
                |stage, i| stage.wanted_top(i as u64, 100),
            ),
            "tag100" => self.reads(
                phase,
                2e4,
                guilds,
                stage::SEED_TAG,
                "queries/s",
                |players, i, all| all.join(tagged(players, i, 8)),
                |stage, i| stage.wanted_tag(i, 8),
            ),
            _ => self.reads(
                phase,
                2e3,
                guilds * 8,
                stage::SEED_TAGAND,
                "queries/s",
                |players, i, all| all.join(tagged(players, i / 8, i % 8)),
                |stage, i| stage.wanted_tag(i / 8, i % 8),
            ),
        }
    }

    /// The random records of a phase that writes; delete takes the first half, each once.
    fn chosen_for(&self, phase: &str) -> Vec<u32> {
        let (million, seed) = match phase {
            "update" => (1e6, stage::SEED_UPDATE),
            "patch" => (1e6, stage::SEED_PATCH),
            "mixed95" => (2e6, stage::SEED_MIXED),
            "dup" => (2e5, stage::SEED_DUP),
            _ => {
                let mut order = stage::shuffled(self.stage.count / 2, stage::SEED_DELETE);
                order.truncate(((order.len() as f64 * self.stage.share) as usize).max(1));
                return order;
            }
        };
        stage::picks(self.stage.operations(million), self.stage.count, seed)
    }

    fn write_phase(&mut self, phase: &str) {
        let chosen = self.chosen_for(phase);
        let (count, version) = (self.stage.count, self.stage.version);
        let is_update = |k: u64| below(version + k, 20) == 0;
        let (got, seconds) = match phase {
            "update" => self.writes(phase, &chosen, |players, op| async move {
                update(players, op.i, version + op.k, count).await
            }),
            "patch" => {
                self.writes(phase, &chosen, |players, op| async move { patch(players, op.i).await })
            }
            "mixed95" => self.writes(phase, &chosen, |players, op| async move {
                if is_update(op.k) {
                    return update(players, op.i, version + op.k, count).await;
                }
                score_by_key(players, key_of(op.i)).is_some_and(|score| score < count as u64)
            }),
            "dup" => self.writes(phase, &chosen, |players, op| async move {
                !insert(players, count + op.k as u32, op.i, count).await
            }),
            _ => self.writes(
                phase,
                &chosen,
                |players, op| async move { remove(players, op.i).await },
            ),
        };
        self.stage.check(phase, got, Found { count: chosen.len() as u64, sum: 0 });
        for (k, i) in chosen.iter().enumerate() {
            match phase {
                "patch" => self.stage.gold[*i as usize] += 1,
                "delete" => self.stage.gone[*i as usize] = true,
                "dup" => {}
                "mixed95" if !is_update(k as u64) => {}
                _ => self.stage.written(*i, version + k as u64),
            }
        }
        if phase == "update" || phase == "mixed95" {
            self.stage.version += chosen.len() as u64;
        }
        self.check_all(phase);
        self.stage.result(phase, chosen.len() as f64 / seconds, "ops/s");
    }

    /// Reads every document and asks some queries: after writes all must agree with the copy.
    fn check_all(&mut self, phase: &str) {
        self.stage.expect();
        let stage = &self.stage;
        for i in 0..stage.count {
            let at = i as usize;
            let player = self.players.lookup(&key_of(i));
            let by_email = self.players.lookup_by_index(&email_of(i)).is_some();
            if player.is_some() == stage.gone[at] || by_email == stage.gone[at] {
                stage.wrong(
                    phase,
                    &format!("{} is there: {}, {}", key_of(i), player.is_some(), by_email),
                );
            }
            let Some(player) = player else { continue };
            if player.score != stage.score[at]
                || player.gold != stage.gold[at]
                || player.tags[0] != guild_text(stage.guild[at])
            {
                stage.wrong(phase, &format!("{} has not what was written last", key_of(i)));
            }
        }
        if self.players.collection_len() != stage.gone.iter().filter(|gone| !**gone).count() {
            stage.wrong(phase, "the number of documents is another");
        }
        for k in 0..500 {
            let from = below((stage::SEED_CHECK << 40) + k, stage.count) as u64;
            let guild = below((stage::SEED_CHECK << 40) + k, guild_count(stage.count));
            stage.check(phase, tagged(&self.players, guild, 8), stage.wanted_tag(guild, 8));
            stage.check(
                phase,
                between(&self.players, from, from + 100),
                stage.wanted_between(from, from + 100),
            );
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 7 {
        eprintln!("usage: peer_darkbird SYSTEM N THREADS PHASES SHARE FOLDER");
        std::process::exit(2);
    }
    let number = |place: usize| arguments[place].parse::<f64>().expect("a number");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = Options::new(&arguments[6], "players", 1000, StorageType::RamCopies, true);
    let players = runtime.block_on(Players::open(options)).unwrap();
    let stage = Stage::new(&arguments[1], number(2) as u32, number(3) as usize, number(5));
    let mut bench = Bench { stage, players, handle: runtime.handle().clone() };
    let wanted: HashSet<&str> = arguments[4].split(',').collect();
    bench.load(&wanted);
    bench.stage.expect();
    for phase in ["get", "get_miss", "get_many", "unique", "range100", "top100", "tag100", "tagand"]
    {
        if wanted.contains(phase) {
            bench.read_phase(phase);
        }
    }
    for phase in ["update", "patch", "mixed95", "dup", "delete"] {
        if wanted.contains(phase) {
            bench.write_phase(phase);
        }
    }
    // Tearing a million documents down is part of no phase.
    std::process::exit(0);
}
