/* SPDX-License-Identifier: Apache-2.0 */
#include "base/block.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/arena.h"

/* Blocks that a thread keeps for itself for ever, and those it keeps at most: as many as were
 * needed lately, because mapping one and unmapping it again costs more than a request. */
#define POOL_KEEP 16u
#define POOL_MAX  512u

/* A thread's own. */
static _Thread_local struct {
    struct block *first;
    size_t n;
    size_t live; /* handed out by this thread */
    size_t peak; /* the most of them since block_pool_age() */
} pool;
static struct budget *block_budget;

void block_set_budget(struct budget *b)
{
    block_budget = b;
}

/* Data is mapped, not malloc'ed: a freed block leaves RSS at once and an over-run meets the next
 * mapping sooner. */
static struct block *block_map(void)
{
    struct block *b = malloc(sizeof *b);
    void *data;

    if (!b)
        return NULL;
    data = mmap(NULL, BLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        free(b);
        return NULL;
    }
    b->data = data;
    return b;
}

static void block_unmap(struct block *b)
{
    (void)munmap(b->data, BLOCK_SIZE);
    free(b);
}

struct block *block_new(void)
{
    struct block *b;

    if (mem_fail_now() || !budget_take(block_budget, BLOCK_SIZE))
        return NULL;
    b = pool.first;
    if (b) {
        pool.first = b->next;
        pool.n--;
    } else {
        b = block_map();
        if (!b) {
            budget_give(block_budget, BLOCK_SIZE);
            return NULL;
        }
    }
    b->refs = 1;
    b->used = 0;
    b->next = NULL;
    if (++pool.live > pool.peak)
        pool.peak = pool.live;
    return b;
}

/* With those that are out no more than have been out at once, so that a peak is what it was. */
static size_t pool_keep(void)
{
    size_t spare = pool.peak - pool.live;

    if (spare < POOL_KEEP)
        return POOL_KEEP;
    return spare < POOL_MAX ? spare : POOL_MAX;
}

struct block *block_ref(struct block *b)
{
    assert(b->refs > 0 && b->refs < UINT32_MAX);
    b->refs++;
    return b;
}

void block_unref(struct block *b)
{
    if (!b)
        return;
    assert(b->refs > 0);
    if (--b->refs > 0)
        return;
    budget_give(block_budget, BLOCK_SIZE);
    pool.live--;
    if (pool.n >= pool_keep()) {
        block_unmap(b);
        return;
    }
    b->next = pool.first;
    pool.first = b;
    pool.n++;
}

void block_pool_trim(size_t keep)
{
    while (pool.n > keep) {
        struct block *b = pool.first;

        pool.first = b->next;
        pool.n--;
        block_unmap(b);
    }
}

void block_pool_age(void)
{
    block_pool_trim(pool_keep());
    pool.peak = pool.live;
}

bool block_pool_has_spare(void)
{
    return pool.n > POOL_KEEP;
}

struct span slice_span(struct slice s)
{
    return (struct span){s.block ? (const char *)s.block->data + s.off : NULL, s.len};
}

struct slice slice_sub(struct slice s, uint32_t off, uint32_t len)
{
    assert(off <= s.len && len <= s.len - off);
    return (struct slice){s.block, s.off + off, len};
}
