/* SPDX-License-Identifier: Apache-2.0 */
/* url_lists_parse.c - the file of a list, line by line, into what can be asked fast. */
#include <stdlib.h>
#include <string.h>

#include "adapt/url_lists_int.h"
#include "adapt/url_normal.h"
#include "base/arena.h"
#include "base/map.h"

#define KEY_HEAD    2u
#define HOST_MAX    253u /* RFC 1035 2.3.4, without the length bytes */
#define LABEL_MAX   63u
#define FIRST_SLOTS 8u

struct build {
    struct url_list *l;
    struct buf keys, prefixes, regexes; /* the last two: arrays of the list's elements */
    struct buf key;                     /* the one that is being made */
    const char *file;
    size_t line;
    size_t n_faults;
    struct buf *errors;
};

PRINTF(2, 3) static void fault(struct build *b, const char *fmt, ...)
{
    va_list ap;

    if (b->n_faults++ >= URL_LIST_FAULTS)
        return;
    buf_fmt(b->errors, "%s:%zu: ", b->file, b->line);
    va_start(ap, fmt);
    buf_vfmt(b->errors, fmt, ap);
    va_end(ap);
    buf_char(b->errors, '\n');
}

/* ---- keys ---- */

struct span url_list_key(const struct url_list *l, uint32_t off)
{
    uint16_t n;

    memcpy(&n, l->keys + off, KEY_HEAD);
    return (struct span){l->keys + off + KEY_HEAD, n};
}

bool url_list_find(const struct url_list *l, struct span key, struct url_list_place *ret)
{
    uint64_t hash = map_hash(key.p, key.n);
    struct url_list_place at = {.slot = (size_t)hash & l->mask, .tag = (uint8_t)(hash >> 56)};
    bool found = false;

    if (at.tag == 0)
        at.tag = 1;
    while (l->tags[at.slot] != 0 && !found) {
        found = l->tags[at.slot] == at.tag && span_eq(url_list_key(l, l->slots[at.slot]), key);
        if (!found)
            at.slot = (at.slot + 1) & l->mask;
    }
    *ret = at;
    return found;
}

int url_list_compare(struct span a, struct span b)
{
    size_t i = 0;

    while (i < a.n && i < b.n && a.p[i] == b.p[i])
        i++;
    if (i < a.n && i < b.n)
        return (unsigned char)a.p[i] < (unsigned char)b.p[i] ? -1 : 1;
    return (a.n > b.n) - (a.n < b.n);
}

/* Where |key| is now: offset 0, an empty key, when |keys| has an error. */
static uint32_t keep_key(struct build *b, struct span key)
{
    uint16_t n = (uint16_t)key.n;
    size_t off = b->keys.n;

    buf_add(&b->keys, (struct span){(const char *)&n, KEY_HEAD});
    buf_add(&b->keys, key);
    b->l->keys = b->keys.p;
    return b->keys.err == OK ? (uint32_t)off : 0;
}

static void add_exact(struct build *b)
{
    struct span key = buf_span(&b->key);
    struct url_list_place at;

    if (url_list_find(b->l, key, &at))
        return;
    b->l->slots[at.slot] = keep_key(b, key);
    b->l->tags[at.slot] = at.tag;
}

static void add_prefix(struct build *b)
{
    uint32_t off = keep_key(b, buf_span(&b->key));

    buf_add(&b->prefixes, (struct span){(const char *)&off, sizeof off});
}

/* ---- entries ---- */

static const char host_length[] = "a host has 1 to 253 characters";

static const char *label_fault(struct span label)
{
    if (label.n == 0 || label.n > LABEL_MAX)
        return "a host's parts have 1 to 63 characters";
    for (size_t i = 0; i < label.n; i++) {
        char c = label.p[i];

        if ((unsigned char)c >= 0x80)
            return "international names are written as in a request, xn--...";
        if (c == '*')
            return "a host has no '*'; .example is example and every host below it";
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_')
            return "a host has letters, digits, '-', '_' and '.'";
    }
    return NULL;
}

/* |text| is how it was written: "10.1" is an address to a resolver, and a mistake here. */
static const char *host_fault(const struct url_host *h, struct span text)
{
    struct span rest = {h->text, h->n};

    if (h->address)
        return text.p[0] == '[' || span_eq(text, rest)
                   ? NULL
                   : "an IPv4 address is four numbers, an IPv6 address stands in brackets";
    if (h->n == 0 || h->n > HOST_MAX)
        return host_length;
    while (rest.p) {
        const char *why = label_fault(span_cut(&rest, '.'));

        if (why)
            return why;
    }
    return NULL;
}

