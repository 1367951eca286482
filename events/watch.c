/* events/watch.c - watches: opened, drained, closed.
 *
 * A watch is a cursor over the log (store/changes.c) that says of each change what it was, passes
 * over what its filters do not want, and is woken. Nothing is queued for it: the ring is the queue,
 * with its bound, whoever reads it. So a watch that stalls costs its writers nothing, and is told
 * what it missed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "events/watch.h"

enum { ROUNDS_MAX = 4 };

merle_err mrl_watch_enter(const merle_watch *watch) {
    if (watch == NULL) return MERLE_INVALID;
    if (mrl_domain_is_forked(watch->store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(watch->store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    return member == watch->member ? MERLE_OK : MERLE_WRONG_THREAD;
}

/* ---- opening ---- */

static merle_err complete(const merle_watch_options *given, merle_watch_options *out) {
    memset(out, 0, sizeof *out);
    size_t size = given == NULL ? 0 : given->size == 0 ? sizeof *given : given->size;
    /* A program built against an older header has a shorter struct: the rest stays zero. */
    if (size > sizeof *out) return MERLE_INVALID;
    if (size > 0) memcpy(out, given, size);
    if (out->filter_count > MERLE_WATCH_FILTER_COUNT_MAX) return MERLE_INVALID;
    if (out->latest_max > MERLE_WATCH_LATEST_MAX) return MERLE_INVALID;
    if (out->latest_max == 0) out->latest_max = MRL_WATCH_LATEST_COUNT;
    return MERLE_OK;
}

/* Bytes that a filter's copies take; each begins at a multiple of 8. */
static size_t rounded(size_t size) {
    return (size + 7) & ~(size_t)7;
}

static size_t filter_size(const merle_watch_filter *given) {
    size_t size = rounded(given->key.size) + rounded(given->prefix.size) +
                  rounded(given->value_count * sizeof(merle_value));
    for (size_t i = 0; i < given->value_count; i++) size += rounded(given->values[i].bytes.size);
    return size;
}

static merle_bytes copy_bytes(uint8_t **at, merle_bytes bytes) {
    if (bytes.size == 0) return merle_bytes_of(NULL, 0);
    memcpy(*at, bytes.data, bytes.size);
    merle_bytes copy = merle_bytes_of(*at, bytes.size);
    *at += rounded(bytes.size);
    return copy;
}

static void copy_filter(const merle_watch_filter *given, uint8_t **at, mrl_filter *out) {
    memset(out, 0, sizeof *out);
    out->collection_id = given->collection == NULL ? 0 : given->collection->id;
    out->condition = given->condition;
    out->value_count = given->value_count;
    merle_value *values = (merle_value *)(void *)*at;
    out->values = values;
    *at += rounded(given->value_count * sizeof *values);
    for (size_t i = 0; i < given->value_count; i++) {
        values[i] = given->values[i];
        if (values[i].bytes.size > 0) values[i].bytes = copy_bytes(at, values[i].bytes);
    }
    out->key = copy_bytes(at, given->key);
    out->prefix = copy_bytes(at, given->prefix);
}

/* Whether the condition can be asked with these values: of the empty document. */
static merle_err try_condition(const merle_watch_filter *given) {
    static const uint8_t empty = 0x80;
    const merle_doc nothing = {&empty, 1, 0, NULL};
    int matches;
    if (given->condition == NULL) return MERLE_OK;
    return merle_condition_match(given->condition, nothing, given->values, given->value_count,
                                 &matches);
}

static merle_err check_filters(const mrl_store *store, const merle_watch_options *options) {
    for (size_t i = 0; i < options->filter_count; i++) {
        const merle_watch_filter *given = &options->filters[i];
        if (given->collection != NULL && given->collection->store != store) return MERLE_INVALID;
        if (given->key.size > MERLE_KEY_SIZE_MAX || given->prefix.size > MERLE_KEY_SIZE_MAX)
            return MERLE_INVALID;
        merle_err err = try_condition(given);
        if (err != MERLE_OK) return err;
    }
    return MERLE_OK;
}

