/* wire/event_service.c - questions to the service, and its answers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "wire/event.h"
#include "wire/wire_private.h"

/* Elements of the arrays, version and op included. */
enum {
    HELLO_PART_COUNT = 5,
    CHANGES_PART_COUNT = 11,
    SNAPSHOT_PART_COUNT = 8,
    NEWEST_PART_COUNT = 3,
    BYE_PART_COUNT = 3,
    OPERATE_PART_COUNT = 5,
    FILTER_PART_COUNT = 4,
    FAILED_PART_COUNT = 5,
    HELLO_ANSWER_PART_COUNT = 12,
    CHANGES_ANSWER_PART_COUNT = 8,
    SNAPSHOT_ANSWER_PART_COUNT = 8,
    NEWEST_ANSWER_PART_COUNT = 5,
    BYE_ANSWER_PART_COUNT = 3,
    OPERATE_ANSWER_PART_COUNT = 4,
    LIMIT_PART_COUNT = 3,
    TERM_PART_COUNT = 2,
    COLLECTION_PART_COUNT = 4,
    DOCUMENT_PART_COUNT = 4
};

/* ---- questions ---- */

static uint32_t question_part_count(uint32_t op) {
    switch (op) {
    case MRL_WIRE_HELLO:
        return HELLO_PART_COUNT;
    case MRL_WIRE_CHANGES:
        return CHANGES_PART_COUNT;
    case MRL_WIRE_SNAPSHOT:
        return SNAPSHOT_PART_COUNT;
    case MRL_WIRE_NEWEST:
        return NEWEST_PART_COUNT;
    case MRL_WIRE_BYE:
        return BYE_PART_COUNT;
    case MRL_WIRE_OPERATE:
        return OPERATE_PART_COUNT;
    }
    return 0;
}

static uint8_t *put_changes(uint8_t *at, const mrl_wire_question *question) {
    at = mrl_wire_put_history(at, &question->history);
    at = mrl_mp_put_u64(at, question->after_seq);
    at = mrl_mp_put_u32(at, question->after_position);
    at = mrl_wire_put_list(at, &question->filters);
    at = mrl_mp_put_u32(at, question->wait_ms);
    at = mrl_mp_put_u32(at, question->bytes_max);
    at = mrl_mp_put_u32(at, (uint32_t)question->why);
    return mrl_mp_put_u64(at, question->lost);
}

static uint8_t *put_snapshot(uint8_t *at, const mrl_wire_question *question) {
    at = mrl_mp_put_str(at, question->name);
    at = mrl_wire_put_bin(at, question->prefix);
    at = mrl_wire_put_str(at, question->condition);
    at = mrl_wire_put_bin(at, question->cursor);
    return mrl_mp_put_u32(at, question->bytes_max);
}

static size_t question_room(const mrl_wire_question *question) {
    size_t contents = question->token.size + question->secret.size + question->client.size +
                      question->name.size + question->prefix.size + question->condition.size +
                      question->cursor.size + question->verb.size + question->arguments.size;
    return (size_t)12 * MRL_WIRE_NUMBER_ROOM + MRL_WIRE_HISTORY_SIZE + contents +
           mrl_wire_list_size(&question->filters);
}

merle_err mrl_wire_question_write(const mrl_wire_question *question, merle_buffer *buffer) {
    merle_err err = mrl_buffer_reserve(buffer, question_room(question));
    if (err != MERLE_OK) return err;
    uint8_t *at = buffer->data + buffer->size;
    at = mrl_mp_put_array(at, question_part_count(question->op));
    at = mrl_mp_put_u32(at, MRL_WIRE_VERSION);
    at = mrl_mp_put_u32(at, (uint32_t)question->op);
    at = mrl_wire_put_bin(at, question->token);
    if (question->op == MRL_WIRE_HELLO) {
        at = mrl_wire_put_bin(at, question->secret);
        at = mrl_mp_put_str(at, question->client);
    } else if (question->op == MRL_WIRE_CHANGES) {
        at = put_changes(at, question);
    } else if (question->op == MRL_WIRE_SNAPSHOT) {
        at = put_snapshot(at, question);
    } else if (question->op == MRL_WIRE_OPERATE) {
        at = mrl_mp_put_str(at, question->verb);
        at = mrl_wire_put_raw(at, question->arguments);
    }
    buffer->size = (size_t)(at - buffer->data);
    MRL_DEBUG_ASSERT(buffer->size <= buffer->capacity);
    return MERLE_OK;
}

