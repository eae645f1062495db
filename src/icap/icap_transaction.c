/* SPDX-License-Identifier: Apache-2.0 */
/* One request through its service: gather or relay the body, ask for a verdict, decide, answer. */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapt/worker_wire.h"
#include "base/log.h"
#include "icap/icap_server_int.h"

#define FLOW_HIGH \
    (512u << 10) /* answer bytes queued in the engine before the body waits in |body| */

static void tx_decide(struct icap_transaction *tx, enum verdict verdict, enum cause cause);

/* ---- small helpers ---- */

/* The answer cannot be finished: all that is left is to close, with a record. */
static void tx_break(struct icap_transaction *tx, enum err err, const char *why)
{
    tx->err = err;
    tx->err_why = why;
    tx->state = TX_DONE;
    icap_abort(tx->conn->engine);
}

static void tx_drop_scan(struct icap_transaction *tx)
{
    if (tx->job)
        workers_cancel(tx->job);
    tx->job = NULL;
    if (tx->scan_slot)
        budget_give(tx->conn->server->env.scans, 1);
    tx->scan_slot = false;
}

static void tx_drop_body(struct icap_transaction *tx)
{
    body_free(tx->body);
    tx->body = NULL;
}

static void tx_answer_error(struct icap_transaction *tx, unsigned status, enum err err,
                            const char *why)
{
    tx->err = err;
    tx->err_why = why;
    tx->state = TX_DONE;
    tx_drop_body(tx);
    if (icap_answer_error(tx, status, false) != OK)
        tx_break(tx, err, why);
}

static void body_progress(void *arg)
{
    icap_connection_pump(((struct icap_transaction *)arg)->conn);
}

static enum err tx_need_body(struct icap_transaction *tx, bool digest)
{
    const struct icap_server_environment *env = &tx->conn->server->env;
    struct body_settings set = {
        .loop = env->loop,
        .spool = env->spool,
        .memory_max = tx->service->set->memory_max,
        .digest = digest,
        .progress = body_progress,
        .arg = tx,
    };

    return tx->body ? OK : body_new(&set, &tx->body);
}

static enum cause cause_of_store(enum err e)
{
    switch (err_class(e)) {
    case ERR_CLASS_PEER: return CAUSE_TOO_LARGE;
    case ERR_CLASS_NONE:
    case ERR_CLASS_POLICY:
    case ERR_CLASS_LOCAL:
    case ERR_CLASS_BUG:
    case ERR_CLASS_BLOCKED: break;
    }
    return e == ERR_NOMEM || e == ERR_BUSY ? CAUSE_OVERLOAD : CAUSE_DISK_FULL;
}

/* ---- the answer: unchanged ---- */

/* The original again, from what was gathered and what still comes (RFC 3507 4.4; erratum E7: it may
 * start early). */
static void tx_flow(struct icap_transaction *tx)
{
    enum err e;

    if (tx->body && body_error(tx->body)) {
        tx_answer_error(tx, 503, body_error(tx->body),
                        "the body could not be kept, so it cannot be handed back");
        return;
    }
    tx->icap_status = 200;
    e = icap_answer_original(tx);
    if (e == ERR_MISSING) /* erratum E5 */
        tx_answer_error(tx, 418, e, "there is no request head to hand back");
    else if (e == ERR_NOMEM)
        tx_answer_error(tx, 503, e, "no memory for the answer");
    else if (e)
        tx_answer_error(tx, 500, e, "the heads do not fit an answer");
    else
        tx->state = tx->req->has_body ? TX_FLOW : TX_DONE;
}

static void tx_204(struct icap_transaction *tx)
{
    tx_drop_body(tx);
    tx->state = TX_DONE;
    tx->icap_status = 204;
    if (icap_answer_204(tx) != OK)
        tx_break(tx, ERR_BUG, "204 was not possible");
}

static void tx_pass(struct icap_transaction *tx)
{
    if (!icap_may_204(tx->conn->engine)) {
        tx_flow(tx);
    } else if (tx->request_over) {
        tx_204(tx);
    } else {
        /* 204 is certain: what still comes is not needed, but the answer waits until it is here. */
        tx_drop_body(tx);
        tx->state = TX_SKIP;
    }
}

