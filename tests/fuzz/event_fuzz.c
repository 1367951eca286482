/* tests/fuzz/event_fuzz.c - fuzzes the readers of what publisher, service and subscribers say.
 *
 * Aim     Whatever the bytes are, reading stays within them, ends, and answers MERLE_OK,
 *         MERLE_CORRUPT or MERLE_UNSUPPORTED; what was read without an error can be written again
 *         and reads the same.
 * Method  Each input is read as news, as a question and as an answer: both ends in one. Lists are
 *         read to their end. What was read is written, read again, and compared by writing it a
 *         second time.
 * Blind   It does not look into documents, effects and definitions; they have readers of their own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/fuzz/driver.h"
#include "wire/event.h"

static const uint8_t *input;
static size_t input_size;

static void check_inside(merle_bytes bytes) {
    if (bytes.size == 0) return;
    const uint8_t *data = bytes.data;
    MRL_ASSERT(data >= input && data + bytes.size <= input + input_size);
}

static void check_end(merle_err err) {
    MRL_ASSERT(err == MERLE_NOT_FOUND || err == MERLE_CORRUPT);
}

static void read_commits(mrl_wire_list commits) {
    mrl_wire_commit commit;
    mrl_record_operation_view view;
    uint32_t position, last = 0;
    merle_err err;
    if (commits.at == NULL) return;
    while ((err = mrl_wire_commit_next(&commits, &commit)) == MERLE_OK) {
        uint32_t count = 0, claimed = commit.operations.left;
        check_inside(commit.app);
        MRL_ASSERT(commit.seq > 0);
        while ((err = mrl_wire_operation_next(&commit, &position, &view)) == MERLE_OK) {
            MRL_ASSERT(position < commit.count && (count == 0 || position > last));
            check_inside(view.key);
            check_inside(view.payload);
            last = position;
            count++;
        }
        check_end(err);
        if (err == MERLE_NOT_FOUND) MRL_ASSERT(count == claimed);
    }
    check_end(err);
}

static void compare(const merle_buffer *first, const merle_buffer *second) {
    MRL_ASSERT(first->size == second->size);
    MRL_ASSERT(memcmp(first->data, second->data, first->size) == 0);
}

static void fuzz_news(merle_bytes message) {
    mrl_wire_news news, again;
    merle_buffer first = {0}, second = {0};
    uint32_t id;
    merle_err err = mrl_wire_news_read(message, &news);
    if (err != MERLE_OK) {
        MRL_ASSERT(err == MERLE_CORRUPT || err == MERLE_UNSUPPORTED);
        return;
    }
    check_inside(news.name);
    mrl_wire_list ids = news.collections;
    while (ids.at != NULL && (err = mrl_wire_id_next(&ids, &id)) == MERLE_OK) continue;
    if (ids.at != NULL) check_end(err);
    read_commits(news.commits);
    MRL_ASSERT(mrl_wire_news_write(&news, &first) == MERLE_OK);
    MRL_ASSERT(mrl_wire_news_read(merle_bytes_of(first.data, first.size), &again) == MERLE_OK);
    MRL_ASSERT(mrl_wire_news_write(&again, &second) == MERLE_OK);
    compare(&first, &second);
    merle_buffer_free(&first);
    merle_buffer_free(&second);
}

static void fuzz_question(merle_bytes message) {
    mrl_wire_question question, again;
    mrl_wire_filter filter;
    merle_buffer first = {0}, second = {0};
    merle_err err = mrl_wire_question_read(message, &question);
    if (err != MERLE_OK) {
        MRL_ASSERT(err == MERLE_CORRUPT || err == MERLE_UNSUPPORTED);
        return;
    }
    check_inside(question.token);
    check_inside(question.condition);
    check_inside(question.arguments);
    mrl_wire_list filters = question.filters;
    while (filters.at != NULL && (err = mrl_wire_filter_next(&filters, &filter)) == MERLE_OK) {
        check_inside(filter.name);
        check_inside(filter.prefix);
        check_inside(filter.condition);
        MRL_ASSERT(filter.name.size <= MERLE_NAME_SIZE_MAX);
    }
    if (filters.at != NULL) check_end(err);
    MRL_ASSERT(mrl_wire_question_write(&question, &first) == MERLE_OK);
    MRL_ASSERT(mrl_wire_question_read(merle_bytes_of(first.data, first.size), &again) == MERLE_OK);
    MRL_ASSERT(mrl_wire_question_write(&again, &second) == MERLE_OK);
    compare(&first, &second);
    merle_buffer_free(&first);
    merle_buffer_free(&second);
}

static void read_lists(const mrl_wire_answer *answer) {
    mrl_wire_list terms = answer->terms, collections = answer->collections,
                  documents = answer->documents;
    mrl_wire_term term;
    mrl_wire_collection collection;
    mrl_wire_document document;
    while (terms.at != NULL && mrl_wire_term_next(&terms, &term) == MERLE_OK) continue;
    while (collections.at != NULL &&
           mrl_wire_collection_next(&collections, &collection) == MERLE_OK)
        check_inside(collection.name);
    while (documents.at != NULL && mrl_wire_document_next(&documents, &document) == MERLE_OK) {
        check_inside(document.key);
        check_inside(document.document);
        MRL_ASSERT(document.document.size > 0);
    }
    read_commits(answer->commits);
}

static void fuzz_answer(merle_bytes message) {
    mrl_wire_answer answer, again;
    merle_buffer first = {0}, second = {0};
    merle_err err = mrl_wire_answer_read(message, &answer);
    if (err != MERLE_OK) {
        MRL_ASSERT(err == MERLE_CORRUPT || err == MERLE_UNSUPPORTED);
        return;
    }
    check_inside(answer.text);
    check_inside(answer.cursor);
    check_inside(answer.result);
    read_lists(&answer);
    MRL_ASSERT(mrl_wire_answer_write(&answer, &first) == MERLE_OK);
    MRL_ASSERT(mrl_wire_answer_read(merle_bytes_of(first.data, first.size), &again) == MERLE_OK);
    MRL_ASSERT(mrl_wire_answer_write(&again, &second) == MERLE_OK);
    compare(&first, &second);
    merle_buffer_free(&first);
    merle_buffer_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input = data;
    input_size = size;
    fuzz_news(merle_bytes_of(data, size));
    fuzz_question(merle_bytes_of(data, size));
    fuzz_answer(merle_bytes_of(data, size));
    return 0;
}

/* ---- what it begins with: one message of each sort ---- */