static merle_err copy_filters(merle_watch *watch, const merle_watch_options *options) {
    size_t size = options->filter_count * sizeof(mrl_filter);
    if (size == 0) return MERLE_OK;
    for (size_t i = 0; i < options->filter_count; i++) size += filter_size(&options->filters[i]);
    watch->memory = mrl_alloc(watch->member, MRL_FOR_OTHER, size);
    if (watch->memory == NULL) return MERLE_NO_MEMORY;
    watch->memory_size = size;
    watch->filters = watch->memory;
    watch->filter_count = options->filter_count;
    uint8_t *at = (uint8_t *)(watch->filters + options->filter_count);
    for (size_t i = 0; i < options->filter_count; i++) {
        copy_filter(&options->filters[i], &at, &watch->filters[i]);
        if (options->filters[i].condition != NULL) watch->needs_documents = 1;
    }
    return MERLE_OK;
}

/* The collection that all filters have in common; NULL: none. */
static merle_collection *common_collection(const merle_watch_options *options) {
    merle_collection *common = options->filter_count > 0 ? options->filters[0].collection : NULL;
    for (size_t i = 0; i < options->filter_count; i++)
        if (options->filters[i].collection != common) return NULL;
    return common;
}

static merle_err open_changes(merle_watch *watch, const merle_watch_options *options) {
    merle_changes_options asked = {.size = sizeof asked,
                                   .after_seq = options->from_seq - 1, /* 0: UINT64_MAX, the next */
                                   .collection = common_collection(options),
                                   .want_after = watch->needs_documents,
                                   .want_before = watch->needs_documents};
    merle_err err = merle_changes_open(watch->db, &asked, &watch->changes);
    /* Of one collection it is strict by itself, if that is memory-only. */
    if (err == MERLE_OK && asked.collection == NULL) mrl_changes_be_strict(watch->changes);
    return err;
}

static void follow(merle_watch *watch) {
    mrl_follow what = !watch->is_durable                         ? MRL_FOLLOW_PUBLISHED
                      : watch->store->durability == MERLE_MEMORY ? MRL_FOLLOW_WRITTEN
                                                                 : MRL_FOLLOW_DURABLE;
    mrl_event_init(&watch->event);
    mrl_follower_init(&watch->follower, watch->store->log, what, &watch->event, -1);
}

static void destroy(merle_watch *watch, mrl_member *member) {
    if (watch->changes != NULL) merle_changes_close(watch->changes);
    mrl_latest_fini(watch, member);
    if (watch->memory != NULL) mrl_free(member, MRL_FOR_OTHER, watch->memory, watch->memory_size);
    mrl_free(member, MRL_FOR_OTHER, watch, sizeof *watch);
}

static merle_err begin(merle_watch *watch, const merle_watch_options *options) {
    watch->wants_documents = options->documents != 0;
    watch->needs_documents = watch->wants_documents && options->latest == 0;
    watch->is_durable = options->durable != 0;
    watch->is_latest = options->latest != 0;
    watch->behind_max = options->behind_max;
    watch->fd = watch->event_fd = watch->timer_fd = -1;
    merle_err err = copy_filters(watch, options);
    if (err == MERLE_OK && watch->is_latest) err = mrl_latest_init(watch, options->latest_max);
    if (err == MERLE_OK) err = open_changes(watch, options);
    if (err != MERLE_OK) return err;
    follow(watch);
    watch->latest.position = merle_changes_position(watch->changes);
    return MERLE_OK;
}

