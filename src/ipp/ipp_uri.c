/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_uri.c - scheme and authority of a URI, and what the whole means. */
#include "ipp/ipp_uri.h"

#include "ipp/ipp_uri_int.h"

#define HOST_MAX 255u /* octets of a name in the DNS (RFC 1035 2.3.4) */

/* ---- what is wrong, in words ---- */

const char *ipp_uri_why_code(enum ipp_uri_why why)
{
#define IPP_URI_WHY_ROW(id, code, text) code,
    static const char *const codes[] = {
#include "ipp/ipp_uri_why.def"
    };
#undef IPP_URI_WHY_ROW

    return (size_t)why < ARRAY_LEN(codes) ? codes[why] : "?";
}

const char *ipp_uri_why_text(enum ipp_uri_why why)
{
#define IPP_URI_WHY_ROW(id, code, text) text,
    static const char *const texts[] = {
#include "ipp/ipp_uri_why.def"
    };
#undef IPP_URI_WHY_ROW

    return (size_t)why < ARRAY_LEN(texts) ? texts[why] : "?";
}

static const struct {
    unsigned bit;
    const char *code, *text;
} warning_rows[] = {
    {IPP_URI_REDUNDANT,  "auth-list-redundant",  "one of the list's ways to TLS would be enough"},
    {IPP_URI_DUPLICATE,  "auth-token-repeated",  "a token of the AUTH list is there twice"      },
    {IPP_URI_IN_QUERY,   "auth-in-query",        "AUTH means nothing behind the question mark"  },
    {IPP_URI_NORMALISED, "uri-http-scheme",      "http and https are taken for ipp and ipps"    },
    {IPP_URI_HAS_USER,   "uri-has-user",         "a user or password in a URI is seen by many"  },
    {IPP_URI_EARLIER,    "auth-earlier-segment",
     "AUTH means nothing before the last segment of a path"                                     },
};

const char *ipp_uri_warning_code(unsigned warning)
{
    for (size_t i = 0; i < ARRAY_LEN(warning_rows); i++)
        if (warning_rows[i].bit == warning)
            return warning_rows[i].code;
    return "?";
}

const char *ipp_uri_warning_text(unsigned warning)
{
    for (size_t i = 0; i < ARRAY_LEN(warning_rows); i++)
        if (warning_rows[i].bit == warning)
            return warning_rows[i].text;
    return "?";
}

enum err ipp_uri_refuse(struct ipp_uri_fault *reterr, enum ipp_uri_why why, struct span at)
{
    if (reterr)
        *reterr = (struct ipp_uri_fault){.why = why, .at = at};
    return why == IPP_URI_LONG ? ERR_LIMIT : ERR_SYNTAX;
}

/* ---- the whole text ---- */

enum err ipp_uri_check_text(struct span text, struct ipp_uri_fault *reterr)
{
    if (text.n == 0)
        return ipp_uri_refuse(reterr, IPP_URI_EMPTY, text);
    if (text.n > IPP_URI_MAX)
        return ipp_uri_refuse(reterr, IPP_URI_LONG, span_sub(text, IPP_URI_MAX, SIZE_MAX));
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (ipp_char_is_uri(c))
            continue;
        if (c == '#')
            return ipp_uri_refuse(reterr, IPP_URI_FRAGMENT, span_sub(text, i, SIZE_MAX));
        return ipp_uri_refuse(reterr, IPP_URI_CHAR, span_sub(text, i, 1));
    }
    return OK;
}

/* Takes the scheme and "//" off |*rest|. *ret_port: what the scheme means by no port, if that is
 * not IPP's. */
static enum err parse_scheme(struct span *rest, struct ipp_uri *u, unsigned *ret_port,
                             struct ipp_uri_fault *reterr)
{
    static const struct {
        struct span name;
        bool secure;
        unsigned port; /* RFC 9110 4.2 */
    } schemes[] = {
        {{"ipp", 3},   false, 0  },
        {{"ipps", 4},  true,  0  },
        {{"http", 4},  false, 80 },
        {{"https", 5}, true,  443},
    };
    struct span text = *rest, name = span_cut(rest, ':');
    size_t i = 0;

