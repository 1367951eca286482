/* tests/unit/channel/end.h - sockets for tests, with an event that tells that they are ready.
 *
 * What    opens, sends and receives with patience; addresses of all transports; certificates made
 *         on the spot.
 * Owns    end_close gives everything back.
 * Threads one each.
 * Limits  END_PATIENCE_NS for whatever must happen.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_UNIT_CHANNEL_END_H
#define TESTS_UNIT_CHANNEL_END_H

#include "base/lock.h"
#include "channel/channel.h"

#define END_PATIENCE_NS 25000000000u

typedef struct end {
    mrl_socket *socket;
    mrl_event event;
    _Atomic uint32_t told; /* how often it was said to be ready */
    char url[256];         /* where it listens */
} end;

/* options: NULL, or without ready, which is the end's. */
void end_open(end *e, mrl_net_role role, const mrl_net_options *options);
void end_close(end *e);
void end_listen(end *e, const char *url);
void end_dial(end *e, const char *url);
/* A message: text, then zeros up to size (0: only the text). */
void end_send(end *e, const char *text, size_t size);
/* Waits for a message; it begins with this text. 0: a different one, or none in time. */
int end_receive(end *e, const char *text, size_t size);
/* Waits until there will be no answer. */
int end_receive_none(end *e);
/* Waits for a question; it begins with this text. */
mrl_question *end_question(end *e, const char *text, uint64_t *out_peer);
void end_answer(mrl_question *question, const char *text, size_t size);
/* Waits until so many are connected; 0: they are not in time. */
int end_peers(end *e, uint64_t count);
mrl_net_stats end_stats(end *e);
/* Waits a moment for an end to be told something. */
void end_nap(end *e);
/* Waits until something is so that no end is told of; the test fails if it never is. */
#define end_until(e, condition)                                                    \
    do {                                                                           \
        uint64_t end_until_ns = end_now_ns() + END_PATIENCE_NS;                    \
        while (!(condition)) {                                                     \
            if (end_now_ns() > end_until_ns) fail_msg("%s: never so", #condition); \
            end_nap(e);                                                            \
        }                                                                          \
    } while (0)
uint64_t end_now_ns(void);

/* ---- addresses ---- */

enum { END_TRANSPORTS = 6 };

extern const char *const end_transports[END_TRANSPORTS]; /* "inproc", "ipc" ... */
/* An address to listen on that nobody else has. */
void end_address(size_t transport, char *out_url, size_t size);
/* The certificates in these options, where the transport has any; dialers expect "localhost". */
void end_tls(size_t transport, mrl_net_options *options);

/* ---- certificates ---- */

/* Makes them, in a directory of this process. 0: openssl is missing or fails. */
int end_certificates(void);
/* The text of a file there ("server.pem"), for ever. */
const char *end_certificate(const char *name);
/* Removes the directory. */
void end_certificates_remove(void);

#endif
