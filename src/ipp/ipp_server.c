/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, snapshots, and the printers of this loop. See ipp_server_int.h for the parts. */
#include "ipp/ipp_server.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "ipp/ipp_server_int.h"

/* ---- printers ---- */

static void reach_free(struct ipp_reach *v, size_t n)
{
    for (size_t i = 0; v && i < n; i++)
        ipp_backend_free(v[i].backend);
    free(v);
}

static enum err reach_new(const struct ipp_server *s, const struct ipp_snapshot *snapshot,
                          struct ipp_reach **ret)
{
    struct ipp_reach *v = calloc(snapshot->n_printers + 1, sizeof *v);

    if (!v)
        return ERR_NOMEM;
    for (size_t i = 0; i < snapshot->n_printers; i++) {
        const struct ipp_printer *p = &snapshot->printers[i];
        const struct ipp_backend_settings set = {
            .loop = s->env.loop,
            .uri = p->backend,
            .tls = p->backend_tls,
            .require = ipp_level_required(p->set->backend_require, p->backend.secure),
            .peers = p->set->backend_peers,
            .system = snapshot->system,
            .known = p->known,
            .message = snapshot->set->message,
            .timeout_ms = p->set->backend_ms,
            .connections = p->set->connections,
        };
        enum err e = ipp_backend_new(&set, &v[i].backend);

        if (e) {
            reach_free(v, i);
            return e;
        }
        v[i].printer = p;
    }
    *ret = v;
    return OK;
}

/* A request that began with an older snapshot finds its printer by name, if that is still there and
 * in the same place. */
struct ipp_backend *ipp_server_backend(struct ipp_server *s, const struct ipp_printer *p)
{
    for (size_t i = 0; i < s->snapshot->n_printers; i++) {
        const struct ipp_printer *now = s->reach[i].printer;

        if (now == p || (strcmp(now->set->name, p->set->name) == 0 &&
                         strcmp(now->set->backend, p->set->backend) == 0))
            return s->reach[i].backend;
    }
    return NULL;
}

/* ---- draining ---- */

void ipp_server_check_drained(struct ipp_server *s)
{
    if (s->draining && s->drained && !s->connections && !s->detached && !s->drained_queued) {
        s->drained_queued = true;
        loop_defer(s->env.loop, &s->drained_task);
    }
}

static void drained_run(struct task *t)
{
    struct ipp_server *s = CONTAINER_OF(t, struct ipp_server, drained_task);
    void (*drained)(void *arg) = s->drained;

    s->drained = NULL; /* once; and it may free the server */
    s->drained_queued = false;
    if (s->dead)
        free(s);
    else if (drained)
        drained(s->drained_arg);
}

void ipp_server_drain(struct ipp_server *s, void (*drained)(void *arg), void *arg)
{
    struct ipp_connection *c;

    s->draining = true;
    s->drained = drained;
    s->drained_arg = arg;
    DL_FOREACH (s->connections, c) {
        http_connection_drain(c->http);
    }
    ipp_server_check_drained(s);
}

/* ---- listeners ---- */

static void refuse(struct loop *l, const struct accepted *a)
{
    stream_close(a->stream, 0);
    listener_connection_ended(a->group, l, a->settings, a->source);
    listener_settings_unref(a->settings);
}

static void on_open(void *arg, struct loop *l, const struct accepted *a)
{
    struct ipp_server *s = ((struct ipp_servers *)arg)->by_loop[loop_index(l)];
    struct ipp_connection *c = calloc(1, sizeof *c);

    if (!c) {
        refuse(l, a);
        return;
    }
    const struct address local = stream_local(a->stream);

    c->server = s;
    c->port = address_port(&local);
    c->snapshot = ipp_snapshot_ref(s->snapshot);
    c->first = true;
    const struct http_connection_settings set = {
        .loop = l,
        .limits = &c->snapshot->set->http,
        .handler = &ipp_http_handler,
        .arg = c,
        .memory = s->env.spool->memory,
        .error_fields = SPAN("Server: sallyport\r\n"),
    };
    if (http_connection_new(&set, a, &c->http) != OK) {
        ipp_snapshot_unref(c->snapshot);
        free(c);
        refuse(l, a);
        return;
    }
    DL_APPEND(s->connections, c);
    atomic_fetch_add_explicit(&s->n_connections, 1, memory_order_relaxed);
    metrics_add(s->env.metrics, s->loop_index, s->opened, 1);
    if (s->draining)
        http_connection_drain(c->http);
}

