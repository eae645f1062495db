/* SPDX-License-Identifier: Apache-2.0 */
/* guard.h - input that ends at a page that may not be touched: reading past it faults, also where
 * no sanitizer looks (vector code). */
#ifndef TEST_GUARD_H
#define TEST_GUARD_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/span.h"

struct guard {
    char *map;
    size_t n_map;
    size_t n; /* usable bytes, right before the closed page */
};

static inline struct guard guard_new(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (n + page - 1) / page * page;
    struct guard g = {.n_map = room + page, .n = n};

    g.map = mmap(NULL, g.n_map, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect(g.map + room, page, PROT_NONE) != 0)
        abort();
    return g;
}

static inline void guard_free(struct guard *g)
{
    (void)munmap(g->map, g->n_map);
    g->map = NULL;
}

/* Copies |s| so that its last byte is the last one before the closed page. */
static inline struct span guard_span(struct guard *g, struct span s)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *at = g->map + g->n_map - page - s.n;

    if (s.n > g->n)
        abort();
    if (s.n)
        memcpy(at, s.p, s.n);
    return (struct span){at, s.n};
}

#endif
