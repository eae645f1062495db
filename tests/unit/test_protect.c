/* SPDX-License-Identifier: Apache-2.0 */
/* What may be loaded, what is demanded, and what a report says. Handshakes run over memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include <openssl/err.h>

#include "protect/policy.h"
#include "test_certs.h"
#include "test_meeting.h"

static struct test_cert ca, other_ca, leaf, client_cert;

static int make_certs(void **state)
{
    (void)state;
    ca = test_ca_new("Test CA");
    other_ca = test_ca_new("Other CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    client_cert = test_cert_new(&ca, (struct test_cert_spec){.cn = "tenant, one\nx\xc3\xa9"});
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    test_cert_free(&client_cert);
    test_cert_free(&leaf);
    test_cert_free(&other_ca);
    test_cert_free(&ca);
    return 0;
}

/* Loading. */

static void expect_load(struct tls_settings s, const char *why_not)
{
    struct tls_context *c = NULL;
    struct buf why;

    buf_init(&why, 0);
    enum err e = tls_context_new(&s, &c, &why);

    if (why_not) {
        assert_int_equal(e, ERR_CONFIG);
        assert_null(c);
        if (!strstr(buf_cstr(&why), why_not))
            fail_msg("said: %s", buf_cstr(&why));
    } else {
        assert_string_equal(buf_cstr(&why), "");
        assert_int_equal(e, OK);
    }
    assert_int_equal(ERR_peek_error(), 0);
    tls_context_unref(c);
    buf_done(&why);
}

static struct tls_settings server_of(const struct test_cert *t)
{
    return (struct tls_settings){
        .role = TLS_SERVER, .certificate = span_of(t->cert_pem), .key = span_of(t->key_pem)};
}

static void test_load(void **state)
{
    struct test_cert old = test_cert_new(
        &ca, (struct test_cert_spec){.cn = "x", .from = -9 * TEST_DAY, .until = -TEST_DAY});
    struct test_cert early = test_cert_new(
        &ca, (struct test_cert_spec){.cn = "x", .from = TEST_DAY, .until = 9 * TEST_DAY});
    struct test_cert small =
        test_cert_new(&ca, (struct test_cert_spec){.cn = "x", .rsa_bits = 1024});
    struct test_cert rsa = test_cert_new(&ca, (struct test_cert_spec){.cn = "x", .rsa_bits = 2048});
    char *chain = test_join(leaf.cert_pem, ca.cert_pem), *broken = test_join(chain, "");
    char *old_chain = test_join(leaf.cert_pem, old.cert_pem),
         *both = test_join(leaf.key_pem, leaf.cert_pem);
    struct tls_settings s;

    (void)state;
    memset(strstr(broken + strlen(leaf.cert_pem) + 40, "A"), '!', 1);
    expect_load(server_of(&leaf), NULL);
    expect_load(server_of(&rsa), NULL);
    expect_load(server_of(&old), "expired on");
    expect_load(server_of(&early), "not valid before");
    expect_load(server_of(&small), "1024 bits");
    s = server_of(&leaf);
    s.key = span_of(ca.key_pem);
    expect_load(s, "does not belong");
    s.key = SPAN("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    expect_load(s, "not an unencrypted PEM");
    s.key = SPAN_NONE;
    expect_load(s, "together");
    s.certificate = SPAN_NONE;
    expect_load(s, "needs a certificate");
    s = server_of(&leaf);
    s.certificate = SPAN("nonsense");
    expect_load(s, "not PEM");
    s.certificate = span_of(chain);
    expect_load(s, NULL);
    s.certificate = span_of(broken);
    expect_load(s, "not PEM throughout");
    s.certificate = span_of(old_chain);
    expect_load(s, "of the chain expired");
    s.certificate = span_of(both);
    s.key = span_of(both); /* one file for both */
    expect_load(s, NULL);
    s = server_of(&leaf);
    s.require_peer = true;
    expect_load(s, "no CA is trusted");
    s.trust = span_of(ca.cert_pem);
    expect_load(s, NULL);
    s.trust = SPAN("nonsense");
    expect_load(s, "no certificate among");
    s.trust = SPAN("");
    expect_load(s, "no certificate among");
    s.require_peer = false; /* certificates are asked for, or not at all */
    expect_load(s, "no certificate among");
    expect_load((struct tls_settings){.role = TLS_CLIENT}, NULL); /* the system's trust */
    expect_load((struct tls_settings){.role = TLS_CLIENT, .trust = SPAN("")},
                "no certificate among");
    expect_load((struct tls_settings){.role = TLS_CLIENT, .certificate = SPAN(""), .key = SPAN("")},
                "neither be empty");
    free(chain);
    free(broken);
    free(old_chain);
    free(both);
    test_cert_free(&old);
    test_cert_free(&early);
    test_cert_free(&small);
    test_cert_free(&rsa);
}

static void test_names(void **state)
{
    struct tls_context *c = test_tls_client(&ca, NULL);
    SSL *ssl;

    (void)state;
    assert_null(tls_context_open(c, NULL)); /* a chain without a name proves nothing */
    assert_null(tls_context_open(c, ""));
    ssl = tls_context_open(c, "example.org.");
    assert_string_equal(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name), "example.org");
    SSL_free(ssl);
    ssl = tls_context_open(c, "[2001:db8::1]");
    assert_non_null(ssl);
    assert_null(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    SSL_free(ssl);
    assert_int_equal(tls_context_not_after(c), 0);
    tls_context_unref(c);
    c = test_tls_server(&leaf, NULL, false);
    assert_true(tls_context_not_after(c) > 1700000000);
    assert_int_equal(tls_context_role(c), TLS_SERVER);
    tls_context_unref(tls_context_ref(c));
    tls_context_unref(c);
    tls_context_unref(NULL);
}

/* Handshakes. */

static void test_mutual(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, &ca, true);
    struct tls_context *c = test_tls_client(&ca, &client_cert);
    struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));
    sallyport_how how = how_of(m.server_report);
    sallyport_why why = {.size = sizeof why};

    (void)state;
    assert_int_equal(how.level, SALLYPORT_STRONG);
    assert_int_equal(how.via, SALLYPORT_VIA_TLS);
    assert_string_equal(how.protocol, "TLSv1.3");
    assert_string_equal(how.cipher, "TLS_AES_128_GCM_SHA256");
    assert_int_equal(how.resumed, 0);
    /* One printable line, whatever the subject holds. */
    assert_string_equal(sallyport_peer_text(sallyport_report_peer(m.server_report)),
                        "CN=tenant\\, one\\0Ax\\C3\\A9");
    assert_string_equal(sallyport_peer_text(sallyport_report_peer(m.client_report)),
                        "CN=localhost");
    assert_int_equal(sallyport_report_why(m.server_report, 0, &why), -ENOENT);
    part(&m);
    tls_context_unref(s);
    tls_context_unref(c);
}

