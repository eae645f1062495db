/* SPDX-License-Identifier: Apache-2.0 */
#include "base/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct reader reader_of(const void *p, size_t n)
{
    static const uint8_t nothing[1];

    return (struct reader){.p = p ? p : nothing, .n = n};
}

size_t reader_left(const struct reader *r)
{
    return r->err ? 0 : r->n - r->off;
}

struct span read_span(struct reader *r, size_t n)
{
    if (r->err || n > r->n - r->off) {
        r->err = ERR_SYNTAX;
        return SPAN_NONE;
    }
    struct span s = {(const char *)r->p + r->off, n};

    r->off += n;
    return s;
}

static uint64_t read_uint(struct reader *r, size_t n)
{
    struct span s = read_span(r, n);
    uint64_t v = 0;

    for (size_t i = 0; i < s.n; i++)
        v = v << 8 | (uint8_t)s.p[i];
    return v;
}

uint8_t read_u8(struct reader *r)
{
    return (uint8_t)read_uint(r, 1);
}

uint16_t read_u16(struct reader *r)
{
    return (uint16_t)read_uint(r, 2);
}

uint32_t read_u32(struct reader *r)
{
    return (uint32_t)read_uint(r, 4);
}

uint64_t read_u64(struct reader *r)
{
    return read_uint(r, 8);
}

struct writer writer_of(void *p, size_t cap)
{
    return (struct writer){.p = p, .cap = cap};
}

static void write_uint(struct writer *w, uint64_t v, size_t n)
{
    char bytes[8];

    for (size_t i = n; i > 0; i--, v >>= 8)
        bytes[i - 1] = (char)(v & 0xff);
    write_span(w, (struct span){bytes, n});
}

void write_u8(struct writer *w, uint8_t v)
{
    write_uint(w, v, 1);
}

void write_u16(struct writer *w, uint16_t v)
{
    write_uint(w, v, 2);
}

void write_u32(struct writer *w, uint32_t v)
{
    write_uint(w, v, 4);
}

void write_u64(struct writer *w, uint64_t v)
{
    write_uint(w, v, 8);
}

static void write_digits(struct writer *w, uint64_t v, unsigned base)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    write_span(w, (struct span){digits + at, sizeof digits - at});
}

void write_dec(struct writer *w, uint64_t v)
{
    write_digits(w, v, 10);
}

void write_hex(struct writer *w, uint64_t v)
{
    write_digits(w, v, 16);
}

void write_fmt(struct writer *w, const char *fmt, ...)
{
    char *at = w->p ? (char *)w->p + w->n : NULL;
    va_list ap;
    int n;

    if (w->err)
        return;
    va_start(ap, fmt);
    n = vsnprintf(at, w->cap - w->n, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= w->cap - w->n) /* the closing NUL needs room, too */
        w->err = ERR_LIMIT;
    else
        w->n += (size_t)n;
}

struct span writer_span(const struct writer *w)
{
    return (struct span){(const char *)w->p, w->n};
}
