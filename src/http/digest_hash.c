/* SPDX-License-Identifier: Apache-2.0 */
#include "http/digest_hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

static const EVP_MD *function_of(enum digest_alg alg)
{
    const EVP_MD *const functions[DIGEST_HASHES] = {EVP_sha512_256(), EVP_sha256(), EVP_md5()};

    return functions[digest_alg_hash(alg)];
}

static void drop(struct digest_hash *h)
{
    EVP_MD_CTX_free(h->ctx); /* wipes its state */
    h->ctx = NULL;
}

struct digest_hash digest_hash_begin(enum digest_alg alg)
{
    struct digest_hash h = {EVP_MD_CTX_new(), digest_alg_len(alg)};

    if (h.ctx && EVP_DigestInit_ex(h.ctx, function_of(alg), NULL) != 1)
        drop(&h);
    return h;
}

void digest_hash_add(struct digest_hash *h, struct span s)
{
    if (h->ctx && s.n > 0 && EVP_DigestUpdate(h->ctx, s.p, s.n) != 1)
        drop(h);
}

enum digest_err digest_hash_end(struct digest_hash *h, struct digest_hex *ret)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[EVP_MAX_MD_SIZE];
    bool ok = h->ctx && EVP_DigestFinal_ex(h->ctx, raw, NULL) == 1;

    if (ok && ret) {
        *ret = (struct digest_hex){.n = h->n_hex};
        for (size_t i = 0; i < h->n_hex; i++)
            ret->text[i] = digits[raw[i / 2] >> (i % 2 ? 0 : 4) & 15];
    }
    drop(h);
    OPENSSL_cleanse(raw, sizeof raw);
    return ok ? DIGEST_OK : DIGEST_ECRYPTO;
}

enum digest_err digest_mac(const uint8_t key[DIGEST_KEY_LEN], struct span text,
                           uint8_t ret[DIGEST_MAC_LEN])
{
    unsigned n = 0;
    const unsigned char *mac = HMAC(EVP_sha256(), key, (int)DIGEST_KEY_LEN,
                                    (const unsigned char *)text.p, text.n, ret, &n);

    return mac && n == DIGEST_MAC_LEN ? DIGEST_OK : DIGEST_ECRYPTO;
}

bool digest_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

static bool fill_system(void *arg, void *dst, size_t n)
{
    (void)arg;
    return n <= INT32_MAX && RAND_bytes(dst, (int)n) == 1;
}

const struct digest_random digest_random_system = {fill_system, NULL};
