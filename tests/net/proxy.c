/* tests/net/proxy.c - a network that does not behave.
 *
 * One thread polls all sockets. What comes is cut into units, each unit gets the moment at which it
 * goes on; a later unit with an earlier moment overtakes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/net/proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/random.h"
#include "base/seam.h"

enum { READ_SIZE = 64 << 10, GREETING_SIZE = 8, WAIT_MAX_MS = 20 };

typedef enum framing { FRAMING_BYTES, FRAMING_TCP, FRAMING_IPC, FRAMING_WS } framing;

typedef struct packet {
    struct packet *next; /* by due_ns, of equal ones in the order in which they came */
    uint64_t due_ns;
    size_t size, sent;
    uint8_t bytes[];
} packet;

/* One direction of a connection. */
typedef struct flow {
    uint8_t *bytes; /* came, and are no whole unit yet */
    size_t size, room;
    int is_greeted;
    uint64_t last_due_ns;
    packet *first;
    packet *sending; /* begun: nothing overtakes it */
} flow;

typedef struct link {
    int fds[2];    /* of the dialer, of the listener; -1: free */
    flow flows[2]; /* flows[i] came from fds[i] */
} link_t;

struct proxy {
    framing framing;
    proxy_faults faults;
    _Atomic int behaves, is_over;
    mrl_random random;
    struct sockaddr_storage target;
    socklen_t target_size;
    int listener;
    char path[108]; /* of a socket that is a file; empty: none */
    pthread_t thread;
    link_t links[PROXY_LINKS];
    proxy_counts counts;
};

static uint64_t now_ns(void) {
    return mrl_clock_system.monotonic_ns(mrl_clock_system.context);
}

static int happens(proxy *p, uint32_t of_ten_thousand) {
    return !p->behaves && mrl_random_below(&p->random, 10000) < of_ten_thousand;
}

/* ---- units ---- */

static size_t be64(const uint8_t *bytes) {
    uint64_t number = 0;
    for (int i = 0; i < 8; i++) number = number << 8 | bytes[i];
    return (size_t)number;
}

/* The bytes of the frame that begins here, 0: it is not all there. */
static size_t ws_frame(const uint8_t *bytes, size_t size) {
    if (size < 2) return 0;
    size_t length = bytes[1] & 0x7f, head = 2 + ((bytes[1] & 0x80) != 0 ? 4 : 0);
    if (length == 126) {
        if (size < 4) return 0;
        length = (size_t)bytes[2] << 8 | bytes[3];
        head += 2;
    } else if (length == 127) {
        if (size < 10) return 0;
        length = be64(bytes + 2);
        head += 8;
    }
    return size >= head + length ? head + length : 0;
}

/* A message may be several frames; the last one of it has the highest bit. */
static size_t ws_unit(const flow *f) {
    size_t all = 0, one = 0;
    if (!f->is_greeted) {
        const uint8_t *end = memmem(f->bytes, f->size, "\r\n\r\n", 4);
        return end == NULL ? 0 : (size_t)(end - f->bytes) + 4;
    }
    do {
        one = ws_frame(f->bytes + all, f->size - all);
        if (one == 0) return 0;
        all += one;
    } while ((f->bytes[all - one] & 0x80) == 0);
    return all;
}

/* The bytes of the next unit, 0: it is not all there. */
static size_t unit_of(const proxy *p, const flow *f) {
    size_t head = p->framing == FRAMING_IPC ? 9 : 8;
    if (p->framing == FRAMING_BYTES) return f->size;
    if (p->framing == FRAMING_WS) return ws_unit(f);
    if (!f->is_greeted) return f->size >= GREETING_SIZE ? GREETING_SIZE : 0;
    if (f->size < head) return 0;
    head += be64(f->bytes + head - 8);
    return f->size >= head ? head : 0;
}

/* ---- what is done to them ---- */

static void packet_add(flow *f, const uint8_t *bytes, size_t size, uint64_t due_ns) {
    packet **place = &f->first, *added = malloc(sizeof *added + size);
    MRL_ASSERT(added != NULL);
    *added = (packet){.due_ns = due_ns, .size = size};
    memcpy(added->bytes, bytes, size);
    while (*place != NULL && (*place)->due_ns <= due_ns) place = &(*place)->next;
    added->next = *place;
    *place = added;
    if (due_ns > f->last_due_ns) f->last_due_ns = due_ns;
}

