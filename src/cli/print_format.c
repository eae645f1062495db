/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/print_format.h"

#define TYPE_MAX 255u

static const struct {
    struct span magic;
    const char *type;
} magics[] = {
    {{"%PDF-", 5},             "application/pdf"       },
    {{"%!", 2},                "application/postscript"},
    {{"\x04%!", 3},            "application/postscript"}, /* as Windows writes it */
    {{"\x89PNG\r\n\x1a\n", 8}, "image/png"             },
    {{"\xff\xd8\xff", 3},      "image/jpeg"            },
    {{"GIF8", 4},              "image/gif"             },
    {{"RaS2", 4},              "image/pwg-raster"      }, /* PWG 5102.4 */
    {{"UNIRAST", 8},           "image/urf"             },
    {{"II*\0", 4},             "image/tiff"            },
    {{"MM\0*", 4},             "image/tiff"            },
};

/* What has no first octets of its own. */
static const struct {
    const char *end, *type;
} ends[] = {
    {".txt",  "text/plain"            },
    {".text", "text/plain"            },
    {".csv",  "text/plain"            },
    {".htm",  "text/html"             },
    {".html", "text/html"             },
    {".pcl",  "application/vnd.hp-pcl"},
};

static bool has_end(struct span name, struct span end)
{
    return name.n > end.n && span_ieq(span_sub(name, name.n - end.n, SIZE_MAX), end);
}

const char *print_format(struct span head, struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(magics); i++)
        if (span_starts(head, magics[i].magic))
            return magics[i].type;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (has_end(name, span_of(ends[i].end)))
            return ends[i].type;
    return PRINT_FORMAT_ANY;
}

bool print_format_is_valid(struct span type)
{
    struct span rest = type, first = span_cut(&rest, ';'), sub = first, main = span_cut(&sub, '/');

    return type.n <= TYPE_MAX && span_is_token(main) && span_is_token(span_trim(sub)) &&
           span_is_field_value(type);
}
