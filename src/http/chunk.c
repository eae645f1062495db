/* SPDX-License-Identifier: Apache-2.0 */
#include "http/chunk.h"

#include <assert.h>
#include <string.h>

#include "http/head.h"

enum chunk_state {
    CS_SIZE,     /* in a chunk-size line */
    CS_DATA,     /* |left| bytes of data to come */
    CS_DATA_CR,  /* the CRLF after data */
    CS_DATA_LF,  /* its LF */
    CS_LAST,     /* CHUNK_LAST is due */
    CS_TRAILERS, /* in the trailer section */
    CS_END
};

void chunk_decoder_init(struct chunk_decoder *d)
{
    *d = (struct chunk_decoder){.state = CS_SIZE, .use_original = CHUNK_NO_ORIGINAL};
}

void chunk_decoder_init_trailers(struct chunk_decoder *d)
{
    chunk_decoder_init(d);
    d->state = CS_TRAILERS;
}

void chunk_decoder_done(struct chunk_decoder *d)
{
    buf_done(&d->line);
    buf_done(&d->trailers);
}

struct span chunk_trailers(const struct chunk_decoder *d)
{
    return (struct span){d->trailers.p, d->line_at};
}

/* ---- chunk-size lines ---- */

/* RFC 9112 7.1.1: BWS around ";" and "=" is bad, but to be accepted. */
static void skip_bws(struct span *s)
{
    while (s->n && (s->p[0] == ' ' || s->p[0] == '\t'))
        *s = span_sub(*s, 1, SIZE_MAX);
}

static struct span take_token(struct span *s)
{
    size_t n = 0;

    while (n < s->n && char_is_token((unsigned char)s->p[n]))
        n++;
    struct span token = span_sub(*s, 0, n);

    *s = span_sub(*s, n, SIZE_MAX);
    return token;
}

