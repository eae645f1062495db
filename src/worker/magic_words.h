/* SPDX-License-Identifier: Apache-2.0 */
/* magic_words.h - finds which of many words stand in a file, in one pass. */
#ifndef WORKER_MAGIC_WORDS_H
#define WORKER_MAGIC_WORDS_H

#include "worker/ere_words.h"

#define MAGIC_WORD_NO_END UINT32_MAX

struct magic_word {
    uint32_t from, to; /* it lies between these bytes; |to| may be MAGIC_WORD_NO_END */
    uint8_t flags;     /* it is looked for when one of these is asked for */
    uint32_t id;       /* the caller's */
    struct ere_word is;
};

struct magic_words;
typedef void magic_words_found(void *ctx, uint32_t id);

NODISCARD struct magic_words *magic_words_new(void);
void magic_words_free(struct magic_words *w);
/* False when out of memory. |is| is not empty. */
NODISCARD bool magic_words_add(struct magic_words *w, const struct magic_word *word);
/* Once, when all are there. */
NODISCARD bool magic_words_ready(struct magic_words *w);
/* Calls |found| for each word of |flags| that stands in |file|, perhaps more than once. */
void magic_words_find(const struct magic_words *w, struct span file, unsigned flags,
                      magic_words_found *found, void *ctx);
/* One word alone. */
bool magic_word_is_in(const struct magic_word *w, struct span file);

#endif
