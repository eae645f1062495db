/* SPDX-License-Identifier: Apache-2.0 */
/* head_find.c - looking for bytes in heads: SSE2 and scalar twins. */
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/span.h"
#include "http/head_int.h"

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

size_t head_token_len_scalar(const char *p, size_t n)
{
    size_t i = 0;

    while (i < n && char_is_token((unsigned char)p[i]))
        i++;
    return i;
}

size_t head_plain_end_scalar(const char *p, size_t n)
{
    bool cr = false;
    size_t line = 0; /* where the current one began */

    for (size_t i = 0; i < n; i++) {
        if ((p[i] == '\n') != cr ||
            (is_control((unsigned char)p[i]) && !is_stop((unsigned char)p[i])))
            return 0;
        if (p[i] == '\0')
            return 0;
        cr = p[i] == '\r';
        if (p[i] != '\n')
            continue;
        if (i - line == 1 && line > 0)
            return i + 1;
        line = i + 1;
    }
    return 0;
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

/* Bit i: byte i of the 16 at |p| is a control byte. */
static inline unsigned control_bytes(const char *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* unsigned x <= 0x1f */
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    __m128i tab = _mm_cmpeq_epi8(x, _mm_set1_epi8('\t'));

    low = _mm_or_si128(_mm_andnot_si128(tab, low), _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f)));
    return (unsigned)_mm_movemask_epi8(low);
}

/* The last bytes of a text, fewer than 16. Apart, for most searches end before. */
static __attribute__((noinline)) size_t find_control_tail(const char *p, size_t n)
{
    char tail[16] = {0};

    memcpy(tail, p, n); /* the NUL behind it is a control byte: a hit at |n| */
    return (size_t)__builtin_ctz(control_bytes(tail));
}

size_t head_find_control(const char *p, size_t n)
{
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        unsigned hits = control_bytes(p + i);

        if (hits)
            return i + (size_t)__builtin_ctz(hits);
    }
    return i == n ? n : i + find_control_tail(p + i, n - i);
}

/* Bit i: byte i of the 16 at |p| is a letter, a digit or "-", as nearly all of field names are. */
static inline unsigned name_bytes(const char *p)
{
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* Unsigned: what is not below the first of a range, moved to 0, and within its width. */
    const __m128i letter = _mm_sub_epi8(_mm_or_si128(x, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    const __m128i digit = _mm_sub_epi8(x, _mm_set1_epi8('0'));
    __m128i name = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);

    name = _mm_or_si128(name, _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit));
    name = _mm_or_si128(name, _mm_cmpeq_epi8(x, _mm_set1_epi8('-')));
    return (unsigned)_mm_movemask_epi8(name);
}

size_t head_token_len(const char *p, size_t n)
{
    size_t i = 0;

    if (n >= 16) {
        unsigned others = ~name_bytes(p) & 0xffff;

        i = others ? (size_t)__builtin_ctz(others) : 16;
    }
    return i + head_token_len_scalar(p + i, n - i);
}

/* What head_plain_end() carries from one step to the next. */
struct plain_scan {
    unsigned cr; /* bit 0: the byte before was a CR */
    unsigned lf; /* bits 0, 1: the two bytes before were LFs */
};

/* 16 bytes with a control byte among them, or behind a CR. 0: go on. > 0: the head ends behind so
 * many of them. < 0: something is odd. |low|: the bytes that are control bytes. */
static int line_step(struct plain_scan *s, __m128i x, unsigned low)
{
    unsigned cr = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('\r')));
    unsigned lf = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('\n')));
    unsigned tab = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('\t')));
    unsigned odd = (low & ~(cr | lf | tab)) | (((cr << 1 | s->cr) & 0xffff) ^ lf);
    unsigned end = lf & (lf << 2 | s->lf); /* two LFs with one byte, a CR, between them */

    if (end) {
        end &= 0 - end; /* the first; nothing behind it counts */
        odd &= end | (end - 1);
    }
    s->cr = cr >> 15;
    s->lf = lf >> 14;
    if (odd)
        return -1;
    return end ? __builtin_ctz(end) + 1 : 0;
}

static inline int plain_step(struct plain_scan *s, const char *p)
{
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    unsigned low =
        (unsigned)_mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f))));

    if (low | s->cr)
        return line_step(s, x, low);
    s->lf = 0;
    return 0;
}

size_t head_plain_end(const char *p, size_t n)
{
    struct plain_scan s = {0};
    size_t i = 0;
    int step = 0;

    for (; n - i >= 16 && step == 0; i += 16)
        step = plain_step(&s, p + i);
    if (step == 0 && i < n) {
        char tail[16];

        /* Letters behind the end: a CR that waits for its LF makes no head end here either. */
        memset(tail, 'x', sizeof tail);
        memcpy(tail, p + i, n - i);
        step = plain_step(&s, tail);
        i += 16;
    }
    return step > 0 ? i - 16 + (size_t)step : 0;
}
#else
size_t head_token_len(const char *p, size_t n)
{
    return head_token_len_scalar(p, n);
}

size_t head_plain_end(const char *p, size_t n)
{
    return head_plain_end_scalar(p, n);
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
