/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about a job that was made before: the level at which it was made stands for all that is
 * asked about it, whichever way it is named (the draft, 3.3). */
#include <string.h>

#include "ipp/ipp_server_int.h"

/* Exactly the user's, as far as anybody was told who that is. */
bool ipp_job_is_own(const struct ipp_exchange *ex, const struct ipp_job *j)
{
    if (j->made.user == IPP_USER_NONE)
        return true;
    if (!span_eq(span_of(ex->who.name), span_of(j->user)))
        return false;
    return !j->tenant[0] || (ex->who.tenant && strcmp(ex->who.tenant->name, j->tenant) == 0);
}

bool ipp_job_is_at(const struct ipp_job *j, const struct ipp_printer *p)
{
    return p && strcmp(j->printer, p->set->name) == 0 &&
           (!j->backend[0] || strcmp(j->backend, p->device) == 0);
}

bool ipp_job_may_tell(const struct ipp_exchange *ex, const struct ipp_job *j)
{
    const struct ipp_level now = {ex->level.channel, ex->who.kind};

    if (j->id == 0 || !ipp_job_is_at(j, ex->printer))
        return false;
    return ipp_level_covers(now, j->made) &&
           (ex->is_operator || j->made.user <= IPP_USER_CLAIMED || ipp_job_is_own(ex, j));
}

/* ---- jobs that are made ---- */

static void name_of_job(const struct ipp_exchange *ex, char ret[IPP_JOB_TEXT_MAX + 1])
{
    static const struct span names[] = {SPAN("job-name"), SPAN("document-name")};
    struct ipp_attribute a;
    struct ipp_value v;
    struct span text;

    ret[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(names) && !ret[0]; i++) {
        if (ipp_message_find(ex->message, names[i], &a) != OK)
            continue;
        struct span rest = a.values;

        if (ipp_value_next(&rest, &v) && ipp_value_text(&v, &text))
            ipp_job_text(text, ret, IPP_JOB_TEXT_MAX + 1);
    }
}

void ipp_job_describe(struct ipp_exchange *ex, enum ipp_job_stage stage, struct ipp_job *ret)
{
    struct address peer =
        ex->conn ? stream_peer(http_connection_stream(ex->conn->http)) : (struct address){.len = 0};

    *ret = (struct ipp_job){
        .stage = stage,
        .made = {ex->level.channel, ex->who.kind},
        .created_wall_ms = ex->start_wall_ms,
        .octets = ex->document_len,
        .documents = ex->document_len ? 1 : 0,
    };
    (void)span_copy(span_of(ex->printer->set->name), ret->printer, sizeof ret->printer);
    (void)span_copy(span_of(ex->printer->device), ret->backend, sizeof ret->backend);
    (void)span_copy(span_of(ex->who.name), ret->user, sizeof ret->user);
    if (ex->who.tenant)
        (void)span_copy(span_of(ex->who.tenant->name), ret->tenant, sizeof ret->tenant);
    if (peer.len)
        (void)address_host_text(&peer, ret->client);
    (void)span_copy(span_of(ex->format), ret->format, sizeof ret->format);
    (void)span_copy(span_of(ex->id), ret->record, sizeof ret->record);
    name_of_job(ex, ret->name);
}

void ipp_job_answer(struct ipp_exchange *ex, const struct ipp_job *j)
{
    const struct ipp_own_answer a = {
        .major = ex->header.major,
        .minor = ex->header.minor,
        .status = IPP_SUCCESSFUL_OK,
        .request_id = ex->header.request_id,
    };
    struct ipp_public_printer pub;
    struct ipp_attribute requested;
    bool all = ex->operation->code != IPP_OPERATION_GET_JOB_ATTRIBUTES ||
               ipp_message_find(ex->message, SPAN("requested-attributes"), &requested) != OK;

    ipp_reply_public(ex, &pub);
    buf_reset(&ex->out);
    (void)!ipp_own_job_answer(&a, j, &pub, all ? NULL : &requested,
                              clock_wall_ms(loop_clock(ex->server->env.loop)), &ex->out);
    ipp_reply_out(ex, IPP_SUCCESSFUL_OK);
}

