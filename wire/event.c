/* wire/event.c - news and commits: what the publisher says, and what both ways of hearing share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "wire/event.h"

#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "wire/wire_private.h"

enum {
    COMMIT_PART_COUNT = 6,
    BATCH_PART_COUNT = 8,
    BEAT_PART_COUNT = 6,
    /* The least that a position and an operation take. */
    OPERATION_PAIR_SIZE_MIN = 8
};

/* ---- histories and lists ---- */

void mrl_wire_history_set(mrl_wire_history *history, const uint64_t database_id[2],
                          uint64_t term_id) {
    uint8_t *at = mrl_put_big64(history->bytes, database_id[0]);
    at = mrl_put_big64(at, database_id[1]);
    mrl_put_big64(at, term_id);
}

void mrl_wire_history_get(const mrl_wire_history *history, uint64_t out_database_id[2],
                          uint64_t *out_term_id) {
    out_database_id[0] = mrl_get_big64(history->bytes);
    out_database_id[1] = mrl_get_big64(history->bytes + 8);
    *out_term_id = mrl_get_big64(history->bytes + 16);
}

mrl_wire_list mrl_wire_list_of(const merle_buffer *elements, uint32_t count) {
    static const uint8_t none[1];
    mrl_wire_list list = {none, none, count};
    if (elements->size > 0) {
        list.at = elements->data;
        list.end = elements->data + elements->size;
    }
    return list;
}

/* ---- what messages have in common: reading ---- */

merle_err mrl_wire_get_head(mrl_mp_cursor *cursor, uint32_t *out_left) {
    uint32_t version;
    if (!mrl_mp_get_array(cursor, out_left) || *out_left == 0) return MERLE_CORRUPT;
    if (!mrl_mp_get_u32(cursor, &version)) return MERLE_CORRUPT;
    --*out_left;
    return version == MRL_WIRE_VERSION ? MERLE_OK : MERLE_UNSUPPORTED;
}

int mrl_wire_get_rest(mrl_mp_cursor *cursor, uint32_t left) {
    for (; left > 0; left--)
        if (!mrl_mp_skip(cursor)) return 0;
    return cursor->at == cursor->end;
}

int mrl_wire_get_list(mrl_mp_cursor *cursor, mrl_wire_list *out_list) {
    mrl_mp_cursor inside = *cursor;
    memset(out_list, 0, sizeof *out_list);
    if (mrl_mp_get_nil(cursor)) return 1;
    if (!mrl_mp_get_array(&inside, &out_list->left) || !mrl_mp_skip(cursor)) return 0;
    out_list->at = inside.at;
    out_list->end = cursor->at;
    return 1;
}

int mrl_wire_get_last_list(mrl_mp_cursor *cursor, mrl_wire_list *out_list) {
    memset(out_list, 0, sizeof *out_list);
    if (mrl_mp_get_nil(cursor)) return 1;
    if (!mrl_mp_get_array(cursor, &out_list->left)) return 0;
    out_list->at = cursor->at;
    out_list->end = cursor->end;
    cursor->at = cursor->end;
    /* Each element takes a byte at least. */
    return out_list->left <= (size_t)(out_list->end - out_list->at);
}

int mrl_wire_get_history(mrl_mp_cursor *cursor, mrl_wire_history *out_history) {
    merle_bytes bytes;
    if (!mrl_mp_get_bin(cursor, &bytes) || bytes.size != MRL_WIRE_HISTORY_SIZE) return 0;
    memcpy(out_history->bytes, bytes.data, bytes.size);
    return 1;
}

int mrl_wire_get_str(mrl_mp_cursor *cursor, size_t size_max, merle_bytes *out_text) {
    return mrl_mp_get_str(cursor, out_text) && out_text->size <= size_max;
}

int mrl_wire_get_str_or_nil(mrl_mp_cursor *cursor, size_t size_max, merle_bytes *out_text) {
    *out_text = merle_bytes_of(NULL, 0);
    return mrl_mp_get_nil(cursor) || mrl_wire_get_str(cursor, size_max, out_text);
}

int mrl_wire_get_bin_or_nil(mrl_mp_cursor *cursor, size_t size_max, merle_bytes *out_bytes) {
    *out_bytes = merle_bytes_of(NULL, 0);
    return mrl_mp_get_nil(cursor) ||
           (mrl_mp_get_bin(cursor, out_bytes) && out_bytes->size <= size_max);
}

int mrl_wire_get_map(mrl_mp_cursor *cursor, merle_bytes *out_map) {
    const uint8_t *begin = cursor->at;
    if (!mrl_mp_skip(cursor)) return 0;
    *out_map = merle_bytes_of(begin, (size_t)(cursor->at - begin));
    return (*begin & 0xf0) == MRL_MP_FIXMAP || *begin == MRL_MP_MAP16 || *begin == MRL_MP_MAP32;
}

