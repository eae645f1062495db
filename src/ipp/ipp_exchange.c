/* SPDX-License-Identifier: Apache-2.0 */
/* One request: its parts as they come, and the way through what follows. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "ipp/ipp_server_int.h"

/* A client that holds all of its body back until it hears 100 Continue gets it; libcups sends the
 * attributes right behind the head, and waits with the document for a second, in which it can be
 * refused. */
#define CONTINUE_MS 100u

/* ---- life ---- */

/* The body is held back until somebody wants it. */
static void go_on(struct ipp_exchange *ex)
{
    if (!ipp_upgrade_held_back(ex))
        (void)!http_go_on(http_connection_engine(ex->conn->http));
}

static void on_timer(struct timer *t)
{
    struct ipp_exchange *ex = CONTAINER_OF(t, struct ipp_exchange, timer);

    if (ex->state == EX_ATTRIBUTES)
        go_on(ex);
    else if (ex->state == EX_PAUSE)
        ipp_reply_on_timer(ex);
    else
        ipp_document_on_timer(ex);
    ipp_exchange_wake(ex);
}

static struct ipp_exchange *exchange_new(struct ipp_connection *c)
{
    struct ipp_server *s = c->server;
    struct ipp_exchange *ex = calloc(1, sizeof *ex);

    if (!ex)
        return NULL;
    ex->conn = c;
    ex->peer = stream_peer(http_connection_stream(c->http));
    ex->server = s;
    ex->snapshot = ipp_snapshot_ref(s->snapshot);
    ex->timer.fire = on_timer;
    ex->timer.at_ms = UINT64_MAX;
    ex->file = -1;
    ex->start_us = loop_now_us(s->env.loop);
    ex->start_wall_ms = clock_wall_ms(loop_clock(s->env.loop));
    record_id(s->env.id_seed, s->loop_index, s->next_id++, ex->id);
    buf_init(&ex->attributes, ex->snapshot->set->message.size_max);
    buf_init(&ex->out, 0);
    buf_init(&ex->paused, 0);
    buf_init(&ex->answer, 0);
    buf_init(&ex->info, 4096);
    arena_init(&ex->job_mem, 1 << 20);
    c->ex = ex;
    return ex;
}

void ipp_exchange_drop_work(struct ipp_exchange *ex)
{
    timer_clear(ex->server->env.loop, &ex->timer);
    ipp_login_end(ex);
    if (ex->asking)
        ipp_jobs_cancel(&ex->ask);
    ex->asking = false;
    if (ex->listing)
        ipp_jobs_list_cancel(&ex->list);
    ex->listing = false;
    if (ex->errand)
        ipp_errand_cancel(ex->errand);
    ex->errand = NULL;
    ipp_printer_list_drop(ex);
    ipp_subscription_drop(ex);
    ipp_document_drop(ex);
}

void ipp_exchange_finish(struct ipp_exchange *ex)
{
    struct ipp_server *s = ex->server;

    ipp_exchange_drop_work(ex);
    ipp_audit_finish(ex);
    budget_give(s->env.spool->memory, ex->held);
    if (ex->conn) {
        ex->conn->ex = NULL;
        ex->conn->first = false;
    } else {
        DL_DELETE(s->detached, ex);
    }
    if (ex->came.settings)
        listener_settings_unref(ex->came.settings);
    sallyport_report_free(ex->came.report);
    record_upstreams_done(&ex->upstreams);
    chain_done(&ex->early);
    (void)content_md5_end(&ex->md5, false);
    session_unref(ex->session);
    buf_done(&ex->attributes);
    buf_done(&ex->out);
    buf_done(&ex->paused);
    buf_done(&ex->answer);
    buf_done(&ex->info);
    arena_done(&ex->job_mem);
    free(ex->message);
    free(ex->jobs);
    object_table_unref(ex->objects);
    free(ex->result);
    ipp_snapshot_unref(ex->snapshot);
    free(ex);
    ipp_server_check_drained(s);
}

void ipp_exchange_wake(struct ipp_exchange *ex)
{
    if (ex->conn)
        http_connection_wake(ex->conn->http);
}

void ipp_exchange_detach(struct ipp_exchange *ex)
{
    struct ipp_connection *c = ex->conn;

    ipp_audit_detach(ex);
    DL_APPEND(ex->server->detached, ex);
    c->ex = NULL;
    c->first = false;
    ex->conn = NULL;
}

/* ---- the request ---- */

