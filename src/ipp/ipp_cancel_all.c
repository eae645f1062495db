/* SPDX-License-Identifier: Apache-2.0 */
/* Cancel-My-Jobs and Cancel-Jobs that name no job (PWG 5100.11 4.1, 4.2). The printer would cancel
 * what it takes for the user's, whatever the level at which each was made: so it is asked which
 * jobs there are, and each that may be canceled is canceled by its number. */
#include "ipp/ipp_server_int.h"

static void cancel_next(struct ipp_exchange *ex);

bool ipp_cancel_all_is(const struct ipp_operation *o)
{
    return o->code == IPP_OPERATION_CANCEL_MY_JOBS || o->code == IPP_OPERATION_CANCEL_JOBS;
}

bool ipp_cancel_all_wanted(const struct ipp_exchange *ex)
{
    int32_t v;

    return ipp_cancel_all_is(ex->operation) && ipp_request_jobs(ex->message, &v, 1) == 0;
}

static void begin_request(struct ipp_exchange *ex, struct ipp_writer *w, uint16_t code)
{
    buf_reset(&ex->out);
    ipp_write_begin(w, &ex->out, 1, 1, code, ex->header.request_id);
    ipp_write_group(w, IPP_GROUP_OPERATION);
    ipp_write_string(w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
    ipp_write_string(w, IPP_VALUE_LANGUAGE, SPAN("attributes-natural-language"), SPAN("en"));
    ipp_write_string(w, IPP_VALUE_URI, SPAN("printer-uri"), span_of(ex->printer->backend_uri));
}

static enum err ask(struct ipp_exchange *ex, struct ipp_writer *w, ipp_backend_fn done)
{
    struct ipp_backend *b = ipp_server_backend(ex->server, ex->printer);
    struct ipp_backend_request r = {.upstreams = &ex->upstreams, .done = done, .arg = ex};

    TRY(ipp_write_end(w));
    if (!b)
        return ERR_MISSING;
    r.attributes = buf_span(&ex->out);
    return ipp_backend_ask(b, &r, &ex->errand);
}

static void refuse(struct ipp_exchange *ex, enum err e, const char *why)
{
    ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, e, "printer", "%s", why);
    ipp_exchange_wake(ex);
}

/* ---- one after the other ---- */

static void finish(struct ipp_exchange *ex)
{
    const struct ipp_own_answer a = {
        .major = ex->header.major,
        .minor = ex->header.minor,
        .status = IPP_SUCCESSFUL_OK,
        .request_id = ex->header.request_id,
    };

    if (ex->n_undone) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, ERR_UPSTREAM, "printer",
                         "%u of the jobs could not be canceled", ex->n_undone);
        return;
    }
    buf_reset(&ex->out);
    (void)!ipp_own_answer(&a, &ex->out);
    ipp_reply_out(ex, IPP_SUCCESSFUL_OK);
}

/* A job that is over meanwhile, or gone, needs no more. */
static void on_canceled(void *arg, const struct ipp_backend_answer *a)
{
    struct ipp_exchange *ex = arg;
    uint16_t code = a->err ? 0 : a->message->header.code;

    ex->errand = NULL;
    if (a->err || (code >= IPP_CLIENT_ERROR_BAD_REQUEST && code != IPP_CLIENT_ERROR_NOT_POSSIBLE &&
                   code != IPP_CLIENT_ERROR_NOT_FOUND))
        ex->n_undone++;
    cancel_next(ex);
}

static void on_kept(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    (void)job;
    ex->asking = false;
    if (err)
        ex->n_undone++;
    if (!ex->canceling)
        cancel_next(ex);
}

/* A job that nobody said to be his is everybody's by its number, and nobody's here. */
static bool may_cancel(const struct ipp_exchange *ex, const struct ipp_job *j)
{
    bool mine = j->made.user != IPP_USER_NONE && ipp_job_is_own(ex, j);

    return ipp_job_may_tell(ex, j) && !ipp_job_is_over(j) &&
           (mine || ex->operation->code == IPP_OPERATION_CANCEL_JOBS);
}

enum err ipp_cancel_ask(struct ipp_exchange *ex, int32_t printer_id, ipp_backend_fn done)
{
    struct ipp_writer w;

    begin_request(ex, &w, IPP_OPERATION_CANCEL_JOB);
    ipp_write_integer(&w, SPAN("job-id"), printer_id);
    if (ex->who.name[0])
        ipp_write_string(&w, IPP_VALUE_NAME, SPAN("requesting-user-name"), span_of(ex->who.name));
    return ask(ex, &w, done);
}

static void cancel_at_printer(struct ipp_exchange *ex, const struct ipp_job *j)
{
    enum err e = ipp_cancel_ask(ex, j->printer_id, on_canceled);

    if (e)
        refuse(ex, e, "the printer cannot be asked to cancel a job");
}

static void cancel_next(struct ipp_exchange *ex)
{
    while (ex->n_listed < ex->n_jobs) {
        const struct ipp_job *j = &ex->jobs[ex->n_listed++];

        if (!may_cancel(ex, j))
            continue;
        if (j->printer_id) {
            cancel_at_printer(ex, j);
            return;
        }
        ex->canceling = true;
        ipp_job_cancel_local(ex, j, on_kept);
        ex->canceling = false;
        if (ex->asking)
            return;
    }
    finish(ex);
}

/* ---- which there are ---- */

static void on_active(void *arg, const struct ipp_backend_answer *a)
{
    struct ipp_exchange *ex = arg;

    ex->errand = NULL;
    if (a->err) {
        ipp_forward_failed(ex, a);
        ipp_exchange_wake(ex);
    } else if (a->message->header.code >= IPP_CLIENT_ERROR_BAD_REQUEST) {
        refuse(ex, ERR_UPSTREAM, "the printer does not say which jobs there are");
    } else {
        ipp_forward_keep(ex, a);
        ipp_job_list(ex, true, cancel_next);
    }
}

void ipp_cancel_all(struct ipp_exchange *ex)
{
    struct ipp_writer w;

    ex->state = EX_PRINTER;
    begin_request(ex, &w, IPP_OPERATION_GET_JOBS);
    ipp_write_string(&w, IPP_VALUE_KEYWORD, SPAN("requested-attributes"), SPAN("job-id"));
    ipp_write_string(&w, IPP_VALUE_KEYWORD, SPAN("which-jobs"), SPAN("not-completed"));
    enum err e = ask(ex, &w, on_active);

    if (e)
        refuse(ex, e, "the printer cannot be asked for its jobs");
}
