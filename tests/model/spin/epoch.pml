/* epoch.pml - grace periods told by tickets of a global epoch, and sections that nest and overlap in one thread.
 *
 * Claim    A section does: active = 1; load the global epoch, store it as observed; S = published. The epoch goes
 *          from g to g + 1 only when all active threads have observed g. What was unlinked notes a ticket, the
 *          epoch read after the unlinking; it may be freed when the epoch is at least ticket + 2. Then nothing
 *          that a section can reach, or holds, is freed before the section ends, and in the end all is freed.
 *          The sections of a thread each have their own S; the thread stays active from the first begin to the
 *          last end, and keeps what it observed at the first (or, BUCKETS, goes on to what the oldest of the
 *          still open ones observed).
 * Abstract One document whose versions are superseded one after another; with POINTER, a table that is replaced
 *          (no S, only the pointer). Threads that look at the epochs read them one thread after another.
 * Blind to Weak memory: each numbered step is sequentially consistent; the program needs full fences between
 *          `active = 1` and the load of the epoch, and between the unlinking and the reading of the ticket.
 *          Numbers do not wrap here.
 * Flags    NT threads with sections, NSEC sections of each thread, NUP updates, NADV threads that advance the
 *          epoch and free, NEST sections of one thread at once.
 *          The epoch advances only while something waits for it, and once before.
 *
 * BASE   versions           NT=2 NSEC=1 NUP=2 NADV=1 NEST=1
 * BASE   tables             NT=2 NSEC=1 NUP=2 NADV=1 NEST=1 POINTER
 * BASE   again              NT=1 NSEC=2 NUP=2 NADV=1 NEST=1
 * BASE   two_advance        NT=1 NSEC=2 NUP=1 NADV=2 NEST=1
 * BASE   nested             NT=1 NSEC=3 NUP=2 NADV=1 NEST=2
 * BASE   nested_buckets     NT=1 NSEC=3 NUP=2 NADV=1 NEST=2 BUCKETS
 * LONG   nested_two_threads NT=2 NSEC=2 NUP=1 NADV=1 NEST=2
 * LONG   nested_three       NT=1 NSEC=4 NUP=3 NADV=1 NEST=3
 * LONG   buckets_three      NT=1 NSEC=4 NUP=3 NADV=1 NEST=3 BUCKETS
 * MUTANT FREE_AT_PLUS_ONE     NT=2 NSEC=1 NUP=1 NADV=1 NEST=1 : freed when the epoch is ticket + 1
 * MUTANT S_BEFORE_ACTIVE      NT=1 NSEC=1 NUP=2 NADV=1 NEST=1 : S is read before the thread is active
 * MUTANT POINTER_BEFORE_ACTIVE NT=1 NSEC=1 NUP=1 NADV=1 NEST=1 POINTER : the table is loaded before the thread is active
 * MUTANT TICKET_BEFORE_PUBLISH NT=1 NSEC=1 NUP=1 NADV=1 NEST=1 : the ticket is read before the newer version is published
 * MUTANT TICKET_BEFORE_UNLINK NT=1 NSEC=1 NUP=1 NADV=1 NEST=1 POINTER : the ticket is read before the table is replaced
 * MUTANT ADVANCE_UNOBSERVED   NT=1 NSEC=1 NUP=1 NADV=1 NEST=1 : the epoch advances past a section that has not observed it
 * MUTANT SCAN_BEFORE_EPOCH    NT=1 NSEC=1 NUP=1 NADV=2 NEST=1 : the threads are looked at before the epoch is read
 * MUTANT INNER_END_RELEASES   NT=1 NSEC=2 NUP=1 NADV=1 NEST=2 : the end of an inner section makes the thread inactive
 * MUTANT NESTED_OBSERVES_AGAIN NT=1 NSEC=2 NUP=2 NADV=1 NEST=2 : an inner begin stores the epoch as observed again
 * MUTANT NESTED_ONE_S         NT=1 NSEC=2 NUP=1 NADV=1 NEST=2 : an inner begin overwrites the S of the outer
 * MUTANT BUCKET_TO_NEWEST     NT=1 NSEC=3 NUP=2 NADV=1 NEST=3 BUCKETS : any end goes on to the newest open one's epoch
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NT
#define NT 2
#endif
#ifndef NSEC
#define NSEC 1
#endif
#ifndef NUP
#define NUP 2
#endif
#ifndef NADV
#define NADV 1
#endif
#ifndef NEST
#define NEST 1
#endif
#ifndef GFREE
#define GFREE 2
#endif
#define INFINITE 100
#define NV (NUP + 2)

#ifdef FREE_AT_PLUS_ONE
#define GRACE 1
#else
#define GRACE 2
#endif

byte epoch = 1;
bit in_section[NT];
byte observed[NT];

byte cur = 1;       /* the newest version, or the table; version v stands before v + 1 */
byte seq[NV];
bit freed[NV];
byte published = 1;

byte oldest = 1;    /* the next one to be freed */
byte retired = 1;   /* versions below are unlinked, and have a ticket */
byte ticket[NV];
byte threads_done;
bit writer_done;

#ifdef BUCKETS
typedef Buckets { byte count[2]; byte epoch[2] };
#endif

