/* SPDX-License-Identifier: Apache-2.0 */
/* digest_verifier.h - what is kept of a user's password for Digest authentication, where an
 * administrator asked for it: HA1, H(user ":" realm ":" password) (RFC 7616 3.4.2).
 *
 * It is secret, and not as the verifier in credential.h is: whoever has it logs in by Digest in
 * this realm without the password, and guesses at the password cost one hash each. Pure; any
 * thread. */
#ifndef TENANT_DIGEST_VERIFIER_H
#define TENANT_DIGEST_VERIFIER_H

#include "http/digest.h"

#define DIGEST_VERIFIER_REALM_MAX 64u /* what a server may ask with */

struct digest_verifier {
    char realm[DIGEST_VERIFIER_REALM_MAX + 1]; /* "": nothing is kept */
    struct digest_ha1s ha1s;                   /* of SHA-256, and of MD5 where it was asked for */
};

/* Of which hash functions something may be kept, the strongest first. */
#define DIGEST_VERIFIER_ALGS 2u
extern const enum digest_alg digest_verifier_algs[DIGEST_VERIFIER_ALGS];

/* 1..DIGEST_VERIFIER_REALM_MAX bytes of UTF-8 without control characters, '"' and '\\': those that
 * clients quote alike. */
bool digest_verifier_realm_is_valid(struct span realm);

/* Is anything kept? */
bool digest_verifier_is_kept(const struct digest_verifier *d);
/* HA1 for |alg|, -sess or not; NULL: none is kept. */
const struct digest_hex *digest_verifier_ha1(const struct digest_verifier *d, enum digest_alg alg);

/* For SHA-256, and |md5|. Secret: wipe *ret. DIGEST_ESETTINGS: not a realm; DIGEST_ECRYPTO (a FIPS
 * provider has no MD5). *ret is written on DIGEST_OK only. */
NODISCARD enum digest_err digest_verifier_make(struct span user, struct span realm,
                                               struct span password, bool md5,
                                               struct digest_verifier *ret);

/* The member "digest" of an object, {"realm":"...","sha256":"...","md5":"..."}; none if nothing is
 * kept. */
struct json;
struct json_t; /* jansson's */
void digest_verifier_json(const struct digest_verifier *d, struct json *j);
/* And back; nothing is kept where |object| has no such member. ERR_PROTO: not one of ours; *ret is
 * written on OK only. */
NODISCARD enum err digest_verifier_read(const struct json_t *object, struct digest_verifier *ret);

#endif
