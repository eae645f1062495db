/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to the printer, and what comes back. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "ipp/ipp_server_int.h"
#include "ipp/ipp_translate_int.h"

static void send_request(struct ipp_exchange *ex, bool with_document);

/* ---- answers ---- */

static bool is_success(uint16_t status)
{
    return status < 0x0100;
}

static const struct ipp_job *own_job(void *arg, int32_t printer_id)
{
    struct ipp_exchange *ex = arg;

    return ex->has_job && ex->job.printer_id == printer_id ? &ex->job : NULL;
}

static const struct ipp_job *listed_job(void *arg, int32_t printer_id)
{
    struct ipp_exchange *ex = arg;

    for (size_t i = 0; i < ex->n_jobs; i++)
        if (ex->jobs[i].printer_id == printer_id && ipp_job_may_tell(ex, &ex->jobs[i]))
            return &ex->jobs[i];
    return own_job(arg, printer_id);
}

struct ipp_answer_translation ipp_forward_translation(struct ipp_exchange *ex,
                                                      struct ipp_public_printer *pub)
{
    ipp_reply_public(ex, pub);
    return (struct ipp_answer_translation){
        .printer = pub,
        .request_id = ex->header.request_id,
        .is_operator = ex->is_operator,
        .named = ex->has_job ? &ex->job : NULL,
        .job = listed_job,
        .subscription = ex->operation->code == IPP_OPERATION_GET_SUBSCRIPTIONS
                            ? ipp_subscription_may_tell
                            : NULL,
        .arg = ex,
    };
}

/* Makes the answer out of the printer's, in ex->out. */
static enum err translate_answer(struct ipp_exchange *ex)
{
    struct ipp_public_printer pub;
    struct ipp_answer_translation t = ipp_forward_translation(ex, &pub);
    char said[IPP_REFUSAL_MAX + 1];

    if (ex->operation->code == IPP_OPERATION_GET_PRINTER_ATTRIBUTES && ipp_refused_lately(ex, said))
        t.state_message = span_of(said);
    enum err e = ipp_translate_answer(&ex->answer_message, &t, &ex->out);

    if (ex->lists_local && ex->out.n > 0) {
        ex->out.n--; /* its end: groups follow */
        ipp_job_list_add(ex, &pub);
        buf_char(&ex->out, IPP_GROUP_END);
    }
    return e;
}

/* The printer's octets are told. */
static void drop_answer(struct ipp_exchange *ex)
{
    struct buf *spare = &ex->server->answer_spare;

    if (!spare->p && ex->answer.cap <= BLOCK_SIZE) {
        *spare = ex->answer;
        buf_reset(spare);
        buf_init(&ex->answer, 0);
    }
    buf_done(&ex->answer);
}

/* Answers are long, and lie here only until the engine has copied them: in a block of the pool, so
 * that malloc's heap does not grow and shrink with each. */
static void answer_client(struct ipp_exchange *ex)
{
    struct block *room;

    if (!ex->conn) /* it has its answer */
        return;
    buf_done(&ex->out);
    room = block_new_text();
    if (room)
        buf_init_on(&ex->out, (char *)room->data, BLOCK_SIZE, 0);
    enum err e = translate_answer(ex);

    if (e)
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, e, "answer",
                         "the printer's answer cannot be told: %s", err_text(e));
    else
        ipp_reply_out(ex, ex->answer_message.header.code);
    buf_done(&ex->out);
    drop_answer(ex);
    block_unref(room);
}

void ipp_forward_over(struct ipp_exchange *ex)
{
    if (ex->conn)
        ipp_exchange_wake(ex);
    else if (!ipp_document_failed(ex))
        ipp_exchange_finish(ex);
}

/* The printer has not got the document, or nobody knows. Where the client has gone nobody else
 * would end the job, for which the printer waits on. */
static void undelivered(struct ipp_exchange *ex)
{
    if (!ex->conn && ex->has_job && ex->job.printer_id)
        ipp_stop_incomplete(ex);
    else
        ipp_forward_over(ex);
}

void ipp_forward_answer(struct ipp_exchange *ex)
{
    answer_client(ex);
    ipp_forward_over(ex);
}

static void on_job_kept(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    ex->asking = false;
    if (err == ERR_CONFLICT && ex->has_job) {
        ipp_stop_conflict(ex, ex->took_id);
    } else if (err) {
        ipp_stop_unkept(ex, err);
    } else {
        ex->job = *job;
        ex->has_job = true;
        ipp_subscription_answered(ex, ipp_forward_answer);
    }
}

