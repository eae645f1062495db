/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "config/config_int.h"

#define REPORT_MEMORY_MAX ((size_t)64 * 1024 * 1024)
#define TEXT_MAX          1024u
#define QUOTE_MAX         60u /* bytes of a value that a complaint shows */
#define WORD_MAX          40u /* longer words get no suggestion */

void config_report_init(struct config_report *r)
{
    *r = (struct config_report){.file = "config"};
    arena_init(&r->mem, REPORT_MEMORY_MAX);
}

void config_report_done(struct config_report *r)
{
    arena_done(&r->mem);
    *r = (struct config_report){.file = "config"};
    arena_init(&r->mem, REPORT_MEMORY_MAX);
}

struct arena *config_report_arena(struct config_report *r)
{
    return r->out;
}

/* ---- texts ---- */

/* Text from the file as it may be shown to a terminal: control characters and broken bytes become
 * \xNN. */
static void write_clean(struct writer *w, struct span s)
{
    while (s.n) {
        size_t n = utf8_len(s);
        unsigned char c = (unsigned char)s.p[0];
        /* U+0080..U+009F are control characters too: 0xc2 and a byte below 0xa0 */
        bool c1 = n == 2 && c == 0xc2 && (unsigned char)s.p[1] < 0xa0;

        if (n == 0 || c < 0x20 || c == 0x7f || c1) {
            n = n ? n : 1;
            for (size_t i = 0; i < n; i++)
                write_fmt(w, "\\x%02x", (unsigned)(unsigned char)s.p[i]);
        } else {
            write_span(w, span_sub(s, 0, n));
        }
        s = span_sub(s, n, SIZE_MAX);
    }
}

static const char *report_text(struct config_report *r, const struct writer *w)
{
    const char *text = arena_text(&r->mem, writer_span(w));

    return text ? text : "(no memory for this text)";
}

const char *config_quote(struct config_report *r, struct span text)
{
    char room[QUOTE_MAX * 4 + 8]; /* a byte becomes at most four */
    struct writer w = writer_of(room, sizeof room);
    size_t n = 0;

    if (r->n == CONFIG_ERRORS_MAX) /* nobody will read it */
        return "";
    while (n < text.n) {
        size_t one = utf8_len(span_sub(text, n, SIZE_MAX));

        one = one ? one : 1;
        if (n + one > QUOTE_MAX)
            break;
        n += one;
    }
    write_text(&w, "'");
    write_clean(&w, span_sub(text, 0, n));
    write_text(&w, n < text.n ? "...'" : "'");
    return report_text(r, &w);
}

/* The password of a URI (RFC 3986 3.2.1) belongs in no complaint, and in no log; empty: there is
 * none. */
static struct span password_in(struct span text)
{
    size_t at = 0, end;

    while (at + 3 <= text.n && !span_starts(span_sub(text, at, SIZE_MAX), SPAN("://")))
        at++;
    struct span rest = span_sub(text, at + 3, SIZE_MAX);

    for (end = rest.n; end > 0 && rest.p[end - 1] != '@'; end--) {
    }
    struct span user = span_sub(rest, 0, end ? end - 1 : 0);
    size_t colon = span_find(user, ':');

    return colon < user.n ? span_sub(user, colon + 1, SIZE_MAX) : SPAN_NONE;
}

static const char *quote_value(struct config_report *r, struct span text)
{
    struct span secret = password_in(text);
    struct buf shown;

    if (secret.n == 0)
        return config_quote(r, text);
    buf_init(&shown, 0);
    buf_add(&shown, span_sub(text, 0, (size_t)(secret.p - text.p)));
    buf_text(&shown, "***");
    buf_add(&shown, span_sub(text, (size_t)(secret.p - text.p) + secret.n, SIZE_MAX));
    const char *quoted = shown.err ? "something else" : config_quote(r, buf_span(&shown));

    buf_done(&shown);
    return quoted;
}

const char *config_got(struct config_report *r, const struct config_node *n)
{
    switch (n->kind) {
    case CONFIG_NODE_LIST: return "a list";
    case CONFIG_NODE_MAPPING: return "a mapping";
    case CONFIG_NODE_TEXT: break;
    }
    return config_node_is_empty(n) ? "no value" : quote_value(r, n->text);
}

