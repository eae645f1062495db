/* SPDX-License-Identifier: Apache-2.0 */
/* One request through its service: gather or relay the body, ask for a verdict, decide, answer. */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "icap/icap_server_int.h"
#include "observe/record_upstream.h"

#define FLOW_HIGH \
    (64u << 10) /* answer bytes queued in the engine before the body waits in |body| */

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
    if (tx->scan)
        inspection_cancel(tx->scan);
    tx->scan = NULL;
    icap_scan_slot_drop(tx);
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

static void tx_pump(struct icap_transaction *tx)
{
    if (tx->conn)
        icap_connection_pump(tx->conn);
}

static void body_progress(void *arg)
{
    tx_pump(arg);
}

static enum err tx_need_body(struct icap_transaction *tx, bool digest)
{
    const struct icap_server_environment *env = &tx->server->env;
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

/* The head of an answer that has the original's body. False: it is another answer now. */
static NODISCARD bool tx_answer_original(struct icap_transaction *tx, unsigned status)
{
    enum err e;

    tx->icap_status = status;
    e = icap_answer_original(tx);
    if (e == ERR_MISSING) /* erratum E5 */
        tx_answer_error(tx, 418, e, "there is no request head to hand back");
    else if (e == ERR_NOMEM)
        tx_answer_error(tx, 503, e, "no memory for the answer");
    else if (e)
        tx_answer_error(tx, 500, e, "the heads do not fit an answer");
    return e == OK;
}

/* The original again, from what was gathered and what still comes (RFC 3507 4.4; erratum E7: it may
 * start early). */
static void tx_flow(struct icap_transaction *tx)
{
    if (tx->body && body_error(tx->body)) {
        tx_answer_error(tx, 503, body_error(tx->body),
                        "the body could not be kept, so it cannot be handed back");
        return;
    }
    if (tx->slow.begun) {
        tx->state = TX_FLOW;
        return;
    }
    if (tx_answer_original(tx, 200))
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

/* ICAP Partial Content 5: the body is the original from its first byte on. */
static void tx_206(struct icap_transaction *tx)
{
    tx_drop_body(tx);
    tx->state = TX_DONE;
    if (tx_answer_original(tx, 206) && icap_reply_original(tx->conn->engine, 0) != OK)
        tx_break(tx, ERR_NOMEM, "no memory for the end of the answer");
}

static bool is_echo(const struct icap_transaction *tx)
{
    return tx->service->set->type == ICAP_SERVICE_ECHO;
}

static bool echoes_as(const struct icap_transaction *tx, enum icap_echo_answer answer)
{
    return is_echo(tx) && tx->service->set->answer == answer;
}

/* An answer without the body. */
static void tx_unchanged(struct icap_transaction *tx)
{
    if (echoes_as(tx, ICAP_ECHO_PARTIAL) && icap_may_206(tx->conn->engine))
        tx_206(tx);
    else
        tx_204(tx);
}

static void tx_pass(struct icap_transaction *tx)
{
    if (tx->slow.begun || tx->strip_range || echoes_as(tx, ICAP_ECHO_WHOLE) ||
        !icap_may_204(tx->conn->engine)) {
        tx_flow(tx);
    } else if (tx->request_over) {
        tx_unchanged(tx);
    } else {
        /* 204 or 206 is certain: what still comes is not needed, but the answer waits until it is
         * here. */
        tx_drop_body(tx);
        tx->state = TX_SKIP;
    }
}

/* ---- decisions ---- */

/* Some of it is with the client already: all that is left is to keep the rest from it. */
static void tx_cut_off(struct icap_transaction *tx)
{
    atomic_fetch_add_explicit(&tx->server->n_blocked, 1, memory_order_relaxed);
    tx_break(tx, tx->err ? tx->err : ERR_POLICY,
             "the answer had begun (slow.mode: trickle), so it was cut off");
}

static void tx_act(struct icap_transaction *tx)
{
    if (tx->action == ACTION_PASS && tx->cause != CAUSE_NONE && !tx->exception[0])
        log_warn("icap", "id=%s service=%s: passed for cause=%s, as the service says", tx->id,
                 tx->service->set->name, cause_name(tx->cause));
    if (tx->detached) {
        icap_progress_act(tx);
        return;
    }
    switch (tx->action) {
    case ACTION_PASS: tx_pass(tx); break;
    case ACTION_BLOCK:
        if (tx->slow.begun) {
            tx_cut_off(tx);
            break;
        }
        tx_drop_body(tx);
        tx->state = TX_DONE;
        tx->icap_status = 200;
        tx->http_status = 403;
        atomic_fetch_add_explicit(&tx->server->n_blocked, 1, memory_order_relaxed);
        if (icap_answer_block(tx) != OK) {
            tx->http_status = 0;
            tx_answer_error(tx, 500, ERR_NOMEM, "the block page could not be written");
        }
        break;
    case ACTION_ERROR:
        if (tx->slow.begun) {
            tx_cut_off(tx);
            break;
        }
        if (!tx->err)
            tx->err = ERR_POLICY;
        tx_answer_error(tx, tx->cause == CAUSE_INFECTED || tx->cause == CAUSE_DENIED ? 403 : 503,
                        tx->err, tx->err_why);
        break;
    }
}

/* An exception is about what was found, not about a bad moment. */
#define MAY_BE_EXCEPTED \
    (1u << CAUSE_INFECTED | 1u << CAUSE_DENIED | 1u << CAUSE_NOT_INSPECTED | 1u << CAUSE_TOO_LARGE)

/* The strictest of what the service says to each cause. An exception takes away those that it may
 * be about: what is left has to pass by itself. */
static enum action tx_choose(struct icap_transaction *tx)
{
    const uint8_t *on = tx->service->set->on;
    enum cause rest = CAUSE_NONE;
    enum action action = causes_action(tx->causes, on, &tx->cause);

    if (action != ACTION_PASS && (tx->causes & MAY_BE_EXCEPTED) &&
        causes_action(tx->causes & ~MAY_BE_EXCEPTED, on, &rest) == ACTION_PASS &&
        icap_judge_exception(tx))
        return ACTION_PASS;
    return action;
}

static void tx_count_causes(struct icap_transaction *tx)
{
    struct icap_server *s = tx->server;

    for (enum cause c = CAUSE_NONE + 1; c < CAUSES; c++)
        if (tx->causes & 1u << c)
            metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.causes[c], 1);
}

/* The heads were denied, and an exception let that pass. Is it gone since, they are denied again.
 */
static void tx_waive(struct icap_transaction *tx, const char *waived, enum verdict *verdict,
                     enum cause *cause)
{
    if (!waived[0] || icap_exception_stands(tx, waived))
        return;
    if (*cause == CAUSE_NONE) {
        *verdict = VERDICT_BLOCK;
        *cause = CAUSE_DENIED;
        tx->err = ERR_POLICY;
        tx->err_why = "the exception that let its heads pass is over, or was removed";
    }
    tx->causes |= 1u << CAUSE_DENIED;
}

/* |cause|: the gravest, of which tx->causes may have others beside it; CAUSE_NONE: there is none,
 * or none counts. */
static void tx_decide(struct icap_transaction *tx, enum verdict verdict, enum cause cause)
{
    char waived[sizeof tx->exception];
    struct icap_server *s = tx->server;

    memcpy(waived, tx->exception, sizeof waived);
    tx_waive(tx, waived, &verdict, &cause);
    tx->has_verdict = true;
    tx->verdict = verdict;
    tx->cause = cause;
    tx->causes = cause == CAUSE_NONE ? 0 : tx->causes | 1u << cause;
    tx->exception[0] = '\0'; /* one for the heads alone does not count any more */
    tx->action = tx_choose(tx);
    if (cause == CAUSE_NONE && waived[0])
        memcpy(tx->exception, waived, sizeof waived);
    icap_slow_end(tx);
    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.actions[tx->action], 1);
    tx_count_causes(tx);
    tx_act(tx);
}

