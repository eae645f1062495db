/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_remote.h - scanners on other machines, over icap:// and icaps://, for rooms that know
 * nothing of ICAP. One for each loop.
 *
 * Threads: belongs to its loop's thread. */
#ifndef PROC_GATEWAY_REMOTE_H
#define PROC_GATEWAY_REMOTE_H

#include "adapt/remote_scan.h"
#include "net/loop.h"
#include "observe/troubles.h"

struct gateway_remote;
/* |troubles| hears of scanners that cannot be asked, and outlives it; NULL: nobody does. */
NODISCARD enum err gateway_remote_new(struct loop *l, struct troubles *troubles,
                                      struct gateway_remote **ret);
/* Every scan must have ended or been cancelled. NULL is fine. */
void gateway_remote_free(struct gateway_remote *r);
/* How others see it; lives as long as |r|. */
const struct remote_scanner *gateway_remote_scanner(struct gateway_remote *r);

#endif
