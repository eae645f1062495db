/* SPDX-License-Identifier: Apache-2.0 */
/* What the server writes: OPTIONS, errors, originals, block pages. */
#include "base/html.h"
#include "base/json.h"
#include "icap/icap_server_int.h"

#define FIELDS_MAX   (8u << 10)
#define FIELDS_ROOM  512u /* for those of nearly every answer */
#define PAGE_MAX     (16u << 10)
#define REFUSED_REST (64u << 10)
#define CHALLENGE    "Basic realm=\"sallyport\", charset=\"UTF-8\""

/* Threat names and the like come from rules and hostile files: what a header may carry of them. ';'
 * ends an item of X-Infection-Found. */
static void add_safe(struct buf *b, struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        buf_char(b, c < 0x20 || c >= 0x7f || c == ';' ? '_' : (char)c);
    }
}

/* Date and the transaction's id: on every answer that is ours. */
static void add_common(struct icap_transaction *tx, struct buf *b)
{
    buf_text(b, "Date: ");
    buf_add(b, (struct span){loop_http_date(tx->server->env.loop), HTTP_DATE_LEN});
    buf_text(b, "\r\n" ICAP_ID_FIELD);
    buf_add(b, (struct span){tx->id, RECORD_ID_LEN});
    buf_text(b, "\r\n");
}

/* These stand in answers to every request: no printf. |name| with its colon and space. */
static void add_field(struct buf *b, struct span name, const char *value)
{
    buf_add(b, name);
    buf_text(b, value);
    buf_text(b, "\r\n");
}

static void add_number(struct buf *b, struct span name, uint64_t value)
{
    buf_add(b, name);
    buf_dec(b, value);
    buf_text(b, "\r\n");
}

static struct icap_reply reply_for(const struct icap_transaction *tx, unsigned status)
{
    return (struct icap_reply){
        .status = status,
        .istag = span_of(tx->istag),
        .close = tx->server->draining,
    };
}

/* An answer that does not need the rest of the body: what is too long to be dropped ends the
 * connection, and the client is told so. */
static bool leaves_too_much(const struct icap_transaction *tx)
{
    uint64_t max = tx->snapshot->limits->discard_max;

    /* Nobody knows who sends it. */
    if (tx->icap_status == 407 && max > REFUSED_REST)
        max = REFUSED_REST;
    return icap_rest(tx->conn->engine) > max;
}

static enum err answer_head(struct icap_transaction *tx, struct icap_reply *r, struct buf *fields)
{
    enum err e = fields->err;

    r->fields = buf_span(fields);
    if (e == OK)
        e = r->status == 204 ? icap_no_change(tx->conn->engine, r)
                             : icap_reply_head(tx->conn->engine, r);
    buf_done(fields);
    return e;
}

/* ---- OPTIONS (RFC 3507 4.10) ---- */

static void add_methods(struct buf *b, unsigned methods)
{
    static const enum icap_method order[] = {ICAP_REQMOD, ICAP_RESPMOD};
    const char *separator = "Methods: ";

    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        if (methods & 1u << order[i]) {
            buf_text(b, separator);
            buf_text(b, icap_method_name(order[i]));
            separator = ", ";
        }
    buf_text(b, "\r\n");
}

/* NULL, or why it cannot. */
static const char *service_is_down(const struct icap_transaction *tx)
{
    const struct icap_server_environment *env = &tx->server->env;
    unsigned engines = tx->service->engines;
    struct clamd_health_report clamd = {0};

    if (tx->service->set->type == ICAP_SERVICE_ECHO ||
        exceptions_bypass(tx->snapshot->exceptions, tx->service->set->name, tx->start_wall_ms))
        return NULL;
    if (engines & ~(1u << PIPELINE_URL) && !workers_are_up(env->workers))
        return "there is no inspection worker";
    if (env->clamd_health)
        clamd_health_read(env->clamd_health, &clamd);
    if (engines & 1u << PIPELINE_CLAMAV && !clamd.up)
        return "clamd does not answer, or finds nothing";
    return NULL;
}

enum err icap_answer_options(struct icap_transaction *tx)
{
    const struct icap_service_settings *set = tx->service->set;
    struct icap_reply r = reply_for(tx, 200);
    char room[FIELDS_ROOM];
    struct buf b;

    /* Load balancers ask with OPTIONS: a service that cannot work says so. One that drains says
     * Connection: close, since the next generation may serve already; a final stop shows at
     * /readyz. */
    const char *down = service_is_down(tx);

