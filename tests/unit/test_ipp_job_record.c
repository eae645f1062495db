/* SPDX-License-Identifier: Apache-2.0 */
/* Records of jobs as text: everything comes back, whatever names hold; nothing else is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "ipp/ipp_jobs.h"

static struct ipp_job sample(void)
{
    return (struct ipp_job){
        .id = 17,
        .printer = "acct",
        .printer_id = 5,
        .stage = IPP_JOB_PRINTER,
        .made = {IPP_CHANNEL_UPGRADED, IPP_USER_DIGEST},
        .user = "ann",
        .tenant = "branch-4",
        .client = "2001:db8::7",
        .created_wall_ms = 1700000000123,
        .until_wall_ms = 1700000300000,
        .ended_wall_ms = 1700000200000,
        .name = "Letter \"3\"\n\xc3\xa9",
        .format = "application/pdf",
        .octets = UINT64_C(5000000000),
        .documents = 2,
        .reason = "job-printing",
        .why = "It prints.",
        .record = "01HF2Z",
    };
}

static void assert_same(const struct ipp_job *a, const struct ipp_job *b)
{
    assert_int_equal(a->id, b->id);
    assert_string_equal(a->printer, b->printer);
    assert_int_equal(a->printer_id, b->printer_id);
    assert_int_equal(a->stage, b->stage);
    assert_int_equal(a->made.channel, b->made.channel);
    assert_int_equal(a->made.user, b->made.user);
    assert_string_equal(a->user, b->user);
    assert_string_equal(a->tenant, b->tenant);
    assert_string_equal(a->client, b->client);
    assert_int_equal(a->created_wall_ms, b->created_wall_ms);
    assert_int_equal(a->until_wall_ms, b->until_wall_ms);
    assert_int_equal(a->ended_wall_ms, b->ended_wall_ms);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->format, b->format);
    assert_int_equal(a->octets, b->octets);
    assert_int_equal(a->documents, b->documents);
    assert_string_equal(a->reason, b->reason);
    assert_string_equal(a->why, b->why);
    assert_string_equal(a->record, b->record);
    assert_true(span_eq(a->saved, b->saved));
}

/* |j| as text and back. */
static struct ipp_job through_text(const struct ipp_job *j, struct arena *mem)
{
    struct ipp_job back = {0};
    struct buf out;

    buf_init(&out, STORE_VALUE_MAX);
    ipp_job_format(j, &out);
    assert_int_equal(out.err, OK);
    assert_int_equal(ipp_job_parse(buf_span(&out), mem, &back), OK);
    assert_int_equal(back.version, 0);
    buf_done(&out);
    return back;
}

/* ---- there and back ---- */

static void test_text(void **state)
{
    static const char want[] =
        "{\"id\":17,\"printer_id\":5,\"stage\":\"printer\",\"channel\":\"upgraded\","
        "\"proof\":\"digest\",\"printer\":\"acct\",\"user\":\"ann\",\"tenant\":\"branch-4\","
        "\"client\":\"2001:db8::7\",\"name\":\"Letter \\\"3\\\"\\u000a\xc3\xa9\","
        "\"format\":\"application/pdf\",\"reason\":\"job-printing\",\"why\":\"It prints.\","
        "\"record\":\"01HF2Z\",\"created_wall_ms\":1700000000123,"
        "\"until_wall_ms\":1700000300000,\"ended_wall_ms\":1700000200000,"
        "\"octets\":5000000000,\"documents\":2,\"saved\":\"\"}";
    struct ipp_job j = sample(), back;
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    ipp_job_format(&j, &out);
    assert_string_equal(buf_cstr(&out), want);
    buf_done(&out);
    back = through_text(&j, NULL);
    assert_same(&j, &back);
}

/* Records of before devices were told apart have none. */
static void test_backend(void **state)
{
    static const char member[] = "\"backend\":\"0123456789abcdef\",";
    struct ipp_job j = sample(), back;
    struct buf out;

    (void)state;
    back = through_text(&j, NULL);
    assert_string_equal(back.backend, "");
    (void)span_copy(SPAN("0123456789abcdef"), j.backend, sizeof j.backend);
    back = through_text(&j, NULL);
    assert_same(&j, &back);
    assert_string_equal(back.backend, j.backend);
    buf_init(&out, 0);
    ipp_job_format(&j, &out);
    assert_non_null(strstr(buf_cstr(&out), member));
    buf_done(&out);
}

