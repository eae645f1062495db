/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of services: globs, hosts, how rules are written, and what they decide at the heads and
 * after the body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/rules.h"
#include "base/arena.h"
#include "base/clock.h"

/* ---- globs and hosts ---- */

static void test_glob(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } rows[] = {
        {"",        "",             true },
        {"",        "a",            false},
        {"a",       "",             false},
        {"*",       "",             true },
        {"*",       "anything",     true },
        {"**",      "",             true },
        {"?",       "",             false},
        {"?",       "a",            true },
        {"?",       "ab",           false},
        {"a?c",     "abc",          true },
        {"A*C",     "abbbc",        true },
        {"a*C",     "ABBBD",        false},
        {"*.docm",  "Invoice.DOCM", true },
        {"*.docm",  ".docm",        true },
        {"*.docm",  "docm",         false},
        {"*.docm",  "x.docm.pdf",   false},
        {"image/*", "image/png",    true },
        {"image/*", "image/",       true },
        {"image/*", "ximage/png",   false},
        {"a*b*c",   "aXbXbXc",      true },
        {"a*b*c",   "aXcXb",        false},
        {"*ab",     "aab",          true },
        {"*aab*",   "aaab",         true },
        {"*?",      "",             false},
        {"*?",      "ab",           true },
        {"?*?",     "a",            false},
        {"?*?",     "ab",           true },
        {"a*",      "b",            false},
        {"*a*a",    "aa",           true },
        {"*a*a",    "a",            false},
        {"\xc4*",   "\xc4\xff",     true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (glob_match(span_of(rows[i].pattern), span_of(rows[i].text)) != rows[i].match)
            fail_msg("glob '%s', text '%s'", rows[i].pattern, rows[i].text);
    assert_true(glob_match((struct span){"a?\0*", 4}, (struct span){"ab\0cd", 5}));
    assert_false(glob_match((struct span){"a\0b", 3}, (struct span){"a\0c", 3}));
}

/* Recursion, or going back over all stars, would take longer than the sun has. */
static void test_glob_takes_its_time_only(void **state)
{
    char pattern[200], text[20000];
    uint64_t start = clock_mono_ms(&clock_system);

    (void)state;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = i % 2 ? 'a' : '*';
    pattern[sizeof pattern - 1] = 'b';
    memset(text, 'a', sizeof text);
    assert_false(
        glob_match((struct span){pattern, sizeof pattern}, (struct span){text, sizeof text}));
    assert_true(clock_mono_ms(&clock_system) - start < 5000);
}

static void test_host(void **state)
{
    static const struct {
        const char *pattern, *host;
        bool match;
    } rows[] = {
        {"host.example",  "host.example",       true },
        {"host.example",  "HOST.example.",      true },
        {"Host.Example.", "host.example",       true },
        {"host.example",  "a.host.example",     false},
        {"host.example",  "xhost.example",      false},
        {".example",      "example",            true },
        {".example",      "host.example",       true },
        {".example",      "a.b.example",        true },
        {".example",      "badexample",         false},
        {".example",      "example.org",        false},
        {".example",      "",                   false},
        {".",             "host",               false},
        {"",              "",                   false},
        {"192.0.2.7",     "192.0.2.7",          true },
        {"192.0.2.7",     "0xc0000207",         true },
        {"192.0.2.7",     "[::ffff:192.0.2.7]", true },
        {".7",            "192.0.2.7",          false},
        {"[2001:db8::7]", "2001:DB8:0::7",      true },
        {"2001:db8::7",   "[2001:db8::7]",      true },
        {"[2001:db8::7]", "[2001:db8::8]",      false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (host_match(span_of(rows[i].pattern), span_of(rows[i].host)) != rows[i].match)
            fail_msg("pattern '%s', host '%s'", rows[i].pattern, rows[i].host);
}

/* ---- a service with rules, out of a configuration ---- */

struct service {
    struct rule_settings *rules;
    size_t n_rules;
};
static const struct config_row service_rows[] = {
    CONFIG_LIST("rules", struct service, rules, n_rules, rule_block, .unique = "name"),
};
static const struct config_block service_block = CONFIG_ROWS(struct service, service_rows);

static const struct url_list_settings lists[] = {
    {"plain",      "/plain", URL_LIST_MATCH},
    {"slow",       "/slow",  URL_LIST_MATCH},
    {"slow-allow", "/slow",  URL_LIST_ALLOW},
};

static struct span list_text(void *arg, const char *path)
{
    (void)arg;
    return span_eq(span_of(path), SPAN("/plain")) ? SPAN(".listed.example\n")
                                                  : SPAN("~/(a|aa)+$\n");
}

struct world {
    struct arena mem;
    struct service service;
    struct url_lists *lists;
    struct rules *rules;
};

static void load(struct world *w, const char *yaml)
{
    struct url_lists_source src = {.lists = lists, .n = ARRAY_LEN(lists), .text = list_text};
    struct config_report r;
    struct buf text;

    buf_init(&text, 0);
    arena_init(&w->mem, 0);
    config_report_init(&r);
    if (config_load_text(span_of(yaml), "x", &service_block, &w->mem, &r, &w->service) != OK) {
        config_report_print(&r, &text);
        fail_msg("%s", buf_cstr(&text));
    }
    config_report_done(&r);
    assert_int_equal(url_lists_new(&src, &w->lists, &text), OK);
    assert_int_equal(rules_new(w->service.rules, w->service.n_rules, w->lists, &w->rules, &text),
                     OK);
    assert_int_equal(text.n, 0);
    buf_done(&text);
}

static void unload(struct world *w)
{
    rules_free(w->rules);
    url_lists_free(w->lists);
    arena_done(&w->mem);
}

/* ---- one rule, one message ---- */

enum then { HEAD, BODY }; /* when is it asked */
enum answer { PASSES, MATCHES, WAITS };

struct finding_row {
    const char *name;
    bool note;
};

struct object_row {
    enum object_role role;
    const char *name, *declared, *sniffed;
};

/* clang-format off */
static const struct match_row {
    const char *name; /* of the test */
    const char *rule; /* flow mapping, without its name */
    enum then when;
    enum answer answer;
    const char *where;
    const char *client, *user, *host, *path;
    const char *file, *declared, *sniffed, *sha256;
    uint64_t len;
    bool unknown; /* the file name */
    bool no_result, broken_table;
    struct finding_row findings[3];
    struct object_row objects[4];
} match_rows[] = {
    /* Heads. */
    {"no condition", "then: block", HEAD, MATCHES, .path = "/"},
    {"client", "client: [192.0.2.0/24], then: block", HEAD, MATCHES, .client = "192.0.2.7:1"},
    {"other client", "client: [192.0.2.0/24], then: block", HEAD, PASSES,
     .client = "192.0.3.7:1"},
    {"mapped client", "client: [192.0.2.0/24], then: block", HEAD, MATCHES,
     .client = "[::ffff:192.0.2.7]:1"},
    {"client 6", "client: ['2001:db8::/32'], then: block", HEAD, MATCHES,
     .client = "[2001:db8::7]:1"},
    {"unknown client", "client: [0.0.0.0/0, '::/0'], then: block", HEAD, PASSES, .path = "/"},
    {"unix client", "client: [0.0.0.0/0, '::/0'], then: block", HEAD, PASSES,
     .client = "unix:/run/x"},
    {"user", "user: ['admin*'], then: block", HEAD, MATCHES, .user = "Administrator"},
    {"other user", "user: ['admin*', root], then: block", HEAD, PASSES, .user = "guest"},
    {"second user", "user: ['admin*', root], then: block", HEAD, MATCHES, .user = "root"},
    {"no user", "user: ['*'], then: block", HEAD, PASSES, .path = "/"},
    {"method", "method: [REQMOD], then: block", HEAD, MATCHES, .path = "/"},
    {"other method", "method: [respmod], then: block", HEAD, PASSES, .path = "/"},
    {"host", "host: [x.test, .example], then: block", HEAD, MATCHES, .host = "a.example"},
    {"other host", "host: [x.test, .example], then: block", HEAD, PASSES, .host = "y.test"},
    {"list", "url-list: [slow, plain], then: block", HEAD, MATCHES, .host = "a.listed.example"},
    {"other list", "url-list: [slow], then: block", HEAD, PASSES, .host = "a.listed.example"},
    {"all must hold", "host: [.example], user: [root], then: block", HEAD, PASSES,
     .host = "a.example", .user = "guest"},
    /* A regular expression at its limit. */
    {"limit block", "url-list: [slow], then: block", HEAD, MATCHES, .host = "h",
     .path = "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"},
    {"limit block, allow list", "url-list: [slow-allow], then: block", HEAD, MATCHES,
     .host = "h", .path = "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"},
    {"limit allow", "url-list: [slow], then: allow", HEAD, PASSES, .host = "h",
     .path = "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"},
    {"limit pipeline", "url-list: [slow], then: pipeline, pipeline: [yara]", HEAD, PASSES,
     .host = "h", .path = "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"},
    {"no limit allow", "url-list: [slow], then: allow", HEAD, MATCHES, .host = "h",
     .path = "/aaaa"},
    /* File names. */
    {"file", "file: ['*.exe'], then: block", HEAD, MATCHES, .file = "Setup.EXE"},
    {"other file", "file: ['*.exe'], then: block", HEAD, PASSES, .file = "a.pdf"},
    {"file of a form", "file: ['*.exe'], then: block", HEAD, WAITS,
     .declared = "multipart/form-data"},
    {"file in a form", "file: ['*.exe'], then: block", BODY, MATCHES, .where = "part b.exe",
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a.pdf", "", ""}, {OBJECT_FILE, "b.exe", "", ""}}},
    {"field is no file", "file: ['*.exe'], then: block", BODY, PASSES,
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FIELD, "b.exe", "", ""}, {OBJECT_FILE, "a.pdf", "", ""}}},
    {"allow file", "file: ['*.pdf'], then: allow", HEAD, MATCHES, .file = "a.pdf"},
    {"allow file of a form", "file: ['*.pdf'], then: allow", HEAD, WAITS, .file = "a.pdf",
     .declared = "multipart/form-data"},
    {"allow each file", "file: ['*.pdf'], then: allow", BODY, MATCHES,
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a.pdf", "", ""},
                 {OBJECT_FIELD, "x", "", ""},
                 {OBJECT_FILE, "b.PDF", "", ""}}},
    {"allow each file, but one has no name", "file: ['*'], then: allow", BODY, PASSES,
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a.pdf", "", ""}, {OBJECT_FIELD, "b.pdf", "", "application/x-dosexec"}}},
    {"allow each type, with a text", "type: [image/png], then: allow", BODY, MATCHES,
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a.png", "", "image/png"}, {OBJECT_FIELD, "b", "", "text/plain"}}},
    {"allow each type, but one has no name", "type: [image/png], then: allow", BODY, PASSES,
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a.png", "", "image/png"}, {OBJECT_FIELD, "b", "", "application/x-dosexec"}}},
    {"allow each type, also without a name", "type: [image/png], then: allow", BODY, MATCHES,
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a.png", "", "image/png"}, {OBJECT_FIELD, "b", "", "image/png"}}},
    {"allow not each file", "file: ['*.pdf'], then: allow", BODY, PASSES,
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a.pdf", "", ""}, {OBJECT_FILE, "b.exe", "", ""}}},
    {"allow mere fields", "file: ['*'], then: allow", BODY, PASSES,
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FIELD, "a.pdf", "", ""}}},
    {"allow decoded body", "file: ['*.pdf'], then: allow", BODY, MATCHES, .file = "a.pdf",
     .objects = {{OBJECT_BODY, "", "", ""}}},
    /* A name that nobody can read may be any, and is none for sure. */
    {"unknown name block", "file: ['*.exe'], then: block", HEAD, MATCHES, .file = "=?x?q?a?=",
     .unknown = true},
    {"unknown name block, body", "file: ['*.exe'], then: block", BODY, MATCHES, .file = "a.pdf",
     .unknown = true},
    {"unknown name block, other type", "file: ['*.exe'], type: [a/b], then: block", BODY, PASSES,
     .declared = "c/d", .unknown = true},
    {"unknown name allow", "file: ['*.pdf'], then: allow", HEAD, PASSES, .file = "a.pdf",
     .unknown = true},
    {"unknown name allow any", "file: ['*'], then: allow", BODY, PASSES, .file = "a.pdf",
     .unknown = true, .objects = {{OBJECT_BODY, "", "", ""}}},
    {"unknown name pipeline", "file: ['*'], then: pipeline, pipeline: [yara]", HEAD, PASSES,
     .file = "a.pdf", .unknown = true},
    {"unknown name of a form allows", "file: ['*.pdf'], then: allow", BODY, MATCHES,
     .declared = "multipart/form-data", .unknown = true,
     .objects = {{OBJECT_FILE, "a.pdf", "", ""}}},
    {"no name condition", "host: [h], then: allow", HEAD, MATCHES, .host = "h", .unknown = true},
    /* Types. */
    {"declared", "type: [image/*], then: block", HEAD, MATCHES, .declared = "image/png"},
    {"sniffed may differ", "type: [image/*], then: block", HEAD, WAITS, .declared = "text/html"},
    {"sniffed", "type: [image/*], then: block", BODY, MATCHES, .declared = "text/html",
     .sniffed = "image/png"},
    {"neither", "type: [image/*], then: block", BODY, PASSES, .declared = "text/html",
     .sniffed = "text/plain"},
    {"declared still counts", "type: [image/*], then: block", BODY, MATCHES,
     .declared = "image/png", .sniffed = "text/plain"},
    {"nothing was run", "type: [image/*], then: block", BODY, PASSES, .declared = "text/html",
     .no_result = true},
    {"field's type", "type: [application/x-*], then: block", BODY, MATCHES, .where = "part f",
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FIELD, "f", "", "application/x-dosexec"}}},
    {"form's own look does not count", "type: [text/plain], then: block", BODY, PASSES,
     .declared = "multipart/form-data", .sniffed = "text/plain",
     .objects = {{OBJECT_FILE, "a", "image/png", "image/png"},
                 {OBJECT_FILE, "b", "image/png", "image/png"}}},
    {"type and name of one object", "type: [application/zip], file: ['*.jpg'], then: block",
     BODY, MATCHES, .where = "part c.jpg", .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a.zip", "", "application/zip"},
                 {OBJECT_FILE, "b.jpg", "", "image/jpeg"},
                 {OBJECT_FILE, "c.jpg", "image/jpeg", "application/zip"}}},
    {"type and name of two objects", "type: [application/zip], file: ['*.jpg'], then: block",
     BODY, PASSES, .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a.zip", "", "application/zip"},
                 {OBJECT_FILE, "b.jpg", "", "image/jpeg"}}},
    {"wrong name, type unknown", "type: [application/zip], file: ['*.jpg'], then: block", HEAD,
     PASSES, .file = "a.zip", .declared = "x/y"},
    {"allow waits for the look", "type: [image/*], then: allow", HEAD, WAITS,
     .declared = "image/png"},
    {"allow declared as something else", "type: [image/*], then: allow", HEAD, PASSES,
     .declared = "text/html"},
    {"allow undeclared waits", "type: [image/*], then: allow", HEAD, WAITS, .path = "/"},
    {"allow both", "type: [image/*], then: allow", BODY, MATCHES, .declared = "image/png",
     .sniffed = "image/jpeg"},
    {"allow looks otherwise", "type: [image/*], then: allow", BODY, PASSES,
     .declared = "image/png", .sniffed = "application/x-dosexec"},
    {"allow without a look", "type: [image/*], then: allow", BODY, PASSES,
     .declared = "image/png"},
    {"allow undeclared", "type: [image/*], then: allow", BODY, MATCHES, .sniffed = "image/png"},
    {"allow without result", "type: [image/*], then: allow", BODY, PASSES,
     .declared = "image/png", .no_result = true},
    {"allow decoded", "type: [image/*], then: allow", BODY, MATCHES, .declared = "image/png",
     .sniffed = "image/png",
     .objects = {{OBJECT_BODY, "", "", ""}}},
    {"allow each", "type: [image/*], then: allow", BODY, MATCHES,
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a", "image/png", "image/png"},
                 {OBJECT_FILE, "b", "", "image/png"},
                 {OBJECT_BODY, "", "multipart/form-data", "text/plain"}}},
    {"allow not each", "type: [image/*], then: allow", BODY, PASSES,
     .declared = "multipart/form-data",
     .objects = {{OBJECT_FILE, "a", "image/png", "image/png"},
                 {OBJECT_FILE, "b", "image/png", "text/html"}}},
    {"pipeline by declared type", "type: [image/*], then: pipeline, pipeline: [yara]", HEAD,
     MATCHES, .declared = "image/png"},
    {"pipeline never waits", "type: [image/*], file: ['*.x'], then: pipeline, pipeline: [yara]",
     HEAD, PASSES, .declared = "multipart/form-data"},
    {"pipeline after the body", "then: pipeline, pipeline: [yara]", BODY, PASSES, .path = "/"},
    /* A table that cannot be read. */
    {"broken table block", "type: [image/*], then: block", BODY, MATCHES, .broken_table = true,
     .objects = {{OBJECT_FILE, "a", "", "text/plain"}}},
    {"broken table allow", "type: [text/*], then: allow", BODY, PASSES, .broken_table = true,
     .objects = {{OBJECT_FILE, "a", "", "text/plain"}}},
    {"broken table, no matter", "host: [h], then: allow", BODY, MATCHES, .broken_table = true,
     .host = "h",
     .objects = {{OBJECT_FILE, "a", "", "text/plain"}}},
    /* The whole body. */
    {"digest", "sha256: [ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789], "
     "then: block", BODY, MATCHES,
     .sha256 = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"},
    {"other digest",
     "sha256: [bbcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789], "
     "then: block", BODY, PASSES,
     .sha256 = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"},
    {"digest waits",
     "sha256: [bbcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789], "
     "then: block", HEAD, WAITS, .path = "/"},
    {"heads come first", "larger: 5, host: [x.test], then: block", HEAD, PASSES,
     .host = "y.test"},
    {"larger", "larger: 5, then: block", BODY, MATCHES, .len = 6},
    {"not larger", "larger: 5, then: block", BODY, PASSES, .len = 5},
    {"smaller", "smaller: 5, then: block", BODY, MATCHES, .len = 4},
    {"not smaller", "smaller: 5, then: block", BODY, PASSES, .len = 5},
    {"between", "larger: 5, smaller: 7, then: block", BODY, MATCHES, .len = 6},
    {"size waits", "smaller: 5, then: allow", HEAD, WAITS, .path = "/"},
    /* Findings. */
    {"signature", "signature: ['Win.*'], then: block", BODY, MATCHES, .findings = {{"Other",
     false}, {"Win.Test", false}}},
    {"signature of a note", "signature: ['Win.*'], then: block", BODY, MATCHES,
     .findings = {{"Win.Test", true}}},
    {"no signature", "signature: ['*'], then: block", BODY, PASSES, .path = "/"},
    {"signature waits", "signature: ['*'], then: note", HEAD, WAITS, .path = "/"},
    {"signature without result", "signature: ['*'], then: block", BODY, PASSES,
     .no_result = true},
    {"allow signature", "signature: ['Win.*'], then: allow", BODY, MATCHES,
     .findings = {{"Win.Test", false}, {"noted", true}}},
    {"allow one of two", "signature: ['Win.*'], then: allow", BODY, PASSES,
     .findings = {{"Win.Test", false}, {"Other", false}}},
    {"allow nothing found", "signature: ['*'], then: allow", BODY, PASSES, .path = "/"},
};
/* clang-format on */

static size_t row_objects(const struct match_row *row)
{
    size_t n = 0;

    while (n < ARRAY_LEN(row->objects) && row->objects[n].role)
        n++;
    return n;
}

/* NULL without objects; free() it. */
static struct object_table *make_table(const struct match_row *row)
{
    size_t n = row_objects(row);
    struct object_table *t;
    struct buf table;

    if (n == 0)
        return NULL;
    buf_init(&table, 0);
    for (size_t i = 0; i < n; i++) {
        struct object o = {.source = OBJECT_ORIGINAL,
                           .role = row->objects[i].role,
                           .len = 10,
                           .name = span_of(row->objects[i].name),
                           .declared = span_of(row->objects[i].declared),
                           .sniffed = span_of(row->objects[i].sniffed)};

        assert_int_equal(object_format(&o, &table), OK);
    }
    t = calloc(1, sizeof *t + table.n);
    assert_non_null(t);
    t->n = (uint32_t)n;
    t->len = row->broken_table ? table.n - 1 : table.n;
    t->original_len = 10;
    memcpy(t->bytes, table.p, table.n);
    buf_done(&table);
    return t;
}

static void make_result(const struct match_row *row, struct scan_result *s)
{
    memset(s, 0, sizeof *s);
    (void)span_copy(span_of(row->sniffed), s->sniffed, sizeof s->sniffed);
    for (size_t i = 0; i < ARRAY_LEN(row->findings) && row->findings[i].name; i++) {
        struct finding *f = &s->findings[s->n_findings++];

        (void)span_copy(span_of(row->findings[i].name), f->name, sizeof f->name);
        f->note = row->findings[i].note;
    }
}

static struct facts make_facts(const struct match_row *row, const struct scan_result *s,
                               const struct object_table *t)
{
    struct facts f = {.user = span_of(row->user),
                      .method = SPAN("REQMOD"),
                      .host = span_of(row->host),
                      .path = span_of(row->path),
                      .name = span_of(row->file),
                      .name_unknown = row->unknown,
                      .declared = span_of(row->declared)};

    if (row->client)
        assert_int_equal(address_parse(span_of(row->client), &f.client), OK);
    if (row->when == BODY) {
        f.has_body_facts = true;
        f.len = row->len;
        f.sha256 = row->sha256 ? row->sha256 : "";
        f.result = row->no_result ? NULL : s;
        f.objects = t;
    }
    return f;
}

static void test_match(void **state)
{
    const struct match_row *row = *state;
    struct scan_result s;
    struct object_table *t = make_table(row);
    struct world w;
    struct rule_match m;
    struct facts f;
    char yaml[512];

    (void)snprintf(yaml, sizeof yaml, "rules: [{name: r, %s}]", row->rule);
    load(&w, yaml);
    make_result(row, &s);
    f = make_facts(row, &s, t);
    memset(&m, 0x5a, sizeof m);
    rules_match(w.rules, &f, row->when == HEAD, &m);
    assert_int_equal(m.waits, row->answer == WAITS);
    if (w.service.rules[0].then == RULE_NOTE) {
        assert_null(m.rule);
        assert_int_equal(m.n_notes, row->answer == MATCHES);
    } else {
        assert_ptr_equal(m.rule, row->answer == MATCHES ? &w.service.rules[0] : NULL);
        assert_int_equal(m.n_notes, 0);
    }
    assert_string_equal(m.where, row->where ? row->where : "");
    unload(&w);
    free(t);
}

/* ---- steps ---- */

static void match_within(const struct rules *r, const struct match_row *row,
                         const struct scan_result *s, const struct object_table *t,
                         struct steps *steps, struct rule_match *ret)
{
    struct facts f = make_facts(row, s, t);

    f.steps = steps;
    memset(ret, 0x5a, sizeof *ret);
    rules_match(r, &f, row->when == HEAD, ret);
}

/* With just enough of them the answer is the same; with one less there is none. */
static void test_out_of_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(match_rows); i++) {
        const struct match_row *row = &match_rows[i];
        struct object_table *t = make_table(row);
        struct steps many = {.left = UINT64_MAX}, enough, few;
        struct rule_match m, again;
        struct scan_result s;
        struct world w;
        char yaml[512];

        (void)snprintf(yaml, sizeof yaml, "rules: [{name: r, %s}]", row->rule);
        load(&w, yaml);
        make_result(row, &s);
        match_within(w.rules, row, &s, t, &many, &m);
        assert_false(m.out_of_steps);
        enough = (struct steps){.left = UINT64_MAX - many.left};
        few = (struct steps){.left = enough.left - 1};
        if (enough.left) {
            match_within(w.rules, row, &s, t, &few, &again);
            assert_true(again.out_of_steps);
            assert_null(again.rule);
            assert_int_equal(again.n_notes, 0);
        }
        match_within(w.rules, row, &s, t, &enough, &again);
        assert_false(again.out_of_steps);
        assert_int_equal(enough.left, 0);
        assert_ptr_equal(again.rule, m.rule);
        assert_int_equal(again.waits, m.waits);
        assert_int_equal(again.n_notes, m.n_notes);
        unload(&w);
        free(t);
    }
}

