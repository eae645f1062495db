/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_plan.c - the request: its heads, its chunk framing, its body bytes.
 */
#include "load_plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_LINE "HTTP/1.1 200 OK"

static const char whole_line[] = "10000\r\n"; /* PLAN_CHUNK_LEN */
static const char crlf[] = "\r\n";
static const char last_chunk[] = "0\r\n\r\n";
static const char last_chunk_ieof[] = "0; ieof\r\n\r\n";

#define WHOLE_LEN (sizeof whole_line - 1 + PLAN_CHUNK_LEN + 2)

static_assert(PLAN_CHUNK_LEN == 0x10000, "whole_line spells PLAN_CHUNK_LEN");

/* xorshift: any bytes will do that are not text, the same in each run. Neither CR nor LF, so that a
 * floor server, which looks for the last bytes of a request, never finds them inside a body. */
static void pattern_init(struct plan *p)
{
    uint32_t x = 0x9e3779b9u;

    for (size_t i = 0; i < PATTERN_PERIOD + PLAN_CHUNK_LEN; i++) {
        if (i >= PATTERN_PERIOD) {
            p->pattern[i] = p->pattern[i - PATTERN_PERIOD];
            continue;
        }
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        p->pattern[i] = p->fill ? 'e' : (uint8_t)(x >> 24);
        if (p->pattern[i] == '\r' || p->pattern[i] == '\n')
            p->pattern[i] = 'n';
    }
}

/* --- forms --- */

#define FORM_BOUNDARY "----icapload7d1f0a9c33b84e52"
#define FORM_LINE_MAX 256

static size_t form_part_head(const struct plan *p, char line[FORM_LINE_MAX], unsigned i)
{
    size_t n = (size_t)snprintf(line, FORM_LINE_MAX,
                                "--" FORM_BOUNDARY "\r\n"
                                "Content-Disposition: form-data; name=\"field%u\"",
                                i);

    if (p->files)
        n += (size_t)snprintf(line + n, FORM_LINE_MAX - n,
                              "; filename=\"note%u.txt\"\r\nContent-Type: text/plain", i);
    return n + (size_t)snprintf(line + n, FORM_LINE_MAX - n, "\r\n\r\n");
}

/* Of a field letters, of a file the words that people write. */
static uint8_t form_byte(const struct plan *p, size_t n)
{
    static const char words[] = "Please find the minutes of our last meeting below, and send what "
                                "is missing\nby Friday. The list of who was there, and of what "
                                "they want to do next,\nis not complete: some had to leave "
                                "before the end.\n\n";

    return p->files ? (uint8_t)words[n % (sizeof words - 1)]
                    : (uint8_t)('a' + p->pattern[n % PATTERN_PERIOD] % 26);
}

/* What a browser sends: |parts| fields or files of |size| letters each. The stamp is in the first
 * one. */
static bool form_init(struct plan *p)
{
    static const char end[] = "--" FORM_BOUNDARY "--\r\n";
    size_t part_len = (size_t)p->size, n = 0;
    char line[FORM_LINE_MAX];

    p->form = malloc(p->parts * (FORM_LINE_MAX + part_len + 2) + sizeof end);
    if (!p->form)
        return false;
    for (unsigned i = 0; i < p->parts; i++) {
        size_t len = form_part_head(p, line, i);

        memcpy(p->form + n, line, len);
        n += len;
        if (i == 0)
            p->stamp_at = n;
        for (size_t end_n = n + part_len; n < end_n; n++)
            p->form[n] = form_byte(p, n);
        memcpy(p->form + n, crlf, 2);
        n += 2;
    }
    memcpy(p->form + n, end, sizeof end - 1);
    p->size = (int64_t)(n + sizeof end - 1);
    return true;
}

/* --- heads --- */

static int request_head_format(const struct plan *p, char *buf, size_t cap)
{
    bool upload = p->method == METHOD_REQMOD && p->size >= 0;
    int n = snprintf(buf, cap,
                     "%s http://www.example.com/path/to/object.html HTTP/1.1\r\n"
                     "Host: www.example.com\r\n"
                     "User-Agent: Mozilla/5.0 (X11; Linux x86_64) icapload/1.0\r\n"
                     "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n",
                     upload ? "POST" : "GET");

    if (upload)
        n += snprintf(buf + n, cap - (size_t)n, "Content-Length: %lld\r\n", (long long)p->size);
    if (p->form)
        n += snprintf(buf + n, cap - (size_t)n,
                      "Content-Type: multipart/form-data; boundary=" FORM_BOUNDARY "\r\n");
    return n + snprintf(buf + n, cap - (size_t)n,
                        "Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: identity\r\n\r\n");
}

