/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/gateway_logins.h"

#include <stdlib.h>

#include "base/log.h"
#include "proc/gateway_int.h"

#define SWEEP_MS 1000u

/* What the metrics of one tenant ask for. */
struct tenant_gauge {
    struct tenant_gauge *next;
    struct quota *quota;
    char name[CREDENTIAL_TENANT_MAX + 1];
};

/* ---- verifiers that grow ---- */

/* From a thread of the pool to loop 0. */
struct upgrade {
    struct task task;
    struct gateway_core *gateway;
    struct credential credential;
};

static void upgrade_run(struct task *t)
{
    struct upgrade *u = CONTAINER_OF(t, struct upgrade, task);

    gateway_tenants_upgrade(u->gateway, &u->credential);
    explicit_bzero(u, sizeof *u);
    free(u);
}

/* Without memory it stays as it is until the next login. */
static void on_upgrade(void *arg, const struct credential *c)
{
    struct gateway_core *g = arg;
    struct upgrade *u = calloc(1, sizeof *u);

    if (!u)
        return;
    u->task.run = upgrade_run;
    u->gateway = g;
    u->credential = *c;
    loop_post(g->loops[0].loop, &u->task);
}

/* ---- start and end ---- */

/* Printers, also those to come, do so in any case: with Digest, of which wrong ones are counted by
 * user, too. */
static bool asks_for_passwords(const struct settings *s)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        if (s->listeners[i].login.by != LOGIN_BY_NOTHING ||
            s->listeners[i].protocol == LISTENER_IPP)
            return true;
    return false;
}

enum err gateway_logins_init(struct gateway_core *g, struct buf *why)
{
    struct gateway_logins *p = &g->logins;
    const struct logins_source src = {
        .clock = &clock_system, .set = &g->config->settings.login, .upgrade = on_upgrade, .arg = g};

    p->gateway = g;
    g->keeper.changed = gateway_logins_tenants;
    if (!asks_for_passwords(&g->config->settings))
        return OK;
    enum err e = logins_new(&src, &p->logins);

    if (e)
        return gateway_fail(why, e, "logins");
    logins_set_tenants(p->logins, g->tenants);
    return OK;
}

static void on_sweep(struct timer *t)
{
    struct gateway_logins *p = CONTAINER_OF(t, struct gateway_logins, sweep);
    struct loop *l = p->gateway->loops[0].loop;

    logins_sweep(p->logins);
    timer_set(l, t, loop_now_ms(l) + SWEEP_MS);
}

void gateway_logins_start(struct gateway_core *g)
{
    struct loop *l = g->loops[0].loop;

    g->logins.sweep.fire = on_sweep;
    if (g->logins.logins)
        timer_set(l, &g->logins.sweep, loop_now_ms(l) + SWEEP_MS);
}

void gateway_logins_stop(struct gateway_core *g)
{
    if (g->loops && g->loops[0].loop)
        timer_clear(g->loops[0].loop, &g->logins.sweep);
    if (g->logins.logins)
        logins_stop(g->logins.logins);
}

void gateway_logins_done(struct gateway_core *g)
{
    struct gateway_logins *p = &g->logins;

    logins_free(p->logins);
    p->logins = NULL;
    while (p->gauges) {
        struct tenant_gauge *t = p->gauges;

        p->gauges = t->next;
        free(t);
    }
}

/* ---- changes ---- */

void gateway_logins_configured(struct gateway_core *g)
{
    if (g->logins.logins)
        logins_set(g->logins.logins, &g->config->settings.login);
}

/* ---- what it says ---- */

void gateway_logins_json(const struct gateway_core *g, struct json *j)
{
    struct logins_counts c;

    if (!g->logins.logins)
        return;
    logins_count(g->logins.logins, &c);
    json_open(j, "logins", '{');
    json_u64(j, "sessions", c.sessions);
    json_u64(j, "waiting", c.waiting);
    json_u64(j, "verified", c.verified);
    json_u64(j, "refused", c.refused);
    json_u64(j, "throttled", c.throttled);
    json_u64(j, "held", c.held);
    json_u64(j, "queue_full", c.queue_full);
    json_u64(j, "renewed", c.renewed);
    json_u64(j, "ended", c.ended);
    json_close(j, '}');
}

#define LOGINS_READ(function, member)       \
    static double function(void *arg)       \
    {                                       \
        const struct gateway_core *g = arg; \
        struct logins_counts c;             \
                                            \
        logins_count(g->logins.logins, &c); \
        return (double)c.member;            \
    }
LOGINS_READ(gauge_sessions, sessions)
LOGINS_READ(gauge_waiting, waiting)
LOGINS_READ(total_hits, hits)
LOGINS_READ(total_misses, misses)
LOGINS_READ(total_waits, waits)
LOGINS_READ(total_verified, verified)
LOGINS_READ(total_derived, derived)
LOGINS_READ(total_upgraded, upgraded)
LOGINS_READ(total_rounds, rounds)
LOGINS_READ(total_refused, refused)
LOGINS_READ(total_throttled, throttled)
LOGINS_READ(total_held, held)
LOGINS_READ(total_queue_full, queue_full)
LOGINS_READ(total_renewed, renewed)
LOGINS_READ(total_ended, ended)