static void test_values(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5 * 3 * 5; i++) {
        struct ipp_job j = sample(), back;

        j.stage = (enum ipp_job_stage)(i % 5);
        j.made.channel = (enum ipp_channel)(i / 5 % 3);
        j.made.user = (enum ipp_user)(i / 15);
        back = through_text(&j, NULL);
        assert_same(&j, &back);
    }
    struct ipp_job most = sample(), least = {.id = 1, .printer = "p"}, back;

    most.id = most.printer_id = IPP_JOB_ID_MAX;
    most.documents = UINT32_MAX;
    most.octets = INT64_MAX;
    back = through_text(&most, NULL);
    assert_same(&most, &back);
    back = through_text(&least, NULL);
    assert_same(&least, &back);
}

/* The attributes that made a job, of every remainder that base64 knows; as long as it is needed. */
static void test_saved(void **state)
{
    static char bytes[IPP_JOB_SAVED_MAX];
    static const size_t sizes[] = {1, 2, 3, 4, 100, IPP_JOB_SAVED_MAX - 1, IPP_JOB_SAVED_MAX};
    struct arena mem;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7 + i / 256);
    arena_init(&mem, 0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct ipp_job j = sample(), back;

        j.stage = IPP_JOB_INCOMING;
        j.saved = (struct span){bytes, sizes[i]};
        back = through_text(&j, &mem);
        assert_same(&j, &back);
        back = through_text(&j, NULL);
        assert_null(back.saved.p);
        j.stage = IPP_JOB_SCANNING;
        back = through_text(&j, &mem);
        assert_int_equal(back.saved.n, 0);
    }
    arena_done(&mem);
}

/* The longest that JSON can make of a job. */
static void test_largest(void **state)
{
    static char bytes[IPP_JOB_SAVED_MAX];
    struct ipp_job j = {
        .id = IPP_JOB_ID_MAX,
        .printer_id = IPP_JOB_ID_MAX,
        .made = {IPP_CHANNEL_IMPLICIT, IPP_USER_CERTIFICATE},
        .created_wall_ms = UINT64_MAX,
        .until_wall_ms = UINT64_MAX,
        .ended_wall_ms = UINT64_MAX,
        .octets = UINT64_MAX,
        .documents = UINT32_MAX,
        .saved = {bytes,                sizeof bytes        }
    };
    struct arena mem;

    (void)state;
    memset(j.printer, 1, sizeof j.printer - 1);
    memset(j.user, 1, sizeof j.user - 1);
    memset(j.tenant, 1, sizeof j.tenant - 1);
    memset(j.client, 1, sizeof j.client - 1);
    memset(j.name, 1, sizeof j.name - 1);
    memset(j.format, 1, sizeof j.format - 1);
    memset(j.reason, 1, sizeof j.reason - 1);
    memset(j.why, 1, sizeof j.why - 1);
    memset(j.record, 1, sizeof j.record - 1);
    arena_init(&mem, 0);
    struct ipp_job back = through_text(&j, &mem); /* within STORE_VALUE_MAX */

    assert_int_equal(back.octets, INT64_MAX);
    assert_int_equal(back.until_wall_ms, INT64_MAX);
    ipp_job_tidy(&j);
    assert_same(&j, &back);
    arena_done(&mem);
}

/* ---- texts ---- */

#define FFFD "\xef\xbf\xbd"

