/* SPDX-License-Identifier: Apache-2.0 */
#include "net/loop.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <uv.h>

#include "base/log.h"
#include "net/edge.h"
#include "net/fair_queue.h"
#include "net/loop_int.h"
#include "net/wheel.h"

/* With a test's clock the machine's timer only paces the look at that clock. */
#define FAKE_CLOCK_PACE_MS 5
/* How often loop_free() goes round for handles that close each other. */
#define FREE_ROUNDS 64u

/* How often in a row tasks may defer others before events are looked at again. */
#define DEFER_ROUNDS 8u

/* Of one turn for connections: how many are served, and for how long, before events are looked at.
 */
#define TURN_MAX 32u
#define TURN_US  100u

struct task_queue {
    struct task *first, *last;
};

struct loop {
    uv_loop_t uv;
    uv_async_t mail;
    uv_check_t check; /* after the events of a turn: runs what they deferred */
    uv_idle_t idle;   /* active while a queue is not empty: then poll does not wait */
    uv_timer_t timer;
    uint64_t timer_at_ms;          /* when |timer| wakes us; UINT64_MAX: not armed */
    _Atomic(struct task *) posted; /* last in, first out; turned round when taken */
    struct task_queue deferred, yielded;
    struct fair_queue *turns;
    struct edges *edges;
    _Atomic bool stop;
    unsigned index;
    const struct clock *clock;
    struct wheel wheel;
    struct loop_hook hooks;
    unsigned working; /* in the pool */
    uint64_t date_s;
    char date[HTTP_DATE_LEN + 1];
};

static bool has_own_clock(const struct loop *l)
{
    return l->clock != &clock_system;
}

/* Timers. */

static void on_uv_timer(uv_timer_t *h);

static void arm_timer(struct loop *l)
{
    uint64_t at = wheel_next_ms(&l->wheel);

    if (at == l->timer_at_ms)
        return;
    l->timer_at_ms = at;
    if (at == UINT64_MAX) {
        (void)uv_timer_stop(&l->timer);
        return;
    }
    uint64_t now = loop_now_ms(l);
    uint64_t wait = at > now ? at - now : 0;

    if (has_own_clock(l) && wait > FAKE_CLOCK_PACE_MS)
        wait = FAKE_CLOCK_PACE_MS;
    (void)uv_timer_start(&l->timer, on_uv_timer, wait, 0);
}

static void fire_timers(struct loop *l)
{
    wheel_advance(&l->wheel, loop_now_ms(l));
    l->timer_at_ms = UINT64_MAX;
    arm_timer(l);
}

static void on_uv_timer(uv_timer_t *h)
{
    fire_timers(h->data);
}

void timer_set(struct loop *l, struct timer *t, uint64_t at_ms)
{
    /* An armed timer that wakes too early costs one look; moving it costs at each request. */
    if (wheel_set(&l->wheel, t, at_ms, loop_now_ms(l)) && t->slot_ms < l->timer_at_ms)
        arm_timer(l);
}

void timer_clear(struct loop *l, struct timer *t)
{
    wheel_clear(&l->wheel, t);
}

/* Run-next queue. */

static void queue_append(struct task_queue *q, struct task *t)
{
    t->next = NULL;
    if (q->last)
        q->last->next = t;
    else
        q->first = t;
    q->last = t;
}

/* What is in |q| by now; what these tasks append waits. */
static void queue_run(struct task_queue *q)
{
    struct task *t = q->first;

    *q = (struct task_queue){0};
    while (t) {
        struct task *next = t->next;

        t->next = NULL;
        t->run(t);
        t = next;
    }
}

static bool has_tasks(const struct loop *l)
{
    return l->deferred.first || l->yielded.first;
}

/* A completion often completes something else: those follow at once, but not for ever, or nobody
 * would look at events. */
static void run_deferred(struct loop *l)
{
    for (unsigned i = 0; i < DEFER_ROUNDS && l->deferred.first; i++)
        queue_run(&l->deferred);
    if (!has_tasks(l))
        (void)uv_idle_stop(&l->idle);
}

