/* persist/checkpoint.c - which pages are dirty, what they have, and the order of it all.
 *
 * Why it is right to read each page at another instant. Recovery applies a record to a slot only if
 * its seq is above the S of the slot's page. So a page may have been read at any S: what was
 * committed up to S is in it, what came later is in the log, which is kept from R on, and every S
 * is at least R. A manifest is put in force only when the log is durable up to the highest S, so
 * that no page shows what a crash could take out of the log.
 *
 * What a section sees of a run of slots that has not changed since a page's S is what the page has:
 * so a clean page is as good as one that is read now, and its S becomes that of the section. All
 * pages of a manifest thus have an S of at least its R, however old their bytes are.
 *
 * Where truncate or drop replaces a collection's documents while its pages are being written, those
 * pages are given up: its base becomes the seq of the replacement (of a bulk load: of the truncate
 * that it began with), and recovery takes all that came later from the log.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "persist/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/report.h"
#include "base/self.h"
#include "store/read.h"

enum {
    PAGES_A_PIECE = 256, /* clean pages that are looked at in one section */
    /* Small files are gathered when there are many more than their contents ask for. */
    FILES_MIN = 64,
    FILE_SHARE = 16 << 20,
    SMALL_FILE = 1 << 20
};

static merle_err no_memory(merle_report *report) {
    return mrl_report_fill(report, MERLE_NO_MEMORY, "no memory for a checkpoint");
}

/* ---- beginning ---- */

int mrl_checkpoint_has_work(const mrl_checkpoint *c) {
    return mrl_log_published_at(c->store->published) > c->current_seq ||
           mrl_log_set_id_for(c->log_set, c->current_seq) > c->current.log_id;
}

/* Takes one collection into the new manifest, as the section sees it. */
static merle_err note_collection(mrl_checkpoint *c, const mrl_section *section,
                                 merle_collection *collection) {
    mrl_root *root = mrl_collection_root(collection, section->seq);
    if (root == NULL || root->is_dropped) return MERLE_OK;
    const mrl_schema *schema = mrl_root_schema(root, section->seq);
    mrl_manifest_collection *noted = mrl_manifest_add_collection(&c->next);
    if (noted == NULL) return MERLE_NO_MEMORY;
    noted->id = collection->id;
    noted->collection = collection;
    noted->base_seq = atomic_load_explicit(&root->seq, memory_order_acquire);
    /* What a bulk load has put is in no section's view before it has ended: the log is read again
     * from where it began. */
    if (root->is_loading && noted->base_seq <= c->next.replay_seq)
        c->next.replay_seq = noted->base_seq - 1;
    noted->slots_end = schema->memory_only ? 0 : mrl_slots_end(&root->slots);
    return mrl_buffer_append(&noted->definition, schema->definition.data, schema->definition.size);
}

static merle_err note_collections(mrl_checkpoint *c, mrl_member *member) {
    mrl_section section;
    merle_err err = MERLE_OK;
    mrl_section_open(c->store, member, &section);
    c->next.replay_seq = c->next_seq = c->seq_max = section.seq;
    merle_collection *collection =
        atomic_load_explicit(&c->store->collections, memory_order_acquire);
    for (; collection != NULL && err == MERLE_OK;
         collection = atomic_load_explicit(&collection->next, memory_order_acquire))
        err = note_collection(c, &section, collection);
    const mrl_entry *entry;
    uint64_t first;
    if (section.seq > 0 && mrl_log_read(c->store->log, section.seq, &entry, &first) == MERLE_OK &&
        entry->time_ns > c->next.time_ns)
        c->next.time_ns = entry->time_ns;
    mrl_section_close(&section);
    return err;
}

/* Numbers that were given up to R, or later: each under the lock that it is given under, for it may
 * be noted only after its record was published. */
static void note_numbers(mrl_checkpoint *c) {
    mrl_lock_take(&c->store->catalog_lock);
    c->next.collection_next_id = c->store->collection_next_id;
    mrl_lock_drop(&c->store->catalog_lock);
    for (size_t i = 0; i < c->next.collection_count; i++) {
        merle_collection *collection = c->next.collections[i].collection;
        mrl_lock_take(&collection->ids_lock);
        c->next.collections[i].ids_end = collection->id_aside;
        mrl_lock_drop(&collection->ids_lock);
    }
}

