/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_client_engine.h: what waits for 100, answers and ends that come while the
 * body goes out. */
#include "test_http_client_player.h"

#define CLOSING "HTTP/1.1 413 x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"

/* ---- Expect: 100-continue ---- */

static void a_body_waits_for_100(void **state)
{
    struct player p;

    (void)state;
    start_body(&p, 5, true);
    send_body(&p, "he", false);
    expect_wire(&p, "waits", "");
    feed(&p, "HTTP/1.1 100 Continue\r\n\r\n");
    expect_log(&p, "100", "GO_ON\n");
    expect_wire(&p, "what waited", "he");
    send_body(&p, "llo", true);
    expect_wire(&p, "the rest", "llo");
    feed(&p, OK_EMPTY);
    expect_log(&p, "200", "ANSWER 200\nEND\n");
    assert_true(http_client_is_idle(p.e));
    player_done(&p);

    start_body(&p, HTTP_LENGTH_UNKNOWN, true); /* all of it waits */
    send_body(&p, "he", false);
    send_body(&p, "llo", true);
    assert_int_equal(http_client_body(p.e, (struct slice){0}, true), ERR_BUG);
    feed(&p, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_false(http_client_is_idle(p.e));
    expect_wire(&p, "all", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
    player_done(&p);

    start_body(&p, 5, true); /* nothing waits yet */
    feed(&p, "HTTP/1.1 100 Continue\r\n\r\n");
    send_body(&p, "hello", true);
    expect_wire(&p, "all", "hello");
    player_done(&p);
}

static void a_body_stops_waiting(void **state)
{
    struct player p;

    (void)state;
    start_body(&p, 5, true);
    send_body(&p, "he", false);
    http_client_send_body(p.e);
    http_client_send_body(p.e); /* once is enough */
    expect_wire(&p, "what waited", "he");
    feed(&p, "HTTP/1.1 100 Continue\r\n\r\n"); /* late, and of no use any more */
    send_body(&p, "llo", true);
    expect_wire(&p, "the rest", "llo");
    feed(&p, OK_EMPTY);
    expect_log(&p, "events", "ANSWER 200\nEND\n");
    assert_true(http_client_is_idle(p.e));
    http_client_send_body(p.e); /* nothing does */
    expect_wire(&p, "nothing", "");
    player_done(&p);
}

/* Nobody can tell whether the server waits for the body. */
static void an_answer_instead_of_100(void **state)
{
    for (unsigned ended = 0; ended < 2; ended++) {
        struct player p;

        (void)state;
        start_body(&p, 5, true);
        send_body(&p, ended ? "hello" : "he", ended);
        feed(&p, "HTTP/1.1 401 x\r\nContent-Length: 2\r\n\r\nn");
        expect_log(&p, "head", "ANSWER 401 body 2 close\nBODY n\n");
        http_client_send_body(p.e);
        if (!ended)
            send_body(&p, "l", false); /* may be on its way to us */
        expect_wire(&p, "nothing", "");
        feed(&p, "o");
        expect_log(&p, "end", "BODY o\nEND\n");
        if (!ended)
            send_body(&p, "lo", true);
        assert_int_equal(http_client_body(p.e, (struct slice){0}, true), ERR_BUG);
        expect_wire(&p, "nothing", "");
        assert_false(http_client_is_idle(p.e));
        assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
        player_done(&p);
    }
}

static void no_memory_for_what_waited(void **state)
{
    for (unsigned by_100 = 0; by_100 < 2; by_100++) {
        struct slice s = text_slice("HTTP/1.1 100 x\r\n\r\n");
        struct player p;
        size_t used;

        (void)state;
        start_body(&p, 5, true);
        send_body(&p, "he", false);
        chain_done(&p.e->out.chain); /* so that its ring has to grow */
        if (by_100) {
            mem_fail_after(2); /* the first is for the head */
            assert_int_equal(http_client_feed(p.e, s, &used), ERR_NOMEM);
        } else {
            mem_fail_after(1);
            http_client_send_body(p.e);
        }
        mem_fail_after(0);
        drain(&p);
        expect_log(&p, "failed",
                   by_100 ? "FAILED memory: over the memory budget\n"
                          : "FAILED memory: no memory for the body of a request\n");
        assert_int_equal(http_client_body(p.e, (struct slice){0}, false), ERR_ABORTED);
        assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
        block_unref(s.block);
        player_done(&p);
    }
}

/* ---- answers while the body goes out ---- */

/* The connection lives, so the server reads the body to its end, and must get it. */
static void an_early_answer_that_keeps(void **state)
{
    struct http_client_request next = request("GET");
    struct player p;

    (void)state;
    start_body(&p, 10, false);
    send_body(&p, "hello", false);
    feed(&p, OK_EMPTY);
    expect_log(&p, "told at once", "ANSWER 200\nEND\n");
    assert_false(http_client_is_idle(p.e));
    assert_int_equal(http_client_request(p.e, &next), ERR_BUG);
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_READ | HTTP_WANT_WRITE);
    expect_wire(&p, "what was queued", "hello");
    assert_false(http_client_is_idle(p.e));
    send_body(&p, "world", true);
    assert_false(http_client_is_idle(p.e));
    http_client_tick(p.e, 7000);
    expect_wire(&p, "the rest", "world");
    assert_true(http_client_is_idle(p.e));
    assert_int_equal(http_client_deadline(p.e), 8000); /* idle since then */
    ask(&p, &next);
    feed(&p, OK_EMPTY);
    expect_log(&p, "next", "ANSWER 200\nEND\n");
    player_done(&p);
}

static void an_early_answer_that_closes(void **state)
{
    struct player p;

    (void)state;
    start_body(&p, 10, false);
    send_body(&p, "hello", false);
    feed(&p, CLOSING);
    expect_log(&p, "told at once", "ANSWER 413 body 2 close\n");
    assert_true(http_client_answer(p.e)->cut_short);
    expect_wire(&p, "nothing more", "");
    send_body(&p, "wo", false);
    expect_wire(&p, "nothing more", "");
    feed(&p, "no");
    expect_log(&p, "end", "BODY no\nEND\n");
    send_body(&p, "rld", true);
    assert_int_equal(http_client_body(p.e, (struct slice){0}, true), ERR_BUG);
    assert_int_equal(http_client_output(p.e)->len, 0);
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
    player_done(&p);
}

/* All of it was handed over: what counts is what went out. */
static void an_answer_that_closes_and_a_body_that_ended(void **state)
{
    for (unsigned sent = 0; sent < 2; sent++) {
        struct player p;

        (void)state;
        start_body(&p, 5, false);
        send_body(&p, "hello", true);
        if (sent)
            expect_wire(&p, "all", "hello");
        feed(&p, CLOSING);
        expect_log(&p, "told at once", "ANSWER 413 body 2 close\n");
        assert_int_equal(http_client_answer(p.e)->cut_short, !sent);
        feed(&p, "no");
        expect_log(&p, "end", "BODY no\nEND\n");
        player_done(&p);
    }
}

/* The server closes after its answer although it said nothing of that: the answer is whole. */
static void closed_behind_an_early_answer(void **state)
{
    struct player p;

    (void)state;
    start_body(&p, 10, false);
    send_body(&p, "hello", false);
    feed(&p, OK_EMPTY);
    http_client_eof(p.e);
    drain(&p);
    expect_log(&p, "events", "ANSWER 200\nEND\n");
    send_body(&p, "world", true);
    expect_wire(&p, "nothing more", "");
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
    player_done(&p);
}

static void bytes_behind_an_early_answer(void **state)
{
    struct player p;

    (void)state;
    start_body(&p, 10, false);
    send_body(&p, "hello", false);
    feed(&p, OK_EMPTY "x");
    expect_log(&p, "events", "ANSWER 200\nEND\nFAILED protocol: bytes that belong to no request\n");
    assert_int_equal(http_client_body(p.e, (struct slice){0}, false), ERR_ABORTED);
    player_done(&p);
}

/* ---- the end ---- */

static void abort_at_any_time(void **state)
{
    static const char *const said[] = {
        "",       "HTTP/1.1 100",   "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nabc",
        OK_EMPTY, "garbage\r\n\r\n"};
    struct http_client_request next = request("GET");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        struct slice s = text_slice(said[i]);
        struct http_client_event ev;
        struct player p;
        size_t used;

        start_body(&p, 10, i % 2);
        send_body(&p, "hello", false);
        assert_int_equal(http_client_feed(p.e, s, &used), OK);
        http_client_abort(p.e);
        assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
        assert_int_equal(http_client_output(p.e)->len, 0);
        assert_int_equal(http_client_deadline(p.e), UINT64_MAX);
        assert_false(http_client_next(p.e, &ev));
        assert_int_equal(ev.kind, HTTP_CLIENT_EV_NONE);
        assert_int_equal(s.block->refs, 1);
        assert_int_equal(http_client_body(p.e, (struct slice){0}, false), ERR_ABORTED);
        assert_int_equal(http_client_request(p.e, &next), ERR_BUG);
        http_client_eof(p.e);
        assert_int_equal(feed_slice(&p, s), 0);
        expect_log(&p, "nothing", "");
        block_unref(s.block);
        player_done(&p);
    }
}

