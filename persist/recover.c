/* persist/recover.c - from manifest, pages and log to a store that is as it was.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/recover.h"

#include <inttypes.h>
#include <string.h>

#include "base/report.h"
#include "load/load.h"
#include "store/expiry.h"
#include "wire/bytes.h"

enum { TELL_EVERY = 1024 }; /* records between two calls of the progress function */

typedef struct replay {
    const mrl_recover_options *options;
    mrl_manifest *manifest;
    mrl_load *load;
    mrl_member *member;
    merle_recovery_info *info;
    uint64_t last_seq; /* replayed */
    int64_t last_time_ns;
    int has_reached_end; /* the next record is behind seq_end */
} replay;

/* ---- one operation ---- */

/* Up to which seq the slot is as the pages have it. */
static uint64_t slot_is_at(const replay *r, const mrl_manifest_collection *noted, uint32_t slot) {
    if (noted == NULL) return r->manifest->replay_seq;
    const mrl_manifest_page *page = mrl_manifest_page_of(noted, slot);
    if (page != NULL) return page->seq;
    return noted->base_seq > r->manifest->replay_seq ? noted->base_seq : r->manifest->replay_seq;
}

static merle_err unknown(const mrl_record_operation_view *op, uint64_t seq, merle_report *report) {
    return mrl_report_fill(report, MERLE_CORRUPT,
                           "the record of commit %" PRIu64
                           " changes collection %u, which there is not; merle verify shows more",
                           seq, op->collection_id);
}

static merle_err no_such_slot(const mrl_record_operation_view *op, uint64_t seq,
                              merle_report *report) {
    merle_err err = mrl_report_fill(report, MERLE_CORRUPT,
                                    "the record of commit %" PRIu64
                                    " names slot %u of collection %u, far behind all that pages "
                                    "and log account for; merle verify shows more",
                                    seq, op->slot, op->collection_id);
    mrl_report_expected(report, "a slot that was given");
    return err;
}

static merle_err apply_to_slot(replay *r, const mrl_manifest_collection *noted,
                               const mrl_record_operation_view *op, uint64_t seq,
                               merle_report *report) {
    /* Above all of them nothing needs to be looked up. */
    if (seq <= r->manifest->seq_max && seq <= slot_is_at(r, noted, op->slot)) {
        r->info->operations_passed_over++;
        return MERLE_OK;
    }
    mrl_load_collection *target = mrl_load_find(r->load, op->collection_id);
    if (target == NULL) return unknown(op, seq, report);
    if (op->kind == MRL_RECORD_PUT) mrl_load_expect(target, 1);
    if (!mrl_load_has_slot(target, op->slot)) return no_such_slot(op, seq, report);
    if (op->kind == MRL_RECORD_PUT)
        return mrl_load_put(target, r->member, op->slot, op->key, op->payload, seq, op->expires_ns,
                            report);
    if (op->kind == MRL_RECORD_PATCH)
        return mrl_load_effect(target, r->member, op->slot, op->key, op->payload, seq,
                               op->expires_ns, report);
    merle_err err = mrl_load_remove(target, r->member, op->slot, seq);
    if (err != MERLE_OK)
        mrl_report_fill(report, err, "commit %" PRIu64 " empties slot %u: %s", seq, op->slot,
                        merle_err_text(err));
    return err;
}

/* What pages there are of it counts no more, and a next checkpoint makes new ones. */
static merle_err truncate(replay *r, mrl_manifest_collection *noted,
                          const mrl_record_operation_view *op, uint64_t seq, merle_report *report) {
    merle_err err = MERLE_OK;
    if (noted != NULL && seq <= noted->base_seq) return MERLE_OK;
    mrl_load_collection *target = mrl_load_find(r->load, op->collection_id);
    if (target == NULL) return unknown(op, seq, report);
    uint32_t end = mrl_load_slots_end(target);
    for (uint32_t slot = 0; slot < end && err == MERLE_OK; slot++)
        err = mrl_load_remove(target, r->member, slot, seq);
    if (err != MERLE_OK) return mrl_report_fill(report, err, NULL);
    mrl_load_truncated(target, seq);
    if (noted != NULL) {
        noted->base_seq = seq;
        noted->page_count = 0;
    }
    return MERLE_OK;
}

/* The end of a bulk load: its documents are there, and pages of what there was before are not. */
static merle_err forget_pages(const replay *r, mrl_manifest_collection *noted,
                              const mrl_record_operation_view *op, uint64_t seq,
                              merle_report *report) {
    if (mrl_load_find(r->load, op->collection_id) == NULL) return unknown(op, seq, report);
    if (noted == NULL || seq <= noted->base_seq) return MERLE_OK;
    noted->base_seq = seq;
    noted->page_count = 0;
    return MERLE_OK;
}

