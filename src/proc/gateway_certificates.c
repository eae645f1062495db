/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway knows of its certificates: those in use from its configuration, what is wrong
 * with the files on the disk from the supervisor, which is the one that looks at them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "proc/gateway_int.h"

#define DAY_S 86400

static struct gateway_certificate *certificate_find(const struct gateway_core *g, struct span name)
{
    struct gateway_certificate *c = g->certificates;

    while (c && !span_eq(span_of(c->name), name))
        c = c->next;
    return c;
}

/* Its entry in the configuration in force; NULL: it is not there any more. */
static const struct tls_config *config_of(const struct gateway_certificate *c)
{
    const struct settings *s = &c->gateway->config->settings;

    for (size_t i = 0; i < s->n_tls; i++)
        if (strcmp(s->tls[i].name, c->name) == 0)
            return &s->tls[i];
    return NULL;
}

/* ---- metrics ---- */

static double gauge_failed(void *arg)
{
    const struct gateway_certificate *c = arg;
    const struct tls_config *t = config_of(c);

    return t && (c->refused || t->waits);
}

static double gauge_not_after(void *arg)
{
    const struct gateway_certificate *c = arg;
    const struct gateway_config *config = c->gateway->config;
    const struct tls_config *t = config_of(c);

    if (!t || t->waits)
        return (double)NAN;
    return (double)config->certificates[t - config->settings.tls].not_after;
}

static double gauge_crl_not_after(void *arg)
{
    const struct gateway_certificate *c = arg;
    const struct gateway_config *config = c->gateway->config;
    const struct tls_config *t = config_of(c);
    int64_t end = t ? config->crls[t - config->settings.tls].not_after : 0;

    return end && end < INT64_MAX ? (double)end : (double)NAN;
}

static double total_reloads(void *arg)
{
    const struct gateway_certificate *c = arg;

    return c->reloads;
}

static void add_metrics(struct gateway_core *g, struct gateway_certificate *c)
{
    struct buf labels;

    buf_init(&labels, 0);
    metrics_label(&labels, "tls", span_of(c->name));
    (void)metrics_gauge(g->metrics, "sallyport_certificate_reload_failed", buf_cstr(&labels),
                        "1 while the certificate files on the disk are not those in use.",
                        gauge_failed, c);
    (void)metrics_gauge(g->metrics, "sallyport_certificate_not_after_seconds", buf_cstr(&labels),
                        "When the certificate in use expires, in seconds since 1970.",
                        gauge_not_after, c);
    (void)metrics_gauge(g->metrics, "sallyport_crl_not_after_seconds", buf_cstr(&labels),
                        "When the first of the CRLs in use ends, in seconds since 1970.",
                        gauge_crl_not_after, c);
    (void)metrics_total(g->metrics, "sallyport_certificate_reloads_total", buf_cstr(&labels),
                        "Sets of certificate files taken over while Sallyport ran.", total_reloads,
                        c);
    buf_done(&labels);
}

/* NULL: no memory; then its metrics are missing. */
static struct gateway_certificate *certificate_of(struct gateway_core *g, struct span name)
{
    struct gateway_certificate *c = certificate_find(g, name);

    if (c)
        return c;
    c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->gateway = g;
    c->name = span_dup(name);
    if (!c->name) {
        free(c);
        return NULL;
    }
    c->next = g->certificates;
    g->certificates = c;
    add_metrics(g, c);
    return c;
}

void gateway_certificates_learn(struct gateway_core *g)
{
    for (size_t i = 0; i < g->config->settings.n_tls; i++)
        (void)certificate_of(g, span_of(g->config->settings.tls[i].name));
}

void gateway_certificates_free(struct gateway_core *g)
{
    while (g->certificates) {
        struct gateway_certificate *c = g->certificates;

        g->certificates = c->next;
        free(c->name);
        free(c);
    }
}

/* Names of entries have no spaces. */
void gateway_certificates_hear(struct gateway_core *g, struct span text, bool refused,
                               unsigned reloads)
{
    struct span name = span_cut(&text, ' ');
    struct gateway_certificate *c = certificate_find(g, name);

    if (!c)
        return;
    c->refused = refused;
    c->reloads = reloads;
    (void)span_copy(text, c->why, sizeof c->why);
}

/* ---- readiness and status ---- */

bool gateway_certificates_are_there(const struct gateway_core *g, struct buf *why)
{
    const struct settings *s = &g->config->settings;

    for (size_t i = 0; i < s->n_listeners; i++) {
        const struct tls_config *t = gateway_config_waits(g->config, s->listeners[i].name);
        const struct gateway_certificate *c = t ? certificate_find(g, span_of(t->name)) : NULL;

        if (!t)
            continue;
        buf_fmt(why, "listener '%s' waits for the files of tls '%s' in %s%s%s",
                s->listeners[i].name, t->name, t->directory, c && c->why[0] ? ": " : "",
                c ? c->why : "");
        return false;
    }
    return true;
}

/* Rounded down: one that expires within a day has 0 left; below 0 it has expired. */
static int64_t days_left(int64_t left)
{
    return left >= 0 ? left / DAY_S : -((DAY_S - 1 - left) / DAY_S);
}

static void end_json(struct json *j, const struct tls_certificate *cert)
{
    int64_t now = (int64_t)(clock_wall_ms(&clock_system) / 1000);
    char when[ISO_TIME_LEN + 1];

    clock_iso_time((uint64_t)cert->not_after * 1000, when);
    json_text(j, "not_after", when);
    json_i64(j, "days_left", days_left(cert->not_after - now));
    json_bool(j, "expires_soon", tls_certificate_warning(cert, now) != 0);
}

static void certificate_json(struct json *j, const struct tls_certificate *cert)
{
    json_text(j, "subject", cert->subject);
    json_text(j, "serial", cert->serial);
    end_json(j, cert);
}

/* The one that ends first. */
static void crl_json(struct json *j, const struct tls_certificate *crl)
{
    if (crl->not_after == 0 || crl->not_after == INT64_MAX)
        return;
    json_open(j, "crl", '{');
    json_text(j, "issuer", crl->subject);
    end_json(j, crl);
    json_close(j, '}');
}

void gateway_certificates_json(const struct gateway_core *g, struct json *j)
{
    const struct settings *s = &g->config->settings;

    json_open(j, "tls", '[');
    for (size_t i = 0; i < s->n_tls; i++) {
        const struct tls_config *t = &s->tls[i];
        const struct gateway_certificate *c = certificate_find(g, span_of(t->name));

        json_open(j, NULL, '{');
        json_text(j, "name", t->name);
        json_text(j, "source", t->directory ? t->directory : t->certificate);
        json_bool(j, "waits", t->waits);
        if (!t->waits)
            certificate_json(j, &g->config->certificates[i]);
        crl_json(j, &g->config->crls[i]);
        json_bool(j, "refused", c && c->refused);
        json_text(j, "why", c && c->why[0] ? c->why : NULL);
        json_u64(j, "reloads", c ? c->reloads : 0);
        json_close(j, '}');
    }
    json_close(j, ']');
}
