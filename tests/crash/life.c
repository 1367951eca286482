/* tests/crash/life.c - one life of a database: what its workers do, and how it ends.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "tests/crash/life_private.h"

typedef unsigned long long llu;

enum { STEPS_MORE = 200, COMMIT_SIZE_MAX = 6 << 10 };

/* The bound of ASYNC, small enough to be met. */
#define UNSYNCED_OF(seq) ((seq) % 3 == 0 ? 2048u : 16384u)

static int is_over(const life *l) {
    return l->is_done || l->is_read_only || oracle_of(l)->trouble[0] != 0;
}

int life_excuses(life *l, merle_err err) {
    if (l->fault == FAULT_NONE) return 0;
    if (err == MERLE_NO_MEMORY) return l->fault == FAULT_MEMORY;
    return err == MERLE_READ_ONLY || err == MERLE_NOT_DURABLE || err == MERLE_SYSTEM ||
           err == MERLE_NO_SPACE; /* also where the next file cannot be made for another reason */
}

void life_settle(life *l, note *n, merle_err err, uint64_t seq) {
    oracle *o = oracle_of(l);
    if (err == MERLE_OK)
        oracle_done(o, n, seq);
    else if (err != MERLE_NOT_DURABLE) /* else its fate is not known */
        oracle_refused(o, n);
    if (err == MERLE_READ_ONLY || err == MERLE_NOT_DURABLE) l->is_read_only = 1;
}

/* ---- refused memory ---- */

static void refuse(life *l, uint32_t one_in) {
    l->run->totals.allocations_refused += sim_refused(l->s);
    sim_refuse_one_in(l->s, one_in);
    mrl_refusal_of_thread = one_in != 0 ? sim_environment(l->s)->refusal : NULL;
}

static void set_refusing(life *l, int is_refusing) {
    l->is_refusing = is_refusing && l->fault == FAULT_MEMORY;
    refuse(l, l->is_refusing ? l->refuse_in : 0);
}

void life_spare(life *l) {
    refuse(l, 0);
}

void life_refuse_again(life *l) {
    set_refusing(l, l->is_refusing);
}

merle_bytes life_build(life_worker *w, const plain_doc *doc) {
    const mrl_refusal *refusal = mrl_refusal_of_thread;
    mrl_refusal_of_thread = NULL; /* the test has memory */
    merle_bytes bytes = plain_doc_build(doc, w->builder);
    mrl_refusal_of_thread = refusal;
    return bytes;
}

/* ---- definitions: worker 0 alone ---- */

static void define(life *l, uint32_t name) {
    oracle *o = oracle_of(l);
    uint32_t c = oracle_new_collection(o);
    if (c == ORACLE_NONE) return;
    note *n = oracle_note(o, NOTE_DEFINE, 0, published(l));
    n->collection = c;
    n->name = name;
    merle_collection *made = NULL;
    merle_err err = merle_collection_open(l->db, oracle_names[name], oracle_schema(name), &made);
    if (err == MERLE_OK) o->collection_ids[c] = merle_collection_id(made);
    if (err == MERLE_NO_MEMORY) l->run->totals.refusals[REFUSED_DEFINITION]++;
    life_settle(l, n, err, err == MERLE_OK ? atomic_load(&mrl_collection_current(made)->seq) : 0);
    if (err == MERLE_OK) {
        l->handles[c] = made;
        l->current[name] = c;
        l->run->totals.definitions++;
    } else if (!life_excuses(l, err)) {
        oracle_trouble(o, "making %s: %s", oracle_names[name], merle_err_name(err));
    }
}

static merle_err call_definition(life *l, note *n, uint64_t *out_seq) {
    merle_collection *collection = l->handles[n->collection];
    switch (n->kind) {
    case NOTE_TRUNCATE:
        return merle_collection_truncate(collection, out_seq);
    case NOTE_DROP:
        return merle_collection_drop(collection, out_seq);
    case NOTE_INDEX_ADD:
        return merle_index_add(collection, &oracle_extras[n->extra], out_seq);
    default:
        return merle_index_drop(collection, oracle_extras[n->extra].name, out_seq);
    }
}

