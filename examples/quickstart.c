/* examples/quickstart.c - the lines of README.md as a program; readme_test.sh compares them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <merle/merle.h>
#include <stdio.h>

int main(void) {
    merle_db *db;
    merle_collection *players;
    merle_commit *tick;
    merle_section now;
    merle_doc ada;
    merle_index indexes[] = {{.name = "name", .kind = MERLE_UNIQUE, .on = "name"}, {0}};
    merle_schema schema = {.version = 1, .indexes = indexes};
    merle_buffer doc = {0};
    merle_bytes json = MERLE_STR("{\"name\": \"ada\", \"gold\": 10}");

    if (merle_open(NULL, NULL, &db) != MERLE_OK) return 1; /* NULL: in memory, good defaults */
    if (merle_collection_open(db, "players", &schema, &players) != MERLE_OK) return 1;
    if (merle_json_read(json, &doc, NULL) != MERLE_OK) return 1;

    if (merle_begin(db, &tick) != MERLE_OK) return 1; /* one instant, all or nothing */
    merle_put(tick, players, MERLE_STR("p17"), merle_bytes_of(doc.data, doc.size));
    merle_patch(tick, players, MERLE_STR("p17"), MERLE_INC("gold", 5),
                MERLE_SET_STR("zone", "north"));
    if (merle_end(tick, NULL) != MERLE_OK) return 1; /* MERLE_EXISTS: the name is taken */

    merle_section_begin(db, &now); /* no lock, no copy; nothing changes in here */
    if (merle_get_by(&now, players, "name", &ada, merle_value_str("ada")) == MERLE_OK)
        printf("ada has %lld gold\n", (long long)merle_doc_int(ada, "gold", 0));
    merle_section_end(&now);

    merle_buffer_free(&doc);
    return merle_close(db) == MERLE_OK ? 0 : 1;
}
