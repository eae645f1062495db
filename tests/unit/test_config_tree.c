/* SPDX-License-Identifier: Apache-2.0 */
/* YAML text to nodes: what is let in, what is refused, and where it is said to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config_int.h"

struct parsed {
    struct config_report r;
    const struct config_node *root;
    struct buf out;
    enum err err;
};

static struct parsed *parse(struct span text)
{
    struct parsed *p = calloc(1, sizeof *p);

    assert_non_null(p);
    config_report_init(&p->r);
    buf_init(&p->out, 0);
    p->err = config_tree_parse(&p->r, text, &p->root);
    config_report_print(&p->r, &p->out);
    return p;
}

static void parsed_free(struct parsed *p)
{
    config_report_done(&p->r);
    buf_done(&p->out);
    free(p);
}

struct row {
    const char *name;
    struct span text;
    const char *want; /* all complaints; "" for none */
    enum err err;
    const char *why;
};

#define ALIAS "anchors and aliases are not supported; write the value out\n"
#define TAG   "tags are not supported; a key knows the type of its value\n"

/* clang-format off */
static struct row rows[] = {
    {"plain", SPAN("a: 1\nb: [x, y]\nc: {d: e}\n"), "", OK, ""},
    {"empty", SPAN(""), "", OK, "a file may be empty"},
    {"nul", SPAN("a: b\nc: \0d\n"), "config:2:4: the text has a NUL byte here\n", ERR_CONFIG, "libyaml would stop or not"},
    {"nul_escape", SPAN("a: \"x\\0y\"\n"), "config:1:4: the text must not hold a NUL character\n", OK, "C strings would end there"},
    {"latin1", SPAN("a: b\nc: M\xfcller\n"), "config:2:5: the text is not UTF-8 here\n", ERR_CONFIG, ""},
    {"utf16", SPAN("\xff\xfe" "a\0:\0"), "config:1:1: the text is not UTF-8 here\n", ERR_CONFIG, "libyaml would read it"},
    {"surrogate", SPAN("a: \xed\xa0\x80"), "config:1:4: the text is not UTF-8 here\n", ERR_CONFIG, "RFC 3629"},
    {"column_utf8", SPAN("\xc3\xbc: \xff"), "config:1:4: the text is not UTF-8 here\n", ERR_CONFIG, "columns are characters"},
    {"control", SPAN("a: b\nc: \x01\n"), "config:2:4: not valid YAML: control characters are not allowed\n", ERR_CONFIG, ""},
    {"tab", SPAN("a:\n\tb: c\n"), "config:2:1: not valid YAML: a tab where only spaces may stand (while scanning for the next token)\n", ERR_CONFIG, "the most frequent one"},
    {"open_list", SPAN("a: [1,\nb: 2\n"), NULL, ERR_CONFIG, ""},
    {"open_quote", SPAN("a: 'x\nb: 2\n"), "config:3:1: not valid YAML: found unexpected end of stream (while scanning a quoted scalar that begins in line 1)\n", ERR_CONFIG, ""},
    {"indent", SPAN("a: 1\n  b: 2\n"), "config:2:4: not valid YAML: mapping values are not allowed in this context\n", ERR_CONFIG, ""},
    {"anchor", SPAN("a: &x 1\n"), "config:1:4: " ALIAS, OK, "the tree is fine without"},
    {"anchor_mapping", SPAN("a: &x {b: c}\n"), "config:1:4: " ALIAS, OK, ""},
    {"anchor_list", SPAN("a: &x [b]\n"), "config:1:4: " ALIAS, OK, ""},
    {"alias", SPAN("a: &x 1\nb: *x\n"), "config:1:4: " ALIAS "config:2:4: " ALIAS, OK, "both are named"},
    {"alias_key", SPAN("*x : 1\n"), "config:1:1: " ALIAS, OK, ""},
    {"laughs", SPAN("a: &a [x, x]\nb: [*a, *a]\n"), "config:1:4: " ALIAS "config:2:5: " ALIAS "config:2:9: " ALIAS, OK, "nothing is expanded"},
    {"merge", SPAN("a: &a {x: y}\n<<: *a\n"), "config:1:4: " ALIAS "config:2:5: " ALIAS, OK, ""},
    {"tag", SPAN("a: !!int 1\n"), "config:1:4: " TAG, OK, ""},
    {"tag_list", SPAN("a: !x [1]\n"), "config:1:4: " TAG, OK, ""},
    {"documents", SPAN("a: 1\n---\nb: 1\n"), "config:2:1: the file must be one YAML document; a second one begins here\n", ERR_CONFIG, "which one counts?"},
    {"document_end", SPAN("---\na: 1\n...\n"), "", OK, "one document with both marks"},
    {"double", SPAN("a: 1\nb: 2\n'a': 3\n"), "config:3:1: key 'a' is written twice; the first is in line 1, column 1\n", OK, "quotes make no other key"},
    {"double_three", SPAN("{a: 1, a: 2, a: 3}"), "config:1:8: key 'a' is written twice; the first is in line 1, column 2\n" "config:1:14: key 'a' is written twice; the first is in line 1, column 2\n", OK, ""},
    {"double_inner", SPAN("x:\n  - {a: 1, b: 1}\n  - {a: 1, b: 1, a: 2}\n"), "config:3:18: key 'a' is written twice; the first is in line 3, column 6\n", OK, "only within one mapping"},
    {"key_list", SPAN("[a]: 1\n"), "config:1:1: a key must be a text, got a list\n", ERR_CONFIG, ""},
    {"key_mapping", SPAN("? {a: b}\n: 1\n"), "config:1:3: a key must be a text, got a mapping\n", ERR_CONFIG, ""},
    {"directive", SPAN("%YAML 1.1\n---\na: 1\n"), "", OK, "harmless"},
    {"depth", SPAN("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"), "", OK, "32 is the limit"},
    {"too_deep", SPAN("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"), "config:1:33: mappings and lists must be at most 32 deep\n", ERR_CONFIG, "33 is not"},
};
/* clang-format on */

