/* SPDX-License-Identifier: Apache-2.0 */
/* print_postscript.c - names in PostScript that reach for the device, and its pages (PostScript
 * Language Reference, third edition, 3.2; Document Structuring Conventions 3.0).
 *
 * Data that is announced as binary is read like everything else, since a printer does so when no
 * program takes it away, but nothing that begins in it goes on behind it. What seemed a string and
 * is none (inline data holds parentheses, too) is read once more from its beginning, as words:
 * there nothing but names between delimiters counts. So each byte is read twice at most. */
#include "worker/print_ps_names.h"

#define STRING_MAX 65535u /* of the language, and of most interpreters */

struct ps {
    struct ps_names names;
    const char *begin, *p;
    const char *end; /* of the text, or of the data within it */
    const char *text_end;
    const char *words_end;     /* up to here words alone count */
    uint32_t claimed, counted; /* pages: %%Pages, and how many %%Page */
    unsigned inner;            /* documents within the document */
};

static bool in_words(const struct ps *l)
{
    return l->p < l->words_end;
}

/* ---- characters ---- */

enum ps_class { REGULAR, SPACE, DELIMITER };

/* 3.2.2, and ^D, which ends a job where it is seen. */
static enum ps_class class_of(char c)
{
    switch (c) {
    case '\0':
    case '\t':
    case '\n':
    case '\f':
    case '\r':
    case ' ':
    case '\x04': return SPACE;
    case '(':
    case ')':
    case '<':
    case '>':
    case '[':
    case ']':
    case '{':
    case '}':
    case '/':
    case '%': return DELIMITER;
    default: return REGULAR;
    }
}

static bool is_space(char c)
{
    return class_of(c) == SPACE;
}

static struct span rest_of(const struct ps *l)
{
    return (struct span){l->p, (size_t)(l->end - l->p)};
}

/* What was taken for a string from |from| on is none. */
static void doubt(struct ps *l, const char *from)
{
    l->words_end = l->p;
    l->p = from;
}

/* ---- names ---- */

static struct span take_regular(struct ps *l)
{
    struct span name = {l->p, 0};

    while (l->p < l->end && class_of(*l->p) == REGULAR)
        l->p++;
    name.n = (size_t)(l->p - name.p);
    return name;
}

/* /name stays a name; //name is what it stands for, at once. */
static void take_literal(struct ps *l)
{
    l->p++;
    if (l->p < l->end && *l->p == '/') {
        l->p++;
        ps_names_name(&l->names, take_regular(l));
    } else {
        ps_names_literal(&l->names, take_regular(l));
    }
}

/* ---- strings ---- */

struct ps_head {
    char bytes[PS_HEAD_MAX];
    size_t n;
};

static void head_add(struct ps_head *h, char c)
{
    if (h->n < sizeof h->bytes)
        h->bytes[h->n++] = c;
}

static void string_end(struct ps *l, const struct ps_head *h, const char *at)
{
    ps_names_string(&l->names, (struct span){h->bytes, h->n}, at);
}

/* Behind a backslash. */
static void take_escape(struct ps *l, struct ps_head *h)
{
    static const char names[] = "nrtbf", bytes[] = "\n\r\t\b\f";
    const char *name;
    unsigned v = 0, n = 0;

    if (l->p == l->end)
        return;
    for (; n < 3 && l->p < l->end && *l->p >= '0' && *l->p <= '7'; n++)
        v = v * 8 + (unsigned)(*l->p++ - '0');
    if (n) {
        head_add(h, (char)v);
        return;
    }
    name = memchr(names, *l->p, sizeof names - 1);
    if (name)
        head_add(h, bytes[name - names]);
    else if (*l->p == '\r' && l->end - l->p > 1 && l->p[1] == '\n')
        l->p++; /* the line goes on */
    else if (*l->p != '\n' && *l->p != '\r')
        head_add(h, *l->p);
    l->p++;
}

/* Where "~>" comes by, ASCII85 data of a filter has ended, and what looked like a string was it. */
static void take_string(struct ps *l)
{
    const char *at = l->p++;
    struct ps_head head = {.n = 0};
    unsigned depth = 1;
    bool data = false;

    while (l->p < l->end && depth && !data && l->p - at <= (ptrdiff_t)STRING_MAX) {
        char c = *l->p++;

        depth += c == '(';
        depth -= c == ')';
        data = c == '~' && l->p < l->end && *l->p == '>';
        if (c == '\\')
            take_escape(l, &head);
        else if (depth)
            head_add(&head, c);
    }
    if (depth)
        doubt(l, at + 1);
    else
        string_end(l, &head, at);
}

/* Behind "<~": base-85 digits and blanks. */
static void take_ascii85(struct ps *l)
{
    const char *from = l->p;

    while (l->p < l->end && (is_space(*l->p) || (*l->p >= '!' && *l->p <= 'u') || *l->p == 'z'))
        l->p++;
    if (span_starts(rest_of(l), SPAN("~>"))) {
        l->p += 2;
        ps_names_push(&l->names, PS_UNSEEN);
    } else {
        doubt(l, from);
    }
}

