/* events/wait.c - a watch's descriptor, and waiting.
 *
 * A watch that has nothing more to give arms its follower, and the commit that comes next wakes it.
 * Beside a busy writer that would be a wake for each few commits, at the writer's cost. So a watch
 * that is woken often naps instead: it is not armed, and looks again after a millisecond by a timer
 * of its own; only when nothing has come in that time it arms again. The descriptor is an epoll
 * descriptor over both, the follower's eventfd and the timer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "events/watch.h"

static uint64_t now_ns(const merle_watch *watch) {
    const mrl_clock *clock = watch->store->clock;
    return clock->monotonic_ns(clock->context);
}

/* Nothing that comes now wakes anybody. */
static void disarm(merle_watch *watch) {
    if (watch->is_armed) mrl_follower_disarm(&watch->follower);
    watch->is_armed = 0;
}

/* Whether it is woken often: something has come since the last time, which is a short while ago, or
 * was a nap. Notes where it stands. */
static int comes_often(merle_watch *watch, uint64_t now) {
    uint64_t position = merle_changes_position(watch->changes);
    int has_moved = position != watch->settled_at;
    watch->settled_at = position;
    return has_moved && (watch->is_napping || now - watch->armed_at_ns < MRL_WATCH_NAP_NS);
}

static int arm(merle_watch *watch, uint64_t now) {
    if (!mrl_follower_arm(&watch->follower, watch->settled_at)) return 0;
    watch->is_armed = 1;
    watch->armed_at_ns = now;
    return 1;
}

/* ---- the descriptor ---- */

static void set_timer(const merle_watch *watch, long ns) {
    const struct itimerspec when = {.it_value = {0, ns}};
    (void)timerfd_settime(watch->timer_fd, 0, &when, NULL);
}

static int is_still_armed(const merle_watch *watch) {
    return atomic_load_explicit(&watch->follower.is_armed, memory_order_relaxed) != 0;
}

/* The descriptor says no more that there is something. */
static void clear(merle_watch *watch) {
    uint64_t count;
    while (read(watch->event_fd, &count, sizeof count) < 0 && errno == EINTR) continue;
    if (watch->is_napping) set_timer(watch, 0);
}

/* It says that there is something. */
static void make_readable(const merle_watch *watch) {
    static const uint64_t one = 1;
    if (watch->fd >= 0) (void)!write(watch->event_fd, &one, sizeof one);
}

static void nap(merle_watch *watch) {
    set_timer(watch, MRL_WATCH_NAP_NS);
    watch->is_napping = 1;
}

int mrl_watch_settle(merle_watch *watch, int is_busy) {
    if (watch->fd < 0) return 1;
    if (watch->is_armed && is_still_armed(watch)) return 1;
    uint64_t now = now_ns(watch);
    if (watch->is_armed) watch->stats.wakes++;
    watch->is_armed = 0;
    clear(watch);
    int often = comes_often(watch, now);
    watch->is_napping = 0;
    if (often || is_busy) {
        nap(watch);
        return 1;
    }
    return arm(watch, now);
}

static merle_err open_fds(merle_watch *watch) {
    struct epoll_event wanted = {.events = EPOLLIN};
    watch->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    watch->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    watch->fd = epoll_create1(EPOLL_CLOEXEC);
    if (watch->event_fd < 0 || watch->timer_fd < 0 || watch->fd < 0) goto fail;
    if (epoll_ctl(watch->fd, EPOLL_CTL_ADD, watch->event_fd, &wanted) != 0) goto fail;
    if (epoll_ctl(watch->fd, EPOLL_CTL_ADD, watch->timer_fd, &wanted) != 0) goto fail;
    return MERLE_OK;
fail:
    mrl_watch_close_fds(watch);
    return MERLE_SYSTEM;
}

merle_err merle_watch_fd(merle_watch *watch, int *out_fd) {
    *out_fd = -1;
    merle_err err = mrl_watch_enter(watch);
    if (err != MERLE_OK) return err;
    if (watch->fd < 0) {
        disarm(watch);
        if ((err = open_fds(watch)) != MERLE_OK) return err;
        watch->follower.fd = watch->event_fd;
        /* There may be something already: the first call that gives nothing clears it. */
        make_readable(watch);
    }
    *out_fd = watch->fd;
    return MERLE_OK;
}

void mrl_watch_close_fds(merle_watch *watch) {
    if (watch->fd >= 0) (void)close(watch->fd);
    if (watch->timer_fd >= 0) (void)close(watch->timer_fd);
    if (watch->event_fd >= 0) (void)close(watch->event_fd);
    watch->fd = watch->timer_fd = watch->event_fd = -1;
}

/* ---- waiting ---- */

static int has_something(const merle_watch *watch) {
    const mrl_latest *latest = &watch->latest;
    return watch->batch_at < watch->batch_count || latest->given < latest->count ||
           latest->has_gap || mrl_changes_passed(watch->changes) != 0 ||
           mrl_follower_seq(&watch->follower) > merle_changes_position(watch->changes);
}

/* One sleep: a nap, or until it is woken. */
static void sleep_once(merle_watch *watch, uint64_t now, uint64_t until) {
    uint32_t seen = mrl_event_count(&watch->event);
    uint64_t left = until == UINT64_MAX ? UINT64_MAX : until - now;
    int often = comes_often(watch, now);
    watch->is_napping = (uint8_t)often;
    if (often) {
        (void)mrl_event_wait(&watch->event, seen,
                             left < MRL_WATCH_NAP_NS ? left : MRL_WATCH_NAP_NS);
        return;
    }
    if (!arm(watch, now)) return;
    if (mrl_event_wait(&watch->event, seen, left)) watch->stats.wakes++;
    disarm(watch);
}

merle_err merle_watch_wait(merle_watch *watch, uint64_t timeout_ns) {
    merle_err err = mrl_watch_enter(watch);
    if (err != MERLE_OK) return err;
    merle_watch_rest(watch);
    uint64_t now = now_ns(watch), until = now + timeout_ns;
    if (until < now) until = UINT64_MAX;
    while (!has_something(watch)) {
        /* Whoever polls the descriptor next is told of what comes from here on. */
        if (now >= until && mrl_watch_settle(watch, 0)) return MERLE_NOT_FOUND;
        if (now < until) sleep_once(watch, now, until);
        now = now_ns(watch);
    }
    make_readable(watch);
    return MERLE_OK;
}
