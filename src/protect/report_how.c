/* SPDX-License-Identifier: Apache-2.0 */
/* report_how.c - how strong what OpenSSL agreed upon is: each of its parts held against the table
 * of strength.h, the weakest counts. */
#include <errno.h>
#include <stdio.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "protect/report_int.h"
#include "protect/strength.h"
#include "protect/tls_context_int.h"

/* The level so far, and what keeps it there. */
struct weighing {
    sallyport_level level;
    const char *limit;   /* static; NULL: strong so far */
    const char *unknown; /* static: kind of a part that the table does not have */
};

static void cap(struct weighing *w, sallyport_level level, const char *limit)
{
    if (level >= w->level)
        return;
    w->level = level;
    w->limit = limit;
}

static void weigh(struct weighing *w, enum strength_part part, int id, const char *what)
{
    sallyport_level level;

    if (strength_of(part, id, &level)) {
        cap(w, level, what);
        return;
    }
    cap(w, SALLYPORT_NONE, what);
    if (!w->unknown)
        w->unknown = what;
}

static void weigh_cipher(struct weighing *w, const SSL_CIPHER *cipher)
{
    int nid = SSL_CIPHER_get_cipher_nid(cipher);

    weigh(w, STRENGTH_CIPHER, nid, "the cipher");
    if (nid != NID_undef && SSL_CIPHER_get_bits(cipher, NULL) < STRENGTH_CIPHER_BITS_MIN)
        cap(w, SALLYPORT_WEAK, "the cipher's key size");
    weigh(w, STRENGTH_KEY_EXCHANGE, SSL_CIPHER_get_kx_nid(cipher), "the key exchange");
    weigh(w, STRENGTH_AUTHENTICATION, SSL_CIPHER_get_auth_nid(cipher), "the authentication");
}

/* Before TLS 1.3 a server chose p and g itself: only the size of p says something. */
static void weigh_finite_field(struct weighing *w, SSL *ssl)
{
    EVP_PKEY *key = NULL;

    /* A resumed session has none to show: then it does not count as strong. */
    if (SSL_get_peer_tmp_key(ssl, &key) != 1 || EVP_PKEY_get_bits(key) < STRENGTH_DH_BITS_MIN)
        cap(w, SALLYPORT_WEAK, "the key exchange's group");
    EVP_PKEY_free(key);
}

static void weigh_group(struct weighing *w, SSL *ssl, int exchange)
{
    int group = (int)SSL_get_negotiated_group(ssl);

    if (exchange == NID_kx_dhe || exchange == NID_kx_dhe_psk)
        weigh_finite_field(w, ssl);
    else if (exchange == NID_kx_any || exchange == NID_kx_ecdhe || exchange == NID_kx_ecdhe_psk)
        weigh(w, STRENGTH_GROUP, group, "the key exchange's group");
}

static void weigh_key(struct weighing *w, const X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    int kind = key ? EVP_PKEY_get_base_id(key) : NID_undef, bits = key ? EVP_PKEY_get_bits(key) : 0;

    weigh(w, STRENGTH_SIGNATURE, kind, "the kind of key in a certificate");
    if (bits < (kind == EVP_PKEY_RSA || kind == EVP_PKEY_RSA_PSS ? STRENGTH_RSA_BITS_MIN
                                                                 : STRENGTH_EC_BITS_MIN))
        cap(w, SALLYPORT_WEAK, "the size of a certificate's key");
}

/* -1, which is in no table, for a kind that OpenSSL does not know: it then says NID_undef, as it
 * does for those that bring their own. */
static int hash_of(X509 *cert)
{
    int kind = X509_get_signature_nid(cert), hash = NID_undef;
    bool known = X509_get_signature_info(cert, &hash, NULL, NULL, NULL) == 1;

    if (hash == NID_undef && kind != NID_ED25519 && kind != NID_ED448)
        known = false;
    return known ? hash : -1;
}

static void weigh_cert(struct weighing *w, X509 *cert)
{

    weigh_key(w, cert);
    /* Nobody relies on the signature of a root. */
    if (X509_self_signed(cert, 0) == 1)
        return;
    weigh(w, STRENGTH_HASH, hash_of(cert), "the hash that a certificate was signed with");
}

static void weigh_certs(struct weighing *w, SSL *ssl)
{
    const STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    X509 *own = SSL_is_server(ssl) ? SSL_get_certificate(ssl) : NULL;
    X509 *peer = SSL_get1_peer_certificate(ssl);

    if (peer)
        weigh_cert(w, peer);
    if (own)
        weigh_cert(w, own);
    for (int i = 1; i < sk_X509_num(chain); i++)
        weigh_cert(w, sk_X509_value(chain, i));
    X509_free(peer);
}

/* Signatures of this handshake: the peer's, and of a server its own. A resumed one has none. */
static void weigh_signatures(struct weighing *w, SSL *ssl)
{
    int hash = NID_undef;

    if (SSL_get_peer_signature_nid(ssl, &hash) == 1)
        weigh(w, STRENGTH_HASH, hash, "the hash that the handshake was signed with");
    if (SSL_is_server(ssl) && SSL_get_signature_nid(ssl, &hash) == 1)
        weigh(w, STRENGTH_HASH, hash, "the hash that the handshake was signed with");
}

/* ---- resumed sessions ---- */

