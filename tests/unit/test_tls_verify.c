/* SPDX-License-Identifier: Apache-2.0 */
/* Client certificates of every kind against listeners of every kind: who gets in as whom, and what
 * both sides say of it. Handshakes run over memory, in both versions of TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "protect/policy.h"
#include "test_certs.h"
#include "test_meeting.h"

enum who {
    NOBODY,
    FINE,
    BELOW, /* an intermediate CA's, which it sends along */
    DEEP,  /* four of them */
    EXPIRED,
    EARLY,
    SELF,
    FOREIGN,
    BOTH,       /* foreign and expired */
    SERVERS,    /* for servers only */
    NO_CA,      /* signed by a leaf */
    LONG,       /* below a CA below one that may certify no CA */
    BAD_NAME,   /* outside of what its CA may name */
    REVOKED,    /* on the root's CRL */
    BELOW_GONE, /* its CA is on the root's CRL */
    N_WHO
};

enum lists { NO_CRL, ROOT_CRL, BOTH_CRLS, OLD_CRL, MIDDLE_CRL };

static struct test_cert root, middle, short_ca, long_ca, deep[4], foreign, named, leaf, gone_ca,
    who[N_WHO];
static char *root_crl, *old_crl, *middle_crl, *gone_crl;

static struct test_cert below(const struct test_cert *ca, struct test_cert_spec spec)
{
    struct test_cert t = test_cert_new(ca, spec);
    char *both = test_join(t.cert_pem, ca->cert_pem);

    free(t.cert_pem);
    t.cert_pem = both;
    return t;
}

