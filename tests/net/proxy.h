/* tests/net/proxy.h - stands between a dialer and a listener, and does to what passes whatever a
 * network may do.
 *
 * What    On tcp, ipc and ws it sees where messages begin and end: it drops, doubles, delays and
 *         reorders whole ones, and cuts connections. On tls+tcp and wss it delays and cuts bytes.
 *         Greetings pass as they are.
 * Owns    its thread, its sockets and what waits in them.
 * Threads its own; proxy_open and proxy_close from one.
 * Limits  PROXY_LINKS connections at a time; more are refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_NET_PROXY_H
#define TESTS_NET_PROXY_H

#include <stdint.h>

enum { PROXY_LINKS = 32 };

typedef struct proxy proxy;

/* Of ten thousand messages (or pieces), so many ... */
typedef struct proxy_faults {
    uint32_t dropped, doubled, delayed, cut;
    uint32_t delay_max_ms;
} proxy_faults;

typedef struct proxy_counts {
    uint64_t links, messages, dropped, doubled, delayed, cut;
} proxy_counts;

/* out_url: what is to be dialed instead of the target. */
proxy *proxy_open(const char *target, const proxy_faults *faults, uint64_t seed, char *out_url,
                  unsigned url_size);
/* From now on nothing is harmed, but for what is under way. */
void proxy_behave(proxy *p);
/* Ends it; its counts. */
proxy_counts proxy_close(proxy *p);

#endif
