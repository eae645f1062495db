/* SPDX-License-Identifier: Apache-2.0 */
/* The index of libmagic's tests. Tests that are made up at random are held against libmagic itself:
 * one that holds there may not be missing here. Then what the index and the files made by it do
 * with the odd ones, and with magic files that are broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <magic.h>

#include "base/buf.h"
#include "worker/magic_subset.h"

#define ROUNDS      30000u
#define ENTRIES_MAX 400u
#define HELD        "x-test/held"

static uint32_t seed = 1;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(seed ^ seed >> 15) * below) >> 32);
}

/* ---- magic files ---- */

struct made {
    _Alignas(8) struct magic_entry v[1 + ENTRIES_MAX];
    uint32_t n_tests, n_names;
};

static struct span made_span(struct made *m)
{
    magic_file_head(m->v, m->n_tests, m->n_names);
    return (struct span){(const char *)m->v, (1 + m->n_tests + m->n_names) * sizeof m->v[0]};
}

static struct magic_entry *add(struct made *m, uint16_t level, uint8_t type, char reln)
{
    struct magic_entry *e = &m->v[1 + m->n_tests + m->n_names];

    assert_true(m->n_tests + m->n_names < ENTRIES_MAX);
    *(type == MAGIC_TYPE_NAME || m->n_names ? &m->n_names : &m->n_tests) += 1;
    *e = (struct magic_entry){.level = level, .type = type, .reln = (uint8_t)reln};
    e->flag = level ? 0 : MAGIC_FLAG_BINTEST;
    return e;
}

static struct magic_entry *add_text(struct made *m, uint16_t level, uint8_t type, const char *text)
{
    struct magic_entry *e = add(m, level, type, '=');

    e->value_n = (uint8_t)span_copy(span_of(text), e->value.text, sizeof e->value.text);
    return e;
}

static void set_mime(struct magic_entry *e, const char *mime)
{
    (void)span_copy(span_of(mime), e->mime, sizeof e->mime);
}

struct indexed {
    struct magic_base base;
    struct magic_index *index;
};

static void index_made(struct made *m, struct indexed *ret)
{
    struct magic_file f;

    assert_int_equal(magic_file_parse(made_span(m), &f), OK);
    assert_int_equal(magic_base_init(&ret->base, &f, 1), OK);
    assert_int_equal(magic_index_new(ret->base.groups, ret->base.n_groups, &ret->index), OK);
}

static void index_done(struct indexed *x)
{
    magic_index_free(x->index);
    magic_base_done(&x->base);
}

/* The hits as letters: "ac" for the groups 0 and 2. */
static void find(struct indexed *x, struct span file, struct span text, char ret[32])
{
    struct magic_hits hits;

    assert_int_equal(magic_index_find(x->index, file, text, &hits), OK);
    for (unsigned i = 0; i < hits.n; i++)
        ret[i] = (char)('a' + hits.group[i]);
    ret[hits.n] = '\0';
}

static void expect(struct indexed *x, struct span file, const char *hits)
{
    char found[32];

    find(x, file, file, found);
    assert_string_equal(found, hits);
}

/* ---- against libmagic ---- */

static void random_text(char *p, size_t n)
{
    static const char letters[] = "abAB \n\t\r1:\0\xff";

    for (size_t i = 0; i < n; i++)
        p[i] = letters[next_random(next_random(8) ? 8 : sizeof letters - 1)];
}

static void random_value(struct magic_entry *e)
{
    e->value_n = (uint8_t)next_random(6);
    random_text(e->value.text, e->value_n);
}

static void random_regex(struct magic_entry *e)
{
    static const char *const bits[] = {"^",           "$",      "a",           "b",      "ab",
                                       "(a|b)",       "(ab)?",  "[ab]+",       "[ \t]*", ".",
                                       "[[:space:]]", "B{1,2}", "(b[^\n]){2}", "[Aa]",   ":"};
    struct buf b;

    buf_init(&b, sizeof e->value.text - 1);
    for (unsigned i = 1 + next_random(4); i > 0; i--)
        buf_text(&b, bits[next_random(ARRAY_LEN(bits))]);
    e->value_n = (uint8_t)span_copy(buf_span(&b), e->value.text, sizeof e->value.text);
    buf_done(&b);
}

