/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c behind a real listener on loopback. */
#include "test_net.h"

#include <errno.h>

#include "base/arena.h"
#include "base/block.h"
#include "observe/admin.h"

struct fixture {
    struct test_clock clock;
    struct loop *loop;
    struct loop_group *group;
    struct listener_settings settings;
    struct metrics *metrics;
    metric_id counter;
    struct admin *admin;
    struct listener *listener;
    struct address address;
    int fd;
    bool ready;
    const char *peer; /* what the connections' peer shall be; NULL: as it is */
    char answer[1 << 20];
    size_t n;
};

static struct fixture *current; /* for the wrapped open event, whose arg is the admin's */

static bool is_ready(void *arg, struct buf *why)
{
    struct fixture *f = arg;

    if (!f->ready)
        buf_text(why, "clamd is not there");
    return f->ready;
}

static void on_open(void *arg, struct loop *l, const struct accepted *a)
{
    struct address peer;

    if (current->peer) {
        assert_int_equal(address_parse(span_of(current->peer), &peer), OK);
        stream_set_peer(a->stream, &peer);
    }
    admin_listener_events()->open(arg, l, a);
}

static void on_refused(void *arg, struct loop *l, const struct listener_settings *s,
                       const struct address *peer, enum err err, const char *why,
                       const sallyport_report *report)
{
    admin_listener_events()->refused(arg, l, s, peer, err, why, report);
}

static const struct listener_events events = {.open = on_open, .refused = on_refused};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct address any = test_loopback(0);
    struct admin_settings set;
    int error;

    assert_non_null(f);
    current = f;
    test_clock_init(&f->clock, 1000000);
    f->loop = test_loop(&f->clock.clock);
    assert_int_equal(loop_group_new(&f->loop, 1, &f->group), OK);
    assert_int_equal(metrics_new(1, 20000, &f->metrics), OK);
    f->counter = metrics_counter(f->metrics, "answers_total", "", "Answers.");
    f->ready = true;
    set = (struct admin_settings){
        .metrics = f->metrics,
        .ready = is_ready,
        .arg = f,
        .timeout_ms = 10000,
        .connections_max = 3,
    };
    assert_int_equal(admin_new(f->loop, &set, &f->admin), OK);
    f->settings = (struct listener_settings){.refs = 1, .name = "admin", .handshake_ms = 10000};
    assert_int_equal(listener_socket(&any, 16, &f->fd, &error), OK);
    f->address = test_local_address(f->fd);
    assert_int_equal(
        listener_new(f->loop, f->group, f->fd, &f->settings, &events, f->admin, &f->listener), OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    listener_free(f->listener);
    admin_free(f->admin);
    test_settle(f->loop);
    assert_int_equal(loop_group_connections(f->group, 0), 0);
    loop_free(f->loop);
    loop_group_free(f->group);
    assert_int_equal(f->settings.refs, 1);
    metrics_free(f->metrics);
    (void)close(f->fd);
    free(f);
    block_pool_trim(0);
    return 0;
}

static int connect_and_send(struct fixture *f, const char *text)
{
    int fd = test_connect(&f->address);

    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    f->n = 0;
    return fd;
}

/* Takes what is there. True at the end of the answer (or when the peer reset it). */
static bool receive(struct fixture *f, int fd)
{
    ssize_t n = recv(fd, f->answer + f->n, sizeof f->answer - 1 - f->n, 0);

    if (n > 0)
        f->n += (size_t)n;
    f->answer[f->n] = '\0';
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static const char *ask(struct fixture *f, const char *text)
{
    int fd = connect_and_send(f, text);

    TURN_UNTIL(f->loop, receive(f, fd));
    (void)close(fd);
    return f->answer;
}

static void assert_starts(const char *text, const char *start)
{
    if (strncmp(text, start, strlen(start)) != 0)
        fail_msg("wanted \"%s\", got \"%s\"", start, text);
}

static const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");

    assert_non_null(end);
    return end + 4;
}

