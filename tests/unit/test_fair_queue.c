/* SPDX-License-Identifier: Apache-2.0 */
#include "test_net.h"

#include "net/fair_queue.h"

static struct test_clock the_clock;
static struct loop *the_loop;
static struct fair_queue *the_queue;

struct job {
    struct fair_task task;
    uint64_t client;
    unsigned again; /* how often it adds itself */
    uint64_t takes_ms;
};

static uint64_t order[256];
static unsigned n_done, n_turns;
static struct task look; /* runs once for each turn of the loop */
static bool looking;

static void on_job(struct fair_task *t)
{
    struct job *j = CONTAINER_OF(t, struct job, task);

    assert_false(t->queued);
    order[n_done++ % ARRAY_LEN(order)] = j->client;
    the_clock.now_ms += j->takes_ms;
    if (j->again) {
        j->again--;
        fair_queue_add(the_queue, t, j->client);
    }
}

static void on_look(struct task *t)
{
    n_turns++;
    if (looking)
        loop_yield(the_loop, t);
}

static int open_queue(void **state)
{
    (void)state;
    test_clock_init(&the_clock, UINT64_C(1800000000000));
    the_loop = test_loop(&the_clock.clock);
    assert_int_equal(fair_queue_new(the_loop, 4, 1000, 20000, &the_queue), OK);
    n_done = n_turns = 0;
    look = (struct task){.run = on_look};
    looking = true;
    return 0;
}

static int close_queue(void **state)
{
    (void)state;
    looking = false; /* a loop that ends runs what waits */
    fair_queue_free(the_queue);
    loop_free(the_loop);
    return 0;
}

static void add(struct job *j, uint64_t client)
{
    *j = (struct job){.task = {.run = on_job}, .client = client};
    fair_queue_add(the_queue, &j->task, client);
}

static void run_until(unsigned done)
{
    for (unsigned i = 0; i < 1000 && n_done < done; i++)
        (void)loop_turn(the_loop, false);
    assert_int_equal(n_done, done);
}

static void nothing_runs_inside_the_call(void **state)
{
    struct job j;

    (void)state;
    add(&j, 1);
    assert_true(j.task.queued);
    assert_int_equal(n_done, 0);
    run_until(1);
}

/* One client has fifty, another comes last and has two. */
static void a_crowd_does_not_keep_others_waiting(void **state)
{
    struct job crowd[50], last[2];

    (void)state;
    for (unsigned i = 0; i < 50; i++)
        add(&crowd[i], 7);
    add(&last[0], 9);
    add(&last[1], 9);
    run_until(52);
    assert_int_equal(order[0], 7);
    assert_int_equal(order[1], 9);
    assert_int_equal(order[2], 7);
    assert_int_equal(order[3], 9);
    for (unsigned i = 4; i < 52; i++)
        assert_int_equal(order[i], 7);
}

static void one_client_is_served_in_order(void **state)
{
    struct job j[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        add(&j[i], 256 * i); /* one bucket */
    run_until(3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(order[i], 256 * i);
}

static void a_turn_is_bounded(void **state)
{
    struct job j[20];

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        add(&j[i], i);
    loop_yield(the_loop, &look);
    run_until(20);
    assert_in_range(n_turns, 4, 6); /* four in each */
}

static void a_long_task_ends_the_turn(void **state)
{
    struct job j[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        add(&j[i], i);
        j[i].takes_ms = 1;
    }
    loop_yield(the_loop, &look);
    run_until(3);
    assert_in_range(n_turns, 2, 4);
}

static void adding_twice_is_adding_once(void **state)
{
    struct job j;

    (void)state;
    add(&j, 3);
    fair_queue_add(the_queue, &j.task, 3);
    run_until(1);
    (void)loop_turn(the_loop, false);
    assert_int_equal(n_done, 1);
}

/* It goes to the end of its client's line, and others get theirs between. */
static void a_task_may_add_itself(void **state)
{
    struct job busy, other;

    (void)state;
    add(&busy, 1);
    busy.again = 99;
    (void)loop_turn(the_loop, false);
    assert_in_range(n_done, 1, 99);
    unsigned before = n_done;

    add(&other, 2);
    run_until(101);
    assert_true(order[before] == 2 || order[before + 1] == 2);
}

/* What tasks put off counts, too: a turn has as many as go with it into twenty milliseconds. */
struct heavy {
    struct fair_task task;
    struct task after;
};
static unsigned n_row, rows[64], n_rows;
static uint64_t after_ms;

static void on_after(struct task *t)
{
    (void)t;
    the_clock.now_ms += after_ms;
    if (n_row)
        rows[n_rows++ % ARRAY_LEN(rows)] = n_row;
    n_row = 0;
}

static void on_heavy(struct fair_task *t)
{
    n_done++;
    n_row++;
    loop_defer(the_loop, &CONTAINER_OF(t, struct heavy, task)->after);
}

static void what_is_put_off_shortens_turns(void **state)
{
    static struct heavy h[64];

    (void)state;
    n_row = n_rows = 0;
    after_ms = 10;
    for (unsigned i = 0; i < ARRAY_LEN(h); i++) {
        h[i] = (struct heavy){.task = {.run = on_heavy}, .after = {.run = on_after}};
        fair_queue_add(the_queue, &h[i].task, i);
    }
    while (n_done < 16)
        (void)loop_turn(the_loop, false);
    assert_int_equal(rows[0], 4);
    for (unsigned i = 1; i < n_rows; i++)
        assert_int_equal(rows[i], 2);
    after_ms = 50; /* one at least */
    unsigned from = n_rows + 1;

    while (n_done < 32)
        (void)loop_turn(the_loop, false);
    for (unsigned i = from; i < n_rows; i++)
        assert_int_equal(rows[i], 1);
    after_ms = 2; /* back to the most, twice as many each time */
    from = n_rows;
    while (n_done < ARRAY_LEN(h))
        (void)loop_turn(the_loop, false);
    assert_true(rows[from] <= 2 && rows[from + 2] == 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)
    const struct CMUnitTest tests[] = {
        TEST(nothing_runs_inside_the_call),  TEST(a_crowd_does_not_keep_others_waiting),
        TEST(one_client_is_served_in_order), TEST(a_turn_is_bounded),
        TEST(a_long_task_ends_the_turn),     TEST(adding_twice_is_adding_once),
        TEST(a_task_may_add_itself),         TEST(what_is_put_off_shortens_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
