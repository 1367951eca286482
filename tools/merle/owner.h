/* tools/merle/owner.h - the process that has a directory open, asked through its operator's socket.
 *
 * What    Questions and answers of docs/protocol.md, one at a time; what takes long is begun there,
 *         and asked for until it is done.
 * Owns    the connection, and the last answer.
 * Sees    Answers are foreign bytes, bounded by wire/event.h.
 * Threads one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TOOLS_MERLE_OWNER_H
#define TOOLS_MERLE_OWNER_H

#include <merle/merle.h>

#include "base/lock.h"
#include "base/net.h"
#include "tools/merle/command.h"
#include "wire/event.h"

typedef struct owner {
    mrl_socket *socket;
    mrl_event came;
    int directory_fd; /* -1: none */
    uint8_t token[MRL_WIRE_TOKEN_SIZE];
    mrl_wire_history history;
    uint64_t newest, oldest;
    uint32_t rights;
    merle_buffer question;
    mrl_message answer; /* what was read of it last points in there */
} owner;

/* The owner of this directory. NULL: he cannot be reached, and it was told why; `busy` is the
 * report of the opening, which says who he is. Freed by owner_close. */
owner *owner_open(const char *directory, const merle_report *busy);
void owner_close(owner *o);

/* Asks, and waits for the answer as long as it takes, but for `patience_ms` at most; the token is
 * put in. EXIT_GOOD: *out_answer is valid until the next question, its status is whatever the owner
 * said. Else it was told what is wrong. */
int owner_ask(owner *o, mrl_wire_question *question, uint32_t patience_ms,
              mrl_wire_answer *out_answer);
/* Has a verb done; arguments: a map, size 0: an empty one. *out_result is valid until the next
 * question. */
int owner_operate(owner *o, const char *verb, merle_bytes arguments, merle_doc *out_result);
/* Begins a job and waits for its end, with a progress line; an interrupt cancels it. *out_result is
 * what came of it. EXIT_FOUND: what was checked is damaged. */
int owner_job(owner *o, const char *verb, merle_bytes arguments, merle_doc *out_result);

/* Some seconds: for everything that is answered at once. */
#define OWNER_PATIENCE_MS 30000u

#endif