static bool makes_job(const struct ipp_exchange *ex)
{
    return ex->operation->code == IPP_OPERATION_PRINT_JOB ||
           ex->operation->code == IPP_OPERATION_SEND_DOCUMENT;
}

/* The printer took it: it is known by both numbers before anybody hears of it. */
static void keep_printed(struct ipp_exchange *ex, int32_t printer_id)
{
    struct ipp_job j = ex->job;

    if (!ex->has_job) {
        ipp_job_describe(ex, IPP_JOB_PRINTER, &j);
        j.id = ex->number;
        atomic_fetch_add_explicit(&ex->server->n_jobs, 1, memory_order_relaxed);
        metrics_add(ex->server->env.metrics, ex->server->loop_index, ex->printer->metrics.jobs, 1);
    } else if (ex->operation->code == IPP_OPERATION_SEND_DOCUMENT && ex->document_len) {
        j.documents++;
        j.octets += ex->document_len;
        (void)span_copy(span_of(ex->format), j.format, sizeof j.format);
    }
    j.stage = IPP_JOB_PRINTER;
    j.printer_id = ex->took_id = printer_id;
    j.saved = SPAN_NONE;
    ex->settles = true;
    ex->state = EX_BOOK;
    ipp_job_keep(ex, &j, on_job_kept);
}

static void send_document(struct ipp_exchange *ex)
{
    send_request(ex, true);
}

/* Of a job that is at the printer already only its documents change; one of which nobody would know
 * there is none to wait for. */
static void on_created_kept(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    ex->asking = false;
    if (err == ERR_CONFLICT) {
        ipp_stop_conflict(ex, ex->took_id);
    } else if (err) {
        ipp_stop_unkept(ex, err);
    } else {
        ex->job = *job;
        ipp_subscription_answered(ex, send_document);
    }
}

static void refuse_nameless(struct ipp_exchange *ex)
{
    ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, ERR_PROTO, "printer",
                     "the printer took a job and did not say which");
    ipp_forward_over(ex);
}

/* The client has its answer: the job tells of it. */
static void refused_later(struct ipp_exchange *ex)
{
    const char *status = ipp_status_name(ex->answer_message.header.code);

    ex->err = ERR_UPSTREAM;
    (void)snprintf(ex->why, sizeof ex->why, "the printer refused the document: %s",
                   status ? status : "an unknown status");
    undelivered(ex);
}

/* The job of a Create-Job that came long ago is at the printer now, and its document follows. */
static void created(struct ipp_exchange *ex)
{
    struct ipp_job j = ex->job;

    j.printer_id = ex->took_id = ipp_answer_job(&ex->answer_message);
    j.stage = IPP_JOB_PRINTER;
    j.saved = SPAN_NONE;
    ex->creating = false;
    if (!is_success(ex->answer_message.header.code)) {
        if (ex->conn)
            ipp_forward_answer(ex);
        else
            refused_later(ex);
        return;
    }
    if (j.printer_id == 0) {
        refuse_nameless(ex);
        return;
    }
    const struct ipp_jobs_opening o = ipp_job_opening(ex);

    ipp_jobs_opened(ex->server->env.numbers, &o);
    atomic_fetch_add_explicit(&ex->server->n_jobs, 1, memory_order_relaxed);
    metrics_add(ex->server->env.metrics, ex->server->loop_index, ex->printer->metrics.jobs, 1);
    ex->settles = true;
    ex->state = EX_BOOK;
    ipp_job_keep(ex, &j, on_created_kept);
}

/* ---- lists ---- */

static bool ask_for_more(struct ipp_exchange *ex);

static void on_listed(struct ipp_exchange *ex)
{
    if (ipp_job_list_wants_more(ex) && ask_for_more(ex))
        return;
    ipp_job_list_clip(ex);
    ipp_forward_answer(ex);
}

/* Answers about the printer itself tell of no jobs, and are the longest: nobody looks for any in
 * them. What names one nevertheless is left out. */
static bool is_about_printer(const struct ipp_exchange *ex)
{
    return ex->operation->code == IPP_OPERATION_GET_PRINTER_ATTRIBUTES ||
           ex->operation->code == IPP_OPERATION_GET_PRINTER_SUPPORTED_VALUES;
}

/* Whose the jobs are that the answer tells of. */
static void ask_for_jobs(struct ipp_exchange *ex)
{
    bool all =
        ex->operation->code == IPP_OPERATION_GET_JOBS && is_success(ex->answer_message.header.code);
    int32_t first = 0;
    size_t n = is_about_printer(ex) ? 0 : ipp_answer_jobs(&ex->answer_message, &first, 1);

    if (!all && (n == 0 || (n == 1 && ex->has_job && first == ex->job.printer_id)))
        on_listed(ex);
    else
        ipp_job_list(ex, all, on_listed);
}

