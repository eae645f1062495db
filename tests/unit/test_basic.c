/* SPDX-License-Identifier: Apache-2.0 */
/* Basic credentials: what is one, and what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guard.h"
#include "tenant/basic.h"

static void test_tokens(void **state)
{
    static const struct {
        const char *value, *token; /* token NULL: refused with |err| */
        enum err err;
    } rows[] = {
        {"Basic YTpi",             "YTpi",     OK         },
        {"bAsIc YTpi",             "YTpi",     OK         }, /* RFC 9110 11.1 */
        {"  Basic   YTpi  ",       "YTpi",     OK         },
        {"Basic YTpiYw==",         "YTpiYw==", OK         },
        {"Basic",                  NULL,       ERR_SYNTAX },
        {"Basic ",                 NULL,       ERR_SYNTAX },
        {"Basic ==",               NULL,       ERR_SYNTAX },
        {"Basic YT pi",            NULL,       ERR_SYNTAX },
        {"Basic YTpi, Basic YTpj", NULL,       ERR_SYNTAX },
        {"Basic realm=\"x\"",      NULL,       ERR_SYNTAX },
        {"Bearer YTpi",            NULL,       ERR_MISSING},
        {"Digest username=\"a\"",  NULL,       ERR_MISSING},
        {"BasicYTpi",              NULL,       ERR_MISSING},
        {"",                       NULL,       ERR_SYNTAX },
        {"\"\"",                   NULL,       ERR_SYNTAX },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span token = SPAN_NONE;

        print_message("%s\n", rows[i].value);
        assert_int_equal(basic_token(span_of(rows[i].value), &token), rows[i].err);
        if (rows[i].token)
            assert_true(span_eq(token, span_of(rows[i].token)));
    }
}

static void test_the_longest_token(void **state)
{
    char value[6 + BASIC_TOKEN_MAX + 2];
    struct span token;

    (void)state;
    memset(value, 'A', sizeof value);
    memcpy(value, "Basic ", 6);
    assert_int_equal(basic_token((struct span){value, 6 + BASIC_TOKEN_MAX}, &token), OK);
    assert_int_equal(token.n, BASIC_TOKEN_MAX);
    assert_int_equal(basic_token((struct span){value, 7 + BASIC_TOKEN_MAX}, &token), ERR_LIMIT);
}

static void test_decoding(void **state)
{
    static const struct {
        const char *token, *user, *password; /* user NULL: refused */
    } rows[] = {
        {"QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"}, /* RFC 7617 2 */
        {"dGVzdDoxMjPCow==",             "test",    "123\xc2\xa3"}, /* RFC 7617 2.1 */
        {"YTpi",                         "a",       "b"          },
        {"YTpiOmM=",                     "a",       "b:c"        }, /* the first colon divides */
        {"YTo=",                         "a",       ""           },
        {"OmI=",                         NULL,      NULL         }, /* no user */
        {"YWI=",                         NULL,      NULL         }, /* no colon */
        {"YTpi====",                     NULL,      NULL         },
        {"YTpiOm",                       NULL,      NULL         }, /* not padded */
        {"YTpiOmN=",                     NULL,      NULL         }, /* bits that count for nothing, and are not 0 */
        {"YTp=",                         NULL,      NULL         },
        {"YT=i",                         NULL,      NULL         },
        {"Y===",                         NULL,      NULL         },
        {"YTp_",                         NULL,      NULL         }, /* of another alphabet */
        {"YTr/",                         NULL,      NULL         }, /* not UTF-8 */
        {"YToA",                         NULL,      NULL         }, /* NUL */
        {"YTpiCg==",                     NULL,      NULL         }, /* LF */
        {"",                             NULL,      NULL         },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span token = span_of(rows[i].token), user, password;
        struct guard g = guard_new(token.n);

        token = guard_span(&g, token);
        char *room = test_malloc(BASIC_ROOM(token.n)); /* and not a byte more */
        enum err e = basic_decode(token, room, &user, &password);

        print_message("%s\n", rows[i].token);
        assert_int_equal(e, rows[i].user ? OK : ERR_SYNTAX);
        if (rows[i].user) {
            assert_true(span_eq(user, span_of(rows[i].user)));
            assert_true(span_eq(password, span_of(rows[i].password)));
        }
        test_free(room);
        guard_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_the_longest_token),
        cmocka_unit_test(test_decoding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
