/* events/publish.c - opening and closing a publisher, its thread, and one round of its work.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "base/thread.h"
#include "events/publish_private.h"

#define KIBIBYTE 1024u
#define NAP_NS 200000u      /* while it is busy it naps and looks again, and is not woken */
#define STEP_ROUND_MAX 4096 /* rounds of one step */

/* ---- options ---- */

static merle_err complete(const merle_publish_options *given, merle_publish_options *out) {
    memset(out, 0, sizeof *out);
    size_t size = given == NULL ? 0 : given->size == 0 ? sizeof *given : given->size;
    /* A program built against an older header has a shorter struct: the rest stays zero. */
    if (size > sizeof *out) return MERLE_INVALID;
    if (size > 0) memcpy(out, given, size);
    if (out->secret.size > MERLE_SECRET_SIZE_MAX)
        return mrl_report_fill(out->report, MERLE_INVALID, "the secret is above 256 bytes");
    if ((unsigned)out->threads > MERLE_THREADS_BACKGROUND ||
        (unsigned)out->follow > MERLE_FOLLOW_PUBLISHED)
        return mrl_report_fill(out->report, MERLE_INVALID, "unknown value of threads or follow");
    if (out->client_max == 0) out->client_max = 256;
    if (out->question_max == 0) out->question_max = 4;
    if (out->question_size_max == 0) out->question_size_max = 64 * KIBIBYTE;
    if (out->answer_size == 0) out->answer_size = 256 * KIBIBYTE;
    if (out->answer_size_max == 0) out->answer_size_max = 4096 * KIBIBYTE;
    if (out->wait_ms_max == 0) out->wait_ms_max = 30000;
    if (out->idle_ms_max == 0) out->idle_ms_max = 60000;
    if (out->news_queue == 0) out->news_queue = 256;
    if (out->news_peer_max == 0) out->news_peer_max = 1024;
    if (out->batch_size_max == 0) out->batch_size_max = 1024 * KIBIBYTE;
    if (out->gather_ns == 0) out->gather_ns = 500000;
    if (out->unsent_max == 0) out->unsent_max = 256 * KIBIBYTE * KIBIBYTE;
    return MERLE_OK;
}

/* ---- sockets ---- */

static void is_ready(void *context) {
    merle_publisher *publisher = context;
    mrl_event_signal(&publisher->wake);
}

static merle_err listen_to(merle_publisher *publisher, mrl_socket *socket, const char *const *urls,
                           mrl_address_list *addresses) {
    const mrl_net *net = publisher->ground.net;
    for (; *urls != NULL; urls++) {
        if (addresses->count == MERLE_PUBLISH_ADDRESS_MAX)
            return mrl_report_fill(publisher->options.report, MERLE_INVALID,
                                   "more than %u addresses", MERLE_PUBLISH_ADDRESS_MAX);
        merle_err err = net->listen(socket, *urls, addresses->urls[addresses->count], MRL_URL_MAX,
                                    publisher->options.report);
        if (err != MERLE_OK) return err;
        addresses->count++;
    }
    return MERLE_OK;
}

static merle_err open_socket(merle_publisher *publisher, mrl_net_role role, const char *const *urls,
                             mrl_address_list *addresses, mrl_socket **out_socket) {
    const merle_publish_options *options = &publisher->options;
    const mrl_net *net = publisher->ground.net;
    mrl_net_tls tls = {0};
    if (urls == NULL || *urls == NULL) return MERLE_OK;
    if (options->tls != NULL)
        tls = (mrl_net_tls){.authorities = options->tls->authorities,
                            .certificate = options->tls->certificate,
                            .key = options->tls->key};
    mrl_net_options net_options = {
        .receive_max = options->question_size_max,
        .queue = role == MRL_NET_PUBLISH ? options->news_queue : 0,
        .peer_max = role == MRL_NET_PUBLISH ? options->news_peer_max : options->client_max,
        .ipc_mode = options->ipc_mode,
        .tls = options->tls != NULL ? &tls : NULL,
        .ready_context = publisher,
        .ready = is_ready,
        .question_max = options->question_max,
        .unsent_max = 2 * (size_t)options->answer_size_max,
    };
    merle_err err = net->open(net->context, role, &net_options, out_socket, options->report);
    return err != MERLE_OK ? err : listen_to(publisher, *out_socket, urls, addresses);
}

merle_err mrl_publisher_send(merle_publisher *publisher, const merle_buffer *bytes) {
    const mrl_net *net = publisher->ground.net;
    mrl_message message;
    merle_err err = net->message_make(net->context, bytes->size, &message);
    if (err == MERLE_OK) {
        memcpy(message.data, bytes->data, bytes->size);
        err = net->send(publisher->news_socket, &message);
    }
    if (err == MERLE_OK)
        publisher->stats.news_bytes += bytes->size;
    else
        publisher->stats.failures++;
    return err;
}

