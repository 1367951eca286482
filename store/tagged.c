/* store/tagged.c - documents by tag, in sections.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "document/encode.h"
#include "store/entries.h"
#include "store/read.h"
#include "tags/set.h"

typedef struct asked_tag {
    const mrl_section *section;
    const mrl_root *root;
    const mrl_schema_index *index;
    const mrl_tag *tag;
    size_t size;
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
} asked_tag;

static merle_err ask(asked_tag *asked, merle_section *section, merle_collection *collection,
                     const char *index, const merle_value *tag) {
    merle_err err;
    mrl_root *root;
    mrl_section *own = mrl_section_own(section, &err);
    if (own == NULL) return err;
    if ((err = mrl_section_root(own, collection, &root)) != MERLE_OK) return err;
    asked->section = own;
    asked->root = root;
    err = mrl_schema_read_index(mrl_root_schema(root, own->seq), index, &asked->index);
    if (err != MERLE_OK) return err;
    if (!mrl_index_has_tags(asked->index)) return MERLE_INVALID;
    err = mrl_encode_value(tag, 0, asked->encoded, sizeof asked->encoded, &asked->size);
    if (err != MERLE_OK) return MERLE_INVALID;
    asked->tag = mrl_tags_find(root->indexes[asked->index->number].tags,
                               merle_bytes_of(asked->encoded, asked->size));
    return MERLE_OK;
}

typedef struct looking_for {
    const asked_tag *asked;
    int found;
} looking_for;

static int is_it(void *context, merle_bytes value) {
    looking_for *l = context;
    l->found =
        value.size == l->asked->size && memcmp(value.data, l->asked->encoded, value.size) == 0;
    return l->found;
}

static int has_tag(const asked_tag *asked, const mrl_version *v) {
    looking_for l = {asked, 0};
    (void)mrl_entries_each(v, asked->index, is_it, &l);
    return l.found;
}

static uint64_t count_visible(void *context, const uint32_t *slots, size_t count) {
    const asked_tag *asked = context;
    const mrl_version *versions[MRL_READ_BATCH];
    uint64_t sum = 0;
    for (size_t at = 0; at < count; at += MRL_READ_BATCH) {
        size_t some = count - at < MRL_READ_BATCH ? count - at : MRL_READ_BATCH;
        mrl_read_slots(asked->section, asked->root, slots + at, some, versions);
        for (size_t i = 0; i < some; i++) sum += versions[i] != NULL && has_tag(asked, versions[i]);
    }
    return sum;
}

merle_err merle_tag_count(merle_section *section, merle_collection *collection, const char *index,
                          merle_value tag, uint64_t *out_count) {
    asked_tag asked;
    *out_count = 0;
    merle_err err = ask(&asked, section, collection, index, &tag);
    if (err != MERLE_OK) return err;
    *out_count = mrl_tag_count(asked.tag, asked.section->epoch, count_visible, &asked);
    return MERLE_OK;
}

merle_err merle_tag_next(merle_section *section, merle_collection *collection, const char *index,
                         merle_value tag, merle_scan *scan, merle_doc *out_docs, size_t doc_max,
                         size_t *out_count) {
    uint32_t slots[MRL_READ_BATCH];
    uint8_t recheck[MRL_READ_BATCH];
    const mrl_version *versions[MRL_READ_BATCH];
    asked_tag asked;
    *out_count = 0;
    merle_err err = ask(&asked, section, collection, index, &tag);
    if (err != MERLE_OK) return err;
    while (*out_count < doc_max && scan->position < MRL_TAGS_END) {
        size_t wanted = doc_max - *out_count;
        mrl_run run = {asked.section->epoch,
                       (uint32_t)scan->position,
                       MRL_TAGS_END - 1,
                       slots,
                       recheck,
                       wanted < MRL_READ_BATCH ? wanted : MRL_READ_BATCH,
                       0};
        mrl_tag_read(asked.tag, &run);
        mrl_read_slots(asked.section, asked.root, slots, run.count, versions);
        for (size_t i = 0; i < run.count; i++)
            if (versions[i] != NULL && (!recheck[i] || has_tag(&asked, versions[i])))
                out_docs[(*out_count)++] = mrl_version_view(versions[i]);
        scan->position = run.from;
    }
    return *out_count == 0 && doc_max > 0 ? MERLE_NOT_FOUND : MERLE_OK;
}
