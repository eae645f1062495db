/* SPDX-License-Identifier: Apache-2.0 */
/* config_rows.c - nodes to structs, as the rows say.
 *
 * Blocks call each other for blocks inside blocks: the depth is that of the row tables, which are
 * constant and which config_rows_check() keeps below CONFIG_DEPTH_MAX; no input can add to it. */
#include <stdlib.h>
#include <string.h>

#include "config/config_int.h"

#define MUST_MAX 512u

/* A block that is being read. */
struct reading {
    struct config_report *r;
    const struct config_block *block;
    const struct config_node *node; /* NULL: all defaults */
    const struct config_node *near; /* what to point at when the node is NULL */
    const char *name;               /* of the row that holds the block, NULL: the root */
    char *value;
};

static enum err block_read(const struct reading *b);

/* ---- complaints ---- */

static void complain_value(const struct config_value *v, const struct config_node *n, bool element)
{
    char room[MUST_MAX];
    struct writer must = writer_of(room, sizeof room);
    const char *of = element ? "an element of " : "";

    if (v->must)
        write_text(&must, v->must);
    else
        config_expect(v->row, &must);
    if (v->row->secret)
        config_complain(v->r, n, "%s%s must " SPAN_FMT, of, v->row->name,
                        SPAN_ARG(writer_span(&must)));
    else
        config_complain(v->r, n, "%s%s must " SPAN_FMT ", got %s%s", of, v->row->name,
                        SPAN_ARG(writer_span(&must)), config_got(v->r, n), v->hint ? v->hint : "");
}

static void complain_shape(struct config_report *r, const struct config_row *row,
                           const struct config_node *n, const char *must)
{
    config_complain(r, n, "%s must be %s, got %s", row->name, must,
                    row->secret ? "something else" : config_got(r, n));
}

/* ---- texts and lists of texts ---- */

/* |element|: of the list that the row is. */
static enum err text_read(struct config_report *r, const struct config_row *row,
                          const struct config_node *n, bool element, void *field)
{
    struct config_value v = {.r = r, .row = row, .text = n->text};
    enum err e = ERR_SYNTAX;

    if (n->skip)
        return OK;
    if (n->kind == CONFIG_NODE_TEXT && !config_node_is_empty(n))
        e = config_value_parse(&v, field);
    if (e != ERR_SYNTAX)
        return e;
    complain_value(&v, n, element);
    return OK;
}

static bool list_check(struct config_report *r, const struct config_row *row,
                       const struct config_node *n)
{
    char room[64];
    struct writer range = writer_of(room, sizeof room);

    if (n->kind != CONFIG_NODE_LIST && !config_node_is_empty(n)) {
        complain_shape(r, row, n, row->single ? "a text or a list" : "a list");
        return false;
    }
    if (n->n >= row->min && (!row->max || n->n <= row->max))
        return true;
    config_range_format(row, &range);
    config_complain(r, n, "%s must have " SPAN_FMT " elements, got %zu", row->name,
                    SPAN_ARG(writer_span(&range)), n->n);
    return false;
}

static enum err set_read(struct config_report *r, const struct config_row *row,
                         const struct config_node *n, void *field)
{
    if (!list_check(r, row, n))
        return OK;
    config_integer_set(field, row->size, 0);
    for (const struct config_node *c = n->first; c; c = c->next)
        TRY(text_read(r, row, c, true, field));
    return OK;
}

static enum err texts_read(struct config_report *r, const struct config_row *row,
                           const struct config_node *n, void *field)
{
    bool single = row->single && n->kind == CONFIG_NODE_TEXT && !config_node_is_empty(n);
    size_t size = config_element_size(row->kind), count = single ? 1 : n->n;
    char *v, *at;

    if (!single && !list_check(r, row, n))
        return OK;
    v = at = arena_array(r->out, count, size);
    if (!v)
        return ERR_NOMEM;
    if (single)
        TRY(text_read(r, row, n, false, at));
    for (const struct config_node *c = single ? NULL : n->first; c; c = c->next, at += size)
        TRY(text_read(r, row, c, true, at));
    if (row->kind == CONFIG_KIND_CIDRS)
        *(struct config_cidrs *)field = (struct config_cidrs){(const void *)v, count};
    else
        *(struct config_strings *)field = (struct config_strings){(const void *)v, count};
    return OK;
}

