/* SPDX-License-Identifier: Apache-2.0 */
#include "tenant/passwords.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#include "base/map.h"

#define NICE         10
#define THREADS_MAX  64u
#define SOURCE_SHARE 7u

/* Jobs of one source, in the order in which they came. */
struct source {
    uint64_t key;
    struct password_job *first, **last;
    unsigned n;
    struct source *prev, *next; /* of those that have jobs: the first is served next */
    UT_hash_handle hh;
};

struct passwords {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct source *by_key, *turns;
    unsigned waiting, running, queue_max, n_threads;
    bool ending;
    uint64_t done, refused;
    pthread_t threads[THREADS_MAX];
    struct password_job *finished, **last_finished;
    pthread_cond_t some_finished;
    pthread_t clerk;
    bool has_clerk, clerk_ends;
};

/* ---- the threads ---- */

static void source_drop(struct passwords *p, struct source *s)
{
    assert(p->turns && p->by_key); /* |s| is in both */
    DL_DELETE(p->turns, s);
    HASH_DEL(p->by_key, s);
    free(s);
}

/* Under the lock; something waits. */
static struct password_job *take(struct passwords *p)
{
    struct source *s = p->turns;
    struct password_job *j = s->first;

    s->first = j->next;
    s->n--;
    p->waiting--;
    if (s->first) { /* behind the others */
        DL_DELETE(p->turns, s);
        DL_APPEND(p->turns, s);
    } else {
        source_drop(p, s);
    }
    return j;
}

/* Under the lock. */
static void finish(struct passwords *p, struct password_job *j)
{
    j->next = NULL;
    *p->last_finished = j;
    p->last_finished = &j->next;
    (void)pthread_cond_signal(&p->some_finished);
}

/* Failing at either costs others a little time, and nothing else. */
static void step_back(void)
{
    const struct sched_param param = {0};

    (void)prctl(PR_SET_NAME, "passwords");
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    (void)sched_setscheduler(0, SCHED_BATCH, &param);
}

static void *thread_run(void *arg)
{
    struct passwords *p = arg;

    step_back();
    (void)pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->turns && !p->ending)
            (void)pthread_cond_wait(&p->some, &p->lock);
        if (p->ending)
            break;
        struct password_job *j = take(p);

        p->running++;
        (void)pthread_mutex_unlock(&p->lock);
        j->run(j);
        (void)pthread_mutex_lock(&p->lock);
        finish(p, j);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Tells what was computed. libuv's mailbox has whoever opens it spin while somebody is about to
 * close it: somebody who is below everything else would keep a loop spinning for as long as it has
 * something to do. */
static void *clerk_run(void *arg)
{
    struct passwords *p = arg;

    (void)prctl(PR_SET_NAME, "password-clerk");
    (void)pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->finished && !p->clerk_ends)
            (void)pthread_cond_wait(&p->some_finished, &p->lock);
        struct password_job *j = p->finished;

        if (!j)
            break;
        p->finished = j->next;
        if (!p->finished)
            p->last_finished = &p->finished;
        p->running--;
        p->done++;
        (void)pthread_mutex_unlock(&p->lock);
        j->done(j, false);
        (void)pthread_mutex_lock(&p->lock);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- jobs ---- */

static struct source *source_of(struct passwords *p, uint64_t key)
{
    struct source *s;

    HASH_FIND(hh, p->by_key, &key, sizeof key, s);
    if (s)
        return s;
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->key = key;
    s->last = &s->first;
    HASH_ADD(hh, p->by_key, key, sizeof s->key, s);
    if (!s->hh.tbl) {
        free(s);
        return NULL;
    }
    DL_APPEND(p->turns, s);
    return s;
}

/* Under the lock. */
static enum err put(struct passwords *p, struct password_job *j, uint64_t key)
{
    struct source *s;
    uint64_t left;

    if (p->ending || p->waiting >= p->queue_max)
        return ERR_BUSY;
    s = source_of(p, key);
    if (!s)
        return ERR_NOMEM;
    left = p->queue_max - p->waiting;
    if (s->n > 0 && s->n >= left * SOURCE_SHARE)
        return ERR_BUSY;
    j->next = NULL;
    *s->last = j;
    s->last = &j->next;
    s->n++;
    p->waiting++;
    return OK;
}

enum err passwords_submit(struct passwords *p, struct password_job *j, uint64_t source)
{
    (void)pthread_mutex_lock(&p->lock);
    enum err e = put(p, j, source);

    if (e == OK)
        (void)pthread_cond_signal(&p->some);
    else
        p->refused++;
    (void)pthread_mutex_unlock(&p->lock);
    return e;
}

/* ---- start and end ---- */

static void start(struct passwords *p, unsigned threads)
{
    while (p->n_threads < threads && p->n_threads < THREADS_MAX &&
           pthread_create(&p->threads[p->n_threads], NULL, thread_run, p) == 0)
        p->n_threads++;
}

enum err passwords_new(unsigned threads, unsigned queue_max, struct passwords **ret)
{
    struct passwords *p = calloc(1, sizeof *p);

    if (!p)
        return ERR_NOMEM;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->some, NULL);
    (void)pthread_cond_init(&p->some_finished, NULL);
    p->queue_max = queue_max;
    p->last_finished = &p->finished;
    p->has_clerk = pthread_create(&p->clerk, NULL, clerk_run, p) == 0;
    start(p, threads);
    if (p->n_threads == 0 || !p->has_clerk) {
        passwords_free(p);
        return ERR_NOMEM;
    }
    *ret = p;
    return OK;
}

/* After everything that was computed. */
static void end_clerk(struct passwords *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->clerk_ends = true;
    (void)pthread_cond_signal(&p->some_finished);
    (void)pthread_mutex_unlock(&p->lock);
    if (p->has_clerk)
        (void)pthread_join(p->clerk, NULL);
}

void passwords_free(struct passwords *p)
{
    if (!p)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->ending = true;
    (void)pthread_cond_broadcast(&p->some);
    (void)pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n_threads; i++)
        (void)pthread_join(p->threads[i], NULL);
    end_clerk(p);
    while (p->turns) {
        struct password_job *j = take(p);

        j->done(j, true);
    }
    (void)pthread_cond_destroy(&p->some_finished);
    (void)pthread_cond_destroy(&p->some);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

void passwords_count(struct passwords *p, struct passwords_counts *ret)
{
    (void)pthread_mutex_lock(&p->lock);
    *ret = (struct passwords_counts){.waiting = p->waiting,
                                     .running = p->running,
                                     .threads = p->n_threads,
                                     .done = p->done,
                                     .refused = p->refused};
    (void)pthread_mutex_unlock(&p->lock);
}
