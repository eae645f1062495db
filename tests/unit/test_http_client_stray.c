/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_client_engine.h: bytes that are no answer: before and behind one, interim
 * answers, lone last-chunks; what waits while events do. */
#include "test_http_client_player.h"

#define OK200   "HTTP/1.1 200 OK\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define SURPLUS "FAILED protocol: bytes that belong to no request\n"

/* ---- bytes that belong to no request ---- */

static void early_bytes(void **state)
{
    struct http_client_request r = request("GET");
    struct player p;

    (void)state;
    player_init(&p); /* before the first request */
    feed(&p, "H");
    expect_log(&p, "first", SURPLUS);
    assert_int_equal(http_client_request(p.e, &r), ERR_BUG);
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
    player_done(&p);

    player_init(&p); /* between two */
    ask(&p, &r);
    feed(&p, OK200 "Content-Length: 0\r\n\r\n");
    assert_true(http_client_is_idle(p.e));
    feed(&p, "HTTP/1.1 408 x\r\n\r\n");
    expect_log(&p, "second", "ANSWER 200\nEND\n" SURPLUS);
    assert_false(http_client_is_idle(p.e));
    player_done(&p);

    player_init(&p); /* after a request of which nothing was sent */
    start(&p, &r);
    feed(&p, "HTTP/1.1 408 x\r\n\r\n");
    expect_log(&p, "third", "FAILED protocol: an answer before its request\n");
    player_done(&p);

    player_init(&p); /* one byte of it may be enough for an answer */
    start(&p, &r);
    http_client_sent(p.e, 1);
    feed(&p, "HTTP/1.1 400 x\r\nContent-Length: 0\r\n\r\n");
    expect_log(&p, "fourth", "ANSWER 400\nEND\n");
    assert_false(http_client_is_idle(p.e));
    take_output(&p);
    assert_true(http_client_is_idle(p.e));
    player_done(&p);
}

/* A body that waits in the output, or for 100, is not sent either. */
static void early_bytes_before_a_body(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        struct http_client_request r = request("POST");
        struct player p;

        player_init(&p);
        r.has_body = true;
        r.expect = how > 0;
        r.length = 5;
        start(&p, &r);
        send_body(&p, "hello", true);
        if (how == 2)
            http_client_send_body(p.e);
        feed(&p, "HTTP/1.1 408 x\r\n\r\n");
        expect_log(&p, "early", "FAILED protocol: an answer before its request\n");
        player_done(&p);
    }
}

/* What comes together with an end does not wait for the next request, however many events do. */
static void surplus_bytes_do_not_wait(void **state)
{
    struct http_client_request r = request("GET");

    (void)state;
    for (unsigned chunks = 0; chunks < 2 * HTTP_CLIENT_QUEUE; chunks++) {
        struct buf text;
        struct player p;

        buf_init(&text, 0);
        buf_text(&text, OK200 CHUNKED "\r\n");
        for (unsigned i = 0; i < chunks; i++)
            buf_text(&text, "1\r\na\r\n");
        buf_text(&text, "0\r\n\r\n" OK200);
        player_init(&p);
        ask(&p, &r);
        struct slice s = text_slice(buf_cstr(&text));

        while (s.len) {
            struct http_client_event ev;
            size_t used;

            assert_int_equal(http_client_feed(p.e, s, &used), OK);
            s = slice_sub(s, (uint32_t)used, s.len - (uint32_t)used);
            while (http_client_next(p.e, &ev)) {
                if (ev.kind == HTTP_CLIENT_EV_END) /* all of it is behind us */
                    assert_int_equal(s.len, 0);
                log_event(&p, &ev);
            }
        }
        assert_false(http_client_is_idle(p.e));
        assert_non_null(strstr(buf_cstr(&p.log), "END\n" SURPLUS));
        block_unref(s.block);
        buf_done(&text);
        player_done(&p);
    }
}

