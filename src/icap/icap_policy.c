/* SPDX-License-Identifier: Apache-2.0 */
/* What a service says to a message before and after its engines have looked: heads that must not be
 * trusted, ranges, URL lists, rules, exceptions, bypasses. Each function says what it decided; the
 * transaction acts. */
#include <stdlib.h>
#include <string.h>

#include "adapt/url_lists.h"
#include "base/log.h"
#include "icap/icap_server_int.h"

/* ---- heads ---- */

/* Any coding but |plain|, in any of the fields |name|: a second one is read by some clients. */
static bool is_encoded(const struct head *http, struct span name, struct span plain)
{
    for (unsigned i = head_find(http, name, 0); i < http->n_fields;
         i = head_find(http, name, i + 1)) {
        struct span rest = http->fields[i].value, coding;

        while (span_list_next(&rest, &coding))
            if (!span_ieq(coding, SPAN("identity")) && !span_ieq(coding, plain))
                return true;
    }
    return false;
}

static enum cause decide(struct icap_transaction *tx, enum cause cause, enum err err,
                         const char *why)
{
    tx->err = err;
    tx->err_why = why;
    return cause;
}

/* RFC 9110 14.2: a fragment is a piece of a file of which nobody can say what it is. */
static bool is_fragment(const struct icap_request *req, const struct head *http)
{
    return head_value(http, SPAN("Content-Range")).p ||
           (req->method == ICAP_RESPMOD && http->status == 206);
}

/* Does the cause stand? An exception lets pass what is denied for the heads; what the engines have
 * not seen yet they are asked about all the same, and their verdict has to meet an exception of its
 * own. */
static bool stands(struct icap_transaction *tx, enum cause cause)
{
    if (cause != CAUSE_DENIED || !icap_judge_exception(tx))
        return cause != CAUSE_NONE;
    tx->err = OK;
    tx->err_why = NULL;
    return false;
}

/* RFC 9110 14.2: only in a GET does it mean anything, which may have a body, if none that means
 * something (9.3.1). Request-Range is what some servers know from before RFC 2068. */
static bool asks_for_a_range(const struct icap_request *req, const struct head *http)
{
    return (!req->has_body || span_eq(http->method, SPAN("GET"))) &&
           (head_value(http, SPAN("Range")).p || head_value(http, SPAN("Request-Range")).p);
}

static enum cause judge_ranges(struct icap_transaction *tx, const struct head *http)
{
    enum icap_ranges ranges = tx->service->set->ranges;
    bool fragment = is_fragment(tx->req, http);
    bool asked = tx->req->method == ICAP_REQMOD && asks_for_a_range(tx->req, http);
    enum cause cause = CAUSE_NONE;

    if (!fragment && !asked)
        return CAUSE_NONE;
    if (ranges == ICAP_RANGES_PASS) {
        tx->pass_fragment = fragment;
        return CAUSE_NONE;
    }
    if (ranges == ICAP_RANGES_BLOCK)
        cause = decide(tx, CAUSE_DENIED, ERR_POLICY, "parts of files (Range) are not allowed here");
    else
        tx->strip_range = asked;
    if (stands(tx, cause))
        return cause;
    if (!fragment)
        return CAUSE_NONE;
    return decide(tx, CAUSE_NOT_INSPECTED, OK,
                  "the body is a fragment (206, Content-Range) of a file that was not seen whole");
}

/* In a RESPMOD the request's head is not what is delivered, but rules and lists go by its host. */
static const char *heads_conflict(const struct icap_request *req)
{
    const struct head *http = icap_message_head(req);
    const char *why = http ? head_smuggling(http) : NULL;

    if (why || !req->http_request)
        return why;
    why = head_host_conflict(req->http_request);
    return why ? why : icap_target_conflict(req->http_request);
}

/* What a client and we might read differently is not for a rule to allow. */
static enum cause judge_heads(struct icap_transaction *tx)
{
    const struct head *http = icap_message_head(tx->req);
    const char *why = heads_conflict(tx->req);
    enum cause cause = why ? decide(tx, CAUSE_DENIED, ERR_POLICY, why) : CAUSE_NONE;

    if (stands(tx, cause))
        return cause;
    if (!http)
        return CAUSE_NONE;
    cause = judge_ranges(tx, http);
    if (cause != CAUSE_NONE || !tx->req->has_body)
        return cause;
    /* RFC 3507 4.4.2 wants the chunked coding undone and the field, being hop-by-hop, gone; a
     * client that leaves the field in may have left the other codings in, too. */
    if (is_encoded(http, SPAN("Transfer-Encoding"), SPAN("chunked")))
        return decide(tx, CAUSE_NOT_INSPECTED, OK,
                      "the body is compressed (Transfer-Encoding), and that is not undone here");
    return CAUSE_NONE;
}

/* ---- findings of our own ---- */

static struct scan_result *own_result(struct icap_transaction *tx)
{
    if (!tx->result)
        tx->result = calloc(1, sizeof *tx->result);
    return tx->result;
}

static void add_finding(struct icap_transaction *tx, const char *engine, const char *name,
                        const char *where, bool note)
{
    struct scan_result *r = own_result(tx);
    struct finding f = {.note = note};

    if (!r)
        return;
    (void)span_copy(span_of(engine), f.engine, sizeof f.engine);
    (void)span_copy(span_of(name), f.name, sizeof f.name);
    (void)span_copy(span_of(where), f.where, sizeof f.where);
    scan_result_find(r, &f);
}

/* ---- URL lists ---- */

static enum cause judge_url(struct icap_transaction *tx)
{
    const struct url_list_settings *list;

