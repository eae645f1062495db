/* SPDX-License-Identifier: Apache-2.0 */
#include "net/loop.h"

#include <assert.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <uv.h>

#include "base/block.h"
#include "base/log.h"
#include "net/edge.h"
#include "net/fair_queue.h"
#include "net/loop_int.h"
#include "net/loop_load.h"
#include "net/wheel.h"

/* With a test's clock waiting only paces the look at that clock. */
#define FAKE_CLOCK_PACE_MS 5
/* How often loop_free() goes round for handles that close each other. */
#define FREE_ROUNDS 64u

/* How often in a row tasks may defer others before events are looked at again. */
#define DEFER_ROUNDS 8u

/* Of one turn for connections: how many are served, and for how long, before events are looked at;
 * and how long until then with all that serving them put off. */
#define TURN_MAX 32u
#define TURN_US  100u
#define ROUND_US 150u

/* How long memory stays that nobody needs any more. */
#define POOL_AGE_MS 1000u

struct task_queue {
    struct task *first, *last;
};

/* A turn: what was yielded or deferred; one look at descriptors, then mail and libuv; timers; what
 * came of all that. libuv is run only when its own set has something, or it has something to do
 * (handles that close). */
struct loop {
    struct edges *edges;
    struct loop_load load;
    uint64_t now_ms;
    uint64_t pool_aged_ms;
    uint64_t timer_at_ms;          /* when the wheel wants to be looked at; UINT64_MAX: never */
    _Atomic(struct task *) posted; /* last in, first out; turned round when taken */
    struct task_queue deferred, yielded;
    struct fair_queue *turns;
    struct edge mail, uv_news;
    bool has_mail, has_uv_news; /* noted, until everybody else has been told */
    int mail_fd;                /* rung by an eventfd(2): as news, so that nobody need read it */
    _Atomic unsigned ringing;   /* threads that are in loop_post() or loop_stop() */
    _Atomic bool stop;
    bool running; /* loop_run() */
    unsigned index;
    const struct clock *clock;
    struct wheel wheel;
    struct loop_hook hooks;
    unsigned working; /* in the pool */
    uint64_t date_s;
    char date[HTTP_DATE_LEN + 1];
    uv_loop_t uv;
    uv_prepare_t keep; /* counts while libuv runs: with no handle alive it would look at nothing */
};

static bool has_own_clock(const struct loop *l)
{
    return l->clock != &clock_system;
}

/* Timers. */

static void fire_timers(struct loop *l)
{
    wheel_advance(&l->wheel, loop_now_ms(l));
    l->timer_at_ms = wheel_next_ms(&l->wheel);
}

/* Until then, for one wait; -1: for ever. */
static int timer_wait_ms(const struct loop *l)
{
    uint64_t now = loop_now_ms(l);
    uint64_t wait = l->timer_at_ms > now ? l->timer_at_ms - now : 0;

    if (wait > POOL_AGE_MS && block_pool_has_spare())
        wait = POOL_AGE_MS;
    else if (l->timer_at_ms == UINT64_MAX)
        return -1;
    if (has_own_clock(l) && wait > FAKE_CLOCK_PACE_MS)
        wait = FAKE_CLOCK_PACE_MS;
    return wait < INT_MAX ? (int)wait : INT_MAX;
}

void timer_set(struct loop *l, struct timer *t, uint64_t at_ms)
{
    /* Waking too early costs one look; finding out when would cost at each request. */
    if (wheel_set(&l->wheel, t, at_ms, loop_now_ms(l)) && t->slot_ms < l->timer_at_ms)
        l->timer_at_ms = wheel_next_ms(&l->wheel);
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
}

static void run_all(struct loop *l)
{
    queue_run(&l->yielded);
    run_deferred(l);
}

void loop_defer(struct loop *l, struct task *t)
{
    queue_append(&l->deferred, t);
}

