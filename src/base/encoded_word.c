/* SPDX-License-Identifier: Apache-2.0 */
#include "base/encoded_word.h"

#define CHARSET_MAX 64u

/* ---- where it is ---- */

/* Bytes of "=?charset?Q?", or 0. */
static size_t front_len(struct span s)
{
    size_t at = 2;
    char encoding;

    if (!span_starts(s, SPAN("=?")))
        return 0;
    while (at < s.n && at < 2 + CHARSET_MAX && s.p[at] != '?' && (unsigned char)s.p[at] > ' ')
        at++;
    if (at == 2 || s.n - at < 3 || s.p[at] != '?' || s.p[at + 2] != '?')
        return 0;
    encoding = char_lower(s.p[at + 1]);
    return encoding == 'q' || encoding == 'b' ? at + 3 : 0;
}

bool encoded_word_begins(struct span s)
{
    return front_len(s) > 0;
}

bool encoded_word_is_in(struct span s)
{
    for (size_t at = span_find(s, '='); at < s.n; at = span_find(s, '=')) {
        s = span_sub(s, at, SIZE_MAX);
        if (front_len(s))
            return true;
        s = span_sub(s, 1, SIZE_MAX);
    }
    return false;
}

bool encoded_word_parse(struct span s, struct encoded_word *ret, size_t *ret_len)
{
    size_t front = front_len(s);
    struct span charset, text = span_sub(s, front, SIZE_MAX);
    size_t n = span_find(text, '?');

    if (front == 0 || !span_starts(span_sub(text, n, SIZE_MAX), SPAN("?=")))
        return false;
    charset = span_sub(s, 2, front - 5);
    *ret = (struct encoded_word){
        .charset = span_sub(charset, 0, span_find(charset, '*')),
        .base64 = char_lower(s.p[front - 2]) == 'b',
        .text = span_sub(text, 0, n),
    };
    *ret_len = front + n + 2;
    return true;
}

/* ---- what it says ---- */

void encoded_word_read(struct encoded_word_reader *r, const struct encoded_word *w)
{
    *r = (struct encoded_word_reader){.rest = w->text, .base64 = w->base64};
}

static int take(struct encoded_word_reader *r)
{
    unsigned char c = (unsigned char)r->rest.p[0];

    r->rest = span_sub(r->rest, 1, SIZE_MAX);
    return c;
}

static int hex_pair(struct encoded_word_reader *r)
{
    int high = r->rest.n >= 2 ? char_hex(r->rest.p[0]) : -1;
    int low = high >= 0 ? char_hex(r->rest.p[1]) : -1;

    if (low < 0)
        return ENCODED_WORD_BAD;
    r->rest = span_sub(r->rest, 2, SIZE_MAX);
    return high << 4 | low;
}

/* RFC 2047 4.2 */
static int next_q(struct encoded_word_reader *r)
{
    int c = take(r);

    if (c == '_')
        return ' ';
    return c == '=' ? hex_pair(r) : c;
}

/* RFC 4648 4 */
static int digit_64(int c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* With its padding or without: both are undone by some. */
static int next_b(struct encoded_word_reader *r)
{
    while (r->rest.n) {
        int c = take(r), digit = digit_64(c);

        r->padded |= c == '=';
        if (digit < 0 ? c != '=' : r->padded)
            return ENCODED_WORD_BAD;
        if (digit < 0)
            continue;
        r->bits = (r->bits << 6 | (unsigned)digit) & 0xffff;
        r->n_bits += 6;
        if (r->n_bits < 8)
            continue;
        r->n_bits -= 8;
        return (int)(r->bits >> r->n_bits & 0xff);
    }
    return r->n_bits >= 6 ? ENCODED_WORD_BAD : ENCODED_WORD_END;
}

int encoded_word_next(struct encoded_word_reader *r)
{
    if (r->base64)
        return next_b(r);
    return r->rest.n ? next_q(r) : ENCODED_WORD_END;
}
