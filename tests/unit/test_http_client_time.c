/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_client_engine.h: deadlines, and memory that is given back. */
#include "test_http_client_player.h"

/* ---- deadlines ---- */

/* At |at_ms|, and not before. */
static void expect_timeout(struct player *p, uint64_t at_ms, const char *why)
{
    assert_int_equal(http_client_deadline(p->e), at_ms);
    http_client_tick(p->e, at_ms - 1);
    drain(p);
    expect_log(p, "not yet", "");
    http_client_tick(p->e, at_ms);
    drain(p);
    expect_log(p, "now", why);
    assert_int_equal(http_client_wants(p->e), HTTP_WANT_CLOSE);
    assert_int_equal(http_client_deadline(p->e), UINT64_MAX);
    player_done(p);
}

static void deadlines_without_an_answer(void **state)
{
    struct http_client_request r = request("GET");
    struct player p;

    (void)state;
    player_init(&p);
    expect_timeout(&p, 120000, ""); /* idle is no failure */

    player_init(&p); /* nobody takes the request */
    start(&p, &r);
    expect_timeout(&p, 50000, "FAILED timeout: the server takes no output\n");

    player_init(&p); /* it takes some, and some more */
    start(&p, &r);
    http_client_tick(p.e, 40000);
    http_client_sent(p.e, 1);
    expect_timeout(&p, 90000, "FAILED timeout: the server takes no output\n");

    player_init(&p); /* it thinks for too long, since it has all of the request */
    start(&p, &r);
    http_client_tick(p.e, 40000);
    take_output(&p);
    http_client_tick(p.e, 41000);
    http_client_sent(p.e, 0); /* that is no progress */
    expect_timeout(&p, 70000, "FAILED timeout: the server did not answer\n");
}

static void deadlines_of_a_body_that_goes_out(void **state)
{
    struct player p;

    (void)state;
    start_body(&p, 5, false); /* no answer is due before its end */
    assert_int_equal(http_client_deadline(p.e), 600000);
    http_client_tick(p.e, 100000);
    send_body(&p, "hello", false);
    assert_int_equal(http_client_deadline(p.e), 150000);
    take_output(&p);
    assert_int_equal(http_client_deadline(p.e), 600000);
    http_client_tick(p.e, 110000);
    send_body(&p, "", true); /* nothing more to send */
    expect_timeout(&p, 140000, "FAILED timeout: the server did not answer\n");

    start_body(&p, 5, true); /* while it waits for 100 the driver decides */
    send_body(&p, "hello", true);
    expect_timeout(&p, 600000, "FAILED timeout: the exchange took too long\n");

    start_body(&p, 5, true);
    send_body(&p, "hello", true);
    http_client_tick(p.e, 1000);
    http_client_send_body(p.e);
    expect_timeout(&p, 51000, "FAILED timeout: the server takes no output\n");
}

static void deadlines_of_a_body_that_outlives_its_answer(void **state)
{
    struct player p;

    (void)state;
    start_body(&p, 5, false);
    feed(&p, OK_EMPTY);
    expect_log(&p, "answer", "ANSWER 200\nEND\n");
    assert_int_equal(http_client_deadline(p.e), UINT64_MAX); /* our turn */
    http_client_tick(p.e, 900000);
    send_body(&p, "hello", true);
    expect_timeout(&p, 950000, "FAILED timeout: the server takes no output\n");
}

static void ask_get(struct player *p)
{
    struct http_client_request r = request("GET");

    player_init(p);
    ask(p, &r);
}

static void deadlines_of_an_answer(void **state)
{
    struct player p;

    (void)state;
    ask_get(&p); /* its head drips */
    http_client_tick(p.e, 20000);
    feed(&p, "HTTP");
    http_client_tick(p.e, 40000);
    feed(&p, "/1.1");
    expect_timeout(&p, 50000, "FAILED timeout: the answer stopped\n");

    ask_get(&p); /* after an interim one it may think again */
    http_client_tick(p.e, 20000);
    feed(&p, "HTTP/1.1 102 x\r\n\r\n");
    expect_timeout(&p, 50000, "FAILED timeout: the server did not answer\n");

    ask_get(&p); /* its body stops */
    http_client_tick(p.e, 20000);
    feed(&p, "HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\n");
    http_client_tick(p.e, 30000);
    feed(&p, "ab");
    expect_log(&p, "so far", "ANSWER 200 body 5\nBODY ab\n");
    expect_timeout(&p, 90000, "FAILED timeout: the answer stopped\n");

    ask_get(&p); /* or drips */
    feed(&p, "HTTP/1.1 200 x\r\n\r\n");
    expect_log(&p, "so far", "ANSWER 200 body close\n");
    for (unsigned t = 50000; t < 600000; t += 50000) {
        http_client_tick(p.e, t);
        feed(&p, "a");
        buf_reset(&p.body);
    }
    expect_timeout(&p, 600000, "FAILED timeout: the exchange took too long\n");
}

