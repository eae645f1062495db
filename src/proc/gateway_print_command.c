/* SPDX-License-Identifier: Apache-2.0 */
/* Printers and jobs over the control socket: questions that wait for printers, or for the store. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/json.h"
#include "ipp/ipp_jobs.h"
#include "proc/gateway_int.h"

#define JOBS_DEFAULT 100u

struct question {
    struct gateway_core *gateway;
    struct control_ticket *ticket;
    struct ipp_jobs_list list;
    char printer[IPP_JOB_PRINTER_MAX + 1]; /* "": all */
    size_t at;
    struct buf out;
    struct json json;
};

static void question_free(struct question *q)
{
    buf_done(&q->out);
    free(q);
}

static void fail(struct question *q, const char *why)
{
    struct json j;

    buf_reset(&q->out);
    j = json_to(&q->out);
    json_open(&j, NULL, '{');
    json_text(&j, "error", why);
    json_close(&j, '}');
    control_answer(q->ticket, buf_span(&q->out));
    question_free(q);
}

static void finish(struct question *q)
{
    json_close(&q->json, ']');
    json_close(&q->json, '}');
    control_answer(q->ticket, buf_span(&q->out));
    question_free(q);
}

/* ---- jobs ---- */

static const char *stage_name(enum ipp_job_stage s)
{
    switch (s) {
    case IPP_JOB_INCOMING: return "incoming";
    case IPP_JOB_SCANNING: return "scanning";
    case IPP_JOB_SENDING: return "sending";
    case IPP_JOB_STOPPING: return "stopping";
    case IPP_JOB_PRINTER: return "printer";
    case IPP_JOB_ABORTED: return "aborted";
    case IPP_JOB_CANCELED: return "canceled";
    }
    return "?";
}

static void job_json(const struct ipp_job *job, struct json *j)
{
    char time[ISO_TIME_LEN + 1];

    clock_iso_time(job->created_wall_ms, time);
    json_open(j, NULL, '{');
    json_u64(j, "id", (uint64_t)job->id);
    json_text(j, "printer", job->printer);
    json_u64(j, "printer_id", (uint64_t)job->printer_id);
    json_text(j, "stage", stage_name(job->stage));
    json_text(j, "created", time);
    json_text(j, "channel", ipp_channel_name(job->made.channel));
    json_text(j, "auth", ipp_user_name(job->made.user));
    json_text(j, "user", job->user[0] ? job->user : NULL);
    json_text(j, "tenant", job->tenant[0] ? job->tenant : NULL);
    json_text(j, "client", job->client);
    json_text(j, "name", job->name[0] ? job->name : NULL);
    json_text(j, "format", job->format[0] ? job->format : NULL);
    json_u64(j, "documents", job->documents);
    json_u64(j, "octets", job->octets);
    json_text(j, "reason", job->reason[0] ? job->reason : NULL);
    json_text(j, "why", job->why[0] ? job->why : NULL);
    json_text(j, "record", job->record[0] ? job->record : NULL);
    json_close(j, '}');
}

static void on_jobs(void *arg, enum err err, const struct ipp_job *v, size_t n)
{
    struct question *q = arg;

    if (err) {
        fail(q, "the book of jobs cannot be read now");
        return;
    }
    json_open(&q->json, NULL, '{');
    json_open(&q->json, "jobs", '[');
    for (size_t i = 0; i < n; i++)
        job_json(&v[i], &q->json);
    finish(q);
}

static void ask_jobs(struct question *q, const json_t *command)
{
    const json_t *max = json_object_get(command, "max");
    size_t n = json_is_integer(max) && json_integer_value(max) > 0 &&
                       json_integer_value(max) <= (json_int_t)IPP_JOBS_LIST_MAX
                   ? (size_t)json_integer_value(max)
                   : JOBS_DEFAULT;

    q->list = (struct ipp_jobs_list){
        .set = {.store = q->gateway->keeper.store,
                .clock = &clock_system,
                .retention_ms = q->gateway->config->settings.ipp.retention_ms},
        .loop = q->gateway->loops[0].loop,
        .done = on_jobs,
        .arg = q,
    };
    enum err e = ipp_jobs_all(&q->list, q->printer[0] ? q->printer : NULL, n);

    if (e)
        on_jobs(q, e, NULL, 0);
}

/* ---- printers ---- */

static void next_printer(struct question *q);

static void require_json(const struct ipp_printer_settings *set, struct json *j)
{
    json_open(j, "require", '[');
    if (set->require & 1u << IPP_REQUIRE_TLS)
        json_text(j, NULL, "tls");
    if (set->require & 1u << IPP_REQUIRE_DIGEST)
        json_text(j, NULL, "digest");
    if (set->require & 1u << IPP_REQUIRE_CERTIFICATE)
        json_text(j, NULL, "certificate");
    json_close(j, ']');
}

static void on_announced(void *arg, const struct ipp_printer *p, bool answered, struct span txt)
{
    struct question *q = arg;
    const struct ipp_snapshot *s = q->gateway->print.snapshot;
    struct json *j = &q->json;

    json_open(j, NULL, '{');
    json_text(j, "name", p->set->name);
    json_text(j, "path", p->set->path);
    json_text(j, "backend", p->set->backend);
    json_bool(j, "answers", answered);
    require_json(p->set, j);
    json_u64(j, "ipp_port", s->port);
    json_u64(j, "ipps_port", s->secure_port);
    json_text(j, "uuid", p->uuid);
    json_open(j, "txt", '[');
    for (struct span rest = txt, line; rest.p;) {
        line = span_cut(&rest, '\n');
        if (line.n)
            json_span(j, NULL, line);
    }
    json_close(j, ']');
    json_close(j, '}');
    q->at++;
    next_printer(q);
}

static void next_printer(struct question *q)
{
    const struct ipp_snapshot *s = q->gateway->print.snapshot;

    while (q->at < s->n_printers && q->printer[0] &&
           strcmp(q->printer, s->printers[q->at].set->name) != 0)
        q->at++;
    if (q->at >= s->n_printers) {
        finish(q);
        return;
    }
    if (ipp_server_announce(q->gateway->loops[0].ipp, q->at, on_announced, q) != OK)
        fail(q, "no memory to ask the printers");
}

static void ask_printers(struct question *q, const json_t *command)
{
    (void)command;
    if (q->printer[0] && !ipp_snapshot_named(q->gateway->print.snapshot, span_of(q->printer))) {
        fail(q, "there is no such printer");
        return;
    }
    json_open(&q->json, NULL, '{');
    json_open(&q->json, "printers", '[');
    next_printer(q);
}

/* ---- in and out ---- */

static const struct {
    const char *name;
    void (*ask)(struct question *q, const json_t *command);
} questions[] = {
    {"print-jobs", ask_jobs    },
    {"printers",   ask_printers}
};

bool gateway_print_command(void *arg, const char *name, const struct json_t *command,
                           struct control_ticket *ticket)
{
    const json_t *printer = json_object_get(command, "printer");

    for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
        if (strcmp(questions[i].name, name) != 0)
            continue;
        struct question *q = calloc(1, sizeof *q);

        if (!q) {
            control_answer(ticket, SPAN("{\"error\":\"no memory\"}"));
            return true;
        }
        q->gateway = arg;
        q->ticket = ticket;
        buf_init(&q->out, 16 << 20);
        q->json = json_to(&q->out);
        if (json_is_string(printer))
            (void)span_copy(span_of(json_string_value(printer)), q->printer, sizeof q->printer);
        questions[i].ask(q, command);
        return true;
    }
    return false;
}
