/* events/news.c - news: what has happened, told at once to all who listen.
 *
 * The publisher has one cursor for all collections. What it gives is put down by topic; when there
 * is no more, or enough, the topics' batches are sent, and the beat that closes them. Whatever gets
 * lost on the way, the numbers of the next beat tell it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "events/publish_private.h"

enum { KEPT_CAPACITY = 128 << 10 }; /* a topic's buffer keeps so much from flush to flush */

/* ---- topics ---- */

static mrl_topic *topic_by_name(merle_publisher *publisher, const char *name) {
    for (mrl_topic *topic = publisher->topics; topic != NULL; topic = topic->next)
        if (strcmp(topic->name, name) == 0) return topic;
    mrl_topic *topic = mrl_allocate(sizeof *topic);
    if (topic == NULL) return NULL;
    memset(topic, 0, sizeof *topic);
    memcpy(topic->name, name, strlen(name) + 1);
    topic->before = publisher->begin_seq;
    topic->next = publisher->topics;
    publisher->topics = topic;
    return topic;
}

static const char *collection_name(const mrl_store *store, uint32_t id) {
    /* Acquire: pairs with the release with which one that is new is linked in. They never leave. */
    const merle_collection *collection =
        atomic_load_explicit(&store->collections, memory_order_acquire);
    while (collection != NULL && collection->id != id)
        collection = atomic_load_explicit(&collection->next, memory_order_acquire);
    return collection == NULL ? NULL : collection->name;
}

static int has_number(merle_publisher *publisher, uint32_t id) {
    uint32_t count = publisher->topic_of_count == 0 ? 16 : publisher->topic_of_count;
    if (id < publisher->topic_of_count) return 1;
    while (count <= id && count < MRL_NUMBER_COUNT_MAX) count *= 2;
    if (count <= id) return 0;
    mrl_topic **topic_of = mrl_allocate(count * sizeof(mrl_topic *));
    if (topic_of == NULL) return 0;
    memset(topic_of, 0, count * sizeof(mrl_topic *));
    if (publisher->topic_of_count > 0)
        memcpy(topic_of, publisher->topic_of, publisher->topic_of_count * sizeof(mrl_topic *));
    free(publisher->topic_of);
    publisher->topic_of = topic_of;
    publisher->topic_of_count = count;
    return 1;
}

merle_err mrl_news_topic(merle_publisher *publisher, uint32_t collection_id,
                         mrl_topic **out_topic) {
    /* Ids are given one after the other: they are the places of a table, as far as it may grow. */
    int is_numbered = has_number(publisher, collection_id);
    *out_topic = is_numbered ? publisher->topic_of[collection_id] : NULL;
    if (*out_topic != NULL) return MERLE_OK;
    const char *name = collection_name(publisher->ground.store, collection_id);
    if (name == NULL) return MERLE_NOT_FOUND;
    *out_topic = topic_by_name(publisher, name);
    if (is_numbered) publisher->topic_of[collection_id] = *out_topic;
    return *out_topic == NULL ? MERLE_NO_MEMORY : MERLE_OK;
}

void mrl_news_learn(merle_publisher *publisher, const merle_change *change) {
    uint32_t id = change->collection_id;
    merle_doc definition = {change->effect.data, change->effect.size, change->seq, NULL};
    merle_bytes name = merle_doc_str(definition, "name");
    char text[MERLE_NAME_SIZE_MAX + 1] = {0};
    if (name.size == 0 || name.size > MERLE_NAME_SIZE_MAX || !has_number(publisher, id)) return;
    memcpy(text, name.data, name.size);
    if (publisher->topic_of[id] == NULL) publisher->topic_of[id] = topic_by_name(publisher, text);
}

void mrl_news_fini(merle_publisher *publisher) {
    while (publisher->topics != NULL) {
        mrl_topic *topic = publisher->topics;
        publisher->topics = topic->next;
        merle_buffer_free(&topic->commits);
        free(topic);
    }
    free(publisher->topic_of);
}

/* ---- what is told ---- */

int mrl_news_is_told(const merle_change *change) {
    if (change->kind == MERLE_CHANGE_SEQUENCE) return 0;
    /* A load counts when it has ended: that is told, and is a reason to take a snapshot. */
    return change->origin != MERLE_ORIGIN_LOAD || change->kind == MERLE_CHANGE_LOADED;
}

merle_err mrl_news_commit_begin(mrl_wire_commit_writer *writer, merle_buffer *buffer,
                                const merle_change *change) {
    mrl_wire_commit commit = {.seq = change->seq,
                              .time_ns = change->time_ns,
                              .origin = (uint32_t)change->origin,
                              .app = change->origin_bytes,
                              .count = change->count};
    return mrl_wire_commit_begin(writer, buffer, &commit);
}

static void end_commit(mrl_topic *topic) {
    if (topic->is_open)
        topic->commit_count += (uint32_t)mrl_wire_commit_end(&topic->writer, &topic->commits);
    topic->is_open = 0;
}

