/* SPDX-License-Identifier: Apache-2.0 */
/* print_postscript.c - names in PostScript that reach for the device, and its pages (PostScript
 * Language Reference, third edition, 3.2; Document Structuring Conventions 3.0).
 *
 * What looks like a string or a comment may be data that a program takes away, and on some channels
 * ^D ends a job even there. So where something may end after all, the text is followed in several
 * readings at once: in code, in a comment, in ASCII85, and in strings that began at different
 * places. What is code in any of them counts. Text that is code in none of them, and may have ended
 * after all, is read once more, as words: there nothing but names between delimiters counts. */
#include "worker/print_ps_names.h"

#define STRING_MAX  65535u /* of the language, and of most interpreters */
#define STRINGS_MAX 64u    /* that may be open at once, each in a reading of its own */

struct ps_string {
    const char *at; /* its parenthesis */
    size_t level;   /* outside of it */
};

struct ps {
    struct ps_names names;
    const char *begin, *p, *end;
    /* The readings that there are; the string that began last at the end. */
    bool code, comment, ascii85;
    struct ps_string strings[STRINGS_MAX];
    size_t n_strings;
    size_t level;              /* of parentheses in strings; turns over */
    bool escaped;              /* in strings: a backslash stands before |p| */
    const char *dark;          /* since here no reading was in code or in a comment */
    bool words;                /* names alone count */
    uint32_t claimed, counted; /* pages: %%Pages, and how many %%Page */
    unsigned inner;            /* documents within the document */
};

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

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r' || c == '\f';
}

static bool is_line_start(const struct ps *l, const char *p)
{
    return p == l->begin || is_line_end(p[-1]) || p[-1] == '\x04';
}

