/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/probe_int.h"

#define SKEW_MAX_S 300
#define TTL_MAX    UINT32_MAX

/* ---- ISTag ---- */

static void look_at_istag(struct probe *p, const struct probe_answer *a)
{
    struct span tag = probe_answer_field(a, SPAN("ISTag")), inner = tag;
    bool quoted = tag.n >= 2 && tag.p[0] == '"' && tag.p[tag.n - 1] == '"';

    (void)span_copy(tag, p->istag, sizeof p->istag);
    if (tag.n == 0) {
        probe_bad(p->report, PROBE_ISTAG_MISSING, "the answer to OPTIONS has no ISTag");
        probe_skip(p->report, PROBE_ISTAG_UNQUOTED, "there is no ISTag");
        probe_skip(p->report, PROBE_ISTAG_LONG, "there is no ISTag");
        return;
    }
    if (quoted)
        inner = span_sub(tag, 1, tag.n - 2);
    probe_ok(p->report, PROBE_ISTAG_MISSING, "ISTag: " SPAN_FMT, SPAN_ARG(tag));
    if (quoted)
        probe_ok(p->report, PROBE_ISTAG_UNQUOTED, "the ISTag is quoted");
    else
        probe_bad(p->report, PROBE_ISTAG_UNQUOTED, "the ISTag has no quotes: " SPAN_FMT,
                  SPAN_ARG(tag));
    if (inner.n <= ICAP_ISTAG_MAX)
        probe_ok(p->report, PROBE_ISTAG_LONG, "the ISTag has %zu bytes", inner.n);
    else
        probe_bad(p->report, PROBE_ISTAG_LONG, "the ISTag has %zu bytes; %d are allowed", inner.n,
                  ICAP_ISTAG_MAX);
}

/* ---- Methods ---- */

static void look_at_methods(struct probe *p, const struct probe_answer *a)
{
    struct span value = probe_answer_field(a, SPAN("Methods")), list = value, name;

    if (value.n == 0) {
        probe_bad(p->report, PROBE_METHODS_MISSING, "the answer to OPTIONS has no Methods");
        probe_skip(p->report, PROBE_METHODS_ODD, "there is no Methods");
        return;
    }
    probe_ok(p->report, PROBE_METHODS_MISSING, "Methods: " SPAN_FMT, SPAN_ARG(value));
    while (span_list_next(&list, &name)) {
        bool known = false;

        for (unsigned m = ICAP_REQMOD; m < ICAP_METHODS; m++)
            if (span_eq(name, span_of(icap_method_name((enum icap_method)m)))) {
                p->methods |= 1u << m;
                known = true;
            }
        if (!known && !span_eq(name, SPAN("OPTIONS")))
            probe_bad(p->report, PROBE_METHODS_ODD, "Methods names '" SPAN_FMT "'", SPAN_ARG(name));
    }
    if (p->methods == 0)
        probe_bad(p->report, PROBE_METHODS_ODD, "Methods names neither REQMOD nor RESPMOD");
    else if ((p->methods & 1u << ICAP_REQMOD) && (p->methods & 1u << ICAP_RESPMOD))
        probe_ok(p->report, PROBE_METHODS_ODD,
                 "both methods at one path, which RFC 3507 4.10.2 forbids and everybody does");
    else
        probe_ok(p->report, PROBE_METHODS_ODD, "one method, as RFC 3507 4.10.2 wants it");
}

/* ---- time ---- */

static bool parse_date(struct span value, int64_t *ret)
{
    struct tm tm = {0};
    char text[64];
    const char *end;

    (void)span_copy(value, text, sizeof text);
    end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (!end || *end)
        return false;
    *ret = (int64_t)timegm(&tm);
    return true;
}

