/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/scan_slots.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

struct client {
    uint64_t key;
    unsigned used; /* not 0 */
    UT_hash_handle hh;
};

struct scan_slots {
    pthread_mutex_t lock;
    struct client *clients; /* those that hold slots */
    struct scan_slots_counts counts;
};

enum err scan_slots_new(unsigned max, struct scan_slots **ret)
{
    struct scan_slots *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        return ERR_NOMEM;
    }
    s->counts.max = max;
    *ret = s;
    return OK;
}

void scan_slots_free(struct scan_slots *s)
{
    if (!s)
        return;
    assert(!s->clients);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

void scan_slots_set_max(struct scan_slots *s, unsigned max)
{
    (void)pthread_mutex_lock(&s->lock);
    s->counts.max = max;
    (void)pthread_mutex_unlock(&s->lock);
}

static struct client *find(const struct scan_slots *s, uint64_t key)
{
    struct client *c;

    HASH_FIND(hh, s->clients, &key, sizeof key, c);
    return c;
}

/* Under the lock. */
static bool is_free(const struct scan_slots *s, const struct client *c)
{
    const struct scan_slots_counts *n = &s->counts;
    unsigned reserve = n->max > 1 ? (n->max + 7) / 8 : 0;
    unsigned clients = HASH_COUNT(s->clients) + !c;

    assert(clients > 0); /* |c| is one of them */

    unsigned share = (n->max - reserve) / clients;

    return n->used < n->max && (c ? c->used : 0) < (share ? share : 1);
}

bool scan_slots_have(struct scan_slots *s, uint64_t client)
{
    bool yes;

    (void)pthread_mutex_lock(&s->lock);
    yes = is_free(s, find(s, client));
    s->counts.refused += !yes;
    (void)pthread_mutex_unlock(&s->lock);
    return yes;
}

static bool take(struct scan_slots *s, uint64_t key)
{
    struct client *c = find(s, key);

    if (!is_free(s, c))
        return false;
    if (!c) {
        c = calloc(1, sizeof *c);
        if (!c)
            return false;
        c->key = key;
        HASH_ADD(hh, s->clients, key, sizeof c->key, c);
        if (!c->hh.tbl) {
            free(c);
            return false;
        }
    }
    c->used++;
    if (++s->counts.used > s->counts.peak)
        s->counts.peak = s->counts.used;
    return true;
}

bool scan_slots_take(struct scan_slots *s, uint64_t client)
{
    bool taken;

    (void)pthread_mutex_lock(&s->lock);
    taken = take(s, client);
    s->counts.refused += !taken;
    (void)pthread_mutex_unlock(&s->lock);
    return taken;
}

void scan_slots_give(struct scan_slots *s, uint64_t client)
{
    (void)pthread_mutex_lock(&s->lock);
    struct client *c = find(s, client);

    assert(c && c->used > 0 && s->counts.used > 0);
    s->counts.used--;
    if (--c->used == 0) {
        HASH_DEL(s->clients, c);
        free(c);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

void scan_slots_count(struct scan_slots *s, struct scan_slots_counts *ret)
{
    (void)pthread_mutex_lock(&s->lock);
    *ret = s->counts;
    ret->clients = HASH_COUNT(s->clients);
    (void)pthread_mutex_unlock(&s->lock);
}
