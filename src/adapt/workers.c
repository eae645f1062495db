/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/workers.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "adapt/client_queue.h"
#include "adapt/worker_wire.h"
#include "base/log.h"

#define FORK_RETRY_MS 500u /* after the zygote said that it cannot */
#define KILLED_MAX    64u  /* whose SIGKILL is known to be ours */

enum worker_state { WORKER_FORKING, WORKER_IDLE, WORKER_BUSY };

struct worker {
    struct worker *prev, *next;
    struct workers *owner;
    enum worker_state state;
    uint32_t fork_id;
    uint32_t pid;
    unsigned files; /* handed to it so far */
    bool retiring;  /* belongs to an old zygote: goes when its file is done */
    bool gone;      /* its socket ended: what it died of is news */
    int fd;         /* -1 while FORKING */
    struct watch *watch;
    struct worker_job *job; /* NULL while BUSY: nobody waits for the answer any more */
    uint64_t job_id;
    struct timer kill_timer; /* deadline and grace of the file it works on */
};

struct worker_job {
    struct client_queue_entry place; /* in |queue|, while waiting */
    struct worker_job *prev, *next;  /* in |ended|, when its end is to be told */
    struct workers *owner;
    struct worker *worker; /* NULL while waiting */
    struct worker_job_request req;
    char name[WIRE_NAME_MAX + 1];
    char type[WIRE_TEXT_MAX];
    char encoding[WIRE_NAME_MAX + 1];
    struct timer deadline;
    struct scan_result result;
    int objects;   /* -1: none */
    bool returned; /* a worker was gone before it had taken the file */
    bool ended;
};

struct workers {
    struct loop *loop;
    struct worker_settings settings;
    int channel; /* -1: no zygote */
    struct watch *channel_watch;
    struct worker *list;
    unsigned n_workers;
    struct client_queue queue;
    struct worker_job *ended; /* to be told on the next round */
    struct task tell;
    bool telling;
    bool dead; /* freed while |tell| was queued: the task frees */
    uint32_t next_fork;
    uint64_t next_job;
    struct timer fork_retry;
    struct log_limit crash_log, fork_log;
    uint32_t killed_pids[KILLED_MAX]; /* ring */
    unsigned n_kills;
    _Atomic uint64_t started, jobs, crashed, killed;
    _Atomic unsigned alive, busy, queued;
};

static void workers_dispatch(struct workers *w);

/* ---- the end of a job ---- */

static void tell_run(struct task *t)
{
    struct workers *w = CONTAINER_OF(t, struct workers, tell);

    while (w->ended) {
        struct worker_job *j = w->ended;

        DL_DELETE(w->ended, j);
        j->req.done(j->req.arg, &j->result, j->objects);
        free(j);
    }
    w->telling = false; /* not before: a call-back may free the whole */
    if (w->dead)
        free(w);
}

/* Queues the call-back: it never runs inside the call that caused it. */
static void job_end(struct worker_job *j)
{
    struct workers *w = j->owner;

    timer_clear(w->loop, &j->deadline);
    if (j->req.fd >= 0)
        (void)close(j->req.fd);
    j->req.fd = -1;
    if (j->worker)
        j->worker->job = NULL;
    j->worker = NULL;
    j->ended = true;
    DL_APPEND(w->ended, j);
    if (!w->telling) {
        w->telling = true;
        loop_defer(w->loop, &w->tell);
    }
}

static void job_fail(struct worker_job *j, enum cause cause, enum err err, const char *why)
{
    j->result = (struct scan_result){.verdict = VERDICT_ERROR, .cause = cause, .err = err};
    (void)snprintf(j->result.why, sizeof j->result.why, "%s", why);
    job_end(j);
}

static void queue_recount(struct workers *w)
{
    atomic_store_explicit(&w->queued, w->queue.n, memory_order_relaxed);
}

static void queue_remove(struct worker_job *j)
{
    client_queue_remove(&j->owner->queue, &j->place);
    queue_recount(j->owner);
}

/* A zygote that forks nothing is no better than none. */
static bool has_worker(const struct workers *w)
{
    return atomic_load_explicit(&w->alive, memory_order_relaxed) > 0;
}

