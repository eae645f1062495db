/* SPDX-License-Identifier: Apache-2.0 */
/* What is written to clients. Refusals are IPP answers wherever clients show those (HTTP 200 with a
 * status and a sentence), and HTTP errors only where HTTP is what is refused. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ipp/ipp_server_int.h"

/* What every answer says of itself. */
static void common_fields(struct ipp_exchange *ex, struct buf *fields)
{
    buf_text(fields, "Date: ");
    buf_text(fields, loop_http_date(ex->server->env.loop));
    buf_text(fields, "\r\nServer: sallyport\r\nX-Request-ID: ");
    buf_text(fields, ex->id);
    buf_text(fields, "\r\n");
    buf_add(fields, buf_span(&ex->info));
}

static void send_answer(struct ipp_exchange *ex, unsigned status, struct span fields,
                        struct span type, struct span body)
{
    char room[1024];
    struct buf all;

    ex->state = EX_DONE;
    ex->http_status = status;
    buf_init_on(&all, room, sizeof room, 0);
    common_fields(ex, &all);
    buf_add(&all, fields);
    if (body.n) {
        buf_text(&all, "Content-Type: ");
        buf_add(&all, type);
        buf_text(&all, "\r\n");
    }
    const struct http_reply r = {.status = status, .fields = buf_span(&all), .has_body = true};

    if (all.err || http_reply_whole(http_connection_engine(ex->conn->http), &r, body) != OK)
        http_connection_lose(ex->conn->http, ERR_NOMEM, "no memory for an answer");
    buf_done(&all);
    ipp_exchange_wake(ex);
}

void ipp_reply_http(struct ipp_exchange *ex, unsigned status, struct span fields, const char *text)
{
    char body[500] = "";

    if (status >= 400 && !ex->why[0] && text)
        (void)span_copy(span_of(text), ex->why, sizeof ex->why);
    if (status >= 400 && !ex->err)
        ex->err = status >= 500 ? ERR_BUSY : ERR_POLICY;
    if (text)
        (void)snprintf(body, sizeof body, "%s\r\n", text);
    ipp_exchange_drop_work(ex);
    send_answer(ex, status, fields, SPAN("text/plain; charset=utf-8"), span_of(body));
}

static void send_ipp(struct ipp_exchange *ex, const struct buf *message)
{
    send_answer(ex, 200, SPAN("Cache-Control: no-cache, no-store\r\n"), SPAN("application/ipp"),
                buf_span(message));
}

static bool is_cups(const struct ipp_exchange *ex)
{
    const struct http_request *req = http_current(http_connection_engine(ex->conn->http));

    return req && span_istarts(head_value(req->head, SPAN("User-Agent")), SPAN("CUPS/"));
}

/* ---- what its scheduler shows its users ---- */

static struct ipp_refusal_key key_of(const struct ipp_exchange *ex)
{
    return (struct ipp_refusal_key){.printer = span_of(ex->printer->set->name),
                                    .user = span_of(ex->who.name),
                                    .source = address_hash(&ex->peer),
                                    .level =
                                        (unsigned)ex->level.channel << 8 | (unsigned)ex->who.kind};
}

/* Its backend asks for the printer's state behind a refusal. The next job begins anew. */
static void note_refusal(const struct ipp_exchange *ex, uint16_t status)
{
    bool is_document = ex->operation && (ex->operation->code == IPP_OPERATION_PRINT_JOB ||
                                         ex->operation->code == IPP_OPERATION_SEND_DOCUMENT);
    bool is_begin = ex->operation && (ex->operation->code == IPP_OPERATION_VALIDATE_JOB ||
                                      ex->operation->code == IPP_OPERATION_CREATE_JOB);
    uint64_t now = loop_now_ms(ex->server->env.loop);

    if (!ex->printer || !(is_document || is_begin) || !is_cups(ex))
        return;
    const struct ipp_refusal_key k = key_of(ex);

    if (is_document && status >= IPP_CLIENT_ERROR_BAD_REQUEST && ex->why[0])
        ipp_refusals_note(ex->server->env.refusals, &k, span_of(ex->why), now);
    else
        ipp_refusals_forget(ex->server->env.refusals, &k, now);
}

bool ipp_refused_lately(const struct ipp_exchange *ex, char ret[IPP_REFUSAL_MAX + 1])
{
    struct ipp_refusals *refusals = ex->server->env.refusals;
    uint64_t now = loop_now_ms(ex->server->env.loop);

    if (ipp_refusals_are_none(refusals, now) || !is_cups(ex))
        return false;
    const struct ipp_refusal_key k = key_of(ex);

    return ipp_refusals_find(refusals, &k, now, ret);
}

/* ---- answers that wait ---- */

#define PAUSE_MS 5000u

/* The ipp backend of CUPS rests before it repeats anything else. After these it makes its job anew
 * and sends the document again, at once and for as long as it hears them: dozens of times a second,
 * each a job at the printer. */
static bool is_repeated_at_once(const struct ipp_exchange *ex, uint16_t status)
{
    return ex->operation && ex->operation->code == IPP_OPERATION_SEND_DOCUMENT &&
           (status == IPP_SERVER_ERROR_SERVICE_UNAVAILABLE || status == IPP_SERVER_ERROR_BUSY ||
            status == IPP_CLIENT_ERROR_NOT_POSSIBLE) &&
           is_cups(ex);
}

