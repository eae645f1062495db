/* SPDX-License-Identifier: Apache-2.0 */
/* block.h - ref-counted 64 KiB blocks, into which everything from the net is read, and slices of
 * them. Forwarding a body is counting, not copying.
 *
 * Threads: a block belongs to the thread that made it: only that thread takes and drops references
 * (the count is not atomic). Another thread may read the bytes while the owner holds a reference
 * for it. The pool is per thread, last in first out, so that the block that is handed out is the
 * one still in the cache. */
#ifndef BASE_BLOCK_H
#define BASE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/span.h"

#define BLOCK_SIZE 65536u

struct block {
    uint8_t *data; /* BLOCK_SIZE bytes */
    uint32_t refs;
    uint32_t used; /* bytes filled from the front; a hint for whoever appends */
    bool is_text;  /* of block_new_text() */
    struct block *next;
};

struct slice {
    struct block *block;
    uint32_t off;
    uint32_t len;
};

/* A block with one reference and used == 0, or NULL when the memory budget or the machine has no
 * more. */
struct block *block_new(void);
/* The same, for what is mostly short and lies at the front, like heads. Such blocks are kept apart:
 * of a block that was never filled only the front is memory. */
struct block *block_new_text(void);
struct block *block_ref(struct block *b);
/* NULL is fine. */
void block_unref(struct block *b);
/* The budget that live blocks of all threads count against (BLOCK_SIZE each); NULL for none. Set
 * before the first block_new(), at start. */
void block_set_budget(struct budget *b);
/* Gives pooled blocks of the calling thread back to the system, but for |keep|. */
void block_pool_trim(size_t keep);
/* A thread's pool holds what was in use lately. To be called about once a second by each thread
 * with blocks: what has not been needed since the last call goes back to the system. */
void block_pool_age(void);
/* Would calling it, now or later, give anything back? A thread that waits for long asks this. */
bool block_pool_has_spare(void);

/* A view that borrows: the bytes live as long as somebody holds the block. */
struct span slice_span(struct slice s);
/* Part of |s|; |off| + |len| must lie within it. Takes no reference. */
struct slice slice_sub(struct slice s, uint32_t off, uint32_t len);
/* Of its bytes nothing is left, for whoever gets the block next or looks at its memory. None is
 * fine. */
void slice_wipe(struct slice s);

#endif
