/* memory/epoch.c - sections of the epoch, and tickets, over ck_epoch.
 *
 * Why a ticket is good. Let a section S have seen an object that was unlinked, after which ticket t
 * was taken.
 *   S:       announce itself; full fence Fs; load the epoch, g; announce g; then loads, one saw the
 *            object
 *   ticket:  unlink; full fence Ft; load the epoch, t
 *   poll:    load the epoch, x; full fence Fp; look at all records; if each active one has
 *            announced x: x + 1
 * Fences stand in one order. If Ft came before Fs, S's loads would find the object unlinked. So Fs
 * is before Ft. S loaded g before it saw the object, which was before the unlinking, which was
 * before t was loaded: g <= t. The epoch goes from t + 1 to t + 2 by a poll that loaded t + 1. Its
 * Fp comes after Ft, or the ticket would have been t + 1. So Fs is before Fp, and the poll sees S
 * as active, with g or something older, never with t + 1: it does not move on. Hence the epoch is
 * not t + 2 while S lasts. (The step from t to t + 1 says nothing: that poll may have had its fence
 * before S had.)
 *
 * Overlapping sections of one thread: ck keeps two counts, by the epoch at which a section began,
 * and announces the newer epoch when the older count falls to nought; the same argument holds with
 * that g.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/assert.h"
#include "memory/memory_private.h"

#if MRL_HAS_TSAN
/* ck's atomics are assembly, which ThreadSanitizer cannot see. We tell it the one thing that the
 * epoch promises: what was done in a section comes before whatever is done once a ticket has
 * passed. */
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define TELL_ACQUIRE(address) __tsan_acquire((void *)(address))
#define TELL_RELEASE(address) __tsan_release((void *)(address))
#else
#define TELL_ACQUIRE(address) (void)(address)
#define TELL_RELEASE(address) (void)(address)
#endif

/* A token is the number of ck's bucket, plus one; nought: not open. */
static unsigned token_bucket(const mrl_epoch_token *token) {
    MRL_ASSERT(token->internal == 1 || token->internal == 2);
    return (unsigned)(token->internal - 1);
}

void mrl_member_enter(mrl_member *member, mrl_epoch_token *out_token) {
    struct mrl_member_private *own = member->private_part;
    MRL_DEBUG_ASSERT(own->self == mrl_self_get());
    ck_epoch_section_t section;
    ck_epoch_begin(&own->record->ck, &section);
#if defined(CK_MD_TSO)
    /* The first section's announcement is a locked exchange: a full fence. ck has none for an
     * inner section, and what header domain.h promises is one for each. */
    if (own->entered != 0) atomic_thread_fence(memory_order_seq_cst);
#else
    /* ck has a fence between the announcement and the load of the epoch, but none between that
     * and the loads of the section; without it g <= t above would not hold. */
    atomic_thread_fence(memory_order_seq_cst);
#endif
    own->entered++;
    out_token->internal = (uint64_t)section.bucket + 1;
}

void mrl_member_leave(mrl_member *member, mrl_epoch_token *token) {
    struct mrl_member_private *own = member->private_part;
    MRL_DEBUG_ASSERT(own->self == mrl_self_get());
    MRL_ASSERT(own->entered != 0);
    ck_epoch_section_t section = {.bucket = token_bucket(token)};
    token->internal = 0;
    own->entered--;
    TELL_RELEASE(&member->domain->epoch);
    /* Contains a release fence: our loads come before the end that others see. */
    (void)ck_epoch_end(&own->record->ck, &section);
}

/* Ends whatever the thread has left open, and gives the record back. */
void mrl_epoch_leave_all(mrl_member *member) {
    struct mrl_member_private *own = member->private_part;
    if (own->entered != 0) mrl_count(member, MRL_N_ABANDONED, own->entered);
    own->entered = 0;
    own->seq_count = 0;
    atomic_store_explicit(&member->sections_open, 0, memory_order_relaxed);
    atomic_store_explicit(&member->section_oldest_seq, UINT64_MAX, memory_order_relaxed);
    TELL_RELEASE(&member->domain->epoch);
    /* ck_epoch_unregister orders its stores only; our loads have to come before them, too. */
    atomic_thread_fence(memory_order_seq_cst);
    ck_epoch_unregister(&own->record->ck);
    own->record = NULL;
}

