/* tags/check.c - looking at a whole index: is it sound?
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/bytes.h"
#include "tags/array.h"
#include "tags/bitmap.h"

static const char *span_check(const mrl_span *span) {
    uint32_t mask = ((uint32_t)1 << span->bits) - 1;
    if (span->bits < MRL_WINDOW_BITS || span->bits > MRL_SPAN_BITS_MAX)
        return "a span has an impossible size";
    if ((span->base & mask) != 0) return "a span's range is not aligned";
    if (span->form == MRL_FORM_ARRAY) return mrl_array_check((const void *)span);
    if (span->form == MRL_FORM_BITMAP) return mrl_bitmap_check((const void *)span);
    return "a span has no such form";
}

static const char *directory_check(const mrl_directory *d) {
    const uint32_t *bases = mrl_directory_bases(d);
    if (d->count < 2) return "a directory has fewer than two spans";
    for (uint32_t i = 0; i < d->count; i++) {
        const mrl_span *span = mrl_directory_at(d, i);
        if (bases[i] != span->base) return "a directory's place is not where its span begins";
        if (i > 0 && mrl_span_last(mrl_directory_at(d, i - 1)) >= span->base)
            return "two spans overlap, or are in the wrong order";
    }
    return NULL;
}

static const char *flags_check(const mrl_directory *d) {
    for (uint32_t i = 0; i < d->count; i++)
        if (mrl_span_marked(mrl_directory_at(d, i)) > 0 && !mrl_directory_flags(d)[i])
            return "a span has marks, and its directory does not know";
    return NULL;
}

const char *mrl_set_check(const mrl_tag *tag) {
    mrl_root *root = mrl_tag_root(tag);
    const char *broken = NULL;
    uint32_t count = root == NULL ? 0 : 1;
    uint64_t entries = 0, live = 0;
    if (root != NULL && root->form == MRL_FORM_DIRECTORY) {
        count = root->directory.count;
        broken = directory_check(&root->directory);
    }
    for (uint32_t i = 0; i < count && broken == NULL; i++) {
        const mrl_span *span =
            root->form == MRL_FORM_DIRECTORY ? mrl_directory_at(&root->directory, i) : &root->span;
        broken = span_check(span);
        entries += MRL_GET(&span->entry_count);
        live += MRL_GET(&span->live_count);
    }
    if (broken != NULL) return broken;
    if (entries != MRL_GET(&tag->entry_count)) return "a tag's count is not that of its spans";
    if (live != MRL_GET(&tag->live_count)) return "a tag's live count is not that of its spans";
    if (tag->is_dead && entries != 0) return "a dead tag has entries";
    if (broken == NULL && count > 1) broken = flags_check(&root->directory);
    if (broken != NULL) return broken;
    if (entries != live && !tag->is_queued) return "a tag has marks, and no sweep knows";
    return NULL;
}

/* One tag, where it can be found, and what stands in it. */
static const char *tag_check(mrl_tags *tags, mrl_tag *tag) {
    merle_bytes name = merle_bytes_of(mrl_tag_name(tag), tag->name_size);
    const mrl_tag *found = mrl_tags_find(tags, name);
    mrl_lock_take(&tag->lock);
    const char *broken = mrl_set_check(tag);
    if (broken == NULL && !tag->is_dead && found != tag)
        broken = "a tag of the list is not in the table";
    mrl_lock_drop(&tag->lock);
    return broken;
}

/* How often tags came or went. */
static uint64_t changes_of(mrl_tags *tags, uint64_t *out_table_count, const char **broken) {
    uint64_t changes = 0;
    *out_table_count = 0;
    for (uint32_t i = 0; i < MRL_TAGS_SHARD_COUNT; i++) {
        mrl_tags_shard *shard = &tags->shards[i];
        mrl_lock_take(&shard->lock);
        changes += shard->change_count;
        *out_table_count += mrl_map_count(&shard->map);
        if (*broken == NULL) *broken = mrl_map_check(&shard->map);
        mrl_lock_drop(&shard->lock);
    }
    return changes;
}

const char *mrl_tags_check(mrl_tags *tags) {
    const char *broken = NULL;
    uint64_t table_count, list_count = 0, again;
    uint64_t changes = changes_of(tags, &table_count, &broken);
    mrl_tag *before = NULL;
    for (mrl_tag *tag = mrl_list_next(&tags->list_heads[0]); tag != NULL && broken == NULL;
         before = tag, tag = mrl_list_next(&tag->next[0])) {
        list_count++;
        broken = tag_check(tags, tag);
        if (before == NULL || broken != NULL) continue;
        if (mrl_bytes_order(merle_bytes_of(mrl_tag_name(before), before->name_size),
                            merle_bytes_of(mrl_tag_name(tag), tag->name_size)) >= 0)
            broken = "the list of tags is not in order";
    }
    if (broken != NULL) return broken;
    /* Only where nobody came or went meanwhile do the counts say something. */
    if (changes_of(tags, &again, &broken) == changes && broken == NULL && table_count != list_count)
        broken = "list and table of tags differ";
    return broken;
}
