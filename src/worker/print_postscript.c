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

/* What the text comes through. */
enum ps_channel {
    CHANNEL_PLAIN,
    CHANNEL_QUOTED, /* SOH and a character stand for another; some characters it keeps */
    CHANNEL_BCP,    /* ^\, too */
};

struct ps_string {
    const char *at; /* its parenthesis */
    size_t level;   /* outside of it */
};

struct ps {
    struct ps_names names;
    const char *p, *end;
    enum ps_channel channel;
    char last; /* the character before |p| */
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

/* The Tagged Binary Communications Protocol and the untagged one send a character that means
 * something to the channel as SOH and that character with bit 6 turned over, and some receivers do
 * so with any character. */
#define SOH   '\x01'
#define QUOTE '\x40'

/* Means nothing yet, and is reserved; behind SOH a backslash to those who do so with any. */
#define FS '\x1c'

/* What the channel keeps for itself, also behind SOH: interrupts, flow control, questions. */
static bool is_kept(enum ps_channel channel, char c)
{
    return c == '\x03' || c == '\x05' || c == '\x11' || c == '\x13' || c == '\x14' ||
           (c == FS && channel == CHANNEL_BCP);
}

static const char *skip_kept(const struct ps *l, const char *p)
{
    while (p < l->end && is_kept(l->channel, *p))
        p++;
    return p;
}

/* What SOH at |p| belongs to, or |p|: there is no pair. ^D ends the job also behind SOH. */
static const char *partner_of(const struct ps *l, const char *p)
{
    const char *q = p;

    if (*p == SOH)
        q = skip_kept(l, p + 1);
    return q < l->end && *q != '\x04' ? q : p;
}

static char quoted_at(const struct ps *l, const char *p)
{
    const char *q = partner_of(l, p);

    return q == p ? *p : (char)(*q ^ QUOTE);
}

/* The character that begins at |p| < |end|. Most texts are plain: that has to be quick. */
static inline char char_at(const struct ps *l, const char *p)
{
    return l->channel == CHANNEL_PLAIN ? *p : quoted_at(l, p);
}

/* Where the next one begins. */
static inline const char *behind(const struct ps *l, const char *p)
{
    return l->channel == CHANNEL_PLAIN ? p + 1 : skip_kept(l, partner_of(l, p) + 1);
}

static void step(struct ps *l)
{
    l->last = char_at(l, l->p);
    l->p = behind(l, l->p);
}

static bool is_at(const struct ps *l, char c)
{
    return l->p < l->end && char_at(l, l->p) == c;
}

static bool starts(const struct ps *l, struct span s)
{
    const char *p = l->p;

    for (size_t i = 0; i < s.n; i++, p = behind(l, p))
        if (p == l->end || char_at(l, p) != s.p[i])
            return false;
    return true;
}

/* Another one begins behind it. */
static bool ends_line(char c)
{
    return is_line_end(c) || c == '\x04';
}

/* ---- names ---- */

/* The beginning of a name or of a string. */
struct ps_head {
    char bytes[PS_HEAD_MAX];
    size_t n;
};

static void head_add(struct ps_head *h, char c)
{
    if (h->n < sizeof h->bytes)
        h->bytes[h->n++] = c;
}

static struct span head_span(const struct ps_head *h)
{
    return (struct span){h->bytes, h->n};
}

static struct ps_head take_regular(struct ps *l)
{
    struct ps_head name = {.n = 0};

    for (; l->p < l->end && class_of(char_at(l, l->p)) == REGULAR; step(l))
        head_add(&name, char_at(l, l->p));
    return name;
}

static void take_name(struct ps *l)
{
    const char *at = l->p;
    struct ps_head name = take_regular(l);

    ps_names_name(&l->names, head_span(&name), at);
}

/* ---- is a name let go? ---- */

#define LET_GO_MAX 256u /* bytes that are looked at behind it */

/* In every reading the same: neither string nor comment, and nothing that ends one or a job. */
static bool is_plain(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' ||
           (c > ' ' && c <= '~' && !strchr("()<>%~", c));
}

/* The next word, a brace being one; empty where something is not plain, or too far away. */
static struct span plain_word(struct span *rest)
{
    size_t from = 0, to;

    while (from < rest->n && is_plain(rest->p[from]) && is_space(rest->p[from]))
        from++;
    for (to = from; to < rest->n && is_plain(rest->p[to]) && class_of(rest->p[to]) == REGULAR;)
        to++;
    if (to < rest->n && !is_plain(rest->p[to]))
        return SPAN_NONE;
    to += to == from && to < rest->n;
    struct span word = span_sub(*rest, from, to - from);

