/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_client_engine.h, the reading half: answers as rows (whole, cut at each byte, broken
 * off, each allocation failing). */
#include "test_http_client_player.h"

#define OK200   "HTTP/1.1 200 OK\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

struct row {
    const char *name;
    const char *method;
    const char *how; /* b: body; u: a body that is not finished; e: one that waits for 100; o: head
                        only; t: tunnel; g: upgrade; c: close */
    const char *answer;
    const char *events;
    bool idle; /* may carry another request */
};

#define SURPLUS "FAILED protocol: bytes that belong to no request\n"

/* clang-format off */
static const struct row rows[] = {
    /* no body, whatever the fields say */
    {"HEAD", "HEAD", "", OK200 "Content-Length: 5\r\n\r\n",
     "ANSWER 200\nEND\n", true},
    {"HEAD, chunked", "HEAD", "", OK200 CHUNKED "\r\n",
     "ANSWER 200\nEND\n", true},
    {"HEAD, contradictions", "HEAD", "", OK200 CHUNKED "Content-Length: x\r\n\r\n",
     "ANSWER 200\nEND\n", true},
    {"HEAD, nothing said", "HEAD", "", OK200 "\r\n",
     "ANSWER 200\nEND\n", true},
    {"HEAD with a body", "HEAD", "", OK200 "Content-Length: 5\r\n\r\nhello",
     "ANSWER 200\nEND\n" SURPLUS, false},
    {"204", "GET", "", "HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n",
     "ANSWER 204\nEND\n", true},
    {"204, chunked", "GET", "", "HTTP/1.1 204 x\r\n" CHUNKED "\r\n",
     "ANSWER 204\nEND\n", true},
    {"304", "GET", "", "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n",
     "ANSWER 304\nEND\n", true},
    {"length 0", "GET", "", OK200 "Content-Length: 0\r\n\r\n",
     "ANSWER 200\nEND\n", true},
    {"no reason phrase", "GET", "", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
     "ANSWER 200\nEND\n", true},
    {"status 599", "GET", "", "HTTP/1.1 599 x\r\nContent-Length: 0\r\n\r\n",
     "ANSWER 599\nEND\n", true},

    /* Content-Length */
    {"length", "GET", "", OK200 "Content-Length: 5\r\n\r\nhello",
     "ANSWER 200 body 5\nBODY hello\nEND\n", true},
    {"equal lengths", "GET", "", OK200 "Content-Length: 2\r\nContent-Length: 2, 2\r\n\r\nab",
     "ANSWER 200 body 2\nBODY ab\nEND\n", true},
    {"more than its length", "GET", "", OK200 "Content-Length: 2\r\n\r\nabc",
     "ANSWER 200 body 2\nBODY ab\nEND\n" SURPLUS, false},
    {"another answer behind it", "GET", "", OK200 "Content-Length: 2\r\n\r\nab" OK200,
     "ANSWER 200 body 2\nBODY ab\nEND\n" SURPLUS, false},
    {"a last-chunk behind it", "GET", "", OK200 "Content-Length: 2\r\n\r\nab0\r\n\r\n",
     "ANSWER 200 body 2\nBODY ab\nEND\n" SURPLUS, false},
    {"an empty line behind it", "GET", "", OK200 "Content-Length: 0\r\n\r\n\r\n",
     "ANSWER 200\nEND\n" SURPLUS, false},
    {"lengths in conflict", "GET", "", OK200 "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
     "FAILED protocol: malformed or conflicting Content-Length\n", false},
    {"a length that is none", "GET", "", OK200 "Content-Length: +2\r\n\r\nab",
     "FAILED protocol: malformed or conflicting Content-Length\n", false},
    {"length and chunked", "GET", "", OK200 CHUNKED "Content-Length: 2\r\n\r\n0\r\n\r\n",
     "FAILED protocol: Content-Length together with Transfer-Encoding\n", false},

    /* chunked */
    {"chunked", "GET", "", OK200 CHUNKED "\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
     "ANSWER 200 body\nBODY abcde\nEND\n", true},
    {"chunked and empty", "GET", "", OK200 CHUNKED "\r\n0\r\n\r\n",
     "ANSWER 200 body\nEND\n", true},
    {"trailers", "GET", "", OK200 CHUNKED "\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
     "ANSWER 200 body\nBODY a\nENDX: y\r\n\n", true},
    {"trailers over the limit", "GET", "",
     OK200 CHUNKED "\r\n0\r\nX: 0123456789012345678901234567890123456789012345678901234567890\r\n"
     "\r\n",
     "ANSWER 200 body\nFAILED limit: trailer section too long\n", false},
    {"no chunk", "GET", "", OK200 CHUNKED "\r\n3\r\nabcd\r\n",
     "ANSWER 200 body\nBODY abc\nFAILED protocol: chunk data not followed by CRLF\n", false},
    {"chunked behind the last-chunk", "GET", "", OK200 CHUNKED "\r\n0\r\n\r\n0\r\n\r\n",
     "ANSWER 200 body\nEND\n" SURPLUS, false},
    {"gzip, chunked", "GET", "", OK200 "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
     "FAILED protocol: a Transfer-Encoding that is not one chunked\n", false},
    {"chunked twice", "GET", "", OK200 CHUNKED CHUNKED "\r\n0\r\n\r\n",
     "FAILED protocol: a Transfer-Encoding that is not one chunked\n", false},
    {"identity", "GET", "", OK200 "Transfer-Encoding: identity\r\n\r\nabc",
     "FAILED protocol: a Transfer-Encoding that is not one chunked\n", false},
    {"no coding", "GET", "", OK200 "Transfer-Encoding:\r\n\r\nabc",
     "FAILED protocol: a Transfer-Encoding that is not one chunked\n", false},
    {"chunked in HTTP/1.0", "GET", "", "HTTP/1.0 200 x\r\n" CHUNKED "\r\n0\r\n\r\n",
     "FAILED protocol: Transfer-Encoding in HTTP/1.0\n", false},

    /* who closes */
    {"the server closes", "GET", "",
     OK200 "Connection: x, Close\r\nContent-Length: 2\r\n\r\nab and what nobody reads",
     "ANSWER 200 body 2 close\nBODY ab\nEND\n", false},
    {"we close", "GET", "c", OK200 "Content-Length: 0\r\n\r\n",
     "ANSWER 200 close\nEND\n", false},
    {"HTTP/1.0", "GET", "",
     "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
     "ANSWER 200 body 1 close\nBODY a\nEND\n", false},
    {"HTTP/1.2", "GET", "", "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
     "ANSWER 200\nEND\n", true},

    /* interim answers */
    {"100 that nobody waits for", "GET", "",
     "HTTP/1.1 100 Continue\r\n\r\n" OK200 "Content-Length: 0\r\n\r\n",
     "ANSWER 200\nEND\n", true},
    {"early hints", "GET", "",
     "HTTP/1.1 103 x\r\nLink: </a>\r\n\r\nHTTP/1.1 102 x\r\nContent-Length: 5\r\n\r\n" OK200
     "Content-Length: 0\r\n\r\n",
     "ANSWER 200\nEND\n", true},
    {"100 in HTTP/1.0", "GET", "", "HTTP/1.0 100 x\r\n\r\n" OK200 "Content-Length: 0\r\n\r\n",
     "ANSWER 200\nEND\n", true},
    {"100 and another one", "POST", "e",
     "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 100 x\r\n\r\n" OK200 "Content-Length: 0\r\n\r\n",
     "GO_ON\nANSWER 200\nEND\n", false},
    {"hints, then 100", "POST", "e",
     "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 100 x\r\n" CHUNKED "\r\n" OK200 "Content-Length: 0\r\n\r\n",
     "GO_ON\nANSWER 200\nEND\n", false},
    {"no 100", "POST", "e", "HTTP/1.1 417 x\r\nContent-Length: 1\r\n\r\na",
     "ANSWER 417 body 1 close\nBODY a\nEND\n", false},
    {"101 that was not asked for", "GET", "", "HTTP/1.1 101 x\r\nUpgrade: TLS/1.0\r\n\r\n",
     "FAILED protocol: 101 that was not asked for\n", false},

    /* bodies that go out meanwhile */
    {"after the body", "POST", "b", OK200 "Content-Length: 2\r\n\r\nok",
     "ANSWER 200 body 2\nBODY ok\nEND\n", true},
    {"inside the body", "POST", "u", OK200 "Content-Length: 2\r\n\r\nok",
     "ANSWER 200 body 2\nBODY ok\nEND\n", false},
    {"inside the body, and closes", "POST", "u",
     "HTTP/1.1 401 x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
     "ANSWER 401 body 2 close\nBODY no\nEND\n", false},

    /* CONNECT, Upgrade */
    {"tunnel", "CONNECT", "t", "HTTP/1.0 200 x\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
     "ANSWER 200\nSWITCHED 200\n", false},
    {"tunnel, contradictions", "CONNECT", "t",
     "HTTP/1.1 299 x\r\n" CHUNKED "Content-Length: 5\r\n\r\n",
     "ANSWER 299\nSWITCHED 299\n", false},
    {"no tunnel", "CONNECT", "t", "HTTP/1.1 407 x\r\nContent-Length: 2\r\n\r\nno",
     "ANSWER 407 body 2\nBODY no\nEND\n", true},
    {"no tunnel, as we close", "CONNECT", "tc", "HTTP/1.1 300 x\r\nContent-Length: 2\r\n\r\nno",
     "ANSWER 300 body 2 close\nBODY no\nEND\n", false},
    {"101", "OPTIONS", "g",
     "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\nContent-Length: 4\r\n" CHUNKED
     "\r\n",
     "SWITCHED 101\n", false},
    {"101 after a hint", "OPTIONS", "g", "HTTP/1.1 102 x\r\n\r\nHTTP/1.1 101 x\r\n\r\n",
     "SWITCHED 101\n", false},
    {"Upgrade is passed over", "OPTIONS", "g", OK200 "Content-Length: 0\r\n\r\n",
     "ANSWER 200\nEND\n", true},

    /* answers that are cut at their heads */
    {"head only, chunked", "OPTIONS", "o", OK200 CHUNKED "\r\n",
     "ANSWER 200\nEND\n", true},
    {"head only, lone last-chunk", "OPTIONS", "o", OK200 CHUNKED "\r\n0\r\n\r\n",
     "ANSWER 200\nEND\n", true},
    {"head only, two of them", "OPTIONS", "o", OK200 CHUNKED "\r\n0\r\n\r\n0\r\n\r\n",
     "ANSWER 200\nEND\n" SURPLUS, false},
    {"head only, a chunk", "OPTIONS", "o", OK200 CHUNKED "\r\n1\r\na\r\n0\r\n\r\n",
     "ANSWER 200\nEND\n" SURPLUS, false},
    {"head only, trailers", "OPTIONS", "o", OK200 CHUNKED "\r\n0\r\nX: y\r\n\r\n",
     "ANSWER 200\nEND\n" SURPLUS, false},
    {"head only, an extension", "OPTIONS", "o", OK200 CHUNKED "\r\n0;x\r\n\r\n",
     "ANSWER 200\nEND\n" SURPLUS, false},
    {"head only, more noughts", "OPTIONS", "o", OK200 CHUNKED "\r\n00\r\n\r\n",
     "ANSWER 200\nEND\n" SURPLUS, false},
    {"head only, half of one and something else", "OPTIONS", "o", OK200 CHUNKED "\r\n0\r\nHTTP",
     "ANSWER 200\nEND\n" SURPLUS, false},
    {"head only, length 0", "OPTIONS", "o", OK200 "Content-Length: 0\r\n\r\n",
     "ANSWER 200\nEND\n", true},
    {"head only, length 0 and a last-chunk", "OPTIONS", "o",
     OK200 "Content-Length: 0\r\n\r\n0\r\n\r\n",
     "ANSWER 200\nEND\n" SURPLUS, false},
    {"head only, 204", "OPTIONS", "o", "HTTP/1.1 204 x\r\n\r\n",
     "ANSWER 204\nEND\n", true},
    {"head only, HEAD", "HEAD", "o", OK200 CHUNKED "\r\n0\r\n\r\n",
     "ANSWER 200\nEND\n" SURPLUS, false},
    {"head only, a length", "OPTIONS", "o", OK200 "Content-Length: 5\r\n\r\n",
     "ANSWER 200 close\nEND\n", false},
    {"head only, up to the end", "OPTIONS", "o", OK200 "\r\n",
     "ANSWER 200 close\nEND\n", false},
    {"head only, contradictions", "OPTIONS", "o", OK200 CHUNKED "Content-Length: 0\r\n\r\n",
     "ANSWER 200 close\nEND\n", false},
    {"head only, and closes", "OPTIONS", "o", OK200 CHUNKED "Connection: close\r\n\r\n1\r\na\r\n",
     "ANSWER 200 close\nEND\n", false},

    /* no answers */
    {"HTTP/2", "GET", "", "HTTP/2.0 200 OK\r\n\r\n",
     "FAILED protocol: HTTP version is not 1.x\n", false},
    {"ICAP", "GET", "", "ICAP/1.0 200 OK\r\n\r\n",
     "FAILED protocol: malformed version in a status-line\n", false},
    {"status 600", "GET", "", "HTTP/1.1 600 x\r\n\r\n",
     "FAILED protocol: status code over 599\n", false},
    {"status 99", "GET", "", "HTTP/1.1 099 x\r\n\r\n",
     "FAILED protocol: malformed status code\n", false},
    {"empty line", "GET", "", "\r\n" OK200,
     "FAILED protocol: empty start-line\n", false},
    {"bare LF", "GET", "", "HTTP/1.1 200 OK\n\n",
     "FAILED protocol: bare LF in a head\n", false},
    {"blank before the colon", "GET", "", OK200 "Content-Length : 5\r\n\r\n",
     "FAILED protocol: malformed framing field\n", false},
    {"folded Content-Length", "GET", "", OK200 "Content-Length: 5\r\n 0\r\n\r\n",
     "FAILED protocol: folded framing field\n", false},
    {"a last-chunk first", "GET", "", "0\r\n\r\n" OK200,
     "FAILED protocol: malformed version in a status-line\n", false},
    {"status-line too long", "GET", "",
     "HTTP/1.1 200 0123456789012345678901234567890123456789012345678901234567890123\r\n\r\n",
     "FAILED limit: start-line too long\n", false},
    {"too many fields", "GET", "",
     OK200 "A: a\r\nA: a\r\nA: a\r\nA: a\r\nA: a\r\nA: a\r\nA: a\r\nA: a\r\nA: a\r\n\r\n",
     "FAILED limit: too many fields in a head\n", false},
};
/* clang-format on */

