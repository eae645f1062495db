/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/tls_context.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "protect/tls_context_int.h"

/* AEAD with ephemeral exchange only; AES-128 first, which is 30 % cheaper and strong enough. */
#define CIPHERS_1_2                                              \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS      "X25519:P-256"
#define SESSION_S   3600

/* One read(2) takes four records. The buffer lives only while it holds something
 * (SSL_MODE_RELEASE_BUFFERS). */
#define READ_AHEAD (66u * 1024)

/* Certificates of one file; more is a mistake, or somebody's whole trust store as a chain. */
#define CHAIN_MAX 16

struct tls_context {
    _Atomic unsigned refs;
    enum tls_role role;
    bool verify;
    SSL_CTX *ssl;
    int64_t not_after;
};

static enum err refuse(struct buf *why, const char *text)
{
    buf_text(why, text);
    ERR_clear_error();
    return ERR_CONFIG;
}

/* No prompt on a terminal for encrypted keys: they are refused. */
static int no_password(char *dst, int cap, int writing, void *arg)
{
    (void)dst;
    (void)cap;
    (void)writing;
    (void)arg;
    return -1;
}

static BIO *bio_of(struct span pem)
{
    return pem.n <= INT32_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
}

/* Did the reader stop because there was no further PEM block, rather than a broken one? */
static bool is_at_end(void)
{
    unsigned long e = ERR_peek_last_error();
    bool end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;

    ERR_clear_error();
    return end;
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static enum err load_leaf(struct tls_context *c, BIO *in, X509 **ret, struct buf *why)
{
    X509 *leaf = PEM_read_bio_X509(in, NULL, no_password, NULL);

    if (!leaf)
        return refuse(why, "the certificate is not PEM");
    enum err e = tls_check_certificate(leaf, "the certificate", why);

    if (!e && SSL_CTX_use_certificate(c->ssl, leaf) != 1)
        e = refuse(why, "the certificate cannot be used for TLS");
    if (e) {
        X509_free(leaf);
        return e;
    }
    c->not_after = seconds_of(X509_get0_notAfter(leaf));
    *ret = leaf;
    return OK;
}

static enum err load_rest_of_chain(struct tls_context *c, BIO *in, struct buf *why)
{
    for (unsigned n = 0;; n++) {
        X509 *x = PEM_read_bio_X509(in, NULL, no_password, NULL);

        if (!x)
            return is_at_end() ? OK : refuse(why, "the certificate chain is not PEM throughout");
        enum err e = n < CHAIN_MAX ? tls_check_certificate(x, "a certificate of the chain", why)
                                   : refuse(why, "the certificate chain has more than 16 members");

        if (!e && SSL_CTX_add0_chain_cert(c->ssl, x) != 1)
            e = refuse(why, "a certificate of the chain cannot be used for TLS");
        if (e) {
            X509_free(x);
            return e;
        }
    }
}

static enum err load_key(struct tls_context *c, struct span pem, const X509 *leaf, struct buf *why)
{
    BIO *in = bio_of(pem);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;
    enum err e = OK;

    (void)BIO_free(in);
    if (!key)
        return refuse(why, "the key is not an unencrypted PEM private key");
    e = tls_check_key(leaf, key, why);
    if (!e && SSL_CTX_use_PrivateKey(c->ssl, key) != 1)
        e = refuse(why, "the key cannot be used for TLS");
    EVP_PKEY_free(key);
    return e;
}

static enum err load_own(struct tls_context *c, const struct tls_settings *s, struct buf *why)
{
    X509 *leaf = NULL;

    if (s->certificate.n == 0 && s->key.n == 0)
        return s->role == TLS_CLIENT ? OK : refuse(why, "a server needs a certificate and a key");
    if (s->certificate.n == 0 || s->key.n == 0)
        return refuse(why, "certificate and key must be given together");
    BIO *in = bio_of(s->certificate);

    if (!in)
        return ERR_NOMEM;
    enum err e = load_leaf(c, in, &leaf, why);

    if (!e)
        e = load_rest_of_chain(c, in, why);
    if (!e)
        e = load_key(c, s->key, leaf, why);
    X509_free(leaf);
    (void)BIO_free(in);
    return e;
}

static enum err trust_one(struct tls_context *c, X509 *ca, struct buf *why)
{
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(c->ssl), ca) != 1)
        return refuse(why, "a trusted certificate cannot be used");
    /* The names help clients to choose; they do not limit what is accepted. */
    if (c->role == TLS_SERVER && SSL_CTX_add_client_CA(c->ssl, ca) != 1)
        return refuse(why, "a trusted certificate cannot be announced");
    return OK;
}

static enum err load_trust(struct tls_context *c, struct span pem, struct buf *why)
{
    BIO *in = bio_of(pem);
    enum err e = in ? OK : ERR_NOMEM;
    unsigned n = 0;

    while (!e) {
        X509 *ca = PEM_read_bio_X509(in, NULL, no_password, NULL);

        if (!ca)
            break;
        e = trust_one(c, ca, why);
        X509_free(ca);
        n++;
    }
    (void)BIO_free(in);
    if (!e && !is_at_end())
        e = refuse(why, "the trusted certificates are not PEM throughout");
    if (!e && n == 0)
        e = refuse(why, "there is no certificate among those to trust");
    return e;
}

