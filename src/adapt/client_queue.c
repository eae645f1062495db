/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/client_queue.h"

#include <stddef.h>
#include <utlist.h>

#define CROWDS CLIENT_QUEUE_CROWDS

static unsigned index_of(uint64_t client)
{
    return (unsigned)(client % CROWDS);
}

/* The first crowd from |i| on that has an entry; CROWDS: none. */
static unsigned filled_from(const struct client_queue *q, unsigned i)
{
    while (i < CROWDS) {
        uint64_t bits = q->filled[i / 64] >> i % 64;

        if (bits)
            return i + (unsigned)__builtin_ctzll(bits);
        i = (i / 64 + 1) * 64;
    }
    return CROWDS;
}

static struct client_queue_crowd *crowd_of(struct client_queue *q,
                                           const struct client_queue_entry *e)
{
    return &q->crowds[index_of(e->client)];
}

static struct client_queue_entry **list_of(struct client_queue_crowd *c,
                                           const struct client_queue_entry *e)
{
    return e->held ? &c->held : &c->ready;
}

static void count_in(struct client_queue *q, const struct client_queue_entry *e)
{
    unsigned i = index_of(e->client);

    q->n++;
    q->n_ready += !e->held;
    q->crowds[i].n++;
    q->filled[i / 64] |= UINT64_C(1) << i % 64;
}

static void count_out(struct client_queue *q, const struct client_queue_entry *e)
{
    unsigned i = index_of(e->client);

    q->n--;
    q->n_ready -= !e->held;
    if (--q->crowds[i].n == 0)
        q->filled[i / 64] &= ~(UINT64_C(1) << i % 64);
}

void client_queue_add(struct client_queue *q, struct client_queue_entry *e, uint64_t client,
                      bool held)
{
    *e = (struct client_queue_entry){.client = client, .number = ++q->n_added, .held = held};
    struct client_queue_entry **list = list_of(crowd_of(q, e), e);

    DL_APPEND(*list, e);
    count_in(q, e);
}

void client_queue_release(struct client_queue *q, struct client_queue_entry *e)
{
    struct client_queue_crowd *c = crowd_of(q, e);

    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it loses count in the list macros */
    DL_DELETE(c->held, e);
    e->held = false;
    DL_APPEND(c->ready, e);
    q->n_ready++;
}

void client_queue_remove(struct client_queue *q, struct client_queue_entry *e)
{
    struct client_queue_entry **list = list_of(crowd_of(q, e), e);

    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): as above */
    DL_DELETE(*list, e);
    count_out(q, e);
}

/* Of those who have had no turn the one that waits longest. */
static bool is_before(const struct client_queue_crowd *a, const struct client_queue_crowd *b)
{
    return a->turn != b->turn ? a->turn < b->turn : a->ready->number < b->ready->number;
}

struct client_queue_entry *client_queue_take(struct client_queue *q)
{
    struct client_queue_crowd *best = NULL;
    struct client_queue_entry *e;

    for (unsigned i = filled_from(q, 0); i < CROWDS; i = filled_from(q, i + 1)) {
        struct client_queue_crowd *c = &q->crowds[i];

        if (c->ready && (!best || is_before(c, best)))
            best = c;
    }
    if (!best)
        return NULL;
    e = best->ready;
    client_queue_remove(q, e);
    e->turn = best->turn;
    best->turn = ++q->n_turns;
    return e;
}

void client_queue_put_back(struct client_queue *q, struct client_queue_entry *e)
{
    struct client_queue_crowd *c = crowd_of(q, e);

    DL_PREPEND(c->ready, e);
    count_in(q, e);
    if (e->turn < c->turn)
        c->turn = e->turn;
}

struct client_queue_entry *client_queue_last_of_most(const struct client_queue *q, uint64_t client)
{
    const struct client_queue_crowd *own = &q->crowds[index_of(client)], *most = own;

    for (unsigned i = filled_from(q, 0); i < CROWDS; i = filled_from(q, i + 1))
        if (q->crowds[i].n > most->n)
            most = &q->crowds[i];
    if (most->n <= own->n + 1)
        return NULL;
    return most->held ? most->held->prev : most->ready->prev; /* what is held is the newer */
}

struct client_queue_entry *client_queue_first(const struct client_queue *q)
{
    unsigned i = filled_from(q, 0);

    if (i == CROWDS)
        return NULL;
    return q->crowds[i].ready ? q->crowds[i].ready : q->crowds[i].held;
}

struct client_queue_entry *client_queue_next(const struct client_queue *q,
                                             const struct client_queue_entry *e)
{
    unsigned i = index_of(e->client);

    if (e->next)
        return e->next;
    if (!e->held && q->crowds[i].held)
        return q->crowds[i].held;
    i = filled_from(q, i + 1);
    if (i == CROWDS)
        return NULL;
    return q->crowds[i].ready ? q->crowds[i].ready : q->crowds[i].held;
}
