/* document/edit.h - changing a document in place, at concrete paths.
 *
 * What    the few changes of which patches and effects both are made, so that both give the same
 *         bytes: set a value, unset it, grow a string, drop an element.
 * Owns    nothing; the document lies in a buffer of the caller's, which grows as needed.
 * Sees    a failed edit leaves the document in any state: its caller gives it up.
 * Threads owner only.
 * Limits  MERLE_DOCUMENT_SIZE_MAX: MERLE_TOO_BIG.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_EDIT_H
#define MRL_DOCUMENT_EDIT_H

#include "document/path.h"
#include "document/writer.h"

/* Where a path leads in a document. Offsets are from the document's first byte and good until the
 * next edit. */
typedef struct mrl_place {
    uint32_t parent;    /* the array or map in which the value is, or would be */
    uint32_t found;     /* steps that lead to something that is there */
    uint32_t value;     /* the value's first byte; 0: there is none */
    uint32_t entry;     /* the first byte of its key, or of the element itself */
    uint32_t index;     /* in an array: which element */
    uint32_t count;     /* elements or pairs of the parent */
    merle_type blocked; /* the type on the way that has no such step; NONE: none */
} mrl_place;

/* Follows steps as far as they lead. Negative indexes that lead to an element become the plain
 * ones. */
void mrl_edit_locate(const uint8_t *doc, mrl_step *steps, uint32_t step_count,
                     mrl_place *out_place);

/* Puts the piece where place says: over the value there, or as a new pair, with the maps between
 * made, or, if the last step is an index one past the end, as a new element. *out_value: where the
 * value lies now. Errors: MERLE_TYPE, MERLE_NOT_FOUND, MERLE_TOO_BIG, MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_edit_set(merle_buffer *doc, const mrl_step *steps, uint32_t step_count,
                                      const mrl_place *place, const mrl_piece *piece,
                                      uint32_t *out_value);

/* Removes the value that place found, with its key. Cannot fail. */
void mrl_edit_unset(merle_buffer *doc, const mrl_place *place);

/* Appends a value to the array at `array`; *out_value: where it lies. Errors: MERLE_TOO_BIG,
 * MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_edit_append(merle_buffer *doc, uint32_t array, const mrl_piece *piece,
                                         uint32_t *out_value);

/* Appends text to the string at `string`. Errors: MERLE_TOO_BIG, MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_edit_append_text(merle_buffer *doc, uint32_t string, merle_bytes text);

/* Removes all elements equal to value from the array at `array`; gives how many there were, and in
 * *out_first the index of the first. Cannot fail. */
uint32_t mrl_edit_remove_equal(merle_buffer *doc, uint32_t array, const merle_value *value,
                               uint32_t *out_first);

#endif
