/* tagbits.pml - the entries of one tag: added, warned of, marked, un-marked, taken away, and taken for certain.
 *
 * Claim    A section finds at any moment an entry for each document whose version at its S has the tag. Where the
 *          epoch that it loaded before S is at least the span's `touched` + 2, entries without a mark are exactly
 *          those, and need no look at the version. At rest no entry without a mark is left over, and every marked
 *          one goes. An entry is added before its commit publishes; a commit that gives the tag up warns (raises
 *          `touched`) before it publishes and marks after that, with a ticket taken then, all inside its section;
 *          a marked entry goes at ticket + 2. A commit that fails marks what it had added or un-marked.
 *          Readers load entries first and `touched` behind them; writers store them the other way round.
 * Abstract One tag and one span of it, NS documents. A bitmap: what is there and what is marked are words of their
 *          own, each loaded and stored at once; one ticket for all marks. ARRAY: a span is read and changed as a
 *          whole (a sequence lock), but for warnings; two generations of marks. What a version has is taken from the
 *          history (hints.pml). NCOPY: the span may be replaced by a copy, the old one stays as it was.
 * Blind to Weak memory; numbers that wrap; grace of spans (epoch.pml); tags that come and go; counts beside the words.
 * Flags    NOPS commits by NW writers on NS documents, of which FIRST have the tag at first, NR sections,
 *          NFAIL commits may fail; the epoch goes from 2 up to EMAX.
 *
 * BASE   bitmap              NOPS=3 NW=2 NR=1 NS=1 EMAX=6
 * BASE   bitmap_two          NOPS=2 NW=2 NR=1 NS=2 EMAX=5 FIRST=3
 * BASE   bitmap_failing      NOPS=2 NW=2 NR=1 NS=1 EMAX=6 NFAIL=2
 * BASE   array               NOPS=3 NW=2 NR=1 NS=1 EMAX=6 NFAIL=1 ARRAY
 * BASE   array_two           NOPS=2 NW=2 NR=1 NS=2 EMAX=6 FIRST=3 ARRAY
 * BASE   copied              NOPS=2 NW=2 NR=1 NS=1 EMAX=5 NFAIL=1 NCOPY=1
 * LONG   bitmap_three        NOPS=3 NW=2 NR=1 NS=2 EMAX=6
 * LONG   array_three         NOPS=3 NW=2 NR=1 NS=2 EMAX=6 ARRAY
 * LONG   copied_twice        NOPS=2 NW=2 NR=1 NS=1 EMAX=6 NFAIL=1 NCOPY=2
 * LONG   two_sections        NOPS=2 NW=2 NR=2 NS=1 EMAX=6 NFAIL=1
 * MUTANT NO_WARNING          NOPS=1 NW=1 NR=1 NS=1 : a commit that gives the tag up only marks
 * MUTANT WARNED_AFTER_PUBLISH NOPS=1 NW=1 NR=1 NS=1 : the warning comes after publishing
 * MUTANT MARKED_BEFORE_PUBLISH NOPS=1 NW=1 NR=1 NS=1 : the mark is set before publishing, and goes at ticket + 2
 * MUTANT MARK_HAS_OLD_TICKET NOPS=1 NW=1 NR=1 NS=1 : the mark gets the ticket of the warning
 * MUTANT MARKED_OUTSIDE_SECTION NOPS=1 NW=1 NR=1 NS=1 : the mark is set after the commit's section
 * MUTANT UNLOCKED_BEFORE_MARK NOPS=2 NW=2 NR=1 NS=1 : the document is unlocked between publishing and mark
 * MUTANT SETTLED_AT_PLUS_ONE NOPS=1 NW=1 NR=1 NS=1 : a span is trusted at `touched` + 1
 * MUTANT REMOVED_AT_PLUS_ONE NOPS=1 NW=1 NR=1 NS=1 : a marked entry goes at ticket + 1
 * MUTANT MARKING_REMOVES     NOPS=1 NW=1 NR=1 NS=1 : giving the tag up takes the entry away at once
 * MUTANT TOUCHED_BEFORE_ENTRIES NOPS=1 NW=1 NR=1 NS=2 : the reader loads `touched` before the entries
 * MUTANT ENTRIES_BEFORE_TOUCHED NOPS=1 NW=1 NR=1 NS=2 : the writer stores the entry before `touched`
 * MUTANT THERE_BEFORE_MARKED NOPS=1 NW=1 NR=1 NS=1 : the reader loads what is there before the marks
 * MUTANT MARK_CLEARED_FIRST  NOPS=1 NW=1 NR=1 NS=1 : who takes an entry away clears its mark before its bit
 * MUTANT EPOCH_AFTER_S       NOPS=1 NW=1 NR=1 NS=2 : the section loads the epoch after S
 * MUTANT ADDED_AFTER_PUBLISH NOPS=1 NW=1 NR=1 NS=2 : the entry is added after publishing
 * MUTANT ADD_NOT_TOUCHED     NOPS=1 NW=1 NR=1 NS=2 : adding leaves `touched` as it was
 * MUTANT UNMARK_NOT_TOUCHED  NOPS=2 NW=1 NR=1 NS=1 : un-marking leaves it
 * MUTANT TICKET_BEFORE_LOCK  NOPS=2 NW=2 NR=1 NS=2 FIRST=3 : the ticket is taken before the tag's lock, and may go back
 * MUTANT JOINS_OLD           NOPS=2 NW=2 NR=1 NS=2 FIRST=3 ARRAY : a mark joins the old generation, whose ticket stays
 * MUTANT UNDO_REMOVES        NOPS=2 NW=1 NR=1 NS=1 NFAIL=1 : a failing commit takes away what it had added or un-marked
 * MUTANT UNDO_LEAVES         NOPS=1 NW=1 NR=1 NS=2 NFAIL=1 : a failing commit leaves what it had added
 * MUTANT COPY_AT_REST        NOPS=1 NW=1 NR=1 NS=1 NCOPY=1 : the copy of a span has not been touched
 * MUTANT SPAN_BEFORE_S       NOPS=1 NW=1 NR=1 NS=2 NCOPY=1 : the reader loads the span's address before S
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
#ifndef NCOPY
#define NCOPY 0
#endif
#ifndef FIRST
#define FIRST 1
#endif
#define NT (NW + NR)
#define NSPAN (NCOPY + 1)
#define bit_of(x) (1 << (x))

#ifdef REMOVED_AT_PLUS_ONE
#define GRACE 1
#else
#define GRACE 2
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
byte history[NOPS + 1]; /* seq -> documents that have the tag */
byte document_lock;
byte ops, fails, done;

