/* document/patch.c - applying operations, and telling their effect.
 *
 * Each operation is done in place in a copy of the document; then the result is read back from
 * there into the effect. So the effect cannot say anything else than what was done.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "document/patch.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "document/check.h"
#include "document/edit.h"
#include "document/scan.h"
#include "document/order.h"

static const char *kind_text(merle_op_kind kind) {
    static const char *const texts[] = {"no operation", "set",     "unset",
                                        "increment",    "append",  "set add",
                                        "set remove",   "minimum", "maximum"};
    if ((unsigned)kind >= sizeof(texts) / sizeof(texts[0])) return texts[0];
    return texts[kind];
}

static int is_number(merle_type type) {
    return type == MERLE_TYPE_INT || type == MERLE_TYPE_UINT || type == MERLE_TYPE_FLOAT;
}

/* ---- checking operations ---- */

static merle_err check_kind(const merle_op *op, merle_report *report) {
    switch (op->kind) {
    case MERLE_OP_SET:
    case MERLE_OP_UNSET:
    case MERLE_OP_APPEND:
    case MERLE_OP_SET_ADD:
    case MERLE_OP_SET_REMOVE:
        return MERLE_OK;
    case MERLE_OP_INC:
    case MERLE_OP_MIN:
    case MERLE_OP_MAX:
        if (is_number(op->value.type)) return MERLE_OK;
        return mrl_report_fill(report, MERLE_INVALID, "The %s takes a number, not %s.",
                               kind_text(op->kind), mrl_type_text(op->value.type));
    default:
        return mrl_report_fill(report, MERLE_INVALID, "There is no operation of kind %d.",
                               (int)op->kind);
    }
}

static merle_err check_op(const merle_op *op, merle_report *report) {
    mrl_steps steps;
    const char *reason = NULL;
    size_t size = op->path == NULL ? 0 : strlen(op->path);
    merle_err err = mrl_path_parse(op->path, size, &steps, &reason);
    if (err != MERLE_OK)
        return mrl_report_fill(report, err, "\"%.100s\" is no path: %s.",
                               op->path == NULL ? "" : op->path, reason);
    err = check_kind(op, report);
    if (err != MERLE_OK || op->kind == MERLE_OP_UNSET) return err;
    /* An element stands one deeper than its array. */
    int is_element = op->kind != MERLE_OP_SET;
    return mrl_value_check(&op->value, steps.count + (uint32_t)is_element, report);
}

merle_err mrl_ops_check(const merle_op *ops, size_t op_count, merle_report *report) {
    if (op_count > UINT32_MAX || (ops == NULL && op_count > 0))
        return mrl_report_fill(report, MERLE_INVALID, "The operations are missing or too many.");
    for (size_t i = 0; i < op_count; i++) {
        merle_err err = check_op(&ops[i], report);
        if (err == MERLE_OK) continue;
        mrl_report_operation(report, (uint32_t)i);
        mrl_report_path(report, ops[i].path);
        return err;
    }
    return MERLE_OK;
}

/* ---- the effect ---- */

typedef struct patcher {
    merle_buffer *doc;
    merle_buffer *effect; /* NULL: nobody asked for it */
    uint32_t entry_count;
    merle_report *report;
    const merle_op *op;
    mrl_steps steps; /* of the operation at hand */
    mrl_place place;
} patcher;

/* The head is made for as many entries as there are operations and corrected at the end, in its
 * form, as each operation makes at most one entry. */
static merle_err effect_begin(merle_buffer *effect, size_t op_count) {
    mrl_piece head;
    effect->size = 0;
    mrl_piece_array(&head, (uint32_t)op_count);
    return mrl_piece_append(&head, effect);
}

static void effect_end(merle_buffer *effect, uint32_t entry_count) {
    uint8_t *head = effect->data;
    if (*head < 0xa0)
        *head = (uint8_t)(0x90 | entry_count);
    else if (*head == 0xdc)
        mrl_scan_put_u16(head + 1, (uint16_t)entry_count);
    else
        mrl_scan_put_u32(head + 1, entry_count);
}

/* Begins an entry and writes the operation's path, with one more index where that is not
 * negative. */
static merle_err effect_path(patcher *p, uint8_t entry_head, int64_t last_index) {
    mrl_piece piece;
    uint32_t count = p->steps.count;
    merle_err err = mrl_buffer_append(p->effect, &entry_head, 1);
    mrl_piece_array(&piece, count + (last_index >= 0));
    if (err == MERLE_OK) err = mrl_piece_append(&piece, p->effect);
    for (uint32_t i = 0; i < count && err == MERLE_OK; i++) {
        const mrl_step *step = &p->steps.step[i];
        if (step->key != NULL)
            mrl_piece_str(&piece, step->key, step->key_size);
        else
            mrl_piece_int(&piece, step->index);
        err = mrl_piece_append(&piece, p->effect);
    }
    if (err != MERLE_OK || last_index < 0) return err;
    mrl_piece_int(&piece, last_index);
    return mrl_piece_append(&piece, p->effect);
}

