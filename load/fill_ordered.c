/* load/fill_ordered.c - ordered indexes in bulk.
 *
 * A task goes over a range of slots and makes a run: the values of its documents, sorted. Then each
 * tree is built from its runs, which are merged on the way. As many trees are made at the same time
 * as there are threads, since a tree is built by one.
 *
 * Sorting compares the first byte and the eight behind it, as numbers: all of a number, which is
 * nine bytes, and most often enough of a text. What a longer value has behind these stands in
 * memory of the run's own, so that no comparison goes back to a document.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "load/fill_private.h"
#include "store/entries.h"
#include "store/expiry.h"

enum { HEAD_SIZE = 9, REST_CHUNK = 64 * 1024 - 64, INSERTED = 8 };

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

typedef struct run {
    item *items;
    size_t count, capacity;
    rest_chunk *rests;
} run;

typedef struct tree {
    const mrl_schema_index *index; /* NULL: the index by time */
    run *runs;                     /* one for each range */
} tree;

typedef struct growing {
    mrl_filling *f;
    uint32_t tree_count;
    tree trees[MERLE_INDEX_COUNT_MAX];
} growing;

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

/* ---- collecting ---- */

typedef struct collecting {
    mrl_filling *f;
    mrl_member *member;
    const mrl_schema_index *index;
    run *run;
    uint32_t slot;
} collecting;

static int grow_run(const collecting *c) {
    run *r = c->run;
    size_t capacity = r->capacity + r->capacity / 2 + 64;
    item *grown = mrl_alloc(c->member, MRL_FOR_OTHER, capacity * sizeof *grown);
    if (grown == NULL) return 0;
    if (r->items != NULL) {
        memcpy(grown, r->items, r->count * sizeof *grown);
        mrl_free(c->member, MRL_FOR_OTHER, r->items, r->capacity * sizeof *grown);
    }
    r->items = grown;
    r->capacity = capacity;
    return 1;
}

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
    item *at;
    if (c->run->count == c->run->capacity && !grow_run(c)) return 1;
    at = &c->run->items[c->run->count];
    *at = (item){.slot = c->slot, .size = (uint16_t)value.size, .first = bytes[0]};
    at->head = mrl_ordered_head_of(bytes + 1, value.size - 1);
    if (value.size > HEAD_SIZE) {
        at->rest = keep_rest(c, bytes + HEAD_SIZE, value.size - HEAD_SIZE);
        if (at->rest == NULL) return 1;
    }
    c->run->count++;
    return 0;
}

static int collect_moment(collecting *c, const mrl_version *v) {
    uint8_t value[MRL_EXPIRY_SIZE];
    int64_t expires_ns = mrl_version_expires(v);
    if (expires_ns == 0) return 0;
    mrl_expiry_encode(expires_ns, value);
    return collect_value(c, merle_bytes_of(value, sizeof value));
}

static int collect(void *context, const mrl_version *v) {
    collecting *c = context;
    c->slot = v->slot;
    int failed =
        c->index == NULL ? collect_moment(c, v) : mrl_entries_each(v, c->index, collect_value, c);
    if (!failed) return 1;
    mrl_filling_fail(c->f, MERLE_NO_MEMORY);
    return 0;
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

/* 0: no memory. */
static int sort_run(mrl_member *member, run *r) {
    if (r->count < 2) return 1;
    item *from = r->items;
    item *to = mrl_alloc(member, MRL_FOR_OTHER, r->capacity * sizeof *to);
    if (to == NULL) return 0;
    for (size_t at = 0; at < r->count; at += INSERTED)
        sort_few(from + at, r->count - at < INSERTED ? r->count - at : INSERTED);
    for (size_t width = INSERTED; width < r->count; width *= 2) {
        merge_all(from, r->count, width, to);
        item *swapped = from;
        from = to;
        to = swapped;
    }
    mrl_free(member, MRL_FOR_OTHER, to, r->capacity * sizeof *to);
    r->items = from;
    return 1;
}

static void free_run(mrl_member *member, run *r) {
    if (r->items != NULL) mrl_free(member, MRL_FOR_OTHER, r->items, r->capacity * sizeof *r->items);
    for (rest_chunk *chunk = r->rests, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        mrl_free(member, MRL_FOR_OTHER, chunk, sizeof *chunk + chunk->size);
    }
    *r = (run){NULL, 0, 0, NULL};
}

static void collect_range(void *context, mrl_member *member, uint32_t worker, uint32_t task) {
    growing *g = context;
    uint32_t range = task % g->f->range_count;
    tree *t = &g->trees[task / g->f->range_count];
    collecting c = {g->f, member, t->index, &t->runs[range], 0};
    if (mrl_filling_is_over(g->f)) return;
    mrl_filling_each(g->f, range, MRL_FILL_LINES, collect, &c);
    if (!sort_run(member, c.run)) mrl_filling_fail(g->f, MERLE_NO_MEMORY);
    mrl_filling_tell(g->f, worker);
}

/* ---- merging runs into a tree ---- */

typedef struct head {
    const item *at, *end;
} head;

/* A heap of the runs that have something left, the one with the smallest item on top. */
typedef struct merging {
    head *heads;
    size_t count;
    uint8_t value[MERLE_VALUE_SIZE_MAX];
} merging;

static void sift_down(merging *m, size_t at) {
    head moved = m->heads[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= m->count) break;
        if (child + 1 < m->count && is_below(m->heads[child + 1].at, m->heads[child].at)) child++;
        if (!is_below(m->heads[child].at, moved.at)) break;
        m->heads[at] = m->heads[child];
        at = child;
    }
    m->heads[at] = moved;
}

