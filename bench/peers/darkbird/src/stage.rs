// bench/peers/darkbird/src/stage.rs - what the phases share: orders, workers, expected answers.
//
// What    pseudo-random orders made before the clock runs; one thread a worker; a plain copy of what
//         the documents must say, against which every answer is checked.
// Owns    the copy: score, guild and gold of each record, and whether it is gone.
// Sees    the same numbers as bench/common/record.h and bench/phases.c.
//
// SPDX-License-Identifier: Apache-2.0
use std::sync::Barrier;
use std::time::Instant;

pub const SEED_ORDER: u64 = 1;
pub const SEED_GET: u64 = 2;
pub const SEED_MISS: u64 = 3;
pub const SEED_MANY: u64 = 4;
pub const SEED_UNIQUE: u64 = 5;
pub const SEED_UPDATE: u64 = 6;
pub const SEED_PATCH: u64 = 7;
pub const SEED_MIXED: u64 = 9;
pub const SEED_DUP: u64 = 10;
pub const SEED_DELETE: u64 = 11;
pub const SEED_RANGE: u64 = 12;
pub const SEED_TOP: u64 = 13;
pub const SEED_TAG: u64 = 14;
pub const SEED_TAGAND: u64 = 15;
pub const SEED_CHECK: u64 = 16;

pub fn mix(number: u64) -> u64 {
    let mut number = number.wrapping_add(0x9e3779b97f4a7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d049bb133111eb);
    number ^ (number >> 31)
}

pub fn below(number: u64, limit: u32) -> u32 {
    ((mix(number) as u128 * limit as u128) >> 64) as u32
}

pub fn score_of(i: u32, version: u64, count: u32) -> u64 {
    mix((i as u64).wrapping_add(version << 32)) % count as u64
}

pub fn guild_count(count: u32) -> u32 {
    (count / 100).max(1)
}

pub fn guild_of(i: u32, version: u64, count: u32) -> u32 {
    ((i as u64 + version) % guild_count(count) as u64) as u32
}

/// Writes number over the digits of the pattern that begin at `from`.
pub fn digits(pattern: &str, from: usize, digit_count: usize, mut number: u32) -> String {
    let mut text = pattern.as_bytes().to_vec();
    for place in text[from..from + digit_count].iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
    String::from_utf8(text).unwrap()
}

/// The size of the document as msgpack: what the memory phase does not count.
pub fn encoded_size(score: u64) -> u64 {
    let rest = 1 + 5 + 16 + 6 + 22 + 6 + 5 + 1 + 13 + 7 + 4 + 66 + 5 + 1;
    rest + match score {
        0..=127 => 1,
        128..=255 => 2,
        256..=65535 => 3,
        _ => 5,
    }
}

pub fn picks(n: usize, limit: u32, seed: u64) -> Vec<u32> {
    (0..n as u64).map(|k| below((seed << 40) + k, limit)).collect()
}

pub fn shuffled(n: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    for i in (2..=n).rev() {
        order.swap(i as usize - 1, below((seed << 40) + i as u64, i) as usize);
    }
    order
}

pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Rss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// What queries met: how many documents and the sum of their scores.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Found {
    pub count: u64,
    pub sum: u64,
}

impl Found {
    pub fn add(&mut self, score: u64) {
        self.count += 1;
        self.sum += score;
    }
    pub fn join(&mut self, other: Found) {
        self.count += other.count;
        self.sum += other.sum;
    }
}

/// One operation: which one of all, and its record or where its query begins.
#[derive(Clone, Copy)]
pub struct Operation {
    pub k: u64,
    pub i: u32,
}