/* Says that the path (and index, unless negative) now has the value that lies at `value`. */
static merle_err effect_set(patcher *p, int64_t last_index, uint32_t value) {
    if (p->effect == NULL) return MERLE_OK;
    p->entry_count++;
    merle_err err = effect_path(p, 0x92, last_index);
    if (err != MERLE_OK) return err;
    const uint8_t *at = p->doc->data + value;
    return mrl_buffer_append(p->effect, at, (size_t)(mrl_scan_skip(at) - at));
}

static merle_err effect_unset(patcher *p, int64_t last_index) {
    if (p->effect == NULL) return MERLE_OK;
    p->entry_count++;
    return effect_path(p, 0x91, last_index);
}

/* ---- reports ---- */

__attribute__((cold)) static merle_err refuse_type(patcher *p, const char *expected,
                                                   merle_type found) {
    merle_report *report = p->report;
    mrl_report_fill(report, MERLE_TYPE, "The %s of %.100s needs %s there, but there is %s.",
                    kind_text(p->op->kind), p->op->path, expected, mrl_type_text(found));
    mrl_report_expected(report, expected);
    mrl_report_found(report, mrl_type_text(found));
    return MERLE_TYPE;
}

__attribute__((cold)) static merle_err refuse_missing(patcher *p) {
    return mrl_report_fill(p->report, MERLE_NOT_FOUND,
                           "The %s of %.100s names an array element that does not exist.",
                           kind_text(p->op->kind), p->op->path);
}

__attribute__((cold)) static merle_err refuse_size(patcher *p, merle_err err) {
    if (err != MERLE_TOO_BIG) return mrl_report_fill(p->report, err, NULL);
    return mrl_report_fill(p->report, err, "The %s of %.100s makes the document too big.",
                           kind_text(p->op->kind), p->op->path);
}

/* ---- the operations ---- */

/* Whether the way to the place is free: false with a report if a value of the wrong type stands in
 * it, or an element is asked for that is not there. */
static merle_err check_way(patcher *p) {
    const mrl_place *place = &p->place;
    const mrl_step *blocked = &p->steps.step[place->found];
    if (place->value != 0) return MERLE_OK;
    if (place->blocked != MERLE_TYPE_NONE)
        return refuse_type(p, blocked->key != NULL ? "a map on the way" : "an array on the way",
                           place->blocked);
    for (uint32_t i = place->found; i < p->steps.count; i++) {
        if (p->steps.step[i].key == NULL) return refuse_missing(p);
    }
    return MERLE_OK;
}

static merle_err set_piece(patcher *p, const mrl_piece *piece) {
    uint32_t value;
    merle_err err = mrl_edit_set(p->doc, p->steps.step, p->steps.count, &p->place, piece, &value);
    if (err == MERLE_OK) err = effect_set(p, -1, value);
    return err == MERLE_OK ? err : refuse_size(p, err);
}

static merle_err set_value(patcher *p, const merle_value *value) {
    mrl_piece piece;
    merle_err err = check_way(p);
    if (err != MERLE_OK) return err;
    mrl_piece_value(&piece, value);
    return set_piece(p, &piece);
}

static merle_err unset(patcher *p) {
    if (p->place.value == 0) return MERLE_OK;
    mrl_edit_unset(p->doc, &p->place);
    merle_err err = effect_unset(p, -1);
    return err == MERLE_OK ? err : refuse_size(p, err);
}

/* Reads the number there; MERLE_TYPE if it is none. */
static merle_err number_there(patcher *p, merle_value *out_value) {
    const uint8_t *at = p->doc->data + p->place.value, *first;
    uint32_t count;
    merle_type container = mrl_scan_container(at, &first, &count);
    if (container != MERLE_TYPE_NONE) return refuse_type(p, "a number", container);
    mrl_scan_value(at, out_value);
    if (!is_number(out_value->type)) return refuse_type(p, "a number", out_value->type);
    return MERLE_OK;
}

static double float_of(const merle_value *number) {
    if (number->type == MERLE_TYPE_FLOAT) return number->number.f;
    if (number->type == MERLE_TYPE_UINT) return (double)number->number.u;
    return (double)number->number.i;
}

