/* SPDX-License-Identifier: Apache-2.0 */
/* Quotas: what is too much at once and in a second, by a clock in the test's hand, and that no
 * count gets lost between threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/span.h"
#include "tenant/quota.h"

#define SECOND UINT64_C(1000000)
#define START  (UINT64_C(5000) * SECOND)

struct fixture {
    struct quotas *all;
};

static int setup(void **state)
{
    static struct fixture f;

    assert_int_equal(quotas_new(&f.all), OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    quotas_free(((struct fixture *)*state)->all);
    return 0;
}

static struct quota *limited(void **state, struct quota_limits limits)
{
    const struct fixture *f = *state;
    struct quota *q = quotas_get(f->all, SPAN("acme"), &limits);

    assert_non_null(q);
    return q;
}

static struct quota_use use_of(const struct quota *q)
{
    struct quota_use u;

    quota_read(q, &u);
    return u;
}

static void test_one_for_each_name(void **state)
{
    const struct fixture *f = *state;
    const struct quota_limits none = {0};
    struct quota *a = quotas_get(f->all, SPAN("a"), &none);

    assert_true(quota_connect(a));
    assert_ptr_equal(quotas_get(f->all, SPAN("a"), &none), a);
    assert_ptr_not_equal(quotas_get(f->all, SPAN("A"), &none), a);
    assert_ptr_not_equal(quotas_get(f->all, SPAN("ab"), &none), a);
    assert_int_equal(use_of(a).connections, 1);
}

static void test_connections(void **state)
{
    struct quota *q = limited(state, (struct quota_limits){.connections = 2});

    assert_true(quota_connect(q) && quota_connect(q));
    assert_false(quota_connect(q));
    assert_int_equal(use_of(q).connections, 2);
    assert_int_equal(use_of(q).refused, 0);
    quota_refused(q);
    assert_int_equal(use_of(q).refused, 1);
    quota_disconnect(q);
    assert_true(quota_connect(q));
    /* A lower limit lets nobody in before enough have left. */
    (void)limited(state, (struct quota_limits){.connections = 1});
    quota_disconnect(q);
    assert_false(quota_connect(q));
    quota_disconnect(q);
    assert_true(quota_connect(q));
    (void)limited(state, (struct quota_limits){0});
    for (unsigned i = 0; i < 1000; i++)
        assert_true(quota_connect(q));
}

static void test_scans(void **state)
{
    struct quota *q = limited(state, (struct quota_limits){.scans = 1});

    assert_true(quota_scan(q));
    assert_false(quota_scan(q));
    assert_int_equal(use_of(q).scans, 1);
    quota_scanned(q);
    assert_true(quota_scan(q));
}

static void test_requests(void **state)
{
    static const uint32_t rates[] = {1, 3, 10, 1000, 1000000};

    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        uint32_t rate = rates[i];
        struct quota *q = limited(state, (struct quota_limits){.requests = rate});
        uint64_t now = START + i * 100 * SECOND, before = use_of(q).requests;

        for (uint32_t n = 0; n < 2 * rate; n++) /* twice as many at once */
            assert_int_equal(quota_request(q, now), 0);
        uint64_t wait = quota_request(q, now);

        assert_true(wait > 0 && wait <= SECOND / rate + 1);
        assert_int_equal(quota_request(q, now + wait - 1) > 0, 1);
        assert_int_equal(quota_request(q, now + wait), 0);
        assert_int_equal(use_of(q).requests - before, 2 * rate + 1);
        /* From then on, one after the other at the rate. */
        now += wait;
        for (uint32_t n = 0; n < 5; n++) {
            now += (SECOND + rate - 1) / rate;
            assert_int_equal(quota_request(q, now), 0);
        }
        assert_true(quota_request(q, now) > 0);
    }
}

/* Who can wait gets a turn of its own, and what is not taken costs nothing. */
static void test_turns(void **state)
{
    struct quota *q = limited(state, (struct quota_limits){.requests = 10});
    uint64_t wait;

    for (unsigned i = 0; i < 20; i++) {
        assert_true(quota_turn(q, START, SECOND, &wait));
        assert_int_equal(wait, 0);
    }
    for (unsigned i = 1; i <= 10; i++) {
        assert_true(quota_turn(q, START, SECOND, &wait));
        assert_int_equal(wait, i * SECOND / 10);
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_false(quota_turn(q, START, SECOND, &wait));
        assert_true(wait > SECOND);
    }
    assert_int_equal(use_of(q).requests, 30);
    assert_true(quota_turn(q, START + SECOND / 10, SECOND, &wait));
    assert_int_equal(wait, SECOND);
    assert_int_equal(quota_request(q, START + SECOND), SECOND / 5); /* behind those */
}

