/* load/fill_tags.c - tag indexes in bulk.
 *
 * Each thread goes over its ranges with a dictionary of its own: tag -> the slots that have it. As
 * ranges are given out in ascending order, the slots of a tag ascend within a thread. Then the
 * dictionaries are put together, tag by tag. A dictionary is divided by hash, as the tables of a
 * collection are, so that this too can be shared.
 *
 * Where tags are many, each step into the dictionary is a cache miss: the place, the word, the end
 * of its list. So the tags of a batch of documents take these steps side by side.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/hash.h"
#include "load/fill_private.h"
#include "store/entries.h"
#include "tags/tags.h"

enum {
    PART_COUNT = MRL_SHARD_COUNT,
    SLOTS_FIRST = 4,
    SLOTS_MOST = 1020,
    WAITING_MAX = 64, /* tags that are looked for side by side */
    WAITING_BYTES = 2 * MERLE_VALUE_SIZE_MAX
};

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

/* A tag of a document that is about to be put into the dictionary. */
typedef struct waiting_tag {
    uint64_t hash;
    word *found; /* of those with its place, the first one */
    uint32_t slot, name_at, name_size;
} waiting_tag;

typedef struct waiting {
    uint32_t count, bytes_used;
    waiting_tag tags[WAITING_MAX];
    uint8_t bytes[WAITING_BYTES]; /* the names */
} waiting;