merle_err mrl_wire_list_element(const mrl_wire_list *list, uint32_t count_min,
                                mrl_mp_cursor *out_cursor, uint32_t *out_left) {
    *out_cursor = (mrl_mp_cursor){list->at, list->end};
    if (list->left == 0) return list->at == list->end ? MERLE_NOT_FOUND : MERLE_CORRUPT;
    if (!mrl_mp_get_array(out_cursor, out_left) || *out_left < count_min) return MERLE_CORRUPT;
    return MERLE_OK;
}

merle_err mrl_wire_list_moved(mrl_wire_list *list, mrl_mp_cursor *cursor, uint32_t left) {
    for (; left > 0; left--)
        if (!mrl_mp_skip(cursor)) return MERLE_CORRUPT;
    list->at = cursor->at;
    list->left--;
    return MERLE_OK;
}

/* ---- the same: writing ---- */

uint8_t *mrl_wire_put_list(uint8_t *at, const mrl_wire_list *list) {
    if (list->at == NULL) return mrl_mp_put_nil(at);
    size_t size = (size_t)(list->end - list->at);
    at = mrl_mp_put_array(at, list->left);
    if (size > 0) memcpy(at, list->at, size);
    return at + size;
}

uint8_t *mrl_wire_put_history(uint8_t *at, const mrl_wire_history *history) {
    return mrl_mp_put_bin(at, merle_bytes_of(history->bytes, MRL_WIRE_HISTORY_SIZE));
}

uint8_t *mrl_wire_put_str(uint8_t *at, merle_bytes text) {
    return text.data == NULL ? mrl_mp_put_nil(at) : mrl_mp_put_str(at, text);
}

uint8_t *mrl_wire_put_bin(uint8_t *at, merle_bytes bytes) {
    return bytes.data == NULL ? mrl_mp_put_nil(at) : mrl_mp_put_bin(at, bytes);
}

uint8_t *mrl_wire_put_raw(uint8_t *at, merle_bytes value) {
    if (value.size == 0) return mrl_mp_put_nil(at);
    memcpy(at, value.data, value.size);
    return at + value.size;
}

/* ---- writing commits ---- */

merle_err mrl_wire_commit_begin(mrl_wire_commit_writer *writer, merle_buffer *buffer,
                                const mrl_wire_commit *commit) {
    size_t room = 3 * MRL_WIRE_HEAD_ROOM + 4 * MRL_WIRE_NUMBER_ROOM + commit->app.size;
    merle_err err = mrl_buffer_reserve(buffer, room);
    if (err != MERLE_OK) return err;
    uint8_t *at = buffer->data + buffer->size;
    writer->begin_at = buffer->size;
    writer->count = 0;
    at = mrl_mp_put_array(at, COMMIT_PART_COUNT);
    at = mrl_mp_put_u64(at, commit->seq);
    at = mrl_mp_put_i64(at, commit->time_ns);
    at = mrl_mp_put_u32(at, commit->origin);
    at = mrl_wire_put_bin(at, commit->app.size > 0 ? commit->app : merle_bytes_of(NULL, 0));
    at = mrl_mp_put_u32(at, commit->count);
    /* Nobody knows yet how many follow: the long form, filled in by the end. */
    *at++ = MRL_MP_ARRAY32;
    writer->count_at = (size_t)(at - buffer->data);
    buffer->size = writer->count_at + sizeof(uint32_t);
    return MERLE_OK;
}

merle_err mrl_wire_operation_copy(mrl_wire_commit_writer *writer, merle_buffer *buffer,
                                  uint32_t position, merle_bytes operation) {
    merle_err err = mrl_buffer_reserve(buffer, MRL_WIRE_NUMBER_ROOM + operation.size);
    if (err != MERLE_OK) return err;
    uint8_t *at = mrl_mp_put_u32(buffer->data + buffer->size, position);
    at = mrl_wire_put_raw(at, operation);
    buffer->size = (size_t)(at - buffer->data);
    writer->count++;
    return MERLE_OK;
}

merle_err mrl_wire_operation_add(mrl_wire_commit_writer *writer, merle_buffer *buffer,
                                 uint32_t position, const mrl_record_operation_view *operation) {
    uint8_t *slot_at;
    if (operation->bytes.size > 0)
        return mrl_wire_operation_copy(writer, buffer, position, operation->bytes);
    size_t room = MRL_WIRE_NUMBER_ROOM +
                  mrl_record_operation_size(operation->key.size, operation->payload.size);
    merle_err err = mrl_buffer_reserve(buffer, room);
    if (err != MERLE_OK) return err;
    uint8_t *at = mrl_mp_put_u32(buffer->data + buffer->size, position);
    at = mrl_record_operation_of(at, operation, &slot_at);
    buffer->size = (size_t)(at - buffer->data);
    writer->count++;
    return MERLE_OK;
}