/* ---- rounds ---- */

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void look_at_unsent(merle_publisher *publisher) {
    mrl_net_stats of = {0};
    if (publisher->service_socket != NULL)
        publisher->ground.net->stat(publisher->service_socket, &of);
    publisher->unsent = of.unsent;
}

uint64_t mrl_publisher_round(merle_publisher *publisher, uint64_t now_ns) {
    uint64_t told_seq = publisher->told_seq;
    look_at_unsent(publisher);
    int has_more = publisher->service_socket != NULL && mrl_service_take(publisher, now_ns);
    uint64_t due_ns = mrl_news_round(publisher, now_ns);
    if (publisher->service_socket != NULL) {
        due_ns = earlier(due_ns, mrl_catchup_round(publisher, now_ns));
        due_ns = earlier(due_ns, mrl_snapshot_round(publisher, now_ns));
        due_ns = earlier(due_ns, mrl_service_round(publisher, now_ns));
        due_ns = earlier(due_ns, mrl_session_sweep(publisher, now_ns));
    }
    publisher->was_busy = publisher->told_seq != told_seq;
    return has_more || due_ns <= now_ns ? 0 : due_ns - now_ns;
}

/* While something was told just now it naps, and looks again by itself: a writer who is busy pays
 * nothing for it. Only when nothing came in a nap does it ask to be woken. */
static void rest(merle_publisher *publisher, uint32_t seen, uint64_t wait_ns) {
    if (wait_ns == 0) return;
    if (publisher->was_busy)
        wait_ns = earlier(wait_ns, NAP_NS);
    else if (!publisher->is_pausing && !mrl_follower_arm(&publisher->follower, publisher->told_seq))
        return;
    (void)mrl_event_wait(&publisher->wake, seen, wait_ns);
    mrl_follower_disarm(&publisher->follower);
}

static void close_cursors(merle_publisher *publisher) {
    merle_changes_close(publisher->changes);
    publisher->changes = NULL;
    for (mrl_session *session = publisher->sessions; session != NULL; session = session->next)
        mrl_catchup_close(session);
}

static void *run(void *context) {
    merle_publisher *publisher = context;
    while (!atomic_load_explicit(&publisher->stop, memory_order_acquire)) {
        uint32_t seen = mrl_event_count(&publisher->wake);
        if (atomic_load_explicit(&publisher->stop, memory_order_acquire)) break;
        mrl_lock_take(&publisher->lock);
        uint64_t wait_ns = mrl_publisher_round(publisher, mrl_publisher_now(publisher));
        mrl_lock_drop(&publisher->lock);
        rest(publisher, seen, wait_ns);
    }
    close_cursors(publisher);
    return NULL;
}

static merle_err start_thread(merle_publisher *publisher) {
    int failed = mrl_thread_start("merle-events", run, publisher, &publisher->thread);
    if (failed != 0)
        return mrl_report_fill(publisher->options.report, MERLE_SYSTEM, "no thread can be started");
    publisher->has_thread = 1;
    return MERLE_OK;
}

/* Whether the thread that stepped it has ended: its cursor tells. */
static int is_abandoned(const merle_publisher *publisher) {
    return publisher->changes != NULL && mrl_changes_owner(publisher->changes) == NULL;
}

/* Whether it is this thread that steps; the first one is. Locked. */
static merle_err be_owner(merle_publisher *publisher, mrl_member *member) {
    if (publisher->owner == NULL) {
        merle_err err = mrl_news_open(publisher);
        if (err != MERLE_OK) return err;
        publisher->owner = member;
    }
    return publisher->owner == member && !is_abandoned(publisher) ? MERLE_OK : MERLE_WRONG_THREAD;
}

merle_err merle_publisher_step(merle_publisher *publisher, uint64_t budget_ns,
                               uint64_t *out_wait_ns) {
    if (out_wait_ns != NULL) *out_wait_ns = 0;
    if (publisher == NULL || publisher->has_thread) return MERLE_INVALID;
    mrl_store *store = publisher->ground.store;
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    mrl_lock_take(&publisher->lock);
    merle_err err = be_owner(publisher, member);
    uint64_t begin_ns = mrl_publisher_now(publisher), now_ns = begin_ns, wait_ns = 0;
    for (int i = 0; err == MERLE_OK && i < STEP_ROUND_MAX && wait_ns == 0; i++) {
        wait_ns = mrl_publisher_round(publisher, now_ns);
        now_ns = mrl_publisher_now(publisher);
        if (now_ns - begin_ns >= budget_ns) break;
    }
    mrl_lock_drop(&publisher->lock);
    if (out_wait_ns != NULL) *out_wait_ns = wait_ns;
    return err;
}

