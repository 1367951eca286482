/* tests/unit/wire/event_test.c - the coding of what publisher, service and subscribers say.
 *
 * Aim     What docs/protocol.md says is what is written and read: news, questions, answers; foreign
 *         bytes are refused, and never read beyond their end; elements that are not known yet are
 *         passed over.
 * Method  The page's examples are compared byte for byte. Each sort of message is written with all
 *         parts set, and read back; each is cut off at every byte, in a block of exactly that size.
 * Blind   Other languages' readers are tried in the examples' own tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "wire/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint64_t DATABASE[2] = {0x1112131415161718u, 0x2122232425262728u};
#define TERM 0x3132333435363738u
#define HISTORY_BYTES                                                                             \
    0xc4, 24, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, \
        0x27, 0x28, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38

static mrl_wire_history history(void) {
    mrl_wire_history made;
    mrl_wire_history_set(&made, DATABASE, TERM);
    return made;
}

static void expect_bytes(merle_bytes found, const char *expected) {
    assert_int_equal(found.size, strlen(expected));
    assert_memory_equal(found.data, expected, found.size);
}

static merle_bytes contents(const merle_buffer *buffer) {
    return merle_bytes_of(buffer->data, buffer->size);
}

/* The example of the page: in commit 9, which has three operations, the second one puts a document
 * under p17 in slot 5 of collection 7. */
static void write_commit(merle_buffer *buffer) {
    mrl_wire_commit_writer writer = {0};
    mrl_wire_commit commit = {.seq = 9, .time_ns = 1000, .app = MERLE_STR("ops"), .count = 3};
    mrl_record_operation_view view = {.collection_id = 7,
                                      .slot = 5,
                                      .kind = MRL_RECORD_PUT,
                                      .key = MERLE_STR("p17"),
                                      .payload = MERLE_STR("\x81\xa4gold\x03")};
    assert_int_equal(mrl_wire_commit_begin(&writer, buffer, &commit), MERLE_OK);
    assert_int_equal(mrl_wire_operation_add(&writer, buffer, 1, &view), MERLE_OK);
    assert_true(mrl_wire_commit_end(&writer, buffer));
}

static mrl_wire_news batch_of(const merle_buffer *commits) {
    mrl_wire_news news = {.type = MRL_WIRE_BATCH,
                          .name = MERLE_STR("players"),
                          .history = history(),
                          .from = 8,
                          .to = 10,
                          .before = 4,
                          .collection_id = 7,
                          .commits = mrl_wire_list_of(commits, 1)};
    return news;
}

/* ---- known bytes ---- */

static const uint8_t BATCH[] = {'p',  'l',  'a',  'y',
                                'e',  'r',  's',  0,             /* topic */
                                0x98, 1,    1,    HISTORY_BYTES, /* version, batch, history */
                                8,    10,   4,    7,             /* from, to, before, collection */
                                0x91, 0x96, 9,    0xcd,
                                0x03, 0xe8, 0, /* one commit: seq, time, origin */
                                0xc4, 3,    'o',  'p',
                                's',  3, /* app, operations of the commit */
                                0xdd, 0,    0,    0,
                                2,    1, /* one pair: position 1, */
                                0x96, 7,    0xce, 0,
                                0,    0,    5, /* collection, slot */
                                0xc4, 3,    'p',  '1',
                                '7',  1, /* key, put */
                                0x81, 0xa4, 'g',  'o',
                                'l',  'd',  3,    0xc0}; /* document, never expires */

static void batch_example_has_known_bytes(void **state) {
    merle_buffer commits = {0}, message = {0};
    (void)state;
    write_commit(&commits);
    mrl_wire_news news = batch_of(&commits);
    assert_int_equal(mrl_wire_news_write(&news, &message), MERLE_OK);
    assert_int_equal(message.size, sizeof BATCH);
    assert_memory_equal(message.data, BATCH, sizeof BATCH);
    merle_buffer_free(&commits);
    merle_buffer_free(&message);
}

