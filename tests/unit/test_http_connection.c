/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_connection.h: what a handler is told of one connection, whatever pieces its bytes come
 * in and wherever it ends; who is waited for, and for how long; TLS on the way. */
#include "http/http_connection.h"

#include <errno.h>

#include <openssl/err.h>

#include "test_net.h"

#include "base/log.h"
#include "test_certs.h"

#define H "Host: h\r\n"

static struct test_cert ca, leaf;
static struct tls_context *server_tls, *client_tls;

/* One listener; the last connection that came to it, and what its handler was told. */
struct fixture {
    struct test_clock clock;
    struct loop *loop;
    struct timer pace; /* something to wait for: loop_turn() then looks at the clock */
    struct loop_group *group;
    struct listener_settings settings;
    struct listener *listener;
    int listening;
    struct address address;
    struct http_limits limits;
    struct budget memory;
    struct http_connection *c; /* NULL: closed */
    /* its handler */
    struct buf log;  /* what it is told, a word each */
    struct buf body; /* the piece of it that is not in |log| yet */
    uint64_t n_body;
    unsigned n_requests, n_over, n_failed, n_closed;
    unsigned n_answered; /* times when its peer had bytes to read as OVER came */
    bool open;
    bool keeps_silent; /* else END is answered by "ok" */
    bool goes_on;      /* REQUEST is answered by 100 Continue */
    bool switches;     /* END is answered by 101 */
    bool loses;        /* REQUEST is given up */
    bool is_behind, is_working;
    uint64_t to_drive; /* bytes of an answer that are not in the engine yet */
    enum err switch_err;
    /* its peer */
    int fd;
    struct buf wire;
    bool eof;
};

/* ---- the handler ---- */

static void flush_body(struct fixture *f)
{
    if (f->body.n)
        buf_fmt(&f->log, "BODY %s;", buf_cstr(&f->body));
    buf_reset(&f->body);
}

static void on_request(void *arg)
{
    struct fixture *f = arg;
    const struct http_request *r = http_current(http_connection_engine(f->c));

    assert_false(f->open);
    f->open = true;
    f->n_requests++;
    buf_fmt(&f->log, SPAN_FMT " " SPAN_FMT ";", SPAN_ARG(r->head->method),
            SPAN_ARG(r->head->target));
    if (f->goes_on)
        assert_int_equal(http_go_on(http_connection_engine(f->c)), OK);
    if (f->loses)
        http_connection_lose(f->c, ERR_NOMEM, "given up");
}

static void on_body(void *arg, struct slice s)
{
    struct fixture *f = arg;

    assert_true(f->open);
    f->n_body += s.len;
    if (f->n_body < 4096)
        buf_add(&f->body, slice_span(s));
    block_unref(s.block);
}

static void reply(struct fixture *f)
{
    const struct http_reply r = {.status = 200, .has_body = true};

    assert_int_equal(http_reply_whole(http_connection_engine(f->c), &r, SPAN("ok")), OK);
    http_connection_wake(f->c);
}

static void reply_long(struct fixture *f)
{
    const struct http_reply r = {.status = 200, .has_body = true, .length = f->to_drive};

    assert_int_equal(http_reply_head(http_connection_engine(f->c), &r), OK);
}

static void on_end(void *arg)
{
    struct fixture *f = arg;

    assert_true(f->open);
    flush_body(f);
    buf_text(&f->log, "END;");
    if (f->switches)
        f->switch_err = http_connection_switch(f->c, SPAN("Upgrade: TLS/1.2, HTTP/1.1\r\n"));
    if (f->switches && f->switch_err == OK)
        return;
    f->switches = false;
    if (f->to_drive)
        reply_long(f);
    else if (!f->keeps_silent)
        reply(f);
}

static void on_failed(void *arg, const struct fault *fault)
{
    struct fixture *f = arg;

    flush_body(f);
    buf_fmt(&f->log, "FAILED %s %u;", err_code(fault->err), fault->status);
    f->open = false;
    f->n_failed++;
}

static bool on_drive(void *arg)
{
    static const char zeros[4096];
    struct fixture *f = arg;
    size_t n = f->to_drive < sizeof zeros ? (size_t)f->to_drive : sizeof zeros;

    if (n == 0)
        return false;
    assert_int_equal(http_reply_copy(http_connection_engine(f->c), (struct span){zeros, n}), OK);
    f->to_drive -= n;
    if (f->to_drive == 0)
        assert_int_equal(http_reply_end(http_connection_engine(f->c)), OK);
    return true;
}

