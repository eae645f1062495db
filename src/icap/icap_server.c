/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: one pump for every event. See icap_server_int.h for the parts. */
#include "icap/icap_server.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/deadline.h"
#include "base/log.h"
#include "icap/icap_server_int.h"

#define ROUNDS_MAX  16u         /* of one pump: no peer may starve the others */
#define FEEDS_MAX   4u          /* of one round: of pipelined requests each takes one */
#define PUMP_US     100u        /* of one pump; then others have their turn */
#define OUTPUT_HIGH (64u << 10) /* answer bytes queued in the engine at once */
#define STARVED_MS  50u
#define LINGER_MS   2000u
#define FRESH_MS    2000u /* draining: how long a connection that was just made may begin to speak */

/* ---- input ---- */

static void on_event(struct icap_connection *c, const struct icap_event *ev)
{
    switch (ev->kind) {
    case ICAP_EV_NONE: break;
    case ICAP_EV_REQUEST: icap_transaction_begin(c); break;
    case ICAP_EV_BODY:
        if (c->tx)
            icap_transaction_body(c->tx, ev->slice);
        else
            block_unref(ev->slice.block);
        break;
    case ICAP_EV_PREVIEW_END:
        if (c->tx)
            icap_transaction_preview_end(c->tx, ev->ieof);
        break;
    case ICAP_EV_END:
        if (c->tx)
            icap_transaction_end(c->tx, ev->trailers);
        break;
    case ICAP_EV_REFUSED:
    case ICAP_EV_GONE:
        if (!c->tx)
            icap_transaction_begin(c); /* nothing was understood, but it leaves a record, too */
        if (c->tx)
            icap_transaction_fail(c->tx, &ev->fault);
        break;
    }
}

/* Both halves of the transaction are over, and the next bytes belong to another one. Before the
 * engine is asked for anything more, for then the memory goes that the record is made of. */
static void conn_settle(struct icap_connection *c)
{
    if (c->tx && c->tx->req && icap_is_over(c->engine))
        icap_transaction_finish(c->tx);
}

/* Whose request it is is not known yet: what follows its heads waits. */
static bool is_waiting(const struct icap_connection *c)
{
    return c->tx && c->tx->state == TX_LOGIN;
}

static bool conn_events(struct icap_connection *c)
{
    struct icap_event ev;
    bool any = false;

    for (;;) {
        conn_settle(c);
        if (is_waiting(c) || !icap_next(c->engine, &ev))
            return any;
        any = true;
        on_event(c, &ev);
    }
}

static void conn_abort(struct icap_connection *c, enum err err, const char *why)
{
    const struct fault f = {.err = err, .why = why};

    if (c->tx && (c->tx->state != TX_DONE || !c->tx->err))
        icap_transaction_fail(c->tx, &f);
    c->aborted = true;
    icap_abort(c->engine);
}

/* Gives |c->leftover| to the engine; keeps what it does not take. */
static bool conn_feed(struct icap_connection *c)
{
    bool moved = false;

    for (unsigned i = 0; i < FEEDS_MAX && c->leftover.len > 0 && !is_waiting(c); i++) {
        size_t used = 0;

        /* Without memory the engine has refused the peer: that is an event, and has an answer. */
        (void)!icap_feed(c->engine, c->leftover, &used);
        moved |= conn_events(c);
        if (used == 0)
            return moved;
        moved = true;
        c->leftover = slice_sub(c->leftover, (uint32_t)used, c->leftover.len - (uint32_t)used);
    }
    if (c->leftover.len > 0)
        return moved;
    block_unref(c->leftover.block);
    c->leftover = (struct slice){0};
    return moved;
}

static void conn_eof(struct icap_connection *c)
{
    c->eof = true;
    icap_eof(c->engine);
    (void)conn_events(c);
    /* Nobody waits for this verdict any more (a client that only half-closes while it waits for one
     * is not known). */
    if (c->tx && (c->tx->state == TX_FILE || c->tx->state == TX_SCAN))
        conn_abort(c, ERR_ABORTED, "the client went away while its file was inspected");
}

/* The peer sent its last byte, or the connection broke. */
static void conn_ended(struct icap_connection *c, enum err e)
{
    conn_eof(c);
    if (e != ERR_EOF)
        conn_abort(c, ERR_ABORTED, "the connection broke");
}