static int make_certs(void **state)
{
    const struct test_cert_spec ca = {.cn = "CA", .ca = 1};

    (void)state;
    root = test_ca_new("Root");
    foreign = test_ca_new("Foreign");
    middle = test_cert_new(&root, (struct test_cert_spec){.cn = "Middle", .ca = 1});
    gone_ca = test_cert_new(&root, (struct test_cert_spec){.cn = "Gone", .ca = 1});
    named = test_cert_new(&root, (struct test_cert_spec){
                                     .cn = "Named", .ca = 1, .names = "permitted;DNS:example.org"});
    for (size_t i = 0; i < ARRAY_LEN(deep); i++)
        deep[i] = i ? below(&deep[i - 1], ca) : test_cert_new(&root, ca);
    leaf = test_cert_new(&root, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    who[FINE] = test_cert_new(&root, (struct test_cert_spec){.cn = "fine", .usage = "clientAuth"});
    who[BELOW] = below(&middle, (struct test_cert_spec){.cn = "below"});
    who[DEEP] = below(&deep[3], (struct test_cert_spec){.cn = "deep"});
    who[EXPIRED] = test_cert_new(
        &root, (struct test_cert_spec){.cn = "x", .from = -9 * TEST_DAY, .until = -TEST_DAY});
    who[EARLY] = test_cert_new(
        &root, (struct test_cert_spec){.cn = "x", .from = TEST_DAY, .until = 9 * TEST_DAY});
    who[SELF] = test_cert_new(NULL, (struct test_cert_spec){.cn = "fine"});
    who[FOREIGN] = test_cert_new(&foreign, (struct test_cert_spec){.cn = "fine"});
    who[BOTH] = test_cert_new(
        &foreign, (struct test_cert_spec){.cn = "x", .from = -9 * TEST_DAY, .until = -TEST_DAY});
    who[SERVERS] = test_cert_new(&root, (struct test_cert_spec){.cn = "x", .usage = "serverAuth"});
    who[NO_CA] = below(&who[FINE], (struct test_cert_spec){.cn = "x"});
    short_ca = test_cert_new(
        &root, (struct test_cert_spec){.cn = "Short", .constraints = "critical,CA:TRUE,pathlen:0"});
    long_ca = below(&short_ca, ca);
    who[LONG] = below(&long_ca, (struct test_cert_spec){.cn = "x"});
    who[BAD_NAME] = below(&named, (struct test_cert_spec){.cn = "x", .san = "DNS:example.com"});
    who[REVOKED] = test_cert_new(&root, (struct test_cert_spec){.cn = "revoked"});
    who[BELOW_GONE] = below(&gone_ca, (struct test_cert_spec){.cn = "below gone"});
    root_crl = test_crl_new(&root, &who[REVOKED], -TEST_DAY, TEST_DAY);
    old_crl = test_crl_new(&root, &who[REVOKED], -2 * TEST_DAY, -TEST_DAY);
    middle_crl = test_crl_new(&middle, NULL, -TEST_DAY, TEST_DAY);
    gone_crl = test_crl_new(&root, &gone_ca, -TEST_DAY, TEST_DAY);
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    for (unsigned i = FINE; i < N_WHO; i++)
        test_cert_free(&who[i]);
    for (size_t i = 0; i < ARRAY_LEN(deep); i++)
        test_cert_free(&deep[i]);
    test_cert_free(&root);
    test_cert_free(&middle);
    test_cert_free(&short_ca);
    test_cert_free(&long_ca);
    test_cert_free(&foreign);
    test_cert_free(&named);
    test_cert_free(&gone_ca);
    test_cert_free(&leaf);
    free(root_crl);
    free(old_crl);
    free(middle_crl);
    free(gone_crl);
    return 0;
}

static unsigned crls_of(enum lists lists, struct span v[2])
{
    v[0] = span_of(lists == OLD_CRL ? old_crl : lists == MIDDLE_CRL ? middle_crl : root_crl);
    v[1] = span_of(middle_crl);
    return lists == NO_CRL ? 0 : lists == BOTH_CRLS ? 2 : 1;
}

static struct tls_context *server_with(bool require, unsigned flags, const struct span *crls,
                                       unsigned n_crls, unsigned depth)
{
    struct tls_settings s = {
        .role = TLS_SERVER,
        .certificate = span_of(leaf.cert_pem),
        .key = span_of(leaf.key_pem),
        .trust = span_of(root.cert_pem),
        .require_peer = require,
        .flags = flags,
        .crls = crls,
        .n_crls = n_crls,
        .depth = depth,
    };
    struct tls_context *c = NULL;
    struct buf why;

    buf_init(&why, 0);
    if (tls_context_new(&s, &c, &why) != OK)
        fail_msg("%s", buf_cstr(&why));
    buf_done(&why);
    return c;
}

/* Ours would not load what is not valid. */
static struct tls_context *client_as(const struct test_cert *t)
{
    struct tls_context *c = test_tls_client(&root, NULL);
    SSL_CTX *ssl = tls_context_ssl(c);
    BIO *in = t ? BIO_new_mem_buf(t->cert_pem, -1) : NULL;
    X509 *x;

    for (unsigned i = 0; in && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)); i++) {
        assert_int_equal(i ? SSL_CTX_add1_chain_cert(ssl, x) : SSL_CTX_use_certificate(ssl, x), 1);
        X509_free(x);
    }
    ERR_clear_error();
    if (t)
        assert_int_equal(SSL_CTX_use_PrivateKey(ssl, t->key), 1);
    BIO_free(in);
    return c;
}

#define REJECTED "we-rejected-peer"