static int get_changes(mrl_mp_cursor *cursor, mrl_wire_question *question) {
    uint32_t why = 0;
    int is_read = mrl_wire_get_history(cursor, &question->history) &&
                  mrl_mp_get_u64(cursor, &question->after_seq) &&
                  mrl_mp_get_u32(cursor, &question->after_position) &&
                  mrl_wire_get_list(cursor, &question->filters) &&
                  mrl_mp_get_u32(cursor, &question->wait_ms) &&
                  mrl_mp_get_u32(cursor, &question->bytes_max) && mrl_mp_get_u32(cursor, &why) &&
                  mrl_mp_get_u64(cursor, &question->lost);
    question->why = (mrl_wire_why)why;
    return is_read && question->filters.left <= MRL_WIRE_FILTER_MAX;
}

static int get_name(mrl_mp_cursor *cursor, merle_bytes *out_name) {
    return mrl_wire_get_str(cursor, MERLE_NAME_SIZE_MAX, out_name) && out_name->size > 0;
}

static int get_snapshot(mrl_mp_cursor *cursor, mrl_wire_question *question) {
    return get_name(cursor, &question->name) &&
           mrl_wire_get_bin_or_nil(cursor, MERLE_KEY_SIZE_MAX, &question->prefix) &&
           mrl_wire_get_str_or_nil(cursor, MRL_WIRE_CONDITION_MAX, &question->condition) &&
           mrl_wire_get_bin_or_nil(cursor, MRL_WIRE_CURSOR_MAX, &question->cursor) &&
           mrl_mp_get_u32(cursor, &question->bytes_max);
}

/* What stands behind the op. */
static int get_question(mrl_mp_cursor *cursor, mrl_wire_question *question) {
    if (!mrl_wire_get_bin_or_nil(cursor, MRL_WIRE_TOKEN_SIZE, &question->token)) return 0;
    if (question->token.data != NULL && question->token.size != MRL_WIRE_TOKEN_SIZE) return 0;
    switch (question->op) {
    case MRL_WIRE_HELLO:
        return mrl_wire_get_bin_or_nil(cursor, MRL_WIRE_SECRET_MAX, &question->secret) &&
               mrl_wire_get_str(cursor, MRL_WIRE_CLIENT_MAX, &question->client);
    case MRL_WIRE_CHANGES:
        return get_changes(cursor, question);
    case MRL_WIRE_SNAPSHOT:
        return get_snapshot(cursor, question);
    case MRL_WIRE_OPERATE:
        return mrl_wire_get_str(cursor, MERLE_NAME_SIZE_MAX, &question->verb) &&
               mrl_wire_get_map(cursor, &question->arguments);
    case MRL_WIRE_NEWEST:
    case MRL_WIRE_BYE:
        return 1;
    }
    return 0;
}

merle_err mrl_wire_question_read(merle_bytes message, mrl_wire_question *out_question) {
    const uint8_t *bytes = message.data;
    mrl_mp_cursor cursor = {bytes, bytes == NULL ? NULL : bytes + message.size};
    mrl_wire_question question = {0};
    uint32_t left, op;
    memset(out_question, 0, sizeof *out_question);
    merle_err err = mrl_wire_get_head(&cursor, &left);
    if (err != MERLE_OK) return err;
    if (left == 0 || !mrl_mp_get_u32(&cursor, &op)) return MERLE_CORRUPT;
    uint32_t known = question_part_count(op);
    if (known == 0) return MERLE_UNSUPPORTED;
    question.op = (mrl_wire_op)op;
    out_question->op = question.op;
    if (left + 1 < known || !get_question(&cursor, &question) ||
        !mrl_wire_get_rest(&cursor, left + 1 - known))
        return MERLE_CORRUPT;
    *out_question = question;
    return MERLE_OK;
}

