/* build.pml - an index that is built while writers and readers go on.
 *
 * Claim    A section whose S is not below the index's ready seq R finds, from the moment at which it sees the
 *          ready schema, an entry for each document whose version at S has a value. At rest no live entry is left
 *          over. A commit gives up no entry that is not there. A unique index that is ready never has two current
 *          documents with one value; one that has failed had two at that moment.
 *          The definition is put in place with all shards locked, and a writer that has its locks looks again
 *          which schema there is. From then on every writer keeps the index: it adds what comes, and gives up what
 *          goes if it is there. The builder visits each slot that there was, under its shard's lock, and adds what
 *          the current version has. Writers that take a value which another one has, and the visit, note the slot
 *          as suspect, under the value's lock. When the walk is over and no suspect stands, all shards are locked
 *          again, and the index is ready from the last published commit on; a suspect that stands then makes it
 *          fail. There is room for NOTES suspects; where there was none, and none that was kept stands, the walk
 *          begins again, over all slots that there are by then.
 * Abstract A value is 1 or 2, 0 is none or no document. One operation a commit. Entries are never removed (marks.pml
 *          says when they may be); giving up makes them dead. All locks of a kind are taken at once.
 * Blind to Weak memory; failing commits; types that the index cannot hold; steps that have no memory; dropping.
 * Flags    NOPS commits by NW writers on NS documents, of which OLD slots were there at the definition, with the
 *          values FIRST (two bits each); NR sections; ROUNDS times the end is tried. UNIQUE: values are unique.
 *
 * BASE   plain               NOPS=2 NW=2 NR=1 NS=2 OLD=2 FIRST=5
 * BASE   plain_new_slots     NOPS=2 NW=2 NR=1 NS=2 OLD=1 FIRST=1
 * BASE   unique              NOPS=2 NW=2 NR=1 NS=2 OLD=2 FIRST=9 UNIQUE
 * BASE   unique_doubled      NOPS=2 NW=2 NR=0 NS=3 OLD=3 FIRST=21 UNIQUE
 * BASE   unique_few_notes    NOPS=3 NW=1 NR=0 NS=3 OLD=1 FIRST=0 UNIQUE NOTES=1
 * LONG   plain_three         NOPS=3 NW=2 NR=1 NS=3 OLD=2 FIRST=1
 * LONG   unique_three        NOPS=3 NW=2 NR=1 NS=3 OLD=3 FIRST=21 UNIQUE
 * LONG   unique_no_notes     NOPS=3 NW=2 NR=0 NS=3 OLD=1 FIRST=0 UNIQUE NOTES=0
 * MUTANT READY_AT_DEFINITION NOPS=1 NW=1 NR=1 NS=2 OLD=2 FIRST=5 : sections from the definition on use it
 * MUTANT READY_WITHOUT_LOCKS NOPS=2 NW=1 NR=1 NS=2 OLD=2 FIRST=0 UNIQUE : the end locks nothing: a value is taken beside it
 * MUTANT DEFINED_WITHOUT_LOCKS NOPS=1 NW=1 NR=0 NS=2 OLD=1 FIRST=1 : a writer is under way that does not know of it
 * MUTANT NO_RECHECK          NOPS=1 NW=1 NR=1 NS=2 OLD=2 FIRST=5 : a writer keeps what it had prepared for
 * MUTANT WRITERS_KEEP_FROM_READY NOPS=1 NW=1 NR=1 NS=2 OLD=2 FIRST=5 : writers keep the index when it is ready
 * MUTANT VISIT_WITHOUT_SHARD NOPS=1 NW=1 NR=1 NS=2 OLD=2 FIRST=5 : the builder reads a slot without its shard's lock
 * MUTANT VISIT_WITHOUT_VALUE NOPS=1 NW=1 NR=0 NS=2 OLD=1 FIRST=1 UNIQUE : the builder looks for others without the value's lock
 * MUTANT GIVES_UP_UNSEEN     NOPS=1 NW=1 NR=0 NS=2 OLD=2 FIRST=5 : a writer gives up what the builder has not added
 * MUTANT WRITER_DOES_NOT_NOTE NOPS=2 NW=1 NR=0 NS=2 OLD=2 FIRST=0 UNIQUE : a value is taken twice without a note
 * MUTANT VISIT_DOES_NOT_NOTE NOPS=0 NW=0 NR=0 NS=2 OLD=2 FIRST=5 UNIQUE : two had it before the definition
 * MUTANT NOTES_ARE_PAIRS     NOPS=1 NW=1 NR=0 NS=3 OLD=3 FIRST=21 UNIQUE : a suspect is asked about one other document only
 * MUTANT NOTED_IS_FAILED     NOPS=3 NW=1 NR=0 NS=2 OLD=2 FIRST=0 UNIQUE : it fails though no suspect stands
 * MUTANT EMPTY_SLOT_IS_CLEARED NOPS=2 NW=2 NR=0 NS=2 OLD=0 FIRST=0 UNIQUE : a suspect in an empty slot is cleared without its shard's lock
 * MUTANT LOST_NOTES          NOPS=3 NW=1 NR=0 NS=4 OLD=0 FIRST=0 UNIQUE NOTES=0 : a note for which there is no room is forgotten
 * MUTANT AGAIN_OVER_OLD_SLOTS NOPS=2 NW=1 NR=0 NS=2 OLD=0 FIRST=0 UNIQUE NOTES=0 : the second walk leaves new slots out
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
#define NS 2
#endif
#ifndef OLD
#define OLD NS
#endif
#ifndef FIRST
#define FIRST 5
#endif
#ifndef NOTES
#define NOTES NS
#endif
#ifndef ROUNDS
#define ROUNDS 3
#endif
#define ALL ((1 << NS) - 1)
#define bit_of(x) (1 << (x))
#define value_in(state, s) (((state) >> (2 * (s))) & 3)
#define with_value(state, s, v) (((state) & ~(3 << (2 * (s)))) | ((v) << (2 * (s))))
#define entry_of(s, v) (1 << (2 * (s) + (v) - 1))
#define value_bits(v) (((v) == 0) -> 0 : bit_of(v))

#define NONE 0
#define BUILDING 1
#define READY 2
#define FAILED 3

byte phase, ready_seq;
byte slot_lock, value_lock;
byte current = FIRST;   /* what the slots point to, published or not */
byte history[NOPS + 1]; /* seq -> values */
byte published;
byte given = OLD;     /* slots below it were given */
byte present, live;   /* entries (slot, value) */
byte notes, ops, done;
bit overflown;
#ifdef NOTES_ARE_PAIRS
byte partner[NS];
#endif

