/* SPDX-License-Identifier: Apache-2.0 */
/* The engines' look at a document: scan slots, the pipeline, a scanner elsewhere, and clients that
 * do not wait for the end. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipp/ipp_server_int.h"

#define SLOT_STEP_MS 20u

static void scan(struct ipp_exchange *ex);

/* ---- what goes wrong ---- */

/* Nothing is judged while the book is asked about the job: that is one question at a time. */
static void fail(struct ipp_exchange *ex, enum cause cause, const char *why)
{
    if (ex->leaving) {
        ex->late = cause;
        ex->late_why = why;
    } else {
        ipp_document_unseen(ex, cause, why);
    }
}

static void set_patience(struct ipp_exchange *ex)
{
    if (ex->patience_ms)
        timer_set(ex->server->env.loop, &ex->timer, ex->patience_ms);
}

/* ---- the scan ---- */

void ipp_inspect_give_slot(struct ipp_exchange *ex)
{
    if (!ex->slot)
        return;
    ex->slot = false;
    scan_slots_give(ex->server->env.scans, ex->client);
    if (ex->who.tenant && ex->who.tenant->quota)
        quota_scanned(ex->who.tenant->quota);
}

static bool take_slot(struct ipp_exchange *ex)
{
    struct quota *q = ex->who.tenant ? ex->who.tenant->quota : NULL;

    if (q && !quota_scan(q))
        return false;
    ex->slot = scan_slots_take(ex->server->env.scans, ex->client);
    if (!ex->slot && q)
        quota_scanned(q);
    return ex->slot;
}

/* ---- a scanner elsewhere ---- */

static void on_remote(void *arg, const struct scan_result *r)
{
    struct ipp_exchange *ex = arg;

    ex->remote = NULL;
    scan_result_join(ex->result, r);
    ex->causes |= scan_result_causes(ex->result);
    ex->scan_us = loop_now_us(ex->server->env.loop) - ex->scan_start_us;
    if (!ex->leaving) /* else the client is being told that it takes longer */
        ipp_document_judge(ex);
}

static void start_elsewhere(struct ipp_exchange *ex, int fd)
{
    const struct remote_scanner *scanner = ex->server->env.remote;
    const struct remote_scan_request r = {
        .url = ex->printer->set->icap,
        .tls = ex->printer->icap_tls,
        .require = ipp_level_required(ex->printer->set->icap_require, ex->printer->icap_tls),
        .peers = ex->printer->set->icap_peers,
        .policy = ex->server->snapshot->system.file, /* as it is now */
        .fd = fd,
        .len = ex->document_len,
        .name = span_of(ex->name.text),
        .deadline_ms = loop_now_ms(ex->server->env.loop) + ex->printer->set->deadline_ms,
        .upstreams = &ex->upstreams,
        .done = on_remote,
        .arg = ex,
    };
    enum err e = scanner->start(scanner->scanner, &r, &ex->remote);

    if (e == OK)
        return;
    fail(ex, e == ERR_CONFIG ? CAUSE_ENGINE_DOWN : CAUSE_OVERLOAD,
         e == ERR_CONFIG ? "icap is no URL of a service"
                         : "too many documents wait for the scanner");
}

static void on_remote_file(void *arg, int fd, enum err err)
{
    struct ipp_exchange *ex = arg;
    struct ipp_connection *c = ex->conn; /* without one |ex| may be gone behind this */

    ex->filing = false;
    if (err)
        fail(ex, ipp_cause_of_store(err), "the document could not be stored");
    else
        start_elsewhere(ex, fd);
    if (c)
        http_connection_wake(c->http);
}

/* The engines may have needed no file, because the verdict was known. */
void ipp_inspect_elsewhere(struct ipp_exchange *ex)
{
    int fd = ex->file;

    ex->was_remote = true;
    ex->state = EX_SCAN;
    if (!ex->scan_start_us)
        ex->scan_start_us = loop_now_us(ex->server->env.loop);
    set_patience(ex);
    ex->file = -1;
    ex->filing = fd < 0;
    if (fd >= 0)
        start_elsewhere(ex, fd);
    else
        body_file(ex->document, on_remote_file, ex);
}

static void on_result(void *arg, const struct inspection_result *r)
{
    struct ipp_exchange *ex = arg;
    struct ipp_server *s = ex->server;

    ex->inspection = NULL;
    ipp_inspect_give_slot(ex);
    ex->scan_us = loop_now_us(s->env.loop) - ex->scan_start_us;
    metrics_observe(s->env.metrics, s->loop_index, ex->printer->metrics.scan_time, ex->scan_us);
    ex->result = malloc(sizeof *ex->result);
    if (ex->result) {
        *ex->result = r->scan;
        ex->causes = scan_result_causes(&r->scan);
        ex->objects = r->objects ? object_table_ref(r->objects) : NULL;
        ex->cached = r->cached;
    }
    record_upstreams_add(&ex->upstreams, r->upstream);
    if (ex->leaving) /* the client is being told that it takes longer */
        return;
    ipp_document_judge(ex);
}

static void on_file(void *arg, int fd, enum err err)
{
    struct ipp_exchange *ex = arg;
    struct ipp_connection *c = ex->conn; /* as above */

    ex->filing = false;
    if (!err && ex->printer->set->icap) {
        ex->file = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (ex->file < 0) {
            (void)close(fd);
            err = ERR_BUSY;
        }
    }
    if (err == OK) {
        inspection_file(ex->inspection, fd);
        return;
    }
    inspection_cancel(ex->inspection);
    ex->inspection = NULL;
    ex->was_remote =
        true; /* what the engines cannot get the scanner elsewhere does not get either */
    fail(ex, ipp_cause_of_store(err), "the document could not be stored");
    if (c)
        http_connection_wake(c->http);
}