static void on_refused(void *arg, struct loop *l, const struct listener_settings *settings,
                       const struct address *peer, enum err err, const char *why,
                       const sallyport_report *report)
{
    struct ipp_server *s = ((struct ipp_servers *)arg)->by_loop[loop_index(l)];

    /* CUPS makes an empty connection before each upgrade. */
    if (err == ERR_EOF)
        return;
    atomic_fetch_add_explicit(&s->n_refused, 1, memory_order_relaxed);
    metrics_add(s->env.metrics, s->loop_index,
                s->refused[(unsigned)err < ERR_CODES ? err : ERR_BUG], 1);
    ipp_audit_refused(s, settings, peer, err, why, report);
}

const struct listener_events ipp_listener_events = {.open = on_open, .refused = on_refused};

struct span ipp_plaintext_refusal(void)
{
    return SPAN("HTTP/1.1 403 Forbidden\r\n"
                "Connection: close\r\n"
                "Content-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 75\r\n"
                "\r\n"
                "This port speaks TLS from the first byte: use ipps:// with this very port.\n");
}

/* ---- the server ---- */

static void register_metrics(struct ipp_server *s)
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
    }
    buf_done(&label);
}

enum err ipp_server_new(const struct ipp_server_environment *env, struct ipp_snapshot *snapshot,
                        struct ipp_server **ret)
{
    struct ipp_server *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    s->env = *env;
    s->keys = *env->digest_keys;
    s->loop_index = loop_index(env->loop);
    s->drained_task.run = drained_run;
    enum err e = reach_new(s, snapshot, &s->reach);

    if (e) {
        free(s);
        return e;
    }
    s->snapshot = ipp_snapshot_ref(snapshot);
    buf_init(&s->line, 1 << 20);
    register_metrics(s);
    *ret = s;
    return OK;
}

static void end_detached(struct ipp_server *s)
{
    struct ipp_exchange *ex;

    while ((ex = s->detached)) {
        if (!ex->err) {
            ex->err = ERR_DRAINING;
            (void)span_copy(SPAN("the gateway is shutting down"), ex->why, sizeof ex->why);
        }
        ipp_exchange_finish(ex);
    }
}

void ipp_server_free(struct ipp_server *s)
{
    struct ipp_connection *c, *tmp;

    if (!s)
        return;
    s->drained = NULL;
    DL_FOREACH_SAFE(s->connections, c, tmp)
    {
        http_connection_end(c->http, ERR_DRAINING, "the gateway is shutting down");
    }
    end_detached(s);
    ipp_announcements_end(s);
    reach_free(s->reach, s->snapshot->n_printers);
    ipp_snapshot_unref(s->snapshot);
    buf_done(&s->line);
    buf_done(&s->answer_spare);
    digest_keys_done(&s->keys);
    s->dead = true;
    if (!s->drained_queued)
        free(s);
}

enum err ipp_server_set_snapshot(struct ipp_server *s, struct ipp_snapshot *snapshot)
{
    struct ipp_snapshot *old = s->snapshot;
    struct ipp_reach *reach;

    TRY(reach_new(s, snapshot, &reach));
    reach_free(s->reach, old->n_printers);
    s->reach = reach;
    s->snapshot = ipp_snapshot_ref(snapshot);
    ipp_snapshot_unref(old);
    return OK;
}

void ipp_server_set_keys(struct ipp_server *s, const struct digest_keys *keys)
{
    s->keys = *keys;
}

void ipp_server_recheck(struct ipp_server *s, const struct listener_settings *settings)
{
    struct ipp_connection *c, *tmp;
    sallyport_why why;

    DL_FOREACH_SAFE(s->connections, c, tmp)
    {
        const struct listener_settings *own = http_connection_accepted(c->http)->settings;

        if (span_eq(span_of(own->name), span_of(settings->name)) &&
            stream_check_system(http_connection_stream(c->http), &settings->system, &why) != OK)
            http_connection_lose(c->http, ERR_POLICY, why.text);
    }
}

void ipp_server_count(const struct ipp_server *s, struct ipp_server_counts *ret)
{
    *ret = (struct ipp_server_counts){
        .requests = atomic_load_explicit(&s->n_requests, memory_order_relaxed),
        .jobs = atomic_load_explicit(&s->n_jobs, memory_order_relaxed),
        .refused = atomic_load_explicit(&s->n_refused, memory_order_relaxed),
        .connections = atomic_load_explicit(&s->n_connections, memory_order_relaxed),
    };
}