static bool on_is_behind(const void *arg)
{
    return ((const struct fixture *)arg)->is_behind;
}

static bool on_is_working(const void *arg)
{
    return ((const struct fixture *)arg)->is_working;
}

static void on_over(void *arg)
{
    struct fixture *f = arg;

    assert_true(f->open);
    f->open = false;
    f->n_over++;
    f->n_answered += recv(f->fd, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    buf_text(&f->log, "OVER;");
}

static void on_switched(void *arg)
{
    struct fixture *f = arg;

    assert_true(http_connection_is_upgraded(f->c));
    f->switches = false;
    buf_text(&f->log, "SWITCHED;");
    reply(f);
}

static void on_closed(void *arg)
{
    struct fixture *f = arg;

    assert_false(f->open);
    f->n_closed++;
    f->c = NULL;
    buf_text(&f->log, "CLOSED;");
}

static const struct http_handler handler = {
    .request = on_request,
    .body = on_body,
    .end = on_end,
    .failed = on_failed,
    .drive = on_drive,
    .is_behind = on_is_behind,
    .is_working = on_is_working,
    .over = on_over,
    .switched = on_switched,
    .closed = on_closed,
};

/* ---- the listener ---- */

static void on_open(void *arg, struct loop *l, const struct accepted *a)
{
    struct fixture *f = arg;
    const struct http_connection_settings s = {
        .loop = l, .limits = &f->limits, .handler = &handler, .arg = f, .memory = &f->memory};

    assert_null(f->c);
    assert_int_equal(http_connection_new(&s, a, &f->c), OK);
    assert_ptr_equal(http_connection_accepted(f->c)->settings, &f->settings);
}

static void on_refused(void *arg, struct loop *l, const struct listener_settings *s,
                       const struct address *peer, enum err e, const char *why,
                       const sallyport_report *report)
{
    (void)arg;
    (void)l;
    (void)s;
    (void)peer;
    (void)e;
    (void)report;
    fail_msg("refused: %s", why);
}

static const struct listener_events events = {on_open, on_refused};

static void no_fire(struct timer *t)
{
    (void)t;
}

static int make_certs(void **state)
{
    (void)state;
    ca = test_ca_new("Test CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    server_tls = test_tls_server(&leaf, NULL, false);
    client_tls = test_tls_client(&ca, NULL);
    log_set_level(LOG_LEVEL_ERROR);
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    tls_context_unref(server_tls);
    tls_context_unref(client_tls);
    test_cert_free(&leaf);
    test_cert_free(&ca);
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    int error;

    assert_non_null(f);
    test_clock_init(&f->clock, 1000000);
    f->loop = test_loop(&f->clock.clock);
    f->pace.fire = no_fire;
    timer_set(f->loop, &f->pace, UINT64_MAX / 2);
    f->limits = http_limits_default;
    f->limits.head_ms = 1000;
    f->limits.body_idle_ms = 2000;
    f->limits.write_idle_ms = 3000;
    f->limits.idle_ms = 4000;
    budget_init(&f->memory, 0);
    f->settings.refs = 1;
    f->settings.name = "edge";
    f->settings.tls_upgrade = server_tls;
    f->settings.handshake_ms = 10000;
    f->address = test_loopback(0);
    assert_int_equal(listener_socket(&f->address, 8, &f->listening, &error), OK);
    f->address = test_local_address(f->listening);
    assert_int_equal(loop_group_new(&f->loop, 1, &f->group), OK);
    assert_int_equal(
        listener_new(f->loop, f->group, f->listening, &f->settings, &events, f, &f->listener), OK);
    f->fd = -1;
    *state = f;
    return 0;
}

static void hang_up(struct fixture *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    hang_up(f);
    if (f->c)
        http_connection_end(f->c, ERR_DRAINING, "the test is over");
    listener_free(f->listener);
    test_settle(f->loop);
    assert_int_equal(loop_group_connections(f->group, 0), 0);
    assert_int_equal(f->settings.refs, 1);
    assert_true(f->n_requests <= f->n_over + f->n_failed); /* a failure may be of none */
    timer_clear(f->loop, &f->pace);
    loop_free(f->loop);
    loop_group_free(f->group);
    (void)close(f->listening);
    buf_done(&f->log);
    buf_done(&f->body);
    buf_done(&f->wire);
    free(f);
    return 0;
}

/* ---- the peer ---- */

static void read_wire(struct fixture *f)
{
    char room[65536];
    ssize_t n = f->fd >= 0 && !f->eof ? read(f->fd, room, sizeof room) : -1;

    if (n > 0)
        buf_add(&f->wire, (struct span){room, (size_t)n});
    else if (n == 0 || (n < 0 && f->fd >= 0 && errno == ECONNRESET))
        f->eof = true;
}

static void step(struct fixture *f, bool wait)
{
    (void)loop_turn(f->loop, wait);
    read_wire(f);
}

#define UNTIL(f, condition)                                    \
    do {                                                       \
        unsigned turns_ = 0;                                   \
        while (!(condition)) {                                 \
            if (++turns_ > 5000)                               \
                fail_msg("never became true: %s", #condition); \
            step((f), turns_ % 4 == 0);                        \
        }                                                      \
    } while (0)

static void settle(struct fixture *f)
{
    for (unsigned i = 0; i < 30; i++)
        step(f, false);
}

/* A little more: timers are not to the ms. */
static void pass(struct fixture *f, uint64_t ms)
{
    settle(f);
    f->clock.now_ms += ms;
    settle(f);
    for (unsigned i = 0; i < 4; i++)
        step(f, true);
}

/* A connection of its own, of which nothing was said yet. */
static void begin(struct fixture *f)
{
    hang_up(f);
    UNTIL(f, !f->c);
    buf_reset(&f->log);
    buf_reset(&f->wire);
    f->eof = false;
    f->n_closed = 0;
    f->n_body = 0;
    f->fd = test_connect(&f->address);
    UNTIL(f, f->c);
}

static void say_span(struct fixture *f, struct span s)
{
    while (s.n) {
        ssize_t n = write(f->fd, s.p, s.n);

        if (n > 0)
            s = span_sub(s, (size_t)n, SIZE_MAX);
        else
            step(f, false);
    }
}

static void say(struct fixture *f, const char *text)
{
    say_span(f, span_of(text));
}

static bool logged(const struct fixture *f, const char *text)
{
    return span_eq(buf_span(&f->log), span_of(text));
}

static bool heard(const struct fixture *f, const char *text)
{
    return f->wire.n && memmem(f->wire.p, f->wire.n, text, strlen(text)) != NULL;
}

static void expect_log(struct fixture *f, const char *text)
{
    unsigned turns = 0;

    while (!logged(f, text) && ++turns < 2000)
        step(f, turns % 4 == 0);
    settle(f);
    if (!logged(f, text))
        fail_msg("%s\nand not\n%s", buf_cstr(&f->log), text);
}

/* ---- whatever pieces it comes in ---- */

struct row {
    const char *name, *in, *log, *wire; /* |wire|: the last of what comes back */
    bool goes_on;
};

#define OK_END "\r\n\r\nok"

/* clang-format off */
static const struct row rows[] = {
    {"a question", "GET /a HTTP/1.1\r\n" H "\r\n", "GET /a;END;OVER;", OK_END, false},
    {"two at once", "GET /a HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.1\r\n" H "\r\n", "GET /a;END;OVER;GET /b;END;OVER;", OK_END,
     false},
    {"a body", "POST /a HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", "POST /a;BODY hello;END;OVER;", OK_END, false},
    {"in chunks", "POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
     "POST /a;BODY hello;END;OVER;", OK_END, false},
    {"a body and another request", "POST /a HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nabGET /b HTTP/1.1\r\n" H "\r\n",
     "POST /a;BODY ab;END;OVER;GET /b;END;OVER;", OK_END, false},
    {"100 Continue", "POST /a HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
     "POST /a;BODY ab;END;OVER;", OK_END, true},
    {"the last one", "GET /a HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "GET /a;END;OVER;CLOSED;", OK_END, false},
    {"of old", "GET /a HTTP/1.0\r\n\r\n", "GET /a;END;OVER;CLOSED;", OK_END, false},
    {"no host", "GET /a HTTP/1.1\r\n\r\n", "FAILED protocol 400;CLOSED;", "", false},
    {"no request", "HELO\r\n\r\n", "FAILED protocol 400;CLOSED;", "", false},
    {"a bad chunk", "POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\nax", "POST /a;BODY a;FAILED protocol 400;CLOSED;",
     "", false},
};
/* clang-format on */

static void check_row(struct fixture *f, const struct row *row)
{
    expect_log(f, row->log);
    UNTIL(f, row->wire[0] == '\0' || heard(f, row->wire));
    if (strstr(row->log, "FAILED"))
        assert_true(heard(f, "HTTP/1.1 400 "));
    if (strstr(row->log, "CLOSED"))
        UNTIL(f, f->eof);
}

static void test_cut_anywhere(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span in = span_of(rows[i].in);

        f->goes_on = rows[i].goes_on;
        for (size_t at = 0; at < in.n; at++) {
            begin(f);
            say_span(f, span_sub(in, 0, at));
            settle(f);
            say_span(f, span_sub(in, at, SIZE_MAX));
            check_row(f, &rows[i]);
        }
    }
}

/* Whoever was told of a request is told how it ends, once, and then that the connection is closed.
 */
static void test_ends_anywhere(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t n = 0; n < strlen(rows[i].in); n++) {
            begin(f);
            f->n_requests = f->n_over = f->n_failed = 0;
            say_span(f, span_sub(span_of(rows[i].in), 0, n));
            if (n % 2)
                settle(f);
            if (n % 3) /* else with a reset, where something of an answer is on its way */
                (void)shutdown(f->fd, SHUT_WR);
            else
                hang_up(f);
            UNTIL(f, f->n_closed);
            settle(f);
            assert_int_equal(f->n_closed, 1);
            assert_true(f->n_requests <= f->n_over + f->n_failed);
            assert_true(f->n_failed <= 1);
        }
}

/* ---- who is waited for ---- */

/* A client that holds each piece back until it is known that the one before came. Behind an answer
 * the kernel would say so only with the next one. */
static void test_held_back(void **state)
{
    static const char *const pieces[] = {"POST / HT", "TP/1.1\r\n" H "Content-Length: 5\r\n\r\n",
                                         "he", "l", "lo"};
    struct fixture *f = *state;

    begin(f);
    for (unsigned i = 0; i < 3; i++) {
        buf_reset(&f->wire);
        for (size_t k = 0; k < ARRAY_LEN(pieces); k++) {
            say(f, pieces[k]);
            settle(f);
            assert_int_equal(test_unacknowledged(f->fd), 0);
        }
        UNTIL(f, heard(f, OK_END));
    }
}

static void test_behind(void **state)
{
    struct fixture *f = *state;
    static char megabyte[1 << 20];
    struct span rest = {megabyte, sizeof megabyte};

    begin(f);
    f->is_behind = true;
    say(f, "POST / HTTP/1.1\r\n" H "Content-Length: 1048576\r\n\r\n");
    for (unsigned i = 0; i < 200; i++) {
        ssize_t n = write(f->fd, rest.p, rest.n);

        if (n > 0)
            rest = span_sub(rest, (size_t)n, SIZE_MAX);
        step(f, false);
    }
    assert_true(f->n_body <= 4 * BLOCK_SIZE); /* what had been read by then */
    pass(f, 10 * f->limits.body_idle_ms);     /* which is nobody's fault */
    assert_int_equal(f->n_failed, 0);
    f->is_behind = false;
    http_connection_wake(f->c);
    say_span(f, rest);
    UNTIL(f, heard(f, OK_END));
    assert_int_equal(f->n_body, 1 << 20);
}

static void test_goes_away_meanwhile(void **state)
{
    struct fixture *f = *state;

    f->keeps_silent = f->is_working = true;
    begin(f);
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /;END;");
    pass(f, 100 * f->limits.idle_ms); /* as long as it takes */
    assert_true(logged(f, "GET /;END;"));
    (void)shutdown(f->fd, SHUT_WR);
    expect_log(f, "GET /;END;FAILED client-gone 0;CLOSED;");
}

/* Who has only ended his half waits for his answer. */
static void test_half_closed(void **state)
{
    struct fixture *f = *state;

    f->keeps_silent = true;
    begin(f);
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /;END;");
    (void)shutdown(f->fd, SHUT_WR);
    settle(f);
    assert_true(logged(f, "GET /;END;"));
    reply(f);
    expect_log(f, "GET /;END;OVER;CLOSED;");
    assert_true(heard(f, OK_END));
}

/* What comes behind an answer, records for example, does not keep its client waiting; answers to
 * requests that came together leave together. */
static void test_answer_before_over(void **state)
{
    struct fixture *f = *state;

    begin(f);
    say(f, "GET /1 HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /1;END;OVER;");
    assert_int_equal(f->n_answered, 1);
    say(f, "GET /2 HTTP/1.1\r\n" H "\r\nGET /3 HTTP/1.1\r\n" H "\r\nGET /4 HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /1;END;OVER;GET /2;END;OVER;GET /3;END;OVER;GET /4;END;OVER;");
    assert_int_equal(f->n_answered, 2);
}

/* An answer that takes longer than a connection may be idle: that time begins behind it. */
static void test_late_answer(void **state)
{
    struct fixture *f = *state;

    f->keeps_silent = true;
    begin(f);
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /;END;");
    f->clock.now_ms += 2 * f->limits.idle_ms;
    reply(f);
    expect_log(f, "GET /;END;OVER;");
    pass(f, f->limits.idle_ms - 100);
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /;END;OVER;GET /;END;");
}

/* Nobody is there to take the answer: that is how the request ended. */
static void test_gone_before_its_answer(void **state)
{
    const struct linger reset = {.l_onoff = 1};
    struct fixture *f = *state;

    f->keeps_silent = true;
    begin(f);
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /;END;");
    assert_int_equal(setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    hang_up(f);
    reply(f); /* before it is seen */
    expect_log(f, "GET /;END;FAILED client-gone 0;CLOSED;");
}

static void test_memory(void **state)
{
    struct fixture *f = *state;

    begin(f);
    budget_init(&f->memory, 1 << 20);
    assert_true(budget_take(&f->memory, 1 << 20));
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    settle(f);
    assert_true(logged(f, ""));
    budget_give(&f->memory, 1 << 20);
    pass(f, 100); /* it looks again by itself */
    expect_log(f, "GET /;END;OVER;");
}

/* ---- time ---- */

struct wait_row {
    const char *name, *in;
    uint64_t ms; /* that pass without harm; then some more */
    const char *log, *wire;
};

/* clang-format off */
static const struct wait_row wait_rows[] = {
    {"nothing", "", 3900, "CLOSED;", ""},
    {"between requests", "GET / HTTP/1.1\r\n" H "\r\n", 3900, "GET /;END;OVER;CLOSED;", "ok"},
    {"within a head", "GET / HTTP/1.1\r\n", 900, "FAILED timeout 408;CLOSED;", "HTTP/1.1 408 "},
    {"within a body", "POST / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\na", 1900, "POST /;BODY a;FAILED timeout 408;CLOSED;",
     "HTTP/1.1 408 "},
};
/* clang-format on */

static void test_silence(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(wait_rows); i++) {
        const struct wait_row *row = &wait_rows[i];

        begin(f);
        say(f, row->in);
        pass(f, row->ms);
        assert_int_equal(f->n_closed, 0);
        f->clock.now_ms += 200;
        expect_log(f, row->log);
        UNTIL(f, f->eof);
        assert_true(row->wire[0] == '\0' || heard(f, row->wire));
    }
}

/* An answer that nobody takes. */
static void test_takes_nothing(void **state)
{
    struct fixture *f = *state;
    int fd;

    begin(f);
    f->to_drive = UINT64_C(1) << 32;
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    fd = f->fd;
    f->fd = -1; /* step() reads no more */
    for (unsigned i = 0; i < 3000; i++)
        step(f, false);
    assert_true(logged(f, "GET /;END;"));
    assert_true(f->to_drive > UINT64_C(1) << 31); /* it is not all in memory, either */
    pass(f, f->limits.write_idle_ms + 100);
    expect_log(f, "GET /;END;FAILED timeout 0;CLOSED;");
    f->to_drive = 0;
    (void)close(fd);
}

/* ---- giving up, and ending ---- */

static void test_lose(void **state)
{
    struct fixture *f = *state;

    f->loses = true;
    begin(f);
    say(f, "POST / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nab");
    expect_log(f, "POST /;FAILED memory 0;CLOSED;"); /* and nothing of the body */
    f->loses = false;
}

static void test_end(void **state)
{
    struct fixture *f = *state;

    f->keeps_silent = true;
    begin(f);
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /;END;");
    http_connection_end(f->c, ERR_DRAINING, "over");
    assert_true(logged(f, "GET /;END;FAILED draining 0;CLOSED;")); /* within the call */
}

static void test_drain(void **state)
{
    struct fixture *f = *state;

    begin(f); /* one that has not asked yet may do so, once */
    http_connection_drain(f->c);
    settle(f);
    assert_int_equal(f->n_closed, 0);
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /;END;OVER;CLOSED;");
    assert_true(heard(f, "Connection: close"));
    begin(f); /* and within some time */
    http_connection_drain(f->c);
    pass(f, 2100);
    expect_log(f, "CLOSED;");
    begin(f); /* one that is idle ends */
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /;END;OVER;");
    http_connection_drain(f->c);
    expect_log(f, "GET /;END;OVER;CLOSED;");
    f->keeps_silent = true;
    begin(f); /* and one that is not when it is over */
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_log(f, "GET /;END;");
    http_connection_drain(f->c);
    settle(f);
    assert_int_equal(f->n_closed, 0);
    reply(f);
    expect_log(f, "GET /;END;OVER;CLOSED;");
}

/* ---- TLS on the way ---- */

#define ASKS "OPTIONS * HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n"

static SSL *handshake(struct fixture *f)
{
    SSL *ssl = tls_context_open(client_tls, "localhost");
    int fd = f->fd;

    f->fd = -1; /* its bytes are TLS's */
    SSL_set_fd(ssl, fd);
    UNTIL(f, (ERR_clear_error(), SSL_do_handshake(ssl)) == 1);
    return ssl;
}

static void read_tls(struct fixture *f, SSL *ssl)
{
    char room[4096];
    int n;

    ERR_clear_error();
    n = SSL_read(ssl, room, sizeof room);
    if (n > 0)
        buf_add(&f->wire, (struct span){room, (size_t)n});
}

static void end_tls(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    SSL_free(ssl);
    (void)close(fd);
}

static void test_switch(void **state)
{
    struct fixture *f = *state;
    SSL *ssl;

    f->switches = true;
    begin(f);
    say(f, ASKS);
    UNTIL(f, heard(f, "\r\n\r\n"));
    assert_true(heard(f, "HTTP/1.1 101 ") && heard(f, "Upgrade: TLS/1.2, HTTP/1.1\r\n"));
    assert_int_equal(f->switch_err, OK);
    assert_true(logged(f, "OPTIONS *;END;"));
    assert_false(http_connection_is_upgraded(f->c));
    buf_reset(&f->wire);
    ssl = handshake(f);
    UNTIL(f, (read_tls(f, ssl), heard(f, OK_END))); /* the final answer, inside */
    assert_true(logged(f, "OPTIONS *;END;SWITCHED;OVER;"));
    buf_reset(&f->wire);
    assert_true(SSL_write(ssl, "GET /a HTTP/1.1\r\n" H "\r\n", 28) > 0);
    UNTIL(f, (read_tls(f, ssl), heard(f, OK_END)));
    expect_log(f, "OPTIONS *;END;SWITCHED;OVER;GET /a;END;OVER;");
    end_tls(ssl);
    UNTIL(f, f->n_closed);
}

/* What is behind the question came in clear text, and would be taken for protected. */
static void test_no_switch(void **state)
{
    struct fixture *f = *state;

    begin(f);
    f->switches = true;
    say(f, ASKS "GET / HTTP/1.1\r\n" H "\r\n");
    UNTIL(f, f->switch_err);
    assert_int_equal(f->switch_err, ERR_PROTO);
    assert_false(heard(f, "101"));
    f->settings.tls_upgrade = NULL;
    f->switch_err = OK;
    begin(f);
    f->switches = true;
    say(f, ASKS);
    UNTIL(f, f->switch_err);
    assert_int_equal(f->switch_err, ERR_MISSING);
    f->settings.tls_upgrade = server_tls;
}

static void test_handshake_fails(void **state)
{
    struct fixture *f = *state;

    f->switches = true;
    begin(f); /* nobody begins it */
    say(f, ASKS);
    UNTIL(f, heard(f, "101"));
    pass(f, f->settings.handshake_ms - 200);
    assert_int_equal(f->n_closed, 0);
    f->clock.now_ms += 400;
    expect_log(f, "OPTIONS *;END;FAILED timeout 0;CLOSED;");
    begin(f); /* or clear text goes on */
    say(f, ASKS);
    UNTIL(f, heard(f, "101"));
    say(f, "GET / HTTP/1.1\r\n" H "\r\n");
    UNTIL(f, f->n_closed);
    assert_true(span_starts(buf_span(&f->log), SPAN("OPTIONS *;END;FAILED ")));
    assert_int_equal(f->n_requests, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cut_anywhere),
        TEST(test_ends_anywhere),
        TEST(test_held_back),
        TEST(test_behind),
        TEST(test_goes_away_meanwhile),
        TEST(test_half_closed),
        TEST(test_answer_before_over),
        TEST(test_late_answer),
        TEST(test_gone_before_its_answer),
        TEST(test_memory),
        TEST(test_silence),
        TEST(test_takes_nothing),
        TEST(test_lose),
        TEST(test_end),
        TEST(test_drain),
        TEST(test_switch),
        TEST(test_no_switch),
        TEST(test_handshake_fails),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
