/* SPDX-License-Identifier: Apache-2.0 */
/* Words that a regular expression cannot do without: rows of expressions, and for all those of the
 * system's magic file, that texts in which they find something have the words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <regex.h>

#include "base/buf.h"
#include "test_magic_compiled.h"
#include "worker/ere_words.h"
#include "worker/magic_words.h"

/* "abc" anywhere, "^abc" at a line's start, "~abc" behind white space, "abc/i" in any case,
 * "a*11" so often; with blanks between them. "": nothing is known. */
static void format(const struct ere_words *w, struct buf *b)
{
    static const char *const places[] = {
        [ERE_ANYWHERE] = "", [ERE_AFTER_BLANKS] = "~", [ERE_LINE_START] = "^"};

    for (unsigned i = 0; i < w->n; i++) {
        const struct ere_word *v = &w->v[i];

        buf_fmt(b, "%s%s%.*s%s", i ? " " : "", places[v->place], (int)v->n, v->bytes,
                v->fold ? "/i" : "");
        if (v->times > 1)
            buf_fmt(b, "*%u", v->times);
    }
}

/* clang-format off */
static const struct {
    const char *pattern, *words;
} rows[] = {
    {"abc", "abc"},
    {"", ""},
    {".*", ""},
    {"a.bcd", "bcd"},
    {"ab?cd", "cd"},
    {"abc*de", "ab"}, /* and "de" is no better */
    {"abc+de", "abc"},
    {"ab{0,3}cd", "cd"},
    {"abc{2}d", "abc"},
    {"a{2}", "a"},
    {"(abc)", "abc"},
    {"(abc)?de", "de"},
    {"(abc)*", ""},
    {"(abc)+", "abc"},
    {"(abc|de)x", "abc de"},
    {"(abc|de|)xyz", "xyz"},
    {"(a|)", ""},
    {"abc|def", "abc def"},
    {"abc|d.*", "abc d"},
    {"abc|.*", ""},
    {"abc|^def", "abc ^def"},
    {"a|", ""},
    {"^abc", "^abc"},
    {"^ab*c", "^a"},
    {"^(abc|de)", "^abc ^de"},
    {"x(^abc)", "^abc"},
    {"a^bc", "^bc"},
    {"^a?bc", "bc"},
    {"^[ \t]*abc", "~abc"},
    {"^[[:space:]]{0,50}(abc|def)", "~abc ~def"},
    {"^ *abc", "~abc"},
    {"^[ x]*abc", "abc"},
    {"^[^ ]abc", "abc"},
    {"[ \t]*abc", "abc"},
    {"^[Cc][ \t]", "^C/i"},
    {"^[Cc]abc", "^Cabc/i"},
    {"[Cx]abc", "abc"},
    {"[{]a", "{a"},
    {"a[]]b", "a]b"},
    {"a[^]]bc", "bc"},
    {"a[[:alpha:]]bc", "bc"},
    {"a[[.a.]]bc", "bc"},
    {"a\\.b\\(c", "a.b(c"},
    {"a\\bc\\w", "a"}, /* \b and \w are not letters */
    {"\\(a\\)\\1", "(a)"},
    {"a$b", "a"},
    {"(\t[^\t]+){11}", "\t*11"},
    {"(\t[^\t]*\n){11}", "\t"}, /* not on one line */
    {"(\t[[:space:]]){11}", "\t"},
    {"(\t\\s){11}", "\t"},
    {"(\t[ -~\t]){11}", "\t"},
    {"(ab[^\t]+){11}", "ab"},
    {"((a)b){3}", "b*3"},
    {"(\t.){300}", "\t*250"},
    {"(\t.){2}{3}", "\t"},
    {"(\t.){0}", ""},
    {"(\t.){0}{3}ab", "ab"},
    {"(\t.)*+ab", "ab"},
    {"(abc", ""}, /* what is wrong says nothing */
    {"abc)", ""},
    {"abc[", ""},
    {"abc[[:alpha:", ""},
    {"abc\\", ""},
    {"*abc", ""},
    {"abc{", ""},
    {"abc{x}", ""},
    {"abc{3,2}", ""},
    {"abc{,2}", ""},
    {"abc{99999}", ""},
    {"(abc|d{)", ""},
    {"(\t|d*{){3}abc", ""},
    {"(*a)", ""},
    {"abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnopqrstuvwxyz01"},
    {"a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p", "a b c d e f g h i j k l m n o p"},
    {"a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q", ""},
    {"^(CFLAGS|VPATH|all:|\\.PRECIOUS)", "^CFLAGS ^VPATH ^all: ^.PRECIOUS"},
    {"^[!-?A-~]{1,255}(\t[^\t]+){11}", "\t*11"},
    {"module(\\.|\\[[\"'])exports.*=", "exports"},
};
/* clang-format on */

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ere_words w;
        struct buf b;

        buf_init(&b, 0);
        ere_words(span_of(rows[i].pattern), &w);
        format(&w, &b);
        if (strcmp(buf_cstr(&b), rows[i].words) != 0)
            print_error("%s:\n", rows[i].pattern);
        assert_string_equal(buf_cstr(&b), rows[i].words);
        buf_done(&b);
    }
}

