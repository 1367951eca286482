/* load/fill.c - all tables of a filled root: one pass over the documents, then the tables side by
 * side; counts and free slots; and what becomes of an index that cannot be filled.
 *
 * A document that is looked at for the first time is a cache miss or four. So they are gone over
 * once for all tables, and the next ones are asked for while those are read that have come: what
 * each table needs of them it takes down in a column (fill_private.h). The tasks that make tables
 * are one job: a tree, which one thread makes, has tables of hashes beside it, and no thread waits
 * for a table to end before it begins with the next. Trees come first, as the longest ones.
 *
 * Free slots. Which shard's a slot was is not known any more, nor does it matter: a slot belongs to
 * the shard whose key comes to it first. Run r of 64 slots goes to shard r modulo 64, the smallest
 * slot on top of its stack.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load/fill.h"

#include <string.h>

#include "base/assert.h"
#include "base/report.h"
#include "load/fill_private.h"
#include "store/build.h"
#include "store/expiry.h"

/* ---- a filling ---- */

static int is_over(const mrl_filling *f) {
    return atomic_load_explicit(&f->err, memory_order_relaxed) != MERLE_OK;
}

static void fail(mrl_filling *f, merle_err err) {
    int none = MERLE_OK;
    (void)atomic_compare_exchange_strong_explicit(&f->err, &none, err, memory_order_relaxed,
                                                  memory_order_relaxed);
}

static merle_err error_of(const mrl_filling *f) {
    return (merle_err)atomic_load_explicit(&f->err, memory_order_relaxed);
}

void mrl_filling_offend(mrl_filling *f, const mrl_schema_index *index, mrl_fill_offence offence) {
    mrl_fill_offences *of = index == NULL ? &f->of_keys : &f->of[index->number];
    mrl_lock_take(&f->lock);
    if (of->kept_count < MRL_FILL_KEPT_MAX) of->kept[of->kept_count++] = offence;
    of->count++;
    mrl_lock_drop(&f->lock);
}

/* At the end of a task. One half of the steps is going over slots, the other one making tables. */
static void report_progress(const mrl_filling *f, uint32_t worker) {
    if (worker != 0 || f->options->progress == NULL) return;
    uint64_t done = atomic_load_explicit(&f->slots_done, memory_order_relaxed);
    uint64_t tasks_done = atomic_load_explicit(&f->tasks_done, memory_order_relaxed);
    if (f->task_count != 0) done += mrl_slots_end(&f->root->slots) * tasks_done / f->task_count;
    f->options->progress(f->options->progress_context, done);
}

uint64_t mrl_fill_steps(const mrl_root *root) {
    return 2 * (uint64_t)mrl_slots_end(&root->slots);
}

/* ---- going over documents ---- */

typedef struct walk {
    const mrl_slots *slots;
    uint64_t slot, end;
} walk;

static walk walk_range(const mrl_filling *f, uint32_t range) {
    uint64_t first = (uint64_t)range * MRL_FILL_RANGE, end = first + MRL_FILL_RANGE;
    uint32_t all = mrl_slots_end(&f->root->slots);
    return (walk){&f->root->slots, first, end < all ? end : all};
}

/* The next documents, which are asked for; 0: there are none. */
static uint32_t walk_next(walk *w, mrl_fill_batch *batch) {
    batch->count = 0;
    for (; w->slot < w->end && batch->count < MRL_FILL_BATCH; w->slot++) {
        const mrl_version *v = mrl_slots_load(w->slots, (uint32_t)w->slot);
        if (v == NULL) continue;
        for (size_t i = 0; i < MRL_FILL_LINES; i++)
            __builtin_prefetch((const uint8_t *)v + i * MRL_LINE_SIZE);
        batch->versions[batch->count++] = v;
    }
    return batch->count;
}

static int note_batch(const mrl_filling *f, const mrl_fill_batch *batch) {
    for (uint32_t i = 0; i < f->column_count; i++)
        if (!f->columns[i]->type->note(f->columns[i], batch)) return 0;
    return 1;
}