static void add_commit(merle_buffer *buffer) {
    mrl_wire_commit_writer writer = {0};
    mrl_wire_commit commit = {.seq = 7, .time_ns = 5000000000, .count = 2};
    mrl_record_operation_view view = {.collection_id = 3,
                                      .slot = 1,
                                      .kind = MRL_RECORD_PUT,
                                      .key = MERLE_STR("k1"),
                                      .payload = MERLE_STR("\x81\xa1x\x01")};
    MRL_ASSERT(mrl_wire_commit_begin(&writer, buffer, &commit) == MERLE_OK);
    MRL_ASSERT(mrl_wire_operation_add(&writer, buffer, 0, &view) == MERLE_OK);
    view.kind = MRL_RECORD_REMOVE;
    view.payload = merle_bytes_of(NULL, 0);
    MRL_ASSERT(mrl_wire_operation_add(&writer, buffer, 1, &view) == MERLE_OK);
    MRL_ASSERT(mrl_wire_commit_end(&writer, buffer));
}

static void add_message(fuzz_add_fn *add, merle_buffer *message) {
    add(message->data, message->size);
    message->size = 0;
}

static void corpus_news(fuzz_add_fn *add, merle_buffer *message, merle_buffer *list) {
    mrl_wire_news news = {.type = MRL_WIRE_BATCH, .name = MERLE_STR("players"), .from = 6, .to = 7};
    add_commit(list);
    news.collection_id = 3;
    news.commits = mrl_wire_list_of(list, 1);
    MRL_ASSERT(mrl_wire_news_write(&news, message) == MERLE_OK);
    add_message(add, message);
    list->size = 0;
    news = (mrl_wire_news){.type = MRL_WIRE_BEAT, .from = 6, .to = 7};
    MRL_ASSERT(mrl_wire_id_add(list, 3) == MERLE_OK);
    news.collections = mrl_wire_list_of(list, 1);
    MRL_ASSERT(mrl_wire_news_write(&news, message) == MERLE_OK);
    add_message(add, message);
    list->size = 0;
}

static void corpus_questions(fuzz_add_fn *add, merle_buffer *message, merle_buffer *list) {
    mrl_wire_filter filter = {.name = MERLE_STR("players"), .prefix = MERLE_STR("p")};
    static const mrl_wire_op ops[] = {MRL_WIRE_HELLO,  MRL_WIRE_CHANGES, MRL_WIRE_SNAPSHOT,
                                      MRL_WIRE_NEWEST, MRL_WIRE_BYE,     MRL_WIRE_OPERATE};
    MRL_ASSERT(mrl_wire_filter_add(list, &filter) == MERLE_OK);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        mrl_wire_question question = {.op = ops[i],
                                      .token = MERLE_STR("0123456789abcdef"),
                                      .client = MERLE_STR("me"),
                                      .filters = mrl_wire_list_of(list, 1),
                                      .name = MERLE_STR("players"),
                                      .condition = MERLE_STR("gold > 3"),
                                      .verb = MERLE_STR("info"),
                                      .arguments = MERLE_STR("\x80")};
        MRL_ASSERT(mrl_wire_question_write(&question, message) == MERLE_OK);
        add_message(add, message);
    }
    list->size = 0;
}

static void corpus_answers(fuzz_add_fn *add, merle_buffer *message, merle_buffer *list) {
    merle_buffer others = {0}, documents = {0};
    mrl_wire_document document = {.key = MERLE_STR("k1"), .document = MERLE_STR("\x80"), .seq = 4};
    mrl_wire_collection collection = {.name = MERLE_STR("players"), .id = 3};
    MRL_ASSERT(mrl_wire_document_add(&documents, &document) == MERLE_OK);
    MRL_ASSERT(mrl_wire_collection_add(&others, &collection) == MERLE_OK);
    add_commit(list);
    for (uint32_t op = 1; op <= 16; op++) {
        mrl_wire_answer answer = {.op = (mrl_wire_op)op,
                                  .commits = mrl_wire_list_of(list, 1),
                                  .collections = mrl_wire_list_of(&others, 1),
                                  .documents = mrl_wire_list_of(&documents, 1),
                                  .has_collection = 1,
                                  .result = MERLE_STR("\x80")};
        answer.status = op > 5 && op < 16 ? (mrl_wire_status)(op - 5) : MRL_WIRE_OK;
        answer.text = MERLE_STR("no");
        MRL_ASSERT(mrl_wire_answer_write(&answer, message) == MERLE_OK);
        add_message(add, message);
    }
    merle_buffer_free(&others);
    merle_buffer_free(&documents);
}

void fuzz_corpus(fuzz_add_fn *add) {
    merle_buffer message = {0}, list = {0};
    corpus_news(add, &message, &list);
    corpus_questions(add, &message, &list);
    corpus_answers(add, &message, &list);
    merle_buffer_free(&message);
    merle_buffer_free(&list);
}
