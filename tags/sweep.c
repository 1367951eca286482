/* tags/sweep.c - the queue of tags that have marked entries, and going through it.
 *
 * Tags stand in the order in which they came, each with the ticket of that moment: if the first
 * one's ticket has not passed, none has, and there is nothing to do.
 * A tag is in the queue once, or in the hands of one sweep, from its first mark until a whole round
 * over its spans has left no mark. Only a sweep empties a set: a mark leaves its own entry. So
 * nobody drops a tag that another one has in hand.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tags/tags_private.h"

enum { HOLD_MAX = 32 /* spans, before a sweep lets others have the set */ };

static void note_first(mrl_tags *tags, int change) {
    if (tags->sweep_first == NULL)
        tags->sweep_last = NULL;
    else
        MRL_SET(&tags->sweep_ticket, tags->sweep_first->sweep_ticket);
    MRL_SET(&tags->sweep_count, MRL_GET(&tags->sweep_count) + (uint32_t)change);
}

static void push(mrl_tags *tags, mrl_tag *tag, uint32_t now) {
    mrl_lock_take(&tags->sweep_lock);
    tag->sweep_next = NULL;
    tag->sweep_ticket = now;
    if (tags->sweep_last != NULL)
        tags->sweep_last->sweep_next = tag;
    else
        tags->sweep_first = tag;
    tags->sweep_last = tag;
    note_first(tags, 1);
    mrl_lock_drop(&tags->sweep_lock);
}

/* For one that was not looked at as a whole: its ticket has passed, the next sweep goes on
 * there. */
static void push_first(mrl_tags *tags, mrl_tag *tag) {
    mrl_lock_take(&tags->sweep_lock);
    tag->sweep_next = tags->sweep_first;
    tags->sweep_first = tag;
    if (tags->sweep_last == NULL) tags->sweep_last = tag;
    note_first(tags, 1);
    mrl_lock_drop(&tags->sweep_lock);
}

/* NULL: nothing is due. */
static mrl_tag *pop(mrl_tags *tags, mrl_domain *domain) {
    /* Without the lock this may be old: then the sweep comes a little later, or finds out below. */
    if (MRL_GET(&tags->sweep_count) == 0) return NULL;
    if (!mrl_ticket_passed(domain, MRL_GET(&tags->sweep_ticket))) return NULL;
    mrl_lock_take(&tags->sweep_lock);
    mrl_tag *tag = tags->sweep_first;
    if (tag != NULL && !mrl_ticket_passed(domain, tag->sweep_ticket)) tag = NULL;
    if (tag != NULL) {
        tags->sweep_first = tag->sweep_next;
        note_first(tags, -1);
    }
    mrl_lock_drop(&tags->sweep_lock);
    return tag;
}

void mrl_sweep_queue(mrl_tags *tags, mrl_tag *tag, uint32_t now) {
    if (tag->is_queued) return;
    tag->is_queued = 1;
    push(tags, tag, now);
}

int mrl_tags_has_garbage(const mrl_tags *tags) {
    return MRL_GET(&tags->sweep_count) != 0;
}

/* Whether a sweep has to come back, once it has seen all spans. */
static int is_marked(const mrl_tag *tag) {
    return MRL_GET(&tag->entry_count) != MRL_GET(&tag->live_count);
}

/* The tag was empty under its own lock; the shard's has to be taken before that. */
static void drop_if_empty(mrl_tags *tags, mrl_member *member, mrl_tag *tag) {
    mrl_tags_shard *shard = mrl_tags_shard_of(tags, tag->hash);
    mrl_lock_take(&shard->lock);
    mrl_lock_take(&tag->lock);
    int is_empty = MRL_GET(&tag->entry_count) == 0;
    tag->is_queued = 0;
    if (is_empty)
        mrl_tags_drop(tags, member, tag);
    else if (is_marked(tag))
        mrl_sweep_queue(tags, tag, mrl_ticket_take(member->domain));
    mrl_lock_drop(&tag->lock);
    mrl_lock_drop(&shard->lock);
    if (is_empty) mrl_block_retire(member, tag);
}

static size_t sweep_tag(mrl_tags *tags, mrl_member *member, mrl_tag *tag, size_t *left) {
    size_t gone = 0, held = 0;
    uint32_t next;
    mrl_lock_take(&tag->lock);
    mrl_set_change change = {tags, member, tag, mrl_ticket_take(member->domain)};
    do {
        gone += mrl_set_sweep(&change, tag->sweep_from, &next);
        tag->sweep_from = next == MRL_TAGS_END ? 0 : next;
        (*left)--;
    } while (next != MRL_TAGS_END && *left > 0 && ++held < HOLD_MAX);
    int is_empty = MRL_GET(&tag->entry_count) == 0;
    if (!is_empty && next != MRL_TAGS_END)
        push_first(tags, tag);
    else if (!is_empty && is_marked(tag))
        push(tags, tag, change.now);
    else if (!is_empty)
        tag->is_queued = 0;
    mrl_lock_drop(&tag->lock);
    if (is_empty) drop_if_empty(tags, member, tag);
    return gone;
}

size_t mrl_tags_sweep(mrl_tags *tags, mrl_member *member, size_t max) {
    size_t gone = 0, left = max;
    mrl_tag *tag;
    while (left > 0 && (tag = pop(tags, member->domain)) != NULL)
        gone += sweep_tag(tags, member, tag, &left);
    /* It has stopped because it was to: there may be more. */
    return gone == 0 && left == 0 ? max != 0 : gone;
}
