/* SPDX-License-Identifier: Apache-2.0 */
/* Rates are kept as the time until which what came so far would have lasted at the rate (the
 * generic cell rate algorithm): one atomic number, which needs no filling up and survives a change
 * of the rate. It may be |AHEAD_NS| ahead of now, and what is more has to be waited for. */
#include "tenant/quota.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/map.h"

#define SECOND_NS UINT64_C(1000000000)
#define AHEAD_NS  (2 * SECOND_NS)
#define DEBT_NS   (30 * SECOND_NS) /* of bytes, which are counted when they are here */

struct quota {
    UT_hash_handle hh;
    _Atomic uint32_t connections_max, requests_max, scans_max;
    _Atomic uint64_t bytes_max;
    _Atomic uint32_t connections, scans;
    _Atomic uint64_t requests, bytes, refused;
    _Atomic uint64_t requests_ns, bytes_ns; /* paid until then */
    size_t n_name;
    char name[];
};

struct quotas {
    pthread_mutex_t lock;
    struct quota *map;
};

/* ---- all ---- */

enum err quotas_new(struct quotas **ret)
{
    struct quotas *q = calloc(1, sizeof *q);

    if (!q)
        return ERR_NOMEM;
    if (pthread_mutex_init(&q->lock, NULL) != 0) {
        free(q);
        return ERR_NOMEM;
    }
    *ret = q;
    return OK;
}

void quotas_free(struct quotas *q)
{
    if (!q)
        return;
    while (q->map) {
        struct quota *one = q->map;

        HASH_DEL(q->map, one);
        free(one);
    }
    (void)pthread_mutex_destroy(&q->lock);
    free(q);
}

static struct quota *quota_new(struct quotas *q, struct span name)
{
    struct quota *one = calloc(1, sizeof *one + name.n + 1);

    if (!one)
        return NULL;
    one->n_name = span_copy(name, one->name, name.n + 1);
    HASH_ADD_KEYPTR(hh, q->map, one->name, one->n_name, one);
    if (one->hh.tbl)
        return one;
    free(one);
    return NULL;
}

void quota_limit(struct quota *q, const struct quota_limits *l)
{
    atomic_store_explicit(&q->connections_max, l->connections, memory_order_relaxed);
    atomic_store_explicit(&q->requests_max, l->requests, memory_order_relaxed);
    atomic_store_explicit(&q->bytes_max, l->bytes, memory_order_relaxed);
    atomic_store_explicit(&q->scans_max, l->scans, memory_order_relaxed);
}

struct quota *quotas_get(struct quotas *q, struct span name, const struct quota_limits *limits)
{
    struct quota *one = NULL;

    (void)pthread_mutex_lock(&q->lock);
    HASH_FIND(hh, q->map, name.p, name.n, one);
    if (!one)
        one = quota_new(q, name);
    if (one && limits)
        quota_limit(one, limits);
    (void)pthread_mutex_unlock(&q->lock);
    return one;
}

/* ---- at once ---- */

static bool count_up(_Atomic uint32_t *count, const _Atomic uint32_t *max_of)
{
    uint32_t max = atomic_load_explicit(max_of, memory_order_relaxed);
    uint32_t n = atomic_load_explicit(count, memory_order_relaxed);

    do
        if (max != 0 && n >= max)
            return false;
    while (!atomic_compare_exchange_weak_explicit(count, &n, n + 1, memory_order_relaxed,
                                                  memory_order_relaxed));
    return true;
}

bool quota_connect(struct quota *q)
{
    return count_up(&q->connections, &q->connections_max);
}

void quota_disconnect(struct quota *q)
{
    atomic_fetch_sub_explicit(&q->connections, 1, memory_order_relaxed);
}

bool quota_scan(struct quota *q)
{
    return count_up(&q->scans, &q->scans_max);
}

void quota_scanned(struct quota *q)
{
    atomic_fetch_sub_explicit(&q->scans, 1, memory_order_relaxed);
}

/* ---- in a second ---- */

/* How long |n| last at |rate| in a second. */
static uint64_t time_of(uint64_t n, uint64_t rate)
{
    __extension__ typedef unsigned __int128 wide;
    wide ns = ((wide)n * SECOND_NS + rate - 1) / rate;

    return ns > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)ns;
}

static uint64_t later_by(uint64_t until_ns, uint64_t now_ns)
{
    uint64_t ahead = until_ns > now_ns ? until_ns - now_ns : 0;

    return ahead > AHEAD_NS ? (ahead - AHEAD_NS + 999) / 1000 : 0;
}

bool quota_turn(struct quota *q, uint64_t now_us, uint64_t longest_us, uint64_t *ret_wait_us)
{
    uint32_t max = atomic_load_explicit(&q->requests_max, memory_order_relaxed);
    uint64_t now = now_us * 1000, was = atomic_load_explicit(&q->requests_ns, memory_order_relaxed);
    uint64_t cost = max ? SECOND_NS / max : 0, next;

    do {
        next = (was > now ? was : now) + cost;
        *ret_wait_us = max ? later_by(next, now) : 0;
        if (*ret_wait_us > longest_us)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&q->requests_ns, &was, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    atomic_fetch_add_explicit(&q->requests, 1, memory_order_relaxed);
    return true;
}

uint64_t quota_request(struct quota *q, uint64_t now_us)
{
    uint64_t wait;

    return quota_turn(q, now_us, 0, &wait) ? 0 : wait;
}

uint64_t quota_bytes(struct quota *q, uint64_t n, uint64_t now_us)
{
    uint64_t max = atomic_load_explicit(&q->bytes_max, memory_order_relaxed);
    uint64_t now = now_us * 1000, was = atomic_load_explicit(&q->bytes_ns, memory_order_relaxed);
    uint64_t cost = max ? time_of(n, max) : 0, next;

    atomic_fetch_add_explicit(&q->bytes, n, memory_order_relaxed);
    do {
        next = was > now ? was : now;
        next = next < UINT64_MAX / 2 ? next + cost : next;
        if (next > now + AHEAD_NS + DEBT_NS)
            next = was > now + AHEAD_NS + DEBT_NS ? was : now + AHEAD_NS + DEBT_NS;
    } while (!atomic_compare_exchange_weak_explicit(&q->bytes_ns, &was, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return max ? later_by(next, now) : 0;
}

/* ---- numbers ---- */

void quota_refused(struct quota *q)
{
    atomic_fetch_add_explicit(&q->refused, 1, memory_order_relaxed);
}

void quota_read(const struct quota *q, struct quota_use *ret)
{
    *ret = (struct quota_use){
        .connections = atomic_load_explicit(&q->connections, memory_order_relaxed),
        .scans = atomic_load_explicit(&q->scans, memory_order_relaxed),
        .requests = atomic_load_explicit(&q->requests, memory_order_relaxed),
        .bytes = atomic_load_explicit(&q->bytes, memory_order_relaxed),
        .refused = atomic_load_explicit(&q->refused, memory_order_relaxed),
    };
}
