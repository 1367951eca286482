/* document/path.c - paths into documents, and what an index is on.
 * SPDX-License-Identifier: Apache-2.0 */
#include "document/path.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "document/scan.h"
#include "document/utf8.h"

/* Bytes that end a bare name or may not stand in it. */
static inline int is_mark(uint8_t byte) {
    return byte == '.' || byte == '[' || byte == ']' || byte == '"';
}

/* ---- parsing ---- */

typedef struct parser {
    const uint8_t *at;
    const uint8_t *end;
    mrl_steps *steps;
    const char *reason;
} parser;

static int refuse(parser *p, const char *reason) {
    p->reason = reason;
    return 0;
}

static int add_step(parser *p, const uint8_t *key, size_t key_size, int64_t index) {
    mrl_steps *steps = p->steps;
    if (steps->count == MERLE_DEPTH_MAX) return refuse(p, "it has more than 64 steps");
    mrl_step *step = &steps->step[steps->count++];
    step->key = key;
    step->key_size = (uint32_t)key_size;
    step->index = index;
    return 1;
}

static int parse_bare(parser *p) {
    const uint8_t *begin = p->at;
    while (p->at < p->end && !is_mark(*p->at)) p->at++;
    if (p->at == begin) return refuse(p, "a name is missing");
    return add_step(p, begin, (size_t)(p->at - begin), 0);
}

/* Most quoted names have no escapes and are used where they stand. */
static int parse_quoted(parser *p) {
    const uint8_t *begin = ++p->at;
    mrl_steps *steps = p->steps;
    uint8_t *copy = steps->unescaped + steps->unescaped_size;
    size_t copy_size = 0;
    int escaped = 0;
    for (; p->at < p->end && *p->at != '"'; p->at++) {
        if (*p->at == '\\') {
            p->at++;
            if (p->at == p->end) break;
            if (*p->at != '"' && *p->at != '\\')
                return refuse(p, "a backslash in quotes stands before neither \" nor \\");
            escaped = 1;
        }
        /* This fits: a path has at most as many bytes as the array. */
        copy[copy_size++] = *p->at;
    }
    if (p->at == p->end) return refuse(p, "a quote is not closed");
    const uint8_t *behind = p->at++;
    if (p->at < p->end && *p->at != '.' && *p->at != '[')
        return refuse(p, "something stands between a closing quote and the next step");
    if (!escaped) return add_step(p, begin, (size_t)(behind - begin), 0);
    steps->unescaped_size += (uint32_t)copy_size;
    return add_step(p, copy, copy_size, 0);
}

static int parse_index(parser *p) {
    int negative = 0;
    int64_t index = 0;
    p->at++;
    if (p->at < p->end && *p->at == '-') {
        negative = 1;
        p->at++;
    }
    const uint8_t *begin = p->at;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
        index = index * 10 + (*p->at - '0');
        if (index > UINT32_MAX) return refuse(p, "an index is too big");
    }
    size_t digits = (size_t)(p->at - begin);
    if (digits == 0) return refuse(p, "an index is no number");
    if (*begin == '0' && (digits > 1 || negative))
        return refuse(p, "an index is not written in its plain form");
    if (p->at == p->end || *p->at != ']') return refuse(p, "an index is not closed by ]");
    p->at++;
    if (p->at < p->end && *p->at != '.' && *p->at != '[')
        return refuse(p, "something stands between ] and the next step");
    return add_step(p, NULL, 0, negative ? -index : index);
}

static int parse_name(parser *p) {
    if (p->at < p->end && *p->at == '"') return parse_quoted(p);
    return parse_bare(p);
}

static int parse_all(parser *p) {
    if (!parse_name(p)) return 0;
    while (p->at < p->end) {
        if (*p->at == '[') {
            if (!parse_index(p)) return 0;
        } else if (*p->at == '.') {
            p->at++;
            if (!parse_name(p)) return 0;
        } else {
            return refuse(p, "a quote or ] stands inside a name");
        }
    }
    return 1;
}

