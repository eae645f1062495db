/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/policy_file.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protect/policy_file_int.h"

struct policy_file *policy_ref(const struct policy_file *p)
{
    struct policy_file *own = (struct policy_file *)(uintptr_t)p; /* counting is no change */

    if (own)
        (void)atomic_fetch_add_explicit(&own->refs, 1, memory_order_relaxed);
    return own;
}

void policy_unref(struct policy_file *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < p->n_rules; i++)
        sallyport_want_free(p->rules[i].want);
    arena_done(&p->mem);
    free(p);
}

/* ---- addresses ---- */

const uint8_t *policy_address_bytes(const struct sockaddr *a, int *ret_family)
{
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;

    *ret_family = AF_INET;
    if (a->sa_family == AF_INET)
        return (const uint8_t *)&((const struct sockaddr_in *)(const void *)a)->sin_addr;
    if (a->sa_family != AF_INET6)
        return NULL;
    if (IN6_IS_ADDR_V4MAPPED(six))
        return six->s6_addr + 12;
    *ret_family = AF_INET6;
    return six->s6_addr;
}

static unsigned address_port_of(const struct sockaddr *a)
{
    if (a && a->sa_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port);
    if (a && a->sa_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)a)->sin6_port);
    return 0;
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    return span_eq((struct span){(const char *)a, whole}, (struct span){(const char *)b, whole}) &&
           (rest == 0 || ((a[whole] ^ b[whole]) & (0xff00u >> rest) & 0xffu) == 0);
}

/* Connections over IPv4 are IPv4 here, however their addresses are written. */
static void unmap(struct policy_net *n)
{
    struct in6_addr six;

    memcpy(&six, n->bytes, sizeof six);
    if (n->family != AF_INET6 || n->prefix < 96 || !IN6_IS_ADDR_V4MAPPED(&six))
        return;
    n->family = AF_INET;
    n->prefix -= 96;
    memmove(n->bytes, n->bytes + 12, 4);
}

bool policy_net_parse(const char *text, struct policy_net *ret)
{
    struct span rest = span_of(text), host = span_cut(&rest, '/');
    char z[INET6_ADDRSTRLEN];
    uint64_t prefix;

    *ret = (struct policy_net){.family = span_find(host, ':') < host.n ? AF_INET6 : AF_INET};
    unsigned bits = ret->family == AF_INET6 ? 128 : 32;

    if (host.n >= sizeof z)
        return false;
    (void)span_copy(host, z, sizeof z);
    prefix = bits;
    if (inet_pton(ret->family, z, ret->bytes) != 1 ||
        (rest.p && span_u64(rest, bits, &prefix) != OK))
        return false;
    ret->prefix = (unsigned)prefix;
    for (unsigned i = ret->prefix; i < bits; i++)
        if (ret->bytes[i / 8] & (0x80u >> i % 8))
            return false;
    unmap(ret);
    return true;
}

bool policy_net_contains(const struct policy_net *net, const struct sockaddr *a)
{
    int family;
    const uint8_t *bytes = policy_address_bytes(a, &family);

    return bytes && family == net->family && same_prefix(bytes, net->bytes, net->prefix);
}

/* ---- is a line about a connection? ---- */

static bool is_ip(const struct sockaddr *a)
{
    return a->sa_family == AF_INET || a->sa_family == AF_INET6;
}

/* Of two ends that may be known: a line that names a port means either. */
static sallyport_tri about_port(unsigned port, const struct policy_flow *f)
{
    unsigned local = address_port_of(f->local), remote = address_port_of(f->remote);

    if (f->local && !is_ip(f->local))
        return SALLYPORT_NO;
    if (!local && !remote)
        return SALLYPORT_UNKNOWN;
    return port == local || port == remote ? SALLYPORT_YES : SALLYPORT_NO;
}

static sallyport_tri about_text(const char *asked, const char *known)
{
    if (!known)
        return SALLYPORT_UNKNOWN;
    return strcmp(asked, known) == 0 ? SALLYPORT_YES : SALLYPORT_NO;
}

static sallyport_tri about_user(const char *uid, const struct policy_flow *f)
{
    char number[16];

    if (!f->user)
        return SALLYPORT_UNKNOWN;
    (void)snprintf(number, sizeof number, "%u", f->uid);
    return strcmp(uid, f->user) == 0 || strcmp(uid, number) == 0 ? SALLYPORT_YES : SALLYPORT_NO;
}

/* NO is the strongest answer, then UNKNOWN. */
static void and_tri(sallyport_tri *all, sallyport_tri one)
{
    if (one == SALLYPORT_NO || (one == SALLYPORT_UNKNOWN && *all == SALLYPORT_YES))
        *all = one;
}