static const char *path_fault(struct span path)
{
    for (size_t i = 0; i < path.n; i++) {
        if (path.p[i] == '#')
            return "requests have no fragment ('#')";
        if (path.p[i] == '*' && i + 1 < path.n)
            return "a '*' stands at the end; a regular expression ('~') can do more";
        if (path.p[i] == '%' &&
            (path.n - i < 3 || char_hex(path.p[i + 1]) < 0 || char_hex(path.p[i + 2]) < 0))
            return "'%' without two hexadecimal digits";
    }
    if (span_find(path, '?') < path.n && !span_ends(path, SPAN("*")))
        return "a path with a query needs '*' at its end";
    return NULL;
}

static struct span without_scheme(struct span entry)
{
    size_t n = span_find(entry, ':');

    for (size_t i = 0; i < n; i++) {
        char c = char_lower(entry.p[i]);
        bool letter = c >= 'a' && c <= 'z';

        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return entry;
    }
    if (n == 0 || !span_starts(span_sub(entry, n, entry.n), SPAN("://")))
        return entry;
    return span_sub(entry, n + 3, entry.n);
}

/* False when what follows the host is no port. */
static bool cut_port(struct span *authority)
{
    size_t end = span_starts(*authority, SPAN("[")) ? span_find(*authority, ']') + 1
                                                    : span_find(*authority, ':');
    struct span port = span_sub(*authority, end, authority->n);
    uint64_t number;

    *authority = span_sub(*authority, 0, end);
    return port.n == 0 ||
           (port.p[0] == ':' &&
            (port.n == 1 || span_u64(span_sub(port, 1, port.n), UINT16_MAX, &number) == OK));
}

/* Makes the key of an entry; a sentence when it is none. */
static const char *make_key(struct build *b, struct span entry, bool *ret_prefix)
{
    struct span url = without_scheme(entry), host, path;
    size_t cut = span_find(url, '/');
    struct url_host h;
    const char *why;
    enum err e;
    bool below;

    host = span_sub(url, 0, cut);
    path = span_sub(url, cut, url.n);
    below = span_starts(host, SPAN("."));
    if (below)
        host = span_sub(host, 1, host.n);
    if (!cut_port(&host))
        return "this is no port";
    e = url_host_normal(host, &h);
    if (e != OK)
        return e == ERR_LIMIT ? host_length : "this is no host";
    why = host_fault(&h, host);
    if (why)
        return why;
    if (below && h.address)
        return "there is nothing below an address";
    if (below && path.n > 0)
        return "a path needs a host without '.' before it; a regular expression ('~') can do more";
    buf_reset(&b->key);
    buf_text(&b->key, below ? "." : "");
    buf_add(&b->key, (struct span){h.text, h.n});
    *ret_prefix = span_ends(path, SPAN("*"));
    if (path.n > 0)
        url_path_normal(span_sub(path, 0, path.n - *ret_prefix), *ret_prefix, &b->key);
    return path_fault(path);
}

static void add_regex(struct build *b, struct span pattern)
{
    int number = 0;
    size_t at = 0;
    pcre2_code *code;

    if (pattern.n == 0) {
        fault(b, "an empty regular expression matches everything");
        return;
    }
    if (b->regexes.n / sizeof(pcre2_code *) == URL_LIST_REGEXES_MAX) {
        fault(b, "more than %u regular expressions in one list", URL_LIST_REGEXES_MAX);
        return;
    }
    code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n,
                         PCRE2_CASELESS | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP |
                             PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY,
                         &number, &at, NULL);
    if (!code) {
        PCRE2_UCHAR text[128] = "";

        (void)pcre2_get_error_message(number, text, sizeof text);
        fault(b, "the regular expression does not compile, at character %zu: %s", at + 1,
              (const char *)text);
        return;
    }
    buf_add(&b->regexes, (struct span){(const char *)&code, sizeof(void *)});
    if (b->regexes.err != OK)
        pcre2_code_free(code);
}

/* ---- lines ---- */

static struct span without_comment(struct span line)
{
    size_t at = span_find(line, '#');

    while (at < line.n && at > 0 && line.p[at - 1] != ' ' && line.p[at - 1] != '\t')
        at += 1 + span_find(span_sub(line, at + 1, line.n), '#');
    return span_sub(line, 0, at);
}

static const char *line_fault(struct span line)
{
    if (line.n > URL_LIST_LINE_MAX)
        return "the line is too long";
    for (size_t i = 0; i < line.n; i++)
        if ((unsigned char)line.p[i] < 0x20 || line.p[i] == 0x7f)
            return "a control character";
    return NULL;
}

