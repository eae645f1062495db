/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions: what people may ask for, what a journal brings back, and sets of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/clock.h"
#include "test_exceptions.h"

static void assert_same(const struct exception *a, const struct exception *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_string_equal(a->id, b->id);
    assert_int_equal(a->created_wall_ms, b->created_wall_ms);
    assert_int_equal(a->expires_wall_ms, b->expires_wall_ms);
    assert_string_equal(a->by, b->by);
    assert_string_equal(a->reason, b->reason);
    assert_string_equal(a->service, b->service);
    assert_string_equal(a->sha256, b->sha256);
    assert_string_equal(a->signature, b->signature);
    assert_string_equal(a->host, b->host);
    assert_string_equal(a->file, b->file);
    assert_string_equal(a->client, b->client);
}

/* ---- what people ask for ---- */

#define R "\"reason\":\"r\",\"expires_in\":\"1h\""
#define X "{\"kind\":\"exception\"," R ","
#define HOST_WHY                                                                                 \
    "host must be a name (in its xn-- form) or an address, without scheme, port, path and '*': " \
    "\"files.example\" is that one, \".example\" also everything below"
#define NARROW_WHY                                                                                 \
    "an exception needs at least one of sha256, signature, host, file, client (and more than '*' " \
    "or /0): one for everything would be a bypass; use `sallyport bypass`"
#define CLIENT_WHY                                                                               \
    "client must be an address or a network, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32, " \
    "with zeros behind its prefix"
#define SHA_WHY "sha256 must be 64 hexadecimal digits: copy it from the record of the blocked file"
#define OBJECT_WHY \
    "a request must be one JSON object of at most 8192 bytes, without members that come twice"
#define DURATION_WHY "expires_in must be a number with its unit: 90s, 30m, 8h, 7d"
#define TIME_WHY     "expires must be a time in UTC, such as 2030-01-31T18:00:00Z"