/* ---- maps ---- */

static void complain_map_key(struct config_report *r, const struct config_row *row,
                             const struct config_node *key)
{
    config_complain(r, key, "unknown key %s in %s%s", config_quote(r, key->text), row->name,
                    config_words_hint(r, key->text, row->keys));
}

static enum err map_read(struct config_report *r, const struct config_row *row,
                         const struct config_node *n, uint8_t *field)
{
    if (n->kind != CONFIG_NODE_MAPPING) {
        if (!config_node_is_empty(n))
            complain_shape(r, row, n, "a mapping");
        return OK;
    }
    for (const struct config_node *c = n->first; c; c = c->next) {
        const struct config_name *key = config_names_find(row->keys, c->key->text);
        struct config_row word = {.name = c->key->text.p,
                                  .kind = CONFIG_KIND_ENUM,
                                  .names = row->names,
                                  .size = sizeof(uint8_t)};

        if (c->skip)
            continue;
        if (!key)
            complain_map_key(r, row, c->key);
        else if (key->value >= row->size)
            return ERR_BUG;
        else
            TRY(text_read(r, &word, c, false, &field[key->value]));
    }
    return OK;
}

/* ---- defaults ---- */

/* Parsed once for each row: a list may have thousands of elements with the same defaults. */
static enum err builtin_tree(struct config_report *r, const struct config_row *row,
                             const struct config_node **ret)
{
    struct config_builtin *b;

    for (b = r->builtins; b; b = b->next) {
        if (b->row == row) {
            *ret = b->node;
            return OK;
        }
    }
    b = ARENA_NEW(&r->mem, struct config_builtin);
    if (!b)
        return ERR_NOMEM;
    TRY(config_tree_parse(r, span_of(row->fallback), &b->node));
    if (!b->node) {
        config_complain(r, NULL, "%s has an empty one", row->name);
        return ERR_BUG;
    }
    b->row = row;
    b->next = r->builtins;
    r->builtins = b;
    *ret = b->node;
    return OK;
}

static enum err builtin_read(struct config_report *r, const struct config_row *row, void *field)
{
    struct config_node text = {.kind = CONFIG_NODE_TEXT, .text = span_of(row->fallback)};
    const struct config_node *n = &text;

    if (config_kind_is_text(row->kind))
        return text_read(r, row, n, false, field);
    TRY(builtin_tree(r, row, &n));
    switch (row->kind) {
    case CONFIG_KIND_SET: return set_read(r, row, n, field);
    case CONFIG_KIND_STRINGS:
    case CONFIG_KIND_PATHS:
    case CONFIG_KIND_CIDRS: return texts_read(r, row, n, field);
    case CONFIG_KIND_MAP: return map_read(r, row, n, field);
    case CONFIG_KIND_BOOL:
    case CONFIG_KIND_COUNT:
    case CONFIG_KIND_SIZE:
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_ENUM:
    case CONFIG_KIND_STRING:
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_ADDRESS:
    case CONFIG_KIND_UPSTREAM:
    case CONFIG_KIND_BLOCK:
    case CONFIG_KIND_OPTIONAL:
    case CONFIG_KIND_LIST: break;
    }
    return ERR_BUG;
}

enum err config_row_default(struct config_report *r, const struct config_row *row, void *block)
{
    size_t before = r->n_errors;
    enum err e;

