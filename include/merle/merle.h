/* merle/merle.h - the database: open, collections, commits, sections, changes, what goes on inside.
 *
 * A database holds named collections of documents in memory. Writers group operations into commits:
 * one instant, one log record, all or nothing. Readers open a section: no lock, no copy, one
 * instant, however long it lasts. Every thread may use the database; it registers by itself at its
 * first call and leaves by itself when it ends. See examples/ and docs/architecture.md.
 *
 * Known traps. Pointers handed out in a section die with it. A section kept open keeps old versions
 * in memory. A commit is a section too: end or cancel it in the thread that began it. What is read
 * through the section of a commit is not checked when it ends: only merle_commit_get and
 * merle_commit_get_unique are. SPDX-License-Identifier: Apache-2.0
 */
#ifndef MERLE_MERLE_H
#define MERLE_MERLE_H

#include <merle/base.h>
#include <merle/document.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct merle_db merle_db;
typedef struct merle_collection merle_collection;
typedef struct merle_commit merle_commit;
typedef struct merle_changes merle_changes;

/* ---- opening ---- */

typedef enum merle_log_level {
    MERLE_LOG_INFO = 1,
    MERLE_LOG_WARNING = 2,
    MERLE_LOG_ERROR = 3
} merle_log_level;
/* What an operator should know. Called from any thread of the database with no lock held; must not
 * call merle. */
typedef void merle_log_fn(void *context, merle_log_level level, const char *text);

typedef enum merle_threads {
    MERLE_THREADS_DEFAULT = 0,   /* yes */
    MERLE_THREADS_NONE = 1,      /* none ever: the host calls merle_step */
    MERLE_THREADS_BACKGROUND = 2 /* one thread named "merle-step" does what merle_step does */
} merle_threads;

/* Told while a database is opened, in the thread that opens it: what is being done ("pages", "log",
 * "indexes"), and how much of it, in bytes or documents. Must not call merle. */
typedef void merle_progress_fn(void *context, const char *what, uint64_t done, uint64_t total);

struct merle_function;
typedef enum merle_compression {
    MERLE_COMPRESSION_NONE = 0,
    MERLE_COMPRESSION_ZSTD = 1 /* of pages, where it saves an eighth at least */
} merle_compression;

/* What an opening may do to a directory. */
typedef enum merle_access {
    MERLE_ACCESS_DEFAULT = 0,  /* opens the database, or makes it */
    MERLE_ACCESS_EXISTING = 1, /* it must be there: MERLE_NOT_FOUND */
    /* It must be there, and nothing is written but the lock: what is in the files is recovered into
     * memory. Every write and every definition is MERLE_READ_ONLY. Indexes whose functions are not
     * among the options' are left out. Change cursors read the log's files from the first one that
     * is kept. */
    MERLE_ACCESS_READ = 2
} merle_access;

/* What a database with a path promises of a commit when the call that ends it returns. Without a
 * path they are all the same. docs/durability.md has it in more words. */
typedef enum merle_durability {
    MERLE_DURABILITY_DEFAULT = 0, /* of a commit: the database's; of a database: MERLE_ASYNC */
    MERLE_MEMORY = 1,    /* written to the log soon; nobody asks for it to be on stable storage */
    MERLE_ASYNC = 2,     /* on stable storage soon: never more than unsynced_max bytes are not */
    MERLE_SYNC = 3,      /* on stable storage when the call returns */
    MERLE_SYNC_LATER = 4 /* the disk is asked for it at once, the call does not wait: see
                          * merle_wait_durable and merle_durable_fd */
} merle_durability;
/* Everything up to seq is on stable storage. Called from a thread of the database, or one that
 * waits for the disk, with no lock held; one call at a time, each with a larger seq than the one
 * before. A call that takes long holds up whoever makes it, no one else. Must not call merle. */
typedef void merle_durable_fn(void *context, uint64_t seq);

/* Whether a call waits where there is no room just now, because the disk is behind: in the log's
 * ring, or among the bytes that may be unsynced. Without a disk there is always room. */
typedef enum merle_patience {
    MERLE_PATIENCE_DEFAULT = 0, /* of a commit: the database's; of a database: MERLE_WAIT */
    MERLE_WAIT = 1,             /* holding no lock */
    MERLE_REFUSE = 2            /* MERLE_BUSY instead: for a loop that must never stand still */
} merle_patience;

/* Zero-fill; every zero is a good default. Set size to sizeof(merle_options) (0 counts as this
 * version's). */
typedef struct merle_options {
    size_t size;
    merle_threads threads;
    uint32_t reserved;
    /* Bytes counted for documents, indexes, ring and what is retired; 0: no limit. At it writes are
     * refused; reads and removals go on, those from a reserve of a 32nd, at least 1 MiB (a removal
     * takes some 640 bytes until its commit has ended). */
    uint64_t memory_max;
    /* Bytes of old versions, and of records that left the ring, kept for open sections, as a sum a
     * few commits old; beyond it only removals are taken. 0: memory_max / 4, or 1 GiB. */
    uint64_t retired_max;
    uint64_t ring_size; /* bytes of the log ring; 0: 8 MiB, at least 64 KiB */
    /* Bytes of one commit's record; 0: a half of ring_size, but at least 17 MiB (a single commit
     * may exceed the ring where no disk has to read it). */
    uint64_t commit_size_max;
    merle_log_fn *log; /* may be NULL */
    void *log_context;
    merle_report *report; /* filled if opening fails; may be NULL */
    /* 1: asks the system for huge pages once the database has a dozen megabytes. Reads of a large
     * one are faster by it, and writes pause now and then while two megabytes are cleared. */
    uint32_t huge_pages;
    /* Of commits that say nothing else, and of the calls that are one commit. */
    merle_patience patience;
    /* ---- with a path only ---- */
    merle_durability durability; /* of commits that say nothing else */
    uint32_t sync_interval_ms;   /* how old an ASYNC commit gets before it is synced; 0: 10 */
    uint64_t unsynced_max;       /* bytes of ASYNC commits that may be lost; 0: 1 MiB. Beyond it
                                    * they wait, or get MERLE_BUSY */
    uint64_t log_file_size;      /* 0: 64 MiB, at least 64 KiB. A record has to fit in a file;
                                    * a quarter of one may be on its way to the disk */
    uint64_t log_keep_bytes;     /* log files kept though no checkpoint needs them: so much */
    uint64_t log_keep_ns;        /* ... or so long; 0 and 0: none */
    merle_durable_fn *durable;   /* may be NULL */
    void *durable_context;
    /* A checkpoint begins when so many bytes of log have come since the last one; 0: 256 MiB,
     * UINT64_MAX: not by itself. */
    uint64_t checkpoint_log_bytes;
    uint64_t
        checkpoint_interval_ns; /* and when it is so old, and there is something new; 0: never */
    uint32_t manifests_kept;    /* states to which merle restore can go back; 0: 2, at most 64 */
    merle_compression compression;
    uint32_t open_threads; /* to open with; 0: one for each processor, at most 8 */
    merle_access access;
    merle_progress_fn *progress; /* told while it is opened; may be NULL */
    void *progress_context;
    const struct merle_function *functions; /* of indexes by functions; ends with {0}. NULL: none */
} merle_options;

