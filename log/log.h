/* log/log.h - the log: who is next, what the last commits were, and who may be how far behind.
 *
 * What    The one order of commits. A commit takes credit (bytes) before it locks anything, makes
 *         its entry outside all locks, and publishes it: gets the next seq, is stamped and put into
 *         the ring, and seen by sections that begin from then on. The ring keeps the latest entries
 *         within its size; the oldest leave, but none that a drain (a disk writer) still has to
 *         read.
 *         The ring holds pointers to the entries themselves, not copies: nothing is copied
 *         under the publish lock, and a reader in a section may read an entry as long as its
 *         section lasts.
 * Owns    the entries in the ring (blocks of the domain): one that leaves is retired by epoch.
 * Sees    mrl_log_published(): everything up to it is complete for those who load it (acquire).
 * Threads credit, publish, read: any. Reading entries: read section.
 * Limits  ring bytes; an entry larger than the ring is taken where no drain is attached, alone in
 *         the ring.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_LOG_LOG_H
#define MRL_LOG_LOG_H

#include <stdatomic.h>
#include <stdint.h>

#include <merle/base.h>

#include "base/lock.h"
#include "base/seam.h"
#include "memory/domain.h"
#include "wire/record.h"

typedef struct mrl_log mrl_log;

/* What the after- and before-versions of one operation are, where a cursor wants whole
 * documents. */
typedef struct mrl_images {
    merle_bytes after; /* data NULL: not kept (then it is in the record, or was not asked for) */
    merle_bytes before;
    uint64_t before_seq;
} mrl_images;

/* One commit in the ring: a block of the domain, made by mrl_entry_create, filled by the commit. */
typedef struct mrl_entry {
    uint64_t seq;    /* by publish */
    int64_t time_ns; /* by publish */
    uint64_t credit; /* bytes it counts for in the ring: mrl_entry_create sets it to
                      * mrl_entry_credit of the capacity; a commit that keeps images adds their
                      * block's size */
    uint32_t body_size;
    uint32_t body_capacity;
    uint32_t body_crc; /* set by the commit before publish */
    uint32_t operation_count;
    uint32_t loose;          /* what it counts for among the commits that may be lost, see
                              * mrl_credit_take_loose; by the commit */
    uint16_t is_memory_only; /* 1: it may have operations of memory-only collections */
    uint16_t is_led;         /* 1: whoever publishes it goes on to write it himself: the drain's
                              * thread need not be woken for it */
    mrl_images *images;      /* NULL or operation_count of them; a block of its own, retired
                         * with the entry */
    uint8_t header[MRL_FRAME_HEADER_SIZE]; /* stamped by publish; the body follows at once */
    uint8_t body[];
} mrl_entry;

/* What a drain does: writes entries to a disk, syncs. Persist fills it; tests have a stand-in. */
typedef struct mrl_drain {
    void *context;
    /* Writes what is ready behind `written` and calls mrl_log_written; syncs what mrl_log_asked
     * says, and calls mrl_log_durable. Called by whoever waits, and by mrl_log_drain; only one
     * caller at a time. Errors end the database's writing. */
    merle_err (*write_group)(void *context, mrl_member *member);
    /* 1: a thread does it alone, woken at each publish; those who wait just wait. 0: they do it
     * themselves where nobody else is at it; a thread may share the work: mrl_log_drain. */
    int has_thread;
    uint64_t credit_max; /* bytes that may be on their way; 0: the ring's size, which is the most */
    uint64_t record_max; /* a commit may count for so much: one beyond credit_max takes all the
                          * credit there is. 0: credit_max */
    uint64_t loose_max;  /* bytes of commits that may be lost; 0: no bound */
    /* Told after durable has moved, holding nothing; one call at a time, each with a larger seq
     * than the one before; moves in quick succession may be told as one. NULL: nobody is. */
    void (*moved)(void *context, uint64_t durable_seq);
} mrl_drain;

merle_err mrl_log_create(mrl_domain *domain, const mrl_clock *clock, uint64_t ring_size,
                         mrl_log **out_log);
/* All members have left. */
void mrl_log_destroy(mrl_log *log, mrl_member *member);
/* Setup, and no commit has credit: from now on entries leave only when mrl_log_written says so;
 * what was published before counts as written. Holds drain until the next call. NULL: no drain any
 * more. Forgets a failure of the drain before. */
void mrl_log_drain_attach(mrl_log *log, const mrl_drain *drain);
/* Setup, in a log without commits: as if the last one had been seq, at time_ns. */
void mrl_log_start(mrl_log *log, uint64_t seq, int64_t time_ns);

/* ---- credit ---- holding no lock and nothing else of the log's */

/* An entry counts for at least so much: so the ring's bytes are used up before its positions
 * are. */
enum { MRL_ENTRY_CREDIT_MIN = 128 };

/* What an entry for a body of at most body_capacity bytes counts for: what a commit without
 * images takes. */