static int response_head_format(const struct plan *p, char *buf, size_t cap)
{
    return snprintf(buf, cap,
                    STATUS_LINE "\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
                                "Server: example/1.0\r\n"
                                "Last-Modified: Fri, 20 Nov 2026 12:00:00 GMT\r\n"
                                "Content-Length: %lld\r\nCache-Control: max-age=3600\r\n"
                                "Content-Type: text/plain\r\n\r\n",
                    (long long)p->size);
}

static int encapsulated_format(const struct plan *p, char *buf, size_t cap, int req, int res)
{
    const char *body = p->size < 0 ? "null" : p->method == METHOD_REQMOD ? "req" : "res";

    if (p->method == METHOD_OPTIONS)
        return snprintf(buf, cap, "null-body=0");
    if (p->method == METHOD_REQMOD)
        return snprintf(buf, cap, "req-hdr=0, %s-body=%d", body, req);
    return snprintf(buf, cap, "req-hdr=0, res-hdr=%d, %s-body=%d", req, body, req + res);
}

static bool head_init(struct plan *p, struct plan_head *h, const char *path, bool has_field)
{
    static const char *const names[] = {"OPTIONS", "REQMOD", "RESPMOD"};
    static const char *const allows[] = {"", "Allow: 204\r\n", "Allow: 206\r\n",
                                         "Allow: 204, 206\r\n"};
    char req[512] = "", res[512] = "", enc[96], preview[48] = "";
    int req_len = 0, res_len = 0, n;

    if (p->method != METHOD_OPTIONS)
        req_len = request_head_format(p, req, sizeof req);
    if (p->method == METHOD_RESPMOD)
        res_len = response_head_format(p, res, sizeof res);
    (void)encapsulated_format(p, enc, sizeof enc, req_len, res_len);
    if (p->preview >= 0)
        (void)snprintf(preview, sizeof preview, "Preview: %lld\r\n", (long long)p->preview);
    n = snprintf(h->text, sizeof h->text,
                 "%s %s://%s%s ICAP/1.0\r\nHost: %s\r\nUser-Agent: icapload/1.0\r\n%s%s%s%s%s"
                 "Encapsulated: %s\r\n\r\n%s%s",
                 names[p->method], p->tls ? "icaps" : "icap", p->host, path, p->host,
                 allows[p->allow_204 + 2 * p->allow_206], preview,
                 p->close ? "Connection: close\r\n" : "", has_field ? p->field : "",
                 has_field ? crlf : "", enc, req, res);
    if (n < 0 || (size_t)n >= sizeof h->text)
        return false;
    h->len = (size_t)n;
    p->start_line = h->text + n - res_len - (p->method == METHOD_RESPMOD ? 0 : req_len);
    p->start_line_len = strcspn(p->start_line, "\r");
    return true;
}

static bool heads_init(struct plan *p)
{
    for (int first = 0; first < 2; first++) {
        bool has_field = p->field && (first || !p->field_once);

        if (!head_init(p, &p->head[first][0], p->path, has_field) ||
            !head_init(p, &p->head[first][1], p->also ? p->also : p->path, has_field))
            return false;
    }
    return true;
}

bool plan_init(struct plan *p)
{
    p->pattern = malloc(PATTERN_PERIOD + PLAN_CHUNK_LEN);
    if (!p->pattern)
        return false;
    pattern_init(p);
    if (p->parts > 0 && !form_init(p))
        return false;
    if (!heads_init(p))
        return false;
    if (p->preview >= 0 && p->size >= 0) {
        p->ieof = p->size <= p->preview;
        p->preview_len = p->ieof ? p->size : p->preview;
    }
    return true;
}

void plan_done(struct plan *p)
{
    free(p->pattern);
    free(p->form);
    p->pattern = p->form = NULL;
}

void plan_body_stamp(struct plan_body *b, uint64_t serial)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = PLAN_STAMP_LEN; i-- > 0; serial >>= 4)
        b->stamp[i] = (uint8_t)digits[serial & 15];
}

