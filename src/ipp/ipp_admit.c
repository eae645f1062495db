/* SPDX-License-Identifier: Apache-2.0 */
/* Which printer is meant, and whether the request is protected as is demanded: by policy, by the
 * URIs that it carries, and later by the job that it is about. */
#include <stdio.h>
#include <string.h>

#include "ipp/ipp_server_int.h"

/* ---- what it is ---- */

static enum ipp_channel channel_of(const struct ipp_exchange *ex)
{
    const struct http_connection *c = ex->conn->http;

    if (!stream_is_tls(http_connection_stream(c)))
        return IPP_CHANNEL_CLEAR;
    return http_connection_is_upgraded(c) ? IPP_CHANNEL_UPGRADED : IPP_CHANNEL_IMPLICIT;
}

static void refuse_target(struct ipp_exchange *ex, const char *what)
{
    ipp_reply_refuse(ex, IPP_CLIENT_ERROR_NOT_FOUND, ERR_MISSING, "target", "%s", what);
}

/* ---- URIs of the request ---- */

/* The gateway's names, and what it is called at this very connection. */
static bool is_ours(const struct ipp_exchange *ex, struct span host)
{
    char text[ADDRESS_TEXT_MAX];

    if (ipp_snapshot_is_host(ex->snapshot, host))
        return true;
    struct address local = stream_local(http_connection_stream(ex->conn->http));

    return local.len && span_ieq(span_of(address_host_text(&local, text)), host);
}

/* A URI with a list that cannot be met here is refused, not passed over: somebody relied on it. */
static bool read_uri(struct ipp_exchange *ex, struct span text, struct ipp_uri *ret)
{
    struct ipp_uri_fault fault;

    if (ipp_uri_parse(text, ret, &fault) != OK) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_BAD_REQUEST, ERR_SYNTAX, ipp_uri_why_code(fault.why),
                         "%s", ipp_uri_why_text(fault.why));
        return false;
    }
    ex->odd |= ret->warnings & IPP_URI_NOTED;
    if (ret->warnings & IPP_URI_REFUSED) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_BAD_REQUEST, ERR_SYNTAX, "uri",
                         "a URI may have no user and no AUTH list before its last segment here");
        return false;
    }
    if (!is_ours(ex, ret->host)) {
        refuse_target(ex, "that host is not this gateway");
        return false;
    }
    return true;
}

#define JOBS_PATH "/jobs/"

/* /jobs/N, as ipp_reply_public() and ipp_uri_format_job() make it. */
static int32_t job_of_path(struct span path)
{
    uint64_t id;

    if (!span_starts(path, SPAN(JOBS_PATH)) ||
        span_u64(span_sub(path, sizeof JOBS_PATH - 1, path.n), IPP_JOB_ID_MAX, &id) != OK)
        return 0;
    return (int32_t)id;
}

static const struct ipp_printer *printer_of_path(struct ipp_exchange *ex, struct span path)
{
    const struct ipp_printer *p = ipp_snapshot_find(ex->snapshot, path);

    /* What clients ask who know no path: the printer, where there is but one. */
    if (!p && span_eq(path, SPAN("/")) && ex->snapshot->n_printers == 1)
        p = &ex->snapshot->printers[0];
    return p;
}

/* By the message's own target: what stands in the request-line says little (`lp` posts to "/",
 * ipptool asks for jobs at the printer's path). */
static bool find_target(struct ipp_exchange *ex)
{
    const struct ipp_target *t = &ex->message->target;
    struct ipp_uri uri;

    ex->odd |= ex->target.uri.warnings & IPP_URI_NOTED;
    ipp_demand_add(&ex->demand, ipp_uri_demand(&ex->target.uri));
    switch (t->kind) {
    case IPP_TARGET_NONE:
        ex->about_all = ipp_printer_list_wanted(ex, ex->target.uri.path);
        ex->printer = printer_of_path(ex, ex->target.uri.path);
        if (!ex->printer && ex->snapshot->n_printers > 0 &&
            ex->operation->code == IPP_OPERATION_CUPS_GET_DEFAULT)
            ex->printer = &ex->snapshot->printers[0];
        break;
    case IPP_TARGET_PRINTER:
    case IPP_TARGET_PRINTER_JOB:
        if (!read_uri(ex, t->uri, &uri))
            return false;
        ex->about_all = t->kind == IPP_TARGET_PRINTER && ipp_printer_list_wanted(ex, uri.path);
        ex->printer = printer_of_path(ex, uri.path);
        ipp_demand_add(&ex->demand, ipp_uri_demand(&uri));
        break;
    case IPP_TARGET_JOB:
        if (!read_uri(ex, t->uri, &uri))
            return false;
        ipp_demand_add(&ex->demand, ipp_uri_demand(&uri));
        ex->job.id = job_of_path(uri.path);
        if (ex->job.id)
            return true; /* the job says which printer */
        break;
    case IPP_TARGET_SYSTEM: break;
    }
    if (ex->about_all)
        ex->printer = NULL;
    if (ex->printer || ex->about_all)
        return true;
    refuse_target(ex, "there is no such printer here");
    return false;
}

