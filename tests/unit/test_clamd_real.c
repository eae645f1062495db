/* SPDX-License-Identifier: Apache-2.0 */
/* adapt/clamd.h against ClamAV's own daemon, with a database of one signature. Skipped when it is
 * not installed; with CI=true that is a failure. */
#include "test_net.h"

#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "adapt/clamd_int.h"
#include "base/buf.h"
#include "base/log.h"

#define CLAMD     "/usr/sbin/clamd"
#define EICAR_1   "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-"
#define EICAR_2   "ANTIVIRUS-TEST-FILE!$H+H*"
#define SIGNATURE "Sallyport.Test.EICAR"

struct fixture {
    char dir[64];
    unsigned port;
    pid_t pid; /* 0: not running */
    struct loop *loop;
    struct clamd_settings settings;
    struct clamd_health *health;
    struct clamd_monitor *monitor;
    struct clamd *clamd;
    struct timer pace;
    unsigned n_changes, n_answers;
    struct clamd_answer answer;
};

/* ---- the daemon ---- */

static void write_file(const struct fixture *f, const char *name, struct buf *text)
{
    char path[128];
    FILE *out;

    (void)snprintf(path, sizeof path, "%s/%s", f->dir, name);
    out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(buf_cstr(text), out) >= 0);
    assert_int_equal(fclose(out), 0);
    buf_done(text);
}

static void write_database(const struct fixture *f)
{
    static const char *const halves[] = {EICAR_1, EICAR_2};
    struct buf b;

    buf_init(&b, 0);
    buf_text(&b, SIGNATURE ":0:0:");
    for (size_t i = 0; i < 2; i++)
        for (const char *p = halves[i]; *p; p++)
            buf_fmt(&b, "%02x", (unsigned)(unsigned char)*p);
    buf_text(&b, "\n");
    write_file(f, "test.ndb", &b);
}

static unsigned free_port(void)
{
    struct address a = test_loopback(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a.ss, a.len), 0);
    a = test_local_address(fd);
    (void)close(fd);
    return address_port(&a);
}

static void write_config(const struct fixture *f, const char *more)
{
    struct buf b;

    buf_init(&b, 0);
    buf_fmt(&b,
            "LocalSocket %s/sock\nFixStaleSocket yes\nTCPSocket %u\nTCPAddr 127.0.0.1\n"
            "DatabaseDirectory %s\nTemporaryDirectory %s\nForeground yes\nSelfCheck 3600\n%s",
            f->dir, f->port, f->dir, f->dir, more);
    write_file(f, "clamd.conf", &b);
}

static void start_daemon(struct fixture *f, const char *more)
{
    char config[128], log[128];

    write_config(f, more);
    (void)snprintf(config, sizeof config, "%s/clamd.conf", f->dir);
    (void)snprintf(log, sizeof log, "%s/output.log", f->dir);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        (void)dup2(out, STDOUT_FILENO);
        (void)dup2(out, STDERR_FILENO);
        (void)execl(CLAMD, "clamd", "-F", "-c", config, (char *)NULL);
        _exit(127);
    }
}

static void kill_daemon(struct fixture *f)
{
    if (f->pid == 0)
        return;
    (void)kill(f->pid, SIGKILL);
    (void)waitpid(f->pid, NULL, 0);
    f->pid = 0;
}

/* ---- us ---- */

static void no_fire(struct timer *t)
{
    (void)t;
}

static void on_changed(void *arg)
{
    ((struct fixture *)arg)->n_changes++;
}

static void stop_engine(struct fixture *f)
{
    clamd_free(f->clamd);
    clamd_monitor_free(f->monitor);
    clamd_health_unref(f->health);
    test_settle(f->loop);
    f->clamd = NULL;
    f->monitor = NULL;
    f->health = NULL;
}

static struct clamd_health_report health(const struct fixture *f)
{
    struct clamd_health_report r;

    clamd_health_read(f->health, &r);
    return r;
}

/* Turns until |*flag|, by the real clock. */
static void turn_until(struct fixture *f, const unsigned *count, unsigned at_least)
{
    uint64_t end = clock_mono_ms(&clock_system) + 30000;

    while (*count < at_least) {
        if (clock_mono_ms(&clock_system) > end)
            fail_msg("the daemon did not answer within 30 s");
        timer_set(f->loop, &f->pace, loop_now_ms(f->loop) + 100);
        (void)loop_turn(f->loop, true);
    }
}

static void turn_until_up(struct fixture *f)
{
    for (unsigned i = 0; i < 100 && !health(f).up; i++)
        turn_until(f, &f->n_changes, f->n_changes + 1);
    if (!health(f).up)
        fail_msg("never up: %s", health(f).why);
}

