/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <math.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/utf8.h"

#define STEP 16u /* bytes looked at together */
#define HALF 8u  /* and at the end */

struct json json_to(struct buf *out)
{
    return (struct json){.out = out};
}

/* ---- strings ---- */

/* Printable ASCII that stands for itself in a string. */
static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

#ifdef __SSE2__
static inline unsigned odd_mask(__m128i x)
{
    /* Signed: bytes from 0x80 on are below 0x20, too. */
    __m128i odd = _mm_cmplt_epi8(x, _mm_set1_epi8(0x20));

    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8('"')));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f)));
    return (unsigned)_mm_movemask_epi8(odd);
}

/* Bit i: byte i of the 16 at |p| is not plain. */
static inline unsigned odd_bytes(const char *p)
{
    return odd_mask(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* The same of 8. */
static inline unsigned odd_half(const char *p)
{
    return odd_mask(_mm_loadl_epi64((const __m128i *)(const void *)p)) & 0xff;
}
#else
static unsigned odd_of(const char *p, unsigned n)
{
    unsigned odd = 0;

    for (unsigned i = 0; i < n; i++)
        odd |= (is_plain((unsigned char)p[i]) ? 0u : 1u) << i;
    return odd;
}

static unsigned odd_bytes(const char *p)
{
    return odd_of(p, STEP);
}

static unsigned odd_half(const char *p)
{
    return odd_of(p, HALF);
}
#endif

/* The rest of a text of HALF bytes at least, from |i| on: its last half step may begin before. */
static size_t plain_rest(struct span v, size_t i)
{
    unsigned odd;

    if (v.n - i > HALF) {
        odd = odd_half(v.p + i);
        if (odd)
            return i + (unsigned)__builtin_ctz(odd);
    }
    odd = odd_half(v.p + v.n - HALF);
    return odd ? v.n - HALF + (unsigned)__builtin_ctz(odd) : v.n;
}

size_t json_plain_len(struct span v)
{
    size_t i = 0;

    for (; v.n - i >= STEP; i += STEP) {
        unsigned odd = odd_bytes(v.p + i);

        if (odd)
            return i + (unsigned)__builtin_ctz(odd);
    }
    if (v.n >= HALF)
        return plain_rest(v, i);
    while (i < v.n && is_plain((unsigned char)v.p[i]))
        i++;
    return i;
}

/* The character at the front of |v|, which is not plain ASCII. Returns how many bytes it is. */
static size_t escape_one(struct buf *out, struct span v)
{
    unsigned char c = (unsigned char)v.p[0];
    size_t len = utf8_len(v);

    if (len == 0) {
        buf_text(out, "\\ufffd");
        return 1;
    }
    if (c == '"' || c == '\\') {
        buf_char(out, '\\');
        buf_char(out, (char)c);
    } else if (len == 1) {
        buf_fmt(out, "\\u%04x", c);
    } else if (len == 2 && c == 0xc2 && (unsigned char)v.p[1] < 0xa0) {
        /* C1 controls (U+0080..U+009F): a terminal that shows a record may obey them. */
        buf_fmt(out, "\\u%04x", (unsigned char)v.p[1]);
    } else {
        buf_add(out, span_sub(v, 0, len));
    }
    return len;
}

/* The rest of a string, which begins with a character that is not plain. */
static void escape_rest(struct buf *out, struct span v)
{
    while (v.n) {
        size_t plain;

        v = span_sub(v, escape_one(out, v), SIZE_MAX);
        plain = json_plain_len(v);
        buf_add(out, span_sub(v, 0, plain));
        v = span_sub(v, plain, SIZE_MAX);
    }
    buf_char(out, '"');
}

/* ---- members ---- */

static char *put(char *p, struct span s)
{
    if (s.n)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

void json_put_open(struct json *j, struct span key, char bracket)
{
    char *p = json_begin(j, key, 1);

    if (!p)
        return;
    *p++ = bracket;
    json_end(j, p);
    j->comma = false;
}

void json_close(struct json *j, char bracket)
{
    buf_char(j->out, bracket);
    j->comma = true;
}

void json_put_span(struct json *j, struct span key, struct span v)
{
    size_t plain = json_plain_len(v);
    char *p = json_begin(j, key, plain + 2);

    if (!p)
        return;
    *p++ = '"';
    p = put(p, (struct span){v.p, plain});
    if (plain == v.n) {
        *p++ = '"';
        json_end(j, p);
        return;
    }
    json_end(j, p);
    escape_rest(j->out, span_sub(v, plain, SIZE_MAX));
}

static void put_word(struct json *j, struct span key, struct span word)
{
    char *p = json_begin(j, key, word.n);

    if (p)
        json_end(j, put(p, word));
}

void json_put_null(struct json *j, struct span key)
{
    put_word(j, key, SPAN("null"));
}

void json_put_bool(struct json *j, struct span key, bool v)
{
    put_word(j, key, v ? SPAN("true") : SPAN("false"));
}

/* |negative|: with a sign before it. */
static void put_number(struct json *j, struct span key, bool negative, uint64_t v)
{
    char digits[21];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    if (negative)
        digits[--at] = '-';
    put_word(j, key, (struct span){digits + at, sizeof digits - at});
}

void json_put_u64(struct json *j, struct span key, uint64_t v)
{
    put_number(j, key, false, v);
}

void json_put_i64(struct json *j, struct span key, int64_t v)
{
    put_number(j, key, v < 0, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* In every record: no printf. */
void json_put_milli(struct json *j, struct span key, uint64_t v)
{
    const unsigned part = (unsigned)(v % 1000);
    const char decimals[] = {'.', (char)('0' + part / 100), (char)('0' + part / 10 % 10),
                             (char)('0' + part % 10)};

    json_put_u64(j, key, v / 1000);
    buf_add(j->out, (struct span){decimals, sizeof decimals});
}

void json_put_float(struct json *j, struct span key, double v)
{
    put_word(j, key, SPAN_NONE);
    buf_fmt(j->out, "%.2f", isfinite(v) ? v : 0.0);
}
