/* SPDX-License-Identifier: Apache-2.0 */
/* Which certificate a server shows to whom, and the OCSP response that goes with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <time.h>

#include <openssl/ocsp.h>

#include "test_certs.h"
#include "test_meeting.h"

#define HOUR 3600L

static struct test_cert ca, first, second, third;
static uint64_t now_ms;

static uint64_t fake_us(void *ctx)
{
    (void)ctx;
    return now_ms * 1000;
}

static uint64_t fake_ms(void *ctx)
{
    (void)ctx;
    return now_ms;
}

static const struct clock fake_clock = {.mono_us = fake_us, .wall_ms = fake_ms};

static int make_certs(void **state)
{
    (void)state;
    ca = test_ca_new("CA");
    first = test_cert_new(
        &ca, (struct test_cert_spec){.cn = "first", .san = "DNS:first.test,DNS:*.wild.test"});
    second = test_cert_new(
        &ca, (struct test_cert_spec){.cn = "second", .san = "DNS:second.test,DNS:b.wild.test"});
    third = test_cert_new(&ca, (struct test_cert_spec){.cn = "third", .rsa_bits = 2048});
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    test_cert_free(&ca);
    test_cert_free(&first);
    test_cert_free(&second);
    test_cert_free(&third);
    return 0;
}

static int new_test(void **state)
{
    (void)state;
    now_ms = (uint64_t)time(NULL) * 1000;
    return 0;
}

static struct tls_context *server(struct tls_settings s)
{
    struct tls_context *c = NULL;
    struct buf why;

    s.role = TLS_SERVER;
    s.clock = &fake_clock;
    buf_init(&why, 0);
    if (tls_context_new(&s, &c, &why) != OK)
        fail_msg("%s", buf_cstr(&why));
    buf_done(&why);
    return c;
}

/* A client that asks for |name| (NULL: for none) and takes what comes. */
static SSL *asking(struct tls_context *c, const char *name)
{
    SSL *ssl = SSL_new(tls_context_ssl(c));

    SSL_set_connect_state(ssl);
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    if (name)
        assert_int_equal(SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                                  (void *)(uintptr_t)name),
                         1);
    return ssl;
}

static void expect_shown(struct tls_context *s, int version, const char *name, const char *cn)
{
    struct tls_context *c = test_tls_client(&ca, NULL);

    assert_int_equal(SSL_CTX_set_max_proto_version(tls_context_ssl(c), version), 1);
    struct meeting m = meet(asking(c, name), tls_context_open(s, NULL));
    X509 *shown = SSL_get1_peer_certificate(m.client);
    char got[64] = "nothing";

    if (shown)
        (void)X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, got,
                                        sizeof got);
    print_message("%s: %s\n", name ? name : "no name", got);
    assert_string_equal(got, cn);
    assert_int_equal(how_of(m.server_report).level, SALLYPORT_STRONG);
    X509_free(shown);
    part(&m);
    tls_context_unref(c);
}

static struct tls_identity identity(const struct test_cert *t, const char *const *names, size_t n)
{
    return (struct tls_identity){.certificate = span_of(t->cert_pem),
                                 .key = span_of(t->key_pem),
                                 .names = names,
                                 .n_names = n};
}

static void test_by_name(void **state)
{
    static const char *const names[] = {"third.test", "*.Third.test"};
    static const struct {
        const char *name, *cn;
    } rows[] = {
        {NULL,                "first" },
        {"first.test",        "first" },
        {"FIRST.test",        "first" },
        {"first.test.",       "first" },
        {"second.test",       "second"},
        {"Second.Test",       "second"},
        {"second.test.",      "second"},
        {"a.wild.test",       "first" }, /* a wildcard of the first */
        {"b.wild.test",       "second"}, /* a whole name before a wildcard */
        {"third.test",        "third" },
        {"a.third.test",      "third" },
        {"A.THIRD.TEST",      "third" },
        {"a.b.third.test",    "first" }, /* one label only */
        {"xthird.test",       "first" },
        {"unknown.test",      "first" },
        {"second.test.other", "first" },
    };
    const struct tls_identity also[] = {identity(&second, NULL, 0), identity(&third, names, 2)};
    struct tls_context *s = server((struct tls_settings){.certificate = span_of(first.cert_pem),
                                                         .key = span_of(first.key_pem),
                                                         .also = also,
                                                         .n_also = 2});

    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            expect_shown(s, version, rows[i].name, rows[i].cn);
    tls_context_unref(s);
}

