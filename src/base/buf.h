/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - growable text with a hard maximum and a sticky error: heads under construction, records,
 * JSON. Not for bodies (chain.h is). */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/span.h"

struct buf {
    char *p;
    size_t n, cap;
    size_t max;    /* 0: no limit */
    enum err err;  /* OK, ERR_LIMIT or ERR_NOMEM; sticky: later calls do nothing */
    bool borrowed; /* |p| is the caller's, see buf_init_on() */
    bool secret;   /* see buf_init_secret() */
};

void buf_init(struct buf *b, size_t max);
/* Begins in |room|, |cap| bytes of the caller's that outlive the buf, and moves to the heap only
 * when they do not do: for small texts of every request. buf_done() as for any other. */
void buf_init_on(struct buf *b, char *room, size_t cap, size_t max);
/* For what nobody else may read later: wherever it was is wiped when it grows, and by buf_done().
 */
void buf_init_secret(struct buf *b, size_t max);
/* Frees the memory; usable again (on the heap). */
void buf_done(struct buf *b);
/* Empties, keeps the memory, clears the error. */
void buf_reset(struct buf *b);
/* The slow half of buf_reserve(): makes room, or says why not. */
char *buf_grow(struct buf *b, size_t n);
/* Room for |n| more bytes at p + n, or NULL (and the error is set). Commit with b->n += written. */
static inline char *buf_reserve(struct buf *b, size_t n)
{
    bool fits = b->p && n <= b->cap - b->n && (!b->max || (b->n <= b->max && n <= b->max - b->n));

    return fits && !b->err ? b->p + b->n : buf_grow(b, n);
}
static inline void buf_add(struct buf *b, struct span s)
{
    char *room = s.n ? buf_reserve(b, s.n) : NULL;

    if (room) {
        memcpy(room, s.p, s.n);
        b->n += s.n;
    }
}
static inline void buf_text(struct buf *b, const char *text)
{
    buf_add(b, span_of(text));
}
static inline void buf_char(struct buf *b, char c)
{
    char *room = buf_reserve(b, 1);

    if (room) {
        *room = c;
        b->n++;
    }
}
void buf_dec(struct buf *b, uint64_t v);
PRINTF(2, 3) void buf_fmt(struct buf *b, const char *fmt, ...);
PRINTF(2, 0) void buf_vfmt(struct buf *b, const char *fmt, va_list ap);
/* Drops the first |n| bytes. */
void buf_drop(struct buf *b, size_t n);
struct span buf_span(const struct buf *b);
/* The text with a closing NUL that does not count; "" after an error or when empty. Valid until the
 * next call. */
const char *buf_cstr(struct buf *b);

#endif
