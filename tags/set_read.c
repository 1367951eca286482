/* tags/set_read.c - reading the set of one tag without a lock.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "tags/array.h"
#include "tags/bitmap.h"

static const mrl_array *as_array(const mrl_span *span) {
    return (const mrl_array *)(const void *)span;
}
static const mrl_bitmap *as_bitmap(const mrl_span *span) {
    return (const mrl_bitmap *)(const void *)span;
}

/* The spans of a root from some slot on. */
typedef struct span_walk {
    mrl_root *root;
    uint32_t at, count;
} span_walk;

static span_walk spans_from(mrl_root *root, uint32_t from) {
    span_walk walk = {root, 0, 0};
    if (root == NULL) return walk;
    walk.count = 1;
    if (root->form != MRL_FORM_DIRECTORY) return walk;
    walk.count = root->directory.count;
    walk.at = mrl_directory_search(&root->directory, from);
    walk.at -= walk.at > 0;
    return walk;
}

static mrl_span *spans_next(span_walk *walk) {
    if (walk->at == walk->count) return NULL;
    if (walk->root->form != MRL_FORM_DIRECTORY) {
        walk->at++;
        return &walk->root->span;
    }
    return mrl_directory_at(&walk->root->directory, walk->at++);
}

static void span_read(const mrl_span *span, mrl_run *run) {
    if (span->form == MRL_FORM_BITMAP)
        mrl_bitmap_read(as_bitmap(span), run);
    else
        mrl_array_read(as_array(span), run);
}

/* ---- slots in order ---- */

void mrl_tag_read(const mrl_tag *tag, mrl_run *run) {
    if (run->from > run->last) run->from = MRL_TAGS_END;
    if (tag == NULL || run->from == MRL_TAGS_END) {
        run->from = MRL_TAGS_END;
        return;
    }
    span_walk walk = spans_from(mrl_tag_root(tag), run->from);
    const mrl_span *span;
    while ((span = spans_next(&walk)) != NULL && span->base <= run->last) {
        if (mrl_span_last(span) < run->from) continue;
        if (run->count == run->max) {
            if (run->from < span->base) run->from = span->base;
            return;
        }
        span_read(span, run);
        if (run->from > run->last) break;
        if (run->count == run->max && mrl_span_covers(span, run->from)) return;
    }
    run->from = MRL_TAGS_END;
}

/* ---- counts ---- */

uint64_t mrl_tag_estimate(const mrl_tag *tag) {
    return tag == NULL ? 0 : MRL_GET(&tag->live_count);
}

enum { COUNT_BATCH = 256 };

/* Of a span that is not settled. */
static uint64_t count_visible(const mrl_span *span, uint32_t section_epoch, mrl_visible_fn *visible,
                              void *context) {
    uint32_t slots[COUNT_BATCH];
    mrl_run run = {.section_epoch = section_epoch, .slots = slots, .max = COUNT_BATCH};
    uint64_t count = 0;
    run.from = span->base;
    run.last = mrl_span_last(span);
    while (run.from <= run.last && run.from != MRL_TAGS_END) {
        run.count = 0;
        span_read(span, &run);
        if (run.count > 0) count += visible(context, slots, run.count);
    }
    return count;
}

uint64_t mrl_tag_count(const mrl_tag *tag, uint32_t section_epoch, mrl_visible_fn *visible,
                       void *context) {
    uint64_t count = 0;
    if (tag == NULL) return 0;
    span_walk walk = spans_from(mrl_tag_root(tag), 0);
    const mrl_span *span;
    while ((span = spans_next(&walk)) != NULL) {
        uint32_t touched, live;
        if (span->form == MRL_FORM_BITMAP)
            live = mrl_bitmap_live(as_bitmap(span), &touched);
        else
            live = mrl_array_live(as_array(span), &touched);
        if (mrl_is_settled(touched, section_epoch))
            count += live;
        else
            count += count_visible(span, section_epoch, visible, context);
    }
    return count;
}

