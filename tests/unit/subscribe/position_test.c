/* tests/unit/subscribe/position_test.c - a subscriber's position as bytes.
 *
 * Aim     What is written is read again; its form is the one of docs/protocol.md; no byte of it can
 *         be another without being noticed, and no length.
 * Method  One position with two collections, looked at byte by byte, then each bit turned and each
 *         beginning of it tried.
 * Blind   Bytes that were forged together with their checksum are only looked at as far as lengths.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "subscribe/position.h"

static void write_position(merle_buffer *buffer) {
    mrl_position position = {.seq = 0x0102, .position = 3};
    mrl_position_part ants = {{"ants", 4}, 1, 7, 0x11223344}, bees = {{"bees", 4}, 0, 9, 5};
    memset(position.history.bytes, 0xab, sizeof position.history.bytes);
    buffer->size = 0;
    assert_int_equal(mrl_position_write_begin(&position, 2, buffer), MERLE_OK);
    assert_int_equal(mrl_position_write_part(&ants, buffer), MERLE_OK);
    assert_int_equal(mrl_position_write_part(&bees, buffer), MERLE_OK);
    assert_int_equal(mrl_position_write_end(buffer), MERLE_OK);
}

static void what_is_written_is_read_again(void **state) {
    static const uint8_t parts[] = {4, 1, 7, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 'a', 'n', 't', 's',
                                    4, 0, 0, 0, 0, 0, 5,    0,    0,    0,    'b', 'e', 'e', 's'};
    merle_buffer buffer = {0};
    mrl_position position;
    mrl_position_part part;
    uint32_t count;
    (void)state;
    write_position(&buffer);
    assert_int_equal(buffer.size, 52 + sizeof parts + 4);
    assert_memory_equal(buffer.data, "mrlS\1\0\0\0\xab", 9);
    assert_memory_equal(buffer.data + 32, "\2\1\0\0\0\0\0\0\3\0\0\0\0\0\0\0\2\0\0\0", 20);
    assert_memory_equal(buffer.data + 52, parts, sizeof parts);
    merle_bytes bytes = {buffer.data, buffer.size};
    assert_int_equal(mrl_position_read(bytes, &position, &count), MERLE_OK);
    assert_int_equal(count, 2);
    assert_int_equal(position.seq, 0x0102);
    assert_int_equal(position.position, 3);
    assert_int_equal(position.has_all, 0);
    assert_int_equal(position.history.bytes[23], 0xab);
    mrl_position_part_get(bytes, 1, &part);
    assert_memory_equal(part.name.data, "bees", 4);
    assert_int_equal(part.has_id, 0);
    assert_int_equal(part.filter, 5);
    merle_buffer_free(&buffer);
}

static void any_other_bytes_are_refused(void **state) {
    merle_buffer buffer = {0};
    mrl_position position;
    uint32_t count;
    (void)state;
    write_position(&buffer);
    for (size_t bit = 0; bit < buffer.size * 8; bit++) {
        buffer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        merle_bytes bytes = {buffer.data, buffer.size};
        assert_int_equal(mrl_position_read(bytes, &position, &count), MERLE_INVALID);
        buffer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    for (size_t size = 0; size < buffer.size; size++) {
        uint8_t *exact = malloc(size == 0 ? 1 : size);
        assert_non_null(exact);
        memcpy(exact, buffer.data, size);
        assert_int_equal(mrl_position_read(merle_bytes_of(exact, size), &position, &count),
                         MERLE_INVALID);
        free(exact);
    }
    merle_buffer_free(&buffer);
}

static void filters_differ_by_where_prefix_and_condition_part(void **state) {
    merle_bytes a = {"a", 1}, b = {"b", 1}, ab = {"ab", 2}, none = {NULL, 0};
    (void)state;
    assert_int_equal(mrl_position_filter(a, b), mrl_position_filter(a, b));
    assert_int_not_equal(mrl_position_filter(a, b), mrl_position_filter(ab, none));
    assert_int_not_equal(mrl_position_filter(a, b), mrl_position_filter(none, ab));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(any_other_bytes_are_refused),
        cmocka_unit_test(filters_differ_by_where_prefix_and_condition_part)};
    return cmocka_run_group_tests_name("position", tests, NULL, NULL);
}
