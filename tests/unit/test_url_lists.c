/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of hosts and URLs: how they are written, what they match, what they cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/url_lists.h"
#include "adapt/url_normal.h"
#include "base/arena.h"
#include "base/clock.h"

struct files {
    const struct span *v; /* "a", "b", ...: their contents */
    size_t n;
};

static struct span file_text(void *arg, const char *path)
{
    const struct files *f = arg;
    size_t i = (size_t)(path[1] - 'a');

    return i < f->n ? f->v[i] : SPAN_NONE;
}

static enum err make(const struct url_list_settings *lists, size_t n, struct files *f,
                     struct url_lists **ret, struct buf *errors)
{
    struct url_lists_source src = {.lists = lists, .n = n, .text = file_text, .arg = f};

    return url_lists_new(&src, ret, errors);
}

static const struct url_list_settings one_list = {"one", "/a", URL_LIST_DENY};

static struct url_lists *one(const struct url_list_settings *settings, struct span text)
{
    struct files f = {&text, 1};
    struct url_lists *u = NULL;
    struct buf errors;

    buf_init(&errors, 0);
    if (make(settings, 1, &f, &u, &errors) != OK)
        fail_msg("%s", buf_cstr(&errors));
    assert_int_equal(errors.n, 0);
    buf_done(&errors);
    return u;
}

/* ---- spelling ---- */

static void test_host_spelling(void **state)
{
    static const struct {
        const char *in, *out;
        bool address;
    } rows[] = {
        {"Host.Example",       "host.example",  false},
        {"host.example.",      "host.example",  false},
        {"h%6Fst.ex%61mple",   "host.example",  false},
        {"h%2fst",             "h%2fst",        false},
        {"",                   "",              false},
        {"192.0.2.7",          "192.0.2.7",     true },
        {"192.0.2.7.",         "192.0.2.7",     true },
        {"0xC0000207",         "192.0.2.7",     true },
        {"3221225991",         "192.0.2.7",     true },
        {"0300.0.2.07",        "192.0.2.7",     true },
        {"192.0.519",          "192.0.2.7",     true },
        {"192.0.2.256",        "192.0.2.256",   false},
        {"1e100.example",      "1e100.example", false},
        {"beef.de",            "beef.de",       false},
        {"[2001:DB8:0::7]",    "[2001:db8::7]", true },
        {"2001:db8::0007",     "[2001:db8::7]", true },
        {"[::ffff:192.0.2.7]", "192.0.2.7",     true },
        {"[::ffff:c000:207]",  "192.0.2.7",     true },
        {"[2001:db8::7",       "[2001:db8::7",  false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct url_host h;

        assert_int_equal(url_host_normal(span_of(rows[i].in), &h), OK);
        assert_string_equal(h.text, rows[i].out);
        assert_int_equal(h.n, span_of(rows[i].out).n);
        assert_int_equal(h.address, rows[i].address);
    }
}

static void test_host_refused(void **state)
{
    static const char *const rows[] = {"a b", "a\tb",      "a/b",  "a?b",
                                       "a#b", "user@host", "a\\b", "\x7f"};
    char text[URL_HOST_MAX + 2];
    struct url_host h;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(url_host_normal(span_of(rows[i]), &h), ERR_SYNTAX);
    assert_int_equal(url_host_normal((struct span){"a\0b", 3}, &h), ERR_SYNTAX);
    memset(text, 'a', sizeof text);
    assert_int_equal(url_host_normal((struct span){text, URL_HOST_MAX}, &h), OK);
    assert_int_equal(url_host_normal((struct span){text, URL_HOST_MAX + 1}, &h), ERR_LIMIT);
}

static void test_path_spelling(void **state)
{
    static const struct {
        const char *in, *out;
        bool open;
    } rows[] = {
        {"",                "/",             false},
        {"?q",              "/?q",           false},
        {"/",               "/",             false},
        {"/a/b",            "/a/b",          false},
        {"/a/../b",         "/b",            false},
        {"/a/./b/.",        "/a/b/",         false},
        {"/a/b/..",         "/a/",           false},
        {"/..",             "/",             false},
        {"/../../a",        "/a",            false},
        {"/a/b/../../../c", "/c",            false},
        {"/%2e%2E/a",       "/a",            false},
        {"/a/%2e%2e/b",     "/b",            false},
        {"/.a/..b/...",     "/.a/..b/...",   false},
        {"//a//b",          "//a//b",        false},
        {"/a//../b",        "/a/b",          false},
        {"/%41%7e%2d",      "/A~-",          false},
        {"/%2f%3a",         "/%2F%3A",       false},
        {"/100%",           "/100%",         false},
        {"/%4",             "/%4",           false},
        {"/%zz",            "/%zz",          false},
        {"/a b\xc3\xa9",    "/a%20b%C3%A9",  false},
        {"/a?x=/../%41%2f", "/a?x=/../A%2F", false},
        {"/a/..?x",         "/?x",           false},
        {"*",               "*",             false},
        {"/a/.",            "/a/.",          true },
        {"/a/..",           "/a/..",         true },
        {"/a/../b",         "/b",            true },
        {"/a/..?x",         "/?x",           true },
        {"/a/",             "/a/",           true },
    };
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&out);
        buf_text(&out, "host"); /* what stands before is left alone */
        url_path_normal(span_of(rows[i].in), rows[i].open, &out);
        assert_int_equal(out.err, OK);
        assert_memory_equal(buf_cstr(&out), "host", 4);
        assert_string_equal(buf_cstr(&out) + 4, rows[i].out);
    }
    buf_done(&out);
}

