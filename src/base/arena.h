/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h - memory of one owner (a connection, a transaction, a config tree) that is freed in one
 * call, with a byte budget. Going over the budget returns NULL and sets a flag that is checked
 * once, before answering. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/span.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    size_t used; /* bytes handed out, with rounding */
    size_t max;  /* 0: no limit */
    bool failed; /* some allocation since init or reset got NULL */
};

/* Allocates nothing yet. |max| in bytes. */
void arena_init(struct arena *a, size_t max);
void arena_done(struct arena *a);
/* Forgets every object but keeps the first chunk for the next use. */
void arena_reset(struct arena *a);
/* Zeroed, aligned for any type; NULL over the budget or out of memory. */
void *arena_alloc(struct arena *a, size_t n);
/* |count| * |size| with overflow checked. */
void *arena_array(struct arena *a, size_t count, size_t size);
/* Copy with a closing NUL. ret.p == NULL on failure. */
struct span arena_dup(struct arena *a, struct span s);
/* As arena_dup, for C strings. NULL on failure. */
char *arena_text(struct arena *a, struct span s);

/* Chunks of the usual size are kept by their thread for its next arenas, up to a limit. Gives the
 * calling thread's back. */
void arena_pool_trim(void);

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))

/* Test seam: every |n|-th allocation from now on of the calling thread fails once (0: off). Counts
 * arena chunks, chain rings and blocks through mem_fail_now(). */
void mem_fail_after(unsigned n);
bool mem_fail_now(void);

#endif
