/* tests/model/crowd.c - listeners that check what they hear.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/model/crowd.h"

#include "base/buffer.h"
#include "document/patch.h"

enum { HEARD_MAX = 7, MATCHES_FROM = 50 };

typedef unsigned long long llu;

const char *const crowd_names[NAMES] = {"players", "scores", "fleeting"};
const char *const crowd_keys[KEYS] = {"a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"};

/* What each listener wants, and how it listens. */
typedef struct taste {
    int wants[NAMES]; /* all of them 0: everything */
    const char *prefix, *condition;
    int hears_news, keeps;
    uint32_t answer_max;
} taste;

static const taste tastes[LISTENERS] = {
    {.wants = {1, 0, 0}, .hears_news = 1, .keeps = 1},
    {.wants = {1, 1, 0}, .hears_news = 1, .answer_max = 300},
    {.wants = {0, 0, 0}, .hears_news = 1},
    {.wants = {1, 0, 0}, .prefix = "a", .keeps = 1},
    {.wants = {1, 0, 0}, .condition = "level >= 50", .answer_max = 3000},
    {.wants = {1, 0, 1}, .hears_news = 1},
    {.wants = {0, 0, 0}, .keeps = 1, .answer_max = 200},
    {.wants = {0, 1, 0}, .condition = "level >= 50", .prefix = "b", .keeps = 1},
};

static int wants(const listener *l, int name) {
    const taste *t = &tastes[l->number];
    int wants_all = !t->wants[0] && !t->wants[1] && !t->wants[2];
    return wants_all || t->wants[name];
}

static int is_fleeting(const listener *l) {
    return wants(l, FLEETING);
}

_Noreturn void crowd_fail(const crowd *c, const listener *l, const char *what) {
    printf("# seed %llu: %s\n", (llu)c->seed, what);
    if (l != NULL)
        printf("# subscriber %u, heard up to %llu/%u in term %d\n", l->number, (llu)l->now.seq,
               l->now.position, crowd_term(c, l->now.term_id));
    for (int i = 0; i < c->term_count; i++)
        printf("# term %d goes on from %d at %llu, began at %llu, ended at %llu\n", i,
               c->terms[i].before, (llu)c->terms[i].before_end, (llu)c->terms[i].first_seq,
               (llu)c->terms[i].last_seq);
    (void)fflush(stdout);
    fail();
    abort();
}

/* ---- what is true ---- */

uint32_t crowd_number(merle_doc doc) {
    if (doc.data == NULL) return 0;
    return (uint32_t)merle_doc_uint(doc, "level", 0) | (uint32_t)merle_doc_str(doc, "pad").size
                                                           << 8;
}

int crowd_term(const crowd *c, uint64_t id) {
    for (int i = 0; i < c->term_count; i++)
        if (c->terms[i].id == id) return i;
    return -1;
}

const truth *crowd_truth(const crowd *c, int number, uint64_t seq) {
    static const truth unknown;
    while (number >= 0 && seq < c->terms[number].first_seq) {
        const term *t = &c->terms[number];
        if (seq > t->before_end) return &unknown; /* of an opening that did not come back */
        number = t->before;
    }
    if (number < 0) return &unknown;
    const term *t = &c->terms[number];
    return seq > t->last_seq ? NULL : &c->nodes[t->first_node + (seq - t->first_seq)];
}

truth *crowd_note(crowd *c, uint64_t seq) {
    term *t = &c->terms[c->term_count - 1];
    while (c->node_count == t->first_node || t->last_seq < seq) {
        if (c->node_count == NODE_MAX) crowd_fail(c, NULL, "there is no room for so many commits");
        t->last_seq = t->first_seq + (c->node_count - t->first_node);
        c->nodes[c->node_count++] = (truth){.is_known = 0};
    }
    return &c->nodes[c->node_count - 1];
}

/* ---- a listener's copy ---- */

static void forget(kept_document *d) {
    free(d->bytes);
    *d = (kept_document){.bytes = NULL};
}

static void put(kept_document *d, const void *bytes, size_t size, int64_t expires_ns) {
    uint8_t *made = malloc(size);
    assert_non_null(made);
    memcpy(made, bytes, size);
    forget(d);
    *d = (kept_document){made, size, expires_ns};
}

static void forget_all(copy *of, int name) {
    for (int key = 0; key < KEYS; key++) forget(&of->documents[name][key]);
}

static void take_copy(copy *to, const copy *from) {
    for (int name = 0; name < NAMES; name++) forget_all(to, name);
    *to = *from;
    memset(to->documents, 0, sizeof to->documents);
    for (int name = 0; name < NAMES; name++)
        for (int key = 0; key < KEYS; key++) {
            const kept_document *d = &from->documents[name][key];
            if (d->bytes != NULL) put(&to->documents[name][key], d->bytes, d->size, d->expires_ns);
        }
}

