/* tests/model/linearize.h - whether a recorded history could have happened one call after the
 * other.
 *
 * What    A history is a list of calls on a few registers, each with the time before and after
 *         it and with what it gave. The checker looks for an order of the calls, each at an
 *         instant between its two times, in which each gives what it gave: depth first,
 *         remembering which sets of calls with which registers led nowhere.
 * Owns    nothing after it returns.
 * Threads any; each call has its own memory.
 * Limits  LINEAR_CALL_MAX calls, LINEAR_REGISTER_MAX registers. 0 stands for "nothing there".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TESTS_MODEL_LINEARIZE_H
#define TESTS_MODEL_LINEARIZE_H

#include <stddef.h>
#include <stdint.h>

enum { LINEAR_CALL_MAX = 256, LINEAR_REGISTER_MAX = 4 };

typedef enum linear_kind {
    LINEAR_GET = 0, /* gave `value` */
    LINEAR_GET_TWO, /* gave `value` and `other_value` of `other`, at one instant */
    LINEAR_PUT,     /* of `value` */
    LINEAR_INSERT,  /* done if nothing was there */
    LINEAR_REMOVE,  /* done if something was there */
    LINEAR_CAS,     /* `expected` becomes `value`, done if it was that */
    LINEAR_TAKE,    /* a unique value, of the owner `value`: done if free, or the owner's already */
    LINEAR_RELEASE, /* by the owner `value`: done if it was his */
    LINEAR_SWAP     /* of the register and `other`, at one instant */
} linear_kind;

typedef struct linear_call {
    uint64_t begin_ns, end_ns;
    linear_kind kind;
    uint32_t at, other; /* registers */
    uint64_t value, other_value, expected;
    int is_done; /* of those that may be refused */
} linear_call;

/* 1: it could have happened; 0: it could not; -1: too long. All registers begin with 0. */
int linear_check(const linear_call *calls, size_t call_count);

#endif