merle_err mrl_path_parse(const char *text, size_t size, mrl_steps *out_steps,
                         const char **out_reason) {
    const uint8_t *bytes = (const uint8_t *)text;
    parser p = {bytes, bytes + size, out_steps, NULL};
    out_steps->count = 0;
    out_steps->unescaped_size = 0;
    if (text == NULL || size == 0)
        refuse(&p, "it is empty");
    else if (size > MRL_PATH_SIZE_MAX)
        refuse(&p, "it has more than 4096 bytes");
    else if (!mrl_utf8_is_valid(bytes, size))
        refuse(&p, "it is no UTF-8");
    else if (parse_all(&p))
        return MERLE_OK;
    out_steps->count = 0;
    if (out_reason != NULL) *out_reason = p.reason;
    return MERLE_INVALID;
}

size_t mrl_path_simple_size(const char *text) {
    const uint8_t *bytes = (const uint8_t *)text;
    size_t size = 0;
    for (; bytes[size] != 0; size++) {
        if (is_mark(bytes[size]) || bytes[size] >= 0x80) return 0;
    }
    return size <= MRL_PATH_SIZE_MAX ? size : 0;
}

/* ---- following ---- */

static const uint8_t *follow_index(const uint8_t *at, uint32_t count, int64_t index) {
    if (index < 0) index += count;
    if (index < 0 || index >= (int64_t)count) return NULL;
    for (; index > 0; index--) at = mrl_scan_skip(at);
    return at;
}

const uint8_t *mrl_path_follow(const uint8_t *at, const mrl_step *steps, uint32_t step_count) {
    for (uint32_t i = 0; i < step_count; i++) {
        const uint8_t *first;
        uint32_t count;
        merle_type wanted = steps[i].key != NULL ? MERLE_TYPE_MAP : MERLE_TYPE_ARRAY;
        if (mrl_scan_container(at, &first, &count) != wanted) return NULL;
        at = wanted == MERLE_TYPE_MAP ? mrl_scan_find(first, count, steps[i].key, steps[i].key_size)
                                      : follow_index(first, count, steps[i].index);
        if (at == NULL) return NULL;
    }
    return at;
}

/* ---- compiled ---- */

/* In one piece of memory: this, the steps, the text with its NUL, the unescaped names. */
struct mrl_path {
    _Atomic uint32_t holders;
    const char *text;
    uint32_t step_count;
    mrl_step steps[];
};

merle_err mrl_path_compile(const char *text, size_t size, mrl_path **out_path) {
    mrl_steps steps;
    *out_path = NULL;
    merle_err err = mrl_path_parse(text, size, &steps, NULL);
    if (err != MERLE_OK) return err;
    size_t steps_size = steps.count * sizeof(mrl_step);
    mrl_path *path = mrl_allocate(sizeof(*path) + steps_size + size + 1 + steps.unescaped_size);
    if (path == NULL) return MERLE_NO_MEMORY;
    char *copy = (char *)(path->steps + steps.count);
    uint8_t *unescaped = (uint8_t *)copy + size + 1;
    memcpy(copy, text, size);
    copy[size] = 0;
    memcpy(unescaped, steps.unescaped, steps.unescaped_size);
    atomic_init(&path->holders, 1);
    path->text = copy;
    path->step_count = steps.count;
    for (uint32_t i = 0; i < steps.count; i++) {
        mrl_step step = steps.step[i];
        const uint8_t *from = (const uint8_t *)text;
        if (step.key >= steps.unescaped && step.key < steps.unescaped + sizeof(steps.unescaped))
            step.key = unescaped + (step.key - steps.unescaped);
        else if (step.key != NULL)
            step.key = (const uint8_t *)copy + (step.key - from);
        path->steps[i] = step;
    }
    *out_path = path;
    return MERLE_OK;
}

void mrl_path_destroy(mrl_path *path) {
    /* Acquire and release: the last one sees all that others did with it. */
    if (path != NULL && atomic_fetch_sub_explicit(&path->holders, 1, memory_order_acq_rel) == 1)
        free(path);
}

