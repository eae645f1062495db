/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_engine.h, switching protocols (RFC 9110 7.8, RFC 2817). */
#include "test_http_play.h"

#define GET "GET / HTTP/1.1\r\n" H "\r\n"

static const struct http_reply ok = {.status = 200};
static const struct http_reply length_2 = {.status = 200, .has_body = true, .length = 2};

#define UPGRADE "OPTIONS * HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"
#define TLS     SPAN("Upgrade: TLS/1.2, HTTP/1.1\r\n")
#define SWITCHING                                                 \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" \
    "Upgrade: TLS/1.2, HTTP/1.1\r\n\r\n"

static void switching(void **state)
{
    struct play *p = play_after(UPGRADE "\r\n");

    (void)state;
    assert_false(http_is_switching(p->e));
    assert_int_equal(http_switched(p->e), ERR_BUG);
    assert_int_equal(http_switch(p->e, TLS), OK);
    assert_true(http_is_switching(p->e));
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE);
    assert_int_equal(play_deadline(p), 50000);
    play_text(p, "\x16\x03\x01"); /* not for the engine */
    assert_int_equal(p->pending.n, 3);
    assert_int_equal(http_switched(p->e), ERR_BUG); /* output is queued */
    play_output(p, SWITCHING);
    assert_int_equal(http_wants(p->e), 0);
    assert_true(play_deadline(p) == UINT64_MAX);
    play_pump(p);
    assert_int_equal(p->pending.n, 3);
    /* a final answer would go out in clear */
    assert_int_equal(http_reply_head(p->e, &ok), ERR_BUG);
    assert_int_equal(http_go_on(p->e), ERR_BUG);
    assert_int_equal(http_switch(p->e, TLS), ERR_BUG);
    buf_reset(&p->pending);
    assert_int_equal(http_switched(p->e), OK);
    assert_false(http_is_switching(p->e));
    assert_int_equal(http_switched(p->e), ERR_BUG);
    assert_int_equal(http_switch(p->e, TLS), ERR_BUG); /* once */
    play_text(p, GET);
    play_events(p, "REQUEST OPTIONS * upgrades\nEND\n");
    p->answers = true;
    assert_int_equal(http_reply_head(p->e, &ok), OK);
    play_pump(p);
    play_events(p, "REQUEST GET /\nEND\n");
    play_output(p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" PLAY_OK);
    assert_int_equal(http_wants(p->e), HTTP_WANT_READ);
    play_free(p);
}

static void not_switching(const char *in, struct span fields)
{
    struct play *p = play_after(in);

    assert_int_equal(http_switch(p->e, fields), ERR_BUG);
    assert_int_equal(http_output(p->e)->len, 0);
    assert_false(http_is_switching(p->e));
    play_free(p);
}

static void where_nothing_switches(void **state)
{
    struct play *p;

    (void)state;
    not_switching("", TLS);
    not_switching(GET, TLS);
    not_switching("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: TLS/1.2\r\n\r\n", TLS);
    not_switching(UPGRADE "Content-Length: 2\r\n\r\nh", TLS); /* before END */
    not_switching(UPGRADE "\r\n", SPAN_NONE);
    not_switching(UPGRADE "\r\n", SPAN("X: y\r\n"));
    not_switching(UPGRADE "\r\n", SPAN("Upgrade: TLS/1.2\r\nConnection: Upgrade\r\n"));
    not_switching(UPGRADE "\r\n", SPAN("Upgrade: TLS/1.2\r\nContent-Length: 0\r\n"));
    not_switching(UPGRADE "\r\n", SPAN("Upgrade: TLS/1.2\r\n\r\n"));
    p = play_after(UPGRADE "\r\n");
    assert_int_equal(http_reply_head(p->e, &length_2), OK);
    assert_int_equal(http_switch(p->e, TLS), ERR_BUG);
    play_free(p);
}

/* An Upgrade that Connection does not list switches where the driver says so, and then as any
 * other; where there is none, or in HTTP/1.0, saying so changes nothing. */
