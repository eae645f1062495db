/* SPDX-License-Identifier: Apache-2.0 */
/* Many words found in one pass, and each alone: where they may stand, in which case, how often; and
 * on random texts, that both ways agree with the slowest one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"
#include "worker/magic_words.h"

#define WORDS_MAX 64u
#define ROUNDS    300u

static struct magic_word word(const char *bytes, uint32_t from, uint32_t to, enum ere_place place)
{
    struct magic_word w = {
        .from = from, .to = to, .flags = 1, .is = {.place = (uint8_t)place, .times = 1}
    };

    w.is.n = (uint8_t)span_copy(span_of(bytes), w.is.bytes, ERE_WORD_LEN_MAX);
    return w;
}

static void note(void *ctx, uint32_t id)
{
    bool *found = ctx;

    found[id] = true;
}

/* Whether the one word is found in |text|: together with others, and alone. */
static bool is_found(struct magic_word w, const char *text)
{
    struct magic_words *words = magic_words_new();
    struct guard g = guard_new(strlen(text));
    struct span file = guard_span(&g, span_of(text));
    bool found[2] = {false};

    assert_non_null(words);
    w.id = 1;
    assert_true(magic_words_add(words, &w));
    w.id = 0;
    w.is.bytes[0] = '\x7f';
    assert_true(magic_words_add(words, &w));
    assert_true(magic_words_ready(words));
    magic_words_find(words, file, 1, note, found);
    assert_false(found[0]);
    assert_int_equal(magic_word_is_in(&w, file), false);
    magic_words_find(words, file, 2, note, found + 1);
    magic_words_free(words);
    guard_free(&g);
    return found[1];
}

static void expect(struct magic_word w, const char *text, bool found)
{
    if (is_found(w, text) != found || magic_word_is_in(&w, span_of(text)) != found)
        fail_msg("'%.*s' in '%s': %d and %d", (int)w.is.n, w.is.bytes, text, is_found(w, text),
                 magic_word_is_in(&w, span_of(text)));
}

static const char *const lengths[] = {"x", "xy", "xyz", "xyzabc"};

static void test_windows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        const char *w = lengths[i];
        uint32_t n = (uint32_t)strlen(w);

        expect(word(w, 0, MAGIC_WORD_NO_END, ERE_ANYWHERE), "aaxyzabc", true);
        expect(word(w, 2, 2 + n, ERE_ANYWHERE), "aaxyzabc", true);
        expect(word(w, 3, MAGIC_WORD_NO_END, ERE_ANYWHERE), "aaxyzabc", false);
        expect(word(w, 0, 1 + n, ERE_ANYWHERE), "aaxyzabc", false);
        expect(word(w, 0, n, ERE_ANYWHERE), "xyzabc", true);
        expect(word(w, 1, 1 + n, ERE_ANYWHERE), "axyzabc", true);
        expect(word(w, 100, 100 + n, ERE_ANYWHERE), "xyzabc", false);
        expect(word(w, 0, MAGIC_WORD_NO_END, ERE_ANYWHERE), "", false);
        expect(word(w, 0, MAGIC_WORD_NO_END, ERE_ANYWHERE), "XYZABC", false);
        expect(word(w, 0, MAGIC_WORD_NO_END, ERE_ANYWHERE), "aaaaaaaaa", false);
    }
}

static void test_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct magic_word at = word(lengths[i], 0, MAGIC_WORD_NO_END, ERE_LINE_START);
        struct magic_word behind = word(lengths[i], 0, MAGIC_WORD_NO_END, ERE_AFTER_BLANKS);
        struct magic_word later = word(lengths[i], 2, MAGIC_WORD_NO_END, ERE_LINE_START);

        expect(at, "xyzabc", true);
        expect(behind, "xyzabc", true);
        expect(at, "a\nxyzabc", true);
        expect(behind, "a\nxyzabc", true);
        expect(at, "a\n xyzabc", false);
        expect(behind, "a\n \t\r\v\fxyzabc", true);
        expect(behind, "  xyzabc", true);
        expect(behind, "a xyzabc", false);
        expect(at, "a\rxyzabc", false);
        expect(at, "axyzabc", false);
        expect(behind, "axyzabc", false);
        expect(at, "axyzabc xyzabc\nb\n\nxyzabc", true);
        expect(behind, "axyzabc xyzabc\nb\n\n   xyzabc", true);
        /* Where it may stand first is the beginning of a text. */
        expect(later, "abxyzabc", true);
        expect(later, "abcxyzabc", false);
    }
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        for (int place = ERE_ANYWHERE; place <= ERE_LINE_START; place++) {
            struct magic_word w = word(lengths[i], 0, MAGIC_WORD_NO_END, (enum ere_place)place);
            struct magic_word there =
                word(lengths[i], 0, (uint32_t)strlen(lengths[i]), (enum ere_place)place);

            w.is.fold = there.is.fold = true;
            expect(w, "xyzabc", true);
            expect(w, "a\nXYZABC", true);
            expect(there, "XyZaBc", true);
            expect(w, "8\x19\x1a\x01\x02\x03", false); /* that is x, without a bit */
        }
}

