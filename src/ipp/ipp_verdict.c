/* SPDX-License-Identifier: Apache-2.0 */
/* What is made of the look at a document: rules, the printer's row, the strictest action; and
 * refusals that say why, in the status that makes each client stop. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipp/ipp_server_int.h"

/* However long a printer takes to read a document: a job of which nothing was heard for so long is
 * told as lost, until something is. */
#define SENDING_MS 3600000u

/* ---- rules, and the printer's row ---- */

static void facts_of(struct ipp_exchange *ex, struct facts *f, struct steps *steps)
{
    *steps = (struct steps){.left = ex->snapshot->decision_steps};
    *f = (struct facts){
        .tenant = ex->who.tenant ? span_of(ex->who.tenant->name) : SPAN_NONE,
        .user = span_of(ex->who.name),
        .method = SPAN("REQMOD"),
        .path = span_of(ex->printer->set->path),
        .name = span_of(ex->name.text),
        .name_unknown = file_name_is_unknown(ex->name.tricks),
        .declared = span_of(ex->format),
        .has_body_facts = true,
        .len = ex->document_len,
        .sha256 = ex->sha256,
        .result = ex->result,
        .objects = ex->objects,
        .steps = steps,
        .client = ex->peer,
    };
}

static bool is_same(const struct finding *a, const struct finding *b)
{
    return a->note == b->note && strcmp(a->engine, b->engine) == 0 &&
           strcmp(a->name, b->name) == 0 && strcmp(a->where, b->where) == 0;
}

/* Once, however often the document is judged. */
static void note(struct ipp_exchange *ex, const struct rule_settings *rule, const char *where,
                 bool is_note)
{
    struct finding f = {.engine = "rule", .note = is_note};

    (void)span_copy(span_of(rule->name), f.name, sizeof f.name);
    (void)span_copy(span_of(where), f.where, sizeof f.where);
    for (unsigned i = 0; i < ex->result->n_findings; i++)
        if (is_same(&ex->result->findings[i], &f))
            return;
    scan_result_find(ex->result, &f);
}

/* False: no rule decided. */
static bool judge_rules(struct ipp_exchange *ex, enum cause *ret, const char **ret_why)
{
    struct rule_match m;
    struct steps steps;
    struct facts f;

    if (ex->printer->set->n_rules == 0)
        return false;
    facts_of(ex, &f, &steps);
    rules_match(ex->printer->rules, &f, false, &m);
    for (unsigned i = 0; i < m.n_notes; i++)
        note(ex, m.notes[i], m.where, true);
    *ret = CAUSE_NOT_INSPECTED;
    *ret_why = "to ask the rules about it is more work than limits.decision-steps allows";
    if (m.out_of_steps)
        return true;
    if (!m.rule || (m.rule->then != RULE_ALLOW && m.rule->then != RULE_BLOCK))
        return false;
    ex->rule = m.rule;
    *ret = m.rule->then == RULE_BLOCK ? CAUSE_DENIED : CAUSE_NONE;
    *ret_why = m.rule->why ? m.rule->why : "a rule of this printer forbids it";
    if (m.rule->then == RULE_BLOCK)
        note(ex, m.rule, m.where, false);
    return true;
}

/* What the printer's row says of documents, beyond engines and rules. */
static const char *judge_document(const struct ipp_exchange *ex)
{
    const struct ipp_printer_settings *set = ex->printer->set;

    if (set->formats.n && ipp_format_is_any(ex->format) &&
        !ipp_printer_takes_format(set, span_of(ex->result->sniffed)))
        return "documents of this type are not printed here";
    if (set->pages_max && ex->result->pages > set->pages_max)
        return "the document has more pages than are printed here";
    return NULL;
}

static void add_cause(struct ipp_exchange *ex, enum cause cause)
{
    if (cause != CAUSE_NONE)
        ex->causes |= 1u << cause;
}

