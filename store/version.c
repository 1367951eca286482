/* store/version.c - making, freeing and comparing versions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/version.h"

#include "base/buffer.h"
#include "document/encode.h"
#include "document/scan.h"

static void version_init(mrl_version *v, merle_bytes key) {
    atomic_init(&v->seq, MRL_SEQ_NONE);
    v->before = NULL;
    v->slot = MRL_SLOT_NONE;
    v->key_size = (uint16_t)key.size;
    memcpy(v->bytes, key.data, key.size);
}

mrl_version *mrl_version_create(mrl_member *member, const mrl_schema *schema, merle_bytes key,
                                merle_bytes doc, const uint32_t *offsets,
                                const merle_buffer *extracted, int64_t expires_ns) {
    size_t path_count = schema->path_count;
    size_t offset_size = doc.size > UINT16_MAX ? 4 : 2;
    size_t expires_size = expires_ns == 0 ? 0 : sizeof expires_ns;
    size_t size = offsetof(mrl_version, bytes) + key.size + expires_size +
                  path_count * offset_size + doc.size + extracted->size;
    mrl_version *v = mrl_alloc(member, MRL_FOR_DOCUMENTS, size);
    if (v == NULL) return NULL;
    version_init(v, key);
    v->doc_size = (uint32_t)doc.size;
    v->path_count = (uint8_t)path_count;
    v->flags = offset_size == 4 ? MRL_VERSION_WIDE : 0;
    if (expires_ns != 0) {
        v->flags |= MRL_VERSION_EXPIRES;
        memcpy(v->bytes + key.size, &expires_ns, sizeof expires_ns);
    }
    uint8_t *at = v->bytes + key.size + expires_size;
    for (size_t i = 0; i < path_count; i++, at += offset_size) {
        uint16_t narrow = (uint16_t)offsets[i];
        if (offset_size == 4)
            memcpy(at, &offsets[i], 4);
        else
            memcpy(at, &narrow, 2);
    }
    memcpy(at, doc.data, doc.size);
    if (extracted->size > 0) {
        v->flags |= MRL_VERSION_EXTRACTED;
        memcpy(at + doc.size, extracted->data, extracted->size);
    }
    return v;
}

mrl_version *mrl_version_create_tombstone(mrl_member *member, merle_bytes key) {
    mrl_version *v =
        mrl_alloc_urgent(member, MRL_FOR_DOCUMENTS, offsetof(mrl_version, bytes) + key.size);
    if (v == NULL) return NULL;
    version_init(v, key);
    v->doc_size = 0;
    v->path_count = 0;
    v->flags = MRL_VERSION_TOMBSTONE;
    return v;
}

mrl_version *mrl_version_twin(mrl_member *member, mrl_version *version,
                              const merle_buffer *extracted) {
    size_t size = mrl_version_size(version) - mrl_version_extracted_size(version);
    mrl_version *v = mrl_alloc(member, MRL_FOR_DOCUMENTS, size + extracted->size);
    if (v == NULL) return NULL;
    atomic_init(&v->seq, MRL_SEQ_NONE);
    v->before = version;
    v->slot = version->slot;
    v->doc_size = version->doc_size;
    v->key_size = version->key_size;
    v->path_count = version->path_count;
    v->flags = version->flags | MRL_VERSION_EXTRACTED;
    size -= offsetof(mrl_version, bytes);
    memcpy(v->bytes, version->bytes, size);
    memcpy(v->bytes + size, extracted->data, extracted->size);
    return v;
}

void mrl_version_free(mrl_member *member, mrl_version *version) {
    mrl_version_free_sized(member, version, mrl_version_size(version));
}

uint32_t mrl_version_scan(const mrl_version *v, const mrl_path *path) {
    uint32_t offset;
    if (mrl_version_is_tombstone(v)) return 0;
    (void)mrl_path_locate(path, mrl_version_doc(v), v->doc_size, &offset);
    return offset;
}

/* ---- what functions made ---- */