static void add_line(struct build *b, struct span line)
{
    const char *why;
    bool prefix = false;

    if (span_ends(line, SPAN("\r")))
        line.n--;
    line = span_trim(without_comment(span_trim(line)));
    if (line.n == 0)
        return;
    why = line_fault(line);
    if (!why && line.p[0] == '~') {
        add_regex(b, span_trim(span_sub(line, 1, line.n)));
        return;
    }
    if (!why && span_find(line, ' ') < line.n)
        why = "a blank inside an entry: one host or URL a line, and nothing else";
    if (!why)
        why = make_key(b, line, &prefix);
    if (why)
        fault(b, "%s", why);
    else if (b->key.err == OK && prefix)
        add_prefix(b);
    else if (b->key.err == OK)
        add_exact(b);
}

static size_t line_count(struct span text)
{
    size_t n = 0;

    for (struct span rest = text; rest.p; n++)
        (void)span_cut(&rest, '\n');
    return n;
}

/* ---- the list ---- */

static int key_compare(const void *a, const void *b, void *list)
{
    uint32_t off_a, off_b;

    memcpy(&off_a, a, sizeof off_a);
    memcpy(&off_b, b, sizeof off_b);
    return url_list_compare(url_list_key(list, off_a), url_list_key(list, off_b));
}

/* Sorted, what begins with an entry stands right behind it, and says nothing more. Without those,
 * the one candidate for a URL is the greatest entry that is not greater. */
static void prefixes_reduce(struct url_list *l)
{
    size_t kept = 0;

    if (l->n_prefixes == 0)
        return;
    qsort_r(l->prefixes, l->n_prefixes, sizeof *l->prefixes, key_compare, l);
    for (size_t i = 1; i < l->n_prefixes; i++)
        if (!span_starts(url_list_key(l, l->prefixes[i]), url_list_key(l, l->prefixes[kept])))
            l->prefixes[++kept] = l->prefixes[i];
    l->n_prefixes = kept + 1;
}

/* No more entries than lines: the table never grows, and is a third empty at least. */
static enum err build_start(struct build *b, struct span text)
{
    size_t lines = line_count(text), n = FIRST_SLOTS;

    while (n < lines + lines / 2)
        n *= 2;
    b->l->slots = mem_fail_now() ? NULL : calloc(n, sizeof *b->l->slots);
    b->l->tags = mem_fail_now() ? NULL : calloc(n, sizeof *b->l->tags);
    b->l->mask = n - 1;
    /* Most keys are no longer than their lines, so this is the one allocation; what is too much
     * goes back in build_end(). */
    buf_init(&b->keys, UINT32_MAX);
    buf_add(&b->keys, (struct span){"\0", KEY_HEAD});
    b->l->keys = buf_reserve(&b->keys, text.n + lines * KEY_HEAD) ? b->keys.p : NULL;
    buf_init(&b->prefixes, 0);
    buf_init(&b->regexes, 0);
    buf_init(&b->key, 0);
    return b->l->slots && b->l->tags ? b->keys.err : ERR_NOMEM;
}

/* Hands the memory to the list, in any case. */
static enum err build_end(struct build *b)
{
    struct url_list *l = b->l;
    enum err e = b->keys.err;
    char *p;

    if (e == OK)
        e = b->prefixes.err != OK ? b->prefixes.err : b->regexes.err;
    if (e == OK)
        e = b->key.err;
    p = b->keys.n > 0 ? realloc(b->keys.p, b->keys.n) : NULL;
    l->keys = p ? p : b->keys.p;
    l->prefixes = (uint32_t *)(void *)b->prefixes.p;
    l->n_prefixes = b->prefixes.n / sizeof *l->prefixes;
    l->regexes = (pcre2_code **)(void *)b->regexes.p;
    l->n_regexes = b->regexes.n / sizeof(pcre2_code *);
    buf_done(&b->key);
    if (e == OK)
        prefixes_reduce(l);
    return e;
}

enum err url_list_parse(struct span text, const char *file, struct url_list *ret,
                        struct buf *errors)
{
    struct build b = {.l = ret, .file = file, .errors = errors};
    struct span rest = text;
    enum err started, e;

    *ret = (struct url_list){.keys = NULL};
    if (span_starts(rest, SPAN("\xef\xbb\xbf")))
        rest = span_sub(rest, 3, rest.n);
    started = build_start(&b, text);
    while (started == OK && rest.p) {
        b.line++;
        add_line(&b, span_cut(&rest, '\n'));
    }
    e = build_end(&b);
    if (b.n_faults > URL_LIST_FAULTS)
        buf_fmt(errors, "%s: and %zu more\n", file, b.n_faults - URL_LIST_FAULTS);
    if (started != OK)
        return started;
    return e == OK && b.n_faults > 0 ? ERR_CONFIG : e;
}

void url_list_done(struct url_list *l)
{
    for (size_t i = 0; i < l->n_regexes; i++)
        pcre2_code_free(l->regexes[i]);
    free(l->regexes);
    free(l->prefixes);
    free(l->slots);
    free(l->tags);
    free(l->keys);
    *l = (struct url_list){.keys = NULL};
}