PRINTF(5, 0)
static void report_add(struct config_report *r, unsigned line, unsigned column, bool warning,
                       const char *fmt, va_list ap)
{
    char raw[TEXT_MAX], clean[TEXT_MAX * 4 + 1];
    struct writer w = writer_of(clean, sizeof clean);
    struct config_error *e;
    int n;

    if (warning)
        r->n_warnings++;
    else
        r->n_errors++;
    if (r->n == CONFIG_ERRORS_MAX)
        return;
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): every caller has started it */
    n = vsnprintf(raw, sizeof raw, fmt, ap);
    if (n < 0)
        n = 0;
    if (r->builtin)
        write_text(&w, "built-in default: ");
    write_clean(&w, (struct span){raw, (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1});
    e = &r->v[r->n++];
    *e = (struct config_error){.warning = warning, .text = report_text(r, &w)};
    if (!r->builtin) {
        e->line = line;
        e->column = column;
    }
}

void config_complain_at(struct config_report *r, unsigned line, unsigned column, const char *fmt,
                        ...)
{
    va_list ap;

    va_start(ap, fmt);
    report_add(r, line, column, false, fmt, ap);
    va_end(ap);
}

void config_complain(struct config_report *r, const struct config_node *at, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    report_add(r, at ? at->line : 0, at ? at->column : 0, false, fmt, ap);
    va_end(ap);
}

void config_caution(struct config_report *r, const struct config_node *at, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    report_add(r, at ? at->line : 0, at ? at->column : 0, true, fmt, ap);
    va_end(ap);
}

/* ---- taking back ---- */

struct config_mark config_report_mark(const struct config_report *r)
{
    return (struct config_mark){.n = r->n, .n_errors = r->n_errors};
}

const char *config_report_since(const struct config_report *r, const struct config_mark *mark)
{
    for (size_t i = mark->n; i < r->n; i++)
        if (!r->v[i].warning)
            return r->v[i].text;
    return NULL;
}

void config_report_rewind(struct config_report *r, const struct config_mark *mark)
{
    size_t kept = mark->n;

    for (size_t i = mark->n; i < r->n; i++)
        if (r->v[i].warning)
            r->v[kept++] = r->v[i];
    r->n = kept;
    r->n_errors = mark->n_errors;
}

/* ---- places ---- */

enum err config_place_add(struct config_report *r, const void *value, const struct config_block *b,
                          const struct config_node *node, const struct config_node *near)
{
    struct config_place *p = ARENA_NEW(&r->mem, struct config_place);

    if (!p)
        return ERR_NOMEM;
    *p = (struct config_place){
        .value = value, .block = b, .node = node, .near = near, .next = r->places};
    r->places = p;
    return OK;
}

static bool block_has_key(const struct config_block *b, struct span key)
{
    for (size_t i = 0; i < b->n_rows; i++)
        if (span_eq(span_of(b->rows[i].name), key))
            return true;
    return false;
}

/* The place of |value|. A struct and its first member share an address: then the block whose
 * check() runs wins, and otherwise the outermost that knows the key. */
static const struct config_place *place_find(const struct config_report *r, const void *value,
                                             const char *key)
{
    const struct config_place *found = NULL;
    struct span rest = span_of(key), first = span_cut(&rest, '.');

    for (const struct config_place *p = r->places; p; p = p->next) {
        if (p->value != value || (key && !block_has_key(p->block, first)))
            continue;
        if (p->block == r->checking)
            return p;
        found = p;
    }
    return found;
}

/* Walks down |path| as far as it goes; false when it did not go to the end. */
static bool node_walk(const struct config_node **n, const char *path)
{
    struct span rest = span_of(path);

    while (rest.p) {
        const struct config_node *child = config_node_find(*n, span_cut(&rest, '.'));

        if (!child)
            return false;
        *n = child;
    }
    return true;
}

/* A text is pointed at itself, what spans several lines at its key. */
static const struct config_node *node_mark(const struct config_node *n)
{
    return n && n->kind != CONFIG_NODE_TEXT && n->key ? n->key : n;
}

static const struct config_node *fault_node(const struct config_report *r, const void *block,
                                            const char *key, size_t i)
{
    const struct config_place *p = place_find(r, block, key);
    const struct config_node *n;

    if (!p)
        return NULL;
    n = p->node;
    if (!n)
        return node_mark(p->near);
    if (!node_walk(&n, key) || n->kind != CONFIG_NODE_LIST)
        return node_mark(n);
    for (const struct config_node *c = n->first; c; c = c->next)
        if (i-- == 0)
            return c;
    return node_mark(n);
}