/* ---- decisions ---- */

static void tx_act(struct icap_transaction *tx)
{
    switch (tx->action) {
    case ACTION_PASS:
        if (tx->cause != CAUSE_NONE)
            log_warn("icap",
                     "id=%s service=%s: not inspected for cause=%s, and passed as the service says",
                     tx->id, tx->service->set->name, cause_name(tx->cause));
        tx_pass(tx);
        break;
    case ACTION_BLOCK:
        tx_drop_body(tx);
        tx->state = TX_DONE;
        tx->icap_status = 200;
        tx->http_status = 403;
        atomic_fetch_add_explicit(&tx->conn->server->n_blocked, 1, memory_order_relaxed);
        if (icap_answer_block(tx) != OK) {
            tx->http_status = 0;
            tx_answer_error(tx, 500, ERR_NOMEM, "the block page could not be written");
        }
        break;
    case ACTION_ERROR:
        if (!tx->err)
            tx->err = ERR_POLICY;
        tx_answer_error(tx, tx->cause == CAUSE_INFECTED || tx->cause == CAUSE_DENIED ? 403 : 503,
                        tx->err, tx->err_why);
        break;
    }
}

static void tx_decide(struct icap_transaction *tx, enum verdict verdict, enum cause cause)
{
    struct icap_server *s = tx->conn->server;

    tx->has_verdict = true;
    tx->verdict = verdict;
    tx->cause = cause;
    tx->action = cause == CAUSE_NONE ? ACTION_PASS : (enum action)tx->service->set->on[cause];
    tx->decided_us = loop_now_us(s->env.loop);
    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.actions[tx->action], 1);
    if (cause != CAUSE_NONE)
        metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.causes[cause], 1);
    tx_act(tx);
}

/* A decision without an engine's result: |err| and |why| say what stood in the way. */
static void tx_decide_error(struct icap_transaction *tx, enum cause cause, enum err err,
                            const char *why)
{
    tx->err = err;
    tx->err_why = why;
    tx_decide(tx,
              cause == CAUSE_TOO_LARGE || cause == CAUSE_NOT_INSPECTED ? VERDICT_NOT_INSPECTED
                                                                       : VERDICT_ERROR,
              cause);
}

/* ---- inspection ---- */

static void on_result(void *arg, const struct scan_result *result)
{
    struct icap_transaction *tx = arg;
    struct icap_connection *c = tx->conn;
    struct icap_server *s = c->server;

    tx->job = NULL;
    tx_drop_scan(tx);
    tx->scan_us = loop_now_us(s->env.loop) - tx->scan_start_us;
    metrics_observe(s->env.metrics, s->loop_index, tx->service->metrics.scan_time, tx->scan_us);
    tx->result = malloc(sizeof *tx->result);
    if (tx->result)
        *tx->result = *result;
    if (!tx->result) {
        tx_decide_error(tx, CAUSE_OVERLOAD, ERR_NOMEM, "no memory for a scan's result");
    } else if (result->verdict == VERDICT_CHANGED) {
        /* It could only mean that the original must not be passed on. */
        tx_decide_error(tx, CAUSE_WORKER_CRASH, ERR_WORKER,
                        "the worker says that it changed the file, which no engine does");
    } else {
        tx->err = result->err;
        tx_decide(tx, result->verdict,
                  result->verdict == VERDICT_PASS ? CAUSE_NONE : result->cause);
    }
    icap_connection_pump(c);
}

