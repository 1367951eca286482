/* bench/system_btree.c - the floor under ranges: a bare B+tree over scores, documents prefetched.
 *
 * What    leaves of 32 pairs of an 8-byte key and the number of a document, linked both ways; above
 *         them nodes of up to 32 children. Equal keys may stand anywhere next to each other. A
 *         query collects the numbers of its run, then touches the documents, 16 ahead.
 * Owns    its nodes; the documents are bare.h's.
 * Sees    no versions, no locks, no removal: what an ordered index costs by itself.
 * Threads reads: any, while nobody inserts. Writes: one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "bench/bare.h"
#include "bench/common/measure.h"

#define FANOUT 32u
#define HEIGHT_MAX 16u
#define RUN_MAX 512u

typedef struct leaf {
    uint64_t keys[FANOUT];
    uint32_t ids[FANOUT];
    struct leaf *next;
    struct leaf *before;
    uint32_t count;
} leaf;

typedef struct node {
    uint64_t keys[FANOUT]; /* keys[i]: nothing below children[i] is greater; the last has no key */
    void *children[FANOUT];
    uint32_t count; /* of children */
} node;

static void *root;
static unsigned height; /* levels of nodes above the leaves */
static leaf *first;

static void *node_alloc(size_t size) {
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (memory == NULL) bench_die("btree: no memory");
    memset(memory, 0, size);
    return memory;
}

static void btree_open(const bench_setup *setup) {
    (void)setup;
    bench_bare_open();
    first = node_alloc(sizeof *first);
    root = first;
    height = 0;
}

static void subtree_free(void *at, unsigned levels) {
    if (levels > 0) {
        node *above = at;
        for (uint32_t i = 0; i < above->count; i++) subtree_free(above->children[i], levels - 1);
    }
    free(at);
}

static void btree_close(void) {
    subtree_free(root, height);
    bench_bare_close();
}

static void *btree_thread_begin(void) {
    return NULL;
}
static void btree_thread_end(void *thread) {
    (void)thread;
}

/* ---- finding: how many of the keys are lower than wanted, without branches ---- */

static inline uint32_t place_of(const uint64_t *keys, uint32_t count, uint64_t wanted) {
    uint32_t place = 0;
    for (uint32_t i = 0; i < count; i++) place += keys[i] < wanted;
    return place;
}

/* The leaf with the first key that is not below wanted, or the one before it; fills the way. */
static leaf *leaf_find(uint64_t wanted, node **way, uint32_t *places) {
    void *at = root;
    for (unsigned level = 0; level < height; level++) {
        node *above = at;
        uint32_t place = place_of(above->keys, above->count - 1, wanted);
        if (way != NULL) {
            way[level] = above;
            places[level] = place;
        }
        at = above->children[place];
    }
    return at;
}

/* ---- inserting ---- */

/* Puts a child to the right of the one at `place`, which has nothing greater than `most` now. */
static void child_put(node *above, uint32_t place, uint64_t most, void *child) {
    uint32_t after = above->count - place - 1;
    memmove(above->keys + place + 1, above->keys + place, after * sizeof *above->keys);
    memmove(above->children + place + 2, above->children + place + 1,
            after * sizeof *above->children);
    above->keys[place] = most;
    above->children[place + 1] = child;
    above->count++;
}

/* Moves the upper half away; the key that parts the halves goes up. */
static node *node_split(node *full, uint64_t *out_most) {
    node *right = node_alloc(sizeof *right);
    right->count = FANOUT / 2;
    full->count = FANOUT - right->count;
    memcpy(right->keys, full->keys + full->count, (right->count - 1) * sizeof *right->keys);
    memcpy(right->children, full->children + full->count, right->count * sizeof *right->children);
    *out_most = full->keys[full->count - 1];
    return right;
}

static void parents_put(node **way, uint32_t *places, unsigned level, uint64_t most, void *child) {
    while (level > 0) {
        node *above = way[--level];
        uint32_t place = places[level];
        if (above->count < FANOUT) {
            child_put(above, place, most, child);
            return;
        }
        uint64_t parting;
        node *right = node_split(above, &parting);
        if (place < above->count) {
            child_put(above, place, most, child);
        } else {
            child_put(right, place - above->count, most, child);
        }
        most = parting;
        child = right;
    }
    node *top = node_alloc(sizeof *top);
    top->children[0] = root;
    top->children[1] = child;
    top->keys[0] = most;
    top->count = 2;
    root = top;
    if (++height > HEIGHT_MAX) bench_die("btree: too high");
}

static leaf *leaf_split(leaf *full) {
    leaf *right = node_alloc(sizeof *right);
    right->count = FANOUT / 2;
    full->count = FANOUT - right->count;
    memcpy(right->keys, full->keys + full->count, right->count * sizeof *right->keys);
    memcpy(right->ids, full->ids + full->count, right->count * sizeof *right->ids);
    right->next = full->next;
    right->before = full;
    if (right->next != NULL) right->next->before = right;
    full->next = right;
    return right;
}

static void pair_put(leaf *into, uint64_t key, uint32_t id) {
    uint32_t place = place_of(into->keys, into->count, key);
    uint32_t after = into->count - place;
    memmove(into->keys + place + 1, into->keys + place, after * sizeof *into->keys);
    memmove(into->ids + place + 1, into->ids + place, after * sizeof *into->ids);
    into->keys[place] = key;
    into->ids[place] = id;
    into->count++;
}

