/* marks.pml - the entries of an ordered index: added, marked, un-marked, removed, counted.
 *
 * Claim    A section finds at any moment an entry for each document whose version at its S has the value. Where
 *          the epoch that it loaded before S is at least the leaf's `touched` + 2, the entries without a mark are
 *          exactly those. At rest no entry without a mark is left over, and every marked one can be removed.
 *          An entry is added, and a mark set, before the commit publishes, inside its section; the epoch is loaded
 *          under the leaf's lock, as the mark's ticket and as `touched`; a mark is removed at ticket + 3. Marks
 *          gather in a young and an old generation. A commit that fails marks what it had added, and makes live
 *          what it had marked, for which it needs no memory: it is still there.
 * Abstract One value and one leaf, an entry for each of NS documents. What a version has is taken from the history
 *          (hints.pml). A leaf is read as it stood at one moment (nodes.pml). The lock of a document's key shard
 *          is held from before the first entry until after publishing. Whoever writes purges where it likes.
 * Blind to Weak memory; sums of several leaves (sums.pml); numbers that wrap; the step of publishing (hints.pml).
 * Flags    NOPS commits by NW writers on NS documents, of which FIRST have the value at first, NR sections,
 *          NFAIL commits may fail, NLATE after their marks; the epoch goes from 2 up to EMAX. STEPS: sections
 *          begin, and the epoch is polled, step by step.
 *
 * BASE   one_document        NOPS=3 NW=2 NR=1 NS=1 EMAX=7 NFAIL=1
 * BASE   failing             NOPS=2 NW=2 NR=1 NS=1 EMAX=7 NFAIL=2 NLATE=1
 * BASE   two_documents       NOPS=2 NW=2 NR=1 NS=2 EMAX=6
 * BASE   both_have           NOPS=2 NW=2 NR=1 NS=2 EMAX=6 FIRST=3
 * BASE   by_steps            NOPS=2 NW=1 NR=1 NS=1 EMAX=6 NFAIL=1 STEPS
 * LONG   two_failing         NOPS=2 NW=2 NR=1 NS=2 EMAX=7 NFAIL=1 NLATE=1
 * LONG   three_commits       NOPS=3 NW=2 NR=1 NS=2 EMAX=7
 * LONG   two_sections        NOPS=2 NW=2 NR=2 NS=1 EMAX=7 NFAIL=1
 * LONG   two_by_steps        NOPS=2 NW=2 NR=1 NS=1 EMAX=6 STEPS
 * MUTANT MARKING_REMOVES     NOPS=1 NW=1 NR=1 NS=1 : giving a value up removes its entry at once
 * MUTANT REMOVED_AT_PLUS_TWO NOPS=1 NW=1 NR=1 NS=1 : a mark set before publishing goes at ticket + 2
 * MUTANT ADDED_AFTER_PUBLISH NOPS=1 NW=1 NR=1 NS=2 : the entry is added after publishing
 * MUTANT MARKED_AFTER_PUBLISH NOPS=1 NW=1 NR=1 NS=1 : the mark is set after publishing: a leaf at rest counts it
 * MUTANT ADD_NOT_TOUCHED     NOPS=1 NW=1 NR=1 NS=2 : adding leaves `touched` as it was
 * MUTANT MARK_NOT_TOUCHED    NOPS=1 NW=1 NR=1 NS=1 : marking leaves it
 * MUTANT UNMARK_NOT_TOUCHED  NOPS=2 NW=1 NR=1 NS=1 : un-marking leaves it
 * MUTANT NOT_UNMARKED        NOPS=2 NW=1 NR=1 NS=1 : an entry that is taken again keeps its mark
 * MUTANT SETTLED_AT_PLUS_ONE NOPS=1 NW=1 NR=1 NS=1 : a leaf is trusted at `touched` + 1
 * MUTANT EPOCH_AFTER_S       NOPS=1 NW=1 NR=1 NS=1 : the section loads the epoch after S
 * MUTANT TOUCHED_BEFORE_LOCK NOPS=2 NW=2 NR=1 NS=2 EMAX=5 : `touched` is loaded before the leaf's lock: it may go back
 * MUTANT TICKET_BEFORE_LOCK  NOPS=2 NW=2 NR=1 NS=2 EMAX=6 FIRST=3 : the ticket is loaded before it, and may go back
 * MUTANT EPOCH_BEFORE_SECTION NOPS=1 NW=1 NR=1 NS=1 : they are loaded before the commit's section
 * MUTANT WRITER_WITHOUT_SECTION NOPS=1 NW=1 NR=1 NS=1 : a commit is no section
 * MUTANT JOINS_OLD           NOPS=2 NW=1 NR=1 NS=2 EMAX=7 : a mark joins the old generation, whose ticket stays
 * MUTANT UNDO_REMOVES        NOPS=2 NW=1 NR=1 NS=1 NFAIL=1 : a failing commit removes what it had added or un-marked
 * MUTANT UNDO_LEAVES         NOPS=1 NW=1 NR=1 NS=2 NFAIL=1 : a failing commit leaves what it had added
 * MUTANT LATE_UNDO_LEAVES    NOPS=1 NW=1 NR=1 NS=1 NLATE=1 : a failing commit leaves its marks
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NOPS
#define NOPS 2
#endif
#ifndef NW
#define NW 1
#endif
#ifndef NR
#define NR 1
#endif
#ifndef NS
#define NS 1
#endif
#ifndef EMAX
#define EMAX 6
#endif
#ifndef NFAIL
#define NFAIL 0
#endif
#ifndef NLATE
#define NLATE 0
#endif
#ifndef FIRST
#define FIRST 1
#endif
#define NT (NW + NR)
#define bit_of(x) (1 << (x))

#ifdef REMOVED_AT_PLUS_TWO
#define GRACE 2
#else
#define GRACE 3
#endif
#ifdef SETTLED_AT_PLUS_ONE
#define SETTLED 1
#else
#define SETTLED 2
#endif
#define passed(ticket) (epoch >= (ticket) + GRACE)

byte epoch = 2;
byte open; /* threads with a section */
byte observed[NT];

