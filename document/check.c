/* document/check.c - the door for foreign bytes.
 *
 * One loop walks over all values and keeps, for each open array or map, how many values are still
 * to come. A count claimed by the wire is compared with the bytes that are left before anything
 * else, as each value takes at least one byte. SPDX-License-Identifier: Apache-2.0
 */
#include "document/check.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "document/encode.h"
#include "document/scan.h"
#include "document/utf8.h"

typedef enum fault {
    FAULT_NONE,
    FAULT_CUT,
    FAULT_RESERVED,
    FAULT_UTF8,
    FAULT_DEPTH,
    FAULT_COUNT
} fault;

typedef struct checker {
    const uint8_t *begin;
    const uint8_t *end;
    const uint8_t *fault_at;
    fault fault;
} checker;

__attribute__((cold, noinline)) static const uint8_t *fail_at(checker *c, const uint8_t *at,
                                                              fault what) {
    c->fault = what;
    c->fault_at = at;
    return NULL;
}

static const uint8_t *check_text(checker *c, const uint8_t *text, size_t size) {
    if (size > (size_t)(c->end - text)) return fail_at(c, text, FAULT_CUT);
    if (__builtin_expect(!mrl_utf8_is_ascii(text, size), 0)) {
        size_t valid = mrl_utf8_valid_size(text, size);
        if (valid != size) return fail_at(c, text + valid, FAULT_UTF8);
    }
    return text + size;
}

/* The size that a long string, binary or extension claims, behind its width bytes of size. */
static const uint8_t *check_sized(checker *c, const uint8_t *at) {
    uint8_t head = *at;
    int is_text = head >= 0xd9;
    unsigned width = 1u << (is_text ? head - 0xd9 : head <= 0xc6 ? head - 0xc4 : head - 0xc7);
    if ((size_t)(c->end - at) <= width) return fail_at(c, at, FAULT_CUT);
    const uint8_t *body = at + 1 + width;
    size_t size = width == 1 ? at[1] : width == 2 ? mrl_scan_u16(at + 1) : mrl_scan_u32(at + 1);
    if (is_text) return check_text(c, body, size);
    /* An extension has a type byte before its contents. */
    if (head >= 0xc7) size++;
    if (size > (size_t)(c->end - body)) return fail_at(c, at, FAULT_CUT);
    return body + size;
}

/* Passes a value that is neither array nor map, or fails. */
static inline const uint8_t *check_scalar(checker *c, const uint8_t *at) {
    uint8_t head = *at;
    uint8_t size = mrl_scan_sizes[head];
    if (__builtin_expect(size > c->end - at, 0)) return fail_at(c, at, FAULT_CUT);
    if ((head & 0xe0) == 0xa0) return check_text(c, at + 1, head & 0x1f);
    if (size != 0) return at + size;
    if (head == 0xc1) return fail_at(c, at, FAULT_RESERVED);
    return check_sized(c, at);
}

/* Reads the head of an array or map and counts its values, a pair as two. */
static const uint8_t *check_open(checker *c, const uint8_t *at, uint64_t *out_values) {
    uint8_t head = *at;
    size_t head_size = head < 0xa0 ? 1 : head & 1 ? 5 : 3;
    if ((size_t)(c->end - at) < head_size) return fail_at(c, at, FAULT_CUT);
    const uint8_t *first;
    uint32_t count;
    merle_type type = mrl_scan_container(at, &first, &count);
    uint64_t values = type == MERLE_TYPE_MAP ? 2 * (uint64_t)count : count;
    if (values > (uint64_t)(c->end - first)) return fail_at(c, at, FAULT_COUNT);
    *out_values = values;
    return first;
}

static inline int is_container(uint8_t head) {
    return (head & 0xe0) == 0x80 || (head >= 0xdc && head <= 0xdf);
}

/* Passes one value that stands inside depth_above arrays and maps. */
static const uint8_t *check_one(checker *c, const uint8_t *at, uint32_t depth_above) {
    uint64_t left[MERLE_DEPTH_MAX + 1];
    uint32_t depth = 0;
    left[0] = 1;
    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0) return at;
            depth--;
        }
        left[depth]--;
        if (at >= c->end) return fail_at(c, at, FAULT_CUT);
        if (is_container(*at)) {
            if (depth_above + depth >= MERLE_DEPTH_MAX) return fail_at(c, at, FAULT_DEPTH);
            at = check_open(c, at, &left[depth + 1]);
            depth++;
        } else {
            at = check_scalar(c, at);
        }
        if (at == NULL) return NULL;
    }
}

