/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/verdict.h"

/* The names are what configuration, records and metrics hold: they never change. */
static void test_names(void **state)
{
    static const char *const verdicts[VERDICTS] = {"pass", "changed", "block", "not-inspected",
                                                   "error"};
    static const char *const causes[CAUSES] = {
        "none",      "infected",      "denied",       "engine-down", "timeout",
        "too-large", "not-inspected", "worker-crash", "overload",    "disk-full"};
    static const char *const actions[ACTIONS] = {"pass", "block", "error"};

    (void)state;
    for (unsigned i = 0; i < VERDICTS; i++)
        assert_string_equal(verdict_name((enum verdict)i), verdicts[i]);
    for (unsigned i = 0; i < CAUSES; i++)
        assert_string_equal(cause_name((enum cause)i), causes[i]);
    for (unsigned i = 0; i < ACTIONS; i++)
        assert_string_equal(action_name((enum action)i), actions[i]);
}

static void test_no_such_value(void **state)
{
    (void)state;
    assert_string_equal(verdict_name((enum verdict)VERDICTS), "unknown");
    assert_string_equal(cause_name((enum cause)CAUSES), "unknown");
    assert_string_equal(action_name((enum action)ACTIONS), "unknown");
    assert_string_equal(verdict_name((enum verdict)UINT32_MAX), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_no_such_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
