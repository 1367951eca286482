/* tests/model/pretend_net.h - the network and the answers of a pretended server.
 *
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_MODEL_PRETEND_NET_H
#define TESTS_MODEL_PRETEND_NET_H

#include "pretend.h"

void pretend_net_init(pretend *p);
void pretend_net_fini(pretend *p);
/* The server's process ended: what it had not sent is gone, questions break off. is_other: and some
 * of what it had sent is not true any more. */
void pretend_net_restart(pretend *p, int is_other);

#endif
