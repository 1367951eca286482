/* unique.pml - one unique value between commits: taking it, giving it up, passing it on, swapping, reading it.
 *
 * Claim    There are never two live owners of a value, at any seq. A section finds exactly the owner at its S. What
 *          a commit has read of the value (an owner, or that there is none) still holds at its own seq. At rest
 *          the entries are exactly the owner's. Entries are (value, slot): several slots may stand under a value
 *          while old versions have it. A writer's check asks the current version of each such slot; the value's
 *          shard is locked from before the check until after publishing by everyone who takes it, gives it up,
 *          keeps it in a changed document, or has read it.
 * Abstract One value, two documents, each in a key shard of its own; a commit changes one or both. Pointers are
 *          swung while the seqs are infinite, before the publish lock (as in hints.pml). A grace period is the set
 *          of sections open when the version was retired.
 * Blind to Weak memory; probes in a table; values that share an entry (hints.pml); removal of documents (hints.pml).
 * Flags    NOPS commits, NW writers, NR readers, READS: commits may rely on what they read of the value.
 *
 * BASE   two_writers        NOPS=2 NW=2 NR=1
 * BASE   read_sets          NOPS=2 NW=2 NR=0 READS
 * BASE   three_commits      NOPS=3 NW=1 NR=1
 * LONG   three_read_sets    NOPS=3 NW=2 NR=0 READS
 * MUTANT ONE_ENTRY_A_VALUE      NOPS=1 NW=1 NR=1 : taking the value over replaces the entry of the old owner
 * MUTANT CHECK_AT_S             NOPS=2 NW=2 NR=0 : the writer asks the versions at its S, not the current ones
 * MUTANT UNLOCK_BEFORE_PUBLISH  NOPS=2 NW=2 NR=0 READS : the value's shard is unlocked before the commit publishes
 * MUTANT GIVEN_UP_NOT_LOCKED    NOPS=3 NW=2 NR=0 READS : a commit that only gives the value up does not lock its shard
 * MUTANT READ_NOT_LOCKED        NOPS=2 NW=2 NR=0 READS : a value that is read but not written is not locked
 * MUTANT REFUSES_UNTOUCHED_ONLY NOPS=2 NW=1 NR=0 : only an owner that the commit does not change refuses it
 * MUTANT WRITER_OUTSIDE_SECTION NOPS=3 NW=2 NR=0 : the writer follows the slots of the entries without a section
 * MUTANT READER_TESTS_CURRENT   NOPS=1 NW=1 NR=1 : a section tests the current version instead of the one at its S
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NOPS
#define NOPS 2
#endif
#ifndef NW
#define NW 2
#endif
#ifndef NR
#define NR 1
#endif
#define NS 2
#define NV (2 * NOPS + 3)
#define INFINITE 15
#define NQ 6
#define bit_of(s) (1 << (s))
/* What a commit does to a document. */
#define WITHOUT 0
#define WITH 1
#define UNTOUCHED 2

typedef Version { byte seq; byte prev; bit has; bit slot; bit freed };
Version V[NV];
byte version_last = 2;
byte cur[NS];
byte entries;       /* the slots listed under the value */
bit key_lock[NS];
bit value_lock;
bit publish_lock;
byte published = 1;
byte twin = 1;      /* the owners, as published */
byte sections;
byte ops, done, readers_begun;

typedef Queue { byte v[NQ]; byte waits[NQ]; byte n };
Queue fifo[NS];

inline retire(Q, vv) { d_step { assert(Q.n < NQ); Q.v[Q.n] = vv; Q.waits[Q.n] = sections; Q.n++ } }
inline take_first(Q) {
    i = 0;
    do
    :: i + 1 < Q.n -> Q.v[i] = Q.v[i + 1]; Q.waits[i] = Q.waits[i + 1]; i++
    :: else -> break
    od;
    Q.n--; Q.v[Q.n] = 0; Q.waits[Q.n] = 0; i = 0
}
inline no_longer_waits(Q, me) {
    i = 0;
    do
    :: i < Q.n -> Q.waits[i] = Q.waits[i] & ~(me); i++
    :: else -> break
    od;
    i = 0
}
inline leave(me) { sections = sections & ~(me); no_longer_waits(fifo[0], me); no_longer_waits(fifo[1], me) }

