/* SPDX-License-Identifier: Apache-2.0 */
#include "http/head.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "http/head_int.h"

/* ---- looking for bytes ---- */

static bool is_stop(unsigned char c)
{
    return c == '\r' || c == '\n' || c == '\0';
}

static bool is_control(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

size_t head_find_stop_scalar(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_stop((unsigned char)p[i]))
            return i;
    return n;
}

size_t head_find_control_scalar(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_control((unsigned char)p[i]))
            return i;
    return n;
}

/* |cr|: was the byte before a CR? */
static bool plain_rest(const char *p, size_t n, bool cr, size_t *lines)
{
    bool plain = true;

    for (size_t i = 0; i < n; i++) {
        plain &= (p[i] == '\n') == cr;
        cr = p[i] == '\r';
        plain &= cr || p[i] == '\n' || !is_control((unsigned char)p[i]);
        *lines += p[i] == '\n';
    }
    return plain && !cr;
}

bool head_is_plain_scalar(const char *p, size_t n, size_t *ret_lines)
{
    *ret_lines = 0;
    return plain_rest(p, n, false, ret_lines);
}

#ifdef __SSE2__
/* SSE2 twins, 16 bytes a step; the rest is left to the scalar ones, so nothing is read past |n|
 * (guard-page test), and fuzz_head.c checks that twins agree. */
size_t head_find_stop(const char *p, size_t n)
{
    const __m128i cr = _mm_set1_epi8('\r');
    const __m128i lf = _mm_set1_epi8('\n');
    const __m128i nul = _mm_setzero_si128();
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, cr), _mm_cmpeq_epi8(x, lf)),
                                   _mm_cmpeq_epi8(x, nul));
        int mask = _mm_movemask_epi8(hit);

        if (mask)
            return i + (size_t)__builtin_ctz((unsigned)mask);
    }
    return i + head_find_stop_scalar(p + i, n - i);
}

size_t head_find_control(const char *p, size_t n)
{
    const __m128i last = _mm_set1_epi8(0x1f);
    const __m128i tab = _mm_set1_epi8('\t');
    const __m128i del = _mm_set1_epi8(0x7f);
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, last), x); /* unsigned x <= 0x1f */
        __m128i hit =
            _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(x, tab), low), _mm_cmpeq_epi8(x, del));
        int mask = _mm_movemask_epi8(hit);

        if (mask)
            return i + (size_t)__builtin_ctz((unsigned)mask);
    }
    return i + head_find_control_scalar(p + i, n - i);
}
bool head_is_plain(const char *p, size_t n, size_t *ret_lines)
{
    const __m128i last = _mm_set1_epi8(0x1f);
    const __m128i tab = _mm_set1_epi8('\t');
    const __m128i cr = _mm_set1_epi8('\r');
    const __m128i lf = _mm_set1_epi8('\n');
    const __m128i del = _mm_set1_epi8(0x7f);
    unsigned bad = 0, carry = 0; /* carry: the byte before was a CR */
    size_t lines = 0;
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, last), x);
        __m128i is_cr = _mm_cmpeq_epi8(x, cr);
        __m128i is_lf = _mm_cmpeq_epi8(x, lf);
        __m128i fine = _mm_or_si128(_mm_or_si128(is_lf, is_cr), _mm_cmpeq_epi8(x, tab));
        __m128i hit = _mm_or_si128(_mm_andnot_si128(fine, low), _mm_cmpeq_epi8(x, del));
        unsigned crs = (unsigned)_mm_movemask_epi8(is_cr);
        unsigned lfs = (unsigned)_mm_movemask_epi8(is_lf);

        bad |= (unsigned)_mm_movemask_epi8(hit) | (((crs << 1 | carry) & 0xffff) ^ lfs);
        carry = crs >> 15;
        /* a line is seldom shorter than 16 bytes: one round or none */
        for (; lfs; lfs &= lfs - 1)
            lines++;
    }
    bad |= !plain_rest(p + i, n - i, carry, &lines);
    *ret_lines = lines;
    return !bad;
}
#else
bool head_is_plain(const char *p, size_t n, size_t *ret_lines)
{
    return head_is_plain_scalar(p, n, ret_lines);
}

size_t head_find_stop(const char *p, size_t n)
{
    return head_find_stop_scalar(p, n);
}

size_t head_find_control(const char *p, size_t n)
{
    return head_find_control_scalar(p, n);
}
#endif

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

