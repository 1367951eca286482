/* split.pml - lookups by key beside splits and merges of a shard's pieces, and growth of its directory.
 *
 * Claim    A lookup loads the directory, then the piece, then probes. Meanwhile, under the shard lock, pieces are
 *          copied into new ones and the directory's entries are switched, one after another; the directory
 *          itself is replaced by a larger one. What was replaced is never changed again, and freed after grace.
 *          A lookup that found a frozen piece finds all that its section needs, because S was noted before, and
 *          follows nothing that is freed: versions superseded, removed and re-inserted in the new pieces, and
 *          entries that are undone there, are retired after the switch.
 * Abstract Two keys of one shard, a directory of one entry that grows to two, a piece is atomic per key. Each commit
 *          may need a split or merge in its middle, between adding its key entry and the swing, so that versions
 *          with an infinite seq are copied too; so may the reclaimer after it removed an entry. A grace period is
 *          the set of sections that were open when the thing was retired.
 * Blind to Weak memory; probes inside a piece (hash order, tombstones of the table); the directory's halving.
 * Flags    NOPS commits, NFAIL of them may fail, NRES splits and merges, NR readers, NLOOK lookups of each, NW writers.
 *
 * BASE   split_and_merge    NOPS=2 NRES=2 NR=1 NLOOK=2
 * BASE   failing_commits    NOPS=2 NFAIL=1 NRES=1 NR=1 NLOOK=1
 * BASE   reinsertion        NOPS=3 NRES=1 NR=1 NLOOK=1
 * BASE   two_writers        NOPS=2 NRES=1 NR=1 NLOOK=1 NW=2
 * LONG   three_resizes      NOPS=3 NRES=3 NR=1 NLOOK=2
 * LONG   failing_three      NOPS=3 NFAIL=2 NRES=2 NR=1 NLOOK=1
 * LONG   two_readers        NOPS=2 NRES=2 NR=2 NLOOK=1
 * MUTANT FREE_PIECE_AT_ONCE     NOPS=1 NRES=1 NR=1 NLOOK=1 : the old piece is freed without grace
 * MUTANT FREE_DIRECTORY_AT_ONCE NOPS=1 NRES=1 NR=1 NLOOK=1 : the old directory is freed without grace
 * MUTANT RETIRE_BEFORE_SWITCH   NOPS=1 NRES=1 NR=1 NLOOK=1 : the old piece is retired before the directory is switched
 * MUTANT SWITCH_BEFORE_COPY     NOPS=1 NRES=1 NR=1 NLOOK=1 : the directory points to new pieces that are not yet full copies
 * MUTANT SWITCH_ONE_ENTRY       NOPS=2 NRES=2 NR=1 NLOOK=1 : of two entries that point to a piece only one is switched
 * MUTANT WRITE_TO_OLD_PIECE     NOPS=2 NRES=1 NR=1 NLOOK=1 : the commit goes on with the piece that it found before the split
 * MUTANT FIND_BEFORE_LOCK       NOPS=2 NRES=1 NR=1 NLOOK=1 NW=2 : the writer finds its piece before it has the shard lock
 * MUTANT UNDO_IN_OLD_PIECE      NOPS=2 NFAIL=1 NRES=1 NR=1 NLOOK=1 : undo takes the key entry out of the frozen piece
 * MUTANT UNDO_FREES_AT_ONCE     NOPS=2 NFAIL=1 NRES=1 NR=1 NLOOK=1 : the version behind an undone key entry is freed without grace
 * MUTANT TOMBSTONE_IN_ONE_EVENT NOPS=2 NRES=1 NR=1 NLOOK=1 : a tombstone is freed with its key entry, a frozen piece still has it
 * MUTANT S_AFTER_DIRECTORY      NOPS=2 NRES=1 NR=1 NLOOK=1 : S is noted after the piece was found
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NOPS
#define NOPS 2
#endif
#ifndef NFAIL
#define NFAIL 0
#endif
#ifndef NRES
#define NRES 1
#endif
#ifndef NR
#define NR 1
#endif
#ifndef NLOOK
#define NLOOK 1
#endif
#ifndef NW
#define NW 1
#endif
#define INFINITE 15
#define NK 2
#define NV (NOPS + 2)
#define NP (2 * NRES + 2)
#define NQ 8
#define SUPERSEDED 0
#define TOMBSTONE 1
#define VERSION 2
#define PIECE 3
#define DIRECTORY 4
#define bit_of(x) (1 << (x))

typedef Version { byte seq; byte prev; bit dead; bit key; bit freed };
Version V[NV];
byte version_last = 1;

typedef Piece { byte entry[NK]; bit freed };
Piece P[NP];
byte piece_last;

typedef Directory { byte piece[2]; bit freed };
Directory D[2];   /* directory 0 has one entry, directory 1 has two */
bit directory;    /* the current one */

bit shard_lock;
byte published = 1;
byte sections;
byte twin[NK];    /* the live version of each key, as published; 0: none */
byte ops, fails, resizes, writers_done, readers_begun;

typedef Queue { byte what[NQ]; byte kind[NQ]; byte waits[NQ]; byte n };
Queue fifo, limbo;