/* |code| NULL: lets it in; as somebody when |peer|. |note|: what was tolerated. */
/* clang-format off */
static const struct row {
    const char *name;
    enum who who;
    bool require;
    enum lists lists;
    unsigned depth, flags;
    const char *code;
    int err;
    const char *peer, *note;
} rows[] = {
    {"a good one", FINE, true, NO_CRL, 0, 0, NULL, 0, "CN=fine", NULL},
    {"a good one, only asked for", FINE, false, NO_CRL, 0, 0, NULL, 0, "CN=fine", NULL},
    {"none", NOBODY, true, NO_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL, NULL},
    {"none, only asked for", NOBODY, false, NO_CRL, 0, 0, NULL, 0, NULL, NULL},
    {"none, with every flag", NOBODY, true, NO_CRL, 0, TLS_FLAGS_ALL, REJECTED, EKEYREJECTED,
     NULL, NULL},
    {"expired", EXPIRED, true, NO_CRL, 0, 0, REJECTED, EKEYEXPIRED, NULL, NULL},
    {"expired, only asked for", EXPIRED, false, NO_CRL, 0, 0, REJECTED, EKEYEXPIRED, NULL,
     NULL},
    {"expired, wrong flag", EXPIRED, true, NO_CRL, 0, TLS_FLAGS_ALL & ~TLS_FLAG_NOT_TIME_VALID,
     REJECTED, EKEYEXPIRED, NULL, NULL},
    {"expired, tolerated", EXPIRED, true, NO_CRL, 0, TLS_FLAG_NOT_TIME_VALID, NULL, 0, "CN=x",
     "IgnoreNotTimeValid"},
    {"not valid yet", EARLY, true, NO_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL, NULL},
    {"not valid yet, tolerated", EARLY, true, NO_CRL, 0, TLS_FLAG_NOT_TIME_VALID, NULL, 0,
     "CN=x", "IgnoreNotTimeValid"},
    {"self-signed", SELF, true, NO_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL, NULL},
    {"self-signed, only asked for", SELF, false, NO_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL,
     NULL},
    {"self-signed, wrong flag", SELF, true, NO_CRL, 0, TLS_FLAGS_ALL & ~TLS_FLAG_UNKNOWN_CA,
     REJECTED, EKEYREJECTED, NULL, NULL},
    {"self-signed, let in as nobody", SELF, false, NO_CRL, 0, TLS_FLAG_UNKNOWN_CA, NULL, 0,
     NULL, "AllowUnknownCertificateAuthority"},
    {"unknown CA", FOREIGN, true, NO_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL, NULL},
    {"unknown CA, let in as nobody", FOREIGN, false, NO_CRL, 0, TLS_FLAG_UNKNOWN_CA, NULL, 0,
     NULL, "AllowUnknownCertificateAuthority"},
    {"unknown CA, with every flag", FOREIGN, false, ROOT_CRL, 0, TLS_FLAGS_ALL, NULL, 0, NULL,
     "AllowUnknownCertificateAuthority"},
    {"unknown CA and expired, let in as nobody", BOTH, false, NO_CRL, 0,
     TLS_FLAG_UNKNOWN_CA | TLS_FLAG_NOT_TIME_VALID, NULL, 0, NULL,
     "AllowUnknownCertificateAuthority"},
    {"a good one, with every flag", FINE, true, NO_CRL, 0, TLS_FLAGS_ALL, NULL, 0, "CN=fine",
     NULL},
    {"for servers", SERVERS, true, NO_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL, NULL},
    {"for servers, tolerated", SERVERS, true, NO_CRL, 0, TLS_FLAG_WRONG_USAGE, NULL, 0, "CN=x",
     "IgnoreWrongUsage"},
    {"signed by no CA", NO_CA, true, NO_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL, NULL},
    {"signed by no CA, tolerated by halves", NO_CA, true, NO_CRL, 0, TLS_FLAG_BASIC_CONSTRAINTS,
     REJECTED, EKEYREJECTED, NULL, NULL},
    {"signed by no CA, tolerated", NO_CA, true, NO_CRL, 0, TLS_FLAG_BASIC_CONSTRAINTS |
     TLS_FLAG_WRONG_USAGE, NULL, 0, "CN=x", "IgnoreInvalidBasicConstraints, IgnoreWrongUsage"},
    {"path too long", LONG, true, NO_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL, NULL},
    {"path too long, tolerated", LONG, true, NO_CRL, 0, TLS_FLAG_BASIC_CONSTRAINTS, NULL, 0,
     "CN=x", "IgnoreInvalidBasicConstraints"},
    {"name outside of its CA's", BAD_NAME, true, NO_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL,
     NULL},
    {"name outside of its CA's, tolerated", BAD_NAME, true, NO_CRL, 0, TLS_FLAG_NAME, NULL, 0,
     "CN=x", "IgnoreInvalidName"},
    {"below an intermediate CA", BELOW, true, NO_CRL, 0, 0, NULL, 0, "CN=below", NULL},
    {"below an intermediate CA, at the limit", BELOW, true, NO_CRL, 2, 0, NULL, 0, "CN=below",
     NULL},
    {"below an intermediate CA, too deep", BELOW, true, NO_CRL, 1, 0, REJECTED, EKEYREJECTED,
     NULL, NULL},
    {"below an intermediate CA, too deep, with every flag", BELOW, true, NO_CRL, 1,
     TLS_FLAGS_ALL & ~TLS_FLAG_UNKNOWN_CA, REJECTED, EKEYREJECTED, NULL, NULL},
    {"deep, too deep", DEEP, true, NO_CRL, 4, 0, REJECTED, EKEYREJECTED, NULL, NULL},
    {"not revoked", FINE, true, ROOT_CRL, 0, 0, NULL, 0, "CN=fine", NULL},
    {"revoked", REVOKED, true, ROOT_CRL, 0, 0, REJECTED, EKEYREVOKED, NULL, NULL},
    {"revoked, only asked for", REVOKED, false, ROOT_CRL, 0, 0, REJECTED, EKEYREVOKED, NULL,
     NULL},
    {"revoked, with every flag", REVOKED, false, ROOT_CRL, 0, TLS_FLAGS_ALL, REJECTED,
     EKEYREVOKED, NULL, NULL},
    {"revoked, by an old list, with every flag", REVOKED, false, OLD_CRL, 0, TLS_FLAGS_ALL,
     REJECTED, EKEYREVOKED, NULL, NULL},
    {"an old list", FINE, true, OLD_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL, NULL},
    {"an old list, tolerated for leaves only", FINE, true, OLD_CRL, 0, TLS_FLAG_END_REVOCATION,
     REJECTED, EKEYREJECTED, NULL, NULL},
    {"an old list, tolerated", FINE, true, OLD_CRL, 0, TLS_FLAG_END_REVOCATION |
     TLS_FLAG_ROOT_REVOCATION, NULL, 0, "CN=fine",
     "IgnoreEndRevocationUnknown, IgnoreRootRevocationUnknown"},
    {"the list of another CA", FINE, true, MIDDLE_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL,
     NULL},
    {"an intermediate CA, with all lists", BELOW, true, BOTH_CRLS, 0, 0, NULL, 0, "CN=below",
     NULL},
    {"an intermediate CA without a list", BELOW, true, ROOT_CRL, 0, 0, REJECTED, EKEYREJECTED,
     NULL, NULL},
    {"an intermediate CA without a list, tolerated", BELOW, true, ROOT_CRL, 0,
     TLS_FLAG_END_REVOCATION, NULL, 0, "CN=below", "IgnoreEndRevocationUnknown"},
    {"a root without a list", BELOW, true, MIDDLE_CRL, 0, 0, REJECTED, EKEYREJECTED, NULL,
     NULL},
    {"a root without a list, tolerated for the CA only", BELOW, true, MIDDLE_CRL, 0,
     TLS_FLAG_CA_REVOCATION, REJECTED, EKEYREJECTED, NULL, NULL},
    {"a root without a list, tolerated", BELOW, true, MIDDLE_CRL, 0, TLS_FLAG_CA_REVOCATION |
     TLS_FLAG_ROOT_REVOCATION, NULL, 0, "CN=below",
     "IgnoreCertificateAuthorityRevocationUnknown, IgnoreRootRevocationUnknown"},
};
/* clang-format on */

