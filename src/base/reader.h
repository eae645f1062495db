/* SPDX-License-Identifier: Apache-2.0 */
/* reader.h, writer: cursors over bytes with a sticky error. The parser reads like the RFC's table
 * and checks once, at the end: after the first over-read every call is a no-op that returns zero or
 * the empty span. Integers are big-endian (network order). */
#ifndef BASE_READER_H
#define BASE_READER_H

#include "base/span.h"

struct reader {
    const uint8_t *p;
    size_t n;
    size_t off;
    enum err err; /* OK or ERR_SYNTAX, sticky */
};

struct reader reader_of(const void *p, size_t n);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
struct span read_span(struct reader *r, size_t n);
size_t reader_left(const struct reader *r);

/* Writes into the caller's memory; going over |cap| sets the sticky error ERR_LIMIT and writes
 * nothing more. */
struct writer {
    uint8_t *p;
    size_t cap;
    size_t n;
    enum err err;
};

struct writer writer_of(void *p, size_t cap);
void write_u8(struct writer *w, uint8_t v);
void write_u16(struct writer *w, uint16_t v);
void write_u32(struct writer *w, uint32_t v);
void write_u64(struct writer *w, uint64_t v);
static inline void write_span(struct writer *w, struct span s)
{
    if (w->err || s.n > w->cap - w->n) {
        w->err = ERR_LIMIT;
        return;
    }
    if (s.n)
        memcpy(w->p + w->n, s.p, s.n);
    w->n += s.n;
}
static inline void write_text(struct writer *w, const char *text)
{
    write_span(w, span_of(text));
}
void write_dec(struct writer *w, uint64_t v);
void write_hex(struct writer *w, uint64_t v);
PRINTF(2, 3) void write_fmt(struct writer *w, const char *fmt, ...);
struct span writer_span(const struct writer *w);

#endif
