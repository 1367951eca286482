/* base/counters.h - the names of everything that threads count. One list; merle_stats adds them up.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_COUNTERS_H
#define MRL_BASE_COUNTERS_H

typedef enum mrl_counter {
    MRL_N_COMMITS = 0,
    MRL_N_REFUSED,
    MRL_N_CONFLICTS,
    MRL_N_RETRIES,
    MRL_N_OPERATIONS,
    MRL_N_GETS,
    MRL_N_GETS_MISSED,
    MRL_N_GETS_UNIQUE,
    MRL_N_SCANS,
    MRL_N_RETIRED,
    MRL_N_FREED,
    MRL_N_RETIRED_BYTES,
    MRL_N_FREED_BYTES,
    MRL_N_COMMITS_OPEN, /* goes up and down: the sum over all threads is what is open */
    MRL_N_SPLITS,
    MRL_N_MERGES,
    MRL_N_REBUILDS,
    MRL_N_COPIED,     /* table entries copied by growth */
    MRL_N_COPIED_MAX, /* by one insert; the largest, not a sum */
    MRL_N_STEPS,
    MRL_N_STEP_MAX_NS, /* the largest, not a sum */
    MRL_N_EXPIRED,     /* documents that ended by themselves, and were removed */
    MRL_N_ABANDONED,
    MRL_COUNTER_COUNT
} mrl_counter;

#endif
