/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of jobs: whose those are that the printer tells of, and, for Get-Jobs, those that are not
 * at the printer: on their way to it, or refused. */
#include <stdlib.h>
#include <string.h>

#include "ipp/ipp_server_int.h"

#define TOLD_MAX 1000u /* jobs of one answer */
/* By so much the printer is asked for more, where most of what it told was others'. */
#define MORE_TIMES 4u
#define MORE_MIN   20u
#define RECENT_MAX 256u /* of the book, in which those without a printer are looked for */

static void prepare(struct ipp_exchange *ex,
                    void (*done)(void *arg, enum err err, const struct ipp_job *v, size_t n))
{
    ex->list = (struct ipp_jobs_list){
        .set = {.store = ex->server->env.store,
                .clock = loop_clock(ex->server->env.loop),
                .retention_ms = ex->snapshot->set->retention_ms},
        .loop = ex->server->env.loop,
        .done = done,
        .arg = ex,
    };
}

static void refuse(struct ipp_exchange *ex, enum err e)
{
    ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, e, "job book",
                     "what is known of jobs cannot be read now");
    ipp_forward_over(ex);
}

static bool keep(struct ipp_exchange *ex, const struct ipp_job *v, size_t n)
{
    struct ipp_job *all = realloc(ex->jobs, (ex->n_jobs + n + 1) * sizeof *all);

    if (!all)
        return false;
    ex->jobs = all;
    if (n)
        memcpy(all + ex->n_jobs, v, n * sizeof *v);
    ex->n_jobs += n;
    return true;
}

/* ---- jobs that the printer has not got ---- */

static bool is_local(const struct ipp_job *j)
{
    return j->stage != IPP_JOB_PRINTER && j->printer_id == 0;
}

static void on_recent(void *arg, enum err err, const struct ipp_job *v, size_t n)
{
    struct ipp_exchange *ex = arg;
    bool kept = true;

    ex->listing = false;
    for (size_t i = 0; !err && kept && i < n; i++)
        if (is_local(&v[i]) && ipp_job_may_tell(ex, &v[i]))
            kept = keep(ex, &v[i], 1);
    if (err || !kept)
        refuse(ex, err ? err : ERR_NOMEM);
    else
        ex->listed(ex);
}

static void ask_recent(struct ipp_exchange *ex)
{
    prepare(ex, on_recent);
    enum err e = ipp_jobs_all(&ex->list, NULL, RECENT_MAX);

    ex->listing = e == OK;
    if (e)
        refuse(ex, e);
}

/* ---- and those that it tells of ---- */

static void on_told(void *arg, enum err err, const struct ipp_job *v, size_t n)
{
    struct ipp_exchange *ex = arg;

    ex->listing = false;
    if (err || !keep(ex, v, n))
        refuse(ex, err ? err : ERR_NOMEM);
    else if (ex->lists_local)
        ask_recent(ex);
    else
        ex->listed(ex);
}

void ipp_job_list(struct ipp_exchange *ex, bool with_local, void (*listed)(struct ipp_exchange *ex))
{
    int32_t v[TOLD_MAX];
    size_t n = ipp_answer_jobs(&ex->answer_message, v, TOLD_MAX);

    ex->listed = listed;
    ex->lists_local = with_local;
    ex->state = EX_BOOK;
    prepare(ex, on_told);
    enum err e = ipp_jobs_find_all(&ex->list, span_of(ex->printer->set->name), v,
                                   n < TOLD_MAX ? n : TOLD_MAX);

    ex->listing = e == OK;
    if (e)
        refuse(ex, e);
}

/* ---- limit (RFC 8011 4.2.6.1) ---- */

/* 0: there is none. */
static size_t limit_of(const struct ipp_exchange *ex)
{
    struct ipp_attribute a;
    struct ipp_value v;
    int32_t limit = 0;

    if (ex->operation->code != IPP_OPERATION_GET_JOBS ||
        ipp_message_find(ex->message, SPAN("limit"), &a) != OK ||
        !ipp_attribute_single(&a, IPP_VALUE_INTEGER, &v) || !ipp_value_integer(&v, &limit))
        return 0;
    return limit > 0 ? (size_t)limit : 0;
}

/* So many more may be told. */
static size_t room_of(const struct ipp_exchange *ex)
{
    size_t limit = limit_of(ex);

    if (limit == 0)
        return SIZE_MAX;
    return limit > ex->n_jobs_told ? limit - ex->n_jobs_told : 0;
}

/* Of the printer's jobs. NULL: it may not be told, or not any more. */
static struct ipp_job *job_of(const struct ipp_exchange *ex, const struct ipp_group *g)
{
    struct ipp_attribute a;
    struct ipp_value v;
    int32_t id = 0;

    if (g->tag != IPP_GROUP_JOB || ipp_attribute_find(g->attributes, SPAN("job-id"), &a) != OK ||
        !ipp_attribute_single(&a, IPP_VALUE_INTEGER, &v) || !ipp_value_integer(&v, &id))
        return NULL;
    for (size_t i = 0; ex->jobs && i < ex->n_jobs; i++)
        if (ex->jobs[i].printer_id == id && id > 0 && ipp_job_may_tell(ex, &ex->jobs[i]))
            return &ex->jobs[i];
    return NULL;
}

