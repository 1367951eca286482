/* nodes.pml - the nodes of an ordered index: versions, splits, joins, and readers that take no lock.
 *
 * Claim    A scan along the leaves meets every entry that is there for its whole length exactly once, others at
 *          most once, in strict order; a lookup finds what is there. At rest the tree has what was added and not
 *          removed. Nobody touches a node that is freed.
 *          A reader loads a node's version, then fields, then the version again. A leaf's range never changes:
 *          who splits or joins leaves makes new ones, and puts them into the parent while it and the old ones are
 *          locked. Whoever goes on to the next leaf takes the parent's next child, if the parent is the same. A
 *          writer locks its leaf if that has the version that it knows, then asks whether the parent has, too; to
 *          change the parent it locks it by the version that it knows. Locks below the first are only tried.
 * Abstract Two levels and a node above them. A leaf has room for two keys, the parent for NSEP separators; an add
 *          that would need more gives up. A value is a number. Which node gets freed memory is not said: it is an
 *          error to look at it. A grace period is the set of sections open at the retiring.
 * Blind to Weak memory; more levels, splits of inner nodes; prefixes and tails; marks (marks.pml), sums (sums.pml);
 *          running out of memory, waiting that does not end.
 * Flags    NADD additions and NREMOVE removals by NW writers, NJOIN joins of leaves and NRENEW parents made anew by
 *          a sweep, NR readers; LOOKUPS: readers look one key up instead of a scan; THIN: one leaf has room at first.
 *
 * BASE   scan_split          NADD=2 NW=1 NR=1
 * BASE   scan_remove_join    NADD=1 NREMOVE=1 NJOIN=1 NW=1 NR=1
 * BASE   scan_renewed        NADD=1 NRENEW=1 NW=1 NR=1
 * BASE   two_writers         NADD=1 NREMOVE=1 NJOIN=1 NW=2 NR=0
 * BASE   two_renewed         NADD=2 NRENEW=1 NW=2 NR=0
 * BASE   scan_in_place       NADD=2 NREMOVE=1 NW=1 NR=1 THIN
 * BASE   lookup              NADD=1 NREMOVE=1 NJOIN=1 NW=1 NR=1 LOOKUPS
 * LONG   scan_two_writers    NADD=2 NW=2 NR=1
 * LONG   scan_all            NADD=1 NREMOVE=1 NJOIN=1 NRENEW=1 NW=1 NR=1
 * LONG   three_writes        NADD=2 NREMOVE=1 NJOIN=1 NW=2 NR=0
 * LONG   two_scans           NADD=1 NW=1 NR=2
 * MUTANT LEAF_NOT_CHECKED    NADD=1 NW=1 NR=1 THIN : a copy of a leaf is taken without another look at its version
 * MUTANT WAY_NOT_CHECKED     NADD=1 NW=1 NR=1 LOOKUPS : the parent is not looked at again on the way down
 * MUTANT STEP_NOT_CHECKED    NADD=1 NW=1 NR=1 : the next leaf is taken whatever has happened to the parent
 * MUTANT READS_LOCKED        NADD=1 NW=1 NR=1 THIN : a reader does not wait for a leaf that is locked
 * MUTANT SPLIT_IN_PLACE      NADD=1 NW=1 NR=1 LOOKUPS : the left leaf is truncated, and only the right one is new
 * MUTANT SPLIT_IN_TWO        NADD=1 NW=1 NR=1 : the parent is unlocked between the left half and the right half
 * MUTANT PARENT_UNCHECKED    NADD=2 NW=2 NR=0 : a split takes the parent at whatever version, its place is an old one
 * MUTANT LEAF_UNCHECKED      NADD=1 NREMOVE=1 NW=2 NR=0 THIN : a writer locks its leaf at whatever version
 * MUTANT JOIN_LOCKS_NO_LEAF  NADD=1 NREMOVE=1 NJOIN=1 NW=2 NR=0 : leaves are joined that are not locked
 * MUTANT RENEWED_UNLOCKED    NADD=1 NRENEW=1 NW=1 NR=0 : a parent is made anew that is not locked
 * MUTANT RETIRED_AT_ONCE     NADD=1 NW=1 NR=1 : a replaced leaf is freed without a grace period
 * MUTANT RETIRED_BEFORE      NADD=1 NW=1 NR=1 : its grace period begins before it is locked
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NADD
#define NADD 1
#endif
#ifndef NREMOVE
#define NREMOVE 0
#endif
#ifndef NJOIN
#define NJOIN 0
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
#ifndef NSEP
#define NSEP 3
#endif
#define CAPACITY 2
#define NLEAF (3 + 2 * NADD + NJOIN)
#define NINNER (1 + NRENEW)
#define bit_of(x) (1 << (x))
#define LOCKED 1
#define OBSOLETE 2
#define STEP 4
#define NOBODY 255
/* Keys 1, 3 and 5 always stay; 2, 4 and 6 may be added; 7, and what was added, may be removed. The leaves are [1 3]
 * and [5 7]; THIN: [1 3] and [7]. */
