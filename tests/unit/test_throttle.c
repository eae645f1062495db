/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "tenant/throttle.h"

static const struct throttle_limits limits = {.burst = 3, .every_ms = 1000};
static struct throttle table;

static int setup(void **state)
{
    (void)state;
    table = (struct throttle){0};
    return 0;
}

static void test_burst_and_after(void **state)
{
    uint64_t now = UINT64_C(5000000000);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_true(throttle_allows(&table, 7, &limits, now));
        throttle_failed(&table, 7, &limits, now);
    }
    assert_false(throttle_allows(&table, 7, &limits, now));
    assert_true(throttle_allows(&table, 8, &limits, now)); /* another one */
    assert_false(throttle_allows(&table, 7, &limits, now + 999999));
    assert_true(throttle_allows(&table, 7, &limits, now + 1000000));
    throttle_failed(&table, 7, &limits, now + 1000000);
    assert_false(throttle_allows(&table, 7, &limits, now + 1000000));
    /* After a while it is as if nothing had been. */
    now += 60000000;
    for (unsigned i = 0; i < 3; i++) {
        assert_true(throttle_allows(&table, 7, &limits, now));
        throttle_failed(&table, 7, &limits, now);
    }
    assert_false(throttle_allows(&table, 7, &limits, now));
}

/* The one that has failed most stays in mind. */
static void test_a_full_set(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        throttle_failed(&table, 1, &limits, 1);
    for (uint64_t k = 1; k < 40; k++)
        throttle_failed(&table, 1 + k * THROTTLE_SETS, &limits, 1);
    assert_false(throttle_allows(&table, 1, &limits, 1));
}

/* Each thread's failures are everybody's. */
static void *fail_once(void *arg)
{
    throttle_shared_failed(arg, 7, &limits, 1);
    return NULL;
}

static void test_shared(void **state)
{
    struct throttle_shared *s = throttle_shared_new();
    pthread_t threads[3];

    (void)state;
    assert_non_null(s);
    for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fail_once, s), 0);
    for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_false(throttle_shared_allows(s, 7, &limits, 1));
    assert_true(throttle_shared_allows(s, 8, &limits, 1));
    throttle_shared_free(s);
    throttle_shared_free(NULL);
}

/* So many a second: those at once, then one each interval, whatever came in vain. */
static void test_rate(void **state)
{
    const struct throttle_limits rate = {.burst = 4, .every_us = 2500};
    struct throttle_shared *s = throttle_shared_new();
    uint64_t now = 1000000;
    unsigned taken = 0;

    (void)state;
    assert_non_null(s);
    for (unsigned i = 0; i < 10; i++)
        taken += throttle_shared_take(s, 7, &rate, now);
    assert_int_equal(taken, 4);
    assert_true(throttle_shared_take(s, 8, &rate, now));
    assert_false(throttle_shared_take(s, 7, &rate, now + 2499));
    assert_true(throttle_shared_take(s, 7, &rate, now + 2500));
    taken = 0;
    for (unsigned i = 0; i < 100000; i++)
        taken += throttle_shared_take(s, 7, &rate, now + 2500 + i * 10);
    assert_int_equal(taken, 399); /* 999,990 us later */
    throttle_shared_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_burst_and_after, setup),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_rate),
        cmocka_unit_test_setup(test_a_full_set, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