void life_define(life_worker *w, note_kind kind, uint32_t name) {
    life *l = w->l;
    oracle *o = oracle_of(l);
    note *n = oracle_note(o, kind, 0, published(l));
    n->collection = l->current[name];
    n->name = name;
    n->extra = (uint32_t)below(w, ORACLE_EXTRA_COUNT);
    uint64_t seq = 0;
    merle_err err = call_definition(l, n, &seq);
    life_settle(l, n, err, seq);
    if (err == MERLE_NO_MEMORY) l->run->totals.refusals[REFUSED_DEFINITION]++;
    if (err == MERLE_BUSY) l->run->totals.beside_loads++;
    if (err == MERLE_OK) {
        l->run->totals.definitions++;
        if (kind == NOTE_DROP) l->current[name] = ORACLE_NONE;
    } else if (!life_excuses(l, err) && err != MERLE_EXISTS && err != MERLE_NOT_FOUND &&
               err != MERLE_BUSY) {
        oracle_trouble(o, "a definition of %s: %s", oracle_names[name], merle_err_name(err));
    }
}

static void redefine(life_worker *w) {
    life *l = w->l;
    uint32_t name = (uint32_t)below(w, ORACLE_NAME_COUNT);
    if (l->loads_open > 0) name = l->loading;
    if (l->current[name] == ORACLE_NONE) {
        define(l, name);
        return;
    }
    note_kind kind = (note_kind)(NOTE_TRUNCATE + below(w, 4));
    /* The markers stay; and what is in memory only is not worth a drop. */
    if (kind == NOTE_TRUNCATE && name == NAME_FIRST) return;
    int may_go = name == NAME_SECOND || name == NAME_LOADED;
    if (kind == NOTE_DROP && (!may_go || oracle_new_collection(oracle_of(l)) == ORACLE_NONE))
        return;
    life_define(w, kind, name);
}

static void ask_id(life_worker *w) {
    life *l = w->l;
    oracle *o = oracle_of(l);
    uint32_t c = l->current[below(w, ORACLE_NAME_COUNT)];
    uint64_t id = 0;
    if (c == ORACLE_NONE) return;
    merle_err err = merle_collection_next_id(l->handles[c], &id);
    if (err == MERLE_OK) {
        uint64_t last = o->ids[c] > o->new_ids[c] ? o->ids[c] : o->new_ids[c];
        if (id <= o->new_ids[c] || id <= o->ids[c])
            oracle_trouble(o, "id %llu came after %llu", (llu)id, (llu)last);
        o->new_ids[c] = id;
    } else if (!life_excuses(l, err)) {
        oracle_trouble(o, "an id: %s", merle_err_name(err));
    }
    if (err == MERLE_READ_ONLY) l->is_read_only = 1;
}

/* ---- commits ---- */

static int is_there(life *l, uint32_t collection, uint32_t key) {
    merle_section section;
    if (merle_section_begin(l->db, &section) != MERLE_OK) return 0;
    merle_err err = merle_exists(&section, l->handles[collection], plain_key(key));
    (void)merle_section_end(&section);
    return err == MERLE_OK;
}

static void random_op(life_worker *w, uint32_t collection, plain_op *op) {
    static const plain_kind if_there[] = {PLAIN_PUT,   PLAIN_PATCH,  PLAIN_PATCH,
                                          PLAIN_PATCH, PLAIN_REMOVE, PLAIN_REPLACE};
    static const plain_kind if_absent[] = {PLAIN_PUT, PLAIN_INSERT};
    memset(op, 0, sizeof *op);
    op->collection = collection;
    op->key = (uint32_t)below(w, ORACLE_KEY_COUNT);
    int there = is_there(w->l, collection, op->key);
    if (below(w, 24) == 0) there = !there;
    op->kind = there ? if_there[below(w, 6)] : if_absent[below(w, 2)];
    if (op->kind == PLAIN_PUT || op->kind == PLAIN_INSERT || op->kind == PLAIN_REPLACE)
        op->doc = plain_doc_random(&w->random);
    if (op->kind == PLAIN_PATCH)
        for (uint64_t i = below(w, PLAIN_PATCH_MAX) + 1; i > 0; i--)
            plain_op_random_patch(&w->random, op);
}

