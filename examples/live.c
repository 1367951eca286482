/* examples/live.c - the world of the game in a directory, told to whoever listens.
 *
 * A server with one thread: the game's loop does a tick, gives the database and the publisher their
 * turns, and waits for the next tick. Spectators (spectator.c, python/spectator.py, browser/) and
 * the chat (chat.c) are programs of their own. It may be killed at any moment, and goes on where
 * the disk was when it is started again; who listens hears no tick twice, and none is left out.
 *
 *   live DIRECTORY [--rate TICKS_A_SECOND] --news ADDRESS ... --service ADDRESS ...
 * A port 0 is chosen; the lines `news ...` and `service ...` say which. Of standard input the line
 * `over` makes the last commit; then a line `store ...` says what is there, to compare. The end of
 * standard input is the server's end. SPDX-License-Identifier: Apache-2.0
 */
#include <merle/publish.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "examples/world.h"

enum { RATE_DEFAULT = 30, TICKS_A_LINE = 15, TICKS_A_THRONE = 40, TICKS_A_SWAP = 45, POLL_MS = 1 };
#define SECOND_NS INT64_C(1000000000)
#define LINE_LIFE_NS (4 * SECOND_NS)
#define STEP_NS 300000

typedef struct server {
    world world;
    merle_collection *chat;
    merle_publisher *publisher;
    merle_builder *builder;
    const char *news[MERLE_PUBLISH_ADDRESS_MAX + 1], *service[MERLE_PUBLISH_ADDRESS_MAX + 1];
    size_t news_count, service_count;
    uint32_t tick;
    int64_t rate;
    int is_over;  /* no more ticks */
    int is_ended; /* nobody needs the server any more */
} server;

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

/* ---- the chat: lines that are numbered, and gone after some seconds ---- */

typedef struct line {
    server *server;
    const char *who, *text;
} line;

static merle_err build_line(const line *l, merle_bytes *out_doc) {
    merle_builder *b = l->server->builder;
    merle_build_begin(b);
    merle_build_str(b, "who", l->who);
    merle_build_str(b, "text", l->text);
    merle_build_int(b, "tick", l->server->tick);
    return merle_build_end(b, out_doc);
}

/* The line and the count of lines change together, so that no number is given twice. */
static merle_err add_line(void *context, merle_commit *commit) {
    const line *l = context;
    merle_collection *things = l->server->world.things, *chat = l->server->chat;
    merle_bytes counter = MERLE_STR("chat"), body;
    static const uint8_t empty_map[] = {0x80};
    merle_doc doc = {0};
    char key[32];
    merle_err err = merle_commit_get(commit, things, counter, &doc);
    if (err == MERLE_NOT_FOUND)
        err = merle_insert(commit, things, counter, merle_bytes_of(empty_map, sizeof empty_map));
    int64_t number = (doc.data == NULL ? 0 : merle_doc_int(doc, "lines", 0)) + 1;
    snprintf(key, sizeof key, "line %08lld", (long long)number);
    if (err == MERLE_OK) err = merle_patch(commit, things, counter, MERLE_SET_INT("lines", number));
    if (err == MERLE_OK) err = build_line(l, &body);
    if (err == MERLE_OK) err = merle_insert(commit, chat, merle_str(key), body);
    if (err != MERLE_OK) return err;
    return merle_expire(commit, chat, merle_str(key), now_ns(CLOCK_REALTIME) + LINE_LIFE_NS);
}

static merle_err say(server *s, const char *who, const char *text) {
    line l = {s, who, text};
    return merle_run(s->world.db, add_line, &l, 0, NULL);
}

/* ---- the game ---- */

static merle_err chatter(server *s) {
    static const char *const who[] = {"Ada", "Bran", "Cleo", "Dov", "Edda", "Finn"};
    static const char *const text[] = {"has anybody seen the bank?", "I dig here, you dig there.",
                                       "Who took the throne?",       "the toll is robbery!",
                                       "one more tick, then bed",    "gg",
                                       "I was Ada a moment ago."};
    uint32_t n = s->tick / TICKS_A_LINE;
    return say(s, who[n * 5 % (sizeof who / sizeof who[0])],
               text[n * 3 % (sizeof text / sizeof text[0])]);
}

static merle_err play_tick(server *s) {
    uint64_t throne_seq;
    int somebody = (int)(s->tick * 7 % PLAYER_COUNT), other = (somebody + 3) % PLAYER_COUNT;
    merle_err err = world_tick(&s->world, s->tick + 1, NULL);
    if (err == MERLE_OK) s->tick++;
    if (err == MERLE_OK) err = world_trade(&s->world, somebody, other, 1 + s->tick % 40);
    if (err == MERLE_OK && s->tick % TICKS_A_LINE == 0) err = chatter(s);
    if (err == MERLE_OK && s->tick % TICKS_A_SWAP == 0)
        err = world_swap_names(&s->world, somebody, other);
    if (err != MERLE_OK || s->tick % TICKS_A_THRONE != 0) return err;
    err = world_throne_seq(&s->world, &throne_seq);
    int heir = (int)(s->tick / TICKS_A_THRONE * 3 % PLAYER_COUNT);
    return err != MERLE_OK ? err : world_take_throne(&s->world, heir, throne_seq);
}

/* ---- the end ---- */