/* Opens a database. path NULL: in memory only; else the directory that it lives in, which is made
 * if it is not there (its parent must be). options may be NULL. Threads: any; may wait on disk.
 * Errors: MERLE_NO_MEMORY, MERLE_INVALID, MERLE_SYSTEM, MERLE_NO_SPACE, MERLE_BUSY (another process
 * has it, or this one), MERLE_CORRUPT (the report has file, offset, what was expected and found),
 * MERLE_UNSUPPORTED (the files are of a newer format), MERLE_DIFFERS (an index needs a function
 * that is not among the options'), MERLE_NOT_FOUND (options.access wants it to be there). */
MERLE_API MERLE_MUST_USE merle_err merle_open(const char *path, const merle_options *options,
                                              merle_db **out_db);
/* Closes it and frees everything. Errors: MERLE_BUSY while sections, commits or change cursors are
 * open (it stays open; merle_stats lists them); MERLE_NOT_DURABLE: it is closed, but something that
 * was committed is not on the disk. Threads: setup, may wait. */
MERLE_API MERLE_MUST_USE merle_err merle_close(merle_db *db);

/* Writes what has changed since the last checkpoint to pages, now and in this thread, so that the
 * next opening need not replay the log. Writers go on meanwhile. Everything that was committed
 * before the call is durable when it returns. A database without a path has nothing to do.
 * Errors: MERLE_SYSTEM, MERLE_NO_SPACE, MERLE_NO_MEMORY: the checkpoint before is in force still;
 * MERLE_READ_ONLY. Threads: any, may wait on disk. */
MERLE_API MERLE_MUST_USE merle_err merle_checkpoint(merle_db *db);

/* What the opening has found and done. */
typedef struct merle_recovery_info {
    size_t size;
    uint64_t is_new;                       /* 1: there was nothing */
    uint64_t term;                         /* of this opening */
    uint64_t manifest;                     /* number of the one that it began with */
    uint64_t manifest_seq;                 /* the log was replayed from the commit after this one */
    uint64_t last_seq;                     /* the last commit that was found */
    uint64_t pages, page_bytes, documents; /* read from pages */
    uint64_t records, log_bytes;           /* replayed */
    uint64_t operations, operations_passed_over; /* of these records; passed over: pages had them */
    uint64_t threads;
    uint64_t pages_ns, log_ns, build_ns, total_ns;
} merle_recovery_info;
/* Threads: any. Errors: MERLE_INVALID, MERLE_NOT_FOUND (no path). */
MERLE_API merle_err merle_recovery(merle_db *db, merle_recovery_info *out_info);
/* The files of the directory as JSON: {"path": ..., "files": [{"name", "kind", "size", "about"},
 * ...]}. Errors: MERLE_NOT_FOUND (no path), MERLE_SYSTEM, MERLE_NO_MEMORY. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_files(merle_db *db, merle_buffer *out_json);

/* From now on failing calls of this thread on this database also fill report (NULL: no more). The
 * report belongs to the caller and is held until it is replaced or the thread ends. */
MERLE_API void merle_report_to(merle_db *db, merle_report *report);

/* Does background work for at most budget_ns (0: one bounded piece of each kind): reclaiming old
 * versions, freeing what truncate and drop left, shrinking tables. now_ns is the host's monotonic
 * clock, 0: merle asks its own. Returns MERLE_OK if nothing is left to do now, MERLE_BUSY if there
 * is more. Threads: any. */
MERLE_API merle_err merle_step(merle_db *db, uint64_t now_ns, uint64_t budget_ns);

/* ---- collections ---- */

typedef enum merle_index_kind {
    MERLE_UNIQUE = 1,        /* at most one document has a value */
    MERLE_ORDERED = 2,       /* ranges of values in their order; rank and count */
    MERLE_TAGS = 3,          /* sets: the elements of an array, on one path */
    MERLE_UNIQUE_ORDERED = 4 /* both of the first two, of the same values */
} merle_index_kind;

/* Where an ordered index lists the documents in which a field is missing, or nil: before or behind
 * all that have it, whichever way the field is ordered. */
typedef enum merle_missing {
    MERLE_MISSING_OUT = 0, /* not at all */
    MERLE_MISSING_FIRST = 1,
    MERLE_MISSING_LAST = 2
} merle_missing;

/* Makes the values of an index from a document: one for each part, or none (*out_count 0: the
 * document is not in the index). A nil is a value that is missing. Strings and binaries lie in key,
 * doc or memory that lasts for ever. Gives the same for the same document always, and calls nothing
 * of merle but functions of documents. It may run several times for one write, also where others
 * wait, and never for a read. While an index that was added is built it runs for every document
 * that is there, also in merle's own thread. An error refuses the document. */
typedef merle_err merle_extract_fn(void *context, merle_bytes key, merle_doc doc,
                                   merle_value *out_values, size_t value_max, size_t *out_count);

/* docs/indexes.md tells what can be combined. Leave the rest 0. */
typedef struct merle_index {
    const char *name;
    merle_index_kind kind;
    /* The parts, separated by commas: paths, "path[*]" or "path[*].inside" (each element), "key()";
     * "-part" descending. */
    const char *on;
    merle_missing missing; /* of ordered indexes; elsewhere 0 */
    uint32_t reserved;
    merle_extract_fn *extract; /* NULL: the values stand at the paths. Else `on` has only labels */
    void *extract_context;     /* held as long as the database is open */
} merle_index;