merle_err mrl_wire_filter_add(merle_buffer *buffer, const mrl_wire_filter *filter) {
    size_t room =
        5 * MRL_WIRE_HEAD_ROOM + filter->name.size + filter->prefix.size + filter->condition.size;
    merle_err err = mrl_buffer_reserve(buffer, room);
    if (err != MERLE_OK) return err;
    uint8_t *at = mrl_mp_put_array(buffer->data + buffer->size, FILTER_PART_COUNT);
    at = mrl_mp_put_str(at, filter->name);
    at = filter->has_id ? mrl_mp_put_u32(at, filter->collection_id) : mrl_mp_put_nil(at);
    at = mrl_wire_put_bin(at, filter->prefix);
    at = mrl_wire_put_str(at, filter->condition);
    buffer->size = (size_t)(at - buffer->data);
    return MERLE_OK;
}

merle_err mrl_wire_filter_next(mrl_wire_list *filters, mrl_wire_filter *out_filter) {
    mrl_mp_cursor cursor;
    uint32_t left;
    mrl_wire_filter filter = {0};
    memset(out_filter, 0, sizeof *out_filter);
    merle_err err = mrl_wire_list_element(filters, FILTER_PART_COUNT, &cursor, &left);
    if (err != MERLE_OK) return err;
    if (!get_name(&cursor, &filter.name)) return MERLE_CORRUPT;
    filter.has_id = !mrl_mp_get_nil(&cursor);
    if (filter.has_id && !mrl_mp_get_u32(&cursor, &filter.collection_id)) return MERLE_CORRUPT;
    if (!mrl_wire_get_bin_or_nil(&cursor, MERLE_KEY_SIZE_MAX, &filter.prefix) ||
        !mrl_wire_get_str_or_nil(&cursor, MRL_WIRE_CONDITION_MAX, &filter.condition))
        return MERLE_CORRUPT;
    err = mrl_wire_list_moved(filters, &cursor, left - FILTER_PART_COUNT);
    if (err == MERLE_OK) *out_filter = filter;
    return err;
}

/* ---- answers ---- */

static uint32_t answer_part_count(uint32_t op) {
    switch (op) {
    case MRL_WIRE_HELLO:
        return HELLO_ANSWER_PART_COUNT;
    case MRL_WIRE_CHANGES:
        return CHANGES_ANSWER_PART_COUNT;
    case MRL_WIRE_SNAPSHOT:
        return SNAPSHOT_ANSWER_PART_COUNT;
    case MRL_WIRE_NEWEST:
        return NEWEST_ANSWER_PART_COUNT;
    case MRL_WIRE_BYE:
        return BYE_ANSWER_PART_COUNT;
    case MRL_WIRE_OPERATE:
        return OPERATE_ANSWER_PART_COUNT;
    }
    return 0;
}

/* A list that has to be there: one that was left zero is empty. */
static uint8_t *put_list(uint8_t *at, const mrl_wire_list *list) {
    return list->at == NULL ? mrl_mp_put_array(at, 0) : mrl_wire_put_list(at, list);
}

static uint8_t *put_hello_answer(uint8_t *at, const mrl_wire_answer *answer) {
    at = mrl_mp_put_u64(at, answer->oldest);
    at = mrl_mp_put_bin(at, merle_bytes_of(answer->token, MRL_WIRE_TOKEN_SIZE));
    at = put_list(at, &answer->terms);
    at = mrl_mp_put_array(at, LIMIT_PART_COUNT);
    at = mrl_mp_put_u32(at, answer->bytes_max);
    at = mrl_mp_put_u32(at, answer->wait_ms_max);
    at = mrl_mp_put_u32(at, answer->request_max);
    at = mrl_mp_put_u32(at, answer->rights);
    at = put_list(at, &answer->collections);
    return mrl_mp_put_u32(at, answer->data_on_news);
}

static uint8_t *put_snapshot_answer(uint8_t *at, const mrl_wire_answer *answer) {
    at = answer->has_collection ? mrl_mp_put_u32(at, answer->collection_id) : mrl_mp_put_nil(at);
    at = mrl_mp_put_u64(at, answer->seq);
    at = mrl_wire_put_bin(at, answer->cursor);
    return put_list(at, &answer->documents);
}

