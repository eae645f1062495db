/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_tally.c - counts, latencies and faults of one run, and their report.
 */
#include "load_tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

static unsigned slot_of(uint64_t ns)
{
    unsigned top;

    if (ns < TALLY_STEPS)
        return (unsigned)ns;
    top = 63 - (unsigned)__builtin_clzll(ns); /* >= 6 */
    return (top - 5) * TALLY_STEPS + (unsigned)(ns >> (top - 6)) % TALLY_STEPS;
}

/* The middle of the slot: the inverse of slot_of(). */
static double slot_ns(unsigned slot)
{
    unsigned shift;

    if (slot < TALLY_STEPS)
        return slot;
    shift = slot / TALLY_STEPS - 1;
    return (double)((uint64_t)(TALLY_STEPS + slot % TALLY_STEPS) << shift) +
           (double)((uint64_t)1 << shift) / 2;
}

static double percentile_us(const struct latencies *l, double share)
{
    double want = (double)l->n * share;
    uint64_t seen = 0;

    for (unsigned i = 0; i < TALLY_SLOTS; i++) {
        seen += l->slot[i];
        if (l->slot[i] > 0 && (double)seen >= want)
            return slot_ns(i) / 1000;
    }
    return 0;
}

void tally_answer(struct tally *t, const struct answer *a, uint64_t ns, bool counts)
{
    struct latencies *l = a->facts.blocked ? &t->blocked : &t->passed;

    t->requests_total++;
    t->continues += a->continued;
    t->status_200 += a->facts.status == 200;
    t->status_204 += a->facts.status == 204;
    t->status_206 += a->facts.status == 206;
    if (!counts)
        return;
    t->requests++;
    t->body_bytes += a->body_len;
    l->n++;
    l->slot[slot_of(ns)]++;
    if (ns > l->max_ns)
        l->max_ns = ns;
}

void tally_fault(struct tally *t, enum answer_fault f, const char *detail)
{
    if (t->faults[f]++ == 0)
        (void)snprintf(t->first[f], sizeof t->first[f], "%s", detail);
    t->faults_total++;
}

static double rate(uint64_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

/* CPU time of this program: tells whether the load generator was the bottleneck. */
static double own_cpu_seconds(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void json_string(const char *s)
{
    (void)putchar('"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            (void)putchar('\\');
        (void)putchar(*s);
    }
    (void)putchar('"');
}

static void json_faults(const struct tally *t)
{
    const char *comma = "";

    (void)printf("\"errors\": {");
    for (unsigned f = 0; f < FAULTS_N; f++)
        if (t->faults[f] > 0) {
            (void)printf("%s\"%s\": %" PRIu64, comma, answer_fault_name(f), t->faults[f]);
            comma = ", ";
        }
    (void)printf("}, \"details\": {");
    comma = "";
    for (unsigned f = 0; f < FAULTS_N; f++)
        if (t->faults[f] > 0) {
            (void)printf("%s\"%s\": ", comma, answer_fault_name(f));
            json_string(t->first[f]);
            comma = ", ";
        }
    (void)printf("}");
}

static void json_latencies(const struct latencies *l)
{
    (void)printf("{\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f}",
                 percentile_us(l, 0.50), percentile_us(l, 0.90), percentile_us(l, 0.99),
                 (double)l->max_ns / 1000);
}

static void print_json(const struct tally *t, unsigned n_conns)
{
    (void)printf("{\"requests\": %" PRIu64 ", \"seconds\": %.6f, \"requests_per_s\": %.1f, "
                 "\"body_bytes_per_s\": %.0f, \"requests_total\": %" PRIu64 ", ",
                 t->requests, t->seconds, rate(t->requests, t->seconds),
                 rate(t->body_bytes, t->seconds), t->requests_total);
    (void)printf("\"bytes_in\": %" PRIu64 ", \"bytes_out\": %" PRIu64 ", \"connections\": %u, "
                 "\"starved\": %" PRIu64 ", \"unfinished\": %" PRIu64 ", \"connects\": %" PRIu64
                 ", \"handshakes\": %" PRIu64 ", \"resumed\": %" PRIu64 ", \"reconnects\": %" PRIu64
                 ", \"held\": %" PRIu64 ", ",
                 t->bytes_in, t->bytes_out, n_conns, t->faults[FAULT_STARVED], t->unfinished,
                 t->connects, t->handshakes, t->resumed, t->reconnects, t->held);
    (void)printf("\"status\": {\"100\": %" PRIu64 ", \"200\": %" PRIu64 ", \"204\": %" PRIu64
                 ", \"206\": %" PRIu64 "}, \"latency_us\": ",
                 t->continues, t->status_200, t->status_204, t->status_206);
    json_latencies(&t->passed);
    (void)printf(", \"blocked\": %" PRIu64 ", \"blocked_us\": ", t->blocked.n);
    json_latencies(&t->blocked);
    (void)printf(", \"cpu_seconds\": %.3f, ", own_cpu_seconds());
    json_faults(t);
    (void)printf("}\n");
}

static void text_latencies(const char *what, const struct latencies *l)
{
    (void)printf("%s p50 %.1f, p90 %.1f, p99 %.1f, max %.1f us\n", what, percentile_us(l, 0.50),
                 percentile_us(l, 0.90), percentile_us(l, 0.99), (double)l->max_ns / 1000);
}

static void print_text(const struct tally *t, unsigned n_conns)
{
    (void)printf("%" PRIu64 " requests in %.2f s on %u connections: %.0f/s, %.1f MB/s of bodies\n",
                 t->requests, t->seconds, n_conns, rate(t->requests, t->seconds),
                 rate(t->body_bytes, t->seconds) / 1e6);
    text_latencies("latency", &t->passed);
    if (t->blocked.n > 0) {
        (void)printf("%" PRIu64 " of them were blocked, ", t->blocked.n);
        text_latencies("their latency", &t->blocked);
    }
    (void)printf("status 100: %" PRIu64 ", 200: %" PRIu64 ", 204: %" PRIu64 ", 206: %" PRIu64
                 "; connects %" PRIu64 ", handshakes %" PRIu64 " (%" PRIu64 " resumed)\n",
                 t->continues, t->status_200, t->status_204, t->status_206, t->connects,
                 t->handshakes, t->resumed);
    if (t->held > 0)
        (void)printf("%" PRIu64 " connections were held open\n", t->held);
    if (t->unfinished > 0)
        (void)printf("%" PRIu64 " answers were still under way at the end\n", t->unfinished);
    for (unsigned f = 0; f < FAULTS_N; f++)
        if (t->faults[f] > 0)
            (void)printf("FAULT %s: %" PRIu64 " (%s), first: %s\n", answer_fault_name(f),
                         t->faults[f], answer_fault_text(f), t->first[f]);
}

void tally_print(const struct tally *t, unsigned n_conns, bool json)
{
    if (json)
        print_json(t, n_conns);
    else
        print_text(t, n_conns);
    (void)fflush(stdout);
}