static merle_err do_op(life_worker *w, merle_commit *commit, const plain_op *op, uint64_t *bytes) {
    merle_collection *collection = w->l->handles[op->collection];
    merle_bytes key = plain_key(op->key), doc = {NULL, 0};
    merle_op ops[PLAIN_PATCH_MAX];
    if (op->doc != NULL) doc = life_build(w, op->doc);
    *bytes += key.size + doc.size;
    for (uint32_t i = 0; i < op->patch_count; i++)
        ops[i] = merle_op_of(op->patches[i].kind, plain_paths[op->patches[i].field],
                             plain_value_to_merle(&op->patches[i].value));
    switch (op->kind) {
    case PLAIN_INSERT:
        return merle_insert(commit, collection, key, doc);
    case PLAIN_REPLACE:
        return merle_replace(commit, collection, key, doc);
    case PLAIN_REMOVE:
        return merle_remove(commit, collection, key);
    case PLAIN_PATCH:
        return merle_patch_ops(commit, collection, key, ops, op->patch_count);
    default:
        return merle_put(commit, collection, key, doc);
    }
}

/* The number of the commit, under the worker's own key. */
static void mark(life_worker *w, note *n) {
    plain_op *op = &n->ops[n->op_count++];
    n->attempt = ++oracle_of(w->l)->attempts[w->number];
    op->kind = PLAIN_PUT;
    op->collection = w->l->current[NAME_FIRST];
    op->key = ORACLE_KEY_COUNT + w->number;
    op->doc = plain_doc_new();
    op->doc->fields[PLAIN_NUMBER].type = MERLE_TYPE_INT;
    op->doc->fields[PLAIN_NUMBER].i = n->attempt;
}

/* Puts a document that ends soon, late or never, or removes one. */
static merle_err touch_session(life_worker *w, merle_commit *commit, note *n) {
    static const int64_t later_ns[] = {1000000, 20000000, 300000000, 5000000000, 3600000000000};
    life *l = w->l;
    if (l->current[NAME_SESSIONS] == ORACLE_NONE) return MERLE_OK;
    merle_collection *sessions = l->handles[l->current[NAME_SESSIONS]];
    n->session = 1 + (uint32_t)below(w, ORACLE_SESSION_COUNT);
    merle_bytes key = oracle_session_key(n->session), doc;
    const mrl_refusal *refusal = mrl_refusal_of_thread;
    mrl_refusal_of_thread = NULL; /* the test has memory */
    merle_build_begin(w->builder);
    merle_build_int(w->builder, "number", n->attempt);
    if (merle_build_end(w->builder, &doc) != MERLE_OK) abort();
    mrl_refusal_of_thread = refusal;
    merle_err err = merle_put(commit, sessions, key, doc);
    n->session_expires_ns = SESSION_REMOVED;
    /* Put first: to remove what is not there would be refused. */
    if (err == MERLE_OK && below(w, 6) == 0) return merle_remove(commit, sessions, key);
    n->session_expires_ns = l->db->clock->wall_ns(l->db->clock->context) + later_ns[below(w, 5)] +
                            (int64_t)below(w, 1000000);
    return err != MERLE_OK ? err : merle_expire(commit, sessions, key, n->session_expires_ns);
}

static merle_err fill_commit(life_worker *w, merle_commit *commit, note *n) {
    life *l = w->l;
    mark(w, n);
    merle_err err = do_op(w, commit, &n->ops[0], &n->bytes);
    uint32_t usual = l->current[below(w, ORACLE_PLAIN_COUNT)];
    for (uint64_t i = below(w, below(w, 4) == 0 ? ORACLE_OP_MAX : 3); i > 0; i--) {
        uint32_t c = below(w, 4) == 0 ? l->current[below(w, ORACLE_PLAIN_COUNT)] : usual;
        if (err != MERLE_OK || c == ORACLE_NONE) break;
        plain_op *op = &n->ops[n->op_count++];
        random_op(w, c, op);
        uint64_t bytes = 0;
        err = do_op(w, commit, op, &bytes);
        if (c != l->current[NAME_MEMORY]) n->bytes += bytes;
    }
    if (err == MERLE_OK && below(w, 3) == 0) err = touch_session(w, commit, n);
    return err;
}

