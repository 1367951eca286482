/* load/fill_tags.c - tag indexes in bulk.
 *
 * Each thread goes over its ranges with a dictionary of its own: tag -> the slots that have it. As
 * ranges are given out in ascending order, the slots of a tag ascend within a thread. Then the
 * dictionaries are put together, tag by tag. A dictionary is divided by hash, as the tables of a
 * collection are, so that this too can be shared.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/hash.h"
#include "load/fill_private.h"
#include "store/entries.h"
#include "tags/tags.h"

enum { PART_COUNT = MRL_SHARD_COUNT, SLOTS_FIRST = 4, SLOTS_MOST = 1020 };

typedef struct slot_chunk {
    struct slot_chunk *next; /* the one filled before; the first one of all has NULL */
    uint32_t count, capacity;
    uint32_t slots[];
} slot_chunk;

/* One tag in one dictionary. */
typedef struct word {
    struct word *next; /* with the same place */
    uint64_t hash;
    uint64_t count;   /* of slots; 0: they were taken */
    slot_chunk *last; /* the others hang in it */
    uint32_t size;
    uint8_t name[];
} word;

typedef struct part {
    word **places; /* NULL: none yet */
    uint32_t place_count, word_count;
} part;

typedef struct tagging {
    mrl_filling *f;
    const mrl_schema_index *index;
    part *parts; /* PART_COUNT for each worker */
    uint32_t worker_count;
} tagging;

static part *part_of(const tagging *t, uint32_t worker, uint32_t number) {
    return &t->parts[(size_t)worker * PART_COUNT + number];
}

static size_t chunk_size(uint32_t capacity) {
    return sizeof(slot_chunk) + capacity * sizeof(uint32_t);
}

static int is_named(const word *w, uint64_t hash, merle_bytes name) {
    return w->hash == hash && w->size == name.size && memcmp(w->name, name.data, name.size) == 0;
}

static word *find_word(const part *p, uint64_t hash, merle_bytes name) {
    if (p->places == NULL) return NULL;
    word *w = p->places[hash & (p->place_count - 1)];
    while (w != NULL && !is_named(w, hash, name)) w = w->next;
    return w;
}

/* ---- collecting ---- */

typedef struct collecting {
    const tagging *t;
    mrl_member *member;
    uint32_t worker, slot;
} collecting;

/* 0: no memory. */
static int grow_part(mrl_member *member, part *p) {
    uint32_t place_count = p->place_count == 0 ? 16 : p->place_count * 2;
    word **places = mrl_alloc(member, MRL_FOR_OTHER, place_count * sizeof *places);
    if (places == NULL) return 0;
    memset(places, 0, place_count * sizeof *places);
    for (uint32_t i = 0; i < p->place_count; i++)
        for (word *w = p->places[i], *next; w != NULL; w = next) {
            next = w->next;
            w->next = places[w->hash & (place_count - 1)];
            places[w->hash & (place_count - 1)] = w;
        }
    if (p->places != NULL)
        mrl_free(member, MRL_FOR_OTHER, p->places, p->place_count * sizeof *places);
    p->places = places;
    p->place_count = place_count;
    return 1;
}

static word *add_word(mrl_member *member, part *p, uint64_t hash, merle_bytes name) {
    if (p->word_count == p->place_count && !grow_part(member, p)) return NULL;
    word *w = mrl_alloc(member, MRL_FOR_OTHER, sizeof *w + name.size);
    if (w == NULL) return NULL;
    word **place = &p->places[hash & (p->place_count - 1)];
    *w = (word){.next = *place, .hash = hash, .size = (uint32_t)name.size};
    memcpy(w->name, name.data, name.size);
    *place = w;
    p->word_count++;
    return w;
}

/* Non-zero: no memory. */
static int collect_tag(void *context, merle_bytes name) {
    const collecting *c = context;
    uint64_t hash =
        mrl_hash_bytes(name.data, name.size, c->t->f->root->collection->store->hash_seed);
    part *p = part_of(c->t, c->worker, mrl_shard_of(hash));
    word *w = find_word(p, hash, name);
    if (w == NULL && (w = add_word(c->member, p, hash, name)) == NULL) return 1;
    if (w->last == NULL || w->last->count == w->last->capacity) {
        uint32_t capacity = w->last == NULL ? SLOTS_FIRST : w->last->capacity * 2;
        if (capacity > SLOTS_MOST) capacity = SLOTS_MOST;
        slot_chunk *chunk = mrl_alloc(c->member, MRL_FOR_OTHER, chunk_size(capacity));
        if (chunk == NULL) return 1;
        *chunk = (slot_chunk){.next = w->last, .capacity = capacity};
        w->last = chunk;
    }
    w->last->slots[w->last->count++] = c->slot;
    w->count++;
    return 0;
}

static int collect(void *context, const mrl_version *v) {
    collecting *c = context;
    c->slot = v->slot;
    if (mrl_entries_each(v, c->t->index, collect_tag, c) == 0) return 1;
    mrl_filling_fail(c->t->f, MERLE_NO_MEMORY);
    return 0;
}

static void collect_range(void *context, mrl_member *member, uint32_t worker, uint32_t task) {
    tagging *t = context;
    collecting c = {t, member, worker, 0};
    if (mrl_filling_is_over(t->f)) return;
    mrl_filling_each(t->f, task, MRL_FILL_LINES, collect, &c);
    mrl_filling_tell(t->f, worker);
}

/* ---- putting together ---- */