static void look_at_date(struct probe *p, const struct probe_answer *a)
{
    struct span value = probe_answer_field(a, SPAN("Date"));
    int64_t theirs, skew;

    if (value.n == 0) {
        probe_bad(p->report, PROBE_DATE_MISSING, "the answer to OPTIONS has no Date");
        probe_skip(p->report, PROBE_DATE_SKEW, "there is no Date");
        return;
    }
    probe_ok(p->report, PROBE_DATE_MISSING, "Date: " SPAN_FMT, SPAN_ARG(value));
    if (!parse_date(value, &theirs)) {
        probe_bad(p->report, PROBE_DATE_SKEW, "Date is none of HTTP's: " SPAN_FMT, SPAN_ARG(value));
        return;
    }
    skew = theirs - (int64_t)(clock_wall_ms(&clock_system) / 1000);
    if (skew > SKEW_MAX_S || skew < -SKEW_MAX_S)
        probe_bad(p->report, PROBE_DATE_SKEW, "the server's clock is %lld seconds %s ours",
                  (long long)llabs((long long)skew), skew > 0 ? "ahead of" : "behind");
    else
        probe_ok(p->report, PROBE_DATE_SKEW, "the server's clock agrees with ours");
}

static void look_at_ttl(struct probe *p, const struct probe_answer *a)
{
    struct span value = probe_answer_field(a, SPAN("Options-TTL"));
    uint64_t ttl;

    if (!value.p) {
        probe_bad(p->report, PROBE_OPTIONS_TTL_MISSING, "the answer to OPTIONS has no Options-TTL");
        probe_skip(p->report, PROBE_OPTIONS_TTL_ODD, "there is no Options-TTL");
        return;
    }
    probe_ok(p->report, PROBE_OPTIONS_TTL_MISSING, "Options-TTL: " SPAN_FMT, SPAN_ARG(value));
    if (span_u64(value, TTL_MAX, &ttl) != OK || ttl == 0)
        probe_bad(p->report, PROBE_OPTIONS_TTL_ODD, "Options-TTL is '" SPAN_FMT "'",
                  SPAN_ARG(value));
    else
        probe_ok(p->report, PROBE_OPTIONS_TTL_ODD, "Options-TTL is a number of seconds");
}

/* ---- what it offers ---- */

static void look_at_allow(struct probe *p, const struct probe_answer *a)
{
    struct span list = probe_answer_field(a, SPAN("Allow")), item;

    while (span_list_next(&list, &item))
        if (span_eq(item, SPAN("204"))) {
            probe_ok(p->report, PROBE_ALLOW_204_MISSING, "it can answer 204 (unchanged)");
            return;
        }
    probe_bad(p->report, PROBE_ALLOW_204_MISSING, "the answer to OPTIONS has no Allow: 204");
}

static void look_at_preview(struct probe *p, const struct probe_answer *a)
{
    struct span value = probe_answer_field(a, SPAN("Preview"));

    if (!value.p) {
        probe_ok(p->report, PROBE_PREVIEW_ODD, "it asks for no previews");
        return;
    }
    p->has_preview = span_u64(value, UINT32_MAX, &p->preview) == OK;
    if (p->has_preview)
        probe_ok(p->report, PROBE_PREVIEW_ODD, "it asks for previews of %llu bytes",
                 (unsigned long long)p->preview);
    else
        probe_bad(p->report, PROBE_PREVIEW_ODD, "Preview is '" SPAN_FMT "'", SPAN_ARG(value));
}

static void look_at_transfer(struct probe *p, const struct probe_answer *a)
{
    struct span name, value, item;
    size_t at = 0;
    unsigned fields = 0, stars = 0;

    while (probe_answer_next(a, SPAN("Transfer-"), &at, &name, &value)) {
        if (!span_ieq(name, SPAN("Transfer-Preview")) && !span_ieq(name, SPAN("Transfer-Ignore")) &&
            !span_ieq(name, SPAN("Transfer-Complete")))
            continue;
        fields++;
        while (span_list_next(&value, &item))
            stars += span_eq(item, SPAN("*"));
    }
    if (fields == 0 || stars == 1)
        probe_ok(p->report, PROBE_TRANSFER_STAR,
                 fields ? "exactly one Transfer-* is *" : "there is no Transfer-*");
    else
        probe_bad(p->report, PROBE_TRANSFER_STAR, "%u of the Transfer-* fields have *", stars);
}

