/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_translate.h: what a printer is told of a request, and which it gets. Messages are lines
 * of test_ipp_text.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "test_ipp.h"
#include "test_ipp_text.h"
#include "test_ipp_translate_world.h"

/* ---- requests ---- */

static const struct ipp_job_numbers numbers[] = {
    {42, 7},
    {43, 8},
    {44, 0}, /* the printer has not got it */
};

static struct ipp_request_translation translation(void)
{
    return (struct ipp_request_translation){
        .printer_uri = SPAN("ipp://printer.lan/q"),
        .job_id = 7,
        .jobs = numbers,
        .n_jobs = ARRAY_LEN(numbers),
    };
}

#define TARGET "printer-uri=uipp://gw.example/ipp/acct"
#define ITS    "printer-uri=uipp://printer.lan/q"

struct request_row {
    const char *name;
    uint16_t operation;
    const char *in, *out;
    enum err want;
    const char *user;
    bool secure, hold;
};

/* clang-format off */
static const struct request_row request_rows[] = {
    {"printer-uri", IPP_OPERATION_PRINT_JOB, TARGET " requesting-user-name=nann @2 copies=i2",
     ITS " requesting-user-name=nann @2 copies=i2", OK, "", false, false},
    {"no target", IPP_OPERATION_CUPS_GET_DEFAULT, "requested-attributes=kprinter-name",
     "requested-attributes=kprinter-name", OK, "", false, false},
    {"in another place and in capitals", IPP_OPERATION_PRINT_JOB, "limit=i1 Printer-URI=uipp://gw.example/ipp/acct x=i1",
     "limit=i1 " ITS " x=i1", OK, "", false, false},
    {"job-uri", IPP_OPERATION_CANCEL_JOB, "job-uri=uipp://gw.example/jobs/42 message=tgone",
     ITS " job-id=i7 message=tgone", OK, "", false, false},
    {"job-id", IPP_OPERATION_CANCEL_JOB, TARGET " job-id=i42 message=tgone", ITS " job-id=i7 message=tgone",
     OK, "", false, false},
    {"job-id first", IPP_OPERATION_CANCEL_JOB, "job-id=i42 " TARGET, "job-id=i7 " ITS, OK, "", false, false},
    {"a system", 0x005b, "system-uri=uipp://gw.example/ipp/system", NULL, ERR_BUG, "", false, false},

    {"a user is proved", IPP_OPERATION_PRINT_JOB, TARGET " requesting-user-name=nroot x=i1",
     ITS " requesting-user-name=nann x=i1", OK, "ann", false, false},
    {"a user who claims nothing", IPP_OPERATION_PRINT_JOB, TARGET " x=i1 @2 copies=i2",
     ITS " x=i1 requesting-user-name=nann @2 copies=i2", OK, "ann", false, false},
    {"the name twice, and in other groups", IPP_OPERATION_PRINT_JOB,
     TARGET " Requesting-User-Name=nroot requesting-user-name=nroot @2 requesting-user-name=nroot copies=i2",
     ITS " requesting-user-name=nann @2 copies=i2", OK, "ann", false, false},
    {"the name in the job only", IPP_OPERATION_PRINT_JOB, TARGET " @2 requesting-user-name=nroot",
     ITS " requesting-user-name=nann @2", OK, "ann", false, false},
    {"names that only a printer gives", IPP_OPERATION_PRINT_JOB,
     TARGET " job-originating-user-name=nroot @2 job-originating-host-name=nlocalhost original-requesting-user-name=nroot "
     "copies=i1", ITS " @2 copies=i1", OK, "", false, false},
    {"cards", IPP_OPERATION_PRINT_JOB, TARGET " requesting-user-uri=umailto:a@b requesting-user-vcard=tBEGIN x=i1",
     ITS " x=i1", OK, "", false, false},

    {"documents to be fetched", IPP_OPERATION_PRINT_URI,
     TARGET " document-uri=uhttp://inner/ document-access={ access-password=ts } x=i1", ITS " x=i1", OK, "", true, false},
    {"secrets in the clear", IPP_OPERATION_PRINT_JOB,
     TARGET " auth-info=tann +ts document-password=xs @2 job-password=xs job-password-encryption=kmd5 "
     "destination-accesses={ access-password=ts } copies=i2", ITS " @2 copies=i2", OK, "", false, false},
    {"secrets, protected", IPP_OPERATION_PRINT_JOB,
     TARGET " auth-info=tann +ts document-password=xs @2 job-password=xs job-password-encryption=kmd5",
     ITS " auth-info=tann +ts document-password=xs @2 job-password=xs job-password-encryption=kmd5", OK, "", true, false},

    {"subscriptions that push", IPP_OPERATION_CREATE_JOB,
     TARGET " @2 copies=i1 @6 notify-recipient-uri=umailto:ann@example notify-events=kjob-completed",
     ITS " @2 copies=i1", OK, "", false, false},
    {"that pull", IPP_OPERATION_CREATE_JOB, TARGET " @6 notify-pull-method=kippget notify-events=kjob-completed",
     ITS " @6 notify-pull-method=kippget notify-events=kjob-completed", OK, "", false, false},
    {"that do both", IPP_OPERATION_CREATE_JOB, TARGET " @6 notify-recipient-uri=urss:x notify-pull-method=kippget",
     ITS " @6 notify-pull-method=kippget", OK, "", false, false},
    {"that do neither", IPP_OPERATION_CREATE_JOB, TARGET " @6 notify-events=kjob-completed",
     ITS " @6 notify-events=kjob-completed", OK, "", false, false},
    {"a recipient outside of subscriptions", IPP_OPERATION_CREATE_JOB, TARGET " notify-recipient-uri=urss:x", ITS,
     OK, "", false, false},

    {"held", IPP_OPERATION_PRINT_JOB, TARGET " @2 copies=i2 Job-Hold-Until=kno-hold sides=kone-sided",
     ITS " @2 copies=i2 sides=kone-sided job-hold-until=kindefinite", OK, "", false, true},
    {"held, and asked for in the wrong group", IPP_OPERATION_PRINT_JOB,
     TARGET " job-hold-until=kno-hold @2 copies=i2 @2 job-hold-until=kno-hold job-hold-until-time=know",
     ITS " @2 copies=i2 job-hold-until=kindefinite @2", OK, "", false, true},
    {"held without job attributes", IPP_OPERATION_CREATE_JOB, TARGET, ITS " @2 job-hold-until=kindefinite",
     OK, "", false, true},
    {"held before other groups", IPP_OPERATION_PRINT_JOB, TARGET " @6 notify-pull-method=kippget",
     ITS " requesting-user-name=nann @2 job-hold-until=kindefinite @6 notify-pull-method=kippget", OK, "ann", false, true},
    {"not held", IPP_OPERATION_PRINT_JOB, TARGET " @2 job-hold-until=knight job-hold-until-time=know",
     ITS " @2 job-hold-until=knight job-hold-until-time=know", OK, "", false, false},

    {"numbers of other jobs", IPP_OPERATION_CANCEL_JOBS, TARGET " job-ids=i43 +i42 notify-job-id=i42 message=tgone",
     ITS " job-ids=i8 +i7 notify-job-id=i7 message=tgone", OK, "", false, false},
    {"one that nobody knows", IPP_OPERATION_CANCEL_JOBS, TARGET " job-ids=i43 +i7", NULL, ERR_MISSING, "", false, false},
    {"one that the printer has not got", IPP_OPERATION_CANCEL_JOBS, TARGET " job-ids=i44", NULL, ERR_MISSING, "", false, false},
    {"no number", IPP_OPERATION_CANCEL_JOBS, TARGET " job-ids=kall", NULL, ERR_MISSING, "", false, false},
    {"after another job", IPP_OPERATION_SCHEDULE_JOB_AFTER, TARGET " job-id=i42 predecessor-job-id=i43",
     ITS " job-id=i7 predecessor-job-id=i8", OK, "", false, false},
    {"by its URI", IPP_OPERATION_SCHEDULE_JOB_AFTER, TARGET " job-id=i42 predecessor-job-uri=uipp://gw/jobs/43", NULL,
     ERR_MISSING, "", false, false},
    {"from a number on", IPP_OPERATION_GET_JOBS, TARGET " first-job-id=i42 limit=i5", ITS " limit=i5", OK, "", false, false},

    {"Get-Jobs for names only", IPP_OPERATION_GET_JOBS, TARGET " requested-attributes=kjob-name +kjob-uri x=i1",
     ITS " requested-attributes=kjob-name +kjob-uri +kjob-id x=i1", OK, "", false, false},
    {"for numbers, too", IPP_OPERATION_GET_JOBS, TARGET " requested-attributes=kjob-name +kjob-id",
     ITS " requested-attributes=kjob-name +kjob-id", OK, "", false, false},
    {"for all", IPP_OPERATION_GET_JOBS, TARGET " requested-attributes=kall", ITS " requested-attributes=kall",
     OK, "", false, false},
    {"for a group", IPP_OPERATION_GET_JOBS, TARGET " requested-attributes=kjob-template +kjob-description",
     ITS " requested-attributes=kjob-template +kjob-description", OK, "", false, false},
    {"Get-Subscriptions without numbers of jobs", IPP_OPERATION_GET_SUBSCRIPTIONS, TARGET " requested-attributes=knotify-events",
     ITS " requested-attributes=knotify-events +knotify-job-id +knotify-subscription-id", OK, "", false, false},
    {"with them", IPP_OPERATION_GET_SUBSCRIPTIONS, TARGET " requested-attributes=knotify-job-id +knotify-events +knotify-subscription-id",
     ITS " requested-attributes=knotify-job-id +knotify-events +knotify-subscription-id", OK, "", false, false},
    {"with a name of that kind", IPP_OPERATION_GET_SUBSCRIPTIONS, TARGET " requested-attributes=knotify-events +nnotify-job-id",
     ITS " requested-attributes=knotify-events +nnotify-job-id +knotify-job-id +knotify-subscription-id", OK, "", false, false},
    {"for a group of them", IPP_OPERATION_GET_SUBSCRIPTION_ATTRIBUTES,
     TARGET " notify-subscription-id=i1 requested-attributes=ksubscription-description +kall",
     ITS " notify-subscription-id=i1 requested-attributes=ksubscription-description +kall +knotify-job-id "
     "+knotify-subscription-id", OK, "", false, false},
    {"events", IPP_OPERATION_GET_NOTIFICATIONS, TARGET " notify-subscription-ids=i1 requested-attributes=knotify-text",
     ITS " notify-subscription-ids=i1 requested-attributes=knotify-text +knotify-job-id +knotify-subscription-id", OK, "", false, false},
    {"what a printer tells unasked", IPP_OPERATION_GET_SUBSCRIPTIONS, TARGET " limit=i5",
     ITS " requested-attributes=kall +knotify-job-id +knotify-subscription-id", OK, "", false, false},
    {"without numbers of subscriptions", IPP_OPERATION_GET_SUBSCRIPTIONS, TARGET " requested-attributes=knotify-job-id",
     ITS " requested-attributes=knotify-job-id +knotify-subscription-id", OK, "", false, false},
    {"without those of jobs", IPP_OPERATION_GET_NOTIFICATIONS, TARGET " requested-attributes=knotify-subscription-id",
     ITS " requested-attributes=knotify-subscription-id +knotify-job-id", OK, "", false, false},
    {"other operations", IPP_OPERATION_GET_JOB_ATTRIBUTES, TARGET " job-id=i42 requested-attributes=kjob-name",
     ITS " job-id=i7 requested-attributes=kjob-name", OK, "", false, false},

    {"all others", IPP_OPERATION_IDENTIFY_PRINTER,
     TARGET " identify-actions=kdisplay +kflash message=tHello @2 media-col={ media-size={ x=i1 y=i2 } u=uipp://gw/x } "
     "+{ m=kx } @e what=x\1\2 never=- heard=?",
     ITS " identify-actions=kdisplay +kflash message=tHello @2 media-col={ media-size={ x=i1 y=i2 } u=uipp://gw/x } "
     "+{ m=kx } @e what=x\1\2 never=- heard=?", OK, "", false, false},
};
/* clang-format on */

