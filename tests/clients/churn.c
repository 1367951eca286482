/* tests/clients/churn.c - a server that changes everything, for clients in other languages.
 *
 * A directory with four collections: `mixed` has documents of all shapes, put, patched and removed,
 * several in a commit; `short` has documents that expire; `renewed` is truncated, and dropped and
 * made anew; `loaded` is filled by bulk loads. Of one seed all commits follow, but for when
 * documents expire. It is published by merle's own thread, and may be killed at any moment.
 *
 *   churn DIRECTORY SEED RATE (--news | --service ADDRESS) ...
 * A port 0 is chosen; the lines `news ...` and `service ...` say which, `ready` ends them. The line
 * `over` on standard input: no more changes; when nothing is left that will expire, the last commit
 * puts `over` into `mixed`, and a line `over` is printed. The end of standard input is its end.
 * `checkpoint` makes one, and the log forgets what it does not need.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <merle/publish.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 60, LOAD_MAX = 300, ADDRESS_MAX = 4, LOG_FILE_SIZE = 1 << 20 };
#define LIFE_NS_MAX 400000000u

typedef struct churn {
    merle_db *db;
    merle_collection *mixed, *brief, *renewed, *loaded;
    merle_publisher *publisher;
    merle_builder *builder;
    const char *news[ADDRESS_MAX + 1], *service[ADDRESS_MAX + 1];
    uint64_t random;
    uint64_t commits;
    int is_over, is_ended, is_asked;
} churn;

static uint32_t draw(churn *c, uint32_t below) {
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return (uint32_t)((c->random >> 20) % below);
}

static merle_bytes draw_key(churn *c, merle_key *key) {
    uint32_t number = draw(c, KEYS);
    /* Not all keys are plain: some are longer than others, and not of ASCII. */
    int size = snprintf((char *)key->bytes, sizeof key->bytes,
                        number % 7 == 0 ? "ключ/%" PRIu32 : "k%" PRIu32, number);
    return merle_bytes_of(key->bytes, (size_t)size);
}

static merle_err draw_document(churn *c, merle_bytes *out_doc) {
    static const char *const words[] = {"", "Ada", "größer", "a \"quoted\" one", "🦉"};
    merle_builder *b = c->builder;
    merle_build_begin(b);
    merle_build_int(b, "n", (int64_t)draw(c, 1000) - 500);
    merle_build_str(b, "word", words[draw(c, 5)]);
    if (draw(c, 2)) merle_build_int(b, "large", INT64_MIN + (int64_t)draw(c, 1000));
    if (draw(c, 2)) merle_build_uint(b, "larger", UINT64_MAX - draw(c, 1000));
    if (draw(c, 2)) merle_build_float(b, "float", (double)draw(c, 4096) / 64);
    if (draw(c, 2)) merle_build_bool(b, "truth", (int)draw(c, 2));
    if (draw(c, 4) == 0) merle_build_nil(b, "nothing");
    merle_build_array(b, "list");
    for (uint32_t i = draw(c, 20); i > 0; i--) merle_build_int(b, NULL, (int64_t)draw(c, 70000));
    merle_build_close(b);
    merle_build_map(b, "in");
    merle_build_map(b, "deeper");
    merle_build_int(b, "x", (int64_t)draw(c, 200));
    merle_build_close(b);
    merle_build_close(b);
    return merle_build_end(b, out_doc);
}

/* ---- commits ---- */

static merle_err patch_one(churn *c, merle_commit *commit, merle_bytes key) {
    merle_collection *mixed = c->mixed;
    merle_value number = merle_value_int(draw(c, 30));
    switch (draw(c, 7)) {
    case 0:
        return merle_patch(commit, mixed, key, MERLE_INC("n", 3), MERLE_SET_STR("word", "patched"));
    case 1:
        return merle_patch(commit, mixed, key, MERLE_APPEND("list", number));
    case 2:
        return merle_patch(commit, mixed, key, MERLE_REMOVE("list", number),
                           MERLE_SET_INT("in.deeper.x", 1));
    case 3:
        return merle_patch(commit, mixed, key, MERLE_SET_FLOAT("in.new.y", 0.5));
    case 4:
        return merle_patch(commit, mixed, key, MERLE_UNSET("in.new"), MERLE_UNSET("float"));
    case 5:
        return merle_patch(commit, mixed, key, MERLE_ADD("list", number), MERLE_INC("count", 1));
    default:
        return merle_patch(commit, mixed, key, MERLE_SET("nothing", merle_value_nil()));
    }
}