static int is_usual(merle_err err) {
    return err == MERLE_OK || err == MERLE_EXISTS || err == MERLE_NOT_FOUND ||
           err == MERLE_CONFLICT || err == MERLE_BUSY || err == MERLE_RULE || err == MERLE_TYPE ||
           err == MERLE_OVERFLOW || err == MERLE_GONE;
}

/* Ends the commit in one of the three ways, and counts what came of it. */
static void end_commit(life_worker *w, merle_commit *commit, note *n) {
    life *l = w->l;
    oracle *o = oracle_of(l);
    life_totals *t = &l->run->totals;
    merle_durability d = l->durability;
    if (d == MERLE_DURABILITY_DEFAULT) d = (merle_durability)(1 + below(w, 4));
    uint64_t seq = 0;
    if (below(w, 4) != 0) merle_commit_patience(commit, MERLE_WAIT);
    n->after_seq = published(l);
    merle_err err = merle_commit_durability(commit, d);
    if (err != MERLE_OK) oracle_trouble(o, "a durability: %s", merle_err_name(err));
    err = merle_end(commit, &seq);
    n->may_be_lost = d == MERLE_ASYNC && err == MERLE_OK;
    life_settle(l, n, err, seq);
    t->answers[err]++;
    if (err == MERLE_NO_MEMORY) t->refusals[REFUSED_COMMIT]++;
    if (!is_usual(err) && !life_excuses(l, err))
        oracle_trouble(o, "a commit ends with %s", merle_err_name(err));
    if (err != MERLE_OK) {
        t->refused++;
        return;
    }
    t->commits++;
    l->commits++;
    t->by_durability[d]++;
    if (d == MERLE_SYNC) oracle_promise(o, seq);
}

static void commit_something(life_worker *w) {
    life *l = w->l;
    oracle *o = oracle_of(l);
    merle_commit *commit = NULL;
    if (l->current[NAME_FIRST] == ORACLE_NONE) return;
    /* Hardly anything is taken any more: enough of this life. */
    l->is_done |= o->note_count + 16 > ORACLE_NOTE_MAX;
    if (l->is_done) return;
    note *n = oracle_note(o, NOTE_COMMIT, w->number, published(l));
    merle_err err = merle_begin(l->db, &commit);
    if (err == MERLE_OK) {
        err = fill_commit(w, commit, n);
        if (err == MERLE_OK) {
            end_commit(w, commit, n);
            return;
        }
        merle_cancel(commit);
    }
    oracle_refused(o, n);
    l->run->totals.refused++;
    l->run->totals.answers[err]++;
    if (err == MERLE_READ_ONLY) l->is_read_only = 1;
    if (!is_usual(err) && !life_excuses(l, err))
        oracle_trouble(o, "a commit is refused: %s", merle_err_name(err));
}

/* ---- steps and checkpoints ---- */

static void step(life_worker *w) {
    life *l = w->l;
    if (below(w, 3) == 0) sim_clock_advance(l->s, below(w, 20) * 1000000);
    (void)merle_step(l->db, 0, below(w, 2) ? 0 : 50000);
    l->run->totals.steps++;
    /* What the database itself calls durable has to stay. */
    oracle_promise(oracle_of(l), merle_durable_seq(l->db));
}

/* Waits for one of the last commits, whatever its durability. */
static void await(life_worker *w) {
    life *l = w->l;
    uint64_t last = published(l), seq = last - (last == 0 ? 0 : below(w, last < 9 ? last : 9));
    merle_err err = merle_wait_durable(l->db, seq);
    if (err == MERLE_OK)
        oracle_promise(oracle_of(l), seq);
    else if (err != MERLE_NOT_DURABLE || l->fault == FAULT_NONE)
        oracle_trouble(oracle_of(l), "waiting for the disk: %s", merle_err_name(err));
}