mrl_path *mrl_path_hold(mrl_path *path) {
    atomic_fetch_add_explicit(&path->holders, 1, memory_order_relaxed);
    return path;
}

const char *mrl_path_text(const mrl_path *path) {
    return path->text;
}

const mrl_step *mrl_path_steps(const mrl_path *path, uint32_t *out_count) {
    *out_count = path->step_count;
    return path->steps;
}

static int step_order(const mrl_step *left, const mrl_step *right) {
    if (left->key == NULL || right->key == NULL) {
        if (left->key != right->key) return left->key == NULL ? -1 : 1;
        return (left->index > right->index) - (left->index < right->index);
    }
    if (left->key_size != right->key_size) return left->key_size < right->key_size ? -1 : 1;
    return memcmp(left->key, right->key, left->key_size);
}

int mrl_path_order(const mrl_path *left, const mrl_path *right) {
    if (left->step_count != right->step_count) return left->step_count < right->step_count ? -1 : 1;
    for (uint32_t i = 0; i < left->step_count; i++) {
        int order = step_order(&left->steps[i], &right->steps[i]);
        if (order != 0) return order;
    }
    return 0;
}

int mrl_path_locate(const mrl_path *path, const uint8_t *doc, size_t size, uint32_t *out_offset) {
    const uint8_t *at = size == 0 ? NULL : mrl_path_follow(doc, path->steps, path->step_count);
    *out_offset = at == NULL ? 0 : (uint32_t)(at - doc);
    return at != NULL;
}

void mrl_paths_locate(mrl_path *const *paths, size_t path_count, const uint8_t *doc, size_t size,
                      uint32_t *out_offsets) {
    const uint8_t *at;
    uint32_t count;
    size_t left = path_count;
    for (size_t i = 0; i < path_count; i++) out_offsets[i] = 0;
    if (size == 0 || mrl_scan_container(doc, &at, &count) != MERLE_TYPE_MAP) return;
    /* The top level has no key twice, so a path whose first name was met is done with, whether its
     * further steps lead somewhere or not. */
    for (; count > 0 && left > 0; count--) {
        const uint8_t *text;
        uint32_t text_size;
        if (!mrl_scan_str(at, &text, &text_size)) {
            at = mrl_scan_skip(mrl_scan_skip(at));
            continue;
        }
        at = text + text_size;
        for (size_t i = 0; i < path_count; i++) {
            const mrl_path *path = paths[i];
            if (path->steps[0].key_size != text_size) continue;
            if (memcmp(path->steps[0].key, text, text_size) != 0) continue;
            const uint8_t *value = mrl_path_follow(at, path->steps + 1, path->step_count - 1);
            if (value != NULL) out_offsets[i] = (uint32_t)(value - doc);
            left--;
        }
        at = mrl_scan_skip(at);
    }
}

const uint8_t *mrl_elements_next_at(mrl_elements *elements, const mrl_path *path) {
    const uint8_t *at;
    while ((at = mrl_elements_next(elements)) != NULL && path != NULL) {
        at = mrl_path_follow(at, path->steps, path->step_count);
        if (at != NULL && *at != 0xc0) break;
    }
    return at;
}

/* ---- the parts of an index ---- */

/* The end of the part that begins at `at`: the next comma that no quotes enclose. */
static const char *part_end(const char *at) {
    int quoted = 0;
    for (; *at != 0; at++) {
        if (*at == '\\' && quoted && at[1] != 0)
            at++;
        else if (*at == '"')
            quoted = !quoted;
        else if (*at == ',' && !quoted)
            break;
    }
    return at;
}

/* Where "[*]" stands outside of quotes; NULL: nowhere. */
static const char *find_each(const char *at, const char *end) {
    int quoted = 0;
    for (; at < end; at++) {
        if (*at == '\\' && quoted)
            at++;
        else if (*at == '"')
            quoted = !quoted;
        else if (!quoted && end - at >= 3 && memcmp(at, "[*]", 3) == 0)
            return at;
    }
    return NULL;
}