static void tx_submit(struct icap_transaction *tx, int fd)
{
    struct icap_server *s = tx->conn->server;
    struct worker_job_request r = {
        .fd = fd,
        .len = body_len(tx->body),
        .engines = tx->service->set->pipeline & 1u << ICAP_PIPELINE_YARA ? WIRE_ENGINE_YARA : 0,
        .name = icap_declared_name(tx->req),
        .type = icap_declared_type(tx->req),
        .deadline_ms = loop_now_ms(s->env.loop) + tx->service->set->deadline_ms,
        .done = on_result,
        .arg = tx,
    };
    enum err e;

    if (!budget_take(s->env.scans, 1)) {
        (void)close(fd);
        tx_decide_error(tx, CAUSE_OVERLOAD, ERR_BUSY,
                        "as many scans as limits.scans allows are open");
        return;
    }
    tx->scan_slot = true;
    tx->scan_start_us = loop_now_us(s->env.loop);
    tx->state = TX_SCAN;
    e = workers_submit(s->env.workers, &r, &tx->job);
    if (e == OK)
        return;
    tx_drop_scan(tx);
    tx_decide_error(tx, CAUSE_OVERLOAD, e,
                    e == ERR_BUSY ? "as many files as engines.workers.queue allows are waiting"
                                  : "no memory for a scan");
}

static void on_file(void *arg, int fd, enum err err)
{
    struct icap_transaction *tx = arg;
    struct icap_connection *c = tx->conn;

    if (err)
        tx_decide_error(tx, cause_of_store(err), err, "the body could not be stored");
    else
        tx_submit(tx, fd);
    icap_connection_pump(c);
}

static void tx_inspect_end(struct icap_transaction *tx)
{
    tx->body_len = body_len(tx->body);
    body_sha256(tx->body, tx->sha256);
    if (tx->body_len == 0) {
        tx_decide(tx, VERDICT_PASS, CAUSE_NONE);
        return;
    }
    tx->state = TX_FILE;
    body_file(tx->body, on_file, tx);
}

/* Any coding but |plain|, in any of the fields |name|: a second one is read by some clients. */
static bool is_encoded(const struct head *http, struct span name, struct span plain)
{
    for (unsigned i = head_find(http, name, 0); i < http->n_fields;
         i = head_find(http, name, i + 1)) {
        struct span rest = http->fields[i].value, coding;

        while (span_list_next(&rest, &coding))
            if (!span_ieq(coding, SPAN("identity")) && !span_ieq(coding, plain))
                return true;
    }
    return false;
}

/* Reasons that are visible in the heads and make the body's inspection pointless. CAUSE_NONE: go
 * on. */
static enum cause inspect_heads(const struct icap_request *req, const char **ret_why)
{
    const struct head *http = req->method == ICAP_RESPMOD ? req->http_response : req->http_request;

    *ret_why = http ? head_smuggling(http) : NULL;
    if (*ret_why)
        return CAUSE_DENIED;
    if (!req->has_body || !http)
        return CAUSE_NONE;
    if (is_encoded(http, SPAN("Content-Encoding"), SPAN("identity"))) {
        *ret_why = "the body is compressed (Content-Encoding), and is not decoded here";
        return CAUSE_NOT_INSPECTED;
    }
    /* RFC 3507 4.4.2 wants the chunked coding undone and the field, being hop-by-hop, gone; a
     * client that leaves the field in may have left the other codings in, too. */
    if (is_encoded(http, SPAN("Transfer-Encoding"), SPAN("chunked"))) {
        *ret_why = "the body is compressed (Transfer-Encoding), and is not decoded here";
        return CAUSE_NOT_INSPECTED;
    }
    if (head_value(http, SPAN("Content-Range")).p || http->status == 206) {
        *ret_why = "the body is a fragment (206, Content-Range) of a file that was not seen whole";
        return CAUSE_NOT_INSPECTED;
    }
    return CAUSE_NONE;
}

static bool memory_is_nearly_gone(const struct icap_server *s)
{
    const struct budget *m = s->env.spool->memory;
    uint64_t max = m ? atomic_load_explicit(&m->max, memory_order_relaxed) : 0;

    return max && budget_used(m) > max / 10 * 9;
}

