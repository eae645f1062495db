/* SPDX-License-Identifier: Apache-2.0 */
/* When an exception holds, and when a service is bypassed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_exceptions.h"

/* What a message says, in short. */
struct subject {
    const char *client, *host, *name, *sha256; /* |sha256| NULL: no facts of the body */
    const char *found[3];                      /* names; "~" in front: only a note */
    const char *objects[3]; /* "F name", "f field", "b field" (no text), "l field" (long, and nobody
                               looked at it); NULL: one object */
    bool cut_objects, many;
};

#define HELD_MEMBER(member) \
    offsetof(struct exception, member), sizeof(((struct exception *)0)->member)

static const struct match_row {
    const char *name;
    size_t off, cap;
    const char *condition;
    struct subject subject;
    bool holds;
} match_rows[] = {
    {"digest",                              HELD_MEMBER(sha256),    DIGEST,          {.sha256 = DIGEST},                                                            true },
    {"another digest",                      HELD_MEMBER(sha256),    DIGEST,          {.sha256 = "1" DIGEST},                                                        false},
    {"digest not known",                    HELD_MEMBER(sha256),    DIGEST,          {.sha256 = ""},                                                                false},
    {"no body",                             HELD_MEMBER(sha256),    DIGEST,          {.host = "h"},                                                                 false},
    {"host",                                HELD_MEMBER(host),      "h.example",     {.host = "h.example"},                                                         true },
    {"host in large letters",               HELD_MEMBER(host),      "h.example",     {.host = "H.EXAMPLE"},                                                         true },
    {"below host",                          HELD_MEMBER(host),      "h.example",     {.host = "a.h.example"},                                                       false},
    {"host as tail",                        HELD_MEMBER(host),      "h.example",     {.host = "xh.example"},                                                        false},
    {"below",                               HELD_MEMBER(host),      ".h.example",    {.host = "a.h.example"},                                                       true },
    {"below, itself",                       HELD_MEMBER(host),      ".h.example",    {.host = "h.example"},                                                         true },
    {"below, as tail",                      HELD_MEMBER(host),      ".h.example",    {.host = "xh.example"},                                                        false},
    {"no host",                             HELD_MEMBER(host),      ".h.example",    {.host = ""},                                                                  false},
    {"client",                              HELD_MEMBER(client),    "192.0.2.7",     {.client = "192.0.2.7:1"},                                                     true },
    {"another client",                      HELD_MEMBER(client),    "192.0.2.7",     {.client = "192.0.2.8:1"},                                                     false},
    {"client of a network",                 HELD_MEMBER(client),    "192.0.2.0/24",  {.client = "192.0.2.8:1"},                                                     true },
    {"client on an IPv6 socket",
     HELD_MEMBER(client),
     "192.0.2.0/24",                                                                 {.client = "[::ffff:192.0.2.8]:1"},
     true                                                                                                                                                                },
    {"IPv6 client",                         HELD_MEMBER(client),    "2001:db8::/32", {.client = "[2001:db8::9]:1"},                                                 true },
    {"no client",                           HELD_MEMBER(client),    "192.0.2.0/24",  {.client = NULL},                                                              false},
    {"client by socket",                    HELD_MEMBER(client),    "192.0.2.0/24",  {.client = "unix:/x"},                                                         false},
    {"signature",                           HELD_MEMBER(signature), "Eicar",         {.sha256 = "", .found = {"Eicar"}},                                            true },
    {"signature by glob",
     HELD_MEMBER(signature),
     "PUA.*",                                                                        {.sha256 = "", .found = {"PUA.A", "pua.b"}},
     true                                                                                                                                                                },
    {"one that does not match",
     HELD_MEMBER(signature),
     "PUA.*",                                                                        {.sha256 = "", .found = {"PUA.A", "Win.Trojan", "PUA.B"}},
     false                                                                                                                                                               },
    {"a note does not count",
     HELD_MEMBER(signature),
     "PUA.*",                                                                        {.sha256 = "", .found = {"PUA.A", "~Win.Packed"}},
     true                                                                                                                                                                },
    {"a note alone is nothing",
     HELD_MEMBER(signature),
     "PUA.*",                                                                        {.sha256 = "", .found = {"~PUA.A"}},
     false                                                                                                                                                               },
    {"nothing found",                       HELD_MEMBER(signature), "*a",            {.sha256 = ""},                                                                false},
    {"found, and no body",                  HELD_MEMBER(signature), "Eicar",         {.found = {"Eicar"}},                                                          false},
    {"so many that there may be others",
     HELD_MEMBER(signature),
     "PUA.*",                                                                        {.sha256 = "", .found = {"PUA.A"}, .many = true},
     false                                                                                                                                                               },
    {"file",                                HELD_MEMBER(file),      "*.pdf",         {.name = "a.PDF"},                                                             true },
    {"another file",                        HELD_MEMBER(file),      "*.pdf",         {.name = "a.pdf.exe"},                                                         false},
    {"no name",                             HELD_MEMBER(file),      "*a",            {.name = ""},                                                                  false},
    {"no name, a star",                     HELD_MEMBER(file),      "*",             {.name = ""},                                                                  false},
    {"name and files",
     HELD_MEMBER(file),
     "*.pdf",                                                                        {.sha256 = "", .name = "a.pdf", .objects = {"F b.pdf", "f c.exe", "F d.pdf"}},
     true                                                                                                                                                                },
    {"a file of another name",
     HELD_MEMBER(file),
     "*.pdf",                                                                        {.sha256 = "", .name = "a.pdf", .objects = {"F b.pdf", "F c.exe", "F d.pdf"}},
     false                                                                                                                                                               },
    {"the name is another",
     HELD_MEMBER(file),
     "*.pdf",                                                                        {.sha256 = "", .name = "a.exe", .objects = {"F b.pdf"}},
     false                                                                                                                                                               },
    {"only files",
     HELD_MEMBER(file),
     "*.pdf",                                                                        {.sha256 = "", .name = "", .objects = {"F b.pdf"}},
     true                                                                                                                                                                },
    {"only a field",
     HELD_MEMBER(file),
     "*.pdf",                                                                        {.sha256 = "", .name = "", .objects = {"f b.pdf"}},
     false                                                                                                                                                               },
    {"a part without a name, and no text",
     HELD_MEMBER(file),
     "*.pdf",                                                                        {.sha256 = "", .name = "a.pdf", .objects = {"F b.pdf", "b c.pdf"}},
     false                                                                                                                                                               },
    {"a part without a name, for a star",
     HELD_MEMBER(file),
     "*",                                                                            {.sha256 = "", .name = "a.pdf", .objects = {"b c.pdf", "F b.pdf"}},
     false                                                                                                                                                               },
    {"a long part without a name",
     HELD_MEMBER(file),
     "*.pdf",                                                                        {.sha256 = "", .name = "a.pdf", .objects = {"l c.pdf", "F b.pdf"}},
     false                                                                                                                                                               },
    {"parts without a name alone",
     HELD_MEMBER(file),
     "*.pdf",                                                                        {.sha256 = "", .name = "a.pdf", .objects = {"b c.pdf"}},
     false                                                                                                                                                               },
    {"a part without a name, by signature",
     HELD_MEMBER(signature),
     "Eicar",                                                                        {.sha256 = "", .found = {"Eicar"}, .objects = {"b c.pdf"}},
     true                                                                                                                                                                },
    {"a table that is none",
     HELD_MEMBER(file),
     "*.pdf",                                                                        {.sha256 = "", .name = "a.pdf", .objects = {"F b.pdf"}, .cut_objects = true},
     false                                                                                                                                                               },
    {"objects of no body",
     HELD_MEMBER(file),
     "*.pdf",                                                                        {.name = "a.pdf", .objects = {"F b.exe"}},
     true                                                                                                                                                                },
};

