/* database/care.h - the calls of merle/care.h for tests and simulators: with the seams filled in.
 *
 * Threads as in merle/care.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DATABASE_CARE_H
#define MRL_DATABASE_CARE_H

#include <merle/care.h>

#include "base/seam.h"

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
