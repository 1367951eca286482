/* memory/domain.h - one database's memory: allocator, epoch, and the threads that take part.
 *
 * What    A domain has a jemalloc arena of its own, counts what is taken from it by purpose, and
 *         refuses at a limit. A member is one thread's part in a domain: allocation cache, epoch
 *         record, counters, and what the thread has retired. A thread becomes a member at its first
 *         call and leaves when it ends. A ticket says when something was unlinked; when the ticket
 *         has passed, nobody can still see it.
 * Owns    all memory taken from it: mrl_domain_destroy gives the whole arena back.
 * Sees    A section entered by mrl_member_enter sees nothing freed that it could reach when it
 *         entered or later, until mrl_member_leave.
 * Threads members: owner only, unless a function says otherwise. Retired blocks of all members may
 *         be drained by any member. Nothing here waits but for short internal locks.
 * Limits  MRL_SECTION_DEPTH_MAX sections of one thread are told apart; more are counted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_MEMORY_DOMAIN_H
#define MRL_MEMORY_DOMAIN_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <merle/base.h>

#include "base/counters.h"
#include "base/lock.h"
#include "base/seam.h"
#include "base/self.h"

typedef struct mrl_domain mrl_domain;
typedef struct mrl_member mrl_member;

/* What memory is for; counted apart. */
typedef enum mrl_purpose {
    MRL_FOR_DOCUMENTS = 0, /* versions */
    MRL_FOR_TABLES,        /* maps, slots, indexes */
    MRL_FOR_LOG,           /* records in the ring */
    MRL_FOR_OTHER,
    MRL_PURPOSE_COUNT
} mrl_purpose;

typedef struct mrl_domain_options {
    const mrl_refusal *refusal; /* may be NULL */
    uint64_t bytes_max;         /* 0: no limit */
    uint64_t bytes_reserve;     /* how far beyond bytes_max mrl_alloc_urgent may go */
    uint32_t huge_pages;        /* 1: asks the system for huge pages where the domain is large */
    /* Called when a member's thread ends, or when the domain is destroyed, before the member is
     * gone: ends what the thread left open. Runs in the ending thread. May be NULL. */
    void (*leaving)(void *context, mrl_member *member);
    void *leaving_context;
} mrl_domain_options;

merle_err mrl_domain_create(const mrl_domain_options *options, mrl_domain **out_domain);
/* Frees everything. No other thread may be inside a call. */
void mrl_domain_destroy(mrl_domain *domain);

/* How each domain begins: what is looked at on every call. Only the inline functions below read
 * it. */
typedef struct mrl_domain_front {
    const _Atomic uint32_t *process; /* this process's number; nought in a fresh child */
    uint32_t born_in;                /* that number when the domain was made */
    uint64_t serial;                 /* of this domain; no other one ever has it */
} mrl_domain_front;

/* Non-zero in a child of the process that made the domain. In such a child nothing else may be
 * called with the domain; mrl_domain_destroy does nothing there. */
static inline int mrl_domain_is_forked(const mrl_domain *domain) {
    const mrl_domain_front *front = (const mrl_domain_front *)(const void *)domain;
    return atomic_load_explicit(front->process, memory_order_relaxed) != front->born_in;
}

/* ---- members ---- */

enum { MRL_SECTION_DEPTH_MAX = 16 };

struct mrl_member {
    mrl_domain *domain;
    void *commits;        /* store: the thread's open commits, linked */
    void *spare_commit;   /* store: one kept for reuse */
    merle_report *report; /* where this thread wants reports, or NULL */
    uint64_t thread;      /* kernel id, for people */
    /* Counters that only the owner adds to (mrl_count) and anybody reads. */
    _Atomic uint64_t counts[MRL_COUNTER_COUNT];
    /* What others may see of the open sections. */
    _Atomic uint64_t sections_begun;
    _Atomic uint32_t sections_open;
    _Atomic uint64_t section_oldest_seq; /* of the open ones; UINT64_MAX: none */
    /* Written by whoever looks at ages (under the domain's member lock): when the section that
     * was open at the last look was first seen. */
    uint64_t seen_begun;
    uint64_t seen_at_ns;
    uint64_t section_seqs[MRL_SECTION_DEPTH_MAX];
    struct mrl_member_private *private_part;
};

mrl_member *mrl_member_join_slow(mrl_domain *domain);
/* The calling thread's (or simulated worker's) member; made at the first call. NULL: no memory. */
static inline mrl_member *mrl_member_join(mrl_domain *domain) {
    const mrl_domain_front *front = (const mrl_domain_front *)(const void *)domain;
    const mrl_self *self = mrl_self_get();
    if (__builtin_expect(self->member_serial == front->serial, 1)) return self->member;
    return mrl_member_join_slow(domain);
}
/* Leaves all domains for a simulated worker, as the end of a thread does by itself. The
 * simulator calls it once for each worker, when nothing runs as that worker any more; afterwards
 * self is as if zero-filled, but for its scheduler. */
