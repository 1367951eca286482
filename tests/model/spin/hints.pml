/* hints.pml - versions, hints, tombstones, slot reuse and reclamation, with the early swing.
 *
 * Claim    A section sees exactly the state published at its S, by key and by value, and touches nothing that
 *          is freed. A hint stands exactly as long as some version that is not freed has a value with that
 *          entry. At rest everything superseded is freed and every free slot is listed.
 *          A commit swings slot and key entry while its version's seq is infinite, before the publish lock;
 *          under the publish lock it only takes the next seq, stamps, and publishes.
 *          An entry of a unique index is (tag, slot) in the table that the value's hash chooses: values 1 and 2
 *          share their entry, value 3 has the same tag but lives in another table.
 * Abstract Two keys, two slots, one index. A table is atomic per entry. A grace period is the set of sections
 *          that were open when the thing was retired. Sections of writers are left out: they only delay.
 * Blind to Weak memory (every step is sequentially consistent), probes inside a table, splits (split.pml),
 *          two unique owners (unique.pml), how grace is told (epoch.pml).
 * Flags    NOPS commits, NFAIL of them may fail, NW writers, NR readers, NSH key shards.
 *
 * BASE   one_writer          NOPS=3 NR=1
 * BASE   failing_commits     NOPS=2 NR=1 NFAIL=2
 * BASE   one_shard           NOPS=2 NR=1 NW=2
 * BASE   two_shards          NOPS=2 NR=1 NW=2 NSH=2
 * BASE   slot_free_early     NOPS=3 NR=1 SLOT_LISTED_AT_CLEARING
 * LONG   two_readers         NOPS=2 NR=2
 * LONG   failing_two_writers NOPS=2 NR=1 NW=2 NFAIL=2
 * LONG   failing_two_shards  NOPS=2 NR=1 NW=2 NSH=2 NFAIL=1
 * LONG   failing_three       NOPS=3 NR=1 NFAIL=1
 * LONG   failing_three_both  NOPS=3 NR=1 NW=2 NFAIL=1
 * MUTANT PUBLISH_BEFORE_STAMP     NOPS=2 NR=1 : published = seq is stored before the version's seq is stamped
 * MUTANT SEQ_UNSET_IS_ZERO        NOPS=2 NR=1 : pointers are swung to a version whose unset seq reads as 0
 * MUTANT RETIRE_BEFORE_PUBLISH    NOPS=2 NR=1 : the superseded version is queued before the seq is published
 * MUTANT UNLOCK_BEFORE_PUBLISH    NOPS=3 NR=1 NW=2 : the shard is unlocked after the swing, before publishing
 * MUTANT RETIRE_AFTER_UNLOCK      NOPS=3 NR=1 NW=2 : the superseded version is queued after unlocking
 * MUTANT NO_PUBLISH_LOCK          NOPS=2 NR=1 NW=2 NSH=2 : two commits take a seq and publish at once
 * MUTANT HINTS_AFTER_PUBLISH      NOPS=2 NR=1 : the hint is added after publishing
 * MUTANT HINT_BY_VALUE            NOPS=3 NR=1 : reclamation asks whether a newer version has the value
 * MUTANT HINT_BY_TAG_ONLY         NOPS=3 NR=1 : it asks by tag and forgets the table
 * MUTANT HINT_BY_CURRENT          NOPS=4 NR=1 : it asks the current version only
 * MUTANT UNDO_BY_VALUE            NOPS=2 NR=1 NFAIL=1 : undo keeps the hint only if the version before has the value
 * MUTANT UNDO_DROPS_ALL           NOPS=2 NR=1 NFAIL=1 : undo drops the hint whether it was added or found
 * MUTANT UNDO_FREES_AT_ONCE       NOPS=2 NR=1 NFAIL=1 : the version behind a new key entry is freed without grace
 * MUTANT RETIRE_LIFO              NOPS=3 NR=1 : the newest of the queue is reclaimed first
 * MUTANT RECLAIM_WITHOUT_LOCK     NOPS=3 NR=1 : reclamation does not take the shard lock
 * MUTANT TOMBSTONE_IN_ONE_EVENT   NOPS=2 NR=1 : a tombstone is freed together with its key entry
 * MUTANT TOMBSTONE_UNCHECKED      NOPS=3 NR=1 : its entry does not ask whether it is still current
 * MUTANT TOMBSTONE_FREED_BY_FIRST NOPS=3 NR=1 : its first entry frees it when a re-insertion superseded it
 * MUTANT S_BEFORE_SECTION         NOPS=2 NR=1 : S is noted before the section is open
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NOPS
#define NOPS 3
#endif
#ifndef NFAIL
#define NFAIL 0
#endif
#ifndef NR
#define NR 1
#endif
#ifndef NSH
#define NSH 1
#endif
#ifndef NW
#define NW 1
#endif

#define INFINITE 15
#define NS 2 /* slots */
#define NK 2 /* keys */
#define NV (NOPS + 2)
#define NQ 10
#define SUPERSEDED 0
#define TOMBSTONE 1
#define bit_of(x) (1 << (x))

