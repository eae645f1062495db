/* SPDX-License-Identifier: Apache-2.0 */
/* Scanners on other machines: a service that does not answer keeps nobody else waiting for longer
 * than the deadlines of those that it has, and what a reload has replaced is not kept. */
#include "test_net.h"

#include <sys/mman.h>

#include "proc/gateway_remote.h"
#include "protect/tls_context_int.h"

#define LANES       8u
#define DEADLINE_MS 1000u
#define IDLE_MS     30000u

struct fixture {
    struct test_clock clock;
    struct loop *loop;
    struct troubles *troubles;
    struct gateway_remote *remote;
    /* what scans are started with */
    const struct policy_file *policy;
    sallyport_level require;
    const char *peer; /* NULL: anybody */
    int listening;
    char url[64];
    unsigned n_told;
    struct scan_result result; /* told last */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct address a = test_loopback(0);

    assert_non_null(f);
    test_clock_init(&f->clock, 1000);
    f->loop = test_loop(&f->clock.clock);
    assert_int_equal(troubles_new(&f->troubles), OK);
    assert_int_equal(gateway_remote_new(f->loop, f->troubles, &f->remote), OK);
    f->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->listening, (struct sockaddr *)&a.ss, a.len), 0);
    assert_int_equal(listen(f->listening, 64), 0);
    a = test_local_address(f->listening);
    (void)snprintf(f->url, sizeof f->url, "icap://127.0.0.1:%u/scan", address_port(&a));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    gateway_remote_free(f->remote);
    troubles_free(f->troubles);
    loop_free(f->loop);
    (void)close(f->listening);
    free(f);
    return 0;
}

static void on_told(void *arg, const struct scan_result *r)
{
    struct fixture *f = arg;

    f->n_told++;
    f->result = *r;
}

static struct remote_scan *start(struct fixture *f, struct tls_context *tls, uint64_t deadline_ms)
{
    const struct remote_scanner *scanner = gateway_remote_scanner(f->remote);
    struct remote_scan_request r = {
        .url = f->url,
        .tls = tls,
        .policy = f->policy,
        .require = f->require,
        .peers = {.v = &f->peer, .n = f->peer ? 1 : 0},
        .fd = memfd_create("document", MFD_CLOEXEC),
        .len = 5,
        .name = SPAN("document"),
        .deadline_ms = f->clock.now_ms + deadline_ms,
        .done = on_told,
        .arg = f,
    };
    struct remote_scan *s = NULL;

    assert_int_equal(write(r.fd, "hello", 5), 5);
    assert_int_equal(scanner->start(scanner->scanner, &r, &s), OK);
    return s;
}

static void cancel(struct fixture *f, struct remote_scan *s)
{
    gateway_remote_scanner(f->remote)->cancel(s);
}

