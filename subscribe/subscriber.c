/* subscribe/subscriber.c - opens and closes a subscriber, and turns its crank.
 * SPDX-License-Identifier: Apache-2.0 */
#include "subscribe/subscriber.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "subscribe/subscriber_private.h"

enum {
    NOTICE_GIVEN_MAX = MRL_NOTICE_COUNT / 2, /* of one call: their texts stay until the next one */
    REST_MIN_MS = 20,
    REST_MAX_MS = 5000,
    CHOSEN_ALL_MAX = 65536 /* collections, where all are wanted */
};

/* ---- small things ---- */

uint64_t mrl_subscriber_now(const merle_subscriber *s) {
    return s->clock->monotonic_ns(s->clock->context);
}

mrl_notice *mrl_notice_last(merle_subscriber *s) {
    return &s->notices[(s->notice_first + s->notice_count - 1) % MRL_NOTICE_COUNT];
}

void mrl_notice_add(merle_subscriber *s, merle_heard_kind kind, merle_err err, const char *text) {
    /* Steps stop as soon as there is a notice, so there are never many; still the last one of
     * trouble is overwritten rather than one lost. */
    if (s->notice_count < MRL_NOTICE_COUNT / 2) s->notice_count++;
    *mrl_notice_last(s) = (mrl_notice){.kind = kind, .err = err, .seq = s->at.seq};
    if (text == NULL) text = err == MERLE_OK ? "" : merle_err_text(err);
    (void)snprintf(mrl_notice_last(s)->text, MRL_NOTICE_TEXT_SIZE, "%s", text);
}

void mrl_subscriber_rest(merle_subscriber *s) {
    uint64_t rest_ms = REST_MIN_MS;
    for (uint32_t i = 0; i < s->failures && rest_ms < REST_MAX_MS; i++) rest_ms *= 2;
    if (rest_ms > REST_MAX_MS) rest_ms = REST_MAX_MS;
    if (s->failures < UINT32_MAX) s->failures++;
    /* Not all at the same moment, where many subscribers lost one server. */
    uint64_t rest_ns = rest_ms * MRL_MS;
    rest_ns = rest_ns / 2 + mrl_random_below(&s->random, rest_ns / 2 + 1);
    s->rest_until_ns = mrl_subscriber_now(s) + rest_ns;
}

void mrl_subscriber_refetch(merle_subscriber *s) {
    s->asked = 0;
    s->fetched = s->at.seq;
    s->fetched_position = s->at.position;
    s->is_caught_up = 0;
    s->is_live = 0;
}

void mrl_retire(merle_subscriber *s, mrl_copy_entry *entry) {
    if (entry == NULL) return;
    entry->next = s->retired;
    s->retired = entry;
}

merle_err mrl_spend_reserve(merle_subscriber *s, uint32_t count) {
    mrl_spent *spent = &s->spent;
    if (spent->capacity - spent->count >= count) return MERLE_OK;
    uint32_t capacity = (spent->count + count) * 2;
    mrl_message *messages = mrl_allocate(capacity * sizeof *messages);
    if (messages == NULL) return MERLE_NO_MEMORY;
    if (spent->count > 0) memcpy(messages, spent->messages, spent->count * sizeof *messages);
    free(spent->messages);
    spent->messages = messages;
    spent->capacity = capacity;
    return MERLE_OK;
}

void mrl_spend(merle_subscriber *s, mrl_message *message) {
    MRL_ASSERT(s->spent.count < s->spent.capacity);
    s->spent.messages[s->spent.count++] = *message;
    *message = (mrl_message){.data = NULL};
}

/* What was given by the last call is looked at no more. */
static void free_given(merle_subscriber *s) {
    while (s->retired != NULL) {
        mrl_copy_entry *entry = s->retired;
        s->retired = entry->next;
        free(entry);
    }
    for (uint32_t i = 0; i < s->spent.count; i++) s->net->message_free(&s->spent.messages[i]);
    s->spent.count = 0;
    for (uint32_t i = 0; i < s->chosen_count; i++) {
        mrl_copy_destroy(s->chosen[i]->spent);
        s->chosen[i]->spent = NULL;
    }
    s->notice_given = 0;
    s->stops_call = 0;
}