/* The function of an index in a database that was there before: collections in files come back
 * without their functions, which cannot be written down. */
typedef struct merle_function {
    const char *collection, *index; /* their names */
    merle_extract_fn *extract;
    void *context; /* held as long as the database is open */
} merle_function;

typedef struct merle_rule {
    const char *path;
    merle_type type;     /* MERLE_TYPE_NONE: any. INT allows UINT; FLOAT allows both */
    int required;        /* 1: must be there */
    uint32_t length_max; /* bytes of a string or binary, elements of an array or map; 0: no limit */
} merle_rule;

typedef struct merle_schema {
    size_t size;                /* sizeof(merle_schema) or 0 */
    uint32_t version;           /* at least 1 */
    uint32_t memory_only;       /* 1: never written to disk */
    const merle_index *indexes; /* ends with {0}; NULL: none */
    const merle_rule *rules;    /* ends with {0}; NULL: none */
    /* A path: documents end at the time that stands there, a timestamp or an integer of seconds
     * since 1970, and expires_after_ns later. Where nothing or nil stands, never. NULL: none. See
     * merle_expire. */
    const char *expires_on;
    int64_t expires_after_ns;
} merle_schema;

/* Opens a collection, makes it if there is none. schema NULL: whatever it is (a new one: no
 * indexes, version 1). The handle stays valid until the database closes, also after a drop (then
 * calls say MERLE_GONE). Errors: MERLE_DIFFERS (report: what), MERLE_INVALID, MERLE_UNSUPPORTED,
 * MERLE_NO_MEMORY. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_collection_open(merle_db *db, const char *name,
                                                         const merle_schema *schema,
                                                         merle_collection **out_collection);
/* The handle of one that exists. Errors: MERLE_NOT_FOUND. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_collection_find(merle_db *db, const char *name,
                                                         merle_collection **out_collection);
/* Calls fn for each collection that exists, until it returns non-zero. fn may call merle. Threads:
 * any. */
typedef int merle_collection_fn(void *context, merle_collection *collection);
MERLE_API MERLE_MUST_USE merle_err merle_collection_each(merle_db *db, merle_collection_fn *fn,
                                                         void *context);
MERLE_API const char *merle_collection_name(const merle_collection *collection);
MERLE_API uint32_t merle_collection_id(const merle_collection *collection);
/* Its schema as JSON. Errors: MERLE_GONE, MERLE_NO_MEMORY. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_collection_describe(merle_collection *collection,
                                                             merle_buffer *out_json);
/* Removes all documents, or the collection, in one instant and one log record; sections opened
 * before still see everything. Memory comes back step by step. Errors: MERLE_GONE, MERLE_NO_MEMORY.
 * Threads: any, may wait. */
MERLE_API MERLE_MUST_USE merle_err merle_collection_truncate(merle_collection *collection,
                                                             uint64_t *out_seq);
MERLE_API MERLE_MUST_USE merle_err merle_collection_drop(merle_collection *collection,
                                                         uint64_t *out_seq);
/* ---- collections: indexes that come and go while the collection is in use ----
 * An index that is added is kept by every commit from then on, and built from the documents that
 * were there before, step by step: by merle_step, by merle's own thread, or by merle_index_build.
 * Sections that begin when it is ready use it; for those that began before it is MERLE_NOT_READY,
 * and unknown for those from before its definition. While it is being built it refuses no document
 * because of a value that is taken, but new ones whose value it cannot hold at all. If at the end
 * documents stand against it (two have one unique value, a value is of a type that it cannot hold,
 * its function refuses one), it has failed: nothing is kept of it but their list, until it is
 * dropped. */

typedef enum merle_index_state {
    MERLE_INDEX_READY = 0,
    MERLE_INDEX_BUILDING = 1,
    MERLE_INDEX_FAILED = 2
} merle_index_state;

/* Errors: MERLE_EXISTS (the name is taken), MERLE_INVALID, MERLE_TOO_BIG (too
 * many indexes or fields, those counted that old sections still use), MERLE_GONE, MERLE_NO_MEMORY.
 * Threads: any, may wait. */
MERLE_API MERLE_MUST_USE merle_err merle_index_add(merle_collection *collection,
                                                   const merle_index *index, uint64_t *out_seq);
/* Takes an index away, whatever its state. Sections that began before go on with it. Errors:
 * MERLE_NOT_FOUND, MERLE_GONE, MERLE_NO_MEMORY. Threads: any, may wait. */
MERLE_API MERLE_MUST_USE merle_err merle_index_drop(merle_collection *collection, const char *name,
                                                    uint64_t *out_seq);
/* Does the steps until it is ready. Errors: why it has failed (MERLE_EXISTS, MERLE_TYPE,
 * MERLE_TOO_BIG; the report names a document), MERLE_NOT_FOUND, MERLE_GONE, MERLE_NO_MEMORY (it is
 * still being built, call again). Threads: any, outside of sections; may wait. */
MERLE_API MERLE_MUST_USE merle_err merle_index_build(merle_collection *collection,
                                                     const char *name);

/* A document that stands against an index. */
typedef struct merle_offender {
    merle_err why;         /* MERLE_EXISTS, MERLE_TYPE, MERLE_TOO_BIG */
    merle_bytes key;       /* in the caller's buffer */
    merle_bytes other_key; /* MERLE_EXISTS: of the document that has the value too */
} merle_offender;
/* Those that a failed index has kept, at most out_max; their keys are copied to out_keys. Errors:
 * MERLE_NOT_FOUND, MERLE_GONE, MERLE_NO_MEMORY. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_index_offenders(merle_collection *collection,
                                                         const char *name, merle_buffer *out_keys,
                                                         merle_offender *out_offenders,
                                                         size_t out_max, size_t *out_count);

/* A number that this collection never gave before and never gives again, whatever crashes; gaps are
 * allowed. With a path the first call after an opening waits for the disk, others hardly ever
 * (docs/durability.md). Errors: MERLE_GONE, MERLE_READ_ONLY, MERLE_NO_SPACE, MERLE_NO_MEMORY.
 * Threads: any, may wait on disk. */
