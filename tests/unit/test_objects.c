/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/objects.h"

#define ORIGINAL 1000u
#define DERIVED  500u

static const struct object body = {
    .source = OBJECT_DERIVED,
    .role = OBJECT_BODY,
    .len = DERIVED,
    .name = {"a.zip",           5 },
    .declared = {"application/zip", 15},
    .sniffed = {"application/zip", 15}
};
static const struct object field = {
    .source = OBJECT_ORIGINAL,
    .role = OBJECT_FIELD,
    .off = 1,
    .len = ORIGINAL - 1,
    .name = {"\xff\x01?", 3}
};
static const struct object empty = {
    .source = OBJECT_ORIGINAL, .role = OBJECT_FILE, .off = ORIGINAL};

static void assert_same(const struct object *a, const struct object *b)
{
    assert_int_equal(a->source, b->source);
    assert_int_equal(a->role, b->role);
    assert_true(a->off == b->off && a->len == b->len);
    assert_true(span_eq(a->name, b->name));
    assert_true(span_eq(a->declared, b->declared));
    assert_true(span_eq(a->sniffed, b->sniffed));
}

/* --- entries --- */

static void test_there_and_back(void **state)
{
    const struct object *all[] = {&body, &field, &empty};
    struct objects_reader r;
    struct object o;
    struct buf table;

    (void)state;
    buf_init(&table, 0);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        assert_int_equal(object_format(all[i], &table), OK);
    assert_int_equal(table.n, 3 * OBJECT_ENTRY_MIN + 5 + 15 + 15 + 3);
    objects_reader_init(&r, buf_span(&table), 3, ORIGINAL, DERIVED);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_int_equal(objects_next(&r, &o), OK);
        assert_same(&o, all[i]);
    }
    assert_int_equal(objects_next(&r, &o), ERR_EOF);
    assert_int_equal(objects_next(&r, &o), ERR_EOF);
    buf_done(&table);
}

/* A table cut anywhere, or with a byte more, is never read to its end. The copy ends where its
 * memory ends, for the address sanitizer. */
static void test_cut_table(void **state)
{
    struct objects_reader r;
    struct object o;
    struct buf table;

    (void)state;
    buf_init(&table, 0);
    assert_int_equal(object_format(&body, &table), OK);
    assert_int_equal(object_format(&field, &table), OK);
    buf_char(&table, '\0');
    for (size_t n = 0; n <= table.n; n++) {
        char *cut = malloc(n ? n : 1);
        enum err e;

        assert_non_null(cut);
        memcpy(cut, table.p, n);
        objects_reader_init(&r, (struct span){cut, n}, 2, ORIGINAL, DERIVED);
        do {
            e = objects_next(&r, &o);
        } while (e == OK);
        assert_int_equal(e, n == table.n - 1 ? ERR_EOF : ERR_SYNTAX);
        assert_int_equal(objects_next(&r, &o), e);
        free(cut);
    }
    buf_done(&table);
}

#define BYTES(literal) literal, sizeof(literal) - 1
#define ZERO8          "\0\0\0\0\0\0\0\0"

