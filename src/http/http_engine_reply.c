/* SPDX-License-Identifier: Apache-2.0 */
/* http_engine_reply.c - the reply half: answers become wire bytes. */
#include <assert.h>

#include "base/reader.h"
#include "http/http_engine_int.h"

/* Bytes of a reply head that do not come from the caller: status-line with the longest reason, and
 * the engine's fields. */
#define HEAD_OWN_MAX 256u

/* RFC 9110 15, RFC 6585, RFC 7725. No program reads the phrase, but people do. */
static const struct {
    unsigned status;
    const char *phrase;
} reasons[] = {
    {200, "OK"                             },
    {201, "Created"                        },
    {202, "Accepted"                       },
    {204, "No Content"                     },
    {205, "Reset Content"                  },
    {206, "Partial Content"                },
    {301, "Moved Permanently"              },
    {302, "Found"                          },
    {303, "See Other"                      },
    {304, "Not Modified"                   },
    {307, "Temporary Redirect"             },
    {308, "Permanent Redirect"             },
    {400, "Bad Request"                    },
    {401, "Unauthorized"                   },
    {403, "Forbidden"                      },
    {404, "Not Found"                      },
    {405, "Method Not Allowed"             },
    {406, "Not Acceptable"                 },
    {407, "Proxy Authentication Required"  },
    {408, "Request Timeout"                },
    {409, "Conflict"                       },
    {410, "Gone"                           },
    {411, "Length Required"                },
    {412, "Precondition Failed"            },
    {413, "Content Too Large"              },
    {414, "URI Too Long"                   },
    {415, "Unsupported Media Type"         },
    {416, "Range Not Satisfiable"          },
    {417, "Expectation Failed"             },
    {421, "Misdirected Request"            },
    {422, "Unprocessable Content"          },
    {426, "Upgrade Required"               },
    {428, "Precondition Required"          },
    {429, "Too Many Requests"              },
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"  },
    {500, "Internal Server Error"          },
    {501, "Not Implemented"                },
    {502, "Bad Gateway"                    },
    {503, "Service Unavailable"            },
    {504, "Gateway Timeout"                },
    {505, "HTTP Version Not Supported"     },
};

static const char *reason_of(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].phrase;
    return status < 300   ? "Success"
           : status < 400 ? "Redirection"
           : status < 500 ? "Client Error"
                          : "Server Error";
}

/* ---- what is legal now ---- */

static enum err illegal(const struct http_engine *e)
{
    bool closed = e->rq == RQ_CLOSED || e->rq == RQ_DEAD;

    return closed && e->rp == RP_NONE ? ERR_ABORTED : ERR_BUG;
}

/* A final answer may begin. Not between 101 and http_switched(): it would go out in clear. */
static bool is_open(const struct http_engine *e)
{
    return e->rp == RP_OPEN && e->rq != RQ_SWITCH;
}

static bool is_method(const struct http_engine *e, struct span method)
{
    return e->req && span_eq(e->req->head->method, method);
}

/* What is said about framing or the connection is the engine's to say, but for Upgrade. Our own
 * code, so what is wrong here is a bug, but one that could split the message. */
static enum err check_fields(struct span fields, bool *ret_upgrade)
{
    struct field f;

    *ret_upgrade = false;
    while (fields.n) {
        if (!field_line_next(&fields, &f) || span_ieq(f.name, SPAN("Connection")) ||
            span_ieq(f.name, SPAN("Content-Length")) || span_ieq(f.name, SPAN("Transfer-Encoding")))
            return ERR_BUG;
        *ret_upgrade |= span_ieq(f.name, SPAN("Upgrade"));
    }
    return OK;
}

/* RFC 9110 15.3.5, 15.3.6, 15.4.5; a 2xx to CONNECT would make a tunnel (9.3.6). */
static bool status_fits(const struct http_engine *e, unsigned status, bool has_body)
{
    if (status < 200 || status > 599 || (status < 300 && is_method(e, SPAN("CONNECT"))))
        return false;
    return !has_body || (status != 204 && status != 205 && status != 304);
}

