/* examples/quickstart.c - the program that README.md shows; the two are compared by a test. It
 * makes a directory world.merle where it is started. SPDX-License-Identifier: Apache-2.0 */
#include <merle/query.h>
#include <stdio.h>

int main(void) {
    merle_db *db;
    merle_collection *players;
    merle_commit *tick;
    merle_section now;
    merle_condition *rich;
    merle_rows *rows;
    merle_doc found;
    size_t count;
    merle_index indexes[] = {{.name = "name", .kind = MERLE_UNIQUE, .on = "name"},
                             {.name = "gold", .kind = MERLE_ORDERED, .on = "gold"},
                             {0}};
    merle_schema schema = {.version = 1, .indexes = indexes};
    merle_buffer doc = {0};
    merle_bytes json = MERLE_STR("{\"name\": \"ada\", \"gold\": 10, \"tags\": [\"eu\"]}");
    merle_bytes text = MERLE_STR("gold >= 12 and tags: eu and not banned");
    merle_bytes key = MERLE_STR("p17");

    if (merle_open("world.merle", NULL, &db) != MERLE_OK) return 1; /* NULL: in memory only */
    if (merle_collection_open(db, "players", &schema, &players) != MERLE_OK) return 1;
    if (merle_json_read(json, &doc, NULL) != MERLE_OK) return 1;
    if (merle_condition_parse(text, &rich, NULL) != MERLE_OK) return 1;

    merle_err err = merle_one_insert(players, key, merle_bytes_of(doc.data, doc.size), NULL);
    if (err == MERLE_EXISTS) printf("ada was here before\n"); /* in another run */
    if (merle_begin(db, &tick) != MERLE_OK) return 1;         /* one instant, all or nothing */
    merle_patch(tick, players, key, MERLE_INC("gold", 5), MERLE_SET_STR("zone", "north"));
    merle_commit_durability(tick, MERLE_SYNC); /* else it is on the disk some ten ms later */
    if (merle_end(tick, NULL) != MERLE_OK) return 1;

    merle_section_begin(db, &now); /* no lock, no copy; nothing changes in here */
    if (merle_get_by(&now, players, "name", &found, merle_value_str("ada")) == MERLE_OK)
        printf("ada has %lld gold\n", (long long)merle_doc_int(found, "gold", 0));
    merle_query query = {.where = rich, .order = "-gold", .limit = 10};
    if (merle_query_open(&now, players, &query, &rows) == MERLE_OK) {
        while (merle_rows_next(rows, &found, 1, &count) == MERLE_OK)
            printf("rich: %.*s\n", (int)merle_doc_key(found).size,
                   (const char *)merle_doc_key(found).data);
        merle_rows_close(rows);
    }
    merle_section_end(&now);

    merle_condition_destroy(rich);
    merle_buffer_free(&doc);
    return merle_close(db) == MERLE_OK ? 0 : 1;
}