static bool begin_pause(struct ipp_exchange *ex)
{
    struct loop *l = ex->server->env.loop;

    if (ex->server->draining)
        return false;
    buf_add(&ex->paused, buf_span(&ex->out));
    if (ex->paused.err)
        return false;
    ipp_document_drop(ex);
    chain_done(&ex->early);
    ex->state = EX_PAUSE;
    timer_set(l, &ex->timer, loop_now_ms(l) + PAUSE_MS);
    return true;
}

void ipp_reply_on_timer(struct ipp_exchange *ex)
{
    send_ipp(ex, &ex->paused);
}

void ipp_reply_out(struct ipp_exchange *ex, uint16_t status)
{
    ex->ipp_status = status;
    ex->answered_ipp = true;
    if (ex->out.err) {
        ex->state = EX_DONE;
        http_connection_lose(ex->conn->http, ex->out.err, "no memory for an answer");
        return;
    }
    note_refusal(ex, status);
    if (!is_repeated_at_once(ex, status) || !begin_pause(ex))
        send_ipp(ex, &ex->out);
}

/* ---- refusals ---- */

void ipp_reply_refuse(struct ipp_exchange *ex, uint16_t status, enum err err, const char *rule,
                      const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(ex->why, sizeof ex->why, fmt, ap);
    va_end(ap);
    ex->err = err;
    ex->rule_name = rule;
    ipp_exchange_drop_work(ex);
    if (!ex->conn)
        return;
    const struct ipp_own_answer a = {
        .major = ex->header.major == 1 || ex->header.major == 2 ? ex->header.major : 1,
        .minor = ex->header.major == 1 || ex->header.major == 2 ? ex->header.minor : 1,
        .status = status,
        .request_id = ex->header.request_id,
        .message = span_of(ex->why),
    };

    buf_reset(&ex->out);
    (void)!ipp_own_answer(&a, &ex->out);
    ipp_reply_out(ex, status);
}

/* ---- how printers are told ---- */

/* The name by which this client reached us, where nothing better is configured: what it calls us in
 * Host, if that is a name of ours, or the address of its connection. */
static struct span host_of(const struct ipp_exchange *ex)
{
    const struct http_request *req = http_current(http_connection_engine(ex->conn->http));
    struct span host = req ? head_value(req->head, SPAN("Host")) : SPAN_NONE;

    if (ex->snapshot->set->host)
        return span_of(ex->snapshot->set->host);
    if (ex->target.form == IPP_HTTP_ABSOLUTE)
        return ex->target.uri.host;
    if (host.n && host.p[0] == '[')
        host = span_sub(host, 1, span_find(host, ']') - 1);
    else
        host = span_sub(host, 0, span_find(host, ':'));
    return ipp_snapshot_is_host(ex->snapshot, host) ? host : span_of(ex->snapshot->host);
}

static bool begins_in_clear(const struct listener_settings *s)
{
    return !s->tls || s->handshake != LISTENER_TLS_AT_ONCE;
}

/* Where nothing else is configured, clients are told the port by which they came, as far as it
 * serves for that. */
static struct ipp_front front_of(const struct ipp_exchange *ex)
{
    const struct http_connection *c = ex->conn->http;
    const struct listener_settings *s = http_connection_accepted(c)->settings;
    const struct ipp_settings *set = ex->snapshot->set;
    struct ipp_front front = {
        .host = host_of(ex), .port = ex->snapshot->port, .secure_port = ex->snapshot->secure_port};

    if (!set->port && begins_in_clear(s))
        front.port = ex->conn->port;
    if (!set->secure_port && s->tls && s->handshake != LISTENER_TLS_LATER)
        front.secure_port = ex->conn->port;
    if (front.host.n > 2 && front.host.p[0] == '[')
        front.host = span_sub(front.host, 1, front.host.n - 2);
    return front;
}

/* The port for clear text that clients are told is that of this listener, or of the first one. */
static bool clear_port_upgrades(const struct ipp_exchange *ex, const struct listener_settings *s)
{
    return begins_in_clear(s) ? s->tls_upgrade || ex->level.channel == IPP_CHANNEL_UPGRADED
                              : ex->snapshot->upgrades;
}

void ipp_reply_public(const struct ipp_exchange *ex, struct ipp_public_printer *ret)
{
    const struct listener_settings *s = http_connection_accepted(ex->conn->http)->settings;

    *ret = (struct ipp_public_printer){
        .set = ex->printer ? ex->printer->set : NULL,
        .front = front_of(ex),
        .upgrades = clear_port_upgrades(ex, s),
        .job_style = ex->snapshot->set->job_style,
        .backend_host = ex->printer ? ex->printer->backend_host : SPAN_NONE,
        .uuid = ex->printer ? ex->printer->uuid : "",
        .digest = ex->snapshot->tenants != NULL,
        .single = span_eq(ex->target.uri.path, SPAN("/")),
        .secure = ex->level.channel == IPP_CHANNEL_IMPLICIT,
    };
}