/* Names that are said count instead of those in the certificate. */
static void test_said_names(void **state)
{
    static const char *const names[] = {"said.test"};
    const struct tls_identity also[] = {identity(&second, names, 1)};
    struct tls_context *s = server((struct tls_settings){.certificate = span_of(first.cert_pem),
                                                         .key = span_of(first.key_pem),
                                                         .also = also,
                                                         .n_also = 1});

    (void)state;
    expect_shown(s, TLS1_3_VERSION, "said.test", "second");
    expect_shown(s, TLS1_3_VERSION, "second.test", "first");
    tls_context_unref(s);
}

/* The name is the client's word: another certificate, and the same demands. */
static void test_same_demands(void **state)
{
    const struct tls_identity also[] = {identity(&second, NULL, 0)};
    struct tls_context *s = server((struct tls_settings){.certificate = span_of(first.cert_pem),
                                                         .key = span_of(first.key_pem),
                                                         .trust = span_of(ca.cert_pem),
                                                         .require_peer = true,
                                                         .also = also,
                                                         .n_also = 1});
    struct tls_context *c = test_tls_client(&ca, NULL);

    (void)state;
    struct meeting m = meet(asking(c, "second.test"), tls_context_open(s, NULL));

    expect_why(m.server_report, "we-rejected-peer", EKEYREJECTED);
    part(&m);
    tls_context_unref(c);
    tls_context_unref(s);
}

static void test_load(void **state)
{
    struct tls_identity bad = identity(&second, NULL, 0);
    struct tls_settings s = {.role = TLS_SERVER,
                             .certificate = span_of(first.cert_pem),
                             .key = span_of(first.key_pem),
                             .also = &bad,
                             .n_also = 1};
    struct tls_context *c = NULL;
    struct buf why;

    (void)state;
    bad.key = span_of(first.key_pem);
    buf_init(&why, 0);
    assert_int_equal(tls_context_new(&s, &c, &why), ERR_CONFIG);
    assert_non_null(strstr(buf_cstr(&why), "does not belong"));
    buf_done(&why);
}

/* ---- OCSP ---- */

static struct span ocsp_of(const struct test_cert *t, int status, long from, long until)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    ASN1_TIME *this_update = X509_gmtime_adj(NULL, from), *next = X509_gmtime_adj(NULL, until);
    ASN1_TIME *gone = X509_gmtime_adj(NULL, -HOUR);
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, t->x509, ca.x509);
    unsigned char *der = NULL;

    assert_non_null(OCSP_basic_add1_status(basic, id, status, 0,
                                           status == V_OCSP_CERTSTATUS_REVOKED ? gone : NULL,
                                           this_update, until ? next : NULL));
    assert_int_equal(OCSP_basic_sign(basic, ca.x509, ca.key, EVP_sha256(), NULL, 0), 1);
    OCSP_RESPONSE *r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    int n = i2d_OCSP_RESPONSE(r, &der);

    assert_true(n > 0);
    OCSP_RESPONSE_free(r);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(this_update);
    ASN1_TIME_free(next);
    ASN1_TIME_free(gone);
    return (struct span){(const char *)der, (size_t)n};
}

static void ocsp_free(struct span der)
{
    OPENSSL_free((void *)(uintptr_t)der.p);
}

/* How many bytes the client got, asking for |name|; they are those of |want|. */
static long stapled(struct tls_context *s, int version, const char *name, struct span want)
{
    struct tls_context *c = test_tls_client(&ca, NULL);
    SSL *ssl = asking(c, name);
    const unsigned char *got = NULL;

    assert_int_equal(SSL_set_max_proto_version(ssl, version), 1);
    if (want.p)
        assert_int_equal(SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp), 1);
    struct meeting m = meet(ssl, tls_context_open(s, NULL));
    long n = SSL_get_tlsext_status_ocsp_resp(m.client, &got);

    assert_int_equal(how_of(m.client_report).level, SALLYPORT_STRONG);
    if (n > 0)
        assert_true(span_eq((struct span){(const char *)got, (size_t)n}, want));
    part(&m);
    tls_context_unref(c);
    return n;
}