/* Without that the client is told what is there. */
static void on_more(void *arg, const struct ipp_backend_answer *a)
{
    struct ipp_exchange *ex = arg;

    ex->errand = NULL;
    if (a->err || !is_success(a->message->header.code)) {
        ipp_forward_answer(ex);
        return;
    }
    ipp_forward_keep(ex, a);
    ex->n_jobs = 0;
    ask_for_jobs(ex);
}

static bool ask_for_more(struct ipp_exchange *ex)
{
    struct ipp_backend *b = ipp_server_backend(ex->server, ex->printer);
    struct ipp_backend_request r = {.upstreams = &ex->upstreams, .done = on_more, .arg = ex};

    buf_reset(&ex->out);
    if (!b || ipp_forward_translate(ex, ex->printer, &ex->out) != OK)
        return false;
    r.attributes = buf_span(&ex->out);
    ex->state = EX_PRINTER;
    return ipp_backend_ask(b, &r, &ex->errand) == OK;
}

/* ---- errands ---- */

/* RFC 8011 4.1.1: octets 2 and 3; 4 to 7 are the request's number. */
static void set_operation(struct buf *message, uint16_t code)
{
    message->p[2] = (char)(code >> 8);
    message->p[3] = (char)(code & 0xff);
}

void ipp_forward_failed(struct ipp_exchange *ex, const struct ipp_backend_answer *a)
{
    metrics_add(ex->server->env.metrics, ex->server->loop_index, ex->printer->metrics.errors, 1);
    (void)span_copy(span_of(a->detail), ex->detail, sizeof ex->detail);
    if (a->sent && makes_job(ex))
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, a->err, "printer",
                         "whether the printer took the job is not known: %s", a->why);
    else
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_SERVICE_UNAVAILABLE, a->err, "printer", "%s", a->why);
}

void ipp_forward_keep(struct ipp_exchange *ex, const struct ipp_backend_answer *a)
{
    ipp_backend_keep(a, &ex->answer, &ex->answer_message);
}

static void took_request(struct ipp_exchange *ex)
{
    bool success = is_success(ex->answer_message.header.code);
    int32_t id = 0;

    if (makes_job(ex))
        id = ex->job.printer_id ? ex->job.printer_id : ipp_answer_job(&ex->answer_message);
    if (ex->creating) {
        created(ex);
    } else if (ex->operation->code == IPP_OPERATION_CREATE_JOB && success) {
        set_operation(&ex->out, IPP_OPERATION_CREATE_JOB); /* Validate-Job was asked */
        ipp_job_create(ex);
    } else if (makes_job(ex) && success && id) {
        keep_printed(ex, id);
    } else if (makes_job(ex) && success) {
        refuse_nameless(ex);
    } else if (makes_job(ex) && !ex->conn) {
        refused_later(ex);
    } else if (makes_job(ex)) {
        ipp_forward_answer(ex);
    } else if (success) {
        ipp_subscription_answered(ex, ask_for_jobs);
    } else {
        ask_for_jobs(ex);
    }
}

static void on_answer(void *arg, const struct ipp_backend_answer *a)
{
    struct ipp_exchange *ex = arg;

    ex->errand = NULL;
    if (a->err) {
        ipp_forward_failed(ex, a);
        undelivered(ex);
    } else {
        ipp_forward_keep(ex, a);
        took_request(ex);
    }
}

/* ---- requests ---- */

static bool is_protected(const struct ipp_exchange *ex, const struct ipp_printer *p)
{
    return ex->level.channel != IPP_CHANNEL_CLEAR &&
           (p->backend.secure || ipp_uri_is_inside(span_of(p->backend_uri), SPAN_NONE));
}

enum err ipp_forward_translate(const struct ipp_exchange *ex, const struct ipp_printer *p,
                               struct buf *out)
{
    const struct ipp_request_translation t = {
        .printer_uri = span_of(p->backend_uri),
        .job_id = ex->has_job ? ex->job.printer_id : 0,
        .user = ex->who.kind > IPP_USER_CLAIMED ? span_of(ex->who.name) : SPAN_NONE,
        .secure = is_protected(ex, p),
        .limit = ex->list_limit,
        .jobs = ex->others,
        .n_jobs = ex->n_others,
        .hold = p->set->hold && (ex->operation->code == IPP_OPERATION_PRINT_JOB ||
                                 ex->operation->code == IPP_OPERATION_CREATE_JOB),
    };

    return ipp_translate_request(ex->message, &t, out);
}

