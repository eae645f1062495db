/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_CHUNK 4096u

struct arena_chunk {
    struct arena_chunk *next;
    size_t cap, used;
    alignas(max_align_t) unsigned char data[];
};

/* Chunks that a thread keeps for whatever begins next: a transaction begins on one that is still in
 * the cache, and a connection that waits for its next request has none of its own. */
#define POOL_KEEP 64u

static _Thread_local struct arena_chunk *pool;
static _Thread_local unsigned pool_n;
static _Thread_local unsigned fail_countdown;

void mem_fail_after(unsigned n)
{
    fail_countdown = n;
}

bool mem_fail_now(void)
{
    return fail_countdown && --fail_countdown == 0;
}

void arena_pool_trim(void)
{
    while (pool) {
        struct arena_chunk *next = pool->next;

        free(pool);
        pool = next;
    }
    pool_n = 0;
}

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

static void chunk_free(struct arena_chunk *c)
{
    if (IS_SANITIZED || c->cap != ARENA_CHUNK || pool_n >= POOL_KEEP) {
        free(c);
        return;
    }
    c->next = pool;
    pool = c;
    pool_n++;
}

static void chunks_free(struct arena_chunk *c)
{
    while (c) {
        struct arena_chunk *next = c->next;

        chunk_free(c);
        c = next;
    }
}

void arena_done(struct arena *a)
{
    chunks_free(a->chunks);
    *a = (struct arena){.max = a->max};
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *keep = a->chunks;

    while (keep && keep->next) { /* the first chunk made is the last of the list */
        struct arena_chunk *next = keep->next;

        chunk_free(keep);
        keep = next;
    }
    if (keep)
        keep->used = 0;
    a->chunks = keep;
    a->used = 0;
    a->failed = false;
}

static void *arena_fail(struct arena *a)
{
    a->failed = true;
    return NULL;
}

static struct arena_chunk *chunk_new(size_t n)
{
    size_t cap = n > ARENA_CHUNK ? n : ARENA_CHUNK;
    struct arena_chunk *c;

    if (mem_fail_now())
        return NULL;
    if (cap == ARENA_CHUNK && pool) {
        c = pool;
        pool = c->next;
        pool_n--;
    } else {
        c = malloc(sizeof *c + cap);
    }
    if (c)
        *c = (struct arena_chunk){.cap = cap};
    return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
    const size_t align = alignof(max_align_t);
    struct arena_chunk *c = a->chunks;
    void *p;

    if (n > SIZE_MAX / 2)
        return arena_fail(a);
    n = (n + align - 1) & ~(align - 1);
    if (a->max && (a->used > a->max || n > a->max - a->used))
        return arena_fail(a);
    if (!c || n > c->cap - c->used) {
        c = chunk_new(n);
        if (!c)
            return arena_fail(a);
        c->next = a->chunks;
        a->chunks = c;
    }
    p = c->data + c->used;
    c->used += n;
    a->used += n;
    memset(p, 0, n);
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t n;

    if (__builtin_mul_overflow(count, size, &n))
        return arena_fail(a);
    return arena_alloc(a, n);
}

struct span arena_dup(struct arena *a, struct span s)
{
    char *p = arena_text(a, s);

    return p ? (struct span){p, s.n} : SPAN_NONE;
}

char *arena_text(struct arena *a, struct span s)
{
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : arena_fail(a);

    if (p && s.n)
        memcpy(p, s.p, s.n);
    return p;
}
