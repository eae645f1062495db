/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_client_plan.h"

#include <stdio.h>

static void add_way(struct ipp_client_plan *p, enum ipp_client_how how, unsigned port)
{
    for (unsigned i = 0; i < p->n_ways; i++)
        if (p->ways[i].how == how && p->ways[i].port == port)
            return;
    p->ways[p->n_ways++] = (struct ipp_client_way){how, port};
}

void ipp_client_plan(const struct ipp_uri *u, struct ipp_client_plan *ret)
{
    unsigned channel = u->auth & IPP_AUTH_CHANNEL;
    unsigned usual = ipp_uri_port(u, IPP_PORT), secure = u->port ? u->port : IPP_SECURE_PORT;

    *ret = (struct ipp_client_plan){
        .demand = ipp_uri_demand(u),
        .channel = channel || u->secure,
    };
    if (u->secure) {
        add_way(ret, IPP_CLIENT_IMPLICIT, usual); /* the scheme says it, whatever the list adds */
        return;
    }
    if (channel & IPP_AUTH_TLS)
        add_way(ret, IPP_CLIENT_UPGRADE, usual);
    if (channel & IPP_AUTH_SSL3)
        add_way(ret, IPP_CLIENT_IMPLICIT, secure);
    /* What the draft calls a port of its own is today the same one (RFC 7472). */
    if (channel == IPP_AUTH_SSL3)
        add_way(ret, IPP_CLIENT_IMPLICIT, usual);
    if (!channel)
        add_way(ret, IPP_CLIENT_CLEAR, usual);
}

/* Of the list, whose tokens are no secrets; of anything else it may be part of a password. */
static bool may_show(enum ipp_uri_why why)
{
    return why == IPP_URI_AUTH_UNKNOWN;
}

enum err ipp_client_resolve(struct span text, struct ipp_uri *ret_uri, struct ipp_client_plan *ret,
                            char why[IPP_CLIENT_WHY_MAX])
{
    struct ipp_uri_fault fault;
    enum err e = ipp_uri_parse(text, ret_uri, &fault);

    if (e == OK) {
        ipp_client_plan(ret_uri, ret);
        return OK;
    }
    if (may_show(fault.why)) {
        (void)snprintf(why, IPP_CLIENT_WHY_MAX, "cannot do " SPAN_FMT ": %s",
                       SPAN_ARG(span_sub(fault.at, 0, 40)), ipp_uri_why_text(fault.why));
        return ERR_POLICY;
    }
    (void)snprintf(why, IPP_CLIENT_WHY_MAX, "%s", ipp_uri_why_text(fault.why));
    return e;
}
