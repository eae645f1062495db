/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/loop_load.h"

#define SECOND UINT64_C(1000000)
#define START  (500 * SECOND)

static struct loop_load load;

static int setup(void **state)
{
    (void)state;
    memset(&load, 0, sizeof load);
    return 0;
}

static struct loop_load_figures at(uint64_t now_us)
{
    struct loop_load_figures f;

    loop_load_read(&load, now_us, &f);
    return f;
}

/* One turn with waiting on both sides. */
static void turn(uint64_t at_us, uint64_t took_us)
{
    loop_load_begin(&load, at_us);
    loop_load_end(&load, at_us + took_us);
}

static void test_nothing(void **state)
{
    (void)state;
    const struct loop_load_figures f = at(START);

    assert_int_equal(f.turns + f.busy_us + f.turns_per_s + f.mean_us + f.longest_us, 0);
    loop_load_end(&load, START); /* none had begun */
    assert_int_equal(at(START).turns, 0);
}

static void test_turns(void **state)
{
    (void)state;
    turn(START, 100);
    turn(START + 1000, 300);
    loop_load_begin(&load, START + 2000); /* and two in a row */
    loop_load_begin(&load, START + 2200);
    loop_load_end(&load, START + 2400);
    loop_load_end(&load, START + 9000); /* is waiting already */
    const struct loop_load_figures f = at(START + 10000);

    assert_int_equal(f.turns, 4);
    assert_int_equal(f.busy_us, 800);
    assert_int_equal(f.mean_us, 200);
    assert_int_equal(f.longest_us, 300);
}

/* One that does not end is the longest before it is over. */
static void test_the_turn_that_goes_on(void **state)
{
    (void)state;
    turn(START, 100);
    loop_load_begin(&load, START + SECOND);
    assert_int_equal(at(START + SECOND).longest_us, 100);
    assert_int_equal(at(START + 5 * SECOND).longest_us, 4 * SECOND);
    assert_int_equal(at(START + 50 * SECOND).longest_us, 49 * SECOND);
    assert_int_equal(at(START + 5 * SECOND).turns, 1);
    assert_int_equal(at(START + SECOND - 1).longest_us, 100); /* read before it began */
}

static void test_the_last_seconds(void **state)
{
    (void)state;
    for (unsigned s = 0; s < 40; s++) {
        for (unsigned i = 0; i < 100; i++)
            turn(START + s * SECOND + i * 1000, s);
        const struct loop_load_figures f = at(START + s * SECOND + 999999);
        unsigned seconds = s < LOOP_LOAD_SECONDS ? s + 1 : LOOP_LOAD_SECONDS;

        assert_int_equal(f.turns, 100 * (s + 1));
        assert_int_equal(f.longest_us, s);
        assert_int_equal(f.turns_per_s, 100 * seconds / LOOP_LOAD_SECONDS);
        assert_int_equal(f.mean_us, (2 * s - seconds + 1) / 2);
    }
}

/* What was long ago is forgotten, also if nothing happened since, or what came in its place. */
static void test_it_is_forgotten(void **state)
{
    (void)state;
    turn(START, 7000);
    assert_int_equal(at(START + 9 * SECOND).longest_us, 7000);
    assert_int_equal(at(START + 10 * SECOND).longest_us, 0);
    assert_int_equal(at(START + 10 * SECOND).turns_per_s, 0);
    assert_int_equal(at(START + LOOP_LOAD_SLOTS * SECOND).longest_us, 0);
    turn(START + LOOP_LOAD_SLOTS * SECOND, 5);
    assert_int_equal(at(START + LOOP_LOAD_SLOTS * SECOND + 10).longest_us, 5);
    assert_int_equal(at(START + LOOP_LOAD_SLOTS * SECOND + 10).busy_us, 7005);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing),          TEST(test_turns),           TEST(test_the_turn_that_goes_on),
        TEST(test_the_last_seconds), TEST(test_it_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
