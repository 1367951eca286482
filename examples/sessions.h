/* examples/sessions.h - who is logged in: documents that end by themselves.
 *
 * What    A session is a document under the player's name, which is there for a while and is put
 *         only where there is none: so nobody is logged in twice. Who goes on playing renews it.
 * Owns    nothing; the collection is the database's.
 * Threads any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXAMPLES_SESSIONS_H
#define EXAMPLES_SESSIONS_H

#include <merle/merle.h>

#define SECOND_NS INT64_C(1000000000)

merle_err sessions_open(merle_db *db, merle_collection **out_sessions);
/* MERLE_EXISTS: this name is logged in already. */
merle_err session_begin(merle_collection *sessions, const char *name, int64_t ttl_ns);
/* From now on it lasts so long. MERLE_NOT_FOUND: it has ended. */
merle_err session_renew(merle_collection *sessions, const char *name, int64_t ttl_ns);
/* How many there are at one instant: counted, gone over, and asked for one by one, which must be
 * the same number. MERLE_CORRUPT if not. */
merle_err sessions_count(merle_db *db, merle_collection *sessions, const char *const *names,
                         size_t name_count, uint64_t *out_count);

#endif