MERLE_API MERLE_MUST_USE merle_err merle_collection_next_id(merle_collection *collection,
                                                            uint64_t *out_id);

/* ---- sections: reading ---- */

/* Lives where the caller puts it, usually the stack; its insides are merle's. */
typedef struct merle_section {
    uint64_t internal[12];
} merle_section;

/* Begins a section: what was committed when it began, and nothing else, is seen until it ends. May
 * nest and overlap. Ends in its own thread; MERLE_WRONG_THREAD otherwise. Errors: MERLE_NO_MEMORY
 * (a thread's first call), MERLE_FORKED. Threads: any; never waits. */
MERLE_API merle_err merle_section_begin(merle_db *db, merle_section *out_section);
MERLE_API merle_err merle_section_end(merle_section *section);
/* The last commit that the section sees. */
MERLE_API uint64_t merle_section_seq(const merle_section *section);

/* The document under key. Errors: MERLE_NOT_FOUND, MERLE_GONE, MERLE_INVALID. Threads: read
 * section. */
MERLE_API merle_err merle_get(merle_section *section, merle_collection *collection, merle_bytes key,
                              merle_doc *out_doc);
/* MERLE_OK if there is one, else MERLE_NOT_FOUND. */
MERLE_API merle_err merle_exists(merle_section *section, merle_collection *collection,
                                 merle_bytes key);
/* Many at once, faster than one by one: out_docs[i] has data NULL where keys[i] has none. out_found
 * may be NULL. */
MERLE_API merle_err merle_get_many(merle_section *section, merle_collection *collection,
                                   const merle_bytes *keys, size_t key_count, merle_doc *out_docs,
                                   size_t *out_found);
/* The document that has the unique value: one value for each field of the index, in order.
 *     merle_get_by(&s, players, "email", &d, merle_value_str("a@b.c"))
 * Errors: MERLE_NOT_FOUND, MERLE_INVALID (no such index, wrong number of values), MERLE_GONE,
 * MERLE_NOT_READY (as every call that reads by an index that is not ready for the section). */
MERLE_API merle_err merle_get_unique(merle_section *section, merle_collection *collection,
                                     const char *index, const merle_value *values,
                                     size_t value_count, merle_doc *out_doc);
#ifndef __cplusplus
#define merle_get_by(section, collection, index, out_doc, ...)                       \
    merle_get_unique(section, collection, index, (const merle_value[]){__VA_ARGS__}, \
                     sizeof((const merle_value[]){__VA_ARGS__}) / sizeof(merle_value), out_doc)
#endif
/* Iteration in slot order. Zero-fill the cursor; each call gives the next documents, each at most
 * once. Errors: MERLE_NOT_FOUND at the end. */
typedef struct merle_scan {
    uint64_t position;
} merle_scan;
MERLE_API merle_err merle_scan_next(merle_section *section, merle_collection *collection,
                                    merle_scan *scan, merle_doc *out_docs, size_t doc_max,
                                    size_t *out_count);

/* ---- sections: ranges of an ordered index ---- */

typedef enum merle_bound_kind {
    MERLE_NO_BOUND = 0,
    MERLE_CLOSED = 1, /* with all that has these values */
    MERLE_OPEN = 2    /* without it */
} merle_bound_kind;

/* One end of a range: values for as many of the index's first fields as are wanted. Borrowed until
 * the call returns. */
typedef struct merle_bound {
    merle_bound_kind kind;
    const merle_value *values;
    size_t value_count;
} merle_bound;

/* A part of an ordered index, in its own order: where a field is descending, `from` has the greater
 * value. Zero-filled but for the name: all of it. Documents in which a field is missing, where the
 * index has them, have merle_value_nil() there: a range with a bound on a field gives them only if
 * one of its bounds is that. */
typedef struct merle_range {
    const char *index;
    merle_bound from, to;
    const char *prefix; /* strings that begin so, in the field behind the values of `from`; `to` is
                           not used then. NULL: none */
    uint32_t backwards; /* 1: from the end of the range to its begin */
} merle_range;

/* Goes over a range, in any number of sections one after the other. A cursor keeps its place by
 * value and document: each document comes at most once a section, with the state of the section;
 * one that keeps its value while the cursor goes on comes exactly once. Errors of open:
 * MERLE_INVALID (no such index, too many values, a value that no document can have), MERLE_GONE,
 * MERLE_NO_MEMORY.
 * Threads: one owner. */
typedef struct merle_cursor merle_cursor;
MERLE_API MERLE_MUST_USE merle_err merle_range_open(merle_collection *collection,
                                                    const merle_range *range,
                                                    merle_cursor **out_cursor);
/* The next documents. Errors: MERLE_NOT_FOUND (no more for now), MERLE_GONE. */
MERLE_API merle_err merle_cursor_next(merle_section *section, merle_cursor *cursor,
                                      merle_doc *out_docs, size_t doc_max, size_t *out_count);
MERLE_API void merle_cursor_close(merle_cursor *cursor);

/* How many documents are in the range, exactly, at the section's instant. This, ranks and the n-th
 * go over the range where the index is on each element; such a range has each document once. */
MERLE_API merle_err merle_range_count(merle_section *section, merle_collection *collection,
                                      const merle_range *range, uint64_t *out_count);
/* About how many, now. */
MERLE_API merle_err merle_range_estimate(merle_collection *collection, const merle_range *range,
                                         uint64_t *out_count);
/* How many documents of the range come before the one with this key, which lies in it. Errors:
 * MERLE_NOT_FOUND (no such document, or it is not in the range). */
MERLE_API merle_err merle_range_rank(merle_section *section, merle_collection *collection,
                                     const merle_range *range, merle_bytes key, uint64_t *out_rank);
/* The n-th document, from 0. Errors: MERLE_NOT_FOUND. */
MERLE_API merle_err merle_range_nth(merle_section *section, merle_collection *collection,
                                    const merle_range *range, uint64_t n, merle_doc *out_doc);

/* ---- sections: tags ---- */

/* How many documents have the tag, exactly, at the section's instant. */
MERLE_API merle_err merle_tag_count(merle_section *section, merle_collection *collection,
                                    const char *index, merle_value tag, uint64_t *out_count);
