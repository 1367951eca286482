/* tests/model/linearize.c - the search for an order of calls.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/model/linearize.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { WORD_COUNT = LINEAR_CALL_MAX / 64, MEMO_SIZE_FIRST = 1024 };

/* What the search has come to: which calls have happened, and what the registers hold then. */
typedef struct place {
    uint64_t happened[WORD_COUNT];
    uint64_t registers[LINEAR_REGISTER_MAX];
} place;

typedef struct search {
    const linear_call *calls;
    size_t call_count;
    place *memo; /* open addressing; is_used tells which */
    uint8_t *is_used;
    size_t memo_size, memo_count;
} search;

/* ---- one call ---- */

/* Lets the call happen; 0: it could not have given what it gave. */
static int happen(const linear_call *call, uint64_t *registers) {
    uint64_t *at = &registers[call->at], *other = &registers[call->other], was = *at;
    int is_possible;
    switch (call->kind) {
    case LINEAR_GET:
        return was == call->value;
    case LINEAR_GET_TWO:
        return was == call->value && *other == call->other_value;
    case LINEAR_PUT:
        *at = call->value;
        return 1;
    case LINEAR_SWAP:
        *at = *other;
        *other = was;
        return 1;
    case LINEAR_INSERT:
        is_possible = was == 0;
        break;
    case LINEAR_REMOVE:
        is_possible = was != 0;
        break;
    case LINEAR_CAS:
        is_possible = was == call->expected;
        break;
    case LINEAR_TAKE:
        is_possible = was == 0 || was == call->value;
        break;
    default:
        is_possible = was == call->value;
        break; /* LINEAR_RELEASE */
    }
    if (is_possible != call->is_done) return 0;
    if (call->is_done)
        *at = call->kind == LINEAR_REMOVE || call->kind == LINEAR_RELEASE ? 0 : call->value;
    return 1;
}

/* ---- what led nowhere ---- */

static size_t memo_find(const search *s, const place *asked) {
    size_t at = (size_t)mrl_hash_bytes(asked, sizeof *asked, 1) & (s->memo_size - 1);
    while (s->is_used[at] && memcmp(&s->memo[at], asked, sizeof *asked) != 0)
        at = (at + 1) & (s->memo_size - 1);
    return at;
}

static void memo_grow(search *s) {
    search larger = *s;
    larger.memo_size = s->memo_size == 0 ? MEMO_SIZE_FIRST : 2 * s->memo_size;
    larger.memo = calloc(larger.memo_size, sizeof *larger.memo);
    larger.is_used = calloc(larger.memo_size, 1);
    if (larger.memo == NULL || larger.is_used == NULL) abort();
    for (size_t i = 0; i < s->memo_size; i++) {
        if (!s->is_used[i]) continue;
        size_t at = memo_find(&larger, &s->memo[i]);
        larger.memo[at] = s->memo[i];
        larger.is_used[at] = 1;
    }
    free(s->memo);
    free(s->is_used);
    *s = larger;
}

/* 1: it was not there yet. */
static int memo_add(search *s, const place *added) {
    if (2 * s->memo_count >= s->memo_size) memo_grow(s);
    size_t at = memo_find(s, added);
    if (s->is_used[at]) return 0;
    s->memo[at] = *added;
    s->is_used[at] = 1;
    s->memo_count++;
    return 1;
}

/* ---- the search ---- */

static int has_happened(const place *p, size_t call) {
    return (int)((p->happened[call / 64] >> (call % 64)) & 1);
}

/* A call may come next if no other that has not happened was over before it began. */
static uint64_t first_end(const search *s, const place *p) {
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < s->call_count; i++)
        if (!has_happened(p, i) && s->calls[i].end_ns < first) first = s->calls[i].end_ns;
    return first;
}

static int look(search *s, const place *from) {
    uint64_t end = first_end(s, from);
    if (end == UINT64_MAX) return 1; /* all have happened */
    for (size_t i = 0; i < s->call_count; i++) {
        place to = *from;
        if (has_happened(from, i) || s->calls[i].begin_ns > end) continue;
        if (!happen(&s->calls[i], to.registers)) continue;
        to.happened[i / 64] |= (uint64_t)1 << (i % 64);
        if (memo_add(s, &to) && look(s, &to)) return 1;
    }
    return 0;
}

int linear_check(const linear_call *calls, size_t call_count) {
    search s = {calls, call_count, NULL, NULL, 0, 0};
    place start;
    if (call_count > LINEAR_CALL_MAX) return -1;
    memset(&start, 0, sizeof start);
    memo_grow(&s);
    int result = look(&s, &start);
    free(s.memo);
    free(s.is_used);
    return result;
}
