/* SPDX-License-Identifier: Apache-2.0 */
/* policy.h - what a listener or an upstream demands of each connection, held against its report.
 * Called on every one of them, also where the answer is "none needed". */
#ifndef PROTECT_POLICY_H
#define PROTECT_POLICY_H

#include <stdbool.h>

#include "base/err.h"
#include "protect/policy_file.h"
#include "sallyport/want.h"

struct protect_policy {
    sallyport_level require;    /* at least */
    bool peer;                  /* an authenticated peer is needed */
    const sallyport_want *want; /* and this; NULL: nothing more. Borrowed */
};

/* NULL: |text| says who a peer may be, "dns:printer.example"; else what it must be. */
const char *protect_peer_fault(struct span text);
/* The want of who is one of |texts|; NULL: there are none. ERR_SYNTAX, ERR_NOMEM. */
NODISCARD enum err protect_peers(const char *const *texts, size_t n, sallyport_want **ret);

/* OK, or ERR_POLICY with |*ret_why| filled (its strings are static). Pure; any thread. */
NODISCARD enum err protect_policy_check(const struct protect_policy *policy,
                                        const sallyport_report *report, sallyport_why *ret_why);

/* What the policy of the machine is asked about all connections of one listener. */
struct protect_system {
    const struct policy_file *file; /* NULL: nothing is demanded. Borrowed, as all of it */
    const char *service;            /* for lines that name it */
};

/* As protect_policy_check(), by the policy of the machine. |local|, |remote|: addresses of the
 * connection's ends; both NULL: not known, so every line holds that could be about them. By which
 * interface it came is not known here, so lines about interfaces hold for all. */
NODISCARD enum err protect_system_check(const struct protect_system *system,
                                        const struct sockaddr *local, const struct sockaddr *remote,
                                        const sallyport_report *report, sallyport_why *ret_why);

/* |report| once more, for who outlives the connection; sallyport_report_free() gives it back. */
sallyport_report *protect_report_keep(const sallyport_report *report);

#define PROTECT_WHY_MAX 256u
/* |why| in words, with the line of the policy if it was one. */
const char *protect_why_text(const sallyport_why *why, char dst[PROTECT_WHY_MAX]);
/* The same, and who the peer is instead, as far as |report| knows: for those who connect. */
const char *protect_refusal_text(const sallyport_why *why, const sallyport_report *report,
                                 char dst[PROTECT_WHY_MAX]);

#endif