static void checkpoint(life_worker *w) {
    life *l = w->l;
    uint64_t before = published(l);
    merle_err err = merle_checkpoint(l->db);
    if (err == MERLE_OK) {
        l->run->totals.checkpoints++;
        oracle_promise(oracle_of(l), before);
    } else if (err == MERLE_NO_MEMORY && l->fault == FAULT_MEMORY) {
        l->run->totals.refusals[REFUSED_CHECKPOINT]++;
    } else if (!life_excuses(l, err) && err != MERLE_NO_SPACE) {
        oracle_trouble(oracle_of(l), "a checkpoint: %s", merle_err_name(err));
    }
}

/* A point at which the machine has hardly stopped yet; NULL: anywhere. */
static const char *choose_target(crash_run *run) {
    const disk_point *best = NULL;
    size_t count;
    const disk_point *points = disk_points(run->d, &count);
    if (count == 0 || mrl_random_below(&run->random, 2) == 0) return NULL;
    for (int i = 0; i < 3; i++) {
        const disk_point *p = &points[mrl_random_below(&run->random, count)];
        if (best == NULL || p->stops < best->stops) best = p;
    }
    return best->name;
}

/* ---- directories ---- */

merle_err life_open_path(const life *l, const char *path, merle_access access, merle_report *report,
                         merle_db **out_db) {
    uint64_t seq = oracle_of(l)->base_seq;
    merle_options options = {.threads = MERLE_THREADS_NONE, .ring_size = 64 << 10};
    memset(report, 0, sizeof *report);
    options.access = access;
    options.report = report;
    /* Another size now and then: a file that was prepared does not do then. */
    options.log_file_size = (uint64_t)LIFE_LOG_FILE_SIZE << (seq / 5 % 2);
    options.log_keep_bytes = l->run->keeps_log ? UINT64_MAX / 2 : 0;
    options.commit_size_max = COMMIT_SIZE_MAX;
    options.unsynced_max = UNSYNCED_OF(seq);
    options.checkpoint_log_bytes = 24 << 10;
    options.compression = seq % 2 == 0 ? MERLE_COMPRESSION_ZSTD : MERLE_COMPRESSION_NONE;
    mrl_environment environment = *sim_environment(l->s);
    environment.files = disk_files(l->run->d);
    environment.database_id[0] = 7;
    return mrl_db_open(path, &options, &environment, out_db);
}

/* ---- a life's work ---- */

/* From now on the machine may stop, and something may fail. */
static void arm(life *l) {
    crash_run *run = l->run;
    if (l->is_armed || l->commits < l->commits_wanted) return;
    l->is_armed = 1;
    if (l->fault == FAULT_CALL)
        disk_fail_nth(run->d, l->fault_call, 1 + mrl_random_below(&run->random, 6));
    if (l->fault == FAULT_SPACE)
        disk_capacity(run->d,
                      disk_used(run->d) + mrl_random_below(&run->random, LIFE_LOG_FILE_SIZE / 4));
    set_refusing(l, 1);
    if (l->stop_within == 0) return;
    const char *target = choose_target(run);
    if (target != NULL)
        disk_stop_at_point(run->d, target, 1 + mrl_random_below(&run->random, 3));
    else
        disk_stop_at(run->d, 1 + mrl_random_below(&run->random, l->stop_within));
}