    if (!row->fallback)
        return OK;
    r->builtin = true;
    e = builtin_read(r, row, config_field_of(block, row->offset));
    r->builtin = false;
    if (e == ERR_CONFIG || (e == OK && r->n_errors > before))
        return ERR_BUG;
    return e;
}

/* ---- blocks ---- */

/* NOLINTBEGIN(misc-no-recursion): as deep as the row tables, no input adds to it */
static enum err inner_read(const struct reading *b, const struct config_row *row,
                           const struct config_node *n, void *value)
{
    const struct config_node *key = n && n->key ? n->key : n;
    const struct reading inner = {
        .r = b->r,
        .block = row->block,
        .node = n && n->kind == CONFIG_NODE_MAPPING ? n : NULL,
        .near = key       ? key
                : b->node ? b->node
                          : b->near,
        .name = row->name,
        .value = value,
    };

    return block_read(&inner);
}

static enum err optional_read(const struct reading *b, const struct config_row *row,
                              const struct config_node *n, void *field)
{
    void *inner;

    if (n->kind != CONFIG_NODE_MAPPING) {
        config_complain(b->r, n, "%s must be a mapping, got %s%s", row->name, config_got(b->r, n),
                        config_node_is_empty(n) ? "; write {} to have it with its defaults" : "");
        return OK;
    }
    inner = arena_alloc(b->r->out, row->block->size);
    if (!inner)
        return ERR_NOMEM;
    config_pointer_set(field, inner);
    return inner_read(b, row, n, inner);
}

static int by_text(const void *a, const void *b)
{
    const struct config_node *x = *(const struct config_node *const *)a;
    const struct config_node *y = *(const struct config_node *const *)b;
    int order = config_text_order(x->text, y->text);

    if (order)
        return order;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return (x->column > y->column) - (x->column < y->column);
}

static enum err unique_check(struct config_report *r, const struct config_row *row,
                             const struct config_node *list)
{
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
    const struct config_node **sorted = arena_array(&r->mem, list->n + 1, sizeof *sorted);
    size_t n = 0, first = 0;

    if (!sorted)
        return ERR_NOMEM;
    for (const struct config_node *c = list->first; c; c = c->next) {
        const struct config_node *v = config_node_find(c, span_of(row->unique));

        if (v && v->kind == CONFIG_NODE_TEXT && !v->skip)
            sorted[n++] = v;
    }
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
    qsort(sorted, n, sizeof *sorted, by_text);
    for (size_t i = 1; i < n; i++) {
        if (!span_eq(sorted[i]->text, sorted[first]->text)) {
            first = i;
            continue;
        }
        config_complain(r, sorted[i],
                        "%s %s is used twice in %s; the first is in line %u, column %u",
                        row->unique, config_quote(r, sorted[i]->text), row->name,
                        sorted[first]->line, sorted[first]->column);
    }
    return OK;
}

static enum err list_read(const struct reading *b, const struct config_row *row,
                          const struct config_node *n)
{
    struct config_report *r = b->r;
    char *v, *at;

    if (!list_check(r, row, n))
        return OK;
    v = at = arena_array(r->out, n->n, row->block->size);
    if (!v)
        return ERR_NOMEM;
    for (const struct config_node *c = n->first; c; c = c->next, at += row->block->size) {
        if (c->kind == CONFIG_NODE_MAPPING)
            TRY(inner_read(b, row, c, at));
        else if (!c->skip)
            config_complain(r, c, "an element of %s must be a mapping, got %s", row->name,
                            config_got(r, c));
    }
    if (row->unique)
        TRY(unique_check(r, row, n));
    if (n->n)
        config_pointer_set(b->value + row->offset, v);
    *(size_t *)config_field_of(b->value, row->count_offset) = n->n;
    return OK;
}

