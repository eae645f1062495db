/* SPDX-License-Identifier: Apache-2.0 */
/* icap_engine_reply.c - the reply half: answers become wire bytes. */
#include <assert.h>

#include "base/reader.h"
#include "icap/icap_engine_int.h"

/* Squid's read buffer cannot hold ICAP head and encapsulated head above 64 KiB. */
#define HEADS_MAX 65535u
/* Bytes of a reply head that do not come from the caller: status-line with the longest reason,
 * field names, Encapsulated. */
#define HEAD_OWN_MAX 320u

/* RFC 3507 4.3.3; some clients need the phrase to be there. */
static const char *reason_of(unsigned status)
{
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "ICAP Service not found";
    case 405: return "Method not allowed for service";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request timeout";
    case 413: return "Request Entity Too Large";
    case 414: return "Request-URI Too Long";
    case 418: return "Bad Composition";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Server error";
    case 501: return "Method not implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service overloaded";
    case 505: return "ICAP version not supported by server";
    default: break;
    }
    return status < 300 ? "OK" : status < 500 ? "Request refused" : "Server error";
}

/* ---- what is legal now ---- */

static enum err illegal(const struct icap_engine *e)
{
    bool closed = e->rq == RQ_CLOSED || e->rq == RQ_DEAD;

    return closed && e->rp == RP_NONE ? ERR_ABORTED : ERR_BUG;
}

/* Is the decision taken on the preview? Also where the preview was the whole body or there is none.
 */
static bool in_preview(const struct icap_engine *e)
{
    return e->req->has_preview && !e->continued;
}

bool icap_may_204(const struct icap_engine *e)
{
    return e->rp == RP_OPEN && e->req->method != ICAP_OPTIONS &&
           (e->req->allow.s204 || in_preview(e));
}

/* ICAP Partial Content 5.1: outside a preview only together with Allow: 204. */
bool icap_may_206(const struct icap_engine *e)
{
    return e->rp == RP_OPEN && e->req->method != ICAP_OPTIONS && e->req->has_body &&
           e->req->allow.s206 && (e->req->allow.s204 || in_preview(e));
}

uint64_t icap_rest(const struct icap_engine *e)
{
    const struct head *http;
    uint64_t len;

    if (e->rq == RQ_PREVIEW)
        return e->req->preview - e->body_n;
    if (e->rq != RQ_BODY)
        return 0;
    http = e->req->method == ICAP_RESPMOD ? e->req->http_response : e->req->http_request;
    if (!http || head_content_length(http, &len) != OK)
        return UINT64_MAX;
    return len > e->body_n ? len - e->body_n : 0;
}

static bool part_fits(const struct icap_engine *e, const struct icap_reply *r)
{
    bool success = r->status >= 200 && r->status <= 206;

    if (r->part == ICAP_PART_NONE)
        return r->http_head.n == 0 && (e->req->method == ICAP_OPTIONS ? success || !r->has_body
                                                                      : !success && !r->has_body);
    if (!success || e->req->method == ICAP_OPTIONS)
        return false; /* erratum E1: errors carry nothing */
    return r->part == ICAP_PART_RESPONSE || e->req->method == ICAP_REQMOD;
}

static bool is_whole_head(struct span text)
{
    const struct head_limits lim = {HEADS_MAX, HEADS_MAX, 0};
    struct head_scan scan = {0};
    size_t len;

    return head_scan(&scan, text, &lim, &len, NULL) == OK && len == text.n;
}

/* The caller's part of a reply: our own code, so what is wrong here is a bug, but one that could
 * split the message. */
static enum err check_reply(const struct icap_engine *e, const struct icap_reply *r)
{
    if (e->rp != RP_OPEN)
        return illegal(e);
    if (r->status < 200 || r->status > 999 || r->status == 204 || !part_fits(e, r))
        return ERR_BUG;
    if (r->status == 206 && !icap_may_206(e))
        return ERR_BUG;
    if (r->trailer_names.n && (!e->req->allow.trailers || !r->has_body))
        return ERR_BUG;
    if (r->http_head.n > HEADS_MAX)
        return ERR_LIMIT;
    if (r->part != ICAP_PART_NONE && !r->http_head_is_parsed && !is_whole_head(r->http_head))
        return ERR_BUG;
    return OK;
}

