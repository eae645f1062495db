/* SPDX-License-Identifier: Apache-2.0 */
/* tls_context_int.h - the body of a context, for its files.
 *
 *   tls_context.c   the rules of the protocol; opening connections
 *   tls_identity.c  own certificates and keys, chosen by the name that the client asks for
 *   tls_staple.c    OCSP responses that go with them
 *   tls_trust.c     CAs, CRLs, and which faults of a peer's certificate are let pass
 *   tls_ticket.c    session tickets
 *   tls_alpn.c      the protocol inside
 *   tls_check.c     is a certificate fit to be offered?
 *   tls_certificate.c   what operators are told of it
 *   tls_client_error.c   words for what goes wrong with a server */
#ifndef PROTECT_TLS_CONTEXT_INT_H
#define PROTECT_TLS_CONTEXT_INT_H

#include <openssl/types.h>
#include <stdatomic.h>

#include "protect/tls_context.h"
#include "sallyport/report.h"

/* Certificates of one file; more is a mistake, or somebody's whole trust store as a chain. */
#define TLS_CHAIN_MAX 16u

struct tls_own {
    X509 *leaf;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* what is sent behind the leaf; may be empty */
    char **names;           /* lower case; "*.x" is one label */
    size_t n_names;
    unsigned char *staple; /* DER; NULL: none */
    size_t n_staple;
    int64_t staple_until;
};

struct ticket_keys;

struct tls_context {
    _Atomic unsigned refs;
    enum tls_role role;
    bool verify, has_crls;
    bool any_date;
    SSL_CTX *ssl;
    struct clock clock;
    bool own_clock;      /* not the system's: certificates are held against it, too */
    struct tls_own *own; /* the first is the default */
    size_t n_own;
    unsigned flags;    /* TLS_FLAG_* */
    int64_t crl_until; /* the earliest end of a CRL; INT64_MAX: none ends */
    unsigned char digest[32];
    unsigned char alpn[1 + TLS_ALPN_MAX]; /* with its length before it; 0: none */
    struct ticket_keys *keys;             /* NULL: no tickets */
};

/* What of ours hangs on OpenSSL's objects. */
struct tls_places {
    int context; /* SSL_CTX: its tls_context */
    int noted;   /* SSL: the flags that tolerated something, as a number */
    int pending; /* SSL: struct pending_ticket */
    int level;   /* SSL_SESSION, of clients: 1 + how strong its full handshake was, as a number */
};
const struct tls_places *tls_places(void);
/* The context that |ssl| was opened with; NULL for one that somebody else made. */
struct tls_context *tls_context_of(const SSL *ssl);
int64_t tls_wall_s(const struct tls_context *c);
/* Puts |text| into |why|, and empties OpenSSL's queue. Returns ERR_CONFIG. */
enum err tls_refuse(struct buf *why, const char *text);
BIO *tls_bio_of(struct span text);
/* Did the PEM reader stop because there was no further block, rather than a broken one? Empties
 * the queue. */
bool tls_pem_is_at_end(void);
/* For PEM readers: no prompt on a terminal; encrypted keys are refused. */
int tls_no_password(char *dst, int cap, int writing, void *arg);
int64_t tls_seconds_of(const ASN1_TIME *t);

/* tls_identity.c */
NODISCARD enum err tls_own_load(struct tls_context *c, const struct tls_settings *s,
                                struct buf *why);
void tls_own_free(struct tls_context *c);

/* tls_staple.c: takes |der| if it is of use by now. */
void tls_staple_load(struct tls_own *own, struct span der, int64_t now_s);
void tls_staple_serve(struct tls_context *c);

/* tls_trust.c */
NODISCARD enum err tls_trust_load(struct tls_context *c, const struct tls_settings *s,
                                  struct buf *why);

/* tls_ticket.c: with c->digest made. */
NODISCARD enum err tls_tickets_load(struct tls_context *c, const struct tls_settings *s,
                                    struct buf *why);
void tls_tickets_free(struct tls_context *c);
void tls_pending_ticket_free(void *parent, void *pending, CRYPTO_EX_DATA *ad, int place, long n,
                             void *arg);
/* What was tolerated in the handshake that a resumed |ssl| goes back to. */
unsigned tls_ticket_tolerated(SSL *ssl);
/* How strong that handshake was, by the ticket. False: |ssl| is not a server's of ours with one. */
bool tls_ticket_level(SSL *ssl, sallyport_level *ret);

/* tls_alpn.c: ERR_BUG for a name that is too long. */
NODISCARD enum err tls_alpn_load(struct tls_context *c, struct span name);

/* tls_check.c: key size of one certificate, and its validity unless |any_date|; |what| names it in
 * the sentence. */
NODISCARD enum err tls_check_certificate(const X509 *cert, const char *what, bool any_date,
                                         struct buf *why);
NODISCARD enum err tls_check_key(const X509 *cert, const EVP_PKEY *key, struct buf *why);

/* Of a client: is there a certificate of its own, and if not, was it asked for one? */
enum tls_own_certificate { TLS_OWN_NONE, TLS_OWN_WANTED, TLS_OWN_GIVEN };
enum tls_own_certificate tls_own_certificate_of(const SSL *ssl);
/* Words for a client: why the server's certificate was refused (X509_V_ERR_*), and what one of
 * OpenSSL's reasons, alerts of the server among them, means. NULL: there are none. */
const char *tls_client_verify_text(long verify);
const char *tls_client_reason_text(int reason, enum tls_own_certificate own);

#endif
