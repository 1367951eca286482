/* tests/unit/load/bulk_test.c - a bulk load by hand.
 *
 * Aim     Nobody sees a document before the end, everybody sees all from then on; nobody else
 *         writes meanwhile; what is refused leaves nothing; the log tells it all.
 * Method  A few documents written by hand, sections of every age, a cursor over the log, memory
 *         refused in turn; a load that takes many records; merle_check at the end of each. What the
 *         log tells is loaded into another database by the rule of load/bulk.c, cut off at every
 *         record.
 * Blind   Files; speed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/unit/store/listing.h"

#include "base/buffer.h"
#include "load/load.h"

static const merle_index kinds[] = {{.name = "email", .kind = MERLE_UNIQUE, .on = "email"},
                                    {.name = "level", .kind = MERLE_ORDERED, .on = "level"},
                                    {.name = "tags", .kind = MERLE_TAGS, .on = "tags"},
                                    {0}};

static void bulk_open(stand *s, merle_bulk **out_bulk) {
    open_with(s, kinds);
    must(s, merle_bulk_begin(s->players, out_bulk));
}

static merle_err put(merle_bulk *bulk, const char *key, const char *json) {
    merle_buffer doc = doc_of(json);
    merle_err err = merle_bulk_put(bulk, KEY(key), bytes_of(&doc));
    merle_buffer_free(&doc);
    return err;
}

/* ---- seeing ---- */

static void documents_are_seen_all_at_once_at_the_end(void **state) {
    (void)state;
    stand s;
    merle_bulk *bulk;
    merle_section before, during, after;
    uint64_t seq, count;
    open_with(&s, kinds);
    must(&s, merle_section_begin(s.db, &before));
    must(&s, merle_bulk_begin(s.players, &bulk));
    must(&s, put(bulk, "b", "{\"email\":\"x\",\"level\":2,\"tags\":[\"t\"]}"));
    must(&s, merle_section_begin(s.db, &during));
    must(&s, put(bulk, "a", "{\"email\":\"y\",\"level\":1,\"tags\":[\"t\",\"u\"]}"));
    assert_int_equal(count_now(&s), 0);
    assert_there(&s, "b", NULL);
    must(&s, merle_bulk_end(bulk, &seq));
    must(&s, merle_section_begin(s.db, &after));
    assert_true(seq == mrl_log_published_at(s.db->store.published));
    assert_sees(&before, s.players, "b", NULL);
    assert_sees(&during, s.players, "b", NULL);
    assert_string_equal(keys_in(&during, &s, all_of("level")), "");
    assert_sees(&after, s.players, "b", "{\"email\":\"x\",\"level\":2,\"tags\":[\"t\"]}");
    assert_holder(&after, s.players, "email", EMAIL("y"), "a");
    assert_string_equal(keys_in(&after, &s, all_of("level")), "ab");
    must(&s, merle_tag_count(&after, s.players, "tags", merle_value_str("t"), &count));
    assert_int_equal(count, 2);
    must(&s, merle_count(&after, s.players, &count));
    assert_int_equal(count, 2);
    must(&s, merle_section_end(&before));
    must(&s, merle_section_end(&during));
    must(&s, merle_section_end(&after));
    must(&s, one_json(&s, "a", "{\"email\":\"z\"}"));
    assert_int_equal(one_json(&s, "c", "{\"email\":\"x\"}"), MERLE_EXISTS);
    stand_settle(&s);
    writing_close(&s);
}

/* By the field that their schema names; one of them has ended already. */
static void documents_that_end_by_a_field_do(void **state) {
    (void)state;
    stand s;
    merle_bulk *bulk;
    const merle_schema schema = {.version = 1, .expires_on = "end"};
    merle_section section;
    merle_doc doc;
    writing_open(&s, &schema, (merle_options){0}, NULL);
    must(&s, merle_bulk_begin(s.players, &bulk));
    must(&s, put(bulk, "a", "{\"end\":{\"$time\":\"2001-01-01T00:00:00Z\"}}"));
    must(&s, put(bulk, "b", "{\"end\":{\"$time\":\"2201-01-01T00:00:00Z\"}}"));
    must(&s, put(bulk, "c", "{}"));
    must(&s, merle_bulk_end(bulk, NULL));
    must(&s, merle_section_begin(s.db, &section));
    assert_int_equal(merle_get(&section, s.players, KEY("a"), &doc), MERLE_NOT_FOUND);
    must(&s, merle_get(&section, s.players, KEY("b"), &doc));
    assert_true(merle_doc_expires(doc) > 0);
    must(&s, merle_get(&section, s.players, KEY("c"), &doc));
    assert_true(merle_doc_expires(doc) == 0);
    must(&s, merle_section_end(&section));
    stand_settle(&s);
    writing_close(&s);
}

