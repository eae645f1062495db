/* SPDX-License-Identifier: Apache-2.0 */
#include "net/fair_queue.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS   256u
#define WORD_BITS 64u

struct bucket {
    struct fair_task *first, *last;
};

struct fair_queue {
    struct loop *loop;
    unsigned turn_max;
    uint64_t turn_us, round_us;
    unsigned n_last;   /* tasks of the last turn; 0: nothing waited behind it */
    uint64_t began_us; /* when it began */
    unsigned next;     /* the bucket whose turn it is */
    struct bucket buckets[BUCKETS];
    uint64_t filled[BUCKETS / WORD_BITS]; /* a bit for each bucket that is not empty */
    struct task turn;
    bool turn_queued; /* also while it runs */
};

static void turn_run(struct task *t);

enum err fair_queue_new(struct loop *l, unsigned turn_max, uint64_t turn_us, uint64_t round_us,
                        struct fair_queue **ret)
{
    struct fair_queue *q = calloc(1, sizeof *q);

    if (!q)
        return ERR_NOMEM;
    q->loop = l;
    q->turn_max = turn_max;
    q->turn_us = turn_us;
    q->round_us = round_us;
    q->turn.run = turn_run;
    *ret = q;
    return OK;
}

/* The first bucket from |q->next| on, round the end, that has something; BUCKETS: none. */
static unsigned bucket_find(const struct fair_queue *q)
{
    unsigned word = q->next / WORD_BITS, bit = q->next % WORD_BITS;
    uint64_t bits = q->filled[word] >> bit << bit;

    for (unsigned i = 0; i <= BUCKETS / WORD_BITS; i++) {
        if (bits)
            return word * WORD_BITS + (unsigned)__builtin_ctzll(bits);
        word = (word + 1) % (BUCKETS / WORD_BITS);
        bits = q->filled[word];
    }
    return BUCKETS;
}

/* One task, of the bucket whose turn it is. False: none waits. */
static bool run_next(struct fair_queue *q)
{
    unsigned i = bucket_find(q);
    struct bucket *b;
    struct fair_task *t;

    if (i == BUCKETS)
        return false;
    b = &q->buckets[i];
    t = b->first;
    b->first = t->next;
    if (!b->first) {
        b->last = NULL;
        q->filled[i / WORD_BITS] &= ~(UINT64_C(1) << i % WORD_BITS);
    }
    q->next = (i + 1) % BUCKETS;
    t->next = NULL;
    t->queued = false;
    t->run(t);
    return true;
}

static bool is_empty(const struct fair_queue *q)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < BUCKETS / WORD_BITS; i++)
        any |= q->filled[i];
    return any == 0;
}

/* Much of what a task causes is put off, and runs after the turn. A turn that somebody else's work
 * on the core made long cuts the next one short, but that grows again. */
static unsigned turn_len(const struct fair_queue *q, uint64_t now_us)
{
    uint64_t took = now_us - q->began_us, n = q->n_last;

    if (n == 0 || took == 0)
        return q->turn_max;
    if (took > q->round_us / 2)
        n = n * q->round_us / took;
    else
        n *= 2;
    return n == 0 ? 1 : n < q->turn_max ? (unsigned)n : q->turn_max;
}

static void turn_run(struct task *t)
{
    struct fair_queue *q = CONTAINER_OF(t, struct fair_queue, turn);
    uint64_t now = loop_now_us(q->loop), end = now + q->turn_us;
    unsigned max = turn_len(q, now), n = 0;

    /* Most turns have one task, and then need no clock at their end. */
    while (run_next(q) && ++n < max && !is_empty(q))
        if (loop_now_us(q->loop) >= end)
            break;
    q->began_us = now;
    q->n_last = is_empty(q) ? 0 : n;
    if (q->n_last)
        loop_yield(q->loop, &q->turn);
    else
        q->turn_queued = false;
}

void fair_queue_add(struct fair_queue *q, struct fair_task *t, uint64_t client)
{
    unsigned i = (unsigned)(client % BUCKETS);
    struct bucket *b = &q->buckets[i];

    if (t->queued)
        return;
    t->queued = true;
    t->next = NULL;
    if (b->last)
        b->last->next = t;
    else
        b->first = t;
    b->last = t;
    q->filled[i / WORD_BITS] |= UINT64_C(1) << i % WORD_BITS;
    if (q->turn_queued)
        return;
    q->turn_queued = true;
    loop_defer(q->loop, &q->turn);
}

void fair_queue_free(struct fair_queue *q)
{
    assert(!q || !q->turn_queued);
    free(q);
}