static void check_request(const struct request_row *row)
{
    struct ipp_request_translation t = translation();
    struct buf in, out, text;
    struct ipp_message m, again;
    enum err e;

    t.user = span_of(row->user);
    t.secure = row->secure;
    t.hold = row->hold;
    buf_init(&in, 0);
    buf_init(&out, 0);
    buf_init(&text, 0);
    buf_text(&out, "before");
    text_message(&in, row->operation, row->in);
    world_parse(IPP_REQUEST, &in, &m);
    e = ipp_translate_request(&m, &t, &out);
    if (e != row->want)
        fail_msg("%s: %s", row->name, err_code(e));
    assert_true(span_starts(buf_span(&out), SPAN("before")));
    buf_drop(&out, 6);
    assert_true(e == OK || out.n == 0);
    if (e == OK) {
        world_parse(IPP_REQUEST, &out, &again);
        assert_int_equal(again.header.code, row->operation);
        text_of_message(&again, &text);
        if (!span_eq(buf_span(&text), span_of(row->out)))
            fail_msg("%s:\n  %s\nand not\n  %s", row->name, buf_cstr(&text), row->out);
    }
    buf_done(&in);
    buf_done(&out);
    buf_done(&text);
}

static void requests_are_translated(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(request_rows); i++)
        check_request(&request_rows[i]);
}