/* Does `on` let all pass that stands in the way by now? Then the rest of what the printer's row
 * says still counts. */
static bool may_pass(const struct ipp_exchange *ex)
{
    enum cause any = CAUSE_NONE;

    return causes_action(ex->causes, ex->printer->set->on, &any) == ACTION_PASS;
}

static void judge(struct ipp_exchange *ex)
{
    enum cause cause = ex->result->verdict == VERDICT_PASS ? CAUSE_NONE : ex->result->cause;
    enum cause ruled = CAUSE_NONE;
    const char *why = ex->result->why, *of_row = judge_document(ex), *of_rule = "";
    bool decided = judge_rules(ex, &ruled, &of_rule);

    if (decided && ruled == CAUSE_NONE)
        ex->causes = 0;
    else if (decided)
        add_cause(ex, ruled);
    if (decided && (ruled == CAUSE_NONE || !may_pass(ex))) {
        ipp_document_decide(ex, ruled, of_rule);
        return;
    }
    add_cause(ex, cause);
    if (of_row && may_pass(ex)) {
        cause = CAUSE_DENIED;
        why = of_row;
        add_cause(ex, cause);
    }
    if (may_pass(ex) && ex->printer->set->icap && !ex->was_remote)
        ipp_inspect_elsewhere(ex);
    else
        ipp_document_decide(ex, cause, why);
}

/* Of a document that did not come whole not even a part is judged. */
static bool is_whole(const struct ipp_exchange *ex)
{
    return ex->document_ended && body_error(ex->document) == OK;
}

void ipp_document_unseen(struct ipp_exchange *ex, enum cause cause, const char *why)
{
    add_cause(ex, cause);
    bool passes = is_whole(ex) && may_pass(ex);

    if (passes && !ex->result)
        ex->result = calloc(1, sizeof *ex->result);
    if (!passes || !ex->result) {
        ipp_document_decide(ex, cause, why);
        return;
    }
    ipp_inspect_give_slot(ex);
    scan_result_judge(ex->result, VERDICT_ERROR, cause, ERR_BUSY, "%s", why);
    judge(ex);
}

/* One without a client may be over, and gone, by the time that it is judged. */
void ipp_document_judge(struct ipp_exchange *ex)
{
    struct ipp_connection *c = ex->conn;

    if (ex->result)
        judge(ex);
    else
        ipp_document_decide(ex, CAUSE_OVERLOAD, "no memory for a scan's result");
    if (c)
        http_connection_wake(c->http);
}

/* ---- the decision ---- */

/* Which status makes the client stop, rather than send the same again for ever: the CUPS ipp
 * backend tries again whatever it does not know. */
static uint16_t status_of(const struct ipp_exchange *ex)
{
    struct span agent = SPAN_NONE;
    const struct http_request *req =
        ex->conn ? http_current(http_connection_engine(ex->conn->http)) : NULL;

    if (req)
        agent = head_value(req->head, SPAN("User-Agent"));
    if (ex->action == ACTION_ERROR)
        return IPP_SERVER_ERROR_BUSY;
    if (ex->cause == CAUSE_TOO_LARGE)
        return IPP_CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE;
    return ipp_reject_status(ex->printer->set->reject, ex->printer->set->n_reject,
                             ex->operation->code, agent);
}

static const char *reason_of(enum cause cause)
{
    switch (cause) {
    case CAUSE_INFECTED:
    case CAUSE_NOT_INSPECTED: return "document-security-error";
    case CAUSE_DENIED: return "document-permission-error";
    default: return "aborted-by-system";
    }
}

