/* SPDX-License-Identifier: Apache-2.0 */
/* clamd.c - the sessions of one loop and the files that want one. A session has one file at a time;
 * files that find none wait in a queue. */
#include "adapt/clamd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>
#include <utlist.h>

#include "adapt/clamd_int.h"
#include "adapt/client_queue.h"
#include "base/log.h"
#include "observe/record_upstream.h"

#define CONNECT_MS     5000u
#define IDLE_MS        15000u /* below IdleTimeout, by which clamd closes (30 s) */
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 5000u
#define TRIES_MAX      2u
#define COPY_MAX       (256u << 10) /* a range up to here is copied to be passed by descriptor */

enum conn_state { CONN_CONNECTING, CONN_IDLE, CONN_BUSY };

struct conn {
    struct conn *prev, *next;
    struct clamd *owner;
    enum conn_state state;
    struct clamd_session *session;
    struct clamd_job *job; /* while BUSY */
    struct timer timer;    /* of connecting, of being idle */
};

struct copy;

struct clamd_job {
    struct client_queue_entry place; /* in |queue|, while waiting; held while |copy| is there */
    struct clamd_job *prev, *next;   /* in |ended| */
    struct clamd *owner;
    struct conn *conn; /* NULL while waiting */
    struct copy *copy; /* NULL but while a range is copied */
    struct file_ref *file;
    uint64_t off, len;
    bool by_fd; /* the whole of |file|, by descriptor */
    unsigned tries;
    struct timer deadline;
    clamd_fn done;
    void *arg;
    struct clamd_answer answer;
    bool was_sent; /* or at least begun */
    bool is_ended;
};

struct clamd {
    struct loop *loop;
    struct clamd_settings settings;
    struct clamd_health *health;
    struct record_upstream *way; /* for records: all connections are alike; or NULL */
    sallyport_why refusal;       /* for records: the last one of its health */
    struct conn *conns;
    struct client_queue queue;
    struct clamd_job *ended;
    struct task tell;
    bool telling, dead;
    struct timer retry; /* set: no new connection before it */
    uint64_t backoff_ms;
    struct log_limit lost_log;
    unsigned n_conns;
    _Atomic uint64_t jobs, found, errors, reconnects;
    _Atomic unsigned busy, idle, queued;
};

static void dispatch(struct clamd *c);

static void recount(struct clamd *c)
{
    unsigned busy = 0, idle = 0;
    struct conn *k;

    DL_FOREACH (c->conns, k) {
        busy += k->state == CONN_BUSY;
        idle += k->state == CONN_IDLE;
    }
    atomic_store_explicit(&c->busy, busy, memory_order_relaxed);
    atomic_store_explicit(&c->idle, idle, memory_order_relaxed);
    atomic_store_explicit(&c->queued, c->queue.n, memory_order_relaxed);
}

/* ---- the end of a job ---- */

static struct record_upstream *way_new(const struct clamd *c, const sallyport_report *report,
                                       const struct clamd_answer *a)
{
    char address[ADDRESS_TEXT_MAX];
    const struct record_upstream_facts f = {
        .name = {"clamd", address_text(&c->settings.address, address)},
        .report = report,
        .why = a && a->err == ERR_POLICY && c->refusal.code ? &c->refusal : NULL,
        .err = a ? a->err : OK,
        .error_text = a ? a->text : NULL,
    };

    return record_upstream_new(&f);
}

static void tell(struct clamd_job *j)
{
    struct record_upstream *way = NULL;

    if (j->was_sent)
        way = record_upstream_ref(j->owner->way);
    else if (j->answer.verdict == CLAMD_ERROR && j->answer.err != ERR_BUSY)
        way = way_new(j->owner, NULL, &j->answer);
    j->answer.upstream = way;
    j->done(j->arg, &j->answer);
    record_upstream_unref(way);
}

static void clamd_release(struct clamd *c)
{
    clamd_health_unref(c->health);
    record_upstream_unref(c->way);
    free(c);
}

