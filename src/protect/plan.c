/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - what would be demanded of a connection, and by which line: the join of policy and want
 * in the form of a report. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "protect/conn_int.h"
#include "protect/peer_int.h"
#include "protect/want_int.h"

struct planning {
    sallyport_report *report;
    sallyport_level level;
    unsigned via, flags;
    bool has_peers;
};

static const struct {
    unsigned flag;
    const char *name;
} flag_names[] = {
    {SALLYPORT_PEER_KNOWN,        "peer"       },
    {SALLYPORT_END_TO_END,        "end-to-end" },
    {SALLYPORT_LATCHED,           "latched"    },
    {SALLYPORT_TRANSPORT_COVERED, "covered"    },
    {SALLYPORT_REPLAY_SAFE,       "replay-safe"},
};

/* ---- the join ---- */

static int join(void *arg, const struct policy_demand *d)
{
    struct planning *p = arg;

    if (d->want->level > p->level)
        p->level = d->want->level;
    if (d->want->via)
        p->via &= d->want->via;
    p->flags |= d->want->flags;
    p->has_peers |= d->want->n_peers > 0;
    return 0;
}

/* ---- where each value comes from ---- */

static int add_decision(sallyport_report *r, const struct policy_demand *d, const char *what,
                        const char *value, bool decides)
{
    struct report_decision *more =
        reallocarray(r->decisions, r->n_decisions + 1, sizeof *r->decisions);

    if (!more)
        return -ENOMEM;
    r->decisions = more;
    struct report_decision *n = &more[r->n_decisions];

    *n = (struct report_decision){.what = what, .by = d->by, .line = d->line, .decides = decides};
    n->value = strdup(value);
    if (!n->value)
        return -ENOMEM;
    r->n_decisions++;
    return 0;
}

static void via_text(unsigned via, char dst[32])
{
    (void)snprintf(dst, 32, "%s%s%s", via & SALLYPORT_VIA_IPSEC ? ",ipsec" : "",
                   via & SALLYPORT_VIA_TLS ? ",tls" : "",
                   via & SALLYPORT_VIA_CLEAR ? ",clear" : "");
    memmove(dst, dst + 1, strlen(dst));
}

static int list_peers(struct planning *p, const struct policy_demand *d)
{
    for (unsigned i = 0; i < d->want->n_peers; i++) {
        const struct wanted *w = &d->want->peers[i];
        char text[PEER_TEXT_MAX + 16];
        int e;

        (void)snprintf(text, sizeof text, "%s%s%s", w->same ? "" : peer_kind_name(w->kind),
                       w->same ? "" : ":", w->same ? sallyport_peer_text(w->same) : w->pattern);
        e = add_decision(p->report, d, "peer", text, true);
        if (e)
            return e;
    }
    return 0;
}

/* All that |d| says. Of the level the largest decides; everything else holds beside the others. */
static int list(void *arg, const struct policy_demand *d)
{
    struct planning *p = arg;
    char text[32];
    int e = add_decision(p->report, d, "level", sallyport_level_name(d->want->level),
                         d->want->level == p->level);

    if (!e && d->want->via) {
        via_text(d->want->via, text);
        e = add_decision(p->report, d, "via", text, true);
    }
    for (size_t i = 0; !e && i < sizeof flag_names / sizeof flag_names[0]; i++)
        if (d->want->flags & flag_names[i].flag)
            e = add_decision(p->report, d, flag_names[i].name, "any", true);
    return e ? e : list_peers(p, d);
}

/* ---- the report ---- */

static sallyport_tri demanded(const struct planning *p, unsigned flag)
{
    return p->flags & flag ? SALLYPORT_YES : SALLYPORT_UNKNOWN;
}

static int add_refusal(sallyport_report *r, const char *code, const char *text)
{
    return report_add(
        r, &(struct report_cause){.code = code, .stage = SALLYPORT_STAGE_POLICY, .text = text});
}

static void write_how(struct planning *p)
{
    sallyport_how *h = &p->report->how;
    char via[32] = "";

    via_text(p->via, via);
    h->level = p->level;
    h->via = p->via;
    h->protocol = "planned";
    h->end_to_end = demanded(p, SALLYPORT_END_TO_END);
    h->transport_covered = demanded(p, SALLYPORT_TRANSPORT_COVERED);
    h->replay_safe = demanded(p, SALLYPORT_REPLAY_SAFE);
    h->accepted_by_peer = SALLYPORT_UNKNOWN;
    (void)snprintf(p->report->text, sizeof p->report->text, "at least %s, by %s%s%s",
                   sallyport_level_name(p->level), p->via ? via : "no layer at all",
                   p->flags & SALLYPORT_END_TO_END ? ", from end to end" : "",
                   p->has_peers                      ? ", with a peer of those named"
                   : p->flags & SALLYPORT_PEER_KNOWN ? ", with an authenticated peer"
                                                     : "");
}

/* What no connection can ever meet. */
static int check_possible(struct planning *p)
{
    if (p->via == 0)
        return add_refusal(p->report, "local-policy",
                           "policy and program allow no layer that both of them name");
    if (p->via == SALLYPORT_VIA_CLEAR && p->level > SALLYPORT_NONE)
        return add_refusal(p->report, "local-policy",
                           "protection is demanded, and only clear connections are allowed");
    return 0;
}

static int plan(struct planning *p, const struct policy_file *policy,
                const struct policy_flow *flow, const sallyport_want *want)
{
    int e = policy_demands(policy, flow, want, join, p);

    if (e == -EPERM) {
        write_how(p);
        return add_refusal(
            p->report, "privilege",
            "the program wants less than the policy demands, and no line exempts it");
    }
    if (!e)
        e = policy_demands(policy, flow, want, list, p);
    write_how(p);
    return e ? e : check_possible(p);
}

int sallyport_plan(sallyport_ctx *ctx, const sallyport_want *want, const struct sockaddr *local,
                   const struct sockaddr *remote, int proto, sallyport_report **ret_report)
{
    struct planning p = {.via = WANT_VIA_ALL, .report = report_alloc()};
    uint64_t generation;
    struct policy_file *policy = ctx_policy(ctx, &generation);
    struct flow flow;
    int e = p.report ? 0 : -ENOMEM;

    flow_fill(&flow, ctx, policy, local, remote, proto);
    if (!e)
        e = plan(&p, policy, &flow.view, want);
    policy_unref(policy);
    if (e)
        sallyport_report_free(p.report);
    else
        *ret_report = p.report;
    return e;
}

int sallyport_report_decision(const sallyport_report *report, size_t i, sallyport_decision *ret)
{
    const struct report_decision *d;
    uint32_t size = ret->size;

    if (size < sizeof *ret)
        return -EINVAL;
    if (i >= report->n_decisions)
        return -ENOENT;
    d = &report->decisions[i];
    *ret = (sallyport_decision){.size = size,
                                .what = d->what,
                                .value = d->value,
                                .by = d->by,
                                .line = d->line,
                                .decides = d->decides};
    return 0;
}