static void test_strength(void **state)
{
    static const struct {
        const char *cipher; /* TLS 1.2 */
        sallyport_level level;
    } rows[] = {
        {"ECDHE-ECDSA-AES128-GCM-SHA256", SALLYPORT_STRONG},
        {"ECDHE-ECDSA-CHACHA20-POLY1305", SALLYPORT_STRONG},
        {"ECDHE-ECDSA-AES128-SHA256",     SALLYPORT_WEAK  }, /* CBC */
        {"ECDHE-ECDSA-AES128-SHA",        SALLYPORT_WEAK  },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_context *s = test_tls_server(&leaf, NULL, false);
        struct tls_context *c = test_tls_client(&ca, NULL);

        assert_int_equal(SSL_CTX_set_cipher_list(tls_context_ssl(s), rows[i].cipher), 1);
        assert_int_equal(SSL_CTX_set_cipher_list(tls_context_ssl(c), rows[i].cipher), 1);
        assert_int_equal(SSL_CTX_set_max_proto_version(tls_context_ssl(c), TLS1_2_VERSION), 1);
        struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));

        print_message("%s\n", rows[i].cipher);
        assert_int_equal(how_of(m.server_report).level, rows[i].level);
        assert_int_equal(how_of(m.client_report).level, rows[i].level);
        assert_string_equal(how_of(m.client_report).protocol, "TLSv1.2");
        assert_string_equal(how_of(m.server_report).cipher, rows[i].cipher);
        part(&m);
        tls_context_unref(s);
        tls_context_unref(c);
    }
}

