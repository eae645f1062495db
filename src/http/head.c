/* SPDX-License-Identifier: Apache-2.0 */
#include "http/head.h"

#include <string.h>

#include "http/head_int.h"

#define STRICT_MAX 64u /* fields of a head that are parsed without counting its lines first */

/* ---- the end of a head ---- */

/* Are the first |end| bytes over a limit? A start-line may be line_max bytes and CRLF. Monotonic in
 * |end| within a line, so any split of the input meets the same limit. */
static enum err scan_limits(const struct head_scan *s, size_t end, const struct head_limits *lim,
                            struct fault *reterr)
{
    bool over_line = !s->in_fields && end - s->line > lim->line_max + 2;

    if (end > lim->size_max && (!over_line || lim->size_max <= lim->line_max + 2))
        return fault_set(reterr, ERR_LIMIT, 431, lim->size_max, "head too long");
    if (over_line)
        return fault_set(reterr, ERR_LIMIT, 414, s->line + lim->line_max, "start-line too long");
    return OK;
}

/* The bytes at |i| stop a line: OK, a CRLF ends here; ERR_AGAIN, its LF has not come yet. */
static enum err scan_stop(const struct head_scan *s, struct span t, size_t i,
                          const struct head_limits *lim, struct fault *reterr)
{
    size_t end = i + (t.p[i] == '\r' ? 2 : 1);

    TRY(scan_limits(s, end < t.n ? end : t.n, lim, reterr));
    if (t.p[i] == '\0')
        return fault_set(reterr, ERR_PROTO, 400, i, "NUL in a head");
    if (t.p[i] == '\n')
        return fault_set(reterr, ERR_PROTO, 400, i, "bare LF in a head");
    if (end > t.n)
        return ERR_AGAIN;
    if (t.p[i + 1] != '\n')
        return fault_set(reterr, ERR_PROTO, 400, i, "CR without LF in a head");
    return OK;
}

/* Nearly every head is there in one piece, with nothing odd in it and far below all limits. */
static bool scan_whole(struct span t, const struct head_limits *lim, size_t *ret_len)
{
    size_t end = head_plain_end(t.p, t.n);

    if (end == 0 || end > lim->size_max || end > lim->line_max || t.p[0] == '\r')
        return false;
    *ret_len = end;
    return true;
}

enum err head_scan(struct head_scan *s, struct span so_far, const struct head_limits *lim,
                   size_t *ret_len, struct fault *reterr)
{
    if (so_far.n == s->at)
        return ERR_AGAIN;
    if (s->at == 0 && scan_whole(so_far, lim, ret_len))
        return OK;
    for (;;) {
        size_t i = s->at + head_find_stop(so_far.p + s->at, so_far.n - s->at);

        s->at = i;
        if (i == so_far.n) {
            TRY(scan_limits(s, i, lim, reterr));
            return ERR_AGAIN;
        }
        TRY(scan_stop(s, so_far, i, lim, reterr));
        if (i == s->line && !s->in_fields)
            return fault_set(reterr, ERR_PROTO, 400, i, "empty start-line");
        s->at = i + 2;
        if (i == s->line) {
            *ret_len = s->at;
            return OK;
        }
        s->in_fields = true;
        s->line = s->at;
    }
}

/* ---- field-lines ---- */

static size_t token_len(struct span s)
{
    return head_token_len(s.p, s.n);
}

static bool split_line(struct span line, struct field *ret)
{
    size_t n = token_len(line);
    struct span value;

    if (n == 0 || n == line.n || line.p[n] != ':')
        return false;
    value = span_trim((struct span){line.p + n + 1, line.n - n - 1});
    if (head_find_control(value.p, value.n) != value.n)
        return false;
    *ret = (struct field){.value = value};
    ret->name = (struct span){line.p, n};
    return true;
}

bool field_line_parse(struct span line, struct field *ret)
{
    return split_line(line, ret);
}

