/* subscribe/ask.c - the dialogue with the service: one question at a time, and what answers mean.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/buffer.h"
#include "base/report.h"
#include "subscribe/subscriber_private.h"

enum {
    /* While the publisher tells everything, the service would forget who asks nothing. */
    KEEP_ALIVE_MS = 20000,
    /* A long poll while the publisher is expected to be heard any moment. */
    SHORT_WAIT_MS = 1000
};

/* ---- asking ---- */

int mrl_ask_is_needed(const merle_subscriber *s) {
    return s->phase != MRL_PHASE_CHANGES || !s->is_live || !s->is_caught_up;
}

uint64_t mrl_ask_due_ns(const merle_subscriber *s) {
    uint64_t due = s->asked_ns + KEEP_ALIVE_MS * MRL_MS;
    if (s->asked != 0)
        due = s->asked_until_ns;
    else if (mrl_ask_is_needed(s))
        due = s->rest_until_ns;
    uint64_t silence = s->news_ns + (s->options.silence_ms + 1) * MRL_MS;
    return s->is_live && silence < due ? silence : due;
}

static merle_err add_filters(merle_subscriber *s) {
    merle_err err = MERLE_OK;
    s->filters.size = 0;
    for (uint32_t i = 0; i < s->chosen_count && err == MERLE_OK; i++) {
        const mrl_chosen *c = s->chosen[i];
        mrl_wire_filter filter = {
            .name = {c->name, c->name_size}, .has_id = c->has_id, .collection_id = c->id};
        if (c->prefix.size > 0) filter.prefix = merle_bytes_of(c->prefix.data, c->prefix.size);
        if (c->condition_text.size > 0)
            filter.condition = merle_bytes_of(c->condition_text.data, c->condition_text.size);
        err = mrl_wire_filter_add(&s->filters, &filter);
    }
    return err;
}

static uint32_t lower(uint32_t a, uint32_t b) {
    return b != 0 && b < a ? b : a;
}

/* Sends what stands in the question. */
static void send(merle_subscriber *s, mrl_wire_question *question) {
    mrl_message message;
    uint64_t now = mrl_subscriber_now(s);
    /* A greeting has it, too: the server forgets who we were. */
    if (s->has_token) question->token = merle_bytes_of(s->token, sizeof s->token);
    s->question.size = 0;
    merle_err err = mrl_wire_question_write(question, &s->question);
    if (err == MERLE_OK) err = s->net->message_make(s->net->context, s->question.size, &message);
    if (err == MERLE_OK) {
        memcpy(message.data, s->question.data, s->question.size);
        message.size = s->question.size;
        err = s->net->send(s->ask, &message);
    }
    if (err != MERLE_OK) {
        mrl_notice_add(s, MERLE_HEARD_TROUBLE, err, NULL);
        mrl_subscriber_rest(s);
        return;
    }
    s->stats.questions++;
    s->asked = question->op;
    s->asked_ns = now;
    s->asked_until_ns = now + (s->options.answer_ms + (uint64_t)question->wait_ms) * MRL_MS;
}

static void ask_hello(merle_subscriber *s) {
    mrl_wire_question question = {.op = MRL_WIRE_HELLO, .client = merle_str(s->name)};
    if (s->secret.size > 0) question.secret = merle_bytes_of(s->secret.data, s->secret.size);
    send(s, &question);
}

static void ask_page(merle_subscriber *s, const mrl_chosen *c) {
    mrl_wire_question question = {.op = MRL_WIRE_SNAPSHOT, .name = {c->name, c->name_size}};
    if (c->prefix.size > 0) question.prefix = merle_bytes_of(c->prefix.data, c->prefix.size);
    if (c->condition_text.size > 0)
        question.condition = merle_bytes_of(c->condition_text.data, c->condition_text.size);
    if (c->cursor.size > 0) question.cursor = merle_bytes_of(c->cursor.data, c->cursor.size);
    question.bytes_max = lower(s->options.answer_max, s->server_bytes_max);
    send(s, &question);
}

