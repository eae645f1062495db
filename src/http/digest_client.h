/* SPDX-License-Identifier: Apache-2.0 */
/* digest_client.h - the client's side of Digest, for one host and one realm: which challenge is
 * answered and with what, the next request without being asked, and whether the server proved
 * itself (RFC 7616 3.3-3.6, RFC 7617 for Basic where that is allowed).
 *
 * For each request: a zeroed struct digest_attempt; digest_client_format() if
 * digest_client_is_ready() or after a challenge; on 401 (407) digest_client_challenged(), and the
 * request again if that is OK; on any other answer digest_client_answered().
 *
 * Engine: randomness is an argument. Passwords are kept by the caller only. One thread at a time;
 * several attempts may be under way. */
#ifndef HTTP_DIGEST_CLIENT_H
#define HTTP_DIGEST_CLIENT_H

#include "http/digest_hash.h"
#include "http/digest_params.h"

/* Bytes of a realm, a nonce, an opaque; and of a host's name. */
#define DIGEST_CLIENT_TEXT_MAX 512u
#define DIGEST_CLIENT_HOST_MAX 255u
#define DIGEST_CNONCE_LEN      22u

struct digest_client_policy {
    unsigned algs;        /* DIGEST_BIT()s that may be answered. SHA-256 is preferred to
                             SHA-512-256, which some peers compute wrongly, and MD5 comes last */
    bool auth_int;        /* the caller can hash bodies; only used where auth is not offered */
    bool rfc2069;         /* challenges without qop may be answered */
    bool basic;           /* Basic may be answered where Digest is not offered, on protected
                             connections only */
    bool refuse_clear;    /* no challenge is answered on connections that are not protected */
    bool require_rspauth; /* the server has to prove that it knows the password,
                             for which Basic and RFC 2069 have no way */
    struct span realm;    /* the only one that is answered, borrowed; empty: the first one met */
};

struct digest_text {
    size_t n;
    char p[DIGEST_CLIENT_TEXT_MAX];
};

/* What is remembered. The caller's storage, for reading only. */
struct digest_client {
    const struct digest_client_policy *policy; /* borrowed */
    char host[DIGEST_CLIENT_HOST_MAX + 1];
    uint16_t port;
    enum { DIGEST_SCHEME_NONE, DIGEST_SCHEME_DIGEST, DIGEST_SCHEME_BASIC } scheme;
    struct digest_text realm, nonce, opaque;
    enum digest_alg alg;
    enum digest_qop qop;
    bool alg_named, has_opaque, userhash, utf8;
    bool used;                          /* without qop: the nonce was sent */
    uint32_t next_nc;                   /* 0: the nonce is used up */
    char cnonce[DIGEST_CNONCE_LEN + 1]; /* of -sess, which keeps one as long as the nonce */
};

/* For requests to |host| (without case) and |port|; for a proxy they are the proxy's. DIGEST_ELONG.
 */
NODISCARD enum digest_err digest_client_init(struct digest_client *c,
                                             const struct digest_client_policy *policy,
                                             struct span host, uint16_t port);
/* Forgets what the server said, but not the host. Wipes. */
void digest_client_forget(struct digest_client *c);
/* Is there something to send before the server asks? A nonce of RFC 2069 is not sent twice. */
bool digest_client_is_ready(const struct digest_client *c);

/* One request, with its repetitions. Zero it; nothing in it is secret. */
struct digest_attempt {
    bool sent, sent_digest; /* with credentials */
    bool fresh;             /* those were made for a challenge to this very request */
    bool redone;            /* once is enough */
    enum digest_alg alg;
    enum digest_qop qop;
    struct digest_text nonce;
    char nc[8 + 1];
    char cnonce[DIGEST_CNONCE_LEN + 1];
};

/* Where an answer came from. */
struct digest_origin {
    struct span host;
    uint16_t port;
    bool protected; /* nobody else listens */
};

/* The answer asked for credentials; |values| are those of all its WWW-Authenticate
 * (Proxy-Authenticate) fields. DIGEST_OK: send the request again with digest_client_format(); the
 * user need not be asked for another password, though for a first one. ELOGIN: the password was
 * wrong; the new challenge is remembered for another attempt with another password. ESTALE: the
 * server calls one nonce after the other old. EHOST, ECLEAR: nothing was looked at. EREALM, EBASIC,
 * ENONE (nothing we can or may do), ESYNTAX, ELONG: nothing was remembered, and the attempt is
 * over. Broken fields do not count if another one has a good challenge. */
NODISCARD enum digest_err digest_client_challenged(struct digest_client *c,
                                                   struct digest_attempt *a,
                                                   const struct digest_origin *from,
                                                   const struct span *values, size_t n_values);

/* Who asks. Borrowed; |ha1s| instead of the password where it is not NULL (Digest only). */
struct digest_user {
    struct span name; /* UTF-8, without colon and control characters */
    struct span password;
    const struct digest_ha1s *ha1s;
};
/* The request that is sent. Borrowed. */
struct digest_target {
    struct span method;
    struct span uri;       /* exactly as in the request-line; CONNECT: host and port */
    struct span body_hash; /* where c->qop is auth-int: digest_body_hash() by c->alg */
    bool protected;        /* nobody else listens */
};

/* Appends the value for Authorization (Proxy-Authorization). ENONE: not digest_client_is_ready();
 * ECLEAR: the connection is not protected and has to be; EUSER: a name that cannot be sent, or
 * nothing is kept for this algorithm; EBODY; EVALUE: a |uri| that cannot be sent; ELONG: longer
 * than DIGEST_TEXT_MAX; ERANDOM, ECRYPTO, ENOMEM. After an error |out| may hold a part, which is
 * secret if it is Basic. */
NODISCARD enum digest_err digest_client_format(struct digest_client *c, struct digest_attempt *a,
                                               const struct digest_user *user,
                                               const struct digest_target *target,
                                               const struct digest_random *random, struct buf *out);

/* The answer let us in. |info|: the value of its Authentication-Info (Proxy-Authentication-Info),
 * or SPAN_NONE; |target| is the request's as it was sent, but with the hash of the answer's body.
 * DIGEST_ERSPAUTH: the proof is wrong, or belongs to another request, or is missing where it is
 * required (or the answer's body has no hash): the answer must not be trusted. ESYNTAX and its
 * like: the field is broken, which counts as no proof where one is required. Otherwise nextnonce is
 * taken. */
NODISCARD enum digest_err digest_client_answered(struct digest_client *c,
                                                 const struct digest_attempt *a,
                                                 const struct digest_user *user,
                                                 const struct digest_target *target,
                                                 struct span info);

#endif
