/* tests/net/processes_test.c - servers and subscribers that are killed.
 *
 * Aim     A server that is killed and opened again, in each durability, costs no subscriber
 *         anything: every change of the log is heard in order and once, without a gap, and the copy
 *         equals the store. The same for a subscriber that is killed and goes on where its kept
 *         position says.
 * Method  This program again, as server or as subscriber; SIGKILL after so many changes. The log,
 *         read when the last server has ended, is the oracle. Where subscribers hear what is not
 *         durable (MERLE_FOLLOW_PUBLISHED), only the copy in the end is compared.
 * Blind   Power cuts: a killed process leaves to the system what it has written.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "tests/model/seed.h"
#include "tests/net/ear.h"
#include "tests/net/host.h"

enum { LIVES = 6, PATIENCE_S = 60, KEPT_NOTES = 512 };

/* ---- the server ---- */

static volatile sig_atomic_t has_to_stop;

static void stop(int number) {
    (void)number;
    has_to_stop = 1;
}

/* server DIRECTORY DURABILITY FOLLOW NEWS SERVICE SEED: writes until it is told to stop; then says
 * the last commit, and ends with its input. */
static int server_run(char **arguments) {
    host h = {.options.durability = (merle_durability)atoi(arguments[1]),
              .publish.follow = (merle_publish_follow)atoi(arguments[2])};
    const struct timespec pause = {.tv_nsec = 300000};
    char byte;
    (void)signal(SIGTERM, stop);
    host_open(&h, arguments[0], strtoull(arguments[5], NULL, 10));
    host_publish(&h, arguments[3], arguments[4]);
    while (!has_to_stop) {
        host_write(&h);
        (void)nanosleep(&pause, NULL);
    }
    if (merle_wait_durable(h.db, UINT64_MAX) != MERLE_OK) return 3;
    printf("%llu\n", (unsigned long long)h.seq);
    (void)fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
    host_close(&h);
    return 0;
}

/* ---- the subscriber ---- */

/* What it keeps, in one piece: what was heard since the last time, and where it is. */
typedef struct kept {
    uint64_t seq;
    uint32_t count, position_size;
    ear_note notes[KEPT_NOTES];
    uint8_t position[4096];
} kept;

static int keep(int fd, ear *e, const merle_heard *last) {
    static kept k;
    merle_buffer position = {0};
    if (e->count == 0 || !last->ends || e->count > KEPT_NOTES) return e->count <= KEPT_NOTES;
    if (merle_subscriber_position(e->s, &position) != MERLE_OK) return 1; /* amid a snapshot */
    if (position.size > sizeof k.position) return 0;
    k.seq = last->seq;
    k.count = (uint32_t)e->count;
    k.position_size = (uint32_t)position.size;
    memcpy(k.notes, e->notes, e->count * sizeof *e->notes);
    memcpy(k.position, position.data, position.size);
    merle_buffer_free(&position);
    e->count = 0;
    return write(fd, &k, sizeof k) == (ssize_t)sizeof k;
}

/* Reads what is kept into an ear; the last position. */
static uint64_t kept_read(const char *path, ear *e, kept *k) {
    FILE *file = fopen(path, "r");
    uint64_t seq = 0;
    static kept one;
    if (file == NULL) return 0;
    while (fread(&one, sizeof one, 1, file) == 1) {
        *k = one;
        seq = one.seq;
        for (uint32_t i = 0; e != NULL && i < one.count; i++) {
            const ear_note *n = &one.notes[i];
            ear_note_add(e, &(merle_heard){.kind = n->kind});
            e->notes[e->count - 1] = *n;
        }
    }
    (void)fclose(file);
    return seq;
}

