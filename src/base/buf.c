/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

#define BUF_FIRST_CAP 256u

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_init_on(struct buf *b, char *room, size_t cap, size_t max)
{
    *b = (struct buf){.p = room, .cap = cap, .max = max, .borrowed = true};
}

void buf_init_secret(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max, .secret = true};
}

/* Gives back what |b| stands on. */
static void leave(const struct buf *b)
{
    if (b->secret && b->p)
        explicit_bzero(b->p, b->cap);
    if (!b->borrowed)
        free(b->p);
}

void buf_done(struct buf *b)
{
    leave(b);
    *b = (struct buf){.max = b->max, .secret = b->secret};
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->err = OK;
}

static char *buf_fail(struct buf *b, enum err e)
{
    b->err = e;
    return NULL;
}

/* |cap| bytes of the heap with what is there; NULL without memory. */
static char *move_to(const struct buf *b, size_t cap)
{
    char *p;

    if (mem_fail_now())
        return NULL;
    if (!b->borrowed && !b->secret)
        return realloc(b->p, cap);
    p = malloc(cap);
    if (!p)
        return NULL;
    if (b->p)
        memcpy(p, b->p, b->n);
    leave(b);
    return p;
}

char *buf_grow(struct buf *b, size_t n)
{
    size_t need, cap = b->cap ? b->cap : BUF_FIRST_CAP;
    char *p;

    if (b->err)
        return NULL;
    if (__builtin_add_overflow(b->n, n, &need) || (b->max && need > b->max))
        return buf_fail(b, ERR_LIMIT);
    if (need <= b->cap && b->p) /* never NULL + 0, and NULL means an error */
        return b->p + b->n;
    while (cap < need)
        if (__builtin_mul_overflow(cap, 2, &cap))
            return buf_fail(b, ERR_LIMIT);
    p = move_to(b, cap);
    if (!p)
        return buf_fail(b, ERR_NOMEM);
    b->p = p;
    b->cap = cap;
    b->borrowed = false;
    return b->p + b->n;
}

void buf_dec(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, (struct span){digits + at, sizeof digits - at});
}

void buf_vfmt(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        return;
    /* vsnprintf writes a closing NUL, which the limit does not count. */
    size_t max = b->max;
    if (max)
        b->max = max + 1;
    char *room = buf_reserve(b, (size_t)n + 1);
    b->max = max;
    if (room && max && b->n + (size_t)n > max)
        room = buf_fail(b, ERR_LIMIT);
    if (room) {
        (void)vsnprintf(room, (size_t)n + 1, fmt, ap);
        b->n += (size_t)n;
    }
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vfmt(b, fmt, ap);
    va_end(ap);
}

void buf_drop(struct buf *b, size_t n)
{
    assert(n <= b->n);
    if (n)
        memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

struct span buf_span(const struct buf *b)
{
    return (struct span){b->p, b->n};
}

const char *buf_cstr(struct buf *b)
{
    size_t max = b->max;
    char *room;

    if (b->err)
        return "";
    b->max = 0;
    room = buf_reserve(b, 1);
    b->max = max;
    if (!room) {
        b->err = OK;
        return "";
    }
    *room = '\0';
    return b->p;
}
