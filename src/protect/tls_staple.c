/* SPDX-License-Identifier: Apache-2.0 */
/* tls_staple.c - an OCSP response (RFC 6960) that goes with the certificate to clients that ask for
 * it (RFC 6066 8): fetched by somebody else, served while it lasts. */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "protect/tls_context_int.h"

/* The issuer's certificate may not be at hand, so its key's digest is not compared: the issuer's
 * name and the serial number say which certificate is meant. */
static bool is_about(OCSP_CERTID *id, const X509 *leaf)
{
    ASN1_OCTET_STRING *name_hash = NULL;
    ASN1_OBJECT *hash = NULL;
    ASN1_INTEGER *serial = NULL;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (OCSP_id_get0_info(&name_hash, &hash, NULL, &serial, id) != 1 ||
        ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) != 0)
        return false;
    const EVP_MD *md = EVP_get_digestbyobj(hash);

    return md && X509_NAME_digest(X509_get_issuer_name(leaf), md, digest, &n) == 1 &&
           n == (unsigned)ASN1_STRING_length(name_hash) &&
           CRYPTO_memcmp(digest, ASN1_STRING_get0_data(name_hash), n) == 0;
}

static const char *judge_single(OCSP_SINGLERESP *single, int64_t now_s, int64_t *ret_until)
{
    ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
    int status = OCSP_single_get0_status(single, NULL, NULL, &from, &until);

    if (status != V_OCSP_CERTSTATUS_GOOD)
        return status == V_OCSP_CERTSTATUS_REVOKED ? "it says that the certificate is revoked"
                                                   : "it does not know the certificate";
    if (!until)
        return "it does not say how long it is good (nextUpdate)";
    if (from && tls_seconds_of(from) > now_s)
        return "it is not good yet";
    *ret_until = tls_seconds_of(until);
    return *ret_until > now_s ? NULL : "it has expired: fetch a new one";
}

static const char *judge_basic(OCSP_BASICRESP *basic, const X509 *leaf, int64_t now_s,
                               int64_t *ret_until)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);

        if (is_about((OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(single), leaf))
            return judge_single(single, now_s, ret_until);
    }
    return "it is about another certificate";
}

/* Why |der| is of no use, or NULL. */
static const char *judge(struct span der, const X509 *leaf, int64_t now_s, int64_t *ret_until)
{
    const unsigned char *p = (const unsigned char *)der.p;
    OCSP_RESPONSE *response = der.n <= INT32_MAX ? d2i_OCSP_RESPONSE(NULL, &p, (long)der.n) : NULL;
    OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response) : NULL;
    const char *why;

    if (!response)
        why = "it is not an OCSP response in DER";
    else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL || !basic)
        why = "it is only the error message of a responder";
    else
        why = judge_basic(basic, leaf, now_s, ret_until);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return why;
}

void tls_staple_load(struct tls_own *own, struct span der, int64_t now_s)
{
    int64_t until;

    if (der.n == 0 || judge(der, own->leaf, now_s, &until))
        return;
    own->staple = malloc(der.n);
    if (!own->staple)
        return; /* clients do without */
    memcpy(own->staple, der.p, der.n);
    own->n_staple = der.n;
    own->staple_until = until;
}

enum err tls_check_ocsp(struct span der, struct span certificate, struct buf *why)
{
    BIO *in = tls_bio_of(certificate);
    X509 *leaf = in ? PEM_read_bio_X509(in, NULL, tls_no_password, NULL) : NULL;
    int64_t until;
    const char *text =
        leaf ? judge(der, leaf, (int64_t)(clock_wall_ms(&clock_system) / 1000), &until)
             : "there is no certificate that it could be about";

    X509_free(leaf);
    (void)BIO_free(in);
    ERR_clear_error();
    if (!text)
        return OK;
    buf_text(why, text);
    return ERR_CONFIG;
}

static int on_status_request(SSL *ssl, void *arg)
{
    const struct tls_context *c = arg;
    const X509 *leaf = SSL_get_certificate(ssl);

    for (size_t i = 0; i < c->n_own; i++) {
        const struct tls_own *own = &c->own[i];

        if (own->leaf != leaf || !own->staple || own->staple_until <= tls_wall_s(c))
            continue;
        unsigned char *copy = OPENSSL_memdup(own->staple, own->n_staple);

        if (!copy)
            return SSL_TLSEXT_ERR_NOACK;
        (void)SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)own->n_staple);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

void tls_staple_serve(struct tls_context *c)
{
    bool any = false;

    for (size_t i = 0; i < c->n_own; i++)
        any |= c->own[i].staple != NULL;
    if (!any)
        return;
    (void)SSL_CTX_set_tlsext_status_cb(c->ssl, on_status_request);
    (void)SSL_CTX_set_tlsext_status_arg(c->ssl, c);
}