    if (down) {
        tx->err = ERR_ENGINE;
        tx->err_why = down;
        return icap_answer_error(tx, 503, false);
    }
    tx->icap_status = 200;
    buf_init_on(&b, room, sizeof room, FIELDS_MAX);
    add_common(tx, &b);
    add_methods(&b, set->methods);
    add_field(&b, SPAN("Service: Sallyport " SALLYPORT_VERSION " "),
              tx->anonymous ? "" : set->name);
    if (!tx->anonymous)
        add_field(&b, SPAN("Service-ID: "), set->name);
    if (set->connections_max)
        add_number(&b, SPAN("Max-Connections: "), set->connections_max);
    add_number(&b, SPAN("Options-TTL: "), set->options_ttl_s);
    /* ICAP Partial Content 4.1: some clients choke on tokens that they did not ask for. */
    buf_text(&b, tx->req->allow.s206 ? "Allow: 204, 206" : "Allow: 204");
    buf_text(&b, tx->req->allow.trailers ? ", trailers\r\n" : "\r\n");
    if (set->preview) {
        add_number(&b, SPAN("Preview: "), set->preview);
        buf_text(&b, "Transfer-Preview: *\r\n");
    }
    buf_text(&b, "X-Include: X-Client-IP, X-Authenticated-User\r\n");
    return answer_head(tx, &r, &b);
}

/* ---- errors, 204 ---- */

enum err icap_answer_error(struct icap_transaction *tx, unsigned status, bool close)
{
    struct icap_reply r = reply_for(tx, status);
    char room[FIELDS_ROOM];
    struct buf b;

    tx->icap_status = status;
    r.close |= close || leaves_too_much(tx);
    buf_init_on(&b, room, sizeof room, FIELDS_MAX);
    add_common(tx, &b);
    if (status == 503)
        buf_text(&b, "Retry-After: 5\r\n");
    /* RFC 9110 11.7.1 wants the first with a 407; clients that follow the Secure ICAP draft answer
     * with Authorization, which is the second's. */
    if (status == 407)
        buf_text(&b, "Proxy-Authenticate: " CHALLENGE "\r\nWWW-Authenticate: " CHALLENGE "\r\n");
    if (tx->has_verdict)
        buf_text(&b, "X-Response-Info: Error\r\n");
    return answer_head(tx, &r, &b);
}

/* draft-stecher-icap-subid 4.1: the policy that was applied. */
static void add_profile(const struct icap_transaction *tx, struct buf *b)
{
    add_field(b, SPAN("X-ICAP-Profile: "), tx->service->set->name);
}

static void add_allowed(struct icap_transaction *tx, struct buf *b)
{
    add_common(tx, b);
    if (tx->service->set->type != ICAP_SERVICE_INSPECT)
        return;
    add_profile(tx, b);
    buf_text(b, "X-Response-Info: Allowed\r\n");
    if (tx->exception[0])
        buf_fmt(b, "X-Response-Desc: exception %s\r\n", tx->exception);
    else if (tx->bypass[0])
        buf_text(b, "X-Response-Desc: not inspected: bypass\r\n");
    else if (tx->cause == CAUSE_INFECTED || tx->cause == CAUSE_DENIED)
        buf_fmt(b, "X-Response-Desc: passed although %s\r\n", cause_name(tx->cause));
    else if (tx->cause != CAUSE_NONE)
        buf_fmt(b, "X-Response-Desc: not inspected: %s\r\n", cause_name(tx->cause));
}

enum err icap_answer_204(struct icap_transaction *tx)
{
    struct icap_reply r = reply_for(tx, 204);
    char room[FIELDS_ROOM];
    struct buf b;

    buf_init_on(&b, room, sizeof room, FIELDS_MAX);
    add_allowed(tx, &b);
    return answer_head(tx, &r, &b);
}

/* ---- the original ---- */

/* The request for the whole file: without Range, and If-Range, which means nothing without it (RFC
 * 9110 13.1.5). Empty without memory. */
static struct span head_without_range(struct icap_transaction *tx, const struct head *h)
{
    struct buf b;
    struct span out;

    buf_init(&b, h->text.n + 512);
    buf_add(&b, h->start_line);
    buf_text(&b, "\r\n");
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct field *f = &h->fields[i];

        if (span_ieq(f->name, SPAN("Range")) || span_ieq(f->name, SPAN("If-Range")) ||
            span_ieq(f->name, SPAN("Request-Range")))
            continue;
        if (!f->odd) {
            buf_add(&b, f->name);
            buf_text(&b, ": ");
        }
        buf_add(&b, f->value);
        buf_text(&b, "\r\n");
    }
    if (tx->service->set->via)
        buf_fmt(&b, "Via: ICAP/1.0 %s (sallyport)\r\n", tx->snapshot->host);
    buf_text(&b, "\r\n");
    out = b.err ? SPAN_NONE : arena_dup(icap_arena(tx->conn->engine), buf_span(&b));
    buf_done(&b);
    return out;
}

enum err icap_answer_original(struct icap_transaction *tx)
{
    const struct icap_request *req = tx->req;
    struct icap_reply r = reply_for(tx, 200);
    char room[FIELDS_ROOM];
    struct buf b;

