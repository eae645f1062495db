/* SPDX-License-Identifier: Apache-2.0 */
/* ere_words.h - words that a text cannot lack in which a POSIX extended regular expression finds
 * something. Pure. */
#ifndef WORKER_ERE_WORDS_H
#define WORKER_ERE_WORDS_H

#include "base/span.h"

#define ERE_WORDS_MAX    16u
#define ERE_WORD_LEN_MAX 28u

/* Where a word stands. */
enum ere_place {
    ERE_ANYWHERE,
    ERE_AFTER_BLANKS, /* between it and the beginning of the text, or the last line feed before it,
                         are white spaces at most */
    ERE_LINE_START,   /* and not even these */
};

struct ere_word {
    uint8_t place; /* enum ere_place */
    uint8_t times; /* so often on one line; 1 but for words of one letter */
    bool fold;     /* in letters of any case */
    uint8_t n;
    char bytes[ERE_WORD_LEN_MAX];
};

/* One of them is there; n 0: nothing is known. */
struct ere_words {
    unsigned n;
    struct ere_word v[ERE_WORDS_MAX];
};

/* |pattern| as regcomp() takes it with REG_EXTENDED | REG_NEWLINE in the C locale. What is unusual
 * in it is taken for one that says nothing. */
void ere_words(struct span pattern, struct ere_words *ret);

#endif