enum err head_scan(struct head_scan *s, struct span so_far, const struct head_limits *lim,
                   size_t *ret_len, struct fault *reterr)
{
    if (so_far.n == s->at)
        return ERR_AGAIN;
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

/* RFC 9110 5.6.2 tchar, as a table: names are looked at byte by byte. */
static const bool tchar[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
    ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1,  ['~'] = 1, ['0'] = 1,
    ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1,  ['7'] = 1, ['8'] = 1,
    ['9'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,  ['F'] = 1, ['G'] = 1,
    ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1,  ['N'] = 1, ['O'] = 1,
    ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1,  ['V'] = 1, ['W'] = 1,
    ['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1,  ['d'] = 1, ['e'] = 1,
    ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1,  ['l'] = 1, ['m'] = 1,
    ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,  ['t'] = 1, ['u'] = 1,
    ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
};

static size_t token_len(struct span s)
{
    size_t n = 0;

    while (n < s.n && tchar[(unsigned char)s.p[n]])
        n++;
    return n;
}

/* |plain|: the line is known to have no control byte. */
static bool split_line(struct span line, bool plain, struct field *ret)
{
    size_t n = token_len(line);
    struct span value;

    if (n == 0 || n == line.n || line.p[n] != ':')
        return false;
    value = (struct span){line.p + n + 1, line.n - n - 1};
    if (value.n && value.p[0] == ' ') { /* nearly always just one */
        value.p++;
        value.n--;
    }
    value = span_trim(value);
    if (!plain && head_find_control(value.p, value.n) != value.n)
        return false;
    *ret = (struct field){.value = value};
    ret->name = (struct span){line.p, n};
    return true;
}

bool field_line_parse(struct span line, struct field *ret)
{
    return split_line(line, false, ret);
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

/* The same in text that head_is_plain(): each LF ends a line. */
static bool next_plain_line(struct span *rest, struct span *ret)
{
    size_t at = span_find(*rest, '\n');

    if (at == rest->n)
        return false;
    *ret = (struct span){rest->p, at - 1};
    *rest = (struct span){rest->p + at + 1, rest->n - at - 1};
    return true;
}

bool field_lines_are_valid(struct span lines)
{
    struct span line;
    struct field ignored;

    while (lines.n)
        if (!next_line(&lines, &line) || !field_line_parse(line, &ignored))
            return false;
    return true;
}

/* Names that decide framing and type: here the parser must never guess. */
static bool is_critical(struct span name)
{
    static const struct span names[] = {
        {"host",                4 },
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
    while (line.n && !tchar[(unsigned char)line.p[0]])
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

static enum err parse_field(const struct head *h, struct span line, bool plain, struct span *last,
                            struct field *ret, struct fault *reterr)
{
    size_t off = (size_t)(line.p - h->text.p);

    if (split_line(line, plain, ret)) {
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

/* |rest|: what follows the start-line, with the closing empty line. */
static enum err parse_fields(struct head *h, struct span rest, const struct head_limits *lim,
                             struct arena *mem, struct fault *reterr)
{
    struct span line, last = SPAN_NONE;
    size_t max;
    bool plain = head_is_plain(rest.p, rest.n, &max);

    if (max > 1) {
        max--; /* the empty line */
        if (max > lim->fields_max)
            return fault_set(reterr, ERR_LIMIT, 431, h->start_line.n, "too many fields in a head");
        h->fields = arena_array(mem, max, sizeof *h->fields);
        if (!h->fields)
            return fault_set(reterr, ERR_NOMEM, 0, 0, "no memory for the fields of a head");
    } else {
        max = 0;
    }
    for (;;) {
        size_t off = (size_t)(rest.p - h->text.p);

        if (!(plain ? next_plain_line : next_line)(&rest, &line))
            return fault_set(reterr, ERR_PROTO, 400, off, "head without an empty line at its end");
        if (line.n == 0)
            break;
        if (h->n_fields == max)
            return fault_set(reterr, ERR_PROTO, 400, off, "head without an empty line at its end");
        TRY(parse_field(h, line, plain, &last, &h->fields[h->n_fields], reterr));
        h->n_fields++;
    }
    if (rest.n)
        return fault_set(reterr, ERR_PROTO, 400, h->text.n - rest.n, "bytes after the head");
    return OK;
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
    size_t bad = head_find_control(h->target.p, h->target.n);

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
    if (head_find_control(h->reason.p, h->reason.n) != h->reason.n)
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

const char *head_smuggling(const struct head *h)
{
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
    if (h->text.n && memchr(h->text.p, '\0', h->text.n))
        return "NUL in the head";
    return NULL;
}
