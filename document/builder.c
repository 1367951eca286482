/* document/builder.c - building documents value by value. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "document/assemble.h"
#include "document/scan.h"
#include "document/utf8.h"

struct merle_builder {
    mrl_assembly assembly;
    merle_buffer buffer;
    merle_err err; /* the first that happened; nothing is written after it */
};

merle_err merle_builder_create(merle_builder **out_builder) {
    merle_builder *builder = mrl_allocate(sizeof(*builder));
    *out_builder = builder;
    if (builder == NULL) return MERLE_NO_MEMORY;
    memset(&builder->buffer, 0, sizeof(builder->buffer));
    mrl_assembly_begin(&builder->assembly, &builder->buffer);
    /* Nothing can be built before merle_build_begin. */
    builder->err = MERLE_INVALID;
    return MERLE_OK;
}

void merle_builder_destroy(merle_builder *builder) {
    if (builder == NULL) return;
    merle_buffer_free(&builder->buffer);
    free(builder);
}

static void note(merle_builder *builder, merle_err err) {
    if (builder->err == MERLE_OK) builder->err = err;
}

void merle_build_begin(merle_builder *builder) {
    mrl_assembly_begin(&builder->assembly, &builder->buffer);
    builder->err = mrl_assembly_open(&builder->assembly, 1);
}

/* Writes the name where there must be one and counts the value that follows; 0 if there is an error
 * and nothing may follow. */
static int begin_value(merle_builder *builder, const char *name) {
    mrl_piece piece;
    if (builder->err != MERLE_OK) return 0;
    mrl_assembly_frame *frame = mrl_assembly_top(&builder->assembly);
    frame->count++;
    if ((name != NULL) != (frame->is_map != 0)) {
        note(builder, MERLE_INVALID);
    } else if (name != NULL) {
        size_t size = strlen(name);
        if (size > MERLE_DOCUMENT_SIZE_MAX) {
            note(builder, MERLE_TOO_BIG);
        } else if (!mrl_utf8_is_valid((const uint8_t *)name, size)) {
            note(builder, MERLE_BAD_DOCUMENT);
        } else {
            mrl_piece_str(&piece, name, (uint32_t)size);
            note(builder, mrl_assembly_put(&builder->assembly, &piece));
        }
    }
    return builder->err == MERLE_OK;
}

static void put(merle_builder *builder, const mrl_piece *piece) {
    note(builder, mrl_assembly_put(&builder->assembly, piece));
}

void merle_build_value(merle_builder *builder, const char *name, const merle_value *value) {
    mrl_piece piece;
    if (!begin_value(builder, name)) return;
    /* All open frames stand above the value. */
    merle_err err = mrl_value_check(value, builder->assembly.depth, NULL);
    if (err != MERLE_OK) {
        note(builder, err);
        return;
    }
    mrl_piece_value(&piece, value);
    put(builder, &piece);
}

void merle_build_nil(merle_builder *builder, const char *name) {
    merle_value value = merle_value_nil();
    merle_build_value(builder, name, &value);
}

void merle_build_bool(merle_builder *builder, const char *name, int truth) {
    merle_value value = merle_value_bool(truth);
    merle_build_value(builder, name, &value);
}

void merle_build_int(merle_builder *builder, const char *name, int64_t number) {
    mrl_piece piece;
    if (!begin_value(builder, name)) return;
    mrl_piece_int(&piece, number);
    put(builder, &piece);
}

void merle_build_uint(merle_builder *builder, const char *name, uint64_t number) {
    merle_value value = merle_value_uint(number);
    merle_build_value(builder, name, &value);
}

void merle_build_float(merle_builder *builder, const char *name, double number) {
    merle_value value = merle_value_float(number);
    merle_build_value(builder, name, &value);
}

void merle_build_str(merle_builder *builder, const char *name, const char *text) {
    if (text == NULL) {
        note(builder, MERLE_INVALID);
        return;
    }
    merle_build_bytes(builder, name, merle_str(text));
}

void merle_build_bytes(merle_builder *builder, const char *name, merle_bytes text) {
    merle_value value = merle_value_bytes(text);
    merle_build_value(builder, name, &value);
}

void merle_build_bin(merle_builder *builder, const char *name, merle_bytes bin) {
    merle_value value = merle_value_bin(bin);
    merle_build_value(builder, name, &value);
}

void merle_build_time(merle_builder *builder, const char *name, int64_t seconds,
                      uint32_t nanoseconds) {
    merle_value value = merle_value_time(seconds, nanoseconds);
    merle_build_value(builder, name, &value);
}

static void open_container(merle_builder *builder, const char *name, uint32_t is_map) {
    if (!begin_value(builder, name)) return;
    if (builder->assembly.depth == MERLE_DEPTH_MAX)
        note(builder, MERLE_TOO_BIG);
    else
        note(builder, mrl_assembly_open(&builder->assembly, is_map));
}

void merle_build_array(merle_builder *builder, const char *name) {
    open_container(builder, name, 0);
}

void merle_build_map(merle_builder *builder, const char *name) {
    open_container(builder, name, 1);
}

void merle_build_close(merle_builder *builder) {
    if (builder->err != MERLE_OK) return;
    /* The document itself is closed by merle_build_end. */
    if (builder->assembly.depth == 1)
        note(builder, MERLE_INVALID);
    else
        note(builder, mrl_assembly_close(&builder->assembly));
}

static int is_excepted(const uint8_t *key, const char *const *except, size_t except_count) {
    const uint8_t *text;
    uint32_t size;
    if (!mrl_scan_str(key, &text, &size)) return 0;
    for (size_t i = 0; i < except_count; i++) {
        if (strlen(except[i]) == size && memcmp(except[i], text, size) == 0) return 1;
    }
    return 0;
}

void merle_build_copy(merle_builder *builder, merle_doc doc, const char *const *except,
                      size_t except_count) {
    const uint8_t *at;
    uint32_t count;
    if (builder->err != MERLE_OK || doc.data == NULL) return;
    mrl_assembly_frame *frame = mrl_assembly_top(&builder->assembly);
    /* Elsewhere the pairs could come to stand too deep. */
    if (builder->assembly.depth != 1) {
        note(builder, MERLE_INVALID);
        return;
    }
    mrl_scan_container(doc.data, &at, &count);
    for (; count > 0 && builder->err == MERLE_OK; count--) {
        mrl_piece pair;
        const uint8_t *key = at;
        at = mrl_scan_skip(mrl_scan_skip(at));
        if (is_excepted(key, except, except_count)) continue;
        mrl_piece_raw(&pair, key, (size_t)(at - key));
        put(builder, &pair);
        frame->count++;
    }
}

merle_err merle_build_end(merle_builder *builder, merle_bytes *out_bytes) {
    *out_bytes = merle_bytes_of(NULL, 0);
    if (builder->err == MERLE_OK && builder->assembly.depth != 1) note(builder, MERLE_INVALID);
    if (builder->err == MERLE_OK) note(builder, mrl_assembly_close(&builder->assembly));
    merle_err err = builder->err;
    /* What comes after the end, before the next begin, is a mistake. */
    builder->err = MERLE_INVALID;
    if (err == MERLE_OK) *out_bytes = merle_bytes_of(builder->buffer.data, builder->buffer.size);
    return err;
}