/* ---- keys ---- */

#define KEYS_PAIRWISE_MAX 24u
#define KEYS_ON_STACK_MAX 1024u

/* A key made comparable: strings, binaries and extensions by their contents, other scalars by their
 * encoding, arrays and maps by their bytes. */
enum { KEY_STR, KEY_SCALAR, KEY_BIN, KEY_CONTAINER, KEY_EXT /* + the extension's type */ };
typedef struct key_view {
    const uint8_t *data;
    size_t size;
    uint32_t kind;
    uint8_t encoded[MRL_ENCODE_SCALAR_SIZE_MAX];
} key_view;

static void view_other(const uint8_t *key, key_view *out_view) {
    merle_value value;
    mrl_scan_value(key, &value);
    out_view->data = value.bytes.data;
    out_view->size = value.bytes.size;
    if (value.type == MERLE_TYPE_EXT) {
        out_view->kind = KEY_EXT + (uint8_t)value.ext_type;
    } else if (value.type == MERLE_TYPE_BIN) {
        out_view->kind = KEY_BIN;
    } else if (value.type == MERLE_TYPE_ARRAY || value.type == MERLE_TYPE_MAP) {
        out_view->kind = KEY_CONTAINER;
    } else {
        merle_err err = mrl_encode_value(&value, 0, out_view->encoded, sizeof(out_view->encoded),
                                         &out_view->size);
        MRL_ASSERT(err == MERLE_OK);
        out_view->kind = KEY_SCALAR;
        out_view->data = out_view->encoded;
    }
}

static void view_key(const uint8_t *key, key_view *out_view) {
    uint32_t size;
    if (mrl_scan_str(key, &out_view->data, &size)) {
        out_view->kind = KEY_STR;
        out_view->size = size;
        return;
    }
    view_other(key, out_view);
}

static int compare_keys(const uint8_t *left, const uint8_t *right) {
    key_view one, other;
    view_key(left, &one);
    view_key(right, &other);
    if (one.kind != other.kind) return one.kind < other.kind ? -1 : 1;
    if (one.size != other.size) return one.size < other.size ? -1 : 1;
    return memcmp(one.data, other.data, one.size);
}

static inline uint64_t load_part(const uint8_t *data, size_t size) {
    uint64_t part = 0;
    if (size >= 8) {
        memcpy(&part, data, 8);
        return part;
    }
    if (size >= 4) {
        uint32_t first, last;
        memcpy(&first, data, 4);
        memcpy(&last, data + size - 4, 4);
        return ((uint64_t)first << 32) | last;
    }
    if (size > 0)
        part = ((uint64_t)data[0] << 16) | ((uint64_t)data[size / 2] << 8) | data[size - 1];
    return part;
}

/* A cheap print of a key: equal keys have equal prints. It needs to be no good hash, as keys with
 * equal prints are compared, and their order by (print, key) is found by sorting. */
static inline uint32_t key_print(const uint8_t *key) {
    key_view view;
    view_key(key, &view);
    uint64_t mixed = load_part(view.data, view.size) + view.size;
    if (view.size > 8) mixed ^= load_part(view.data + view.size - 8, 8) * 3;
    mixed *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(mixed >> 32) ^ view.kind;
}

typedef struct key_entry {
    uint32_t print;
    uint32_t offset; /* from the first pair */
} key_entry;

static const uint8_t *find_pairwise(const uint8_t *pairs, uint32_t count) {
    uint32_t prints[KEYS_PAIRWISE_MAX];
    const uint8_t *keys[KEYS_PAIRWISE_MAX];
    const uint8_t *at = pairs;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t print = key_print(at);
        for (uint32_t j = 0; j < i; j++) {
            if (__builtin_expect(prints[j] == print, 0) && compare_keys(keys[j], at) == 0)
                return at;
        }
        prints[i] = print;
        keys[i] = at;
        at = mrl_scan_skip(mrl_scan_skip(at));
    }
    return NULL;
}

static int compare_entries(const uint8_t *pairs, key_entry left, key_entry right) {
    if (left.print != right.print) return left.print < right.print ? -1 : 1;
    return compare_keys(pairs + left.offset, pairs + right.offset);
}

static void sift_down(const uint8_t *pairs, key_entry *entries, size_t root, size_t count) {
    key_entry moved = entries[root];
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= count) break;
        if (child + 1 < count && compare_entries(pairs, entries[child], entries[child + 1]) < 0)
            child++;
        if (compare_entries(pairs, moved, entries[child]) >= 0) break;
        entries[root] = entries[child];
        root = child;
    }
    entries[root] = moved;
}