/* ---- heads ---- */

/* A final answer's head. */
struct answer {
    unsigned status;
    struct span fields;
    struct span own_fields; /* further ones, of the engine */
    enum http_framing framing;
    uint64_t length;
    bool close;
    bool upgrade; /* |fields| has Upgrade */
};

static uint64_t out_begin(struct http_engine *e)
{
    if (e->out.chain.len == 0)
        e->t_out = e->now;
    return e->out.chain.len;
}

/* Counts what has been appended since out_begin(), or takes it away again. */
static enum err out_end(struct http_engine *e, uint64_t before, enum err err)
{
    if (err)
        http_out_cut(&e->out, before);
    else
        e->n_out += e->out.chain.len - before;
    return err;
}

static void write_head(struct writer *w, const struct answer *a)
{
    write_span(w, SPAN("HTTP/1.1 "));
    write_dec(w, a->status);
    write_span(w, SPAN(" "));
    write_text(w, reason_of(a->status));
    write_span(w, SPAN("\r\n"));
    write_span(w, a->fields);
    write_span(w, a->own_fields);
    if (a->framing == FRAMING_LENGTH) {
        write_span(w, SPAN("Content-Length: "));
        write_dec(w, a->length);
        write_span(w, SPAN("\r\n"));
    } else if (a->framing == FRAMING_CHUNKED) {
        write_span(w, SPAN("Transfer-Encoding: chunked\r\n"));
    }
    if (a->close || a->upgrade) { /* RFC 9110 7.8: who sends Upgrade lists it here */
        write_span(w, SPAN("Connection: "));
        write_span(w, a->close ? SPAN("close") : SPAN("Upgrade"));
        write_span(w, a->close && a->upgrade ? SPAN(", Upgrade\r\n") : SPAN("\r\n"));
    }
    write_span(w, SPAN("\r\n"));
}

/* In one piece. */
static enum err put_head(struct http_engine *e, const struct answer *a)
{
    size_t need = HEAD_OWN_MAX + a->own_fields.n;

    if (a->fields.n > BLOCK_SIZE - need)
        return ERR_LIMIT;
    need += a->fields.n;
    char *room = http_out_reserve(&e->out, need);

    if (!room)
        return ERR_NOMEM;
    struct writer w = writer_of(room, need);

    write_head(&w, a);
    assert(w.err == OK);
    return http_out_commit(&e->out, w.n);
}

/* Head and the beginning of its body, or nothing. */
static enum err put_answer(struct http_engine *e, const struct answer *a, struct span body)
{
    uint64_t before = out_begin(e);
    enum err err = put_head(e, a);

    if (err == OK)
        err = http_out_copy(&e->out, body);
    return out_end(e, before, err);
}

unsigned http_engine_answer_error(struct http_engine *e, const struct fault *f)
{
    unsigned status = f->status ? f->status : err_status(f->err);
    struct answer a = {
        .status = status >= 400 ? status : 500,
        .fields = e->error_fields,
        .own_fields = SPAN("Content-Type: text/plain\r\n"),
        .framing = FRAMING_LENGTH,
        .close = true,
    };
    char text[128];
    struct writer w = writer_of(text, sizeof text);

    write_text(&w, f->why);
    write_span(&w, SPAN("\n"));
    a.length = w.n;
    if (check_fields(a.fields, &a.upgrade) != OK)
        return 0;
    return put_answer(e, &a, is_method(e, SPAN("HEAD")) ? SPAN_NONE : writer_span(&w)) == OK
               ? a.status
               : 0;
}

/* ---- before the final answer ---- */

static const struct span go_on = {"HTTP/1.1 100 Continue\r\n\r\n", 25};

/* Clients may send a part of the body at once and hold back the rest: libcups sends the attributes
 * of a print job, and waits with the document. */