/* Next line of |*rest| without its CRLF; false when there is none. */
static bool next_line(struct span *rest, struct span *ret)
{
    size_t at = head_find_stop(rest->p, rest->n);

    if (rest->n - at < 2 || rest->p[at] != '\r' || rest->p[at + 1] != '\n')
        return false;
    *ret = (struct span){rest->p, at};
    *rest = (struct span){rest->p + at + 2, rest->n - at - 2};
    return true;
}

/* Names that decide framing and type, or whether it is the whole: here the parser must never guess.
 */
static bool is_critical(struct span name)
{
    static const struct span names[] = {
        {"host",                4 },
        {"range",               5 },
        {"request-range",       13},
        {"content-range",       13},
        {"trailer",             7 },
        {"connection",          10},
        {"content-type",        12},
        {"content-length",      14},
        {"content-encoding",    16},
        {"upgrade",             7 },
        {"transfer-encoding",   17},
        {"content-disposition", 19},
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_ieq(name, names[i]))
            return true;
    return false;
}

/* What a lax recipient could take for the name of an odd line: its first run of token bytes. */
static struct span odd_name(struct span line)
{
    while (line.n && token_len(span_sub(line, 0, 1)) == 0)
        line = span_sub(line, 1, SIZE_MAX);
    return span_sub(line, 0, token_len(line));
}

static bool is_fold(struct span line)
{
    return line.n && (line.p[0] == ' ' || line.p[0] == '\t');
}

/* A line of an encapsulated head that is no field-line: handed on as it is, unless it could decide
 * framing or type for somebody less strict (RFC 9112 5.1, 5.2, 11.2). |last|: the name that a fold
 * would continue. */
static enum err odd_line(struct span line, struct span last, size_t off, struct field *ret,
                         struct fault *reterr)
{
    if (is_fold(line)) {
        if (last.n == 0)
            return fault_set(reterr, ERR_PROTO, 400, off, "white space before the first field");
        if (is_critical(last))
            return fault_set(reterr, ERR_PROTO, 400, off, "folded framing field");
    }
    if (is_critical(odd_name(line)))
        return fault_set(reterr, ERR_PROTO, 400, off, "malformed framing field");
    *ret = (struct field){.value = line, .odd = true};
    return OK;
}

static bool is_http(enum head_kind kind)
{
    return kind == HEAD_HTTP_REQUEST || kind == HEAD_HTTP_STATUS;
}

static enum err parse_field(const struct head *h, struct span line, struct span *last,
                            struct field *ret, struct fault *reterr)
{
    size_t off = (size_t)(line.p - h->text.p);

    if (split_line(line, ret)) {
        *last = ret->name;
        return OK;
    }
    if (!is_http(h->kind))
        return fault_set(reterr, ERR_PROTO, 400, off,
                         is_fold(line) ? "folded field-line" : "malformed field-line");
    TRY(odd_line(line, *last, off, ret, reterr));
    if (!is_fold(line)) {
        *last = odd_name(line);
        if (last->n == 0) /* a fold after it still continues something */
            *last = span_sub(line, 0, 1);
    }
    return OK;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The strict field-line at |p|. Returns where the next line begins, or NULL when this is none. What
 * ends at |end| ends in CRLF, so that no step here leaves it. Each byte is looked at once. */
static inline const char *strict_field(const char *p, const char *end, struct field *ret)
{
    const char *colon = p + head_token_len(p, (size_t)(end - p)), *value, *stop, *tail;

    if (*colon != ':' || colon == p)
        return NULL;
    for (value = colon + 1; is_blank(*value); value++)
        ;
    stop = value + head_find_control(value, (size_t)(end - value));
    if (stop + 1 >= end || stop[0] != '\r' || stop[1] != '\n')
        return NULL;
    for (tail = stop; tail > value && is_blank(tail[-1]); tail--)
        ;
    ret->name = (struct span){p, (size_t)(colon - p)};
    ret->value = (struct span){value, (size_t)(tail - value)};
    ret->odd = false;
    return stop + 2;
}

bool field_line_next(struct span *lines, struct field *ret)
{
    const char *next =
        span_ends(*lines, SPAN("\r\n")) ? strict_field(lines->p, lines->p + lines->n, ret) : NULL;

    if (!next)
        return false;
    *lines = span_sub(*lines, (size_t)(next - lines->p), SIZE_MAX);
    return true;
}

bool field_lines_are_valid(struct span lines)
{
    struct field ignored;

    while (lines.n && field_line_next(&lines, &ignored))
        ;
    return lines.n == 0;
}

/* Nearly every head: strict field-lines to the end, and not too many of them. False: one that has
 * to be looked at more closely; then nothing is written. */
static bool strict_fields(struct span rest, struct field f[STRICT_MAX], unsigned *ret_n)
{
    const char *p = rest.p, *end = p + rest.n;
    unsigned n = 0;

    if (!span_ends(rest, SPAN("\r\n")))
        return false;
    for (; p && end - p > 2 && n < STRICT_MAX; n++)
        p = strict_field(p, end, &f[n]);
    *ret_n = n;
    return p && end - p == 2;
}

static size_t lines_in(struct span s)
{
    size_t n = 0;

    for (size_t at; (at = span_find(s, '\n')) < s.n; n++)
        s = span_sub(s, at + 1, SIZE_MAX);
    return n;
}

/* The rest of a head, which has |max| lines before its empty one. */
static enum err all_fields(struct head *h, struct span rest, size_t max, struct fault *reterr)
{
    struct span line, last = SPAN_NONE;