/* Heap sort: no input makes it slower than n log n, and it needs no memory. */
static void sort_entries(const uint8_t *pairs, key_entry *entries, size_t count) {
    for (size_t root = count / 2; root-- > 0;) sift_down(pairs, entries, root, count);
    for (size_t last = count - 1; last > 0; last--) {
        key_entry greatest = entries[0];
        entries[0] = entries[last];
        entries[last] = greatest;
        sift_down(pairs, entries, 0, last);
    }
}

static const uint8_t *find_sorted(const uint8_t *pairs, uint32_t count, key_entry *entries) {
    const uint8_t *at = pairs;
    for (uint32_t i = 0; i < count; i++) {
        entries[i].print = key_print(at);
        entries[i].offset = (uint32_t)(at - pairs);
        at = mrl_scan_skip(mrl_scan_skip(at));
    }
    sort_entries(pairs, entries, count);
    for (uint32_t i = 1; i < count; i++) {
        if (entries[i - 1].print != entries[i].print) continue;
        if (compare_entries(pairs, entries[i - 1], entries[i]) != 0) continue;
        uint32_t later = entries[i - 1].offset;
        return pairs + (later > entries[i].offset ? later : entries[i].offset);
    }
    return NULL;
}

static const uint8_t *find_on_stack(const uint8_t *pairs, uint32_t count) {
    key_entry entries[KEYS_ON_STACK_MAX];
    return find_sorted(pairs, count, entries);
}

merle_err mrl_check_keys(const uint8_t *pairs, uint32_t count, const uint8_t **out_second) {
    *out_second = NULL;
    if (count < 2) return MERLE_OK;
    if (count <= KEYS_PAIRWISE_MAX) {
        *out_second = find_pairwise(pairs, count);
        return MERLE_OK;
    }
    if (count <= KEYS_ON_STACK_MAX) {
        *out_second = find_on_stack(pairs, count);
        return MERLE_OK;
    }
    key_entry *entries = mrl_allocate(count * sizeof(*entries));
    if (entries == NULL) return MERLE_NO_MEMORY;
    *out_second = find_sorted(pairs, count, entries);
    free(entries);
    return MERLE_OK;
}

/* ---- what others call ---- */

__attribute__((cold)) static merle_err fault_report(const checker *c, const uint8_t *data,
                                                    merle_report *report) {
    static const char *const texts[] = {
        [FAULT_NONE] = "Nothing is wrong",
        [FAULT_CUT] = "The bytes end inside the value",
        [FAULT_RESERVED] = "The byte 0xc1 begins no msgpack value, it stands",
        [FAULT_UTF8] = "A string is not valid UTF-8",
        [FAULT_DEPTH] = "Arrays and maps stand too deep inside one another",
        [FAULT_COUNT] = "An array or map claims more values than there are bytes left",
    };
    unsigned long long offset = (unsigned long long)(c->fault_at - data);
    merle_err err = c->fault == FAULT_DEPTH ? MERLE_TOO_BIG : MERLE_BAD_DOCUMENT;
    mrl_report_fill(report, err, "%s at byte %llu.", texts[c->fault], offset);
    mrl_report_offset(report, offset);
    return err;
}

__attribute__((cold)) static merle_err twice_report(const uint8_t *data, const uint8_t *key,
                                                    merle_report *report) {
    unsigned long long offset = (unsigned long long)(key - data);
    const uint8_t *text;
    uint32_t size;
    char found[128] = "a key that is no string";
    if (mrl_scan_str(key, &text, &size)) mrl_report_escape(merle_bytes_of(text, size), found, 64);
    mrl_report_fill(report, MERLE_BAD_DOCUMENT,
                    "The top level has the key \"%s\" twice, the second time at byte %llu.", found,
                    offset);
    mrl_report_offset(report, offset);
    mrl_report_found(report, found);
    return MERLE_BAD_DOCUMENT;
}

/* Most documents have a few short keys, no two alike. While the walk passes a key it marks one bit
 * of many, chosen by the key's text: as long as no bit is wanted twice, no key stands twice. */
typedef struct key_filter {
    uint64_t bits[16];
    int is_unsure; /* all keys have to be compared */
} key_filter;

static inline void filter_add(key_filter *f, uint64_t first, uint64_t last, size_t size) {
    uint64_t mixed = (first * 0x9e3779b97f4a7c15u ^ last) + size;
    uint64_t place = mixed * 0xd6e8feb86659fd93u >> 54;
    uint64_t bit = (uint64_t)1 << (place & 63);
    uint64_t *word = &f->bits[place >> 6];
    f->is_unsure |= (*word & bit) != 0;
    *word |= bit;
}

