/* SPDX-License-Identifier: Apache-2.0 */
#include "http/digest_nonce.h"

#include <assert.h>

#include "base/reader.h"
#include "http/digest_base64.h"

#define MAC_SHORT 16u
#define SIGNED    13u /* seconds and random */
#define RAW       (1 + SIGNED + MAC_SHORT)
#define SCOPE_MAX 512u

static_assert(BASE64_URL_LEN(RAW) == DIGEST_NONCE_LEN, "a nonce has no bits left over");

/* ---- keys ---- */

void digest_keys_add(struct digest_keys *k, uint8_t version, const uint8_t key[DIGEST_KEY_LEN])
{
    unsigned at = k->of[k->newest].set ? 1 - k->newest : k->newest;

    for (unsigned i = 0; i < ARRAY_LEN(k->of); i++)
        if (k->of[i].set && k->of[i].version == version)
            at = i;
    k->of[at].set = true;
    k->of[at].version = version;
    memcpy(k->of[at].key, key, DIGEST_KEY_LEN);
    k->newest = at;
}

enum digest_err digest_keys_rotate(struct digest_keys *k, const struct digest_random *random)
{
    uint8_t fresh[1 + DIGEST_KEY_LEN];
    bool first = !k->of[k->newest].set;

    if (!random->fill(random->arg, fresh, sizeof fresh))
        return DIGEST_ERANDOM;
    digest_keys_add(k, first ? fresh[0] : (uint8_t)(k->of[k->newest].version + 1), fresh + 1);
    explicit_bzero(fresh, sizeof fresh);
    return DIGEST_OK;
}

void digest_keys_done(struct digest_keys *k)
{
    explicit_bzero(k, sizeof *k);
}

static const uint8_t *key_of(const struct digest_keys *k, uint8_t version)
{
    for (unsigned i = 0; i < ARRAY_LEN(k->of); i++)
        if (k->of[i].set && k->of[i].version == version)
            return k->of[i].key;
    return NULL;
}

/* ---- nonces ---- */

/* Of |raw|'s seconds and random bytes in |scope|; lengths are in it, so that nothing can move from
 * one part to the next. */
static enum digest_err sign(const uint8_t *key, const uint8_t raw[RAW],
                            const struct digest_scope *scope, uint8_t ret[DIGEST_MAC_LEN])
{
    uint8_t text[SIGNED + 5 + SCOPE_MAX];
    struct writer w = writer_of(text, sizeof text);

    write_span(&w, (struct span){(const char *)raw + 1, SIGNED});
    write_u8(&w, (uint8_t)scope->purpose);
    write_u32(&w, (uint32_t)scope->realm.n);
    write_span(&w, scope->realm);
    write_span(&w, scope->binding);
    return w.err ? DIGEST_ESETTINGS : digest_mac(key, writer_span(&w), ret);
}

enum digest_err digest_nonce_make(const struct digest_keys *k, const struct digest_scope *scope,
                                  uint64_t now_s, const struct digest_random *random,
                                  char ret[DIGEST_NONCE_LEN + 1])
{
    uint8_t raw[RAW], mac[DIGEST_MAC_LEN];
    struct writer w = writer_of(raw, sizeof raw);

    if (!k->of[k->newest].set)
        return DIGEST_ESETTINGS;
    write_u8(&w, k->of[k->newest].version);
    write_u8(&w, (uint8_t)(now_s >> 32));
    write_u32(&w, (uint32_t)now_s);
    if (!random->fill(random->arg, raw + w.n, 8))
        return DIGEST_ERANDOM;
    enum digest_err e = sign(k->of[k->newest].key, raw, scope, mac);

    if (e)
        return e;
    memcpy(raw + 1 + SIGNED, mac, MAC_SHORT);
    digest_base64_url(raw, sizeof raw, ret);
    return DIGEST_OK;
}

enum digest_err digest_nonce_check(const struct digest_keys *k, const struct digest_scope *scope,
                                   struct span nonce, uint64_t now_s, uint64_t lifetime_s,
                                   struct digest_nonce *ret)
{
    uint8_t raw[RAW], mac[DIGEST_MAC_LEN];

    if (!digest_base64_url_read(nonce, raw, sizeof raw))
        return DIGEST_ENONCE;
    struct reader r = reader_of(raw + 1, SIGNED);
    const uint8_t *key = key_of(k, raw[0]);
    struct digest_nonce n = {.unknown = key == NULL};

    n.made_s = (uint64_t)read_u8(&r) << 32;
    n.made_s |= read_u32(&r);
    n.random = read_u64(&r);
    enum digest_err e = key ? sign(key, raw, scope, mac) : DIGEST_OK;

    if (!e && key && !digest_equal(mac, raw + 1 + SIGNED, MAC_SHORT))
        e = DIGEST_ENONCE;
    if (e)
        return e;
    bool fresh =
        n.made_s > now_s ? n.made_s - now_s <= DIGEST_SKEW_S : now_s - n.made_s <= lifetime_s;

    *ret = n;
    return key && fresh ? DIGEST_OK : DIGEST_ESTALE;
}
