/* SPDX-License-Identifier: Apache-2.0 */
/* config_man.c - the rows as a manual: mdoc(7) for sallyport.yaml(5), Markdown for the guide.
 * Recursion follows the row tables, as in config_rows.c. */
#include <string.h>

#include "base/utf8.h"
#include "config/config_int.h"

#define LINE_MAX 78u

/* The way down to a block: "engines.yara". */
struct section {
    const struct section *up;
    const char *name;
};

static void section_print(const struct section *s, struct buf *out)
{
    const char *names[CONFIG_DEPTH_MAX];
    size_t n = 0;

    for (; s && s->name && n < ARRAY_LEN(names); s = s->up)
        names[n++] = s->name;
    while (n--) {
        buf_text(out, names[n]);
        if (n)
            buf_char(out, '.');
    }
}

static bool row_has_section(const struct config_row *row)
{
    return row->block && row->block->n_rows;
}

/* ---- mdoc ---- */

/* mandoc_char(7): the bytes that roff would read as something else. */
static void roff_char(struct buf *out, struct span c)
{
    switch (c.p[0]) {
    case '\\': buf_text(out, "\\e"); break;
    case '"': buf_text(out, "\\(dq"); break;
    case '\'': buf_text(out, "\\(aq"); break;
    case '`': buf_text(out, "\\(ga"); break;
    case '^': buf_text(out, "\\(ha"); break;
    case '~': buf_text(out, "\\(ti"); break;
    case '\n':
    case '\t': buf_char(out, ' '); break;
    default: buf_add(out, c); break;
    }
}

static void roff_text(struct buf *out, struct span s)
{
    while (s.n) {
        size_t n = utf8_len(s);

        n = n ? n : 1;
        roff_char(out, span_sub(s, 0, n));
        s = span_sub(s, n, SIZE_MAX);
    }
}

/* Words of |s| in lines that are not too long; a new sentence begins a new line, as mdoc wants. A
 * line must not begin with a dot, which would make it a request (quotes become \(aq anyway). */
static void roff_prose(struct buf *out, struct span s)
{
    size_t column = 0;
    bool sentence = false;

    while (s.p && s.n) {
        struct span word = span_cut(&s, ' ');

        if (word.n == 0)
            continue;
        if (column && (sentence || column + 1 + word.n > LINE_MAX)) {
            buf_char(out, '\n');
            column = 0;
        }
        if (column)
            buf_char(out, ' ');
        else if (word.p[0] == '.')
            buf_text(out, "\\&");
        roff_text(out, word);
        column += word.n + (column > 0);
        sentence = strchr(".!?", word.p[word.n - 1]) != NULL;
    }
    if (column)
        buf_text(out, sentence ? "\n" : ".\n");
}

/* Help is a phrase in the row and a sentence in the manual; one that begins by explaining a value
 * ("echo: ...") begins with the value as it is written. */
static void roff_sentence(struct buf *out, struct span s)
{
    size_t at = out->n, space = span_find(s, ' ');
    bool is_value = space > 0 && space < s.n && s.p[space - 1] == ':';

    roff_prose(out, s);
    if (!is_value && !out->err && at < out->n && out->p[at] >= 'a' && out->p[at] <= 'z')
        out->p[at] = (char)(out->p[at] - 'a' + 'A');
}

/* One argument of a macro: quoted, and never a macro's name or a delimiter. */
static void roff_arg(struct buf *out, struct span s)
{
    buf_text(out, " \"\\&");
    roff_text(out, s);
    buf_char(out, '"');
}

static void man_words(struct buf *out, const char *lead, const struct config_names *names)
{
    buf_text(out, lead);
    for (size_t i = 0; i < names->n; i++) {
        buf_text(out, "\n.Cm");
        roff_arg(out, span_of(names->v[i].name));
        buf_text(out, i + 1 < names->n ? " ," : " .\n");
    }
}

static void man_range(struct buf *out, const struct config_row *row)
{
    char room[160];
    struct writer w = writer_of(room, sizeof room);

    config_limits_format(row, &w);
    if (w.n) {
        buf_text(out, "Value: ");
        roff_prose(out, writer_span(&w));
    }
    if (row->zero) {
        buf_text(out, w.n ? "Or\n.Cm" : "May be\n.Cm");
        roff_arg(out, span_of(row->zero));
        buf_text(out, " .\n");
    }
}

/* Without one in the row: what a zeroed field means. NULL: nothing at all. */
static const char *default_text(const struct config_row *row)
{
    if (row->fallback || row->required)
        return row->fallback;
    if (config_kind_is_number(row->kind))
        return row->zero ? row->zero : "0";
    if (row->kind == CONFIG_KIND_ENUM)
        return config_name_of(row->names, 0);
    return row->kind == CONFIG_KIND_BOOL ? "false" : NULL;
}

