/* SPDX-License-Identifier: Apache-2.0 */
/* HOW strong each part of a protection is, and which codes WHY may say. Handshakes run over memory;
 * what nobody should speak any more is spoken at OpenSSL's security level 0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "protect/report_int.h"
#include "protect/strength.h"
#include "test_two_ends.h"

static struct test_cert ca, leaf, rsa, small_rsa;

static int make_certs(void **state)
{
    (void)state;
    ca = test_ca_new("Test CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    rsa = test_cert_new(&ca, (struct test_cert_spec){.cn = "rsa", .rsa_bits = 2048});
    small_rsa = test_cert_new(&ca, (struct test_cert_spec){.cn = "rsa", .rsa_bits = 1024});
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    test_cert_free(&small_rsa);
    test_cert_free(&rsa);
    test_cert_free(&leaf);
    test_cert_free(&ca);
    return 0;
}

static sallyport_how how_of(const sallyport_report *r)
{
    sallyport_how how = {.size = sizeof how};

    assert_non_null(r);
    assert_int_equal(sallyport_report_how(r, &how), 0);
    return how;
}

/* ---- the table of strengths, by real handshakes ---- */

struct strength_case {
    const char *name;
    const struct test_cert *cert; /* NULL: none, an anonymous suite */
    int version;
    const char *ciphers; /* up to TLS 1.2 */
    const char *groups;
    const char *sigalgs; /* NULL: any */
    sallyport_level level;
    const char *limit;   /* part of it; NULL: nothing limits */
    const char *unknown; /* part of the reason; NULL: none */
};