/* The entry of a value: values 1 and 2 share one, 3 has its own. A value 0 is a removed document. */
#define entry_of(val) ((val) == 0 -> 0 : ((val) == 3 -> 2 : 1))

#ifdef SEQ_UNSET_IS_ZERO
#define UNSET 0
#else
#define UNSET INFINITE
#endif

/* What reclamation asks of a newer version. */
#if defined(HINT_BY_VALUE)
#define keeps(newer, val) ((newer) == (val))
#elif defined(HINT_BY_TAG_ONLY)
#define keeps(newer, val) ((newer) != 0)
#else
#define keeps(newer, val) (entry_of(newer) == entry_of(val))
#endif

typedef Version { byte seq; byte prev; byte val; bit key; bit slot; bit freed };
Version V[NV];
byte version_last = 1;

byte cur[NS];      /* slot -> version */
byte key_entry[NK];/* key -> version */
byte hint[3];      /* entry -> set of slots */
byte slots_free = 2;
bit shard_lock[NSH];
bit publish_lock;
byte published = 1;
byte last = 1;
byte sections;     /* the open ones */

/* The twin: value + 4 * key of each slot, as published. */
byte twin[NS];

byte ops, fails, writers_done, readers_begun;

/* A queue of retired versions; waits[i]: the sections that must end first. */
typedef Queue { byte v[NQ]; bit kind[NQ]; byte waits[NQ]; byte n };
Queue fifo[NSH];
Queue limbo; /* the second grace of tombstones; kind 1: the slot becomes free too */

inline free_version(vv) {
    d_step { assert(!V[vv].freed); V[vv].freed = 1; V[vv].seq = 0; V[vv].prev = 0; V[vv].val = 0; V[vv].key = 0; V[vv].slot = 0 }
}
inline retire(Q, vv, kk) {
    d_step { assert(Q.n < NQ); Q.v[Q.n] = vv; Q.kind[Q.n] = kk; Q.waits[Q.n] = sections; Q.n++ }
}
inline take_out(Q, at) {
    i = at;
    do
    :: i + 1 < Q.n -> Q.v[i] = Q.v[i + 1]; Q.kind[i] = Q.kind[i + 1]; Q.waits[i] = Q.waits[i + 1]; i++
    :: else -> break
    od;
    Q.n--; Q.v[Q.n] = 0; Q.kind[Q.n] = 0; Q.waits[Q.n] = 0; i = 0
}
inline no_longer_waits(Q, me) {
    i = 0;
    do
    :: i < Q.n -> Q.waits[i] = Q.waits[i] & ~(me); i++
    :: else -> break
    od;
    i = 0
}
inline section_end(me) {
    sections = sections & ~(me);
    no_longer_waits(fifo[0], me);
#if NSH > 1
    no_longer_waits(fifo[1], me);
#endif
    no_longer_waits(limbo, me)
}

/* A hint stands if and only if a version that is not freed has such a value (shard lock held). */
inline check_hints(ss) {
    d_step {
        x = cur[ss]; i = 0;
        do
        :: x != 0 && !V[x].freed -> i = i | bit_of(entry_of(V[x].val)); x = V[x].prev
        :: else -> break
        od;
        assert(((hint[1] >> ss) & 1) == ((i >> 1) & 1));
        assert(((hint[2] >> ss) & 1) == ((i >> 2) & 1));
        i = 0; x = 0
    }
}
inline publish(ss) { atomic { published = n; twin[ss] = (val == 0 -> 0 : val + 4 * k) } }

