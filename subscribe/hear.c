/* subscribe/hear.c - the publisher's news: kept until the beat that closes their flush has come.
 *
 * News can be lost, come late or twice. So a flush counts only where it goes on from `at`, and only
 * if each batch that its beat names and that is wanted is there; otherwise the service is asked.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/buffer.h"
#include "subscribe/subscriber_private.h"

enum { RECEIVE_COUNT_MAX = 64 }; /* messages of one step */

int mrl_hear_is_usable(const merle_subscriber *s) {
    return s->hear != NULL && s->has_data_on_news;
}

/* ---- what waits ---- */

static void early_remove(merle_subscriber *s, uint32_t number) {
    s->early_bytes -= s->early[number].message.size;
    s->net->message_free(&s->early[number].message);
    s->early_count--;
    memmove(&s->early[number], &s->early[number + 1],
            (s->early_count - number) * sizeof s->early[0]);
}

void mrl_early_drop_all(merle_subscriber *s) {
    while (s->early_count > 0) early_remove(s, s->early_count - 1);
}

void mrl_early_drop_old(merle_subscriber *s) {
    uint32_t kept = 0;
    if (!s->has_position) return;
    for (uint32_t i = 0; i < s->early_count; i++) {
        mrl_early *early = &s->early[i];
        int is_ours = mrl_history_equal(&early->news.history, &s->at.history);
        /* Of a term that is over: the service tells what became of it. */
        int is_late = s->has_server && !mrl_history_equal(&early->news.history, &s->server);
        if (is_late || (is_ours && early->news.to <= s->at.seq)) {
            s->early_bytes -= early->message.size;
            s->net->message_free(&early->message);
        } else {
            s->early[kept++] = *early;
        }
    }
    s->early_count = kept;
}

/* Takes the message. */
static void early_add(merle_subscriber *s, mrl_message *message, const mrl_wire_news *news) {
    if (s->early_bytes + message->size > s->options.early_max) {
        /* Nothing is lost by that: the service has it all. */
        s->lost_untold += s->early_count + 1;
        s->stats.batches_lost += s->early_count + 1;
        mrl_early_drop_all(s);
        s->net->message_free(message);
        return;
    }
    if (s->early_count == s->early_capacity) {
        uint32_t capacity = s->early_capacity == 0 ? 16 : s->early_capacity * 2;
        mrl_early *early = mrl_allocate(capacity * sizeof *early);
        if (early == NULL) {
            s->net->message_free(message);
            return;
        }
        if (s->early_count > 0) memcpy(early, s->early, s->early_count * sizeof *early);
        free(s->early);
        s->early = early;
        s->early_capacity = capacity;
    }
    s->early_bytes += message->size;
    s->early[s->early_count++] = (mrl_early){*message, *news};
    *message = (mrl_message){.data = NULL};
}

/* ---- flushes ---- */

static int is_other(const merle_subscriber *s, uint32_t id) {
    for (size_t at = 0; at < s->others.size; at += sizeof id)
        if (mrl_load_u32(s->others.data + at) == id) return 1;
    return 0;
}

/* The batch of this flush that is of this collection; early_count: it is not there. */
static uint32_t find_batch(const merle_subscriber *s, const mrl_wire_news *beat, uint32_t id) {
    for (uint32_t i = 0; i < s->early_count; i++) {
        const mrl_wire_news *news = &s->early[i].news;
        if (news->type == MRL_WIRE_BATCH && news->collection_id == id && news->from == beat->from &&
            news->to == beat->to && mrl_history_equal(&news->history, &beat->history))
            return i;
    }
    return s->early_count;
}

typedef enum flush_state { FLUSH_WHOLE, FLUSH_LACKS, FLUSH_STRANGE, FLUSH_BAD } flush_state;

/* Whether all batches are there that concern us. */
static flush_state look_at_flush(merle_subscriber *s, const mrl_wire_news *beat) {
    mrl_wire_list ids = beat->collections;
    uint32_t id;
    merle_err err;
    flush_state state = FLUSH_WHOLE;
    while ((err = mrl_wire_id_next(&ids, &id)) == MERLE_OK) {
        uint32_t at = find_batch(s, beat, id);
        if (at < s->early_count && s->early[at].news.commits.at != NULL) continue;
        if (at < s->early_count || s->wants_all || mrl_chosen_by_id(s, id) != NULL)
            state = FLUSH_LACKS;
        else if (!is_other(s, id) && state == FLUSH_WHOLE)
            state = FLUSH_STRANGE; /* it may be one of ours that was made meanwhile */
    }
    return err == MERLE_NOT_FOUND ? state : FLUSH_BAD;
}

/* The news cannot be relied on just now: asks the service. */
static void go_back(merle_subscriber *s, mrl_wire_why why) {
    s->is_live = 0;
    s->is_caught_up = 0;
    s->why = why;
}

static void lose_flush(merle_subscriber *s, uint32_t beat_number, flush_state state) {
    s->lost_untold++;
    s->stats.batches_lost++;
    if (state == FLUSH_BAD) s->stats.rejected++;
    if (state == FLUSH_STRANGE) s->phase = MRL_PHASE_HELLO; /* its list of names tells */
    early_remove(s, beat_number);
    go_back(s, MRL_WIRE_AFTER_GAP);
}