static merle_err set_ids_aside(replay *r, const mrl_record_operation_view *op, uint64_t seq,
                               merle_report *report) {
    const uint8_t *payload = op->payload.data;
    mrl_mp_cursor cursor = {payload, payload + op->payload.size};
    uint64_t end;
    mrl_load_collection *target = mrl_load_find(r->load, op->collection_id);
    if (target == NULL) return unknown(op, seq, report);
    if (op->payload.size == 0 || !mrl_mp_get_u64(&cursor, &end))
        return mrl_report_fill(report, MERLE_CORRUPT,
                               "commit %" PRIu64 " sets ids aside, and does not say which", seq);
    mrl_load_ids(target, end);
    return MERLE_OK;
}

static merle_err drop(replay *r, mrl_manifest_collection *noted,
                      const mrl_record_operation_view *op, uint64_t seq, merle_report *report) {
    if (mrl_load_find(r->load, op->collection_id) == NULL) return unknown(op, seq, report);
    if (noted != NULL) noted->page_count = 0;
    return mrl_load_drop(r->load, r->member, op->collection_id, seq);
}

static merle_err apply(replay *r, const mrl_record_operation_view *op, uint64_t seq,
                       merle_report *report) {
    mrl_manifest_collection *noted = mrl_manifest_find(r->manifest, op->collection_id);
    r->info->operations++;
    switch (op->kind) {
    case MRL_RECORD_PUT:
    case MRL_RECORD_PATCH:
    case MRL_RECORD_REMOVE:
        return apply_to_slot(r, noted, op, seq, report);
    case MRL_RECORD_DEFINE:
        return mrl_load_define(r->load, r->member, op->payload, seq, report);
    case MRL_RECORD_TRUNCATE:
        return truncate(r, noted, op, seq, report);
    case MRL_RECORD_DROP:
        return drop(r, noted, op, seq, report);
    case MRL_RECORD_SEQUENCE:
        return set_ids_aside(r, op, seq, report);
    case MRL_RECORD_LOADED:
        return forget_pages(r, noted, op, seq, report);
    }
    return mrl_report_fill(report, MERLE_UNSUPPORTED,
                           "commit %" PRIu64
                           " has an operation of a kind that this library does "
                           "not know: it is older than the files",
                           seq);
}

/* Ids are never given twice. So what the manifest knew of, but did not name, had been dropped when
 * its checkpoint began; where the log is read from before that (a bulk load was under way then),
 * records of such a collection still come. One that was made since has its definition behind R. */
static int is_long_gone(replay *r, const mrl_record_operation_view *op) {
    return op->kind != MRL_RECORD_DEFINE && op->collection_id < r->manifest->collection_next_id &&
           mrl_manifest_find(r->manifest, op->collection_id) == NULL &&
           mrl_load_find(r->load, op->collection_id) == NULL;
}

/* Keeps book of bulk loads. One that was there before what the manifest has of the collection, and
 * was given up, is over: the documents of its pages came later. */
static merle_err note_load(replay *r, const mrl_record_operation_view *op, uint32_t origin,
                           uint64_t seq) {
    const mrl_manifest_collection *noted = mrl_manifest_find(r->manifest, op->collection_id);
    mrl_load_collection *target = mrl_load_find(r->load, op->collection_id);
    if (target == NULL || (noted != NULL && seq < noted->base_seq)) return MERLE_OK;
    return mrl_load_concern(target, r->member, op->kind, origin, seq);
}

/* ---- one record ---- */

static merle_err replay_record(void *context, const mrl_frame *frame, merle_bytes body,
                               merle_report *report) {
    replay *r = context;
    mrl_record_reader reader;
    mrl_record_operation_view op;
    const mrl_recover_options *o = r->options;
    if (frame->seq > o->seq_end) {
        r->has_reached_end = 1;
        return MERLE_NOT_FOUND;
    }
    r->last_seq = frame->seq;
    r->last_time_ns = frame->time_ns;
    merle_err err = mrl_record_read_begin(body, &reader);
    while (err == MERLE_OK) {
        if ((err = mrl_record_read_next(&reader, &op)) != MERLE_OK) break;
        if (is_long_gone(r, &op)) {
            r->info->operations_passed_over++;
            continue;
        }
        err = note_load(r, &op, reader.origin, frame->seq);
        if (err != MERLE_OK) return mrl_report_fill(report, err, NULL);
        err = apply(r, &op, frame->seq, report);
        if (err != MERLE_OK) return err;
    }
    if (err != MERLE_NOT_FOUND)
        return mrl_report_fill(report, err, "the record of commit %" PRIu64 " cannot be read",
                               frame->seq);
    r->info->records++;
    r->info->log_bytes += MRL_FRAME_HEADER_SIZE + frame->length;
    if (o->progress != NULL && r->info->records % TELL_EVERY == 0)
        o->progress(o->progress_context, "log", mrl_log_set_replay_done(o->log_set),
                    mrl_log_set_replay_total(o->log_set));
    return MERLE_OK;
}

/* ---- the whole ---- */