/* The tag and its spans. Of an array's marks some are old. */
bit tag_lock;
byte span;
byte there[NSPAN], marked[NSPAN], touched[NSPAN];
byte old, ticket, old_ticket;
#define live (there[span] & ~marked[span])

inline section_begin(me) { d_step { open = open | bit_of(me); observed[me] = epoch } }
inline section_end(me) { d_step { open = open & ~bit_of(me); observed[me] = 0 } }

/* The tag's lock, and a ticket. */
inline tag_take() {
#ifdef TICKET_BEFORE_LOCK
    now = epoch;
    atomic { tag_lock == 0 -> tag_lock = 1 }
#else
    atomic { tag_lock == 0 -> tag_lock = 1 };
    now = epoch
#endif
}
inline tag_drop() { d_step { tag_lock = 0; now = 0 } }

#ifdef ARRAY
#define whole_begin atomic {
#define whole_end }
#else
#define whole_begin
#define whole_end
#endif
#ifdef TICKET_BEFORE_LOCK
#define touched_now epoch /* only tickets go back */
#else
#define touched_now now
#endif

inline add(s) {
    tag_take();
    whole_begin
#ifndef ENTRIES_BEFORE_TOUCHED
    if
#ifdef UNMARK_NOT_TOUCHED
    :: (there[span] >> s) & 1
#endif
#ifdef ADD_NOT_TOUCHED
    :: !((there[span] >> s) & 1)
#endif
    :: else -> touched[span] = touched_now
    fi;
#endif
    if
    :: (there[span] >> s) & 1 -> marked[span] = marked[span] & ~bit_of(s); old = old & ~bit_of(s)
    :: else -> there[span] = there[span] | bit_of(s)
    fi;
#ifdef ENTRIES_BEFORE_TOUCHED
    touched[span] = touched_now;
#endif
    whole_end
    tag_drop()
}

inline warn(s) {
#ifndef NO_WARNING
    tag_take();
    touched[span] = touched_now;
#ifdef MARK_HAS_OLD_TICKET
    warned = now;
#endif
    tag_drop()
#else
    skip
#endif
}

inline mark(s) {
    tag_take();
    whole_begin
#ifdef MARK_HAS_OLD_TICKET
    now = (warned != 0 -> warned : now);
#endif
    touched[span] = touched_now;
#ifdef MARKING_REMOVES
    there[span] = there[span] & ~bit_of(s);
#else
#if defined(ARRAY) && !defined(JOINS_OLD)
    if
    :: old == 0 && marked[span] != 0 && ticket != now -> d_step { old = marked[span]; old_ticket = ticket }
    :: else
    fi;
#endif
#ifdef JOINS_OLD
    d_step { if :: marked[span] != 0 -> old = marked[span] | bit_of(s); old_ticket = ticket :: else fi };
#endif
    marked[span] = marked[span] | bit_of(s);
    ticket = now;
#endif
    whole_end
    tag_drop()
}

/* Takes away what may go; under the tag's lock. */
inline drop() {
#ifdef ARRAY
    d_step {
        gone = 0;
        if :: old != 0 && passed(old_ticket) -> gone = old :: else fi;
        if :: (marked[span] & ~old) != 0 && passed(ticket) -> gone = gone | (marked[span] & ~old) :: else fi;
        there[span] = there[span] & ~gone; marked[span] = marked[span] & ~gone; old = old & ~gone;
        if :: old == 0 -> old_ticket = 0 :: else fi;
        if :: marked[span] == 0 -> ticket = 0 :: else fi;
        gone = 0
    }
#else
    if
    :: marked[span] != 0 && passed(ticket) ->
        gone = marked[span];
#ifdef MARK_CLEARED_FIRST
        marked[span] = 0;
        there[span] = there[span] & ~gone;
#else
        there[span] = there[span] & ~gone;
        marked[span] = 0;
#endif
        d_step { ticket = 0; gone = 0 }
    :: else
    fi
#endif
}
#define may_drop (marked[span] != 0 && (passed(ticket) || (old != 0 && passed(old_ticket))))