static const struct request_row {
    const char *name, *json;
    const char *why; /* NULL: good */
} request_rows[] = {
    {"by digest",                   X "\"sha256\":\"" DIGEST "\"}",                                                     NULL                                                      },
    {"by signature",                X "\"signature\":\"Win.Test.EICAR_HDB-1\"}",                                        NULL                                                      },
    {"by host",                     X "\"host\":\"files.example\"}",                                                    NULL                                                      },
    {"by hosts",                    X "\"host\":\".example\"}",                                                         NULL                                                      },
    {"by IPv6 host",                X "\"host\":\"[2001:db8::1]\"}",                                                    NULL                                                      },
    {"by file",                     X "\"file\":\"*.pdf\"}",                                                            NULL                                                      },
    {"by client",                   X "\"client\":\"192.0.2.0/24\"}",                                                   NULL                                                      },
    {"by all",
     X "\"service\":\"resp\",\"sha256\":\"" DIGEST "\",\"signature\":\"a*\","
       "\"host\":\"h.example\",\"file\":\"f\",\"client\":\"::1\"}",                                                     NULL                                                      },
    {"a star beside something",     X "\"host\":\"h.example\",\"signature\":\"*\"}",                                    NULL                                                      },
    {"bypass",                      "{\"kind\":\"bypass\",\"service\":\"resp\"," R "}",                                 NULL                                                      },
    {"with a time",
     "{\"kind\":\"bypass\",\"service\":\"resp\",\"reason\":\"r\","
     "\"expires\":\"2023-11-15T00:00:00Z\"}",                                                                           NULL                                                      },
    {"empty",                       "",                                                                                 OBJECT_WHY                                                },
    {"cut",                         X "\"host\":\"h.exa",                                                               OBJECT_WHY                                                },
    {"an array",                    "[]",                                                                               OBJECT_WHY                                                },
    {"twice",                       X "\"host\":\"a.example\",\"host\":\"b.example\"}",                                 OBJECT_WHY                                                },
    {"something behind it",         X "\"host\":\"a.example\"} x",                                                      OBJECT_WHY                                                },
    {"a NUL",                       X "\"host\":\"a\\u0000b\"}",                                                        OBJECT_WHY                                                },
    {"no kind",                     "{" R ",\"host\":\"h.example\"}",                                                   "kind is missing: \"exception\" or \"bypass\""            },
    {"another kind",                "{\"kind\":\"allow\"," R "}",                                                       "kind must be \"exception\" or \"bypass\""                },
    {"kind as number",              "{\"kind\":1," R "}",                                                               "kind must be \"exception\" or \"bypass\""                },
    {"unknown member",              X "\"hots\":\"h.example\"}",
     "unknown member \"hots\"; there are kind, expires_in, expires, reason, service, sha256, "
     "signature, host, file, client, tenant"                                                                                                                                      },
    {"an id of their own",          X "\"host\":\"h.example\",\"id\":\"00000000\"}",
     "unknown member \"id\"; there are kind, expires_in, expires, reason, service, sha256, "
     "signature, host, file, client, tenant"                                                                                                                                      },
    {"who they say they are",       X "\"host\":\"h.example\",\"by\":\"root\"}",
     "unknown member \"by\"; there are kind, expires_in, expires, reason, service, sha256, "
     "signature, host, file, client, tenant"                                                                                                                                      },
    {"number for a text",           X "\"host\":1}",                                                                    "host must be a text in quotes"                           },
    {"null for a text",             X "\"host\":null}",                                                                 "host must be a text in quotes"                           },
    {"empty condition",             X "\"host\":\"\"}",                                                                 "host is empty: fill it, or leave it out"                 },
    {"no condition",                "{\"kind\":\"exception\"," R "}",                                                   NARROW_WHY                                                },
    {"a service is none",           X "\"service\":\"resp\"}",                                                          NARROW_WHY                                                },
    {"a star is none",              X "\"signature\":\"*\"}",                                                           NARROW_WHY                                                },
    {"stars are none",              X "\"file\":\"**?*\"}",                                                             NARROW_WHY                                                },
    {"everybody is none",           X "\"client\":\"0.0.0.0/0\"}",                                                      NARROW_WHY                                                },
    {"everybody, IPv6",             X "\"client\":\"::/0\",\"file\":\"*\"}",                                            NARROW_WHY                                                },
    {"no reason",                   "{\"kind\":\"exception\",\"expires_in\":\"1h\",\"host\":\"h.example\"}",
     "reason is missing: say why, for whoever finds this later"                                                                                                                   },
    {"blank reason",
     "{\"kind\":\"bypass\",\"expires_in\":\"1h\",\"service\":\"s\",\"reason\":\" \"}",                                  "reason is missing: say why, for whoever finds this later"},
    {"control in reason",
     "{\"kind\":\"bypass\",\"expires_in\":\"1h\",\"service\":\"s\",\"reason\":\"a\\nb\"}",                              "reason must be UTF-8 text without control characters"    },
    {"C1 in reason",
     "{\"kind\":\"bypass\",\"expires_in\":\"1h\",\"service\":\"s\",\"reason\":\"a\\u0085b\"}",                          "reason must be UTF-8 text without control characters"    },
    {"service too long",
     X "\"service\":\"12345678901234567890123456789012345678901234567890123456789012345\"}",
     "service is longer than 64 bytes"                                                                                                                                            },
    {"digest too short",            X "\"sha256\":\"abc\"}",                                                            SHA_WHY                                                   },
    {"digest with a g",
     X "\"sha256\":\"g123456789abcdef0123456789abcdef0123456789abcdef0123456789"
       "abcdef\"}",                                                                                                     SHA_WHY                                                   },
    {"host with port",              X "\"host\":\"h.example:8080\"}",                                                   HOST_WHY                                                  },
    {"host as URL",                 X "\"host\":\"https://h.example/\"}",                                               HOST_WHY                                                  },
    {"host with star",              X "\"host\":\"*.example\"}",                                                        HOST_WHY                                                  },
    {"host of dots",                X "\"host\":\".\"}",                                                                HOST_WHY                                                  },
    {"host with two dots",          X "\"host\":\"a..example\"}",                                                       HOST_WHY                                                  },
    {"host with two dots in front", X "\"host\":\"..example\"}",                                                        HOST_WHY                                                  },
    {"host not in ASCII",           X "\"host\":\"h\xc3\xb6st.example\"}",                                              HOST_WHY                                                  },
    {"below an address",            X "\"host\":\".192.0.2.1\"}",                                                       HOST_WHY                                                  },
    {"client by name",              X "\"client\":\"h.example\"}",                                                      CLIENT_WHY                                                },
    {"client with bits behind",     X "\"client\":\"192.0.2.1/24\"}",                                                   CLIENT_WHY                                                },
    {"bypass of all",               "{\"kind\":\"bypass\"," R "}",
     "a bypass needs the name of a service: there is none for all of them"                                                                                                        },
    {"bypass with a condition",     "{\"kind\":\"bypass\",\"service\":\"s\",\"file\":\"*.pdf\"," R "}",
     "a bypass is for a whole service and takes no conditions; use `sallyport exception` for "
     "single files, hosts or clients"                                                                                                                                             },
    {"for ever",                    "{\"kind\":\"bypass\",\"service\":\"s\",\"reason\":\"r\"}",
     "expires_in is missing: say for how long, such as 8h or 7d"                                                                                                                  },
    {"two ends",
     "{\"kind\":\"bypass\",\"service\":\"s\"," R ",\"expires\":\"2023-11-15T00:00:00Z\"}",
     "there are both expires and expires_in: say one of them"                                                                                                                     },
    {"local time",
     "{\"kind\":\"bypass\",\"service\":\"s\",\"reason\":\"r\",\"expires\":\"2023-11-15T00:00\"}",                       TIME_WHY                                                  },
    {"in the past",
     "{\"kind\":\"bypass\",\"service\":\"s\",\"reason\":\"r\",\"expires\":\"2023-11-14T00:00:"
     "00Z\"}",                                                                                                          "it would have expired at 2023-11-14T00:00:00.000Z already: say for how long it shall hold, "
     "such as 8h or 7d"                                                                                                                                             },
    {"no time at all",
     "{\"kind\":\"bypass\",\"service\":\"s\",\"reason\":\"r\",\"expires_in\":\"0s\"}",                                  "it would have expired at 2023-11-14T22:13:20.000Z already: say for how long it shall hold, "
     "such as 8h or 7d"                                                                     },
    {"too long",                    "{\"kind\":\"bypass\",\"service\":\"s\",\"reason\":\"r\",\"expires_in\":\"366d\"}",
     "it would hold until 2024-11-14T22:13:20.000Z, and at most 365d are allowed: take less, and "
     "renew it when it is still needed"                                                                                                                                           },
};

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(request_rows); i++) {
        const struct request_row *row = &request_rows[i];
        struct exception e, kept;
        struct buf why;
        enum err err;

        print_message("%s\n", row->name);
        buf_init(&why, 0);
        memset(&e, 0x5a, sizeof e);
        kept = e;
        err = exception_parse_request(span_of(row->json), NOW, &e, &why);
        if (err)
            assert_memory_equal(&e, &kept, sizeof e);
        else
            err = exception_check(&e, NOW, 365 * DAY, &why);
        assert_int_equal(err, row->why ? ERR_CONFIG : OK);
        assert_string_equal(buf_cstr(&why), row->why ? row->why : "");
        buf_done(&why);
    }
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms; /* UINT64_MAX: refused */
    } rows[] = {
        {"90s",                   90000           },
        {"30m",                   1800000         },
        {"8h",                    8 * HOUR        },
        {"7d",                    7 * DAY         },
        {"0h",                    0               },
        {"007d",                  7 * DAY         },
        {"4294967295d",           4294967295 * DAY},
        {"4294967296d",           UINT64_MAX      },
        {"99999999999999999999h", UINT64_MAX      },
        {"8",                     UINT64_MAX      },
        {"h",                     UINT64_MAX      },
        {"-8h",                   UINT64_MAX      },
        {"+8h",                   UINT64_MAX      },
        {" 8h",                   UINT64_MAX      },
        {"8 h",                   UINT64_MAX      },
        {"1.5h",                  UINT64_MAX      },
        {"8H",                    UINT64_MAX      },
        {"1w",                    UINT64_MAX      },
        {"1h30m",                 UINT64_MAX      },
        {"8ms",                   UINT64_MAX      },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool good = rows[i].ms != UINT64_MAX;
        struct exception e;
        struct buf json, why;

        print_message("%s\n", rows[i].text);
        buf_init(&json, 0);
        buf_init(&why, 0);
        buf_fmt(&json, "{\"kind\":\"bypass\",\"expires_in\":\"%s\"}", rows[i].text);
        assert_int_equal(exception_parse_request(buf_span(&json), NOW, &e, &why),
                         good ? OK : ERR_CONFIG);
        if (good)
            assert_int_equal(e.expires_wall_ms, NOW + rows[i].ms);
        else
            assert_string_equal(buf_cstr(&why), DURATION_WHY);
        assert_int_equal(exception_parse_request(buf_span(&json), UINT64_MAX, &e, NULL),
                         good && rows[i].ms == 0 ? OK : ERR_CONFIG); /* does not wrap */
        buf_done(&json);
        buf_done(&why);
    }
}

