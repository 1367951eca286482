/* subscribe/copy.h - the documents of one collection, by key, as a subscriber holds them.
 *
 * What    a plain hash table with open addressing. Each document has the place in the log of the
 *         change that made it (seq and position in its commit), by which one that is older than a
 *         change can be told from one that has it already.
 * Owns    its entries. An entry that is taken out belongs to the caller, who frees it when nobody
 *         looks at its bytes any more.
 * Threads owner only.
 * Limits  as much memory as there is: the caller watches mrl_copy_bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_SUBSCRIBE_COPY_H
#define MRL_SUBSCRIBE_COPY_H

#include <merle/document.h>

typedef struct mrl_copy mrl_copy;

/* Stands behind every operation of its commit: where a document came with all of them. */
#define MRL_PLACE_ALL UINT32_MAX

typedef struct mrl_copy_entry {
    struct mrl_copy_entry *next; /* the owner's, for lists of what is to be freed */
    uint64_t seq;
    int64_t expires_ns;
    uint32_t position;
    uint32_t key_size;
    size_t document_size;
    uint8_t bytes[]; /* key, document */
} mrl_copy_entry;

static inline merle_bytes mrl_copy_key(const mrl_copy_entry *entry) {
    return merle_bytes_of(entry->bytes, entry->key_size);
}
static inline merle_doc mrl_copy_document(const mrl_copy_entry *entry) {
    merle_doc doc = {entry->bytes + entry->key_size, entry->document_size, entry->seq, NULL};
    return doc;
}
/* Whether the entry has what happened at this place already. */
static inline int mrl_copy_has(const mrl_copy_entry *entry, uint64_t seq, uint32_t position) {
    return entry->seq > seq || (entry->seq == seq && entry->position >= position);
}

/* Errors: MERLE_NO_MEMORY. seed: of the hash. *total, which outlives the copy, grows and shrinks by
 * mrl_copy_bytes; NULL: none. */
MERLE_MUST_USE merle_err mrl_copy_create(uint64_t seed, uint64_t *total, mrl_copy **out_copy);
/* NULL is fine. */
void mrl_copy_destroy(mrl_copy *copy);

/* NULL: there is none. */
mrl_copy_entry *mrl_copy_get(const mrl_copy *copy, merle_bytes key);
/* Puts a document under entry's key; *out_old: what was there, now the caller's, or NULL. Borrows
 * the bytes of key and document, which may be those of the old one. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_copy_put(mrl_copy *copy, merle_bytes key, merle_doc document,
                                      uint32_t position, int64_t expires_ns,
                                      mrl_copy_entry **out_entry, mrl_copy_entry **out_old);
/* What was there, now the caller's; NULL: nothing. */
mrl_copy_entry *mrl_copy_remove(mrl_copy *copy, merle_bytes key);
/* Takes out all that do not have what happened at this place, and puts them before *list. */
void mrl_copy_remove_older(mrl_copy *copy, uint64_t seq, uint32_t position, mrl_copy_entry **list);
/* One after another, in no order, while the copy does not change; *cursor begins as 0. */
mrl_copy_entry *mrl_copy_next(const mrl_copy *copy, size_t *cursor);

size_t mrl_copy_count(const mrl_copy *copy);
/* Of its entries and the table. */
uint64_t mrl_copy_bytes(const mrl_copy *copy);

#endif