    *rest = span_sub(*rest, to, SIZE_MAX);
    return word;
}

/* Behind "{": words, "}", perhaps "bind", "def". */
static bool is_defined(struct span *rest)
{
    struct span word;

    do
        word = plain_word(rest);
    while (word.n && word.p[0] != '{' && word.p[0] != '}');
    if (!span_eq(word, SPAN("}")))
        return false;
    word = plain_word(rest);
    if (span_eq(word, SPAN("bind")))
        word = plain_word(rest);
    return span_eq(word, SPAN("def"));
}

/* Behind /name: is it only asked for (known, where), or given a procedure of the document's own? It
 * is gone then, and nothing can take hold of it later. */
static bool is_let_go(const struct ps *l)
{
    struct span all = {l->p, (size_t)(l->end - l->p)}, rest = span_sub(all, 0, LET_GO_MAX);
    struct span word = plain_word(&rest);
    bool gone = span_eq(word, SPAN("known")) || span_eq(word, SPAN("where")) ||
                (span_eq(word, SPAN("{")) && is_defined(&rest));

    return gone && (rest.n || all.n <= LET_GO_MAX); /* else the word may be longer */
}

/* /name stays a name; //name is what it stands for, at once. */
static void take_literal(struct ps *l)
{
    const char *at = l->p;
    struct ps_head name;

    step(l);
    if (is_at(l, '/')) {
        step(l);
        take_name(l);
        return;
    }
    name = take_regular(l);
    if (ps_names_literal(&l->names, head_span(&name), at))
        ps_names_keep(&l->names, is_let_go(l), at);
}

/* ---- strings ---- */

static void string_end(struct ps *l, const struct ps_head *h, const char *at)
{
    ps_names_string(&l->names, head_span(h), at);
}

/* |p|: behind a backslash. Returns what is behind the escape. */
static const char *take_escape(const struct ps *l, const char *p, const char *end,
                               struct ps_head *h)
{
    static const char names[] = "nrtbf", bytes[] = "\n\r\t\b\f";
    unsigned v = 0, n = 0;

