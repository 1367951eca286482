/* events/fields.c - which fields a change has changed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include <merle/events.h>

typedef struct names {
    merle_bytes *list;
    size_t max, count;
} names;

static void add(names *n, merle_bytes name) {
    if (n->count < n->max) n->list[n->count] = name;
    n->count++;
}

/* ---- from the effect of a patch ---- */

static int has(const merle_bytes *list, size_t count, merle_bytes name) {
    for (size_t i = 0; i < count; i++)
        if (list[i].size == name.size && memcmp(list[i].data, name.data, name.size) == 0) return 1;
    return 0;
}

/* The first step of an entry's path: [[step, ...], value], or [[step, ...]]. */
static int first_step(const merle_value *entry, merle_bytes *out_name) {
    merle_walk walk;
    merle_value key, path, step;
    if (merle_walk_begin(entry, &walk) != MERLE_OK || !merle_walk_next(&walk, &key, &path))
        return 0;
    if (merle_walk_begin(&path, &walk) != MERLE_OK || !merle_walk_next(&walk, &key, &step))
        return 0;
    *out_name = step.bytes;
    return step.type == MERLE_TYPE_STR;
}

/* Whether an entry before this one began with the same name: there may be no list to look in. */
static int was_before(const merle_value *effect, size_t entry_count, merle_bytes name) {
    merle_walk walk;
    merle_value key, entry;
    merle_bytes other;
    if (merle_walk_begin(effect, &walk) != MERLE_OK) return 0;
    for (size_t i = 0; i < entry_count && merle_walk_next(&walk, &key, &entry); i++)
        if (first_step(&entry, &other) && has(&other, 1, name)) return 1;
    return 0;
}

static merle_err from_effect(merle_bytes bytes, names *n) {
    merle_walk walk;
    merle_value effect, key, entry;
    merle_bytes name;
    merle_err err = merle_value_msgpack(bytes, &effect);
    if (err == MERLE_OK) err = merle_walk_begin(&effect, &walk);
    if (err != MERLE_OK) return err;
    for (size_t i = 0; merle_walk_next(&walk, &key, &entry); i++)
        if (first_step(&entry, &name) && !was_before(&effect, i, name)) add(n, name);
    return MERLE_OK;
}

/* ---- from two documents ---- */

/* A field: its name, and the bytes of name and value. */
typedef struct field {
    merle_bytes name, whole;
} field;

static int begin(merle_doc doc, merle_walk *out_walk) {
    const merle_value map = {.type = MERLE_TYPE_MAP, .bytes = merle_bytes_of(doc.data, doc.size)};
    return doc.data != NULL && merle_walk_begin(&map, out_walk) == MERLE_OK;
}

static int next(merle_walk *walk, field *out) {
    merle_value key, value;
    const uint8_t *from = walk->at;
    if (!merle_walk_next(walk, &key, &value)) return 0;
    out->name = key.bytes;
    out->whole = merle_bytes_of(from, (size_t)(walk->at - from));
    return 1;
}

static int are_equal(merle_bytes a, merle_bytes b) {
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* Looks for a field by its name: first where `at` stands, since two states of a document mostly
 * have their fields in one order. */
static int find(merle_doc doc, merle_walk *at, merle_bytes name, field *out) {
    merle_walk walk = *at;
    if (next(&walk, out) && are_equal(out->name, name)) {
        *at = walk;
        return 1;
    }
    if (!begin(doc, &walk)) return 0;
    while (next(&walk, out)) {
        if (!are_equal(out->name, name)) continue;
        *at = walk;
        return 1;
    }
    return 0;
}

static void compare(merle_doc before, merle_doc after, names *n) {
    merle_walk walk, other;
    field f, g;
    if (!begin(after, &walk) || !begin(before, &other)) return;
    while (next(&walk, &f))
        if (!find(before, &other, f.name, &g) || !are_equal(f.whole, g.whole)) add(n, f.name);
    if (!begin(before, &walk) || !begin(after, &other)) return;
    while (next(&walk, &f))
        if (!find(after, &other, f.name, &g)) add(n, f.name);
}

static void all_of(merle_doc doc, names *n) {
    merle_walk walk;
    field f;
    if (!begin(doc, &walk)) return;
    while (next(&walk, &f)) add(n, f.name);
}

merle_err merle_event_fields(const merle_event *event, merle_bytes *out_names, size_t name_max,
                             size_t *out_count) {
    names n = {out_names, name_max, 0};
    merle_err err = MERLE_OK;
    *out_count = 0;
    if (event->kind >= MERLE_EVENT_TRUNCATED) return MERLE_OK;
    if (event->kind == MERLE_EVENT_UPDATE && event->effect.size > 0) {
        err = from_effect(event->effect, &n);
    } else if (event->kind == MERLE_EVENT_UPDATE) {
        if (event->before.data == NULL || event->after.data == NULL) return MERLE_NOT_FOUND;
        compare(event->before, event->after, &n);
    } else {
        merle_doc doc = event->kind == MERLE_EVENT_INSERT ? event->after : event->before;
        if (doc.data == NULL) return MERLE_NOT_FOUND;
        all_of(doc, &n);
    }
    if (err == MERLE_OK) *out_count = n.count;
    return err;
}