static void an_unlisted_one(void **state)
{
    static const char unlisted[] =
        "OPTIONS * HTTP/1.1\r\n" H "Connection: x\r\nUpgrade: TLS/1.2\r\n\r\n";
    static const char *const none[] = {GET, "GET / HTTP/1.1\r\n" H "Connection: upgrade\r\n\r\n",
                                       "GET / HTTP/1.0\r\nUpgrade: TLS/1.2\r\n\r\n"};
    struct play *p = play_after(unlisted);

    (void)state;
    assert_int_equal(http_switch(p->e, TLS), ERR_BUG);
    http_take_unlisted(p->e);
    assert_int_equal(http_switch(p->e, TLS), OK);
    play_output(p, SWITCHING);
    assert_int_equal(http_switched(p->e), OK);
    http_take_unlisted(p->e);
    assert_int_equal(http_switch(p->e, TLS), ERR_BUG); /* once */
    play_events(p, "REQUEST OPTIONS * unlisted\nEND\n");
    play_free(p);
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        p = play_after(none[i]);
        http_take_unlisted(p->e);
        assert_int_equal(http_switch(p->e, TLS), ERR_BUG);
        play_free(p);
    }
    p = play_after("");
    http_take_unlisted(p->e); /* nobody has asked */
    assert_int_equal(http_switch(p->e, TLS), ERR_BUG);
    play_free(p);
    p = play_after("OPTIONS * HTTP/1.1\r\n" H "Upgrade: TLS/1.2\r\nContent-Length: 2\r\n\r\nh");
    http_take_unlisted(p->e);
    assert_int_equal(http_switch(p->e, TLS), ERR_BUG); /* before END */
    play_free(p);
}

/* RFC 9110 7.8: a 100 that was expected comes before the 101, also when nobody waited for it. */
static void continue_goes_before_switching(void **state)
{
    struct play *p = play_after(UPGRADE "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");

    (void)state;
    assert_int_equal(http_switch(p->e, TLS), OK);
    play_output(p, "HTTP/1.1 100 Continue\r\n\r\n" SWITCHING);
    play_free(p);

    p = play_after(UPGRADE "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_int_equal(http_go_on(p->e), OK);
    play_text(p, "hi");
    assert_int_equal(http_switch(p->e, TLS), OK);
    play_output(p, "HTTP/1.1 100 Continue\r\n\r\n" SWITCHING);
    play_free(p);
}

/* What ends a connection while it switches. */
static void ends_while_switching(void **state)
{
    struct http_limits lim = play_limits;
    struct play *p = play_after(UPGRADE "\r\n");

    (void)state;
    assert_int_equal(http_switch(p->e, TLS), OK);
    play_output(p, SWITCHING);
    http_eof(p->e);
    play_events(p, "REQUEST OPTIONS * upgrades\nEND\n");
    assert_int_equal(http_switched(p->e), OK);
    assert_int_equal(http_reply_head(p->e, &ok), OK);
    play_output(p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    play_free(p);

    lim.exchange_ms = 7000;
    p = play_new(&lim);
    play_text(p, UPGRADE "\r\n");
    assert_int_equal(http_switch(p->e, TLS), OK);
    play_output(p, SWITCHING);
    play_wait(p, 7000);
    play_events(p, "REQUEST OPTIONS * upgrades\nEND\nREFUSED 0 the exchange took too long\n");
    play_output(p, ""); /* nothing in clear */
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    assert_int_equal(http_switched(p->e), ERR_ABORTED);
    play_free(p);
}

static void switching_survives_failing_memory(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 4; n++) {
        struct play *p = play_after(UPGRADE "\r\n");

        mem_fail_after(n);
        if (http_switch(p->e, TLS) == ERR_NOMEM) {
            assert_int_equal(http_output(p->e)->len, 0);
            assert_false(http_is_switching(p->e));
            mem_fail_after(0);
            assert_int_equal(http_switch(p->e, TLS), OK);
        }
        mem_fail_after(0);
        play_output(p, SWITCHING);
        play_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(switching),
        cmocka_unit_test(where_nothing_switches),
        cmocka_unit_test(an_unlisted_one),
        cmocka_unit_test(continue_goes_before_switching),
        cmocka_unit_test(ends_while_switching),
        cmocka_unit_test(switching_survives_failing_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
