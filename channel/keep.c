/* channel/keep.c - sees to it that listeners go on listening.
 *
 * nng 1.5.2 takes the end of a connection that it is still greeting (EPIPE, told as NNG_ECLOSED)
 * for the end of its listener, and accepts nobody any more, without a word. On ipc it is enough to
 * connect and to close before nng has written its greeting, as a client does that is killed; on
 * tcp a peer must close and reset. TLS, ws and wss do not have it. Connections that stand go on.
 *
 * So we look twice a second whether nng has counted an error at a listener, and if so, ask: we
 * connect, and greet as a peer of no protocol, which nng shows to us (peers.c) before it ends it.
 * When nobody at all is shown for a second, the listener is dead, and another takes its place.
 *
 * nng ends what came by a listener together with it. A dead listener on ipc is therefore left as it
 * is until the last of its connections has gone: its file is removed, and the new one makes its
 * own. On tcp the port cannot be had twice: connections are ended, and made again by their dialers.
 * Whoever connected to a dead listener waits in it for ever: see cut_waiting.
 *
 * The list of keepers grows at its head under the socket's lock; but for `came` and the list, all
 * else belongs to the callback of the socket's one timer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <nng/nng.h> /* before the others: they need it */

#include "base/seam.h"
#include "channel/channel_private.h"

enum { LOOK_MS = 500, ASK_MS = 100, GREETING_SIZE = 8 };
#define SILENCE_NS 1000000000u

static const char ipc[] = "ipc://";

typedef enum keeper_state {
    KEEPER_LISTENS = 0,
    KEEPER_ASKS,   /* whether it is dead */
    KEEPER_CLOSED, /* it is; nobody can connect, and the new one is not there yet */
    KEEPER_LEFT    /* another is in its place; it has connections yet */
} keeper_state;

struct keeper {
    keeper *next;
    nng_listener nng; /* id 0: none */
    keeper_state state;
    char *url;        /* with the port that it has */
    dev_t device;     /* of its file, on ipc */
    ino_t file;       /* the same; 0: there is none */
    uint64_t came;    /* connections that nng has shown to us */
    uint64_t came_at; /* when we began to ask */
    uint64_t errors;  /* that nng had counted then */
    uint64_t since_ns;
    int fd; /* of the connection with which we ask, or -1 */
    int has_greeted;
};

static uint64_t now_ns(void) {
    return mrl_clock_system.monotonic_ns(mrl_clock_system.context);
}

/* The file of a listener on ipc; NULL: it is another transport. */
static const char *path_of(const keeper *k) {
    return strncmp(k->url, ipc, strlen(ipc)) == 0 ? k->url + strlen(ipc) : NULL;
}

static keeper *keeper_new(const char *url, nng_listener listener) {
    struct stat found;
    keeper *k = calloc(1, sizeof *k);
    if (k == NULL) return NULL;
    k->nng = listener;
    k->fd = -1;
    k->url = strdup(url);
    if (k->url == NULL) {
        free(k);
        return NULL;
    }
    if (path_of(k) != NULL && stat(path_of(k), &found) == 0) {
        k->device = found.st_dev;
        k->file = found.st_ino;
    }
    return k;
}

static void keeper_free(keeper *k) {
    if (k->fd >= 0) (void)close(k->fd);
    free(k->url);
    free(k);
}

/* Whether its file is still the one that it made: others may have taken the name. */
static int has_its_place(const keeper *k) {
    struct stat found;
    const char *path = path_of(k);
    return path == NULL ||
           (stat(path, &found) == 0 && found.st_dev == k->device && found.st_ino == k->file);
}

/* ---- is it dead? ---- */

/* How many errors nng has counted that it has no name for. 0: that cannot be known. */
static int errors_of(nng_stat *all, const keeper *k, uint64_t *out_errors) {
    nng_stat *its = all == NULL ? NULL : nng_stat_find_listener(all, k->nng);
    nng_stat *other = its == NULL ? NULL : nng_stat_find(its, "other");
    *out_errors = other == NULL ? 0 : nng_stat_value(other);
    return other != NULL;
}