static const char *words_of(enum cause cause)
{
    switch (cause) {
    case CAUSE_INFECTED: return "the document is infected";
    case CAUSE_DENIED: return "the document is not allowed";
    case CAUSE_ENGINE_DOWN: return "the document could not be inspected: the engines are down";
    case CAUSE_TIMEOUT: return "the inspection of the document took too long";
    case CAUSE_TOO_LARGE: return "the document is too large";
    case CAUSE_NOT_INSPECTED: return "nobody could look into the document";
    case CAUSE_WORKER_CRASH: return "the inspection of the document failed";
    case CAUSE_OVERLOAD: return "too many documents are being inspected";
    case CAUSE_DISK_FULL: return "there is no room for the document";
    case CAUSE_NONE: break;
    }
    return "the document was refused";
}

/* |ex->why| is told, to whom it may concern. */
static void tell(struct ipp_exchange *ex)
{
    char text[sizeof ex->why];

    (void)span_copy(span_of(ex->why), text, sizeof text);
    if (ex->conn)
        ipp_reply_refuse(ex, ex->ipp_status, ex->err, ex->rule_name, "%s", text);
    else
        ipp_exchange_finish(ex);
}

static void keep_aborted(struct ipp_exchange *ex, const char *reason,
                         void (*done)(void *arg, enum err err, const struct ipp_job *job))
{
    struct ipp_job j = ex->job;

    j.stage = IPP_JOB_ABORTED;
    j.ended_wall_ms = clock_wall_ms(loop_clock(ex->server->env.loop));
    j.saved = SPAN_NONE;
    (void)span_copy(span_of(reason), j.reason, sizeof j.reason);
    (void)span_copy(span_of(ex->why), j.why, sizeof j.why);
    (void)span_copy(span_of(ex->id), j.record, sizeof j.record);
    ipp_job_keep(ex, &j, done);
}

/* Also where the book could not be told: somebody else has ended the job, or it reads as over when
 * its time is. */
static void on_over(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    (void)err;
    (void)job;
    ex->asking = false;
    tell(ex);
}

/* Its user wanted it to end, too, and nobody else would see to that any more. */
static void on_stopping(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    if (err || job->stage != IPP_JOB_STOPPING) {
        on_over(ex, err, job);
        return;
    }
    ex->asking = false;
    ex->job = *job;
    keep_aborted(ex, "aborted-by-system", on_over);
}

static void on_aborted(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    if (err != ERR_CONFLICT || ex->job.stage != IPP_JOB_SENDING) {
        on_over(ex, err, job);
        return;
    }
    ex->asking = false;
    ipp_job_reread(ex, on_stopping);
}

/* The job will never have its document: it ends here, and says why to whoever asks. False: it does
 * not, since it is over, or the printer's. */
static bool abort_job(struct ipp_exchange *ex, const char *reason)
{
    if (!ex->has_job || ipp_job_is_over(&ex->job) || ex->job.printer_id != 0)
        return false;
    keep_aborted(ex, reason, on_aborted);
    return true;
}

#define NUMBER_MAX (sizeof " []" + RECORD_ID_LEN)

/* Who can be asked about it, and by which number: that is whole, whatever has to be cut. */
static void add_number(struct ipp_exchange *ex)
{
    const char *contact = ex->printer->set->contact;
    size_t n = span_of(ex->why).n;

    if (contact)
        (void)snprintf(ex->why + n, sizeof ex->why - NUMBER_MAX - n, "; ask %s", contact);
    n = span_of(ex->why).n;
    (void)snprintf(ex->why + n, sizeof ex->why - n, " [%s]", ex->id);
}

void ipp_document_refuse(struct ipp_exchange *ex, const struct ipp_refusal *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(ex->why, sizeof ex->why - NUMBER_MAX, fmt, ap);
    va_end(ap);
    add_number(ex);
    ex->ipp_status = r->status;
    ex->err = r->err;
    ex->rule_name = r->rule;
    /* The job ends before its client hears of it, who asks next how it is, or cancels it. */
    if (!ex->conn && ex->has_job && ex->job.printer_id)
        ipp_stop_incomplete(ex); /* without this document it is not what was taken */
    else if (!r->reason || !abort_job(ex, r->reason))
        tell(ex);
}