static void test_staple(void **state)
{
    struct span der = ocsp_of(&first, V_OCSP_CERTSTATUS_GOOD, -HOUR, HOUR);
    struct span other = ocsp_of(&second, V_OCSP_CERTSTATUS_GOOD, -HOUR, 2 * HOUR);
    struct tls_identity also = identity(&second, NULL, 0);

    (void)state;
    also.ocsp = other;
    struct tls_context *s = server((struct tls_settings){.certificate = span_of(first.cert_pem),
                                                         .key = span_of(first.key_pem),
                                                         .ocsp = der,
                                                         .also = &also,
                                                         .n_also = 1});

    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        now_ms = (uint64_t)time(NULL) * 1000;
        assert_int_equal(stapled(s, version, NULL, SPAN_NONE), -1); /* nobody asked */
        assert_int_equal(stapled(s, version, NULL, der), der.n);
        assert_int_equal(stapled(s, version, "second.test", other), other.n);
        /* It ends while the server runs. */
        now_ms += (HOUR + 5) * 1000;
        assert_int_equal(stapled(s, version, NULL, der), -1);
        assert_int_equal(stapled(s, version, "second.test", other), other.n);
    }
    tls_context_unref(s);
    ocsp_free(der);
    ocsp_free(other);
}

static void test_staple_refused(void **state)
{
    const struct {
        struct span der;
        bool is_static;
        const char *why;
    } rows[] = {
        {ocsp_of(&first,          V_OCSP_CERTSTATUS_GOOD,     -HOUR,                                                                     HOUR), false, NULL},
        {ocsp_of(&second,                  V_OCSP_CERTSTATUS_GOOD,                                        -HOUR,                                                                                                                 HOUR), false, "another"},
        {ocsp_of(&first,V_OCSP_CERTSTATUS_GOOD,-2 * HOUR,-HOUR), false, "expired"},
        {ocsp_of(&first,              V_OCSP_CERTSTATUS_GOOD,                                        HOUR,                                                                                                    2 * HOUR), false, "not good yet"},
        {ocsp_of(&first,              V_OCSP_CERTSTATUS_GOOD,                                                                     -HOUR,                                                                                                                                                                                                                        0), false, "nextUpdate"},
        {ocsp_of(&first,                       V_OCSP_CERTSTATUS_REVOKED,                                    -HOUR,                                                                          HOUR), false, "revoked"},
        {ocsp_of(&first,              V_OCSP_CERTSTATUS_UNKNOWN,                                   -HOUR,HOUR), false, "does not know"},
        {SPAN("nonsense"),          true, "not an OCSP"},
        {SPAN("\x30\x03\x0a\x01\x03"),                  true,                                "error message"                                                                                                        },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf why;

        buf_init(&why, 0);
        assert_int_equal(tls_check_ocsp(rows[i].der, span_of(first.cert_pem), &why),
                         rows[i].why ? ERR_CONFIG : OK);
        print_message("row %zu: %s\n", i, buf_cstr(&why));
        if (rows[i].why)
            assert_non_null(strstr(buf_cstr(&why), rows[i].why));
        buf_done(&why);
        /* A server starts all the same, and sends nothing that is of no use. */
        struct tls_context *s = server((struct tls_settings){.certificate = span_of(first.cert_pem),
                                                             .key = span_of(first.key_pem),
                                                             .ocsp = rows[i].der});

        assert_int_equal(stapled(s, TLS1_3_VERSION, NULL, rows[i].der) > 0, rows[i].why == NULL);
        tls_context_unref(s);
        if (!rows[i].is_static)
            ocsp_free(rows[i].der);
    }
}

/* ---- what is never done ---- */

static void test_foreign_alpn(void **state)
{
    static const unsigned char offer[] = "\x02h2\x08http/1.1";
    struct tls_context *s = server((struct tls_settings){.certificate = span_of(first.cert_pem),
                                                         .key = span_of(first.key_pem)});
    struct tls_context *c = test_tls_client(&ca, NULL);
    SSL *ssl = tls_context_open(c, "first.test");
    const unsigned char *chosen;
    unsigned n;

    (void)state;
    assert_int_equal(SSL_set_alpn_protos(ssl, offer, sizeof offer - 1), 0);
    struct meeting m = meet(ssl, tls_context_open(s, NULL));

    assert_int_equal(how_of(m.client_report).level, SALLYPORT_STRONG);
    SSL_get0_alpn_selected(m.client, &chosen, &n);
    assert_int_equal(n, 0);
    part(&m);
    tls_context_unref(c);
    tls_context_unref(s);
}