static merle_err change_one(churn *c, merle_commit *commit) {
    merle_key key;
    merle_bytes body, asked = draw_key(c, &key);
    merle_doc doc;
    int is_there = merle_commit_get(commit, c->mixed, asked, &doc) == MERLE_OK;
    uint32_t what = draw(c, 10);
    if (is_there && what < 6) return patch_one(c, commit, asked);
    if (is_there && what < 8) return merle_remove(commit, c->mixed, asked);
    merle_err err = draw_document(c, &body);
    return err != MERLE_OK ? err : merle_put(commit, c->mixed, asked, body);
}

static merle_err change_brief(churn *c, merle_commit *commit) {
    merle_key key;
    merle_bytes body, asked = draw_key(c, &key);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    merle_err err = draw_document(c, &body);
    if (err == MERLE_OK) err = merle_put(commit, c->brief, asked, body);
    if (err != MERLE_OK) return err;
    int64_t now_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    return merle_expire(commit, c->brief, asked, now_ns + 1 + (int64_t)draw(c, LIFE_NS_MAX));
}

static merle_err commit_some(churn *c) {
    merle_commit *commit;
    merle_key key;
    merle_bytes body;
    merle_err err = merle_begin(c->db, &commit);
    if (err != MERLE_OK) return err;
    for (uint32_t i = 1 + draw(c, 6); i > 0 && err == MERLE_OK; i--) err = change_one(c, commit);
    if (err == MERLE_OK && draw(c, 3) == 0) err = change_brief(c, commit);
    if (err == MERLE_OK && draw(c, 2) == 0) {
        err = draw_document(c, &body);
        if (err == MERLE_OK) err = merle_put(commit, c->renewed, draw_key(c, &key), body);
    }
    if (err == MERLE_OK) return merle_end(commit, NULL);
    merle_cancel(commit);
    return err;
}

static merle_err renew(churn *c) {
    merle_err err = merle_collection_drop(c->renewed, NULL);
    if (err != MERLE_OK) return err;
    return merle_collection_open(c->db, "renewed", NULL, &c->renewed);
}

static merle_err load(churn *c) {
    merle_bulk *bulk;
    merle_bytes body;
    char key[24];
    merle_err err = merle_collection_truncate(c->loaded, NULL);
    if (err == MERLE_OK) err = merle_bulk_begin(c->loaded, &bulk);
    if (err != MERLE_OK) return err;
    uint32_t count = 1 + draw(c, LOAD_MAX);
    for (uint32_t i = 0; i < count && err == MERLE_OK; i++) {
        snprintf(key, sizeof key, "l%" PRIu32, i);
        err = draw_document(c, &body);
        if (err == MERLE_OK) err = merle_bulk_put(bulk, merle_str(key), body);
    }
    if (err == MERLE_OK) return merle_bulk_end(bulk, NULL);
    merle_bulk_cancel(bulk);
    return err;
}

static merle_err change(churn *c) {
    c->commits++;
    if (c->commits % 401 == 0) return load(c);
    if (c->commits % 307 == 0) return renew(c);
    if (c->commits % 101 == 0) return merle_collection_truncate(c->renewed, NULL);
    return commit_some(c);
}

/* ---- the end, and the loop ---- */

static int is_empty(churn *c) {
    merle_section section;
    uint64_t count = 1;
    if (merle_section_begin(c->db, &section) != MERLE_OK) return 0;
    if (merle_count(&section, c->brief, &count) != MERLE_OK) count = 1;
    (void)merle_section_end(&section);
    /* What has expired may still stand there: then an expiry is still to be committed. */
    return count == 0 && merle_count_estimate(c->brief) == 0;
}

