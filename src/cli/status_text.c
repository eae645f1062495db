/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/status_text.h"

#include <string.h>

#include "base/plain_text.h"

static long long number(const json_t *o, const char *key)
{
    return (long long)ask_number(o, key);
}

static double milliseconds(const json_t *o, const char *key_us)
{
    return (double)ask_number(o, key_us) / 1000;
}

static bool is_true(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

static void add_size(struct buf *out, json_int_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t unit = 0;

    while (v >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        v /= 1024;
        unit++;
    }
    buf_fmt(out, unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
}

static unsigned percent(json_int_t part, json_int_t whole)
{
    return whole > 0 && part > 0 ? (unsigned)((double)part * 100 / (double)whole + 0.5) : 0;
}

/* ---- what is wrong, before everything else ---- */

static void warn_bypasses(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *s;

    json_array_foreach(json_object_get(root, "services"), i, s)
    {
        const json_t *b = json_object_get(s, "bypass");

        if (b)
            buf_fmt(out,
                    "SERVICE %s IS BYPASSED until %s by %s (%s): %lld messages passed without "
                    "inspection\n",
                    ask_text(s, "name"), ask_text(b, "expires"), ask_text(b, "by"),
                    ask_text(b, "reason"), number(b, "passed"));
    }
}

/* |what| ends: the certificate, or the CRL, of a tls entry. */
static void warn_end(const char *what, const json_t *end, const char *tls, struct buf *out)
{
    if (!is_true(end, "expires_soon"))
        return;
    if (number(end, "days_left") < 0)
        buf_fmt(out, "THE %s OF tls %s HAS EXPIRED on %s\n", what, tls, ask_text(end, "not_after"));
    else
        buf_fmt(out, "THE %s OF tls %s EXPIRES on %s, days left: %lld\n", what, tls,
                ask_text(end, "not_after"), number(end, "days_left"));
}

/* A listener that waits is why the gateway is not ready, and that was said. */
static void warn_certificates(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *t;

    json_array_foreach(json_object_get(root, "tls"), i, t)
    {
        if (is_true(t, "refused") && !is_true(t, "waits"))
            buf_fmt(out, "CERTIFICATE FILES OF tls %s ARE NOT IN USE: %s\n", ask_text(t, "name"),
                    ask_text(t, "why"));
        warn_end("CERTIFICATE", t, ask_text(t, "name"), out);
        warn_end("CRL", json_object_get(t, "crl"), ask_text(t, "name"), out);
    }
}

static void warn_files(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *f;

    json_array_foreach(json_object_get(root, "files"), i, f)
    {
        if (is_true(f, "refused"))
            buf_fmt(out, "CHANGED FILES (%s) ARE NOT IN USE: %s\n", ask_text(f, "name"),
                    ask_text(f, "why"));
    }
}

static void warn_store(const json_t *root, struct buf *out)
{
    const json_t *store = json_object_get(root, "store");

    if (store && !is_true(store, "up"))
        buf_fmt(out,
                "THE STORE CANNOT BE READ OR WRITTEN: full %lld times, failed %lld times; nothing "
                "about tenants, users and print jobs can be changed (tried every 30 s)\n",
                number(store, "full"), number(store, "failed"));
}

static void add_warnings(const json_t *root, struct buf *out)
{
    const json_t *clamd = json_object_get(json_object_get(root, "inspection"), "clamd");

    warn_certificates(root, out);
    warn_files(root, out);
    warn_store(root, out);
    warn_bypasses(root, out);
    if (clamd && !is_true(clamd, "up"))
        buf_fmt(out, "CLAMAV IS DOWN since %s: %s\n", ask_text(clamd, "since"),
                ask_text(clamd, "why"));
    if (is_true(clamd, "up") && is_true(clamd, "silent_limits"))
        buf_fmt(out,
                "CLAMAV CALLS CLEAN WHAT IS OVER ITS LIMITS, %s: set AlertExceedsMax yes in "
                "clamd.conf\n",
                is_true(clamd, "believed") ? "and is believed"
                                           : "so clean files are not-inspected");
    if (ask_number(root, "supervisor_pid") == 0)
        buf_text(out, "WITHOUT SUPERVISOR: start Sallyport again with the same configuration, it "
                      "takes over\n");
    if (is_true(json_object_get(root, "records"), "refusing"))
        buf_text(out, "RECORDS CANNOT BE WRITTEN: transactions are refused until they can\n");
    if (is_true(root, "draining"))
        buf_text(out, "DRAINING: nothing new is accepted\n");
}

/* ---- engines ---- */

static void add_clamd(const json_t *c, struct buf *out)
{
    if (!c)
        return;
    buf_fmt(out, "clamav    %-12s since %s: %s, by %s, looks into ",
            is_true(c, "up") ? "up" : "DOWN", ask_text(c, "since"), ask_text(c, "version"),
            ask_text(c, "transport"));
    add_size(out, ask_number(c, "max_scan"));
    buf_fmt(out, "; busy %lld, waiting %lld, files %lld, found %lld, errors %lld\n",
            number(c, "busy"), number(c, "queued"), number(c, "files"), number(c, "found"),
            number(c, "errors"));
}

static void add_cache(const json_t *c, struct buf *out)
{
    json_int_t known = ask_number(c, "hits") + ask_number(c, "waits");
    json_int_t asked = known + ask_number(c, "misses");

    buf_fmt(out,
            "cache     %u%% of %lld files known, %lld of them from a scan that was under "
            "way; %lld verdicts in ",
            percent(known, asked), (long long)asked, number(c, "waits"), number(c, "entries"));
    add_size(out, ask_number(c, "bytes"));
    buf_char(out, '\n');
}

static void add_engines(const json_t *root, struct buf *out)
{
    const json_t *inspection = json_object_get(root, "inspection");
    const json_t *w = json_object_get(inspection, "worker");

    buf_fmt(out, "engines   %s\n", ask_text(root, "engines"));
    buf_fmt(out, "workers   %-12lld busy %lld, waiting %lld, files %lld, lost %lld\n",
            number(w, "alive"), number(w, "busy"), number(w, "queued"), number(w, "files"),
            number(w, "lost"));
    add_clamd(json_object_get(inspection, "clamd"), out);
    add_cache(json_object_get(inspection, "cache"), out);
    if (*ask_text(inspection, "url"))
        buf_fmt(out, "lists     %s\n", ask_text(inspection, "url"));
}

/* ---- the rest ---- */

static void add_listeners(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *l;

    json_array_foreach(json_object_get(root, "listeners"), i, l)
    {
        buf_fmt(out, "listener  %-12s %-28s %s%s\n", ask_text(l, "name"), ask_text(l, "address"),
                is_true(l, "tls") ? "TLS" : "clear",
                is_true(l, "waits") ? ", CLOSED: waits for its certificate" : "");
    }
}

static void add_certificates(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *t;

    json_array_foreach(json_object_get(root, "tls"), i, t)
    {
        buf_fmt(out, "tls       %-12s %-28s ", ask_text(t, "name"), ask_text(t, "source"));
        if (is_true(t, "waits"))
            buf_fmt(out, "WAITS: %s\n", ask_text(t, "why"));
        else
            buf_fmt(out, "%s, until %s (%lld days), serial %s, reloads %lld\n",
                    ask_text(t, "subject"), ask_text(t, "not_after"), number(t, "days_left"),
                    ask_text(t, "serial"), number(t, "reloads"));
    }
}

static void add_list(const json_t *list, struct buf *out)
{
    size_t i;
    const json_t *v;

    json_array_foreach(list, i, v)
    {
        buf_fmt(out, "%s%s", i ? ", " : "", json_is_string(v) ? json_string_value(v) : "?");
    }
}

static void add_services(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *s;

    json_array_foreach(json_object_get(root, "services"), i, s)
    {
        const json_t *a = json_object_get(s, "actions"), *engines = json_object_get(s, "engines");

        buf_fmt(out, "service   %-12s %-28s passed %lld, blocked %lld, errors %lld; ISTag %s",
                ask_text(s, "name"), ask_text(s, "path"), number(a, "pass"), number(a, "block"),
                number(a, "error"), ask_text(s, "istag"));
        if (json_array_size(engines) > 0) {
            buf_text(out, "; engines ");
            add_list(engines, out);
        }
        if (ask_number(s, "exceptions"))
            buf_fmt(out, "; exceptions %lld", number(s, "exceptions"));
        buf_text(out, json_object_get(s, "bypass") ? "; BYPASSED\n" : "\n");
    }
}

/* What came of the last request to it. */
static void add_backend(const json_t *p, struct buf *out)
{
    buf_fmt(out, "; %s ", ask_text(p, "backend"));
    if (!json_is_boolean(json_object_get(p, "answers")))
        buf_text(out, "was not asked yet");
    else if (is_true(p, "answers"))
        buf_text(out, "answers");
    else if (*ask_text(p, "answered"))
        buf_fmt(out, "DOES NOT ANSWER, and did at %s last", ask_text(p, "answered"));
    else
        buf_text(out, "DOES NOT ANSWER");
}

static void add_printers(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *p;

    json_array_foreach(json_object_get(root, "printers"), i, p)
    {
        const json_t *a = json_object_get(p, "actions"), *engines = json_object_get(p, "engines");
        const json_t *require = json_object_get(p, "require");

        buf_fmt(out,
                "printer   %-12s %-28s jobs %lld; documents passed %lld, blocked %lld, errors "
                "%lld; requests %lld, refused %lld, failed %lld",
                ask_text(p, "name"), ask_text(p, "path"), number(p, "jobs"), number(a, "pass"),
                number(a, "block"), number(a, "error"), number(p, "requests"), number(p, "refused"),
                number(p, "errors"));
        buf_text(out, json_array_size(require) ? "; requires " : "; requires nothing");
        add_list(require, out);
        if (json_array_size(engines) > 0) {
            buf_text(out, "; engines ");
            add_list(engines, out);
        }
        add_backend(p, out);
        buf_char(out, '\n');
    }
}

static void add_loops(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *l;

    json_array_foreach(json_object_get(root, "loops"), i, l)
    {
        buf_fmt(
            out,
            "thread    %-12zu connections %lld, open transactions %lld, done %lld; print "
            "connections %lld, requests %lld; workers %lld (%lld busy), files waiting %lld, "
            "workers lost %lld; turns %lld/s, on average %.3f ms, longest %.3f ms\n",
            i, number(l, "connections"), number(l, "open_transactions"), number(l, "transactions"),
            number(l, "print_connections"), number(l, "print_requests"), number(l, "workers"),
            number(l, "workers_busy"), number(l, "files_waiting"),
            number(l, "workers_crashed") + number(l, "workers_killed"), number(l, "turns_per_s"),
            milliseconds(l, "turn_mean_us"), milliseconds(l, "turn_longest_us"));
    }
}

static void add_budgets(const json_t *root, struct buf *out)
{
    const char *name;
    json_t *b;

    json_object_foreach(json_object_get(root, "budgets"), name, b)
    {
        json_int_t max = ask_number(b, "max");
        bool bytes = strcmp(name, "scans") != 0;

        buf_fmt(out, "budget    %-12s used %u%% of ", name, percent(ask_number(b, "used"), max));
        if (bytes)
            add_size(out, max);
        else
            buf_fmt(out, "%lld", (long long)max);
        buf_fmt(out, ", peak %u%%, refused %lld\n", percent(ask_number(b, "peak"), max),
                number(b, "refused"));
    }
}

/* "09:12:03" of "2026-11-22T09:12:03.123Z", with the day in front of it. */
static struct span short_time(const char *iso)
{
    return span_sub(span_of(iso), 0, 19);
}

static void add_troubles(const json_t *root, struct buf *out)
{
    size_t i;
    const json_t *t;

    json_array_foreach(json_object_get(root, "troubles"), i, t)
    {
        const char *id = ask_text(t, "id");

        plain_text_line(out, "trouble   %lldx %s, %s: %s; last " SPAN_FMT "%s%s",
                        number(t, "count"), ask_text(t, "code"), ask_text(t, "area"),
                        ask_text(t, "text"), SPAN_ARG(short_time(ask_text(t, "last"))),
                        *id ? " id " : "", id);
    }
}

void status_text(const json_t *root, struct buf *out)
{
    const json_t *records = json_object_get(root, "records");

    buf_fmt(out, "sallyport %s, gateway pid %lld, generation %lld, since %s\n",
            ask_text(root, "version"), number(root, "pid"), number(root, "generation"),
            ask_text(root, "started"));
    if (is_true(root, "ready"))
        buf_text(out, "ready\n");
    else
        buf_fmt(out, "NOT READY: %s\n", ask_text(root, "not_ready_because"));
    add_warnings(root, out);
    buf_fmt(out, "sandbox   %s\n", ask_text(root, "sandbox"));
    add_engines(root, out);
    add_listeners(root, out);
    add_certificates(root, out);
    add_services(root, out);
    add_printers(root, out);
    add_loops(root, out);
    add_budgets(root, out);
    buf_fmt(out, "records   written %lld, lost %lld, write errors %lld", number(records, "written"),
            number(records, "lost"), number(records, "write_errors"));
    if (is_true(records, "chained"))
        buf_fmt(out, ", sealed in %lld batches", number(records, "seals"));
    buf_fmt(out, "%s\n",
            is_true(records, "refusing") ? "; REFUSING transactions until they can be written"
                                         : "");
    if (ask_number(root, "exceptions"))
        buf_fmt(out, "exceptions %lld in force: sallyport exception list\n",
                number(root, "exceptions"));
    add_troubles(root, out);
}

/* ---- one record ---- */

static void add_row(struct buf *out, const char *name, const char *value)
{
    if (*value)
        plain_text_line(out, "%-11s %s", name, value);
}

static void add_who(const json_t *r, struct buf *out)
{
    const json_t *p = json_object_get(r, "protection");

    add_row(out, "when", ask_text(r, "time"));
    add_row(out, "client", ask_text(r, "client"));
    add_row(out, "user's host", ask_text(r, "client_ip"));
    add_row(out, "user", ask_text(r, "user"));
    add_row(out, "listener", ask_text(r, "listener"));
    add_row(out, "protection", ask_text(p, "how"));
    add_row(out, "service", ask_text(r, "service"));
    add_row(out, "method", ask_text(r, "method"));
    add_row(out, "host", ask_text(r, "url_host"));
}

/* Of each: to whom, how, who was there, and why not. */
static void add_upstreams(const json_t *r, struct buf *out)
{
    size_t i;
    const json_t *u;

    json_array_foreach(json_object_get(r, "upstream"), i, u)
    {
        const char *how = ask_text(u, "how"), *peer = ask_text(u, "peer");
        const char *why =
            *ask_text(u, "error_text") ? ask_text(u, "error_text") : ask_text(u, "why");

        plain_text_line(out, "%-11s %s %s%s%s%s%s%s%s", "upstream", ask_text(u, "to"),
                        ask_text(u, "address"), *how ? ", protection " : "", how,
                        *peer ? ", peer " : "", peer, *why ? ": " : "", why);
    }
}

static void add_what(const json_t *r, struct buf *out)
{
    add_row(out, "file", ask_text(r, "file"));
    add_row(out, "type", ask_text(r, "type"));
    add_row(out, "looks like", ask_text(r, "sniffed"));
    if (ask_number(r, "body_len")) {
        buf_fmt(out, "%-11s ", "size");
        add_size(out, ask_number(r, "body_len"));
        buf_char(out, '\n');
    }
    add_row(out, "sha256", ask_text(r, "sha256"));
}

static void add_findings(const json_t *r, struct buf *out)
{
    size_t i;
    const json_t *f;

    json_array_foreach(json_object_get(r, "findings"), i, f)
    {
        plain_text_line(out, "%-11s %s: %s%s%s%s", "finding", ask_text(f, "engine"),
                        ask_text(f, "name"), *ask_text(f, "where") ? " in " : "",
                        ask_text(f, "where"), is_true(f, "note") ? " (did not block)" : "");
    }
}

/* That decided; and what else stood in the way. */
static void add_causes(const json_t *r, struct buf *out)
{
    struct buf others;
    size_t i;
    const json_t *c;

    add_row(out, "cause", ask_text(r, "cause"));
    buf_init(&others, 0);
    json_array_foreach(json_object_get(r, "causes"), i, c)
    {
        if (i > 0 && json_is_string(c))
            buf_fmt(&others, "%s%s", others.n ? ", " : "", json_string_value(c));
    }
    add_row(out, "also", buf_cstr(&others));
    buf_done(&others);
}

static void add_verdict(const json_t *r, struct buf *out)
{
    add_row(out, "verdict", ask_text(r, "verdict"));
    add_row(out, "action", ask_text(r, "action"));
    add_causes(r, out);
    add_findings(r, out);
    add_row(out, "rule", ask_text(r, "rule"));
    add_row(out, "exception", ask_text(r, "exception"));
    add_row(out, "bypass", ask_text(r, "bypass"));
    add_row(out, "error", ask_text(r, "error"));
    add_row(out, "why", ask_text(r, "error_text"));
}

static const char *advice(const char *cause)
{
    static const struct {
        const char *cause, *text;
    } rows[] = {
        {"engine-down",   "An engine was away: 'sallyport status' says which. Send the file again."},
        {"timeout",       "The scan took longer than the service's `deadline` allows."             },
        {"too-large",     "The file is larger than the service's `body-max`, or than an engine looks "
                      "into."                                                 },
        {"worker-crash",  "The file broke its worker: handle it with care, and report it."         },
        {"overload",      "A budget was used up ('sallyport status'). Send the file again."        },
        {"disk-full",     "The spool or the records have no room: make some. Send the file again." },
        {"not-inspected",
         "An engine could not look inside (encrypted, a part of a file, a limit)."                 },
        {"denied",        "A rule, a list or the types of the service forbid it."                  },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].cause, cause) == 0)
            return rows[i].text;
    return "";
}

