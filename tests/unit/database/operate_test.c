/* tests/unit/database/operate_test.c - what an operator may ask of a database.
 *
 * Aim     Every verb answers what it must; arguments of any kind are refused, not met; one job at a
 *         time, cancelled, asked for after its end; who may only look begins none. The socket is
 *         opened, replaced, removed, and told where it cannot be.
 * Method  Verbs are called without a network. Sockets are real ones.
 * Blind   What goes over the socket: tools/tool_test.py has whole owners and the command.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>

#include "channel/channel.h"
#include "database/care.h"
#include "database/operate.h"
#include "store/check.h"
#include "tests/unit/persist/care_stand.h"
#include "wire/event.h"

static uint64_t seed;

static int make(void **state) {
    stand *st = malloc(sizeof *st);
    *state = st;
    return stand_make(st, seed);
}

static int clear(void **state) {
    int failed = stand_clear(*state);
    free(*state);
    return failed;
}

static merle_err ask(mrl_operate *o, const char *verb, const char *json, merle_buffer *result) {
    merle_buffer map = {0};
    assert_int_equal(merle_json_read(merle_str(json), &map, NULL), MERLE_OK);
    merle_err err = mrl_operate_ask(o, merle_str(verb), merle_bytes_of(map.data, map.size), result);
    merle_buffer_free(&map);
    return err;
}

static merle_doc doc_of(const merle_buffer *result) {
    merle_doc doc = {0};
    assert_int_equal(merle_doc_over(merle_bytes_of(result->data, result->size), &doc), MERLE_OK);
    return doc;
}

/* Waits for the end of the job; gives its state's first letter. */
static char end_of(mrl_operate *o, uint64_t number, merle_buffer *result) {
    char json[32];
    (void)snprintf(json, sizeof json, "{\"job\":%u}", (unsigned)number);
    for (;;) {
        assert_int_equal(ask(o, "job", json, result), MERLE_OK);
        const char *state = merle_doc_str(doc_of(result), "state").data;
        if (state[0] != 'r') return state[0];
        (void)sched_yield();
    }
}

static void verbs_answer(void **state) {
    stand *st = *state;
    merle_buffer result = {0};
    char json[128];
    mrl_operate o;
    stand_open(st);
    stand_work(st, 50);
    mrl_operate_init(&o, st->db, MERLE_OPERATOR_DEFAULT, 1);
    assert_int_equal(ask(&o, "info", "{}", &result), MERLE_OK);
    assert_true(merle_doc_uint(doc_of(&result), "seq", 0) == st->seq);
    assert_true(merle_doc_has(doc_of(&result), "collections"));
    assert_int_equal(ask(&o, "stats", "{}", &result), MERLE_OK);
    assert_true(merle_doc_uint(doc_of(&result), "operations", 0) > 0);
    assert_int_equal(ask(&o, "checkpoint", "{}", &result), MERLE_OK);
    assert_true(merle_doc_uint(doc_of(&result), "job", 0) == 1 && end_of(&o, 1, &result) == 'd');
    assert_true(merle_doc_uint(doc_of(&result), "result.seq", 0) == st->seq);
    assert_int_equal(ask(&o, "check", "{}", &result), MERLE_OK);
    assert_true(end_of(&o, 2, &result) == 'd');
    (void)snprintf(json, sizeof json, "{\"path\":\"%s\"}", st->copy);
    assert_int_equal(ask(&o, "backup", json, &result), MERLE_OK);
    assert_true(end_of(&o, 3, &result) == 'd');
    assert_true(merle_doc_uint(doc_of(&result), "result.seq", 0) == st->seq);
    /* There is one now: the job says why it cannot be. */
    assert_int_equal(ask(&o, "backup", json, &result), MERLE_OK);
    assert_true(end_of(&o, 4, &result) == 'f');
    assert_true(merle_doc_uint(doc_of(&result), "err", 0) == MERLE_EXISTS);
    assert_int_equal(ask(&o, "job", "{\"job\":3}", &result), MERLE_NOT_FOUND);
    mrl_operate_fini(&o);
    merle_buffer_free(&result);
    uint64_t seq, print = st->prints[st->seq];
    assert_true(stand_print_of(st, st->copy, &seq) == print && seq == st->seq);
}

