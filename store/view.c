/* store/view.c - what a section sees of one collection.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/view.h"

merle_err mrl_view_open(merle_section *section, const merle_collection *collection,
                        mrl_view *out_view) {
    merle_err err;
    mrl_root *root;
    *out_view = (mrl_view){0};
    const mrl_section *own = mrl_section_own(section, &err);
    if (own == NULL) return err;
    if ((err = mrl_section_root(own, collection, &root)) != MERLE_OK) return err;
    out_view->section = own;
    out_view->root = root;
    out_view->schema = root->schema;
    return MERLE_OK;
}

void mrl_view_slots(const mrl_view *view, const uint32_t *slots, size_t count,
                    const mrl_version **out_versions) {
    mrl_read_slots(view->section, view->root, slots, count, out_versions);
}

merle_doc mrl_view_doc(const mrl_version *v) {
    merle_doc doc = mrl_version_view(v);
    if (doc.seq == MRL_SEQ_NONE) doc.seq = 0;
    return doc;
}

const mrl_schema_index *mrl_view_index(const mrl_view *view, const char *name) {
    return mrl_schema_find_index(view->schema, name);
}