/* ---- lanes ---- */

static void window_lanes(const mrl_tag *tag, const mrl_lanes *lanes, mrl_planes *out) {
    const mrl_span *span = mrl_root_find(mrl_tag_root(tag), lanes->base);
    if (span == NULL) return;
    if (span->form == MRL_FORM_BITMAP) {
        mrl_bitmap_window(as_bitmap(span), lanes->section_epoch, out);
        return;
    }
    uint32_t slots[MRL_ARRAY_MAX];
    uint8_t recheck[MRL_ARRAY_MAX];
    mrl_run run = {.section_epoch = lanes->section_epoch,
                   .from = lanes->base,
                   .last = lanes->base + MRL_WINDOW_SLOTS - 1,
                   .slots = slots,
                   .recheck = recheck,
                   .max = MRL_ARRAY_MAX};
    mrl_array_read(as_array(span), &run);
    for (size_t i = 0; i < run.count; i++) {
        uint32_t lane = slots[i] - lanes->base;
        out->may[lane / 64] |= (uint64_t)1 << (lane % 64);
        out->sure[lane / 64] |= (uint64_t)!recheck[i] << (lane % 64);
    }
}

/* Finds the span of each slot, or NULL, and asks for what testing a bitmap will touch, for all of
 * them at once. Where a span is an array that is of no use, and no harm either. */
static void find_spans(mrl_root *root, const mrl_lanes *lanes, const mrl_span **out_spans) {
    for (uint32_t i = 0; i < lanes->slot_count; i++) {
        uint32_t slot = lanes->slots[i], at = mrl_directory_search(&root->directory, slot);
        out_spans[i] = NULL;
        if (at == 0) continue;
        const mrl_span *span = mrl_directory_at(&root->directory, at - 1);
        const mrl_bitmap *b = (const void *)span;
        out_spans[i] = span;
        __builtin_prefetch(b);
        __builtin_prefetch((const char *)b + offsetof(mrl_bitmap, words) +
                           slot % MRL_WINDOW_SLOTS / 64 * sizeof(mrl_bitmap_word));
    }
}

static void list_lanes(const mrl_tag *tag, const mrl_lanes *lanes, mrl_planes *out) {
    const mrl_span *spans[MRL_WALK_LIST_MAX];
    mrl_root *root = mrl_tag_root(tag);
    if (root == NULL) return;
    if (root->form == MRL_FORM_DIRECTORY)
        find_spans(root, lanes, spans);
    else
        for (uint32_t i = 0; i < lanes->slot_count; i++) spans[i] = &root->span;
    for (uint32_t i = 0; i < lanes->slot_count;) {
        const mrl_span *span = spans[i];
        uint32_t first = i++, slot = lanes->slots[first];
        if (span == NULL || !mrl_span_covers(span, slot)) continue;
        if (span->form == MRL_FORM_BITMAP) {
            uint64_t sure, may = mrl_bitmap_ask(as_bitmap(span), slot, lanes->section_epoch, &sure);
            out->may[first / 64] |= may << (first % 64);
            out->sure[first / 64] |= sure << (first % 64);
            continue;
        }
        while (i < lanes->slot_count && spans[i] == span && mrl_span_covers(span, lanes->slots[i]))
            i++;
        mrl_array_test(as_array(span), lanes, first, i, out);
    }
}

void mrl_tag_lanes(const mrl_tag *tag, const mrl_lanes *lanes, mrl_planes *out_planes) {
    memset(out_planes->may, 0, lanes->word_count * sizeof(uint64_t));
    memset(out_planes->sure, 0, lanes->word_count * sizeof(uint64_t));
    if (tag == NULL) return;
    if (lanes->slots == NULL)
        window_lanes(tag, lanes, out_planes);
    else
        list_lanes(tag, lanes, out_planes);
}
