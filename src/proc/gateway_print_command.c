/* SPDX-License-Identifier: Apache-2.0 */
/* Printers and jobs over the control socket: questions that wait for printers, or for the store. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/json.h"
#include "ipp/ipp_jobs.h"
#include "proc/gateway_int.h"

#define JOBS_DEFAULT 100u
#define PRINTERS_MS  4000u /* for all: those who ask over the control socket wait for 5 s */
#define ANSWER_MS    2000u /* at least, for each that is asked */
#define AHEAD        64u   /* printers that are asked at once */

struct question;

/* What is told of one printer. */
struct printer_answer {
    struct question *question;
    bool asked;
    struct buf object;
};

struct question {
    struct gateway_core *gateway;
    struct control_ticket *ticket;
    struct ipp_jobs_list list;
    char printer[IPP_JOB_PRINTER_MAX + 1]; /* "": all */
    struct printer_answer *answers;        /* in the order of the configuration */
    size_t n_answers, at;                  /* |at|: the next one to be asked */
    unsigned waiting;
    uint64_t until_ms;
    enum err err;
    struct buf out;
    struct json json;
};

static void question_free(struct question *q)
{
    for (size_t i = 0; i < q->n_answers; i++)
        buf_done(&q->answers[i].object);
    free(q->answers);
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
    if (q->out.err) {
        fail(q, "no memory for the answer");
        return;
    }
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

static void ask_more(struct question *q);

/* One that was not asked may be well: too many others were silent. */
static void answers_json(const struct printer_answer *a, const char *why, struct json *j)
{
    if (a->asked)
        json_bool(j, "answers", !why);
    else
        json_put_null(j, SPAN("answers"));
    json_text(j, "why", why && why[0] ? why : NULL);
}

static void on_announced(void *arg, const struct ipp_announced *told)
{
    struct printer_answer *a = arg;
    const struct ipp_printer *p = told->printer;
    struct json to = json_to(&a->object), *j = &to;

    json_open(j, NULL, '{');
    json_text(j, "name", p->set->name);
    json_text(j, "path", p->set->path);
    json_text(j, "backend", p->set->backend);
    answers_json(a, told->why, j);
    gateway_print_require_json(p->set, j);
    json_u64(j, "ipp_port", told->port);
    json_u64(j, "ipps_port", told->secure_port);
    json_text(j, "uuid", p->uuid);
    json_open(j, "txt", '[');
    for (struct span rest = told->txt, line; rest.p;) {
        line = span_cut(&rest, '\n');
        if (line.n)
            json_span(j, NULL, line);
    }
    json_close(j, ']');
    json_close(j, '}');
    if (a->object.err)
        a->question->err = a->object.err; /* half of it would spoil the whole answer */
    a->question->waiting--;
    ask_more(a->question);
}

static void tell_printers(struct question *q)
{
    bool first = true;

    if (q->err) {
        fail(q, "no memory to ask the printers");
        return;
    }
    for (size_t i = 0; i < q->n_answers; i++) {
        const struct printer_answer *a = &q->answers[i];

        if (a->object.n == 0)
            continue; /* not asked about */
        if (!first)
            buf_char(&q->out, ',');
        buf_add(&q->out, buf_span(&a->object));
        first = false;
    }
    finish(q);
}

static void ask_one(struct question *q, size_t i)
{
    struct printer_answer *a = &q->answers[i];
    struct ipp_server *server = q->gateway->loops[0].ipp;
    uint64_t now = loop_now_ms(q->gateway->loops[0].loop);

    a->asked = now + ANSWER_MS <= q->until_ms;
    enum err e = ipp_server_announce(server, i, a->asked ? q->until_ms : 0, on_announced, a);

    if (e == OK)
        q->waiting++;
    else if (e != ERR_MISSING) /* a configuration with fewer came meanwhile */
        q->err = e;
}

static void ask_more(struct question *q)
{
    const struct ipp_snapshot *s = q->gateway->print.snapshot;

    if (!q->gateway->loops[0].ipp)
        q->at = q->n_answers; /* the gateway ends */
    for (; q->at < q->n_answers && q->waiting < AHEAD; q->at++)
        if (!q->printer[0] ||
            (q->at < s->n_printers && strcmp(q->printer, s->printers[q->at].set->name) == 0))
            ask_one(q, q->at);
    if (q->waiting == 0 && q->at == q->n_answers)
        tell_printers(q);
}

static void ask_printers(struct question *q, const json_t *command)
{
    const struct ipp_snapshot *s = q->gateway->print.snapshot;

    (void)command;
    if (q->printer[0] && !ipp_snapshot_named(s, span_of(q->printer))) {
        fail(q, "there is no such printer");
        return;
    }
    q->answers = calloc(s->n_printers + 1, sizeof *q->answers);
    if (!q->answers) {
        fail(q, "no memory to ask the printers");
        return;
    }
    q->n_answers = s->n_printers;
    for (size_t i = 0; i < q->n_answers; i++) {
        q->answers[i].question = q;
        buf_init(&q->answers[i].object, 0);
    }
    q->until_ms = loop_now_ms(q->gateway->loops[0].loop) + PRINTERS_MS;
    json_open(&q->json, NULL, '{');
    json_open(&q->json, "printers", '[');
    ask_more(q);
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
