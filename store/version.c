/* store/version.c - making, freeing and comparing versions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/version.h"

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
                                merle_bytes doc, const uint32_t *offsets) {
    size_t path_count = schema->path_count;
    size_t offset_size = doc.size > UINT16_MAX ? 4 : 2;
    size_t size = offsetof(mrl_version, bytes) + key.size + path_count * offset_size + doc.size;
    mrl_version *v = mrl_alloc(member, MRL_FOR_DOCUMENTS, size);
    if (v == NULL) return NULL;
    version_init(v, key);
    v->doc_size = (uint32_t)doc.size;
    v->path_count = (uint8_t)path_count;
    v->flags = offset_size == 4 ? MRL_VERSION_WIDE : 0;
    uint8_t *at = v->bytes + key.size;
    for (size_t i = 0; i < path_count; i++, at += offset_size) {
        uint16_t narrow = (uint16_t)offsets[i];
        if (offset_size == 4)
            memcpy(at, &offsets[i], 4);
        else
            memcpy(at, &narrow, 2);
    }
    memcpy(at, doc.data, doc.size);
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

void mrl_version_free(mrl_member *member, mrl_version *version) {
    mrl_version_free_sized(member, version, mrl_version_size(version));
}

uint32_t mrl_version_scan(const mrl_version *v, const mrl_schema_part *part) {
    uint32_t offset;
    if (mrl_version_is_tombstone(v)) return 0;
    (void)mrl_path_locate(part->at, mrl_version_doc(v), v->doc_size, &offset);
    return offset;
}

size_t mrl_version_encode(const mrl_version *version, const mrl_schema_index *index, uint8_t *out) {
    const uint8_t *doc = mrl_version_doc(version);
    size_t used = 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        uint32_t offset = mrl_version_locate(version, &index->parts[i]);
        if (offset == 0 || doc[offset] == 0xc0) return 0;
        size_t size = 0;
        merle_err err =
            mrl_encode_at(doc + offset, doc + version->doc_size, (int)index->parts[i].descending,
                          out + used, MERLE_VALUE_SIZE_MAX - used, &size);
        if (err != MERLE_OK) return 0;
        used += size;
    }
    return used;
}

int mrl_version_same_fields(const mrl_version *a, const mrl_version *b,
                            const mrl_schema_index *index) {
    if (mrl_version_is_tombstone(a) || mrl_version_is_tombstone(b)) return 0;
    const uint8_t *doc_a = mrl_version_doc(a), *doc_b = mrl_version_doc(b);
    for (uint32_t i = 0; i < index->part_count; i++) {
        uint32_t at_a = mrl_version_locate(a, &index->parts[i]);
        uint32_t at_b = mrl_version_locate(b, &index->parts[i]);
        if (at_a == 0 || at_b == 0) return at_a == at_b;
        size_t size = (size_t)(mrl_scan_skip(doc_a + at_a) - (doc_a + at_a));
        if (size > b->doc_size - at_b || memcmp(doc_a + at_a, doc_b + at_b, size) != 0) return 0;
    }
    return 1;
}