/* What stands behind the status, where that is OK. */
static uint8_t *put_answer(uint8_t *at, const mrl_wire_answer *answer) {
    if (answer->op == MRL_WIRE_OPERATE) return mrl_wire_put_raw(at, answer->result);
    if (answer->op == MRL_WIRE_BYE) return at;
    at = mrl_wire_put_history(at, &answer->history);
    if (answer->op == MRL_WIRE_SNAPSHOT) return put_snapshot_answer(at, answer);
    at = mrl_mp_put_u64(at, answer->newest);
    if (answer->op == MRL_WIRE_HELLO) return put_hello_answer(at, answer);
    if (answer->op != MRL_WIRE_CHANGES) return at;
    at = mrl_mp_put_u64(at, answer->upto_seq);
    at = mrl_mp_put_u32(at, answer->upto_position);
    return put_list(at, &answer->commits);
}

static size_t answer_room(const mrl_wire_answer *answer) {
    return (size_t)16 * MRL_WIRE_NUMBER_ROOM + MRL_WIRE_HISTORY_SIZE + MRL_WIRE_TOKEN_SIZE +
           mrl_wire_list_size(&answer->terms) + mrl_wire_list_size(&answer->collections) +
           mrl_wire_list_size(&answer->commits) + mrl_wire_list_size(&answer->documents) +
           answer->text.size + answer->cursor.size + answer->result.size;
}

merle_err mrl_wire_answer_write(const mrl_wire_answer *answer, merle_buffer *buffer) {
    merle_err err = mrl_buffer_reserve(buffer, answer_room(answer));
    if (err != MERLE_OK) return err;
    int is_ok = answer->status == MRL_WIRE_OK;
    uint8_t *at = buffer->data + buffer->size;
    at = mrl_mp_put_array(at, is_ok ? answer_part_count(answer->op) : FAILED_PART_COUNT);
    at = mrl_mp_put_u32(at, MRL_WIRE_VERSION);
    at = mrl_mp_put_u32(at, (uint32_t)answer->op);
    at = mrl_mp_put_u32(at, (uint32_t)answer->status);
    if (is_ok) {
        at = put_answer(at, answer);
    } else {
        at = mrl_mp_put_str(at, answer->text);
        at = mrl_mp_put_u64(at, answer->number);
    }
    buffer->size = (size_t)(at - buffer->data);
    MRL_DEBUG_ASSERT(buffer->size <= buffer->capacity);
    return MERLE_OK;
}

static int get_list(mrl_mp_cursor *cursor, mrl_wire_list *out_list) {
    return mrl_wire_get_list(cursor, out_list) && out_list->at != NULL;
}

static int get_limits(mrl_mp_cursor *cursor, mrl_wire_answer *answer) {
    uint32_t count;
    if (!mrl_mp_get_array(cursor, &count) || count < LIMIT_PART_COUNT) return 0;
    if (!mrl_mp_get_u32(cursor, &answer->bytes_max) ||
        !mrl_mp_get_u32(cursor, &answer->wait_ms_max) ||
        !mrl_mp_get_u32(cursor, &answer->request_max))
        return 0;
    for (; count > LIMIT_PART_COUNT; count--)
        if (!mrl_mp_skip(cursor)) return 0;
    return 1;
}

static int get_hello_answer(mrl_mp_cursor *cursor, mrl_wire_answer *answer) {
    merle_bytes token;
    if (!mrl_mp_get_u64(cursor, &answer->oldest) || !mrl_mp_get_bin(cursor, &token) ||
        token.size != MRL_WIRE_TOKEN_SIZE)
        return 0;
    memcpy(answer->token, token.data, token.size);
    return get_list(cursor, &answer->terms) && get_limits(cursor, answer) &&
           mrl_mp_get_u32(cursor, &answer->rights) && get_list(cursor, &answer->collections) &&
           mrl_mp_get_u32(cursor, &answer->data_on_news);
}

static int get_snapshot_answer(mrl_mp_cursor *cursor, mrl_wire_answer *answer) {
    answer->has_collection = !mrl_mp_get_nil(cursor);
    if (answer->has_collection && !mrl_mp_get_u32(cursor, &answer->collection_id)) return 0;
    return mrl_mp_get_u64(cursor, &answer->seq) &&
           mrl_wire_get_bin_or_nil(cursor, MRL_WIRE_CURSOR_MAX, &answer->cursor) &&
           get_list(cursor, &answer->documents);
}