static void batch_example_reads_back_the_same(void **state) {
    mrl_wire_news news;
    mrl_wire_commit commit;
    mrl_record_operation_view view;
    uint32_t position;
    uint64_t database_id[2], term;
    (void)state;
    assert_int_equal(mrl_wire_news_read(merle_bytes_of(BATCH, sizeof BATCH), &news), MERLE_OK);
    assert_int_equal(news.type, MRL_WIRE_BATCH);
    expect_bytes(news.name, "players");
    mrl_wire_history_get(&news.history, database_id, &term);
    assert_true(database_id[0] == DATABASE[0] && database_id[1] == DATABASE[1] && term == TERM);
    assert_true(news.from == 8 && news.to == 10 && news.before == 4 && news.collection_id == 7);
    assert_int_equal(mrl_wire_commit_next(&news.commits, &commit), MERLE_OK);
    assert_true(commit.seq == 9 && commit.time_ns == 1000 && commit.count == 3);
    expect_bytes(commit.app, "ops");
    assert_int_equal(mrl_wire_operation_next(&commit, &position, &view), MERLE_OK);
    assert_true(position == 1 && view.collection_id == 7 && view.slot == 5);
    expect_bytes(view.key, "p17");
    assert_int_equal(view.payload.size, 7);
    assert_int_equal(mrl_wire_operation_next(&commit, &position, &view), MERLE_NOT_FOUND);
    assert_int_equal(mrl_wire_commit_next(&news.commits, &commit), MERLE_NOT_FOUND);
}

static void beat_example_has_known_bytes(void **state) {
    static const uint8_t expected[] = {0, 0x96, 1, 2, HISTORY_BYTES, 8, 10, 0x91, 7};
    merle_buffer ids = {0}, message = {0};
    mrl_wire_news news = {.type = MRL_WIRE_BEAT, .history = history(), .from = 8, .to = 10};
    uint32_t id;
    (void)state;
    assert_int_equal(mrl_wire_id_add(&ids, 7), MERLE_OK);
    news.collections = mrl_wire_list_of(&ids, 1);
    assert_int_equal(mrl_wire_news_write(&news, &message), MERLE_OK);
    assert_int_equal(message.size, sizeof expected);
    assert_memory_equal(message.data, expected, sizeof expected);
    assert_int_equal(mrl_wire_news_read(contents(&message), &news), MERLE_OK);
    assert_int_equal(mrl_wire_id_next(&news.collections, &id), MERLE_OK);
    assert_int_equal(id, 7);
    assert_int_equal(mrl_wire_id_next(&news.collections, &id), MERLE_NOT_FOUND);
    merle_buffer_free(&ids);
    merle_buffer_free(&message);
}

static void hello_example_has_known_bytes(void **state) {
    static const uint8_t expected[] = {0x95, 1, 1, 0xc0, 0xc4, 2, 's', '!', 0xa2, 'm', 'e'};
    merle_buffer message = {0};
    mrl_wire_question question = {
        .op = MRL_WIRE_HELLO, .secret = MERLE_STR("s!"), .client = MERLE_STR("me")};
    (void)state;
    assert_int_equal(mrl_wire_question_write(&question, &message), MERLE_OK);
    assert_int_equal(message.size, sizeof expected);
    assert_memory_equal(message.data, expected, sizeof expected);
    merle_buffer_free(&message);
}

/* ---- all parts, there and back ---- */

static mrl_wire_question question_of(mrl_wire_op op, const merle_buffer *filters) {
    mrl_wire_question question = {.op = op,
                                  .token = MERLE_STR("0123456789abcdef"),
                                  .secret = MERLE_STR("secret"),
                                  .client = MERLE_STR("chat"),
                                  .history = history(),
                                  .after_seq = 1u << 20,
                                  .after_position = 70000,
                                  .filters = mrl_wire_list_of(filters, 1),
                                  .wait_ms = 30000,
                                  .why = MRL_WIRE_RESUME,
                                  .lost = 5,
                                  .name = MERLE_STR("players"),
                                  .prefix = MERLE_STR("p"),
                                  .condition = MERLE_STR("gold > 3 and gold < 1000000000000000000"),
                                  .cursor = MERLE_STR("there"),
                                  .bytes_max = 4096,
                                  .verb = MERLE_STR("info"),
                                  .arguments = MERLE_STR("\x80")};
    return question;
}