static void test_requests_unlimited(void **state)
{
    struct quota *q = limited(state, (struct quota_limits){0});

    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(quota_request(q, START), 0);
    assert_int_equal(use_of(q).requests, 10000);
    /* What came without a limit is not held against it. */
    (void)limited(state, (struct quota_limits){.requests = 1});
    assert_int_equal(quota_request(q, START), 0);
}

/* A clock that does not move on, or backwards, is no reason to let more through. */
static void test_requests_clock(void **state)
{
    struct quota *q = limited(state, (struct quota_limits){.requests = 1});

    assert_int_equal(quota_request(q, START), 0);
    assert_int_equal(quota_request(q, START - SECOND / 2), 0 + SECOND / 2);
    assert_int_equal(quota_request(q, START), 0);
    assert_int_equal(quota_request(q, START), SECOND);
}

static void test_bytes(void **state)
{
    struct quota *q = limited(state, (struct quota_limits){.bytes = 1000});

    assert_int_equal(quota_bytes(q, 2000, START), 0); /* twice as many at once */
    assert_int_equal(quota_bytes(q, 1, START), 1000);
    assert_int_equal(quota_bytes(q, 999, START), SECOND);
    assert_int_equal(quota_bytes(q, 0, START + SECOND / 2), SECOND / 2);
    assert_int_equal(quota_bytes(q, 0, START + SECOND), 0);
    assert_int_equal(quota_bytes(q, 1000, START + SECOND), SECOND);
    assert_int_equal(use_of(q).bytes, 4000);
    (void)limited(state, (struct quota_limits){0});
    assert_int_equal(quota_bytes(q, UINT64_C(1) << 40, START), 0);
}

/* Numbers that nobody has: no overflow, and a wait. */
static void test_bytes_huge(void **state)
{
    struct quota *q = limited(state, (struct quota_limits){.bytes = 1});

    for (unsigned i = 0; i < 10; i++)
        assert_true(quota_bytes(q, UINT64_MAX, START) > SECOND);
}

/* ---- threads ---- */

#define THREADS 4u
#define ROUNDS  100000u

struct shared {
    struct fixture *fixture;
    struct quota *q;
    pthread_barrier_t begin;
    _Atomic uint32_t inside, most, passed;
};

static void *hammer(void *arg)
{
    struct shared *s = arg;
    const struct quota_limits limits = {.connections = 2, .requests = 1000, .bytes = 1 << 20};

    (void)pthread_barrier_wait(&s->begin);
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 64 == 0 && quotas_get(s->fixture->all, SPAN("acme"), &limits) != s->q)
            return arg;
        if (quota_request(s->q, START) == 0)
            s->passed++;
        (void)quota_bytes(s->q, 3, START);
        if (!quota_connect(s->q)) {
            quota_refused(s->q);
            continue;
        }
        uint32_t n = ++s->inside, most = s->most;

        while (n > most && !atomic_compare_exchange_weak(&s->most, &most, n))
            ;
        s->inside--;
        quota_disconnect(s->q);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct shared s = {.fixture = *state};
    pthread_t t[THREADS];
    void *wrong;

    s.q = limited(state, (struct quota_limits){.connections = 2, .requests = 1000});
    assert_int_equal(pthread_barrier_init(&s.begin, NULL, THREADS), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, &s), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(t[i], &wrong), 0);
        assert_null(wrong);
    }
    (void)pthread_barrier_destroy(&s.begin);
    assert_int_equal(use_of(s.q).connections, 0);
    assert_int_equal(use_of(s.q).bytes, THREADS * ROUNDS * 3);
    assert_int_equal(s.passed, 2000); /* no more, no less, whoever asked */
    assert_int_equal(use_of(s.q).requests, 2000);
    assert_true(s.most >= 1 && s.most <= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_for_each_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_unlimited, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_huge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