static struct span rest_of(const struct ps *l)
{
    return (struct span){l->p, (size_t)(l->end - l->p)};
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

/* |rest|: behind a backslash. */
static void take_escape(struct span *rest, struct ps_head *h)
{
    static const char names[] = "nrtbf", bytes[] = "\n\r\t\b\f";
    unsigned v = 0;
    size_t n = 0;

    for (; n < 3 && n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '7'; n++)
        v = v * 8 + (unsigned)(rest->p[n] - '0');
    if (n) {
        head_add(h, (char)v);
    } else if (rest->n) {
        char c = rest->p[n++];
        const char *name = memchr(names, c, sizeof names - 1);

        if (name)
            head_add(h, bytes[name - names]);
        else if (c == '\r' && rest->n > 1 && rest->p[1] == '\n')
            n++; /* the line goes on */
        else if (c != '\n' && c != '\r')
            head_add(h, c);
    }
    *rest = span_sub(*rest, n, SIZE_MAX);
}

static void close_string(struct ps *l, const char *end)
{
    const char *at = l->strings[--l->n_strings].at;
    struct span rest = {at + 1, (size_t)(end - at - 1)};
    struct ps_head head = {.n = 0};

    while (rest.n && head.n < sizeof head.bytes) {
        char c = rest.p[0];

        rest = span_sub(rest, 1, SIZE_MAX);
        if (c == '\\')
            take_escape(&rest, &head);
        else
            head_add(&head, c);
    }
    string_end(l, &head, at);
    l->code = true;
}

/* In words: perhaps the beginning of a string, of which the rest is read as words. */
static void take_paren(struct ps *l)
{
    const char *at = l->p++;

    ps_names_string(&l->names, span_sub(rest_of(l), 0, PS_HEAD_MAX), at);
}

/* In code a backslash before a parenthesis means nothing: for this reading one more is open, for
 * those in strings none is. Where there are too many readings, all that follows is words. */
static void open_string(struct ps *l)
{
    if (l->n_strings == STRINGS_MAX) {
        l->words = true;
        take_paren(l);
        return;
    }
    if (l->escaped) {
        for (size_t i = 0; i < l->n_strings; i++)
            l->strings[i].level++;
        l->level++;
    }
    l->strings[l->n_strings++] = (struct ps_string){.at = l->p++, .level = l->level - l->escaped};
    l->code = false;
}

static bool is_ascii85(char c)
{
    return is_space(c) || (c >= '!' && c <= 'u') || c == 'z';
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
    if (next == '<') {
        ps_names_push(&l->names, PS_OTHER);
    } else if (next == '~') {
        l->ascii85 = true;
        l->code = false;
    } else {
        take_hex(l, at);
    }
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
}

static void take_comment(struct ps *l)
{
    struct span line = {l->p++, 0};

    l->code = false;
    l->comment = true;
    if (l->p == l->end || *l->p != '%' || !is_line_start(l, line.p))
        return;
    while (line.p + line.n < l->end && !is_line_end(line.p[line.n]))
        line.n++;
    structure(l, line);
}

/* ---- the reading in code ---- */

static void take_delimiter(struct ps *l)
{
    char c = *l->p;

    if (c == '/') {
        take_literal(l);
    } else if (c == '(' && l->words) {
        take_paren(l);
    } else if (c == '(') {
        open_string(l);
    } else if (c == '<' && !l->words) {
        take_angle(l);
    } else if (c == '%' && !l->words) {
        take_comment(l);
    } else {
        l->p++;
        ps_names_push(&l->names, c == '}' ? PS_SEEN : PS_OTHER);
    }
}

static void take_token(struct ps *l)
{
    switch (class_of(*l->p)) {
    case SPACE: l->p++; break;
    case REGULAR: ps_names_name(&l->names, take_regular(l)); break;
    case DELIMITER: take_delimiter(l); break;
    }
}

/* What lies in the dark. */
static void read_words(struct ps *l)
{
    const char *to = l->p;

    l->words = true;
    for (l->p = l->dark; l->p < to;)
        take_token(l);
    l->words = false;
    l->p = to;
    l->dark = to;
}

/* ---- the other readings ---- */

/* They go over what is passed since |from|; a parenthesis is that alone. */
static void follow(struct ps *l, const char *from)
{
    for (; from < l->p; from++) {
        bool escaped = l->escaped;

        l->escaped = *from == '\\' && !escaped;
        if (is_line_end(*from)) {
            l->code |= l->comment;
            l->comment = false;
        } else if (*from == '(' && !escaped) {
            l->level++;
        } else if (*from == ')' && !escaped) {
            l->level--;
            while (l->n_strings && l->strings[l->n_strings - 1].level == l->level)
                close_string(l, from);
        }
    }
}

/* At the end of ASCII85, or at what does not belong into it; either way it has ended. */
static bool ends_ascii85(struct ps *l, bool mark)
{
    if (!l->ascii85 || (!mark && is_ascii85(*l->p)))
        return false;
    l->ascii85 = false;
    if (mark && l->n_strings == 0)
        l->dark = l->p; /* it was nothing else */
    return true;
}

/* Whatever is open may have ended here: data of a filter with "~>", announced data with an %%End,
 * a job with ^D; some printers begin at %! and pass over what stands before it. And few
 * interpreters take a string that is so long. */
static void perhaps_end(struct ps *l)
{
    bool mark = span_starts(rest_of(l), SPAN("~>")), ended = ends_ascii85(l, mark);

    if (l->code)
        return;
    ended |= mark || *l->p == '\x04' || l->p - l->dark > (ptrdiff_t)STRING_MAX;
    ended |= span_starts(rest_of(l), SPAN("%!")) && is_line_start(l, l->p);
    if (!ended && !span_starts(rest_of(l), SPAN("%%End")))
        return;
    read_words(l);
    l->code = true;
}

uint32_t print_postscript(struct print_scan *s, struct span text)
{
    struct ps l = {.names.scan = s,
                   .begin = text.p,
                   .p = text.p,
                   .end = text.p + text.n,
                   .code = true,
                   .dark = text.p};

    while (l.p < l.end) {
        const char *from = l.p;

        perhaps_end(&l);
        if (l.code)
            take_token(&l);
        else
            l.p++;
        follow(&l, from);
        if (l.code || l.comment)
            l.dark = l.p;
    }
    read_words(&l);
    return l.claimed > l.counted ? l.claimed : l.counted;
}