const uint8_t *plan_bytes(const struct plan *p, const struct plan_body *b, uint64_t at, size_t *n)
{
    uint64_t to_stamp = at < p->stamp_at ? p->stamp_at - at : UINT64_MAX;

    if (p->unique && at >= p->stamp_at && at - p->stamp_at < PLAN_STAMP_LEN) {
        size_t off = (size_t)(at - p->stamp_at);

        *n = *n < PLAN_STAMP_LEN - off ? *n : PLAN_STAMP_LEN - off;
        return b->stamp + off;
    }
    if (p->unique && *n > to_stamp)
        *n = (size_t)to_stamp;
    return p->form ? p->form + at : p->pattern + (at + b->phase) % PATTERN_PERIOD;
}

bool plan_has_rest(const struct plan *p)
{
    return p->preview >= 0 && p->size >= 0 && !p->ieof;
}

struct plan_part plan_part_get(const struct plan *p, unsigned seq, bool first, unsigned part)
{
    const struct plan_head *h = &p->head[first][seq & 1];
    struct plan_part r = {.head = h->text, .head_len = h->len, .end = ""};

    if (p->size < 0) /* Encapsulated: null-body: not even a last chunk */
        return r;
    r.to = (uint64_t)(p->preview >= 0 ? p->preview_len : p->size);
    r.end = p->preview >= 0 && p->ieof ? last_chunk_ieof : last_chunk;
    r.end_len = strlen(r.end);
    if (part > 0) {
        r.head = "";
        r.head_len = 0;
        r.from = (uint64_t)p->preview_len;
        r.to = (uint64_t)p->size;
    }
    return r;
}

static size_t hex_digits(uint64_t v)
{
    size_t n = 1;

    while (v >>= 4)
        n++;
    return n;
}

/* Length on the wire of a chunk that carries |n| bytes; no bytes make no chunk. */
static uint64_t chunk_len(uint64_t n)
{
    return n > 0 ? hex_digits(n) + 2 + n + 2 : 0;
}

uint64_t plan_part_len(const struct plan_part *part)
{
    uint64_t body = part->to - part->from;

    return part->head_len + body / PLAN_CHUNK_LEN * WHOLE_LEN + chunk_len(body % PLAN_CHUNK_LEN) +
           part->end_len;
}

/* Collects pieces, after skipping the first |skip| bytes of them. */
struct pieces {
    struct iovec *v;
    int n, max;
    uint64_t skip;
};

static void piece_add(struct pieces *s, const void *p, size_t len)
{
    if (s->skip >= len) {
        s->skip -= len;
        return;
    }
    if (s->n == s->max)
        return;
    /* An iovec is not const, but nobody writes through these. */
    s->v[s->n].iov_base = (uint8_t *)(uintptr_t)p + s->skip;
    s->v[s->n++].iov_len = len - (size_t)s->skip;
    s->skip = 0;
}

static void chunk_add(struct pieces *s, const struct plan *p, const struct plan_body *b,
                      uint64_t at, size_t n, char *line)
{
    size_t len;

    if (n == PLAN_CHUNK_LEN)
        piece_add(s, whole_line, sizeof whole_line - 1);
    else
        piece_add(s, line, (size_t)snprintf(line, PLAN_LINE_MAX, "%zx\r\n", n));
    for (; n > 0; n -= len, at += len) {
        const uint8_t *bytes;

        len = n;
        bytes = plan_bytes(p, b, at, &len);
        piece_add(s, bytes, len);
    }
    piece_add(s, crlf, 2);
}

int plan_part_iov(const struct plan *p, const struct plan_part *part, const struct plan_body *b,
                  uint64_t off, struct iovec *v, int max, char *line)
{
    struct pieces s = {.v = v, .max = max, .skip = off};
    uint64_t at = part->from, whole = (part->to - part->from) / PLAN_CHUNK_LEN;

    piece_add(&s, part->head, part->head_len);
    if (off > part->head_len) { /* jump over the whole chunks that are out already */
        uint64_t gone = s.skip / WHOLE_LEN;

        gone = gone < whole ? gone : whole;
        s.skip -= gone * WHOLE_LEN;
        at += gone * PLAN_CHUNK_LEN;
    }
    while (s.n < max && at < part->to) {
        uint64_t left = part->to - at;
        size_t n = left < PLAN_CHUNK_LEN ? (size_t)left : PLAN_CHUNK_LEN;

        chunk_add(&s, p, b, at, n, line);
        at += n;
    }
    if (at == part->to)
        piece_add(&s, part->end, part->end_len);
    return s.n;
}