static int name_of(const char *collection) {
    for (int name = 0; collection != NULL && name < NAMES; name++)
        if (strcmp(crowd_names[name], collection) == 0) return name;
    return -1;
}

static kept_document *document_of(const crowd *c, listener *l, const merle_heard *h) {
    int name = name_of(h->collection);
    for (int key = 0; name >= 0 && key < KEYS; key++)
        if (h->key.size == 2 && memcmp(h->key.data, crowd_keys[key], 2) == 0)
            return &l->now.documents[name][key];
    crowd_fail(c, l, "a change of what there never was");
}

static void update(const crowd *c, listener *l, const merle_heard *h) {
    kept_document *d = document_of(c, l, h);
    if (h->after.data != NULL) {
        put(d, h->after.data, h->after.size, h->expires_ns);
        return;
    }
    if (d->bytes == NULL) crowd_fail(c, l, "an effect on a document that is not there");
    merle_err err = mrl_effect_apply(d->bytes, d->size, h->effect, &l->scratch, NULL);
    if (err != MERLE_OK) crowd_fail(c, l, "an effect that does not fit");
    put(d, l->scratch.data, l->scratch.size, h->expires_ns);
}

/* ---- comparing ---- */

static int matches(const listener *l, int key, uint32_t number) {
    const taste *t = &tastes[l->number];
    if (t->prefix != NULL && crowd_keys[key][0] != t->prefix[0]) return 0;
    return number != 0 && (t->condition == NULL || (number & 0xff) >= MATCHES_FROM);
}

static void compare_document(const crowd *c, listener *l, const truth *there, int name, int key) {
    const kept_document *d = &l->now.documents[name][key];
    merle_doc doc = {d->bytes, d->size, 0, NULL};
    uint32_t true_one = there->documents[name][key], ours = crowd_number(doc);
    if (!matches(l, key, true_one)) true_one = 0;
    if (!matches(l, key, ours)) ours = 0; /* it has left, which is all that is said of it */
    /* What is due is hidden from who looks, and is removed a little later. */
    const mrl_clock *clock = network_clock(c->net);
    int64_t expires_ns = there->expires_ns[name][key];
    int was_due = d->bytes != NULL && d->expires_ns != 0 && d->expires_ns <= there->wall_ns;
    int is_due = expires_ns != 0 && expires_ns <= clock->wall_ns(clock->context);
    if (ours != true_one && !(was_due && true_one == 0) && !(is_due && ours == 0)) {
        printf("# %s %s: %x, and %x is true\n", crowd_names[name], crowd_keys[key], ours, true_one);
        crowd_fail(c, l, "a document that differs");
    }
    if (!tastes[l->number].keeps || l->now.is_void) return;
    merle_err err = merle_subscriber_get(l->s, crowd_names[name], merle_str(crowd_keys[key]), &doc);
    uint32_t kept = err == MERLE_OK ? crowd_number(doc) : 0;
    if (matches(l, key, kept) != (kept != 0) || (ours != 0) != (kept != 0) || kept != ours)
        crowd_fail(c, l, "the library keeps another document");
}

static void compare(const crowd *c, listener *l, const truth *there) {
    if (there == NULL) crowd_fail(c, l, "a commit that there is not");
    c->sums->unknown += !there->is_known;
    if (!there->is_known) return;
    c->sums->compared++;
    for (int name = 0; name < NAMES; name++)
        for (int key = 0; wants(l, name) && !l->now.is_stale[name] && key < KEYS; key++)
            compare_document(c, l, there, name, key);
}

/* ---- hearing ---- */

/* Whether the place is no part of what the server has now: then a snapshot is needed. */
static int is_gone_in(const crowd *c, const copy *of, int term_now) {
    uint64_t end = UINT64_MAX;
    int heard_in = crowd_term(c, of->term_id), at = term_now;
    while (at >= 0 && at != heard_in) {
        end = c->terms[at].before_end;
        at = c->terms[at].before;
    }
    return at < 0 || of->seq > end || (of->seq == end && of->position > 0);
}

/* Now, or in an opening that came after this was heard: the answer may be an older one. */
static int is_gone(const crowd *c, const listener *l) {
    int is_gone = 0;
    copy place = l->now;
    merle_subscriber_stats stats = {0};
    (void)merle_subscriber_get_stats(l->s, &stats);
    /* It has gone on where nothing was for us. */
    if (stats.seq > place.seq) place.seq = stats.seq;
    for (int i = crowd_term(c, place.term_id) + 1; i < c->term_count; i++)
        is_gone |= is_gone_in(c, &place, i);
    return is_gone;
}