static bool has(const char *how, char c)
{
    return strchr(how, c) != NULL;
}

/* With |s| as its body, or what has come of it so far. */
static enum err start_row(struct player *p, const struct row *r, struct slice s)
{
    struct http_client_request rq = request(r->method);
    enum err e;

    rq.has_body = has(r->how, 'b') || has(r->how, 'u') || has(r->how, 'e');
    rq.length = has(r->how, 'b') ? s.len : HTTP_LENGTH_UNKNOWN;
    rq.expect = has(r->how, 'e');
    rq.head_only = has(r->how, 'o');
    rq.tunnel = has(r->how, 't');
    rq.close = has(r->how, 'c');
    rq.upgrade = has(r->how, 'g') ? SPAN("TLS/1.2") : SPAN_NONE;
    e = http_client_request(p->e, &rq);
    return e || !rq.has_body ? e : http_client_body(p->e, s, !has(r->how, 'u'));
}

static void player_start(struct player *p, const struct row *r)
{
    struct slice s = text_slice("abcdef");

    player_init(p);
    assert_int_equal(start_row(p, r, s), OK);
    take_output(p);
    buf_reset(&p->wire);
    block_unref(s.block);
}

static void play_row(const struct row *r, size_t cut)
{
    bool switched = strstr(r->events, "SWITCHED") != NULL;
    struct player p;

    player_start(&p, r);
    feed_cut(&p, r->answer, cut);
    expect_log(&p, r->name, r->events);
    if (http_client_is_idle(p.e) != r->idle)
        fail_msg("%s: idle", r->name);
    if (r->idle)
        assert_int_equal(http_client_wants(p.e), HTTP_WANT_READ);
    else if (switched)
        assert_int_equal(http_client_wants(p.e), 0);
    else if (!has(r->how, 'u') && !has(r->how, 'e'))
        assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
    if (!switched)
        assert_null(http_client_answer(p.e));
    player_done(&p);
}

