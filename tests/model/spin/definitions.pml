/* definitions.pml - truncate and drop as commits: a collection's root is versioned by seq as documents are.
 *
 * Claim    A section sees, by key, exactly the state published at its S, also when a truncate falls into it: it
 *          takes the root at its S, and goes on reading that. A truncate locks all shards of the old root (key
 *          shards, then unique shards), swings the root while its seq is infinite, publishes, and retires the old
 *          root; its documents are freed in steps after grace. A writer holds a section while it uses a root, and
 *          finds after locking whether the root changed; then it starts over with the new one. No write goes to a
 *          root that is no longer, or not yet, current at its own seq; what a commit has read as absent by unique
 *          value is still absent at its seq.
 *          The shards of the new root are born locked by the truncate, which unlocks them after publishing; or
 *          (ROOT_AT_S) a writer takes, each time that it starts, the root that its fresh S shows, and compares it
 *          with the newest after locking; or (SWING_IN_PUBLISH) the root is swung under the publish lock, so that
 *          who finds the new root gets a later seq. One of the three is needed.
 * Abstract Two keys, each in a key shard of its own; documents under key 1 have a value, which one unique shard of
 *          each root guards. Puts only: removal and hints are in hints.pml. A drop is a truncate here, whose
 *          new root refuses everything. A grace period is the set of sections open when the thing was retired.
 * Blind to Weak memory; schema changes that keep the documents; several collections.
 * Flags    NOPS writes (put, or commit that relies on absence), NTRUNC truncates, NW writers, NR readers,
 *          ABSENCE: commits that rely on absence take part.
 *
 * BASE   one_truncate       NOPS=2 NTRUNC=1 NW=1 NR=1
 * BASE   two_truncates      NOPS=1 NTRUNC=2 NW=1 NR=1
 * BASE   two_writers        NOPS=2 NTRUNC=1 NW=2 NR=0
 * BASE   absence            NOPS=2 NTRUNC=1 NW=2 NR=0 ABSENCE
 * BASE   root_at_s          NOPS=2 NTRUNC=1 NW=1 NR=1 ROOT_AT_S
 * BASE   swing_in_publish   NOPS=2 NTRUNC=1 NW=1 NR=1 SWING_IN_PUBLISH
 * BASE   swing_in_publish_absence NOPS=2 NTRUNC=1 NW=2 NR=0 SWING_IN_PUBLISH ABSENCE
 * BASE   root_at_s_absence  NOPS=2 NTRUNC=1 NW=2 NR=0 ROOT_AT_S ABSENCE
 * LONG   two_writers_read   NOPS=2 NTRUNC=1 NW=2 NR=1
 * LONG   two_of_each        NOPS=2 NTRUNC=2 NW=1 NR=1 ABSENCE
 * LONG   root_at_s_long     NOPS=2 NTRUNC=2 NW=2 NR=0 ROOT_AT_S ABSENCE
 * MUTANT NO_RECHECK           NOPS=1 NTRUNC=1 NW=1 NR=1 : the writer does not look again at the root after locking
 * MUTANT TRUNCATE_LOCKS_ONE   NOPS=1 NTRUNC=1 NW=1 NR=1 : truncate does not lock all key shards of the old root
 * MUTANT TRUNCATE_SKIPS_UNIQUE NOPS=2 NTRUNC=1 NW=2 NR=0 ABSENCE : truncate locks the key shards only, not the unique ones
 * MUTANT RECHECK_BEFORE_UNIQUE NOPS=2 NTRUNC=1 NW=2 NR=0 ABSENCE : the writer looks at the root between its key and its unique locks
 * MUTANT NEW_ROOT_UNLOCKED    NOPS=1 NTRUNC=1 NW=1 NR=1 : the new root's shards are free before its seq is published
 * MUTANT NO_GRACE_FOR_ROOT    NOPS=1 NTRUNC=1 NW=1 NR=1 : the old root is freed without grace
 * MUTANT WRITER_WITHOUT_SECTION NOPS=1 NTRUNC=1 NW=1 NR=0 : the writer holds no section while it uses a root
 * MUTANT READER_TAKES_NEWEST  NOPS=1 NTRUNC=1 NW=1 NR=1 : a section reads the newest root instead of the one at its S
 * MUTANT ROOT_SEQ_UNSET       NOPS=1 NTRUNC=1 NW=1 NR=1 : the root is swung while its unset seq reads as 0
 * MUTANT ROOT_RETIRED_EARLY   NOPS=1 NTRUNC=1 NW=1 NR=1 : the old root is retired before the new one is published
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NOPS
#define NOPS 2
#endif
#ifndef NTRUNC
#define NTRUNC 1
#endif
#ifndef NW
#define NW 1
#endif
#ifndef NR
#define NR 1
#endif
#define INFINITE 15
#define NK 2
#define NROOT (NTRUNC + 2)
#define NV (NOPS + 2)
#define NQ 6
#define VERSION 0
#define ROOT 1
#define bit_of(x) (1 << (x))

typedef Version { byte seq; byte prev; byte root; bit freed };
Version V[NV];
byte version_last = 1;

typedef Root { byte seq; byte prev; byte entry[NK]; bit locked[NK]; bit unique_locked; bit freed };
Root R[NROOT];
byte root_last = 1;
byte root = 1;     /* the newest one */

