/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/policy.h"

#include <errno.h>

#define LEVELS 4u

/* [required][got] */
static const char *const level_why[LEVELS][LEVELS] = {
    [SALLYPORT_INTEGRITY] = {"the connection is not protected; its integrity must be"},
    [SALLYPORT_WEAK] = {         "the connection is not protected; it must be confidential",
                             "the connection is not confidential; it must be"},
    [SALLYPORT_STRONG] = { "the connection is not protected; strong protection is required",
                             "the connection is not confidential; strong protection is required", "the connection is weakly protected; strong protection is required"},
};

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
    if (how.level < policy->require) {
        const char *text =
            (unsigned)policy->require < LEVELS ? level_why[policy->require][how.level] : NULL;

        return refuse(ret_why, "level-too-low", EACCES,
                      text ? text : "the connection is protected less than required");
    }
    if (policy->peer && (!report || !sallyport_report_peer(report)))
        return refuse(ret_why, "wrong-peer", EACCES,
                      "the peer did not authenticate itself, and must");
    return OK;
}