proctype Writer(byte id) {
    byte does[NS], old[NS], fresh[NS], i, t, x, n, S, read;
    bit reads, refuse, locks_value;
    do
    :: atomic {
        ops < NOPS -> ops++;
        if
        :: does[0] = WITHOUT; does[1] = UNTOUCHED
        :: does[0] = WITH; does[1] = UNTOUCHED
        :: does[0] = UNTOUCHED; does[1] = WITHOUT
        :: does[0] = UNTOUCHED; does[1] = WITH
        :: does[0] = WITHOUT; does[1] = WITHOUT
        :: does[0] = WITHOUT; does[1] = WITH
        :: does[0] = WITH; does[1] = WITHOUT
        :: does[0] = WITH; does[1] = WITH
        fi;
#ifdef READS
        if :: reads = 0 :: reads = 1 fi;
#endif
#ifndef WRITER_OUTSIDE_SECTION
        sections = sections | bit_of(id);
#endif
       }
        d_step { S = published; read = twin };
        /* Step 2, then 3: which values are concerned is known from the old and the new versions. */
        if :: does[0] != UNTOUCHED -> atomic { key_lock[0] == 0 -> key_lock[0] = 1 } :: else fi;
        if :: does[1] != UNTOUCHED -> atomic { key_lock[1] == 0 -> key_lock[1] = 1 } :: else fi;
        d_step {
            old[0] = cur[0]; old[1] = cur[1];
            locks_value = (does[0] == WITH || does[1] == WITH);
#ifndef GIVEN_UP_NOT_LOCKED
            if :: does[0] != UNTOUCHED && V[old[0]].has -> locks_value = 1 :: else fi;
            if :: does[1] != UNTOUCHED && V[old[1]].has -> locks_value = 1 :: else fi;
#endif
#ifndef READ_NOT_LOCKED
            if :: reads -> locks_value = 1 :: else fi;
#endif
        }
        if :: locks_value -> atomic { value_lock == 0 -> value_lock = 1 } :: else fi;
        /* Is there an owner that this commit leaves one, while it makes the other one too? */
        t = 0;
        do
        :: t < NS && ((entries >> t) & 1) ->
            x = cur[t]; /* perhaps of a slot whose key shard somebody else has locked */
            d_step {
                assert(!V[x].freed);
#ifdef CHECK_AT_S
                do :: V[x].seq > S -> x = V[x].prev :: else -> break od;
#endif
#ifdef REFUSES_UNTOUCHED_ONLY
                if :: V[x].has && does[t] == UNTOUCHED && does[1 - t] == WITH -> refuse = 1 :: else fi;
#else
                if :: V[x].has && does[t] != WITHOUT && does[1 - t] == WITH -> refuse = 1 :: else fi;
#endif
                x = 0; t++
            }
        :: t < NS && !((entries >> t) & 1) -> t++
        :: t == NS -> break
        od;
        t = 0;
#ifndef REFUSES_UNTOUCHED_ONLY
        if :: does[0] == WITH && does[1] == WITH -> refuse = 1 :: else fi;
#endif
        if
        :: reads ->
            d_step { if :: V[cur[0]].has + 2 * V[cur[1]].has != read -> refuse = 1 :: else fi }
        :: else
        fi;
        if
        :: refuse -> skip
        :: else ->
            d_step {
                t = 0;
                do
                :: t < NS ->
                    if
                    :: does[t] != UNTOUCHED ->
                        version_last++; fresh[t] = version_last;
                        V[fresh[t]].seq = INFINITE; V[fresh[t]].prev = old[t]; V[fresh[t]].has = does[t]; V[fresh[t]].slot = t
                    :: else
                    fi;
                    t++
                :: else -> break
                od;
                t = 0
            }
            /* Step 4. */
#ifdef ONE_ENTRY_A_VALUE
            if :: does[0] == WITH -> entries = 1 :: does[1] == WITH -> entries = 2 :: else fi;
#else
            if :: does[0] == WITH -> entries = entries | 1 :: else fi;
            if :: does[1] == WITH -> entries = entries | 2 :: else fi;
#endif
            /* The swing. */
            if :: does[0] != UNTOUCHED -> cur[0] = fresh[0] :: else fi;
            if :: does[1] != UNTOUCHED -> cur[1] = fresh[1] :: else fi;
#ifdef UNLOCK_BEFORE_PUBLISH
            if :: locks_value -> value_lock = 0 :: else fi;
#endif
            /* Step 5. */
            atomic { publish_lock == 0 -> publish_lock = 1; n = published + 1 };
            assert(!reads || read == twin);
            if :: does[0] != UNTOUCHED -> V[fresh[0]].seq = n :: else fi;
            if :: does[1] != UNTOUCHED -> V[fresh[1]].seq = n :: else fi;
            d_step {
                published = n; publish_lock = 0;
                if :: does[0] != UNTOUCHED -> twin = (twin & 2) | does[0] :: else fi;
                if :: does[1] != UNTOUCHED -> twin = (twin & 1) | (does[1] << 1) :: else fi;
                assert(twin != 3) /* never two owners */
            };
            d_step {
                if :: does[0] != UNTOUCHED -> retire(fifo[0], old[0]) :: else fi;
                if :: does[1] != UNTOUCHED -> retire(fifo[1], old[1]) :: else fi
            }
        fi;
#ifdef UNLOCK_BEFORE_PUBLISH
        if :: locks_value && refuse -> value_lock = 0 :: else fi;
#else
        if :: locks_value -> value_lock = 0 :: else fi;
#endif
        if :: does[1] != UNTOUCHED -> key_lock[1] = 0 :: else fi;
        if :: does[0] != UNTOUCHED -> key_lock[0] = 0 :: else fi;
        d_step {
            leave(bit_of(id));
            refuse = 0; reads = 0; locks_value = 0; read = 0; S = 0; n = 0; x = 0; t = 0;
            does[0] = 0; does[1] = 0; old[0] = 0; old[1] = 0; fresh[0] = 0; fresh[1] = 0
        }
    :: atomic { ops == NOPS -> done++; break }
    od
}

