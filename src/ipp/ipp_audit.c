/* SPDX-License-Identifier: Apache-2.0 */
/* What is recorded and counted of an exchange: how it was protected, who asked, what it was, and
 * why it ended as it did. */
#include <stdatomic.h>

#include "base/log.h"
#include "base/reader.h"
#include "ipp/ipp_server_int.h"
#include "protect/policy.h"

static void append_line(struct ipp_server *s, const struct record *r)
{
    if (!s->env.records)
        return;
    buf_reset(&s->line);
    record_format(r, &s->line);
    /* A line that is lost is counted by the log itself. */
    if (s->line.err == OK)
        (void)!record_log_append(s->env.records, s->loop_index, buf_span(&s->line));
}

/* "TLS,DAA"; with "certificate" where that is demanded, which no list can say. */
static const char *required_text(const struct ipp_exchange *ex, char dst[48])
{
    struct writer w = writer_of(dst, 48 - 1);
    unsigned auth = ex->demand.auth;

    if (ex->demand.level.channel != IPP_CHANNEL_CLEAR && !(auth & IPP_AUTH_CHANNEL))
        auth |= IPP_AUTH_TLS;
    if (ex->demand.level.user == IPP_USER_DIGEST)
        auth |= IPP_AUTH_DAA;
    if (auth & IPP_AUTH_CHANNEL)
        write_text(&w, auth & IPP_AUTH_TLS ? "TLS" : "SSL3");
    if (auth & IPP_AUTH_DAA)
        write_text(&w, auth & IPP_AUTH_CHANNEL ? ",DAA" : "DAA");
    if (ex->demand.level.user == IPP_USER_CERTIFICATE)
        write_text(&w, auth ? ",certificate" : "certificate");
    dst[w.n] = '\0';
    return dst;
}

static const char *lacked_text(enum ipp_need need)
{
    switch (need) {
    case IPP_NEED_NOTHING: break;
    case IPP_NEED_UPGRADE:
    case IPP_NEED_SECURE_PORT: return "TLS";
    case IPP_NEED_DIGEST: return "DAA";
    case IPP_NEED_CERTIFICATE: return "certificate";
    }
    return NULL;
}

static const char *odd_code(unsigned bit)
{
    switch (bit) {
    case IPP_ODD_MD5_MALFORMED: return "content-md5-malformed";
    case IPP_ODD_MD5_MISMATCH: return "content-md5-mismatch";
    case IPP_ODD_UPGRADE: return "upgrade-without-connection";
    case IPP_ODD_ALPN: return "upgrade-alpn-mismatch";
    case IPP_ODD_DOCUMENT: return "document-sent-in-clear";
    default: return ipp_uri_warning_code(bit);
    }
}

#define ODD_MAX 200u

/* Also one that was not wanted any more when it came. */
static bool came_with_document(const struct ipp_exchange *ex)
{
    return ex->conn && ex->message &&
           http_body_bytes(http_connection_engine(ex->conn->http)) > ex->attributes.n;
}

static const char *odd_text(struct ipp_exchange *ex, char dst[ODD_MAX])
{
    struct writer w = writer_of(dst, ODD_MAX - 1);

    if (ex->wants_tls && came_with_document(ex))
        ex->odd |= IPP_ODD_DOCUMENT;
    for (unsigned left = ex->odd; left; left &= left - 1) {
        write_text(&w, w.n ? "," : "");
        write_text(&w, odd_code(left & -left));
    }
    dst[w.n] = '\0';
    return w.n ? dst : NULL;
}

/* Not of a client that left before anybody had looked. */
static const char *login_of(const struct ipp_exchange *ex)
{
    bool refused = ex->err == ERR_LOGIN || ex->err == ERR_BUSY;

    return ex->tried && !ex->who.by && refused ? ex->tried->user : NULL;
}

static unsigned findings_of(const struct ipp_exchange *ex, struct record_finding *v)
{
    unsigned n = ex->result ? ex->result->n_findings : 0;

    for (unsigned i = 0; i < n; i++)
        v[i] = (struct record_finding){
            .engine = ex->result->findings[i].engine,
            .name = span_of(ex->result->findings[i].name),
            .where = span_of(ex->result->findings[i].where),
            .note = ex->result->findings[i].note,
        };
    return n;
}

