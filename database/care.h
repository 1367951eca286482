/* database/care.h - the calls of merle/care.h for tests and simulators: with the seams filled in.
 *
 * Threads as in merle/care.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DATABASE_CARE_H
#define MRL_DATABASE_CARE_H

#include <stdatomic.h>

#include <merle/care.h>

#include "base/seam.h"

/* merle_backup that may be cancelled; is_cancelled NULL: it may not. Errors besides: MERLE_AGAIN:
 * it was. */
MERLE_MUST_USE merle_err mrl_db_backup(merle_db *db, const char *path,
                                       const merle_care_options *options,
                                       const _Atomic int *is_cancelled, merle_care_info *out_info,
                                       merle_report *report);
/* environment NULL: the real things. */
MERLE_MUST_USE merle_err mrl_db_restore(const mrl_environment *environment, const char *from,
                                        const char *to, const merle_care_options *options,
                                        merle_care_info *out_info, merle_report *report);
MERLE_MUST_USE merle_err mrl_db_verify(const mrl_environment *environment, const char *path,
                                       const merle_care_options *options, merle_care_info *out_info,
                                       merle_report *report);
MERLE_MUST_USE merle_err mrl_db_repair(const mrl_environment *environment, const char *path,
                                       const char *to, const merle_care_options *options,
                                       merle_care_info *out_info, merle_report *report);

#endif
