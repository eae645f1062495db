/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_client_plan.h - what a URI asks of a client, before anything goes over the net: which ways to
 * the printer there are, and what must have happened before a document is sent (the draft, 2.0 and
 * 3.1). Pure: nothing is allocated or kept, and any thread may call. */
#ifndef IPP_CLIENT_PLAN_H
#define IPP_CLIENT_PLAN_H

#include "ipp/ipp_uri.h"

/* "https" of those days, for SSL3 without a port. */
#define IPP_SECURE_PORT 443u

enum ipp_client_how {
    IPP_CLIENT_CLEAR,    /* in clear text, until the printer wants something else */
    IPP_CLIENT_UPGRADE,  /* TLS by HTTP Upgrade (RFC 2817) */
    IPP_CLIENT_IMPLICIT, /* TLS from the first byte */
};

struct ipp_client_way {
    enum ipp_client_how how;
    unsigned port;
};
#define IPP_CLIENT_WAYS_MAX 2u

struct ipp_client_plan {
    struct ipp_demand demand;
    bool channel; /* TLS is demanded: then nobody is told a password in clear text, whatever else is
                     let be */
    struct ipp_client_way ways[IPP_CLIENT_WAYS_MAX]; /* in the order in which they are tried */
    unsigned n_ways;                                 /* at least 1 */
};

/* Every URI that was parsed has a plan. */
void ipp_client_plan(const struct ipp_uri *u, struct ipp_client_plan *ret);

#define IPP_CLIENT_WHY_MAX 256u

/* Reads |text| and plans. ERR_SYNTAX, ERR_LIMIT: it is no URI of a printer. ERR_POLICY: its list
 * has a token that nobody can satisfy here. |why| says which and what to write instead; it never
 * has anything of a user or password in it. *ret_uri has views into |text|. */
NODISCARD enum err ipp_client_resolve(struct span text, struct ipp_uri *ret_uri,
                                      struct ipp_client_plan *ret, char why[IPP_CLIENT_WHY_MAX]);

#endif
