/* document/edit.c - changing a document in place, at concrete paths.
 *
 * The head of an array or map keeps its form while the new count fits into it and grows only when
 * it must: what nobody touches stays, and both ways to apply a change end in the same bytes.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "document/edit.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "document/scan.h"

/* Makes the old_size bytes at `at` new_size bytes; what they hold then is the caller's to write. */
static merle_err gap_make(merle_buffer *doc, size_t at, size_t old_size, size_t new_size) {
    size_t behind = at + old_size;
    if (new_size > old_size) {
        size_t more = new_size - old_size;
        if (more > MERLE_DOCUMENT_SIZE_MAX - doc->size) return MERLE_TOO_BIG;
        merle_err err = mrl_buffer_reserve(doc, more);
        if (err != MERLE_OK) return err;
    }
    if (new_size != old_size)
        memmove(doc->data + at + new_size, doc->data + behind, doc->size - behind);
    doc->size = doc->size - old_size + new_size;
    return MERLE_OK;
}

static void gap_close(merle_buffer *doc, size_t at, size_t size) {
    memmove(doc->data + at, doc->data + at + size, doc->size - at - size);
    doc->size -= size;
}

/* Writes a new count into the head at `at`; *out_moved: by how much everything behind it moved. */
static merle_err count_set(merle_buffer *doc, size_t at, uint32_t count, uint32_t *out_moved) {
    uint8_t *head = doc->data + at;
    int is_map = (*head & 0xf0) == 0x80 || *head >= 0xde;
    *out_moved = 0;
    if (*head < 0xa0 && count <= 15) {
        *head = (uint8_t)((*head & 0xf0) | count);
        return MERLE_OK;
    }
    size_t size = *head < 0xa0 ? 1 : *head & 1 ? 5 : 3;
    size_t needed = count > UINT16_MAX ? 5 : 3;
    if (needed < size) needed = size;
    if (needed > size) {
        merle_err err = gap_make(doc, at, size, needed);
        if (err != MERLE_OK) return err;
        head = doc->data + at;
        *out_moved = (uint32_t)(needed - size);
    }
    head[0] = (uint8_t)((is_map ? 0xde : 0xdc) + (needed == 5));
    if (needed == 5)
        mrl_scan_put_u32(head + 1, count);
    else
        mrl_scan_put_u16(head + 1, (uint16_t)count);
    return MERLE_OK;
}

/* ---- where a path leads ---- */

static void locate_key(const uint8_t *doc, const uint8_t *at, const mrl_step *step,
                       mrl_place *place) {
    for (uint32_t left = place->count; left > 0; left--) {
        const uint8_t *entry = at, *text;
        uint32_t size;
        if (!mrl_scan_str(at, &text, &size)) {
            at = mrl_scan_skip(mrl_scan_skip(at));
            continue;
        }
        at = text + size;
        if (size == step->key_size && memcmp(text, step->key, size) == 0) {
            place->value = (uint32_t)(at - doc);
            place->entry = (uint32_t)(entry - doc);
            return;
        }
        at = mrl_scan_skip(at);
    }
}

static void locate_index(const uint8_t *doc, const uint8_t *at, mrl_step *step, mrl_place *place) {
    int64_t index = step->index < 0 ? step->index + place->count : step->index;
    /* An index before the first element is as absent as one far behind the last. */
    place->index = index < 0 || index > UINT32_MAX ? UINT32_MAX : (uint32_t)index;
    if (index < 0 || index >= (int64_t)place->count) return;
    step->index = index;
    for (; index > 0; index--) at = mrl_scan_skip(at);
    place->value = place->entry = (uint32_t)(at - doc);
}

void mrl_edit_locate(const uint8_t *doc, mrl_step *steps, uint32_t step_count,
                     mrl_place *out_place) {
    mrl_place place = {0, 0, 0, 0, 0, 0, MERLE_TYPE_NONE};
    for (uint32_t i = 0; i < step_count; i++) {
        mrl_step *step = &steps[i];
        const uint8_t *first;
        place.parent = place.value;
        place.value = 0;
        merle_type type = mrl_scan_container(doc + place.parent, &first, &place.count);
        if (type != (step->key != NULL ? MERLE_TYPE_MAP : MERLE_TYPE_ARRAY)) {
            place.blocked = mrl_scan_type(doc + place.parent);
            break;
        }
        if (step->key != NULL)
            locate_key(doc, first, step, &place);
        else
            locate_index(doc, first, step, &place);
        if (place.value == 0) break;
        place.found = i + 1;
    }
    *out_place = place;
}

/* ---- edits ---- */

/* Makes room behind the last of the parent's values, and counts one more of them. */
static merle_err insert_last(merle_buffer *doc, uint32_t parent, size_t room, uint32_t *out_at) {
    const uint8_t *first;
    uint32_t count, moved;
    size_t at = (size_t)(mrl_scan_skip(doc->data + parent) - doc->data);
    mrl_scan_container(doc->data + parent, &first, &count);
    merle_err err = gap_make(doc, at, 0, room);
    if (err != MERLE_OK) return err;
    err = count_set(doc, parent, count + 1, &moved);
    *out_at = (uint32_t)at + moved;
    return err;
}