static enum err check_texts(const struct icap_reply *r)
{
    return field_lines_are_valid(r->fields) && span_is_field_value(r->istag) &&
                   span_is_field_value(r->trailer_names)
               ? OK
               : ERR_BUG;
}

/* ---- heads ---- */

static uint64_t out_begin(struct icap_engine *e)
{
    if (e->out.chain.len == 0)
        e->t_out = e->now;
    return e->out.chain.len;
}

static void out_end(struct icap_engine *e, uint64_t before)
{
    e->n_out += e->out.chain.len - before;
}

static void write_encapsulated(struct writer *w, const struct icap_reply *r)
{
    static const char *const hdr[] = {[ICAP_PART_NONE] = "",
                                      [ICAP_PART_REQUEST] = "req-hdr=0, ",
                                      [ICAP_PART_RESPONSE] = "res-hdr=0, "};
    static const char *const body[] = {[ICAP_PART_NONE] = "opt-body=",
                                       [ICAP_PART_REQUEST] = "req-body=",
                                       [ICAP_PART_RESPONSE] = "res-body="};

    write_span(w, SPAN("Encapsulated: "));
    write_text(w, hdr[r->part]);
    write_text(w, r->has_body ? body[r->part] : "null-body=");
    write_dec(w, r->http_head.n);
    write_span(w, SPAN("\r\n\r\n"));
}

static void write_head(struct writer *w, const struct icap_engine *e, const struct icap_reply *r,
                       bool close)
{
    write_span(w, SPAN("ICAP/1.0 "));
    write_dec(w, r->status);
    write_span(w, SPAN(" "));
    write_text(w, reason_of(r->status));
    write_span(w, SPAN("\r\nServer: "));
    write_span(w, e->id->server);
    write_span(w, SPAN("\r\nISTag: \""));
    write_span(w, r->istag.n ? r->istag : e->id->istag);
    write_span(w, SPAN("\"\r\n"));
    write_span(w, r->fields);
    if (r->trailer_names.n) {
        write_span(w, SPAN("Allow: trailers\r\nTrailer: "));
        write_span(w, r->trailer_names);
        write_span(w, SPAN("\r\n"));
    }
    write_span(w, close ? SPAN("Connection: close\r\n") : SPAN("Connection: keep-alive\r\n"));
    write_encapsulated(w, r);
    write_span(w, r->http_head);
}

/* ICAP head and encapsulated head, in one piece. */
static enum err put_head(struct icap_engine *e, const struct icap_reply *r, bool close)
{
    size_t need = HEAD_OWN_MAX;

    TRY(check_texts(r));
    if (__builtin_add_overflow(need, r->fields.n, &need) ||
        __builtin_add_overflow(need, r->trailer_names.n + r->istag.n, &need) ||
        __builtin_add_overflow(need, r->http_head.n, &need))
        return ERR_LIMIT;
    need += e->id->server.n + e->id->istag.n;
    if (need > HEADS_MAX)
        return ERR_LIMIT;
    uint64_t before = out_begin(e);
    char *room = http_out_reserve(&e->out, need);

    if (!room)
        return ERR_NOMEM;
    struct writer w = writer_of(room, need);

    write_head(&w, e, r, close);
    assert(w.err == OK);
    TRY(http_out_commit(&e->out, w.n));
    out_end(e, before);
    return OK;
}

unsigned icap_engine_answer_error(struct icap_engine *e, const struct fault *f)
{
    unsigned status = f->status ? f->status : err_status(f->err);
    const struct icap_reply r = {.status = status >= 400 ? status : 500, .fields = e->error_fields};

    return put_head(e, &r, true) == OK ? r.status : 0;
}

enum err icap_go_on(struct icap_engine *e)
{
    if (e->rq != RQ_WAIT || e->rp != RP_OPEN)
        return illegal(e);
    assert(!e->continued && !e->ieof);
    uint64_t before = out_begin(e);

    TRY(http_out_copy(&e->out, SPAN("ICAP/1.0 100 Continue\r\n\r\n")));
    out_end(e, before);
    e->continued = true;
    e->t_in = e->now;
    chunk_decoder_done(&e->chunks);
    chunk_decoder_init(&e->chunks);
    icap_engine_set(e, RQ_BODY);
    return OK;
}

/* Queues the head of a final answer and moves both halves. */
static enum err final_head(struct icap_engine *e, const struct icap_reply *r)
{
    bool unread = e->rq == RQ_PREVIEW || e->rq == RQ_BODY;
    bool close = r->close || e->close_after || e->req->close || e->peer_eof ||
                 (unread && e->lim->discard_max == 0);

