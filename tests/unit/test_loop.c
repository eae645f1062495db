/* SPDX-License-Identifier: Apache-2.0 */
/* Loops: mailboxes from many threads, run-next, pool work, deadlines, signals, watched paths. */
#include "test_net.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/block.h"

#define THREADS 4
#define POSTS   20000

struct letter {
    struct task task;
    unsigned from, number;
};

static struct loop *the_loop;
static unsigned next_number[THREADS];
static unsigned received;

static void on_letter(struct task *t)
{
    struct letter *m = CONTAINER_OF(t, struct letter, task);

    assert_int_equal(m->number, next_number[m->from]);
    next_number[m->from]++;
    free(m);
    if (++received == THREADS * POSTS)
        loop_stop(the_loop);
}

static void *post_many(void *arg)
{
    for (unsigned i = 0; i < POSTS; i++) {
        struct letter *m = calloc(1, sizeof *m);

        *m = (struct letter){
            .task = {.run = on_letter}, .from = (unsigned)(uintptr_t)arg, .number = i};
        loop_post(the_loop, &m->task);
    }
    return NULL;
}

static void test_mailbox(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    the_loop = test_loop(&clock_system);
    received = 0;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)i), 0);
    loop_run(the_loop);
    assert_int_equal(received, THREADS * POSTS);
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    loop_free(the_loop);
}

/* libuv takes a loop without anything else for over. */
static void test_mail_for_a_turn(void **state)
{
    struct letter *m = calloc(1, sizeof *m);

    (void)state;
    the_loop = test_loop(&clock_system);
    received = 0;
    memset(next_number, 0, sizeof next_number);
    *m = (struct letter){.task = {.run = on_letter}};
    loop_post(the_loop, &m->task);
    (void)loop_turn(the_loop, false);
    assert_int_equal(received, 1);
    loop_free(the_loop);
}

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

/* Two loops throw a task to and fro. */
struct ball {
    struct task task;
    struct loop *loops[2];
    unsigned n;
};

static void throw_back(struct task *t)
{
    struct ball *b = CONTAINER_OF(t, struct ball, task);

    if (++b->n == 10000) {
        loop_stop(b->loops[0]);
        loop_stop(b->loops[1]);
        return;
    }
    loop_post(b->loops[b->n % 2], t);
}

static void test_two_loops(void **state)
{
    struct ball b = {.task = {.run = throw_back}};
    pthread_t threads[2];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(loop_new(i, &clock_system, &b.loops[i]), OK);
        assert_int_equal(loop_index(b.loops[i]), i);
        assert_int_equal(pthread_create(&threads[i], NULL, run_loop, b.loops[i]), 0);
    }
    loop_post(b.loops[0], &b.task);
    for (unsigned i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
        loop_free(b.loops[i]);
    }
    assert_int_equal(b.n, 10000);
}

/* Run-next. */

static char order[16];

struct step {
    struct task task;
    char name;
    struct step *then;
};

static void on_step(struct task *t)
{
    struct step *s = CONTAINER_OF(t, struct step, task);

    order[strlen(order)] = s->name;
    if (s->then)
        loop_defer(the_loop, &s->then->task);
}

static void test_defer(void **state)
{
    struct step c = {.task = {.run = on_step}, .name = 'c'};
    struct step a = {.task = {.run = on_step}, .name = 'a', .then = &c};
    struct step b = {.task = {.run = on_step}, .name = 'b'};

    (void)state;
    memset(order, 0, sizeof order);
    the_loop = test_loop(&clock_system);
    loop_defer(the_loop, &a.task);
    loop_defer(the_loop, &b.task);
    assert_string_equal(order, ""); /* not inside the call */
    TURN_UNTIL(the_loop, strlen(order) == 3);
    assert_string_equal(order, "abc");
    assert_false(loop_turn(the_loop, true)); /* nothing left, and it does not hang */
    loop_free(the_loop);
}

struct piped {
    struct watch *watch;
    int fd;
    struct step step;
    unsigned n;
};

