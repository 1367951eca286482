/* load/fill_ordered.c - ordered indexes in bulk.
 *
 * A range of slots makes a run: the values of its documents, sorted while they are in the cache.
 * Then each tree is built by one thread, in parts: some items of all runs say where the parts end,
 * so that one takes little memory; what each run has of a part is put together and sorted again,
 * and the tree takes it from there. A run stands in chunks, each of which is given back when the
 * parts are past it: as the tree grows the runs go.
 *
 * Sorting goes by the first byte and the eight behind it, as numbers, byte by byte from the last
 * one on, and only by those bytes in which items differ: all of a number, which is nine bytes, and
 * most often enough of a text. It keeps the order of what is equal, and items come in the order of
 * slots. What a longer value has behind these bytes stands in memory of the run's own, so that no
 * comparison goes back to a document; items that are told apart only there are merged at the end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "load/fill_private.h"
#include "store/entries.h"
#include "store/expiry.h"

enum {
    HEAD_SIZE = 9,
    REST_CHUNK = 64 * 1024 - 64,
    INSERTED = 8,       /* items that are sorted by putting each in its place */
    COUNTED = 256,      /* from so many on byte by byte */
    CHUNK_ITEMS = 1365, /* of 24 bytes: nearly 32 KiB, which comes from no slab */
    PART_ITEMS = 8192,  /* of a part, about */
    SAMPLE_EVERY = 256  /* of a run's items */
};

typedef struct item {
    uint64_t head;       /* bytes 1 to 8, big-endian */
    const uint8_t *rest; /* from byte 9 on; NULL: there are none */
    uint32_t slot;
    uint16_t size;
    uint8_t first; /* byte 0 */
} item;

/* What values have behind their first nine bytes. */
typedef struct rest_chunk {
    struct rest_chunk *next;
    uint32_t used, size;
    uint8_t bytes[];
} rest_chunk;

/* The sorted items of a range. */
typedef struct run {
    item **chunks; /* CHUNK_ITEMS each, but for the last one; NULL: it was given back */
    size_t count;
    size_t taken; /* those that are in the tree */
    rest_chunk *rests;
} run;

/* Items in one piece, and room for as many. */
typedef struct item_room {
    item *items, *others;
    size_t count, capacity;
} item_room;

typedef struct growing {
    mrl_column column; /* index NULL: the index by time */
    run *runs;         /* one for each range */
    item_room *rooms;  /* one for each worker: what its range has given so far */
    uint32_t run_count, worker_count;
} growing;

/* ---- memory ---- */

static void free_room(mrl_member *member, item_room *room) {
    if (room->capacity != 0)
        mrl_free(member, MRL_FOR_OTHER, room->items, 2 * room->capacity * sizeof(item));
    *room = (item_room){NULL, NULL, 0, 0};
}

/* Room for so many; those that are in it stay. 0: no memory. */
static int make_room(mrl_member *member, item_room *room, size_t wanted) {
    if (wanted <= room->capacity) return 1;
    size_t capacity = wanted + wanted / 2, count = room->count;
    item *items = mrl_alloc(member, MRL_FOR_OTHER, 2 * capacity * sizeof *items);
    if (items == NULL) return 0;
    if (count != 0) memcpy(items, room->items, count * sizeof *items);
    free_room(member, room);
    *room = (item_room){items, items + capacity, count, capacity};
    return 1;
}

static size_t chunk_count(const run *r) {
    return (r->count + CHUNK_ITEMS - 1) / CHUNK_ITEMS;
}
static size_t chunk_size(const run *r, size_t number) {
    size_t rest = r->count - number * CHUNK_ITEMS;
    return (rest < CHUNK_ITEMS ? rest : CHUNK_ITEMS) * sizeof(item);
}
static const item *item_at(const run *r, size_t at) {
    return &r->chunks[at / CHUNK_ITEMS][at % CHUNK_ITEMS];
}

static void free_chunk(mrl_member *member, run *r, size_t number) {
    if (r->chunks[number] == NULL) return;
    mrl_free(member, MRL_FOR_OTHER, r->chunks[number], chunk_size(r, number));
    r->chunks[number] = NULL;
}

static void free_run(mrl_member *member, run *r) {
    for (size_t i = 0; r->chunks != NULL && i < chunk_count(r); i++) free_chunk(member, r, i);
    if (r->chunks != NULL)
        mrl_free(member, MRL_FOR_OTHER, r->chunks, chunk_count(r) * sizeof *r->chunks);
    for (rest_chunk *chunk = r->rests, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        mrl_free(member, MRL_FOR_OTHER, chunk, sizeof *chunk + chunk->size);
    }
    *r = (run){NULL, 0, 0, NULL};
}

/* ---- order ---- */