/* The documents that have the tag, in slot order. Zero-fill the scan. Errors: MERLE_NOT_FOUND at
 * the end. */
MERLE_API merle_err merle_tag_next(merle_section *section, merle_collection *collection,
                                   const char *index, merle_value tag, merle_scan *scan,
                                   merle_doc *out_docs, size_t doc_max, size_t *out_count);

typedef struct merle_tag_listed {
    merle_value tag;
    uint64_t estimate; /* about how many documents have it now */
} merle_tag_listed;

/* The tags of an index, ascending, at most tag_max. prefix: a string or a binary that they begin
 * with, or a value of type MERLE_TYPE_NONE (zero-filled): all. after: those behind this tag, which
 * need not be there any more; MERLE_TYPE_NONE: from the first on. The contents of strings and
 * binaries lie in *bytes, which is filled anew and belongs to the caller. A number is an integer if
 * it is one. Listed are the tags that somebody may see: each that a document of the section's
 * instant has, and perhaps others; what the section's commit has written is not among them. Fewer
 * than tag_max: there are no more. Errors: MERLE_INVALID, MERLE_NO_MEMORY, MERLE_GONE. */
MERLE_API merle_err merle_tags_list(merle_section *section, merle_collection *collection,
                                    const char *index, merle_value prefix, merle_value after,
                                    merle_buffer *bytes, merle_tag_listed *out_tags, size_t tag_max,
                                    size_t *out_count);

/* ---- sections: documents ---- */

/* The key of a document that merle gave; valid as long as the document. {NULL, 0} for the caller's
 * own. */
MERLE_API merle_bytes merle_doc_key(merle_doc doc);
/* When it ends: nanoseconds since 1970; 0: never, or it is the caller's own. */
MERLE_API int64_t merle_doc_expires(merle_doc doc);
/* How many documents there are, exactly, at the section's instant: a few loads if none was added or
 * removed since it began, else a walk over all slots. */
MERLE_API merle_err merle_count(merle_section *section, merle_collection *collection,
                                uint64_t *out_count);
/* How many there are about now, at the cost of a few loads. */
MERLE_API uint64_t merle_count_estimate(merle_collection *collection);

/* ---- bulk loads ---- */

/* Fills an empty collection with many documents, several times as fast as commits do: indexes are
 * built at the end, all at once. Until then the collection stays empty for everybody, and other
 * writers of it, and whoever would change its definition, get MERLE_BUSY. The log tells the
 * documents as they come, in commits of origin MERLE_ORIGIN_LOAD behind a truncate of the same
 * origin. They count when MERLE_CHANGE_LOADED follows; a load that is given up, or ends with the
 * process, is followed by a truncate or by a commit of another origin, and has never been. A load
 * holds log files back, as long as it lasts. */
typedef struct merle_bulk merle_bulk;

/* Errors: MERLE_EXISTS (there are documents), MERLE_BUSY (another load is open), MERLE_GONE,
 * MERLE_NO_MEMORY, MERLE_READ_ONLY. Threads: any; may wait for room in the log. */
MERLE_API MERLE_MUST_USE merle_err merle_bulk_begin(merle_collection *collection,
                                                    merle_bulk **out_bulk);
/* Borrows its arguments. Whether a key or a unique value stands twice is found at the end. Errors:
 * MERLE_INVALID (key), MERLE_BAD_DOCUMENT, MERLE_TOO_BIG, MERLE_RULE, MERLE_TYPE and what an
 * index's function gives: the document is left out, the load goes on. MERLE_NO_MEMORY likewise.
 * MERLE_READ_ONLY: give it up. Threads: one at a time; may wait for room in the log. */
MERLE_API MERLE_MUST_USE merle_err merle_bulk_put(merle_bulk *bulk, merle_bytes key,
                                                  merle_bytes doc);
/* Builds the indexes, and shows all documents in one instant, when they are on stable storage (in
 * memory only: at once). Consumes bulk whatever comes out; out_seq may be NULL. Errors:
 * MERLE_EXISTS (two documents have one key or unique value: the report names both),
 * MERLE_NO_MEMORY, MERLE_READ_ONLY: the collection is empty. MERLE_NOT_DURABLE: as of commits.
 * Threads: as put. */
MERLE_API MERLE_MUST_USE merle_err merle_bulk_end(merle_bulk *bulk, uint64_t *out_seq);
/* Gives it up; the collection is empty. NULL is allowed. Threads: as put. */
MERLE_API void merle_bulk_cancel(merle_bulk *bulk);

/* ---- commits: writing ---- */

/* Begins a commit; merle_end or merle_cancel consumes it, in the same thread. Errors:
 * MERLE_NO_MEMORY, MERLE_READ_ONLY, MERLE_FORKED. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_begin(merle_db *db, merle_commit **out_commit);
/* The application's own bytes for the log record (who caused it); at most MERLE_ORIGIN_SIZE_MAX. */
MERLE_API MERLE_MUST_USE merle_err merle_commit_origin(merle_commit *commit, merle_bytes bytes);
/* Whether it waits for room or answers MERLE_BUSY. */
MERLE_API void merle_commit_patience(merle_commit *commit, merle_patience patience);
/* What is promised of this commit. Errors: MERLE_INVALID. Threads: owner only. */
MERLE_API merle_err merle_commit_durability(merle_commit *commit, merle_durability durability);

/* ---- the disk ---- */

/* Waits until everything up to seq is on stable storage (UINT64_MAX: all that was committed before
 * the call), whatever the commits' durability. Errors: MERLE_NOT_DURABLE (the log has failed before
 * it came so far; the report has the reason), MERLE_INVALID (beyond the last commit). Threads: any,
 * may wait on disk. */