static merle_err add_up(merle_section *section, merle_collection *collection, uint64_t *documents,
                        uint64_t *seqs, int64_t *gold) {
    merle_scan scan = {0};
    merle_doc docs[16];
    size_t count;
    merle_err err;
    while ((err = merle_scan_next(section, collection, &scan, docs, 16, &count)) == MERLE_OK)
        for (size_t i = 0; i < count; i++) {
            ++*documents;
            *seqs += docs[i].seq;
            *gold += merle_doc_int(docs[i], "gold", 0);
        }
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

/* What every spectator must have come to. */
static merle_err tell_store(server *s) {
    merle_section section;
    uint64_t documents = 0, seqs = 0;
    int64_t gold = 0;
    merle_err err = merle_section_begin(s->world.db, &section);
    if (err != MERLE_OK) return err;
    err = add_up(&section, s->world.players, &documents, &seqs, &gold);
    if (err == MERLE_OK) err = add_up(&section, s->world.things, &documents, &seqs, &gold);
    (void)merle_section_end(&section);
    printf("store documents=%llu seqs=%llu gold=%lld tick=%u\n", (unsigned long long)documents,
           (unsigned long long)seqs, (long long)gold, s->tick);
    return err;
}

static merle_err end_game(server *s) {
    static const uint8_t empty_map[] = {0x80};
    if (s->is_over) return MERLE_OK;
    s->is_over = 1;
    merle_err err = say(s, "The landlord", "we are closed.");
    if (err == MERLE_OK)
        err = merle_one_insert(s->world.things, MERLE_STR("over"),
                               merle_bytes_of(empty_map, sizeof empty_map), NULL);
    return err != MERLE_OK ? err : tell_store(s);
}

/* ---- the loop ---- */

static merle_err obey(server *s) {
    char order[64];
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&in, 1, POLL_MS) <= 0) return MERLE_OK;
    ssize_t size = read(STDIN_FILENO, order, sizeof order);
    if (size <= 0) s->is_ended = 1;
    return size > 0 && memchr(order, 'o', (size_t)size) != NULL ? end_game(s) : MERLE_OK;
}

/* The database and the publisher have no threads here: these are their turns. */
static merle_err wait_until(server *s, int64_t due_ns) {
    merle_err err;
    do {
        (void)merle_step(s->world.db, 0, STEP_NS);
        err = merle_publisher_step(s->publisher, STEP_NS, NULL);
        if (err == MERLE_OK) err = obey(s);
    } while (err == MERLE_OK && !s->is_ended && now_ns(CLOCK_MONOTONIC) < due_ns);
    return err;
}

static merle_err play(server *s) {
    int64_t due_ns = now_ns(CLOCK_MONOTONIC);
    merle_err err = MERLE_OK;
    while (err == MERLE_OK && !s->is_ended) {
        if (!s->is_over) err = play_tick(s);
        due_ns += SECOND_NS / s->rate;
        if (err == MERLE_OK) err = wait_until(s, due_ns);
    }
    return err;
}

/* ---- opening ---- */

static merle_err open_game(server *s, const char *path, merle_report *report) {
    merle_section section;
    sight now;
    merle_publish_options options = {
        .news = s->news, .service = s->service, .threads = MERLE_THREADS_NONE, .report = report};
    merle_err err = merle_builder_create(&s->builder);
    if (err == MERLE_OK) err = world_create(&s->world, path);
    if (err == MERLE_OK) err = merle_collection_open(s->world.db, "chat", NULL, &s->chat);
    if (err == MERLE_OK) err = merle_section_begin(s->world.db, &section);
    if (err != MERLE_OK) return err;
    err = world_look(&s->world, &section, &now);
    (void)merle_section_end(&section);
    s->tick = (uint32_t)now.tick;
    return err != MERLE_OK ? err : merle_publish(s->world.db, &options, &s->publisher);
}

static void tell_addresses(const server *s) {
    const char *address;
    for (uint32_t i = 0; (address = merle_publisher_news_address(s->publisher, i)) != NULL; i++)
        printf("news %s\n", address);
    for (uint32_t i = 0; (address = merle_publisher_service_address(s->publisher, i)) != NULL; i++)
        printf("service %s\n", address);
    printf("ready at tick %u\n", s->tick);
}

static int read_arguments(server *s, int count, char **arguments) {
    s->rate = RATE_DEFAULT;
    for (int i = 2; i + 1 < count; i += 2) {
        const char *name = arguments[i], *value = arguments[i + 1];
        if (strcmp(name, "--rate") == 0)
            s->rate = atoi(value);
        else if (strcmp(name, "--news") == 0 && s->news_count < MERLE_PUBLISH_ADDRESS_MAX)
            s->news[s->news_count++] = value;
        else if (strcmp(name, "--service") == 0 && s->service_count < MERLE_PUBLISH_ADDRESS_MAX)
            s->service[s->service_count++] = value;
        else
            return 0;
    }
    return count >= 2 && count % 2 == 0 && s->rate > 0 && s->service_count > 0;
}

int main(int argument_count, char **arguments) {
    static server s;
    merle_report report = {0};
    if (!read_arguments(&s, argument_count, arguments)) {
        fprintf(stderr, "usage: live DIRECTORY [--rate N] --news ADDRESS --service ADDRESS\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    merle_err err = open_game(&s, arguments[1], &report);
    if (err == MERLE_OK) {
        tell_addresses(&s);
        err = play(&s);
    }
    if (err != MERLE_OK) fprintf(stderr, "live: %s. %s\n", merle_err_text(err), report.message);
    merle_err closed = merle_publisher_close(s.publisher);
    if (closed == MERLE_OK && s.world.db != NULL) closed = world_close(&s.world);
    merle_builder_destroy(s.builder);
    return err == MERLE_OK && closed == MERLE_OK ? 0 : 1;
}
