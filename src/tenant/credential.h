/* SPDX-License-Identifier: Apache-2.0 */
/* credential.h - what is kept of a user's password: a verifier with a salt of its own, by
 * PBKDF2-HMAC-SHA-256 (draft-cameron-secure-icap-bcp-00), and what Digest needs where that was
 * asked for, as text for the store.
 *
 * Kept is SHA-256 of what PBKDF2 yields, never what it yields. Pure, but for randomness; any
 * thread. A credential is secret: wipe it.
 */
#ifndef TENANT_CREDENTIAL_H
#define TENANT_CREDENTIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "tenant/digest_verifier.h"

#define CREDENTIAL_USER_MAX     128u
#define CREDENTIAL_TENANT_MAX   64u
#define CREDENTIAL_SALT         16u
#define CREDENTIAL_HASH         32u
#define CREDENTIAL_ROUNDS_MIN   100000u /* the draft's */
#define CREDENTIAL_ROUNDS_MAX   10000000u
#define CREDENTIAL_PASSWORD_MIN 8u
#define CREDENTIAL_PASSWORD_MAX 1024u

struct credential {
    char user[CREDENTIAL_USER_MAX + 1];
    char tenant[CREDENTIAL_TENANT_MAX + 1];
    uint32_t rounds;
    uint8_t salt[CREDENTIAL_SALT];
    uint8_t hash[CREDENTIAL_HASH];
    struct digest_verifier digest; /* of the same password */
    bool disabled;
    uint64_t changed_wall_ms; /* when the password was set */
    uint64_t version;         /* the store's; 0: not from there */
};

/* 1..CREDENTIAL_USER_MAX bytes of UTF-8 without colon and control characters (RFC 7617 2). */
bool credential_user_is_valid(struct span user);
/* CREDENTIAL_PASSWORD_MIN..CREDENTIAL_PASSWORD_MAX bytes of UTF-8 without control characters.
 * False: *ret_why (static) says what is wrong. */
bool credential_password_is_valid(struct span password, const char **ret_why);

/* |dst| = PBKDF2-HMAC-SHA-256; takes tens of milliseconds, never call it on a loop's thread.
 * ERR_NOMEM. |dst| is secret: wipe it. */
NODISCARD enum err credential_derive(struct span password, const uint8_t *salt, size_t n_salt,
                                     uint32_t rounds, uint8_t dst[CREDENTIAL_HASH]);
/* Salt, hash and rounds of |c| are set anew for |password|; as slow. c->digest is not touched: with
 * another password the caller sets or wipes it. ERR_NOMEM, ERR_IO: no randomness, ERR_BUG: |rounds|
 * below the minimum or above the maximum. Nothing is changed then. */
NODISCARD enum err credential_set_password(struct credential *c, struct span password,
                                           uint32_t rounds);
/* Is |derived| (credential_derive() with c's salt and rounds) the right one? In constant time. */
bool credential_is(const struct credential *c, const uint8_t derived[CREDENTIAL_HASH]);

/* Method, rounds, salt and hash as members of an object, and back: what is told of a password that
 * was set elsewhere. ERR_PROTO as below; only those of |c| are changed. */
struct json;
struct json_t; /* jansson's */
void credential_verifier_json(const struct credential *c, struct json *j);
NODISCARD enum err credential_verifier_read(const struct json_t *object, struct credential *c);
/* As a line of JSON for the store, and back; |user| is the key there. |out| is secret if anything
 * is kept for Digest: wipe it. ERR_PROTO: not one of ours, or below CREDENTIAL_ROUNDS_MIN;
 * ERR_NOMEM. |version| is 0, and the caller's to set. */
void credential_format(const struct credential *c, struct buf *out);
NODISCARD enum err credential_parse(struct span user, struct span text, struct credential *ret);

#endif
