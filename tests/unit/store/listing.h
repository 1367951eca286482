/* tests/unit/store/listing.h - what tests of ranges share: the documents that a range gives, as a
 * string of letters.
 *
 * What    Each range is asked with a cursor, and its count, its n-th documents and their ranks must
 *         say the same.
 * Threads owner only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_STORE_LISTING_H
#define MRL_TESTS_STORE_LISTING_H

#include "writing.h"

UNUSED static void open_with(stand *s, const merle_index *indexes) {
    const merle_schema schema = {.version = 1, .indexes = indexes};
    writing_open(s, &schema, (merle_options){0}, NULL);
}

/* One letter a document, "n" or the key's first; counts, ranks and the n-th must say the same. */
UNUSED static const char *keys_in(merle_section *section, const stand *s, merle_range range) {
    static char keys[64];
    merle_cursor *cursor;
    merle_doc docs[64], doc;
    size_t some, met = 0;
    uint64_t number = 0;
    must(s, merle_range_open(s->players, &range, &cursor));
    while (merle_cursor_next(section, cursor, docs + met, 3, &some) == MERLE_OK) met += some;
    merle_cursor_close(cursor);
    for (size_t i = 0; i < met; i++) {
        merle_bytes name = merle_doc_str(docs[i], "n");
        keys[i] = *(const char *)(name.size > 0 ? name : merle_doc_key(docs[i])).data;
    }
    keys[met] = 0;
    must(s, merle_range_count(section, s->players, &range, &number));
    assert_int_equal(number, met);
    for (size_t i = 0; i < met; i++) {
        must(s, merle_range_nth(section, s->players, &range, i, &doc));
        assert_ptr_equal(doc.data, docs[i].data);
        must(s, merle_range_rank(section, s->players, &range, merle_doc_key(doc), &number));
        assert_int_equal(number, i);
    }
    assert_int_equal(merle_range_nth(section, s->players, &range, met, &doc), MERLE_NOT_FOUND);
    return keys;
}

/* The range now, both ways. */
UNUSED static void assert_keys(const stand *s, merle_range range, const char *keys) {
    char turned[64];
    merle_section section;
    size_t size = strlen(keys);
    must(s, merle_section_begin(s->db, &section));
    assert_string_equal(keys_in(&section, s, range), keys);
    range.backwards = 1;
    for (size_t i = 0; i < size; i++) turned[i] = keys[size - 1 - i];
    turned[size] = 0;
    assert_string_equal(keys_in(&section, s, range), turned);
    must(s, merle_section_end(&section));
}

/* The same, now. */
UNUSED static const char *keys_in_section(const stand *s, merle_range range) {
    merle_section section;
    must(s, merle_section_begin(s->db, &section));
    const char *keys = keys_in(&section, s, range);
    must(s, merle_section_end(&section));
    return keys;
}

UNUSED static merle_range all_of(const char *index) {
    return (merle_range){.index = index};
}

UNUSED static merle_range between(const char *index, merle_bound from, merle_bound to) {
    return (merle_range){.index = index, .from = from, .to = to};
}

#endif