/* ---- what is demanded ---- */

/* What the printer can do is told to everybody, where the configuration says so: many clients ask
 * for that first, and take a demand for a password as a reason to give up. */
static bool is_anonymous(const struct ipp_printer *p, const struct ipp_operation *o)
{
    return p->set->anonymous == IPP_ANONYMOUS_ATTRIBUTES &&
           (o->code == IPP_OPERATION_GET_PRINTER_ATTRIBUTES ||
            o->code == IPP_OPERATION_GET_PRINTER_SUPPORTED_VALUES ||
            o->code == IPP_OPERATION_CUPS_GET_DEFAULT ||
            o->code == IPP_OPERATION_CUPS_GET_PRINTERS);
}

/* A list of users means nothing where nobody proves who he is. */
static struct ipp_level proof_of(const struct ipp_exchange *ex,
                                 const struct ipp_printer_settings *s)
{
    if (s->allow.n == 0 && s->anonymous != IPP_ANONYMOUS_NOTHING)
        return (struct ipp_level){IPP_CHANNEL_CLEAR, IPP_USER_NONE};
    if (s->basic && ex->level.channel != IPP_CHANNEL_CLEAR)
        return (struct ipp_level){ex->level.channel, IPP_USER_BASIC};
    return (struct ipp_level){IPP_CHANNEL_CLEAR, IPP_USER_DIGEST};
}

struct ipp_demand ipp_admit_demand(const struct ipp_exchange *ex, const struct ipp_printer *p)
{
    struct ipp_demand d = p->demand;

    if (is_anonymous(p, ex->operation)) {
        d.auth &= ~IPP_AUTH_DAA;
        d.level.user = IPP_USER_NONE;
    } else {
        ipp_demand_add(&d, (struct ipp_demand){.level = proof_of(ex, p->set)});
    }
    return d;
}

/* ---- what is answered where it is not met ---- */

/* 426 with Upgrade where the connection can become TLS (RFC 9110 15.5.22), and never 418. */
static void answer_upgrade(struct ipp_exchange *ex)
{
    bool can = ipp_may_upgrade(ex);
    struct ipp_public_printer pub;
    char secure[300] = "", text[400];

    ipp_reply_public(ex, &pub);
    if (pub.front.secure_port)
        (void)snprintf(secure, sizeof secure, "%suse ipps://" SPAN_FMT ":%u", can ? ", or " : "",
                       SPAN_ARG(pub.front.host), pub.front.secure_port);
    (void)snprintf(text, sizeof text, "This needs TLS%s%s%s.", can || secure[0] ? ": " : "",
                   can ? "upgrade" : "", secure);
    if (can)
        ipp_reply_http(ex, 426, ipp_upgrade_field(), text);
    else
        ipp_reply_http(ex, 403, SPAN_NONE, text);
}

static void answer_challenge(struct ipp_exchange *ex, bool stale)
{
    struct buf fields;

    buf_init(&fields, 8192);
    if (ipp_login_challenges(ex, stale, &fields) && fields.n > 0)
        ipp_reply_http(ex, 401, buf_span(&fields), "This needs a user and password.");
    else
        ipp_reply_http(ex, 503, SPAN_NONE, "Nobody can log in now.");
    buf_done(&fields);
}

bool ipp_admit_level(struct ipp_exchange *ex)
{
    const struct ipp_level now = {ex->level.channel, ex->who.kind};

    ex->lacks = ipp_demand_check(&ex->demand, now);
    if (ex->lacks == IPP_NEED_NOTHING)
        return true;
    ex->err = ERR_POLICY;
    switch (ex->lacks) {
    case IPP_NEED_NOTHING: break;
    case IPP_NEED_UPGRADE:
    case IPP_NEED_SECURE_PORT:
        (void)span_copy(SPAN("TLS is demanded"), ex->why, sizeof ex->why);
        ex->wants_tls = true;
        answer_upgrade(ex);
        break;
    case IPP_NEED_DIGEST:
        (void)span_copy(SPAN("a user is demanded, and none is proved"), ex->why, sizeof ex->why);
        answer_challenge(ex, false);
        break;
    case IPP_NEED_CERTIFICATE:
        (void)span_copy(SPAN("a client certificate is demanded"), ex->why, sizeof ex->why);
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_NOT_AUTHENTICATED, ERR_POLICY, "require certificate",
                         "this needs a client certificate of the gateway's users");
        break;
    }
    return false;
}

/* ---- in their order ---- */

/* A password that was sent for another printer proves nothing at one that takes none. */
static bool is_of(const struct ipp_exchange *ex, const struct ipp_printer_settings *set,
                  const struct config_strings *list)
{
    bool proved = ex->who.kind > IPP_USER_CLAIMED && (ex->who.kind != IPP_USER_BASIC || set->basic);
    struct span user = proved ? span_of(ex->who.name) : SPAN_NONE;

    return ipp_snapshot_lists(ex->snapshot, list, user, proved ? ex->who.tenant : NULL);
}

