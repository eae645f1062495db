/* SPDX-License-Identifier: Apache-2.0 */
/* config_int.h - what the files of this room share: nodes, complaints, one value. For them and
 * their tests only. */
#ifndef CONFIG_CONFIG_INT_H
#define CONFIG_CONFIG_INT_H

#include "base/reader.h"
#include "config/config.h"

enum config_node_kind { CONFIG_NODE_TEXT, CONFIG_NODE_MAPPING, CONFIG_NODE_LIST };

/* Lives in the report's arena. */
struct config_node {
    struct span text;        /* TEXT: with a closing NUL that does not count, never one inside */
    struct config_node *key; /* set on the values of a mapping */
    struct config_node *next;
    struct config_node *first, *last;
    size_t n; /* children; for a mapping, the values */
    unsigned line, column;
    enum config_node_kind kind;
    bool plain; /* TEXT without quotes */
    bool skip;  /* was complained about already: an alias, a double key */
};

/* Where a struct came from. */
struct config_place {
    const void *value;
    const struct config_block *block;
    const struct config_node *node; /* mapping; NULL when all of it is defaults */
    const struct config_node *near; /* what to point at then; NULL: the file */
    struct config_place *next;
};

/* A row's default that is a list or a map, parsed once. */
struct config_builtin {
    const struct config_row *row;
    const struct config_node *node;
    struct config_builtin *next;
};

/* ---- config_tree.c ---- */

/* Text to nodes. |*ret| is NULL for empty text. ERR_CONFIG when the text is no YAML at all and was
 * complained about; other complaints (double keys, tags) leave a usable tree and OK. */
NODISCARD enum err config_tree_parse(struct config_report *r, struct span text,
                                     const struct config_node **ret);
/* The first value of |key|, or NULL; also when |mapping| is NULL or no mapping. */
const struct config_node *config_node_find(const struct config_node *mapping, struct span key);
/* Nothing after the colon: neither text nor quotes. */
bool config_node_is_empty(const struct config_node *n);
/* Byte order: below, equal to or above 0. */
int config_text_order(struct span a, struct span b);

/* ---- config_report.c ---- */

PRINTF(3, 4)
void config_complain(struct config_report *r, const struct config_node *at, const char *fmt, ...);
PRINTF(3, 4)
void config_caution(struct config_report *r, const struct config_node *at, const char *fmt, ...);
PRINTF(4, 5)
void config_complain_at(struct config_report *r, unsigned line, unsigned column, const char *fmt,
                        ...);
/* Remembers where |value| came from. */
NODISCARD enum err config_place_add(struct config_report *r, const void *value,
                                    const struct config_block *b, const struct config_node *node,
                                    const struct config_node *near);
/* "'text'", shortened and printable. Lives as long as |r|. */
const char *config_quote(struct config_report *r, struct span text);
/* "a list", "a mapping", "no value", or the quoted text of |n|. */
const char *config_got(struct config_report *r, const struct config_node *n);

/* The nearest word so far. */
struct config_nearest {
    struct span got;
    const char *word;
    size_t distance;
};

void config_nearest_offer(struct config_nearest *n, const char *word);
/* "; did you mean 'x'?" or "". */
const char *config_nearest_hint(struct config_report *r, const struct config_nearest *n);

/* ---- config_value.c ---- */

/* One text on its way into a field. */
struct config_value {
    struct config_report *r;
    const struct config_row *row;
    struct span text;
    const char *must; /* after ERR_SYNTAX, when not NULL: instead of config_expect() */
    const char *hint; /* after ERR_SYNTAX: "" or what to write instead */
};

/* Types |v->text| as the row's kind (for lists: as one element) into |field|, which has the row's
 * size (or the element's). OK, ERR_SYNTAX (nothing written) or ERR_NOMEM. Not for maps and blocks.
 */
NODISCARD enum err config_value_parse(struct config_value *v, void *field);
/* "be 0..65536", "be one of icap, http": what the row wants. */
void config_expect(const struct config_row *row, struct writer *out);
/* "0..64k" or "": the range of a row that has one. */
void config_range_format(const struct config_row *row, struct writer *out);
/* The same with what it counts: "1..255 bytes", "at least 1 connections"; or the unit alone. */
void config_limits_format(const struct config_row *row, struct writer *out);
/* The number as a person would write it for this row. */
void config_number_format(const struct config_row *row, uint64_t v, struct writer *out);

uint64_t config_integer_get(const void *field, size_t size);
void config_integer_set(void *field, size_t size, uint64_t v);
uint64_t config_integer_max(size_t size);
const struct config_name *config_names_find(const struct config_names *names, struct span word);
const char *config_words_hint(struct config_report *r, struct span got,
                              const struct config_names *names);
const void *config_pointer_get(const void *field);
void config_pointer_set(void *field, const void *p);
/* Is the row's value one text (and no list, map or block)? */
bool config_kind_is_text(enum config_kind kind);
bool config_kind_is_number(enum config_kind kind);
/* Bytes of one element of a list of texts. */
size_t config_element_size(enum config_kind kind);
/* "size", "list of paths": for the manual. */
const char *config_kind_text(const struct config_row *row);

/* ---- config_rows.c ---- */

/* Reads the root at |node| (NULL: all defaults) into |ret|, which is zeroed. Complaints are counted
 * in the report and are no error here. */
NODISCARD enum err config_root_read(struct config_report *r, const struct config_block *b,
                                    const struct config_node *node, void *ret);
/* Types the row's default into its field of |block|; OK without a default, ERR_BUG when it does not
 * fit. */
NODISCARD enum err config_row_default(struct config_report *r, const struct config_row *row,
                                      void *block);

/* ---- config_print.c ---- */

/* One row of the block at |value|. */
void config_row_print(const struct config_row *row, const void *value, unsigned flags,
                      struct buf *out);

static inline const void *config_field(const void *value, size_t offset)
{
    return (const char *)value + offset;
}

static inline void *config_field_of(void *value, size_t offset)
{
    return (char *)value + offset;
}

#endif
