/* SPDX-License-Identifier: Apache-2.0 */
/* adapt/clamd.h, the pool of one loop, against a daemon that the test plays: each way in which a
 * file can get its answer, or not. */
#include "test_fake_clamd.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "adapt/clamd_int.h"
#include "base/log.h"
#include "observe/record_upstream.h"

#define FILES_MAX 32

struct outcome {
    struct clamd_job *job;
    unsigned calls;
    bool inside; /* the call-back came inside a call */
    struct clamd_answer answer;
    char upstream[1024]; /* of the answer; "": none */
    struct fixture *fixture;
};

struct fixture {
    struct test_clock clock;
    struct loop *loop;
    struct clamd_settings settings;
    struct clamd_health *health;
    struct clamd *clamd;
    struct fake_daemon daemon;
    struct timer pace; /* something to wait for: loop_turn() then looks at the clock */
    struct outcome files[FILES_MAX];
    unsigned n_files;
    bool in_call, free_in_callback;
    uint64_t client; /* whose files are submitted */
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
                                          .connections_max = 2,
                                          .queue_max = 3,
                                          .scan_max = 64u << 20,
                                          .check_ms = 1000,
                                          .self_test_ms = 1000};
    f->pace.fire = no_fire;
    timer_set(f->loop, &f->pace, UINT64_MAX / 2);
    assert_int_equal(clamd_health_new(&f->health), OK);
    /* As the monitor would have found it. */
    const struct clamd_health_report up = {
        .up = true,
        .transport = tcp ? CLAMD_INSTREAM : CLAMD_FILDES,
        .scan_max = f->settings.scan_max,
    };

    clamd_health_write(f->health, &up);
    assert_int_equal(clamd_new(f->loop, &f->settings, f->health, &f->clamd), OK);
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

    clamd_free(f->clamd);
    test_settle(f->loop);
    timer_clear(f->loop, &f->pace);
    daemon_done(&f->daemon);
    loop_free(f->loop);
    clamd_health_unref(f->health);
    free(f);
    return 0;
}

static void step(struct fixture *f)
{
    daemon_step(&f->daemon);
    test_settle(f->loop);
}

/* The pool of threads takes its own time: turns that wait. */
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
        daemon_step(&f->daemon);
        (void)loop_turn(f->loop, false);
    }
    steps(f);
}

static void on_done(void *arg, const struct clamd_answer *a)
{
    struct outcome *o = arg;
    struct fixture *f = o->fixture;

    o->calls++;
    o->job = NULL;
    o->inside = f->in_call;
    o->answer = *a;
    o->answer.upstream = NULL; /* is borrowed */
    if (a->upstream)
        (void)span_copy(record_upstream_text(a->upstream), o->upstream, sizeof o->upstream);
    if (f->free_in_callback) {
        f->free_in_callback = false;
        clamd_free(f->clamd);
        f->clamd = NULL;
    }
}

static int file_with(const char *bytes, size_t n)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    return fd;
}

static enum err submit_fd(struct fixture *f, int fd, uint64_t off, uint64_t len, bool whole,
                          uint64_t time_ms)
{
    struct outcome *o = &f->files[f->n_files];
    struct clamd_request r = {
        .fd = fd,
        .off = off,
        .len = len,
        .whole = whole,
        .client = f->client,
        .deadline_ms = f->clock.now_ms + time_ms,
        .done = on_done,
        .arg = o,
    };
    enum err e;

    assert_true(f->n_files < FILES_MAX);
    *o = (struct outcome){.fixture = f};
    f->in_call = true;
    e = clamd_submit(f->clamd, &r, &o->job);
    f->in_call = false;
    if (e == OK)
        f->n_files++;
    (void)close(fd); /* the pool has its own */
    return e;
}

static enum err submit(struct fixture *f, const char *text, uint64_t time_ms)
{
    return submit_fd(f, file_with(text, strlen(text)), 0, strlen(text), true, time_ms);
}

static struct clamd_counts counts(const struct fixture *f)
{
    struct clamd_counts c;

