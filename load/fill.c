/* load/fill.c - keys, unique values, counts and free slots in bulk; and what becomes of an index
 * that cannot be filled.
 *
 * Keys and unique values go the same way. A first round goes over all documents and notes for each
 * the shard of its hash, 32 bits of it and the slot: lists of 8-byte words, for each thread and
 * shard. A second one makes the map of each shard from its lists (memory/map_fill.c).
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

/* ---- a filling ---- */

void mrl_filling_fail(mrl_filling *f, merle_err err) {
    int none = MERLE_OK;
    (void)atomic_compare_exchange_strong_explicit(&f->err, &none, err, memory_order_relaxed,
                                                  memory_order_relaxed);
}

static merle_err error_of(const mrl_filling *f) {
    return (merle_err)atomic_load_explicit(&f->err, memory_order_relaxed);
}

void mrl_filling_offend(mrl_filling *f, merle_err why, uint32_t slot, uint32_t other_slot) {
    mrl_lock_take(&f->lock);
    if (f->kept_count < MRL_FILL_KEPT_MAX)
        f->kept[f->kept_count++] = (mrl_fill_offence){why, slot, other_slot};
    f->offence_count++;
    mrl_lock_drop(&f->lock);
}

void mrl_filling_tell(mrl_filling *f, uint32_t worker) {
    if (worker != 0 || f->options->progress == NULL) return;
    f->options->progress(f->options->progress_context,
                         atomic_load_explicit(&f->done, memory_order_relaxed));
}

void mrl_filling_each(mrl_filling *f, uint32_t range, uint32_t lines, mrl_fill_fn *fn,
                      void *context) {
    enum { AHEAD = 16 };
    const mrl_version *waiting[AHEAD];
    uint64_t slot = (uint64_t)range * MRL_FILL_RANGE, end = slot + MRL_FILL_RANGE;
    uint32_t all = mrl_slots_end(&f->root->slots);
    if (end > all) end = all;
    atomic_fetch_add_explicit(&f->done, end - slot, memory_order_relaxed);
    while (slot < end) {
        uint32_t count = 0;
        for (; slot < end && count < AHEAD; slot++) {
            const mrl_version *v = mrl_slots_load(&f->root->slots, (uint32_t)slot);
            if (v == NULL) continue;
            for (uint32_t i = 0; i < lines; i++)
                __builtin_prefetch((const uint8_t *)v + (size_t)i * MRL_LINE_SIZE);
            waiting[count++] = v;
        }
        for (uint32_t i = 0; i < count; i++)
            if (!fn(context, waiting[i])) return;
    }
}

/* ---- lists of words by shard ---- */

typedef struct word_chunk {
    struct word_chunk *next;
    uint32_t count, capacity;
    uint64_t words[];
} word_chunk;

typedef struct word_list {
    word_chunk *last; /* the others hang in it */
    uint64_t count;
} word_list;

typedef struct mapping {
    mrl_filling *f;
    const mrl_schema_index *index; /* NULL: keys */
    word_list *lists;              /* MRL_SHARD_COUNT for each worker */
    uint32_t worker_count;
    uint32_t chunk_capacity;
} mapping;

/* One task of the first round. */
typedef struct noting {
    mapping *m;
    mrl_member *member;
    word_list *lists; /* the worker's */
} noting;

static size_t chunk_size(uint32_t capacity) {
    return sizeof(word_chunk) + capacity * sizeof(uint64_t);
}

static int note_word(const noting *n, uint64_t hash, uint32_t slot) {
    word_list *list = &n->lists[mrl_shard_of(hash)];
    if (list->last == NULL || list->last->count == list->last->capacity) {
        uint32_t capacity = n->m->chunk_capacity;
        word_chunk *chunk = mrl_alloc(n->member, MRL_FOR_OTHER, chunk_size(capacity));
        if (chunk == NULL) {
            mrl_filling_fail(n->m->f, MERLE_NO_MEMORY);
            return 0;
        }
        *chunk = (word_chunk){.next = list->last, .capacity = capacity};
        list->last = chunk;
    }
    list->last->words[list->last->count++] = mrl_entry_pair(slot, hash);
    list->count++;
    return 1;
}

