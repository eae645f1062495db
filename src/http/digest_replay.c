/* SPDX-License-Identifier: Apache-2.0 */
#include "http/digest_replay.h"

#include <pthread.h>
#include <stdlib.h>

#define WINDOW 64u
#define SHARES 256u       /* users share counters; few use many nonces */
#define BURNT  SHARES     /* behind those of users */
#define NONE   UINT32_MAX /* ends a chain */

struct entry {
    uint64_t random;
    uint64_t until_s;
    uint64_t seen;    /* bit i: highest - i was used */
    uint32_t highest; /* UINT32_MAX with all bits: used up as a whole */
    uint32_t next;    /* in its chain, or among the free ones */
    uint32_t share;   /* whose it is */
};

struct digest_replay {
    pthread_mutex_t lock;
    uint32_t n_max, n;
    uint32_t free; /* dropped ones; NONE: the first |n| are in use, and none behind them ever was */
    uint32_t mask; /* of chains: a power of two less one */
    uint64_t forgot_s; /* no nonce that ends later was dropped */
    uint64_t sweep_s;  /* nothing is over before this */
    uint32_t held[SHARES + 1];
    uint32_t *chains; /* behind the entries; nonces are random, and so spread by themselves */
    struct entry entries[];
};

struct digest_replay *digest_replay_new(uint32_t n)
{
    uint32_t chains = 1;

    if (n == 0 || n > DIGEST_REPLAY_MAX)
        return NULL;
    while (chains < n)
        chains *= 2;
    struct digest_replay *r = calloc(1, sizeof *r + n * sizeof r->entries[0]);

    if (!r)
        return NULL;
    r->chains = malloc(chains * sizeof r->chains[0]);
    if (!r->chains || pthread_mutex_init(&r->lock, NULL) != 0) {
        free(r->chains);
        free(r);
        return NULL;
    }
    memset(r->chains, 0xff, chains * sizeof r->chains[0]); /* NONE */
    r->n_max = n;
    r->mask = chains - 1;
    r->sweep_s = UINT64_MAX;
    r->free = NONE;
    return r;
}

void digest_replay_free(struct digest_replay *r)
{
    if (!r)
        return;
    (void)pthread_mutex_destroy(&r->lock);
    free(r->chains);
    free(r);
}

uint32_t digest_replay_count(struct digest_replay *r)
{
    (void)pthread_mutex_lock(&r->lock);
    uint32_t n = r->n;

    (void)pthread_mutex_unlock(&r->lock);
    return n;
}

/* ---- under the lock ---- */

static void drop(struct digest_replay *r, uint32_t *link)
{
    uint32_t i = *link;
    struct entry *e = &r->entries[i];

    if (e->until_s > r->forgot_s)
        r->forgot_s = e->until_s;
    *link = e->next;
    e->next = r->free;
    r->free = i;
    r->held[e->share]--;
    r->n--;
}

/* Drops what is over; a second in which nothing can be costs nothing. */
static void sweep(struct digest_replay *r, uint64_t now_s)
{
    uint64_t first = UINT64_MAX;

    if (now_s <= r->sweep_s)
        return;
    for (uint32_t c = 0; c <= r->mask; c++)
        for (uint32_t *link = &r->chains[c]; *link != NONE;) {
            struct entry *e = &r->entries[*link];

            if (e->until_s < now_s) {
                drop(r, link);
                continue;
            }
            if (e->until_s < first)
                first = e->until_s;
            link = &e->next;
        }
    r->sweep_s = first;
}

static struct entry *find(struct digest_replay *r, uint64_t random)
{
    for (uint32_t i = r->chains[random & r->mask]; i != NONE; i = r->entries[i].next)
        if (r->entries[i].random == random)
            return &r->entries[i];
    return NULL;
}

static bool has_room(const struct digest_replay *r, uint32_t share)
{
    uint32_t max = share == BURNT ? r->n_max / 8 : r->n_max - r->n_max / 4;

    return r->n < r->n_max && r->held[share] < max;
}

/* There is room. Memory that was never used is not touched before. */
static uint32_t take(struct digest_replay *r)
{
    uint32_t i = r->free;

    if (i == NONE)
        return r->n;
    r->free = r->entries[i].next;
    return i;
}

static enum digest_err add(struct digest_replay *r, uint64_t random, uint32_t share, uint32_t count,
                           uint64_t until_s, uint64_t now_s)
{
    if (!has_room(r, share))
        sweep(r, now_s);
    if (until_s <= r->forgot_s)
        return DIGEST_ESTALE;
    if (!has_room(r, share))
        return DIGEST_EFULL;
    uint32_t i = take(r), *chain = &r->chains[random & r->mask];
    bool whole = count == DIGEST_REPLAY_WHOLE;

    r->entries[i] = (struct entry){.random = random,
                                   .until_s = until_s,
                                   .seen = whole ? UINT64_MAX : 1,
                                   .highest = whole ? UINT32_MAX : count,
                                   .next = *chain,
                                   .share = share};
    *chain = i;
    r->held[share]++;
    r->n++;
    if (until_s < r->sweep_s)
        r->sweep_s = until_s;
    return DIGEST_OK;
}

static enum digest_err use(struct entry *e, uint32_t count)
{
    if (count == DIGEST_REPLAY_WHOLE)
        return DIGEST_EREPLAY;
    if (count > e->highest) {
        uint32_t up = count - e->highest;

        e->seen = (up < WINDOW ? e->seen << up : 0) | 1;
        e->highest = count;
        return DIGEST_OK;
    }
    uint32_t below = e->highest - count;

    if (below >= WINDOW || e->seen >> below & 1)
        return DIGEST_EREPLAY;
    e->seen |= UINT64_C(1) << below;
    return DIGEST_OK;
}

enum digest_err digest_replay_use(struct digest_replay *r, uint64_t random, uint64_t user,
                                  uint32_t count, uint64_t until_s, uint64_t now_s)
{
    (void)pthread_mutex_lock(&r->lock);
    struct entry *known = find(r, random);
    enum digest_err e =
        known ? use(known, count) : add(r, random, user % SHARES, count, until_s, now_s);

    (void)pthread_mutex_unlock(&r->lock);
    return e;
}

static void burn(struct entry *e)
{
    e->highest = UINT32_MAX;
    e->seen = UINT64_MAX;
}

enum digest_err digest_replay_burn(struct digest_replay *r, uint64_t random, uint64_t until_s,
                                   uint64_t now_s)
{
    enum digest_err e = DIGEST_OK;

    (void)pthread_mutex_lock(&r->lock);
    struct entry *known = find(r, random);

    if (known)
        burn(known);
    else
        e = add(r, random, BURNT, DIGEST_REPLAY_WHOLE, until_s, now_s);
    (void)pthread_mutex_unlock(&r->lock);
    return e;
}
