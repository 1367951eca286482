/* bench/events/stage.c - the page, the other processes, the database; see events.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common/measure.h"
#include "bench/common/record.h"
#include "bench/events/events.h"

#define WAIT_MAX_NS 120000000000u

events_page *page;
static int page_fd = -1;

/* ---- the page ---- */

void events_page_take(int fd) {
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) bench_die("events: no page: %s", strerror(errno));
    page_fd = fd;
}

void events_page_make(const events_options *options) {
    if (page != NULL) {
        munmap(page, sizeof *page);
        close(page_fd);
    }
    /* Not closed by exec: those who hear are started with its number. */
    int fd = memfd_create("events", 0);
    if (fd < 0 || ftruncate(fd, sizeof *page) != 0) bench_die("events: no page");
    events_page_take(fd);
    page->plant = options->plant;
}

/* ---- processes ---- */

pid_t events_start(const char *role, unsigned index) {
    char fd[16], number[16], self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size < 0) bench_die("events: who am I?");
    self[size] = 0;
    snprintf(fd, sizeof fd, "%d", page_fd);
    snprintf(number, sizeof number, "%u", index);
    pid_t pid = fork();
    if (pid < 0) bench_die("events: fork: %s", strerror(errno));
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execl(self, "events", "--role", role, "--page", fd, "--index", number, (char *)NULL);
    _exit(127);
}

void events_end(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) bench_die("events: wait: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) bench_die("events: who heard has failed");
}

void events_nap(uint64_t ns) {
    struct timespec time = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    (void)nanosleep(&time, NULL);
}

uint64_t events_processor_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A process that ended before its time ends this one, too. */
static void children_look(const char *what) {
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    if (info.si_code != CLD_EXITED || info.si_status != 0) bench_die("events: %s failed", what);
}

void events_await(const _Atomic uint64_t *number, uint64_t least, const char *what) {
    uint64_t begin_ns = bench_now_ns();
    while (atomic_load(number) < least) {
        children_look(what);
        if (bench_now_ns() - begin_ns > WAIT_MAX_NS)
            bench_die("events: %s: %lu of %lu", what, atomic_load(number), least);
        events_nap(1000000);
    }
}

void events_await_flag(const _Atomic uint32_t *flag, const char *what) {
    uint64_t begin_ns = bench_now_ns();
    while (atomic_load(flag) == 0) {
        children_look(what);
        if (bench_now_ns() - begin_ns > WAIT_MAX_NS) bench_die("events: %s: too late", what);
        events_nap(1000000);
    }
}

/* ---- the database ---- */

void events_check(merle_err err, const char *what) {
    if (err != MERLE_OK) bench_die("merle: %s: %s", what, merle_err_name(err));
}

static bench_record *records;
static uint32_t version;

/* Two versions of each document, made before: what is timed is the commit. */
static void records_make(void) {
    if (records != NULL) return;
    records = bench_alloc(2 * EVENTS_KEY_COUNT * sizeof *records);
    for (uint32_t i = 0; i < 2 * EVENTS_KEY_COUNT; i++)
        bench_record_make(&records[i], i % EVENTS_KEY_COUNT, i, EVENTS_KEY_COUNT);
}

static const bench_record *record_next(void) {
    return &records[version++ % (2 * EVENTS_KEY_COUNT)];
}

void events_stage_open(events_stage *stage) {
    const merle_options options = {.size = sizeof options, .ring_size = (uint64_t)1 << 30};
    records_make();
    *stage = (events_stage){.publisher = NULL};
    events_check(merle_open(NULL, &options, &stage->db), "open");
    events_check(merle_collection_open(stage->db, "players", NULL, &stage->players), "collection");
    (void)events_commit(stage, EVENTS_KEY_COUNT);
}

void events_url(char *out_url, const char *transport, const char *name) {
    if (strcmp(transport, "tcp") == 0)
        snprintf(out_url, EVENTS_URL_SIZE, "tcp://127.0.0.1:0");
    else
        snprintf(out_url, EVENTS_URL_SIZE, "ipc:///tmp/merle-bench-%d.%s", (int)getpid(), name);
}

void events_publish(events_stage *stage, const char *transport) {
    char news[EVENTS_URL_SIZE], service[EVENTS_URL_SIZE];
    events_url(news, transport, "news");
    events_url(service, transport, "service");
    const char *const all_news[] = {news, NULL}, *const all_service[] = {service, NULL};
    const merle_publish_options options = {
        .size = sizeof options, .news = all_news, .service = all_service};
    events_check(merle_publish(stage->db, &options, &stage->publisher), "publish");
    snprintf(page->news, sizeof page->news, "%s",
             merle_publisher_news_address(stage->publisher, 0));
    snprintf(page->service, sizeof page->service, "%s",
             merle_publisher_service_address(stage->publisher, 0));
}

void events_files_remove(pid_t pid) {
    static const char *const names[] = {"news", "service", "raw"};
    siginfo_t info;
    (void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[EVENTS_URL_SIZE];
        snprintf(path, sizeof path, "/tmp/merle-bench-%d.%s", (int)pid, names[i]);
        (void)unlink(path);
    }
}

void events_stage_close(events_stage *stage) {
    events_check(merle_publisher_close(stage->publisher), "publisher close");
    events_check(merle_close(stage->db), "close");
}

uint64_t events_commit(const events_stage *stage, size_t count) {
    uint64_t seq = 0;
    for (size_t i = 0; i < count; i++) {
        const bench_record *record = record_next();
        events_check(merle_one_put(stage->players, merle_bytes_of(record->key, BENCH_KEY_SIZE),
                                   merle_bytes_of(record->bytes, record->size), &seq),
                     "put");
    }
    return seq;
}

void events_commit_marked(const events_stage *stage, size_t mark) {
    const bench_record *record = record_next();
    merle_commit *commit;
    uint64_t seq;
    events_check(merle_begin(stage->db, &commit), "begin");
    events_check(merle_put(commit, stage->players, merle_bytes_of(record->key, BENCH_KEY_SIZE),
                           merle_bytes_of(record->bytes, record->size)),
                 "put");
    atomic_store(&page->mark_ns[mark], bench_now_ns());
    events_check(merle_end(commit, &seq), "end");
}

size_t events_change_size(const events_stage *stage) {
    merle_changes_options options = {.after_seq = EVENTS_KEY_COUNT / 2};
    merle_changes *changes;
    merle_change list[256];
    size_t count, bytes = 0;
    events_check(merle_changes_open(stage->db, &options, &changes), "changes");
    events_check(merle_changes_next(changes, list, 256, &count), "changes");
    for (size_t i = 0; i < count; i++) bytes += list[i].bytes.size;
    merle_changes_close(changes);
    if (count == 0) bench_die("events: no changes");
    return bytes / count;
}