static void test_texts(void **state)
{
    static const struct {
        struct span in;
        const char *want; /* in room for seven octets */
    } rows[] = {
        {{"", 0},                      ""                   },
        {{"seven", 5},                 "seven"              },
        {{"sevenxx", 7},               "sevenxx"            },
        {{"sevenxxx", 8},              "sevenxx"            },
        {{"seven \xc3\xa9", 8},        "seven "             }, /* not half a character */
        {{"five \xc3\xa9", 7},         "five \xc3\xa9"      },
        {{"ab\xf0\x9f\x96\xa8z", 7},   "ab\xf0\x9f\x96\xa8z"},
        {{"abcd\xf0\x9f\x96\xa8z", 9}, "abcd"               }, /* and nothing behind what is cut */
        {{"a\0b", 3},                  "a" FFFD "b"         },
        {{"\xff", 1},                  FFFD                 },
        {{"\xc3", 1},                  FFFD                 },
        {{"\xff\xfe\xfd", 3},          FFFD FFFD            },
        {{"\xed\xa0\x80", 3},          FFFD FFFD            }, /* a surrogate */
        {{"\xc0\x80", 2},              FFFD FFFD            }, /* NUL, the long way */
        {{"\x01\n\x7f\xc2\x85", 5},    "\x01\n\x7f\xc2\x85" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char dst[8];

        memset(dst, 'x', sizeof dst);
        ipp_job_text(rows[i].in, dst, sizeof dst);
        assert_string_equal(dst, rows[i].want);
    }
}

/* Whatever bytes a name has, what is written can be read, and is what tidying made of it. */
static void test_hostile_names(void **state)
{
    static const char *const names[] = {
        "\",\"id\":1,\"x\":\"",  "\\",       "\\u0000",    "\xff\xff\xff",
        "\xe2\x80\xa8</script>", "\x1b[31m", "\xc2\x9b[m", "\x7f",
    };
    struct ipp_job j, back;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        j = sample();
        (void)span_copy(span_of(names[i]), j.name, sizeof j.name);
        back = through_text(&j, NULL);
        ipp_job_tidy(&j);
        assert_same(&j, &back);
    }
    j = sample();
    memset(j.name, 0xff, sizeof j.name); /* three octets for one, and without an end */
    memset(j.why, 'a', sizeof j.why);
    back = through_text(&j, NULL);
    assert_int_equal(strlen(back.name), IPP_JOB_TEXT_MAX / 3 * 3);
    assert_true(utf8_is_valid(span_of(back.name)));
    assert_int_equal(strlen(back.why), IPP_JOB_TEXT_MAX);
}

/* ---- refusals ---- */

#define A64  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A256 A64 A64 A64 A64