static int rests_below(const item *a, const item *b) {
    size_t a_size = a->size - (size_t)HEAD_SIZE, b_size = b->size - (size_t)HEAD_SIZE;
    int order = memcmp(a->rest, b->rest, a_size < b_size ? a_size : b_size);
    if (order != 0) return order < 0;
    return a_size != b_size ? a_size < b_size : a->slot < b->slot;
}

/* No value is the beginning of another one: two that are equal so far either both end here, or both
 * go on. */
static inline int is_below(const item *a, const item *b) {
    if (a->first != b->first) return a->first < b->first;
    if (a->head != b->head) return a->head < b->head;
    return a->rest == NULL || b->rest == NULL ? a->slot < b->slot : rests_below(a, b);
}

/* ---- taking down ---- */

typedef struct collecting {
    mrl_member *member;
    run *run;
    item_room *room;
    uint32_t slot;
} collecting;

/* A copy of the bytes, which stays as long as the run. NULL: no memory. */
static const uint8_t *keep_rest(const collecting *c, const uint8_t *bytes, size_t size) {
    rest_chunk *chunk = c->run->rests;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        chunk = mrl_alloc(c->member, MRL_FOR_OTHER, sizeof *chunk + REST_CHUNK);
        if (chunk == NULL) return NULL;
        *chunk = (rest_chunk){.next = c->run->rests, .size = REST_CHUNK};
        c->run->rests = chunk;
    }
    uint8_t *kept = chunk->bytes + chunk->used;
    memcpy(kept, bytes, size);
    chunk->used += (uint32_t)size;
    return kept;
}

/* Non-zero: no memory. */
static int collect_value(void *context, merle_bytes value) {
    const collecting *c = context;
    const uint8_t *bytes = value.data;
    item_room *room = c->room;
    if (!make_room(c->member, room, room->count + 1)) return 1;
    item *at = &room->items[room->count];
    *at = (item){.slot = c->slot, .size = (uint16_t)value.size, .first = bytes[0]};
    at->head = mrl_ordered_head_of(bytes + 1, value.size - 1);
    if (value.size > HEAD_SIZE) {
        at->rest = keep_rest(c, bytes + HEAD_SIZE, value.size - HEAD_SIZE);
        if (at->rest == NULL) return 1;
    }
    room->count++;
    return 0;
}

static int collect_moment(collecting *c, const mrl_version *v) {
    uint8_t value[MRL_EXPIRY_SIZE];
    int64_t expires_ns = mrl_version_expires(v);
    if (expires_ns == 0) return 0;
    mrl_expiry_encode(expires_ns, value);
    return collect_value(c, merle_bytes_of(value, sizeof value));
}

static int note(mrl_column *column, const mrl_fill_batch *batch) {
    const growing *g = (const growing *)column;
    collecting c = {batch->member, &g->runs[batch->range], &g->rooms[batch->worker], 0};
    for (uint32_t i = 0; i < batch->count; i++) {
        const mrl_version *v = batch->versions[i];
        c.slot = v->slot;
        int failed = column->index == NULL ? collect_moment(&c, v)
                                           : mrl_entries_each(v, column->index, collect_value, &c);
        if (failed) return 0;
    }
    return 1;
}

/* ---- sorting ---- */

static void sort_few(item *items, size_t count) {
    for (size_t i = 1; i < count; i++) {
        item one = items[i];
        size_t at = i;
        for (; at > 0 && is_below(&one, &items[at - 1]); at--) items[at] = items[at - 1];
        items[at] = one;
    }
}

/* Two neighbours into one, elsewhere. */
static void merge_pair(const item *from, size_t left, size_t count, item *to) {
    const item *a = from, *b = from + left, *a_end = b, *b_end = from + count;
    while (a < a_end && b < b_end) *to++ = is_below(b, a) ? *b++ : *a++;
    memcpy(to, a, (size_t)(a_end - a) * sizeof *to);
    memcpy(to + (a_end - a), b, (size_t)(b_end - b) * sizeof *to);
}

/* Sorted pieces of `width` become pieces of twice that. */
static void merge_all(const item *from, size_t count, size_t width, item *to) {
    for (size_t at = 0; at < count; at += 2 * width) {
        size_t both = count - at < 2 * width ? count - at : 2 * width;
        size_t left = both < width ? both : width;
        if (left == both || !is_below(&from[at + left], &from[at + left - 1]))
            memcpy(to + at, from + at, both * sizeof *to);
        else
            merge_pair(from + at, left, both, to + at);
    }
}

/* By comparisons; where they stand is where they end. */
static void sort_by_merging(item *items, size_t count, item *others) {
    item *from = items, *to = others;
    for (size_t at = 0; at < count; at += INSERTED)
        sort_few(from + at, count - at < INSERTED ? count - at : INSERTED);
    for (size_t width = INSERTED; width < count; width *= 2) {
        merge_all(from, count, width, to);
        item *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != items) memcpy(items, from, count * sizeof *items);
}

