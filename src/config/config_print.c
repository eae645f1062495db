/* SPDX-License-Identifier: Apache-2.0 */
/* config_print.c - structs to YAML. Recursion follows the row tables, as in config_rows.c. */
#include <string.h>

#include <arpa/inet.h>

#include "base/utf8.h"
#include "config/config_int.h"

struct printer {
    struct buf *out;
    unsigned flags;
    bool dash; /* the next line is the first of a list's element */
};

static void block_print(struct printer *p, const struct config_block *b, const void *value,
                        unsigned indent);

/* ---- lines ---- */

static void spaces(struct printer *p, unsigned n)
{
    buf_fmt(p->out, "%*s", (int)n, "");
}

static void key_print(struct printer *p, unsigned indent, const char *key)
{
    spaces(p, p->dash ? indent - 2 : indent);
    if (p->dash)
        buf_text(p->out, "- ");
    p->dash = false;
    buf_text(p->out, key);
    buf_char(p->out, ':');
}

static void comment_print(struct printer *p, const struct config_row *row, unsigned indent)
{
    char room[160];
    struct writer limits = writer_of(room, sizeof room);

    if (!(p->flags & CONFIG_PRINT_COMMENTS) || !row->help)
        return;
    spaces(p, indent);
    buf_fmt(p->out, "# %s", row->help);
    config_limits_format(row, &limits);
    if (limits.n)
        buf_fmt(p->out, " (" SPAN_FMT ")", SPAN_ARG(writer_span(&limits)));
    buf_char(p->out, '\n');
}

/* ---- texts ---- */

static bool char_is_plain(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           span_find(SPAN("_./-:@+="), c) < 8;
}

/* Fine without quotes wherever it stands, and no word that other YAML readers take for something
 * else than text. */
static bool text_is_plain(struct span s)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off"};

    if (s.n == 0 || s.p[s.n - 1] == ':' || span_find(SPAN(".-:@+="), s.p[0]) < 6)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_plain(s.p[i]))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (span_ieq(s, span_of(words[i])))
            return false;
    return true;
}

static uint32_t code_point(struct span c)
{
    static const uint8_t lead_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t v = (uint8_t)c.p[0] & lead_mask[c.n];

    for (size_t i = 1; i < c.n; i++)
        v = v << 6 | ((uint8_t)c.p[i] & 0x3f);
    return v;
}

/* What YAML 1.1 does not let stand for itself (5.1 c-printable) or breaks lines at. */
static bool needs_escape(uint32_t c)
{
    return c < 0x20 || c == '"' || c == '\\' || (c >= 0x7f && c < 0xa0) || c == 0x2028 ||
           c == 0x2029 || c == 0xfeff || c == 0xfffe || c == 0xffff;
}

static void quoted_print(struct buf *out, struct span s)
{
    buf_char(out, '"');
    while (s.n) {
        size_t n = utf8_len(s);
        struct span one = span_sub(s, 0, n ? n : 1);
        uint32_t c = n ? code_point(one) : 0xfffd;

        if (c == '\n')
            buf_text(out, "\\n");
        else if (c == '"' || c == '\\')
            buf_fmt(out, "\\%c", (int)c);
        else if (!n || needs_escape(c))
            buf_fmt(out, "\\u%04X", (unsigned)c);
        else
            buf_add(out, one);
        s = span_sub(s, one.n, SIZE_MAX);
    }
    buf_char(out, '"');
}

static void text_print(struct printer *p, const struct config_row *row, const char *text)
{
    struct span s = span_of(text);

    if (row->secret && !(p->flags & CONFIG_PRINT_SECRETS))
        buf_text(p->out, "\"(set)\"");
    else if (text_is_plain(s))
        buf_add(p->out, s);
    else
        quoted_print(p->out, s);
}

/* ---- values ---- */

