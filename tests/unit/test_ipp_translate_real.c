/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_translate.h with answers of real printers (tests/data/ipp), read again by libcups, and a
 * request that libcups made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define _CUPS_NO_DEPRECATED 1
#include <cups/cups.h>
#undef IPP_PORT /* ours is of another type */

#include "test_ipp_translate_world.h"

/* ---- libcups on memory ---- */

static ssize_t to_buf(void *context, ipp_uchar_t *octets, size_t n)
{
    buf_add(context, (struct span){(const char *)octets, n});
    return (ssize_t)n;
}

static ssize_t from_span(void *context, ipp_uchar_t *octets, size_t n)
{
    struct span *rest = context;
    struct span part = span_sub(*rest, 0, n);

    if (part.n)
        memcpy(octets, part.p, part.n);
    *rest = span_sub(*rest, part.n, SIZE_MAX);
    return (ssize_t)part.n;
}

static ipp_t *cups_read(struct span octets)
{
    ipp_t *ipp = ippNew();
    ipp_state_t state;

    do
        state = ippReadIO(&octets, from_span, 1, NULL, ipp);
    while (state != IPP_STATE_DATA && state != IPP_STATE_ERROR);
    assert_int_equal(state, IPP_STATE_DATA);
    assert_int_equal(octets.n, 0);
    return ipp;
}

/* ---- samples ---- */

static void read_sample(const char *name, struct buf *out)
{
    const char *source = getenv("SALLYPORT_SOURCE");
    char path[1024];
    FILE *f;
    char *room;

    (void)snprintf(path, sizeof path, "%s/tests/data/ipp/%s", source ? source : ".", name);
    f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is not there", path);
    room = buf_reserve(out, 65536);
    assert_non_null(room);
    out->n += fread(room, 1, 65536, f);
    assert_true(out->n > 0 && out->n < 65536);
    (void)fclose(f);
}

/* Ann's job is 1 at the printer; bob's, 2, may not be told. */
static const struct ipp_job anns = {
    .id = 42, .printer_id = 1, .made = {IPP_CHANNEL_UPGRADED, IPP_USER_DIGEST},
            .user = "ann"
};

static const struct ipp_job *find_job(void *arg, int32_t printer_id)
{
    (void)arg;
    return printer_id == 1 ? &anns : NULL;
}

static bool holds(struct span all, const char *text)
{
    return memmem(all.p, all.n, text, strlen(text)) != NULL;
}

static const char *const inner[] = {"127.0.0.1", "localhost:",     "printhost",    "192.0.2.9",
                                    ":663",      "bob's secret",   "icons",        "supplies",
                                    "usb:",      "urn:uuid:2d9d7", "urn:uuid:7dc5"};

/* The answer as libcups reads it after the translation; the caller deletes it. */
static ipp_t *translated(const char *name, const struct ipp_job *named)
{
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_answer_translation t = {
        .printer = &p, .request_id = 77, .named = named, .job = find_job};
    struct ipp_message m;
    struct buf in, out;
    ipp_t *ipp;

    p.backend_host = SPAN("printhost.example");
    buf_init(&in, 0);
    buf_init(&out, 0);
    read_sample(name, &in);
    world_parse(IPP_RESPONSE, &in, &m);
    assert_int_equal(ipp_translate_answer(&m, &t, &out), OK);
    world_parse(IPP_RESPONSE, &out, &m);
    for (size_t i = 0; i < ARRAY_LEN(inner); i++)
        if (holds(buf_span(&out), inner[i]))
            fail_msg("%s: tells of %s", name, inner[i]);
    ipp = cups_read(buf_span(&out));
    assert_int_equal(ippGetRequestId(ipp), 77);
    buf_done(&in);
    buf_done(&out);
    return ipp;
}

