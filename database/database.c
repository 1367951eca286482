/* database/database.c - opening, wiring and closing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "database/database.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "base/report.h"
#include "database/step.h"

#define MEBIBYTE ((uint64_t)1 << 20)
#define RING_SIZE_DEFAULT (8 * MEBIBYTE)
#define RING_SIZE_MIN ((uint64_t)64 << 10)
#define RETIRED_DEFAULT (1024 * MEBIBYTE)
#define COMMIT_SIZE_MIN (17 * MEBIBYTE)
#define RESERVE_MIN MEBIBYTE
#define LOAD_THREADS 2 /* that build the indexes of a bulk load */

/* The caller's options, with every zero replaced by what it stands for. */
static merle_err complete(const merle_options *given, merle_options *out) {
    memset(out, 0, sizeof *out);
    size_t size = given == NULL ? 0 : given->size == 0 ? sizeof *given : given->size;
    /* A program built against an older header has a shorter struct: the rest stays zero. */
    if (size > sizeof *out)
        return mrl_report_fill(given->report, MERLE_INVALID,
                               "the options are larger than this library knows: it is older");
    if (size > 0) memcpy(out, given, size);
    if ((unsigned)out->threads > MERLE_THREADS_BACKGROUND)
        return mrl_report_fill(out->report, MERLE_INVALID, "options: unknown value of threads");
    if (out->huge_pages > 1)
        return mrl_report_fill(out->report, MERLE_INVALID, "options: huge_pages is 0 or 1");
    if (out->manifests_kept > MRL_MANIFESTS_KEPT_MAX)
        return mrl_report_fill(out->report, MERLE_INVALID, "options: manifests_kept is above 64");
    if ((unsigned)out->compression > MERLE_COMPRESSION_ZSTD)
        return mrl_report_fill(out->report, MERLE_INVALID, "options: unknown value of compression");
    if ((unsigned)out->access > MERLE_ACCESS_READ)
        return mrl_report_fill(out->report, MERLE_INVALID, "options: unknown value of access");
    if ((unsigned)out->durability > MERLE_SYNC_LATER || (unsigned)out->patience > MERLE_REFUSE)
        return mrl_report_fill(out->report, MERLE_INVALID,
                               "options: unknown value of durability or patience");
    if (out->threads == MERLE_THREADS_DEFAULT) out->threads = MERLE_THREADS_BACKGROUND;
    if (out->ring_size == 0) out->ring_size = RING_SIZE_DEFAULT;
    if (out->ring_size < RING_SIZE_MIN)
        return mrl_report_fill(out->report, MERLE_INVALID, "options: ring_size is below 64 KiB");
    if (out->retired_max == 0)
        out->retired_max = out->memory_max != 0 ? out->memory_max / 4 : RETIRED_DEFAULT;
    if (out->commit_size_max == 0)
        out->commit_size_max =
            out->ring_size / 2 > COMMIT_SIZE_MIN ? out->ring_size / 2 : COMMIT_SIZE_MIN;
    return MERLE_OK;
}

static merle_err create_domain(merle_db *db, const merle_options *options) {
    uint64_t reserve = options->memory_max / 32;
    mrl_domain_options domain_options = {
        .refusal = db->environment.refusal,
        .bytes_max = options->memory_max,
        .bytes_reserve = reserve < RESERVE_MIN ? RESERVE_MIN : reserve,
        .huge_pages = options->huge_pages,
        .leaving = mrl_store_leaving,
        .leaving_context = &db->store,
    };
    return mrl_domain_create(&domain_options, &db->domain);
}

static void identify(merle_db *db) {
    memcpy(db->database_id, db->environment.database_id, sizeof db->database_id);
    if ((db->database_id[0] | db->database_id[1]) == 0) {
        db->database_id[0] = mrl_random_seed();
        db->database_id[1] = mrl_random_seed();
    }
    /* Without files every opening is a database of its own, in its first term. */
    db->term = 1;
    /* A simulated run has to be the same each time. */
    uint64_t seed = db->environment.hash_seed;
    if (seed != 0) seed = mrl_mix_u64(seed ^ (uint64_t)db->clock->wall_ns(db->clock->context));
    db->term_id = seed != 0 ? seed : mrl_random_seed();
}

