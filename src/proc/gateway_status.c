/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway tells about itself: the control socket's status, /readyz, and gauges. */
#include <stdatomic.h>
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

static void status_listeners(struct json *j, const struct gateway_core *g)
{
    json_open(j, "listeners", '[');
    for (unsigned i = 0; i < g->n_sockets; i++) {
        struct address a = {.len = sizeof a.ss};
        char text[ADDRESS_TEXT_MAX];
        const struct listener_settings *set =
            gateway_config_listener(g->config, g->sockets[i].name);

        if (g->sockets[i].loop != 0 ||
            getsockname(g->sockets[i].fd, (struct sockaddr *)&a.ss, &a.len) != 0)
            continue;
        json_open(j, NULL, '{');
        json_text(j, "name", g->sockets[i].name);
        json_text(j, "address", address_text(&a, text));
        json_bool(j, "tls", set && set->tls);
        if (set && set->tls)
            json_i64(j, "certificate_not_after", tls_context_not_after(set->tls));
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void status_services(struct json *j, const struct gateway_core *g)
{
    json_open(j, "services", '[');
    for (size_t i = 0; i < g->snapshot->n_services; i++) {
        const struct icap_service *s = &g->snapshot->services[i];

        json_open(j, NULL, '{');
        json_text(j, "name", s->set->name);
        json_text(j, "path", s->set->path);
        json_text(j, "istag", s->istag);
        json_open(j, "actions", '{');
        for (unsigned a = 0; a < ACTIONS; a++)
            json_u64(j, action_name((enum action)a),
                     metrics_value(g->metrics, s->metrics.actions[a]));
        json_close(j, '}');
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void status_loops(struct json *j, const struct gateway_core *g)
{
    json_open(j, "loops", '[');
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct icap_server_counts c;
        struct workers_counts w;

        icap_server_count(g->loops[i].icap, &c);
        workers_counts(g->loops[i].workers, &w);
        json_open(j, NULL, '{');
        json_u64(j, "connections", c.connections);
        json_u64(j, "open_transactions", c.open);
        json_u64(j, "transactions", c.transactions);
        json_u64(j, "blocked", c.blocked);
        json_u64(j, "refused", c.refused);
        json_u64(j, "workers", w.alive);
        json_u64(j, "workers_busy", w.busy);
        json_u64(j, "workers_started", w.started);
        json_u64(j, "workers_crashed", w.crashed);
        json_u64(j, "workers_killed", w.killed);
        json_u64(j, "files_waiting", w.queued);
        json_u64(j, "files", w.jobs);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void status_records(struct json *j, const struct gateway_core *g)
{
    struct record_log_counts c = {0};

    json_open(j, "records", '{');
    json_bool(j, "enabled", g->records != NULL);
    if (g->records) {
        record_log_count(g->records, &c);
        json_u64(j, "written", c.written);
        json_u64(j, "lost", c.lost);
        json_u64(j, "write_errors", c.write_errors);
        json_bool(j, "refusing", record_log_refuses(g->records));
    }
    json_close(j, '}');
}

void gateway_status_json(void *arg, struct buf *out)
{
    const struct gateway_core *g = arg;
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
    status_services(&j, g);
    json_open(&j, "budgets", '{');
    status_budget(&j, "memory", &g->memory);
    status_budget(&j, "spool", &g->spool_bytes);
    status_budget(&j, "scans", &g->scans);
    json_close(&j, '}');
    status_loops(&j, g);
    status_records(&j, g);
    json_close(&j, '}');
    buf_done(&text);
}

bool gateway_is_ready(void *arg, struct buf *why)
{
    const struct gateway_core *g = arg;
    struct workers_counts w;
    bool inspects = false, up = false;

    if (g->draining) {
        buf_text(why, "draining");
        return false;
    }
    if (g->records && record_log_refuses(g->records)) {
        buf_text(why, "records cannot be written, and records.on-full says refuse");
        return false;
    }
    for (size_t i = 0; i < g->snapshot->n_services; i++)
        inspects |= g->snapshot->services[i].set->type == ICAP_SERVICE_INSPECT;
    for (unsigned i = 0; i < g->n_loops; i++) {
        workers_counts(g->loops[i].workers, &w);
        up |= w.alive > 0;
    }
    if (inspects && !up) {
        buf_text(why, "no inspection worker is alive");
        return false;
    }
    return true;
}

/* ---- gauges and totals: read on the scraping thread, which is loop 0's ---- */

static double gauge_connections(void *arg)
{
    const struct gateway_core *g = arg;
    unsigned n = 0;

    for (unsigned i = 0; i < g->n_loops; i++)
        n += icap_server_connections(g->loops[i].icap);
    return n;
}

static double gauge_budget(void *arg)
{
    return (double)budget_used(arg);
}

static double gauge_workers(void *arg)
{
    const struct gateway_core *g = arg;
    struct workers_counts w;
    unsigned n = 0;

    for (unsigned i = 0; i < g->n_loops; i++) {
        workers_counts(g->loops[i].workers, &w);
        n += w.alive;
    }
    return n;
}

static double total_crashed(void *arg)
{
    const struct gateway_core *g = arg;
    struct workers_counts w;
    uint64_t n = 0;

    for (unsigned i = 0; i < g->n_loops; i++) {
        workers_counts(g->loops[i].workers, &w);
        n += w.crashed + w.killed;
    }
    return (double)n;
}

static double total_records_lost(void *arg)
{
    const struct gateway_core *g = arg;
    struct record_log_counts c = {0};

    if (g->records)
        record_log_count(g->records, &c);
    return (double)c.lost;
}

static double total_records_written(void *arg)
{
    const struct gateway_core *g = arg;
    struct record_log_counts c = {0};

    if (g->records)
        record_log_count(g->records, &c);
    return (double)c.written;
}

static double gauge_ready(void *arg)
{
    struct buf why;
    bool ready;

    buf_init(&why, 0);
    ready = gateway_is_ready(arg, &why);
    buf_done(&why);
    return ready;
}

void gateway_status_metrics(struct gateway_core *g)
{
    struct metrics *m = g->metrics;

    (void)metrics_gauge(m, "sallyport_ready", "", "1 when the gateway can do its work.",
                        gauge_ready, g);
    (void)metrics_gauge(m, "sallyport_connections", "", "Open connections.", gauge_connections, g);
    (void)metrics_gauge(m, "sallyport_memory_bytes", "", "Bytes of limits.memory in use.",
                        gauge_budget, &g->memory);
    (void)metrics_gauge(m, "sallyport_spool_bytes", "", "Bytes of spool.total in use.",
                        gauge_budget, &g->spool_bytes);
    (void)metrics_gauge(m, "sallyport_scans", "", "Open scans.", gauge_budget, &g->scans);
    (void)metrics_gauge(m, "sallyport_workers", "", "Live worker processes.", gauge_workers, g);
    (void)metrics_total(m, "sallyport_workers_lost_total", "",
                        "Workers that crashed or were killed.", total_crashed, g);
    (void)metrics_total(m, "sallyport_records_written_total", "", "Records written.",
                        total_records_written, g);
    (void)metrics_total(m, "sallyport_records_lost_total", "", "Records lost, for want of room.",
                        total_records_lost, g);
}
