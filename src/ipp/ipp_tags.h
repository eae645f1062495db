/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_tags.h - the tags of IPP's encoding (RFC 8010 3.5) and how long what they announce may be.
 * Constant tables: every function may be called from any thread. */
#ifndef IPP_TAGS_H
#define IPP_TAGS_H

#include "base/span.h"

/* Tags travel as uint8_t: what is not named here is legal, and is kept. */
enum ipp_tag {
    /* delimiter tags, 00..0f (RFC 8010 3.5.1, PWG 5100.5, 5100.22) */
    IPP_GROUP_OPERATION = 0x01,
    IPP_GROUP_JOB = 0x02,
    IPP_GROUP_END = 0x03, /* end-of-attributes */
    IPP_GROUP_PRINTER = 0x04,
    IPP_GROUP_UNSUPPORTED = 0x05,
    IPP_GROUP_SUBSCRIPTION = 0x06,
    IPP_GROUP_EVENT = 0x07,
    IPP_GROUP_RESOURCE = 0x08,
    IPP_GROUP_DOCUMENT = 0x09,
    IPP_GROUP_SYSTEM = 0x0a,
    /* value tags (RFC 8010 3.5.2); 10..1f are out-of-band */
    IPP_VALUE_UNSUPPORTED = 0x10,
    IPP_VALUE_UNKNOWN = 0x12,
    IPP_VALUE_NO_VALUE = 0x13,
    IPP_VALUE_NOT_SETTABLE = 0x15,
    IPP_VALUE_DELETE_ATTRIBUTE = 0x16,
    IPP_VALUE_ADMIN_DEFINE = 0x17,
    IPP_VALUE_INTEGER = 0x21,
    IPP_VALUE_BOOLEAN = 0x22,
    IPP_VALUE_ENUM = 0x23,
    IPP_VALUE_OCTET_STRING = 0x30,
    IPP_VALUE_DATE_TIME = 0x31,
    IPP_VALUE_RESOLUTION = 0x32,
    IPP_VALUE_RANGE = 0x33,
    IPP_VALUE_BEGIN_COLLECTION = 0x34,
    IPP_VALUE_TEXT_LANGUAGE = 0x35,
    IPP_VALUE_NAME_LANGUAGE = 0x36,
    IPP_VALUE_END_COLLECTION = 0x37,
    IPP_VALUE_TEXT = 0x41,
    IPP_VALUE_NAME = 0x42,
    IPP_VALUE_KEYWORD = 0x44,
    IPP_VALUE_URI = 0x45,
    IPP_VALUE_URI_SCHEME = 0x46,
    IPP_VALUE_CHARSET = 0x47,
    IPP_VALUE_LANGUAGE = 0x48,
    IPP_VALUE_MEDIA_TYPE = 0x49,
    IPP_VALUE_MEMBER_NAME = 0x4a,
    IPP_VALUE_EXTENSION = 0x7f,
};

#define IPP_LENGTH_MAX 0x7fffu /* RFC 8010 3.1.4: lengths are signed 16-bit integers */
#define IPP_NAME_MAX   255u    /* RFC 8011 5.1.4: attribute names are keywords */
/* RFC 8011 5.1.2: text(1023) with its language(63) and both lengths. */
#define IPP_TEXT_LANGUAGE_MAX (2u + 63 + 2 + 1023)

/* Bounds of a value's length. */
struct ipp_lengths {
    uint16_t min, max;
};

/* Is |tag| one that begins or ends a group (00..0f)? */
static inline bool ipp_tag_is_delimiter(uint8_t tag)
{
    return tag < 0x10;
}
/* Is |tag| one of text and name, with and without language: what people write? */
bool ipp_tag_is_text(uint8_t tag);
/* Is |tag| one of the character strings (40..5f)? */
static inline bool ipp_tag_is_string(uint8_t tag)
{
    return tag >= 0x40 && tag < 0x60;
}
/* Does |tag| announce a text or a name with its language, two strings in one value? */
static inline bool ipp_tag_has_language(uint8_t tag)
{
    return tag == IPP_VALUE_TEXT_LANGUAGE || tag == IPP_VALUE_NAME_LANGUAGE;
}
/* What is asked for every value, for each tag. */
struct ipp_tag_row {
    struct ipp_lengths lengths;
    /* Longer ones have the wrong shape. Upper bounds of strings are none of shape: they are looked
     * at when all is here. */
    uint16_t longest;
    bool is_structure; /* it delimits groups or makes collections */
};
extern const struct ipp_tag_row ipp_tag_rows[256];
/* How long a value of this tag may be (RFC 8010 3.9, RFC 8011 5.1); 0..IPP_LENGTH_MAX for tags that
 * are not known. */
static inline struct ipp_lengths ipp_tag_lengths(uint8_t tag)
{
    return ipp_tag_rows[tag].lengths;
}
/* Offset of the first octet that no attribute name holds, or name.n. Visible US-ASCII passes, which
 * is more than RFC 8011 5.1.4 has: CUPS makes attribute names of options. NUL and white space would
 * be read as the end of the name by some. */
size_t ipp_name_check(struct span name);

/* Do two names mean the same attribute? They compare without case, as CUPS compares them. Most
 * that have the same length differ in their last octets, and more than in case. */
static inline bool ipp_name_eq(struct span a, struct span b)
{
    if (a.n != b.n || (a.n && (a.p[a.n - 1] ^ b.p[b.n - 1]) & ~0x20))
        return false;
    return span_eq(a, b) || span_ieq(a, b);
}

/* ---- eight octets at a time: names and values are short, and there are hundreds in an answer ----
 */

#define IPP_EACH_OCTET(octet) ((octet)*UINT64_C(0x0101010101010101))

/* Not zero: one of the octets of |w| is none of a name. Nothing is carried from one octet into the
 * next but by an octet above 7f, which is none of a name itself. */
static inline uint64_t ipp_word_unnamed(uint64_t w)
{
    return (w | (w + IPP_EACH_OCTET(1)) | ~(w + IPP_EACH_OCTET(0x80 - 0x21))) &
           IPP_EACH_OCTET(0x80);
}

/* Not zero: one of the octets of |w| is NUL. */
static inline uint64_t ipp_word_nul(uint64_t w)
{
    return (w - IPP_EACH_OCTET(1)) & ~w & IPP_EACH_OCTET(0x80);
}

static inline uint64_t ipp_word_at(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof w);
    return w;
}

/* Are all octets of |name| such as ipp_name_check() passes? */
static inline bool ipp_name_is_good(struct span name)
{
    size_t i = 0;
    uint64_t bad = 0;

    if (name.n < sizeof bad)
        return ipp_name_check(name) == name.n;
    for (; name.n - i > sizeof bad; i += sizeof bad)
        bad |= ipp_word_unnamed(ipp_word_at(name.p + i));
    return !(bad | ipp_word_unnamed(ipp_word_at(name.p + name.n - sizeof bad)));
}

/* Is there a NUL in |s|? */
static inline bool ipp_has_nul(struct span s)
{
    size_t i = 0;
    uint64_t nul = 0;

    if (s.n < sizeof nul) {
        while (i < s.n && s.p[i] != '\0')
            i++;
        return i < s.n;
    }
    for (; s.n - i > sizeof nul; i += sizeof nul)
        nul |= ipp_word_nul(ipp_word_at(s.p + i));
    return nul | ipp_word_nul(ipp_word_at(s.p + s.n - sizeof nul));
}

#endif
