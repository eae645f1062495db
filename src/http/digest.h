/* SPDX-License-Identifier: Apache-2.0 */
/* digest.h - Digest access authentication: its words, its errors and its formulas (RFC 7616 3.3,
 * 3.4; RFC 2617 and RFC 2069 for what older peers send).
 *
 * Engine: plain values in, plain values out. Any thread. What is computed of a password is secret:
 * wipe it with digest_hex_wipe(). */
#ifndef HTTP_DIGEST_H
#define HTTP_DIGEST_H

#include "base/span.h"

/* A field value, and what may become of one. */
#define DIGEST_TEXT_MAX 4096u

/* What a server answers. The first column of DIGEST_ERRS says it for each error. */
enum digest_answer {
    DIGEST_ACCEPT,
    DIGEST_REFUSE,    /* 400: the request is broken, another password would not help */
    DIGEST_CHALLENGE, /* 401 or 407 with new challenges */
    DIGEST_RENEW,     /* the same with stale=true: the password was right */
    DIGEST_FAIL,      /* 500: nothing that the peer did */
    DIGEST_GIVE_UP,   /* clients only */
};

/* X(id, answer, text) */
#define DIGEST_ERRS(X)                                                                        \
    X(DIGEST_OK, ACCEPT, "no error")                                                          \
    X(DIGEST_END, GIVE_UP, "there are no more challenges")                                    \
    /* what was sent cannot be read */                                                        \
    X(DIGEST_ENOAUTH, CHALLENGE, "no credentials were sent")                                  \
    X(DIGEST_EFIELDS, REFUSE, "more than one field with credentials")                         \
    X(DIGEST_EOTHER, CHALLENGE, "credentials of another scheme than Digest")                  \
    X(DIGEST_ELONG, REFUSE, "longer than is taken")                                           \
    X(DIGEST_ESYNTAX, REFUSE, "not a well-formed list of parameters")                         \
    X(DIGEST_EMANY, REFUSE, "too many parameters")                                            \
    X(DIGEST_EDOUBLE, REFUSE, "a parameter is given twice")                                   \
    X(DIGEST_EMISSING, REFUSE, "a parameter is missing")                                      \
    X(DIGEST_EVALUE, REFUSE, "a parameter has a value that it cannot have")                   \
    X(DIGEST_EUSER, REFUSE, "the user name is missing, given in two ways or not well formed") \
    X(DIGEST_ECOUNT, REFUSE, "cnonce and nc belong to a qop, and a qop needs both")           \
    /* what was sent does not do */                                                           \
    X(DIGEST_EREALM, CHALLENGE, "another realm")                                              \
    X(DIGEST_EALGORITHM, CHALLENGE, "an algorithm that is not offered")                       \
    X(DIGEST_EQOP, CHALLENGE, "a quality of protection that is not offered")                  \
    X(DIGEST_ENONCE, CHALLENGE, "a nonce that was not made here")                             \
    X(DIGEST_EURI, REFUSE, "the credentials are for another request-target")                  \
    X(DIGEST_EBODY, FAIL, "the hash of the body is needed, and is not there")                 \
    X(DIGEST_ELOGIN, CHALLENGE, "no such user, or not the password")                          \
    X(DIGEST_ESTALE, RENEW, "the nonce is too old")                                           \
    X(DIGEST_EREPLAY, RENEW, "the nonce and its count were used before")                      \
    X(DIGEST_EFULL, RENEW, "too many nonces are in use")                                      \
    /* clients */                                                                             \
    X(DIGEST_ENONE, GIVE_UP, "no challenge that may be answered")                             \
    X(DIGEST_ECLEAR, GIVE_UP, "asked for a password where others can listen")                 \
    X(DIGEST_EBASIC, GIVE_UP, "only Basic is offered, which is not allowed here")             \
    X(DIGEST_EHOST, GIVE_UP, "the challenge comes from another host")                         \
    X(DIGEST_ERSPAUTH, GIVE_UP, "the server did not prove that it knows the password")        \
    /* here */                                                                                \
    X(DIGEST_ESETTINGS, FAIL, "settings that cannot be used")                                 \
    X(DIGEST_ECRYPTO, FAIL, "libcrypto cannot compute this hash")                             \
    X(DIGEST_ERANDOM, FAIL, "no randomness")                                                  \
    X(DIGEST_ENOMEM, FAIL, "no room for the text")