/* RFC 7301 3.2. A server with a name takes who offers it and who offers none. */
static void test_own_alpn(void **state)
{
    static const struct {
        struct span server, client;
        const unsigned char *offer; /* instead of |client| */
        size_t n_offer;
        const char *chosen; /* NULL: refused */
    } rows[] = {
        {SPAN("http/1.1"),           SPAN("http/1.1"),           NULL,                                        0,  "http/1.1"          },
        {SPAN("http/1.1"),           SPAN_NONE,                  (const unsigned char *)"\x02h2\x08http/1.1", 12, "http/1.1"          },
        {SPAN("http/1.1"),           SPAN_NONE,                  NULL,                                        0,  ""                  },
        {SPAN("http/1.1"),           SPAN("sallyport-upgraded"), NULL,                                        0,  NULL                },
        {SPAN("sallyport-upgraded"), SPAN_NONE,                  (const unsigned char *)"\x02h2\x08http/1.1", 12,
         NULL                                                                                                                         },
        {SPAN("sallyport-upgraded"), SPAN("sallyport-upgraded"), NULL,                                        0,  "sallyport-upgraded"},
        {SPAN_NONE,                  SPAN("sallyport-upgraded"), NULL,                                        0,  ""                  },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_context *s = server((struct tls_settings){.certificate = span_of(first.cert_pem),
                                                             .key = span_of(first.key_pem),
                                                             .alpn = rows[i].server});
        struct tls_settings set = {
            .role = TLS_CLIENT, .trust = span_of(ca.cert_pem), .alpn = rows[i].client};
        struct tls_context *c = NULL;
        const unsigned char *chosen;
        struct buf why;
        unsigned n;

        buf_init(&why, 1024);
        assert_int_equal(tls_context_new(&set, &c, &why), OK);
        buf_done(&why);
        SSL *ssl = tls_context_open(c, "first.test");

        if (rows[i].offer)
            assert_int_equal(SSL_set_alpn_protos(ssl, rows[i].offer, (unsigned)rows[i].n_offer), 0);
        struct meeting m = meet(ssl, tls_context_open(s, NULL));

        assert_int_equal(how_of(m.client_report).level,
                         rows[i].chosen ? SALLYPORT_STRONG : SALLYPORT_NONE);
        SSL_get0_alpn_selected(m.client, &chosen, &n);
        assert_int_equal(n, rows[i].chosen ? strlen(rows[i].chosen) : 0);
        if (n)
            assert_memory_equal(chosen, rows[i].chosen, n);
        part(&m);
        tls_context_unref(c);
        tls_context_unref(s);
    }
}

static void test_no_renegotiation(void **state)
{
    struct tls_context *s = server((struct tls_settings){.certificate = span_of(first.cert_pem),
                                                         .key = span_of(first.key_pem)});
    struct tls_context *c = test_tls_client(&ca, NULL);
    char byte;

    (void)state;
    assert_int_equal(SSL_CTX_set_max_proto_version(tls_context_ssl(c), TLS1_2_VERSION), 1);
    (void)SSL_CTX_clear_options(tls_context_ssl(c), SSL_OP_NO_RENEGOTIATION);
    struct meeting m = meet(tls_context_open(c, "first.test"), tls_context_open(s, NULL));

    assert_int_equal(SSL_renegotiate(m.client), 1);
    (void)SSL_do_handshake(m.client);
    assert_true(SSL_read(m.server, &byte, 1) <= 0);
    ERR_clear_error();
    (void)SSL_do_handshake(m.client);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    assert_null(SSL_get_current_compression(m.server));
    part(&m);
    tls_context_unref(c);
    tls_context_unref(s);
}

#define ROW(f) cmocka_unit_test_setup(f, new_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_by_name),      ROW(test_said_names), ROW(test_same_demands),
        ROW(test_load),         ROW(test_staple),     ROW(test_staple_refused),
        ROW(test_foreign_alpn), ROW(test_own_alpn),   ROW(test_no_renegotiation),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
