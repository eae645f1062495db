/* SPDX-License-Identifier: Apache-2.0 */
/* The ICAP server's driver over real sockets, with a clock in the test's hand: connections, bodies
 * of every size, clients that go away or crawl. */
#include "test_icap_peer.h"

#include "test_certs.h"

#define BIG (6u << 20)

static const char config[] =
    "services:\n"
    "  - {name: echo, type: echo, path: /echo}\n"
    "  - {name: scan, type: inspect, path: /scan, preview: 4, revision: one}\n";

static int setup(void **state)
{
    *state = world_new(config, NULL);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

static char *big_body(void)
{
    char *p = malloc(BIG);
    uint64_t x = 88172645463325252u;

    assert_non_null(p);
    for (size_t i = 0; i < BIG; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        p[i] = (char)(x >> 32);
    }
    return p;
}

/* ---- echo ---- */

static void test_echo(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    peer_ask(w, p, &(struct ask){.path = "/echo", .body = "hello"});
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_string_equal(buf_cstr(&r.body), "hello");
    assert_reply_has(&r, "HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n");
    reply_done(&r);
    peer_ask(w, p, &(struct ask){.method = "REQMOD", .path = "/echo"});
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_reply_has(&r, "Encapsulated: req-hdr=0, null-body=");
    reply_done(&r);
    peer_gets(w, p, &(struct ask){.path = "/echo", .fields = "Allow: 204\r\n"}, 204);
    peer_gets(w, p, &(struct ask){.path = "/echo", .fields = "Allow: 204\r\n", .body = "x"}, 204);
    peer_gets(w, p, &(struct ask){.path = "/echo", .body = ""}, 200);
    assert_int_equal(icap_server_connections(w->server), 1);
    assert_int_equal(w->zygote.n_jobs, 0);
}

/* Heads that need more than one chunk of the engine's arena: the record is written while the last
 * of it is still there. */
static void test_record_of_large_heads(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct buf fields;

    buf_init(&fields, 0);
    buf_text(&fields, "Allow: 204\r\nX-Client-IP: 192.0.2.77\r\n");
    for (unsigned i = 0; i < 100; i++)
        buf_fmt(&fields, "X-Field-%u: some value or other\r\n", i);
    for (unsigned i = 0; i < 3; i++)
        peer_gets(w, p, &(struct ask){.path = "/echo", .fields = buf_cstr(&fields)}, 204);
    for (unsigned i = 0; i < 3; i++) {
        json_t *r = world_record(w);

        assert_string_equal(record_text(r, "client_ip"), "192.0.2.77");
        json_decref(r);
    }
    buf_done(&fields);
}

static void test_echo_decides_on_the_preview(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    peer_ask(
        w, p,
        &(struct ask){.path = "/echo", .fields = "Preview: 4\r\n", .body = "?", .head_only = true});
    peer_say(w, p, "4\r\nabcd\r\n0\r\n\r\n");
    r = peer_reply(w, p);
    assert_status(&r, 204);
    reply_done(&r);
    peer_ask(
        w, p,
        &(struct ask){.path = "/echo", .fields = "Preview: 9\r\n", .body = "?", .head_only = true});
    peer_say(w, p, "4\r\nabcd\r\n0; ieof\r\n\r\n");
    r = peer_reply(w, p);
    assert_status(&r, 204);
    reply_done(&r);
}

/* Erratum E4: heads may be missing. */
static void test_bodies_without_heads(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    peer_say(w, p,
             "RESPMOD icap://gw/echo ICAP/1.0\r\nEncapsulated: res-body=0\r\n\r\n"
             "1\r\nx\r\n0\r\n\r\n");
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_reply_has(&r, "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    assert_string_equal(buf_cstr(&r.body), "x");
    reply_done(&r);
    peer_say(w, p,
             "REQMOD icap://gw/echo ICAP/1.0\r\nEncapsulated: req-body=0\r\n\r\n"
             "1\r\nx\r\n0\r\n\r\n");
    r = peer_reply(w, p);
    assert_status(&r, 418);
    reply_done(&r);
    /* Without the need to hand it back it is a file like any other. */
    w->zygote.mode = FAKE_ANSWER;
    peer_say(w, p,
             "REQMOD icap://gw/scan ICAP/1.0\r\nAllow: 204\r\n"
             "Encapsulated: req-body=0\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    r = peer_reply(w, p);
    assert_status(&r, 204);
    reply_done(&r);
    assert_int_equal(w->zygote.n_jobs, 1);
}

static void test_trailers_come_back(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    peer_ask(w, p, &(struct ask){.path = "/echo", .body = "?", .head_only = true});
    peer_say(w, p, "1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n");
    WORLD_UNTIL(w, memmem(p->in.p, p->in.n, "0\r\nX-Sum: 1\r\n\r\n", 15));
}

/* A client that writes everything before it reads anything: what it does not take goes through
 * memory into the spool, and back. */
static void write_all_then_read(struct world *w, struct peer *p, const char *path)
{
    char *body = big_body();
    struct reply r;

    p->deaf = true;
    peer_ask(w, p, &(struct ask){.path = path, .body = body, .body_n = BIG});
    world_settle(w);
    p->deaf = false;
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_int_equal(r.body.n, BIG);
    assert_memory_equal(r.body.p, body, BIG);
    reply_done(&r);
    free(body);
}

static void test_write_all_then_read(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    int little = 65536;

    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    write_all_then_read(w, p, "/echo");
    assert_true(atomic_load(&w->spooled.peak) > (1 << 20));
    write_all_then_read(w, p, "/echo");
    w->zygote.mode = FAKE_ANSWER;
    write_all_then_read(w, p, "/scan");
    WORLD_UNTIL(w, open_transactions(w) == 0);
    json_t *j;

    json_decref(world_record(w));
    json_decref(world_record(w));
    j = world_record(w);
    assert_int_equal(record_number(j, "body_len"), BIG);
    assert_int_equal(strlen(record_text(j, "sha256")), 64);
    json_decref(j);
}

/* An echo that nobody takes, and no room for it. */
static void test_a_full_spool_ends_the_echo(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    char *body = big_body();
    int little = 65536;

    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    budget_init(&w->spooled, 100000);
    p->deaf = true;
    peer_ask(w, p, &(struct ask){.path = "/echo", .body = body, .body_n = BIG});
    expect_no_connection(w);
    expect_record(w, "disk-full", 200);
    free(body);
}

/* ---- inspect ---- */

static void test_inspect_with_preview(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct ask a = {.path = "/scan", .fields = "Preview: 4\r\n", .body = "?", .head_only = true};
    struct reply r;

    w->zygote.mode = FAKE_ANSWER;
    peer_ask(w, p, &a);
    peer_say(w, p, "4\r\nabcd\r\n0\r\n\r\n");
    WORLD_UNTIL(w, span_eq(buf_span(&p->in), SPAN("ICAP/1.0 100 Continue\r\n\r\n")));
    buf_reset(&p->in);
    peer_say(w, p, "3\r\nefg\r\n0\r\n\r\n");
    /* After 100 there is no 204 any more without Allow. */
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_string_equal(buf_cstr(&r.body), "abcdefg");
    reply_done(&r);
    assert_int_equal(w->zygote.workers[0].job.job.len, 7);
    peer_ask(w, p, &a);
    peer_say(w, p, "2\r\nab\r\n0; ieof\r\n\r\n");
    r = peer_reply(w, p);
    assert_status(&r, 204);
    reply_done(&r);
    /* A refusal that is known at the head needs no preview. */
    a.response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n";
    peer_ask(w, p, &a);
    peer_say(w, p, "4\r\nabcd\r\n0\r\n\r\n");
    r = peer_reply(w, p);
    assert_reply_has(&r, "HTTP/1.1 403 Forbidden");
    reply_done(&r);
    peer_gets(w, p, &(struct ask){.method = "OPTIONS", .path = "/scan"}, 200);
    assert_int_equal(w->zygote.n_jobs, 2);
}

static void test_nothing_to_inspect(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    peer_gets(w, p, &(struct ask){.path = "/scan", .fields = "Allow: 204\r\n"}, 204);
    peer_gets(w, p, &(struct ask){.path = "/scan", .fields = "Allow: 204\r\n", .body = ""}, 204);
    peer_gets(w, p, &(struct ask){.path = "/scan", .fields = "Preview: 0\r\n"}, 204);
    assert_int_equal(w->zygote.n_jobs, 0);
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct buf b;

    buf_init(&b, 0);
    w->zygote.mode = FAKE_ANSWER;
    for (unsigned i = 0; i < 4; i++) {
        ask_format(&(struct ask){.path = "/echo", .fields = "Allow: 204\r\n"}, &b);
        ask_format(&(struct ask){.path = "/scan", .body = "x"}, &b);
        ask_format(&(struct ask){.method = "OPTIONS", .path = "/scan"}, &b);
    }
    peer_send(w, p, buf_span(&b));
    buf_done(&b);
    for (unsigned i = 0; i < 4; i++) {
        struct reply r[3];

        for (unsigned k = 0; k < 3; k++)
            r[k] = peer_reply(w, p);
        assert_status(&r[0], 204);
        assert_status(&r[1], 200);
        assert_string_equal(buf_cstr(&r[1].body), "x");
        assert_reply_has(&r[2], "Methods: ");
        for (unsigned k = 0; k < 3; k++)
            reply_done(&r[k]);
    }
    for (unsigned i = 0; i < 12; i++) {
        json_t *j = world_record(w);

        assert_string_equal(record_text(j, "service"), i % 3 == 0 ? "echo" : "scan");
        assert_null(json_object_get(j, "error"));
        json_decref(j);
    }
    assert_int_equal(open_transactions(w), 0);
}

static void test_one_byte_at_a_time(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct buf b;

    buf_init(&b, 0);
    w->zygote.mode = FAKE_ANSWER;
    ask_format(&(struct ask){.path = "/scan", .body = "hello"}, &b);
    for (size_t i = 0; i < b.n; i++) {
        peer_send(w, p, span_sub(buf_span(&b), i, 1));
        world_step(w, false);
    }
    buf_done(&b);
    struct reply r = peer_reply(w, p);

    assert_string_equal(buf_cstr(&r.body), "hello");
    reply_done(&r);
}

/* A client that holds each piece back until it is known that the one before came. Behind an answer
 * the kernel would say so only with the next one. */
static void test_pieces_that_are_held_back(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct buf b;

    buf_init(&b, 0);
    ask_format(&(struct ask){.path = "/echo", .body = "hello"}, &b);
    for (unsigned i = 0; i < 3; i++) {
        for (size_t at = 0; at < b.n; at += 40) {
            peer_send(w, p, span_sub(buf_span(&b), at, 40));
            world_settle(w);
            assert_int_equal(test_unacknowledged(p->fd), 0);
        }
        struct reply r = peer_reply(w, p);

        assert_status(&r, 200);
        reply_done(&r);
    }
    buf_done(&b);
}

/* ---- clients that go away ---- */

static void expect_scan_dropped(struct world *w)
{
    expect_no_connection(w);
    assert_int_equal(world_scans(w), 0);
    expect_record(w, "client-gone", 0);
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    world_settle(w);
}

static void test_gone_during_a_scan(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    ask_for_a_scan(w, p);
    peer_close(p);
    expect_scan_dropped(w);
}

static void test_gone_during_a_scan_with_bytes_behind(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    ask_for_a_scan(w, p);
    peer_say(w, p, "0\r\n\r\n");
    world_settle(w);
    peer_say(w, p, "more");
    world_settle(w);
    assert_int_equal(icap_server_connections(w->server), 1);
    peer_close(p);
    expect_scan_dropped(w);
}

static void test_reset_during_a_scan(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    const struct linger hard = {.l_onoff = 1};

    ask_for_a_scan(w, p);
    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    peer_close(p);
    expect_scan_dropped(w);
}

static void test_gone_while_its_file_waits_for_a_worker(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct workers_counts c;

    fake_close(&w->zygote);
    world_settle(w);
    peer_ask(w, p, &(struct ask){.path = "/scan", .body = "x"});
    world_settle(w);
    peer_close(p);
    expect_no_connection(w);
    workers_counts(w->workers, &c);
    assert_int_equal(c.queued, 0);
    expect_record(w, "client-gone", 0);
}

/* In each state: after so many bytes of the request. */
static void test_gone_anywhere(void **state)
{
    struct world *w = *state;
    struct buf b;

    buf_init(&b, 0);
    ask_format(&(struct ask){.path = "/scan", .fields = "Preview: 4\r\n", .body = "hello"}, &b);
    b.n -= 15; /* inside the preview */
    for (size_t n = 0; n < b.n; n += 5) {
        struct peer *p = peer_new(w);

        peer_send(w, p, span_sub(buf_span(&b), 0, n));
        world_settle(w);
        if (n % 2) {
            const struct linger hard = {.l_onoff = 1};

            (void)setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        }
        peer_close(p);
        expect_no_connection(w);
        if (n > 0)
            expect_record(w, "client-gone", 0);
        buf_done(&p->in);
        w->n_peers--;
    }
    buf_done(&b);
}

static void test_gone_while_it_is_answered(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    char *body = big_body();
    const struct linger hard = {.l_onoff = 1};

    p->deaf = true;
    peer_ask(w, p, &(struct ask){.path = "/echo", .body = body, .body_n = BIG});
    world_settle(w);
    (void)setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    peer_close(p);
    expect_no_connection(w);
    expect_record(w, "client-gone", 200);
    free(body);
}

static void test_half_close_behind_a_whole_request(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct buf b;

    buf_init(&b, 0);
    ask_format(&(struct ask){.path = "/echo", .body = "x"}, &b);
    assert_int_equal(send(p->fd, b.p, b.n, 0), (ssize_t)b.n);
    buf_done(&b);
    assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
    struct reply r = peer_reply(w, p);

    assert_status(&r, 200);
    assert_string_equal(buf_cstr(&r.body), "x");
    reply_done(&r);
    peer_ends(w, p);
    expect_no_connection(w);
    expect_record(w, "", 200);
}

/* ---- clients that crawl ---- */

static void test_idle(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    world_pass(w, 119000);
    assert_int_equal(icap_server_connections(w->server), 1);
    peer_gets(w, p, &(struct ask){.path = "/echo"}, 200);
    world_pass(w, 119000);
    assert_int_equal(icap_server_connections(w->server), 1);
    world_pass(w, 2000);
    expect_no_connection(w);
    peer_ends(w, p);
    assert_int_equal(p->in.n, 0);
    expect_record(w, "", 200);
}

/* |text| comes, and then a byte of |drip| each second, until the server has enough. */
static void crawl(struct world *w, const char *text, const char *drip, uint64_t step_ms,
                  uint64_t limit_ms, unsigned status)
{
    struct peer *p = peer_new(w);
    uint64_t start = w->clock.now_ms;

    peer_say(w, p, text);
    world_settle(w);
    for (unsigned i = 0; !p->eof && !p->reset; i++) {
        if (w->clock.now_ms - start > limit_ms + 2 * step_ms)
            fail_msg("it may crawl for ever");
        peer_send(w, p, span_sub(span_of(drip), i % strlen(drip), 1));
        world_pass(w, step_ms);
    }
    assert_true(w->clock.now_ms - start + 2 * step_ms > limit_ms);
    if (status) {
        char want[32];

        (void)snprintf(want, sizeof want, "ICAP/1.0 %u ", status);
        assert_non_null(memmem(p->in.p, p->in.n, want, strlen(want)));
    }
    world_pass(w, 2100);
    expect_no_connection(w);
    expect_record(w, "timeout", status);
}

static void test_slow_heads(void **state)
{
    struct world *w = *state;

    crawl(w, "R", "E", 1000, 10000, 408);
    crawl(w,
          "RESPMOD icap://gw/echo ICAP/1.0\r\n"
          "Encapsulated: res-hdr=0, res-body=1000\r\n\r\nHTTP/1.1 200 OK\r\nA: ",
          "a", 1000, 10000, 408);
}

static void test_slow_bodies(void **state)
{
    struct world *w = *state;
    static const char head[] =
        "RESPMOD icap://gw/scan ICAP/1.0\r\nPreview: 4\r\n"
        "Encapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    char text[300];

    /* Nothing more comes: 60 s. */
    (void)snprintf(text, sizeof text, "%s4\r\na", head);
    struct peer *p = peer_new(w);

    peer_say(w, p, text);
    world_pass(w, 59000);
    assert_false(p->eof);
    world_pass(w, 2000);
    peer_ends(w, p);
    world_pass(w, 2100);
    expect_no_connection(w);
    expect_record(w, "timeout", 408);
    /* It goes on and on: the whole transaction has 10 minutes. */
    (void)snprintf(text, sizeof text, "%s", head);
    for (char *c = strstr(text, "Preview"); *c; c++)
        if (strncmp(c, "Preview: 4\r\n", 12) == 0) {
            memmove(c, c + 12, strlen(c + 12) + 1);
            break;
        }
    crawl(w, text, "1\r\na\r\n", 20000, 600000, 408);
}

static void test_a_scan_that_outlasts_the_transaction(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    /* A worker that does not answer, and a service that would wait longer than the transaction. */
    icap_snapshot_unref(w->snapshot);
    w->snapshot = world_snapshot(w,
                                 "services:\n"
                                 "  - {name: scan, type: inspect, path: /scan, deadline: 1h}\n",
                                 "");
    icap_server_set_snapshot(w->server, w->snapshot);
    ask_for_a_scan(w, p);
    world_pass(w, 599000);
    assert_false(p->eof);
    world_pass(w, 2000);
    peer_ends(w, p);
    assert_non_null(memmem(p->in.p, p->in.n, "ICAP/1.0 503 ", 13));
    world_pass(w, 2100);
    expect_no_connection(w);
    expect_record(w, "timeout", 503);
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    world_settle(w);
}

static void test_a_client_that_takes_nothing(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    char *body = big_body();
    int little = 65536;

    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    p->deaf = true;
    peer_ask(w, p, &(struct ask){.path = "/echo", .body = body, .body_n = BIG});
    free(body);
    world_pass(w, 59000);
    assert_int_equal(icap_server_connections(w->server), 1);
    world_pass(w, 3000);
    expect_no_connection(w);
    expect_record(w, "timeout", 200);
}

/* What TLS holds back is out for the engine, but not with the client. */
static void test_a_tls_client_that_takes_nothing(void **state)
{
    struct test_cert ca = test_ca_new("Test CA");
    struct test_cert leaf =
        test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    struct tls_context *server = test_tls_server(&leaf, NULL, false);
    struct tls_context *client = test_tls_client(&ca, NULL);
    struct world *w = world_new(config, server);
    int fd = test_connect(&w->address), little = 4096;
    struct stream *s;
    struct chain out;
    struct buf b;

    (void)state;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    assert_int_equal(stream_new(w->loop, fd, &w->address, NULL, NULL, &s), OK);
    assert_int_equal(stream_start_tls(s, client, "localhost"), OK);
    WORLD_UNTIL(w, icap_server_connections(w->server) == 1);
    chain_init(&out, 0);
    buf_init(&b, 0);
    /* Small answers, many of them: the last ones fit into what the stream holds back. */
    for (unsigned i = 0; i < 40000; i++)
        buf_text(&b, "OPTIONS icap://gw/echo ICAP/1.0\r\n\r\n");
    assert_int_equal(chain_append_text(&out, buf_span(&b)), OK);
    for (unsigned i = 0; i < 3000 && out.len; i++) {
        uint64_t n = 0;

        (void)!stream_write(s, &out, &n);
        world_step(w, false);
    }
    for (unsigned i = 0; i < 6 && icap_server_connections(w->server); i++)
        world_pass(w, 61000);
    expect_no_connection(w);
    stream_close(s, 0);
    chain_done(&out);
    buf_done(&b);
    w->clock.now_ms += 10000;
    world_settle(w);
    /* The pipe holds more records than it can: nobody reads them. */
    (void)close(w->record_fd);
    w->record_fd = -1;
    tls_context_unref(client);
    world_free(w);
    tls_context_unref(server);
    test_cert_free(&leaf);
    test_cert_free(&ca);
}

/* ---- hostile bytes ---- */

static void test_refusals(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *text;
        unsigned status;
    } rows[] = {
        {"FILEMOD icap://gw/echo ICAP/1.0\r\n\r\n",                                   501},
        {"OPTIONS icap://gw/echo ICAP/2.0\r\n\r\n",                                   505},
        {"OPTIONS icap://gw/echo ICAP/1.0\nA: b\n\n",                                 400},
        {"RESPMOD icap://gw/echo ICAP/1.0\r\nEncapsulated: res-body=-1\r\n\r\n",      400},
        {"RESPMOD icap://gw/scan ICAP/1.0\r\nEncapsulated: res-body=0\r\n\r\nzz\r\n", 400},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct peer *p = peer_new(w);
        struct reply r;

        peer_say(w, p, rows[i].text);
        r = peer_reply(w, p);
        assert_status(&r, rows[i].status);
        assert_reply_has(&r, "Connection: close\r\n");
        assert_reply_has(&r, "ISTag: \"");
        reply_done(&r);
        peer_ends(w, p);
        peer_close(p);
        expect_no_connection(w);
        expect_record(w, "protocol", rows[i].status);
    }
}

/* Inside an answer that has begun nothing can be said any more. */
static void test_a_bad_chunk_while_the_echo_runs(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    peer_ask(w, p, &(struct ask){.path = "/echo", .body = "?", .head_only = true});
    peer_say(w, p, "3\r\nabc\r\n");
    WORLD_UNTIL(w, memmem(p->in.p, p->in.n, "abc", 3));
    peer_say(w, p, "not a chunk\r\n");
    peer_ends(w, p);
    assert_null(memmem(p->in.p, p->in.n, "\r\n0\r\n\r\n", 7));
    world_pass(w, 2100);
    expect_no_connection(w);
    expect_record(w, "protocol", 200);
}

static void test_heads_over_the_memory_of_a_transaction(void **state)
{
    struct world *w = world_new("services: [{name: echo, type: echo, path: /echo}]\n"
                                "limits: {memory: 64k, fields: 10000, http-head: 256k}\n",
                                NULL);
    struct peer *p = peer_new(w);
    struct buf head;

    (void)state;
    buf_init(&head, 0);
    buf_text(&head, "GET / HTTP/1.1\r\n");
    for (unsigned i = 0; i < 5000; i++)
        buf_text(&head, "a: b\r\n");
    peer_gets(w, p, &(struct ask){.path = "/echo", .request = buf_cstr(&head)}, 503);
    buf_done(&head);
    peer_ends(w, p);
    world_pass(w, 2100);
    expect_no_connection(w);
    expect_record(w, "memory", 503);
    world_free(w);
}

/* ---- memory ---- */

static void test_without_memory_reading_waits(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    block_pool_trim(0);
    budget_init(&w->memory, 1);
    peer_ask(w, p, &(struct ask){.path = "/echo", .body = "x"});
    world_pass(w, 300);
    assert_int_equal(p->in.n, 0);
    assert_int_equal(icap_server_connections(w->server), 1);
    budget_init(&w->memory, 0);
    world_pass(w, 200);
    struct reply r = peer_reply(w, p);

    assert_status(&r, 200);
    reply_done(&r);
}

/* Not reading is ours, so the client's body deadline stands still. */
static void test_starving_is_not_the_clients_fault(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    w->zygote.mode = FAKE_ANSWER;
    peer_ask(w, p, &(struct ask){.path = "/scan", .body = "?", .head_only = true});
    world_settle(w);
    uint64_t used = budget_used(&w->memory);

    atomic_store(&w->memory.max, used ? used : 1);
    peer_say(w, p, "1\r\nx\r\n0\r\n\r\n");
    world_pass(w, 90000);
    assert_int_equal(p->in.n, 0);
    atomic_store(&w->memory.max, 0);
    world_pass(w, 200);
    struct reply r = peer_reply(w, p);

    assert_status(&r, 200);
    reply_done(&r);
}

/* Each allocation fails in turn: an answer comes or the connection ends, a record is left of all
 * that was understood, and nothing is lost. */
static void test_each_allocation_fails_once(void **state)
{
    struct world *w = *state;
    static const char *const paths[] = {"/echo", "/scan"};
    unsigned answered = 0;

    w->zygote.mode = FAKE_ANSWER;
    for (unsigned i = 1; i < 40; i++) {
        struct peer *p = peer_new(w);
        struct buf b; /* the test's own memory does not fail */
        size_t heads;

        buf_init(&b, 0);
        ask_format(&(struct ask){.path = paths[i % 2], .body = "hello"}, &b);
        p->deaf = true;
        mem_fail_after(i);
        peer_send(w, p, buf_span(&b));
        world_pass(w, 100);
        mem_fail_after(0);
        p->deaf = false;
        buf_done(&b);
        WORLD_UNTIL(w, p->eof || p->reset || reply_len(buf_span(&p->in), &heads));
        answered += p->in.n > 0;
        peer_close(p);
        world_pass(w, 2100);
        expect_no_connection(w);
        buf_done(&p->in);
        w->n_peers--;
    }
    assert_in_range(answered, 30, 39);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_echo),
        TEST(test_record_of_large_heads),
        TEST(test_echo_decides_on_the_preview),
        TEST(test_bodies_without_heads),
        TEST(test_trailers_come_back),
        TEST(test_write_all_then_read),
        TEST(test_a_full_spool_ends_the_echo),
        TEST(test_inspect_with_preview),
        TEST(test_nothing_to_inspect),
        TEST(test_pipelined_requests_are_answered_in_order),
        TEST(test_one_byte_at_a_time),
        TEST(test_pieces_that_are_held_back),
        TEST(test_gone_during_a_scan),
        TEST(test_gone_during_a_scan_with_bytes_behind),
        TEST(test_reset_during_a_scan),
        TEST(test_gone_while_its_file_waits_for_a_worker),
        TEST(test_gone_anywhere),
        TEST(test_gone_while_it_is_answered),
        TEST(test_half_close_behind_a_whole_request),
        TEST(test_idle),
        TEST(test_slow_heads),
        TEST(test_slow_bodies),
        TEST(test_a_scan_that_outlasts_the_transaction),
        TEST(test_a_client_that_takes_nothing),
        cmocka_unit_test(test_a_tls_client_that_takes_nothing),
        TEST(test_refusals),
        TEST(test_a_bad_chunk_while_the_echo_runs),
        cmocka_unit_test(test_heads_over_the_memory_of_a_transaction),
        TEST(test_without_memory_reading_waits),
        TEST(test_starving_is_not_the_clients_fault),
        TEST(test_each_allocation_fails_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
