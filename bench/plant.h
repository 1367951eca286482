/* bench/plant.h - a system with one fault planted in it, so that the checks can be seen to fail.
 *
 * What    the same system, but for one function that goes wrong once, at its third call.
 * Threads as the system's own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BENCH_PLANT_H
#define BENCH_PLANT_H

#include "bench/common/system.h"

/* fault: insert, later (a document is left out), get (a wrong score), range, top, tag, tagand (a
 * document less, one more, or in the wrong place), update (is lost), patch (is lost). Dies if there
 * is no such fault. The result is good until the next call. */
const bench_system *bench_plant(const bench_system *system, const char *fault);

#endif
