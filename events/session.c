/* events/session.c - who has said hello, and what each of them wants to hear.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/random.h"
#include "base/report.h"
#include "events/publish_private.h"

/* ---- the list ---- */

static int is_held(const mrl_session *session) {
    return session->poll != NULL || session->page != NULL;
}

/* Makes room for one more: whoever was idle for longest, and long enough, has to go. */
static int make_room(merle_publisher *publisher, uint64_t now_ns) {
    mrl_session *oldest = NULL;
    if (publisher->session_count < publisher->options.client_max) return 1;
    for (mrl_session *s = publisher->sessions; s != NULL; s = s->next)
        if (!is_held(s) && (oldest == NULL || s->seen_ns < oldest->seen_ns)) oldest = s;
    if (oldest == NULL || now_ns - oldest->seen_ns < MRL_EVICT_NS) return 0;
    publisher->stats.clients_forgotten++;
    mrl_session_destroy(publisher, oldest);
    return 1;
}

mrl_session *mrl_session_create(merle_publisher *publisher, merle_bytes name, uint64_t peer,
                                uint64_t now_ns) {
    if (!make_room(publisher, now_ns)) return NULL;
    mrl_session *session = mrl_allocate(sizeof *session);
    if (session == NULL) return NULL;
    memset(session, 0, sizeof *session);
    for (size_t i = 0; i < MRL_WIRE_TOKEN_SIZE; i += sizeof(uint64_t)) {
        uint64_t part = mrl_random_seed();
        memcpy(session->token + i, &part, sizeof part);
    }
    size_t size = name.size < sizeof session->name ? name.size : sizeof session->name - 1;
    if (size > 0) memcpy(session->name, name.data, size);
    session->peer = peer;
    session->seen_ns = now_ns;
    session->next = publisher->sessions;
    publisher->sessions = session;
    publisher->session_count++;
    return session;
}

mrl_session *mrl_session_find(merle_publisher *publisher, merle_bytes token) {
    if (token.size != MRL_WIRE_TOKEN_SIZE) return NULL;
    for (mrl_session *s = publisher->sessions; s != NULL; s = s->next)
        if (memcmp(s->token, token.data, sizeof s->token) == 0) return s;
    return NULL;
}

static void forget_filters(mrl_session *session) {
    for (uint32_t i = 0; i < session->filter_count; i++)
        merle_condition_destroy(session->filters[i].condition);
    free(session->filters);
    session->filters = NULL;
    session->filter_count = session->filter_list_count = 0;
    session->has_filters = session->wants_images = 0;
    session->filter_bytes.size = 0;
}

void mrl_session_destroy(merle_publisher *publisher, mrl_session *session) {
    const mrl_net *net = publisher->ground.net;
    mrl_session **at = &publisher->sessions;
    while (*at != session) at = &(*at)->next;
    *at = session->next;
    publisher->session_count--;
    if (session->poll != NULL) net->answer(session->poll, NULL);
    if (session->page != NULL) {
        net->answer(session->page, NULL);
        publisher->held -= session->page_message.size;
        net->message_free(&session->page_message);
    }
    mrl_catchup_close(session);
    forget_filters(session);
    merle_buffer_free(&session->filter_bytes);
    free(session);
}

uint64_t mrl_session_sweep(merle_publisher *publisher, uint64_t now_ns) {
    uint64_t idle_ns = (uint64_t)publisher->options.idle_ms_max * 1000000u;
    uint64_t due_ns = MRL_FOREVER;
    mrl_session *next;
    for (mrl_session *s = publisher->sessions; s != NULL; s = next) {
        next = s->next;
        if (is_held(s)) continue;
        if (now_ns >= s->seen_ns + idle_ns) {
            publisher->stats.clients_forgotten++;
            mrl_session_destroy(publisher, s);
        } else if (s->seen_ns + idle_ns < due_ns) {
            due_ns = s->seen_ns + idle_ns;
        }
    }
    return due_ns;
}

/* ---- what a session wants ---- */

static int is_same(const mrl_session *session, const mrl_wire_list *filters) {
    if (session->has_filters != (filters->at != NULL)) return 0;
    if (filters->at == NULL) return 1;
    size_t size = (size_t)(filters->end - filters->at);
    return session->filter_list_count == filters->left && session->filter_bytes.size == size &&
           (size == 0 || memcmp(session->filter_bytes.data, filters->at, size) == 0);
}

static merle_err read_condition(merle_bytes text, merle_condition **out_condition,
                                merle_report *report) {
    *out_condition = NULL;
    if (text.data == NULL) return MERLE_OK;
    merle_err err = merle_condition_parse(text, out_condition, report);
    if (err != MERLE_OK) return err;
    if (merle_condition_parameter_count(*out_condition) == 0) return MERLE_OK;
    merle_condition_destroy(*out_condition);
    *out_condition = NULL;
    return mrl_report_fill(report, MERLE_INVALID, "a condition has parameters: nobody binds them");
}