static uint32_t seed = 1;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(seed ^ seed >> 15) * below) >> 32);
}

static bool has_words(const struct ere_words *w, struct span text)
{
    for (unsigned i = 0; i < w->n; i++) {
        const struct magic_word word = {.to = MAGIC_WORD_NO_END, .is = w->v[i]};

        if (magic_word_is_in(&word, text))
            return true;
    }
    return w->n == 0;
}

/* True when the expression finds something in the text. */
static bool check_text(const char *pattern, const regex_t *compiled, const struct ere_words *w,
                       const char *text)
{
    regmatch_t at;

    if (regexec(compiled, text, 1, &at, 0) != 0)
        return false;
    if (!has_words(w, span_of(text)))
        fail_msg("'%s' matches '%s', which has none of its words", pattern, text);
    return true;
}

/* Texts that are made for the expression, between others. */
static unsigned check_pattern(const char *pattern, unsigned rounds)
{
    static const char *const before[] = {"", " \t", "x", "\n", "y\n\t ", "\r"};
    unsigned matches = 0;
    struct ere_words w;
    regex_t compiled;
    char text[1024];

    if (regcomp(&compiled, pattern, REG_EXTENDED | REG_NEWLINE) != 0)
        return 0;
    ere_words(span_of(pattern), &w);
    for (unsigned i = 0; i < rounds; i++) {
        const char *first = before[next_random(ARRAY_LEN(before))];
        size_t n = strlen(first);

        memcpy(text, first, n);
        n += ere_make(pattern, text + n, 900, next_random);
        text[n] = '\0';
        matches += check_text(pattern, &compiled, &w, text);
        if (n > 0)
            text[next_random((uint32_t)n)] = (char)(1 + next_random(126));
        matches += check_text(pattern, &compiled, &w, text);
    }
    regfree(&compiled);
    return matches;
}

static void test_matches(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        (void)check_pattern(rows[i].pattern, 60);
}

static void test_system(void **state)
{
    struct magic_compiled m;
    unsigned patterns = 0, matches = 0;

    (void)state;
    MAGIC_COMPILED_NEED(&m);
    for (uint32_t i = 0; i < m.base.files[0].n_tests; i++) {
        const struct magic_entry *e = &m.base.files[0].tests[i];

        if (e->type != MAGIC_TYPE_REGEX)
            continue;
        patterns++;
        matches += check_pattern(e->value.text, 10);
    }
    magic_compiled_close(&m);
    print_message("%u expressions, %u matches\n", patterns, matches);
    assert_true(matches > patterns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_system),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
