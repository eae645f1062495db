/* SPDX-License-Identifier: Apache-2.0 */
/* tls_check.c - is this certificate fit to be offered: before it is, not when peers complain. */
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "protect/tls_context_int.h"

/* NIST SP 800-57: 112 bits of security are RSA 2048, P-224. */
#define SECURITY_BITS_MIN 112

static void add_time(struct buf *why, const ASN1_TIME *t)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *p = NULL;

    if (!out)
        return;
    (void)ASN1_TIME_print(out, t);
    long n = BIO_get_mem_data(out, &p);

    if (n > 0)
        buf_add(why, (struct span){p, (size_t)n});
    (void)BIO_free(out);
}

static enum err check_dates(const X509 *cert, const char *what, struct buf *why)
{
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0) {
        buf_fmt(why, "%s expired on ", what);
        add_time(why, X509_get0_notAfter(cert));
        return ERR_CONFIG;
    }
    if (X509_cmp_current_time(X509_get0_notBefore(cert)) >= 0) {
        buf_fmt(why, "%s is not valid before ", what);
        add_time(why, X509_get0_notBefore(cert));
        return ERR_CONFIG;
    }
    return OK;
}

enum err tls_check_certificate(const X509 *cert, const char *what, bool any_date, struct buf *why)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);

    if (!any_date)
        TRY(check_dates(cert, what, why));
    if (!key) {
        buf_fmt(why, "%s has a key of a kind that is not known here", what);
        return ERR_CONFIG;
    }
    if (EVP_PKEY_get_security_bits(key) < SECURITY_BITS_MIN) {
        buf_fmt(why, "%s has a key of %d bits, which is too short: RSA needs 2048, EC 224", what,
                EVP_PKEY_get_bits(key));
        return ERR_CONFIG;
    }
    return OK;
}

enum err tls_check_key(const X509 *cert, const EVP_PKEY *key, struct buf *why)
{
    EVP_PKEY *public_key = X509_get0_pubkey(cert);

    if (!public_key || EVP_PKEY_eq(public_key, key) != 1) {
        buf_text(why, "the key does not belong to the certificate");
        return ERR_CONFIG;
    }
    return OK;
}