/* The list in the session's own memory; what a filter points to lies there. */
static merle_err read_filters(mrl_session *session, merle_report *report) {
    mrl_wire_list list = mrl_wire_list_of(&session->filter_bytes, session->filter_list_count);
    mrl_wire_filter filter;
    merle_err err;
    while ((err = mrl_wire_filter_next(&list, &filter)) == MERLE_OK) {
        mrl_session_filter *into = &session->filters[session->filter_count];
        err = read_condition(filter.condition, &into->condition, report);
        if (err != MERLE_OK) return err;
        into->name = filter.name;
        into->has_id = filter.has_id;
        into->collection_id = filter.collection_id;
        into->filter.prefix = filter.prefix;
        into->filter.condition = into->condition;
        session->wants_images |= into->condition != NULL;
        session->filter_count++;
    }
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

merle_err mrl_session_want(mrl_session *session, const mrl_wire_list *filters,
                           merle_report *report) {
    if (is_same(session, filters)) return MERLE_OK;
    forget_filters(session);
    if (filters->at == NULL) return MERLE_OK;
    merle_err err = mrl_buffer_append(&session->filter_bytes, filters->at,
                                      (size_t)(filters->end - filters->at));
    if (err != MERLE_OK) goto fail;
    size_t size = (filters->left + 1) * sizeof(mrl_session_filter);
    session->filters = mrl_allocate(size);
    err = MERLE_NO_MEMORY;
    if (session->filters == NULL) goto fail;
    memset(session->filters, 0, size);
    session->has_filters = 1;
    session->filter_list_count = filters->left;
    err = read_filters(session, report);
    if (err != MERLE_OK) goto fail;
    return MERLE_OK;
fail:
    forget_filters(session);
    return err;
}

/* Whether the document matched before or after the change. What stood there before is not known of
 * commits that were made before somebody wanted it. Where it did not match before, an effect would
 * be of no use: who asks does not have the document. (Over one that was past its time a put is new,
 * too; but whoever was not told of its end has it still.) */
static merle_err condition_wants(const mrl_filter *filter, const merle_change *change,
                                 int *out_wants) {
    int is_first = change->kind == MERLE_CHANGE_PUT && change->is_new && !change->was_due;
    int is_last = change->kind == MERLE_CHANGE_REMOVE;
    mrl_fit did =
        mrl_filter_fits_doc(filter, change->before, is_first || change->before.data != NULL);
    mrl_fit does =
        mrl_filter_fits_doc(filter, change->after, is_last || change->after.data != NULL);
    *out_wants = did == MRL_FIT_YES || does == MRL_FIT_YES;
    if (does == MRL_FIT_YES && did != MRL_FIT_YES && change->kind == MERLE_CHANGE_PATCH)
        *out_wants = MRL_WANTS_WHOLE;
    if (*out_wants) return MERLE_OK;
    return did == MRL_FIT_MAYBE || does == MRL_FIT_MAYBE ? MERLE_GAP : MERLE_OK;
}

static int is_of_a_document(const merle_change *change) {
    return change->kind == MERLE_CHANGE_PUT || change->kind == MERLE_CHANGE_PATCH ||
           change->kind == MERLE_CHANGE_REMOVE;
}

/* By its name, or because the client says that it was this one. topic NULL: the name is not known.
 */
static int is_of(const mrl_session_filter *filter, const mrl_topic *topic, uint32_t collection_id) {
    if (filter->has_id && filter->collection_id == collection_id) return 1;
    return topic != NULL && mrl_bytes_equal(filter->name, merle_str(topic->name));
}

merle_err mrl_session_wants(const mrl_session *session, merle_publisher *publisher,
                            const merle_change *change, int *out_wants) {
    merle_err err = MERLE_OK;
    *out_wants = !session->has_filters;
    if (*out_wants) return MERLE_OK;
    mrl_topic *topic;
    if (change->kind == MERLE_CHANGE_DEFINE) mrl_news_learn(publisher, change);
    err = mrl_news_topic(publisher, change->collection_id, &topic);
    if (err != MERLE_OK && err != MERLE_NOT_FOUND) return err;
    err = MERLE_OK;
    for (uint32_t i = 0; i < session->filter_count && !*out_wants; i++) {
        const mrl_session_filter *filter = &session->filters[i];
        if (!is_of(filter, topic, change->collection_id)) continue;
        if (is_of_a_document(change) && !mrl_filter_fits_key(&filter->filter, change->key))
            continue;
        if (!is_of_a_document(change) || filter->condition == NULL)
            *out_wants = 1;
        else if (err == MERLE_OK)
            err = condition_wants(&filter->filter, change, out_wants);
    }
    /* One filter that wants it for certain is enough, whatever another one does not know. */
    return *out_wants ? MERLE_OK : err;
}