static int end_range(const mrl_filling *f, const mrl_fill_batch *batch) {
    for (uint32_t i = 0; i < f->column_count; i++) {
        const mrl_column_type *type = f->columns[i]->type;
        if (type->end != NULL && !type->end(f->columns[i], batch)) return 0;
    }
    return 1;
}

/* One batch is on its way while the other one is read. */
static void note_range(void *context, mrl_member *member, uint32_t worker, uint32_t task) {
    mrl_filling *f = context;
    mrl_fill_batch batches[2] = {{.member = member, .worker = worker, .range = task}};
    walk w = walk_range(f, task);
    uint64_t slot_count = w.end - w.slot;
    if (is_over(f)) return;
    batches[1] = batches[0];
    int ok = 1;
    uint32_t at = 0;
    for (uint32_t count = walk_next(&w, &batches[0]); ok && count != 0; at = 1 - at) {
        count = walk_next(&w, &batches[1 - at]);
        ok = note_batch(f, &batches[at]);
    }
    if (!ok || !end_range(f, &batches[0])) fail(f, MERLE_NO_MEMORY);
    atomic_fetch_add_explicit(&f->slots_done, slot_count, memory_order_relaxed);
    report_progress(f, worker);
}

/* ---- tables ---- */

/* A task of the column has ended. With the last one its lists have gone: many megabytes in a row,
 * of which jemalloc gives nothing to whoever wants a few kilobytes. The next tables take as much
 * anew; so that is given back to the system first. */
static void end_task(const mrl_filling *f, mrl_column *column) {
    enum { LARGE = 1 << 16 /* slots: below it is not worth the calls */ };
    if (atomic_fetch_sub_explicit(&column->tasks_left, 1, memory_order_acq_rel) != 1) return;
    if (mrl_slots_end(&f->root->slots) < LARGE) return;
    mrl_domain_trim(f->root->collection->store->domain);
}

static void make_table(void *context, mrl_member *member, uint32_t worker, uint32_t task) {
    mrl_filling *f = context;
    uint32_t number = 0;
    if (is_over(f)) return;
    while (task >= f->columns[number]->task_count) task -= f->columns[number++]->task_count;
    merle_err err = f->columns[number]->type->make(f->columns[number], member, task);
    if (err != MERLE_OK) fail(f, err);
    end_task(f, f->columns[number]);
    atomic_fetch_add_explicit(&f->tasks_done, 1, memory_order_relaxed);
    report_progress(f, worker);
}

static void add_column(mrl_filling *f, mrl_column *column) {
    if (column == NULL) {
        fail(f, MERLE_NO_MEMORY);
        return;
    }
    MRL_ASSERT(f->column_count < MRL_FILL_COLUMN_MAX);
    f->columns[f->column_count++] = column;
    f->task_count += column->task_count;
    atomic_init(&column->tasks_left, column->task_count);
}

/* Tables that have to be made; but none of an index that is given up in any case. */
static void add_columns(mrl_filling *f, mrl_member *member) {
    const mrl_schema *schema = f->schema;
    if (mrl_root_expiry(f->root) != NULL) add_column(f, mrl_column_of_tree(f, member, NULL));
    for (uint32_t i = 0; i < schema->index_count; i++)
        if (f->of[i].count == 0 && mrl_index_has_tree(&schema->indexes[i]))
            add_column(f, mrl_column_of_tree(f, member, &schema->indexes[i]));
    for (uint32_t i = 0; i < schema->index_count; i++)
        if (f->of[i].count == 0 && mrl_index_has_tags(&schema->indexes[i]))
            add_column(f, mrl_column_of_tags(f, member, &schema->indexes[i]));
    add_column(f, mrl_column_of_map(f, member, NULL));
    for (uint32_t i = 0; i < schema->index_count; i++)
        if (f->of[i].count == 0 && mrl_index_is_unique(&schema->indexes[i]))
            add_column(f, mrl_column_of_map(f, member, &schema->indexes[i]));
}

static merle_err make_tables(mrl_filling *f, mrl_member *member) {
    if (f->range_count == 0) return MERLE_OK;
    add_columns(f, member);
    if (!is_over(f)) mrl_crew_run(f->crew, member, note_range, f, f->range_count);
    if (!is_over(f)) mrl_crew_run(f->crew, member, make_table, f, f->task_count);
    for (uint32_t i = 0; i < f->column_count; i++)
        f->columns[i]->type->destroy(f->columns[i], member);
    return error_of(f);
}

