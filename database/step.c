/* database/step.c - merle_step: reclaiming, tearing down, building indexes, looking at
 * old sections, the log's and the checkpoints' files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "database/step.h"

#include "database/stats.h"
#include "store/build.h"
#include "store/expiry.h"

/* What a step looks at before it asks for the time again. */
enum { PIECE_MAX = 128, BUILD_PIECE_MAX = 256, EXPIRY_PIECE_MAX = 256 };

size_t mrl_step_piece(merle_db *db, mrl_member *member, uint64_t now_ns) {
    mrl_sections_look(db, now_ns);
    mrl_notices_look(db);
    size_t done = mrl_expiry_some(&db->store, member, EXPIRY_PIECE_MAX);
    done += mrl_reclaim_some(&db->store, member, PIECE_MAX);
    done += mrl_files_step(db, member, now_ns);
    return done + mrl_build_some(&db->store, member, BUILD_PIECE_MAX);
}

int mrl_step_has_more(merle_db *db, mrl_member *member) {
    return mrl_files_have_more(db) || mrl_build_is_pending(&db->store) ||
           mrl_expiry_is_pending(&db->store, member) || !mrl_reclaim_is_done(&db->store, member);
}

merle_err merle_step(merle_db *db, uint64_t now_ns, uint64_t budget_ns) {
    if (db == NULL) return MERLE_INVALID;
    if (mrl_domain_is_forked(db->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(db->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    const mrl_clock *clock = db->clock;
    uint64_t began_ns = clock->monotonic_ns(clock->context);
    if (now_ns == 0) now_ns = began_ns;
    uint64_t spent_ns = 0;
    size_t done;
    do {
        done = mrl_step_piece(db, member, now_ns);
        spent_ns = clock->monotonic_ns(clock->context) - began_ns;
    } while (done != 0 && spent_ns < budget_ns);
    mrl_count(member, MRL_N_STEPS, 1);
    mrl_count_max(member, MRL_N_STEP_MAX_NS, spent_ns);
    if (mrl_step_has_more(db, member)) return MERLE_BUSY;
    mrl_member_rest(member);
    return MERLE_OK;
}
