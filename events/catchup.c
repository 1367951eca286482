/* events/catchup.c - what comes behind a position: questions for changes, and those that are held
 * until there are any.
 *
 * A session's cursor stands where its last answer ended, so who asks on and on reads the log once.
 * Between two pieces of work the cursor rests: a slow client holds no memory of the store's.
 * Nothing is kept of an answer that is not sent yet either; what is held is the question alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "events/publish_private.h"

/* What one piece of reading has found. */
typedef struct found {
    uint32_t commit_count; /* in the publisher's scratch */
    uint64_t gap_until;    /* MERLE_GAP: the first commit that can still be had */
    int is_at_end;         /* there is no more for now */
} found;

/* ---- the cursor ---- */

void mrl_catchup_close(mrl_session *session) {
    merle_changes_close(session->changes);
    session->changes = NULL;
}

merle_err mrl_catchup_open(merle_publisher *publisher, mrl_session *session, uint64_t seq) {
    merle_changes_options options = {.after_seq = seq,
                                     .want_after = (uint32_t)session->wants_images,
                                     .want_before = (uint32_t)session->wants_images};
    if (session->changes != NULL && session->changes_have_images == session->wants_images)
        return MERLE_OK;
    mrl_catchup_close(session);
    session->changes_have_images = session->wants_images;
    session->changes_are_strict = 0;
    return merle_changes_open(publisher->ground.store->db, &options, &session->changes);
}

static int is_memory_only(const merle_collection *collection) {
    mrl_member *member = mrl_member_join(collection->store->domain);
    mrl_epoch_token token;
    if (member == NULL) return 0;
    mrl_member_enter(member, &token);
    const mrl_root *root = mrl_collection_current(collection);
    int answer = root != NULL && mrl_root_schema_now(root)->memory_only != 0;
    mrl_member_leave(member, &token);
    return answer;
}

/* The collection of this name. NULL: there is none. */
static merle_collection *find(const merle_publisher *publisher, merle_bytes name) {
    char text[MERLE_NAME_SIZE_MAX + 1] = {0};
    merle_collection *collection;
    if (name.size > MERLE_NAME_SIZE_MAX) return NULL;
    memcpy(text, name.data, name.size);
    return strlen(text) == name.size &&
                   merle_collection_find(publisher->ground.store->db, text, &collection) == MERLE_OK
               ? collection
               : NULL;
}

static int note_memory_only(void *context, merle_collection *collection) {
    merle_collection **found_one = context;
    if (is_memory_only(collection)) *found_one = collection;
    return *found_one != NULL;
}

/* One of those it wants that is in memory only. NULL: there is none. */
static merle_collection *memory_only_wanted(const merle_publisher *publisher,
                                            const mrl_session *session) {
    merle_collection *collection = NULL;
    if (!session->has_filters) {
        merle_err err =
            merle_collection_each(publisher->ground.store->db, note_memory_only, &collection);
        return err == MERLE_OK ? collection : NULL;
    }
    for (uint32_t i = 0; i < session->filter_count; i++) {
        collection = find(publisher, session->filters[i].name);
        if (collection != NULL && is_memory_only(collection)) return collection;
    }
    return NULL;
}

/* ---- is the position one of ours? ---- */

typedef struct verdict {
    mrl_wire_status status;
    merle_bytes text;
    uint64_t number;
} verdict;

static int is_beyond(const mrl_wire_question *asked, uint64_t end) {
    return asked->after_seq > end || (asked->after_position > 0 && asked->after_seq == end);
}

static verdict judge_earlier_term(const merle_publisher *publisher, const mrl_session *session,
                                  const mrl_wire_question *asked, uint64_t term_id) {
    const mrl_wire_term *term = NULL;
    for (uint32_t i = 0; i < publisher->term_count && term == NULL; i++)
        if (publisher->terms[i].id == term_id) term = &publisher->terms[i];
    if (term == NULL)
        return (verdict){MRL_WIRE_OTHER, MERLE_STR("the position is of another history"), 0};
    if (is_beyond(asked, term->end))
        return (verdict){MRL_WIRE_LOST, MERLE_STR("the term ended before this commit"), term->end};
    const merle_collection *gone = memory_only_wanted(publisher, session);
    if (gone != NULL) return (verdict){MRL_WIRE_RESET, merle_str(gone->name), 0};
    return (verdict){.status = MRL_WIRE_OK};
}