static __int128 integer_of(const merle_value *number) {
    return number->type == MERLE_TYPE_UINT ? (__int128)number->number.u
                                           : (__int128)number->number.i;
}

/* Two signed integers stay signed: a counter that passes INT64_MAX has overflowed, even though the
 * sum could be written as an unsigned one. */
static merle_err add_integers(patcher *p, const merle_value *there, merle_value *out_sum) {
    const merle_value *delta = &p->op->value;
    __int128 sum = integer_of(there) + integer_of(delta);
    int is_unsigned = there->type == MERLE_TYPE_UINT || delta->type == MERLE_TYPE_UINT;
    if (sum < INT64_MIN || sum > (is_unsigned ? (__int128)UINT64_MAX : (__int128)INT64_MAX))
        return mrl_report_fill(p->report, MERLE_OVERFLOW,
                               "The increment of %.100s leaves the range of 64-bit integers.",
                               p->op->path);
    *out_sum = sum < 0 ? merle_value_int((int64_t)sum) : merle_value_uint((uint64_t)sum);
    return MERLE_OK;
}

static merle_err increment(patcher *p) {
    merle_value there, sum;
    if (p->place.value == 0) return set_value(p, &p->op->value);
    merle_err err = number_there(p, &there);
    if (err != MERLE_OK) return err;
    if (there.type == MERLE_TYPE_FLOAT || p->op->value.type == MERLE_TYPE_FLOAT)
        sum = merle_value_float(float_of(&there) + float_of(&p->op->value));
    else
        err = add_integers(p, &there, &sum);
    return err != MERLE_OK ? err : set_value(p, &sum);
}

static merle_err extreme(patcher *p) {
    merle_value there;
    if (p->place.value == 0) return set_value(p, &p->op->value);
    merle_err err = number_there(p, &there);
    if (err != MERLE_OK) return err;
    int order = mrl_value_order(&p->op->value, &there);
    if (p->op->kind == MERLE_OP_MIN ? order < 0 : order > 0) return set_value(p, &p->op->value);
    return MERLE_OK;
}

/* An array that is not there yet begins empty, and its effect is the whole of it. */
static merle_err begin_array(patcher *p) {
    mrl_piece piece;
    uint32_t array, element;
    merle_err err = check_way(p);
    if (err != MERLE_OK) return err;
    if (p->steps.count == MERLE_DEPTH_MAX) return refuse_size(p, MERLE_TOO_BIG);
    mrl_piece_array(&piece, 0);
    err = mrl_edit_set(p->doc, p->steps.step, p->steps.count, &p->place, &piece, &array);
    mrl_piece_value(&piece, &p->op->value);
    if (err == MERLE_OK) err = mrl_edit_append(p->doc, array, &piece, &element);
    if (err == MERLE_OK) err = effect_set(p, -1, array);
    return err == MERLE_OK ? err : refuse_size(p, err);
}

static merle_err append_element(patcher *p, uint32_t count) {
    mrl_piece piece;
    uint32_t element;
    mrl_piece_value(&piece, &p->op->value);
    merle_err err = mrl_edit_append(p->doc, p->place.value, &piece, &element);
    if (err == MERLE_OK) err = effect_set(p, count, element);
    return err == MERLE_OK ? err : refuse_size(p, err);
}

static merle_err append_text(patcher *p) {
    merle_err err = mrl_edit_append_text(p->doc, p->place.value, p->op->value.bytes);
    if (err == MERLE_OK && p->op->value.bytes.size > 0) err = effect_set(p, -1, p->place.value);
    return err == MERLE_OK ? err : refuse_size(p, err);
}

static merle_err append(patcher *p) {
    const uint8_t *first;
    uint32_t count;
    if (p->place.value == 0) return begin_array(p);
    const uint8_t *at = p->doc->data + p->place.value;
    if (mrl_scan_container(at, &first, &count) == MERLE_TYPE_ARRAY) return append_element(p, count);
    merle_type type = mrl_scan_type(at);
    if (type == MERLE_TYPE_STR && p->op->value.type == MERLE_TYPE_STR) return append_text(p);
    return refuse_type(p, "an array, or a string and a string to append,", type);
}

static merle_err set_add(patcher *p) {
    const uint8_t *first;
    uint32_t count;
    if (p->place.value == 0) return begin_array(p);
    const uint8_t *at = p->doc->data + p->place.value;
    if (mrl_scan_container(at, &first, &count) != MERLE_TYPE_ARRAY)
        return refuse_type(p, "an array", mrl_scan_type(at));
    for (uint32_t left = count; left > 0; left--) {
        if (mrl_scan_matches(first, &p->op->value)) return MERLE_OK;
        first = mrl_scan_skip(first);
    }
    return append_element(p, count);
}