/* A new pair: its key, a map of one pair for each further key, the value. */
static merle_err insert_pair(merle_buffer *doc, const mrl_step *steps, uint32_t step_count,
                             uint32_t parent, const mrl_piece *piece, uint32_t *out_value) {
    mrl_piece key;
    size_t room = mrl_piece_size(piece) + step_count - 1;
    uint32_t at;
    for (uint32_t i = 0; i < step_count; i++) {
        if (steps[i].key == NULL) return MERLE_NOT_FOUND;
        mrl_piece_str(&key, steps[i].key, steps[i].key_size);
        room += mrl_piece_size(&key);
    }
    merle_err err = insert_last(doc, parent, room, &at);
    if (err != MERLE_OK) return err;
    uint8_t *out = doc->data + at;
    for (uint32_t i = 0; i < step_count; i++) {
        if (i > 0) *out++ = 0x81;
        mrl_piece_str(&key, steps[i].key, steps[i].key_size);
        out = mrl_piece_put(&key, out);
    }
    *out_value = (uint32_t)(out - doc->data);
    mrl_piece_put(piece, out);
    return MERLE_OK;
}

merle_err mrl_edit_append(merle_buffer *doc, uint32_t array, const mrl_piece *piece,
                          uint32_t *out_value) {
    merle_err err = insert_last(doc, array, mrl_piece_size(piece), out_value);
    if (err == MERLE_OK) mrl_piece_put(piece, doc->data + *out_value);
    return err;
}

merle_err mrl_edit_set(merle_buffer *doc, const mrl_step *steps, uint32_t step_count,
                       const mrl_place *place, const mrl_piece *piece, uint32_t *out_value) {
    *out_value = 0;
    if (place->blocked != MERLE_TYPE_NONE) return MERLE_TYPE;
    if (place->value != 0) {
        const uint8_t *old = doc->data + place->value;
        size_t old_size = (size_t)(mrl_scan_skip(old) - old);
        merle_err err = gap_make(doc, place->value, old_size, mrl_piece_size(piece));
        if (err != MERLE_OK) return err;
        mrl_piece_put(piece, doc->data + place->value);
        *out_value = place->value;
        return MERLE_OK;
    }
    uint32_t left = step_count - place->found;
    const mrl_step *step = &steps[place->found];
    if (step->key != NULL) return insert_pair(doc, step, left, place->parent, piece, out_value);
    if (left > 1 || place->index != place->count) return MERLE_NOT_FOUND;
    return mrl_edit_append(doc, place->parent, piece, out_value);
}

void mrl_edit_unset(merle_buffer *doc, const mrl_place *place) {
    const uint8_t *entry = doc->data + place->entry;
    const uint8_t *behind = mrl_scan_skip(doc->data + place->value);
    uint32_t moved;
    MRL_ASSERT(place->value != 0 && place->count > 0);
    gap_close(doc, place->entry, (size_t)(behind - entry));
    /* A smaller count fits into the head that held the greater one. */
    merle_err err = count_set(doc, place->parent, place->count - 1, &moved);
    MRL_ASSERT(err == MERLE_OK && moved == 0);
}

merle_err mrl_edit_append_text(merle_buffer *doc, uint32_t string, merle_bytes text) {
    const uint8_t *old;
    uint32_t old_size;
    if (text.size == 0) return MERLE_OK;
    if (!mrl_scan_str(doc->data + string, &old, &old_size)) return MERLE_TYPE;
    size_t size = old_size + text.size;
    if (size > MERLE_DOCUMENT_SIZE_MAX) return MERLE_TOO_BIG;
    mrl_piece head;
    mrl_piece_str(&head, NULL, (uint32_t)size);
    size_t old_head_size = (size_t)(old - doc->data) - string;
    /* First the room behind the old text, then the head, which is before it. */
    size_t behind = string + old_head_size + old_size;
    merle_err err = gap_make(doc, behind, 0, text.size);
    if (err != MERLE_OK) return err;
    memcpy(doc->data + behind, text.data, text.size);
    err = gap_make(doc, string, old_head_size, head.head_size);
    if (err != MERLE_OK) return err;
    memcpy(doc->data + string, head.head, head.head_size);
    return MERLE_OK;
}

uint32_t mrl_edit_remove_equal(merle_buffer *doc, uint32_t array, const merle_value *value,
                               uint32_t *out_first) {
    const uint8_t *at;
    uint32_t count, removed = 0, moved;
    mrl_scan_container(doc->data + array, &at, &count);
    /* What is kept moves to the front in one pass, however much is removed. */
    uint8_t *kept = doc->data + (at - doc->data);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *behind = mrl_scan_skip(at);
        if (mrl_scan_matches(at, value)) {
            if (removed++ == 0) *out_first = i;
        } else {
            if (removed > 0) memmove(kept, at, (size_t)(behind - at));
            kept += behind - at;
        }
        at = behind;
    }
    if (removed == 0) return 0;
    gap_close(doc, (size_t)(kept - doc->data), (size_t)(at - kept));
    merle_err err = count_set(doc, array, count - removed, &moved);
    MRL_ASSERT(err == MERLE_OK && moved == 0);
    return removed;
}