static void answer_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].answer);

        for (size_t cut = 0; cut < n; cut++)
            play_row(&rows[i], cut);
        play_row(&rows[i], SIZE_MAX);
    }
}

/* Every answer that breaks off before its end is a failure, and before its first byte one of its
 * own kind. */
static void break_off(const struct row *r, size_t k, bool cut)
{
    struct slice s = text_slice(r->answer);
    const char *end = strstr(r->events, "END");
    struct player p;

    player_start(&p, r);
    (void)feed_slice(&p, slice_sub(s, 0, (uint32_t)k));
    if (cut)
        http_client_cut(p.e);
    else
        http_client_eof(p.e);
    drain(&p);
    log_body(&p);
    buf_char(&p.log, '\0');
    if (k == 0)
        assert_string_equal(p.log.p,
                            "FAILED peer-reset: closed before the first byte of its answer\n");
    else if (!end || !strstr(p.log.p, "END\n"))
        assert_non_null(strstr(p.log.p, "FAILED "));
    assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
    block_unref(s.block);
    player_done(&p);
}

static void answers_that_break_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t k = 0; k < strlen(rows[i].answer); k++) {
            break_off(&rows[i], k, false);
            break_off(&rows[i], k, true);
        }
}

/* RFC 9112 6.3, 8: the end of the connection is the end of the body, if it was no accident. */
static void bodies_up_to_the_end(void **state)
{
    static const char *const heads[] = {OK200 "\r\n", "HTTP/1.0 200 OK\r\n\r\n",
                                        OK200 "Connection: keep-alive\r\n\r\n"};
    struct http_client_request r = request("GET");
    struct player p;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        for (unsigned cut = 0; cut < 2; cut++) {
            player_init(&p);
            ask(&p, &r);
            feed_cut(&p, heads[i], SIZE_MAX);
            feed_cut(&p, "hello 0\r\n\r\nHTTP/1.1 200", SIZE_MAX);
            assert_int_equal(http_client_wants(p.e), HTTP_WANT_READ);
            (cut ? http_client_cut : http_client_eof)(p.e);
            drain(&p);
            expect_log(&p, heads[i],
                       cut ? "ANSWER 200 body close\nBODY hello 0\r\n\r\nHTTP/1.1 200\n"
                             "FAILED peer-closed: closed inside its answer\n"
                           : "ANSWER 200 body close\nBODY hello 0\r\n\r\nHTTP/1.1 200\nEND\n");
            assert_int_equal(http_client_wants(p.e), HTTP_WANT_CLOSE);
            player_done(&p);
        }
    /* nor is there always something in it */
    player_init(&p);
    ask(&p, &r);
    feed(&p, OK200 "\r\n");
    http_client_eof(p.e);
    drain(&p);
    expect_log(&p, "empty", "ANSWER 200 body close\nEND\n");
    player_done(&p);
}