static void hear_gap(const crowd *c, listener *l, const merle_heard *h) {
    int is_of_past = h->reason == MERLE_REASON_HISTORY || h->reason == MERLE_REASON_LOST;
    c->sums->gaps[h->reason]++;
    if (is_of_past && l->now.term_id != 0 && !l->now.is_void && !is_gone(c, l))
        crowd_fail(c, l, "a place is said to be gone, and it is not");
    if (h->reason == MERLE_REASON_DIFFERS) crowd_fail(c, l, "a change did not fit");
    if (h->reason == MERLE_REASON_RESET && !is_fleeting(l) && !wants(l, SCORES))
        crowd_fail(c, l, "a collection is said to be another one");
    if (h->collection == NULL)
        l->now.is_void = 1;
    else
        l->now.is_stale[name_of(h->collection)] = 1;
}

static void hear_snapshot(const crowd *c, listener *l, const merle_heard *h) {
    int name = name_of(h->collection);
    if (h->kind == MERLE_HEARD_SNAPSHOT_BEGIN && name >= 0) forget_all(&l->now, name);
    if (h->kind == MERLE_HEARD_DOCUMENT)
        put(document_of(c, l, h), h->after.data, h->after.size, h->expires_ns);
    if (h->kind == MERLE_HEARD_SNAPSHOT_END && name >= 0) l->now.is_stale[name] = 0;
    l->has_open = !h->ends;
    if (!h->ends) return;
    if (!l->now.is_void && h->seq < l->now.seq) crowd_fail(c, l, "a snapshot of the past");
    c->sums->snapshots++;
    l->now.is_void = 0;
    memset(l->now.is_stale, 0, sizeof l->now.is_stale);
    l->now.seq = h->seq;
    l->now.position = 0;
}

static void hear_change(const crowd *c, listener *l, const merle_heard *h) {
    copy *now = &l->now;
    int is_later =
        h->seq > now->seq + 1 || (h->seq == now->seq + 1 && h->position >= now->position);
    if (!is_later || h->position >= h->count) crowd_fail(c, l, "a change that was heard, or none");
    if (now->is_void) crowd_fail(c, l, "a change, and a snapshot was announced");
    now->seq = h->seq - 1;
    now->position = h->position + 1;
    c->sums->changes++;
    if (h->kind <= MERLE_HEARD_UPDATE) update(c, l, h);
    if (h->kind == MERLE_HEARD_REMOVE || h->kind == MERLE_HEARD_EXPIRE)
        forget(document_of(c, l, h));
    int name = name_of(h->collection);
    if (name < 0) crowd_fail(c, l, "a collection that nobody made");
    if (h->kind == MERLE_HEARD_LOADED) now->is_stale[name] = 1;
    if (h->kind == MERLE_HEARD_TRUNCATE || h->kind == MERLE_HEARD_DROP) forget_all(now, name);
    l->has_open = !h->ends;
}

static void hear(const crowd *c, listener *l, const merle_heard *h) {
    if (h->kind == MERLE_HEARD_TROUBLE) {
        c->sums->troubles++;
        if (h->err == MERLE_CORRUPT) crowd_fail(c, l, h->text);
        return;
    }
    if (h->kind == MERLE_HEARD_GAP) hear_gap(c, l, h);
    if (h->kind >= MERLE_HEARD_SNAPSHOT_BEGIN && h->kind <= MERLE_HEARD_SNAPSHOT_END)
        hear_snapshot(c, l, h);
    if (h->kind >= MERLE_HEARD_INSERT && h->kind <= MERLE_HEARD_LOADED) hear_change(c, l, h);
    if (h->kind == MERLE_HEARD_END) l->has_open = 0;
    if (!h->ends || h->kind < MERLE_HEARD_INSERT) return;
    l->now.seq = h->seq;
    l->now.position = 0;
}

/* The subscriber says in which term it is; a whole has to be what was true there. */
static void judge(crowd *c, listener *l, const merle_heard *last) {
    merle_subscriber_stats stats = {0};
    (void)merle_subscriber_get_stats(l->s, &stats);
    if (last->kind < MERLE_HEARD_SNAPSHOT_END || l->now.is_void) return;
    int number = crowd_term(c, stats.term_id);
    if (number < 0) crowd_fail(c, l, "it is in a term that there never was");
    l->now.term_id = stats.term_id;
    if (c->terms[number].heard_seq < l->now.seq) c->terms[number].heard_seq = l->now.seq;
    if (last->ends) compare(c, l, crowd_truth(c, number, l->now.seq));
}