/* Makes a run of the batches. */
static void take_flush(merle_subscriber *s, uint32_t beat_number) {
    mrl_wire_news beat = s->early[beat_number].news;
    mrl_wire_list ids = beat.collections;
    uint32_t id;
    merle_err err = MERLE_OK;
    mrl_run_begin(s, beat.from, beat.to, 0);
    s->run.is_news = 1;
    while (err == MERLE_OK && mrl_wire_id_next(&ids, &id) == MERLE_OK) {
        uint32_t at = find_batch(s, &beat, id);
        if (at == s->early_count) continue;
        mrl_wire_list commits = s->early[at].news.commits;
        mrl_message message = s->early[at].message;
        s->early[at].message = (mrl_message){.data = NULL, .size = message.size};
        err = mrl_run_add(s, &message, &commits);
        early_remove(s, at);
    }
    /* The beat itself is behind `at` when the run is over, and is dropped then. */
    if (err == MERLE_OK) return;
    mrl_run_end(s);
    go_back(s, MRL_WIRE_AFTER_GAP);
}

/* The first beat that goes on from here. *out_is_ahead: there is one, but it begins later. */
static uint32_t find_beat(const merle_subscriber *s, int *out_is_ahead) {
    *out_is_ahead = 0;
    for (uint32_t i = 0; i < s->early_count; i++) {
        const mrl_wire_news *news = &s->early[i].news;
        if (news->type != MRL_WIRE_BEAT || !mrl_history_equal(&news->history, &s->at.history))
            continue;
        if (news->from <= s->at.seq) return i;
        *out_is_ahead = 1;
    }
    return s->early_count;
}

static int try_flush(merle_subscriber *s) {
    int is_ahead;
    if (s->phase != MRL_PHASE_CHANGES || !s->has_position || !mrl_hear_is_usable(s)) return 0;
    if (s->is_filling && mrl_fill_next(s) != NULL) return 0;
    /* The server was opened anew, and has not said yet that our position is one of its past. */
    if (!mrl_history_equal(&s->at.history, &s->server)) return 0;
    uint32_t number = find_beat(s, &is_ahead);
    if (number == s->early_count) {
        if (!is_ahead || !s->is_live) return 0;
        s->lost_untold++;
        s->stats.batches_lost++;
        go_back(s, MRL_WIRE_AFTER_GAP);
        return 1;
    }
    const mrl_wire_news *beat = &s->early[number].news;
    if (beat->to <= s->at.seq) {
        /* Nothing new. Where it is the present, the publisher is where we are. */
        if (s->is_caught_up) s->is_live = 1;
        early_remove(s, number);
        return 1;
    }
    flush_state state = look_at_flush(s, beat);
    if (state != FLUSH_WHOLE) {
        lose_flush(s, number, state);
        return 1;
    }
    s->is_live = 1;
    s->is_caught_up = 1;
    take_flush(s, number);
    return 1;
}

/* ---- receiving ---- */

/* Where one collection alone is wanted its batch is all there is: no need to wait for the beat. 1:
 * the message was taken. */
static int take_alone(merle_subscriber *s, mrl_message *message, const mrl_wire_news *news) {
    if (s->wants_all || s->chosen_count != 1 || !s->is_live || s->early_count > 0 ||
        s->phase != MRL_PHASE_CHANGES || s->is_filling)
        return 0;
    const mrl_chosen *c = s->chosen[0];
    if (!c->has_id || c->id != news->collection_id || news->commits.at == NULL ||
        news->from > s->at.seq || news->to <= s->at.seq)
        return 0;
    mrl_run_begin(s, news->from, news->to, 0);
    s->run.is_news = 1;
    s->run.is_alone = 1;
    if (mrl_run_add(s, message, &news->commits) != MERLE_OK) {
        mrl_run_end(s);
        go_back(s, MRL_WIRE_AFTER_GAP);
    }
    return 1;
}

/* Takes the message. */
static void take_news(merle_subscriber *s, mrl_message *message) {
    mrl_wire_news news;
    s->stats.messages++;
    s->stats.bytes += message->size;
    merle_err err = mrl_wire_news_read(merle_bytes_of(message->data, message->size), &news);
    if (err != MERLE_OK || news.to < news.from) {
        s->stats.rejected++;
        go_back(s, MRL_WIRE_AFTER_GAP);
        s->net->message_free(message);
        return;
    }
    s->news_ns = mrl_subscriber_now(s);
    int is_ours = s->has_position && mrl_history_equal(&news.history, &s->at.history);
    int is_known = s->has_server && mrl_history_equal(&news.history, &s->server);
    if (!is_known) {
        /* The server was opened anew, or these are late words of one that is gone: its service
         * says which. */
        if (s->has_server) s->phase = MRL_PHASE_HELLO;
        s->net->message_free(message);
        return;
    }
    if (news.to > s->newest) s->newest = news.to;
    int is_unwanted =
        news.type == MRL_WIRE_BATCH && !s->wants_all && mrl_chosen_by_name(s, news.name) == NULL;
    if (is_unwanted || (news.type == MRL_WIRE_BATCH && is_ours && news.to <= s->at.seq)) {
        s->net->message_free(message);
        return;
    }
    if (news.type == MRL_WIRE_BATCH && is_ours && take_alone(s, message, &news)) return;
    early_add(s, message, &news);
}

int mrl_hear_step(merle_subscriber *s) {
    int did = 0;
    mrl_message message;
    if (s->hear == NULL) return 0;
    for (int i = 0; i < RECEIVE_COUNT_MAX && !s->run.is_on; i++) {
        if (s->net->receive(s->hear, &message) != MERLE_OK) break;
        take_news(s, &message);
        did = 1;
    }
    if (s->is_live && mrl_subscriber_now(s) - s->news_ns > s->options.silence_ms * MRL_MS) {
        go_back(s, MRL_WIRE_POLL);
        did = 1;
    }
    return s->run.is_on ? 1 : did | try_flush(s);
}