static bool may_be_held_back(const struct http_engine *e)
{
    return e->rq == RQ_BODY && e->req->expects && !e->continued;
}

bool http_engine_is_held_back(const struct http_engine *e)
{
    return may_be_held_back(e) && !e->body_here;
}

enum err http_go_on(struct http_engine *e)
{
    if (!is_open(e))
        return illegal(e);
    if (!may_be_held_back(e))
        return OK;
    uint64_t before = out_begin(e);

    TRY(out_end(e, before, http_out_copy(&e->out, go_on)));
    e->continued = true;
    e->t_in = e->now;
    return OK;
}

static enum err put_switch(struct http_engine *e, struct span fields)
{
    const struct span pieces[] = {
        /* RFC 9110 7.8: it comes before the 101, also where nobody waits for it any more. */
        e->req->expects && !e->continued ? go_on : SPAN_NONE,
        SPAN("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"), fields, SPAN("\r\n")};

    for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
        TRY(http_out_copy(&e->out, pieces[i]));
    return OK;
}

void http_take_unlisted(struct http_engine *e)
{
    if (e->req_known && e->req->upgrade_unlisted)
        e->req->upgrades = true;
}

enum err http_switch(struct http_engine *e, struct span fields)
{
    bool upgrade;

    if (!is_open(e))
        return illegal(e);
    if (e->rq != RQ_END || !e->req->upgrades || e->switched)
        return ERR_BUG;
    TRY(check_fields(fields, &upgrade));
    if (!upgrade)
        return ERR_BUG;
    uint64_t before = out_begin(e);

    TRY(out_end(e, before, put_switch(e, fields)));
    http_engine_set(e, RQ_SWITCH);
    return OK;
}

bool http_is_switching(const struct http_engine *e)
{
    return e->rq == RQ_SWITCH;
}

enum err http_switched(struct http_engine *e)
{
    if (e->rq != RQ_SWITCH)
        return illegal(e);
    if (e->out.chain.len)
        return ERR_BUG;
    e->switched = true;
    http_engine_set(e, RQ_END);
    return OK;
}

/* ---- the final answer ---- */

/* Must the connection end after an answer that begins now, for what the client still sends? */
static bool leaves_too_much(const struct http_engine *e)
{
    uint64_t rest = http_rest(e);

    return rest == HTTP_LENGTH_UNKNOWN || rest > e->lim->discard_max || may_be_held_back(e);
}

static enum http_framing framing_of(const struct http_engine *e, const struct http_reply *r)
{
    if (r->status == 204 || r->status == 304)
        return FRAMING_NONE;
    if (!r->has_body || r->length != HTTP_LENGTH_UNKNOWN)
        return FRAMING_LENGTH;
    return e->req->head->minor >= 1 ? FRAMING_CHUNKED : FRAMING_CLOSE;
}

static enum err answer_of(const struct http_engine *e, const struct http_reply *r,
                          struct answer *ret)
{
    struct answer a = {.status = r->status, .fields = r->fields};

    if (!is_open(e))
        return illegal(e);
    if (!status_fits(e, r->status, r->has_body))
        return ERR_BUG;
    TRY(check_fields(r->fields, &a.upgrade));
    if (r->status == 426 && !a.upgrade) /* RFC 9110 15.5.22 */
        return ERR_BUG;
    a.framing = framing_of(e, r);
    a.length = r->has_body ? r->length : 0;
    a.close = r->close || e->close_after || e->req->close || leaves_too_much(e);
    *ret = a;
    return OK;
}

/* Nobody is handed what comes of the body from now on. */
static void begin_discarding(struct http_engine *e)
{
    e->t_discard = e->now;
    e->paused = false;
    if (e->lim->discard_max == 0)
        http_engine_stop_discarding(e);
}

/* Queues head and body, and moves the reply half behind the head. */
static enum err begin_answer(struct http_engine *e, const struct http_reply *r, struct span body)
{
    struct answer a;
    bool mute = is_method(e, SPAN("HEAD"));

