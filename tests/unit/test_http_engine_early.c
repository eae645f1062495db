/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_engine.h, how exchanges end: answers before the request is over, the engine's own
 * answers, closing. */
#include "test_http_play.h"

#define GET "GET / HTTP/1.1\r\n" H "\r\n"

static const struct http_reply ok = {.status = 200};
static const struct http_reply length_2 = {.status = 200, .has_body = true, .length = 2};

/* ---- answers before the request is over ---- */

#define EARLY       "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
#define EARLY_CLOSE "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
#define POST        "POST / HTTP/1.1\r\n" H
static const struct http_reply early = {.status = 403};

/* A rest that is short enough is read and dropped, and the connection goes on. */
static void a_short_rest_is_discarded(void **state)
{
    struct play *p = play_after(POST "Content-Length: 105\r\n\r\nhello");

    (void)state;
    http_pause(p->e, true); /* nobody has to be waited for any more */
    assert_int_equal(http_reply_whole(p->e, &early, SPAN("no")), OK);
    play_output(p, EARLY);
    assert_int_equal(http_wants(p->e), HTTP_WANT_READ);
    play_events(p, "REQUEST POST / length=105\nBODY hello\n");
    for (unsigned i = 0; i < 100; i++)
        play_text(p, "x");
    play_events(p, "END\n");
    play_text(p, POST "Content-Length: 100\r\n\r\n"); /* as much again for each request */
    assert_int_equal(http_reply_whole(p->e, &early, SPAN("no")), OK);
    play_output(p, EARLY);
    for (unsigned i = 0; i < 100; i++)
        play_text(p, "x");
    play_text(p, GET);
    play_events(p, "REQUEST POST / length=100\nEND\nREQUEST GET /\nEND\n");
    play_free(p);
}

/* RFC 9112 9.6 */
static void a_long_or_unknown_rest_says_close(void **state)
{
    static const char *const texts[] = {
        POST "Content-Length: 106\r\n\r\nhello",
        POST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct play *p = play_after(texts[i]);

        assert_int_equal(http_reply_whole(p->e, &early, SPAN("no")), OK);
        play_output(p, EARLY_CLOSE);
        assert_int_equal(http_wants(p->e), HTTP_WANT_READ); /* so that it reads the answer */
        play_free(p);
    }
}

/* RFC 9110 10.1.1: nobody can tell whether it comes. */
static void a_body_that_is_held_back_says_close(void **state)
{
    static const char text[] = POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    struct play *p = play_after(text);

    (void)state;
    assert_int_equal(http_reply_whole(p->e, &early, SPAN("no")), OK);
    play_output(p, EARLY_CLOSE);
    assert_int_equal(play_deadline(p), 2000);
    play_text(p, "hi" GET); /* it comes, and whatever else */
    play_events(p, "REQUEST POST / length=2 expects\nEND\n");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);

    p = play_after(text); /* asked for: it does come */
    assert_int_equal(http_go_on(p->e), OK);
    assert_int_equal(http_reply_whole(p->e, &early, SPAN("no")), OK);
    play_output(p, "HTTP/1.1 100 Continue\r\n\r\n" EARLY);
    play_free(p);

    p = play_after(text); /* it has begun to come, and the rest is held back */
    play_text(p, "h");
    assert_int_equal(http_reply_whole(p->e, &early, SPAN("no")), OK);
    play_output(p, EARLY_CLOSE);
    play_free(p);
}