static const struct row {
    const char *request, *status, *body; /* NULL: whatever */
} rows[] = {
    {"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",                      "200 OK",                 "ok\n"   },
    {"GET /readyz HTTP/1.1\r\nHost: [::1]:9\r\n\r\n",                           "200 OK",                 "ready\n"},
    {"GET /readyz?x=y HTTP/1.1\r\nHost: LocalHost\r\n\r\n",                     "200 OK",                 "ready\n"},
    {"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",                       "200 OK",                 ""       },
    {"GET /healthz HTTP/1.0\r\n\r\n",                                           "200 OK",                 "ok\n"   },
    {"GET http://localhost:1/healthz HTTP/1.1\r\nHost: localhost:1\r\n\r\n",    "200 OK",                 "ok\n"   },
    {"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",     "403 Forbidden",          NULL     },
    {"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",                "404 Not Found",          NULL     },
    {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",                               "404 Not Found",          NULL     },
    {"GET /healthz/ HTTP/1.1\r\nHost: localhost\r\n\r\n",                       "404 Not Found",          NULL     },
    {"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
     "405 Method Not Allowed",                                                                            NULL     },
    {"get /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",                        "405 Method Not Allowed", NULL     },
    {"GET /healthz HTTP/1.1\r\n\r\n",                                           "400 Bad Request",        NULL     },
    {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",     "400 Bad Request",
     NULL                                                                                                          },
    {"GET /healthz HTTP/1.1\nHost: localhost\n\n",                              "400 Bad Request",        NULL     },
    {"GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",                       "400 Bad Request",        NULL     },
    {"\x16\x03\x01\x02\r\n\r\n",                                                "400 Bad Request",        NULL     },
    {"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",                     "403 Forbidden",          NULL     },
    {"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n",           "403 Forbidden",          NULL     },
    {"GET /healthz HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n",           "403 Forbidden",          NULL     },
    {"GET /healthz HTTP/1.1\r\nHost: [evil\r\n\r\n",                            "403 Forbidden",          NULL     },
    {"GET /healthz HTTP/1.1\r\nHost: [\r\n\r\n",                                "403 Forbidden",          NULL     },
    {"GET /healthz HTTP/1.1\r\nHost: :80\r\n\r\n",                              "403 Forbidden",          NULL     },
};

static void test_requests(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *answer = ask(f, rows[i].request);
        char want[64];

        (void)snprintf(want, sizeof want, "HTTP/1.1 %s\r\nDate: ", rows[i].status);
        if (strncmp(answer, want, strlen(want)) != 0)
            fail_msg("%s\ngot\n%s", rows[i].request, answer);
        assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
        assert_int_equal(strncmp(rows[i].status, "405", 3) == 0,
                         strstr(answer, "\r\nAllow: GET, HEAD\r\n") != NULL);
        if (rows[i].body)
            assert_string_equal(body_of(answer), rows[i].body);
    }
}

static void test_head_tells_the_length(void **state)
{
    const char *answer = ask(*state, "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");

    assert_non_null(strstr(answer, "\r\nContent-Length: 3\r\n"));
    assert_string_equal(body_of(answer), "");
}

static void test_names_are_fine_from_elsewhere(void **state)
{
    struct fixture *f = *state;

    f->peer = "192.0.2.9:4711";
    assert_starts(ask(f, "GET /healthz HTTP/1.1\r\nHost: gateway.example:9100\r\n\r\n"),
                  "HTTP/1.1 200 ");
}

