/* tags/tags.c - the index: from a tag's name to its set, tags that come and go.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tags/tags.h"

#include <string.h>

#include "base/hash.h"
#include "tags/tags_private.h"

/* ---- looking up ---- */

typedef struct name_probe {
    mrl_probe probe;
    merle_bytes name;
} name_probe;

static int name_matches(const mrl_probe *probe, uint64_t entry) {
    const mrl_tag *tag = mrl_entry_to_pointer(entry);
    merle_bytes name = ((const name_probe *)(const void *)probe)->name;
    return tag->hash == probe->hash && tag->name_size == name.size &&
           memcmp(mrl_tag_name(tag), name.data, name.size) == 0;
}

static uint32_t rehash(void *context, uint64_t entry) {
    (void)context;
    return (uint32_t)((const mrl_tag *)mrl_entry_to_pointer(entry))->hash;
}

static const mrl_map_type tag_type = {MRL_MAP_POINTERS, rehash, NULL};

static name_probe probe_of(const mrl_tags *tags, merle_bytes name) {
    name_probe p = {{mrl_hash_bytes(name.data, name.size, tags->seed), name_matches}, name};
    return p;
}

static mrl_tag *find(const mrl_tags *tags, const name_probe *p) {
    uint64_t entry = mrl_map_find(&mrl_tags_shard_of(tags, p->probe.hash)->map, &p->probe);
    return entry == 0 ? NULL : mrl_entry_to_pointer(entry);
}

const mrl_tag *mrl_tags_find(const mrl_tags *tags, merle_bytes name) {
    name_probe p = probe_of(tags, name);
    return find(tags, &p);
}

void mrl_tags_prefetch(const mrl_tags *tags, merle_bytes name) {
    uint64_t hash = mrl_hash_bytes(name.data, name.size, tags->seed);
    mrl_map_prefetch(&mrl_tags_shard_of(tags, hash)->map, hash);
}

/* The first tag that most likely has the name is prefetched, and none is compared. */
static int name_is_likely(const mrl_probe *probe, uint64_t entry) {
    (void)probe;
    __builtin_prefetch(mrl_entry_to_pointer(entry));
    return 1;
}

void mrl_tags_prefetch_tag(const mrl_tags *tags, merle_bytes name) {
    name_probe p = probe_of(tags, name);
    p.probe.matches = name_is_likely;
    (void)find(tags, &p);
}

void mrl_tags_prefetch_set(const mrl_tags *tags, merle_bytes name) {
    const mrl_tag *tag = mrl_tags_find(tags, name);
    const char *root = tag == NULL ? NULL : (const char *)MRL_GET(&tag->root);
    for (int i = 0; root != NULL && i < 4; i++) __builtin_prefetch(root + 64 * i);
}

/* ---- the index ---- */

mrl_tags *mrl_tags_create(mrl_member *member, uint64_t seed) {
    /* Urgent as the root that it belongs to. */
    mrl_tags *tags = mrl_alloc_urgent(member, MRL_FOR_TABLES, sizeof *tags);
    if (tags == NULL) return NULL;
    memset(tags, 0, sizeof *tags);
    tags->seed = seed;
    mrl_lock_init(&tags->list_lock);
    mrl_lock_init(&tags->sweep_lock);
    for (uint32_t i = 0; i < MRL_TAGS_SHARD_COUNT; i++) {
        mrl_map_init(&tags->shards[i].map, &tag_type);
        mrl_lock_init(&tags->shards[i].lock);
    }
    return tags;
}

static size_t tag_size(uint8_t height, size_t name_size) {
    return sizeof(mrl_tag) + height * sizeof(mrl_tag *) + name_size;
}

static void count_tag(mrl_tags *tags, const mrl_tag *tag, uint64_t sign) {
    size_t size = mrl_block_bytes(tag_size(tag->height, tag->name_size));
    atomic_fetch_add_explicit(&tags->tag_count, sign, memory_order_relaxed);
    atomic_fetch_add_explicit(&tags->block_bytes, sign * size, memory_order_relaxed);
}

