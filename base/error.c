/* base/error.c - the names of errors, and the other small things of merle/base.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <merle/base.h>

typedef struct error_words {
    const char *name;
    const char *text;
} error_words;

#define WORDS(err, text) [err] = {#err, text}
static const error_words words[] = {
    WORDS(MERLE_OK, "It went well."),
    WORDS(MERLE_NOT_FOUND, "There is no such document, value, collection or path."),
    WORDS(MERLE_EXISTS, "The key or a unique value is taken."),
    WORDS(MERLE_CONFLICT, "What the commit had read, or the version it expected, has changed."),
    WORDS(MERLE_BUSY, "There is no room just now, or sections or commits are still open."),
    WORDS(MERLE_NO_MEMORY, "The allocator or the memory limit refused the memory."),
    WORDS(MERLE_INVALID, "An argument can never be right."),
    WORDS(MERLE_BAD_DOCUMENT, "The bytes are no document by merle's rules, or bad JSON."),
    WORDS(MERLE_TOO_BIG, "Something is beyond a limit."),
    WORDS(MERLE_RULE, "A field rule of the schema forbids it."),
    WORDS(MERLE_TYPE, "The value there has another type."),
    WORDS(MERLE_OVERFLOW, "Integer arithmetic left its range."),
    WORDS(MERLE_DIFFERS, "The schema differs from the one in force."),
    WORDS(MERLE_UNSUPPORTED, "This is known by name, but not built yet."),
    WORDS(MERLE_GONE, "The collection was dropped."),
    WORDS(MERLE_GAP, "The cursor fell behind and missed changes."),
    WORDS(MERLE_READ_ONLY, "The database takes no more writes."),
    WORDS(MERLE_NOT_DURABLE, "It was applied in memory, its fate on disk is unknown."),
    WORDS(MERLE_NO_SPACE, "The disk is full; nothing was applied."),
    WORDS(MERLE_FORKED, "It was called in a child of the process that opened the database."),
    WORDS(MERLE_WRONG_THREAD, "The section or commit belongs to another thread."),
    WORDS(MERLE_AGAIN, "The merge function wants to be run again."),
    WORDS(MERLE_CORRUPT, "A broken invariant was found."),
    WORDS(MERLE_SYSTEM, "The operating system refused; errno is in the report."),
    WORDS(MERLE_NOT_READY,
          "The index is being built, has failed, or became ready after the section."),
};
#undef WORDS

static const error_words unknown = {"MERLE_UNKNOWN", "No error of merle has this number."};

static const error_words *words_of(merle_err err) {
    if ((unsigned)err >= sizeof(words) / sizeof(words[0])) return &unknown;
    return &words[err];
}

const char *merle_err_name(merle_err err) {
    return words_of(err)->name;
}

const char *merle_err_text(merle_err err) {
    return words_of(err)->text;
}

const char *merle_version(void) {
    return MERLE_VERSION_STRING;
}

merle_bytes merle_str(const char *text) {
    return merle_bytes_of(text, text == NULL ? 0 : strlen(text));
}
