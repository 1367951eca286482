/* tests/model/seed.h - seed and amount of a random test, from the environment.
 *
 * What    MERLE_TEST_SEED is the first seed (else a fixed one), MERLE_TEST_LONG asks for ten
 *         times the work. Lines for people begin with "# ".
 * Threads any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_MODEL_SEED_H
#define TESTS_MODEL_SEED_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline uint64_t test_seed(void) {
    const char *text = getenv("MERLE_TEST_SEED");
    return text == NULL ? 1 : strtoull(text, NULL, 10);
}

static inline int test_is_long(void) {
    const char *text = getenv("MERLE_TEST_LONG");
    return text != NULL && text[0] != 0 && text[0] != '0';
}

/* So many, or ten times as many in a long run; a tenth under sanitizers, which are slow. */
static inline uint64_t test_amount(uint64_t amount) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    amount = amount / 8 + 1;
#endif
    return test_is_long() ? 10 * amount : amount;
}

static inline void test_seed_print(void) {
    printf("# seed %llu\n", (unsigned long long)test_seed());
    (void)fflush(stdout);
}

__attribute__((format(printf, 1, 2))) static inline void test_say(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* In one piece: other threads print, too. */
    printf("# %s\n", text);
    (void)fflush(stdout);
}

#endif