/* Where to connect to ask. 0: there is no such place. */
static socklen_t address_of(const keeper *k, struct sockaddr_storage *out) {
    const char *path = path_of(k);
    nng_sockaddr at;
    memset(out, 0, sizeof *out);
    if (path != NULL) {
        struct sockaddr_un *un = (struct sockaddr_un *)out;
        un->sun_family = AF_UNIX;
        (void)snprintf(un->sun_path, sizeof un->sun_path, "%s", path);
        return sizeof *un;
    }
    if (nng_listener_get_addr(k->nng, NNG_OPT_LOCADDR, &at) != 0) return 0;
    if (at.s_family == NNG_AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        uint32_t host = at.s_in.sa_addr;
        in->sin_family = AF_INET;
        in->sin_port = at.s_in.sa_port;
        in->sin_addr.s_addr = host == htonl(INADDR_ANY) ? htonl(INADDR_LOOPBACK) : host;
        return sizeof *in;
    }
    if (at.s_family != NNG_AF_INET6) return 0;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    six->sin6_family = AF_INET6;
    six->sin6_port = at.s_in6.sa_port;
    memcpy(&six->sin6_addr, at.s_in6.sa_addr, sizeof six->sin6_addr);
    if (IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr)) six->sin6_addr = in6addr_loopback;
    return sizeof *six;
}

/* Says as soon as it can who we are: nobody. Never waits. */
static void greet(keeper *k) {
    static const uint8_t greeting[GREETING_SIZE] = {0, 'S', 'P', 0, 0, 0, 0, 0};
    if (k->fd < 0 || k->has_greeted) return;
    k->has_greeted = send(k->fd, greeting, sizeof greeting, MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

/* That nobody can be reached at all is an answer, too. */
static void ask(mrl_socket *owner, keeper *k) {
    struct sockaddr_storage address;
    mrl_lock_take(&owner->lock);
    k->came_at = k->came;
    mrl_lock_drop(&owner->lock);
    k->since_ns = now_ns();
    k->state = KEEPER_ASKS;
    k->has_greeted = 0;
    socklen_t size = address_of(k, &address);
    if (size == 0) return;
    int kind = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    k->fd = socket(address.ss_family, kind, 0);
    if (k->fd < 0) { /* no descriptors: it is no fault of the listener */
        k->state = KEEPER_LISTENS;
        return;
    }
    (void)connect(k->fd, (struct sockaddr *)&address, size);
    greet(k);
}

static void look(mrl_socket *owner, keeper *k, nng_stat *all) {
    uint64_t errors;
    int is_known = errors_of(all, k, &errors);
    if (is_known && errors == k->errors) return;
    k->errors = errors;
    if (has_its_place(k)) ask(owner, k);
}

/* ---- who waits in a dead listener ---- */

typedef struct waiting {
    int fd;
    uint64_t pid;
} waiting;

/* A connection of this process that came by this file and stands. */
static int is_connection(int fd, const char *path, uint64_t *out_pid) {
    struct sockaddr_un own = {0}, other;
    struct ucred who;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    socklen_t own_size = sizeof own, other_size = sizeof other, who_size = sizeof who;
    if (getsockname(fd, (struct sockaddr *)&own, &own_size) != 0 || own.sun_family != AF_UNIX)
        return 0;
    if (strncmp(own.sun_path, path, sizeof own.sun_path) != 0) return 0;
    if (getpeername(fd, (struct sockaddr *)&other, &other_size) != 0) return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &who_size) != 0) return 0;
    *out_pid = (uint64_t)who.pid;
    return poll(&poll_fd, 1, 0) >= 0 && (poll_fd.revents & POLLHUP) == 0;
}