/* A rule that allows never allows more once it knows more, one that blocks never blocks less: what
 * the heads decide, the body confirms. */
static void test_body_confirms_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(match_rows); i++) {
        const struct match_row *row = &match_rows[i];
        struct match_row later = *row;
        struct object_table *t = make_table(row);
        struct scan_result s;
        struct rule_match head, body;
        struct world w;
        struct facts f;
        char yaml[512];

        (void)snprintf(yaml, sizeof yaml, "rules: [{name: r, %s}]", row->rule);
        load(&w, yaml);
        make_result(row, &s);
        later.when = HEAD;
        f = make_facts(&later, &s, t);
        rules_match(w.rules, &f, true, &head);
        later.when = BODY;
        f = make_facts(&later, &s, t);
        rules_match(w.rules, &f, false, &body);
        assert_false(body.waits);
        if (!head.waits && w.service.rules[0].then != RULE_PIPELINE) {
            assert_ptr_equal(body.rule, head.rule);
            assert_int_equal(body.n_notes, head.n_notes);
        }
        unload(&w);
        free(t);
    }
}

/* As many findings as there is room for may be more. */
static void test_full_findings(void **state)
{
    struct scan_result s = {.n_findings = FINDINGS_MAX};
    struct facts f = {.method = SPAN("REQMOD"), .has_body_facts = true, .sha256 = "", .result = &s};
    struct rule_match m;
    struct world w;

    (void)state;
    for (unsigned i = 0; i < FINDINGS_MAX; i++)
        memset(s.findings[i].name, 'a', sizeof s.findings[i].name); /* not even closed */
    load(&w, "rules: [{name: r, signature: ['a*'], then: allow},"
             " {name: s, signature: ['a*'], then: block}]");
    rules_match(w.rules, &f, false, &m);
    assert_ptr_equal(m.rule, &w.service.rules[1]);
    s.n_findings--;
    rules_match(w.rules, &f, false, &m);
    assert_ptr_equal(m.rule, &w.service.rules[0]);
    unload(&w);
}