/// Lets all workers go at one moment; returns what they found, and the seconds from the first
/// one's start to the last one's stop.
pub fn run(hands: &[Vec<Operation>], work: impl Fn(&[Operation]) -> Found + Sync) -> (Found, f64) {
    let gate = Barrier::new(hands.len());
    let timed = |hand: &[Operation]| {
        gate.wait();
        let start = Instant::now();
        let all = work(hand);
        (all, start, Instant::now())
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = hands.iter().map(|hand| scope.spawn(|| timed(hand))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let mut all = Found::default();
    results.iter().for_each(|result| all.join(result.0));
    let start = results.iter().map(|result| result.1).min().unwrap();
    let stop = results.iter().map(|result| result.2).max().unwrap();
    (all, (stop - start).as_secs_f64())
}

pub struct Stage {
    name: String,
    pub count: u32,
    pub threads: usize,
    pub share: f64,
    pub version: u64,
    pub score: Vec<u64>,
    pub guild: Vec<u32>,
    pub gold: Vec<u64>,
    pub gone: Vec<bool>,
    below: Vec<Found>, // documents with a score below the place; made by expect
    guilds: Vec<Vec<u32>>,
}

impl Stage {
    pub fn new(name: &str, count: u32, threads: usize, share: f64) -> Stage {
        Stage {
            name: name.to_string(),
            count,
            threads,
            share,
            version: 1,
            score: (0..count).map(|i| score_of(i, 0, count)).collect(),
            guild: (0..count).map(|i| guild_of(i, 0, count)).collect(),
            gold: vec![0; count as usize],
            gone: vec![false; count as usize],
            below: vec![],
            guilds: vec![],
        }
    }

    pub fn result(&self, phase: &str, value: f64, unit: &str) {
        println!("RESULT {} {} {} {:.1} {}", self.name, phase, self.threads, value, unit);
    }

    pub fn wrong(&self, phase: &str, why: &str) -> ! {
        println!("WRONG {} {} {}", self.name, phase, why);
        std::process::exit(1);
    }

    pub fn check(&self, phase: &str, got: Found, wanted: Found) {
        if got != wanted {
            self.wrong(
                phase,
                &format!(
                    "{} with scores of {} instead of {} with {}",
                    got.count, got.sum, wanted.count, wanted.sum
                ),
            );
        }
    }

    pub fn operations(&self, million: f64) -> usize {
        ((million * (self.count as f64 / 1e6).min(1.0) * self.share) as usize).max(1)
    }

    /// Each worker's operations: those that write by record, those that read in turn.
    pub fn deal(&self, chosen: &[u32], writes: bool) -> Vec<Vec<Operation>> {
        let mut hands = vec![vec![]; self.threads];
        for (k, i) in chosen.iter().enumerate() {
            let worker = if writes { *i as usize } else { k } % self.threads;
            hands[worker].push(Operation { k: k as u64, i: *i });
        }
        hands
    }

    /// Notes what an update wrote.
    pub fn written(&mut self, i: u32, version: u64) {
        self.score[i as usize] = score_of(i, version, self.count);
        self.guild[i as usize] = guild_of(i, version, self.count);
        self.gold[i as usize] = 0;
    }

    /// Sorts the copy anew, after writes.
    pub fn expect(&mut self) {
        self.below = vec![Found::default(); self.count as usize + 1];
        self.guilds = vec![vec![]; guild_count(self.count) as usize];
        for i in (0..self.count as usize).filter(|i| !self.gone[*i]) {
            self.below[self.score[i] as usize + 1].add(self.score[i]);
            self.guilds[self.guild[i] as usize].push(i as u32);
        }
        for place in 1..self.below.len() {
            let before = self.below[place - 1];
            self.below[place].join(before);
        }
    }

    pub fn wanted_between(&self, from: u64, to: u64) -> Found {
        let (high, low) =
            (self.below[to.min(self.count as u64) as usize], self.below[from as usize]);
        Found { count: high.count - low.count, sum: high.sum - low.sum }
    }

    pub fn wanted_top(&self, highest: u64, limit: u64) -> Found {
        let mut all = Found::default();
        for score in (0..=highest).rev() {
            let take = self.wanted_between(score, score + 1).count.min(limit - all.count);
            all.join(Found { count: take, sum: take * score });
            if all.count == limit {
                break;
            }
        }
        all
    }

    /// Language 8 is any.
    pub fn wanted_tag(&self, guild: u32, lang: u32) -> Found {
        let mut all = Found::default();
        for i in &self.guilds[guild as usize] {
            if lang == 8 || mix(*i as u64) % 8 == lang as u64 {
                all.add(self.score[*i as usize]);
            }
        }
        all
    }
}