int mrl_wire_commit_end(mrl_wire_commit_writer *writer, merle_buffer *buffer) {
    if (writer->count == 0)
        buffer->size = writer->begin_at;
    else
        mrl_put_big32(buffer->data + writer->count_at, 2 * writer->count);
    return writer->count > 0;
}

/* ---- reading commits ---- */

/* The position and the operation behind it. The record's own reader takes the operation, as if it
 * were the only one. */
static merle_err read_operation(mrl_mp_cursor *cursor, uint32_t *out_position,
                                mrl_record_operation_view *out_operation) {
    if (!mrl_mp_get_u32(cursor, out_position)) return MERLE_CORRUPT;
    mrl_record_reader reader = {.at = cursor->at, .end = cursor->end, .operation_count = 1};
    merle_err err = mrl_record_read_next(&reader, out_operation);
    if (err == MERLE_OK) cursor->at = reader.at;
    return err;
}

/* The list of operations. Where there is one, as nearly always, it is read at once: its end is the
 * end of the list, and its document need not be walked over twice. */
static int get_operations(mrl_mp_cursor *cursor, mrl_wire_commit *commit) {
    mrl_mp_cursor inside = *cursor;
    uint32_t count;
    if (!mrl_mp_get_array(&inside, &count) || count != 2)
        return mrl_wire_get_list(cursor, &commit->operations);
    const uint8_t *begin = inside.at;
    if (read_operation(&inside, &commit->only_position, &commit->only) != MERLE_OK) return 0;
    commit->operations = (mrl_wire_list){begin, inside.at, count};
    *cursor = inside;
    return 1;
}

merle_err mrl_wire_commit_next(mrl_wire_list *commits, mrl_wire_commit *out_commit) {
    mrl_mp_cursor cursor;
    uint32_t left;
    mrl_wire_commit commit = {0};
    memset(out_commit, 0, sizeof *out_commit);
    merle_err err = mrl_wire_list_element(commits, COMMIT_PART_COUNT, &cursor, &left);
    if (err != MERLE_OK) return err;
    if (!mrl_mp_get_u64(&cursor, &commit.seq) || !mrl_mp_get_i64(&cursor, &commit.time_ns) ||
        !mrl_mp_get_u32(&cursor, &commit.origin) ||
        !mrl_wire_get_bin_or_nil(&cursor, MERLE_ORIGIN_SIZE_MAX, &commit.app) ||
        !mrl_mp_get_u32(&cursor, &commit.count) || !get_operations(&cursor, &commit))
        return MERLE_CORRUPT;
    if (commit.operations.at == NULL || commit.operations.left % 2 != 0 || commit.seq == 0)
        return MERLE_CORRUPT;
    /* Pairs from here on. */
    commit.operations.left /= 2;
    if (commit.operations.left > commit.count ||
        commit.operations.left >
            (size_t)(commit.operations.end - commit.operations.at) / OPERATION_PAIR_SIZE_MIN)
        return MERLE_CORRUPT;
    err = mrl_wire_list_moved(commits, &cursor, left - COMMIT_PART_COUNT);
    if (err == MERLE_OK) *out_commit = commit;
    return err;
}

merle_err mrl_wire_operation_next(mrl_wire_commit *commit, uint32_t *out_position,
                                  mrl_record_operation_view *out_operation) {
    mrl_wire_list *list = &commit->operations;
    mrl_mp_cursor cursor = {list->at, list->end};
    uint32_t position = commit->only_position;
    merle_err err = MERLE_OK;
    *out_position = 0;
    if (list->left > 0 && commit->only.kind != 0) {
        *out_operation = commit->only;
        cursor.at = cursor.end;
    } else {
        memset(out_operation, 0, sizeof *out_operation);
        if (list->left == 0) return list->at == list->end ? MERLE_NOT_FOUND : MERLE_CORRUPT;
        err = read_operation(&cursor, &position, out_operation);
    }
    if (err == MERLE_OK && (position < commit->behind || position >= commit->count))
        err = MERLE_CORRUPT;
    if (err != MERLE_OK) return err;
    list->at = cursor.at;
    list->left--;
    commit->behind = position + 1;
    *out_position = position;
    return MERLE_OK;
}

/* ---- news ---- */