static void refuse(struct ipp_exchange *ex, const char *why)
{
    /* After "busy" the client comes again with the same job. */
    bool ends = ex->action == ACTION_BLOCK || !ex->conn;
    const struct ipp_refusal r = {
        .status = status_of(ex),
        .err = ERR_POLICY,
        .rule = "pipeline",
        .reason = ends ? reason_of(ex->cause) : NULL,
    };
    const char *finding = "";

    for (unsigned i = 0; ex->result && !finding[0] && i < ex->result->n_findings; i++)
        if (!ex->result->findings[i].note)
            finding = ex->result->findings[i].name;
    /* A finding says what an engine denies; rules and the printer's row have their own words. */
    bool own_words = !ex->result || why != ex->result->why;

    if (ex->cause == CAUSE_DENIED && why[0] && (!finding[0] || own_words))
        finding = why;
    else if (ex->cause == CAUSE_ENGINE_DOWN && ex->result) /* for operators: it names addresses */
        (void)span_copy(span_of(ex->result->why), ex->detail, sizeof ex->detail);
    ex->state = EX_BOOK;
    ipp_document_refuse(ex, &r, "%s%s%s", words_of(ex->cause), finding[0] ? ": " : "", finding);
}

bool ipp_document_failed(struct ipp_exchange *ex)
{
    return !ex->conn && abort_job(ex, "aborted-by-system");
}

/* ---- on to the printer ---- */

static void on_claimed(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;
    struct span saved = ex->job.saved;

    ex->asking = false;
    if (err == OK) {
        ex->job = *job;
        ex->job.saved = saved;
        ipp_forward(ex);
        return;
    }
    if (err == ERR_CONFLICT)
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_JOB_CANCELED, err, "job",
                         "the job was canceled while its document was inspected");
    else
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, err, "job book",
                         "what is known of jobs cannot be kept now: %s", err_text(err));
    if (!ex->conn)
        ipp_exchange_finish(ex);
}

/* A job that the printer has not got may have been canceled while nobody knew what its document
 * is: then the book has another version of it. From now on it cannot be canceled here alone, if the
 * document is what the printer gets first. */
static void print(struct ipp_exchange *ex)
{
    struct ipp_job j = ex->job;

    if (!ex->has_job || j.printer_id) {
        ipp_forward(ex);
        return;
    }
    if (ex->operation->code == IPP_OPERATION_PRINT_JOB) {
        j.stage = IPP_JOB_SENDING;
        j.until_wall_ms = clock_wall_ms(loop_clock(ex->server->env.loop)) + SENDING_MS;
    }
    ex->state = EX_BOOK;
    ipp_job_keep(ex, &j, on_claimed);
}

/* |cause|: the gravest; CAUSE_NONE: there is none. */
void ipp_document_decide(struct ipp_exchange *ex, enum cause cause, const char *why)
{
    struct ipp_server *s = ex->server;

    timer_clear(s->env.loop, &ex->timer);
    ipp_inspect_give_slot(ex);
    ex->has_verdict = true;
    ex->cause = cause;
    add_cause(ex, cause);
    ex->action = causes_action(ex->causes, ex->printer->set->on, &ex->cause);
    /* What did not come whole, or was not judged, cannot be printed, whatever the row says. */
    if (ex->action == ACTION_PASS && (!is_whole(ex) || !ex->result))
        ex->action = ACTION_BLOCK;
    metrics_add(s->env.metrics, s->loop_index, ex->printer->metrics.actions[ex->action], 1);
    for (enum cause c = CAUSE_NONE + 1; c < CAUSES; c++)
        if (ex->causes & 1u << c)
            metrics_add(s->env.metrics, s->loop_index, ex->printer->metrics.causes[c], 1);
    if (ex->action == ACTION_PASS)
        print(ex);
    else
        refuse(ex, why);
}