/* Whether the entry leads to another current document with the value. */
#define holds(t, s, v) ((t) != (s) && (present & entry_of(t, v)) && value_in(current, t) == (v))
#if NS > 3
#define other_has(s, v) (holds(0, s, v) || holds(1, s, v) || holds(2, s, v) || holds(3, s, v))
#elif NS > 2
#define other_has(s, v) (holds(0, s, v) || holds(1, s, v) || holds(2, s, v))
#else
#define other_has(s, v) (holds(0, s, v) || holds(1, s, v))
#endif
#define doubled(a, b) (value_in(current, a) != 0 && value_in(current, a) == value_in(current, b))
#if NS > 3
#define any_doubled (doubled(0, 1) || doubled(0, 2) || doubled(1, 2) || doubled(0, 3) || doubled(1, 3) || doubled(2, 3))
#elif NS > 2
#define any_doubled (doubled(0, 1) || doubled(0, 2) || doubled(1, 2))
#else
#define any_doubled doubled(0, 1)
#endif

#if NS > 3
#define note_count ((notes & 1) + ((notes >> 1) & 1) + ((notes >> 2) & 1) + ((notes >> 3) & 1))
#else
#define note_count ((notes & 1) + ((notes >> 1) & 1) + ((notes >> 2) & 1))
#endif
inline note(s, v) {
    if
    :: (notes & bit_of(s)) == 0 && note_count >= NOTES ->
#ifndef LOST_NOTES
        overflown = 1
#else
        skip
#endif
    :: else ->
        notes = notes | bit_of(s);
#ifdef NOTES_ARE_PAIRS
        if
        :: holds(0, s, v) -> partner[s] = 0
        :: !holds(0, s, v) && holds(1, s, v) -> partner[s] = 1
        :: else -> partner[s] = NS - 1
        fi
#endif
    fi
}

