/* SPDX-License-Identifier: Apache-2.0 */
/* icap_client_engine_request.c - the writing half: a request and its body become wire bytes. */
#include "base/reader.h"
#include "icap/icap_client_engine_int.h"

#define HEAD_ROOM 512u /* for what is not the caller's */

/* ---- heads ---- */

static bool is_uri(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
            return false;
    return s.n > 0;
}

static bool is_whole_head(struct span text)
{
    const struct head_limits lim = {SIZE_MAX / 2, SIZE_MAX / 2, 0};
    struct head_scan scan = {0};
    size_t len;

    return head_scan(&scan, text, &lim, &len, NULL) == OK && len == text.n;
}

static void add_part(struct icap_encapsulated *list, enum icap_entity entity, uint64_t off)
{
    list->part[list->n].entity = entity;
    list->part[list->n].off = off;
    list->n++;
}

/* RFC 3507 4.4.1. Without a body OPTIONS goes without the header (erratum E1). */
static struct icap_encapsulated list_of(const struct icap_client_request *r)
{
    static const enum icap_entity body[ICAP_METHODS] = {ICAP_OPT_BODY, ICAP_REQ_BODY,
                                                        ICAP_RES_BODY};
    struct icap_encapsulated list = {0};

    if (r->method == ICAP_OPTIONS && !r->has_body && !r->http_request.n && !r->http_response.n)
        return list;
    if (r->http_request.n)
        add_part(&list, ICAP_REQ_HDR, 0);
    if (r->http_response.n)
        add_part(&list, ICAP_RES_HDR, r->http_request.n);
    add_part(&list, r->has_body ? body[r->method] : ICAP_NULL_BODY,
             r->http_request.n + r->http_response.n);
    return list;
}

static bool is_legal(const struct icap_client_request *r, const struct icap_encapsulated *list)
{
    if (!is_uri(r->uri) || !span_is_field_value(r->host) || !field_lines_are_valid(r->fields))
        return false;
    if ((r->http_request.n && !is_whole_head(r->http_request)) ||
        (r->http_response.n && !is_whole_head(r->http_response)))
        return false;
    return icap_encapsulated_fits(list, r->method);
}

static void write_allow(struct buf *b, const struct icap_allow *allow)
{
    const char *sep = "Allow: ";

    if (allow->s204) {
        buf_fmt(b, "%s204", sep);
        sep = ", ";
    }
    if (allow->s206) {
        buf_fmt(b, "%s206", sep);
        sep = ", ";
    }
    if (allow->trailers) {
        buf_fmt(b, "%strailers", sep);
        sep = ", ";
    }
    if (sep[0] == ',')
        buf_text(b, "\r\n");
}

static void write_head(struct buf *b, const struct icap_client_request *r,
                       const struct icap_encapsulated *list)
{
    buf_text(b, icap_method_name(r->method));
    buf_char(b, ' ');
    buf_add(b, r->uri);
    buf_text(b, " ICAP/1.0\r\nHost: ");
    buf_add(b, r->host);
    buf_text(b, "\r\n");
    buf_add(b, r->fields);
    write_allow(b, &r->allow);
    if (r->has_preview) {
        buf_text(b, "Preview: ");
        buf_dec(b, r->preview);
        buf_text(b, "\r\n");
    }
    buf_text(b, r->close ? "Connection: close\r\n" : "");
    for (unsigned i = 0; i < list->n; i++) {
        buf_text(b, i ? ", " : "Encapsulated: ");
        buf_text(b, icap_entity_name(list->part[i].entity));
        buf_char(b, '=');
        buf_dec(b, list->part[i].off);
    }
    buf_text(b, list->n ? "\r\n\r\n" : "\r\n");
}

/* Sets the time of the first byte of a row. */
static uint64_t out_begin(struct icap_client_engine *e)
{
    if (e->out.chain.len == 0)
        e->t_out = e->now;
    return e->out.chain.len;
}

static enum err put_heads(struct icap_client_engine *e, const struct icap_client_request *r,
                          const struct icap_encapsulated *list)
{
    uint64_t before = out_begin(e);
    struct buf head;
    enum err err;

    buf_init(&head, 0);
    /* In one piece: a buffer that grows leaves copies behind, and there may be a password in it. */
    (void)buf_reserve(&head, HEAD_ROOM + r->uri.n + r->host.n + r->fields.n);
    write_head(&head, r, list);
    err = head.err;
    if (!err)
        err = http_out_copy(&e->out, buf_span(&head));
    if (!err)
        err = http_out_copy(&e->out, r->http_request);
    if (!err)
        err = http_out_copy(&e->out, r->http_response);
    if (!err && r->has_body && r->has_preview && r->preview == 0)
        err = http_out_copy(&e->out, SPAN("0\r\n\r\n"));
    if (err)
        http_out_cut(&e->out, before);
    if (head.p)
        explicit_bzero(head.p, head.cap);
    buf_done(&head);
    return err;
}

static enum icap_cw first_state(const struct icap_client_request *r)
{
    if (!r->has_body)
        return CW_NONE;
    if (!r->has_preview)
        return CW_BODY;
    return r->preview ? CW_PREVIEW : CW_WAIT;
}