static void address_print(struct printer *p, const struct config_row *row,
                          const struct config_address *a)
{
    struct buf text;

    buf_init(&text, 0);
    config_address_format(a, &text);
    text_print(p, row, buf_cstr(&text));
    if (text.err)
        p->out->err = text.err;
    buf_done(&text);
}

static void number_print(struct printer *p, const struct config_row *row, const void *field)
{
    char room[80];
    struct writer w = writer_of(room, sizeof room);

    config_number_format(row, config_integer_get(field, row->size), &w);
    buf_add(p->out, writer_span(&w));
}

static void cidr_print(struct printer *p, const struct config_row *row,
                       const struct config_cidr *net)
{
    char room[INET6_ADDRSTRLEN + 8] = "";
    struct writer w = writer_of(room, sizeof room);

    (void)inet_ntop(net->family == 6 ? AF_INET6 : AF_INET, net->addr, room, INET6_ADDRSTRLEN);
    w.n = span_of(room).n;
    write_fmt(&w, "/%u", (unsigned)net->prefix);
    text_print(p, row, room);
}

static void list_print(struct printer *p, const struct config_row *row, const void *field)
{
    const struct config_strings *texts = field;
    const struct config_cidrs *nets = field;
    bool is_nets = row->kind == CONFIG_KIND_CIDRS;
    size_t n = is_nets ? nets->n : texts->n;

    buf_text(p->out, " [");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_text(p->out, ", ");
        if (is_nets)
            cidr_print(p, row, &nets->v[i]);
        else
            text_print(p, row, texts->v[i]);
    }
    buf_char(p->out, ']');
}

static void set_print(struct printer *p, const struct config_row *row, uint64_t bits)
{
    bool any = false;

    buf_text(p->out, " [");
    for (size_t i = 0; i < row->names->n; i++) {
        const struct config_name *name = &row->names->v[i];

        if (!(bits & UINT64_C(1) << (name->value & 63)))
            continue;
        if (any)
            buf_text(p->out, ", ");
        buf_text(p->out, name->name);
        any = true;
    }
    buf_char(p->out, ']');
}

static void map_print(struct printer *p, const struct config_row *row, const uint8_t *field,
                      unsigned indent)
{
    bool any = false;

    for (size_t i = 0; i < row->keys->n; i++) {
        const char *word = config_name_of(row->names, field[row->keys->v[i].value]);

        if (!word)
            continue;
        buf_char(p->out, '\n');
        spaces(p, indent + 2);
        buf_fmt(p->out, "%s: %s", row->keys->v[i].name, word);
        any = true;
    }
    if (!any)
        buf_text(p->out, " {}");
}

/* Is there something to write after the key? */
static bool row_has_value(const struct config_row *row, const void *field)
{
    switch (row->kind) {
    case CONFIG_KIND_STRING:
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_OPTIONAL: return config_pointer_get(field) != NULL;
    case CONFIG_KIND_ADDRESS:
    case CONFIG_KIND_UPSTREAM:
        return ((const struct config_address *)field)->kind != CONFIG_ADDRESS_NONE;
    case CONFIG_KIND_ENUM:
        return config_name_of(row->names, config_integer_get(field, row->size)) != NULL;
    case CONFIG_KIND_BOOL:
    case CONFIG_KIND_COUNT:
    case CONFIG_KIND_SIZE:
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_SET:
    case CONFIG_KIND_STRINGS:
    case CONFIG_KIND_PATHS:
    case CONFIG_KIND_CIDRS:
    case CONFIG_KIND_MAP:
    case CONFIG_KIND_BLOCK:
    case CONFIG_KIND_LIST: break;
    }
    return true;
}

static bool block_has_value(const struct config_block *b, const void *value)
{
    for (size_t i = 0; i < b->n_rows; i++)
        if (row_has_value(&b->rows[i], config_field(value, b->rows[i].offset)))
            return true;
    return false;
}

/* ---- rows ---- */