merle_err mrl_wire_news_write(const mrl_wire_news *news, merle_buffer *buffer) {
    const mrl_wire_list *list = news->type == MRL_WIRE_BATCH ? &news->commits : &news->collections;
    size_t room = news->name.size + 1 + 2 * MRL_WIRE_HEAD_ROOM + 6 * MRL_WIRE_NUMBER_ROOM +
                  MRL_WIRE_HISTORY_SIZE + mrl_wire_list_size(list);
    merle_err err = mrl_buffer_reserve(buffer, room);
    if (err != MERLE_OK) return err;
    uint8_t *at = buffer->data + buffer->size;
    if (news->name.size > 0) memcpy(at, news->name.data, news->name.size);
    at += news->name.size;
    *at++ = 0;
    at = mrl_mp_put_array(at, news->type == MRL_WIRE_BATCH ? BATCH_PART_COUNT : BEAT_PART_COUNT);
    at = mrl_mp_put_u32(at, MRL_WIRE_VERSION);
    at = mrl_mp_put_u32(at, (uint32_t)news->type);
    at = mrl_wire_put_history(at, &news->history);
    at = mrl_mp_put_u64(at, news->from);
    at = mrl_mp_put_u64(at, news->to);
    if (news->type == MRL_WIRE_BATCH) {
        at = mrl_mp_put_u64(at, news->before);
        at = mrl_mp_put_u32(at, news->collection_id);
    }
    /* A beat that was given no list has an empty one. */
    at = news->type == MRL_WIRE_BEAT && list->at == NULL ? mrl_mp_put_array(at, 0)
                                                         : mrl_wire_put_list(at, list);
    buffer->size = (size_t)(at - buffer->data);
    MRL_DEBUG_ASSERT(buffer->size <= buffer->capacity);
    return MERLE_OK;
}

/* What is behind the type. */
static int read_news_parts(mrl_mp_cursor *cursor, uint32_t left, mrl_wire_news *news) {
    uint32_t known = news->type == MRL_WIRE_BATCH ? BATCH_PART_COUNT - 2 : BEAT_PART_COUNT - 2;
    if (left < known) return 0;
    if (!mrl_wire_get_history(cursor, &news->history) || !mrl_mp_get_u64(cursor, &news->from) ||
        !mrl_mp_get_u64(cursor, &news->to) || news->from > news->to)
        return 0;
    if (news->type == MRL_WIRE_BATCH) {
        if (news->name.size == 0 || !mrl_mp_get_u64(cursor, &news->before) ||
            !mrl_mp_get_u32(cursor, &news->collection_id) ||
            !(left == known ? mrl_wire_get_last_list(cursor, &news->commits)
                            : mrl_wire_get_list(cursor, &news->commits)))
            return 0;
    } else if (news->name.size > 0 || !mrl_wire_get_list(cursor, &news->collections) ||
               news->collections.at == NULL) {
        return 0;
    }
    return mrl_wire_get_rest(cursor, left - known);
}

merle_err mrl_wire_news_read(merle_bytes message, mrl_wire_news *out_news) {
    const uint8_t *bytes = message.data;
    mrl_wire_news news = {0};
    uint32_t left, type;
    memset(out_news, 0, sizeof *out_news);
    if (message.size == 0) return MERLE_CORRUPT;
    const uint8_t *end_of_name = memchr(
        bytes, 0, message.size > MERLE_NAME_SIZE_MAX ? MERLE_NAME_SIZE_MAX + 1 : message.size);
    if (end_of_name == NULL) return MERLE_CORRUPT;
    news.name = merle_bytes_of(bytes, (size_t)(end_of_name - bytes));
    mrl_mp_cursor cursor = {end_of_name + 1, bytes + message.size};
    merle_err err = mrl_wire_get_head(&cursor, &left);
    if (err != MERLE_OK) return err;
    if (left == 0 || !mrl_mp_get_u32(&cursor, &type)) return MERLE_CORRUPT;
    if (type != MRL_WIRE_BATCH && type != MRL_WIRE_BEAT) return MERLE_UNSUPPORTED;
    news.type = (mrl_wire_news_type)type;
    if (!read_news_parts(&cursor, left - 1, &news)) return MERLE_CORRUPT;
    *out_news = news;
    return MERLE_OK;
}

merle_err mrl_wire_id_add(merle_buffer *buffer, uint32_t id) {
    merle_err err = mrl_buffer_reserve(buffer, MRL_WIRE_NUMBER_ROOM);
    if (err != MERLE_OK) return err;
    buffer->size = (size_t)(mrl_mp_put_u32(buffer->data + buffer->size, id) - buffer->data);
    return MERLE_OK;
}

merle_err mrl_wire_id_next(mrl_wire_list *ids, uint32_t *out_id) {
    mrl_mp_cursor cursor = {ids->at, ids->end};
    *out_id = 0;
    if (ids->left == 0) return ids->at == ids->end ? MERLE_NOT_FOUND : MERLE_CORRUPT;
    if (!mrl_mp_get_u32(&cursor, out_id)) return MERLE_CORRUPT;
    return mrl_wire_list_moved(ids, &cursor, 0);
}
