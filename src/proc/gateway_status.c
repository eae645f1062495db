/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway tells about itself: the control socket's status, and /readyz. */
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "proc/gateway_int.h"

static void status_budget(struct json *j, const char *name, const struct budget *b)
{
    json_open(j, name, '{');
    json_u64(j, "used", atomic_load_explicit(&b->used, memory_order_relaxed));
    json_u64(j, "max", atomic_load_explicit(&b->max, memory_order_relaxed));
    json_u64(j, "peak", atomic_load_explicit(&b->peak, memory_order_relaxed));
    json_u64(j, "refused", atomic_load_explicit(&b->refused, memory_order_relaxed));
    json_close(j, '}');
}

static void status_scans(struct json *j, struct scan_slots *s)
{
    struct scan_slots_counts c;

    scan_slots_count(s, &c);
    json_open(j, "scans", '{');
    json_u64(j, "used", c.used);
    json_u64(j, "max", c.max);
    json_u64(j, "peak", c.peak);
    json_u64(j, "refused", c.refused);
    json_u64(j, "clients", c.clients);
    json_close(j, '}');
}

static void status_listeners(struct json *j, const struct gateway_core *g)
{
    json_open(j, "listeners", '[');
    for (unsigned i = 0; i < g->n_sockets; i++) {
        struct address a = {.len = sizeof a.ss};
        char text[ADDRESS_TEXT_MAX];
        const struct listener_settings *set =
            gateway_config_listener(g->config, g->sockets[i].name);
        bool waits = gateway_config_waits(g->config, g->sockets[i].name) != NULL;

        if (g->sockets[i].loop != 0 ||
            getsockname(g->sockets[i].fd, (struct sockaddr *)&a.ss, &a.len) != 0)
            continue;
        json_open(j, NULL, '{');
        json_text(j, "name", g->sockets[i].name);
        json_text(j, "address", address_text(&a, text));
        json_bool(j, "tls", waits || (set && set->tls));
        json_bool(j, "waits", waits);
        if (set && set->tls) {
            json_i64(j, "certificate_not_after", tls_context_not_after(set->tls));
            json_bool(j, "revocation_checked", tls_context_has_crls(set->tls));
        }
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void status_bypass(struct json *j, const struct gateway_core *g,
                          const struct icap_service *s)
{
    const struct gateway_policy *p = &g->policy;
    const struct exception *e =
        exceptions_bypass(p->exceptions, s->set->name, clock_wall_ms(&clock_system));
    char expires[ISO_TIME_LEN + 1];

    if (!e)
        return;
    clock_iso_time(e->expires_wall_ms, expires);
    json_open(j, "bypass", '{');
    json_text(j, "id", e->id);
    json_text(j, "expires", expires);
    json_text(j, "by", e->by);
    json_text(j, "reason", e->reason);
    json_u64(j, "passed", policy_bypassed(p, e));
    json_close(j, '}');
}

/* Exceptions that may let something pass here. */
static uint64_t exceptions_for(const struct gateway_core *g, const struct icap_service *s)
{
    const struct exceptions *set = g->policy.exceptions;
    uint64_t n = 0;

    for (size_t i = 0; i < exceptions_count(set); i++) {
        const struct exception *e = exceptions_at(set, i);

        n +=
            e->kind == EXCEPTION_ALLOW && (!e->service[0] || strcmp(e->service, s->set->name) == 0);
    }
    return n;
}

void gateway_engines_json(unsigned engines, struct json *j)
{
    json_open(j, "engines", '[');
    for (size_t i = 0; i < pipeline_names.n; i++)
        if (engines & 1u << pipeline_names.v[i].value)
            json_text(j, NULL, pipeline_names.v[i].name);
    json_close(j, ']');
}

static void status_service(struct json *j, const struct gateway_core *g,
                           const struct icap_service *s)
{
    json_open(j, NULL, '{');
    json_text(j, "name", s->set->name);
    json_text(j, "path", s->set->path);
    json_text(j, "type", s->set->type == ICAP_SERVICE_INSPECT ? "inspect" : "echo");
    json_text(j, "istag", s->istag);
    gateway_engines_json(s->engines, j);
    status_bypass(j, g, s);
    json_u64(j, "exceptions", exceptions_for(g, s));
    json_open(j, "actions", '{');
    for (unsigned a = 0; a < ACTIONS; a++)
        json_u64(j, action_name((enum action)a), metrics_value(g->metrics, s->metrics.actions[a]));
    json_close(j, '}');
    json_close(j, '}');
}

static void status_services(struct json *j, const struct gateway_core *g)
{
    json_open(j, "services", '[');
    for (size_t i = 0; i < g->snapshot->n_services; i++)
        status_service(j, g, &g->snapshot->services[i]);
    json_close(j, ']');
}

/* ---- engines ---- */

static void status_worker(struct json *j, const struct gateway_core *g)
{
    struct workers_counts all = {0};

    for (unsigned i = 0; i < g->n_loops; i++) {
        struct workers_counts w;

        workers_counts(g->loops[i].workers, &w);
        all.alive += w.alive;
        all.busy += w.busy;
        all.queued += w.queued;
        all.jobs += w.jobs;
        all.crashed += w.crashed + w.killed;
    }
    json_open(j, "worker", '{');
    json_text(j, "version", g->engines);
    json_u64(j, "alive", all.alive);
    json_u64(j, "busy", all.busy);
    json_u64(j, "queued", all.queued);
    json_u64(j, "files", all.jobs);
    json_u64(j, "lost", all.crashed);
    json_close(j, '}');
}

static void status_clamd_counts(struct json *j, const struct gateway_core *g)
{
    struct clamd_counts c;

    gateway_clamd_counts(g, &c);
    json_u64(j, "files", c.jobs);
    json_u64(j, "found", c.found);
    json_u64(j, "errors", c.errors);
    json_u64(j, "reconnects", c.reconnects);
    json_u64(j, "busy", c.busy);
    json_u64(j, "idle", c.idle);
    json_u64(j, "queued", c.queued);
}

static void status_clamd(struct json *j, const struct gateway_core *g)
{
    struct clamd_health_report r;
    char since[ISO_TIME_LEN + 1];

    if (!g->policy.clamd_health)
        return;
    clamd_health_read(g->policy.clamd_health, &r);
    clock_iso_time(r.since_wall_ms, since);
    json_open(j, "clamd", '{');
    json_bool(j, "up", r.up);
    json_text(j, "since", r.since_wall_ms ? since : NULL);
    json_text(j, "why", r.why[0] ? r.why : NULL);
    json_text(j, "version", r.version);
    json_text(j, "transport", r.transport == CLAMD_FILDES ? "descriptor" : "stream");
    json_u64(j, "max_scan", r.scan_max);
    json_bool(j, "silent_limits", r.silent_limits);
    json_bool(j, "believed", !r.silent_limits || g->policy.clamd_settings.trust_silent);
    status_clamd_counts(j, g);
    json_close(j, '}');
}

static void status_cache(struct json *j, const struct gateway_core *g)
{
    struct verdict_cache_counts c;

    verdict_cache_count(g->policy.cache, &c);
    json_open(j, "cache", '{');
    json_u64(j, "hits", c.hits);
    json_u64(j, "misses", c.misses);
    json_u64(j, "waits", c.waits);
    json_u64(j, "evicted", c.evicted);
    json_u64(j, "expired", c.expired);
    json_u64(j, "entries", c.entries);
    json_u64(j, "bytes", c.bytes);
    json_u64(j, "max", g->config->settings.engines.cache.size);
    json_close(j, '}');
}

static void status_engines(struct json *j, const struct gateway_core *g)
{
    json_open(j, "inspection", '{');
    status_worker(j, g);
    status_clamd(j, g);
    status_cache(j, g);
    json_text(j, "url",
              g->config->settings.engines.url.n_lists ? url_lists_text(g->config->urls) : NULL);
    json_close(j, '}');
}

static void status_troubles(struct json *j, const struct gateway_core *g)
{
    json_open(j, "troubles", '[');
    troubles_json(g->troubles, j);
    json_close(j, ']');
}

static void status_loops(struct json *j, const struct gateway_core *g)
{
    json_open(j, "loops", '[');
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct loop_load_figures t;
        struct icap_server_counts c;
        struct ipp_server_counts p = {0};
        struct workers_counts w;

        loop_figures(g->loops[i].loop, &t);
        icap_server_count(g->loops[i].icap, &c);
        workers_counts(g->loops[i].workers, &w);
        if (g->loops[i].ipp)
            ipp_server_count(g->loops[i].ipp, &p);
        json_open(j, NULL, '{');
        json_u64(j, "connections", c.connections);
        json_u64(j, "open_transactions", c.open);
        json_u64(j, "transactions", c.transactions);
        json_u64(j, "blocked", c.blocked);
        json_u64(j, "refused", c.refused);
        json_u64(j, "print_connections", p.connections);
        json_u64(j, "print_requests", p.requests);
        json_u64(j, "print_jobs", p.jobs);
        json_u64(j, "workers", w.alive);
        json_u64(j, "workers_busy", w.busy);
        json_u64(j, "workers_started", w.started);
        json_u64(j, "workers_crashed", w.crashed);
        json_u64(j, "workers_killed", w.killed);
        json_u64(j, "files_waiting", w.queued);
        json_u64(j, "files", w.jobs);
        json_u64(j, "turns", t.turns);
        json_u64(j, "turns_per_s", t.turns_per_s);
        json_u64(j, "turn_mean_us", t.mean_us);
        json_u64(j, "turn_longest_us", t.longest_us);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void status_records(struct json *j, const struct gateway_core *g)
{
    struct record_log_counts c = {0};

    json_open(j, "records", '{');
    json_bool(j, "enabled", g->records != NULL);
    json_text(j, "path", g->records ? g->config->settings.records_path : NULL);
    if (g->records) {
        record_log_count(g->records, &c);
        json_u64(j, "written", c.written);
        json_u64(j, "lost", c.lost);
        json_u64(j, "write_errors", c.write_errors);
        json_bool(j, "refusing", record_log_refuses(g->records));
        json_bool(j, "chained", g->records_chained);
        if (g->records_chained)
            json_u64(j, "seals", c.seals);
    }
    json_close(j, '}');
}

void gateway_status_json(void *arg, struct buf *out)
{
    struct gateway_core *g = arg;
    struct json j = json_to(out);
    struct buf text;
    char when[ISO_TIME_LEN + 1];

    buf_init(&text, 0);
    clock_iso_time(g->started_wall_ms, when);
    json_open(&j, NULL, '{');
    json_text(&j, "version", SALLYPORT_VERSION);
    json_u64(&j, "pid", (uint64_t)getpid());
    json_u64(&j, "supervisor_pid", g->control_fd >= 0 ? (uint64_t)getppid() : 0);
    json_u64(&j, "generation", g->number);
    json_text(&j, "started", when);
    json_bool(&j, "draining", g->draining);
    json_bool(&j, "ready", gateway_is_ready(arg, &text));
    json_text(&j, "not_ready_because", text.n ? buf_cstr(&text) : NULL);
    buf_reset(&text);
    jail_report_text(&g->jail, &text);
    json_text(&j, "sandbox", buf_cstr(&text));
    json_text(&j, "engines", g->engines);
    status_listeners(&j, g);
    gateway_certificates_json(g, &j);
    gateway_files_json(g, &j);
    status_services(&j, g);
    gateway_print_json(g, &j);
    status_engines(&j, g);
    json_u64(&j, "exceptions", exceptions_count(g->policy.exceptions));
    json_open(&j, "budgets", '{');
    status_budget(&j, "memory", &g->memory);
    status_budget(&j, "spool", &g->spool_bytes);
    status_scans(&j, g->scans);
    json_close(&j, '}');
    status_loops(&j, g);
    status_records(&j, g);
    gateway_store_json(g, &j);
    gateway_logins_json(g, &j);
    status_troubles(&j, g);
    json_close(&j, '}');
    buf_done(&text);
}

#define BODY_ENGINES                                                           \
    (1u << PIPELINE_YARA | 1u << PIPELINE_FILETYPE | 1u << PIPELINE_PRINTING | \
     1u << PIPELINE_CLAMAV)

/* Every body goes through a worker first, whoever judges it. */
static bool engines_are_up(const struct gateway_core *g, const char *kind, const char *name,
                           unsigned engines, bool workers_up, struct buf *why)
{
    struct clamd_health_report r;

    if (engines & BODY_ENGINES && !workers_up) {
        buf_text(why, "no inspection worker is alive");
        return false;
    }
    if (!(engines & 1u << PIPELINE_CLAMAV) || !g->policy.clamd_health)
        return true;
    clamd_health_read(g->policy.clamd_health, &r);
    if (!r.up)
        buf_fmt(why, "%s '%s' needs ClamAV, which is down%s%s", kind, name, r.why[0] ? ": " : "",
                r.why);
    return r.up;
}

bool gateway_is_ready(void *arg, struct buf *why)
{
    const struct gateway_core *g = arg;
    uint64_t now = clock_wall_ms(&clock_system);
    struct workers_counts w;
    bool up = false;

    if (g->draining) {
        buf_text(why, "draining");
        return false;
    }
    if (g->records && record_log_refuses(g->records)) {
        buf_text(why, "records cannot be written, and records.on-full says refuse");
        return false;
    }
    if (!gateway_certificates_are_there(g, why))
        return false;
    for (unsigned i = 0; i < g->n_loops; i++) {
        workers_counts(g->loops[i].workers, &w);
        up |= w.alive > 0;
    }
    for (size_t i = 0; i < g->snapshot->n_services; i++) {
        const struct icap_service *s = &g->snapshot->services[i];

        /* A bypassed one needs no engine: it is bypassed because there is none. */
        if (!exceptions_bypass(g->policy.exceptions, s->set->name, now) &&
            !engines_are_up(g, "service", s->set->name, s->engines, up, why))
            return false;
    }
    for (size_t i = 0; g->print.snapshot && i < g->print.snapshot->n_printers; i++)
        if (!engines_are_up(g, "printer", g->print.snapshot->printers[i].set->name,
                            g->print.snapshot->printers[i].engines, up, why))
            return false;
    return true;
}