static void tree_case(void **state)
{
    const struct row *row = *state;
    struct parsed *p = parse(row->text);

    if (row->want && strcmp(buf_cstr(&p->out), row->want) != 0)
        fail_msg("%s (%s): wanted\n%sgot\n%s", row->name, row->why, row->want, buf_cstr(&p->out));
    assert_int_equal(p->err, row->err);
    if (p->err)
        assert_true(p->r.n_errors > 0);
    parsed_free(p);
}

static void places(void **state)
{
    struct parsed *p = parse(SPAN("a: 1\nlist:\n  - x\n  - {k: 'v'}\n"));
    const struct config_node *list = config_node_find(p->root, SPAN("list"));

    (void)state;
    assert_non_null(list);
    assert_int_equal(list->key->line, 2);
    assert_int_equal(list->key->column, 1);
    assert_int_equal(list->line, 3);
    assert_int_equal(list->column, 3);
    assert_int_equal(list->n, 2);
    assert_int_equal(list->first->column, 5);
    assert_true(list->first->plain);
    assert_int_equal(list->last->first->line, 4);
    assert_int_equal(list->last->first->column, 9);
    assert_int_equal(list->last->first->key->column, 6);
    assert_false(list->last->first->plain);
    assert_null(config_node_find(p->root, SPAN("nothing")));
    assert_null(config_node_find(list, SPAN("x")));
    parsed_free(p);
}

static void too_large(void **state)
{
    char *text = malloc(CONFIG_TEXT_MAX + 1);
    struct parsed *p;

    (void)state;
    assert_non_null(text);
    memset(text, '#', CONFIG_TEXT_MAX + 1);
    p = parse((struct span){text, CONFIG_TEXT_MAX});
    assert_int_equal(p->err, OK);
    parsed_free(p);
    p = parse((struct span){text, CONFIG_TEXT_MAX + 1});
    assert_int_equal(p->err, ERR_CONFIG);
    assert_string_equal(buf_cstr(&p->out),
                        "config: the file must be at most 1048576 bytes, got 1048577\n");
    parsed_free(p);
    free(text);
}

static void too_many_nodes(void **state)
{
    struct buf text;
    struct parsed *p;

    (void)state;
    buf_init(&text, 0);
    buf_char(&text, '[');
    for (unsigned i = 0; i < CONFIG_NODES_MAX; i++)
        buf_text(&text, "a,");
    buf_char(&text, ']');
    p = parse(buf_span(&text));
    assert_int_equal(p->err, ERR_CONFIG);
    assert_non_null(strstr(buf_cstr(&p->out), "at most 100000 keys and values"));
    parsed_free(p);
    buf_done(&text);
}

/* Sorting finds double keys without comparing each with each. */
static void many_keys(void **state)
{
    struct buf text;
    struct parsed *p;

    (void)state;
    buf_init(&text, 0);
    for (unsigned i = 0; i < 40000; i++)
        buf_fmt(&text, "k%u: 1\n", i);
    buf_text(&text, "k7: 1\n");
    p = parse(buf_span(&text));
    assert_int_equal(p->err, OK);
    assert_string_equal(buf_cstr(&p->out),
                        "config:40001:1: key 'k7' is written twice; the first is "
                        "in line 8, column 1\n");
    parsed_free(p);
    buf_done(&text);
}

/* Any prefix of a text is read or refused, never worse. */
static void cut_anywhere(void **state)
{
    static const char text[] = "a: 1\nb:\n  - {x: 'y', z: \"\\u00fc\"}\n  - |\n    t\nc: &a *a\n";

    (void)state;
    for (size_t n = 0; n < sizeof text; n++) {
        char *copy = malloc(n + 1); /* exact, so that the sanitizer sees an over-read */
        struct parsed *p;

        assert_non_null(copy);
        memcpy(copy, text, n);
        p = parse((struct span){copy, n});
        assert_true(p->err == OK || (p->err == ERR_CONFIG && p->r.n_errors));
        parsed_free(p);
        free(copy);
    }
}

static void failing_allocations(void **state)
{
    enum err e = ERR_NOMEM;

    (void)state;
    for (unsigned i = 1; e != OK; i++) {
        struct config_report r;
        const struct config_node *root = NULL;

        assert_true(i < 100);
        config_report_init(&r);
        mem_fail_after(i);
        e = config_tree_parse(&r, SPAN("a: 1\nb: [x, y]\na: 3\n"), &root);
        mem_fail_after(0);
        assert_true(e == OK || e == ERR_NOMEM);
        config_report_done(&r);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(places),         cmocka_unit_test(too_large),
        cmocka_unit_test(too_many_nodes), cmocka_unit_test(many_keys),
        cmocka_unit_test(cut_anywhere),   cmocka_unit_test(failing_allocations),
    };
    static struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(others)];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){
            .name = rows[i].name, .test_func = tree_case, .initial_state = &rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("config_tree", tests, NULL, NULL);
}