static void random_number(struct magic_entry *e)
{
    static const uint64_t masks[] = {0,          0, 0xff, 0xf0f0,
                                     0xffffff00, 7, 1,    UINT64_C(0xff00ff00ff00ff)};

    e->reln = (uint8_t) "=!<>&^x"[next_random(7)];
    e->flag |= next_random(2) ? MAGIC_FLAG_UNSIGNED : 0;
    e->mask = masks[next_random(ARRAY_LEN(masks))];
    e->mask_op = (uint8_t)(next_random(4) ? 0 : next_random(8) | (next_random(3) ? 0 : 0x40));
    if (e->mask == 0xffffff00 && e->mask_op % 8 >= 6)
        e->mask = 3; /* no division by what is cut to nothing */
    if (e->mask % 256 == 0)
        e->mask_op &= 0x40;
    e->value.number = next_random(2) ? next_random(300) : (uint64_t) - (int64_t)next_random(300);
    if (next_random(2))
        random_text(e->value.text, 8);
}

static void random_entry(struct magic_entry *e)
{
    static const uint8_t numbers[] = {MAGIC_TYPE_BYTE,   MAGIC_TYPE_SHORT,   MAGIC_TYPE_LONG,
                                      MAGIC_TYPE_QUAD,   MAGIC_TYPE_BESHORT, MAGIC_TYPE_BELONG,
                                      MAGIC_TYPE_BEQUAD, MAGIC_TYPE_LESHORT, MAGIC_TYPE_LELONG,
                                      MAGIC_TYPE_LEQUAD};

    e->offset = (int32_t)next_random(next_random(3) ? 3 : 60);
    if (e->type == 0) {
        e->type = numbers[next_random(ARRAY_LEN(numbers))];
        random_number(e);
        return;
    }
    if (e->type == MAGIC_TYPE_REGEX)
        random_regex(e);
    else
        random_value(e);
    e->reln = (uint8_t) "===!<>"[next_random(6)];
    e->range = next_random(2) ? 0 : next_random(next_random(2) ? 4 : 50);
    for (unsigned i = next_random(3); i > 0 && e->type != MAGIC_TYPE_PSTRING; i--)
        e->flags |= 1u << next_random(4);
    if (e->type == MAGIC_TYPE_REGEX && next_random(3) == 0)
        e->flags |= MAGIC_REGEX_LINES;
    if (e->type == MAGIC_TYPE_PSTRING)
        e->flags = MAGIC_PSTRING_1;
}

static const uint8_t types[] = {0,
                                MAGIC_TYPE_STRING,
                                MAGIC_TYPE_SEARCH,
                                MAGIC_TYPE_REGEX,
                                MAGIC_TYPE_PSTRING,
                                MAGIC_TYPE_LESTRING16,
                                MAGIC_TYPE_BESTRING16,
                                MAGIC_TYPE_GUID,
                                MAGIC_TYPE_DER,
                                0,
                                MAGIC_TYPE_STRING,
                                MAGIC_TYPE_SEARCH,
                                MAGIC_TYPE_REGEX};

/* One test that holds, or has others under it, of which one with a type must. */
static void make_random(struct made *m)
{
    struct magic_entry *e;
    bool has_children = next_random(2), deeper = next_random(2);

    m->n_tests = m->n_names = 0;
    e = add(m, 0, types[next_random(ARRAY_LEN(types))], '=');
    random_entry(e);
    if (e->type == MAGIC_TYPE_DER && next_random(2))
        (void)span_copy(SPAN("seq"), e->value.text, 4);
    if (!has_children) {
        set_mime(e, HELD);
        return;
    }
    for (unsigned i = 1 + next_random(3); i > 0; i--) {
        e = add(m, 1, types[next_random(4)], '=');
        random_entry(e);
        e->flag |= next_random(4) ? 0 : MAGIC_FLAG_OFFADD;
        if (deeper) {
            e = add(m, 2, types[next_random(4)], '=');
            random_entry(e);
        }
        set_mime(e, HELD);
    }
}

static bool libmagic_holds(magic_t magic, struct made *m, struct span file)
{
    struct span map = made_span(m);
    void *files[] = {(void *)(uintptr_t)map.p};
    size_t sizes[] = {map.n};
    const char *said;

    assert_int_equal(magic_load_buffers(magic, files, sizes, 1), 0);
    said = magic_buffer(magic, file.p, file.n);
    /* It failed: whoever leaves the test out would get an answer. */
    return !said || strstr(said, HELD);
}