/* One read. True when something came in. */
static bool conn_read(struct icap_connection *c)
{
    bool behind = c->leftover.len > 0; /* what waits for the engine goes first */
    uint32_t n = 0;
    enum err e = stream_read_slice(c->stream, c->server->env.spool->memory, &c->leftover, &n);

    c->starved = e == ERR_BUSY;
    if (e == ERR_AGAIN || e == ERR_BUSY)
        return false;
    if (e) {
        conn_ended(c, e);
        return true;
    }
    c->read_us = loop_now_us(c->server->env.loop);
    c->little = n < STREAM_LITTLE;
    icap_login_read(c, n);
    if (!behind)
        (void)conn_feed(c);
    return true;
}

static bool is_scanning(const struct icap_connection *c)
{
    return c->tx && (c->tx->state == TX_FILE || c->tx->state == TX_SCAN);
}

/* The tenant's quota of bytes is used up for the moment. */
static bool is_on_hold(const struct icap_connection *c)
{
    return c->login.hold_us && loop_now_us(c->server->env.loop) < c->login.hold_us;
}

/* The spool is behind, or it is not known whose request it is. Not the peer's fault that nothing is
 * read: its body deadline stands still. */
static bool is_held_back(const struct icap_connection *c)
{
    return is_waiting(c) || is_on_hold(c) || (c->tx && icap_transaction_is_behind(c->tx));
}

/* While a scan runs the engine wants nothing, but a peer that goes away shall be noticed, also when
 * it has sent something of its next request. */
static bool wants_read(const struct icap_connection *c)
{
    if (c->eof || c->starved || is_held_back(c))
        return false;
    if (c->leftover.len > 0)
        return is_scanning(c) && c->leftover.block->used < BLOCK_SIZE;
    return (icap_wants(c->engine) & ICAP_WANT_READ) || is_scanning(c);
}

static bool conn_input(struct icap_connection *c)
{
    if (c->leftover.len > 0 && (icap_wants(c->engine) & ICAP_WANT_READ) && !is_held_back(c))
        return conn_feed(c);
    return stream_may_read(c->stream) && wants_read(c) && conn_read(c);
}

/* ---- output ---- */

/* An answer is lost: that leaves a record, also when its transaction had ended well. */
static void conn_lost(struct icap_connection *c, enum err err, const char *why)
{
    if (!c->tx)
        icap_transaction_begin(c);
    conn_abort(c, err, why);
}

static bool conn_output(struct icap_connection *c)
{
    struct chain *out = icap_output(c->engine);
    uint64_t before = out->len, n = 0;
    enum err e;

    if (before == 0 && !stream_has_unsent(c->stream))
        return false;
    e = icap_output_is_last(c->engine) ? stream_write_last(c->stream, out, &n)
                                       : stream_write(c->stream, out, &n);
    if (n) {
        icap_sent(c->engine, 0); /* the stream has taken them off the chain already */
        c->unsent_ms = loop_now_ms(c->server->env.loop);
    }
    if (e != OK && e != ERR_AGAIN)
        conn_lost(c, ERR_ABORTED, "the client went away before it had taken its answer");
    return n > 0;
}

/* TLS holds the last records back until the peer takes them; the engine thinks that they are out.
 * When that has to be over. */
static uint64_t unsent_deadline(const struct icap_connection *c)
{
    if (icap_output(c->engine)->len > 0 || !stream_has_unsent(c->stream))
        return UINT64_MAX;
    return deadline_after(c->unsent_ms, c->snapshot->limits->write_idle_ms);
}

/* ---- the pump ---- */

void icap_server_check_drained(struct icap_server *s)
{
    if (s->draining && s->drained && !s->connections && !s->n_detached && !s->drained_queued) {
        s->drained_queued = true;
        loop_defer(s->env.loop, &s->drained_task);
    }
}