static const struct {
    const char *name, *labels, *help;
    double (*read)(void *arg);
    bool total;
} login_metrics[] = {
    {"sallyport_login_sessions",              "",                               "Logins that are good.",                                       gauge_sessions,   false},
    {"sallyport_login_waiting",               "",                               "Passwords that wait for a derivation, or are being derived.",
     gauge_waiting,                                                                                                                                              false},
    {"sallyport_login_answers_total",         "from=\"table\"",                 "Logins, by what it took to answer them.",
     total_hits,                                                                                                                                                 true },
    {"sallyport_login_answers_total",         "from=\"derivation\"",
     "Logins, by what it took to answer them.",                                                                                                total_misses,     true },
    {"sallyport_login_answers_total",         "from=\"derivation-of-another\"",
     "Logins, by what it took to answer them.",                                                                                                total_waits,      true },
    {"sallyport_login_derivations_total",     "of=\"verifier\"",
     "PBKDF2 derivations; one of a verifier and one of a key for a session.",                                                                  total_verified,   true },
    {"sallyport_login_derivations_total",     "of=\"session-key\"",
     "PBKDF2 derivations; one of a verifier and one of a key for a session.",                                                                  total_derived,    true },
    {"sallyport_login_derivations_total",     "of=\"upgrade\"",
     "PBKDF2 derivations; one of a verifier and one of a key for a session.",                                                                  total_upgraded,   true },
    {"sallyport_login_verifier_rounds_total", "",
     "PBKDF2 rounds of verifiers, the same for every password.",                                                                               total_rounds,     true },
    {"sallyport_login_refused_total",         "",                               "Wrong passwords.",                                            total_refused,    true },
    {"sallyport_login_throttled_total",       "",
     "Passwords that nobody looked at, because too many before them were wrong.",                                                              total_throttled,
     true                                                                                                                                                             },
    {"sallyport_login_held_total",            "",
     "Refusals that were held back, since nobody had looked at the password (login.hold-refusals).",                                           total_held,       true },
    {"sallyport_login_queue_full_total",      "",
     "Passwords that nobody looked at, because too many others waited (login.queue).",                                                         total_queue_full, true },
    {"sallyport_login_renewed_total",         "",                               "Sessions that were renewed before their end.",
     total_renewed,                                                                                                                                              true },
    {"sallyport_login_ended_total",           "",
     "Sessions that ended early, with their user, password or tenant.",                                                                        total_ended,      true },
};

void gateway_logins_metrics(struct gateway_core *g)
{
    for (size_t i = 0; i < ARRAY_LEN(login_metrics) && g->logins.logins; i++) {
        if (login_metrics[i].total)
            (void)metrics_total(g->metrics, login_metrics[i].name, login_metrics[i].labels,
                                login_metrics[i].help, login_metrics[i].read, g);
        else
            (void)metrics_gauge(g->metrics, login_metrics[i].name, login_metrics[i].labels,
                                login_metrics[i].help, login_metrics[i].read, g);
    }
}

/* ---- metrics of tenants ---- */

#define QUOTA_READ(function, member)        \
    static double function(void *arg)       \
    {                                       \
        const struct tenant_gauge *t = arg; \
        struct quota_use use;               \
                                            \
        quota_read(t->quota, &use);         \
        return (double)use.member;          \
    }
QUOTA_READ(gauge_connections, connections)
QUOTA_READ(gauge_scans, scans)
QUOTA_READ(total_requests, requests)
QUOTA_READ(total_bytes, bytes)
QUOTA_READ(total_over, refused)

static void tenant_metrics(struct metrics *m, struct tenant_gauge *t)
{
    struct buf labels;

    buf_init(&labels, 0);
    metrics_label(&labels, "tenant", span_of(t->name));
    (void)metrics_gauge(m, "sallyport_tenant_connections", buf_cstr(&labels),
                        "Open connections of a tenant.", gauge_connections, t);
    (void)metrics_gauge(m, "sallyport_tenant_scans", buf_cstr(&labels),
                        "Files of a tenant that are being inspected.", gauge_scans, t);
    (void)metrics_total(m, "sallyport_tenant_requests_total", buf_cstr(&labels),
                        "Requests of a tenant.", total_requests, t);
    (void)metrics_total(m, "sallyport_tenant_received_bytes_total", buf_cstr(&labels),
                        "Bytes of a tenant's requests.", total_bytes, t);
    (void)metrics_total(m, "sallyport_tenant_over_quota_total", buf_cstr(&labels),
                        "Requests and connections of a tenant that a quota refused.", total_over,
                        t);
    buf_done(&labels);
}

/* Quotas live as long as the gateway, and so do these. */
static void know_tenant(struct gateway_core *g, const struct tenant *tenant)
{
    struct tenant_gauge *t = g->logins.gauges;

    while (t && !span_eq(span_of(t->name), span_of(tenant->name)))
        t = t->next;
    if (t || !tenant->quota || (t = calloc(1, sizeof *t)) == NULL)
        return;
    (void)span_copy(span_of(tenant->name), t->name, sizeof t->name);
    t->quota = tenant->quota;
    t->next = g->logins.gauges;
    g->logins.gauges = t;
    tenant_metrics(g->metrics, t);
}

void gateway_logins_tenants(struct gateway_core *g, struct tenants *t)
{
    for (size_t i = 0; i < tenants_count(t); i++)
        know_tenant(g, tenants_at(t, i));
    if (g->logins.logins)
        logins_set_tenants(g->logins.logins, t);
    if (g->snapshot)
        policy_refresh(g);
}
