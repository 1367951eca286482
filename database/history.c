/* database/history.c - which past the seqs of an opening belong to.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "database/database.h"
#include "wire/bytes.h"

void mrl_db_history(const merle_db *db, uint8_t out_history[MRL_HISTORY_SIZE]) {
    uint8_t *at = mrl_put_big64(out_history, db->database_id[0]);
    at = mrl_put_big64(at, db->database_id[1]);
    (void)mrl_put_big64(at, db->term_id);
}

void mrl_db_terms(const merle_db *db, mrl_log_term *out_terms, size_t max, size_t *out_count) {
    *out_count = 0;
    if (db->persist == NULL) return;
    const mrl_log_terms *terms = mrl_log_set_terms(mrl_persist_log_set(db->persist));
    for (size_t i = 0; i < terms->count && i < max; i++)
        out_terms[(*out_count)++] = terms->list[terms->count - 1 - i];
}