/* is_last: nothing comes behind what is known. */
static int get_answer(mrl_mp_cursor *cursor, int is_last, mrl_wire_answer *answer) {
    if (answer->op == MRL_WIRE_OPERATE) return mrl_wire_get_map(cursor, &answer->result);
    if (answer->op == MRL_WIRE_BYE) return 1;
    if (!mrl_wire_get_history(cursor, &answer->history)) return 0;
    if (answer->op == MRL_WIRE_SNAPSHOT) return get_snapshot_answer(cursor, answer);
    if (!mrl_mp_get_u64(cursor, &answer->newest)) return 0;
    if (answer->op == MRL_WIRE_HELLO) return get_hello_answer(cursor, answer);
    if (answer->op != MRL_WIRE_CHANGES) return 1;
    return mrl_mp_get_u64(cursor, &answer->upto_seq) &&
           mrl_mp_get_u32(cursor, &answer->upto_position) &&
           (is_last ? mrl_wire_get_last_list(cursor, &answer->commits)
                    : mrl_wire_get_list(cursor, &answer->commits)) &&
           answer->commits.at != NULL;
}

/* Of a refusal the number may be left out. */
static int get_refusal(mrl_mp_cursor *cursor, uint32_t *left, mrl_wire_answer *answer) {
    if (*left < 1 || !mrl_wire_get_str(cursor, MRL_WIRE_TEXT_MAX, &answer->text)) return 0;
    --*left;
    if (*left == 0) return 1;
    --*left;
    return mrl_mp_get_nil(cursor) || mrl_mp_get_u64(cursor, &answer->number);
}

merle_err mrl_wire_answer_read(merle_bytes message, mrl_wire_answer *out_answer) {
    const uint8_t *bytes = message.data;
    mrl_mp_cursor cursor = {bytes, bytes == NULL ? NULL : bytes + message.size};
    mrl_wire_answer answer = {0};
    uint32_t left, op, status;
    memset(out_answer, 0, sizeof *out_answer);
    merle_err err = mrl_wire_get_head(&cursor, &left);
    if (err != MERLE_OK) return err;
    if (left < 2 || !mrl_mp_get_u32(&cursor, &op) || !mrl_mp_get_u32(&cursor, &status))
        return MERLE_CORRUPT;
    left -= 2;
    answer.op = (mrl_wire_op)op;
    answer.status = (mrl_wire_status)status;
    if (status == MRL_WIRE_OK) {
        uint32_t known = answer_part_count(op);
        if (known == 0) return MERLE_UNSUPPORTED;
        if (left + 3 < known || !get_answer(&cursor, left + 3 == known, &answer))
            return MERLE_CORRUPT;
        left -= known - 3;
    } else if (!get_refusal(&cursor, &left, &answer)) {
        return MERLE_CORRUPT;
    }
    if (!mrl_wire_get_rest(&cursor, left)) return MERLE_CORRUPT;
    *out_answer = answer;
    return MERLE_OK;
}

/* ---- the elements of a greeting and of a snapshot ---- */

merle_err mrl_wire_term_add(merle_buffer *buffer, const mrl_wire_term *term) {
    merle_err err = mrl_buffer_reserve(buffer, MRL_WIRE_HEAD_ROOM + 2 * MRL_WIRE_NUMBER_ROOM);
    if (err != MERLE_OK) return err;
    uint8_t *at = mrl_mp_put_array(buffer->data + buffer->size, TERM_PART_COUNT);
    at = mrl_mp_put_u64(at, term->id);
    at = mrl_mp_put_u64(at, term->end);
    buffer->size = (size_t)(at - buffer->data);
    return MERLE_OK;
}