enum err config_fault(struct config_report *r, const void *block, const char *key, const char *fmt,
                      ...)
{
    const struct config_node *at = fault_node(r, block, key, SIZE_MAX);
    va_list ap;

    va_start(ap, fmt);
    report_add(r, at ? at->line : 0, at ? at->column : 0, false, fmt, ap);
    va_end(ap);
    return ERR_CONFIG;
}

enum err config_fault_at(struct config_report *r, const void *block, const char *key, size_t i,
                         const char *fmt, ...)
{
    const struct config_node *at = fault_node(r, block, key, i);
    va_list ap;

    va_start(ap, fmt);
    report_add(r, at ? at->line : 0, at ? at->column : 0, false, fmt, ap);
    va_end(ap);
    return ERR_CONFIG;
}

void config_warn(struct config_report *r, const void *block, const char *key, const char *fmt, ...)
{
    const struct config_node *at = fault_node(r, block, key, SIZE_MAX);
    va_list ap;

    va_start(ap, fmt);
    report_add(r, at ? at->line : 0, at ? at->column : 0, true, fmt, ap);
    va_end(ap);
}

bool config_is_set(const struct config_report *r, const void *block, const char *key)
{
    const struct config_place *p = place_find(r, block, key);
    const struct config_node *n = p ? p->node : NULL;

    return n && node_walk(&n, key);
}

/* ---- printing ---- */

static bool error_before(const struct config_error *a, const struct config_error *b)
{
    return a->line != b->line ? a->line < b->line : a->column < b->column;
}

static void error_print(const struct config_report *r, const struct config_error *e,
                        struct buf *out)
{
    buf_text(out, r->file);
    if (e->line)
        buf_fmt(out, ":%u:%u", e->line, e->column);
    buf_fmt(out, ": %s%s\n", e->warning ? "warning: " : "", e->text);
}

void config_report_print(const struct config_report *r, struct buf *out)
{
    const struct config_error *sorted[CONFIG_ERRORS_MAX];
    size_t all = r->n_errors + r->n_warnings;

    for (size_t i = 0; i < r->n; i++) {
        size_t at = i;

        for (; at && error_before(&r->v[i], sorted[at - 1]); at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = &r->v[i];
    }
    for (size_t i = 0; i < r->n; i++)
        error_print(r, sorted[i], out);
    if (all > r->n)
        buf_fmt(out, "%s: %zu more of them\n", r->file, all - r->n);
}

/* ---- suggestions ---- */

static char word_char(char c)
{
    if (c == '_')
        return '-';
    return char_lower(c);
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Letters to insert, drop, replace or swap with their neighbour (optimal string alignment). Case,
 * and '_' for '-', cost nothing. Both at most WORD_MAX. */
static size_t word_distance(struct span a, struct span b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= b.n; j++)
        last[j] = before[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t *spare = before;

        now[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            char ca = word_char(a.p[i - 1]), cb = word_char(b.p[j - 1]);

            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == word_char(b.p[j - 2]) && word_char(a.p[i - 2]) == cb &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        before = last;
        last = now;
        now = spare;
    }
    return last[b.n];
}

void config_nearest_offer(struct config_nearest *n, const char *word)
{
    struct span w = span_of(word);
    size_t longer = w.n > n->got.n ? w.n : n->got.n;
    size_t distance;

    if (longer > WORD_MAX || n->got.n == 0)
        return;
    distance = word_distance(n->got, w);
    if (distance > longer / 3 || (n->word && distance >= n->distance))
        return;
    n->word = word;
    n->distance = distance;
}

const char *config_nearest_hint(struct config_report *r, const struct config_nearest *n)
{
    char room[WORD_MAX + 32];
    struct writer w = writer_of(room, sizeof room);

    if (!n->word || r->n == CONFIG_ERRORS_MAX)
        return "";
    write_fmt(&w, "; did you mean '%s'?", n->word);
    return report_text(r, &w);
}

const char *config_hint(struct config_report *r, struct span got, const char *const *words,
                        size_t n_words)
{
    struct config_nearest n = {.got = got};

    for (size_t i = 0; i < n_words; i++)
        config_nearest_offer(&n, words[i]);
    return config_nearest_hint(r, &n);
}
