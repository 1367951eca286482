/* tests/model/twin_disk.c - the model twin's database is closed and opened again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "tests/model/twin_private.h"

/* What a collection gives in the order of a scan. */
typedef struct listing {
    uint32_t count;
    uint32_t keys[PLAIN_KEY_COUNT];
} listing;

static listing list(twin *run, uint32_t collection) {
    listing out = {0};
    merle_section section;
    merle_scan scan = {0};
    merle_doc docs[8];
    size_t count;
    merle_collection *c = run->collections[collection];
    if (merle_section_begin(run->db, &section) != MERLE_OK) return out;
    while (merle_scan_next(&section, c, &scan, docs, 8, &count) == MERLE_OK)
        for (size_t i = 0; i < count && out.count < PLAIN_KEY_COUNT; i++)
            out.keys[out.count++] = plain_key_find(merle_doc_key(docs[i]));
    (void)merle_section_end(&section);
    return out;
}

/* Finds the collections again: the same ids, and nothing is defined anew. */
static void find_collections(twin *run, const uint32_t ids[2]) {
    for (uint32_t i = 0; i < PLAIN_COLLECTION_MAX; i++) run->collections[i] = NULL;
    for (uint32_t name = 0; name < 2; name++) {
        merle_collection *found;
        merle_err err = merle_collection_open(run->db, twin_names[name], &plain_schema, &found);
        if (err != MERLE_OK)
            twin_fail(run, "a collection was not there again: %s", merle_err_name(err));
        else if (merle_collection_id(found) != ids[name])
            twin_fail(run, "a collection has another id than before");
        run->collections[run->current[name]] = found;
    }
}

static void open_again(twin *run, uint64_t seq, const uint32_t ids[2]) {
    merle_err err = twin_open_database(run);
    if (err != MERLE_OK) {
        twin_fail(run, "opened again: %s", merle_err_name(err));
        return;
    }
    find_collections(run, ids);
    if (mrl_log_published_at(run->db->store.published) != seq)
        twin_fail(run, "opened again at another seq than %llu", (unsigned long long)seq);
    /* What the log in memory had is in its files; a cursor with images begins where they end. */
    merle_changes_options wants = {sizeof wants, seq, NULL, 1, 1};
    err = merle_changes_open(run->db, &wants, &run->cursor);
    if (err != MERLE_OK) twin_fail(run, "merle_changes_open: %s", merle_err_name(err));
    run->cursor_open_seq = run->cursor_seq = seq;
    run->cursor_position = 0;
}

void twin_reopen(twin *run) {
    listing before[2];
    uint32_t ids[2];
    twin_verify(run);
    if (run->has_failed) return;
    uint64_t seq = mrl_log_published_at(run->db->store.published);
    for (uint32_t name = 0; name < 2; name++) {
        before[name] = list(run, run->current[name]);
        ids[name] = merle_collection_id(run->collections[run->current[name]]);
    }
    merle_changes_close(run->cursor);
    run->cursor = NULL;
    merle_err err = merle_close(run->db);
    run->db = NULL;
    if (err != MERLE_OK) {
        twin_fail(run, "merle_close: %s", merle_err_name(err));
        return;
    }
    open_again(run, seq, ids);
    for (uint32_t name = 0; name < 2 && !run->has_failed; name++) {
        listing after = list(run, run->current[name]);
        if (memcmp(&after, &before[name], sizeof after) != 0)
            twin_fail(run, "opened again, a scan has another order");
    }
    twin_compare_all(run);
    twin_total.openings++;
}
