/* read_set.pml - commits that rely on what they read: keys found, and keys found absent.
 *
 * Claim    What a commit has read is still current at its own seq; so two commits of which each reads what the
 *          other writes cannot both succeed. The shards of all keys written or read, found or absent, are locked
 *          before the check and until after publishing. A commit that finds no change of what it read goes ahead;
 *          one that does is a conflict.
 * Abstract Two keys in shards of their own, key 1 absent at first; each commit reads one key at its S and puts or
 *          removes the other, or changes one key and reads nothing. The newest state of a key may have an infinite seq (early swing); then a reader
 *          takes the one before.
 * Blind to Weak memory; reclamation (hints.pml); unique values in read sets (unique.pml).
 * Flags    NT commits, one thread each.
 *
 * BASE   two                NT=2
 * BASE   three              NT=3
 * LONG   four               NT=4
 * MUTANT LOCKS_WRITTEN_ONLY   NT=2 : the shards of keys that are only read are not locked
 * MUTANT ABSENT_NOT_LOCKED    NT=2 : a key that was found absent is not locked
 * MUTANT CHECK_BEFORE_LOCK    NT=2 : the read set is checked before the shards are locked
 * MUTANT READ_UNLOCKED_EARLY  NT=2 : shards that were only read are unlocked before publishing
 * MUTANT NO_CHECK             NT=2 : the shards are locked, the read set is not checked
 * MUTANT ABSENT_NOT_CHECKED   NT=2 : a key that was found absent is not checked
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NT
#define NT 2
#endif
#define INFINITE 15

/* The newest and the next older state of a key: seq and whether it is there. */
typedef Key { byte seq; bit there; byte before_seq; bit before_there };
Key K[2];
byte changed[2];   /* the twin: the seq of the last published change */
bit key_lock[2];
bit publish_lock;
byte published = 1;

proctype Commit() {
    byte S, n, found_seq;
    bit r, w, reads, there, locks_read, conflict;
    if :: r = 0; w = 1 :: r = 1; w = 0 fi;
    if :: reads = 1 :: reads = 0 fi;
    S = published;
    d_step {
        if
        :: K[r].seq <= S -> found_seq = K[r].seq; there = K[r].there
        :: else -> /* older states than these two are not kept: it begins anew */
            S = published;
            if
            :: K[r].seq <= S -> found_seq = K[r].seq; there = K[r].there
            :: else -> found_seq = K[r].before_seq; there = K[r].before_there
            fi
        fi
    };
#if defined(LOCKS_WRITTEN_ONLY)
    locks_read = 0;
#elif defined(ABSENT_NOT_LOCKED)
    locks_read = (reads && there);
#else
    locks_read = reads;
#endif
#ifdef CHECK_BEFORE_LOCK
    conflict = (reads && K[r].seq != found_seq);
#endif
    /* In one order. */
    if :: w == 0 || locks_read -> atomic { key_lock[0] == 0 -> key_lock[0] = 1 } :: else fi;
    if :: w == 1 || locks_read -> atomic { key_lock[1] == 0 -> key_lock[1] = 1 } :: else fi;
#if defined(ABSENT_NOT_CHECKED)
    conflict = (reads && there && K[r].seq != found_seq);
#elif !defined(CHECK_BEFORE_LOCK) && !defined(NO_CHECK)
    conflict = (reads && K[r].seq != found_seq);
#endif
    if
    :: conflict -> skip
    :: else ->
        /* The swing. */
        d_step {
            K[w].before_seq = K[w].seq; K[w].before_there = K[w].there;
            K[w].seq = INFINITE; K[w].there = !K[w].there
        };
#ifdef READ_UNLOCKED_EARLY
        if :: locks_read -> key_lock[r] = 0 :: else fi;
#endif
        atomic { publish_lock == 0 -> publish_lock = 1 };
        n = published + 1;
        K[w].seq = n;
        d_step {
            assert(!reads || changed[r] == found_seq); /* what it read is still current at its own seq */
            changed[w] = n; published = n; publish_lock = 0
        }
    fi;
#ifdef READ_UNLOCKED_EARLY
    if :: conflict && locks_read -> key_lock[r] = 0 :: else fi;
    key_lock[w] = 0
#else
    if :: w == 1 || locks_read -> key_lock[1] = 0 :: else fi;
    if :: w == 0 || locks_read -> key_lock[0] = 0 :: else fi
#endif
}

init {
    byte i;
    d_step { K[0].seq = 1; K[0].there = 1; changed[0] = 1 }
    atomic { do :: i < NT -> run Commit(); i++ :: else -> break od }
}
