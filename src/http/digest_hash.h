/* SPDX-License-Identifier: Apache-2.0 */
/* digest_hash.h - what Digest needs of libcrypto, and nothing else of it: hashes in pieces, HMAC,
 * comparing in constant time, randomness. The other files of Digest are engines and name no
 * library. Any thread; a struct digest_hash is one thread's at a time. */
#ifndef HTTP_DIGEST_HASH_H
#define HTTP_DIGEST_HASH_H

#include "http/digest.h"

/* A hash under way. An error sticks, and digest_hash_end() tells it. */
struct digest_hash {
    void *ctx;
    size_t n_hex;
};

/* Of |alg|'s hash function; a -sess algorithm has that of its plain one. For auth-int the body's
 * octets without transfer coding and with their content coding (RFC 7616 3.4.3). The result must be
 * ended. */
struct digest_hash digest_hash_begin(enum digest_alg alg);
void digest_hash_add(struct digest_hash *h, struct span s);
/* Gives back what |h| holds, wiped, in any case; |h| is done then, and doing it again is
 * DIGEST_ECRYPTO. |ret| may be NULL: nobody wants to know. DIGEST_ECRYPTO. */
enum digest_err digest_hash_end(struct digest_hash *h, struct digest_hex *ret);

/* HMAC-SHA-256 of |text|. DIGEST_ECRYPTO. */
#define DIGEST_MAC_LEN 32u
#define DIGEST_KEY_LEN 32u
NODISCARD enum digest_err digest_mac(const uint8_t key[DIGEST_KEY_LEN], struct span text,
                                     uint8_t ret[DIGEST_MAC_LEN]);
/* Are |n| bytes the same? Takes the same time wherever they differ. */
bool digest_equal(const void *a, const void *b, size_t n);

/* Where random bytes come from. |fill| writes |n| of them and returns true, or false. */
struct digest_random {
    bool (*fill)(void *arg, void *dst, size_t n);
    void *arg;
};
/* libcrypto's generator: what is used when no test runs. Any thread. */
extern const struct digest_random digest_random_system;

#endif