#ifdef THIN
#define KEYS_AT_FIRST (bit_of(1) | bit_of(3) | bit_of(7))
#else
#define KEYS_AT_FIRST (bit_of(1) | bit_of(3) | bit_of(5) | bit_of(7))
#endif

typedef Leaf { byte version; byte count; byte key[CAPACITY]; byte waits; bit retired; bit freed };
typedef Inner { byte version; byte count; byte separator[NSEP]; byte child[NSEP + 1]; byte waits; bit retired; bit freed };
Leaf L[NLEAF];   /* 0 is none */
Inner I[NINNER];
byte leaf_last = 2, inner_last = 0;
byte top_version, top_child;

byte there = KEYS_AT_FIRST; /* what has been added wholly, and nobody is about to remove */
byte required[NR + 1];      /* of this, what was there when the section began, and still is */
byte begun = KEYS_AT_FIRST; /* what somebody has begun to add, and nobody has removed wholly */
byte sections;
byte adds, removes, joins, renewals, done;

/* ---- nodes that go ---- */

inline free_waiting() {
    i = 1;
    do
    :: i < NLEAF ->
        if :: L[i].retired && L[i].waits == 0 && !L[i].freed -> L[i].freed = 1; L[i].version = 0; L[i].count = 0; L[i].key[0] = 0; L[i].key[1] = 0 :: else fi;
        i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < NINNER ->
        if :: I[i].retired && I[i].waits == 0 && !I[i].freed -> I[i].freed = 1; I[i].version = 0 :: else fi;
        i++
    :: else -> break
    od;
    i = 0
}
inline section_end(me) {
    d_step {
        sections = sections & ~bit_of(me);
        i = 1; do :: i < NLEAF -> L[i].waits = L[i].waits & ~bit_of(me); i++ :: else -> break od;
        i = 0; do :: i < NINNER -> I[i].waits = I[i].waits & ~bit_of(me); i++ :: else -> break od;
        free_waiting()
    }
}
inline retire_leaf(n) {
#ifdef RETIRED_AT_ONCE
    d_step { L[n].retired = 1; free_waiting() }
#elif defined(RETIRED_BEFORE)
    d_step { L[n].waits = sections & early; L[n].retired = 1; free_waiting() }
#else
    d_step { L[n].waits = sections; L[n].retired = 1; free_waiting() }
#endif
}

/* ---- the way down ---- */

#define is_locked(version) ((version) & LOCKED)
#define is_obsolete(version) ((version) & OBSOLETE)

/* The version of a leaf that nobody is changing. */
#ifdef READS_LOCKED
#define leaf_may_be_read 1
#else
#define leaf_may_be_read (!is_locked(L[l].version))
#endif
inline leaf_note() { atomic { leaf_may_be_read -> assert(l != 0 && !L[l].freed); lv = L[l].version } }