static struct object_table *make_objects(const struct subject *s)
{
    struct object_table *t;
    struct buf b;
    uint32_t n = 0;

    if (!s->objects[0])
        return NULL;
    buf_init(&b, 0);
    for (; n < ARRAY_LEN(s->objects) && s->objects[n]; n++) {
        struct object o = {
            .source = OBJECT_ORIGINAL,
            .role = s->objects[n][0] == 'F' ? OBJECT_FILE : OBJECT_FIELD,
            .len = s->objects[n][0] == 'l' ? OBJECT_TYPED_MAX + 1 : 10,
            .name = span_of(s->objects[n] + 2),
            .sniffed = s->objects[n][0] == 'b' ? SPAN("application/x-dosexec") : SPAN_NONE,
        };

        assert_int_equal(object_format(&o, &b), OK);
    }
    t = calloc(1, sizeof *t + b.n);
    assert_non_null(t);
    atomic_init(&t->refs, 1);
    t->n = n;
    t->len = b.n - s->cut_objects;
    t->original_len = 100;
    memcpy(t->bytes, b.p, b.n);
    buf_done(&b);
    return t;
}

static struct scan_result make_result(const struct subject *s)
{
    struct scan_result r = {.verdict = VERDICT_BLOCK, .cause = CAUSE_INFECTED};