/* ---- counts and free slots ---- */

/* The last change of all. */
static uint64_t last_change(const mrl_root *root) {
    uint64_t seq = atomic_load_explicit(&root->seq, memory_order_relaxed);
    uint64_t end = mrl_slots_end(&root->slots);
    for (uint64_t slot = 0; slot < end; slot += MRL_RUN_SLOTS) {
        const mrl_chunk *chunk = mrl_slots_chunk(&root->slots, (uint32_t)slot);
        MRL_ASSERT(chunk != NULL);
        uint64_t changed = atomic_load_explicit(
            &chunk->changed[slot % MRL_CHUNK_SLOTS / MRL_RUN_SLOTS], memory_order_relaxed);
        if (changed > seq) seq = changed;
    }
    return seq;
}

/* From the last slot of the run on, so that the first one is taken first. */
static void free_run(mrl_root *root, mrl_member *member, uint64_t run, uint64_t end) {
    uint64_t first = run * MRL_RUN_SLOTS, slot = first + MRL_RUN_SLOTS;
    if (slot > end) slot = end;
    while (slot-- > first)
        if (mrl_slots_load(&root->slots, (uint32_t)slot) == NULL)
            mrl_shard_return_slot(&root->shards[run % MRL_SHARD_COUNT], member, (uint32_t)slot);
}

static void settle_slots(mrl_filling *f, mrl_member *member) {
    mrl_root *root = f->root;
    uint64_t end = mrl_slots_end(&root->slots), seq = last_change(root);
    for (uint64_t run = (end + MRL_RUN_SLOTS - 1) / MRL_RUN_SLOTS; run-- > 0;)
        free_run(root, member, run, end);
    for (int i = 0; i < MRL_SHARD_COUNT / MRL_COUNTER_SHARDS; i++)
        atomic_store_explicit(&root->counters[i].seq, seq, memory_order_relaxed);
}

/* ---- indexes that were added, and do not fit ---- */

typedef struct judging {
    mrl_filling *f;
    const mrl_schema_index *index;
} judging;

/* What the index's function says of a document of which it has made nothing. */
static merle_err ask_again(const judging *j, const mrl_version *v) {
    merle_buffer made = {0};
    merle_err err =
        mrl_schema_extract(j->f->schema, j->index, mrl_version_key(v),
                           merle_bytes_of(mrl_version_doc(v), v->doc_size), &made, NULL);
    merle_buffer_free(&made);
    return err != MERLE_OK ? err : MERLE_TYPE;
}

static void judge(const judging *j, const mrl_version *v) {
    merle_err err = !mrl_version_has_extracted(v, j->index)
                        ? ask_again(j, v)
                        : mrl_schema_check_index(j->f->schema, j->index, mrl_version_key(v),
                                                 merle_bytes_of(mrl_version_doc(v), v->doc_size));
    if (err != MERLE_OK)
        mrl_filling_offend(j->f, j->index, (mrl_fill_offence){err, v->slot, MRL_SLOT_NONE});
}

static void judge_range(void *context, mrl_member *member, uint32_t worker, uint32_t task) {
    const judging *j = context;
    mrl_fill_batch batch;
    walk w = walk_range(j->f, task);
    (void)member;
    (void)worker;
    while (walk_next(&w, &batch) != 0)
        for (uint32_t i = 0; i < batch.count; i++) judge(j, batch.versions[i]);
}

static void judge_suspected(mrl_filling *f, mrl_member *member) {
    for (uint32_t i = 0; i < f->schema->index_count; i++) {
        judging j = {f, &f->schema->indexes[i]};
        if ((f->options->suspected >> i & 1) != 0)
            mrl_crew_run(f->crew, member, judge_range, &j, f->range_count);
    }
}

/* Documents that were loaded before an index with a function was defined lack its values. They get
 * them by a copy that takes their place: nobody else has them yet. What the function refuses is
 * left to be judged. */