static void look_at_connections(struct probe *p, const struct probe_answer *a)
{
    struct span value = probe_answer_field(a, SPAN("Max-Connections"));
    uint64_t n = 1;

    if (!value.p)
        probe_ok(p->report, PROBE_MAX_CONNECTIONS_ZERO, "there is no Max-Connections");
    else if (span_u64(value, UINT32_MAX, &n) != OK || n == 0)
        probe_bad(p->report, PROBE_MAX_CONNECTIONS_ZERO, "Max-Connections is '" SPAN_FMT "'",
                  SPAN_ARG(value));
    else
        probe_ok(p->report, PROBE_MAX_CONNECTIONS_ZERO, "Max-Connections: %llu",
                 (unsigned long long)n);
}

static void look_at_encapsulated(struct probe *p, const struct probe_answer *a)
{
    struct span value = probe_answer_field(a, SPAN("Encapsulated"));

    if (!value.p)
        probe_bad(p->report, PROBE_OPTIONS_ENCAPSULATED,
                  "the answer to OPTIONS has no Encapsulated");
    else if (probe_answer_has(a, PROBE_NOTE_OFFSET) || probe_answer_has(a, PROBE_NOTE_ENCAPSULATED))
        probe_bad(p->report, PROBE_OPTIONS_ENCAPSULATED, "Encapsulated is '" SPAN_FMT "'",
                  SPAN_ARG(value));
    else
        probe_ok(p->report, PROBE_OPTIONS_ENCAPSULATED, "Encapsulated: " SPAN_FMT, SPAN_ARG(value));
}

static void look_at_options(struct probe *p, const struct probe_answer *a)
{
    struct span service = probe_answer_field(a, SPAN("Service"));
    struct span server = probe_answer_field(a, SPAN("Server"));

    if (service.n)
        probe_say(p->report, PROBE_SECTION_OPTIONS, "Service: " SPAN_FMT, SPAN_ARG(service));
    if (server.n)
        probe_say(p->report, PROBE_SECTION_OPTIONS, "Server: " SPAN_FMT, SPAN_ARG(server));
    probe_ok(p->report, PROBE_OPTIONS_STATUS, "status 200");
    look_at_istag(p, a);
    look_at_methods(p, a);
    look_at_encapsulated(p, a);
    look_at_date(p, a);
    look_at_ttl(p, a);
    look_at_allow(p, a);
    look_at_preview(p, a);
    look_at_transfer(p, a);
    look_at_connections(p, a);
}

/* Does it say the same when it is asked again? */
static void ask_again(struct probe *p, struct span request)
{
    struct probe_talk k;
    struct probe_answer a;
    struct span tag;

    if (probe_fresh_exchange(p, &k, "the second OPTIONS", request, &a) == OK && p->istag[0]) {
        tag = probe_answer_field(&a, SPAN("ISTag"));
        if (span_eq(span_sub(tag, 0, sizeof p->istag - 1), span_of(p->istag)))
            probe_ok(p->report, PROBE_ISTAG_UNSTABLE, "OPTIONS has the same ISTag each time");
        else
            probe_bad(p->report, PROBE_ISTAG_UNSTABLE,
                      "OPTIONS twice, and the ISTag is %s, then " SPAN_FMT, p->istag,
                      SPAN_ARG(tag));
    }
    probe_answer_done(&a);
    probe_talk_close(&k);
}

bool probe_options(struct probe *p)
{
    struct probe_talk k;
    struct probe_answer a;
    struct buf request;
    enum err e;

    buf_init(&request, 0);
    probe_add_head(p, &request, "OPTIONS", p->url, "ICAP/1.0", "");
    e = probe_fresh_exchange(p, &k, "OPTIONS", buf_span(&request), &a);
    if (e != OK)
        probe_bad(p->report, PROBE_OPTIONS_ANSWER, "no answer to OPTIONS: %s", k.why);
    else
        probe_ok(p->report, PROBE_OPTIONS_ANSWER, "OPTIONS is answered");
    if (e == OK && a.status != 200)
        probe_bad(p->report, PROBE_OPTIONS_STATUS, "OPTIONS is answered with status %u", a.status);
    else if (e == OK)
        look_at_options(p, &a);
    probe_answer_done(&a);
    probe_talk_close(&k);
    if (p->methods)
        ask_again(p, buf_span(&request));
    probe_request_done(&request);
    return e == OK;
}
