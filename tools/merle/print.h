/* tools/merle/print.h - answers: tables for a person, JSON for a program.
 *
 * What    Rows are aligned under their columns on a terminal, and are one JSON object a line
 *         anywhere else. Facts are "name value" lines on a terminal, and one JSON object anywhere
 *         else; rows and facts inside of facts are an array and an object in it. --json and --table
 *         choose regardless of the terminal.
 * Owns    the rows of a table until it ends, so that columns are as wide as they must be.
 * Sees    What could not be written is remembered: see print_finish.
 * Threads one.
 * Limits  PRINT_ROWS_MAX rows are held back for their widths; what comes later keeps these widths.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TOOLS_MERLE_PRINT_H
#define TOOLS_MERLE_PRINT_H

#include <stdint.h>

#include <merle/base.h>

typedef enum print_style { PRINT_BY_TERMINAL = 0, PRINT_JSON = 1, PRINT_TABLE = 2 } print_style;

/* For all that follows. */
void print_choose(print_style style);
int print_is_json(void);

/* What was written cannot arrive any more: there is no point in going on. */
int print_has_failed(void);
/* At the end of the program: 0, or an errno value. EPIPE: whoever was reading has had enough. */
int print_finish(void);

/* ---- one row at a time ---- */

typedef enum print_kind {
    PRINT_TEXT = 0,
    PRINT_NUMBER = 1,
    PRINT_KEY = 2,   /* a document's key, escaped as print_key says */
    PRINT_RAW = 3,   /* JSON already */
    PRINT_TIME = 4,  /* nanoseconds since 1970; on a terminal a date. 0: none */
    PRINT_DETAIL = 5 /* JSON already, and only in JSON: such columns are the last ones */
} print_kind;

typedef struct print_column {
    const char *name;
    print_kind kind;
    int is_detail; /* 1: in JSON only; such columns are the last ones */
} print_column;

typedef struct print_cell {
    merle_bytes text; /* TEXT, KEY, RAW; data NULL: nothing there (null) */
    uint64_t number;  /* NUMBER, TIME */
} print_cell;

/* Borrows columns until print_end. name: what the rows are among facts; NULL: they stand alone. */
void print_begin(const char *name, const print_column *columns, int column_count);
void print_row(const print_cell *cells);
void print_end(void);
/* Rows that were held back for their widths, and all else, go out now. Gives print_finish. */
int print_flush(void);

static inline print_cell print_cell_text(const char *text) {
    print_cell cell = {{NULL, 0}, 0};
    if (text != NULL && text[0] != 0) cell.text = merle_str(text);
    return cell;
}
static inline print_cell print_cell_bytes(merle_bytes bytes) {
    print_cell cell = {bytes, 0};
    return cell;
}
static inline print_cell print_cell_number(uint64_t number) {
    print_cell cell = {{NULL, 0}, number};
    return cell;
}

/* ---- facts ---- */

void print_facts_begin(void);
void print_fact_text(const char *name, const char *text);
void print_fact_number(const char *name, uint64_t number);
/* Nanoseconds since 1970; 0: not known. */
void print_fact_time(const char *name, int64_t time_ns);
/* Facts inside of facts. */
void print_group_begin(const char *name);
void print_group_end(void);
void print_facts_end(void);

/* ---- keys ---- */

/* The key as text: what prints as it is, a backslash doubled, every other byte as \xNN. out has
 * 4 * size + 1 bytes; gives the length. */
size_t print_key(merle_bytes key, char *out);
/* The way back. out has MERLE_KEY_SIZE_MAX bytes. 0: it is no key. */
int print_key_read(const char *text, uint8_t *out, size_t *out_size);

/* ---- times ---- */

enum { PRINT_TIME_SIZE = 48 };
/* 2026-11-21T22:30:00.000000001Z. */
void print_time(int64_t time_ns, char out[PRINT_TIME_SIZE]);
/* The way back; with or without parts of a second, or a number of nanoseconds. 0: it is none. */
int print_time_read(const char *text, int64_t *out_time_ns);

#endif
