/* sums.pml - the sum that a node just above the leaves keeps, made by readers and cleared by writers.
 *
 * Claim    A sum that is taken lacks no change of a leaf that was unlocked before its taker went down. (That it has
 *          none that S may not see is said by the newest `touched` beside it: marks.pml.) A reader puts a token of
 *          its own into the clear word, reads the leaves, none of which may be locked, and replaces the token by
 *          the sum if it still stands there. A writer locks its leaf, sees that the parent is still the parent,
 *          changes the leaf, clears the word, unlocks. Who puts another leaf into the parent clears the word before
 *          he unlocks it. A parent that is made anew has no sum. A taker looks at the parent's version again.
 * Abstract Two leaves under one parent. What a leaf has is how often it was changed. Nodes are not freed (nodes.pml).
 * Blind to Weak memory; the tokens' number does not wrap; `touched`.
 * Flags    NCHANGE changes in place and NREPLACE with a new leaf by NW writers, NRENEW parents made anew, NR readers
 *          with NTAKE tries each.
 *
 * BASE   changed             NCHANGE=2 NW=2 NR=2 NTAKE=1
 * BASE   taken_again         NCHANGE=1 NW=1 NR=2 NTAKE=2
 * BASE   renewed             NCHANGE=1 NRENEW=1 NW=1 NR=2 NTAKE=1
 * BASE   replaced            NCHANGE=1 NREPLACE=1 NW=2 NR=1 NTAKE=2
 * LONG   two_taken_again     NCHANGE=2 NW=1 NR=2 NTAKE=2
 * LONG   renewed_twice       NCHANGE=1 NRENEW=2 NW=1 NR=2 NTAKE=1
 * LONG   replaced_beside     NCHANGE=1 NREPLACE=1 NRENEW=1 NW=2 NR=1 NTAKE=2
 * MUTANT NOT_CLEARED         NCHANGE=1 NW=1 NR=1 NTAKE=2 : a change leaves the sum
 * MUTANT CLEARED_BEFORE_LOCK NCHANGE=1 NW=1 NR=1 NTAKE=2 : the word is cleared before the leaf is locked
 * MUTANT CLEARED_AFTER_UNLOCK NCHANGE=1 NW=1 NR=1 NTAKE=2 : it is cleared after the leaf is unlocked
 * MUTANT REPLACED_NOT_CLEARED NCHANGE=0 NREPLACE=1 NW=1 NR=1 NTAKE=2 : a new leaf leaves the sum
 * MUTANT LEAVES_BEFORE_TOKEN NCHANGE=1 NW=1 NR=1 NTAKE=2 : the leaves are read before the token is stored
 * MUTANT ONE_TOKEN           NCHANGE=1 NW=1 NR=2 NTAKE=2 : all readers have the same token
 * MUTANT LOCKED_LEAF_READ    NCHANGE=1 NW=1 NR=1 NTAKE=2 : a leaf that is locked is read
 * MUTANT PARENT_UNCHECKED    NCHANGE=1 NRENEW=1 NW=1 NR=1 NTAKE=2 : a writer clears the word of the parent by which it came, unchecked
 * MUTANT PARENT_BEFORE_LOCK  NCHANGE=1 NRENEW=1 NW=1 NR=1 NTAKE=2 : the parent's version is checked before the leaf is locked
 * MUTANT RENEWED_HAS_SUM     NCHANGE=1 NRENEW=1 NW=1 NR=1 NTAKE=2 : the parent made anew takes the sum over
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NCHANGE
#define NCHANGE 1
#endif
#ifndef NREPLACE
#define NREPLACE 0
#endif
#ifndef NRENEW
#define NRENEW 0
#endif
#ifndef NW
#define NW 1
#endif
#ifndef NR
#define NR 1
#endif
#ifndef NTAKE
#define NTAKE 1
#endif
#define LOCKED 1
#define OBSOLETE 2
#define STEP 4
#define NONE 0
#define VALID 128
#define sum_of(a, b) (VALID + (a) + 8 * (b))
#define is_valid(w) ((w) >= VALID)

/* Parents, the leaves, and which parent is current. */
byte parent;
byte parent_version[NRENEW + 1], word[NRENEW + 1];
byte leaf_version[NREPLACE + 2], changes[NREPLACE + 2];
byte child[2]; /* of all parents: a frozen one is not read, for its version is another one */
byte leaf_last = 1;
byte changed[2]; /* what is unlocked, so perhaps published */
byte ops, replaced, renewed;

inline clear() {
    w = word[p];
    if :: w != NONE -> word[p] = NONE :: else fi;
    w = 0
}

inline leaf_unlock() {
    d_step { leaf_version[l] = (leaf_version[l] & ~LOCKED) + STEP; changed[i] = changes[l] }
}