proctype Writer() {
    byte s, v, was, known, locked_values;
    do
    :: atomic {
        ops < NOPS -> ops++;
        if
        :: s = 0
        :: s = 1
#if NS > 2
        :: s = 2
#endif
#if NS > 3
        :: s = 3
#endif
        fi;
        if :: v = 0 :: v = 1 :: v = 2 fi
       };
again:
        known = phase;
        atomic { (slot_lock & bit_of(s)) == 0 -> slot_lock = slot_lock | bit_of(s) };
#ifndef NO_RECHECK
        if
        :: atomic { phase != known -> slot_lock = slot_lock & ~bit_of(s); known = 0 }; goto again
        :: atomic { else }
        fi;
#endif
#ifdef WRITERS_KEEP_FROM_READY
        if :: known == BUILDING -> known = NONE :: else fi;
#endif
        d_step {
            was = value_in(current, s);
            if :: s >= given -> given = s + 1 :: else fi
        };
        if :: atomic { was == v -> skip }; goto unlock :: atomic { else } fi;
        if
        :: known == BUILDING || known == READY ->
            atomic {
                (value_lock & (value_bits(v) | value_bits(was))) == 0 ->
                locked_values = value_bits(v) | value_bits(was);
                value_lock = value_lock | locked_values
            };
            if
            :: v != 0 ->
#ifdef UNIQUE
                if
                :: atomic { other_has(s, v) && known == READY -> skip }; goto unlock
                :: atomic { other_has(s, v) && known == BUILDING ->
#ifndef WRITER_DOES_NOT_NOTE
                    note(s, v)
#else
                    skip
#endif
                   }
                :: atomic { else }
                fi;
#endif
                d_step { present = present | entry_of(s, v); live = live | entry_of(s, v) }
            :: else
            fi
        :: else
        fi;
        d_step {
            current = with_value(current, s, v);
            if
            :: was != 0 && (known == BUILDING || known == READY) ->
#ifdef GIVES_UP_UNSEEN
                assert(live & entry_of(s, was));
#else
                assert(known == BUILDING || (live & entry_of(s, was)));
#endif
                live = live & ~entry_of(s, was)
            :: else
            fi
        };
        d_step { history[published + 1] = with_value(history[published], s, v); published++ };
unlock: skip;
        d_step {
#ifdef UNIQUE
            assert(phase != READY || !any_doubled);
#endif
            value_lock = value_lock & ~locked_values;
            slot_lock = slot_lock & ~bit_of(s);
            locked_values = 0; s = 0; v = 0; was = 0; known = 0
        }
    :: atomic { ops == NOPS -> done++; break }
    od
}

inline lock_all() { atomic { slot_lock == 0 && value_lock == 0 -> slot_lock = ALL; value_lock = 6 } }
inline unlock_all() { d_step { slot_lock = 0; value_lock = 0 } }

inline visit(s) {
#ifndef VISIT_WITHOUT_SHARD
    atomic { (slot_lock & bit_of(s)) == 0 -> slot_lock = slot_lock | bit_of(s) };
#endif
    v = value_in(current, s);
    if
    :: v != 0 ->
#ifndef VISIT_WITHOUT_VALUE
        atomic { (value_lock & bit_of(v)) == 0 -> value_lock = value_lock | bit_of(v) };
#endif
#ifdef UNIQUE
        suspect = other_has(s, v);
#ifndef VISIT_DOES_NOT_NOTE
        if :: atomic { suspect -> note(s, v) } :: atomic { else } fi;
#endif
#endif
        d_step { present = present | entry_of(s, v); live = live | entry_of(s, v); suspect = 0 };
#ifndef VISIT_WITHOUT_VALUE
        d_step { value_lock = value_lock & ~bit_of(v) }
#endif
    :: else
    fi;
    d_step {
        v = 0;
#ifndef VISIT_WITHOUT_SHARD
        slot_lock = slot_lock & ~bit_of(s)
#endif
    }
}