static void a_full_queue_stops_reading(void **state)
{
    struct http_client_request r = request("GET");
    struct slice s =
        text_slice(OK200 CHUNKED "\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n"
                                 "1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n"
                                 "1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n"
                                 "1\r\na\r\n1\r\na\r\n");
    struct player p;
    size_t used, more;

    (void)state;
    player_init(&p);
    ask(&p, &r);
    assert_int_equal(http_client_feed(p.e, s, &used), OK);
    assert_true(used < s.len);
    assert_int_equal(http_client_wants(p.e), 0);
    assert_int_equal(http_client_feed(p.e, slice_sub(s, (uint32_t)used, 1), &more), OK);
    assert_int_equal(more, 0);
    assert_int_equal(http_client_deadline(p.e), 600000); /* nobody waits for the server */
    http_client_tick(p.e, 500000);
    drain(&p);
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_READ);
    assert_int_equal(http_client_deadline(p.e), 560000);
    assert_int_equal(feed_slice(&p, slice_sub(s, (uint32_t)used, s.len - (uint32_t)used)), 0);
    expect_log(&p, "all of it", "ANSWER 200 body\nBODY aaaaaaaaaaaaaaaaa\n");
    block_unref(s.block);
    player_done(&p);
}

/* The end of the connection finds room, too. */
static void an_end_behind_a_full_queue(void **state)
{
    struct http_client_request r = request("GET");
    struct slice s = text_slice("a");
    struct player p;
    size_t used = 1;

    (void)state;
    player_init(&p);
    ask(&p, &r);
    feed(&p, OK200 "\r\n");
    while (used)
        assert_int_equal(http_client_feed(p.e, s, &used), OK);
    http_client_eof(p.e);
    assert_int_equal(http_client_wants(p.e), 0); /* events first */
    drain(&p);
    expect_log(&p, "all of it", "ANSWER 200 body close\nBODY aaaaaaaaaaaaaa\nEND\n");
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
    block_unref(s.block);
    player_done(&p);
}

static void interim_answers_have_a_limit(void **state)
{
    struct http_client_request r = request("GET");
    struct player p;

    (void)state;
    player_init(&p);
    for (unsigned round = 0; round < 2; round++) {
        ask(&p, &r);
        for (unsigned i = 0; i < 16; i++)
            feed(&p, "HTTP/1.1 102 x\r\n\r\n");
        expect_log(&p, "16", "");
        if (round == 0) {
            feed(&p, OK200 "Content-Length: 0\r\n\r\n");
            expect_log(&p, "an answer", "ANSWER 200\nEND\n");
        }
    }
    feed(&p, "HTTP/1.1 100 x\r\n\r\n");
    expect_log(&p, "17", "FAILED protocol: too many interim answers\n");
    player_done(&p);
}

/* ---- lone last-chunks ---- */

#define OPTIONS_HEAD OK200 "Allow: GET\r\n" CHUNKED "\r\n"
#define LONE         "0\r\n\r\n"
#define NEXT         OK200 "Content-Length: 2\r\n\r\nab"

/* |text| follows an answer that was cut at its head. The next request is sent before byte |ask_at|
 * of it; pieces end at |cut|, too. */
static void play_lone(const char *text, uint32_t ask_at, uint32_t cut, const char *events)
{
    struct http_client_request options = request("OPTIONS"), get = request("GET");
    struct slice s = text_slice(text);
    struct player p;

    options.head_only = true;
    player_init(&p);
    ask(&p, &options);
    feed(&p, OPTIONS_HEAD);
    expect_log(&p, "OPTIONS", "ANSWER 200\nEND\n");
    for (uint32_t i = 0, to; i < s.len; i = to) {
        to = cut > i && cut < s.len ? cut : s.len;
        to = ask_at > i && ask_at < to ? ask_at : to;
        if (i == ask_at) {
            assert_true(http_client_is_idle(p.e));
            ask(&p, &get);
        }
        assert_int_equal(feed_slice(&p, slice_sub(s, i, to - i)), 0);
    }
    expect_log(&p, text, events);
    block_unref(s.block);
    player_done(&p);
}

