/* base/report.c - filling reports, and where broken promises end.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void mrl_assert_fail(const char *promise, const char *file, int line) {
    fprintf(stderr, "merle: broken promise at %s:%d: %s\n", file, line, promise);
    abort();
}

/* A text that was cut says so with three dots, so that nobody takes a part for the whole. */
static void mark_cut(char *out, size_t out_max) {
    memcpy(out + out_max - 4, "...", 4);
}

static void text_set(char *out, size_t out_max, const char *text) {
    if (text == NULL) text = "";
    size_t size = strlen(text);
    if (size < out_max) {
        memcpy(out, text, size + 1);
        return;
    }
    memcpy(out, text, out_max - 1);
    mark_cut(out, out_max);
}

void mrl_report_clear(merle_report *report) {
    if (report == NULL) return;
    memset(report, 0, sizeof(*report));
    report->operation = MRL_REPORT_OPERATION_NONE;
}

merle_err mrl_report_fill_list(merle_report *report, merle_err err, const char *format,
                               va_list arguments) {
    if (report == NULL) return err;
    mrl_report_clear(report);
    report->err = err;
    if (format == NULL) {
        text_set(report->message, sizeof(report->message), merle_err_text(err));
        return err;
    }
    int size = vsnprintf(report->message, sizeof(report->message), format, arguments);
    if (size >= (int)sizeof(report->message)) mark_cut(report->message, sizeof(report->message));
    return err;
}

merle_err mrl_report_fill(merle_report *report, merle_err err, const char *format, ...) {
    if (report == NULL) return err;
    va_list arguments;
    va_start(arguments, format);
    mrl_report_fill_list(report, err, format, arguments);
    va_end(arguments);
    return err;
}

void mrl_report_collection(merle_report *report, const char *text) {
    if (report != NULL) text_set(report->collection, sizeof(report->collection), text);
}

void mrl_report_index(merle_report *report, const char *text) {
    if (report != NULL) text_set(report->index, sizeof(report->index), text);
}

void mrl_report_path(merle_report *report, const char *text) {
    if (report != NULL) text_set(report->path, sizeof(report->path), text);
}

void mrl_report_expected(merle_report *report, const char *text) {
    if (report != NULL) text_set(report->expected, sizeof(report->expected), text);
}

void mrl_report_found(merle_report *report, const char *text) {
    if (report != NULL) text_set(report->found, sizeof(report->found), text);
}

void mrl_report_key(merle_report *report, merle_bytes key) {
    if (key.data == NULL) key.size = 0;
    if (report != NULL) mrl_report_escape(key, report->key, sizeof(report->key));
}

void mrl_report_operation(merle_report *report, uint32_t operation) {
    if (report != NULL) report->operation = operation;
}

void mrl_report_offset(merle_report *report, uint64_t offset) {
    if (report != NULL) report->offset = offset;
}

void mrl_report_errno(merle_report *report, int system_errno) {
    if (report != NULL) report->system_errno = system_errno;
}

void mrl_report_prefix(merle_report *report, const char *format, ...) {
    if (report == NULL) return;
    char prefix[128];
    char whole[sizeof(prefix) + sizeof(report->message)];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(prefix, sizeof(prefix), format, arguments);
    va_end(arguments);
    if (size >= (int)sizeof(prefix)) mark_cut(prefix, sizeof(prefix));
    snprintf(whole, sizeof(whole), "%s%s", prefix, report->message);
    text_set(report->message, sizeof(report->message), whole);
}

void mrl_report_escape(merle_bytes bytes, char *out, size_t out_max) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *data = bytes.data;
    size_t at = 0, cut_at = 0;
    MRL_ASSERT(out_max >= 8);
    for (size_t i = 0; i < bytes.size; i++) {
        int plain = data[i] >= 0x20 && data[i] < 0x7f && data[i] != '\\';
        size_t needed = plain ? 1 : 4;
        /* The last place at which the three dots and the terminator would still fit. */
        if (at + 4 <= out_max) cut_at = at;
        if (at + needed + 1 > out_max) {
            memcpy(out + cut_at, "...", 4);
            return;
        }
        if (plain) {
            out[at++] = (char)data[i];
            continue;
        }
        out[at++] = '\\';
        out[at++] = 'x';
        out[at++] = digits[data[i] >> 4];
        out[at++] = digits[data[i] & 15];
    }
    out[at] = 0;
}