/* ---- collections ---- */

mrl_chosen *mrl_chosen_by_name(const merle_subscriber *s, merle_bytes name) {
    for (uint32_t i = 0; i < s->chosen_count; i++) {
        mrl_chosen *c = s->chosen[i];
        if (c->name_size == name.size && memcmp(c->name, name.data, name.size) == 0) return c;
    }
    return NULL;
}

mrl_chosen *mrl_chosen_by_id(merle_subscriber *s, uint32_t id) {
    if (s->chosen_count == 0) return NULL;
    mrl_chosen *last = s->chosen[s->chosen_last];
    if (last->has_id && last->id == id) return last;
    for (uint32_t i = 0; i < s->chosen_count; i++) {
        if (!s->chosen[i]->has_id || s->chosen[i]->id != id) continue;
        s->chosen_last = i;
        return s->chosen[i];
    }
    return NULL;
}

merle_err mrl_chosen_add(merle_subscriber *s, merle_bytes name, mrl_chosen **out_chosen) {
    *out_chosen = NULL;
    if (name.size == 0 || name.size > MERLE_NAME_SIZE_MAX ||
        memchr(name.data, 0, name.size) != NULL || s->chosen_count == CHOSEN_ALL_MAX)
        return MERLE_INVALID;
    if (s->chosen_count == s->chosen_capacity) {
        uint32_t capacity = s->chosen_capacity == 0 ? 8 : s->chosen_capacity * 2;
        mrl_chosen **chosen = mrl_allocate(capacity * sizeof(mrl_chosen *));
        if (chosen == NULL) return MERLE_NO_MEMORY;
        if (s->chosen_count > 0) memcpy(chosen, s->chosen, s->chosen_count * sizeof(mrl_chosen *));
        free(s->chosen);
        s->chosen = chosen;
        s->chosen_capacity = capacity;
    }
    mrl_chosen *c = mrl_allocate(sizeof *c);
    if (c == NULL) return MERLE_NO_MEMORY;
    *c = (mrl_chosen){.name_size = (uint32_t)name.size, .number = s->chosen_count};
    memcpy(c->name, name.data, name.size);
    if (s->options.keep && mrl_fill_copy(s, &c->kept) != MERLE_OK) {
        free(c);
        return MERLE_NO_MEMORY;
    }
    s->chosen[s->chosen_count++] = c;
    *out_chosen = c;
    return MERLE_OK;
}

static void chosen_free(mrl_chosen *c) {
    merle_buffer_free(&c->prefix);
    merle_buffer_free(&c->condition_text);
    merle_buffer_free(&c->cursor);
    merle_condition_destroy(c->condition);
    mrl_copy_destroy(c->kept);
    mrl_copy_destroy(c->fresh);
    mrl_copy_destroy(c->spent);
    free(c);
}

/* ---- opening ---- */

static merle_err choose_one(merle_subscriber *s, const merle_wanted *wanted, merle_report *report) {
    mrl_chosen *c;
    merle_bytes name = merle_str(wanted->collection == NULL ? "" : wanted->collection);
    if (mrl_chosen_by_name(s, name) != NULL)
        return mrl_report_fill(report, MERLE_INVALID, "The collection is wanted twice.");
    merle_err err = mrl_chosen_add(s, name, &c);
    if (err != MERLE_OK) return mrl_report_fill(report, err, NULL);
    if (wanted->prefix.size > MERLE_KEY_SIZE_MAX)
        return mrl_report_fill(report, MERLE_TOO_BIG, "The prefix is longer than any key.");
    err = mrl_buffer_append(&c->prefix, wanted->prefix.data, wanted->prefix.size);
    if (err != MERLE_OK) return mrl_report_fill(report, err, NULL);
    if (wanted->prefix.size > 0) s->is_filtered = 1;
    if (wanted->condition == NULL) return MERLE_OK;
    merle_bytes text = merle_str(wanted->condition);
    s->is_filtered = 1;
    if (text.size > MRL_WIRE_CONDITION_MAX)
        return mrl_report_fill(report, MERLE_TOO_BIG, "The condition is too long.");
    err = merle_condition_parse(text, &c->condition, report);
    if (err != MERLE_OK) return err;
    if (merle_condition_parameter_count(c->condition) > 0)
        return mrl_report_fill(report, MERLE_INVALID, "The condition has parameters.");
    err = mrl_buffer_append(&c->condition_text, text.data, text.size);
    return err == MERLE_OK ? err : mrl_report_fill(report, err, NULL);
}