/* ---- several rules ---- */

/* clang-format off */
static const struct walk_row {
    const char *name, *rules, *host;
    const char *head; /* "[notes] rule" and '?' when it waits */
    const char *body;
} walk_rows[] = {
    {"first decides", "{name: a, host: [x], then: block}, {name: b, then: block}", "x", " a",
     " a"},
    {"next", "{name: a, host: [x], then: block}, {name: b, then: block}", "y", " b", " b"},
    {"none", "{name: a, host: [x], then: block}", "y", " ", " "},
    {"notes", "{name: a, then: note}, {name: b, host: [x], then: note}, {name: c, then: block}",
     "x", "ab c", "ab c"},
    {"notes only", "{name: a, then: note}", "x", "a ", "a "},
    {"behind what waits", "{name: a, larger: 9, then: block}, {name: b, then: note}, "
     "{name: c, then: block}", "x", " ?", "b c"},
    {"notes before what waits", "{name: a, then: note}, {name: b, larger: 9, then: block}", "x",
     "a ?", "a "},
    {"a note waits, too", "{name: a, larger: 9, then: note}, {name: c, then: block}", "x", " ?",
     " c"},
    {"pipeline at the heads", "{name: p, then: pipeline, pipeline: []}, {name: c, then: block}",
     "x", " p", " c"},
    {"pipeline behind what waits",
     "{name: a, larger: 9, then: block}, {name: p, then: pipeline, pipeline: [yara]}, "
     "{name: q, then: pipeline, pipeline: []}", "x", " p?", " "},
    {"pipeline behind what would decide",
     "{name: a, larger: 9, then: block}, {name: b, host: [x], then: block}, "
     "{name: p, then: pipeline, pipeline: [yara]}", "x", " ?", " b"},
    {"nine notes",
     "{name: a, then: note}, {name: b, then: note}, {name: c, then: note}, {name: d, then: note}, "
     "{name: e, then: note}, {name: f, then: note}, {name: g, then: note}, {name: h, then: note}, "
     "{name: i, then: note}, {name: j, then: allow, host: [x]}", "x", "abcdefgh j", "abcdefgh j"},
    {"no rules", "", "x", " ", " "},
};
/* clang-format on */