static bool has_ipp(const struct head *h)
{
    struct span type = head_value(h, SPAN("Content-Type"));

    type = span_trim(span_cut(&type, ';'));
    return head_count(h, SPAN("Content-Type")) == 1 && span_ieq(type, SPAN("application/ipp"));
}

/* The coding of HTTP around all of it would hide the attributes; the document has its own
 * (compression). */
static bool is_coded(const struct head *h)
{
    struct span v = head_value(h, SPAN("Content-Encoding"));

    return v.p && !span_ieq(v, SPAN("identity"));
}

/* Ours holds everything back until it hears 100 Continue, also what libcups would not: waiting for
 * that would help nobody. */
static bool holds_all(const struct head *h)
{
    return span_istarts(head_value(h, SPAN("User-Agent")), SPAN("sallyport/"));
}

static void begin_post(struct ipp_exchange *ex, const struct http_request *req)
{
    if (!content_md5_begin(&ex->md5, req->head))
        ex->odd |= IPP_ODD_MD5_MALFORMED;
    if (!has_ipp(req->head))
        ipp_reply_http(ex, 415, SPAN_NONE, "Requests to printers are application/ipp.");
    else if (is_coded(req->head))
        ipp_reply_http(ex, 415, SPAN_NONE, "No Content-Encoding is taken; IPP has compression.");
    else if (!req->has_body)
        ipp_reply_http(ex, 400, SPAN_NONE, "There is no IPP message in this request.");
    else if (ex->target.form == IPP_HTTP_ASTERISK)
        ipp_reply_http(ex, 400, SPAN_NONE, "Only OPTIONS can be about the server as a whole.");
    else if (req->expects && holds_all(req->head))
        go_on(ex);
    else if (req->expects)
        timer_set(ex->server->env.loop, &ex->timer,
                  loop_now_ms(ex->server->env.loop) + CONTINUE_MS);
}

static bool is_for_page(const struct http_request *req)
{
    return span_eq(req->head->method, SPAN("GET")) || span_eq(req->head->method, SPAN("HEAD"));
}

void ipp_exchange_no_page(struct ipp_exchange *ex)
{
    ipp_reply_http(ex, 404, SPAN_NONE, "Nothing but printers is here; they are asked by POST.");
}

static void begin(struct ipp_exchange *ex, const struct http_request *req)
{
    struct ipp_uri_fault fault;

    if (ipp_http_target_parse(req->head->target, &ex->target, &fault) != OK) {
        ex->err = ERR_PROTO;
        ipp_reply_http(ex, 400, SPAN_NONE, ipp_uri_why_text(fault.why));
        return;
    }
    if (span_eq(req->head->method, SPAN("POST")))
        begin_post(ex, req);
    else if (span_eq(req->head->method, SPAN("OPTIONS")) && !req->has_body)
        ex->state = EX_OPTIONS;
    else if (is_for_page(req) && ipp_upgrade_for_page(ex, req))
        ex->state = EX_UPGRADE;
    else if (is_for_page(req))
        ipp_exchange_no_page(ex);
    else
        ipp_reply_http(ex, req->has_body && span_eq(req->head->method, SPAN("OPTIONS")) ? 400 : 405,
                       SPAN("Allow: OPTIONS, POST, GET, HEAD\r\n"), "Not this method.");
}

static void on_request(void *arg)
{
    struct ipp_connection *c = arg;
    struct http_engine *e = http_connection_engine(c->http);
    struct ipp_exchange *ex = exchange_new(c);

    if (!ex) {
        http_connection_lose(c->http, ERR_NOMEM, "no memory for a request");
        return;
    }
    atomic_fetch_add_explicit(&c->server->n_requests, 1, memory_order_relaxed);
    ipp_upgrade_look(ex, http_current(e));
    ipp_login_overheard(ex, http_current(e)->head);
    begin(ex, http_current(e));
}

/* ---- its body ---- */

static void refuse_message(struct ipp_exchange *ex, const struct ipp_fault *f)
{
    (void)ipp_header_read(buf_span(&ex->attributes), &ex->header);
    ipp_reply_refuse(ex, ipp_flaw_status(f->flaw), ipp_flaw_err(f->flaw), "message",
                     "octet %zu: %s", f->off, ipp_flaw_text(f->flaw));
}