byte published;
byte history[NOPS + 1]; /* seq -> documents that have the value */
byte document_lock;
byte ops, fails, late_fails, done;

/* The leaf. */
bit leaf_lock;
byte present, young, old; /* sets of documents; the last two are marked */
byte young_ticket, old_ticket, touched;
#define live (present & ~(young | old))

/* What an ended section had observed stays; to forget it makes fewer states. */
#ifdef STEPS
#define unobserve(me) skip
#else
#define unobserve(me) observed[me] = 0
#endif
inline section_begin(me) {
#ifdef STEPS
    open = open | bit_of(me);
    e = epoch;
    d_step { observed[me] = e; e = 0 }
#else
    d_step { open = open | bit_of(me); observed[me] = epoch }
#endif
}
inline section_end(me) { d_step { open = open & ~bit_of(me); unobserve(me) } }

/* What may go goes, then the generations move on. */
inline purge() {
    gone = 0;
    if :: old != 0 && passed(old_ticket) -> gone = old :: else fi;
    if :: young != 0 && gone == old && passed(young_ticket) -> gone = gone | young :: else fi;
    present = present & ~gone; young = young & ~gone; old = old & ~gone;
    if :: old == 0 -> old = young; old_ticket = young_ticket; young = 0; young_ticket = 0 :: else fi;
    if :: old == 0 -> old_ticket = 0 :: else fi;
    gone = 0
}

#ifdef TOUCHED_BEFORE_LOCK
#define ticket_of(e) epoch
#else
#define ticket_of(e) (e)
#endif
#ifdef TICKET_BEFORE_LOCK
#define touched_of(e) epoch
#else
#define touched_of(e) (e)
#endif
/* The leaf's lock, and the epoch that is loaded under it. */
inline leaf_take() {
#if defined(TOUCHED_BEFORE_LOCK) || defined(TICKET_BEFORE_LOCK)
    e = epoch;
    atomic { leaf_lock == 0 -> leaf_lock = 1 }
#elif defined(EPOCH_BEFORE_SECTION)
    atomic { leaf_lock == 0 -> leaf_lock = 1; e = early }
#else
    atomic { leaf_lock == 0 -> leaf_lock = 1 };
    e = epoch
#endif
}

inline add(s) {
    leaf_take();
    d_step {
        if
        :: (present >> s) & 1 ->
            assert(((young | old) >> s) & 1);
#ifndef NOT_UNMARKED
            young = young & ~bit_of(s); old = old & ~bit_of(s);
#endif
#ifndef UNMARK_NOT_TOUCHED
            touched = touched_of(e)
#endif
        :: else ->
            present = present | bit_of(s);
#ifndef ADD_NOT_TOUCHED
            touched = touched_of(e)
#endif
        fi;
        leaf_lock = 0; e = 0
    }
}

inline mark(s) {
    leaf_take();
    d_step {
        assert((live >> s) & 1);
#if defined(MARKING_REMOVES)
        present = present & ~bit_of(s);
#elif defined(JOINS_OLD)
        if :: old != 0 -> old = old | bit_of(s) :: else -> young = young | bit_of(s); young_ticket = ticket_of(e) fi;
#else
        young = young | bit_of(s);
        young_ticket = ticket_of(e);
#endif
#ifndef MARK_NOT_TOUCHED
        touched = touched_of(e);
#endif
        leaf_lock = 0; e = 0
    }
}

/* What a failing commit does about an entry that it had added, or un-marked. */
inline take_back(s) {
#if defined(UNDO_REMOVES)
    leaf_take();
    d_step { present = present & ~bit_of(s); touched = touched_of(e); leaf_lock = 0; e = 0 }
#elif defined(UNDO_LEAVES)
    skip
#else
    mark(s)
#endif
}

