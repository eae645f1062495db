/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_client_engine.h: other protocols: 101 and CONNECT. */
#include "test_http_client_player.h"

#define OK200   "HTTP/1.1 200 OK\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

static void tls_on_the_way(void **state)
{
    struct http_client_request r = request("OPTIONS");
    struct slice s = text_slice("HTTP/1.1 101 x\r\nUpgrade: TLS/1.0\r\n\r\n\x16\x03");
    struct player p;

    (void)state;
    player_init(&p);
    r.upgrade = SPAN("TLS/1.2");
    r.head_only = true;
    assert_int_equal(http_client_switched(p.e), ERR_BUG);
    ask(&p, &r);
    assert_int_equal(http_client_switched(p.e), ERR_BUG);
    assert_int_equal(feed_slice(&p, s), 2); /* what is behind it is not taken */
    assert_int_equal(feed_slice(&p, slice_sub(s, 0, 1)), 1);
    expect_log(&p, "101", "SWITCHED 101\n");
    assert_true(
        span_eq(head_value(http_client_answer(p.e)->head, SPAN("Upgrade")), SPAN("TLS/1.0")));
    assert_int_equal(http_client_wants(p.e), 0);
    assert_false(http_client_is_idle(p.e));
    assert_int_equal(http_client_deadline(p.e), 600000); /* the handshake has its own */
    assert_int_equal(http_client_switched(p.e), OK);
    assert_int_equal(http_client_switched(p.e), ERR_BUG);
    assert_null(http_client_answer(p.e));
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_READ);
    assert_int_equal(s.block->refs, 1);
    feed_cut(&p, "HTTP/1.1 102 x\r\n\r\n" OK200 CHUNKED "\r\n", SIZE_MAX);
    expect_log(&p, "200", "ANSWER 200\nEND\n");
    assert_true(http_client_is_idle(p.e));
    block_unref(s.block);
    player_done(&p);
}

static void one_101_only(void **state)
{
    struct http_client_request r = request("OPTIONS");
    struct player p;

    (void)state;
    player_init(&p);
    r.upgrade = SPAN("TLS/1.2");
    ask(&p, &r);
    feed(&p, "HTTP/1.1 101 x\r\n\r\n");
    assert_int_equal(http_client_switched(p.e), OK);
    feed(&p, "HTTP/1.1 101 x\r\n\r\n");
    expect_log(&p, "second", "SWITCHED 101\nFAILED protocol: 101 that was not asked for\n");
    player_done(&p);
}

/* Not before its events are taken, or a driver would not know what was switched. */
static void switched_without_its_event(void **state)
{
    struct http_client_request r = request("OPTIONS");
    struct slice s = text_slice("HTTP/1.1 101 x\r\n\r\n");
    struct player p;
    size_t used;

    (void)state;
    player_init(&p);
    r.upgrade = SPAN("TLS/1.2");
    ask(&p, &r);
    assert_int_equal(http_client_feed(p.e, s, &used), OK);
    assert_int_equal(http_client_switched(p.e), ERR_BUG);
    drain(&p);
    assert_int_equal(http_client_switched(p.e), OK);
    block_unref(s.block);
    player_done(&p);
}

static void switched_too_early(void **state)
{
    static const char why[] = "FAILED protocol: another protocol before the request was sent\n";
    struct http_client_request r = request("OPTIONS");
    struct player p;

    (void)state;
    player_init(&p);
    r.upgrade = SPAN("TLS/1.2");
    start(&p, &r);
    http_client_sent(p.e, http_client_output(p.e)->len - 1);
    feed(&p, "HTTP/1.1 101 x\r\n\r\n");
    expect_log(&p, "101", why);
    player_done(&p);

    player_init(&p);
    r = request("CONNECT");
    r.tunnel = true;
    start(&p, &r);
    http_client_sent(p.e, http_client_output(p.e)->len - 1);
    feed(&p, "HTTP/1.1 200 x\r\n\r\n");
    expect_log(&p, "CONNECT", why);
    player_done(&p);
}

static void a_request_inside_a_tunnel(void **state)
{
    struct http_client_request r = request("CONNECT"), get = request("GET");
    struct slice s = text_slice("HTTP/1.1 200 x\r\n\r\nearly");
    struct player p;

    (void)state;
    player_init(&p);
    r.target = r.host = SPAN("h:443");
    r.tunnel = r.close = true;
    ask(&p, &r);
    assert_int_equal(feed_slice(&p, s), 5);
    expect_log(&p, "CONNECT", "ANSWER 200\nSWITCHED 200\n");
    assert_int_equal(http_client_request(p.e, &get), ERR_BUG);
    http_client_tick(p.e, 5000);
    assert_int_equal(http_client_switched(p.e), OK);
    assert_null(http_client_answer(p.e));
    assert_true(http_client_is_idle(p.e));
    assert_int_equal(http_client_deadline(p.e), 6000);
    ask(&p, &get);
    feed(&p, OK_EMPTY);
    expect_log(&p, "GET", "ANSWER 200\nEND\n");
    assert_true(http_client_is_idle(p.e));
    player_done(&p);

    player_init(&p); /* or none: nobody is to blame for that */
    ask(&p, &r);
    assert_int_equal(feed_slice(&p, s), 5);
    assert_int_equal(http_client_switched(p.e), OK);
    http_client_eof(p.e);
    drain(&p);
    expect_log(&p, "closed", "ANSWER 200\nSWITCHED 200\n");
    block_unref(s.block);
    player_done(&p);
}

static void closed_while_switched(void **state)
{
    struct http_client_request r = request("OPTIONS");
    struct player p;

    (void)state;
    player_init(&p);
    r.upgrade = SPAN("TLS/1.2");
    ask(&p, &r);
    feed(&p, "HTTP/1.1 101 x\r\n\r\n");
    http_client_eof(p.e);
    drain(&p);
    expect_log(&p, "closed", "SWITCHED 101\nFAILED peer-closed: closed inside its answer\n");
    assert_int_equal(http_client_switched(p.e), ERR_BUG);
    player_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_on_the_way),
        cmocka_unit_test(one_101_only),
        cmocka_unit_test(switched_without_its_event),
        cmocka_unit_test(switched_too_early),
        cmocka_unit_test(a_request_inside_a_tunnel),
        cmocka_unit_test(closed_while_switched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
