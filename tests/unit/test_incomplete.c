/* SPDX-License-Identifier: Apache-2.0 */
/* What nobody has looked at as a whole no exception for a signature or a name lets pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/exceptions.h"
#include "base/clock.h"

#define NOW UINT64_C(1800000000000)

static struct exceptions *set_with(const char *signature, const char *file)
{
    struct exception e = {.kind = EXCEPTION_ALLOW,
                          .id = "abcdefgh",
                          .created_wall_ms = NOW,
                          .expires_wall_ms = NOW + 60000,
                          .by = "root",
                          .reason = "a test"};
    struct exceptions *empty, *set;
    struct buf why;

    (void)span_copy(span_of(signature), e.signature, sizeof e.signature);
    (void)span_copy(span_of(file), e.file, sizeof e.file);
    buf_init(&why, 0);
    assert_int_equal(exception_check(&e, NOW, 3600000, &why), OK);
    buf_done(&why);
    assert_int_equal(exceptions_new(&empty), OK);
    assert_int_equal(exceptions_with(empty, &e, NOW, &set), OK);
    exceptions_unref(empty);
    return set;
}

static struct scan_result infected(void)
{
    struct scan_result r = {0};
    struct finding f = {.engine = "yara", .name = "False.Positive"};

    scan_result_find(&r, &f);
    scan_result_judge(&r, VERDICT_BLOCK, CAUSE_INFECTED, OK, "%s", f.name);
    return r;
}

static void test_a_failure_is_remembered_whatever_is_found(void **state)
{
    static const enum verdict failures[] = {VERDICT_ERROR, VERDICT_NOT_INSPECTED};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        struct scan_result r = infected();

        assert_false(r.incomplete);
        scan_result_judge(&r, failures[i], CAUSE_TIMEOUT, ERR_TIMEOUT, "late");
        assert_int_equal(r.verdict, VERDICT_BLOCK);
        assert_true(r.incomplete);
    }
}

static void test_a_signature_needs_a_whole_inspection(void **state)
{
    struct exceptions *set = set_with("False.*", "");
    struct scan_result r = infected();
    struct facts f = {.has_body_facts = true, .sha256 = "", .result = &r};

    (void)state;
    assert_non_null(exceptions_match(set, "inspect", &f, NOW));
    r.incomplete = true;
    assert_null(exceptions_match(set, "inspect", &f, NOW));
    exceptions_unref(set);
}

static void test_a_name_needs_the_parts(void **state)
{
    struct exceptions *set = set_with("", "*.pdf");
    struct scan_result r = infected();
    struct facts f = {.has_body_facts = true,
                      .sha256 = "",
                      .result = &r,
                      .name = SPAN("report.pdf"),
                      .declared = SPAN("application/pdf")};

    (void)state;
    assert_non_null(exceptions_match(set, "inspect", &f, NOW));
    f.declared = SPAN("multipart/form-data"); /* the name is that of the URL */
    assert_null(exceptions_match(set, "inspect", &f, NOW));
    exceptions_unref(set);
}

static void test_a_name_must_be_known(void **state)
{
    struct exceptions *set = set_with("", "=*");
    struct scan_result r = infected();
    struct facts f = {
        .has_body_facts = true, .sha256 = "", .result = &r, .name = SPAN("=?koi8-r?B?xQ==?=")};

    (void)state;
    assert_non_null(exceptions_match(set, "inspect", &f, NOW));
    f.name_unknown = true;
    assert_null(exceptions_match(set, "inspect", &f, NOW));
    exceptions_unref(set);
}

/* One for a name is as much work as the form has parts; one for a digest is none. */
static void test_a_name_takes_steps(void **state)
{
    struct exceptions *set = set_with("", "*.pdf");
    struct scan_result r = infected();
    struct steps steps = {.left = UINT64_MAX};
    struct facts f = {.has_body_facts = true,
                      .sha256 = "",
                      .result = &r,
                      .name = SPAN("report.pdf"),
                      .steps = &steps};

    (void)state;
    assert_non_null(exceptions_match(set, "inspect", &f, NOW));
    steps = (struct steps){.left = UINT64_MAX - steps.left - 1};
    assert_null(exceptions_match(set, "inspect", &f, NOW));
    assert_true(steps.out);
    exceptions_unref(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failure_is_remembered_whatever_is_found),
        cmocka_unit_test(test_a_signature_needs_a_whole_inspection),
        cmocka_unit_test(test_a_name_needs_the_parts),
        cmocka_unit_test(test_a_name_must_be_known),
        cmocka_unit_test(test_a_name_takes_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
