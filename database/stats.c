/* database/stats.c - the inside view: figures of the database, of collections and of indexes; open
 * sections.
 *
 * Figures that many threads count are read one after the other while they go on: each is right by
 * itself, sums of several are right at rest.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "database/stats.h"

#include <string.h>

#include "store/expiry.h"
#include "store/build.h"

#define STATE_IS_QUIET ((uint64_t)1 << 63)

/* Copies what the caller's struct has room for: it may be an older, shorter one. */
static merle_err hand_out(const void *stats, size_t size, void *out, size_t asked) {
    if (asked > size) return MERLE_INVALID;
    memcpy(out, stats, asked);
    return MERLE_OK;
}

static merle_err join(merle_db *db, mrl_member **out_member) {
    *out_member = NULL;
    if (db == NULL) return MERLE_INVALID;
    if (mrl_domain_is_forked(db->domain)) return MERLE_FORKED;
    *out_member = mrl_member_join(db->domain);
    return *out_member == NULL ? MERLE_NO_MEMORY : MERLE_OK;
}

void merle_report_to(merle_db *db, merle_report *report) {
    mrl_member *member;
    if (join(db, &member) == MERLE_OK) member->report = report;
}

/* ---- ages of sections ---- */

typedef struct look {
    uint64_t now_ns;
    uint64_t published;
} look;

/* What tells the oldest open section of a thread from the ones before and after it. Once something
 * was published behind its S no section that begins later can have that S: then S does. Until then
 * only the count of sections begun can, which inner sections change, too. */
static uint64_t section_state(const mrl_member *member, uint64_t oldest, uint64_t published) {
    if (oldest < published) return oldest;
    return STATE_IS_QUIET | atomic_load_explicit(&member->sections_begun, memory_order_relaxed);
}

static void look_at(void *context, mrl_member *member) {
    const look *l = context;
    uint64_t oldest = atomic_load_explicit(&member->section_oldest_seq, memory_order_relaxed);
    uint64_t quiet =
        STATE_IS_QUIET | atomic_load_explicit(&member->sections_begun, memory_order_relaxed);
    if (atomic_load_explicit(&member->sections_open, memory_order_relaxed) == 0 ||
        oldest == UINT64_MAX) {
        member->seen_at_ns = 0;
        return;
    }
    uint64_t state = section_state(member, oldest, l->published);
    int is_same = member->seen_begun == state || member->seen_begun == quiet;
    if (member->seen_at_ns == 0 || !is_same) member->seen_at_ns = l->now_ns;
    member->seen_begun = state;
}

void mrl_sections_look(merle_db *db, uint64_t now_ns) {
    look l = {now_ns, mrl_log_published_at(db->store.published)};
    mrl_member_each(db->domain, look_at, &l);
}

/* Whether the thread is in a commit. The list belongs to its owner: what we see of it may be a
 * moment old, and nothing behind it is touched. */
__attribute__((no_sanitize("thread"))) static int is_in_commit(const mrl_member *member) {
    return __atomic_load_n(&member->commits, __ATOMIC_RELAXED) != NULL;
}

/* The oldest section of a thread; 0: it has none. Under the member lock. */
static int section_of(const mrl_member *member, const look *l, merle_section_info *out) {
    uint64_t oldest = atomic_load_explicit(&member->section_oldest_seq, memory_order_relaxed);
    if (atomic_load_explicit(&member->sections_open, memory_order_relaxed) == 0 ||
        oldest == UINT64_MAX)
        return 0;
    memset(out, 0, sizeof *out);
    out->thread = member->thread;
    out->seq = oldest;
    out->in_commit = (uint32_t)is_in_commit(member);
    uint64_t quiet =
        STATE_IS_QUIET | atomic_load_explicit(&member->sections_begun, memory_order_relaxed);
    int is_known = member->seen_begun == section_state(member, oldest, l->published) ||
                   member->seen_begun == quiet;
    if (is_known && member->seen_at_ns != 0 && l->now_ns > member->seen_at_ns)
        out->age_ns = l->now_ns - member->seen_at_ns;
    return 1;
}

typedef struct listing {
    look look;
    merle_section_info *sections;
    size_t max, count;
} listing;

static int is_older(const merle_section_info *a, const merle_section_info *b) {
    return a->seq != b->seq ? a->seq < b->seq : a->age_ns > b->age_ns;
}

