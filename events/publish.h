/* events/publish.h - a publisher with everything that it stands on handed in.
 *
 * What    merle_publish for database/, which knows the network, and for tests and simulators, which
 *         have their own.
 * Owns    what it opens: sockets, cursors, its thread. The ground is copied, what it points to is
 *         held until the close.
 * Sees    the log behind what followers of its kind are told; never more than subscribers may.
 * Threads as merle_publish. All work is done by one thread: its own, or the one that steps it;
 *         others read figures under its lock.
 * Limits  see merle_publish_options.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_EVENTS_PUBLISH_H
#define MRL_EVENTS_PUBLISH_H

#include <merle/publish.h>

#include "base/net.h"
#include "base/seam.h"
#include "store/store.h"
#include "wire/event.h"

/* Answers an operator: *result is empty, and becomes a msgpack map. Runs in the publisher's thread,
 * with its lock held: it must not call the publisher. Errors are told to who asked. */
typedef merle_err mrl_operate_fn(void *context, merle_bytes verb, merle_bytes arguments,
                                 merle_buffer *result);

typedef struct mrl_publish_ground {
    mrl_store *store;
    const mrl_net *net;
    mrl_wire_history history;
    const mrl_wire_term *terms; /* earlier ones, newest first; copied */
    size_t term_count;
    int may_have_thread;
    /* Asked only for questions to `operate`; NULL: nobody operates here. */
    mrl_operate_fn *operate;
    void *operate_context;
} mrl_publish_ground;

/* As merle_publish. */
MERLE_MUST_USE merle_err mrl_publish_open(const mrl_publish_ground *ground,
                                          const merle_publish_options *options,
                                          merle_publisher **out_publisher);

#endif
