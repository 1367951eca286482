/* index/ordered_scan.c - hits of a range, in order, a leaf at a time.
 *
 * A leaf's run is copied, then the leaf's version is looked at again; only then are tails followed.
 * The range of a leaf never changes, and the next leaf is taken while the parent is the same: so no
 * hint that stays is left out or met twice. If something has changed, the scan goes down again to
 * the last hit that it gave.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "index/ordered_private.h"

/* What the tails stand for; the leaf was the same, so they may be followed. */
static void tails_follow(const onode *leaf, mrl_ordered_hit *hits, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t tail = (uint64_t)(uintptr_t)hits[i].bytes;
        if (tail_is_block(tail)) {
            hits[i].bytes = tail_block(tail)->bytes;
            hits[i].size = hits[i].prefix_size = (uint16_t)tail_block(tail)->size;
        } else {
            hits[i].bytes = node_prefix(leaf);
            hits[i].size = (uint16_t)(tail >> 1);
            hits[i].prefix_size = leaf->prefix_size;
        }
    }
}

int mrl_oleaf_copy(const onode *leaf, uint64_t version, uint32_t from, uint32_t to, int direction,
                   mrl_ordered_hit *hits) {
    const _Atomic uint64_t *heads = node_heads(leaf), *tails = node_tails(leaf);
    const _Atomic uint32_t *slots = node_slots(leaf);
    const uint8_t *prefix = node_prefix(leaf);
    uint32_t count = to > from ? to - from : 0, at = direction > 0 ? from : to - 1;
    for (uint32_t i = 0; i < count; i++, at += (uint32_t)direction) {
        hits[i].head = word_load(&heads[at]);
        hits[i].slot = half_load(&slots[at]);
        hits[i].size = leaf->value_size;
        hits[i].prefix_size = leaf->prefix_size;
        hits[i].bytes = prefix;
        if (!leaf->is_plain) hits[i].bytes = (const uint8_t *)(uintptr_t)word_load(&tails[at]);
    }
    mrl_point("ordered.copied");
    if (!node_is_same(leaf, version)) return 0;
    if (!leaf->is_plain) tails_follow(leaf, hits, count);
    return 1;
}

/* Where the scan stands: begin and end are places in the order; forwards from begin to before end,
 * backwards from below end down to begin. */
typedef struct scanning {
    owalk walk;
    okey begin, end;
    int direction;
} scanning;

static void scanning_seek(scanning *s, const mrl_ordered_cursor *c) {
    s->begin = okey_from(&c->range);
    s->end = okey_to(&c->range);
    s->direction = c->is_descending ? -1 : 1;
    okey at = {c->position, c->position_size, c->position_slot, 0};
    /* Between (value, slot) and (value, slot + 1) there is nothing. */
    if (c->has_position && s->direction > 0) s->begin = (okey){at.bytes, at.size, at.slot + 1, 0};
    if (c->has_position && s->direction < 0) s->end = at;
    mrl_owalk_seek(&s->walk, c->tree, s->direction > 0 ? &s->begin : &s->end, s->direction < 0);
}

/* Of the leaf's entries from low to before high, in the scan's direction, which are not certain:
 * with the leaf settled those that are marked, which an older section may still see. To be believed
 * if the leaf is the same afterwards. */
static uint64_t unsure_of(const mrl_ordered_cursor *c, const onode *leaf, uint32_t low,
                          uint32_t high) {
    uint64_t marks = leaf_marks(leaf) >> (low & 63) & bits_below(high - low), turned = 0;
    if (!c->can_be_sure || !touch_is_settled(half_load(&leaf->touched), c->epoch))
        return UINT64_MAX;
    if (!c->is_descending || marks == 0) return marks;
    for (uint32_t i = 0; i < high - low; i++) turned |= (marks >> i & 1) << (high - low - 1 - i);
    return turned;
}

/* Copies the leaf's run, at most max hits. Returns how many, or -1: the leaf has changed.
 * *out_is_last: there is nothing of the range behind the leaf. */
static int leaf_run(const scanning *s, const mrl_ordered_cursor *c, int is_first,
                    mrl_ordered_hit *hits, size_t max, int *out_is_last, uint64_t *out_unsure) {
    const onode *leaf = s->walk.leaf;
    uint64_t version = s->walk.leaf_version;
    int is_equal, low = 0, high = (int)node_count(leaf), count = high;
    if (is_first || s->direction < 0) low = mrl_onode_search(leaf, version, &s->begin, &is_equal);
    if (is_first || s->direction > 0) high = mrl_onode_search(leaf, version, &s->end, &is_equal);
    if (low < 0 || high < 0) return -1;
    /* What was read of a leaf that changes meanwhile may be anything. */
    if (high > leaf->capacity || low > high) low = high = 0;
    *out_is_last = s->direction > 0 ? high < count : low > 0;
    if ((size_t)(high - low) > max) {
        if (s->direction > 0)
            high = low + (int)max;
        else
            low = high - (int)max;
        *out_is_last = 0;
    }
    *out_unsure = unsure_of(c, leaf, (uint32_t)low, (uint32_t)high);
    if (!mrl_oleaf_copy(leaf, version, (uint32_t)low, (uint32_t)high, s->direction, hits))
        return -1;
    return high - low;
}

static void position_note(mrl_ordered_cursor *cursor, const mrl_ordered_hit *hit) {
    mrl_ordered_hit_copy(hit, cursor->position);
    cursor->position_size = hit->size;
    cursor->position_slot = hit->slot;
    cursor->has_position = 1;
}

size_t mrl_ordered_next(mrl_ordered_cursor *cursor, mrl_ordered_hit *hits, size_t max) {
    enum { SHORT_MAX = 8 };
    scanning s;
    size_t count = 0;
    int is_first = 1, is_last = 0;
    uint32_t spins = 0;
    uint64_t unsure = 0;
    cursor->unsure = 0;
    if (max == 0) return 0;
    scanning_seek(&s, cursor);
    if (max > SHORT_MAX) mrl_owalk_prefetch(&s.walk, s.direction);
    for (;;) {
        int run = leaf_run(&s, cursor, is_first, hits + count, max - count, &is_last, &unsure);
        if (run > 0 && count < 64) cursor->unsure |= unsure << count;
        if (run > 0) count += (size_t)run;
        if (run >= 0 && (is_last || count == max)) break;
        int step = run < 0 ? WALK_CHANGED : mrl_owalk_step(&s.walk, s.direction);
        if (step == WALK_END) break;
        is_first = step == WALK_CHANGED;
        if (!is_first) continue;
        mrl_onode_pause(&spins);
        if (count > 0) position_note(cursor, &hits[count - 1]);
        scanning_seek(&s, cursor);
    }
    if (count > 0) position_note(cursor, &hits[count - 1]);
    return count;
}
