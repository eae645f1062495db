/* SPDX-License-Identifier: Apache-2.0 */
/* http_client_engine_request.c - the writing half: a request and its body become wire bytes. */
#include "http/http_client_engine_int.h"

#define HEAD_ROOM 256u /* for what is not the caller's */

/* ---- heads ---- */

static bool is_visible(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
            return false;
    return true;
}

/* What recipients take for one host (RFC 9112 3.2), or nothing, for a target without one. */
static bool is_host(struct span host)
{
    struct field f = {.name = SPAN("Host"), .value = host};
    const struct head h = {.fields = &f, .n_fields = 1};

    return is_visible(host) && !head_host_conflict(&h);
}

static bool is_ours(struct span name)
{
    static const struct span ours[] = {
        {"host",              4 },
        {"connection",        10},
        {"upgrade",           7 },
        {"expect",            6 },
        {"content-length",    14},
        {"transfer-encoding", 17},
    };

    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (span_ieq(name, ours[i]))
            return true;
    return false;
}

static bool are_fields(struct span lines)
{
    if (!field_lines_are_valid(lines))
        return false;
    while (lines.n) {
        struct span name = lines, line = span_cut(&lines, '\n');

        name.n = span_find(line, ':');
        if (is_ours(name))
            return false;
    }
    return true;
}

static bool is_legal(const struct http_client_request *r)
{
    if (!span_is_token(r->method) || r->target.n == 0 || !is_visible(r->target) ||
        !is_host(r->host) || !are_fields(r->fields) || !span_is_field_value(r->upgrade))
        return false;
    if (r->has_body && r->length != HTTP_LENGTH_UNKNOWN && r->length > INT64_MAX)
        return false;
    if ((r->expect && !r->has_body) || r->tunnel != span_eq(r->method, SPAN("CONNECT")))
        return false;
    /* Bytes of a body behind either would be read as the other protocol. */
    if ((r->upgrade.n || r->tunnel) && r->has_body)
        return false;
    return r->upgrade.n == 0 || !(r->tunnel || r->close);
}

/* RFC 9110 10.1.1: no expectation without content. */
static bool waits(const struct http_client_request *r)
{
    return r->expect && r->length > 0;
}

static void write_framing(struct buf *b, const struct http_client_request *r)
{
    if (!r->has_body)
        return;
    if (r->length == HTTP_LENGTH_UNKNOWN) {
        buf_text(b, "Transfer-Encoding: chunked\r\n");
        return;
    }
    buf_text(b, "Content-Length: ");
    buf_dec(b, r->length);
    buf_text(b, "\r\n");
}

static void write_head(struct buf *b, const struct http_client_request *r)
{
    buf_add(b, r->method);
    buf_char(b, ' ');
    buf_add(b, r->target);
    buf_text(b, " HTTP/1.1\r\nHost: ");
    buf_add(b, r->host);
    buf_text(b, "\r\n");
    buf_add(b, r->fields);
    if (r->upgrade.n) {
        buf_text(b, "Upgrade: ");
        buf_add(b, r->upgrade);
        buf_text(b, "\r\nConnection: Upgrade\r\n");
    }
    buf_text(b, r->close ? "Connection: close\r\n" : "");
    buf_text(b, waits(r) ? "Expect: 100-continue\r\n" : "");
    write_framing(b, r);
    buf_text(b, "\r\n");
}

/* Sets the time of the first byte of a row. */
static uint64_t out_begin(struct http_client_engine *e)
{
    if (e->out.chain.len == 0)
        e->t_out = e->now;
    return e->out.chain.len;
}

static enum err put_head(struct http_client_engine *e, const struct http_client_request *r)
{
    struct buf head;
    enum err err;

    (void)out_begin(e);
    buf_init(&head, 0);
    /* In one piece: a buffer that grows leaves copies behind, and there may be a password in it. */
    (void)buf_reserve(&head, HEAD_ROOM + r->method.n + r->target.n + r->host.n + r->fields.n +
                                 r->upgrade.n);
    write_head(&head, r);
    err = head.err;
    if (!err)
        err = http_out_copy(&e->out, buf_span(&head));
    if (head.p)
        explicit_bzero(head.p, head.cap);
    buf_done(&head);
    return err;
}