static const struct {
    const char *why;
    const char *bytes;
    size_t n;
} refused[] = {
    {"no source",                 BYTES("\x01" ZERO8 ZERO8 "\0\0\0")                                        },
    {"source 3",                  BYTES("\x31" ZERO8 ZERO8 "\0\0\0")                                        },
    {"no role",                   BYTES("\x10" ZERO8 ZERO8 "\0\0\0")                                        },
    {"role 4",                    BYTES("\x14" ZERO8 ZERO8 "\0\0\0")                                        },
    {"one byte over original",    BYTES("\x11" ZERO8 "\0\0\0\0\0\0\x03\xe9\0\0\0")                          },
    {"one byte over derived",     BYTES("\x21" ZERO8 "\0\0\0\0\0\0\x01\xf5\0\0\0")                          },
    {"offset behind the end",     BYTES("\x11\0\0\0\0\0\0\x03\xe9" ZERO8 "\0\0\0")                          },
    {"overflow",                  BYTES("\x11\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\x02\0\0\0")     },
    {"wraps to the inside",       BYTES("\x11\0\0\0\0\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0")     },
    {"name longer than the rest", BYTES("\x11" ZERO8 ZERO8 "\x02\0\0x")                                     },
    {"NUL in a name",             BYTES("\x11" ZERO8 ZERO8 "\x01\0\0\0")                                    },
    {"long type",                 BYTES("\x11" ZERO8 ZERO8 "\0\x80\0"
                        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct objects_reader r;
        struct object o = {.off = 4711};

        objects_reader_init(&r, (struct span){refused[i].bytes, refused[i].n}, 1, ORIGINAL,
                            DERIVED);
        enum err e = objects_next(&r, &o);

        if (e != ERR_SYNTAX)
            print_error("%s: %s\n", refused[i].why, err_code(e));
        assert_int_equal(e, ERR_SYNTAX);
        assert_int_equal(o.off, 4711);
    }
}

static void test_format_refuses(void **state)
{
    char text[OBJECT_NAME_MAX + 1];
    struct object o = field;
    struct buf table;

    (void)state;
    memset(text, 'x', sizeof text);
    buf_init(&table, 0);
    o.name = (struct span){text, OBJECT_NAME_MAX};
    o.declared = o.sniffed = (struct span){text, OBJECT_TYPE_MAX};
    assert_int_equal(object_format(&o, &table), OK);
    buf_reset(&table);
    o.name.n++;
    assert_int_equal(object_format(&o, &table), ERR_LIMIT);
    o.name.n = 1;
    o.declared.n++;
    assert_int_equal(object_format(&o, &table), ERR_LIMIT);
    o.declared.n = 1;
    o.sniffed.n++;
    assert_int_equal(object_format(&o, &table), ERR_LIMIT);
    o = field;
    o.name = SPAN("a\0b");
    assert_int_equal(object_format(&o, &table), ERR_BUG);
    o = field;
    o.len = UINT64_MAX;
    assert_int_equal(object_format(&o, &table), ERR_BUG);
    o = field;
    memset(&o.role, 0, sizeof o.role);
    assert_int_equal(object_format(&o, &table), ERR_BUG);
    assert_int_equal(table.n, 0);
    buf_done(&table);
}

/* --- the tail --- */

static void test_tail(void **state)
{
    uint64_t off = 0, len = 0;
    uint32_t n = 0;
    struct buf tail;

    (void)state;
    buf_init(&tail, 0);
    objects_format_tail(DERIVED, 2, &tail);
    assert_int_equal(tail.n, OBJECTS_TAIL);
    assert_int_equal(
        objects_parse_tail(buf_span(&tail), DERIVED + 40 + OBJECTS_TAIL, &off, &len, &n), OK);
    assert_int_equal(off, DERIVED);
    assert_int_equal(len, 40);
    assert_int_equal(n, 2);
    /* an entry more than there is room for, and a file that ends before its table */
    assert_int_equal(
        objects_parse_tail(buf_span(&tail), DERIVED + 39 + OBJECTS_TAIL, &off, &len, &n),
        ERR_SYNTAX);
    assert_int_equal(
        objects_parse_tail(buf_span(&tail), DERIVED - 1 + OBJECTS_TAIL, &off, &len, &n),
        ERR_SYNTAX);
    assert_int_equal(objects_parse_tail(buf_span(&tail), OBJECTS_TAIL - 1, &off, &len, &n),
                     ERR_SYNTAX);
    assert_int_equal(objects_parse_tail(buf_span(&tail),
                                        DERIVED + OBJECTS_TABLE_MAX + 1 + OBJECTS_TAIL, &off, &len,
                                        &n),
                     ERR_SYNTAX);
    for (size_t cut = 0; cut < OBJECTS_TAIL; cut++)
        assert_int_equal(objects_parse_tail(span_sub(buf_span(&tail), 0, cut),
                                            DERIVED + 40 + OBJECTS_TAIL, &off, &len, &n),
                         ERR_SYNTAX);
    tail.p[OBJECTS_TAIL - 1] = 'j';
    assert_int_equal(
        objects_parse_tail(buf_span(&tail), DERIVED + 40 + OBJECTS_TAIL, &off, &len, &n),
        ERR_SYNTAX);
    buf_reset(&tail);
    objects_format_tail(0, OBJECTS_MAX + 1, &tail);
    assert_int_equal(objects_parse_tail(buf_span(&tail),
                                        (OBJECTS_MAX + 1) * OBJECT_ENTRY_MIN + OBJECTS_TAIL, &off,
                                        &len, &n),
                     ERR_SYNTAX);
    assert_int_equal(n, 2);
    buf_done(&tail);
}

static void test_nameless_files(void **state)
{
    struct object o = {.role = OBJECT_FIELD, .len = 10};

    (void)state;
    assert_false(object_is_nameless_file(&o)); /* somebody may have typed it */
    o.len = OBJECT_TYPED_MAX + 1;
    assert_true(object_is_nameless_file(&o));
    o.sniffed = SPAN("text/plain");
    assert_false(object_is_nameless_file(&o));
    o.sniffed = SPAN("application/x-dosexec");
    assert_true(object_is_nameless_file(&o));
    o.role = OBJECT_FILE;
    assert_false(object_is_nameless_file(&o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nameless_files), cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_cut_table),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_format_refuses), cmocka_unit_test(test_tail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