static void question_changes_reads_back_the_same(void **state) {
    merle_buffer filters = {0}, message = {0};
    mrl_wire_filter filter = {.name = MERLE_STR("players"),
                              .has_id = 1,
                              .collection_id = 7,
                              .condition = MERLE_STR("gold > 3")};
    mrl_wire_question read;
    (void)state;
    assert_int_equal(mrl_wire_filter_add(&filters, &filter), MERLE_OK);
    mrl_wire_question question = question_of(MRL_WIRE_CHANGES, &filters);
    assert_int_equal(mrl_wire_question_write(&question, &message), MERLE_OK);
    assert_int_equal(mrl_wire_question_read(contents(&message), &read), MERLE_OK);
    assert_int_equal(read.op, MRL_WIRE_CHANGES);
    expect_bytes(read.token, "0123456789abcdef");
    assert_memory_equal(&read.history, &question.history, sizeof read.history);
    assert_true(read.after_seq == 1u << 20 && read.after_position == 70000);
    assert_true(read.wait_ms == 30000 && read.bytes_max == 4096 && read.lost == 5);
    assert_int_equal(read.why, MRL_WIRE_RESUME);
    memset(&filter, 0, sizeof filter);
    assert_int_equal(mrl_wire_filter_next(&read.filters, &filter), MERLE_OK);
    expect_bytes(filter.name, "players");
    assert_true(filter.has_id && filter.collection_id == 7 && filter.prefix.data == NULL);
    expect_bytes(filter.condition, "gold > 3");
    assert_int_equal(mrl_wire_filter_next(&read.filters, &filter), MERLE_NOT_FOUND);
    merle_buffer_free(&filters);
    merle_buffer_free(&message);
}

static void question_snapshot_and_operate_read_back_the_same(void **state) {
    merle_buffer none = {0}, message = {0};
    mrl_wire_question read;
    (void)state;
    mrl_wire_question question = question_of(MRL_WIRE_SNAPSHOT, &none);
    assert_int_equal(mrl_wire_question_write(&question, &message), MERLE_OK);
    assert_int_equal(mrl_wire_question_read(contents(&message), &read), MERLE_OK);
    expect_bytes(read.name, "players");
    expect_bytes(read.prefix, "p");
    expect_bytes(read.condition, "gold > 3 and gold < 1000000000000000000");
    expect_bytes(read.cursor, "there");
    assert_int_equal(read.bytes_max, 4096);
    message.size = 0;
    question = question_of(MRL_WIRE_OPERATE, &none);
    assert_int_equal(mrl_wire_question_write(&question, &message), MERLE_OK);
    assert_int_equal(mrl_wire_question_read(contents(&message), &read), MERLE_OK);
    expect_bytes(read.verb, "info");
    assert_int_equal(read.arguments.size, 1);
    merle_buffer_free(&message);
}

static void fill_greeting(mrl_wire_answer *answer, merle_buffer *terms, merle_buffer *collections) {
    mrl_wire_term term = {.id = 77, .end = 1000};
    mrl_wire_collection collection = {
        .name = MERLE_STR("players"), .id = 7, .is_memory_only = 1, .version = 2};
    assert_int_equal(mrl_wire_term_add(terms, &term), MERLE_OK);
    assert_int_equal(mrl_wire_collection_add(collections, &collection), MERLE_OK);
    *answer = (mrl_wire_answer){.op = MRL_WIRE_HELLO,
                                .history = history(),
                                .newest = 500,
                                .oldest = 20,
                                .token = "0123456789abcde",
                                .terms = mrl_wire_list_of(terms, 1),
                                .bytes_max = 1 << 22,
                                .wait_ms_max = 30000,
                                .request_max = 1 << 16,
                                .rights = MRL_WIRE_MAY_READ,
                                .collections = mrl_wire_list_of(collections, 1),
                                .data_on_news = 1};
}

static void answer_greeting_reads_back_the_same(void **state) {
    merle_buffer terms = {0}, collections = {0}, message = {0};
    mrl_wire_answer answer, read;
    mrl_wire_term term;
    mrl_wire_collection collection;
    (void)state;
    fill_greeting(&answer, &terms, &collections);
    assert_int_equal(mrl_wire_answer_write(&answer, &message), MERLE_OK);
    assert_int_equal(mrl_wire_answer_read(contents(&message), &read), MERLE_OK);
    assert_true(read.op == MRL_WIRE_HELLO && read.status == MRL_WIRE_OK);
    assert_true(read.newest == 500 && read.oldest == 20 && read.bytes_max == 1 << 22);
    assert_true(read.wait_ms_max == 30000 && read.request_max == 1 << 16);
    assert_true(read.rights == MRL_WIRE_MAY_READ && read.data_on_news == 1);
    assert_memory_equal(read.token, answer.token, sizeof read.token);
    assert_int_equal(mrl_wire_term_next(&read.terms, &term), MERLE_OK);
    assert_true(term.id == 77 && term.end == 1000);
    assert_int_equal(mrl_wire_term_next(&read.terms, &term), MERLE_NOT_FOUND);
    assert_int_equal(mrl_wire_collection_next(&read.collections, &collection), MERLE_OK);
    expect_bytes(collection.name, "players");
    assert_true(collection.id == 7 && collection.is_memory_only == 1 && collection.version == 2);
    merle_buffer_free(&terms);
    merle_buffer_free(&collections);
    merle_buffer_free(&message);
}

