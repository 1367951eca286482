/* merle/condition.h - conditions on documents: built in C or parsed from text, asked of documents.
 *
 * A condition is data. It is made once, never changes, and may be used by any number of threads at
 * once; values that differ from use to use are parameters, bound when it is asked. docs/queries.md
 * has the language and what each comparison means, in short:
 *     level >= 10 and tags: eu and not banned
 *     pos.x between $low and $high or name starts with "ad"
 * Values compare as they sort in an index, and only within their own kind (numbers, strings,
 * binaries, times, booleans, nil): a string is never below a number. A comparison with a field that
 * is missing is false, so `x != 5`, which is `not x = 5`, is true of it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MERLE_CONDITION_H
#define MERLE_CONDITION_H

#include <merle/base.h>
#include <merle/document.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MERLE_CONDITION_TEXT_SIZE_MAX (64u << 10)   /* bytes of a text that is parsed */
#define MERLE_CONDITION_DEPTH_MAX 64u               /* and, or, parentheses inside one another */
#define MERLE_CONDITION_NODE_COUNT_MAX 4096u        /* comparisons, ands and ors in all */
#define MERLE_CONDITION_LIST_COUNT_MAX 4096u        /* values of one list */
#define MERLE_CONDITION_VALUE_COUNT_MAX (64u << 10) /* values in all */
#define MERLE_CONDITION_BYTES_SIZE_MAX (1u << 20)   /* strings and binaries in all */
#define MERLE_CONDITION_PARAMETER_COUNT_MAX 256u

typedef struct merle_condition merle_condition;

/* ---- from text ---- */

/* Parses a condition; the caller frees it with merle_condition_destroy. report may be NULL; its
 * offset is the byte where the text is wrong, expected and found say what about it, the message
 * has line and column. Errors: MERLE_INVALID (no condition), MERLE_TOO_BIG (a limit above),
 * MERLE_NO_MEMORY; *out_condition is NULL then. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_condition_parse(merle_bytes text,
                                                         merle_condition **out_condition,
                                                         merle_report *report);
/* Writes the condition as text in its one canonical form, not terminated. Parsing it gives the same
 * condition again, as long as it is no longer than MERLE_CONDITION_TEXT_SIZE_MAX. Errors:
 * MERLE_NO_MEMORY. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_condition_write(const merle_condition *condition,
                                                         merle_buffer *out_text);
/* condition may be NULL. Threads: no other one may use it any more. */
MERLE_API void merle_condition_destroy(merle_condition *condition);

/* ---- asking ---- */

/* Whether the document meets the condition: *out_matches is 1 or 0. values[n] is the value of
 * parameter n. Allocates nothing. Threads: any; where doc came from a section, its thread.
 * Errors: MERLE_INVALID (a parameter has no value), MERLE_TYPE (a parameter's value is an array, a
 * map or an extension, or no text where one begins with it); *out_matches is 0 then. */
MERLE_API MERLE_MUST_USE merle_err merle_condition_match(const merle_condition *condition,
                                                         merle_doc doc, const merle_value *values,
                                                         size_t value_count, int *out_matches);
/* How many values the condition takes. $1 is values[0], $2 is values[1]; named parameters are
 * numbered from 0 in the order in which the text has them first. */
MERLE_API size_t merle_condition_parameter_count(const merle_condition *condition);
/* The number, from 0, of the parameter with this name (without the $). Errors: MERLE_NOT_FOUND. */
MERLE_API MERLE_MUST_USE merle_err merle_condition_parameter(const merle_condition *condition,
                                                             const char *name, size_t *out_number);

/* ---- built in C ---- */

/* A piece of a condition that is being put together. Calls that take pieces consume them, whatever
 * happens. Errors stick: a piece that is wrong, or NULL because there was no memory, makes every
 * piece wrong that it becomes a part of, and merle_condition_create tells why.
 *     merle_where *w = MERLE_AND(merle_where_compare("level", MERLE_GE, merle_value_int(10)),
 *                                merle_where_tag("tags", merle_value_str("eu")),
 *                                merle_where_not(merle_where_true("banned")));
 *     err = merle_condition_create(w, &condition, &report);
 * Paths and values are borrowed until the call returns. Threads: a piece has one owner. */