static void tell_run(struct task *t)
{
    struct clamd *c = CONTAINER_OF(t, struct clamd, tell);

    while (c->ended) {
        struct clamd_job *j = c->ended;

        DL_DELETE(c->ended, j);
        tell(j);
        free(j);
    }
    c->telling = false; /* not before: a call-back may free the whole */
    if (c->dead)
        clamd_release(c);
}

static void count_end(struct clamd *c, const struct clamd_answer *a)
{
    atomic_fetch_add_explicit(&c->jobs, 1, memory_order_relaxed);
    if (a->verdict == CLAMD_FOUND)
        atomic_fetch_add_explicit(&c->found, 1, memory_order_relaxed);
    if (a->verdict == CLAMD_ERROR)
        atomic_fetch_add_explicit(&c->errors, 1, memory_order_relaxed);
}

/* In no list and on no session any more. Queues the call-back: it never runs inside the call. */
static void job_end(struct clamd_job *j)
{
    struct clamd *c = j->owner;

    timer_clear(c->loop, &j->deadline);
    file_unref(j->file);
    j->file = NULL;
    j->is_ended = true;
    count_end(c, &j->answer);
    DL_APPEND(c->ended, j);
    if (!c->telling) {
        c->telling = true;
        loop_defer(c->loop, &c->tell);
    }
}

static void job_end_with(struct clamd_job *j, enum clamd_verdict v, enum err e, const char *why)
{
    j->answer = (struct clamd_answer){.verdict = v, .err = e};
    (void)span_copy(span_of(why), j->answer.text, sizeof j->answer.text);
    job_end(j);
}

static void job_fail(struct clamd_job *j, enum err e, const char *why)
{
    job_end_with(j, CLAMD_ERROR, e, why);
}

/* ---- ranges that go by descriptor ---- */

struct copy {
    struct work work;
    struct clamd_job *job; /* NULL: nobody waits for it any more */
    struct file_ref *from;
    uint64_t off, len;
    int fd;    /* -1: none */
    int error; /* 0, or an errno */
};