static void load_of_nothing_ends(void **state) {
    (void)state;
    stand s;
    merle_bulk *bulk;
    bulk_open(&s, &bulk);
    must(&s, merle_bulk_end(bulk, NULL));
    must(&s, one_json(&s, "a", "{}"));
    writing_close(&s);
}

/* ---- others ---- */

static void others_are_refused_meanwhile(void **state) {
    (void)state;
    stand s;
    merle_bulk *bulk, *second;
    uint64_t id;
    const merle_index added = {.name = "n", .kind = MERLE_ORDERED, .on = "n"};
    open_with(&s, kinds);
    /* Prepared before, it ends after. */
    merle_commit *commit = begin(&s);
    put_in(&s, commit, "c", "{}");
    must(&s, merle_bulk_begin(s.players, &bulk));
    end_refused(&s, commit, MERLE_BUSY);
    assert_int_equal(one_json(&s, "c", "{}"), MERLE_BUSY);
    assert_string_equal(s.report.collection, "players");
    assert_int_equal(merle_bulk_begin(s.players, &second), MERLE_BUSY);
    assert_null(second);
    assert_int_equal(merle_collection_truncate(s.players, NULL), MERLE_BUSY);
    assert_int_equal(merle_collection_drop(s.players, NULL), MERLE_BUSY);
    assert_int_equal(merle_index_add(s.players, &added, NULL), MERLE_BUSY);
    assert_int_equal(merle_index_drop(s.players, "email", NULL), MERLE_BUSY);
    assert_int_equal(merle_close(s.db), MERLE_BUSY);
    must(&s, merle_collection_next_id(s.players, &id));
    must(&s, put(bulk, "a", "{}"));
    must(&s, merle_bulk_end(bulk, NULL));
    must(&s, one_json(&s, "c", "{}"));
    assert_int_equal(merle_bulk_begin(s.players, &second), MERLE_EXISTS);
    assert_null(second);
    must(&s, merle_collection_truncate(s.players, NULL));
    must(&s, merle_bulk_begin(s.players, &second));
    merle_bulk_cancel(second);
    writing_close(&s);
}

/* ---- what leaves nothing ---- */

static void documents_that_cannot_be_are_left_out(void **state) {
    (void)state;
    stand s;
    merle_bulk *bulk;
    bulk_open(&s, &bulk);
    assert_int_equal(merle_bulk_put(bulk, KEY("x"), merle_bytes_of("\x81", 1)), MERLE_BAD_DOCUMENT);
    assert_string_equal(s.report.collection, "players");
    assert_int_equal(put(bulk, "", "{}"), MERLE_INVALID);
    assert_int_equal(put(bulk, "x", "{\"level\":[]}"), MERLE_TYPE);
    must(&s, put(bulk, "a", "{\"level\":1}"));
    must(&s, merle_bulk_end(bulk, NULL));
    assert_int_equal(count_now(&s), 1);
    writing_close(&s);
}

static void duplicates_refuse_the_whole_load(void **state) {
    (void)state;
    stand s;
    merle_bulk *bulk;
    uint64_t seq = 7;
    bulk_open(&s, &bulk);
    must(&s, put(bulk, "ada", "{\"email\":\"x\"}"));
    must(&s, put(bulk, "bob", "{\"email\":\"y\"}"));
    must(&s, put(bulk, "eve", "{\"email\":\"x\"}"));
    assert_int_equal(merle_bulk_end(bulk, &seq), MERLE_EXISTS);
    assert_int_equal(seq, 0);
    assert_int_equal(s.report.err, MERLE_EXISTS);
    assert_string_equal(s.report.index, "email");
    assert_non_null(strstr(s.report.message, "ada"));
    assert_non_null(strstr(s.report.message, "eve"));
    must(&s, merle_bulk_begin(s.players, &bulk));
    must(&s, put(bulk, "ada", "{\"email\":\"x\"}"));
    must(&s, put(bulk, "ada", "{\"email\":\"y\"}"));
    assert_int_equal(merle_bulk_end(bulk, NULL), MERLE_EXISTS);
    assert_int_equal(count_now(&s), 0);
    must(&s, one_json(&s, "ada", "{\"email\":\"x\"}"));
    stand_settle(&s);
    writing_close(&s);
}

