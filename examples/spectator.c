/* examples/spectator.c - looks on at the game of live.c, from a process of its own.
 *
 * It keeps a copy of the players and of things (the bank, the throne), and judges each commit as a
 * whole: the gold must always be 10,000 in all, which it keeps by adding what each change adds; and
 * each tick must follow the one before, also across a restart of the server. It ends with the game.
 * It knows nothing of merle but merle/subscribe.h.
 *
 *   spectator SERVICE [NEWS]
 * The last line says what it has come to, in the words of live.c. It returns 0 if all was as it
 * must be. SPDX-License-Identifier: Apache-2.0
 */
#include <merle/subscribe.h>
#include <stdio.h>
#include <string.h>

enum { HEARD_MAX = 64, GOLD_TOTAL = 10000, TICKS_A_WORD = 60 };

typedef struct spectator {
    merle_subscriber *subscriber;
    int64_t players_gold, things_gold, tick; /* as of the last change */
    uint64_t commits, ticks;                 /* heard */
    uint64_t wrong;   /* sums that were not GOLD_TOTAL, ticks left out or heard twice */
    uint64_t term_id; /* of the server's life, which gets another at each opening */
    int restarts, is_over;
} spectator;

static int is_key(merle_bytes key, const char *word) {
    return key.size == strlen(word) && memcmp(key.data, word, key.size) == 0;
}

static int64_t gold_of(merle_doc doc) {
    return doc.data == NULL ? 0 : merle_doc_int(doc, "gold", 0);
}

static int64_t *gold_in(spectator *s, const char *collection) {
    return strcmp(collection, "players") == 0 ? &s->players_gold : &s->things_gold;
}

static int64_t all_gold(const spectator *s) {
    return s->players_gold + s->things_gold;
}

/* ---- what is heard ---- */

static void count_tick(spectator *s, int64_t tick) {
    if (tick == s->tick) return;
    if (tick != s->tick + 1) {
        s->wrong++;
        printf("tick %lld came after tick %lld\n", (long long)tick, (long long)s->tick);
    }
    s->tick = tick;
    s->ticks++;
    if (tick % TICKS_A_WORD == 0)
        printf("tick %lld; the gold is %lld\n", (long long)tick, (long long)all_gold(s));
}

static void hear_update(spectator *s, const merle_heard *heard) {
    *gold_in(s, heard->collection) += gold_of(heard->after) - gold_of(heard->before);
    if (is_key(heard->key, "bank")) count_tick(s, merle_doc_int(heard->after, "tick", 0));
    if (is_key(heard->key, "over")) s->is_over = 1;
    if (is_key(heard->key, "throne"))
        printf("the throne goes from p%lld to p%lld\n",
               (long long)merle_doc_int(heard->before, "holder", -1),
               (long long)merle_doc_int(heard->after, "holder", -1));
}

/* A whole stands: between two changes of one commit gold is on its way. */
static void judge_commit(spectator *s, const merle_heard *heard) {
    s->commits++;
    if (all_gold(s) == GOLD_TOTAL) return;
    s->wrong++;
    printf("commit %llu: the gold is %lld\n", (unsigned long long)heard->seq,
           (long long)all_gold(s));
}

static void hear(spectator *s, const merle_heard *heard) {
    switch (heard->kind) {
    case MERLE_HEARD_CONNECTED:
        printf("connected\n");
        break;
    case MERLE_HEARD_DISCONNECTED:
        printf("the server is gone; I wait\n");
        break;
    case MERLE_HEARD_TROUBLE:
    case MERLE_HEARD_GAP:
        printf("%s\n", heard->text);
        break;
    case MERLE_HEARD_SNAPSHOT_BEGIN:
        *gold_in(s, heard->collection) = 0;
        break;
    case MERLE_HEARD_DOCUMENT:
        *gold_in(s, heard->collection) += gold_of(heard->after);
        if (is_key(heard->key, "bank")) s->tick = merle_doc_int(heard->after, "tick", 0);
        if (is_key(heard->key, "over")) s->is_over = 1;
        break;
    case MERLE_HEARD_INSERT:
    case MERLE_HEARD_UPDATE:
    case MERLE_HEARD_REMOVE:
        hear_update(s, heard);
        break;
    default:
        break;
    }
    if (heard->ends) judge_commit(s, heard);
}

static void look_at_term(spectator *s) {
    merle_subscriber_stats stats = {.size = sizeof stats};
    if (merle_subscriber_get_stats(s->subscriber, &stats) != MERLE_OK) return;
    if (s->term_id != 0 && stats.term_id != s->term_id) {
        s->restarts++;
        printf("the server was started anew; I go on behind commit %llu\n",
               (unsigned long long)stats.seq);
    }
    s->term_id = stats.term_id;
}

/* ---- the end ---- */

typedef struct total {
    unsigned long long documents, seqs;
    long long gold;
} total;

static int add(void *context, merle_bytes key, merle_doc doc) {
    total *t = context;
    (void)key;
    t->documents++;
    t->seqs += doc.seq;
    t->gold += gold_of(doc);
    return 0;
}

static void tell_total(spectator *s) {
    total t = {0};
    merle_subscriber_stats stats = {.size = sizeof stats};
    merle_err err = merle_subscriber_each(s->subscriber, "players", add, &t);
    if (err == MERLE_OK) err = merle_subscriber_each(s->subscriber, "things", add, &t);
    if (err == MERLE_OK) err = merle_subscriber_get_stats(s->subscriber, &stats);
    if (err != MERLE_OK) s->wrong++;
    printf(
        "heard documents=%llu seqs=%llu gold=%lld tick=%lld ticks=%llu wrong=%llu "
        "snapshots=%llu missed=%llu restarts=%d\n",
        t.documents, t.seqs, t.gold, (long long)s->tick, (unsigned long long)s->ticks,
        (unsigned long long)s->wrong, (unsigned long long)stats.snapshots,
        (unsigned long long)stats.batches_lost, s->restarts);
}

int main(int argument_count, char **arguments) {
    spectator s = {0};
    merle_heard heard[HEARD_MAX];
    merle_report report = {0};
    size_t count;
    merle_wanted wanted[] = {{.collection = "players"}, {.collection = "things"}};
    merle_subscriber_options options = {
        .name = "spectator", .wanted = wanted, .wanted_count = 2, .keep = 1};
    if (argument_count < 2) {
        fprintf(stderr, "usage: spectator SERVICE [NEWS]\n");
        return 2;
    }
    options.service = arguments[1];
    options.publisher = argument_count > 2 ? arguments[2] : NULL;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    merle_err err = merle_subscriber_open(&options, &s.subscriber, &report);
    while (err == MERLE_OK && !s.is_over) {
        err = merle_subscriber_wait(s.subscriber, UINT64_MAX);
        do {
            if (err == MERLE_OK)
                err = merle_subscriber_next(s.subscriber, heard, HEARD_MAX, &count);
            for (size_t i = 0; err == MERLE_OK && i < count; i++) hear(&s, &heard[i]);
        } while (err == MERLE_OK && count > 0 && !s.is_over);
        look_at_term(&s);
    }
    if (err != MERLE_OK)
        fprintf(stderr, "spectator: %s. %s\n", merle_err_text(err), report.message);
    if (s.is_over) tell_total(&s);
    merle_subscriber_close(s.subscriber);
    return err == MERLE_OK && s.wrong == 0 ? 0 : 1;
}
