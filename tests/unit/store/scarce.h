/* tests/unit/store/scarce.h - what the tests of the store share below a database: memory that is
 * refused when the test says so, a domain of such memory, the seed.
 *
 * What    A supply grants so many allocations and refuses what comes after; refuse_in_turn runs a
 *         test with nothing granted, then with one allocation, then with two, until nothing is
 *         refused any more. A ground is a domain with one member and a supply.
 * Threads owner only; but while all is granted, a supply writes nothing and may be asked by any.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MRL_TESTS_STORE_SCARCE_H
#define MRL_TESTS_STORE_SCARCE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "memory/domain.h"
#include "tests/unit/seed.h"

#define UNUSED __attribute__((unused))

/* ---- memory that can be refused ---- */

typedef struct supply {
    mrl_refusal refusal; /* for who asks; its context is the supply, which must stay in its place */
    uint64_t grants;     /* allocations that still succeed; UINT64_MAX: all */
    uint64_t refusals;   /* how many are refused then, before all succeed again */
    uint64_t refused;    /* how many were */
} supply;

UNUSED static int supply_refuses(void *context, size_t size) {
    supply *s = context;
    (void)size;
    if (s->grants == UINT64_MAX) return 0;
    if (s->grants > 0) {
        s->grants--;
        return 0;
    }
    if (s->refused == s->refusals) return 0;
    s->refused++;
    return 1;
}

UNUSED static void supply_init(supply *s) {
    *s = (supply){{s, supply_refuses}, UINT64_MAX, UINT64_MAX, 0};
}

/* From now on so many allocations succeed, and none after them. */
UNUSED static void supply_only(supply *s, uint64_t grants) {
    s->grants = grants;
    s->refusals = UINT64_MAX;
    s->refused = 0;
}

/* From now on so many allocations succeed, the next one does not, and all after it do. */
UNUSED static void supply_all_but(supply *s, uint64_t grants) {
    supply_only(s, grants);
    s->refusals = 1;
}

/* From now on all succeed. Gives how many were refused before. */
UNUSED static uint64_t supply_all(supply *s) {
    s->grants = UINT64_MAX;
    return s->refused;
}

/* Sets everything up anew, grants so many allocations, and gives how many were refused then. */
typedef uint64_t refused_fn(void *context, uint64_t grants);

/* At least `least` rounds must meet a refusal: else what they are for takes no memory any more. */
UNUSED static void refuse_in_turn(refused_fn *round, void *context, uint64_t least) {
    uint64_t grants = 0;
    while (round(context, grants) > 0) assert_in_range(++grants, 1, 10000);
    assert_in_range(grants, least, UINT64_MAX);
}

/* ---- a domain without a database ---- */

typedef struct ground {
    mrl_domain *domain;
    mrl_member *member;
    mrl_purpose purpose; /* of the memory that is counted */
    uint64_t bytes_before;
    supply supply;
} ground;

UNUSED static void ground_open(ground *g, mrl_purpose purpose) {
    memset(g, 0, sizeof *g);
    supply_init(&g->supply);
    const mrl_domain_options options = {.refusal = &g->supply.refusal};
    assert_int_equal(mrl_domain_create(&options, &g->domain), MERLE_OK);
    g->member = mrl_member_join(g->domain);
    assert_non_null(g->member);
    g->purpose = purpose;
    g->bytes_before = mrl_domain_bytes(g->domain, purpose);
}

UNUSED static uint64_t ground_bytes(const ground *g) {
    return mrl_domain_bytes(g->domain, g->purpose) - g->bytes_before;
}

/* Everything must have been given back. */
UNUSED static void ground_close(ground *g) {
    assert_int_equal(ground_bytes(g), 0);
    mrl_domain_destroy(g->domain);
}

#endif