/* All attributes are here, and perhaps the beginning of a document. */
static void message_whole(struct ipp_exchange *ex)
{
    struct ipp_message *m = malloc(sizeof *m);
    struct ipp_fault f;

    timer_clear(ex->server->env.loop, &ex->timer);
    (void)ipp_header_read(buf_span(&ex->attributes), &ex->header);
    if (!m) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_BUSY, ERR_NOMEM, "memory",
                         "no memory for the request");
        return;
    }
    if (ipp_message_read(IPP_REQUEST, buf_span(&ex->attributes), &ex->scan, m, &f) != OK) {
        free(m);
        refuse_message(ex, &f);
        return;
    }
    ex->message = m;
    ex->state = EX_ASKING;
    if (!ipp_upgrade_wanted(ex))
        ipp_admit(ex);
}

/* The answer to what cannot be read has its number, if that is there. */
static void keep_header(struct ipp_exchange *ex, struct span rest)
{
    if (ex->attributes.n < IPP_HEADER_SIZE)
        buf_add(&ex->attributes, span_sub(rest, 0, IPP_HEADER_SIZE - ex->attributes.n));
}

/* No more than the engine had already: behind that nothing is read. */
static bool keep_early(struct ipp_exchange *ex, struct slice s)
{
    if (chain_append_slice(&ex->early, s) == OK)
        return true;
    ipp_reply_refuse(ex, IPP_SERVER_ERROR_BUSY, ERR_NOMEM, "memory", "no memory for the request");
    return false;
}

/* A quarter of limits.memory stays for what else there is: where nothing is left, nobody is heard
 * any more, not even to be refused. */
static bool hold(struct ipp_exchange *ex, uint64_t n)
{
    struct budget *b = ex->server->env.spool->memory;
    uint64_t max = b ? atomic_load_explicit(&b->max, memory_order_relaxed) : 0;

    if ((max && budget_used(b) + n > max - max / 4) || !budget_take(b, n))
        return false;
    ex->held += n;
    return true;
}

static void take_attributes(struct ipp_exchange *ex, struct slice s)
{
    struct ipp_fault f;
    size_t used = 0;
    enum err e = ipp_scan_feed(&ex->scan, &ex->snapshot->set->message, slice_span(s), &used, &f);

    if (hold(ex, used))
        buf_add(&ex->attributes, span_sub(slice_span(s), 0, used));
    else
        ex->attributes.err = ERR_NOMEM;
    if (ex->attributes.err) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_BUSY, ERR_NOMEM, "memory",
                         "no memory for the request");
    } else if (e && e != ERR_AGAIN) {
        keep_header(ex, slice_span(s));
        refuse_message(ex, &f);
    } else if (e == OK) {
        if (used == s.len || keep_early(ex, slice_sub(s, (uint32_t)used, s.len - (uint32_t)used)))
            message_whole(ex);
    }
    block_unref(s.block);
}

static void on_body(void *arg, struct slice s)
{
    struct ipp_exchange *ex = ((struct ipp_connection *)arg)->ex;

    if (ex)
        content_md5_add(&ex->md5, slice_span(s));
    if (ex && ex->state == EX_ATTRIBUTES)
        take_attributes(ex, s);
    else if (ex && ex->state == EX_DOCUMENT)
        ipp_document_take(ex, s);
    else {
        if (ex && ex->state == EX_ASKING)
            (void)keep_early(ex, s);
        block_unref(s.block);
    }
}

/* For the record alone: it proves nothing, so nothing is refused for it. Behind an early answer
 * the rest is discarded unseen, and an end comes all the same. */
static void check_md5(struct ipp_exchange *ex)
{
    const struct http_request *req = http_current(http_connection_engine(ex->conn->http));
    bool whole = ex->state != EX_DONE || (req && ex->md5.n == req->length);

    if (!content_md5_end(&ex->md5, whole))
        ex->odd |= IPP_ODD_MD5_MISMATCH;
}

static void on_end(void *arg)
{
    struct ipp_exchange *ex = ((struct ipp_connection *)arg)->ex;

    if (!ex)
        return;
    ex->request_over = true;
    check_md5(ex);
    if (ex->state == EX_OPTIONS)
        ipp_options_end(ex);
    else if (ex->state == EX_UPGRADE)
        ipp_upgrade_end(ex);
    else if (ex->state == EX_ATTRIBUTES)
        refuse_message(ex, &(struct ipp_fault){IPP_FLAW_TRUNCATED, ex->attributes.n});
    else if (ex->state == EX_DOCUMENT)
        ipp_document_end(ex);
}

/* ---- what it is about ---- */

