/* SPDX-License-Identifier: Apache-2.0 */
/* why_upgrade.c - TLS by HTTP Upgrade (RFC 2817), as printers have it and AUTH=TLS wants it: by
 * OPTIONS, which tells nothing. */
#include <stdio.h>

#include "cli/why_int.h"

static enum err ask(const struct why *w, struct ipp_talk *t)
{
    const char *host = w->place.host;
    char header[300];
    bool literal = span_find(span_of(host), ':') < span_of(host).n;
    int n = snprintf(header, sizeof header, literal ? "[%s]:%u" : "%s:%u", host, w->place.port);
    const struct http_client_request r = {
        .method = SPAN("OPTIONS"),
        .target = SPAN("*"),
        .host = {header, (size_t)n},
        .fields = SPAN("User-Agent: sallyport/" SALLYPORT_VERSION "\r\n"),
        .upgrade = SPAN("TLS/1.3, TLS/1.2"),
        .head_only = true,
    };

    return n < 0 || (size_t)n >= sizeof header ? ERR_LIMIT : ipp_talk_exchange(t, &r, SPAN_NONE);
}

/* What is not as RFC 2817 3.3 has it; NULL: nothing. What stands behind the 101 in clear text would
 * be taken for protected. */
static const char *fault_of(const struct ipp_talk *t)
{
    if (!t->switched)
        return "";
    if (!ipp_head_names_tls(&t->head, NULL))
        return "the server switches, and does not say that it is to TLS";
    return t->k.in.n > 0 ? "the server says more in clear text than that TLS begins" : NULL;
}

enum err why_upgrade(struct why *w, struct ipp_talk *t)
{
    enum err e = ask(w, t);
    const char *fault = e ? NULL : fault_of(t);

    if (e || !fault)
        return e;
    if (fault[0])
        (void)snprintf(w->no_upgrade, sizeof w->no_upgrade, "%s", fault);
    else
        (void)snprintf(w->no_upgrade, sizeof w->no_upgrade,
                       "the server answers the request for TLS (Upgrade) with %u, not with 101",
                       t->status);
    return ERR_PROTO;
}