static void start_engine(struct fixture *f, bool tcp, uint64_t scan_max)
{
    char text[128];

    if (tcp)
        (void)snprintf(text, sizeof text, "127.0.0.1:%u", f->port);
    else
        (void)snprintf(text, sizeof text, "unix:%s/sock", f->dir);
    f->settings = (struct clamd_settings){.connections_max = 2,
                                          .queue_max = 10,
                                          .scan_max = scan_max,
                                          .check_ms = 60000,
                                          .self_test_ms = 20000};
    assert_int_equal(address_parse(span_of(text), &f->settings.address), OK);
    f->n_changes = 0;
    assert_int_equal(clamd_health_new(&f->health), OK);
    assert_int_equal(
        clamd_monitor_new(f->loop, &f->settings, f->health, on_changed, f, &f->monitor), OK);
    assert_int_equal(clamd_new(f->loop, &f->settings, f->health, &f->clamd), OK);
    turn_until_up(f);
}

static void on_done(void *arg, const struct clamd_answer *a)
{
    struct fixture *f = arg;

    f->answer = *a;
    f->n_answers++;
}

/* The test file behind |off| other bytes, and zeros up to |size|. */
static int file_with_eicar(uint64_t off, uint64_t size)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(pwrite(fd, EICAR_1 EICAR_2, 68, (off_t)off), 68);
    return fd;
}

static const struct clamd_answer *scan(struct fixture *f, int fd, uint64_t off, uint64_t len,
                                       bool whole)
{
    struct clamd_request r = {.fd = fd,
                              .off = off,
                              .len = len,
                              .whole = whole,
                              .deadline_ms = loop_now_ms(f->loop) + 20000,
                              .done = on_done,
                              .arg = f};
    struct clamd_job *j;

    assert_int_equal(lseek(fd, 0, SEEK_END) >= 0, 1); /* the offset must not matter */
    assert_int_equal(clamd_submit(f->clamd, &r, &j), OK);
    turn_until(f, &f->n_answers, f->n_answers + 1);
    (void)close(fd);
    return &f->answer;
}

static void assert_found(const struct clamd_answer *a)
{
    if (a->verdict != CLAMD_FOUND)
        fail_msg("verdict %d: %s", (int)a->verdict, a->text);
    assert_string_equal(a->text, SIGNATURE ".UNOFFICIAL");
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    log_set_level(LOG_LEVEL_ERROR);
    if (access(CLAMD, X_OK) != 0) {
        const char *ci = getenv("CI");

        free(f);
        if (ci && strcmp(ci, "true") == 0)
            fail_msg(CLAMD " is not installed (Debian package clamav-daemon)");
        *state = NULL;
        return 0;
    }
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/sallyport-clamd-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->port = free_port();
    write_database(f);
    f->loop = test_loop(&clock_system);
    f->pace.fire = no_fire;
    *state = f;
    return 0;
}

/* The daemon's temporary files, too: it is killed before it removes them. */
static void remove_files(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;

    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), e->d_name, 0);
    assert_int_equal(closedir(dir), 0);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (!f)
        return 0;
    stop_engine(f);
    kill_daemon(f);
    timer_clear(f->loop, &f->pace);
    loop_free(f->loop);
    remove_files(f->dir);
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

static struct fixture *need(void **state)
{
    if (!*state)
        skip();
    return *state;
}

static void test_by_descriptor(void **state)
{
    struct fixture *f = need(state);

    start_daemon(f, "AlertExceedsMax yes\n");
    start_engine(f, false, 50u << 20);
    assert_int_equal(health(f).transport, CLAMD_FILDES);
    assert_int_equal(health(f).scan_max, 50u << 20);
    assert_false(health(f).silent_limits);
    assert_int_equal(strncmp(health(f).version, "ClamAV ", 7), 0);
    assert_found(scan(f, file_with_eicar(0, 68), 0, 68, true));
    assert_found(scan(f, file_with_eicar(0, 20u << 20), 0, 20u << 20, true));
    assert_int_equal(scan(f, file_with_eicar(1, 1000), 0, 1000, true)->verdict, CLAMD_CLEAN);
    /* ranges: one that is copied, one that is streamed over the same session, ones that miss it */
    assert_found(scan(f, file_with_eicar(5000, 9000), 5000, 1000, false));
    assert_found(scan(f, file_with_eicar(5000, 3u << 20), 5000, 2u << 20, false));
    assert_int_equal(scan(f, file_with_eicar(5000, 9000), 5001, 1000, false)->verdict, CLAMD_CLEAN);
    assert_int_equal(scan(f, file_with_eicar(5000, 9000), 0, 5000, false)->verdict, CLAMD_CLEAN);
    struct clamd_counts c;

    clamd_count(f->clamd, &c);
    assert_int_equal(c.reconnects, 0);
    assert_int_equal(c.idle, 1);
}

