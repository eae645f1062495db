/* SPDX-License-Identifier: Apache-2.0 */
/* encoded_word.h - RFC 2047 2: "=?charset?encoding?encoded-text?=", how mail writes letters that
 * are not in ASCII. HTTP has no such thing, and many readers undo it all the same. */
#ifndef BASE_ENCODED_WORD_H
#define BASE_ENCODED_WORD_H

#include "base/span.h"

struct encoded_word {
    struct span charset; /* without a language (RFC 2231 5) */
    bool base64;         /* else quoted-printable, as the RFC changes it */
    struct span text;
};

/* Is the front of one ("=?charset?Q?") anywhere in |s|? What follows may be anything: readers do
 * not agree on what they still take for a word. */
bool encoded_word_is_in(struct span s);
/* The same at the start of |s|. */
bool encoded_word_begins(struct span s);
/* The whole word at the start of |s|, to the first "?=". *ret_len: its bytes. False: there is none,
 * or it has no end. Lengths and blanks inside are not looked at. */
bool encoded_word_parse(struct span s, struct encoded_word *ret, size_t *ret_len);

/* What it stands for, byte by byte, in its charset. */
struct encoded_word_reader {
    struct span rest;
    bool base64;
    unsigned bits, n_bits; /* base64: not given out yet */
    bool padded;           /* base64: a '=' came, nothing else may */
};
void encoded_word_read(struct encoded_word_reader *r, const struct encoded_word *w);
#define ENCODED_WORD_END (-1)
#define ENCODED_WORD_BAD (-2) /* it is not in its encoding */
int encoded_word_next(struct encoded_word_reader *r);

#endif