    if (!(tx->pipeline & 1u << PIPELINE_URL) || !tx->snapshot->urls)
        return CAUSE_NONE;
    if (!tx->req->http_request)
        return decide(tx, CAUSE_NOT_INSPECTED, OK, "there is no request to look up in lists");
    if (!tx->subject->host[0])
        return decide(tx, CAUSE_NOT_INSPECTED, OK, "the request names no host to look up in lists");
    list = url_lists_verdict(tx->snapshot->urls, span_of(tx->subject->host), tx->subject->path);
    if (!list || list->action == URL_LIST_ALLOW)
        return CAUSE_NONE;
    add_finding(tx, "url", list->name, "", list->action == URL_LIST_NOTE);
    if (list->action == URL_LIST_NOTE)
        return CAUSE_NONE;
    return decide(tx, CAUSE_DENIED, ERR_POLICY, "the address is on a list of forbidden ones");
}

/* ---- rules ---- */

/* Nobody knows what the rules would have said. */
static enum cause out_of_steps(struct icap_transaction *tx)
{
    struct icap_server *s = tx->server;

    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.out_of_steps, 1);
    if (tx->result)
        tx->result->incomplete = true;
    return decide(tx, CAUSE_NOT_INSPECTED, ERR_LIMIT,
                  "to ask the rules about all its parts is more work than limits.decision-steps "
                  "allows");
}

/* *ret_cause: CAUSE_DENIED of a block, CAUSE_NONE of an allow, CAUSE_NOT_INSPECTED out of steps.
 * False: no rule decided. */
static bool judge_rules(struct icap_transaction *tx, bool head_only, enum cause *ret_cause)
{
    struct icap_server *s = tx->server;
    struct rule_match m;
    struct facts f;
    bool decided;

    if (tx->service->set->n_rules == 0)
        return false;
    icap_subject_facts(tx, &f);
    rules_match(tx->service->rules, &f, head_only, &m);
    decided = m.rule && m.rule->then != RULE_PIPELINE;
    if (decided || !head_only) /* else they come again with the second walk */
        for (unsigned i = 0; i < m.n_notes; i++)
            add_finding(tx, "rule", m.notes[i]->name, m.where, true);
    if (m.out_of_steps) {
        *ret_cause = out_of_steps(tx);
        return true;
    }
    if (!m.rule)
        return false;
    tx->rule = m.rule;
    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.rules, 1);
    switch (m.rule->then) {
    case RULE_ALLOW: *ret_cause = CAUSE_NONE; return true;
    case RULE_BLOCK:
        add_finding(tx, "rule", m.rule->name, m.where, false);
        *ret_cause = decide(tx, CAUSE_DENIED, ERR_POLICY,
                            m.rule->why ? m.rule->why : "a rule of this service forbids it");
        return true;
    case RULE_PIPELINE: tx->pipeline = m.rule->pipeline; return false;
    case RULE_NOTE: break;
    }
    return false;
}

/* ---- in their order ---- */

static bool is_bypassed(struct icap_transaction *tx)
{
    struct icap_server *s = tx->server;
    const struct exception *e =
        exceptions_bypass(tx->snapshot->exceptions, tx->service->set->name, tx->start_wall_ms);

    if (!e)
        return false;
    memcpy(tx->bypass, e->id, sizeof tx->bypass);
    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.bypassed, 1);
    return true;
}

enum icap_judgement icap_judge_begin(struct icap_transaction *tx, enum cause *ret_cause)
{
    tx->pipeline = tx->service->set->pipeline;
    *ret_cause = CAUSE_NONE;
    if (is_bypassed(tx))
        return ICAP_JUDGED_UNSEEN;
    *ret_cause = judge_heads(tx);
    if (*ret_cause != CAUSE_NONE)
        return ICAP_JUDGED;
    if (judge_rules(tx, true, ret_cause)) {
        if (*ret_cause == CAUSE_NONE)
            return ICAP_JUDGED_UNSEEN;
        if (stands(tx, *ret_cause))
            return ICAP_JUDGED;
    }
    *ret_cause = judge_url(tx);
    if (stands(tx, *ret_cause))
        return ICAP_JUDGED;
    *ret_cause = CAUSE_NONE;
    if (tx->pass_fragment) {
        tx->err_why = "a fragment of a file passes, as `ranges` says";
        return ICAP_JUDGED_UNSEEN;
    }
    return ICAP_NOT_JUDGED;
}

bool icap_judge_end(struct icap_transaction *tx, enum cause *ret_cause)
{
    return judge_rules(tx, false, ret_cause);
}

bool icap_exception_stands(const struct icap_transaction *tx, const char *id)
{
    const struct icap_server *s = tx->server;
    const struct exception *e = exceptions_find(s->snapshot->exceptions, id);

    return e && clock_wall_ms(loop_clock(s->env.loop)) < e->expires_wall_ms;
}

bool icap_judge_exception(struct icap_transaction *tx)
{
    struct icap_server *s = tx->server;
    const struct exception *e;
    struct facts f;

    if (!tx->subject || exceptions_count(tx->snapshot->exceptions) == 0)
        return false;
    icap_subject_facts(tx, &f);
    e = exceptions_match_still(tx->snapshot->exceptions, s->snapshot->exceptions,
                               tx->service->set->name, &f, clock_wall_ms(loop_clock(s->env.loop)));
    if (!e)
        return false;
    memcpy(tx->exception, e->id, sizeof tx->exception);
    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.exceptions, 1);
    log_info("icap", "id=%s service=%s cause=%s: passed by exception %s", tx->id,
             tx->service->set->name, cause_name(tx->cause), e->id);
    return true;
}
