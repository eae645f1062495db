/* SPDX-License-Identifier: Apache-2.0 */
#include "tenant/digest_verifier.h"

#include <assert.h>

#include <jansson.h>

#include "base/json.h"
#include "base/utf8.h"
#include "http/digest_server.h"
#include "tenant/record_int.h"

static_assert(DIGEST_VERIFIER_REALM_MAX == DIGEST_REALM_MAX, "what a server may ask with");

const enum digest_alg digest_verifier_algs[DIGEST_VERIFIER_ALGS] = {DIGEST_SHA256, DIGEST_MD5};
/* The names that they have in records. */
static const char *const members[DIGEST_VERIFIER_ALGS] = {"sha256", "md5"};

bool digest_verifier_realm_is_valid(struct span realm)
{
    return realm.n > 0 && realm.n <= DIGEST_VERIFIER_REALM_MAX && utf8_is_valid(realm) &&
           !record_has_control(realm) && span_find(realm, '"') == realm.n &&
           span_find(realm, '\\') == realm.n;
}

bool digest_verifier_is_kept(const struct digest_verifier *d)
{
    return d->realm[0] != '\0';
}

const struct digest_hex *digest_verifier_ha1(const struct digest_verifier *d, enum digest_alg alg)
{
    const struct digest_hex *ha1 = &d->ha1s.of[digest_alg_hash(alg)];

    return ha1->n ? ha1 : NULL;
}

/* ---- making ---- */

enum digest_err digest_verifier_make(struct span user, struct span realm, struct span password,
                                     bool md5, struct digest_verifier *ret)
{
    struct digest_verifier d = {0};
    enum digest_err e = DIGEST_OK;

    if (!digest_verifier_realm_is_valid(realm))
        return DIGEST_ESETTINGS;
    (void)span_copy(realm, d.realm, sizeof d.realm);
    for (size_t i = 0; i < DIGEST_VERIFIER_ALGS && !e; i++) {
        enum digest_alg alg = digest_verifier_algs[i];

        if (md5 || alg != DIGEST_MD5)
            e = digest_ha1(alg, user, realm, password, &d.ha1s.of[digest_alg_hash(alg)]);
    }
    if (!e)
        *ret = d;
    explicit_bzero(&d, sizeof d);
    return e;
}

/* ---- as text ---- */

void digest_verifier_json(const struct digest_verifier *d, struct json *j)
{
    if (!digest_verifier_is_kept(d))
        return;
    json_open(j, "digest", '{');
    json_text(j, "realm", d->realm);
    for (size_t i = 0; i < DIGEST_VERIFIER_ALGS; i++) {
        const struct digest_hex *ha1 = digest_verifier_ha1(d, digest_verifier_algs[i]);

        if (ha1)
            json_span(j, members[i], digest_hex_span(ha1));
    }
    json_close(j, '}');
}

/* Lower case only: there is one text for each verifier. */
static enum err read_ha1(const json_t *o, size_t i, struct digest_verifier *d)
{
    enum digest_alg alg = digest_verifier_algs[i];
    struct digest_hex *ha1 = &d->ha1s.of[digest_alg_hash(alg)];
    struct span text;

    TRY(record_read_text(o, members[i], &text));
    if (!digest_hex_of(text, digest_alg_len(alg), ha1) || !span_eq(text, digest_hex_span(ha1)))
        return ERR_PROTO;
    return OK;
}

static enum err read_members(const json_t *o, struct digest_verifier *d)
{
    bool md5 = json_object_get(o, members[1]) != NULL;
    struct span realm;

    TRY(record_read_text(o, "realm", &realm));
    if (json_object_size(o) != (md5 ? 3 : 2) || !digest_verifier_realm_is_valid(realm))
        return ERR_PROTO;
    (void)span_copy(realm, d->realm, sizeof d->realm);
    TRY(read_ha1(o, 0, d));
    return md5 ? read_ha1(o, 1, d) : OK;
}

enum err digest_verifier_read(const json_t *object, struct digest_verifier *ret)
{
    const json_t *o = json_object_get(object, "digest");
    struct digest_verifier d = {0};
    enum err e = o ? read_members(o, &d) : OK;

    if (!e)
        *ret = d;
    explicit_bzero(&d, sizeof d);
    return e;
}
