/* tools/merle/print.c - answers: tables for a person, JSON for a program.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PRINT_ROWS_MAX = 256, PRINT_COLUMNS_MAX = 12, PRINT_WIDTH_MAX = 60, FACT_WIDTH = 26 };

static struct {
    print_style style;
    const char *rows_name; /* NULL: the rows stand alone */
    const print_column *columns;
    int column_count;
    int row_count;
    int widths[PRINT_COLUMNS_MAX];
    char **held; /* PRINT_ROWS_MAX rows of column_count texts */
    int held_count;
    int is_flowing;     /* widths are settled, rows go out as they come */
    int fact_counts[2]; /* of the object, and of the group in it */
    int depth;          /* 1: in a group */
    int is_after_rows;  /* on a terminal an empty line comes before what follows */
    int failed;         /* errno of the first write that failed */
} state;

void print_choose(print_style style) {
    state.style = style;
}

int print_is_json(void) {
    if (state.style != PRINT_BY_TERMINAL) return state.style == PRINT_JSON;
    return !isatty(STDOUT_FILENO);
}

/* ---- what did not arrive ---- */

/* To be asked soon after something was printed: errno is what that has left. */
int print_has_failed(void) {
    if (state.failed == 0 && ferror(stdout)) state.failed = errno != 0 ? errno : EIO;
    return state.failed != 0;
}

int print_finish(void) {
    (void)print_has_failed();
    errno = 0;
    if (fflush(stdout) != 0 && state.failed == 0) state.failed = errno != 0 ? errno : EIO;
    return state.failed;
}

/* ---- JSON ---- */

/* How many bytes of a UTF-8 character stand there; 0: none that is whole and right. */
static size_t character_size(const unsigned char *at, size_t left) {
    if (at[0] < 0x80) return 1;
    size_t size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || size > left) return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    int is_long = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    int is_outside = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
    return is_long || is_outside ? 0 : size;
}

/* Bytes that are no UTF-8, as a path may have them, become U+FFFD: JSON has no way to say them. */
static void json_text(merle_bytes text) {
    const unsigned char *at = text.data;
    putchar('"');
    for (size_t i = 0; i < text.size;) {
        size_t size = character_size(at + i, text.size - i);
        if (at[i] == '"' || at[i] == '\\')
            printf("\\%c", at[i]);
        else if (at[i] < 0x20 || at[i] == 0x7f)
            printf("\\u%04x", at[i]);
        else if (size == 0)
            fputs("\\ufffd", stdout);
        else
            fwrite(at + i, 1, size, stdout);
        i += size == 0 ? 1 : size;
    }
    putchar('"');
}

static void json_key(merle_bytes key) {
    char text[4 * MERLE_KEY_SIZE_MAX + 1];
    size_t size = print_key(key, text);
    json_text(merle_bytes_of(text, size));
}

static void json_cell(print_kind kind, const print_cell *cell) {
    if (kind == PRINT_NUMBER)
        printf("%" PRIu64, cell->number);
    else if (kind == PRINT_TIME && cell->number != 0)
        printf("%" PRId64, (int64_t)cell->number);
    else if (cell->text.data == NULL)
        fputs("null", stdout);
    else if (kind == PRINT_RAW)
        fwrite(cell->text.data, 1, cell->text.size, stdout);
    else if (kind == PRINT_KEY)
        json_key(cell->text);
    else
        json_text(cell->text);
}

static void json_row(const print_cell *cells) {
    if (state.rows_name != NULL && state.row_count > 0) putchar(',');
    for (int i = 0; i < state.column_count; i++) {
        fputs(i == 0 ? "{" : ",", stdout);
        json_text(merle_str(state.columns[i].name));
        putchar(':');
        json_cell(state.columns[i].kind, &cells[i]);
    }
    fputs(state.rows_name != NULL ? "}" : "}\n", stdout);
}

/* ---- tables ---- */

/* What would move a terminal's cursor becomes a dot. */
static char *plain_text(merle_bytes bytes) {
    char *text = malloc(bytes.size + 1);
    if (text == NULL) return NULL;
    if (bytes.size > 0) memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = 0;
    for (size_t i = 0; i < bytes.size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) text[i] = '.';
    return text;
}

/* A copy of what the cell says, for a person; the caller frees it. */
static char *cell_text(print_kind kind, const print_cell *cell) {
    char text[PRINT_TIME_SIZE] = "-";
    if (kind == PRINT_NUMBER) snprintf(text, sizeof text, "%" PRIu64, cell->number);
    if (kind == PRINT_TIME && cell->number != 0) print_time((int64_t)cell->number, text);
    if (kind == PRINT_NUMBER || kind == PRINT_TIME || cell->text.data == NULL) return strdup(text);
    if (kind != PRINT_KEY) return plain_text(cell->text);
    char *key = malloc(4 * cell->text.size + 1);
    if (key != NULL) key[print_key(cell->text, key)] = 0;
    return key;
}

