/* tests/unit/store/writing.h - what tests that write commits share.
 *
 * What    A stand with options and a schema of the test's own, operations on JSON documents, and
 *         comparing what a section sees. Reports of the thread that opened the stand go to
 *         stand.report.
 * Threads owner only, as stand.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_STORE_WRITING_H
#define MRL_TESTS_STORE_WRITING_H

#include "stand.h"

#define KEY(text) merle_str(text)
#define EMAIL(text) merle_value_str(text)

/* ---- opening ---- */

UNUSED static void writing_open(stand *s, const merle_schema *schema, merle_options options,
                                const mrl_environment *environment) {
    memset(s, 0, sizeof *s);
    if (options.threads == MERLE_THREADS_DEFAULT) options.threads = MERLE_THREADS_NONE;
    options.report = &s->report;
    must(s, mrl_db_open(NULL, &options, environment, &s->db));
    merle_report_to(s->db, &s->report);
    must(s, merle_collection_open(s->db, "players", schema, &s->players));
}

UNUSED static void writing_open_plain(stand *s) {
    writing_open(s, &players_schema, (merle_options){0}, NULL);
}

/* Compares the whole store with itself, then closes it. */
UNUSED static void writing_close(stand *s) {
    must(s, merle_check(s->db, &s->report));
    stand_close(s);
}

/* ---- writing ---- */

UNUSED static merle_commit *begin(const stand *s) {
    merle_commit *commit;
    must(s, merle_begin(s->db, &commit));
    return commit;
}

typedef merle_err document_fn(merle_commit *commit, merle_collection *collection, merle_bytes key,
                              merle_bytes doc);

UNUSED static merle_err write_json(merle_commit *commit, merle_collection *collection,
                                   document_fn *write, const char *key, const char *json) {
    merle_buffer doc = doc_of(json);
    merle_err err = write(commit, collection, merle_str(key), bytes_of(&doc));
    merle_buffer_free(&doc);
    return err;
}

UNUSED static void put_in(const stand *s, merle_commit *commit, const char *key, const char *json) {
    must(s, write_json(commit, s->players, merle_put, key, json));
}

UNUSED static uint64_t end(const stand *s, merle_commit *commit) {
    uint64_t seq = 0;
    must(s, merle_end(commit, &seq));
    return seq;
}

/* Ends a commit that must be refused with err, and see that the report says so. */
UNUSED static void end_refused(const stand *s, merle_commit *commit, merle_err err) {
    uint64_t seq = 7;
    assert_int_equal(merle_end(commit, &seq), err);
    assert_int_equal(seq, 0);
    assert_int_equal(s->report.err, err);
}

UNUSED static merle_err one_json(const stand *s, const char *key, const char *json) {
    merle_buffer doc = doc_of(json);
    merle_err err = merle_one_put(s->players, merle_str(key), bytes_of(&doc), NULL);
    merle_buffer_free(&doc);
    return err;
}

/* ---- what is there ---- */

/* json NULL: no document. */
UNUSED static void assert_sees(merle_section *section, merle_collection *collection,
                               const char *key, const char *json) {
    merle_doc doc;
    merle_err err = merle_get(section, collection, merle_str(key), &doc);
    if (json == NULL) {
        assert_int_equal(err, MERLE_NOT_FOUND);
        assert_null(doc.data);
        return;
    }
    assert_int_equal(err, MERLE_OK);
    assert_is_doc(merle_bytes_of(doc.data, doc.size), json);
}

UNUSED static void assert_there(const stand *s, const char *key, const char *json) {
    merle_section section;
    must(s, merle_section_begin(s->db, &section));
    assert_sees(&section, s->players, key, json);
    must(s, merle_section_end(&section));
}

/* The key of the document with the text in the index; NULL: none has it. */
UNUSED static void assert_holder(merle_section *section, merle_collection *collection,
                                 const char *index, merle_value value, const char *key) {
    merle_doc doc;
    merle_err err = merle_get_by(section, collection, index, &doc, value);
    if (key == NULL) {
        assert_int_equal(err, MERLE_NOT_FOUND);
        return;
    }
    assert_int_equal(err, MERLE_OK);
    merle_bytes found = merle_doc_key(doc);
    assert_int_equal(found.size, strlen(key));
    assert_memory_equal(found.data, key, found.size);
}

UNUSED static void assert_holder_now(const stand *s, const char *index, merle_value value,
                                     const char *key) {
    merle_section section;
    must(s, merle_section_begin(s->db, &section));
    assert_holder(&section, s->players, index, value, key);
    must(s, merle_section_end(&section));
}

UNUSED static uint64_t count_of(merle_section *section, merle_collection *collection) {
    uint64_t count = UINT64_MAX;
    assert_int_equal(merle_count(section, collection, &count), MERLE_OK);
    return count;
}

UNUSED static uint64_t count_now(const stand *s) {
    merle_section section;
    must(s, merle_section_begin(s->db, &section));
    uint64_t count = count_of(&section, s->players);
    must(s, merle_section_end(&section));
    return count;
}

UNUSED static merle_stats_db stats_of(const stand *s) {
    merle_stats_db stats = {.size = sizeof stats};
    must(s, merle_stats(s->db, &stats));
    return stats;
}

UNUSED static merle_stats_collection players_stats(const stand *s) {
    merle_stats_collection stats = {.size = sizeof stats};
    must(s, merle_collection_stats(s->players, &stats));
    return stats;
}

UNUSED static uint64_t hints_of(const stand *s, const char *index) {
    merle_stats_index stats = {.size = sizeof stats};
    must(s, merle_index_stats(s->players, index, &stats));
    return stats.entries;
}

/* ---- reports ---- */

UNUSED static void assert_told(const stand *s, merle_err err, uint32_t operation, const char *key,
                               const char *index) {
    assert_int_equal(s->report.err, err);
    assert_int_equal(s->report.operation, operation);
    assert_string_equal(s->report.collection, "players");
    assert_string_equal(s->report.key, key);
    assert_string_equal(s->report.index, index);
    assert_int_not_equal(s->report.message[0], 0);
}

#endif
