/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/html.h"

static const struct row {
    const char *name;
    struct span in;
    const char *out;
} rows[] = {
    {"nothing",               SPAN(""),                                     ""                            },
    {"plain",                 SPAN("report 1.pdf"),                         "report 1.pdf"                },
    {"markup",                SPAN("<b>&amp;</b>"),                         "&lt;b&gt;&amp;amp;&lt;/b&gt;"},
    {"out of an attribute",   SPAN("\"' onload='x"),                        "&quot;&#39; onload=&#39;x"   },
    {"letters",               SPAN("r\xc3\xa9sum\xc3\xa9"),                 "r\xc3\xa9sum\xc3\xa9"        },
    {"four bytes",            SPAN("\xf0\x9f\x98\x80"),                     "\xf0\x9f\x98\x80"            },
    {"controls",              SPAN("a\0b\r\nc\x1b\x7f"),                    "a?b??c??"                    },
    {"C1",                    SPAN("\xc2\x80\xc2\x9f\xc2\xa0"),             "??\xc2\xa0"                  },
    {"not UTF-8",             SPAN("a\xff\xc3(\xe2\x82"),
     "a?"
     "?(?"
     "?"                                                                                                  },
    {"overlong '<'",          SPAN("\xc0\xbc"),                             "??"                          },
    {"order: embeddings",     SPAN("\xe2\x80\xaa\xe2\x80\xae"),             "??"                          },
    {"order: isolates",       SPAN("\xe2\x81\xa6\xe2\x81\xa9"),             "??"                          },
    {"their neighbours stay", SPAN("\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xaa"),
     "\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xaa"                                                               },
};

static void test_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;

        buf_init(&b, 0);
        html_text(&b, rows[i].in);
        if (!span_eq(buf_span(&b), span_of(rows[i].out)))
            fail_msg("%s: %s", rows[i].name, buf_cstr(&b));
        buf_done(&b);
    }
}

static void test_over_the_limit(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4);
    html_text(&b, SPAN("ab&cd"));
    assert_int_not_equal(b.err, OK);
    buf_done(&b);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_over_the_limit),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("html", tests, NULL, NULL);
}