proctype Writer() {
    byte i, p, pv, l, w;
    bit replaces;
    do
    :: atomic { ops < NCHANGE -> ops++; if :: i = 0 :: i = 1 fi; goto again }
    :: atomic { replaced < NREPLACE -> replaced++; replaces = 1; if :: i = 0 :: i = 1 fi };
again:
        /* The way down: it holds as of when the parent was looked at again. */
        atomic { !(parent_version[parent] & LOCKED) -> p = parent; pv = parent_version[p]; l = child[i] };
#ifdef CLEARED_BEFORE_LOCK
        clear();
#endif
#ifdef PARENT_BEFORE_LOCK
        if :: parent_version[p] != pv -> goto again :: else fi;
#endif
        if
        :: atomic { !(leaf_version[l] & (LOCKED | OBSOLETE)) -> leaf_version[l] = leaf_version[l] | LOCKED }
        :: atomic { leaf_version[l] & OBSOLETE -> goto again }
        fi;
#if !defined(PARENT_UNCHECKED) && !defined(PARENT_BEFORE_LOCK)
        if
        :: parent_version[p] != pv -> leaf_version[l] = leaf_version[l] & ~LOCKED; goto again
        :: else
        fi;
#endif
        if
        :: replaces ->
            if
            :: atomic { parent_version[p] == pv -> parent_version[p] = pv | LOCKED }
            :: atomic { parent_version[p] != pv -> leaf_version[l] = leaf_version[l] & ~LOCKED; goto again }
            fi;
            d_step {
                leaf_last++; leaf_version[leaf_last] = STEP; changes[leaf_last] = changes[l] + 1;
                child[i] = leaf_last
            };
#ifndef REPLACED_NOT_CLEARED
            clear();
#endif
            d_step { parent_version[p] = pv + STEP; changed[i] = changes[child[i]] };
            leaf_version[l] = ((leaf_version[l] & ~LOCKED) + STEP) | OBSOLETE
        :: else ->
#if defined(NOT_CLEARED) || defined(CLEARED_BEFORE_LOCK)
            changes[l]++;
#elif defined(CLEARED_AFTER_UNLOCK)
            changes[l]++;
            leaf_unlock();
            clear();
#else
            /* The change may be seen as late as the unlocking. */
            if
            :: changes[l]++; clear()
            :: clear(); changes[l]++
            fi;
#endif
#ifndef CLEARED_AFTER_UNLOCK
            leaf_unlock()
#endif
        fi;
        d_step { i = 0; p = 0; pv = 0; l = 0; replaces = 0 }
    :: atomic { ops == NCHANGE && replaced == NREPLACE -> break }
    od
}

/* The parent made anew: the node above, which is locked, too, has nobody else. */
proctype Renewer() {
    byte p, pv;
end:
    do
    :: atomic { renewed < NRENEW && !(parent_version[parent] & LOCKED) -> renewed++; p = parent; pv = parent_version[p]; parent_version[p] = pv | LOCKED };
        d_step {
            parent_version[p + 1] = STEP;
#ifdef RENEWED_HAS_SUM
            word[p + 1] = (is_valid(word[p]) -> word[p] : NONE)
#endif
        };
        parent = p + 1;
        parent_version[p] = (pv + STEP) | OBSOLETE;
        p = 0; pv = 0
    od
}

inline leaf_read(at, into) {
    if
    :: atomic { made && parent_version[p] != pv -> made = 0 }
    :: atomic { made && parent_version[p] == pv -> l = child[at] };
        lv = leaf_version[l];
        into = changes[l];
        if
#ifndef LOCKED_LEAF_READ
        :: lv & (LOCKED | OBSOLETE) -> made = 0
#endif
        :: else -> if :: leaf_version[l] != lv -> made = 0 :: else fi
        fi
    :: !made
    fi
}
inline leaves_sum() {
    made = 1;
    leaf_read(0, a);
    leaf_read(1, b)
}

proctype Reader(byte id) {
    byte tries, needs[2], p, pv, l, lv, w, token, a, b;
    bit made;
    do
    :: tries < NTAKE ->
        /* S is noted, at the latest, when the way down begins. */
        atomic { !(parent_version[parent] & LOCKED) -> tries++; needs[0] = changed[0]; needs[1] = changed[1]; p = parent; pv = parent_version[p] };
        w = word[p];
        if
        :: w == NONE ->
#ifdef ONE_TOKEN
            token = 1;
#else
            token = 1 + id * NTAKE + tries; /* nobody else's, nor used before */
#endif
#ifdef LEAVES_BEFORE_TOKEN
            leaves_sum();
#endif
            if
            :: atomic { word[p] == NONE -> word[p] = token }
            :: atomic { word[p] != NONE -> goto next }
            fi;
#ifndef LEAVES_BEFORE_TOKEN
            leaves_sum();
#endif
            w = NONE;
            if :: made && parent_version[p] == pv -> w = sum_of(a, b) :: else fi;
            if
            :: atomic { word[p] == token -> word[p] = w }
            :: atomic { word[p] != token -> w = NONE }
            fi
        :: else
        fi;
        if
        :: is_valid(w) ->
            if
            :: parent_version[p] != pv
            :: else -> d_step { assert(((w - VALID) & 7) >= needs[0] && ((w - VALID) >> 3) >= needs[1]) }
            fi
        :: else
        fi;
next: skip;
        d_step { needs[0] = 0; needs[1] = 0; p = 0; pv = 0; l = 0; lv = 0; w = 0; token = 0; a = 0; b = 0; made = 0 }
    :: else -> break
    od
}

init {
    byte i;
    d_step { parent_version[0] = STEP; leaf_version[0] = STEP; leaf_version[1] = STEP; child[1] = 1 }
    atomic {
        run Renewer();
        i = 0; do :: i < NR -> run Reader(i); i++ :: else -> break od;
        i = 0; do :: i < NW -> run Writer(); i++ :: else -> break od
    }
}