/* The book could not be asked, or does not answer. */
static void refuse_book(struct ipp_exchange *ex, enum err e)
{
    ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, e, "job book",
                     "what is known of jobs cannot be read or kept now: %s", err_text(e));
}

static void prepare_ask(struct ipp_exchange *ex,
                        void (*done)(void *arg, enum err err, const struct ipp_job *job))
{
    ex->ask = (struct ipp_jobs_ask){
        .set = {.store = ex->server->env.store,
                .clock = loop_clock(ex->server->env.loop),
                .retention_ms = ex->snapshot->set->retention_ms,
                .incoming_ms = ex->snapshot->set->http.exchange_ms,
                .numbers = ex->server->env.numbers},
        .loop = ex->server->env.loop,
        .done = done,
        .arg = ex,
    };
}

void ipp_job_keep(struct ipp_exchange *ex, const struct ipp_job *j,
                  void (*done)(void *arg, enum err err, const struct ipp_job *job))
{
    prepare_ask(ex, done);
    enum err e = j->version ? ipp_jobs_put(&ex->ask, j) : ipp_jobs_add(&ex->ask, j);

    ex->asking = e == OK;
    if (e)
        done(ex, e, NULL);
}

static void on_reserved(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    ex->asking = false;
    ex->number = job && !ex->has_job ? job->id : 0;
    ex->reserved(ex, err);
}

/* One that has a record needs no number. */
void ipp_job_reserve(struct ipp_exchange *ex, void (*done)(struct ipp_exchange *ex, enum err e))
{
    prepare_ask(ex, on_reserved);
    ex->reserved = done;
    enum err e = OK;

    if (!ex->has_job || store_ready(ex->server->env.store) != OK) {
        ex->state = EX_BOOK;
        e = ipp_jobs_reserve(&ex->ask, &ex->number);
        ex->asking = e == OK && ex->number == 0;
    }
    if (!ex->asking)
        done(ex, e);
}

void ipp_job_reread(struct ipp_exchange *ex,
                    void (*done)(void *arg, enum err err, const struct ipp_job *job))
{
    prepare_ask(ex, done);
    enum err e = ipp_jobs_get(&ex->ask, ex->job.id);

    ex->asking = e == OK;
    if (e)
        done(ex, e, NULL);
}

static void on_kept(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    ex->asking = false;
    if (err) {
        refuse_book(ex, err);
        return;
    }
    ex->job = *job;
    ex->has_job = true;
    ipp_job_answer(ex, job);
}

struct ipp_jobs_opening ipp_job_opening(const struct ipp_exchange *ex)
{
    return (struct ipp_jobs_opening){
        .client = ex->conn ? ipp_document_client(ex) : ex->client,
        .max = ex->snapshot->set->incoming_max,
        .for_ms = ex->snapshot->set->incoming_ms,
    };
}

/* The printer has said what it thinks of the attributes (Validate-Job): the job is ours until its
 * document is here. */
void ipp_job_create(struct ipp_exchange *ex)
{
    struct ipp_job j;

    ipp_job_describe(ex, IPP_JOB_INCOMING, &j);
    j.id = ex->number;
    j.until_wall_ms = ex->start_wall_ms + ex->snapshot->set->incoming_ms;
    j.saved = buf_span(&ex->out);
    if (j.saved.n > IPP_JOB_SAVED_MAX) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE, ERR_LIMIT, "message",
                         "the attributes of a job may have %u octets here", IPP_JOB_SAVED_MAX);
        return;
    }
    const struct ipp_jobs_opening o = ipp_job_opening(ex);

    if (!ipp_jobs_open(ex->server->env.numbers, &o, loop_now_ms(ex->server->env.loop))) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_BUSY, ERR_BUSY, "incoming-max",
                         "%u jobs from there wait for their documents", o.max);
        return;
    }
    ex->state = EX_BOOK;
    ipp_job_keep(ex, &j, on_kept);
}

/* ---- jobs that the printer has not got ---- */