/* RFC 9110 5.6.4. |s| begins with the opening quote; false without the closing one. */
static bool skip_quoted(struct span *s)
{
    for (size_t i = 1; i < s->n; i++) {
        unsigned char c = (unsigned char)s->p[i];

        if (c == '\\' && i + 1 < s->n)
            c = (unsigned char)s->p[++i];
        else if (c == '"') {
            *s = span_sub(*s, i + 1, SIZE_MAX);
            return true;
        }
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return false;
}

struct ext {
    struct span name, value; /* value.p == NULL: none, or a quoted-string */
    bool has_value;
};

/* One `BWS ";" BWS name [ BWS "=" BWS value ]`. */
static bool take_ext(struct span *s, struct ext *ret)
{
    struct span after;

    skip_bws(s);
    if (s->n == 0 || s->p[0] != ';')
        return false;
    *s = span_sub(*s, 1, SIZE_MAX);
    skip_bws(s);
    *ret = (struct ext){.name = take_token(s)};
    if (ret->name.n == 0)
        return false;
    after = *s;
    skip_bws(&after);
    if (after.n == 0 || after.p[0] != '=')
        return true;
    *s = span_sub(after, 1, SIZE_MAX);
    skip_bws(s);
    ret->has_value = true;
    if (s->n && s->p[0] == '"')
        return skip_quoted(s);
    ret->value = take_token(s);
    return ret->value.n > 0;
}

/* `ieof` has no value (RFC 3507 4.5); `use-original-body` has a decimal one (ICAP Partial Content).
 * Both mean something on the last-chunk only; everywhere else they are unknown extensions. */
static enum err last_ext(struct chunk_decoder *d, const struct ext *x, struct fault *reterr)
{
    uint64_t from;

    if (span_ieq(x->name, SPAN("ieof")) && !x->has_value)
        d->ieof = true;
    if (!span_ieq(x->name, SPAN("use-original-body")))
        return OK;
    if (d->use_original != CHUNK_NO_ORIGINAL || span_u64(x->value, INT64_MAX, &from) != OK)
        return fault_set(reterr, ERR_PROTO, 400, 0, "bad use-original-body");
    d->use_original = from;
    return OK;
}

static enum err parse_line(struct chunk_decoder *d, struct span line, struct fault *reterr)
{
    size_t digits = 0;
    uint64_t size;

    while (digits < line.n && char_hex(line.p[digits]) >= 0)
        digits++;
    if (digits == 0)
        return fault_set(reterr, ERR_PROTO, 400, 0, "chunk-size without digits");
    if (span_hex_u64(span_sub(line, 0, digits), INT64_MAX, &size) != OK)
        return fault_set(reterr, ERR_PROTO, 400, 0, "chunk-size over 63 bits");
    line = span_sub(line, digits, SIZE_MAX);
    while (line.n) {
        struct ext x;

        if (!take_ext(&line, &x))
            return fault_set(reterr, ERR_PROTO, 400, 0, "malformed chunk extension");
        if (size == 0)
            TRY(last_ext(d, &x, reterr));
    }
    if (__builtin_add_overflow(d->total, size, &d->total) || d->total > INT64_MAX)
        return fault_set(reterr, ERR_PROTO, 400, 0, "chunked body over 63 bits");
    d->left = size;
    d->state = size ? CS_DATA : CS_LAST;
    return OK;
}

/* Appends what |in| adds to an unfinished line. */
static enum err keep_part(struct buf *b, struct span part, struct fault *reterr)
{
    buf_add(b, part);
    return b->err ? fault_set(reterr, b->err, 0, 0, "no memory for a chunk line") : OK;
}

/* A line that is complete in |in| is parsed where it is; only one that is split over feeds is
 * copied, up to line_max. */
static enum err read_size(struct chunk_decoder *d, const struct chunk_limits *lim, struct span in,
                          size_t *ret_used, struct fault *reterr)
{
    size_t lf = span_find(in, '\n');
    size_t n = d->line.n + lf + (lf < in.n); /* of the line, with what is here of its CRLF */
    struct span line;

    if (n > lim->line_max + 2)
        return fault_set(reterr, ERR_LIMIT, 400, lim->line_max, "chunk-size line too long");
    *ret_used = lf + (lf < in.n);
    if (d->line.n || lf == in.n)
        TRY(keep_part(&d->line, span_sub(in, 0, *ret_used), reterr));
    if (lf == in.n)
        return OK;
    line = d->line.n ? buf_span(&d->line) : span_sub(in, 0, *ret_used);
    if (line.n < 2 || line.p[line.n - 2] != '\r')
        return fault_set(reterr, ERR_PROTO, 400, lf, "bare LF after a chunk-size");
    d->overhead += line.n;
    if (d->overhead > d->total && d->overhead - d->total > lim->overhead_max)
        return fault_set(reterr, ERR_LIMIT, 400, lf, "too much chunk framing for so little data");
    TRY(parse_line(d, span_sub(line, 0, line.n - 2), reterr));
    buf_reset(&d->line);
    return OK;
}

/* ---- trailer section ---- */

static enum err trailer_line(struct chunk_decoder *d, const struct chunk_limits *lim,
                             struct fault *reterr)
{
    struct span line = span_sub(buf_span(&d->trailers), d->line_at, SIZE_MAX);
    struct field ignored;

    if (line.n < 2 || line.p[line.n - 2] != '\r')
        return fault_set(reterr, ERR_PROTO, 400, d->line_at, "bare LF in a trailer section");
    if (line.n == 2) {
        d->state = CS_END;
        return OK;
    }
    if (d->trailers.n > lim->trailer_max)
        return fault_set(reterr, ERR_LIMIT, 400, d->line_at, "trailer section too long");
    if (++d->n_trailers > lim->trailers_max)
        return fault_set(reterr, ERR_LIMIT, 400, d->line_at, "too many trailer fields");
    if (!field_line_parse(span_sub(line, 0, line.n - 2), &ignored))
        return fault_set(reterr, ERR_PROTO, 400, d->line_at, "malformed trailer field-line");
    d->line_at = d->trailers.n;
    return OK;
}

static enum err read_trailers(struct chunk_decoder *d, const struct chunk_limits *lim,
                              struct span in, size_t *ret_used, struct fault *reterr)
{
    size_t lf = span_find(in, '\n');
    size_t n = lf + (lf < in.n);

    if (d->trailers.n == d->line_at && span_starts(in, SPAN("\r\n"))) {
        *ret_used = 2;
        d->state = CS_END;
        return OK;
    }
    if (d->trailers.n + n > lim->trailer_max + 2) /* the empty line does not count */
        return fault_set(reterr, ERR_LIMIT, 400, lim->trailer_max, "trailer section too long");
    *ret_used = n;
    TRY(keep_part(&d->trailers, span_sub(in, 0, n), reterr));
    return lf < in.n ? trailer_line(d, lim, reterr) : OK;
}

/* ---- the decoder ---- */

static enum err read_data_end(struct chunk_decoder *d, struct span in, struct fault *reterr)
{
    if (in.p[0] != (d->state == CS_DATA_CR ? '\r' : '\n'))
        return fault_set(reterr, ERR_PROTO, 400, 0, "chunk data not followed by CRLF");
    d->state = d->state == CS_DATA_CR ? CS_DATA_LF : CS_SIZE;
    return OK;
}

static struct chunk_event data_event(struct chunk_decoder *d, struct span in)
{
    struct chunk_event ev = {
        .kind = CHUNK_DATA,
        .data = span_sub(in, 0, d->left < in.n ? (size_t)d->left : in.n),
        .use_original = CHUNK_NO_ORIGINAL,
    };

    d->left -= ev.data.n;
    if (d->left == 0)
        d->state = CS_DATA_CR;
    return ev;
}

/* One step: uses some bytes of |in| (not empty, but in CS_LAST), or makes an event. */
static enum err step(struct chunk_decoder *d, const struct chunk_limits *lim, struct span in,
                     size_t *ret_used, struct chunk_event *ret, struct fault *reterr)
{
    switch ((enum chunk_state)d->state) {
    case CS_SIZE: return read_size(d, lim, in, ret_used, reterr);
    case CS_DATA:
        *ret = data_event(d, in);
        *ret_used = ret->data.n;
        return OK;
    case CS_DATA_CR:
    case CS_DATA_LF: *ret_used = 1; return read_data_end(d, in, reterr);
    case CS_LAST:
        d->state = CS_TRAILERS;
        *ret = (struct chunk_event){CHUNK_LAST, SPAN_NONE, d->ieof, d->use_original};
        return OK;
    case CS_TRAILERS:
        TRY(read_trailers(d, lim, in, ret_used, reterr));
        if (d->state == CS_END)
            *ret = (struct chunk_event){CHUNK_END, SPAN_NONE, d->ieof, d->use_original};
        return OK;
    case CS_END: break;
    }
    return fault_set(reterr, ERR_BUG, 0, 0, "chunk_next after the end");
}

enum err chunk_next(struct chunk_decoder *d, const struct chunk_limits *lim, struct span in,
                    size_t *ret_used, struct chunk_event *ret, struct fault *reterr)
{
    struct chunk_event ev = {.kind = CHUNK_NEED, .use_original = CHUNK_NO_ORIGINAL};
    size_t used = 0;

    while (ev.kind == CHUNK_NEED && (used < in.n || d->state == CS_LAST)) {
        size_t n = 0;
        enum err e = step(d, lim, span_sub(in, used, SIZE_MAX), &n, &ev, reterr);

        if (e) {
            if (reterr)
                reterr->off += used;
            return e;
        }
        used += n;
    }
    *ret_used = used;
    *ret = ev;
    return OK;
}

enum err chunk_next_slice(struct chunk_decoder *d, const struct chunk_limits *lim, struct slice *in,
                          struct slice *ret_data, struct chunk_event *ret, struct fault *reterr)
{
    const struct slice was = *in;
    struct span bytes = slice_span(was);
    size_t used;

    TRY(chunk_next(d, lim, bytes, &used, ret, reterr));
    *in = slice_sub(was, (uint32_t)used, was.len - (uint32_t)used);
    *ret_data = slice_sub(was, 0, 0);
    if (ret->kind == CHUNK_DATA)
        *ret_data = slice_sub(was, (uint32_t)(ret->data.p - bytes.p), (uint32_t)ret->data.n);
    return OK;
}

size_t chunk_size_line(uint64_t size, char dst[CHUNK_SIZE_LINE_MAX])
{
    unsigned digits = 1;

    for (uint64_t v = size >> 4; v; v >>= 4)
        digits++;
    for (unsigned i = digits; i > 0; i--, size >>= 4)
        dst[i - 1] = "0123456789abcdef"[size & 0xf];
    dst[digits] = '\r';
    dst[digits + 1] = '\n';
    return digits + 2;
}
