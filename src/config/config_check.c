/* SPDX-License-Identifier: Apache-2.0 */
/* config_check.c - are the rows of a room sound? What the compiler cannot see, a unit test asks
 * here. */
#include <string.h>

#include "config/config_int.h"

#define CHECK_MEMORY_MAX ((size_t)1024 * 1024)

struct checking {
    struct config_report *r;
    const struct config_block *block;
    void *scratch; /* a struct of the block */
};

/* Lower case words joined by hyphens: they need no quotes anywhere and read the same in the file,
 * in messages and in the manual. */
static bool word_is_sound(struct span s)
{
    if (s.n == 0 || s.p[0] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= '0' && s.p[i] <= '9') &&
            s.p[i] != '-' && s.p[i] != '.' && s.p[i] != '_')
            return false;
    return true;
}

static void names_check(const struct checking *c, const struct config_row *row,
                        const struct config_names *names, uint64_t max)
{
    if (!names || names->n == 0) {
        config_complain(c->r, NULL, "row %s: no words", row->name);
        return;
    }
    for (size_t i = 0; i < names->n; i++) {
        if (!word_is_sound(span_of(names->v[i].name)) ||
            config_names_find(names, span_of(names->v[i].name)) != &names->v[i])
            config_complain(c->r, NULL, "row %s: word '%s' is no word, or there twice", row->name,
                            names->v[i].name);
        if (names->v[i].value > max)
            config_complain(c->r, NULL, "row %s: the value of '%s' does not fit its field",
                            row->name, names->v[i].name);
    }
}

static void number_check(const struct checking *c, const struct config_row *row)
{
    struct config_value v = {.r = c->r, .row = row, .text = SPAN("0")};

    if (row->max > config_integer_max(row->size) || (row->max && row->min > row->max))
        config_complain(c->r, NULL, "row %s: its range does not fit its field", row->name);
    if (!row->fallback && !row->required && config_value_parse(&v, c->scratch) != OK)
        config_complain(c->r, NULL, "row %s: 0 is out of range, so it needs a default", row->name);
}

static void integer_check(const struct checking *c, const struct config_row *row)
{
    if (row->size != 1 && row->size != 2 && row->size != 4 && row->size != 8)
        config_complain(c->r, NULL, "row %s: an integer of %zu bytes", row->name, row->size);
}

static void inner_check(const struct checking *c, const struct config_row *row)
{
    const struct config_row *unique = NULL;

    if (!row->block || row->block->size != row->size)
        config_complain(c->r, NULL, "row %s: its block is of another struct", row->name);
    else if (row->fallback)
        config_complain(c->r, NULL, "row %s: blocks take their defaults from their own rows",
                        row->name);
    if (!row->unique || !row->block)
        return;
    for (size_t i = 0; i < row->block->n_rows; i++)
        if (span_eq(span_of(row->block->rows[i].name), span_of(row->unique)))
            unique = &row->block->rows[i];
    if (!unique || !unique->required ||
        (unique->kind != CONFIG_KIND_STRING && unique->kind != CONFIG_KIND_PATH))
        config_complain(c->r, NULL, "row %s: its unique key must be a required text", row->name);
}

static void kind_check(const struct checking *c, const struct config_row *row)
{
    switch (row->kind) {
    case CONFIG_KIND_COUNT:
    case CONFIG_KIND_SIZE:
    case CONFIG_KIND_DURATION:
        integer_check(c, row);
        number_check(c, row);
        break;
    case CONFIG_KIND_ENUM:
        integer_check(c, row);
        names_check(c, row, row->names, config_integer_max(row->size));
        if (!row->fallback && !row->required && row->names && !config_name_of(row->names, 0))
            config_complain(c->r, NULL, "row %s: no word for 0, so it needs a default", row->name);
        break;
    case CONFIG_KIND_SET:
        integer_check(c, row);
        names_check(c, row, row->names, row->size * 8 - 1);
        break;
    case CONFIG_KIND_MAP:
        names_check(c, row, row->keys, row->size - 1);
        names_check(c, row, row->names, UINT8_MAX);
        break;
    case CONFIG_KIND_BLOCK:
    case CONFIG_KIND_OPTIONAL:
    case CONFIG_KIND_LIST: inner_check(c, row); break;
    case CONFIG_KIND_BOOL:
    case CONFIG_KIND_STRING:
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_STRINGS:
    case CONFIG_KIND_PATHS:
    case CONFIG_KIND_ADDRESS:
    case CONFIG_KIND_UPSTREAM:
    case CONFIG_KIND_CIDRS: break;
    }
}

static enum err row_check(const struct checking *c, size_t i)
{
    const struct config_row *row = &c->block->rows[i];
    bool pointer = row->kind == CONFIG_KIND_OPTIONAL || row->kind == CONFIG_KIND_LIST;
    size_t before = c->r->n_errors;
    enum err e;

    for (size_t k = 0; k < i; k++)
        if (span_eq(span_of(row->name), span_of(c->block->rows[k].name)))
            config_complain(c->r, NULL, "row %s: there twice", row->name);
    if (!word_is_sound(span_of(row->name)))
        config_complain(c->r, NULL, "row %s: its name is no lower case word", row->name);
    if (!row->help)
        config_complain(c->r, NULL, "row %s: no help", row->name);
    if (row->offset + (pointer ? sizeof(void *) : row->size) > c->block->size)
        config_complain(c->r, NULL, "row %s: its field is outside the struct", row->name);
    if (row->required && row->fallback)
        config_complain(c->r, NULL, "row %s: required, and yet a default", row->name);
    if (row->zero && (!config_kind_is_number(row->kind) || !word_is_sound(span_of(row->zero))))
        config_complain(c->r, NULL, "row %s: a word for 0 is for numbers", row->name);
    kind_check(c, row);
    if (c->r->n_errors > before)
        return OK; /* its default cannot be tried */
    e = config_row_default(c->r, row, c->scratch);
    return e == ERR_BUG ? OK : e; /* complained about */
}

/* NOLINTNEXTLINE(misc-no-recursion): stops at a depth of its own */
static enum err block_check(struct config_report *r, const struct config_block *b, size_t depth)
{
    struct checking c = {.r = r, .block = b};

    if (depth == CONFIG_DEPTH_MAX / 2) { /* a list of mappings takes two levels */
        config_complain(r, NULL, "blocks are too deep, or contain themselves");
        return OK;
    }
    c.scratch = arena_alloc(r->out, b->size + sizeof(uint64_t));
    if (!c.scratch)
        return ERR_NOMEM;
    for (size_t i = 0; i < b->n_rows; i++) {
        TRY(row_check(&c, i));
        if (b->rows[i].block)
            TRY(block_check(r, b->rows[i].block, depth + 1));
    }
    return OK;
}

enum err config_rows_check(const struct config_block *block, struct config_report *r)
{
    size_t before = r->n_errors;
    struct arena mem;
    enum err e;

    arena_init(&mem, CHECK_MEMORY_MAX);
    r->out = &mem;
    r->file = "rows";
    e = block_check(r, block, 0);
    r->out = NULL;
    arena_done(&mem);
    if (e == OK && r->n_errors > before)
        return ERR_BUG;
    return e;
}