static void on_pipe(void *arg, unsigned events)
{
    struct piped *p = arg;
    char c;

    assert_int_equal(events, WATCH_READ);
    assert_int_equal(read(p->fd, &c, 1), 1);
    p->n++;
    memset(order, 0, sizeof order);
    loop_defer(the_loop, &p->step.task);
    assert_string_equal(order, "");
}

static void test_defer_runs_before_waiting(void **state)
{
    struct piped p = {
        .step = {.task = {.run = on_step}, .name = 'x'}
    };
    int fds[2];

    (void)state;
    the_loop = test_loop(&clock_system);
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    p.fd = fds[0];
    assert_int_equal(watch_new(the_loop, fds[0], on_pipe, &p, &p.watch), OK);
    watch_arm(p.watch, WATCH_READ);
    assert_int_equal(write(fds[1], "ab", 2), 2);
    TURN_UNTIL(the_loop, p.n == 2);
    TURN_UNTIL(the_loop, strlen(order) == 1);
    watch_arm(p.watch, 0);
    assert_int_equal(write(fds[1], "c", 1), 1);
    test_settle(the_loop);
    assert_int_equal(p.n, 2); /* disarmed */
    watch_arm(p.watch, WATCH_READ);
    watch_close(p.watch); /* and no callback after it */
    test_settle(the_loop);
    assert_int_equal(p.n, 2);
    (void)close(fds[0]);
    (void)close(fds[1]);
    loop_free(the_loop);
}

/* Deadlines by the test's clock. */

struct alarm {
    struct timer timer;
    unsigned n;
};

static void on_alarm(struct timer *t)
{
    CONTAINER_OF(t, struct alarm, timer)->n++;
}

static void test_timers_follow_the_clock(void **state)
{
    struct test_clock clock;
    struct alarm a = {.timer = {.fire = on_alarm}}, b = a;

    (void)state;
    test_clock_init(&clock, 1000000);
    the_loop = test_loop(&clock.clock);
    timer_set(the_loop, &a.timer, 1010000);
    timer_set(the_loop, &b.timer, 1020000);
    test_settle(the_loop);
    assert_int_equal(a.n, 0);
    clock.now_ms = 1010016;
    test_settle(the_loop);
    assert_int_equal(a.n, 1);
    assert_int_equal(b.n, 0);
    timer_clear(the_loop, &b.timer);
    clock.now_ms += 100000;
    test_settle(the_loop);
    assert_int_equal(a.n + b.n, 1);
    assert_int_equal(loop_now_ms(the_loop), clock.now_ms);
    assert_false(loop_turn(the_loop, true));
    loop_free(the_loop);
}

static void test_timers_wake_the_loop(void **state)
{
    struct alarm a = {.timer = {.fire = on_alarm}}, late = a;

    (void)state;
    the_loop = test_loop(&clock_system);
    uint64_t start = loop_now_ms(the_loop);

    timer_set(the_loop, &late.timer, start + 60000);
    timer_set(the_loop, &a.timer, start + 30);
    TURN_UNTIL(the_loop, a.n == 1);
    assert_true(loop_now_ms(the_loop) >= start + 30);
    timer_clear(the_loop, &late.timer);
    loop_free(the_loop);
}

static void test_http_date(void **state)
{
    struct test_clock clock;

    (void)state;
    test_clock_init(&clock, UINT64_C(784111777000));
    the_loop = test_loop(&clock.clock);
    assert_string_equal(loop_http_date(the_loop), "Sun, 06 Nov 1994 08:49:37 GMT");
    clock.now_ms += 1000;
    assert_string_equal(loop_http_date(the_loop), "Sun, 06 Nov 1994 08:49:38 GMT");
    loop_free(the_loop);
}

/* Pool. */

struct sum {
    struct work work;
    unsigned in, out;
    pthread_t ran_on;
};

static unsigned sums_done;

