/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/magic_text.h"

#include "base/utf8.h"

/* What stands in the way of a file's being text: nothing; a byte of more than seven bits; a control
 * character that no text has; one that is in no text of any character set, EBCDIC among them, but
 * for UTF-16 and UTF-32, which libmagic knows by their byte order marks. */
enum byte_class { BYTE_TEXT, BYTE_HIGH, BYTE_CONTROL, BYTE_NEVER };

static const uint8_t byte_classes[256] = {
    [0 ... 3] = BYTE_NEVER,     [4 ... 6] = BYTE_CONTROL, [14 ... 26] = BYTE_CONTROL,
    [28 ... 31] = BYTE_CONTROL, [127] = BYTE_CONTROL,     [128 ... 255] = BYTE_HIGH,
};

/* Bytes of the classes that there are in |s|, as bits. Behind a BYTE_NEVER it need not look. */
static unsigned classes_in(struct span s)
{
    unsigned seen = 0;

    for (size_t i = 0; i < s.n && !(seen & 1u << BYTE_NEVER); i++)
        seen |= 1u << byte_classes[(unsigned char)s.p[i]];
    return seen;
}

static bool has_wide_mark(struct span s)
{
    return span_starts(s, SPAN("\xff\xfe")) || span_starts(s, SPAN("\xfe\xff")) ||
           span_starts(s, SPAN("\0\0\xfe\xff"));
}

/* libmagic takes NUL at the end away, and then looks again whether it is text. */
static struct span without_nuls(struct span s)
{
    while (s.n > 1 && s.p[s.n - 1] == '\0')
        s.n--;
    return s;
}

/* Where |s| ceases to be UTF-8. A character that the end of what libmagic looks at cuts is one; one
 * that the end of the file cuts is too, but then this stops before it. */
static size_t utf8_end(struct span s, size_t look)
{
    size_t at = 0, n;

    while (at < look && (n = utf8_len(span_sub(s, at, 4))) > 0)
        at += n;
    return at;
}

static struct span widen(struct span s, char *room)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char u = (unsigned char)s.p[i];

        if (u >= 0x80)
            room[n++] = (char)(0xc0 | u >> 6);
        room[n++] = (char)(u >= 0x80 ? 0x80 | (u & 0x3f) : u);
    }
    return (struct span){room, n};
}

/* Of bytes of which none stands in the way. */
static NODISCARD bool text_of(struct span file, unsigned classes, char *room, struct span *ret)
{
    struct span look = span_sub(file, 0, MAGIC_ENCODING_MAX), mark = SPAN("\xef\xbb\xbf");
    size_t end = classes & 1u << BYTE_HIGH ? utf8_end(file, look.n) : look.n;

    if (end >= look.n) {
        *ret = span_starts(look, mark) && look.n > mark.n ? span_sub(look, mark.n, SIZE_MAX) : look;
        return true;
    }
    /* Too near to the end to tell whether it is only cut. */
    if (look.n - end < 4)
        return false;
    *ret = widen(look, room);
    return true;
}

enum magic_text_kind magic_text_of(struct span file, char *room, struct span *ret_text)
{
    unsigned classes = classes_in(span_sub(without_nuls(file), 0, MAGIC_ENCODING_MAX));
    struct span look = span_sub(file, 0, MAGIC_ENCODING_MAX);

    if (file.n == 0 || has_wide_mark(file))
        return MAGIC_TEXT_UNKNOWN;
    if (classes & 1u << BYTE_NEVER)
        return MAGIC_TEXT_NONE;
    if (classes & 1u << BYTE_CONTROL || look.p[look.n - 1] == '\0')
        return MAGIC_TEXT_UNKNOWN;
    return text_of(file, classes, room, ret_text) ? MAGIC_TEXT_IS : MAGIC_TEXT_UNKNOWN;
}