bit publish_lock;
byte published = 1;
byte sections;
byte twin[NK];     /* the version of each key, as published; 0: none */
byte ops, truncates, done, readers_begun;

/* Superseded versions of all roots, and roots: in the order in which they were retired. */
typedef Queue { byte what[NQ]; bit kind[NQ]; byte waits[NQ]; byte n };
Queue limbo;

inline retire(ww, kk) {
    d_step { assert(limbo.n < NQ); limbo.what[limbo.n] = ww; limbo.kind[limbo.n] = kk; limbo.waits[limbo.n] = sections; limbo.n++ }
}
inline take_first() {
    i = 0;
    do
    :: i + 1 < limbo.n -> limbo.what[i] = limbo.what[i + 1]; limbo.kind[i] = limbo.kind[i + 1]; limbo.waits[i] = limbo.waits[i + 1]; i++
    :: else -> break
    od;
    limbo.n--; limbo.what[limbo.n] = 0; limbo.kind[limbo.n] = 0; limbo.waits[limbo.n] = 0; i = 0
}
inline leave(me) {
    sections = sections & ~(me);
    i = 0;
    do
    :: i < limbo.n -> limbo.waits[i] = limbo.waits[i] & ~(me); i++
    :: else -> break
    od;
    i = 0
}
inline free_version(vv) { d_step { assert(!V[vv].freed); V[vv].freed = 1; V[vv].seq = 0; V[vv].prev = 0 } }
inline lock_key(rr, kk) { atomic { R[rr].locked[kk] == 0 -> assert(!R[rr].freed); R[rr].locked[kk] = 1 } }
inline lock_unique(rr) { atomic { R[rr].unique_locked == 0 -> assert(!R[rr].freed); R[rr].unique_locked = 1 } }

#ifdef ABSENCE
#define may_rely_on_absence true
#else
#define may_rely_on_absence false
#endif