/* By our own rules CBC is not even offered, nor anything below 1.2. */
static void test_rules(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, NULL, false);
    struct tls_context *c = test_tls_client(&ca, NULL);

    (void)state;
    assert_int_equal(SSL_CTX_set_cipher_list(tls_context_ssl(c), "ECDHE-ECDSA-AES128-SHA256"), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(tls_context_ssl(c), TLS1_2_VERSION), 1);
    struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));

    expect_why(m.server_report, "no-common-proposal", EPROTO);
    expect_why(m.client_report, "no-common-proposal", EPROTO);
    part(&m);

    struct tls_settings strict = server_of(&leaf);
    struct tls_context *s13;
    struct buf why;

    strict.minimum = TLS_VERSION_1_3;
    buf_init(&why, 0);
    assert_int_equal(tls_context_new(&strict, &s13, &why), OK);
    m = meet(tls_context_open(c, "localhost"), tls_context_open(s13, NULL));
    expect_why(m.server_report, "no-common-proposal", EPROTO);
    expect_why(m.client_report, "no-common-proposal", EPROTO);
    part(&m);
    tls_context_unref(s13);
    tls_context_unref(s);
    tls_context_unref(c);
}

static void test_refusals(void **state)
{
    struct tls_context *plain = test_tls_server(&leaf, NULL, false);
    struct tls_context *strict = test_tls_server(&leaf, &ca, true);
    struct tls_context *known = test_tls_client(&ca, &client_cert);
    struct tls_context *nobody = test_tls_client(&ca, NULL);
    struct tls_context *foreign = test_tls_client(&other_ca, NULL);
    struct meeting m;

    (void)state;
    m = meet(tls_context_open(foreign, "localhost"), tls_context_open(plain, NULL));
    expect_why(m.client_report, "we-rejected-peer", EKEYREJECTED);
    expect_why(m.server_report, "peer-rejected-us", ECONNREFUSED);
    part(&m);
    m = meet(tls_context_open(known, "elsewhere.example"), tls_context_open(plain, NULL));
    expect_why(m.client_report, "wrong-peer", EACCES);
    part(&m);
    m = meet(tls_context_open(nobody, "localhost"), tls_context_open(strict, NULL));
    expect_why(m.server_report, "we-rejected-peer", EKEYREJECTED);
    /* RFC 8446 4.4.2: a client has ended its handshake before the server judges it. */
    assert_int_equal(how_of(m.client_report).level, SALLYPORT_STRONG);
    part(&m);
    tls_context_unref(plain);
    tls_context_unref(strict);
    tls_context_unref(known);
    tls_context_unref(nobody);
    tls_context_unref(foreign);
}

static void test_insecure(void **state)
{
    struct tls_settings s = {
        .role = TLS_CLIENT, .trust = span_of(other_ca.cert_pem), .insecure_no_verify = true};
    struct tls_context *server = test_tls_server(&leaf, NULL, false), *c;
    sallyport_why why = {.size = sizeof why};
    struct buf said;

    (void)state;
    buf_init(&said, 0);
    assert_int_equal(tls_context_new(&s, &c, &said), OK);
    struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(server, NULL));

    assert_int_equal(how_of(m.client_report).level, SALLYPORT_STRONG);
    assert_null(sallyport_report_peer(m.client_report)); /* open, but nobody vouched */
    assert_int_equal(sallyport_report_why(m.client_report, 0, &why), 0);
    assert_string_equal(why.code, "we-rejected-peer");
    assert_non_null(strstr(how_of(m.client_report).text, "peer not authenticated"));
    part(&m);
    tls_context_unref(c);
    tls_context_unref(server);
}

/* Tickets work without any cache, and say so; for both versions. */
static void test_resumption(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, &ca, true);
    struct tls_context *c = test_tls_client(&ca, &client_cert);

    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_SESSION *session;
        SSL *again = NULL;
        char byte;

        assert_int_equal(SSL_CTX_set_max_proto_version(tls_context_ssl(c), version), 1);
        struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));

        (void)SSL_read(m.client, &byte, 1); /* TLS 1.3 tickets come after the handshake */
        session = SSL_get1_session(m.client);
        assert_int_equal(SSL_SESSION_is_resumable(session), 1);
        assert_int_equal(how_of(m.server_report).resumed, 0);
        (void)SSL_shutdown(m.client);
        part(&m);
        again = tls_context_open(c, "localhost");
        assert_int_equal(SSL_set_session(again, session), 1);
        m = meet(again, tls_context_open(s, NULL));
        assert_int_equal(how_of(m.server_report).resumed, 1);
        assert_int_equal(how_of(m.client_report).resumed, 1);
        assert_non_null(strstr(how_of(m.server_report).text, ", resumed"));
        assert_non_null(sallyport_report_peer(m.server_report)); /* from the ticket */
        part(&m);
        SSL_SESSION_free(session);
    }
    tls_context_unref(s);
    tls_context_unref(c);
}