/* Pages cover all slots that were given: one far behind the others was named by nobody of ours. */
static merle_err expect_pages(const mrl_manifest *manifest, const mrl_manifest_collection *noted,
                              mrl_load_collection *made, merle_report *report) {
    char name[MRL_FILE_NAME_MAX];
    for (size_t i = 0; i < noted->page_count; i++)
        mrl_load_expect(made, noted->pages[i].slot_count);
    if (noted->page_count == 0 ||
        mrl_load_has_slot(made, noted->pages[noted->page_count - 1].first_slot))
        return MERLE_OK;
    mrl_directory_name(MRL_FILE_MANIFEST, manifest->number, name);
    merle_err err = mrl_report_fill(report, MERLE_CORRUPT,
                                    "%s: collection %u has a page far behind all others; merle "
                                    "restore has an older manifest",
                                    name, noted->id);
    mrl_report_path(report, name);
    return err;
}

static merle_err define_collections(const mrl_manifest *manifest, mrl_load *load,
                                    mrl_member *member, merle_report *report) {
    for (size_t i = 0; i < manifest->collection_count; i++) {
        const mrl_manifest_collection *noted = &manifest->collections[i];
        merle_bytes definition = {noted->definition.data, noted->definition.size};
        merle_err err = mrl_load_define(load, member, definition, noted->base_seq, report);
        if (err != MERLE_OK) return err;
        mrl_load_collection *made = mrl_load_find(load, noted->id);
        if (made == NULL)
            return mrl_report_fill(report, MERLE_CORRUPT,
                                   "the manifest gives collection %u another id than its "
                                   "definition; merle restore has an older manifest",
                                   noted->id);
        mrl_load_ids(made, noted->ids_end);
        if ((err = expect_pages(manifest, noted, made, report)) != MERLE_OK) return err;
    }
    mrl_load_next_collection(load, manifest->collection_next_id);
    return MERLE_OK;
}

/* Ties the manifest's collections to those of the store, so that the next checkpoint knows which
 * pages are still good: those of documents that have not been replaced as a whole. */
static void adopt(mrl_manifest *manifest, mrl_store *store) {
    merle_collection *collection = atomic_load_explicit(&store->collections, memory_order_acquire);
    for (; collection != NULL;
         collection = atomic_load_explicit(&collection->next, memory_order_acquire)) {
        mrl_manifest_collection *noted = mrl_manifest_find(manifest, collection->id);
        const mrl_root *root = mrl_collection_current(collection);
        if (noted == NULL || root == NULL) continue;
        noted->base_seq = atomic_load_explicit(&root->seq, memory_order_acquire);
    }
    mrl_manifest_sum(manifest);
}

static uint64_t now(const mrl_recover_options *options) {
    return options->clock->monotonic_ns(options->clock->context);
}

static void tell_building(void *context, uint64_t done, uint64_t total) {
    const mrl_recover_options *o = context;
    o->progress(o->progress_context, "indexes", done, total);
}

static merle_err fill(replay *r, merle_report *report) {
    const mrl_recover_options *o = r->options;
    merle_recovery_info *info = r->info;
    uint64_t last_seq, began_ns = now(o);
    int64_t last_time_ns;
    merle_err err = define_collections(r->manifest, r->load, r->member, report);
    if (err == MERLE_OK) err = mrl_recover_pages(o, r->manifest, r->load, r->member, info, report);
    uint64_t loaded_ns = now(o);
    info->pages_ns = loaded_ns - began_ns;
    if (err != MERLE_OK) return err;
    err = mrl_log_set_replay(o->log_set, r->manifest->replay_seq, replay_record, r, &last_seq,
                             &last_time_ns, report);
    info->log_ns = now(o) - loaded_ns;
    if (r->has_reached_end) {
        err = MERLE_OK;
        last_seq = r->last_seq;
        last_time_ns = r->last_time_ns;
    }
    if (err != MERLE_OK) return err;
    info->last_seq = last_seq;
    if (last_time_ns < r->manifest->time_ns) last_time_ns = r->manifest->time_ns;
    mrl_log_start(o->store->log, last_seq, last_time_ns);
    /* What had ended then has ended, whatever the machine's clock says by now. */
    mrl_expiry_raise(o->store, last_time_ns);
    return MERLE_OK;
}

merle_err mrl_recover(const mrl_recover_options *options, mrl_manifest *manifest,
                      mrl_member *member, merle_recovery_info *info, merle_report *report) {
    mrl_load_options load_options = {
        .thread_count = options->thread_count,
        .functions = options->functions,
        .without_functions = options->without_functions,
        .progress = options->progress == NULL ? NULL : tell_building,
        .progress_context = (void *)(uintptr_t)options,
    };
    replay r = {.options = options,
                .manifest = manifest,
                .member = member,
                .info = info,
                .last_seq = manifest->replay_seq,
                .last_time_ns = INT64_MIN};
    merle_err err = mrl_load_begin(options->store, member, &load_options, &r.load);
    if (err != MERLE_OK) return mrl_report_fill(report, err, NULL);
    err = fill(&r, report);
    if (err != MERLE_OK) {
        mrl_load_cancel(r.load, member);
        return err;
    }
    uint64_t began_ns = now(options);
    err = mrl_load_finish(r.load, member, report);
    info->build_ns = now(options) - began_ns;
    if (err == MERLE_OK) adopt(manifest, options->store);
    return err;
}
