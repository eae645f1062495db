/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_uri_path.c - the path of a URI, the AUTH list in its last segment, and the query. */
#include <assert.h>

#include "base/utf8.h"
#include "ipp/ipp_uri_int.h"

/* ---- characters (RFC 3986, appendix A) ---- */

#define UNRESERVED 1u
#define PCHAR_MORE 2u /* sub-delims, ":" and "@" */
#define PCHAR      (UNRESERVED | PCHAR_MORE)
#define SEPARATOR  4u /* of the parts of a URI; "%", which begins an octet in its own way */

static const uint8_t class_of[256] = {
    ['A' ... 'Z'] = UNRESERVED, ['a' ... 'z'] = UNRESERVED, ['0' ... '9'] = UNRESERVED,
    ['-'] = UNRESERVED,         ['.'] = UNRESERVED,         ['_'] = UNRESERVED,
    ['~'] = UNRESERVED,         ['!'] = PCHAR_MORE,         ['$'] = PCHAR_MORE,
    ['&'] = PCHAR_MORE,         ['\''] = PCHAR_MORE,        ['('] = PCHAR_MORE,
    [')'] = PCHAR_MORE,         ['*'] = PCHAR_MORE,         ['+'] = PCHAR_MORE,
    [','] = PCHAR_MORE,         [';'] = PCHAR_MORE,         ['='] = PCHAR_MORE,
    [':'] = PCHAR_MORE,         ['@'] = PCHAR_MORE,         ['/'] = SEPARATOR,
    ['?'] = SEPARATOR,          ['['] = SEPARATOR,          [']'] = SEPARATOR,
    ['%'] = SEPARATOR,
};

bool ipp_char_is_unreserved(char c)
{
    return class_of[(unsigned char)c] == UNRESERVED;
}

bool ipp_char_is_pchar(char c)
{
    return class_of[(unsigned char)c] & PCHAR;
}

bool ipp_char_is_uri(char c)
{
    return class_of[(unsigned char)c] != 0;
}

static bool is_path_char(char c)
{
    return ipp_char_is_pchar(c) || c == '/';
}

static bool is_query_char(char c)
{
    return ipp_char_is_pchar(c) || c == '/' || c == '?';
}

enum err ipp_uri_check_chars(struct span s, bool (*may)(char c), struct ipp_uri_fault *reterr)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '%') {
            if (s.n - i < 3 || char_hex(s.p[i + 1]) < 0 || char_hex(s.p[i + 2]) < 0)
                return ipp_uri_refuse(reterr, IPP_URI_ESCAPE, span_sub(s, i, 3));
            i += 2;
        } else if (!may(s.p[i])) {
            return ipp_uri_refuse(reterr, IPP_URI_CHAR, span_sub(s, i, 1));
        }
    }
    return OK;
}

/* ---- octets, decoded ---- */

int ipp_octet_next(struct span *s)
{
    int c, high = -1, low = -1;

    if (s->n == 0)
        return -1;
    c = (unsigned char)s->p[0];
    if (c == '%' && s->n >= 3) {
        high = char_hex(s->p[1]);
        low = char_hex(s->p[2]);
    }
    if (high < 0 || low < 0) {
        *s = span_sub(*s, 1, SIZE_MAX);
        return c;
    }
    *s = span_sub(*s, 3, SIZE_MAX);
    return high << 4 | low;
}

static int next_of_two(struct span s[2])
{
    return ipp_octet_next(s[0].n ? &s[0] : &s[1]);
}

bool ipp_octets_eq(const struct span a[2], const struct span b[2])
{
    struct span x[2] = {a[0], a[1]}, y[2] = {b[0], b[1]};
    int c;

    if (span_eq(a[0], b[0]) && span_eq(a[1], b[1]))
        return true;
    do {
        c = next_of_two(x);
        if (c != next_of_two(y))
            return false;
    } while (c >= 0);
    return true;
}

