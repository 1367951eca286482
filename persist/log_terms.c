/* persist/log_terms.c - which openings there were: an id for each, and where its commits end.
 *
 * Every opening begins a term, and draws an id for it. The number of the term only grows within one
 * directory; the id tells it from all others, also from those of a copy of the directory that goes
 * on by itself. Who was told of commits keeps the id of the term in which he was told, and the seq;
 * when he comes back we have to know whether these are still commits of ours.
 *
 * So no id may be lost of a term in which anybody was told anything, and none used again:
 *   - The id stands in the header of the term's first file, which is on the disk before the opening
 *     has ended (mrl_log_begin_file syncs it): nobody can have been told anything before.
 *   - The header of every file has the terms before its own, too. So the newest file has them all,
 *     and it is never removed. What is removed when a checkpoint has been made, or used again, are
 *     older ones.
 *   - A newest file without a record is begun again by the next opening: its header goes, and with
 *     it the term that stood there as its own. The new header has that one in its list; both copies
 *     are never without the old one or the new one (mrl_log_begin_again).
 *   - A term whose first header has never become whole, because of a crash, is not met by the next
 *     opening: that one takes the same number, and draws another id. Nobody was told anything.
 *
 * A term's commits end where the next one has gone on: what it accepted. An opening writes again
 * and syncs what it accepts, so no later one accepts less.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/hash.h"
#include "persist/log_state.h"

uint64_t mrl_log_set_term(const mrl_log_set *set) {
    return set->term;
}

uint64_t mrl_log_set_term_id(const mrl_log_set *set) {
    return set->term_id;
}

const mrl_log_terms *mrl_log_set_terms(const mrl_log_set *set) {
    return &set->terms;
}

void mrl_log_term_meet(mrl_log_set *set, const mrl_log_header *header) {
    if (header->terms.count > 0) {
        set->terms = header->terms;
    } else if (set->term_id != 0 && header->term > set->term) {
        /* Only files of version 1 have none behind others. */
        mrl_log_term before = {set->term, set->term_id, header->accepted_seq};
        mrl_log_terms_add(&set->terms, before);
    }
    set->term = header->term;
    set->term_id = header->term_id;
}

/* Whether the list has the term as it is known elsewhere, or is too short to have it: the term was
 * forgotten, or never told (version 1). */
static int agrees(const mrl_log_terms *terms, const mrl_log_term *known) {
    for (uint32_t i = 0; i < terms->count; i++)
        if (terms->list[i].term == known->term)
            return terms->list[i].id == known->id && terms->list[i].end_seq >= known->end_seq;
    return terms->count == 0 || terms->list[0].term > known->term;
}

int mrl_log_term_follows(const mrl_log_header *before, const mrl_log_header *behind) {
    const mrl_log_term own = {before->term, before->term_id, before->accepted_seq};
    if (before->term == behind->term) return before->term_id == behind->term_id;
    for (uint32_t i = 0; i < before->terms.count; i++)
        if (!agrees(&behind->terms, &before->terms.list[i])) return 0;
    return agrees(&behind->terms, &own);
}

static int is_known(const mrl_log_set *set, uint64_t id) {
    for (uint32_t i = 0; i < set->terms.count; i++)
        if (set->terms.list[i].id == id) return 1;
    return id == 0;
}

/* From the system. A simulated run has to be the same each time: there it follows from the seed,
 * and from what no two openings of a run have in common. */
static uint64_t draw(mrl_log_set *set) {
    uint64_t id = 0;
    uint64_t time_ns = (uint64_t)set->clock->wall_ns(set->clock->context);
    while (is_known(set, id))
        id = set->options.seed == 0
                 ? mrl_random_seed()
                 : mrl_mix_u64(mrl_random_next(&set->random) ^ mrl_mix_u64(time_ns + set->term));
    return id;
}

void mrl_log_term_begin(mrl_log_set *set, uint64_t accepted_seq) {
    if (set->term_id != 0) {
        mrl_log_term before = {set->term, set->term_id, accepted_seq};
        mrl_log_terms_add(&set->terms, before);
    }
    set->term++;
    set->term_id = draw(set);
    set->accepted_seq = accepted_seq;
}

void mrl_log_term_tell(const mrl_log_set *set, mrl_log_header *header) {
    header->term = set->term;
    header->accepted_seq = set->accepted_seq;
    header->term_id = set->term_id;
    header->terms = set->terms;
}
