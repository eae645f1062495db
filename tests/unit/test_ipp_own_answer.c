/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_translate.h: answers of the gateway's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/reader.h"
#include "base/utf8.h"
#include "test_ipp_text.h"
#include "test_ipp_translate_world.h"

#define IPPS   "ipps://gw.example:443/ipp/acct"
#define MINTED "ipp://gw.example:631/jobs/42;AUTH=TLS,DAA"

static void assert_text(const struct buf *octets, const char *want)
{
    struct ipp_message m;
    struct buf text;

    buf_init(&text, 0);
    world_parse(IPP_RESPONSE, octets, &m);
    text_of_message(&m, &text);
    if (!span_eq(buf_span(&text), span_of(want)))
        fail_msg("\n  %s\nand not\n  %s", buf_cstr(&text), want);
    buf_done(&text);
}

/* ---- any answer ---- */

static void refusals_are_written(void **state)
{
    static const struct {
        struct span message, unsupported;
        const char *want;
    } rows[] = {
        {SPAN(""),                         SPAN(""),                 ""                                      },
        {SPAN("Busy"),                     SPAN(""),                 "status-message=tBusy"                  },
        {SPAN(""),                         SPAN("job-sheets"),       "@5 job-sheets=?"                       },
        {SPAN("No"),                       SPAN("  job-sheets  x "), "status-message=tNo @5 job-sheets=? x=?"},
        {SPAN(""),                         SPAN("  "),               ""                                      },
        {SPAN("a\0b\nc\x7f\xc3\xa4\xff."), SPAN(""),                 "status-message=ta?b?c?\xc3\xa4?."      },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ipp_own_answer a = {.major = 1,
                                   .minor = 1,
                                   .status = IPP_SERVER_ERROR_BUSY,
                                   .request_id = 7,
                                   .message = rows[i].message,
                                   .unsupported = rows[i].unsupported};
        struct buf out;

        buf_init(&out, 0);
        assert_int_equal(ipp_own_answer(&a, &out), OK);
        assert_true(span_starts(buf_span(&out), SPAN("\1\1\5\7\0\0\0\7")));
        assert_text(&out, rows[i].want);
        buf_done(&out);
    }
}