/* As long as events wait, or memory that they point into. */
static void busy_until_none(void **state)
{
    struct http_client_request r = request("GET");
    struct slice s = text_slice(OK200 CHUNKED "\r\n0\r\nX: y\r\n\r\n");
    struct http_client_event ev;
    struct player p;
    size_t used;

    (void)state;
    player_init(&p);
    ask(&p, &r);
    assert_null(http_client_answer(p.e));
    assert_int_equal(http_client_feed(p.e, s, &used), OK);
    assert_true(http_client_next(p.e, &ev));
    assert_int_equal(ev.kind, HTTP_CLIENT_EV_ANSWER);
    assert_false(http_client_is_idle(p.e));
    assert_true(http_client_next(p.e, &ev));
    assert_int_equal(ev.kind, HTTP_CLIENT_EV_END);
    assert_false(http_client_is_idle(p.e));
    assert_int_equal(http_client_request(p.e, &r), ERR_BUG);
    assert_int_equal(http_client_answer(p.e)->status, 200);
    assert_true(span_eq(ev.trailers, SPAN("X: y\r\n")));
    assert_false(http_client_next(p.e, &ev));
    assert_null(http_client_answer(p.e));
    assert_true(http_client_is_idle(p.e));
    assert_int_equal(s.block->refs, 1);
    block_unref(s.block);
    player_done(&p);
}