/* Files that have so little left that it is better written anew, and small ones where there are
 * many more files than their contents ask for. */
static void find_thin_files(mrl_checkpoint *c) {
    uint64_t live = 0;
    for (size_t i = 0; i < c->current.file_count; i++) live += c->current.files[i].live;
    int are_many = c->current.file_count > FILES_MIN + live / FILE_SHARE;
    for (size_t i = 0; i < c->current.file_count; i++) {
        mrl_manifest_file *file = &c->current.files[i];
        file->is_thin = file->live < file->size / 2 || (are_many && file->live < SMALL_FILE);
    }
}

static void begin_collection(mrl_checkpoint *c, size_t number) {
    c->collection_number = number;
    c->slot = 0;
    c->old_page = 0;
}

merle_err mrl_checkpoint_begin(mrl_checkpoint *c, mrl_member *member, merle_report *report) {
    int64_t wall_ns = c->clock->wall_ns(c->clock->context);
    uint64_t slots = 0;
    memset(&c->next, 0, sizeof c->next);
    memcpy(c->next.database_id, c->current.database_id, sizeof c->next.database_id);
    c->next.number = c->manifest_next++;
    c->next.term = mrl_log_set_term(c->log_set);
    c->next.time_ns = wall_ns > c->current.time_ns ? wall_ns : c->current.time_ns;
    c->begun_ns = c->clock->monotonic_ns(c->clock->context);
    c->pages_written = c->bytes_written = 0;
    c->is_named = 0;
    c->out.size = 0;
    merle_err err = note_collections(c, member);
    for (size_t i = 0; i < c->current.file_count && err == MERLE_OK; i++)
        err = mrl_manifest_add_file(&c->next, c->current.files[i].id, c->current.files[i].size);
    if (err != MERLE_OK) {
        mrl_manifest_fini(&c->next);
        return no_memory(report);
    }
    c->first_new_file = c->file_next;
    find_thin_files(c);
    note_numbers(c);
    for (size_t i = 0; i < c->next.collection_count; i++) slots += c->next.collections[i].slots_end;
    atomic_store_explicit(&c->stats.slots_done, 0, memory_order_relaxed);
    atomic_store_explicit(&c->stats.slots_total, slots, memory_order_relaxed);
    begin_collection(c, 0);
    c->state = MRL_CHECKPOINT_PAGES;
    atomic_store_explicit(&c->stats.is_under_way, 1, memory_order_relaxed);
    return MERLE_OK;
}

/* ---- dirty or clean ---- */

static int is_in_thin_file(const mrl_checkpoint *c, const mrl_manifest_page *page) {
    return page->length != 0 && mrl_manifest_find_file(&c->current, page->file_id)->is_thin;
}

/* Of a page that is smaller than a run, whether the change was elsewhere: every document of it is
 * older than its S, and none is missing. */
static int has_same_documents(const mrl_section *section, const mrl_root *root,
                              const mrl_manifest_page *page) {
    const mrl_version *versions[MRL_READ_BATCH];
    uint32_t slots[MRL_READ_BATCH], found = 0;
    for (uint32_t i = 0; i < page->slot_count; i++) slots[i] = page->first_slot + i;
    mrl_read_slots(section, root, slots, page->slot_count, versions);
    for (uint32_t i = 0; i < page->slot_count; i++) {
        if (versions[i] == NULL) continue;
        if (mrl_version_seq(versions[i]) > page->seq) return 0;
        found++;
    }
    return found == page->document_count;
}

static int is_clean(const mrl_checkpoint *c, const mrl_section *section, const mrl_root *root,
                    const mrl_manifest_page *page) {
    uint64_t changed = 0;
    if (is_in_thin_file(c, page)) return 0;
    for (uint32_t i = 0; i < page->slot_count; i += MRL_RUN_SLOTS) {
        uint64_t at = mrl_slots_changed(&root->slots, page->first_slot + i);
        if (at > changed) changed = at;
    }
    if (changed <= page->seq) return 1;
    return page->slot_count < MRL_RUN_SLOTS && has_same_documents(section, root, page);
}

/* The page of the manifest in force that begins at the slot; NULL: none does. Pages are made of
 * aligned powers of two, so they lie within each other or apart. */
