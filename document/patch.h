/* document/patch.h - changing documents by operations, and by the effects of operations.
 *
 * What    applies operations to a checked document and tells their effect: results, in order, that
 *         can be applied again without computing anything.
 * Effect  msgpack: an array of [path, value] (set) and [path] (unset); a path is an array of string
 *         keys and non-negative indexes. An index one past the end of its array, as the last step
 *         of a set, appends. Maps that are missing on the way are made.
 * Owns    nothing; buffers belong to the caller, and are only grown.
 * Sees    mrl_effect_apply(doc, effect of ops) gives the bytes of mrl_patch_apply(doc, ops). Bytes
 *         that no operation touches stay as they were.
 * Threads owner of the buffers only.
 * Limits  MERLE_DOCUMENT_SIZE_MAX, MERLE_DEPTH_MAX: MERLE_TOO_BIG.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DOCUMENT_PATCH_H
#define MRL_DOCUMENT_PATCH_H

#include <merle/document.h>

/* Checks everything that can be told without a document: paths, kinds, values. Errors:
 * MERLE_INVALID, MERLE_BAD_DOCUMENT (a value's bytes), MERLE_TOO_BIG; the report's operation is the
 * number of the operation. */
MERLE_MUST_USE merle_err mrl_ops_check(const merle_op *ops, size_t op_count, merle_report *report);

/* Applies operations that passed mrl_ops_check to a checked document. All or nothing: on an error
 * both buffers are empty. The buffers must not hold doc or the operations' bytes. out_effect may be
 * NULL. An effect of no entries (one byte, 0x90, where op_count < 16) says that nothing changed.
 * Errors: MERLE_TYPE, MERLE_OVERFLOW, MERLE_NOT_FOUND, MERLE_TOO_BIG, MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_patch_apply(const uint8_t *doc, size_t size, const merle_op *ops,
                                         size_t op_count, merle_buffer *out_document,
                                         merle_buffer *out_effect, merle_report *report);

/* Applies an effect (foreign bytes) to a checked document. Errors: MERLE_BAD_DOCUMENT for whatever
 * is wrong with the effect, also that it does not fit the document; MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_effect_apply(const uint8_t *doc, size_t size, merle_bytes effect,
                                          merle_buffer *out_document, merle_report *report);

/* Deep copies of operations in one piece of memory, aligned to 8, of mrl_ops_size bytes. The copy
 * lies at its beginning and points into it. */
size_t mrl_ops_size(const merle_op *ops, size_t op_count);
merle_op *mrl_ops_copy_into(void *memory, const merle_op *ops, size_t op_count);

#endif