inline retire(Q, ww, kk) {
    d_step { assert(Q.n < NQ); Q.what[Q.n] = ww; Q.kind[Q.n] = kk; Q.waits[Q.n] = sections; Q.n++ }
}
inline take_first(Q) {
    i = 0;
    do
    :: i + 1 < Q.n -> Q.what[i] = Q.what[i + 1]; Q.kind[i] = Q.kind[i + 1]; Q.waits[i] = Q.waits[i + 1]; i++
    :: else -> break
    od;
    Q.n--; Q.what[Q.n] = 0; Q.kind[Q.n] = 0; Q.waits[Q.n] = 0; i = 0
}
inline no_longer_waits(Q, me) {
    i = 0;
    do
    :: i < Q.n -> Q.waits[i] = Q.waits[i] & ~(me); i++
    :: else -> break
    od;
    i = 0
}
inline free_version(vv) {
    d_step { assert(!V[vv].freed); V[vv].freed = 1; V[vv].seq = 0; V[vv].prev = 0; V[vv].dead = 0; V[vv].key = 0 }
}
inline free_piece(pp) { d_step { assert(!P[pp].freed); P[pp].freed = 1; P[pp].entry[0] = 0; P[pp].entry[1] = 0 } }
inline free_directory(dd) { d_step { assert(!D[dd].freed); D[dd].freed = 1 } }

/* Where a key is now: by the one who has the shard lock, or in one step of a lookup. */
#define index_in(d, k) ((d) == 0 -> 0 : (k))
#define piece_of(k) D[directory].piece[index_in(directory, k)]

#ifdef FREE_PIECE_AT_ONCE
#define drop_piece(pp) free_piece(pp)
#else
#define drop_piece(pp) retire(limbo, pp, PIECE)
#endif
#ifdef FREE_DIRECTORY_AT_ONCE
#define drop_directory(dd) free_directory(dd)
#else
#define drop_directory(dd) retire(limbo, dd, DIRECTORY)
#endif

/* One split or merge, whichever comes next (shard lock held). Scratch: a, b old pieces, c, e new ones. */
inline resize() {
    if
    :: directory == 0 || D[1].piece[0] == D[1].piece[1] ->
        if
        :: directory == 0 -> /* It is full: a larger one, with both entries at the same piece. */
            d_step { D[1].piece[0] = D[0].piece[0]; D[1].piece[1] = D[0].piece[0] };
            directory = 1;
            drop_directory(0)
        :: else
        fi;
        d_step { a = D[1].piece[0]; piece_last++; c = piece_last; piece_last++; e = piece_last };
#ifdef SWITCH_BEFORE_COPY
        D[1].piece[0] = c;
        D[1].piece[1] = e;
        P[c].entry[0] = P[a].entry[0];
        P[e].entry[1] = P[a].entry[1];
#else
        d_step { P[c].entry[0] = P[a].entry[0]; P[e].entry[1] = P[a].entry[1] }; /* nobody sees them yet */
#ifdef RETIRE_BEFORE_SWITCH
        drop_piece(a);
#endif
        D[1].piece[0] = c;
        D[1].piece[1] = e;
#endif
#ifndef RETIRE_BEFORE_SWITCH
        drop_piece(a)
#endif
    :: else -> /* The two are thin: one piece again, two entries to switch. */
        d_step {
            a = D[1].piece[0]; b = D[1].piece[1]; piece_last++; c = piece_last;
            P[c].entry[0] = P[a].entry[0]; P[c].entry[1] = P[b].entry[1]
        };
        D[1].piece[0] = c;
#ifndef SWITCH_ONE_ENTRY
        D[1].piece[1] = c;
#endif
        drop_piece(a);
        drop_piece(b)
    fi;
    d_step { a = 0; b = 0; c = 0; e = 0 }
}

proctype Writer() {
    byte v, old, p, a, b, c, e;
    bit k, dead;
    do
    :: atomic { ops < NOPS -> ops++; if :: k = 0 :: k = 1 fi }
#ifdef FIND_BEFORE_LOCK
        p = piece_of(k);
        atomic { shard_lock == 0 -> shard_lock = 1 };
#else
        atomic { shard_lock == 0 -> shard_lock = 1; p = piece_of(k) };
#endif
        atomic {
            old = P[p].entry[k];
            if :: dead = 0 :: old != 0 && !V[old].dead -> dead = 1 fi;
            version_last++; v = version_last;
            V[v].seq = INFINITE; V[v].prev = old; V[v].dead = dead; V[v].key = k
        }
        /* Step 4: the key entry of a new document; perhaps the commit's next entry needs a split. */
        if :: old == 0 -> P[p].entry[k] = v :: else fi;
        if
        :: atomic { resizes < NRES -> resizes++ }; resize()
        :: true
        fi;
#ifndef UNDO_IN_OLD_PIECE
#if !defined(WRITE_TO_OLD_PIECE) && !defined(FIND_BEFORE_LOCK)
        p = piece_of(k);
#endif
#endif
        if
        :: atomic { fails < NFAIL -> fails++ };
            if
            :: old == 0 -> P[p].entry[k] = 0;
#ifdef UNDO_FREES_AT_ONCE
                free_version(v)
#else
                retire(limbo, v, VERSION)
#endif
            :: else -> free_version(v)
            fi;
            goto unlock
        :: true
        fi;
#ifdef UNDO_IN_OLD_PIECE
        p = piece_of(k);
#endif
        /* The swing, then step 5. One shard: the publish lock adds nothing here. */
        if :: old != 0 -> P[p].entry[k] = v :: else fi;
        V[v].seq = published + 1;
        atomic { published = published + 1; twin[k] = (dead -> 0 : v) };
        d_step {
            if :: old != 0 -> retire(fifo, old, SUPERSEDED) :: else fi;
            if :: dead -> retire(fifo, v, TOMBSTONE) :: else fi
        };
unlock: skip;
        atomic { shard_lock = 0; v = 0; old = 0; p = 0; k = 0; dead = 0 }
    :: atomic { ops == NOPS -> writers_done++; break }
    od
}