proctype Writer() {
    byte v, old, val, n, i, x;
    byte k, s, sh;
    bit added;
    do
    :: atomic {
        ops < NOPS && (shard_lock[0] == 0 || shard_lock[NSH - 1] == 0) ->
        if :: k = 0 :: k = 1 fi;
        sh = k % NSH;
        old = key_entry[k];
        if
        :: shard_lock[sh] -> k = 0; sh = 0; old = 0; goto next
        :: else
        fi;
        if :: val = 1 :: val = 2 :: val = 3 :: old != 0 && V[old].val != 0 -> val = 0 fi;
        if
        :: old == 0 ->
            if
            :: (slots_free & 1) && sh == 0 -> s = 0
            :: (slots_free & 2) && sh == 1 % NSH -> s = 1
            :: else -> val = 0; k = 0; sh = 0; goto next
            fi;
            slots_free = slots_free & ~bit_of(s)
        :: else -> s = V[old].slot
        fi;
        ops++;
        shard_lock[sh] = 1;
        version_last++; v = version_last;
        V[v].seq = UNSET; V[v].prev = old; V[v].val = val; V[v].key = k; V[v].slot = s
       }
        /* Step 4: hints, and the key entry of a new document. */
#ifndef HINTS_AFTER_PUBLISH
        d_step {
            if
            :: val > 0 && !((hint[entry_of(val)] >> s) & 1) -> hint[entry_of(val)] = hint[entry_of(val)] | bit_of(s); added = 1
            :: else
            fi
        }
#endif
        if :: old == 0 -> key_entry[k] = v :: else fi;
        if
        :: atomic { fails < NFAIL -> fails++ }; goto undo
        :: true
        fi;
        /* Nothing can fail from here on. The swing, while the seq is infinite. */
        cur[s] = v;
        if :: old != 0 -> key_entry[k] = v :: else fi;
#ifdef UNLOCK_BEFORE_PUBLISH
        shard_lock[sh] = 0;
#endif
#ifdef RETIRE_BEFORE_PUBLISH
        if :: old != 0 -> retire(fifo[sh], old, SUPERSEDED) :: else fi;
#endif
        /* Step 5. */
#ifdef NO_PUBLISH_LOCK
        n = last + 1;
        last = n;
#else
        atomic { publish_lock == 0 -> publish_lock = 1; n = last + 1; last = n }
#endif
#ifdef PUBLISH_BEFORE_STAMP
        publish(s);
        V[v].seq = n;
#else
        V[v].seq = n;
        publish(s);
#endif
        publish_lock = 0;
#ifdef HINTS_AFTER_PUBLISH
        d_step { if :: val > 0 -> hint[entry_of(val)] = hint[entry_of(val)] | bit_of(s) :: else fi }
#endif
        /* Step 6: queue, then unlock. */
#ifdef RETIRE_AFTER_UNLOCK
        shard_lock[sh] = 0;
#endif
        atomic {
#ifndef RETIRE_BEFORE_PUBLISH
#ifdef TOMBSTONE_FREED_BY_FIRST
            if :: old != 0 && V[old].val != 0 -> retire(fifo[sh], old, SUPERSEDED) :: else fi;
#else
            if :: old != 0 -> retire(fifo[sh], old, SUPERSEDED) :: else fi;
#endif
#endif
            if :: val == 0 -> retire(fifo[sh], v, TOMBSTONE) :: else fi
        }
        goto unlock;

undo:   /* Exactly what was newly added goes; what was reachable is freed after grace. */
        if :: old == 0 -> key_entry[k] = 0 :: else fi;
        d_step {
#if defined(UNDO_DROPS_ALL)
            if :: val > 0 -> hint[entry_of(val)] = hint[entry_of(val)] & ~bit_of(s) :: else fi;
#elif defined(UNDO_BY_VALUE)
            if :: val > 0 && (old == 0 || V[old].val != val) -> hint[entry_of(val)] = hint[entry_of(val)] & ~bit_of(s) :: else fi;
#else
            if :: added -> hint[entry_of(val)] = hint[entry_of(val)] & ~bit_of(s) :: else fi;
#endif
        }
        check_hints(s);
        atomic {
#ifdef UNDO_FREES_AT_ONCE
            free_version(v);
            if :: old == 0 -> slots_free = slots_free | bit_of(s) :: else fi
#else
            if :: old == 0 -> retire(limbo, v, 1) :: else -> free_version(v) fi
#endif
        }
unlock: skip;
        atomic {
#if !defined(RETIRE_AFTER_UNLOCK) && !defined(UNLOCK_BEFORE_PUBLISH)
            shard_lock[sh] = 0;
#endif
            v = 0; old = 0; n = 0; added = 0; k = 0; s = 0; val = 0; sh = 0
        };
next:   skip
    :: atomic { ops == NOPS -> writers_done++; break }
    od
}