inline descend(k) {
    do
    :: atomic { !is_locked(top_version) -> tv = top_version; p = top_child };
        if
        :: top_version != tv
        :: else ->
            atomic { !is_locked(I[p].version) -> assert(!I[p].freed); pv = I[p].version };
            if
            :: is_obsolete(pv)
            :: else ->
                d_step { at = 0; do :: at < I[p].count && I[p].separator[at] <= k -> at++ :: else -> break od };
                l = I[p].child[at];
                if
#ifndef WAY_NOT_CHECKED
                :: I[p].version != pv
#endif
                :: else ->
                    leaf_note();
                    if :: is_obsolete(lv) :: else -> break fi
                fi
            fi
        fi
    od;
    skip
}

/* ---- writing ---- */

/* Notes where the key stands, or would; then locks the leaf, if it is as it was and its parent, too. is_ours: it is. */
inline leaf_lock(k) {
    d_step { place = 0; do :: place < L[l].count && L[l].key[place] < k -> place++ :: else -> break od };
#ifdef LEAF_UNCHECKED
    atomic { !is_locked(L[l].version) -> assert(!L[l].freed); L[l].version = L[l].version | LOCKED; is_ours = 1 };
    d_step { lv = L[l].version & ~LOCKED }
#else
    d_step {
        assert(!L[l].freed);
        if :: L[l].version == lv && !is_locked(lv) -> L[l].version = lv | LOCKED; is_ours = 1 :: else is_ours = 0 fi
    };
    if
#ifndef PARENT_UNCHECKED
    :: is_ours && I[p].version != pv -> d_step { L[l].version = lv; is_ours = 0 }
#endif
    :: else
    fi
#endif
}
/* Locks the parent, beside the leaf. */
inline parent_lock() {
#if defined(PARENT_UNCHECKED)
    atomic { !is_locked(I[p].version) -> pv = I[p].version; I[p].version = pv | LOCKED; is_ours = 1 }
#else
    d_step {
        if :: I[p].version == pv && !is_locked(pv) -> I[p].version = pv | LOCKED; is_ours = 1 :: else is_ours = 0 fi
    }
#endif
}
inline leaf_unlock() { L[l].version = (L[l].version & ~LOCKED) + STEP }
inline leaf_unlock_obsolete(n) { L[n].version = ((L[n].version & ~LOCKED) + STEP) | OBSOLETE }
inline parent_unlock() { I[p].version = (I[p].version & ~LOCKED) + STEP }

/* Puts a child behind the one at `at`, in steps that a reader can fall between. */
inline parent_insert(separator_key, fresh_leaf) {
    d_step {
        assert(I[p].count < NSEP);
        i = I[p].count;
        do
        :: i > at -> I[p].separator[i] = I[p].separator[i - 1]; I[p].child[i + 1] = I[p].child[i]; i--
        :: else -> break
        od;
        I[p].separator[at] = separator_key; i = 0
    };
    d_step { I[p].child[at + 1] = fresh_leaf; I[p].count++ }
}
inline parent_remove_child() {
    d_step {
        i = at;
        do :: i + 1 < I[p].count -> I[p].separator[i] = I[p].separator[i + 1]; i++ :: else -> break od;
        i = at + 1;
        do :: i + 1 <= I[p].count -> I[p].child[i] = I[p].child[i + 1]; i++ :: else -> break od;
        i = 0
    };
    d_step { I[p].count--; I[p].separator[I[p].count] = 0; I[p].child[I[p].count + 1] = 0 }
}

/* In place: the entries move up before the new one is stored, the count comes last. */
inline leaf_insert(k) {
    assert(L[l].count < CAPACITY);
    if :: L[l].count > place -> L[l].key[1] = L[l].key[0] :: else fi;
    L[l].key[place] = k;
    L[l].count++
}