static void closed_between_requests(void **state)
{
    struct http_client_request r = request("GET");
    struct player p;

    (void)state;
    player_init(&p);
    http_client_eof(p.e);
    drain(&p);
    expect_log(&p, "nothing", "");
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
    assert_int_equal(http_client_request(p.e, &r), ERR_BUG);
    assert_int_equal(http_client_body(p.e, (struct slice){0}, true), ERR_BUG);
    player_done(&p);
}

static void closed_with_a_request_in_our_hands(void **state)
{
    struct player p;

    (void)state;
    start_body(&p, 5, true);
    send_body(&p, "he", false);
    http_client_eof(p.e);
    drain(&p);
    expect_log(&p, "reset", "FAILED peer-reset: closed before the first byte of its answer\n");
    assert_int_equal(http_client_body(p.e, (struct slice){0}, false), ERR_ABORTED);
    player_done(&p);

    start_body(&p, 5, true); /* an interim answer is a beginning */
    feed(&p, "HTTP/1.1 100 x\r\n\r\n");
    http_client_eof(p.e);
    drain(&p);
    expect_log(&p, "eof", "GO_ON\nFAILED peer-closed: closed inside its answer\n");
    player_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_waits_for_100),
        cmocka_unit_test(a_body_stops_waiting),
        cmocka_unit_test(an_answer_instead_of_100),
        cmocka_unit_test(no_memory_for_what_waited),
        cmocka_unit_test(an_early_answer_that_keeps),
        cmocka_unit_test(an_early_answer_that_closes),
        cmocka_unit_test(an_answer_that_closes_and_a_body_that_ended),
        cmocka_unit_test(closed_behind_an_early_answer),
        cmocka_unit_test(bytes_behind_an_early_answer),
        cmocka_unit_test(abort_at_any_time),
        cmocka_unit_test(closed_between_requests),
        cmocka_unit_test(closed_with_a_request_in_our_hands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