static int note_key(void *context, const mrl_version *v) {
    const noting *n = context;
    return note_word(n, mrl_root_hash(n->m->f->root, mrl_version_key(v)), v->slot);
}

static int note_value(void *context, const mrl_version *v) {
    const noting *n = context;
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    size_t size = mrl_version_encode_unique(v, n->m->index, encoded);
    if (size == 0) return 1;
    const mrl_unique *unique = n->m->f->root->indexes[n->m->index->number].unique;
    return note_word(n, mrl_unique_hash(unique, encoded, size), v->slot);
}

static void note_range(void *context, mrl_member *member, uint32_t worker, uint32_t task) {
    mapping *m = context;
    noting n = {m, member, m->lists + (size_t)worker * MRL_SHARD_COUNT};
    if (mrl_filling_is_over(m->f)) return;
    if (m->index == NULL)
        mrl_filling_each(m->f, task, 2, note_key, &n);
    else
        mrl_filling_each(m->f, task, MRL_FILL_LINES, note_value, &n);
    mrl_filling_tell(m->f, worker);
}

/* ---- maps from lists ---- */

static const mrl_version *version_in(const mrl_filling *f, uint32_t slot) {
    return mrl_slots_load(&f->root->slots, slot);
}

static int same_key(void *context, uint64_t first, uint64_t second) {
    const mapping *m = context;
    const mrl_version *a = mrl_entry_to_pointer(first), *b = mrl_entry_to_pointer(second);
    if (a->key_size != b->key_size || memcmp(a->bytes, b->bytes, a->key_size) != 0) return 0;
    mrl_filling_offend(m->f, MERLE_EXISTS, b->slot, a->slot);
    return 1;
}

static int same_value(void *context, uint64_t first, uint64_t second) {
    const mapping *m = context;
    uint8_t encoded[MERLE_VALUE_SIZE_MAX];
    const mrl_version *a = version_in(m->f, mrl_entry_to_number(first));
    const mrl_version *b = version_in(m->f, mrl_entry_to_number(second));
    size_t size = mrl_version_encode_unique(a, m->index, encoded);
    if (!mrl_version_has_unique(b, m->index, encoded, size)) return 0;
    mrl_filling_offend(m->f, MERLE_EXISTS, b->slot, a->slot);
    return 1;
}

static void free_list(mrl_member *member, word_list *list) {
    for (word_chunk *chunk = list->last, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        mrl_free(member, MRL_FOR_OTHER, chunk, chunk_size(chunk->capacity));
    }
    *list = (word_list){NULL, 0};
}

/* Versions stand in the slot array in the order in which words were noted: what is loaded here lies
 * near what was loaded before. */
static mrl_map_item *take_items(const mapping *m, mrl_map_item *at, const word_list *list) {
    for (const word_chunk *chunk = list->last; chunk != NULL; chunk = chunk->next)
        for (uint32_t i = 0; i < chunk->count; i++) {
            uint64_t word = chunk->words[i], hash = word >> 32;
            if (m->index == NULL)
                word = mrl_entry_pointer(version_in(m->f, mrl_entry_to_number(word)), hash);
            *at++ = (mrl_map_item){.entry = word, .hash = (uint32_t)hash};
        }
    return at;
}

static void make_map(void *context, mrl_member *member, uint32_t worker, uint32_t task) {
    mapping *m = context;
    mrl_root *root = m->f->root;
    uint64_t count = 0;
    (void)worker;
    for (uint32_t w = 0; w < m->worker_count; w++)
        count += m->lists[(size_t)w * MRL_SHARD_COUNT + task].count;
    if (m->index == NULL) /* several shards share a counter */
        atomic_fetch_add_explicit(&root->counters[task / MRL_COUNTER_SHARDS].count, count,
                                  memory_order_relaxed);
    if (count == 0 || mrl_filling_is_over(m->f)) return;
    mrl_map_item *items = mrl_alloc(member, MRL_FOR_OTHER, count * sizeof *items), *at = items;
    for (uint32_t w = 0; items != NULL && w < m->worker_count; w++) {
        word_list *list = &m->lists[(size_t)w * MRL_SHARD_COUNT + task];
        at = take_items(m, at, list);
        free_list(member, list);
    }
    merle_err err = items == NULL ? MERLE_NO_MEMORY : MERLE_OK;
    if (err == MERLE_OK)
        err = m->index == NULL
                  ? mrl_map_fill(&root->maps[task], member, items, count, same_key, m)
                  : mrl_map_fill(&root->indexes[m->index->number].unique->shards[task].map, member,
                                 items, count, same_value, m);
    if (items != NULL) mrl_free(member, MRL_FOR_OTHER, items, count * sizeof *items);
    if (err != MERLE_OK) mrl_filling_fail(m->f, err);
}

