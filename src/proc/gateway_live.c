/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor says while the gateway serves: another configuration, other workers, records
 * anew, drain. */
#include <stdatomic.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/gateway_int.h"

/* ---- live changes ---- */

static void cannot_open(const struct gateway_socket *s, enum err e)
{
    log_error("gateway",
              "listener '%s' cannot be opened: %s; it is tried again at the next "
              "change",
              s->name, err_text(e));
}

/* One that waited for its certificate opens. */
static void open_listener(struct order *o)
{
    struct gateway_core *g = o->to->gateway;
    enum err e = gateway_open_listener(g, o->socket, o->listener);

    if (e)
        cannot_open(o->socket, e);
    else if (o->to == &g->loops[0])
        log_info("gateway", "listener '%s' is open", o->socket->name);
}

static void order_listener(struct order *o)
{
    if (o->socket->listener)
        listener_set_settings(o->socket->listener, o->listener);
    else
        open_listener(o);
    listener_settings_unref(o->listener);
}

/* What waited is opened here and at once: whoever hears that the gateway is ready may connect
 * before the loops have their orders, and then waits in the kernel's queue. */
static void publish_listeners(struct gateway_core *g)
{
    for (unsigned i = 0; i < g->n_sockets; i++) {
        struct listener_settings *set = gateway_config_listener(g->config, g->sockets[i].name);
        struct order *o;

        if (!set)
            continue;
        enum err e = gateway_socket_listen(&g->sockets[i]);

        if (e) {
            cannot_open(&g->sockets[i], e);
            continue;
        }
        o = order_new(&g->loops[g->sockets[i].loop], order_listener);
        o->socket = &g->sockets[i];
        o->listener = listener_settings_ref(set);
        order_post(o);
    }
}

static void order_recheck(struct order *o)
{
    icap_server_recheck(o->to->icap, o->listener);
    ipp_server_recheck(o->to->ipp, o->listener);
    listener_settings_unref(o->listener);
}

/* Not with publish_listeners(): a loop may have connections of a listener, but no socket. */
static void recheck_connections(struct gateway_core *g)
{
    for (unsigned i = 0; i < g->n_loops; i++)
        for (size_t k = 0; k < g->config->settings.n_listeners; k++) {
            struct listener_settings *set = g->config->listeners[k];
            struct order *o;

            if (!set)
                continue; /* it waits: nobody has come */
            o = order_new(&g->loops[i], order_recheck);
            o->listener = listener_settings_ref(set);
            order_post(o);
        }
}

static void order_workers(struct order *o)
{
    workers_set_settings(o->to->workers, &o->workers);
}

static enum err apply_live(struct gateway_core *g, struct buf *why)
{
    struct gateway_config *config = NULL, *old = g->config;
    struct icap_snapshot *snapshot = NULL;
    struct ipp_snapshot *print = NULL;
    struct tenants *tenants = NULL;
    enum err e = gateway_config_new(&g->live, &config, why);

    if (e)
        return e;
    e = gateway_tenants_make(g, config, &tenants);
    if (!e)
        e = policy_snapshot(g, config, &snapshot, why);
    if (!e)
        e = gateway_print_snapshot(g, config, &print, why);
    if (e) {
        icap_snapshot_unref(snapshot);
        tenants_unref(tenants);
        gateway_config_retire(config);
        return gateway_fail(why, e, "services");
    }
    g->config = config;
    log_set_level(config->settings.log.level);
    atomic_store(&g->memory.max, config->settings.limits.memory);
    scan_slots_set_max(g->scans, config->settings.limits.scans);
    atomic_store(&g->spool_bytes.max, config->settings.spool.total);
    policy_publish(g, snapshot);
    gateway_print_publish(g, print);
    policy_configured(g);
    gateway_logins_configured(g);
    gateway_tenants_take(g, tenants); /* another snapshot, with these */
    gateway_tenants_reload(g, NULL);  /* new rows get their records */
    publish_listeners(g);
    recheck_connections(g);
    gateway_certificates_learn(g);
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct order *o = order_new(&g->loops[i], order_workers);

        o->workers = config->settings.engines.workers;
        order_post(o);
    }
    gateway_config_retire(old);
    return OK;
}

/* ---- messages of the supervisor ---- */