static const mrl_manifest_page *old_page_at(mrl_checkpoint *c, uint32_t slot) {
    const mrl_manifest_collection *now = &c->next.collections[c->collection_number];
    const mrl_manifest_collection *old = mrl_manifest_find(&c->current, now->id);
    if (old == NULL || old->base_seq != now->base_seq) return NULL;
    while (c->old_page < old->page_count && old->pages[c->old_page].first_slot < slot)
        c->old_page++;
    if (c->old_page == old->page_count || old->pages[c->old_page].first_slot != slot) return NULL;
    return &old->pages[c->old_page];
}

/* ---- one page ---- */

static merle_err add_version(mrl_page_writer *writer, const mrl_version *v, int *out_is_whole) {
    if (v == NULL) return mrl_page_add(writer, NULL, out_is_whole);
    mrl_page_document document = {
        .seq = mrl_version_seq(v),
        .expires_ns = mrl_version_expires(v),
        .slot = v->slot,
        .key = mrl_version_key(v),
        .doc = merle_bytes_of(mrl_version_doc(v), v->doc_size),
    };
    return mrl_page_add(writer, &document, out_is_whole);
}

/* Copies what the section sees from the slot on, up to the page's end. */
static merle_err collect(mrl_checkpoint *c, const mrl_section *section, const mrl_root *root,
                         uint32_t slot) {
    const mrl_version *versions[MRL_READ_BATCH];
    uint32_t slots[MRL_READ_BATCH];
    /* Loaded after the section has noted S: what lies behind has nothing that S sees. The last page
     * reaches beyond it, and so must not end at the collection's end of an earlier instant. */
    uint32_t end = mrl_slots_end(&root->slots);
    int is_whole = 0;
    mrl_page_begin(&c->writer, slot);
    while (slot < end && !is_whole) {
        uint32_t count = end - slot < MRL_READ_BATCH ? end - slot : MRL_READ_BATCH;
        for (uint32_t i = 0; i < count; i++) slots[i] = slot + i;
        mrl_read_slots(section, root, slots, count, versions);
        for (uint32_t i = 0; i < count && !is_whole; i++) {
            merle_err err = add_version(&c->writer, versions[i], &is_whole);
            if (err != MERLE_OK) return err;
        }
        slot += count;
    }
    return MERLE_OK;
}

/* Writes what was collected at `seq`, outside of any section. */
static merle_err write_page(mrl_checkpoint *c, uint64_t seq, merle_report *report) {
    mrl_manifest_collection *collection = &c->next.collections[c->collection_number];
    merle_bytes parts[2];
    mrl_manifest_page place = {.seq = seq};
    mrl_page page = {.seq = seq, .collection_id = collection->id, .compression = c->compression};
    memcpy(page.database_id, c->current.database_id, sizeof page.database_id);
    if (mrl_page_end(&c->writer, &page, parts, &place.crc) != MERLE_OK) return no_memory(report);
    place.first_slot = page.first_slot;
    place.slot_count = page.slot_count;
    place.document_count = page.document_count;
    if (page.document_count == 0) {
        place.crc = 0;
    } else {
        merle_err err = mrl_checkpoint_append(c, parts, &place, report);
        if (err != MERLE_OK) return err;
        c->pages_written++;
    }
    c->slot = page.first_slot + page.slot_count;
    return mrl_manifest_add_page(collection, &place) == MERLE_OK ? MERLE_OK : no_memory(report);
}

/* The collection's documents were replaced as a whole: what was read of it counts no more. */
static void give_up_pages(mrl_checkpoint *c, const mrl_root *root) {
    mrl_manifest_collection *collection = &c->next.collections[c->collection_number];
    collection->page_count = 0;
    collection->base_seq = atomic_load_explicit(&root->seq, memory_order_acquire);
    /* What a bulk load has put is older than the root: it comes from the log, too. */
    if (root->loaded_from != 0) collection->base_seq = root->loaded_from;
    if (collection->base_seq > c->seq_max) c->seq_max = collection->base_seq;
    c->slot = collection->slots_end;
}

/* In one section: passes over clean pages, and copies the first dirty one. *out_is_dirty: there is
 * one. */
