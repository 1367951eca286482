/* examples/league.c - what happens in the league.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "examples/league.h"

#include <stdio.h>

enum { MEMBERS_A_COMMIT = 1000, TICK_PATCHES = 16, SEASON_COMMIT_MAX = 200, LEVEL_MAX = 60 };

static const char *const first_names[] = {"Arlo", "Bea", "Cass", "Dara", "Elin", "Faye", "Gus",
                                          "Hana", "Ivo", "June", "Kit",  "Lena", "Milo", "Nora",
                                          "Otto", "Pia", "Quin", "Rosa", "Sten", "Thea"};
static const char *const guilds[] = {"guild:bears", "guild:foxes",  "guild:hares", "guild:lynx",
                                     "guild:owls",  "guild:ravens", "guild:stags", "guild:wolves"};
static const char *const languages[] = {"lang:de", "lang:en", "lang:es", "lang:fr", "lang:pl"};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* The same members at each run: so a query has an answer that can be known beforehand. */
static uint32_t mix(uint32_t n) {
    n = (n ^ n >> 16) * 0x7feb352du;
    n = (n ^ n >> 15) * 0x846ca68bu;
    return n ^ n >> 16;
}

static merle_bytes member_key(merle_key *key, int number) {
    int size = snprintf((char *)key->bytes, sizeof key->bytes, "m%05d", number);
    return merle_bytes_of(key->bytes, (size_t)size);
}

/* ---- making the league ---- */

static merle_err add_member(const world *w, merle_builder *b, merle_commit *commit, int number) {
    char name[24];
    merle_key key;
    merle_bytes doc;
    uint32_t random = mix((uint32_t)number + 1);
    size_t name_count = COUNT(first_names);
    snprintf(name, sizeof name, "%s %d", first_names[(size_t)number % name_count],
             number / (int)name_count + 1);
    merle_build_begin(b);
    merle_build_str(b, "name", name);
    merle_build_int(b, "level", 1 + random % LEVEL_MAX);
    merle_build_int(b, "score", 1000 + random / LEVEL_MAX % 9000);
    if (number % 50 == 7) merle_build_bool(b, "banned", 1);
    merle_build_array(b, "tags");
    merle_build_str(b, NULL, guilds[mix(random) % COUNT(guilds)]);
    merle_build_str(b, NULL, languages[mix(random + 1) % COUNT(languages)]);
    merle_build_close(b);
    merle_err err = merle_build_end(b, &doc);
    return err != MERLE_OK ? err : merle_insert(commit, w->league, member_key(&key, number), doc);
}

static merle_err add_members(const world *w, merle_builder *b, int from, int to) {
    merle_commit *commit;
    merle_err err = merle_begin(w->db, &commit);
    if (err != MERLE_OK) return err;
    for (int i = from; i < to && err == MERLE_OK; i++) err = add_member(w, b, commit, i);
    if (err == MERLE_OK) return merle_end(commit, NULL);
    merle_cancel(commit);
    return err;
}

merle_err league_create(world *w) {
    merle_index indexes[] = {{.name = "place", .kind = MERLE_ORDERED, .on = "-score"},
                             {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
                             {0}};
    merle_rule rules[] = {{"name", MERLE_TYPE_STR, 1, 20}, {"score", MERLE_TYPE_INT, 1, 0}, {0}};
    merle_schema schema = {.version = 1, .indexes = indexes, .rules = rules};
    merle_builder *b;
    merle_err err = merle_collection_open(w->db, "league", &schema, &w->league);
    if (err == MERLE_OK) err = merle_builder_create(&b);
    if (err != MERLE_OK) return err;
    /* A directory may have them already; all but the first of them, if it was killed at this. */
    int from = (int)merle_count_estimate(w->league);
    for (int i = from; i < MEMBER_COUNT && err == MERLE_OK; i += MEMBERS_A_COMMIT)
        err = add_members(w, b, i, i + MEMBERS_A_COMMIT);
    merle_builder_destroy(b);
    return err;
}

/* ---- what happens ---- */

merle_err league_tick(const world *w, merle_commit *commit, uint32_t number) {
    merle_err err = MERLE_OK;
    for (uint32_t i = 0; i < TICK_PATCHES && err == MERLE_OK; i++) {
        merle_key key;
        int member = (int)(mix(number * TICK_PATCHES + i) % MEMBER_COUNT);
        err = merle_patch(commit, w->league, member_key(&key, member),
                          MERLE_INC("score", TICK_POINTS / TICK_PATCHES));
    }
    return err;
}

typedef struct duel {
    const world *world;
    int winner, loser;
    int64_t points;
} duel;

static merle_err fight(void *context, merle_commit *commit) {
    const duel *d = context;
    merle_key winner, loser;
    merle_doc doc;
    merle_collection *league = d->world->league;
    merle_err err = merle_commit_get(commit, league, member_key(&loser, d->loser), &doc);
    if (err != MERLE_OK) return err;
    if (merle_doc_int(doc, "score", 0) < d->points) return MERLE_OK;
    err = merle_patch(commit, league, member_key(&loser, d->loser), MERLE_INC("score", -d->points));
    if (err != MERLE_OK) return err;
    return merle_patch(commit, league, member_key(&winner, d->winner),
                       MERLE_INC("score", d->points));
}

merle_err league_duel(const world *w, int winner, int loser, int64_t points) {
    duel d = {.world = w, .winner = winner, .loser = loser, .points = points};
    return merle_run(w->db, fight, &d, 0, NULL);
}

merle_err league_change_guild(const world *w, int member, const char *from, const char *to) {
    merle_key key;
    merle_commit *commit;
    merle_err err = merle_begin(w->db, &commit);
    if (err != MERLE_OK) return err;
    err = merle_commit_origin(commit, MERLE_STR("guild"));
    if (err == MERLE_OK)
        err = merle_patch(commit, w->league, member_key(&key, member),
                          MERLE_REMOVE("tags", merle_value_str(from)),
                          MERLE_ADD("tags", merle_value_str(to)));
    if (err == MERLE_OK) return merle_end(commit, NULL);
    merle_cancel(commit);
    return err;
}

merle_err league_season(const world *w, const char *guild, int64_t bonus, merle_bulk *out_bulk) {
    merle_condition *condition;
    const merle_value values[] = {merle_value_str(guild)};
    const merle_op ops[] = {MERLE_INC("score", bonus)};
    merle_err err = merle_condition_parse(MERLE_STR("tags: $guild"), &condition, NULL);
    if (err != MERLE_OK) return err;
    merle_query query = {.where = condition, .values = values, .value_count = 1};
    *out_bulk = (merle_bulk){.size = sizeof *out_bulk};
    err = merle_update_where(w->league, &query, ops, COUNT(ops), SEASON_COMMIT_MAX, out_bulk);
    merle_condition_destroy(condition);
    return err;
}

/* It is built by merle_step, which the game calls once a tick, while everything goes on. */
merle_err league_add_level_index(const world *w) {
    merle_index level = {.name = "level", .kind = MERLE_ORDERED, .on = "level"};
    uint64_t seq;
    return merle_index_add(w->league, &level, &seq);
}

merle_err league_drop_level_index(const world *w) {
    uint64_t seq;
    return merle_index_drop(w->league, "level", &seq);
}