static merle_err wire(merle_db *db, const char *path) {
    const merle_options *options = &db->options;
    merle_err err = create_domain(db, options);
    if (err != MERLE_OK) return err;
    err = mrl_log_create(db->domain, db->clock, options->ring_size, &db->log);
    if (err != MERLE_OK) return err;
    uint64_t seed = db->environment.hash_seed;
    mrl_store_options store_options = {
        .domain = db->domain,
        .log = db->log,
        .clock = db->clock,
        .hash_seed = seed != 0 ? seed : mrl_random_seed(),
        .retired_max = options->retired_max,
        .commit_size_max = options->commit_size_max,
        .durability = options->durability,
        .patience = options->patience,
        .db = db,
    };
    mrl_store_init(&db->store, &store_options);
    if (options->threads != MERLE_THREADS_NONE) db->store.load_threads = LOAD_THREADS;
    if (path == NULL) return MERLE_OK;
    mrl_member *member = mrl_member_join(db->domain);
    return member == NULL ? MERLE_NO_MEMORY : mrl_files_open(db, path, member);
}

static void stop_threads(merle_db *db) {
    mrl_pages_stop(db);
    mrl_background_stop(db);
}

static merle_err start_threads(merle_db *db) {
    if (db->options.threads != MERLE_THREADS_BACKGROUND) return MERLE_OK;
    merle_err err = mrl_background_start(db);
    if (err == MERLE_OK && db->persist != NULL && db->options.access != MERLE_ACCESS_READ)
        err = mrl_pages_start(db);
    return err;
}

/* Takes down what stands, of a database that nobody uses. Errors: MERLE_NOT_DURABLE. */
static merle_err take_down(merle_db *db) {
    merle_err err = MERLE_OK;
    mrl_member *member = db->domain == NULL ? NULL : mrl_member_join(db->domain);
    stop_threads(db);
    if (member != NULL) {
        if (db->persist != NULL) err = mrl_persist_close(db->persist, member);
        if (db->store.domain != NULL) mrl_store_fini(&db->store, member);
        if (db->log != NULL) mrl_log_destroy(db->log, member);
    }
    if (db->domain != NULL) mrl_domain_destroy(db->domain);
    mrl_durable_fini(&db->durable);
    free(db);
    return err;
}

merle_err mrl_db_open(const char *path, const merle_options *given,
                      const mrl_environment *environment, merle_db **out_db) {
    merle_options options;
    *out_db = NULL;
    merle_err err = complete(given, &options);
    if (err != MERLE_OK) return err;
    merle_db *db = calloc(1, sizeof *db);
    if (db == NULL) return mrl_report_fill(options.report, MERLE_NO_MEMORY, NULL);
    if (environment != NULL) db->environment = *environment;
    db->clock = db->environment.clock != NULL ? db->environment.clock : &mrl_clock_system;
    db->memory_max = options.memory_max;
    db->options = options;
    db->notices.fn = options.log;
    db->notices.context = options.log_context;
    db->durable.fn = options.durable;
    db->durable.context = options.durable_context;
    identify(db);
    mrl_report_clear(options.report);
    if ((err = wire(db, path)) == MERLE_OK) err = start_threads(db);
    if (err != MERLE_OK) {
        (void)take_down(db);
        /* Who knew more has filled it already. */
        if (options.report != NULL && options.report->err == err) return err;
        return mrl_report_fill(options.report, err, "the database was not opened: %s",
                               merle_err_text(err));
    }
    *out_db = db;
    return MERLE_OK;
}

merle_err merle_open(const char *path, const merle_options *options, merle_db **out_db) {
    return mrl_db_open(path, options, NULL, out_db);
}

static void add_open(void *context, mrl_member *member) {
    *(uint64_t *)context += atomic_load_explicit(&member->sections_open, memory_order_acquire);
}

merle_err merle_close(merle_db *db) {
    uint64_t open = 0;
    if (db == NULL) return MERLE_OK;
    if (mrl_domain_is_forked(db->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(db->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    /* The threads have no section open between their pieces of work: they end before we count. */
    int had_threads = db->background != NULL;
    stop_threads(db);
    mrl_member_each(db->domain, add_open, &open);
    open += mrl_domain_count(db->domain, MRL_N_COMMITS_OPEN);
    open += atomic_load_explicit(&db->store.cursors_open, memory_order_acquire);
    open += atomic_load_explicit(&db->store.loads_open, memory_order_acquire);
    if (open != 0) {
        merle_err err = had_threads ? start_threads(db) : MERLE_OK;
        (void)err; /* without the thread the host's commits and steps still reclaim */
        return mrl_store_fail(member, MERLE_BUSY, NULL, merle_bytes_of(NULL, 0),
                              "%llu sections, commits, cursors or bulk loads are still open",
                              (unsigned long long)open);
    }
    return take_down(db);
}