MERLE_API MERLE_MUST_USE merle_err merle_wait_durable(merle_db *db, uint64_t seq);
/* The last commit that is on stable storage, with all before it. Without a path: the last one. */
MERLE_API uint64_t merle_durable_seq(const merle_db *db);
/* An event descriptor (eventfd) that becomes readable whenever merle_durable_seq has moved, for
 * poll, epoll or io_uring; reading eight bytes resets it. It belongs to the database, which closes
 * it; there is one for all callers. Errors: MERLE_SYSTEM. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_durable_fd(merle_db *db, int *out_descriptor);

/* Operations. All borrow their arguments. What they can tell at once they tell at once (and then
 * are not part of the commit, which goes on); what depends on others is told by merle_end, which
 * then applies nothing. Several operations on one key count one after the other and become one
 * version. Errors at once: MERLE_INVALID (key), MERLE_BAD_DOCUMENT, MERLE_TOO_BIG, MERLE_RULE,
 * MERLE_NO_MEMORY, MERLE_GONE, MERLE_WRONG_THREAD. Threads: owner only. */
MERLE_API merle_err merle_put(merle_commit *commit, merle_collection *collection, merle_bytes key,
                              merle_bytes doc);
MERLE_API merle_err merle_insert(merle_commit *commit, merle_collection *collection,
                                 merle_bytes key,
                                 merle_bytes doc); /* end: MERLE_EXISTS if the key is there */
MERLE_API merle_err merle_replace(merle_commit *commit, merle_collection *collection,
                                  merle_bytes key,
                                  merle_bytes doc); /* end: MERLE_NOT_FOUND if it is not */
MERLE_API merle_err merle_remove(merle_commit *commit, merle_collection *collection,
                                 merle_bytes key); /* end: MERLE_NOT_FOUND */
MERLE_API merle_err merle_patch_ops(merle_commit *commit, merle_collection *collection,
                                    merle_bytes key, const merle_op *ops,
                                    size_t op_count); /* end: MERLE_NOT_FOUND, MERLE_TYPE,
               MERLE_OVERFLOW, MERLE_RULE, MERLE_TOO_BIG */
#ifndef __cplusplus
#define merle_patch(commit, collection, key, ...)                             \
    merle_patch_ops(commit, collection, key, (const merle_op[]){__VA_ARGS__}, \
                    sizeof((const merle_op[]){__VA_ARGS__}) / sizeof(merle_op))
#endif
/* A merge function makes the new document from the one there (NULL: none). It may run several
 * times, is pure, never calls merle but the document functions. MERLE_OK: what it built is put.
 * MERLE_NOT_FOUND: the document is removed (none there: nothing happens). Any other error is the
 * commit's. */
typedef merle_err merle_merge_fn(void *context, const merle_doc *current, merle_builder *builder,
                                 merle_bytes *out_document);
MERLE_API merle_err merle_merge(merle_commit *commit, merle_collection *collection, merle_bytes key,
                                merle_merge_fn *fn, void *context);
/* Compare and set: the commit ends with MERLE_CONFLICT unless the document under key is the version
 * seq (0: there is none). */
MERLE_API merle_err merle_expect(merle_commit *commit, merle_collection *collection,
                                 merle_bytes key, uint64_t seq);

/* Documents that end by themselves. From its moment on a document is not there any more: no section
 * that begins then shows or counts it, its key and its unique values are free, and it is removed by
 * merle_step, or merle's own thread, in commits of MERLE_ORIGIN_EXPIRY. A section goes by the time
 * at which it began, a commit by that at which it ends. put, insert and replace make a document
 * that never ends, or ends when its collection's field says; patches and merges leave its moment
 * as it is, but where that was the field's it moves with the field. A write that leaves a document
 * whose moment has passed leaves none. See docs/expiry.md.
 * merle_expire says when the document ends: nanoseconds since 1970; 0: never, whatever the field
 * says. The end gives MERLE_NOT_FOUND if there is none. The others put a document that ends ttl_ns
 * (above 0) after the commit's begin. Errors besides: MERLE_INVALID. */
MERLE_API merle_err merle_expire(merle_commit *commit, merle_collection *collection,
                                 merle_bytes key, int64_t expires_ns);
MERLE_API merle_err merle_put_for(merle_commit *commit, merle_collection *collection,
                                  merle_bytes key, merle_bytes doc, int64_t ttl_ns);
MERLE_API merle_err merle_insert_for(merle_commit *commit, merle_collection *collection,
                                     merle_bytes key, merle_bytes doc, int64_t ttl_ns);

/* Reading inside a commit: the commit's instant with its own writes on top. What is found, or not
 * found, by key or unique value is checked at the end: MERLE_CONFLICT if it changed meanwhile. */
MERLE_API merle_err merle_commit_get(merle_commit *commit, merle_collection *collection,
                                     merle_bytes key, merle_doc *out_doc);
MERLE_API merle_err merle_commit_get_unique(merle_commit *commit, merle_collection *collection,
                                            const char *index, const merle_value *values,
                                            size_t value_count, merle_doc *out_doc);
/* The section inside the commit. Every call that takes a section takes this one too, and then sees
 * the commit's instant with the operations that were made before the call on top; only estimates do
 * not. A document that the commit has written has seq 0. A cursor or a scan goes on behind an
 * operation as it does in a later section. What was given stays valid until the commit is over.
 * Nothing that is read this way is checked when the commit ends: two commits may each read what the
 * other one changes, and both end well.
 * Errors besides: the one of an operation that cannot be carried out on what the instant shows,
 * with a report (MERLE_NOT_FOUND for a patch of a document that is missing, MERLE_EXISTS for an
 * insert over one); reads by key look at that key's operations, all others at the collection's.
 * MERLE_CONFLICT: the commit has written into a collection that its instant does not have yet.
 * MERLE_NO_MEMORY. */
MERLE_API merle_section *merle_commit_section(merle_commit *commit);

/* Ends the commit. out_seq may be NULL; a commit without effect gets the seq that it saw. Errors:
 * those of its operations, MERLE_EXISTS, MERLE_CONFLICT, MERLE_BUSY, MERLE_NO_MEMORY,
 * MERLE_TOO_BIG, MERLE_READ_ONLY: then nothing of it is left. Threads: owner only. */
MERLE_API merle_err merle_end(merle_commit *commit, uint64_t *out_seq);
MERLE_API void merle_cancel(merle_commit *commit);

/* Runs fn in a commit and ends it, again as long as that gives MERLE_CONFLICT, at most `tries`
 * times (0: 100). fn returns MERLE_OK to end, MERLE_AGAIN to begin anew, anything else to cancel
 * with it. */