static enum err load_rules(SSL_CTX *ssl, enum tls_version minimum)
{
    char groups[] = GROUPS; /* OpenSSL's macro casts const away */

    SSL_CTX_set_security_level(ssl, 2);
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_default_read_buffer_len(ssl, READ_AHEAD);
    /* Tickets carry the state; a cache in here would only be a lock that all threads share. */
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_timeout(ssl, SESSION_S);
    bool ok = SSL_CTX_set_min_proto_version(
                  ssl, minimum == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_cipher_list(ssl, CIPHERS_1_2) == 1 &&
              SSL_CTX_set_ciphersuites(ssl, CIPHERS_1_3) == 1 &&
              SSL_CTX_set1_groups_list(ssl, groups) == 1 &&
              SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"sallyport", 9) == 1 &&
              SSL_CTX_set_num_tickets(ssl, 1) == 1;

    return ok ? OK : ERR_BUG;
}

static enum err load_verification(struct tls_context *c, const struct tls_settings *s,
                                  struct buf *why)
{
    int mode = SSL_VERIFY_NONE;

    if (s->role == TLS_SERVER && s->require_peer && s->trust.n == 0)
        return refuse(why, "a client certificate is required, but no CA is trusted for it");
    if (s->trust.n)
        TRY(load_trust(c, s->trust, why));
    else if (s->role == TLS_CLIENT && SSL_CTX_set_default_verify_paths(c->ssl) != 1)
        return refuse(why, "the system's trusted certificates cannot be loaded");
    if (s->role == TLS_SERVER && s->trust.n)
        mode = SSL_VERIFY_PEER | (s->require_peer ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    if (s->role == TLS_CLIENT && !s->insecure_no_verify)
        mode = SSL_VERIFY_PEER;
    SSL_CTX_set_verify(c->ssl, mode, NULL);
    c->verify = mode != SSL_VERIFY_NONE;
    return OK;
}

enum err tls_context_new(const struct tls_settings *s, struct tls_context **ret, struct buf *why)
{
    struct tls_context *c = calloc(1, sizeof *c);
    enum err e;

    if (!c)
        return ERR_NOMEM;
    ERR_clear_error();
    atomic_init(&c->refs, 1);
    c->role = s->role;
    c->ssl = SSL_CTX_new(s->role == TLS_SERVER ? TLS_server_method() : TLS_client_method());
    e = c->ssl ? load_rules(c->ssl, s->minimum) : ERR_NOMEM;
    if (!e)
        e = load_own(c, s, why);
    if (!e)
        e = load_verification(c, s, why);
    ERR_clear_error();
    if (e) {
        tls_context_unref(c);
        return e;
    }
    *ret = c;
    return OK;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    unsigned before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);

    assert(before > 0);
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(c->ssl);
    free(c);
}

SSL_CTX *tls_context_ssl(const struct tls_context *c)
{
    return c->ssl;
}

enum tls_role tls_context_role(const struct tls_context *c)
{
    return c->role;
}

int64_t tls_context_not_after(const struct tls_context *c)
{
    return c->not_after;
}

/* RFC 6066 3: names only, without the final dot. RFC 9110 4.3.4: IP literals match iPAddress. */
static bool set_name(SSL *ssl, const char *server_name)
{
    struct span name = span_of(server_name);
    char text[256];
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
        name = span_sub(name, 1, name.n - 2);
    else if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n >= sizeof text)
        return false;
    (void)span_copy(name, text, sizeof text);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, text) == 1)
        return true;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, text) == 1 && SSL_set_tlsext_host_name(ssl, text) == 1;
}

SSL *tls_context_open(const struct tls_context *c, const char *server_name)
{
    SSL *ssl = SSL_new(c->ssl);

    if (!ssl)
        return NULL;
    if (c->role == TLS_SERVER) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    /* A chain without a name would prove nothing. */
    if (server_name ? !set_name(ssl, server_name) : c->verify) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

static const char *reason_text(unsigned long e)
{
    const char *text = ERR_reason_error_string(e);

    return text ? text : "unknown reason";
}

void tls_error_text(const SSL *ssl, char *dst, size_t cap)
{
    unsigned long e = ERR_get_error();
    int reason = ERR_GET_REASON(e);
    long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;

    ERR_clear_error();
    if (e == 0)
        (void)snprintf(dst, cap, "the TLS connection failed without a reason given");
    else if (ERR_GET_LIB(e) != ERR_LIB_SSL)
        (void)snprintf(dst, cap, "the TLS library failed: %s", reason_text(e));
    else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK)
        (void)snprintf(dst, cap, "the peer's certificate was refused: %s",
                       X509_verify_cert_error_string(verify));
    else if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        (void)snprintf(dst, cap, "the peer ended the connection without a TLS close");
    else if (reason > SSL_AD_REASON_OFFSET)
        (void)snprintf(dst, cap, "the peer sent the TLS alert '%s'",
                       SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
    else
        (void)snprintf(dst, cap, "TLS failed: %s", reason_text(e));
}
