/* examples/sessions.c - logging in, staying, and being gone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "examples/sessions.h"

#include <time.h>

merle_err sessions_open(merle_db *db, merle_collection **out_sessions) {
    return merle_collection_open(db, "sessions", NULL, out_sessions);
}

merle_err session_begin(merle_collection *sessions, const char *name, int64_t ttl_ns) {
    merle_builder *b;
    merle_bytes doc;
    merle_err err = merle_builder_create(&b);
    if (err != MERLE_OK) return err;
    merle_build_begin(b);
    merle_build_str(b, "from", "the tavern");
    err = merle_build_end(b, &doc);
    /* Put only where there is none, and only for a while: that is all that a lock needs. */
    if (err == MERLE_OK) err = merle_one_insert_for(sessions, merle_str(name), doc, ttl_ns, NULL);
    merle_builder_destroy(b);
    return err;
}

merle_err session_renew(merle_collection *sessions, const char *name, int64_t ttl_ns) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t now_ns = now.tv_sec * SECOND_NS + now.tv_nsec;
    return merle_one_expire(sessions, merle_str(name), now_ns + ttl_ns, NULL);
}

/* All three are of the section's instant, whatever is ending meanwhile. */
static merle_err count_at(merle_section *section, merle_collection *sessions,
                          const char *const *names, size_t name_count, uint64_t *out_count) {
    merle_scan scan = {0};
    merle_doc docs[16];
    size_t some;
    uint64_t scanned = 0, got = 0;
    merle_err err;
    while ((err = merle_scan_next(section, sessions, &scan, docs, 16, &some)) == MERLE_OK)
        scanned += some;
    if (err != MERLE_NOT_FOUND) return err;
    for (size_t i = 0; i < name_count; i++)
        got += merle_exists(section, sessions, merle_str(names[i])) == MERLE_OK;
    err = merle_count(section, sessions, out_count);
    if (err != MERLE_OK) return err;
    return *out_count == scanned && *out_count == got ? MERLE_OK : MERLE_CORRUPT;
}

merle_err sessions_count(merle_db *db, merle_collection *sessions, const char *const *names,
                         size_t name_count, uint64_t *out_count) {
    merle_section section;
    merle_err err = merle_section_begin(db, &section);
    if (err != MERLE_OK) return err;
    err = count_at(&section, sessions, names, name_count, out_count);
    (void)merle_section_end(&section);
    return err;
}