static void conn_close(struct icap_connection *c)
{
    struct icap_server *s = c->server;
    bool clean = !c->aborted && !icap_is_busy(c->engine);

    if (c->tx)
        icap_transaction_finish(c->tx);
    timer_clear(s->env.loop, &c->timer);
    /* Also where the client said Connection: close: some send bytes behind that all the same. */
    stream_close(c->stream, clean ? LINGER_MS : 0);
    c->stream = NULL;
    icap_engine_free(c->engine);
    c->engine = NULL;
    slice_wipe(c->leftover); /* no engine has seen it */
    block_unref(c->leftover.block);
    icap_login_close(c);
    listener_connection_ended(c->accepted.group, s->env.loop, c->accepted.settings,
                              c->accepted.source);
    listener_settings_unref(c->accepted.settings);
    icap_snapshot_unref(c->snapshot);
    DL_DELETE(s->connections, c);
    atomic_fetch_sub_explicit(&s->n_connections, 1, memory_order_relaxed);
    c->dead = true;
    if (!c->turn.queued)
        free(c);
    icap_server_check_drained(s);
}

static bool must_close(struct icap_connection *c)
{
    if (c->aborted)
        return true;
    return (icap_wants(c->engine) & ICAP_WANT_CLOSE) && icap_output(c->engine)->len == 0 &&
           !stream_has_unsent(c->stream);
}

static void conn_arm(struct icap_connection *c)
{
    uint64_t at = icap_deadline(c->engine);
    unsigned events = 0;

    if (wants_read(c))
        events |= STREAM_READABLE;
    if (icap_output(c->engine)->len > 0 || stream_has_unsent(c->stream))
        events |= STREAM_WRITABLE;
    stream_arm(c->stream, events);
    if (c->little && (icap_wants(c->engine) & ICAP_WANT_READ) && icap_is_busy(c->engine))
        stream_acknowledge(c->stream); /* it may hold back the rest of its request */
    c->little = false;
    at = deadline_earlier(at, unsent_deadline(c));
    if (c->starved)
        at = deadline_earlier(at, loop_now_ms(c->server->env.loop) + STARVED_MS);
    if (c->fresh_ms)
        at = deadline_earlier(at, c->fresh_ms);
    if (is_on_hold(c))
        at = deadline_earlier(at, c->login.hold_us / 1000 + 1);
    at = deadline_earlier(at, icap_login_deadline(c));
    timer_set(c->server->env.loop, &c->timer, at);
}

static bool conn_round(struct icap_connection *c)
{
    bool moved = conn_events(c); /* of the call-back that brought us here */

    moved |= conn_input(c);
    if (c->tx && icap_output(c->engine)->len < OUTPUT_HIGH)
        moved |= icap_transaction_drive(c->tx);
    moved |= conn_events(c);
    moved |= conn_output(c);
    return moved;
}

/* Time passes before a pause ends: while we did not read, the peer was not to blame. */
static void conn_tick(struct icap_connection *c)
{
    uint64_t now = loop_now_ms(c->server->env.loop);
    bool held = is_held_back(c);

    if (held || c->starved)
        icap_pause(c->engine, true);
    icap_tick(c->engine, now);
    icap_pause(c->engine, held);
    c->starved = false;
    if (unsent_deadline(c) <= now)
        conn_lost(c, ERR_TIMEOUT, "the peer takes no output");
    if (icap_login_deadline(c) <= now)
        icap_login_over(c);
    if (c->fresh_ms && (c->fresh_ms <= now || icap_is_busy(c->engine))) {
        c->fresh_ms = 0;
        icap_close_after(c->engine);
    }
}

void icap_connection_pump(struct icap_connection *c)
{
    struct loop *l = c->server->env.loop;
    uint64_t until = 0;
    bool moved = true;

    conn_settle(c);
    conn_tick(c);
    if (c->tx)
        icap_transaction_turn(c->tx);
    for (unsigned round = 0; round < ROUNDS_MAX && moved; round++) {
        moved = conn_round(c);
        if (must_close(c)) {
            conn_close(c);
            return;
        }
        if (round == 1 && moved) /* most are done by now, and need no clock */
            until = loop_now_us(l) + PUMP_US;
        else if (round > 1 && loop_now_us(l) >= until)
            break;
    }
    conn_arm(c);
    if (moved || (wants_read(c) && stream_has_pending(c->stream)))
        icap_connection_wake(c);
}

