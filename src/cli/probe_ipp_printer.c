/* SPDX-License-Identifier: Apache-2.0 */
/* probe_ipp_printer.c - what a printer says of itself: what it does, where it wants to be found and
 * how that is protected, and what it shows of the net behind it. */
#include "cli/probe_ipp_int.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "ipp/ipp_names.h"
#include "net/address.h"

#define URIS_MAX    16u
#define LEAKS_MAX   4u /* of which it is told */
#define FORMATS_MAX 12u

/* ---- what it does ---- */

static void look_at_versions(struct probe_ipp *p, struct span a)
{
    struct probe_report *r = p->base.report;
    struct buf text;

    buf_init(&text, 512);
    struct ipp_attribute at;
    struct ipp_value v;
    struct span s;

    if (ipp_attribute_find(a, SPAN("ipp-versions-supported"), &at) == OK)
        for (struct span vs = at.values; ipp_value_next(&vs, &v);)
            if (ipp_value_text(&v, &s))
                buf_fmt(&text, "%s" SPAN_FMT, text.n ? ", " : "", SPAN_ARG(s));
    if (ipp_client_has(a, "ipp-versions-supported", SPAN("2.0")))
        probe_ok(r, PROBE_IPP_VERSIONS, "IPP versions: %s", buf_cstr(&text));
    else
        probe_bad(r, PROBE_IPP_VERSIONS, "IPP/2.0 is not among the versions: %s",
                  text.n ? buf_cstr(&text) : "it says nothing of them");
    buf_done(&text);
}

static bool has_operation(struct span a, int32_t code)
{
    struct ipp_attribute at;
    struct ipp_value v;
    int32_t n;

    if (ipp_attribute_find(a, SPAN("operations-supported"), &at) != OK)
        return false;
    for (struct span vs = at.values; ipp_value_next(&vs, &v);)
        if (ipp_value_integer(&v, &n) && n == code)
            return true;
    return false;
}

/* Names of those of |codes| that are there (or are not), with commas between. */
static void list_operations(struct span a, const uint16_t *codes, size_t n, bool there,
                            struct buf *out)
{
    for (size_t i = 0; i < n; i++)
        if (has_operation(a, codes[i]) == there)
            buf_fmt(out, "%s%s", out->n ? ", " : "", ipp_operation_find(codes[i])->name);
}

static void look_at_operations(struct probe_ipp *p, struct span a)
{
    /* RFC 8011 5.4.15. */
    static const uint16_t required[] = {
        IPP_OPERATION_PRINT_JOB,  IPP_OPERATION_VALIDATE_JOB,
        IPP_OPERATION_CANCEL_JOB, IPP_OPERATION_GET_JOB_ATTRIBUTES,
        IPP_OPERATION_GET_JOBS,   IPP_OPERATION_GET_PRINTER_ATTRIBUTES,
    };
    static const uint16_t dangerous[] = {
        IPP_OPERATION_PRINT_URI,
        IPP_OPERATION_SEND_URI,
        IPP_OPERATION_CUPS_ADD_MODIFY_PRINTER,
        IPP_OPERATION_CUPS_GET_DOCUMENT,
    };
    struct probe_report *r = p->base.report;
    struct buf missing, danger;

    buf_init(&missing, 512);
    buf_init(&danger, 512);
    list_operations(a, required, ARRAY_LEN(required), false, &missing);
    list_operations(a, dangerous, ARRAY_LEN(dangerous), true, &danger);
    if (missing.n)
        probe_bad(r, PROBE_IPP_OPERATIONS, "operations-supported lacks %s", buf_cstr(&missing));
    else
        probe_ok(r, PROBE_IPP_OPERATIONS, "every operation that is required is there");
    if (danger.n)
        probe_bad(r, PROBE_IPP_DANGEROUS, "it offers %s", buf_cstr(&danger));
    else
        probe_ok(r, PROBE_IPP_DANGEROUS, "nothing that is dangerous is offered");
    buf_done(&missing);
    buf_done(&danger);
}

