/* SPDX-License-Identifier: Apache-2.0 */
#include "http/digest_base64.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
static const char url_letters[] = LETTERS "-_";
static const char plain_letters[] = LETTERS "+/";
#define N_LETTERS 64u

/* Up to three bytes as up to four characters; returns how many. */
static size_t group(const uint8_t *p, size_t n, const char *letters, char dst[4])
{
    uint32_t bits = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);

    for (unsigned k = 0; k < 4; k++)
        dst[k] = letters[bits >> (18 - 6 * k) & 63];
    return n >= 3 ? 4 : n + 1;
}

void digest_base64_url(const uint8_t *p, size_t n, char *dst)
{
    while (n > 0) {
        size_t now = n < 3 ? n : 3;
        char four[4];
        size_t made = group(p, now, url_letters, four);

        memcpy(dst, four, made);
        dst += made;
        p += now;
        n -= now;
    }
    *dst = '\0';
}

/* Of characters without padding. */
static bool read_letters(struct span text, const char *letters, uint8_t *dst, size_t n)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t made = 0;

    if (text.n != BASE64_URL_LEN(n))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = text.p[i] ? memchr(letters, text.p[i], N_LETTERS) : NULL;

        if (!at)
            return false;
        bits = (bits << 6 | (uint32_t)(at - letters)) & 0xffff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            dst[made++] = (uint8_t)(bits >> n_bits);
        }
    }
    return (bits & ((1u << n_bits) - 1)) == 0;
}

bool digest_base64_url_read(struct span text, uint8_t *dst, size_t n)
{
    return read_letters(text, url_letters, dst, n);
}

bool digest_base64_read(struct span text, uint8_t *dst, size_t n)
{
    size_t bare = BASE64_URL_LEN(n);

    return text.n == (n + 2) / 3 * 4 &&
           span_eq(span_sub(text, bare, 2), span_sub(SPAN("=="), 0, text.n - bare)) &&
           read_letters(span_sub(text, 0, bare), plain_letters, dst, n);
}

void digest_base64(struct span s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i += 3) {
        size_t now = s.n - i < 3 ? s.n - i : 3;
        char four[4];
        size_t made = group((const uint8_t *)s.p + i, now, plain_letters, four);

        memset(four + made, '=', 4 - made);
        buf_add(out, (struct span){four, 4});
        explicit_bzero(four, sizeof four);
    }
}
