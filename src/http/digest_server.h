/* SPDX-License-Identifier: Apache-2.0 */
/* digest_server.h - the server's (or proxy's) side of Digest: what it asks, whom it takes, what it
 * says afterwards (RFC 7616 3.3-3.6).
 *
 * Engine: time is an argument, randomness comes from the settings; nothing is remembered but by the
 * replay table. Any thread, with the same settings as long as nobody changes them. Whether the
 * connection may carry credentials at all, and how often somebody may fail, are the caller's. */
#ifndef HTTP_DIGEST_SERVER_H
#define HTTP_DIGEST_SERVER_H

#include "http/digest_nonce.h"
#include "http/digest_params.h"
#include "http/digest_replay.h"

/* With more, the Authorization value of a CUPS client outgrows its buffer of 1024 bytes. */
#define DIGEST_REALM_MAX 64u

/* Credentials without qop, which have no count. */
enum digest_rfc2069 {
    DIGEST_RFC2069_OFF,
    DIGEST_RFC2069_SINGLE_USE, /* each nonce once, with MD5 only */
};

/* All borrowed. */
struct digest_server {
    enum digest_purpose purpose;
    struct span realm; /* 1..DIGEST_REALM_MAX bytes without control characters */
    unsigned algs;     /* DIGEST_BIT()s of enum digest_alg */
    unsigned qops;     /* of DIGEST_QOP_AUTH, DIGEST_QOP_AUTH_INT. auth-int alone is more than most
                          clients can do: they answer with auth and are asked for ever */
    uint32_t lifetime_s; /* of nonces; 300 is usual */
    enum digest_rfc2069 rfc2069;
    bool userhash; /* clients may hide the user's name (RFC 7616 3.4.4) */
    const struct digest_keys *keys;
    struct digest_replay *replay;
    const struct digest_random *random;
};
/* DIGEST_ESETTINGS: something above is not as it has to be. The functions below rely on it. */
NODISCARD enum digest_err digest_server_check(const struct digest_server *s);

/* Appends a whole field-line, CRLF included, for each algorithm, the strongest first and each with
 * its name and a nonce of its own (RFC 7616 3.3, 3.7). Without opaque. |stale|: the password was
 * right (digest_err_answer() is DIGEST_RENEW). |binding|: see struct digest_scope. DIGEST_ERANDOM,
 * DIGEST_ECRYPTO, DIGEST_ENOMEM; |out| may hold a part then. */
NODISCARD enum digest_err digest_challenges_format(const struct digest_server *s, bool stale,
                                                   struct span binding, uint64_t now_s,
                                                   struct buf *out);

/* The request, as plain values; all borrowed. */
struct digest_request {
    struct span method;
    struct span target;    /* of the request-line */
    struct span body_hash; /* auth-int: hex digits of H(body) by the credentials' algorithm */
    struct span binding;
    uint64_t now_s; /* of a clock that outlives the keys, and so the wall's if they are kept */
};

/* Who is known. |find| writes HA1 of the user that |c| names (by name, or by hash: c->userhash), as
 * digest_ha1() makes it for c->alg, and returns true; false: no such user, or nothing is kept for
 * that algorithm. It should take as long for one as for the other. */
struct digest_users {
    bool (*find)(void *arg, const struct digest_credentials *c, struct digest_hex *ret_ha1);
    void *arg;
};
/* A |find| for who looked the user up before: |arg| is that user's const struct digest_ha1s, or
 * NULL for an unknown one. */
bool digest_users_given(void *arg, const struct digest_credentials *c, struct digest_hex *ret_ha1);

/* Whose request it is. Views are those of the credentials; |ha1| is secret:
 * digest_accepted_done(). */
struct digest_accepted {
    struct digest_credentials credentials;
    struct digest_hex ha1;
    bool renew; /* the next request should come with another nonce */
};
void digest_accepted_done(struct digest_accepted *a);

/* Is |c| right for |r|? In this order, each as its own error:
 *   EREALM, EALGORITHM, EQOP   what was not offered, also RFC 2069 where it is off
 *   ENONCE                     not ours
 *   EURI                       for another target
 *   EBODY                      auth-int, and r->body_hash is not a hash of that algorithm
 *   ELOGIN                     unknown user or wrong password, after the same work and told by
 *                              nothing
 *   ESTALE                     right, but the nonce is over, or its key is gone
 *   EREPLAY, EFULL             right, but see digest_replay.h
 * and only then DIGEST_OK, with its count recorded and *ret written. So nothing that is answered
 * with stale=true comes of a wrong password. DIGEST_ECRYPTO. */
NODISCARD enum digest_err digest_verify(const struct digest_server *s,
                                        const struct digest_request *r,
                                        const struct digest_credentials *c,
                                        const struct digest_users *users,
                                        struct digest_accepted *ret);

/* All of it: |values| are those of all Authorization (or Proxy-Authorization) fields. ENOAUTH:
 * there is none; EFIELDS: more than one; what digest_credentials_parse() says; what digest_verify()
 * says. Who offers auth-int parses first, to know whether the body has to be hashed and how. */
NODISCARD enum digest_err digest_authorize(const struct digest_server *s,
                                           const struct digest_request *r,
                                           const struct span *values, size_t n_values,
                                           const struct digest_users *users, struct writer *scratch,
                                           struct digest_accepted *ret);

/* |values| came where others could read them. Of those that answer a challenge with |binding|,
 * which is for where nobody can, the nonce is used up, as far as the table has room: whoever has
 * read them has nothing that counts there. False: there is none. |scratch|: as for
 * digest_authorize(). */
bool digest_overheard(const struct digest_server *s, const struct span *values, size_t n_values,
                      struct span binding, uint64_t now_s, struct writer *scratch);

/* Appends the value of Authentication-Info (or Proxy-Authentication-Info, RFC 7616 3.5) for the
 * answer to |a|: qop, rspauth, cnonce and nc where there was a qop, and nextnonce if a->renew.
 * |body_hash|: of the answer's body, for auth-int; without it rspauth is left out. Nothing is
 * appended where nothing is to be said: send no field then. DIGEST_ERANDOM, ECRYPTO, ENOMEM. */
NODISCARD enum digest_err digest_info_format(const struct digest_server *s,
                                             const struct digest_accepted *a, struct span body_hash,
                                             struct span binding, uint64_t now_s, struct buf *out);

#endif