static void look_at_formats(struct probe_ipp *p, struct span a)
{
    struct ipp_attribute at;
    struct ipp_value v;
    struct span s;
    struct buf text;
    unsigned n = 0;

    buf_init(&text, 0);
    if (ipp_attribute_find(a, SPAN("document-format-supported"), &at) == OK)
        for (struct span vs = at.values; ipp_value_next(&vs, &v);)
            if (ipp_value_text(&v, &s) && n++ < FORMATS_MAX)
                buf_fmt(&text, "%s" SPAN_FMT, text.n ? ", " : "", SPAN_ARG(s));
    if (n > FORMATS_MAX)
        buf_fmt(&text, " and %u more", n - FORMATS_MAX);
    if (n)
        probe_ok(p->base.report, PROBE_IPP_FORMATS, "formats: %s", buf_cstr(&text));
    else
        probe_bad(p->base.report, PROBE_IPP_FORMATS, "it names no formats");
    buf_done(&text);
}

/* ---- where it wants to be found ---- */

static size_t texts_of(struct span a, const char *name, struct span v[URIS_MAX])
{
    struct ipp_attribute at;
    struct ipp_value value;
    size_t n = 0;

    if (ipp_attribute_find(a, span_of(name), &at) != OK)
        return 0;
    for (struct span vs = at.values; n < URIS_MAX && ipp_value_next(&vs, &value);)
        if (ipp_value_text(&value, &v[n]))
            n++;
    return n;
}

/* The authority's host, without brackets; SPAN_NONE where there is no authority. */
static struct span host_of(struct span uri)
{
    size_t at = 0;
    struct span rest, host;

    while (at + 2 < uri.n && !span_starts(span_sub(uri, at, 3), SPAN("://")))
        at++;
    if (at + 2 >= uri.n)
        return SPAN_NONE;
    rest = span_sub(uri, at + 3, SIZE_MAX);
    rest = span_sub(rest, 0, span_find(rest, '/'));
    if (span_find(rest, '@') < rest.n)
        rest = span_sub(rest, span_find(rest, '@') + 1, SIZE_MAX);
    if (rest.n && rest.p[0] == '[')
        return span_sub(rest, 1, span_find(rest, ']') - 1);
    host = span_cut(&rest, ':');
    return host;
}

static bool is_loopback(struct span host)
{
    return span_ieq(host, SPAN("localhost")) || span_starts(host, SPAN("127.")) ||
           span_eq(host, SPAN("::1"));
}

/* The same host as far as the URL tells. */
static bool is_same_host(const struct probe_ipp *p, struct span host)
{
    struct span ours = span_of(p->base.target.host);

    return span_ieq(host, ours) || (is_loopback(host) && is_loopback(ours));
}

static void say_uris(struct probe_ipp *p, const struct span *uri, const struct span *security,
                     const struct span *login, size_t n)
{
    for (size_t i = 0; i < n; i++)
        probe_say(p->base.report, PROBE_SECTION_PRINTER,
                  "offers " SPAN_FMT " (security " SPAN_FMT ", authentication " SPAN_FMT ")",
                  SPAN_ARG(uri[i]), SPAN_ARG(security[i]), SPAN_ARG(login[i]));
}

/* What |security| says of |uri|, held against what was seen; NULL: nothing against it. */
static const char *contradiction(const struct probe_ipp *p, struct span uri, struct span security)
{
    bool ipps = span_istarts(uri, SPAN("ipps:")) || span_istarts(uri, SPAN("https:"));
    bool tls = span_eq(security, SPAN("tls"));

    if (!tls && !span_eq(security, SPAN("none")))
        return "a uri-security-supported that is neither tls nor none";
    if (ipps && !tls)
        return "an ipps URI with security none";
    if (tls && !ipps && !p->only_implicit && !p->upgrades && is_same_host(p, host_of(uri)))
        return "an ipp URI with security tls, where no TLS is by upgrade";
    return NULL;
}

static void look_at_security(struct probe_ipp *p, const struct span *uri,
                             const struct span *security, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *wrong = contradiction(p, uri[i], security[i]);

        if (wrong)
            probe_bad(p->base.report, PROBE_IPP_URI_SECURITY, "%s: " SPAN_FMT, wrong,
                      SPAN_ARG(uri[i]));
    }
    probe_ok(p->base.report, PROBE_IPP_URI_SECURITY, "what is said of its URIs fits");
}

