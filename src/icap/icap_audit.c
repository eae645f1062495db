/* SPDX-License-Identifier: Apache-2.0 */
/* What is recorded and counted of a transaction. */
#include <stdatomic.h>

#include "base/log.h"
#include "icap/icap_server_int.h"

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
            .note = tx->result->findings[i].note,
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
    struct icap_server *s = tx->server;

    atomic_fetch_add_explicit(&s->n_transactions, 1, memory_order_relaxed);
    if (tx->err)
        metrics_add(s->env.metrics, s->loop_index,
                    s->failed[(unsigned)tx->err < ERR_CODES ? tx->err : ERR_BUG], 1);
    if (!tx->service)
        return;
    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.bytes_in, bytes_in);
    metrics_add(s->env.metrics, s->loop_index, tx->service->metrics.bytes_out, bytes_out);
    metrics_observe(s->env.metrics, s->loop_index, tx->service->metrics.total_time, total_us);
}

#define FOUND (1u << CAUSE_INFECTED | 1u << CAUSE_DENIED)

/* What stood in the way; of a block the findings say it. */
static const char *error_text(const struct icap_transaction *tx)
{
    if (tx->err_why)
        return tx->err_why;
    return tx->result && (tx->verdict != VERDICT_BLOCK || (tx->causes & ~FOUND)) ? tx->result->why
                                                                                 : "";
}

/* All that stood in the way, the one that decided first. */
static unsigned causes_of(const struct icap_transaction *tx, const char *v[CAUSES])
{
    unsigned n = 0;

    if (tx->cause != CAUSE_NONE)
        v[n++] = cause_name(tx->cause);
    for (enum cause c = CAUSE_NONE + 1; c < CAUSES; c++)
        if (c != tx->cause && (tx->causes & 1u << c))
            v[n++] = cause_name(c);
    return n;
}

/* NULL: none. */
static const char *trouble_code(const struct icap_transaction *tx)
{
    if (tx->causes == 0)
        return tx->err == OK || tx->err == ERR_ABORTED ? NULL : err_code(tx->err);
    if (1u << tx->cause & ~FOUND)
        return cause_name(tx->cause);
    for (enum cause c = CAUSE_NONE + 1; c < CAUSES; c++)
        if (tx->causes & ~FOUND & 1u << c)
            return cause_name(c);
    return NULL;
}

/* What operators should see without searching records: not what was found, but what went wrong. */
static void tell_trouble(struct icap_transaction *tx)
{
    struct icap_server *s = tx->server;
    const char *code = trouble_code(tx);
    struct buf area;

    if (!s->env.troubles || !code)
        return;
    buf_init(&area, 256);
    buf_fmt(&area, "service %s", tx->service ? tx->service->set->name : "-");
    troubles_add(s->env.troubles, buf_span(&area), code, error_text(tx), tx->id, tx->start_wall_ms);
    buf_done(&area);
}

/* echo passes everything, and nobody looked at it: it has no verdict. */
static bool was_inspected(const struct icap_transaction *tx)
{
    return tx->has_verdict && tx->service && tx->service->set->type == ICAP_SERVICE_INSPECT;
}

/* The connection's part. */
static void describe_way(struct icap_transaction *tx, char client[ADDRESS_TEXT_MAX],
                         struct record *r)
{
    struct icap_connection *c = tx->conn;
    struct address peer = stream_peer(c->stream);

    r->client = span_of(address_text(&peer, client));
    r->listener = c->accepted.settings->name;
    r->report = stream_report(c->stream);
    r->handshake_us = c->first ? c->accepted.handshake_us : 0;
    icap_counts(c->engine, &r->bytes_in, &r->bytes_out);
    count(tx, r->bytes_in, r->bytes_out, r->total_us);
}

/* Of a detached scan: its transaction has been counted, and had the bytes. */
static void describe_detached(struct icap_transaction *tx, struct record *r)
{
    r->client = span_of(tx->detached->peer);
    r->listener = tx->detached->listener;
    if (tx->err)
        metrics_add(tx->server->env.metrics, tx->server->loop_index,
                    tx->server->failed[(unsigned)tx->err < ERR_CODES ? tx->err : ERR_BUG], 1);
}

void icap_audit_finish(struct icap_transaction *tx)
{
    struct icap_server *s = tx->server;
    struct record_finding findings[FINDINGS_MAX];
    const char *causes[CAUSES];
    const struct icap_subject *about = tx->subject;
    char client[ADDRESS_TEXT_MAX];
    uint64_t now = loop_now_us(s->env.loop);
    struct record r = {
        .id = tx->id,
        .follows = tx->follows[0] ? tx->follows : NULL,
        .time_wall_ms = tx->start_wall_ms,
        .client_ip = about ? span_of(about->client_ip) : SPAN_NONE,
        .user = about ? span_of(about->user) : SPAN_NONE,
        .tenant = tx->tenant ? tx->tenant->name : NULL,
        .session = tx->session ? session_id(tx->session) : NULL,
        .upstreams = &tx->upstream,
        .n_upstreams = tx->upstream != NULL,
        .service = tx->service ? tx->service->set->name : NULL,
        .method = tx->has_method ? icap_method_name(tx->method) : NULL,
        .url_host = about ? span_of(about->host) : SPAN_NONE,
        .icap_status = tx->icap_status,
        .http_status = tx->http_status,
        .body_len = tx->body_len,
        .sha256 = tx->sha256[0] ? tx->sha256 : NULL,
        .file = about ? span_of(about->name.text) : SPAN_NONE,
        .type = about ? span_of(about->declared) : SPAN_NONE,
        .sniffed = tx->result && tx->result->sniffed[0] ? tx->result->sniffed : NULL,
        .objects = tx->result ? tx->result->n_objects : 0,
        .verdict = was_inspected(tx) ? verdict_name(tx->verdict) : NULL,
        .action = tx->did           ? tx->did
                  : tx->has_verdict ? action_name(tx->action)
                                    : NULL,
        .causes = causes,
        .n_causes = causes_of(tx, causes),
        .rule = tx->rule ? tx->rule->name : NULL,
        .exception = tx->exception[0] ? tx->exception : NULL,
        .bypass = tx->bypass[0] ? tx->bypass : NULL,
        .cached = tx->cached,
        .findings = findings,
        .n_findings = findings_of(tx, findings),
        .body_us = since(tx->start_us, tx->body_us),
        .scan_us = tx->scan_us,
        .total_us = since(tx->start_us, now),
        .error = tx->err ? err_code(tx->err) : NULL,
        .error_text = span_of(error_text(tx)),
    };
    if (tx->conn)
        describe_way(tx, client, &r);
    else
        describe_detached(tx, &r);
    append_line(s, &r);
    tell_trouble(tx);
}

void icap_audit_refused(struct icap_server *s, const struct listener_settings *li,
                        const struct address *peer, enum err err, const char *why,
                        const sallyport_report *report)
{
    char client[ADDRESS_TEXT_MAX], id[RECORD_ID_LEN + 1];
    struct record r = {
        .id = id,
        .time_wall_ms = clock_wall_ms(loop_clock(s->env.loop)),
        .client = span_of(address_text(peer, client)),
        .listener = li->name,
        .error = err_code(err),
        .error_text = span_of(why),
        .report = err == ERR_POLICY || err == ERR_TLS ? report : NULL, /* else |why| says it all */
    };

    record_id(s->env.id_seed, s->loop_index, s->next_id++, id);
    log_debug("icap", "listener=%s client=%s: refused before it was open: %s", li->name, client,
              why);
    append_line(s, &r);
}
