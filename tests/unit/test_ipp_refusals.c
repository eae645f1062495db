/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_refusals.h: to whom a refusal is told, for how long, and which one goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "ipp/ipp_refusals.h"

#define NOW UINT64_C(1000000)

static const struct ipp_refusal_key ann = {
    {"acct", 4},
    {"ann",  3},
    7, 3
};

static struct ipp_refusals *refusals_with(const struct ipp_refusal_key *k, const char *why)
{
    struct ipp_refusals *r = ipp_refusals_new();

    assert_non_null(r);
    ipp_refusals_note(r, k, span_of(why), NOW);
    return r;
}

/* NULL: none. */
static const char *told(struct ipp_refusals *r, const struct ipp_refusal_key *k, uint64_t now)
{
    static char why[IPP_REFUSAL_MAX + 1];

    return ipp_refusals_find(r, k, now, why) ? why : NULL;
}

static void test_who_is_told(void **state)
{
    const struct ipp_refusal_key others[] = {
        {SPAN("other"), SPAN("ann"),  7, 3},
        {SPAN("acct"),  SPAN("bob"),  7, 3},
        {SPAN("acct"),  SPAN("ann2"), 7, 3},
        {SPAN("acct"),  SPAN(""),     7, 3},
        {SPAN("acct"),  SPAN("ann"),  8, 3},
        {SPAN("acct"),  SPAN("ann"),  7, 4},
    };
    struct ipp_refusals *r = refusals_with(&ann, "infected");

    (void)state;
    assert_false(ipp_refusals_are_none(r, NOW + IPP_REFUSAL_MS - 1));
    assert_true(ipp_refusals_are_none(r, NOW + IPP_REFUSAL_MS));
    assert_string_equal(told(r, &ann, NOW), "infected");
    assert_string_equal(told(r, &ann, NOW + IPP_REFUSAL_MS - 1), "infected"); /* not once only */
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_null(told(r, &others[i], NOW));
    ipp_refusals_free(r);
    ipp_refusals_free(NULL);
}

static void test_end(void **state)
{
    struct ipp_refusals *r = refusals_with(&ann, "infected");
    const struct ipp_refusal_key bob = {SPAN("acct"), SPAN("bob"), 7, 3};

    (void)state;
    ipp_refusals_note(r, &bob, SPAN("too large"), NOW + 1000);
    assert_null(told(r, &ann, NOW + IPP_REFUSAL_MS)); /* bob's is there still */
    assert_string_equal(told(r, &bob, NOW + IPP_REFUSAL_MS), "too large");
    assert_null(told(r, &bob, NOW + 1000 + IPP_REFUSAL_MS));
    ipp_refusals_note(r, &ann, SPAN("again"), NOW + 2000);
    ipp_refusals_note(r, &ann, SPAN("and again"), NOW + 3000);
    ipp_refusals_forget(r, &ann, NOW + 3000);
    assert_null(told(r, &ann, NOW + 3000));
    ipp_refusals_forget(r, &ann, NOW + 3000); /* that is not there */
    assert_string_equal(told(r, &bob, NOW + 3000), "too large");
    ipp_refusals_free(r);
}

static void test_long(void **state)
{
    char printer[200], user[300], why[400];

    (void)state;
    memset(printer, 'p', sizeof printer);
    memset(user, 'u', sizeof user);
    memset(why, 'w', sizeof why);
    const struct ipp_refusal_key k = {
        {printer, sizeof printer},
        {user,    sizeof user   },
        UINT64_MAX, UINT32_MAX
    };
    struct ipp_refusals *r = ipp_refusals_new();

    assert_non_null(r);
    ipp_refusals_note(r, &k, (struct span){why, sizeof why}, NOW);
    assert_non_null(told(r, &k, NOW));
    assert_int_equal(strlen(told(r, &k, NOW)), IPP_REFUSAL_MAX);
    assert_null(told(r, &ann, NOW));
    ipp_refusals_free(r);
}

static void test_full(void **state)
{
    struct ipp_refusals *r = ipp_refusals_new();
    struct ipp_refusal_key k = ann;

    (void)state;
    assert_non_null(r);
    for (k.source = 1; k.source <= IPP_REFUSALS + 1; k.source++)
        ipp_refusals_note(r, &k, SPAN("no"), NOW + k.source);
    for (k.source = 1; k.source <= IPP_REFUSALS + 1; k.source++)
        assert_int_equal(told(r, &k, NOW + 200) != NULL, k.source > 1); /* the oldest one went */
    ipp_refusals_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_told),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
