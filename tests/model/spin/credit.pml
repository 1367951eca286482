/* credit.pml - byte credit in the log ring, and who drains it.
 *
 * Claim    A commit takes the whole credit for its record before it locks anything; waiting for credit holds no
 *          lock and no credit. If the record outgrows its credit, the commit unlocks all, gives the credit back and
 *          starts over with the larger need. A refused commit gives its credit back. While there is a drain (a
 *          disk), entries leave the ring only once they are drained; where no thread drains, the one who waits
 *          does it. So nobody waits for ever unless the disk is stuck, and even then one who did not ask to wait
 *          comes back, always: with success, a refusal or MERLE_BUSY.
 * Abstract A ring of CAP units; a record is expected to need one unit and may turn out to need two; two shards; each
 *          commit locks one or both. A group write takes all that is in the ring.
 * Blind to How waiters are woken; durable seq and sync; that credit is an upper bound of real record sizes.
 * Flags    NOPS commits, NW writers, DRAIN: NONE (no files, the oldest entries just leave), STEP (drained by those
 *          who wait), THREAD, STUCK (nothing is ever drained: those who asked to wait may wait for ever).
 *
 * BASE   none               DRAIN=NONE NW=2 NOPS=4
 * BASE   step               DRAIN=STEP NW=2 NOPS=4
 * BASE   thread             DRAIN=THREAD NW=2 NOPS=4
 * BASE   stuck              DRAIN=STUCK NW=2 NOPS=4
 * LONG   step_three         DRAIN=STEP NW=3 NOPS=5 CAP=3
 * LONG   thread_three       DRAIN=THREAD NW=3 NOPS=5
 * LONG   stuck_three        DRAIN=STUCK NW=3 NOPS=6 CAP=3
 * MUTANT CREDIT_UNDER_LOCKS    DRAIN=STUCK NW=2 NOPS=4 : credit is taken, and waited for, under the shard locks
 * MUTANT WAITS_LOCKED          DRAIN=THREAD NW=2 NOPS=4 : a commit that outgrew its credit waits with its locks
 * MUTANT CREDIT_KEPT           DRAIN=THREAD NW=2 NOPS=4 : it keeps its credit while it asks for more
 * MUTANT CREDIT_IN_PARTS       DRAIN=THREAD NW=2 NOPS=4 : credit is taken unit by unit
 * MUTANT WAITER_DOES_NOT_DRAIN DRAIN=STEP NW=2 NOPS=4 : nobody drains where no thread does
 * MUTANT REFUSED_KEEPS_CREDIT  DRAIN=NONE NW=2 NOPS=4 : a refused commit does not give its credit back
 * MUTANT LEAVES_UNDRAINED      DRAIN=THREAD NW=2 NOPS=4 : room is made by letting entries leave that are not drained
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define NONE 0
#define STEP 1
#define THREAD 2
#define STUCK 3
#ifndef DRAIN
#define DRAIN STEP
#endif
#ifndef NW
#define NW 2
#endif
#ifndef NOPS
#define NOPS 4
#endif
#ifndef CAP
#define CAP 2
#endif

byte credit = CAP;
byte held;              /* credit in the hands of commits */
byte put, drained, left;/* units that ever came into the ring, were drained, left it */
bit shard_lock[2];
bit draining;
byte ops, done;

#define accounts_balance (credit + held + put - drained == CAP)

/* One at a time: begins where something is to be drained, then finishes what it began. */
inline drain_begin() { draining = 1; upto = put }
inline drain_finish() {
    atomic { credit = credit + upto - drained; drained = upto; draining = 0; upto = 0; assert(accounts_balance) }
}
inline lock_shards() {
    atomic { shard_lock[first] == 0 -> shard_lock[first] = 1 };
    if :: both -> atomic { shard_lock[1] == 0 -> shard_lock[1] = 1 } :: else fi
}
inline unlock_shards() {
    if :: both -> shard_lock[1] = 0 :: else fi;
    shard_lock[first] = 0
}
inline give_back() { atomic { credit = credit + have; held = held - have; have = 0 } }

proctype Writer() {
    byte need, have, upto;
    bit first, both, may_wait, locked;
    do
    :: atomic {
        ops < NOPS -> ops++; need = 1;
        if :: first = 0 :: first = 1 :: first = 0; both = 1 fi;
        if :: may_wait = 0 :: may_wait = 1 fi
       }
again:
#ifdef CREDIT_UNDER_LOCKS
        if :: !locked -> lock_shards(); locked = 1 :: else fi;
#endif
#if DRAIN == STUCK
end_wait:
#endif
        do
#ifdef CREDIT_IN_PARTS
        :: atomic { have < need && credit > 0 -> credit--; held++; have++ }
        :: have >= need -> break
#else
        :: atomic { credit >= need - have -> credit = credit - (need - have); held = held + (need - have); have = need } break
#endif
        :: !may_wait && credit < need - have -> goto give_up /* MERLE_BUSY */
#if DRAIN == STEP && !defined(WAITER_DOES_NOT_DRAIN)
        :: atomic { may_wait && credit < need - have && !draining && put > drained -> drain_begin() }
           drain_finish()
#endif
#ifdef LEAVES_UNDRAINED
        :: atomic { credit < need - have && put > left -> left++; credit++; assert(left <= drained) }
#endif
        od;
        if :: !locked -> lock_shards(); locked = 1 :: else fi;
        if
        :: need == 1 -> /* The record outgrew its credit. */
            need = 2;
#ifndef WAITS_LOCKED
            unlock_shards(); locked = 0;
#endif
#ifndef CREDIT_KEPT
            give_back();
#endif
            goto again
        :: true -> /* Step 5: the record comes into the ring; the oldest entries leave for it. */
            d_step {
                put = put + have; held = held - have; have = 0;
#if DRAIN == NONE
                credit = credit + put - drained; drained = put;
#endif
                do :: put - left > CAP -> left++ :: else -> break od;
                assert(left <= drained); assert(accounts_balance)
            }
        :: true -> /* Refused by a precondition. */
#ifdef REFUSED_KEEPS_CREDIT
            d_step { held = held - have; have = 0 }
#else
            give_back()
#endif
        fi;
give_up: skip;
        give_back();
        if :: locked -> unlock_shards() :: else fi;
        atomic { locked = 0; need = 0; first = 0; both = 0; may_wait = 0 }
    :: atomic {
        ops == NOPS -> done++;
        if :: done == NW -> assert(held == 0 && accounts_balance) :: else fi;
        break
       }
    od
}

#if DRAIN == THREAD
proctype Disk() {
    byte upto;
end:
    do
    :: atomic { !draining && put > drained -> drain_begin() } drain_finish()
    od
}
#endif

init {
    byte i;
    atomic {
#if DRAIN == THREAD
        run Disk();
#endif
        i = 0; do :: i < NW -> run Writer(); i++ :: else -> break od
    }
}