bool ipp_job_is_over(const struct ipp_job *j)
{
    return j->stage == IPP_JOB_ABORTED || j->stage == IPP_JOB_CANCELED;
}

void ipp_job_cancel_local(struct ipp_exchange *ex, const struct ipp_job *job,
                          void (*done)(void *arg, enum err err, const struct ipp_job *job))
{
    struct ipp_job j = *job;

    if (j.stage == IPP_JOB_STOPPING) {
        done(ex, OK, &j);
        return;
    }
    if (j.stage == IPP_JOB_SENDING) {
        j.stage = IPP_JOB_STOPPING;
    } else {
        j.stage = IPP_JOB_CANCELED;
        j.ended_wall_ms = ex->start_wall_ms;
        j.saved = SPAN_NONE;
        (void)span_copy(SPAN("job-canceled-by-user"), j.reason, sizeof j.reason);
    }
    ex->state = EX_BOOK;
    ipp_job_keep(ex, &j, done);
}

/* Somebody else was faster, such as whoever gave the job to the printer: once it is looked up
 * again, and treated as it is now. */
static void on_canceled(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    if (err != ERR_CONFLICT || ex->asked_again) {
        on_kept(ex, err, job);
        return;
    }
    ex->asked_again = true;
    ipp_job_ask(ex, ex->job.id);
}

static void cancel_local(struct ipp_exchange *ex)
{
    if (ipp_job_is_over(&ex->job))
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_NOT_POSSIBLE, ERR_CONFLICT, "job", "the job is over");
    else
        ipp_job_cancel_local(ex, &ex->job, on_canceled);
}

void ipp_job_local(struct ipp_exchange *ex)
{
    switch (ex->operation->code) {
    case IPP_OPERATION_GET_JOB_ATTRIBUTES: ipp_job_answer(ex, &ex->job); break;
    case IPP_OPERATION_CANCEL_JOB: cancel_local(ex); break;
    default:
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_NOT_POSSIBLE, ERR_CONFLICT, "job", "%s",
                         ex->job.why[0] ? ex->job.why : "the job has not reached the printer");
    }
}

/* ---- jobs that are asked about ---- */

/* The same answer for those of other printers and for those that never were: who may not know of a
 * job learns nothing. */
static void refuse_unknown(struct ipp_exchange *ex)
{
    ipp_reply_refuse(ex, IPP_CLIENT_ERROR_NOT_FOUND, ERR_MISSING, "job", "there is no such job");
}

static bool find_printer(struct ipp_exchange *ex)
{
    const struct ipp_printer *p = ipp_snapshot_named(ex->snapshot, span_of(ex->job.printer));

    if (!ipp_job_is_at(&ex->job, p) || (ex->printer && ex->printer != p)) {
        refuse_unknown(ex);
        return false;
    }
    if (!ex->printer)
        ipp_demand_add(&ex->demand, ipp_admit_demand(ex, p));
    ex->printer = p;
    if (ex->who.kind == IPP_USER_BASIC && !p->set->basic)
        ex->who.kind = IPP_USER_CLAIMED; /* not taken here, as if it had not been sent */
    return true;
}

static bool keep_job(struct ipp_exchange *ex, const struct ipp_job *job)
{
    ex->job = *job;
    ex->has_job = true;
    if (job->saved.n) {
        char *copy = arena_text(&ex->job_mem, job->saved);

        if (!copy) {
            refuse_book(ex, ERR_NOMEM);
            return false;
        }
        ex->job.saved = (struct span){copy, job->saved.n};
    }
    return true;
}

static void on_found(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    ex->asking = false;
    if (err == ERR_MISSING) {
        refuse_unknown(ex);
        return;
    }
    if (err) {
        refuse_book(ex, err);
        return;
    }
    if (!keep_job(ex, job) || !find_printer(ex))
        return;
    /* As it was made, so it is treated. */
    ipp_demand_add(&ex->demand, (struct ipp_demand){.auth = 0, .level = ex->job.made});
    if (!ipp_admit_level(ex) || !ipp_admit_allowed(ex))
        return;
    if (!ex->is_operator && !ipp_job_is_own(ex, &ex->job)) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_NOT_AUTHORIZED, ERR_POLICY, "owner",
                         "the job is another user's");
        return;
    }
    ipp_exchange_perform_job(ex);
}