/* The rules said |judged|, the engines |verdict| for |cause|. */
static void tx_decide_judged(struct icap_transaction *tx, enum cause judged, enum verdict verdict,
                             enum cause cause)
{
    bool passed = verdict == VERDICT_PASS || verdict == VERDICT_CHANGED;

    switch (judged) {
    case CAUSE_NONE: tx_decide(tx, verdict, CAUSE_NONE); break;
    case CAUSE_DENIED: tx_decide(tx, VERDICT_BLOCK, CAUSE_DENIED); break;
    default:
        tx->causes |= 1u << judged;
        tx_decide(tx, passed ? VERDICT_NOT_INSPECTED : verdict, passed ? judged : cause);
    }
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

static NODISCARD bool tx_keep_result(struct icap_transaction *tx,
                                     const struct inspection_result *result)
{
    struct scan_result *own = tx->result; /* findings of rules and lists, from before */

    tx->result = malloc(sizeof *tx->result);
    if (!tx->result) {
        free(own);
        return false;
    }
    *tx->result = result->scan;
    for (unsigned i = 0; own && i < own->n_findings; i++)
        scan_result_find(tx->result, &own->findings[i]);
    free(own);
    tx->causes = scan_result_causes(&result->scan);
    tx->objects = result->objects ? object_table_ref(result->objects) : NULL;
    tx->cached = result->cached;
    tx->upstream = record_upstream_ref(result->upstream);
    return true;
}

static void on_result(void *arg, const struct inspection_result *result)
{
    struct icap_transaction *tx = arg;
    struct icap_server *s = tx->server;
    const struct scan_result *scan = &result->scan;
    enum cause cause;

    tx->scan = NULL;
    tx_drop_scan(tx);
    tx->scan_us = loop_now_us(s->env.loop) - tx->scan_start_us;
    metrics_observe(s->env.metrics, s->loop_index, tx->service->metrics.scan_time, tx->scan_us);
    if (result->cached)
        metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.cached, 1);
    if (result->out_of_steps)
        metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.out_of_steps, 1);
    if (!tx_keep_result(tx, result)) {
        tx_decide_error(tx, CAUSE_OVERLOAD, ERR_NOMEM, "no memory for a scan's result");
    } else if (icap_judge_end(tx, &cause)) {
        tx_decide_judged(tx, cause, scan->verdict, scan->cause);
    } else {
        tx->err = scan->err;
        tx_decide(tx, scan->verdict, scan->verdict == VERDICT_PASS ? CAUSE_NONE : scan->cause);
    }
    tx_pump(tx);
}

