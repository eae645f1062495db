/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_multipart.c - multipart bodies. Leaves lie inside the body, one behind the other, with no
 * delimiter of the outermost level in any of them; and a body that is split without a fault is
 * nothing but its leaves, heads, boundary lines and white space: the splitter has accounted for
 * every appearance of the boundary.
 *
 * Input: Content-Type, LF, body. */
#include <stdlib.h>
#include <string.h>

#include "worker/multipart.h"

#define PARTS_MAX 1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_text(const char *text, size_t max)
{
    size_t n = strlen(text);

    check(n <= max);
    for (size_t i = 0; i < n; i++)
        check((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

static size_t count(struct span s, struct span what)
{
    size_t n = 0;
    const char *at;

    while (s.n && (at = memmem(s.p, s.n, what.p, what.n))) {
        s = span_sub(s, (size_t)(at - s.p) + what.n, SIZE_MAX);
        n++;
    }
    return n;
}

static void check_leaf(const struct multipart *m, const struct multipart_leaf *leaf,
                       struct span delimiter)
{
    check(leaf->off <= m->body.n && leaf->len <= m->body.n - leaf->off);
    check(leaf->part == m->parts && leaf->part <= PARTS_MAX && leaf->head == &m->head);
    check(count(span_sub(m->body, leaf->off, leaf->len), delimiter) == 0);
    check_text(leaf->head->field, OBJECT_NAME_MAX);
    check_text(leaf->head->file, OBJECT_NAME_MAX);
    check_text(leaf->head->type, OBJECT_TYPE_MAX);
}

static void split(struct span body, struct span type)
{
    static struct multipart m;
    struct multipart_leaf leaf;
    char delimiter[2 + BOUNDARY_MAX + 1] = "";
    size_t last = 0, leaves = 0, heads = 0;
    enum err e = multipart_init(&m, body, type, PARTS_MAX);

    if (e == OK)
        memcpy(delimiter, m.levels[0].delimiter, sizeof delimiter);
    while (e == OK && (e = multipart_next(&m, &leaf)) == OK) {
        check_leaf(&m, &leaf, span_of(delimiter));
        check(leaf.off >= last);
        last = leaf.off + leaf.len;
        leaves++;
    }
    heads = m.parts;
    check(leaves <= heads);
    if (e == ERR_SYNTAX) {
        check(m.fault.why != NULL);
        check(multipart_next(&m, &leaf) == ERR_SYNTAX);
        return;
    }
    check(e == ERR_EOF && multipart_next(&m, &leaf) == ERR_EOF);
    /* One line for each part of the outermost level, and the closing one. */
    check(count(body, span_of(delimiter)) <= heads + 1);
    if (leaves == heads)
        check(count(body, span_of(delimiter)) == heads + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body = {(const char *)data, size}, type = span_cut(&body, '\n');

    (void)multipart_is(type);
    if (body.p)
        split(body, type);
    return 0;
}