static void answer_page_and_changes_read_back_the_same(void **state) {
    merle_buffer list = {0}, message = {0};
    mrl_wire_document document = {
        .key = MERLE_STR("p17"), .document = MERLE_STR("\x80"), .seq = 3, .expires_ns = -5};
    mrl_wire_commit commit;
    mrl_wire_answer read;
    (void)state;
    assert_int_equal(mrl_wire_document_add(&list, &document), MERLE_OK);
    mrl_wire_answer answer = {.op = MRL_WIRE_SNAPSHOT,
                              .history = history(),
                              .has_collection = 1,
                              .collection_id = 7,
                              .seq = 12,
                              .cursor = MERLE_STR("here"),
                              .documents = mrl_wire_list_of(&list, 1)};
    assert_int_equal(mrl_wire_answer_write(&answer, &message), MERLE_OK);
    assert_int_equal(mrl_wire_answer_read(contents(&message), &read), MERLE_OK);
    assert_true(read.has_collection && read.collection_id == 7 && read.seq == 12);
    expect_bytes(read.cursor, "here");
    assert_int_equal(mrl_wire_document_next(&read.documents, &document), MERLE_OK);
    expect_bytes(document.key, "p17");
    assert_true(document.seq == 3 && document.expires_ns == -5 && document.document.size == 1);
    list.size = message.size = 0;
    write_commit(&list);
    answer = (mrl_wire_answer){.op = MRL_WIRE_CHANGES,
                               .newest = 30,
                               .upto_seq = 8,
                               .upto_position = 2,
                               .commits = mrl_wire_list_of(&list, 1)};
    assert_int_equal(mrl_wire_answer_write(&answer, &message), MERLE_OK);
    assert_int_equal(mrl_wire_answer_read(contents(&message), &read), MERLE_OK);
    assert_true(read.newest == 30 && read.upto_seq == 8 && read.upto_position == 2);
    assert_int_equal(mrl_wire_commit_next(&read.commits, &commit), MERLE_OK);
    merle_buffer_free(&list);
    merle_buffer_free(&message);
}

static void answer_refusal_reads_back_the_same(void **state) {
    merle_buffer message = {0};
    mrl_wire_answer read, answer = {.op = MRL_WIRE_CHANGES,
                                    .status = MRL_WIRE_LOST,
                                    .text = MERLE_STR("lost"),
                                    .number = 88};
    (void)state;
    assert_int_equal(mrl_wire_answer_write(&answer, &message), MERLE_OK);
    assert_int_equal(mrl_wire_answer_read(contents(&message), &read), MERLE_OK);
    assert_true(read.op == MRL_WIRE_CHANGES && read.status == MRL_WIRE_LOST && read.number == 88);
    expect_bytes(read.text, "lost");
    merle_buffer_free(&message);
}

static void commit_without_operations_leaves_nothing(void **state) {
    merle_buffer buffer = {0};
    mrl_wire_commit_writer writer = {0};
    mrl_wire_commit commit = {.seq = 1, .count = 1};
    (void)state;
    assert_int_equal(mrl_wire_commit_begin(&writer, &buffer, &commit), MERLE_OK);
    assert_false(mrl_wire_commit_end(&writer, &buffer));
    assert_int_equal(buffer.size, 0);
    merle_buffer_free(&buffer);
}

static void batch_too_large_has_nil(void **state) {
    merle_buffer message = {0}, none = {0};
    mrl_wire_news read, news = batch_of(&none);
    (void)state;
    news.commits = (mrl_wire_list){0};
    assert_int_equal(mrl_wire_news_write(&news, &message), MERLE_OK);
    assert_int_equal(message.data[message.size - 1], 0xc0);
    assert_int_equal(mrl_wire_news_read(contents(&message), &read), MERLE_OK);
    assert_null(read.commits.at);
    merle_buffer_free(&message);
}