/* The next one from `at` on; NULL: there are no more. */
static const uint8_t *read_extracted(const uint8_t *at, const uint8_t *end, mrl_extracted *out) {
    if ((size_t)(end - at) < sizeof *out) return NULL;
    memcpy(out, at, sizeof *out);
    at += sizeof *out;
    return (size_t)(end - at) < out->size ? NULL : at + out->size;
}

int mrl_version_is_sound(const mrl_version *v) {
    mrl_extracted one;
    size_t size = mrl_version_extracted_size(v);
    if (size == 0) return (v->flags & MRL_VERSION_EXTRACTED) == 0;
    const uint8_t *at = mrl_version_doc(v) + v->doc_size, *end = at + size;
    for (at += sizeof(uint32_t); at != NULL && at < end;) at = read_extracted(at, end, &one);
    return at == end;
}

/* What the index's function made; NULL: it was not asked. */
static const uint8_t *seek_extracted(const mrl_version *v, const mrl_schema_index *index,
                                     mrl_extracted *out) {
    size_t size = mrl_version_extracted_size(v);
    if (size == 0) return NULL;
    const uint8_t *at = mrl_version_doc(v) + v->doc_size, *end = at + size;
    for (at += sizeof(uint32_t); (at = read_extracted(at, end, out)) != NULL;)
        if (out->stamp == index->stamp) return at - out->size;
    return NULL;
}

int mrl_version_has_extracted(const mrl_version *v, const mrl_schema_index *index) {
    mrl_extracted one;
    return index->extract == NULL || seek_extracted(v, index, &one) != NULL;
}

merle_err mrl_version_copy_extracted(const mrl_version *v, const mrl_schema_index *index,
                                     merle_buffer *out) {
    mrl_extracted one;
    size_t size = mrl_version_extracted_size(v), kept = sizeof(uint32_t);
    out->size = 0;
    if (size == 0) return MERLE_OK;
    const uint8_t *from = mrl_version_doc(v) + v->doc_size, *end = from + size, *next;
    merle_err err = mrl_buffer_reserve(out, size);
    if (err != MERLE_OK) return err;
    for (from += kept; (next = read_extracted(from, end, &one)) != NULL; from = next) {
        if (one.index == index->number && one.stamp != index->stamp) continue;
        memcpy(out->data + kept, from, (size_t)(next - from));
        kept += (size_t)(next - from);
    }
    if (kept == sizeof(uint32_t)) return MERLE_OK;
    out->size = kept;
    memcpy(out->data, &(uint32_t){(uint32_t)kept}, sizeof(uint32_t));
    return MERLE_OK;
}

/* What the index's function made; size 0: the document is not in it, or a field is missing and that
 * is out. */
static merle_bytes find_extracted(const mrl_version *v, const mrl_schema_index *index,
                                  merle_missing missing) {
    mrl_extracted one;
    const uint8_t *at = seek_extracted(v, index, &one);
    if (at == NULL || (one.has_missing && missing == MERLE_MISSING_OUT))
        return merle_bytes_of(NULL, 0);
    return merle_bytes_of(at, one.size);
}

static size_t copy_extracted(merle_bytes value, uint8_t *out) {
    if (value.size > 0) memcpy(out, value.data, value.size);
    return value.size;
}

static int same_extracted(const mrl_version *a, const mrl_version *b,
                          const mrl_schema_index *index) {
    merle_bytes one = find_extracted(a, index, index->missing);
    merle_bytes other = find_extracted(b, index, index->missing);
    if (one.size != other.size) return 0;
    return one.size == 0 || memcmp(one.data, other.data, one.size) == 0;
}

/* ---- values ---- */

/* Where the value of a part stands that is not the key; NULL: it is missing. */
static inline const uint8_t *part_at(const mrl_version *v, const mrl_schema_part *part,
                                     const uint8_t *element) {
    if (part->source == MRL_SOURCE_EACH) return element;
    uint32_t offset = mrl_version_locate(v, part);
    const uint8_t *at = mrl_version_doc(v) + offset;
    return offset == 0 || *at == 0xc0 ? NULL : at;
}

