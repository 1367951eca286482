/* examples/world.c - the rules of the little game, each one a commit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "examples/world.h"

#include <stdio.h>
#include <string.h>

#include "examples/league.h"

enum { BANK_START = 6000, GOLD_START = 500, RICH = 900, TOLL = 400, LOG_FILE_SIZE = 4 << 20 };

static const char *const first_names[PLAYER_COUNT] = {"Ada",  "Bran", "Cleo", "Dov",
                                                      "Edda", "Finn", "Gwen", "Hal"};

static merle_bytes player_key(merle_key *key, int number) {
    int size = snprintf((char *)key->bytes, sizeof key->bytes, "p%d", number);
    return merle_bytes_of(key->bytes, (size_t)size);
}

/* ---- making the world ---- */

static merle_err add_players(const world *w, merle_builder *b, merle_commit *commit) {
    for (int i = 0; i < PLAYER_COUNT; i++) {
        merle_key key;
        merle_bytes doc;
        merle_build_begin(b);
        merle_build_str(b, "name", first_names[i]);
        merle_build_int(b, "x", 4 + 7 * i);
        merle_build_int(b, "y", i % WORLD_HEIGHT);
        merle_build_int(b, "gold", GOLD_START);
        merle_build_int(b, "score", 0);
        merle_err err = merle_build_end(b, &doc);
        if (err == MERLE_OK) err = merle_insert(commit, w->players, player_key(&key, i), doc);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

static merle_err add_thing(const world *w, merle_builder *b, merle_commit *commit, const char *key,
                           const char *field, int64_t number) {
    merle_bytes doc;
    merle_build_begin(b);
    merle_build_int(b, field, number);
    merle_err err = merle_build_end(b, &doc);
    return err != MERLE_OK ? err : merle_insert(commit, w->things, merle_str(key), doc);
}

static merle_err populate(const world *w) {
    merle_builder *b;
    merle_commit *commit;
    merle_err err = merle_builder_create(&b);
    if (err != MERLE_OK) return err;
    if ((err = merle_begin(w->db, &commit)) != MERLE_OK) goto done;
    err = merle_commit_origin(commit, MERLE_STR("genesis"));
    if (err == MERLE_OK) err = add_players(w, b, commit);
    if (err == MERLE_OK) err = add_thing(w, b, commit, "bank", "gold", BANK_START);
    if (err == MERLE_OK) err = add_thing(w, b, commit, "throne", "holder", -1);
    if (err == MERLE_OK)
        err = merle_end(commit, NULL);
    else
        merle_cancel(commit);
done:
    merle_builder_destroy(b);
    return err;
}

merle_err world_create(world *out_world, const char *path) {
    memset(out_world, 0, sizeof *out_world);
    /* The game calls merle_step itself, once a tick, as a server with a loop of its own does. A
     * small world needs no large log files, which are made ready when it is opened. */
    merle_options options = {
        .size = sizeof options, .threads = MERLE_THREADS_NONE, .log_file_size = LOG_FILE_SIZE};
    merle_err err = merle_open(path, &options, &out_world->db);
    if (err != MERLE_OK) return err;
    merle_index indexes[] = {{.name = "name", .kind = MERLE_UNIQUE, .on = "name"}, {0}};
    merle_rule rules[] = {{"name", MERLE_TYPE_STR, 1, 20}, {"gold", MERLE_TYPE_INT, 1, 0}, {0}};
    merle_schema schema = {.version = 1, .indexes = indexes, .rules = rules};
    err = merle_collection_open(out_world->db, "players", &schema, &out_world->players);
    if (err == MERLE_OK)
        err = merle_collection_open(out_world->db, "things", NULL, &out_world->things);
    if (err == MERLE_OK && merle_count_estimate(out_world->things) == 0) err = populate(out_world);
    if (err == MERLE_OK) err = league_create(out_world);
    if (err == MERLE_OK) return MERLE_OK;
    merle_err closed = merle_close(out_world->db);
    return closed == MERLE_OK ? err : closed;
}

merle_err world_close(world *w) {
    return merle_close(w->db);
}

/* ---- looking ---- */

static void read_player(merle_doc doc, player *out_player) {
    merle_bytes name = merle_doc_str(doc, "name");
    snprintf(out_player->name, sizeof out_player->name, "%.*s", (int)name.size,
             (const char *)name.data);
    out_player->x = (int)merle_doc_int(doc, "x", 0);
    out_player->y = (int)merle_doc_int(doc, "y", 0);
    out_player->gold = merle_doc_int(doc, "gold", 0);
    out_player->score = merle_doc_int(doc, "score", 0);
}

/* The index must lead from the name to this very version. */
static merle_err check_name(const world *w, merle_section *section, merle_doc doc) {
    merle_doc found;
    merle_value name = merle_value_bytes(merle_doc_str(doc, "name"));
    merle_err err = merle_get_by(section, w->players, "name", &found, name);
    return err == MERLE_OK && found.data == doc.data ? MERLE_OK : MERLE_CORRUPT;
}

merle_err world_look(const world *w, merle_section *section, sight *out_sight) {
    merle_key keys[PLAYER_COUNT];
    merle_bytes asked[PLAYER_COUNT];
    merle_doc docs[PLAYER_COUNT], bank;
    size_t found;
    memset(out_sight, 0, sizeof *out_sight);
    for (int i = 0; i < PLAYER_COUNT; i++) asked[i] = player_key(&keys[i], i);
    merle_err err = merle_get_many(section, w->players, asked, PLAYER_COUNT, docs, &found);
    if (err == MERLE_OK) err = merle_get(section, w->things, MERLE_STR("bank"), &bank);
    if (err != MERLE_OK) return err;
    if (found != PLAYER_COUNT) return MERLE_CORRUPT;
    out_sight->seq = merle_section_seq(section);
    out_sight->bank = out_sight->gold_sum = merle_doc_int(bank, "gold", 0);
    out_sight->tick = (uint64_t)merle_doc_int(bank, "tick", 0);
    for (int i = 0; i < PLAYER_COUNT && err == MERLE_OK; i++) {
        read_player(docs[i], &out_sight->players[i]);
        out_sight->gold_sum += out_sight->players[i].gold;
        err = check_name(w, section, docs[i]);
    }
    return err;
}

/* ---- what happens ---- */

/* What a commit is about; handed through merle_run, which tries again after a conflict. */
typedef struct deed {
    const world *world;
    uint32_t number;
    int from, to;
    int64_t gold;
} deed;

/* A step on a zigzag of the player's own, always inside the fence. */
static int step_of(uint32_t time, int length) {
    int at = (int)(time % (uint32_t)(2 * (length - 1)));
    return at < length ? at : 2 * (length - 1) - at;
}

static merle_err tick_player(const deed *d, merle_commit *commit, int i, int64_t *bank_delta) {
    merle_key key;
    merle_doc doc;
    merle_bytes asked = player_key(&key, i);
    merle_err err = merle_commit_get(commit, d->world->players, asked, &doc);
    if (err != MERLE_OK) return err;
    int64_t dug = 1 + (int64_t)(d->number * 11 % (uint32_t)(i + 2));
    int64_t toll = merle_doc_int(doc, "gold", 0) > RICH ? TOLL : 0;
    *bank_delta += toll - dug;
    uint32_t across = d->number / (uint32_t)(1 + i % 3) + (uint32_t)i * 9;
    uint32_t down = d->number / (uint32_t)(4 + i % 4) + (uint32_t)i;
    return merle_patch(commit, d->world->players, asked,
                       MERLE_SET_INT("x", step_of(across, WORLD_WIDTH)),
                       MERLE_SET_INT("y", step_of(down, WORLD_HEIGHT)),
                       MERLE_INC("gold", dug - toll), MERLE_INC("score", dug));
}

static merle_err tick(void *context, merle_commit *commit) {
    const deed *d = context;
    int64_t bank_delta = 0;
    merle_err err = merle_commit_origin(commit, MERLE_STR("tick"));
    for (int i = 0; i < PLAYER_COUNT && err == MERLE_OK; i++)
        err = tick_player(d, commit, i, &bank_delta);
    if (err == MERLE_OK) err = league_tick(d->world, commit, d->number);
    if (err != MERLE_OK) return err;
    return merle_patch(commit, d->world->things, MERLE_STR("bank"), MERLE_INC("gold", bank_delta),
                       MERLE_SET_INT("tick", d->number));
}

merle_err world_tick(const world *w, uint32_t number, uint64_t *out_seq) {
    deed d = {.world = w, .number = number};
    return merle_run(w->db, tick, &d, 0, out_seq);
}

static merle_err trade(void *context, merle_commit *commit) {
    const deed *d = context;
    merle_key from, to;
    merle_doc doc;
    merle_err err = merle_commit_origin(commit, MERLE_STR("trade"));
    if (err == MERLE_OK)
        err = merle_commit_get(commit, d->world->players, player_key(&from, d->from), &doc);
    if (err != MERLE_OK) return err;
    /* What was read is checked when the commit ends: nobody can have spent this gold meanwhile. */
    if (merle_doc_int(doc, "gold", 0) < d->gold) return MERLE_OK;
    err = merle_patch(commit, d->world->players, player_key(&from, d->from),
                      MERLE_INC("gold", -d->gold));
    if (err != MERLE_OK) return err;
    return merle_patch(commit, d->world->players, player_key(&to, d->to),
                       MERLE_INC("gold", d->gold));
}

merle_err world_trade(const world *w, int from, int to, int64_t gold) {
    deed d = {.world = w, .from = from, .to = to, .gold = gold};
    return merle_run(w->db, trade, &d, 0, NULL);
}

merle_err world_rename(const world *w, int number, const char *name, merle_report *report) {
    merle_key key;
    merle_commit *commit;
    merle_err err = merle_begin(w->db, &commit);
    if (err != MERLE_OK) return err;
    merle_report_to(w->db, report);
    err = merle_commit_origin(commit, MERLE_STR("rename"));
    if (err == MERLE_OK)
        err =
            merle_patch(commit, w->players, player_key(&key, number), MERLE_SET_STR("name", name));
    if (err == MERLE_OK)
        err = merle_end(commit, NULL);
    else
        merle_cancel(commit);
    merle_report_to(w->db, NULL);
    return err;
}

static merle_err swap_names(void *context, merle_commit *commit) {
    const deed *d = context;
    merle_key a, b;
    merle_doc doc_a, doc_b;
    merle_collection *players = d->world->players;
    merle_err err = merle_commit_origin(commit, MERLE_STR("swap"));
    if (err == MERLE_OK) err = merle_commit_get(commit, players, player_key(&a, d->from), &doc_a);
    if (err == MERLE_OK) err = merle_commit_get(commit, players, player_key(&b, d->to), &doc_b);
    if (err != MERLE_OK) return err;
    merle_value name_a = merle_value_bytes(merle_doc_str(doc_a, "name"));
    merle_value name_b = merle_value_bytes(merle_doc_str(doc_b, "name"));
    err = merle_patch(commit, players, player_key(&a, d->from), MERLE_SET("name", name_b));
    if (err != MERLE_OK) return err;
    return merle_patch(commit, players, player_key(&b, d->to), MERLE_SET("name", name_a));
}

merle_err world_swap_names(const world *w, int a, int b) {
    deed d = {.world = w, .from = a, .to = b};
    return merle_run(w->db, swap_names, &d, 0, NULL);
}

/* ---- the throne: compare and set ---- */

merle_err world_throne_seq(const world *w, uint64_t *out_seq) {
    merle_section section;
    merle_doc doc;
    *out_seq = 0;
    merle_err err = merle_section_begin(w->db, &section);
    if (err != MERLE_OK) return err;
    err = merle_get(&section, w->things, MERLE_STR("throne"), &doc);
    if (err == MERLE_OK) *out_seq = doc.seq;
    (void)merle_section_end(&section);
    return err;
}

merle_err world_take_throne(const world *w, int number, uint64_t expected_seq) {
    merle_commit *commit;
    merle_err err = merle_begin(w->db, &commit);
    if (err != MERLE_OK) return err;
    err = merle_commit_origin(commit, MERLE_STR("throne"));
    if (err == MERLE_OK) err = merle_expect(commit, w->things, MERLE_STR("throne"), expected_seq);
    if (err == MERLE_OK)
        err = merle_patch(commit, w->things, MERLE_STR("throne"), MERLE_SET_INT("holder", number));
    if (err == MERLE_OK) return merle_end(commit, NULL);
    merle_cancel(commit);
    return err;
}