bool ipp_param_is_auth(struct span s)
{
    static const char name[] = {'a', 'u', 't', 'h'};
    int c;

    for (size_t i = 0; i < sizeof name; i++) {
        c = ipp_octet_next(&s);
        if (c < 0 || char_lower((char)c) != name[i])
            return false;
    }
    c = ipp_octet_next(&s);
    return c < 0 || !ipp_char_is_unreserved((char)c);
}

/* ---- what a path may not have ---- */

/* Encoded or not, everybody must read the same segments: backends decode once more or once less
 * than their fronts do. */
static enum err check_decoded(struct span path, struct ipp_uri_fault *reterr)
{
    char decoded[IPP_URI_MAX];
    size_t n = 0;
    struct span rest = path;

    assert(path.n <= sizeof decoded); /* ipp_uri_check_text() */
    while (rest.n) {
        struct span at = span_sub(rest, 0, rest.p[0] == '%' ? 3 : 1);
        int c = ipp_octet_next(&rest);

        if (at.n > 1 && (c == '/' || c == '\\' || c == ';'))
            return ipp_uri_refuse(reterr, IPP_URI_HIDDEN, at);
        if (c < 0x20 || c == 0x7f)
            return ipp_uri_refuse(reterr, IPP_URI_CONTROL, at);
        decoded[n++] = (char)c;
    }
    if (!utf8_is_valid((struct span){decoded, n}))
        return ipp_uri_refuse(reterr, IPP_URI_UTF8, path);
    return OK;
}

/* RFC 3986 5.2.4; a parameter behind the dots does not hide them. */
static bool is_dots(struct span segment)
{
    unsigned n = 0;

    if (segment.n == 0 || (segment.p[0] != '.' && segment.p[0] != '%'))
        return false;
    struct span name = span_cut(&segment, ';');

    for (int c = ipp_octet_next(&name); c >= 0; c = ipp_octet_next(&name), n++)
        if (c != '.')
            return false;
    return n == 1 || n == 2;
}

/* Is there a parameter AUTH behind one of |marks|? */
static bool has_auth(struct span s, char mark, char other)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] == mark || s.p[i] == other) && ipp_param_is_auth(span_sub(s, i + 1, SIZE_MAX)))
            return true;
    return false;
}

/* ---- the list ---- */

/* ALPHA *( ALPHA / DIGIT / "-" / "." / "_" ): what later drafts might have named. */
static bool is_proto(struct span s)
{
    if (s.n == 0 || char_lower(s.p[0]) < 'a' || char_lower(s.p[0]) > 'z')
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (!ipp_char_is_unreserved(s.p[i]) || s.p[i] == '~')
            return false;
    return true;
}

static enum err add_token(struct span token, struct ipp_uri *u, struct ipp_uri_fault *reterr)
{
    static const struct {
        struct span name;
        unsigned bit;
    } known[] = {
        {{"TLS", 3},  IPP_AUTH_TLS },
        {{"SSL3", 4}, IPP_AUTH_SSL3},
        {{"DAA", 3},  IPP_AUTH_DAA },
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (span_ieq(token, known[i].name)) {
            if (u->auth & known[i].bit)
                u->warnings |= IPP_URI_DUPLICATE;
            u->auth |= known[i].bit;
            return OK;
        }
    if (token.n == 0)
        return ipp_uri_refuse(reterr, IPP_URI_AUTH_GAP, token);
    return ipp_uri_refuse(reterr, is_proto(token) ? IPP_URI_AUTH_UNKNOWN : IPP_URI_AUTH_TOKEN,
                          token);
}

/* |param|: AUTH and what is behind it. */
static enum err parse_list(struct span param, struct ipp_uri *u, struct ipp_uri_fault *reterr)
{
    struct span list = span_sub(param, sizeof "AUTH" - 1, SIZE_MAX);