/* Exactly at the limit is fine, a millisecond more is not. */
static void test_check_times(void **state)
{
    static const struct {
        uint64_t expires, max;
        bool good;
    } rows[] = {
        {NOW,           DAY,        false},
        {NOW - 1,       DAY,        false},
        {0,             UINT64_MAX, false},
        {NOW + 1,       DAY,        true },
        {NOW + DAY,     DAY,        true },
        {NOW + DAY + 1, DAY,        false},
        {UINT64_MAX,    DAY,        false},
        {NOW + 1,       0,          false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct exception e = allow_host("", "h.example");

        print_message("%zu\n", i);
        e.expires_wall_ms = rows[i].expires;
        assert_int_equal(exception_check(&e, NOW, rows[i].max, NULL),
                         rows[i].good ? OK : ERR_CONFIG);
    }
}

static void test_check_completes(void **state)
{
    struct exception e = allow_host("", "Files.EXAMPLE."), kept;

    (void)state;
    (void)span_copy(SPAN("0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"),
                    e.sha256, sizeof e.sha256);
    assert_int_equal(exception_check(&e, NOW, DAY, NULL), OK);
    assert_string_equal(e.host, "files.example");
    assert_string_equal(e.sha256, DIGEST);
    kept = e;
    assert_int_equal(exception_check(&e, NOW, DAY, NULL), OK);
    assert_same(&e, &kept);
    e = allow_host("", ".Example");
    assert_int_equal(exception_check(&e, NOW, DAY, NULL), OK);
    assert_string_equal(e.host, ".example");
    memset(e.file, 'x', sizeof e.file); /* without its NUL */
    assert_int_equal(exception_check(&e, NOW, DAY, NULL), ERR_CONFIG);
    e.file[0] = '\0';
    e.kind = (enum exception_kind)7;
    assert_int_equal(exception_check(&e, NOW, DAY, NULL), ERR_CONFIG);
    assert_string_equal(exception_kind_name(e.kind), "?");
}

static void test_request_is_bounded(void **state)
{
    struct buf json;
    struct exception e;

    (void)state;
    buf_init(&json, 0);
    buf_text(&json, "{\"kind\":\"bypass\",\"expires_in\":\"1h\"}");
    while (json.n < EXCEPTION_REQUEST_MAX)
        buf_char(&json, ' ');
    assert_int_equal(exception_parse_request(buf_span(&json), NOW, &e, NULL), OK);
    buf_char(&json, ' ');
    assert_int_equal(exception_parse_request(buf_span(&json), NOW, &e, NULL), ERR_CONFIG);
    buf_done(&json);
}

/* ---- journal ---- */

static struct exceptions *parse(const char *journal, unsigned bad)
{
    struct exceptions *s = NULL;
    unsigned got = 12345;

    assert_int_equal(exceptions_parse(span_of(journal), NOW, &s, &got), OK);
    assert_int_equal(got, bad);
    return s;
}

#define ADD(id, more)                                                                        \
    "{\"op\":\"add\",\"id\":\"" id "\",\"kind\":\"exception\",\"created\":"                  \
    "\"2023-11-14T00:00:00.000Z\",\"expires\":\"2023-11-15T00:00:00.000Z\",\"by\":\"root\"," \
    "\"reason\":\"r\",\"host\":\"h.example\"" more "}"
#define REMOVE(id, more)              \
    "{\"op\":\"remove\",\"id\":\"" id \
    "\",\"at\":\"2023-11-14T00:00:00.000Z\",\"by\":\"root\"" more "}"

static const struct journal_row {
    const char *name, *journal;
    unsigned bad;
    const char *ids; /* of what is in force, in order */
} journal_rows[] = {
    {"empty",                                                                                   "",                                       0,""         },
    { "one",                                                                           ADD("aaaaaaaa",                                 "") "\n",0, "aaaaaaaa "},
    { "two, empty lines",                                                                      "\n" ADD("bbbbbbbb",                "") "\n\n" ADD("aaaaaaaa","") "\n\n",           0,
     "bbbbbbbb aaaaaaaa "},
    {"without the last LF",                                                                     ADD("aaaaaaaa",                           ""),0,           "aaaaaaaa "},
    {                 "removed",                                                                                 ADD("aaaaaaaa",                           "") "\n" ADD("bbbbbbbb","") "\n" REMOVE("aaaaaaaa","") "\n", 0,
     "bbbbbbbb "},
    {"removed and added again",
     ADD("aaaaaaaa",                                                                                                                       "") "\n" ADD("bbbbbbbb","") "\n" REMOVE("aaaaaaaa","") "\n" ADD("aaaaaaaa",
     "") "\n",
     0, "bbbbbbbb aaaaaaaa "},
    {"removed without having been",                                                                  REMOVE("aaaaaaaa",                                                                                                                            "") "\n",0,""},
    {"cut in its last line",       ADD("aaaaaaaa","") "\n{\"op\":\"add\",\"id\":\"bbb",1,"aaaaaaaa "},
    {"cut before a brace",                                                                     ADD("aaaaaaaa",                                                                                                                                                              "") "\n{\"op\":\"remove\",\"id\":\"aaaaaaaa\"",                                                                                                                                                                                                                           1,
     "aaaaaaaa "},
    {                                                                                                                                                                                                                                                                                                                                                                                                           "cut, and gone on behind a LF",       "{\"op\":\"add\",\"id\"\n" ADD("aaaaaaaa","") "\n",1,
     "aaaaaaaa "},
    {"garbage between",                                          ADD("aaaaaaaa",                                                                                                                                                                                                                                       "") "\n\x80\xff}{\nnull\n[]\n" ADD("bbbbbbbb",                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "") "\n",3,
     "aaaaaaaa bbbbbbbb "},
    {"an unknown member",                                  ADD("aaaaaaaa",",\"path\":\"/x\"") "\n",1,""},
    {"a member twice",                                                                       ADD("aaaaaaaa",                                                                ",\"host\":\"i.example\"") "\n",                                                                                      1,                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           ""},
    {                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "an empty condition",                                                                          ADD("aaaaaaaa",                              ",\"file\":\"\"") "\n",1,""},
    {"a duration",                                                                      ADD("aaaaaaaa",                       ",\"expires_in\":\"1h\"") "\n",1,                                               ""},
    {"an unknown kind",
     "{\"op\":\"add\",\"id\":\"aaaaaaaa\",\"kind\":\"pause\",\"created\":"
     "\"2023-11-14T00:00:00.000Z\",\"expires\":\"2023-11-15T00:00:00.000Z\",\"by\":\"root\","
     "\"reason\":\"r\",\"host\":\"h.example\"}\n",                                   1,""                     },
    {                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "no creation",
     "{\"op\":\"add\",\"id\":\"aaaaaaaa\",\"kind\":\"exception\",\"expires\":"
     "\"2023-11-15T00:00:00.000Z\",\"by\":\"root\",\"reason\":\"r\",\"host\":\"h.example\"}\n",                                                                                        1,""                                                                               },
    {                                                           "nobody",
     "{\"op\":\"add\",\"id\":\"aaaaaaaa\",\"kind\":\"exception\",\"created\":"
     "\"2023-11-14T00:00:00.000Z\",\"expires\":\"2023-11-15T00:00:00.000Z\","
     "\"reason\":\"r\",\"host\":\"h.example\"}\n",1,""},
    {"one for everything",
     "{\"op\":\"add\",\"id\":\"aaaaaaaa\",\"kind\":\"exception\",\"created\":"
     "\"2023-11-14T00:00:00.000Z\",\"expires\":\"2023-11-15T00:00:00.000Z\",\"by\":\"root\","
     "\"reason\":\"r\"}\n",                                                                                                                                                                              1,                                                                                                                        ""                                                                                                                                                                                                                                                                                         },
    {"a short id",                                                                                       ADD("aaaaaaa",                                                                                                                               "") "\n",1,""},
    {"a long id",                                                                                       ADD("aaaaaaaaa",                                                                                                                               "") "\n",1,                                                                                                                                                                                                                                                                                                                                                                                                                ""},
    {                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "an id of other letters",                                                                                       ADD("aaaaaaal",                                                                                                                               "") "\n" ADD("AAAAAAAA","") "\n",2, ""},
    {"the same id again: the first one stays",
     ADD("aaaaaaaa",                                                                                                                              "") "\n" ADD("aaaaaaaa",",\"file\":\"x\"") "\n",                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   1, "aaaaaaaa "},
    {"an unknown operation takes it out of force",
     ADD("aaaaaaaa",                                                                                                         "") "\n" ADD("bbbbbbbb","") "\n{\"op\":\"narrow\",\"id\":\"aaaaaaaa\"}\n",1,
     "bbbbbbbb "},
    {"no operation, too",                                                                  ADD("aaaaaaaa","") "\n{\"id\":\"aaaaaaaa\"}\n",1,""},
    {"a removal with more in it still removes",
     ADD("aaaaaaaa",                                                                   "") "\n" REMOVE("aaaaaaaa",                                                                                   ",\"until\":\"x\"") "\n",                                                                                                                 1, ""},
    {                                                                                                                 "a removal of nothing",                                                                            ADD("aaaaaaaa",                        "") "\n{\"op\":\"remove\"}\n",1,"aaaaaaaa "},
};

static void test_journal(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(journal_rows); i++) {
        struct exceptions *s;
        struct buf ids;

        print_message("%s\n", journal_rows[i].name);
        s = parse(journal_rows[i].journal, journal_rows[i].bad);
        buf_init(&ids, 0);
        for (size_t j = 0; j < exceptions_count(s); j++)
            buf_fmt(&ids, "%s ", exceptions_at(s, j)->id);
        assert_string_equal(buf_cstr(&ids), journal_rows[i].ids);
        assert_null(exceptions_at(s, exceptions_count(s)));
        buf_done(&ids);
        exceptions_unref(s);
    }
}