/* ---- opening and closing ---- */

static void take_over(merle_publisher *publisher, const mrl_publish_ground *ground) {
    const merle_publish_options *options = &publisher->options;
    mrl_store *store = ground->store;
    publisher->ground = *ground;
    publisher->ground.terms = NULL;
    publisher->term_count =
        (uint32_t)(ground->term_count < MRL_WIRE_TERM_MAX ? ground->term_count : MRL_WIRE_TERM_MAX);
    if (publisher->term_count > 0)
        memcpy(publisher->terms, ground->terms, publisher->term_count * sizeof(mrl_wire_term));
    publisher->secret_size = options->secret.size;
    if (options->secret.size > 0)
        memcpy(publisher->secret, options->secret.data, options->secret.size);
    mrl_lock_init(&publisher->lock);
    mrl_event_init(&publisher->wake);
    mrl_follow follow = options->follow == MERLE_FOLLOW_PUBLISHED ? MRL_FOLLOW_PUBLISHED
                        : store->durability == MERLE_MEMORY       ? MRL_FOLLOW_WRITTEN
                                                                  : MRL_FOLLOW_DURABLE;
    mrl_follower_init(&publisher->follower, store->log, follow, &publisher->wake, -1);
    publisher->begin_seq = publisher->told_seq = mrl_publisher_visible(publisher);
    publisher->flushed_ns = 0;
    publisher->beat_ns = mrl_publisher_now(publisher);
}

static void take_down(merle_publisher *publisher) {
    const mrl_net *net = publisher->ground.net;
    mrl_store *store = publisher->ground.store;
    close_cursors(publisher);
    mrl_service_fini(publisher);
    /* No more `ready` once they are closed: only then may the event go. */
    if (publisher->news_socket != NULL) net->close(publisher->news_socket);
    if (publisher->service_socket != NULL) net->close(publisher->service_socket);
    mrl_follower_close(&publisher->follower);
    mrl_news_fini(publisher);
    merle_buffer_free(&publisher->scratch);
    merle_buffer_free(&publisher->scratch2);
    atomic_fetch_sub_explicit(&store->cursors_open, 1, memory_order_release);
    free(publisher);
}

merle_err mrl_publish_open(const mrl_publish_ground *ground, const merle_publish_options *given,
                           merle_publisher **out_publisher) {
    merle_publish_options options;
    *out_publisher = NULL;
    if (mrl_domain_is_forked(ground->store->domain)) return MERLE_FORKED;
    merle_err err = complete(given, &options);
    if (err != MERLE_OK) return err;
    mrl_report_clear(options.report);
    merle_publisher *publisher = mrl_allocate(sizeof *publisher);
    if (publisher == NULL) return mrl_report_fill(options.report, MERLE_NO_MEMORY, NULL);
    memset(publisher, 0, sizeof *publisher);
    publisher->options = options;
    take_over(publisher, ground);
    /* Counts as a cursor that is open, also while it has none: the database waits for its close. */
    atomic_fetch_add_explicit(&ground->store->cursors_open, 1, memory_order_relaxed);
    err = open_socket(publisher, MRL_NET_PUBLISH, options.news, &publisher->news_addresses,
                      &publisher->news_socket);
    if (err == MERLE_OK)
        err = open_socket(publisher, MRL_NET_ANSWER, options.service, &publisher->service_addresses,
                          &publisher->service_socket);
    /* What the caller's options point to is his again from here on. */
    if (err == MERLE_OK && ground->may_have_thread && options.threads != MERLE_THREADS_NONE)
        err = start_thread(publisher);
    if (err != MERLE_OK) {
        take_down(publisher);
        return err;
    }
    *out_publisher = publisher;
    return MERLE_OK;
}

merle_err merle_publisher_close(merle_publisher *publisher) {
    if (publisher == NULL) return MERLE_OK;
    mrl_store *store = publisher->ground.store;
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    if (publisher->has_thread) {
        atomic_store_explicit(&publisher->stop, 1, memory_order_release);
        mrl_event_signal(&publisher->wake);
        pthread_join(publisher->thread, NULL);
    } else if (publisher->owner != NULL && publisher->owner != member && !is_abandoned(publisher)) {
        return MERLE_WRONG_THREAD;
    }
    take_down(publisher);
    return MERLE_OK;
}

static const char *address(const mrl_address_list *addresses, uint32_t n) {
    return n < addresses->count ? addresses->urls[n] : NULL;
}