/* Of Get-Jobs alone, and only where the client has one. */
static void limit_is_another(void **state)
{
    static const struct {
        uint16_t operation;
        int32_t limit;
        const char *in, *out;
    } rows[] = {
        {IPP_OPERATION_GET_JOBS,  20, TARGET " limit=i5 x=i1", ITS " limit=i20 x=i1"},
        {IPP_OPERATION_GET_JOBS,  0,  TARGET " limit=i5",      ITS " limit=i5"      },
        {IPP_OPERATION_GET_JOBS,  20, TARGET,                  ITS                  },
        {IPP_OPERATION_PRINT_JOB, 20, TARGET " limit=i5",      ITS " limit=i5"      },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ipp_request_translation t = translation();
        struct buf in, out, text;
        struct ipp_message m;

        t.limit = rows[i].limit;
        buf_init(&in, 0);
        buf_init(&out, 0);
        buf_init(&text, 0);
        text_message(&in, rows[i].operation, rows[i].in);
        world_parse(IPP_REQUEST, &in, &m);
        assert_int_equal(ipp_translate_request(&m, &t, &out), OK);
        world_parse(IPP_REQUEST, &out, &m);
        text_of_message(&m, &text);
        assert_string_equal(buf_cstr(&text), rows[i].out);
        buf_done(&in);
        buf_done(&out);
        buf_done(&text);
    }
}

