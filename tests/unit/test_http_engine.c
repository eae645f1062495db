/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_engine.h, the request half: what is read and what is refused, for any cut of the input;
 * what waits; memory. Deadlines are in test_http_engine_time.c, the reply half is in
 * test_http_engine_reply.c. */
#include "test_http_play.h"

#define X8  "xxxxxxxx"
#define X24 X8 X8 X8
#define X64 X24 X24 X8 X8

/* ---- all ways to cut ---- */

struct talk {
    const char *in, *events, *out;
};

enum cut { CUT_NONE, CUT_BYTES, CUT_GUARD, CUT_AT };

/* Plays |t|, whose requests are answered at their END. True when memory failed on the way. */
static bool play_talk(const struct talk *t, enum cut cut, size_t at, unsigned fail_at)
{
    struct play *p = play_new(&play_limits);
    struct span in = span_of(t->in);
    size_t first = cut == CUT_AT ? at : cut == CUT_BYTES ? 0 : in.n;
    size_t step = cut == CUT_BYTES ? 1 : in.n;
    bool failed;

    p->answers = true;
    p->guards = cut == CUT_GUARD;
    p->failing = fail_at > 0;
    mem_fail_after(fail_at);
    play_feed(p, span_sub(in, 0, first));
    for (size_t i = first; i < in.n; i += step)
        play_feed(p, span_sub(in, i, step));
    mem_fail_after(0);
    failed = p->failed;
    if (!failed) {
        assert_int_equal(p->pending.n, 0);
        play_events(p, t->events);
        play_output(p, t->out);
    }
    play_free(p);
    return failed;
}

static void play_all_ways(const char *in, const char *events, const char *out)
{
    const struct talk t = {in, events, out};
    size_t n = strlen(in);
    unsigned quiet = 0;

    (void)play_talk(&t, CUT_NONE, 0, 0);
    (void)play_talk(&t, CUT_BYTES, 0, 0);
    (void)play_talk(&t, CUT_GUARD, 0, 0);
    for (size_t at = 1; at < n; at++)
        (void)play_talk(&t, CUT_AT, at, 0);
    /* Until a few failures in a row were never reached. */
    for (unsigned i = 1; quiet < 4; i++)
        quiet = play_talk(&t, i % 2 ? CUT_NONE : CUT_AT, n / 2, i) ? 0 : quiet + 1;
}

/* ---- whole conversations ---- */

static void requests_without_a_body(void **state)
{
    (void)state;
    play_all_ways("GET / HTTP/1.1\r\n" H "\r\n", "REQUEST GET /\nEND\n", PLAY_OK);
    play_all_ways("POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "REQUEST POST /\nEND\n",
                  PLAY_OK);
    /* HTTP/1.9 is read as HTTP/1.1 (RFC 9110 2.5) */
    play_all_ways("GET / HTTP/1.9\r\n" H "\r\n", "REQUEST GET /\nEND\n", PLAY_OK);
    /* any form of target, and an empty Host */
    play_all_ways("OPTIONS * HTTP/1.1\r\n" H "\r\n"
                  "GET http://h:80/p?q HTTP/1.1\r\nHost: \r\n\r\n"
                  "GET h:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n",
                  "REQUEST OPTIONS *\nEND\n"
                  "REQUEST GET http://h:80/p?q\nEND\n"
                  "REQUEST GET h:443\nEND\n",
                  PLAY_OK PLAY_OK PLAY_OK);
    /* empty lines, up to the limit */
    play_all_ways("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n\r\n\r\nGET /2 HTTP/1.1\r\n" H "\r\n",
                  "REQUEST GET /\nEND\nREQUEST GET /2\nEND\n", PLAY_OK PLAY_OK);
}

