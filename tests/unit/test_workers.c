/* SPDX-License-Identifier: Apache-2.0 */
/* adapt/workers.h against a zygote and workers that the test plays itself: each way in which a file
 * can get its verdict, or not. */
#include "test_fake_workers.h"

#include "adapt/workers.h"
#include "base/log.h"

#define FILES_MAX 32

struct outcome {
    struct worker_job *job;
    unsigned calls;
    bool inside; /* the call-back came inside a call */
    struct scan_result result;
    int objects; /* -1: none */
    struct fixture *fixture;
};

struct fixture {
    struct test_clock clock;
    struct loop *loop;
    struct worker_settings settings;
    struct workers *workers;
    struct fake_zygote zygote, successor;
    struct timer pace; /* something to wait for: loop_turn() then looks at the clock */
    struct outcome files[FILES_MAX];
    unsigned n_files;
    bool in_call;
    bool free_in_callback;
    uint64_t client; /* whose files are submitted */
};

static void no_fire(struct timer *t)
{
    (void)t;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    log_set_level(LOG_LEVEL_ERROR);
    test_clock_init(&f->clock, 1000000);
    f->loop = test_loop(&f->clock.clock);
    f->settings = (struct worker_settings){.count = 2, .reuse = 100, .queue = 4, .grace_ms = 500};
    f->pace.fire = no_fire;
    timer_set(f->loop, &f->pace, UINT64_MAX / 2);
    assert_int_equal(workers_new(f->loop, &f->settings, &f->workers), OK);
    f->zygote.channel = f->successor.channel = -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    workers_free(f->workers);
    test_settle(f->loop);
    timer_clear(f->loop, &f->pace);
    fake_close(&f->zygote);
    fake_close(&f->successor);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void step(struct fixture *f)
{
    fake_step(&f->zygote);
    fake_step(&f->successor);
    test_settle(f->loop);
}

#define STEP_UNTIL(f, condition)                               \
    do {                                                       \
        unsigned turns_ = 0;                                   \
        while (!(condition)) {                                 \
            if (++turns_ > 2000)                               \
                fail_msg("never became true: %s", #condition); \
            step(f);                                           \
        }                                                      \
    } while (0)

static void steps(struct fixture *f)
{
    for (unsigned i = 0; i < 5; i++)
        step(f);
}

/* Lets |ms| pass, in little pieces so that nothing is late. */
static void pass(struct fixture *f, uint64_t ms)
{
    while (ms > 0) {
        uint64_t n = ms < 8 ? ms : 8;

        f->clock.now_ms += n;
        ms -= n;
        fake_step(&f->zygote);
        fake_step(&f->successor);
        (void)loop_turn(f->loop, false);
    }
    steps(f);
}

static void connect_zygote(struct fixture *f)
{
    workers_set_channel(f->workers, fake_open(&f->zygote));
    step(f);
}

static void on_done(void *arg, const struct scan_result *result, int objects)
{
    struct outcome *o = arg;
    struct fixture *f = o->fixture;

    o->calls++;
    o->job = NULL;
    o->inside = f->in_call;
    o->result = *result;
    o->objects = objects;
    if (f->free_in_callback) {
        f->free_in_callback = false;
        workers_free(f->workers);
        f->workers = NULL;
    }
}

static int file_with(const char *text)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static enum err submit(struct fixture *f, const char *text, uint64_t time_ms)
{
    struct outcome *o = &f->files[f->n_files];
    struct worker_job_request r = {
        .fd = file_with(text),
        .len = strlen(text),
        .engines = WIRE_ENGINE_YARA,
        .name = SPAN("a.pdf"),
        .type = SPAN("application/pdf"),
        .client = f->client,
        .deadline_ms = f->clock.now_ms + time_ms,
        .done = on_done,
        .arg = o,
    };
    enum err e;

    assert_true(f->n_files < FILES_MAX);
    *o = (struct outcome){.fixture = f};
    f->in_call = true;
    e = workers_submit(f->workers, &r, &o->job);
    f->in_call = false;
    if (e == OK)
        f->n_files++;
    return e;
}

static struct workers_counts counts(const struct fixture *f)
{
    struct workers_counts c;

    workers_counts(f->workers, &c);
    return c;
}

static void assert_ended(const struct outcome *o, enum cause cause)
{
    assert_int_equal(o->calls, 1);
    assert_false(o->inside);
    assert_int_equal(o->result.cause, cause);
    assert_int_equal(o->result.verdict, cause == CAUSE_NONE ? VERDICT_PASS : VERDICT_ERROR);
}

/* ---- the way it should be ---- */

static void test_one_worker_waits_for_the_first_file(void **state)
{
    struct fixture *f = *state;

    assert_false(workers_are_up(f->workers));
    connect_zygote(f);
    assert_true(workers_are_up(f->workers));
    STEP_UNTIL(f, counts(f).alive == 1);
    steps(f);
    assert_int_equal(f->zygote.n_forks, 1);
    assert_int_equal(counts(f).started, 1);
    assert_int_equal(counts(f).busy, 0);
}

static void test_a_file_reaches_the_worker_whole(void **state)
{
    struct fixture *f = *state;
    struct fake_worker *k;
    char text[16] = {0};

    connect_zygote(f);
    assert_int_equal(submit(f, "hello", 60000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    k = fake_busy(&f->zygote);
    assert_int_equal(k->job.job.len, 5);
    assert_int_equal(k->job.job.engines, WIRE_ENGINE_YARA);
    assert_int_equal(k->job.job.time_ms, 60000);
    assert_string_equal(k->job.job.name, "a.pdf");
    assert_string_equal(k->job.job.type, "application/pdf");
    assert_int_equal(pread(k->job_fd, text, sizeof text, 0), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(counts(f).busy, 1);
    assert_int_equal(f->files[0].calls, 0);
    struct scan_result found = fake_found("EICAR");

    fake_answer(k, &found);
    STEP_UNTIL(f, f->files[0].calls);
    assert_false(f->files[0].inside);
    assert_int_equal(f->files[0].result.verdict, VERDICT_BLOCK);
    assert_int_equal(f->files[0].result.cause, CAUSE_INFECTED);
    assert_string_equal(f->files[0].result.findings[0].name, "EICAR");
    assert_int_equal(counts(f).busy, 0);
    assert_int_equal(counts(f).alive, 1);
    assert_int_equal(counts(f).jobs, 1);
}

static void test_hostile_names_are_cut(void **state)
{
    struct fixture *f = *state;
    char longer[600];
    struct worker_job_request r = {
        .fd = file_with("x"),
        .len = 1,
        .name = {longer, sizeof longer},
        .type = SPAN("a\0b"),
        .deadline_ms = f->clock.now_ms + 1000,
        .done = on_done,
        .arg = &f->files[0],
    };
    struct fake_worker *k;

    memset(longer, '\xff', sizeof longer);
    f->files[0].fixture = f;
    connect_zygote(f);
    assert_int_equal(workers_submit(f->workers, &r, &f->files[0].job), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    k = fake_busy(&f->zygote);
    assert_int_equal(strlen(k->job.job.name), WIRE_NAME_MAX);
    assert_string_equal(k->job.job.type, "a");
}

static void test_files_are_served_in_order_by_as_many_workers_as_allowed(void **state)
{
    struct fixture *f = *state;

    f->zygote.mode = FAKE_HOLD;
    connect_zygote(f);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(submit(f, "x", 60000), OK);
    STEP_UNTIL(f, f->zygote.n_jobs == 2);
    steps(f);
    assert_int_equal(f->zygote.n_forks, 2);
    assert_int_equal(counts(f).queued, 2);
    assert_int_equal(f->zygote.n_jobs, 2);
    f->zygote.mode = FAKE_ANSWER;
    for (unsigned i = 0; i < 2; i++)
        fake_answer(&f->zygote.workers[i], &f->zygote.answer);
    STEP_UNTIL(f, f->files[3].calls);
    for (unsigned i = 0; i < 4; i++)
        assert_ended(&f->files[i], CAUSE_NONE);
    assert_int_equal(f->zygote.n_forks, 2);
}

static void test_reuse_replaces_workers(void **state)
{
    struct fixture *f = *state;

    f->settings.reuse = 2;
    f->settings.count = 1;
    workers_set_settings(f->workers, &f->settings);
    connect_zygote(f);
    f->zygote.mode = FAKE_ANSWER;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(submit(f, "x", 60000), OK);
        STEP_UNTIL(f, f->files[i].calls);
        assert_ended(&f->files[i], CAUSE_NONE);
    }
    assert_int_equal(f->zygote.n_forks, 3);
    assert_int_equal(counts(f).started, 3);
    steps(f);
    /* Whether or not they would have gone by themselves. */
    assert_int_equal(f->zygote.n_kills, 2);
    assert_int_equal(f->zygote.killed_pid, f->zygote.workers[1].pid);
    assert_int_equal(fake_alive(&f->zygote), 1);
    assert_int_equal(counts(f).crashed, 0);
}

static void test_fewer_workers_by_new_settings(void **state)
{
    struct fixture *f = *state;

    connect_zygote(f);
    (void)submit(f, "x", 60000);
    (void)submit(f, "x", 60000);
    STEP_UNTIL(f, f->zygote.n_jobs == 2);
    fake_answer(&f->zygote.workers[0], &f->zygote.answer);
    fake_answer(&f->zygote.workers[1], &f->zygote.answer);
    STEP_UNTIL(f, counts(f).busy == 0);
    f->settings.count = 1;
    workers_set_settings(f->workers, &f->settings);
    steps(f);
    assert_int_equal(counts(f).alive, 1);
    assert_int_equal(fake_alive(&f->zygote), 1);
}

/* ---- limits ---- */

static void test_queue_full(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(submit(f, "x", 60000), OK);
    assert_int_equal(submit(f, "x", 60000), ERR_BUSY);
    assert_int_equal(counts(f).queued, 4);
    workers_cancel(f->files[1].job);
    assert_int_equal(submit(f, "x", 60000), OK);
}

/* Who fills it makes room for who has less in it, and for nobody who has as much. */
static void test_a_full_queue_is_shared(void **state)
{
    struct fixture *f = *state;

    f->client = 1;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(submit(f, "x", 60000), OK);
    f->client = 2;
    assert_int_equal(submit(f, "x", 60000), OK);
    assert_int_equal(f->files[3].calls, 0);
    steps(f);
    assert_ended(&f->files[3], CAUSE_OVERLOAD);
    assert_int_equal(f->files[3].result.err, ERR_BUSY);
    f->client = 1;
    assert_int_equal(submit(f, "x", 60000), ERR_BUSY);
    f->client = 2;
    assert_int_equal(submit(f, "x", 60000), OK);
    steps(f);
    assert_ended(&f->files[2], CAUSE_OVERLOAD);
    assert_int_equal(submit(f, "x", 60000), ERR_BUSY);
    f->client = 3;
    assert_int_equal(submit(f, "x", 60000), OK);
    steps(f);
    assert_int_equal(f->files[1].calls + f->files[5].calls, 1); /* one of two that have two */
    assert_int_equal(counts(f).queued, 4);
    f->client = 4;
    assert_int_equal(submit(f, "x", 60000), OK);
    f->client = 5;
    assert_int_equal(submit(f, "x", 60000), ERR_BUSY); /* each has one */
}

/* Who brings one file does not wait behind all that somebody else has brought before. */
static void test_clients_have_turns(void **state)
{
    struct fixture *f = *state;

    f->settings.count = 1;
    workers_set_settings(f->workers, &f->settings);
    f->client = 1;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(submit(f, "x", 60000), OK);
    f->client = 2;
    assert_int_equal(submit(f, "x", 60000), OK);
    connect_zygote(f);
    STEP_UNTIL(f, f->zygote.n_jobs == 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(f->files[3].calls, 0);
        fake_answer(&f->zygote.workers[0], &f->zygote.answer);
        STEP_UNTIL(f, f->zygote.n_jobs == i + 2);
    }
    steps(f);
    assert_ended(&f->files[0], CAUSE_NONE);
    assert_ended(&f->files[3], CAUSE_NONE);
    assert_int_equal(f->files[1].calls + f->files[2].calls, 0);
}

/* ---- workers that fail ---- */

static void test_a_crash_costs_one_file(void **state)
{
    struct fixture *f = *state;
    struct fake_worker *k;

    connect_zygote(f);
    assert_int_equal(submit(f, "bad", 60000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    k = fake_busy(&f->zygote);
    fake_die(k);
    STEP_UNTIL(f, f->files[0].calls);
    assert_ended(&f->files[0], CAUSE_WORKER_CRASH);
    assert_int_equal(f->files[0].result.err, ERR_WORKER);
    assert_int_equal(counts(f).crashed, 1);
    f->zygote.mode = FAKE_ANSWER;
    assert_int_equal(submit(f, "good", 60000), OK);
    STEP_UNTIL(f, f->files[1].calls);
    assert_ended(&f->files[1], CAUSE_NONE);
    assert_int_equal(f->zygote.n_forks, 2);
}

static void test_an_idle_worker_that_is_gone_costs_no_file(void **state)
{
    struct fixture *f = *state;

    connect_zygote(f);
    STEP_UNTIL(f, counts(f).alive == 1);
    /* It dies, and nobody has looked yet. */
    fake_die(&f->zygote.workers[0]);
    f->zygote.mode = FAKE_ANSWER;
    assert_int_equal(submit(f, "x", 60000), OK);
    STEP_UNTIL(f, f->files[0].calls);
    assert_ended(&f->files[0], CAUSE_NONE);
    assert_int_equal(counts(f).crashed, 0);
}

static struct fake_worker *worker_with_a_file(struct fixture *f)
{
    struct fake_worker *k;

    steps(f);
    assert_int_equal(submit(f, "x", 60000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    k = fake_busy(&f->zygote);
    return k;
}

static void test_wrong_answers(void **state)
{
    struct fixture *f = *state;
    struct fake_worker *k;

    connect_zygote(f);
    /* A result that nobody asked for. */
    STEP_UNTIL(f, counts(f).alive == 1);
    struct wire_message m = {.kind = WIRE_RESULT, .result = {.id = 77}};

    assert_int_equal(wire_send(f->zygote.workers[0].fd, &m, -1), OK);
    STEP_UNTIL(f, counts(f).alive == 0);
    /* The id of another file. */
    k = worker_with_a_file(f);
    m.result.id = k->job.job.id + 1;
    assert_int_equal(wire_send(k->fd, &m, -1), OK);
    STEP_UNTIL(f, f->files[0].calls);
    assert_ended(&f->files[0], CAUSE_WORKER_CRASH);
    /* No message at all. */
    k = worker_with_a_file(f);
    assert_int_equal(send(k->fd, "\xff\xff", 2, MSG_NOSIGNAL), 2);
    STEP_UNTIL(f, f->files[1].calls);
    assert_ended(&f->files[1], CAUSE_WORKER_CRASH);
    /* A message of somebody else's. */
    k = worker_with_a_file(f);
    m = (struct wire_message){.kind = WIRE_FORK};
    assert_int_equal(wire_send(k->fd, &m, -1), OK);
    STEP_UNTIL(f, f->files[2].calls);
    assert_ended(&f->files[2], CAUSE_WORKER_CRASH);
    /* Who does that may do anything. */
    steps(f);
    assert_int_equal(f->zygote.n_kills, 4);
}

static void test_a_hanging_worker_times_out_and_is_killed_after_its_grace(void **state)
{
    struct fixture *f = *state;

    connect_zygote(f);
    assert_int_equal(submit(f, "slow", 1000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    uint32_t pid = fake_busy(&f->zygote)->pid;

    pass(f, 990);
    assert_int_equal(f->files[0].calls, 0);
    pass(f, 30);
    assert_ended(&f->files[0], CAUSE_TIMEOUT);
    assert_int_equal(f->zygote.n_kills, 0);
    assert_int_equal(counts(f).busy, 1);
    pass(f, 460);
    assert_int_equal(f->zygote.n_kills, 0);
    pass(f, 50);
    assert_int_equal(f->zygote.n_kills, 1);
    assert_int_equal(f->zygote.killed_pid, pid);
    assert_int_equal(counts(f).killed, 1);
    assert_int_equal(counts(f).alive, 0);
    assert_int_equal(f->files[0].calls, 1);
}

static void test_a_late_answer_keeps_the_worker(void **state)
{
    struct fixture *f = *state;

    connect_zygote(f);
    assert_int_equal(submit(f, "slow", 1000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    pass(f, 1100);
    assert_ended(&f->files[0], CAUSE_TIMEOUT);
    fake_answer(fake_busy(&f->zygote), &f->zygote.answer);
    pass(f, 1000);
    assert_int_equal(f->files[0].calls, 1);
    assert_int_equal(f->zygote.n_kills, 0);
    assert_int_equal(counts(f).alive, 1);
    assert_int_equal(counts(f).busy, 0);
}

static void test_a_long_sleep_of_the_machine(void **state)
{
    struct fixture *f = *state;

    connect_zygote(f);
    assert_int_equal(submit(f, "x", 1000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    f->clock.now_ms += 3600000; /* deadline and grace pass in the same look at the clock */
    steps(f);
    assert_ended(&f->files[0], CAUSE_TIMEOUT);
    assert_int_equal(counts(f).killed, 1);
}

static void test_no_worker_is_free_in_time(void **state)
{
    struct fixture *f = *state;

    f->settings.count = 1;
    workers_set_settings(f->workers, &f->settings);
    connect_zygote(f);
    assert_int_equal(submit(f, "slow", 60000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    assert_int_equal(submit(f, "x", 100), OK);
    pass(f, 120);
    assert_ended(&f->files[1], CAUSE_TIMEOUT);
    assert_int_equal(counts(f).queued, 0);
}

/* ---- the zygote ---- */

static void test_without_a_zygote_files_end_as_engine_down(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(submit(f, "x", 1000), OK);
    pass(f, 980);
    assert_int_equal(f->files[0].calls, 0);
    pass(f, 40);
    assert_ended(&f->files[0], CAUSE_ENGINE_DOWN);
    assert_int_equal(f->files[0].result.err, ERR_ENGINE);
}

static void test_files_wait_for_a_zygote(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(submit(f, "x", 1000), OK);
    pass(f, 500);
    connect_zygote(f);
    f->zygote.mode = FAKE_ANSWER;
    STEP_UNTIL(f, f->files[0].calls);
    assert_ended(&f->files[0], CAUSE_NONE);
}

static void test_a_zygote_that_forks_nothing(void **state)
{
    struct fixture *f = *state;

    connect_zygote(f);
    fake_die(&f->zygote.workers[0]);
    steps(f);
    f->zygote.refuses = true;
    unsigned before = f->zygote.n_forks;

    assert_int_equal(submit(f, "x", 2000), OK);
    pass(f, 1900);
    /* It is asked again, but not all the time. */
    assert_in_range(f->zygote.n_forks - before, 3, 5);
    pass(f, 200);
    assert_ended(&f->files[0], CAUSE_ENGINE_DOWN);
    assert_int_equal(submit(f, "x", 5000), OK);
    steps(f);
    f->zygote.refuses = false;
    f->zygote.mode = FAKE_ANSWER;
    pass(f, 600);
    assert_ended(&f->files[1], CAUSE_NONE);
}

static void test_a_silent_zygote(void **state)
{
    struct fixture *f = *state;

    f->zygote.channel = -1;
    workers_set_channel(f->workers, fake_open(&f->zygote));
    f->zygote.silent = true;
    step(f);
    assert_int_equal(submit(f, "x", 1000), OK);
    pass(f, 1020);
    assert_ended(&f->files[0], CAUSE_ENGINE_DOWN);
    /* What it forks at last is taken. */
    f->zygote.silent = false;
    f->zygote.mode = FAKE_ANSWER;
    fake_fork(&f->zygote, f->zygote.fork_id);
    STEP_UNTIL(f, counts(f).alive == 1);
    /* A worker for a question that was never asked is not. */
    fake_fork(&f->zygote, 4711);
    steps(f);
    assert_int_equal(counts(f).alive, 1);
    assert_int_equal(fake_alive(&f->zygote), 1);
}

static void test_the_zygote_is_lost_and_replaced(void **state)
{
    struct fixture *f = *state;
    struct fake_worker *k;

    f->settings.count = 1;
    workers_set_settings(f->workers, &f->settings);
    connect_zygote(f);
    assert_int_equal(submit(f, "first", 60000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    k = fake_busy(&f->zygote);
    assert_int_equal(submit(f, "second", 60000), OK);
    fake_close_channel(&f->zygote);
    steps(f);
    /* The worker outlives its zygote until its file is done. */
    assert_true(workers_are_up(f->workers));
    assert_int_equal(f->files[0].calls, 0);
    fake_answer(k, &f->zygote.answer);
    STEP_UNTIL(f, f->files[0].calls);
    assert_ended(&f->files[0], CAUSE_NONE);
    steps(f);
    assert_int_equal(fake_alive(&f->zygote), 0);
    assert_false(workers_are_up(f->workers));
    assert_int_equal(f->files[1].calls, 0);
    workers_set_channel(f->workers, fake_open(&f->successor));
    f->successor.mode = FAKE_ANSWER;
    STEP_UNTIL(f, f->files[1].calls);
    assert_ended(&f->files[1], CAUSE_NONE);
}

static void test_a_new_zygote_takes_over_at_once(void **state)
{
    struct fixture *f = *state;

    connect_zygote(f);
    STEP_UNTIL(f, counts(f).alive == 1);
    workers_set_channel(f->workers, fake_open(&f->successor));
    f->successor.mode = FAKE_ANSWER;
    steps(f);
    assert_int_equal(f->zygote.channel, -1);
    assert_int_equal(fake_alive(&f->zygote), 0);
    assert_int_equal(submit(f, "x", 1000), OK);
    STEP_UNTIL(f, f->files[0].calls);
    assert_ended(&f->files[0], CAUSE_NONE);
    assert_int_equal(f->zygote.n_jobs, 0);
    workers_set_channel(f->workers, -1);
    steps(f);
    assert_false(workers_are_up(f->workers));
}

static void test_a_hanging_worker_of_a_lost_zygote(void **state)
{
    struct fixture *f = *state;

    connect_zygote(f);
    assert_int_equal(submit(f, "x", 1000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    workers_set_channel(f->workers, fake_open(&f->successor));
    pass(f, 1600);
    assert_ended(&f->files[0], CAUSE_TIMEOUT);
    /* Its pid means nothing to the new one. */
    assert_int_equal(f->successor.n_kills, 0);
    assert_int_equal(fake_alive(&f->zygote), 0);
}

static void test_what_a_zygote_says_of_the_dead_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct wire_message m = {
        .kind = WIRE_DIED, .died = {.pid = 1000, .signal = 11}
    };

    connect_zygote(f);
    STEP_UNTIL(f, counts(f).alive == 1);
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(wire_send(f->zygote.channel, &m, -1), OK);
    steps(f);
    assert_int_equal(counts(f).alive, 1);
    assert_int_equal(send(f->zygote.channel, "?", 1, MSG_NOSIGNAL), 1);
    steps(f);
    assert_int_equal(f->zygote.channel, -1);
    assert_false(workers_are_up(f->workers));
}

/* ---- leaving ---- */

static void test_cancel_in_each_state(void **state)
{
    struct fixture *f = *state;

    /* Waiting. */
    assert_int_equal(submit(f, "x", 1000), OK);
    workers_cancel(f->files[0].job);
    assert_int_equal(counts(f).queued, 0);
    /* With a worker: it is inspected to the end. */
    connect_zygote(f);
    assert_int_equal(submit(f, "x", 1000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    workers_cancel(f->files[1].job);
    steps(f);
    assert_true(fake_is_busy(&f->zygote));
    assert_int_equal(counts(f).busy, 1);
    fake_answer(fake_busy(&f->zygote), &f->zygote.answer);
    steps(f);
    assert_int_equal(counts(f).busy, 0);
    /* With a worker that dies after it. */
    assert_int_equal(submit(f, "x", 1000), OK);
    STEP_UNTIL(f, fake_is_busy(&f->zygote));
    workers_cancel(f->files[2].job);
    fake_die(fake_busy(&f->zygote));
    steps(f);
    /* Ended, but not told yet. */
    workers_set_channel(f->workers, -1);
    assert_int_equal(submit(f, "x", 10), OK);
    assert_int_equal(submit(f, "x", 10), OK);
    workers_free(f->workers);
    workers_cancel(f->files[3].job);
    assert_int_equal(workers_new(f->loop, &f->settings, &f->workers), OK);
    pass(f, 2000);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(f->files[i].calls, 0);
    assert_ended(&f->files[4], CAUSE_ENGINE_DOWN);
}

static void test_free_ends_every_file(void **state)
{
    struct fixture *f = *state;

    connect_zygote(f);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(submit(f, "x", 1000), OK);
    STEP_UNTIL(f, counts(f).busy == 2);
    f->in_call = true;
    workers_free(f->workers);
    f->in_call = false;
    f->workers = NULL;
    steps(f);
    for (unsigned i = 0; i < 4; i++) {
        assert_ended(&f->files[i], CAUSE_ENGINE_DOWN);
        assert_int_equal(f->files[i].result.err, ERR_DRAINING);
    }
    assert_int_equal(fake_alive(&f->zygote), 0);
    assert_int_equal(f->zygote.channel, -1);
}

static void test_free_inside_a_callback(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(submit(f, "x", 10), OK);
    assert_int_equal(submit(f, "x", 10), OK);
    assert_int_equal(submit(f, "x", 1000), OK);
    f->free_in_callback = true;
    pass(f, 50);
    for (unsigned i = 0; i < 3; i++)
        assert_ended(&f->files[i], CAUSE_ENGINE_DOWN);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_worker_waits_for_the_first_file),
        TEST(test_a_file_reaches_the_worker_whole),
        TEST(test_hostile_names_are_cut),
        TEST(test_files_are_served_in_order_by_as_many_workers_as_allowed),
        TEST(test_reuse_replaces_workers),
        TEST(test_fewer_workers_by_new_settings),
        TEST(test_queue_full),
        TEST(test_a_full_queue_is_shared),
        TEST(test_clients_have_turns),
        TEST(test_a_crash_costs_one_file),
        TEST(test_an_idle_worker_that_is_gone_costs_no_file),
        TEST(test_wrong_answers),
        TEST(test_a_hanging_worker_times_out_and_is_killed_after_its_grace),
        TEST(test_a_late_answer_keeps_the_worker),
        TEST(test_a_long_sleep_of_the_machine),
        TEST(test_no_worker_is_free_in_time),
        TEST(test_without_a_zygote_files_end_as_engine_down),
        TEST(test_files_wait_for_a_zygote),
        TEST(test_a_zygote_that_forks_nothing),
        TEST(test_a_silent_zygote),
        TEST(test_the_zygote_is_lost_and_replaced),
        TEST(test_a_new_zygote_takes_over_at_once),
        TEST(test_a_hanging_worker_of_a_lost_zygote),
        TEST(test_what_a_zygote_says_of_the_dead_changes_nothing),
        TEST(test_cancel_in_each_state),
        TEST(test_free_ends_every_file),
        TEST(test_free_inside_a_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
