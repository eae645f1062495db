/* SPDX-License-Identifier: Apache-2.0 */
#include "base/html.h"

#include "base/utf8.h"

static void add_ascii(struct buf *b, char c)
{
    switch (c) {
    case '&': buf_text(b, "&amp;"); return;
    case '<': buf_text(b, "&lt;"); return;
    case '>': buf_text(b, "&gt;"); return;
    case '"': buf_text(b, "&quot;"); return;
    case '\'': buf_text(b, "&#39;"); return;
    default: buf_char(b, (unsigned char)c < 0x20 || c == 0x7f ? '?' : c);
    }
}

/* |c| is a well-formed character of two bytes or more. */
static bool is_shown(struct span c)
{
    unsigned char last = (unsigned char)c.p[c.n - 1];

    if (c.n == 2)
        return c.p[0] != '\xc2' || last >= 0xa0;
    if (span_starts(c, SPAN("\xe2\x80")))
        return last < 0xaa || last > 0xae;
    if (span_starts(c, SPAN("\xe2\x81")))
        return last < 0xa6 || last > 0xa9;
    return true;
}

void html_text(struct buf *b, struct span s)
{
    while (s.n) {
        size_t len = utf8_len(s);
        struct span c = span_sub(s, 0, len);

        if (len == 1)
            add_ascii(b, s.p[0]);
        else if (len && is_shown(c))
            buf_add(b, c);
        else
            buf_char(b, '?');
        s = span_sub(s, len ? len : 1, SIZE_MAX);
    }
}
