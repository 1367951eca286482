/* tags/algebra.h - expressions over tags: all, any, none, nested.
 *
 * What    An expression is a tree that the caller lays out. A walk gives the slots for which it may
 *         be true at S, ascending, each certain or to be rechecked on its version: a superset of
 *         the truth. Everything is computed twice, as "may" and as "sure": none(x) may be true
 *         where x is not sure, and is sure where x may not be.
 *         Slots are taken a window of 4,096 at a time, as words; or, if a set that must contain all
 *         results is small, its members are tried against the rest. Estimates decide.
 * Owns    nothing: expression and walk are the caller's. Nothing is allocated.
 * Threads read section, the one in which the tags were looked up.
 * Limits  MRL_TAGS_DEPTH_MAX levels; a walk has about 2.5 KiB, each level takes 1 KiB of the stack.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TAGS_ALGEBRA_H
#define MRL_TAGS_ALGEBRA_H

#include "tags/set.h"

enum { MRL_TAGS_DEPTH_MAX = 16, MRL_WALK_WORDS = 64, MRL_WALK_LIST_MAX = 256 };

typedef enum mrl_tags_op {
    MRL_TAGS_TAG = 1, /* slots that have the tag */
    MRL_TAGS_ALL,     /* those of all children; without children: all slots */
    MRL_TAGS_ANY,     /* those of any child; without children: none */
    MRL_TAGS_NONE     /* those of no child; without children: all slots */
} mrl_tags_op;

typedef struct mrl_tags_expr mrl_tags_expr;
struct mrl_tags_expr {
    mrl_tags_op op;
    const mrl_tag *tag; /* TAG; NULL: a tag that nobody has */
    const mrl_tags_expr *children;
    uint32_t child_count;
};

/* Two answers for each of up to 64 * MRL_WALK_WORDS slots. */
typedef struct mrl_planes {
    uint64_t may[MRL_WALK_WORDS];
    uint64_t sure[MRL_WALK_WORDS];
} mrl_planes;

/* The slots that the bits of planes stand for. */
typedef struct mrl_lanes {
    uint32_t section_epoch;
    uint32_t word_count;
    const uint32_t *slots; /* ascending; NULL: the window that begins at base */
    uint32_t slot_count;
    uint32_t base;
    /* A tag that all slots come from, with what is sure of it; NULL: none. */
    const struct mrl_tags_expr *known;
    uint64_t known_sure[MRL_WALK_LIST_MAX / 64];
} mrl_lanes;

/* How a walk goes about it. */
typedef enum mrl_walk_way { MRL_WALK_WINDOWS = 1, MRL_WALK_LIST = 2 } mrl_walk_way;

typedef struct mrl_walk {
    const mrl_tags_expr *expr;
    uint32_t bound; /* slots below it */
    uint32_t from;  /* what comes next */
    mrl_walk_way way;
    uint32_t word_at; /* of the planes, what was not given yet */
    int skips;        /* the last window was empty: look where the next one begins */
    mrl_lanes lanes;
    uint32_t slots[MRL_WALK_LIST_MAX];
    mrl_planes planes;
} mrl_walk;

/* Begins at slot `from`. Holds expr until the walk is over. bound: only slots below it, which is
 * what none(...) alone ranges over.
 * Errors: MERLE_INVALID (no such op), MERLE_TOO_BIG (too deep); the walk is empty then. */
MERLE_MUST_USE merle_err mrl_walk_begin(mrl_walk *walk, const mrl_tags_expr *expr, uint32_t bound,
                                        uint32_t section_epoch, uint32_t from);
/* Up to max slots, ascending; recheck as in mrl_run, may be NULL. 0: there are no more. */
size_t mrl_walk_next(mrl_walk *walk, uint32_t *out_slots, uint8_t *out_recheck, size_t max);

/* About how many slots below bound: the smallest of all, the sum of any. Never below what a single
 * child's sets allow. */
uint64_t mrl_tags_estimate(const mrl_tags_expr *expr, uint32_t bound);
/* Exactly how many, at S; what is not certain is handed to visible.
 * Errors: as mrl_walk_begin; *out_count is 0 then. */
MERLE_MUST_USE merle_err mrl_tags_count(const mrl_tags_expr *expr, uint32_t bound,
                                        uint32_t section_epoch, mrl_visible_fn *visible,
                                        void *context, uint64_t *out_count);

/* Fills the planes for one tag, or for a whole expression. */
void mrl_tag_lanes(const mrl_tag *tag, const mrl_lanes *lanes, mrl_planes *out_planes);
void mrl_tags_eval(const mrl_tags_expr *expr, const mrl_lanes *lanes, mrl_planes *out_planes);

#endif
