/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/magic_file.h"

#include <assert.h>
#include <string.h>

#define FILE_MAGIC  0xF11E041Cu
#define FILE_FORMAT 18u

struct head {
    uint32_t magic, format, n_tests, n_names;
};

static_assert(sizeof(struct magic_entry) == 376, "struct magic of libmagic 5.44");
static_assert(offsetof(struct magic_entry, mask) == 24, "struct magic of libmagic 5.44");
static_assert(offsetof(struct magic_entry, mime) == 224, "struct magic of libmagic 5.44");

static bool ends(const char *text, size_t cap)
{
    return memchr(text, '\0', cap) != NULL;
}

/* libmagic takes these for C strings. */
static bool is_sane(const struct magic_entry *e)
{
    return ends(e->desc, sizeof e->desc) && ends(e->mime, sizeof e->mime) &&
           e->value_n <= MAGIC_VALUE_MAX &&
           ((e->type != MAGIC_TYPE_USE && e->type != MAGIC_TYPE_NAME) ||
            ends(e->value.text, sizeof e->value.text));
}

/* NAME is what begins a group of names, and nothing else. */
static bool are_sane(const struct magic_entry *v, uint32_t n, bool are_names)
{
    for (uint32_t i = 0; i < n; i++)
        if (!is_sane(&v[i]) || (v[i].type == MAGIC_TYPE_NAME) != (are_names && v[i].level == 0))
            return false;
    return n == 0 || v[0].level == 0;
}

enum err magic_file_parse(struct span bytes, struct magic_file *ret)
{
    const struct magic_entry *v = (const void *)bytes.p;
    struct magic_file f;
    struct head head;
    size_t n = bytes.n / sizeof *v;

    if (bytes.n < sizeof *v || bytes.n % sizeof *v || (uintptr_t)bytes.p % _Alignof(uint64_t))
        return ERR_SYNTAX;
    memcpy(&head, bytes.p, sizeof head);
    if (head.magic != FILE_MAGIC || head.format != FILE_FORMAT ||
        (uint64_t)head.n_tests + head.n_names + 1 != n)
        return ERR_SYNTAX;
    f = (struct magic_file){.tests = v + 1,
                            .names = v + 1 + head.n_tests,
                            .n_tests = head.n_tests,
                            .n_names = head.n_names};
    if (!are_sane(f.tests, f.n_tests, false) || !are_sane(f.names, f.n_names, true))
        return ERR_SYNTAX;
    *ret = f;
    return OK;
}

uint32_t magic_group_size(const struct magic_entry *v, uint32_t n)
{
    uint32_t i = 1;

    while (i < n && v[i].level > 0)
        i++;
    return i;
}

void magic_file_head(struct magic_entry *ret, uint32_t n_tests, uint32_t n_names)
{
    struct head head = {FILE_MAGIC, FILE_FORMAT, n_tests, n_names};

    memset(ret, 0, sizeof *ret);
    memcpy(ret, &head, sizeof head);
}

struct span magic_entry_name(const struct magic_entry *e)
{
    struct span name = span_of(e->value.text);

    return e->type == MAGIC_TYPE_USE && span_starts(name, SPAN("^")) ? span_sub(name, 1, SIZE_MAX)
                                                                     : name;
}
