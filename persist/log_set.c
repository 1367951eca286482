/* persist/log_set.c - lists the log files of a directory and checks that they are one chain.
 *
 * The chain: from the oldest file that is needed on, ids follow one another without a gap; terms
 * never go down; the first file of a term begins behind what its opening took over; the last one
 * may be prepared and not begun. Files below the oldest one are of use to cursors only; what is
 * wrong with them is of no concern.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/log_set.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/report.h"
#include "persist/log_state.h"

enum { LISTED_MIN = 16 };

/* ---- complaints ---- */

merle_err mrl_log_complain(merle_report *report, merle_err err, uint64_t id, uint64_t offset,
                           const char *format, ...) {
    char name[MRL_LOG_NAME_SIZE];
    va_list arguments;
    mrl_log_name(name, id);
    va_start(arguments, format);
    mrl_report_fill_list(report, err, format, arguments);
    va_end(arguments);
    mrl_report_prefix(report, "%s: ", name);
    mrl_report_path(report, name);
    mrl_report_offset(report, offset);
    return err;
}

merle_err mrl_log_complain_system(merle_report *report, const char *name, int system_errno,
                                  const char *what) {
    merle_err err =
        system_errno == ENOSPC || system_errno == EDQUOT ? MERLE_NO_SPACE : MERLE_SYSTEM;
    char text[96] = "";
    const char *told = strerror_r(system_errno, text, sizeof text);
    mrl_report_fill(report, err, "%s: %s failed: %s", name, what, told);
    mrl_report_path(report, name);
    mrl_report_errno(report, system_errno);
    return err;
}

static void tell(merle_report *report, const char *expected, const char *found) {
    mrl_report_expected(report, expected);
    mrl_report_found(report, found);
}

/* ---- listing ---- */

typedef struct listed {
    uint64_t id, size;
    mrl_log_header header;
    merle_err header_err; /* of a file that is not needed */
} listed;

typedef struct listing {
    listed *items;
    size_t count, capacity;
    merle_err err;
} listing;

