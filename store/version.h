/* store/version.h - one immutable state of a document.
 *
 * What    seq, the version before, the slot, the key, when the document ends, where the indexed
 *         fields lie, the msgpack bytes. A tombstone has a key and no bytes: it says that there is
 *         no document.
 * Owns    its own memory (domain, MRL_FOR_DOCUMENTS); freed by reclamation only, once reachable.
 * Sees    seq is MRL_SEQ_NONE until its commit publishes: a reader then walks on to the version
 *         before. `before` may be followed only while seq is above the reader's S, or down to a
 *         version that is known to be in the shard's queue: what lies further back may be freed.
 * Threads everything but seq is written before the version is reachable; seq once, under the
 *         publish lock.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_VERSION_H
#define MRL_STORE_VERSION_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include <merle/document.h>

#include "memory/domain.h"
#include "schema/schema.h"

#define MRL_SEQ_NONE UINT64_MAX
#define MRL_SLOT_NONE UINT32_MAX

/* EXPIRES is the size of what it announces, so that nobody has to ask in order to step over it. */
enum {
    MRL_VERSION_TOMBSTONE = 1,
    MRL_VERSION_WIDE = 2,
    MRL_VERSION_EXTRACTED = 4,
    MRL_VERSION_EXPIRES = 8
};
_Static_assert(MRL_VERSION_EXPIRES == sizeof(int64_t), "the flag is the size");

typedef struct mrl_version {
    _Atomic uint64_t seq;
    struct mrl_version *before;
    uint32_t slot;
    uint32_t doc_size;
    uint16_t key_size;
    uint8_t path_count; /* of the schema that it was made under: a later one may have more */
    uint8_t flags;
    /* key, then, if EXPIRES, the moment at which the document ends, then path_count offsets (2
     * bytes each, 4 if WIDE), then the document, then, if EXTRACTED, what functions made of it: see
     * mrl_extracted */
    uint8_t bytes[];
} mrl_version;

static inline uint64_t mrl_version_seq(const mrl_version *v) {
    /* Acquire: pairs with the release in publishing; who sees the seq sees the whole commit's
     * versions. */
    return atomic_load_explicit(&v->seq, memory_order_acquire);
}
static inline int mrl_version_is_tombstone(const mrl_version *v) {
    return (v->flags & MRL_VERSION_TOMBSTONE) != 0;
}
/* The version itself where it is a document. No document is NULL, whether a tombstone says so or,
 * once that was reclaimed, nothing. */
static inline const mrl_version *mrl_version_live(const mrl_version *v) {
    return v == NULL || mrl_version_is_tombstone(v) ? NULL : v;
}
static inline size_t mrl_version_offset_size(const mrl_version *v) {
    return (v->flags & MRL_VERSION_WIDE) != 0 ? 4 : 2;
}
static inline const uint8_t *mrl_version_offsets(const mrl_version *v) {
    return v->bytes + v->key_size + (v->flags & MRL_VERSION_EXPIRES);
}
static inline const uint8_t *mrl_version_doc(const mrl_version *v) {
    return mrl_version_offsets(v) + v->path_count * mrl_version_offset_size(v);
}
/* When the document ends: nanoseconds since 1970; 0: never. */
static inline int64_t mrl_version_expires(const mrl_version *v) {
    int64_t expires_ns = 0;
    if (__builtin_expect((v->flags & MRL_VERSION_EXPIRES) != 0, 0))
        memcpy(&expires_ns, v->bytes + v->key_size, sizeof expires_ns);
    return expires_ns;
}
static inline merle_bytes mrl_version_key(const mrl_version *v) {
    return merle_bytes_of(v->bytes, v->key_size);
}
static inline size_t mrl_version_extracted_size(const mrl_version *v) {
    uint32_t size = 0;
    if (__builtin_expect((v->flags & MRL_VERSION_EXTRACTED) != 0, 0))
        memcpy(&size, mrl_version_doc(v) + v->doc_size, sizeof size);
    return size;
}
static inline size_t mrl_version_size(const mrl_version *v) {
    return offsetof(mrl_version, bytes) + v->key_size + (v->flags & MRL_VERSION_EXPIRES) +
           v->path_count * mrl_version_offset_size(v) + v->doc_size + mrl_version_extracted_size(v);
}
/* Where the path's value begins in the document; 0: it has none. */
static inline uint32_t mrl_version_offset(const mrl_version *v, uint32_t path) {
    const uint8_t *at = mrl_version_offsets(v);
    if ((v->flags & MRL_VERSION_WIDE) != 0) {
        uint32_t wide;
        memcpy(&wide, at + 4 * (size_t)path, 4);
        return wide;
    }
    uint16_t narrow;
    memcpy(&narrow, at + 2 * (size_t)path, 2);
    return narrow;
}
/* The same for a version that does not know where the path leads; a tombstone has none. */
uint32_t mrl_version_scan(const mrl_version *v, const mrl_path *path);
/* Where the value of a path begins that has this number in the schema, if it has one; 0: there is
 * none. */
