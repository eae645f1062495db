/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_engine.h, deadlines. */
#include "test_http_play.h"

static void the_head_has_a_deadline(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    assert_int_equal(play_deadline(p), 120000);
    play_wait(p, 5000);
    play_text(p, "\r\n"); /* an empty line begins nothing */
    assert_int_equal(play_deadline(p), 115000);
    play_text(p, "GET /");
    assert_int_equal(play_deadline(p), 10000);
    play_wait(p, 9999);
    play_text(p, " HTTP/1.1\r\n"); /* a byte more does not help */
    assert_int_equal(play_deadline(p), 1);
    play_events(p, "");
    play_wait(p, 1);
    play_events(p, "REFUSED 408 the head took too long\n");
    play_output(p, "HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\n"
                   "Content-Length: 23\r\nConnection: close\r\n\r\nthe head took too long\n");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

static void bodies_have_a_deadline(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    play_text(p, "POST / HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\n");
    play_wait(p, 59999);
    play_text(p, "h");
    assert_int_equal(play_deadline(p), 60000);
    play_wait(p, 60000);
    play_events(p,
                "REQUEST POST / length=9\nBODY h\nREFUSED 408 no byte of the body for too long\n");
    play_output(p, "HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\n"
                   "Content-Length: 33\r\nConnection: close\r\n\r\n"
                   "no byte of the body for too long\n");
    play_free(p);
}

/* Nobody waits for an answer: just close. */
static void keep_alive_has_a_deadline(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    p->answers = true;
    play_wait(p, 1000);
    play_text(p, "GET / HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(play_deadline(p), 50000); /* of the output */
    play_wait(p, 1000);
    play_output(p, PLAY_OK);
    assert_int_equal(play_deadline(p), 120000);
    play_wait(p, 119999);
    assert_int_equal(http_wants(p->e), HTTP_WANT_READ);
    play_wait(p, 1);
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_events(p, "REQUEST GET /\nEND\n");
    play_output(p, "");
    play_free(p);
}

/* Whoever takes no output loses it. */
static void output_has_a_deadline(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    p->answers = true;
    play_text(p, "GET / HTTP/1.1\r\n" H "\r\n");
    play_wait(p, 49999);
    http_sent(p->e, 1);
    assert_int_equal(play_deadline(p), 50000);
    play_wait(p, 50000);
    play_events(p, "REQUEST GET /\nEND\nREFUSED 0 the peer takes no output\n");
    play_output(p, "");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

/* A refusal that nobody takes is told once. */
static void refusals_have_a_deadline(void **state)
{
    struct play *p = play_after("GARBAGE\r\n\r\n");

    (void)state;
    play_events(p, "REFUSED 400 malformed method\n");
    play_wait(p, 50000);
    play_events(p, "");
    play_output(p, "");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

#define TOO_LONG                                             \
    "\r\nContent-Type: text/plain\r\nContent-Length: 27\r\n" \
    "Connection: close\r\n\r\nthe exchange took too long\n"

/* |in| is as far as the exchange comes; |begun|: and then the head of its answer. */
static void too_long(const char *in, bool begun, const char *events, const char *out)
{
    const struct http_reply r = {.status = 200, .has_body = true};
    struct http_limits lim = play_limits;
    struct play *p;

    lim.exchange_ms = 7000;
    p = play_new(&lim);
    play_text(p, in);
    if (begun)
        assert_int_equal(http_reply_head(p->e, &r), OK);
    play_wait(p, 6999);
    assert_int_equal(play_deadline(p), 1);
    play_wait(p, 1);
    play_events(p, events);
    play_wait(p, 7000); /* the refusal itself has time */
    play_output(p, out);
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

/* Refused while it can be; afterwards dropped. */
static void exchanges_have_a_deadline(void **state)
{
    (void)state;
    too_long("GET /", false, "REFUSED 408 the exchange took too long\n",
             "HTTP/1.1 408 Request Timeout" TOO_LONG);
    too_long("POST / HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\n", false,
             "REQUEST POST / length=9\nREFUSED 408 the exchange took too long\n",
             "HTTP/1.1 408 Request Timeout" TOO_LONG);
    too_long("GET / HTTP/1.1\r\n" H "\r\n", false,
             "REQUEST GET /\nEND\nREFUSED 503 the exchange took too long\n",
             "HTTP/1.1 503 Service Unavailable" TOO_LONG);
    too_long("GET / HTTP/1.1\r\n" H "\r\n", true,
             "REQUEST GET /\nEND\nREFUSED 0 the exchange took too long\n", "");
}

/* To the last byte of the answer, not to its last call. */
static void exchanges_end_when_the_answer_is_out(void **state)
{
    struct http_limits lim = play_limits;
    struct play *p;

    (void)state;
    lim.exchange_ms = 7000;
    p = play_new(&lim);
    p->answers = true;
    play_text(p, "GET / HTTP/1.1\r\n" H "\r\n");
    play_wait(p, 6000);
    http_sent(p->e, 10);
    assert_int_equal(play_deadline(p), 1000);
    play_wait(p, 1000);
    play_events(p, "REQUEST GET /\nEND\nREFUSED 0 the exchange took too long\n");
    play_free(p);

    p = play_new(&lim);
    p->answers = true;
    play_text(p, "GET / HTTP/1.1\r\n" H "\r\n");
    play_output(p, PLAY_OK);
    assert_int_equal(play_deadline(p), 120000);
    play_free(p);
}

static void a_limit_of_zero_is_none(void **state)
{
    struct http_limits lim = play_limits;
    struct play *p;

    (void)state;
    lim.head_ms = lim.body_idle_ms = lim.discard_ms = lim.write_idle_ms = lim.idle_ms = 0;
    p = play_new(&lim);
    assert_true(play_deadline(p) == UINT64_MAX);
    play_text(p, "POST / HT");
    assert_true(play_deadline(p) == UINT64_MAX);
    play_text(p, "TP/1.1\r\n" H "Content-Length: 9\r\n\r\n");
    assert_true(play_deadline(p) == UINT64_MAX);
    assert_int_equal(http_reply_whole(p->e, &(struct http_reply){.status = 403}, SPAN("no")), OK);
    assert_true(play_deadline(p) == UINT64_MAX);
    play_wait(p, UINT32_MAX);
    play_events(p, "REQUEST POST / length=9\n");
    play_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head_has_a_deadline),
        cmocka_unit_test(bodies_have_a_deadline),
        cmocka_unit_test(keep_alive_has_a_deadline),
        cmocka_unit_test(output_has_a_deadline),
        cmocka_unit_test(refusals_have_a_deadline),
        cmocka_unit_test(exchanges_have_a_deadline),
        cmocka_unit_test(exchanges_end_when_the_answer_is_out),
        cmocka_unit_test(a_limit_of_zero_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
