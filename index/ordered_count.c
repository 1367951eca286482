/* index/ordered_count.c - exact counts for a section, by leaf or by the sum of a node above leaves.
 *
 * Why a count may be taken from a leaf or from a sum is argued in ordered_private.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "index/ordered_private.h"

/* One walk over a range, from its begin on. */
typedef struct tally {
    owalk walk;
    const mrl_ordered_viewer *viewer;
    okey at, end;    /* what is before `at` is counted */
    okey next;       /* where the node that is being counted ends */
    int is_at_fence; /* `at` is where the walk's leaf begins */
    int is_last;     /* the node has no end */
    int is_over;
    int bytes_used; /* which of the two `at` lies in */
    uint64_t count;
    uint64_t wanted; /* stops at this hit */
    mrl_ordered_hit *hit;
    uint8_t bytes[2][MERLE_VALUE_SIZE_MAX];
} tally;

/* Whether all commits that have touched it were over before the section began. */
static int is_settled(const tally *t, uint32_t touched) {
    return touch_is_settled(touched, t->viewer->epoch);
}

/* Notes where the walk's leaf (level 0) or its parent (1) ends. Ranges never change: so this stays
 * true while the node is counted, whatever happens to its parents. 0: seek again. */
static int end_note(tally *t, uint32_t level) {
    int result = mrl_owalk_fence(&t->walk, level, t->bytes[!t->bytes_used], &t->next);
    t->is_last = result == WALK_END;
    return result != WALK_CHANGED;
}

/* All up to the noted end is counted. */
static void end_reach(tally *t) {
    t->is_over |= t->is_last;
    t->bytes_used = !t->bytes_used;
    t->at = t->next;
    t->is_at_fence = 1;
}

/* ---- one leaf ---- */

/* The n-th bit that is set. */
static uint32_t bit_at(uint64_t bits, uint64_t n) {
    while (n-- > 0) bits &= bits - 1;
    return (uint32_t)__builtin_ctzll(bits);
}

/* Counts entries from low to before high. 0: the leaf has changed. */
static int leaf_tally(tally *t, uint32_t low, uint32_t high) {
    const onode *leaf = t->walk.leaf;
    mrl_ordered_hit hits[LEAF_MAX];
    uint32_t touched = half_load(&leaf->touched);
    uint64_t visible = ~leaf_marks(leaf) >> (low & 63) & bits_below(high - low);
    int is_copied = !is_settled(t, touched) || t->hit != NULL;
    if (high <= low) return node_is_same(leaf, t->walk.leaf_version);
    if (!is_copied && !node_is_same(leaf, t->walk.leaf_version)) return 0;
    if (is_copied && !mrl_oleaf_copy(leaf, t->walk.leaf_version, low, high, 1, hits)) return 0;
    if (!is_settled(t, touched))
        visible = t->viewer->visible(t->viewer->context, hits, high - low) & bits_below(high - low);
    uint64_t count = (uint64_t)__builtin_popcountll(visible);
    if (t->hit != NULL && t->count + count > t->wanted) {
        *t->hit = hits[bit_at(visible, t->wanted - t->count)];
        t->is_over = 1;
    }
    t->count += count;
    return 1;
}

/* The walk's leaf, as far as it belongs to the range. */
static int leaf_pass(tally *t) {
    const onode *leaf = t->walk.leaf;
    uint64_t version = t->walk.leaf_version;
    uint32_t count = node_count(leaf);
    int is_equal, low = 0, high;
    if (!t->is_at_fence) low = mrl_onode_search(leaf, version, &t->at, &is_equal);
    high = mrl_onode_search(leaf, version, &t->end, &is_equal);
    if (low < 0 || high < 0 || high > LEAF_MAX || !leaf_tally(t, (uint32_t)low, (uint32_t)high))
        return WALK_CHANGED;
    if ((uint32_t)high < count) t->is_over = 1;
    return WALK_ON;
}

/* ---- the node above ---- */

static uint32_t newest(const tally *t, uint32_t a, uint32_t b) {
    return (int32_t)(t->viewer->epoch - a) < (int32_t)(t->viewer->epoch - b) ? a : b;
}