/* 2023-11-14T00:00:00.000Z, and a millisecond before and after. */
static void test_journal_expiry(void **state)
{
    const uint64_t end = UINT64_C(1700006400000); /* 2023-11-15T00:00:00.000Z */

    (void)state;
    for (int d = -1; d <= 1; d++) {
        struct exceptions *s;
        unsigned bad;

        assert_int_equal(
            exceptions_parse(SPAN(ADD("aaaaaaaa", "")), end + (uint64_t)(int64_t)d, &s, &bad), OK);
        assert_int_equal(bad, 0);
        assert_int_equal(exceptions_count(s), d < 0);
        exceptions_unref(s);
    }
}

static void test_journal_line_length(void **state)
{
    struct buf j;
    struct exceptions *s;

    (void)state;
    buf_init(&j, 0);
    buf_text(&j, ADD("aaaaaaaa", ""));
    while (j.n < EXCEPTION_REQUEST_MAX)
        buf_char(&j, ' ');
    buf_char(&j, '\n');
    buf_char(&j, ' '); /* one more than fits */
    for (size_t i = 0; i < EXCEPTION_REQUEST_MAX - sizeof ADD("bbbbbbbb", "") + 1; i++)
        buf_char(&j, ' ');
    buf_text(&j, ADD("bbbbbbbb", "") "\n" ADD("cccccccc", "") "\n");
    s = parse(buf_cstr(&j), 1);
    assert_int_equal(exceptions_count(s), 2);
    assert_non_null(exceptions_find(s, "aaaaaaaa"));
    assert_non_null(exceptions_find(s, "cccccccc"));
    assert_null(exceptions_find(s, "bbbbbbbb"));
    exceptions_unref(s);
    buf_done(&j);
}

