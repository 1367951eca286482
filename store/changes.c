/* store/changes.c - cursors: reading the log in order.
 *
 * What a call hands out points into entries of the log, so a section stays open from a call that
 * gave changes to the next one (or the close). A call that gives nothing leaves no section open: a
 * cursor that nobody calls holds old versions only if its last changes were never taken leave of.
 * A commit that did not fit is gone on with in the same section: its entry may have left the ring
 * meanwhile, and that section is what keeps it.
 *
 * A cursor that fell behind the ring goes on in the log's files, where there are any, until it has
 * come up to the ring again. Files have neither images nor the operations of memory-only
 * collections: a cursor that wants images meets a gap instead, and so does a strict one where some
 * were left out. What a call gives from files lies in the reader's buffer; so it gives no more than
 * is in there, and the next call fills it anew.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "store/changes.h"

/* Entries: an entry is read in less time than memory takes to answer. */
enum { READ_AHEAD = 6 };

struct merle_changes {
    mrl_store *store;
    mrl_member *member;  /* the owner; NULL: its thread is gone */
    merle_changes *next; /* in the store's list */
    int is_filtered;
    uint32_t collection_id;
    int wants_after, wants_before;
    int is_strict; /* see mrl_changes_be_strict */
    uint64_t position;
    uint32_t passed; /* so many operations of the next commit were given before */
    uint64_t limit;
    uint64_t gap_first, gap_last;
    uint64_t mend_until; /* up to here files will do, though they have no images */
    int is_open;         /* the section */
    mrl_section section;
    void *older;        /* reads files; NULL: the ring has what comes next */
    uint64_t older_seq; /* it stands behind this one */
    int older_is_over;  /* it ends with what lies in its buffer: closed by the next call */
    /* The commit that is being given. */
    int is_giving;
    const mrl_entry *entry; /* in the ring; NULL: it comes from a file */
    uint64_t seq;
    int64_t time_ns;
    uint32_t count;
    mrl_record_reader reader;
};

/* ---- opening and closing ---- */

static void list_add(merle_changes *changes) {
    mrl_store *store = changes->store;
    mrl_lock_take(&store->cursors_lock);
    changes->next = store->cursors;
    store->cursors = changes;
    mrl_lock_drop(&store->cursors_lock);
    atomic_fetch_add_explicit(&store->cursors_open, 1, memory_order_relaxed);
}

static void list_remove(merle_changes *changes) {
    mrl_store *store = changes->store;
    mrl_lock_take(&store->cursors_lock);
    merle_changes **at = &store->cursors;
    while (*at != changes) at = &(*at)->next;
    *at = changes->next;
    mrl_lock_drop(&store->cursors_lock);
    atomic_fetch_sub_explicit(&store->cursors_open, 1, memory_order_release);
}

static merle_err complete(const mrl_store *store, const merle_changes_options *given,
                          merle_changes_options *out) {
    memset(out, 0, sizeof *out);
    size_t size = given == NULL ? 0 : given->size == 0 ? sizeof *given : given->size;
    /* A program built against an older header has a shorter struct: the rest stays zero. */
    if (size > sizeof *out) return MERLE_INVALID;
    if (size > 0) memcpy(out, given, size);
    if (out->collection != NULL && out->collection->store != store) return MERLE_INVALID;
    return MERLE_OK;
}

static int is_memory_only(mrl_member *member, const merle_collection *collection) {
    mrl_epoch_token token;
    mrl_member_enter(member, &token);
    const mrl_root *root = mrl_collection_current(collection);
    int answer = root != NULL && mrl_root_schema_now(root)->memory_only != 0;
    mrl_member_leave(member, &token);
    return answer;
}