static void complete_slot(const judging *j, mrl_member *member, uint32_t slot, merle_buffer *made) {
    mrl_slots *slots = &j->f->root->slots;
    mrl_version *v = mrl_slots_load(slots, slot), *twin = NULL;
    if (v == NULL || mrl_version_has_extracted(v, j->index)) return;
    merle_err err = mrl_version_copy_extracted(v, j->index, made);
    if (err == MERLE_OK) {
        err = mrl_schema_extract(j->f->schema, j->index, mrl_version_key(v),
                                 merle_bytes_of(mrl_version_doc(v), v->doc_size), made, NULL);
        if (err != MERLE_OK && err != MERLE_NO_MEMORY) return;
    }
    if (err == MERLE_OK) twin = mrl_version_twin(member, v, made);
    if (twin == NULL) {
        fail(j->f, MERLE_NO_MEMORY);
        return;
    }
    twin->before = NULL;
    atomic_store_explicit(&twin->seq, mrl_version_seq(v), memory_order_relaxed);
    mrl_slots_store(slots, slot, twin);
    mrl_version_free(member, v);
}

static void complete_range(void *context, mrl_member *member, uint32_t worker, uint32_t task) {
    const judging *j = context;
    merle_buffer made = {0};
    walk w = walk_range(j->f, task);
    (void)worker;
    for (; w.slot < w.end && !is_over(j->f); w.slot++)
        complete_slot(j, member, (uint32_t)w.slot, &made);
    merle_buffer_free(&made);
}

static merle_err complete(mrl_filling *f, mrl_member *member) {
    for (uint32_t i = 0; i < f->schema->index_count; i++) {
        judging j = {f, &f->schema->indexes[i]};
        if ((f->options->suspected >> i & 1) != 0 && j.index->extract != NULL)
            mrl_crew_run(f->crew, member, complete_range, &j, f->range_count);
    }
    return error_of(f);
}

static const mrl_version *version_in(const mrl_filling *f, uint32_t slot) {
    return mrl_slots_load(&f->root->slots, slot);
}

static uint32_t keep_key(mrl_build *build, uint32_t at, const mrl_version *v) {
    memcpy(build->kept_bytes + at, v->bytes, v->key_size);
    return at + v->key_size;
}

/* The list of those that stand against the index. */
static merle_err keep_offenders(const mrl_filling *f, const mrl_fill_offences *of,
                                mrl_member *member, mrl_build *build) {
    uint32_t used = 0, size = 0;
    for (uint32_t i = 0; i < of->kept_count; i++) {
        size += version_in(f, of->kept[i].slot)->key_size;
        if (of->kept[i].other_slot != MRL_SLOT_NONE)
            size += version_in(f, of->kept[i].other_slot)->key_size;
    }
    build->kept_bytes = mrl_alloc(member, MRL_FOR_TABLES, size);
    if (build->kept_bytes == NULL) return MERLE_NO_MEMORY;
    build->kept_size = size;
    for (uint32_t i = 0; i < of->kept_count; i++) {
        const mrl_version *v = version_in(f, of->kept[i].slot), *other = NULL;
        if (of->kept[i].other_slot != MRL_SLOT_NONE) other = version_in(f, of->kept[i].other_slot);
        build->kept[build->kept_count++] =
            (mrl_kept){of->kept[i].why, used, v->key_size, other == NULL ? 0u : other->key_size};
        used = keep_key(build, used, v);
        if (other != NULL) used = keep_key(build, used, other);
    }
    atomic_store_explicit(&build->offence_count, of->count, memory_order_relaxed);
    return MERLE_OK;
}

/* As if its build had just failed. */
static merle_err give_index_up(mrl_filling *f, mrl_member *member, uint32_t number) {
    mrl_schema *schema;
    mrl_build *build = mrl_build_create(member);
    merle_err err =
        build == NULL ? MERLE_NO_MEMORY : keep_offenders(f, &f->of[number], member, build);
    if (err == MERLE_OK)
        err = mrl_schema_in_state(f->schema, number, MERLE_INDEX_FAILED, 0, &schema);
    if (err != MERLE_OK) {
        mrl_build_destroy(member, build);
        return err;
    }
    atomic_store_explicit(&schema->seq, 0, memory_order_relaxed);
    atomic_store_explicit(&f->root->builds[number], build, memory_order_relaxed);
    atomic_store_explicit(&f->root->schema, schema, memory_order_relaxed);
    mrl_schema_release(f->schema);
    f->schema = schema;
    while (mrl_root_index_clear(f->root, member, number, SIZE_MAX) != 0) continue;
    return MERLE_OK;
}