/* Wherever a disk was full: what stands in whole lines is there. */
static void test_journal_cut_anywhere(void **state)
{
    const char *journal =
        ADD("aaaaaaaa", "") "\n" ADD("bbbbbbbb", "") "\n" REMOVE("aaaaaaaa", "") "\n";
    const size_t one = sizeof ADD("aaaaaaaa", ""), all = strlen(journal);

    (void)state;
    for (size_t n = 0; n <= all; n++) {
        struct exceptions *s;
        unsigned bad;
        /* a line is whole before its LF, too */
        bool a = n + 1 >= one, b = n + 1 >= 2 * one, gone = n + 1 >= all;
        bool whole = n == 0 || n == one || n + 1 == one || n == 2 * one || n + 1 == 2 * one || gone;

        assert_int_equal(exceptions_parse((struct span){journal, n}, NOW, &s, &bad), OK);
        assert_int_equal(exceptions_find(s, "aaaaaaaa") != NULL, a && !gone);
        assert_int_equal(exceptions_find(s, "bbbbbbbb") != NULL, b);
        assert_int_equal(bad, !whole);
        exceptions_unref(s);
    }
}

/* Every member, with what JSON must escape. */
static struct exception full(const char *id)
{
    struct exception e = allow_host(id, "h.example");

    e.created_wall_ms = NOW - 123;
    e.expires_wall_ms = NOW + 456;
    memset(e.reason, '"', sizeof e.reason - 1);
    memset(e.signature, '\\', sizeof e.signature - 1);
    memset(e.by, 'b', sizeof e.by - 1);
    memset(e.service, '"', sizeof e.service - 1);
    (void)span_copy(SPAN(DIGEST), e.sha256, sizeof e.sha256);
    (void)span_copy(SPAN("\xc3\xb6\xe2\x82\xac*.pdf"), e.file, sizeof e.file);
    (void)span_copy(SPAN("2001:db8::/32"), e.client, sizeof e.client);
    return e;
}