static int next_item(void *context, merle_bytes *out_value, uint32_t *out_slot) {
    merging *m = context;
    if (m->count == 0) return 0;
    const item *at = m->heads[0].at;
    uint64_t head_bytes = __builtin_bswap64(at->head);
    m->value[0] = at->first;
    memcpy(m->value + 1, &head_bytes, sizeof head_bytes);
    if (at->rest != NULL) memcpy(m->value + HEAD_SIZE, at->rest, at->size - (size_t)HEAD_SIZE);
    *out_value = merle_bytes_of(m->value, at->size);
    *out_slot = at->slot;
    if (++m->heads[0].at == m->heads[0].end) m->heads[0] = m->heads[--m->count];
    if (m->count > 0) sift_down(m, 0);
    return 1;
}

static void build_tree(void *context, mrl_member *member, uint32_t worker, uint32_t task) {
    growing *g = context;
    const tree *t = &g->trees[task];
    uint32_t range_count = g->f->range_count;
    (void)worker;
    if (mrl_filling_is_over(g->f)) return;
    merging m = {.heads = mrl_alloc(member, MRL_FOR_OTHER, range_count * sizeof *m.heads)};
    if (m.heads == NULL) {
        mrl_filling_fail(g->f, MERLE_NO_MEMORY);
        return;
    }
    for (uint32_t i = 0; i < range_count; i++)
        if (t->runs[i].count > 0)
            m.heads[m.count++] = (head){t->runs[i].items, t->runs[i].items + t->runs[i].count};
    for (size_t i = m.count / 2; i-- > 0;) sift_down(&m, i);
    mrl_ordered *made = t->index == NULL ? mrl_root_expiry(g->f->root)
                                         : g->f->root->indexes[t->index->number].ordered;
    merle_err err = mrl_ordered_build(made, member, next_item, &m);
    mrl_free(member, MRL_FOR_OTHER, m.heads, range_count * sizeof *m.heads);
    if (err != MERLE_OK) mrl_filling_fail(g->f, err);
}

/* ---- some trees ---- */

static void free_trees(growing *g, mrl_member *member) {
    for (uint32_t i = 0; i < g->tree_count; i++) {
        for (uint32_t range = 0; range < g->f->range_count; range++)
            free_run(member, &g->trees[i].runs[range]);
        mrl_free(member, MRL_FOR_OTHER, g->trees[i].runs, g->f->range_count * sizeof(run));
    }
}

static int add_tree(growing *g, mrl_member *member, const mrl_schema_index *index) {
    tree *t = &g->trees[g->tree_count];
    size_t runs_size = g->f->range_count * sizeof(run);
    if ((t->runs = mrl_alloc(member, MRL_FOR_OTHER, runs_size)) == NULL) {
        mrl_filling_fail(g->f, MERLE_NO_MEMORY);
        return 0;
    }
    memset(t->runs, 0, runs_size);
    t->index = index;
    g->tree_count++;
    return 1;
}

static void make_trees(growing *g, mrl_member *member) {
    mrl_crew_run(g->f->crew, member, collect_range, g, g->tree_count * g->f->range_count);
    mrl_crew_run(g->f->crew, member, build_tree, g, g->tree_count);
    free_trees(g, member);
}

uint32_t mrl_fill_ordered(mrl_filling *f, mrl_member *member, uint32_t first) {
    growing g = {.f = f};
    uint32_t number = first;
    if (f->range_count == 0) return f->schema->index_count;
    for (; number < f->schema->index_count && g.tree_count < mrl_crew_size(f->crew); number++)
        if (mrl_index_has_tree(&f->schema->indexes[number]) &&
            !add_tree(&g, member, &f->schema->indexes[number]))
            break;
    make_trees(&g, member);
    return number;
}

void mrl_fill_expiry(mrl_filling *f, mrl_member *member) {
    growing g = {.f = f};
    if (mrl_root_expiry(f->root) == NULL || f->range_count == 0) return;
    if (add_tree(&g, member, NULL)) make_trees(&g, member);
    mrl_expiry_enable(f->root->collection->store);
    /* Whatever there is may have come due while nobody looked. */
    mrl_expiry_wake(f->root, 1);
}