static verdict judge_position(const merle_publisher *publisher, const mrl_session *session,
                              const mrl_wire_question *asked) {
    uint64_t ours[2], theirs[2], our_term, their_term;
    mrl_wire_history_get(&publisher->ground.history, ours, &our_term);
    mrl_wire_history_get(&asked->history, theirs, &their_term);
    if (ours[0] != theirs[0] || ours[1] != theirs[1])
        return (verdict){MRL_WIRE_OTHER, MERLE_STR("the position is of another database"), 0};
    if (our_term != their_term) return judge_earlier_term(publisher, session, asked, their_term);
    uint64_t published = mrl_log_published_at(publisher->ground.store->published);
    if (is_beyond(asked, published))
        return (verdict){MRL_WIRE_LOST, MERLE_STR("there is no such commit yet"), published};
    return (verdict){.status = MRL_WIRE_OK};
}

/* Whether the collections are still those that the client has known. */
static verdict judge_collections(const merle_publisher *publisher, const mrl_session *session) {
    mrl_wire_list list = mrl_wire_list_of(&session->filter_bytes, session->filter_list_count);
    mrl_wire_filter filter;
    while (session->has_filters && mrl_wire_filter_next(&list, &filter) == MERLE_OK) {
        if (!filter.has_id) continue;
        const merle_collection *collection = find(publisher, filter.name);
        if (collection != NULL && collection->id != filter.collection_id)
            return (verdict){MRL_WIRE_RESET, filter.name, 0};
    }
    return (verdict){.status = MRL_WIRE_OK};
}

/* ---- reading ---- */

static int is_full(const merle_publisher *publisher, const found *f, size_t change_size,
                   uint64_t bytes_max) {
    size_t size = publisher->scratch.size;
    int is_empty = f->commit_count == 0 && size == 0;
    return !is_empty && size + change_size > 2 * bytes_max;
}

/* A patch by which a document has come to match a condition, as a put of what came out. */
static merle_err add_whole(mrl_wire_commit_writer *writer, merle_buffer *buffer,
                           const merle_change *change) {
    mrl_record_operation_view whole = {.collection_id = change->collection_id,
                                       .slot = change->slot,
                                       .kind = MRL_RECORD_PUT,
                                       .key = change->key,
                                       .payload = {change->after.data, change->after.size},
                                       .expires_ns = change->expires_ns};
    return mrl_wire_operation_add(writer, buffer, change->position, &whole);
}

static void stand_before(mrl_session *session, const merle_change *change) {
    session->at_seq = change->seq - 1;
    session->at_passed = change->position;
}

/* Takes a run of changes into the answer. Stops at one that does not fit, or is not known well
 * enough: *out_stopped, and the session stands before it. */
static merle_err take_changes(merle_publisher *publisher, mrl_session *session,
                              mrl_wire_commit_writer *writer, uint64_t *commit_seq,
                              const merle_change *changes, size_t count, found *f,
                              int *out_stopped) {
    merle_buffer *buffer = &publisher->scratch;
    for (size_t i = 0; i < count; i++) {
        const merle_change *change = &changes[i];
        int wants = 0;
        if (!mrl_news_is_told(change)) continue;
        merle_err err = mrl_session_wants(session, publisher, change, &wants);
        if (err == MERLE_OK && !wants) continue;
        if (err == MERLE_GAP) f->gap_until = change->seq + 1;
        size_t change_size = wants == MRL_WANTS_WHOLE ? change->after.size : change->bytes.size;
        *out_stopped =
            err != MERLE_OK || is_full(publisher, f, change_size, session->poll_bytes_max);
        if (*out_stopped) {
            stand_before(session, change);
            return err;
        }
        if (*commit_seq != change->seq) {
            if (*commit_seq != 0) f->commit_count += (uint32_t)mrl_wire_commit_end(writer, buffer);
            err = mrl_news_commit_begin(writer, buffer, change);
            *commit_seq = err == MERLE_OK ? change->seq : 0;
        }
        if (err == MERLE_OK)
            err = wants == MRL_WANTS_WHOLE
                      ? add_whole(writer, buffer, change)
                      : mrl_wire_operation_copy(writer, buffer, change->position, change->bytes);
        if (err != MERLE_OK) {
            /* What stands in the answer already is not told a second time. */
            stand_before(session, change);
            return err;
        }
        publisher->stats.operations_told++;
    }
    return MERLE_OK;
}

static void go_to(mrl_session *session) {
    if (merle_changes_position(session->changes) != session->at_seq ||
        mrl_changes_passed(session->changes) != session->at_passed)
        mrl_changes_begin_at(session->changes, session->at_seq, session->at_passed);
}