    TRY(put_head(e, r, close));
    e->close_after = close;
    e->promised = r->trailer_names.n > 0;
    e->original_ok = r->status == 206;
    e->rp = RP_BODY;
    /* RFC 3507 4.5: after a final answer to its preview the client sends nothing more. */
    if (e->rq == RQ_WAIT) {
        chunk_decoder_done(&e->chunks);
        chunk_decoder_init(&e->chunks);
        icap_engine_request_over(e);
    }
    if (!r->has_body)
        icap_engine_reply_over(e);
    return OK;
}

enum err icap_no_change(struct icap_engine *e, const struct icap_reply *r)
{
    struct icap_reply answer = {
        .status = 204, .istag = r->istag, .fields = r->fields, .close = r->close};

    if (!icap_may_204(e))
        return illegal(e);
    return final_head(e, &answer);
}

enum err icap_reply_head(struct icap_engine *e, const struct icap_reply *r)
{
    TRY(check_reply(e, r));
    return final_head(e, r);
}

/* ---- bodies ---- */

enum err icap_reply_body(struct icap_engine *e, struct slice s)
{
    if (e->rp != RP_BODY)
        return illegal(e);
    uint64_t before = out_begin(e);

    TRY(http_out_chunk_slice(&e->out, s));
    out_end(e, before);
    return OK;
}

enum err icap_reply_copy(struct icap_engine *e, struct span bytes)
{
    if (e->rp != RP_BODY)
        return illegal(e);
    uint64_t before = out_begin(e);

    TRY(http_out_chunk_copy(&e->out, bytes));
    out_end(e, before);
    return OK;
}

enum err icap_reply_file(struct icap_engine *e, struct file_ref *f, uint64_t off, uint64_t len)
{
    if (e->rp != RP_BODY)
        return illegal(e);
    uint64_t before = out_begin(e);

    TRY(http_out_chunk_file(&e->out, f, off, len));
    out_end(e, before);
    return OK;
}

/* All pieces or none, then the reply half is over. */
static enum err finish(struct icap_engine *e, const struct span *pieces, size_t n)
{
    uint64_t before = out_begin(e);

    for (size_t i = 0; i < n; i++) {
        enum err err = http_out_copy(&e->out, pieces[i]);

        if (err) {
            http_out_cut(&e->out, before);
            return err;
        }
    }
    out_end(e, before);
    icap_engine_reply_over(e);
    return OK;
}

enum err icap_reply_original(struct icap_engine *e, uint64_t from)
{
    bool whole = e->rq == RQ_END && (!in_preview(e) || e->ieof);
    char line[64];
    struct writer w = writer_of(line, sizeof line);

    if (e->rp != RP_BODY)
        return illegal(e);
    if (!e->original_ok || from > INT64_MAX || (whole && from > e->body_n))
        return ERR_BUG;
    write_span(&w, SPAN("0; use-original-body="));
    write_dec(&w, from);
    write_span(&w, SPAN("\r\n\r\n"));
    if (e->promised) /* an empty ICAP trailer section */
        write_span(&w, SPAN("\r\n"));
    struct span piece = writer_span(&w);

    return finish(e, &piece, 1);
}

enum err icap_reply_end(struct icap_engine *e, struct span http_trailers, struct span icap_trailers)
{
    const struct span pieces[] = {SPAN("0\r\n"), http_trailers, SPAN("\r\n"), icap_trailers,
                                  SPAN("\r\n")};

    if (e->rp != RP_BODY)
        return illegal(e);
    if (!field_lines_are_valid(http_trailers) || !field_lines_are_valid(icap_trailers) ||
        (icap_trailers.n && !e->promised))
        return ERR_BUG;
    return finish(e, pieces, e->promised ? 5 : 3);
}

/* ---- output ---- */

struct chain *icap_output(struct icap_engine *e)
{
    return &e->out.chain;
}

void icap_sent(struct icap_engine *e, uint64_t n)
{
    http_out_sent(&e->out, n);
    e->t_out = e->now;
    if (e->out.chain.len == 0 && e->rq == RQ_IDLE) {
        e->t_idle = e->now;
        http_out_rest(&e->out); /* what waiting connections keep adds up */
    }
}
