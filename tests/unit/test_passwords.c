/* SPDX-License-Identifier: Apache-2.0 */
/* The threads for passwords: bounds, and whose turn it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/attr.h"
#include "tenant/passwords.h"

#define JOBS 64

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open; /* jobs may end */
    unsigned begun, dropped, done;
    unsigned order[JOBS];
    int nice, nice_after;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

struct job {
    struct password_job job;
    unsigned number;
};

static void run(struct password_job *j)
{
    unsigned number = CONTAINER_OF(j, struct job, job)->number;

    (void)pthread_mutex_lock(&gate.lock);
    gate.order[gate.begun++] = number;
    gate.nice = getpriority(PRIO_PROCESS, (id_t)gettid());
    (void)pthread_cond_broadcast(&gate.changed);
    while (!gate.open)
        (void)pthread_cond_wait(&gate.changed, &gate.lock);
    (void)pthread_mutex_unlock(&gate.lock);
}

static void done(struct password_job *j, bool dropped)
{
    (void)j;
    (void)pthread_mutex_lock(&gate.lock);
    if (dropped)
        gate.dropped++;
    else
        gate.done++;
    gate.nice_after = getpriority(PRIO_PROCESS, (id_t)gettid());
    (void)pthread_cond_broadcast(&gate.changed);
    (void)pthread_mutex_unlock(&gate.lock);
}

static void wait_for(const unsigned *what, unsigned n)
{
    (void)pthread_mutex_lock(&gate.lock);
    while (*what < n)
        (void)pthread_cond_wait(&gate.changed, &gate.lock);
    (void)pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
    (void)pthread_mutex_lock(&gate.lock);
    gate.open = true;
    (void)pthread_cond_broadcast(&gate.changed);
    (void)pthread_mutex_unlock(&gate.lock);
}

static int setup(void **state)
{
    (void)state;
    gate.open = false;
    gate.begun = gate.dropped = gate.done = 0;
    return 0;
}

static void jobs_init(struct job v[JOBS])
{
    for (unsigned i = 0; i < JOBS; i++)
        v[i] = (struct job){
            .job = {.run = run, .done = done},
              .number = i
        };
}

static void test_sources_take_turns(void **state)
{
    /* The first is taken at once; of the others, source 1 came first with three. */
    static const unsigned sources[] = {9, 1, 1, 1, 2, 3, 2}, order[] = {0, 1, 4, 5, 2, 6, 3};
    struct job v[JOBS];
    struct passwords *p;

    (void)state;
    jobs_init(v);
    assert_int_equal(passwords_new(1, 32, &p), OK);
    for (unsigned i = 0; i < ARRAY_LEN(sources); i++) {
        assert_int_equal(passwords_submit(p, &v[i].job, sources[i]), OK);
        if (i == 0)
            wait_for(&gate.begun, 1);
    }
    open_gate();
    wait_for(&gate.done, ARRAY_LEN(sources));
    assert_memory_equal(gate.order, order, sizeof order);
    assert_int_equal(gate.nice, 10);
    assert_int_equal(gate.nice_after, getpriority(PRIO_PROCESS, (id_t)getpid()));
    passwords_free(p);
    assert_int_equal(gate.dropped, 0);
}

static void test_one_source_leaves_room(void **state)
{
    struct job v[JOBS];
    struct passwords_counts c;
    struct passwords *p;
    unsigned n = 0;

    (void)state;
    jobs_init(v);
    assert_int_equal(passwords_new(1, 16, &p), OK);
    assert_int_equal(passwords_submit(p, &v[0].job, 9), OK);
    wait_for(&gate.begun, 1);
    while (passwords_submit(p, &v[1 + n].job, 1) == OK)
        n++;
    assert_int_equal(n, 14); /* seven times the two that are left */
    assert_int_equal(passwords_submit(p, &v[1 + n].job, 2), OK);
    assert_int_equal(passwords_submit(p, &v[2 + n].job, 3), OK);
    assert_int_equal(passwords_submit(p, &v[3 + n].job, 4), ERR_BUSY);
    passwords_count(p, &c);
    assert_int_equal(c.waiting, 16);
    assert_int_equal(c.running, 1);
    assert_int_equal(c.refused, 2);
    open_gate();
    wait_for(&gate.done, 17);
    passwords_free(p);
}

static void test_end_drops_what_waits(void **state)
{
    struct job v[JOBS];
    struct passwords *p;

    (void)state;
    jobs_init(v);
    assert_int_equal(passwords_new(2, 16, &p), OK);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(passwords_submit(p, &v[i].job, i), OK);
    wait_for(&gate.begun, 2);
    open_gate();
    passwords_free(p);
    assert_int_equal(gate.done + gate.dropped, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sources_take_turns, setup),
        cmocka_unit_test_setup(test_one_source_leaves_room, setup),
        cmocka_unit_test_setup(test_end_drops_what_waits, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
