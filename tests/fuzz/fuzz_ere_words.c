/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_ere_words.c - an expression, a line feed, a text: where the library finds something, one of
 * the words is there. */
#include <stdlib.h>
#include <string.h>

#include <regex.h>

#include "worker/ere_words.h"
#include "worker/magic_words.h"

#define PATTERN_MAX 48u
#define TEXT_MAX    256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Counts in counts, repeated repetitions and references back take the library hours. */
static bool is_cheap(struct span pattern)
{
    unsigned counts = 0;

    for (size_t i = 0; i < pattern.n; i++) {
        char c = pattern.p[i], next = i + 1 < pattern.n ? pattern.p[i + 1] : '\0';

        counts += c == '{';
        if ((memchr("*+?{}", c, 5) && memchr("*+?{}", next, 5)) ||
            (c == '\\' && next >= '0' && next <= '9'))
            return false;
    }
    return counts < 2;
}

static bool has_word(const struct ere_words *w, struct span text)
{
    for (unsigned i = 0; i < w->n; i++) {
        const struct magic_word word = {.to = MAGIC_WORD_NO_END, .is = w->v[i]};

        if (magic_word_is_in(&word, text))
            return true;
    }
    return w->n == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {(const char *)data, size}, pattern = span_cut(&rest, '\n');
    char p[PATTERN_MAX + 1], text[TEXT_MAX + 1];
    struct ere_words words;
    regmatch_t at;
    regex_t compiled;

    ere_words(pattern, &words);
    if (words.n > ERE_WORDS_MAX)
        abort();
    (void)span_copy(pattern, p, sizeof p);
    (void)span_copy(rest, text, sizeof text);
    if (strlen(p) != pattern.n || !is_cheap(pattern) ||
        regcomp(&compiled, p, REG_EXTENDED | REG_NEWLINE) != 0)
        return 0;
    if (regexec(&compiled, text, 1, &at, 0) == 0 && !has_word(&words, span_of(text)))
        abort();
    regfree(&compiled);
    return 0;
}