static SSL_CTX *loose_context(const struct strength_case *row, bool server)
{
    SSL_CTX *c = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

    assert_non_null(c);
    SSL_CTX_set_security_level(c, 0);
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
    SSL_CTX_set_dh_auto(c, 1);
    assert_int_equal(SSL_CTX_set_min_proto_version(c, row->version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(c, row->version), 1);
    assert_int_equal(SSL_CTX_set_cipher_list(c, row->ciphers ? row->ciphers : "ALL"), 1);
    if (row->groups) {
        char groups[64]; /* OpenSSL's macro casts const away */

        (void)span_copy(span_of(row->groups), groups, sizeof groups);
        assert_int_equal(SSL_CTX_set1_groups_list(c, groups), 1);
    }
    if (row->sigalgs)
        assert_int_equal(
            SSL_CTX_ctrl(c, SSL_CTRL_SET_SIGALGS_LIST, 0, (void *)(uintptr_t)row->sigalgs), 1);
    if (server && row->cert) {
        assert_int_equal(SSL_CTX_use_certificate(c, row->cert->x509), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(c, row->cert->key), 1);
    }
    return c;
}

struct both_reports {
    sallyport_report *client, *server;
};

static void take_report(void *arg, SSL *ssl)
{
    struct both_reports *both = arg;

    assert_int_equal(sallyport_report_new(ssl, SSL_is_server(ssl) ? &both->server : &both->client),
                     0);
}

static void free_reports(struct both_reports *both)
{
    sallyport_report_free(both->client);
    sallyport_report_free(both->server);
}

static void expect_strength(const struct strength_case *row, const sallyport_report *r)
{
    sallyport_how how = how_of(r);
    sallyport_why why = {.size = sizeof why};
    bool found = false;

    if (how.via != SALLYPORT_VIA_TLS)
        fail_msg("%s", how.text);
    assert_int_equal(how.level, row->level);
    assert_string_equal(how.classes, STRENGTH_CLASSES);
    if (row->limit) {
        assert_non_null(how.limit);
        assert_non_null(strstr(how.limit, row->limit));
    } else {
        assert_null(how.limit);
    }
    for (size_t i = 0; sallyport_report_why(r, i, &why) == 0; i++)
        found |= strcmp(why.code, "unsupported") == 0 && row->unknown &&
                 strstr(why.text, row->unknown) && why.err == EOPNOTSUPP;
    assert_int_equal(found, row->unknown != NULL);
}

/* What both ends make of the handshake of |client|; of |server| is read what the server should. */
static void expect_strengths(const struct strength_case *client, const struct strength_case *server)
{
    SSL_CTX *contexts[] = {loose_context(client, false), loose_context(server, true)};
    SSL *ends[] = {SSL_new(contexts[0]), SSL_new(contexts[1])};
    struct both_reports both = {0};

    print_message("%s\n", client->name);
    SSL_set_connect_state(ends[0]);
    SSL_set_accept_state(ends[1]);
    struct meeting m = meeting_of(ends[0], ends[1], take_report, &both);

    expect_strength(client, both.client);
    expect_strength(server, both.server);
    free_reports(&both);
    meeting_end(&m);
    SSL_CTX_free(contexts[0]);
    SSL_CTX_free(contexts[1]);
}

/* |cert| as if it were signed in a way that nobody knows: ecdsa-with-SHA256, one number off. */
static struct test_cert oddly_signed(const struct test_cert *cert)
{
    static const unsigned char oid[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
    struct test_cert odd = *cert;
    unsigned char *der = NULL, *at;
    int n = i2d_X509(cert->x509, &der), changed = 0;
    const unsigned char *from = der;

    assert_true(n > 0);
    for (at = der; (at = memmem(at, (size_t)(der + n - at), oid, sizeof oid)); changed++)
        at[sizeof oid - 1] = 0x7f;
    assert_int_equal(changed, 2); /* inside and outside of what is signed */
    odd.x509 = d2i_X509(NULL, &from, n);
    assert_non_null(odd.x509);
    OPENSSL_free(der);
    return odd;
}

/* OpenSSL says of it that it has no hash of its own, as of EdDSA. */
static void test_unknown_signature(void **state)
{
    struct test_cert odd = oddly_signed(&leaf);
    const struct strength_case row = {.name = "odd signature",
                                      .cert = &odd,
                                      .version = TLS1_3_VERSION,
                                      .level = SALLYPORT_NONE,
                                      .limit = "a certificate was signed with",
                                      .unknown = "a certificate was signed with"};

    (void)state;
    expect_strengths(&row, &row);
    X509_free(odd.x509);
}

static void test_strengths(void **state)
{
    const struct strength_case rows[] = {
        {"1.3",           &leaf,      TLS1_3_VERSION, NULL,                             NULL,              NULL,         SALLYPORT_STRONG,    NULL,                       NULL   },
        {"1.3 P-384",     &leaf,      TLS1_3_VERSION, NULL,                             "P-384",           NULL,         SALLYPORT_STRONG,    NULL,                       NULL   },
        {"1.3 ffdhe",     &leaf,      TLS1_3_VERSION, NULL,                             "ffdhe2048",       NULL,         SALLYPORT_STRONG,    NULL,                       NULL   },
        {"1.3 RSA",       &rsa,       TLS1_3_VERSION, NULL,                             NULL,              NULL,         SALLYPORT_STRONG,    NULL,                       NULL   },
        {"1.3 small RSA", &small_rsa, TLS1_3_VERSION, NULL,                             NULL,              NULL,         SALLYPORT_WEAK,
         "certificate's key",                                                                                                                                             NULL   },
        {"1.2",           &leaf,      TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256",  NULL,              NULL,
         SALLYPORT_STRONG,                                                                                                                    NULL,                       NULL   },
        {"ChaCha",        &leaf,      TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305",  NULL,              NULL,
         SALLYPORT_STRONG,                                                                                                                    NULL,                       NULL   },
        {"CCM",           &leaf,      TLS1_2_VERSION, "ECDHE-ECDSA-AES128-CCM",         NULL,              NULL,         SALLYPORT_STRONG,    NULL,
         NULL                                                                                                                                                                    },
        {"ARIA",          &leaf,      TLS1_2_VERSION, "ECDHE-ECDSA-ARIA128-GCM-SHA256", NULL,              NULL,
         SALLYPORT_STRONG,                                                                                                                    NULL,                       NULL   },
        {"CBC",           &leaf,      TLS1_2_VERSION, "ECDHE-ECDSA-AES256-SHA384",      NULL,              NULL,         SALLYPORT_WEAK,
         "the cipher",                                                                                                                                                    NULL   },
        {"key transport", &rsa,       TLS1_2_VERSION, "AES128-GCM-SHA256",              NULL,              NULL,         SALLYPORT_WEAK,
         "the key exchange",                                                                                                                                              NULL   },
        {"small group",   &leaf,      TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256",  "P-224:P-256",     NULL,
         SALLYPORT_WEAK,                                                                                                                      "group",                    NULL   },
        {"SHA-1",         &leaf,      TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256",  NULL,              "ECDSA+SHA1",
         SALLYPORT_WEAK,                                                                                                                      "the handshake was signed", NULL   },
        {"1.1",           &leaf,      TLS1_1_VERSION, NULL,                             NULL,              NULL,         SALLYPORT_WEAK,      "the version",              NULL   },
        {"1.0",           &leaf,      TLS1_VERSION,   NULL,                             NULL,              NULL,         SALLYPORT_WEAK,      "the version",              NULL   },
        {"NULL",          &leaf,      TLS1_2_VERSION, "ECDHE-ECDSA-NULL-SHA",           NULL,              NULL,         SALLYPORT_INTEGRITY,
         "the cipher",                                                                                                                                                    NULL   },
        {"anonymous",     NULL,       TLS1_2_VERSION, "AECDH-AES128-SHA",               NULL,              NULL,         SALLYPORT_NONE,
         "the authentication",                                                                                                                                            NULL   },
        {"Camellia",      &leaf,      TLS1_2_VERSION, "ECDHE-ECDSA-CAMELLIA128-SHA256", NULL,              NULL,
         SALLYPORT_WEAK,                                                                                                                      "the cipher",               NULL   },
        {"unknown group", &leaf,      TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256",  "sect283r1:P-256",
         NULL,                                                                                                           SALLYPORT_NONE,      "group",                    "group"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_strengths(&rows[i], &rows[i]);
}

/* Before TLS 1.3 a server cannot ask OpenSSL for the size of the group that it gave: there it does
 * not count. */
static void test_finite_field(void **state)
{
    struct strength_case client = {.name = "DHE",
                                   .cert = &rsa,
                                   .version = TLS1_2_VERSION,
                                   .ciphers = "DHE-RSA-AES128-GCM-SHA256",
                                   .level = SALLYPORT_STRONG};
    struct strength_case server = client;

    (void)state;
    server.level = SALLYPORT_WEAK;
    server.limit = "group";
    expect_strengths(&client, &server);
    client.cert = server.cert = &small_rsa; /* OpenSSL then takes a group of 1024 bits */
    client.level = SALLYPORT_WEAK;
    client.limit = "group";
    expect_strengths(&client, &server);
}

/* No row twice, and what is not in the table is said to be. */
static void test_table(void **state)
{
    sallyport_level level = SALLYPORT_STRONG;

    (void)state;
    assert_false(strength_of(STRENGTH_CIPHER, NID_aes_128_ecb, &level));
    assert_false(strength_of(STRENGTH_VERSION, SSL3_VERSION, &level));
    assert_false(strength_of(STRENGTH_GROUP, NID_undef, &level));
    assert_false(strength_of(STRENGTH_GROUP, TLSEXT_nid_unknown | 0x7777, &level));
    assert_int_equal(level, SALLYPORT_STRONG); /* untouched */
    assert_true(strength_of(STRENGTH_GROUP, TLSEXT_nid_unknown | 0x11ec, &level));
    assert_int_equal(level, SALLYPORT_STRONG);
}

/* ---- the rest of HOW ---- */

static void test_what_is_known(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, NULL, false), *c = test_tls_client(&ca, NULL);

    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct both_reports both = {0};

        assert_int_equal(SSL_CTX_set_max_proto_version(tls_context_ssl(c), version), 1);
        struct meeting m = meeting_of(tls_context_open(c, "localhost"), tls_context_open(s, NULL),
                                      take_report, &both);
        sallyport_how client = how_of(both.client), server = how_of(both.server);

        assert_int_equal(client.end_to_end, SALLYPORT_YES);
        assert_int_equal(client.transport_covered, SALLYPORT_NO);
        assert_int_equal(client.replay_safe, SALLYPORT_YES);
        /* RFC 8446 4.4.2 */
        assert_int_equal(client.accepted_by_peer,
                         version == TLS1_3_VERSION ? SALLYPORT_UNKNOWN : SALLYPORT_YES);
        assert_int_equal(server.accepted_by_peer, SALLYPORT_YES);
        assert_string_equal(client.group, "X25519");
        assert_string_equal(server.group, "X25519");
        assert_string_equal(client.signature, "ecdsa-with-SHA256");
        assert_null(server.signature); /* the client showed nothing */
        free_reports(&both);
        meeting_end(&m);
    }
    tls_context_unref(s);
    tls_context_unref(c);
}

/* Programs that were built with an older header have smaller structs. */
static void test_older_structs(void **state)
{
    struct {
        uint32_t size;
        sallyport_level level;
        unsigned via;
        const char *protocol, *cipher, *text;
        int resumed;
    } old_how = {.size = sizeof old_how};
    union {
        sallyport_how how;
        unsigned char bytes[sizeof(sallyport_how) + 16];
    } newer;
    sallyport_report *r;

    (void)state;
    assert_int_equal(sallyport_report_new(NULL, &r), 0);
    assert_int_equal(sallyport_report_how(r, (sallyport_how *)(void *)&old_how), 0);
    assert_string_equal(old_how.protocol, "clear");
    assert_int_equal(old_how.size, sizeof old_how);
    old_how.size = sizeof old_how - 1;
    assert_int_equal(sallyport_report_how(r, (sallyport_how *)(void *)&old_how), -EINVAL);
    memset(&newer, 0x5a, sizeof newer);
    newer.how.size = sizeof newer;
    assert_int_equal(sallyport_report_how(r, &newer.how), 0);
    assert_int_equal(newer.how.size, sizeof newer);
    assert_int_equal(newer.how.accepted_by_peer, SALLYPORT_UNKNOWN);
    assert_int_equal(newer.how.end_to_end, SALLYPORT_NO);
    assert_int_equal(newer.bytes[sizeof(sallyport_how)], 0x5a); /* not ours */
    sallyport_report_free(r);
}

/* ---- reasons ---- */

static void test_reasons(void **state)
{
    const struct reason_row *row;
    sallyport_report *r = report_alloc();
    struct {
        uint32_t size;
        const char *code;
        int err;
        const char *text;
    } old = {.size = sizeof old};
    sallyport_why why = {.size = sizeof why};
    size_t n = 0;

    (void)state;
    assert_non_null(r);
    for (; (row = reason_at(n)); n++) {
        sallyport_why w;

        /* What was overlooked was not refused. */
        assert_int_equal(row->errs[0] > 0, strcmp(row->code, "tolerated") != 0);
        assert_ptr_equal(reason_find(row->code), row); /* no code twice */
        w = reason_why(&(struct report_cause){.code = row->code, .text = "x"});
        assert_int_equal(w.err, row->errs[0]);
        assert_int_equal(w.side, row->side);
        assert_int_equal(w.flags & SALLYPORT_WHY_RETRY, row->retry ? SALLYPORT_WHY_RETRY : 0);
        assert_int_equal(w.flags & SALLYPORT_WHY_CERTAIN, SALLYPORT_WHY_CERTAIN);
    }
    assert_true(n > 10);
    assert_null(reason_find("no-such-code"));
    /* In their order, and no more than there is room for. */
    for (size_t i = 0; i <= REPORT_WHYS_MAX; i++)
        assert_int_equal(report_add(r, &(struct report_cause){.code = i ? "unknown" : "no-answer",
                                                              .inferred = true,
                                                              .source = "tls",
                                                              .raw = (int64_t)i,
                                                              .text = "text"}),
                         0);
    assert_int_equal(r->n_whys, REPORT_WHYS_MAX);
    assert_int_equal(sallyport_report_why(r, 0, &why), 0);
    assert_string_equal(why.code, "no-answer");
    assert_int_equal(why.flags, SALLYPORT_WHY_RETRY);
    assert_int_equal(sallyport_report_why(r, 3, &why), 0);
    assert_int_equal(why.raw, 3);
    assert_int_equal(sallyport_report_why(r, 1, (sallyport_why *)(void *)&old), 0);
    assert_string_equal(old.code, "unknown");
    assert_string_equal(old.text, "text");
    old.size--;
    assert_int_equal(sallyport_report_why(r, 1, (sallyport_why *)(void *)&old), -EINVAL);
    sallyport_report_free(r);
}

/* The manual lists every code with its errno. */
static void test_manual(void **state)
{
    const char *source = getenv("SALLYPORT_SOURCE");
    const struct reason_row *row;
    char path[4096], page[65536], item[128];
    FILE *f;

    (void)state;
    if (!source)
        skip();
    (void)snprintf(path, sizeof path, "%s/docs/man/sallyport.3", source);
    f = fopen(path, "r");
    assert_non_null(f);
    page[fread(page, 1, sizeof page - 1, f)] = '\0';
    (void)fclose(f);
    for (size_t i = 0; (row = reason_at(i)); i++) {
        const char *name = row->errs[0] ? strerrorname_np(row->errs[0]) : NULL;

        (void)snprintf(item, sizeof item, "\n.It %s Ta %s Ta %s%s", row->code,
                       sallyport_side_name(row->side), name ? "Er " : "", name ? name : "0\n");
        if (!strstr(page, item))
            fail_msg("sallyport.3 lacks: %s", item);
    }
}

struct alert_case {
    int alert;
    const char *code;
    int side;
};

/* What a peer may say, and what is made of it. */
static void test_alerts(void **state)
{
    static const struct alert_case rows[] = {
        {SSL_AD_HANDSHAKE_FAILURE,    "no-common-proposal", SALLYPORT_SIDE_BOTH   },
        {SSL_AD_PROTOCOL_VERSION,     "no-common-proposal", SALLYPORT_SIDE_BOTH   },
        {SSL_AD_BAD_CERTIFICATE,      "peer-rejected-us",   SALLYPORT_SIDE_PEER   },
        {SSL_AD_CERTIFICATE_REQUIRED, "peer-rejected-us",   SALLYPORT_SIDE_PEER   },
        {SSL_AD_UNKNOWN_CA,           "peer-rejected-us",   SALLYPORT_SIDE_PEER   },
        {SSL_AD_ACCESS_DENIED,        "peer-policy",        SALLYPORT_SIDE_PEER   },
        {SSL_AD_INTERNAL_ERROR,       "unknown",            SALLYPORT_SIDE_UNKNOWN},
    };
    struct tls_context *c = test_tls_client(&ca, NULL);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const unsigned char wire[] = {21, 3, 3, 0, 2, 2, (unsigned char)rows[i].alert};
        SSL *ssl = tls_context_open(c, "localhost");
        BIO *in = BIO_new_mem_buf(wire, sizeof wire), *out = BIO_new(BIO_s_mem());
        sallyport_why why = {.size = sizeof why};
        sallyport_report *r;

        assert_non_null(ssl);
        SSL_set_bio(ssl, in, out);
        ERR_clear_error();
        assert_int_not_equal(SSL_do_handshake(ssl), 1);
        assert_int_equal(sallyport_report_new(ssl, &r), 0);
        assert_int_equal(sallyport_report_why(r, 0, &why), 0);
        assert_string_equal(why.code, rows[i].code);
        assert_int_equal(why.side, rows[i].side);
        assert_string_equal(why.source, "tls-alert");
        assert_int_equal(why.raw, rows[i].alert);
        assert_int_equal(why.stage, SALLYPORT_STAGE_HANDSHAKE);
        assert_null(strstr(why.text, "'unknown'")); /* each has a name */
        sallyport_report_free(r);
        SSL_free(ssl);
        ERR_clear_error();
    }
    tls_context_unref(c);
}

/* Bytes that are no TLS: what is there instead is said in words. */
static void test_no_tls_there(void **state)
{
    static const struct {
        const char *bytes, *code, *text;
    } rows[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "no-common-proposal", "not TLS"              },
        {"220 mail.example ESMTP\r\n",       "no-common-proposal", "not TLS"              },
        {"",                                 "no-answer",          "closed the connection"},
    };
    struct tls_context *c = test_tls_client(&ca, NULL);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        SSL *ssl = tls_context_open(c, "localhost");
        BIO *in = BIO_new_mem_buf(rows[i].bytes, (int)strlen(rows[i].bytes));
        sallyport_why why = {.size = sizeof why};
        sallyport_report *r;

        assert_non_null(ssl);
        SSL_set_bio(ssl, in, BIO_new(BIO_s_mem()));
        ERR_clear_error();
        assert_int_not_equal(SSL_do_handshake(ssl), 1);
        assert_int_equal(sallyport_report_new(ssl, &r), 0);
        assert_int_equal(sallyport_report_why(r, 0, &why), 0);
        assert_string_equal(why.code, rows[i].code);
        if (!strstr(why.text, rows[i].text))
            fail_msg("said: %s", why.text);
        /* Silence is no proof. */
        assert_int_equal(why.flags & SALLYPORT_WHY_CERTAIN, *rows[i].bytes ? 1 : 0);
        sallyport_report_free(r);
        SSL_free(ssl);
        ERR_clear_error();
    }
    tls_context_unref(c);
}