static void tx_inspect_begin(struct icap_transaction *tx)
{
    const char *why;
    enum cause cause = inspect_heads(tx->req, &why);

    if (cause == CAUSE_DENIED) {
        tx->err = ERR_POLICY;
        tx->err_why = why;
        tx_decide(tx, VERDICT_BLOCK, cause);
    } else if (cause != CAUSE_NONE) {
        tx_decide_error(tx, cause, OK, why);
    } else if (tx->req->has_body && memory_is_nearly_gone(tx->conn->server)) {
        tx_decide_error(tx, CAUSE_OVERLOAD, ERR_NOMEM, "limits.memory is nearly used up");
    } else if (tx->req->has_body && tx_need_body(tx, true) != OK) {
        tx_decide_error(tx, CAUSE_OVERLOAD, ERR_NOMEM, "no memory for a body");
    }
}

/* ---- events ---- */

static void tx_route(struct icap_transaction *tx)
{
    const struct icap_request *req = tx->req;
    struct icap_server *s = tx->conn->server;

    tx->service = icap_snapshot_find(tx->snapshot, req->uri.path);
    if (!tx->service) {
        tx_answer_error(tx, 404, ERR_MISSING, "no service has this path");
        return;
    }
    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.requests[req->method], 1);
    if (req->method == ICAP_OPTIONS)
        return; /* answered at its end */
    if (!(tx->service->set->methods & 1u << req->method)) {
        tx_answer_error(tx, 405, ERR_POLICY, "the service does not adapt this method");
        return;
    }
    if (s->env.records && record_log_refuses(s->env.records)) {
        tx_decide_error(tx, CAUSE_DISK_FULL, ERR_FULL,
                        "records cannot be written, and records.on-full says refuse");
        return;
    }
    if (tx->service->set->type == ICAP_SERVICE_INSPECT)
        tx_inspect_begin(tx);
    else if (req->has_body)
        tx_decide(tx, VERDICT_PASS, CAUSE_NONE);
}

void icap_transaction_begin(struct icap_connection *c)
{
    struct icap_transaction *tx = calloc(1, sizeof *tx);
    struct icap_server *s = c->server;

    assert(!c->tx);
    if (!tx) {
        icap_abort(c->engine);
        return;
    }
    tx->conn = c;
    tx->snapshot = icap_snapshot_ref(s->snapshot);
    tx->req = icap_current(c->engine);
    tx->start_us = loop_now_us(s->env.loop);
    tx->start_wall_ms = clock_wall_ms(loop_clock(s->env.loop));
    memcpy(tx->id, c->id_field + sizeof ICAP_ID_FIELD - 1, RECORD_ID_LEN);
    c->tx = tx;
    atomic_fetch_add_explicit(&s->n_open, 1, memory_order_relaxed);
    if (!tx->req) {
        tx->state = TX_DONE;
        return;
    }
    tx->has_method = true;
    tx->method = tx->req->method;
    icap_audit_begin(tx);
    tx_route(tx);
}

static void tx_store(struct icap_transaction *tx, struct slice s)
{
    enum err e = body_append(tx->body, s);

    if (e == OK && body_len(tx->body) <= tx->service->set->body_max)
        return;
    tx->body_len = body_len(tx->body);
    if (e)
        tx_decide_error(tx, cause_of_store(e), e, "the body could not be stored");
    else
        tx_decide_error(tx, CAUSE_TOO_LARGE, ERR_LIMIT,
                        "the body is larger than the service's body-max");
}

/* Straight to the answer while it keeps up; else behind what already waits. */
static void tx_relay(struct icap_transaction *tx, struct slice s)
{
    struct icap_engine *e = tx->conn->engine;
    bool waiting = tx->body && body_taken(tx->body) < body_len(tx->body);
    enum err err;

    if (!waiting && icap_output(e)->len < FLOW_HIGH) {
        err = icap_reply_body(e, s);
    } else {
        err = tx_need_body(tx, false);
        if (err == OK)
            err = body_append(tx->body, s);
    }
    if (err)
        tx_break(tx, err, "the body could not be relayed");
}

void icap_transaction_body(struct icap_transaction *tx, struct slice s)
{
    switch (tx->state) {
    case TX_RECEIVE:
        if (tx->body)
            tx_store(tx, s);
        break;
    case TX_FLOW:
        tx->body_len += s.len;
        tx_relay(tx, s);
        break;
    case TX_SKIP: tx->body_len += s.len; break;
    case TX_FILE:
    case TX_SCAN:
    case TX_DONE: break;
    }
    block_unref(s.block);
}