static inline uint32_t byte_of(const item *one, uint32_t shift) {
    return shift == 64 ? one->first : (uint32_t)(one->head >> shift) & 0xff;
}

/* By one byte of head, or the first byte (shift 64), into `to`; equal ones keep their order. */
static void sort_by_byte(const item *from, size_t count, uint32_t shift, item *to) {
    size_t places[256] = {0}, before = 0;
    for (size_t i = 0; i < count; i++) places[byte_of(&from[i], shift)]++;
    for (uint32_t i = 0; i < 256; i++) {
        size_t here = places[i];
        places[i] = before;
        before += here;
    }
    for (size_t i = 0; i < count; i++) to[places[byte_of(&from[i], shift)]++] = from[i];
}

/* Those that are told apart only by what is behind their heads. */
static void sort_rests(item *items, size_t count, item *others) {
    for (size_t at = 0, end; at < count; at = end) {
        for (end = at + 1; end < count; end++)
            if (items[end].first != items[at].first || items[end].head != items[at].head) break;
        if (end - at > 1 && items[at].rest != NULL)
            sort_by_merging(items + at, end - at, others + at);
    }
}

/* The items come in the order of their slots, or of runs of slots. `others` has as much room. */
static void sort_items(item *items, size_t count, item *others) {
    if (count < COUNTED) {
        sort_by_merging(items, count, others);
        return;
    }
    item *from = items, *to = others;
    uint64_t differ = 0, firsts = 0;
    int has_rests = 0;
    for (size_t i = 0; i < count; i++) {
        differ |= items[i].head ^ items[0].head;
        firsts |= (uint64_t)(items[i].first ^ items[0].first);
        has_rests |= items[i].rest != NULL;
    }
    for (uint32_t shift = 0; shift <= 64; shift += 8) {
        if ((shift == 64 ? firsts : differ >> shift & 0xff) == 0) continue;
        sort_by_byte(from, count, shift, to);
        item *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != items) memcpy(items, from, count * sizeof *items);
    if (has_rests) sort_rests(items, count, others);
}

/* Copies the room's items into a run that has none yet. 0: no memory; it has some of them then. */
static int keep_items(mrl_member *member, run *r, const item_room *room) {
    size_t chunks_size;
    r->count = room->count;
    chunks_size = chunk_count(r) * sizeof *r->chunks;
    if ((r->chunks = mrl_alloc(member, MRL_FOR_OTHER, chunks_size)) == NULL) return 0;
    memset(r->chunks, 0, chunks_size);
    for (size_t i = 0; i < chunk_count(r); i++) {
        r->chunks[i] = mrl_alloc(member, MRL_FOR_OTHER, chunk_size(r, i));
        if (r->chunks[i] == NULL) return 0;
        memcpy(r->chunks[i], room->items + i * CHUNK_ITEMS, chunk_size(r, i));
    }
    return 1;
}

static int end_range(mrl_column *column, const mrl_fill_batch *batch) {
    const growing *g = (const growing *)column;
    item_room *room = &g->rooms[batch->worker];
    if (room->count == 0) return 1;
    sort_items(room->items, room->count, room->others);
    int is_kept = keep_items(batch->member, &g->runs[batch->range], room);
    room->count = 0;
    return is_kept;
}

/* ---- parts ---- */

/* A tree on its way: the part that it is given, item by item. */
typedef struct parting {
    growing *g;
    mrl_member *member;
    item_room ends; /* each so many-th of these ends a part */
    size_t next_end;
    item_room room;
    size_t at; /* in the room */
    int is_without_memory;
    uint8_t value[MERLE_VALUE_SIZE_MAX];
} parting;

enum { ENDS_STEP = PART_ITEMS / SAMPLE_EVERY };

/* Some items of all runs, sorted. 0: no memory. */
static int choose_ends(parting *p) {
    size_t all = 0;
    for (uint32_t i = 0; i < p->g->run_count; i++) all += p->g->runs[i].count;
    p->next_end = ENDS_STEP;
    if (all <= PART_ITEMS) return 1;
    if (!make_room(p->member, &p->ends, all / SAMPLE_EVERY + p->g->run_count)) return 0;
    for (uint32_t i = 0; i < p->g->run_count; i++)
        for (size_t at = SAMPLE_EVERY / 2; at < p->g->runs[i].count; at += SAMPLE_EVERY)
            p->ends.items[p->ends.count++] = *item_at(&p->g->runs[i], at);
    sort_by_merging(p->ends.items, p->ends.count, p->ends.others);
    return 1;
}

/* The first of the run's items from `taken` on that are not below the end. */
static size_t find_end(const run *r, const item *end) {
    size_t low = r->taken, high = r->count;
    while (end != NULL && low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_below(item_at(r, middle), end))
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}

