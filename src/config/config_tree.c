/* SPDX-License-Identifier: Apache-2.0 */
/* config_tree.c - YAML text to nodes, through libyaml's events. Only the plain part of YAML is let
 * in: mappings, lists and texts. */
#include <stdlib.h>

#include <yaml.h>

#include "base/utf8.h"
#include "config/config_int.h"

struct frame {
    struct config_node *node; /* mapping or list that is open */
    struct config_node *key;  /* of a mapping: read, its value is still to come */
};

struct tree {
    yaml_parser_t yaml;
    struct config_report *r;
    struct span text;
    struct frame stack[CONFIG_DEPTH_MAX];
    size_t depth;
    struct config_node *root;
    unsigned n_documents;
};

bool config_node_is_empty(const struct config_node *n)
{
    return n->kind == CONFIG_NODE_TEXT && n->plain && n->text.n == 0;
}

const struct config_node *config_node_find(const struct config_node *mapping, struct span key)
{
    if (!mapping || mapping->kind != CONFIG_NODE_MAPPING)
        return NULL;
    for (const struct config_node *n = mapping->first; n; n = n->next)
        if (span_eq(n->key->text, key))
            return n;
    return NULL;
}

/* ---- bytes ---- */

/* Line and column (in characters, from 1) of the byte at |off|. */
static void place_of(struct span text, size_t off, unsigned *ret_line, unsigned *ret_column)
{
    unsigned line = 1, column = 1;

    for (size_t i = 0; i < off && i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xc0) != 0x80) {
            column++;
        }
    }
    *ret_line = line;
    *ret_column = column;
}

/* libyaml would find these too, but it says less. */
static enum err bytes_check(struct config_report *r, struct span text)
{
    unsigned line, column;
    size_t off = 0;

    if (text.n > CONFIG_TEXT_MAX) {
        config_complain(r, NULL, "the file must be at most %zu bytes, got %zu", CONFIG_TEXT_MAX,
                        text.n);
        return ERR_CONFIG;
    }
    while (off < text.n) {
        size_t n = text.p[off] ? utf8_len(span_sub(text, off, 4)) : 0;

        if (n == 0) {
            place_of(text, off, &line, &column);
            config_complain_at(r, line, column, "%s",
                               text.p[off] ? "the text is not UTF-8 here"
                                           : "the text has a NUL byte here");
            return ERR_CONFIG;
        }
        off += n;
    }
    return OK;
}

/* ---- libyaml's complaints ---- */

static enum err yaml_complain(struct tree *t)
{
    const yaml_parser_t *y = &t->yaml;
    const char *problem = y->problem ? y->problem : "not valid";
    unsigned line = (unsigned)y->problem_mark.line + 1;
    unsigned column = (unsigned)y->problem_mark.column + 1;
    size_t index = y->problem_mark.index;

    if (y->error == YAML_MEMORY_ERROR)
        return ERR_NOMEM;
    if (y->error == YAML_READER_ERROR) { /* has an offset, no mark */
        place_of(t->text, y->problem_offset, &line, &column);
        config_complain_at(t->r, line, column, "not valid YAML: %s", problem);
        return ERR_CONFIG;
    }
    if (index < t->text.n && t->text.p[index] == '\t')
        problem = "a tab where only spaces may stand";
    if (y->context && y->context_mark.line + 1 != line)
        config_complain_at(t->r, line, column, "not valid YAML: %s (%s that begins in line %zu)",
                           problem, y->context, y->context_mark.line + 1);
    else
        config_complain_at(t->r, line, column, "not valid YAML: %s%s%s%s", problem,
                           y->context ? " (" : "", y->context ? y->context : "",
                           y->context ? ")" : "");
    return ERR_CONFIG;
}

/* ---- nodes ---- */

