/* SPDX-License-Identifier: Apache-2.0 */
/* icap_progress.h - files whose users look at a progress page (slow.mode: progress) instead of
 * waiting: one table for the process, since whoever asks for the file comes on any connection of
 * any loop. icap_progress_table.h says what is in it.
 *
 * Threads: any; one short lock. */
#ifndef ICAP_PROGRESS_H
#define ICAP_PROGRESS_H

#include "observe/metrics.h"

struct icap_progress;

NODISCARD enum err icap_progress_new(struct metrics *m, struct icap_progress **ret);
/* After all servers and loops are gone. NULL is fine. */
void icap_progress_free(struct icap_progress *p);

#endif