    for (; n < 3 && p < end && char_at(l, p) >= '0' && char_at(l, p) <= '7'; n++) {
        v = v * 8 + (unsigned)(char_at(l, p) - '0');
        p = behind(l, p);
    }
    if (n) {
        head_add(h, (char)v);
    } else if (p < end) {
        char c = char_at(l, p);
        const char *name = memchr(names, c, sizeof names - 1);

        p = behind(l, p);
        if (name)
            head_add(h, bytes[name - names]);
        else if (c == '\r' && p < end && char_at(l, p) == '\n')
            p = behind(l, p); /* the line goes on */
        else if (c != '\n' && c != '\r')
            head_add(h, c);
    }
    return p;
}

static void close_string(struct ps *l, const char *end)
{
    const char *at = l->strings[--l->n_strings].at;
    struct ps_head head = {.n = 0};

    for (const char *p = behind(l, at); p < end && head.n < sizeof head.bytes;) {
        char c = char_at(l, p);

        p = behind(l, p);
        if (c == '\\')
            p = take_escape(l, p, end, &head);
        else
            head_add(&head, c);
    }
    string_end(l, &head, at);
    l->code = true;
}

/* In words: perhaps the beginning of a string, of which the rest is read as words. */
static void take_paren(struct ps *l)
{
    const char *at = l->p;
    struct ps_head head = {.n = 0};

    step(l);
    for (const char *p = l->p; p < l->end && head.n < sizeof head.bytes; p = behind(l, p))
        head_add(&head, char_at(l, p));
    string_end(l, &head, at);
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
    l->strings[l->n_strings++] = (struct ps_string){.at = l->p, .level = l->level - l->escaped};
    step(l);
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

    for (; l->p < l->end; step(l)) {
        char c = char_at(l, l->p);
        int digit = char_hex(c);

        if (digit < 0 && !is_space(c))
            break;
        if (digit < 0)
            continue;
        if (high < 0) {
            high = digit;
        } else {
            head_add(&head, (char)(high << 4 | digit));
            high = -1;
        }
    }
    if (!is_at(l, '>')) { /* once more, as names */
        l->p = at;
        step(l);
        return;
    }
    step(l);
    if (high >= 0)
        head_add(&head, (char)(high << 4));
    string_end(l, &head, at);
}

static void take_angle(struct ps *l)
{
    const char *at = l->p;
    char next;

    step(l);
    next = l->p < l->end ? char_at(l, l->p) : '\0';
    if (next == '<' || next == '~')
        step(l);
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

/* A line has no more, by the conventions. */
#define DSC_LINE_MAX 255u

/* Of the line that begins at |p|: it ends wherever another one may begin. */
static void structure_at(struct ps *l, const char *p)
{
    char line[DSC_LINE_MAX];
    size_t n = 0;

    for (; n < sizeof line && p < l->end; p = behind(l, p)) {
        char c = char_at(l, p);

        if (ends_line(c))
            break;
        line[n++] = c;
    }
    structure(l, (struct span){line, n});
}

static void take_comment(struct ps *l)
{
    const char *at = l->p;
    bool first = ends_line(l->last);

    step(l);
    l->code = false;
    l->comment = true;
    if (first && is_at(l, '%'))
        structure_at(l, at);
}

/* ---- the reading in code ---- */

static void take_delimiter(struct ps *l)
{
    char c = char_at(l, l->p);

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
        step(l);
        ps_names_push(&l->names, c == '}' ? PS_SEEN : PS_OTHER);
    }
}

static void take_token(struct ps *l)
{
    switch (class_of(char_at(l, l->p))) {
    case SPACE: step(l); break;
    case REGULAR: take_name(l); break;
    case DELIMITER: take_delimiter(l); break;
    }
}

/* What lies in the dark. */
static void read_words(struct ps *l)
{
    const char *to = l->p;
    char last = l->last;

    l->words = true;
    for (l->p = l->dark; l->p < to;)
        take_token(l);
    l->words = false;
    l->p = to;
    l->last = last;
    l->dark = to;
}

/* ---- the other readings ---- */

/* They go over what is passed since |from|; a parenthesis is that alone. */
static void follow(struct ps *l, const char *from)
{
    for (; from < l->p; from = behind(l, from)) {
        bool escaped = l->escaped;
        char c = char_at(l, from);

        l->escaped = c == '\\' && !escaped;
        if (is_line_end(c)) {
            l->code |= l->comment;
            l->comment = false;
        } else if (c == '(' && !escaped) {
            l->level++;
        } else if (c == ')' && !escaped) {
            l->level--;
            while (l->n_strings && l->strings[l->n_strings - 1].level == l->level)
                close_string(l, from);
        }
    }
}

/* At the end of ASCII85, or at what does not belong into it; either way it has ended. */
static bool ends_ascii85(struct ps *l, bool mark)
{
    if (!l->ascii85 || (!mark && is_ascii85(char_at(l, l->p))))
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
    bool mark = starts(l, SPAN("~>")), ended = ends_ascii85(l, mark);

    if (l->code)
        return;
    ended |= mark || is_at(l, '\x04') || l->p - l->dark > (ptrdiff_t)STRING_MAX;
    ended |= starts(l, SPAN("%!")) && ends_line(l->last);
    if (!ended && !starts(l, SPAN("%%End")))
        return;
    read_words(l);
    l->code = true;
}

/* Returns the pages. */
static uint32_t read_text(struct print_scan *s, struct span text, enum ps_channel channel)
{
    struct ps l = {.names.scan = s,
                   .p = text.p,
                   .end = text.p + text.n,
                   .channel = channel,
                   .last = '\n',
                   .code = true};

    if (channel != CHANNEL_PLAIN)
        l.p = skip_kept(&l, l.p);
    l.dark = l.p;
    while (l.p < l.end) {
        const char *from = l.p;

        perhaps_end(&l);
        if (l.code)
            take_token(&l);
        else
            step(&l);
        follow(&l, from);
        if (l.code || l.comment)
            l.dark = l.p;
    }
    read_words(&l);
    return l.claimed > l.counted ? l.claimed : l.counted;
}

/* The last one to which the text is not the same as to the one before. */
static enum ps_channel last_channel(struct span text)
{
    if (text.n && memchr(text.p, FS, text.n))
        return CHANNEL_BCP;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == SOH || is_kept(CHANNEL_QUOTED, text.p[i]))
            return CHANNEL_QUOTED;
    return CHANNEL_PLAIN;
}

/* By each channel: nobody knows which it will be. */
uint32_t print_postscript(struct print_scan *s, struct span text)
{
    enum ps_channel last = last_channel(text);
    uint32_t pages = 0;

    for (enum ps_channel c = CHANNEL_PLAIN; c <= last; c++) {
        uint32_t n = read_text(s, text, c);

        pages = n > pages ? n : pages;
    }
    return pages;
}
