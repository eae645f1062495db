/* SPDX-License-Identifier: Apache-2.0 */
/* tls_identity.c - the certificates that are offered, and which of them to whom (RFC 6066 3). */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "protect/tls_context_int.h"

/* ---- load ---- */

static enum err load_leaf(const struct tls_context *c, struct tls_own *own, BIO *in,
                          struct buf *why)
{
    own->leaf = PEM_read_bio_X509(in, NULL, tls_no_password, NULL);
    if (!own->leaf)
        return tls_refuse(why, "the certificate is not PEM");
    return tls_check_certificate(own->leaf, "the certificate", c->any_date, why);
}

static enum err load_rest_of_chain(const struct tls_context *c, struct tls_own *own, BIO *in,
                                   struct buf *why)
{
    for (unsigned n = 0;; n++) {
        X509 *x = PEM_read_bio_X509(in, NULL, tls_no_password, NULL);

        if (!x)
            return tls_pem_is_at_end()
                       ? OK
                       : tls_refuse(why, "the certificate chain is not PEM throughout");
        enum err e = n < TLS_CHAIN_MAX
                         ? tls_check_certificate(x, "a certificate of the chain", c->any_date, why)
                         : tls_refuse(why, "the certificate chain has more than 16 members");

        if (!e && sk_X509_push(own->chain, x) == 0)
            e = ERR_NOMEM;
        if (e) {
            X509_free(x);
            return e;
        }
    }
}

static enum err load_key(struct tls_own *own, struct span pem, struct buf *why)
{
    BIO *in = tls_bio_of(pem);

    own->key = in ? PEM_read_bio_PrivateKey(in, NULL, tls_no_password, NULL) : NULL;
    (void)BIO_free(in);
    if (!own->key)
        return tls_refuse(why, "the key is not an unencrypted PEM private key");
    return tls_check_key(own->leaf, own->key, why);
}

static enum err load_names(struct tls_own *own, const struct tls_identity *from)
{
    own->names = calloc(from->n_names + 1, sizeof *own->names);
    if (!own->names)
        return ERR_NOMEM;
    for (size_t i = 0; i < from->n_names; i++) {
        own->names[i] = span_dup(span_of(from->names[i]));
        if (!own->names[i])
            return ERR_NOMEM;
        own->n_names++;
    }
    return OK;
}

static enum err load_one(struct tls_context *c, const struct tls_identity *from,
                         struct tls_own *own, struct buf *why)
{
    BIO *in = tls_bio_of(from->certificate);
    enum err e = in ? load_leaf(c, own, in, why) : ERR_NOMEM;

    own->chain = sk_X509_new_null();
    if (!e && !own->chain)
        e = ERR_NOMEM;
    if (!e)
        e = load_rest_of_chain(c, own, in, why);
    (void)BIO_free(in);
    if (!e)
        e = load_key(own, from->key, why);
    if (!e)
        e = load_names(own, from);
    if (!e)
        tls_staple_load(own, from->ocsp, tls_wall_s(c));
    return e;
}

static enum err use_default(struct tls_context *c, struct buf *why)
{
    const struct tls_own *own = &c->own[0];

    /* Both count references for themselves. */
    if (SSL_CTX_use_cert_and_key(c->ssl, own->leaf, own->key, own->chain, 1) == 1)
        return OK;
    return tls_refuse(why, "certificate and key cannot be used for TLS");
}

/* ---- by name ---- */

/* "*.x": one label, and not an empty one. */
static bool name_fits(struct span pattern, struct span name, bool wildcard)
{
    if (!wildcard)
        return span_ieq(pattern, name);
    size_t dot = span_find(name, '.');

    return span_starts(pattern, SPAN("*.")) && dot > 0 && dot < name.n &&
           span_ieq(span_sub(pattern, 1, pattern.n), span_sub(name, dot, name.n));
}

static bool own_fits(const struct tls_own *own, struct span name, bool wildcard)
{
    const unsigned exact = X509_CHECK_FLAG_NO_WILDCARDS, all = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;

    if (own->n_names == 0)
        return X509_check_host(own->leaf, name.p, name.n, wildcard ? all : exact, NULL) == 1;
    for (size_t i = 0; i < own->n_names; i++)
        if (name_fits(span_of(own->names[i]), name, wildcard))
            return true;
    return false;
}

static const struct tls_own *own_for(const struct tls_context *c, struct span name)
{
    for (unsigned wildcard = 0; wildcard <= 1 && name.n; wildcard++)
        for (size_t i = 0; i < c->n_own; i++)
            if (own_fits(&c->own[i], name, wildcard != 0))
                return &c->own[i];
    return &c->own[0];
}

/* Only the certificate depends on the name. Whom we trust does not: the name is the client's word.
 */
static int on_choice(SSL *ssl, void *arg)
{
    const struct tls_context *c = arg;
    struct span name = span_of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));

    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    const struct tls_own *own = own_for(c, name);

    if (own == &c->own[0])
        return 1;
    SSL_certs_clear(ssl); /* else the default one stays, if its key is of another kind */
    return SSL_use_cert_and_key(ssl, own->leaf, own->key, own->chain, 1) == 1;
}

/* ---- all of it ---- */

static enum err load_all(struct tls_context *c, const struct tls_settings *s, struct buf *why)
{
    const struct tls_identity first = {.certificate = s->certificate,
                                       .key = s->key,
                                       .ocsp = s->ocsp,
                                       .names = s->names,
                                       .n_names = s->n_names};

    c->own = calloc(s->n_also + 1, sizeof *c->own);
    if (!c->own)
        return ERR_NOMEM;
    c->n_own = s->n_also + 1;
    for (size_t i = 0; i < c->n_own; i++)
        TRY(load_one(c, i ? &s->also[i - 1] : &first, &c->own[i], why));
    return use_default(c, why);
}

enum err tls_own_load(struct tls_context *c, const struct tls_settings *s, struct buf *why)
{
    if (!s->certificate.p && !s->key.p)
        return s->role == TLS_CLIENT ? OK
                                     : tls_refuse(why, "a server needs a certificate and a key");
    if (s->certificate.n == 0 || s->key.n == 0)
        return tls_refuse(why, "certificate and key must be given together, and neither be empty");
    TRY(load_all(c, s, why));
    if (c->role == TLS_SERVER) {
        if (c->n_own > 1)
            SSL_CTX_set_cert_cb(c->ssl, on_choice, c);
        tls_staple_serve(c);
    }
    return OK;
}

static void own_free(struct tls_own *own)
{
    X509_free(own->leaf);
    EVP_PKEY_free(own->key);
    sk_X509_pop_free(own->chain, X509_free);
    for (size_t i = 0; i < own->n_names; i++)
        free(own->names[i]);
    free(own->names);
    free(own->staple);
}

void tls_own_free(struct tls_context *c)
{
    for (size_t i = 0; i < c->n_own; i++)
        own_free(&c->own[i]);
    free(c->own);
}