merle_err merle_changes_open(merle_db *db, const merle_changes_options *options,
                             merle_changes **out_changes) {
    merle_changes_options asked;
    *out_changes = NULL;
    if (db == NULL) return MERLE_INVALID;
    mrl_store *store = mrl_db_store(db);
    if (mrl_domain_is_forked(store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    merle_err err = complete(store, options, &asked);
    if (err != MERLE_OK) return err;
    uint64_t published = mrl_log_published_at(store->published);
    if (asked.after_seq > published && asked.after_seq != UINT64_MAX)
        return mrl_store_fail(member, MERLE_INVALID, NULL, merle_bytes_of(NULL, 0),
                              "after_seq %llu is beyond the last commit, %llu",
                              (unsigned long long)asked.after_seq, (unsigned long long)published);
    merle_changes *changes = mrl_alloc(member, MRL_FOR_OTHER, sizeof *changes);
    if (changes == NULL) return MERLE_NO_MEMORY;
    memset(changes, 0, sizeof *changes);
    changes->store = store;
    changes->member = member;
    changes->is_filtered = asked.collection != NULL;
    if (changes->is_filtered) {
        changes->collection_id = asked.collection->id;
        changes->is_strict = is_memory_only(member, asked.collection);
    }
    changes->limit = UINT64_MAX;
    changes->wants_after = asked.want_after != 0;
    changes->wants_before = asked.want_before != 0;
    /* Before the position is noted: the commits behind it, but for those under way, have the
     * images. */
    mrl_log_want_images(store->log, changes->wants_after, changes->wants_before);
    changes->position =
        asked.after_seq == UINT64_MAX ? mrl_log_published_at(store->published) : asked.after_seq;
    list_add(changes);
    *out_changes = changes;
    return MERLE_OK;
}

static void section_close(merle_changes *changes) {
    if (changes->is_open) mrl_section_close(&changes->section);
    changes->is_open = 0;
    changes->is_giving = 0;
    changes->entry = NULL;
}

static void older_close(merle_changes *changes) {
    if (changes->older != NULL) mrl_log_older(changes->store->log)->close(changes->older);
    changes->older = NULL;
    changes->older_is_over = 0;
}

void merle_changes_close(merle_changes *changes) {
    if (changes == NULL || mrl_domain_is_forked(changes->store->domain)) return;
    mrl_store *store = changes->store;
    mrl_member *member = mrl_member_join(store->domain);
    /* In a thread that is not the owner's it does nothing; merle_close then says that it is
     * open. */
    if (member == NULL || (changes->member != NULL && changes->member != member)) return;
    section_close(changes);
    older_close(changes);
    mrl_log_want_images(store->log, -changes->wants_after, -changes->wants_before);
    list_remove(changes);
    mrl_free(member, MRL_FOR_OTHER, changes, sizeof *changes);
}

void mrl_changes_leaving(mrl_store *store, mrl_member *member) {
    mrl_lock_take(&store->cursors_lock);
    for (merle_changes *changes = store->cursors; changes != NULL; changes = changes->next) {
        if (changes->member != member) continue;
        if (changes->is_open) mrl_count(member, MRL_N_ABANDONED, 1);
        section_close(changes);
        changes->member = NULL;
    }
    mrl_lock_drop(&store->cursors_lock);
}

/* ---- giving ---- */

static int is_wanted(const merle_changes *changes, const mrl_record_operation_view *operation) {
    return !changes->is_filtered || operation->collection_id == changes->collection_id;
}

static merle_doc doc_of(merle_bytes bytes, uint64_t seq) {
    merle_doc doc = {bytes.data, bytes.size, bytes.data == NULL ? 0 : seq, NULL};
    return doc;
}

static void fill(const merle_changes *changes, uint32_t position,
                 const mrl_record_operation_view *operation, merle_change *out) {
    const mrl_entry *entry = changes->entry;
    const mrl_images *image =
        entry == NULL || entry->images == NULL ? NULL : &entry->images[position];
    memset(out, 0, sizeof *out);
    out->seq = changes->seq;
    out->time_ns = changes->time_ns;
    /* The numbers are the same on both sides: see the assertions below. */
    out->kind = (merle_change_kind)operation->kind;
    out->origin = (merle_origin)changes->reader.origin;
    out->origin_bytes = changes->reader.app;
    out->collection_id = operation->collection_id;
    out->slot = operation->slot;
    out->position = position;
    out->count = changes->count;
    out->key = operation->key;
    out->expires_ns = operation->expires_ns;
    out->is_new = operation->is_new || (operation->kind == MRL_RECORD_PUT &&
                                        changes->reader.origin == MERLE_ORIGIN_LOAD);
    out->was_due = operation->was_due;
    out->bytes = operation->bytes;
    if (operation->kind == MRL_RECORD_PUT)
        out->after = doc_of(operation->payload, changes->seq);
    else
        out->effect = operation->payload;
    if (image == NULL) return;
    if (changes->wants_after && operation->kind == MRL_RECORD_PATCH)
        out->after = doc_of(image->after, changes->seq);
    if (changes->wants_before) out->before = doc_of(image->before, image->before_seq);
}

_Static_assert((int)MERLE_CHANGE_PUT == (int)MRL_RECORD_PUT, "kinds are handed through");
_Static_assert((int)MERLE_CHANGE_PATCH == (int)MRL_RECORD_PATCH, "kinds are handed through");
_Static_assert((int)MERLE_CHANGE_REMOVE == (int)MRL_RECORD_REMOVE, "kinds are handed through");
_Static_assert((int)MERLE_CHANGE_DEFINE == (int)MRL_RECORD_DEFINE, "kinds are handed through");
_Static_assert((int)MERLE_CHANGE_TRUNCATE == (int)MRL_RECORD_TRUNCATE, "kinds are handed through");
_Static_assert((int)MERLE_CHANGE_DROP == (int)MRL_RECORD_DROP, "kinds are handed through");
_Static_assert((int)MERLE_CHANGE_SEQUENCE == (int)MRL_RECORD_SEQUENCE, "kinds are handed through");
_Static_assert((int)MERLE_CHANGE_LOADED == (int)MRL_RECORD_LOADED, "kinds are handed through");

/* How many operations of what is left of the commit this cursor gives. */
static merle_err count_wanted(const merle_changes *changes, size_t *out_count) {
    mrl_record_reader reader = changes->reader;
    mrl_record_operation_view operation;
    merle_err err;
    *out_count = 0;
    while ((err = mrl_record_read_next(&reader, &operation)) == MERLE_OK)
        *out_count += (size_t)is_wanted(changes, &operation);
    return err == MERLE_NOT_FOUND ? MERLE_OK : err;
}

static void end_commit(merle_changes *changes) {
    changes->position = changes->seq;
    changes->passed = 0;
    changes->is_giving = 0;
    changes->entry = NULL;
}

/* Gives what is left of the commit, as far as there is room; when it is whole, moves behind it. */
static merle_err give_commit(merle_changes *changes, merle_change *out_changes, size_t change_max,
                             size_t *count) {
    mrl_record_operation_view operation;
    while (*count < change_max) {
        uint32_t position = changes->reader.operation_next;
        merle_err err = mrl_record_read_next(&changes->reader, &operation);
        if (err == MERLE_NOT_FOUND) {
            end_commit(changes);
            return MERLE_OK;
        }
        if (err != MERLE_OK) return err;
        if (is_wanted(changes, &operation))
            fill(changes, position, &operation, &out_changes[(*count)++]);
    }
    /* Full. If nothing that this cursor wants is left of the commit, it was given whole. */
    size_t left = 0;
    merle_err err = count_wanted(changes, &left);
    if (err == MERLE_OK && left == 0) end_commit(changes);
    return err;
}

static merle_err begin_giving(merle_changes *changes, const mrl_entry *entry, uint64_t seq,
                              int64_t time_ns, merle_bytes body) {
    mrl_record_operation_view operation;
    merle_err err = mrl_record_read_begin(body, &changes->reader);
    for (uint32_t i = 0; err == MERLE_OK && i < changes->passed; i++)
        err = mrl_record_read_next(&changes->reader, &operation);
    if (err != MERLE_OK && err != MERLE_NOT_FOUND) return err;
    changes->is_giving = 1;
    changes->entry = entry;
    changes->seq = seq;
    changes->time_ns = time_ns;
    changes->count = changes->reader.operation_count;
    return MERLE_OK;
}

/* Files have no images. */
static int takes_older(const merle_changes *changes) {
    if (mrl_log_older(changes->store->log) == NULL) return 0;
    return (!changes->wants_after && !changes->wants_before) ||
           changes->position < changes->mend_until;
}

/* Whether what was left out of a record makes it useless to this cursor: it may have wanted that,
 * or it has got a part of the commit by numbers that the operations do not have any more. */
static int is_wanting(const merle_changes *changes, const mrl_frame *frame) {
    return (frame->flags & MRL_FRAME_PARTIAL) != 0 && (changes->is_strict || changes->passed != 0);
}

/* What the ring does not have any more may be in files. `given`: this call has given something,
 * which must stay where it lies. MERLE_AGAIN: the ring, or the next call, has what follows. */
static merle_err begin_older(merle_changes *changes, size_t given, int *out_is_wanting) {
    const mrl_older *older = mrl_log_older(changes->store->log);
    mrl_frame frame;
    merle_bytes body;
    merle_err err = takes_older(changes) ? MERLE_OK : MERLE_GAP;
    /* The ring had what followed, in a call that had begun in files, and has lost it again: what is
     * being read stands too far back. */
    int is_stale = changes->older != NULL && changes->older_seq != changes->position;
    if (err == MERLE_OK && (changes->older == NULL || is_stale)) {
        if (given > 0) return MERLE_AGAIN;
        older_close(changes);
        err = older->open(older->context, changes->position, &changes->older);
        changes->older_seq = changes->position;
    }
    if (err == MERLE_OK) err = older->next(changes->older, &frame, &body);
    if (err == MERLE_AGAIN && given == 0) {
        err = older->fill(changes->older);
        if (err == MERLE_OK) err = older->next(changes->older, &frame, &body);
    }
    if (err == MERLE_OK && is_wanting(changes, &frame)) {
        *out_is_wanting = 1;
        err = MERLE_GAP;
    }
    if (err == MERLE_OK) err = begin_giving(changes, NULL, frame.seq, frame.time_ns, body);
    if (err == MERLE_OK) changes->older_seq = frame.seq;
    if (err != MERLE_OK && err != MERLE_AGAIN) changes->older_is_over = 1;
    return err;
}

/* It reaches to where files, or else the ring, have something that this cursor can be given. */
static void note_gap(merle_changes *changes, uint64_t ring_first, int is_wanting) {
    const mrl_older *older = mrl_log_older(changes->store->log);
    uint64_t first = ring_first;
    if (takes_older(changes) && !is_wanting) {
        uint64_t file_first = older->first(older->context);
        if (file_first > changes->position + 1 && file_first < first) first = file_first;
    }
    changes->gap_first = changes->position + 1;
    changes->gap_last = first - 1;
}

/* Begins with the next commit. MERLE_NOT_FOUND: there is none. */
static merle_err begin_commit(merle_changes *changes, size_t given) {
    const mrl_entry *entry;
    uint64_t first;
    int is_wanting = 0;
    if (changes->position >= changes->limit) return MERLE_NOT_FOUND;
    merle_err err = mrl_log_read(changes->store->log, changes->position + 1, &entry, &first);
    if (err == MERLE_OK) {
        /* What the call has given from a file stays until the next one. */
        if (given == 0) older_close(changes);
        mrl_log_approach(changes->store->log, entry->seq + READ_AHEAD);
        return begin_giving(changes, entry, entry->seq, entry->time_ns,
                            merle_bytes_of(entry->body, entry->body_size));
    }
    if (err != MERLE_GAP) return err;
    err = begin_older(changes, given, &is_wanting);
    if (err == MERLE_GAP) note_gap(changes, first, is_wanting);
    return err;
}

/* Whatever this cursor wants of the commit, there is room: then nobody need look at it twice. */
static int fits_surely(const merle_changes *changes, size_t room) {
    return changes->reader.operation_count - changes->reader.operation_next <= room;
}

/* Commits as long as they fit whole; the first one in any case. */
static merle_err give(merle_changes *changes, merle_change *out_changes, size_t change_max,
                      size_t *count) {
    merle_err err = MERLE_OK;
    while (*count < change_max) {
        if (!changes->is_giving) {
            if ((err = begin_commit(changes, *count)) != MERLE_OK) break;
            size_t wanted = 0;
            if (*count > 0 && !fits_surely(changes, change_max - *count))
                err = count_wanted(changes, &wanted);
            if (err != MERLE_OK) break;
            /* Left for the next call: it is begun already. */
            if (*count > 0 && wanted > change_max - *count) break;
        }
        if ((err = give_commit(changes, out_changes, change_max, count)) != MERLE_OK) break;
        if (changes->is_giving) break; /* it is larger than change_max */
    }
    return err == MERLE_NOT_FOUND || err == MERLE_AGAIN ? MERLE_OK : err;
}

merle_err merle_changes_next(merle_changes *changes, merle_change *out_changes, size_t change_max,
                             size_t *out_count) {
    *out_count = 0;
    if (changes == NULL || out_changes == NULL || change_max == 0) return MERLE_INVALID;
    if (mrl_domain_is_forked(changes->store->domain)) return MERLE_FORKED;
    mrl_member *member = mrl_member_join(changes->store->domain);
    if (member == NULL) return MERLE_NO_MEMORY;
    if (member != changes->member) return MERLE_WRONG_THREAD;
    if (!changes->is_giving) section_close(changes);
    if (changes->older_is_over) older_close(changes);
    if (!changes->is_open) {
        mrl_section_open(changes->store, member, &changes->section);
        changes->is_open = 1;
    }
    merle_err err = give(changes, out_changes, change_max, out_count);
    /* What was given comes first; what stopped it is met, and told, by the next call. */
    if (*out_count > 0) return MERLE_OK;
    section_close(changes);
    if (changes->older_is_over) older_close(changes);
    if (err == MERLE_GAP) {
        changes->position = changes->gap_last;
        changes->passed = 0;
    }
    return err;
}

void merle_changes_gap(const merle_changes *changes, uint64_t *out_first_seq,
                       uint64_t *out_last_seq) {
    *out_first_seq = changes->gap_first;
    *out_last_seq = changes->gap_last;
}

uint64_t merle_changes_position(const merle_changes *changes) {
    return changes->position;
}

/* ---- for those inside ---- */

void mrl_changes_limit(merle_changes *changes, uint64_t seq) {
    changes->limit = seq;
}

void mrl_changes_be_strict(merle_changes *changes) {
    changes->is_strict = 1;
}

void mrl_changes_begin_at(merle_changes *changes, uint64_t after_seq, uint32_t passed) {
    section_close(changes);
    older_close(changes);
    changes->position = after_seq;
    changes->passed = passed;
    changes->gap_first = changes->gap_last = 0;
}

const mrl_member *mrl_changes_owner(const merle_changes *changes) {
    return changes->member;
}

uint32_t mrl_changes_passed(const merle_changes *changes) {
    return changes->is_giving ? changes->reader.operation_next : changes->passed;
}

void mrl_changes_rest(merle_changes *changes) {
    if (!changes->is_open) return;
    /* A record of a file lies in the reader's buffer, and stays there. */
    if (!changes->is_giving || changes->entry != NULL) {
        changes->passed = mrl_changes_passed(changes);
        section_close(changes);
        return;
    }
    mrl_section_close(&changes->section);
    changes->is_open = 0;
}

void mrl_changes_skip(merle_changes *changes, uint64_t last_seq) {
    section_close(changes);
    older_close(changes);
    changes->gap_first = changes->position + 1;
    changes->gap_last = last_seq;
    changes->position = last_seq;
    changes->passed = 0;
}

merle_err mrl_changes_mend(merle_changes *changes) {
    if (changes->gap_first == 0 || mrl_log_older(changes->store->log) == NULL)
        return MERLE_NOT_FOUND;
    section_close(changes);
    older_close(changes);
    changes->position = changes->gap_first - 1;
    changes->passed = 0;
    changes->mend_until = changes->gap_last;
    return MERLE_OK;
}
