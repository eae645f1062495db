/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/printable.h"

#include <assert.h>
#include <string.h>

#define CUT "..."

/* Writes one byte's text to |dst| and returns its length, 4 at most. */
static size_t escape(unsigned char c, char dst[4])
{
    static const char digits[] = "0123456789abcdef";

    if (c == '"' || c == '\\') {
        dst[0] = '\\';
        dst[1] = (char)c;
        return 2;
    }
    if (c >= 0x20 && c < 0x7f) {
        dst[0] = (char)c;
        return 1;
    }
    dst[0] = '\\';
    dst[1] = 'x';
    dst[2] = digits[c >> 4];
    dst[3] = digits[c & 15];
    return 4;
}

void printable(struct span s, char *dst, size_t cap)
{
    size_t n = 0, fits = 0; /* |fits|: how much stays when the text is cut */

    assert(cap >= 2 * sizeof CUT);
    for (size_t i = 0; i < s.n; i++) {
        char text[4];
        size_t len = escape((unsigned char)s.p[i], text);

        if (n + len >= cap) {
            memcpy(dst + fits, CUT, sizeof CUT);
            return;
        }
        memcpy(dst + n, text, len);
        n += len;
        if (n + sizeof CUT <= cap)
            fits = n;
    }
    dst[n] = '\0';
}