static void assert_strings(ipp_t *ipp, const char *name, const char *const *want, size_t n)
{
    ipp_attribute_t *a = ippFindAttribute(ipp, name, IPP_TAG_ZERO);

    if (!a)
        fail_msg("%s is not there", name);
    assert_int_equal(ippGetCount(a), n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(ippGetString(a, (int)i, NULL), want[i]);
}

static void assert_string(ipp_t *ipp, const char *name, const char *want)
{
    assert_strings(ipp, name, &want, 1);
}

static void assert_missing(ipp_t *ipp, const char *name)
{
    if (ippFindAttribute(ipp, name, IPP_TAG_ZERO))
        fail_msg("%s is there", name);
}

static int count(ipp_t *ipp, const char *name)
{
    int n = 0;

    for (ipp_attribute_t *a = ippFindAttribute(ipp, name, IPP_TAG_ZERO); a;
         a = ippFindNextAttribute(ipp, name, IPP_TAG_ZERO))
        n++;
    return n;
}

static int integer(ipp_t *ipp, const char *name)
{
    ipp_attribute_t *a = ippFindAttribute(ipp, name, IPP_TAG_INTEGER);

    assert_non_null(a);
    return ippGetInteger(a, 0);
}

/* ---- printers ---- */

static const char *const uris[] = {"ipps://gw.example:443/ipp/acct",
                                   "ipp://gw.example:631/ipp/acct;AUTH=TLS,DAA"};

static void assert_gateway(ipp_t *ipp)
{
    static const char *const security[] = {"tls", "tls"};
    static const char *const authentication[] = {"digest", "digest"};

    assert_strings(ipp, "printer-uri-supported", uris, 2);
    assert_strings(ipp, "uri-security-supported", security, 2);
    assert_strings(ipp, "uri-authentication-supported", authentication, 2);
    assert_string(ipp, "printer-uuid", "urn:uuid:gateway");
}

static void a_queue_of_cups(void **state)
{
    ipp_t *ipp = translated("cups-printer", NULL);
    ipp_attribute_t *a;

    (void)state;
    assert_gateway(ipp);
    assert_missing(ipp, "device-uri");
    assert_missing(ipp, "printer-more-info");
    assert_missing(ipp, "printer-dns-sd-name");
    assert_missing(ipp, "notify-schemes-supported");
    assert_string(ipp, "printer-location", "Room 1");
    assert_string(ipp, "printer-name", "acct");
    a = ippFindAttribute(ipp, "operations-supported", IPP_TAG_ENUM);
    assert_non_null(a);
    assert_true(ippContainsInteger(a, IPP_OP_PRINT_JOB));
    assert_true(ippContainsInteger(a, IPP_OP_CANCEL_MY_JOBS));
    assert_false(ippContainsInteger(a, IPP_OP_CANCEL_JOBS));
    assert_false(ippContainsInteger(a, IPP_OP_CUPS_ADD_MODIFY_PRINTER));
    assert_false(ippContainsInteger(a, IPP_OP_CUPS_GET_DOCUMENT));
    assert_false(ippContainsInteger(a, IPP_OP_PAUSE_PRINTER));
    ippDelete(ipp);
}

static void a_printer_of_ipp_everywhere(void **state)
{
    static const char *const compression[] = {"deflate", "gzip", "none"};
    ipp_t *ipp = translated("everywhere-printer", NULL);

    (void)state;
    assert_gateway(ipp);
    assert_strings(ipp, "compression-supported", compression, 3);
    assert_missing(ipp, "printer-icons");
    assert_missing(ipp, "printer-supply-info-uri");
    assert_missing(ipp, "reference-uri-schemes-supported");
    assert_non_null(ippFindAttribute(ipp, "printer-supply", IPP_TAG_STRING));
    ippDelete(ipp);
}

static void what_was_not_asked_for_is_not_told(void **state)
{
    ipp_t *ipp = translated("cups-unsupported", NULL);

    (void)state;
    assert_strings(ipp, "printer-uri-supported", uris, 2);
    assert_missing(ipp, "uri-security-supported");
    ippDelete(ipp);
}

/* ---- jobs ---- */

#define MINTED "ipp://gw.example:631/jobs/42;AUTH=TLS,DAA"

static void a_job_that_was_made(void **state)
{
    static const char *const names[] = {"cups-print-job", "everywhere-print-job"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ipp_t *ipp = translated(names[i], &anns);

        assert_int_equal(integer(ipp, "job-id"), 42);
        assert_string(ipp, "job-uri", MINTED);
        assert_non_null(ippFindAttribute(ipp, "job-state", IPP_TAG_ENUM));
        ippDelete(ipp);
    }
}

static void a_job(void **state)
{
    static const char *const names[] = {"cups-job", "everywhere-job"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ipp_t *ipp = translated(names[i], NULL);

        assert_int_equal(integer(ipp, "job-id"), 42);
        assert_string(ipp, "job-uri", MINTED);
        assert_string(ipp, "job-printer-uri", uris[0]);
        assert_string(ipp, "job-name", "ann's letter");
        assert_string(ipp, "job-originating-user-name", "ann");
        assert_missing(ipp, "job-more-info");
        assert_non_null(ippFindAttribute(ipp, "job-uuid", IPP_TAG_URI));
        assert_non_null(ippFindAttribute(ipp, "date-time-at-creation", IPP_TAG_DATE));
        ippDelete(ipp);
    }
    ipp_t *ipp = translated("cups-job", NULL);

    assert_string(ipp, "printer-uri", uris[0]); /* which CUPS adds */
    ippDelete(ipp);
}

static void a_job_without_its_number(void **state)
{
    ipp_t *ipp = translated("cups-job-state", &anns);

    (void)state;
    assert_string(ipp, "job-uri", MINTED);
    assert_missing(ipp, "job-id");
    ippDelete(ipp);
    ipp = translated("cups-job-state", NULL);
    assert_missing(ipp, "job-state");
    ippDelete(ipp);
}

static void jobs_of_others(void **state)
{
    static const char *const names[] = {"cups-jobs", "everywhere-jobs"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ipp_t *ipp = translated(names[i], NULL);

        assert_int_equal(count(ipp, "job-id"), 1);
        assert_int_equal(integer(ipp, "job-id"), 42);
        assert_string(ipp, "job-uri", MINTED);
        ippDelete(ipp);
    }
}

/* Somebody asked for names only: CUPS tells no numbers then, so nobody knows whose they are. */
static void names_of_jobs_of_others(void **state)
{
    ipp_t *ipp = translated("cups-job-names", NULL);

    (void)state;
    assert_missing(ipp, "job-name");
    ippDelete(ipp);
}

static void events(void **state)
{
    ipp_t *ipp = translated("cups-events", NULL);

    (void)state;
    assert_int_equal(count(ipp, "notify-sequence-number"), 1);
    assert_int_equal(integer(ipp, "notify-job-id"), 42);
    assert_string(ipp, "job-name", "ann's letter");
    assert_missing(ipp, "notify-printer-uri");
    ippDelete(ipp);
    ipp = translated("cups-subscriptions", NULL);
    assert_int_equal(integer(ipp, "notify-subscription-id"), 1);
    assert_missing(ipp, "notify-printer-uri");
    ippDelete(ipp);
}

/* ---- a request ---- */

static void a_request_of_libcups(void **state)
{
    static const struct ipp_request_translation t = {
        .printer_uri = {"ipp://localhost:631/printers/acct", 33},
        .user = {"ann",                               3 },
        .hold = true,
    };
    ipp_t *ipp = ippNewRequest(IPP_OP_CREATE_JOB), *again;
    struct ipp_message m;
    struct buf in, out;
    ipp_state_t written;

    (void)state;
    buf_init(&in, 0);
    buf_init(&out, 0);
    ippAddString(ipp, IPP_TAG_OPERATION, IPP_TAG_URI, "printer-uri", NULL, uris[1]);
    ippAddString(ipp, IPP_TAG_OPERATION, IPP_TAG_NAME, "requesting-user-name", NULL, "root");
    ippAddString(ipp, IPP_TAG_OPERATION, IPP_TAG_NAME, "job-name", NULL, "a letter");
    ippAddString(ipp, IPP_TAG_OPERATION, IPP_TAG_TEXT, "auth-info", NULL, "secret");
    do
        written = ippWriteIO(&in, to_buf, 1, NULL, ipp);
    while (written != IPP_STATE_DATA && written != IPP_STATE_ERROR);
    world_parse(IPP_REQUEST, &in, &m);
    assert_int_equal(ipp_translate_request(&m, &t, &out), OK);
    again = cups_read(buf_span(&out));
    assert_int_equal(ippGetOperation(again), IPP_OP_CREATE_JOB);
    assert_int_equal(ippGetRequestId(again), ippGetRequestId(ipp));
    assert_string(again, "printer-uri", "ipp://localhost:631/printers/acct");
    assert_string(again, "requesting-user-name", "ann");
    assert_string(again, "job-name", "a letter");
    assert_string(again, "job-hold-until", "indefinite");
    assert_missing(again, "auth-info");
    assert_int_equal(ippGetGroupTag(ippFindAttribute(again, "job-hold-until", IPP_TAG_KEYWORD)),
                     IPP_TAG_JOB);
    ippDelete(again);
    ippDelete(ipp);
    buf_done(&in);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_of_cups),
        cmocka_unit_test(a_printer_of_ipp_everywhere),
        cmocka_unit_test(what_was_not_asked_for_is_not_told),
        cmocka_unit_test(a_job_that_was_made),
        cmocka_unit_test(a_job),
        cmocka_unit_test(a_job_without_its_number),
        cmocka_unit_test(jobs_of_others),
        cmocka_unit_test(names_of_jobs_of_others),
        cmocka_unit_test(events),
        cmocka_unit_test(a_request_of_libcups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
