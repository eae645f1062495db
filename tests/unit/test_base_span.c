/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/span.h"

static void assert_span(struct span got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.n ? got.p : "", want, got.n);
}

static const struct compare_row {
    struct span a, b;
    bool eq, ieq, starts, istarts, ends;
} compare_rows[] = {
    {SPAN(""),         SPAN(""),         true,  true,  true,  true,  true },
    {{NULL, 0},        SPAN(""),         true,  true,  true,  true,  true },
    {SPAN("Host"),     SPAN("Host"),     true,  true,  true,  true,  true },
    {SPAN("Host"),     SPAN("hOST"),     false, true,  false, true,  false},
    {SPAN("Host"),     SPAN("Hos"),      false, false, true,  true,  false},
    {SPAN("Host"),     SPAN("hos"),      false, false, false, true,  false},
    {SPAN("Host"),     SPAN("ost"),      false, false, false, false, true },
    {SPAN("Host"),     SPAN("Hosts"),    false, false, false, false, false},
    {SPAN("a\0b"),     SPAN("a\0c"),     false, false, false, false, false},
    {SPAN("a\0b"),     SPAN("A\0B"),     false, true,  false, true,  false},
 /* Only letters fold: these differ in the same bit. */
    {SPAN("[@`{"),     SPAN("{`@["),     false, false, false, false, false},
    {SPAN("\xc3\x84"), SPAN("\xc3\xa4"), false, false, false, false, false},
};

static void test_compare(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(compare_rows); i++) {
        const struct compare_row *r = &compare_rows[i];

        assert_int_equal(span_eq(r->a, r->b), r->eq);
        assert_int_equal(span_ieq(r->a, r->b), r->ieq);
        assert_int_equal(span_starts(r->a, r->b), r->starts);
        assert_int_equal(span_istarts(r->a, r->b), r->istarts);
        assert_int_equal(span_ends(r->a, r->b), r->ends);
    }
}

static void test_of_trim_sub_find(void **state)
{
    (void)state;
    assert_null(span_of(NULL).p);
    assert_span(span_of("abc"), "abc");
    assert_span(span_trim(SPAN(" \t a b\t ")), "a b");
    assert_span(span_trim(SPAN(" \t")), "");
    assert_span(span_trim(SPAN("\r\n")), "\r\n"); /* OWS is SP and HTAB */
    assert_span(span_trim(SPAN_NONE), "");
    assert_span(span_sub(SPAN("abcdef"), 2, 3), "cde");
    assert_span(span_sub(SPAN("abcdef"), 4, SIZE_MAX), "ef");
    assert_span(span_sub(SPAN("abcdef"), SIZE_MAX, SIZE_MAX), "");
    assert_span(span_sub(SPAN_NONE, 3, 3), "");
    assert_int_equal(span_find(SPAN("abc"), 'c'), 2);
    assert_int_equal(span_find(SPAN("abc"), 'x'), 3);
    assert_int_equal(span_find(SPAN_NONE, 'x'), 0);
}

static void test_cut(void **state)
{
    struct span rest = SPAN("a,,b");

    (void)state;
    assert_span(span_cut(&rest, ','), "a");
    assert_span(span_cut(&rest, ','), "");
    assert_non_null(rest.p);
    assert_span(span_cut(&rest, ','), "b");
    assert_null(rest.p);
    rest = SPAN("a,");
    assert_span(span_cut(&rest, ','), "a");
    assert_non_null(rest.p); /* one more element, which is empty */
    assert_span(span_cut(&rest, ','), "");
    assert_null(rest.p);
}

