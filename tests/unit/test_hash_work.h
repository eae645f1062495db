/* SPDX-License-Identifier: Apache-2.0 */
/* test_hash_work.h - what Digest computes, counted: whoever waits for an answer could measure it.
 * tests/unit/meson.build has these functions wrapped for each test that includes this. */
#ifndef TEST_HASH_WORK_H
#define TEST_HASH_WORK_H

#include <openssl/crypto.h>
#include <openssl/evp.h>

struct hash_work {
    size_t hashes, octets;               /* those that were hashed */
    size_t comparisons, octets_compared; /* those that were compared in constant time */
};

/* Zero it to begin. */
static _Thread_local struct hash_work hash_work;

int __real_EVP_DigestUpdate(EVP_MD_CTX *ctx, const void *p, size_t n);
int __wrap_EVP_DigestUpdate(EVP_MD_CTX *ctx, const void *p, size_t n);
int __wrap_EVP_DigestUpdate(EVP_MD_CTX *ctx, const void *p, size_t n)
{
    hash_work.octets += n;
    return __real_EVP_DigestUpdate(ctx, p, n);
}

int __real_EVP_DigestFinal_ex(EVP_MD_CTX *ctx, unsigned char *md, unsigned *n);
int __wrap_EVP_DigestFinal_ex(EVP_MD_CTX *ctx, unsigned char *md, unsigned *n);
int __wrap_EVP_DigestFinal_ex(EVP_MD_CTX *ctx, unsigned char *md, unsigned *n)
{
    hash_work.hashes++;
    return __real_EVP_DigestFinal_ex(ctx, md, n);
}

int __real_CRYPTO_memcmp(const void *a, const void *b, size_t n);
int __wrap_CRYPTO_memcmp(const void *a, const void *b, size_t n);
int __wrap_CRYPTO_memcmp(const void *a, const void *b, size_t n)
{
    hash_work.comparisons++;
    hash_work.octets_compared += n;
    return __real_CRYPTO_memcmp(a, b, n);
}

static inline void assert_same_hash_work(const struct hash_work *a, const struct hash_work *b)
{
    assert_int_equal(a->hashes, b->hashes);
    assert_int_equal(a->octets, b->octets);
    assert_int_equal(a->comparisons, b->comparisons);
    assert_int_equal(a->octets_compared, b->octets_compared);
}

#endif