/* ---- matching ---- */

static const char list_text[] = "\xef\xbb\xbf# a list\r\n"
                                "host.example\r\n"
                                "  Spaced.Example.\t# why\n"
                                ".below.example\n"
                                "https://scheme.example:8443/exact\n"
                                "path.example/a/./b%2e\n"
                                "path.example/pre*\n"
                                "path.example/pre/longer*\n"
                                "path.example/query?id=*\n"
                                "path.example/.hid*\n"
                                "root.example/\n"
                                "all.example/*\n"
                                "port.example:\n"
                                "192.0.2.7\n"
                                "[2001:DB8::7]:443\n"
                                "under_score.example\n"
                                "   # only a comment\n"
                                "\n"
                                "host.example\n"
                                "~^cdn[0-9]+\\.example/x\n"
                                "~ \\.exe(\\?|$) # the end\n"
                                "last.example";

static const struct match_row {
    const char *host, *path;
    bool match;
} match_rows[] = {
    {"host.example",        "/",                 true },
    {"host.example",        "/any?query",        true },
    {"HOST.EXAMPLE.",       "/",                 true },
    {"h%6fst.example",      "/",                 true },
    {"sub.host.example",    "/",                 false},
    {"xhost.example",       "/",                 false},
    {"host.exampl",         "/",                 false},
    {"example",             "/",                 false},
    {"spaced.example",      "/",                 true },
    {"below.example",       "/",                 true },
    {"a.below.example",     "/",                 true },
    {"a.b.c.below.example", "/x",                true },
    {"xbelow.example",      "/",                 false},
    {".below.example",      "/",                 true },
    {"scheme.example",      "/exact",            true },
    {"scheme.example",      "/exact?query",      true },
    {"scheme.example",      "/Exact",            false},
    {"scheme.example",      "/exact/",           false},
    {"scheme.example",      "/",                 false},
    {"path.example",        "/a/b.",             true },
    {"path.example",        "/a/x/../b%2E",      true },
    {"path.example",        "/%61/b.",           true },
    {"path.example",        "/pre",              true },
    {"path.example",        "/prefix/x?y",       true },
    {"path.example",        "/pre/longer/still", true },
    {"path.example",        "/x/../pre",         true },
    {"path.example",        "/pr",               false},
    {"path.example",        "/Pre",              false},
    {"path.example",        "/x/pre",            false},
    {"path.example",        "/query?id=7",       true },
    {"path.example",        "/query?ID=7",       false},
    {"path.example",        "/query",            false},
    {"path.example",        "/.hidden",          true },
    {"path.example",        "/visible",          false},
    {"sub.path.example",    "/pre",              false},
    {"root.example",        "",                  true },
    {"root.example",        "/",                 true },
    {"root.example",        "?q",                true },
    {"root.example",        "/x",                false},
    {"all.example",         "",                  true },
    {"all.example",         "/x/y",              true },
    {"port.example",        "/",                 true },
    {"192.0.2.7",           "/",                 true },
    {"0xc0.0.2.7",          "/",                 true },
    {"[::ffff:192.0.2.7]",  "/",                 true },
    {"192.0.2.70",          "/",                 false},
    {"[2001:db8:0:0::7]",   "/",                 true },
    {"2001:db8::7",         "/",                 true },
    {"[2001:db8::8]",       "/",                 false},
    {"under_score.example", "/",                 true },
    {"cdn12.example",       "/x",                true },
    {"CDN12.example",       "/X",                true },
    {"cdn.example",         "/x",                false},
    {"a.cdn12.example",     "/x",                false},
    {"other.example",       "/setup.EXE",        true },
    {"other.example",       "/setup.exe?x",      true },
    {"other.example",       "/setup.exes",       false},
    {"last.example",        "/",                 true },
    {"",                    "/pre",              false},
    {"",                    "",                  false},
    {"last",                ".example",          false}, /* a path is never read on as a host */
    {"path.example",        "pre",               true },
};