static void turn_run(struct fair_task *t)
{
    struct icap_connection *c = CONTAINER_OF(t, struct icap_connection, turn);

    if (c->dead)
        free(c);
    else
        icap_connection_pump(c);
}

void icap_connection_wake(struct icap_connection *c)
{
    if (!c->dead)
        fair_queue_add(loop_turns(c->server->env.loop), &c->turn, c->client);
}

static void on_stream(void *arg, unsigned events)
{
    struct icap_connection *c = arg;

    (void)events;
    icap_connection_wake(c);
    stream_arm(c->stream, 0); /* told; the pump asks again */
}

static void on_timer(struct timer *t)
{
    icap_connection_wake(CONTAINER_OF(t, struct icap_connection, timer));
}

/* ---- listeners ---- */

static void conn_refuse(struct loop *l, const struct accepted *a)
{
    stream_close(a->stream, 0);
    listener_connection_ended(a->group, l, a->settings, a->source);
    listener_settings_unref(a->settings);
}

/* Ends with the transaction that is under way. A client whose connection has carried none cannot
 * tell a restart from a refusal, so it may still ask once. */
static void conn_drain(struct icap_connection *c)
{
    if (c->first && !icap_is_busy(c->engine))
        c->fresh_ms = loop_now_ms(c->server->env.loop) + FRESH_MS;
    else
        icap_close_after(c->engine);
}

void icap_connection_renew_id(struct icap_connection *c)
{
    struct icap_server *s = c->server;
    char *id = c->id_field + sizeof ICAP_ID_FIELD - 1;

    memcpy(c->id_field, ICAP_ID_FIELD, sizeof ICAP_ID_FIELD - 1);
    record_id(s->env.id_seed, s->loop_index, s->next_id++, id);
    memcpy(id + RECORD_ID_LEN, "\r\n", sizeof "\r\n"); /* over the NUL, with one of its own */
}

static void on_open(void *arg, struct loop *l, const struct accepted *a)
{
    struct icap_server *s = ((struct icap_servers *)arg)->by_loop[loop_index(l)];
    struct icap_connection *c = calloc(1, sizeof *c);
    struct address peer = stream_peer(a->stream);

    if (!c) {
        conn_refuse(l, a);
        return;
    }
    c->server = s;
    c->snapshot = icap_snapshot_ref(s->snapshot);
    c->accepted = *a;
    c->stream = a->stream;
    c->first = true;
    c->timer.fire = on_timer;
    c->timer.at_ms = UINT64_MAX;
    c->turn.run = turn_run;
    c->client = address_hash(&peer);
    c->identity =
        (struct icap_identity){.server = span_of(c->snapshot->server), .istag = SPAN("sallyport")};
    if (icap_engine_new(c->snapshot->limits, &c->identity, loop_now_ms(l), &c->engine) != OK) {
        icap_snapshot_unref(c->snapshot);
        free(c);
        conn_refuse(l, a);
        return;
    }
    icap_login_open(c);
    icap_connection_renew_id(c);
    icap_error_fields(c->engine, (struct span){c->id_field, sizeof c->id_field - 1});
    DL_APPEND(s->connections, c);
    atomic_fetch_add_explicit(&s->n_connections, 1, memory_order_relaxed);
    metrics_add(s->env.metrics, s->loop_index, s->opened, 1);
    stream_set_callback(c->stream, on_stream, c);
    if (s->draining)
        conn_drain(c);
    icap_connection_wake(c);
}

static void on_refused(void *arg, struct loop *l, const struct listener_settings *settings,
                       const struct address *peer, enum err err, const char *why,
                       const sallyport_report *report)
{
    struct icap_server *s = ((struct icap_servers *)arg)->by_loop[loop_index(l)];

    atomic_fetch_add_explicit(&s->n_refused, 1, memory_order_relaxed);
    metrics_add(s->env.metrics, s->loop_index,
                s->refused[(unsigned)err < ERR_CODES ? err : ERR_BUG], 1);
    icap_audit_refused(s, settings, peer, err, why, report);
}

const struct listener_events icap_listener_events = {.open = on_open, .refused = on_refused};

struct span icap_plaintext_refusal(void)
{
    return SPAN("ICAP/1.0 403 Forbidden\r\n"
                "ISTag: \"sallyport\"\r\n"
                "Connection: close\r\n"
                "Encapsulated: null-body=0\r\n"
                "\r\n");
}

