/* SPDX-License-Identifier: Apache-2.0 */
/* test_certs.h - certificates made on the spot: one P-256 CA, and what a test wants from it. */
#ifndef TEST_CERTS_H
#define TEST_CERTS_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "protect/tls_context.h"

#define TEST_DAY 86400L

struct test_cert {
    char *cert_pem, *key_pem;
    X509 *x509;
    EVP_PKEY *key;
};

struct test_cert_spec {
    const char *cn;   /* NULL: empty subject */
    const char *san;  /* "DNS:localhost,IP:127.0.0.1"; NULL: none */
    long from, until; /* seconds from now; 0, 0: yesterday to in a year */
    int rsa_bits;     /* 0: P-256 */
    int ca;
    const char *usage;       /* extendedKeyUsage: "clientAuth" */
    const char *key_usage;   /* "keyCertSign" */
    const char *constraints; /* basicConstraints; NULL: as |ca| says */
    const char *names;       /* nameConstraints */
};

/* One text behind the other. The caller frees it. */
static inline char *test_join(const char *a, const char *b)
{
    size_t n_a = strlen(a), n_b = strlen(b);
    char *text = malloc(n_a + n_b + 1);

    assert(text);
    memcpy(text, a, n_a);
    memcpy(text + n_a, b, n_b + 1);
    return text;
}

static inline char *test_cert_text(BIO *b)
{
    char *p;
    long n = BIO_get_mem_data(b, &p);
    char *text = malloc((size_t)n + 1);

    assert(text);
    memcpy(text, p, (size_t)n);
    text[n] = '\0';
    BIO_free(b);
    return text;
}

static inline void test_cert_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);

    assert(e);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/* |issuer| NULL: signs itself. */
static inline struct test_cert test_cert_new(const struct test_cert *issuer,
                                             struct test_cert_spec spec)
{
    static long serial = 1;
    struct test_cert t = {.x509 = X509_new()};
    long from = spec.until ? spec.from : -TEST_DAY;
    long until = spec.until ? spec.until : 365 * TEST_DAY;

    t.key = spec.rsa_bits ? EVP_RSA_gen((unsigned)spec.rsa_bits) : EVP_EC_gen("P-256");
    assert(t.x509 && t.key);
    X509_set_version(t.x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(t.x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(t.x509), from);
    X509_gmtime_adj(X509_getm_notAfter(t.x509), until);
    X509_set_pubkey(t.x509, t.key);
    if (spec.cn)
        X509_NAME_add_entry_by_txt(X509_get_subject_name(t.x509), "CN", MBSTRING_UTF8,
                                   (const unsigned char *)spec.cn, -1, -1, 0);
    X509 *by = issuer ? issuer->x509 : t.x509;

    X509_set_issuer_name(t.x509, X509_get_subject_name(by));
    test_cert_extension(t.x509, by, NID_basic_constraints,
                        spec.constraints ? spec.constraints
                        : spec.ca        ? "critical,CA:TRUE"
                                         : "critical,CA:FALSE");
    test_cert_extension(t.x509, by, NID_subject_key_identifier, "hash");
    if (spec.san)
        test_cert_extension(t.x509, by, NID_subject_alt_name, spec.san);
    if (spec.usage)
        test_cert_extension(t.x509, by, NID_ext_key_usage, spec.usage);
    if (spec.key_usage)
        test_cert_extension(t.x509, by, NID_key_usage, spec.key_usage);
    if (spec.names)
        test_cert_extension(t.x509, by, NID_name_constraints, spec.names);
    X509_sign(t.x509, issuer ? issuer->key : t.key, EVP_sha256());

    BIO *b = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(b, t.x509);
    t.cert_pem = test_cert_text(b);
    b = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(b, t.key, NULL, NULL, 0, NULL, NULL);
    t.key_pem = test_cert_text(b);
    return t;
}

static inline void test_cert_free(struct test_cert *t)
{
    X509_free(t->x509);
    EVP_PKEY_free(t->key);
    free(t->cert_pem);
    free(t->key_pem);
    *t = (struct test_cert){0};
}

static inline struct test_cert test_ca_new(const char *cn)
{
    return test_cert_new(NULL, (struct test_cert_spec){.cn = cn, .ca = 1});
}

/* A CRL of |ca| in PEM, with |revoked| (NULL: nobody) on it; seconds from now. The caller frees it.
 */
static inline char *test_crl_new(const struct test_cert *ca, const struct test_cert *revoked,
                                 long from, long until)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *t = ASN1_TIME_new();
    BIO *b = BIO_new(BIO_s_mem());

    assert(crl && t && b);
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->x509));
    X509_gmtime_adj(t, from);
    X509_CRL_set1_lastUpdate(crl, t);
    if (revoked) {
        X509_REVOKED *r = X509_REVOKED_new();

        X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked->x509));
        X509_REVOKED_set_revocationDate(r, t);
        X509_CRL_add0_revoked(crl, r);
    }
    X509_gmtime_adj(t, until);
    X509_CRL_set1_nextUpdate(crl, t);
    X509_CRL_sort(crl);
    X509_CRL_sign(crl, ca->key, EVP_sha256());
    PEM_write_bio_X509_CRL(b, crl);
    ASN1_TIME_free(t);
    X509_CRL_free(crl);
    return test_cert_text(b);
}

/* Both abort when the context is refused. |trust| may be NULL. */
static inline struct tls_context *test_tls_server(const struct test_cert *cert,
                                                  const struct test_cert *trust, bool require_peer)
{
    struct tls_context *c = NULL;
    struct buf why;
    struct tls_settings s = {
        .role = TLS_SERVER,
        .certificate = span_of(cert->cert_pem),
        .key = span_of(cert->key_pem),
        .trust = span_of(trust ? trust->cert_pem : NULL),
        .require_peer = require_peer,
    };

    buf_init(&why, 0);
    enum err e = tls_context_new(&s, &c, &why);

    assert(e == OK);
    (void)e;
    buf_done(&why);
    return c;
}

static inline struct tls_context *test_tls_client(const struct test_cert *trust,
                                                  const struct test_cert *own)
{
    struct tls_context *c = NULL;
    struct buf why;
    struct tls_settings s = {
        .role = TLS_CLIENT,
        .certificate = span_of(own ? own->cert_pem : NULL),
        .key = span_of(own ? own->key_pem : NULL),
        .trust = span_of(trust->cert_pem),
    };

    buf_init(&why, 0);
    enum err e = tls_context_new(&s, &c, &why);

    assert(e == OK);
    (void)e;
    buf_done(&why);
    return c;
}

#endif
