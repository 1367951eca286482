/* events/snapshot.c - the documents of a collection, page by page.
 *
 * Each page is read in a short section of its own. It is answered when everybody may see that
 * section's seq: so nobody has a document in his copy that a crash may still take.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "events/publish_private.h"
#include "wire/bytes.h"

enum {
    DOCS_A_CALL = 16,
    CURSOR_SIZE = 12 /* the collection's id, and the place in it */
};
#define PAGE_WAIT_NS 10000000000u /* the disk may take so long until a page can be told */

typedef struct page {
    merle_collection *collection;
    mrl_filter filter; /* prefix and condition */
    uint64_t bytes_max;
    merle_scan scan;
    uint64_t seq;
    uint32_t document_count;
    size_t looked;
    int is_last;
} page;

/* ---- reading ---- */

static int is_wanted(const page *p, merle_doc doc) {
    return mrl_filter_fits_key(&p->filter, merle_doc_key(doc)) &&
           mrl_filter_fits_doc(&p->filter, doc, 1) == MRL_FIT_YES;
}

/* Puts documents down until one does not fit: *out_count are done. */
static merle_err put_down(merle_buffer *buffer, page *p, const merle_doc *docs, size_t doc_count,
                          size_t *out_count) {
    for (*out_count = 0; *out_count < doc_count; ++*out_count) {
        merle_doc doc = docs[*out_count];
        mrl_wire_document of = {.key = merle_doc_key(doc),
                                .document = merle_bytes_of(doc.data, doc.size),
                                .seq = doc.seq,
                                .expires_ns = merle_doc_expires(doc)};
        if (!is_wanted(p, doc)) continue;
        if (p->document_count > 0 && buffer->size + doc.size > p->bytes_max) return MERLE_OK;
        merle_err err = mrl_wire_document_add(buffer, &of);
        if (err != MERLE_OK) return err;
        p->document_count++;
    }
    return MERLE_OK;
}

static merle_err read_some(merle_section *section, merle_buffer *buffer, page *p, int *out_full) {
    merle_doc docs[DOCS_A_CALL];
    merle_scan before = p->scan;
    size_t count, taken = 0;
    merle_err err = merle_scan_next(section, p->collection, &p->scan, docs, DOCS_A_CALL, &count);
    if (err == MERLE_NOT_FOUND) {
        p->is_last = 1;
        return MERLE_OK;
    }
    if (err == MERLE_OK) err = put_down(buffer, p, docs, count, &taken);
    if (err != MERLE_OK) return err;
    p->looked += count;
    *out_full = taken < count || buffer->size >= p->bytes_max;
    if (taken == count) return MERLE_OK;
    /* Back to the first one that did not fit: what a section gives once it gives again. */
    p->scan = before;
    return taken == 0 ? MERLE_OK
                      : merle_scan_next(section, p->collection, &p->scan, docs, taken, &count);
}

static merle_err read_page(merle_publisher *publisher, page *p) {
    merle_section section;
    int is_full = 0;
    publisher->scratch.size = 0;
    merle_err err = merle_section_begin(publisher->ground.store->db, &section);
    if (err != MERLE_OK) return err;
    p->seq = merle_section_seq(&section);
    while (err == MERLE_OK && !p->is_last && !is_full && p->looked < MRL_PAGE_COUNT)
        err = read_some(&section, &publisher->scratch, p, &is_full);
    merle_err ended = merle_section_end(&section);
    return err == MERLE_OK ? ended : err;
}

/* ---- answering ---- */

static void refuse(merle_publisher *publisher, mrl_question *question, mrl_wire_status status,
                   merle_bytes text, uint64_t number) {
    mrl_service_refuse(publisher, question, MRL_WIRE_SNAPSHOT, status, text, number);
}

static void fail(merle_publisher *publisher, mrl_question *question, merle_err err) {
    publisher->stats.failures++;
    refuse(publisher, question, MRL_WIRE_FAILED, merle_str(merle_err_text(err)), (uint64_t)err);
}

/* Answers at once, or holds the page until its seq may be told. */
static void answer_page(merle_publisher *publisher, mrl_session *session, mrl_question *question,
                        const page *p, uint64_t now_ns) {
    uint8_t cursor[CURSOR_SIZE];
    mrl_wire_answer answer = {.op = MRL_WIRE_SNAPSHOT,
                              .history = publisher->ground.history,
                              .has_collection = p->collection != NULL,
                              .seq = p->seq};
    mrl_message message;
    if (p->collection != NULL) {
        answer.collection_id = p->collection->id;
        answer.documents = mrl_wire_list_of(&publisher->scratch, p->document_count);
        mrl_put_big64(mrl_put_big32(cursor, p->collection->id), p->scan.position);
        if (!p->is_last) answer.cursor = merle_bytes_of(cursor, sizeof cursor);
    }
    merle_err err = mrl_service_make(publisher, &answer, &message);
    if (err != MERLE_OK) {
        fail(publisher, question, err);
        return;
    }
    session->bytes += message.size;
    if (mrl_publisher_visible(publisher) >= p->seq) {
        mrl_service_send(publisher, question, &message);
        return;
    }
    if (publisher->follower.follow == MRL_FOLLOW_DURABLE)
        mrl_log_ask_durable(publisher->ground.store->log, p->seq);
    session->page = question;
    session->page_message = message;
    publisher->held += message.size;
    session->page_seq = p->seq;
    session->page_deadline_ns = now_ns + PAGE_WAIT_NS;
}

