/* SPDX-License-Identifier: Apache-2.0 */
/* What is recorded of a transaction, and the small readings of heads that records and engines need.
 */
#include <stdatomic.h>

#include "base/log.h"
#include "icap/icap_server_int.h"

/* "http://HOST:PORT/path?query" or "/path": host without userinfo and port; empty without. */
static struct span target_host(struct span target)
{
    struct span rest = target, scheme = span_cut(&rest, ':');

    if (!rest.p || !span_starts(rest, SPAN("//")) || !span_is_token(scheme))
        return SPAN_NONE;
    rest = span_sub(rest, 2, SIZE_MAX);
    for (size_t i = 0; i < rest.n; i++)
        if (rest.p[i] == '/' || rest.p[i] == '?' || rest.p[i] == '#')
            rest.n = i;
    if (span_find(rest, '@') < rest.n)
        (void)span_cut(&rest, '@');
    return rest;
}

static struct span without_port(struct span host)
{
    if (span_starts(host, SPAN("[")))
        return span_sub(host, 0, span_find(host, ']') + 1);
    return span_sub(host, 0, span_find(host, ':'));
}

static struct span url_host(const struct head *http)
{
    struct span host = target_host(http->target);

    return without_port(host.n ? host : head_value(http, SPAN("Host")));
}

struct span icap_declared_name(const struct icap_request *req)
{
    struct span path = req->http_request ? req->http_request->target : SPAN_NONE;
    struct span rest;

    path = span_sub(path, 0, span_find(path, '?'));
    rest = path;
    while (rest.p) {
        path = rest;
        (void)span_cut(&rest, '/');
    }
    return path;
}

struct span icap_declared_type(const struct icap_request *req)
{
    const struct head *http = req->method == ICAP_RESPMOD ? req->http_response : req->http_request;
    struct span type = http ? head_value(http, SPAN("Content-Type")) : SPAN_NONE;

    return span_trim(span_cut(&type, ';'));
}

void icap_audit_begin(struct icap_transaction *tx)
{
    const struct icap_request *req = tx->req;
    struct span user = head_value(req->icap, SPAN("X-Authenticated-User"));

    if (!user.p)
        user = head_value(req->icap, SPAN("X-Client-Username"));
    (void)span_copy(head_value(req->icap, SPAN("X-Client-IP")), tx->client_ip,
                    sizeof tx->client_ip);
    (void)span_copy(user, tx->user, sizeof tx->user);
    if (req->http_request)
        (void)span_copy(url_host(req->http_request), tx->url_host, sizeof tx->url_host);
}

static void append_line(struct icap_server *s, const struct record *r)
{
    if (!s->env.records)
        return;
    buf_reset(&s->line);
    record_format(r, &s->line);
    /* A line that is lost is counted by the log itself, and with on-full: refuse stops the next
     * transactions. */
    if (s->line.err == OK)
        (void)!record_log_append(s->env.records, s->loop_index, buf_span(&s->line));
}

static unsigned findings_of(const struct icap_transaction *tx, struct record_finding *v)
{
    unsigned n = tx->result ? tx->result->n_findings : 0;

    for (unsigned i = 0; i < n; i++)
        v[i] = (struct record_finding){
            .engine = tx->result->findings[i].engine,
            .name = span_of(tx->result->findings[i].name),
            .where = span_of(tx->result->findings[i].where),
        };
    return n;
}

static uint64_t since(uint64_t from, uint64_t to)
{
    return from && to > from ? to - from : 0;
}

static void count(struct icap_transaction *tx, uint64_t bytes_in, uint64_t bytes_out,
                  uint64_t total_us)
{
    struct icap_server *s = tx->conn->server;

    atomic_fetch_add_explicit(&s->n_transactions, 1, memory_order_relaxed);
    if (tx->err)
        metrics_add(s->env.metrics, s->loop_index,
                    s->failed[tx->err <= ERR_ABORTED ? tx->err : ERR_BUG], 1);
    if (!tx->service)
        return;
    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.bytes_in, bytes_in);
    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.bytes_out, bytes_out);
    metrics_observe(s->env.metrics, s->loop_index, tx->service->metrics.total_time, total_us);
}

/* What stood in the way; of a block the findings say it. */
static const char *error_text(const struct icap_transaction *tx)
{
    if (tx->err_why)
        return tx->err_why;
    return tx->result && tx->verdict != VERDICT_BLOCK ? tx->result->why : "";
}

/* echo passes everything, and nobody looked at it: it has no verdict. */
static bool was_inspected(const struct icap_transaction *tx)
{
    return tx->has_verdict && tx->service->set->type == ICAP_SERVICE_INSPECT;
}

void icap_audit_finish(struct icap_transaction *tx)
{
    struct icap_connection *c = tx->conn;
    struct icap_server *s = c->server;
    struct record_finding findings[FINDINGS_MAX];
    char client[ADDRESS_TEXT_MAX];
    uint64_t now = loop_now_us(s->env.loop);
    uint64_t in = 0, out = 0;

    icap_counts(c->engine, &in, &out);
    count(tx, in, out, since(tx->start_us, now));
    struct record r = {
        .id = tx->id,
        .time_wall_ms = tx->start_wall_ms,
        .client = span_of(address_text(stream_peer(c->stream), client)),
        .client_ip = span_of(tx->client_ip),
        .user = span_of(tx->user),
        .listener = c->accepted.settings->name,
        .report = stream_report(c->stream),
        .service = tx->service ? tx->service->set->name : NULL,
        .method = tx->has_method ? icap_method_name(tx->method) : NULL,
        .url_host = span_of(tx->url_host),
        .icap_status = tx->icap_status,
        .http_status = tx->http_status,
        .bytes_in = in,
        .bytes_out = out,
        .body_len = tx->body_len,
        .sha256 = tx->sha256[0] ? tx->sha256 : NULL,
        .verdict = was_inspected(tx) ? verdict_name(tx->verdict) : NULL,
        .action = tx->has_verdict ? action_name(tx->action) : NULL,
        .cause = tx->cause != CAUSE_NONE ? cause_name(tx->cause) : NULL,
        .findings = findings,
        .n_findings = findings_of(tx, findings),
        .handshake_us = c->first ? c->accepted.handshake_us : 0,
        .body_us = since(tx->start_us, tx->body_us),
        .scan_us = tx->scan_us,
        .total_us = since(tx->start_us, now),
        .error = tx->err ? err_code(tx->err) : NULL,
        .error_text = span_of(error_text(tx)),
    };
    append_line(s, &r);
}

void icap_audit_refused(struct icap_server *s, const struct listener_settings *li,
                        const struct address *peer, enum err err, const char *why)
{
    char client[ADDRESS_TEXT_MAX], id[RECORD_ID_LEN + 1];
    struct record r = {
        .id = id,
        .time_wall_ms = clock_wall_ms(loop_clock(s->env.loop)),
        .client = span_of(address_text(peer, client)),
        .listener = li->name,
        .error = err_code(err),
        .error_text = span_of(why),
    };

    record_id(s->env.id_seed, s->loop_index, s->next_id++, id);
    log_debug("icap", "listener=%s client=%s: refused before it was open: %s", li->name, client,
              why);
    append_line(s, &r);
}