/* ---- foreign bytes ---- */

static void elements_not_known_are_passed_over(void **state) {
    static const uint8_t newest[] = {0x95, 1, 4, 0xc0, 0x92, 1, 0xa1, 'x', 0xc3};
    static const uint8_t answer[] = {0x96, 1, 4, 0, HISTORY_BYTES, 9, 0x81, 1, 2};
    mrl_wire_question question;
    mrl_wire_answer read;
    (void)state;
    assert_int_equal(mrl_wire_question_read(merle_bytes_of(newest, sizeof newest), &question),
                     MERLE_OK);
    assert_int_equal(question.op, MRL_WIRE_NEWEST);
    assert_int_equal(mrl_wire_answer_read(merle_bytes_of(answer, sizeof answer), &read), MERLE_OK);
    assert_true(read.newest == 9);
}

static void version_or_op_not_known_is_unsupported(void **state) {
    static const uint8_t version[] = {0x93, 2, 4, 0xc0}, op[] = {0x93, 1, 15, 0xc0};
    mrl_wire_question question;
    (void)state;
    assert_int_equal(mrl_wire_question_read(merle_bytes_of(version, sizeof version), &question),
                     MERLE_UNSUPPORTED);
    assert_int_equal(mrl_wire_question_read(merle_bytes_of(op, sizeof op), &question),
                     MERLE_UNSUPPORTED);
}

/* A copy in a block of exactly its size; free it. */
static uint8_t *exact_copy(const void *data, size_t size) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    if (size > 0) memcpy(copy, data, size);
    return copy;
}