/* ---- the server ---- */

static void drained_run(struct task *t)
{
    struct icap_server *s = CONTAINER_OF(t, struct icap_server, drained_task);
    void (*drained)(void *arg) = s->drained;

    s->drained = NULL; /* once; and it may free the server */
    s->drained_queued = false;
    if (s->dead)
        free(s);
    else if (drained)
        drained(s->drained_arg);
}

static void register_metrics(struct icap_server *s)
{
    struct buf label;

    s->opened = metrics_counter(s->env.metrics, "sallyport_connections_total", "",
                                "Connections that were opened.");
    buf_init(&label, 0);
    for (unsigned i = 1; i < ERR_CODES; i++) {
        buf_reset(&label);
        metrics_label(&label, "error", span_of(err_code((enum err)i)));
        s->refused[i] =
            metrics_counter(s->env.metrics, "sallyport_connections_refused_total", buf_cstr(&label),
                            "Connections that ended before they were open, by reason.");
        s->failed[i] = metrics_counter(s->env.metrics, "sallyport_icap_errors_total",
                                       buf_cstr(&label), "Transactions with an error, by error.");
    }
    buf_done(&label);
}

enum err icap_server_new(const struct icap_server_environment *env, struct icap_snapshot *snapshot,
                         struct icap_server **ret)
{
    struct icap_server *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    s->env = *env;
    s->snapshot = icap_snapshot_ref(snapshot);
    s->loop_index = loop_index(env->loop);
    s->drained_task.run = drained_run;
    buf_init(&s->line, 1 << 20);
    register_metrics(s);
    *ret = s;
    return OK;
}

void icap_server_free(struct icap_server *s)
{
    struct icap_connection *c, *tmp;

    if (!s)
        return;
    s->drained = NULL;
    DL_FOREACH_SAFE(s->connections, c, tmp)
    {
        conn_abort(c, ERR_DRAINING, "the gateway is shutting down");
        conn_close(c);
    }
    icap_progress_end(s);
    icap_snapshot_unref(s->snapshot);
    buf_done(&s->line);
    free(s->spare);
    s->dead = true;
    if (!s->drained_queued)
        free(s);
}

void icap_server_set_clamd_health(struct icap_server *s, struct clamd_health *health)
{
    s->env.clamd_health = health;
}

void icap_server_set_snapshot(struct icap_server *s, struct icap_snapshot *snapshot)
{
    struct icap_snapshot *old = s->snapshot;

    s->snapshot = icap_snapshot_ref(snapshot);
    icap_snapshot_unref(old);
}

void icap_server_recheck(struct icap_server *s, const struct listener_settings *settings)
{
    struct icap_connection *c;
    sallyport_why why;

    DL_FOREACH (s->connections, c) {
        if (c->aborted || !span_eq(span_of(c->accepted.settings->name), span_of(settings->name)) ||
            stream_check_system(c->stream, &settings->system, &why) == OK)
            continue;
        conn_lost(c, ERR_POLICY, why.text);
        icap_connection_wake(c);
    }
}

void icap_server_drain(struct icap_server *s, void (*drained)(void *arg), void *arg)
{
    struct icap_connection *c;

    s->draining = true;
    s->drained = drained;
    s->drained_arg = arg;
    DL_FOREACH (s->connections, c) {
        conn_drain(c);
        icap_connection_wake(c);
    }
    icap_server_check_drained(s);
}

unsigned icap_server_connections(const struct icap_server *s)
{
    return atomic_load_explicit(&s->n_connections, memory_order_relaxed);
}

void icap_server_count(const struct icap_server *s, struct icap_server_counts *ret)
{
    *ret = (struct icap_server_counts){
        .transactions = atomic_load_explicit(&s->n_transactions, memory_order_relaxed),
        .blocked = atomic_load_explicit(&s->n_blocked, memory_order_relaxed),
        .refused = atomic_load_explicit(&s->n_refused, memory_order_relaxed),
        .connections = atomic_load_explicit(&s->n_connections, memory_order_relaxed),
        .open = atomic_load_explicit(&s->n_open, memory_order_relaxed),
    };
}