static bench_answer btree_insert(void *thread, const bench_record *record) {
    node *way[HEIGHT_MAX];
    uint32_t places[HEIGHT_MAX];
    leaf *into = leaf_find(record->score, way, places);
    uint32_t id = bench_bare_add(record);
    (void)thread;
    if (into->count == FANOUT) {
        leaf *right = leaf_split(into);
        uint64_t most = into->keys[into->count - 1];
        parents_put(way, places, height, most, right);
        if (record->score > most) into = right;
    }
    pair_put(into, record->score, id);
    return BENCH_YES;
}

/* ---- building in bulk ---- */

typedef struct pair {
    uint32_t score;
    uint32_t id;
} pair;

/* Sorts by 16 bits of the score, those of the same bits staying in their order. */
static void pairs_sort(const pair *from, pair *to, uint32_t count, unsigned shift) {
    uint32_t *places = bench_alloc(65537 * sizeof *places);
    for (uint32_t i = 0; i < count; i++) places[(from[i].score >> shift & 0xffff) + 1]++;
    for (uint32_t digit = 0; digit < 65536; digit++) places[digit + 1] += places[digit];
    for (uint32_t i = 0; i < count; i++) to[places[from[i].score >> shift & 0xffff]++] = from[i];
    free(places);
}

static void leaves_fill(const pair *sorted, uint32_t count, void **out_children,
                        uint64_t *out_mosts) {
    leaf *before = NULL;
    for (uint32_t at = 0, c = 0; at < count || c == 0; c++) {
        leaf *one = c == 0 ? first : node_alloc(sizeof *one);
        for (one->count = 0; one->count < FANOUT && at < count; at++) {
            one->keys[one->count] = sorted[at].score;
            one->ids[one->count++] = sorted[at].id;
        }
        one->before = before;
        if (before != NULL) before->next = one;
        before = one;
        out_children[c] = one;
        out_mosts[c] = at > 0 ? sorted[at - 1].score : 0;
    }
}

/* Puts nodes above the children, which they replace; gives how many. */
static uint32_t level_fill(void **children, uint64_t *mosts, uint32_t count) {
    uint32_t above_count = 0;
    for (uint32_t at = 0; at < count;) {
        node *above = node_alloc(sizeof *above);
        for (; above->count < FANOUT && at < count; at++) {
            above->keys[above->count] = mosts[at];
            above->children[above->count++] = children[at];
        }
        mosts[above_count] = mosts[at - 1];
        children[above_count++] = above;
    }
    return above_count;
}

void bench_btree_fill(void) {
    uint32_t count = bench_bare_count;
    pair *pairs = malloc(2 * (size_t)count * sizeof *pairs);
    uint32_t child_count = count == 0 ? 1 : (count + FANOUT - 1) / FANOUT;
    void **children = malloc(child_count * sizeof *children);
    uint64_t *mosts = malloc(child_count * sizeof *mosts);
    size_t size;
    if (pairs == NULL || children == NULL || mosts == NULL) bench_die("btree: no memory");
    for (uint32_t id = 0; id < count; id++) {
        if (id + BENCH_BARE_AHEAD < count) bench_bare_ask(id + BENCH_BARE_AHEAD);
        pairs[id] = (pair){(uint32_t)bench_score_read(bench_bare_bytes(id), &size), id};
    }
    pairs_sort(pairs, pairs + count, count, 0);
    pairs_sort(pairs + count, pairs, count, 16);
    leaves_fill(pairs, count, children, mosts);
    while (child_count > 1) {
        child_count = level_fill(children, mosts, child_count);
        if (++height > HEIGHT_MAX) bench_die("btree: too high");
    }
    root = children[0];
    free(pairs);
    free(children);
    free(mosts);
}

/* ---- queries ---- */

static void btree_range(void *thread, uint64_t score_from, uint64_t score_to,
                        bench_sight *out_sight) {
    uint32_t ids[RUN_MAX];
    uint32_t count = 0;
    leaf *at = leaf_find(score_from, NULL, NULL);
    uint32_t place = place_of(at->keys, at->count, score_from);
    (void)thread;
    for (; at != NULL; at = at->next, place = 0) {
        if (at->next != NULL) __builtin_prefetch(at->next);
        for (; place < at->count && at->keys[place] < score_to; place++) {
            if (count == RUN_MAX) bench_die("btree: a range has more than %u documents", RUN_MAX);
            ids[count++] = at->ids[place];
        }
        if (place < at->count) break;
    }
    bench_bare_touch(ids, count, out_sight);
}

static void btree_top(void *thread, uint64_t score, size_t most, bench_sight *out_sight) {
    uint32_t ids[RUN_MAX];
    uint32_t count = 0;
    leaf *at = leaf_find(score + 1, NULL, NULL);
    uint32_t place = place_of(at->keys, at->count, score + 1);
    (void)thread;
    if (most > RUN_MAX) bench_die("btree: at most the %u highest", RUN_MAX);
    for (;;) {
        for (; place > 0 && count < most; place--) ids[count++] = at->ids[place - 1];
        if (count == most || at->before == NULL) break;
        at = at->before;
        place = at->count;
        if (at->before != NULL) __builtin_prefetch(at->before);
    }
    bench_bare_touch(ids, count, out_sight);
}

static uint64_t btree_count(void *thread) {
    uint64_t count = 0;
    (void)thread;
    for (const leaf *at = first; at != NULL; at = at->next) count += at->count;
    return count;
}

const bench_system bench_btree = {
    .name = "btree",
    .about = "a bare B+tree over the scores, fan-out 32; documents prefetched 16 ahead",
    .reader_max = 64,
    .writer_max = 1,
    .open = btree_open,
    .close = btree_close,
    .thread_begin = btree_thread_begin,
    .thread_end = btree_thread_end,
    .insert = btree_insert,
    .range = btree_range,
    .top = btree_top,
    .count = btree_count,
};