/* NOLINTBEGIN(misc-no-recursion): as deep as the row tables, no input adds to it */
static void inner_print(struct printer *p, const struct config_block *b, const void *value,
                        unsigned indent)
{
    if (!block_has_value(b, value)) {
        buf_text(p->out, " {}\n");
        return;
    }
    buf_char(p->out, '\n');
    block_print(p, b, value, indent + 2);
}

static void blocks_print(struct printer *p, const struct config_row *row, const void *value,
                         unsigned indent)
{
    const char *v = config_pointer_get(config_field(value, row->offset));
    size_t n = *(const size_t *)config_field(value, row->count_offset);

    buf_text(p->out, n ? "\n" : " []\n");
    for (size_t i = 0; i < n; i++, v += row->block->size) {
        if (block_has_value(row->block, v)) {
            p->dash = true;
            block_print(p, row->block, v, indent + 4);
        } else {
            spaces(p, indent + 2);
            buf_text(p->out, "- {}\n");
        }
    }
}

static void value_print(struct printer *p, const struct config_row *row, const void *field,
                        unsigned indent)
{
    if (config_kind_is_text(row->kind))
        buf_char(p->out, ' ');
    switch (row->kind) {
    case CONFIG_KIND_BOOL: buf_text(p->out, *(const bool *)field ? "true" : "false"); break;
    case CONFIG_KIND_COUNT:
    case CONFIG_KIND_SIZE:
    case CONFIG_KIND_DURATION: number_print(p, row, field); break;
    case CONFIG_KIND_ENUM:
        buf_text(p->out, config_name_of(row->names, config_integer_get(field, row->size)));
        break;
    case CONFIG_KIND_STRING:
    case CONFIG_KIND_PATH: text_print(p, row, config_pointer_get(field)); break;
    case CONFIG_KIND_ADDRESS:
    case CONFIG_KIND_UPSTREAM: address_print(p, row, field); break;
    case CONFIG_KIND_SET: set_print(p, row, config_integer_get(field, row->size)); break;
    case CONFIG_KIND_STRINGS:
    case CONFIG_KIND_PATHS:
    case CONFIG_KIND_CIDRS: list_print(p, row, field); break;
    case CONFIG_KIND_MAP: map_print(p, row, field, indent); break;
    case CONFIG_KIND_BLOCK:
    case CONFIG_KIND_OPTIONAL:
    case CONFIG_KIND_LIST: break; /* row_print() */
    }
    buf_char(p->out, '\n');
}

static void row_print(struct printer *p, const struct config_row *row, const void *value,
                      unsigned indent)
{
    const void *field = config_field(value, row->offset);

    comment_print(p, row, indent);
    if (!row_has_value(row, field)) {
        spaces(p, indent);
        buf_fmt(p->out, "# %s: (not set)\n", row->name);
        return;
    }
    key_print(p, indent, row->name);
    if (row->kind == CONFIG_KIND_BLOCK)
        inner_print(p, row->block, field, indent);
    else if (row->kind == CONFIG_KIND_OPTIONAL)
        inner_print(p, row->block, config_pointer_get(field), indent);
    else if (row->kind == CONFIG_KIND_LIST)
        blocks_print(p, row, value, indent);
    else
        value_print(p, row, field, indent);
}

static void block_print(struct printer *p, const struct config_block *b, const void *value,
                        unsigned indent)
{
    for (size_t i = 0; i < b->n_rows; i++)
        row_print(p, &b->rows[i], value, indent);
}

/* NOLINTEND(misc-no-recursion) */

void config_print(const struct config_block *block, const void *value, unsigned flags,
                  struct buf *out)
{
    struct printer p = {.out = out, .flags = flags};

    block_print(&p, block, value, 0);
}

void config_row_print(const struct config_row *row, const void *value, unsigned flags,
                      struct buf *out)
{
    struct printer p = {.out = out, .flags = flags};

    row_print(&p, row, value, 0);
}