static void man_default(struct buf *out, const struct config_row *row)
{
    const char *text = default_text(row);

    if (text) {
        buf_text(out, "Default:\n.Ql");
        roff_arg(out, span_of(text));
        buf_text(out, " .\n");
    }
    if (row->required)
        buf_text(out, "Required.\n");
}

static void man_notes(struct buf *out, const struct config_row *row)
{
    if (row->unique)
        buf_fmt(out, "Each element has another\n.Ic \"\\&%s\" .\n", row->unique);
    if (row->restart)
        buf_text(out, "A change starts a new generation of the gateway.\n");
    if (row->secret)
        buf_text(out, "The value is a secret and is never shown.\n");
    if (row->deprecated) {
        buf_text(out, "Deprecated: ");
        roff_prose(out, span_of(row->deprecated));
    }
}

/* ".Sx" or ".Ss" with the name of the section. */
static void man_section(struct buf *out, const char *macro, const struct section *s)
{
    struct buf name;

    buf_init(&name, 0);
    section_print(s, &name);
    buf_text(out, macro);
    roff_arg(out, buf_span(&name));
    if (name.err)
        out->err = name.err;
    buf_done(&name);
}

static void man_row(struct buf *out, const struct section *s, const struct config_row *row)
{
    const struct section inner = {s, row->name};

    buf_text(out, ".It Ic");
    roff_arg(out, span_of(row->name));
    buf_text(out, " : Ar");
    roff_arg(out, span_of(config_kind_text(row)));
    buf_char(out, '\n');
    if (row->help)
        roff_sentence(out, span_of(row->help));
    if (row->keys)
        man_words(out, "Keys:", row->keys);
    if (row->names)
        man_words(out, row->keys ? "Values:" : "One of", row->names);
    man_range(out, row);
    man_default(out, row);
    man_notes(out, row);
    if (row_has_section(row)) {
        man_section(out, "See\n.Sx", &inner);
        buf_text(out, " .\n");
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the row tables, no input adds to it */
static void man_block(struct buf *out, const struct section *s, const struct config_block *b)
{
    if (s) {
        man_section(out, ".Ss", s);
        buf_char(out, '\n');
    }
    if (b->help)
        roff_sentence(out, span_of(b->help));
    buf_text(out, ".Bl -tag -width Ds\n");
    for (size_t i = 0; i < b->n_rows; i++)
        man_row(out, s, &b->rows[i]);
    buf_text(out, ".El\n");
    for (size_t i = 0; i < b->n_rows; i++) {
        const struct section inner = {s, b->rows[i].name};

        if (row_has_section(&b->rows[i]))
            man_block(out, &inner, b->rows[i].block);
    }
}

void config_man(const struct config_block *block, struct buf *out)
{
    man_block(out, NULL, block);
}

/* ---- Markdown ---- */

static void cell_print(struct buf *out, struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '|' || s.p[i] == '\\' || s.p[i] == '*' || s.p[i] == '<')
            buf_char(out, '\\');
        buf_add(out, s.p[i] == '\n' ? SPAN(" ") : span_sub(s, i, 1));
    }
}

static void markdown_type(struct buf *out, const struct config_row *row)
{
    char room[160];
    struct writer w = writer_of(room, sizeof room);

    cell_print(out, span_of(config_kind_text(row)));
    for (size_t i = 0; row->names && i < row->names->n; i++)
        buf_fmt(out, "%s `%s`", i ? "," : ":", row->names->v[i].name);
    config_limits_format(row, &w);
    if (w.n)
        buf_fmt(out, ", " SPAN_FMT, SPAN_ARG(writer_span(&w)));
    if (row->zero)
        buf_fmt(out, " or `%s`", row->zero);
}

static void markdown_row(struct buf *out, const struct config_row *row)
{
    buf_fmt(out, "| `%s` | ", row->name);
    markdown_type(out, row);
    buf_text(out, " | ");
    if (row->required)
        buf_text(out, "required");
    else if (default_text(row))
        buf_fmt(out, "`%s`", default_text(row));
    buf_text(out, " | ");
    cell_print(out, span_of(row->help));
    if (row->restart)
        buf_text(out, " (new generation)");
    buf_text(out, " |\n");
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the row tables, no input adds to it */
static void markdown_block(struct buf *out, const struct section *s, const struct config_block *b)
{
    if (s) {
        buf_text(out, "\n### ");
        section_print(s, out);
        buf_text(out, "\n\n");
    }
    if (b->help)
        buf_fmt(out, "%s\n\n", b->help);
    buf_text(out, "| key | value | default | what it does |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < b->n_rows; i++)
        markdown_row(out, &b->rows[i]);
    for (size_t i = 0; i < b->n_rows; i++) {
        const struct section inner = {s, b->rows[i].name};

        if (row_has_section(&b->rows[i]))
            markdown_block(out, &inner, b->rows[i].block);
    }
}

void config_markdown(const struct config_block *block, struct buf *out)
{
    markdown_block(out, NULL, block);
}
