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

static void config_unref(struct gateway_config *c)
{
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    url_lists_free(c->urls);
    arena_done(&c->mem);
    free(c);
}

static void holder_destroy(struct listener_settings *s)
{
    struct listener_holder *h = CONTAINER_OF(s, struct listener_holder, base);

    tls_context_unref(h->base.tls);
    free(h->cidrs);
    sallyport_want_free(h->peers);
    config_unref(h->config);
    free(h);
}

static enum err tls_load(const struct generation *g, const struct tls_config *t,
                         struct tls_context **ret, struct buf *why)
{
    struct tls_settings s = {
        .role = TLS_SERVER,
        .minimum = t->minimum,
        .certificate = generation_file_text(g, t->certificate),
        .key = generation_file_text(g, t->key),
        .trust = t->client_ca ? generation_file_text(g, t->client_ca) : SPAN_NONE,
        .require_peer = t->client_ca != NULL,
    };
    enum err e = tls_context_new(&s, ret, why);

    if (e)
        buf_fmt(why, " (tls '%s')\n", t->name);
    return e;
}

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
    if (l->peers.n == 0)
        return OK;
    if (sallyport_want_new(&h->peers) != 0)
        return ERR_NOMEM;
    for (size_t i = 0; i < l->peers.n; i++)
        if (sallyport_want_peer_text(h->peers, l->peers.v[i]) != 0)
            return ERR_NOMEM; /* that they mean something was seen by the check */
    h->base.policy.want = h->peers;
    return OK;
}

static enum err listener_load(struct gateway_config *c, const struct generation *g,
                              const struct listener_config *l, struct listener_settings **ret,
                              struct buf *why)
{
    const struct tls_config *tls = settings_tls(&c->settings, l);
    struct listener_holder *h = calloc(1, sizeof *h);

    if (!h)
        return ERR_NOMEM;
    atomic_init(&h->base.refs, 1);
    h->base.name = l->name;
    h->base.policy.require = l->require;
    h->base.policy.peer = tls && tls->client_ca;
    h->base.handshake_ms = l->handshake_ms;
    h->base.connections_max = l->connections ? l->connections : c->settings.limits.connections;
    h->base.plaintext_refusal = icap_plaintext_refusal();
    h->base.destroy = holder_destroy;
    h->config = c;
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    enum err e = cidrs_copy(l, h);

    if (e == OK)
        e = peers_load(l, h);
    if (e == OK && tls)
        e = tls_load(g, tls, &h->base.tls, why);
    if (e) {
        holder_destroy(&h->base);
        return e;
    }
    *ret = &h->base;
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
    config_unref(c);
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
        e = listeners_load(c, g, why);
    if (e == OK)
        e = urls_load(c, g, why);
    if (e) {
        gateway_config_retire(c);
        return e;
    }
    *ret = c;
    return OK;
}

static void snapshot_release(void *owner)
{
    config_unref(owner);
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
        .metrics = p->metrics,
        .release = snapshot_release,
        .owner = c,
    };

    TRY(icap_snapshot_new(&src, ret, why));
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return OK;
}

struct listener_settings *gateway_config_listener(const struct gateway_config *c, const char *name)
{
    for (size_t i = 0; i < c->settings.n_listeners; i++)
        if (span_eq(span_of(c->settings.listeners[i].name), span_of(name)))
            return c->listeners[i];
    return NULL;
}