/* A resumed handshake has no signatures, and nothing of the CAs of its peer: how strong those were
 * is only known from the handshake that it goes back to. Copies of a session, and the sessions of
 * tickets that come later, keep what is noted of the first. */
static void note_level(SSL *ssl, sallyport_level level)
{
    SSL_SESSION *session = SSL_get_session(ssl);

    if (SSL_is_server(ssl) || !session || SSL_SESSION_get_ex_data(session, tls_places()->level))
        return;
    /* Without memory for it nothing is known, which counts as weak. */
    (void)SSL_SESSION_set_ex_data(session, tls_places()->level, (void *)((uintptr_t)level + 1));
}

static bool noted_level(SSL *ssl, sallyport_level *ret)
{
    const SSL_SESSION *session = SSL_get_session(ssl);
    uintptr_t noted =
        session ? (uintptr_t)SSL_SESSION_get_ex_data(session, tls_places()->level) : 0;

    if (noted == 0)
        return tls_ticket_level(ssl, ret);
    *ret = (sallyport_level)(noted - 1);
    return true;
}

/* A server that asked its peer for nothing, in a version without weak signatures (RFC 8446 4.2.3):
 * everything that counts is still there to be weighed. */
static bool nothing_is_gone(SSL *ssl)
{
    return SSL_is_server(ssl) && SSL_version(ssl) >= TLS1_3_VERSION &&
           !SSL_get0_peer_certificate(ssl);
}

static void weigh_resumed(struct weighing *w, SSL *ssl)
{
    sallyport_level level;

    if (noted_level(ssl, &level))
        cap(w, level, "the handshake that it resumes");
    else if (!nothing_is_gone(ssl))
        cap(w, SALLYPORT_WEAK, "the handshake that it resumes, which nobody looked at");
}

/* ---- names, for people ---- */

static const char *name_of(int nid)
{
    return nid == NID_undef ? NULL : OBJ_nid2sn(nid);
}

static const char *group_name(SSL *ssl)
{
    int group = (int)SSL_get_negotiated_group(ssl);

    if (group == NID_undef)
        return NULL;
    if (group & TLSEXT_nid_unknown)
        return "a group without a name here";
    return name_of(group);
}

static const char *signature_name(SSL *ssl)
{
    int kind = NID_undef, hash = NID_undef, both = NID_undef;

    if (SSL_get_peer_signature_type_nid(ssl, &kind) != 1)
        return NULL;
    if (SSL_get_peer_signature_nid(ssl, &hash) == 1 && hash != NID_undef &&
        OBJ_find_sigid_by_algs(&both, hash, kind) == 1)
        return name_of(both);
    return name_of(kind);
}

/* ---- the rest of HOW ---- */

static sallyport_tri accepted(const SSL *ssl)
{
    const SSL_SESSION *session = SSL_get0_session(ssl);

    if (SSL_is_server(ssl) || SSL_version(ssl) < TLS1_3_VERSION)
        return SALLYPORT_YES;
    /* RFC 8446 4.4.2: a client has ended its handshake before the server judges it. 4.6.1: but a
     * ticket comes after that; the one of a resumed session is of another time. */
    return session && !SSL_session_reused(ssl) && SSL_SESSION_has_ticket(session) == 1
               ? SALLYPORT_YES
               : SALLYPORT_UNKNOWN;
}

static int add_unknown(sallyport_report *r, const char *what)
{
    char text[REPORT_TEXT_MAX];

    (void)snprintf(text, sizeof text, "%s is of a kind that the table of strengths does not have",
                   what);
    return report_add(r, &(struct report_cause){.code = "unsupported",
                                                .err = EOPNOTSUPP,
                                                .stage = SALLYPORT_STAGE_HANDSHAKE,
                                                .text = text});
}

int report_read_how(sallyport_report *r, SSL *ssl)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    struct weighing w = {.level = SALLYPORT_STRONG};

    weigh(&w, STRENGTH_VERSION, SSL_version(ssl), "the version of TLS");
    if (cipher) {
        weigh_cipher(&w, cipher);
        weigh_group(&w, ssl, SSL_CIPHER_get_kx_nid(cipher));
    } else {
        cap(&w, SALLYPORT_NONE, "the cipher");
    }
    weigh_signatures(&w, ssl);
    weigh_certs(&w, ssl);
    if (SSL_session_reused(ssl) == 1)
        weigh_resumed(&w, ssl);
    else
        note_level(ssl, w.level);
    r->how.level = w.level;
    r->how.limit = w.limit;
    r->how.via = SALLYPORT_VIA_TLS;
    r->how.protocol = SSL_get_version(ssl);
    r->how.cipher = cipher ? SSL_CIPHER_get_name(cipher) : "unknown";
    r->how.group = group_name(ssl);
    r->how.signature = signature_name(ssl);
    r->how.resumed = SSL_session_reused(ssl) == 1;
    r->how.end_to_end = SALLYPORT_YES;
    r->how.accepted_by_peer = accepted(ssl);
    /* RFC 8446 8: only early data can be sent again by somebody else. */
    r->how.replay_safe =
        SSL_get_early_data_status(ssl) == SSL_EARLY_DATA_ACCEPTED ? SALLYPORT_NO : SALLYPORT_YES;
    return w.unknown ? add_unknown(r, w.unknown) : 0;
}