static int copy_bytes(const struct copy *w)
{
    off_t off = (off_t)w->off;
    uint64_t left = w->len;

    while (left > 0) {
        ssize_t n = sendfile(w->fd, w->from->fd, &off, (size_t)left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        left -= (uint64_t)n;
    }
    return clamd_memfd_seal(w->fd);
}

static void copy_run(struct work *work)
{
    struct copy *w = CONTAINER_OF(work, struct copy, work);

    w->fd = clamd_memfd();
    w->error = w->fd < 0 ? errno : copy_bytes(w);
}

static void copy_free(struct copy *w)
{
    file_unref(w->from);
    if (w->fd >= 0)
        (void)close(w->fd);
    free(w);
}

/* What is being copied belongs to nobody then, and goes when it is done. */
static void copy_leave(struct clamd_job *j)
{
    if (j->copy)
        j->copy->job = NULL;
    j->copy = NULL;
}

static void queue_remove(struct clamd_job *j)
{
    client_queue_remove(&j->owner->queue, &j->place);
    copy_leave(j);
}

static void copied(struct clamd_job *j, struct copy *w)
{
    struct clamd *c = j->owner;
    struct file_ref *f = w->error ? NULL : clamd_file_new(w->fd);

    copy_leave(j);
    if (!f) {
        queue_remove(j);
        job_fail(j, w->error ? err_from_errno(w->error) : ERR_NOMEM, "a part cannot be copied");
        recount(c);
        return;
    }
    w->fd = -1; /* moved */
    file_unref(j->file);
    j->file = f;
    j->off = 0;
    client_queue_release(&c->queue, &j->place);
    dispatch(c);
}

static void copy_done(struct work *work)
{
    struct copy *w = CONTAINER_OF(work, struct copy, work);

    if (w->job)
        copied(w->job, w);
    copy_free(w);
}

static enum err copy_start(struct clamd_job *j)
{
    struct clamd *c = j->owner;
    struct copy *w = calloc(1, sizeof *w);

    if (!w)
        return ERR_NOMEM;
    *w = (struct copy){
        .work = {.run = copy_run, .done = copy_done},
        .job = j,
        .from = file_ref(j->file),
        .off = j->off,
        .len = j->len,
        .fd = -1,
    };
    enum err e = loop_work(c->loop, &w->work);

    if (e) {
        copy_free(w);
        return e;
    }
    j->copy = w;
    return OK;
}

/* ---- sessions ---- */

static void conn_free(struct conn *k)
{
    struct clamd *c = k->owner;

    timer_clear(c->loop, &k->timer);
    clamd_session_close(k->session);
    DL_DELETE(c->conns, k);
    c->n_conns--;
    free(k);
}

static void conn_rest(struct conn *k)
{
    struct clamd *c = k->owner;

    k->state = CONN_IDLE;
    c->backoff_ms = 0;
    timer_set(c->loop, &k->timer, loop_now_ms(c->loop) + IDLE_MS);
}

/* Whoever dies under a file may have taken its siblings along, whose ends were not heard of yet:
 * the second try shall not meet one of those. */
static void drop_idle(struct clamd *c)
{
    struct conn *k, *tmp;

    DL_FOREACH_SAFE(c->conns, k, tmp)
    if (k->state == CONN_IDLE)
        conn_free(k);
}

static void job_retry(struct clamd_job *j, const char *why)
{
    struct clamd *c = j->owner;

    j->conn = NULL;
    if (++j->tries >= TRIES_MAX) {
        job_fail(j, ERR_UPSTREAM, why);
        return;
    }
    client_queue_put_back(&c->queue, &j->place);
}

/* Nobody is there: those who wait have tried, too. */
static void queue_tried(struct clamd *c, const char *why)
{
    struct client_queue_entry *e = client_queue_first(&c->queue);

    while (e) {
        struct clamd_job *j = CONTAINER_OF(e, struct clamd_job, place);

        e = client_queue_next(&c->queue, e);
        if (j->copy || ++j->tries < TRIES_MAX)
            continue;
        queue_remove(j);
        job_fail(j, ERR_UPSTREAM, why);
    }
}

static bool is_backing_off(const struct clamd *c)
{
    return c->retry.at_ms != UINT64_MAX;
}

static void back_off(struct clamd *c)
{
    uint64_t ms = c->backoff_ms ? c->backoff_ms * 2 : BACKOFF_MIN_MS;

    if (is_backing_off(c))
        return; /* several connections of one attempt */
    c->backoff_ms = ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
    timer_set(c->loop, &c->retry, loop_now_ms(c->loop) + c->backoff_ms);
}

static void log_lost(struct clamd *c, const char *why)
{
    uint64_t held = 0;

    if (log_limit_pass(&c->lost_log, loop_now_ms(c->loop), 10000, &held))
        log_debug("clamd", "lost a session: %s (and %llu more)", why, (unsigned long long)held);
}

static void conn_lost(struct conn *k, struct span text)
{
    struct clamd *c = k->owner;
    enum conn_state state = k->state;
    struct clamd_job *j = k->job;
    char why[FINDING_NAME_MAX];

    (void)span_copy(text, why, sizeof why);
    conn_free(k);
    if (state != CONN_IDLE) {
        atomic_fetch_add_explicit(&c->reconnects, 1, memory_order_relaxed);
        log_lost(c, why);
        clamd_health_suspect(c->health);
    }
    if (j) {
        job_retry(j, why);
        drop_idle(c);
    } else if (state == CONN_CONNECTING) {
        back_off(c);
        if (c->n_conns == 0)
            queue_tried(c, why);
    }
    dispatch(c);
}

/* A descriptor that the daemon's own jail (AppArmor) does not let in goes as a stream. */
static bool wants_stream(const struct clamd_job *j, const struct clamd_answer *a)
{
    return j->by_fd && a->verdict == CLAMD_ERROR && j->tries + 1 < TRIES_MAX;
}

/* An OK of a daemon that says OK to what it did not look into. */
static void doubt(const struct clamd *c, struct clamd_answer *a)
{
    struct clamd_health_report h;

    if (a->verdict != CLAMD_CLEAN || c->settings.trust_silent)
        return;
    clamd_health_read(c->health, &h);
    if (!h.silent_limits && !h.unmeasured)
        return;
    a->verdict = CLAMD_LIMIT;
    (void)span_copy(h.silent_limits
                        ? SPAN("its OK is not believed, because it calls clean what is over its "
                               "limits (AlertExceedsMax, ScanArchive)")
                        : SPAN("its OK is not believed: it was started anew a moment ago, and what "
                               "it looks into is being measured"),
                    a->text, sizeof a->text);
}

static void job_answer(struct clamd_job *j, const struct clamd_answer *a)
{
    j->conn = NULL;
    if (wants_stream(j, a)) {
        j->by_fd = false;
        job_retry(j, a->text);
        return;
    }
    j->answer = *a;
    job_end(j);
}

static void conn_reply(struct conn *k, struct span text)
{
    struct clamd *c = k->owner;
    struct clamd_job *j = k->job;
    struct clamd_answer a;
    uint32_t id = 0;

    if (clamd_parse_reply(text, &id, &a) != OK || (id != 0 && id != clamd_session_id(k->session))) {
        a = (struct clamd_answer){.verdict = CLAMD_ERROR, .err = ERR_UPSTREAM};
        (void)span_copy(SPAN("the daemon breaks its protocol"), a.text, sizeof a.text);
        j->tries = TRIES_MAX; /* whoever that is: no second time */
    }
    k->job = NULL;
    /* After an error, and after a stream that is too long, clamd closes. */
    if (a.verdict == CLAMD_ERROR || (a.verdict == CLAMD_LIMIT && !j->by_fd) ||
        !clamd_session_is_idle(k->session))
        conn_free(k);
    else
        conn_rest(k);
    doubt(c, &a);
    job_answer(j, &a);
    dispatch(c);
}

static void on_session(void *arg, enum clamd_session_event event, struct span text)
{
    struct conn *k = arg;

    switch (event) {
    case CLAMD_SESSION_READY:
        conn_rest(k);
        dispatch(k->owner);
        break;
    case CLAMD_SESSION_REPLY: conn_reply(k, text); break;
    case CLAMD_SESSION_LOST: conn_lost(k, text); break;
    }
}

static void on_conn_timer(struct timer *t)
{
    struct conn *k = CONTAINER_OF(t, struct conn, timer);
    struct clamd *c = k->owner;

    if (k->state == CONN_CONNECTING) {
        conn_lost(k, SPAN("nobody answered"));
        return;
    }
    conn_free(k); /* idle for long */
    recount(c);
}

static enum err conn_open(struct clamd *c)
{
    struct conn *k = calloc(1, sizeof *k);

    if (!k)
        return ERR_NOMEM;
    *k = (struct conn){.owner = c, .state = CONN_CONNECTING, .timer.fire = on_conn_timer};
    enum err e = clamd_session_new(c->loop, &c->settings.address, on_session, k, &k->session);

    if (e) {
        free(k);
        return e;
    }
    DL_APPEND(c->conns, k);
    c->n_conns++;
    timer_set(c->loop, &k->timer, loop_now_ms(c->loop) + CONNECT_MS);
    return OK;
}

static void conn_give(struct conn *k, struct clamd_job *j)
{
    timer_clear(k->owner->loop, &k->timer);
    k->state = CONN_BUSY;
    k->job = j;
    j->conn = k;
    j->was_sent = true;
    if (j->by_fd)
        clamd_session_fildes(k->session, j->file);
    else
        clamd_session_instream(k->session, j->file, j->off, j->len);
}

/* The one that was used last: the others may grow old. */
static struct conn *conn_idle(const struct clamd *c)
{
    struct conn *k, *best = NULL;

    DL_FOREACH (c->conns, k)
        if (k->state == CONN_IDLE && (!best || k->timer.at_ms > best->timer.at_ms))
            best = k;
    return best;
}

static void queue_fail(struct clamd *c, enum err e, const char *why)
{
    struct client_queue_entry *w;

    while ((w = client_queue_first(&c->queue)) != NULL) {
        struct clamd_job *j = CONTAINER_OF(w, struct clamd_job, place);

        queue_remove(j);
        job_fail(j, e, why);
    }
}

/* What those who wait for one that is down end with. */
static enum err down_error(struct clamd *c, const struct clamd_health_report *h)
{
    if (!h->refused)
        return ERR_UPSTREAM;
    c->refusal = h->refusal;
    return ERR_POLICY;
}

/* Since they came it may have become one that is not to be asked. */
static void queue_drop_refused(struct clamd *c)
{
    struct clamd_health_report r;

    if (c->queue.n == 0)
        return;
    clamd_health_read(c->health, &r);
    if (r.refused)
        queue_fail(c, down_error(c, &r), r.why);
}

static void dispatch(struct clamd *c)
{
    struct conn *k;
    unsigned connecting = 0;

    queue_drop_refused(c);
    while (c->queue.n_ready > 0 && (k = conn_idle(c)) != NULL)
        conn_give(k, CONTAINER_OF(client_queue_take(&c->queue), struct clamd_job, place));
    DL_FOREACH (c->conns, k)
        connecting += k->state == CONN_CONNECTING;
    for (unsigned i = 0; i < c->queue.n_ready; i++) {
        if (connecting > 0) {
            connecting--;
            continue;
        }
        if (is_backing_off(c) || c->n_conns >= c->settings.connections_max)
            break;
        if (conn_open(c) != OK) {
            back_off(c);
            break;
        }
    }
    recount(c);
}

static void on_retry(struct timer *t)
{
    struct clamd *c = CONTAINER_OF(t, struct clamd, retry);
    struct clamd_health_report r;

    c->retry.at_ms = UINT64_MAX;
    clamd_health_read(c->health, &r);
    if (clamd_health_is_down(&r))
        queue_fail(c, down_error(c, &r), r.why);
    dispatch(c);
}

/* ---- jobs ---- */

static void on_deadline(struct timer *t)
{
    struct clamd_job *j = CONTAINER_OF(t, struct clamd_job, deadline);
    struct clamd *c = j->owner;
    const char *why = "no session with the daemon was free before the deadline";

    if (j->conn) {
        conn_free(j->conn);
        why = "the daemon did not answer before the deadline";
        clamd_health_suspect(c->health);
    } else {
        queue_remove(j);
    }
    j->conn = NULL;
    job_fail(j, ERR_TIMEOUT, why);
    dispatch(c);
}

static struct clamd_job *job_new(struct clamd *c, const struct clamd_request *r)
{
    struct clamd_job *j = calloc(1, sizeof *j);

    if (!j)
        return NULL;
    *j = (struct clamd_job){
        .owner = c,
        .off = r->off,
        .len = r->len,
        .deadline.fire = on_deadline,
        .done = r->done,
        .arg = r->arg,
    };
    return j;
}

static enum err job_file(struct clamd_job *j, const struct clamd_request *r)
{
    int own = r->moves ? r->fd : fcntl(r->fd, F_DUPFD_CLOEXEC, 0);

    if (own < 0)
        return ERR_IO;
    j->file = clamd_file_new(own);
    if (j->file)
        return OK;
    if (!r->moves)
        (void)close(own);
    return ERR_NOMEM;
}

/* The request was refused: what moves stays the caller's. */
static void job_give_back(struct clamd_job *j, const struct clamd_request *r)
{
    if (j->file && r->moves)
        clamd_file_forget(j->file);
    file_unref(j->file);
    free(j);
}

static enum err job_start(struct clamd_job *j, const struct clamd_request *r)
{
    bool by_copy = j->by_fd && !r->whole;

    if (by_copy)
        TRY(copy_start(j));
    client_queue_add(&j->owner->queue, &j->place, r->client, by_copy);
    return OK;
}

/* Answers that need no daemon. */
static bool job_end_early(struct clamd_job *j, const struct clamd_health_report *h)
{
    uint64_t max = j->owner->settings.scan_max;

    if (h->scan_max > 0 && h->scan_max < max)
        max = h->scan_max;
    if (clamd_health_is_down(h))
        job_fail(j, down_error(j->owner, h), h->why);
    else if (j->len > max)
        job_end_with(j, CLAMD_LIMIT, OK, "larger than the daemon looks into");
    else
        return false;
    return true;
}

static bool by_descriptor(const struct clamd *c, const struct clamd_health_report *h)
{
    enum clamd_transport t = h->transport != CLAMD_AUTO ? h->transport : c->settings.transport;

    return c->settings.address.ss.ss_family == AF_UNIX && t != CLAMD_INSTREAM;
}

/* Files for which a session is free, or may be made, do not wait. */
static bool is_full(const struct clamd *c)
{
    unsigned busy = atomic_load_explicit(&c->busy, memory_order_relaxed);

    return c->queue.n >= c->settings.queue_max + (c->settings.connections_max - busy);
}

static bool make_room(struct clamd *c, uint64_t client)
{
    struct client_queue_entry *e = client_queue_last_of_most(&c->queue, client);
    struct clamd_job *j;

    if (!e)
        return false;
    j = CONTAINER_OF(e, struct clamd_job, place);
    queue_remove(j);
    job_fail(j, ERR_BUSY, "as many files as engines.clamav.queue allows are waiting");
    return true;
}

enum err clamd_submit(struct clamd *c, const struct clamd_request *r, struct clamd_job **ret)
{
    struct clamd_health_report h;
    struct clamd_job *j;
    enum err e;

    if (is_full(c) && !make_room(c, r->client))
        return ERR_BUSY;
    j = job_new(c, r);
    if (!j)
        return ERR_NOMEM;
    clamd_health_read(c->health, &h);
    if (!job_end_early(j, &h)) {
        j->by_fd = by_descriptor(c, &h) && (r->whole || r->len <= COPY_MAX);
        e = job_file(j, r);
        if (e == OK)
            e = job_start(j, r);
        if (e) {
            job_give_back(j, r);
            return e;
        }
        timer_set(c->loop, &j->deadline, r->deadline_ms);
    } else if (r->moves) {
        (void)close(r->fd);
    }
    *ret = j;
    dispatch(c);
    return OK;
}

void clamd_cancel(struct clamd_job *j)
{
    struct clamd *c = j->owner;

    timer_clear(c->loop, &j->deadline);
    if (j->is_ended)
        DL_DELETE(c->ended, j);
    else if (j->conn)
        conn_free(j->conn);
    else
        queue_remove(j);
    file_unref(j->file);
    free(j);
    dispatch(c);
}

/* ---- life ---- */

enum err clamd_new(struct loop *l, const struct clamd_settings *s, struct clamd_health *h,
                   struct clamd **ret)
{
    struct clamd *c = calloc(1, sizeof *c);
    sallyport_report *report = NULL;

    if (!c)
        return ERR_NOMEM;
    c->loop = l;
    c->settings = *s;
    c->health = clamd_health_ref(h);
    (void)sallyport_report_new(NULL, &report); /* clear: there is one for all */
    c->way = way_new(c, report, NULL);
    c->tell.run = tell_run;
    c->retry = (struct timer){.fire = on_retry, .at_ms = UINT64_MAX};
    *ret = c;
    return OK;
}

void clamd_free(struct clamd *c)
{
    static const char why[] = "the gateway is shutting down";

    if (!c)
        return;
    queue_fail(c, ERR_DRAINING, why);
    while (c->conns) {
        struct clamd_job *j = c->conns->job;

        conn_free(c->conns);
        if (j)
            job_fail(j, ERR_DRAINING, why);
    }
    timer_clear(c->loop, &c->retry);
    c->dead = true;
    if (!c->telling)
        tell_run(&c->tell);
}

void clamd_count(const struct clamd *c, struct clamd_counts *ret)
{
    *ret = (struct clamd_counts){
        .jobs = atomic_load_explicit(&c->jobs, memory_order_relaxed),
        .found = atomic_load_explicit(&c->found, memory_order_relaxed),
        .errors = atomic_load_explicit(&c->errors, memory_order_relaxed),
        .reconnects = atomic_load_explicit(&c->reconnects, memory_order_relaxed),
        .busy = atomic_load_explicit(&c->busy, memory_order_relaxed),
        .idle = atomic_load_explicit(&c->idle, memory_order_relaxed),
        .queued = atomic_load_explicit(&c->queued, memory_order_relaxed),
    };
}