    if (req->method == ICAP_REQMOD && !req->http_request)
        return ERR_MISSING;
    buf_init_on(&b, room, sizeof room, FIELDS_MAX);
    add_allowed(tx, &b);
    r.has_body = req->has_body;
    r.http_head_is_parsed = true;
    if (req->method == ICAP_REQMOD) {
        r.part = ICAP_PART_REQUEST;
        r.http_head = req->http_request->text;
        if (tx->strip_range) {
            r.http_head = head_without_range(tx, req->http_request);
            r.http_head_is_parsed = false;
            if (!r.http_head.p) {
                buf_done(&b);
                return ERR_NOMEM;
            }
        }
    } else {
        /* Erratum E4: the head may be missing; clients want one in the answer. */
        r.part = ICAP_PART_RESPONSE;
        r.http_head =
            req->http_response ? req->http_response->text : SPAN("HTTP/1.1 200 OK\r\n\r\n");
    }
    r.status = tx->icap_status;
    return answer_head(tx, &r, &b);
}

/* ---- block page ---- */

static const char *cause_sentence(enum cause c)
{
    switch (c) {
    case CAUSE_NONE: return "Not blocked.";
    case CAUSE_INFECTED:
        return "It contains something that the inspection recognises as dangerous.";
    case CAUSE_DENIED: return "It is not allowed here.";
    case CAUSE_ENGINE_DOWN:
        return "It could not be inspected, because the inspection is not available just now.";
    case CAUSE_TIMEOUT: return "It could not be inspected in the time that is allowed for it.";
    case CAUSE_TOO_LARGE: return "It is too large to be inspected.";
    case CAUSE_NOT_INSPECTED: return "It has a form that could not be inspected.";
    case CAUSE_WORKER_CRASH: return "Its inspection failed.";
    case CAUSE_OVERLOAD:
        return "It could not be inspected, because the inspection is overloaded just now.";
    case CAUSE_DISK_FULL: return "It could not be inspected for lack of room.";
    }
    return "";
}

/* The first finding that blocks, or NULL. */
static const struct finding *blocking_finding(const struct icap_transaction *tx)
{
    for (unsigned i = 0; tx->result && i < tx->result->n_findings; i++)
        if (!tx->result->findings[i].note && tx->result->findings[i].name[0])
            return &tx->result->findings[i];
    return NULL;
}

/* Its name, or the cause's. */
struct span icap_threat(const struct icap_transaction *tx)
{
    const struct finding *f = blocking_finding(tx);

    return span_of(f ? f->name : cause_name(tx->cause));
}

static void page_fact(struct buf *b, const char *term, struct span value)
{
    if (value.n == 0)
        return;
    buf_fmt(b, "</dd>\n<dt>%s</dt><dd>", term);
    html_text(b, value);
}

static void page_facts(const struct icap_transaction *tx, struct buf *b)
{
    const struct finding *f = blocking_finding(tx);

    if (tx->rule && tx->rule->why)
        page_fact(b, "Rule", span_of(tx->rule->why));
    if (f)
        page_fact(b, "Where", span_of(f->where));
    if (!tx->subject)
        return;
    page_fact(b, "File", span_of(tx->subject->name.text));
    page_fact(b, "Site", span_of(tx->subject->host));
}

void icap_block_page(const struct icap_transaction *tx, struct buf *b)
{
    const char *contact = tx->service->set->contact;

    buf_text(b,
             "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Blocked</title>\n"
             "<style>body{font:1rem/1.5 sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}"
             "dt{font-weight:bold}code{word-break:break-all}</style>\n</head>\n<body>\n"
             "<h1>This file was blocked</h1>\n<p>");
    html_text(b, span_of(cause_sentence(tx->cause)));
    buf_text(b, "</p>\n<dl>\n<dt>Reason</dt><dd>");
    html_text(b, icap_threat(tx));
    page_facts(tx, b);
    buf_text(b, "</dd>\n<dt>Number of this decision</dt><dd><code>");
    buf_text(b, tx->id);
    buf_text(b, "</code></dd>\n</dl>\n");
    if (contact) {
        buf_text(b, "<p>If you think that this is wrong, give the number to: ");
        html_text(b, span_of(contact));
        buf_text(b, "</p>\n");
    }
    buf_text(b, "</body>\n</html>\n");
}

static void page_json(const struct icap_transaction *tx, struct buf *b)
{
    struct json j = json_to(b);

    json_open(&j, NULL, '{');
    json_bool(&j, "blocked", true);
    json_text(&j, "cause", cause_name(tx->cause));
    json_span(&j, "reason", icap_threat(tx));
    json_text(&j, "text", cause_sentence(tx->cause));
    if (blocking_finding(tx) && blocking_finding(tx)->where[0])
        json_text(&j, "where", blocking_finding(tx)->where);
    json_text(&j, "id", tx->id);
    if (tx->service->set->contact)
        json_text(&j, "contact", tx->service->set->contact);
    json_close(&j, '}');
    buf_char(b, '\n');
}