enum err icap_client_request(struct icap_client_engine *e, const struct icap_client_request *r)
{
    struct icap_encapsulated list = list_of(r);

    if (!icap_client_is_idle(e) || !is_legal(r, &list))
        return ERR_BUG;
    TRY(put_heads(e, r, &list));
    e->method = r->method;
    e->allow = r->allow;
    e->has_preview = r->has_preview && r->method != ICAP_OPTIONS;
    e->close = r->close;
    e->open = true;
    e->continued = e->ignored = e->answered = false;
    e->body_ended = !r->has_body;
    e->preview_left = r->preview;
    e->body_n = 0;
    e->cw = first_state(r);
    icap_client_set(e, CR_HEAD);
    e->resting = false;
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

static struct piece piece_sub(struct piece p, uint64_t off, uint64_t len)
{
    if (p.file)
        p.off += off;
    else
        p.slice = slice_sub(p.slice, (uint32_t)off, (uint32_t)len);
    p.len = len;
    return p;
}

static enum err put_chunk(struct icap_client_engine *e, struct piece p)
{
    if (p.len == 0)
        return OK;
    return p.file ? http_out_chunk_file(&e->out, p.file, p.off, p.len)
                  : http_out_chunk_slice(&e->out, p.slice);
}

static enum err keep_rest(struct icap_client_engine *e, struct piece p)
{
    if (p.len == 0)
        return OK;
    return p.file ? chain_append_file(&e->rest, p.file, p.off, p.len)
                  : chain_append_slice(&e->rest, p.slice);
}

/* RFC 3507 4.5: the preview ends with `0; ieof` when it is the whole body. */
static enum err preview_piece(struct icap_client_engine *e, struct piece p, bool end)
{
    uint64_t n = p.len < e->preview_left ? p.len : e->preview_left;
    bool whole = end && n == p.len;

    TRY(put_chunk(e, piece_sub(p, 0, n)));
    if (whole)
        TRY(http_out_copy(&e->out, SPAN("0; ieof\r\n\r\n")));
    else if (n == e->preview_left)
        TRY(http_out_copy(&e->out, SPAN("0\r\n\r\n")));
    TRY(keep_rest(e, piece_sub(p, n, p.len - n)));
    e->preview_left -= n;
    if (whole)
        e->cw = CW_IEOF;
    else if (e->preview_left == 0)
        e->cw = CW_WAIT;
    return OK;
}

static enum err body_piece(struct icap_client_engine *e, struct piece p, bool end)
{
    TRY(put_chunk(e, p));
    if (!end)
        return OK;
    TRY(http_out_copy(&e->out, SPAN("0\r\n\r\n")));
    e->cw = CW_NONE;
    return OK;
}

static enum err piece_by_state(struct icap_client_engine *e, struct piece p, bool end)
{
    switch (e->cw) {
    case CW_PREVIEW: return preview_piece(e, p, end);
    case CW_WAIT: return keep_rest(e, p);
    case CW_BODY: return body_piece(e, p, end);
    case CW_DROP: return OK;
    case CW_NONE:
    case CW_IEOF: break;
    }
    return ERR_BUG;
}

static enum err put_piece(struct icap_client_engine *e, struct piece p, bool end)
{
    uint64_t before = out_begin(e);
    enum err err;

    if (e->cr == CR_CLOSED && e->cw != CW_DROP)
        return ERR_ABORTED;
    if (e->body_ended)
        return ERR_BUG;
    err = piece_by_state(e, p, end);
    if (err) {
        http_out_cut(&e->out, before);
        return err;
    }
    e->body_n += p.len;
    e->body_ended = end;
    return OK;
}

enum err icap_client_body(struct icap_client_engine *e, struct slice s, bool end)
{
    return put_piece(e, (struct piece){.slice = s, .len = s.len}, end);
}

enum err icap_client_body_file(struct icap_client_engine *e, struct file_ref *f, uint64_t off,
                               uint64_t len, bool end)
{
    return put_piece(e, (struct piece){.file = f, .off = off, .len = len}, end);
}

/* The rest in the order in which it came. */
static enum err put_rest(struct icap_client_engine *e)
{
    for (uint32_t i = 0; i < e->rest.n; i++) {
        const struct segment *s = chain_at(&e->rest, i);
        struct piece p = {.len = segment_len(s)};

        if (s->kind == SEGMENT_FILE) {
            p.file = s->file.ref;
            p.off = s->file.off;
        } else {
            assert(s->kind == SEGMENT_SLICE);
            p.slice = s->slice;
        }
        TRY(put_chunk(e, p));
    }
    return e->body_ended ? http_out_copy(&e->out, SPAN("0\r\n\r\n")) : OK;
}

enum err icap_client_release_rest(struct icap_client_engine *e)
{
    (void)out_begin(e);
    TRY(put_rest(e));
    chain_done(&e->rest);
    e->cw = e->body_ended ? CW_NONE : CW_BODY;
    return OK;
}