/* Adds up the unmarked entries of all leaves of a node. Sequentially consistent loads of the
 * leaves' versions: they come behind the token. 0: something has changed. */
static int leaves_sum(const tally *t, const ostep *step, uint64_t *out_sum) {
    const onode *n = step->node;
    uint32_t leaf_count = node_count(n) + 1, touched = 0, sum = 0;
    if (!node_is_same(n, step->version)) return 0;
    for (uint32_t i = 0; i < leaf_count; i++) __builtin_prefetch(node_child(n, i));
    for (uint32_t i = 0; i < leaf_count; i++) {
        const onode *leaf = node_child(n, i);
        if (!node_is_same(n, step->version)) return 0;
        uint64_t version = atomic_load_explicit(&leaf->version, memory_order_seq_cst);
        if ((version & (VERSION_LOCKED | VERSION_OBSOLETE)) != 0) return 0;
        uint32_t of_leaf = half_load(&leaf->touched);
        sum += node_count(leaf) - (uint32_t)__builtin_popcountll(leaf_marks(leaf));
        touched = i == 0 ? of_leaf : newest(t, touched, of_leaf);
        mrl_point("ordered.summing");
        if (!node_is_same(leaf, version)) return 0;
    }
    *out_sum = (uint64_t)touched << 32 | (uint64_t)sum << 2 | SUM_VALID;
    return 1;
}

/* Makes the sum and leaves it with the node, if nobody has changed a leaf meanwhile. */
static int sum_make(tally *t, const ostep *step, uint64_t *out_sum) {
    _Atomic uint64_t *at = &step->node->node_sum;
    uint64_t number = atomic_fetch_add_explicit(&t->walk.tree->token, 1, memory_order_relaxed);
    uint64_t token = number << 2 | SUM_TOKEN, expected = SUM_NONE;
    if (!atomic_compare_exchange_strong_explicit(at, &expected, token, memory_order_seq_cst,
                                                 memory_order_relaxed))
        return 0;
    int is_made = leaves_sum(t, step, out_sum);
    uint64_t sum = is_made && node_is_same(step->node, step->version) ? *out_sum : SUM_NONE;
    /* Release: whoever takes the sum also sees what it was made of. */
    return atomic_compare_exchange_strong_explicit(at, &token, sum, memory_order_release,
                                                   memory_order_relaxed) &&
           sum != SUM_NONE;
}

/* Takes the sum of the walk's leaf's parent, all of which lies in the range. 0: go by leaves. */
static int sum_take(tally *t) {
    const ostep *step = &t->walk.steps[t->walk.depth - 1];
    uint64_t sum = atomic_load_explicit(&step->node->node_sum, memory_order_acquire);
    if ((sum & SUM_KIND) == SUM_TOKEN) return 0;
    if ((sum & SUM_KIND) == SUM_NONE && !sum_make(t, step, &sum)) return 0;
    if (!node_is_same(step->node, step->version)) return 0;
    uint64_t count = (uint32_t)sum >> 2;
    if (!is_settled(t, (uint32_t)(sum >> 32))) return 0;
    if (t->hit != NULL && t->count + count > t->wanted) return 0;
    t->count += count;
    return 1;
}

/* Adds the sums of the step's children from `from` on, as far as they are to be had and before
 * `to`. Returns behind which child it stopped. */
static uint32_t sums_add(const tally *t, const ostep *step, uint32_t from, uint32_t to,
                         uint64_t *inout_count) {
    enum { AHEAD = 6 };
    uint32_t i = from;
    for (; i < to; i++) {
        const onode *child = node_child(step->node, i);
        if (i + AHEAD < to) __builtin_prefetch(node_child(step->node, i + AHEAD));
        if (!node_is_same(step->node, step->version)) return from;
        uint64_t version = atomic_load_explicit(&child->version, memory_order_acquire);
        uint64_t sum = atomic_load_explicit(&child->node_sum, memory_order_acquire);
        uint64_t count = *inout_count + ((uint32_t)sum >> 2);
        if ((version & (VERSION_LOCKED | VERSION_OBSOLETE)) != 0 || !node_is_same(child, version))
            break;
        if ((sum & SUM_KIND) != SUM_VALID || !is_settled(t, (uint32_t)(sum >> 32))) break;
        if (t->hit != NULL && count > t->wanted) break;
        *inout_count = count;
    }
    return i;
}