static void a_pause_stops_the_clock_of_an_answer(void **state)
{
    struct player p;

    (void)state;
    ask_get(&p);
    http_client_tick(p.e, 10000);
    http_client_pause(p.e, true);
    assert_int_equal(http_client_wants(p.e), 0);
    assert_int_equal(http_client_deadline(p.e), 600000);
    http_client_tick(p.e, 100000);
    http_client_pause(p.e, true);
    http_client_pause(p.e, false);
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_READ);
    assert_int_equal(http_client_deadline(p.e), 120000); /* 10 s of 30 are over */
    feed(&p, "HTTP/1.1 200");
    http_client_tick(p.e, 105000);
    http_client_pause(p.e, true);
    http_client_tick(p.e, 205000);
    http_client_pause(p.e, false);
    assert_int_equal(http_client_deadline(p.e), 230000);
    feed(&p, " OK\r\n\r\n");
    http_client_pause(p.e, true);
    http_client_tick(p.e, 300000);
    feed(&p, "a"); /* was on its way */
    http_client_tick(p.e, 310000);
    http_client_pause(p.e, false);
    expect_log(&p, "so far", "ANSWER 200 body close\nBODY a\n");
    expect_timeout(&p, 370000, "FAILED timeout: the answer stopped\n");

    ask_get(&p); /* and ends with it */
    http_client_pause(p.e, true);
    feed(&p, OK_EMPTY);
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_READ);
    http_client_pause(p.e, true); /* who is gone is seen */
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_READ);
    player_done(&p);
}

static void idle_since_the_answer(void **state)
{
    struct player p;

    (void)state;
    ask_get(&p);
    http_client_tick(p.e, 5000);
    feed(&p, OK_EMPTY);
    expect_log(&p, "answer", "ANSWER 200\nEND\n");
    assert_int_equal(http_client_deadline(p.e), 6000); /* to give memory back */
    http_client_tick(p.e, 6000);
    expect_timeout(&p, 125000, "");
}

static void the_clock_starts_anew_after_a_switch(void **state)
{
    struct http_client_request r = request("OPTIONS");
    struct player p;

    (void)state;
    player_init(&p);
    r.upgrade = SPAN("TLS/1.2");
    ask(&p, &r);
    feed(&p, "HTTP/1.1 101 x\r\n\r\n");
    http_client_tick(p.e, 100000);
    drain(&p);
    assert_int_equal(http_client_switched(p.e), OK);
    expect_log(&p, "101", "SWITCHED 101\n");
    expect_timeout(&p, 130000, "FAILED timeout: the server did not answer\n");
}

/* ---- memory ---- */

static void an_idle_engine_is_small(void **state)
{
    struct budget budget;
    struct player p;

    (void)state;
    budget_init(&budget, 0);
    block_set_budget(&budget);
    player_init(&p);
    for (unsigned i = 0; i < 100; i++) {
        struct http_client_request r = request("POST");

        r.has_body = r.expect = true;
        r.length = HTTP_LENGTH_UNKNOWN;
        ask(&p, &r);
        send_body(&p, "hello", true);
        feed(&p, "HTTP/1.1 100 x\r\n\r\n");
        take_output(&p);
        buf_reset(&p.wire);
        feed(&p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n");
        expect_log(&p, "all", "GO_ON\nANSWER 200 body\nENDX: y\r\n\n");
        assert_true(http_client_is_idle(p.e));
    }
    assert_int_equal(http_client_deadline(p.e), 1000);
    http_client_tick(p.e, 1000);
    assert_int_equal(budget_used(&budget), 0);
    assert_null(p.e->mem.chunks);
    assert_null(p.e->out.chain.segs);
    assert_null(p.e->held.chain.segs);
    assert_null(p.e->head.text.p);
    assert_null(p.e->chunks.line.p);
    assert_null(p.e->chunks.trailers.p);
    assert_int_equal(http_client_deadline(p.e), 120000);
    player_done(&p);
    block_set_budget(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadlines_without_an_answer),
        cmocka_unit_test(deadlines_of_a_body_that_goes_out),
        cmocka_unit_test(deadlines_of_a_body_that_outlives_its_answer),
        cmocka_unit_test(deadlines_of_an_answer),
        cmocka_unit_test(a_pause_stops_the_clock_of_an_answer),
        cmocka_unit_test(idle_since_the_answer),
        cmocka_unit_test(the_clock_starts_anew_after_a_switch),
        cmocka_unit_test(an_idle_engine_is_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
