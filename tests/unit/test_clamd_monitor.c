/* SPDX-License-Identifier: Apache-2.0 */
/* adapt/clamd.h, the monitor, against a daemon that the test plays: what it finds out, and when it
 * looks again. */
#include "test_fake_clamd.h"

#include "adapt/clamd_int.h"
#include "base/log.h"

struct fixture {
    struct test_clock clock;
    struct loop *loop;
    struct clamd_settings settings;
    struct clamd_health *health;
    struct clamd_monitor *monitor;
    struct fake_daemon daemon;
    struct timer pace;
    unsigned n_changes;
};

static void no_fire(struct timer *t)
{
    (void)t;
}

static struct fixture *open_fixture(bool tcp)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    log_set_level(LOG_LEVEL_ERROR);
    test_clock_init(&f->clock, 1000000);
    f->loop = test_loop(&f->clock.clock);
    daemon_open(&f->daemon, tcp);
    f->settings = (struct clamd_settings){.address = f->daemon.address,
                                          .scan_max = tcp ? 256u << 10 : 100u << 20,
                                          .check_ms = 10000,
                                          .self_test_ms = 2000};
    f->pace.fire = no_fire;
    timer_set(f->loop, &f->pace, UINT64_MAX / 2);
    assert_int_equal(clamd_health_new(&f->health), OK);
    return f;
}

static int setup(void **state)
{
    *state = open_fixture(false);
    return 0;
}

static int setup_tcp(void **state)
{
    *state = open_fixture(true);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    clamd_monitor_free(f->monitor);
    test_settle(f->loop);
    timer_clear(f->loop, &f->pace);
    daemon_done(&f->daemon);
    loop_free(f->loop);
    clamd_health_unref(f->health);
    free(f);
    return 0;
}

static void on_changed(void *arg)
{
    ((struct fixture *)arg)->n_changes++;
}

static struct clamd_health_report health(const struct fixture *f)
{
    struct clamd_health_report r;

    clamd_health_read(f->health, &r);
    return r;
}