enum err http_client_request(struct http_client_engine *e, const struct http_client_request *r)
{
    if (!http_client_is_idle(e) || !is_legal(r))
        return ERR_BUG;
    e->resting = false;
    TRY(put_head(e, r));
    e->is_head = span_eq(r->method, SPAN("HEAD"));
    e->head_only = r->head_only;
    e->tunnel = r->tunnel;
    e->upgrade = r->upgrade.n > 0;
    e->close = r->close;
    e->open = true;
    e->sent = e->answered = false;
    e->body_ended = !r->has_body;
    e->body_left = r->length;
    e->put = e->out.chain.len;
    e->n_interim = 0;
    e->cw = !r->has_body ? CW_NONE : waits(r) ? CW_WAIT : CW_BODY;
    http_client_set(e, CR_HEAD);
    e->t_begin = e->t_in = e->now;
    return OK;
}

/* ---- bodies ---- */

/* A piece of the body: memory, or a range of a file when |file| is set. */
struct piece {
    struct slice slice;
    struct file_ref *file;
    uint64_t off, len;
};

static enum err put_chunk(struct http_out *o, const struct piece *p)
{
    return p->file ? http_out_chunk_file(o, p->file, p->off, p->len)
                   : http_out_chunk_slice(o, p->slice);
}

static enum err put_plain(struct http_out *o, const struct piece *p)
{
    if (p->file)
        return chain_append_file(&o->chain, p->file, p->off, p->len);
    return p->slice.len <= HTTP_OUT_COPY_MAX ? http_out_copy(o, slice_span(p->slice))
                                             : chain_append_slice(&o->chain, p->slice);
}

static enum err frame(const struct http_client_engine *e, struct http_out *o, const struct piece *p,
                      bool end)
{
    bool chunked = e->body_left == HTTP_LENGTH_UNKNOWN;

    if (p->len)
        TRY(chunked ? put_chunk(o, p) : put_plain(o, p));
    return chunked && end ? http_out_copy(o, SPAN("0\r\n\r\n")) : OK;
}

static enum err queue_piece(struct http_client_engine *e, const struct piece *p, bool end)
{
    bool waits = e->cw == CW_WAIT;
    struct http_out *o = waits ? &e->held : &e->out;
    uint64_t before = waits ? o->chain.len : out_begin(e);
    enum err err;

    if (waits)
        o->chain.max = e->out.chain.max;
    err = frame(e, o, p, end);
    if (err)
        http_out_cut(o, before);
    else if (!waits)
        e->put += o->chain.len - before;
    return err;
}

static bool fits(const struct http_client_engine *e, uint64_t len, bool end)
{
    if (e->body_left == HTTP_LENGTH_UNKNOWN)
        return true;
    return end ? len == e->body_left : len <= e->body_left;
}

static enum err put_piece(struct http_client_engine *e, const struct piece *p, bool end)
{
    if (e->dead)
        return ERR_ABORTED;
    if (e->body_ended || !fits(e, p->len, end))
        return ERR_BUG;
    if (e->cw != CW_DROP)
        TRY(queue_piece(e, p, end));
    if (e->body_left != HTTP_LENGTH_UNKNOWN)
        e->body_left -= p->len;
    e->body_ended = end;
    if (end && e->cw != CW_WAIT)
        e->cw = CW_NONE;
    http_client_note_sent(e);
    return OK;
}

enum err http_client_body(struct http_client_engine *e, struct slice s, bool end)
{
    const struct piece p = {.slice = s, .len = s.len};

    return put_piece(e, &p, end);
}

enum err http_client_body_file(struct http_client_engine *e, struct file_ref *f, uint64_t off,
                               uint64_t len, bool end)
{
    const struct piece p = {.file = f, .off = off, .len = len};

    return put_piece(e, &p, end);
}

enum err http_client_release_body(struct http_client_engine *e)
{
    struct chain *out = &e->out.chain;
    uint64_t before = out_begin(e), max = out->max;
    enum err err;

    out->max = 0; /* was taken already: the limit is for what is handed over from now on */
    err = chain_move(out, &e->held.chain);
    out->max = max;
    TRY(err);
    http_out_done(&e->held);
    e->put += out->len - before;
    e->cw = e->body_ended ? CW_NONE : CW_BODY;
    return OK;
}

void http_client_send_body(struct http_client_engine *e)
{
    const struct fault f = {.err = ERR_NOMEM, .why = "no memory for the body of a request"};

    if (e->cw == CW_WAIT && http_client_release_body(e) != OK)
        http_client_fail(e, &f);
}

void http_client_drop_request(struct http_client_engine *e)
{
    if (e->answer && !http_client_is_written(e))
        e->answer->cut_short = true;
    http_out_done(&e->out);
    http_out_done(&e->held);
    e->cw = e->body_ended ? CW_NONE : CW_DROP;
}