    for (;;) {
        size_t off = (size_t)(rest.p - h->text.p);

        if (!next_line(&rest, &line) || (line.n && (!h->fields || h->n_fields == max)))
            return fault_set(reterr, ERR_PROTO, 400, off, "head without an empty line at its end");
        if (line.n == 0)
            break;
        TRY(parse_field(h, line, &last, &h->fields[h->n_fields], reterr));
        h->n_fields++;
    }
    if (rest.n)
        return fault_set(reterr, ERR_PROTO, 400, h->text.n - rest.n, "bytes after the head");
    return OK;
}

/* Room for |n| fields; none is fine. */
static enum err fields_new(struct head *h, size_t n, const struct head_limits *lim,
                           struct arena *mem, struct fault *reterr)
{
    if (n > lim->fields_max)
        return fault_set(reterr, ERR_LIMIT, 431, h->start_line.n, "too many fields in a head");
    h->fields = n ? arena_array(mem, n, sizeof *h->fields) : NULL;
    if (n && !h->fields)
        return fault_set(reterr, ERR_NOMEM, 0, 0, "no memory for the fields of a head");
    return OK;
}

/* |rest|: what follows the start-line, with the closing empty line. */
static enum err parse_fields(struct head *h, struct span rest, const struct head_limits *lim,
                             struct arena *mem, struct fault *reterr)
{
    struct field strict[STRICT_MAX];
    unsigned n;

    if (strict_fields(rest, strict, &n)) {
        TRY(fields_new(h, n, lim, mem, reterr));
        if (h->fields)
            memcpy(h->fields, strict, n * sizeof *strict);
        h->n_fields = n;
        return OK;
    }
    size_t lines = lines_in(rest);

    h->plain = false;
    TRY(fields_new(h, lines ? lines - 1 : 0, lim, mem, reterr));
    return all_fields(h, rest, lines ? lines - 1 : 0, reterr);
}

/* ---- start-lines ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1" or "ICAP/1.0": name in upper case, one digit each (RFC 9112 2.3). */
static bool parse_version(struct head *h, struct span v)
{
    struct span name = is_http(h->kind) ? SPAN("HTTP/") : SPAN("ICAP/");

    if (v.n != 8 || !span_starts(v, name) || !is_digit(v.p[5]) || v.p[6] != '.' ||
        !is_digit(v.p[7]))
        return false;
    h->major = (unsigned)(v.p[5] - '0');
    h->minor = (unsigned)(v.p[7] - '0');
    return true;
}

static enum err parse_request_line(struct head *h, struct fault *reterr)
{
    struct span rest = h->start_line;
    size_t off;

