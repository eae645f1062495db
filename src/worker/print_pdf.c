/* SPDX-License-Identifier: Apache-2.0 */
/* print_pdf.c - names, encryption and pages of a PDF (ISO 32000-1, 7.2 and 7.3), without its
 * cross-reference table: that may point anywhere. So wherever "5 0 obj" or "trailer <<" stands,
 * also inside of what looks like a stream, a string or a comment, something begins: rather too
 * often than not. Each byte is passed once. */
#include "worker/print_scan_int.h"

#define NAME_HEAD 16u /* bytes of a name that are looked at */
#define DEPTH_MAX 32u /* dictionaries in dictionaries that are understood */

enum pdf_key { KEY_OTHER, KEY_TYPE, KEY_COUNT, KEY_ENCRYPT, KEY_ROOT };
enum pdf_type { TYPE_OTHER, TYPE_PAGES, TYPE_PAGE, TYPE_XREF };

struct pdf_dict {
    enum pdf_type type;
    enum pdf_key key; /* the last one */
    bool waits;       /* for its value */
    bool trailer;     /* so it says by the word before it, or by its keys */
    unsigned arrays;  /* that are open in it: names in them are no keys */
    uint32_t count;
    const char *encrypt; /* where; NULL: it is not there */
    bool first;          /* the last key is the one there */
};

struct pdf {
    struct print_scan *scan;
    const char *begin, *p, *end;
    struct pdf_dict dicts[DEPTH_MAX];
    size_t depth;
    bool trailer; /* the word came, its dictionary not yet */
    bool unsure;  /* readers may still be inside of something here: no stream can come */
    uint32_t count_max, n_pages;
};

/* ---- characters ---- */

static bool is_space(char c)
{
    return c == '\0' || c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == ' ';
}

static bool is_delimiter(char c)
{
    return c == '(' || c == ')' || c == '<' || c == '>' || c == '[' || c == ']' || c == '{' ||
           c == '}' || c == '/' || c == '%';
}

