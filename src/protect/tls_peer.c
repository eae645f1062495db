/* SPDX-License-Identifier: Apache-2.0 */
/* tls_peer.c - what a TLS server showed of itself: version, cipher, certificates, and whether a
 * client that verifies would be content. */
#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "protect/tls_pipe_int.h"

/* NIST SP 800-57: 112 bits of security are RSA 2048, P-224. */
#define SECURITY_BITS_MIN 112
#define AUTH_LEVEL        2

/* ---- one certificate ---- */

static void name_text(const X509_NAME *name, char dst[TLS_PEER_TEXT_MAX])
{
    BIO *out = BIO_new(BIO_s_mem());
    char *p = NULL;
    long n;

    dst[0] = '\0';
    if (!out)
        return;
    (void)X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253);
    n = BIO_get_mem_data(out, &p);
    if (n > 0)
        (void)span_copy((struct span){p, (size_t)n}, dst, TLS_PEER_TEXT_MAX);
    (void)BIO_free(out);
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static bool is_broken_hash(const X509 *cert)
{
    int hash = NID_undef, key = NID_undef;

    return OBJ_find_sigid_algs(X509_get_signature_nid(cert), &hash, &key) == 1 &&
           (hash == NID_sha1 || hash == NID_md5 || hash == NID_md4 || hash == NID_md2);
}

static void read_cert(X509 *cert, struct tls_peer_cert *ret)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    const char *kind = key ? EVP_PKEY_get0_type_name(key) : NULL;
    const char *signature = OBJ_nid2ln(X509_get_signature_nid(cert));

    name_text(X509_get_subject_name(cert), ret->subject);
    name_text(X509_get_issuer_name(cert), ret->issuer);
    (void)span_copy(span_of(kind ? kind : "unknown"), ret->key, sizeof ret->key);
    (void)span_copy(span_of(signature ? signature : "unknown"), ret->signature,
                    sizeof ret->signature);
    ret->not_before = seconds_of(X509_get0_notBefore(cert));
    ret->not_after = seconds_of(X509_get0_notAfter(cert));
    ret->key_bits = key ? EVP_PKEY_get_bits(key) : 0;
    ret->weak_key = !key || EVP_PKEY_get_security_bits(key) < SECURITY_BITS_MIN;
    ret->self_signed = X509_self_signed(cert, 0) == 1;
    /* Nobody relies on the signature of a root. */
    ret->broken_hash = !ret->self_signed && is_broken_hash(cert);
}

/* ---- the chain ---- */

static bool was_sent(const STACK_OF(X509) * sent, const X509 *cert)
{
    for (int i = 0; i < sk_X509_num(sent); i++)
        if (X509_cmp(sk_X509_value(sent, i), cert) == 0)
            return true;
    return false;
}

/* All but the root, which clients have. */
static bool is_incomplete(const STACK_OF(X509) * built, const STACK_OF(X509) * sent)
{
    for (int i = 0; i + 1 < sk_X509_num(built); i++)
        if (!was_sent(sent, sk_X509_value(built, i)))
            return true;
    return false;
}

static void verify_chain(const struct tls_pipe *p, X509 *leaf, STACK_OF(X509) * sent,
                         struct tls_peer *ret)
{
    X509_STORE *store = SSL_CTX_get_cert_store(tls_context_ssl(p->context));
    X509_STORE_CTX *v = X509_STORE_CTX_new();
    int error;

    (void)span_copy(SPAN("it could not be verified"), ret->chain_why, sizeof ret->chain_why);
    if (!v || X509_STORE_CTX_init(v, store, leaf, sent) != 1 ||
        X509_STORE_CTX_set_default(v, "ssl_server") != 1) {
        X509_STORE_CTX_free(v);
        return;
    }
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(v), AUTH_LEVEL);
    ret->chain_ok = X509_verify_cert(v) == 1;
    error = X509_STORE_CTX_get_error(v);
    if (ret->chain_ok) {
        ret->chain_why[0] = '\0';
        ret->incomplete = is_incomplete(X509_STORE_CTX_get0_chain(v), sent);
    } else {
        (void)span_copy(span_of(X509_verify_cert_error_string(error)), ret->chain_why,
                        sizeof ret->chain_why);
        ret->issuer_unknown = error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
                              error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
                              error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
    }
    X509_STORE_CTX_free(v);
}

static bool has_name(X509 *leaf, const char *name)
{
    struct span s = span_of(name);
    char text[sizeof((struct tls_pipe *)NULL)->name];

    if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
        s = span_sub(s, 1, s.n - 2);
    (void)span_copy(s, text, sizeof text);
    return X509_check_ip_asc(leaf, text, 0) == 1 ||
           X509_check_host(leaf, text, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

/* ---- all of it ---- */

static bool is_modern(const SSL *ssl)
{
    const SSL_CIPHER *c = SSL_get_current_cipher(ssl);
    int exchange = c ? SSL_CIPHER_get_kx_nid(c) : NID_undef;

    return c && SSL_CIPHER_is_aead(c) == 1 &&
           (exchange == NID_kx_any || exchange == NID_kx_ecdhe || exchange == NID_kx_dhe);
}

void tls_pipe_peer(const struct tls_pipe *p, struct tls_peer *ret)
{
    X509 *leaf = SSL_get1_peer_certificate(p->ssl);
    STACK_OF(X509) *sent = SSL_get_peer_cert_chain(p->ssl);

    *ret = (struct tls_peer){
        .protocol = SSL_get_version(p->ssl),
        .cipher = SSL_get_cipher_name(p->ssl),
        .modern = is_modern(p->ssl),
        .resumed = SSL_session_reused(p->ssl) == 1,
    };
    for (int i = 0; i < sk_X509_num(sent); i++) {
        ret->n_sent++;
        if (ret->n_certs < TLS_PEER_CERTS_MAX)
            read_cert(sk_X509_value(sent, i), &ret->certs[ret->n_certs++]);
    }
    if (leaf) {
        verify_chain(p, leaf, sent, ret);
        ret->name_ok = has_name(leaf, p->name);
    }
    X509_free(leaf);
    ERR_clear_error();
}