merle_err merle_watch_open(merle_db *db, const merle_watch_options *options,
                           merle_watch **out_watch) {
    merle_watch_options asked;
    *out_watch = NULL;
    if (db == NULL) return MERLE_INVALID;
    mrl_store *store = mrl_db_store(db);
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    merle_err err = complete(options, &asked);
    if (err == MERLE_OK) err = check_filters(store, &asked);
    if (err != MERLE_OK) return err;
    merle_watch *watch = mrl_alloc(member, MRL_FOR_OTHER, sizeof *watch);
    if (watch == NULL) return MERLE_NO_MEMORY;
    memset(watch, 0, sizeof *watch);
    watch->db = db;
    watch->store = store;
    watch->member = member;
    err = begin(watch, &asked);
    if (err != MERLE_OK) goto fail;
    *out_watch = watch;
    return MERLE_OK;
fail:
    destroy(watch, member);
    return err;
}

void merle_watch_close(merle_watch *watch) {
    if (watch == NULL || mrl_domain_is_forked(watch->store->domain)) return;
    mrl_member *member = mrl_member_join(watch->store->domain);
    /* In a thread that is not the owner's it does nothing; merle_close then says that it is
     * open. */
    const mrl_member *owner = mrl_changes_owner(watch->changes);
    if (member == NULL || (owner != NULL && owner != member)) return;
    /* The section of a thread that has ended was ended with it. */
    if (owner != NULL) mrl_latest_rest(&watch->latest);
    mrl_follower_close(&watch->follower);
    mrl_watch_close_fds(watch);
    destroy(watch, member);
}

/* ---- one change ---- */

merle_collection *mrl_watch_collection(merle_watch *watch, uint32_t id) {
    merle_collection *at = watch->collection;
    if (at != NULL && at->id == id) return at;
    at = atomic_load_explicit(&watch->store->collections, memory_order_acquire);
    while (at != NULL && at->id != id) at = atomic_load_explicit(&at->next, memory_order_acquire);
    if (at != NULL) watch->collection = at;
    return at;
}

/* What a change is to those who watch. 0: nothing. A bulk load is told when it has ended: what it
 * has put may still be thrown away. */
static merle_event_kind kind_of(const merle_change *change) {
    if (change->origin == MERLE_ORIGIN_LOAD && change->kind != MERLE_CHANGE_LOADED)
        return (merle_event_kind)0;
    switch (change->kind) {
    case MERLE_CHANGE_PUT:
        return change->is_new ? MERLE_EVENT_INSERT : MERLE_EVENT_UPDATE;
    case MERLE_CHANGE_PATCH:
        return MERLE_EVENT_UPDATE;
    case MERLE_CHANGE_REMOVE:
        return change->was_due ? MERLE_EVENT_EXPIRE : MERLE_EVENT_REMOVE;
    case MERLE_CHANGE_DEFINE:
        return MERLE_EVENT_DEFINED;
    case MERLE_CHANGE_TRUNCATE:
        return MERLE_EVENT_TRUNCATED;
    case MERLE_CHANGE_DROP:
        return MERLE_EVENT_DROPPED;
    case MERLE_CHANGE_LOADED:
        return MERLE_EVENT_LOADED;
    case MERLE_CHANGE_SEQUENCE:
        break;
    }
    return (merle_event_kind)0;
}

/* The documents of an event of this kind, as far as the change has them. */
static void happening_of(const merle_change *change, merle_event_kind kind, mrl_happening *out) {
    memset(out, 0, sizeof *out);
    out->collection_id = change->collection_id;
    out->key = change->key;
    int ends = kind == MERLE_EVENT_REMOVE || kind == MERLE_EVENT_EXPIRE;
    if (kind != MERLE_EVENT_INSERT) out->before = change->before;
    if (!ends) out->after = change->after;
    out->knows_before = kind == MERLE_EVENT_INSERT || out->before.data != NULL;
    out->knows_after = ends || out->after.data != NULL;
}

static int is_wanted(merle_watch *watch, const merle_change *change, merle_event_kind kind,
                     merle_event *out) {
    mrl_happening h;
    happening_of(change, kind, &h);
    mrl_fit fit = mrl_filter_judge(watch->filters, watch->filter_count, &h);
    if (fit == MRL_FIT_NO) return 0;
    memset(out, 0, sizeof *out);
    out->kind = kind;
    out->is_unknown = fit == MRL_FIT_MAYBE || (watch->wants_documents && h.key.size > 0 &&
                                               !(h.knows_before && h.knows_after));
    out->seq = change->seq;
    out->position = change->position;
    out->count = change->count;
    out->collection = mrl_watch_collection(watch, change->collection_id);
    out->key = change->key;
    if (watch->wants_documents) out->before = h.before;
    out->after = h.after;
    out->effect = change->effect;
    out->change = change;
    return 1;
}