static merle_err choose(merle_subscriber *s, const merle_subscriber_options *options,
                        merle_report *report) {
    merle_err err = MERLE_OK;
    if (options->wanted_count > MERLE_WANTED_COUNT_MAX)
        return mrl_report_fill(report, MERLE_TOO_BIG, "There are more collections than %u.",
                               MERLE_WANTED_COUNT_MAX);
    s->wants_all = options->wanted_count == 0;
    for (size_t i = 0; i < options->wanted_count && err == MERLE_OK; i++)
        err = choose_one(s, &options->wanted[i], report);
    return err;
}

/* What an earlier subscriber's position says of a collection. 0: nothing, or it wanted it in
 * another way. */
static int find_part(merle_bytes position, uint32_t part_count, const mrl_chosen *c,
                     mrl_position_part *out_part) {
    merle_bytes prefix = {c->prefix.data, c->prefix.size};
    merle_bytes condition = {c->condition_text.data, c->condition_text.size};
    for (uint32_t i = 0; i < part_count; i++) {
        mrl_position_part_get(position, i, out_part);
        if (out_part->name.size == c->name_size &&
            memcmp(out_part->name.data, c->name, c->name_size) == 0)
            return out_part->filter == mrl_position_filter(prefix, condition);
    }
    return 0;
}

/* The collections that there were at the position. */
static merle_err begin_all(merle_subscriber *s, merle_bytes position, uint32_t part_count,
                           merle_report *report) {
    mrl_position_part part;
    mrl_chosen *c;
    for (uint32_t i = 0; i < part_count; i++) {
        mrl_position_part_get(position, i, &part);
        merle_err err = mrl_chosen_by_name(s, part.name) != NULL ? MERLE_INVALID
                                                                 : mrl_chosen_add(s, part.name, &c);
        if (err != MERLE_OK) return mrl_report_fill(report, err, NULL);
        c->has_id = part.has_id;
        c->id = part.id;
    }
    return MERLE_OK;
}

/* Where to begin: at a position, with a snapshot of all, or with one of what the position lacks. */
static merle_err begin(merle_subscriber *s, const merle_subscriber_options *options,
                       merle_report *report) {
    mrl_position_part part;
    uint32_t part_count = 0;
    int wants_snapshot = options->begin != MERLE_BEGIN_NOW || options->keep;
    merle_err err = MERLE_OK;
    s->phase = MRL_PHASE_HELLO;
    s->why = MRL_WIRE_BEGIN;
    if (options->position.size > 0) err = mrl_position_read(options->position, &s->at, &part_count);
    if (err != MERLE_OK)
        return mrl_report_fill(report, err, "The position's bytes are none of a subscriber's.");
    s->has_position = options->position.size > 0 && !options->keep;
    if (s->wants_all && !s->at.has_all) s->has_position = 0; /* it lacks what is wanted now */
    if (!s->has_position) {
        s->at = (mrl_position){.seq = 0};
        if (wants_snapshot) mrl_fill_begin(s, NULL, MERLE_REASON_ASKED);
        return MERLE_OK;
    }
    s->why = MRL_WIRE_RESUME;
    s->fetched = s->at.seq;
    if (s->wants_all) return begin_all(s, options->position, part_count, report);
    for (uint32_t i = 0; i < s->chosen_count; i++) {
        mrl_chosen *c = s->chosen[i];
        if (find_part(options->position, part_count, c, &part)) {
            c->has_id = part.has_id;
            c->id = part.id;
        } else if (wants_snapshot && !s->at.has_all) {
            mrl_fill_begin(s, c, MERLE_REASON_ASKED);
        }
    }
    return MERLE_OK;
}

