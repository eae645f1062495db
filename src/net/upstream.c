/* SPDX-License-Identifier: Apache-2.0 */
#include "net/upstream.h"

#include <assert.h>
#include <stdlib.h>

#include "net/stream_int.h"
#include "net/upstream_int.h"

#define CONNECT_MS_DEFAULT 10000u
#define IDLE_MS_DEFAULT    30000u
#define IDLE_MAX_DEFAULT   8u

/* One connection: being made for a ticket, out with a user, or idle. */
struct upstream_conn {
    struct upstream *pool;
    struct stream *stream;          /* NULL: being made */
    struct upstream_ticket *ticket; /* for whom; NULL otherwise */
    struct dial *dial;
    bool used; /* has carried a transaction */
    struct timer idle;
    void *note; /* of its users; NULL: none */
    void (*drop_note)(void *note);
    struct upstream_conn *prev, *next; /* in the idle list, or among those being made */
};

struct upstream {
    struct loop *loop;
    struct upstream_settings settings;
    char *host, *tls_name;
    struct upstream_conn *idle; /* the last one put is the first */
    struct upstream_conn *dialing;
    unsigned n_idle;
    unsigned n_open;                      /* connections in any state */
    struct upstream_ticket *first, *last; /* waiting for a place */
    unsigned n_tickets;
    const struct upstream_refusal *refusal; /* while that is told */
    bool freed;
};

enum ticket_state { TICKET_WAITING, TICKET_DIALING, TICKET_READY };

struct upstream_ticket {
    struct upstream *pool;
    struct upstream_ticket *prev, *next; /* while waiting */
    upstream_fn fn;                      /* NULL: cancelled */
    void *arg;
    bool fresh;
    enum ticket_state state;
    struct upstream_conn *conn; /* dialing or ready */
    enum err err;               /* ready without a connection */
    const char *why;            /* static */
    struct task deliver;
};

static void serve_queue(struct upstream *u);

static void free_if_last(struct upstream *u)
{
    if (!u->freed || u->n_open || u->n_tickets)
        return;
    tls_context_unref(u->settings.tls);
    free(u->host);
    free(u->tls_name);
    free(u);
}

static void conn_link(struct upstream_conn **list, struct upstream_conn *c)
{
    c->prev = NULL;
    c->next = *list;
    if (c->next)
        c->next->prev = c;
    *list = c;
}