static merle_err encode_key(const mrl_version *v, int descending, uint8_t *out, size_t out_max,
                            size_t *out_size) {
    const merle_value key = {.type = MERLE_TYPE_STR, .bytes = mrl_version_key(v)};
    return mrl_encode_value(&key, descending, out, out_max, out_size);
}

static inline size_t encode(const mrl_version *v, const mrl_schema_index *index,
                            merle_missing missing, const uint8_t *element, uint8_t *out) {
    if (mrl_version_is_tombstone(v)) return 0;
    if (index->extract != NULL) return copy_extracted(find_extracted(v, index, missing), out);
    const uint8_t *end = mrl_version_doc(v) + v->doc_size;
    size_t used = 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        const mrl_schema_part *part = &index->parts[i];
        size_t size = 1, room = MERLE_VALUE_SIZE_MAX - used;
        merle_err err = MERLE_OK;
        const uint8_t *at = NULL;
        if (part->source == MRL_SOURCE_KEY)
            err = encode_key(v, (int)part->descending, out + used, room, &size);
        else if ((at = part_at(v, part, element)) != NULL)
            err = mrl_encode_at(at, end, (int)part->descending, out + used, room, &size);
        else if (missing == MERLE_MISSING_OUT)
            return 0;
        else if (room > 0)
            out[used] = mrl_index_missing(index, i);
        else
            err = MERLE_TOO_BIG;
        /* What cannot be encoded may stand in a document that is out for the want of another
         * field, and in one from before the index. */
        if (err != MERLE_OK) return 0;
        used += size;
    }
    return used;
}

size_t mrl_version_encode(const mrl_version *version, const mrl_schema_index *index, uint8_t *out) {
    return encode(version, index, index->missing, NULL, out);
}

size_t mrl_version_encode_unique(const mrl_version *version, const mrl_schema_index *index,
                                 uint8_t *out) {
    return encode(version, index, MERLE_MISSING_OUT, NULL, out);
}

int mrl_version_has_unique(const mrl_version *version, const mrl_schema_index *index,
                           const uint8_t *encoded, size_t size) {
    uint8_t own[MERLE_VALUE_SIZE_MAX];
    return version != NULL && mrl_version_encode_unique(version, index, own) == size &&
           memcmp(own, encoded, size) == 0;
}

size_t mrl_version_encode_element(const mrl_version *version, const mrl_schema_index *index,
                                  const uint8_t *element, uint8_t *out) {
    return encode(version, index, index->missing, element, out);
}

size_t mrl_version_encode_besides(const mrl_version *version, const mrl_schema_index *index,
                                  uint8_t *out) {
    return encode(version, index, MERLE_MISSING_FIRST, NULL, out);
}

int mrl_version_same_fields(const mrl_version *a, const mrl_version *b,
                            const mrl_schema_index *index) {
    if (mrl_version_is_tombstone(a) || mrl_version_is_tombstone(b)) return 0;
    if (index->extract != NULL) return same_extracted(a, b, index);
    const uint8_t *doc_a = mrl_version_doc(a), *doc_b = mrl_version_doc(b);
    for (uint32_t i = 0; i < index->part_count; i++) {
        if (index->parts[i].source == MRL_SOURCE_KEY) continue;
        uint32_t at_a = mrl_version_locate(a, &index->parts[i]);
        uint32_t at_b = mrl_version_locate(b, &index->parts[i]);
        if (at_a != at_b && (at_a == 0 || at_b == 0)) return 0;
        if (at_a == 0 && index->missing == MERLE_MISSING_OUT) return 1; /* neither is in it */
        if (at_a == 0) continue;
        size_t size = (size_t)(mrl_scan_skip(doc_a + at_a) - (doc_a + at_a));
        if (size > b->doc_size - at_b || memcmp(doc_a + at_a, doc_b + at_b, size) != 0) return 0;
    }
    return 1;
}
