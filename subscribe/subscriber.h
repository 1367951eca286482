/* subscribe/subscriber.h - a subscriber over a network and a clock that the caller names.
 *
 * What    what merle_subscriber_open does, for simulators and tests: the network, the clock and the
 *         seed are handed in, there is no descriptor and no thread.
 * Owns    its two sockets, its copies of documents, messages that it has not told yet.
 * Sees    see merle/subscribe.h.
 * Threads owner only. Of `ready` of the network nothing is done but what options->ready does.
 * Limits  those of the options.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_SUBSCRIBE_SUBSCRIBER_H
#define MRL_SUBSCRIBE_SUBSCRIBER_H

#include <merle/subscribe.h>

#include "base/net.h"
#include "base/seam.h"

typedef struct mrl_subscriber_seams {
    const mrl_net *net;
    const mrl_clock *clock;
    uint64_t seed; /* of the hash, and of the pauses before it asks again */
    void *ready_context;
    void (*ready)(void *context); /* see mrl_net_options; may be NULL */
} mrl_subscriber_seams;

/* As merle_subscriber_open. Holds net and clock. */
MERLE_MUST_USE merle_err mrl_subscriber_open(const merle_subscriber_options *options,
                                             const mrl_subscriber_seams *seams,
                                             merle_subscriber **out_subscriber,
                                             merle_report *report);
void mrl_subscriber_close(merle_subscriber *subscriber);
/* As merle_subscriber_next. */
size_t mrl_subscriber_next(merle_subscriber *subscriber, merle_heard *out_heard, size_t heard_max);
/* By the clock: when mrl_subscriber_next should be called even if nothing has come. */
uint64_t mrl_subscriber_due_ns(const merle_subscriber *subscriber);
/* What is wrong with the subscriber's state; NULL: nothing. For tests. */
const char *mrl_subscriber_check(const merle_subscriber *subscriber);

#endif