/* Chunks that are neither mostly empty in a small collection nor many in a large one. */
static uint32_t capacity_for(const mrl_root *root) {
    enum { SMALLEST = 14, LARGEST = 510 };
    uint32_t fair = mrl_slots_end(&root->slots) / MRL_SHARD_COUNT / 4;
    return fair < SMALLEST ? SMALLEST : fair > LARGEST ? LARGEST : fair;
}

static void fill_maps(mrl_filling *f, mrl_member *member, const mrl_schema_index *index) {
    mapping m = {f, index, NULL, mrl_crew_size(f->crew), capacity_for(f->root)};
    size_t list_count = (size_t)m.worker_count * MRL_SHARD_COUNT;
    m.lists = mrl_alloc(member, MRL_FOR_OTHER, list_count * sizeof *m.lists);
    if (m.lists == NULL) {
        mrl_filling_fail(f, MERLE_NO_MEMORY);
        return;
    }
    memset(m.lists, 0, list_count * sizeof *m.lists);
    mrl_crew_run(f->crew, member, note_range, &m, f->range_count);
    mrl_crew_run(f->crew, member, make_map, &m, MRL_SHARD_COUNT);
    for (size_t i = 0; i < list_count; i++) free_list(member, &m.lists[i]);
    mrl_free(member, MRL_FOR_OTHER, m.lists, list_count * sizeof *m.lists);
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

static int judge(void *context, const mrl_version *v) {
    const judging *j = context;
    merle_err err = !mrl_version_has_extracted(v, j->index)
                        ? ask_again(j, v)
                        : mrl_schema_check_index(j->f->schema, j->index, mrl_version_key(v),
                                                 merle_bytes_of(mrl_version_doc(v), v->doc_size));
    if (err != MERLE_OK) mrl_filling_offend(j->f, err, v->slot, MRL_SLOT_NONE);
    return 1;
}

static void judge_range(void *context, mrl_member *member, uint32_t worker, uint32_t task) {
    judging *j = context;
    (void)member;
    (void)worker;
    mrl_filling_each(j->f, task, MRL_FILL_LINES, judge, j);
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
        mrl_filling_fail(j->f, MERLE_NO_MEMORY);
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
    uint64_t slot = (uint64_t)task * MRL_FILL_RANGE, end = slot + MRL_FILL_RANGE;
    uint32_t all = mrl_slots_end(&j->f->root->slots);
    (void)worker;
    for (; slot < end && slot < all && !mrl_filling_is_over(j->f); slot++)
        complete_slot(j, member, (uint32_t)slot, &made);
    merle_buffer_free(&made);
}

static merle_err complete(mrl_filling *f, mrl_member *member, uint32_t suspected) {
    for (uint32_t i = 0; i < f->schema->index_count; i++) {
        judging j = {f, &f->schema->indexes[i]};
        if ((suspected >> i & 1) != 0 && j.index->extract != NULL)
            mrl_crew_run(f->crew, member, complete_range, &j, f->range_count);
    }
    return error_of(f);
}

static uint32_t keep_key(mrl_build *build, uint32_t at, const mrl_version *v) {
    memcpy(build->kept_bytes + at, v->bytes, v->key_size);
    return at + v->key_size;
}

/* The list of those that stand against the index. */
static merle_err keep_offenders(const mrl_filling *f, mrl_member *member, mrl_build *build) {
    uint32_t used = 0, size = 0;
    for (uint32_t i = 0; i < f->kept_count; i++) {
        size += version_in(f, f->kept[i].slot)->key_size;
        if (f->kept[i].other_slot != MRL_SLOT_NONE)
            size += version_in(f, f->kept[i].other_slot)->key_size;
    }
    build->kept_bytes = mrl_alloc(member, MRL_FOR_TABLES, size);
    if (build->kept_bytes == NULL) return MERLE_NO_MEMORY;
    build->kept_size = size;
    for (uint32_t i = 0; i < f->kept_count; i++) {
        const mrl_version *v = version_in(f, f->kept[i].slot), *other = NULL;
        if (f->kept[i].other_slot != MRL_SLOT_NONE) other = version_in(f, f->kept[i].other_slot);
        build->kept[build->kept_count++] =
            (mrl_kept){f->kept[i].why, used, v->key_size, other == NULL ? 0u : other->key_size};
        used = keep_key(build, used, v);
        if (other != NULL) used = keep_key(build, used, other);
    }
    atomic_store_explicit(&build->offence_count, f->offence_count, memory_order_relaxed);
    return MERLE_OK;
}

/* As if its build had just failed. */
static merle_err give_index_up(mrl_filling *f, mrl_member *member, uint32_t number) {
    mrl_schema *schema;
    mrl_build *build = mrl_build_create(member);
    merle_err err = build == NULL ? MERLE_NO_MEMORY : keep_offenders(f, member, build);
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
    const mrl_fill_offence *first = &f->kept[0];
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

/* What came of an index. */
static merle_err settle_index(mrl_filling *f, mrl_member *member, uint32_t number,
                              merle_report *report) {
    const mrl_schema_index *index = &f->schema->indexes[number];
    merle_err err = error_of(f);
    if (err == MERLE_OK && f->offence_count > 0)
        err = index->is_added && !f->options->is_strict ? give_index_up(f, member, number)
                                                        : tell(f, index, report);
    f->offence_count = 0;
    f->kept_count = 0;
    return err;
}

static merle_err fill_indexes(mrl_filling *f, mrl_member *member, uint32_t suspected,
                              merle_report *report) {
    merle_err err = MERLE_OK;
    for (uint32_t i = 0; i < f->schema->index_count && err == MERLE_OK; i++) {
        judging j = {f, &f->schema->indexes[i]};
        if ((suspected >> i & 1) != 0)
            mrl_crew_run(f->crew, member, judge_range, &j, f->range_count);
        if (f->offence_count == 0 && mrl_index_is_unique(j.index)) fill_maps(f, member, j.index);
        if (f->offence_count == 0 && mrl_index_has_tags(j.index)) mrl_fill_tags(f, member, j.index);
        err = settle_index(f, member, i, report);
    }
    for (uint32_t next = 0; next < f->schema->index_count && err == MERLE_OK;) {
        next = mrl_fill_ordered(f, member, next);
        err = error_of(f);
    }
    if (err != MERLE_OK) return err;
    mrl_fill_expiry(f, member);
    return error_of(f);
}

uint64_t mrl_fill_steps(const mrl_root *root) {
    const mrl_schema *schema = mrl_root_schema_now(root);
    uint64_t passes = 1;
    for (uint32_t i = 0; i < schema->index_count; i++) passes += schema->indexes[i].kind != 0;
    return passes * mrl_slots_end(&root->slots);
}

merle_err mrl_root_fill(const mrl_fill_options *options, mrl_member *member, merle_report *report) {
    mrl_root *root = options->root;
    mrl_filling f = {.root = root, .schema = mrl_root_schema_now(root)};
    uint32_t end = mrl_slots_end(&root->slots);
    merle_err err = mrl_slots_fill(&root->slots, member);
    f.options = options;
    f.crew = options->crew;
    mrl_lock_init(&f.lock);
    f.range_count = end / MRL_FILL_RANGE + (end % MRL_FILL_RANGE != 0);
    if (err == MERLE_OK) err = complete(&f, member, options->suspected);
    if (err == MERLE_OK) {
        fill_maps(&f, member, NULL);
        err = error_of(&f);
    }
    if (err == MERLE_OK && f.offence_count > 0) err = tell(&f, NULL, report);
    if (err == MERLE_OK) err = fill_indexes(&f, member, options->suspected, report);
    if (err == MERLE_OK) settle_slots(&f, member);
    if (err != MERLE_NO_MEMORY) return err;
    (void)mrl_report_fill(report, err, "no memory for the tables of collection %s",
                          root->collection->name);
    mrl_report_collection(report, root->collection->name);
    return err;
}