static bool is_regular(char c)
{
    return !is_space(c) && !is_delimiter(c);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool starts(const struct pdf *l, const char *p, struct span word)
{
    return span_starts((struct span){p, (size_t)(l->end - p)}, word);
}

/* ---- what begins anywhere ---- */

/* "obj" at |p|. Of the two numbers before it readers take even those between which a comment
 * stands, so they are not looked for. */
static bool is_object(const struct pdf *l, const char *p)
{
    if (!starts(l, p, SPAN("obj")) || (l->end - p > 3 && is_regular(p[3])))
        return false;
    return p > l->begin && (is_digit(p[-1]) || is_space(p[-1]));
}

/* Behind the word a dictionary has to come, or a comment before it. */
static bool is_trailer(const struct pdf *l, const char *p)
{
    if (!starts(l, p, SPAN("trailer")))
        return false;
    for (p += 7; p < l->end && is_space(*p);)
        p++;
    return starts(l, p, SPAN("<<")) || starts(l, p, SPAN("%"));
}

static bool begins_anew(const struct pdf *l)
{
    return (*l->p == 'o' && is_object(l, l->p)) || (*l->p == 't' && is_trailer(l, l->p));
}

/* ---- dictionaries ---- */

/* NULL: none is open, or too many are. */
static struct pdf_dict *dict_of(struct pdf *l)
{
    return l->depth && l->depth <= DEPTH_MAX ? &l->dicts[l->depth - 1] : NULL;
}

/* Something other than a name stands where a value may. */
static void take_value(struct pdf *l)
{
    struct pdf_dict *d = dict_of(l);

    if (d)
        d->waits = false;
}

static void dict_open(struct pdf *l)
{
    struct pdf_dict *d;

    take_value(l);
    l->depth++;
    d = dict_of(l);
    if (d)
        *d = (struct pdf_dict){.trailer = l->trailer};
    l->trailer = false;
}

static void dict_close(struct pdf *l)
{
    const struct pdf_dict *d = dict_of(l);

    if (d && d->encrypt && (d->trailer || d->type == TYPE_XREF))
        print_found(l->scan, PRINT_PDF_ENCRYPTED, d->encrypt);
    if (d && d->type == TYPE_PAGES && d->count > l->count_max)
        l->count_max = d->count;
    if (d && d->type == TYPE_PAGE)
        l->n_pages = print_add(l->n_pages, 1);
    l->unsure |= d && d->arrays;
    l->depth -= l->depth > 0;
}

static void close_all(struct pdf *l)
{
    if (l->depth > DEPTH_MAX)
        l->depth = DEPTH_MAX;
    while (l->depth)
        dict_close(l);
    l->unsure = false;
}

/* ---- names ---- */

static const struct {
    struct span name;
    enum print_find find;
} dangers[] = {
    {{"JavaScript", 10},    PRINT_PDF_JAVASCRIPT   },
    {{"JS", 2},             PRINT_PDF_JAVASCRIPT   },
    {{"Launch", 6},         PRINT_PDF_LAUNCH       },
    {{"EmbeddedFile", 12},  PRINT_PDF_EMBEDDED_FILE},
    {{"EmbeddedFiles", 13}, PRINT_PDF_EMBEDDED_FILE},
    {{"OpenAction", 10},    PRINT_PDF_OPEN_ACTION  },
};

static enum pdf_key key_of(struct span name)
{
    if (span_eq(name, SPAN("Type")))
        return KEY_TYPE;
    if (span_eq(name, SPAN("Count")))
        return KEY_COUNT;
    if (span_eq(name, SPAN("Encrypt")))
        return KEY_ENCRYPT;
    return span_eq(name, SPAN("Root")) ? KEY_ROOT : KEY_OTHER;
}

static enum pdf_type type_of(struct span name)
{
    if (span_eq(name, SPAN("Pages")))
        return TYPE_PAGES;
    if (span_eq(name, SPAN("Page")))
        return TYPE_PAGE;
    return span_eq(name, SPAN("XRef")) ? TYPE_XREF : TYPE_OTHER;
}

static void dict_name(struct pdf_dict *d, struct span name, const char *at)
{
    if (d->arrays)
        return;
    if (d->waits) {
        d->waits = false;
        if (d->key == KEY_TYPE)
            d->type = type_of(name);
        return;
    }
    d->key = key_of(name);
    d->waits = true;
    d->trailer |= d->key == KEY_ROOT;
    d->first = d->key == KEY_ENCRYPT && !d->encrypt;
    if (d->first)
        d->encrypt = at;
}

/* With #xx undone (7.3.5). A longer name than the head holds is none that counts. */
static void take_name(struct pdf *l)
{
    const char *at = l->p++;
    char head[NAME_HEAD];
    size_t n = 0;

    for (; l->p < l->end && is_regular(*l->p); l->p++) {
        char c = *l->p;

        if (c == '#' && l->end - l->p > 2 && char_hex(l->p[1]) >= 0 && char_hex(l->p[2]) >= 0) {
            c = (char)(char_hex(l->p[1]) << 4 | char_hex(l->p[2]));
            l->p += 2;
        }
        if (n < sizeof head)
            head[n++] = c;
    }
    const struct span name = {head, n};
    struct pdf_dict *d = dict_of(l);

    for (size_t i = 0; i < ARRAY_LEN(dangers); i++)
        if (span_eq(dangers[i].name, name))
            print_found(l->scan, dangers[i].find, at);
    if (d)
        dict_name(d, name, at);
}

/* ---- what is passed over ---- */

/* To the end of the string, or to where an object begins. */
static void take_string(struct pdf *l)
{
    size_t depth = 1;

    for (l->p++; l->p < l->end && depth && !begins_anew(l); l->p++) {
        if (*l->p == '\\' && l->end - l->p > 1)
            l->p++;
        else if (*l->p == '(')
            depth++;
        else if (*l->p == ')')
            depth--;
    }
    take_value(l);
}

static void take_comment(struct pdf *l)
{
    while (l->p < l->end && *l->p != '\n' && *l->p != '\r' && !begins_anew(l))
        l->p++;
}

static void take_stream(struct pdf *l)
{
    for (; l->p < l->end && !begins_anew(l); l->p++) {
        if (*l->p == 'e' && starts(l, l->p, SPAN("endstream"))) {
            l->p += 9;
            return;
        }
    }
}

static void take_hex(struct pdf *l)
{
    for (l->p++; l->p < l->end && (is_space(*l->p) || char_hex(*l->p) >= 0);)
        l->p++;
    if (l->p < l->end && *l->p == '>')
        l->p++;
    else
        l->unsure = true; /* it ends here, or behind what does not belong into it */
    take_value(l);
}

/* ---- words ---- */

static void number(struct pdf *l, struct span digits)
{
    struct pdf_dict *d = dict_of(l);
    uint64_t n;

    if (!d)
        return;
    if (d->waits && d->key == KEY_COUNT)
        d->count = span_u64(digits, UINT32_MAX, &n) == OK ? (uint32_t)n : UINT32_MAX;
    d->waits = false;
}

/* Of a reference we do not know what stands at its end. */
static void reference(struct pdf *l)
{
    struct pdf_dict *d = dict_of(l);

    if (d && d->key == KEY_COUNT && !d->arrays)
        d->count = 0;
}

/* Of a key that comes twice some readers take the first value, others the last. */
static void no_value(struct pdf *l)
{
    struct pdf_dict *d = dict_of(l);

    if (d && d->waits && d->first)
        d->encrypt = NULL;
    take_value(l);
}

/* Only directly behind a dictionary that stands by itself; elsewhere the word is a value like any
 * other, and what comes next is read. */
static bool is_stream(const struct pdf *l, struct span word)
{
    const char *p = word.p;

    if (!span_eq(word, SPAN("stream")) || l->depth || l->unsure)
        return false;
    while (p > l->begin && is_space(p[-1]))
        p--;
    return p - l->begin >= 2 && p[-1] == '>' && p[-2] == '>';
}

/* To its end, or to where an object begins. */
static void take_word(struct pdf *l)
{
    struct span word = {l->p, 0};
    bool digits = true;

    for (; l->p < l->end && is_regular(*l->p) && (l->p == word.p || !begins_anew(l)); l->p++)
        digits &= is_digit(*l->p);
    word.n = (size_t)(l->p - word.p);
    if (digits) {
        number(l, word);
    } else if (span_eq(word, SPAN("R"))) {
        reference(l);
    } else if (span_eq(word, SPAN("null"))) {
        no_value(l);
    } else if (span_eq(word, SPAN("obj")) || span_eq(word, SPAN("endobj"))) {
        close_all(l);
        l->trailer = false;
    } else if (span_eq(word, SPAN("trailer"))) {
        close_all(l);
        l->trailer = true;
    } else if (is_stream(l, word)) {
        take_stream(l);
    } else {
        take_value(l);
    }
}

static void take_bracket(struct pdf *l)
{
    struct pdf_dict *d = dict_of(l);
    char c = *l->p++;

    take_value(l);
    l->unsure |= !d;
    if (d && c == '[')
        d->arrays += d->arrays < UINT32_MAX;
    else if (d && c == ']')
        d->arrays -= d->arrays > 0;
}

/* ---- all of it ---- */

static void take_delimiter(struct pdf *l)
{
    bool twice = l->end - l->p > 1 && l->p[0] == l->p[1];

    switch (*l->p) {
    case '/': take_name(l); break;
    case '(': take_string(l); break;
    case '%': take_comment(l); break;
    case '<':
        if (twice) {
            l->p += 2;
            dict_open(l);
        } else {
            take_hex(l);
        }
        break;
    case '>':
        if (twice)
            dict_close(l);
        l->p += twice ? 2 : 1;
        break;
    default: take_bracket(l); break;
    }
}

uint32_t print_pdf(struct print_scan *s, struct span text)
{
    struct pdf l = {.scan = s, .begin = text.p, .p = text.p, .end = text.p + text.n};

    while (l.p < l.end) {
        if (is_space(*l.p))
            l.p++;
        else if (is_delimiter(*l.p))
            take_delimiter(&l);
        else
            take_word(&l);
    }
    close_all(&l);
    return l.count_max ? l.count_max : l.n_pages;
}
