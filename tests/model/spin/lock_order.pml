/* lock_order.pml - the order of all locks of the engine.
 *
 * Claim    Nobody waits in a circle. The order is (kind, collection, shard): all key shards of all collections
 *          before all unique shards, the publish lock last. Reclamation takes a key shard, then the unique shard of
 *          the value whose entry goes. A truncate takes all key shards of the old root in order, then all its
 *          unique shards, and has the new root's already. Credit is waited for before all locks (credit.pml).
 * Abstract Two collections; collection 1 has two key shards and a unique shard, collection 2 has a key shard and a
 *          unique shard. Each thread goes its way once: a circle of waiting needs no more of each, and
 *          the others cannot hide it by going on.
 * Blind to What is done under the locks; locks inside allocator and log, below the publish lock.
 * Flags    none.
 *
 * BASE   all_threads
 * MUTANT BY_COLLECTION           : a commit locks all of collection 1, then all of collection 2
 * MUTANT RECLAIM_UNIQUE_FIRST    : reclamation takes the unique shard, then the key shard
 * MUTANT SHARDS_AS_THEY_COME     : a commit locks key shards in the order of its operations
 * MUTANT TRUNCATE_BACKWARDS      : truncate locks the key shards from the last to the first
 * MUTANT PUBLISH_BEFORE_UNIQUE   : a commit takes the publish lock before it has its unique shards
 *
 * SPDX-License-Identifier: Apache-2.0
 */
bit key_a, key_b, key_2, unique_1, unique_2, publish;
#define take(lock) atomic { lock == 0 -> lock = 1 }

/* Writes a document of each collection; the first has a unique value. */
active proctype Commit_both() {
#if defined(BY_COLLECTION)
    take(key_a); take(unique_1); take(key_2);
#elif defined(PUBLISH_BEFORE_UNIQUE)
    take(key_a); take(key_2); take(publish); take(unique_1);
#else
    take(key_a); take(key_2); take(unique_1);
#endif
#ifndef PUBLISH_BEFORE_UNIQUE
    take(publish);
#endif
    publish = 0; unique_1 = 0; key_2 = 0; key_a = 0
}

/* Writes a key of collection 2, and has read a unique value of collection 1. */
active proctype Commit_read() {
    take(key_2); take(unique_1); take(unique_2); take(publish);
    publish = 0; unique_2 = 0; unique_1 = 0; key_2 = 0
}

/* Writes a key of collection 1 with its unique value. */
active proctype Commit_one() {
    take(key_b); take(unique_1); take(publish);
    publish = 0; unique_1 = 0; key_b = 0
}

/* Writes two keys of collection 1; its operations name the second first. */
active proctype Commit_two_keys() {
#ifdef SHARDS_AS_THEY_COME
    take(key_b); take(key_a);
#else
    take(key_a); take(key_b);
#endif
    take(unique_1); take(publish);
    publish = 0; unique_1 = 0; key_b = 0; key_a = 0
}

active proctype Reclaimer() {
    if
#ifdef RECLAIM_UNIQUE_FIRST
    :: take(unique_1); take(key_b); key_b = 0; unique_1 = 0
    :: take(unique_2); take(key_2); key_2 = 0; unique_2 = 0
#else
    :: take(key_b); take(unique_1); unique_1 = 0; key_b = 0
    :: take(key_2); take(unique_2); unique_2 = 0; key_2 = 0
#endif
    fi
}

active proctype Truncate() {
#ifdef TRUNCATE_BACKWARDS
    take(key_b); take(key_a);
#else
    take(key_a); take(key_b);
#endif
    take(unique_1); take(publish);
    publish = 0; unique_1 = 0; key_b = 0; key_a = 0
}
