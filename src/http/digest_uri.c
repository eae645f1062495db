/* SPDX-License-Identifier: Apache-2.0 */
#include "http/digest_uri.h"

struct parts {
    bool has_path; /* otherwise |head| is all of it */
    bool has_query;
    struct span head, tail; /* the path without its AUTH parameter: what is before it, and behind */
    struct span query;
};

/* RFC 3986 3.1 and 3.2: |s| without scheme and authority, or as it is. */
static struct span without_authority(struct span s)
{
    size_t colon = span_find(s, ':');

    if (colon == 0 || !span_is_token(span_sub(s, 0, colon)) ||
        !span_starts(span_sub(s, colon, SIZE_MAX), SPAN("://")))
        return s;
    struct span rest = span_sub(s, colon + 3, SIZE_MAX);
    size_t slash = span_find(rest, '/'), mark = span_find(rest, '?');

    if (slash == rest.n && mark == rest.n)
        return SPAN("/");
    return span_sub(rest, slash < mark ? slash : mark, SIZE_MAX);
}

/* Divides |path| around the first ";AUTH=..." of its last segment. */
static void without_auth(struct span path, struct parts *ret)
{
    size_t at = path.n;

    ret->head = path;
    while (at > 0 && path.p[at - 1] != '/')
        at--;
    for (; at < path.n; at++)
        if (span_istarts(span_sub(path, at, SIZE_MAX), SPAN(";AUTH="))) {
            struct span behind = span_sub(path, at + 1, SIZE_MAX);

            ret->head = span_sub(path, 0, at);
            ret->tail = span_sub(behind, span_find(behind, ';'), SIZE_MAX);
            return;
        }
}

static struct parts parts_of(struct span s)
{
    struct parts p = {.head = s};
    struct span rest = without_authority(s);

    if (rest.n == 0 || (rest.p[0] != '/' && rest.p == s.p))
        return p;
    size_t mark = span_find(rest, '?');
    struct span path = span_sub(rest, 0, mark);

    p.has_path = true;
    p.has_query = mark < rest.n;
    p.query = span_sub(rest, mark + 1, SIZE_MAX);
    without_auth(path.n ? path : SPAN("/"), &p);
    return p;
}

/* The next character, decoded: 0..255, 256 more for an encoded one that is not the same as a
 * literal one, -1 at the end. */
static int next(struct span *s)
{
    if (s->n == 0)
        return -1;
    unsigned char c = (unsigned char)s->p[0];
    int high = c == '%' && s->n >= 3 ? char_hex(s->p[1]) : -1;
    int low = high >= 0 ? char_hex(s->p[2]) : -1;

    *s = span_sub(*s, low >= 0 ? 3 : 1, SIZE_MAX);
    if (low < 0)
        return c;
    int v = high * 16 + low;

    return v == '/' || v == '?' || v == '#' || v == ';' || v == '%' ? v + 256 : v;
}

static int next_of(struct span *first, struct span *second)
{
    return first->n ? next(first) : next(second);
}

static bool same(struct span a, struct span a2, struct span b, struct span b2)
{
    for (;;) {
        int left = next_of(&a, &a2);

        if (left != next_of(&b, &b2))
            return false;
        if (left < 0)
            return true;
    }
}

bool digest_uri_is(struct span uri, struct span target)
{
    struct parts a = parts_of(uri), b = parts_of(target);

    return a.has_path == b.has_path && a.has_query == b.has_query &&
           same(a.head, a.tail, b.head, b.tail) && same(a.query, SPAN_NONE, b.query, SPAN_NONE);
}
