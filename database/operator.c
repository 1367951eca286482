/* database/operator.c - the operator's socket: a publisher of its own, without news, that answers
 * verbs, too.
 *
 * The socket lies in the directory, whose lock we hold: one that is there already was left by a
 * process that is gone, and is removed. Its name may be too long for the system, or not from the
 * root on: then it is reached through a descriptor of the directory, which always is short enough.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <merle/publish.h>

#include "base/buffer.h"
#include "base/report.h"
#include "channel/channel.h"
#include "database/operate.h"
#include "database/publish.h"

enum { CLIENT_MAX = 16, SOCKET_MODE = 0600 };
static const char scheme[] = "ipc://";

struct merle_operator {
    merle_publisher *publisher;
    mrl_operate operate;
    char *path;       /* of the socket, for people; malloc */
    char reached[64]; /* the same, short; empty: the path itself will do */
    int directory_fd; /* -1: none is needed */
};

/* ---- where it is ---- */

static merle_err fail_path(merle_report *report, const char *path, int system_errno) {
    char text[96] = "";
    const char *told = strerror_r(system_errno, text, sizeof text);
    mrl_report_fill(report, MERLE_SYSTEM, "the operator's socket %s: %s", path, told);
    mrl_report_path(report, path);
    mrl_report_errno(report, system_errno);
    return MERLE_SYSTEM;
}

static char *join(const char *directory, const char *name) {
    size_t size = strlen(directory) + 1 + strlen(name) + 1;
    char *path = mrl_allocate(size);
    if (path != NULL) snprintf(path, size, "%s/%s", directory, name);
    return path;
}

/* The directory in which it is, from the root on; malloc. NULL: errno. */
static char *directory_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return realpath(".", NULL);
    size_t size = slash == path ? 1 : (size_t)(slash - path);
    char *before = mrl_allocate(size + 1);
    if (before == NULL) return NULL;
    memcpy(before, path, size);
    before[size] = 0;
    char *real = realpath(before, NULL);
    free(before);
    return real;
}

static const char *reach(const merle_operator *op) {
    return op->reached[0] != 0 ? op->reached : op->path;
}

/* A path that is short enough for a socket. */
static merle_err shorten(merle_operator *op, const char *directory, const char *name,
                         merle_report *report) {
    struct sockaddr_un address;
    if (strlen(op->path) < sizeof address.sun_path) return MERLE_OK;
    op->directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (op->directory_fd < 0) return fail_path(report, op->path, errno);
    int size =
        snprintf(op->reached, sizeof op->reached, "/proc/self/fd/%d/%s", op->directory_fd, name);
    if (size >= 0 && (size_t)size < sizeof op->reached) return MERLE_OK;
    return mrl_report_fill(report, MERLE_INVALID, "the operator's socket %s: its name is too long",
                           op->path);
}

static merle_err place(merle_operator *op, const char *given, merle_report *report) {
    const char *slash = strrchr(given, '/'), *name = slash == NULL ? given : slash + 1;
    if (name[0] == 0)
        return mrl_report_fill(report, MERLE_INVALID, "the operator's socket has no name");
    errno = ENOMEM;
    char *directory = directory_of(given);
    if (directory == NULL)
        return errno == ENOMEM ? mrl_report_fill(report, MERLE_NO_MEMORY, NULL)
                               : fail_path(report, given, errno);
    op->path = join(directory, name);
    merle_err err = op->path == NULL ? mrl_report_fill(report, MERLE_NO_MEMORY, NULL)
                                     : shorten(op, directory, name, report);
    free(directory);
    return err;
}