static void lone_last_chunks(void **state)
{
    (void)state;
    for (uint32_t cut = 0; cut < sizeof LONE NEXT - 1; cut++) {
        for (uint32_t ask_at = 0; ask_at < sizeof LONE; ask_at++)
            play_lone(LONE NEXT, ask_at, cut, "ANSWER 200 body 2\nBODY ab\nEND\n");
        play_lone(NEXT, 0, cut, "ANSWER 200 body 2\nBODY ab\nEND\n");
        /* nothing else is passed over, and nothing twice */
        for (uint32_t ask_at = 1; ask_at < 3; ask_at++)
            play_lone("0\r\nX: y\r\n\r\n" NEXT, ask_at, cut, SURPLUS);
        play_lone("0\r\nX: y\r\n\r\n" NEXT, 0, cut, SURPLUS);
        play_lone("0\r" NEXT, 0, cut, SURPLUS);
        play_lone(LONE LONE NEXT, 0, cut, "FAILED protocol: malformed version in a status-line\n");
        play_lone("1\r\na\r\n" LONE NEXT, 0, cut,
                  "FAILED protocol: malformed version in a status-line\n");
        play_lone("HTTP/1.1 100 x\r\n\r\n" LONE NEXT, 0, cut,
                  "FAILED protocol: malformed version in a status-line\n");
    }
}

/* It is no byte of the next answer. */
static void a_lone_last_chunk_is_no_answer(void **state)
{
    struct http_client_request options = request("OPTIONS"), get = request("GET");
    struct player p;

    (void)state;
    for (unsigned n = 1; n <= 5; n++) {
        struct slice s = text_slice(LONE);

        options.head_only = true;
        player_init(&p);
        ask(&p, &options);
        feed(&p, OPTIONS_HEAD);
        start(&p, &get); /* it may well cross the request */
        assert_int_equal(feed_slice(&p, slice_sub(s, 0, n)), 0);
        http_client_eof(p.e);
        drain(&p);
        expect_log(&p, "closed",
                   "ANSWER 200\nEND\n"
                   "FAILED peer-reset: closed before the first byte of its answer\n");
        block_unref(s.block);
        player_done(&p);
    }
}

/* Each answer that is cut has one of its own. */
static void one_lone_last_chunk_for_each(void **state)
{
    struct http_client_request options = request("OPTIONS");
    struct player p;

    (void)state;
    options.head_only = true;
    player_init(&p);
    for (unsigned i = 0; i < 3; i++) {
        ask(&p, &options);
        feed(&p, OPTIONS_HEAD LONE);
        expect_log(&p, "OPTIONS", "ANSWER 200\nEND\n");
        assert_true(http_client_is_idle(p.e));
    }
    player_done(&p);
}

/* The answer after the next one has no such right. */
static void a_lone_last_chunk_that_is_late(void **state)
{
    struct http_client_request options = request("OPTIONS"), get = request("GET");
    struct player p;

    (void)state;
    options.head_only = true;
    player_init(&p);
    ask(&p, &options);
    feed(&p, OPTIONS_HEAD);
    ask(&p, &get);
    feed(&p, NEXT);
    feed(&p, LONE);
    expect_log(&p, "late", "ANSWER 200\nEND\nANSWER 200 body 2\nBODY ab\nEND\n" SURPLUS);
    player_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(early_bytes),
        cmocka_unit_test(early_bytes_before_a_body),
        cmocka_unit_test(surplus_bytes_do_not_wait),
        cmocka_unit_test(a_full_queue_stops_reading),
        cmocka_unit_test(an_end_behind_a_full_queue),
        cmocka_unit_test(interim_answers_have_a_limit),
        cmocka_unit_test(lone_last_chunks),
        cmocka_unit_test(a_lone_last_chunk_is_no_answer),
        cmocka_unit_test(one_lone_last_chunk_for_each),
        cmocka_unit_test(a_lone_last_chunk_that_is_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
