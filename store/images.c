/* store/images.c - whole documents for those who follow the log: what was there before a change,
 * and what a patch has made. They stand beside the record and count to the ring's size.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "store/commit.h"

static size_t image_sizes(const merle_commit *commit, const mrl_touch *touch,
                          const mrl_version *base) {
    size_t size = sizeof(mrl_images);
    int is_patch = touch->is_composed && touch->outcome == MRL_OUTCOME_PATCH;
    if (commit->wants_after && is_patch) size += touch->version->doc_size;
    if (commit->wants_before && base != NULL) size += base->doc_size;
    return size;
}

void mrl_images_plan(merle_commit *commit) {
    commit->wants_after = (uint8_t)mrl_log_wants_after(commit->store->log);
    commit->wants_before = (uint8_t)mrl_log_wants_before(commit->store->log);
    commit->images_max = 0;
    if (!commit->wants_after && !commit->wants_before) return;
    for (const mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        const mrl_version *base =
            commit->wants_before ? mrl_root_find(touch->part->root, touch->hash, touch->key) : NULL;
        commit->images_max += image_sizes(commit, touch, base);
    }
}

static size_t settled_size(const merle_commit *commit) {
    size_t size = 0;
    for (const mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next)
        if (touch->outcome != MRL_OUTCOME_NONE) size += image_sizes(commit, touch, touch->base);
    return size;
}

int mrl_images_fit(const merle_commit *commit) {
    if (!commit->wants_after && !commit->wants_before) return 1;
    return settled_size(commit) <= commit->images_max;
}

static merle_bytes copy_image(uint8_t **at, const mrl_version *v) {
    memcpy(*at, mrl_version_doc(v), v->doc_size);
    merle_bytes image = merle_bytes_of(*at, v->doc_size);
    *at += v->doc_size;
    return image;
}

merle_err mrl_images_make(merle_commit *commit) {
    if (!commit->wants_after && !commit->wants_before) return MERLE_OK;
    size_t size = settled_size(commit);
    mrl_images *image = mrl_block_alloc(commit->member, MRL_FOR_LOG, size);
    if (image == NULL)
        return mrl_store_fail(commit->member, MERLE_NO_MEMORY, NULL, merle_bytes_of(NULL, 0),
                              "no memory for the documents that a cursor asks for");
    commit->entry->images = image;
    commit->entry->credit += size;
    uint8_t *at = (uint8_t *)(image + commit->effective_count);
    for (const mrl_touch *touch = commit->touches; touch != NULL; touch = touch->next) {
        if (touch->outcome == MRL_OUTCOME_NONE) continue;
        memset(image, 0, sizeof *image);
        if (commit->wants_after && touch->outcome == MRL_OUTCOME_PATCH)
            image->after = copy_image(&at, touch->version);
        if (commit->wants_before && touch->base != NULL && !mrl_version_is_tombstone(touch->base)) {
            image->before = copy_image(&at, touch->base);
            image->before_seq = mrl_version_seq(touch->base);
        }
        image++;
    }
    return MERLE_OK;
}