#ifdef NOTES_ARE_PAIRS
#define stands(s) (value_in(current, s) != 0 && value_in(current, partner[s]) == value_in(current, s))
#else
#define stands(s) (value_in(current, s) != 0 && other_has(s, value_in(current, s)))
#endif
#ifdef NOTED_IS_FAILED
#define still(s) ((notes >> (s)) & 1)
#else
#define still(s) (((notes >> (s)) & 1) && stands(s))
#endif
#if NS > 3
#define any_stands (still(0) || still(1) || still(2) || still(3))
#elif NS > 2
#define any_stands (still(0) || still(1) || still(2))
#else
#define any_stands (still(0) || still(1))
#endif

/* With the shards of slot and value locked. */
inline sift_one(s) {
#ifdef EMPTY_SLOT_IS_CLEARED
    d_step { if :: value_in(current, s) == 0 -> notes = notes & ~bit_of(s) :: else fi };
#endif
    atomic {
        ((notes >> s) & 1) == 0 || ((slot_lock & bit_of(s)) == 0 && (value_lock & value_bits(value_in(current, s))) == 0) ->
        if :: ((notes >> s) & 1) && !still(s) -> notes = notes & ~bit_of(s) :: else fi
    }
}

proctype Builder() {
    byte at, total, v, rounds;
    bit suspect;
#ifndef DEFINED_WITHOUT_LOCKS
    lock_all();
#endif
    d_step { phase = BUILDING; total = given; ready_seq = published };
#ifndef DEFINED_WITHOUT_LOCKS
    unlock_all();
#endif
walk:
    do
    :: at < total -> visit(at); at++
    :: else -> break
    od;
    sift_one(0); sift_one(1);
#if NS > 2
    sift_one(2);
#endif
#if NS > 3
    sift_one(3);
#endif
#ifndef READY_WITHOUT_LOCKS
    lock_all();
#endif
    if
    :: d_step { notes != 0 && any_stands -> assert(any_doubled); phase = FAILED }
    :: atomic { notes == 0 && !overflown ->
#ifdef READY_WITHOUT_LOCKS
        skip }; atomic {
#endif
#ifndef READY_AT_DEFINITION
        ready_seq = published;
#endif
        phase = READY;
#ifdef UNIQUE
        assert(!any_doubled)
#endif
       }
    :: atomic { notes == 0 && overflown ->
        overflown = 0; at = 0;
#ifndef AGAIN_OVER_OLD_SLOTS
        total = given
#endif
       }
    :: atomic { notes != 0 && !any_stands -> notes = 0 }
    fi;
#ifndef READY_WITHOUT_LOCKS
    unlock_all();
#endif
    if
    :: atomic { phase == BUILDING && rounds < ROUNDS -> rounds++ }; goto walk
    :: atomic { else }
    fi;
    atomic { at = 0; total = 0; rounds = 0; done++ }
}

#define found(s) (value_in(history[S], s) == 0 || (present & entry_of(s, value_in(history[S], s))))
proctype Reader() {
    byte S;
    S = published;
    /* The schema at S is loaded at any later time. */
    atomic {
        if
        :: phase == READY && S >= ready_seq ->
            assert(found(0) && found(1));
#if NS > 2
            assert(found(2));
#endif
#if NS > 3
            assert(found(3))
#endif
#ifdef READY_AT_DEFINITION
        :: phase == BUILDING && S >= ready_seq -> assert(found(0) && found(1))
#endif
        :: else
        fi;
        S = 0; done++
    }
}

#define live_of(s) ((live >> (2 * (s))) & 3)
proctype Rest() {
    byte s;
    atomic {
        done == NW + NR + 1 ->
        do
        :: s < NS ->
            assert(phase != READY || live_of(s) == (value_in(current, s) == 0 -> 0 : bit_of(value_in(current, s) - 1)));
            s++
        :: else -> break
        od
    }
}

init {
    byte i;
    d_step { history[0] = FIRST };
    atomic {
        run Rest();
        run Builder();
        i = 0; do :: i < NR -> run Reader(); i++ :: else -> break od;
        i = 0; do :: i < NW -> run Writer(); i++ :: else -> break od
    }
}