/* Keeps the oldest, in order. */
static void list_section(void *context, mrl_member *member) {
    listing *list = context;
    merle_section_info info;
    if (!section_of(member, &list->look, &info)) return;
    size_t at = list->count;
    if (list->count < list->max) list->count++;
    if (at == list->max) {
        if (at == 0 || !is_older(&info, &list->sections[at - 1])) return;
        at--;
    }
    for (; at > 0 && is_older(&info, &list->sections[at - 1]); at--)
        list->sections[at] = list->sections[at - 1];
    list->sections[at] = info;
}

static look look_now(merle_db *db) {
    look l = {db->clock->monotonic_ns(db->clock->context),
              mrl_log_published_at(db->store.published)};
    return l;
}

merle_err merle_sections(merle_db *db, merle_section_info *out_sections, size_t section_max,
                         size_t *out_count) {
    mrl_member *member;
    *out_count = 0;
    merle_err err = join(db, &member);
    if (err != MERLE_OK) return err;
    listing list = {look_now(db), out_sections, section_max, 0};
    mrl_member_each(db->domain, list_section, &list);
    *out_count = list.count;
    return MERLE_OK;
}

/* ---- the database ---- */

typedef struct summing {
    look look;
    merle_stats_db *stats;
    merle_section_info oldest;
} summing;

static void sum_member(void *context, mrl_member *member) {
    summing *s = context;
    merle_section_info info;
    s->stats->threads++;
    s->stats->sections_open += atomic_load_explicit(&member->sections_open, memory_order_relaxed);
    if (!section_of(member, &s->look, &info)) return;
    if (s->oldest.thread == 0 || is_older(&info, &s->oldest)) s->oldest = info;
}

static void fill_sections(merle_db *db, merle_stats_db *stats) {
    summing s = {look_now(db), stats, {0, 0, 0, 0, 0}};
    mrl_member_each(db->domain, sum_member, &s);
    stats->section_oldest_age_ns = s.oldest.age_ns;
    stats->section_oldest_seq = s.oldest.seq;
    stats->section_oldest_thread = s.oldest.thread;
    stats->commits_open = mrl_domain_count(db->domain, MRL_N_COMMITS_OPEN);
    stats->cursors_open = atomic_load_explicit(&db->store.cursors_open, memory_order_relaxed);
}

static void fill_bytes(merle_db *db, merle_stats_db *stats) {
    mrl_log_stats log;
    stats->bytes_total = mrl_domain_bytes_total(db->domain);
    stats->bytes_documents = mrl_domain_bytes(db->domain, MRL_FOR_DOCUMENTS);
    stats->bytes_tables = mrl_domain_bytes(db->domain, MRL_FOR_TABLES);
    stats->bytes_log = mrl_domain_bytes(db->domain, MRL_FOR_LOG);
    stats->bytes_other = mrl_domain_bytes(db->domain, MRL_FOR_OTHER);
    stats->bytes_retired =
        mrl_store_retired_bytes(&db->store) + mrl_domain_bytes_waiting(db->domain);
    stats->bytes_max = db->memory_max;
    stats->bytes_kept = mrl_domain_bytes_kept(db->domain);
    mrl_log_stat(db->log, &log);
    stats->seq = log.published;
    stats->ring_bytes = log.ring_bytes;
    stats->ring_size = log.ring_size;
    stats->ring_first_seq = log.first_seq;
    stats->durable_seq = log.durable;
}

