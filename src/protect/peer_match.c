/* SPDX-License-Identifier: Apache-2.0 */
/* peer_match.c - names against patterns: whole names, by the rules of their kind. Where a rule
 * leaves a doubt there is no match. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "protect/peer_int.h"

#define KEY_LEN 32u

static const struct {
    const char *name;
    int kind;
} kinds[] = {
    {"dns",   SALLYPORT_PEER_DNS    },
    {"uri",   SALLYPORT_PEER_URI    },
    {"email", SALLYPORT_PEER_EMAIL  },
    {"ip",    SALLYPORT_PEER_IP     },
    {"dn",    SALLYPORT_PEER_SUBJECT},
    {"key",   SALLYPORT_PEER_KEY    },
};

int peer_kind(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (span_ieq(name, span_of(kinds[i].name)))
            return kinds[i].kind;
    return 0;
}

const char *peer_kind_name(int kind)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].kind == kind)
            return kinds[i].name;
    return NULL;
}

bool peer_is_visible(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return s.n > 0;
}

/* ---- dns ---- */

static bool is_label(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = char_lower(s.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return s.n > 0 && s.n <= 63 && s.p[0] != '-' && s.p[s.n - 1] != '-';
}

static struct span no_closing_dot(struct span s)
{
    return span_ends(s, SPAN(".")) ? span_sub(s, 0, s.n - 1) : s;
}

/* "*." needs two labels behind it, or it would stand for a whole top-level domain. */
static bool is_dns_pattern(struct span pattern)
{
    struct span rest = no_closing_dot(pattern);
    bool wild = span_starts(rest, SPAN("*."));
    unsigned labels = 0;

    if (rest.n > 253)
        return false;
    if (wild)
        rest = span_sub(rest, 2, SIZE_MAX);
    while (rest.n > 0) {
        size_t n = span_find(rest, '.');

        if (!is_label(span_sub(rest, 0, n)) || n + 1 == rest.n)
            return false;
        rest = span_sub(rest, n + 1, SIZE_MAX);
        labels++;
    }
    return labels >= (wild ? 2u : 1u);
}

static bool dns_matches(struct span pattern, struct span name)
{
    pattern = no_closing_dot(pattern);
    if (!span_starts(pattern, SPAN("*.")))
        return span_ieq(pattern, name);
    size_t n = span_find(name, '.');

    return is_label(span_sub(name, 0, n)) &&
           span_ieq(span_sub(pattern, 1, SIZE_MAX), span_sub(name, n, SIZE_MAX));
}

/* ---- uri ---- */

static bool is_uri_pattern(struct span pattern)
{
    size_t colon = span_find(pattern, ':');
    struct span fixed =
        span_ends(pattern, SPAN("/*")) ? span_sub(pattern, 0, pattern.n - 1) : pattern;

    /* A prefix that ends within the authority would match other people's hosts. */
    if (fixed.n != pattern.n) {
        struct span rest = span_sub(fixed, colon + 1, SIZE_MAX);

        if (!span_starts(rest, SPAN("//")) || span_find(span_sub(rest, 2, SIZE_MAX), '/') == 0)
            return false;
    }
    return peer_is_visible(pattern) && colon > 0 && colon + 1 < pattern.n &&
           span_find(fixed, '*') == fixed.n;
}

/* Could the path below mean something else than it says to whoever resolves it? */
static bool is_tricky(struct span path)
{
    while (path.n > 0) {
        size_t n = span_find(path, '/');
        struct span segment = span_sub(path, 0, n);

        if (segment.n == 0 || span_eq(segment, SPAN(".")) || span_eq(segment, SPAN("..")))
            return true;
        path = span_sub(path, n + 1, SIZE_MAX);
    }
    return false;
}

static bool uri_matches(struct span pattern, struct span name)
{
    if (!span_ends(pattern, SPAN("/*")))
        return span_eq(pattern, name);
    struct span prefix = span_sub(pattern, 0, pattern.n - 1);
    struct span below = span_sub(name, prefix.n, SIZE_MAX);

    return span_starts(name, prefix) && below.n > 0 && !span_ends(below, SPAN("/")) &&
           span_find(below, '%') == below.n && span_find(below, '\\') == below.n &&
           span_find(below, '?') == below.n && span_find(below, '#') == below.n &&
           !is_tricky(below);
}

/* ---- email ---- */

static size_t at_sign(struct span s)
{
    size_t n = s.n;

    while (n > 0 && s.p[n - 1] != '@')
        n--;
    return n ? n - 1 : s.n;
}

static bool is_email_pattern(struct span pattern)
{
    size_t at = at_sign(pattern);

    return peer_is_visible(pattern) && at > 0 && at < pattern.n &&
           is_dns_pattern(span_sub(pattern, at + 1, SIZE_MAX)) &&
           span_find(pattern, '*') == pattern.n;
}

static bool email_matches(struct span pattern, struct span name)
{
    size_t at = at_sign(pattern);

    return at == at_sign(name) && span_eq(span_sub(pattern, 0, at), span_sub(name, 0, at)) &&
           span_ieq(span_sub(pattern, at, SIZE_MAX), span_sub(name, at, SIZE_MAX));
}

/* ---- ip ---- */

/* Bytes of the address; 0: none. */
static size_t ip_bytes(struct span text, unsigned char dst[16])
{
    char z[INET6_ADDRSTRLEN];

    if (text.n == 0 || text.n >= sizeof z || span_find(text, '\0') != text.n)
        return 0;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    if (inet_pton(AF_INET, z, dst) == 1)
        return 4;
    return inet_pton(AF_INET6, z, dst) == 1 ? 16 : 0;
}

static bool ip_matches(struct span pattern, struct span name)
{
    unsigned char bytes[16];
    size_t n = ip_bytes(pattern, bytes);

    return n > 0 && span_eq((struct span){(const char *)bytes, n}, name);
}

/* ---- distinguished names ---- */

/* Cuts the text before the next comma that is not escaped; takes the comma off, too. */
static struct span next_rdn(struct span *rest)
{
    size_t n = 0;
    struct span rdn;

    while (n < rest->n && rest->p[n] != ',')
        n += rest->p[n] == '\\' ? 2 : 1;
    rdn = span_sub(*rest, 0, n);
    *rest = span_sub(*rest, n + 1, SIZE_MAX);
    return rdn;
}

static bool is_dn_pattern(struct span pattern)
{
    if (pattern.n > PEER_TEXT_MAX || span_ends(pattern, SPAN(",")))
        return false;
    for (size_t i = 0; i < pattern.n; i++)
        if (pattern.p[i] < ' ' || pattern.p[i] > '~')
            return false;
    struct span rest = pattern;

    while (rest.n > 0) {
        struct span rdn = next_rdn(&rest);
        size_t n = span_find(rdn, '=');
        struct span value = span_sub(rdn, n + 1, SIZE_MAX);

        if (n == 0 || n == rdn.n || value.n == 0 || rdn.p[0] == ' ')
            return false;
        /* "CN=a*" would be taken for a part of a value. */
        if (value.n > 1 && span_find(value, '*') != value.n)
            return false;
    }
    return pattern.n > 0;
}

static bool rdn_matches(struct span pattern, struct span rdn)
{
    size_t n = span_find(pattern, '=');

    if (n != span_find(rdn, '=') || !span_ieq(span_sub(pattern, 0, n), span_sub(rdn, 0, n)))
        return false;
    pattern = span_sub(pattern, n + 1, SIZE_MAX);
    rdn = span_sub(rdn, n + 1, SIZE_MAX);
    /* A star for the one value: not for a second one behind a plus. */
    if (span_eq(pattern, SPAN("*")))
        return rdn.n > 0 && span_find(rdn, '+') == rdn.n;
    return span_eq(pattern, rdn);
}

static bool dn_matches(struct span pattern, struct span name)
{
    while (pattern.n > 0 && name.n > 0) {
        struct span want = next_rdn(&pattern), is = next_rdn(&name);

        if (!rdn_matches(want, is))
            return false;
    }
    return pattern.n == 0 && name.n == 0;
}

/* ---- keys ---- */

static int hex_digit(char c)
{
    c = char_lower(c);
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_key_pattern(struct span pattern)
{
    for (size_t i = 0; i < pattern.n; i++)
        if (hex_digit(pattern.p[i]) < 0)
            return false;
    return pattern.n == 2 * KEY_LEN;
}

static bool key_matches(struct span pattern, struct span key)
{
    bool same = pattern.n == 2 * key.n;

    for (size_t i = 0; same && i < key.n; i++)
        same = hex_digit(pattern.p[2 * i]) * 16 + hex_digit(pattern.p[2 * i + 1]) ==
               (unsigned char)key.p[i];
    return same;
}

/* ---- all of them ---- */

bool peer_pattern_is_valid(int kind, struct span pattern)
{
    unsigned char bytes[16];

    switch (kind) {
    case SALLYPORT_PEER_DNS: return is_dns_pattern(pattern);
    case SALLYPORT_PEER_URI: return is_uri_pattern(pattern);
    case SALLYPORT_PEER_EMAIL: return is_email_pattern(pattern);
    case SALLYPORT_PEER_IP: return ip_bytes(pattern, bytes) > 0;
    case SALLYPORT_PEER_SUBJECT: return is_dn_pattern(pattern);
    case SALLYPORT_PEER_KEY: return is_key_pattern(pattern);
    default: return false;
    }
}

static bool matches(int kind, struct span pattern, struct span name)
{
    switch (kind) {
    case SALLYPORT_PEER_DNS: return dns_matches(pattern, name);
    case SALLYPORT_PEER_URI: return uri_matches(pattern, name);
    case SALLYPORT_PEER_EMAIL: return email_matches(pattern, name);
    case SALLYPORT_PEER_IP: return ip_matches(pattern, name);
    case SALLYPORT_PEER_SUBJECT: return dn_matches(pattern, name);
    default: return key_matches(pattern, name);
    }
}

int sallyport_peer_match(const sallyport_peer *peer, int kind, const char *pattern)
{
    struct span p = span_of(pattern);
    const void *bytes;
    size_t n;

    if (!peer_pattern_is_valid(kind, p))
        return -EINVAL;
    for (size_t i = 0; sallyport_peer_attr(peer, kind, i, &bytes, &n) == 0; i++)
        if (matches(kind, p, (struct span){bytes, n}))
            return 1;
    return 0;
}