static void versions_are_ones_that_we_speak(void **state)
{
    static const uint8_t rows[][4] = {
        {0,   0,   1, 1},
        {0,   9,   1, 1},
        {1,   0,   1, 0},
        {1,   1,   1, 1},
        {2,   2,   2, 2},
        {3,   1,   2, 0},
        {255, 255, 2, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ipp_own_answer a = {.major = rows[i][0], .minor = rows[i][1], .request_id = 1};
        struct buf out;

        buf_init(&out, 0);
        assert_int_equal(ipp_own_answer(&a, &out), OK);
        assert_int_equal(out.p[0], rows[i][2]);
        assert_int_equal(out.p[1], rows[i][3]);
        buf_done(&out);
    }
}

/* Long texts end with a whole character. */
static void long_messages_are_cut(void **state)
{
    struct ipp_own_answer a = {.major = 2, .request_id = 1};
    char text[400] = "";
    struct ipp_attribute attribute;
    struct ipp_message m;
    struct ipp_value v;
    struct buf out;

    (void)state;
    for (size_t i = 0; i < sizeof text; i += 4)
        memcpy(text + i, "\xf0\x9f\x96\xa8", 4);
    a.message = (struct span){text, sizeof text};
    buf_init(&out, 0);
    assert_int_equal(ipp_own_answer(&a, &out), OK);
    world_parse(IPP_RESPONSE, &out, &m);
    assert_int_equal(ipp_message_find(&m, SPAN("status-message"), &attribute), OK);
    assert_true(ipp_attribute_single(&attribute, IPP_VALUE_TEXT, &v));
    assert_int_equal(v.value.n, 252);
    assert_true(utf8_is_valid(v.value));
    buf_done(&out);
}

static void failures_leave_nothing(void **state)
{
    struct ipp_own_answer a = {.major = 2, .request_id = 1, .message = SPAN("Busy")};
    char name[256];
    struct buf out;

    (void)state;
    buf_init(&out, 40);
    buf_text(&out, "before");
    assert_int_equal(ipp_own_answer(&a, &out), ERR_LIMIT);
    assert_true(span_eq(buf_span(&out), SPAN("before")));
    buf_done(&out);
    buf_init(&out, 0);
    mem_fail_after(1);
    assert_int_equal(ipp_own_answer(&a, &out), ERR_NOMEM);
    mem_fail_after(0);
    buf_reset(&out);
    a.unsupported = SPAN("a\tb");
    assert_int_equal(ipp_own_answer(&a, &out), ERR_SYNTAX);
    memset(name, 'n', sizeof name);
    a.unsupported = (struct span){name, sizeof name};
    assert_int_equal(ipp_own_answer(&a, &out), ERR_LIMIT);
    assert_int_equal(out.n, 0);
    buf_done(&out);
}

/* ---- jobs ---- */

static struct ipp_job scanned(void)
{
    return (struct ipp_job){
        .id = 42,
        .stage = IPP_JOB_SCANNING,
        .made = {IPP_CHANNEL_UPGRADED, IPP_USER_DIGEST},
        .user = "ann",
        .name = "letter",
        .created_wall_ms = 1700000000250,
        .octets = 1025,
        .documents = 1,
    };
}

/* |list|: what was asked for, as text; NULL: nothing in particular. */
static void assert_job(const struct ipp_job *job, const char *list, const char *want)
{
    struct ipp_own_answer a = {.major = 2, .request_id = 1};
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_attribute requested;
    struct ipp_message m;
    struct buf request, out;

    buf_init(&request, 0);
    buf_init(&out, 0);
    text_message(&request, IPP_OPERATION_GET_JOB_ATTRIBUTES, list ? list : "");
    world_parse(IPP_REQUEST, &request, &m);
    if (list)
        assert_int_equal(ipp_message_find(&m, SPAN("requested-attributes"), &requested), OK);
    assert_int_equal(ipp_own_job_answer(&a, job, &p, list ? &requested : NULL, 1700000009999, &out),
                     OK);
    assert_text(&out, want);
    buf_done(&request);
    buf_done(&out);
}

static void a_job_is_told(void **state)
{
    static const char want[] =
        "@2 job-id=i42 job-uri=u" MINTED " job-state=e5 job-state-reasons=kjob-transforming "
        "job-printer-uri=u" IPPS " job-name=nletter job-originating-user-name=nann "
        "time-at-creation=i1700000000 time-at-processing=- time-at-completed=- "
        "job-printer-up-time=i1700000009 "
        "number-of-documents=i1 job-k-octets=i2 "
        "date-time-at-creation=d\x07\xe7\x0b\x0e\x16\x0d\x14\x02+";
    struct ipp_job job = scanned();
    struct ipp_own_answer a = {.major = 2, .request_id = 1, .unsupported = SPAN("job-sheets")};
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_message m;
    struct buf out, text;

    (void)state;
    buf_init(&out, 0);
    buf_init(&text, 0);
    assert_int_equal(ipp_own_job_answer(&a, &job, &p, NULL, 1700000009999, &out), OK);
    world_parse(IPP_RESPONSE, &out, &m);
    text_of_message(&m, &text);
    /* The date ends with two octets of zero, the distance from UTC. */
    assert_true(span_starts(buf_span(&text), SPAN("@5 job-sheets=? ")));
    buf_drop(&text, sizeof "@5 job-sheets=? " - 1);
    assert_int_equal(text.n, sizeof want - 1 + 2);
    assert_true(span_starts(buf_span(&text), SPAN(want)));
    assert_true(span_ends(buf_span(&text), SPAN("+\0\0")));
    buf_done(&out);
    buf_done(&text);
}

static void what_is_asked_for_is_told(void **state)
{
    struct ipp_job job = scanned();

    (void)state;
    assert_job(&job, "requested-attributes=kjob-state +kJob-ID", "@2 job-id=i42 job-state=e5");
    assert_job(&job, "requested-attributes=kjob-template", "@2");
    assert_job(&job, "requested-attributes=kmedia +kjob-media-progress", "@2");
    job.created_wall_ms = UINT64_MAX; /* no date then */
    job.documents = UINT32_MAX;
    job.octets = UINT64_MAX;
    for (size_t i = 0; i < 2; i++)
        assert_job(&job,
                   i ? "requested-attributes=kx +kall" : "requested-attributes=kjob-description",
                   "@2 job-id=i42 job-uri=u" MINTED
                   " job-state=e5 job-state-reasons=kjob-transforming job-printer-uri=u" IPPS
                   " job-name=nletter job-originating-user-name=nann time-at-creation=i2147483647 "
                   "time-at-processing=- time-at-completed=- job-printer-up-time=i1700000009 "
                   "number-of-documents=i2147483647 job-k-octets=i2147483647");
}

static void states_are_told(void **state)
{
    static const struct {
        enum ipp_job_stage stage;
        const char *reason, *why, *want;
    } rows[] = {
        {IPP_JOB_INCOMING, "x",                       "",
         "@2 job-state=e4 job-state-reasons=kjob-incoming time-at-completed=-"                                                  },
        {IPP_JOB_SCANNING, "x",                       "",
         "@2 job-state=e5 job-state-reasons=kjob-transforming time-at-completed=-"                                              },
        {IPP_JOB_SENDING,  "x",                       "",
         "@2 job-state=e5 job-state-reasons=kjob-outgoing time-at-completed=-"                                                  },
        {IPP_JOB_STOPPING, "x",                       "",
         "@2 job-state=e5 job-state-reasons=kprocessing-to-stop-point time-at-completed=-"                                      },
        {IPP_JOB_PRINTER,  "x",                       "",          "@2 job-state=e3 job-state-reasons=knone time-at-completed=-"},
        {IPP_JOB_ABORTED,  "",                        "",
         "@2 job-state=e8 job-state-reasons=kaborted-by-system time-at-completed=i1699999007"                                   },
        {IPP_JOB_ABORTED,  "document-security-error", "Eicar\xff",
         "@2 job-state=e8 job-state-reasons=kdocument-security-error job-state-message=tEicar? "
         "time-at-completed=i1699999007"                                                                                        },
        {IPP_JOB_CANCELED, "",                        "",
         "@2 job-state=e7 job-state-reasons=kjob-canceled-by-user time-at-completed=i1699999007"                                },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ipp_job job = scanned();

        job.stage = rows[i].stage;
        job.ended_wall_ms = 1699999007999;
        (void)span_copy(span_of(rows[i].reason), job.reason, sizeof job.reason);
        (void)span_copy(span_of(rows[i].why), job.why, sizeof job.why);
        assert_job(&job,
                   "requested-attributes=kjob-state +kjob-state-reasons +kjob-state-message "
                   "+ktime-at-completed",
                   rows[i].want);
    }
}

/* `lpstat -l` asks for CUPS' own attribute. */
static void cups_is_told_why(void **state)
{
    struct ipp_job job = scanned();

    (void)state;
    job.stage = IPP_JOB_ABORTED;
    (void)span_copy(SPAN("it is infected"), job.why, sizeof job.why);
    assert_job(&job, "requested-attributes=kjob-state +kjob-printer-state-message",
               "@2 job-state=e8 job-printer-state-message=tit is infected");
}

static void what_is_not_known_has_a_name(void **state)
{
    struct ipp_job job = scanned();

    (void)state;
    job.name[0] = '\0';
    job.user[0] = '\0';
    job.created_wall_ms = 0;
    assert_job(&job,
               "requested-attributes=kjob-name +kjob-originating-user-name +ktime-at-creation",
               "@2 job-name=nUntitled job-originating-user-name=nanonymous time-at-creation=i0");
}

/* Every day of 450 years, at another time of day each, against libc's calendar. */
static void dates_are_told(void **state)
{
    struct ipp_own_answer a = {.major = 2, .request_id = 1};
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_job job = scanned();
    struct ipp_attribute requested;
    struct ipp_message m;
    struct buf request, out;

    (void)state;
    buf_init(&request, 0);
    text_message(&request, IPP_OPERATION_GET_JOB_ATTRIBUTES,
                 "requested-attributes=kdate-time-at-creation");
    world_parse(IPP_REQUEST, &request, &m);
    assert_int_equal(ipp_message_find(&m, SPAN("requested-attributes"), &requested), OK);
    buf_init(&out, 0);
    for (uint64_t day = 0; day < 450 * 366; day++) {
        time_t s = (time_t)(day * 86400 + day * 7919 % 86400);
        uint8_t want[8];
        struct writer w = writer_of(want, sizeof want);
        struct tm tm;

        assert_non_null(gmtime_r(&s, &tm));
        write_u16(&w, (uint16_t)(tm.tm_year + 1900));
        write_u8(&w, (uint8_t)(tm.tm_mon + 1));
        write_u8(&w, (uint8_t)tm.tm_mday);
        write_u8(&w, (uint8_t)tm.tm_hour);
        write_u8(&w, (uint8_t)tm.tm_min);
        write_u8(&w, (uint8_t)tm.tm_sec);
        write_u8(&w, 9);
        job.created_wall_ms = (uint64_t)s * 1000 + 999;
        buf_reset(&out);
        assert_int_equal(ipp_own_job_answer(&a, &job, &p, &requested, 0, &out), OK);
        /* Behind it are +, two octets of zero and the end tag. */
        assert_true(out.n > 12 &&
                    span_eq(span_sub(buf_span(&out), out.n - 12, 8), writer_span(&w)));
    }
    buf_done(&request);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_are_written),
        cmocka_unit_test(versions_are_ones_that_we_speak),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(failures_leave_nothing),
        cmocka_unit_test(a_job_is_told),
        cmocka_unit_test(what_is_asked_for_is_told),
        cmocka_unit_test(states_are_told),
        cmocka_unit_test(cups_is_told_why),
        cmocka_unit_test(what_is_not_known_has_a_name),
        cmocka_unit_test(dates_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