/* A commit that puts key k, or (absent) one that relies on no document having the value. */
proctype Writer(byte id) {
    byte r, v, old, n, i;
    bit k, absent, refused;
    do
    :: atomic {
        ops < NOPS -> ops++;
        if :: k = 0 :: k = 1 :: may_rely_on_absence -> absent = 1 fi
       }
again:
#ifndef WRITER_WITHOUT_SECTION
        sections = sections | bit_of(id);
#endif
#ifdef ROOT_AT_S
        n = published;
        r = root;
        do
        :: d_step { R[r].seq > n -> assert(!R[r].freed); r = R[r].prev }
        :: d_step { R[r].seq <= n -> assert(!R[r].freed); n = 0 } break
        od;
#else
        r = root;
#endif
        if :: !absent -> lock_key(r, k) :: else fi;
#ifndef RECHECK_BEFORE_UNIQUE
        if :: absent || k == 1 -> lock_unique(r) :: else fi; /* both have to do with the value */
#endif
#ifndef NO_RECHECK
        if
        :: root != r ->
#ifndef RECHECK_BEFORE_UNIQUE
            if :: absent || k == 1 -> R[r].unique_locked = 0 :: else fi;
#endif
            if :: !absent -> R[r].locked[k] = 0 :: else fi;
            atomic { r = 0; d_step { leave(bit_of(id)) } };
            goto again
        :: else
        fi;
#endif
#ifdef RECHECK_BEFORE_UNIQUE
        if :: absent || k == 1 -> lock_unique(r) :: else fi;
#endif
        if
        :: absent ->
            d_step { refused = (R[r].entry[1] != 0) };
            if
            :: !refused ->
                atomic { publish_lock == 0 -> publish_lock = 1 };
                n = published + 1;
                d_step { assert(twin[1] == 0); published = n; publish_lock = 0 }
            :: else
            fi
        :: else ->
            d_step {
                old = R[r].entry[k]; version_last++; v = version_last;
                V[v].seq = INFINITE; V[v].prev = old; V[v].root = r
            };
            R[r].entry[k] = v;
            atomic { publish_lock == 0 -> publish_lock = 1 };
            n = published + 1;
            V[v].seq = n;
            d_step { published = n; twin[k] = v; publish_lock = 0 };
            if :: old != 0 -> retire(old, VERSION) :: else fi
        fi;
        if :: absent || k == 1 -> R[r].unique_locked = 0 :: else fi;
        if :: !absent -> R[r].locked[k] = 0 :: else fi;
        atomic {
            d_step { leave(bit_of(id)) };
            r = 0; v = 0; old = 0; n = 0; k = 0; absent = 0; refused = 0
        }
    :: atomic { ops == NOPS -> done++; break }
    od
}

proctype Truncater(byte id) {
    byte r, fresh, n, i;
    do
    :: truncates < NTRUNC ->
        truncates++;
        sections = sections | bit_of(id);
        r = root;   /* definitions exclude each other: nobody else changes it */
#ifndef TRUNCATE_LOCKS_ONE
        lock_key(r, 0);
#endif
        lock_key(r, 1);
#ifndef TRUNCATE_SKIPS_UNIQUE
        lock_unique(r);
#endif
        d_step {
            root_last++; fresh = root_last;
            R[fresh].seq = INFINITE; R[fresh].prev = r;
#if !defined(NEW_ROOT_UNLOCKED) && !defined(ROOT_AT_S) && !defined(SWING_IN_PUBLISH)
            R[fresh].locked[0] = 1; R[fresh].locked[1] = 1; R[fresh].unique_locked = 1;
#endif
#ifdef ROOT_SEQ_UNSET
            R[fresh].seq = 0;
#endif
        };
#ifndef SWING_IN_PUBLISH
        root = fresh;
#endif
#ifdef ROOT_RETIRED_EARLY
        retire(r, ROOT);
#endif
        atomic { publish_lock == 0 -> publish_lock = 1 };
#ifdef SWING_IN_PUBLISH
        root = fresh;
#endif
        n = published + 1;
        R[fresh].seq = n;
        d_step { published = n; twin[0] = 0; twin[1] = 0; publish_lock = 0 };
#ifdef NO_GRACE_FOR_ROOT
        d_step { retire(r, ROOT); limbo.waits[limbo.n - 1] = 0 };
#elif !defined(ROOT_RETIRED_EARLY)
        retire(r, ROOT);
#endif
#if !defined(NEW_ROOT_UNLOCKED) && !defined(ROOT_AT_S) && !defined(SWING_IN_PUBLISH)
        R[fresh].unique_locked = 0; R[fresh].locked[1] = 0; R[fresh].locked[0] = 0;
#endif
#ifndef TRUNCATE_SKIPS_UNIQUE
        R[r].unique_locked = 0;
#endif
        R[r].locked[1] = 0;
#ifndef TRUNCATE_LOCKS_ONE
        R[r].locked[0] = 0;
#endif
        atomic { d_step { leave(bit_of(id)) }; r = 0; fresh = 0; n = 0 }
    :: atomic { truncates == NTRUNC -> done++; break }
    od
}