typedef merle_err merle_commit_fn(void *context, merle_commit *commit);
MERLE_API MERLE_MUST_USE merle_err merle_run(merle_db *db, merle_commit_fn *fn, void *context,
                                             uint32_t tries, uint64_t *out_seq);

/* ---- one call, one commit ---- out_seq and out_doc may be NULL. Errors: as merle_end. Threads:
 * any. */
MERLE_API merle_err merle_one_put(merle_collection *collection, merle_bytes key, merle_bytes doc,
                                  uint64_t *out_seq);
MERLE_API merle_err merle_one_insert(merle_collection *collection, merle_bytes key, merle_bytes doc,
                                     uint64_t *out_seq);
MERLE_API merle_err merle_one_replace(merle_collection *collection, merle_bytes key,
                                      merle_bytes doc, uint64_t *out_seq);
MERLE_API merle_err merle_one_remove(merle_collection *collection, merle_bytes key,
                                     uint64_t *out_seq);
/* The same with a time to live: merle_one_insert_for is a lock that ends by itself. */
MERLE_API merle_err merle_one_put_for(merle_collection *collection, merle_bytes key,
                                      merle_bytes doc, int64_t ttl_ns, uint64_t *out_seq);
MERLE_API merle_err merle_one_insert_for(merle_collection *collection, merle_bytes key,
                                         merle_bytes doc, int64_t ttl_ns, uint64_t *out_seq);
MERLE_API merle_err merle_one_expire(merle_collection *collection, merle_bytes key,
                                     int64_t expires_ns, uint64_t *out_seq);
/* A copy of the document, in the caller's buffer. */
MERLE_API merle_err merle_one_get(merle_collection *collection, merle_bytes key,
                                  merle_buffer *out_doc, uint64_t *out_seq);
/* Patches, and copies the new document. */
MERLE_API merle_err merle_one_patch_ops(merle_collection *collection, merle_bytes key,
                                        const merle_op *ops, size_t op_count, merle_buffer *out_doc,
                                        uint64_t *out_seq);
#ifndef __cplusplus
#define merle_one_patch(collection, key, out_doc, out_seq, ...)                              \
    merle_one_patch_ops(collection, key, (const merle_op[]){__VA_ARGS__},                    \
                        sizeof((const merle_op[]){__VA_ARGS__}) / sizeof(merle_op), out_doc, \
                        out_seq)
#endif
/* Puts, and copies what was there before (size 0 and MERLE_OK if nothing was). */
MERLE_API merle_err merle_one_swap(merle_collection *collection, merle_bytes key, merle_bytes doc,
                                   merle_buffer *out_old, uint64_t *out_seq);
/* Adds delta to the integer at path, making document and field if missing, and gives the new
 * number. Errors besides: MERLE_TYPE (no integer), MERLE_OVERFLOW (beyond an int64_t); then nothing
 * was added. */
MERLE_API merle_err merle_one_count(merle_collection *collection, merle_bytes key, const char *path,
                                    int64_t delta, int64_t *out_number);

/* ---- changes: the log, read in order ---- */

typedef enum merle_change_kind {
    MERLE_CHANGE_PUT = 1,   /* after: the whole document */
    MERLE_CHANGE_PATCH = 2, /* effect: what was set and unset; after too if it was asked for */
    MERLE_CHANGE_REMOVE = 3,
    MERLE_CHANGE_DEFINE =
        4, /* a collection was made or its schema changed; effect: the definition */
    MERLE_CHANGE_TRUNCATE = 5,
    MERLE_CHANGE_DROP = 6,
    MERLE_CHANGE_SEQUENCE = 7, /* ids up to a number were set aside */
    MERLE_CHANGE_LOADED = 8    /* a bulk load has ended: what it put is there from now on */
} merle_change_kind;

typedef enum merle_origin {
    MERLE_ORIGIN_APPLICATION = 0,
    MERLE_ORIGIN_EXPIRY = 1,
    MERLE_ORIGIN_MIGRATION = 2,
    MERLE_ORIGIN_LOAD = 3 /* a bulk load, which may still be thrown away: see merle_bulk_begin */
} merle_origin;

/* One change; everything it points to is valid until the cursor's next call. */
typedef struct merle_change {
    uint64_t seq;
    int64_t time_ns; /* wall clock, nanoseconds since 1970; never runs backwards */
    merle_change_kind kind;
    merle_origin origin;
    merle_bytes origin_bytes; /* the application's own */
    uint32_t collection_id;
    uint32_t slot;
    uint32_t position; /* this change in its commit, from 0 */
    uint32_t count;    /* how many the commit has */
    merle_bytes key;
    merle_bytes effect; /* msgpack, see docs/format.md */
    merle_doc after;    /* data NULL: none, or not asked for */
    merle_doc before;   /* only where the cursor asked for it */
    int64_t expires_ns; /* 0: never */
    /* PUT: 1, if the key had no living document. Of commits of version 0.1.0 it is not known, and
     * 0. */
    uint32_t is_new;
    /* PUT, REMOVE: 1, if a document that was past its time went with it: the one that was removed,
     * or the one that had the key before. */
    uint32_t was_due;
    merle_bytes bytes; /* the operation as it stands in the log, msgpack, see docs/format.md */
} merle_change;

typedef struct merle_changes_options {
    size_t size;
    uint64_t after_seq; /* begin with the commit after this one; UINT64_MAX: with the next one */
    merle_collection *collection; /* NULL: all */
    uint32_t want_after;          /* 1: whole documents also for patches */
    uint32_t want_before;         /* 1: and what was there before */
} merle_changes_options;

/* Opens a cursor over the log; options may be NULL. Commits made, or under way, when the
 * first cursor with want_after (or want_before) is opened may lack these documents. Errors:
 * MERLE_NO_MEMORY, MERLE_INVALID (after_seq is beyond the last commit), MERLE_FORKED. Threads: any;
 * the cursor: owner only, but any thread may close one whose thread has ended. */
MERLE_API MERLE_MUST_USE merle_err merle_changes_open(merle_db *db,
                                                      const merle_changes_options *options,
                                                      merle_changes **out_changes);
