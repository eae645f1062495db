/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_filetype_look.c - the second look at bytes whose type libmagic does not tell well. The first
 * byte says what libmagic would have said. The answer is a media type in small letters, and looking
 * again with it changes nothing. */
#include <stdlib.h>
#include <string.h>

#include "worker/filetype_look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const types[] = {
    "application/octet-stream",
    "application/zip",
    "application/x-dosexec",
    "text/plain",
    "text/html",
    "text/xml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "image/png",
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in, subtype;
    const char *said, *found;

    if (size == 0)
        return 0;
    in = (struct span){(const char *)data + 1, size - 1};
    said = types[data[0] % ARRAY_LEN(types)];
    found = filetype_look(in, said);
    subtype = span_of(found);
    check(span_is_token(span_cut(&subtype, '/')) && span_is_token(subtype));
    for (const char *p = found; *p; p++)
        check(*p == char_lower(*p));
    check(strcmp(filetype_look(in, found), found) == 0);
    return 0;
}