/* A full leaf in two; the parent is locked, too. A row that only goes up leaves a full leaf behind. */
inline leaf_split(k) {
    d_step {
        right = leaf_last + 2; fresh = leaf_last + 1; leaf_last = right;
        assert(right < NLEAF);
        L[fresh].version = STEP; L[right].version = STEP;
        if
        :: place == 2 ->
            L[fresh].key[0] = L[l].key[0]; L[fresh].key[1] = L[l].key[1]; L[fresh].count = 2;
            L[right].key[0] = k; L[right].count = 1; separator = L[l].key[1] + 1
        :: place == 0 ->
            L[fresh].key[0] = k; L[fresh].count = 1; separator = L[l].key[0];
            L[right].key[0] = L[l].key[0]; L[right].key[1] = L[l].key[1]; L[right].count = 2
        :: else ->
            L[fresh].key[0] = L[l].key[0]; L[fresh].count = 1; separator = k;
            L[right].key[0] = k; L[right].key[1] = L[l].key[1]; L[right].count = 2
        fi
    };
#ifdef SPLIT_IN_PLACE
    d_step { L[l].count = L[fresh].count; L[l].key[0] = L[fresh].key[0]; L[l].key[1] = L[fresh].key[1]; L[fresh].freed = 1; L[fresh].retired = 1 };
    leaf_unlock();
#else
    I[p].child[at] = fresh;
#endif
#ifdef SPLIT_IN_TWO
    parent_unlock();
    atomic { !is_locked(I[p].version) -> I[p].version = I[p].version | LOCKED };
#endif
    parent_insert(separator, right);
    parent_unlock();
#ifndef SPLIT_IN_PLACE
    leaf_unlock_obsolete(l);
    retire_leaf(l);
#endif
    d_step { fresh = 0; right = 0; separator = 0 }
}

inline add(k) {
    do
    :: descend(k);
#ifdef RETIRED_BEFORE
        early = sections;
#endif
        leaf_lock(k);
        if
        :: !is_ours
        :: is_ours && L[l].count < CAPACITY -> leaf_insert(k); leaf_unlock(); there = there | bit_of(k); break
        :: is_ours && L[l].count == CAPACITY ->
            parent_lock();
            if
            :: !is_ours -> L[l].version = lv
            :: is_ours && I[p].count == NSEP -> d_step { I[p].version = pv; L[l].version = lv; begun = begun & ~bit_of(k) } break
            :: is_ours && I[p].count < NSEP -> leaf_split(k); there = there | bit_of(k); break
            fi
        fi
    od;
    skip
}
inline remove(k) {
    do
    :: descend(k);
        leaf_lock(k);
        if
        :: !is_ours
        :: is_ours ->
            assert(place < L[l].count && L[l].key[place] == k);
            if :: place == 0 -> L[l].key[0] = L[l].key[1] :: else fi;
            L[l].key[1] = 0;
            L[l].count--;
            leaf_unlock();
            break
        fi
    od;
    skip
}
/* Nobody needs it any more, as marks and their tickets say. */
inline is_about_to_remove(k) {
    there = there & ~bit_of(k);
    i = 0; do :: i < NR -> required[i] = required[i] & ~bit_of(k); i++ :: else -> break od; i = 0
}

proctype Writer(byte id) {
    byte k, tv, pv, lv, p, l, at, place, i, fresh, right, separator;
#ifdef RETIRED_BEFORE
    byte early;
#endif
    bit is_ours;
    do
    :: atomic {
        adds < NADD -> adds++;
        if :: !(begun & bit_of(2)) -> k = 2 :: !(begun & bit_of(4)) -> k = 4 :: !(begun & bit_of(6)) -> k = 6 :: else -> adds--; goto next fi;
        begun = begun | bit_of(k); sections = sections | bit_of(id)
       }
        add(k);
        d_step { k = 0; tv = 0; pv = 0; lv = 0; p = 0; l = 0; at = 0; place = 0; is_ours = 0 };
        section_end(id)
    :: atomic {
        removes < NREMOVE -> removes++;
        if
        :: there & bit_of(2) -> k = 2
        :: there & bit_of(4) -> k = 4
        :: there & bit_of(6) -> k = 6
        :: there & bit_of(7) -> k = 7
        :: else -> removes--; goto next
        fi;
        d_step { is_about_to_remove(k); sections = sections | bit_of(id) }
       }
        remove(k);
        d_step { begun = begun & ~bit_of(k); k = 0; tv = 0; pv = 0; lv = 0; p = 0; l = 0; at = 0; place = 0; is_ours = 0 };
        section_end(id)
    :: atomic { done >= NR || (adds == NADD && removes == NREMOVE) -> done++; break }
next: skip
    od
}

