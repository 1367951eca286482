/* tools/merle/owner.c - reaching the process that has a directory open.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tools/merle/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <merle/operate.h>

#include "base/buffer.h"
#include "channel/channel.h"

enum { ANSWER_MAX = 64 << 20, PART_MAX = 64, ROUND_MS = 100 };

static const mrl_net *const net = &mrl_net_nng;

/* ---- the socket ---- */

static void came(void *context) {
    mrl_event_signal(&((owner *)context)->came);
}

/* A path of the socket that is short enough. 0: there is none; errno. */
static int find_path(owner *o, const char *directory, struct sockaddr_un *out) {
    const char *name = MERLE_OPERATOR_SOCKET;
    size_t size = sizeof out->sun_path;
    out->sun_family = AF_UNIX;
    int length = snprintf(out->sun_path, size, "%s/%s", directory, name);
    if (length >= 0 && (size_t)length < size) return 1;
    o->directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (o->directory_fd < 0) return 0;
    snprintf(out->sun_path, size, "/proc/self/fd/%d/%s", o->directory_fd, name);
    return 1;
}

/* Whether anybody listens there: 0, or an errno value. nng would go on trying. The socket is of
 * another kind than the one that listens, which is all that we want to know: so the connection is
 * refused before that one hears of it. (A connection that is closed without a word ends nng 1.5.2's
 * listening on ipc for good.) */
static int try_path(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    int failed = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    (void)close(fd);
    return failed == EPROTOTYPE ? 0 : failed == 0 ? EPROTOTYPE : failed;
}

static void tell_unreachable(const merle_report *busy, int failed) {
    (void)command_fail("opening", MERLE_BUSY, busy);
    if (failed == ENOENT || failed == ECONNREFUSED)
        fputs(
            "  That process lets nobody operate on its database: it did not call "
            "merle_operator_open.\n",
            stderr);
    else
        fprintf(stderr, "  Its operator's socket cannot be used: %s.\n", strerror(failed));
}

static merle_err dial(owner *o, const struct sockaddr_un *address) {
    char url[sizeof "ipc://" + sizeof address->sun_path];
    mrl_net_options options = {
        .receive_max = ANSWER_MAX, .queue = 4, .ready = came, .ready_context = o};
    snprintf(url, sizeof url, "ipc://%s", address->sun_path);
    merle_err err = net->open(net->context, MRL_NET_ASK, &options, &o->socket, NULL);
    return err == MERLE_OK ? net->dial(o->socket, url, NULL) : err;
}

static int say_hello(owner *o) {
    mrl_wire_question question = {.op = MRL_WIRE_HELLO, .client = MERLE_STR("merle")};
    mrl_wire_answer answer;
    int end = owner_ask(o, &question, OWNER_PATIENCE_MS, &answer);
    if (end != EXIT_GOOD) return end;
    if (answer.status != MRL_WIRE_OK) {
        fprintf(stderr, "merle: the owner refuses to talk: %.*s\n", (int)answer.text.size,
                (const char *)answer.text.data);
        return EXIT_FAILED;
    }
    memcpy(o->token, answer.token, sizeof o->token);
    o->history = answer.history;
    o->newest = answer.newest;
    o->oldest = answer.oldest;
    o->rights = answer.rights;
    return EXIT_GOOD;
}

owner *owner_open(const char *directory, const merle_report *busy) {
    struct sockaddr_un address = {0};
    owner *o = calloc(1, sizeof *o);
    if (o == NULL) return NULL;
    o->directory_fd = -1;
    mrl_event_init(&o->came);
    int failed = find_path(o, directory, &address) ? try_path(&address) : errno;
    if (failed != 0) {
        tell_unreachable(busy, failed);
        goto fail;
    }
    merle_err err = dial(o, &address);
    if (err != MERLE_OK) {
        (void)command_fail("reaching the owner", err, NULL);
        goto fail;
    }
    if (say_hello(o) != EXIT_GOOD) goto fail;
    return o;
fail:
    owner_close(o);
    return NULL;
}