static void work(void *context) {
    life_worker *w = context;
    life *l = w->l;
    const mrl_refusal *refusal = mrl_refusal_of_thread;
    mrl_refusal_of_thread = NULL; /* the test has memory */
    if (merle_builder_create(&w->builder) != MERLE_OK) abort();
    mrl_refusal_of_thread = refusal;
    for (uint32_t more = STEPS_MORE; more > 0 && !is_over(l);) {
        uint64_t dice = below(w, 64);
        /* Beside a load others load too, and define. */
        uint32_t company = l->loads_open > 0 ? 8 : 1;
        if (w->number == 0 && company > 1 && below(w, 6) == 0) dice = 0;
        arm(l);
        more -= (uint32_t)l->is_armed;
        if (w->number == 0 && below(w, l->backup_in) == 0)
            life_back_up(w);
        else if (w->number == 0 && below(w, l->checkpoint_in) == 0)
            checkpoint(w);
        else if (below(w, l->await_in) == 0)
            await(w);
        else if (below(w, l->follow_in) == 0)
            life_follow(w);
        else if (below(w, 1 + l->load_in / company) == 0)
            life_load(w);
        else if (w->number != 0 || dice >= 3 + l->steps_in_64)
            commit_something(w);
        else if (dice >= 3)
            step(w);
        else if (dice == 2)
            ask_id(w);
        else
            redefine(w);
        /* A disk that was full has room again. */
        if (l->is_armed && l->fault == FAULT_SPACE && more == STEPS_MORE / 2)
            disk_capacity(l->run->d, UINT64_MAX);
        /* And there is memory again. */
        if (l->is_armed && l->fault == FAULT_MEMORY && more == STEPS_MORE / 2) set_refusing(l, 0);
    }
    l->is_done = 1;
    life_follow_end(w);
    merle_builder_destroy(w->builder);
}

/* ---- opening and closing ---- */

static void take_collections(life *l) {
    oracle *o = oracle_of(l);
    for (uint32_t name = 0; name < ORACLE_NAME_COUNT; name++) {
        l->current[name] = o->base.current[name];
        if (l->current[name] == ORACLE_NONE)
            define(l, name);
        else if (merle_collection_find(l->db, oracle_names[name], &l->handles[l->current[name]]) !=
                 MERLE_OK)
            oracle_trouble(o, "%s is not found", oracle_names[name]);
    }
}

static void open_database(void *context) {
    life *l = context;
    crash_run *run = l->run;
    oracle *o = oracle_of(l);
    merle_report report;
    uint64_t unsynced_max = UNSYNCED_OF(o->base_seq);
    l->is_opening = 1;
    set_refusing(l, l->refuses_opening);
    life_care(l);
    merle_err err = o->trouble[0] != 0
                        ? MERLE_INVALID
                        : life_open_path(l, run->path, MERLE_ACCESS_DEFAULT, &report, &l->db);
    set_refusing(l, 0);
    l->is_opening = 0;
    if (err != MERLE_OK) {
        l->has_failed_to_open = 1;
        run->totals.refused_openings++;
        if (err == MERLE_NO_MEMORY) run->totals.refusals[REFUSED_OPENING]++;
        if (!life_excuses(l, err) || l->fault == FAULT_SPACE)
            oracle_trouble(o, "opening: %s, %s", merle_err_name(err), report.message);
        return;
    }
    run->totals.opened++;
    /* Before the oracle asks for numbers, which are commits of this opening: it may stop there. */
    terms_judge(&run->terms, o, l->db);
    if (oracle_judge(o, l->db) != 0) return;
    o->unsynced_max = unsynced_max;
    for (uint32_t i = 0; i < ORACLE_WORKER_MAX; i++)
        if (run->followed[i] > o->base_seq) run->followed[i] = o->base_seq;
    life_care_opened(l);
    life_check_backup(l);
    take_collections(l);
}

static void close_database(void *context) {
    life *l = context;
    oracle *o = oracle_of(l);
    uint64_t last = published(l);
    life_spare(l);
    if (oracle_compare(o, l->db) != 0) return;
    o->last_seq = last;
    l->is_closing = 1;
    merle_err err = merle_close(l->db);
    l->run->totals.closes++;
    if (err == MERLE_OK)
        oracle_promise(o, last);
    else if (err != MERLE_NOT_DURABLE || l->fault == FAULT_NONE)
        oracle_trouble(o, "closing: %s", merle_err_name(err));
}

/* ---- a life ---- */

static void stop_life(void *context) {
    sim_abandon(((life *)context)->s);
}

/* Runs what was spawned. 1: the machine has stopped; 0: it came to its end; -1: trouble. */
static int run_sim(life *l) {
    int result = sim_run(l->s);
    life_totals *t = &l->run->totals;
    if (result < 0) oracle_trouble(oracle_of(l), "all workers wait for each other");
    if (result > 0) t->loads_stopped += l->loads_open > 0;
    if (result > 0)
        *(l->is_caring    ? &t->stops_caring
          : l->is_opening ? &t->stops_opening
          : l->is_closing ? &t->stops_closing
                          : &t->stops_working) += 1;
    return result;
}