static void drop_page(merle_publisher *publisher, mrl_session *session, merle_bytes why) {
    if (session->page == NULL) return;
    publisher->held -= session->page_message.size;
    publisher->ground.net->message_free(&session->page_message);
    memset(&session->page_message, 0, sizeof session->page_message);
    mrl_question *question = session->page;
    session->page = NULL;
    refuse(publisher, question, MRL_WIRE_BUSY, why, 0);
}

uint64_t mrl_snapshot_round(merle_publisher *publisher, uint64_t now_ns) {
    uint64_t due_ns = MRL_FOREVER, visible = mrl_publisher_visible(publisher);
    for (mrl_session *s = publisher->sessions; s != NULL; s = s->next) {
        if (s->page == NULL) continue;
        if (visible >= s->page_seq) {
            mrl_question *question = s->page;
            s->page = NULL;
            s->seen_ns = now_ns;
            publisher->held -= s->page_message.size;
            mrl_service_send(publisher, question, &s->page_message);
            memset(&s->page_message, 0, sizeof s->page_message);
        } else if (now_ns >= s->page_deadline_ns) {
            drop_page(publisher, s, MERLE_STR("the disk is behind"));
        } else if (s->page_deadline_ns < due_ns) {
            due_ns = s->page_deadline_ns;
        }
    }
    return due_ns;
}

/* ---- asking ---- */

/* Where the page begins. Errors: MERLE_INVALID; MERLE_GONE: the cursor is another collection's. */
static merle_err read_cursor(const mrl_wire_question *asked, page *p) {
    const uint8_t *bytes = asked->cursor.data;
    if (bytes == NULL) return MERLE_OK;
    if (asked->cursor.size != CURSOR_SIZE) return MERLE_INVALID;
    if (p->collection == NULL || mrl_get_big32(bytes) != p->collection->id) return MERLE_GONE;
    p->scan.position = mrl_get_big64(bytes + 4);
    return MERLE_OK;
}

static merle_collection *find(const merle_publisher *publisher, merle_bytes name) {
    char text[MERLE_NAME_SIZE_MAX + 1] = {0};
    merle_collection *collection = NULL;
    memcpy(text, name.data, name.size);
    if (strlen(text) != name.size ||
        merle_collection_find(publisher->ground.store->db, text, &collection) != MERLE_OK)
        return NULL;
    return collection;
}

/* From the first page on the log keeps what a condition will be asked of. */
static merle_err begin(merle_publisher *publisher, mrl_session *session, int has_condition) {
    session->resyncs++;
    if (!has_condition) return MERLE_OK;
    session->wants_images = 1;
    return mrl_catchup_open(publisher, session, mrl_publisher_visible(publisher));
}

static void set_up(merle_publisher *publisher, const mrl_wire_question *asked, page *p) {
    const merle_publish_options *options = &publisher->options;
    memset(p, 0, sizeof *p);
    p->collection = find(publisher, asked->name);
    p->filter.prefix = asked->prefix;
    p->bytes_max = asked->bytes_max == 0 ? options->answer_size : asked->bytes_max;
    if (p->bytes_max > options->answer_size_max) p->bytes_max = options->answer_size_max;
    /* Where there is none now there may have been one at what is visible: it was dropped behind
     * that. Drops are published before nobody finds the collection any more. */
    p->seq = mrl_log_published_at(publisher->ground.store->published);
}

void mrl_snapshot_ask(merle_publisher *publisher, mrl_session *session, mrl_question *question,
                      const mrl_wire_question *asked, uint64_t now_ns) {
    merle_report report = {0};
    merle_condition *condition = NULL;
    page p;
    merle_err err = MERLE_OK;
    publisher->stats.snapshots++;
    drop_page(publisher, session, MERLE_STR("another page was asked for"));
    set_up(publisher, asked, &p);
    if (asked->condition.data != NULL)
        err = merle_condition_parse(asked->condition, &condition, &report);
    if (err == MERLE_OK && condition != NULL && merle_condition_parameter_count(condition) > 0)
        err = mrl_report_fill(&report, MERLE_INVALID, "the condition has parameters");
    p.filter.condition = condition;
    if (err == MERLE_OK) err = read_cursor(asked, &p);
    if (err == MERLE_OK && asked->cursor.data == NULL)
        err = begin(publisher, session, condition != NULL);
    if (err == MERLE_OK && p.collection != NULL) err = read_page(publisher, &p);
    if (err == MERLE_OK)
        answer_page(publisher, session, question, &p, now_ns);
    else if (err == MERLE_GONE)
        refuse(publisher, question, MRL_WIRE_RESET, asked->name, 0);
    else if (err == MERLE_INVALID || err == MERLE_TOO_BIG)
        refuse(publisher, question, MRL_WIRE_BAD,
               report.message[0] != 0 ? merle_str(report.message)
                                      : MERLE_STR("the cursor is none of ours"),
               0);
    else
        fail(publisher, question, err);
    merle_condition_destroy(condition);
}
