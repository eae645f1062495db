/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a certificate, when its end is near, whose it is, and when it may be over. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "test_certs.h"

static void tells(void **state)
{
    struct test_cert ca = test_ca_new("ca");
    struct test_cert leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "server"});
    struct tls_context *c = test_tls_server(&leaf, NULL, false);
    struct tls_certificate read;

    (void)state;
    assert_int_equal(tls_certificate_read(span_of(leaf.cert_pem), &read), OK);
    assert_string_equal(read.subject, "CN=server");
    assert_true(strlen(read.serial) > 0);
    assert_int_equal(read.not_after - read.not_before, 366 * TEST_DAY);
    assert_int_equal(read.not_after, tls_context_not_after(c));
    assert_int_equal(tls_certificate_read(SPAN("no PEM"), &read), ERR_SYNTAX);
    assert_int_equal(tls_certificate_read(SPAN_NONE, &read), ERR_SYNTAX);
    tls_context_unref(c);
    test_cert_free(&leaf);
    test_cert_free(&ca);
}

static void warns_in_time(void **state)
{
    static const struct {
        int64_t days, left; /* of life in all; seconds */
        unsigned want;
    } rows[] = {
        {365, 31 * TEST_DAY,     0       },
        {365, 30 * TEST_DAY + 1, 0       },
        {365, 30 * TEST_DAY,     30      },
        {365, 7 * TEST_DAY + 1,  30      },
        {365, 7 * TEST_DAY,      7       },
        {365, TEST_DAY,          1       },
        {365, 1,                 1       },
        {365, 0,                 UINT_MAX},
        {365, -TEST_DAY,         UINT_MAX},
        {90,  30 * TEST_DAY,     30      },
 /* Renewed every other week: 30 days are never left. */
        {47,  20 * TEST_DAY,     0       },
        {47,  7 * TEST_DAY,      7       },
        {7,   6 * TEST_DAY,      0       },
        {7,   TEST_DAY,          1       },
        {1,   TEST_DAY / 2,      0       },
        {1,   0,                 UINT_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const int64_t now = INT64_C(2000000000);
        const struct tls_certificate c = {.not_after = now + rows[i].left,
                                          .not_before =
                                              now + rows[i].left - rows[i].days * TEST_DAY};

        print_message("row %zu\n", i);
        assert_int_equal(tls_certificate_warning(&c, now), rows[i].want);
    }
}

static void belongs_to_its_ca(void **state)
{
    struct test_cert ca = test_ca_new("ca"), other = test_ca_new("other");
    struct test_cert middle = test_cert_new(&ca, (struct test_cert_spec){.cn = "middle", .ca = 1});
    struct test_cert leaf = test_cert_new(&middle, (struct test_cert_spec){.cn = "server"});
    struct tls_context *c;
    struct buf chain, why;

    (void)state;
    buf_init(&chain, 0);
    buf_text(&chain, leaf.cert_pem);
    buf_text(&chain, middle.cert_pem);
    buf_init(&why, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct tls_settings s = {
            .role = TLS_SERVER,
            .certificate =
                i == 1 ? span_of(leaf.cert_pem) : buf_span(&chain), /* 1: a link is missing */
            .key = span_of(leaf.key_pem),
            .trust = span_of(i == 2 ? other.cert_pem : ca.cert_pem),
            .require_peer = true,
        };

        assert_int_equal(tls_context_new(&s, &c, &why), OK);
        assert_int_equal(tls_context_check_issuer(c, &why), i == 0 ? OK : ERR_CONFIG);
        assert_int_equal(why.n > 0, i > 0);
        buf_reset(&why);
        tls_context_unref(c);
    }
    buf_done(&why);
    buf_done(&chain);
    test_cert_free(&leaf);
    test_cert_free(&middle);
    test_cert_free(&other);
    test_cert_free(&ca);
}

/* Refused when it is installed; served by whoever had it before. */
static void over(void **state)
{
    struct test_cert old = test_cert_new(
        NULL, (struct test_cert_spec){.cn = "old", .from = -3 * TEST_DAY, .until = -TEST_DAY});
    struct tls_settings s = {
        .role = TLS_SERVER, .certificate = span_of(old.cert_pem), .key = span_of(old.key_pem)};
    struct tls_context *c = NULL;
    struct buf why;

    (void)state;
    buf_init(&why, 0);
    assert_int_equal(tls_context_new(&s, &c, &why), ERR_CONFIG);
    assert_non_null(strstr(buf_cstr(&why), "the certificate expired on"));
    s.any_date = true;
    assert_int_equal(tls_context_new(&s, &c, &why), OK);
    tls_context_unref(c);
    buf_done(&why);
    test_cert_free(&old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells),
        cmocka_unit_test(warns_in_time),
        cmocka_unit_test(belongs_to_its_ca),
        cmocka_unit_test(over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