static int list_one(void *context, const char *name, uint64_t size) {
    listing *list = context;
    uint64_t id;
    if (!mrl_log_name_read(name, &id)) return 0;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? LISTED_MIN : 2 * list->capacity;
        listed *items = mrl_allocate(capacity * sizeof *items);
        if (items == NULL) {
            list->err = MERLE_NO_MEMORY;
            return 1;
        }
        if (list->count > 0) memcpy(items, list->items, list->count * sizeof *items);
        free(list->items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = (listed){.id = id, .size = size};
    return 0;
}

static int compare_ids(const void *a, const void *b) {
    uint64_t first = ((const listed *)a)->id, second = ((const listed *)b)->id;
    return first < second ? -1 : first > second;
}

static merle_err list_files(mrl_log_set *set, listing *list, merle_report *report) {
    int failed = set->files->dir_each(set->dir, list_one, list);
    if (failed != 0 && list->err == MERLE_OK)
        return mrl_log_complain_system(report, ".", failed, "listing the directory");
    if (list->err != MERLE_OK) return mrl_report_fill(report, list->err, NULL);
    if (list->count > 1) qsort(list->items, list->count, sizeof *list->items, compare_ids);
    return MERLE_OK;
}

/* ---- headers ---- */

/* Of two copies: the one that was begun, else the first whole one. Between writing the first and
 * the first group the copies differ; a crash may leave the first one torn, and then the file was
 * not begun. */
static merle_err choose(const uint8_t blocks[2 * MRL_LOG_HEADER_SIZE], mrl_log_header *out,
                        uint32_t *out_version) {
    mrl_log_header copies[2];
    merle_err errs[2];
    uint32_t versions[2];
    for (int i = 0; i < 2; i++)
        errs[i] = mrl_log_header_read(blocks + i * MRL_LOG_HEADER_SIZE, &copies[i], &versions[i]);
    int chosen = errs[0] == MERLE_OK ? 0 : 1;
    if (errs[1] == MERLE_OK && copies[1].state == MRL_LOG_BEGUN &&
        (chosen == 1 || copies[0].state != MRL_LOG_BEGUN))
        chosen = 1;
    if (errs[chosen] != MERLE_OK && errs[0] == MERLE_UNSUPPORTED) chosen = 0;
    *out = copies[chosen];
    *out_version = versions[chosen];
    return errs[chosen];
}

static merle_err check_header(const mrl_log_set *set, const listed *item, merle_report *report) {
    const mrl_log_header *h = &item->header;
    char found[64], expected[64];
    if (memcmp(h->database_id, set->options.database_id, sizeof h->database_id) != 0) {
        merle_err err = mrl_log_complain(report, MERLE_CORRUPT, item->id, 0,
                                         "the file belongs to another database");
        snprintf(found, sizeof found, "%016llx%016llx", (unsigned long long)h->database_id[0],
                 (unsigned long long)h->database_id[1]);
        tell(report, "this database's id", found);
        return err;
    }
    if (h->id != item->id) {
        merle_err err = mrl_log_complain(report, MERLE_CORRUPT, item->id, 0,
                                         "the file is another one of this log: it was swapped");
        mrl_log_name(found, h->id);
        tell(report, "the id in its name", found);
        return err;
    }
    if (h->file_size < MRL_LOG_FILE_SIZE_MIN)
        return mrl_log_complain(report, MERLE_CORRUPT, item->id, 0,
                                "its header claims a size of %llu bytes",
                                (unsigned long long)h->file_size);
    /* It had its whole size, synced, before it was begun. */
    if (h->state == MRL_LOG_BEGUN && item->size < h->file_size) {
        merle_err err = mrl_log_complain(report, MERLE_CORRUPT, item->id, item->size,
                                         "the file was cut: merle restore takes a backup, merle "
                                         "repair what is left");
        snprintf(found, sizeof found, "%llu bytes", (unsigned long long)item->size);
        snprintf(expected, sizeof expected, "%llu bytes", (unsigned long long)h->file_size);
        tell(report, expected, found);
        return err;
    }
    return MERLE_OK;
}

static merle_err read_header(const mrl_log_set *set, listed *item, merle_report *report) {
    uint8_t blocks[2 * MRL_LOG_HEADER_SIZE] = {0};
    char name[MRL_LOG_NAME_SIZE];
    mrl_file *file;
    size_t got = 0;
    uint32_t version = 0;
    mrl_log_name(name, item->id);
    int failed = set->files->file_open(set->dir, name, MRL_FILE_READ, &file);
    if (failed != 0) return mrl_log_complain_system(report, name, failed, "opening it");
    failed = set->files->file_read(file, 0, blocks, sizeof blocks, &got);
    set->files->file_close(file);
    if (failed != 0) return mrl_log_complain_system(report, name, failed, "reading it");
    merle_err err = choose(blocks, &item->header, &version);
    if (err == MERLE_UNSUPPORTED)
        return mrl_log_complain(report, err, item->id, 0,
                                "it is of format version %u, this library knows %d", version,
                                MRL_LOG_FORMAT_VERSION);
    if (err != MERLE_OK) {
        err = mrl_log_complain(report, err, item->id, 0,
                               "both copies of its header are damaged; merle repair takes out of "
                               "the database what can be taken");
        tell(report, "a header of a log file", got < sizeof blocks ? "a short file" : "damage");
        return err;
    }
    return check_header(set, item, report);
}

/* ---- the chain ---- */

static merle_err complain_missing(merle_report *report, uint64_t id, const char *why) {
    merle_err err =
        mrl_log_complain(report, MERLE_CORRUPT, id, 0,
                         "the file is missing: %s; put it back, or merle restore a backup, or "
                         "merle repair",
                         why);
    tell(report, "a log file", "none");
    return err;
}

/* Two begun files, one behind the other. */
static merle_err check_pair(const listed *a, const listed *b, merle_report *report) {
    const mrl_log_header *x = &a->header, *y = &b->header;
    int is_same_term = x->term == y->term;
    int is_wrong = y->term < x->term || y->first_seq < x->first_seq ||
                   (is_same_term && x->accepted_seq != y->accepted_seq) ||
                   (!is_same_term && y->first_seq != y->accepted_seq + 1) ||
                   !mrl_log_term_follows(x, y);
    if (!is_wrong) return MERLE_OK;
    merle_err err = mrl_log_complain(report, MERLE_CORRUPT, b->id, 0,
                                     "the file does not go on where the one before it ends");
    char found[64];
    snprintf(found, sizeof found, "term %llu, first seq %llu", (unsigned long long)y->term,
             (unsigned long long)y->first_seq);
    tell(report, "a later one of the same log", found);
    return err;
}

static int is_begun(const listed *item) {
    return item->header.state == MRL_LOG_BEGUN;
}

/* Those that are needed: [first, count). */
static merle_err check_chain(const mrl_log_set *set, const listing *list, size_t first,
                             merle_report *report) {
    const mrl_log_set_options *o = &set->options;
    uint64_t wanted = o->oldest_id != 0 ? o->oldest_id : 1, term = 0;
    /* The file that the manifest names may have ended at R, and have gone since: one that begins
     * with R + 1, or before, has all that is needed. */
    if (first < list->count && list->items[first].id > wanted && is_begun(&list->items[first]) &&
        list->items[first].header.first_seq <= o->after_seq + 1)
        wanted = list->items[first].id;
    for (size_t i = first; i < list->count; i++, wanted++) {
        const listed *item = &list->items[i];
        if (item->id != wanted) return complain_missing(report, wanted, "later ones are there");
        if (!is_begun(item) && i + 1 < list->count)
            return mrl_log_complain(report, MERLE_CORRUPT, item->id, 0,
                                    "the file was not begun, but later ones are there");
        if (!is_begun(item)) break;
        merle_err err = i > first ? check_pair(item - 1, item, report) : MERLE_OK;
        if (err != MERLE_OK) return err;
        term = item->header.term;
    }
    int has_begun = first < list->count && is_begun(&list->items[first]);
    if (o->oldest_id != 0 && !has_begun)
        return complain_missing(report, o->oldest_id, "the manifest names it");
    if (has_begun && list->items[first].header.first_seq > o->after_seq + 1)
        return mrl_log_complain(report, MERLE_CORRUPT, list->items[first].id, 0,
                                "the log begins with seq %llu, but %llu is needed",
                                (unsigned long long)list->items[first].header.first_seq,
                                (unsigned long long)o->after_seq + 1);
    if (term < o->term) return complain_missing(report, wanted, "the manifest knows a later term");
    return MERLE_OK;
}

/* ---- the set ---- */

mrl_log_file *mrl_log_file_create(uint64_t id, const mrl_log_header *header, uint64_t size) {
    mrl_log_file *file = mrl_allocate(sizeof *file);
    if (file == NULL) return NULL;
    *file = (mrl_log_file){.id = id,
                           .header = *header,
                           .limit = UINT64_MAX,
                           .size = size,
                           .written_to = MRL_LOG_FRAMES_AT};
    return file;
}

static merle_err add_spare(mrl_log_set *set, const listed *item) {
    mrl_log_spare *spare = mrl_allocate(sizeof *spare);
    if (spare == NULL) return MERLE_NO_MEMORY;
    *spare = (mrl_log_spare){set->spares, item->id, item->size, MRL_LOG_FRAMES_AT};
    set->spares = spare;
    return MERLE_OK;
}

/* Records of a file count up to what every later term has taken over. */
static void set_limits(mrl_log_set *set) {
    for (mrl_log_file *at = set->first; at != NULL; at = at->next)
        for (const mrl_log_file *later = at->next; later != NULL; later = later->next)
            if (later->header.term > at->header.term && later->header.accepted_seq < at->limit)
                at->limit = later->header.accepted_seq;
}

/* From which one on the files below the needed ones are of use: they go on to them without a gap.
 */
static size_t find_useful(const listing *list, size_t first) {
    size_t at = first;
    while (at > 0 && list->items[at - 1].header_err == MERLE_OK && is_begun(&list->items[at - 1]) &&
           list->items[at - 1].id + 1 == list->items[at].id &&
           check_pair(&list->items[at - 1], &list->items[at], NULL) == MERLE_OK)
        at--;
    return at;
}

/* Where a header could not be read, what is below may have been of use too: it is left alone, and
 * the next opening looks again. */
static int are_readable(const listing *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (list->items[i].header_err == MERLE_SYSTEM) return 0;
    return 1;
}

static merle_err take_in(mrl_log_set *set, const listing *list, size_t first) {
    size_t useful = first < list->count ? find_useful(list, first) : first;
    size_t spare_count = are_readable(list, useful) ? useful : 0;
    merle_err err = MERLE_OK;
    for (size_t i = 0; i < spare_count && err == MERLE_OK; i++)
        err = add_spare(set, &list->items[i]);
    for (size_t i = useful; i < list->count && err == MERLE_OK; i++) {
        const listed *item = &list->items[i];
        if (!is_begun(item)) {
            set->prepared_id = item->id;
            continue;
        }
        mrl_log_file *file = mrl_log_file_create(item->id, &item->header, item->size);
        if (file == NULL) return MERLE_NO_MEMORY;
        if (set->last != NULL)
            set->last->next = file;
        else
            set->first = file;
        set->last = file;
        if (i >= first) set->replay_total += item->size;
        mrl_log_term_meet(set, &item->header);
    }
    set_limits(set);
    return err;
}

static merle_err look(mrl_log_set *set, listing *list, merle_report *report) {
    merle_err err = list_files(set, list, report);
    if (err != MERLE_OK) return err;
    size_t first = 0;
    while (first < list->count && list->items[first].id < set->options.oldest_id) first++;
    for (size_t i = 0; i < list->count; i++) {
        listed *item = &list->items[i];
        item->header_err = read_header(set, item, i < first ? NULL : report);
        if (i >= first && item->header_err != MERLE_OK) return item->header_err;
    }
    if ((err = check_chain(set, list, first, report)) != MERLE_OK) return err;
    err = take_in(set, list, first);
    return err == MERLE_OK ? err : mrl_report_fill(report, err, NULL);
}

void mrl_log_set_destroy(mrl_log_set *set) {
    for (mrl_log_file *at = set->first, *next; at != NULL; at = next) {
        next = at->next;
        free(at);
    }
    for (mrl_log_spare *at = set->spares, *next; at != NULL; at = next) {
        next = at->next;
        free(at);
    }
    free(set->staging);
    free(set);
}

merle_err mrl_log_set_open(const mrl_log_set_options *options, mrl_log_set **out_set,
                           merle_report *report) {
    listing list = {NULL, 0, 0, MERLE_OK};
    *out_set = NULL;
    mrl_log_set *set = mrl_allocate(sizeof *set);
    if (set == NULL) return mrl_report_fill(report, MERLE_NO_MEMORY, NULL);
    memset(set, 0, sizeof *set);
    set->options = *options;
    set->files = options->files != NULL ? options->files : &mrl_files_system;
    set->clock = options->clock != NULL ? options->clock : &mrl_clock_system;
    set->dir = options->dir;
    if (set->options.file_size == 0) set->options.file_size = MRL_LOG_FILE_SIZE_DEFAULT;
    if (set->options.file_size < MRL_LOG_FILE_SIZE_MIN)
        set->options.file_size = MRL_LOG_FILE_SIZE_MIN;
    set->options.file_size = set->options.file_size / MRL_LOG_HEADER_SIZE * MRL_LOG_HEADER_SIZE;
    set->capacity = set->options.file_size - MRL_LOG_FRAMES_AT - MRL_LOG_END_SIZE;
    /* A checkpoint is kept only once the log is durable up to it. */
    if (set->options.vouched_seq < options->after_seq)
        set->options.vouched_seq = options->after_seq;
    set->memory_only_answer = -1;
    mrl_lock_init(&set->lock);
    mrl_lock_init(&set->prepare_lock);
    mrl_random_init(&set->random, options->seed != 0 ? options->seed : mrl_random_seed());
    merle_err err = look(set, &list, report);
    if (set->term < options->term_floor) set->term = options->term_floor;
    if (options->terms != NULL) set->terms = *options->terms;
    free(list.items);
    if (err != MERLE_OK) {
        mrl_log_set_destroy(set);
        return err;
    }
    *out_set = set;
    return MERLE_OK;
}

/* ---- what is asked of it ---- */

uint64_t mrl_log_set_record_max(const mrl_log_set *set) {
    return set->capacity;
}

uint64_t mrl_log_set_id_for(mrl_log_set *set, uint64_t seq) {
    uint64_t id = 0;
    mrl_lock_take(&set->lock);
    for (const mrl_log_file *at = set->first; at != NULL; at = at->next)
        if (id == 0 || at->header.first_seq <= seq + 1) id = at->id;
    mrl_lock_drop(&set->lock);
    return id;
}

uint64_t mrl_log_set_written_bytes(const mrl_log_set *set) {
    return atomic_load_explicit(&set->bytes_written, memory_order_relaxed);
}

uint64_t mrl_log_set_replay_total(const mrl_log_set *set) {
    return set->replay_total;
}

uint64_t mrl_log_set_replay_done(const mrl_log_set *set) {
    return atomic_load_explicit(&set->replay_done, memory_order_relaxed);
}

void mrl_log_set_stat(mrl_log_set *set, mrl_log_set_stats *out) {
    memset(out, 0, sizeof *out);
    out->bytes_written = mrl_log_set_written_bytes(set);
    out->groups = atomic_load_explicit(&set->groups, memory_order_relaxed);
    out->group_bytes_max = atomic_load_explicit(&set->group_bytes_max, memory_order_relaxed);
    out->records = atomic_load_explicit(&set->records, memory_order_relaxed);
    out->syncs = atomic_load_explicit(&set->syncs, memory_order_relaxed);
    out->sync_ns = atomic_load_explicit(&set->sync_ns, memory_order_relaxed);
    out->sync_ns_max = atomic_load_explicit(&set->sync_ns_max, memory_order_relaxed);
    out->current_used = atomic_load_explicit(&set->used, memory_order_relaxed);
    mrl_lock_take(&set->lock);
    for (const mrl_log_file *at = set->first; at != NULL; at = at->next) out->files++;
    for (const mrl_log_spare *at = set->spares; at != NULL; at = at->next) out->files_spare++;
    if (set->next_file != NULL) out->files_spare++;
    if (set->last != NULL) {
        out->current_id = set->last->id;
        out->current_size = set->last->header.file_size;
    }
    mrl_lock_drop(&set->lock);
}

void mrl_log_set_each(mrl_log_set *set, mrl_log_file_fn *fn, void *context) {
    int has_ended = 0;
    mrl_lock_take(&set->lock);
    for (const mrl_log_file *at = set->first; at != NULL && !has_ended; at = at->next) {
        mrl_log_file_info info = {.id = at->id,
                                  .term = at->header.term,
                                  .first_seq = at->header.first_seq,
                                  .size = at->header.file_size};
        if (at == set->last) info.used = atomic_load_explicit(&set->used, memory_order_relaxed);
        has_ended = fn(context, &info);
    }
    for (const mrl_log_spare *at = set->spares; at != NULL && !has_ended; at = at->next) {
        mrl_log_file_info info = {.id = at->id, .size = at->size, .is_spare = 1};
        has_ended = fn(context, &info);
    }
    if (set->next_file != NULL && !has_ended) {
        mrl_log_file_info info = {
            .id = mrl_log_next_id(set), .size = set->options.file_size, .is_prepared = 1};
        (void)fn(context, &info);
    } else if (set->options.only_reads && set->prepared_id != 0 && !has_ended) {
        mrl_log_file_info info = {.id = set->prepared_id, .is_prepared = 1};
        (void)fn(context, &info);
    }
    mrl_lock_drop(&set->lock);
}