void owner_close(owner *o) {
    if (o == NULL) return;
    if (o->answer.internal != NULL) net->message_free(&o->answer);
    if (o->socket != NULL) net->close(o->socket);
    if (o->directory_fd >= 0) (void)close(o->directory_fd);
    merle_buffer_free(&o->question);
    free(o);
}

/* ---- one question ---- */

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static merle_err send_question(owner *o) {
    mrl_message message;
    if (o->answer.internal != NULL) net->message_free(&o->answer);
    o->answer = (mrl_message){0};
    merle_err err = net->message_make(net->context, o->question.size, &message);
    if (err != MERLE_OK) return err;
    memcpy(message.data, o->question.data, o->question.size);
    return net->send(o->socket, &message);
}

/* MERLE_NOT_FOUND: it took too long. */
static merle_err await_answer(owner *o, uint32_t patience_ms) {
    uint64_t end_ns = now_ns() + (uint64_t)patience_ms * 1000000u;
    for (;;) {
        uint32_t seen = mrl_event_count(&o->came);
        merle_err err = net->receive(o->socket, &o->answer);
        uint64_t at_ns = now_ns();
        if (err != MERLE_NOT_FOUND || at_ns >= end_ns) return err;
        (void)mrl_event_wait(&o->came, seen, end_ns - at_ns);
    }
}

int owner_ask(owner *o, mrl_wire_question *question, uint32_t patience_ms,
              mrl_wire_answer *out_answer) {
    if (question->op != MRL_WIRE_HELLO) question->token = merle_bytes_of(o->token, sizeof o->token);
    o->question.size = 0;
    merle_err err = mrl_wire_question_write(question, &o->question);
    if (err == MERLE_OK) err = send_question(o);
    if (err == MERLE_OK) err = await_answer(o, patience_ms);
    if (err == MERLE_OK)
        err = mrl_wire_answer_read(merle_bytes_of(o->answer.data, o->answer.size), out_answer);
    if (err == MERLE_OK) return EXIT_GOOD;
    if (err == MERLE_SYSTEM || err == MERLE_NOT_FOUND) {
        fprintf(stderr, "merle: the process that has the database %s\n",
                err == MERLE_SYSTEM ? "has gone, or has closed it" : "does not answer");
        return EXIT_FAILED;
    }
    return command_fail("asking the owner", err, NULL);
}

/* ---- verbs ---- */

static int refused(const char *verb, const mrl_wire_answer *answer) {
    merle_err err = answer->status == MRL_WIRE_FAILED ? (merle_err)answer->number : MERLE_SYSTEM;
    if (err == MERLE_READ_ONLY) {
        fprintf(stderr, "merle: %s: the owner lets operators look only\n", verb);
        return EXIT_FAILED;
    }
    if (err == MERLE_WRONG_THREAD) {
        fprintf(stderr,
                "merle: %s: the owner gives its database no threads: only it can do that itself, "
                "between its steps\n",
                verb);
        return EXIT_FAILED;
    }
    if (err == MERLE_BUSY) {
        fprintf(stderr, "merle: %s: the owner is at a backup, checkpoint or check already\n", verb);
        return EXIT_FAILED;
    }
    fprintf(stderr, "merle: %s: the owner says: %.*s\n", verb, (int)answer->text.size,
            (const char *)answer->text.data);
    return EXIT_FAILED;
}

int owner_operate(owner *o, const char *verb, merle_bytes arguments, merle_doc *out_result) {
    static const uint8_t none[] = {0x80};
    mrl_wire_question question = {.op = MRL_WIRE_OPERATE, .verb = merle_str(verb)};
    mrl_wire_answer answer;
    question.arguments = arguments.size > 0 ? arguments : merle_bytes_of(none, sizeof none);
    int end = owner_ask(o, &question, OWNER_PATIENCE_MS, &answer);
    if (end != EXIT_GOOD) return end;
    if (answer.status != MRL_WIRE_OK) return refused(verb, &answer);
    merle_err err = merle_doc_check(answer.result, NULL);
    if (err == MERLE_OK) err = merle_doc_over(answer.result, out_result);
    return err == MERLE_OK ? EXIT_GOOD : command_fail(verb, err, NULL);
}