static struct span declared_encoding(struct icap_transaction *tx)
{
    const struct head *http;

    if (tx->detached)
        return tx->detached->encoding;
    http = icap_message_head(tx->req);
    return http ? icap_content_encoding(tx, http) : SPAN_NONE;
}

static void on_file(void *arg, int fd, enum err err);

static void need_file(void *arg)
{
    struct icap_transaction *tx = arg;

    body_file(tx->body, on_file, tx);
}

static struct inspection_request inspection_request(struct icap_transaction *tx, int fd)
{
    struct loop *loop = tx->server->env.loop;

    return (struct inspection_request){
        .fd = fd,
        .len = tx->body_len,
        .pipeline = tx->pipeline,
        .sha256 = span_of(tx->sha256),
        .scope = span_of(tx->scope),
        .name = span_of(tx->subject->name.text),
        .tricks = tx->subject->name.tricks,
        .type = tx->subject->type,
        .encoding = declared_encoding(tx),
        .unpack = tx->snapshot->unpack,
        .types = &tx->service->set->types,
        .steps_max = tx->snapshot->decision_steps,
        .deadline_ms = loop_now_ms(loop) + tx->service->set->deadline_ms,
        .client = tx->client,
        .need_file = fd < 0 ? need_file : NULL,
        .done = on_result,
        .arg = tx,
    };
}

/* |fd| -1: the body is put into a file only if the cache does not know it. */
static void tx_submit(struct icap_transaction *tx, int fd)
{
    struct icap_server *s = tx->server;
    struct inspection_request r = inspection_request(tx, fd);
    enum err e;

    tx->scan_start_us = loop_now_us(s->env.loop);
    tx->state = TX_SCAN;
    e = inspection_start(s->env.inspector, &r, &tx->scan);
    if (e == OK)
        return;
    tx->scan = NULL;
    tx_drop_scan(tx);
    if (e == ERR_LIMIT)
        tx_decide_error(tx, CAUSE_NOT_INSPECTED, e, "Content-Type or Content-Encoding is too long");
    else
        tx_decide_error(tx, CAUSE_OVERLOAD, e,
                        e == ERR_BUSY ? "as many files as engines.workers.queue allows are waiting"
                                      : "no memory for a scan");
}

