/* subscribe/drive.c - the subscriber of the outside world: nng, the machine's clock, a descriptor
 * that says when there is something to do, and where it is asked for a thread that does it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/report.h"
#include "base/thread.h"
#include "channel/channel.h"
#include "subscribe/subscriber_private.h"

enum { HEARD_COUNT = 256 };    /* given to a callback at once */
#define BYE_WAIT_NS 100000000u /* a close may take so long */

struct merle_subscriber_drive {
    int fd; /* an epoll with the two below: readable if one of them is */
    int bell;
    int timer;
    _Atomic int is_rung; /* the bell is readable, or about to be */
    _Atomic int is_over;
    int has_thread;
    pthread_t thread;
    merle_heard_fn *hear;
    void *hear_context;
};

/* From threads of nng, too. */
static void ring(void *context) {
    struct merle_subscriber_drive *drive = context;
    uint64_t one = 1;
    if (atomic_exchange_explicit(&drive->is_rung, 1, memory_order_acq_rel)) return;
    while (write(drive->bell, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static void unring(struct merle_subscriber_drive *drive) {
    uint64_t count;
    while (read(drive->bell, &count, sizeof count) < 0 && errno == EINTR) {
    }
    /* The bell is silent before it may ring again: whoever rings from here on makes it readable.
     * Acquire pairs with the release of who rang: what was there before is seen by the look that
     * follows. */
    (void)atomic_exchange_explicit(&drive->is_rung, 0, memory_order_acq_rel);
}

static void set_timer(merle_subscriber *s) {
    uint64_t due = mrl_subscriber_due_ns(s);
    if (due == 0) due = 1; /* 0 would switch it off */
    struct itimerspec at = {.it_value = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)}};
    (void)timerfd_settime(s->drive->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static size_t next(merle_subscriber *s, merle_heard *out_heard, size_t heard_max) {
    size_t count = mrl_subscriber_next(s, out_heard, heard_max);
    if (count == 0) {
        /* Silent first, and then one more look: what comes in between rings again. */
        unring(s->drive);
        count = mrl_subscriber_next(s, out_heard, heard_max);
    }
    if (count > 0)
        ring(s->drive); /* there may be more */
    else
        set_timer(s);
    return count;
}

merle_err merle_subscriber_next(merle_subscriber *subscriber, merle_heard *out_heard,
                                size_t heard_max, size_t *out_count) {
    *out_count = 0;
    if (heard_max == 0 || subscriber->drive->has_thread) return MERLE_INVALID;
    *out_count = next(subscriber, out_heard, heard_max);
    return MERLE_OK;
}

int merle_subscriber_fd(const merle_subscriber *subscriber) {
    return subscriber->drive->fd;
}

static merle_err wait_for(int fd, uint64_t timeout_ns) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct timespec timeout = {(time_t)(timeout_ns / 1000000000u),
                               (long)(timeout_ns % 1000000000u)};
    int count = ppoll(&p, 1, timeout_ns == UINT64_MAX ? NULL : &timeout, NULL);
    if (count < 0) return errno == EINTR ? MERLE_OK : MERLE_SYSTEM;
    return count == 0 ? MERLE_BUSY : MERLE_OK;
}

merle_err merle_subscriber_wait(merle_subscriber *subscriber, uint64_t timeout_ns) {
    if (subscriber->drive->has_thread) return MERLE_INVALID;
    return wait_for(subscriber->drive->fd, timeout_ns);
}

/* ---- the thread ---- */

static void *run(void *context) {
    merle_subscriber *s = context;
    struct merle_subscriber_drive *drive = s->drive;
    merle_heard *heard = mrl_allocate(HEARD_COUNT * sizeof *heard);
    while (heard != NULL && !atomic_load_explicit(&drive->is_over, memory_order_acquire)) {
        size_t count = next(s, heard, HEARD_COUNT);
        if (count > 0)
            drive->hear(drive->hear_context, s, heard, count);
        else if (!atomic_load_explicit(&drive->is_over, memory_order_acquire))
            (void)wait_for(drive->fd, UINT64_MAX);
    }
    free(heard);
    return NULL;
}

static merle_err start_thread(merle_subscriber *s) {
    if (mrl_thread_start("merle-hear", run, s, &s->drive->thread) != 0) return MERLE_SYSTEM;
    s->drive->has_thread = 1;
    return MERLE_OK;
}

/* ---- opening and closing ---- */

static void drive_free(struct merle_subscriber_drive *drive) {
    if (drive == NULL) return;
    if (drive->fd >= 0) (void)close(drive->fd);
    if (drive->bell >= 0) (void)close(drive->bell);
    if (drive->timer >= 0) (void)close(drive->timer);
    free(drive);
}

static merle_err drive_make(const merle_subscriber_options *options,
                            struct merle_subscriber_drive **out_drive) {
    struct epoll_event event = {.events = EPOLLIN};
    struct merle_subscriber_drive *drive = mrl_allocate(sizeof *drive);
    *out_drive = NULL;
    if (drive == NULL) return MERLE_NO_MEMORY;
    *drive = (struct merle_subscriber_drive){.fd = -1,
                                             .bell = -1,
                                             .timer = -1,
                                             .hear = options->hear,
                                             .hear_context = options->hear_context};
    drive->fd = epoll_create1(EPOLL_CLOEXEC);
    drive->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    drive->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (drive->fd < 0 || drive->bell < 0 || drive->timer < 0 ||
        epoll_ctl(drive->fd, EPOLL_CTL_ADD, drive->bell, &event) < 0 ||
        epoll_ctl(drive->fd, EPOLL_CTL_ADD, drive->timer, &event) < 0)
        goto fail;
    ring(drive); /* the first call has everything to do */
    *out_drive = drive;
    return MERLE_OK;
fail:
    drive_free(drive);
    return MERLE_SYSTEM;
}

merle_err merle_subscriber_open(const merle_subscriber_options *options,
                                merle_subscriber **out_subscriber, merle_report *report) {
    struct merle_subscriber_drive *drive;
    merle_subscriber_options own = {0};
    size_t size = options->size == 0 ? sizeof own : options->size;
    *out_subscriber = NULL;
    if (size > sizeof own)
        return mrl_report_fill(report, MERLE_INVALID, "The options are of a later version.");
    memcpy(&own, options, size);
    merle_err err = drive_make(&own, &drive);
    if (err != MERLE_OK) return mrl_report_fill(report, err, NULL);
    mrl_subscriber_seams seams = {&mrl_net_nng, &mrl_clock_system, mrl_random_seed(), drive, ring};
    merle_subscriber *s;
    err = mrl_subscriber_open(&own, &seams, &s, report);
    if (err != MERLE_OK) {
        drive_free(drive);
        return err;
    }
    s->drive = drive;
    if (own.hear != NULL && (err = start_thread(s)) != MERLE_OK) {
        merle_subscriber_close(s);
        return mrl_report_fill(report, err, "The subscriber's thread could not be started.");
    }
    *out_subscriber = s;
    return MERLE_OK;
}

/* A service that is told forgets the subscriber at once, one that is not after a minute. What is on
 * its way when a socket is closed gets lost, so the answer is awaited: but not for long. */
static void say_bye(merle_subscriber *s) {
    uint64_t end_ns = mrl_subscriber_now(s) + BYE_WAIT_NS, now_ns;
    if (!mrl_ask_bye(s)) return;
    for (;;) {
        unring(s->drive); /* first, and then look: what comes in between rings again */
        if (mrl_ask_bye_is_over(s) || (now_ns = mrl_subscriber_now(s)) >= end_ns) break;
        (void)wait_for(s->drive->bell, end_ns - now_ns);
    }
}

void merle_subscriber_close(merle_subscriber *subscriber) {
    if (subscriber == NULL) return;
    struct merle_subscriber_drive *drive = subscriber->drive;
    if (drive->has_thread) {
        atomic_store_explicit(&drive->is_over, 1, memory_order_release);
        /* The thread looks whether it is over behind the last time that it silences the bell, and
         * before it waits: it sees that it is, or the bell rings while it waits. */
        ring(drive);
        (void)pthread_join(drive->thread, NULL);
    }
    say_bye(subscriber);
    mrl_subscriber_close(subscriber);
    drive_free(drive);
}
