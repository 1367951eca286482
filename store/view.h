/* store/view.h - what a section sees of one collection, in a commit with its own writes on top.
 *
 * What    The documents of the section's instant, and beside them those that the section's commit
 *         has written so far. Whoever reads by an index takes slots from it, asks mrl_view_slots
 *         for their versions, which leaves out what the commit has changed, and adds what the
 *         commit made of it from `own`.
 * Owns    nothing: own lies in the commit's arena and stays there until the commit is over.
 * Sees    own writes as they were when the view was opened; later ones are seen by later views.
 * Threads the section's own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_STORE_VIEW_H
#define MRL_STORE_VIEW_H

#include "store/commit.h"
#include "store/read.h"

/* A document that the commit has written to. Both may be NULL, or the same. */
typedef struct mrl_own {
    const mrl_version *before; /* what the instant shows; NULL: there was none */
    const mrl_version *after; /* what the commit leaves; NULL: it is removed. seq is MRL_SEQ_NONE */
    mrl_touch *touch;
    uint32_t slot;   /* of `before`, or MRL_SLOT_NONE */
    uint32_t number; /* tells those without a slot apart, as long as the commit lasts */
} mrl_own;

typedef struct mrl_view {
    const mrl_section *section;
    const mrl_root *root;
    const mrl_schema *schema; /* as the section sees it */
    mrl_portion *part;        /* NULL outside of commits, where that has written nothing, and of
                                 a view that was kept */
    const mrl_own *own;       /* by the slot of `before`; those without one come last */
    size_t own_count;         /* 0 outside of commits, and where the commit has written nothing */
    int shows_due; /* with the documents that are past their time, for who counts them apart */
} mrl_view;

/* The own writes are good until the commit's next operation. Errors: those of mrl_section_own and
 * mrl_section_root; MERLE_NO_MEMORY, and what the commit's own operations fail with where they rest
 * on what the instant shows. */
merle_err mrl_view_open(merle_section *section, const merle_collection *collection,
                        mrl_view *out_view);
/* Keeps the own writes as they are now: copies them to `own`, which has room for own_count of them,
 * and stands as long as the view. Values of an index are not to be had of it then. */
void mrl_view_keep(mrl_view *view, mrl_own *own);
/* The view without the commit's own writes, and with what is past its time: what indexes count. */
mrl_view mrl_view_of_instant(const mrl_view *view);
/* The version in which what the index's function made is to be found: this one, or, where that was
 * composed before the index was built, its twin. */
const mrl_version *mrl_view_valued(const mrl_view *view, const mrl_schema_index *index,
                                   const mrl_version *v);
/* What the commit has made of the document in this slot; NULL: nothing, it is as it was. */
const mrl_own *mrl_view_find_own(const mrl_view *view, uint32_t slot);
/* The first of the documents that the instant does not show. */
size_t mrl_view_first_new(const mrl_view *view);
/* The versions that the instant shows of these slots, at most MRL_READ_BATCH; NULL: none, or one
 * that the commit has changed. Their first lines are on their way or there. */
void mrl_view_slots(const mrl_view *view, const uint32_t *slots, size_t count,
                    const mrl_version **out_versions);
/* The same for hits of an ordered index; NULL also where the version has not the hit's value. Bit i
 * of unsure is 0 if the section is known to see hits[i] (see mrl_ordered_cursor); UINT64_MAX:
 * nothing is known. */
void mrl_view_sift(const mrl_view *view, const mrl_schema_index *index, const mrl_ordered_hit *hits,
                   size_t count, uint64_t unsure, const mrl_version **out_versions);
static inline void mrl_view_hits(const mrl_view *view, const mrl_schema_index *index,
                                 const mrl_ordered_hit *hits, size_t count,
                                 const mrl_version **out_versions) {
    mrl_view_sift(view, index, hits, count, UINT64_MAX, out_versions);
}
/* The same, and NULL also where the document has an earlier value in the range, at which it is
 * given: what a range gives of an index on each element. */
void mrl_view_first_hits(const mrl_view *view, const mrl_schema_index *index,
                         const mrl_ordered_range *range, int is_backwards,
                         const mrl_ordered_hit *hits, size_t count, uint64_t unsure,
                         const mrl_version **out_versions);
/* Which of at most MRL_READ_BATCH hits the view sees, for a mrl_ordered_viewer: bit i for
 * hits[i]. */
uint64_t mrl_view_visible(const mrl_view *view, const mrl_schema_index *index,
                          const mrl_ordered_hit *hits, size_t count);
/* The document as it is given out; one that is not committed yet has seq 0. */
static inline merle_doc mrl_view_doc(const mrl_version *v) {
    merle_doc doc = mrl_version_view(v);
    if (__builtin_expect(doc.seq == MRL_SEQ_NONE, 0)) doc.seq = 0;
    return doc;
}
/* The index of this name, if the section may use it; NULL: there is none. */
const mrl_schema_index *mrl_view_index(const mrl_view *view, const char *name);

#endif
