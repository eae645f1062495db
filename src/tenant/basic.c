/* SPDX-License-Identifier: Apache-2.0 */
#include "tenant/basic.h"

#include "base/utf8.h"

/* 0..63, or -1 (RFC 4648 4). */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 9110 11.2: token68. Base64 alone is decoded later. */
static bool is_token68(struct span s)
{
    size_t end = s.n;

    while (end > 0 && s.p[end - 1] == '=')
        end--;
    for (size_t i = 0; i < end; i++)
        if (value_of(s.p[i]) < 0 && s.p[i] != '-' && s.p[i] != '.' && s.p[i] != '_' &&
            s.p[i] != '~')
            return false;
    return end > 0;
}

enum err basic_token(struct span value, struct span *ret_token)
{
    struct span rest = span_trim(value), scheme = span_cut(&rest, ' ');

    if (!span_ieq(scheme, SPAN("Basic")))
        return span_is_token(scheme) ? ERR_MISSING : ERR_SYNTAX;
    rest = span_trim(rest);
    if (rest.n > BASIC_TOKEN_MAX)
        return ERR_LIMIT;
    if (!is_token68(rest))
        return ERR_SYNTAX;
    *ret_token = rest;
    return OK;
}

/* Whole groups of four, padded; bits that count for nothing must be 0. Returns the bytes; SIZE_MAX:
 * it is none. */
static size_t decode(struct span in, char *dst)
{
    size_t n = 0;

    if (in.n == 0 || in.n % 4 != 0)
        return SIZE_MAX;
    for (size_t i = 0; i < in.n; i += 4) {
        bool last = i + 4 == in.n;
        unsigned pad = last && in.p[i + 3] == '=' ? 1 + (in.p[i + 2] == '=') : 0;
        uint32_t bits = 0;

        for (unsigned k = 0; k < 4; k++) {
            int v = k >= 4 - pad ? 0 : value_of(in.p[i + k]);

            if (v < 0)
                return SIZE_MAX;
            bits = bits << 6 | (uint32_t)v;
        }
        if (bits & ((1u << 8 * pad) - 1))
            return SIZE_MAX;
        for (unsigned k = 0; k < 3 - pad; k++)
            dst[n++] = (char)(bits >> (16 - 8 * k) & 0xff);
    }
    return n;
}

static bool is_plain(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return utf8_is_valid(s);
}

enum err basic_decode(struct span token, char *dst, struct span *ret_user,
                      struct span *ret_password)
{
    size_t n = decode(token, dst);
    struct span text = {dst, n == SIZE_MAX ? 0 : n};
    size_t colon = span_find(text, ':');

    dst[text.n] = '\0';
    if (n == SIZE_MAX || colon == text.n || colon == 0 || !is_plain(text))
        return ERR_SYNTAX;
    *ret_user = span_sub(text, 0, colon);
    *ret_password = span_sub(text, colon + 1, SIZE_MAX);
    return OK;
}