static void on_file(void *arg, int fd, enum err err)
{
    struct icap_transaction *tx = arg;

    if (err) {
        tx_drop_scan(tx);
        tx_decide_error(tx, cause_of_store(err), err, "the body could not be stored");
    } else if (tx->scan) {
        inspection_file(tx->scan, fd);
        return; /* its answer comes on a turn of its own */
    } else {
        icap_slow_file(tx, fd);
        tx_submit(tx, fd);
    }
    tx_pump(tx);
}

/* The engine url has said its word about the heads, and no other is asked. */
static bool asks_about_urls_only(const struct icap_transaction *tx)
{
    return tx->pipeline == 1u << PIPELINE_URL;
}

/* No engine has anything to say about the body, perhaps because there is none; a rule may. */
static void tx_decide_unscanned(struct icap_transaction *tx)
{
    enum cause cause;

    if (!icap_judge_end(tx, &cause))
        cause = CAUSE_NONE;
    tx_decide_judged(tx, cause, VERDICT_PASS, CAUSE_NONE);
}

/* It has its slot. A progress page needs the file itself, so it is made first. */
static void tx_scan(struct icap_transaction *tx)
{
    if (tx->slow.page)
        body_file(tx->body, on_file, tx);
    else
        tx_submit(tx, -1);
}

static void tx_scan_when(struct icap_transaction *tx, enum icap_scan_slot slot)
{
    switch (slot) {
    case ICAP_SCAN_GOES_ON: tx_scan(tx); break;
    case ICAP_SCAN_WAITS: break; /* icap_transaction_turn() follows */
    case ICAP_SCAN_REFUSED:
        tx_decide_error(tx, CAUSE_OVERLOAD, ERR_BUSY,
                        tx->scan_wait.over_quota
                            ? "as many scans as the tenant's quota allows are open"
                            : "as many scans as limits.scans allows are open");
        break;
    }
}

void icap_transaction_turn(struct icap_transaction *tx)
{
    if (tx->state == TX_FILE)
        tx_scan_when(tx, icap_scan_slot_turn(tx));
}

static void tx_inspect_end(struct icap_transaction *tx)
{
    tx->body_len = body_len(tx->body);
    body_sha256(tx->body, tx->sha256);
    tx->body_complete = true;
    if (tx->body_len == 0 || asks_about_urls_only(tx)) {
        tx_decide_unscanned(tx);
        return;
    }
    tx->state = TX_FILE;
    icap_slow_complete(tx);
    tx->client = tx->tenant ? tx->tenant->client : address_hash(&tx->subject->client);
    tx_scan_when(tx, icap_scan_slot_take(tx));
}

static bool memory_is_nearly_gone(const struct icap_server *s)
{
    const struct budget *m = s->env.spool->memory;
    uint64_t max = m ? atomic_load_explicit(&m->max, memory_order_relaxed) : 0;

    return max && budget_used(m) > max / 10 * 9;
}

static void tx_inspect_begin(struct icap_transaction *tx)
{
    enum cause cause = CAUSE_NONE;

    if (!tx->subject) {
        tx_decide_error(tx, CAUSE_OVERLOAD, ERR_NOMEM, "no memory for the heads' facts");
        return;
    }
    switch (icap_judge_begin(tx, &cause)) {
    case ICAP_JUDGED_UNSEEN: tx_decide(tx, VERDICT_NOT_INSPECTED, CAUSE_NONE); return;
    case ICAP_JUDGED:
        tx_decide(tx, cause == CAUSE_DENIED ? VERDICT_BLOCK : VERDICT_NOT_INSPECTED, cause);
        return;
    case ICAP_NOT_JUDGED: break;
    }
    if (!tx->req->has_body)
        return;
    if (asks_about_urls_only(tx) && !tx->req->http_request)
        tx_decide_error(tx, CAUSE_NOT_INSPECTED, OK, "there is no request head, and so no URL");
    else if (asks_about_urls_only(tx) && tx->service->set->n_rules == 0)
        tx_decide(tx, VERDICT_PASS, CAUSE_NONE);
    else if (memory_is_nearly_gone(tx->server))
        tx_decide_error(tx, CAUSE_OVERLOAD, ERR_NOMEM, "limits.memory is nearly used up");
    else if (tx_need_body(tx, true) != OK)
        tx_decide_error(tx, CAUSE_OVERLOAD, ERR_NOMEM, "no memory for a body");
    else
        icap_slow_begin(tx);
}