/* Listeners are told to fetch it. */
static void make_too_large(mrl_topic *topic) {
    topic->is_too_large = 1;
    topic->is_open = 0;
    topic->commit_count = 0;
    merle_buffer_free(&topic->commits);
}

/* Without memory for its commits the topic is as if it were too large: whoever wants it fetches it.
 * Errors: MERLE_NO_MEMORY, for the topic. */
static merle_err put_down(merle_publisher *publisher, const merle_change *change, size_t *bytes) {
    mrl_topic *topic;
    merle_err err = mrl_news_topic(publisher, change->collection_id, &topic);
    if (err != MERLE_OK) return err;
    topic->is_in_flush = 1;
    topic->collection_id = change->collection_id;
    if (topic->is_open && topic->seq != change->seq) end_commit(topic);
    topic->seq = change->seq;
    if (topic->is_too_large || publisher->secret_size > 0) return MERLE_OK;
    size_t size_before = topic->commits.size;
    if (!topic->is_open) {
        err = mrl_news_commit_begin(&topic->writer, &topic->commits, change);
        topic->is_open = err == MERLE_OK;
    }
    if (err == MERLE_OK)
        err = mrl_wire_operation_copy(&topic->writer, &topic->commits, change->position,
                                      change->bytes);
    if (err != MERLE_OK || topic->commits.size > publisher->options.batch_size_max) {
        if (err != MERLE_OK) publisher->stats.failures++;
        make_too_large(topic);
        return MERLE_OK;
    }
    *bytes += topic->commits.size - size_before;
    publisher->stats.operations_told++;
    return MERLE_OK;
}

/* ---- a flush ---- */

static void send_batch(merle_publisher *publisher, mrl_topic *topic, uint64_t from, uint64_t to) {
    merle_buffer *message = &publisher->scratch;
    mrl_wire_news news = {.type = MRL_WIRE_BATCH,
                          .name = merle_str(topic->name),
                          .history = publisher->ground.history,
                          .from = from,
                          .to = to,
                          .before = topic->before,
                          .collection_id = topic->collection_id};
    end_commit(topic);
    if (!topic->is_too_large) news.commits = mrl_wire_list_of(&topic->commits, topic->commit_count);
    message->size = 0;
    merle_err err = mrl_wire_news_write(&news, message);
    if (err == MERLE_OK) err = mrl_publisher_send(publisher, message);
    publisher->stats.batches += (uint64_t)(err == MERLE_OK);
    publisher->stats.batches_too_large += (uint64_t)topic->is_too_large;
}

static void send_beat(merle_publisher *publisher, uint64_t from, uint64_t to,
                      const mrl_wire_list *collections) {
    merle_buffer *message = &publisher->scratch;
    mrl_wire_news news = {.type = MRL_WIRE_BEAT,
                          .history = publisher->ground.history,
                          .from = from,
                          .to = to,
                          .collections = *collections};
    message->size = 0;
    merle_err err = mrl_wire_news_write(&news, message);
    if (err == MERLE_OK) err = mrl_publisher_send(publisher, message);
    publisher->stats.beats += (uint64_t)(err == MERLE_OK);
}

static void forget_batch(mrl_topic *topic) {
    topic->is_in_flush = topic->is_too_large = topic->is_open = 0;
    topic->commit_count = 0;
    topic->commits.size = 0;
    if (topic->commits.capacity > KEPT_CAPACITY) merle_buffer_free(&topic->commits);
}

static void send_flush(merle_publisher *publisher, uint64_t from, uint64_t to) {
    merle_buffer *ids = &publisher->scratch2;
    uint32_t id_count = 0;
    int is_whole = 1;
    ids->size = 0;
    for (mrl_topic *topic = publisher->topics; topic != NULL; topic = topic->next) {
        if (!topic->is_in_flush) continue;
        if (publisher->secret_size == 0) {
            send_batch(publisher, topic, from, to);
            if (mrl_wire_id_add(ids, topic->collection_id) == MERLE_OK)
                id_count++;
            else
                is_whole = 0;
        }
        topic->before = topic->seq;
        forget_batch(topic);
    }
    mrl_wire_list collections = mrl_wire_list_of(ids, id_count);
    /* A beat that does not name all would say that there was nothing of the others. Without one the
     * next flush tells that this one is missing: it begins behind it. */
    if (is_whole)
        send_beat(publisher, from, to, &collections);
    else
        publisher->stats.failures++;
    if (publisher->scratch.capacity > 2 * KEPT_CAPACITY) merle_buffer_free(&publisher->scratch);
    publisher->stats.flushes++;
}