proctype Reader(byte id) {
    byte S, s, x, found, i, expected;
    atomic { readers_begun == id -> readers_begun++; sections = sections | bit_of(id) };
    d_step { S = published; expected = twin; s = 0 };
    do
    :: s < NS && ((entries >> s) & 1) ->
        x = cur[s];
        do
#ifdef READER_TESTS_CURRENT
        :: d_step { x != 0 -> assert(!V[x].freed); if :: V[x].has -> found = found | bit_of(s) :: else fi; x = 0 } break
#else
        :: d_step { x != 0 && V[x].seq > S -> assert(!V[x].freed); x = V[x].prev }
        :: d_step { x != 0 && V[x].seq <= S -> assert(!V[x].freed); if :: V[x].has -> found = found | bit_of(s) :: else fi; x = 0 } break
        :: x == 0 -> break
#endif
        od;
        s++
    :: s < NS && !((entries >> s) & 1) -> s++
    :: s == NS -> break
    od;
    skip;
    d_step { assert(found == expected); leave(bit_of(id)); S = 0; s = 0; found = 0; expected = 0 }
}

proctype Reclaimer() {
    byte v, s, x, i;
    bit newer_has;
end:
    do
    :: atomic {
        if
        :: fifo[0].n > 0 && fifo[0].waits[0] == 0 && key_lock[0] == 0 -> s = 0
        :: fifo[1].n > 0 && fifo[1].waits[0] == 0 && key_lock[1] == 0 -> s = 1
        fi;
        key_lock[s] = 1; v = fifo[s].v[0]; take_first(fifo[s])
       }
       d_step {
           newer_has = 0; x = cur[s];
           do
           :: x == v -> break
           :: else -> assert(x != 0 && !V[x].freed); if :: V[x].has -> newer_has = 1 :: else fi; x = V[x].prev
           od;
           x = 0
       }
       if
       :: V[v].has && !newer_has -> atomic { value_lock == 0 -> value_lock = 1 }; entries = entries & ~bit_of(s); value_lock = 0
       :: else
       fi;
       d_step {
           assert(!V[v].freed);
           V[v].freed = 1; V[v].seq = 0; V[v].prev = 0; V[v].has = 0; V[v].slot = 0;
           key_lock[s] = 0; v = 0; s = 0; newer_has = 0
       }
    :: atomic {
        done == NW && readers_begun == NR && sections == 0 && fifo[0].n == 0 && fifo[1].n == 0 && key_lock[0] == 0 && key_lock[1] == 0 ->
        assert(entries == twin); break
       }
    od
}

init {
    byte i;
    d_step { V[1].seq = 1; V[1].has = 1; V[2].seq = 1; V[2].slot = 1; cur[0] = 1; cur[1] = 2; entries = 1 }
    atomic {
        run Reclaimer();
        i = 0; do :: i < NW -> run Writer(NR + i); i++ :: else -> break od;
        i = 0; do :: i < NR -> run Reader(i); i++ :: else -> break od
    }
}
