/* merle/care.h - looking after a database's directory: backup, restore, verify, repair.
 *
 * A backup is made of a running database; restore, verify and repair work on a directory that
 * nobody has open, and take its lock. Restore and repair write a new directory and never touch the
 * one that they read. docs/operations.md says which to use when, and what each promises.
 *
 * A new directory is complete when the call returns MERLE_OK. One that was cut off, by a crash or
 * an error, has no manifest and cannot be opened; remove it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MERLE_CARE_H
#define MERLE_CARE_H

#include <merle/base.h>
#include <merle/merle.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum merle_finding_kind {
    MERLE_FOUND_DAMAGE = 1,    /* bytes are not what a checksum says, or impossible */
    MERLE_FOUND_MISSING = 2,   /* a file that something refers to */
    MERLE_FOUND_ORPHAN = 3,    /* a file that nothing refers to: harmless, it takes room */
    MERLE_FOUND_HOLE = 4,      /* commits that were durable cannot be read from the log */
    MERLE_FOUND_INDEX = 5,     /* recovered documents and their indexes do not agree */
    MERLE_FOUND_DUPLICATE = 6, /* two documents with one key or one unique value */
    MERLE_FOUND_LOST = 7,      /* by repair: documents, or changes of them, that could not be had */
    MERLE_FOUND_OLDER = 8      /* by repair: taken from an older state, with all changes since */
} merle_finding_kind;
/* "damage", "missing", ... Threads: any. Never NULL. */
MERLE_API const char *merle_finding_name(merle_finding_kind kind);

/* Something that verify or repair has met. Strings are terminated; what does not apply is empty
 * or 0. */
typedef struct merle_finding {
    merle_finding_kind kind;
    uint32_t collection_id;
    uint64_t offset;              /* in the file */
    uint64_t slot_first;          /* places of documents in the collection, ... */
    uint64_t slot_count;          /* ... so many of them */
    uint64_t seq_first, seq_last; /* commits */
    char file[64];                /* its name in the directory */
    char collection[64];
    char key[128]; /* bytes that do not print as \xNN */
    char expected[128];
    char found[128];
    char message[256]; /* one sentence with all of it */
} merle_finding;
/* Called in the calling thread of the call that finds; the finding lives until it returns. Must not
 * call merle. */
typedef void merle_finding_fn(void *context, const merle_finding *finding);

typedef enum merle_behind_holes {
    MERLE_BEHIND_HOLES_DEFAULT = 0, /* take */
    MERLE_BEHIND_HOLES_TAKE = 1,    /* whole documents and removals of commits behind a hole count;
                                     * patches only of documents that are known since */
    MERLE_BEHIND_HOLES_STOP = 2     /* the database as it was before the first lost commit */
} merle_behind_holes;

/* Zero-fill; every zero is a good default. Set size to sizeof (0 counts as this version's). */
typedef struct merle_care_options {
    size_t size;
    merle_progress_fn *progress; /* "pages", "log", "indexes", "copy": bytes or documents; NULL */
    void *progress_context;
    merle_finding_fn *finding; /* of verify and repair; NULL */
    void *finding_context;
    const struct merle_function *functions; /* as merle_options; NULL: such indexes are not built,
                                             * and not compared */
    uint32_t threads;                       /* to read with; 0: one for each processor, at most 8 */
    merle_behind_holes behind_holes;        /* of repair */
    /* Of restore: the last commit that is in it. seq 0 and time_ns 0: all there is. */
    uint64_t seq;
    int64_t time_ns; /* since 1970: the last commit that was not later; seq must be 0 */
    merle_compression compression; /* of the pages that restore and repair write */
    uint32_t reserved;
} merle_care_options;

