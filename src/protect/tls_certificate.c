/* SPDX-License-Identifier: Apache-2.0 */
/* tls_certificate.c - what operators are told of a certificate, and whose it is. */
#include <limits.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "protect/tls_context_int.h"

#define DAY_S INT64_C(86400)
#define LIVES 3 /* a warning that comes in the first two thirds of a life is no news */

static void name_text(const X509_NAME *name, char *dst, size_t cap)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *p = NULL;

    dst[0] = '\0';
    if (!out)
        return;
    (void)X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253);
    long n = BIO_get_mem_data(out, &p);

    if (n > 0)
        (void)span_copy((struct span){p, (size_t)n}, dst, cap);
    (void)BIO_free(out);
}

static void serial_text(const X509 *cert, char *dst, size_t cap)
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *hex = n ? BN_bn2hex(n) : NULL;

    (void)span_copy(span_of(hex ? hex : ""), dst, cap);
    OPENSSL_free(hex);
    BN_free(n);
}

static void read_certificate(const X509 *cert, struct tls_certificate *ret)
{
    name_text(X509_get_subject_name(cert), ret->subject, sizeof ret->subject);
    serial_text(cert, ret->serial, sizeof ret->serial);
    ret->not_before = tls_seconds_of(X509_get0_notBefore(cert));
    ret->not_after = tls_seconds_of(X509_get0_notAfter(cert));
}

enum err tls_certificate_read(struct span pem, struct tls_certificate *ret)
{
    BIO *in = tls_bio_of(pem);
    X509 *cert = in ? PEM_read_bio_X509(in, NULL, tls_no_password, NULL) : NULL;

    (void)BIO_free(in);
    ERR_clear_error();
    if (!cert)
        return ERR_SYNTAX;
    read_certificate(cert, ret);
    X509_free(cert);
    return OK;
}

static void read_crl(const X509_CRL *crl, struct tls_certificate *ret)
{
    const ASN1_TIME *end = X509_CRL_get0_nextUpdate(crl);
    int64_t not_after = end ? tls_seconds_of(end) : INT64_MAX;

    if (ret->not_after && ret->not_after <= not_after)
        return;
    *ret = (struct tls_certificate){
        .not_before = tls_seconds_of(X509_CRL_get0_lastUpdate(crl)),
        .not_after = not_after,
    };
    name_text(X509_CRL_get_issuer(crl), ret->subject, sizeof ret->subject);
}

void tls_crls_read(struct span pem, struct tls_certificate *ret)
{
    BIO *in = tls_bio_of(pem);
    X509_CRL *crl;

    while (in && (crl = PEM_read_bio_X509_CRL(in, NULL, tls_no_password, NULL))) {
        read_crl(crl, ret);
        X509_CRL_free(crl);
    }
    (void)BIO_free(in);
    ERR_clear_error();
}

unsigned tls_certificate_warning(const struct tls_certificate *c, int64_t now)
{
    static const unsigned days[] = {1, 7, 30};
    int64_t left = c->not_after - now, life = c->not_after - c->not_before;

    if (left <= 0)
        return UINT_MAX;
    for (size_t i = 0; i < ARRAY_LEN(days); i++)
        if (left <= days[i] * DAY_S && life >= LIVES * days[i] * DAY_S)
            return days[i];
    return 0;
}

/* Lists of what peers may have lost say nothing about our own. */
static void without_revocation(X509_STORE_CTX *v)
{
    (void)X509_VERIFY_PARAM_clear_flags(X509_STORE_CTX_get0_param(v),
                                        X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

enum err tls_context_check_issuer(const struct tls_context *c, struct buf *why)
{
    SSL_CTX *ssl = tls_context_ssl(c);
    X509 *cert = SSL_CTX_get0_certificate(ssl);
    X509_STORE_CTX *v = X509_STORE_CTX_new();
    STACK_OF(X509) *chain = NULL;
    enum err e = ERR_NOMEM;

    (void)SSL_CTX_get0_chain_certs(ssl, &chain);
    if (v && cert && X509_STORE_CTX_init(v, SSL_CTX_get_cert_store(ssl), cert, chain) == 1) {
        without_revocation(v);
        e = X509_verify_cert(v) == 1 ? OK : ERR_CONFIG;
    }
    if (e == ERR_CONFIG)
        buf_fmt(why, "the certificate does not belong to the CAs of client certificates: %s",
                X509_verify_cert_error_string(X509_STORE_CTX_get_error(v)));
    X509_STORE_CTX_free(v);
    ERR_clear_error();
    return e;
}