static void test_peer_names(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, &ca, true);
    sallyport_why why = {.size = sizeof why};

    (void)state;
    const struct {
        struct test_cert_spec spec;
        const char *peer; /* NULL: nobody */
    } rows[] = {
        {{.san = "URI:spiffe://example/tenant/1"},   "uri:spiffe://example/tenant/1"},
        {{.san = "IP:192.0.2.1,DNS:tenant.example"}, "dns:tenant.example"           },
        {{.san = "IP:192.0.2.1"},                    "ip:192.0.2.1"                 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_cert t = test_cert_new(&ca, rows[i].spec);
        struct tls_context *c = test_tls_client(&ca, &t);
        struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));

        if (rows[i].peer) {
            assert_string_equal(sallyport_peer_text(sallyport_report_peer(m.server_report)),
                                rows[i].peer);
        } else {
            assert_null(sallyport_report_peer(m.server_report));
            assert_int_equal(sallyport_report_why(m.server_report, 0, &why), 0);
            assert_string_equal(why.code, "ambiguous-cert");
        }
        part(&m);
        tls_context_unref(c);
        test_cert_free(&t);
    }
    tls_context_unref(s);
}

/* A name over 512 bytes names nobody: cut, it could name somebody else. */
static void test_long_peer_name(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, &ca, true);
    struct test_cert t = test_cert_new(&ca, (struct test_cert_spec){.cn = "x"});
    sallyport_why why = {.size = sizeof why};

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        X509_NAME_add_entry_by_txt(X509_get_subject_name(t.x509), "OU", MBSTRING_ASC,
                                   (const unsigned char *)"0123456789012345678901234567890", -1, -1,
                                   0);
    X509_sign(t.x509, ca.key, EVP_sha256());
    struct tls_context *c = test_tls_client(&ca, &client_cert);

    assert_int_equal(SSL_CTX_use_certificate(tls_context_ssl(c), t.x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(tls_context_ssl(c), t.key), 1);
    struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));

    assert_null(sallyport_report_peer(m.server_report));
    assert_int_equal(sallyport_report_why(m.server_report, 0, &why), 0);
    assert_string_equal(why.code, "ambiguous-cert");
    part(&m);
    tls_context_unref(c);
    tls_context_unref(s);
    test_cert_free(&t);
}

/* Reports and policy as such. */

static void test_clear_report(void **state)
{
    sallyport_report *r;
    sallyport_how small = {.size = 4};
    sallyport_why why = {.size = sizeof why};

    (void)state;
    assert_int_equal(sallyport_report_new(NULL, &r), 0);
    sallyport_how how = how_of(r);

    assert_int_equal(how.level, SALLYPORT_NONE);
    assert_int_equal(how.via, SALLYPORT_VIA_CLEAR);
    assert_string_equal(how.protocol, "clear");
    assert_null(how.cipher);
    assert_null(sallyport_report_peer(r));
    assert_int_equal(sallyport_report_how(r, &small), -EINVAL);
    assert_int_equal(sallyport_report_why(r, 0, &why), -ENOENT);
    why.size = 1;
    assert_int_equal(sallyport_report_why(r, 0, &why), -EINVAL);
    sallyport_report_free(r);
    sallyport_report_free(NULL);
    assert_string_equal(sallyport_level_name(SALLYPORT_STRONG), "strong");
    assert_string_equal(sallyport_level_name(SALLYPORT_NONE), "none");
}

