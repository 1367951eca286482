/* tests/fuzz/driver.h - what a fuzz target gives: the function that libFuzzer knows, and a corpus.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_FUZZ_DRIVER_H
#define TESTS_FUZZ_DRIVER_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A target that wants a better beginning than the empty input defines this and calls add for each
 * input that it knows. */
typedef void fuzz_add_fn(const void *data, size_t size);
void fuzz_corpus(fuzz_add_fn *add) __attribute__((weak));

#endif