static inline uint64_t mrl_entry_credit(size_t body_capacity) {
    uint64_t bytes = sizeof(mrl_entry) + (uint64_t)body_capacity;
    return bytes < MRL_ENTRY_CREDIT_MIN ? MRL_ENTRY_CREDIT_MIN : bytes;
}

/* All or nothing: bytes, and `loose` bytes among those of commits that nobody waits for: they count
 * from here until they are durable, and are never more than the drain's loose_max (a commit above
 * it takes all of it). Those who wait are served in the order in which they came, and nobody who
 * comes later overtakes them: a large commit is not starved by small ones. Without a drain it
 * always succeeds.
 * Errors: MERLE_BUSY (not enough now, or others wait already, and wait is 0),
 * MERLE_TOO_BIG (more than the drain can take at all), MERLE_NO_SPACE (there is no place to write
 * it to, whether it would wait or not), MERLE_READ_ONLY (the drain has failed
 * before); where the drain fails while this waits: its error. */
MERLE_MUST_USE merle_err mrl_credit_take_loose(mrl_log *log, mrl_member *member, uint64_t bytes,
                                               uint64_t loose, int wait);
MERLE_MUST_USE static inline merle_err mrl_credit_take(mrl_log *log, mrl_member *member,
                                                       uint64_t bytes, int wait) {
    return mrl_credit_take_loose(log, member, bytes, 0, wait);
}
/* Credit of a commit that did not publish: the same numbers of bytes that it took. */
void mrl_credit_give_loose(mrl_log *log, uint64_t bytes, uint64_t loose);
static inline void mrl_credit_give(mrl_log *log, uint64_t bytes) {
    mrl_credit_give_loose(log, bytes, 0);
}

/* ---- entries ---- */
/* An entry for a body of at most body_capacity bytes. NULL: no memory. */
mrl_entry *mrl_entry_create(mrl_member *member, size_t body_capacity);
/* For removals: may go into the reserve beyond the memory limit. */
mrl_entry *mrl_entry_create_urgent(mrl_member *member, size_t body_capacity);
/* One that was not published. */
void mrl_entry_destroy(mrl_member *member, mrl_entry *entry);

/* ---- publishing ---- */
/* Takes the publish lock and gives the seq of this commit. From here to mrl_publish_end nothing may
 * fail, allocate or wait: the caller stamps its versions and page marks with the seq, no more. */
uint64_t mrl_publish_begin(mrl_log *log);
/* Stamps the entry with seq and time, puts it into the ring (the log owns it now), lets the oldest
 * leave, publishes seq, drops the lock. taken is the credit that was taken for it, at least
 * entry->credit where a drain is attached; what was too much goes back.
 * Retires what left (after the lock). */
void mrl_publish_end(mrl_log *log, mrl_member *member, mrl_entry *entry, uint64_t taken);
/* The same in two steps, for who holds locks: nobody is woken before mrl_publish_tell, which is
 * called when they are dropped, and may be called for nothing. */
void mrl_publish_end_untold(mrl_log *log, mrl_member *member, mrl_entry *entry, uint64_t taken);
void mrl_publish_tell(mrl_log *log);

/* ---- reading ---- */
static inline uint64_t mrl_log_published_at(const _Atomic uint64_t *published) {
    return atomic_load_explicit(published, memory_order_acquire);
}
/* Where the published seq stands (loaded at the begin of every section). */
const _Atomic uint64_t *mrl_log_published(const mrl_log *log);
/* Without a drain both stand at the published seq: nothing is awaited. */
uint64_t mrl_log_written_seq(const mrl_log *log);
uint64_t mrl_log_durable_seq(const mrl_log *log);
/* By the drain. Credit of what was written goes back, those who wait are woken. */
void mrl_log_written(mrl_log *log, uint64_t seq);
void mrl_log_durable(mrl_log *log, uint64_t seq);
/* By the drain: what mrl_entry.loose says of entries that are durable by now. */
void mrl_log_firm(mrl_log *log, uint64_t loose);
/* By the drain, before it calls mrl_log_written: from now on there is room for one record that
 * counts for so many bytes, beside all that may be on its way; 0: for none. UINT64_MAX: no bound.
 * system_errno: why there is no more, and that it will not come soon: who does not find room gets
 * MERLE_NO_SPACE; 0: it is being made, he gets MERLE_BUSY or waits. */
void mrl_log_room(mrl_log *log, uint64_t record_size, int system_errno);
/* Somebody had a record that was larger than the room, and there was no errno value: the drain is
 * to make more. Until it says that there is some. */
int mrl_log_wants_room(const mrl_log *log);
/* The errno value that mrl_log_room was given last. */
int mrl_log_room_errno(const mrl_log *log);
/* By the drain: those who wait look again, though nothing has moved (there is more to do). */
void mrl_log_again(mrl_log *log);
/* The drain cannot write any more: those who wait get err, whoever asks for credit from now on gets
 * MERLE_READ_ONLY. For drains with a thread; an error of write_group does the same. The first error
 * stays. reason NULL: none is told. */