    while (i < ARRAY_LEN(schemes) && !span_ieq(name, schemes[i].name))
        i++;
    if (i == ARRAY_LEN(schemes) || name.n == text.n)
        return ipp_uri_refuse(reterr, IPP_URI_SCHEME, name);
    if (!span_starts(*rest, SPAN("//")))
        return ipp_uri_refuse(reterr, IPP_URI_NO_HOST, *rest);
    *rest = span_sub(*rest, 2, SIZE_MAX);
    u->secure = schemes[i].secure;
    if (schemes[i].port)
        u->warnings |= IPP_URI_NORMALISED;
    *ret_port = schemes[i].port;
    return OK;
}

/* ---- authority (RFC 3986 3.2) ---- */

/* RFC 3986 3.2.2, of reg-name what a name in the DNS has, and "_". */
static bool is_name(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        bool dot = s.p[i] == '.';

        if (!ipp_char_is_unreserved(s.p[i]) || s.p[i] == '~')
            return false;
        if (dot && (i == 0 || s.p[i - 1] == '.'))
            return false;
    }
    return s.n > 0 && s.n <= HOST_MAX;
}

/* IPv4address: four numbers up to 255, no zeros before them. */
static bool is_ip4(struct span s)
{
    unsigned n = 0;

    do {
        struct span part = span_cut(&s, '.');
        uint64_t ignored;

        if (part.n > 3 || (part.n > 1 && part.p[0] == '0') || span_u64(part, 255, &ignored) != OK)
            return false;
        n++;
    } while (s.p);
    return n == 4;
}

/* Groups of 16 bits in |s|, |ip4| if the last two may be an IPv4 address; 0 for none, and more than
 * 8 for what is no list of such. */
static unsigned count_groups(struct span s, bool ip4)
{
    unsigned n = 0;

    while (s.n && n <= 8) {
        struct span group = span_cut(&s, ':');

        if (!s.p && ip4 && span_find(group, '.') < group.n)
            return is_ip4(group) ? n + 2 : UINT8_MAX;
        if (group.n < 1 || group.n > 4 || (s.p && s.n == 0))
            return UINT8_MAX;
        for (size_t i = 0; i < group.n; i++)
            if (char_hex(group.p[i]) < 0)
                return UINT8_MAX;
        n++;
    }
    return n;
}

/* IPv6address: eight groups, or fewer around one "::". */
static bool is_ip6(struct span s)
{
    for (size_t i = 0; i + 1 < s.n; i++)
        if (s.p[i] == ':' && s.p[i + 1] == ':')
            return count_groups(span_sub(s, 0, i), false) +
                       count_groups(span_sub(s, i + 2, SIZE_MAX), true) <=
                   7;
    return count_groups(s, true) == 8;
}

/* Takes "[" IPv6address "]" off |*rest|. */
static enum err parse_literal(struct span *rest, struct ipp_uri *u, struct ipp_uri_fault *reterr)
{
    size_t end = span_find(*rest, ']');

    if (end == rest->n)
        return ipp_uri_refuse(reterr, IPP_URI_LITERAL, *rest);
    u->host = span_sub(*rest, 1, end - 1);
    if (span_find(u->host, '%') < u->host.n)
        return ipp_uri_refuse(reterr, IPP_URI_ZONE, u->host);
    if (!is_ip6(u->host))
        return ipp_uri_refuse(reterr, IPP_URI_LITERAL, u->host);
    *rest = span_sub(*rest, end + 1, SIZE_MAX);
    return OK;
}

static enum err parse_host(struct span *rest, struct ipp_uri *u, struct ipp_uri_fault *reterr)
{
    if (rest->n && rest->p[0] == '[')
        return parse_literal(rest, u, reterr);
    u->host = span_sub(*rest, 0, span_find(*rest, ':'));
    if (u->host.n == 0)
        return ipp_uri_refuse(reterr, IPP_URI_NO_HOST, u->host);
    if (!is_name(u->host))
        return ipp_uri_refuse(reterr, IPP_URI_HOST, u->host);
    *rest = span_sub(*rest, u->host.n, SIZE_MAX);
    return OK;
}