static void fill_counts(merle_db *db, merle_stats_db *stats) {
    struct {
        mrl_counter counter;
        uint64_t *out;
    } const fields[] = {
        {MRL_N_COMMITS, &stats->commits},
        {MRL_N_REFUSED, &stats->commits_refused},
        {MRL_N_CONFLICTS, &stats->conflicts},
        {MRL_N_RETRIES, &stats->retries},
        {MRL_N_OPERATIONS, &stats->operations},
        {MRL_N_GETS, &stats->gets},
        {MRL_N_GETS_MISSED, &stats->gets_missed},
        {MRL_N_GETS_UNIQUE, &stats->gets_unique},
        {MRL_N_SCANS, &stats->scans},
        {MRL_N_RETIRED, &stats->versions_retired},
        {MRL_N_FREED, &stats->versions_freed},
        {MRL_N_SPLITS, &stats->tables_split},
        {MRL_N_MERGES, &stats->tables_merged},
        {MRL_N_REBUILDS, &stats->tables_rebuilt},
        {MRL_N_COPIED, &stats->entries_copied},
        {MRL_N_COPIED_MAX, &stats->entries_copied_max},
        {MRL_N_STEPS, &stats->steps},
        {MRL_N_STEP_MAX_NS, &stats->step_longest_ns},
        {MRL_N_ABANDONED, &stats->sections_abandoned},
        {MRL_N_EXPIRED, &stats->expired},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        *fields[i].out = mrl_domain_count(db->domain, fields[i].counter);
}

/* In the epoch: roots may be replaced, but stay. */
static void fill_collections(merle_db *db, merle_stats_db *stats) {
    merle_collection *collection =
        atomic_load_explicit(&db->store.collections, memory_order_acquire);
    for (; collection != NULL;
         collection = atomic_load_explicit(&collection->next, memory_order_acquire)) {
        const mrl_root *root = mrl_collection_current(collection);
        if (root == NULL) continue;
        for (uint32_t i = 0; i < MRL_SHARD_COUNT; i++)
            stats->versions_waiting += mrl_queue_length(&root->shards[i].queue);
        if (root->is_dropped) continue;
        stats->collections++;
        stats->documents += mrl_root_count_now(root);
        if (mrl_root_expiry(root) == NULL) continue;
        mrl_ordered_stats listed;
        mrl_ordered_stat(mrl_root_expiry(root), &listed);
        stats->expiring += listed.entries - listed.marked;
    }
}

merle_err merle_stats(merle_db *db, merle_stats_db *out_stats) {
    mrl_member *member;
    merle_stats_db stats;
    mrl_epoch_token token;
    if (out_stats == NULL) return MERLE_INVALID;
    size_t asked = out_stats->size == 0 ? sizeof stats : out_stats->size;
    merle_err err = join(db, &member);
    if (err != MERLE_OK) return err;
    memset(&stats, 0, sizeof stats);
    stats.size = asked;
    stats.term = db->term;
    stats.term_id = db->term_id;
    memcpy(stats.database_id, db->database_id, sizeof stats.database_id);
    fill_sections(db, &stats);
    fill_bytes(db, &stats);
    fill_counts(db, &stats);
    mrl_files_stat(db, &stats);
    mrl_member_enter(member, &token);
    fill_collections(db, &stats);
    int64_t due_ns = mrl_expiry_next(&db->store, member), now_ns = mrl_expiry_now(&db->store);
    if (due_ns < now_ns) stats.expiry_lag_ns = (uint64_t)(now_ns - due_ns);
    mrl_member_leave(member, &token);
    return hand_out(&stats, sizeof stats, out_stats, asked);
}

/* ---- collections and indexes ---- */

static void add_map(mrl_map_stats *sum, const mrl_map *map, mrl_lock *lock) {
    mrl_map_stats one;
    /* Only the writer may walk over the tables; it takes as long as a few dozen loads. */
    mrl_lock_take(lock);
    mrl_map_stat(map, &one);
    mrl_lock_drop(lock);
    sum->entries += one.entries;
    sum->pieces += one.pieces;
    sum->bytes += one.bytes;
}

static mrl_map_stats stat_keys(mrl_root *root) {
    mrl_map_stats sum = {0, 0, 0, 0, 0};
    for (uint32_t i = 0; i < MRL_SHARD_COUNT; i++)
        add_map(&sum, &root->maps[i], &root->shards[i].lock);
    return sum;
}

static void stat_unique(mrl_unique *unique, merle_stats_index *stats) {
    mrl_map_stats sum = {0, 0, 0, 0, 0};
    for (uint32_t i = 0; i < MRL_SHARD_COUNT; i++)
        add_map(&sum, &unique->shards[i].map, &unique->shards[i].lock);
    stats->entries = sum.entries;
    stats->tables = sum.pieces;
    stats->bytes = sizeof *unique + sum.bytes;
    stats->refused = atomic_load_explicit(&unique->refused, memory_order_relaxed);
}

static void stat_build(const mrl_build *build, merle_stats_index *stats) {
    if (build == NULL) return;
    stats->slots_done = atomic_load_explicit(&build->slots_done, memory_order_relaxed);
    stats->slots_total = atomic_load_explicit(&build->slots_total, memory_order_relaxed);
    stats->offenders = atomic_load_explicit(&build->offence_count, memory_order_relaxed);
}

/* Into stats that are nought. */
static void stat_index(mrl_root *root, const mrl_schema_index *index, merle_stats_index *stats) {
    mrl_root_index *made = &root->indexes[index->number];
    stats->kind = index->declared;
    stats->state = index->state;
    stat_build(mrl_root_build(root, index->number), stats);
    /* Of a failed one nothing is kept: its tables may be on their way out. */
    if (index->kind == 0) return;
    if (index->state == MERLE_INDEX_READY)
        stats->ready_seq = index->ready_seq != 0
                               ? index->ready_seq
                               : atomic_load_explicit(&root->seq, memory_order_acquire);
    if (made->unique != NULL) stat_unique(made->unique, stats);
    if (made->ordered != NULL) {
        mrl_ordered_stats sum;
        mrl_ordered_stat(made->ordered, &sum);
        stats->entries += sum.entries;
        stats->tables += sum.leaves;
        stats->bytes += sum.bytes;
    }
    if (made->tags != NULL) {
        mrl_tags_stats sum;
        mrl_tags_stat(made->tags, &sum);
        stats->entries += sum.entries;
        stats->tables += sum.tags;
        stats->bytes += sum.bytes;
    }
}

static void fill_collection(mrl_root *root, merle_stats_collection *stats) {
    mrl_map_stats keys = stat_keys(root);
    uint64_t slots = mrl_slots_end(&root->slots);
    uint64_t chunks = (slots + MRL_CHUNK_SLOTS - 1) / MRL_CHUNK_SLOTS;
    stats->documents = mrl_root_count_now(root);
    stats->slots = slots;
    stats->key_entries = keys.entries;
    stats->key_tables = keys.pieces;
    stats->bytes = sizeof *root + keys.bytes + chunks * sizeof(mrl_chunk);
    const mrl_schema *schema = mrl_root_schema_now(root);
    for (uint32_t i = 0; i < schema->index_count; i++) {
        merle_stats_index index = {0};
        stat_index(root, &schema->indexes[i], &index);
        stats->bytes += index.bytes;
    }
    mrl_root_done done = mrl_root_sum_done(root);
    stats->puts = done.puts;
    stats->patches = done.patches;
    stats->removes = done.removes;
    stats->page_count = (slots + MRL_RUN_SLOTS - 1) / MRL_RUN_SLOTS;
}

merle_err merle_collection_stats(merle_collection *collection, merle_stats_collection *out_stats) {
    mrl_member *member;
    merle_stats_collection stats;
    mrl_epoch_token token;
    if (collection == NULL || out_stats == NULL) return MERLE_INVALID;
    size_t asked = out_stats->size == 0 ? sizeof stats : out_stats->size;
    merle_err err = join(collection->store->db, &member);
    if (err != MERLE_OK) return err;
    memset(&stats, 0, sizeof stats);
    stats.size = asked;
    mrl_member_enter(member, &token);
    mrl_root *root = mrl_collection_current(collection);
    if (root == NULL || root->is_dropped)
        err = MERLE_GONE;
    else
        fill_collection(root, &stats);
    mrl_member_leave(member, &token);
    return err != MERLE_OK ? err : hand_out(&stats, sizeof stats, out_stats, asked);
}

static merle_err fill_index(mrl_root *root, const char *name, merle_stats_index *stats) {
    if (root == NULL || root->is_dropped) return MERLE_GONE;
    const mrl_schema_index *index = mrl_schema_find_index(mrl_root_schema_now(root), name);
    if (index == NULL) return MERLE_NOT_FOUND;
    stat_index(root, index, stats);
    return MERLE_OK;
}

merle_err merle_index_stats(merle_collection *collection, const char *index,
                            merle_stats_index *out_stats) {
    mrl_member *member;
    merle_stats_index stats;
    mrl_epoch_token token;
    if (collection == NULL || index == NULL || out_stats == NULL) return MERLE_INVALID;
    size_t asked = out_stats->size == 0 ? sizeof stats : out_stats->size;
    merle_err err = join(collection->store->db, &member);
    if (err != MERLE_OK) return err;
    memset(&stats, 0, sizeof stats);
    stats.size = asked;
    mrl_member_enter(member, &token);
    err = fill_index(mrl_collection_current(collection), index, &stats);
    mrl_member_leave(member, &token);
    return err != MERLE_OK ? err : hand_out(&stats, sizeof stats, out_stats, asked);
}