/* What was done. What does not apply is 0. */
typedef struct merle_care_info {
    size_t size; /* as given, or 0 */
    uint64_t database_id[2];
    uint64_t term;
    uint64_t seq;     /* the last commit that the copy, or the directory, has */
    int64_t time_ns;  /* of it; 0: not known */
    uint64_t seq_min; /* restore and verify: the first and the last commit to which the directory */
    uint64_t seq_max; /* can be restored; also filled where restore refuses */
    int64_t time_min_ns, time_max_ns;
    uint64_t manifests, page_files, log_files, bytes; /* read or copied */
    uint64_t bytes_linked;                            /* backup: not copied, but linked */
    uint64_t pages, records;                          /* read */
    uint64_t documents; /* of restore, verify and repair: those of the state that was recovered */
    uint64_t findings;  /* told, of all kinds */
    uint64_t damaged;   /* of them: all but orphans and what is older */
    uint64_t pages_lost, pages_older; /* repair: pages that could not be had; older ones */
    uint64_t records_lost;            /* commits in holes */
    uint64_t operations_lost;         /* changes behind a hole that could not be applied */
    uint64_t duplicates;              /* documents given up for newer ones */
} merle_care_info;

/* Copies a running database to a new directory, as it is at one commit that is not before the call.
 * Writers go on. Files of pages are linked where that is possible, else copied; the log is copied.
 * The copy opens like any directory, with the same database id. options and out_info may be NULL.
 * Errors: MERLE_EXISTS (path has files in it), MERLE_NOT_FOUND (db has no path), MERLE_SYSTEM,
 * MERLE_NO_SPACE, MERLE_NO_MEMORY, MERLE_READ_ONLY (the log has failed). Threads: any, may wait on
 * disk. */
MERLE_API MERLE_MUST_USE merle_err merle_backup(merle_db *db, const char *path,
                                                const merle_care_options *options,
                                                merle_care_info *out_info, merle_report *report);

/* Makes a new directory `to` from directory or backup `from`, as it was right after a commit. The
 * database keeps its id and goes on in a later term; commits after that one are not in it. Errors:
 * MERLE_NOT_FOUND (that moment is not within what `from` has: out_info says what is), MERLE_EXISTS
 * (`to` has files in it), MERLE_BUSY (somebody has `from` open), MERLE_INVALID, MERLE_CORRUPT,
 * MERLE_UNSUPPORTED, MERLE_SYSTEM, MERLE_NO_SPACE, MERLE_NO_MEMORY. Threads: any, may wait. */
MERLE_API MERLE_MUST_USE merle_err merle_restore(const char *from, const char *to,
                                                 const merle_care_options *options,
                                                 merle_care_info *out_info, merle_report *report);

/* Reads everything and compares: every checksum of every file that any kept manifest needs, the
 * log from end to end, then a whole recovery in memory with all indexes against all documents.
 * Writes nothing. Each finding is told; report has the first that is damage. Errors: MERLE_CORRUPT
 * (something is damaged; orphans are not), MERLE_BUSY (somebody has it open), MERLE_NOT_FOUND (no
 * such directory, or no database in it), MERLE_UNSUPPORTED, MERLE_SYSTEM, MERLE_NO_MEMORY.
 * Threads: any, may wait. */
MERLE_API MERLE_MUST_USE merle_err merle_verify(const char *path, const merle_care_options *options,
                                                merle_care_info *out_info, merle_report *report);

/* Takes out of a damaged directory what can be taken, and writes it to a new directory `to`. What
 * was lost is told as findings. A page that cannot be read is replaced by an older one with all
 * later commits, where they are there; nothing is ever made of parts of different moments without
 * being told. MERLE_OK: `to` is a sound database, whatever was lost: see out_info. Errors:
 * MERLE_CORRUPT (nothing could be taken), MERLE_EXISTS, MERLE_BUSY, MERLE_NOT_FOUND,
 * MERLE_UNSUPPORTED, MERLE_SYSTEM, MERLE_NO_SPACE, MERLE_NO_MEMORY. Threads: any, may wait. */
MERLE_API MERLE_MUST_USE merle_err merle_repair(const char *path, const char *to,
                                                const merle_care_options *options,
                                                merle_care_info *out_info, merle_report *report);

#ifdef __cplusplus
}
#endif
#endif