static void test_policy(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, NULL, false);
    struct tls_context *weak_s = test_tls_server(&leaf, NULL, false);
    struct tls_context *c = test_tls_client(&ca, NULL), *weak_c = test_tls_client(&ca, NULL);

    (void)state;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(SSL_CTX_set_cipher_list(tls_context_ssl(i ? weak_s : weak_c),
                                                 "ECDHE-ECDSA-AES128-SHA256"),
                         1);
    assert_int_equal(SSL_CTX_set_max_proto_version(tls_context_ssl(weak_c), TLS1_2_VERSION), 1);
    struct meeting strong = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));
    struct meeting weak =
        meet(tls_context_open(weak_c, "localhost"), tls_context_open(weak_s, NULL));
    sallyport_report *clear;

    assert_int_equal(sallyport_report_new(NULL, &clear), 0);
    const struct {
        struct protect_policy policy;
        const sallyport_report *report;
        const char *code; /* NULL: passes */
    } rows[] = {
        {{SALLYPORT_NONE, false, NULL},      clear,                NULL           },
        {{SALLYPORT_INTEGRITY, false, NULL}, clear,                "level-too-low"},
        {{SALLYPORT_WEAK, false, NULL},      clear,                "level-too-low"},
        {{SALLYPORT_STRONG, false, NULL},    clear,                "level-too-low"},
        {{SALLYPORT_NONE, true, NULL},       clear,                "wrong-peer"   },
        {{SALLYPORT_STRONG, false, NULL},    NULL,                 "level-too-low"},
        {{SALLYPORT_NONE, true, NULL},       NULL,                 "wrong-peer"   },
        {{SALLYPORT_WEAK, false, NULL},      weak.server_report,   NULL           },
        {{SALLYPORT_STRONG, false, NULL},    weak.server_report,   "level-too-low"},
        {{SALLYPORT_STRONG, false, NULL},    strong.server_report, NULL           },
        {{SALLYPORT_STRONG, true, NULL},     strong.server_report, "wrong-peer"   },
        {{SALLYPORT_STRONG, true, NULL},     strong.client_report, NULL           },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        sallyport_why why = {.size = 0};
        enum err e = protect_policy_check(&rows[i].policy, rows[i].report, &why);

        print_message("row %zu\n", i);
        assert_int_equal(e, rows[i].code ? ERR_POLICY : OK);
        if (!rows[i].code)
            continue;
        assert_string_equal(why.code, rows[i].code);
        assert_int_equal(why.err, EACCES);
        assert_true(strlen(why.text) > 10);
    }
    part(&strong);
    part(&weak);
    tls_context_unref(s);
    tls_context_unref(weak_s);
    tls_context_unref(c);
    tls_context_unref(weak_c);
}

/* Who it is instead is said to who connects, where it is known. */
static void test_refusal_text(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, NULL, false), *c = test_tls_client(&ca, NULL);
    struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));
    static const char *const peers[] = {"dns:other.test", "key:00"};
    struct protect_policy policy = {.require = SALLYPORT_NONE};
    sallyport_why why = {.size = 0};
    sallyport_want *want = NULL;
    char text[PROTECT_WHY_MAX];

    (void)state;
    assert_int_equal(protect_peers(peers, 0, &want), OK);
    assert_null(want);
    assert_int_equal(protect_peers(peers, 2, &want), ERR_SYNTAX);
    assert_int_equal(protect_peers(peers, 1, &want), OK);
    assert_null(protect_peer_fault(span_of(peers[0])));
    assert_non_null(protect_peer_fault(span_of(peers[1])));
    policy.want = want;
    assert_int_equal(protect_policy_check(&policy, m.client_report, &why), ERR_POLICY);
    (void)protect_refusal_text(&why, m.client_report, text);
    assert_non_null(strstr(text, "who is not wanted here; it is "));
    assert_non_null(strstr(text, sallyport_peer_text(sallyport_report_peer(m.client_report))));
    (void)protect_refusal_text(&why, NULL, text);
    assert_null(strstr(text, "; it is "));
    assert_int_equal(protect_policy_check(&policy, m.server_report, &why), ERR_POLICY);
    assert_null(strstr(protect_refusal_text(&why, m.server_report, text), "; it is "));
    sallyport_want_free(want);
    part(&m);
    tls_context_unref(s);
    tls_context_unref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),         cmocka_unit_test(test_names),
        cmocka_unit_test(test_mutual),       cmocka_unit_test(test_strength),
        cmocka_unit_test(test_rules),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_insecure),     cmocka_unit_test(test_resumption),
        cmocka_unit_test(test_peer_names),   cmocka_unit_test(test_long_peer_name),
        cmocka_unit_test(test_clear_report), cmocka_unit_test(test_policy),
        cmocka_unit_test(test_refusal_text),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