/* The next connection to the service. */
static int accept_one(struct fixture *f)
{
    int fd = -1;

    TURN_UNTIL(f->loop,
               (fd = accept4(f->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    return fd;
}

static bool has_ended(struct fixture *f, int fd)
{
    char some[4096];
    ssize_t n;

    (void)loop_turn(f->loop, true);
    while ((n = read(fd, some, sizeof some)) > 0)
        ;
    return n == 0;
}

static void lanes_are_taken(struct fixture *f, struct remote_scan *scans[LANES], int fds[LANES])
{
    for (unsigned i = 0; i < LANES; i++) {
        scans[i] = start(f, NULL, DEADLINE_MS);
        fds[i] = accept_one(f);
    }
}

static void lanes_are_free(struct fixture *f, int fds[LANES])
{
    struct remote_scan *late = start(f, NULL, 10 * DEADLINE_MS);
    int fd = accept_one(f);

    for (unsigned i = 0; i < LANES; i++) {
        TURN_UNTIL(f->loop, has_ended(f, fds[i]));
        (void)close(fds[i]);
    }
    cancel(f, late);
    TURN_UNTIL(f->loop, has_ended(f, fd));
    (void)close(fd);
}

static void test_silence_ends_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct remote_scan *scans[LANES];
    int fds[LANES];

    lanes_are_taken(f, scans, fds);
    f->clock.now_ms += DEADLINE_MS + 20;
    TURN_UNTIL(f->loop, f->n_told == LANES);
    assert_int_equal(f->result.verdict, VERDICT_ERROR);
    assert_true(scan_result_causes(&f->result) & 1u << CAUSE_TIMEOUT);
    lanes_are_free(f, fds);
    assert_int_equal(f->n_told, LANES);
}

static void test_cancelled_scans_leave_their_lanes(void **state)
{
    struct fixture *f = *state;
    struct remote_scan *scans[LANES];
    int fds[LANES];

    lanes_are_taken(f, scans, fds);
    for (unsigned i = 0; i < LANES; i++)
        cancel(f, scans[i]);
    lanes_are_free(f, fds);
    assert_int_equal(f->n_told, 0);
}

/* One that waits for a lane gets the first that is free. */
static void test_whoever_waits_goes_on(void **state)
{
    struct fixture *f = *state;
    struct remote_scan *scans[LANES];
    int fds[LANES];

    lanes_are_taken(f, scans, fds);
    struct remote_scan *waits = start(f, NULL, 10 * DEADLINE_MS);

    test_settle(f->loop);
    assert_int_equal(accept4(f->listening, NULL, NULL, SOCK_CLOEXEC), -1);
    cancel(f, scans[3]);
    (void)close(accept_one(f));
    cancel(f, waits);
    for (unsigned i = 0; i < LANES; i++) {
        if (i != 3)
            cancel(f, scans[i]);
        (void)close(fds[i]);
    }
    test_settle(f->loop);
}

/* Each reload makes other contexts, of which nothing is left when nobody asks with them. */
static void test_contexts_of_before_go(void **state)
{
    struct fixture *f = *state;
    const struct tls_settings set = {.role = TLS_CLIENT};
    struct tls_context *contexts[5];
    struct buf why;

    buf_init(&why, 0);
    for (unsigned i = 0; i < ARRAY_LEN(contexts); i++) {
        assert_int_equal(tls_context_new(&set, &contexts[i], &why), OK);
        struct remote_scan *s = start(f, contexts[i], DEADLINE_MS);

        (void)close(accept_one(f));
        assert_true(atomic_load(&contexts[i]->refs) > 1);
        if (i % 2)
            cancel(f, s);
        else
            f->clock.now_ms += DEADLINE_MS + 20;
        test_settle(f->loop);
    }
    f->clock.now_ms += IDLE_MS - DEADLINE_MS;
    struct remote_scan *s = start(f, contexts[4], IDLE_MS);
    int fd = accept_one(f);

    f->clock.now_ms += 2 * DEADLINE_MS;
    test_settle(f->loop);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(atomic_load(&contexts[i]->refs), 1);
    assert_true(atomic_load(&contexts[4]->refs) > 1); /* it has something to do */
    cancel(f, s);
    test_settle(f->loop);
    (void)close(fd);
    for (unsigned i = 0; i < ARRAY_LEN(contexts); i++)
        tls_context_unref(contexts[i]);
    buf_done(&why);
}

/* ---- the policy of the machine ---- */

static struct policy_file *policy_of(const char *line)
{
    struct policy_fault fault;
    struct policy_file *p = NULL;
    char text[128];

    (void)snprintf(text, sizeof text, "version 1\n%s\n", line);
    assert_int_equal(policy_parse(span_of(text), &p, &fault), OK);
    return p;
}

static struct policy_file *scan_under(struct fixture *f, const char *line)
{
    struct policy_file *p = policy_of(line);

    f->policy = p;
    (void)start(f, NULL, DEADLINE_MS);
    return p;
}

static void is_refused(struct fixture *f, const char *words)
{
    char some[16];
    int fd = accept_one(f);

    TURN_UNTIL(f->loop, f->n_told == 1);
    assert_int_equal(f->result.verdict, VERDICT_ERROR);
    assert_int_equal(f->result.cause, CAUSE_ENGINE_DOWN);
    assert_int_equal(f->result.err, ERR_POLICY);
    if (!strstr(f->result.why, words))
        fail_msg("'%s' is not in '%s'", words, f->result.why);
    assert_int_equal(read(fd, some, sizeof some), 0); /* not even OPTIONS */
    (void)close(fd);
    f->n_told = 0;
}

static void test_below_the_policy_nothing_is_sent(void **state)
{
    static const char *const lines[] = {"default min=strong", "rule service=icap min=integrity",
                                        "rule to=127.0.0.0/8 via=tls", "default peer"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct policy_file *p = scan_under(f, lines[i]);

        policy_unref(p); /* the pool has its own */
        is_refused(f, "the scanner was not asked: refused to use 127.0.0.1: ");
        assert_non_null(strstr(f->result.why, "(line 2 of this machine's policy)"));
    }
    assert_int_equal(troubles_count(f->troubles), ARRAY_LEN(lines));
}

static void test_lines_about_others(void **state)
{
    struct fixture *f = *state;
    struct policy_file *p = scan_under(f, "rule to=192.0.2.0/24 min=strong");
    char some[16];
    int fd = accept_one(f);

    TURN_UNTIL(f->loop, read(fd, some, sizeof some) > 0);
    policy_unref(p);
    (void)close(fd);
}

/* What was connected under the old policy is not for who comes under the new one. */
static void test_a_tighter_policy(void **state)
{
    struct fixture *f = *state;
    struct policy_file *loose = policy_of("default min=none"), *tight;

    f->policy = loose;
    struct remote_scan *s = start(f, NULL, 10 * DEADLINE_MS);
    int fd = accept_one(f);

    tight = scan_under(f, "default min=weak");
    is_refused(f, "(line 2 of this machine's policy)");
    f->policy = loose;
    cancel(f, s);
    TURN_UNTIL(f->loop, has_ended(f, fd));
    (void)close(fd);
    policy_unref(loose);
    policy_unref(tight);
}

/* A service may be had with demands and without. */
static void test_demands(void **state)
{
    struct fixture *f = *state;
    struct remote_scan *s = start(f, NULL, 10 * DEADLINE_MS);
    int fd = accept_one(f);

    f->require = SALLYPORT_INTEGRITY;
    (void)start(f, NULL, DEADLINE_MS);
    is_refused(f, "its integrity must be");
    f->require = SALLYPORT_NONE;
    f->peer = "dns:scan.test";
    (void)start(f, NULL, DEADLINE_MS);
    is_refused(f, "did not authenticate itself, and must");
    cancel(f, s);
    TURN_UNTIL(f->loop, has_ended(f, fd));
    (void)close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_silence_ends_at_the_deadline),
        TEST(test_cancelled_scans_leave_their_lanes),
        TEST(test_whoever_waits_goes_on),
        TEST(test_contexts_of_before_go),
        TEST(test_below_the_policy_nothing_is_sent),
        TEST(test_lines_about_others),
        TEST(test_a_tighter_policy),
        TEST(test_demands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
