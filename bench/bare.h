/* bench/bare.h - bare documents under small numbers: what the floors btree and idlist point to.
 *
 * What    one allocation a document, as ck_hs has them: a head, key, bytes. The number of a
 *         document is the place of its pointer in one array.
 * Owns    the documents and the array, until bench_bare_close.
 * Sees    bench_bare_touch asks for what lies ahead: pointers first, then the documents' own line.
 * Threads bench_bare_add, _open, _close: one. Touching: any, while nobody adds.
 * Limits  UINT32_MAX documents. There is no removing and no changing.
 *
 * Both floors can also be built in bulk, from all documents that are there: bench_btree_fill and
 * bench_idlist_fill, after an opening and instead of any insert.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include "bench/common/system.h"

#define BENCH_BARE_AHEAD 16u

typedef struct bench_bare_doc {
    uint64_t head[4]; /* what ck_hs' documents have there */
    uint8_t bytes[];  /* key, then msgpack */
} bench_bare_doc;

extern bench_bare_doc **bench_bare_docs;
extern uint32_t bench_bare_count;

void bench_bare_open(void);
void bench_bare_close(void);
/* Puts a record behind the others and returns its number, from 0. */
uint32_t bench_bare_add(const bench_record *record);

/* A place for as many documents as will be there, filled by whoever asks for it. */
bench_bare_doc **bench_bare_reserve(uint32_t count);
void bench_btree_fill(void);
void bench_idlist_fill(void);

/* The bytes of a document, and asking for the line that has its score. */
static inline const uint8_t *bench_bare_bytes(uint32_t id) {
    return bench_bare_docs[id]->bytes + BENCH_KEY_SIZE;
}
static inline void bench_bare_ask(uint32_t id) {
    __builtin_prefetch(bench_bare_bytes(id) + BENCH_SCORE_OFFSET);
}

/* Touches the documents in the order of their numbers in the list. */
static inline void bench_bare_touch(const uint32_t *ids, size_t count, bench_sight *out_sight) {
    size_t first = count < BENCH_BARE_AHEAD ? count : BENCH_BARE_AHEAD;
    for (size_t i = 0; i < count; i++) __builtin_prefetch(&bench_bare_docs[ids[i]]);
    for (size_t i = 0; i < first; i++) bench_bare_ask(ids[i]);
    for (size_t i = 0; i < count; i++) {
        if (i + BENCH_BARE_AHEAD < count) bench_bare_ask(ids[i + BENCH_BARE_AHEAD]);
        bench_sight_doc(out_sight, bench_bare_bytes(ids[i]));
    }
}

#endif