static merle_err set_remove(patcher *p) {
    uint32_t first = 0;
    merle_err err = MERLE_OK;
    if (p->place.value == 0) return MERLE_OK;
    merle_type type = mrl_scan_type(p->doc->data + p->place.value);
    if (type != MERLE_TYPE_ARRAY) return refuse_type(p, "an array", type);
    uint32_t removed = mrl_edit_remove_equal(p->doc, p->place.value, &p->op->value, &first);
    if (removed == 1) err = effect_unset(p, first);
    if (removed > 1) err = effect_set(p, -1, p->place.value);
    return err == MERLE_OK ? err : refuse_size(p, err);
}

static merle_err apply_op(patcher *p) {
    merle_err err = mrl_path_parse(p->op->path, strlen(p->op->path), &p->steps, NULL);
    MRL_ASSERT(err == MERLE_OK);
    mrl_edit_locate(p->doc->data, p->steps.step, p->steps.count, &p->place);
    switch (p->op->kind) {
    case MERLE_OP_SET:
        return set_value(p, &p->op->value);
    case MERLE_OP_UNSET:
        return unset(p);
    case MERLE_OP_INC:
        return increment(p);
    case MERLE_OP_APPEND:
        return append(p);
    case MERLE_OP_SET_ADD:
        return set_add(p);
    case MERLE_OP_SET_REMOVE:
        return set_remove(p);
    case MERLE_OP_MIN:
    case MERLE_OP_MAX:
        return extreme(p);
    }
    MRL_ASSERT(!"an operation that nobody checked");
    return MERLE_INVALID;
}

merle_err mrl_patch_apply(const uint8_t *doc, size_t size, const merle_op *ops, size_t op_count,
                          merle_buffer *out_document, merle_buffer *out_effect,
                          merle_report *report) {
    patcher p;
    p.doc = out_document;
    p.effect = out_effect;
    p.entry_count = 0;
    p.report = report;
    size_t i = 0;
    out_document->size = 0;
    merle_err err = mrl_buffer_append(out_document, doc, size);
    if (err == MERLE_OK && out_effect != NULL) err = effect_begin(out_effect, op_count);
    if (err != MERLE_OK) {
        mrl_report_fill(report, err, NULL);
        goto fail;
    }
    for (; i < op_count; i++) {
        p.op = &ops[i];
        err = apply_op(&p);
        if (err != MERLE_OK) goto fail;
    }
    if (out_effect != NULL) effect_end(out_effect, p.entry_count);
    return MERLE_OK;
fail:
    out_document->size = 0;
    if (out_effect != NULL) out_effect->size = 0;
    if (i < op_count) {
        mrl_report_operation(report, (uint32_t)i);
        mrl_report_path(report, ops[i].path);
    }
    return err;
}

merle_err merle_doc_patch(merle_bytes document, const merle_op *ops, size_t op_count,
                          merle_buffer *out_document, merle_report *report) {
    merle_err err = mrl_check_document(document.data, document.size, report);
    if (err == MERLE_OK) err = mrl_ops_check(ops, op_count, report);
    if (err == MERLE_OK)
        return mrl_patch_apply(document.data, document.size, ops, op_count, out_document, NULL,
                               report);
    out_document->size = 0;
    return err;
}

/* ---- copies of operations ---- */

static size_t value_size(const merle_op *op) {
    switch (op->value.type) {
    case MERLE_TYPE_STR:
    case MERLE_TYPE_BIN:
    case MERLE_TYPE_EXT:
    case MERLE_TYPE_ARRAY:
    case MERLE_TYPE_MAP:
        return op->kind == MERLE_OP_UNSET ? 0 : op->value.bytes.size;
    default:
        return 0;
    }
}

size_t mrl_ops_size(const merle_op *ops, size_t op_count) {
    size_t size = op_count * sizeof(*ops);
    for (size_t i = 0; i < op_count; i++) size += strlen(ops[i].path) + 1 + value_size(&ops[i]);
    return size;
}

merle_op *mrl_ops_copy_into(void *memory, const merle_op *ops, size_t op_count) {
    merle_op *copies = memory;
    char *out = (char *)memory + op_count * sizeof(*ops);
    for (size_t i = 0; i < op_count; i++) {
        size_t path_size = strlen(ops[i].path) + 1, size = value_size(&ops[i]);
        copies[i] = ops[i];
        copies[i].path = memcpy(out, ops[i].path, path_size);
        out += path_size;
        copies[i].value.bytes = merle_bytes_of(out, size);
        if (size > 0) memcpy(out, ops[i].value.bytes.data, size);
        out += size;
    }
    return copies;
}
