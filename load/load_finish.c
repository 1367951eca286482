/* load/load_finish.c - the end of a load: tables for all collections, then the store has them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/report.h"
#include "load/fill.h"
#include "load/load_private.h"
#include "store/definition.h"

typedef struct finishing {
    const mrl_load *load;
    uint64_t before, total; /* steps of the collections that are done, and of all */
} finishing;

static void tell(void *context, uint64_t done) {
    const finishing *f = context;
    f->load->options.progress(f->load->options.progress_context, f->before + done, f->total);
}

static merle_err fill_all(mrl_load *load, mrl_member *member, mrl_crew *crew,
                          merle_report *report) {
    finishing f = {load, 0, 0};
    merle_err err = MERLE_OK;
    for (uint32_t i = 0; i < load->count; i++)
        f.total += mrl_fill_steps(load->collections[i]->root);
    for (uint32_t i = 0; i < load->count && err == MERLE_OK; i++) {
        mrl_load_collection *c = load->collections[i];
        if ((err = mrl_load_settle(c, member)) != MERLE_OK) {
            (void)mrl_report_fill(report, err, "no memory to empty a collection");
            return err;
        }
        uint32_t suspected = atomic_load_explicit(&c->suspected, memory_order_relaxed);
        uint64_t steps = mrl_fill_steps(c->root);
        mrl_fill_offence offence = {MERLE_OK, MRL_SLOT_NONE, MRL_SLOT_NONE};
        const mrl_fill_options options = {.root = c->root,
                                          .crew = crew,
                                          .offence = &offence,
                                          .suspected = suspected,
                                          .progress = load->options.progress == NULL ? NULL : tell,
                                          .progress_context = &f};
        err = mrl_root_fill(&options, member, report);
        if (err == MERLE_EXISTS && load->options.offence != NULL)
            *load->options.offence =
                (mrl_load_offence){c->collection->id, offence.slot, offence.other_slot};
        f.before += steps;
    }
    if (err == MERLE_OK && load->options.progress != NULL)
        load->options.progress(load->options.progress_context, f.total, f.total);
    return err;
}

/* The store owns the collections from now on. */
static void hand_over(mrl_load *load) {
    mrl_store *store = load->store;
    mrl_lock_take(&store->catalog_lock);
    for (uint32_t i = 0; i < load->count; i++) {
        mrl_load_collection *c = load->collections[i];
        /* Release: whoever finds the root sees its tables. */
        atomic_store_explicit(&c->collection->root, c->root, memory_order_release);
        mrl_collection_link(store, c->collection);
        c->collection = NULL;
        c->root = NULL;
    }
    if (store->collection_next_id < load->next_id) store->collection_next_id = load->next_id;
    mrl_lock_drop(&store->catalog_lock);
}

merle_err mrl_load_finish(mrl_load *load, mrl_member *member, merle_report *report) {
    merle_err err = MERLE_NO_MEMORY;
    mrl_crew *crew = mrl_crew_create(load->store->domain, load->options.thread_count);
    if (crew == NULL) {
        (void)mrl_report_fill(report, err, "no memory for the threads that build tables");
    } else {
        err = fill_all(load, member, crew, report);
        mrl_crew_destroy(crew);
    }
    if (err == MERLE_OK) hand_over(load);
    mrl_load_destroy(load, member);
    if (err != MERLE_EXISTS) return err;
    /* Two that cannot stand together were not written so. */
    if (report != NULL) report->err = MERLE_CORRUPT;
    return MERLE_CORRUPT;
}
