/* examples/tick.c - a server's loop that does not wait for the disk, and answers when it may.
 *
 * Each tick is a commit that says MERLE_SYNC_LATER: the disk is asked for it at once, and the loop
 * goes on. Players get their answer when their tick is on the disk. A descriptor says when: it
 * stands in the same poll as a server's sockets would.
 *
 *   tick              merle's threads do the disk's work: the loop never waits for it
 *   tick --no-threads merle_step does it, in the loop
 * It makes a directory tick.merle where it is started. SPDX-License-Identifier: Apache-2.0
 */
#include <merle/merle.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TICKS = 60, TICK_NS = 5000000, STEP_NS = 500000 };

typedef struct server {
    merle_db *db;
    merle_collection *things;
    int durable_fd;
    uint64_t seqs[TICKS]; /* of the ticks that were committed */
    size_t tick_count, answer_count, refused_count;
} server;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static merle_err open_world(server *s, merle_threads threads) {
    int64_t gold;
    merle_options options = {.threads = threads, .log_file_size = 1 << 20};
    merle_err err = merle_open("tick.merle", &options, &s->db);
    if (err == MERLE_OK) err = merle_durable_fd(s->db, &s->durable_fd);
    if (err == MERLE_OK) err = merle_collection_open(s->db, "things", NULL, &s->things);
    if (err == MERLE_OK) err = merle_one_count(s->things, MERLE_STR("chest"), "gold", 0, &gold);
    return err;
}

/* ---- the loop; docs/durability.md shows it ---- */

static merle_err play_tick(server *s, uint64_t *out_seq) {
    merle_commit *commit;
    merle_err err = merle_begin(s->db, &commit);
    if (err != MERLE_OK) return err;
    merle_commit_patience(commit, MERLE_REFUSE); /* MERLE_BUSY rather than a late tick */
    err = merle_commit_durability(commit, MERLE_SYNC_LATER);
    if (err == MERLE_OK)
        err = merle_patch(commit, s->things, MERLE_STR("chest"), MERLE_INC("gold", 1));
    if (err == MERLE_OK) return merle_end(commit, out_seq);
    merle_cancel(commit);
    return err;
}

static void send_answers(server *s) {
    uint64_t moves;
    ssize_t size = read(s->durable_fd, &moves, sizeof moves); /* before the look, not after it */
    (void)size;
    uint64_t durable_seq = merle_durable_seq(s->db);
    while (s->answer_count < s->tick_count && s->seqs[s->answer_count] <= durable_seq)
        s->answer_count++; /* a server would send here */
}

static void wait_until(server *s, int64_t due_ns) {
    struct pollfd ends[] = {{.fd = s->durable_fd, .events = POLLIN}}; /* and its sockets */
    for (int64_t left_ns; (left_ns = due_ns - now_ns()) > 0;)
        if (poll(ends, 1, (int)(left_ns / 1000000) + 1) > 0) send_answers(s);
}

static merle_err run(server *s) {
    while (s->tick_count < TICKS) {
        int64_t due_ns = now_ns() + TICK_NS;
        merle_err err = play_tick(s, &s->seqs[s->tick_count]);
        if (err == MERLE_OK) s->tick_count++;
        if (err == MERLE_BUSY) s->refused_count++; /* nothing was applied; the next tick does it */
        if (err != MERLE_OK && err != MERLE_BUSY) return err;
        (void)merle_step(s->db, 0, STEP_NS);
        wait_until(s, due_ns);
    }
    return merle_wait_durable(s->db, UINT64_MAX); /* only here, at the end, the loop waits */
}

int main(int argument_count, char **arguments) {
    static server s;
    merle_report report = {0};
    int has_threads = argument_count < 2 || strcmp(arguments[1], "--no-threads") != 0;
    merle_err err = open_world(&s, has_threads ? MERLE_THREADS_DEFAULT : MERLE_THREADS_NONE);
    if (err == MERLE_OK) {
        merle_report_to(s.db, &report);
        err = run(&s);
        send_answers(&s);
    }
    if (err != MERLE_OK) printf("%s: %s\n", merle_err_text(err), report.message);
    printf("%zu ticks, %zu answers, each when its tick was on the disk\n", s.tick_count,
           s.answer_count);
    if (s.db != NULL && merle_close(s.db) != MERLE_OK) return 1;
    return err == MERLE_OK && s.answer_count == TICKS ? 0 : 1;
}