static void test_format_round_trip(void **state)
{
    struct exception rows[] = {full("00000000"), allow_host("11111111", ".example"),
                               bypass_of("zzzzzzzz", "resp")};
    struct exceptions *s;
    struct buf j;

    (void)state;
    buf_init(&j, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t before = j.n;

        exception_format_add(&rows[i], &j);
        assert_true(j.n - before <= EXCEPTION_REQUEST_MAX);
    }
    s = parse(buf_cstr(&j), 0);
    assert_int_equal(exceptions_count(s), ARRAY_LEN(rows));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_same(exceptions_at(s, i), &rows[i]);
    exceptions_unref(s);
    exception_format_remove("00000000", "somebody \"else\"", NOW, &j);
    s = parse(buf_cstr(&j), 0);
    assert_int_equal(exceptions_count(s), ARRAY_LEN(rows) - 1);
    assert_null(exceptions_find(s, "00000000"));
    exceptions_unref(s);
    buf_done(&j);
}

static void test_format_text(void **state)
{
    struct exception e = bypass_of("aaaaaaaa", "resp");
    struct buf j;

    (void)state;
    buf_init(&j, 0);
    exception_format_add(&e, &j);
    exception_format_remove("aaaaaaaa", "root", NOW, &j);
    assert_string_equal(
        buf_cstr(&j),
        "{\"op\":\"add\",\"id\":\"aaaaaaaa\",\"kind\":\"bypass\",\"created\":"
        "\"2023-11-14T22:13:20.000Z\",\"expires\":\"2023-11-14T23:13:20.000Z\",\"by\":\"root\","
        "\"reason\":\"a ticket\",\"service\":\"resp\"}\n"
        "{\"op\":\"remove\",\"id\":\"aaaaaaaa\",\"at\":\"2023-11-14T22:13:20.000Z\","
        "\"by\":\"root\"}\n");
    buf_done(&j);
}

