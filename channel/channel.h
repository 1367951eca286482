/* channel/channel.h - nng behind the seam for messages (base/net.h).
 *
 * What    PUBLISH is pub0, SUBSCRIBE sub0, ANSWER rep0 with contexts, ASK one context of req0; on
 *         inproc, ipc, tcp, tls+tcp, ws and wss.
 * Owns    its sockets. nng starts its threads at the first open and keeps them until the process
 *         ends.
 * Sees    what base/net.h promises, and no more: nng's pub0 drops the oldest message of a slow
 *         peer and tells nobody, so `dropped` counts only what a full queue of our own lost.
 * Threads any; on one socket one call at a time. close waits for callbacks of nng that are under
 *         way, and two seconds at most for its connections to end; everything else waits only for
 *         short locks. `ready` comes from nng's threads; none of our locks is held then.
 * Limits  queue at most 8192, MRL_CHANNEL_QUESTION_MAX questions open on one ANSWER socket. On
 *         ws:// and wss:// nng 1.5.2 limits what a listener puts together, but not what a dialer
 *         does: there one frame is limited, and a message that is too large is thrown away whole.
 *         On tls+tcp:// a peer that breaks off amid a message can stop nng for the whole process:
 *         see README.md; wss:// has no such trouble.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_CHANNEL_CHANNEL_H
#define MRL_CHANNEL_CHANNEL_H

#include "base/net.h"

enum { MRL_CHANNEL_QUESTION_MAX = 4096 };

extern const mrl_net mrl_net_nng;

#endif