static void look_at_uris(struct probe_ipp *p, struct span a)
{
    struct span uri[URIS_MAX], security[URIS_MAX], login[URIS_MAX];
    size_t n = texts_of(a, "printer-uri-supported", uri);
    size_t n_security = texts_of(a, "uri-security-supported", security);
    size_t n_login = texts_of(a, "uri-authentication-supported", login);
    struct probe_report *r = p->base.report;

    if (n == 0 || n != n_security || n != n_login) {
        probe_bad(r, PROBE_IPP_URI_SETS,
                  "printer-uri-supported has %zu values, uri-security-supported %zu, "
                  "uri-authentication-supported %zu",
                  n, n_security, n_login);
        return;
    }
    probe_ok(r, PROBE_IPP_URI_SETS, "its URIs, their security and authentication are %zu each", n);
    say_uris(p, uri, security, login, n);
    look_at_security(p, uri, security, n);
    for (size_t i = 0; i < n; i++)
        if (!is_same_host(p, host_of(uri[i])))
            probe_bad(r, PROBE_IPP_URI_HOSTS, "printer-uri-supported names another host: " SPAN_FMT,
                      SPAN_ARG(uri[i]));
    probe_ok(r, PROBE_IPP_URI_HOSTS, "printer-uri-supported names the host of the URL");
}

/* ---- what it shows ---- */

/* Of the net behind: loopback, and addresses that are private (RFC 1918, RFC 4193) or of one link.
 */
static bool is_inner(struct span host)
{
    static const char *const nets[] = {"10.0.0.0/8",     "172.16.0.0/12", "192.168.0.0/16",
                                       "169.254.0.0/16", "fc00::/7",      "fe80::/10"};
    struct address address;
    struct cidr net;
    char text[80];

    if (is_loopback(host))
        return true;
    (void)snprintf(text, sizeof text, span_find(host, ':') < host.n ? "[%.*s]:0" : "%.*s:0",
                   SPAN_ARG(host));
    if (address_parse(span_of(text), &address) != OK)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(nets); i++)
        if (cidr_parse(span_of(nets[i]), &net) == OK && cidr_contains(&net, &address))
            return true;
    return false;
}

static void look_at_uri(struct probe_ipp *p, struct span name, struct span uri, unsigned *seen)
{
    struct span host = host_of(uri);

    if (host.n == 0 || is_same_host(p, host) || !is_inner(host))
        return;
    if ((*seen)++ < LEAKS_MAX)
        probe_bad(p->base.report, PROBE_IPP_INNER_URIS, SPAN_FMT ": " SPAN_FMT, SPAN_ARG(name),
                  SPAN_ARG(uri));
}

/* Collections are flat here: their records stand between their tags. */
static void look_at_all_uris(struct probe_ipp *p, struct span attributes)
{
    struct span name = SPAN_NONE;
    struct ipp_record record;
    unsigned seen = 0;

    for (struct span rest = attributes; ipp_record_next(&rest, &record);) {
        if (record.name.n)
            name = record.name;
        if (record.tag == IPP_VALUE_URI && !span_eq(name, SPAN("device-uri")) &&
            !span_eq(name, SPAN("printer-uri-supported")))
            look_at_uri(p, name, record.value, &seen);
    }
    probe_ok(p->base.report, PROBE_IPP_INNER_URIS, "no URI leads into the net behind");
}

static void look_at_device(struct probe_ipp *p, struct span a)
{
    struct span uri = ipp_client_text(a, "device-uri");

    /* Its scheme alone: there may be a password in it. */
    if (uri.p)
        probe_bad(p->base.report, PROBE_IPP_DEVICE_URI, "device-uri is shown (" SPAN_FMT "://...)",
                  SPAN_ARG(span_sub(uri, 0, span_find(uri, ':'))));
    else
        probe_ok(p->base.report, PROBE_IPP_DEVICE_URI, "device-uri is not shown");
}

/* ---- jobs ---- */

