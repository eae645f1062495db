/* SPDX-License-Identifier: Apache-2.0 */
#include "base/block.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/arena.h"

/* Blocks that a thread keeps for itself; above it they go back to the system, so that a burst does
 * not stay in RSS. */
#define POOL_KEEP 32

static _Thread_local struct block *pool;
static _Thread_local size_t pool_n;
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
    b = pool;
    if (b) {
        pool = b->next;
        pool_n--;
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
    return b;
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
    if (pool_n >= POOL_KEEP) {
        block_unmap(b);
        return;
    }
    b->next = pool;
    pool = b;
    pool_n++;
}

void block_pool_trim(size_t keep)
{
    while (pool_n > keep) {
        struct block *b = pool;

        pool = b->next;
        pool_n--;
        block_unmap(b);
    }
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