/* 0: the connection is cut. */
static int unit_came(proxy *p, flow *f, const uint8_t *bytes, size_t size) {
    uint64_t due_ns = now_ns();
    int is_aware = p->framing != FRAMING_BYTES;
    if (is_aware && !f->is_greeted) {
        f->is_greeted = 1;
        packet_add(f, bytes, size, due_ns);
        return 1;
    }
    p->counts.messages++;
    if (happens(p, p->faults.cut)) {
        p->counts.cut++;
        return 0;
    }
    if (is_aware && happens(p, p->faults.dropped)) {
        p->counts.dropped++;
        return 1;
    }
    if (happens(p, p->faults.delayed)) {
        p->counts.delayed++;
        due_ns += mrl_random_below(&p->random, p->faults.delay_max_ms * 1000000ull);
    }
    if (!is_aware && due_ns < f->last_due_ns) due_ns = f->last_due_ns;
    packet_add(f, bytes, size, due_ns);
    if (is_aware && happens(p, p->faults.doubled)) {
        p->counts.doubled++;
        packet_add(f, bytes, size, due_ns);
    }
    return 1;
}

/* ---- connections ---- */

static void flow_free(flow *f) {
    if (f->sending != NULL) f->sending->next = f->first;
    if (f->sending != NULL) f->first = f->sending;
    while (f->first != NULL) {
        packet *freed = f->first;
        f->first = freed->next;
        free(freed);
    }
    free(f->bytes);
    *f = (flow){0};
}

static void link_end(link_t *l) {
    for (int i = 0; i < 2; i++) {
        (void)close(l->fds[i]);
        l->fds[i] = -1;
        flow_free(&l->flows[i]);
    }
}

static void link_begin(proxy *p) {
    int fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    link_t *l = NULL;
    if (fd < 0) return;
    for (int i = 0; i < PROXY_LINKS && l == NULL; i++)
        if (p->links[i].fds[0] < 0) l = &p->links[i];
    int other = socket(p->target.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l == NULL || other < 0 ||
        connect(other, (struct sockaddr *)&p->target, p->target_size) != 0) {
        (void)close(fd);
        if (other >= 0) (void)close(other);
        return;
    }
    (void)fcntl(other, F_SETFL, O_NONBLOCK);
    l->fds[0] = fd;
    l->fds[1] = other;
    p->counts.links++;
}

/* 0: the connection has ended. */
static int flow_read(proxy *p, flow *f, int fd) {
    if (f->room < f->size + READ_SIZE) {
        f->room = (f->size + READ_SIZE) * 2;
        f->bytes = realloc(f->bytes, f->room);
        MRL_ASSERT(f->bytes != NULL);
    }
    ssize_t got = recv(fd, f->bytes + f->size, READ_SIZE, MSG_DONTWAIT);
    if (got <= 0) return 0;
    f->size += (size_t)got;
    for (size_t unit = unit_of(p, f); unit > 0; unit = unit_of(p, f)) {
        if (!unit_came(p, f, f->bytes, unit)) return 0;
        f->size -= unit;
        memmove(f->bytes, f->bytes + unit, f->size);
    }
    return 1;
}

/* 0: the connection has ended. *out_due_ns: when there is something to do. */
static int flow_write(flow *f, int fd, uint64_t *due_ns) {
    for (;;) {
        if (f->sending == NULL && f->first != NULL && f->first->due_ns <= now_ns()) {
            f->sending = f->first;
            f->first = f->sending->next;
        }
        packet *s = f->sending;
        if (s == NULL) {
            if (f->first != NULL && f->first->due_ns < *due_ns) *due_ns = f->first->due_ns;
            return 1;
        }
        ssize_t sent = send(fd, s->bytes + s->sent, s->size - s->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) return 1; /* its reader sees whether it is over */
        s->sent += (size_t)sent;
        if (s->sent < s->size) return 1;
        free(s);
        f->sending = NULL;
    }
}

static void link_step(proxy *p, link_t *l, const struct pollfd *polled, uint64_t *due_ns) {
    int lives = 1;
    for (int i = 0; i < 2 && lives; i++) {
        if ((polled[i].revents & ~POLLOUT) != 0) lives = flow_read(p, &l->flows[i], l->fds[i]);
        if (lives) lives = flow_write(&l->flows[i], l->fds[1 - i], due_ns);
    }
    if (!lives) link_end(l);
}