static void job_deadline(struct timer *t)
{
    struct worker_job *j = CONTAINER_OF(t, struct worker_job, deadline);

    if (j->worker) {
        job_fail(j, CAUSE_TIMEOUT, ERR_TIMEOUT, "the scan did not end before its deadline");
        return;
    }
    queue_remove(j);
    if (has_worker(j->owner))
        job_fail(j, CAUSE_TIMEOUT, ERR_TIMEOUT, "no worker was free before the scan's deadline");
    else
        job_fail(j, CAUSE_ENGINE_DOWN, ERR_ENGINE,
                 "there is no inspection worker: see the log of the supervisor");
}

/* ---- workers ---- */

static void workers_recount(struct workers *w)
{
    unsigned alive = 0, busy = 0;
    struct worker *k;

    DL_FOREACH (w->list, k) {
        alive += k->state != WORKER_FORKING;
        busy += k->state == WORKER_BUSY;
    }
    atomic_store_explicit(&w->alive, alive, memory_order_relaxed);
    atomic_store_explicit(&w->busy, busy, memory_order_relaxed);
}

/* Closing the socket is how a worker is told to go; one that an exploit took over need not listen.
 * The zygote leaves a process alone that is no worker of this channel any more. */
static void worker_kill(const struct worker *k)
{
    struct workers *w = k->owner;
    struct wire_message m = {.kind = WIRE_KILL, .kill = {.pid = k->pid}};

    if (k->pid == 0 || k->retiring || w->channel < 0)
        return;
    if (!k->gone)
        w->killed_pids[w->n_kills++ % KILLED_MAX] = k->pid;
    if (wire_send(w->channel, &m, -1) == ERR_AGAIN)
        log_warn(
            "workers",
            "the zygote did not take the order to kill pid=%u; the worker ends by its own limits",
            k->pid);
}

static bool was_killed(const struct workers *w, uint32_t pid)
{
    for (unsigned i = 0; i < KILLED_MAX && i < w->n_kills; i++)
        if (w->killed_pids[i] == pid)
            return true;
    return false;
}

static void worker_free(struct worker *k)
{
    struct workers *w = k->owner;

    worker_kill(k);
    timer_clear(w->loop, &k->kill_timer);
    watch_close(k->watch);
    if (k->fd >= 0)
        (void)close(k->fd);
    DL_DELETE(w->list, k);
    w->n_workers--;
    free(k);
    workers_recount(w);
}

static void worker_lost(struct worker *k, const char *why)
{
    struct workers *w = k->owner;
    uint64_t held = 0;

    if (k->state == WORKER_BUSY) {
        atomic_fetch_add_explicit(&w->crashed, 1, memory_order_relaxed);
        if (log_limit_pass(&w->crash_log, loop_now_ms(w->loop), 1000, &held))
            log_warn("workers",
                     "worker pid=%u was lost while it inspected a file: %s; the file gets the "
                     "service's action "
                     "for worker-crash (and %llu more such lines were held back)",
                     k->pid, why, (unsigned long long)held);
    }
    if (k->job)
        job_fail(k->job, CAUSE_WORKER_CRASH, ERR_WORKER, why);
    worker_free(k);
    workers_dispatch(w);
}

static void worker_idle(struct worker *k)
{
    struct workers *w = k->owner;

    timer_clear(w->loop, &k->kill_timer);
    k->state = WORKER_IDLE;
    if (k->retiring || k->files >= w->settings.reuse || w->n_workers > w->settings.count)
        worker_free(k);
    else
        workers_recount(w);
    workers_dispatch(w);
}

/* Whoever gets it maps or reads it while the worker, which may be in an enemy's hands, lives on. */
static bool is_sealed(int fd)
{
    const int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & all) == all;
}

static void worker_readable(void *arg, unsigned events)
{
    struct worker *k = arg;
    struct wire_message m;
    int fd;
    enum err e = wire_receive(k->fd, &m, &fd);

    (void)events;
    if (e == ERR_AGAIN)
        return;
    if (e != OK) {
        k->gone = e == ERR_EOF || e == ERR_RESET;
        worker_lost(k, e == ERR_EOF ? "it ended" : err_text(e));
        return;
    }
    if (m.kind != WIRE_RESULT || k->state != WORKER_BUSY || m.result.id != k->job_id ||
        (fd >= 0 && !is_sealed(fd))) {
        if (fd >= 0)
            (void)close(fd);
        worker_lost(k, "it broke the worker protocol");
        return;
    }
    if (k->job) {
        k->job->result = m.result.result;
        k->job->objects = fd;
        job_end(k->job);
    } else if (fd >= 0) {
        (void)close(fd);
    }
    worker_idle(k);
}

