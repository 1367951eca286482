/* events/latest.c - the latest alone: which keys have changed, each once, and what is there now.
 *
 * A round goes over the log up to where it stands, and notes keys, not documents. They are given
 * with the documents of a section of their own, which begins with the call that gives them. So what
 * is given is never older than the change that was noted, and a key that changes again meanwhile is
 * noted again by the next round.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/buffer.h"
#include "base/hash.h"
#include "events/watch.h"

/* ---- memory ---- */

static size_t items_size(const mrl_latest *latest) {
    return latest->capacity * sizeof latest->items[0];
}

static size_t table_size(const mrl_latest *latest) {
    return ((size_t)latest->table_mask + 1) * sizeof latest->table[0];
}

merle_err mrl_latest_init(merle_watch *watch, uint32_t capacity) {
    mrl_latest *latest = &watch->latest;
    uint32_t places = 16;
    while (places < 2 * capacity) places *= 2;
    latest->capacity = capacity;
    latest->table_mask = places - 1;
    latest->items = mrl_alloc(watch->member, MRL_FOR_OTHER, items_size(latest));
    latest->table = mrl_alloc(watch->member, MRL_FOR_OTHER, table_size(latest));
    if (latest->items == NULL || latest->table == NULL) return MERLE_NO_MEMORY;
    memset(latest->table, 0, table_size(latest));
    return MERLE_OK;
}

void mrl_latest_fini(merle_watch *watch, mrl_member *member) {
    mrl_latest *latest = &watch->latest;
    if (latest->items != NULL) mrl_free(member, MRL_FOR_OTHER, latest->items, items_size(latest));
    if (latest->table != NULL) mrl_free(member, MRL_FOR_OTHER, latest->table, table_size(latest));
    merle_buffer_free(&latest->keys);
}

/* ---- noting ---- */

void mrl_latest_begin(merle_watch *watch) {
    mrl_latest *latest = &watch->latest;
    /* Few of a large table are taken where little has changed. */
    if (latest->count * 8 > latest->table_mask) {
        memset(latest->table, 0, table_size(latest));
    } else {
        for (uint32_t i = 0; i < latest->count; i++)
            for (uint64_t at = latest->items[i].hash;; at++) {
                if (latest->table[at & latest->table_mask] == 0) break;
                latest->table[at & latest->table_mask] = 0;
            }
    }
    latest->count = latest->given = 0;
    latest->keys.size = 0;
    latest->position = merle_changes_position(watch->changes);
    latest->passed = mrl_changes_passed(watch->changes);
}

static uint64_t hash_of(const merle_event *event, uint32_t collection_id) {
    return mrl_hash_bytes(event->key.data, event->key.size, collection_id);
}

static int is_item(const mrl_latest *latest, const mrl_latest_item *item, uint32_t collection_id,
                   merle_bytes key) {
    return item->kind == 0 && item->collection_id == collection_id && item->key_size == key.size &&
           memcmp(latest->keys.data + item->key_at, key.data, key.size) == 0;
}

/* The place of the key in the table: its own, or an empty one. Items that are over keep their
 * places, or the search for others would end there. */
static uint32_t *find_place(mrl_latest *latest, uint64_t hash, uint32_t collection_id,
                            merle_bytes key) {
    for (uint64_t at = hash;; at++) {
        uint32_t *place = &latest->table[at & latest->table_mask];
        if (*place == 0 || is_item(latest, &latest->items[*place - 1], collection_id, key))
            return place;
    }
}

/* The collection has no documents any more, or all new ones: its keys so far need not be told. */
static void forget_keys(mrl_latest *latest, uint32_t collection_id) {
    for (uint32_t i = 0; i < latest->count; i++)
        if (latest->items[i].kind == 0 && latest->items[i].collection_id == collection_id)
            latest->items[i].is_over = 1;
}

merle_err mrl_latest_note(merle_watch *watch, const merle_event *event) {
    mrl_latest *latest = &watch->latest;
    uint32_t id = event->change->collection_id;
    mrl_latest_item item = {.collection_id = id, .seq = event->seq};
    uint32_t *place = NULL;
    if (event->kind >= MERLE_EVENT_TRUNCATED) {
        item.kind = event->kind;
        if (event->kind != MERLE_EVENT_DEFINED) forget_keys(latest, id);
        latest->items[latest->count++] = item;
        return MERLE_OK;
    }
    item.hash = hash_of(event, id);
    place = find_place(latest, item.hash, id, event->key);
    if (*place != 0 && !latest->items[*place - 1].is_over) {
        latest->items[*place - 1].seq = event->seq;
        return MERLE_OK;
    }
    item.key_at = latest->keys.size;
    item.key_size = (uint32_t)event->key.size;
    merle_err err = mrl_buffer_append(&latest->keys, event->key.data, event->key.size);
    if (err != MERLE_OK) return err;
    latest->items[latest->count++] = item;
    *place = latest->count;
    return MERLE_OK;
}

/* ---- giving ---- */

void mrl_latest_rest(mrl_latest *latest) {
    if (latest->is_open) (void)merle_section_end(&latest->section);
    latest->is_open = 0;
}

static void give_item(merle_watch *watch, const mrl_latest_item *item, merle_event *out) {
    mrl_latest *latest = &watch->latest;
    memset(out, 0, sizeof *out);
    out->kind = item->kind;
    out->seq = item->seq;
    out->count = 1;
    out->collection = mrl_watch_collection(watch, item->collection_id);
    if (item->kind != 0) return;
    out->key = merle_bytes_of(latest->keys.data + item->key_at, item->key_size);
    merle_err err = out->collection == NULL
                        ? MERLE_GONE
                        : merle_get(&latest->section, out->collection, out->key, &out->after);
    out->kind = err == MERLE_OK ? MERLE_EVENT_UPDATE : MERLE_EVENT_REMOVE;
    /* It may be newer than what was noted. */
    if (err == MERLE_OK && out->after.seq > out->seq) out->seq = out->after.seq;
}

merle_err mrl_latest_give(merle_watch *watch, merle_event *out_events, size_t event_max,
                          size_t *out_count) {
    mrl_latest *latest = &watch->latest;
    if (latest->given == latest->count) return MERLE_OK;
    merle_err err = merle_section_begin(watch->db, &latest->section);
    if (err != MERLE_OK) return err;
    latest->is_open = 1;
    while (latest->given < latest->count && *out_count < event_max) {
        const mrl_latest_item *item = &latest->items[latest->given++];
        if (!item->is_over) give_item(watch, item, &out_events[(*out_count)++]);
    }
    /* All that was left is over: nothing is held. */
    if (*out_count == 0) mrl_latest_rest(latest);
    return MERLE_OK;
}