static uint64_t oldest_of(const mrl_member *member, uint32_t count) {
    uint64_t oldest = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++)
        if (member->section_seqs[i] < oldest) oldest = member->section_seqs[i];
    return oldest;
}

void mrl_member_note_begin(mrl_member *member, uint64_t seq) {
    struct mrl_member_private *own = member->private_part;
    uint32_t open = atomic_load_explicit(&member->sections_open, memory_order_relaxed);
    uint64_t begun = atomic_load_explicit(&member->sections_begun, memory_order_relaxed);
    uint64_t oldest = atomic_load_explicit(&member->section_oldest_seq, memory_order_relaxed);
    if (own->seq_count < MRL_SECTION_DEPTH_MAX) member->section_seqs[own->seq_count++] = seq;
    if (seq < oldest) atomic_store_explicit(&member->section_oldest_seq, seq, memory_order_relaxed);
    atomic_store_explicit(&member->sections_begun, begun + 1, memory_order_relaxed);
    atomic_store_explicit(&member->sections_open, open + 1, memory_order_relaxed);
}

void mrl_member_note_end(mrl_member *member, uint64_t seq) {
    struct mrl_member_private *own = member->private_part;
    uint32_t open = atomic_load_explicit(&member->sections_open, memory_order_relaxed);
    MRL_ASSERT(open != 0);
    for (uint32_t i = own->seq_count; i-- > 0;) {
        if (member->section_seqs[i] != seq) continue;
        member->section_seqs[i] = member->section_seqs[--own->seq_count];
        break;
    }
    /* Sections too many for the array are only counted. Once they are all that is left, the
     * oldest known seq stays: it is not above theirs, as seqs grow from section to section. */
    if (own->seq_count != 0 || open == 1)
        atomic_store_explicit(&member->section_oldest_seq, oldest_of(member, own->seq_count),
                              memory_order_relaxed);
    atomic_store_explicit(&member->sections_open, open - 1, memory_order_relaxed);
}

uint32_t mrl_ticket_take(mrl_domain *domain) {
    /* Ft above: the unlinking comes before the load of the epoch. Pairs with the fence in
     * ck_epoch_begin. */
    atomic_thread_fence(memory_order_seq_cst);
    return ck_epoch_value(&domain->epoch);
}

uint32_t mrl_epoch_value(mrl_domain *domain) {
    return ck_epoch_value(&domain->epoch);
}

uint32_t mrl_epoch_at_begin(mrl_domain *domain) {
    uint32_t epoch = ck_epoch_value(&domain->epoch);
    /* Pairs with the end of the sections that let the epoch go on. Without it a section could note
     * what it sees first, and lack a commit that is over. */
    atomic_thread_fence(memory_order_acquire);
    TELL_ACQUIRE(&domain->epoch);
    return epoch;
}

int mrl_ticket_passed(mrl_domain *domain, uint32_t ticket) {
    if ((int32_t)(ck_epoch_value(&domain->epoch) - (ticket + 2)) < 0) return 0;
    /* Pairs with the release fence in ck_epoch_end, by way of the poll that saw the end and
     * moved the epoch (a store that depends on what it saw): what the caller frees now was last
     * read before. */
    atomic_thread_fence(memory_order_acquire);
    TELL_ACQUIRE(&domain->epoch);
    return 1;
}

void mrl_epoch_advance(mrl_member *member) {
    struct mrl_member_private *own = member->private_part;
    ck_epoch_record_t *record = &own->record->ck;
    MRL_DEBUG_ASSERT(own->self == mrl_self_get());
    /* ck_epoch_poll moves the epoch only if somebody is active, so we are, for that moment.
     * Nothing is ever deferred by ck_epoch_call: a poll dispatches nothing. */
    if (own->entered != 0) {
        (void)ck_epoch_poll(record);
        return;
    }
    for (int step = 0; step < 2; step++) {
        ck_epoch_section_t section;
        ck_epoch_begin(record, &section);
        int moved = ck_epoch_poll(record);
        (void)ck_epoch_end(record, &section);
        if (!moved) return;
    }
}