static void test_random(void **state)
{
    magic_t magic = magic_open(MAGIC_MIME_TYPE | MAGIC_NO_CHECK_TEXT | MAGIC_NO_CHECK_CSV |
                               MAGIC_NO_CHECK_JSON);
    unsigned held = 0, hit = 0;
    struct made m;

    (void)state;
    assert_non_null(magic);
    for (unsigned i = 0; i < ROUNDS; i++) {
        char bytes[120], hits[32];
        struct span file = {bytes, 2 + next_random(next_random(2) ? 8 : sizeof bytes - 2)};
        struct indexed x;
        bool holds;

        make_random(&m);
        random_text(bytes, sizeof bytes);
        if (next_random(2))
            memcpy(bytes + m.v[1].offset, m.v[1].value.text, m.v[1].value_n);
        if (next_random(8) == 0)
            bytes[0] = "\x30\x1f\x3f\x50"[next_random(4)];
        index_made(&m, &x);
        find(&x, file, SPAN_NONE, hits);
        holds = libmagic_holds(magic, &m, file);
        index_done(&x);
        held += holds;
        hit += hits[0] != '\0';
        if (holds && !hits[0])
            fail_msg("round %u: type %u '%s' of %u entries holds, and is not found", i, m.v[1].type,
                     m.v[1].value.text, m.n_tests);
    }
    magic_close(magic);
    print_message("%u of %u hold, %u found\n", held, ROUNDS, hit);
    assert_true(held > ROUNDS / 20);
    assert_true(hit < ROUNDS * 3 / 4);
}

/* ---- the index ---- */

static void test_conditions(void **state)
{
    struct made m = {.n_tests = 0};
    struct magic_entry *e;
    struct indexed x;

    (void)state;
    set_mime(add_text(&m, 0, MAGIC_TYPE_STRING, "abc"), HELD); /* a */
    (void)add_text(&m, 0, MAGIC_TYPE_SEARCH, "key");           /* b: with what is under it */
    set_mime(add_text(&m, 1, MAGIC_TYPE_REGEX, "^word[0-9]"), HELD);
    e = add_text(&m, 0, MAGIC_TYPE_REGEX, "^[^x].*$"); /* c: no line without an x in front */
    e->reln = '!';
    set_mime(e, HELD);
    e = add_text(&m, 0, MAGIC_TYPE_SEARCH, "far"); /* d: one of two */
    set_mime(add_text(&m, 1, MAGIC_TYPE_STRING, "q"), HELD);
    set_mime(add_text(&m, 1, MAGIC_TYPE_SEARCH, "zz"), HELD);
    e = add_text(&m, 0, MAGIC_TYPE_STRING, "abc"); /* e: from the end of what has none */
    e->flag |= MAGIC_FLAG_OFFNEGATIVE;
    set_mime(add_text(&m, 0, MAGIC_TYPE_REGEX, "a[b-y]c"), HELD); /* f: sure */
    index_made(&m, &x);
    expect(&x, SPAN("abc"), "a"); /* libmagic leaves the last byte off for an expression */
    expect(&x, SPAN("abc."), "af");
    expect(&x, SPAN("xabc."), "cf");
    expect(&x, SPAN("key"), "");
    expect(&x, SPAN("a key\nword1\n"), "b");
    expect(&x, SPAN("a key\nwordy\n"), "");
    expect(&x, SPAN("a key, a word1\n"), "");
    expect(&x, SPAN("far"), "");
    expect(&x, SPAN("a far zz "), "d");
    expect(&x, SPAN("quite far"), "d");
    expect(&x, SPAN("azc "), "");
    expect(&x, SPAN("axc "), "f");
    index_done(&x);
}

/* Tests for text see the text, tests for bytes the bytes. */
static void test_text(void **state)
{
    struct made m = {.n_tests = 0};
    char found[32];
    struct indexed x;

    (void)state;
    (void)add_text(&m, 0, MAGIC_TYPE_SEARCH, "word");
    add_text(&m, 0, MAGIC_TYPE_SEARCH, "word")->flag = MAGIC_FLAG_TEXTTEST;
    add_text(&m, 0, MAGIC_TYPE_STRING, "word")->flag = MAGIC_FLAG_TEXTTEST;
    for (uint32_t i = 1; i <= m.n_tests; i++)
        set_mime(&m.v[i], HELD);
    index_made(&m, &x);
    find(&x, SPAN("word"), SPAN_NONE, found);
    assert_string_equal(found, "a");
    find(&x, SPAN("word"), SPAN("other"), found);
    assert_string_equal(found, "a");
    find(&x, SPAN("\xef\xbb\xbfword"), SPAN("word"), found);
    assert_string_equal(found, "abc");
    find(&x, SPAN("other"), SPAN("a word"), found);
    assert_string_equal(found, "b");
    index_done(&x);
}

