/* SPDX-License-Identifier: Apache-2.0 */
#include "tenant/credential.h"

#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"
#include "tenant/record_int.h"
#include "tenant/tenants.h"

/* ---- names and passwords ---- */

bool credential_user_is_valid(struct span user)
{
    return user.n > 0 && user.n <= CREDENTIAL_USER_MAX && utf8_is_valid(user) &&
           !record_has_control(user) && span_find(user, ':') == user.n;
}

bool credential_password_is_valid(struct span password, const char **ret_why)
{
    *ret_why = password.n < CREDENTIAL_PASSWORD_MIN   ? "it is shorter than 8 bytes"
               : password.n > CREDENTIAL_PASSWORD_MAX ? "it is longer than 1024 bytes"
               : !utf8_is_valid(password)             ? "it is not UTF-8"
               : record_has_control(password)         ? "it has control characters"
                                                      : NULL;
    return !*ret_why;
}

/* ---- verifiers ---- */

enum err credential_derive(struct span password, const uint8_t *salt, size_t n_salt,
                           uint32_t rounds, uint8_t dst[CREDENTIAL_HASH])
{
    const char *p = password.p ? password.p : "";

    if (password.n > INT32_MAX || n_salt > INT32_MAX || rounds == 0 || rounds > INT32_MAX)
        return ERR_BUG;
    return PKCS5_PBKDF2_HMAC(p, (int)password.n, salt, (int)n_salt, (int)rounds, EVP_sha256(),
                             (int)CREDENTIAL_HASH, dst) == 1
               ? OK
               : ERR_NOMEM;
}

static bool hash_of(const uint8_t derived[CREDENTIAL_HASH], uint8_t ret[CREDENTIAL_HASH])
{
    return EVP_Digest(derived, CREDENTIAL_HASH, ret, NULL, EVP_sha256(), NULL) == 1;
}

enum err credential_set_password(struct credential *c, struct span password, uint32_t rounds)
{
    uint8_t salt[CREDENTIAL_SALT], derived[CREDENTIAL_HASH], hash[CREDENTIAL_HASH];

    if (rounds < CREDENTIAL_ROUNDS_MIN || rounds > CREDENTIAL_ROUNDS_MAX)
        return ERR_BUG;
    if (getrandom(salt, sizeof salt, 0) != (ssize_t)sizeof salt)
        return ERR_IO;
    TRY(credential_derive(password, salt, sizeof salt, rounds, derived));
    bool ok = hash_of(derived, hash);

    OPENSSL_cleanse(derived, sizeof derived);
    if (!ok)
        return ERR_NOMEM;
    c->rounds = rounds;
    memcpy(c->salt, salt, sizeof salt);
    memcpy(c->hash, hash, sizeof hash);
    return OK;
}

bool credential_is(const struct credential *c, const uint8_t derived[CREDENTIAL_HASH])
{
    uint8_t hash[CREDENTIAL_HASH] = {0};
    bool ok = hash_of(derived, hash);

    ok &= CRYPTO_memcmp(hash, c->hash, sizeof hash) == 0;
    OPENSSL_cleanse(hash, sizeof hash);
    return ok;
}

/* ---- as text ---- */

#define METHOD "pbkdf2-hmac-sha256"

void credential_verifier_json(const struct credential *c, struct json *j)
{
    json_text(j, "method", METHOD);
    json_u64(j, "rounds", c->rounds);
    record_hex(j, "salt", c->salt, sizeof c->salt);
    record_hex(j, "hash", c->hash, sizeof c->hash);
}

enum err credential_verifier_read(const json_t *object, struct credential *c)
{
    json_int_t rounds = json_integer_value(json_object_get(object, "rounds"));
    uint8_t salt[CREDENTIAL_SALT], hash[CREDENTIAL_HASH];
    struct span method = SPAN_NONE;

    TRY(record_read_text(object, "method", &method));
    if (!span_eq(method, SPAN(METHOD)) || rounds < (json_int_t)CREDENTIAL_ROUNDS_MIN ||
        rounds > (json_int_t)CREDENTIAL_ROUNDS_MAX)
        return ERR_PROTO;
    TRY(record_read_hex(object, "salt", salt, sizeof salt));
    TRY(record_read_hex(object, "hash", hash, sizeof hash));
    c->rounds = (uint32_t)rounds;
    memcpy(c->salt, salt, sizeof salt);
    memcpy(c->hash, hash, sizeof hash);
    return OK;
}

void credential_format(const struct credential *c, struct buf *out)
{
    struct json j = json_to(out);

    (void)buf_reserve(out, RECORD_TEXT_MAX); /* so that no copy is left behind when it grows */
    json_open(&j, NULL, '{');
    json_text(&j, "tenant", c->tenant);
    credential_verifier_json(c, &j);
    json_bool(&j, "disabled", c->disabled);
    record_time(&j, "changed", c->changed_wall_ms);
    digest_verifier_json(&c->digest, &j);
    json_close(&j, '}');
}

static enum err read_members(json_t *object, struct credential *c)
{
    struct span tenant = SPAN_NONE;

    TRY(record_read_text(object, "tenant", &tenant));
    if (!tenant_name_is_valid(tenant))
        return ERR_PROTO;
    (void)span_copy(tenant, c->tenant, sizeof c->tenant);
    TRY(credential_verifier_read(object, c));
    TRY(record_read_bool(object, "disabled", &c->disabled));
    TRY(record_read_time(object, "changed", &c->changed_wall_ms));
    return digest_verifier_read(object, &c->digest);
}

enum err credential_parse(struct span user, struct span text, struct credential *ret)
{
    struct credential c = {0};
    json_t *object = NULL;

    if (!credential_user_is_valid(user))
        return ERR_PROTO;
    TRY(record_load(text, 7, "digest", &object));
    (void)span_copy(user, c.user, sizeof c.user);
    enum err e = read_members(object, &c);

    json_decref(object);
    if (!e)
        *ret = c;
    OPENSSL_cleanse(&c, sizeof c);
    return e;
}
