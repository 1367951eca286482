/* document/effect.c - applying the effects of patches, which come from a log and are not trusted.
 * SPDX-License-Identifier: Apache-2.0 */
#include "document/patch.h"

#include "base/buffer.h"
#include "base/report.h"
#include "document/check.h"
#include "document/edit.h"
#include "document/scan.h"

typedef struct replayer {
    const uint8_t *begin;
    const uint8_t *at;
    const uint8_t *end;
    merle_buffer *doc;
    merle_report *report;
    uint32_t step_count;
    mrl_step steps[MERLE_DEPTH_MAX];
} replayer;

__attribute__((cold)) static merle_err refuse(replayer *r, const char *reason) {
    mrl_report_fill(r->report, MERLE_BAD_DOCUMENT, "The effect is wrong at byte %zu: %s.",
                    (size_t)(r->at - r->begin), reason);
    mrl_report_offset(r->report, (uint64_t)(r->at - r->begin));
    return MERLE_BAD_DOCUMENT;
}

/* Reads the head of an array whose elements may or may not be there. */
static merle_err read_array(replayer *r, uint32_t *out_count) {
    size_t left = (size_t)(r->end - r->at);
    const uint8_t *first;
    if (left == 0) return refuse(r, "it ends too early");
    uint8_t head = *r->at;
    /* The head is known to be an array's before its size is read: a map's has other widths. */
    if ((head & 0xf0) != 0x90 && head != 0xdc && head != 0xdd)
        return refuse(r, "an array is missing");
    size_t head_size = head == 0xdc ? 3 : head == 0xdd ? 5 : 1;
    if (left < head_size) return refuse(r, "it ends too early");
    mrl_scan_container(r->at, &first, out_count);
    r->at = first;
    return MERLE_OK;
}

static merle_err read_step(replayer *r, mrl_step *out_step) {
    size_t size;
    merle_value value;
    merle_err err = mrl_check_value(r->at, (size_t)(r->end - r->at), 0, &size, NULL);
    if (err != MERLE_OK) return refuse(r, "a step of a path is no value");
    mrl_scan_value(r->at, &value);
    out_step->key = NULL;
    out_step->key_size = 0;
    out_step->index = 0;
    if (value.type == MERLE_TYPE_STR) {
        out_step->key = value.bytes.data;
        out_step->key_size = (uint32_t)value.bytes.size;
    } else if (value.type == MERLE_TYPE_INT && value.number.i >= 0 &&
               value.number.i <= UINT32_MAX) {
        out_step->index = value.number.i;
    } else {
        return refuse(r, "a step of a path is neither a string nor an index");
    }
    r->at += size;
    return MERLE_OK;
}

static merle_err read_path(replayer *r) {
    merle_err err = read_array(r, &r->step_count);
    if (err != MERLE_OK) return err;
    if (r->step_count == 0 || r->step_count > MERLE_DEPTH_MAX)
        return refuse(r, "a path has no step, or too many");
    for (uint32_t i = 0; i < r->step_count && err == MERLE_OK; i++)
        err = read_step(r, &r->steps[i]);
    return err;
}

static merle_err replay_set(replayer *r) {
    mrl_place place;
    mrl_piece piece;
    uint32_t value;
    size_t size;
    merle_err err = mrl_check_value(r->at, (size_t)(r->end - r->at), r->step_count, &size, NULL);
    if (err != MERLE_OK) return refuse(r, "the value of a set is wrong or stands too deep");
    mrl_piece_raw(&piece, r->at, size);
    mrl_edit_locate(r->doc->data, r->steps, r->step_count, &place);
    err = mrl_edit_set(r->doc, r->steps, r->step_count, &place, &piece, &value);
    if (err == MERLE_NO_MEMORY) return mrl_report_fill(r->report, err, NULL);
    if (err != MERLE_OK) return refuse(r, "a set does not fit the document");
    r->at += size;
    return MERLE_OK;
}

static merle_err replay_unset(replayer *r) {
    mrl_place place;
    mrl_edit_locate(r->doc->data, r->steps, r->step_count, &place);
    if (place.value == 0) return refuse(r, "what an unset removes is not there");
    mrl_edit_unset(r->doc, &place);
    return MERLE_OK;
}

static merle_err replay_entry(replayer *r) {
    uint32_t part_count;
    merle_err err = read_array(r, &part_count);
    if (err != MERLE_OK) return err;
    if (part_count != 1 && part_count != 2) return refuse(r, "an entry has not one or two parts");
    err = read_path(r);
    if (err != MERLE_OK) return err;
    return part_count == 2 ? replay_set(r) : replay_unset(r);
}

static merle_err replay_all(replayer *r) {
    uint32_t entry_count;
    merle_err err = read_array(r, &entry_count);
    for (; entry_count > 0 && err == MERLE_OK; entry_count--) err = replay_entry(r);
    if (err == MERLE_OK && r->at != r->end) return refuse(r, "bytes follow its end");
    return err;
}

merle_err mrl_effect_apply(const uint8_t *doc, size_t size, merle_bytes effect,
                           merle_buffer *out_document, merle_report *report) {
    replayer r;
    r.begin = r.at = effect.data;
    r.end = r.begin + effect.size;
    r.doc = out_document;
    r.report = report;
    out_document->size = 0;
    merle_err err = mrl_buffer_append(out_document, doc, size);
    if (err == MERLE_OK)
        err = replay_all(&r);
    else
        mrl_report_fill(report, err, NULL);
    if (err != MERLE_OK) out_document->size = 0;
    return err;
}
