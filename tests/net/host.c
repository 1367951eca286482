/* tests/net/host.c - a published database and its writer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/net/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/channel/end.h"

static const char *const names[HOST_COLLECTIONS] = {"players", "items", "places"};

const char *const host_transports[HOST_TRANSPORTS] = {"inproc",  "ipc", "tcp",
                                                      "tls+tcp", "ws",  "wss"};

void host_address(size_t transport, const char *what, char *out_url, size_t size) {
    static unsigned serial;
    const char *name = host_transports[transport];
    if (transport == 0)
        (void)snprintf(out_url, size, "inproc://%s-%u", what, ++serial);
    else if (transport == 1)
        (void)snprintf(out_url, size, "ipc:///tmp/merle-net-%ld-%s-%u", (long)getpid(), what,
                       ++serial);
    else
        (void)snprintf(out_url, size, "%s://127.0.0.1:0%s", name, name[0] == 'w' ? "/path" : "");
}

const merle_publish_tls *host_tls(void) {
    static merle_publish_tls tls;
    tls = (merle_publish_tls){end_certificate("server.pem"), end_certificate("server.key"), NULL};
    return &tls;
}

const char *host_authority(void) {
    return end_certificate("authority.pem");
}

/* ---- opening ---- */

void host_open(host *h, const char *path, uint64_t seed) {
    merle_report report = {0};
    mrl_random_init(&h->random, seed);
    h->options.log_keep_bytes = UINT64_MAX / 2;
    h->options.report = &report;
    if (merle_open(path, &h->options, &h->db) != MERLE_OK) fail_msg("%s", report.message);
    h->options.report = NULL;
    for (int i = 0; i < HOST_COLLECTIONS; i++)
        assert_int_equal(merle_collection_open(h->db, names[i], NULL, &h->collections[i]),
                         MERLE_OK);
    merle_stats_db stats = {0};
    assert_int_equal(merle_stats(h->db, &stats), MERLE_OK);
    h->seq = stats.seq;
    h->number = stats.seq;
}

void host_publish(host *h, const char *news, const char *service) {
    const char *const news_list[] = {news, NULL}, *const service_list[] = {service, NULL};
    merle_report report = {0};
    h->publish.news = news == NULL ? NULL : news_list;
    h->publish.service = service_list;
    h->publish.report = &report;
    if (merle_publish(h->db, &h->publish, &h->publisher) != MERLE_OK)
        fail_msg("%s", report.message);
    h->publish.report = NULL;
    h->news = merle_publisher_news_address(h->publisher, 0);
    h->service = merle_publisher_service_address(h->publisher, 0);
}

void host_close(host *h) {
    assert_int_equal(merle_publisher_close(h->publisher), MERLE_OK);
    if (h->db != NULL) assert_int_equal(merle_close(h->db), MERLE_OK);
    h->publisher = NULL;
    h->db = NULL;
}

/* ---- writing ---- */

static uint64_t below(host *h, uint64_t limit) {
    return mrl_random_below(&h->random, limit);
}

static merle_bytes key_of(char *out, uint64_t key) {
    int size = snprintf(out, 24, "key-%llu", (unsigned long long)key);
    return merle_bytes_of(out, (size_t)size);
}

/* {"n": number, "f": so many bytes} */
static merle_bytes document_of(host *h, uint8_t *out, size_t room) {
    size_t filler = h->filler != 0 ? h->filler : below(h, 20) == 0 ? below(h, 4000) : below(h, 60);
    if (filler > room - 32) filler = room - 32;
    uint8_t head[] = {0x82, 0xa1, 'n', 0xce, 0, 0, 0, 0, 0xa1, 'f', 0xc5, 0, 0};
    h->number++;
    for (int i = 0; i < 4; i++) head[4 + i] = (uint8_t)(h->number >> (24 - 8 * i));
    head[11] = (uint8_t)(filler >> 8);
    head[12] = (uint8_t)filler;
    memcpy(out, head, sizeof head);
    memset(out + sizeof head, 'f', filler);
    return merle_bytes_of(out, sizeof head + filler);
}

static void add_op(host *h, merle_commit *commit) {
    uint8_t document[20000];
    char name[24];
    merle_collection *c = h->collections[below(h, HOST_COLLECTIONS)];
    merle_bytes key = key_of(name, below(h, HOST_KEYS));
    merle_op op = MERLE_SET_INT("n", (int64_t)++h->number);
    merle_err err = MERLE_OK;
    int is_there = merle_exists(merle_commit_section(commit), c, key) == MERLE_OK;
    switch (below(h, 4)) {
    case 0:
        err = is_there ? merle_remove(commit, c, key)
                       : merle_insert(commit, c, key, document_of(h, document, sizeof document));
        break;
    case 1:
        if (is_there) {
            err = merle_patch_ops(commit, c, key, &op, 1);
            break;
        } /* fall through */
    default:
        err = merle_put(commit, c, key, document_of(h, document, sizeof document));
    }
    assert_int_equal(err, MERLE_OK);
}

void host_write(host *h) {
    merle_commit *commit;
    uint64_t seq = 0;
    if (below(h, 300) == 0) {
        assert_int_equal(
            merle_collection_truncate(h->collections[below(h, HOST_COLLECTIONS)], &h->seq),
            MERLE_OK);
        return;
    }
    assert_int_equal(merle_begin(h->db, &commit), MERLE_OK);
    for (uint64_t ops = below(h, 5) == 0 ? 1 + below(h, 8) : 1; ops > 0; ops--) add_op(h, commit);
    assert_int_equal(merle_end(commit, &seq), MERLE_OK);
    if (seq > h->seq) h->seq = seq;
}

void host_stir(host *h) {
    uint8_t document[20000];
    char name[24];
    merle_bulk *bulk;
    merle_collection **places = &h->collections[2];
    assert_int_equal(merle_collection_truncate(h->collections[1], NULL), MERLE_OK);
    assert_int_equal(merle_bulk_begin(h->collections[1], &bulk), MERLE_OK);
    for (uint64_t i = 0; i < 300; i++)
        assert_int_equal(
            merle_bulk_put(bulk, key_of(name, i), document_of(h, document, sizeof document)),
            MERLE_OK);
    assert_int_equal(merle_bulk_end(bulk, &h->seq), MERLE_OK);
    for (int i = 0; i < 20; i++) host_write(h);
    assert_int_equal(merle_collection_drop(*places, NULL), MERLE_OK);
    assert_int_equal(merle_collection_open(h->db, names[2], NULL, places), MERLE_OK);
    for (int i = 0; i < 40; i++) host_write(h);
}