/* It stands against an index that was added to the empty collection, and is in force. */
static void added_index_refuses_duplicates_too(void **state) {
    (void)state;
    stand s;
    merle_bulk *bulk;
    const merle_index added = {.name = "n", .kind = MERLE_UNIQUE, .on = "n"};
    open_with(&s, kinds);
    must(&s, merle_index_add(s.players, &added, NULL));
    must(&s, merle_index_build(s.players, "n"));
    must(&s, merle_bulk_begin(s.players, &bulk));
    must(&s, put(bulk, "a", "{\"n\":1}"));
    must(&s, put(bulk, "b", "{\"n\":1}"));
    assert_int_equal(merle_bulk_end(bulk, NULL), MERLE_EXISTS);
    assert_string_equal(s.report.index, "n");
    stand_settle(&s);
    writing_close(&s);
}

static void cancelled_load_leaves_an_empty_collection(void **state) {
    (void)state;
    stand s;
    merle_bulk *bulk;
    bulk_open(&s, &bulk);
    must(&s, put(bulk, "a", "{\"email\":\"x\"}"));
    merle_bulk_cancel(bulk);
    merle_bulk_cancel(NULL);
    assert_int_equal(count_now(&s), 0);
    must(&s, one_json(&s, "a", "{\"email\":\"x\"}"));
    stand_settle(&s);
    writing_close(&s);
}

/* ---- the log ---- */

enum { MANY = 3000 };

static void put_many(const stand *s, merle_bulk *bulk) {
    char key[24], json[200];
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "k%d", i);
        snprintf(json, sizeof json, "{\"email\":\"%d\",\"level\":%d,\"filler\":\"%080d\"}", i,
                 i % 100, i);
        must(s, put(bulk, key, json));
    }
}

static void log_tells_documents_in_pieces_and_then_that_they_count(void **state) {
    (void)state;
    enum { ROOM = 512 };
    static merle_change got[ROOM];
    stand s;
    merle_bulk *bulk;
    merle_changes *changes;
    uint64_t first, last, puts = 0, records = 0, seq = 0;
    size_t count;
    merle_options options = {.ring_size = 4 << 20};
    const merle_schema schema = {.version = 1, .indexes = kinds};
    writing_open(&s, &schema, options, NULL);
    const merle_changes_options all = {.after_seq = 1};
    must(&s, merle_changes_open(s.db, &all, &changes));
    must(&s, merle_bulk_begin(s.players, &bulk));
    first = mrl_log_published_at(s.db->store.published);
    assert_int_equal(mrl_collection_current(s.players)->is_loading, 1);
    put_many(&s, bulk);
    /* The largest record is a mebibyte, and none has come yet. */
    must(&s, merle_bulk_end(bulk, &last));
    merle_change_kind kind = MERLE_CHANGE_DEFINE;
    while (merle_changes_next(changes, got, ROOM, &count) == MERLE_OK && count > 0)
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(got[i].origin, MERLE_ORIGIN_LOAD);
            if (got[i].seq == first) assert_int_equal(got[i].kind, MERLE_CHANGE_TRUNCATE);
            if (got[i].kind == MERLE_CHANGE_PUT) assert_int_equal(got[i].slot, puts++);
            if (got[i].seq != seq) records++;
            seq = got[i].seq;
            kind = got[i].kind;
        }
    assert_int_equal(puts, MANY);
    assert_int_equal(kind, MERLE_CHANGE_LOADED);
    assert_true(seq == last && last == first + records - 1);
    merle_changes_close(changes);
    writing_close(&s);
}

