/* examples/board.c - looking at the league: places, guilds, sums.
 *
 * Everything here is asked of a section, and so of one instant, while the league goes on.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>

#include "examples/league.h"

/* All of the leaderboard; places are counted in it. */
static const merle_range everybody = {.index = "place"};

static void read_row(merle_doc doc, uint64_t place, board_row *out_row) {
    merle_bytes name = merle_doc_str(doc, "name");
    out_row->place = place;
    out_row->score = merle_doc_int(doc, "score", 0);
    snprintf(out_row->name, sizeof out_row->name, "%.*s", (int)name.size, (const char *)name.data);
}

/* ---- the leaderboard ---- */

static merle_err read_top(const world *w, merle_section *section, board *b) {
    merle_cursor *cursor;
    merle_doc docs[TOP_ROWS];
    size_t count;
    merle_err err = merle_range_open(w->league, &everybody, &cursor);
    if (err != MERLE_OK) return err;
    err = merle_cursor_next(section, cursor, docs, TOP_ROWS, &count);
    for (size_t i = 0; err == MERLE_OK && i < count; i++) read_row(docs[i], i + 1, &b->top[i]);
    merle_cursor_close(cursor);
    return err == MERLE_OK && count != TOP_ROWS ? MERLE_CORRUPT : err;
}

/* My place, and those around me: each by its number. */
static merle_err read_around(const world *w, merle_section *section, merle_bytes key, board *b) {
    uint64_t rank;
    merle_err err = merle_range_rank(section, w->league, &everybody, key, &rank);
    if (err != MERLE_OK) return err;
    b->mine = rank + 1;
    uint64_t first = rank < AROUND_ROWS / 2 ? 0 : rank - AROUND_ROWS / 2;
    if (first > b->total - AROUND_ROWS) first = b->total - AROUND_ROWS;
    for (uint64_t i = 0; i < AROUND_ROWS && err == MERLE_OK; i++) {
        merle_doc doc;
        err = merle_range_nth(section, w->league, &everybody, first + i, &doc);
        if (err != MERLE_OK) return err;
        read_row(doc, first + i + 1, &b->around[i]);
        merle_bytes found = merle_doc_key(doc);
        int is_mine = found.size == key.size && memcmp(found.data, key.data, key.size) == 0;
        if (is_mine != (first + i == rank)) return MERLE_CORRUPT;
    }
    return err;
}

static int is_descending(const board_row *rows, int count) {
    for (int i = 1; i < count; i++)
        if (rows[i - 1].score < rows[i].score) return 0;
    return 1;
}

merle_err league_board(const world *w, merle_section *section, int member, board *out_board) {
    char key[16];
    memset(out_board, 0, sizeof *out_board);
    snprintf(key, sizeof key, "m%05d", member);
    merle_err err = merle_range_count(section, w->league, &everybody, &out_board->total);
    if (err == MERLE_OK && out_board->total != MEMBER_COUNT) err = MERLE_CORRUPT;
    if (err == MERLE_OK) err = read_top(w, section, out_board);
    if (err == MERLE_OK) err = read_around(w, section, merle_str(key), out_board);
    if (err != MERLE_OK) return err;
    int holds =
        is_descending(out_board->top, TOP_ROWS) && is_descending(out_board->around, AROUND_ROWS);
    return holds ? MERLE_OK : MERLE_CORRUPT;
}

/* ---- guilds are tags ---- */

merle_err league_guilds(const world *w, merle_section *section, guild_size *out_guilds,
                        size_t *out_count) {
    merle_tag_listed tags[GUILD_COUNT_MAX];
    merle_buffer bytes = {0};
    merle_value from_the_first = {0};
    merle_err err = merle_tags_list(section, w->league, "tags", merle_value_str("guild:"),
                                    from_the_first, &bytes, tags, GUILD_COUNT_MAX, out_count);
    for (size_t i = 0; err == MERLE_OK && i < *out_count; i++) {
        snprintf(out_guilds[i].tag, sizeof out_guilds[i].tag, "%.*s", (int)tags[i].tag.bytes.size,
                 (const char *)tags[i].tag.bytes.data);
        err = merle_tag_count(section, w->league, "tags", tags[i].tag, &out_guilds[i].count);
    }
    merle_buffer_free(&bytes);
    return err;
}

/* ---- queries ---- */

merle_err league_sum(const world *w, merle_section *section, merle_summary *out_summary) {
    merle_query all = {0};
    *out_summary = (merle_summary){.size = sizeof *out_summary};
    return merle_query_summarize(section, w->league, &all, "score", out_summary);
}

/* The first document of a query, or MERLE_NOT_FOUND; and what explain says, if it is wanted. */
static merle_err first_of(const world *w, merle_section *section, const merle_query *query,
                          merle_doc *out_doc, merle_buffer *out_explain) {
    merle_rows *rows;
    size_t count;
    merle_err err = merle_query_open(section, w->league, query, &rows);
    if (err != MERLE_OK) return err;
    err = merle_rows_next(rows, out_doc, 1, &count);
    if (err == MERLE_OK && out_explain != NULL) err = merle_rows_explain(rows, out_explain);
    merle_rows_close(rows);
    return err;
}

merle_err league_best_of(const world *w, merle_section *section, const char *guild,
                         const char *language, uint64_t *out_count, board_row *out_best) {
    merle_condition *condition;
    merle_doc doc;
    const merle_value values[] = {merle_value_str(guild), merle_value_str(language)};
    merle_err err =
        merle_condition_parse(MERLE_STR("tags: all($guild, $language)"), &condition, NULL);
    if (err != MERLE_OK) return err;
    merle_query query = {.where = condition, .values = values, .value_count = 2, .order = "-score"};
    err = merle_query_count(section, w->league, &query, out_count);
    query.limit = 1;
    if (err == MERLE_OK) err = first_of(w, section, &query, &doc, NULL);
    if (err == MERLE_OK) read_row(doc, 1, out_best);
    merle_condition_destroy(condition);
    return err;
}

merle_err league_level_drive(const world *w, merle_section *section, char out_drive[16],
                             uint64_t *out_matched) {
    merle_condition *condition;
    merle_buffer json = {0}, bytes = {0};
    merle_doc doc, explained;
    merle_err err = merle_condition_parse(MERLE_STR("level = 60"), &condition, NULL);
    if (err != MERLE_OK) return err;
    merle_query query = {.where = condition};
    err = first_of(w, section, &query, &doc, &json);
    if (err == MERLE_OK) err = merle_query_count(section, w->league, &query, out_matched);
    if (err == MERLE_OK) err = merle_json_read(merle_bytes_of(json.data, json.size), &bytes, NULL);
    if (err == MERLE_OK) err = merle_doc_over(merle_bytes_of(bytes.data, bytes.size), &explained);
    if (err == MERLE_OK) {
        merle_bytes drive = merle_doc_str(explained, "drive.by");
        snprintf(out_drive, 16, "%.*s", (int)drive.size, (const char *)drive.data);
    }
    merle_buffer_free(&bytes);
    merle_buffer_free(&json);
    merle_condition_destroy(condition);
    return err;
}
