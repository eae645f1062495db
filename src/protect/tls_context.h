/* SPDX-License-Identifier: Apache-2.0 */
/* tls_context.h - certificates, keys, trust and rules of one TLS role, loaded once, immutable and
 * shared by threads. A reload makes a new one; connections keep the one that they began with. */
#ifndef PROTECT_TLS_CONTEXT_H
#define PROTECT_TLS_CONTEXT_H

#include <openssl/types.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/clock.h"
#include "protect/tls_flags.h"
#include "sallyport/report.h"

enum tls_role { TLS_SERVER, TLS_CLIENT };
enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

/* Chain depths are counted in CA certificates, the trusted one included. */
#define TLS_DEPTH_DEFAULT 5u
#define TLS_DEPTH_MAX     16u
#define TLS_ALPN_MAX      32u /* bytes of a name */

/* What a server shows to whom. */
struct tls_identity {
    struct span certificate; /* PEM chain, leaf first */
    struct span key;         /* PEM; not encrypted */
    struct span ocsp; /* DER OCSP response for the leaf, or empty; not served once it ended */
    /* DNS names that choose it; "*.x" is one label. None: those of the leaf. */
    const char *const *names;
    size_t n_names;
};

/* A text that is not given has no |p|; one that is given and empty is refused. */
struct tls_settings {
    enum tls_role role;
    enum tls_version minimum;
    struct span certificate; /* required for a server; this and the next four as in tls_identity */
    struct span key;
    struct span ocsp;
    const char *const *names;
    size_t n_names;
    const struct tls_identity *also; /* server: shown to clients that ask for one of its names */
    size_t n_also;
    struct span trust; /* PEM CAs for the peer's certificate; not given: the system's for a client,
                          none for a server */
    /* server: demand a client certificate from |trust|. False, with |trust|: ask for one; without
     * one the client is let in as nobody, with a bad one it is not. */
    bool require_peer;
    bool insecure_no_verify; /* client: takes any certificate; for probes only, and the name is the
                                warning */
    bool any_date; /* own certificates may have expired: they were good when they were installed,
                      and serving them is better than serving nobody */
    const struct span *crls; /* PEM CRLs; with one, every certificate of a chain needs its CRL */
    size_t n_crls;
    unsigned depth; /* 0: TLS_DEPTH_DEFAULT */
    unsigned flags; /* TLS_FLAG_*: faults of the peer's certificate that are let pass */
    /* What is spoken inside (RFC 7301). A client offers this name alone. A server refuses clients
     * that offer names and not this one: they want to speak something else, perhaps because
     * somebody has joined them to a connection that is not theirs. Empty: nothing is offered, and
     * what others offer is passed over. */
    struct span alpn;
    bool cleanse; /* passwords come in: what was decrypted is wiped as soon as it has been read */
    bool no_tickets;
    bool tickets_on_request;   /* TLS 1.3: only those of tls_ticket_issue() */
    struct span ticket_secret; /* at least TLS_TICKET_SECRET_MIN bytes; not given: random, so good
                                  for this context only */
    const struct clock *clock; /* NULL: the machine's; copied */
};

struct tls_context;

/* Checks that key and certificate match, chain dates and minimum sizes. On failure *why holds a
 * sentence that names what is wrong (no secrets), and nothing else is written. Counted: starts with
 * one reference. Any thread. */
NODISCARD enum err tls_context_new(const struct tls_settings *s, struct tls_context **ret,
                                   struct buf *why);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c); /* NULL is fine */
SSL_CTX *tls_context_ssl(const struct tls_context *c);
enum tls_role tls_context_role(const struct tls_context *c);
/* Is anything asked about revocation of the peer's certificate? */
bool tls_context_has_crls(const struct tls_context *c);
/* A new SSL for one connection; |server_name|: SNI and the name to verify for clients (DNS name or
 * IP literal), NULL for servers. NULL when out of memory, or when a client that verifies was given
 * no usable name. The caller frees it. */
SSL *tls_context_open(const struct tls_context *c, const char *server_name);
/* notAfter of the own certificate, seconds since 1970; 0 without one. */
int64_t tls_context_not_after(const struct tls_context *c);
/* The flags that let something pass in this handshake, or in the one that it resumes; 0 for an SSL
 * that is not of a context. */
unsigned tls_tolerated(const SSL *ssl);
/* Can |der| be served with the leaf of |certificate| (PEM)? On ERR_CONFIG |why| has a sentence. */
NODISCARD enum err tls_check_ocsp(struct span der, struct span certificate, struct buf *why);
/* Is it that the peer named (ALPN, RFC 7301) no protocol that is spoken here? */
bool tls_why_is_protocol(const sallyport_why *why);
/* What an alert of that number says. */
const char *tls_alert_text(int alert);

/* ---- tls_certificate.c ---- */

/* What a certificate says of itself. */
struct tls_certificate {
    char subject[256]; /* RFC 2253, ASCII, cut */
    char serial[64];   /* hexadecimal, cut */
    int64_t not_before, not_after;
};
/* Of the CRLs in |pem| the one that ends first, if before |ret|: |subject| is its issuer's,
 * |not_before| when it was made, |not_after| when its successor is due (RFC 5280 5.1.2.5). A |ret|
 * that is zeroed is none yet; what is no CRL is passed over. */
void tls_crls_read(struct span pem, struct tls_certificate *ret);
/* What is due at |now|, in seconds since 1970: 30, 7 or 1 days before the end, UINT_MAX when it is
 * over, 0 nothing. Those that live shorter than three times as long are renewed all the time, and
 * skip the step. */
unsigned tls_certificate_warning(const struct tls_certificate *c, int64_t now);
/* The first one of |pem|. ERR_SYNTAX: there is none. */
NODISCARD enum err tls_certificate_read(struct span pem, struct tls_certificate *ret);
/* Was the own certificate issued by those whom |c| trusts? ERR_CONFIG and a sentence in |why| when
 * its chain does not end there. */
NODISCARD enum err tls_context_check_issuer(const struct tls_context *c, struct buf *why);
/* The first error of this thread's OpenSSL queue as a sentence; empties the queue. |ssl| may be
 * NULL. */
void tls_error_text(const SSL *ssl, char *dst, size_t cap);

#endif