/* What a session was begun with keeps its level down, also where only the full handshake shows it:
 * a resumed one has no signatures. */
static void test_resumed_level(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, NULL, false), *c = test_tls_client(&ca, NULL);
    SSL_CTX *contexts[] = {tls_context_ssl(s), tls_context_ssl(c)};
    SSL_SESSION *session = NULL;
    char algorithms[] = "ECDSA+SHA1";

    (void)state;
    for (int i = 0; i < 2; i++) {
        SSL_CTX_set_security_level(contexts[i], 0);
        assert_int_equal(SSL_CTX_set_max_proto_version(contexts[i], TLS1_2_VERSION), 1);
        assert_int_equal(SSL_CTX_set1_sigalgs_list(contexts[i], algorithms), 1);
    }
    for (int resumed = 0; resumed < 2; resumed++) {
        SSL *ends[] = {tls_context_open(c, "localhost"), tls_context_open(s, NULL)};
        struct both_reports both = {0};

        if (session)
            assert_int_equal(SSL_set_session(ends[0], session), 1);
        struct meeting m = meeting_of(ends[0], ends[1], take_report, &both);

        for (int i = 0; i < 2; i++) {
            const sallyport_how how = how_of(i ? both.server : both.client);

            assert_int_equal(how.resumed, resumed);
            assert_int_equal(how.level, SALLYPORT_WEAK);
            assert_non_null(
                strstr(how.limit, resumed ? "that it resumes" : "the handshake was signed"));
            if (strstr(how.limit, "nobody looked at"))
                fail_msg("said: %s", how.limit);
        }
        SSL_SESSION_free(session);
        session = SSL_get1_session(ends[0]);
        free_reports(&both);
        (void)SSL_shutdown(ends[0]);
        meeting_end(&m);
    }
    SSL_SESSION_free(session);
    tls_context_unref(s);
    tls_context_unref(c);
}