    h->method = span_cut(&rest, ' ');
    if (!rest.p || h->method.n == 0 || token_len(h->method) != h->method.n)
        return fault_set(reterr, ERR_PROTO, 400, 0, "malformed method");
    h->target = span_cut(&rest, ' ');
    off = (size_t)(h->target.p - h->text.p);
    if (!rest.p || h->target.n == 0)
        return fault_set(reterr, ERR_PROTO, 400, off, "malformed request-line");
    size_t bad = h->plain ? h->target.n : head_find_control(h->target.p, h->target.n);

    if (bad == h->target.n)
        bad = span_find(h->target, '\t');
    if (bad < h->target.n)
        return fault_set(reterr, ERR_PROTO, 400, off + bad, "control byte in the request target");
    if (!parse_version(h, rest))
        return fault_set(reterr, ERR_PROTO, 400, (size_t)(rest.p - h->text.p),
                         is_http(h->kind) ? "malformed HTTP version" : "malformed ICAP version");
    return OK;
}

static enum err parse_status_line(struct head *h, struct fault *reterr)
{
    struct span rest = h->start_line;
    struct span code;
    uint64_t status;

    if (!parse_version(h, span_cut(&rest, ' ')) || !rest.p)
        return fault_set(reterr, ERR_PROTO, 400, 0, "malformed version in a status-line");
    code = span_sub(rest, 0, 3);
    if (code.n != 3 || span_u64(code, 999, &status) != OK || status < 100)
        return fault_set(reterr, ERR_PROTO, 400, 9, "malformed status code");
    rest = span_sub(rest, 3, SIZE_MAX);
    /* RFC 9112 4 wants the space even before an empty reason; many servers leave it out. */
    if (rest.n && rest.p[0] != ' ')
        return fault_set(reterr, ERR_PROTO, 400, 12, "malformed status-line");
    h->status = (unsigned)status;
    h->reason = span_sub(rest, 1, SIZE_MAX);
    if (!h->plain && head_find_control(h->reason.p, h->reason.n) != h->reason.n)
        return fault_set(reterr, ERR_PROTO, 400, 13, "control byte in a reason phrase");
    return OK;
}

static enum err parse_start_line(struct head *h, struct fault *reterr)
{
    switch (h->kind) {
    case HEAD_ICAP_REQUEST:
    case HEAD_HTTP_REQUEST: return parse_request_line(h, reterr);
    case HEAD_ICAP_STATUS:
    case HEAD_HTTP_STATUS: return parse_status_line(h, reterr);
    }
    return fault_set(reterr, ERR_BUG, 0, 0, "unknown kind of head");
}

enum err head_parse(enum head_kind kind, struct span text, const struct head_limits *lim,
                    struct arena *mem, struct head *ret, struct fault *reterr)
{
    struct head h = {.kind = kind, .text = text};
    struct span rest = text;

    if (text.n == 0)
        return fault_set(reterr, ERR_PROTO, 400, 0, "no start-line");
    if (text.n > lim->size_max)
        return fault_set(reterr, ERR_LIMIT, 431, lim->size_max, "head too long");
    if (!next_line(&rest, &h.start_line) || h.start_line.n == 0)
        return fault_set(reterr, ERR_PROTO, 400, 0, "no start-line");
    if (h.start_line.n > lim->line_max)
        return fault_set(reterr, ERR_LIMIT, 414, lim->line_max, "start-line too long");
    h.plain = head_find_control(h.start_line.p, h.start_line.n) == h.start_line.n;
    TRY(parse_start_line(&h, reterr));
    TRY(parse_fields(&h, rest, lim, mem, reterr));
    *ret = h;
    return OK;
}

/* ---- questions ---- */

unsigned head_find(const struct head *h, struct span name, unsigned from)
{
    for (unsigned i = from; i < h->n_fields; i++) {
        const struct field *f = &h->fields[i];

        /* The first letter tells most names of one length apart (odd lines have no name). */
        if (f->name.n == name.n && name.n && (f->name.p[0] | 0x20) == (name.p[0] | 0x20) &&
            span_ieq(f->name, name))
            return i;
    }
    return h->n_fields;
}

struct span head_value(const struct head *h, struct span name)
{
    unsigned i = head_find(h, name, 0);