static size_t connections(const char *path, waiting *found, size_t max) {
    size_t count = 0;
    DIR *all = opendir("/proc/self/fd");
    struct dirent *entry;
    if (all == NULL) return 0;
    while (count < max && (entry = readdir(all)) != NULL) {
        char *end;
        int fd = (int)strtol(entry->d_name, &end, 10);
        if (end == entry->d_name || fd == dirfd(all)) continue;
        if (is_connection(fd, path, &found[count].pid)) found[count++].fd = fd;
    }
    (void)closedir(all);
    return count;
}

/* Locked. How many connections that nng has shown to us this process has by this address. */
static size_t peers_of_pid(const mrl_socket *owner, const char *url, uint64_t pid) {
    size_t count = 0;
    for (const keeper *k = owner->keepers; k != NULL; k = k->next)
        if (strcmp(k->url, url) == 0) count += peers_by(owner, nng_listener_id(k->nng), pid);
    return count;
}

/* Whoever connected while the listener was dead was greeted, and waits in it; nng neither shows it
 * to us nor ends it, but its descriptor is in our process. Which it is nothing says; but a process
 * with more connections here than nng has shown to us has one that waits: all of that process are
 * ended, and it dials again. Others do not feel it. */
static void cut_waiting(mrl_socket *owner, const keeper *k) {
    enum { MAX = 4096 };
    waiting *found = calloc(MAX, sizeof *found);
    if (found == NULL) return;
    size_t count = connections(path_of(k), found, MAX);
    for (size_t i = 0; i < count; i++) {
        size_t theirs = 0;
        for (size_t j = 0; j < count; j++) theirs += found[j].pid == found[i].pid;
        mrl_lock_take(&owner->lock);
        size_t shown = peers_of_pid(owner, k->url, found[i].pid);
        mrl_lock_drop(&owner->lock);
        if (theirs > shown) (void)shutdown(found[i].fd, SHUT_RDWR);
    }
    free(found);
}

/* ---- another in its place ---- */

static size_t peers_now(mrl_socket *owner, const keeper *k) {
    mrl_lock_take(&owner->lock);
    size_t count = peers_by(owner, nng_listener_id(k->nng), PEERS_ALL);
    mrl_lock_drop(&owner->lock);
    return count;
}

static void keeper_put(mrl_socket *owner, keeper *k) {
    mrl_lock_take(&owner->lock);
    k->next = owner->keepers;
    owner->keepers = k;
    mrl_lock_drop(&owner->lock);
}

static void close_dead(mrl_socket *owner, keeper *k) {
    nng_listener dead = k->nng;
    if (k->fd >= 0) (void)close(k->fd);
    k->fd = -1;
    k->state = KEEPER_CLOSED;
    if (path_of(k) == NULL) {
        mrl_lock_take(&owner->lock);
        k->nng = (nng_listener)NNG_LISTENER_INITIALIZER;
        mrl_lock_drop(&owner->lock);
        (void)nng_listener_close(dead);
    } else if (has_its_place(k)) {
        (void)unlink(path_of(k));
    }
}

/* Some time after close_dead: what was on its way to the dead one has arrived by now. */
static void replace(mrl_socket *owner, keeper *k) {
    nng_listener listener = NNG_LISTENER_INITIALIZER;
    struct stat found;
    keeper *new_one = NULL;
    if (path_of(k) != NULL && nng_listener_id(k->nng) > 0) cut_waiting(owner, k);
    if (path_of(k) != NULL && stat(path_of(k), &found) == 0) return; /* somebody else's by now */
    if (address_listen_at(owner, k->url, &listener) != 0) return;    /* we come back */
    new_one = keeper_new(k->url, listener);
    if (new_one == NULL) {
        (void)nng_listener_close(listener);
        return;
    }
    keeper_put(owner, new_one);
    mrl_lock_take(&owner->lock);
    owner->stats.relistened++;
    mrl_lock_drop(&owner->lock);
    k->state = KEEPER_LEFT;
}

/* nng removes the file of a listener that it closes, and by now that is another's: it is out of the
 * way for this moment. 0: not now. */
