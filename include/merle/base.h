/* merle/base.h - what every public header of merle shares: versions, errors, bytes, keys, reports.
 *
 * Every function that can fail returns a merle_err; MERLE_OK is 0. A failing call leaves its
 * outputs empty and its objects as they were. Words used throughout, each with one meaning: borrows
 * the function reads the argument until it returns and keeps nothing of it holds     the object
 * keeps the pointer until it is closed; the caller keeps it valid Threads   any: call it from any
 * thread. read section: the calling thread must have the named section open. owner only: the thread
 * that made the object. setup: no other thread may use the object meanwhile. "may wait": it may
 * wait for another thread or a disk. SPDX-License-Identifier: Apache-2.0
 */
#ifndef MERLE_BASE_H
#define MERLE_BASE_H

#include <stddef.h>
#include <stdint.h>

#define MERLE_VERSION_MAJOR 0
#define MERLE_VERSION_MINOR 1
#define MERLE_VERSION_PATCH 0
#define MERLE_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define MERLE_API __attribute__((visibility("default")))
#define MERLE_MUST_USE __attribute__((warn_unused_result))
#else
#define MERLE_API
#define MERLE_MUST_USE
#endif

#ifdef __cplusplus
#define MERLE_LITERAL(type) type
extern "C" {
#else
#define MERLE_LITERAL(type) (type)
#endif

/* Limits. At a limit merle refuses; it never cuts short. */
#define MERLE_KEY_SIZE_MAX 1024u            /* bytes of a key; at least 1 */
#define MERLE_NAME_SIZE_MAX 63u             /* bytes of a collection's or an index's name */
#define MERLE_DOCUMENT_SIZE_MAX (16u << 20) /* bytes of a document */
#define MERLE_DEPTH_MAX 64u                 /* maps and arrays inside one another */
#define MERLE_VALUE_SIZE_MAX 4096u          /* bytes of one encoded index value */
#define MERLE_TAG_COUNT_MAX 1024u           /* tags of one document in one index */
#define MERLE_INDEX_COUNT_MAX 32u           /* indexes of one collection */
#define MERLE_INDEX_PART_COUNT_MAX 8u       /* fields of one compound index */
#define MERLE_RULE_COUNT_MAX 64u            /* field rules of one collection */
#define MERLE_ORIGIN_SIZE_MAX 64u           /* the application's own bytes in a log record */

typedef enum merle_err {
    MERLE_OK = 0,
    MERLE_NOT_FOUND = 1,    /* no such document, value, collection or path */
    MERLE_EXISTS = 2,       /* the key or a unique value is taken */
    MERLE_CONFLICT = 3,     /* what the commit had read, or the version it expected, has changed */
    MERLE_BUSY = 4,         /* no room just now: log ring full, or sections or commits still open */
    MERLE_NO_MEMORY = 5,    /* the allocator or the memory limit says no */
    MERLE_INVALID = 6,      /* an argument that can never be right */
    MERLE_BAD_DOCUMENT = 7, /* bytes that are no msgpack map by merle's rules, or bad JSON */
    MERLE_TOO_BIG = 8,      /* beyond a limit above or one in the options */
    MERLE_RULE = 9,         /* a field rule of the schema forbids it */
    MERLE_TYPE = 10,        /* the value there has another type */
    MERLE_OVERFLOW = 11,    /* integer arithmetic left its range */
    MERLE_DIFFERS = 12,     /* opened with a schema that differs from the one in force */
    MERLE_UNSUPPORTED = 13, /* known by name, not built yet */
    MERLE_GONE = 14,        /* the collection was dropped */
    MERLE_GAP = 15,         /* a cursor fell behind: changes were missed, and which is told */
    MERLE_READ_ONLY = 16,   /* the database takes no more writes; the reason is in the report */
    MERLE_NOT_DURABLE = 17, /* applied in memory, its fate on disk unknown */
    MERLE_NO_SPACE = 18,    /* the disk is full; nothing was applied */
    MERLE_FORKED = 19,      /* called in a child of the process that opened the database */
    MERLE_WRONG_THREAD = 20, /* the section or commit belongs to another thread */
    MERLE_AGAIN = 21,        /* given by a merge function: take the commit back, run me again */
    MERLE_CORRUPT = 22,      /* merle_check or a reader found a broken invariant */
    MERLE_SYSTEM = 23,       /* the operating system said no; errno is in the report */
    MERLE_NOT_READY = 24     /* the index is being built, has failed, or the section is older */
} merle_err;

/* The error's own name ("MERLE_EXISTS"), and one sentence on what it means. Threads: any. Never
 * NULL. */
MERLE_API const char *merle_err_name(merle_err err);
MERLE_API const char *merle_err_text(merle_err err);
/* The version of the library at run time, "major.minor.patch". Threads: any. */
MERLE_API const char *merle_version(void);

/* Borrowed bytes. */
typedef struct merle_bytes {
    const void *data;
    size_t size;
} merle_bytes;

/* Bytes that a call made for the caller: zero-fill before the first use, free with
 * merle_buffer_free. A call that is given a buffer with something in it reuses its memory. */
typedef struct merle_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
} merle_buffer;

MERLE_API void merle_buffer_free(merle_buffer *buffer);

/* A NUL-terminated string, or a literal, as bytes (without the NUL). */
MERLE_API merle_bytes merle_str(const char *text);
static inline merle_bytes merle_bytes_of(const void *data, size_t size) {
    merle_bytes bytes;
    bytes.data = data;
    bytes.size = size;
    return bytes;
}
#define MERLE_STR(text) merle_str(text)

/* Keys from numbers and ids. A u64 key is 8 bytes, big-endian, so that keys sort as the numbers do.
 * The bytes lie in the caller's key struct: keep it while the key is in use. */
typedef struct merle_key {
    uint8_t bytes[16];
} merle_key;
static inline merle_bytes merle_key_u64(merle_key *key, uint64_t number) {
    for (int i = 0; i < 8; i++) key->bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    return merle_bytes_of(key->bytes, 8);
}
static inline merle_bytes merle_key_id16(merle_key *key, const uint8_t id[16]) {
    for (int i = 0; i < 16; i++) key->bytes[i] = id[i];
    return merle_bytes_of(key->bytes, 16);
}

/* What went wrong, in detail; owned by the caller, filled by the call that fails. Strings are
 * always terminated, cut at their array's end with "..." (a report may be cut short, data never
 * is). */
typedef struct merle_report {
    merle_err err;
    uint32_t operation; /* which operation of the commit, from 0; UINT32_MAX: none in particular */
    uint64_t
        offset; /* byte where it stands, in a document, text or file; 0 where that means nothing */
    int system_errno; /* of MERLE_SYSTEM, else 0 */
    char collection[64];
    char index[64];
    char path[128]; /* a field, or a file */
    char key[128];  /* the document's key; bytes that do not print as \xNN */
    char expected[128];
    char found[128];
    char message[256]; /* one sentence with all of it, for a person */
} merle_report;

#ifdef __cplusplus
}
#endif
#endif