/* Moves the run's items from `taken` to before `to` into the room, which is large enough. */
static void take_items(mrl_member *member, run *r, size_t to, item_room *room) {
    while (r->taken < to) {
        size_t number = r->taken / CHUNK_ITEMS, end = (number + 1) * CHUNK_ITEMS;
        size_t until = to < end ? to : end, count = until - r->taken;
        memcpy(&room->items[room->count], item_at(r, r->taken), count * sizeof(item));
        room->count += count;
        r->taken = until;
        if (until == end || until == r->count) free_chunk(member, r, number);
    }
}

/* Puts the next part together. 0: there is none, or no memory for it. */
static int next_part(parting *p) {
    const growing *g = p->g;
    const item *end = p->next_end < p->ends.count ? &p->ends.items[p->next_end] : NULL;
    size_t count = 0;
    p->next_end += ENDS_STEP;
    p->at = p->room.count = 0;
    for (uint32_t i = 0; i < g->run_count; i++)
        count += find_end(&g->runs[i], end) - g->runs[i].taken;
    if (!make_room(p->member, &p->room, count)) {
        p->is_without_memory = 1;
        return 0;
    }
    for (uint32_t i = 0; i < g->run_count; i++)
        take_items(p->member, &g->runs[i], find_end(&g->runs[i], end), &p->room);
    sort_items(p->room.items, p->room.count, p->room.others);
    return p->room.count > 0 || end != NULL;
}

static int next_item(void *context, merle_bytes *out_value, uint32_t *out_slot) {
    parting *p = context;
    while (p->at == p->room.count)
        if (!next_part(p)) return 0;
    const item *at = &p->room.items[p->at++];
    uint64_t head_bytes = __builtin_bswap64(at->head);
    p->value[0] = at->first;
    memcpy(p->value + 1, &head_bytes, sizeof head_bytes);
    if (at->rest != NULL) memcpy(p->value + HEAD_SIZE, at->rest, at->size - (size_t)HEAD_SIZE);
    *out_value = merle_bytes_of(p->value, at->size);
    *out_slot = at->slot;
    return 1;
}

/* ---- the column ---- */

static void free_rooms(const growing *g, mrl_member *member) {
    for (uint32_t i = 0; i < g->worker_count; i++) free_room(member, &g->rooms[i]);
}

static merle_err make_tree(mrl_column *column, mrl_member *member, uint32_t task) {
    growing *g = (growing *)column;
    mrl_root *root = column->filling->root;
    parting p = {.g = g, .member = member};
    (void)task;
    merle_err err = MERLE_NO_MEMORY;
    free_rooms(g, member);
    if (choose_ends(&p)) {
        mrl_ordered *made = column->index == NULL ? mrl_root_expiry(root)
                                                  : root->indexes[column->index->number].ordered;
        err = mrl_ordered_build(made, member, next_item, &p);
        if (p.is_without_memory) err = MERLE_NO_MEMORY;
    }
    free_room(member, &p.ends);
    free_room(member, &p.room);
    for (uint32_t i = 0; i < g->run_count; i++) free_run(member, &g->runs[i]);
    return err;
}

static void destroy(mrl_column *column, mrl_member *member) {
    growing *g = (growing *)column;
    for (uint32_t i = 0; g->runs != NULL && i < g->run_count; i++) free_run(member, &g->runs[i]);
    if (g->runs != NULL) mrl_free(member, MRL_FOR_OTHER, g->runs, g->run_count * sizeof *g->runs);
    if (g->rooms != NULL) {
        free_rooms(g, member);
        mrl_free(member, MRL_FOR_OTHER, g->rooms, g->worker_count * sizeof *g->rooms);
    }
    mrl_free(member, MRL_FOR_OTHER, g, sizeof *g);
}

mrl_column *mrl_column_of_tree(mrl_filling *f, mrl_member *member, const mrl_schema_index *index) {
    static const mrl_column_type type = {note, end_range, make_tree, destroy};
    growing *g = mrl_alloc(member, MRL_FOR_OTHER, sizeof *g);
    if (g == NULL) return NULL;
    *g = (growing){.column = {&type, f, index, 1},
                   .run_count = f->range_count,
                   .worker_count = mrl_crew_size(f->crew)};
    size_t runs_size = g->run_count * sizeof *g->runs;
    size_t rooms_size = g->worker_count * sizeof *g->rooms;
    g->runs = mrl_alloc(member, MRL_FOR_OTHER, runs_size);
    g->rooms = mrl_alloc(member, MRL_FOR_OTHER, rooms_size);
    if (g->runs != NULL) memset(g->runs, 0, runs_size);
    if (g->rooms != NULL) memset(g->rooms, 0, rooms_size);
    if (g->runs != NULL && g->rooms != NULL) return &g->column;
    destroy(&g->column, member);
    return NULL;
}