static enum err node_new(struct tree *t, const yaml_event_t *ev, enum config_node_kind kind,
                         struct config_node **ret)
{
    struct config_node *n;
    unsigned line = (unsigned)ev->start_mark.line + 1;
    unsigned column = (unsigned)ev->start_mark.column + 1;

    if (!t->r->builtin && t->r->n_nodes++ >= CONFIG_NODES_MAX) {
        config_complain_at(t->r, line, column, "the file must have at most %u keys and values",
                           CONFIG_NODES_MAX);
        return ERR_CONFIG;
    }
    n = ARENA_NEW(&t->r->mem, struct config_node);
    if (!n)
        return ERR_NOMEM;
    *n = (struct config_node){.kind = kind, .line = line, .column = column};
    *ret = n;
    return OK;
}

/* Anchors and tags make YAML mean more than it shows; we need neither. The tree goes on without. */
static void refuse_extras(struct tree *t, const struct config_node *n, const yaml_char_t *anchor,
                          const yaml_char_t *tag)
{
    if (anchor)
        config_complain(t->r, n, "anchors and aliases are not supported; write the value out");
    if (tag)
        config_complain(t->r, n, "tags are not supported; a key knows the type of its value");
}

/* Hangs |n| into the mapping or list on top, or makes it the root. */
static enum err node_attach(struct tree *t, struct config_node *n)
{
    struct frame *top = t->depth ? &t->stack[t->depth - 1] : NULL;
    struct config_node *parent = top ? top->node : NULL;

    if (!parent) {
        t->root = n;
        return OK;
    }
    if (parent->kind == CONFIG_NODE_MAPPING && !top->key) {
        if (n->kind != CONFIG_NODE_TEXT) {
            config_complain(t->r, n, "a key must be a text, got %s", config_got(t->r, n));
            return ERR_CONFIG;
        }
        top->key = n;
        return OK;
    }
    n->key = top->key;
    top->key = NULL;
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
    parent->n++;
    return OK;
}

static enum err scalar_add(struct tree *t, const yaml_event_t *ev)
{
    struct span text = {(const char *)ev->data.scalar.value, ev->data.scalar.length};
    struct config_node *n;

    TRY(node_new(t, ev, CONFIG_NODE_TEXT, &n));
    refuse_extras(t, n, ev->data.scalar.anchor, ev->data.scalar.tag);
    n->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (span_find(text, '\0') < text.n) { /* "\0" in double quotes */
        config_complain(t->r, n, "the text must not hold a NUL character");
        text = SPAN_NONE;
        n->skip = true;
    }
    n->text = arena_dup(&t->r->mem, text);
    if (!n->text.p)
        return ERR_NOMEM;
    return node_attach(t, n);
}

static enum err container_open(struct tree *t, const yaml_event_t *ev, enum config_node_kind kind,
                               const yaml_char_t *anchor, const yaml_char_t *tag)
{
    struct config_node *n;

    TRY(node_new(t, ev, kind, &n));
    refuse_extras(t, n, anchor, tag);
    if (t->depth == CONFIG_DEPTH_MAX) {
        config_complain(t->r, n, "mappings and lists must be at most %u deep", CONFIG_DEPTH_MAX);
        return ERR_CONFIG;
    }
    TRY(node_attach(t, n));
    t->stack[t->depth++] = (struct frame){.node = n};
    return OK;
}

/* An alias stands where a value should be: complain and go on with a value that nobody reads. */
static enum err alias_add(struct tree *t, const yaml_event_t *ev)
{
    struct config_node *n;

    TRY(node_new(t, ev, CONFIG_NODE_TEXT, &n));
    config_complain(t->r, n, "anchors and aliases are not supported; write the value out");
    n->text = SPAN("");
    n->skip = true;
    return node_attach(t, n);
}

/* ---- double keys ---- */

int config_text_order(struct span a, struct span b)
{
    size_t n = a.n < b.n ? a.n : b.n;

    for (size_t i = 0; i < n; i++)
        if (a.p[i] != b.p[i])
            return (unsigned char)a.p[i] < (unsigned char)b.p[i] ? -1 : 1;
    return (a.n > b.n) - (a.n < b.n);
}