void icap_transaction_preview_end(struct icap_transaction *tx, bool ieof)
{
    if (ieof)
        return; /* END follows */
    if (tx->state == TX_SKIP)
        tx_204(tx);
    else if (tx->state == TX_RECEIVE && icap_go_on(tx->conn->engine) != OK)
        tx_break(tx, ERR_BUG, "100 Continue was not possible");
}

void icap_transaction_end(struct icap_transaction *tx, struct span trailers)
{
    struct span kept = trailers.n ? arena_dup(icap_arena(tx->conn->engine), trailers) : SPAN_NONE;

    if (trailers.n && !kept.p) {
        tx_break(tx, ERR_NOMEM, "no memory for a trailer section");
        return;
    }
    tx->trailers = kept;
    tx->request_over = true;
    tx->body_us = loop_now_us(tx->conn->server->env.loop);
    if (tx->state == TX_SKIP) {
        tx_204(tx);
        return;
    }
    if (tx->state != TX_RECEIVE)
        return;
    if (tx->method == ICAP_OPTIONS) {
        tx->state = TX_DONE;
        if (icap_answer_options(tx) != OK)
            tx_break(tx, ERR_NOMEM, "the OPTIONS answer could not be written");
    } else if (tx->body) {
        tx_inspect_end(tx);
    } else {
        tx_decide(tx, VERDICT_PASS, CAUSE_NONE);
    }
}

/* ---- output ---- */

static enum err reply_segment(struct icap_engine *e, struct segment *seg)
{
    enum err err;

    if (seg->kind == SEGMENT_FILE) {
        err = icap_reply_file(e, seg->file.ref, seg->file.off, seg->file.len);
        file_unref(seg->file.ref);
    } else {
        err = icap_reply_body(e, seg->slice);
        block_unref(seg->slice.block);
    }
    return err;
}

bool icap_transaction_drive(struct icap_transaction *tx)
{
    struct icap_engine *e = tx->conn->engine;
    struct segment seg;
    bool moved = false;
    enum err err;

    if (tx->state != TX_FLOW)
        return false;
    while (tx->body && icap_output(e)->len < FLOW_HIGH &&
           body_take(tx->body, FLOW_HIGH - icap_output(e)->len, &seg)) {
        moved = true;
        err = reply_segment(e, &seg);
        if (err) {
            tx_break(tx, err, "the body could not be put into the answer");
            return true;
        }
    }
    if (tx->body && body_error(tx->body)) {
        tx_break(tx, body_error(tx->body),
                 "the body could not be kept while the client did not take it");
        return true;
    }
    if (tx->request_over && (!tx->body || body_taken(tx->body) == body_len(tx->body))) {
        tx->state = TX_DONE;
        moved = true;
        if (icap_reply_end(e, tx->trailers, SPAN_NONE) != OK)
            tx_break(tx, ERR_NOMEM, "no memory for the end of the answer");
    }
    return moved;
}

bool icap_transaction_is_behind(const struct icap_transaction *tx)
{
    return tx->body && body_is_behind(tx->body);
}

void icap_transaction_fail(struct icap_transaction *tx, const struct fault *f)
{
    tx->err = f->err;
    tx->err_why = f->why;
    if (f->status)
        tx->icap_status = f->status;
    tx->state = TX_DONE;
}

void icap_transaction_finish(struct icap_transaction *tx)
{
    struct icap_connection *c = tx->conn;

    tx_drop_scan(tx);
    if (tx->state != TX_DONE && !tx->err) {
        tx->err = ERR_ABORTED;
        tx->err_why = "the connection ended before the answer was complete";
    }
    icap_audit_finish(tx);
    tx_drop_body(tx);
    icap_snapshot_unref(tx->snapshot);
    free(tx->result);
    c->tx = NULL;
    c->first = false;
    icap_connection_renew_id(c);
    atomic_fetch_sub_explicit(&c->server->n_open, 1, memory_order_relaxed);
    free(tx);
}
