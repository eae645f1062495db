/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions, and the seals by which they are found again. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "base/secret.h"
#include "tenant/logins_int.h"

#define SEAL_MAC 32u

/* ---- names ---- */

static bool mac(const struct session *s, struct span label, struct span text, uint8_t ret[SEAL_MAC])
{
    uint8_t in[64];
    unsigned n = 0;

    if (label.n + text.n > sizeof in)
        return false;
    memcpy(in, label.p, label.n);
    if (text.n)
        memcpy(in + label.n, text.p, text.n);
    return HMAC(EVP_sha256(), s->key, TENANT_KEY, in, label.n + text.n, ret, &n) != NULL;
}

static enum err name(struct session *s)
{
    uint8_t digest[SEAL_MAC];

    if (!mac(s, SPAN("session id"), SPAN_NONE, digest))
        return ERR_NOMEM;
    memcpy(s->raw_id, digest, sizeof s->raw_id);
    for (unsigned i = 0; i < sizeof s->raw_id; i++) {
        s->id[2 * i] = "0123456789abcdef"[s->raw_id[i] >> 4];
        s->id[2 * i + 1] = "0123456789abcdef"[s->raw_id[i] & 15];
    }
    return OK;
}

/* ---- making and ending ---- */

static enum err derive_key(struct session *s, struct span password, uint32_t rounds)
{
    uint8_t salt[CREDENTIAL_SALT];

    s->key = secret_alloc(TENANT_KEY);
    if (!s->key)
        return ERR_NOMEM;
    if (RAND_bytes(salt, sizeof salt) != 1)
        return ERR_IO;
    login_count(&s->logins->derived, 1);
    return credential_derive(password, salt, sizeof salt, rounds, s->key);
}

/* Between six and nine tenths of its time: what began together is not renewed together. */
static uint64_t renewal(uint64_t session_ms)
{
    uint16_t random = 0;

    (void)RAND_bytes((unsigned char *)&random, sizeof random);
    return session_ms / 10 * 6 + session_ms / 10 * 3 * random / UINT16_MAX;
}

static enum err fill(struct session *s, const struct credential *c, struct span password,
                     const struct login_settings *set)
{
    TRY(derive_key(s, password, set->session_rounds));
    TRY(name(s));
    (void)span_copy(span_of(c->tenant), s->tenant, sizeof s->tenant);
    (void)span_copy(span_of(c->user), s->user, sizeof s->user);
    s->changed_wall_ms = c->changed_wall_ms;
    s->login_ms = clock_mono_ms(s->logins->clock);
    s->expires_ms = s->login_ms + set->session_ms;
    s->renew_ms = s->login_ms + renewal(set->session_ms);
    return OK;
}

/* Without the index. */
static void discard(struct session *s)
{
    secret_free(s->key, TENANT_KEY);
    free(s);
}

enum err session_new(struct logins *l, const struct credential *c, struct span password,
                     const struct login_settings *set, struct session **ret)
{
    struct session *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    atomic_init(&s->refs, 1);
    s->logins = l;
    enum err e = fill(s, c, password, set);

    if (e) {
        discard(s);
        return e;
    }
    (void)pthread_mutex_lock(&l->ids_lock);
    HASH_ADD(hh, l->ids, raw_id, sizeof s->raw_id, s); /* without memory nothing is resumed */
    (void)pthread_mutex_unlock(&l->ids_lock);
    *ret = s;
    return OK;
}

struct session *session_ref(struct session *s)
{
    (void)atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void session_unref(struct session *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    (void)pthread_mutex_lock(&s->logins->ids_lock);
    if (s->hh.tbl)
        HASH_DEL(s->logins->ids, s);
    (void)pthread_mutex_unlock(&s->logins->ids_lock);
    discard(s);
}

void session_end(struct session *s)
{
    if (!atomic_exchange_explicit(&s->ended, true, memory_order_relaxed))
        login_count(&s->logins->n_ended, 1);
}

/* ---- what it says ---- */

const char *session_id(const struct session *s)
{
    return s->id;
}

const char *session_tenant(const struct session *s)
{
    return s->tenant;
}

const char *session_user(const struct session *s)
{
    return s->user;
}

uint64_t session_expires_ms(const struct session *s)
{
    return s->expires_ms;
}

bool session_is_live(const struct session *s, uint64_t now_ms)
{
    return now_ms < s->expires_ms && !atomic_load_explicit(&s->ended, memory_order_relaxed);
}

/* ---- seals ---- */

static void put_u64(uint8_t *dst, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        dst[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* id, login time, MAC of both. */
void session_seal(const struct session *s, uint8_t ret[SESSION_SEAL_LEN])
{
    memcpy(ret, s->raw_id, sizeof s->raw_id);
    put_u64(ret + sizeof s->raw_id, s->login_ms);
    if (!mac(s, SPAN("ticket"), (struct span){(const char *)ret, sizeof s->raw_id + 8},
             ret + sizeof s->raw_id + 8))
        memset(ret, 0, SESSION_SEAL_LEN);
}

/* A reference to one that is not on its way out already. */
static struct session *find(struct logins *l, const void *raw_id)
{
    struct session *s;
    unsigned refs;

    (void)pthread_mutex_lock(&l->ids_lock);
    HASH_FIND(hh, l->ids, raw_id, sizeof s->raw_id, s);
    refs = s ? atomic_load_explicit(&s->refs, memory_order_relaxed) : 0;
    while (refs && !atomic_compare_exchange_weak_explicit(
                       &s->refs, &refs, refs + 1, memory_order_acq_rel, memory_order_relaxed))
        continue;
    (void)pthread_mutex_unlock(&l->ids_lock);
    return refs ? s : NULL;
}

struct session *logins_unseal(struct logins *l, struct span seal)
{
    uint8_t right[SESSION_SEAL_LEN];
    struct session *s = seal.n == SESSION_SEAL_LEN ? find(l, seal.p) : NULL;

    if (!s)
        return NULL;
    session_seal(s, right);
    if (CRYPTO_memcmp(right, seal.p, sizeof right) == 0 &&
        session_is_live(s, clock_mono_ms(l->clock)))
        return s;
    session_unref(s);
    return NULL;
}