proctype Thread(byte id) {
    byte S[NEST], held[NEST];
    bit open[NEST];
    byte depth, begun, i, e, x;
#ifdef BUCKETS
    Buckets b;
    bit bucket[NEST];
#endif
    do
    :: begun < NSEC && depth < NEST ->
        /* Begin a section in a free place. */
        d_step { begun++; i = 0; do :: open[i] -> i++ :: else -> break od }
#ifdef S_BEFORE_ACTIVE
        S[i] = published;
#endif
#ifdef POINTER_BEFORE_ACTIVE
        x = cur;
#endif
        if
        :: depth == 0 ->
            in_section[id] = 1;
            e = epoch;
            observed[id] = e
        :: else ->
#ifdef NESTED_OBSERVES_AGAIN
            e = epoch;
            observed[id] = e
#else
            skip
#endif
        fi;
        depth++;
#ifdef BUCKETS
        d_step {
            e = epoch; bucket[i] = e & 1;
            if :: b.count[e & 1] == 0 -> b.epoch[e & 1] = e :: else fi;
            b.count[e & 1]++
        }
#endif
        open[i] = 1;
#ifndef S_BEFORE_ACTIVE
        S[i] = published;
#endif
        /* Read: find the version at S and keep it. */
#ifdef POINTER
#ifndef POINTER_BEFORE_ACTIVE
        x = cur;
#endif
#else
        x = cur;
        do
        :: d_step { seq[x] > S[i] -> assert(!freed[x]); x-- ; assert(x != 0) }
        :: d_step { seq[x] <= S[i] -> assert(!freed[x]); assert(seq[x] == S[i]) } break
        od;
#endif
        skip;
        d_step {
            held[i] = x; x = 0; e = 0;
#ifdef NESTED_ONE_S
            if :: i == 1 && open[0] -> S[0] = S[1] :: i == 0 && open[NEST - 1] -> S[NEST - 1] = S[0] :: else fi;
#endif
            i = 0
        }
    :: depth > 0 ->
        /* End one of the open ones: its version still stands, and is still the one at its S. */
        if
        :: open[0] -> i = 0
#if NEST > 1
        :: open[1] -> i = 1
#endif
#if NEST > 2
        :: open[2] -> i = 2
#endif
        fi;
        d_step {
            assert(!freed[held[i]]);
#ifndef POINTER
            assert(seq[held[i]] == S[i]);
#endif
            open[i] = 0; S[i] = 0; held[i] = 0; depth--
        }
#ifdef BUCKETS
        d_step {
            e = bucket[i]; bucket[i] = 0;
            b.count[e]--;
            if
#ifdef BUCKET_TO_NEWEST
            :: b.count[1 - e] > 0 && b.epoch[1 - e] > b.epoch[e] -> observed[id] = b.epoch[1 - e]
            :: b.count[e] > 0 && b.epoch[e] > b.epoch[1 - e] -> observed[id] = b.epoch[e]
#else
            :: b.count[e] == 0 && b.count[1 - e] > 0 && b.epoch[1 - e] > b.epoch[e] -> observed[id] = b.epoch[1 - e]
#endif
            :: else
            fi;
            if :: b.count[e] == 0 -> b.epoch[e] = 0 :: else fi;
            e = 0
        }
#endif
#ifdef INNER_END_RELEASES
        in_section[id] = 0;
#else
        if :: depth == 0 -> in_section[id] = 0 :: else fi;
#endif
        i = 0
    :: atomic { begun == NSEC && depth == 0 -> threads_done++; break }
    od
}

proctype Writer() {
    byte v, t;
    do
    :: cur <= NUP ->
        v = cur + 1;
#ifdef POINTER
#ifdef TICKET_BEFORE_UNLINK
        t = epoch;
        cur = v;
#else
        cur = v;
        t = epoch;
#endif
#else
        cur = v;    /* the early swing; its seq is infinite */
        seq[v] = published + 1;
#ifdef TICKET_BEFORE_PUBLISH
        t = epoch;
        published = published + 1;
#else
        published = published + 1;
        t = epoch;
#endif
#endif
        d_step { ticket[v - 1] = t; retired = v; v = 0; t = 0 }
    :: else -> writer_done = 1; break
    od
}

proctype Advancer() {
    byte e, t;
    bit late;
end:
    do
    :: (retired > oldest && epoch < ticket[retired - 1] + 2) || epoch < GFREE ->
#ifdef SCAN_BEFORE_EPOCH
        t = 0; e = epoch; /* what it compares with; what it moves is read after the look */
#else
        t = 0; e = epoch;
#endif
        do
        :: t < NT && !in_section[t] -> t++
        :: t < NT && in_section[t] ->
#ifndef ADVANCE_UNOBSERVED
            if :: observed[t] != e -> late = 1 :: else fi;
#endif
            t++
        :: t == NT -> break
        od;
        skip;
#ifdef SCAN_BEFORE_EPOCH
        e = epoch;
#endif
        d_step {
            if :: !late && epoch == e -> epoch = e + 1 :: else fi;
            e = 0; t = 0; late = 0
        }
    :: atomic {
        retired > oldest && epoch >= ticket[oldest] + GRACE ->
        d_step { assert(!freed[oldest]); freed[oldest] = 1; seq[oldest] = 0; oldest++ }
       }
    :: atomic { writer_done && threads_done == NT && retired == oldest -> assert(oldest == NUP + 1 && !freed[cur]); break }
    od
}

init {
    byte i;
    d_step {
        seq[1] = 1;
        i = 2; do :: i < NV -> seq[i] = INFINITE; i++ :: else -> break od; i = 0
    }
    atomic {
        run Writer();
        i = 0; do :: i < NADV -> run Advancer(); i++ :: else -> break od;
        i = 0; do :: i < NT -> run Thread(i); i++ :: else -> break od
    }
}
