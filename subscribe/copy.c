/* subscribe/copy.c - a hash table with linear probing; a removal moves up those behind it, so that
 * there are no marks of removed ones and a table that is mostly churn stays as fast as it was.
 * SPDX-License-Identifier: Apache-2.0 */
#include "subscribe/copy.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/hash.h"

enum { CELL_COUNT_MIN = 16 };

typedef struct cell {
    mrl_copy_entry *entry; /* NULL: free */
    uint64_t hash;
} cell;

struct mrl_copy {
    cell *cells;
    size_t cell_count; /* a power of two */
    size_t count;
    uint64_t bytes; /* of the entries, the cells, and itself */
    uint64_t seed;
    uint64_t *total; /* of all copies of the subscriber; NULL: nobody counts */
};

static size_t entry_size(const mrl_copy_entry *entry) {
    return sizeof *entry + entry->key_size + entry->document_size;
}

static cell *make_cells(size_t count) {
    cell *cells = mrl_allocate(count * sizeof *cells);
    if (cells != NULL) memset(cells, 0, count * sizeof *cells);
    return cells;
}

static void grow(mrl_copy *copy, size_t bytes) {
    copy->bytes += bytes;
    if (copy->total != NULL) *copy->total += bytes;
}

static void shrink(mrl_copy *copy, size_t bytes) {
    copy->bytes -= bytes;
    if (copy->total != NULL) *copy->total -= bytes;
}

merle_err mrl_copy_create(uint64_t seed, uint64_t *total, mrl_copy **out_copy) {
    *out_copy = NULL;
    mrl_copy *copy = mrl_allocate(sizeof *copy);
    if (copy == NULL) return MERLE_NO_MEMORY;
    *copy = (mrl_copy){.cell_count = CELL_COUNT_MIN, .seed = seed, .total = total};
    copy->cells = make_cells(CELL_COUNT_MIN);
    if (copy->cells == NULL) {
        free(copy);
        return MERLE_NO_MEMORY;
    }
    grow(copy, sizeof *copy + CELL_COUNT_MIN * sizeof(cell));
    *out_copy = copy;
    return MERLE_OK;
}

void mrl_copy_destroy(mrl_copy *copy) {
    if (copy == NULL) return;
    shrink(copy, copy->bytes);
    for (size_t i = 0; i < copy->cell_count; i++) free(copy->cells[i].entry);
    free(copy->cells);
    free(copy);
}

/* The cell that has the key, or the free one in which it would stand. */
static size_t find(const mrl_copy *copy, merle_bytes key, uint64_t hash) {
    size_t mask = copy->cell_count - 1;
    size_t at = (size_t)hash & mask;
    for (;; at = (at + 1) & mask) {
        const cell *c = &copy->cells[at];
        if (c->entry == NULL) return at;
        if (c->hash == hash && c->entry->key_size == key.size &&
            memcmp(c->entry->bytes, key.data, key.size) == 0)
            return at;
    }
}

mrl_copy_entry *mrl_copy_get(const mrl_copy *copy, merle_bytes key) {
    return copy->cells[find(copy, key, mrl_hash_bytes(key.data, key.size, copy->seed))].entry;
}

/* A quarter of the cells stays free, so that every search finds its end soon. */
static merle_err make_room(mrl_copy *copy) {
    if (copy->count + 1 <= copy->cell_count / 4 * 3) return MERLE_OK;
    cell *cells = make_cells(copy->cell_count * 2);
    if (cells == NULL) return MERLE_NO_MEMORY;
    size_t mask = copy->cell_count * 2 - 1;
    for (size_t i = 0; i < copy->cell_count; i++) {
        if (copy->cells[i].entry == NULL) continue;
        size_t at = (size_t)copy->cells[i].hash & mask;
        while (cells[at].entry != NULL) at = (at + 1) & mask;
        cells[at] = copy->cells[i];
    }
    free(copy->cells);
    copy->cells = cells;
    grow(copy, copy->cell_count * sizeof(cell));
    copy->cell_count *= 2;
    return MERLE_OK;
}

merle_err mrl_copy_put(mrl_copy *copy, merle_bytes key, merle_doc document, uint32_t position,
                       int64_t expires_ns, mrl_copy_entry **out_entry, mrl_copy_entry **out_old) {
    *out_entry = NULL;
    *out_old = NULL;
    merle_err err = make_room(copy);
    if (err != MERLE_OK) return err;
    mrl_copy_entry *entry = mrl_allocate(sizeof *entry + key.size + document.size);
    if (entry == NULL) return MERLE_NO_MEMORY;
    *entry = (mrl_copy_entry){.seq = document.seq,
                              .expires_ns = expires_ns,
                              .position = position,
                              .key_size = (uint32_t)key.size,
                              .document_size = document.size};
    memcpy(entry->bytes, key.data, key.size);
    memcpy(entry->bytes + key.size, document.data, document.size);
    uint64_t hash = mrl_hash_bytes(key.data, key.size, copy->seed);
    cell *c = &copy->cells[find(copy, key, hash)];
    if (c->entry != NULL) {
        shrink(copy, entry_size(c->entry));
        *out_old = c->entry;
    } else {
        copy->count++;
    }
    grow(copy, entry_size(entry));
    c->entry = entry;
    c->hash = hash;
    *out_entry = entry;
    return MERLE_OK;
}

/* Empties a cell and moves up those behind it that would not be found any more. */
static mrl_copy_entry *take_out(mrl_copy *copy, size_t at) {
    size_t mask = copy->cell_count - 1;
    mrl_copy_entry *entry = copy->cells[at].entry;
    copy->count--;
    shrink(copy, entry_size(entry));
    for (size_t next = (at + 1) & mask; copy->cells[next].entry != NULL; next = (next + 1) & mask) {
        size_t home = (size_t)copy->cells[next].hash & mask;
        /* It may stand in `at` if its home does not lie behind `at`, seen round the end. */
        if (((next - home) & mask) < ((next - at) & mask)) continue;
        copy->cells[at] = copy->cells[next];
        at = next;
    }
    copy->cells[at] = (cell){NULL, 0};
    return entry;
}

mrl_copy_entry *mrl_copy_remove(mrl_copy *copy, merle_bytes key) {
    size_t at = find(copy, key, mrl_hash_bytes(key.data, key.size, copy->seed));
    return copy->cells[at].entry == NULL ? NULL : take_out(copy, at);
}

void mrl_copy_remove_older(mrl_copy *copy, uint64_t seq, uint32_t position, mrl_copy_entry **list) {
    for (size_t at = 0; at < copy->cell_count;) {
        mrl_copy_entry *entry = copy->cells[at].entry;
        if (entry == NULL || mrl_copy_has(entry, seq, position)) {
            at++;
            continue;
        }
        (void)take_out(copy, at); /* and look at what moved up to here */
        entry->next = *list;
        *list = entry;
    }
}

mrl_copy_entry *mrl_copy_next(const mrl_copy *copy, size_t *cursor) {
    while (*cursor < copy->cell_count) {
        mrl_copy_entry *entry = copy->cells[(*cursor)++].entry;
        if (entry != NULL) return entry;
    }
    return NULL;
}

size_t mrl_copy_count(const mrl_copy *copy) {
    return copy->count;
}

uint64_t mrl_copy_bytes(const mrl_copy *copy) {
    return copy->bytes;
}