/* In the directory of the database, or where the options say. */
static merle_err find_place(merle_operator *op, const merle_operator_options *options) {
    merle_db *db = op->operate.db;
    if (options->socket != NULL) return place(op, options->socket, options->report);
    if (db->persist == NULL)
        return mrl_report_fill(options->report, MERLE_NOT_FOUND,
                               "a database in memory has no directory for the operator's socket: "
                               "name one");
    char *given = join(mrl_persist_path(db->persist), MERLE_OPERATOR_SOCKET);
    if (given == NULL) return mrl_report_fill(options->report, MERLE_NO_MEMORY, NULL);
    merle_err err = place(op, given, options->report);
    free(given);
    return err;
}

/* ---- opening ---- */

static merle_err ask(void *context, merle_bytes verb, merle_bytes arguments, merle_buffer *result) {
    return mrl_operate_ask(context, verb, arguments, result);
}

static merle_err publish(merle_operator *op, const merle_operator_options *options) {
    char url[sizeof scheme + sizeof(struct sockaddr_un)];
    const char *const service[] = {url, NULL};
    merle_publish_options publish_options = {
        .service = service,
        .threads = options->threads,
        .client_max = CLIENT_MAX,
        .ipc_mode = SOCKET_MODE,
        .report = options->report,
    };
    snprintf(url, sizeof url, "%s%s", scheme, reach(op));
    return mrl_db_publish(op->operate.db, &mrl_net_nng, ask, &op->operate, &publish_options,
                          &op->publisher);
}

static void take_down(merle_operator *op) {
    mrl_operate_fini(&op->operate);
    if (op->directory_fd >= 0) (void)close(op->directory_fd);
    free(op->path);
    free(op);
}

static merle_err complete(const merle_operator_options *given, merle_operator_options *out) {
    memset(out, 0, sizeof *out);
    size_t size = given == NULL ? 0 : given->size == 0 ? sizeof *given : given->size;
    if (size > sizeof *out)
        return mrl_report_fill(given->report, MERLE_INVALID,
                               "the options are larger than this library knows: it is older");
    if (size > 0) memcpy(out, given, size);
    if ((unsigned)out->rights > MERLE_OPERATOR_LOOK ||
        (unsigned)out->threads > MERLE_THREADS_BACKGROUND)
        return mrl_report_fill(out->report, MERLE_INVALID,
                               "options: unknown value of rights or threads");
    return MERLE_OK;
}

merle_err merle_operator_open(merle_db *db, const merle_operator_options *given,
                              merle_operator **out_operator) {
    merle_operator_options options;
    if (out_operator == NULL) return MERLE_INVALID;
    *out_operator = NULL;
    if (db == NULL) return MERLE_INVALID;
    if (mrl_domain_is_forked(db->domain)) return MERLE_FORKED;
    merle_err err = complete(given, &options);
    if (err != MERLE_OK) return err;
    merle_operator *op = mrl_allocate(sizeof *op);
    if (op == NULL) return mrl_report_fill(options.report, MERLE_NO_MEMORY, NULL);
    memset(op, 0, sizeof *op);
    op->directory_fd = -1;
    int may_have_threads =
        db->options.threads != MERLE_THREADS_NONE && options.threads != MERLE_THREADS_NONE;
    mrl_operate_init(&op->operate, db, options.rights, may_have_threads);
    err = find_place(op, &options);
    if (err == MERLE_OK) err = publish(op, &options);
    if (err != MERLE_OK) {
        take_down(op);
        return err;
    }
    *out_operator = op;
    return MERLE_OK;
}

merle_err merle_operator_close(merle_operator *op) {
    if (op == NULL) return MERLE_OK;
    merle_err err = merle_publisher_close(op->publisher);
    if (err != MERLE_OK) return err;
    take_down(op);
    return MERLE_OK;
}

merle_err merle_operator_step(merle_operator *op, uint64_t budget_ns, uint64_t *out_wait_ns) {
    return op == NULL ? MERLE_INVALID : merle_publisher_step(op->publisher, budget_ns, out_wait_ns);
}

const char *merle_operator_socket(const merle_operator *op) {
    return op == NULL ? NULL : op->path;
}