#define DIGEST_ERR_ID(id, answer, text) id,
enum digest_err { DIGEST_ERRS(DIGEST_ERR_ID) DIGEST_ERR_CODES };
#undef DIGEST_ERR_ID

/* Static, never NULL: a sentence's worth, and what a server does about |e|. */
const char *digest_err_text(enum digest_err e);
enum digest_answer digest_err_answer(enum digest_err e);

/* RFC 7616 3.3, algorithm; the strongest first, which is the order of challenges. Each plain one is
 * followed by its -sess variant. Sets are made of DIGEST_BIT(). */
enum digest_alg {
    DIGEST_SHA512_256, /* FIPS 180-4 SHA-512/256, which is not SHA-512 cut off */
    DIGEST_SHA512_256_SESS,
    DIGEST_SHA256,
    DIGEST_SHA256_SESS,
    DIGEST_MD5,
    DIGEST_MD5_SESS,
    DIGEST_ALGS
};
/* RFC 7616 3.4, qop; NONE is RFC 2069, which has none. */
enum digest_qop { DIGEST_QOP_NONE, DIGEST_QOP_AUTH, DIGEST_QOP_AUTH_INT, DIGEST_QOPS };
#define DIGEST_BIT(x) (1u << (x))

/* As they are written, without quotes; "" for DIGEST_QOP_NONE. */
const char *digest_alg_name(enum digest_alg alg);
const char *digest_qop_name(enum digest_qop qop);
/* Without case. False: none of ours, and *ret is not written. */
bool digest_alg_of(struct span name, enum digest_alg *ret);
bool digest_qop_of(struct span name, enum digest_qop *ret);
bool digest_alg_is_sess(enum digest_alg alg);
/* Hex digits of its hashes: 32 or 64. */
size_t digest_alg_len(enum digest_alg alg);
/* Index of the hash function, 0..DIGEST_HASHES - 1: an algorithm shares it with its -sess. */
#define DIGEST_HASHES 3u
unsigned digest_alg_hash(enum digest_alg alg);

/* A hash as lower-case hex digits; |n| is 0 when there is none. */
#define DIGEST_HEX_MAX 64u
struct digest_hex {
    char text[DIGEST_HEX_MAX + 1];
    size_t n;
};
struct span digest_hex_span(const struct digest_hex *h);
void digest_hex_wipe(struct digest_hex *h);
/* Copies |text| in lower case. False: not |n| hex digits; *ret is not written. */
bool digest_hex_of(struct span text, size_t n, struct digest_hex *ret);
/* In a time that says nothing of where they differ; false when either is none. */
bool digest_hex_equal(const struct digest_hex *a, const struct digest_hex *b);

/* What is kept of a user's password: HA1 of each hash function, those without |n| 0. Secret: as
 * good as the password for this realm. */
struct digest_ha1s {
    struct digest_hex of[DIGEST_HASHES];
};

/* All below: ERR DIGEST_ECRYPTO only (a FIPS provider has no MD5), *ret is written on DIGEST_OK. */

/* RFC 7616 3.4.2: H(user ":" realm ":" password), for -sess algorithms, too: theirs is made of it
 * by digest_response(). Secret. */
NODISCARD enum digest_err digest_ha1(enum digest_alg alg, struct span user, struct span realm,
                                     struct span password, struct digest_hex *ret);
/* RFC 7616 3.4.4: H(user ":" realm). */
NODISCARD enum digest_err digest_userhash(enum digest_alg alg, struct span user, struct span realm,
                                          struct digest_hex *ret);
/* RFC 7616 3.4.3: H of a whole body, for auth-int; digest_hash.h has it in pieces. */
NODISCARD enum digest_err digest_body_hash(enum digest_alg alg, struct span body,
                                           struct digest_hex *ret);

/* What a response is made of, but the password. All borrowed. */
struct digest_proof {
    enum digest_alg alg;
    enum digest_qop qop;
    struct span nonce;
    struct span nc, cnonce; /* as they were sent; unused without qop, but for -sess */
    struct span method;     /* empty: it is the server's proof, rspauth (RFC 7616 3.5) */
    struct span uri;        /* as it was sent */
    struct span body_hash;  /* hex digits; auth-int only */
};
/* RFC 7616 3.4.1; RFC 2069 2.1.2 for DIGEST_QOP_NONE. |ha1|: digest_ha1()'s, or what was kept. What
 * is made of it on the way is wiped. */
NODISCARD enum digest_err digest_response(const struct digest_proof *p,
                                          const struct digest_hex *ha1, struct digest_hex *ret);

#endif