static void choose_fault(life *l) {
    static const disk_call calls[] = {
        DISK_FILE_SYNC,    DISK_FILE_WRITE,   DISK_DIR_SYNC,  DISK_FILE_CREATE, DISK_RENAME,
        DISK_REMOVE,       DISK_FILE_RESERVE, DISK_FILE_SYNC, DISK_FILE_WRITE,  DISK_FILE_READ,
        DISK_FILE_OPEN,    DISK_DIR_EACH,     DISK_FILE_SIZE, DISK_DIR_OPEN,    DISK_DIR_LOCK,
        DISK_FILE_READ,    DISK_RENAME,       DISK_FILE_SIZE, DISK_DIR_OPEN,    DISK_DIR_LOCK,
        DISK_FILE_RESERVE, DISK_DIR_SYNC};
    crash_run *run = l->run;
    uint64_t dice = mrl_random_below(&run->random, 18);
    if (dice < 10) return;
    run->totals.faulted++;
    l->fault = dice >= 14 ? FAULT_SPACE : FAULT_CALL;
    if (dice >= 16) l->fault = FAULT_MEMORY;
    l->fault_call = calls[mrl_random_below(&run->random, sizeof calls / sizeof calls[0])];
    if (l->fault != FAULT_CALL) return;
    /* Some calls are hardly made but while it is opened. */
    int is_of_opening = l->fault_call == DISK_DIR_OPEN || l->fault_call == DISK_DIR_EACH ||
                        l->fault_call == DISK_DIR_LOCK || l->fault_call == DISK_FILE_OPEN ||
                        l->fault_call == DISK_FILE_SIZE || l->fault_call == DISK_FILE_READ;
    if (is_of_opening || mrl_random_below(&run->random, 4) == 0)
        disk_fail_nth(run->d, l->fault_call, 1 + mrl_random_below(&run->random, 4));
}

static void plan(life *l) {
    crash_run *run = l->run;
    choose_fault(l);
    uint64_t dice = mrl_random_below(&run->random, 8);
    l->durability = (merle_durability)mrl_random_below(&run->random, MERLE_SYNC_LATER + 1);
    l->steps_in_64 = (uint32_t)mrl_random_below(&run->random, 40);
    l->checkpoint_in = mrl_random_below(&run->random, 2) || l->fault == FAULT_SPACE ? 60 : 1000;
    l->backup_in = mrl_random_below(&run->random, 4) ? 100000 : 50;
    l->follow_in = mrl_random_below(&run->random, 2) ? 60 : 800;
    l->load_in = mrl_random_below(&run->random, 3) ? 400 : 25;
    l->refuse_in = (uint32_t)(4 << mrl_random_below(&run->random, 8));
    l->refuses_opening = (int)mrl_random_below(&run->random, 2);
    if (run->totals.opened > 0 && mrl_random_below(&run->random, 6) == 0)
        l->caring = (care_kind)(CARE_RESTORE + mrl_random_below(&run->random, 3));
    l->await_in = mrl_random_below(&run->random, 2) ? 40 : 2000;
    l->commits_wanted = LIFE_COMMITS_MIN + (uint32_t)mrl_random_below(&run->random, 20);
    if (dice == 0)
        l->commits_wanted += (uint32_t)mrl_random_below(&run->random, LIFE_COMMITS_MAX / 2);
    l->stop_within = dice == 1 ? 0 : dice == 2 ? 400 : 60;
    /* The first commits come before the first crash. */
    if (run->totals.commits < LIFE_COMMITS_MIN || mrl_random_below(&run->random, 4) != 0) return;
    const char *target = choose_target(run);
    if (target != NULL)
        disk_stop_at_point(run->d, target, 1 + mrl_random_below(&run->random, 3));
    else
        disk_stop_at(run->d, 1 + mrl_random_below(&run->random, 80));
}