static merle_err look(mrl_checkpoint *c, const mrl_section *section, int *out_is_dirty,
                      merle_report *report) {
    mrl_manifest_collection *collection = &c->next.collections[c->collection_number];
    const mrl_root *root = mrl_collection_root(collection->collection, section->seq);
    *out_is_dirty = 0;
    if (atomic_load_explicit(&root->seq, memory_order_acquire) != collection->base_seq) {
        give_up_pages(c, root);
        return MERLE_OK;
    }
    if (section->seq > c->seq_max) c->seq_max = section->seq;
    for (int i = 0; i < PAGES_A_PIECE && c->slot < collection->slots_end; i++) {
        const mrl_manifest_page *old = old_page_at(c, c->slot);
        if (old == NULL || !is_clean(c, section, root, old)) {
            *out_is_dirty = 1;
            return collect(c, section, root, c->slot) == MERLE_OK ? MERLE_OK : no_memory(report);
        }
        mrl_manifest_page page = *old;
        page.seq = section->seq;
        if (mrl_manifest_add_page(collection, &page) != MERLE_OK) return no_memory(report);
        c->slot += page.slot_count;
    }
    return MERLE_OK;
}

static merle_err step_pages(mrl_checkpoint *c, mrl_member *member, merle_report *report) {
    mrl_section section;
    int is_dirty = 0;
    while (c->collection_number < c->next.collection_count &&
           c->slot >= c->next.collections[c->collection_number].slots_end)
        begin_collection(c, c->collection_number + 1);
    if (c->collection_number == c->next.collection_count) {
        c->state = MRL_CHECKPOINT_SYNC;
        return MERLE_OK;
    }
    uint32_t slot = c->slot;
    mrl_section_open(c->store, member, &section);
    uint64_t seq = section.seq;
    merle_err err = look(c, &section, &is_dirty, report);
    mrl_section_close(&section);
    mrl_point("checkpoint.copied");
    if (err == MERLE_OK && is_dirty) err = write_page(c, seq, report);
    atomic_fetch_add_explicit(&c->stats.slots_done, c->slot - slot, memory_order_relaxed);
    return err;
}

/* ---- the end ---- */

static merle_err step_sync(mrl_checkpoint *c, merle_report *report) {
    merle_err err = mrl_checkpoint_close_file(c, report);
    if (err != MERLE_OK) return err;
    if (c->file_next > c->first_new_file) {
        int failed = c->directory->files->dir_sync(c->directory->dir);
        if (failed != 0)
            return mrl_directory_system(c->directory, report, NULL, "syncing the directory",
                                        failed);
    }
    c->state = MRL_CHECKPOINT_LOG;
    return MERLE_OK;
}

static merle_err step_log(mrl_checkpoint *c, mrl_member *member, merle_report *report) {
    merle_err err = mrl_log_set_sync(c->log_set, member, c->seq_max);
    if (err != MERLE_OK)
        return mrl_report_fill(report, err, "the checkpoint was given up: the log has failed");
    c->state = MRL_CHECKPOINT_MANIFEST;
    return MERLE_OK;
}

/* Files that no page of the new manifest lies in are not named by it. */
static void forget_empty_files(mrl_manifest *manifest) {
    size_t kept = 0;
    mrl_manifest_sum(manifest);
    for (size_t i = 0; i < manifest->file_count; i++)
        if (manifest->files[i].live > 0) manifest->files[kept++] = manifest->files[i];
    manifest->file_count = kept;
}

void mrl_checkpoint_note(mrl_checkpoint *c) {
    uint64_t bytes = 0, pages = 0;
    mrl_checkpoint_stats *stats = &c->stats;
    for (size_t i = 0; i < c->current.file_count; i++) bytes += c->current.files[i].live;
    for (size_t i = 0; i < c->current.collection_count; i++)
        pages += c->current.collections[i].page_count;
    atomic_store_explicit(&stats->page_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&stats->page_count, pages, memory_order_relaxed);
    atomic_store_explicit(&stats->page_files, c->current.file_count, memory_order_relaxed);
    atomic_store_explicit(&stats->last_seq, c->current.replay_seq, memory_order_relaxed);
}