/* What is kept is kept octet by octet: the example differs in its printer-uri only. */
static void octets_are_kept(void **state)
{
    struct ipp_request_translation t = {.printer_uri = SPAN("ipp://localhost:631/printers/q1")};
    struct ipp_message m;
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(ipp_message_parse(IPP_REQUEST, SPAN(EXAMPLE), &world_limits, &m, NULL), OK);
    assert_int_equal(ipp_translate_request(&m, &t, &out), OK);
    assert_true(span_eq(buf_span(&out), SPAN(EXAMPLE_REWRITTEN)));
    buf_done(&out);
}

/* Who asks for less than the request needs has a bug, and sends nothing. */
static void bugs_are_said(void **state)
{
    struct ipp_request_translation t = translation();
    struct ipp_message m, answer;
    struct buf in, out;

    (void)state;
    buf_init(&in, 0);
    buf_init(&out, 0);
    text_message(&in, IPP_OPERATION_CANCEL_JOB, TARGET " job-id=i42");
    world_parse(IPP_REQUEST, &in, &m);
    t.job_id = 0;
    assert_int_equal(ipp_translate_request(&m, &t, &out), ERR_BUG);
    buf_reset(&in);
    text_message(&in, IPP_OPERATION_CANCEL_JOB, "job-uri=uipp://gw.example/jobs/42");
    world_parse(IPP_REQUEST, &in, &m);
    assert_int_equal(ipp_translate_request(&m, &t, &out), ERR_BUG);
    world_parse(IPP_RESPONSE, &in, &answer);
    t.job_id = 7;
    assert_int_equal(ipp_translate_request(&answer, &t, &out), ERR_BUG);
    assert_int_equal(out.n, 0);
    buf_done(&in);
    buf_done(&out);
}

static void what_is_told_must_fit(void **state)
{
    static const char much[1024] = "ipp://printer.lan/";
    struct ipp_request_translation t = translation();
    struct ipp_message m;
    struct buf in, out;

    (void)state;
    buf_init(&in, 0);
    buf_init(&out, 0);
    text_message(&in, IPP_OPERATION_PRINT_JOB, TARGET);
    world_parse(IPP_REQUEST, &in, &m);
    t.printer_uri = (struct span){much, sizeof much};
    assert_int_equal(ipp_translate_request(&m, &t, &out), ERR_LIMIT);
    t = translation();
    t.user = SPAN("an\0n");
    assert_int_equal(ipp_translate_request(&m, &t, &out), ERR_SYNTAX);
    t.user = (struct span){much, 256};
    assert_int_equal(ipp_translate_request(&m, &t, &out), ERR_LIMIT);
    assert_int_equal(out.n, 0);
    buf_done(&in);
    buf_done(&out);
}

/* Each octet less than it needs is an error that leaves nothing, also while the group for a hold is
 * put in. */