enum err gateway_answer(struct gateway_core *g, enum proc_kind kind, unsigned number,
                        struct span text)
{
    struct proc_message m = {.kind = kind, .number = number};

    (void)span_copy(text, m.text, sizeof m.text);
    return g->control_fd < 0 ? ERR_EOF : proc_send(g->control_fd, &m, -1);
}

/* The supervisor may be gone by now; what it would be told is in the log, too. */
void gateway_tell(struct gateway_core *g, enum proc_kind kind, unsigned number, struct span text)
{
    enum err e = gateway_answer(g, kind, number, text);

    if (e)
        log_debug("gateway", "the supervisor does not hear: %s", err_text(e));
}

static void on_live_complete(struct gateway_core *g)
{
    struct buf why;
    enum err e;

    buf_init(&why, PROC_TEXT_MAX - 1);
    e = apply_live(g, &why);
    if (e == OK) {
        g->number = g->live.number;
        log_info("gateway", "configuration %u is in force", g->number);
    }
    gateway_tell(g, e ? PROC_FAILED : PROC_READY, g->live.number,
                 e ? span_of(buf_cstr(&why)) : SPAN_NONE);
    buf_done(&why);
    generation_done(&g->live);
    generation_init(&g->live);
}

static void order_channel(struct order *o)
{
    workers_set_channel(o->to->workers, o->fd);
}

static void on_workers(struct gateway_core *g, const struct proc_message *m, int fd)
{
    struct order *o;

    if (m->loop >= g->n_loops || fd < 0) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    o = order_new(&g->loops[m->loop], order_channel);
    o->fd = fd;
    order_post(o);
    /* The channels come one after the other, the last loop's last. Before each loop has its own,
     * old workers would give verdicts that are kept under the new rules' name. */
    if (m->loop + 1 < g->n_loops || span_eq(span_of(m->text), span_of(g->engines)))
        return;
    /* Other rules: cached answers of clients must go, so every ISTag changes. */
    (void)span_copy(span_of(m->text), g->engines, sizeof g->engines);
    policy_refresh(g);
    log_info("gateway", "engines: %s", g->engines);
}

static void on_live_message(struct gateway_core *g, const struct proc_message *m, int fd)
{
    bool done = false;
    enum err e = generation_add(&g->live, m, fd, &done);

    if (e) {
        gateway_tell(g, PROC_FAILED, g->live.number, span_of(err_text(e)));
        generation_done(&g->live);
        generation_init(&g->live);
    } else if (done) {
        on_live_complete(g);
    }
}

static void on_message(struct gateway_core *g, const struct proc_message *m, int fd)
{
    if (g->live.state == GENERATION_OPEN || m->kind == PROC_BEGIN) {
        on_live_message(g, m, fd);
        return;
    }
    if (m->kind == PROC_WORKERS) {
        on_workers(g, m, fd);
        return;
    }
    if (m->kind == PROC_RECORDS && g->records && fd >= 0)
        record_log_reopen(g->records, fd);
    else if (m->kind == PROC_CERTIFICATE)
        gateway_certificates_hear(g, span_of(m->text), m->live, m->number);
    else if (m->kind == PROC_FILES)
        gateway_files_hear(g, m->number, span_of(m->text));
    else if (m->kind == PROC_DRAIN)
        gateway_core_drain(g, m->ms, m->live);
    if (fd >= 0)
        (void)close(fd);
}

static void supervisor_gone(struct gateway_core *g)
{
    watch_close(g->control_watch);
    g->control_watch = NULL;
    (void)close(g->control_fd);
    g->control_fd = -1;
    log_warn("gateway", "the supervisor is gone; this gateway goes on serving, but nothing "
                        "restarts it. Start Sallyport "
                        "again with the same configuration: it takes the sockets over");
}

void gateway_on_control(void *arg, unsigned events)
{
    struct gateway_core *g = arg;
    struct proc_message m;

    (void)events;
    for (unsigned i = 0; i < 256 && g->control_fd >= 0; i++) {
        int fd = -1;
        enum err e = proc_receive(g->control_fd, &m, &fd);

        if (e == ERR_AGAIN)
            return;
        if (e == OK)
            on_message(g, &m, fd);
        else
            supervisor_gone(g);
    }
}
