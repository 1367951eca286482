/* load/load.h - filling an empty store from files, at full speed.
 *
 * What    Definitions first, then documents into the slots that they had, in any order and by
 *         several threads at once; changes of later records on top. Tables and indexes are not kept
 *         meanwhile: mrl_load_finish builds them all in bulk, then the collections can be found.
 * Owns    the collections until it has finished; then the store does.
 * Sees    Nobody else uses the store, and nothing is published: who reads the log back says what
 *         seq it goes on from.
 * Threads begin, define, drop, truncated, ids, finish, cancel: setup, one thread, while no other
 *         one is in a call. put, effect, remove: any thread with its own member, different slots.
 * Limits  finish takes lists of all tables of a collection (load/fill.h), which go as the tables
 *         come: of a large collection a few per cent beyond what it will take in the end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_LOAD_LOAD_H
#define MRL_LOAD_LOAD_H

#include <merle/merle.h>

#include "store/store.h"

typedef struct mrl_load mrl_load;
typedef struct mrl_load_collection mrl_load_collection;

/* Two documents that cannot both be. */
typedef struct mrl_load_offence {
    uint32_t collection_id; /* 0: none was met */
    uint32_t slot, other_slot;
} mrl_load_offence;

typedef struct mrl_load_options {
    uint32_t thread_count;           /* for finish, the caller's among them; 0 and 1: only that */
    const merle_function *functions; /* of indexes by functions, {0} behind the last; NULL: none */
    int without_functions;           /* 1: such indexes are left out instead of refusing */
    /* Of finish: in the caller's thread, now and then. NULL: nobody looks. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *progress_context;
    mrl_load_offence *offence; /* filled where finish says MERLE_CORRUPT; NULL: nobody asks */
} mrl_load_options;

/* Borrows the options' functions and store until finish or cancel. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_load_begin(mrl_store *store, mrl_member *member,
                                        const mrl_load_options *options, mrl_load **out_load);

/* A new collection, or another definition of one: msgpack, see docs/format.md. Borrows it until it
 * returns. Errors: MERLE_CORRUPT, MERLE_DIFFERS (an index needs a function that was not given),
 * MERLE_NO_MEMORY, with a report. */
MERLE_MUST_USE merle_err mrl_load_define(mrl_load *load, mrl_member *member, merle_bytes definition,
                                         uint64_t seq, merle_report *report);
/* NULL: there is none of that id, never was, or it was dropped. */
mrl_load_collection *mrl_load_find(mrl_load *load, uint32_t collection_id);
/* Errors: MERLE_CORRUPT: there is none. */
MERLE_MUST_USE merle_err mrl_load_drop(mrl_load *load, mrl_member *member, uint32_t collection_id,
                                       uint64_t seq);
/* Ids of collections below this one were given, also to such as have gone since. */
void mrl_load_next_collection(mrl_load *load, uint32_t next_id);
/* Its documents were replaced as a whole at seq: whoever calls removes from the slots what has to
 * go. The largest counts. */
void mrl_load_truncated(mrl_load_collection *collection, uint64_t seq);
/* Ids below `end` were set aside. The largest counts. */
void mrl_load_ids(mrl_load_collection *collection, uint64_t end);
/* Before each operation of a record on the collection is carried out, whatever it does: keeps book
 * of bulk loads, which count only if they have ended (load/bulk.c), and throws one away that was
 * cut off, as mrl_load_finish does, too. LOADED needs nothing else. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_load_concern(mrl_load_collection *collection, mrl_member *member,
                                          mrl_record_kind kind, uint32_t origin, uint64_t seq);
/* Whether a bulk load is under way, as far as the log was read. */
int mrl_load_is_loading(const mrl_load_collection *collection);
/* So many slots more are accounted for: by pages, or a put that may take a new one. */
void mrl_load_expect(mrl_load_collection *collection, uint64_t slots);
/* Whether there may be such a slot: slots are given densely, so one far behind all that are
 * accounted for comes from no writer of ours, and would cost memory for all before it. */
int mrl_load_has_slot(const mrl_load_collection *collection, uint32_t slot);
/* The first slot behind all that were mentioned. */
uint32_t mrl_load_slots_end(const mrl_load_collection *collection);

/* Replaces what is in the slot, and notes that its run has changed at seq. The bytes are foreign:
 * they are checked, and copied. Errors: MERLE_CORRUPT, MERLE_DIFFERS (an index's function does not
 * take the document), MERLE_NO_MEMORY, with a report; what was in the slot stays then. */
MERLE_MUST_USE merle_err mrl_load_put(mrl_load_collection *collection, mrl_member *member,
                                      uint32_t slot, merle_bytes key, merle_bytes doc, uint64_t seq,
                                      int64_t expires_ns, merle_report *report);
/* Applies a patch's effect to the document in the slot. Errors: as put; MERLE_CORRUPT also if the
 * slot has not that key, or the effect does not fit. */
MERLE_MUST_USE merle_err mrl_load_effect(mrl_load_collection *collection, mrl_member *member,
                                         uint32_t slot, merle_bytes key, merle_bytes effect,
                                         uint64_t seq, int64_t expires_ns, merle_report *report);
/* Empties the slot, which may be empty. Errors: MERLE_NO_MEMORY, MERLE_CORRUPT (no slot). */
MERLE_MUST_USE merle_err mrl_load_remove(mrl_load_collection *collection, mrl_member *member,
                                         uint32_t slot, uint64_t seq);

/* The key of what is in the slot, borrowed until it is changed, and its seq; size 0: nothing is. */
merle_bytes mrl_load_key(const mrl_load_collection *collection, uint32_t slot, uint64_t *out_seq);

/* Builds tables and indexes, and gives the collections to the store. An index that was added to a
 * collection that had documents, and that these stand against, has failed as it did before. Ends
 * the load, whatever comes out. Errors: MERLE_CORRUPT (two documents with one key or one unique
 * value: the report has both), MERLE_NO_MEMORY; the store is empty then. */
MERLE_MUST_USE merle_err mrl_load_finish(mrl_load *load, mrl_member *member, merle_report *report);
/* Ends it without having loaded anything. */
void mrl_load_cancel(mrl_load *load, mrl_member *member);

#endif
