/* database/durable.c - tells that more is on stable storage.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "database/durable.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/report.h"
#include "database/database.h"

void mrl_durable_moved(void *context, uint64_t seq) {
    mrl_durable *durable = context;
    int descriptor = atomic_load_explicit(&durable->descriptor, memory_order_acquire) - 1;
    if (descriptor >= 0) {
        uint64_t one = 1;
        /* It fails only where the counter is full: then it is readable already. */
        ssize_t written = write(descriptor, &one, sizeof one);
        (void)written;
    }
    if (durable->fn != NULL) durable->fn(durable->context, seq);
}

void mrl_durable_fini(mrl_durable *durable) {
    int descriptor = atomic_load_explicit(&durable->descriptor, memory_order_relaxed) - 1;
    if (descriptor >= 0) (void)close(descriptor);
}

merle_err merle_durable_fd(merle_db *db, int *out_descriptor) {
    *out_descriptor = -1;
    if (db == NULL) return MERLE_INVALID;
    if (mrl_domain_is_forked(db->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(db->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    int there = atomic_load_explicit(&db->durable.descriptor, memory_order_acquire);
    if (there == 0) {
        int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (made < 0) {
            int failed = errno;
            (void)mrl_store_fail(member, MERLE_SYSTEM, NULL, merle_bytes_of(NULL, 0),
                                 "no event descriptor");
            mrl_report_errno(member->report, failed);
            return MERLE_SYSTEM;
        }
        if (atomic_compare_exchange_strong_explicit(&db->durable.descriptor, &there, made + 1,
                                                    memory_order_acq_rel, memory_order_acquire))
            there = made + 1;
        else
            (void)close(made);
    }
    *out_descriptor = there - 1;
    return MERLE_OK;
}
