/* persist/care.h - what backup, restore, verify and repair share: where they read, what they tell,
 * and how a new directory is made of a store.
 *
 * What    A source is a directory that nobody has open, with all its manifests that can be read. A
 *         target is a new directory, or an empty one. mrl_care_found writes a whole store to it.
 * Owns    a source: directory, lock, manifests. A target: directory and lock.
 * Sees    A source is never written to, but for its lock file. A target has no manifest before all
 *         that the manifest names is on stable storage: one that was cut off cannot be opened.
 * Threads setup; may wait on disk.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_PERSIST_CARE_H
#define MRL_PERSIST_CARE_H

#include <merle/care.h>

#include "base/seam.h"
#include "persist/directory.h"
#include "persist/log_set.h"
#include "persist/manifest.h"
#include "persist/persist.h"
#include "store/store.h"

/* One call of merle/care.h. */
typedef struct mrl_care {
    const mrl_files *files;
    const mrl_clock *clock;
    merle_care_options options; /* with threads filled in */
    merle_care_info info;
    merle_report *report; /* never NULL */
    merle_report first;   /* of the first finding that is damage; MERLE_OK: there was none */
    int is_quiet;         /* 1: findings are counted, and not told: they were before */
    mrl_log_terms terms;  /* of the directory that was recovered, the newest one too */
    mrl_store *store;     /* empty, in memory; NULL where none is needed */
    mrl_member *member;   /* of the store's domain */
} mrl_care;

/* ---- findings ---- */

/* Counts it and tells the application. */
void mrl_care_tell(mrl_care *care, const merle_finding *finding);
/* The same for what a report says. */
void mrl_care_tell_report(mrl_care *care, merle_finding_kind kind, const merle_report *report);
/* Damage of a file in words. */
void mrl_care_tell_damage(mrl_care *care, merle_finding_kind kind, const mrl_directory *directory,
                          const mrl_damage *damage);
void mrl_care_progress(mrl_care *care, const char *what, uint64_t done, uint64_t total);
/* What such an error says is wrong with the files, and not with the machine. */
int mrl_care_is_damage(merle_err err);

/* ---- sources ---- */

typedef struct mrl_care_source {
    mrl_directory directory;
    mrl_file_list list;
    mrl_manifest *manifests; /* those that can be read, oldest first; malloc */
    size_t manifest_count;
    size_t manifests_damaged; /* told as findings */
    uint64_t log_file_size;   /* of the newest log file; 0: there is none */
} mrl_care_source;

/* Opens the directory, takes its lock, reads the manifests; one that is damaged is told. Errors:
 * MERLE_NOT_FOUND, MERLE_BUSY, MERLE_UNSUPPORTED, MERLE_SYSTEM, MERLE_NO_MEMORY; nothing is open
 * then. */
MERLE_MUST_USE merle_err mrl_care_source_open(mrl_care *care, const char *path,
                                              mrl_care_source *out_source);
/* Zero-filled is closed. */
void mrl_care_source_close(mrl_care_source *source);
/* The newest; NULL: none could be read. */
mrl_manifest *mrl_care_newest(const mrl_care_source *source);
/* The log from where this manifest needs it, with everything that the newest one knows of it. For
 * reading only. Errors: those of mrl_log_set_open. */
MERLE_MUST_USE merle_err mrl_care_log_open(mrl_care *care, const mrl_care_source *source,
                                           const mrl_manifest *manifest, mrl_log_set **out_set,
                                           merle_report *report);
/* A whole recovery into the care's store, which is empty: the state after commit seq_end
 * (UINT64_MAX: the last one). Errors: those of mrl_recover. */
MERLE_MUST_USE merle_err mrl_care_recover(mrl_care *care, mrl_care_source *source,
                                          mrl_manifest *manifest, uint64_t seq_end,
                                          merle_recovery_info *out_recovery, merle_report *report);

/* ---- targets ---- */

/* Makes the directory, or takes an empty one, and its lock. Errors: MERLE_EXISTS, and those of
 * mrl_directory_open. */
MERLE_MUST_USE merle_err mrl_care_target_open(mrl_care *care, const char *path,
                                              mrl_directory *out_directory);
/* Closes it; after an error what was put there is removed, as far as that is possible. */
void mrl_care_target_close(mrl_directory *directory, merle_err err);

typedef struct mrl_care_found_options {
    uint64_t database_id[2];
    uint64_t term; /* the new one's is later */
    uint64_t seq;  /* the store's last commit */
    int64_t time_ns;
    uint64_t log_file_size; /* 0: the default */
    /* Terms whose commits up to seq the store has, as they were; NULL: that is not known of any. */
    const mrl_log_terms *terms;
} mrl_care_found_options;
/* Writes the care's store as a new database: a log without records, pages, a manifest. Errors:
 * MERLE_SYSTEM, MERLE_NO_SPACE, MERLE_NO_MEMORY. */
MERLE_MUST_USE merle_err mrl_care_found(mrl_care *care, mrl_directory *target,
                                        const mrl_care_found_options *options);

/* ---- the calls themselves; the care's report and info are filled ---- */

MERLE_MUST_USE merle_err mrl_backup(mrl_care *care, mrl_persist *persist, mrl_member *member,
                                    const char *path);
MERLE_MUST_USE merle_err mrl_restore(mrl_care *care, const char *from, const char *to);
/* Everything but what needs a database: *out_can_check, the store is filled and can be checked. */
MERLE_MUST_USE merle_err mrl_verify(mrl_care *care, const char *path, int *out_can_check);
MERLE_MUST_USE merle_err mrl_repair(mrl_care *care, const char *path, const char *to);

#endif