    return i < h->n_fields ? h->fields[i].value : SPAN_NONE;
}

static void wipe_values(const struct head *h, struct span name)
{
    for (unsigned i = head_find(h, name, 0); i < h->n_fields; i = head_find(h, name, i + 1)) {
        struct span value = h->fields[i].value;

        if (value.n)
            explicit_bzero((char *)(uintptr_t)value.p, value.n);
    }
}

void head_wipe_credentials(const struct head *h)
{
    wipe_values(h, SPAN("Authorization"));
    wipe_values(h, SPAN("Proxy-Authorization"));
}

unsigned head_count(const struct head *h, struct span name)
{
    unsigned n = 0;

    for (unsigned i = head_find(h, name, 0); i < h->n_fields; i = head_find(h, name, i + 1))
        n++;
    return n;
}

bool head_has_token(const struct head *h, struct span name, struct span token)
{
    for (unsigned i = head_find(h, name, 0); i < h->n_fields; i = head_find(h, name, i + 1)) {
        struct span rest = h->fields[i].value;
        struct span element;

        while (span_list_next(&rest, &element))
            if (span_ieq(element, token))
                return true;
    }
    return false;
}

enum err head_content_length(const struct head *h, uint64_t *ret)
{
    const struct span name = SPAN("Content-Length");
    bool have = false;
    uint64_t length = 0;

    for (unsigned i = head_find(h, name, 0); i < h->n_fields; i = head_find(h, name, i + 1)) {
        struct span rest = h->fields[i].value;
        uint64_t v;

        /* RFC 9110 8.6: a list of equal values is the one value; empty elements are not. */
        do {
            if (span_u64(span_trim(span_cut(&rest, ',')), INT64_MAX, &v) != OK)
                return ERR_PROTO;
            if (have && v != length)
                return ERR_PROTO;
            have = true;
            length = v;
        } while (rest.p);
    }
    if (!have)
        return ERR_MISSING;
    *ret = length;
    return OK;
}

/* A list is what a proxy makes of two fields; of user information, a path or a blank some readers
 * take one side and some the other. */
static bool names_one_host(struct span value)
{
    static const bool bad[256] = {
        [0 ... ' '] = 1, [','] = 1, ['@'] = 1, ['/'] = 1, ['\\'] = 1, ['?'] = 1, ['#'] = 1,
    };

    for (size_t i = 0; i < value.n; i++)
        if (bad[(unsigned char)value.p[i]])
            return false;
    return true;
}

const char *head_host_conflict(const struct head *h)
{
    const struct span name = SPAN("Host");
    unsigned first = head_find(h, name, 0);

    if (first >= h->n_fields)
        return NULL;
    if (head_find(h, name, first + 1) < h->n_fields)
        return "repeated Host";
    return names_one_host(h->fields[first].value) ? NULL : "malformed Host";
}

const char *head_smuggling(const struct head *h)
{
    const char *host = h->kind == HEAD_HTTP_REQUEST ? head_host_conflict(h) : NULL;
    uint64_t ignored;
    enum err length = head_content_length(h, &ignored);

    if (length == ERR_PROTO)
        return "malformed or conflicting Content-Length";
    if (length == OK && head_count(h, SPAN("Transfer-Encoding")))
        return "Content-Length together with Transfer-Encoding";
    if (head_count(h, SPAN("Content-Type")) > 1)
        return "repeated Content-Type";
    if (head_count(h, SPAN("Content-Disposition")) > 1)
        return "repeated Content-Disposition";
    if (host)
        return host;
    if (h->text.n && memchr(h->text.p, '\0', h->text.n))
        return "NUL in the head";
    return NULL;
}
