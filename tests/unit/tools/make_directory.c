/* tests/unit/tools/make_directory.c - makes the directories that the test of the command looks at.
 *
 * make_directory small PATH: two collections, a checkpoint in the middle, keys of all kinds.
 * make_directory large PATH: one collection with enough documents to fill any pipe.
 * make_directory held PATH: small, and stays open: says "open" and ends with its standard input.
 * make_directory operated PATH: the same, and lets operators in; a line of its input is a commit:
 *     the key of a player, who is told of when he is durable.
 * make_directory looked PATH: the same, but operators may only look.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <merle/merle.h>
#include <merle/operate.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 40, LARGE = 20000 };
#define YEAR_2100_NS INT64_C(4102444800000000000)

static const merle_index indexes[] = {{.name = "number", .kind = MERLE_UNIQUE, .on = "n"},
                                      {.name = "level", .kind = MERLE_ORDERED, .on = "level"},
                                      {0}};
static const merle_schema schema = {.version = 3, .indexes = indexes};

static void must(merle_err err, const char *what) {
    if (err == MERLE_OK) return;
    fprintf(stderr, "make_directory: %s: %s\n", what, merle_err_name(err));
    exit(1);
}

static merle_db *open_new(const char *path) {
    merle_db *db;
    merle_options options = {.log_file_size = 256 << 10, .checkpoint_log_bytes = UINT64_MAX};
    must(merle_open(path, &options, &db), "opening");
    return db;
}

static void put(merle_collection *collection, merle_bytes key, int number) {
    char json[120];
    merle_buffer doc = {0};
    snprintf(json, sizeof json, "{\"n\": %d, \"level\": %d, \"name\": \"player \\\"%d\\\"\"}",
             number, number % 10, number);
    must(merle_json_read(merle_str(json), &doc, NULL), "a document");
    must(merle_one_put(collection, key, merle_bytes_of(doc.data, doc.size), NULL), "putting");
    merle_buffer_free(&doc);
}

/* Keys that are hard to write down. */
static void put_odd_keys(merle_collection *collection) {
    static const uint8_t nought[] = {0, 0, 7}, high[] = {0xff, 0xfe};
    put(collection, MERLE_STR("a b"), 1);
    put(collection, MERLE_STR("back\\slash"), 2);
    put(collection, MERLE_STR("\"quoted\""), 3);
    put(collection, MERLE_STR("gr\xc3\xbc\xc3\x9f"), 4);
    put(collection, merle_bytes_of(nought, sizeof nought), 5);
    put(collection, merle_bytes_of(high, sizeof high), 6);
    put(collection, MERLE_STR("-dash"), 7);
}

static merle_db *make_small(const char *path) {
    merle_collection *players, *odd;
    char key[16];
    merle_db *db = open_new(path);
    must(merle_collection_open(db, "players", &schema, &players), "players");
    must(merle_collection_open(db, "odd", NULL, &odd), "odd");
    for (int i = 0; i < SMALL; i++) {
        snprintf(key, sizeof key, "p%d", i);
        put(players, merle_str(key), i);
        if (i == SMALL / 2) must(merle_checkpoint(db), "checkpoint");
    }
    put_odd_keys(odd);
    must(merle_one_patch(players, MERLE_STR("p3"), NULL, NULL, MERLE_SET_STR("pos.zone", "north"),
                         MERLE_UNSET("name")),
         "patching");
    must(merle_one_remove(players, MERLE_STR("p4"), NULL), "removing");
    must(merle_one_expire(players, MERLE_STR("p5"), YEAR_2100_NS, NULL), "expiring");
    return db;
}

static merle_db *make_large(const char *path) {
    merle_collection *things;
    merle_key key;
    merle_db *db = open_new(path);
    must(merle_collection_open(db, "things", NULL, &things), "things");
    for (uint32_t i = 0; i < LARGE; i++) put(things, merle_key_u64(&key, i), (int)i);
    return db;
}

/* A process that has a database, until its input ends. */
static void serve(merle_db *db, merle_operator_rights rights) {
    merle_collection *players;
    merle_operator *op;
    merle_report report = {0};
    merle_operator_options options = {.rights = rights, .report = &report};
    char line[64];
    if (merle_operator_open(db, &options, &op) != MERLE_OK) {
        fprintf(stderr, "make_directory: %s\n", report.message);
        exit(1);
    }
    must(merle_collection_find(db, "players", &players), "players");
    puts("open");
    fflush(stdout);
    for (int number = 1000; fgets(line, sizeof line, stdin) != NULL; number++) {
        line[strcspn(line, "\n")] = 0;
        put(players, merle_str(line), number);
        puts(line);
        fflush(stdout);
    }
    must(merle_operator_close(op), "letting nobody in any more");
}

int main(int count, char **words) {
    if (count != 3) return 2;
    merle_db *db = strcmp(words[1], "large") == 0 ? make_large(words[2]) : make_small(words[2]);
    if (strcmp(words[1], "operated") == 0) serve(db, MERLE_OPERATOR_ALL);
    if (strcmp(words[1], "looked") == 0) serve(db, MERLE_OPERATOR_LOOK);
    if (strcmp(words[1], "held") == 0) {
        puts("open");
        fflush(stdout);
        while (getchar() != EOF) {
        }
    }
    must(merle_close(db), "closing");
    return 0;
}
