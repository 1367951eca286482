/* database/publish.c - merle_publish: puts a publisher on what only this room knows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "database/publish.h"

#include <string.h>

#include "channel/channel.h"
#include "database/database.h"

merle_err mrl_db_publish(merle_db *db, const mrl_net *net, mrl_operate_fn *operate,
                         void *operate_context, const merle_publish_options *options,
                         merle_publisher **out_publisher) {
    mrl_log_term earlier[MRL_WIRE_TERM_MAX];
    mrl_wire_term terms[MRL_WIRE_TERM_MAX];
    size_t count;
    *out_publisher = NULL;
    if (db == NULL) return MERLE_INVALID;
    mrl_publish_ground ground = {.store = &db->store,
                                 .net = net,
                                 .terms = terms,
                                 .operate = operate,
                                 .operate_context = operate_context};
    mrl_db_terms(db, earlier, MRL_WIRE_TERM_MAX, &count);
    for (size_t i = 0; i < count; i++)
        terms[i] = (mrl_wire_term){.id = earlier[i].id, .end = earlier[i].end_seq};
    ground.term_count = count;
    _Static_assert((int)MRL_HISTORY_SIZE == (int)MRL_WIRE_HISTORY_SIZE, "the same bytes");
    mrl_db_history(db, ground.history.bytes);
    ground.may_have_thread = db->options.threads == MERLE_THREADS_BACKGROUND;
    return mrl_publish_open(&ground, options, out_publisher);
}

merle_err merle_publish(merle_db *db, const merle_publish_options *options,
                        merle_publisher **out_publisher) {
    return mrl_db_publish(db, &mrl_net_nng, NULL, NULL, options, out_publisher);
}
