/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_file_name.c - names out of Content-Disposition, URLs and nothing around them. The first byte
 * says which. Whatever comes in, the name is printable UTF-8 without a separator that fits, is the
 * same when it is read again, and keeps its extension in letters of one case. */
#include <stdlib.h>
#include <string.h>

#include "adapt/file_name.h"
#include "base/encoded_word.h"
#include "base/utf8.h"

#define ALL_TRICKS 511u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool is_clean(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f || text.p[i] == '/' ||
            text.p[i] == '\\')
            return false;
    return utf8_is_valid(text);
}

static void check_name(const struct file_name *n)
{
    struct span text = {n->text, strnlen(n->text, sizeof n->text)};
    char extension[16], again_extension[16];
    struct file_name again;

    check(text.n <= FILE_NAME_MAX && is_clean(text));
    check((n->tricks & ~ALL_TRICKS) == 0);
    memset(extension, 'X', sizeof extension);
    file_name_extension(n, extension);
    check(strnlen(extension, sizeof extension) < sizeof extension);
    check(extension[0] == '\0' || extension[0] == '.');
    for (const char *p = extension; *p; p++)
        check(*p == char_lower(*p));
    file_name_plain(text, &again);
    /* What is cut in the middle may end in dots or spaces, or a suffix of NTFS, only then. */
    if (!(n->tricks & FILE_NAME_LONG)) {
        check(strcmp(again.text, n->text) == 0);
        check((again.tricks & ~n->tricks) == 0);
    }
    file_name_extension(&again, again_extension);
    check((n->tricks & FILE_NAME_LONG) || strcmp(extension, again_extension) == 0);
}

/* A name that needs no encoding comes out of a form as it went in. */
static void check_round(const struct file_name *n)
{
    char value[FILE_NAME_MAX + 64];
    struct file_name again;
    size_t len;

    if (strpbrk(n->text, "\"%") || (n->tricks & FILE_NAME_LONG) ||
        encoded_word_is_in(span_of(n->text)))
        return;
    len = span_copy(SPAN("form-data; name=\"a\"; filename=\""), value, sizeof value);
    len += span_copy(span_of(n->text), value + len, sizeof value - len);
    len += span_copy(SPAN("\"; x=y"), value + len, sizeof value - len);
    check(file_name_disposition((struct span){value, len}, &again));
    check(strcmp(again.text, n->text) == 0);
    check((again.tricks & FILE_NAME_CONFLICT) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {(const char *)data + 1, size - 1};
    struct file_name n;

    if (size == 0)
        return 0;
    memset(&n, 0x5a, sizeof n);
    switch (data[0] % 3) {
    case 0:
        if (!file_name_disposition(in, &n))
            return 0;
        break;
    case 1: file_name_url(in, &n); break;
    default: file_name_plain(in, &n); break;
    }
    check_name(&n);
    check_round(&n);
    return 0;
}
