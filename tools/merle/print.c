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

enum { PRINT_ROWS_MAX = 256, PRINT_COLUMNS_MAX = 12, PRINT_WIDTH_MAX = 60 };

static struct {
    print_style style;
    const print_column *columns;
    int column_count;
    int widths[PRINT_COLUMNS_MAX];
    char **held; /* PRINT_ROWS_MAX rows of column_count texts */
    int held_count;
    int is_flowing; /* widths are settled, rows go out as they come */
    int fact_count;
} state;

void print_choose(print_style style) {
    state.style = style;
}

int print_is_json(void) {
    if (state.style != PRINT_BY_TERMINAL) return state.style == PRINT_JSON;
    return !isatty(STDOUT_FILENO);
}

/* ---- JSON ---- */

static void json_text(merle_bytes text) {
    const unsigned char *at = text.data;
    putchar('"');
    for (size_t i = 0; i < text.size; i++) {
        if (at[i] == '"' || at[i] == '\\')
            printf("\\%c", at[i]);
        else if (at[i] < 0x20 || at[i] == 0x7f)
            printf("\\u%04x", at[i]);
        else
            putchar(at[i]);
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
    for (int i = 0; i < state.column_count; i++) {
        fputs(i == 0 ? "{" : ",", stdout);
        json_text(merle_str(state.columns[i].name));
        putchar(':');
        json_cell(state.columns[i].kind, &cells[i]);
    }
    fputs("}\n", stdout);
}

/* ---- tables ---- */

/* A copy of what the cell says, for a person; the caller frees it. */
static char *cell_text(print_kind kind, const print_cell *cell) {
    char number[24];
    if (kind == PRINT_NUMBER) {
        snprintf(number, sizeof number, "%" PRIu64, cell->number);
        return strdup(number);
    }
    if (cell->text.data == NULL) return strdup("-");
    if (kind != PRINT_KEY) return strndup(cell->text.data, cell->text.size);
    char *text = malloc(4 * cell->text.size + 1);
    if (text != NULL) text[print_key(cell->text, text)] = 0;
    return text;
}

static void table_line(char *const *texts) {
    for (int i = 0; i < state.column_count; i++) {
        const char *text = texts[i] == NULL ? "?" : texts[i];
        int is_last = i == state.column_count - 1;
        if (state.columns[i].kind == PRINT_NUMBER)
            printf("%*s%s", state.widths[i], text, is_last ? "" : "  ");
        else if (is_last)
            fputs(text, stdout);
        else
            printf("%-*s  ", state.widths[i], text);
    }
    putchar('\n');
}

static void widen(int column, const char *text) {
    int width = text == NULL ? 1 : (int)strnlen(text, PRINT_WIDTH_MAX);
    if (width > state.widths[column]) state.widths[column] = width;
}

/* What was held back goes out, under its header. */
static void table_flow(void) {
    char *names[PRINT_COLUMNS_MAX];
    state.is_flowing = 1;
    for (int i = 0; i < state.column_count; i++) names[i] = (char *)state.columns[i].name;
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

void print_begin(const print_column *columns, int column_count) {
    state.columns = columns;
    state.column_count = column_count < PRINT_COLUMNS_MAX ? column_count : PRINT_COLUMNS_MAX;
    state.held_count = state.is_flowing = 0;
    memset(state.widths, 0, sizeof state.widths);
    if (print_is_json()) return;
    state.held = calloc((size_t)PRINT_ROWS_MAX * (size_t)state.column_count, sizeof *state.held);
    for (int i = 0; i < state.column_count; i++) widen(i, columns[i].name);
}

void print_row(const print_cell *cells) {
    if (print_is_json())
        json_row(cells);
    else
        table_row(cells);
}

static int flush(void) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    return errno != 0 ? errno : EIO;
}

int print_end(void) {
    if (!print_is_json() && !state.is_flowing) table_flow();
    state.columns = NULL;
    return flush();
}

/* ---- facts ---- */

void print_facts_begin(void) {
    state.fact_count = 0;
}

static void fact_name(const char *name) {
    if (!print_is_json()) {
        printf("%-24s ", name);
        return;
    }
    fputs(state.fact_count++ == 0 ? "{" : ",", stdout);
    json_text(merle_str(name));
    putchar(':');
}

static void fact_end(void) {
    if (!print_is_json()) putchar('\n');
}

void print_fact_text(const char *name, const char *text) {
    fact_name(name);
    if (print_is_json())
        json_text(merle_str(text));
    else
        fputs(text, stdout);
    fact_end();
}

void print_fact_number(const char *name, uint64_t number) {
    fact_name(name);
    printf("%" PRIu64, number);
    fact_end();
}

void print_fact_json(const char *name, merle_bytes json) {
    fact_name(name);
    fwrite(json.data, 1, json.size, stdout);
    fact_end();
}

int print_facts_end(void) {
    if (print_is_json()) fputs(state.fact_count == 0 ? "{}\n" : "}\n", stdout);
    return flush();
}

/* ---- keys ---- */

size_t print_key(merle_bytes key, char *out) {
    const unsigned char *at = key.data;
    size_t size = 0;
    for (size_t i = 0; i < key.size; i++) {
        if (at[i] == '\\') {
            out[size++] = '\\';
            out[size++] = '\\';
        } else if (at[i] > 0x20 && at[i] < 0x7f) {
            out[size++] = (char)at[i];
        } else {
            size += (size_t)sprintf(out + size, "\\x%02x", at[i]);
        }
    }
    return size;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int print_key_read(const char *text, uint8_t *out, size_t *out_size) {
    size_t size = 0;
    for (; *text != 0; text++) {
        uint8_t byte = (uint8_t)*text;
        if (size == MERLE_KEY_SIZE_MAX) return 0;
        if (*text == '\\' && text[1] == '\\') {
            text++;
        } else if (*text == '\\') {
            if (text[1] != 'x' || hex_digit(text[2]) < 0 || hex_digit(text[3]) < 0) return 0;
            byte = (uint8_t)(hex_digit(text[2]) * 16 + hex_digit(text[3]));
            text += 3;
        }
        out[size++] = byte;
    }
    *out_size = size;
    return size > 0;
}