const char *merle_publisher_news_address(const merle_publisher *publisher, uint32_t n) {
    return publisher == NULL ? NULL : address(&publisher->news_addresses, n);
}

const char *merle_publisher_service_address(const merle_publisher *publisher, uint32_t n) {
    return publisher == NULL ? NULL : address(&publisher->service_addresses, n);
}

/* ---- figures ---- */

static uint64_t bytes_of(const merle_publisher *publisher) {
    uint64_t bytes = sizeof *publisher + publisher->scratch.capacity + publisher->scratch2.capacity;
    bytes += publisher->topic_of_count * sizeof(mrl_topic *);
    for (const mrl_topic *topic = publisher->topics; topic != NULL; topic = topic->next)
        bytes += sizeof *topic + topic->commits.capacity;
    for (const mrl_session *s = publisher->sessions; s != NULL; s = s->next)
        bytes += sizeof *s + s->filter_bytes.capacity +
                 s->filter_count * sizeof(mrl_session_filter) + s->page_message.size;
    return bytes;
}

static void add_sockets(merle_publisher *publisher, merle_publisher_stats *stats) {
    const mrl_net *net = publisher->ground.net;
    mrl_net_stats of = {0};
    if (publisher->news_socket != NULL) net->stat(publisher->news_socket, &of);
    stats->news_peers = of.peers;
    stats->news_peers_refused = of.peers_refused;
    stats->news_peers_ended = of.peers_ended;
    stats->news_dropped = of.dropped;
    stats->relistened = of.relistened;
    memset(&of, 0, sizeof of);
    if (publisher->service_socket != NULL) net->stat(publisher->service_socket, &of);
    stats->service_peers = of.peers;
    stats->service_peers_refused = of.peers_refused;
    stats->service_peers_ended = of.peers_ended;
    stats->relistened += of.relistened;
    stats->bytes_unsent = of.unsent + publisher->held;
}

merle_err merle_publisher_stat(merle_publisher *publisher, merle_publisher_stats *out_stats) {
    if (publisher == NULL || out_stats == NULL) return MERLE_INVALID;
    if (mrl_domain_is_forked(publisher->ground.store->domain)) return MERLE_FORKED;
    size_t size = out_stats->size == 0 ? sizeof *out_stats : out_stats->size;
    if (size > sizeof *out_stats) return MERLE_INVALID;
    mrl_lock_take(&publisher->lock);
    merle_publisher_stats stats = publisher->stats;
    stats.seq = mrl_publisher_visible(publisher);
    stats.seq_told = publisher->told_seq;
    stats.clients = publisher->session_count;
    stats.bytes = bytes_of(publisher);
    for (const mrl_session *s = publisher->sessions; s != NULL; s = s->next)
        stats.answers_held += (uint64_t)(s->poll != NULL) + (uint64_t)(s->page != NULL);
    stats.answers_held += publisher->slow_count;
    add_sockets(publisher, &stats);
    mrl_lock_drop(&publisher->lock);
    stats.size = size;
    memcpy(out_stats, &stats, size);
    return MERLE_OK;
}

static void describe(const merle_publisher *publisher, const mrl_session *session, uint64_t now_ns,
                     merle_client_info *out) {
    uint64_t visible = mrl_publisher_visible(publisher);
    memset(out, 0, sizeof *out);
    memcpy(out->name, session->name, sizeof out->name);
    out->peer = session->peer;
    out->seq = session->told_seq;
    out->lag = visible > session->told_seq ? visible - session->told_seq : 0;
    out->bytes_waiting = session->page_message.size;
    out->questions = session->questions;
    out->bytes = session->bytes;
    out->gaps = session->gaps;
    out->resyncs = session->resyncs;
    out->lost = session->lost;
    out->is_waiting = session->poll != NULL || session->page != NULL;
    out->idle_ns = out->is_waiting || now_ns < session->seen_ns ? 0 : now_ns - session->seen_ns;
}

merle_err merle_publisher_clients(merle_publisher *publisher, merle_client_info *out_clients,
                                  size_t client_max, size_t *out_count) {
    *out_count = 0;
    if (publisher == NULL || (out_clients == NULL && client_max > 0)) return MERLE_INVALID;
    if (mrl_domain_is_forked(publisher->ground.store->domain)) return MERLE_FORKED;
    mrl_lock_take(&publisher->lock);
    uint64_t now_ns = mrl_publisher_now(publisher);
    for (const mrl_session *s = publisher->sessions; s != NULL && *out_count < client_max;
         s = s->next)
        describe(publisher, s, now_ns, &out_clients[(*out_count)++]);
    mrl_lock_drop(&publisher->lock);
    return MERLE_OK;
}
