/* store/entries.c - the values of a version, and what two versions do not share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/entries.h"

#include <string.h>

#include "document/encode.h"
#include "document/scan.h"

static const uint8_t *field_of(const mrl_version *v, const mrl_schema_index *index) {
    uint32_t offset = v == NULL ? 0 : mrl_version_locate(v, &index->parts[0]);
    if (offset == 0) return NULL;
    const uint8_t *field = mrl_version_doc(v) + offset;
    /* From before the index, and against it: it has none, for whoever asks. */
    return mrl_elements_of(field).count > MERLE_TAG_COUNT_MAX ? NULL : field;
}

/* Whether the value stands among the elements of a field, before `until` (NULL: anywhere). */
static int has_element(const uint8_t *field, const uint8_t *value, const uint8_t *until) {
    if (field == NULL) return 0;
    mrl_elements elements = mrl_elements_of(field);
    for (const uint8_t *at; (at = mrl_elements_next(&elements)) != NULL && at != until;)
        if (mrl_scan_equal(at, value)) return 1;
    return 0;
}

static int each_tag(const mrl_version *v, const mrl_version *other, const mrl_schema_index *index,
                    mrl_entries_fn *fn, void *context) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    const uint8_t *field = field_of(v, index), *others = field_of(other, index);
    if (field == NULL) return 0;
    mrl_elements elements = mrl_elements_of(field);
    const uint8_t *end = mrl_version_doc(v) + v->doc_size;
    int result = 0;
    for (const uint8_t *at; result == 0 && (at = mrl_elements_next(&elements)) != NULL;) {
        if (has_element(others, at, NULL) || has_element(field, at, at)) continue;
        size_t size = 0;
        merle_err err = mrl_encode_at(at, end, 0, encoded, sizeof encoded, &size);
        /* Only in a document from before the index, which stands against it. */
        if (err != MERLE_OK) continue;
        result = fn(context, merle_bytes_of(encoded, size));
    }
    return result;
}

int mrl_entries_each_but(const mrl_version *v, const mrl_version *other,
                         const mrl_schema_index *index, mrl_entries_fn *fn, void *context) {
    uint8_t encoded[MERLE_VALUE_SIZE_MAX], others[MERLE_VALUE_SIZE_MAX];
    if (v == NULL || (other != NULL && mrl_version_same_fields(v, other, index))) return 0;
    if (mrl_index_has_tags(index)) return each_tag(v, other, index, fn, context);
    size_t size = mrl_version_encode(v, index, encoded);
    size_t others_size = other == NULL ? 0 : mrl_version_encode(other, index, others);
    /* 5 and 5.0 are other bytes and the same value. */
    if (size == 0 || (size == others_size && memcmp(encoded, others, size) == 0)) return 0;
    return fn(context, merle_bytes_of(encoded, size));
}

int mrl_entries_each(const mrl_version *v, const mrl_schema_index *index, mrl_entries_fn *fn,
                     void *context) {
    return mrl_entries_each_but(v, NULL, index, fn, context);
}
