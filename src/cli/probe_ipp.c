/* SPDX-License-Identifier: Apache-2.0 */
/* probe_ipp.c - `sallyport probe` at a printer, in its order, and what a list in the URI would get.
 */
#include "cli/probe_ipp_int.h"

#include <stdio.h>

#include "cli/cli.h"

/* Texts that live as long as the probe. */
struct texts {
    char host[256], host_header[300], target[IPP_URI_MAX + 1], uri[IPP_URI_MAX + 1];
};

/* ---- what a list would get ---- */

static void say_list(struct probe_ipp *p, enum probe_check c, bool gets, const char *list,
                     const char *what)
{
    if (gets)
        probe_ok(p->base.report, c, "%s: %s", list, what);
    else
        probe_skip(p->base.report, c, "%s would get nothing printed: %s", list, what);
}

static void look_at_lists(struct probe_ipp *p, const struct ipp_uri *u)
{
    bool has_tls = p->upgrades || p->implicit;
    char text[IPP_URI_MAX + 1];
    struct writer w = writer_of(text, sizeof text);
    struct ipp_uri best = *u;
    char tls[64];

    (void)snprintf(tls, sizeof tls, "%s by upgrade", p->protocol);
    say_list(p, PROBE_IPP_LIST_TLS, p->upgrades, "AUTH=TLS",
             p->upgrades ? tls : "there is no TLS by upgrade");
    (void)snprintf(tls, sizeof tls, "%s from the first byte, on port %u", p->protocol,
                   p->base.target.port);
    say_list(p, PROBE_IPP_LIST_SSL3, p->implicit, "AUTH=SSL3 (or ipps)",
             p->implicit ? tls : "there is no TLS from the first byte on this port");
    say_list(p, PROBE_IPP_LIST_DAA, p->digest, "AUTH=DAA",
             p->digest  ? "Digest, with a user and password"
             : p->basic ? "Basic alone is offered, which tells the password"
                        : "nobody is asked for a user");
    best.secure = !p->upgrades && p->implicit;
    best.auth = (p->upgrades ? IPP_AUTH_TLS : 0u) | (p->digest ? IPP_AUTH_DAA : 0u);
    if (has_tls && ipp_uri_format(&best, &w) == OK)
        probe_say(p->base.report, PROBE_SECTION_LISTS, "print to " SPAN_FMT,
                  SPAN_ARG(writer_span(&w)));
}

/* ---- in their order ---- */

static int sections(struct probe_ipp *p, const struct ipp_uri *u)
{
    struct probe_report *r = p->base.report;
    bool go_on = probe_connection(&p->base);

    probe_report_section(r, PROBE_SECTION_CONNECTION);
    if (!go_on)
        return EXIT_NETWORK;
    probe_ipp_upgrade(p);
    probe_ipp_implicit(p);
    go_on = probe_tls_content(&p->base);
    probe_report_section(r, PROBE_SECTION_UPGRADE);
    probe_report_section(r, PROBE_SECTION_IMPLICIT);
    probe_report_section(r, PROBE_SECTION_TLS);
    probe_ipp_clear(p);
    probe_report_section(r, PROBE_SECTION_CLEAR);
    probe_ipp_login(p);
    probe_report_section(r, PROBE_SECTION_LOGIN);
    probe_ipp_printer(p);
    probe_report_section(r, PROBE_SECTION_PRINTER);
    look_at_lists(p, u);
    probe_report_section(r, PROBE_SECTION_LISTS);
    if (probe_severity_of(r, PROBE_IPP_ANSWER) != PROBE_OK)
        return EXIT_NETWORK;
    if (!go_on || probe_section_failed(r, PROBE_SECTION_TLS))
        return EXIT_SECURITY;
    return probe_count(r, PROBE_FAIL) ? EXIT_REFUSED : EXIT_FINE;
}

/* ---- setting up ---- */

static bool make_texts(const struct ipp_uri *u, unsigned port, struct texts *t)
{
    struct writer target = writer_of(t->target, sizeof t->target - 1);
    struct writer uri = writer_of(t->uri, sizeof t->uri - 1);
    bool v6 = span_find(u->host, ':') < u->host.n;
    struct ipp_uri bare = *u;

    bare.auth = 0;
    if (u->host.n >= sizeof t->host || ipp_uri_format_target(u, &target) != OK ||
        ipp_uri_format(&bare, &uri) != OK)
        return false;
    t->target[target.n] = t->uri[uri.n] = '\0';
    (void)span_copy(u->host, t->host, sizeof t->host);
    (void)snprintf(t->host_header, sizeof t->host_header, v6 ? "[%s]:%u" : "%s:%u", t->host, port);
    return true;
}

static int open_contexts(struct probe_ipp *p, const struct probe_ipp_options *o)
{
    struct client_tls_options tls = o->tls;
    int code;

    /* The handshake takes any certificate, for it is the probe that judges it. */
    tls.insecure = true;
    tls.alpn = IPP_ALPN_UPGRADED;
    code = client_tls_open(command_probe.name, &tls, &p->tls_upgraded);
    tls.alpn = IPP_ALPN_IMPLICIT;
    if (code == EXIT_FINE)
        code = client_tls_open(command_probe.name, &tls, &p->tls_implicit);
    return code;
}

static int probe(struct probe_ipp *p, const struct probe_ipp_options *o, const struct ipp_uri *u)
{
    int code = open_contexts(p, o);

    if (code != EXIT_FINE)
        return code;
    p->base.report = probe_report_new(PROBE_IPP, o->url, o->json);
    if (!p->base.report)
        return EXIT_NETWORK;
    code = sections(p, u);
    probe_report_end(p->base.report);
    ipp_talk_done(&p->tls);
    probe_report_free(p->base.report);
    return code;
}

int probe_ipp(const struct probe_ipp_options *o)
{
    struct probe_ipp p = {
        .base = {.insecure = o->tls.insecure, .url = o->url}
    };
    struct ipp_client_plan plan;
    char why[IPP_CLIENT_WHY_MAX];
    struct texts t;
    struct ipp_uri u;
    int code;

    if (ipp_client_resolve(span_of(o->url), &u, &plan, why) != OK)
        return command_wrong(&command_probe, "the URL: %s", why);
    if (!make_texts(&u, plan.ways[0].port, &t))
        return command_wrong(&command_probe, "the URL is too long");
    p.only_implicit = plan.ways[0].how == IPP_CLIENT_IMPLICIT;
    p.host_header = t.host_header;
    p.target = span_of(t.target);
    p.uri = span_of(t.uri);
    p.base.target = (struct probe_target){
        .host = t.host,
        .port = plan.ways[0].port,
        .connect_ms = o->ms,
        .answer_ms = o->ms,
    };
    code = probe(&p, o, &u);
    tls_context_unref(p.tls_upgraded);
    tls_context_unref(p.tls_implicit);
    return code;
}
