/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_tags.h"

#define LANGUAGE_MAX 63u

/* clang-format off */
#define SHORT(max)       {{0, max}, IPP_LENGTH_MAX, false}
#define EXACT(n)         {{n, n}, n, false}
#define ANY              {{0, IPP_LENGTH_MAX}, IPP_LENGTH_MAX, false}
#define STRUCTURE(a, b)  {{a, b}, b, true}

/* What is not named here is not known: anything may be in what it announces. */
const struct ipp_tag_row ipp_tag_rows[256] = {
    [0x00 ... 0x0f] = STRUCTURE(0, IPP_LENGTH_MAX),
    [0x10 ... 0x1f] = EXACT(0), /* RFC 8010 3.8: out-of-band values are empty */
    [0x20] = ANY,
    [IPP_VALUE_INTEGER] = EXACT(4),
    [IPP_VALUE_BOOLEAN] = EXACT(1),
    [IPP_VALUE_ENUM] = EXACT(4),
    [IPP_VALUE_ENUM + 1 ... IPP_VALUE_OCTET_STRING] = ANY,
    [IPP_VALUE_DATE_TIME] = EXACT(11),
    [IPP_VALUE_RESOLUTION] = EXACT(9),
    [IPP_VALUE_RANGE] = EXACT(8),
    [IPP_VALUE_BEGIN_COLLECTION] = STRUCTURE(0, 0),
    [IPP_VALUE_TEXT_LANGUAGE] = {{4, IPP_TEXT_LANGUAGE_MAX}, IPP_LENGTH_MAX, false},
    [IPP_VALUE_NAME_LANGUAGE] = {{4, 4 + LANGUAGE_MAX + 255}, IPP_LENGTH_MAX, false},
    [IPP_VALUE_END_COLLECTION] = STRUCTURE(0, 0),
    [IPP_VALUE_END_COLLECTION + 1 ... IPP_VALUE_TEXT - 1] = ANY,
    [IPP_VALUE_TEXT] = SHORT(1023),
    [IPP_VALUE_NAME] = SHORT(255),
    [IPP_VALUE_NAME + 1 ... IPP_VALUE_KEYWORD - 1] = ANY,
    [IPP_VALUE_KEYWORD] = SHORT(255),
    [IPP_VALUE_URI] = SHORT(1023),
    [IPP_VALUE_URI_SCHEME] = SHORT(63),
    [IPP_VALUE_CHARSET] = SHORT(63),
    [IPP_VALUE_LANGUAGE] = SHORT(LANGUAGE_MAX),
    [IPP_VALUE_MEDIA_TYPE] = SHORT(255),
    [IPP_VALUE_MEMBER_NAME] = STRUCTURE(1, IPP_NAME_MAX),
    [IPP_VALUE_MEMBER_NAME + 1 ... IPP_VALUE_EXTENSION - 1] = ANY,
    [IPP_VALUE_EXTENSION] = {{4, IPP_LENGTH_MAX}, IPP_LENGTH_MAX, false}, /* the real tag is first */
    [IPP_VALUE_EXTENSION + 1 ... 0xff] = ANY,
};
/* clang-format on */

bool ipp_tag_is_text(uint8_t tag)
{
    return tag == IPP_VALUE_TEXT || tag == IPP_VALUE_NAME || ipp_tag_has_language(tag);
}

size_t ipp_name_check(struct span name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= 0x20 || name.p[i] >= 0x7f)
            return i;
    return name.n;
}
