/* tests/net/host.h - a database that is published, and a writer with three collections.
 *
 * What    host_write makes one commit by chance: puts, inserts, patches, removals, several at once,
 *         now and then a truncate. host_stir does what is rare: a bulk load, a drop, a new one.
 * Owns    the database; its directory is made and removed by whoever names it.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_NET_HOST_H
#define TESTS_NET_HOST_H

#include <merle/merle.h>
#include <merle/publish.h>

#include "base/random.h"

enum { HOST_COLLECTIONS = 3, HOST_KEYS = 40, HOST_TRANSPORTS = 6 };

typedef struct host {
    merle_options options;
    merle_publish_options publish;
    merle_db *db;
    merle_collection *collections[HOST_COLLECTIONS];
    merle_publisher *publisher;
    mrl_random random;
    uint64_t number;            /* written into documents, one after the other */
    uint64_t seq;               /* the last commit */
    size_t filler;              /* bytes of a document besides; 0: a few, by chance */
    const char *news, *service; /* what can be dialed */
} host;

/* path NULL: in memory. The log reaches back to its beginning. Addresses in h->publish. */
void host_open(host *h, const char *path, uint64_t seed);
void host_publish(host *h, const char *news, const char *service);
void host_close(host *h);
void host_write(host *h);
void host_stir(host *h);

/* 0 inproc, ipc, tcp, tls+tcp, ws, wss. */
extern const char *const host_transports[HOST_TRANSPORTS];
/* An address to listen on; certificates where it needs them, for server and subscriber alike. */
void host_address(size_t transport, const char *what, char *out_url, size_t size);
const merle_publish_tls *host_tls(void);
const char *host_authority(void);

#endif