/* Makes the next event of the batch's next change. 0: the change has none that is wanted. */
static int take_event(merle_watch *watch, merle_event *out) {
    const merle_change *change = &watch->batch[watch->batch_at];
    merle_event_kind kind = kind_of(change);
    /* An insert over a document that was past its time: first that one ends. */
    if (change->was_due && kind == MERLE_EVENT_INSERT && !watch->is_half) {
        watch->is_half = 1;
        kind = MERLE_EVENT_EXPIRE;
    } else {
        watch->is_half = 0;
        watch->batch_at++;
    }
    if (kind != 0 && is_wanted(watch, change, kind, out)) return 1;
    watch->stats.unwanted++;
    return 0;
}

/* ---- draining ---- */

static merle_err note_gap(merle_watch *watch) {
    uint64_t first, last;
    merle_changes_gap(watch->changes, &first, &last);
    watch->stats.gaps++;
    watch->stats.missed += last - first + 1;
    watch->is_half = 0; /* the change of which it was a half lies in there */
    return MERLE_GAP;
}

/* Whether it is further behind than it may be. What it mends it has asked for. */
static int is_too_late(const merle_watch *watch) {
    uint64_t position = merle_changes_position(watch->changes);
    return watch->behind_max != 0 && position >= watch->mend_until &&
           mrl_changes_passed(watch->changes) == 0 && watch->limit > position &&
           watch->limit - position > watch->behind_max;
}

/* The next batch of the cursor, of at most `max`; none: it is drained. */
static merle_err fetch(merle_watch *watch, size_t max) {
    watch->batch_at = watch->batch_count = 0;
    if (is_too_late(watch)) {
        mrl_changes_skip(watch->changes, watch->limit - watch->behind_max);
        return note_gap(watch);
    }
    merle_err err =
        merle_changes_next(watch->changes, watch->batch,
                           max < MRL_WATCH_BATCH ? max : MRL_WATCH_BATCH, &watch->batch_count);
    return err == MERLE_GAP ? note_gap(watch) : err;
}

/* What is left of a batch lies in the cursor's section: an event more than one batch has must wait
 * for the next call. */
static merle_err drain(merle_watch *watch, merle_event *out_events, size_t event_max,
                       size_t *out_count) {
    for (;;) {
        while (watch->batch_at < watch->batch_count && *out_count < event_max)
            *out_count += (size_t)take_event(watch, &out_events[*out_count]);
        if (*out_count > 0) return MERLE_OK;
        merle_err err = fetch(watch, MRL_WATCH_BATCH);
        if (err != MERLE_OK || watch->batch_count == 0) return err;
    }
}

/* Notes all there is up to now, as far as there is room. What it was noted from is needed no
 * more. */
static merle_err begin_round(merle_watch *watch) {
    mrl_latest *latest = &watch->latest;
    merle_event event;
    merle_err err = MERLE_OK;
    mrl_latest_begin(watch);
    while (err == MERLE_OK && latest->count < latest->capacity) {
        err = fetch(watch, latest->capacity - latest->count);
        if (watch->batch_count == 0) break;
        while (watch->batch_at < watch->batch_count && err == MERLE_OK)
            if (take_event(watch, &event)) err = mrl_latest_note(watch, &event);
    }
    watch->batch_at = watch->batch_count = 0;
    if (err == MERLE_NO_MEMORY) {
        /* All of it again, when there is some: what was noted is forgotten, table and all. */
        watch->is_half = 0;
        mrl_changes_begin_at(watch->changes, latest->position, latest->passed);
        mrl_latest_begin(watch);
    } else {
        mrl_changes_rest(watch->changes);
    }
    if (err != MERLE_GAP || latest->count == 0) return err;
    /* What was noted comes first. */
    latest->has_gap = 1;
    return MERLE_OK;
}