/* It may go on to another term without hearing anything. */
static void note_term(const crowd *c, listener *l) {
    merle_subscriber_stats stats = {0};
    (void)merle_subscriber_get_stats(l->s, &stats);
    if (!l->now.is_void && crowd_term(c, stats.term_id) >= 0) l->now.term_id = stats.term_id;
}

static void keep_place(listener *l) {
    merle_buffer place = {0};
    merle_err err = merle_subscriber_position(l->s, &place);
    if (err == MERLE_OK && !l->now.is_void) {
        merle_buffer_free(&l->place);
        l->place = place;
        take_copy(&l->then, &l->now);
        return;
    }
    merle_buffer_free(&place);
}

void crowd_turn(crowd *c, uint32_t number) {
    merle_heard heard[HEARD_MAX];
    listener *l = &c->listeners[number];
    size_t count = mrl_subscriber_next(l->s, heard, 1 + crowd_below(c, HEARD_MAX));
    for (size_t i = 0; i < count; i++) hear(c, l, &heard[i]);
    if (count > 0) judge(c, l, &heard[count - 1]);
    note_term(c, l);
    const char *wrong = mrl_subscriber_check(l->s);
    if (wrong != NULL) crowd_fail(c, l, wrong);
    if (crowd_below(c, 60) == 0) keep_place(l);
}

/* ---- coming and going ---- */

void crowd_open(crowd *c, uint32_t number, int resumes) {
    listener *l = &c->listeners[number];
    const taste *t = &tastes[number];
    merle_wanted wanted[NAMES] = {{0}};
    merle_subscriber_options o = {.service = SERVICE_URL,
                                  .publisher = t->hears_news ? NEWS_URL : NULL,
                                  .wanted = wanted,
                                  .secret = c->secret,
                                  .keep = (uint32_t)t->keeps,
                                  .answer_max = t->answer_max,
                                  .wait_ms = 2000,
                                  .answer_ms = 1500};
    char host[16];
    for (int name = 0; name < NAMES; name++) {
        if (!t->wants[name]) continue;
        merle_wanted *w = &wanted[o.wanted_count++];
        *w = (merle_wanted){.collection = crowd_names[name], .condition = t->condition};
        if (t->prefix != NULL) w->prefix = merle_str(t->prefix);
    }
    l->number = number;
    if (resumes) {
        o.position = merle_bytes_of(l->place.data, l->place.size);
        take_copy(&l->now, &l->then);
    } else {
        for (int name = 0; name < NAMES; name++) forget_all(&l->now, name);
        l->now = (copy){.is_void = 1};
    }
    (void)snprintf(host, sizeof host, "listener%u", number);
    mrl_subscriber_seams seams = {.net = network_host(c->net, host),
                                  .clock = network_clock(c->net),
                                  .seed = mrl_random_next(&c->random)};
    merle_report report = {0};
    merle_err err = mrl_subscriber_open(&o, &seams, &l->s, &report);
    if (err != MERLE_OK) crowd_fail(c, l, report.message);
    l->has_open = 0;
}

void crowd_replace(crowd *c, uint32_t number) {
    listener *l = &c->listeners[number];
    char host[16];
    (void)snprintf(host, sizeof host, "listener%u", number);
    if (crowd_below(c, 2)) keep_place(l);
    if (crowd_below(c, 2)) network_kill(c->net, host);
    mrl_subscriber_close(l->s);
    int resumes = l->place.size > 0 && !tastes[number].keeps && crowd_below(c, 6) != 0;
    *(resumes ? &c->sums->resumed : &c->sums->fresh) += 1;
    crowd_open(c, number, resumes);
}

int crowd_is_there(const crowd *c, uint32_t number, uint64_t seq) {
    const listener *l = &c->listeners[number];
    merle_subscriber_stats stats = {0};
    merle_buffer place = {0};
    (void)merle_subscriber_get_stats(l->s, &stats);
    merle_err err = merle_subscriber_position(l->s, &place);
    merle_buffer_free(&place);
    return err == MERLE_OK && stats.seq >= seq && !l->now.is_void && !l->has_open &&
           stats.term_id == c->terms[c->term_count - 1].id;
}

void crowd_compare(crowd *c, uint32_t number) {
    listener *l = &c->listeners[number];
    merle_subscriber_stats stats = {0};
    (void)merle_subscriber_get_stats(l->s, &stats);
    compare(c, l, crowd_truth(c, c->term_count - 1, stats.seq));
}

void crowd_close(crowd *c) {
    for (uint32_t i = 0; i < LISTENERS; i++) {
        listener *l = &c->listeners[i];
        mrl_subscriber_close(l->s);
        for (int name = 0; name < NAMES; name++) {
            forget_all(&l->now, name);
            forget_all(&l->then, name);
        }
        merle_buffer_free(&l->place);
        merle_buffer_free(&l->scratch);
    }
}