static bool is_protected(struct span uri)
{
    struct ipp_uri u;

    return ipp_uri_parse(uri, &u, NULL) == OK && (u.secure || u.auth & IPP_AUTH_CHANNEL);
}

/* Returns how many jobs were shown. */
static unsigned look_at_some_jobs(struct probe_ipp *p, const char *which)
{
    static const char *const wanted[] = {"job-id", "job-uri"};
    const struct ipp_client_message m = {.operation = IPP_OPERATION_GET_JOBS,
                                         .user = "sallyport-probe",
                                         .which = which,
                                         .limit = 5,
                                         .wanted = wanted,
                                         .n_wanted = ARRAY_LEN(wanted)};
    struct ipp_group g;
    unsigned n = 0;

    if (probe_ipp_ask_tls(p, &m) != OK || !p->tls.has_message)
        return 0;
    for (struct span gs = p->tls.message.groups; ipp_group_next(&gs, &g);) {
        struct span uri =
            g.tag == IPP_GROUP_JOB ? ipp_client_text(g.attributes, "job-uri") : SPAN_NONE;

        n += uri.p != NULL;
        if (uri.p && !is_protected(uri))
            probe_bad(p->base.report, PROBE_IPP_JOB_URIS, "within TLS a job is called " SPAN_FMT,
                      SPAN_ARG(uri));
    }
    return n;
}

static void look_at_jobs(struct probe_ipp *p)
{
    unsigned n = look_at_some_jobs(p, "completed") + look_at_some_jobs(p, "not-completed");

    if (n)
        probe_ok(p->base.report, PROBE_IPP_JOB_URIS,
                 "within TLS URIs of jobs say that they want it");
    else
        probe_skip(p->base.report, PROBE_IPP_JOB_URIS, "no job is shown to us");
}

/* ---- all of it ---- */

static void look_at_answer(struct probe_ipp *p, const struct ipp_talk *t)
{
    struct probe_report *r = p->base.report;
    const char *status = ipp_status_name(t->message.header.code);
    struct ipp_group g;

    if (t->message.header.code >= IPP_CLIENT_ERROR_BAD_REQUEST ||
        !ipp_client_group(&t->message, IPP_GROUP_PRINTER, &g)) {
        probe_bad(r, PROBE_IPP_ANSWER, "Get-Printer-Attributes: %s", status ? status : "?");
        return;
    }
    probe_ok(r, PROBE_IPP_ANSWER, "it is " SPAN_FMT " (" SPAN_FMT ")",
             SPAN_ARG(ipp_client_text(g.attributes, "printer-name")),
             SPAN_ARG(ipp_client_text(g.attributes, "printer-make-and-model")));
    look_at_versions(p, g.attributes);
    look_at_operations(p, g.attributes);
    look_at_formats(p, g.attributes);
    look_at_uris(p, g.attributes);
    look_at_device(p, g.attributes);
    look_at_all_uris(p, g.attributes);
}

void probe_ipp_printer(struct probe_ipp *p)
{
    static const char *const wanted[] = {"all", "device-uri"};
    const struct ipp_client_message m = {.operation = IPP_OPERATION_GET_PRINTER_ATTRIBUTES,
                                         .wanted = wanted,
                                         .n_wanted = ARRAY_LEN(wanted)};
    bool within = p->upgrades || p->implicit;
    struct ipp_talk clear, *t = within ? &p->tls : &clear;
    enum err e = ERR_EOF;

    if (within)
        e = probe_ipp_ask_tls(p, &m);
    else if (ipp_talk_open(t, &p->base.target) == OK)
        e = ipp_talk_ask(t, p, &m);
    if (e)
        probe_bad(p->base.report, PROBE_IPP_ANSWER, "Get-Printer-Attributes: %s", t->why);
    else if (!t->has_message)
        probe_bad(p->base.report, PROBE_IPP_ANSWER, "Get-Printer-Attributes: HTTP %u", t->status);
    else
        look_at_answer(p, t);
    if (!within)
        ipp_talk_done(t);
    if (within)
        look_at_jobs(p);
    else
        probe_skip(p->base.report, PROBE_IPP_JOB_URIS, "there is no TLS");
}