/* Its workers, and how they end: 1: stopped; 0: closed, or left between two calls. */
static int live(life *l) {
    static const char *const names[ORACLE_WORKER_MAX] = {"a", "b", "c"};
    crash_run *run = l->run;
    life_worker workers[ORACLE_WORKER_MAX];
    uint32_t count = 1 + (uint32_t)mrl_random_below(&run->random, ORACLE_WORKER_MAX);
    for (uint32_t i = 0; i < count; i++) {
        workers[i] = (life_worker){.l = l, .number = i};
        mrl_random_init(&workers[i].random, mrl_random_next(&run->random));
        sim_spawn(l->s, names[i], work, &workers[i]);
    }
    if (run_sim(l) != 0) return 1;
    if (mrl_random_below(&run->random, 3) != 0) {
        run->totals.ends_between++;
        return 1;
    }
    if (mrl_random_below(&run->random, 2))
        disk_stop_at(run->d, 1 + mrl_random_below(&run->random, 8));
    sim_spawn(l->s, "closes", close_database, l);
    return run_sim(l);
}

static void end_life(life *l, int is_stopped) {
    crash_run *run = l->run;
    oracle *o = run->o;
    /* One that was closed, or nearly so, is gone; one that was stopped is where it was. */
    if (is_stopped && l->db != NULL && !l->is_closing) o->last_seq = published(l);
    disk_fail_none(run->d);
    disk_capacity(run->d, UINT64_MAX);
    if (is_stopped) life_care_stopped(l);
    mrl_refusal_of_thread = NULL;
    /* Also after a sync that failed: then the next life reads what the disk has lost. */
    if (mrl_random_below(&run->random, 4) == 0) {
        run->totals.kills++;
        disk_kill(run->d);
    } else {
        run->totals.cuts++;
        disk_cut_power(run->d);
    }
    run->now_ns = sim_environment(l->s)->clock->monotonic_ns(l->s);
    sim_destroy(l->s);
}

int crash_run_live(crash_run *run) {
    life l = {.run = run};
    l.s =
        sim_create(mrl_random_next(&run->random), 1 + (uint32_t)mrl_random_below(&run->random, 6));
    if (l.s == NULL) abort();
    /* The machine was off for a while. */
    sim_clock_advance(l.s, run->now_ns + mrl_random_below(&run->random, 2000000000));
    for (uint32_t i = 0; i < ORACLE_NAME_COUNT; i++) l.current[i] = ORACLE_NONE;
    run->totals.lives++;
    plan(&l);
    disk_on_stop(run->d, stop_life, &l);
    sim_spawn(l.s, "opens", open_database, &l);
    int is_stopped = run_sim(&l);
    if (is_stopped == 0 && !l.has_failed_to_open && run->o->trouble[0] == 0) {
        disk_stop_at(run->d, 0);
        disk_stop_at_point(run->d, "", 0);
        is_stopped = live(&l);
    }
    if (run->o->trouble[0] != 0) {
        sim_print_trace(l.s);
        disk_print_trace(run->d);
    }
    end_life(&l, is_stopped);
    run->totals.lost = run->o->lost;
    if (run->is_told)
        printf("# life %llu: %s, %u commits, fault %d, published %llu, promised %llu\n",
               (llu)run->totals.lives,
               l.has_failed_to_open ? "not opened"
               : is_stopped         ? "stopped"
                                    : "closed",
               l.commits, (int)l.fault, (llu)run->o->last_seq, (llu)run->o->promised_seq);
    return run->o->trouble[0] != 0 ? -1 : 0;
}

void crash_run_init(crash_run *run, uint64_t seed) {
    memset(run, 0, sizeof *run);
    run->seed = seed;
    mrl_random_init(&run->random, seed);
    run->d = disk_create(mrl_random_next(&run->random));
    run->o = oracle_create();
    run->keeps_log = (int)(seed % 2);
    (void)snprintf(run->path, sizeof run->path, "db");
}

void crash_run_fini(crash_run *run) {
    life_forget_backup(run);
    disk_destroy(run->d);
    oracle_destroy(run->o);
}