static merle_err subscribe_topics(merle_subscriber *s) {
    uint8_t topic[MERLE_NAME_SIZE_MAX + 1] = {0};
    merle_err err = s->net->topic(s->hear, merle_bytes_of(topic, s->wants_all ? 0 : 1), 1);
    for (uint32_t i = 0; i < s->chosen_count && err == MERLE_OK; i++) {
        const mrl_chosen *c = s->chosen[i];
        memcpy(topic, c->name, c->name_size);
        topic[c->name_size] = 0;
        err = s->net->topic(s->hear, merle_bytes_of(topic, c->name_size + 1), 1);
    }
    return err;
}

static merle_err connect_sockets(merle_subscriber *s, const merle_subscriber_options *options,
                                 const mrl_subscriber_seams *seams, merle_report *report) {
    mrl_net_tls tls = {options->tls_authorities, options->tls_certificate, options->tls_key,
                       options->tls_server_name};
    mrl_net_options o = {.receive_max = s->options.receive_max,
                         .queue = 1024,
                         .queue_size_max = s->options.early_max,
                         .tls = &tls,
                         .ready_context = seams->ready_context,
                         .ready = seams->ready};
    merle_err err = s->net->open(s->net->context, MRL_NET_ASK, &o, &s->ask, report);
    if (err == MERLE_OK) err = s->net->dial(s->ask, options->service, report);
    if (err != MERLE_OK || options->publisher == NULL || s->is_filtered) return err;
    err = s->net->open(s->net->context, MRL_NET_SUBSCRIBE, &o, &s->hear, report);
    if (err == MERLE_OK && (err = subscribe_topics(s)) != MERLE_OK)
        return mrl_report_fill(report, err, NULL);
    return err == MERLE_OK ? s->net->dial(s->hear, options->publisher, report) : err;
}

static void set_defaults(merle_subscriber_options *o) {
    if (o->memory_max == 0) o->memory_max = (uint64_t)1 << 30;
    if (o->early_max == 0) o->early_max = 8u << 20;
    if (o->receive_max == 0) o->receive_max = 40u << 20;
    if (o->answer_max == 0) o->answer_max = 1u << 20;
    if (o->wait_ms == 0) o->wait_ms = 10000;
    if (o->answer_ms == 0) o->answer_ms = 5000;
    if (o->silence_ms == 0) o->silence_ms = 3000;
}

static merle_err set_up(merle_subscriber *s, const merle_subscriber_options *options,
                        merle_report *report) {
    const char *name = options->name == NULL ? "" : options->name;
    s->options = *options;
    set_defaults(&s->options);
    if (options->service == NULL)
        return mrl_report_fill(report, MERLE_INVALID, "There is no address of a service.");
    if (strlen(name) > MRL_WIRE_CLIENT_MAX || options->secret.size > MRL_WIRE_SECRET_MAX)
        return mrl_report_fill(report, MERLE_TOO_BIG, "The name or the secret is too long.");
    memcpy(s->name, name, strlen(name) + 1);
    merle_err err = mrl_buffer_append(&s->secret, options->secret.data, options->secret.size);
    if (err != MERLE_OK) return mrl_report_fill(report, err, NULL);
    err = choose(s, options, report);
    return err == MERLE_OK ? begin(s, options, report) : err;
}