static void discarding_has_a_deadline(void **state)
{
    struct play *p = play_after(POST "Content-Length: 50\r\n\r\nhello");

    (void)state;
    assert_int_equal(http_reply_whole(p->e, &early, SPAN("no")), OK);
    play_output(p, EARLY);
    play_wait(p, 1500);
    play_text(p, "x"); /* a byte more does not help */
    assert_int_equal(play_deadline(p), 500);
    http_pause(p->e, true); /* nor does this */
    assert_int_equal(play_deadline(p), 500);
    play_wait(p, 500);
    play_events(p, "REQUEST POST / length=50\nBODY hello\nEND\n");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

/* While the answer is still being made the connection stays. */
static void discarding_ends_before_the_answer(void **state)
{
    struct play *p = play_after(POST "Content-Length: 50\r\n\r\nhello");

    (void)state;
    assert_int_equal(http_reply_head(p->e, &length_2), OK);
    play_wait(p, 2000);
    play_events(p, "REQUEST POST / length=50\nBODY hello\nEND\n");
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE); /* and reads no more */
    play_take_output(p);
    assert_int_equal(http_wants(p->e), 0);
    assert_non_null(http_current(p->e));
    assert_int_equal(http_reply_copy(p->e, SPAN("hi")), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    play_drain(p);
    play_take_output(p);
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

/* Where discarding ends does not hang on the cut, nor what it says. */
static void too_much_to_discard(const char *rest, size_t step)
{
    struct play *p = play_after(POST "Transfer-Encoding: chunked\r\n\r\n");
    struct span in = span_of(rest);

    assert_int_equal(http_reply_head(p->e, &length_2), OK);
    play_take_output(p);
    for (size_t i = 0; i < in.n; i += step)
        play_feed(p, span_sub(in, i, step));
    play_events(p, "REQUEST POST / chunked\nEND\n");
    assert_int_equal(p->pending.n, 0);
    assert_int_equal(http_reply_copy(p->e, SPAN("hi")), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    play_events(p, "");
    play_output(p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void discarding_has_a_limit(void **state)
{
    static const char *const rests[] = {
        "80\r\n" X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n", /* over it in the data */
        "50\r\n" X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n0\r\nA: b\r\nC: d\r\n\r\n", /* behind it */
        "20\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nGARBAGE\r\n",                    /* inside */
        "20\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n0\r\nA: b\r\n\r\n",              /* its end */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rests); i++)
        for (size_t step = 1; step < 150; step++)
            too_much_to_discard(rests[i], step);
}

static void discarding_nothing_at_all(void **state)
{
    struct http_limits lim = play_limits;
    struct play *p;

    (void)state;
    lim.discard_max = 0;
    p = play_new(&lim);
    play_text(p, POST "Content-Length: 2\r\n\r\n");
    assert_int_equal(http_reply_whole(p->e, &early, SPAN("no")), OK);
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE);
    play_text(p, "hi");
    play_output(p, EARLY_CLOSE);
    play_events(p, "REQUEST POST / length=2\nEND\n");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

/* The default, and a client that never ends. */
static void an_early_answer_before_100_mb(void **state)
{
    struct play *p = play_new(&http_limits_default);
    struct block *b = block_new();
    uint64_t fed = 0, n_in, n_out;
    size_t used;

    (void)state;
    assert_non_null(b);
    play_text(p, POST "Content-Length: 104857600\r\n\r\n");
    assert_int_equal(http_reply_whole(p->e, &early, SPAN("no")), OK);
    play_take_output(p);
    while ((http_wants(p->e) & HTTP_WANT_READ) && fed < (100u << 20)) {
        assert_int_equal(http_feed(p->e, (struct slice){b, 0, 1000}, &used), OK);
        fed += used;
        play_drain(p);
    }
    assert_int_equal(fed, 66000);
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    http_counts(p->e, &n_in, &n_out);
    assert_int_equal(n_in, strlen(POST "Content-Length: 104857600\r\n\r\n") + fed);
    assert_int_equal(n_out, sizeof EARLY_CLOSE - 1);
    play_events(p, "REQUEST POST / length=104857600\nEND\n");
    assert_int_equal(b->refs, 1);
    block_unref(b);
    play_free(p);
}

/* A client that reads its answer and goes is not gone. */
static void eof_behind_an_early_answer(void **state)
{
    struct play *p = play_after(POST "Content-Length: 9\r\n\r\nhello");

    (void)state;
    assert_int_equal(http_reply_head(p->e, &length_2), OK);
    http_eof(p->e);
    play_events(p, "REQUEST POST / length=9\nBODY hello\nEND\n");
    assert_int_equal(http_reply_copy(p->e, SPAN("hi")), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    play_output(p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

/* ---- the engine's own answers ---- */

static void errors_carry_the_fields_of_the_driver(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    http_error_fields(p->e, SPAN("Server: s\r\nUpgrade: TLS/1.2\r\n"));
    play_text(p, "GARBAGE\r\n\r\n");
    play_output(p, "HTTP/1.1 400 Bad Request\r\nServer: s\r\nUpgrade: TLS/1.2\r\n"
                   "Content-Type: text/plain\r\nContent-Length: 17\r\n"
                   "Connection: close, Upgrade\r\n\r\nmalformed method\n");
    play_free(p);
}

/* Fields that are none, and no memory: nothing is said, and the status says so. */
static void errors_that_cannot_be_said(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    http_error_fields(p->e, SPAN("Connection: x\r\n"));
    play_text(p, "GARBAGE\r\n\r\n");
    play_events(p, "REFUSED 0 malformed method\n");
    play_output(p, "");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);

    p = play_new(&play_limits);
    mem_fail_after(1);
    play_text(p, "\n");
    mem_fail_after(0);
    play_events(p, "REFUSED 0 bare LF before a request-line\n");
    play_output(p, "");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

/* A refused HEAD has no body in its answer, either. */
static void errors_to_head(void **state)
{
    struct play *p = play_after("HEAD / HTTP/1.1\r\n\r\n");

    (void)state;
    play_output(p, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
                   "Content-Length: 8\r\nConnection: close\r\n\r\n");
    play_free(p);
}

/* While its refusal goes out a client may still write, so that it comes to reading: within bounds.
 */
static void refusals_drain_the_input(void **state)
{
    struct play *p = play_after("GARBAGE\r\n\r\n");

    (void)state;
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE | HTTP_WANT_READ);
    for (unsigned i = 0; i < 99; i++)
        play_text(p, "x");
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE | HTTP_WANT_READ);
    play_text(p, "x");
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE);
    assert_int_equal(http_reply_head(p->e, &ok), ERR_ABORTED);
    assert_int_equal(http_switch(p->e, SPAN("Upgrade: TLS/1.2\r\n")), ERR_ABORTED);
    play_take_output(p);
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

/* ---- closing ---- */

static void close_after_the_next_answer(void **state)
{
    struct play *p = play_after(GET);

    (void)state;
    http_close_after(p->e);
    assert_int_equal(http_wants(p->e), 0);
    assert_int_equal(http_reply_whole(p->e, &ok, SPAN("ok")), OK);
    play_output(p, PLAY_OK_CLOSE);
    play_drain(p);
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);

    p = play_new(&play_limits);
    http_close_after(p->e); /* between requests */
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_text(p, GET);
    play_events(p, "");
    play_free(p);
}

static void aborting(void **state)
{
    struct play *p = play_after(POST "Content-Length: 9\r\n\r\nhello");
    struct http_event ev;
    size_t used;

    (void)state;
    assert_int_equal(http_reply_head(p->e, &length_2), OK);
    http_abort(p->e);
    assert_int_equal(http_output(p->e)->len, 0);
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    assert_int_equal(http_reply_copy(p->e, SPAN("x")), ERR_ABORTED);
    assert_int_equal(http_reply_end(p->e), ERR_ABORTED);
    play_events(p, "REQUEST POST / length=9\nBODY hello\n");
    http_abort(p->e); /* again */
    play_free(p);

    /* with events that nobody has taken: their references go back */
    p = play_new(&play_limits);
    struct slice s = play_piece(p, span_of(POST "Content-Length: 9\r\n\r\nhello"));

    assert_int_equal(http_feed(p->e, s, &used), OK);
    assert_true(s.block->refs > 1);
    http_abort(p->e);
    assert_false(http_next(p->e, &ev));
    assert_int_equal(s.block->refs, 1);
    play_free(p);
}

static void a_thousand_exchanges_on_one_connection(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    p->answers = true;
    for (unsigned i = 0; i < 1000; i++) {
        play_text(p, i % 2 ? GET : POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
        play_output(p, PLAY_OK);
        assert_int_equal(http_wants(p->e), HTTP_WANT_READ);
    }
    play_free(p);
}

/* ---- passwords ---- */

#define SECRET    "Authorization: Basic zzzzzzzz\r\n"
#define IS_SECRET 'z'

/* Feeds |text|, and keeps the block. */
static struct slice feed_kept(struct play *p, struct span text)
{
    struct slice whole = play_piece(p, text), s = whole;
    struct http_event ev;
    size_t used = 1;

    while (s.len && used) {
        (void)!http_feed(p->e, s, &used);
        s = slice_sub(s, (uint32_t)used, s.len - (uint32_t)used);
        while (http_next(p->e, &ev))
            assert_int_equal(ev.kind, HTTP_EV_REFUSED);
    }
    return whole;
}

static void assert_nothing_is_left(struct slice s)
{
    assert_null(memchr(s.block->data, IS_SECRET, s.len));
}

/* Wherever it is cut, and also when it is not told to its end. */
static void a_head_that_is_refused_leaves_no_password(void **state)
{
    static const char *const heads[] = {
        "POST / HTTP/1.1\r\n" H SECRET "no colon\r\n\r\n",
        "POST / HTTP/1.1\r\n" H "no colon\r\n" SECRET "\r\n",
        "POST / HTTP/1.1\r\n" H "X: a\nY: b\r\n" SECRET "\r\n",
        "no request-line\r\n" SECRET "\r\n",
        "\rPOST / HTTP/1.1\r\n" SECRET "\r\n",
        "HEAD / HTTP/1.1\r\n" SECRET "\r\n", /* no Host */
        "POST / HTTP/3.0\r\n" H SECRET "\r\n",
        "POST / HTTP/1.1\r\n" H "Content-Length: odd\r\n" SECRET "\r\n",
        "HEAD / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n" SECRET "\r\n",
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(heads); i++) {
        struct span text = span_of(heads[i]);

        for (size_t cut = 1; cut <= text.n; cut++) {
            struct play *p = play_new(&play_limits);
            struct slice first = feed_kept(p, span_sub(text, 0, cut)), second = {0};

            if (cut < text.n && cut % 2)
                second = feed_kept(p, span_sub(text, cut, text.n - cut));
            http_abort(p->e);
            http_engine_release(p->e);
            assert_nothing_is_left(first);
            if (second.len)
                assert_nothing_is_left(second);
            play_free(p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_rest_is_discarded),
        cmocka_unit_test(a_long_or_unknown_rest_says_close),
        cmocka_unit_test(a_body_that_is_held_back_says_close),
        cmocka_unit_test(discarding_has_a_deadline),
        cmocka_unit_test(discarding_ends_before_the_answer),
        cmocka_unit_test(discarding_has_a_limit),
        cmocka_unit_test(discarding_nothing_at_all),
        cmocka_unit_test(an_early_answer_before_100_mb),
        cmocka_unit_test(eof_behind_an_early_answer),
        cmocka_unit_test(errors_carry_the_fields_of_the_driver),
        cmocka_unit_test(errors_that_cannot_be_said),
        cmocka_unit_test(errors_to_head),
        cmocka_unit_test(refusals_drain_the_input),
        cmocka_unit_test(close_after_the_next_answer),
        cmocka_unit_test(aborting),
        cmocka_unit_test(a_thousand_exchanges_on_one_connection),
        cmocka_unit_test(a_head_that_is_refused_leaves_no_password),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