proctype Reader(byte id) {
    byte S, set, s, x, val, found, i;
    bit k;
    byte held[NS], expected[NS];
#ifdef S_BEFORE_SECTION
    d_step { readers_begun == id -> readers_begun++; S = published; expected[0] = twin[0]; expected[1] = twin[1] };
    sections = sections | bit_of(id);
#else
    atomic { readers_begun == id -> readers_begun++; sections = sections | bit_of(id) };
    d_step { S = published; expected[0] = twin[0]; expected[1] = twin[1] };
#endif
    if
    :: val = 1; goto by_value
    :: val = 2; goto by_value
    :: val = 3; goto by_value
    :: k = 0; goto by_key
    :: k = 1; goto by_key
    fi;
by_value: skip;
    d_step { set = hint[entry_of(val)]; s = 0 }
    do
    :: s < NS && ((set >> s) & 1) ->
        x = cur[s];
        do
        :: d_step { x != 0 && V[x].seq > S -> assert(!V[x].freed); x = V[x].prev }
        :: d_step {
            x != 0 && V[x].seq <= S -> assert(!V[x].freed);
            if :: V[x].val == val -> found = found | bit_of(s) :: else fi;
            held[s] = x; assert(V[x].key == expected[s] / 4 || V[x].val == 0); x = 0 }
           break
        :: x == 0 -> break
        od;
        s++
    :: s < NS && !((set >> s) & 1) -> s++
    :: s == NS -> break
    od;
    skip;
    d_step {
        s = 0;
        do
        :: s < NS -> assert(((found >> s) & 1) == ((expected[s] & 3) == val)); s++
        :: else -> break
        od;
        s = 0
    }
    goto leave;
by_key: skip;
    x = key_entry[k];
    do
    :: d_step { x != 0 && V[x].seq > S -> assert(!V[x].freed); x = V[x].prev }
    :: d_step {
        x != 0 && V[x].seq <= S -> assert(!V[x].freed);
        if :: V[x].val != 0 -> found = V[x].val; held[0] = x; assert(V[x].key == k) :: else fi;
        x = 0 }
       break
    :: x == 0 -> break
    od;
    skip;
    d_step {
        i = 0;
        if :: expected[0] != 0 && expected[0] / 4 == k -> i = expected[0] & 3 :: else fi;
        if :: expected[1] != 0 && expected[1] / 4 == k -> i = expected[1] & 3 :: else fi;
        assert(found == i); i = 0
    }
leave: skip;
    d_step {
        assert(held[0] == 0 || !V[held[0]].freed); assert(held[1] == 0 || !V[held[1]].freed);
        section_end(bit_of(id));
        S = 0; set = 0; s = 0; x = 0; val = 0; found = 0; held[0] = 0; held[1] = 0; expected[0] = 0; expected[1] = 0
    }
}

#ifdef RETIRE_LIFO
#define NEXT(sh) (fifo[sh].n - 1)
#else
#define NEXT(sh) 0
#endif
#ifdef TOMBSTONE_UNCHECKED
#define still_current true
#else
#define still_current (cur[s] == v)
#endif