/* Behind "<". What ends in something else is none. */
static void take_hex(struct ps *l, const char *at)
{
    struct ps_head head = {.n = 0};
    int high = -1;

    for (; l->p < l->end && (is_space(*l->p) || char_hex(*l->p) >= 0); l->p++) {
        int digit = char_hex(*l->p);

        if (digit < 0)
            continue;
        if (high < 0) {
            high = digit;
        } else {
            head_add(&head, (char)(high << 4 | digit));
            high = -1;
        }
    }
    if (l->p == l->end || *l->p != '>') {
        l->p = at + 1; /* once more, as names */
        return;
    }
    l->p++;
    if (high >= 0)
        head_add(&head, (char)(high << 4));
    string_end(l, &head, at);
}

static void take_angle(struct ps *l)
{
    const char *at = l->p++;
    char next = l->p < l->end ? *l->p : '\0';

    if (next == '<' || next == '~')
        l->p++;
    if (next == '<')
        ps_names_push(&l->names, PS_OTHER);
    else if (next == '~')
        take_ascii85(l);
    else
        take_hex(l, at);
}

/* ---- comments ---- */

static struct span next_word(struct span *rest)
{
    struct span word;
    size_t n = 0;

    while (n < rest->n && (rest->p[n] == ' ' || rest->p[n] == '\t'))
        n++;
    *rest = span_sub(*rest, n, SIZE_MAX);
    for (n = 0; n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t';)
        n++;
    word = span_sub(*rest, 0, n);
    *rest = span_sub(*rest, n, SIZE_MAX);
    return word;
}

/* |rest|: what follows "%%BeginBinary:" (bytes) or "%%BeginData:" (number, type, unit). Only what
 * ends where it is said to, at an %%End, is data. Lines are text, which is read as code. */
static void begin_data(struct ps *l, struct span rest)
{
    struct span count = next_word(&rest), tail = rest_of(l);
    uint64_t n = 0;

    (void)next_word(&rest);
    if (span_u64(count, tail.n, &n) != OK || span_istarts(next_word(&rest), SPAN("Line")))
        return;
    tail = span_sub(tail, (size_t)n, SIZE_MAX);
    for (unsigned i = 0; i < 2 && tail.n && (tail.p[0] == '\r' || tail.p[0] == '\n'); i++)
        tail = span_sub(tail, 1, SIZE_MAX);
    if (span_starts(tail, SPAN("%%End")))
        l->end = l->p + n;
}

static void claim_pages(struct ps *l, struct span rest)
{
    uint64_t n;

    if (span_u64(next_word(&rest), UINT32_MAX, &n) == OK && n > l->claimed && !l->inner)
        l->claimed = (uint32_t)n;
}

/* Its value, when |line| is the comment |key|. */
static bool is_comment(struct span line, struct span key, struct span *ret_value)
{
    *ret_value = span_sub(line, key.n, SIZE_MAX);
    return span_starts(line, key);
}

static void structure(struct ps *l, struct span line)
{
    struct span value;

    if (is_comment(line, SPAN("%%Pages:"), &value))
        claim_pages(l, value);
    else if (is_comment(line, SPAN("%%Page:"), &value))
        l->counted = print_add(l->counted, l->inner == 0);
    else if (is_comment(line, SPAN("%%BeginDocument"), &value))
        l->inner += l->inner < UINT32_MAX;
    else if (is_comment(line, SPAN("%%EndDocument"), &value))
        l->inner -= l->inner > 0;
    else if (l->end == l->text_end && (is_comment(line, SPAN("%%BeginBinary:"), &value) ||
                                       is_comment(line, SPAN("%%BeginData:"), &value)))
        begin_data(l, value);
}

static void take_comment(struct ps *l)
{
    struct span line = {l->p, 0};
    bool first = line.p == l->begin || line.p[-1] == '\n' || line.p[-1] == '\r';

    while (l->p < l->end && *l->p != '\n' && *l->p != '\r' && *l->p != '\f')
        l->p++;
    line.n = (size_t)(l->p - line.p);
    if (l->end - l->p > 1 && l->p[0] == '\r' && l->p[1] == '\n')
        l->p++;
    if (l->p < l->end)
        l->p++;
    if (first && line.n > 2 && line.p[1] == '%')
        structure(l, line);
}

/* ---- all of it ---- */

/* In words: perhaps the beginning of a string, of which the rest is read as words. */
static void take_paren(struct ps *l)
{
    const char *at = l->p++;

    ps_names_string(&l->names, span_sub(rest_of(l), 0, PS_HEAD_MAX), at);
}

static void take_delimiter(struct ps *l)
{
    bool words = in_words(l);
    char c = *l->p;

    if (c == '/') {
        take_literal(l);
    } else if (c == '(' && words) {
        take_paren(l);
    } else if (c == '(') {
        take_string(l);
    } else if (c == '<' && !words) {
        take_angle(l);
    } else if (c == '%' && !words) {
        take_comment(l);
    } else {
        l->p++;
        ps_names_push(&l->names, c == '}' ? PS_SEEN : PS_OTHER);
    }
}

uint32_t print_postscript(struct print_scan *s, struct span text)
{
    struct ps l = {.names.scan = s,
                   .begin = text.p,
                   .p = text.p,
                   .end = text.p + text.n,
                   .text_end = text.p + text.n,
                   .words_end = text.p};

    while (l.p < l.text_end) {
        if (l.p == l.end)
            l.end = l.text_end;
        switch (class_of(*l.p)) {
        case SPACE: l.p++; break;
        case REGULAR: ps_names_name(&l.names, take_regular(&l)); break;
        case DELIMITER: take_delimiter(&l); break;
        }
    }
    return l.claimed > l.counted ? l.claimed : l.counted;
}
