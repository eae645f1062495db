/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/policy.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "protect/report_int.h"

/* In no line of a policy: those are about 1 to 255. */
#define PROTO_NOT_IP 256

static enum err refuse(sallyport_why *ret_why, const char *code, const char *text)
{
    const struct report_cause c = {.code = code, .stage = SALLYPORT_STAGE_POLICY, .text = text};

    *ret_why = reason_why(&c);
    return ERR_POLICY;
}

/* ---- peers ---- */

enum err protect_peers(const char *const *texts, size_t n, sallyport_want **ret)
{
    sallyport_want *want = NULL;

    if (n > 0 && sallyport_want_new(&want) != 0)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        int e = sallyport_want_peer_text(want, texts[i]);

        if (e) {
            sallyport_want_free(want);
            return e == -ENOMEM ? ERR_NOMEM : ERR_SYNTAX;
        }
    }
    *ret = want;
    return OK;
}

const char *protect_peer_fault(struct span text)
{
    sallyport_want *want = NULL;
    char *z = span_dup(text);
    bool ok = z && protect_peers((const char *const[]){z}, 1, &want) == OK;

    sallyport_want_free(want);
    free(z);
    return ok ? NULL
              : "be dns:NAME (or dns:*.DOMAIN), uri:URI (or uri:URI/*), email:ADDRESS, ip:ADDRESS, "
                "dn:SUBJECT or key:SHA-256";
}

/* ---- checks ---- */

enum err protect_policy_check(const struct protect_policy *policy, const sallyport_report *report,
                              sallyport_why *ret_why)
{
    sallyport_how how = {.size = sizeof how};

    /* No report, no protection that anybody could vouch for. */
    if (!report || sallyport_report_how(report, &how) != 0)
        how.level = SALLYPORT_NONE;
    if (how.level < policy->require)
        return refuse(ret_why, "level-too-low", report_level_why(policy->require, how.level));
    if (policy->peer && (!report || !sallyport_report_peer(report)))
        return refuse(ret_why, "wrong-peer", "the peer did not authenticate itself, and must");
    ret_why->size = sizeof *ret_why;
    return sallyport_want_check(policy->want, report, ret_why) == 0 ? OK : ERR_POLICY;
}

enum err protect_system_check(const struct protect_system *system, const struct sockaddr *local,
                              const struct sockaddr *remote, const sallyport_report *report,
                              sallyport_why *ret_why)
{
    bool inet = !local || local->sa_family == AF_INET || local->sa_family == AF_INET6;
    const struct policy_flow flow = {.local = local,
                                     .remote = remote,
                                     .proto = inet ? IPPROTO_TCP : PROTO_NOT_IP,
                                     .service = system->service};
    struct report_cause cause;

    if (!system->file || policy_check(system->file, &flow, NULL, report, &cause) == 0)
        return OK;
    *ret_why = reason_why(&cause);
    return ERR_POLICY;
}

/* Only the count of references changes, and that is atomic. */
sallyport_report *protect_report_keep(const sallyport_report *report)
{
    return report_ref((sallyport_report *)(uintptr_t)report);
}

const char *protect_why_text(const sallyport_why *why, char dst[PROTECT_WHY_MAX])
{
    if (span_eq(span_of(why->source), SPAN("policy")))
        (void)snprintf(dst, PROTECT_WHY_MAX, "%s (line %lld of this machine's policy)", why->text,
                       (long long)why->raw);
    else
        (void)span_copy(span_of(why->text), dst, PROTECT_WHY_MAX);
    return dst;
}

const char *protect_refusal_text(const sallyport_why *why, const sallyport_report *report,
                                 char dst[PROTECT_WHY_MAX])
{
    const sallyport_peer *peer = report ? sallyport_report_peer(report) : NULL;

    (void)protect_why_text(why, dst);
    if (peer && span_eq(span_of(why->code), SPAN("wrong-peer"))) {
        size_t n = span_of(dst).n;

        (void)snprintf(dst + n, PROTECT_WHY_MAX - n, "; it is %s", sallyport_peer_text(peer));
    }
    return dst;
}
