/* SPDX-License-Identifier: Apache-2.0 */
/* digest_nonce.h - nonces that need no memory (RFC 7616 3.3, 5.4): each says when it was made, has
 * random bytes of its own, and carries a MAC by which its maker knows it again.
 *
 *     base64url( version(1) | seconds(5) | random(8) | HMAC-SHA-256, first 16 bytes )
 *
 * Every nonce is another one, so that two connections that begin at the same time, each with the
 * same count, do not look like a replay of each other.
 *
 * Engine: time and randomness are arguments. Keys are plain values: many threads may read them, and
 * who changes them makes a changed copy and publishes that. */
#ifndef HTTP_DIGEST_NONCE_H
#define HTTP_DIGEST_NONCE_H

#include "http/digest_hash.h"

#define DIGEST_NONCE_LEN 40u
/* A nonce may be so much younger than the clock: of another loop or process. */
#define DIGEST_SKEW_S 10u

/* Two versions are alive: nonces are made with the newer one and known by both. Secret. */
struct digest_keys {
    struct {
        bool set;
        uint8_t version;
        uint8_t key[DIGEST_KEY_LEN];
    } of[2];
    unsigned newest; /* index */
};
/* Zero |k| to begin. Adds |key|, which makes it the newest one; the one before stays, the older one
 * goes. For keys that outlive a process. A |version| that is alive already is replaced. */
void digest_keys_add(struct digest_keys *k, uint8_t version, const uint8_t key[DIGEST_KEY_LEN]);
/* Adds a random key under the next version; the first version is random, so that nonces of an
 * earlier process are taken for old rather than forged. To be called at most once per lifetime of
 * nonces, or some are old before their time. DIGEST_ERANDOM: nothing changed. */
NODISCARD enum digest_err digest_keys_rotate(struct digest_keys *k,
                                             const struct digest_random *random);
/* Wipes. */
void digest_keys_done(struct digest_keys *k);

enum digest_purpose { DIGEST_WWW, DIGEST_PROXY };

/* What a nonce is good for. */
struct digest_scope {
    enum digest_purpose purpose;
    struct span realm;
    struct span binding; /* bytes of the connection or of the peer's address; empty: anyone's */
};

/* |ret|: DIGEST_NONCE_LEN characters and a closing NUL. DIGEST_ESETTINGS: no key, or realm and
 * binding are longer than 512 bytes; DIGEST_ERANDOM, DIGEST_ECRYPTO. */
NODISCARD enum digest_err digest_nonce_make(const struct digest_keys *k,
                                            const struct digest_scope *scope, uint64_t now_s,
                                            const struct digest_random *random,
                                            char ret[DIGEST_NONCE_LEN + 1]);

struct digest_nonce {
    uint64_t made_s;
    uint64_t random; /* names it */
    bool unknown;    /* of a version whose key is gone: nobody can tell whether it is genuine */
};
/* DIGEST_OK: genuine, and |lifetime_s| old at most. DIGEST_ESTALE: genuine and older, or from a
 * time that is to come (the clock was put back), or |unknown|. DIGEST_ENONCE: none of ours, of
 * another scope, or changed. DIGEST_ESETTINGS, DIGEST_ECRYPTO. *ret is written with OK and ESTALE.
 */
NODISCARD enum digest_err digest_nonce_check(const struct digest_keys *k,
                                             const struct digest_scope *scope, struct span nonce,
                                             uint64_t now_s, uint64_t lifetime_s,
                                             struct digest_nonce *ret);

#endif