/* With all that is in it: the end of a list is not looked at before it is read. */
static merle_err read_batch(merle_bytes message) {
    mrl_wire_news news;
    mrl_wire_commit commit;
    mrl_record_operation_view view;
    uint32_t position;
    merle_err err = mrl_wire_news_read(message, &news);
    if (err != MERLE_OK) return err;
    while ((err = mrl_wire_commit_next(&news.commits, &commit)) == MERLE_OK) {
        while ((err = mrl_wire_operation_next(&commit, &position, &view)) == MERLE_OK) continue;
        if (err != MERLE_NOT_FOUND) return err;
    }
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

static void message_cut_anywhere_is_corrupt(void **state) {
    merle_buffer none = {0}, message = {0}, terms = {0}, collections = {0};
    mrl_wire_question question = question_of(MRL_WIRE_CHANGES, &none);
    mrl_wire_answer answer;
    (void)state;
    assert_int_equal(read_batch(merle_bytes_of(BATCH, sizeof BATCH)), MERLE_OK);
    for (size_t size = 0; size < sizeof BATCH; size++) {
        uint8_t *copy = exact_copy(BATCH, size);
        assert_int_equal(read_batch(merle_bytes_of(copy, size)), MERLE_CORRUPT);
        free(copy);
    }
    assert_int_equal(mrl_wire_question_write(&question, &message), MERLE_OK);
    for (size_t size = 0; size < message.size; size++) {
        uint8_t *copy = exact_copy(message.data, size);
        assert_int_equal(mrl_wire_question_read(merle_bytes_of(copy, size), &question),
                         MERLE_CORRUPT);
        free(copy);
    }
    message.size = 0;
    fill_greeting(&answer, &terms, &collections);
    assert_int_equal(mrl_wire_answer_write(&answer, &message), MERLE_OK);
    for (size_t size = 0; size < message.size; size++) {
        uint8_t *copy = exact_copy(message.data, size);
        assert_int_equal(mrl_wire_answer_read(merle_bytes_of(copy, size), &answer), MERLE_CORRUPT);
        free(copy);
    }
    merle_buffer_free(&terms);
    merle_buffer_free(&collections);
    merle_buffer_free(&message);
}

/* What stands behind the commits belongs to the message only if its array says so. */
static void bytes_behind_the_commits_are_elements_or_corrupt(void **state) {
    uint8_t bytes[sizeof BATCH + 1];
    (void)state;
    memcpy(bytes, BATCH, sizeof BATCH);
    bytes[sizeof BATCH] = 1;
    assert_int_equal(read_batch(merle_bytes_of(bytes, sizeof bytes)), MERLE_CORRUPT);
    bytes[8]++;
    assert_int_equal(read_batch(merle_bytes_of(bytes, sizeof bytes)), MERLE_OK);
}

static void commit_of_two_operations_is_read_or_corrupt(void **state) {
    merle_buffer commits = {0}, message = {0};
    mrl_wire_commit_writer writer = {0};
    mrl_wire_commit commit = {.seq = 9, .count = 3};
    mrl_record_operation_view view = {
        .collection_id = 7, .kind = MRL_RECORD_REMOVE, .key = MERLE_STR("p17")};
    (void)state;
    assert_int_equal(mrl_wire_commit_begin(&writer, &commits, &commit), MERLE_OK);
    assert_int_equal(mrl_wire_operation_add(&writer, &commits, 0, &view), MERLE_OK);
    assert_int_equal(mrl_wire_operation_add(&writer, &commits, 2, &view), MERLE_OK);
    assert_true(mrl_wire_commit_end(&writer, &commits));
    write_commit(&commits);
    mrl_wire_news news = batch_of(&commits);
    news.commits.left = 2;
    assert_int_equal(mrl_wire_news_write(&news, &message), MERLE_OK);
    assert_int_equal(read_batch(contents(&message)), MERLE_OK);
    for (size_t size = 0; size < message.size; size++) {
        uint8_t *copy = exact_copy(message.data, size);
        assert_int_equal(read_batch(merle_bytes_of(copy, size)), MERLE_CORRUPT);
        free(copy);
    }
    merle_buffer_free(&commits);
    merle_buffer_free(&message);
}

static void position_beyond_the_commit_is_corrupt(void **state) {
    uint8_t bytes[sizeof BATCH];
    mrl_wire_news news;
    mrl_wire_commit commit;
    mrl_record_operation_view view;
    uint32_t position;
    (void)state;
    memcpy(bytes, BATCH, sizeof bytes);
    uint8_t *at = memchr(bytes, 0xdd, sizeof bytes);
    assert_non_null(at);
    at[5] = 3; /* the commit has the positions 0 to 2 */
    assert_int_equal(mrl_wire_news_read(merle_bytes_of(bytes, sizeof bytes), &news), MERLE_OK);
    assert_int_equal(mrl_wire_commit_next(&news.commits, &commit), MERLE_OK);
    assert_int_equal(mrl_wire_operation_next(&commit, &position, &view), MERLE_CORRUPT);
}

static void filters_beyond_the_limit_are_corrupt(void **state) {
    merle_buffer filters = {0}, message = {0};
    mrl_wire_filter filter = {.name = MERLE_STR("a")};
    (void)state;
    for (uint32_t count = MRL_WIRE_FILTER_MAX; count <= MRL_WIRE_FILTER_MAX + 1; count++) {
        filters.size = message.size = 0;
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(mrl_wire_filter_add(&filters, &filter), MERLE_OK);
        mrl_wire_question question = question_of(MRL_WIRE_CHANGES, &filters);
        question.filters = mrl_wire_list_of(&filters, count);
        assert_int_equal(mrl_wire_question_write(&question, &message), MERLE_OK);
        assert_int_equal(mrl_wire_question_read(contents(&message), &question),
                         count > MRL_WIRE_FILTER_MAX ? MERLE_CORRUPT : MERLE_OK);
    }
    merle_buffer_free(&filters);
    merle_buffer_free(&message);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_example_has_known_bytes),
        cmocka_unit_test(batch_example_reads_back_the_same),
        cmocka_unit_test(beat_example_has_known_bytes),
        cmocka_unit_test(hello_example_has_known_bytes),
        cmocka_unit_test(question_changes_reads_back_the_same),
        cmocka_unit_test(question_snapshot_and_operate_read_back_the_same),
        cmocka_unit_test(answer_greeting_reads_back_the_same),
        cmocka_unit_test(answer_page_and_changes_read_back_the_same),
        cmocka_unit_test(answer_refusal_reads_back_the_same),
        cmocka_unit_test(commit_without_operations_leaves_nothing),
        cmocka_unit_test(batch_too_large_has_nil),
        cmocka_unit_test(elements_not_known_are_passed_over),
        cmocka_unit_test(version_or_op_not_known_is_unsupported),
        cmocka_unit_test(message_cut_anywhere_is_corrupt),
        cmocka_unit_test(bytes_behind_the_commits_are_elements_or_corrupt),
        cmocka_unit_test(commit_of_two_operations_is_read_or_corrupt),
        cmocka_unit_test(position_beyond_the_commit_is_corrupt),
        cmocka_unit_test(filters_beyond_the_limit_are_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