/* ---- echo ---- */

static void tx_echo(struct icap_transaction *tx)
{
    tx->body_len = tx->body ? body_len(tx->body) : 0;
    tx_decide(tx, VERDICT_PASS, CAUSE_NONE);
}

/* ---- events ---- */

/* The client says icaps and believes that nobody else can read this. On loopback whoever speaks TLS
 * for it stands in between. */
static bool expects_tls(const struct icap_transaction *tx)
{
    struct address peer;

    if (!tx->req->uri.secure || stream_is_tls(tx->conn->stream))
        return false;
    peer = stream_peer(tx->conn->stream);
    return !address_is_loopback(&peer);
}

static void tx_route(struct icap_transaction *tx)
{
    const struct icap_request *req = tx->req;
    struct icap_server *s = tx->server;

    tx->service = icap_snapshot_find(tx->snapshot, req->uri.path, tx->tenant);
    if (!tx->service && tx->anonymous) {
        tx->service = icap_snapshot_find_any(tx->snapshot, req->uri.path); /* without an ISTag */
    } else if (tx->service && !icap_login_service(tx)) {
        tx_answer_error(tx, 503, ERR_NOMEM, "no memory for a tenant's names");
        return;
    }
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
    if (tx->service->set->type == ICAP_SERVICE_INSPECT) {
        if (!icap_progress_fetch(tx))
            tx_inspect_begin(tx);
    } else if (echoes_as(tx, ICAP_ECHO_WHOLE) && req->has_body && req->has_preview) {
        /* RFC 3507 4.5: nothing may begin inside a preview; it waits for the 100 or its end */
        if (tx_need_body(tx, false) != OK)
            tx_decide_error(tx, CAUSE_OVERLOAD, ERR_NOMEM, "no memory for a body");
    } else if (req->has_body) {
        tx_echo(tx);
    }
}

static void tx_admit(struct icap_transaction *tx, enum icap_login_step step, const struct fault *f)
{
    switch (step) {
    case ICAP_LOGIN_DONE:
        tx->state = TX_RECEIVE;
        tx_route(tx);
        break;
    case ICAP_LOGIN_WAITS: tx->state = TX_LOGIN; break;
    case ICAP_LOGIN_REFUSED: tx_answer_error(tx, f->status, f->err, f->why); break;
    }
}

static void tx_log_in(struct icap_transaction *tx)
{
    struct fault f = {.err = OK};

    tx_admit(tx, icap_login_begin(tx, &f), &f);
}

void icap_transaction_admit(struct icap_transaction *tx, enum icap_login_step step,
                            const struct fault *f)
{
    tx_admit(tx, step, f);
    icap_connection_wake(tx->conn);
}

/* Nearly every one begins in the memory that the last one has left in the cache. */
static struct icap_transaction *tx_new(struct icap_server *s)
{
    struct icap_transaction *tx = s->spare;

    s->spare = NULL;
    if (!tx)
        return calloc(1, sizeof *tx);
    memset(tx, 0, sizeof *tx);
    return tx;
}

static void tx_keep(struct icap_server *s, struct icap_transaction *tx)
{
    if (IS_SANITIZED || s->spare)
        free(tx);
    else
        s->spare = tx;
}

void icap_transaction_begin(struct icap_connection *c)
{
    struct icap_server *s = c->server;
    struct icap_transaction *tx = tx_new(s);

    assert(!c->tx);
    if (!tx) {
        icap_abort(c->engine);
        return;
    }
    tx->conn = c;
    tx->server = s;
    tx->snapshot = icap_snapshot_ref(s->snapshot);
    tx->steps.left = tx->snapshot->decision_steps;
    tx->req = icap_current(c->engine);
    tx->start_us = c->read_us ? c->read_us : loop_now_us(s->env.loop);
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
    tx->state = TX_RECEIVE;
    icap_subject_find(tx);
    if (expects_tls(tx))
        tx_answer_error(tx, 403, ERR_PLAINTEXT, "the client says icaps, but there is no TLS");
    else if (c->accepted.settings->login)
        tx_log_in(tx);
    else
        tx_route(tx);
}