static void sum_run(struct work *w)
{
    struct sum *s = CONTAINER_OF(w, struct sum, work);

    s->ran_on = pthread_self();
    s->out = s->in * 2;
}

static void sum_done(struct work *w)
{
    struct sum *s = CONTAINER_OF(w, struct sum, work);

    assert_ptr_equal(w->loop, the_loop);
    assert_int_equal(s->out, s->in * 2);
    assert_false(pthread_equal(s->ran_on, pthread_self()));
    sums_done++;
}

static void test_work(void **state)
{
    static struct sum sums[100];

    (void)state;
    the_loop = test_loop(&clock_system);
    sums_done = 0;
    for (unsigned i = 0; i < 100; i++) {
        sums[i] = (struct sum){
            .work = {.run = sum_run, .done = sum_done},
              .in = i
        };
        assert_int_equal(loop_work(the_loop, &sums[i].work), OK);
    }
    TURN_UNTIL(the_loop, sums_done >= 50);
    loop_free(the_loop); /* waits for the rest */
    assert_int_equal(sums_done, 100);
}

/* Signals, paths. */

static void count_signal(void *arg, int signum)
{
    assert_int_equal(signum, SIGUSR2);
    ++*(unsigned *)arg;
}

static void test_signal(void **state)
{
    struct signal_watch *s;
    unsigned n = 0;

    (void)state;
    the_loop = test_loop(&clock_system);
    assert_int_equal(signal_watch_new(the_loop, SIGUSR2, count_signal, &n, &s), OK);
    assert_int_equal(raise(SIGUSR2), 0);
    TURN_UNTIL(the_loop, n == 1);
    signal_watch_close(s);
    loop_free(the_loop);
}