static merle_err part_path(const char *begin, const char *end, mrl_path **out_path,
                           const char **out_reason) {
    mrl_steps steps;
    merle_err err = mrl_path_parse(begin, (size_t)(end - begin), &steps, out_reason);
    if (err != MERLE_OK) return err;
    return mrl_path_compile(begin, (size_t)(end - begin), out_path);
}

/* Gives what was made even if it fails: the caller destroys it. */
static merle_err part_parse(const char *begin, const char *end, mrl_part *out_part,
                            const char **out_reason) {
    memset(out_part, 0, sizeof *out_part);
    while (begin < end && *begin == ' ') begin++;
    while (end > begin && end[-1] == ' ') end--;
    out_part->descending = begin < end && *begin == '-';
    if (out_part->descending) begin++;
    while (begin < end && *begin == ' ') begin++;
    if (end - begin == 5 && memcmp(begin, "key()", 5) == 0) {
        out_part->source = MRL_SOURCE_KEY;
        return MERLE_OK;
    }
    const char *each = find_each(begin, end);
    if (each == NULL) return part_path(begin, end, &out_part->path, out_reason);
    out_part->source = MRL_SOURCE_EACH;
    merle_err err = part_path(begin, each, &out_part->path, out_reason);
    if (err != MERLE_OK || end - each == 3) return err;
    *out_reason = "behind [*] a dot and a path follow, or nothing";
    if (each[3] != '.') return MERLE_INVALID;
    return part_path(each + 4, end, &out_part->element, out_reason);
}

static int path_same(const mrl_path *left, const mrl_path *right) {
    if (left == NULL || right == NULL) return left == right;
    return strcmp(left->text, right->text) == 0;
}

static int part_same(const mrl_part *left, const mrl_part *right) {
    return left->source == right->source && path_same(left->path, right->path) &&
           path_same(left->element, right->element);
}

__attribute__((cold)) static merle_err part_report(const char *on, const char *begin,
                                                   const char *end, const char *reason,
                                                   merle_report *report) {
    while (begin < end && (*begin == ' ' || *begin == '-')) begin++;
    while (end > begin && end[-1] == ' ') end--;
    mrl_report_fill(report, MERLE_INVALID,
                    "\"%.100s\" names no fields: the part \"%.*s\" is wrong, %s.", on,
                    (int)(end - begin > 60 ? 60 : end - begin), begin, reason);
    mrl_report_path(report, on);
    return MERLE_INVALID;
}

merle_err mrl_parts_parse(const char *on, mrl_part *out_parts, size_t part_max, size_t *out_count,
                          merle_report *report) {
    merle_err err = MERLE_OK;
    size_t count = 0;
    *out_count = 0;
    if (on == NULL) return mrl_report_fill(report, MERLE_INVALID, "An index is on no field.");
    for (const char *at = on;; at++) {
        const char *end = part_end(at);
        if (count == part_max) {
            err = mrl_report_fill(report, MERLE_TOO_BIG, "\"%.100s\" has more than %zu fields.", on,
                                  part_max);
            goto fail;
        }
        const char *reason = "it is no path";
        err = part_parse(at, end, &out_parts[count++], &reason);
        if (err == MERLE_INVALID) part_report(on, at, end, reason, report);
        if (err == MERLE_NO_MEMORY) mrl_report_fill(report, err, NULL);
        if (err != MERLE_OK) goto fail;
        for (size_t i = 0; i + 1 < count; i++) {
            if (!part_same(&out_parts[i], &out_parts[count - 1])) continue;
            err = mrl_report_fill(report, MERLE_INVALID, "\"%.100s\" names one field twice.", on);
            goto fail;
        }
        at = end;
        if (*at == 0) break;
    }
    *out_count = count;
    return MERLE_OK;
fail:
    mrl_parts_destroy(out_parts, count);
    return err;
}

void mrl_parts_destroy(mrl_part *parts, size_t part_count) {
    for (size_t i = 0; i < part_count; i++) {
        mrl_path_destroy(parts[i].path);
        mrl_path_destroy(parts[i].element);
        parts[i].path = parts[i].element = NULL;
    }
}