typedef struct merle_where merle_where;

typedef enum merle_compare {
    MERLE_EQ = 1,
    MERLE_NE, /* the opposite of MERLE_EQ, so also true of a document without the field */
    MERLE_LT,
    MERLE_LE,
    MERLE_GT,
    MERLE_GE
} merle_compare;

/* Stands for a value that is bound when the condition is asked: "1" to "256", or a name of letters,
 * digits and _. One condition has either numbers or names. */
static inline merle_value merle_parameter(const char *name) {
    merle_value v = {MERLE_TYPE_NONE, 0, {0}, {NULL, 0}, 0};
    v.bytes = merle_str(name);
    return v;
}

MERLE_API merle_where *merle_where_compare(const char *path, merle_compare compare,
                                           merle_value value);
/* low <= value <= high. */
MERLE_API merle_where *merle_where_between(const char *path, merle_value low, merle_value high);
/* Equal to one of the values; of none, if there are none. */
MERLE_API merle_where *merle_where_in(const char *path, const merle_value *values,
                                      size_t value_count);
/* A string that begins with the string prefix, or a binary that begins with the binary prefix. */
MERLE_API merle_where *merle_where_prefix(const char *path, merle_value prefix);
/* Something stands there, be it nil. */
MERLE_API merle_where *merle_where_exists(const char *path);
/* The boolean true stands there. */
MERLE_API merle_where *merle_where_true(const char *path);

/* The elements of the array at path (a value that is no array counts as its only element): whether
 * one is equal to the value, whether there are all of the values, one of them, none of them. */
MERLE_API merle_where *merle_where_tag(const char *path, merle_value value);
MERLE_API merle_where *merle_where_all_of(const char *path, const merle_value *values,
                                          size_t value_count);
MERLE_API merle_where *merle_where_any_of(const char *path, const merle_value *values,
                                          size_t value_count);
MERLE_API merle_where *merle_where_none_of(const char *path, const merle_value *values,
                                           size_t value_count);
/* Makes a comparison, between, in or prefix hold if one element alone meets it. */
MERLE_API merle_where *merle_where_each(merle_where *part);

/* All of the parts; one of the parts. There must be at least one. */
MERLE_API merle_where *merle_where_and(merle_where *const *parts, size_t part_count);
MERLE_API merle_where *merle_where_or(merle_where *const *parts, size_t part_count);
MERLE_API merle_where *merle_where_not(merle_where *part);
/* Frees a piece that is not used after all. NULL is fine. */
MERLE_API void merle_where_destroy(merle_where *part);

/* Makes a condition of the piece, which is consumed. report may be NULL. Errors: MERLE_NO_MEMORY
 * (also for NULL), MERLE_INVALID (a path is no path, a value is none, a string is no UTF-8),
 * MERLE_TYPE (a value is an array, a map or an extension), MERLE_TOO_BIG (a limit above);
 * *out_condition is NULL then. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_condition_create(merle_where *where,
                                                          merle_condition **out_condition,
                                                          merle_report *report);

#ifdef __cplusplus
} /* extern "C" */

template <typename... Parts>
inline merle_where *merle_where_and_these(Parts... parts) {
    merle_where *const list[] = {parts...};
    return merle_where_and(list, sizeof...(parts));
}
template <typename... Parts>
inline merle_where *merle_where_or_these(Parts... parts) {
    merle_where *const list[] = {parts...};
    return merle_where_or(list, sizeof...(parts));
}
#define MERLE_AND(...) merle_where_and_these(__VA_ARGS__)
#define MERLE_OR(...) merle_where_or_these(__VA_ARGS__)
#else
/* The number of parts is counted by the size of their list, which evaluates nothing. */
#define MERLE_WHERE_COUNT(...) (sizeof((merle_where *const[]){__VA_ARGS__}) / sizeof(merle_where *))
#define MERLE_AND(...) \
    merle_where_and((merle_where *const[]){__VA_ARGS__}, MERLE_WHERE_COUNT(__VA_ARGS__))
#define MERLE_OR(...) \
    merle_where_or((merle_where *const[]){__VA_ARGS__}, MERLE_WHERE_COUNT(__VA_ARGS__))
#endif

#endif
