/* database/background.c - the thread "merle-step": does what merle_step does, and sleeps when there
 * is none.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/thread.h"
#include "database/step.h"
#include "store/build.h"
#include "store/expiry.h"

enum { PIECES_A_ROUND = 64, BUSY_COMMITS = 64, EXPIRY_PIECE_MAX = 256 };
#define TRIM_NS 1000000000u /* pages go back to the system at most so often */
#define EXPIRY_NS 3000000u  /* how late a look at what has come due may be */
#define BUSY_NS 10000000u   /* between rounds while writers are busy */

struct mrl_background {
    pthread_t thread;
    mrl_event wake;
    _Atomic int stop;
};

/* What the thread knows from one round to the next. */
typedef struct rounds {
    uint64_t last_seq;
    uint64_t trim_seq, trim_ns; /* when pages were given back */
    uint32_t idle_count;        /* rounds in a row in which nothing could be done */
} rounds;

/* Writers clean up behind themselves, with warmer caches and without a third thread that wants the
 * shards' locks and a processor: while they are busy one piece, now and then, keeps the quiet
 * corners in hand. What they leave when they stop is ours. Returns for how long nothing more need
 * be done. */
static uint64_t round_of_work(merle_db *db, mrl_member *member, rounds *r) {
    uint64_t now_ns = db->clock->monotonic_ns(db->clock->context);
    uint64_t seq = mrl_log_published_at(db->store.published);
    int writers_are_busy = seq - r->last_seq > BUSY_COMMITS;
    r->last_seq = seq;
    /* A build goes on beside them: somebody waits for it. */
    for (int i = 0; i < PIECES_A_ROUND; i++)
        if (mrl_expiry_some(&db->store, member, EXPIRY_PIECE_MAX) == 0) break;
    int is_short = writers_are_busy && !mrl_build_is_pending(&db->store);
    size_t did = 0, some;
    for (int i = 0; i < (is_short ? 1 : PIECES_A_ROUND); i++, did += some)
        if ((some = mrl_step_piece(db, member, now_ns)) == 0) break;
    r->idle_count = did == 0 ? r->idle_count + 1 : 0;
    mrl_count(member, MRL_N_STEPS, 1);
    if (is_short) return BUSY_NS;
    if (mrl_step_has_more(db, member)) return mrl_step_rest_ns(r->idle_count);
    if (seq != r->trim_seq && now_ns - r->trim_ns >= TRIM_NS) {
        mrl_domain_trim(db->domain);
        r->trim_seq = seq;
        r->trim_ns = now_ns;
    }
    return MRL_STEP_IDLE_NS;
}

/* Documents that end want to be looked for more often. What is due now and was not removed, because
 * there is no room for its commit, is tried again after a grace period. */
static uint64_t until_due(merle_db *db, mrl_member *member, uint64_t rest_ns) {
    int64_t next_ns = mrl_expiry_next(&db->store, member);
    if (next_ns == INT64_MAX || rest_ns <= EXPIRY_NS) return rest_ns;
    return EXPIRY_NS;
}

static void *run(void *context) {
    merle_db *db = context;
    struct mrl_background *background = db->background;
    rounds r = {0};
    mrl_member *member = mrl_member_join(db->domain);
    while (!atomic_load_explicit(&background->stop, memory_order_acquire)) {
        uint32_t seen = mrl_event_count(&background->wake);
        if (atomic_load_explicit(&background->stop, memory_order_acquire)) break;
        /* Without memory for a member of its own it tries again later; nothing depends on it. */
        if (member == NULL) member = mrl_member_join(db->domain);
        uint64_t rest_ns = member != NULL ? until_due(db, member, round_of_work(db, member, &r))
                                          : MRL_STEP_IDLE_NS;
        (void)mrl_event_wait(&background->wake, seen, rest_ns);
    }
    return NULL;
}

merle_err mrl_background_start(merle_db *db) {
    struct mrl_background *background = calloc(1, sizeof *background);
    if (background == NULL) return MERLE_NO_MEMORY;
    mrl_event_init(&background->wake);
    db->background = background;
    if (mrl_thread_start("merle-step", run, db, &background->thread) != 0) {
        db->background = NULL;
        free(background);
        return MERLE_SYSTEM;
    }
    return MERLE_OK;
}

void mrl_background_stop(merle_db *db) {
    struct mrl_background *background = db->background;
    if (background == NULL) return;
    atomic_store_explicit(&background->stop, 1, memory_order_release);
    mrl_event_signal(&background->wake);
    pthread_join(background->thread, NULL);
    db->background = NULL;
    free(background);
}