typedef struct tagging {
    mrl_column column;
    part *parts;       /* PART_COUNT for each worker */
    waiting *waitings; /* one for each worker */
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

/* ---- taking down ---- */

typedef struct collecting {
    const tagging *t;
    mrl_member *member;
    waiting *waiting;
    uint64_t hash_seed;
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

/* 0: no memory. */
static int add_slot(mrl_member *member, word *w, uint32_t slot) {
    if (w->last == NULL || w->last->count == w->last->capacity) {
        uint32_t capacity = w->last == NULL ? SLOTS_FIRST : w->last->capacity * 2;
        if (capacity > SLOTS_MOST) capacity = SLOTS_MOST;
        slot_chunk *chunk = mrl_alloc(member, MRL_FOR_OTHER, chunk_size(capacity));
        if (chunk == NULL) return 0;
        *chunk = (slot_chunk){.next = w->last, .capacity = capacity};
        w->last = chunk;
    }
    w->last->slots[w->last->count++] = slot;
    w->count++;
    return 1;
}

static int put_waiting(const collecting *c, const waiting_tag *tag) {
    merle_bytes name = merle_bytes_of(c->waiting->bytes + tag->name_at, tag->name_size);
    part *p = part_of(c->t, c->worker, mrl_shard_of(tag->hash));
    word *w = find_word(p, tag->hash, name);
    if (w == NULL && (w = add_word(c->member, p, tag->hash, name)) == NULL) return 0;
    return add_slot(c->member, w, tag->slot);
}

/* Puts them into the dictionary, in the order in which they came. What is asked for ahead is where
 * it is most likely found: words that are added meanwhile may change it. 0: no memory. */
static int put_all_waiting(const collecting *c) {
    waiting *w = c->waiting;
    int ok = 1;
    for (uint32_t i = 0; i < w->count; i++) {
        const part *p = part_of(c->t, c->worker, mrl_shard_of(w->tags[i].hash));
        if (p->places != NULL)
            __builtin_prefetch(&p->places[w->tags[i].hash & (p->place_count - 1)]);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        const part *p = part_of(c->t, c->worker, mrl_shard_of(w->tags[i].hash));
        w->tags[i].found =
            p->places == NULL ? NULL : p->places[w->tags[i].hash & (p->place_count - 1)];
        __builtin_prefetch(w->tags[i].found, 1);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        const slot_chunk *last = w->tags[i].found == NULL ? NULL : w->tags[i].found->last;
        __builtin_prefetch(last, 1);
    }
    for (uint32_t i = 0; ok && i < w->count; i++) ok = put_waiting(c, &w->tags[i]);
    w->count = 0;
    w->bytes_used = 0;
    return ok;
}

/* Non-zero: no memory. */
static int collect_tag(void *context, merle_bytes name) {
    const collecting *c = context;
    waiting *w = c->waiting;
    if ((w->count == WAITING_MAX || name.size > WAITING_BYTES - w->bytes_used) &&
        !put_all_waiting(c))
        return 1;
    w->tags[w->count++] = (waiting_tag){.hash = mrl_hash_bytes(name.data, name.size, c->hash_seed),
                                        .slot = c->slot,
                                        .name_at = w->bytes_used,
                                        .name_size = (uint32_t)name.size};
    memcpy(w->bytes + w->bytes_used, name.data, name.size);
    w->bytes_used += (uint32_t)name.size;
    return 0;
}

static int note(mrl_column *column, const mrl_fill_batch *batch) {
    const tagging *t = (const tagging *)column;
    collecting c = {.t = t,
                    .member = batch->member,
                    .waiting = &t->waitings[batch->worker],
                    .hash_seed = column->filling->root->collection->store->hash_seed,
                    .worker = batch->worker};
    for (uint32_t i = 0; i < batch->count; i++) {
        c.slot = batch->versions[i]->slot;
        if (mrl_entries_each(batch->versions[i], column->index, collect_tag, &c) != 0) return 0;
    }
    return put_all_waiting(&c);
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

static mrl_tags *tags_of(const tagging *t) {
    return t->column.filling->root->indexes[t->column.index->number].tags;
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
        err = mrl_tags_fill(tags_of(t), member, merle_bytes_of(w->name, w->size), slots, count);
    }
    for (int i = 0; i < 2; i++)
        if (lists[i] != NULL) mrl_free(member, MRL_FOR_OTHER, lists[i], size);
    return err;
}

static merle_err make_part(mrl_column *column, mrl_member *member, uint32_t number) {
    const tagging *t = (const tagging *)column;
    merle_err err = MERLE_OK;
    for (uint32_t worker = 0; worker < t->worker_count; worker++) {
        const part *p = part_of(t, worker, number);
        for (uint32_t i = 0; i < p->place_count; i++)
            for (word *w = p->places[i]; w != NULL && err == MERLE_OK; w = w->next)
                if (w->count != 0) err = fill_tag(t, member, number, worker, w);
    }
    return err;
}

/* ---- the column ---- */

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

static void destroy(mrl_column *column, mrl_member *member) {
    tagging *t = (tagging *)column;
    size_t part_count = (size_t)t->worker_count * PART_COUNT;
    for (size_t i = 0; t->parts != NULL && i < part_count; i++) free_part(member, &t->parts[i]);
    if (t->parts != NULL) mrl_free(member, MRL_FOR_OTHER, t->parts, part_count * sizeof *t->parts);
    if (t->waitings != NULL)
        mrl_free(member, MRL_FOR_OTHER, t->waitings, t->worker_count * sizeof *t->waitings);
    mrl_free(member, MRL_FOR_OTHER, t, sizeof *t);
}

mrl_column *mrl_column_of_tags(mrl_filling *f, mrl_member *member, const mrl_schema_index *index) {
    static const mrl_column_type type = {.note = note, .make = make_part, .destroy = destroy};
    tagging *t = mrl_alloc(member, MRL_FOR_OTHER, sizeof *t);
    if (t == NULL) return NULL;
    *t = (tagging){.column = {&type, f, index, PART_COUNT}, .worker_count = mrl_crew_size(f->crew)};
    size_t parts_size = (size_t)t->worker_count * PART_COUNT * sizeof *t->parts;
    size_t waitings_size = t->worker_count * sizeof *t->waitings;
    t->parts = mrl_alloc(member, MRL_FOR_OTHER, parts_size);
    t->waitings = mrl_alloc(member, MRL_FOR_OTHER, waitings_size);
    if (t->parts != NULL) memset(t->parts, 0, parts_size);
    if (t->parts != NULL && t->waitings != NULL) {
        memset(t->waitings, 0, waitings_size);
        return &t->column;
    }
    destroy(&t->column, member);
    return NULL;
}
