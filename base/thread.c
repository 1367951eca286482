/* base/thread.c - starting a thread of the library's own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/thread.h"

#include <signal.h>

int mrl_thread_start(const char *name, mrl_thread_fn *fn, void *context, pthread_t *out_thread) {
    sigset_t all, before;
    /* A new thread has the mask of whoever starts it. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(out_thread, NULL, fn, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0) pthread_setname_np(*out_thread, name);
    return failed;
}
