/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/budget.h"

static void test_take_and_give(void **state)
{
    struct budget b;

    (void)state;
    budget_init(&b, 100);
    assert_true(budget_take(&b, 60));
    assert_true(budget_take(&b, 40));
    assert_false(budget_take(&b, 1));
    assert_false(budget_take(&b, UINT64_MAX));
    assert_true(budget_take(&b, 0));
    assert_int_equal(budget_used(&b), 100);
    assert_int_equal(b.peak, 100);
    assert_int_equal(b.refused, 2);
    budget_give(&b, 100);
    assert_int_equal(budget_used(&b), 0);
    assert_int_equal(b.peak, 100);
    assert_false(budget_take(&b, 101));
    budget_init(&b, 0); /* no limit */
    assert_true(budget_take(&b, UINT64_MAX / 2));
    budget_give(&b, UINT64_MAX / 2);
    assert_true(budget_take(NULL, UINT64_MAX));
    budget_give(NULL, UINT64_MAX);
}

static void test_max_may_sink_below_used(void **state)
{
    struct budget b;

    (void)state;
    budget_init(&b, 100);
    assert_true(budget_take(&b, 80));
    atomic_store(&b.max, 50); /* a reload */
    assert_false(budget_take(&b, 1));
    budget_give(&b, 40);
    assert_true(budget_take(&b, 10));
    budget_give(&b, 50);
}

#define THREADS 4
#define ROUNDS  20000

struct taker {
    struct budget *b;
    uint64_t n;
    unsigned refused;
    pthread_t thread;
};

static void *take_and_give(void *arg)
{
    struct taker *t = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        if (budget_take(t->b, t->n))
            budget_give(t->b, t->n);
        else
            t->refused++;
    }
    return NULL;
}

/* Three small ones always fit together; one asks for too much and must not disturb them. */
static void test_threads(void **state)
{
    struct taker t[THREADS];
    struct budget b;

    (void)state;
    budget_init(&b, 30);
    for (unsigned i = 0; i < THREADS; i++) {
        t[i] = (struct taker){.b = &b, .n = i == 0 ? 31 : 10};
        assert_int_equal(pthread_create(&t[i].thread, NULL, take_and_give, &t[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(t[i].thread, NULL), 0);
    assert_int_equal(t[0].refused, ROUNDS);
    for (unsigned i = 1; i < THREADS; i++)
        assert_int_equal(t[i].refused, 0);
    assert_int_equal(budget_used(&b), 0);
    assert_int_equal(b.refused, ROUNDS);
    assert_in_range(b.peak, 10, 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take_and_give),
        cmocka_unit_test(test_max_may_sink_below_used),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
