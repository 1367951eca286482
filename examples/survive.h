/* examples/survive.h - the world in a directory: killed, opened again, and what is there then.
 *
 * What    Another process plays with a path, and tells through a pipe what was acknowledged to it;
 *         it is killed, the directory is opened here, and compared with what was told. Then
 *         sessions end by themselves. It is told with `tell`, and judged with `must`.
 * Owns    a directory below TMPDIR, which is gone afterwards.
 * Threads owner only, while no other thread runs: it forks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXAMPLES_SURVIVE_H
#define EXAMPLES_SURVIVE_H

#include "examples/game.h"

void survive(game *g);

#endif