static bool is_userinfo_char(char c)
{
    return ipp_char_is_pchar(c) && c != '@';
}

static enum err parse_authority(struct span text, struct ipp_uri *u, struct ipp_uri_fault *reterr)
{
    size_t at = span_find(text, '@');
    struct span rest = text;
    size_t semicolon;
    uint64_t port;

    if (at < text.n) {
        u->userinfo = span_sub(text, 0, at);
        u->warnings |= IPP_URI_HAS_USER;
        TRY(ipp_uri_check_chars(u->userinfo, is_userinfo_char, reterr));
        rest = span_sub(text, at + 1, SIZE_MAX);
    }
    semicolon = span_find(rest, ';');
    if (ipp_param_is_auth(span_sub(rest, semicolon + 1, SIZE_MAX)))
        return ipp_uri_refuse(reterr, IPP_URI_AUTH_HOST, span_sub(rest, semicolon, SIZE_MAX));
    TRY(parse_host(&rest, u, reterr));
    if (rest.n == 0)
        return OK;
    if (rest.p[0] != ':')
        return ipp_uri_refuse(reterr, IPP_URI_HOST, rest);
    rest = span_sub(rest, 1, SIZE_MAX);
    if (rest.n > 5 || span_u64(rest, UINT16_MAX, &port) != OK || port == 0)
        return ipp_uri_refuse(reterr, IPP_URI_PORT, rest);
    u->port = (unsigned)port;
    return OK;
}

/* ---- the URI ---- */

/* With ipps and with TLS by upgrade there is one usual port; SSL3 alone has its own. */
static bool is_for_secure_port(const struct ipp_uri *u)
{
    return !u->secure && (u->auth & IPP_AUTH_CHANNEL) == IPP_AUTH_SSL3;
}

static size_t authority_end(struct span s)
{
    size_t slash = span_find(s, '/'), mark = span_find(s, '?');

    return slash < mark ? slash : mark;
}

enum err ipp_uri_parse(struct span text, struct ipp_uri *ret, struct ipp_uri_fault *reterr)
{
    struct ipp_uri u = {0};
    struct span rest = text;
    unsigned port = 0;
    size_t end;

    TRY(ipp_uri_check_text(text, reterr));
    TRY(parse_scheme(&rest, &u, &port, reterr));
    end = authority_end(rest);
    TRY(parse_authority(span_sub(rest, 0, end), &u, reterr));
    TRY(ipp_uri_parse_path(span_sub(rest, end, SIZE_MAX), &u, reterr));
    if (u.port == 0 && !is_for_secure_port(&u))
        u.port = port;
    *ret = u;
    return OK;
}

unsigned ipp_uri_port(const struct ipp_uri *u, unsigned secure_port)
{
    if (u->port)
        return u->port;
    return is_for_secure_port(u) ? secure_port : IPP_PORT;
}

struct ipp_demand ipp_uri_demand(const struct ipp_uri *u)
{
    return (struct ipp_demand){
        .auth = u->auth,
        .level.channel = u->secure ? IPP_CHANNEL_IMPLICIT : IPP_CHANNEL_CLEAR,
    };
}

bool ipp_uri_same(const struct ipp_uri *a, const struct ipp_uri *b)
{
    const struct span path_a[2] = {a->path, a->params}, path_b[2] = {b->path, b->params};

    return a->secure == b->secure && span_ieq(a->host, b->host) &&
           ipp_uri_port(a, 0) == ipp_uri_port(b, 0) &&
           ipp_auth_canonical(a->auth, a->secure) == ipp_auth_canonical(b->auth, b->secure) &&
           ipp_octets_eq(path_a, path_b) && !a->query.p == !b->query.p &&
           span_eq(a->query, b->query);
}