merle_err mrl_subscriber_open(const merle_subscriber_options *options,
                              const mrl_subscriber_seams *seams, merle_subscriber **out_subscriber,
                              merle_report *report) {
    *out_subscriber = NULL;
    merle_subscriber *s = mrl_allocate(sizeof *s);
    if (s == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    *s = (merle_subscriber){.net = seams->net, .clock = seams->clock};
    mrl_random_init(&s->random, seams->seed);
    merle_err err = set_up(s, options, report);
    if (err == MERLE_OK) err = connect_sockets(s, options, seams, report);
    /* The texts are the caller's, and were used. */
    s->options.service = s->options.publisher = s->options.name = NULL;
    s->options.wanted = NULL;
    if (err != MERLE_OK) goto fail;
    *out_subscriber = s;
    return MERLE_OK;
fail:
    mrl_subscriber_close(s);
    return err;
}

void mrl_subscriber_close(merle_subscriber *s) {
    if (s == NULL) return;
    (void)mrl_ask_bye(s);
    free_given(s);
    mrl_run_end(s);
    free_given(s);
    mrl_early_drop_all(s);
    if (s->ask != NULL) s->net->close(s->ask);
    if (s->hear != NULL) s->net->close(s->hear);
    for (uint32_t i = 0; i < s->chosen_count; i++) chosen_free(s->chosen[i]);
    free(s->chosen);
    free(s->early);
    free(s->run.lists);
    free(s->spent.messages);
    merle_buffer_free(&s->secret);
    merle_buffer_free(&s->others);
    merle_buffer_free(&s->question);
    merle_buffer_free(&s->filters);
    merle_buffer_free(&s->patched);
    free(s);
}

/* ---- the crank ---- */

static void give_notice(merle_subscriber *s, merle_heard *out_heard) {
    const mrl_notice *notice = &s->notices[s->notice_first];
    mrl_heard_init(out_heard, notice->kind, notice->chosen);
    out_heard->reason = notice->reason;
    out_heard->err = notice->err;
    out_heard->seq = notice->seq;
    out_heard->text = notice->text;
    s->notice_first = (s->notice_first + 1) % MRL_NOTICE_COUNT;
    s->notice_count--;
    s->notice_given++;
}

size_t mrl_subscriber_next(merle_subscriber *s, merle_heard *out_heard, size_t heard_max) {
    size_t count = 0;
    free_given(s);
    while (count < heard_max && !s->stops_call) {
        if (s->notice_count > 0) {
            if (s->notice_given == NOTICE_GIVEN_MAX) break;
            give_notice(s, &out_heard[count++]);
        } else if (s->is_telling) {
            count += (size_t)mrl_fill_tell(s, &out_heard[count]);
        } else if (s->run.is_on) {
            count += (size_t)mrl_tell_step(s, &out_heard[count]);
        } else if (!mrl_hear_step(s) && !mrl_ask_step(s)) {
            break;
        }
    }
    return count;
}

uint64_t mrl_subscriber_due_ns(const merle_subscriber *s) {
    if (s->notice_count > 0 || s->is_telling || s->run.is_on) return 0;
    return mrl_ask_due_ns(s);
}

/* ---- what the application asks ---- */

merle_err merle_subscriber_position(const merle_subscriber *s, merle_buffer *out_position) {
    merle_err err;
    out_position->size = 0;
    if (!s->has_position || s->is_filling) return MERLE_NOT_READY;
    mrl_position at = s->at;
    at.has_all = s->wants_all;
    err = mrl_position_write_begin(&at, s->chosen_count, out_position);
    for (uint32_t i = 0; i < s->chosen_count && err == MERLE_OK; i++) {
        const mrl_chosen *c = s->chosen[i];
        mrl_position_part part = {
            .name = {c->name, c->name_size},
            .has_id = c->has_id,
            .id = c->id,
            .filter = mrl_position_filter(
                merle_bytes_of(c->prefix.data, c->prefix.size),
                merle_bytes_of(c->condition_text.data, c->condition_text.size))};
        err = mrl_position_write_part(&part, out_position);
    }
    if (err == MERLE_OK) err = mrl_position_write_end(out_position);
    if (err != MERLE_OK) out_position->size = 0;
    return err;
}

merle_err merle_subscriber_get(const merle_subscriber *s, const char *collection, merle_bytes key,
                               merle_doc *out_doc) {
    *out_doc = (merle_doc){NULL, 0, 0, NULL};
    if (!s->options.keep) return MERLE_INVALID;
    const mrl_chosen *c = mrl_chosen_by_name(s, merle_str(collection));
    const mrl_copy_entry *entry = c == NULL || key.size == 0 ? NULL : mrl_copy_get(c->kept, key);
    if (entry == NULL) return MERLE_NOT_FOUND;
    *out_doc = mrl_copy_document(entry);
    return MERLE_OK;
}

merle_err merle_subscriber_each(const merle_subscriber *s, const char *collection,
                                merle_kept_fn *fn, void *context) {
    size_t cursor = 0;
    const mrl_copy_entry *entry;
    if (!s->options.keep) return MERLE_INVALID;
    const mrl_chosen *c = mrl_chosen_by_name(s, merle_str(collection));
    if (c == NULL) return MERLE_NOT_FOUND;
    while ((entry = mrl_copy_next(c->kept, &cursor)) != NULL)
        if (fn(context, mrl_copy_key(entry), mrl_copy_document(entry)) != 0) break;
    return MERLE_OK;
}

static void count_copy(const mrl_copy *copy, merle_subscriber_stats *stats) {
    if (copy == NULL) return;
    stats->documents += mrl_copy_count(copy);
    stats->bytes_held += mrl_copy_bytes(copy);
}

merle_err merle_subscriber_get_stats(const merle_subscriber *s, merle_subscriber_stats *out_stats) {
    size_t size = out_stats->size == 0 ? sizeof *out_stats : out_stats->size;
    merle_subscriber_stats stats = s->stats;
    if (size > sizeof stats) return MERLE_INVALID;
    stats.size = size;
    stats.seq = s->at.seq;
    stats.newest = s->newest;
    if (s->has_position) mrl_wire_history_get(&s->at.history, stats.database_id, &stats.term_id);
    for (uint32_t i = 0; i < s->chosen_count; i++) {
        count_copy(s->chosen[i]->kept, &stats);
        count_copy(s->chosen[i]->fresh, &stats);
    }
    stats.bytes_early = s->early_bytes;
    stats.is_connected = (uint32_t)s->is_connected;
    stats.is_live = (uint32_t)s->is_live;
    memcpy(out_stats, &stats, size);
    return MERLE_OK;
}

const char *mrl_subscriber_check(const merle_subscriber *s) {
    uint64_t early_bytes = 0;
    for (uint32_t i = 0; i < s->early_count; i++) early_bytes += s->early[i].message.size;
    if (early_bytes != s->early_bytes) return "the bytes of early news are counted wrong";
    if (early_bytes > s->options.early_max) return "there are more early news than may be";
    int is_filling = 0;
    uint64_t held_bytes = 0;
    for (uint32_t i = 0; i < s->chosen_count; i++) {
        const mrl_chosen *c = s->chosen[i];
        if (c->kept != NULL) held_bytes += mrl_copy_bytes(c->kept);
        if (c->fresh != NULL) held_bytes += mrl_copy_bytes(c->fresh);
        if (c->spent != NULL) held_bytes += mrl_copy_bytes(c->spent);
        if (s->chosen[i]->number != i) return "a collection has a wrong number";
        is_filling |= s->chosen[i]->is_filling;
        if (!s->chosen[i]->is_filling && s->chosen[i]->fresh != NULL)
            return "a collection has a fresh copy, and is not filled";
        if (s->options.keep && s->chosen[i]->kept == NULL) return "a copy is not kept";
    }
    if (held_bytes != s->held_bytes) return "the bytes of documents are counted wrong";
    if (is_filling && !s->is_filling) return "a collection is filled that nobody waits for";
    if (s->is_live && s->phase == MRL_PHASE_PAGES) return "it is live amid a snapshot";
    return NULL;
}