static void no_room_is_said(void **state)
{
    struct ipp_request_translation t = translation();
    struct ipp_message m;
    struct buf in, out;
    size_t n;

    (void)state;
    t.hold = true;
    buf_init(&in, 0);
    buf_init(&out, 0);
    text_message(&in, IPP_OPERATION_PRINT_JOB, TARGET " @6 notify-pull-method=kippget");
    world_parse(IPP_REQUEST, &in, &m);
    assert_int_equal(ipp_translate_request(&m, &t, &out), OK);
    n = out.n;
    buf_done(&out);
    for (size_t max = 1; max <= n; max++) {
        buf_init(&out, max);
        assert_int_equal(ipp_translate_request(&m, &t, &out), max < n ? ERR_LIMIT : OK);
        assert_int_equal(out.n, max < n ? 0 : n);
        buf_done(&out);
    }
    buf_init(&out, 0);
    mem_fail_after(1);
    assert_int_equal(ipp_translate_request(&m, &t, &out), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(out.n, 0);
    buf_done(&out);
    buf_done(&in);
}

static void jobs_of_requests_are_found(void **state)
{
    struct ipp_message m;
    int32_t v[3] = {0};
    struct buf in;

    (void)state;
    buf_init(&in, 0);
    text_message(&in, IPP_OPERATION_CANCEL_JOBS,
                 TARGET " job-id=i9 JOB-IDS=i5 +i6 +kx notify-job-id=i5 first-job-id=i8");
    world_parse(IPP_REQUEST, &in, &m);
    assert_int_equal(ipp_request_jobs(&m, v, 3), 4);
    assert_int_equal(v[0], 5);
    assert_int_equal(v[1], 6);
    assert_int_equal(v[2], 0);
    assert_int_equal(ipp_request_jobs(&m, NULL, 0), 4);
    buf_reset(&in);
    text_message(&in, IPP_OPERATION_CANCEL_JOB, TARGET " job-id=i9");
    world_parse(IPP_REQUEST, &in, &m);
    assert_int_equal(ipp_request_jobs(&m, v, 3), 0);
    buf_done(&in);
}

/* ---- operations ---- */

static void operations_are_allowed(void **state)
{
    static const char *const more[] = {"pause-printer", "CUPS-Get-Document", "Purge-Jobs",
                                       "CUPS-Create-Local-Printer", "Cancel-Jobs"};
    static const char *const less[] = {"Print-URI", "IDENTIFY-PRINTER", "Purge-Jobs"};
    static const struct {
        uint16_t code;
        bool others, operators;
    } rows[] = {
        {IPP_OPERATION_PRINT_JOB,                 true,  true },
        {IPP_OPERATION_CANCEL_MY_JOBS,            true,  true },
        {IPP_OPERATION_CANCEL_JOBS,               false, true },
        {IPP_OPERATION_CANCEL_CURRENT_JOB,        false, false},
        {IPP_OPERATION_SUSPEND_CURRENT_JOB,       false, false},
        {IPP_OPERATION_RESUME_JOB,                false, true },
        {IPP_OPERATION_PROMOTE_JOB,               false, true },
        {IPP_OPERATION_PAUSE_PRINTER,             false, true },
        {IPP_OPERATION_CUPS_GET_DOCUMENT,         false, true },
        {IPP_OPERATION_RESUME_PRINTER,            false, false},
        {IPP_OPERATION_PURGE_JOBS,                false, false}, /* in both lists */
        {IPP_OPERATION_PRINT_URI,                 false, false},
        {IPP_OPERATION_REPROCESS_JOB,             false, false},
        {IPP_OPERATION_RESUBMIT_JOB,              false, false},
        {IPP_OPERATION_IDENTIFY_PRINTER,          false, false},
        {IPP_OPERATION_CUPS_CREATE_LOCAL_PRINTER, false, false},
        {IPP_OPERATION_CUPS_ADD_MODIFY_PRINTER,   false, false},
        {0x7fff,                                  false, false},
    };
    struct ipp_printer_settings set = world_settings();

    (void)state;
    set.operations = (struct config_strings){more, ARRAY_LEN(more)};
    set.refuse = (struct config_strings){less, ARRAY_LEN(less)};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct ipp_operation *o = ipp_operation_find(rows[i].code);

        assert_int_equal(ipp_printer_allows(&set, o, false), rows[i].others);
        assert_int_equal(ipp_printer_allows(&set, o, true), rows[i].operators);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_translated),
        cmocka_unit_test(limit_is_another),
        cmocka_unit_test(octets_are_kept),
        cmocka_unit_test(bugs_are_said),
        cmocka_unit_test(what_is_told_must_fit),
        cmocka_unit_test(no_room_is_said),
        cmocka_unit_test(jobs_of_requests_are_found),
        cmocka_unit_test(operations_are_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