/* Characters, not bytes. */
static int width_of(const char *text) {
    int width = 0;
    for (; *text != 0; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void table_line(char *const *texts) {
    for (int i = 0; i < state.column_count; i++) {
        const char *text = texts[i] == NULL ? "?" : texts[i];
        int gap = state.widths[i] - width_of(text);
        if (gap < 0) gap = 0;
        if (state.columns[i].kind == PRINT_NUMBER)
            printf("%*s%s", gap, "", text);
        else if (i < state.column_count - 1)
            printf("%s%*s", text, gap, "");
        else
            fputs(text, stdout);
        if (i < state.column_count - 1) fputs("  ", stdout);
    }
    putchar('\n');
}

static void widen(int column, const char *text) {
    int width = text == NULL ? 1 : width_of(text);
    if (width > PRINT_WIDTH_MAX) width = PRINT_WIDTH_MAX;
    if (width > state.widths[column]) state.widths[column] = width;
}

/* What was held back goes out, under its header. */
static void table_flow(void) {
    char *names[PRINT_COLUMNS_MAX];
    state.is_flowing = 1;
    for (int i = 0; i < state.column_count; i++)
        names[i] = (char *)(uintptr_t)state.columns[i].name;
    table_line(names);
    for (int i = 0; i < state.held_count; i++)
        table_line(state.held + (size_t)i * (size_t)state.column_count);
    for (int i = 0; i < state.held_count * state.column_count; i++) free(state.held[i]);
    free(state.held);
    state.held = NULL;
    state.held_count = 0;
}

static void table_row(const print_cell *cells) {
    char *texts[PRINT_COLUMNS_MAX];
    for (int i = 0; i < state.column_count; i++)
        texts[i] = cell_text(state.columns[i].kind, &cells[i]);
    if (!state.is_flowing && state.held_count < PRINT_ROWS_MAX && state.held != NULL) {
        for (int i = 0; i < state.column_count; i++) widen(i, texts[i]);
        memcpy(state.held + (size_t)state.held_count * (size_t)state.column_count, texts,
               (size_t)state.column_count * sizeof texts[0]);
        state.held_count++;
        return;
    }
    if (!state.is_flowing) table_flow();
    table_line(texts);
    for (int i = 0; i < state.column_count; i++) free(texts[i]);
}

static void fact_name(const char *name);

void print_begin(const char *name, const print_column *columns, int column_count) {
    state.rows_name = name;
    state.columns = columns;
    state.column_count = column_count < PRINT_COLUMNS_MAX ? column_count : PRINT_COLUMNS_MAX;
    state.row_count = state.held_count = state.is_flowing = 0;
    memset(state.widths, 0, sizeof state.widths);
    if (name != NULL && print_is_json()) {
        fact_name(name);
        putchar('[');
    } else if (name != NULL) {
        putchar('\n');
    }
    if (print_is_json()) return;
    while (state.column_count > 0 && columns[state.column_count - 1].is_detail)
        state.column_count--;
    state.held = calloc((size_t)PRINT_ROWS_MAX * (size_t)state.column_count, sizeof *state.held);
    for (int i = 0; i < state.column_count; i++) widen(i, columns[i].name);
}

void print_row(const print_cell *cells) {
    if (print_is_json())
        json_row(cells);
    else
        table_row(cells);
    state.row_count++;
    (void)print_has_failed();
}

void print_end(void) {
    if (!print_is_json() && state.rows_name != NULL && state.row_count == 0)
        printf("no %s\n", state.rows_name);
    else if (!print_is_json() && !state.is_flowing)
        table_flow();
    else if (print_is_json() && state.rows_name != NULL)
        putchar(']');
    state.is_after_rows = state.rows_name != NULL;
    free(state.held);
    state.held = NULL;
    state.columns = NULL;
    (void)print_has_failed();
}

int print_flush(void) {
    if (!print_is_json() && !state.is_flowing && state.row_count > 0) table_flow();
    return print_finish();
}

/* ---- facts ---- */

void print_facts_begin(void) {
    state.fact_counts[0] = state.depth = 0;
}

static void fact_name(const char *name) {
    if (!print_is_json()) {
        if (state.is_after_rows) putchar('\n');
        state.is_after_rows = 0;
        printf("%*s%-*s ", 2 * state.depth, "", FACT_WIDTH - 2 * state.depth, name);
        return;
    }
    fputs(state.fact_counts[state.depth]++ == 0 ? "{" : ",", stdout);
    json_text(merle_str(name));
    putchar(':');
}

static void fact_end(void) {
    if (!print_is_json()) putchar('\n');
    (void)print_has_failed();
}

void print_fact_text(const char *name, const char *text) {
    fact_name(name);
    if (print_is_json()) {
        json_text(merle_str(text));
    } else {
        char *plain = plain_text(merle_str(text));
        fputs(plain == NULL ? "?" : plain, stdout);
        free(plain);
    }
    fact_end();
}

void print_fact_number(const char *name, uint64_t number) {
    fact_name(name);
    printf("%" PRIu64, number);
    fact_end();
}

void print_fact_time(const char *name, int64_t time_ns) {
    print_cell cell = print_cell_number((uint64_t)time_ns);
    fact_name(name);
    if (print_is_json()) {
        json_cell(PRINT_TIME, &cell);
    } else {
        char *text = cell_text(PRINT_TIME, &cell);
        fputs(text == NULL ? "?" : text, stdout);
        free(text);
    }
    fact_end();
}

void print_group_begin(const char *name) {
    if (print_is_json())
        fact_name(name);
    else
        puts(name);
    state.depth = 1;
    state.fact_counts[1] = 0;
}

void print_group_end(void) {
    if (print_is_json()) fputs(state.fact_counts[1] == 0 ? "{}" : "}", stdout);
    state.depth = 0;
}

void print_facts_end(void) {
    if (print_is_json()) fputs(state.fact_counts[0] == 0 ? "{}\n" : "}\n", stdout);
    (void)print_has_failed();
}
