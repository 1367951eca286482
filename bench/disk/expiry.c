/* bench/disk/expiry.c - expiry: how late due documents are removed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/common/measure.h"
#include "bench/disk/disk.h"

void disk_expiry(const disk_stage *disk) {
    (void)disk;
}
