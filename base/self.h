/* base/self.h - what the library keeps for the calling thread.
 *
 * What    the one thread-local of merle: the running worker's scheduler (in a simulation), the
 *         memberships (which databases this thread has used), and who allocates while ck_malloc is
 *         being called.
 * Owns    nothing it points to.
 * Threads each thread, or each simulated worker, has its own; a simulator swaps them with
 *         mrl_self_swap.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_SELF_H
#define MRL_BASE_SELF_H

#include <stdint.h>

#include "base/seam.h"

struct mrl_member;

typedef struct mrl_self {
    const mrl_scheduler *scheduler; /* NULL: a real thread */
    struct mrl_member *member;      /* of the database used last; NULL: none yet */
    uint64_t member_serial;         /* that database's serial number; 0 is nobody's */
    struct mrl_member *members;     /* all memberships, linked */
    struct mrl_member *allocating;  /* whose memory ck_malloc takes, while a call into ck lasts */
} mrl_self;

extern MRL_THREAD_LOCAL mrl_self mrl_self_own;
extern MRL_THREAD_LOCAL mrl_self *mrl_self_swapped; /* NULL: the thread's own */

static inline mrl_self *mrl_self_get(void) {
    mrl_self *swapped = mrl_self_swapped;
    return __builtin_expect(swapped != NULL, 0) ? swapped : &mrl_self_own;
}

/* From now on this thread runs as another worker; NULL: as itself. Only a simulator calls it. */
static inline void mrl_self_swap(mrl_self *self) {
    mrl_self_swapped = self;
}

/* A named place between two steps of a protocol, at which a simulated schedule may switch. */
static inline void mrl_point(const char *name) {
    mrl_self *swapped = mrl_self_swapped;
    if (__builtin_expect(swapped != NULL && swapped->scheduler != NULL, 0))
        swapped->scheduler->point(swapped->scheduler->context, name);
}

#endif