static void free_slots(mrl_member *member, word *w) {
    for (slot_chunk *chunk = w->last, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        mrl_free(member, MRL_FOR_OTHER, chunk, chunk_size(chunk->capacity));
    }
    w->last = NULL;
    w->count = 0;
}

/* Moves a word's slots to the end of a list, from its last on: they ascend there. */
static void take_slots(mrl_member *member, word *w, uint32_t *end) {
    for (const slot_chunk *chunk = w->last; chunk != NULL; chunk = chunk->next) {
        end -= chunk->count;
        memcpy(end, chunk->slots, chunk->count * sizeof *end);
    }
    free_slots(member, w);
}

/* Two ascending lists that lie behind each other, into one elsewhere. */
static void merge_slots(const uint32_t *from, size_t left, size_t count, uint32_t *to) {
    size_t a = 0, b = left;
    while (a < left && b < count) *to++ = from[b] < from[a] ? from[b++] : from[a++];
    memcpy(to, from + a, (left - a) * sizeof *to);
    memcpy(to + (left - a), from + b, (count - b) * sizeof *to);
}

/* The slots of one tag in all dictionaries from this worker's on. */
static uint64_t count_slots(const tagging *t, uint32_t number, uint32_t worker, const word *w) {
    uint64_t count = w->count;
    for (uint32_t other = worker + 1; other < t->worker_count; other++) {
        const word *same =
            find_word(part_of(t, other, number), w->hash, merle_bytes_of(w->name, w->size));
        if (same != NULL) count += same->count;
    }
    return count;
}

/* Gathers them in one of the two lists; gives that. */
static uint32_t *gather_slots(const tagging *t, mrl_member *member, uint32_t number,
                              uint32_t worker, word *w, uint32_t *lists[2]) {
    uint32_t *from = lists[0], *to = lists[1];
    size_t count = w->count;
    take_slots(member, w, from + count);
    for (uint32_t other = worker + 1; other < t->worker_count; other++) {
        word *same =
            find_word(part_of(t, other, number), w->hash, merle_bytes_of(w->name, w->size));
        if (same == NULL || same->count == 0) continue;
        size_t left = count;
        count += same->count;
        take_slots(member, same, from + count);
        if (from[left - 1] < from[left]) continue;
        merge_slots(from, left, count, to);
        uint32_t *swapped = from;
        from = to;
        to = swapped;
    }
    return from;
}

static merle_err fill_tag(const tagging *t, mrl_member *member, uint32_t number, uint32_t worker,
                          word *w) {
    uint64_t count = count_slots(t, number, worker, w);
    uint32_t *lists[2];
    size_t size = count * sizeof *lists[0];
    merle_err err = MERLE_NO_MEMORY;
    /* The second one is needed only if there is something to merge. */
    int needs_both = count != w->count;
    lists[0] = mrl_alloc(member, MRL_FOR_OTHER, size);
    lists[1] = needs_both ? mrl_alloc(member, MRL_FOR_OTHER, size) : NULL;
    if (lists[0] != NULL && (!needs_both || lists[1] != NULL)) {
        const uint32_t *slots = gather_slots(t, member, number, worker, w, lists);
        err = mrl_tags_fill(t->f->root->indexes[t->index->number].tags, member,
                            merle_bytes_of(w->name, w->size), slots, count);
    }
    for (int i = 0; i < 2; i++)
        if (lists[i] != NULL) mrl_free(member, MRL_FOR_OTHER, lists[i], size);
    return err;
}

static void fill_part(void *context, mrl_member *member, uint32_t unused, uint32_t number) {
    const tagging *t = context;
    (void)unused;
    for (uint32_t worker = 0; worker < t->worker_count; worker++) {
        const part *p = part_of(t, worker, number);
        for (uint32_t i = 0; i < p->place_count; i++)
            for (word *w = p->places[i]; w != NULL; w = w->next) {
                if (mrl_filling_is_over(t->f)) return;
                merle_err err = w->count == 0 ? MERLE_OK : fill_tag(t, member, number, worker, w);
                if (err != MERLE_OK) mrl_filling_fail(t->f, err);
            }
    }
}

/* ---- the whole ---- */

static void free_part(mrl_member *member, part *p) {
    for (uint32_t i = 0; i < p->place_count; i++)
        for (word *w = p->places[i], *next; w != NULL; w = next) {
            next = w->next;
            free_slots(member, w);
            mrl_free(member, MRL_FOR_OTHER, w, sizeof *w + w->size);
        }
    if (p->places != NULL)
        mrl_free(member, MRL_FOR_OTHER, p->places, p->place_count * sizeof *p->places);
}

void mrl_fill_tags(mrl_filling *f, mrl_member *member, const mrl_schema_index *index) {
    tagging t = {f, index, NULL, mrl_crew_size(f->crew)};
    size_t part_count = (size_t)t.worker_count * PART_COUNT;
    t.parts = mrl_alloc(member, MRL_FOR_OTHER, part_count * sizeof *t.parts);
    if (t.parts == NULL) {
        mrl_filling_fail(f, MERLE_NO_MEMORY);
        return;
    }
    memset(t.parts, 0, part_count * sizeof *t.parts);
    mrl_crew_run(f->crew, member, collect_range, &t, f->range_count);
    mrl_crew_run(f->crew, member, fill_part, &t, PART_COUNT);
    for (size_t i = 0; i < part_count; i++) free_part(member, &t.parts[i]);
    mrl_free(member, MRL_FOR_OTHER, t.parts, part_count * sizeof *t.parts);
}
