/* base/assert.h - assertions: promises of the program to itself.
 *
 * What    MRL_ASSERT stays on in release builds and is meant for cheap checks of broken promises
 *         inside the program; MRL_DEBUG_ASSERT is compiled away when NDEBUG is defined. Bad bytes,
 *         a full disk and no memory are errors, never assertions.
 * Owns    nothing.
 * Threads any. A broken promise writes one line to standard error and aborts.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_ASSERT_H
#define MRL_BASE_ASSERT_H

/* Says on standard error which promise was broken where, and aborts. */
__attribute__((noreturn, cold)) void mrl_assert_fail(const char *promise, const char *file,
                                                     int line);

#define MRL_ASSERT(promise) \
    (__builtin_expect(!!(promise), 1) ? (void)0 : mrl_assert_fail(#promise, __FILE__, __LINE__))

#ifdef NDEBUG
#define MRL_DEBUG_ASSERT(promise) ((void)sizeof(!!(promise)))
#else
#define MRL_DEBUG_ASSERT(promise) MRL_ASSERT(promise)
#endif

#endif