/* A command line that can be copied as it is. */
static void add_command(const json_t *r, const struct ask *a, struct buf *out)
{
    buf_text(out, "\nTo let this file pass for a while, after you have made sure that it is "
                  "harmless:\n  sallyport exception add");
    if (*ask_text(r, "sha256"))
        buf_fmt(out, " --id %s", ask_text(r, "id"));
    else if (*ask_text(r, "url_host")) {
        buf_text(out, " --service ");
        ask_quote(ask_text(r, "service"), out);
        buf_text(out, " --host ");
        ask_quote(ask_text(r, "url_host"), out);
    }
    buf_text(out, " --for 8h --reason 'WHY'");
    ask_where(a, out);
    buf_char(out, '\n');
}

static void add_advice(const json_t *r, const struct ask *a, struct buf *out)
{
    const char *text = advice(ask_text(r, "cause"));

    if (strcmp(ask_text(r, "action"), "pass") == 0 || !*ask_text(r, "action"))
        return;
    if (*text)
        buf_fmt(out, "\n%s\n", text);
    if (*ask_text(r, "sha256") || *ask_text(r, "url_host"))
        add_command(r, a, out);
}

void status_record_text(const json_t *record, const struct ask *a, struct buf *out)
{
    add_row(out, "id", ask_text(record, "id"));
    add_who(record, out);
    add_upstreams(record, out);
    add_what(record, out);
    add_verdict(record, out);
    add_advice(record, a, out);
}