/* As it would be read from a file: OpenSSL's fields, and nothing that hung on it. */
static SSL_SESSION *stored(const SSL_SESSION *session)
{
    unsigned char *bytes = NULL;
    int n = i2d_SSL_SESSION((SSL_SESSION *)(uintptr_t)session, &bytes);
    const unsigned char *p = bytes;
    SSL_SESSION *copy = d2i_SSL_SESSION(NULL, &p, n);

    assert_non_null(copy);
    OPENSSL_free(bytes);
    return copy;
}

/* A server that is none of ours, with OpenSSL's tickets. */
static SSL_CTX *plain_server(int version, bool asks)
{
    SSL_CTX *s = SSL_CTX_new(TLS_server_method());

    assert_non_null(s);
    assert_int_equal(SSL_CTX_set_max_proto_version(s, version), 1);
    assert_int_equal(SSL_CTX_use_certificate(s, leaf.x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(s, leaf.key), 1);
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(s), ca.x509), 1);
    assert_int_equal(SSL_CTX_set_session_id_context(s, (const unsigned char *)"x", 1), 1);
    if (asks)
        SSL_CTX_set_verify(s, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return s;
}

/* The levels of both ends, when |*session| (NULL: none) is resumed; *session becomes the next. */
static void meet_again(struct tls_context *c, SSL_CTX *s, SSL_SESSION **session,
                       sallyport_level *ret_client, sallyport_level *ret_server)
{
    SSL *ends[] = {tls_context_open(c, "localhost"), SSL_new(s)};
    struct both_reports both = {0};
    char byte;

    if (*session)
        assert_int_equal(SSL_set_session(ends[0], *session), 1);
    SSL_set_accept_state(ends[1]);
    struct meeting m = meeting_of(ends[0], ends[1], take_report, &both);

    (void)SSL_read(ends[0], &byte, 1); /* the ticket */
    assert_int_equal(how_of(both.client).resumed, *session != NULL);
    assert_int_equal(how_of(both.server).resumed, *session != NULL);
    *ret_client = how_of(both.client).level;
    *ret_server = how_of(both.server).level;
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(ends[0]);
    free_reports(&both);
    (void)SSL_shutdown(ends[0]);
    meeting_end(&m);
}