static void *proxy_run(void *context) {
    proxy *p = context;
    struct pollfd polled[1 + 2 * PROXY_LINKS];
    uint64_t due_ns = 0;
    while (!p->is_over) {
        uint64_t now = now_ns();
        uint64_t wait_ms = due_ns <= now ? 0 : (due_ns - now) / 1000000 + 1;
        polled[0] = (struct pollfd){p->listener, POLLIN, 0};
        for (int i = 0; i < PROXY_LINKS; i++) {
            link_t *l = &p->links[i];
            for (int j = 0; j < 2; j++) {
                int waits = l->flows[1 - j].sending != NULL;
                polled[1 + 2 * i + j] =
                    (struct pollfd){l->fds[j], (short)(POLLIN | (waits ? POLLOUT : 0)), 0};
            }
        }
        (void)poll(polled, 1 + 2 * PROXY_LINKS, wait_ms > WAIT_MAX_MS ? WAIT_MAX_MS : (int)wait_ms);
        due_ns = UINT64_MAX;
        for (int i = 0; i < PROXY_LINKS; i++)
            if (p->links[i].fds[0] >= 0) link_step(p, &p->links[i], &polled[1 + 2 * i], &due_ns);
        if (polled[0].revents != 0) link_begin(p);
    }
    return NULL;
}

/* ---- addresses ---- */

static void listen_ipc(proxy *p, const char *path, char *out_url, unsigned url_size) {
    struct sockaddr_un *target = (struct sockaddr_un *)&p->target;
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    target->sun_family = AF_UNIX;
    (void)snprintf(target->sun_path, sizeof target->sun_path, "%s", path);
    p->target_size = sizeof *target;
    (void)snprintf(own.sun_path, sizeof own.sun_path, "%.90s.proxy", path);
    (void)snprintf(p->path, sizeof p->path, "%s", own.sun_path);
    (void)snprintf(out_url, url_size, "ipc://%s", own.sun_path);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MRL_ASSERT(bind(p->listener, (struct sockaddr *)&own, sizeof own) == 0);
}

static void listen_tcp(proxy *p, const char *target, char *out_url, unsigned url_size) {
    const char *host = strstr(target, "://") + 3, *port = strchr(host, ':');
    struct sockaddr_in *to = (struct sockaddr_in *)&p->target, own = {.sin_family = AF_INET};
    socklen_t size = sizeof own;
    *to = own;
    to->sin_port = htons((uint16_t)atoi(port + 1));
    to->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->target_size = sizeof *to;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MRL_ASSERT(bind(p->listener, (struct sockaddr *)&own, sizeof own) == 0 &&
               getsockname(p->listener, (struct sockaddr *)&own, &size) == 0);
    const char *rest = port + 1 + strspn(port + 1, "0123456789");
    (void)snprintf(out_url, url_size, "%.*s:%d%s", (int)(port - target), target,
                   ntohs(own.sin_port), rest);
}

proxy *proxy_open(const char *target, const proxy_faults *faults, uint64_t seed, char *out_url,
                  unsigned url_size) {
    proxy *p = calloc(1, sizeof *p);
    MRL_ASSERT(p != NULL);
    p->faults = *faults;
    mrl_random_init(&p->random, seed);
    for (int i = 0; i < PROXY_LINKS; i++) p->links[i].fds[0] = p->links[i].fds[1] = -1;
    p->framing = strncmp(target, "tcp://", 6) == 0   ? FRAMING_TCP
                 : strncmp(target, "ipc://", 6) == 0 ? FRAMING_IPC
                 : strncmp(target, "ws://", 5) == 0  ? FRAMING_WS
                                                     : FRAMING_BYTES;
    if (p->framing == FRAMING_IPC)
        listen_ipc(p, target + 6, out_url, url_size);
    else
        listen_tcp(p, target, out_url, url_size);
    MRL_ASSERT(listen(p->listener, 16) == 0);
    MRL_ASSERT(pthread_create(&p->thread, NULL, proxy_run, p) == 0);
    return p;
}

void proxy_behave(proxy *p) {
    p->behaves = 1;
}

proxy_counts proxy_close(proxy *p) {
    p->is_over = 1;
    (void)pthread_join(p->thread, NULL);
    for (int i = 0; i < PROXY_LINKS; i++)
        if (p->links[i].fds[0] >= 0) link_end(&p->links[i]);
    (void)close(p->listener);
    if (p->path[0] != 0) (void)unlink(p->path);
    proxy_counts counts = p->counts;
    free(p);
    return counts;
}
