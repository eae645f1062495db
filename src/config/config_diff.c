/* SPDX-License-Identifier: Apache-2.0 */
/* config_diff.c - may a reload swap this configuration live? Values are compared as they print:
 * printing is canonical, and loading what was printed gives an equal struct. Recursion follows the
 * row tables, as in config_rows.c. */
#include <string.h>

#include "config/config_int.h"

struct path {
    const struct path *up;
    const char *name;
};

struct diff {
    bool found;
    struct buf *key; /* gets the path of the first difference; may be NULL */
};

static enum err block_diff(struct diff *d, const struct path *up, const struct config_block *b,
                           const void *x, const void *y);

static void path_print(const struct path *p, struct buf *out)
{
    const struct path *chain[CONFIG_DEPTH_MAX * 2];
    size_t n = 0;

    for (; p && n < ARRAY_LEN(chain); p = p->up)
        chain[n++] = p;
    while (n--) {
        buf_text(out, chain[n]->name);
        if (n)
            buf_char(out, '.');
    }
}

static void diff_set(struct diff *d, const struct path *p)
{
    d->found = true;
    if (d->key)
        path_print(p, d->key);
}

/* NOLINTBEGIN(misc-no-recursion): as deep as the row tables, no input adds to it */
static bool block_restarts(const struct config_block *b)
{
    for (size_t i = 0; i < b->n_rows; i++)
        if (b->rows[i].restart || (b->rows[i].block && block_restarts(b->rows[i].block)))
            return true;
    return false;
}

static enum err row_equal(const struct config_row *row, const void *x, const void *y, bool *ret)
{
    struct buf a, b;
    enum err e;

    buf_init(&a, 0);
    buf_init(&b, 0);
    config_row_print(row, x, CONFIG_PRINT_SECRETS, &a);
    config_row_print(row, y, CONFIG_PRINT_SECRETS, &b);
    *ret = span_eq(buf_span(&a), buf_span(&b));
    e = a.err ? a.err : b.err;
    buf_done(&a);
    buf_done(&b);
    return e;
}

static enum err optional_diff(struct diff *d, const struct path *p, const struct config_row *row,
                              const void *x, const void *y)
{
    const void *a = config_pointer_get(config_field(x, row->offset));
    const void *b = config_pointer_get(config_field(y, row->offset));

    if (a && b)
        return block_diff(d, p, row->block, a, b);
    if ((a || b) && block_restarts(row->block))
        diff_set(d, p);
    return OK;
}

/* ---- lists ---- */

struct list {
    const char *v;
    size_t n;
};

static struct list list_of(const struct config_row *row, const void *value)
{
    return (struct list){config_pointer_get(config_field(value, row->offset)),
                         *(const size_t *)config_field(value, row->count_offset)};
}

/* The value of the row's .unique key, or NULL. */
static const char *element_name(const struct config_row *row, const void *element)
{
    for (size_t i = 0; row->unique && i < row->block->n_rows; i++)
        if (span_eq(span_of(row->block->rows[i].name), span_of(row->unique)))
            return config_pointer_get(config_field(element, row->block->rows[i].offset));
    return NULL;
}

/* The partner of |element|, which is number |i| of its list. */
static const char *element_find(const struct config_row *row, struct list l, const char *element,
                                size_t i)
{
    const char *name = element_name(row, element);

    if (!row->unique)
        return i < l.n ? l.v + i * row->block->size : NULL;
    for (size_t k = 0; k < l.n; k++) {
        const char *v = l.v + (k + i) % l.n * row->block->size; /* mostly it kept its place */

        if (span_eq(span_of(element_name(row, v)), span_of(name)))
            return v;
    }
    return NULL;
}

static enum err list_diff(struct diff *d, const struct path *p, const struct config_row *row,
                          const void *x, const void *y)
{
    struct list a = list_of(row, x), b = list_of(row, y);

    for (size_t i = 0; i < a.n && !d->found; i++) {
        const char *v = a.v + i * row->block->size;
        const char *partner = element_find(row, b, v, i);
        const struct path element = {p, element_name(row, v)};
        const struct path *at = element.name ? &element : p;

        if (partner)
            TRY(block_diff(d, at, row->block, v, partner));
        else
            diff_set(d, at);
    }
    for (size_t i = 0; i < b.n && !d->found; i++) {
        const char *v = b.v + i * row->block->size;
        const struct path element = {p, element_name(row, v)};

        if (!element_find(row, a, v, i))
            diff_set(d, element.name ? &element : p);
    }
    return OK;
}

/* ---- blocks ---- */

static enum err row_diff(struct diff *d, const struct path *up, const struct config_row *row,
                         const void *x, const void *y)
{
    const struct path p = {up, row->name};
    bool equal = true;

    if (row->restart) {
        TRY(row_equal(row, x, y, &equal));
        if (!equal)
            diff_set(d, &p);
        return OK;
    }
    if (!row->block || !block_restarts(row->block))
        return OK;
    if (row->kind == CONFIG_KIND_LIST)
        return list_diff(d, &p, row, x, y);
    if (row->kind == CONFIG_KIND_OPTIONAL)
        return optional_diff(d, &p, row, x, y);
    return block_diff(d, &p, row->block, config_field(x, row->offset),
                      config_field(y, row->offset));
}

static enum err block_diff(struct diff *d, const struct path *up, const struct config_block *b,
                           const void *x, const void *y)
{
    for (size_t i = 0; i < b->n_rows && !d->found; i++)
        TRY(row_diff(d, up, &b->rows[i], x, y));
    return OK;
}

/* NOLINTEND(misc-no-recursion) */

enum err config_diff_restart(const struct config_block *block, const void *a, const void *b,
                             bool *ret_restart, struct buf *ret_key)
{
    struct diff d = {.key = ret_key};

    TRY(block_diff(&d, NULL, block, a, b));
    *ret_restart = d.found;
    return OK;
}