    for (size_t i = 0; i < ARRAY_LEN(s->found) && s->found[i]; i++) {
        struct finding *f = &r.findings[r.n_findings++];

        f->note = s->found[i][0] == '~';
        (void)span_copy(span_of(s->found[i] + f->note), f->name, sizeof f->name);
    }
    while (s->many && r.n_findings < FINDINGS_MAX) {
        r.findings[r.n_findings] = r.findings[0];
        r.n_findings++;
    }
    return r;
}

static bool is_match(const struct exception *e, const struct subject *s)
{
    struct exceptions *set = with(empty_set(), *e);
    struct object_table *objects = make_objects(s);
    struct scan_result result = make_result(s);
    struct facts f = {
        .host = span_of(s->host),
        .name = span_of(s->name),
        .has_body_facts = s->sha256 != NULL,
        .sha256 = s->sha256,
        .result = s->found[0] ? &result : NULL,
        .objects = objects,
    };
    const struct exception *got;

    if (s->client)
        assert_int_equal(address_parse(span_of(s->client), &f.client), OK);
    got = exceptions_match(set, "resp", &f, NOW);
    if (got)
        assert_string_equal(got->id, e->id);
    object_table_unref(objects);
    exceptions_unref(set);
    return got != NULL;
}

static void test_conditions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(match_rows); i++) {
        const struct match_row *row = &match_rows[i];
        struct exception e = make(EXCEPTION_ALLOW, "aaaaaaaa");

        print_message("%s\n", row->name);
        if (strcmp(row->condition, "*") == 0) /* alone it would not be allowed */
            (void)span_copy(SPAN("0.0.0.0/1"), e.client, sizeof e.client);
        (void)span_copy(span_of(row->condition), (char *)&e + row->off, row->cap);
        assert_int_equal(is_match(&e, &row->subject), row->holds);
    }
}

/* All conditions must hold: each one that does not spoils it. */
static void test_all_conditions(void **state)
{
    const struct subject good = {.client = "192.0.2.7:1",
                                 .host = "h.example",
                                 .name = "a.pdf",
                                 .sha256 = DIGEST,
                                 .found = {"PUA.A"}};
    struct exception e = allow_host("aaaaaaaa", "h.example");
    struct subject s;

    (void)state;
    (void)span_copy(SPAN("resp"), e.service, sizeof e.service);
    (void)span_copy(SPAN(DIGEST), e.sha256, sizeof e.sha256);
    (void)span_copy(SPAN("PUA.*"), e.signature, sizeof e.signature);
    (void)span_copy(SPAN("*.pdf"), e.file, sizeof e.file);
    (void)span_copy(SPAN("192.0.2.0/24"), e.client, sizeof e.client);
    assert_true(is_match(&e, &good));
    s = good;
    s.client = "192.0.3.7:1";
    assert_false(is_match(&e, &s));
    s = good;
    s.host = "i.example";
    assert_false(is_match(&e, &s));
    s = good;
    s.name = "a.exe";
    assert_false(is_match(&e, &s));
    s = good;
    s.sha256 = "";
    assert_false(is_match(&e, &s));
    s = good;
    s.found[0] = "Eicar";
    assert_false(is_match(&e, &s));
    (void)span_copy(SPAN("req"), e.service, sizeof e.service);
    assert_false(is_match(&e, &good));
}