void mrl_self_end(mrl_self *self);
/* Calls fn for each member, living in any thread, under the domain's member lock: fn must
 * neither join, nor allocate, nor drain. */
void mrl_member_each(mrl_domain *domain, void (*fn)(void *context, mrl_member *member),
                     void *context);
/* The sum of a counter over all members, also those gone. Threads: any. */
uint64_t mrl_domain_count(mrl_domain *domain, mrl_counter counter);

static inline void mrl_count(mrl_member *member, mrl_counter counter, uint64_t n) {
    _Atomic uint64_t *at = &member->counts[counter];
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline void mrl_count_max(mrl_member *member, mrl_counter counter, uint64_t n) {
    _Atomic uint64_t *at = &member->counts[counter];
    if (atomic_load_explicit(at, memory_order_relaxed) < n)
        atomic_store_explicit(at, n, memory_order_relaxed);
}

/* ---- epoch ---- */

typedef struct mrl_epoch_token {
    uint64_t internal;
} mrl_epoch_token;

/* Enters and leaves; may nest and overlap within the thread. Everything loaded after the enter
 * stays valid until the leave. mrl_member_enter is a full fence: what is loaded behind it is
 * loaded after the thread is seen as active. Bookkeeping for the inside view: seq is what the
 * section sees; noted apart, because it must be loaded after entering. */
void mrl_member_enter(mrl_member *member, mrl_epoch_token *out_token);
void mrl_member_leave(mrl_member *member, mrl_epoch_token *token);
void mrl_member_note_begin(mrl_member *member, uint64_t seq);
void mrl_member_note_end(mrl_member *member, uint64_t seq);

/* Taken after something was unlinked (contains the full fence that this needs). When it has
 * passed, every section that might have seen the thing is over. Tickets of one domain grow
 * (compared modulo 2^32). */
uint32_t mrl_ticket_take(mrl_domain *domain);
int mrl_ticket_passed(mrl_domain *domain, uint32_t ticket);
/* The epoch now, without the fence. Loaded in an open section, it is good as a ticket for what only
 * sections may need that began before this one ends, if one step more is waited for. */
uint32_t mrl_epoch_value(mrl_domain *domain);
/* The same for a section that has just entered: loaded before whatever it loads next. If two steps
 * lead from a ticket to it, all sections that were open when the ticket was taken are over, and
 * what they did is seen. */
uint32_t mrl_epoch_at_begin(mrl_domain *domain);
/* Tries to let the epoch go on, at most two steps; never waits. Call with or without an open
 * section. */
void mrl_epoch_advance(mrl_member *member);

/* ---- memory ---- */

/* NULL: refused (limit, refusal seam, allocator). 16-byte aligned, contents undefined. size > 0. */
void *mrl_alloc(mrl_member *member, mrl_purpose purpose, size_t size);
/* May go into the reserve beyond the limit: for removals. */
void *mrl_alloc_urgent(mrl_member *member, mrl_purpose purpose, size_t size);
/* size as it was asked for. */
void mrl_free(mrl_member *member, mrl_purpose purpose, void *memory, size_t size);

/* Blocks can be retired without allocating anything: they carry a small header of merle's own. */
void *mrl_block_alloc(mrl_member *member, mrl_purpose purpose, size_t size);
/* May go into the reserve beyond the limit. */
void *mrl_block_alloc_urgent(mrl_member *member, mrl_purpose purpose, size_t size);
void mrl_block_free(mrl_member *member, void *block);
/* Frees it when all sections that may see it are over: it is unlinked already. Never fails. */
void mrl_block_retire(mrl_member *member, void *block);
/* What a block of this size takes, with its header and rounding. */
size_t mrl_block_bytes(size_t size);
/* The size, at least this one, for something that is copied when it grows: steps of an eighth to a
 * quarter, so that it is copied rarely, which waste nothing by rounding. */
size_t mrl_block_step(size_t size);
/* Frees at most `max` retired blocks of any member whose time has come; returns how many. */
size_t mrl_domain_drain(mrl_member *member, size_t max);

/* Bytes counted now, exact to MRL_PURPOSE_COUNT * 64 KiB a member while they run, or less where
 * there is a limit; exact at rest. */
uint64_t mrl_domain_bytes(mrl_domain *domain, mrl_purpose purpose);
uint64_t mrl_domain_bytes_total(mrl_domain *domain);
/* Bytes that members keep at hand, which are not in use: not counted above. */
uint64_t mrl_domain_bytes_kept(mrl_domain *domain);
/* Bytes of retired blocks that wait. */
uint64_t mrl_domain_bytes_waiting(mrl_domain *domain);
/* Gives back what the member keeps at hand, for a thread that has nothing to do for a while: a few
 * small objects hold a whole region each. */
void mrl_member_rest(mrl_member *member);
/* Gives unused pages back to the system. */
void mrl_domain_trim(mrl_domain *domain);

#endif