size_t mrl_tags_clear_some(mrl_tags *tags, mrl_member *member, size_t max) {
    size_t freed = 0;
    tags->sweep_first = tags->sweep_last = NULL;
    MRL_SET(&tags->sweep_count, 0);
    /* The lowest list has all; the others are not looked at any more. */
    while (freed < max) {
        mrl_tag *tag = mrl_list_next(&tags->list_heads[0]);
        if (tag == NULL) break;
        mrl_set_change change = {tags, member, tag, 0};
        if (!tag->is_dead) tag->sweep_from = 0;
        tag->is_dead = 1;
        freed += mrl_set_clear_some(&change, max - freed);
        if (mrl_tag_root(tag) != NULL) break;
        MRL_SET(&tags->list_heads[0], MRL_GET(&tag->next[0]));
        count_tag(tags, tag, UINT64_MAX);
        mrl_block_free(member, tag);
        freed++;
    }
    for (uint32_t i = 0; i < MRL_TAGS_SHARD_COUNT && freed < max; i++)
        freed += mrl_map_clear_some(&tags->shards[i].map, member, max - freed);
    return freed;
}

void mrl_tags_destroy(mrl_tags *tags, mrl_member *member) {
    while (mrl_tags_clear_some(tags, member, SIZE_MAX) > 0) continue;
    mrl_free(member, MRL_FOR_TABLES, tags, sizeof *tags);
}

/* ---- a tag comes ---- */

/* A tag with its first entries, which nobody can find yet. */
static mrl_tag *tag_create(mrl_tags *tags, mrl_member *member, const name_probe *p,
                           const uint32_t *slots, size_t slot_count) {
    uint8_t height = mrl_list_height(p->probe.hash);
    mrl_tag *tag = mrl_block_alloc(member, MRL_FOR_TABLES, tag_size(height, p->name.size));
    if (tag == NULL) return NULL;
    memset(tag, 0, sizeof *tag + height * sizeof(mrl_tag *));
    tag->hash = p->probe.hash;
    mrl_lock_init(&tag->lock);
    tag->name_size = (uint16_t)p->name.size;
    tag->height = height;
    memcpy(mrl_tag_name(tag), p->name.data, p->name.size);
    count_tag(tags, tag, 1);
    mrl_set_change change = {tags, member, tag, mrl_ticket_take(member->domain)};
    if (mrl_set_build(&change, slots, slot_count) != MERLE_OK) goto fail;
    return tag;
fail:
    count_tag(tags, tag, UINT64_MAX);
    mrl_block_free(member, tag);
    return NULL;
}

/* Nobody has seen it. */
static void tag_free(mrl_tags *tags, mrl_member *member, mrl_tag *tag) {
    mrl_set_change change = {tags, member, tag, 0};
    (void)mrl_set_clear_some(&change, SIZE_MAX);
    count_tag(tags, tag, UINT64_MAX);
    mrl_block_free(member, tag);
}

/* Adds a tag with its first entries. *out_made: 0 if there is one already. */
static merle_err add_tag(mrl_tags *tags, mrl_member *member, const name_probe *p,
                         const uint32_t *slots, size_t slot_count, int *out_made) {
    mrl_tags_shard *shard = mrl_tags_shard_of(tags, p->probe.hash);
    uint64_t existing = 0;
    merle_err err = MERLE_OK;
    *out_made = 0;
    mrl_tag *tag = tag_create(tags, member, p, slots, slot_count);
    if (tag == NULL) return MERLE_NO_MEMORY;
    mrl_lock_take(&shard->lock);
    err = mrl_map_add(&shard->map, member, &p->probe, mrl_entry_pointer(tag, p->probe.hash),
                      &existing);
    if (err == MERLE_OK && existing == 0) {
        mrl_list_insert(tags, tag);
        shard->change_count++;
        *out_made = 1;
    }
    mrl_lock_drop(&shard->lock);
    if (!*out_made) tag_free(tags, member, tag);
    return err;
}

/* ---- and goes ---- */

void mrl_tags_drop(mrl_tags *tags, mrl_member *member, mrl_tag *tag) {
    mrl_tags_shard *shard = mrl_tags_shard_of(tags, tag->hash);
    name_probe p = {{tag->hash, name_matches}, merle_bytes_of(mrl_tag_name(tag), tag->name_size)};
    mrl_set_change change = {tags, member, tag, 0};
    MRL_ASSERT(MRL_GET(&tag->entry_count) == 0 && !tag->is_queued);
    tag->is_dead = 1;
    uint64_t entry = mrl_map_remove(&shard->map, member, &p.probe);
    MRL_ASSERT(mrl_entry_to_pointer(entry) == (void *)tag);
    mrl_list_remove(tags, tag);
    shard->change_count++;
    mrl_set_retire_all(&change);
    count_tag(tags, tag, UINT64_MAX);
}