static unsigned causes_of(const struct ipp_exchange *ex, const char *v[CAUSES])
{
    unsigned n = 0;

    if (ex->cause != CAUSE_NONE)
        v[n++] = cause_name(ex->cause);
    for (enum cause c = CAUSE_NONE + 1; c < CAUSES; c++)
        if (c != ex->cause && (ex->causes & 1u << c))
            v[n++] = cause_name(c);
    return n;
}

static void describe_way(struct ipp_exchange *ex, char client[ADDRESS_TEXT_MAX], struct record *r,
                         struct record_print *p)
{
    const struct accepted *a = http_connection_accepted(ex->conn->http);
    struct http_engine *e = http_connection_engine(ex->conn->http);
    struct stream *stream = http_connection_stream(ex->conn->http);
    struct address peer = stream_peer(stream);
    const struct http_request *req = http_current(e);

    r->client = span_of(address_text(&peer, client));
    r->listener = a->settings->name;
    r->report = stream_report(stream);
    r->handshake_us = ex->conn->first ? a->handshake_us : 0;
    http_counts(e, &r->bytes_in, &r->bytes_out);
    p->offered = req ? head_value(req->head, SPAN("Upgrade")) : SPAN_NONE;
    if (!p->offered.n)
        p->offered = span_of(ex->conn->offered);
    if (req)
        p->agent = head_value(req->head, SPAN("User-Agent"));
}

void ipp_audit_detach(struct ipp_exchange *ex)
{
    char client[ADDRESS_TEXT_MAX];
    struct record r = {.id = ex->id};
    struct record_print p = {0};

    describe_way(ex, client, &r, &p);
    ex->came.settings = listener_settings_ref(http_connection_accepted(ex->conn->http)->settings);
    ex->came.report = protect_report_keep(r.report);
    (void)span_copy(p.agent, ex->came.agent, sizeof ex->came.agent);
    (void)span_copy(p.offered, ex->came.offered, sizeof ex->came.offered);
}

static void describe_past_way(const struct ipp_exchange *ex, char client[ADDRESS_TEXT_MAX],
                              struct record *r, struct record_print *p)
{
    r->client = span_of(ex->has_job ? ex->job.client : address_text(&ex->peer, client));
    if (!ex->came.settings)
        return;
    r->listener = ex->came.settings->name;
    r->report = ex->came.report;
    p->agent = span_of(ex->came.agent);
    p->offered = span_of(ex->came.offered);
}

/* What operators should see without searching records: not what was found, but what went wrong. */
static void tell_trouble(struct ipp_exchange *ex, const char *why)
{
    struct ipp_server *s = ex->server;
    bool printers = ex->rule_name && span_eq(span_of(ex->rule_name), SPAN("printer"));
    bool clients = ex->err == ERR_ABORTED || ex->err == ERR_POLICY || ex->err == ERR_LOGIN ||
                   ex->err == ERR_MISSING || ex->err == ERR_PROTO || ex->err == ERR_SYNTAX ||
                   ex->err == ERR_CONFLICT;
    struct buf area;

    if (!s->env.troubles || ex->err == OK || (clients && !printers))
        return;
    if (printers && ex->err == ERR_POLICY && ex->detail[0])
        why = ex->detail; /* says all, and fits: it ends with the line of the policy */
    buf_init(&area, 256);
    buf_fmt(&area, "printer %s", ex->printer ? ex->printer->set->name : "-");
    troubles_add(s->env.troubles, buf_span(&area), err_code(ex->err), why, ex->id,
                 ex->start_wall_ms);
    buf_done(&area);
}

static void count(struct ipp_exchange *ex, uint64_t total_us)
{
    struct ipp_server *s = ex->server;
    /* Before it had its answer, or what was asked for was done all the same. */
    bool left = ex->err == ERR_ABORTED && (ex->http_status || ex->settles);

    if (ex->err && !left)
        atomic_fetch_add_explicit(&s->n_refused, 1, memory_order_relaxed);
    if (!ex->printer)
        return;
    metrics_add(s->env.metrics, s->loop_index, ex->printer->metrics.requests, 1);
    metrics_observe(s->env.metrics, s->loop_index, ex->printer->metrics.total_time, total_us);
    if (ex->err && !left)
        metrics_add(s->env.metrics, s->loop_index, ex->printer->metrics.refused, 1);
}