void ipp_job_ask(struct ipp_exchange *ex, int32_t id)
{
    if (id == 0 || id == IPP_JOB_ASK_NONE) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_BAD_REQUEST, ERR_SYNTAX, "job",
                         "the request names no job that could be one");
        return;
    }
    ex->state = EX_ASKING;
    prepare_ask(ex, on_found);
    enum err e = ipp_jobs_get(&ex->ask, id);

    ex->asking = e == OK;
    if (e)
        refuse_book(ex, e);
}

/* Who has to log in there before anything is told of jobs is told as little before that. */
static bool asks_for_user(const struct ipp_exchange *ex)
{
    return ex->printer &&
           (ex->demand.auth & IPP_AUTH_DAA || ex->demand.level.user > IPP_USER_CLAIMED);
}

void ipp_job_demand_of_unknown(struct ipp_exchange *ex)
{
    if (asks_for_user(ex) && ipp_may_upgrade(ex))
        ipp_demand_add(&ex->demand, (struct ipp_demand){.auth = IPP_AUTH_TLS});
}

static void on_made(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    ex->asking = false;
    if (err && err != ERR_MISSING) {
        refuse_book(ex, err);
        return;
    }
    bool known = job && ipp_job_is_at(job, ex->printer ? ex->printer
                                                       : ipp_snapshot_named(ex->snapshot,
                                                                            span_of(job->printer)));

    if (known)
        ipp_demand_add(&ex->demand, (struct ipp_demand){.auth = 0, .level = job->made});
    else
        ipp_job_demand_of_unknown(ex);
    ex->listed(ex); /* which asks again, and says what is wrong */
}

void ipp_job_demand(struct ipp_exchange *ex, int32_t id, void (*done)(struct ipp_exchange *ex))
{
    ex->state = EX_ASKING;
    ex->listed = done;
    prepare_ask(ex, on_made);
    enum err e = ipp_jobs_get(&ex->ask, id);

    ex->asking = e == OK;
    if (e)
        refuse_book(ex, e);
}

/* ---- jobs that are named besides ---- */

static void next_other(struct ipp_exchange *ex);

static bool may_touch(const struct ipp_exchange *ex, const struct ipp_job *j)
{
    return j->stage == IPP_JOB_PRINTER && ipp_job_may_tell(ex, j) &&
           (ex->is_operator || ipp_job_is_own(ex, j));
}

/* One that may not be touched is one that is not there: the request as a whole would mean others.
 */
static void on_other(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;

    ex->asking = false;
    if (err && err != ERR_MISSING) {
        refuse_book(ex, err);
        return;
    }
    if (err || !may_touch(ex, job)) {
        refuse_unknown(ex);
        return;
    }
    ex->others[ex->n_others++] = (struct ipp_job_numbers){job->id, job->printer_id};
    next_other(ex);
}

static void next_other(struct ipp_exchange *ex)
{
    if (ex->n_others == ex->n_other_ids) {
        if (ipp_subscription_is_named(ex->operation))
            ipp_subscription(ex);
        else
            ipp_forward(ex);
        return;
    }
    if (ex->other_ids[ex->n_others] <= 0) {
        refuse_unknown(ex);
        return;
    }
    prepare_ask(ex, on_other);
    enum err e = ipp_jobs_get(&ex->ask, ex->other_ids[ex->n_others]);

    ex->asking = e == OK;
    if (e)
        refuse_book(ex, e);
}

void ipp_job_others(struct ipp_exchange *ex)
{
    size_t n = ipp_request_jobs(ex->message, ex->other_ids, IPP_OTHERS_MAX);

    if (n > IPP_OTHERS_MAX) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE, ERR_LIMIT, "job",
                         "a request may name %u jobs", IPP_OTHERS_MAX);
        return;
    }
    ex->n_other_ids = n;
    ex->state = EX_ASKING;
    next_other(ex);
}