/* The user's program asks for JSON and not for HTML (RFC 9110 12.5.1, without weights: a block page
 * is not worth them). */
static bool wants_json(const struct icap_request *req)
{
    const struct head *h = req->http_request;
    bool json = false;

    for (unsigned i = h ? head_find(h, SPAN("Accept"), 0) : 0; h && i < h->n_fields;
         i = head_find(h, SPAN("Accept"), i + 1)) {
        struct span rest = h->fields[i].value, element;

        while (span_list_next(&rest, &element)) {
            struct span type = span_trim(span_cut(&element, ';'));

            if (span_ieq(type, SPAN("text/html")))
                return false;
            json |= span_ieq(type, SPAN("application/json")) || span_ends(type, SPAN("+json"));
        }
    }
    return json;
}

/* X-Infection-Found as clients parse it: Type 0 is a virus, 2 a container or a policy; Resolution
 * 2: rejected. */
static void add_blocked(struct icap_transaction *tx, enum cause cause, struct span threat,
                        struct buf *b)
{
    add_common(tx, b);
    buf_text(b, cause == CAUSE_INFECTED ? "X-Infection-Found: Type=0; Resolution=2; Threat="
                                        : "X-Infection-Found: Type=2; Resolution=2; Threat=");
    add_safe(b, threat);
    buf_text(b, ";\r\nX-Virus-ID: ");
    add_safe(b, threat);
    buf_text(b, "\r\nX-Response-Info: Blocked\r\n");
    add_field(b, SPAN("X-Response-Desc: "), cause_name(cause));
    add_profile(tx, b);
}

static void add_block_head(const struct icap_transaction *tx, bool json, size_t page_len,
                           struct buf *b)
{
    buf_text(b, "HTTP/1.1 403 Forbidden\r\n");
    add_field(b, SPAN("Content-Type: "), json ? "application/json" : "text/html; charset=utf-8");
    add_number(b, SPAN("Content-Length: "), page_len);
    buf_text(b, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if (tx->service->set->via)
        buf_fmt(b, "Via: ICAP/1.0 %s (sallyport)\r\n", tx->snapshot->host);
    buf_text(b, "\r\n");
}

enum err icap_answer_block(struct icap_transaction *tx)
{
    struct icap_reply r = reply_for(tx, 200);
    bool json = wants_json(tx->req);
    struct buf page, head, fields;
    enum err e;

    buf_init(&page, PAGE_MAX);
    buf_init(&head, FIELDS_MAX);
    buf_init(&fields, FIELDS_MAX);
    if (json)
        page_json(tx, &page);
    else
        icap_block_page(tx, &page);
    add_block_head(tx, json, page.n, &head);
    add_blocked(tx, tx->cause, icap_threat(tx), &fields);
    r.close |= leaves_too_much(tx);
    r.part = ICAP_PART_RESPONSE;
    r.http_head = buf_span(&head);
    r.has_body = true;
    e = page.err ? page.err : head.err;
    if (e == OK)
        e = answer_head(tx, &r, &fields);
    else
        buf_done(&fields);
    if (e == OK)
        e = icap_reply_copy(tx->conn->engine, buf_span(&page));
    if (e == OK)
        e = icap_reply_end(tx->conn->engine, SPAN_NONE, SPAN_NONE);
    buf_done(&page);
    buf_done(&head);
    return e;
}

/* ---- other answers of our own ---- */

enum err icap_answer_own(struct icap_transaction *tx, const struct icap_own_answer *a)
{
    struct icap_reply r = reply_for(tx, 200);
    struct icap_engine *engine = tx->conn->engine;
    struct buf fields;
    enum err e;

    buf_init(&fields, FIELDS_MAX);
    if (a->cause != CAUSE_NONE) {
        add_blocked(tx, a->cause, a->threat, &fields);
    } else {
        add_common(tx, &fields);
        add_profile(tx, &fields);
        buf_text(&fields, "X-Response-Info: Modified\r\n");
    }
    r.close |= leaves_too_much(tx);
    r.part = ICAP_PART_RESPONSE;
    r.http_head = a->head;
    r.has_body = a->has_body;
    TRY(answer_head(tx, &r, &fields));
    tx->icap_status = 200;
    if (!a->has_body || a->body.n == 0)
        return OK;
    e = icap_reply_copy(engine, a->body);
    if (e == OK)
        e = icap_reply_end(engine, SPAN_NONE, SPAN_NONE);
    if (e)
        icap_abort(engine);
    return e;
}