static void check_walk(const struct world *w, const struct facts *f, bool head_only,
                       const char *want)
{
    struct rule_match m;
    struct buf got;

    buf_init(&got, 0);
    rules_match(w->rules, f, head_only, &m);
    for (unsigned i = 0; i < m.n_notes; i++)
        buf_text(&got, m.notes[i]->name);
    buf_fmt(&got, " %s%s", m.rule ? m.rule->name : "", m.waits ? "?" : "");
    assert_string_equal(buf_cstr(&got), want);
    buf_done(&got);
}

static void test_walk(void **state)
{
    const struct walk_row *row = *state;
    struct facts f = {.method = SPAN("REQMOD"), .host = span_of(row->host), .path = SPAN("/")};
    struct world w;
    char yaml[1024];

    (void)snprintf(yaml, sizeof yaml, "rules: [%s]", row->rules);
    load(&w, yaml);
    check_walk(&w, &f, true, row->head);
    f.has_body_facts = true;
    f.sha256 = "";
    f.len = 1;
    check_walk(&w, &f, false, row->body);
    unload(&w);
}

static void test_unknown_list(void **state)
{
    static const char *const names[] = {"none"};
    struct rule_settings v = {
        .name = "r", .url_list = {names, 1}
    };
    struct rules *r = NULL;
    struct buf why;

    (void)state;
    buf_init(&why, 0);
    assert_int_equal(rules_new(&v, 1, NULL, &r, &why), ERR_CONFIG);
    assert_null(r);
    assert_string_equal(buf_cstr(&why), "rule 'r': there is no URL list 'none'");
    buf_done(&why);
    rules_free(NULL);
}