/* ---- sets ---- */

static void test_sets_do_not_change(void **state)
{
    struct exceptions *none = empty_set(), *one, *two, *less;
    struct exception a = allow_host("aaaaaaaa", "a.example"), b = bypass_of("bbbbbbbb", "resp");

    (void)state;
    assert_int_equal(exceptions_with(none, &a, NOW, &one), OK);
    assert_int_equal(exceptions_with(one, &b, NOW, &two), OK);
    assert_int_equal(exceptions_without(two, "aaaaaaaa", NOW, &less), OK);
    assert_int_equal(exceptions_count(none), 0);
    assert_int_equal(exceptions_count(one), 1);
    assert_int_equal(exceptions_count(two), 2);
    assert_int_equal(exceptions_count(less), 1);
    assert_same(exceptions_at(two, 0), &a);
    assert_same(exceptions_at(two, 1), &b);
    assert_same(exceptions_at(less, 0), &b);
    assert_null(exceptions_bypass(one, "resp", NOW));
    assert_same(exceptions_bypass(two, "resp", NOW), &b);
    exceptions_unref(two); /* what it shares with others stays */
    exceptions_unref(none);
    assert_same(exceptions_find(one, "aaaaaaaa"), &a);
    assert_same(exceptions_bypass(less, "resp", NOW), &b);
    struct exceptions *again = exceptions_ref(one);

    exceptions_unref(one);
    assert_int_equal(exceptions_count(again), 1);
    exceptions_unref(again);
    exceptions_unref(less);
    exceptions_unref(NULL);
}

static void test_set_errors(void **state)
{
    struct exceptions *s = with(empty_set(), allow_host("aaaaaaaa", "a.example")), *other = NULL;
    struct exception taken = allow_host("aaaaaaaa", "b.example");
    struct exception no_id = allow_host("", "b.example");
    struct exception unchecked = allow_host("bbbbbbbb", "not a host");
    struct exception everything = make(EXCEPTION_ALLOW, "bbbbbbbb");
    struct exception endless = allow_host("bbbbbbbb", "b.example");

    (void)state;
    memset(endless.id, 'b', sizeof endless.id);
    assert_int_equal(exceptions_with(s, &taken, NOW, &other), ERR_BUG);
    assert_int_equal(exceptions_with(s, &no_id, NOW, &other), ERR_BUG);
    assert_int_equal(exceptions_with(s, &endless, NOW, &other), ERR_BUG);
    assert_int_equal(exceptions_with(s, &unchecked, NOW, &other), ERR_CONFIG);
    assert_int_equal(exceptions_with(s, &everything, NOW, &other), ERR_CONFIG);
    assert_int_equal(exceptions_without(s, "bbbbbbbb", NOW, &other), ERR_MISSING);
    assert_int_equal(exceptions_without(s, "", NOW, &other), ERR_MISSING);
    assert_null(other);
    exceptions_unref(s);
}

