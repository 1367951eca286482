/* base/crc32c.h - CRC-32C (Castagnoli), by the processor's instruction where it has one.
 *
 * Threads any; no state.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_CRC32C_H
#define MRL_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of data, going on from `seed` (0 to begin; the result of another call to continue
 * it). */
uint32_t mrl_crc32c(uint32_t seed, const void *data, size_t size);
/* The same by table only: for tests, and where the instruction is missing. */
uint32_t mrl_crc32c_table(uint32_t seed, const void *data, size_t size);

#endif
