/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that end at the printer, and stand in the book as the printer's, who knows whether that came
 * in time: those that were canceled while it was being told of them, and those of which it cannot
 * have a document that their clients do not wait for any more. And those of which the book cannot
 * be told that the printer has them. */
#include <stdio.h>

#include "ipp/ipp_server_int.h"

static void tell_canceled(struct ipp_exchange *ex)
{
    ipp_reply_refuse(ex, IPP_SERVER_ERROR_JOB_CANCELED, ERR_CONFLICT, "job",
                     "the job was canceled while it was on its way to the printer");
}

static void tell_unkept(struct ipp_exchange *ex)
{
    ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, ex->unkept, "job book",
                     "what is known of the job could not be kept: %s; %s", err_text(ex->unkept),
                     ex->not_stopped ? "it may be printed: look there before it is sent again"
                                     : "the printer has canceled it: send it again later");
}

/* ---- at the printer ---- */

static void end(struct ipp_exchange *ex)
{
    if (ex->unkept)
        tell_unkept(ex);
    else if (ex->conn)
        tell_canceled(ex);
    ipp_forward_over(ex);
}

/* For operators; what became of the job says the printer. */
static void not_stopped(struct ipp_exchange *ex, const char *why)
{
    metrics_add(ex->server->env.metrics, ex->server->loop_index, ex->printer->metrics.errors, 1);
    ex->not_stopped = true;
    (void)snprintf(ex->detail, sizeof ex->detail, "the printer may not have canceled it: %s", why);
}

static void on_stopped(void *arg, const struct ipp_backend_answer *a)
{
    struct ipp_exchange *ex = arg;
    uint16_t code = a->err ? 0 : a->message->header.code;

    ex->errand = NULL;
    if (a->err)
        not_stopped(ex, a->why);
    else if (code >= IPP_CLIENT_ERROR_BAD_REQUEST)
        not_stopped(ex, ipp_status_name(code) ? ipp_status_name(code) : "an unknown status");
    end(ex);
}

static void stop(struct ipp_exchange *ex)
{
    ex->state = EX_PRINTER;
    enum err e = ipp_cancel_ask(ex, ex->took_id, on_stopped);

    if (e == OK)
        return;
    not_stopped(ex, err_text(e));
    end(ex);
}

/* ---- without a document ---- */

/* The printer is asked also where the book cannot say why. */
static void on_explained(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    ex->asking = false;
    if (err == OK)
        ex->job = *job;
    stop(ex);
}

void ipp_stop_incomplete(struct ipp_exchange *ex)
{
    struct ipp_job j = ex->job;

    (void)span_copy(span_of(ex->why), j.why, sizeof j.why);
    (void)span_copy(span_of(ex->id), j.record, sizeof j.record);
    ex->took_id = j.printer_id;
    ex->state = EX_BOOK;
    ipp_job_keep(ex, &j, on_explained);
}

/* ---- not in the book ---- */

void ipp_stop_unkept(struct ipp_exchange *ex, enum err err)
{
    ex->unkept = err;
    ex->settles = true;
    stop(ex);
}

/* ---- canceled on the way ---- */

static void stop_canceled(struct ipp_exchange *ex)
{
    if (!ex->conn)
        tell_canceled(ex); /* the record */
    stop(ex);
}

static void on_moved(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    ex->asking = false;
    if (err == OK)
        ex->job = *job;
    stop_canceled(ex);
}

/* Before the printer is asked to cancel it: should that fail, nobody is told that it had. */
static void move(struct ipp_exchange *ex)
{
    struct ipp_job j = ex->job;

    j.stage = IPP_JOB_PRINTER;
    j.printer_id = ex->took_id;
    ipp_job_keep(ex, &j, on_moved);
}

static void on_seen(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    ex->asking = false;
    if (err && ex->job.stage == IPP_JOB_SENDING) {
        stop_canceled(ex); /* nobody changes such a job but to cancel it */
        return;
    }
    if (err) {
        ipp_stop_unkept(ex, err);
        return;
    }
    ex->job = *job;
    ex->job.saved = SPAN_NONE;
    if (job->stage == IPP_JOB_PRINTER && job->printer_id == ex->took_id)
        ipp_forward_answer(ex); /* another of its documents came meanwhile */
    else if (job->stage == IPP_JOB_STOPPING || job->stage == IPP_JOB_ABORTED)
        move(ex);
    else
        stop_canceled(ex);
}

void ipp_stop_conflict(struct ipp_exchange *ex, int32_t printer_id)
{
    ex->took_id = printer_id;
    ex->settles = true;
    ex->state = EX_BOOK;
    ipp_job_reread(ex, on_seen);
}
