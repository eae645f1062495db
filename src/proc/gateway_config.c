/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "proc/gateway_int.h"

/* Listener settings with what they point into: they keep the configuration alive. */
struct listener_holder {
    struct listener_settings base;
    struct gateway_config *config;
    struct cidr *cidrs;
    sallyport_want *peers;
};

struct gateway_config *gateway_config_ref(struct gateway_config *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

static void contexts_free(struct tls_context **v, size_t n)
{
    for (size_t i = 0; v && i < n; i++)
        tls_context_unref(v[i]);
    free(v);
}

void gateway_config_unref(struct gateway_config *c)
{
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    contexts_free(c->backend_tls, c->settings.n_printers);
    contexts_free(c->icap_tls, c->settings.n_printers);
    url_lists_free(c->urls);
    policy_unref(c->policy);
    arena_done(&c->mem);
    free(c);
}

static void holder_destroy(struct listener_settings *s)
{
    struct listener_holder *h = CONTAINER_OF(s, struct listener_holder, base);

    tls_context_unref(h->base.tls);
    tls_context_unref(h->base.tls_upgrade);
    free(h->cidrs);
    sallyport_want_free(h->peers);
    gateway_config_unref(h->config);
    free(h);
}

/* ---- TLS ---- */

/* The parts that a set of settings points to, while a context is made of it. */
struct tls_parts {
    struct tls_identity *also;
    struct span *crls;
};

static unsigned environment_flags(const struct generation *g)
{
    uint64_t flags = 0;

    /* The supervisor wrote it; without, there are none. */
    return span_u64(generation_file_text(g, GENERATION_FLAGS), TLS_FLAGS_ALL, &flags) == OK
               ? (unsigned)flags
               : 0;
}

static struct span text_of(const struct gateway_config *c, const struct generation *g,
                           const struct tls_config *t, const char *path)
{
    return generation_tls_text(g, (size_t)(t - c->settings.tls), path);
}

static struct span ticket_secret_of(const struct gateway_config *c, const struct generation *g,
                                    const struct tls_config *t)
{
    if (!t->tickets)
        return SPAN_NONE;
    return t->ticket_secret ? text_of(c, g, t, t->ticket_secret)
                            : generation_file_text(g, GENERATION_TICKET_SECRET);
}

static enum err parts_fill(const struct gateway_config *c, const struct generation *g,
                           const struct listener_config *l, const struct tls_config *t,
                           struct tls_parts *p)
{
    p->also = calloc(l->also_tls.n + 1, sizeof *p->also);
    p->crls = calloc(t->client_crl.n + 1, sizeof *p->crls);
    if (!p->also || !p->crls)
        return ERR_NOMEM;
    for (size_t i = 0; i < l->also_tls.n; i++) {
        const struct tls_config *o = settings_tls_named(&c->settings, l->also_tls.v[i]);

        if (!o)
            return ERR_BUG; /* the check saw to it */
        p->also[i] = (struct tls_identity){.certificate = text_of(c, g, o, o->certificate),
                                           .key = text_of(c, g, o, o->key),
                                           .ocsp = text_of(c, g, o, o->ocsp),
                                           .names = o->names.v,
                                           .n_names = o->names.n};
    }
    for (size_t i = 0; i < t->client_crl.n; i++)
        p->crls[i] = text_of(c, g, t, t->client_crl.v[i]);
    return OK;
}

/* The supervisor has looked at the dates, and keeps what has expired since when there is nothing
 * better. */
static enum err tls_make(const struct gateway_config *c, const struct generation *g,
                         const struct listener_config *l, const struct tls_config *t,
                         struct span alpn, struct tls_context **ret, struct buf *why)
{
    bool verify = t->clients != TLS_CLIENTS_OFF;
    bool passwords = l->login.by == LOGIN_BY_PASSWORD || l->login.by == LOGIN_BY_BOTH;
    struct tls_parts parts = {0};
    enum err e = parts_fill(c, g, l, t, &parts);
    struct tls_settings s = {
        .role = TLS_SERVER,
        .minimum = t->minimum,
        .certificate = text_of(c, g, t, t->certificate),
        .key = text_of(c, g, t, t->key),
        .ocsp = text_of(c, g, t, t->ocsp),
        .names = t->names.v,
        .n_names = t->names.n,
        .also = parts.also,
        .n_also = l->also_tls.n,
        .trust = verify ? text_of(c, g, t, t->client_ca) : SPAN_NONE,
        .require_peer = t->clients == TLS_CLIENTS_REQUIRE,
        .any_date = true,
        .crls = parts.crls,
        .n_crls = verify ? t->client_crl.n : 0,
        .depth = t->client_depth,
        .flags = verify ? settings_tls_flags(t, environment_flags(g)) : 0,
        .alpn = alpn,
        /* libcups 2.4 takes a ticket that comes while it waits for an answer for an error. */
        .no_tickets = !t->tickets || l->protocol == LISTENER_IPP,
        .tickets_on_request = passwords,
        .cleanse = passwords || l->protocol == LISTENER_IPP,
        .ticket_secret = ticket_secret_of(c, g, t),
    };

    if (!e)
        e = tls_context_new(&s, ret, why);
    free(parts.also);
    free(parts.crls);
    return e;
}

static enum err tls_load(const struct gateway_config *c, const struct generation *g,
                         const struct listener_config *l, const struct tls_config *t,
                         struct span alpn, struct tls_context **ret, struct buf *why)
{
    enum err e = tls_make(c, g, l, t, alpn, ret, why);

    if (e)
        buf_fmt(why, " (tls '%s')\n", t->name);
    return e;
}

/* Somebody in between could join a client that speaks HTTP in TLS from the first byte to a
 * connection that he began in clear text himself: an upgraded one has a name of its own. */
static enum err tls_load_ipp(const struct gateway_config *c, const struct generation *g,
                             const struct listener_config *l, const struct tls_config *t,
                             struct listener_settings *s, struct buf *why)
{
    s->handshake = l->tls_begins;
    TRY(tls_load(c, g, l, t, SPAN("http/1.1"), &s->tls, why));
    if (l->tls_begins == LISTENER_TLS_AT_ONCE || l->ipp.upgrade == IPP_UPGRADE_OFF)
        return OK;
    return tls_load(c, g, l, t, SPAN("sallyport-upgraded"), &s->tls_upgrade, why);
}

/* ---- printers ---- */

static bool needs_tls(const char *backend)
{
    struct ipp_uri_fault fault;
    struct ipp_uri uri;

    return ipp_uri_parse(span_of(backend), &uri, &fault) == OK &&
           (uri.secure || uri.auth & IPP_AUTH_TLS);
}

static enum err client_tls(const struct generation *g, const char *ca, const char *printer,
                           struct tls_context **ret, struct buf *why)
{
    const struct tls_settings s = {
        .role = TLS_CLIENT,
        .trust = ca ? generation_file_text(g, ca) : SPAN_NONE,
    };
    enum err e = tls_context_new(&s, ret, why);

    if (e)
        buf_fmt(why, " (printer '%s')\n", printer);
    return e;
}

static enum err backends_load(struct gateway_config *c, const struct generation *g, struct buf *why)
{
    c->backend_tls = calloc(c->settings.n_printers + 1, sizeof(struct tls_context *));
    c->icap_tls = calloc(c->settings.n_printers + 1, sizeof(struct tls_context *));
    if (!c->backend_tls || !c->icap_tls)
        return ERR_NOMEM;
    for (size_t i = 0; i < c->settings.n_printers; i++) {
        const struct ipp_printer_settings *p = &c->settings.printers[i];

        if (p->backend_ca || needs_tls(p->backend))
            TRY(client_tls(g, p->backend_ca, p->name, &c->backend_tls[i], why));
        if (p->icap && span_istarts(span_of(p->icap), SPAN("icaps:")))
            TRY(client_tls(g, p->icap_ca, p->name, &c->icap_tls[i], why));
    }
    return OK;
}

/* ---- listeners ---- */

/* Appends to |v|, which has room; returns what follows. */
static struct cidr *cidrs_put(const struct config_cidrs *from, struct cidr *v,
                              const struct cidr **ret, unsigned *ret_n)
{
    *ret = v;
    *ret_n = (unsigned)from->n;
    for (size_t i = 0; i < from->n; i++, v++) {
        v->family = from->v[i].family == 6 ? AF_INET6 : AF_INET;
        v->prefix = from->v[i].prefix;
        memcpy(v->bytes, from->v[i].addr, sizeof v->bytes);
    }
    return v;
}

static enum err cidrs_copy(const struct listener_config *l, struct listener_holder *h)
{
    size_t n = l->proxy_from.n + l->allow.n + l->client_ip_from.n;
    struct cidr *v = calloc(n + 1, sizeof *h->cidrs);

    h->cidrs = v;
    if (!v)
        return ERR_NOMEM;
    v = cidrs_put(&l->proxy_from, v, &h->base.proxy_from, &h->base.n_proxy_from);
    v = cidrs_put(&l->allow, v, &h->base.allow, &h->base.n_allow);
    (void)cidrs_put(&l->client_ip_from, v, &h->base.client_ip_from, &h->base.n_client_ip_from);
    return OK;
}

static enum err peers_load(const struct listener_config *l, struct listener_holder *h)
{
    enum err e = protect_peers(l->peers.v, l->peers.n, &h->peers);

    h->base.policy.want = h->peers;
    return e;
}

/* *ret stays NULL for one that waits: there is nothing that could be opened by mistake. */
static enum err listener_load(struct gateway_config *c, const struct generation *g,
                              const struct listener_config *l, struct listener_settings **ret,
                              struct buf *why)
{
    const struct tls_config *tls = settings_tls(&c->settings, l);
    struct listener_holder *h;

    if (settings_listener_waits(&c->settings, l))
        return OK;
    h = calloc(1, sizeof *h);
    if (!h)
        return ERR_NOMEM;
    atomic_init(&h->base.refs, 1);
    h->base.name = l->name;
    h->base.policy.require = l->require;
    h->base.policy.peer = tls && tls->clients == TLS_CLIENTS_REQUIRE;
    h->base.handshake_ms = l->handshake_ms;
    h->base.login = l->login.by == LOGIN_BY_NOTHING ? NULL : &l->login;
    h->base.ipp = l->protocol == LISTENER_IPP ? &l->ipp : NULL;
    h->base.connections_max = l->connections ? l->connections : c->settings.limits.connections;
    h->base.plaintext_refusal =
        l->protocol == LISTENER_IPP ? ipp_plaintext_refusal() : icap_plaintext_refusal();
    if (l->protocol != LISTENER_IPP)
        h->base.policy_refusal = icap_plaintext_refusal();
    h->base.destroy = holder_destroy;
    h->base.system = (struct protect_system){
        .file = c->policy, .service = l->protocol == LISTENER_IPP ? "ipp" : "icap"};
    h->config = gateway_config_ref(c); /* and so its policy */
    enum err e = cidrs_copy(l, h);

    if (e == OK)
        e = peers_load(l, h);
    if (e == OK && tls && l->protocol == LISTENER_IPP)
        e = tls_load_ipp(c, g, l, tls, &h->base, why);
    else if (e == OK && tls)
        e = tls_load(c, g, l, tls, SPAN_NONE, &h->base.tls, why);
    if (e) {
        holder_destroy(&h->base);
        return e;
    }
    *ret = &h->base;
    return OK;
}

/* All files of an entry came, or, of one in a directory, none did. */
static enum err certificates_read(struct gateway_config *c, const struct generation *g)
{
    c->certificates = arena_array(&c->mem, c->settings.n_tls + 1, sizeof *c->certificates);
    c->crls = arena_array(&c->mem, c->settings.n_tls + 1, sizeof *c->crls);
    if (!c->certificates || !c->crls)
        return ERR_NOMEM;
    for (size_t i = 0; i < c->settings.n_tls; i++) {
        struct tls_config *t = &c->settings.tls[i];

        t->waits =
            tls_certificate_read(text_of(c, g, t, t->certificate), &c->certificates[i]) != OK;
        if (t->waits && !t->directory)
            return ERR_PROTO; /* the supervisor has nothing of the kind in force */
        for (size_t k = 0; k < t->client_crl.n; k++)
            tls_crls_read(text_of(c, g, t, t->client_crl.v[k]), &c->crls[i]);
    }
    return OK;
}

static enum err listeners_load(struct gateway_config *c, const struct generation *g,
                               struct buf *why)
{
    c->listeners = calloc(c->settings.n_listeners, sizeof *c->listeners);
    if (!c->listeners)
        return ERR_NOMEM;
    for (size_t i = 0; i < c->settings.n_listeners; i++)
        TRY(listener_load(c, g, &c->settings.listeners[i], &c->listeners[i], why));
    return OK;
}

/* The listeners' settings hold the configuration, and the configuration holds them: retiring it
 * cuts the circle. */
static void listeners_drop(struct gateway_config *c)
{
    struct listener_settings **v = c->listeners;

    c->listeners = NULL;
    for (size_t i = 0; v && i < c->settings.n_listeners; i++)
        if (v[i])
            listener_settings_unref(v[i]);
    free(v);
}

void gateway_config_retire(struct gateway_config *c)
{
    if (!c)
        return;
    listeners_drop(c);
    gateway_config_unref(c);
}

static struct span list_text(void *arg, const char *path)
{
    return generation_file_text(arg, path);
}

static enum err urls_load(struct gateway_config *c, const struct generation *g, struct buf *why)
{
    const struct url_settings *u = &c->settings.engines.url;
    const struct url_lists_source src = {.lists = u->lists,
                                         .n = u->n_lists,
                                         .text = list_text,
                                         /* only ever read; |arg| has no const */
                                         .arg = (void *)(uintptr_t)g};

    return url_lists_new(&src, &c->urls, why);
}

static enum err policy_load_text(struct gateway_config *c, const struct generation *g,
                                 struct buf *why)
{
    const char *path = settings_policy_path(&c->settings);
    struct span text = generation_file_text(g, path);
    struct policy_fault fault;

    if (!text.p && !c->settings.policy)
        return OK;
    if (!text.p) {
        buf_fmt(why, "the policy %s did not come with the configuration\n", path);
        return ERR_CONFIG;
    }
    enum err e = policy_parse(text, &c->policy, &fault);

    if (e)
        buf_fmt(why, "%s:%u: %s\n", path, fault.line, fault.why);
    return e;
}

enum err gateway_config_new(const struct generation *g, struct gateway_config **ret,
                            struct buf *why)
{
    struct gateway_config *c = calloc(1, sizeof *c);
    struct config_report report;
    enum err e;

    if (!c)
        return ERR_NOMEM;
    atomic_init(&c->refs, 1);
    arena_init(&c->mem, 16 << 20);
    config_report_init(&report);
    e = config_load_text(g->config_text, g->config_file, &settings_block, &c->mem, &report,
                         &c->settings);
    if (e)
        config_report_print(&report, why);
    config_report_done(&report);
    if (e == OK)
        e = certificates_read(c, g);
    if (e == OK)
        e = policy_load_text(c, g, why);
    if (e == OK)
        e = listeners_load(c, g, why);
    if (e == OK)
        e = urls_load(c, g, why);
    if (e == OK)
        e = backends_load(c, g, why);
    if (e) {
        gateway_config_retire(c);
        return e;
    }
    *ret = c;
    return OK;
}

static void snapshot_release(void *owner)
{
    gateway_config_unref(owner);
}

enum err gateway_config_snapshot(struct gateway_config *c, const struct snapshot_parts *p,
                                 struct icap_snapshot **ret, struct buf *why)
{
    struct icap_snapshot_source src = {
        .services = c->settings.services,
        .n_services = c->settings.n_services,
        .limits = &c->settings.icap,
        .worker_engines = p->worker_engines,
        .clamav = p->clamav,
        .urls = c->urls,
        .unpack = &c->settings.engines.unpack,
        .decision_steps = c->settings.limits.decision_steps,
        .exceptions = p->exceptions,
        .tenants = p->tenants,
        .metrics = p->metrics,
        .release = snapshot_release,
        .owner = c,
    };

    TRY(icap_snapshot_new(&src, ret, why));
    (void)gateway_config_ref(c);
    return OK;
}

const struct tls_config *gateway_config_waits(const struct gateway_config *c, const char *name)
{
    for (size_t i = 0; i < c->settings.n_listeners; i++) {
        const struct listener_config *l = &c->settings.listeners[i];

        if (strcmp(l->name, name) == 0)
            return settings_listener_waits(&c->settings, l);
    }
    return NULL;
}

struct listener_settings *gateway_config_listener(const struct gateway_config *c, const char *name)
{
    for (size_t i = 0; i < c->settings.n_listeners; i++)
        if (span_eq(span_of(c->settings.listeners[i].name), span_of(name)))
            return c->listeners[i];
    return NULL;
}
