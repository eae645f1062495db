/* SPDX-License-Identifier: Apache-2.0 */
/* clamd_health.c - what the monitor knows, for all loops, and their way to wake it. A mutex: it is
 * held for the copy of some hundred bytes, once for each file. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "adapt/clamd_int.h"

struct clamd_health {
    _Atomic unsigned refs;
    pthread_mutex_t lock; /* of all below */
    struct clamd_health_report report;
    struct loop *loop; /* the monitor's; NULL: none */
    void (*suspected)(void *arg);
    void *arg;
    struct task wake; /* holds a reference while |waking| */
    bool waking;
};

static void on_wake(struct task *t)
{
    struct clamd_health *h = CONTAINER_OF(t, struct clamd_health, wake);
    void (*suspected)(void *arg);
    void *arg;

    (void)pthread_mutex_lock(&h->lock);
    h->waking = false;
    suspected = h->loop ? h->suspected : NULL;
    arg = h->arg;
    (void)pthread_mutex_unlock(&h->lock);
    /* Detaching happens on this thread, too: the monitor is still there. */
    if (suspected)
        suspected(arg);
    clamd_health_unref(h);
}

enum err clamd_health_new(struct clamd_health **ret)
{
    struct clamd_health *h = calloc(1, sizeof *h);

    if (!h)
        return ERR_NOMEM;
    if (pthread_mutex_init(&h->lock, NULL) != 0) {
        free(h);
        return ERR_NOMEM;
    }
    atomic_init(&h->refs, 1);
    h->wake.run = on_wake;
    *ret = h;
    return OK;
}

struct clamd_health *clamd_health_ref(struct clamd_health *h)
{
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void clamd_health_unref(struct clamd_health *h)
{
    if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return;
    (void)pthread_mutex_destroy(&h->lock);
    free(h);
}

void clamd_health_read(const struct clamd_health *h, struct clamd_health_report *ret)
{
    /* The lock is no part of what is read. */
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&h->lock;

    (void)pthread_mutex_lock(lock);
    *ret = h->report;
    (void)pthread_mutex_unlock(lock);
}

void clamd_health_write(struct clamd_health *h, const struct clamd_health_report *r)
{
    (void)pthread_mutex_lock(&h->lock);
    h->report = *r;
    (void)pthread_mutex_unlock(&h->lock);
}

void clamd_health_attach(struct clamd_health *h, struct loop *l, void (*suspected)(void *arg),
                         void *arg)
{
    (void)pthread_mutex_lock(&h->lock);
    h->loop = l;
    h->suspected = suspected;
    h->arg = arg;
    (void)pthread_mutex_unlock(&h->lock);
}

void clamd_health_suspect(struct clamd_health *h)
{
    (void)pthread_mutex_lock(&h->lock);
    if (h->loop && !h->waking) {
        h->waking = true;
        (void)clamd_health_ref(h);
        loop_post(h->loop, &h->wake); /* under the lock: the loop cannot go away now */
    }
    (void)pthread_mutex_unlock(&h->lock);
}
