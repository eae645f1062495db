/* SPDX-License-Identifier: Apache-2.0 */
/* What a client is told when TLS does not come about: by OpenSSL's codes, and by real handshakes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <openssl/bio.h>
#include <openssl/err.h>

#include "protect/tls_context_int.h"
#include "test_certs.h"

#define ALERT(a) (SSL_AD_REASON_OFFSET + (a))

/* ---- codes ---- */

/* clang-format off */
static const struct reason_row {
    const char *name;
    int reason;
    enum tls_own_certificate own;
    const char *text; /* part of it; NULL: there is none */
} reasons[] = {
    {"clear text", SSL_R_WRONG_VERSION_NUMBER, TLS_OWN_NONE, "does not speak TLS"},
    {"http", SSL_R_HTTP_REQUEST, TLS_OWN_NONE, "does not speak TLS"},
    {"noise", SSL_R_PACKET_LENGTH_TOO_LONG, TLS_OWN_NONE, "does not speak TLS"},
    {"old, said by us", SSL_R_UNSUPPORTED_PROTOCOL, TLS_OWN_NONE, "no TLS version"},
    {"old, said by them", ALERT(SSL_AD_PROTOCOL_VERSION), TLS_OWN_NONE, "no TLS version"},
    {"none, TLS 1.3", ALERT(SSL_AD_CERTIFICATE_REQUIRED), TLS_OWN_WANTED, "demands a client cert"},
    {"none, TLS 1.2", ALERT(SSL_AD_HANDSHAKE_FAILURE), TLS_OWN_WANTED, "demands a client cert"},
    {"none, GnuTLS", ALERT(SSL_AD_BAD_CERTIFICATE), TLS_OWN_WANTED, "demands a client cert"},
    {"broken", ALERT(SSL_AD_BAD_CERTIFICATE), TLS_OWN_GIVEN, "refuses our client certif"},
    {"kind", ALERT(SSL_AD_UNSUPPORTED_CERTIFICATE), TLS_OWN_GIVEN, "none of that kind"},
    {"revoked", ALERT(SSL_AD_CERTIFICATE_REVOKED), TLS_OWN_GIVEN, "it has been revoked"},
    {"expired", ALERT(SSL_AD_CERTIFICATE_EXPIRED), TLS_OWN_GIVEN, "it has expired"},
    {"unknown", ALERT(SSL_AD_CERTIFICATE_UNKNOWN), TLS_OWN_GIVEN, "does not say why"},
    {"unknown CA", ALERT(SSL_AD_UNKNOWN_CA), TLS_OWN_GIVEN, "does not trust the CA"},
    {"denied", ALERT(SSL_AD_ACCESS_DENIED), TLS_OWN_GIVEN, "may not come in"},
    {"nothing in common", ALERT(SSL_AD_HANDSHAKE_FAILURE), TLS_OWN_NONE, "no TLS that both sides"},
    {"name", ALERT(SSL_AD_UNRECOGNIZED_NAME), TLS_OWN_NONE, "certificate for that name"},
    {"none, and not known that one was asked for", ALERT(SSL_AD_CERTIFICATE_UNKNOWN), TLS_OWN_NONE,
     "demands a client cert"},
    {"no row", ALERT(SSL_AD_DECODE_ERROR), TLS_OWN_NONE, NULL},
    {"no row of OpenSSL", SSL_R_BAD_LENGTH, TLS_OWN_GIVEN, NULL},
};
/* clang-format on */

static void test_reason(void **state)
{
    const struct reason_row *row = *state;
    const char *text = tls_client_reason_text(row->reason, row->own);

    if (!row->text) {
        assert_null(text);
        return;
    }
    assert_non_null(text);
    if (!strstr(text, row->text))
        fail_msg("%s", text);
}

static const struct verify_row {
    const char *name;
    long code;
    const char *text;
} verifies[] = {
    {"expired",     X509_V_ERR_CERT_HAS_EXPIRED,                  "has expired"           },
    {"early",       X509_V_ERR_CERT_NOT_YET_VALID,                "not valid yet"         },
    {"revoked",     X509_V_ERR_CERT_REVOKED,                      "revoked"               },
    {"name",        X509_V_ERR_HOSTNAME_MISMATCH,                 "for another name"      },
    {"address",     X509_V_ERR_IP_ADDRESS_MISMATCH,               "not for the address"   },
    {"issuer",      X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "nobody who is trusted" },
    {"self-signed", X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,       "signed by itself"      },
    {"root",        X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,         "leads to is not truste"},
    {"short",       X509_V_ERR_EE_KEY_TOO_SMALL,                  "too short"             },
    {"no row",      X509_V_ERR_PATH_LENGTH_EXCEEDED,              NULL                    },
};