/* One piece: reads on from where the session stands, and puts what it wants into the publisher's
 * scratch. What was found before an error comes first; the error is met again by who asks on. */
static merle_err read_piece(merle_publisher *publisher, mrl_session *session, found *f) {
    merle_change changes[MRL_CHUNK_COUNT];
    mrl_wire_commit_writer writer = {0};
    uint64_t commit_seq = 0;
    size_t looked = 0, count = 1;
    int is_stopped = 0;
    merle_err err = MERLE_OK;
    memset(f, 0, sizeof *f);
    publisher->scratch.size = 0;
    go_to(session);
    mrl_changes_limit(session->changes, mrl_publisher_visible(publisher));
    while (err == MERLE_OK && !is_stopped && count > 0 && looked < MRL_PIECE_COUNT &&
           publisher->scratch.size < session->poll_bytes_max) {
        err = merle_changes_next(session->changes, changes, MRL_CHUNK_COUNT, &count);
        if (err == MERLE_GAP) {
            uint64_t first, last;
            merle_changes_gap(session->changes, &first, &last);
            f->gap_until = last + 1;
        }
        if (err != MERLE_OK) break;
        err =
            take_changes(publisher, session, &writer, &commit_seq, changes, count, f, &is_stopped);
        if (err != MERLE_OK || is_stopped) break;
        looked += count;
        session->at_seq = merle_changes_position(session->changes);
        session->at_passed = mrl_changes_passed(session->changes);
    }
    f->is_at_end = count == 0;
    if (commit_seq != 0)
        f->commit_count += (uint32_t)mrl_wire_commit_end(&writer, &publisher->scratch);
    mrl_changes_rest(session->changes);
    return f->commit_count > 0 ? MERLE_OK : err;
}

/* ---- answering ---- */

static void answer_poll(merle_publisher *publisher, mrl_session *session, uint32_t commit_count,
                        uint64_t now_ns) {
    mrl_question *question = session->poll;
    mrl_wire_answer answer = {.op = MRL_WIRE_CHANGES,
                              .history = publisher->ground.history,
                              .newest = mrl_publisher_visible(publisher),
                              .upto_seq = session->at_seq,
                              .upto_position = session->at_passed};
    if (commit_count > 0) answer.commits = mrl_wire_list_of(&publisher->scratch, commit_count);
    session->poll = NULL;
    session->told_seq = session->at_seq;
    session->bytes += commit_count > 0 ? publisher->scratch.size : 0;
    session->seen_ns = now_ns;
    mrl_service_answer(publisher, question, &answer);
    /* What one large operation took goes back. */
    if (publisher->scratch.capacity > 2 * (size_t)publisher->options.answer_size_max)
        merle_buffer_free(&publisher->scratch);
}

static void refuse_poll(merle_publisher *publisher, mrl_session *session, merle_err err,
                        uint64_t gap_until) {
    mrl_question *question = session->poll;
    session->poll = NULL;
    if (err == MERLE_GAP) {
        session->gaps++;
        mrl_service_refuse(publisher, question, MRL_WIRE_CHANGES, MRL_WIRE_GAP,
                           MERLE_STR("the log does not reach back so far"), gap_until);
        return;
    }
    publisher->stats.failures++;
    mrl_service_refuse(publisher, question, MRL_WIRE_CHANGES, MRL_WIRE_FAILED,
                       merle_str(merle_err_text(err)), (uint64_t)err);
}

void mrl_catchup_let_go(merle_publisher *publisher, mrl_session *session) {
    if (session->poll == NULL) return;
    answer_poll(publisher, session, 0, session->seen_ns);
}

/* There are too many answers already: it waits until some of them are taken. */
static uint64_t wait_or_refuse(merle_publisher *publisher, mrl_session *session, uint64_t now_ns) {
    uint64_t due_ns = now_ns + MRL_FULL_NS;
    if (now_ns < session->poll_deadline_ns)
        return due_ns < session->poll_deadline_ns ? due_ns : session->poll_deadline_ns;
    mrl_question *question = session->poll;
    session->poll = NULL;
    mrl_service_refuse(publisher, question, MRL_WIRE_CHANGES, MRL_WIRE_BUSY,
                       MERLE_STR("too many answers were not taken yet"), 0);
    return MRL_FOREVER;
}