static void test_times(void **state)
{
    struct magic_word w = word("\t", 0, MAGIC_WORD_NO_END, ERE_ANYWHERE);

    (void)state;
    w.is.times = 3;
    expect(w, "a\tb\tc\td", true);
    expect(w, "\t\t\t", true);
    expect(w, "a\tb\tc", false);
    expect(w, "a\tb\tc\n\td", false);
    expect(w, "a\n\tb\tc\td\n", true);
}

/* ---- all of them, against one letter after the other ---- */

static uint32_t seed = 1;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(seed ^ seed >> 15) * below) >> 32);
}

static void random_text(char *p, uint32_t n)
{
    static const char letters[] = "aabbcAB \n\t";

    for (uint32_t i = 0; i < n; i++)
        p[i] = letters[next_random(sizeof letters - 1)];
    p[n] = '\0';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool slow_is_at(const struct magic_word *w, const char *text, uint32_t at)
{
    for (uint32_t i = 0; i < w->is.n; i++)
        if (w->is.fold ? char_lower(text[at + i]) != char_lower(w->is.bytes[i])
                       : text[at + i] != w->is.bytes[i])
            return false;
    if (w->is.place == ERE_ANYWHERE)
        return true;
    while (w->is.place == ERE_AFTER_BLANKS && at > w->from && is_blank(text[at - 1]))
        at--;
    return at == w->from || text[at - 1] == '\n';
}

static bool slow_is_in(const struct magic_word *w, const char *text, uint32_t n)
{
    for (uint32_t at = w->from; at + w->is.n <= n && at + w->is.n <= w->to; at++)
        if (slow_is_at(w, text, at))
            return true;
    return false;
}

static struct magic_word random_word(void)
{
    char bytes[8];
    struct magic_word w;

    random_text(bytes, 1 + next_random(5));
    w = word(bytes, next_random(3) ? 0 : next_random(40), MAGIC_WORD_NO_END,
             (enum ere_place)next_random(3));
    if (next_random(2))
        w.to = w.from + w.is.n + next_random(3) * next_random(30);
    w.is.fold = next_random(2);
    w.flags = (uint8_t)(1 + next_random(3));
    return w;
}

static void check_round(void)
{
    struct magic_words *words = magic_words_new();
    struct magic_word all[WORDS_MAX];
    char text[200];
    uint32_t n = next_random(sizeof text - 1);

    assert_non_null(words);
    random_text(text, n);
    for (uint32_t i = 0; i < WORDS_MAX; i++) {
        all[i] = random_word();
        all[i].id = i;
        assert_true(magic_words_add(words, &all[i]));
    }
    assert_true(magic_words_ready(words));
    for (unsigned flags = 1; flags <= 3; flags++) {
        bool found[WORDS_MAX] = {false};

        magic_words_find(words, (struct span){text, n}, flags, note, found);
        for (uint32_t i = 0; i < WORDS_MAX; i++) {
            bool is_in = slow_is_in(&all[i], text, n);

            bool alone = magic_word_is_in(&all[i], (struct span){text, n});

            if (alone != is_in || found[i] != (is_in && (all[i].flags & flags)))
                fail_msg("'%.*s', from %u to %u, place %d, in '%s' (%u): %d, alone %d, in fact %d",
                         (int)all[i].is.n, all[i].is.bytes, all[i].from, all[i].to, all[i].is.place,
                         text, n, found[i], alone, is_in);
        }
    }
    magic_words_free(words);
}

static void test_random(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++)
        check_round();
}

/* Far behind most words; and a text that has nothing but beginnings of words in it. */
static void test_far(void **state)
{
    static char text[100000];
    struct magic_words *words = magic_words_new();
    struct magic_word near = word("nearby", 0, 8192, ERE_ANYWHERE);
    struct magic_word far = word("faraway", 0, MAGIC_WORD_NO_END, ERE_ANYWHERE);
    bool found[2] = {false};

    (void)state;
    assert_non_null(words);
    for (size_t i = 0; i + 4 <= sizeof text; i += 4)
        memcpy(text + i, "near", 4);
    far.id = 1;
    assert_true(magic_words_add(words, &near));
    assert_true(magic_words_add(words, &far));
    assert_true(magic_words_ready(words));
    magic_words_find(words, (struct span){text, sizeof text}, 1, note, found);
    assert_false(found[0] || found[1]);
    memcpy(text + sizeof text - 7, "faraway", 7);
    memcpy(text + 8187, "nearby", 6);
    magic_words_find(words, (struct span){text, sizeof text}, 1, note, found);
    assert_false(found[0]);
    assert_true(found[1]);
    magic_words_free(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows), cmocka_unit_test(test_lines),  cmocka_unit_test(test_cases),
        cmocka_unit_test(test_times),   cmocka_unit_test(test_random), cmocka_unit_test(test_far),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