static int by_key(const void *a, const void *b)
{
    const struct config_node *x = *(const struct config_node *const *)a;
    const struct config_node *y = *(const struct config_node *const *)b;
    int order = config_text_order(x->key->text, y->key->text);

    if (order)
        return order;
    if (x->key->line != y->key->line)
        return x->key->line < y->key->line ? -1 : 1;
    return (x->key->column > y->key->column) - (x->key->column < y->key->column);
}

/* Sorted instead of compared each with each: a mapping may have tens of thousands of keys. */
static enum err mapping_close(struct tree *t, const struct config_node *mapping)
{
    struct config_node **sorted, *first;
    size_t n = 0;

    if (mapping->n < 2)
        return OK;
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
    sorted = arena_array(&t->r->mem, mapping->n, sizeof *sorted);
    if (!sorted)
        return ERR_NOMEM;
    for (struct config_node *c = mapping->first; c; c = c->next)
        sorted[n++] = c;
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
    qsort(sorted, n, sizeof *sorted, by_key);
    first = sorted[0];
    for (size_t i = 1; i < n; i++) {
        if (!span_eq(sorted[i]->key->text, first->key->text) || sorted[i]->key->skip) {
            first = sorted[i];
            continue;
        }
        sorted[i]->skip = true;
        config_complain(t->r, sorted[i]->key,
                        "key %s is written twice; the first is in line %u, column %u",
                        config_quote(t->r, first->key->text), first->key->line, first->key->column);
    }
    return OK;
}

static enum err container_close(struct tree *t)
{
    const struct config_node *n = t->stack[--t->depth].node;

    return n->kind == CONFIG_NODE_MAPPING ? mapping_close(t, n) : OK;
}

/* ---- events ---- */

static enum err document_open(struct tree *t, const yaml_event_t *ev)
{
    if (t->n_documents++ == 0)
        return OK;
    config_complain_at(t->r, (unsigned)ev->start_mark.line + 1, (unsigned)ev->start_mark.column + 1,
                       "the file must be one YAML document; a second one begins here");
    return ERR_CONFIG;
}

static enum err event_take(struct tree *t, const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: return OK;
    case YAML_DOCUMENT_START_EVENT: return document_open(t, ev);
    case YAML_ALIAS_EVENT: return alias_add(t, ev);
    case YAML_SCALAR_EVENT: return scalar_add(t, ev);
    case YAML_SEQUENCE_START_EVENT:
        return container_open(t, ev, CONFIG_NODE_LIST, ev->data.sequence_start.anchor,
                              ev->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return container_open(t, ev, CONFIG_NODE_MAPPING, ev->data.mapping_start.anchor,
                              ev->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return container_close(t);
    }
    return ERR_BUG;
}

static enum err events_read(struct tree *t)
{
    yaml_event_type_t type = YAML_NO_EVENT;

    yaml_parser_set_input_string(&t->yaml, (const unsigned char *)t->text.p, t->text.n);
    while (type != YAML_STREAM_END_EVENT) {
        yaml_event_t ev;
        enum err e;

        if (!yaml_parser_parse(&t->yaml, &ev))
            return yaml_complain(t);
        type = ev.type;
        e = event_take(t, &ev);
        yaml_event_delete(&ev);
        TRY(e);
    }
    return OK;
}

enum err config_tree_parse(struct config_report *r, struct span text,
                           const struct config_node **ret)
{
    struct tree t = {.r = r, .text = text.n ? text : SPAN("")};
    enum err e;

    TRY(bytes_check(r, text));
    if (!yaml_parser_initialize(&t.yaml))
        return ERR_NOMEM;
    e = events_read(&t);
    yaml_parser_delete(&t.yaml);
    if (e == OK)
        *ret = t.root;
    return e;
}