static merle_err put_all_down(merle_publisher *publisher, const merle_change *changes, size_t count,
                              size_t *bytes) {
    for (size_t i = 0; i < count; i++) {
        if (!mrl_news_is_told(&changes[i])) continue;
        merle_err err = put_down(publisher, &changes[i], bytes);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

/* Whole commits, until there is enough: (told_seq, *out_to]. Where what follows is gone, *out_next
 * is beyond that: the next flush begins there, and everybody sees that something is missing. */
static merle_err gather(merle_publisher *publisher, uint64_t visible, uint64_t *out_to,
                        uint64_t *out_next) {
    merle_change changes[MRL_CHUNK_COUNT];
    size_t count = 0, bytes = 0, looked = 0;
    merle_err err = MERLE_OK, told = MERLE_OK;
    mrl_changes_limit(publisher->changes, visible);
    do {
        err = merle_changes_next(publisher->changes, changes, MRL_CHUNK_COUNT, &count);
        if (told == MERLE_OK) told = put_all_down(publisher, changes, count, &bytes);
        looked += count;
        /* A commit is told whole: what is left of one is taken, whatever it is. */
    } while (count > 0 &&
             (mrl_changes_passed(publisher->changes) > 0 ||
              (looked < MRL_PIECE_COUNT && bytes < publisher->options.batch_size_max / 2)));
    *out_to = *out_next = merle_changes_position(publisher->changes);
    if (err == MERLE_GAP) {
        uint64_t first;
        merle_changes_gap(publisher->changes, &first, out_next);
        *out_to = first - 1;
        err = MERLE_OK;
    }
    /* What could not be put down is missing, too. */
    if (told != MERLE_OK) *out_to = publisher->told_seq;
    mrl_changes_rest(publisher->changes);
    return err;
}

merle_err mrl_news_open(merle_publisher *publisher) {
    merle_changes_options options = {.after_seq = publisher->told_seq};
    if (publisher->changes != NULL) return MERLE_OK;
    merle_err err = merle_changes_open(publisher->ground.store->db, &options, &publisher->changes);
    /* Collections in memory only have topics, too: what a file does not have of them is a gap. */
    if (err == MERLE_OK) mrl_changes_be_strict(publisher->changes);
    return err;
}

/* What came up to `next` was not told: nobody may take a batch that follows for the next one. */
static void note_gap(merle_publisher *publisher, uint64_t next, uint64_t now_ns) {
    publisher->stats.news_gaps++;
    publisher->begin_seq = next;
    for (mrl_topic *topic = publisher->topics; topic != NULL; topic = topic->next)
        topic->before = next;
    /* Listeners are not left waiting for the next commit to notice. */
    publisher->beat_ns = now_ns - MRL_BEAT_NS;
}

/* One flush; it tells what has become visible, or as much of it as is bounded. */
static merle_err flush(merle_publisher *publisher, uint64_t visible, uint64_t now_ns) {
    uint64_t from = publisher->told_seq, to = from, next = from;
    merle_err err = mrl_news_open(publisher);
    if (err == MERLE_OK) err = gather(publisher, visible, &to, &next);
    if (to > from) send_flush(publisher, from, to);
    for (mrl_topic *topic = publisher->topics; topic != NULL; topic = topic->next)
        forget_batch(topic);
    publisher->stats.failures += (uint64_t)(err != MERLE_OK);
    publisher->told_seq = next;
    publisher->flushed_ns = publisher->beat_ns = now_ns;
    if (next > to) note_gap(publisher, next, now_ns);
    return err;
}

/* When what is visible may be told: at once, or a moment after the last flush. */
static uint64_t flush_due(const merle_publisher *publisher, uint64_t visible, uint64_t now_ns) {
    uint64_t due_ns = publisher->flushed_ns + publisher->options.gather_ns;
    int is_early = publisher->flushed_ns != 0 && now_ns < due_ns;
    return is_early && visible - publisher->told_seq < MRL_CHUNK_COUNT ? due_ns : now_ns;
}

uint64_t mrl_news_round(merle_publisher *publisher, uint64_t now_ns) {
    uint64_t visible = mrl_publisher_visible(publisher);
    mrl_wire_list none = {0};
    publisher->is_pausing = 0;
    if (publisher->news_socket == NULL) {
        publisher->told_seq = visible;
        return MRL_FOREVER;
    }
    if (visible > publisher->told_seq) {
        uint64_t due_ns = flush_due(publisher, visible, now_ns);
        if (due_ns == now_ns && flush(publisher, visible, now_ns) != MERLE_OK)
            due_ns = now_ns + MRL_RETRY_NS;
        publisher->is_pausing = due_ns > now_ns;
        if (due_ns > now_ns) return due_ns;
        return visible > publisher->told_seq ? now_ns : now_ns + publisher->options.gather_ns;
    }
    if (now_ns - publisher->beat_ns >= MRL_BEAT_NS) {
        send_beat(publisher, visible, visible, &none);
        publisher->beat_ns = now_ns;
    }
    return publisher->beat_ns + MRL_BEAT_NS;
}