/* How many of the printer's may be told, at most |max|. */
static size_t n_told(const struct ipp_exchange *ex, size_t max)
{
    struct ipp_group g;
    size_t n = 0;

    for (struct span gs = ex->answer_message.groups; n < max && ipp_group_next(&gs, &g);)
        n += job_of(ex, &g) != NULL;
    return n;
}

static size_t n_groups(const struct ipp_message *m)
{
    struct ipp_group g;
    size_t n = 0;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        n += g.tag == IPP_GROUP_JOB;
    return n;
}

/* The printer counts everybody's jobs, most of which may be others'. */
bool ipp_job_list_wants_more(struct ipp_exchange *ex)
{
    size_t limit = limit_of(ex), asked = ex->list_limit ? (size_t)ex->list_limit : limit;
    size_t next = asked * MORE_TIMES < MORE_MIN ? MORE_MIN : asked * MORE_TIMES;

    if (limit == 0 || asked >= TOLD_MAX || n_groups(&ex->answer_message) < asked ||
        n_told(ex, limit) == limit)
        return false;
    ex->list_limit = (int32_t)(next < TOLD_MAX ? next : TOLD_MAX);
    return true;
}

void ipp_job_list_want_all(struct ipp_exchange *ex)
{
    ex->list_limit = limit_of(ex) ? (int32_t)TOLD_MAX : 0;
}

void ipp_job_list_clip(struct ipp_exchange *ex)
{
    size_t room = room_of(ex), n = 0;
    struct ipp_group g;

    if (limit_of(ex) == 0)
        return;
    for (struct span gs = ex->answer_message.groups; ipp_group_next(&gs, &g);) {
        struct ipp_job *j = job_of(ex, &g);

        if (j && ++n > room)
            j->id = 0;
    }
}

/* ---- Get-Jobs (RFC 8011 4.2.6) ---- */

static struct span keyword_of(const struct ipp_exchange *ex, const char *name)
{
    struct ipp_attribute a;
    struct ipp_value v;

    return ipp_message_find(ex->message, span_of(name), &a) == OK &&
                   ipp_attribute_single(&a, IPP_VALUE_KEYWORD, &v)
               ? v.value
               : SPAN_NONE;
}

static bool is_asked_for(struct span which, enum ipp_job_stage stage)
{
    bool ended = stage == IPP_JOB_ABORTED || stage == IPP_JOB_CANCELED;

    if (which.n == 0 || span_eq(which, SPAN("not-completed")))
        return !ended;
    if (span_eq(which, SPAN("completed")))
        return ended;
    if (span_eq(which, SPAN("all")))
        return true;
    switch (stage) {
    case IPP_JOB_INCOMING: return span_eq(which, SPAN("pending-held"));
    case IPP_JOB_SCANNING:
    case IPP_JOB_SENDING:
    case IPP_JOB_STOPPING: return span_eq(which, SPAN("processing"));
    case IPP_JOB_ABORTED: return span_eq(which, SPAN("aborted"));
    case IPP_JOB_CANCELED: return span_eq(which, SPAN("canceled"));
    case IPP_JOB_PRINTER: break;
    }
    return false;
}

static bool is_mine_only(const struct ipp_exchange *ex)
{
    struct ipp_attribute a;
    struct ipp_value v;
    bool mine = false;

    return ipp_message_find(ex->message, SPAN("my-jobs"), &a) == OK &&
           ipp_attribute_single(&a, IPP_VALUE_BOOLEAN, &v) && ipp_value_boolean(&v, &mine) && mine;
}

void ipp_job_list_add(struct ipp_exchange *ex, const struct ipp_public_printer *pub)
{
    /* RFC 8011 4.2.6.1: what is told where nothing is asked for. */
    static const char usual[] = "\x44\0\x14requested-attributes\0\7job-uri\x44\0\0\0\6job-id";
    struct ipp_attribute requested;
    struct span which = keyword_of(ex, "which-jobs"), rest = {usual, sizeof usual - 1};
    bool mine = is_mine_only(ex);

    if (ipp_message_find(ex->message, SPAN("requested-attributes"), &requested) != OK &&
        !ipp_attribute_next(&rest, &requested))
        return;
    if (limit_of(ex))
        ex->n_jobs_told += n_told(ex, SIZE_MAX);
    for (size_t i = 0; i < ex->n_jobs && room_of(ex) > 0; i++) {
        const struct ipp_job *j = &ex->jobs[i];

        if (j->id == 0 || !is_local(j) || !is_asked_for(which, j->stage) ||
            (mine && !ipp_job_is_own(ex, j)))
            continue;
        ipp_own_job_group(j, pub, &requested, clock_wall_ms(loop_clock(ex->server->env.loop)),
                          &ex->out);
        ex->n_jobs_told++;
    }
}