static void test_match(void **state)
{
    const struct match_row *row = *state;
    struct url_lists *u = one(&one_list, SPAN(list_text));
    bool limit = true;

    assert_int_equal(url_lists_match(u, 0, span_of(row->host), span_of(row->path), &limit),
                     row->match);
    assert_false(limit);
    assert_int_equal(url_lists_match(u, 0, span_of(row->host), span_of(row->path), NULL),
                     row->match);
    assert_int_equal(url_lists_verdict(u, span_of(row->host), span_of(row->path)) == &one_list,
                     row->match);
    url_lists_free(u);
}

/* Read in several ways by servers: on each list but one that allows. */
static void test_doubtful(void **state)
{
    static const struct url_list_settings allow = {"allow", "/a", URL_LIST_ALLOW};
    static const struct {
        const char *host, *path;
        bool doubtful;
    } rows[] = {
        {"h.example",          "/pub/x",               false},
        {"h.example",          "/pub/..x",             false},
        {"h.example",          "/pub/x..",             false},
        {"h.example",          "/pub/x%2Fy",           false},
        {"h.example",          "/pub/x;..",            false},
        {"h.example",          "/pub/x?a=/..%2F",      false},
        {"h.example",          "/pub/..%2fsecret",     true },
        {"h.example",          "/pub/x%2f..",          true },
        {"h.example",          "/pub/%2e%2e%5csecret", true },
        {"h.example",          "/pub/..\\secret",      true },
        {"h.example",          "/pub\\..\\secret",     true },
        {"h.example",          "/pub/..;/secret",      true },
        {"h.example",          "/pub/..;a=b/secret",   true },
        {"h.example",          "/pub/..%3b/secret",    true },
        {"h.example",          "/pub/x#y",             true },
        {"h.example",          "/pub/x?y#z",           true },
        {"h.example",          "#@i.example/pub/x",    true },
        {"\xc3\xb6.h.example", "/pub/x",               true },
        {"%c3%b6.h.example",   "/pub/x",               true },
        {"h\xe3\x80\x82"
         "example",   "/pub/x",               true },
    };
    struct url_lists *allowed = one(&allow, SPAN("h.example/pub/*"));
    struct url_lists *denied = one(&one_list, SPAN("nowhere.example"));

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span host = span_of(rows[i].host), path = span_of(rows[i].path);
        bool limit, match = url_lists_match(denied, 0, host, path, &limit);

        print_message("%s%s\n", rows[i].host, rows[i].path);
        assert_int_equal(match, rows[i].doubtful);
        assert_int_equal(limit, rows[i].doubtful);
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool limit, match = url_lists_match(allowed, 0, span_of(rows[i].host),
                                            span_of(rows[i].path), &limit);

        assert_int_equal(match, !rows[i].doubtful);
    }
    url_lists_free(allowed);
    url_lists_free(denied);
}

static void test_empty_list(void **state)
{
    static const char *const rows[] = {"", "\n", "# nothing\n\n", "\xef\xbb\xbf", "\r\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct url_lists *u = one(&one_list, span_of(rows[i]));
        bool limit;

        assert_false(url_lists_match(u, 0, SPAN("host.example"), SPAN("/"), &limit));
        assert_null(url_lists_verdict(u, SPAN("host.example"), SPAN("/")));
        url_lists_free(u);
    }
    url_lists_free(NULL);
}

