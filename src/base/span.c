/* SPDX-License-Identifier: Apache-2.0 */
#include "base/span.h"

#include <stdlib.h>
#include <string.h>

bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

int char_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = char_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool span_ieq(struct span a, struct span b)
{
    return a.n == b.n && span_istarts(a, b);
}

bool span_starts(struct span s, struct span prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool span_istarts(struct span s, struct span prefix)
{
    if (s.n < prefix.n)
        return false;
    if (prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0) /* most are written the usual way */
        return true;
    for (size_t i = 0; i < prefix.n; i++)
        if (char_lower(s.p[i]) != char_lower(prefix.p[i]))
            return false;
    return true;
}

bool span_ends(struct span s, struct span suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

struct span span_trim(struct span s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

size_t span_find(struct span s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

struct span span_cut(struct span *rest, char c)
{
    size_t at = span_find(*rest, c);
    struct span before = {rest->p, at};

    *rest = at < rest->n ? (struct span){rest->p + at + 1, rest->n - at - 1} : SPAN_NONE;
    return before;
}

static enum err parse_u64(struct span s, unsigned base, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;

    if (s.n == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < s.n; i++) {
        int digit = char_hex(s.p[i]);

        if (digit < 0 || (unsigned)digit >= base)
            return ERR_SYNTAX;
        if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, (unsigned)digit, &v) ||
            v > max)
            return ERR_SYNTAX;
    }
    *ret = v;
    return OK;
}

enum err span_u64(struct span s, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;

    if (s.n == 0 || s.n > 19) /* 19 digits cannot overflow; more are seldom, and may begin with 0 */
        return parse_u64(s, 10, max, ret);
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';

        if (digit > 9)
            return ERR_SYNTAX;
        v = v * 10 + digit;
    }
    if (v > max)
        return ERR_SYNTAX;
    *ret = v;
    return OK;
}

enum err span_hex_u64(struct span s, uint64_t max, uint64_t *ret)
{
    return parse_u64(s, 16, max, ret);
}

/* Offset of the comma that ends the first element of |s|; commas inside a quoted-string do not
 * count. */
static size_t list_element_end(struct span s)
{
    bool quoted = false;

    for (size_t i = 0; i < s.n; i++) {
        if (quoted && s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            quoted = !quoted;
        else if (s.p[i] == ',' && !quoted)
            return i;
    }
    return s.n;
}

bool span_list_next(struct span *rest, struct span *ret)
{
    while (rest->n) {
        size_t end = list_element_end(*rest);
        struct span element = span_trim(span_sub(*rest, 0, end));

        *rest = end < rest->n ? span_sub(*rest, end + 1, SIZE_MAX) : SPAN_NONE;
        if (element.n) {
            *ret = element;
            return true;
        }
    }
    return false;
}

size_t span_copy(struct span s, char *dst, size_t cap)
{
    size_t n = s.n < cap ? s.n : cap - (cap > 0);

    if (cap == 0)
        return 0;
    if (n)
        memcpy(dst, s.p, n);
    dst[n] = '\0';
    return n;
}

char *span_dup(struct span s)
{
    char *copy = malloc(s.n + 1);

    if (copy)
        (void)span_copy(s, copy, s.n + 1);
    return copy;
}

/* A table: names in heads are looked at byte by byte. */
bool char_is_token(unsigned char c)
{
    static const bool tchar[256] = {
        ['!'] = 1, ['#' ... '\''] = 1, ['*'] = 1, ['+'] = 1,         ['-'] = 1,
        ['.'] = 1, ['0' ... '9'] = 1,  ['^'] = 1, ['A' ... 'Z'] = 1, ['_'] = 1,
        ['`'] = 1, ['a' ... 'z'] = 1,  ['|'] = 1, ['~'] = 1,
    };

    return tchar[c];
}

bool span_is_token(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_token((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

bool span_is_field_value(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}
