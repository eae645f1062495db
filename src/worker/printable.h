/* SPDX-License-Identifier: Apache-2.0 */
/* printable.h - bytes of a hostile file as text that a log or a block page can show. */
#ifndef WORKER_PRINTABLE_H
#define WORKER_PRINTABLE_H

#include "base/span.h"

/* Printable ASCII as it is, '"' and '\' with a backslash, everything else as \xNN; closed by NUL,
 * and cut with "..." when it does not fit |cap| (8 or more). */
void printable(struct span s, char *dst, size_t cap);

#endif
