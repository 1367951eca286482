/* tags/walk.c - going through the slots of an expression.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "tags/tags_private.h"

/* ---- what an expression's results must be among ---- */

#define CANNOT_DRIVE UINT64_MAX

/* How many slots have to be tried if this expression gives the candidates. */
static uint64_t drive_cost(const mrl_tags_expr *expr) {
    uint64_t cost = expr->op == MRL_TAGS_ALL ? CANNOT_DRIVE : 0;
    if (expr->op == MRL_TAGS_TAG) return expr->tag == NULL ? 0 : MRL_GET(&expr->tag->entry_count);
    if (expr->op == MRL_TAGS_NONE) return CANNOT_DRIVE;
    for (uint32_t i = 0; i < expr->child_count; i++) {
        uint64_t of_child = drive_cost(&expr->children[i]);
        if (expr->op == MRL_TAGS_ALL && of_child < cost) cost = of_child;
        if (expr->op == MRL_TAGS_ANY && of_child == CANNOT_DRIVE) return CANNOT_DRIVE;
        if (expr->op == MRL_TAGS_ANY) cost += of_child;
    }
    return cost;
}

static const mrl_tags_expr *cheapest_child(const mrl_tags_expr *expr) {
    const mrl_tags_expr *cheapest = &expr->children[0];
    for (uint32_t i = 1; i < expr->child_count; i++)
        if (drive_cost(&expr->children[i]) < drive_cost(cheapest)) cheapest = &expr->children[i];
    return cheapest;
}

/* Candidates below *upto, as many as were asked for: all there are in [from, *upto). */
typedef struct candidates {
    uint32_t slots[MRL_WALK_LIST_MAX];
    uint32_t count;
    uint32_t upto;
} candidates;

/* Both ascending; what does not fit, or lies beyond where either of them ends, is left for
 * later. */
static void unite(candidates *into, const candidates *other) {
    uint32_t merged[MRL_WALK_LIST_MAX], count = 0, i = 0, j = 0;
    uint32_t upto = into->upto < other->upto ? into->upto : other->upto;
    while (i < into->count || j < other->count) {
        uint32_t left = i < into->count ? into->slots[i] : MRL_TAGS_END;
        uint32_t right = j < other->count ? other->slots[j] : MRL_TAGS_END;
        uint32_t slot = left < right ? left : right;
        if (slot >= upto) break;
        if (count == MRL_WALK_LIST_MAX) {
            upto = slot;
            break;
        }
        merged[count++] = slot;
        i += left == slot;
        j += right == slot;
    }
    memcpy(into->slots, merged, count * sizeof merged[0]);
    into->count = count;
    into->upto = upto;
}

static void drive_tag(mrl_walk *walk, const mrl_tags_expr *expr) {
    mrl_lanes *lanes = &walk->lanes;
    uint8_t recheck[MRL_WALK_LIST_MAX];
    mrl_run run = {.section_epoch = lanes->section_epoch,
                   .from = walk->from,
                   .last = walk->bound - 1,
                   .slots = walk->slots,
                   .recheck = recheck,
                   .max = MRL_WALK_LIST_MAX};
    mrl_tag_read(expr->tag, &run);
    memset(lanes->known_sure, 0, sizeof lanes->known_sure);
    for (size_t i = 0; i < run.count; i++)
        lanes->known_sure[i / 64] |= (uint64_t)!recheck[i] << (i % 64);
    lanes->known = expr;
    lanes->slot_count = (uint32_t)run.count;
    walk->from = run.from;
}

static void drive(const mrl_tags_expr *expr, uint32_t section_epoch, uint32_t from, uint32_t last,
                  candidates *out) {
    while (expr->op == MRL_TAGS_ALL) expr = cheapest_child(expr);
    out->count = 0;
    out->upto = MRL_TAGS_END;
    if (expr->op == MRL_TAGS_TAG) {
        mrl_run run = {.section_epoch = section_epoch, .from = from, .last = last};
        run.slots = out->slots;
        run.max = MRL_WALK_LIST_MAX;
        mrl_tag_read(expr->tag, &run);
        out->count = (uint32_t)run.count;
        out->upto = run.from;
        return;
    }
    for (uint32_t i = 0; i < expr->child_count; i++) {
        candidates of_child;
        drive(&expr->children[i], section_epoch, from, last, &of_child);
        unite(out, &of_child);
    }
}

/* ---- windows ---- */

/* No slot from `from` on is in the set before the one that this gives. */
static uint32_t next_slot(const mrl_tags_expr *expr, uint32_t section_epoch, uint32_t from) {
    uint32_t slot, next = expr->op == MRL_TAGS_ANY ? MRL_TAGS_END : from;
    mrl_run run = {.section_epoch = section_epoch, .from = from, .slots = &slot, .max = 1};
    if (expr->op == MRL_TAGS_NONE) return from;
    if (expr->op == MRL_TAGS_TAG) {
        run.last = MRL_TAGS_END;
        mrl_tag_read(expr->tag, &run);
        return run.count == 1 ? slot : MRL_TAGS_END;
    }
    for (uint32_t i = 0; i < expr->child_count; i++) {
        uint32_t of_child = next_slot(&expr->children[i], section_epoch, from);
        if (expr->op == MRL_TAGS_ALL ? of_child > next : of_child < next) next = of_child;
    }
    return next;
}