    clamd_count(f->clamd, &c);
    return c;
}

static void assert_answer(const struct outcome *o, enum clamd_verdict v, enum err e)
{
    assert_int_equal(o->calls, 1);
    assert_false(o->inside);
    assert_int_equal(o->answer.verdict, v);
    assert_int_equal(o->answer.err, e);
}

static void set_health(struct fixture *f, bool up, enum clamd_transport t, uint64_t scan_max)
{
    struct clamd_health_report r = {.up = up, .transport = t, .scan_max = scan_max};

    if (!up)
        (void)span_copy(SPAN("it is down"), r.why, sizeof r.why);
    clamd_health_write(f->health, &r);
}

/* ---- the way it should be ---- */

static void test_one_session_serves_file_after_file(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *content;
        enum clamd_verdict verdict;
        const char *text;
    } files[] = {
        {"good",      CLAMD_CLEAN, ""        },
        {"BAD thing", CLAMD_FOUND, "Test.Bad"},
        {"",          CLAMD_CLEAN, ""        },
        {"good too",  CLAMD_CLEAN, ""        },
    };

    for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
        assert_int_equal(submit(f, files[i].content, 1000), OK);
        STEP_UNTIL(f, f->files[i].calls > 0);
        assert_answer(&f->files[i], files[i].verdict, OK);
        assert_string_equal(f->files[i].answer.text, files[i].text);
        assert_int_equal(f->daemon.last_len, strlen(files[i].content));
    }
    assert_int_equal(f->daemon.n_peers, 1);
    assert_int_equal(f->daemon.n_by_fd, 4);
    assert_int_equal(counts(f).jobs, 4);
    assert_int_equal(counts(f).found, 1);
    assert_int_equal(counts(f).errors, 0);
    assert_int_equal(counts(f).idle, 1);
}

/* It says OK to what it did not look into: then that says nothing, and what it found is found. */
static void test_ok_of_a_silent_daemon(void **state)
{
    struct fixture *f = *state;
    struct clamd_health_report r = {
        .up = true,
        .silent_limits = true,
        .transport = f->settings.address.ss.ss_family == AF_UNIX ? CLAMD_FILDES : CLAMD_INSTREAM,
        .scan_max = f->settings.scan_max};

    clamd_health_write(f->health, &r);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(submit(f, i ? "BAD thing" : "good", 1000), OK);
        STEP_UNTIL(f, f->files[i].calls > 0);
    }
    assert_answer(&f->files[0], CLAMD_LIMIT, OK);
    assert_non_null(strstr(f->files[0].answer.text, "AlertExceedsMax"));
    assert_answer(&f->files[1], CLAMD_FOUND, OK);
    assert_int_equal(f->daemon.n_peers, 1); /* the session is kept */
    r.silent_limits = false;                /* it was started anew */
    r.unmeasured = true;
    clamd_health_write(f->health, &r);
    assert_int_equal(submit(f, "good", 1000), OK);
    STEP_UNTIL(f, f->files[2].calls > 0);
    assert_answer(&f->files[2], CLAMD_LIMIT, OK);
    assert_non_null(strstr(f->files[2].answer.text, "being measured"));
    r.unmeasured = false;
    clamd_health_write(f->health, &r);
    assert_int_equal(submit(f, "good", 1000), OK);
    STEP_UNTIL(f, f->files[3].calls > 0);
    assert_answer(&f->files[3], CLAMD_CLEAN, OK);
}