static void test_no_memory(void **state)
{
    const struct rule_settings v = {.name = "r", .then = RULE_BLOCK};
    struct rules *r = NULL;
    struct buf why;
    enum err e = ERR_NOMEM;

    (void)state;
    buf_init(&why, 0);
    for (unsigned n = 1; n < 10 && e != OK; n++) {
        mem_fail_after(n);
        e = rules_new(&v, 1, NULL, &r, &why);
        mem_fail_after(0);
        assert_int_equal(e, n > 3 ? OK : ERR_NOMEM);
        assert_int_equal(r != NULL, e == OK);
    }
    rules_free(r);
    buf_done(&why);
}

/* ---- how rules are written ---- */

/* clang-format off */
static const struct config_test_row {
    const char *rule, *complaint; /* "" for none */
} config_rows[] = {
    {"then: note", ""},
    {"host: [x], then: allow", ""},
    {"then: allow", "warning: rule 'r' has no condition and allows everything"},
    {"then: block", ""},
    {"then: pipeline", "rule 'r' needs a pipeline"},
    {"then: pipeline, pipeline: []", "warning: rule 'r' inspects nothing of what it matches"},
    {"then: pipeline, pipeline: [yara, clamav], type: [image/*], file: ['*.iso']", ""},
    {"then: block, pipeline: [yara]", "a pipeline is for 'then: pipeline' only"},
    {"then: pipeline, pipeline: [yara], larger: 1k",
     "a pipeline is chosen by what the heads say, and 'larger' is about the body"},
    {"then: pipeline, pipeline: [yara], smaller: 1k",
     "a pipeline is chosen by what the heads say, and 'smaller' is about the body"},
    {"then: pipeline, pipeline: [yara], signature: [x]",
     "a pipeline is chosen by what the heads say, and 'signature' is about the body"},
    {"then: block, larger: 5, smaller: 6", "no body is larger than 5 and smaller than 6"},
    {"then: block, larger: 5, smaller: 7", ""},
    {"then: block, sha256: [abc]", "sha256 must be 64 hexadecimal digits, got 'abc'"},
    {"then: block, method: [GET]", "method must be REQMOD or RESPMOD, got 'GET'"},
    {"then: block, type: [image]", "type must be a media type, such as image/*, got 'image'"},
    {"then: block, type: ['text/html; charset=x']",
     "type must be a media type without parameters; '*' and '?' stand for others, got "
     "'text/html; charset=x'"},
    {"then: block, type: ['*']", ""},
    {"then: block, host: ['*.example']",
     "host must be host.example, or .example for it and every host below it, without '*', got "
     "'*.example'"},
    {"then: block, host: [.]",
     "host must be host.example, or .example for it and every host below it, got '.'"},
    {"then: block, host: [.192.0.2.7]",
     "host must be host.example, or .example for it and every host below it, got '.192.0.2.7'"},
    {"then: block, host: ['host:80']",
     "host must be a host without a port; an IPv6 address stands in brackets, got 'host:80'"},
    {"then: block, host: ['[2001:db8::7]', .example, 192.0.2.7, a_b.example]", ""},
    {"then: block, host: [\xc3\xbc.example]",
     "host must be written as in a request, international names as xn--..., got "
     "'\xc3\xbc.example'"},
    {"host: [x]", "required key 'then' is missing"},
};
/* clang-format on */