static void worker_overdue(struct timer *t)
{
    struct worker *k = CONTAINER_OF(t, struct worker, kill_timer);
    struct workers *w = k->owner;

    atomic_fetch_add_explicit(&w->killed, 1, memory_order_relaxed);
    log_warn("workers", "worker pid=%u hangs after its deadline; it is killed", k->pid);
    if (k->job)
        job_fail(k->job, CAUSE_TIMEOUT, ERR_TIMEOUT, "the scan did not end before its deadline");
    worker_free(k);
    workers_dispatch(w);
}

/* An idle worker that went away unnoticed has not seen the file: another one may, once. */
static void worker_give_failed(struct worker *k, struct worker_job *j, enum err e)
{
    struct workers *w = k->owner;

    worker_free(k);
    if (e == ERR_RESET && !j->returned) {
        j->returned = true;
        client_queue_put_back(&w->queue, &j->place);
        queue_recount(w);
        return;
    }
    atomic_fetch_add_explicit(&w->crashed, 1, memory_order_relaxed);
    log_warn("workers", "a worker does not take files: %s", err_text(e));
    job_fail(j, CAUSE_WORKER_CRASH, ERR_WORKER, "no worker took the file");
}

/* May lose |k|. */
static void worker_give(struct worker *k, struct worker_job *j)
{
    struct workers *w = k->owner;
    uint64_t now = loop_now_ms(w->loop);
    uint64_t left = j->req.deadline_ms > now ? j->req.deadline_ms - now : 1;
    struct wire_message m = {.kind = WIRE_JOB};
    enum err e;

    k->job_id = ++w->next_job;
    m.job.id = k->job_id;
    m.job.engines = j->req.engines;
    m.job.time_ms = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
    m.job.len = j->req.len;
    (void)span_copy(span_of(j->name), m.job.name, sizeof m.job.name);
    (void)span_copy(span_of(j->type), m.job.type, sizeof m.job.type);
    (void)span_copy(span_of(j->encoding), m.job.encoding, sizeof m.job.encoding);
    m.job.unpack = j->req.unpack;
    m.job.want_objects = j->req.want_objects;
    e = wire_send(k->fd, &m, j->req.fd);
    if (e != OK) {
        worker_give_failed(k, j, e);
        return;
    }
    k->state = WORKER_BUSY;
    k->files++;
    k->job = j;
    j->worker = k;
    workers_recount(w);
    atomic_fetch_add_explicit(&w->jobs, 1, memory_order_relaxed);
    (void)close(j->req.fd);
    j->req.fd = -1;
    timer_set(w->loop, &k->kill_timer, j->req.deadline_ms + w->settings.grace_ms);
}

static bool worker_fork(struct workers *w)
{
    struct worker *k = calloc(1, sizeof *k);
    struct wire_message m = {.kind = WIRE_FORK};

    if (!k)
        return false;
    *k = (struct worker){
        .owner = w, .fd = -1, .fork_id = ++w->next_fork, .kill_timer.fire = worker_overdue};
    m.fork.id = k->fork_id;
    if (wire_send(w->channel, &m, -1) != OK) {
        free(k);
        return false;
    }
    DL_APPEND(w->list, k);
    w->n_workers++;
    return true;
}

static struct worker *worker_that_waits(const struct workers *w)
{
    struct worker *k;

    DL_FOREACH (w->list, k)
        if (k->state == WORKER_IDLE && !k->retiring)
            return k;
    return NULL;
}

/* Gives waiting files to idle workers, and asks for more workers while there are more files than
 * workers coming. */
static void workers_dispatch(struct workers *w)
{
    struct worker *k;
    unsigned forking = 0;

    while (w->queue.n > 0 && (k = worker_that_waits(w)) != NULL) {
        struct client_queue_entry *e = client_queue_take(&w->queue);

        queue_recount(w);
        worker_give(k, CONTAINER_OF(e, struct worker_job, place));
    }
    DL_FOREACH (w->list, k)
        forking += k->state == WORKER_FORKING;
    while (w->channel >= 0 && forking < w->queue.n && w->n_workers < w->settings.count &&
           worker_fork(w))
        forking++;
}

/* ---- zygote ---- */

static struct worker *worker_by_fork(struct workers *w, uint32_t id)
{
    struct worker *k;