merle_err mrl_wire_term_next(mrl_wire_list *terms, mrl_wire_term *out_term) {
    mrl_mp_cursor cursor;
    uint32_t left;
    mrl_wire_term term = {0};
    memset(out_term, 0, sizeof *out_term);
    merle_err err = mrl_wire_list_element(terms, TERM_PART_COUNT, &cursor, &left);
    if (err != MERLE_OK) return err;
    if (!mrl_mp_get_u64(&cursor, &term.id) || !mrl_mp_get_u64(&cursor, &term.end))
        return MERLE_CORRUPT;
    err = mrl_wire_list_moved(terms, &cursor, left - TERM_PART_COUNT);
    if (err == MERLE_OK) *out_term = term;
    return err;
}

merle_err mrl_wire_collection_add(merle_buffer *buffer, const mrl_wire_collection *collection) {
    merle_err err = mrl_buffer_reserve(
        buffer, 2 * MRL_WIRE_HEAD_ROOM + 3 * MRL_WIRE_NUMBER_ROOM + collection->name.size);
    if (err != MERLE_OK) return err;
    uint8_t *at = mrl_mp_put_array(buffer->data + buffer->size, COLLECTION_PART_COUNT);
    at = mrl_mp_put_str(at, collection->name);
    at = mrl_mp_put_u32(at, collection->id);
    at = mrl_mp_put_u32(at, collection->is_memory_only);
    at = mrl_mp_put_u32(at, collection->version);
    buffer->size = (size_t)(at - buffer->data);
    return MERLE_OK;
}

merle_err mrl_wire_collection_next(mrl_wire_list *collections,
                                   mrl_wire_collection *out_collection) {
    mrl_mp_cursor cursor;
    uint32_t left;
    mrl_wire_collection collection = {0};
    memset(out_collection, 0, sizeof *out_collection);
    merle_err err = mrl_wire_list_element(collections, COLLECTION_PART_COUNT, &cursor, &left);
    if (err != MERLE_OK) return err;
    if (!get_name(&cursor, &collection.name) || !mrl_mp_get_u32(&cursor, &collection.id) ||
        !mrl_mp_get_u32(&cursor, &collection.is_memory_only) ||
        !mrl_mp_get_u32(&cursor, &collection.version))
        return MERLE_CORRUPT;
    err = mrl_wire_list_moved(collections, &cursor, left - COLLECTION_PART_COUNT);
    if (err == MERLE_OK) *out_collection = collection;
    return err;
}

merle_err mrl_wire_document_add(merle_buffer *buffer, const mrl_wire_document *document) {
    size_t room = 2 * MRL_WIRE_HEAD_ROOM + 2 * MRL_WIRE_NUMBER_ROOM + document->key.size +
                  document->document.size;
    merle_err err = mrl_buffer_reserve(buffer, room);
    if (err != MERLE_OK) return err;
    uint8_t *at = mrl_mp_put_array(buffer->data + buffer->size, DOCUMENT_PART_COUNT);
    at = mrl_mp_put_bin(at, document->key);
    at = mrl_wire_put_raw(at, document->document);
    at = mrl_mp_put_u64(at, document->seq);
    at = document->expires_ns == 0 ? mrl_mp_put_nil(at) : mrl_mp_put_i64(at, document->expires_ns);
    buffer->size = (size_t)(at - buffer->data);
    return MERLE_OK;
}

merle_err mrl_wire_document_next(mrl_wire_list *documents, mrl_wire_document *out_document) {
    mrl_mp_cursor cursor;
    uint32_t left;
    mrl_wire_document document = {0};
    memset(out_document, 0, sizeof *out_document);
    merle_err err = mrl_wire_list_element(documents, DOCUMENT_PART_COUNT, &cursor, &left);
    if (err != MERLE_OK) return err;
    if (!mrl_mp_get_bin(&cursor, &document.key) || document.key.size == 0 ||
        document.key.size > MERLE_KEY_SIZE_MAX || !mrl_wire_get_map(&cursor, &document.document) ||
        document.document.size > MERLE_DOCUMENT_SIZE_MAX || !mrl_mp_get_u64(&cursor, &document.seq))
        return MERLE_CORRUPT;
    if (!mrl_mp_get_nil(&cursor) && !mrl_mp_get_i64(&cursor, &document.expires_ns))
        return MERLE_CORRUPT;
    err = mrl_wire_list_moved(documents, &cursor, left - DOCUMENT_PART_COUNT);
    if (err == MERLE_OK) *out_document = document;
    return err;
}