static void test_many(void **state)
{
    static struct made m;
    struct magic_hits hits;
    struct indexed x;

    (void)state;
    for (unsigned i = 0; i < MAGIC_HITS_MAX + 1; i++)
        set_mime(add_text(&m, 0, MAGIC_TYPE_STRING, i % 2 ? "a" : "ab"), HELD);
    index_made(&m, &x);
    assert_int_equal(magic_index_find(x.index, SPAN("ac"), SPAN_NONE, &hits), OK);
    assert_int_equal(hits.n, MAGIC_HITS_MAX / 2);
    assert_int_equal(hits.flags, MAGIC_FLAG_BINTEST);
    for (unsigned i = 0; i < hits.n; i++)
        assert_int_equal(hits.group[i], 2 * i + 1);
    assert_int_equal(magic_index_find(x.index, SPAN("abc"), SPAN_NONE, &hits), ERR_LIMIT);
    /* And nothing of that is left. */
    assert_int_equal(magic_index_find(x.index, SPAN("b"), SPAN_NONE, &hits), OK);
    assert_int_equal(hits.n, 0);
    index_done(&x);
}

/* ---- subsets ---- */

struct part {
    struct magic_subset s;
    struct magic_entry room[MAGIC_SUBSET_ROOM];
};

static enum err make(struct indexed *x, uint32_t group, struct part *p)
{
    const struct magic_hits hits = {.n = 1, .group = {group}};

    p->s.room = p->room;
    return magic_subset_make(&x->base, &hits, false, &p->s);
}

static void test_subset(void **state)
{
    static struct part p;
    struct made m = {.n_tests = 0};
    struct magic_file f;
    struct indexed x;

    (void)state;
    set_mime(add_text(&m, 0, MAGIC_TYPE_STRING, "a"), HELD); /* what is under it, nobody asks for */
    (void)add_text(&m, 1, MAGIC_TYPE_USE, "nobody");
    (void)add_text(&m, 0, MAGIC_TYPE_STRING, "b");
    (void)add_text(&m, 1, MAGIC_TYPE_USE, "^two");
    (void)add_text(&m, 0, MAGIC_TYPE_STRING, "c");
    (void)add_text(&m, 1, MAGIC_TYPE_USE, "nobody");
    (void)add_text(&m, 0, MAGIC_TYPE_STRING, "d");
    (void)add(&m, 1, MAGIC_TYPE_INDIRECT, 'x');
    (void)add_text(&m, 0, MAGIC_TYPE_STRING, "e");
    (void)add_text(&m, 1, MAGIC_TYPE_USE, "three");
    (void)add_text(&m, 0, MAGIC_TYPE_NAME, "one");
    (void)add_text(&m, 0, MAGIC_TYPE_NAME, "two");
    (void)add_text(&m, 1, MAGIC_TYPE_USE, "one");
    (void)add_text(&m, 1, MAGIC_TYPE_USE, "two");
    (void)add_text(&m, 0, MAGIC_TYPE_NAME, "three");
    (void)add(&m, 1, MAGIC_TYPE_INDIRECT, 'x');
    index_made(&m, &x);
    assert_int_equal(make(&x, 0, &p), OK);
    assert_int_equal(p.s.sizes[0], 2 * sizeof p.room[0]);
    assert_int_equal(make(&x, 1, &p), OK);
    assert_int_equal(magic_file_parse((struct span){p.s.files[0], p.s.sizes[0]}, &f), OK);
    assert_int_equal(f.n_tests, 2);
    assert_int_equal(f.n_names, 4);
    assert_string_equal(f.names[0].value.text, "two");
    assert_string_equal(f.names[3].value.text, "one");
    assert_int_equal(make(&x, 2, &p), ERR_MISSING);
    assert_int_equal(make(&x, 3, &p), ERR_MISSING);
    assert_int_equal(make(&x, 4, &p), ERR_MISSING);
    index_done(&x);
}