static inline uint32_t mrl_version_find(const mrl_version *v, uint32_t number,
                                        const mrl_path *path) {
    if (__builtin_expect(number < v->path_count, 1)) return mrl_version_offset(v, number);
    return mrl_version_scan(v, path);
}
/* Where the value of an index's part begins; 0: there is none. */
static inline uint32_t mrl_version_locate(const mrl_version *v, const mrl_schema_part *part) {
    return mrl_version_find(v, part->path, part->at);
}
static inline merle_doc mrl_version_view(const mrl_version *v) {
    merle_doc doc = {mrl_version_doc(v), v->doc_size, mrl_version_seq(v), v};
    return doc;
}

/* The version that a section at S sees, beginning at the current one; NULL: none, or a
 * tombstone. */
static inline const mrl_version *mrl_version_at(const mrl_version *v, uint64_t seq) {
    while (v != NULL && mrl_version_seq(v) > seq) v = v->before;
    return mrl_version_live(v);
}

/* A version with a copy of key and document, which mrl_schema_check_doc has checked and located the
 * fields of; expires_ns is 0: it never ends. seq is NONE, slot NONE, before NULL. NULL: no
 * memory. */
mrl_version *mrl_version_create(mrl_member *member, const mrl_schema *schema, merle_bytes key,
                                merle_bytes doc, const uint32_t *offsets,
                                const merle_buffer *extracted, int64_t expires_ns);
/* A tombstone; may use the reserve beyond the memory limit. */
mrl_version *mrl_version_create_tombstone(mrl_member *member, merle_bytes key);
/* A copy of a document's version, of which functions made this: the same key, slot and document;
 * seq is NONE, and the version is the one before it. NULL: no memory. */
mrl_version *mrl_version_twin(mrl_member *member, mrl_version *version,
                              const merle_buffer *extracted);
void mrl_version_free(mrl_member *member, mrl_version *version);
/* The same without a look at it: size is mrl_version_size. */
static inline void mrl_version_free_sized(mrl_member *member, mrl_version *version, size_t size) {
    mrl_free(member, MRL_FOR_DOCUMENTS, version, size);
}

/* Whether what functions made is as it should be: it fills its place. */
int mrl_version_is_sound(const mrl_version *version);
/* Whether the index's function was asked for this document; one from before the index lacks that
 * until store/build.c gives it a twin. Of an index without a function: yes. */
int mrl_version_has_extracted(const mrl_version *version, const mrl_schema_index *index);
/* Puts what functions made of the document into a buffer, but what a former index of this number
 * has left, which nobody reads any more. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_version_copy_extracted(const mrl_version *version,
                                                    const mrl_schema_index *index,
                                                    merle_buffer *out);
/* The value under which an index with a tree lists this version, encoded into out
 * (MERLE_VALUE_SIZE_MAX bytes). 0: it does not (a field absent or nil, of which the index has not
 * the missing ones), or is from before the index, and has what it cannot hold. An index on each
 * element has several: see below. */
size_t mrl_version_encode(const mrl_version *version, const mrl_schema_index *index, uint8_t *out);
/* The value of a unique index, as above. 0: a field is absent or nil, which takes no value. */
size_t mrl_version_encode_unique(const mrl_version *version, const mrl_schema_index *index,
                                 uint8_t *out);
/* Whether a live version has this unique value, encoded. NULL has none. */
int mrl_version_has_unique(const mrl_version *version, const mrl_schema_index *index,
                           const uint8_t *encoded, size_t size);
/* For an index on each element: the value with this element, which stands in the version; NULL:
 * with none. store/entries.h tells which elements there are. */
size_t mrl_version_encode_element(const mrl_version *version, const mrl_schema_index *index,
                                  const uint8_t *element, uint8_t *out);
/* The same with a byte in the element's place, and in that of whatever is missing. */
size_t mrl_version_encode_besides(const mrl_version *version, const mrl_schema_index *index,
                                  uint8_t *out);
/* Whether two published versions are one state of one document, or both none: a twin has another
 * address. */
static inline int mrl_version_is_same_state(const mrl_version *a, const mrl_version *b) {
    return a == b || (a != NULL && b != NULL && a->slot == b->slot &&
                      mrl_version_seq(a) == mrl_version_seq(b));
}
/* Whether two versions of one document certainly have the same bytes in all fields of the index. 0:
 * perhaps not. */
int mrl_version_same_fields(const mrl_version *a, const mrl_version *b,
                            const mrl_schema_index *index);

#endif