    DL_FOREACH (w->list, k)
        if (k->state == WORKER_FORKING && k->fork_id == id)
            return k;
    return NULL;
}

static void on_forked(struct workers *w, const struct wire_message *m, int fd)
{
    struct worker *k = worker_by_fork(w, m->forked.id);

    if (!k || fd < 0) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    (void)fcntl(fd, F_SETFL, O_NONBLOCK); /* it must never make a loop wait */
    k->fd = fd;
    k->pid = m->forked.pid;
    if (watch_new(w->loop, fd, worker_readable, k, &k->watch) != OK) {
        worker_free(k);
        return;
    }
    watch_arm(k->watch, WATCH_READ);
    atomic_fetch_add_explicit(&w->started, 1, memory_order_relaxed);
    worker_idle(k);
}

static void channel_close(struct workers *w)
{
    struct worker *k, *tmp;

    watch_close(w->channel_watch);
    w->channel_watch = NULL;
    if (w->channel >= 0)
        (void)close(w->channel);
    w->channel = -1;
    DL_FOREACH_SAFE(w->list, k, tmp)
    {
        k->retiring = true;
        if (k->state != WORKER_BUSY)
            worker_free(k);
    }
}

static void on_fork_failed(struct workers *w, const struct wire_message *m)
{
    struct worker *k = worker_by_fork(w, m->fork_failed.id);
    uint64_t held = 0;

    if (log_limit_pass(&w->fork_log, loop_now_ms(w->loop), 10000, &held))
        log_error("workers",
                  "the zygote cannot fork a worker: %s (and %llu more such lines were held back)",
                  m->fork_failed.text, (unsigned long long)held);
    if (k)
        worker_free(k);
    timer_set(w->loop, &w->fork_retry, loop_now_ms(w->loop) + FORK_RETRY_MS);
}

static void on_fork_retry(struct timer *t)
{
    workers_dispatch(CONTAINER_OF(t, struct workers, fork_retry));
}

/* False: the channel is closed. */
static bool channel_message(struct workers *w)
{
    struct wire_message m;
    int fd;
    enum err e = wire_receive(w->channel, &m, &fd);

    if (e == ERR_AGAIN)
        return false;
    if (e != OK) {
        log_warn("workers", "the zygote's channel closed (%s); files wait for a new one",
                 err_text(e));
        channel_close(w);
        return false;
    }
    if (m.kind == WIRE_FORKED) {
        on_forked(w, &m, fd);
        return true;
    }
    if (fd >= 0)
        (void)close(fd);
    if (m.kind == WIRE_FORK_FAILED)
        on_fork_failed(w, &m);
    else if (m.kind == WIRE_DIED && m.died.signal != 0 &&
             !(m.died.signal == SIGKILL && was_killed(w, m.died.pid)))
        log_warn("workers", "worker pid=%u was ended by signal %u", m.died.pid, m.died.signal);
    return true;
}

static void channel_readable(void *arg, unsigned events)
{
    struct workers *w = arg;

    (void)events;
    for (unsigned i = 0; i < 64 && w->channel >= 0; i++)
        if (!channel_message(w))
            return;
}

void workers_set_channel(struct workers *w, int fd)
{
    channel_close(w);
    if (fd < 0)
        return;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (watch_new(w->loop, fd, channel_readable, w, &w->channel_watch) != OK) {
        log_error("workers", "cannot watch the zygote's channel: no memory");
        (void)close(fd);
        return;
    }
    w->channel = fd;
    watch_arm(w->channel_watch, WATCH_READ);
    workers_dispatch(w);
    if (w->n_workers == 0)
        (void)worker_fork(w); /* one in advance: the first file does not wait for a fork */
}

/* ---- public ---- */

enum err workers_new(struct loop *l, const struct worker_settings *settings, struct workers **ret)
{
    struct workers *w = calloc(1, sizeof *w);

    if (!w)
        return ERR_NOMEM;
    w->loop = l;
    w->settings = *settings;
    w->channel = -1;
    w->tell.run = tell_run;
    w->fork_retry = (struct timer){.fire = on_fork_retry, .at_ms = UINT64_MAX};
    *ret = w;
    return OK;
}

