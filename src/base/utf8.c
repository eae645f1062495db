/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

static bool is_cont(struct span s, size_t i, unsigned lo, unsigned hi)
{
    unsigned char c = i < s.n ? (unsigned char)s.p[i] : 0;

    return c >= lo && c <= hi;
}

size_t utf8_len(struct span s)
{
    unsigned char c = s.n ? (unsigned char)s.p[0] : 0xff;

    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return is_cont(s, 1, 0x80, 0xbf) ? 2 : 0;
    if ((c & 0xf0) == 0xe0) {
        /* RFC 3629 3: no overlong forms, no surrogates. */
        bool second = is_cont(s, 1, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf);

        return second && is_cont(s, 2, 0x80, 0xbf) ? 3 : 0;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        bool second = is_cont(s, 1, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf);

        return second && is_cont(s, 2, 0x80, 0xbf) && is_cont(s, 3, 0x80, 0xbf) ? 4 : 0;
    }
    return 0;
}

bool utf8_is_valid(struct span s)
{
    while (s.n) {
        size_t len = utf8_len(s);

        if (len == 0)
            return false;
        s = span_sub(s, len, SIZE_MAX);
    }
    return true;
}

struct span utf8_whole(struct span s, size_t max)
{
    size_t n = 0, len;

    while ((len = utf8_len(span_sub(s, n, SIZE_MAX))) != 0 && n + len <= max)
        n += len;
    return span_sub(s, 0, n);
}