static void need_file(void *arg)
{
    struct ipp_exchange *ex = arg;

    ex->filing = true;
    body_file(ex->document, on_file, ex);
}

#define SCOPE_MAX (IPP_SCOPE_LEN + TENANT_KEY)

/* A fast answer must not say that another tenant printed this document. */
static struct span scope_of(const struct ipp_exchange *ex, char dst[SCOPE_MAX])
{
    const struct tenant *t = ex->who.tenant;

    memcpy(dst, ex->printer->scope, IPP_SCOPE_LEN);
    if (t)
        memcpy(dst + IPP_SCOPE_LEN, t->key, TENANT_KEY);
    return (struct span){dst, t ? SCOPE_MAX : IPP_SCOPE_LEN};
}

static void start(struct ipp_exchange *ex)
{
    struct loop *l = ex->server->env.loop;
    char scope[SCOPE_MAX];
    const struct inspection_request r = {
        .fd = -1,
        .need_file = need_file,
        .len = ex->document_len,
        .pipeline = ex->printer->set->pipeline,
        .sha256 = span_of(ex->sha256),
        .scope = scope_of(ex, scope),
        .name = span_of(ex->name.text),
        .tricks = ex->name.tricks,
        .type = ipp_format_is_any(ex->format) ? SPAN_NONE : span_of(ex->format),
        .encoding = span_of(ex->coding),
        .unpack = ex->snapshot->unpack,
        .types = &ex->printer->set->types,
        .steps_max = ex->snapshot->decision_steps,
        .client = ex->client,
        .deadline_ms = loop_now_ms(l) + ex->printer->set->deadline_ms,
        .done = on_result,
        .arg = ex,
    };

    ex->state = EX_SCAN;
    ex->scan_start_us = loop_now_us(l);
    set_patience(ex);
    enum err e = inspection_start(ex->server->env.inspector, &r, &ex->inspection);

    if (e)
        ipp_document_unseen(ex, e == ERR_LIMIT ? CAUSE_NOT_INSPECTED : CAUSE_OVERLOAD,
                            e == ERR_BUSY
                                ? "as many files as engines.workers.queue allows are waiting"
                                : "no memory for a scan");
}

static void scan(struct ipp_exchange *ex)
{
    struct loop *l = ex->server->env.loop;

    ex->state = EX_SLOT;
    if (take_slot(ex))
        start(ex);
    else if (loop_now_ms(l) < ex->slot_until_ms)
        timer_set(l, &ex->timer, loop_now_ms(l) + SLOT_STEP_MS);
    else
        ipp_document_unseen(ex, CAUSE_OVERLOAD, "as many scans as limits.scans allows are open");
}

/* Nobody looks, but rules may have a say, and a scanner elsewhere. */
void ipp_inspect(struct ipp_exchange *ex)
{
    if (ex->printer->set->pipeline) {
        scan(ex);
        return;
    }
    ex->result = calloc(1, sizeof *ex->result);
    ipp_document_judge(ex);
}

/* ---- a scan that takes long ---- */

static void on_left(void *arg, enum err err, const struct ipp_job *job)
{
    struct ipp_exchange *ex = arg;
    struct ipp_connection *c = ex->conn;
    enum cause late = ex->late;

    ex->asking = ex->leaving = false;
    ex->late = CAUSE_NONE; /* heard once: whoever waits on may leave again */
    if (err == OK) {
        struct span saved = ex->job.saved; /* the book keeps it no longer; we do */

        ex->job = *job;
        ex->job.saved = saved;
        ex->has_job = true;
        ipp_job_answer(ex, job);
        ipp_exchange_detach(ex);
        ex->state = EX_SCAN;
    }
    /* Else the client waits on, for there is no name by which it could ask. */
    if (late) {
        ipp_document_unseen(ex, late, ex->late_why);
        http_connection_wake(c->http);
    } else if (!ex->inspection && !ex->remote && !ex->filing) {
        ipp_document_judge(ex);
    }
}

/* The longest that it can take from here until the printer has said something. */
static uint64_t rest_ms(const struct ipp_printer_settings *p)
{
    return p->deadline_ms * (p->icap ? 2 : 1) + p->backend_ms;
}

/* A job that is at the printer stays there, and the book has nothing new to say of it. */
static void leave(struct ipp_exchange *ex)
{
    struct ipp_job j = ex->job;
    uint64_t wall = clock_wall_ms(loop_clock(ex->server->env.loop));

    if (ex->has_job && j.printer_id) {
        on_left(ex, OK, &j);
        return;
    }
    if (!ex->has_job)
        ipp_job_describe(ex, IPP_JOB_SCANNING, &j);
    j.stage = IPP_JOB_SCANNING;
    j.until_wall_ms = wall + rest_ms(ex->printer->set);
    ex->leaving = true;
    ex->asking = true;
    ipp_job_keep(ex, &j, on_left);
}

void ipp_document_on_timer(struct ipp_exchange *ex)
{
    if (ex->state == EX_SLOT)
        scan(ex);
    else if (ex->state == EX_SCAN && ex->conn && !ex->leaving)
        leave(ex);
}

void ipp_document_drop(struct ipp_exchange *ex)
{
    if (ex->inspection)
        inspection_cancel(ex->inspection);
    ex->inspection = NULL;
    if (ex->remote)
        ex->server->env.remote->cancel(ex->remote);
    ex->remote = NULL;
    if (ex->file >= 0)
        (void)close(ex->file);
    ex->file = -1;
    ex->filing = false;
    ipp_inspect_give_slot(ex);
    body_free(ex->document);
    ex->document = NULL;
}