static void conn_unlink(struct upstream_conn **list, struct upstream_conn *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        *list = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

/* Idle connections. */

static void idle_remove(struct upstream_conn *c)
{
    struct upstream *u = c->pool;

    timer_clear(u->loop, &c->idle);
    conn_unlink(&u->idle, c);
    u->n_idle--;
    stream_arm(c->stream, 0);
    stream_set_callback(c->stream, NULL, NULL);
}

/* In no list. */
static void conn_free(struct upstream_conn *c)
{
    stream_close(c->stream, 0);
    if (c->note)
        c->drop_note(c->note);
    c->pool->n_open--;
    free(c);
}

static void idle_close(struct upstream_conn *c)
{
    idle_remove(c);
    stream_shutdown(c->stream);
    conn_free(c);
}

/* Nobody asked, so whatever the server says ends it: mostly its FIN. Only TLS may talk to itself
 * (tickets). */
static bool is_alive(const struct upstream_conn *c)
{
    struct block *b = block_new();
    uint32_t n;

    if (!b)
        return false;
    stream_ask_again(c->stream);
    enum err e = stream_read(c->stream, b, BLOCK_SIZE, &n);

    block_unref(b);
    return e == ERR_AGAIN;
}

static void on_idle_event(void *arg, unsigned events)
{
    struct upstream_conn *c = arg;
    struct upstream *u = c->pool;

    (void)events;
    if (is_alive(c))
        return;
    idle_close(c);
    serve_queue(u);
}

static void on_idle_end(struct timer *t)
{
    struct upstream_conn *c = CONTAINER_OF(t, struct upstream_conn, idle);
    struct upstream *u = c->pool;

    idle_close(c);
    serve_queue(u);
}

static void idle_add(struct upstream_conn *c)
{
    struct upstream *u = c->pool;

    conn_link(&u->idle, c);
    u->n_idle++;
    stream_set_callback(c->stream, on_idle_event, c);
    timer_set(u->loop, &c->idle, loop_now_ms(u->loop) + u->settings.idle_ms);
    stream_arm(c->stream, STREAM_READABLE);
}

static struct upstream_conn *idle_take(struct upstream *u)
{
    while (u->idle) {
        struct upstream_conn *c = u->idle;

        if (is_alive(c)) {
            idle_remove(c);
            return c;
        }
        idle_close(c);
    }
    return NULL;
}

/* Tickets. */

static void ticket_free(struct upstream_ticket *t)
{
    struct upstream *u = t->pool;

    free(t);
    u->n_tickets--;
    free_if_last(u);
}

static void run_deliver(struct task *task)
{
    struct upstream_ticket *t = CONTAINER_OF(task, struct upstream_ticket, deliver);
    struct upstream_conn *c = t->conn;

    if (t->fn && c) {
        bool reused = c->used;

        c->ticket = NULL;
        c->used = true;
        t->fn(t->arg, c->stream, reused, OK, "");
    } else if (t->fn) {
        t->fn(t->arg, NULL, false, t->err, t->why);
    }
    ticket_free(t);
}

static void ticket_ready(struct upstream_ticket *t, struct upstream_conn *c)
{
    t->state = TICKET_READY;
    t->conn = c;
    c->ticket = t;
    loop_defer(t->pool->loop, &t->deliver);
}

static void ticket_refuse(struct upstream_ticket *t, enum err e, const char *why)
{
    t->state = TICKET_READY;
    t->conn = NULL;
    t->err = e;
    t->why = why;
    loop_defer(t->pool->loop, &t->deliver);
}

static void queue_append(struct upstream *u, struct upstream_ticket *t)
{
    t->prev = u->last;
    if (t->prev)
        t->prev->next = t;
    else
        u->first = t;
    u->last = t;
}

static void queue_remove(struct upstream *u, struct upstream_ticket *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        u->first = t->next;
    if (t->next)
        t->next->prev = t->prev;
    else
        u->last = t->prev;
    t->prev = NULL;
    t->next = NULL;
}

/* New connections. */

static void on_dialed(void *arg, struct stream *s, enum err e, const char *why)
{
    struct upstream_conn *c = arg;
    struct upstream *u = c->pool;
    struct upstream_ticket *t = c->ticket;
    const struct upstream_refusal *refusal = dial_refusal(c->dial);

    c->dial = NULL;
    conn_unlink(&u->dialing, c);
    if (s) {
        c->stream = s;
        s->owner = c;
        ticket_ready(t, c);
        return;
    }
    conn_free(c);
    /* We are in the run-next queue already, and |why| does not outlive this call. */
    u->refusal = refusal;
    t->fn(t->arg, NULL, false, e, why);
    u->refusal = NULL;
    if (!u->freed)
        serve_queue(u);
    ticket_free(t);
}

static enum err dial_for(struct upstream *u, struct upstream_ticket *t)
{
    struct upstream_conn *c = calloc(1, sizeof *c);

    if (!c)
        return ERR_NOMEM;
    c->pool = u;
    c->ticket = t;
    c->idle.fire = on_idle_end;
    enum err e = dial_new(u->loop, &u->settings, on_dialed, c, &c->dial);

    if (e) {
        free(c);
        return e;
    }
    u->n_open++;
    conn_link(&u->dialing, c);
    t->state = TICKET_DIALING;
    t->conn = c;
    return OK;
}

static void dial_drop(struct upstream_conn *c)
{
    dial_cancel(c->dial);
    conn_unlink(&c->pool->dialing, c);
    conn_free(c);
}

/* ERR_AGAIN: no place yet. */
static enum err serve(struct upstream *u, struct upstream_ticket *t)
{
    struct upstream_conn *c = t->fresh ? NULL : idle_take(u);
    unsigned max = u->settings.connections_max;

    if (c) {
        ticket_ready(t, c);
        return OK;
    }
    if (max && u->n_open >= max) {
        if (!u->idle)
            return ERR_AGAIN;
        idle_close(u->idle);
    }
    return dial_for(u, t);
}

static void serve_queue(struct upstream *u)
{
    while (u->first) {
        struct upstream_ticket *t = u->first;
        enum err e = serve(u, t);

        if (e == ERR_AGAIN)
            return;
        queue_remove(u, t);
        if (e)
            ticket_refuse(t, e, err_text(e));
    }
}

enum err upstream_get(struct upstream *u, bool fresh, upstream_fn fn, void *arg,
                      struct upstream_ticket **ret)
{
    struct upstream_ticket *t = calloc(1, sizeof *t);

    assert(!u->freed);
    if (!t)
        return ERR_NOMEM;
    *t = (struct upstream_ticket){
        .pool = u, .fn = fn, .arg = arg, .fresh = fresh, .deliver = {.run = run_deliver}};
    /* Behind those who wait already. */
    enum err e = u->first ? ERR_AGAIN : serve(u, t);

    if (e && e != ERR_AGAIN) {
        free(t);
        return e;
    }
    if (e == ERR_AGAIN)
        queue_append(u, t);
    u->n_tickets++;
    *ret = t;
    return OK;
}

void upstream_cancel(struct upstream_ticket *t)
{
    struct upstream *u = t->pool;
    struct upstream_conn *c = t->conn;

    switch (t->state) {
    case TICKET_WAITING:
        queue_remove(u, t);
        ticket_free(t);
        return;
    case TICKET_DIALING:
        dial_drop(c);
        serve_queue(u);
        ticket_free(t);
        return;
    case TICKET_READY:
        t->fn = NULL;
        t->conn = NULL;
        if (c) {
            c->ticket = NULL;
            upstream_put(u, c->stream, true);
        }
        return;
    }
}

void upstream_put(struct upstream *u, struct stream *s, bool reusable)
{
    struct upstream_conn *c = s->owner;

    assert(c && c->pool == u && !c->ticket);
    if (!reusable || u->freed || stream_failure(s) || stream_has_unsent(s)) {
        stream_set_callback(s, NULL, NULL);
        stream_shutdown(s);
        conn_free(c);
        if (u->freed)
            free_if_last(u);
        else
            serve_queue(u);
        return;
    }
    idle_add(c);
    serve_queue(u);
    while (u->n_idle > u->settings.idle_max) {
        struct upstream_conn *oldest = u->idle;

        while (oldest->next)
            oldest = oldest->next;
        idle_close(oldest);
    }
}

const struct upstream_refusal *upstream_refused(const struct upstream *u)
{
    return u->refusal;
}

void upstream_set_note(struct stream *s, void *note, void (*drop)(void *note))
{
    struct upstream_conn *c = s->owner;

    if (c->note)
        c->drop_note(c->note);
    c->note = note;
    c->drop_note = drop;
}

void *upstream_note(const struct stream *s)
{
    const struct upstream_conn *c = s->owner;

    return c->note;
}

/* Life. */

enum err upstream_new(struct loop *l, const struct upstream_settings *s, struct upstream **ret)
{
    struct upstream *u = calloc(1, sizeof *u);

    if (!u)
        return ERR_NOMEM;
    u->loop = l;
    u->settings = *s;
    u->host = span_dup(span_of(s->host));
    u->tls_name = s->tls_name ? span_dup(span_of(s->tls_name)) : NULL;
    if (!u->host || (s->tls_name && !u->tls_name)) {
        free(u->host);
        free(u->tls_name);
        free(u);
        return ERR_NOMEM;
    }
    u->settings.host = u->host;
    u->settings.tls_name = u->tls_name;
    if (s->tls)
        u->settings.tls = tls_context_ref(s->tls);
    if (!s->connect_ms)
        u->settings.connect_ms = CONNECT_MS_DEFAULT;
    if (!s->idle_ms)
        u->settings.idle_ms = IDLE_MS_DEFAULT;
    if (!s->idle_max)
        u->settings.idle_max = IDLE_MAX_DEFAULT;
    *ret = u;
    return OK;
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    while (u->idle)
        idle_close(u->idle);
    while (u->first) {
        struct upstream_ticket *t = u->first;

        queue_remove(u, t);
        ticket_refuse(t, ERR_DRAINING, "the pool is being closed");
    }
    while (u->dialing) {
        ticket_refuse(u->dialing->ticket, ERR_DRAINING, "the pool is being closed");
        dial_drop(u->dialing);
    }
    u->freed = true;
    free_if_last(u);
}
