/* SPDX-License-Identifier: Apache-2.0 */
/* digest_params.h - the field values of Digest, read and written: credentials (Authorization,
 * Proxy-Authorization; RFC 7616 3.4), challenges of any scheme (WWW-Authenticate,
 * Proxy-Authenticate; RFC 7235 4.1, RFC 7616 3.3) and what an answer says (Authentication-Info,
 * Proxy-Authentication-Info; RFC 7616 3.5).
 *
 * Engine, nothing is allocated: what is read points into the value or, where quoted-pairs or
 * percent-encoding had to be undone, into the caller's scratch; both must outlive it. Any thread.
 *
 * Values may be quoted or not, whatever the RFC asks of the one that writes. Parameters that nobody
 * knows are left alone; the same name twice is an error, also of those. */
#ifndef HTTP_DIGEST_PARAMS_H
#define HTTP_DIGEST_PARAMS_H

#include "base/buf.h"
#include "base/reader.h"
#include "http/digest.h"

#define DIGEST_PARAMS_MAX 24u /* in one list */

/* Scratch of DIGEST_TEXT_MAX bytes does for a value, and for several until it is full:
 *     char room[DIGEST_TEXT_MAX];
 *     struct writer scratch = writer_of(room, sizeof room); */

struct digest_credentials {
    enum digest_alg alg; /* MD5 when not named (RFC 7616 3.3) */
    bool alg_named;
    enum digest_qop qop;
    bool userhash; /* |user| is digest_userhash()'s, as hex digits in any case */
    bool user_ext; /* it came, or goes, as username* (RFC 8187) */
    struct span user, realm, nonce, uri;
    struct span response;   /* digest_alg_len() hex digits, in any case */
    struct span nc, cnonce; /* with a qop only */
    uint32_t count;         /* of nc; never 0 */
    struct span opaque;     /* p == NULL: none */
};

/* |value| is the whole field value. DIGEST_EOTHER: well-formed as far as its scheme, which is not
 * Digest. DIGEST_ELONG (over DIGEST_TEXT_MAX, or the scratch is full), ESYNTAX, EMANY, EDOUBLE,
 * EMISSING, EVALUE, EUSER (none, both forms, username* that is not UTF-8 by RFC 8187 or comes with
 * userhash), ECOUNT, EALGORITHM and EQOP (none of ours). *ret is written on DIGEST_OK only. */
NODISCARD enum digest_err digest_credentials_parse(struct span value, struct writer *scratch,
                                                   struct digest_credentials *ret);
/* Appends the field value that says |c|; user_ext picks username*. DIGEST_EVALUE: something in it
 * cannot stand in a field (control characters) or is no such value; DIGEST_ENOMEM: |out| is full;
 * then |out| may hold a part of it. */
NODISCARD enum digest_err digest_credentials_format(const struct digest_credentials *c,
                                                    struct buf *out);

/* One challenge. All but |scheme|, |token68| and |realm| is Digest's. */
struct digest_challenge {
    struct span scheme;
    struct span token68;  /* instead of parameters: Negotiate and its like */
    enum digest_err flaw; /* why nobody can answer it: EDOUBLE, EMANY, EMISSING, EVALUE, EALGORITHM,
                             EQOP (none of ours); DIGEST_OK: fine */
    struct span realm;    /* p == NULL: none */
    struct span nonce;
    struct span opaque; /* p == NULL: none */
    enum digest_alg alg;
    bool alg_named;
    unsigned qops; /* DIGEST_BIT()s; of DIGEST_QOP_NONE alone without qop (RFC 2069) */
    bool stale, userhash, utf8;
};
bool digest_challenge_is_digest(const struct digest_challenge *c);

/* Takes the next challenge off |*rest|, which begins as one field value; call it again until
 * DIGEST_END, and for each field of that name. A challenge with a flaw is OK and goes by;
 * DIGEST_ELONG and DIGEST_ESYNTAX end the value, for nobody knows where the next one would begin.
 */
NODISCARD enum digest_err digest_challenge_next(struct span *rest, struct writer *scratch,
                                                struct digest_challenge *ret);

/* Of Authentication-Info; what is not there has p == NULL. */
struct digest_info {
    struct span nextnonce, rspauth, cnonce, nc;
    enum digest_qop qop; /* DIGEST_QOP_NONE: not named */
};
/* DIGEST_ELONG, ESYNTAX, EMANY, EDOUBLE, EVALUE. */
NODISCARD enum digest_err digest_info_parse(struct span value, struct writer *scratch,
                                            struct digest_info *ret);

/* Appends |s| as a quoted-string. False: it has control characters, and nothing is appended. */
bool digest_quote(struct span s, struct buf *out);

#endif
