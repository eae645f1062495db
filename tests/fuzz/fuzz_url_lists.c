/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_url_lists.c - a list's file, and URLs held against lists. Any text compiles or gets errors
 * that say where; what compiles answers without a limit being hit unless it has regular
 * expressions. A host, a path and a prefix made of the input match themselves under every spelling,
 * and a list without entries matches nothing. Normal forms stay as they are. */
#include <stdlib.h>
#include <string.h>

#include "adapt/url_lists.h"
#include "adapt/url_normal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct span text_of(void *arg, const char *path)
{
    check(path[0] == '/');
    return *(const struct span *)arg;
}

static const struct url_list_settings list = {"list", "/list", URL_LIST_DENY};

/* NULL when it does not compile. */
static struct url_lists *compile(struct span text)
{
    struct url_lists_source src = {.lists = &list, .n = 1, .text = text_of, .arg = &text};
    struct url_lists *u = NULL;
    struct buf errors;
    enum err e;

    buf_init(&errors, 0);
    e = url_lists_new(&src, &u, &errors);
    check(e == OK || e == ERR_CONFIG);
    check((e == OK) == (u != NULL));
    check((e == OK) == (errors.n == 0));
    check(e == OK || (span_starts(buf_span(&errors), SPAN("/list:")) &&
                      span_ends(buf_span(&errors), SPAN("\n"))));
    buf_done(&errors);
    return u;
}

static bool matches(struct span text, struct span host, struct span path)
{
    struct url_lists *u = compile(text);
    bool limit, match;

    check(u != NULL);
    match = url_lists_match(u, 0, host, path, &limit);
    check(!limit);
    check((url_lists_verdict(u, host, path) != NULL) == match);
    url_lists_free(u);
    return match;
}

static bool is_doubtful_path(struct span path)
{
    struct buf normal;

    buf_init(&normal, 0);
    if (path.n > 0 && path.p[0] != '/' && path.p[0] != '?')
        buf_char(&normal, '/');
    url_path_normal(path, false, &normal);
    bool yes = url_path_is_doubtful(buf_span(&normal));

    buf_done(&normal);
    return yes;
}

static bool is_doubtful(struct span host, struct span path)
{
    struct url_host h;

    return url_host_normal(host, &h) != OK || url_host_is_doubtful((struct span){h.text, h.n}) ||
           is_doubtful_path(path);
}

/* The text as a list, and the URL held against it: what can be read in several ways is on every
 * list that denies. */
static void any_list(struct span text, struct span host, struct span path)
{
    struct url_lists *u = compile(text);
    bool limit, match, doubtful = is_doubtful(host, path);

    if (!u)
        return;
    match = url_lists_match(u, 0, host, path, &limit);
    check(!limit || match);
    check(limit ? doubtful || span_find(text, '~') < text.n : !doubtful);
    url_lists_free(u);
}

static void host_properties(struct span host)
{
    struct url_host h, again;

    if (url_host_normal(host, &h) != OK)
        return;
    check(h.n <= URL_HOST_MAX && h.text[h.n] == '\0');
    check(!h.address || h.n > 0);
    if (!h.address) /* "1." is a name, and "1" is an address */
        return;
    check(url_host_normal((struct span){h.text, h.n}, &again) == OK);
    check(again.address && again.n == h.n && memcmp(again.text, h.text, h.n) == 0);
}

/* Is there no '%' but those that begin an encoding? Without, one pass may make a new one. */
static bool percents_are_whole(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '%' && (s.n - i < 3 || char_hex(s.p[i + 1]) < 0 || char_hex(s.p[i + 2]) < 0))
            return false;
    return true;
}

static void path_properties(struct span path)
{
    struct buf once, twice;

    buf_init(&once, 0);
    buf_init(&twice, 0);
    url_path_normal(path, false, &once);
    check(once.err == OK && once.n > 0 && once.n <= 3 * path.n + 1);
    if (percents_are_whole(path)) {
        url_path_normal(buf_span(&once), false, &twice);
        check(span_eq(buf_span(&once), buf_span(&twice)));
    }
    buf_done(&once);
    buf_done(&twice);
}

static void lower_to_upper(struct buf *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->p[i] >= 'a' && b->p[i] <= 'z')
            b->p[i] = (char)(b->p[i] - 'a' + 'A');
}

/* A host of letters and digits, made of the input: on the list that names it, and on no other. */
static void made_host(struct span seed)
{
    struct buf host, entry;

    buf_init(&host, 0);
    buf_init(&entry, 0);
    buf_char(&host, 'h');
    for (size_t i = 0; i < seed.n && i < 60; i++)
        buf_char(&host, "abcdefghijklmnopqrstuvwxyz0123456789-_"[(unsigned char)seed.p[i] % 38]);
    buf_text(&host, ".example");
    buf_fmt(&entry, "# x\n" SPAN_FMT " # y\n", SPAN_ARG(buf_span(&host)));
    check(matches(buf_span(&entry), buf_span(&host), SPAN("/")));
    check(!matches(buf_span(&entry), SPAN("other.example"), SPAN("/")));
    check(!matches(SPAN("# nothing\n"), buf_span(&host), SPAN("/")));
    lower_to_upper(&host);
    buf_char(&host, '.');
    check(matches(buf_span(&entry), buf_span(&host), SPAN("/x?y")));
    check(matches(SPAN(".example"), buf_span(&host), SPAN("")));
    buf_done(&host);
    buf_done(&entry);
}

static void same_path(struct buf *path, struct buf *entry)
{
    buf_fmt(entry, "host.example" SPAN_FMT "\n", SPAN_ARG(buf_span(path)));
    check(matches(buf_span(entry), SPAN("host.example"), buf_span(path)));
    check(!matches(buf_span(entry), SPAN("other.example"), buf_span(path)));
    buf_reset(entry);
    url_path_normal(buf_span(path), false, entry);
    buf_reset(path);
    buf_fmt(path, "host.example" SPAN_FMT "*\n", SPAN_ARG(buf_span(entry)));
    buf_text(entry, "more?query");
    check(memchr(path->p, '*', path->n - 2) != NULL || is_doubtful_path(buf_span(entry)) ||
          matches(buf_span(path), SPAN("host.example"), buf_span(entry)));
}

/* The input as a path: with every byte percent-encoded it is the same one, unless some go up in it
 * where others do not. */
static void made_path(struct span seed)
{
    struct buf path, entry;

    buf_init(&path, 0);
    buf_init(&entry, 0);
    buf_char(&path, '/');
    for (size_t i = 0; i < seed.n && i < 200; i++)
        buf_fmt(&path, seed.p[i] == '/' ? "/" : "%%%02x", (unsigned)(unsigned char)seed.p[i]);
    if (!is_doubtful_path(buf_span(&path)))
        same_path(&path, &entry);
    buf_done(&path);
    buf_done(&entry);
}

/* Input: host LF path LF text of a list. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {(const char *)data, size};
    struct span host = span_cut(&rest, '\n'), path = span_cut(&rest, '\n');

    if (!rest.p)
        rest = SPAN("");
    any_list(rest, host, path);
    host_properties(host);
    path_properties(path);
    made_host(host);
    made_path(path);
    return 0;
}