void mrl_log_fail_with(mrl_log *log, merle_err err, const merle_report *reason);
static inline void mrl_log_fail(mrl_log *log, merle_err err) {
    mrl_log_fail_with(log, err, NULL);
}
/* MERLE_OK, or why the drain has failed. */
merle_err mrl_log_failure(const mrl_log *log);
/* Copies the reason of a failure; its message is empty where none was told. */
void mrl_log_failure_reason(const mrl_log *log, merle_report *out_reason);
/* Signalled after each publish where a drain has a thread: what that thread waits for. */
mrl_event *mrl_log_work(mrl_log *log);
/* Waits until durable >= seq; does the drain's work where nobody else is at it. Without a drain
 * there is nothing to wait for. Errors: that of the drain, if it has failed before it came so
 * far. */
MERLE_MUST_USE merle_err mrl_log_wait_durable(mrl_log *log, mrl_member *member, uint64_t seq);
/* Asks the drain to make seq durable soon, and does not wait. */
void mrl_log_ask_durable(mrl_log *log, uint64_t seq);
/* The highest seq that anybody has asked to be durable. */
uint64_t mrl_log_asked(const mrl_log *log);
/* How often anybody has asked: about as often as there were commits that are to be durable. */
uint64_t mrl_log_asks(const mrl_log *log);
/* By the drain: it may wait a moment for more of them (it is not a step that it works in). */
int mrl_log_may_gather(const mrl_log *log);
/* Does the drain's work once, if nobody else is at it (0: somebody is). For the drain's own thread,
 * and for steps. */
int mrl_log_drain(mrl_log *log, mrl_member *member);
/* The same; where somebody is at it, waits until he goes away, for timeout_ns at most. */
int mrl_log_drain_or_await(mrl_log *log, mrl_member *member, uint64_t timeout_ns);
/* For the drain's own thread where it shares the work: sleeps until timeout_ns are over or it is
 * wanted. is_idle 1: any commit wants it, but for those that are led; 0: only one that asks to be
 * durable, or finds a quarter of the credit gone. `seen` is the count of mrl_log_work from before
 * the thread looked for work. */
void mrl_log_rest(mrl_log *log, uint32_t seen, int is_idle, uint64_t timeout_ns);

/* The entry with this seq, valid while the caller's section lasts. Errors: MERLE_NOT_FOUND (not
 * published yet), MERLE_GAP (it has left; *out_first is the oldest that is there). */
MERLE_MUST_USE merle_err mrl_log_read(const mrl_log *log, uint64_t seq, const mrl_entry **out_entry,
                                      uint64_t *out_first);

/* For who reads one entry after the other: brings one nearer that he will come to. */
void mrl_log_approach(const mrl_log *log, uint64_t seq);

/* What has left the ring, from files: filled by persist. */
typedef struct mrl_older {
    void *context;
    /* A reader that begins with the record behind after_seq. Errors: MERLE_GAP (it is not there any
     * more), MERLE_NO_MEMORY, MERLE_SYSTEM. */
    merle_err (*open)(void *context, uint64_t after_seq, void **out_reader);
    /* Lets go of what was given so far, and gets the next records in; to be called before the first
     * `next` and whenever that gives MERLE_AGAIN. Errors: as open, MERLE_NOT_FOUND (none yet). */
    merle_err (*fill)(void *reader);
    /* The next record; body is valid until fill or close. Errors: MERLE_AGAIN (fill first),
     * MERLE_CORRUPT. */
    merle_err (*next)(void *reader, mrl_frame *out_frame, merle_bytes *out_body);
    void (*close)(void *reader);
    /* The first record that a reader could be given now; 0: there is none. */
    uint64_t (*first)(void *context);
} mrl_older;
/* Setup. NULL: there is nothing but the ring. */
void mrl_log_older_attach(mrl_log *log, const mrl_older *older);
const mrl_older *mrl_log_older(const mrl_log *log);

/* How many followers want after- and before-images at the moment; commits ask before they make
 * their entry. */
void mrl_log_want_images(mrl_log *log, int after_delta, int before_delta);
int mrl_log_wants_after(const mrl_log *log);
int mrl_log_wants_before(const mrl_log *log);

/* credit_waits: how often somebody had to wait for credit. ring_bytes may for a moment exceed
 * ring_size, while a large entry pushes out many small ones. */
typedef struct mrl_log_stats {
    uint64_t ring_bytes, ring_size, first_seq, published, written, durable, credit_waits;
    uint64_t loose; /* bytes of commits that may be lost, at the moment */
} mrl_log_stats;
void mrl_log_stat(const mrl_log *log, mrl_log_stats *out_stats);

#endif