static void strange_questions_are_refused(void **state) {
    stand *st = *state;
    static const uint8_t bad[][4] = {{0}, {0xc1}, {0x81, 0xa1, 'x'}, {0x91, 0x01}, {0xdf, 0xff}};
    merle_buffer result = {0};
    mrl_operate o;
    stand_open(st);
    mrl_operate_init(&o, st->db, MERLE_OPERATOR_ALL, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (size_t size = 0; size <= 3; size++)
            assert_int_equal(
                mrl_operate_ask(&o, MERLE_STR("stats"), merle_bytes_of(bad[i], size), &result),
                MERLE_INVALID);
    assert_int_equal(ask(&o, "", "{}", &result), MERLE_UNSUPPORTED);
    assert_int_equal(ask(&o, "infos", "{}", &result), MERLE_UNSUPPORTED);
    assert_int_equal(ask(&o, "job", "{}", &result), MERLE_NOT_FOUND);
    assert_int_equal(ask(&o, "cancel", "{\"job\":0}", &result), MERLE_NOT_FOUND);
    assert_int_equal(ask(&o, "backup", "{}", &result), MERLE_INVALID);
    assert_int_equal(ask(&o, "backup", "{\"path\":\"\"}", &result), MERLE_INVALID);
    assert_int_equal(ask(&o, "backup", "{\"path\":\"here\"}", &result), MERLE_INVALID);
    assert_int_equal(ask(&o, "backup", "{\"path\":\"/tmp/a\\u0000b\"}", &result), MERLE_INVALID);
    assert_int_equal(ask(&o, "backup", "{\"path\":7}", &result), MERLE_INVALID);
    mrl_operate_fini(&o);
    mrl_operate_init(&o, st->db, MERLE_OPERATOR_LOOK, 1);
    assert_int_equal(ask(&o, "check", "{}", &result), MERLE_READ_ONLY);
    mrl_operate_fini(&o);
    mrl_operate_init(&o, st->db, MERLE_OPERATOR_ALL, 0);
    assert_int_equal(ask(&o, "check", "{}", &result), MERLE_WRONG_THREAD);
    assert_int_equal(ask(&o, "stats", "{}", &result), MERLE_OK);
    mrl_operate_fini(&o);
    merle_buffer_free(&result);
}

/* Both look before their first piece. */
static void cancelled_work_says_so_and_leaves_nothing(void **state) {
    stand *st = *state;
    _Atomic int cancelled = 1;
    char path[160];
    stand_open(st);
    stand_work(st, 50);
    stand_checkpoint(st);
    assert_int_equal(mrl_db_backup(st->db, st->copy, NULL, &cancelled, NULL, &st->report),
                     MERLE_AGAIN);
    assert_false(stand_file(st->copy, "manifest", path, sizeof path));
    assert_false(stand_file(st->copy, "pages", path, sizeof path));
    assert_int_equal(mrl_check_all(st->db, &cancelled, &st->report), MERLE_AGAIN);
    cancelled = 0;
    assert_int_equal(mrl_check_all(st->db, &cancelled, &st->report), MERLE_OK);
    assert_int_equal(mrl_db_backup(st->db, st->copy, NULL, &cancelled, NULL, &st->report),
                     MERLE_OK);
}

static void came(void *context) {
    mrl_event_signal(context);
}

/* Says hello there; 0: no answer within seconds. An operator that is given is stepped meanwhile. */
static int answers_stepped(const char *path, merle_operator *op) {
    const mrl_net *net = &mrl_net_nng;
    mrl_wire_question hello = {.op = MRL_WIRE_HELLO, .client = MERLE_STR("test")};
    mrl_event event;
    mrl_net_options options = {.receive_max = 1 << 20, .ready = came, .ready_context = &event};
    mrl_socket *socket;
    mrl_message message;
    merle_buffer bytes = {0};
    char url[128];
    int is_there = 0, has_time = 1;
    mrl_event_init(&event);
    (void)snprintf(url, sizeof url, "ipc://%s", path);
    assert_int_equal(net->open(net->context, MRL_NET_ASK, &options, &socket, NULL), MERLE_OK);
    assert_int_equal(net->dial(socket, url, NULL), MERLE_OK);
    assert_int_equal(mrl_wire_question_write(&hello, &bytes), MERLE_OK);
    assert_int_equal(net->message_make(net->context, bytes.size, &message), MERLE_OK);
    memcpy(message.data, bytes.data, bytes.size);
    assert_int_equal(net->send(socket, &message), MERLE_OK);
    for (int round = 0; has_time && !is_there; round++) {
        uint64_t wait_ns = 0;
        if (op != NULL) assert_int_equal(merle_operator_step(op, 1000000, &wait_ns), MERLE_OK);
        uint32_t seen = mrl_event_count(&event);
        is_there = net->receive(socket, &message) == MERLE_OK;
        if (is_there) break;
        int is_told = mrl_event_wait(&event, seen, op == NULL ? 5000000000u : 2000000u);
        has_time = is_told || (op != NULL && round < 2500);
    }
    if (is_there) net->message_free(&message);
    net->close(socket);
    merle_buffer_free(&bytes);
    return is_there;
}

static int answers(const char *path) {
    return answers_stepped(path, NULL);
}

/* A host without threads: nobody is answered but in its steps. */
static void operator_without_threads_answers_in_steps(void **state) {
    stand *st = *state;
    merle_operator *op;
    merle_operator_options options = {.threads = MERLE_THREADS_NONE, .report = &st->report};
    uint64_t wait_ns = 0;
    assert_int_equal(merle_operator_step(NULL, 0, &wait_ns), MERLE_INVALID);
    stand_open(st);
    assert_int_equal(merle_operator_open(st->db, &options, &op), MERLE_OK);
    assert_true(answers_stepped(merle_operator_socket(op), op));
    assert_true(answers_stepped(merle_operator_socket(op), op));
    assert_int_equal(merle_operator_close(op), MERLE_OK);
}

static void socket_is_there_until_the_close(void **state) {
    stand *st = *state;
    merle_operator *op, *second;
    struct stat found;
    merle_operator_options options = {.report = &st->report};
    st->options.threads = MERLE_THREADS_DEFAULT;
    stand_open(st);
    assert_int_equal(merle_operator_open(st->db, &options, &op), MERLE_OK);
    const char *path = merle_operator_socket(op);
    assert_true(lstat(path, &found) == 0 && S_ISSOCK(found.st_mode));
    assert_int_equal(found.st_mode & 0777, 0600);
    assert_int_equal(merle_close(st->db), MERLE_BUSY);
    assert_true(answers(path));
    /* Somebody else is told, and the one who listens does not notice. */
    options.socket = path;
    assert_int_equal(merle_operator_open(st->db, &options, &second), MERLE_EXISTS);
    assert_true(answers(path));
    options.socket = st->path; /* a directory */
    assert_int_equal(merle_operator_open(st->db, &options, &second), MERLE_EXISTS);
    assert_null(second);
    options.socket = "/nowhere/at/all";
    assert_int_equal(merle_operator_open(st->db, &options, &second), MERLE_SYSTEM);
    char name[96];
    memcpy(name, path, strlen(path) + 1);
    assert_int_equal(merle_operator_close(op), MERLE_OK);
    assert_int_not_equal(lstat(name, &found), 0);
}

static void database_in_memory_wants_a_place_for_it(void **state) {
    stand *st = *state;
    merle_operator *op;
    merle_operator_options options = {.report = &st->report};
    char path[96];
    struct stat found;
    assert_int_equal(merle_open(NULL, NULL, &st->db), MERLE_OK);
    assert_int_equal(merle_operator_open(st->db, &options, &op), MERLE_NOT_FOUND);
    (void)snprintf(path, sizeof path, "%s/sock", st->root);
    options.socket = path;
    assert_int_equal(merle_operator_open(st->db, &options, &op), MERLE_OK);
    assert_string_equal(merle_operator_socket(op), path);
    assert_int_equal(lstat(path, &found), 0);
    assert_int_equal(merle_operator_close(op), MERLE_OK);
    assert_int_not_equal(lstat(path, &found), 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(verbs_answer, make, clear),
        cmocka_unit_test_setup_teardown(strange_questions_are_refused, make, clear),
        cmocka_unit_test_setup_teardown(cancelled_work_says_so_and_leaves_nothing, make, clear),
        cmocka_unit_test_setup_teardown(operator_without_threads_answers_in_steps, make, clear),
        cmocka_unit_test_setup_teardown(socket_is_there_until_the_close, make, clear),
        cmocka_unit_test_setup_teardown(database_in_memory_wants_a_place_for_it, make, clear),
    };
    seed = seed_of(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