static merle_err drain_latest(merle_watch *watch, merle_event *out_events, size_t event_max,
                              size_t *out_count) {
    mrl_latest *latest = &watch->latest;
    mrl_latest_rest(latest);
    if (latest->given == latest->count) {
        if (latest->has_gap) {
            latest->has_gap = 0;
            mrl_latest_begin(watch);
            return MERLE_GAP;
        }
        merle_err err = begin_round(watch);
        if (err != MERLE_OK) return err;
    }
    return mrl_latest_give(watch, out_events, event_max, out_count);
}

merle_err merle_watch_next(merle_watch *watch, merle_event *out_events, size_t event_max,
                           size_t *out_count) {
    *out_count = 0;
    merle_err err = mrl_watch_enter(watch);
    if (err != MERLE_OK) return err;
    if (out_events == NULL || event_max == 0) return MERLE_INVALID;
    int rounds = 0;
    do {
        /* One call does not run after a writer for ever. */
        watch->limit = mrl_follower_seq(&watch->follower);
        mrl_changes_limit(watch->changes, watch->limit);
        err = watch->is_latest ? drain_latest(watch, out_events, event_max, out_count)
                               : drain(watch, out_events, event_max, out_count);
        watch->may_mend = err == MERLE_GAP;
        if (err != MERLE_OK) return err;
        watch->stats.events += *out_count;
    } while (*out_count == 0 && !mrl_watch_settle(watch, ++rounds == ROUNDS_MAX));
    return MERLE_OK;
}

/* ---- between calls ---- */

void merle_watch_rest(merle_watch *watch) {
    if (mrl_watch_enter(watch) != MERLE_OK) return;
    mrl_latest_rest(&watch->latest);
    if (watch->batch_at < watch->batch_count) {
        /* What was not given yet is read again. */
        const merle_change *next = &watch->batch[watch->batch_at];
        mrl_changes_begin_at(watch->changes, next->seq - 1, next->position);
    } else {
        mrl_changes_rest(watch->changes);
    }
    watch->batch_at = watch->batch_count = 0;
}

void merle_watch_gap(const merle_watch *watch, uint64_t *out_first_seq, uint64_t *out_last_seq) {
    merle_changes_gap(watch->changes, out_first_seq, out_last_seq);
}

merle_err merle_watch_mend(merle_watch *watch) {
    merle_err err = mrl_watch_enter(watch);
    if (err != MERLE_OK) return err;
    if (!watch->may_mend) return MERLE_NOT_FOUND;
    err = mrl_changes_mend(watch->changes);
    if (err != MERLE_OK) return err;
    uint64_t first, last;
    merle_changes_gap(watch->changes, &first, &last);
    watch->stats.missed -= last - first + 1;
    watch->mend_until = last;
    watch->may_mend = 0;
    return MERLE_OK;
}

uint64_t merle_watch_position(const merle_watch *watch) {
    /* A gap that was not told yet is not behind us either. */
    if (watch->latest.given < watch->latest.count || watch->latest.has_gap)
        return watch->latest.position;
    if (watch->batch_at < watch->batch_count) return watch->batch[watch->batch_at].seq - 1;
    return merle_changes_position(watch->changes);
}

merle_err merle_watch_stat(const merle_watch *watch, merle_watch_stats *out_stats) {
    if (watch == NULL || out_stats == NULL) return MERLE_INVALID;
    size_t size = out_stats->size == 0 ? sizeof *out_stats : out_stats->size;
    if (size > sizeof *out_stats) return MERLE_INVALID;
    merle_watch_stats stats = watch->stats;
    stats.size = size;
    stats.position = merle_watch_position(watch);
    stats.published = mrl_log_published_at(watch->store->published);
    memcpy(out_stats, &stats, size);
    return MERLE_OK;
}