    TRY(answer_of(e, r, &a));
    TRY(put_answer(e, &a, mute ? SPAN_NONE : body));
    e->close_after = a.close;
    e->framing = a.framing;
    e->reply_left = a.length;
    e->mute = mute;
    e->rp = RP_BODY;
    if (http_engine_discards(e))
        begin_discarding(e);
    return OK;
}

enum err http_reply_head(struct http_engine *e, const struct http_reply *r)
{
    TRY(begin_answer(e, r, SPAN_NONE));
    if (!r->has_body)
        http_engine_reply_over(e);
    return OK;
}

enum err http_reply_whole(struct http_engine *e, const struct http_reply *r, struct span body)
{
    struct http_reply whole = *r;

    whole.has_body = body.n > 0;
    whole.length = body.n;
    TRY(begin_answer(e, &whole, body));
    http_engine_reply_over(e);
    return OK;
}

/* ---- bodies ---- */

static enum err check_piece(const struct http_engine *e, uint64_t n)
{
    if (e->rp != RP_BODY)
        return illegal(e);
    return e->framing == FRAMING_LENGTH && !e->mute && n > e->reply_left ? ERR_BUG : OK;
}

static enum err piece_end(struct http_engine *e, uint64_t before, uint64_t n, enum err err)
{
    TRY(out_end(e, before, err));
    if (e->framing == FRAMING_LENGTH)
        e->reply_left -= n;
    return OK;
}

static enum err put_slice(struct http_engine *e, struct slice s)
{
    if (e->framing == FRAMING_CHUNKED)
        return http_out_chunk_slice(&e->out, s);
    return s.len <= HTTP_OUT_COPY_MAX ? http_out_copy(&e->out, slice_span(s))
                                      : chain_append_slice(&e->out.chain, s);
}

enum err http_reply_body(struct http_engine *e, struct slice s)
{
    TRY(check_piece(e, s.len));
    if (e->mute)
        return OK;
    uint64_t before = out_begin(e);

    return piece_end(e, before, s.len, put_slice(e, s));
}

enum err http_reply_copy(struct http_engine *e, struct span bytes)
{
    TRY(check_piece(e, bytes.n));
    if (e->mute)
        return OK;
    uint64_t before = out_begin(e);
    enum err err = e->framing == FRAMING_CHUNKED ? http_out_chunk_copy(&e->out, bytes)
                                                 : http_out_copy(&e->out, bytes);

    return piece_end(e, before, bytes.n, err);
}

enum err http_reply_file(struct http_engine *e, struct file_ref *f, uint64_t off, uint64_t len)
{
    TRY(check_piece(e, len));
    if (e->mute)
        return OK;
    uint64_t before = out_begin(e);
    enum err err = e->framing == FRAMING_CHUNKED ? http_out_chunk_file(&e->out, f, off, len)
                                                 : chain_append_file(&e->out.chain, f, off, len);

    return piece_end(e, before, len, err);
}

enum err http_reply_end(struct http_engine *e)
{
    if (e->rp != RP_BODY)
        return illegal(e);
    if (e->framing == FRAMING_LENGTH && !e->mute && e->reply_left)
        return ERR_BUG;
    if (e->framing == FRAMING_CHUNKED && !e->mute) {
        uint64_t before = out_begin(e);

        TRY(out_end(e, before, http_out_copy(&e->out, SPAN("0\r\n\r\n"))));
    }
    http_engine_reply_over(e);
    return OK;
}

/* ---- output ---- */

struct chain *http_output(struct http_engine *e)
{
    return &e->out.chain;
}

void http_sent(struct http_engine *e, uint64_t n)
{
    http_out_sent(&e->out, n);
    e->t_out = e->now;
    if (e->out.chain.len == 0 && e->rq == RQ_IDLE) {
        e->t_idle = e->now;
        http_out_rest(&e->out); /* what waiting connections keep adds up */
    }
}