#define STEP_UNTIL(f, condition)                               \
    do {                                                       \
        unsigned turns_ = 0;                                   \
        while (!(condition)) {                                 \
            if (++turns_ > 5000)                               \
                fail_msg("never became true: %s", #condition); \
            daemon_step(&(f)->daemon);                         \
            (void)loop_turn((f)->loop, turns_ > 10);           \
        }                                                      \
    } while (0)

static void steps(struct fixture *f)
{
    for (unsigned i = 0; i < 10; i++) {
        daemon_step(&f->daemon);
        test_settle(f->loop);
    }
}

static void pass(struct fixture *f, uint64_t ms)
{
    while (ms > 0) {
        uint64_t n = ms < 8 ? ms : 8;

        f->clock.now_ms += n;
        ms -= n;
        daemon_step(&f->daemon);
        (void)loop_turn(f->loop, false);
    }
    steps(f);
}

static void start(struct fixture *f)
{
    assert_int_equal(
        clamd_monitor_new(f->loop, &f->settings, f->health, on_changed, f, &f->monitor), OK);
    assert_int_equal(f->n_changes, 0);
}

/* ---- what it finds out ---- */

static void test_a_good_daemon(void **state)
{
    struct fixture *f = *state;
    struct clamd_health_report r = health(f);

    assert_false(r.up);
    assert_string_equal(r.why, "");
    f->daemon.look_max = 100u << 20;
    start(f);
    STEP_UNTIL(f, f->n_changes > 0);
    r = health(f);
    assert_true(r.up);
    assert_false(r.silent_limits);
    assert_int_equal(r.transport, CLAMD_FILDES);
    assert_int_equal(r.scan_max, 100u << 20);
    assert_string_equal(r.version, "ClamAV 1.4.6/1/now");
    assert_string_equal(r.why, "");
    assert_true(r.since_wall_ms >= 1000000);
    assert_int_equal(daemon_open_peers(&f->daemon), 1);
    steps(f);
    assert_int_equal(daemon_open_peers(&f->daemon), 1); /* by which it notices the daemon's end */
}

static void test_over_tcp(void **state)
{
    struct fixture *f = *state;

    start(f);
    STEP_UNTIL(f, f->n_changes > 0);
    assert_true(health(f).up);
    assert_int_equal(health(f).transport, CLAMD_INSTREAM);
    assert_int_equal(health(f).scan_max, 256u << 10);
    assert_int_equal(f->daemon.n_by_fd, 0);
}

/* As a stream, too: the file that shows it is small. */
static void test_silent_over_tcp(void **state)
{
    struct fixture *f = *state;

    f->daemon.alerts = false;
    start(f);
    STEP_UNTIL(f, f->n_changes > 0);
    assert_true(health(f).up);
    assert_true(health(f).silent_limits);
    daemon_die(&f->daemon);
    f->daemon.alerts = true;
    f->daemon.n_peers = 0;
    daemon_listen(&f->daemon);
    STEP_UNTIL(f, f->n_changes > 1);
    for (unsigned i = 0; i < 100 && (!health(f).up || health(f).silent_limits); i++)
        pass(f, 100);
    assert_true(health(f).up);
    assert_false(health(f).silent_limits); /* measured anew */
}

/* Until it has been looked at, nobody knows what the one that came back calls clean. */
static void test_started_anew_it_is_not_known(void **state)
{
    struct fixture *f = *state;

    start(f);
    STEP_UNTIL(f, f->n_changes > 0);
    assert_true(health(f).up);
    assert_false(health(f).unmeasured);
    daemon_die(&f->daemon);
    f->daemon.n_peers = 0;
    daemon_listen(&f->daemon);
    STEP_UNTIL(f, health(f).unmeasured);
    STEP_UNTIL(f, f->n_changes > 1);
    for (unsigned i = 0; i < 100 && (!health(f).up || health(f).unmeasured); i++)
        pass(f, 100);
    assert_true(health(f).up);
    assert_false(health(f).unmeasured);
}

static void test_transports(void **state)
{
    struct fixture *f = *state;

    f->daemon.refuses_fds = true;
    f->settings.scan_max = 128u << 10;
    start(f);
    STEP_UNTIL(f, f->n_changes > 0);
    assert_true(health(f).up);
    assert_int_equal(health(f).transport, CLAMD_INSTREAM);
    clamd_monitor_free(f->monitor);
    f->settings.transport = CLAMD_FILDES;
    f->n_changes = 0;
    start(f);
    STEP_UNTIL(f, f->n_changes > 0);
    assert_false(health(f).up);
    assert_non_null(strstr(health(f).why, "descriptor"));
}

static void test_limits(void **state)
{
    static const struct {
        uint64_t look_max;
        bool alerts;
        uint64_t scan_max;
    } rows[] = {
        {200u << 20, true,  100u << 20        },
        {100u << 20, false, 100u << 20        },
        {99u << 20,  true,  50u << 20         },
        {99u << 20,  false, 50u << 20         },
        {25u << 20,  false, 25u << 20         },
        {1u << 20,   false, (100u << 20) / 128},
        {65536,      false, 65536             },
        {70000,      false, 65536             },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct clamd_health_report r;

        f->daemon.look_max = rows[i].look_max;
        f->daemon.alerts = rows[i].alerts;
        clamd_monitor_free(f->monitor);
        f->n_changes = 0;
        start(f);
        STEP_UNTIL(f, f->n_changes > 0);
        r = health(f);
        if (!r.up || r.scan_max != rows[i].scan_max || r.silent_limits == rows[i].alerts)
            fail_msg("row %zu: up %d scan_max %llu silent %d", i, r.up,
                     (unsigned long long)r.scan_max, r.silent_limits);
        clamd_monitor_free(f->monitor);
        f->monitor = NULL;
        steps(f);
        assert_int_equal(daemon_open_peers(&f->daemon), 0);
        f->daemon.n_peers = 0;
    }
}

static void test_a_signature_of_the_bare_file_measures_nothing(void **state)
{
    struct fixture *f = *state;

    f->daemon.bare_only = true;
    start(f);
    STEP_UNTIL(f, f->n_changes > 0);
    assert_true(health(f).up);
    assert_int_equal(health(f).scan_max, 100u << 20);
}

static void test_what_is_not_up(void **state)
{
    static const struct {
        const char *name;
        bool no_signature;
        const char *answer, *raw, *version, *why;
    } rows[] = {
        {"an empty database", true,  NULL,                                               NULL,      "1",         "database"},
        {"errors",            false, "Can't do that ERROR",                              NULL,      "1",         "Can't"   },
        {"limits only",       false, "fd[1]: Heuristics.Limits.Exceeded.MaxFiles FOUND", NULL,      "1",
         "Limits"                                                                                                          },
        {"garbage",           false, NULL,                                               "garbage", "1",         "protocol"},
        {"no version",        false, NULL,                                               NULL,      "is\na pig", "protocol"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct clamd_health_report r;

        clamd_monitor_free(f->monitor);
        f->daemon.has_no_signature = rows[i].no_signature;
        f->daemon.answer = rows[i].answer;
        f->daemon.raw = rows[i].raw;
        f->daemon.version = rows[i].version;
        f->n_changes = 0;
        start(f);
        STEP_UNTIL(f, f->n_changes > 0);
        r = health(f);
        if (r.up || !strstr(r.why, rows[i].why))
            fail_msg("%s: up %d, '%s'", rows[i].name, r.up, r.why);
        steps(f);
        f->daemon.n_peers = 0;
    }
}

/* ---- when it looks again ---- */

static void test_it_asks_again_and_tells_of_news_only(void **state)
{
    struct fixture *f = *state;
    unsigned files;

    start(f);
    STEP_UNTIL(f, f->n_changes == 1);
    files = f->daemon.n_files;
    assert_int_equal(f->daemon.n_versions, 1);
    pass(f, 10100);
    assert_int_equal(f->daemon.n_versions, 2);
    assert_int_equal(f->daemon.n_files, files); /* the daemon's log stays quiet */
    assert_int_equal(f->n_changes, 1);
    f->daemon.version = "1.4.6/2/later";
    f->daemon.look_max = 60u << 20;
    pass(f, 10100);
    STEP_UNTIL(f, f->n_changes == 2);
    assert_string_equal(health(f).version, "ClamAV 1.4.6/2/later");
    assert_int_equal(health(f).scan_max, 50u << 20);
    assert_true(f->daemon.n_files > files);
}

static void test_it_goes_and_comes(void **state)
{
    struct fixture *f = *state;
    uint64_t since;
    unsigned changes;

    start(f);
    STEP_UNTIL(f, f->n_changes == 1);
    since = health(f).since_wall_ms;
    daemon_die(&f->daemon);
    steps(f);
    clamd_health_suspect(f->health); /* a file met it */
    pass(f, 120);
    STEP_UNTIL(f, f->n_changes == 2);
    assert_false(health(f).up);
    assert_non_null(strstr(health(f).why, "connect"));
    assert_true(health(f).since_wall_ms >= since);
    since = health(f).since_wall_ms;
    pass(f, 3000);
    assert_int_equal(health(f).since_wall_ms, since);
    changes = f->n_changes;
    assert_int_equal(changes, 2); /* the same reason is no news */
    f->daemon.n_peers = 0;
    daemon_listen(&f->daemon);
    pass(f, 5100); /* not check_ms */
    STEP_UNTIL(f, f->n_changes == 3);
    assert_true(health(f).up);
    assert_true(health(f).since_wall_ms > since);
}

static void refuse(struct fixture *f, const char *text)
{
    const struct clamd_refusal r = {
        text, {.code = "level-too-low", .text = "static"}
    };

    clamd_monitor_refuse(f->monitor, text ? &r : NULL);
}

/* The policy of the machine may come before the daemon, and while it is up. */
static void test_it_must_not_be_asked(void **state)
{
    static const struct clamd_refusal from_the_start = {
        "not asked: line 3", {.code = "level-too-low", .text = "static"}
    };
    struct fixture *f = *state;

    f->settings.refused = &from_the_start;
    start(f);
    STEP_UNTIL(f, f->n_changes == 1);
    f->settings.refused = NULL;
    for (unsigned i = 0; i < 2; i++) {
        struct clamd_health_report r = health(f);

        assert_false(r.up);
        assert_true(r.refused);
        assert_string_equal(r.why, "not asked: line 3");
        assert_string_equal(r.refusal.code, "level-too-low");
        clamd_health_suspect(f->health);
        pass(f, 30000);
        assert_int_equal(daemon_open_peers(&f->daemon), 0);
        assert_int_equal(f->daemon.n_versions, i);
        assert_int_equal(f->n_changes, 1 + 2 * i);
        refuse(f, "not asked: line 3"); /* the same again */
        steps(f);
        assert_int_equal(f->n_changes, 1 + 2 * i);
        refuse(f, NULL);
        STEP_UNTIL(f, f->n_changes == 2 + 2 * i);
        r = health(f);
        assert_true(r.up);
        assert_false(r.refused);
        assert_int_equal(f->daemon.n_versions, i + 1);
        refuse(f, NULL); /* nothing new */
        refuse(f, "not asked: line 3");
        STEP_UNTIL(f, f->n_changes == 3 + 2 * i);
    }
}

/* In the middle of a look, and of one that is down for a reason of its own. */
static void test_it_must_not_be_asked_any_more(void **state)
{
    struct fixture *f = *state;

    f->daemon.mute = true;
    start(f);
    STEP_UNTIL(f, daemon_open_peers(&f->daemon) == 1);
    refuse(f, "x");
    STEP_UNTIL(f, daemon_open_peers(&f->daemon) == 0);
    assert_true(health(f).refused);
    refuse(f, NULL);
    daemon_die(&f->daemon);
    f->daemon.n_peers = 0;
    pass(f, 3000);
    assert_false(health(f).refused);
    assert_false(health(f).up);
    refuse(f, "y");
    assert_string_equal(health(f).why, "y");
    f->daemon.mute = false;
    daemon_listen(&f->daemon);
    pass(f, 10000);
    assert_int_equal(daemon_open_peers(&f->daemon), 0);
    refuse(f, NULL);
    STEP_UNTIL(f, health(f).up);
}

/* Between two looks, and with the same version: what it knows may be other all the same. */
static void test_a_quick_restart_is_noticed(void **state)
{
    struct fixture *f = *state;
    unsigned files;

    start(f);
    STEP_UNTIL(f, f->n_changes == 1);
    assert_int_equal(health(f).lives, 0);
    files = f->daemon.n_files;
    daemon_die(&f->daemon);
    f->daemon.n_peers = 0;
    daemon_listen(&f->daemon);
    STEP_UNTIL(f, f->n_changes == 2);
    assert_true(health(f).up);
    assert_int_equal(health(f).lives, 1);
    assert_true(f->daemon.n_files > files); /* it is tested again */
}

static void test_a_suspicion_without_ground(void **state)
{
    struct fixture *f = *state;

    start(f);
    STEP_UNTIL(f, f->n_changes == 1);
    steps(f);
    pass(f, 1000);
    for (unsigned i = 0; i < 10; i++) {
        clamd_health_suspect(f->health);
        steps(f);
    }
    assert_int_equal(f->daemon.n_versions, 2); /* at once, and not again and again */
    pass(f, 150);
    assert_int_equal(f->daemon.n_versions, 3);
    pass(f, 1000);
    assert_int_equal(f->daemon.n_versions, 3);
    assert_int_equal(f->n_changes, 1);
}

static void test_an_emptied_database_is_found_on_suspicion(void **state)
{
    struct fixture *f = *state;

    start(f);
    STEP_UNTIL(f, f->n_changes == 1);
    steps(f);
    f->daemon.has_no_signature = true;
    clamd_health_suspect(f->health);
    pass(f, 120);
    STEP_UNTIL(f, f->n_changes == 2);
    assert_false(health(f).up);
}

static void test_it_hangs(void **state)
{
    struct fixture *f = *state;

    f->daemon.mute = true;
    start(f);
    steps(f);
    pass(f, 1900);
    assert_int_equal(f->n_changes, 0);
    pass(f, 200);
    assert_int_equal(f->n_changes, 1);
    assert_false(health(f).up);
    assert_string_equal(health(f).why, "it does not answer");
    f->daemon.mute = false;
    pass(f, 300);
    STEP_UNTIL(f, f->n_changes == 2);
    assert_true(health(f).up);
}

static void test_it_dies_while_it_is_measured(void **state)
{
    struct fixture *f = *state;

    f->daemon.look_max = 1000000;
    start(f);
    STEP_UNTIL(f, f->daemon.n_files == 4);
    daemon_die(&f->daemon);
    steps(f);
    assert_int_equal(f->n_changes, 1);
    assert_false(health(f).up);
}

static void test_free_while_it_asks(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 40; i++) {
        start(f);
        for (unsigned k = 0; k < i; k++) {
            daemon_step(&f->daemon);
            (void)loop_turn(f->loop, false);
        }
        clamd_health_suspect(f->health);
        clamd_monitor_free(f->monitor);
        f->monitor = NULL;
        clamd_health_suspect(f->health);
        f->n_changes = 0;
        steps(f);
        assert_int_equal(f->n_changes, 0);
        f->daemon.n_peers = 0;
    }
}

#define TEST(t)     cmocka_unit_test_setup_teardown(t, setup, teardown)
#define TEST_TCP(t) cmocka_unit_test_setup_teardown(t, setup_tcp, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_good_daemon),
        TEST_TCP(test_over_tcp),
        TEST_TCP(test_silent_over_tcp),
        TEST(test_transports),
        TEST(test_limits),
        TEST(test_a_signature_of_the_bare_file_measures_nothing),
        TEST(test_what_is_not_up),
        TEST(test_it_asks_again_and_tells_of_news_only),
        TEST(test_it_goes_and_comes),
        TEST(test_it_must_not_be_asked),
        TEST(test_it_must_not_be_asked_any_more),
        TEST(test_a_quick_restart_is_noticed),
        TEST(test_started_anew_it_is_not_known),
        TEST(test_a_suspicion_without_ground),
        TEST(test_an_emptied_database_is_found_on_suspicion),
        TEST(test_it_hangs),
        TEST(test_it_dies_while_it_is_measured),
        TEST(test_free_while_it_asks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