/* Of entries that begin with each other one is kept, whatever stands between them. */
static void test_prefixes(void **state)
{
    static const struct {
        const char *path;
        bool match;
    } rows[] = {
        {"/a/b",         true },
        {"/a/bc",        true },
        {"/a/b0",        true },
        {"/a/",          false},
        {"/a/a",         false},
        {"/m",           true },
        {"/mm",          true },
        {"/l",           false},
        {"/n",           false},
        {"/%C3%A9x",     true },
        {"/\xc3\xa9x",   true },
        {"/%C3x",        false},
        {"/z/y/x",       true },
        {"/z/y?x=1&y=2", true },
        {"/z/y?x",       false},
        {"/z/y",         false},
    };
    struct url_lists *u =
        one(&one_list, SPAN("h/m*\nh/a/b/c*\nh/a/b*\nh/a/b/c/d*\nh/a/b*\nh/%c3%A9*\n"
                            "h/z/y/*\nh/z/y?x=*\nh/a/bb*\n"));

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (url_lists_match(u, 0, SPAN("h"), span_of(rows[i].path), NULL) != rows[i].match)
            fail_msg("%s", rows[i].path);
    url_lists_free(u);
}

/* ---- faults ---- */

/* clang-format off */
static const struct fault_row {
    const char *text, *errors;
} fault_rows[] = {
    {"good.example\nbad example\n",
     "/a:2: a blank inside an entry: one host or URL a line, and nothing else\n"},
    {"0.0.0.0 host.example",
     "/a:1: a blank inside an entry: one host or URL a line, and nothing else\n"},
    {"a\tb", "/a:1: a control character\n"},
    {"*.example", "/a:1: a host has no '*'; .example is example and every host below it\n"},
    {"ho$t", "/a:1: a host has letters, digits, '-', '_' and '.'\n"},
    {"user@host.example", "/a:1: this is no host\n"},
    {"a..b", "/a:1: a host's parts have 1 to 63 characters\n"},
    {"..a", "/a:1: a host's parts have 1 to 63 characters\n"},
    {".", "/a:1: a host has 1 to 253 characters\n"},
    {"/path", "/a:1: a host has 1 to 253 characters\n"},
    {"https://", "/a:1: a host has 1 to 253 characters\n"},
    {"b\xc3\xbc" "cher.example",
     "/a:1: international names are written as in a request, xn--...\n"},
    {"host:port", "/a:1: this is no port\n"},
    {"host:65536", "/a:1: this is no port\n"},
    {"[2001:db8::7]x", "/a:1: this is no port\n"},
    {"2001:db8::7", "/a:1: this is no port\n"},
    {"10.1", "/a:1: an IPv4 address is four numbers, an IPv6 address stands in brackets\n"},
    {"0xc0.0.2.7", "/a:1: an IPv4 address is four numbers, an IPv6 address stands in brackets\n"},
    {".192.0.2.7", "/a:1: there is nothing below an address\n"},
    {".example/path",
     "/a:1: a path needs a host without '.' before it; a regular expression ('~') can do more\n"},
    {"host/p?q", "/a:1: a path with a query needs '*' at its end\n"},
    {"host/p#f", "/a:1: requests have no fragment ('#')\n"},
    {"host/a*b", "/a:1: a '*' stands at the end; a regular expression ('~') can do more\n"},
    {"host/a**", "/a:1: a '*' stands at the end; a regular expression ('~') can do more\n"},
    {"host/100%", "/a:1: '%' without two hexadecimal digits\n"},
    {"host/%2*", "/a:1: '%' without two hexadecimal digits\n"},
    {"~", "/a:1: an empty regular expression matches everything\n"},
    {"\n\n~(a", "/a:3: the regular expression does not compile, at character 3: missing closing "
     "parenthesis\n"},
    {"~(*UTF)a", "/a:1: the regular expression does not compile, at character 7: using UTF is "
     "disabled by the application\n"},
    {"$\n$\n$\n$\n$\n$\n$\n", "/a:1: a host has letters, digits, '-', '_' and '.'\n"
     "/a:2: a host has letters, digits, '-', '_' and '.'\n"
     "/a:3: a host has letters, digits, '-', '_' and '.'\n"
     "/a:4: a host has letters, digits, '-', '_' and '.'\n"
     "/a:5: a host has letters, digits, '-', '_' and '.'\n" "/a: and 2 more\n"},
};
/* clang-format on */

static void test_fault(void **state)
{
    const struct fault_row *row = *state;
    struct span text = span_of(row->text);
    struct files f = {&text, 1};
    struct url_lists *u = NULL;
    struct buf errors;

    buf_init(&errors, 0);
    assert_int_equal(make(&one_list, 1, &f, &u, &errors), ERR_CONFIG);
    assert_null(u);
    assert_string_equal(buf_cstr(&errors), row->errors);
    buf_done(&errors);
}

