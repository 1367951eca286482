/* base/crc32c.c - CRC-32C by SSE4.2's instruction, or by table.
 *
 * Other processors than x86-64 use the table for now.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/crc32c.h"

#include "base/hash.h"

/* The table is linear: the entry of a byte is the sum (exclusive or) of the entries of its bits.
 * These eight are the polynomial, 0x82f63b78 (bits reversed), after one to eight steps. */
#define BIT(i, k, value) (((i) >> (k)) & 1 ? (value) : 0u)
#define ENTRY(i)                                                                \
    (BIT(i, 7, 0x82f63b78u) ^ BIT(i, 6, 0x417b1dbcu) ^ BIT(i, 5, 0x20bd8edeu) ^ \
     BIT(i, 4, 0x105ec76fu) ^ BIT(i, 3, 0x8ad958cfu) ^ BIT(i, 2, 0xc79a971fu) ^ \
     BIT(i, 1, 0xe13b70f7u) ^ BIT(i, 0, 0xf26b8303u))
#define ENTRIES_4(i) ENTRY(i), ENTRY((i) + 1), ENTRY((i) + 2), ENTRY((i) + 3)
#define ENTRIES_16(i) ENTRIES_4(i), ENTRIES_4((i) + 4), ENTRIES_4((i) + 8), ENTRIES_4((i) + 12)
#define ENTRIES_64(i) \
    ENTRIES_16(i), ENTRIES_16((i) + 16), ENTRIES_16((i) + 32), ENTRIES_16((i) + 48)

static const uint32_t table[256] = {ENTRIES_64(0), ENTRIES_64(64), ENTRIES_64(128),
                                    ENTRIES_64(192)};

uint32_t mrl_crc32c_table(uint32_t seed, const void *data, size_t size) {
    const uint8_t *p = (const uint8_t *)data;
    uint32_t crc = ~seed;
    for (size_t i = 0; i < size; i++) crc = (crc >> 8) ^ table[(crc ^ p[i]) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_instruction(uint32_t seed,
                                                                     const uint8_t *p,
                                                                     size_t size) {
    uint64_t crc = ~seed;
    for (; size >= 8; size -= 8, p += 8) crc = __builtin_ia32_crc32di(crc, mrl_load_u64(p));
    uint32_t rest = (uint32_t)crc;
    for (; size > 0; size--, p++) rest = __builtin_ia32_crc32qi(rest, *p);
    return ~rest;
}

uint32_t mrl_crc32c(uint32_t seed, const void *data, size_t size) {
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_instruction(seed, (const uint8_t *)data, size);
    return mrl_crc32c_table(seed, data, size);
}

#else

uint32_t mrl_crc32c(uint32_t seed, const void *data, size_t size) {
    return mrl_crc32c_table(seed, data, size);
}

#endif
