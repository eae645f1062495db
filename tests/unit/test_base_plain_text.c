/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/plain_text.h"

static const struct row {
    const char *why;
    struct span text, plain;
} rows[] = {
    {"nothing",                  SPAN(""),                         SPAN("")                        },
    {"ASCII",                    SPAN(" a~"),                      SPAN(" a~")                     },
    {"letters of others",        SPAN("\xc3\xa4\xe2\x82\xac"),     SPAN("\xc3\xa4\xe2\x82\xac")    },
    {"four bytes",               SPAN("\xf0\x9f\x98\x80"),         SPAN("\xf0\x9f\x98\x80")        },
    {"NUL, LF, CR, TAB, ESC",    SPAN("\0\n\r\t\x1b"),             SPAN("?????")                   },
    {"DEL",                      SPAN("\x7f"),                     SPAN("?")                       },
    {"first of C1",              SPAN("\xc2\x80"),                 SPAN("?")                       },
    {"CSI of C1",
     SPAN("\xc2\x9b"
          "2J"),
     SPAN("?2J")                                                                                   },
    {"last of C1",               SPAN("\xc2\x9f"),                 SPAN("?")                       },
    {"behind C1",                SPAN("\xc2\xa0"),                 SPAN("\xc2\xa0")                },
    {"C1 as bytes",
     SPAN("\x9b"
          "2J"),
     SPAN("?2J")                                                                                   },
    {"cut",                      SPAN("a\xe2\x82"),                SPAN("a??")                     },
    {"overlong LF",              SPAN("\xc0\x8a"),                 SPAN("??")                      },
    {"before the separators",    SPAN("\xe2\x80\xa7"),             SPAN("\xe2\x80\xa7")            },
    {"line separator",           SPAN("\xe2\x80\xa8"),             SPAN("?")                       },
    {"paragraph separator",      SPAN("\xe2\x80\xa9"),             SPAN("?")                       },
    {"first override",           SPAN("\xe2\x80\xaa"),             SPAN("?")                       },
    {"last override",            SPAN("\xe2\x80\xae"),             SPAN("?")                       },
    {"behind the overrides",     SPAN("\xe2\x80\xaf"),             SPAN("\xe2\x80\xaf")            },
    {"before the isolates",      SPAN("\xe2\x81\xa5"),             SPAN("\xe2\x81\xa5")            },
    {"first isolate",            SPAN("\xe2\x81\xa6"),             SPAN("?")                       },
    {"last isolate",             SPAN("\xe2\x81\xa9"),             SPAN("?")                       },
    {"behind the isolates",      SPAN("\xe2\x81\xaa"),             SPAN("\xe2\x81\xaa")            },
    {"the same elsewhere",       SPAN("\xe3\x80\xa8\xe3\x81\xa6"), SPAN("\xe3\x80\xa8\xe3\x81\xa6")},
    {"what stands around stays", SPAN("a\x1b[31mb\xc3\xa4"),       SPAN("a?[31mb\xc3\xa4")         },
};

static void test_add(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&out);
        plain_text_add(&out, rows[i].text);
        if (!span_eq(buf_span(&out), rows[i].plain))
            fail_msg("%s: %s", rows[i].why, buf_cstr(&out));
    }
    buf_done(&out);
}

static void test_lines(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    plain_text_line(&out, "%d: %s", 1, "a\nb\x1b");
    assert_string_equal(buf_cstr(&out), "1: a?b?\n");
    buf_reset(&out);
    plain_text_lines(&out, SPAN("a\x1b\n\nb\xc2\x9b\n"));
    assert_string_equal(buf_cstr(&out), "a?\n\nb?\n");
    buf_reset(&out);
    plain_text_lines(&out, SPAN("a\nb"));
    assert_string_equal(buf_cstr(&out), "a\nb");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