static void test_subset_limit(void **state)
{
    static struct part p;
    static struct made m;
    struct magic_hits hits = {.n = 0};
    struct indexed x;

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        (void)add_text(&m, 0, MAGIC_TYPE_STRING, "a");
        for (unsigned k = 0; k < 14; k++)
            (void)add_text(&m, 1, MAGIC_TYPE_STRING, "b");
    }
    index_made(&m, &x);
    p.s.room = p.room;
    while (hits.n < MAGIC_SUBSET_MAX / 15)
        hits.group[hits.n++] = 0;
    assert_int_equal(magic_subset_make(&x.base, &hits, true, &p.s), OK);
    assert_int_equal(p.s.n_files, 2);
    hits.group[hits.n++] = 0;
    assert_int_equal(magic_subset_make(&x.base, &hits, true, &p.s), ERR_LIMIT);
    index_done(&x);
}

static void test_base_limit(void **state)
{
    struct magic_file files[MAGIC_FILES_MAX + 1] = {{.n_tests = 0}};
    struct magic_base base;

    (void)state;
    assert_int_equal(magic_base_init(&base, files, ARRAY_LEN(files)), ERR_LIMIT);
    assert_int_equal(magic_base_init(&base, files, 0), OK);
    assert_int_equal(base.n_groups, 0);
    magic_base_done(&base);
}

/* ---- files that are none ---- */

static void test_broken(void **state)
{
    struct made m = {.n_tests = 0};
    struct magic_file f;
    struct span file;
    uint32_t *head = (void *)m.v;

    (void)state;
    (void)add_text(&m, 0, MAGIC_TYPE_STRING, "a");
    (void)add_text(&m, 1, MAGIC_TYPE_USE, "one");
    (void)add_text(&m, 0, MAGIC_TYPE_NAME, "one");
    file = made_span(&m);
    assert_int_equal(magic_file_parse(file, &f), OK);
    assert_int_equal(magic_file_parse(SPAN(""), &f), ERR_SYNTAX);
    assert_int_equal(magic_file_parse(span_sub(file, 0, file.n - 1), &f), ERR_SYNTAX);
    assert_int_equal(magic_file_parse(span_sub(file, 0, file.n - sizeof m.v[0]), &f), ERR_SYNTAX);
    assert_int_equal(magic_file_parse(span_sub(file, 4, SIZE_MAX), &f), ERR_SYNTAX);
    for (unsigned i = 0; i < 4; i++) {
        head[i]++; /* magic, version, numbers of tests and names */
        assert_int_equal(magic_file_parse(file, &f), ERR_SYNTAX);
        head[i]--;
    }
    head[0] = __builtin_bswap32(head[0]);
    assert_int_equal(magic_file_parse(file, &f), ERR_SYNTAX);
    file = made_span(&m);
    m.v[1].level = 1; /* under nothing */
    assert_int_equal(magic_file_parse(file, &f), ERR_SYNTAX);
    m.v[1].level = 0;
    m.v[1].type = MAGIC_TYPE_NAME; /* among the tests */
    assert_int_equal(magic_file_parse(file, &f), ERR_SYNTAX);
    m.v[1].type = MAGIC_TYPE_STRING;
    m.v[3].type = MAGIC_TYPE_STRING; /* among the names */
    assert_int_equal(magic_file_parse(file, &f), ERR_SYNTAX);
    m.v[3].type = MAGIC_TYPE_NAME;
    memset(m.v[2].value.text, 'x', sizeof m.v[2].value.text); /* texts without an end */
    assert_int_equal(magic_file_parse(file, &f), ERR_SYNTAX);
    memset(m.v[2].value.text, 0, sizeof m.v[2].value.text);
    memset(m.v[2].mime, 'x', sizeof m.v[2].mime);
    assert_int_equal(magic_file_parse(file, &f), ERR_SYNTAX);
    memset(m.v[2].mime, 0, sizeof m.v[2].mime);
    m.v[1].value_n = MAGIC_VALUE_MAX + 1;
    assert_int_equal(magic_file_parse(file, &f), ERR_SYNTAX);
    m.v[1].value_n = 1;
    assert_int_equal(magic_file_parse(file, &f), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),     cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_text),       cmocka_unit_test(test_many),
        cmocka_unit_test(test_subset),     cmocka_unit_test(test_subset_limit),
        cmocka_unit_test(test_base_limit), cmocka_unit_test(test_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