static const struct {
    const char *what, *instead; /* in the record of |incoming()| */
    enum err want;
} rows[] = {
    {"\"id\":17",                         "\"id\":17",                            OK       },
    {"\"id\":17",                         "\"id\": 17",                           OK       },
    {"\"id\":17",                         "\"id\":0",                             ERR_PROTO},
    {"\"id\":17",                         "\"id\":-1",                            ERR_PROTO},
    {"\"id\":17",                         "\"id\":2147483647",                    OK       },
    {"\"id\":17",                         "\"id\":2147483648",                    ERR_PROTO},
    {"\"id\":17",                         "\"id\":17.0",                          ERR_PROTO},
    {"\"id\":17",                         "\"id\":\"17\"",                        ERR_PROTO},
    {"\"id\":17",                         "\"id\":null",                          ERR_PROTO},
    {"\"id\":17",                         "\"id\":99999999999999999999",          ERR_PROTO},
    {"\"id\":17",                         "\"id\":17,\"id\":17",                  ERR_PROTO},
    {"\"id\":17",                         "\"id\":17,\"more\":1",                 ERR_PROTO},
    {"\"id\":17,",                        "",                                     ERR_PROTO},
    {"\"id\":17",                         "\"Id\":17",                            ERR_PROTO},
    {"\"printer_id\":5",                  "\"printer_id\":0",                     OK       },
    {"\"printer_id\":5",                  "\"printer_id\":-5",                    ERR_PROTO},
    {"\"printer_id\":5",                  "\"printer_id\":2147483648",            ERR_PROTO},
    {"\"documents\":2",                   "\"documents\":4294967295",             OK       },
    {"\"documents\":2",                   "\"documents\":4294967296",             ERR_PROTO},
    {"\"documents\":2",                   "\"documents\":-1",                     ERR_PROTO},
    {"\"octets\":5000000000",             "\"octets\":9223372036854775807",       OK       },
    {"\"octets\":5000000000",             "\"octets\":9223372036854775808",       ERR_PROTO},
    {"\"octets\":5000000000",             "\"octets\":-1",                        ERR_PROTO},
    {"\"created_wall_ms\":1700000000123", "\"created_wall_ms\":true",             ERR_PROTO},
    {"\"incoming\"",                      "\"scanning\"",                         ERR_PROTO}, /* and has something saved */
    {"\"incoming\"",                      "\"Incoming\"",                         ERR_PROTO},
    {"\"incoming\"",                      "\"incomin\"",                          ERR_PROTO},
    {"\"incoming\"",                      "\"\"",                                 ERR_PROTO},
    {"\"incoming\"",                      "0",                                    ERR_PROTO},
    {"\"upgraded\"",                      "\"tls\"",                              ERR_PROTO},
    {"\"digest\"",                        "\"?\"",                                ERR_PROTO},
    {"\"acct\"",                          "\"\"",                                 ERR_PROTO},
    {"\"acct\"",                          "\"" A64 "\"",                          OK       },
    {"\"acct\"",                          "\"" A64 "a\"",                         ERR_PROTO},
    {"\"acct\"",                          "\"a\\u0000b\"",                        ERR_PROTO},
    {"\"acct\"",                          "\"a\xff\"",                            ERR_PROTO},
    {"\"acct\"",                          "[\"acct\"]",                           ERR_PROTO},
    {"\"ann\"",                           "\"\"",                                 OK       },
    {"\"ann\"",                           "\"" A64 A64 "a\"",                     ERR_PROTO},
    {"\"ann\"",                           "null",                                 ERR_PROTO},
    {"\"branch-4\"",                      "\"" A64 "a\"",                         ERR_PROTO},
    {"\"2001:db8::7\"",                   "\"" A256 "\"",                         ERR_PROTO},
    {"\"application/pdf\"",               "\"" A256 "\"",                         ERR_PROTO},
    {"\"job-printing\"",                  "\"" A64 "\"",                          ERR_PROTO},
    {"\"It prints.\"",                    "\"" A256 "\"",                         ERR_PROTO},
    {"\"01HF2Z\"",                        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", ERR_PROTO},
    {"\"AQEA\"",                          "\"\"",                                 OK       },
    {"\"AQEA\"",                          "\"AQE\"",                              OK       },
    {"\"AQEA\"",                          "\"AQF\"",                              ERR_PROTO}, /* bits left over */
    {"\"AQEA\"",                          "\"AQEAA\"",                            ERR_PROTO},
    {"\"AQEA\"",                          "\"A\"",                                ERR_PROTO},
    {"\"AQEA\"",                          "\"AQ==\"",                             ERR_PROTO},
    {"\"AQEA\"",                          "\"AQ+A\"",                             ERR_PROTO},
    {"\"AQEA\"",                          "7",                                    ERR_PROTO},
    {"}",                                 "",                                     ERR_PROTO},
    {"}",                                 "}}",                                   ERR_PROTO},
    {"}",                                 "} ",                                   OK       },
    {"{",                                 "[",                                    ERR_PROTO},
};

static void incoming(struct buf *out)
{
    struct ipp_job j = sample();

    j.stage = IPP_JOB_INCOMING;
    j.saved = (struct span){"\1\1\0", 3};
    ipp_job_format(&j, out);
}

static void test_refusals(void **state)
{
    struct arena mem;

    (void)state;
    arena_init(&mem, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ipp_job j = {.id = 99};
        struct buf whole, text;

        buf_init(&whole, 0);
        buf_init(&text, 0);
        incoming(&whole);
        const char *from = buf_cstr(&whole), *at = strstr(from, rows[i].what);

        assert_non_null(at);
        buf_add(&text, (struct span){from, (size_t)(at - from)});
        buf_text(&text, rows[i].instead);
        buf_text(&text, at + strlen(rows[i].what));
        if (ipp_job_parse(buf_span(&text), &mem, &j) != rows[i].want)
            fail_msg("%s instead of %s", rows[i].instead, rows[i].what);
        if (rows[i].want)
            assert_int_equal(j.id, 99); /* as it was */
        buf_done(&text);
        buf_done(&whole);
    }
    arena_done(&mem);
}

static void test_no_record(void **state)
{
    static char large[STORE_VALUE_MAX + 1];
    struct ipp_job j;
    struct buf text;

    (void)state;
    assert_int_equal(ipp_job_parse(SPAN_NONE, NULL, &j), ERR_PROTO);
    assert_int_equal(ipp_job_parse(SPAN("null"), NULL, &j), ERR_PROTO);
    assert_int_equal(ipp_job_parse(SPAN("17"), NULL, &j), ERR_PROTO);
    assert_int_equal(ipp_job_parse(SPAN("{}"), NULL, &j), ERR_PROTO);
    buf_init(&text, 0);
    incoming(&text);
    for (size_t n = 0; n < text.n; n++)
        assert_int_equal(ipp_job_parse((struct span){text.p, n}, NULL, &j), ERR_PROTO);
    memset(large, ' ', sizeof large);
    memcpy(large, text.p, text.n);
    assert_int_equal(ipp_job_parse((struct span){large, STORE_VALUE_MAX}, NULL, &j), OK);
    assert_int_equal(ipp_job_parse((struct span){large, STORE_VALUE_MAX + 1}, NULL, &j), ERR_PROTO);
    buf_done(&text);
}

static void test_saved_too_long(void **state)
{
    static char bytes[IPP_JOB_SAVED_MAX + 1];
    struct ipp_job j = {
        .id = 1, .printer = "p", .saved = {bytes, sizeof bytes}
    };
    struct arena mem;
    struct buf text;

    (void)state;
    arena_init(&mem, 0);
    buf_init(&text, 0);
    ipp_job_format(&j, &text);
    assert_int_equal(ipp_job_parse(buf_span(&text), &mem, &j), ERR_PROTO);
    buf_done(&text);
    arena_done(&mem);
}

static void test_no_memory(void **state)
{
    struct ipp_job j = {.id = 99};
    struct arena mem;
    struct buf text;

    (void)state;
    arena_init(&mem, 0);
    buf_init(&text, 0);
    mem_fail_after(1);
    incoming(&text);
    mem_fail_after(0);
    assert_int_equal(text.err, ERR_NOMEM);
    buf_reset(&text);
    incoming(&text);
    mem_fail_after(1);
    assert_int_equal(ipp_job_parse(buf_span(&text), &mem, &j), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(j.id, 99);
    buf_done(&text);
    arena_done(&mem);
}

/* ---- what it is by now ---- */

static void test_settle(void **state)
{
    static const struct {
        enum ipp_job_stage stage;
        uint64_t until, now;
        enum ipp_job_stage want;
        const char *reason;
    } table[] = {
        {IPP_JOB_INCOMING, 1000, 999,  IPP_JOB_INCOMING, "as-it-was"             },
        {IPP_JOB_INCOMING, 1000, 1000, IPP_JOB_ABORTED,  "submission-interrupted"},
        {IPP_JOB_INCOMING, 0,    0,    IPP_JOB_ABORTED,  "submission-interrupted"},
        {IPP_JOB_SCANNING, 1000, 999,  IPP_JOB_SCANNING, "as-it-was"             },
        {IPP_JOB_SCANNING, 1000, 5000, IPP_JOB_ABORTED,  "aborted-by-system"     },
        {IPP_JOB_SENDING,  1000, 999,  IPP_JOB_SENDING,  "as-it-was"             },
        {IPP_JOB_SENDING,  1000, 1000, IPP_JOB_ABORTED,  "aborted-by-system"     },
        {IPP_JOB_STOPPING, 1000, 999,  IPP_JOB_STOPPING, "as-it-was"             },
        {IPP_JOB_STOPPING, 1000, 1000, IPP_JOB_ABORTED,  "aborted-by-system"     },
        {IPP_JOB_PRINTER,  1000, 5000, IPP_JOB_PRINTER,  "as-it-was"             },
        {IPP_JOB_CANCELED, 1000, 5000, IPP_JOB_CANCELED, "as-it-was"             },
        {IPP_JOB_ABORTED,  1000, 5000, IPP_JOB_ABORTED,  "as-it-was"             },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct ipp_job j = {.stage = table[i].stage,
                            .until_wall_ms = table[i].until,
                            .ended_wall_ms = 7,
                            .reason = "as-it-was",
                            .why = "As it was.",
                            .saved = SPAN("x")};
        bool over = table[i].want != table[i].stage;

        ipp_job_settle(&j, table[i].now);
        assert_int_equal(j.stage, table[i].want);
        assert_string_equal(j.reason, table[i].reason);
        assert_int_equal(strcmp(j.why, "As it was.") != 0, over);
        assert_int_equal(j.ended_wall_ms, over ? table[i].until : 7);
        assert_int_equal(j.saved.n, over ? 0 : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),          cmocka_unit_test(test_backend),
        cmocka_unit_test(test_values),        cmocka_unit_test(test_saved),
        cmocka_unit_test(test_largest),       cmocka_unit_test(test_texts),
        cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_record),     cmocka_unit_test(test_saved_too_long),
        cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_settle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
