/* SPDX-License-Identifier: Apache-2.0 */
#include "tenant/throttle.h"

#include <pthread.h>
#include <stdlib.h>

struct throttle_shared {
    pthread_mutex_t lock;
    struct throttle table;
};

static uint64_t interval_us(const struct throttle_limits *l)
{
    return l->every_ms * 1000 + l->every_us;
}

bool throttle_allows(const struct throttle *t, uint64_t key, const struct throttle_limits *l,
                     uint64_t now_us)
{
    for (unsigned i = 0; i < THROTTLE_WAYS; i++)
        if (t->slots[key % THROTTLE_SETS][i].key == key) {
            uint64_t whole = t->slots[key % THROTTLE_SETS][i].whole_us;

            return whole <= now_us || whole - now_us + interval_us(l) <= l->burst * interval_us(l);
        }
    return true;
}

void throttle_failed(struct throttle *t, uint64_t key, const struct throttle_limits *l,
                     uint64_t now_us)
{
    unsigned at = 0;

    for (unsigned i = 0; i < THROTTLE_WAYS; i++) {
        if (t->slots[key % THROTTLE_SETS][i].key == key) {
            at = i;
            break;
        }
        if (t->slots[key % THROTTLE_SETS][i].whole_us < t->slots[key % THROTTLE_SETS][at].whole_us)
            at = i;
    }
    uint64_t *whole = &t->slots[key % THROTTLE_SETS][at].whole_us;

    if (t->slots[key % THROTTLE_SETS][at].key != key || *whole < now_us)
        *whole = now_us;
    t->slots[key % THROTTLE_SETS][at].key = key;
    *whole += interval_us(l);
}

/* ---- shared ---- */

struct throttle_shared *throttle_shared_new(void)
{
    struct throttle_shared *s = calloc(1, sizeof *s);

    if (s && pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        s = NULL;
    }
    return s;
}

void throttle_shared_free(struct throttle_shared *s)
{
    if (!s)
        return;
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

bool throttle_shared_allows(struct throttle_shared *s, uint64_t key,
                            const struct throttle_limits *l, uint64_t now_us)
{
    (void)pthread_mutex_lock(&s->lock);
    bool yes = throttle_allows(&s->table, key, l, now_us);
    (void)pthread_mutex_unlock(&s->lock);
    return yes;
}

void throttle_shared_failed(struct throttle_shared *s, uint64_t key,
                            const struct throttle_limits *l, uint64_t now_us)
{
    (void)pthread_mutex_lock(&s->lock);
    throttle_failed(&s->table, key, l, now_us);
    (void)pthread_mutex_unlock(&s->lock);
}

bool throttle_shared_take(struct throttle_shared *s, uint64_t key, const struct throttle_limits *l,
                          uint64_t now_us)
{
    (void)pthread_mutex_lock(&s->lock);
    bool yes = throttle_allows(&s->table, key, l, now_us);

    if (yes)
        throttle_failed(&s->table, key, l, now_us);
    (void)pthread_mutex_unlock(&s->lock);
    return yes;
}
