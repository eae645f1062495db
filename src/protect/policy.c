/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/policy.h"

#include <errno.h>

#include "protect/report_int.h"

static enum err refuse(sallyport_why *ret_why, const char *code, int err, const char *text)
{
    *ret_why = (sallyport_why){.size = sizeof *ret_why, .code = code, .err = err, .text = text};
    return ERR_POLICY;
}

enum err protect_policy_check(const struct protect_policy *policy, const sallyport_report *report,
                              sallyport_why *ret_why)
{
    sallyport_how how = {.size = sizeof how};

    /* No report, no protection that anybody could vouch for. */
    if (!report || sallyport_report_how(report, &how) != 0)
        how.level = SALLYPORT_NONE;
    if (how.level < policy->require)
        return refuse(ret_why, "level-too-low", EACCES,
                      report_level_why(policy->require, how.level));
    if (policy->peer && (!report || !sallyport_report_peer(report)))
        return refuse(ret_why, "wrong-peer", EACCES,
                      "the peer did not authenticate itself, and must");
    ret_why->size = sizeof *ret_why;
    return sallyport_want_check(policy->want, report, ret_why) == 0 ? OK : ERR_POLICY;
}