proctype Sweeper(byte id) {
    byte pv, p, l, at, i, fresh, right;
    do
#if NJOIN > 0
    :: atomic { joins < NJOIN && !is_locked(I[top_child].version) -> joins++; sections = sections | bit_of(id); p = top_child; pv = I[p].version; I[p].version = pv | LOCKED };
        /* Which two, and whether they are thin, is known from a look; it is asked again under the locks. */
        if :: at = 0 :: I[p].count > 1 -> at = 1 fi;
        if
        :: I[p].count == 0 -> I[p].version = pv
        :: else ->
            l = I[p].child[at];
            right = I[p].child[at + 1];
#ifndef JOIN_LOCKS_NO_LEAF
            if
            :: atomic { is_locked(L[l].version) -> I[p].version = pv; goto joined }
            :: atomic { !is_locked(L[l].version) -> L[l].version = L[l].version | LOCKED }
            fi;
            if
            :: atomic { is_locked(L[right].version) -> L[l].version = L[l].version & ~LOCKED; I[p].version = pv; goto joined }
            :: atomic { !is_locked(L[right].version) -> L[right].version = L[right].version | LOCKED }
            fi;
#endif
            if
            :: L[l].count + L[right].count > CAPACITY ->
                d_step { L[l].version = L[l].version & ~LOCKED; L[right].version = L[right].version & ~LOCKED; I[p].version = pv }
            :: else ->
                d_step {
                    fresh = leaf_last + 1; leaf_last = fresh; assert(fresh < NLEAF);
                    L[fresh].version = STEP; L[fresh].count = L[l].count + L[right].count;
                    L[fresh].key[0] = L[l].key[0]; L[fresh].key[1] = L[l].key[1];
                    if
                    :: L[right].count == 0
                    :: L[right].count == 1 -> L[fresh].key[L[l].count] = L[right].key[0]
                    :: L[right].count == 2 -> L[fresh].key[0] = L[right].key[0]; L[fresh].key[1] = L[right].key[1]
                    fi
                };
                I[p].child[at] = fresh;
                parent_remove_child();
                parent_unlock();
                leaf_unlock_obsolete(l);
                leaf_unlock_obsolete(right);
                retire_leaf(l);
                retire_leaf(right)
            fi
        fi;
joined: skip;
        d_step { pv = 0; p = 0; l = 0; at = 0; fresh = 0; right = 0 };
        section_end(id)
#endif
#if NRENEW > 0
    :: atomic { renewals < NRENEW && !is_locked(I[top_child].version) -> renewals++; sections = sections | bit_of(id); p = top_child; pv = I[p].version
#ifndef RENEWED_UNLOCKED
        ; I[p].version = pv | LOCKED
#endif
       };
        top_version = top_version | LOCKED; /* nobody else has it */
        d_step {
            fresh = inner_last + 1; inner_last = fresh; assert(fresh < NINNER);
            I[fresh].version = STEP; I[fresh].count = I[p].count;
            i = 0;
            do :: i < NSEP -> I[fresh].separator[i] = I[p].separator[i]; I[fresh].child[i] = I[p].child[i]; i++ :: else -> break od;
            I[fresh].child[NSEP] = I[p].child[NSEP]; i = 0
        };
        top_child = fresh;
        top_version = (top_version & ~LOCKED) + STEP;
        d_step { I[p].version = ((I[p].version & ~LOCKED) + STEP) | OBSOLETE };
        d_step { I[p].waits = sections; I[p].retired = 1; free_waiting() };
        d_step { pv = 0; p = 0; fresh = 0 };
        section_end(id)
#endif
    :: atomic {
        done == NW + NR -> /* at rest */
        break
       }
    od;
    skip;
    d_step {
        assert(sections == 0 && !is_locked(top_version) && !is_locked(I[top_child].version));
        p = top_child; at = 0; pv = 0; right = 0;
        do
        :: at <= I[p].count ->
            l = I[p].child[at];
            assert(l != 0 && !L[l].freed && !L[l].retired && !is_locked(L[l].version) && !is_obsolete(L[l].version));
            i = 0;
            do
            :: i < L[l].count ->
                assert(L[l].key[i] > pv); /* in order */
                assert(at == 0 || L[l].key[i] >= I[p].separator[at - 1]);
                assert(at == I[p].count || L[l].key[i] < I[p].separator[at]);
                pv = L[l].key[i]; right = right | bit_of(pv); i++
            :: else -> break
            od;
            at++
        :: else -> break
        od;
        assert(right == there && right == begun);
        i = 1; do :: i <= leaf_last -> assert(!L[i].retired || L[i].freed); i++ :: else -> break od
    }
}

