/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/json.h"
#include "base/utf8.h"
#include "guard.h"

static void test_values_and_commas(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    struct json j = json_to(&out);

    json_open(&j, NULL, '{');
    json_text(&j, "t", "x");
    json_text(&j, "null", NULL);
    json_span(&j, "s", SPAN_NONE);
    json_u64(&j, "u", UINT64_MAX);
    json_i64(&j, "i", INT64_MIN);
    json_i64(&j, "p", 5);
    json_bool(&j, "b", true);
    json_bool(&j, "c", false);
    json_milli(&j, "m", 12345);
    json_milli(&j, "n", 7);
    json_float(&j, "f", 1.239);
    json_float(&j, "g", (double)NAN);
    json_float(&j, "h", -HUGE_VAL);
    json_open(&j, "empty", '[');
    json_close(&j, ']');
    json_open(&j, "list", '[');
    json_u64(&j, NULL, 1);
    json_open(&j, NULL, '{');
    json_close(&j, '}');
    json_text(&j, NULL, "z");
    json_close(&j, ']');
    json_u64(&j, "last", 0);
    json_close(&j, '}');
    assert_string_equal(buf_cstr(&out),
                        "{\"t\":\"x\",\"null\":null,\"s\":\"\",\"u\":18446744073709551615,"
                        "\"i\":-9223372036854775808,\"p\":5,\"b\":true,\"c\":false,"
                        "\"m\":12.345,\"n\":0.007,\"f\":1.24,\"g\":0.00,\"h\":0.00,"
                        "\"empty\":[],\"list\":[1,{},\"z\"],\"last\":0}");
    buf_done(&out);
}

static const struct escape_row {
    struct span in;
    const char *out;
} escape_rows[] = {
    {SPAN("plain"),                            "\"plain\""                                            },
    {SPAN("q\" b\\ s/"),                       "\"q\\\" b\\\\ s/\""                                   },
    {SPAN("\0\b\t\n\r\x1f\x7f"),               "\"\\u0000\\u0008\\u0009\\u000a\\u000d\\u001f\\u007f\""},
    {SPAN("\xe2\x82\xac"),                     "\"\xe2\x82\xac\""                                     },
    {SPAN("\xf0\x9f\x98\x80"),                 "\"\xf0\x9f\x98\x80\""                                 },
    {SPAN("\xff"),                             "\"\\ufffd\""                                          },
    {SPAN("a\xc3(b"),                          "\"a\\ufffd(b\""                                       },
    {SPAN("\xe2\x82"),                         "\"\\ufffd\\ufffd\""                                   },
    {SPAN("\xed\xa0\x80"),                     "\"\\ufffd\\ufffd\\ufffd\""                            },
 /* C1: what a terminal may obey; the character behind them it shows. */
    {SPAN("\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0"), "\"\\u0080\\u009b\\u009f\xc2\xa0\""                    },
    {SPAN("\xc2"),                             "\"\\ufffd\""                                          },
};

static void test_escapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(escape_rows); i++) {
        struct buf out;

        buf_init(&out, 0);
        struct json j = json_to(&out);

        json_span(&j, NULL, escape_rows[i].in);
        assert_string_equal(buf_cstr(&out), escape_rows[i].out);
        buf_done(&out);
    }
}

/* What jansson reads back: the same text, when it was UTF-8. */
static void check_back(const struct buf *out, struct span in)
{
    json_t *j = json_loadb(out->p, out->n, JSON_ALLOW_NUL, NULL);
    json_t *v = json_array_get(j, 0);

    assert_non_null(v);
    if (utf8_is_valid(in)) {
        assert_int_equal(json_string_length(v), in.n);
        assert_memory_equal(json_string_value(v), in.n ? in.p : "", in.n);
    }
    json_decref(j);
}

static void test_random_bytes_parse(void **state)
{
    unsigned seed = 42;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        /* Mostly bytes at which something changes. */
        static const char edges[] =
            "a\"\\/\x1f\x7f\x80\xbf\xc2\xdf\xe0\xed\xa0\x9f\xf0\xf4\x90\xff";
        char in[24];
        size_t n = (size_t)rand_r(&seed) % sizeof in;
        struct buf out;

        for (size_t i = 0; i < n; i++)
            in[i] = rand_r(&seed) % 4 ? edges[(size_t)rand_r(&seed) % (sizeof edges - 1)]
                                      : (char)rand_r(&seed);
        buf_init(&out, 0);
        struct json j = json_to(&out);

        json_open(&j, NULL, '[');
        json_span(&j, NULL, (struct span){in, n});
        json_close(&j, ']');
        check_back(&out, (struct span){in, n});
        buf_done(&out);
    }
}

/* Steps of 16, of 8 and of one byte find the same, never past the end. */
static void test_plain_length_at_every_place(void **state)
{
    struct guard g = guard_new(40);
    char text[40];

    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t n = 1; n <= sizeof text; n++)
        for (size_t at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';

                text[at] = (char)c;
                assert_int_equal(json_plain_len(guard_span(&g, (struct span){text, n})),
                                 plain ? n : at);
            }
            text[at] = 'x';
        }
    assert_int_equal(json_plain_len(SPAN_NONE), 0);
    guard_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_and_commas),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_random_bytes_parse),
        cmocka_unit_test(test_plain_length_at_every_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