/* What of a handshake nobody has noted does not count as strong, unless nothing of it is gone. */
static void test_resumed_unseen(void **state)
{
    static const struct {
        int version;
        bool asks; /* for a client certificate */
        sallyport_level server;
    } rows[] = {
        {TLS1_3_VERSION, false, SALLYPORT_STRONG},
        {TLS1_3_VERSION, true,  SALLYPORT_WEAK  },
        {TLS1_2_VERSION, false, SALLYPORT_WEAK  },
        {TLS1_2_VERSION, true,  SALLYPORT_WEAK  },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_context *c = test_tls_client(&ca, rows[i].asks ? &leaf : NULL);
        SSL_CTX *s = plain_server(rows[i].version, rows[i].asks);
        SSL_SESSION *session = NULL, *seen;
        sallyport_level client, server;

        meet_again(c, s, &session, &client, &server);
        assert_int_equal(client, SALLYPORT_STRONG);
        assert_int_equal(server, SALLYPORT_STRONG);
        /* The client has seen the first one, and goes on knowing. */
        for (int again = 0; again < 2; again++) {
            meet_again(c, s, &session, &client, &server);
            assert_int_equal(client, SALLYPORT_STRONG);
            assert_int_equal(server, rows[i].server);
        }
        seen = session;
        session = stored(seen);
        SSL_SESSION_free(seen);
        meet_again(c, s, &session, &client, &server);
        assert_int_equal(client, SALLYPORT_WEAK);
        SSL_SESSION_free(session);
        SSL_CTX_free(s);
        tls_context_unref(c);
    }
}