proctype Reader(byte id) {
    byte S, d, p, x, i, n;
    bit k;
    byte expected[NK], held[NLOOK];
    atomic { readers_begun == id -> readers_begun++; sections = sections | bit_of(id) };
#ifndef S_AFTER_DIRECTORY
    d_step { S = published; expected[0] = twin[0]; expected[1] = twin[1] };
#endif
    do
    :: n < NLOOK ->
        if :: k = 0 :: k = 1 fi;
        d = directory;
        d_step { assert(!D[d].freed); p = D[d].piece[index_in(d, k)]; d = 0 };
#ifdef S_AFTER_DIRECTORY
        d_step { S = published; expected[0] = twin[0]; expected[1] = twin[1] };
#endif
        d_step { assert(!P[p].freed); x = P[p].entry[k]; p = 0 };
        do
        :: d_step { x != 0 && V[x].seq > S -> assert(!V[x].freed); x = V[x].prev }
        :: d_step {
            x != 0 && V[x].seq <= S -> assert(!V[x].freed); assert(V[x].key == k);
            if :: V[x].dead -> x = 0 :: else fi }
           break
        :: x == 0 -> break
        od;
        skip;
        d_step { assert(x == expected[k]); held[n] = x; x = 0; k = 0; n++ }
    :: n == NLOOK -> break
    od;
    skip;
    d_step {
        n = 0;
        do
        :: n < NLOOK -> assert(held[n] == 0 || !V[held[n]].freed); held[n] = 0; n++
        :: else -> break
        od;
        sections = sections & ~bit_of(id);
        no_longer_waits(fifo, bit_of(id));
        no_longer_waits(limbo, bit_of(id));
        S = 0; n = 0; expected[0] = 0; expected[1] = 0
    }
}

proctype Reclaimer() {
    byte v, i, kind, a, b, c, e;
end:
    do
    :: atomic {
        fifo.n > 0 && fifo.waits[0] == 0 && shard_lock == 0 -> shard_lock = 1;
        d_step { v = fifo.what[0]; kind = fifo.kind[0]; take_first(fifo) }
       }
       if
       :: kind == SUPERSEDED -> free_version(v)
       :: kind == TOMBSTONE ->
            if
            :: P[piece_of(V[v].key)].entry[V[v].key] == v ->
                P[piece_of(V[v].key)].entry[V[v].key] = 0;
#ifdef TOMBSTONE_IN_ONE_EVENT
                free_version(v);
#else
                retire(limbo, v, VERSION);
#endif
                if
                :: atomic { resizes < NRES -> resizes++ }; resize()
                :: true
                fi
            :: else
            fi
       fi;
       atomic { shard_lock = 0; v = 0; kind = 0 }
    :: atomic {
        limbo.n > 0 && limbo.waits[0] == 0 ->
        d_step {
            v = limbo.what[0];
            if
            :: limbo.kind[0] == VERSION -> free_version(v)
            :: limbo.kind[0] == PIECE -> free_piece(v)
            :: limbo.kind[0] == DIRECTORY -> free_directory(v)
            fi;
            take_first(limbo); v = 0
        }
       }
    :: atomic {
        writers_done == NW && readers_begun == NR && sections == 0 && fifo.n == 0 && limbo.n == 0 && shard_lock == 0 ->
        /* At rest: everything that is not current is freed. */
        d_step {
            assert(P[piece_of(0)].entry[0] == twin[0]); assert(P[piece_of(1)].entry[1] == twin[1]);
            i = 1;
            do
            :: i <= version_last -> assert(V[i].freed || twin[V[i].key] == i); i++
            :: else -> break
            od;
            i = 0;
            do
            :: i <= piece_last -> assert(P[i].freed != (piece_of(0) == i || piece_of(1) == i)); i++
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
    d_step { V[1].seq = 1; V[1].key = 0; P[0].entry[0] = 1; twin[0] = 1 }
    atomic {
        run Reclaimer();
        i = 0; do :: i < NW -> run Writer(); i++ :: else -> break od;
        i = 0; do :: i < NR -> run Reader(i); i++ :: else -> break od
    }
}