static void test_long_texts(void **state)
{
    static const struct {
        size_t n;
        const char *unit, *error;
    } rows[] = {
        {63,   "a",  ""                                              },
        {64,   "a",  "/a:1: a host's parts have 1 to 63 characters\n"},
        {126,  "a.", ""                                              },
 /* 253 characters and the closing dot */
        {127,  "a.", ""                                              },
        {128,  "a.", "/a:1: a host has 1 to 253 characters\n"        },
        {8193, "a",  "/a:1: the line is too long\n"                  },
    };
    struct buf text, errors;

    (void)state;
    buf_init(&text, 0);
    buf_init(&errors, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span s;
        struct files f = {&s, 1};
        struct url_lists *u = NULL;

        for (size_t j = 0; j < rows[i].n; j++)
            buf_text(&text, rows[i].unit);
        s = buf_span(&text);
        assert_int_equal(make(&one_list, 1, &f, &u, &errors), rows[i].error[0] ? ERR_CONFIG : OK);
        assert_string_equal(buf_cstr(&errors), rows[i].error);
        url_lists_free(u);
        buf_reset(&text);
        buf_reset(&errors);
    }
    buf_done(&text);
    buf_done(&errors);
}

/* ---- several lists ---- */

static const struct url_list_settings four[] = {
    {"deny",  "/a", URL_LIST_DENY },
    {"note",  "/b", URL_LIST_NOTE },
    {"rules", "/c", URL_LIST_MATCH},
    {"allow", "/d", URL_LIST_ALLOW},
};

static void test_verdict(void **state)
{
    static const struct span texts[] = {
        {".example",                  8 },
        {"n.example\nn.test",         16},
        {".test",                     5 },
        {"good.example\nn.good.test", 24}
    };
    static const struct {
        const char *host, *list;
    } rows[] = {
        {"bad.example",       "deny" },
        {"n.example",         "deny" },
        {"good.example",      "allow"},
        {"n.test",            "note" },
        {"other.test",        NULL   },
        {"elsewhere.invalid", NULL   },
        {"n.good.test",       "allow"},
    };
    struct files f = {texts, ARRAY_LEN(texts)};
    struct url_lists *u = NULL;
    struct buf errors;

    (void)state;
    buf_init(&errors, 0);
    assert_int_equal(make(four, ARRAY_LEN(four), &f, &u, &errors), OK);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct url_list_settings *s = url_lists_verdict(u, span_of(rows[i].host), SPAN("/"));

        if (rows[i].list)
            assert_string_equal(s ? s->name : "none", rows[i].list);
        else
            assert_null(s);
    }
    assert_int_equal(url_lists_find(u, SPAN("rules")), 2);
    assert_int_equal(url_lists_find(u, SPAN("Rules")), -1);
    url_lists_free(u);
    buf_done(&errors);
}

static void test_all_faults_are_told(void **state)
{
    static const struct span texts[] = {
        {"a b", 3},
        {"ok",  2},
        {"~(",  2}
    };
    static const struct url_list_settings lists[] = {
        {"x", "/a", URL_LIST_DENY},
        {"y", "/b", URL_LIST_DENY},
        {"x", "/c", URL_LIST_DENY},
        {"z", "/d", URL_LIST_DENY},
    };
    struct files f = {texts, ARRAY_LEN(texts)};
    struct url_lists *u = NULL;
    struct buf errors;

    (void)state;
    buf_init(&errors, 0);
    assert_int_equal(make(lists, ARRAY_LEN(lists), &f, &u, &errors), ERR_CONFIG);
    assert_string_equal(
        buf_cstr(&errors),
        "/c: there is a list 'x' already\n"
        "/a:1: a blank inside an entry: one host or URL a line, and nothing else\n"
        "/c:1: the regular expression does not compile, at character 2: missing closing "
        "parenthesis\n"
        "/d: the file cannot be read\n");
    buf_done(&errors);
}