/* Passes a key of the top level that is not short ASCII text. */
__attribute__((noinline)) static const uint8_t *check_key_slow(checker *c, key_filter *f,
                                                               const uint8_t *at) {
    f->is_unsure = 1;
    return is_container(*at) ? check_one(c, at, 1) : check_scalar(c, at);
}

static inline const uint8_t *check_key(checker *c, key_filter *f, const uint8_t *at) {
    const uint8_t *text = at + 1;
    size_t size = *at & 0x1fu, left = (size_t)(c->end - text);
    uint64_t first, last = 0;
    if ((*at & 0xe0) != 0xa0 || size == 0 || size > 16 || size > left)
        return check_key_slow(c, f, at);
    if (size >= 8) {
        memcpy(&first, text, 8);
        memcpy(&last, text + size - 8, 8);
    } else if (left >= 8) {
        memcpy(&first, text, 8);
        first <<= 64 - 8 * size;
    } else {
        /* At the end of the bytes: their last eight end with the text. */
        if (text + size - c->begin < 8) return check_key_slow(c, f, at);
        memcpy(&first, text + size - 8, 8);
        first &= ~(uint64_t)0 << (64 - 8 * size);
    }
    if (((first | last) & MRL_UTF8_HIGH_BITS) != 0) return check_key_slow(c, f, at);
    filter_add(f, first, last, size);
    return text + size;
}

/* Passes the pairs of the top level. Most of their values are scalars, so the stack of check_one is
 * not set up for each of them. */
static const uint8_t *check_pairs(checker *c, key_filter *f, const uint8_t *at, uint64_t pairs) {
    for (; pairs > 0; pairs--) {
        if (at >= c->end) return fail_at(c, at, FAULT_CUT);
        if ((at = check_key(c, f, at)) == NULL) return NULL;
        if (at >= c->end) return fail_at(c, at, FAULT_CUT);
        at = is_container(*at) ? check_one(c, at, 1) : check_scalar(c, at);
        if (at == NULL) return NULL;
    }
    return at;
}

merle_err mrl_check_document(const uint8_t *data, size_t size, merle_report *report) {
    checker c = {data, data + size, data, FAULT_NONE};
    key_filter filter = {{0}, 0};
    uint64_t values = 0;
    if (size == 0 || data == NULL)
        return mrl_report_fill(report, MERLE_BAD_DOCUMENT, "The document has no bytes.");
    if (size > MERLE_DOCUMENT_SIZE_MAX)
        return mrl_report_fill(report, MERLE_TOO_BIG,
                               "The document has %zu bytes, and at most %u are allowed.", size,
                               MERLE_DOCUMENT_SIZE_MAX);
    if ((*data & 0xf0) != 0x80 && *data != 0xde && *data != 0xdf)
        return mrl_report_fill(report, MERLE_BAD_DOCUMENT,
                               "The document is no map: its first byte is 0x%02x.", *data);
    const uint8_t *pairs = check_open(&c, data, &values);
    const uint8_t *behind = pairs == NULL ? NULL : check_pairs(&c, &filter, pairs, values / 2);
    if (behind == NULL) return fault_report(&c, data, report);
    if (behind != c.end) {
        mrl_report_fill(report, MERLE_BAD_DOCUMENT,
                        "The document ends at byte %zu, %zu bytes follow.", (size_t)(behind - data),
                        (size_t)(c.end - behind));
        mrl_report_offset(report, (uint64_t)(behind - data));
        return MERLE_BAD_DOCUMENT;
    }
    if (__builtin_expect(!filter.is_unsure, 1)) return MERLE_OK;
    const uint8_t *second;
    merle_err err = mrl_check_keys(pairs, (uint32_t)(values / 2), &second);
    if (err != MERLE_OK) return mrl_report_fill(report, err, NULL);
    if (second != NULL) return twice_report(data, second, report);
    return MERLE_OK;
}

merle_err mrl_check_value(const uint8_t *data, size_t size, uint32_t depth_above, size_t *out_size,
                          merle_report *report) {
    checker c = {data, data + size, data, FAULT_NONE};
    *out_size = 0;
    const uint8_t *behind = check_one(&c, data, depth_above);
    if (behind == NULL) return fault_report(&c, data, report);
    *out_size = (size_t)(behind - data);
    return MERLE_OK;
}

merle_err merle_doc_check(merle_bytes bytes, merle_report *report) {
    return mrl_check_document(bytes.data, bytes.size, report);
}
