/* document/check.h - the door for foreign bytes.
 *
 * What    proves that bytes are a document (or one value) by merle's rules, so that everything else
 *         in this room may read them without a test.
 * Owns    nothing. Allocates 8 bytes a key, and only for a map with more than 1,024 keys.
 * Sees    every byte once, and once more to compare keys; time grows as n log n at worst.
 * Threads any.
 * Limits  MERLE_DOCUMENT_SIZE_MAX, MERLE_DEPTH_MAX.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_CHECK_H
#define MRL_DOCUMENT_CHECK_H

#include <merle/document.h>

/* Checks that bytes are one document. Errors: MERLE_BAD_DOCUMENT; MERLE_TOO_BIG (size or depth);
 * MERLE_NO_MEMORY. The report tells byte and reason. */
MERLE_MUST_USE merle_err mrl_check_document(const uint8_t *data, size_t size, merle_report *report);

/* Checks that bytes begin with one value that stands below depth_above other arrays and maps, and
 * gives its size. Keys inside it may stand twice. Errors: as mrl_check_document. */
MERLE_MUST_USE merle_err mrl_check_value(const uint8_t *data, size_t size, uint32_t depth_above,
                                         size_t *out_size, merle_report *report);

/* Looks for a key that stands twice in `count` checked pairs that begin at `pairs`. Strings are
 * equal whatever the size of their header, numbers are equal as numbers, arrays and maps only byte
 * for byte. *out_second: the later of the two keys, or NULL. Errors: MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_check_keys(const uint8_t *pairs, uint32_t count,
                                        const uint8_t **out_second);

#endif
