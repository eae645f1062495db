/* SPDX-License-Identifier: Apache-2.0 */
/* policy.h - what a listener or an upstream demands of each connection, held against its report.
 * Called on every one of them, also where the answer is "none needed". */
#ifndef PROTECT_POLICY_H
#define PROTECT_POLICY_H

#include <stdbool.h>

#include "base/err.h"
#include "sallyport/want.h"

struct protect_policy {
    sallyport_level require;    /* at least */
    bool peer;                  /* an authenticated peer is needed */
    const sallyport_want *want; /* and this; NULL: nothing more. Borrowed */
};

/* OK, or ERR_POLICY with |*ret_why| filled (its strings are static). Pure; any thread. */
NODISCARD enum err protect_policy_check(const struct protect_policy *policy,
                                        const sallyport_report *report, sallyport_why *ret_why);

#endif
