/* document/path.h - paths into documents, and what an index is on.
 *
 * What    parses paths ("a.b", "list[-1]", `"a.b".c`), finds their values in checked documents.
 * Owns    a compiled path is one piece of memory, counted by its holders; mrl_path_destroy gives
 *         one hold up.
 * Sees    the first of two equal keys in an inner map (the top level has none).
 * Threads any; a compiled path never changes.
 * Limits  MRL_PATH_SIZE_MAX bytes of text, MERLE_DEPTH_MAX steps; beyond: MERLE_INVALID.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_PATH_H
#define MRL_DOCUMENT_PATH_H

#include <merle/document.h>

#include "document/scan.h"

#define MRL_PATH_SIZE_MAX 4096u

/* One step down: by key where key is not NULL, else by index (negative: from the end). */
typedef struct mrl_step {
    const uint8_t *key;
    uint32_t key_size;
    int64_t index;
} mrl_step;

/* The steps of a path that was parsed on the stack. Keys point into the path's text, or into
 * `unescaped` where the text had escapes. Only what is counted is initialised. */
typedef struct mrl_steps {
    uint32_t count;
    uint32_t unescaped_size;
    mrl_step step[MERLE_DEPTH_MAX];
    uint8_t unescaped[MRL_PATH_SIZE_MAX];
} mrl_steps;

/* Borrows text as long as out_steps is used. Errors: MERLE_INVALID; *out_reason (may be NULL) is a
 * sentence why. */
MERLE_MUST_USE merle_err mrl_path_parse(const char *text, size_t size, mrl_steps *out_steps,
                                        const char **out_reason);

/* The length of text if it is a single bare name in ASCII, else 0: the case that needs no
 * parsing. */
size_t mrl_path_simple_size(const char *text);

/* Follows steps from the value at `at`; NULL where they lead nowhere. */
const uint8_t *mrl_path_follow(const uint8_t *at, const mrl_step *steps, uint32_t step_count);

typedef struct mrl_path mrl_path;

/* Borrows text until it returns. Errors: MERLE_INVALID, MERLE_NO_MEMORY (*out_path is NULL). */
MERLE_MUST_USE merle_err mrl_path_compile(const char *text, size_t size, mrl_path **out_path);
/* Gives up one hold; the last one frees it. */
void mrl_path_destroy(mrl_path *path);
/* One more owner of the same path. */
mrl_path *mrl_path_hold(mrl_path *path);
/* The text that the path was compiled from, terminated; valid as long as the path. */
const char *mrl_path_text(const mrl_path *path);
/* Its steps; valid as long as the path. */
const mrl_step *mrl_path_steps(const mrl_path *path, uint32_t *out_count);
/* Some order of paths: 0 exactly if both lead to the same value in every document, however their
 * texts are quoted. */
int mrl_path_order(const mrl_path *left, const mrl_path *right);

/* Gives the offset of the value's first byte in the checked document, and 1; 0 and offset 0 where
 * there is none. */
int mrl_path_locate(const mrl_path *path, const uint8_t *doc, size_t size, uint32_t *out_offset);

/* The same for several paths, in one pass over the top level; offset 0 where there is none. */
void mrl_paths_locate(mrl_path *const *paths, size_t path_count, const uint8_t *doc, size_t size,
                      uint32_t *out_offsets);

/* Where a part of an index has its value from. */
typedef enum mrl_source {
    MRL_SOURCE_PATH = 0, /* the value at the path */
    MRL_SOURCE_EACH,     /* each element of the array at the path, or the value at a path in it */
    MRL_SOURCE_KEY,      /* the document's key */
    MRL_SOURCE_EXTRACT   /* a function of the application; a text never says so */
} mrl_source;

/* The next element's value at the path inside it (NULL: the element itself) that is there and not
 * nil; NULL: there are no more. */
const uint8_t *mrl_elements_next_at(mrl_elements *elements, const mrl_path *path);

/* One part of an index, ascending or descending. */
typedef struct mrl_part {
    mrl_path *path;    /* NULL: of KEY */
    mrl_path *element; /* EACH: where the value is in an element; NULL: the element itself */
    mrl_source source;
    uint8_t descending;
} mrl_part;

/* Parses "guild, -score" into at most part_max parts, which the caller frees with
 * mrl_parts_destroy. Commas separate, blanks around a part do not count; a name with a comma, a
 * leading minus or outer blanks is quoted, and so is one that is "key()", which means the key.
 * "items[*].id" is the id of each of the items. Errors: MERLE_INVALID, MERLE_TOO_BIG (too many
 * parts), MERLE_NO_MEMORY; then there are no parts. */
MERLE_MUST_USE merle_err mrl_parts_parse(const char *on, mrl_part *out_parts, size_t part_max,
                                         size_t *out_count, merle_report *report);
/* Frees the paths of the parts, not the array. */
void mrl_parts_destroy(mrl_part *parts, size_t part_count);

#endif