/* ---- jobs ---- */

static volatile sig_atomic_t is_interrupted;

static void interrupted(int number) {
    (void)number;
    is_interrupted = 1;
}

/* {"job": number} */
static merle_bytes job_map(uint64_t number, uint8_t out[16]) {
    static const uint8_t before[] = {0x81, 0xa3, 'j', 'o', 'b', 0xcf};
    memcpy(out, before, sizeof before);
    for (int i = 0; i < 8; i++) out[sizeof before + i] = (uint8_t)(number >> (56 - 8 * i));
    return merle_bytes_of(out, sizeof before + 8);
}

static int text_is(merle_doc doc, const char *name, const char *text) {
    merle_bytes found = merle_doc_str(doc, name);
    return found.data != NULL && found.size == strlen(text) &&
           memcmp(found.data, text, found.size) == 0;
}

/* The job is over. */
static int end_job(const char *verb, merle_doc state, merle_doc *out_result) {
    merle_err err = (merle_err)merle_doc_uint(state, "err", MERLE_SYSTEM);
    merle_bytes message = merle_doc_str(state, "message");
    merle_value result;
    if (text_is(state, "state", "cancelled")) {
        fprintf(stderr, "merle: %s: cancelled\n", verb);
        return EXIT_FAILED;
    }
    if (text_is(state, "state", "done")) {
        if (err == MERLE_OK) err = merle_doc_value(state, "result", &result);
        if (err == MERLE_OK) err = merle_doc_over(result.bytes, out_result);
        return err == MERLE_OK ? EXIT_GOOD : command_fail(verb, err, NULL);
    }
    fprintf(stderr, "merle: %s: %.*s (%s)\n", verb, (int)message.size, (const char *)message.data,
            merle_err_name(err));
    return err == MERLE_CORRUPT ? EXIT_FOUND : EXIT_FAILED;
}

static void show_progress(progress *bar, char part[PART_MAX], merle_doc state) {
    merle_bytes named = merle_doc_str(state, "part");
    /* The line knows a part by its place in memory. */
    if (named.size >= PART_MAX) named.size = PART_MAX - 1;
    if (named.data != NULL) memcpy(part, named.data, named.size);
    part[named.size] = 0;
    progress_show(bar, part, merle_doc_uint(state, "done", 0), merle_doc_uint(state, "total", 0));
}

static int await_job(owner *o, const char *verb, uint64_t number, merle_doc *out_result) {
    char part[PART_MAX] = "";
    uint8_t map[16];
    merle_bytes job = job_map(number, map);
    progress bar;
    int has_cancelled = 0, end = EXIT_GOOD;
    progress_begin(&bar, verb);
    for (;;) {
        merle_doc state = {0};
        if (is_interrupted && !has_cancelled) {
            has_cancelled = 1;
            end = owner_operate(o, "cancel", job, &state);
        }
        if (end == EXIT_GOOD) end = owner_operate(o, "job", job, &state);
        int is_over = end != EXIT_GOOD || !text_is(state, "state", "running");
        if (is_over) progress_clear(&bar);
        if (is_over) return end == EXIT_GOOD ? end_job(verb, state, out_result) : end;
        show_progress(&bar, part, state);
        struct timespec pause = {0, ROUND_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
}

int owner_job(owner *o, const char *verb, merle_bytes arguments, merle_doc *out_result) {
    struct sigaction action = {.sa_handler = interrupted}, before;
    merle_doc begun = {0};
    /* Before it is begun: an interrupt that comes at once cancels it, too, and leaves no job behind
     * of which nobody knows. */
    (void)sigaction(SIGINT, &action, &before);
    int end = owner_operate(o, verb, arguments, &begun);
    if (end == EXIT_GOOD) end = await_job(o, verb, merle_doc_uint(begun, "job", 0), out_result);
    (void)sigaction(SIGINT, &before, NULL);
    return end;
}