static void test_expiry_and_order(void **state)
{
    struct exception a = allow_host("aaaaaaaa", ".example"),
                     b = allow_host("bbbbbbbb", "h.example");
    struct facts f = {.host = SPAN("h.example")};
    struct exceptions *s;

    (void)state;
    b.expires_wall_ms = NOW + 2 * HOUR;
    s = with(with(with(empty_set(), bypass_of("cccccccc", "resp")), a), b);
    assert_string_equal(exceptions_match(s, "resp", &f, NOW)->id, "aaaaaaaa");
    assert_string_equal(exceptions_match(s, "resp", &f, NOW + HOUR - 1)->id, "aaaaaaaa");
    assert_string_equal(exceptions_match(s, "resp", &f, NOW + HOUR)->id, "bbbbbbbb");
    assert_string_equal(exceptions_match(s, "resp", &f, NOW + 2 * HOUR - 1)->id, "bbbbbbbb");
    assert_null(exceptions_match(s, "resp", &f, NOW + 2 * HOUR));
    exceptions_unref(s);
}

/* What was removed since does not count, and what is behind it does; what was added since is none
 * of those that are asked. */
static void test_still(void **state)
{
    struct exceptions *then = with(with(empty_set(), allow_host("aaaaaaaa", ".example")),
                                   allow_host("bbbbbbbb", "h.example"));
    struct exceptions *now = with(with(empty_set(), allow_host("cccccccc", "h.example")),
                                  allow_host("bbbbbbbb", "h.example"));
    struct exceptions *none = empty_set();
    struct facts f = {.host = SPAN("h.example")};

    (void)state;
    assert_string_equal(exceptions_match_still(then, then, "resp", &f, NOW)->id, "aaaaaaaa");
    assert_string_equal(exceptions_match_still(then, now, "resp", &f, NOW)->id, "bbbbbbbb");
    assert_null(exceptions_match_still(then, now, "resp", &f, NOW + HOUR));
    assert_null(exceptions_match_still(then, none, "resp", &f, NOW));
    assert_null(exceptions_match_still(none, now, "resp", &f, NOW));
    exceptions_unref(then);
    exceptions_unref(now);
    exceptions_unref(none);
}

static void test_bypass(void **state)
{
    struct exception b = bypass_of("bbbbbbbb", "resp");
    struct facts f = {.host = SPAN("h.example")};
    struct exceptions *s = empty_set();

    (void)state;
    assert_null(exceptions_bypass(s, "resp", NOW));
    b.expires_wall_ms = NOW + 2 * HOUR;
    s = with(s, allow_host("cccccccc", "h.example"));
    s = with(with(with(s, bypass_of("aaaaaaaa", "resp")), b), bypass_of("dddddddd", "req"));
    assert_string_equal(exceptions_bypass(s, "resp", NOW)->id, "aaaaaaaa");
    assert_string_equal(exceptions_bypass(s, "resp", NOW + HOUR - 1)->id, "aaaaaaaa");
    assert_string_equal(exceptions_bypass(s, "resp", NOW + HOUR)->id, "bbbbbbbb");
    assert_null(exceptions_bypass(s, "resp", NOW + 2 * HOUR));
    assert_string_equal(exceptions_bypass(s, "req", NOW)->id, "dddddddd");
    assert_null(exceptions_bypass(s, "re", NOW));
    assert_null(exceptions_bypass(s, "RESP", NOW));
    assert_null(exceptions_bypass(s, "", NOW));
    /* A bypass is no exception, and an exception no bypass. */
    assert_string_equal(exceptions_match(s, "resp", &f, NOW)->id, "cccccccc");
    exceptions_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions),       cmocka_unit_test(test_all_conditions),
        cmocka_unit_test(test_expiry_and_order), cmocka_unit_test(test_still),
        cmocka_unit_test(test_bypass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
