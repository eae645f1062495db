/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/probe_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/plain_text.h"

struct check_row {
    const char *id;
    enum probe_section section;
    enum probe_severity severity;
    const char *where, *follows;
};

#define CHECK(id, name, section, severity, where, follows) \
    [PROBE_##id] = {name, PROBE_SECTION_##section, PROBE_##severity, where, follows},
static const struct check_row rows[PROBE_CHECKS] = {
#include "cli/probe_checks.def"
#include "cli/probe_ipp_checks.def"
};
#undef CHECK

#define ICAP (1u << PROBE_ICAP)
#define IPP  (1u << PROBE_IPP)
static const struct {
    const char *name, *title;
    unsigned protocols;
} sections[PROBE_SECTIONS] = {
    [PROBE_SECTION_CONNECTION] = {"connection", "Connection",                       ICAP | IPP},
    [PROBE_SECTION_TLS] = {"tls",        "TLS",                              ICAP | IPP},
    [PROBE_SECTION_OPTIONS] = {"options",    "OPTIONS",                          ICAP      },
    [PROBE_SECTION_ERRORS] = {"errors",     "Errors",                           ICAP      },
    [PROBE_SECTION_ADAPT] = {"adaptation", "REQMOD and RESPMOD",               ICAP      },
    [PROBE_SECTION_KEEP] = {"keep-alive", "Connections that are kept",        ICAP      },
    [PROBE_SECTION_ANSWERS] = {"answers",    "The form of all answers",          ICAP      },
    [PROBE_SECTION_UPGRADE] = {"upgrade",    "TLS by upgrade",                   IPP       },
    [PROBE_SECTION_IMPLICIT] = {"implicit",   "TLS from the first byte",          IPP       },
    [PROBE_SECTION_CLEAR] = {"clear-text", "Clear text",                       IPP       },
    [PROBE_SECTION_LOGIN] = {"login",      "Who asks",                         IPP       },
    [PROBE_SECTION_PRINTER] = {"printer",    "What the printer says of itself",  IPP       },
    [PROBE_SECTION_LISTS] = {"lists",      "What a list in the URI would get", IPP       },
};

static const char *const severities[] = {
    [PROBE_SKIPPED] = "skipped", [PROBE_OK] = "ok", [PROBE_WARN] = "warn", [PROBE_FAIL] = "fail"};

struct probe_result {
    bool seen;
    enum probe_severity severity;
    char *text;
};

struct probe_report {
    enum probe_protocol protocol;
    const char *url;
    bool json;
    struct probe_result results[PROBE_CHECKS];
    struct buf notes[PROBE_SECTIONS]; /* lines, each closed by LF */
};

/* Checks of the shared sections that make sense for ICAP alone: a port of printers may well take
 * clear text, and who prints does not come so often that tickets would matter. */
static bool is_of_icap(enum probe_check c)
{
    return c == PROBE_TLS_RESUMPTION || c == PROBE_TLS_CLEAR_TEXT;
}

static bool is_asked(const struct probe_report *r, enum probe_check c)
{
    return sections[rows[c].section].protocols & 1u << r->protocol &&
           (r->protocol == PROBE_ICAP || !is_of_icap(c));
}

struct probe_report *probe_report_new(enum probe_protocol protocol, const char *url, bool json)
{
    struct probe_report *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->protocol = protocol;
    r->url = url;
    r->json = json;
    for (unsigned i = 0; i < PROBE_SECTIONS; i++)
        buf_init(&r->notes[i], 1 << 20);
    return r;
}

void probe_report_free(struct probe_report *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < PROBE_CHECKS; i++)
        free(r->results[i].text);
    for (unsigned i = 0; i < PROBE_SECTIONS; i++)
        buf_done(&r->notes[i]);
    free(r);
}

/* ---- filling ---- */

/* What a server says may hold anything: nothing of it that a terminal would obey is kept. */
PRINTF(4, 0)
static void result(struct probe_report *r, enum probe_check c, enum probe_severity s,
                   const char *fmt, va_list ap)
{
    struct probe_result *res = &r->results[c];
    struct buf text, plain;

    if (res->seen && res->severity >= s)
        return;
    buf_init(&text, 4096);
    buf_init(&plain, 4096);
    buf_vfmt(&text, fmt, ap);
    plain_text_add(&plain, buf_span(&text));
    free(res->text);
    res->text = span_dup(buf_span(&plain));
    res->severity = s;
    res->seen = true;
    buf_done(&text);
    buf_done(&plain);
}

void probe_ok(struct probe_report *r, enum probe_check c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    result(r, c, PROBE_OK, fmt, ap);
    va_end(ap);
}

void probe_bad(struct probe_report *r, enum probe_check c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    result(r, c, rows[c].severity, fmt, ap);
    va_end(ap);
}

void probe_skip(struct probe_report *r, enum probe_check c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    result(r, c, PROBE_SKIPPED, fmt, ap);
    va_end(ap);
}

void probe_excuse(struct probe_report *r, enum probe_check c)
{
    if (r->results[c].severity == PROBE_FAIL)
        r->results[c].severity = PROBE_WARN;
}

