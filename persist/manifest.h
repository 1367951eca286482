/* persist/manifest.h - the coding of manifests: which pages a checkpoint is made of.
 *
 * What    A manifest names every collection that existed at its replay seq R, with the definition
 *         that was in force then, and every page of it: where it lies, its checksum, and the S at
 *         which it was read. All pages have S >= R. Who has loaded the pages replays the log behind
 *         R: a change of a slot counts if its seq is above the S of the slot's page or, where no
 *         page covers the slot, above the collection's base. docs/format.md has the bytes.
 * Owns    a mrl_manifest owns its arrays (malloc); free it with mrl_manifest_fini.
 * Threads owner only.
 * Limits  The reader takes foreign bytes: every count is checked against the bytes that are left
 *         before anything is made of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_MANIFEST_H
#define MRL_PERSIST_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include <merle/base.h>

enum { MRL_MANIFEST_FORMAT = 1, MRL_MANIFEST_HEADER_SIZE = 64 };

/* Where a page is. length 0: it has no documents, and lies in no file. */
typedef struct mrl_manifest_page {
    uint64_t file_id;
    uint64_t offset;
    uint64_t seq; /* S */
    uint32_t first_slot;
    uint32_t slot_count;
    uint32_t length; /* with its header */
    uint32_t crc;
    uint32_t document_count;
    uint32_t reserved;
} mrl_manifest_page;

typedef struct mrl_manifest_collection {
    uint32_t id;
    uint32_t slots_end; /* while a checkpoint lasts: pages are made of the slots below */
    struct merle_collection *collection; /* in the store, where it is known; not written */
    uint64_t base_seq; /* when its documents were replaced as a whole for the last time */
    uint64_t ids_end;  /* ids below were set aside */
    merle_buffer definition;
    mrl_manifest_page *pages; /* in the order of their slots */
    size_t page_count;
    size_t page_capacity;
} mrl_manifest_collection;

typedef struct mrl_manifest_file {
    uint64_t id;
    uint64_t size;
    uint64_t live; /* bytes of it that pages of this manifest take; not written, but summed up */
    int is_thin;   /* for checkpoints: its pages are to be written anew */
} mrl_manifest_file;

typedef struct mrl_manifest {
    uint64_t database_id[2];
    uint64_t number;
    uint64_t term;
    int64_t time_ns; /* not before the time of commit R */
    uint64_t replay_seq;
    uint64_t log_id;  /* of the log file that begins the replay; 0: there was none yet */
    uint64_t seq_max; /* the highest of R, S and bases: the log has all up to it; not written */
    uint32_t collection_next_id;
    uint32_t reserved;
    mrl_manifest_collection *collections; /* in the order of their ids */
    size_t collection_count;
    mrl_manifest_file *files; /* in the order of their ids */
    size_t file_count;
} mrl_manifest;

void mrl_manifest_fini(mrl_manifest *manifest);
/* Adds one behind the others. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_manifest_add_page(mrl_manifest_collection *collection,
                                               const mrl_manifest_page *page);
/* NULL: no memory. */
mrl_manifest_collection *mrl_manifest_add_collection(mrl_manifest *manifest);
MERLE_MUST_USE merle_err mrl_manifest_add_file(mrl_manifest *manifest, uint64_t id, uint64_t size);

/* NULL: none with this id. */
mrl_manifest_collection *mrl_manifest_find(const mrl_manifest *manifest, uint32_t collection_id);
mrl_manifest_file *mrl_manifest_find_file(const mrl_manifest *manifest, uint64_t file_id);
/* The page that covers the slot; NULL: none. */
const mrl_manifest_page *mrl_manifest_page_of(const mrl_manifest_collection *collection,
                                              uint32_t slot);
/* Sums up what of each file is live, and seq_max. */
void mrl_manifest_sum(mrl_manifest *manifest);

/* Appends the whole file to out. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_manifest_write(const mrl_manifest *manifest, merle_buffer *out);
/* out_manifest is zero-filled where this fails. *out_why: a few words, static; *out_offset: where
 * in the bytes. Errors: MERLE_CORRUPT, MERLE_UNSUPPORTED (a newer format), MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_manifest_read(merle_bytes bytes, mrl_manifest *out_manifest,
                                           const char **out_why, uint64_t *out_offset);

#endif