proctype Reclaimer(byte sh) {
    byte v, s, x, i;
    bit kind, newer_has;
end:
    do
    :: atomic {
#ifdef RECLAIM_WITHOUT_LOCK
        fifo[sh].n > 0 && fifo[sh].waits[NEXT(sh)] == 0 ->
#else
        fifo[sh].n > 0 && fifo[sh].waits[NEXT(sh)] == 0 && shard_lock[sh] == 0 -> shard_lock[sh] = 1;
#endif
        d_step { v = fifo[sh].v[NEXT(sh)]; kind = fifo[sh].kind[NEXT(sh)]; take_out(fifo[sh], NEXT(sh)); s = V[v].slot }
       }
       if
       :: kind == SUPERSEDED ->
            d_step {
                newer_has = 0;
#ifdef HINT_BY_CURRENT
                newer_has = keeps(V[cur[s]].val, V[v].val);
#else
                x = cur[s];
                do
                :: x == v -> break
                :: else ->
                    assert(x != 0); assert(!V[x].freed);
                    if :: keeps(V[x].val, V[v].val) -> newer_has = 1 :: else fi;
                    x = V[x].prev
                od;
                x = 0
#endif
            }
            if
            :: V[v].val > 0 && !newer_has -> hint[entry_of(V[v].val)] = hint[entry_of(V[v].val)] & ~bit_of(s)
            :: else
            fi;
            free_version(v)
       :: kind == TOMBSTONE ->
            if
            :: still_current ->
                key_entry[V[v].key] = 0;
                cur[s] = 0;
#if defined(TOMBSTONE_IN_ONE_EVENT)
                atomic { free_version(v); slots_free = slots_free | bit_of(s) }
#elif defined(SLOT_LISTED_AT_CLEARING)
                atomic { retire(limbo, v, 0); slots_free = slots_free | bit_of(s) }
#else
                retire(limbo, v, 1)
#endif
            :: else ->
#ifdef TOMBSTONE_FREED_BY_FIRST
                free_version(v)
#else
                skip
#endif
            fi
       fi;
       atomic {
           check_hints(s);
#ifndef RECLAIM_WITHOUT_LOCK
           shard_lock[sh] = 0;
#endif
           v = 0; s = 0; kind = 0; newer_has = 0
       }
    :: atomic {
        sh == 0 && limbo.n > 0 && limbo.waits[0] == 0 ->
        d_step {
            v = limbo.v[0]; s = V[v].slot; free_version(v);
            if :: limbo.kind[0] -> slots_free = slots_free | bit_of(s) :: else fi;
            take_out(limbo, 0); v = 0; s = 0
        }
       }
    :: atomic {
        sh == 0 && writers_done == NW && sections == 0 && readers_begun == NR && limbo.n == 0 && fifo[0].n == 0 &&
            shard_lock[0] == 0 && fifo[NSH - 1].n == 0 && shard_lock[NSH - 1] == 0 ->
        /* At rest. */
        d_step {
            s = 0;
            do
            :: s < NS ->
                assert(((hint[1] >> s) & 1) == ((twin[s] & 3) == 1 || (twin[s] & 3) == 2));
                assert(((hint[2] >> s) & 1) == ((twin[s] & 3) == 3));
                assert((cur[s] == 0) == (twin[s] == 0));
                assert((cur[s] == 0) == ((slots_free >> s) & 1));
                assert(cur[s] == 0 || V[cur[s]].val != 0);
                s++
            :: else -> break
            od;
            i = 2;
            do
            :: i <= version_last -> assert(V[i].freed || cur[V[i].slot] == i); i++
            :: else -> break
            od;
            i = 0; s = 0
        }
        break
       }
    od
}

init {
    byte i;
    d_step {
        V[1].seq = 1; V[1].val = 1; V[1].key = 0; V[1].slot = 0;
        cur[0] = 1; key_entry[0] = 1; hint[1] = 1; twin[0] = 1
    }
    atomic {
        run Reclaimer(0);
#if NSH > 1
        run Reclaimer(1);
#endif
        i = 0; do :: i < NW -> run Writer(); i++ :: else -> break od;
        i = 0; do :: i < NR -> run Reader(i); i++ :: else -> break od
    }
}