/* ---- after the handshake ---- */

static const unsigned char broken_record[5 + 32] = {23, 3, 3, 0, 32};

/* |end| reads what is no record, or the end of a connection that nobody has closed. */
static void expect_known_after_all(SSL *end, SSL *other, bool garbage, const char *peer)
{
    sallyport_report *r;
    char byte;

    if (garbage)
        assert_int_equal(BIO_write(SSL_get_wbio(other), broken_record, sizeof broken_record),
                         sizeof broken_record);
    else
        (void)BIO_shutdown_wr(SSL_get_wbio(other));
    ERR_clear_error();
    assert_int_equal(SSL_get_error(end, SSL_read(end, &byte, 1)), SSL_ERROR_SSL);
    assert_false(SSL_is_init_finished(end));
    assert_int_equal(sallyport_report_new(end, &r), 0);
    assert_int_equal(how_of(r).level, SALLYPORT_STRONG);
    assert_int_equal(how_of(r).via, SALLYPORT_VIA_TLS);
    assert_non_null(sallyport_report_peer(r));
    assert_string_equal(sallyport_peer_text(sallyport_report_peer(r)), peer);
    sallyport_report_free(r);
}

static void break_later(struct tls_context *client, struct tls_context *server, bool garbage)
{
    SSL_SESSION *session = NULL;

    for (int resumed = 0; resumed < 2; resumed++) {
        SSL *ends[] = {tls_context_open(client, "localhost"), tls_context_open(server, NULL)};
        struct both_reports both = {0};
        char byte;

        if (session)
            assert_int_equal(SSL_set_session(ends[0], session), 1);
        struct meeting m = meeting_of(ends[0], ends[1], take_report, &both);

        (void)SSL_read(ends[0], &byte, 1); /* the ticket */
        assert_int_equal(SSL_session_reused(ends[0]), resumed);
        SSL_SESSION_free(session);
        session = SSL_SESSION_dup(SSL_get0_session(ends[0])); /* the error makes it useless */
        expect_known_after_all(ends[1], ends[0], garbage, "CN=client");
        expect_known_after_all(ends[0], ends[1], garbage, "CN=localhost");
        free_reports(&both);
        meeting_end(&m);
    }
    SSL_SESSION_free(session);
}