static void ask_changes(merle_subscriber *s) {
    /* What lies between `at` and `fetched` is in the run, which is told before the answer is. */
    int is_ahead = s->run.is_on && !s->run.is_news &&
                   mrl_place_order(s->fetched, s->fetched_position, s->at.seq, s->at.position) > 0;
    mrl_wire_question question = {.op = MRL_WIRE_CHANGES,
                                  .history = s->at.history,
                                  .after_seq = is_ahead ? s->fetched : s->at.seq,
                                  .after_position = is_ahead ? s->fetched_position : s->at.position,
                                  .why = s->why,
                                  .lost = s->lost_untold};
    if (!s->wants_all) {
        if (add_filters(s) != MERLE_OK) {
            mrl_subscriber_rest(s);
            return;
        }
        question.filters = mrl_wire_list_of(&s->filters, s->chosen_count);
    }
    if (s->is_caught_up) question.wait_ms = lower(s->options.wait_ms, s->server_wait_ms_max);
    if (mrl_hear_is_usable(s)) question.wait_ms = lower(question.wait_ms, SHORT_WAIT_MS);
    question.bytes_max = lower(s->options.answer_max, s->server_bytes_max);
    s->fetched = question.after_seq;
    s->fetched_position = question.after_position;
    send(s, &question);
    s->why = MRL_WIRE_POLL;
    s->lost_untold = 0;
}

int mrl_ask_bye(merle_subscriber *s) {
    mrl_wire_question question = {.op = MRL_WIRE_BYE};
    if (!s->has_token || !s->is_connected || s->asked == MRL_WIRE_BYE) return 0;
    send(s, &question);
    return s->asked == MRL_WIRE_BYE;
}

int mrl_ask_bye_is_over(merle_subscriber *s) {
    mrl_message message;
    merle_err err = s->net->receive(s->ask, &message);
    if (err == MERLE_OK) s->net->message_free(&message);
    return err != MERLE_NOT_FOUND;
}

/* 1: something was asked. */
static int ask(merle_subscriber *s) {
    uint64_t now = mrl_subscriber_now(s);
    if (now < s->rest_until_ns) return 0;
    if (s->phase == MRL_PHASE_HELLO) {
        ask_hello(s);
    } else if (s->phase == MRL_PHASE_PAGES) {
        ask_page(s, mrl_fill_next(s));
    } else if (mrl_ask_is_needed(s)) {
        ask_changes(s);
    } else if (now - s->asked_ns >= KEEP_ALIVE_MS * MRL_MS) {
        mrl_wire_question question = {.op = MRL_WIRE_NEWEST};
        send(s, &question);
    } else {
        return 0;
    }
    return 1;
}

/* ---- answers ---- */

void mrl_resync(merle_subscriber *s, merle_heard_reason reason, uint64_t seq, mrl_chosen *chosen,
                const char *text) {
    s->stats.gaps++;
    mrl_notice_add(s, MERLE_HEARD_GAP, MERLE_GAP, text);
    mrl_notice_last(s)->reason = reason;
    mrl_notice_last(s)->seq = seq;
    mrl_notice_last(s)->chosen = chosen;
    mrl_fill_begin(s, chosen, reason);
}

static void reject(merle_subscriber *s, const char *text) {
    s->stats.rejected++;
    mrl_notice_add(s, MERLE_HEARD_TROUBLE, MERLE_CORRUPT, text);
    mrl_subscriber_rest(s);
    s->is_caught_up = 0;
}