/* Takes the sums of several nodes in a row, from the leaf's parent on; all that are taken lie in
 * the range. Then the walk stands below the last of them, and its end is noted. 0: there are
 * none. */
static int sums_take(tally *t) {
    if (t->walk.depth < 3) return 0;
    ostep *step = &t->walk.steps[t->walk.depth - 2];
    uint32_t first = step->at;
    uint64_t count = t->count;
    int is_equal, to = mrl_onode_search(step->node, step->version, &t->end, &is_equal);
    if (to < 0 || step->node == t->walk.tree->top) return 0;
    uint32_t stopped = sums_add(t, step, first, (uint32_t)(to + is_equal), &count);
    if (stopped == first) return 0;
    step->at = stopped - 1;
    if (end_note(t, 1)) {
        t->count = count;
        return 1;
    }
    step->at = first;
    return 0;
}

/* Whether all of the leaf's parent lies in the range; then its end is noted. */
static int parent_is_inside(tally *t) {
    const ostep *step = &t->walk.steps[t->walk.depth - 1];
    if (!t->is_at_fence || step->at != 0 || step->node == t->walk.tree->top) return 0;
    if (!end_note(t, 1)) return 0;
    const okey all = {NULL, 0, 0, 1};
    return mrl_okey_compare(t->is_last ? &all : &t->next, &t->end) <= 0;
}

/* ---- all of it ---- */

/* From where the walk is on, as long as nothing changes. */
static void tally_along(tally *t) {
    for (int step = WALK_ON; step == WALK_ON && !t->is_over;) {
        int is_sum = parent_is_inside(t) && (sums_take(t) || sum_take(t));
        if (!is_sum && (!end_note(t, 0) || leaf_pass(t) != WALK_ON)) return;
        end_reach(t);
        if (t->is_over) return;
        if (is_sum) t->walk.depth--;
        step = mrl_owalk_step(&t->walk, 1);
    }
}

static uint64_t tally_run(tally *t, mrl_ordered *tree, const okey *from, const okey *to,
                          const mrl_ordered_viewer *viewer) {
    uint32_t spins = 0;
    t->viewer = viewer;
    t->at = *from;
    t->end = *to;
    t->is_over = t->bytes_used = 0;
    t->count = 0;
    for (; !t->is_over; mrl_onode_pause(&spins)) {
        /* Nodes may have been joined: then `at` lies within one, unless there is nothing before. */
        t->is_at_fence = t->at.size == 0 && !t->at.is_after;
        mrl_owalk_seek(&t->walk, tree, &t->at, 0);
        tally_along(t);
    }
    return t->count;
}

uint64_t mrl_ordered_count(mrl_ordered *tree, const mrl_ordered_range *range,
                           const mrl_ordered_viewer *viewer) {
    tally t;
    okey from = okey_from(range), to = okey_to(range);
    t.hit = NULL;
    return tally_run(&t, tree, &from, &to, viewer);
}

uint64_t mrl_ordered_rank(mrl_ordered *tree, const mrl_ordered_range *range, int is_descending,
                          merle_bytes value, uint32_t slot, const mrl_ordered_viewer *viewer) {
    tally t;
    okey from = okey_from(range), to = okey_to(range), key = okey_of(value, slot);
    t.hit = NULL;
    if (!is_descending) return tally_run(&t, tree, &from, &key, viewer);
    key.slot = slot + 1; /* between the two there is nothing */
    return tally_run(&t, tree, &key, &to, viewer);
}

/* The n-th from the end, for an n that is not large. */
static int nth_back(mrl_ordered *tree, const mrl_ordered_range *range, uint64_t n,
                    const mrl_ordered_viewer *viewer, mrl_ordered_hit *out_hit) {
    uint8_t position[MERLE_VALUE_SIZE_MAX];
    mrl_ordered_hit hits[LEAF_MAX];
    mrl_ordered_cursor cursor;
    size_t count;
    mrl_ordered_cursor_init(&cursor, tree, range, 1, position);
    while ((count = mrl_ordered_next(&cursor, hits, LEAF_MAX)) != 0) {
        uint64_t visible = viewer->visible(viewer->context, hits, count) & bits_below(count);
        uint64_t visible_count = (uint64_t)__builtin_popcountll(visible);
        if (n < visible_count) {
            *out_hit = hits[bit_at(visible, n)];
            return 1;
        }
        n -= visible_count;
    }
    return 0;
}

