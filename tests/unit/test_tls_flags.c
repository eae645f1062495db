/* SPDX-License-Identifier: Apache-2.0 */
/* Verification flags: their names and numbers, and what each lets pass, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/x509_vfy.h>

#include "protect/tls_flags.h"

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        unsigned flags;
        const char *wrong; /* the part; NULL: it is fine */
    } rows[] = {
        {"NoFlag",                                                     0,    NULL                                 },
        {"0",                                                          0,    NULL                                 },
        {"IgnoreNotTimeValid",                                         1,    NULL                                 },
        {"ignorenottimevalid",                                         1,    NULL                                 },
        {"IgnoreCtlNotTimeValid",                                      2,    NULL                                 },
        {"IgnoreNotTimeNested",                                        4,    NULL                                 },
        {"IgnoreInvalidBasicConstraints",                              8,    NULL                                 },
        {"AllowUnknownCertificateAuthority",                           16,   NULL                                 },
        {"IgnoreWrongUsage",                                           32,   NULL                                 },
        {"IgnoreInvalidName",                                          64,   NULL                                 },
        {"IgnoreInvalidPolicy",                                        128,  NULL                                 },
        {"IgnoreEndRevocationUnknown",                                 256,  NULL                                 },
        {"IgnoreCtlSignerRevocationUnknown",                           512,  NULL                                 },
        {"IgnoreCertificateAuthorityRevocationUnknown",                1024, NULL                                 },
        {"IgnoreRootRevocationUnknown",                                2048, NULL                                 },
        {"AllFlags",                                                   4095, NULL                                 },
        {"4095",                                                       4095, NULL                                 },
        {"IgnoreEndRevocationUnknown, IgnoreRootRevocationUnknown",    2304, NULL                                 },
        {"IgnoreEndRevocationUnknown|IgnoreRootRevocationUnknown | 1", 2305, NULL                                 },
        {"1,2|4",                                                      7,    NULL                                 },
        {"",                                                           0,    ""                                   },
        {"1,",                                                         0,    ""                                   },
        {",1",                                                         0,    ""                                   },
        {"4096",                                                       0,    "4096"                               },
        {"-1",                                                         0,    "-1"                                 },
        {"0x10",                                                       0,    "0x10"                               },
        {"99999999999999999999",                                       0,    "99999999999999999999"               },
        {"IgnoreEverything",                                           0,    "IgnoreEverything"                   },
        {"NoFlag,IgnoreNotTimeVali",                                   0,    "IgnoreNotTimeVali"                  },
        {"IgnoreNotTimeValid IgnoreWrongUsage",                        0,    "IgnoreNotTimeValid IgnoreWrongUsage"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned flags = 77;
        struct span wrong = SPAN("none");
        enum err e = tls_flags_parse(span_of(rows[i].text), &flags, &wrong);

        print_message("%s\n", rows[i].text);
        assert_int_equal(e, rows[i].wrong ? ERR_SYNTAX : OK);
        assert_int_equal(flags, rows[i].wrong ? 77 : rows[i].flags);
        if (rows[i].wrong)
            assert_true(span_eq(wrong, span_of(rows[i].wrong)));
    }
}

/* What is written is read as the same. */
static void test_format(void **state)
{
    struct buf text;
    struct span wrong;

    (void)state;
    buf_init(&text, 0);
    for (unsigned flags = 0; flags <= TLS_FLAGS_ALL; flags++) {
        unsigned again = 0;

        buf_reset(&text);
        tls_flags_format(flags, &text);
        assert_int_equal(tls_flags_parse(buf_span(&text), &again, &wrong), OK);
        assert_int_equal(again, flags);
    }
    buf_done(&text);
}

static void test_tolerate(void **state)
{
    static const struct {
        unsigned flag;
        int error, depth, top;
    } rows[] = {
        {1,    9,  0, 2},
        {1,    10, 0, 2},
        {1,    10, 2, 2},
        {8,    79, 1, 2},
        {8,    25, 1, 2},
        {8,    37, 0, 2},
        {16,   2,  1, 1},
        {16,   18, 0, 0},
        {16,   19, 1, 1},
        {16,   20, 0, 0},
        {16,   21, 0, 0},
        {16,   27, 0, 0},
        {32,   26, 0, 2},
        {32,   32, 1, 2},
        {32,   39, 0, 2},
        {64,   47, 0, 2},
        {64,   48, 0, 2},
        {64,   49, 0, 2},
        {64,   51, 0, 2},
        {64,   52, 0, 2},
        {64,   53, 0, 2},
        {64,   62, 0, 2},
        {128,  42, 0, 2},
        {128,  43, 0, 2},
        {256,  3,  0, 2},
        {256,  33, 0, 2},
        {256,  11, 0, 2},
        {256,  12, 0, 2},
        {256,  12, 0, 0},
        {1024, 3,  1, 2},
        {1024, 33, 1, 2},
        {1024, 11, 1, 2},
        {1024, 12, 1, 2},
        {2048, 3,  2, 2},
        {2048, 33, 2, 2},
        {2048, 11, 2, 2},
        {2048, 12, 2, 2},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int error = rows[i].error, depth = rows[i].depth, top = rows[i].top;

        print_message("flag %u, error %d, depth %d of %d\n", rows[i].flag, error, depth, top);
        assert_int_equal(tls_flags_tolerate(rows[i].flag, error, depth, top), rows[i].flag);
        assert_int_equal(tls_flags_tolerate(TLS_FLAGS_ALL, error, depth, top), rows[i].flag);
        /* By this one only. */
        assert_int_equal(tls_flags_tolerate(TLS_FLAGS_ALL & ~rows[i].flag, error, depth, top), 0);
    }
    for (int error = 0; error < 120; error++) {
        bool known = false;

        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            known |= rows[i].error == error;
        for (int depth = 0; depth < 4 && !known; depth++)
            assert_int_equal(tls_flags_tolerate(TLS_FLAGS_ALL, error, depth, 3), 0);
    }
    for (int depth = 0; depth < 3; depth++) {
        assert_int_equal(tls_flags_tolerate(TLS_FLAGS_ALL, X509_V_ERR_CERT_REVOKED, depth, 2), 0);
        assert_int_equal(
            tls_flags_tolerate(TLS_FLAGS_ALL, X509_V_ERR_CERT_CHAIN_TOO_LONG, depth, 2), 0);
        assert_int_equal(
            tls_flags_tolerate(TLS_FLAGS_ALL, X509_V_ERR_CERT_SIGNATURE_FAILURE, depth, 2), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_tolerate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
