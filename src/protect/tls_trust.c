/* SPDX-License-Identifier: Apache-2.0 */
/* tls_trust.c - whose certificates are accepted: CAs, CRLs, depth, and the one callback that
 * decides what is let pass all the same. */
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "protect/tls_context_int.h"

/* ---- CAs ---- */

static enum err trust_one(struct tls_context *c, X509 *ca, struct buf *why)
{
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(c->ssl), ca) != 1)
        return tls_refuse(why, "a trusted certificate cannot be used");
    /* The names help clients to choose; they do not limit what is accepted. */
    if (c->role == TLS_SERVER && SSL_CTX_add_client_CA(c->ssl, ca) != 1)
        return tls_refuse(why, "a trusted certificate cannot be announced");
    return OK;
}

static enum err load_cas(struct tls_context *c, struct span pem, struct buf *why)
{
    BIO *in = tls_bio_of(pem);
    enum err e = in ? OK : ERR_NOMEM;
    unsigned n = 0;

    while (!e) {
        X509 *ca = PEM_read_bio_X509(in, NULL, tls_no_password, NULL);

        if (!ca)
            break;
        e = trust_one(c, ca, why);
        X509_free(ca);
        n++;
    }
    (void)BIO_free(in);
    if (!e && !tls_pem_is_at_end())
        e = tls_refuse(why, "the trusted certificates are not PEM throughout");
    if (!e && n == 0)
        e = tls_refuse(why, "there is no certificate among those to trust");
    return e;
}

/* ---- CRLs ---- */

static enum err add_crl(struct tls_context *c, X509_CRL *crl, struct buf *why)
{
    const ASN1_TIME *end = X509_CRL_get0_nextUpdate(crl);
    int64_t end_s = end ? tls_seconds_of(end) : INT64_MAX;

    if (end_s < c->crl_until)
        c->crl_until = end_s;
    return X509_STORE_add_crl(SSL_CTX_get_cert_store(c->ssl), crl) == 1
               ? OK
               : tls_refuse(why, "a CRL cannot be used");
}

static enum err load_crl_file(struct tls_context *c, struct span pem, struct buf *why)
{
    BIO *in = tls_bio_of(pem);
    enum err e = in ? OK : ERR_NOMEM;
    unsigned n = 0;

    while (!e) {
        X509_CRL *crl = PEM_read_bio_X509_CRL(in, NULL, tls_no_password, NULL);

        if (!crl)
            break;
        e = add_crl(c, crl, why);
        X509_CRL_free(crl);
        n++;
    }
    (void)BIO_free(in);
    if (!e && !tls_pem_is_at_end())
        e = tls_refuse(why, "a file of CRLs is not PEM throughout: convert DER with 'openssl crl "
                            "-inform DER'");
    if (!e && n == 0)
        e = tls_refuse(why, "there is no CRL in a file of CRLs");
    return e;
}

static enum err load_crls(struct tls_context *c, const struct tls_settings *s, struct buf *why)
{
    c->crl_until = INT64_MAX;
    for (size_t i = 0; i < s->n_crls; i++)
        TRY(load_crl_file(c, s->crls[i], why));
    if (s->n_crls == 0)
        return OK;
    X509_VERIFY_PARAM *p = SSL_CTX_get0_param(c->ssl);

    return X509_VERIFY_PARAM_set_flags(p, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1
               ? OK
               : ERR_NOMEM;
}

/* ---- one certificate of a chain ---- */

unsigned tls_tolerated(const SSL *ssl)
{
    if (!tls_context_of(ssl))
        return 0;
    /* The getters of OpenSSL 3.0 take SSL without const, although they only read. */
    SSL *rw = (SSL *)(uintptr_t)ssl;

    return SSL_session_reused(ssl) == 1
               ? tls_ticket_tolerated(rw)
               : (unsigned)(uintptr_t)SSL_get_ex_data(ssl, tls_places()->noted);
}

static bool note_flag(SSL *ssl, unsigned flag)
{
    int place = tls_places()->noted;
    uintptr_t noted = (uintptr_t)SSL_get_ex_data(ssl, place);

    return SSL_set_ex_data(ssl, place, (void *)(noted | flag)) == 1;
}

/* Asked for each certificate: with |ok| 0 when something is wrong with it. The result of the whole
 * verification is the error that stays behind: none, after a fault that is tolerated; but that of
 * a chain that leads to nobody whom we trust stays, so that it never makes a peer, in this session
 * or in one that is resumed. */
static int on_certificate(int ok, X509_STORE_CTX *v)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(v, SSL_get_ex_data_X509_STORE_CTX_idx());
    const struct tls_context *c = ssl ? tls_context_of(ssl) : NULL;
    int error = X509_STORE_CTX_get_error(v), depth = X509_STORE_CTX_get_error_depth(v);
    int top = sk_X509_num(X509_STORE_CTX_get0_chain(v)) - 1;