    if (list.n == 0 || list.p[0] != '=')
        return ipp_uri_refuse(reterr, IPP_URI_AUTH_NO_LIST, param);
    if (list.n == 1)
        return ipp_uri_refuse(reterr, IPP_URI_AUTH_EMPTY, param);
    list = span_sub(list, 1, SIZE_MAX);
    do
        TRY(add_token(span_cut(&list, ','), u, reterr));
    while (list.p);
    if ((u->auth & IPP_AUTH_CHANNEL) == IPP_AUTH_CHANNEL || (u->secure && u->auth & IPP_AUTH_TLS))
        u->warnings |= IPP_URI_REDUNDANT;
    return OK;
}

/* Parameters have no percent-encoding: somebody would decode it, and find another list. */
static enum err check_param(struct span param, struct ipp_uri_fault *reterr)
{
    for (size_t i = 0; i < param.n; i++)
        if (!ipp_char_is_pchar(param.p[i]))
            return ipp_uri_refuse(reterr, IPP_URI_PARAM, span_sub(param, i, 1));
    return param.n ? OK : ipp_uri_refuse(reterr, IPP_URI_PARAM, param);
}

/* |segment|: the last one. The list divides u->path, which is all of the path, in two. */
static enum err parse_params(struct span segment, struct ipp_uri *u, struct ipp_uri_fault *reterr)
{
    struct span path = u->path, rest = segment;
    const char *end = segment.p + segment.n;

    (void)span_cut(&rest, ';');
    while (rest.p) {
        struct span param = span_cut(&rest, ';');

        TRY(check_param(param, reterr));
        if (!ipp_param_is_auth(param))
            continue;
        if (u->auth)
            return ipp_uri_refuse(reterr, IPP_URI_AUTH_TWICE, param);
        TRY(parse_list(param, u, reterr));
        u->path.n = (size_t)(param.p - path.p) - 1;
        u->params.p = param.p + param.n;
        u->params.n = (size_t)(end - u->params.p);
    }
    return OK;
}

/* ---- path and query ---- */

/* Nothing but unreserved characters: no octet in another spelling, no parameter, no list. */
static bool is_plain(struct span path)
{
    for (size_t i = 0; i < path.n; i++)
        if (path.p[i] != '/' && !ipp_char_is_unreserved(path.p[i]))
            return false;
    return true;
}

static enum err parse_segments(struct span path, struct ipp_uri *u, struct ipp_uri_fault *reterr)
{
    struct span rest = path, segment;
    bool plain = is_plain(path);

    if (!plain) {
        TRY(ipp_uri_check_chars(path, is_path_char, reterr));
        TRY(check_decoded(path, reterr));
    }
    u->path = path;
    do {
        segment = span_cut(&rest, '/');
        if (is_dots(segment))
            return ipp_uri_refuse(reterr, IPP_URI_DOTS, segment);
        if (rest.p && !plain && has_auth(segment, ';', ';'))
            u->warnings |= IPP_URI_EARLIER;
    } while (rest.p);
    return plain ? OK : parse_params(segment, u, reterr);
}

static enum err parse_query(struct span query, struct ipp_uri *u, struct ipp_uri_fault *reterr)
{
    TRY(ipp_uri_check_chars(query, is_query_char, reterr));
    if (ipp_param_is_auth(query) || has_auth(query, ';', '&'))
        u->warnings |= IPP_URI_IN_QUERY;
    u->query = query;
    return OK;
}

enum err ipp_uri_parse_path(struct span text, struct ipp_uri *u, struct ipp_uri_fault *reterr)
{
    size_t end = span_find(text, '?');

    u->path = SPAN("/"); /* RFC 9110 4.2.3: an empty path is that */
    if (end > 0)
        TRY(parse_segments(span_sub(text, 0, end), u, reterr));
    if (end < text.n)
        TRY(parse_query(span_sub(text, end + 1, SIZE_MAX), u, reterr));
    return OK;
}