static void test_as_a_stream_over_tcp(void **state)
{
    struct fixture *f = need(state);

    start_daemon(f, "StreamMaxLength 4M\nAlertExceedsMax yes\n");
    start_engine(f, true, 10u << 20);
    assert_int_equal(health(f).transport, CLAMD_INSTREAM);
    assert_int_equal(health(f).scan_max, (10u << 20) / 4);
    assert_found(scan(f, file_with_eicar(0, 2u << 20), 0, 2u << 20, true));
    assert_found(scan(f, file_with_eicar(7, 2u << 20), 7, 1u << 20, false));
    assert_int_equal(scan(f, file_with_eicar(1, 1000), 0, 1000, true)->verdict, CLAMD_CLEAN);
}

/* The daemon says OK to what it did not look into; the self-test sees it. */
static void test_silent_limits(void **state)
{
    struct fixture *f = need(state);

    start_daemon(f, "MaxFileSize 25M\n");
    start_engine(f, false, 100u << 20);
    assert_true(health(f).silent_limits);
    assert_int_equal(health(f).scan_max, 25u << 20);
    assert_found(scan(f, file_with_eicar(0, 25u << 20), 0, 25u << 20, true));
    assert_int_equal(scan(f, file_with_eicar(0, 30u << 20), 0, 30u << 20, true)->verdict,
                     CLAMD_LIMIT);
}

/* Believed only where the configuration says so. */
static void test_ok_of_a_silent_daemon(void **state)
{
    struct fixture *f = need(state);

    start_daemon(f, "");
    for (unsigned i = 0; i < 3; i++) {
        start_engine(f, i == 1, 1u << 20);
        assert_true(health(f).silent_limits);
        assert_found(scan(f, file_with_eicar(0, 68), 0, 68, true));
        assert_int_equal(scan(f, file_with_eicar(1, 1000), 0, 1000, true)->verdict, CLAMD_LIMIT);
        stop_engine(f);
    }
}

static void test_archives_that_are_left_alone(void **state)
{
    struct fixture *f = need(state);

    start_daemon(f, "AlertExceedsMax yes\nScanArchive no\n");
    start_engine(f, false, 1u << 20);
    assert_true(health(f).silent_limits);
}

/* The deepest that it may be told to go, and no limits at all: the nest is over that, each time. */
static void test_the_nest_is_deep_enough(void **state)
{
    struct fixture *f = need(state);

    start_daemon(f, "AlertExceedsMax yes\nMaxRecursion 100\nMaxFiles 0\nMaxScanSize 0\n");
    for (unsigned i = 0; i < 3; i++) {
        start_engine(f, i == 1, 1u << 20);
        assert_false(health(f).silent_limits);
        stop_engine(f);
    }
}

static void test_over_the_stream_limit_it_says_so(void **state)
{
    struct fixture *f = need(state);
    struct clamd_health_report r;

    start_daemon(f, "StreamMaxLength 4M\n");
    start_engine(f, true, 10u << 20);
    r = health(f);
    r.scan_max = 10u << 20; /* as if nobody had measured */
    clamd_health_write(f->health, &r);
    assert_int_equal(scan(f, file_with_eicar(0, 8u << 20), 0, 8u << 20, true)->verdict,
                     CLAMD_LIMIT);
    assert_string_equal(f->answer.text, "StreamMaxLength");
    assert_found(scan(f, file_with_eicar(0, 1u << 20), 0, 1u << 20, true));
}

static void test_killed_and_started_anew(void **state)
{
    struct fixture *f = need(state);

    start_daemon(f, "");
    start_engine(f, false, 1u << 20);
    assert_found(scan(f, file_with_eicar(0, 68), 0, 68, true));
    kill_daemon(f);
    assert_int_equal(scan(f, file_with_eicar(0, 68), 0, 68, true)->verdict, CLAMD_ERROR);
    for (unsigned i = 0; i < 100 && health(f).up; i++)
        turn_until(f, &f->n_changes, f->n_changes + 1);
    assert_false(health(f).up);
    assert_int_equal(f->answer.err, ERR_UPSTREAM);
    start_daemon(f, "");
    turn_until_up(f);
    assert_found(scan(f, file_with_eicar(0, 68), 0, 68, true));
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_by_descriptor),
        TEST(test_as_a_stream_over_tcp),
        TEST(test_ok_of_a_silent_daemon),
        TEST(test_archives_that_are_left_alone),
        TEST(test_the_nest_is_deep_enough),
        TEST(test_silent_limits),
        TEST(test_over_the_stream_limit_it_says_so),
        TEST(test_killed_and_started_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