static const struct number_row {
    const char *text;
    uint64_t max;
    enum err dec, hex;
    uint64_t dec_v, hex_v;
} number_rows[] = {
    {"",                         UINT64_MAX, ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
    {"0",                        UINT64_MAX, OK,         OK,         0,                 0         },
    {"0",                        0,          OK,         OK,         0,                 0         },
    {"1",                        0,          ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
    {"000000000000000000000007", 7,          OK,         OK,         7,                 7         },
    {"10",                       16,         OK,         OK,         10,                16        },
    {"10",                       15,         OK,         ERR_SYNTAX, 10,                0         },
    {"fF",                       UINT64_MAX, ERR_SYNTAX, OK,         0,                 255       },
    {"18446744073709551615",     UINT64_MAX, OK,         ERR_SYNTAX, UINT64_MAX,        0         },
    {"18446744073709551616",     UINT64_MAX, ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
    {"99999999999999999999",     UINT64_MAX, ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
    {"ffffffffffffffff",         UINT64_MAX, ERR_SYNTAX, OK,         0,                 UINT64_MAX},
    {"10000000000000000",        UINT64_MAX, OK,         ERR_SYNTAX, 10000000000000000, 0         },
    {"+1",                       UINT64_MAX, ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
    {"-1",                       UINT64_MAX, ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
    {" 1",                       UINT64_MAX, ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
    {"1 ",                       UINT64_MAX, ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
    {"0x1",                      UINT64_MAX, ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
    {"1g",                       UINT64_MAX, ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
    {"1.0",                      UINT64_MAX, ERR_SYNTAX, ERR_SYNTAX, 0,                 0         },
};

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(number_rows); i++) {
        const struct number_row *r = &number_rows[i];
        uint64_t dec = 12345, hex = 12345;

        assert_int_equal(span_u64(span_of(r->text), r->max, &dec), r->dec);
        assert_int_equal(dec, r->dec ? 12345 : r->dec_v); /* written only on OK */
        assert_int_equal(span_hex_u64(span_of(r->text), r->max, &hex), r->hex);
        assert_int_equal(hex, r->hex ? 12345 : r->hex_v);
    }
}

static const struct list_row {
    const char *text, *elements; /* with | after each */
} list_rows[] = {
    {"",               ""              },
    {" , ,\t,",        ""              },
    {"a",              "a|"            },
    {" a , b\t,c ",    "a|b|c|"        },
    {",a,,b,",         "a|b|"          },
    {"a;q=\"x,y\", b", "a;q=\"x,y\"|b|"},
    {"\"a\\\",b\",c",  "\"a\\\",b\"|c|"},
    {"\"open,b",       "\"open,b|"     },
    {"\"open\\",       "\"open\\|"     },
    {"a\\,b",          "a\\|b|"        }, /* no quoted-pair outside quotes */
};

static void test_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(list_rows); i++) {
        struct span rest = span_of(list_rows[i].text), element;
        char got[64] = "";
        size_t n = 0;

        while (span_list_next(&rest, &element)) {
            n += span_copy(element, got + n, sizeof got - n);
            n += span_copy(SPAN("|"), got + n, sizeof got - n);
        }
        assert_string_equal(got, list_rows[i].elements);
        assert_false(span_list_next(&rest, &element)); /* stays at its end */
    }
}

static void test_copies(void **state)
{
    char dst[4] = "xxx";
    char *dup;

    (void)state;
    assert_int_equal(span_copy(SPAN("abcdef"), dst, 0), 0);
    assert_int_equal(dst[0], 'x');
    assert_int_equal(span_copy(SPAN("abcdef"), dst, sizeof dst), 3);
    assert_string_equal(dst, "abc");
    assert_int_equal(span_copy(SPAN("abc"), dst, sizeof dst), 3);
    assert_int_equal(span_copy(SPAN("ab"), dst, sizeof dst), 2);
    assert_string_equal(dst, "ab");
    assert_int_equal(span_copy(SPAN_NONE, dst, 1), 0);
    assert_string_equal(dst, "");
    dup = span_dup(SPAN("a\0b"));
    assert_memory_equal(dup, "a\0b", 4);
    free(dup);
    dup = span_dup(SPAN_NONE);
    assert_string_equal(dup, "");
    free(dup);
}

/* RFC 9110 5.6.2, 5.5: every byte value. */
static void test_characters(void **state)
{
    static const char tchar[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        char byte = (char)c;
        bool token = c && strchr(tchar, (int)c);

        assert_int_equal(char_is_token((unsigned char)c), token);
        assert_int_equal(span_is_token((struct span){&byte, 1}), token);
        assert_int_equal(span_is_field_value((struct span){&byte, 1}),
                         (c >= 0x20 && c != 0x7f) || c == '\t');
        assert_int_equal(char_lower(byte), c >= 'A' && c <= 'Z' ? byte + 32 : byte);
        if (!strchr("0123456789abcdefABCDEF", (int)c) || c == 0)
            assert_int_equal(char_hex(byte), -1);
    }
    for (int i = 0; i < 16; i++) {
        assert_int_equal(char_hex("0123456789abcdef"[i]), i);
        assert_int_equal(char_hex("0123456789ABCDEF"[i]), i);
    }
    assert_false(span_is_token(SPAN("")));
    assert_false(span_is_token(SPAN("a b")));
    assert_true(span_is_token(SPAN("x-Y.z")));
    assert_true(span_is_field_value(SPAN("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),    cmocka_unit_test(test_of_trim_sub_find),
        cmocka_unit_test(test_cut),        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_lists),      cmocka_unit_test(test_copies),
        cmocka_unit_test(test_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