void probe_say(struct probe_report *r, enum probe_section s, const char *fmt, ...)
{
    struct buf text;
    va_list ap;

    buf_init(&text, 0);
    va_start(ap, fmt);
    buf_vfmt(&text, fmt, ap);
    va_end(ap);
    plain_text_line(&r->notes[s], "%s", buf_cstr(&text));
    buf_done(&text);
}

/* ---- asking ---- */

enum probe_severity probe_severity_of(const struct probe_report *r, enum probe_check c)
{
    return r->results[c].severity;
}

unsigned probe_count(const struct probe_report *r, enum probe_severity s)
{
    unsigned n = 0;

    for (unsigned i = 0; i < PROBE_CHECKS; i++)
        n += is_asked(r, (enum probe_check)i) && r->results[i].severity == s;
    return n;
}

bool probe_section_failed(const struct probe_report *r, enum probe_section s)
{
    for (unsigned i = 0; i < PROBE_CHECKS; i++)
        if (rows[i].section == s && r->results[i].severity == PROBE_FAIL)
            return true;
    return false;
}

const char *probe_check_id(enum probe_check c)
{
    return rows[c].id;
}

/* ---- text ---- */

static void print_check(const struct check_row *row, const struct probe_result *res)
{
    bool bad = res->severity == PROBE_WARN || res->severity == PROBE_FAIL;

    (void)printf("  %-7s  ", res->severity == PROBE_FAIL ? "FAIL" : severities[res->severity]);
    if (bad)
        (void)printf("%s: ", row->id);
    (void)puts(res->text ? res->text : "");
    if (bad)
        (void)printf("           %s%s%s%s\n", row->follows, row->where[0] ? " (" : "", row->where,
                     row->where[0] ? ")" : "");
}

/* Several checks that were skipped for one reason are one line. */
static bool says_the_same(const struct probe_result *a, const struct probe_result *b)
{
    return b && a->severity == PROBE_SKIPPED && b->severity == PROBE_SKIPPED &&
           span_eq(span_of(a->text), span_of(b->text));
}

void probe_report_section(const struct probe_report *r, enum probe_section s)
{
    struct span notes = buf_span(&r->notes[s]);
    const struct probe_result *last = NULL;

    if (r->json)
        return;
    (void)printf("%s\n", sections[s].title);
    while (notes.n > 0) {
        struct span line = span_cut(&notes, '\n');

        (void)printf("           " SPAN_FMT "\n", SPAN_ARG(line));
    }
    for (unsigned i = 0; i < PROBE_CHECKS; i++) {
        const struct probe_result *res = &r->results[i];

        if (rows[i].section != s || !res->seen || says_the_same(res, last))
            continue;
        print_check(&rows[i], res);
        last = res;
    }
    (void)fflush(stdout);
}

static void print_totals(const struct probe_report *r)
{
    (void)printf("%s: %u failed, %u warned, %u fine, %u skipped\n", r->url,
                 probe_count(r, PROBE_FAIL), probe_count(r, PROBE_WARN), probe_count(r, PROBE_OK),
                 probe_count(r, PROBE_SKIPPED));
}

/* ---- JSON ---- */

static void add_check(struct json *j, const struct check_row *row, const struct probe_result *res)
{
    json_open(j, NULL, '{');
    json_text(j, "id", row->id);
    json_text(j, "section", sections[row->section].name);
    json_text(j, "severity", severities[res->severity]);
    json_text(j, "text", res->seen && res->text ? res->text : "the probe did not come to it");
    if (res->severity == PROBE_WARN || res->severity == PROBE_FAIL)
        json_text(j, "consequence", row->follows);
    if (row->where[0])
        json_text(j, "rfc", row->where);
    json_close(j, '}');
}

static void add_notes(struct json *j, const struct probe_report *r)
{
    json_open(j, "notes", '[');
    for (unsigned s = 0; s < PROBE_SECTIONS; s++) {
        struct span notes = buf_span(&r->notes[s]);

        while (notes.n > 0)
            json_span(j, NULL, span_cut(&notes, '\n'));
    }
    json_close(j, ']');
}

static void print_json(const struct probe_report *r)
{
    struct buf out;
    struct json j = json_to(&out);

    buf_init(&out, 0);
    json_open(&j, NULL, '{');
    json_text(&j, "url", r->url);
    json_u64(&j, "failed", probe_count(r, PROBE_FAIL));
    json_u64(&j, "warned", probe_count(r, PROBE_WARN));
    json_u64(&j, "fine", probe_count(r, PROBE_OK));
    json_u64(&j, "skipped", probe_count(r, PROBE_SKIPPED));
    json_open(&j, "checks", '[');
    for (unsigned i = 0; i < PROBE_CHECKS; i++)
        if (is_asked(r, (enum probe_check)i))
            add_check(&j, &rows[i], &r->results[i]);
    json_close(&j, ']');
    add_notes(&j, r);
    json_close(&j, '}');
    (void)puts(buf_cstr(&out));
    buf_done(&out);
}

void probe_report_end(const struct probe_report *r)
{
    if (r->json)
        print_json(r);
    else
        print_totals(r);
    (void)fflush(stdout);
}
