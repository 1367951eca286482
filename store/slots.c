/* store/slots.c - growing the slot array.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/slots.h"

#include <string.h>

void mrl_slots_init(mrl_slots *slots) {
    memset(slots, 0, sizeof *slots);
    mrl_lock_init(&slots->grow_lock);
}

void mrl_slots_fini(mrl_slots *slots, mrl_member *member) {
    for (uint32_t s = 0; s < MRL_SEGMENT_COUNT; s++) {
        _Atomic(mrl_chunk *) *places =
            atomic_load_explicit(&slots->segments[s], memory_order_relaxed);
        if (places == NULL) continue;
        for (uint32_t i = 0; i < (1u << s); i++) {
            mrl_chunk *chunk = atomic_load_explicit(&places[i], memory_order_relaxed);
            if (chunk != NULL) mrl_free(member, MRL_FOR_TABLES, chunk, sizeof *chunk);
        }
        mrl_free(member, MRL_FOR_TABLES, places, sizeof *places << s);
        atomic_store_explicit(&slots->segments[s], NULL, memory_order_relaxed);
    }
}

/* Puts the chunk of the slot in place; holds grow_lock. */
static merle_err grow(mrl_slots *slots, mrl_member *member, uint32_t slot) {
    uint32_t number = slot / MRL_CHUNK_SLOTS + 1;
    uint32_t segment = 31u - (uint32_t)__builtin_clz(number);
    _Atomic(mrl_chunk *) *places =
        atomic_load_explicit(&slots->segments[segment], memory_order_relaxed);
    if (places == NULL) {
        places = mrl_alloc(member, MRL_FOR_TABLES, sizeof *places << segment);
        if (places == NULL) return MERLE_NO_MEMORY;
        memset(places, 0, sizeof *places << segment);
        atomic_store_explicit(&slots->segments[segment], places, memory_order_release);
    }
    _Atomic(mrl_chunk *) *place = &places[number - (1u << segment)];
    if (atomic_load_explicit(place, memory_order_relaxed) != NULL) return MERLE_OK;
    mrl_chunk *chunk = mrl_alloc(member, MRL_FOR_TABLES, sizeof *chunk);
    if (chunk == NULL) return MERLE_NO_MEMORY;
    memset(chunk, 0, sizeof *chunk);
    atomic_store_explicit(place, chunk, memory_order_release);
    return MERLE_OK;
}

/* Puts the slot's chunk in place. */
static merle_err ensure(mrl_slots *slots, mrl_member *member, uint32_t slot) {
    if (mrl_slots_chunk(slots, slot) != NULL) return MERLE_OK;
    mrl_lock_take(&slots->grow_lock);
    merle_err err = grow(slots, member, slot);
    mrl_lock_drop(&slots->grow_lock);
    return err;
}

merle_err mrl_slots_take(mrl_slots *slots, mrl_member *member, uint32_t *out_slot) {
    *out_slot = MRL_SLOT_NONE;
    /* Everything below `next` has its chunk, so a slot is given only when its chunk is there: who
     * cannot get memory gives none. */
    uint64_t next = atomic_load_explicit(&slots->next, memory_order_relaxed);
    for (;;) {
        if (next >= MRL_SLOT_COUNT_MAX) return MERLE_TOO_BIG;
        merle_err err = ensure(slots, member, (uint32_t)next);
        if (err != MERLE_OK) return err;
        if (atomic_compare_exchange_weak_explicit(&slots->next, &next, next + 1,
                                                  memory_order_release, memory_order_relaxed))
            break;
    }
    *out_slot = (uint32_t)next;
    return MERLE_OK;
}

merle_err mrl_slots_give(mrl_slots *slots, mrl_member *member, uint32_t slot) {
    merle_err err = ensure(slots, member, slot);
    if (err != MERLE_OK) return err;
    uint64_t next = atomic_load_explicit(&slots->next, memory_order_relaxed);
    while (next <= slot &&
           !atomic_compare_exchange_weak_explicit(&slots->next, &next, (uint64_t)slot + 1,
                                                  memory_order_release, memory_order_relaxed))
        continue;
    return MERLE_OK;
}

merle_err mrl_slots_fill(mrl_slots *slots, mrl_member *member) {
    uint64_t end = mrl_slots_end(slots);
    for (uint64_t slot = 0; slot < end; slot += MRL_CHUNK_SLOTS) {
        merle_err err = ensure(slots, member, (uint32_t)slot);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}
