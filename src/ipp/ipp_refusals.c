/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_refusals.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct refusal {
    char printer[65], user[129], why[IPP_REFUSAL_MAX + 1];
    uint64_t source, until_ms; /* 0: free */
    unsigned level;
};

struct ipp_refusals {
    pthread_mutex_t lock;
    _Atomic uint64_t until_ms; /* of the last one: most of the time there is none */
    struct refusal v[IPP_REFUSALS];
};

struct ipp_refusals *ipp_refusals_new(void)
{
    struct ipp_refusals *r = calloc(1, sizeof *r);

    if (r && pthread_mutex_init(&r->lock, NULL) != 0) {
        free(r);
        r = NULL;
    }
    return r;
}

void ipp_refusals_free(struct ipp_refusals *r)
{
    if (!r)
        return;
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

static void set_key(struct refusal *e, const struct ipp_refusal_key *k)
{
    (void)span_copy(k->printer, e->printer, sizeof e->printer);
    (void)span_copy(k->user, e->user, sizeof e->user);
    e->source = k->source;
    e->level = k->level;
}

static struct refusal *find(struct ipp_refusals *r, const struct ipp_refusal_key *k)
{
    struct refusal wanted = {0};

    set_key(&wanted, k);
    for (size_t i = 0; i < IPP_REFUSALS; i++) {
        struct refusal *e = &r->v[i];

        if (e->until_ms && e->source == wanted.source && e->level == wanted.level &&
            strcmp(e->printer, wanted.printer) == 0 && strcmp(e->user, wanted.user) == 0)
            return e;
    }
    return NULL;
}

static struct refusal *oldest(struct ipp_refusals *r)
{
    struct refusal *found = &r->v[0];

    for (size_t i = 1; i < IPP_REFUSALS; i++)
        if (r->v[i].until_ms < found->until_ms)
            found = &r->v[i];
    return found;
}

bool ipp_refusals_are_none(const struct ipp_refusals *r, uint64_t now_ms)
{
    return atomic_load_explicit(&r->until_ms, memory_order_relaxed) <= now_ms;
}

void ipp_refusals_note(struct ipp_refusals *r, const struct ipp_refusal_key *k, struct span why,
                       uint64_t now_ms)
{
    (void)pthread_mutex_lock(&r->lock);
    struct refusal *e = find(r, k);

    if (!e)
        e = oldest(r);
    set_key(e, k);
    (void)span_copy(why, e->why, sizeof e->why);
    e->until_ms = now_ms + IPP_REFUSAL_MS;
    if (e->until_ms > atomic_load_explicit(&r->until_ms, memory_order_relaxed))
        atomic_store_explicit(&r->until_ms, e->until_ms, memory_order_relaxed);
    (void)pthread_mutex_unlock(&r->lock);
}

void ipp_refusals_forget(struct ipp_refusals *r, const struct ipp_refusal_key *k, uint64_t now_ms)
{
    if (ipp_refusals_are_none(r, now_ms))
        return;
    (void)pthread_mutex_lock(&r->lock);
    struct refusal *e = find(r, k);

    if (e)
        e->until_ms = 0;
    (void)pthread_mutex_unlock(&r->lock);
}

bool ipp_refusals_find(struct ipp_refusals *r, const struct ipp_refusal_key *k, uint64_t now_ms,
                       char ret[IPP_REFUSAL_MAX + 1])
{
    if (ipp_refusals_are_none(r, now_ms))
        return false;
    (void)pthread_mutex_lock(&r->lock);
    const struct refusal *e = find(r, k);
    bool found = e && e->until_ms > now_ms;

    if (found)
        memcpy(ret, e->why, sizeof e->why);
    (void)pthread_mutex_unlock(&r->lock);
    return found;
}