/* What recovery does with one record. */
static void replay_record(const stand *to, mrl_load *load, const mrl_entry *entry) {
    mrl_record_reader reader;
    mrl_record_operation_view o;
    mrl_member *member = mrl_member_join(to->db->domain);
    merle_report report;
    must(to, mrl_record_read_begin(merle_bytes_of(entry->body, entry->body_size), &reader));
    while (mrl_record_read_next(&reader, &o) == MERLE_OK) {
        if (o.kind == MRL_RECORD_DEFINE) {
            must(to, mrl_load_define(load, member, o.payload, entry->seq, &report));
            continue;
        }
        mrl_load_collection *c = mrl_load_find(load, o.collection_id);
        must(to, mrl_load_concern(c, member, o.kind, reader.origin, entry->seq));
        if (o.kind == MRL_RECORD_TRUNCATE)
            for (uint32_t slot = 0; slot < mrl_load_slots_end(c); slot++)
                must(to, mrl_load_remove(c, member, slot, entry->seq));
        else if (o.kind == MRL_RECORD_PUT)
            must(to, mrl_load_put(c, member, o.slot, o.key, o.payload, entry->seq, o.expires_ns,
                                  &report));
        else if (o.kind == MRL_RECORD_REMOVE)
            must(to, mrl_load_remove(c, member, o.slot, entry->seq));
        else if (o.kind == MRL_RECORD_SEQUENCE)
            mrl_load_ids(c, 2000);
    }
}

/* Replays the log up to a record into an empty database; gives how many documents it has then. */
static uint64_t replay(const stand *from, uint64_t last) {
    stand to;
    mrl_load *load;
    const mrl_load_options options = {.thread_count = 1};
    merle_options opening = {.threads = MERLE_THREADS_NONE, .report = &to.report};
    memset(&to, 0, sizeof to);
    must(&to, merle_open(NULL, &opening, &to.db));
    mrl_member *member = mrl_member_join(to.db->domain);
    must(&to, mrl_load_begin(&to.db->store, member, &options, &load));
    for (uint64_t seq = 1; seq <= last; seq++) {
        const mrl_entry *entry;
        uint64_t first;
        mrl_epoch_token token;
        mrl_member *reader = mrl_member_join(from->db->domain);
        mrl_member_enter(reader, &token);
        must(from, mrl_log_read(from->db->log, seq, &entry, &first));
        replay_record(&to, load, entry);
        mrl_member_leave(reader, &token);
    }
    must(&to, mrl_load_finish(load, member, &to.report));
    mrl_log_start(to.db->log, last, 1);
    must(&to, merle_collection_find(to.db, "players", &to.players));
    uint64_t count = count_now(&to);
    writing_close(&to);
    return count;
}

static void log_cut_off_anywhere_gives_all_or_nothing(void **state) {
    (void)state;
    stand s;
    merle_bulk *bulk;
    uint64_t begun, ended, id, now;
    merle_options options = {.ring_size = 64 << 10};
    const merle_schema schema = {.version = 1, .indexes = kinds};
    writing_open(&s, &schema, options, NULL);
    must(&s, merle_bulk_begin(s.players, &bulk));
    begun = mrl_log_published_at(s.db->store.published);
    for (int i = 0; i < 300; i++) {
        char key[24], json[160];
        snprintf(key, sizeof key, "k%d", i);
        snprintf(json, sizeof json, "{\"email\":\"%d\",\"filler\":\"%050d\"}", i, i);
        must(&s, put(bulk, key, json));
        if (i == 150) must(&s, merle_collection_next_id(s.players, &id));
    }
    must(&s, merle_bulk_end(bulk, &ended));
    must(&s, merle_one_remove(s.players, KEY("k7"), NULL));
    now = mrl_log_published_at(s.db->store.published);
    assert_true(ended > begun + 2);
    for (uint64_t seq = begun; seq < ended; seq++) assert_int_equal(replay(&s, seq), 0);
    assert_int_equal(replay(&s, ended), 300);
    assert_int_equal(replay(&s, now), 299);
    writing_close(&s);
}