static void run_all(struct loop *l)
{
    queue_run(&l->yielded);
    run_deferred(l);
}

static void on_idle(uv_idle_t *h)
{
    run_all(h->data);
}

static void on_check(uv_check_t *h)
{
    struct loop *l = h->data;

    if (l->deferred.first)
        run_deferred(l);
}

void loop_defer(struct loop *l, struct task *t)
{
    queue_append(&l->deferred, t);
    (void)uv_idle_start(&l->idle, on_idle);
}

void loop_yield(struct loop *l, struct task *t)
{
    queue_append(&l->yielded, t);
    (void)uv_idle_start(&l->idle, on_idle);
}

/* Mailbox. */

static void run_posted(struct loop *l)
{
    struct task *newest = atomic_exchange_explicit(&l->posted, NULL, memory_order_acquire);
    struct task *t = NULL;

    while (newest) {
        struct task *next = newest->next;

        newest->next = t;
        t = newest;
        newest = next;
    }
    while (t) {
        struct task *next = t->next;

        t->next = NULL;
        t->run(t);
        t = next;
    }
}

static void on_mail(uv_async_t *h)
{
    struct loop *l = h->data;

    run_posted(l);
    if (atomic_load_explicit(&l->stop, memory_order_acquire))
        uv_stop(&l->uv);
}

void loop_post(struct loop *l, struct task *t)
{
    struct task *head = atomic_load_explicit(&l->posted, memory_order_relaxed);

    do
        t->next = head;
    while (!atomic_compare_exchange_weak_explicit(&l->posted, &head, t, memory_order_release,
                                                  memory_order_relaxed));
    /* Whoever found it empty rings; the others' tasks are taken by the same ring. */
    if (!head)
        (void)uv_async_send(&l->mail);
}

/* Life. */

static enum err init_handles(struct loop *l)
{
    if (uv_async_init(&l->uv, &l->mail, on_mail) != 0)
        return ERR_BUSY; /* no descriptors left */
    (void)uv_check_init(&l->uv, &l->check);
    (void)uv_check_start(&l->check, on_check);
    (void)uv_idle_init(&l->uv, &l->idle);
    (void)uv_timer_init(&l->uv, &l->timer);
    uv_unref((uv_handle_t *)&l->mail);
    uv_unref((uv_handle_t *)&l->check);
    l->mail.data = l;
    l->check.data = l;
    l->idle.data = l;
    l->timer.data = l;
    return OK;
}

enum err loop_new(unsigned index, const struct clock *clock, struct loop **ret)
{
    struct loop *l = calloc(1, sizeof *l);

    if (!l)
        return ERR_NOMEM;
    if (uv_loop_init(&l->uv) != 0) {
        free(l);
        return ERR_BUSY;
    }
    l->index = index;
    l->clock = clock;
    l->timer_at_ms = UINT64_MAX;
    l->date_s = UINT64_MAX;
    l->hooks.prev = &l->hooks;
    l->hooks.next = &l->hooks;
    enum err e = fair_queue_new(l, TURN_MAX, TURN_US, &l->turns);

    if (e == OK)
        e = edges_new(l, &l->edges);
    if (e == OK)
        e = init_handles(l);
    if (e) {
        fair_queue_free(l->turns);
        edges_close(l->edges);
        (void)uv_run(&l->uv, UV_RUN_DEFAULT); /* the close callback */
        (void)uv_loop_close(&l->uv);
        free(l);
        return e;
    }
    wheel_init(&l->wheel, loop_now_ms(l));
    *ret = l;
    return OK;
}