/* The ids of collections that are not wanted; and, where all are wanted, those that there are. */
static merle_err take_collections(merle_subscriber *s, const mrl_wire_answer *answer) {
    mrl_wire_list list = answer->collections;
    mrl_wire_collection there;
    int is_present = s->fills_all || !s->has_position; /* `at` becomes the present */
    merle_err err;
    s->others.size = 0;
    while ((err = mrl_wire_collection_next(&list, &there)) == MERLE_OK) {
        mrl_chosen *c = mrl_chosen_by_name(s, there.name);
        if (c == NULL && s->wants_all && is_present) {
            err = mrl_chosen_add(s, there.name, &c);
            if (err != MERLE_OK) return err;
            if (s->fills_all) {
                c->is_filling = 1;
                c->reason = MERLE_REASON_ASKED;
            }
            c->has_id = 1;
            c->id = there.id;
        }
        if (c == NULL && !s->wants_all) {
            err = mrl_buffer_append(&s->others, &there.id, sizeof there.id);
            if (err != MERLE_OK) return err;
        } else if (c != NULL && is_present && !c->is_filling) {
            c->has_id = 1;
            c->id = there.id;
        }
    }
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

/* Pages of a term that is gone are of no use: what they showed may have been lost with it. */
static void look_at_fill(merle_subscriber *s, const mrl_wire_answer *answer) {
    int is_other = !mrl_history_equal(&s->fill_history, &answer->history);
    if (s->fills_all && (is_other || !s->has_position)) {
        s->at = (mrl_position){.history = answer->history, .seq = answer->newest};
        s->has_position = 1;
        s->snapshot_seq = 0;
    }
    if (is_other) {
        for (uint32_t i = 0; i < s->chosen_count; i++)
            if (s->chosen[i]->is_filling) mrl_fill_again(s->chosen[i]);
        s->fill_history = answer->history;
        s->snapshot_seq = 0;
    }
    if (s->snapshot_seq < s->at.seq) s->snapshot_seq = s->at.seq;
}

static void take_hello(merle_subscriber *s, const mrl_wire_answer *answer) {
    merle_err err = take_collections(s, answer);
    if (err != MERLE_OK) {
        reject(s, "The greeting's list of collections makes no sense.");
        return;
    }
    memcpy(s->token, answer->token, sizeof s->token);
    s->has_token = 1;
    s->server = answer->history;
    s->has_server = 1;
    s->newest = answer->newest;
    s->server_bytes_max = answer->bytes_max;
    s->server_wait_ms_max = answer->wait_ms_max;
    s->has_data_on_news = answer->data_on_news != 0;
    if (s->is_filling) look_at_fill(s, answer);
    if (!s->has_position) {
        s->at = (mrl_position){.history = answer->history, .seq = answer->newest};
        s->has_position = 1;
    }
    s->is_caught_up = 0;
    s->is_live = 0;
    /* Where some collections go on from a position of another term, the service is asked about it
     * before pages are laid behind it. */
    int is_ours = mrl_history_equal(&s->at.history, &s->server);
    s->phase = is_ours && mrl_fill_next(s) != NULL ? MRL_PHASE_PAGES : MRL_PHASE_CHANGES;
    mrl_early_drop_old(s);
}

static void take_page(merle_subscriber *s, const mrl_wire_answer *answer) {
    mrl_chosen *c = mrl_fill_next(s);
    if (c == NULL || s->phase != MRL_PHASE_PAGES) return;
    if (!mrl_history_equal(&answer->history, &s->fill_history)) {
        s->phase = MRL_PHASE_HELLO;
        return;
    }
    merle_err err = mrl_fill_page(s, c, answer);
    if (err == MERLE_NO_MEMORY) {
        mrl_notice_add(s, MERLE_HEARD_TROUBLE, err, "There is no room for the documents.");
        mrl_subscriber_rest(s);
    } else if (err != MERLE_OK) {
        reject(s, "A page of a snapshot makes no sense.");
    }
    if (mrl_fill_next(s) == NULL) {
        s->phase = MRL_PHASE_CHANGES;
        s->is_caught_up = 0;
    }
}

/* Takes the message. */
static void take_changes(merle_subscriber *s, mrl_message *message, const mrl_wire_answer *answer) {
    int is_other = !mrl_history_equal(&answer->history, &s->at.history);
    if (mrl_place_order(answer->upto_seq, answer->upto_position, s->fetched, s->fetched_position) <
        0) {
        reject(s, "Changes came that end before the position that they were asked for.");
        s->net->message_free(message);
        return;
    }
    if (s->is_filling && (is_other || mrl_fill_next(s) != NULL)) {
        if (!s->fills_all) s->at.history = answer->history;
        s->phase = MRL_PHASE_HELLO;
        s->net->message_free(message);
        return;
    }
    /* The server has found our position in the list of its earlier terms. */
    s->at.history = answer->history;
    s->server = answer->history;
    s->newest = answer->newest;
    s->is_caught_up = answer->upto_seq >= answer->newest && answer->upto_position == 0;
    mrl_run_begin(s, s->fetched, answer->upto_seq, answer->upto_position);
    if (mrl_run_add(s, message, &answer->commits) != MERLE_OK) {
        mrl_run_end(s);
        s->is_caught_up = 0;
        mrl_subscriber_rest(s);
        return;
    }
    s->fetched = answer->upto_seq;
    s->fetched_position = answer->upto_position;
    /* The next question is on its way while this answer is told. */
    if (!s->run.is_broken && mrl_ask_is_needed(s) && !(s->is_caught_up && mrl_hear_is_usable(s)))
        (void)ask(s);
}

/* ---- answers that say no ---- */

static void take_reset(merle_subscriber *s, merle_bytes name, const char *text) {
    mrl_chosen *c = mrl_chosen_by_name(s, name);
    /* A second one at the same place: the snapshot of one collection did not help, because it is
     * the position that the server does not like. So it has to be another one. */
    if ((s->has_reset && s->reset_seq == s->at.seq) ||
        !mrl_history_equal(&s->at.history, &s->server))
        c = NULL;
    s->has_reset = 1;
    s->reset_seq = s->at.seq;
    mrl_resync(s, MERLE_REASON_RESET, s->at.seq, c, text);
}

static merle_err error_of(const mrl_wire_answer *answer) {
    switch (answer->status) {
    case MRL_WIRE_SECRET:
        return MERLE_INVALID;
    case MRL_WIRE_BUSY:
        return MERLE_BUSY;
    case MRL_WIRE_BAD:
        return MERLE_INVALID;
    case MRL_WIRE_UNKNOWN:
        return MERLE_UNSUPPORTED;
    default:
        break;
    }
    int is_error = answer->status == MRL_WIRE_FAILED && answer->number > MERLE_OK &&
                   answer->number <= MERLE_NOT_READY;
    return is_error ? (merle_err)answer->number : MERLE_SYSTEM;
}

static void take_refusal(merle_subscriber *s, const mrl_wire_answer *answer) {
    static const struct {
        mrl_wire_status status;
        merle_heard_reason reason;
    } gaps[] = {{MRL_WIRE_GAP, MERLE_REASON_GAP},
                {MRL_WIRE_OTHER, MERLE_REASON_HISTORY},
                {MRL_WIRE_LOST, MERLE_REASON_LOST}};
    char text[MRL_NOTICE_TEXT_SIZE];
    s->stats.refused++;
    mrl_report_escape(answer->text, text, sizeof text);
    if (answer->status == MRL_WIRE_TOKEN) {
        s->has_token = 0;
        s->phase = MRL_PHASE_HELLO;
        /* A service that never knows what it has given is not asked without a pause. */
        if (s->failures++ > 1) mrl_subscriber_rest(s);
        return;
    }
    if (s->phase == MRL_PHASE_CHANGES && answer->op == MRL_WIRE_CHANGES) {
        for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
            if (gaps[i].status != answer->status) continue;
            mrl_resync(s, gaps[i].reason, answer->number, NULL, text);
            return;
        }
        if (answer->status == MRL_WIRE_RESET) {
            take_reset(s, answer->text, text);
            return;
        }
    }
    if (s->phase == MRL_PHASE_PAGES) {
        mrl_fill_again(mrl_fill_next(s)); /* perhaps it was the cursor */
        if (answer->status >= MRL_WIRE_GAP && answer->status <= MRL_WIRE_RESET)
            s->phase = MRL_PHASE_HELLO;
    }
    mrl_notice_add(s, MERLE_HEARD_TROUBLE, error_of(answer), text);
    mrl_subscriber_rest(s);
}