static enum err row_read(const struct reading *b, const struct config_row *row,
                         const struct config_node *n)
{
    struct config_report *r = b->r;
    void *field = b->value + row->offset;

    if (n->skip)
        return OK;
    if (row->deprecated)
        config_caution(r, n->key, "%s is deprecated: %s", row->name, row->deprecated);
    switch (row->kind) {
    case CONFIG_KIND_BOOL:
    case CONFIG_KIND_COUNT:
    case CONFIG_KIND_SIZE:
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_ENUM:
    case CONFIG_KIND_STRING:
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_ADDRESS:
    case CONFIG_KIND_UPSTREAM: return text_read(r, row, n, false, field);
    case CONFIG_KIND_SET: return set_read(r, row, n, field);
    case CONFIG_KIND_STRINGS:
    case CONFIG_KIND_PATHS:
    case CONFIG_KIND_CIDRS: return texts_read(r, row, n, field);
    case CONFIG_KIND_MAP:
        TRY(config_row_default(r, row, b->value));
        return map_read(r, row, n, field);
    case CONFIG_KIND_BLOCK:
        if (n->kind != CONFIG_NODE_MAPPING && !config_node_is_empty(n)) {
            complain_shape(r, row, n, "a mapping");
            return OK;
        }
        return inner_read(b, row, n, field);
    case CONFIG_KIND_OPTIONAL: return optional_read(b, row, n, field);
    case CONFIG_KIND_LIST: return list_read(b, row, n);
    }
    return ERR_BUG;
}

static enum err row_absent(const struct reading *b, const struct config_row *row)
{
    if (row->required) {
        config_complain(b->r, b->node ? b->node : b->near, "required key '%s' is missing%s%s",
                        row->name, b->name ? " in " : "", b->name ? b->name : "");
        return OK;
    }
    if (row->kind == CONFIG_KIND_BLOCK)
        return inner_read(b, row, NULL, b->value + row->offset);
    return config_row_default(b->r, row, b->value);
}

static void unknown_keys(const struct reading *b)
{
    const struct config_node *first = b->node ? b->node->first : NULL;

    for (const struct config_node *c = first; c; c = c->next) {
        struct config_nearest nearest = {.got = c->key->text};
        bool known = false;

        for (size_t i = 0; i < b->block->n_rows && !known; i++)
            known = span_eq(span_of(b->block->rows[i].name), c->key->text);
        if (known || c->skip)
            continue;
        for (size_t i = 0; i < b->block->n_rows; i++)
            config_nearest_offer(&nearest, b->block->rows[i].name);
        config_complain(b->r, c->key, "unknown key %s%s%s%s", config_quote(b->r, c->key->text),
                        b->name ? " in " : "", b->name ? b->name : "",
                        config_nearest_hint(b->r, &nearest));
    }
}

static enum err block_check(const struct reading *b)
{
    struct config_report *r = b->r;
    size_t before = r->n_errors;
    enum err e;

    r->checking = b->block;
    e = b->block->check(b->value, r);
    r->checking = NULL;
    if (e == ERR_CONFIG && r->n_errors == before)
        config_complain(r, b->node ? b->node : b->near, "%s is not valid",
                        b->name ? b->name : "the configuration");
    return e == ERR_CONFIG ? OK : e;
}

static enum err block_read(const struct reading *b)
{
    size_t before = b->r->n_errors;

    TRY(config_place_add(b->r, b->value, b->block, b->node, b->near));
    unknown_keys(b);
    for (size_t i = 0; i < b->block->n_rows; i++) {
        const struct config_row *row = &b->block->rows[i];
        const struct config_node *n = config_node_find(b->node, span_of(row->name));

        TRY(n ? row_read(b, row, n) : row_absent(b, row));
    }
    return b->block->check && b->r->n_errors == before ? block_check(b) : OK;
}

/* NOLINTEND(misc-no-recursion) */

enum err config_root_read(struct config_report *r, const struct config_block *b,
                          const struct config_node *node, void *ret)
{
    const struct reading root = {.r = r, .block = b, .node = node, .value = ret};

    return block_read(&root);
}
