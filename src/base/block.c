/* SPDX-License-Identifier: Apache-2.0 */
#include "base/block.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"

/* Blocks that a thread keeps for itself for ever, and those it keeps at most: as many as were
 * needed lately, because mapping one and unmapping it again costs more than a request. */
#define POOL_KEEP 16u
#define POOL_MAX  512u

struct pool {
    struct block *first;
    size_t n;
    size_t live; /* handed out by this thread */
    size_t peak; /* the most of them since block_pool_age() */
};

/* A thread's own: of blocks that were filled, and of those that had text. */
static _Thread_local struct pool bodies, texts;
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

static struct block *take(struct pool *p)
{
    struct block *b;

    if (mem_fail_now() || !budget_take(block_budget, BLOCK_SIZE))
        return NULL;
    b = p->first;
    if (b) {
        p->first = b->next;
        p->n--;
    } else {
        b = block_map();
        if (!b) {
            budget_give(block_budget, BLOCK_SIZE);
            return NULL;
        }
    }
    b->refs = 1;
    b->used = 0;
    b->is_text = p == &texts;
    b->next = NULL;
    if (++p->live > p->peak)
        p->peak = p->live;
    return b;
}

struct block *block_new(void)
{
    return take(&bodies);
}

struct block *block_new_text(void)
{
    return take(&texts);
}

/* With those that are out no more than have been out at once, so that a peak is what it was. */
static size_t pool_keep(const struct pool *p)
{
    size_t spare = p->peak - p->live;

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
    struct pool *p = b->is_text ? &texts : &bodies;

    budget_give(block_budget, BLOCK_SIZE);
    p->live--;
    if (p->n >= pool_keep(p)) {
        block_unmap(b);
        return;
    }
    b->next = p->first;
    p->first = b;
    p->n++;
}

static void trim(struct pool *p, size_t keep)
{
    while (p->n > keep) {
        struct block *b = p->first;

        p->first = b->next;
        p->n--;
        block_unmap(b);
    }
}

void block_pool_trim(size_t keep)
{
    trim(&bodies, keep);
    trim(&texts, keep);
}

static void age(struct pool *p)
{
    trim(p, pool_keep(p));
    p->peak = p->live;
}

void block_pool_age(void)
{
    age(&bodies);
    age(&texts);
}

bool block_pool_has_spare(void)
{
    return bodies.n > POOL_KEEP || texts.n > POOL_KEEP;
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

void slice_wipe(struct slice s)
{
    if (s.len)
        explicit_bzero(s.block->data + s.off, s.len);
}
