/* tags/list.c - all tags in the order of their names: a skip list.
 *
 * Writers take the list's lock, readers none. A tag is linked from the lowest list upward and
 * unlinked from the highest downward. One that is unlinked keeps its own links: a reader that
 * stands on it goes on to what followed it then. What followed can be unlinked too, but later, with
 * a later ticket: it stays while the reader does. What was linked in between since is of commits
 * that this reader does not see.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "tags/tags_private.h"

/* One tag in four reaches the next list. */
uint8_t mrl_list_height(uint64_t hash) {
    uint64_t mixed = mrl_mix_u64(hash) | (uint64_t)1 << (2 * (MRL_LIST_HEIGHT_MAX - 1));
    return (uint8_t)(1 + __builtin_ctzll(mixed) / 2);
}

static int compare(const mrl_tag *tag, merle_bytes name) {
    return mrl_bytes_order(merle_bytes_of(mrl_tag_name(tag), tag->name_size), name);
}

/* The links of each height that lead to the first tag that is not below name. */
static void search(const mrl_tags *tags, merle_bytes name, _Atomic(mrl_tag *) **out_links) {
    _Atomic(mrl_tag *) *row = (_Atomic(mrl_tag *) *)(uintptr_t)tags->list_heads;
    for (uint32_t level = MRL_LIST_HEIGHT_MAX; level-- > 0;) {
        mrl_tag *next;
        while ((next = mrl_list_next(&row[level])) != NULL && compare(next, name) < 0)
            row = next->next;
        out_links[level] = &row[level];
    }
}

static merle_bytes name_of(const mrl_tag *tag) {
    return merle_bytes_of(mrl_tag_name(tag), tag->name_size);
}

void mrl_list_insert(mrl_tags *tags, mrl_tag *tag) {
    _Atomic(mrl_tag *) *links[MRL_LIST_HEIGHT_MAX];
    mrl_lock_take(&tags->list_lock);
    search(tags, name_of(tag), links);
    for (uint32_t level = 0; level < tag->height; level++) {
        MRL_SET(&tag->next[level], MRL_GET(links[level]));
        /* Release: pairs with the acquire in mrl_list_next. */
        atomic_store_explicit(links[level], tag, memory_order_release);
    }
    mrl_lock_drop(&tags->list_lock);
}

void mrl_list_remove(mrl_tags *tags, mrl_tag *tag) {
    _Atomic(mrl_tag *) *links[MRL_LIST_HEIGHT_MAX];
    mrl_lock_take(&tags->list_lock);
    search(tags, name_of(tag), links);
    for (uint32_t level = tag->height; level-- > 0;) {
        MRL_ASSERT(MRL_GET(links[level]) == tag);
        atomic_store_explicit(links[level], MRL_GET(&tag->next[level]), memory_order_release);
    }
    mrl_lock_drop(&tags->list_lock);
}

size_t mrl_tags_list(const mrl_tags *tags, merle_bytes prefix, merle_bytes after,
                     mrl_tags_listed *out_listed, size_t max) {
    _Atomic(mrl_tag *) *links[MRL_LIST_HEIGHT_MAX];
    size_t count = 0;
    int is_after = after.size > 0 && mrl_bytes_order_begins(after, prefix) >= 0;
    search(tags, is_after ? after : prefix, links);
    const mrl_tag *tag = mrl_list_next(links[0]);
    if (tag != NULL && is_after && compare(tag, after) == 0) tag = mrl_list_next(&tag->next[0]);
    for (; tag != NULL && count < max; tag = mrl_list_next(&tag->next[0])) {
        merle_bytes name = name_of(tag);
        if (name.size < prefix.size || mrl_bytes_order_begins(name, prefix) != 0) break;
        out_listed[count].name = name;
        out_listed[count].estimate = mrl_tag_estimate(tag);
        count++;
    }
    return count;
}
