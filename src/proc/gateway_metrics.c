/* SPDX-License-Identifier: Apache-2.0 */
/* Gauges, and totals that others count: read on the scraping thread, which is loop 0's. */
#include <stdio.h>

#include "proc/gateway_int.h"

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

static double gauge_scans(void *arg)
{
    struct scan_slots_counts c;

    scan_slots_count(arg, &c);
    return c.used;
}

static double gauge_plaintext(void *arg)
{
    const struct gateway_core *g = arg;
    const struct settings *s = &g->config->settings;
    unsigned n = 0;

    for (size_t i = 0; i < s->n_listeners; i++) {
        struct address a;

        n += !s->listeners[i].tls && settings_address(&s->listeners[i].address, &a) &&
             !address_is_loopback(&a);
    }
    return n;
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

static double total_record_seals(void *arg)
{
    const struct gateway_core *g = arg;
    struct record_log_counts c = {0};

    if (g->records)
        record_log_count(g->records, &c);
    return (double)c.seals;
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

/* ---- ClamAV, cache, exceptions ---- */

void gateway_clamd_counts(const struct gateway_core *g, struct clamd_counts *ret)
{
    *ret = (struct clamd_counts){0};
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct clamd_counts c;

        if (!g->loops[i].clamd)
            continue;
        clamd_count(g->loops[i].clamd, &c);
        ret->jobs += c.jobs;
        ret->found += c.found;
        ret->errors += c.errors;
        ret->reconnects += c.reconnects;
        ret->busy += c.busy;
        ret->idle += c.idle;
        ret->queued += c.queued;
    }
}

static double gauge_clamd_up(void *arg)
{
    const struct gateway_core *g = arg;
    struct clamd_health_report r;

    clamd_health_read(g->policy.clamd_health, &r);
    return r.up;
}

static double gauge_clamd_silent(void *arg)
{
    const struct gateway_core *g = arg;
    struct clamd_health_report r;

    clamd_health_read(g->policy.clamd_health, &r);
    return r.up && r.silent_limits;
}

#define CLAMD_READ(function, member)   \
    static double function(void *arg)  \
    {                                  \
        struct clamd_counts c;         \
                                       \
        gateway_clamd_counts(arg, &c); \
        return (double)c.member;       \
    }
CLAMD_READ(gauge_clamd_queue, queued)
CLAMD_READ(gauge_clamd_busy, busy)
CLAMD_READ(total_clamd_files, jobs)
CLAMD_READ(total_clamd_found, found)
CLAMD_READ(total_clamd_errors, errors)
CLAMD_READ(total_clamd_reconnects, reconnects)

#define CACHE_READ(function, member)              \
    static double function(void *arg)             \
    {                                             \
        const struct gateway_core *g = arg;       \
        struct verdict_cache_counts c;            \
                                                  \
        verdict_cache_count(g->policy.cache, &c); \
        return (double)c.member;                  \
    }
CACHE_READ(total_cache_hits, hits)
CACHE_READ(total_cache_misses, misses)
CACHE_READ(total_cache_waits, waits)
CACHE_READ(total_cache_evicted, evicted)
CACHE_READ(gauge_cache_entries, entries)
CACHE_READ(gauge_cache_bytes, bytes)

static double gauge_exceptions(void *arg)
{
    const struct gateway_core *g = arg;

    return (double)exceptions_count(g->policy.exceptions);
}

static double total_troubles(void *arg)
{
    const struct gateway_core *g = arg;

    return (double)troubles_count(g->troubles);
}

#define LOOP_READ(function, value)    \
    static double function(void *arg) \
    {                                 \
        struct loop_load_figures t;   \
                                      \
        loop_figures(arg, &t);        \
        return (double)(value);       \
    }
LOOP_READ(total_turns, t.turns)
LOOP_READ(total_busy, (double)t.busy_us / 1e6)
LOOP_READ(gauge_longest, (double)t.longest_us / 1e6)

static void add_loop_readings(const struct gateway_core *g, unsigned i)
{
    char label[32];

    (void)snprintf(label, sizeof label, "thread=\"%u\"", i);
    (void)metrics_total(g->metrics, "sallyport_loop_turns_total", label,
                        "Turns of a thread's loop: looks at what has happened.", total_turns,
                        g->loops[i].loop);
    (void)metrics_total(g->metrics, "sallyport_loop_busy_seconds_total", label,
                        "Time of a thread's loop in its turns, without waiting.", total_busy,
                        g->loops[i].loop);
    (void)metrics_gauge(g->metrics, "sallyport_loop_longest_turn_seconds", label,
                        "The longest turn of the last 10 s, for which everybody else waited.",
                        gauge_longest, g->loops[i].loop);
}

struct reading {
    bool total;
    const char *name, *help;
    double (*read)(void *arg);
};

static const struct reading clamd_readings[] = {
    {false, "sallyport_clamd_up",               "1 when ClamAV answers and finds its test file.", gauge_clamd_up    },
    {false, "sallyport_clamd_silent_limits",
     "1 when ClamAV calls clean what is over its limits, so that its OK says nothing.",           gauge_clamd_silent},
    {false, "sallyport_clamd_queue",            "Files that wait for a session with ClamAV.",
     gauge_clamd_queue                                                                                              },
    {false, "sallyport_clamd_busy",             "Sessions with ClamAV that scan.",                gauge_clamd_busy  },
    {true,  "sallyport_clamd_files_total",      "Files given to ClamAV.",                         total_clamd_files },
    {true,  "sallyport_clamd_found_total",      "Files in which ClamAV found something.",
     total_clamd_found                                                                                              },
    {true,  "sallyport_clamd_errors_total",     "Files for which ClamAV gave no verdict.",
     total_clamd_errors                                                                                             },
    {true,  "sallyport_clamd_reconnects_total", "Sessions with ClamAV that were opened anew.",
     total_clamd_reconnects                                                                                         },
};

static const struct reading policy_readings[] = {
    {true,  "sallyport_cache_hits_total",    "Verdicts that were known already.",                    total_cache_hits   },
    {true,  "sallyport_cache_misses_total",  "Files whose verdict was not known.",
     total_cache_misses                                                                                                 },
    {true,  "sallyport_cache_waits_total",   "Files that waited for the scan of an equal one.",
     total_cache_waits                                                                                                  },
    {true,  "sallyport_cache_evicted_total", "Verdicts that gave way to newer ones.",
     total_cache_evicted                                                                                                },
    {false, "sallyport_cache_entries",       "Verdicts that are kept.",                              gauge_cache_entries},
    {false, "sallyport_cache_bytes",         "Bytes of engines.cache.size in use.",                  gauge_cache_bytes  },
    {false, "sallyport_plaintext_listeners",
     "Listeners in clear text that other machines can reach.",                                       gauge_plaintext    },
    {false, "sallyport_exceptions",          "Exceptions and bypasses in force.",                    gauge_exceptions   },
    {true,  "sallyport_troubles_total",      "Things that went wrong, as `sallyport status` tells.",
     total_troubles                                                                                                     },
};

static void add_readings(struct gateway_core *g, const struct reading *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i].total)
            (void)metrics_total(g->metrics, v[i].name, "", v[i].help, v[i].read, g);
        else
            (void)metrics_gauge(g->metrics, v[i].name, "", v[i].help, v[i].read, g);
    }
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
    (void)metrics_gauge(m, "sallyport_scans", "", "Open scans.", gauge_scans, g->scans);
    (void)metrics_gauge(m, "sallyport_workers", "", "Live worker processes.", gauge_workers, g);
    (void)metrics_total(m, "sallyport_workers_lost_total", "",
                        "Workers that crashed or were killed.", total_crashed, g);
    (void)metrics_total(m, "sallyport_records_written_total", "", "Records written.",
                        total_records_written, g);
    (void)metrics_total(m, "sallyport_records_lost_total", "", "Records lost, for want of room.",
                        total_records_lost, g);
    if (g->records_chained)
        (void)metrics_total(m, "sallyport_record_seals_total", "",
                            "Seals of batches of records (records.chain).", total_record_seals, g);
    for (unsigned i = 0; i < g->n_loops; i++)
        add_loop_readings(g, i);
    add_readings(g, policy_readings, ARRAY_LEN(policy_readings));
    gateway_files_metrics(g);
    gateway_store_metrics(g);
    gateway_logins_metrics(g);
    if (g->policy.clamd_health)
        add_readings(g, clamd_readings, ARRAY_LEN(clamd_readings));
}