/* How strong it was, and who was there, is known however it ended. */
static void test_broken_later(void **state)
{
    struct test_cert own = test_cert_new(&ca, (struct test_cert_spec){.cn = "client"});

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct tls_context *s = test_tls_server(&leaf, &ca, true), *c = test_tls_client(&ca, &own);

        assert_int_equal(SSL_CTX_set_max_proto_version(tls_context_ssl(c),
                                                       i & 1 ? TLS1_3_VERSION : TLS1_2_VERSION),
                         1);
        break_later(c, s, i & 2);
        tls_context_unref(s);
        tls_context_unref(c);
    }
    test_cert_free(&own);
}

/* But a handshake that breaks at its last message has never been any. */
static void test_broken_at_the_end(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, NULL, false), *c = test_tls_client(&ca, NULL);
    SSL *client = tls_context_open(c, "localhost"), *server = tls_context_open(s, NULL);
    sallyport_report *r;
    BIO *a, *b;

    (void)state;
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    assert_int_equal(SSL_do_handshake(client), -1);
    assert_int_equal(SSL_do_handshake(server), -1);
    assert_int_equal(BIO_write(a, broken_record, sizeof broken_record), sizeof broken_record);
    ERR_clear_error();
    assert_int_equal(SSL_get_error(server, SSL_do_handshake(server)), SSL_ERROR_SSL);
    assert_int_equal(sallyport_report_new(server, &r), 0);
    assert_int_equal(how_of(r).level, SALLYPORT_NONE);
    assert_null(sallyport_report_peer(r));
    sallyport_report_free(r);
    SSL_free(client);
    SSL_free(server);
    ERR_clear_error();
    tls_context_unref(s);
    tls_context_unref(c);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(sallyport_side_name(SALLYPORT_SIDE_BOTH), "both");
    assert_string_equal(sallyport_side_name(99), "unknown");
    assert_string_equal(sallyport_stage_name(SALLYPORT_STAGE_IDENTITY), "identity");
    assert_string_equal(sallyport_stage_name(0), "unknown");
    assert_string_equal(sallyport_tri_name(SALLYPORT_YES), "yes");
    assert_string_equal(sallyport_tri_name(SALLYPORT_NO), "no");
    assert_string_equal(sallyport_tri_name(SALLYPORT_UNKNOWN), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_signature),
        cmocka_unit_test(test_strengths),
        cmocka_unit_test(test_finite_field),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_what_is_known),
        cmocka_unit_test(test_older_structs),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_alerts),
        cmocka_unit_test(test_no_tls_there),
        cmocka_unit_test(test_broken_later),
        cmocka_unit_test(test_resumed_level),
        cmocka_unit_test(test_resumed_unseen),
        cmocka_unit_test(test_broken_at_the_end),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