int mrl_ordered_nth(mrl_ordered *tree, const mrl_ordered_range *range, int is_descending,
                    uint64_t n, const mrl_ordered_viewer *viewer, mrl_ordered_hit *out_hit) {
    enum { BACK_MAX = 512 };
    tally t;
    okey from = okey_from(range), to = okey_to(range);
    if (is_descending && n < BACK_MAX) return nth_back(tree, range, n, viewer, out_hit);
    if (is_descending) {
        /* What a section sees does not change: neither does how much of it there is. */
        uint64_t count = mrl_ordered_count(tree, range, viewer);
        if (n >= count) return 0;
        n = count - 1 - n;
    }
    t.hit = out_hit;
    t.wanted = n;
    return tally_run(&t, tree, &from, &to, viewer) > n;
}

/* ---- about how many ---- */

typedef struct averages {
    double of_leaf; /* entries */
    double fan_out;
} averages;

/* What is below the step's children from `from` to before `to`. A few are looked at, many are about
 * as the average is. */
static double children_estimate(const ostep *step, uint32_t from, uint32_t to, const averages *a) {
    enum { LOOKED_AT_MAX = 16 };
    double each = a->of_leaf, sum = 0;
    if (to <= from) return 0;
    uint32_t level = step->node->level;
    for (uint32_t i = 2; i < level && level != UINT8_MAX; i++) each *= a->fan_out;
    if (level == 1 || level == UINT8_MAX) return (to - from) * each;
    if (to - from > LOOKED_AT_MAX) return (to - from) * each * a->fan_out;
    for (uint32_t i = from; i < to; i++) {
        const onode *child = node_child(step->node, i);
        if (!node_is_same(step->node, step->version)) return (to - from) * each * a->fan_out;
        sum += (node_count(child) + 1) * each;
    }
    return sum;
}

/* What lies between two walks that go to different leaves, without the two leaves. */
static double between(mrl_ordered *tree, const owalk *a, const owalk *b) {
    double leaves = (double)TREE_SUM(tree, leaves), inner = (double)TREE_SUM(tree, inner);
    averages average = {(double)TREE_SUM(tree, entries) / (leaves < 1 ? 1 : leaves),
                        (leaves + inner - 1) / (inner < 1 ? 1 : inner)};
    uint32_t depth = a->depth < b->depth ? a->depth : b->depth;
    double sum = 0;
    for (uint32_t i = depth; i-- > 0;) {
        const ostep *low = &a->steps[i], *high = &b->steps[i];
        if (low->node == high->node)
            return sum + children_estimate(low, low->at + 1, high->at, &average);
        sum += children_estimate(low, low->at + 1, node_count(low->node) + 1, &average);
        sum += children_estimate(high, 0, high->at, &average);
    }
    return sum;
}

uint64_t mrl_ordered_estimate(mrl_ordered *tree, const mrl_ordered_range *range) {
    okey from = okey_from(range), to = okey_to(range);
    owalk a, b;
    for (uint32_t spins = 0;; mrl_onode_pause(&spins)) {
        int is_equal;
        if (mrl_okey_compare(&from, &to) >= 0) return 0;
        mrl_owalk_seek(&a, tree, &from, 0);
        mrl_owalk_seek(&b, tree, &to, 1);
        int low = mrl_onode_search(a.leaf, a.leaf_version, &from, &is_equal);
        int high = mrl_onode_search(b.leaf, b.leaf_version, &to, &is_equal);
        int count = (int)node_count(a.leaf);
        if (low < 0 || high < 0 || !node_is_same(a.leaf, a.leaf_version) ||
            !node_is_same(b.leaf, b.leaf_version))
            continue;
        if (a.leaf == b.leaf) return high > low ? (uint64_t)(high - low) : 0;
        double sum = count - low + high + between(tree, &a, &b);
        return sum < 0 ? 0 : (uint64_t)sum;
    }
}