/* Takes the lanes away that stand for slots outside [from, bound). */
static void cut_window(mrl_walk *walk) {
    uint32_t base = walk->lanes.base;
    for (uint32_t w = 0; w < MRL_WALK_WORDS; w++) {
        uint32_t first = base + w * 64;
        uint64_t mask = ~(uint64_t)0;
        if (walk->from > first) mask = walk->from - first >= 64 ? 0 : mask << (walk->from - first);
        if (walk->bound <= first)
            mask = 0;
        else if (walk->bound - first < 64)
            mask &= ~(~(uint64_t)0 << (walk->bound - first));
        walk->planes.may[w] &= mask;
    }
}

static int load_window(mrl_walk *walk) {
    uint64_t found = 0;
    if (walk->skips) {
        uint32_t next = next_slot(walk->expr, walk->lanes.section_epoch, walk->from);
        if (next >= walk->bound) return 0;
        walk->from = next;
    }
    walk->lanes.base = walk->from & ~(uint32_t)(MRL_WINDOW_SLOTS - 1);
    mrl_tags_eval(walk->expr, &walk->lanes, &walk->planes);
    cut_window(walk);
    for (uint32_t w = 0; w < MRL_WALK_WORDS; w++) found |= walk->planes.may[w];
    walk->skips = found == 0;
    uint32_t next = walk->lanes.base + MRL_WINDOW_SLOTS;
    walk->from = next < walk->lanes.base ? MRL_TAGS_END : next;
    return 1;
}

static void load_list(mrl_walk *walk) {
    const mrl_tags_expr *expr = walk->expr;
    mrl_lanes *lanes = &walk->lanes;
    while (expr->op == MRL_TAGS_ALL) expr = cheapest_child(expr);
    if (expr->op == MRL_TAGS_TAG) {
        drive_tag(walk, expr);
    } else {
        candidates found;
        drive(expr, lanes->section_epoch, walk->from, walk->bound - 1, &found);
        walk->from = found.upto;
        memcpy(walk->slots, found.slots, found.count * sizeof found.slots[0]);
        lanes->slot_count = found.count;
    }
    lanes->slots = walk->slots;
    lanes->word_count = (lanes->slot_count + 63) / 64;
    if (lanes->slot_count == 0) return;
    mrl_tags_eval(walk->expr, lanes, &walk->planes);
    uint32_t left = lanes->slot_count % 64;
    if (left != 0) walk->planes.may[lanes->word_count - 1] &= ((uint64_t)1 << left) - 1;
}

/* ---- the walk ---- */

static merle_err check_expr(const mrl_tags_expr *expr, uint32_t depth) {
    merle_err err = MERLE_OK;
    if (depth == MRL_TAGS_DEPTH_MAX) return MERLE_TOO_BIG;
    if (expr->op < MRL_TAGS_TAG || expr->op > MRL_TAGS_NONE) return MERLE_INVALID;
    if (expr->op == MRL_TAGS_TAG) return MERLE_OK;
    for (uint32_t i = 0; i < expr->child_count && err == MERLE_OK; i++)
        err = check_expr(&expr->children[i], depth + 1);
    return err;
}

enum { WINDOW_COST = 8 /* to go through a window costs as much as to try so many candidates */ };

merle_err mrl_walk_begin(mrl_walk *walk, const mrl_tags_expr *expr, uint32_t bound,
                         uint32_t section_epoch, uint32_t from) {
    walk->bound = 0;
    walk->from = MRL_TAGS_END;
    walk->word_at = walk->lanes.word_count = 0;
    merle_err err = check_expr(expr, 0);
    if (err != MERLE_OK) return err;
    walk->expr = expr;
    walk->bound = bound;
    walk->from = from;
    walk->skips = 1;
    walk->lanes = (mrl_lanes){.section_epoch = section_epoch};
    uint64_t window_count = (uint64_t)bound / MRL_WINDOW_SLOTS + 1;
    int is_small = drive_cost(expr) <= window_count * WINDOW_COST;
    walk->way = is_small ? MRL_WALK_LIST : MRL_WALK_WINDOWS;
    return MERLE_OK;
}

/* Loads what comes next; 0: nothing does. */
static int load(mrl_walk *walk) {
    if (walk->from >= walk->bound || walk->from == MRL_TAGS_END) return 0;
    walk->word_at = 0;
    walk->lanes.word_count = MRL_WALK_WORDS;
    if (walk->way == MRL_WALK_LIST) {
        load_list(walk);
        return 1;
    }
    int has_more = load_window(walk);
    if (!has_more) {
        walk->from = MRL_TAGS_END;
        walk->lanes.word_count = 0;
    }
    return has_more;
}

size_t mrl_walk_next(mrl_walk *walk, uint32_t *out_slots, uint8_t *out_recheck, size_t max) {
    size_t count = 0;
    while (count < max) {
        uint32_t w = walk->word_at;
        if (w >= walk->lanes.word_count) {
            if (!load(walk)) break;
            continue;
        }
        uint64_t bits = walk->planes.may[w];
        while (bits != 0 && count < max) {
            uint32_t lane = w * 64 + (uint32_t)__builtin_ctzll(bits);
            if (out_recheck != NULL)
                out_recheck[count] = !(walk->planes.sure[w] >> (lane % 64) & 1);
            out_slots[count++] =
                walk->lanes.slots != NULL ? walk->slots[lane] : walk->lanes.base + lane;
            bits &= bits - 1;
        }
        walk->planes.may[w] = bits;
        if (bits == 0) walk->word_at++;
    }
    return count;
}
