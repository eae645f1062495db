/* SPDX-License-Identifier: Apache-2.0 */
/* span.h - a borrowed view of bytes, and the small questions one asks of text from the net. No str*
 * function ever touches such bytes: they may hold NUL and need not end. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"
#include "base/err.h"

struct span {
    const char *p;
    size_t n;
};

#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})
#define SPAN_NONE     ((struct span){NULL, 0})
#define SPAN_FMT      "%.*s"
#define SPAN_ARG(s)   ((int)(s).n), ((s).p ? (s).p : "")

/* View of a C string; NULL gives the empty span. Inline: of a literal its length is known. */
static inline struct span span_of(const char *text)
{
    return text ? (struct span){text, strlen(text)} : SPAN_NONE;
}
bool span_eq(struct span a, struct span b);
/* Equal but for the case of ASCII letters: field names, schemes, tokens. */
bool span_ieq(struct span a, struct span b);
bool span_starts(struct span s, struct span prefix);
bool span_istarts(struct span s, struct span prefix);
bool span_ends(struct span s, struct span suffix);
/* Without leading and trailing SP and HTAB (RFC 9110 5.6.3, OWS). */
struct span span_trim(struct span s);
/* Offset of |c| in |s|, or s.n. */
size_t span_find(struct span s, char c);
/* Cuts |*rest| at the first |c|: returns what stood before it, leaves what stood after it. Without
 * |c| returns all and leaves the empty span with p == NULL, so `while (rest.p)` walks "a,,b" as
 * three elements. */
struct span span_cut(struct span *rest, char c);
/* Sub-view; |off| and |n| are clamped to |s|. */
static inline struct span span_sub(struct span s, size_t off, size_t n)
{
    if (off > s.n)
        off = s.n;
    if (n > s.n - off)
        n = s.n - off;
    return (struct span){off ? s.p + off : s.p, n};
}
/* Digits only, no sign, no overflow, at most |max|. *ret is written only on OK; ERR_SYNTAX
 * otherwise. */
NODISCARD enum err span_u64(struct span s, uint64_t max, uint64_t *ret);
NODISCARD enum err span_hex_u64(struct span s, uint64_t max, uint64_t *ret);
/* Next element of a comma list (RFC 9110 5.6.1), trimmed, empty elements skipped, quoted commas
 * respected. False at the end. Start with *rest = the field value. */
bool span_list_next(struct span *rest, struct span *ret);
/* Copies into |dst| of |cap| bytes with a closing NUL, cut at cap - 1. Returns the bytes copied. */
size_t span_copy(struct span s, char *dst, size_t cap);
/* Heap copy with a closing NUL; NULL when out of memory. The caller frees it. */
char *span_dup(struct span s);

/* RFC 9110 5.6.2 tchar; a non-empty run of them. */
bool char_is_token(unsigned char c);
bool span_is_token(struct span s);
/* No control byte but HTAB (RFC 9110 5.5): what a field value may hold. */
bool span_is_field_value(struct span s);
static inline char char_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}
/* 0..15, or -1. */
int char_hex(char c);

#endif
