/* persist/page_look.h - pages one by one, each by itself: for those who go on behind damage.
 *
 * What    Reads the page files of a manifest, in any order, one page at a time, and checks all that
 *         can be checked of it: place, checksum, what its header says, every document.
 * Owns    the file that is open, buffers.
 * Threads owner only; waits on disk.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_PAGE_LOOK_H
#define MRL_PERSIST_PAGE_LOOK_H

#include "persist/directory.h"
#include "persist/manifest.h"
#include "persist/page.h"

typedef struct mrl_page_look {
    const mrl_directory *directory;
    const mrl_manifest *manifest;
    mrl_page_unpacker unpacker;
    merle_buffer bytes;
    mrl_file *file; /* NULL: none is open */
    uint64_t file_id;
} mrl_page_look;

/* One document of a page; not zero ends the reading with this error. */
typedef merle_err mrl_page_look_fn(void *context, const mrl_page_document *document,
                                   merle_report *report);

void mrl_page_look_begin(mrl_page_look *look, const mrl_directory *directory,
                         const mrl_manifest *manifest);
void mrl_page_look_end(mrl_page_look *look);
/* A page file's header and size. Errors: MERLE_NOT_FOUND (there is no such file), MERLE_CORRUPT,
 * MERLE_UNSUPPORTED, MERLE_SYSTEM, with a report. */
MERLE_MUST_USE merle_err mrl_page_look_file(mrl_page_look *look, const mrl_manifest_file *file,
                                            merle_report *report);
/* A page. fn (NULL: nobody) is given the documents only after all of them were found sound. Errors:
 * MERLE_CORRUPT (also where the file is not there), MERLE_SYSTEM, MERLE_NO_MEMORY, with a report;
 * those of fn. */
MERLE_MUST_USE merle_err mrl_page_look_at(mrl_page_look *look, uint32_t collection_id,
                                          const mrl_manifest_page *page, mrl_page_look_fn *fn,
                                          void *context, merle_report *report);
/* The documents of a page whose checksum is wrong, as far as they can be made out: for a list of
 * what may have been lost, and nothing else. */
void mrl_page_look_guess(mrl_page_look *look, const mrl_manifest_page *page, mrl_page_look_fn *fn,
                         void *context);

/* The name in a collection's definition; empty: it has none. */
void mrl_page_look_name(const merle_buffer *definition, char out_name[64]);

#endif