/* ---- memory ---- */

/* Until the |n|-th allocation fails: what was told by then is what is told without that. False when
 * there are not so many. */
static bool fail_row(const struct row *r, unsigned n, uint32_t step)
{
    struct slice body = text_slice("abcdef"), in = text_slice(r->answer);
    uint32_t at = 0;
    bool failed;
    enum err e;
    struct player p;

    player_init(&p);
    assert_true(buf_reserve(&p.log, 1024) && buf_reserve(&p.body, 1024)); /* ours do not fail */
    mem_fail_after(n);
    e = start_row(&p, r, body);
    assert_true(e == OK || e == ERR_NOMEM);
    failed = e != OK;
    while (!failed && at < in.len) {
        uint32_t len = step < in.len - at ? step : in.len - at;
        size_t used;

        http_client_sent(p.e, http_client_output(p.e)->len);
        e = http_client_feed(p.e, slice_sub(in, at, len), &used);
        assert_true(e == OK || e == ERR_NOMEM);
        failed = e != OK;
        drain(&p);
        at += (uint32_t)used;
    }
    mem_fail_after(0);
    log_body(&p);
    buf_char(&p.log, '\0');
    char *said = strstr(p.log.p, "FAILED memory: ");

    if (said)
        *said = '\0';
    assert_true(!said || failed);
    assert_true(said ? span_starts(span_of(r->events), span_of(p.log.p))
                     : failed || strcmp(p.log.p, r->events) == 0);
    player_done(&p);
    assert_int_equal(in.block->refs, 1);
    assert_int_equal(body.block->refs, 1);
    block_unref(in.block);
    block_unref(body.block);
    return failed;
}