static void count_change(void *arg)
{
    ++*(unsigned *)arg;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_path_watch(void **state)
{
    char dir[] = "/tmp/test_loop.XXXXXX";
    char path[64], fresh[64], stranger[64];
    struct path_watch *file, *folder;
    unsigned n = 0, folder_n = 0;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/key.pem", dir);
    (void)snprintf(fresh, sizeof fresh, "%s/key.pem.new", dir);
    (void)snprintf(stranger, sizeof stranger, "%s/other", dir);
    write_file(path, "1");
    the_loop = test_loop(&clock_system);
    assert_int_equal(path_watch_new(the_loop, path, count_change, &n, &file), OK);
    assert_int_equal(path_watch_new(the_loop, dir, count_change, &folder_n, &folder), OK);
    write_file(stranger, "x");
    TURN_UNTIL(the_loop, folder_n == 1);
    assert_int_equal(n, 0); /* not its file */
    write_file(path, "2");
    write_file(path, "3");
    TURN_UNTIL(the_loop, n == 1); /* debounced */
    for (unsigned i = 2; i < 5; i++) {
        write_file(fresh, "4");
        assert_int_equal(rename(fresh, path), 0);
        TURN_UNTIL(the_loop, n == i);
    }
    assert_int_equal(unlink(path), 0); /* gone, and back */
    TURN_UNTIL(the_loop, n == 5);
    write_file(path, "5");
    TURN_UNTIL(the_loop, n == 6);
    path_watch_close(file);
    path_watch_close(folder);
    loop_free(the_loop);
    (void)unlink(path);
    (void)unlink(stranger);
    (void)rmdir(dir);
}

/* libuv within. */

static struct path_watch *the_path;

static void nothing_to_do(struct work *w)
{
    (void)w;
}

static void close_path(struct work *w)
{
    (void)w;
    path_watch_close(the_path);
    the_path = NULL;
}

/* The kernel still has a word for the watch that is gone, and libuv no handle: somebody must take
 * it, or no wait would wait any more. */
static void test_an_idle_loop_sleeps(void **state)
{
    struct work w = {.run = nothing_to_do, .done = close_path};
    struct alarm a = {.timer = {.fire = on_alarm}};
    unsigned turns = 0, n = 0;

    (void)state;
    the_loop = test_loop(&clock_system);
    assert_int_equal(path_watch_new(the_loop, "/tmp", count_change, &n, &the_path), OK);
    test_settle(the_loop);
    assert_int_equal(loop_work(the_loop, &w), OK);
    TURN_UNTIL(the_loop, !the_path);
    test_settle(the_loop);
    timer_set(the_loop, &a.timer, loop_now_ms(the_loop) + 200);
    while (a.n == 0) {
        (void)loop_turn(the_loop, true);
        turns++;
    }
    assert_in_range(turns, 1, 20);
    loop_free(the_loop);
}

/* After a burst a thread has memory that it does not need; with nothing to do for a minute it gives
 * that back all the same. */
static void test_an_idle_loop_gives_memory_back(void **state)
{
    struct alarm late = {.timer = {.fire = on_alarm}};
    struct block *b[100];
    unsigned turns = 0;

    (void)state;
    the_loop = test_loop(&clock_system);
    timer_set(the_loop, &late.timer, loop_now_ms(the_loop) + 60000);
    for (unsigned i = 0; i < ARRAY_LEN(b); i++) {
        b[i] = block_new();
        assert_non_null(b[i]);
    }
    for (unsigned i = 0; i < ARRAY_LEN(b); i++)
        block_unref(b[i]);
    assert_true(block_pool_has_spare());
    while (block_pool_has_spare()) {
        assert_true(loop_turn(the_loop, true));
        turns++;
    }
    assert_in_range(turns, 1, 20);
    assert_int_equal(late.n, 0);
    timer_clear(the_loop, &late.timer);
    loop_free(the_loop);
    block_pool_trim(0);
}

/* Watches that are ready together. */

#define SIBLINGS      50u
#define SIBLING_CALLS 5000u

struct sibling {
    struct watch *watch;
    int fd, other;
};

static struct sibling siblings[SIBLINGS];
static unsigned sibling_calls;

static void sibling_open(struct sibling *s);

static void sibling_close(struct sibling *s)
{
    watch_close(s->watch);
    (void)close(s->fd);
    (void)close(s->other);
}

/* Each closes its neighbour, which is perhaps told next, and itself; the descriptors' numbers are
 * in use again at once. */
static void on_sibling(void *arg, unsigned events)
{
    struct sibling *s = arg, *next = &siblings[((size_t)(s - siblings) + 1) % SIBLINGS];

    assert_int_equal(events, WATCH_READ);
    sibling_calls++;
    sibling_close(next);
    sibling_close(s);
    sibling_open(next);
    sibling_open(s);
}

static void sibling_open(struct sibling *s)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    s->fd = fds[0];
    s->other = fds[1];
    assert_int_equal(watch_new(the_loop, s->fd, on_sibling, s, &s->watch), OK);
    watch_arm(s->watch, WATCH_READ);
    if (sibling_calls < SIBLING_CALLS)
        assert_int_equal(write(s->other, "x", 1), 1);
}

static void test_watches_close_each_other(void **state)
{
    (void)state;
    the_loop = test_loop(&clock_system);
    sibling_calls = 0;
    for (unsigned i = 0; i < SIBLINGS; i++)
        sibling_open(&siblings[i]);
    TURN_UNTIL(the_loop, sibling_calls >= SIBLING_CALLS);
    test_settle(the_loop);
    for (unsigned i = 0; i < SIBLINGS; i++)
        sibling_close(&siblings[i]);
    loop_free(the_loop);
}

static void count_events(void *arg, unsigned events)
{
    unsigned *told = arg;

    told[0]++;
    told[1] = events;
}

/* A pipe without a reader is in error from the beginning: that is nobody's business until somebody
 * waits, and then it is told once. */