static void count_done(mrl_checkpoint *c) {
    uint64_t now_ns = c->clock->monotonic_ns(c->clock->context);
    mrl_checkpoint_stats *stats = &c->stats;
    mrl_checkpoint_note(c);
    atomic_store_explicit(&stats->last_pages, c->pages_written, memory_order_relaxed);
    atomic_store_explicit(&stats->last_bytes, c->bytes_written, memory_order_relaxed);
    atomic_store_explicit(&stats->last_ns, now_ns - c->begun_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->pages_written, c->pages_written, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->bytes_written, c->bytes_written, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->done, 1, memory_order_relaxed);
}

static merle_err step_manifest(mrl_checkpoint *c, merle_report *report) {
    forget_empty_files(&c->next);
    c->next.log_id = mrl_log_set_id_for(c->log_set, c->next.replay_seq);
    /* What could fail, before the new manifest is in force. */
    if (mrl_checkpoint_keep(c, &c->current) != MERLE_OK) return no_memory(report);
    merle_err err = mrl_checkpoint_write_manifest(c, report);
    if (err != MERLE_OK) {
        free(c->kept[--c->kept_count].file_ids);
        return err;
    }
    mrl_manifest_fini(&c->current);
    c->current = c->next;
    c->current_seq = c->next_seq;
    memset(&c->next, 0, sizeof c->next);
    count_done(c);
    c->state = MRL_CHECKPOINT_CLEAN;
    return MERLE_OK;
}

static void step_clean(mrl_checkpoint *c) {
    c->unread_count = 0;
    mrl_checkpoint_clean(c);
    if (!c->has_stale)
        mrl_log_set_release(c->log_set, mrl_checkpoint_oldest_seq(c), mrl_checkpoint_oldest_log(c));
    c->state = MRL_CHECKPOINT_IDLE;
}

/* Gives the one under way up. Files that it has made are removed, unless the manifest that names
 * them may have reached the disk: then they stay until a later one is there for certain. */
static void give_up(mrl_checkpoint *c) {
    char name[MRL_FILE_NAME_MAX];
    if (c->file != NULL) c->directory->files->file_close(c->file);
    c->file = NULL;
    for (size_t i = 0; !c->is_named && i < c->next.file_count; i++) {
        if (c->next.files[i].id < c->first_new_file) continue;
        mrl_directory_name(MRL_FILE_PAGES, c->next.files[i].id, name);
        (void)c->directory->files->remove(c->directory->dir, name);
    }
    mrl_manifest_fini(&c->next);
    c->state = MRL_CHECKPOINT_IDLE;
}

merle_err mrl_checkpoint_step(mrl_checkpoint *c, mrl_member *member, merle_report *report) {
    merle_err err = MERLE_OK;
    switch (c->state) {
    case MRL_CHECKPOINT_IDLE:
        break;
    case MRL_CHECKPOINT_PAGES:
        err = step_pages(c, member, report);
        break;
    case MRL_CHECKPOINT_SYNC:
        err = step_sync(c, report);
        break;
    case MRL_CHECKPOINT_LOG:
        err = step_log(c, member, report);
        break;
    case MRL_CHECKPOINT_MANIFEST:
        err = step_manifest(c, report);
        break;
    case MRL_CHECKPOINT_CLEAN:
        step_clean(c);
        break;
    }
    if (err != MERLE_OK) {
        atomic_fetch_add_explicit(&c->stats.failed, 1, memory_order_relaxed);
        give_up(c);
    }
    if (c->state == MRL_CHECKPOINT_IDLE) {
        atomic_store_explicit(&c->stats.is_under_way, 0, memory_order_relaxed);
        atomic_store_explicit(&c->stats.slots_total, 0, memory_order_relaxed);
        atomic_store_explicit(&c->stats.slots_done, 0, memory_order_relaxed);
    }
    return err;
}

void mrl_checkpoint_fini(mrl_checkpoint *c) {
    if (c->state != MRL_CHECKPOINT_IDLE && c->state != MRL_CHECKPOINT_CLEAN) give_up(c);
    for (size_t i = 0; i < c->kept_count; i++) free(c->kept[i].file_ids);
    c->kept_count = 0;
    mrl_manifest_fini(&c->current);
    mrl_page_writer_fini(&c->writer);
    merle_buffer_free(&c->out);
}