/* What a failing commit does about an entry that it had added, or un-marked. */
inline take_back(s) {
#if defined(UNDO_REMOVES)
    tag_take();
    d_step { touched[span] = now; there[span] = there[span] & ~bit_of(s) };
    tag_drop()
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
inline each_warn(set) {
    if :: (set) & 1 -> warn(0) :: else fi;
#if NS > 1
    if :: (set) & 2 -> warn(1) :: else fi
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

proctype Writer(byte id) {
    byte changes, gives_up, now;
#ifdef MARK_HAS_OLD_TICKET
    byte warned;
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
        section_begin(id);
        atomic { (document_lock & changes) == 0 -> document_lock = document_lock | changes };
        gives_up = history[published] & changes;
#ifndef ADDED_AFTER_PUBLISH
        each_add(changes & ~gives_up);
#endif
        if
        :: atomic { fails < NFAIL -> fails++ }; each_take_back(changes & ~gives_up); goto unlock
        :: true
        fi;
#ifdef MARKED_BEFORE_PUBLISH
        each_mark(gives_up);
#elif !defined(WARNED_AFTER_PUBLISH)
        each_warn(gives_up);
#endif
        d_step { history[published + 1] = history[published] ^ changes; published++ };
#ifdef ADDED_AFTER_PUBLISH
        each_add(changes & ~gives_up);
#endif
#ifdef WARNED_AFTER_PUBLISH
        each_warn(gives_up);
#endif
#ifdef UNLOCKED_BEFORE_MARK
        document_lock = document_lock & ~changes;
#endif
#ifdef MARKED_OUTSIDE_SECTION
        section_end(id);
#endif
#ifndef MARKED_BEFORE_PUBLISH
        each_mark(gives_up);
#endif
unlock: skip;
        d_step {
#ifndef UNLOCKED_BEFORE_MARK
            document_lock = document_lock & ~changes;
#endif
            changes = 0; gives_up = 0
        };
#ifndef MARKED_OUTSIDE_SECTION
        section_end(id)
#endif
    :: atomic { ops == NOPS -> done++; break }
    od
}

proctype Reader(byte id) {
    byte S, at_begin, is_there, is_marked, when, at;
    section_begin(id);
#ifdef SPAN_BEFORE_S
    at = span;
#endif
#ifdef EPOCH_AFTER_S
    S = published;
    at_begin = epoch;
#else
    at_begin = epoch;
    S = published;
#endif
#ifndef SPAN_BEFORE_S
    at = span;
#endif
#ifdef ARRAY
    d_step { is_there = there[at]; is_marked = marked[at]; when = touched[at] };
#else
#ifdef TOUCHED_BEFORE_ENTRIES
    when = touched[at];
#endif
#ifdef THERE_BEFORE_MARKED
    is_there = there[at];
    is_marked = marked[at];
#else
    is_marked = marked[at];
    is_there = there[at];
#endif
#ifndef TOUCHED_BEFORE_ENTRIES
    when = touched[at];
#endif
#endif
    d_step {
        assert((history[S] & ~is_there) == 0); /* nothing is missed */
        if :: at_begin >= when + SETTLED -> assert((is_there & ~is_marked) == history[S]) :: else fi;
        S = 0; at_begin = 0; is_there = 0; is_marked = 0; when = 0; at = 0;
        open = open & ~bit_of(id); observed[id] = 0; done++
    }
}

/* Takes away what may go, as a writer does before it marks; and replaces the span by a copy. */
proctype Sweeper() {
    byte gone;
end:
    do
    :: atomic { tag_lock == 0 && may_drop -> tag_lock = 1 };
        drop();
        tag_lock = 0
#if NCOPY > 0
    :: atomic {
        tag_lock == 0 && span < NCOPY && done < NW + NR ->
        d_step {
            there[span + 1] = there[span]; marked[span + 1] = marked[span];
#ifndef COPY_AT_REST
            touched[span + 1] = touched[span];
#endif
            span++
        }
       }
#endif
    :: atomic {
        done == NW + NR && tag_lock == 0 -> /* at rest */
        assert(live == history[published] && open == 0);
        epoch = epoch + GRACE;
        drop();
        assert(there[span] == history[published] && marked[span] == 0);
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
end:
    do
    :: atomic { epoch < EMAX && done < NW + NR && nobody_is_late -> epoch++ }
    od
}

init {
    byte i;
    d_step { history[0] = FIRST; there[0] = FIRST }
    atomic {
        run Sweeper();
        run Advancer();
        i = 0; do :: i < NR -> run Reader(i); i++ :: else -> break od;
        i = 0; do :: i < NW -> run Writer(NR + i); i++ :: else -> break od
    }
}
