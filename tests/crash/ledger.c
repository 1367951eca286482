/* tests/crash/ledger.c - events, settling, comparing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/crash/ledger.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long llu;

enum { MARKER_KEY = 1000000, WORKER_KEY = 1000 };

/* The first trouble is the one that counts. */
__attribute__((format(printf, 2, 3))) static void trouble(ledger *l, const char *format, ...) {
    va_list arguments;
    if (l->trouble[0] != 0) return;
    va_start(arguments, format);
    (void)vsnprintf(l->trouble, sizeof l->trouble, format, arguments);
    va_end(arguments);
}

/* ---- documents ---- */

merle_bytes ledger_key(merle_key *out, uint32_t worker, uint32_t key) {
    return merle_key_u64(out, worker * WORKER_KEY + key);
}

merle_bytes ledger_marker_key(merle_key *out, uint32_t worker) {
    return merle_key_u64(out, MARKER_KEY + worker);
}

merle_bytes ledger_build(merle_builder *builder, uint64_t number, uint32_t value, uint32_t filler) {
    static const uint8_t zeros[8192];
    merle_bytes doc = {NULL, 0};
    merle_build_begin(builder);
    merle_build_uint(builder, "n", number);
    if (value != 0) merle_build_uint(builder, "v", value);
    if (filler != 0)
        merle_build_bin(builder, "f",
                        merle_bytes_of(zeros, filler < sizeof zeros ? filler : sizeof zeros));
    if (merle_build_end(builder, &doc) != MERLE_OK) abort();
    return doc;
}

int64_t ledger_now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- events ---- */

int ledger_send(int fd, const ledger_event *event) {
    ssize_t sent;
    /* Less than PIPE_BUF: whole, or not at all. */
    do {
        sent = write(fd, event, sizeof *event);
    } while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof *event ? 0 : -1;
}

static ledger_note *find_open(ledger *l, const ledger_event *event) {
    for (uint32_t i = l->note_count; i-- > 0;) {
        ledger_note *n = &l->notes[i];
        if (n->worker == event->worker && n->attempt == event->attempt) return n;
    }
    trouble(l, "commit %llu of worker %u came back without having begun", (llu)event->attempt,
            event->worker);
    return NULL;
}

static void promise(ledger *l, uint64_t seq) {
    if (seq > l->promised_seq) l->promised_seq = seq;
}

static void take_intent(ledger *l, const ledger_event *event) {
    if (l->note_count == LEDGER_NOTE_MAX) {
        trouble(l, "too many commits for a ledger");
        return;
    }
    ledger_note *n = &l->notes[l->note_count++];
    *n = (ledger_note){.worker = event->worker,
                       .op_count = event->op_count,
                       .attempt = event->attempt,
                       .durability = event->durability};
    memcpy(n->ops, event->ops, sizeof n->ops);
    l->attempts[event->worker] = event->attempt;
}

static void take_done(ledger *l, const ledger_event *event) {
    ledger_note *n = find_open(l, event);
    if (n == NULL) return;
    n->fate = LEDGER_IS_DONE;
    n->seq = event->seq;
    l->commits++;
    l->by_durability[n->durability]++;
    if (n->durability == MERLE_SYNC) promise(l, event->seq);
    promise(l, event->written);
}

/* ---- settling ---- */

static int is_there(const ledger *l, const ledger_note *n, const ledger_marker *markers) {
    (void)l;
    return n->fate != LEDGER_IS_REFUSED && n->attempt <= markers[n->worker].attempt;
}