/* Takes the message. */
static void take_answer(merle_subscriber *s, mrl_wire_op asked, mrl_message *message) {
    mrl_wire_answer answer;
    s->stats.messages++;
    s->stats.bytes += message->size;
    merle_err err = mrl_wire_answer_read(merle_bytes_of(message->data, message->size), &answer);
    if (err != MERLE_OK || (answer.op != asked && !(answer.op == 0 && answer.status != 0))) {
        reject(s, "An answer makes no sense.");
        s->net->message_free(message);
        return;
    }
    if (!s->is_connected) {
        s->is_connected = 1;
        mrl_notice_add(s, MERLE_HEARD_CONNECTED, MERLE_OK, NULL);
    }
    if (answer.status != MRL_WIRE_OK) {
        take_refusal(s, &answer);
        s->net->message_free(message);
        return;
    }
    s->rest_until_ns = 0;
    if (asked != MRL_WIRE_HELLO) s->failures = 0;
    if (asked == MRL_WIRE_CHANGES && s->phase == MRL_PHASE_CHANGES) {
        take_changes(s, message, &answer);
        return;
    }
    if (asked == MRL_WIRE_HELLO) take_hello(s, &answer);
    if (asked == MRL_WIRE_SNAPSHOT) take_page(s, &answer);
    if (asked == MRL_WIRE_NEWEST && !mrl_history_equal(&answer.history, &s->at.history))
        s->phase = MRL_PHASE_HELLO;
    s->net->message_free(message);
}

static void lose_connection(merle_subscriber *s, const char *text) {
    s->asked = 0;
    if (s->is_connected) {
        s->is_connected = 0;
        mrl_notice_add(s, MERLE_HEARD_DISCONNECTED, MERLE_SYSTEM, text);
    }
    mrl_subscriber_rest(s);
}

int mrl_ask_step(merle_subscriber *s) {
    mrl_message message;
    mrl_wire_op asked = s->asked;
    if (asked != 0 && asked != MRL_WIRE_HELLO && s->phase == MRL_PHASE_HELLO)
        asked = s->asked = 0; /* its answer does not matter any more */
    if (asked == 0) return ask(s);
    merle_err err = s->net->receive(s->ask, &message);
    if (err == MERLE_OK) {
        s->asked = 0;
        take_answer(s, asked, &message);
        return 1;
    }
    if (err != MERLE_NOT_FOUND) {
        lose_connection(s, "The connection to the service broke.");
        return 1;
    }
    if (mrl_subscriber_now(s) < s->asked_until_ns) return 0;
    lose_connection(s, "The service does not answer.");
    return 1;
}
