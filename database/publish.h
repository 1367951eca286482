/* database/publish.h - a publisher of a database over any network.
 *
 * What    merle_publish for tests, simulators and the operator's socket: with a network, and with
 *         who answers an operator.
 * Threads as merle_publish.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_DATABASE_PUBLISH_H
#define MRL_DATABASE_PUBLISH_H

#include "events/publish.h"

/* net is held until the close; operate NULL: nobody operates there. */
MERLE_MUST_USE merle_err mrl_db_publish(merle_db *db, const mrl_net *net, mrl_operate_fn *operate,
                                        void *operate_context, const merle_publish_options *options,
                                        merle_publisher **out_publisher);

#endif