/* As if the process had ended inside a load, and the next one had begun with a commit. */
static void commit_of_another_origin_ends_a_load_that_was_cut_off(void **state) {
    (void)state;
    stand s;
    merle_report report;
    merle_buffer doc = doc_of("{}");
    const mrl_load_options options = {.thread_count = 1};
    merle_options opening = {.threads = MERLE_THREADS_NONE, .report = &s.report};
    mrl_load *load;
    memset(&s, 0, sizeof s);
    must(&s, merle_open(NULL, &opening, &s.db));
    mrl_member *member = mrl_member_join(s.db->domain);
    must(&s, mrl_load_begin(&s.db->store, member, &options, &load));
    merle_buffer definition =
        doc_of("{\"name\":\"players\",\"id\":1,\"version\":1,\"indexes\":[],\"rules\":[]}");
    must(&s, mrl_load_define(load, member, bytes_of(&definition), 1, &report));
    mrl_load_collection *c = mrl_load_find(load, 1);
    must(&s, mrl_load_concern(c, member, MRL_RECORD_TRUNCATE, MERLE_ORIGIN_LOAD, 2));
    must(&s, mrl_load_concern(c, member, MRL_RECORD_PUT, MERLE_ORIGIN_LOAD, 3));
    must(&s, mrl_load_put(c, member, 0, KEY("a"), bytes_of(&doc), 3, 0, &report));
    must(&s, mrl_load_concern(c, member, MRL_RECORD_SEQUENCE, MERLE_ORIGIN_APPLICATION, 4));
    assert_int_equal(mrl_load_is_loading(c), 1);
    must(&s, mrl_load_concern(c, member, MRL_RECORD_PUT, MERLE_ORIGIN_APPLICATION, 5));
    assert_int_equal(mrl_load_is_loading(c), 0);
    must(&s, mrl_load_put(c, member, 1, KEY("b"), bytes_of(&doc), 5, 0, &report));
    must(&s, mrl_load_finish(load, member, &report));
    mrl_log_start(s.db->log, 5, 1);
    must(&s, merle_collection_find(s.db, "players", &s.players));
    assert_there(&s, "a", NULL);
    assert_there(&s, "b", "{}");
    merle_buffer_free(&doc);
    merle_buffer_free(&definition);
    writing_close(&s);
}

/* ---- memory ---- */

static uint64_t load_with(void *context, uint64_t grants) {
    stand s;
    supply memory;
    merle_bulk *bulk = NULL;
    const merle_schema schema = {.version = 1, .indexes = kinds};
    (void)context;
    supply_init(&memory);
    const mrl_environment environment = {.refusal = &memory.refusal};
    writing_open(&s, &schema, (merle_options){.ring_size = 64 << 10}, &environment);
    supply_only(&memory, grants);
    merle_err err = merle_bulk_begin(s.players, &bulk);
    if (err == MERLE_OK) {
        err = put(bulk, "a", "{\"email\":\"x\",\"level\":1,\"tags\":[\"t\"]}");
        if (err == MERLE_OK) err = put(bulk, "b", "{\"email\":\"y\",\"level\":2}");
        if (err == MERLE_OK)
            err = merle_bulk_end(bulk, NULL);
        else
            merle_bulk_cancel(bulk);
    }
    uint64_t refused = supply_all(&memory);
    if (refused > 0 && err != MERLE_OK) {
        assert_int_equal(err, MERLE_NO_MEMORY);
        assert_int_equal(s.report.err, MERLE_NO_MEMORY);
        assert_int_equal(count_now(&s), 0);
        must(&s, one_json(&s, "a", "{\"email\":\"x\"}"));
    } else {
        assert_keys(&s, all_of("level"), "ab");
    }
    stand_settle(&s);
    writing_close(&s);
    return refused;
}

static void refused_memory_leaves_an_empty_collection(void **state) {
    (void)state;
    refuse_in_turn(load_with, NULL, 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_seen_all_at_once_at_the_end),
        cmocka_unit_test(documents_that_end_by_a_field_do),
        cmocka_unit_test(load_of_nothing_ends),
        cmocka_unit_test(others_are_refused_meanwhile),
        cmocka_unit_test(documents_that_cannot_be_are_left_out),
        cmocka_unit_test(duplicates_refuse_the_whole_load),
        cmocka_unit_test(added_index_refuses_duplicates_too),
        cmocka_unit_test(cancelled_load_leaves_an_empty_collection),
        cmocka_unit_test(log_tells_documents_in_pieces_and_then_that_they_count),
        cmocka_unit_test(log_cut_off_anywhere_gives_all_or_nothing),
        cmocka_unit_test(commit_of_another_origin_ends_a_load_that_was_cut_off),
        cmocka_unit_test(refused_memory_leaves_an_empty_collection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
