/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_uri_format.c - URIs and request-targets, printed. What is printed is parsed before anybody
 * sees it: parts that callers put together must not become another URI than they meant. */
#include "ipp/ipp_http_target.h"
#include "ipp/ipp_uri.h"

unsigned ipp_auth_canonical(unsigned auth, bool secure)
{
    auth &= IPP_AUTH_ALL;
    if (secure)
        return auth & ~IPP_AUTH_CHANNEL;
    return auth & IPP_AUTH_TLS ? auth & ~IPP_AUTH_SSL3 : auth;
}

static void write_list(struct writer *w, unsigned auth)
{
    static const struct {
        unsigned bit;
        const char *name;
    } tokens[] = {
        {IPP_AUTH_TLS,  "TLS" },
        {IPP_AUTH_SSL3, "SSL3"},
        {IPP_AUTH_DAA,  "DAA" },
    };
    const char *before = ";AUTH=";

    for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
        if (auth & tokens[i].bit) {
            write_text(w, before);
            write_text(w, tokens[i].name);
            before = ",";
        }
}

static void write_host(struct writer *w, struct span host)
{
    bool literal = span_find(host, ':') < host.n;

    if (literal)
        write_text(w, "[");
    for (size_t i = 0; i < host.n; i++) {
        char c = char_lower(host.p[i]);

        write_span(w, (struct span){&c, 1});
    }
    if (literal)
        write_text(w, "]");
}

static void write_path(struct writer *w, const struct ipp_uri *u, unsigned auth)
{
    write_span(w, u->path);
    write_list(w, auth);
    write_span(w, u->params);
    if (u->query.p) {
        write_text(w, "?");
        write_span(w, u->query);
    }
}

static enum err hand_over(const struct writer *made, struct writer *w)
{
    write_span(w, writer_span(made));
    return w->err;
}

enum err ipp_uri_format(const struct ipp_uri *u, struct writer *w)
{
    char room[IPP_URI_MAX];
    struct writer made = writer_of(room, sizeof room);
    struct ipp_uri again;

    write_text(&made, u->secure ? "ipps://" : "ipp://");
    write_host(&made, u->host);
    if (u->port) {
        write_text(&made, ":");
        write_dec(&made, u->port);
    }
    write_path(&made, u, ipp_auth_canonical(u->auth, u->secure));
    TRY(made.err);
    TRY(ipp_uri_parse(writer_span(&made), &again, NULL));
    if (!ipp_uri_same(u, &again))
        return ERR_SYNTAX;
    return hand_over(&made, w);
}

enum err ipp_uri_format_target(const struct ipp_uri *u, struct writer *w)
{
    char room[IPP_URI_MAX];
    struct writer made = writer_of(room, sizeof room);
    struct ipp_http_target again;

    write_path(&made, u, 0);
    TRY(made.err);
    TRY(ipp_http_target_parse(writer_span(&made), &again, NULL));
    if (again.form != IPP_HTTP_ORIGIN || again.uri.auth || !u->query.p != !again.uri.query.p)
        return ERR_SYNTAX;
    return hand_over(&made, w);
}

/* ---- URIs of jobs ---- */

static bool is_ipps(const struct ipp_front *at, enum ipp_channel c, enum ipp_job_style style)
{
    switch (style) {
    case IPP_JOB_AUTO: return c == IPP_CHANNEL_IMPLICIT;
    case IPP_JOB_DRAFT: return false;
    case IPP_JOB_IPPS: return c != IPP_CHANNEL_CLEAR && at->secure_port != 0;
    }
    return false;
}

enum err ipp_uri_format_job(const struct ipp_front *at, struct span path, struct ipp_level made,
                            enum ipp_job_style style, struct writer *w)
{
    bool secure = is_ipps(at, made.channel, style);
    struct ipp_uri u = {
        .secure = secure,
        .port = secure || made.channel == IPP_CHANNEL_IMPLICIT ? at->secure_port : at->port,
        .auth = ipp_level_auth(made),
        .host = at->host,
        .path = path,
    };

    if (u.port == 0)
        return ERR_MISSING;
    if (secure && u.port == IPP_PORT)
        u.port = 0;
    return ipp_uri_format(&u, w);
}