/* A change leaves out what has expired. */
static void test_sets_shed_the_expired(void **state)
{
    struct exceptions *s = with(empty_set(), allow_host("aaaaaaaa", "a.example")), *later;
    struct exception b = allow_host("bbbbbbbb", "b.example");

    (void)state;
    b.expires_wall_ms = NOW + 2 * HOUR;
    assert_int_equal(exceptions_with(s, &b, NOW + HOUR - 1, &later), OK);
    assert_int_equal(exceptions_count(later), 2);
    exceptions_unref(later);
    assert_int_equal(exceptions_with(s, &b, NOW + HOUR, &later), OK);
    assert_int_equal(exceptions_count(later), 1);
    assert_non_null(exceptions_find(later, "bbbbbbbb"));
    exceptions_unref(later);
    exceptions_unref(s);
}

static void number_id(unsigned n, char ret[EXCEPTION_ID_LEN + 1])
{
    (void)snprintf(ret, EXCEPTION_ID_LEN + 1, "%08u", n % 100000000);
}

static void test_limit(void **state)
{
    struct exceptions *s, *more = NULL, *less;
    struct exception e = allow_host("aaaaaaaa", "a.example");
    struct buf j;
    unsigned bad;

    (void)state;
    buf_init(&j, 0);
    for (unsigned i = 0; i < EXCEPTIONS_MAX + 3; i++) {
        struct exception n = allow_host("", "h.example");

        number_id(i, n.id);
        exception_format_add(&n, &j);
    }
    assert_int_equal(exceptions_parse(buf_span(&j), NOW, &s, &bad), OK);
    assert_int_equal(exceptions_count(s), EXCEPTIONS_MAX);
    assert_int_equal(bad, 3);
    assert_int_equal(exceptions_with(s, &e, NOW, &more), ERR_LIMIT);
    assert_null(more);
    assert_int_equal(exceptions_without(s, "00000000", NOW, &less), OK);
    assert_int_equal(exceptions_with(less, &e, NOW, &more), OK);
    assert_int_equal(exceptions_count(more), EXCEPTIONS_MAX);
    exceptions_unref(more);
    exceptions_unref(less);
    e.expires_wall_ms = NOW + 2 * HOUR;
    assert_int_equal(exceptions_with(s, &e, NOW + HOUR, &more), OK); /* room: all have expired */
    assert_int_equal(exceptions_count(more), 1);
    exceptions_unref(more);
    exceptions_unref(s);
    buf_done(&j);
}

/* ---- without memory ---- */

static void test_no_memory(void **state)
{
    struct span journal = SPAN(ADD("aaaaaaaa", "") "\n" ADD("bbbbbbbb", "") "\n");
    struct exceptions *s = NULL, *other = NULL;
    struct exception e = allow_host("cccccccc", "h.example");
    unsigned bad, n = 1;
    enum err err;

    (void)state;
    for (; n < 100; n++) {
        mem_fail_after(n);
        err = exceptions_parse(journal, NOW, &s, &bad);
        mem_fail_after(0);
        if (!err)
            break;
        assert_int_equal(err, ERR_NOMEM);
        assert_null(s);
    }
    assert_int_equal(n, 7); /* two for each, the list, the set: each failed once */
    for (n = 1; n <= 3; n++) {
        mem_fail_after(n);
        assert_int_equal(exceptions_with(s, &e, NOW, &other), ERR_NOMEM);
        mem_fail_after(0);
    }
    assert_int_equal(exceptions_count(s), 2);
    exceptions_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_check_times),
        cmocka_unit_test(test_check_completes),
        cmocka_unit_test(test_request_is_bounded),
        cmocka_unit_test(test_journal),
        cmocka_unit_test(test_journal_expiry),
        cmocka_unit_test(test_journal_line_length),
        cmocka_unit_test(test_journal_cut_anywhere),
        cmocka_unit_test(test_format_round_trip),
        cmocka_unit_test(test_format_text),
        cmocka_unit_test(test_sets_do_not_change),
        cmocka_unit_test(test_set_errors),
        cmocka_unit_test(test_sets_shed_the_expired),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
