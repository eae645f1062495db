/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_tags.h"

#define LANGUAGE_MAX 63u

/* A row with max 0 is one that is not known. */
static const struct ipp_lengths rows[] = {
    [IPP_VALUE_INTEGER] = {4,  4                     },
    [IPP_VALUE_BOOLEAN] = {1,  1                     },
    [IPP_VALUE_ENUM] = {4,  4                     },
    [IPP_VALUE_OCTET_STRING] = {0,  IPP_LENGTH_MAX        },
    [IPP_VALUE_DATE_TIME] = {11, 11                    },
    [IPP_VALUE_RESOLUTION] = {9,  9                     },
    [IPP_VALUE_RANGE] = {8,  8                     },
    [IPP_VALUE_TEXT_LANGUAGE] = {4,  IPP_TEXT_LANGUAGE_MAX },
    [IPP_VALUE_NAME_LANGUAGE] = {4,  4 + LANGUAGE_MAX + 255},
    [IPP_VALUE_TEXT] = {0,  1023                  },
    [IPP_VALUE_NAME] = {0,  255                   },
    [IPP_VALUE_KEYWORD] = {0,  255                   },
    [IPP_VALUE_URI] = {0,  1023                  },
    [IPP_VALUE_URI_SCHEME] = {0,  63                    },
    [IPP_VALUE_CHARSET] = {0,  63                    },
    [IPP_VALUE_LANGUAGE] = {0,  LANGUAGE_MAX          },
    [IPP_VALUE_MEDIA_TYPE] = {0,  255                   },
    [IPP_VALUE_MEMBER_NAME] = {1,  IPP_NAME_MAX          },
    [IPP_VALUE_EXTENSION] = {4,  IPP_LENGTH_MAX        }, /* the real tag comes first */
};

bool ipp_tag_is_text(uint8_t tag)
{
    return tag == IPP_VALUE_TEXT || tag == IPP_VALUE_NAME || tag == IPP_VALUE_TEXT_LANGUAGE ||
           tag == IPP_VALUE_NAME_LANGUAGE;
}

struct ipp_lengths ipp_tag_lengths(uint8_t tag)
{
    /* RFC 8010 3.8: out-of-band values are empty. */
    bool empty = (tag >= 0x10 && tag < 0x20) || tag == IPP_VALUE_BEGIN_COLLECTION ||
                 tag == IPP_VALUE_END_COLLECTION;

    if (empty)
        return (struct ipp_lengths){0, 0};
    if (tag < ARRAY_LEN(rows) && rows[tag].max)
        return rows[tag];
    return (struct ipp_lengths){0, IPP_LENGTH_MAX};
}

size_t ipp_name_check(struct span name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= 0x20 || name.p[i] >= 0x7f)
            return i;
    return name.n;
}
