/* base/report.h - filling the report that a failing call leaves with its caller.
 *
 * What    turns what went wrong into a merle_report: one readable sentence, and the parts of it.
 * Owns    nothing; the report belongs to the caller of the public function.
 * Sees    every function here takes a NULL report and then does nothing. Texts that do not fit are
 *         cut at the array's end with "...".
 * Threads any, on a report of the thread's own.
 * Use     mrl_report_fill first (it empties the report), then mrl_report_key and the others.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_REPORT_H
#define MRL_BASE_REPORT_H

#include <stdarg.h>

#include <merle/base.h>

#define MRL_REPORT_OPERATION_NONE UINT32_MAX

/* Empties the report: err MERLE_OK, no operation, empty strings. */
void mrl_report_clear(merle_report *report);

/* Empties the report, then sets err and the message (format NULL: merle_err_text). Returns err, so
 * that a caller can write `err = mrl_report_fill(report, MERLE_TYPE, ...)`. */
__attribute__((format(printf, 3, 4), cold)) merle_err mrl_report_fill(merle_report *report,
                                                                      merle_err err,
                                                                      const char *format, ...);
__attribute__((format(printf, 3, 0), cold)) merle_err mrl_report_fill_list(merle_report *report,
                                                                           merle_err err,
                                                                           const char *format,
                                                                           va_list arguments);

/* Sets one part and leaves the others as they are. text may be NULL, which means empty. */
void mrl_report_collection(merle_report *report, const char *text);
void mrl_report_index(merle_report *report, const char *text);
void mrl_report_path(merle_report *report, const char *text);
void mrl_report_expected(merle_report *report, const char *text);
void mrl_report_found(merle_report *report, const char *text);
/* The document's key; bytes that do not print, and the backslash, are written as \xNN. */
void mrl_report_key(merle_report *report, merle_bytes key);
void mrl_report_operation(merle_report *report, uint32_t operation);
void mrl_report_offset(merle_report *report, uint64_t offset);
void mrl_report_errno(merle_report *report, int system_errno);

/* Puts text before the message: "commit operation 3: " + message. */
__attribute__((format(printf, 2, 3), cold)) void mrl_report_prefix(merle_report *report,
                                                                   const char *format, ...);

/* Writes bytes as printable ASCII into out (terminated, cut with "..."); others as \xNN. */
void mrl_report_escape(merle_bytes bytes, char *out, size_t out_max);

#endif