/* ---- the whole ---- */

/* Names the two that stand against each other. */
static merle_err tell(const mrl_filling *f, const mrl_schema_index *index, merle_report *report) {
    char key[128], other[128];
    const mrl_fill_offence *first =
        index == NULL ? &f->of_keys.kept[0] : &f->of[index->number].kept[0];
    const mrl_version *v = version_in(f, first->slot), *o = version_in(f, first->other_slot);
    if (f->options->offence != NULL) *f->options->offence = *first;
    mrl_report_escape(mrl_version_key(v), key, sizeof key);
    mrl_report_escape(mrl_version_key(o), other, sizeof other);
    (void)mrl_report_fill(report, MERLE_EXISTS,
                          "collection %s: %s%s%s of documents %s and %s (slots %u and %u)",
                          f->root->collection->name, index == NULL ? "the key" : "index ",
                          index == NULL ? "" : index->name, index == NULL ? "" : ": one value", key,
                          other, first->slot, first->other_slot);
    mrl_report_collection(report, f->root->collection->name);
    if (index != NULL) mrl_report_index(report, index->name);
    mrl_report_key(report, mrl_version_key(v));
    mrl_report_found(report, other);
    return MERLE_EXISTS;
}

/* What came of the keys, and of each index. */
static merle_err settle_tables(mrl_filling *f, mrl_member *member, merle_report *report) {
    merle_err err = MERLE_OK;
    if (f->of_keys.count > 0) return tell(f, NULL, report);
    for (uint32_t i = 0; i < f->schema->index_count && err == MERLE_OK; i++) {
        const mrl_schema_index *index = &f->schema->indexes[i];
        if (f->of[i].count == 0) continue;
        err = index->is_added && !f->options->is_strict ? give_index_up(f, member, i)
                                                        : tell(f, index, report);
    }
    if (err != MERLE_OK || mrl_root_expiry(f->root) == NULL) return err;
    mrl_expiry_enable(f->root->collection->store);
    /* Whatever there is may have come due while nobody looked. */
    mrl_expiry_wake(f->root, 1);
    return err;
}

static merle_err fill(mrl_filling *f, mrl_member *member, merle_report *report) {
    merle_err err = mrl_slots_fill(&f->root->slots, member);
    if (err == MERLE_OK) err = complete(f, member);
    if (err != MERLE_OK) return err;
    judge_suspected(f, member);
    err = make_tables(f, member);
    if (err == MERLE_OK) err = settle_tables(f, member, report);
    if (err == MERLE_OK) settle_slots(f, member);
    return err;
}

merle_err mrl_root_fill(const mrl_fill_options *options, mrl_member *member, merle_report *report) {
    mrl_root *root = options->root;
    mrl_filling *f = mrl_alloc(member, MRL_FOR_OTHER, sizeof *f);
    merle_err err = MERLE_NO_MEMORY;
    uint32_t end = mrl_slots_end(&root->slots);
    if (f != NULL) {
        memset((void *)f, 0, sizeof *f);
        f->root = root;
        f->schema = mrl_root_schema_now(root);
        f->options = options;
        f->crew = options->crew;
        f->range_count = end / MRL_FILL_RANGE + (end % MRL_FILL_RANGE != 0);
        mrl_lock_init(&f->lock);
        err = fill(f, member, report);
        mrl_free(member, MRL_FOR_OTHER, f, sizeof *f);
    }
    if (err != MERLE_NO_MEMORY) return err;
    (void)mrl_report_fill(report, err, "no memory for the tables of collection %s",
                          root->collection->name);
    mrl_report_collection(report, root->collection->name);
    return err;
}