inline each_add(set) {
    if :: (set) & 1 -> add(0) :: else fi;
#if NS > 1
    if :: (set) & 2 -> add(1) :: else fi
#endif
}
inline each_mark(set) {
    if :: (set) & 1 -> mark(0) :: else fi;
#if NS > 1
    if :: (set) & 2 -> mark(1) :: else fi
#endif
}
inline each_take_back(set) {
    if :: (set) & 1 -> take_back(0) :: else fi;
#if NS > 1
    if :: (set) & 2 -> take_back(1) :: else fi
#endif
}
inline publish() {
    d_step { history[published + 1] = history[published] ^ changes; published++ }
}

proctype Writer(byte id) {
    byte changes, gives_up, e;
#ifdef EPOCH_BEFORE_SECTION
    byte early;
#endif
    do
    :: atomic {
        ops < NOPS -> ops++;
        if
        :: changes = 1
#if NS > 1
        :: changes = 2
        :: changes = 3
#endif
        fi
       };
#ifdef EPOCH_BEFORE_SECTION
        early = epoch;
#endif
#ifndef WRITER_WITHOUT_SECTION
        section_begin(id);
#endif
        atomic { (document_lock & changes) == 0 -> document_lock = document_lock | changes };
        gives_up = history[published] & changes;
#ifndef ADDED_AFTER_PUBLISH
        each_add(changes & ~gives_up);
#endif
        if
        :: atomic { fails < NFAIL -> fails++ }; each_take_back(changes & ~gives_up); goto unlock
        :: true
        fi;
#ifndef MARKED_AFTER_PUBLISH
        each_mark(gives_up);
#endif
#if NLATE > 0
        if
        :: atomic { late_fails < NLATE -> late_fails++ };
#ifndef LATE_UNDO_LEAVES
            assert((gives_up & ~present) == 0); /* no memory is needed for it */
            each_add(gives_up);
#endif
            each_take_back(changes & ~gives_up);
            goto unlock
        :: true
        fi;
#endif
        publish();
#ifdef ADDED_AFTER_PUBLISH
        each_add(changes & ~gives_up);
#endif
#ifdef MARKED_AFTER_PUBLISH
        each_mark(gives_up);
#endif
unlock: skip;
        d_step { document_lock = document_lock & ~changes; changes = 0; gives_up = 0 };
#ifdef EPOCH_BEFORE_SECTION
        early = 0;
#endif
        section_end(id)
    :: atomic { ops == NOPS -> done++; break }
    od
}

proctype Reader(byte id) {
    byte S, at_begin, e;
    section_begin(id);
#ifdef EPOCH_AFTER_S
    S = published;
    at_begin = epoch;
#else
    at_begin = epoch;
    S = published;
#endif
    atomic {
        leaf_lock == 0 ->
        assert((history[S] & ~present) == 0); /* nothing is missed */
        if :: at_begin >= touched + SETTLED -> assert(live == history[S]) :: else fi;
        S = 0; at_begin = 0
    };
    atomic { section_end(id); done++ }
}

/* Removes what may go, as a writer does before it marks. */
proctype Sweeper() {
    byte gone;
end:
    do
    :: atomic {
        leaf_lock == 0 && ((old != 0 && passed(old_ticket)) || (young != 0 && (old == 0 || passed(young_ticket)))) ->
        d_step { purge() }
       }
    :: atomic {
        done == NW + NR -> /* at rest */
        assert(live == history[published] && open == 0);
        epoch = epoch + GRACE;
        d_step { purge(); purge() };
        assert(present == history[published] && young == 0 && old == 0);
        break
       }
    od
}

#define late(t) (((open >> (t)) & 1) && observed[t] != epoch)
#if NW + NR > 3
#define nobody_is_late (!late(0) && !late(1) && !late(2) && !late(3))
#elif NW + NR > 2
#define nobody_is_late (!late(0) && !late(1) && !late(2))
#else
#define nobody_is_late (!late(0) && !late(1))
#endif
proctype Advancer() {
    byte e, t;
    bit is_late;
end:
    do
#ifdef STEPS
    :: epoch < EMAX && done < NW + NR ->
        e = epoch;
        do
        :: t < NT -> atomic { if :: ((open >> t) & 1) && observed[t] != e -> is_late = 1 :: else fi; t++ }
        :: t == NT -> break
        od;
        skip;
        d_step { if :: !is_late && epoch == e -> epoch = e + 1 :: else fi; e = 0; t = 0; is_late = 0 }
#else
    :: atomic { epoch < EMAX && done < NW + NR && nobody_is_late -> epoch++ }
#endif
    od
}

init {
    byte i;
    d_step { history[0] = FIRST; present = FIRST }
    atomic {
        run Sweeper();
        run Advancer();
        i = 0; do :: i < NR -> run Reader(i); i++ :: else -> break od;
        i = 0; do :: i < NW -> run Writer(NR + i); i++ :: else -> break od
    }
}