static void failing_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned n = 1, m = 1;

        while (fail_row(&rows[i], n, UINT32_MAX))
            n++;
        while (fail_row(&rows[i], m, 7))
            m++;
        assert_true(n > 1 && m > 1);
    }
    mem_fail_after(1);
    struct http_client_engine *e;

    assert_int_equal(http_client_engine_new(&limits, 0, &e), ERR_NOMEM);
    mem_fail_after(0);
}

/* However little of the arena is left, and wherever it ends. */
static void answers_over_the_memory_limit(void **state)
{
    static const char *const said[] = {OK200 "A: a\r\nContent-Length: 0\r\n\r\n",
                                       "HTTP/1.1 101 x\r\nUpgrade: TLS/1.2\r\n\r\n"};
    struct http_client_request r = request("GET");

    (void)state;
    r.upgrade = SPAN("TLS/1.2");
    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        enum err e = ERR_NOMEM;

        for (size_t max = 16; e == ERR_NOMEM; max += 16) {
            struct http_limits small = limits;
            struct slice s = text_slice(said[i]);
            struct player p = {0};
            size_t used;

            small.memory_max = max;
            assert_int_equal(http_client_engine_new(&small, 0, &p.e), OK);
            ask(&p, &r);
            e = http_client_feed(p.e, s, &used);
            assert_true(max > 16 || e == ERR_NOMEM);
            drain(&p);
            log_body(&p);
            if (e == ERR_NOMEM)
                assert_true(span_starts(buf_span(&p.log), SPAN("FAILED memory: no memory for ")));
            else
                expect_log(&p, "enough", i ? "SWITCHED 101\n" : "ANSWER 200\nEND\n");
            block_unref(s.block);
            player_done(&p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answer_rows),          cmocka_unit_test(answers_that_break_off),
        cmocka_unit_test(bodies_up_to_the_end), cmocka_unit_test(busy_until_none),
        cmocka_unit_test(failing_memory),       cmocka_unit_test(answers_over_the_memory_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