static void bodies(void **state)
{
    (void)state;
    play_all_ways("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello",
                  "REQUEST POST / length=5\nBODY hello\nEND\n", PLAY_OK);
    /* RFC 9110 8.6: equal lengths, in one field and in two */
    play_all_ways("POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\ncontent-length: 5\r\n\r\nhello",
                  "REQUEST POST / length=5\nBODY hello\nEND\n", PLAY_OK);
    play_all_ways("POST / HTTP/1.1\r\n" H "transfer-encoding:  Chunked \r\n\r\n"
                  "3;a=b\r\nhel\r\n2\r\nlo\r\n0;x\r\nA: b\r\nC: d\r\n\r\n",
                  "REQUEST POST / chunked\nBODY hello\nEND A: b\\r\\nC: d\\r\\n\n", PLAY_OK);
    play_all_ways("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                  "REQUEST POST / chunked\nEND\n", PLAY_OK);
    /* a body that looks like a request is a body */
    play_all_ways("POST / HTTP/1.1\r\n" H "Content-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                  "REQUEST POST / length=18\nBODY GET / HTTP/1.1\\r\\n\\r\\n\nEND\n", PLAY_OK);
}

/* The last one says close, and what follows is dropped. */
static void a_pipelined_row(void **state)
{
    (void)state;
    play_all_ways("GET /1 HTTP/1.1\r\n" H "\r\n"
                  "POST /2 HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"
                  "POST /3 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                  "2\r\nhi\r\n0\r\nA: b\r\n\r\n"
                  "HEAD /4 HTTP/1.1\r\n" H "\r\n"
                  "\r\nGET /5 HTTP/1.1\r\n" H "Connection: Keep-Alive, CLOSE\r\n\r\n"
                  "GET /6 HTTP/1.1\r\n" H "\r\n",
                  "REQUEST GET /1\nEND\n"
                  "REQUEST POST /2 length=5\nBODY hello\nEND\n"
                  "REQUEST POST /3 chunked\nBODY hi\nEND A: b\\r\\n\n"
                  "REQUEST HEAD /4\nEND\n"
                  "REQUEST GET /5 close\nEND\n",
                  PLAY_OK PLAY_OK PLAY_OK
                  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" PLAY_OK_CLOSE);
}

/* It ends with its answer, whatever it says; it needs no Host, upgrades nothing, expects nothing.
 */
static void requests_of_http_1_0(void **state)
{
    (void)state;
    play_all_ways("POST / HTTP/1.0\r\nConnection: keep-alive, upgrade\r\nUpgrade: TLS/1.2\r\n"
                  "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
                  "GET /2 HTTP/1.0\r\n\r\n",
                  "REQUEST POST / length=2 close\nBODY hi\nEND\n", PLAY_OK_CLOSE);
}

static void what_requests_ask_for(void **state)
{
    (void)state;
    /* RFC 9110 7.8: Upgrade counts when Connection lists it */
    play_all_ways(
        "GET /1 HTTP/1.1\r\n" H "Upgrade: TLS/1.2\r\nConnection: x, upgrade\r\n\r\n"
        "GET /2 HTTP/1.1\r\n" H "Upgrade: TLS/1.2\r\n\r\n"
        "GET /3 HTTP/1.1\r\n" H "Connection: upgrade\r\n\r\n",
        "REQUEST GET /1 upgrades\nEND\nREQUEST GET /2 unlisted\nEND\nREQUEST GET /3\nEND\n",
        PLAY_OK PLAY_OK PLAY_OK);
    /* RFC 9110 10.1.1: without a body there is nothing to wait for */
    play_all_ways("GET / HTTP/1.1\r\n" H "Expect: 100-Continue\r\n\r\n", "REQUEST GET /\nEND\n",
                  PLAY_OK);
    play_all_ways("POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi",
                  "REQUEST POST / length=2 expects\nBODY hi\nEND\n", PLAY_OK);
}

/* ---- refusals ---- */

/* Behind |before|, which makes |events| and |answers|: |in| is refused with |status| (and its
 * phrase) and |why|, and nothing behind it is looked at. */
static void refused_behind(const char *before, const char *events, const char *answers,
                           const char *status, const char *why, const char *in)
{
    struct buf text, log, out;

    buf_init(&text, 0);
    buf_init(&log, 0);
    buf_init(&out, 0);
    buf_fmt(&text, "%s%sGET /never HTTP/1.1\r\n" H "\r\n", before, in);
    buf_fmt(&log, "%sREFUSED %.3s %s\n", events, status, why);
    buf_fmt(&out,
            "%sHTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
            "Connection: close\r\n\r\n%s\n",
            answers, status, strlen(why) + 1, why);
    play_all_ways(buf_cstr(&text), buf_cstr(&log), buf_cstr(&out));
    buf_done(&text);
    buf_done(&log);
    buf_done(&out);
}

/* As the first request, and as a pipelined one. */
static void refused(const char *status, const char *why, const char *in)
{
    refused_behind("", "", "", status, why, in);
    refused_behind("GET /1 HTTP/1.1\r\n" H "\r\n", "REQUEST GET /1\nEND\n", PLAY_OK, status, why,
                   in);
}

#define BAD "400 Bad Request"

/* RFC 9112 2.3, 3 */
static void request_lines_are_refused(void **state)
{
    (void)state;
    refused(BAD, "malformed method", "GARBAGE\r\n\r\n");
    refused(BAD, "malformed request-line", "GET /\r\n\r\n"); /* HTTP/0.9 */
    refused(BAD, "malformed request-line", "GET  / HTTP/1.1\r\n" H "\r\n");
    refused(BAD, "malformed HTTP version", "GET /a b HTTP/1.1\r\n" H "\r\n");
    refused(BAD, "malformed HTTP version", "GET / http/1.1\r\n" H "\r\n");
    refused(BAD, "malformed HTTP version", "GET / HTTP/1.10\r\n" H "\r\n");
    refused(BAD, "malformed method", "G(T / HTTP/1.1\r\n" H "\r\n");
    refused(BAD, "malformed method", " GET / HTTP/1.1\r\n" H "\r\n");
    refused(BAD, "control byte in the request target", "GET /\t HTTP/1.1\r\n" H "\r\n");
    refused("505 HTTP Version Not Supported", "HTTP version is not 1.x",
            "GET / HTTP/2.0\r\n" H "\r\n");
    refused("505 HTTP Version Not Supported", "HTTP version is not 1.x",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    refused("505 HTTP Version Not Supported", "HTTP version is not 1.x", "GET / HTTP/0.9\r\n\r\n");
    refused("414 URI Too Long", "start-line too long", "GET /" X64 " HTTP/1.1\r\n" H "\r\n");
    refused(BAD, "bare LF before a request-line", "\nGET / HTTP/1.1\r\n" H "\r\n");
    refused(BAD, "CR without LF before a request-line", "\rGET / HTTP/1.1\r\n" H "\r\n");
    refused(BAD, "too many empty lines before a request-line",
            "\r\n\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n");
}

/* RFC 9112 2.2, 5 */
static void field_lines_are_refused(void **state)
{
    (void)state;
    refused(BAD, "bare LF in a head", "GET / HTTP/1.1\n" H "\r\n");
    refused(BAD, "bare LF in a head", "GET / HTTP/1.1\r\nHost: h\n\r\n");
    refused(BAD, "CR without LF in a head", "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n");
    refused("431 Request Header Fields Too Large", "head too long",
            "GET / HTTP/1.1\r\n" H "X: " X64 X64 X64 X64 "\r\n\r\n");
    refused("431 Request Header Fields Too Large", "too many fields in a head",
            "GET / HTTP/1.1\r\n" H "1: x\r\n2: x\r\n3: x\r\n4: x\r\n5: x\r\n6: x\r\n\r\n");
    refused(BAD, "malformed field-line", "GET / HTTP/1.1\r\n" H "X : y\r\n\r\n");
    refused(BAD, "malformed field-line", "GET / HTTP/1.1\r\n" H "X: y\r\n z\r\n\r\n");
    refused(BAD, "malformed field-line", "GET / HTTP/1.1\r\n" H "X\r\n\r\n");
    refused(BAD, "malformed field-line", "GET / HTTP/1.1\r\n" H ": x\r\n\r\n");
    refused(BAD, "malformed field-line", "GET / HTTP/1.1\r\n" H "X: \x01\r\n\r\n");
    refused(BAD, "white space before the first field", "GET / HTTP/1.1\r\n Host: h\r\n\r\n");
    refused(BAD, "malformed framing field", "GET / HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\n");
    refused(BAD, "folded framing field",
            "GET / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n");
}

/* RFC 9112 3.2 */
static void hosts_are_refused(void **state)
{
    (void)state;
    refused(BAD, "no Host", "GET / HTTP/1.1\r\n\r\n");
    refused(BAD, "no Host", "GET http://h/ HTTP/1.1\r\n\r\n");
    refused(BAD, "repeated Host", "GET / HTTP/1.1\r\n" H H "\r\n");
    refused(BAD, "repeated Host", "GET / HTTP/1.0\r\n" H "Host: i\r\n\r\n");
    refused(BAD, "malformed Host", "GET / HTTP/1.1\r\nHost: h, i\r\n\r\n");
    refused(BAD, "malformed Host", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n");
}

#define POST   "POST / HTTP/1.1\r\n" H
#define LENGTH "malformed or conflicting Content-Length"
#define BOTH   "Content-Length together with Transfer-Encoding"
#define CODING "Transfer-Encoding other than chunked"

/* RFC 9112 6.1, 6.3, 11.2 */
static void framing_is_refused(void **state)
{
    (void)state;
    refused(BAD, LENGTH, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n");
    refused(BAD, LENGTH, POST "Content-Length: 5, 6\r\n\r\n");
    refused(BAD, LENGTH, POST "Content-Length: 5,\r\n\r\n");
    refused(BAD, LENGTH, POST "Content-Length: +5\r\n\r\n");
    refused(BAD, LENGTH, POST "Content-Length: 0x5\r\n\r\n");
    refused(BAD, LENGTH, POST "Content-Length:\r\n\r\n");
    refused(BAD, LENGTH, POST "Content-Length: 9223372036854775808\r\n\r\n");
    refused(BAD, BOTH, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    refused(BAD, BOTH, POST "Transfer-Encoding: gzip\r\nContent-Length: x\r\n\r\n");
    refused(BAD, "Transfer-Encoding in HTTP/1.0",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    refused("501 Not Implemented", CODING, POST "Transfer-Encoding: gzip\r\n\r\n");
    refused("501 Not Implemented", CODING, POST "Transfer-Encoding: gzip, chunked\r\n\r\n");
    refused("501 Not Implemented", CODING, POST "Transfer-Encoding: chunked, chunked\r\n\r\n");
    refused("501 Not Implemented", CODING, POST "Transfer-Encoding: chunked,\r\n\r\n");
    refused("501 Not Implemented", CODING, POST "Transfer-Encoding: chunked;q=1\r\n\r\n");
    refused("501 Not Implemented", CODING, POST "Transfer-Encoding:\r\n\r\n");
    refused("501 Not Implemented", CODING,
            POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n");
    refused("501 Not Implemented", CODING,
            POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
}

/* RFC 9110 10.1.1 */
static void expectations_are_refused(void **state)
{
    (void)state;
    refused("417 Expectation Failed", "unknown expectation",
            POST "Expect: 100-continue, more\r\nContent-Length: 1\r\n\r\n");
    refused("417 Expectation Failed", "unknown expectation",
            POST "Expect: 100-continue;q=1\r\n\r\n");
}

/* What is wrong with a body comes behind its REQUEST. */
static void body_refused(const char *why, const char *in)
{
    refused_behind(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                   "REQUEST POST / chunked\nBODY abc\n", "", BAD, why, in);
}

static void chunked_bodies_are_refused(void **state)
{
    (void)state;
    body_refused("chunk-size without digits", "x\r\n");
    body_refused("chunk-size without digits", "-1\r\n");
    body_refused("chunk-size over 63 bits", "8000000000000000\r\n");
    body_refused("malformed chunk extension", "1 x\r\n");
    body_refused("bare LF after a chunk-size", "1\nx");
    body_refused("chunk-size line too long", "1;" X24 X8 "\r\nx\r\n");
    body_refused("malformed trailer field-line", "0\r\nA : b\r\n\r\n");
    body_refused("bare LF in a trailer section", "0\r\nA: b\n\r\n");
    body_refused("trailer section too long", "0\r\nA: " X64 "\r\n\r\n");
    body_refused("too many trailer fields", "0\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n");
    refused_behind(POST "Transfer-Encoding: chunked\r\n\r\n1;" X24 "\r\nx\r\n1;" X24 "\r\nx\r\n",
                   "REQUEST POST / chunked\nBODY xx\n", "", BAD,
                   "too much chunk framing for so little data", "1;" X24 "\r\nx\r\n");
}

/* ---- what is taken, and what waits ---- */

/* Not a byte of the next request before both halves are over. */
static void pipelined_requests_wait(void **state)
{
    static const char post[] = "POST / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi";
    static const char next[] = "\r\nGET /2 HTTP/1.1\r\n" H "\r\n";
    struct play *p = play_new(&play_limits);

    (void)state;
    play_text(p, post);
    play_text(p, next);
    play_events(p, "REQUEST POST / length=2\nBODY hi\nEND\n");
    assert_int_equal(p->pending.n, sizeof next - 1);
    assert_int_equal(http_wants(p->e), 0);
    assert_string_equal(http_engine_state(p->e), "request over");
    assert_int_equal(http_reply_head(p->e, &(struct http_reply){.status = 200, .has_body = true}),
                     OK);
    play_pump(p);
    assert_int_equal(p->pending.n, sizeof next - 1);
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE);
    assert_int_equal(http_reply_end(p->e), OK);
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE | HTTP_WANT_READ);
    play_pump(p);
    play_events(p, "REQUEST GET /2\nEND\n");
    assert_int_equal(p->pending.n, 0);
    play_free(p);
}

/* The events of the last exchange go first, too. */
static void the_next_request_waits_for_events(void **state)
{
    struct play *p = play_new(&play_limits);
    struct http_event ev;
    size_t used;

    (void)state;
    struct slice s = play_piece(p, SPAN("GET / HTTP/1.1\r\n" H "\r\n"));

    assert_int_equal(http_feed(p->e, s, &used), OK);
    assert_int_equal(used, s.len);
    assert_true(http_next(p->e, &ev) && ev.kind == HTTP_EV_REQUEST);
    assert_int_equal(http_reply_head(p->e, &(struct http_reply){.status = 204}), OK);
    assert_int_equal(http_feed(p->e, s, &used), OK); /* END waits */
    assert_int_equal(used, 0);
    assert_false(http_is_over(p->e));
    assert_true(http_next(p->e, &ev) && ev.kind == HTTP_EV_END);
    assert_true(http_is_over(p->e));
    assert_int_equal(http_feed(p->e, s, &used), OK);
    assert_int_equal(used, s.len);
    play_events(p, "REQUEST GET /\nEND\n");
    play_free(p);
}

/* Who sends requests and reads no answers fills no memory. */
static void answers_that_nobody_reads_hold_requests_back(void **state)
{
    struct play *p = play_new(&http_limits_default);
    struct buf text;
    uint64_t len;

    (void)state;
    buf_init(&text, 0);
    for (unsigned i = 0; i < 5000; i++)
        buf_text(&text, "GET / HTTP/1.1\r\n" H "\r\n");
    p->answers = true;
    play_feed(p, buf_span(&text));
    buf_done(&text);
    len = http_output(p->e)->len;
    assert_true(len > HTTP_AHEAD_MAX && len <= HTTP_AHEAD_MAX + sizeof PLAY_OK);
    assert_true(p->pending.n > 0);
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE);
    http_sent(p->e, 100);
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE | HTTP_WANT_READ);
    while (p->pending.n) {
        play_take_output(p);
        play_pump(p);
    }
    play_take_output(p);
    assert_int_equal(p->wire.n + 100, 5000 * (sizeof PLAY_OK - 1));
    play_free(p);
}

/* Small chunks fill the queue of events: feed stops, and goes on after next. */
static void a_full_queue_stops_feed(void **state)
{
    struct play *p = play_new(&http_limits_default);
    struct buf text;
    size_t used;

    (void)state;
    buf_init(&text, 0);
    buf_text(&text, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n");
    for (unsigned i = 0; i < 100; i++)
        buf_text(&text, "1\r\nx\r\n");
    buf_text(&text, "0\r\n\r\n");
    assert_int_equal(http_feed(p->e, play_piece(p, buf_span(&text)), &used), OK);
    assert_true(used < text.n);
    assert_int_equal(http_wants(p->e) & HTTP_WANT_READ, 0);
    play_drain(p);
    assert_int_equal(http_wants(p->e) & HTTP_WANT_READ, HTTP_WANT_READ);
    buf_drop(&text, used);
    play_feed(p, buf_span(&text));
    assert_int_equal(p->pending.n, 0);
    assert_non_null(strstr(buf_cstr(&p->log), "xxxx\nEND\n"));
    assert_int_equal(p->log.n, strlen("REQUEST POST / chunked\nBODY \nEND\n") + 100);
    buf_done(&text);
    play_free(p);
}

/* A body of many blocks: its bytes are the fed blocks' own, and nothing stays behind. */
static void bodies_are_not_copied(void **state)
{
    struct play *p = play_new(&http_limits_default);
    struct block *b = block_new();
    struct http_event ev;
    size_t used;

    (void)state;
    assert_non_null(b);
    memset(b->data, 'x', BLOCK_SIZE);
    play_text(p, "POST / HTTP/1.1\r\n" H "Content-Length: 1048577\r\n\r\n");
    assert_int_equal(http_rest(p->e), 1048577);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(http_feed(p->e, (struct slice){b, 0, BLOCK_SIZE}, &used), OK);
        assert_int_equal(used, BLOCK_SIZE);
        assert_true(http_next(p->e, &ev) && ev.kind == HTTP_EV_BODY);
        assert_ptr_equal(ev.slice.block, b);
        assert_int_equal(ev.slice.len, BLOCK_SIZE);
        block_unref(ev.slice.block);
        assert_false(http_next(p->e, &ev));
    }
    assert_int_equal(b->refs, 1);
    assert_int_equal(http_rest(p->e), 1);
    play_events(p, "REQUEST POST / length=1048577\n");
    play_text(p, "yGET");
    play_events(p, "BODY y\nEND\n");
    assert_int_equal(http_rest(p->e), 0);
    assert_int_equal(p->pending.n, 3);
    block_unref(b);
    play_free(p);
}

static void the_rest_of_a_chunked_body_is_unknown(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    assert_int_equal(http_rest(p->e), 0);
    play_text(p, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\n");
    assert_true(http_rest(p->e) == HTTP_LENGTH_UNKNOWN);
    play_free(p);
}

/* While the driver does not read on purpose, the engine wants nothing. */
static void pausing(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    play_text(p, "POST / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\n");
    http_pause(p->e, true);
    assert_int_equal(http_wants(p->e), 0);
    assert_true(play_deadline(p) == UINT64_MAX);
    play_wait(p, 100000);
    http_pause(p->e, false);
    assert_int_equal(http_wants(p->e), HTTP_WANT_READ);
    assert_int_equal(play_deadline(p), 60000); /* begins anew */
    play_text(p, "hi");
    http_pause(p->e, true);
    assert_int_equal(http_reply_head(p->e, &(struct http_reply){.status = 200}), OK);
    play_output(p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(http_wants(p->e), HTTP_WANT_READ); /* ended with the exchange */
    play_free(p);
}

/* ---- Expect (RFC 9110 10.1.1) ---- */

#define GO_ON  "HTTP/1.1 100 Continue\r\n\r\n"
#define EXPECT "POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"

static void go_on_where_it_is_expected(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    assert_int_equal(http_go_on(p->e), ERR_BUG); /* no request */
    play_text(p, EXPECT);
    assert_true(play_deadline(p) == UINT64_MAX); /* the client waits for us */
    play_wait(p, 100000);
    assert_int_equal(http_go_on(p->e), OK);
    assert_int_equal(play_deadline(p), 50000); /* for the output */
    play_output(p, GO_ON);
    assert_int_equal(play_deadline(p), 60000);
    assert_int_equal(http_go_on(p->e), OK);
    play_output(p, "");
    play_text(p, "hi");
    assert_int_equal(http_go_on(p->e), OK);
    assert_int_equal(http_reply_head(p->e, &(struct http_reply){.status = 200}), OK);
    assert_int_equal(http_go_on(p->e), ERR_BUG);
    play_output(p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    play_text(p, EXPECT); /* anew for each request */
    assert_int_equal(http_go_on(p->e), OK);
    play_output(p, GO_ON);
    play_free(p);
}

/* libcups holds back all but the beginning. */
static void go_on_behind_a_part_of_the_body(void **state)
{
    static const char *const texts[] = {
        "POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nh",
        "POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n1",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct play *p = play_new(&play_limits);

        play_text(p, texts[i]);
        assert_int_equal(http_go_on(p->e), OK);
        play_output(p, "HTTP/1.1 100 Continue\r\n\r\n");
        assert_int_equal(http_go_on(p->e), OK);
        play_output(p, "");
        play_free(p);
    }
}

static void go_on_where_nobody_waits(void **state)
{
    static const char *const texts[] = {
        "POST / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        "POST / HTTP/1.0\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\n" H "Expect: 100-continue\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct play *p = play_new(&play_limits);

        play_text(p, texts[i]);
        assert_int_equal(http_go_on(p->e), OK);
        play_output(p, "");
        play_free(p);
    }
}

/* ---- the end of the input ---- */

static void eof_between_requests(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    p->answers = true;
    play_text(p, "GET / HTTP/1.1\r\n" H "\r\n\r\n");
    http_eof(p->e);
    play_events(p, "REQUEST GET /\nEND\n");
    assert_int_equal(http_wants(p->e), HTTP_WANT_WRITE);
    play_output(p, PLAY_OK);
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

/* A client that has said all may half-close, and wait. */
static void eof_behind_a_request(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    play_text(p, "GET / HTTP/1.1\r\n" H "\r\n");
    http_eof(p->e);
    play_events(p, "REQUEST GET /\nEND\n");
    assert_int_equal(http_wants(p->e), 0);
    assert_int_equal(http_reply_whole(p->e, &(struct http_reply){.status = 200}, SPAN("ok")), OK);
    play_output(p, PLAY_OK_CLOSE);
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

static void eof_inside_a_request(void **state)
{
    static const char *const texts[] = {
        "GET / HT",
        "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nhi",
        "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
    };
    static const char *const events[] = {
        "REQUEST GET /1\nEND\n",
        "REQUEST GET /1\nEND\nREQUEST POST / length=3\nBODY hi\n",
        "REQUEST GET /1\nEND\nREQUEST POST / chunked\nBODY hi\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct play *p = play_new(&play_limits);
        struct buf want;

        buf_init(&want, 0);
        buf_fmt(&want, "%sGONE the peer closed inside a request\n", events[i]);
        p->answers = true;
        play_text(p, "GET /1 HTTP/1.1\r\n" H "\r\n");
        play_text(p, texts[i]);
        http_eof(p->e);
        play_events(p, buf_cstr(&want));
        assert_int_equal(http_reply_head(p->e, &(struct http_reply){.status = 200}), ERR_ABORTED);
        assert_int_equal(http_go_on(p->e), ERR_ABORTED);
        assert_null(http_current(p->e));
        play_output(p, PLAY_OK); /* of the one before */
        assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
        buf_done(&want);
        play_free(p);
    }
}

/* ---- memory ---- */

/* Between exchanges nothing is held. */
static void an_idle_engine_is_small(void **state)
{
    struct play *p = play_new(&http_limits_default);
    struct budget budget;

    (void)state;
    budget_init(&budget, 0);
    block_set_budget(&budget);
    p->answers = true;
    play_text(p, "POST / HTTP/1.1\r\n" H "Transfer-");
    play_text(p, "Encoding: chunked\r\n\r\n1\r");
    play_text(p, "\nx\r\n0\r\nA: b\r\n\r\n");
    assert_true(budget_used(&budget) > 0);
    play_output(p, PLAY_OK);
    assert_int_equal(budget_used(&budget), 0);
    assert_null(p->e->mem.chunks);
    assert_null(p->e->head.text.p);
    assert_null(p->e->chunks.trailers.p);
    assert_null(http_output(p->e)->segs);
    play_free(p);
    block_set_budget(NULL);
}

/* What the driver puts into the arena lives until the engine has said NONE after the end. */
static void memory_outlives_the_reply(void **state)
{
    struct play *p = play_new(&play_limits);
    const struct http_request *r;
    struct http_event ev;
    char *text;

    (void)state;
    assert_null(http_current(p->e));
    play_text(p, "GET /s HTTP/1.1\r\n" H "\r\n");
    r = http_current(p->e);
    text = arena_text(http_arena(p->e), SPAN("kept"));
    assert_non_null(text);
    assert_false(http_is_over(p->e));
    assert_int_equal(http_reply_head(p->e, &(struct http_reply){.status = 204}), OK);
    assert_true(http_is_over(p->e));
    assert_ptr_equal(http_current(p->e), r);
    assert_true(span_eq(r->head->target, SPAN("/s")));
    assert_string_equal(text, "kept");
    assert_false(http_next(p->e, &ev));
    assert_null(http_current(p->e));

    play_text(p, "GET /s HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(http_reply_head(p->e, &(struct http_reply){.status = 204}), OK);
    http_tick(p->e, p->now);
    assert_null(http_current(p->e));
    play_free(p);
}

/* A head that comes in a thousand pieces is read once. */
static void a_dripping_head(void **state)
{
    struct play *p = play_new(&http_limits_default);
    struct buf text;

    (void)state;
    buf_init(&text, 0);
    buf_text(&text, "GET / HTTP/1.1\r\n" H);
    for (unsigned i = 0; i < 90; i++)
        buf_fmt(&text, "X-%u: some value that makes the head long enough to matter\r\n", i);
    buf_text(&text, "\r\n");
    for (size_t i = 0; i < text.n; i++)
        play_feed(p, span_sub(buf_span(&text), i, 1));
    play_events(p, "REQUEST GET /\nEND\n");
    buf_done(&text);
    play_free(p);
}

/* memory_max is a limit of one exchange; a head that needs more is refused with 503. */
static void over_the_memory_of_an_exchange(void **state)
{
    struct http_limits lim = play_limits;
    struct play *p;
    size_t used;

    (void)state;
    lim.memory_max = 100;
    p = play_new(&lim);
    struct slice s = play_piece(p, SPAN("GET / HTTP/1.1\r\n" H "\r\n"));

    assert_int_equal(http_feed(p->e, s, &used), ERR_NOMEM);
    assert_int_equal(used, s.len);
    play_events(p, "REFUSED 503 no memory for a request\n");
    play_output(p, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
                   "Content-Length: 24\r\nConnection: close\r\n\r\nno memory for a request\n");
    assert_int_equal(http_wants(p->e), HTTP_WANT_CLOSE);
    play_free(p);
}

static void no_memory_for_an_engine(void **state)
{
    struct http_engine *e = NULL;

    (void)state;
    mem_fail_after(1);
    assert_int_equal(http_engine_new(&play_limits, 0, &e), ERR_NOMEM);
    mem_fail_after(0);
    assert_null(e);
    http_engine_free(NULL);
}

/* ---- counts ---- */

static void counts_are_of_one_exchange(void **state)
{
    static const char post[] = "POST / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi";
    static const char get[] = "GET / HTTP/1.1\r\n" H "\r\n";
    struct play *p = play_new(&play_limits);
    uint64_t n_in, n_out;

    (void)state;
    assert_false(http_is_busy(p->e));
    play_text(p, "POS");
    assert_true(http_is_busy(p->e));
    play_text(p, post + 3);
    http_counts(p->e, &n_in, &n_out);
    assert_int_equal(n_in, sizeof post - 1);
    assert_int_equal(n_out, 0);
    assert_int_equal(http_reply_whole(p->e, &(struct http_reply){.status = 200}, SPAN("ok")), OK);
    http_counts(p->e, &n_in, &n_out);
    assert_int_equal(n_in, sizeof post - 1);
    assert_int_equal(n_out, sizeof PLAY_OK - 1);
    play_text(p, "\r\n"); /* belongs to nobody */
    http_counts(p->e, &n_in, &n_out);
    assert_int_equal(n_in, sizeof post - 1);
    play_text(p, get);
    http_counts(p->e, &n_in, &n_out);
    assert_int_equal(n_in, sizeof get - 1);
    assert_int_equal(n_out, 0);
    play_take_output(p);
    assert_true(http_is_busy(p->e));
    assert_int_equal(http_reply_head(p->e, &(struct http_reply){.status = 204}), OK);
    assert_true(http_is_busy(p->e));
    play_take_output(p);
    assert_false(http_is_busy(p->e));
    play_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_without_a_body),
        cmocka_unit_test(bodies),
        cmocka_unit_test(a_pipelined_row),
        cmocka_unit_test(requests_of_http_1_0),
        cmocka_unit_test(what_requests_ask_for),
        cmocka_unit_test(request_lines_are_refused),
        cmocka_unit_test(field_lines_are_refused),
        cmocka_unit_test(hosts_are_refused),
        cmocka_unit_test(framing_is_refused),
        cmocka_unit_test(expectations_are_refused),
        cmocka_unit_test(chunked_bodies_are_refused),
        cmocka_unit_test(pipelined_requests_wait),
        cmocka_unit_test(the_next_request_waits_for_events),
        cmocka_unit_test(answers_that_nobody_reads_hold_requests_back),
        cmocka_unit_test(a_full_queue_stops_feed),
        cmocka_unit_test(bodies_are_not_copied),
        cmocka_unit_test(the_rest_of_a_chunked_body_is_unknown),
        cmocka_unit_test(pausing),
        cmocka_unit_test(go_on_where_it_is_expected),
        cmocka_unit_test(go_on_behind_a_part_of_the_body),
        cmocka_unit_test(go_on_where_nobody_waits),
        cmocka_unit_test(eof_between_requests),
        cmocka_unit_test(eof_behind_a_request),
        cmocka_unit_test(eof_inside_a_request),
        cmocka_unit_test(an_idle_engine_is_small),
        cmocka_unit_test(memory_outlives_the_reply),
        cmocka_unit_test(a_dripping_head),
        cmocka_unit_test(over_the_memory_of_an_exchange),
        cmocka_unit_test(no_memory_for_an_engine),
        cmocka_unit_test(counts_are_of_one_exchange),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