static void test_ok_of_a_silent_daemon_that_is_believed(void **state)
{
    struct fixture *f = *state;
    const struct clamd_health_report r = {.up = true,
                                          .silent_limits = true,
                                          .transport = CLAMD_FILDES,
                                          .scan_max = f->settings.scan_max};

    clamd_free(f->clamd);
    test_settle(f->loop);
    f->settings.trust_silent = true;
    assert_int_equal(clamd_new(f->loop, &f->settings, f->health, &f->clamd), OK);
    clamd_health_write(f->health, &r);
    assert_int_equal(submit(f, "good", 1000), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    assert_answer(&f->files[0], CLAMD_CLEAN, OK);
}

static void test_over_tcp_a_file_is_streamed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(submit(f, "BAD thing", 1000), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    assert_answer(&f->files[0], CLAMD_FOUND, OK);
    assert_int_equal(submit(f, "good", 1000), OK);
    STEP_UNTIL(f, f->files[1].calls > 0);
    assert_answer(&f->files[1], CLAMD_CLEAN, OK);
    assert_int_equal(f->daemon.n_streams, 2);
    assert_int_equal(f->daemon.n_peers, 1);
}

static void test_what_the_self_test_chose_is_used(void **state)
{
    struct fixture *f = *state;

    set_health(f, true, CLAMD_INSTREAM, 1000);
    assert_int_equal(submit(f, "BAD thing", 1000), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    assert_answer(&f->files[0], CLAMD_FOUND, OK);
    assert_int_equal(f->daemon.n_streams, 1);
    assert_int_equal(f->daemon.n_by_fd, 0);
}

/* A part of a file: copied when it is small, else streamed; never the whole file by descriptor. */
static void test_ranges(void **state)
{
    struct fixture *f = *state;
    static char large[400 << 10];

    assert_int_equal(submit_fd(f, file_with("xxxBAD thing", 12), 3, 9, false, 1000), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    assert_answer(&f->files[0], CLAMD_FOUND, OK);
    assert_int_equal(f->daemon.last_len, 9);
    assert_int_equal(f->daemon.n_by_fd, 1);
    memset(large, 'x', sizeof large);
    memcpy(large + 100, "BAD", 4);
    assert_int_equal(submit_fd(f, file_with(large, sizeof large), 100, 300 << 10, false, 1000), OK);
    STEP_UNTIL(f, f->files[1].calls > 0);
    assert_answer(&f->files[1], CLAMD_FOUND, OK);
    assert_int_equal(f->daemon.last_len, 300 << 10);
    assert_int_equal(f->daemon.n_by_fd, 1);
    assert_int_equal(f->daemon.n_streams, 1);
}

static void test_a_range_beyond_the_end_is_an_error(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(submit_fd(f, file_with("xxx", 3), 1, 9, false, 1000), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    assert_answer(&f->files[0], CLAMD_ERROR, ERR_IO);
    assert_int_equal(f->daemon.n_files, 0);
}

/* ---- limits ---- */

static void test_sessions_and_queue_have_a_limit(void **state)
{
    struct fixture *f = *state;

    f->daemon.hold = true;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(submit(f, "x", 60000), OK);
    assert_int_equal(submit(f, "x", 60000), ERR_BUSY);
    STEP_UNTIL(f, daemon_held(&f->daemon) == 2);
    assert_int_equal(submit(f, "x", 60000), ERR_BUSY);
    assert_int_equal(f->daemon.n_peers, 2);
    assert_int_equal(counts(f).busy, 2);
    assert_int_equal(counts(f).queued, 3);
    for (unsigned i = 0; i < 5; i++) {
        STEP_UNTIL(f, daemon_held(&f->daemon) > 0);
        daemon_answer(&f->daemon, "fd[1]: OK");
        steps(f);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_answer(&f->files[i], CLAMD_CLEAN, OK);
    assert_int_equal(f->daemon.n_peers, 2);
    assert_int_equal(counts(f).queued, 0);
    assert_int_equal(submit(f, "x", 60000), OK);
}

/* Who fills it makes room for who has less in it, and is not served before him. */
static void test_a_full_queue_is_shared(void **state)
{
    struct fixture *f = *state;

    f->daemon.hold = true;
    f->client = 1;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(submit(f, "x", 60000), OK);
    STEP_UNTIL(f, daemon_held(&f->daemon) == 2);
    f->client = 2;
    assert_int_equal(submit(f, "x", 60000), OK);
    assert_int_equal(f->files[4].calls, 0);
    steps(f);
    assert_answer(&f->files[4], CLAMD_ERROR, ERR_BUSY);
    assert_non_null(strstr(f->files[4].answer.text, "engines.clamav.queue"));
    assert_string_equal(f->files[4].upstream, ""); /* nobody was asked */
    assert_int_equal(counts(f).queued, 3);
    assert_int_equal(submit(f, "x", 60000), ERR_BUSY); /* two would be as many */
    f->client = 1;
    assert_int_equal(submit(f, "x", 60000), ERR_BUSY);
    daemon_answer(&f->daemon, "fd[1]: OK");
    daemon_answer(&f->daemon, "fd[1]: OK");
    STEP_UNTIL(f, daemon_held(&f->daemon) == 2);
    assert_int_equal(counts(f).queued, 1);
    daemon_answer(&f->daemon, "fd[1]: OK");
    daemon_answer(&f->daemon, "fd[1]: OK");
    STEP_UNTIL(f, f->files[2].calls && f->files[5].calls);
    assert_answer(&f->files[5], CLAMD_CLEAN, OK);
    assert_int_equal(f->files[3].calls, 0); /* it came before the other client's */
    STEP_UNTIL(f, daemon_held(&f->daemon) == 1);
    daemon_answer(&f->daemon, "fd[1]: OK");
    STEP_UNTIL(f, f->files[3].calls);
}

/* Parts that are being copied have their places, too. */
static void test_copies_make_room(void **state)
{
    struct fixture *f = *state;

    f->client = 1;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(submit_fd(f, file_with("xxxBAD", 6), 3, 3, false, 60000), OK);
    assert_int_equal(counts(f).queued, 5);
    f->client = 2;
    assert_int_equal(submit_fd(f, file_with("xxxBAD", 6), 3, 3, false, 60000), OK);
    assert_int_equal(counts(f).queued, 5);
    test_settle(f->loop);
    assert_answer(&f->files[4], CLAMD_ERROR, ERR_BUSY);
    for (unsigned i = 0; i < 6; i++) {
        STEP_UNTIL(f, f->files[i].calls);
        if (i != 4)
            assert_answer(&f->files[i], CLAMD_FOUND, OK);
    }
    assert_int_equal(counts(f).queued, 0);
}

static void test_what_is_too_large_is_not_asked(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(submit_fd(f, file_with("x", 1), 0, (64u << 20) + 1, true, 1000), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    assert_answer(&f->files[0], CLAMD_LIMIT, OK);
    set_health(f, true, CLAMD_FILDES, 5);
    assert_int_equal(submit(f, "12345", 1000), OK);
    assert_int_equal(submit(f, "123456", 1000), OK);
    STEP_UNTIL(f, f->files[1].calls > 0 && f->files[2].calls > 0);
    assert_answer(&f->files[1], CLAMD_CLEAN, OK);
    assert_answer(&f->files[2], CLAMD_LIMIT, OK);
    assert_int_equal(f->daemon.n_files, 1);
}

static void test_down_is_said_at_once(void **state)
{
    struct fixture *f = *state;

    set_health(f, false, CLAMD_FILDES, 0);
    assert_int_equal(submit(f, "x", 1000), OK);
    assert_int_equal(f->files[0].calls, 0);
    test_settle(f->loop);
    assert_answer(&f->files[0], CLAMD_ERROR, ERR_UPSTREAM);
    assert_string_equal(f->files[0].answer.text, "it is down");
    assert_int_equal(f->daemon.n_peers, 0);
}

/* ---- cancelling ---- */

static void test_cancel(void **state)
{
    struct fixture *f = *state;

    f->daemon.hold = true;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(submit(f, "x", 60000), OK);
    STEP_UNTIL(f, daemon_held(&f->daemon) == 2);
    clamd_cancel(f->files[3].job); /* waits */
    assert_int_equal(counts(f).queued, 1);
    clamd_cancel(f->files[0].job); /* is being looked at: its session goes, another one comes */
    STEP_UNTIL(f, f->daemon.n_peers == 3 && daemon_held(&f->daemon) == 2);
    assert_int_equal(daemon_open_peers(&f->daemon), 2);
    f->daemon.hold = false;
    daemon_answer(&f->daemon, "fd[1]: OK");
    daemon_answer(&f->daemon, "fd[1]: OK");
    STEP_UNTIL(f, f->files[1].calls > 0 && f->files[2].calls > 0);
    assert_int_equal(f->files[0].calls, 0);
    assert_int_equal(f->files[3].calls, 0);
}

static void test_cancel_of_a_copy_and_of_an_end(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(submit_fd(f, file_with("xxxBAD", 6), 3, 3, false, 1000), OK);
    clamd_cancel(f->files[0].job);
    set_health(f, false, CLAMD_FILDES, 0);
    assert_int_equal(submit(f, "x", 1000), OK);
    clamd_cancel(f->files[1].job);
    steps(f);
    assert_int_equal(f->files[0].calls + f->files[1].calls, 0);
    assert_int_equal(counts(f).queued, 0);
}

/* ---- trouble ---- */

static void test_a_lost_session_is_replaced_once(void **state)
{
    struct fixture *f = *state;

    f->daemon.dies = 1;
    assert_int_equal(submit(f, "BAD", 1000), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    assert_answer(&f->files[0], CLAMD_FOUND, OK);
    assert_int_equal(f->daemon.n_files, 2);
    assert_int_equal(counts(f).reconnects, 1);
    f->daemon.dies = 2;
    assert_int_equal(submit(f, "BAD", 1000), OK);
    STEP_UNTIL(f, f->files[1].calls > 0);
    assert_answer(&f->files[1], CLAMD_ERROR, ERR_UPSTREAM);
    assert_int_equal(f->daemon.n_files, 4);
    assert_int_equal(counts(f).errors, 1);
    assert_int_equal(submit(f, "BAD", 1000), OK);
    STEP_UNTIL(f, f->files[2].calls > 0);
    assert_answer(&f->files[2], CLAMD_FOUND, OK);
}

/* The daemon was started anew: sessions that were idle are dead, and nobody has told yet. */
static void test_a_restart_between_files_is_not_noticed(void **state)
{
    struct fixture *f = *state;

    f->daemon.hold = true;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(submit(f, "x", 60000), OK);
    STEP_UNTIL(f, daemon_held(&f->daemon) == 2);
    f->daemon.hold = false;
    daemon_answer(&f->daemon, "fd[1]: OK");
    daemon_answer(&f->daemon, "fd[1]: OK");
    STEP_UNTIL(f, counts(f).idle == 2);
    daemon_die(&f->daemon);
    daemon_listen(&f->daemon);
    assert_int_equal(submit(f, "BAD", 1000), OK);
    STEP_UNTIL(f, f->files[2].calls > 0);
    assert_answer(&f->files[2], CLAMD_FOUND, OK);
}

static void test_nobody_is_there(void **state)
{
    struct fixture *f = *state;

    daemon_die(&f->daemon);
    assert_int_equal(submit(f, "x", 60000), OK);
    assert_int_equal(submit(f, "x", 60000), OK);
    steps(f);
    assert_int_equal(f->files[0].calls, 0); /* it tries again first */
    pass(f, 120);
    assert_answer(&f->files[0], CLAMD_ERROR, ERR_UPSTREAM);
    assert_answer(&f->files[1], CLAMD_ERROR, ERR_UPSTREAM);
    daemon_listen(&f->daemon);
    assert_int_equal(submit(f, "x", 60000), OK);
    pass(f, 300);
    assert_answer(&f->files[2], CLAMD_CLEAN, OK);
}

static void test_a_daemon_that_hangs(void **state)
{
    struct fixture *f = *state;

    f->daemon.hold = true;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(submit(f, "x", 500), OK);
    STEP_UNTIL(f, daemon_held(&f->daemon) == 2);
    pass(f, 480);
    assert_int_equal(f->files[0].calls, 0);
    pass(f, 40);
    for (unsigned i = 0; i < 3; i++)
        assert_answer(&f->files[i], CLAMD_ERROR, ERR_TIMEOUT);
    assert_int_equal(daemon_held(&f->daemon), 0); /* a late answer must not meet another file */
    f->daemon.hold = false;
    assert_int_equal(submit(f, "BAD", 500), OK);
    STEP_UNTIL(f, f->files[3].calls > 0);
    assert_answer(&f->files[3], CLAMD_FOUND, OK);
}

static void test_idle_sessions_are_closed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(submit(f, "x", 500), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    pass(f, 14000);
    assert_int_equal(daemon_open_peers(&f->daemon), 1);
    pass(f, 1100);
    assert_int_equal(daemon_open_peers(&f->daemon), 0);
    assert_int_equal(counts(f).idle, 0);
    assert_int_equal(counts(f).reconnects, 0);
}

/* "COMMAND READ TIMED OUT\n" without NUL, then the end: as clamd does it. */
static void test_a_session_that_the_daemon_ends(void **state)
{
    struct fixture *f = *state;
    struct daemon_peer *p = &f->daemon.peers[0];

    assert_int_equal(submit(f, "x", 500), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    peer_say_bytes(p, "COMMAND READ TIMED OUT\n", 23);
    peer_flush(&f->daemon, p);
    peer_close(p);
    steps(f);
    assert_int_equal(counts(f).idle, 0);
    assert_int_equal(counts(f).reconnects, 0);
    assert_int_equal(submit(f, "BAD", 500), OK);
    STEP_UNTIL(f, f->files[1].calls > 0);
    assert_answer(&f->files[1], CLAMD_FOUND, OK);
}

static void test_a_descriptor_that_is_refused_goes_as_a_stream(void **state)
{
    struct fixture *f = *state;

    f->daemon.refuses_fds = true;
    assert_int_equal(submit(f, "BAD", 500), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    assert_answer(&f->files[0], CLAMD_FOUND, OK);
    assert_int_equal(f->daemon.n_streams, 1);
}

static void test_garbage(void **state)
{
    static const struct {
        const char *name, *raw;
        size_t n;
    } rows[] = {
        {"noise",                          "\x01\x02\x03",                   4 },
        {"no answer",                      "HTTP/1.1 200 OK",                16},
        {"another id",                     "7: fd[10]: OK",                  14},
        {"an answer without id",           "fd[10]: OK",                     11},
        {"two answers",                    "1: fd[10]: OK\0001: fd[10]: OK", 28},
        {"an answer and the begin of one", "1: fd[10]: OK\0001",             15},
        {"empty",                          "",                               1 },
        {"a pong",                         "1: PONG",                        8 },
    };
    struct fixture *f = *state;

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        f->daemon.raw = rows[i].raw;
        f->daemon.raw_n = rows[i].n;
        assert_int_equal(submit(f, "x", 5000), OK);
        STEP_UNTIL(f, f->files[i].calls > 0);
        if (f->files[i].answer.verdict != CLAMD_ERROR || f->files[i].answer.err != ERR_UPSTREAM)
            fail_msg("%s: verdict %d", rows[i].name, (int)f->files[i].answer.verdict);
        assert_int_equal(counts(f).idle, 0);
        pass(f, 400);
    }
}

static void test_an_answer_without_end(void **state)
{
    struct fixture *f = *state;
    char noise[400];

    memset(noise, 'x', sizeof noise);
    f->daemon.hold = true;
    assert_int_equal(submit(f, "x", 5000), OK);
    for (unsigned i = 0; i < 60 && f->files[0].calls == 0; i++) {
        steps(f);
        for (unsigned k = 0; k < f->daemon.n_peers; k++) {
            struct daemon_peer *p = &f->daemon.peers[k];

            if (p->fd < 0)
                continue;
            peer_say_bytes(p, noise, sizeof noise);
            peer_flush(&f->daemon, p);
        }
    }
    assert_answer(&f->files[0], CLAMD_ERROR, ERR_UPSTREAM);
}

static void test_an_answer_byte_by_byte(void **state)
{
    struct fixture *f = *state;

    f->daemon.drips = true;
    assert_int_equal(submit(f, "BAD", 5000), OK);
    STEP_UNTIL(f, f->files[0].calls > 0);
    assert_answer(&f->files[0], CLAMD_FOUND, OK);
    assert_string_equal(f->files[0].answer.text, "Test.Bad");
    assert_int_equal(submit(f, "good", 5000), OK);
    STEP_UNTIL(f, f->files[1].calls > 0);
    assert_answer(&f->files[1], CLAMD_CLEAN, OK);
    assert_int_equal(f->daemon.n_peers, 1);
}

/* Over StreamMaxLength the daemon answers before the file is read, and closes. */
static void test_an_early_answer_to_a_stream(void **state)
{
    struct fixture *f = *state;
    int fd = memfd_create("file", MFD_CLOEXEC);
    struct daemon_peer *p = &f->daemon.peers[0];

    assert_int_equal(ftruncate(fd, 32 << 20), 0);
    f->daemon.mute = true;
    assert_int_equal(submit_fd(f, fd, 0, 32 << 20, true, 5000), OK);
    for (unsigned i = 0; f->daemon.n_peers == 0 || p->n_in < 1000; i++) {
        assert_true(i < 5000);
        daemon_step(&f->daemon);
        (void)loop_turn(f->loop, i > 10);
    }
    p->id = 1;
    peer_say(p, "INSTREAM size limit exceeded. ERROR");
    peer_flush(&f->daemon, p);
    peer_close(p); /* with unread bytes: a reset */
    STEP_UNTIL(f, f->files[0].calls > 0);
    assert_answer(&f->files[0], CLAMD_LIMIT, OK);
    assert_int_equal(counts(f).idle, 0);
}

static void test_free_ends_all_jobs(void **state)
{
    struct fixture *f = *state;

    f->daemon.hold = true;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(submit(f, "x", 60000), OK);
    STEP_UNTIL(f, daemon_held(&f->daemon) == 2);
    assert_int_equal(submit_fd(f, file_with("xxxBAD", 6), 3, 3, false, 1000), OK);
    clamd_free(f->clamd);
    f->clamd = NULL;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(f->files[i].calls, 0);
    test_settle(f->loop);
    for (unsigned i = 0; i < 4; i++)
        assert_answer(&f->files[i], CLAMD_ERROR, ERR_DRAINING);
}

static void test_free_inside_a_callback(void **state)
{
    struct fixture *f = *state;

    f->free_in_callback = true;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(submit(f, "x", 60000), OK);
    STEP_UNTIL(f, f->files[0].calls > 0 && f->files[1].calls > 0 && f->files[2].calls > 0);
    assert_null(f->clamd);
}

/* ---- threads ---- */

struct reader_thread {
    const struct clamd *clamd;
    const struct clamd_health *health;
    _Atomic bool stop;
    uint64_t jobs;
};

static void *read_figures(void *arg)
{
    struct reader_thread *t = arg;

    while (!atomic_load(&t->stop)) {
        struct clamd_health_report r;
        struct clamd_counts c;

        clamd_count(t->clamd, &c);
        clamd_health_read(t->health, &r);
        assert_true(r.scan_max == 0 || r.up);
        assert_true(c.jobs >= t->jobs);
        t->jobs = c.jobs;
    }
    return NULL;
}

static void test_figures_are_read_by_other_threads(void **state)
{
    struct fixture *f = *state;
    struct reader_thread t = {.clamd = f->clamd, .health = f->health};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, read_figures, &t), 0);
    for (unsigned i = 0; i < 20; i++) {
        set_health(f, true, CLAMD_FILDES, 1000 + i);
        assert_int_equal(submit(f, "x", 1000), OK);
        STEP_UNTIL(f, f->files[i].calls > 0);
    }
    atomic_store(&t.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(counts(f).jobs, 20);
}

/* A policy that came since does not let it be asked: not even for those who wait already. */
static void test_it_must_not_be_asked_any_more(void **state)
{
    struct fixture *f = *state;
    struct clamd_health_report r;

    f->daemon.hold = true;
    for (unsigned i = 0; i < 4; i++) /* two have a session, two wait */
        assert_int_equal(submit(f, "x", 60000), OK);
    STEP_UNTIL(f, f->daemon.n_files == 2);
    clamd_health_read(f->health, &r);
    r.up = false;
    r.refused = true;
    r.refusal = (sallyport_why){.code = "level-too-low",
                                .side = SALLYPORT_SIDE_LOCAL,
                                .flags = SALLYPORT_WHY_CERTAIN,
                                .source = "policy",
                                .raw = 3};
    (void)snprintf(r.why, sizeof r.why, "not asked: line 3");
    clamd_health_write(f->health, &r);
    assert_int_equal(submit(f, "x", 60000), OK);
    STEP_UNTIL(f, f->files[4].calls == 1);
    for (unsigned i = 2; i < 5; i++) {
        assert_int_equal(f->files[i].calls, 1);
        assert_int_equal(f->files[i].answer.verdict, CLAMD_ERROR);
        assert_string_equal(f->files[i].answer.text, "not asked: line 3");
        assert_non_null(strstr(f->files[i].upstream,
                               "\"why\":\"level-too-low\",\"why_side\":\"local\","
                               "\"why_certain\":true,\"why_source\":\"policy\",\"why_raw\":3,"
                               "\"error\":\"policy\",\"error_text\":\"not asked: line 3\""));
        assert_null(strstr(f->files[i].upstream, "\"how\"")); /* there was no connection */
    }
    f->daemon.hold = false;
    for (unsigned i = 0; i < 2; i++)
        daemon_answer(&f->daemon, "fd[10]: OK");
    STEP_UNTIL(f, f->files[0].calls && f->files[1].calls);
    assert_int_equal(f->files[0].answer.verdict, CLAMD_CLEAN);
    assert_null(strstr(f->files[0].upstream, "\"why\""));
    assert_int_equal(f->daemon.n_files, 2);
}

#define TEST(t)     cmocka_unit_test_setup_teardown(t, setup, teardown)
#define TEST_TCP(t) cmocka_unit_test_setup_teardown(t, setup_tcp, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_session_serves_file_after_file),
        TEST(test_it_must_not_be_asked_any_more),
        TEST(test_ok_of_a_silent_daemon),
        TEST_TCP(test_ok_of_a_silent_daemon),
        TEST(test_ok_of_a_silent_daemon_that_is_believed),
        TEST_TCP(test_over_tcp_a_file_is_streamed),
        TEST(test_what_the_self_test_chose_is_used),
        TEST(test_ranges),
        TEST(test_a_range_beyond_the_end_is_an_error),
        TEST(test_sessions_and_queue_have_a_limit),
        TEST(test_a_full_queue_is_shared),
        TEST(test_copies_make_room),
        TEST(test_what_is_too_large_is_not_asked),
        TEST(test_down_is_said_at_once),
        TEST(test_cancel),
        TEST(test_cancel_of_a_copy_and_of_an_end),
        TEST(test_a_lost_session_is_replaced_once),
        TEST(test_a_restart_between_files_is_not_noticed),
        TEST(test_nobody_is_there),
        TEST(test_a_daemon_that_hangs),
        TEST(test_idle_sessions_are_closed),
        TEST(test_a_session_that_the_daemon_ends),
        TEST(test_a_descriptor_that_is_refused_goes_as_a_stream),
        TEST(test_garbage),
        TEST(test_an_answer_without_end),
        TEST(test_an_answer_byte_by_byte),
        TEST_TCP(test_an_early_answer_to_a_stream),
        TEST(test_free_ends_all_jobs),
        TEST(test_free_inside_a_callback),
        TEST(test_figures_are_read_by_other_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