static void expect_note(const sallyport_report *r, const char *note)
{
    sallyport_why why = {.size = sizeof why};

    for (size_t i = 0; sallyport_report_why(r, i, &why) == 0; i++)
        if (strcmp(why.code, "tolerated") == 0) {
            assert_non_null(note);
            assert_string_equal(why.text, note);
            assert_int_equal(why.err, 0);
            return;
        }
    assert_null(note);
}

static void expect_in(const struct meeting *m, const struct row *row)
{
    const sallyport_peer *peer = sallyport_report_peer(m->server_report);
    sallyport_why why = {.size = sizeof why};

    if (how_of(m->server_report).level != SALLYPORT_STRONG) {
        assert_int_equal(sallyport_report_why(m->server_report, 0, &why), 0);
        fail_msg("refused: %s", why.text);
    }
    if (row->peer) {
        assert_non_null(peer);
        assert_string_equal(sallyport_peer_text(peer), row->peer);
    } else {
        assert_null(peer);
        assert_int_equal(
            protect_policy_check(&(struct protect_policy){.peer = true}, m->server_report, &why),
            ERR_POLICY);
    }
    /* One chain may have several faults; the note of an unknown CA comes behind the reason why it
     * is nobody, and its other faults with it. */
    if (row->note && strcmp(row->note, "AllowUnknownCertificateAuthority") == 0) {
        assert_int_equal(sallyport_report_why(m->server_report, 0, &why), 0);
        assert_string_equal(why.code, REJECTED);
        assert_int_equal(sallyport_report_why(m->server_report, 1, &why), 0);
        assert_string_equal(why.code, "tolerated");
        assert_non_null(strstr(why.text, row->note));
    } else {
        expect_note(m->server_report, row->note);
    }
}