static void test_verify(void **state)
{
    const struct verify_row *row = *state;
    const char *text = tls_client_verify_text(row->code);

    if (row->text)
        assert_non_null(strstr(text, row->text));
    else
        assert_null(text);
}

/* ---- handshakes ---- */

/* clang-format off */
static const struct shake_row {
    const char *name;
    const char *server_name;         /* that the client asks for */
    bool other_ca;                   /* that the client trusts */
    bool wants_client, wrong_client; /* a certificate is demanded; and is of another CA */
    bool only_1_2;
    const char *text;
} shakes[] = {
    {.name = "wrong CA", .server_name = "gw", .other_ca = true, .text = "nobody who is trusted"},
    {.name = "wrong name", .server_name = "elsewhere", .text = "for another name"},
    {.name = "wrong address", .server_name = "127.0.0.1", .text = "not for the address"},
    {.name = "TLS 1.3 without one", .server_name = "gw", .wants_client = true,
     .text = "demands a client certificate"},
    {.name = "TLS 1.2 without one", .server_name = "gw", .wants_client = true, .only_1_2 = true,
     .text = "demands a client certificate"},
    {.name = "TLS 1.3, of another CA", .server_name = "gw", .wants_client = true,
     .wrong_client = true,
     .text = "does not trust the CA"},
    {.name = "TLS 1.2, of another CA", .server_name = "gw", .wants_client = true,
     .wrong_client = true,
     .only_1_2 = true, .text = "does not trust the CA"},
};
/* clang-format on */

/* Until the client fails: in the handshake, or in its first read. */
static void shake(SSL *client, SSL *server)
{
    for (unsigned i = 0; i < 20; i++) {
        char byte;
        int r =
            SSL_is_init_finished(client) ? SSL_read(client, &byte, 1) : SSL_do_handshake(client);
        int e = SSL_get_error(client, r);

        if (r <= 0 && e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
            return;
        ERR_clear_error();
        (void)SSL_do_handshake(server);
        ERR_clear_error();
    }
    fail_msg("the client did not fail");
}

static void test_shake(void **state)
{
    const struct shake_row *row = *state;
    struct test_cert ca = test_ca_new("Test CA"), other = test_ca_new("Other CA");
    struct test_cert leaf =
        test_cert_new(&ca, (struct test_cert_spec){.cn = "gw", .san = "DNS:gw"});
    struct test_cert own = test_cert_new(&other, (struct test_cert_spec){.cn = "me"});
    struct tls_context *s =
        test_tls_server(&leaf, row->wants_client ? &ca : NULL, row->wants_client);
    struct tls_context *c =
        test_tls_client(row->other_ca ? &other : &ca, row->wrong_client ? &own : NULL);
    SSL *client = tls_context_open(c, row->server_name), *server = tls_context_open(s, NULL);
    BIO *a, *b;
    char text[160];

    assert_int_equal(BIO_new_bio_pair(&a, 1 << 16, &b, 1 << 16), 1);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    if (row->only_1_2)
        SSL_set_max_proto_version(server, TLS1_2_VERSION);
    shake(client, server);
    tls_error_text(client, text, sizeof text);
    if (!strstr(text, row->text))
        fail_msg("%s", text);
    SSL_free(client);
    SSL_free(server);
    tls_context_unref(c);
    tls_context_unref(s);
    test_cert_free(&own);
    test_cert_free(&leaf);
    test_cert_free(&other);
    test_cert_free(&ca);
}

#define ROWS(table, fn, group)                                                               \
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {                                          \
        (void)snprintf(names[n], sizeof names[n], group ": %s", (table)[i].name);            \
        tests[n] =                                                                           \
            (struct CMUnitTest){names[n], fn, NULL, NULL, (void *)(uintptr_t) & (table)[i]}; \
        n++;                                                                                 \
    }

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(reasons) + ARRAY_LEN(verifies) + ARRAY_LEN(shakes)];
    static char names[ARRAY_LEN(tests)][64];
    size_t n = 0;

    ROWS(reasons, test_reason, "reason")
    ROWS(verifies, test_verify, "verify")
    ROWS(shakes, test_shake, "handshake")
    return cmocka_run_group_tests(tests, NULL, NULL);
}
