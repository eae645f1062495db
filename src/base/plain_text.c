/* SPDX-License-Identifier: Apache-2.0 */
#include "base/plain_text.h"

#include "base/utf8.h"

/* Of the characters of three bytes: E2 80 A8 to E2 80 AE, and E2 81 A6 to E2 81 A9. */
static bool is_odd_three(const unsigned char *c)
{
    return c[0] == 0xe2 && ((c[1] == 0x80 && c[2] >= 0xa8 && c[2] <= 0xae) ||
                            (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
}

/* |len|: of the character at |p|, as utf8_len() has it. */
static bool is_plain(const char *p, size_t len)
{
    const unsigned char *c = (const unsigned char *)p;

    switch (len) {
    case 0: return false;
    case 1: return c[0] >= 0x20 && c[0] != 0x7f;
    case 2: return c[0] != 0xc2 || c[1] >= 0xa0;
    case 3: return !is_odd_three(c);
    default: return true;
    }
}

void plain_text_add(struct buf *out, struct span text)
{
    while (text.n) {
        size_t len = utf8_len(text);

        buf_add(out, is_plain(text.p, len) ? span_sub(text, 0, len) : SPAN("?"));
        text = span_sub(text, len ? len : 1, SIZE_MAX);
    }
}

void plain_text_line(struct buf *out, const char *fmt, ...)
{
    struct buf line;
    va_list ap;

    buf_init(&line, 0);
    va_start(ap, fmt);
    buf_vfmt(&line, fmt, ap);
    va_end(ap);
    plain_text_add(out, buf_span(&line));
    buf_char(out, '\n');
    buf_done(&line);
}

void plain_text_lines(struct buf *out, struct span text)
{
    while (text.n) {
        size_t n = span_find(text, '\n');

        plain_text_add(out, span_sub(text, 0, n));
        if (n < text.n)
            buf_char(out, '\n');
        text = span_sub(text, n + 1, SIZE_MAX);
    }
}