    if (ok || !c)
        return ok;
    unsigned flag = tls_flags_tolerate(c->flags, error, depth, top);

    if (!flag || !note_flag(ssl, flag))
        return 0;
    X509_STORE_CTX_set_error(v, tls_tolerated(ssl) & TLS_FLAG_UNKNOWN_CA
                                    ? X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
                                    : X509_V_OK);
    return 1;
}

/* ---- a name for all of it ---- */

static bool digest_span(EVP_MD_CTX *d, struct span s)
{
    uint64_t n = s.n;

    return EVP_DigestUpdate(d, &n, sizeof n) == 1 && EVP_DigestUpdate(d, s.p, s.n) == 1;
}

/* A session that began under another trust must not go on under this one. */
static bool digest_trust(struct tls_context *c, const struct tls_settings *s)
{
    const unsigned rules[] = {s->role,  s->minimum, s->require_peer,
                              s->depth, s->flags,   s->tickets_on_request};
    EVP_MD_CTX *d = EVP_MD_CTX_new();
    bool ok = d && EVP_DigestInit_ex(d, EVP_sha256(), NULL) == 1 &&
              digest_span(d, SPAN("sallyport")) && EVP_DigestUpdate(d, rules, sizeof rules) == 1 &&
              digest_span(d, s->trust);

    for (size_t i = 0; ok && i < s->n_crls; i++)
        ok = digest_span(d, s->crls[i]);
    ok = ok && EVP_DigestFinal_ex(d, c->digest, NULL) == 1;
    EVP_MD_CTX_free(d);
    return ok && SSL_CTX_set_session_id_context(c->ssl, c->digest, sizeof c->digest) == 1;
}

/* ---- all of it ---- */

static int verify_mode(const struct tls_settings *s)
{
    if (s->role == TLS_SERVER && s->trust.n)
        return SSL_VERIFY_PEER | (s->require_peer ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    if (s->role == TLS_CLIENT && !s->insecure_no_verify)
        return SSL_VERIFY_PEER;
    return SSL_VERIFY_NONE;
}

enum err tls_trust_load(struct tls_context *c, const struct tls_settings *s, struct buf *why)
{
    int mode = verify_mode(s);
    unsigned depth = s->depth ? s->depth : TLS_DEPTH_DEFAULT;

    if (s->role == TLS_SERVER && s->require_peer && !s->trust.p)
        return tls_refuse(why, "a client certificate is required, but no CA is trusted for it");
    /* A file that was given and is empty must not mean everybody whom the system trusts, or that
     * nobody is asked. */
    if (s->trust.p)
        TRY(load_cas(c, s->trust, why));
    else if (s->role == TLS_CLIENT && SSL_CTX_set_default_verify_paths(c->ssl) != 1)
        return tls_refuse(why, "the system's trusted certificates cannot be loaded");
    TRY(load_crls(c, s, why));
    c->flags = s->flags;
    c->has_crls = s->n_crls > 0;
    c->verify = mode != SSL_VERIFY_NONE;
    SSL_CTX_set_verify(c->ssl, mode, c->flags ? on_certificate : NULL);
    if (c->role == TLS_SERVER) /* OpenSSL counts what is between leaf and trust */
        SSL_CTX_set_verify_depth(c->ssl, (int)(depth - 1));
    return digest_trust(c, s) ? OK : ERR_BUG;
}