/* ---- entries ---- */

merle_err mrl_tags_add(mrl_tags *tags, mrl_member *member, merle_bytes name, uint32_t slot,
                       int *out_added) {
    *out_added = 0;
    if (name.size == 0 || name.size > MERLE_VALUE_SIZE_MAX) return MERLE_TOO_BIG;
    MRL_ASSERT(slot < MRL_TAGS_END);
    name_probe p = probe_of(tags, name);
    for (;;) {
        mrl_tag *tag = find(tags, &p);
        if (tag == NULL) {
            merle_err err = add_tag(tags, member, &p, &slot, 1, out_added);
            if (err != MERLE_OK || *out_added) return err;
            continue;
        }
        mrl_lock_take(&tag->lock);
        /* A dead one was taken out of the table before it was unlocked: the next find gives another
         * one, or none. */
        int is_dead = tag->is_dead;
        mrl_set_change change = {tags, member, tag, mrl_ticket_take(member->domain)};
        merle_err err = is_dead ? MERLE_OK : mrl_set_add(&change, slot, out_added);
        mrl_lock_drop(&tag->lock);
        if (!is_dead) return err;
    }
}

merle_err mrl_tags_fill(mrl_tags *tags, mrl_member *member, merle_bytes name, const uint32_t *slots,
                        size_t count) {
    int made;
    if (name.size == 0 || name.size > MERLE_VALUE_SIZE_MAX) return MERLE_TOO_BIG;
    if (count == 0) return MERLE_OK;
    for (size_t i = 1; i < count; i++) MRL_ASSERT(slots[i - 1] < slots[i]);
    MRL_ASSERT(slots[count - 1] < MRL_TAGS_END);
    name_probe p = probe_of(tags, name);
    merle_err err = add_tag(tags, member, &p, slots, count, &made);
    return err == MERLE_OK && !made ? MERLE_EXISTS : err;
}

mrl_tag *mrl_tags_warn(mrl_tags *tags, mrl_member *member, merle_bytes name, uint32_t slot) {
    name_probe p = probe_of(tags, name);
    mrl_tag *tag = find(tags, &p);
    MRL_ASSERT(tag != NULL);
    mrl_lock_take(&tag->lock);
    mrl_set_change change = {tags, member, tag, mrl_ticket_take(member->domain)};
    mrl_set_warn(&change, slot);
    mrl_lock_drop(&tag->lock);
    return tag;
}

void mrl_tag_mark(mrl_tags *tags, mrl_member *member, mrl_tag *tag, uint32_t slot) {
    mrl_lock_take(&tag->lock);
    MRL_ASSERT(!tag->is_dead);
    mrl_set_change change = {tags, member, tag, mrl_ticket_take(member->domain)};
    mrl_set_mark(&change, slot);
    mrl_sweep_queue(tags, tag, change.now);
    mrl_lock_drop(&tag->lock);
}

void mrl_tags_mark(mrl_tags *tags, mrl_member *member, merle_bytes name, uint32_t slot) {
    name_probe p = probe_of(tags, name);
    mrl_tag *tag = find(tags, &p);
    MRL_ASSERT(tag != NULL);
    mrl_tag_mark(tags, member, tag, slot);
}

/* ---- figures ---- */

void mrl_tags_stat(const mrl_tags *tags, mrl_tags_stats *out_stats) {
    memset(out_stats, 0, sizeof *out_stats);
    out_stats->tags = MRL_GET(&tags->tag_count);
    out_stats->spans = MRL_GET(&tags->span_count);
    out_stats->bitmaps = MRL_GET(&tags->bitmap_count);
    out_stats->bytes = sizeof *tags + MRL_GET(&tags->block_bytes);
    for (uint32_t i = 0; i < MRL_TAGS_SHARD_COUNT; i++) {
        mrl_map_stats one;
        mrl_map_stat(&tags->shards[i].map, &one);
        out_stats->bytes += one.bytes;
    }
    for (const mrl_tag *t = mrl_list_next(&tags->list_heads[0]); t != NULL;
         t = mrl_list_next(&t->next[0])) {
        uint32_t entries = MRL_GET(&t->entry_count), live = MRL_GET(&t->live_count);
        out_stats->entries += entries;
        out_stats->marked += entries > live ? entries - live : 0;
    }
}