proctype Reader(byte id) {
    byte S, r, x, i;
    bit k;
    byte expected[NK];
    atomic { readers_begun == id -> readers_begun++; sections = sections | bit_of(id) };
    d_step { S = published; expected[0] = twin[0]; expected[1] = twin[1] };
    r = root;
#ifndef READER_TAKES_NEWEST
    do
    :: d_step { R[r].seq > S -> assert(!R[r].freed); r = R[r].prev; assert(r != 0) }
    :: d_step { R[r].seq <= S -> assert(!R[r].freed) } break
    od;
#endif
    if :: k = 0 :: k = 1 fi;
    d_step { assert(!R[r].freed); x = R[r].entry[k]; r = 0 };
    do
    :: d_step { x != 0 && V[x].seq > S -> assert(!V[x].freed); x = V[x].prev }
    :: d_step { x != 0 && V[x].seq <= S -> assert(!V[x].freed) } break
    :: x == 0 -> break
    od;
    assert(x == expected[k]);
    d_step {
        assert(x == 0 || !V[x].freed);
        leave(bit_of(id)); S = 0; x = 0; expected[0] = 0; expected[1] = 0
    }
}

proctype Reclaimer() {
    byte w, i;
end:
    do
    :: atomic {
        limbo.n > 0 && limbo.waits[0] == 0 && limbo.kind[0] == VERSION ->
        d_step { w = limbo.what[0]; assert(!R[V[w].root].freed); free_version(w); take_first(); w = 0 }
       }
    :: atomic { limbo.n > 0 && limbo.waits[0] == 0 && limbo.kind[0] == ROOT -> d_step { w = limbo.what[0]; take_first() } };
        /* In steps: its documents, then itself. What its queue held was retired earlier and is gone. */
        d_step { if :: R[w].entry[0] != 0 -> free_version(R[w].entry[0]); R[w].entry[0] = 0 :: else fi };
        d_step { if :: R[w].entry[1] != 0 -> free_version(R[w].entry[1]); R[w].entry[1] = 0 :: else fi };
        d_step { assert(!R[w].freed); R[w].freed = 1; R[w].seq = 0; R[w].prev = 0; w = 0 }
    :: atomic {
        done == NW + 1 && readers_begun == NR && sections == 0 && limbo.n == 0 ->
        d_step {
            assert(R[root].entry[0] == twin[0] && R[root].entry[1] == twin[1]);
            i = 1;
            do
            :: i <= version_last -> assert(V[i].freed || twin[0] == i || twin[1] == i); i++
            :: else -> break
            od;
            i = 1;
            do
            :: i <= root_last -> assert(R[i].freed != (root == i)); i++
            :: else -> break
            od;
            i = 0
        }
        break
       }
    od
}

init {
    byte i;
    d_step { R[1].seq = 1; V[1].seq = 1; V[1].root = 1; R[1].entry[0] = 1; twin[0] = 1 }
    atomic {
        run Reclaimer();
        run Truncater(NR);
        i = 0; do :: i < NW -> run Writer(NR + 1 + i); i++ :: else -> break od;
        i = 0; do :: i < NR -> run Reader(i); i++ :: else -> break od
    }
}