/* Gives the next changes, whole commits where they fit into change_max, in order; a larger commit
 * comes in several calls. *out_count 0: nothing new. What a call gave is kept until the next one,
 * and old versions with it, as an open section keeps them: call until *out_count is 0, or close,
 * before leaving a cursor alone. Errors: MERLE_GAP: what follows was overwritten before it was
 * read, or its log file is kept no more; merle_changes_gap tells which, and the next call goes on
 * behind it. MERLE_CORRUPT, MERLE_INVALID, MERLE_WRONG_THREAD, MERLE_FORKED. */
MERLE_API MERLE_MUST_USE merle_err merle_changes_next(merle_changes *changes,
                                                      merle_change *out_changes, size_t change_max,
                                                      size_t *out_count);
MERLE_API void merle_changes_gap(const merle_changes *changes, uint64_t *out_first_seq,
                                 uint64_t *out_last_seq);
/* The last commit of which everything was given. */
MERLE_API uint64_t merle_changes_position(const merle_changes *changes);
MERLE_API void merle_changes_close(merle_changes *changes);

/* ---- inside view ---- */

typedef struct merle_stats_db {
    size_t size; /* sizeof(merle_stats_db) or 0, set by the caller */
    uint64_t seq;
    uint64_t term;
    uint64_t database_id[2];
    uint64_t collections;
    uint64_t documents;
    uint64_t bytes_total, bytes_documents, bytes_tables, bytes_log, bytes_retired, bytes_other,
        bytes_max;
    uint64_t ring_bytes, ring_size, ring_first_seq;
    uint64_t threads, sections_open, commits_open, cursors_open;
    uint64_t section_oldest_age_ns, section_oldest_seq,
        section_oldest_thread;   /* thread: kernel id */
    uint64_t sections_abandoned; /* ended for a thread that ended inside them */
    uint64_t commits, commits_refused, conflicts, retries, operations;
    uint64_t gets, gets_missed, gets_unique, scans;
    uint64_t versions_retired, versions_freed, versions_waiting;
    uint64_t tables_split, tables_merged, tables_rebuilt, entries_copied,
        entries_copied_max; /* by one insert */
    uint64_t steps, step_longest_ns;
    uint64_t bytes_kept;    /* threads have these at hand to use again; in no other figure */
    uint64_t expired;       /* documents removed because their time had come */
    uint64_t expiring;      /* documents that will end, or are due */
    uint64_t expiry_lag_ns; /* for how long the oldest has been due that is not removed */
    /* ---- with a path ---- */
    uint64_t checkpoints, checkpoints_failed;
    uint64_t checkpoint_seq; /* an opening would replay the log from the commit after this one */
    uint64_t checkpoint_pages, checkpoint_bytes, checkpoint_ns; /* of the last one */
    uint64_t checkpoint_slots_done, checkpoint_slots_total; /* of the one under way; 0: none is */
    uint64_t page_files, pages, page_bytes;                 /* that the manifest in force needs */
    uint64_t log_bytes_written;                             /* marks and padding too */
    uint64_t log_groups, log_group_bytes_max, log_records, log_syncs, log_sync_ns, log_sync_ns_max;
    uint64_t log_files, log_files_spare;
    uint64_t log_unsynced_bytes; /* of MERLE_ASYNC commits that are not durable yet */
    uint64_t durable_seq;        /* without a path: seq */
    uint64_t term_id; /* drawn at the opening: tells it from all others, also of a copy's */
} merle_stats_db;
typedef struct merle_stats_collection {
    size_t size;
    uint64_t documents, slots, bytes; /* bytes: of its tables; documents lie beside them */
    uint64_t key_entries, key_tables, puts, patches, removes;
    uint64_t page_count;
} merle_stats_collection;
typedef struct merle_stats_index {
    size_t size;
    merle_index_kind kind;
    uint32_t reserved;
    uint64_t entries, tables, bytes, ready_seq, refused;
    merle_index_state state;
    uint32_t reserved_too;
    uint64_t slots_done, slots_total; /* of a build: how far it is, of what is to be walked over */
    uint64_t offenders; /* while building: suspects; failed: documents found to stand against it */
} merle_stats_index;

/* Cheap enough to call every second. Threads: any. */
MERLE_API merle_err merle_stats(merle_db *db, merle_stats_db *out_stats);
MERLE_API merle_err merle_collection_stats(merle_collection *collection,
                                           merle_stats_collection *out_stats);
MERLE_API merle_err merle_index_stats(merle_collection *collection, const char *index,
                                      merle_stats_index *out_stats);
/* The open sections, oldest first, at most section_max: one line for each thread that has any, of
 * its oldest one. */
typedef struct merle_section_info {
    uint64_t thread; /* kernel id */
    uint64_t seq;
    uint64_t age_ns; /* as seen by steps: at least this old */
    uint32_t in_commit;
    uint32_t reserved;
} merle_section_info;
MERLE_API merle_err merle_sections(merle_db *db, merle_section_info *out_sections,
                                   size_t section_max, size_t *out_count);
/* Walks over everything and compares: MERLE_CORRUPT with a report in words at the first broken
 * invariant. Stops writers while it looks at one shard, and for a moment all of a collection where
 * an index has other sums than its documents. Threads: any, may wait. */
MERLE_API MERLE_MUST_USE merle_err merle_check(merle_db *db, merle_report *report);

#ifdef __cplusplus
} /* extern "C" */

/* The calls that take a list of operations or values, as C++ has them. */
template <typename... Ops>
inline merle_err merle_patch(merle_commit *commit, merle_collection *collection, merle_bytes key,
                             Ops... ops) {
    const merle_op list[] = {ops...};
    return merle_patch_ops(commit, collection, key, list, sizeof...(ops));
}
template <typename... Ops>
inline merle_err merle_one_patch(merle_collection *collection, merle_bytes key,
                                 merle_buffer *out_doc, uint64_t *out_seq, Ops... ops) {
    const merle_op list[] = {ops...};
    return merle_one_patch_ops(collection, key, list, sizeof...(ops), out_doc, out_seq);
}
template <typename... Values>
inline merle_err merle_get_by(merle_section *section, merle_collection *collection,
                              const char *index, merle_doc *out_doc, Values... values) {
    const merle_value list[] = {values...};
    return merle_get_unique(section, collection, index, list, sizeof...(values), out_doc);
}
#endif

#endif