bool ipp_admit_is_operator(const struct ipp_exchange *ex, const struct ipp_printer *p)
{
    return is_of(ex, p->set, &p->set->operators);
}

bool ipp_admit_is_listed(const struct ipp_exchange *ex, const struct ipp_printer *p)
{
    return p->set->allow.n == 0 || is_anonymous(p, ex->operation) || ipp_admit_is_operator(ex, p) ||
           is_of(ex, p->set, &p->set->allow);
}

bool ipp_admit_allowed(struct ipp_exchange *ex)
{
    const struct ipp_printer_settings *set = ex->printer->set;

    ex->is_operator = ipp_admit_is_operator(ex, ex->printer);
    if (!ipp_printer_allows(set, ex->operation, ex->is_operator)) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_OPERATION_NOT_SUPPORTED, ERR_POLICY, "operations",
                         "%s is not let through here", ex->operation->name);
        return false;
    }
    if (!ipp_admit_is_listed(ex, ex->printer)) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_FORBIDDEN, ERR_POLICY, "allow",
                         "you may not use this printer");
        return false;
    }
    return true;
}

static bool is_within_quota(struct ipp_exchange *ex, struct quota *q)
{
    if (!q || quota_request(q, loop_now_us(ex->server->env.loop)) == 0)
        return true;
    quota_refused(q);
    ipp_reply_refuse(ex, IPP_SERVER_ERROR_BUSY, ERR_BUSY, "quota",
                     "more requests than the tenant's quota allows");
    return false;
}

/* Who is unknown is the address that he comes from. */
static bool is_within_rate(struct ipp_exchange *ex)
{
    const unsigned max = ex->snapshot->set->requests_max;
    const struct throttle_limits l = {.burst = 2 * max, .every_us = max ? 1000000 / max : 0};

    if (max == 0 || throttle_shared_take(ex->server->env.asked, ipp_login_source(ex), &l,
                                         loop_now_us(ex->server->env.loop)))
        return true;
    ipp_reply_refuse(ex, IPP_SERVER_ERROR_BUSY, ERR_BUSY, "requests-per-client",
                     "more than %u requests a second from your address; come again later", max);
    return false;
}

void ipp_admit_known(struct ipp_exchange *ex)
{
    if (!ipp_admit_level(ex) ||
        !(ex->who.tenant ? is_within_quota(ex, ex->who.tenant->quota) : is_within_rate(ex)))
        return;
    if (ex->printer && !ipp_admit_allowed(ex))
        return;
    ipp_exchange_perform(ex);
}

/* The channel first: nobody is asked for credentials, and nobody's are looked at, where others may
 * listen. */
static void admit_channel(struct ipp_exchange *ex)
{
    const struct ipp_level best = {ex->level.channel, IPP_USER_CERTIFICATE};
    enum ipp_need need = ipp_demand_check(&ex->demand, best);

    if (need == IPP_NEED_UPGRADE || need == IPP_NEED_SECURE_PORT)
        (void)ipp_admit_level(ex);
    else if (ipp_login_begin(ex) == IPP_LOGIN_DONE)
        ipp_admit_known(ex);
}

/* In clear text, with credentials: what it is about may have been made within TLS. */
static bool counts_first(const struct ipp_exchange *ex)
{
    const struct head *h = http_current(http_connection_engine(ex->conn->http))->head;

    return ex->level.channel == IPP_CHANNEL_CLEAR && head_count(h, SPAN("Authorization")) > 0;
}

static void admit_subscriptions(struct ipp_exchange *ex)
{
    if (counts_first(ex) && ipp_subscription_is_named(ex->operation))
        ipp_subscription_demand(ex, admit_channel);
    else
        admit_channel(ex);
}

void ipp_admit(struct ipp_exchange *ex)
{
    ex->level.channel = channel_of(ex);
    ex->operation = ipp_operation_find(ex->header.code);
    if (!ex->operation) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_OPERATION_NOT_SUPPORTED, ERR_POLICY, "operations",
                         "operation 0x%04x is not known here", ex->header.code);
        return;
    }
    if (!find_target(ex))
        return;
    if (ipp_subscription_is_named(ex->operation) && ex->message->target.kind == IPP_TARGET_JOB) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_BAD_REQUEST, ERR_SYNTAX, "target",
                         "%s is about a printer's subscriptions: printer-uri names that",
                         ex->operation->name);
        return;
    }
    if (ex->printer)
        ipp_demand_add(&ex->demand, ipp_admit_demand(ex, ex->printer));
    if (counts_first(ex) && ipp_exchange_job(ex) > 0)
        ipp_job_demand(ex, ipp_exchange_job(ex), admit_subscriptions);
    else
        admit_subscriptions(ex);
}