static void tx_store(struct icap_transaction *tx, struct slice s)
{
    enum err e = body_append(tx->body, s);

    icap_slow_body(tx, s);
    if (e == OK && (is_echo(tx) || body_len(tx->body) <= tx->service->set->body_max))
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
    case TX_LOGIN:
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
        tx_unchanged(tx);
    else if (tx->state == TX_RECEIVE && icap_go_on(tx->conn->engine) != OK)
        tx_break(tx, ERR_BUG, "100 Continue was not possible");
    tx->went_on = true;
    if (tx->state == TX_RECEIVE && is_echo(tx))
        tx_echo(tx);
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
    tx->body_us = tx->conn->read_us;
    if (tx->state == TX_SKIP) {
        tx_unchanged(tx);
        return;
    }
    if (tx->state != TX_RECEIVE)
        return;
    if (tx->method == ICAP_OPTIONS) {
        tx->state = TX_DONE;
        if (icap_answer_options(tx) != OK)
            tx_break(tx, ERR_NOMEM, "the OPTIONS answer could not be written");
    } else if (is_echo(tx)) {
        tx_echo(tx);
    } else if (tx->body) {
        tx_inspect_end(tx);
    } else {
        tx->body_complete = true;
        tx_decide_unscanned(tx);
    }
}

/* ---- output ---- */

/* Takes off what the trickle has sent already. */
static void skip_sent(struct icap_transaction *tx, uint64_t *off, uint64_t *len)
{
    uint64_t skip = tx->slow.sent - tx->slow.skipped;

    if (skip > *len)
        skip = *len;
    tx->slow.skipped += (uint32_t)skip;
    *off += skip;
    *len -= skip;
}

static enum err reply_segment(struct icap_engine *e, struct icap_transaction *tx,
                              struct segment *seg)
{
    enum err err = OK;

    if (seg->kind == SEGMENT_FILE) {
        uint64_t off = seg->file.off, len = seg->file.len;

        skip_sent(tx, &off, &len);
        if (len)
            err = icap_reply_file(e, seg->file.ref, off, len);
        file_unref(seg->file.ref);
    } else {
        uint64_t off = seg->slice.off, len = seg->slice.len;

        skip_sent(tx, &off, &len);
        if (len)
            err =
                icap_reply_body(e, (struct slice){seg->slice.block, (uint32_t)off, (uint32_t)len});
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
    if (tx->fetch)
        return icap_progress_drive(tx);
    while (tx->body && icap_output(e)->len < FLOW_HIGH &&
           body_take(tx->body, FLOW_HIGH - icap_output(e)->len, &seg)) {
        moved = true;
        err = reply_segment(e, tx, &seg);
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
    icap_login_end(tx);
}

void icap_transaction_free(struct icap_transaction *tx)
{
    tx_drop_scan(tx);
    icap_login_end(tx);
    session_unref(tx->session);
    icap_slow_free(tx);
    tx_drop_body(tx);
    if (tx->fetch)
        file_unref(tx->fetch);
    icap_snapshot_unref(tx->snapshot);
    free(tx->result);
    object_table_unref(tx->objects);
    if (tx->upstream)
        record_upstream_unref(tx->upstream);
    tx_keep(tx->server, tx);
}

void icap_transaction_finish(struct icap_transaction *tx)
{
    struct icap_connection *c = tx->conn;

    tx_drop_scan(tx);
    icap_slow_end(tx);
    if (tx->state != TX_DONE && !tx->err) {
        tx->err = ERR_ABORTED;
        tx->err_why = "the connection ended before the answer was complete";
    }
    icap_audit_finish(tx);
    icap_transaction_free(tx);
    c->tx = NULL;
    c->first = false;
    icap_connection_renew_id(c);
    atomic_fetch_sub_explicit(&c->server->n_open, 1, memory_order_relaxed);
}
