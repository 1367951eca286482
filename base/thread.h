/* base/thread.h - starting a thread of the library's own.
 *
 * What    The one place where threads of the operating system are started.
 * Owns    nothing: whoever starts one joins it.
 * Sees    The thread takes no signals: the host's signals are the host's business.
 * Threads any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_BASE_THREAD_H
#define MRL_BASE_THREAD_H

#include <pthread.h>

typedef void *mrl_thread_fn(void *context);

/* name: at most 15 bytes, as debuggers and top show it. 0, or an errno value: nothing runs then.
 * *out_thread may be read by the new thread only after the call has returned. */
int mrl_thread_start(const char *name, mrl_thread_fn *fn, void *context, pthread_t *out_thread);

#endif