static void test_config(void **state)
{
    const struct config_test_row *row = *state;
    struct config_report r;
    struct service s;
    struct arena mem;
    struct buf text;
    char yaml[512];
    bool good = !row->complaint[0] || span_starts(span_of(row->complaint), SPAN("warning:"));

    buf_init(&text, 0);
    arena_init(&mem, 0);
    config_report_init(&r);
    (void)snprintf(yaml, sizeof yaml, "rules: [{name: r, %s}]", row->rule);
    assert_int_equal(config_load_text(span_of(yaml), "x", &service_block, &mem, &r, &s),
                     good ? OK : ERR_CONFIG);
    config_report_print(&r, &text);
    if (!row->complaint[0])
        assert_string_equal(buf_cstr(&text), "");
    else if (!strstr(buf_cstr(&text), row->complaint))
        fail_msg("got: %s", buf_cstr(&text));
    config_report_done(&r);
    arena_done(&mem);
    buf_done(&text);
}

static void test_rows(void **state)
{
    struct config_report r;

    (void)state;
    config_report_init(&r);
    assert_int_equal(config_rows_check(&rule_block, &r), OK);
    config_report_done(&r);
}

#define N_OTHERS 9
#define N_ROWED  (ARRAY_LEN(match_rows) + ARRAY_LEN(walk_rows) + ARRAY_LEN(config_rows))

int main(void)
{
    static char config_names[ARRAY_LEN(config_rows)][100];
    const struct CMUnitTest others[N_OTHERS] = {
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_glob_takes_its_time_only),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_out_of_steps),
        cmocka_unit_test(test_body_confirms_heads),
        cmocka_unit_test(test_full_findings),
        cmocka_unit_test(test_unknown_list),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_no_memory),
    };
    struct CMUnitTest tests[N_ROWED + N_OTHERS];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(match_rows); i++)
        tests[n++] = (struct CMUnitTest){match_rows[i].name, test_match, NULL, NULL,
                                         (void *)(uintptr_t)&match_rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(walk_rows); i++)
        tests[n++] = (struct CMUnitTest){walk_rows[i].name, test_walk, NULL, NULL,
                                         (void *)(uintptr_t)&walk_rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(config_rows); i++) {
        (void)snprintf(config_names[i], sizeof config_names[i], "config %s", config_rows[i].rule);
        tests[n++] = (struct CMUnitTest){config_names[i], test_config, NULL, NULL,
                                         (void *)(uintptr_t)&config_rows[i]};
    }
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