/* CUPS answers for the printer that is its own default; here it is the one that this request leads
 * to. */
enum err ipp_forward_attributes(const struct ipp_exchange *ex, const struct ipp_printer *p,
                                struct buf *out)
{
    struct ipp_attribute a;
    struct ipp_writer w;
    struct ipp_value v;
    bool first = true;

    ipp_write_begin(&w, out, ex->header.major, ex->header.minor,
                    IPP_OPERATION_GET_PRINTER_ATTRIBUTES, ex->header.request_id);
    ipp_write_group(&w, IPP_GROUP_OPERATION);
    ipp_write_string(&w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
    ipp_write_string(&w, IPP_VALUE_LANGUAGE, SPAN("attributes-natural-language"), SPAN("en"));
    ipp_write_string(&w, IPP_VALUE_URI, SPAN("printer-uri"), span_of(p->backend_uri));
    if (ipp_message_find(ex->message, SPAN("requested-attributes"), &a) == OK)
        for (struct span rest = a.values; ipp_value_next(&rest, &v); first = false)
            ipp_write_copy(&w, first ? SPAN("requested-attributes") : SPAN_NONE, &v);
    return ipp_write_end(&w);
}

static enum err make_request(struct ipp_exchange *ex)
{
    if (ex->creating) {
        buf_add(&ex->out, ex->job.saved);
        return ex->out.err;
    }
    return ipp_forward_translate(ex, ex->printer, &ex->out);
}

static void send_request(struct ipp_exchange *ex, bool with_document)
{
    struct ipp_backend *b = ipp_server_backend(ex->server, ex->printer);
    struct ipp_backend_request r = {
        .document = with_document && !ex->creating ? ex->document : NULL,
        .spare = &ex->server->answer_spare,
        .upstreams = &ex->upstreams,
        .done = on_answer,
        .arg = ex,
    };

    buf_reset(&ex->out);
    enum err e = b ? make_request(ex) : ERR_MISSING;

    if (e == OK) {
        /* What Create-Job may say of its attributes Validate-Job says as well. */
        if (!ex->creating && ex->operation->code == IPP_OPERATION_CREATE_JOB)
            set_operation(&ex->out, IPP_OPERATION_VALIDATE_JOB);
        r.attributes = buf_span(&ex->out);
        ex->state = EX_PRINTER;
        e = ipp_backend_ask(b, &r, &ex->errand);
    }
    if (e == OK)
        return;
    ipp_reply_refuse(ex,
                     e == ERR_LIMIT ? IPP_CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE
                                    : IPP_SERVER_ERROR_SERVICE_UNAVAILABLE,
                     e, "printer",
                     e == ERR_MISSING ? "the printer is not configured any more"
                                      : "the request cannot be made for the printer");
    undelivered(ex);
}

/* Also where the client has its answer: then it is the record that says why. */
static void on_reserved(struct ipp_exchange *ex, enum err e)
{
    if (e == OK) {
        send_request(ex, ex->document != NULL);
        return;
    }
    (void)span_copy(e == ERR_FULL ? SPAN("see store.size, ipp.retention, and the disk of the store")
                                  : SPAN("see the disk of the store"),
                    ex->detail, sizeof ex->detail);
    const char *what = ipp_subscription_is_written(ex->operation) ? "subscriptions" : "jobs";

    ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, e, "job book",
                     e == ERR_FULL ? "there is no room for more %s here; the printer has not got "
                                     "this one: try again later"
                                   : "%s cannot be written down here now; the printer has not "
                                     "got this one: try again later",
                     what);
    undelivered(ex);
}

/* The book would keep them until the document is here, and without them it would be printed
 * otherwise than was asked: for everybody who stands at the printer, say. */
static bool would_keep_secrets(const struct ipp_exchange *ex)
{
    return ex->operation->code == IPP_OPERATION_CREATE_JOB && is_protected(ex, ex->printer) &&
           ipp_request_has_secrets(ex->message);
}

void ipp_forward(struct ipp_exchange *ex)
{
    if (would_keep_secrets(ex)) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED, ERR_POLICY,
                         "secrets",
                         "passwords are not kept here for a document to come: use Print-Job");
        return;
    }
    ex->creating = ex->operation->code == IPP_OPERATION_SEND_DOCUMENT && ex->has_job &&
                   ex->job.printer_id == 0;
    if (makes_job(ex) || ex->operation->code == IPP_OPERATION_CREATE_JOB ||
        (ipp_subscription_is_written(ex->operation) && store_ready(ex->server->env.store) != OK))
        ipp_job_reserve(ex, on_reserved);
    else
        send_request(ex, ex->document != NULL);
}
