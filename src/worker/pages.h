/* SPDX-License-Identifier: Apache-2.0 */
/* pages.h - anonymous memory that grows without being copied and goes back to the system at once:
 * what decoders write to. */
#ifndef WORKER_PAGES_H
#define WORKER_PAGES_H

#include "base/span.h"

/* All zero: empty. */
struct pages {
    uint8_t *p;
    size_t n, cap; /* used, mapped */
};

/* Makes room for |n| bytes at p + |n| used ones. ERR_NOMEM leaves everything as it was. */
NODISCARD enum err pages_reserve(struct pages *m, size_t n);
void pages_done(struct pages *m);

#endif