/* ---- reading ---- */

#ifdef LEAF_NOT_CHECKED
#define leaf_is_same 1
#else
#define leaf_is_same (L[l].version == lv)
#endif
#ifdef STEP_NOT_CHECKED
#define parent_is_same 1
#else
#define parent_is_same (I[p].version == pv)
#endif

/* Copies the leaf, in steps that a writer can fall between. */
inline leaf_copy() {
    count = L[l].count;
    key[0] = L[l].key[0];
    key[1] = L[l].key[1]
}

#ifdef LOOKUPS
proctype Reader(byte id) {
    byte wanted, tv, pv, lv, p, l, at, i, count, key[CAPACITY];
    bit is_found;
    d_step { sections = sections | bit_of(id); required[id] = there };
    if :: wanted = 3 :: required[id] & bit_of(2) -> wanted = 2 :: required[id] & bit_of(6) -> wanted = 6 :: wanted = 7 fi;
    do
    :: descend(wanted);
        leaf_copy();
        if
        :: atomic { leaf_is_same -> assert(!L[l].freed); is_found = (count > 0 && key[0] == wanted) || (count > 1 && key[1] == wanted) } break
        :: else
        fi
    od;
    assert(is_found || !(required[id] & bit_of(wanted)));
    section_end(id);
    atomic { done++ }
}
#else
proctype Reader(byte id) {
    byte last, got, tv, pv, lv, p, l, at, i, count, key[CAPACITY];
    bit is_first;
    d_step { sections = sections | bit_of(id); required[id] = there };
seek:
    descend(last + 1);
    is_first = 1;
leaf:
    leaf_copy();
    if
    :: atomic {
        leaf_is_same ->
        d_step {
            assert(!L[l].freed);
            i = 0;
            do
            :: i < count ->
                if
                :: is_first && key[i] <= last
                :: else -> assert(key[i] > last); last = key[i]; got = got | bit_of(last)
                fi;
                i++
            :: else -> break
            od;
            i = 0; count = 0; key[0] = 0; key[1] = 0; is_first = 0
        }
       }
    :: else -> d_step { count = 0; key[0] = 0; key[1] = 0; lv = 0 } goto seek
    fi;
    d_step {
        assert(!I[p].freed);
        count = I[p].count;
        if :: at < count -> l = I[p].child[at + 1] :: else l = 0 fi
    };
    if
    :: !parent_is_same -> goto seek
    :: parent_is_same && l != 0 ->
        at++;
        leaf_note();
        if :: is_obsolete(lv) -> goto seek :: else -> goto leaf fi
    :: parent_is_same && l == 0 ->
        if :: top_version == tv :: else -> goto seek fi
    fi;
    assert((required[id] & ~got) == 0);
    section_end(id);
    atomic { done++ }
}
#endif

init {
    byte i;
    d_step {
        I[0].version = STEP; I[0].count = 1; I[0].separator[0] = 5; I[0].child[0] = 1; I[0].child[1] = 2;
        L[1].version = STEP; L[1].count = 2; L[1].key[0] = 1; L[1].key[1] = 3;
#ifdef THIN
        L[2].version = STEP; L[2].count = 1; L[2].key[0] = 7;
#else
        L[2].version = STEP; L[2].count = 2; L[2].key[0] = 5; L[2].key[1] = 7;
#endif
        top_version = STEP
    }
    atomic {
        run Sweeper(NR + NW);
        i = 0; do :: i < NR -> run Reader(i); i++ :: else -> break od;
        i = 0; do :: i < NW -> run Writer(NR + i); i++ :: else -> break od
    }
}