int32_t ipp_exchange_job(const struct ipp_exchange *ex)
{
    const struct ipp_target *t = &ex->message->target;

    if (t->kind == IPP_TARGET_PRINTER_JOB)
        return t->job_id;
    if (t->kind == IPP_TARGET_JOB)
        return ex->job.id ? ex->job.id : IPP_JOB_ASK_NONE;
    return 0;
}

void ipp_exchange_perform(struct ipp_exchange *ex)
{
    int32_t job = ipp_exchange_job(ex);
    bool is_list = ipp_printer_list_is(ex->operation);

    if (!ipp_subscription_may_make(ex))
        return;
    /* Printers pass over job-id there, and cancel all. */
    if (job && ipp_cancel_all_is(ex->operation))
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_BAD_REQUEST, ERR_SYNTAX, "job",
                         "%s names jobs by job-ids", ex->operation->name);
    else if (job && is_list)
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_BAD_REQUEST, ERR_SYNTAX, "job",
                         "%s is about printers, and names a job", ex->operation->name);
    else if (job)
        ipp_job_ask(ex, job);
    else if (ex->operation->code == IPP_OPERATION_PRINT_JOB)
        ipp_document_begin(ex);
    else if (ex->operation->code == IPP_OPERATION_SEND_DOCUMENT)
        ipp_job_ask(ex, IPP_JOB_ASK_NONE);
    else if (ex->about_all || is_list)
        ipp_printer_list(ex);
    else if (ipp_cancel_all_wanted(ex))
        ipp_cancel_all(ex);
    else
        ipp_job_others(ex);
}

void ipp_exchange_perform_job(struct ipp_exchange *ex)
{
    if (ex->operation->code == IPP_OPERATION_SEND_DOCUMENT)
        ipp_document_begin(ex);
    else if (ex->job.stage == IPP_JOB_PRINTER)
        ipp_job_others(ex);
    else
        ipp_job_local(ex);
}

/* ---- the connection's other questions ---- */

/* Credentials that nobody asked for: it was answered before that. */
static void forget(const struct ipp_connection *c)
{
    const struct http_request *req = http_current(http_connection_engine(c->http));

    if (req)
        head_wipe_credentials(req->head);
}

static void on_failed(void *arg, const struct fault *f)
{
    struct ipp_connection *c = arg;
    struct ipp_exchange *ex = c->ex ? c->ex : exchange_new(c);

    forget(c);
    if (!ex)
        return;
    if (!ex->err) {
        ex->err = f->err;
        (void)span_copy(span_of(f->why), ex->why, sizeof ex->why);
    }
    if (f->status)
        ex->http_status = f->status;
    if (f->err == ERR_TLS)
        ipp_upgrade_failed(ex);
    if (ex->settles && ex->state != EX_DONE && ex->state != EX_PAUSE)
        ipp_exchange_detach(ex);
    else
        ipp_exchange_finish(ex);
}

/* Answers are small, and are in the engine whole. */
static bool on_drive(void *arg)
{
    (void)arg;
    return false;
}

static bool on_is_behind(const void *arg)
{
    const struct ipp_exchange *ex = ((const struct ipp_connection *)arg)->ex;

    return ex && (ex->state == EX_ASKING ||
                  (ex->state == EX_DOCUMENT && ex->document && body_is_behind(ex->document)));
}

static bool on_is_working(const void *arg)
{
    const struct ipp_exchange *ex = ((const struct ipp_connection *)arg)->ex;

    return ex && ex->request_over && ex->state != EX_DONE && ex->state != EX_OPTIONS &&
           ex->state != EX_UPGRADE;
}

static void on_over(void *arg)
{
    struct ipp_connection *c = arg;
    struct ipp_exchange *ex = c->ex;

    forget(c);
    if (ex)
        ipp_exchange_finish(ex);
}

static void on_switched(void *arg)
{
    struct ipp_exchange *ex = ((struct ipp_connection *)arg)->ex;

    if (ex)
        ipp_upgrade_switched(ex);
}

static void on_closed(void *arg)
{
    struct ipp_connection *c = arg;
    struct ipp_server *s = c->server;

    DL_DELETE(s->connections, c);
    atomic_fetch_sub_explicit(&s->n_connections, 1, memory_order_relaxed);
    ipp_snapshot_unref(c->snapshot);
    free(c);
    ipp_server_check_drained(s);
}

const struct http_handler ipp_http_handler = {
    .request = on_request,
    .body = on_body,
    .end = on_end,
    .failed = on_failed,
    .drive = on_drive,
    .is_behind = on_is_behind,
    .is_working = on_is_working,
    .over = on_over,
    .switched = on_switched,
    .closed = on_closed,
};