/* The marker must be that of a commit that was made, at the place where it was made. */
static void settle_marker(ledger *l, uint32_t worker, const ledger_marker *marker) {
    if (marker->attempt == l->markers[worker].attempt) return;
    for (uint32_t i = 0; i < l->note_count; i++) {
        ledger_note *n = &l->notes[i];
        if (n->worker != worker || n->attempt != marker->attempt) continue;
        if (n->fate == LEDGER_IS_REFUSED)
            trouble(l, "commit %llu of worker %u was refused and is there", (llu)n->attempt,
                    worker);
        if (n->fate == LEDGER_IS_DONE && n->seq != marker->seq)
            trouble(l, "commit %llu of worker %u was at seq %llu and is at %llu", (llu)n->attempt,
                    worker, (llu)n->seq, (llu)marker->seq);
        n->seq = marker->seq;
        return;
    }
    trouble(l, "worker %u has commit %llu, which it never made", worker, (llu)marker->attempt);
}

static int compare_seqs(const void *a, const void *b) {
    const ledger_note *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void apply(ledger *l, const ledger_note *n) {
    for (uint32_t i = 0; i < n->op_count; i++)
        l->documents[n->worker][n->ops[i].key] = (ledger_document){n->ops[i], n->seq};
}

/* It has to be the state at one seq: nothing is missing before something that is there. */
static void settle(ledger *l, const ledger_event *event) {
    uint64_t last_there = 0, first_lost = UINT64_MAX;
    for (uint32_t w = 0; w < LEDGER_WORKERS; w++) settle_marker(l, w, &event->markers[w]);
    for (uint32_t i = 0; i < l->note_count; i++) {
        const ledger_note *n = &l->notes[i];
        if (is_there(l, n, event->markers)) {
            if (n->seq == 0) trouble(l, "a commit between two others has not come back");
            if (n->seq > last_there) last_there = n->seq;
        } else if (n->fate == LEDGER_IS_DONE) {
            l->lost++;
            if (n->seq < first_lost) first_lost = n->seq;
        }
    }
    if (first_lost <= l->promised_seq)
        trouble(l, "commit at seq %llu is gone, %llu was promised", (llu)first_lost,
                (llu)l->promised_seq);
    if (first_lost < last_there)
        trouble(l, "commit at seq %llu is gone, %llu is there", (llu)first_lost, (llu)last_there);
    if (last_there > event->seq || event->seq < l->promised_seq)
        trouble(l, "opened at seq %llu, %llu is there, %llu was promised", (llu)event->seq,
                (llu)last_there, (llu)l->promised_seq);
    if (!l->is_opening_unknown && first_lost <= event->seq)
        trouble(l, "opened at seq %llu without commit %llu", (llu)event->seq, (llu)first_lost);
    qsort(l->notes, l->note_count, sizeof *l->notes, compare_seqs);
    for (uint32_t i = 0; i < l->note_count; i++)
        if (is_there(l, &l->notes[i], event->markers)) apply(l, &l->notes[i]);
    memcpy(l->markers, event->markers, sizeof l->markers);
    l->note_count = 0;
    l->is_opening_unknown = 0;
    promise(l, event->seq);
}

void ledger_take(ledger *l, const ledger_event *event) {
    ledger_note *n;
    switch (event->kind) {
    case LEDGER_AT_IT:
        break;
    case LEDGER_OPENED:
        settle(l, event);
        break;
    case LEDGER_INTENT:
        take_intent(l, event);
        break;
    case LEDGER_DONE:
        take_done(l, event);
        break;
    case LEDGER_REFUSED:
        if ((n = find_open(l, event)) != NULL) n->fate = LEDGER_IS_REFUSED;
        l->refused++;
        break;
    case LEDGER_CLOSED:
        promise(l, event->seq);
        break;
    case LEDGER_TROUBLE:
        trouble(l, "%s", event->text);
        break;
    }
}

/* ---- comparing ---- */

static void compare_one(ledger *l, merle_section *s, merle_collection *things, uint32_t worker,
                        uint32_t key, const int64_t times[2], uint64_t *count) {
    const ledger_document *wanted = &l->documents[worker][key];
    merle_key k;
    merle_doc doc, by_value;
    merle_err err = merle_get(s, things, ledger_key(&k, worker, key), &doc);
    int64_t expires = wanted->is.expires_ns;
    int is_due = expires != 0 && expires <= times[0];
    int may_be_due = expires != 0 && expires <= times[1];
    *count += err == MERLE_OK;
    if (wanted->is.number == 0 || is_due) {
        if (err != MERLE_NOT_FOUND)
            trouble(l, "key %u of worker %u: %s, nothing should be there", key, worker,
                    merle_err_name(err));
        return;
    }
    if (err == MERLE_NOT_FOUND && may_be_due) return;
    if (err != MERLE_OK) {
        trouble(l, "key %u of worker %u: %s, %u should be there", key, worker, merle_err_name(err),
                wanted->is.number);
        return;
    }
    if (merle_doc_uint(doc, "n", 0) != wanted->is.number || doc.seq != wanted->seq ||
        merle_doc_uint(doc, "v", 0) != wanted->is.value || merle_doc_expires(doc) != expires)
        trouble(l, "key %u of worker %u: %llu at seq %llu, should be %u at %llu", key, worker,
                (llu)merle_doc_uint(doc, "n", 0), (llu)doc.seq, wanted->is.number,
                (llu)wanted->seq);
    if (wanted->is.value != 0 &&
        (merle_get_by(s, things, "v", &by_value, merle_value_uint(wanted->is.value)) != MERLE_OK ||
         by_value.seq != doc.seq || by_value.size != doc.size))
        trouble(l, "key %u of worker %u is not under its value %u", key, worker, wanted->is.value);
}

/* The section's time lies between the two. */
static void compare(ledger *l, merle_db *db, merle_collection *things) {
    merle_section s;
    uint64_t count = 0, counted = 0;
    int64_t times[2];
    merle_report report = {0};
    times[0] = ledger_now_ns();
    if (merle_section_begin(db, &s) != MERLE_OK) abort();
    times[1] = ledger_now_ns();
    for (uint32_t w = 0; w < LEDGER_WORKERS; w++) {
        for (uint32_t i = 0; i < LEDGER_KEYS; i++) compare_one(l, &s, things, w, i, times, &count);
        count += l->markers[w].attempt != 0;
    }
    merle_err err = merle_count(&s, things, &counted);
    if (err != MERLE_OK || counted != count)
        trouble(l, "%llu documents are counted, %llu are there", (llu)counted, (llu)count);
    (void)merle_section_end(&s);
    err = merle_check(db, &report);
    if (err != MERLE_OK) trouble(l, "merle_check: %s, %.180s", merle_err_name(err), report.message);
}

static void read_markers(ledger *l, merle_db *db, merle_collection *things, ledger_event *out) {
    merle_section s;
    merle_doc doc;
    merle_key k;
    if (merle_section_begin(db, &s) != MERLE_OK) abort();
    for (uint32_t w = 0; w < LEDGER_WORKERS; w++) {
        merle_err err = merle_get(&s, things, ledger_marker_key(&k, w), &doc);
        if (err == MERLE_OK)
            out->markers[w] = (ledger_marker){merle_doc_uint(doc, "n", 0), doc.seq};
        else if (err != MERLE_NOT_FOUND)
            trouble(l, "marker %u: %s", w, merle_err_name(err));
    }
    (void)merle_section_end(&s);
}

void ledger_judge(ledger *l, merle_db *db, merle_collection *things, ledger_event *out) {
    merle_recovery_info info = {.size = sizeof info};
    *out = (ledger_event){.kind = LEDGER_OPENED};
    if (merle_recovery(db, &info) != MERLE_OK) abort();
    out->seq = info.last_seq;
    read_markers(l, db, things, out);
    ledger_take(l, out);
    compare(l, db, things);
    if (l->trouble[0] == 0) return;
    out->kind = LEDGER_TROUBLE;
    (void)snprintf(out->text, sizeof out->text, "%.199s", l->trouble);
}