static int close_left(keeper *k) {
    const char *path = path_of(k);
    char aside[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 8];
    struct stat found;
    if (path == NULL) return 1; /* it was closed at once */
    (void)snprintf(aside, sizeof aside, "%s.aside", path);
    int is_there = stat(path, &found) == 0;
    if (is_there && rename(path, aside) != 0) return 0;
    (void)nng_listener_close(k->nng);
    if (is_there) (void)rename(aside, path);
    return 1;
}

/* ---- the timer ---- */

static void keeper_step(mrl_socket *owner, keeper *k, nng_stat *all) {
    switch (k->state) {
    case KEEPER_LISTENS:
        look(owner, k, all);
        return;
    case KEEPER_ASKS:
        greet(k);
        mrl_lock_take(&owner->lock);
        int is_alive = k->came != k->came_at;
        mrl_lock_drop(&owner->lock);
        if (is_alive) {
            if (k->fd >= 0) (void)close(k->fd);
            k->fd = -1;
            k->state = KEEPER_LISTENS;
        } else if (now_ns() - k->since_ns > SILENCE_NS) {
            close_dead(owner, k);
        }
        return;
    case KEEPER_CLOSED:
        replace(owner, k);
        return;
    case KEEPER_LEFT:
        return;
    }
}

/* Removes those that were left and have no connections any more. */
static void sweep(mrl_socket *owner) {
    mrl_lock_take(&owner->lock);
    keeper *k = owner->keepers;
    mrl_lock_drop(&owner->lock);
    while (k != NULL) {
        keeper *next = k->next;
        if (k->state == KEEPER_LEFT && peers_now(owner, k) == 0 && close_left(k)) {
            mrl_lock_take(&owner->lock);
            keeper **place = &owner->keepers;
            while (*place != k) place = &(*place)->next;
            *place = next;
            mrl_lock_drop(&owner->lock);
            keeper_free(k);
        }
        k = next;
    }
}

static void keep(void *context) {
    mrl_socket *owner = context;
    nng_stat *all = NULL;
    int wait_ms = LOOK_MS;
    if (nng_aio_result(owner->keep_aio) != 0) return;
    mrl_lock_take(&owner->lock);
    keeper *first = owner->keepers;
    int is_closing = owner->is_closing;
    mrl_lock_drop(&owner->lock);
    if (is_closing) return;
    if (nng_stats_get(&all) != 0) all = NULL;
    for (keeper *k = first; k != NULL; k = k->next) {
        keeper_step(owner, k, all);
        if (k->state == KEEPER_ASKS || k->state == KEEPER_CLOSED) wait_ms = ASK_MS;
    }
    if (all != NULL) nng_stats_free(all);
    sweep(owner);
    mrl_lock_take(&owner->lock);
    if (!owner->is_closing) nng_sleep_aio(wait_ms, owner->keep_aio);
    mrl_lock_drop(&owner->lock);
}

int keep_listening(mrl_socket *owner, const char *url, nng_listener listener) {
    keeper *k = keeper_new(url, listener);
    nng_aio *made = NULL;
    if (k == NULL) return NNG_ENOMEM;
    if (owner->keep_aio == NULL) {
        int failed = nng_aio_alloc(&made, keep, owner);
        if (failed != 0) {
            keeper_free(k);
            return failed;
        }
    }
    keeper_put(owner, k);
    if (made == NULL) return 0;
    mrl_lock_take(&owner->lock);
    owner->keep_aio = made;
    nng_sleep_aio(LOOK_MS, made);
    mrl_lock_drop(&owner->lock);
    return 0;
}

void keep_came(mrl_socket *owner, int listener) {
    for (keeper *k = owner->keepers; k != NULL; k = k->next)
        if (nng_listener_id(k->nng) == listener) k->came++;
}

void keep_end(mrl_socket *owner) {
    if (owner->keep_aio != NULL) nng_aio_stop(owner->keep_aio);
}

void keep_free(mrl_socket *owner) {
    if (owner->keep_aio != NULL) nng_aio_free(owner->keep_aio);
    while (owner->keepers != NULL) {
        keeper *freed = owner->keepers;
        owner->keepers = freed->next;
        keeper_free(freed);
    }
}