static void expect_refused(struct meeting *m, const struct row *row, int version)
{
    char byte;

    expect_why(m->server_report, row->code, row->err);
    if (version == TLS1_3_VERSION) {
        /* It believed itself through. */
        sallyport_why why = {.size = sizeof why};

        assert_int_equal(how_of(m->client_report).level, SALLYPORT_STRONG);
        assert_int_equal(sallyport_report_why(m->client_report, 0, &why), -ENOENT);
        ERR_clear_error();
        assert_true(SSL_read(m->client, &byte, 1) <= 0);
        sallyport_report_free(m->client_report);
        assert_int_equal(sallyport_report_new(m->client, &m->client_report), 0);
        assert_int_equal(sallyport_report_why(m->client_report, 0, &why), 0);
        assert_string_equal(why.code, "peer-rejected-us");
        assert_int_equal(why.err, ECONNREFUSED);
    } else { /* of nobody in TLS 1.2 it is inferred: there is no alert for that */
        expect_why(m->client_report, "peer-rejected-us", ECONNREFUSED);
    }
}

static void test_row(void **state)
{
    const struct row *row = *state;
    struct span crls[2];
    unsigned n = crls_of(row->lists, crls);
    struct tls_context *s = server_with(row->require, row->flags, crls, n, row->depth);
    struct tls_context *c = client_as(row->who ? &who[row->who] : NULL);

    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        assert_int_equal(SSL_CTX_set_max_proto_version(tls_context_ssl(c), version), 1);
        struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));

        if (row->code)
            expect_refused(&m, row, version);
        else
            expect_in(&m, row);
        part(&m);
    }
    tls_context_unref(c);
    tls_context_unref(s);
}

/* A CA on the list takes those below with it. */
static void test_revoked_ca(void **state)
{
    char *own = test_crl_new(&gone_ca, NULL, -TEST_DAY, TEST_DAY);
    const struct span crls[] = {span_of(gone_crl), span_of(own)};
    struct tls_context *s = server_with(false, TLS_FLAGS_ALL, crls, 2, 0);
    struct tls_context *c = client_as(&who[BELOW_GONE]);
    struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));

    (void)state;
    expect_why(m.server_report, REJECTED, EKEYREVOKED);
    part(&m);
    tls_context_unref(c);
    tls_context_unref(s);
    free(own);
}

static void expect_load(struct tls_settings s, const char *why_not)
{
    struct tls_context *c = NULL;
    struct buf why;

    buf_init(&why, 0);
    s.role = TLS_SERVER;
    s.certificate = span_of(leaf.cert_pem);
    s.key = span_of(leaf.key_pem);
    assert_int_equal(tls_context_new(&s, &c, &why), why_not ? ERR_CONFIG : OK);
    if (why_not && !strstr(buf_cstr(&why), why_not))
        fail_msg("said: %s", buf_cstr(&why));
    tls_context_unref(c);
    buf_done(&why);
}

static void test_load(void **state)
{
    const struct span junk = SPAN("nonsense"), cert = span_of(root.cert_pem);
    const struct span ca = span_of(root.cert_pem);
    char *both = test_join(root_crl, middle_crl);
    struct span one_file = span_of(both);

    (void)state;
    expect_load((struct tls_settings){.trust = ca, .crls = &one_file, .n_crls = 1}, NULL);
    expect_load((struct tls_settings){.trust = ca, .crls = &junk, .n_crls = 1}, "no CRL");
    expect_load((struct tls_settings){.trust = ca, .crls = &cert, .n_crls = 1}, "no CRL");
    memset(both + strlen(root_crl) + 60, '!', 1);
    expect_load((struct tls_settings){.trust = ca, .crls = &one_file, .n_crls = 1},
                "not PEM throughout");
    free(both);
}

int main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(rows) + 2];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] =
            (struct CMUnitTest){rows[i].name, test_row, NULL, NULL, (void *)(uintptr_t)&rows[i]};
    tests[ARRAY_LEN(rows)] = (struct CMUnitTest)cmocka_unit_test(test_revoked_ca);
    tests[ARRAY_LEN(rows) + 1] = (struct CMUnitTest)cmocka_unit_test(test_load);
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
