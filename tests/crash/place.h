/* tests/crash/place.h - a database on a simulated disk, for tests that harm one.
 *
 * What    A disk, what a database is opened with there, and the database while it is open: without
 *         threads, with small files and no checkpoint but those that are asked for.
 * Owns    the disk, until place_fini.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_CRASH_PLACE_H
#define TESTS_CRASH_PLACE_H

#include <string.h>

#include "database/database.h"
#include "tests/sim/disk.h"

typedef struct place {
    disk *disk;
    mrl_environment environment;
    merle_options options;
    merle_report report;
    merle_db *db; /* NULL: it is not open */
    merle_collection *things;
} place;

/* Another disk takes the place of this one, which the caller has from now on. */
static inline void place_use(place *p, disk *d) {
    p->disk = d;
    p->environment.files = disk_files(d);
}

static inline void place_init(place *p, uint64_t seed) {
    memset(p, 0, sizeof *p);
    place_use(p, disk_create(seed));
    p->environment.hash_seed = 7;
    p->environment.database_id[0] = 1;
    p->options = (merle_options){.threads = MERLE_THREADS_NONE,
                                 .report = &p->report,
                                 .log_file_size = 64 << 10,
                                 .ring_size = 64 << 10,
                                 .patience = MERLE_WAIT,
                                 .checkpoint_log_bytes = UINT64_MAX};
}

static inline void place_fini(place *p) {
    disk_destroy(p->disk);
}

static inline merle_err place_open(place *p, const char *path) {
    merle_err err = mrl_db_open(path, &p->options, &p->environment, &p->db);
    if (err == MERLE_OK) merle_report_to(p->db, &p->report);
    return err;
}

#if defined(__SANITIZE_ADDRESS__)
/* What a machine that was stopped had in memory is never given back. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) {
    return 1;
}
#endif

#endif
