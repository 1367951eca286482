/* document/view.c - looking into documents: the public functions.
 * SPDX-License-Identifier: Apache-2.0 */
#include "document/check.h"
#include "document/path.h"
#include "document/scan.h"

merle_err merle_value_msgpack(merle_bytes bytes, merle_value *out_value) {
    static const merle_value none;
    size_t size = 0;
    *out_value = none;
    if (bytes.data == NULL || bytes.size == 0) return MERLE_BAD_DOCUMENT;
    if (bytes.size > MERLE_DOCUMENT_SIZE_MAX) return MERLE_TOO_BIG;
    merle_err err = mrl_check_value(bytes.data, bytes.size, 0, &size, NULL);
    if (err != MERLE_OK) return err;
    if (size != bytes.size) return MERLE_BAD_DOCUMENT;
    mrl_scan_value(bytes.data, out_value);
    return MERLE_OK;
}

merle_err merle_doc_over(merle_bytes bytes, merle_doc *out_doc) {
    static const merle_doc none;
    *out_doc = none;
    merle_err err = mrl_check_document(bytes.data, bytes.size, NULL);
    if (err != MERLE_OK) return err;
    out_doc->data = bytes.data;
    out_doc->size = bytes.size;
    return MERLE_OK;
}

static const uint8_t *locate_parsed(merle_doc doc, const char *path, merle_err *out_err) {
    mrl_steps steps;
    size_t size = path == NULL ? 0 : strlen(path);
    *out_err = mrl_path_parse(path, size, &steps, NULL);
    if (*out_err != MERLE_OK) return NULL;
    const uint8_t *at =
        doc.data == NULL ? NULL : mrl_path_follow(doc.data, steps.step, steps.count);
    if (at == NULL) *out_err = MERLE_NOT_FOUND;
    return at;
}

/* A single plain name, which is nearly every path, is looked up without being parsed. */
static inline const uint8_t *locate(merle_doc doc, const char *path, merle_err *out_err) {
    size_t size = path == NULL ? 0 : mrl_path_simple_size(path);
    const uint8_t *first;
    uint32_t count;
    if (size == 0 || doc.data == NULL) return locate_parsed(doc, path, out_err);
    mrl_scan_container(doc.data, &first, &count);
    const uint8_t *at = mrl_scan_find(first, count, (const uint8_t *)path, (uint32_t)size);
    *out_err = at == NULL ? MERLE_NOT_FOUND : MERLE_OK;
    return at;
}

merle_err merle_doc_value(merle_doc doc, const char *path, merle_value *out_value) {
    merle_err err;
    const uint8_t *at = locate(doc, path, &err);
    if (at == NULL) {
        static const merle_value none;
        *out_value = none;
        return err;
    }
    mrl_scan_value(at, out_value);
    return MERLE_OK;
}

/* Containers are left out: to read one whole is to walk over all of it. */
static int scalar_of(merle_doc doc, const char *path, merle_value *out_value) {
    merle_err err;
    const uint8_t *at = locate(doc, path, &err), *first;
    uint32_t count;
    if (at == NULL || mrl_scan_container(at, &first, &count) != MERLE_TYPE_NONE) return 0;
    mrl_scan_value(at, out_value);
    return 1;
}

int64_t merle_doc_int(merle_doc doc, const char *path, int64_t otherwise) {
    merle_value value;
    if (!scalar_of(doc, path, &value) || value.type != MERLE_TYPE_INT) return otherwise;
    return value.number.i;
}

uint64_t merle_doc_uint(merle_doc doc, const char *path, uint64_t otherwise) {
    merle_value value;
    if (!scalar_of(doc, path, &value)) return otherwise;
    if (value.type == MERLE_TYPE_UINT) return value.number.u;
    if (value.type == MERLE_TYPE_INT && value.number.i >= 0) return value.number.u;
    return otherwise;
}

double merle_doc_float(merle_doc doc, const char *path, double otherwise) {
    merle_value value;
    double number;
    if (!scalar_of(doc, path, &value)) return otherwise;
    switch (value.type) {
    case MERLE_TYPE_FLOAT:
        return value.number.f;
    case MERLE_TYPE_INT:
        /* 2^63 is what INT64_MAX rounds to, and converting it back would be undefined. */
        number = (double)value.number.i;
        if (number >= 9223372036854775808.0 || (int64_t)number != value.number.i) return otherwise;
        return number;
    case MERLE_TYPE_UINT:
        number = (double)value.number.u;
        if (number >= 18446744073709551616.0 || (uint64_t)number != value.number.u)
            return otherwise;
        return number;
    default:
        return otherwise;
    }
}

int merle_doc_bool(merle_doc doc, const char *path, int otherwise) {
    merle_value value;
    if (!scalar_of(doc, path, &value) || value.type != MERLE_TYPE_BOOL) return otherwise;
    return (int)value.number.i;
}

merle_bytes merle_doc_str(merle_doc doc, const char *path) {
    merle_err err;
    const uint8_t *at = locate(doc, path, &err), *text;
    uint32_t size;
    if (at == NULL || !mrl_scan_str(at, &text, &size)) return merle_bytes_of(NULL, 0);
    return merle_bytes_of(text, size);
}

int merle_doc_has(merle_doc doc, const char *path) {
    merle_err err;
    return locate(doc, path, &err) != NULL;
}

merle_err merle_walk_begin(const merle_value *container, merle_walk *out_walk) {
    static const merle_walk none;
    *out_walk = none;
    if (container->type != MERLE_TYPE_ARRAY && container->type != MERLE_TYPE_MAP) return MERLE_TYPE;
    const uint8_t *data = container->bytes.data;
    if (data == NULL ||
        mrl_scan_container(data, &out_walk->at, &out_walk->left) != container->type) {
        *out_walk = none;
        return MERLE_INVALID;
    }
    out_walk->end = data + container->bytes.size;
    out_walk->is_map = container->type == MERLE_TYPE_MAP;
    return MERLE_OK;
}

int merle_walk_next(merle_walk *walk, merle_value *out_key, merle_value *out_value) {
    static const merle_value none;
    *out_key = none;
    if (walk->left == 0) {
        *out_value = none;
        return 0;
    }
    if (walk->is_map) walk->at = mrl_scan_value(walk->at, out_key);
    walk->at = mrl_scan_value(walk->at, out_value);
    walk->left--;
    return 1;
}