static sallyport_tri about(const struct policy_scope *s, const struct policy_flow *f)
{
    sallyport_tri all = SALLYPORT_YES;

    if (s->interface)
        and_tri(&all, about_text(s->interface, f->interface));
    /* A program that says nothing of itself is no service. */
    if (s->service)
        and_tri(&all, about_text(s->service, f->service ? f->service : ""));
    if (s->uid)
        and_tri(&all, about_user(s->uid, f));
    if (s->to.family)
        and_tri(&all, !f->remote                               ? SALLYPORT_UNKNOWN
                      : policy_net_contains(&s->to, f->remote) ? SALLYPORT_YES
                                                               : SALLYPORT_NO);
    if (s->proto)
        and_tri(&all, !f->proto              ? SALLYPORT_UNKNOWN
                      : f->proto == s->proto ? SALLYPORT_YES
                                             : SALLYPORT_NO);
    if (s->port)
        and_tri(&all, about_port(s->port, f));
    return all;
}

/* ---- demands ---- */

static const char *const kind_names[] = {
    [POLICY_RULE] = "rule",
    [POLICY_INTERFACE] = "interface",
    [POLICY_EXEMPT] = "exempt",
    [POLICY_DEFAULT] = "default",
};

static int demand(const struct policy_rule *r, int (*fn)(void *, const struct policy_demand *),
                  void *arg)
{
    const struct policy_demand d = {.by = kind_names[r->kind], .line = r->line, .want = r->want};

    return fn(arg, &d);
}

/* All exempting lines that are for sure about |flow|, instead of everything else in the file. */
static int exempt_demands(const struct policy_file *p, const struct policy_flow *flow,
                          int (*fn)(void *, const struct policy_demand *), void *arg)
{
    bool any = false;

    for (unsigned i = 0; p && i < p->n_rules; i++) {
        const struct policy_rule *r = &p->rules[i];

        if (r->kind != POLICY_EXEMPT || about(&r->scope, flow) != SALLYPORT_YES)
            continue;
        any = true;
        int e = demand(r, fn, arg);

        if (e)
            return e;
    }
    return any || !p ? 0 : -EPERM; /* without a policy nothing is below it */
}

static int rule_demands(const struct policy_file *p, const struct policy_flow *flow,
                        int (*fn)(void *, const struct policy_demand *), void *arg)
{
    for (unsigned i = 0; p && i < p->n_rules; i++) {
        const struct policy_rule *r = &p->rules[i];

        if (r->kind == POLICY_EXEMPT || about(&r->scope, flow) == SALLYPORT_NO)
            continue;
        int e = demand(r, fn, arg);

        if (e)
            return e;
    }
    return 0;
}

int policy_demands(const struct policy_file *policy, const struct policy_flow *flow,
                   const sallyport_want *want, int (*fn)(void *arg, const struct policy_demand *d),
                   void *arg)
{
    bool less = want && want->flags & SALLYPORT_LESS;
    int e = less ? exempt_demands(policy, flow, fn, arg) : rule_demands(policy, flow, fn, arg);

    if (e || !want)
        return e;
    return fn(arg, &(const struct policy_demand){.by = "want", .want = want});
}

/* ---- the check ---- */

struct checking {
    const sallyport_report *report;
    struct report_cause *cause;
};

static int check_one(void *arg, const struct policy_demand *d)
{
    struct checking *c = arg;
    int e = want_check(d->want, c->report, c->cause);

    if (e && d->line) {
        c->cause->source = "policy";
        c->cause->raw = d->line;
    }
    return e;
}

int policy_check(const struct policy_file *policy, const struct policy_flow *flow,
                 const sallyport_want *want, const sallyport_report *report,
                 struct report_cause *ret_cause)
{
    struct checking c = {report, ret_cause};
    int e;

    ret_cause->code = NULL;
    e = policy_demands(policy, flow, want, check_one, &c);
    if (e && !ret_cause->code)
        *ret_cause = (struct report_cause){
            .code = "privilege",
            .stage = SALLYPORT_STAGE_POLICY,
            .text = "the program wants less than the policy demands, and no line exempts it"};
    return e;
}

/* ---- attributes ---- */

const char *policy_attr(const struct policy_file *policy, const sallyport_peer *peer, size_t i)
{
    for (unsigned k = 0; policy && peer && k < policy->n_attrs; k++) {
        const struct policy_attr_rule *a = &policy->attrs[k];

        if (sallyport_peer_match(peer, a->kind, a->pattern) == 1 && i-- == 0)
            return a->text;
    }
    return NULL;
}

bool policy_names_interfaces(const struct policy_file *policy)
{
    for (unsigned i = 0; policy && i < policy->n_rules; i++)
        if (policy->rules[i].scope.interface)
            return true;
    return false;
}