static void test_not_ready(void **state)
{
    struct fixture *f = *state;
    const char *answer;

    f->ready = false;
    answer = ask(f, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_starts(answer, "HTTP/1.1 503 Service Unavailable\r\n");
    assert_string_equal(body_of(answer), "clamd is not there\n");
    assert_starts(ask(f, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 200 ");
}

static void test_metrics_page(void **state)
{
    struct fixture *f = *state;
    const char *answer;

    metrics_add(f->metrics, 0, f->counter, 7);
    answer = ask(f, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_starts(answer, "HTTP/1.1 200 OK\r\n");
    assert_non_null(
        strstr(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_string_equal(body_of(answer), "# HELP answers_total Answers.\n"
                                         "# TYPE answers_total counter\nanswers_total 7\n");
}

/* More than a socket's buffer holds, to a reader that takes it in small steps. */
static void test_large_page(void **state)
{
    struct fixture *f = *state;
    const char *body;
    size_t n = 0;

    for (unsigned i = 0; i < 6000; i++) {
        char labels[32];

        (void)snprintf(labels, sizeof labels, "i=\"%u\"", i);
        assert_true(metrics_counter(f->metrics, "many_total", labels, "Many."));
    }
    body = body_of(ask(f, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    for (; (body = strstr(body, "\nmany_total{")) != NULL; body++)
        n++;
    assert_int_equal(n, 6000);
}

/* |first|, then |n| times |more|, then the end of the head. */
static const char *ask_much(struct fixture *f, const char *first, const char *more, unsigned n)
{
    const char *answer;
    struct buf request;

    buf_init(&request, 0);
    buf_text(&request, first);
    for (unsigned i = 0; i < n; i++)
        buf_text(&request, more);
    buf_text(&request, "\r\n\r\n");
    answer = ask(f, buf_cstr(&request));
    buf_done(&request);
    return answer;
}

static void test_limits(void **state)
{
    struct fixture *f = *state;

    assert_starts(ask_much(f, "GET /", "x", 4000), "HTTP/1.1 414 URI Too Long\r\n");
    assert_starts(ask_much(f, "GET / HTTP/1.1\r\nHost: localhost\r\nX: ", "x", 9000),
                  "HTTP/1.1 431 Request Header Fields Too Large\r\n");
    assert_starts(ask_much(f, "GET / HTTP/1.1\r\nHost: localhost", "\r\na: b", 100),
                  "HTTP/1.1 431 ");
}

static void test_byte_by_byte(void **state)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct fixture *f = *state;
    int fd = connect_and_send(f, "");

    for (size_t i = 0; i < sizeof request - 1; i++) {
        assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
        (void)loop_turn(f->loop, false);
    }
    TURN_UNTIL(f->loop, receive(f, fd));
    assert_string_equal(body_of(f->answer), "ok\n");
    (void)close(fd);
}

static void test_timeout(void **state)
{
    struct fixture *f = *state;
    int fd = connect_and_send(f, "GET /healthz HTTP/1.1\r\n");

    TURN_UNTIL(f->loop, loop_group_connections(f->group, 0) == 1);
    test_settle(f->loop);
    assert_false(receive(f, fd));
    f->clock.now_ms += 9900;
    test_settle(f->loop);
    assert_false(receive(f, fd));
    f->clock.now_ms += 200;
    TURN_UNTIL(f->loop, receive(f, fd));
    assert_int_equal(f->n, 0);
    assert_int_equal(loop_group_connections(f->group, 0), 0);
    (void)close(fd);
}

static void test_too_many_connections(void **state)
{
    struct fixture *f = *state;
    int fd[4];

    for (unsigned i = 0; i < 3; i++) {
        fd[i] = connect_and_send(f, "GET");
        TURN_UNTIL(f->loop, loop_group_connections(f->group, 0) == i + 1);
    }
    fd[3] = connect_and_send(f, "GET");
    TURN_UNTIL(f->loop, receive(f, fd[3]));
    assert_int_equal(f->n, 0);
    (void)close(fd[0]); /* makes room */
    TURN_UNTIL(f->loop, loop_group_connections(f->group, 0) == 2);
    assert_starts(ask(f, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 200 ");
    for (unsigned i = 1; i < 4; i++)
        (void)close(fd[i]);
    /* teardown: admin_free() while connections are open */
}

/* Whatever cannot be allocated: the connection is closed, nothing leaks, the next one is served. */
static void test_failing_allocations(void **state)
{
    struct fixture *f = *state;
    unsigned n_failed = 0;

    for (unsigned n = 1; n < 30; n++) {
        mem_fail_after(n);
        n_failed += strstr(ask(f, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                           " 200 OK\r\n") == NULL;
        mem_fail_after(0);
    }
    assert_in_range(n_failed, 3, 25);
    assert_starts(ask(f, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 200 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head_tells_the_length, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_are_fine_from_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_ready, setup, teardown),
        cmocka_unit_test_setup_teardown(test_metrics_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failing_allocations, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