/* The text goes into ISTags: the same for every process, another one for every change. */
static void test_digest(void **state)
{
    static const struct url_list_settings note = {"one", "/a", URL_LIST_NOTE};
    struct url_lists *u[] = {one(&one_list, SPAN("a.example\n")),
                             one(&one_list, SPAN("a.example\n")),
                             one(&one_list, SPAN("b.example\n")), one(&note, SPAN("a.example\n"))};

    (void)state;
    assert_int_equal(span_of(url_lists_text(u[0])).n, 20);
    assert_memory_equal(url_lists_text(u[0]), "url ", 4);
    assert_string_equal(url_lists_text(u[0]), url_lists_text(u[1]));
    assert_string_not_equal(url_lists_text(u[0]), url_lists_text(u[2]));
    assert_string_not_equal(url_lists_text(u[0]), url_lists_text(u[3]));
    for (size_t i = 0; i < ARRAY_LEN(u); i++)
        url_lists_free(u[i]);
}

/* ---- limits ---- */

/* What nobody can answer in time is not allowed and, by every other list, met. */
static void test_limit(void **state)
{
    static const struct {
        enum url_list_action action;
        bool match;
    } rows[] = {
        {URL_LIST_DENY,  true },
        {URL_LIST_MATCH, true },
        {URL_LIST_NOTE,  true },
        {URL_LIST_ALLOW, false}
    };
    static char path[300000] = "/";

    (void)state;
    memset(path + 1, 'a', sizeof path - 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct url_list_settings s = {"one", "/a", rows[i].action};
        struct url_lists *u = one(&s, SPAN("~/(a|aa)+$\nhost.example\n"));
        bool limit = false;

        /* Fibonacci many ways to read it. */
        assert_int_equal(url_lists_match(u, 0, SPAN("slow.example"),
                                         SPAN("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), &limit),
                         rows[i].match);
        assert_true(limit);
        /* More depth than there is heap for. */
        assert_int_equal(
            url_lists_match(u, 0, SPAN("slow.example"), (struct span){path, 60000}, &limit),
            rows[i].match);
        assert_true(limit);
        assert_int_equal(url_lists_match(u, 0, SPAN("ho st"), SPAN("/"), &limit), rows[i].match);
        assert_true(limit);
        assert_int_equal(
            url_lists_match(u, 0, SPAN("slow.example"), (struct span){path, sizeof path}, &limit),
            rows[i].match);
        assert_true(limit);
        assert_true(url_lists_match(u, 0, SPAN("host.example"), SPAN("/aaaaaaaaaaab"), &limit));
        assert_false(limit);
        url_lists_free(u);
    }
}

static void test_too_many_regexes(void **state)
{
    struct buf text, errors;
    struct span s;
    struct files f = {&s, 1};
    struct url_lists *u = NULL;

    (void)state;
    buf_init(&text, 0);
    buf_init(&errors, 0);
    for (unsigned i = 0; i < 1000; i++)
        buf_fmt(&text, "~^x%u\n", i);
    s = buf_span(&text);
    assert_int_equal(make(&one_list, 1, &f, &u, &errors), OK);
    assert_true(url_lists_match(u, 0, SPAN("x999.example"), SPAN("/"), NULL));
    url_lists_free(u);
    buf_text(&text, "~one\n");
    s = buf_span(&text);
    assert_int_equal(make(&one_list, 1, &f, &u, &errors), ERR_CONFIG);
    assert_string_equal(buf_cstr(&errors),
                        "/a:1001: more than 1000 regular expressions in one list\n");
    buf_done(&text);
    buf_done(&errors);
}

/* Every allocation fails once: no list, no leak, and no answer that is not fail closed. */
static void test_no_memory(void **state)
{
    struct span text = SPAN("a.example\nb.example/x*\n~c\n");
    struct files f = {&text, 1};
    struct url_lists *u = NULL;
    struct buf errors;
    bool limit = false;
    enum err e = ERR_NOMEM;

    (void)state;
    buf_init(&errors, 0);
    for (unsigned n = 1; n < 100 && e != OK; n++) {
        /* Every n-th one: with the first n that is more than there are, nothing fails. */
        mem_fail_after(n);
        e = make(&one_list, 1, &f, &u, &errors);
        mem_fail_after(0);
        assert_true(e == OK || e == ERR_NOMEM);
        assert_int_equal(u != NULL, e == OK);
        assert_true(n > 1 || e == ERR_NOMEM);
    }
    assert_non_null(u);
    mem_fail_after(1);
    assert_true(url_lists_match(u, 0, SPAN("other.example"), SPAN("/"), &limit));
    mem_fail_after(0);
    assert_true(limit);
    assert_int_equal(errors.n, 0);
    url_lists_free(u);
    buf_done(&errors);
}

/* ---- size ---- */

#ifdef SALLYPORT_SANITIZED
#define MANY 50000u
#else
#define MANY 1000000u
#endif

static void make_feed(struct buf *text)
{
    for (unsigned i = 0; i < MANY; i++) {
        switch (i % 10) {
        case 7: buf_fmt(text, ".d%u.bad-%x.example\n", i, i * 2654435761u); break;
        case 8: buf_fmt(text, "http://p%u.bad-%x.example/a/b\n", i, i * 2654435761u); break;
        case 9: buf_fmt(text, "q%u.bad-%x.example/c*\n", i, i * 2654435761u); break;
        default: buf_fmt(text, "h%u.bad-%x.example\n", i, i * 2654435761u); break;
        }
    }
}

static void check_feed(const struct url_lists *u, unsigned i)
{
    static const char first[] = "hhhhhhhdpq";
    char host[64];

    (void)snprintf(host, sizeof host, "%c%u.bad-%x.example", first[i % 10], i, i * 2654435761u);
    assert_true(url_lists_match(u, 0, span_of(host),
                                i % 10 == 8   ? SPAN("/a/b?x")
                                : i % 10 == 9 ? SPAN("/cd")
                                              : SPAN("/"),
                                NULL));
    (void)snprintf(host, sizeof host, "x%u.bad-%x.example", i, i * 2654435761u);
    assert_false(url_lists_match(u, 0, span_of(host), SPAN("/a/b"), NULL));
}

static void test_feed(void **state)
{
    struct buf text;
    struct url_lists *u;
    uint64_t start, loaded, asked;

    (void)state;
    buf_init(&text, 0);
    make_feed(&text);
    start = clock_mono_ms(&clock_system);
    u = one(&one_list, buf_span(&text));
    loaded = clock_mono_ms(&clock_system);
    for (unsigned i = 0; i < MANY; i++)
        check_feed(u, i);
    asked = clock_mono_ms(&clock_system);
    print_message("%u entries, %zu bytes: loaded in %llu ms, 2 x asked in %llu ms\n", MANY, text.n,
                  (unsigned long long)(loaded - start), (unsigned long long)(asked - loaded));
    url_lists_free(u);
    buf_done(&text);
}

/* ---- rows of the configuration ---- */

static void test_rows(void **state)
{
    struct config_report r;
    struct arena mem;
    struct url_list_settings s;

    (void)state;
    config_report_init(&r);
    assert_int_equal(config_rows_check(&url_list_block, &r), OK);
    config_report_done(&r);
    config_report_init(&r);
    arena_init(&mem, 0);
    assert_int_equal(
        config_load_text(SPAN("name: bad\nfile: /x\n"), "f", &url_list_block, &mem, &r, &s), OK);
    assert_int_equal(s.action, URL_LIST_MATCH);
    arena_done(&mem);
    config_report_done(&r);
}

int main(void)
{
    static char names[ARRAY_LEN(match_rows) + ARRAY_LEN(fault_rows)][80];
    struct CMUnitTest tests[ARRAY_LEN(names) + 15];
    size_t n = 0, named = 0;

    for (size_t i = 0; i < ARRAY_LEN(match_rows); i++, named++) {
        (void)snprintf(names[named], sizeof names[named], "match %s %s", match_rows[i].host,
                       match_rows[i].path);
        tests[n++] = (struct CMUnitTest){names[named], test_match, NULL, NULL,
                                         (void *)(uintptr_t)&match_rows[i]};
    }
    for (size_t i = 0; i < ARRAY_LEN(fault_rows); i++, named++) {
        (void)snprintf(names[named], sizeof names[named], "fault %zu", i);
        tests[n++] = (struct CMUnitTest){names[named], test_fault, NULL, NULL,
                                         (void *)(uintptr_t)&fault_rows[i]};
    }
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_host_spelling),
        cmocka_unit_test(test_host_refused),
        cmocka_unit_test(test_path_spelling),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_doubtful),
        cmocka_unit_test(test_empty_list),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_verdict),
        cmocka_unit_test(test_all_faults_are_told),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_too_many_regexes),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_feed),
        cmocka_unit_test(test_rows),
    };

    /* cmocka_run_group_tests() runs all elements: none may be left empty. */
    static_assert(ARRAY_LEN(tests) == ARRAY_LEN(names) + ARRAY_LEN(others), "every test");
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