void loop_yield(struct loop *l, struct task *t)
{
    queue_append(&l->yielded, t);
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

static void on_mail(struct edge *e, unsigned events)
{
    (void)events;
    CONTAINER_OF(e, struct loop, mail)->has_mail = true;
}

static void ring(struct loop *l)
{
    ssize_t n = write(l->mail_fd, &(uint64_t){1}, sizeof(uint64_t));

    (void)n; /* cannot fail before it was rung 2^64 times */
}

/* Before anything is published: whoever sees that, and frees the loop for it, sees this, too. */
static void begin_ringing(struct loop *l)
{
    atomic_fetch_add_explicit(&l->ringing, 1, memory_order_relaxed);
}

static void end_ringing(struct loop *l)
{
    atomic_fetch_sub_explicit(&l->ringing, 1, memory_order_release);
}

/* For the moment that a write takes. */
static void await_ringing(struct loop *l)
{
    while (atomic_load_explicit(&l->ringing, memory_order_acquire))
        (void)sched_yield();
}

void loop_post(struct loop *l, struct task *t)
{
    begin_ringing(l);
    struct task *head = atomic_load_explicit(&l->posted, memory_order_relaxed);

    do
        t->next = head;
    while (!atomic_compare_exchange_weak_explicit(&l->posted, &head, t, memory_order_release,
                                                  memory_order_relaxed));
    /* Whoever found it empty rings; the others' tasks are taken by the same ring. */
    if (!head)
        ring(l);
    end_ringing(l);
}

/* Turns. */

static void on_uv_news(struct edge *e, unsigned events)
{
    (void)events;
    CONTAINER_OF(e, struct loop, uv_news)->has_uv_news = true;
}

/* Something that its set does not show: handles that begin or end. */
static bool uv_is_due(const struct loop *l)
{
    return uv_loop_alive(&l->uv) && uv_backend_timeout(&l->uv) == 0;
}

static void on_prepare(uv_prepare_t *h)
{
    (void)h;
}

/* Its set stays ready until it has looked, also at what it has no handle for any more. */
static void run_uv(struct loop *l)
{
    uv_ref((uv_handle_t *)&l->keep);
    (void)uv_run(&l->uv, UV_RUN_NOWAIT);
    uv_unref((uv_handle_t *)&l->keep);
}

static uint64_t read_clock(struct loop *l)
{
    uint64_t us = clock_mono_us(l->clock);

    l->now_ms = us / 1000;
    return us;
}

/* Mail and libuv come last: a descriptor that they close has been told of all that was found. */
static void look(struct loop *l, int timeout_ms)
{
    bool due = uv_is_due(l);

    edges_wait(l->edges, due ? 0 : timeout_ms);
    loop_load_begin(&l->load, read_clock(l));
    edges_tell(l->edges);
    if (l->has_mail) {
        l->has_mail = false;
        run_posted(l);
    }
    if (due || l->has_uv_news) {
        l->has_uv_news = false;
        run_uv(l);
    }
}

/* Is there anything that could happen? Posts are waited for by loop_run() only. */
static bool is_alive(const struct loop *l)
{
    return l->running || has_tasks(l) || l->timer_at_ms != UINT64_MAX || edges_count(l->edges) ||
           uv_loop_alive(&l->uv);
}

/* |may_wait|: until something happens, if nothing does now. */
static void turn(struct loop *l, bool may_wait)
{
    if (has_tasks(l))
        run_all(l);
    bool waits = may_wait && !has_tasks(l) && is_alive(l);

    if (waits) /* what ran since the last look may have taken its time */
        loop_load_end(&l->load, read_clock(l));
    look(l, waits ? timer_wait_ms(l) : 0);
    if (loop_now_ms(l) >= l->timer_at_ms)
        fire_timers(l);
    if (l->deferred.first)
        run_deferred(l);
    if (l->now_ms - l->pool_aged_ms >= POOL_AGE_MS) {
        l->pool_aged_ms = l->now_ms;
        block_pool_age();
    }
}

void loop_run(struct loop *l)
{
    l->running = true;
    loop_load_begin(&l->load, read_clock(l));
    while (!atomic_load_explicit(&l->stop, memory_order_acquire))
        turn(l, true);
    atomic_store_explicit(&l->stop, false, memory_order_release);
    l->running = false;
}

bool loop_turn(struct loop *l, bool wait)
{
    loop_load_begin(&l->load, read_clock(l));
    if (has_own_clock(l))
        fire_timers(l);
    turn(l, wait && !has_tasks(l));
    run_posted(l);
    if (has_own_clock(l))
        fire_timers(l);
    if (has_tasks(l))
        run_all(l);
    loop_load_end(&l->load, clock_mono_us(l->clock)); /* who knows when the next one is */
    return is_alive(l) || atomic_load_explicit(&l->posted, memory_order_relaxed) != NULL;
}

/* Life. */

static enum err init_mail(struct loop *l)
{
    l->mail.fn = on_mail;
    l->mail_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->mail_fd < 0)
        return ERR_BUSY; /* no descriptors left */
    return edges_own(l->edges, l->mail_fd, &l->mail, true);
}

static enum err init_parts(struct loop *l)
{
    TRY(fair_queue_new(l, TURN_MAX, TURN_US, ROUND_US, &l->turns));
    TRY(edges_new(&l->edges));
    TRY(init_mail(l));
    l->uv_news.fn = on_uv_news;
    return edges_own(l->edges, uv_backend_fd(&l->uv), &l->uv_news, false);
}

static void free_parts(struct loop *l)
{
    fair_queue_free(l->turns);
    edges_free(l->edges);
    if (l->mail_fd >= 0)
        (void)close(l->mail_fd);
    free(l);
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
    l->mail_fd = -1;
    l->timer_at_ms = UINT64_MAX;
    l->date_s = UINT64_MAX;
    l->hooks.prev = &l->hooks;
    l->hooks.next = &l->hooks;
    enum err e = init_parts(l);

    if (e) {
        (void)uv_loop_close(&l->uv);
        free_parts(l);
        return e;
    }
    (void)uv_prepare_init(&l->uv, &l->keep);
    (void)uv_prepare_start(&l->keep, on_prepare);
    uv_unref((uv_handle_t *)&l->keep);
    l->now_ms = clock_mono_ms(clock);
    wheel_init(&l->wheel, l->now_ms);
    *ret = l;
    return OK;
}

void loop_stop(struct loop *l)
{
    begin_ringing(l);
    atomic_store_explicit(&l->stop, true, memory_order_release);
    ring(l);
    end_ringing(l);
}

/* A leak of somebody's: do not wait for it. */
static void let_go(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_unref(h);
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
        look(l, l->working ? -1 : 0);
        if (!uv_loop_alive(&l->uv) && !has_tasks(l))
            break;
    }
    uv_close((uv_handle_t *)&l->keep, NULL);
    uv_walk(&l->uv, let_go, l);
    (void)uv_run(&l->uv, UV_RUN_DEFAULT); /* the close callbacks */
    if (uv_loop_close(&l->uv) != 0 || edges_open(l->edges)) {
        log_error("loop", "loop %u was freed with open handles", l->index);
        return;
    }
    await_ringing(l);
    free_parts(l);
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
    return has_own_clock(l) ? clock_mono_ms(l->clock) : l->now_ms;
}

void loop_figures(const struct loop *l, struct loop_load_figures *ret)
{
    loop_load_read(&l->load, clock_mono_us(l->clock), ret);
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
