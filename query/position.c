/* query/position.c - where a document stands in the order of its query, and going on behind it.
 *
 * A position is: a check over all that follows and what it belongs to, the kind, the slot, the name
 * of the index (of ranges), the encoded value, and of a document without a slot the key. The check
 * is seeded with the database's secret, so bytes that somebody else made are not taken for one;
 * what is read is tested all the same.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/buffer.h"
#include "base/hash.h"
#include "document/encode.h"
#include "query/query_private.h"

/* check 8, kind 1, size of the name 1, size of the value 2, slot 4, when the index was made 8. */
enum { HEAD_SIZE = 24 };

/* ---- places ---- */

static mrl_place_kind kind_of(const merle_rows *rows) {
    if (rows->plan.sort != MRL_SORT_NOT) return MRL_PLACE_SORTED;
    if (rows->plan.drive.kind != MRL_DRIVE_RANGES) return MRL_PLACE_SLOT;
    return rows->plan.drive.is_backwards ? MRL_PLACE_BACKWARDS : MRL_PLACE_FORWARDS;
}

/* Nothing, nil and what has no order are nil. */
static merle_err encode_part(const mrl_version *v, const mrl_sort_part *part, uint8_t *out,
                             size_t max, size_t *out_size) {
    const uint8_t *doc = mrl_version_doc(v);
    const merle_value nil = merle_value_nil();
    if (part->path == NULL) {
        const merle_value key = merle_value_bytes(mrl_version_key(v));
        return mrl_encode_value(&key, (int)part->descending, out, max, out_size);
    }
    uint32_t offset = mrl_version_find(v, part->schema_path, part->path);
    merle_err err = MERLE_TYPE;
    if (offset != 0)
        err = mrl_encode_at(doc + offset, doc + v->doc_size, (int)part->descending, out, max,
                            out_size);
    if (err == MERLE_TYPE) err = mrl_encode_value(&nil, (int)part->descending, out, max, out_size);
    return err;
}

merle_err mrl_rows_encode(const merle_rows *rows, const mrl_version *v, uint8_t *out,
                          size_t *out_size) {
    const mrl_plan *plan = &rows->plan;
    *out_size = 0;
    if (plan->sort == MRL_SORT_NOT) {
        if (plan->drive.kind == MRL_DRIVE_RANGES)
            *out_size = mrl_version_encode(v, plan->drive.index, out);
        return MERLE_OK;
    }
    for (uint32_t i = 0; i < plan->order_count; i++) {
        size_t size;
        merle_err err = encode_part(v, &plan->order[i], out + *out_size,
                                    MERLE_VALUE_SIZE_MAX - *out_size, &size);
        if (err != MERLE_OK) return err;
        *out_size += size;
    }
    return MERLE_OK;
}

/* ---- positions ---- */

/* What a position is good for: this root, and this order. */
uint64_t mrl_position_check(const merle_rows *rows, const char *order, const uint8_t *bytes,
                            size_t size) {
    const mrl_root *root = rows->view.root;
    uint64_t seed = rows->view.section->store->hash_seed;
    uint64_t root_seq = atomic_load_explicit(&root->seq, memory_order_relaxed);
    uint64_t hash = mrl_hash_bytes(order, strlen(order), seed ^ root_seq);
    hash ^= mrl_mix_u64(hash + rows->collection->id);
    return mrl_hash_bytes(bytes + sizeof(uint64_t), size - sizeof(uint64_t), hash);
}

merle_err merle_rows_position(const merle_rows *rows, merle_buffer *out_position) {
    uint8_t value[MERLE_VALUE_SIZE_MAX], head[HEAD_SIZE] = {0};
    merle_bytes key = {NULL, 0};
    size_t size;
    out_position->size = 0;
    if (rows == NULL) return MERLE_INVALID;
    if (rows->last == NULL) return MERLE_NOT_FOUND;
    merle_err err = mrl_rows_encode(rows, rows->last, value, &size);
    if (err != MERLE_OK) return err;
    const mrl_place_kind kind = kind_of(rows);
    const char *name = "";
    if (kind == MRL_PLACE_FORWARDS || kind == MRL_PLACE_BACKWARDS)
        name = rows->plan.drive.index->name;
    const uint64_t made_seq = name[0] == 0 ? 0 : rows->plan.drive.index->made_seq;
    if (rows->last_slot == MRL_SLOT_NONE) key = mrl_version_key(rows->last);
    const uint16_t value_size = (uint16_t)size;
    head[8] = (uint8_t)kind;
    head[9] = (uint8_t)strlen(name);
    memcpy(head + 10, &value_size, sizeof value_size);
    memcpy(head + 12, &rows->last_slot, sizeof rows->last_slot);
    memcpy(head + 16, &made_seq, sizeof made_seq);
    err = mrl_buffer_reserve(out_position, HEAD_SIZE + head[9] + size + key.size);
    if (err != MERLE_OK) return err;
    (void)!mrl_buffer_append(out_position, head, HEAD_SIZE);
    (void)!mrl_buffer_append(out_position, name, head[9]);
    (void)!mrl_buffer_append(out_position, value, size);
    (void)!mrl_buffer_append(out_position, key.data, key.size);
    uint64_t check =
        mrl_position_check(rows, rows->plan.order_text, out_position->data, out_position->size);
    memcpy(out_position->data, &check, sizeof check);
    return MERLE_OK;
}

static merle_err refuse(const merle_rows *rows) {
    return mrl_query_fail(rows, MERLE_INVALID,
                          "what to go on behind is no position of this collection in this order");
}

merle_err mrl_after_read(merle_rows *rows, const char *order, merle_bytes position) {
    mrl_after *after = &rows->after;
    char name[MERLE_NAME_SIZE_MAX + 1] = {0};
    uint16_t value_size;
    uint64_t check, made_seq;
    if (position.size < HEAD_SIZE) return refuse(rows);
    uint8_t *bytes = mrl_pool_take(&rows->pool, position.size);
    if (bytes == NULL) return MERLE_NO_MEMORY;
    memcpy(bytes, position.data, position.size);
    memcpy(&check, bytes, sizeof check);
    memcpy(&value_size, bytes + 10, sizeof value_size);
    memcpy(&after->place.slot, bytes + 12, sizeof after->place.slot);
    memcpy(&made_seq, bytes + 16, sizeof made_seq);
    size_t name_size = bytes[9], used = HEAD_SIZE + name_size + value_size;
    if (check != mrl_position_check(rows, order == NULL ? "" : order, bytes, position.size) ||
        name_size > MERLE_NAME_SIZE_MAX || value_size > MERLE_VALUE_SIZE_MAX ||
        used > position.size || bytes[8] < MRL_PLACE_SLOT || bytes[8] > MRL_PLACE_SORTED)
        return refuse(rows);
    after->kind = (mrl_place_kind)bytes[8];
    after->place.value = bytes + HEAD_SIZE + name_size;
    after->place.size = value_size;
    after->place.key = merle_bytes_of(bytes + used, position.size - used);
    if (after->kind == MRL_PLACE_SLOT || after->kind == MRL_PLACE_SORTED) return MERLE_OK;
    memcpy(name, bytes + HEAD_SIZE, name_size);
    after->index = mrl_view_index(&rows->view, name);
    /* A namesake orders by other values. */
    if (after->index == NULL || after->index->made_seq != made_seq || value_size == 0)
        return refuse(rows);
    return MERLE_OK;
}