/* Goes on with a question that is held. Returns when it wants to be called again. */
static uint64_t go_on(merle_publisher *publisher, mrl_session *session, uint64_t now_ns) {
    uint64_t visible = mrl_publisher_visible(publisher);
    found f = {.is_at_end = 1};
    merle_err err = MERLE_OK;
    if (visible > session->at_seq && mrl_service_is_full(publisher))
        return wait_or_refuse(publisher, session, now_ns);
    if (visible > session->at_seq) err = read_piece(publisher, session, &f);
    if (err != MERLE_OK) {
        refuse_poll(publisher, session, err, f.gap_until);
        return MRL_FOREVER;
    }
    if (f.commit_count > 0 || now_ns >= session->poll_deadline_ns) {
        answer_poll(publisher, session, f.commit_count, now_ns);
        return MRL_FOREVER;
    }
    return f.is_at_end ? session->poll_deadline_ns : now_ns;
}

uint64_t mrl_catchup_round(merle_publisher *publisher, uint64_t now_ns) {
    uint64_t due_ns = MRL_FOREVER;
    for (mrl_session *s = publisher->sessions; s != NULL; s = s->next) {
        if (s->poll == NULL) continue;
        uint64_t its_ns = go_on(publisher, s, now_ns);
        if (its_ns < due_ns) due_ns = its_ns;
    }
    return due_ns;
}

/* ---- asking ---- */

static void note_figures(merle_publisher *publisher, mrl_session *session,
                         const mrl_wire_question *asked) {
    publisher->stats.polls++;
    session->lost += asked->lost;
    session->gaps += (uint64_t)(asked->why == MRL_WIRE_AFTER_GAP);
}

/* Sets the session to what is asked for. Errors: those of opening a cursor. */
static merle_err prepare(merle_publisher *publisher, mrl_session *session,
                         const mrl_wire_question *asked, uint64_t now_ns) {
    const merle_publish_options *options = &publisher->options;
    uint32_t wait_ms =
        asked->wait_ms < options->wait_ms_max ? asked->wait_ms : options->wait_ms_max;
    uint64_t bytes_max = asked->bytes_max == 0 ? options->answer_size : asked->bytes_max;
    if (bytes_max > options->answer_size_max) bytes_max = options->answer_size_max;
    /* A run of changes is taken whole: what is above the half ends the answer. */
    session->poll_bytes_max = bytes_max / 2 + 1;
    session->poll_deadline_ns = now_ns + (uint64_t)wait_ms * 1000000u;
    session->at_seq = asked->after_seq;
    session->at_passed = asked->after_position;
    session->told_seq = asked->after_seq;
    int is_strict = memory_only_wanted(publisher, session) != NULL;
    /* A cursor does not unlearn it. */
    if (session->changes_are_strict && !is_strict) mrl_catchup_close(session);
    merle_err err = mrl_catchup_open(publisher, session, asked->after_seq);
    if (err != MERLE_OK) return err;
    if (is_strict) mrl_changes_be_strict(session->changes);
    session->changes_are_strict = is_strict;
    return MERLE_OK;
}

void mrl_catchup_ask(merle_publisher *publisher, mrl_session *session, mrl_question *question,
                     const mrl_wire_question *asked, uint64_t now_ns) {
    merle_report report = {0};
    /* One question of a session is held at a time: the one before it, of a connection that broke
     * perhaps, is answered with what it has. */
    mrl_catchup_let_go(publisher, session);
    note_figures(publisher, session, asked);
    merle_err err = mrl_session_want(session, &asked->filters, &report);
    if (err == MERLE_INVALID || err == MERLE_CORRUPT || err == MERLE_TOO_BIG) {
        mrl_service_refuse(publisher, question, MRL_WIRE_CHANGES, MRL_WIRE_BAD,
                           report.message[0] != 0 ? merle_str(report.message)
                                                  : MERLE_STR("the filters are malformed"),
                           0);
        return;
    }
    session->poll = question;
    verdict v = {.status = MRL_WIRE_OK};
    if (err == MERLE_OK) v = judge_position(publisher, session, asked);
    if (err == MERLE_OK && v.status == MRL_WIRE_OK) v = judge_collections(publisher, session);
    if (v.status != MRL_WIRE_OK) {
        session->poll = NULL;
        mrl_service_refuse(publisher, question, MRL_WIRE_CHANGES, v.status, v.text, v.number);
        return;
    }
    if (err == MERLE_OK) err = prepare(publisher, session, asked, now_ns);
    if (err != MERLE_OK)
        refuse_poll(publisher, session, err, 0);
    else
        (void)go_on(publisher, session, now_ns);
}
