/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel under a clock in the test's hand: never early, at most a tick late, lazily moved.
 */
#include "test_net.h"

#include "net/wheel.h"

struct probe {
    struct timer timer;
    uint64_t fired_ms;
    unsigned n;
};

static uint64_t now;
static struct wheel w;

static void on_fire(struct timer *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);

    p->fired_ms = now;
    p->n++;
}

static void advance_to(uint64_t to)
{
    now = to;
    wheel_advance(&w, now);
}

/* As the loop does it: sleeps until the wheel wants to be called. */
static void run_to(uint64_t to)
{
    for (;;) {
        uint64_t next = wheel_next_ms(&w);

        if (next > to)
            break;
        advance_to(next > now ? next : now);
    }
    advance_to(to);
}

static void test_distances(void **state)
{
    static const uint64_t rows[] = {0,     1,     7,      8,       9,        63,        64,
                                    500,   511,   512,    513,     5000,     32767,     32768,
                                    40000, 60000, 300000, 2097151, 86400000, 8589934592};
    static const uint64_t starts[] = {0, 5, 8, 504, 511, 123456789, 32767};

    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(starts); s++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            struct probe p = {.timer = {.fire = on_fire}};

            now = starts[s];
            wheel_init(&w, now);
            (void)wheel_set(&w, &p.timer, now + rows[i], now);
            run_to(now + rows[i] + 3 * WHEEL_TICK_MS);
            assert_int_equal(p.n, 1);
            assert_true(p.fired_ms >= starts[s] + rows[i]);
            assert_true(p.fired_ms <= starts[s] + rows[i] + 2 * WHEEL_TICK_MS);
            assert_int_equal(w.n, 0);
            assert_true(wheel_next_ms(&w) == UINT64_MAX);
        }
}

static void test_moving_later_is_a_store(void **state)
{
    struct probe p = {.timer = {.fire = on_fire}};

    (void)state;
    now = 1000;
    wheel_init(&w, now);
    assert_true(wheel_set(&w, &p.timer, 2000, now));
    uint64_t slot = p.timer.slot_ms;

    for (unsigned i = 0; i < 1000; i++) {
        now += 10;
        assert_false(wheel_set(&w, &p.timer, now + 60000, now));
        if (now + 20 >= slot)
            break;
    }
    assert_int_equal(p.timer.slot_ms, slot);
    run_to(now + 59990);
    assert_int_equal(p.n, 0);
    run_to(now + 10 + 2 * WHEEL_TICK_MS);
    assert_int_equal(p.n, 1);
}

static void test_moving_earlier(void **state)
{
    struct probe p = {.timer = {.fire = on_fire}};

    (void)state;
    now = 77;
    wheel_init(&w, now);
    (void)wheel_set(&w, &p.timer, 100000, now);
    now = 5000;
    assert_true(wheel_set(&w, &p.timer, 5100, now));
    run_to(5120);
    assert_int_equal(p.n, 1);
    assert_true(p.fired_ms >= 5100);
}

static void test_clear_and_off(void **state)
{
    struct probe p = {.timer = {.fire = on_fire}}, q = p;

    (void)state;
    now = 0;
    wheel_init(&w, now);
    wheel_clear(&w, &p.timer); /* not set: fine */
    (void)wheel_set(&w, &p.timer, 100, now);
    (void)wheel_set(&w, &q.timer, 100, now);
    wheel_clear(&w, &p.timer);
    (void)wheel_set(&w, &q.timer, UINT64_MAX, now);
    assert_int_equal(w.n, 0);
    run_to(1000);
    assert_int_equal(p.n + q.n, 0);
}

static struct probe other;

static void clear_other(struct timer *t)
{
    on_fire(t);
    wheel_clear(&w, &other.timer);
}

static void set_again(struct timer *t)
{
    on_fire(t);
    if (CONTAINER_OF(t, struct probe, timer)->n < 5)
        (void)wheel_set(&w, t, now, now); /* due at once: next tick */
}

static void move_other(struct timer *t)
{
    on_fire(t);
    (void)wheel_set(&w, &other.timer, now + 1000, now);
}

static void test_callbacks_change_timers(void **state)
{
    struct probe p = {.timer = {.fire = clear_other}};

    (void)state;
    now = 0;
    wheel_init(&w, now);
    other = (struct probe){.timer = {.fire = on_fire}};
    (void)wheel_set(&w, &p.timer, 100, now);
    (void)wheel_set(&w, &other.timer, 100, now);
    run_to(200);
    assert_int_equal(p.n, 1);
    assert_int_equal(other.n, 0);

    p.timer.fire = move_other;
    (void)wheel_set(&w, &p.timer, 300, now);
    (void)wheel_set(&w, &other.timer, 300, now);
    run_to(600);
    assert_int_equal(p.n, 2);
    assert_int_equal(other.n, 0);
    run_to(1600);
    assert_int_equal(other.n, 1);

    p = (struct probe){.timer = {.fire = set_again}};
    (void)wheel_set(&w, &p.timer, now, now);
    advance_to(now + 4); /* not a tick yet */
    run_to(now + 100);
    assert_int_equal(p.n, 5);
}

/* Many timers, moved and cleared at random; each fires at its last deadline or not at all. */
static void test_random(void **state)
{
    enum { N = 500 };
    static struct probe p[N];
    uint64_t due[N];

    (void)state;
    srand(7);
    now = 12345;
    wheel_init(&w, now);
    for (unsigned i = 0; i < N; i++) {
        p[i] = (struct probe){.timer = {.fire = on_fire}};
        due[i] = UINT64_MAX;
    }
    for (unsigned round = 0; round < 20000; round++) {
        unsigned i = (unsigned)rand() % N;
        unsigned scale = 1u << (rand() % 20);

        if (rand() % 8 == 0) {
            wheel_clear(&w, &p[i].timer);
            due[i] = UINT64_MAX;
        } else {
            due[i] = now + (unsigned)rand() % scale;
            (void)wheel_set(&w, &p[i].timer, due[i], now);
        }
        unsigned before = p[i].n;
        uint64_t from = now;

        run_to(now + (unsigned)rand() % 30);
        for (unsigned k = 0; k < N; k++) {
            if (p[k].timer.next || due[k] == UINT64_MAX) {
                assert_true(due[k] + 2 * WHEEL_TICK_MS > now || due[k] == UINT64_MAX);
                continue;
            }
            assert_true(p[k].fired_ms >= due[k] && p[k].fired_ms >= from);
            assert_true(p[k].fired_ms <= due[k] + 2 * WHEEL_TICK_MS ||
                        p[k].fired_ms <= from + WHEEL_TICK_MS);
            due[k] = UINT64_MAX;
        }
        assert_true(p[i].n <= before + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distances),
        cmocka_unit_test(test_moving_later_is_a_store),
        cmocka_unit_test(test_moving_earlier),
        cmocka_unit_test(test_clear_and_off),
        cmocka_unit_test(test_callbacks_change_timers),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