void workers_free(struct workers *w)
{
    struct client_queue_entry *e;
    struct worker *k, *tmp;

    if (!w)
        return;
    while ((e = client_queue_first(&w->queue)) != NULL) {
        struct worker_job *j = CONTAINER_OF(e, struct worker_job, place);

        queue_remove(j);
        job_fail(j, CAUSE_ENGINE_DOWN, ERR_DRAINING, "the gateway is shutting down");
    }
    DL_FOREACH_SAFE(w->list, k, tmp)
    {
        if (k->job)
            job_fail(k->job, CAUSE_ENGINE_DOWN, ERR_DRAINING, "the gateway is shutting down");
        worker_free(k);
    }
    channel_close(w);
    timer_clear(w->loop, &w->fork_retry);
    w->dead = true;
    if (!w->telling)
        tell_run(&w->tell);
}

void workers_set_settings(struct workers *w, const struct worker_settings *settings)
{
    struct worker *k;

    w->settings = *settings;
    while (w->n_workers > settings->count && (k = worker_that_waits(w)) != NULL)
        worker_free(k);
    workers_dispatch(w);
}

/* The end of a long name is the part with the extension, which the rules look at. */
static struct span span_tail(struct span s, size_t n)
{
    return s.n > n ? span_sub(s, s.n - n, n) : s;
}

static bool is_full(const struct workers *w)
{
    return w->queue.n >= w->settings.queue;
}

bool workers_have_room(const struct workers *w, uint64_t client)
{
    return !is_full(w) || client_queue_last_of_most(&w->queue, client);
}

/* The queue is full: else those who send little would find it full of the files of who sends all
 * he can. */
static bool make_room(struct workers *w, uint64_t client)
{
    struct client_queue_entry *e = client_queue_last_of_most(&w->queue, client);
    struct worker_job *j;

    if (!e)
        return false;
    j = CONTAINER_OF(e, struct worker_job, place);
    queue_remove(j);
    job_fail(j, CAUSE_OVERLOAD, ERR_BUSY,
             "as many files as engines.workers.queue allows are waiting");
    return true;
}

enum err workers_submit(struct workers *w, const struct worker_job_request *r,
                        struct worker_job **ret)
{
    struct worker_job *j = NULL;
    enum err e = OK;

    /* A type or coding that was cut could be taken for another one. */
    if (r->type.n >= sizeof j->type || r->encoding.n >= sizeof j->encoding)
        e = ERR_LIMIT;
    else if (is_full(w) && !make_room(w, r->client))
        e = ERR_BUSY;
    else if ((j = calloc(1, sizeof *j)) == NULL)
        e = ERR_NOMEM;
    if (e) {
        (void)close(r->fd);
        return e;
    }
    j->owner = w;
    j->req = *r;
    j->objects = -1;
    j->deadline.fire = job_deadline;
    (void)span_copy(span_tail(r->name, sizeof j->name - 1), j->name, sizeof j->name);
    (void)span_copy(r->type, j->type, sizeof j->type);
    (void)span_copy(r->encoding, j->encoding, sizeof j->encoding);
    client_queue_add(&w->queue, &j->place, r->client, false);
    queue_recount(w);
    timer_set(w->loop, &j->deadline, r->deadline_ms);
    *ret = j;
    workers_dispatch(w);
    return OK;
}

void workers_cancel(struct worker_job *j)
{
    struct workers *w = j->owner;

    timer_clear(w->loop, &j->deadline);
    if (j->ended)
        DL_DELETE(w->ended, j);
    else if (j->worker)
        j->worker->job = NULL;
    else
        queue_remove(j);
    if (j->req.fd >= 0)
        (void)close(j->req.fd);
    if (j->objects >= 0)
        (void)close(j->objects);
    free(j);
}

bool workers_are_up(const struct workers *w)
{
    return w->channel >= 0 || w->list != NULL;
}

void workers_counts(const struct workers *w, struct workers_counts *ret)
{
    *ret = (struct workers_counts){
        .started = atomic_load_explicit(&w->started, memory_order_relaxed),
        .jobs = atomic_load_explicit(&w->jobs, memory_order_relaxed),
        .crashed = atomic_load_explicit(&w->crashed, memory_order_relaxed),
        .killed = atomic_load_explicit(&w->killed, memory_order_relaxed),
        .alive = atomic_load_explicit(&w->alive, memory_order_relaxed),
        .busy = atomic_load_explicit(&w->busy, memory_order_relaxed),
        .queued = atomic_load_explicit(&w->queued, memory_order_relaxed),
    };
}