#define WHOLE_WHY_MAX \
    (sizeof((struct ipp_exchange *)0)->why + sizeof ": " + sizeof((struct ipp_exchange *)0)->detail)

/* For operators. */
static const char *whole_why(const struct ipp_exchange *ex, char dst[WHOLE_WHY_MAX])
{
    size_t n = span_copy(span_of(ex->why), dst, WHOLE_WHY_MAX);

    if (!ex->detail[0])
        return dst;
    if (n > 0)
        n += span_copy(SPAN(": "), dst + n, WHOLE_WHY_MAX - n);
    (void)span_copy(span_of(ex->detail), dst + n, WHOLE_WHY_MAX - n);
    return dst;
}

void ipp_audit_finish(struct ipp_exchange *ex)
{
    struct ipp_server *s = ex->server;
    struct record_finding findings[FINDINGS_MAX];
    const char *causes[CAUSES];
    char client[ADDRESS_TEXT_MAX], required[48], odd[ODD_MAX], why[WHOLE_WHY_MAX];
    uint64_t now = loop_now_us(s->env.loop);
    struct record_print p = {
        .operation = ex->operation ? ex->operation->name : NULL,
        .printer = ex->printer ? ex->printer->set->name : NULL,
        .job = ex->has_job ? (uint32_t)ex->job.id : 0,
        .printer_job = ex->has_job ? (uint32_t)ex->job.printer_id : 0,
        .channel = ipp_channel_name(ex->level.channel),
        .required = required_text(ex, required),
        .lacked = lacked_text(ex->lacks),
        .odd = odd_text(ex, odd),
        .auth = ex->who.by,
        .login = login_of(ex),
        .status = ex->answered_ipp ? ipp_status_name(ex->ipp_status) : NULL,
        .pages = ex->result ? ex->result->pages : 0,
    };
    struct record r = {
        .id = ex->id,
        .time_wall_ms = ex->start_wall_ms,
        .user = span_of(ex->who.name),
        .tenant = ex->who.tenant ? ex->who.tenant->name : NULL,
        .session = ex->session ? session_id(ex->session) : NULL,
        .print = &p,
        .upstreams = ex->upstreams.v,
        .n_upstreams = ex->upstreams.n,
        .http_status = ex->http_status,
        .body_len = ex->document_len,
        .sha256 = ex->document_ended ? ex->sha256 : NULL,
        .file = span_of(ex->name.text),
        .type = span_of(ex->format),
        .sniffed = ex->result && ex->result->sniffed[0] ? ex->result->sniffed : NULL,
        .objects = ex->result ? ex->result->n_objects : 0,
        .verdict = ex->result ? verdict_name(ex->result->verdict) : NULL,
        .action = ex->has_verdict ? action_name(ex->action) : NULL,
        .causes = causes,
        .n_causes = causes_of(ex, causes),
        .rule = ex->rule ? ex->rule->name : ex->rule_name,
        .cached = ex->cached,
        .findings = findings,
        .n_findings = findings_of(ex, findings),
        .scan_us = ex->scan_us,
        .total_us = now > ex->start_us ? now - ex->start_us : 0,
        .error = ex->err ? err_code(ex->err) : NULL,
        .error_text = span_of(whole_why(ex, why)),
    };

    if (ex->conn)
        describe_way(ex, client, &r, &p);
    else
        describe_past_way(ex, client, &r, &p);
    append_line(s, &r);
    count(ex, r.total_us);
    tell_trouble(ex, why);
}

void ipp_audit_refused(struct ipp_server *s, const struct listener_settings *settings,
                       const struct address *peer, enum err err, const char *why,
                       const sallyport_report *report)
{
    char client[ADDRESS_TEXT_MAX], id[RECORD_ID_LEN + 1];
    const struct record r = {
        .id = id,
        .time_wall_ms = clock_wall_ms(loop_clock(s->env.loop)),
        .client = span_of(address_text(peer, client)),
        .listener = settings->name,
        .error = err_code(err),
        .error_text = span_of(why),
        .report = err == ERR_POLICY || err == ERR_TLS ? report : NULL, /* else |why| says it all */
    };

    record_id(s->env.id_seed, s->loop_index, s->next_id++, id);
    log_debug("ipp", "listener=%s client=%s: refused before it was open: %s", settings->name,
              client, why);
    append_line(s, &r);
}