static merle_err end_when_empty(churn *c) {
    static const uint8_t empty_map[] = {0x80};
    merle_bytes body = merle_bytes_of(empty_map, sizeof empty_map);
    if (c->is_over || !is_empty(c)) return MERLE_OK;
    c->is_over = 1;
    merle_err err = merle_one_put(c->mixed, MERLE_STR("over"), body, NULL);
    if (err == MERLE_OK) printf("over\n");
    return err;
}

static merle_err obey(churn *c, int wait_ms) {
    char order[64];
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&in, 1, wait_ms) <= 0) return MERLE_OK;
    ssize_t size = read(STDIN_FILENO, order, sizeof order);
    if (size <= 0) c->is_ended = 1;
    if (size <= 0 || order[0] == 'o') {
        c->is_asked = 1;
        return MERLE_OK;
    }
    merle_err err = merle_checkpoint(c->db);
    printf("checkpoint\n");
    return err;
}

static merle_err run(churn *c, uint32_t rate) {
    merle_err err = MERLE_OK;
    while (err == MERLE_OK && !c->is_ended) {
        uint32_t some = rate / 100 + 1;
        for (uint32_t i = 0; i < some && err == MERLE_OK && !c->is_asked; i++) err = change(c);
        if (err == MERLE_OK && c->is_asked) err = end_when_empty(c);
        if (err == MERLE_OK) err = obey(c, 10);
    }
    return err;
}

static merle_err open_all(churn *c, const char *path, merle_report *report) {
    merle_options options = {.size = sizeof options, .log_file_size = LOG_FILE_SIZE};
    merle_publish_options publish = {.news = c->news, .service = c->service, .report = report};
    merle_err err = merle_builder_create(&c->builder);
    if (err == MERLE_OK) err = merle_open(path, &options, &c->db);
    if (err == MERLE_OK) err = merle_collection_open(c->db, "mixed", NULL, &c->mixed);
    if (err == MERLE_OK) err = merle_collection_open(c->db, "short", NULL, &c->brief);
    if (err == MERLE_OK) err = merle_collection_open(c->db, "renewed", NULL, &c->renewed);
    if (err == MERLE_OK) err = merle_collection_open(c->db, "loaded", NULL, &c->loaded);
    return err != MERLE_OK ? err : merle_publish(c->db, &publish, &c->publisher);
}

static void tell_addresses(const churn *c) {
    const char *address;
    for (uint32_t i = 0; (address = merle_publisher_news_address(c->publisher, i)) != NULL; i++)
        printf("news %s\n", address);
    for (uint32_t i = 0; (address = merle_publisher_service_address(c->publisher, i)) != NULL; i++)
        printf("service %s\n", address);
    printf("ready\n");
}

int main(int argument_count, char **arguments) {
    static churn c;
    merle_report report = {0};
    size_t news = 0, service = 0;
    for (int i = 4; i + 1 < argument_count; i += 2)
        if (strcmp(arguments[i], "--news") == 0 && news < ADDRESS_MAX)
            c.news[news++] = arguments[i + 1];
        else if (service < ADDRESS_MAX)
            c.service[service++] = arguments[i + 1];
    if (argument_count < 6) return 2;
    c.random = strtoull(arguments[2], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    merle_err err = open_all(&c, arguments[1], &report);
    if (err == MERLE_OK) {
        tell_addresses(&c);
        err = run(&c, (uint32_t)atoi(arguments[3]));
    }
    if (err != MERLE_OK) fprintf(stderr, "churn: %s. %s\n", merle_err_name(err), report.message);
    merle_err closed = merle_publisher_close(c.publisher);
    if (closed == MERLE_OK && c.db != NULL) closed = merle_close(c.db);
    merle_builder_destroy(c.builder);
    return err == MERLE_OK && closed == MERLE_OK ? 0 : 1;
}