/* ear NEWS SERVICE FILE: hears until it is killed. */
static int ear_run(char **arguments) {
    static kept k;
    ear e = {0};
    merle_heard heard[KEPT_NOTES / 4];
    size_t count = 0;
    merle_subscriber_options options = {.publisher = arguments[0], .service = arguments[1]};
    if (kept_read(arguments[2], NULL, &k) > 0)
        options.position = merle_bytes_of(k.position, k.position_size);
    int fd = open(arguments[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ear_open(&e, &options);
    for (;;) {
        if (merle_subscriber_next(e.s, heard, 1, &count) != MERLE_OK) return 3;
        for (size_t i = 0; i < count; i++) ear_note_add(&e, &heard[i]);
        if (count > 0 && !keep(fd, &e, &heard[count - 1])) return 4;
        if (count == 0) ear_wait(&e, 1000);
    }
}

/* ---- processes ---- */

typedef struct child {
    pid_t pid;
    int in, out; /* -1: none */
} child;

static child child_start(const char *const *arguments) {
    int in[2], out[2];
    child c;
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    (void)fflush(stdout);
    c.pid = fork();
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        (void)dup2(in[0], STDIN_FILENO);
        (void)dup2(out[1], STDOUT_FILENO);
        (void)execv("/proc/self/exe", (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    c.in = in[1];
    c.out = out[0];
    return c;
}

/* How it ended, as waitpid says. */
static int child_end(child *c, int number) {
    int status = 0;
    if (number != 0) (void)kill(c->pid, number);
    (void)close(c->in);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    (void)close(c->out);
    return status;
}

/* Tells a server to stop writing; its last commit. */
static uint64_t server_settle(child *c) {
    char text[32] = {0};
    struct pollfd polled = {c->out, POLLIN, 0};
    (void)kill(c->pid, SIGTERM);
    assert_int_equal(poll(&polled, 1, PATIENCE_S * 1000), 1);
    assert_true(read(c->out, text, sizeof text - 1) > 0);
    return strtoull(text, NULL, 10);
}

static void port_choose(const char *scheme, const char *path, char *out_url, size_t size) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    (void)close(fd);
    (void)snprintf(out_url, size, "%s://127.0.0.1:%d%s", scheme, ntohs(address.sin_port), path);
}

/* ---- servers that are killed ---- */

typedef struct way {
    merle_durability durability;
    merle_publish_follow follow;
    const char *scheme;
} way;

static void addresses(const way *is, char *news, char *service, size_t size) {
    if (strcmp(is->scheme, "ipc") == 0) {
        host_address(1, "news", news, size);
        host_address(1, "service", service, size);
        return;
    }
    const char *path = strcmp(is->scheme, "ws") == 0 ? "/merle" : "";
    port_choose(is->scheme, path, news, size);
    port_choose(is->scheme, path, service, size);
}

/* Hears so many more, or until the patience ends. */
static void hear_more(ear *e, uint64_t more) {
    uint64_t wanted = e->count + more;
    for (int i = 0; i < PATIENCE_S * 100 && e->count < wanted; i++) {
        (void)ear_drain(e);
        ear_wait(e, 10);
    }
    if (e->count < wanted) fail_msg("heard too little; %s", e->trouble);
}

static void judge_directory(ear *e, const char *directory, const way *is) {
    host h = {0};
    host_open(&h, directory, 1);
    if (is->follow == MERLE_FOLLOW_DEFAULT) {
        assert_int_equal(e->gaps, 0);
        assert_true(ear_judge(e, h.db));
    }
    assert_true(ear_equals(e, h.db));
    assert_int_equal(merle_close(h.db), MERLE_OK);
}

static void server_lives(const way *is) {
    char directory[] = "/tmp/merle-net-XXXXXX", durability[8], follow[8], seed[32], command[64];
    char news[256], service[256];
    mrl_random random;
    ear e = {0};
    child c;
    assert_non_null(mkdtemp(directory));
    mrl_random_init(&random, test_seed());
    addresses(is, news, service, sizeof news);
    (void)snprintf(durability, sizeof durability, "%d", (int)is->durability);
    (void)snprintf(follow, sizeof follow, "%d", (int)is->follow);
    const char *const arguments[] = {"net", "server", directory, durability, follow,
                                     news,  service,  seed,      NULL};
    ear_open(&e, &(merle_subscriber_options){.publisher = news, .service = service, .keep = 1});
    for (uint64_t life = 0, lives = test_amount(LIVES); life < lives; life++) {
        (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)(test_seed() + life));
        c = child_start(arguments);
        hear_more(&e, 50 + mrl_random_below(&random, 200));
        if (life + 1 < lives) (void)child_end(&c, SIGKILL);
    }
    uint64_t seq = server_settle(&c);
    assert_true(ear_until(&e, seq, PATIENCE_S));
    assert_int_equal(child_end(&c, 0), 0);
    test_say(
        "%s, durability %d, follow %d: %llu commits, %zu heard, %llu gaps, connected %llu "
        "times",
        is->scheme, (int)is->durability, (int)is->follow, (unsigned long long)seq, e.count,
        (unsigned long long)e.gaps, (unsigned long long)e.connects);
    judge_directory(&e, directory, is);
    ear_close(&e);
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

static void server_killed_costs_no_change(void **state) {
    static const way ways[] = {{MERLE_MEMORY, MERLE_FOLLOW_DEFAULT, "tcp"},
                               {MERLE_ASYNC, MERLE_FOLLOW_DEFAULT, "ipc"},
                               {MERLE_SYNC, MERLE_FOLLOW_DEFAULT, "ws"},
                               {MERLE_ASYNC, MERLE_FOLLOW_PUBLISHED, "tcp"}};
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) server_lives(&ways[i]);
}

/* ---- subscribers that are killed ---- */

static void wait_for_kept(host *h, const char *file, uint64_t seq) {
    const struct timespec pause = {.tv_nsec = 5000000};
    static kept k;
    for (int i = 0; i < PATIENCE_S * 200; i++) {
        if (kept_read(file, NULL, &k) >= seq) return;
        (void)nanosleep(&pause, NULL); /* another process: nothing here tells of it */
    }
    fail_msg("kept up to %llu of %llu (%llu)", (unsigned long long)k.seq, (unsigned long long)seq,
             (unsigned long long)h->seq);
}

static void subscriber_killed_goes_on_where_it_was(void **state) {
    char directory[] = "/tmp/merle-net-XXXXXX", path[64], file[64], command[64];
    char news[256], service[256];
    static kept k;
    host h = {0};
    ear heard = {0};
    (void)state;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/db", directory);
    (void)snprintf(file, sizeof file, "%s/kept", directory);
    addresses(&(way){.scheme = "tcp"}, news, service, sizeof news);
    host_open(&h, path, test_seed());
    host_publish(&h, news, service);
    const char *const arguments[] = {"net", "ear", news, service, file, NULL};
    for (uint64_t life = 0, lives = test_amount(LIVES); life < lives; life++) {
        child c = child_start(arguments);
        for (int i = 0; i < 40; i++) host_write(&h); /* also while it connects */
        wait_for_kept(&h, file, h.seq - 20);
        for (int i = 0; i < 200; i++) host_write(&h);
        /* All but the last one is killed amid what it hears. */
        if (life + 1 == lives) wait_for_kept(&h, file, h.seq);
        (void)child_end(&c, SIGKILL);
        for (int i = 0; i < 100; i++) host_write(&h); /* nobody hears this one now */
        if (life + 1 == lives) {
            child last = child_start(arguments);
            wait_for_kept(&h, file, h.seq);
            (void)child_end(&last, SIGKILL);
        }
    }
    (void)kept_read(file, &heard, &k);
    test_say("%zu heard, %llu commits", heard.count, (unsigned long long)h.seq);
    assert_int_equal(heard.gaps, 0);
    assert_true(ear_judge(&heard, h.db));
    free(heard.notes);
    host_close(&h);
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

static int set_up(void **state) {
    (void)state;
    test_seed_print();
    return 0;
}

int main(int count, char **arguments) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_killed_costs_no_change),
        cmocka_unit_test(subscriber_killed_goes_on_where_it_was),
    };
    if (count == 8 && strcmp(arguments[1], "server") == 0) return server_run(arguments + 2);
    if (count == 5 && strcmp(arguments[1], "ear") == 0) return ear_run(arguments + 2);
    return cmocka_run_group_tests(tests, set_up, NULL);
}
