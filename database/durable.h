/* database/durable.h - who is told that more is on stable storage: a function, and a descriptor.
 *
 * Owns    the descriptor, made when it is first asked for.
 * Threads any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DATABASE_DURABLE_H
#define MRL_DATABASE_DURABLE_H

#include <stdatomic.h>
#include <stdint.h>

#include <merle/merle.h>

typedef struct mrl_durable {
    _Atomic int descriptor; /* and one; 0: none */
    merle_durable_fn *fn;
    void *context;
} mrl_durable;

/* Durable has moved; context is the mrl_durable. For mrl_log_start_options.moved. */
void mrl_durable_moved(void *context, uint64_t seq);
void mrl_durable_fini(mrl_durable *durable);

#endif