static void test_a_watch_in_error(void **state)
{
    struct watch *w;
    unsigned told[2] = {0};
    int fds[2];

    (void)state;
    the_loop = test_loop(&clock_system);
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    (void)close(fds[0]);
    assert_int_equal(watch_new(the_loop, fds[1], count_events, told, &w), OK);
    test_settle(the_loop);
    assert_int_equal(told[0], 0);
    watch_arm(w, WATCH_WRITE);
    test_settle(the_loop);
    assert_int_equal(told[0], 1);
    assert_int_equal(told[1], WATCH_READ | WATCH_WRITE);
    watch_arm(w, WATCH_WRITE); /* once more */
    test_settle(the_loop);
    assert_int_equal(told[0], 2);
    watch_close(w);
    (void)close(fds[1]);
    loop_free(the_loop);
}

static void test_what_cannot_be_watched(void **state)
{
    struct watch *w = NULL;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    (void)state;
    the_loop = test_loop(&clock_system);
    assert_int_not_equal(watch_new(the_loop, file, count_events, NULL, &w), OK);
    assert_int_not_equal(watch_new(the_loop, -1, count_events, NULL, &w), OK);
    assert_null(w);
    (void)close(file);
    loop_free(the_loop);
}

/* What is posted or deferred when a loop ends still runs. */
static void test_free_runs_what_is_left(void **state)
{
    struct step a = {.task = {.run = on_step}, .name = 'a'};
    struct step b = {.task = {.run = on_step}, .name = 'b'};

    (void)state;
    memset(order, 0, sizeof order);
    the_loop = test_loop(&clock_system);
    loop_post(the_loop, &a.task);
    loop_defer(the_loop, &b.task);
    loop_free(the_loop);
    assert_string_equal(order, "ab");
}

/* ---- figures ---- */

static struct test_clock figures_clock;

static void take_30_ms(struct task *t)
{
    (void)t;
    figures_clock.now_ms += 30;
}

/* What a turn runs is its length; that nothing happens is none. */
static void test_figures(void **state)
{
    struct task deferred = {.run = take_30_ms}, posted = {.run = take_30_ms};
    struct loop_load_figures f;
    struct loop *l;
    uint64_t turns;

    (void)state;
    test_clock_init(&figures_clock, 1000000);
    l = test_loop(&figures_clock.clock);
    loop_figures(l, &f);
    assert_int_equal(f.turns + f.busy_us + f.longest_us + f.turns_per_s, 0);
    (void)loop_turn(l, false);
    loop_figures(l, &f);
    assert_true(f.turns > 0);
    assert_int_equal(f.busy_us, 0);
    turns = f.turns;
    loop_defer(l, &deferred);
    (void)loop_turn(l, false);
    loop_figures(l, &f);
    assert_true(f.turns > turns);
    assert_int_equal(f.busy_us, 30000);
    assert_int_equal(f.longest_us, 30000);
    figures_clock.now_ms += 1000;
    loop_post(l, &posted);
    (void)loop_turn(l, false);
    loop_figures(l, &f);
    assert_int_equal(f.busy_us, 60000);
    assert_int_equal(f.longest_us, 30000);
    assert_int_equal(f.mean_us, 60000 / f.turns);
    figures_clock.now_ms += 20000;
    loop_figures(l, &f);
    assert_int_equal(f.busy_us, 60000);
    assert_int_equal(f.longest_us + f.mean_us + f.turns_per_s, 0);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mailbox),
        cmocka_unit_test(test_mail_for_a_turn),
        cmocka_unit_test(test_two_loops),
        cmocka_unit_test(test_defer),
        cmocka_unit_test(test_defer_runs_before_waiting),
        cmocka_unit_test(test_timers_follow_the_clock),
        cmocka_unit_test(test_timers_wake_the_loop),
        cmocka_unit_test(test_http_date),
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_path_watch),
        cmocka_unit_test(test_an_idle_loop_sleeps),
        cmocka_unit_test(test_an_idle_loop_gives_memory_back),
        cmocka_unit_test(test_watches_close_each_other),
        cmocka_unit_test(test_a_watch_in_error),
        cmocka_unit_test(test_what_cannot_be_watched),
        cmocka_unit_test(test_free_runs_what_is_left),
        cmocka_unit_test(test_figures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
