/* merle/operate.h - letting an operator reach a database while its owner has it open.
 *
 * A directory belongs to one process. That one may open a socket in it, on which the command
 * `merle` asks for figures, follows the log, and has backups, checkpoints and checks made. The
 * socket is a file that its owner's user alone may use: whoever can connect to it may do all of
 * this. Nothing of the network is started before merle_operator_open is called. docs/tool.md is for
 * those who use the command, docs/protocol.md is what is said on the socket.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MERLE_OPERATE_H
#define MERLE_OPERATE_H

#include <merle/base.h>
#include <merle/merle.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct merle_operator merle_operator;

/* The socket's name in the database's directory. */
#define MERLE_OPERATOR_SOCKET "operator.sock"

typedef enum merle_operator_rights {
    MERLE_OPERATOR_DEFAULT = 0, /* all */
    MERLE_OPERATOR_ALL = 1,
    MERLE_OPERATOR_LOOK = 2 /* figures and the log: no backup, no checkpoint, no check */
} merle_operator_rights;

/* Zero-fill; every zero is a good default. Borrowed until merle_operator_open returns. */
typedef struct merle_operator_options {
    size_t size;
    const char *socket; /* where the socket is; NULL: MERLE_OPERATOR_SOCKET in the directory */
    merle_operator_rights rights;
    merle_threads threads; /* MERLE_THREADS_NONE: the host calls merle_operator_step, and only
                            * what takes no time is done: no backup, checkpoint or check. Default:
                            * a thread, if the database may have threads, and one more while a
                            * backup or the like is made */
    merle_report *report;  /* filled if it fails; may be NULL */
} merle_operator_options;

/* Opens the socket; one that a process before has left is replaced. The database cannot be closed
 * before its operators. Errors: MERLE_NOT_FOUND (in memory, and no socket was named),
 * MERLE_INVALID, MERLE_EXISTS (somebody answers there, or a file is in the way), MERLE_SYSTEM,
 * MERLE_NO_MEMORY, MERLE_FORKED. Threads: any. */
MERLE_API MERLE_MUST_USE merle_err merle_operator_open(merle_db *db,
                                                       const merle_operator_options *options,
                                                       merle_operator **out_operator);
/* Ends it and removes the socket; a job that is under way is cancelled, or waited for. NULL is
 * allowed. Errors: MERLE_WRONG_THREAD, MERLE_FORKED; it goes on then. Threads: as
 * merle_publisher_close; may wait. */
MERLE_API merle_err merle_operator_close(merle_operator *op);
/* As merle_publisher_step. */
MERLE_API merle_err merle_operator_step(merle_operator *op, uint64_t budget_ns,
                                        uint64_t *out_wait_ns);
/* The path of the socket. Valid until the close. Threads: any. */
MERLE_API const char *merle_operator_socket(const merle_operator *op);

/* What the command shows, as a document. what: "info" (identity, recovery, files, collections,
 * indexes) or "stats" (every field of merle_stats_db by its name). Errors: MERLE_INVALID (another
 * word), MERLE_NO_MEMORY, MERLE_SYSTEM, MERLE_FORKED. Threads: any; "info" may wait on disk. */
MERLE_API MERLE_MUST_USE merle_err merle_describe(merle_db *db, const char *what,
                                                  merle_buffer *out_document);

#ifdef __cplusplus
}
#endif

#endif