void loop_run(struct loop *l)
{
    uv_ref((uv_handle_t *)&l->mail);
    uv_update_time(&l->uv);
    while (!atomic_load_explicit(&l->stop, memory_order_acquire))
        (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    atomic_store_explicit(&l->stop, false, memory_order_release);
    uv_unref((uv_handle_t *)&l->mail);
}

bool loop_turn(struct loop *l, bool wait)
{
    uv_update_time(&l->uv);
    if (has_own_clock(l))
        fire_timers(l);
    bool alive = uv_run(&l->uv, wait && !has_tasks(l) ? UV_RUN_ONCE : UV_RUN_NOWAIT) != 0;

    run_posted(l); /* libuv looks at the mailbox only while something else is alive */
    if (has_own_clock(l))
        fire_timers(l);
    if (has_tasks(l))
        run_all(l);
    return alive || has_tasks(l) || atomic_load_explicit(&l->posted, memory_order_relaxed) != NULL;
}

void loop_stop(struct loop *l)
{
    atomic_store_explicit(&l->stop, true, memory_order_release);
    (void)uv_async_send(&l->mail);
}

static void let_go(uv_handle_t *h, void *arg)
{
    struct loop *l = arg;

    if (uv_is_closing(h))
        return;
    if (h == (uv_handle_t *)&l->mail || h == (uv_handle_t *)&l->check ||
        h == (uv_handle_t *)&l->idle || h == (uv_handle_t *)&l->timer)
        uv_close(h, NULL);
    else
        uv_unref(h); /* a leak of somebody's: do not wait for it */
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    while (l->hooks.next != &l->hooks)
        l->hooks.next->leave(l->hooks.next);
    /* Thousands of connections may have been closed while it was their turn: all of them run. */
    for (unsigned i = 0; i < FREE_ROUNDS || l->working || l->yielded.first; i++) {
        run_posted(l);
        run_all(l);
        if (!uv_run(&l->uv, l->working ? UV_RUN_ONCE : UV_RUN_NOWAIT) && !has_tasks(l))
            break;
    }
    edges_close(l->edges);
    uv_walk(&l->uv, let_go, l);
    (void)uv_run(&l->uv, UV_RUN_DEFAULT); /* the close callbacks */
    if (uv_loop_close(&l->uv) != 0) {
        log_error("loop", "loop %u was freed with open handles", l->index);
        return;
    }
    fair_queue_free(l->turns);
    free(l);
}

struct fair_queue *loop_turns(struct loop *l)
{
    return l->turns;
}

struct edges *loop_edges(struct loop *l)
{
    return l->edges;
}

unsigned loop_index(const struct loop *l)
{
    return l->index;
}

const struct clock *loop_clock(const struct loop *l)
{
    return l->clock;
}

uint64_t loop_now_ms(const struct loop *l)
{
    /* libuv reads the same clock once per turn, right after waiting. */
    return has_own_clock(l) ? clock_mono_ms(l->clock) : uv_now(&l->uv);
}

uint64_t loop_now_us(const struct loop *l)
{
    return clock_mono_us(l->clock);
}

const char *loop_http_date(struct loop *l)
{
    uint64_t wall_ms = clock_wall_ms(l->clock);

    if (wall_ms / 1000 != l->date_s) {
        l->date_s = wall_ms / 1000;
        clock_http_date(wall_ms, l->date);
    }
    return l->date;
}

struct uv_loop_s *loop_uv(struct loop *l)
{
    return &l->uv;
}

void loop_hook_add(struct loop *l, struct loop_hook *h)
{
    h->prev = l->hooks.prev;
    h->next = &l->hooks;
    h->prev->next = h;
    l->hooks.prev = h;
}

void loop_hook_remove(struct loop *l, struct loop_hook *h)
{
    (void)l;
    h->prev->next = h->next;
    h->next->prev = h->prev;
}

/* Work for the pool. */

static void work_run(uv_work_t *req)
{
    struct work *w = req->data;

    w->run(w);
}

static void work_done(uv_work_t *req, int status)
{
    struct work *w = req->data;

    (void)status; /* never cancelled */
    w->loop->working--;
    w->handle = NULL;
    free(req);
    w->done(w);
}

enum err loop_work(struct loop *l, struct work *w)
{
    uv_work_t *req = calloc(1, sizeof *req);

    if (!req)
        return ERR_NOMEM;
    req->data = w;
    w->loop = l;
    w->handle = req;
    l->working++;
    int r = uv_queue_work(&l->uv, req, work_run, work_done);

    assert(r == 0); /* only fails without a callback */
    return OK;
}
