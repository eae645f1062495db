/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_engine.h, the reply half: what answers look like, which are illegal, and how they lie
 * in the output. Answers before the request is over are in test_http_engine_early.c, 101 is in
 * test_http_engine_switch.c. */
#include "test_http_play.h"

#define GET       "GET / HTTP/1.1\r\n" H "\r\n"
#define GET_CLOSE "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n"
#define GET_1_0   "GET / HTTP/1.0\r\n\r\n"
#define HEAD      "HEAD / HTTP/1.1\r\n" H "\r\n"
#define HEAD_1_0  "HEAD / HTTP/1.0\r\n\r\n"

static const struct http_reply ok = {.status = 200};
static const struct http_reply length_2 = {.status = 200, .has_body = true, .length = 2};
static const struct http_reply chunked = {
    .status = 200, .has_body = true, .length = HTTP_LENGTH_UNKNOWN};

/* ---- framing ---- */

/* The answer |r| to |in|, with "h" and "i" as its body if it has one, is |want|. */
static void framed(const char *in, const struct http_reply *r, const char *want)
{
    struct play *p = play_after(in);
    bool close = strstr(want, "Connection: close") != NULL;

    assert_int_equal(http_reply_head(p->e, r), OK);
    if (r->has_body) {
        assert_int_equal(http_reply_copy(p->e, SPAN("h")), OK);
        assert_int_equal(http_reply_copy(p->e, SPAN_NONE), OK);
        assert_int_equal(http_reply_copy(p->e, SPAN("i")), OK);
        assert_int_equal(http_reply_end(p->e), OK);
    }
    play_output(p, want);
    play_drain(p);
    assert_int_equal(http_wants(p->e), close ? HTTP_WANT_CLOSE : HTTP_WANT_READ);
    play_free(p);
}

static void bodies_are_framed(void **state)
{
    const struct http_reply closing = {.status = 200, .has_body = true, .length = 2, .close = true};

    (void)state;
    framed(GET, &ok, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    framed(GET, &length_2, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    framed(GET, &chunked,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n");
    framed(GET, &closing, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    framed(GET_CLOSE, &chunked,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
           "1\r\nh\r\n1\r\ni\r\n0\r\n\r\n");
    /* RFC 9112 6.1: nothing is chunked for HTTP/1.0 */
    framed(GET_1_0, &length_2,
           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    framed(GET_1_0, &chunked, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi");
}

/* RFC 9110 9.3.2, 15.3.5, 15.3.6, 15.4.5 */
static void answers_without_a_body(void **state)
{
    struct http_reply r = {.status = 204};

    (void)state;
    framed(HEAD, &ok, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    framed(HEAD, &length_2, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    framed(HEAD, &chunked, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    framed(HEAD_1_0, &chunked, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    framed(GET, &r, "HTTP/1.1 204 No Content\r\n\r\n");
    r.status = 304;
    framed(GET, &r, "HTTP/1.1 304 Not Modified\r\n\r\n");
    framed(HEAD, &r, "HTTP/1.1 304 Not Modified\r\n\r\n");
    r.status = 205;
    framed(GET, &r, "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n");
}

/* To HEAD the driver may say less, or more, than it announced. */
static void whatever_is_handed_over_for_head(void **state)
{
    struct file_ref file = {.fd = 7, .refs = 1};
    struct play *p = play_after(HEAD);
    struct block *b = block_new();

    (void)state;
    assert_non_null(b);
    assert_int_equal(http_reply_head(p->e, &length_2), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    play_text(p, HEAD);
    assert_int_equal(http_reply_head(p->e, &length_2), OK);
    assert_int_equal(http_reply_body(p->e, (struct slice){b, 0, 4000}), OK);
    assert_int_equal(http_reply_file(p->e, &file, 0, 4000), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    play_text(p, HEAD);
    assert_int_equal(http_reply_whole(p->e, &ok, SPAN("hi")), OK);
    play_output(p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
                   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
                   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    assert_int_equal(file.refs, 1);
    assert_int_equal(b->refs, 1);
    block_unref(b);
    play_free(p);
}

static void whole_answers(void **state)
{
    const struct http_reply r = {.status = 404,
                                 .fields = SPAN("Date: now\r\nServer: s\r\n"),
                                 .has_body = true,
                                 .length = 77}; /* the body's own length counts */
    const struct http_reply none = {.status = 204, .has_body = true, .length = 77};
    struct play *p = play_after(GET);

    (void)state;
    assert_int_equal(http_reply_whole(p->e, &r, SPAN("gone")), OK);
    play_text(p, GET);
    assert_int_equal(http_reply_whole(p->e, &r, SPAN_NONE), OK);
    play_text(p, GET);
    assert_int_equal(http_reply_whole(p->e, &none, SPAN("x")), ERR_BUG);
    assert_int_equal(http_reply_whole(p->e, &none, SPAN_NONE), OK);
    play_output(p,
                "HTTP/1.1 404 Not Found\r\nDate: now\r\nServer: s\r\nContent-Length: 4\r\n\r\ngone"
                "HTTP/1.1 404 Not Found\r\nDate: now\r\nServer: s\r\nContent-Length: 0\r\n\r\n"
                "HTTP/1.1 204 No Content\r\n\r\n");
    play_free(p);
}

/* Each status has some phrase, known or not. */
static void status_lines(void **state)
{
    static const struct {
        unsigned status;
        const char *line;
    } rows[] = {
        {201, "HTTP/1.1 201 Created\r\n"                        },
        {299, "HTTP/1.1 299 Success\r\n"                        },
        {308, "HTTP/1.1 308 Permanent Redirect\r\n"             },
        {399, "HTTP/1.1 399 Redirection\r\n"                    },
        {413, "HTTP/1.1 413 Content Too Large\r\n"              },
        {418, "HTTP/1.1 418 Client Error\r\n"                   },
        {431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
        {504, "HTTP/1.1 504 Gateway Timeout\r\n"                },
        {599, "HTTP/1.1 599 Server Error\r\n"                   },
    };
    struct play *p = play_new(&play_limits);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        play_text(p, GET);
        assert_int_equal(http_reply_head(p->e, &(struct http_reply){.status = rows[i].status}), OK);
        play_take_output(p);
        assert_true(span_starts(buf_span(&p->wire), span_of(rows[i].line)));
        buf_reset(&p->wire);
    }
    play_free(p);
}

/* ---- Upgrade as an offer (RFC 9110 7.8, 15.5.22) ---- */

static void upgrade_is_listed_in_connection(void **state)
{
    const struct http_reply r = {.status = 426, .fields = SPAN("upgrade: TLS/1.2\r\n")};
    const struct http_reply offer = {.status = 200, .fields = SPAN("Upgrade: TLS/1.2\r\n")};

    (void)state;
    framed(GET, &r,
           "HTTP/1.1 426 Upgrade Required\r\nupgrade: TLS/1.2\r\nContent-Length: 0\r\n"
           "Connection: Upgrade\r\n\r\n");
    framed(GET, &offer,
           "HTTP/1.1 200 OK\r\nUpgrade: TLS/1.2\r\nContent-Length: 0\r\n"
           "Connection: Upgrade\r\n\r\n");
    framed(GET_CLOSE, &r,
           "HTTP/1.1 426 Upgrade Required\r\nupgrade: TLS/1.2\r\nContent-Length: 0\r\n"
           "Connection: close, Upgrade\r\n\r\n");
}

/* ---- what is illegal ---- */

static void illegal(const char *in, const struct http_reply *r)
{
    struct play *p = play_after(in);

    assert_int_equal(http_reply_head(p->e, r), ERR_BUG);
    assert_int_equal(http_output(p->e)->len, 0);
    assert_int_equal(http_reply_whole(p->e, &(struct http_reply){.status = 500}, SPAN_NONE), OK);
    play_free(p);
}

static void illegal_statuses(void **state)
{
    static const unsigned statuses[] = {0, 100, 101, 199, 600, 1000, 426};
    static const unsigned bodiless[] = {204, 205, 304};
    static const char connect[] = "CONNECT h:443 HTTP/1.1\r\n" H "\r\n";
    struct play *p;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        illegal(GET, &(struct http_reply){.status = statuses[i]});
    for (size_t i = 0; i < ARRAY_LEN(bodiless); i++)
        illegal(GET, &(struct http_reply){.status = bodiless[i], .has_body = true});
    illegal(connect, &ok);
    p = play_after(connect);
    assert_int_equal(http_reply_head(p->e, &(struct http_reply){.status = 405}), OK);
    play_free(p);
}

static void illegal_fields(void **state)
{
    static const char *const fields[] = {
        "Connection: close\r\n",
        "X: y\r\ncontent-length: 3\r\n",
        "TRANSFER-ENCODING: chunked\r\nX: y\r\n",
        "X: y",
        "X: y\n",
        "X : y\r\n",
        "X: y\r\n\r\n",
        "X: y\r\n z\r\n",
        "\r\n",
        "HTTP/1.1 200 OK\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        illegal(GET, &(struct http_reply){.status = 200, .fields = span_of(fields[i])});
}

/* Calls in states where they mean nothing. */
static void illegal_calls(void **state)
{
    struct play *p = play_new(&play_limits);

    (void)state;
    assert_int_equal(http_reply_head(p->e, &ok), ERR_BUG);
    assert_int_equal(http_reply_whole(p->e, &ok, SPAN("x")), ERR_BUG);
    assert_int_equal(http_reply_copy(p->e, SPAN("x")), ERR_BUG);
    assert_int_equal(http_reply_end(p->e), ERR_BUG);
    play_text(p, "GET / HT"); /* no request yet */
    assert_int_equal(http_reply_head(p->e, &ok), ERR_BUG);
    play_text(p, "TP/1.1\r\n" H "\r\n");
    assert_int_equal(http_reply_copy(p->e, SPAN("x")), ERR_BUG);
    assert_int_equal(http_reply_body(p->e, (struct slice){0}), ERR_BUG);
    assert_int_equal(http_reply_file(p->e, NULL, 0, 0), ERR_BUG);
    assert_int_equal(http_reply_end(p->e), ERR_BUG);
    assert_int_equal(http_reply_head(p->e, &length_2), OK);
    assert_int_equal(http_reply_head(p->e, &ok), ERR_BUG);
    assert_int_equal(http_reply_whole(p->e, &ok, SPAN("x")), ERR_BUG);
    assert_int_equal(http_reply_copy(p->e, SPAN("hi")), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    assert_int_equal(http_reply_copy(p->e, SPAN("x")), ERR_BUG);
    assert_int_equal(http_reply_end(p->e), ERR_BUG);
    play_output(p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    play_free(p);
}

static void lengths_are_kept(void **state)
{
    struct file_ref file = {.fd = 7, .refs = 1};
    struct play *p = play_after(GET);
    struct block *b = block_new();

    (void)state;
    assert_non_null(b);
    assert_int_equal(http_reply_head(p->e, &length_2), OK);
    assert_int_equal(http_reply_copy(p->e, SPAN("hi!")), ERR_BUG);
    assert_int_equal(http_reply_body(p->e, (struct slice){b, 0, 3}), ERR_BUG);
    assert_int_equal(http_reply_file(p->e, &file, 0, 3), ERR_BUG);
    assert_int_equal(http_reply_end(p->e), ERR_BUG);
    assert_int_equal(http_reply_copy(p->e, SPAN("h")), OK);
    assert_int_equal(http_reply_copy(p->e, SPAN("i!")), ERR_BUG);
    assert_int_equal(http_reply_end(p->e), ERR_BUG);
    assert_int_equal(http_reply_copy(p->e, SPAN("i")), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    play_output(p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    assert_int_equal(file.refs, 1);
    block_unref(b);
    play_free(p);
}

/* ---- how answers lie in the output ---- */

static void file_released(struct file_ref *f)
{
    f->fd = -1;
}

static void slices_and_files(void **state)
{
    struct file_ref file = {.fd = 7, .refs = 1, .release = file_released};
    const struct http_reply r = {.status = 200, .has_body = true, .length = BLOCK_SIZE + 30};
    struct play *p = play_after(GET);
    struct block *b = block_new();

    (void)state;
    assert_non_null(b);
    memset(b->data, 'x', BLOCK_SIZE);
    assert_int_equal(http_reply_head(p->e, &r), OK);
    assert_int_equal(http_reply_body(p->e, (struct slice){b, 0, 10}), OK); /* copied */
    assert_int_equal(http_output(p->e)->n, 1);
    assert_int_equal(b->refs, 1);
    assert_int_equal(http_reply_body(p->e, (struct slice){b, 0, BLOCK_SIZE}), OK);
    assert_int_equal(b->refs, 2);
    assert_int_equal(http_reply_file(p->e, &file, 5, 20), OK);
    assert_int_equal(http_reply_file(p->e, &file, 5, 0), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    assert_int_equal(http_output(p->e)->n, 3);
    http_sent(p->e, http_output(p->e)->len - 20);
    play_output(p, "<file 5+20>");
    assert_int_equal(b->refs, 1);

    play_text(p, GET);
    assert_int_equal(http_reply_head(p->e, &chunked), OK);
    assert_int_equal(http_reply_file(p->e, &file, 5, (1u << 20) + 3), OK);
    assert_int_equal(http_reply_body(p->e, (struct slice){b, 0, 2}), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    play_output(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "100000\r\n<file 5+1048576>\r\n3\r\n<file 1048581+3>\r\n2\r\nxx\r\n0\r\n\r\n");
    play_text(p, GET_1_0);
    assert_int_equal(http_reply_head(p->e, &chunked), OK);
    assert_int_equal(http_reply_file(p->e, &file, 5, 6), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    play_output(p, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<file 5+6>");
    file_unref(&file);
    assert_int_equal(file.fd, -1);
    block_unref(b);
    play_free(p);
}

/* A head is written in one piece, so it has to fit a block. */
static void heads_over_64k_are_not_sent(void **state)
{
    struct play *p = play_after(GET);
    struct http_reply r = ok;
    struct buf fields;

    (void)state;
    buf_init(&fields, 0);
    while (fields.n < 65000)
        buf_text(&fields, "A: bcdefg\r\n");
    r.fields = buf_span(&fields);
    assert_int_equal(http_reply_whole(p->e, &r, SPAN("body")), OK);
    play_take_output(p);
    buf_reset(&p->wire);
    while (fields.n < 65536)
        buf_text(&fields, "A: bcdefg\r\n");
    r.fields = buf_span(&fields);
    play_text(p, GET);
    assert_int_equal(http_reply_head(p->e, &r), ERR_LIMIT);
    assert_int_equal(http_reply_whole(p->e, &r, SPAN("body")), ERR_LIMIT);
    assert_int_equal(http_output(p->e)->len, 0);
    assert_int_equal(http_reply_head(p->e, &ok), OK); /* nothing had changed */
    buf_done(&fields);
    play_free(p);
}

/* Over the chain's limit nothing changes, and the same call works when there is room again. */
static void output_limit_changes_nothing(void **state)
{
    struct play *p = play_after(GET);
    const struct http_reply r = {.status = 200, .has_body = true, .length = 60000};
    struct block *b = block_new();
    uint64_t len;

    (void)state;
    assert_non_null(b);
    http_output(p->e)->max = 50;
    assert_int_equal(http_reply_whole(p->e, &ok, SPAN("a body that does not fit")), ERR_LIMIT);
    assert_int_equal(http_output(p->e)->len, 0);
    assert_int_equal(http_reply_head(p->e, &r), OK);
    len = http_output(p->e)->len;
    assert_int_equal(http_reply_body(p->e, (struct slice){b, 0, 60000}), ERR_LIMIT);
    assert_int_equal(http_output(p->e)->len, len);
    assert_int_equal(b->refs, 1);
    http_output(p->e)->max = 0;
    assert_int_equal(http_reply_body(p->e, (struct slice){b, 0, 60000}), OK);
    assert_int_equal(http_reply_end(p->e), OK);
    assert_int_equal(http_output(p->e)->len, len + 60000);
    http_sent(p->e, len + 60000);
    block_unref(b);
    play_free(p);
}

/* Each allocation of a reply fails in turn; the next try of the same call gives the same bytes. */
static void reply_with_failures(const struct http_reply *r, struct block *b, unsigned n,
                                struct buf *ret)
{
    struct play *p =
        play_after("POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    struct file_ref file = {.fd = 7, .refs = 1, .release = file_released};

    mem_fail_after(n);
    while (http_go_on(p->e) == ERR_NOMEM)
        ;
    play_text(p, "x");
    while (http_reply_head(p->e, r) == ERR_NOMEM)
        ;
    for (unsigned i = 0; i < 20; i++)
        while (http_reply_body(p->e, (struct slice){b, 0, 60000}) == ERR_NOMEM)
            ;
    while (http_reply_copy(p->e, (struct span){(const char *)b->data, BLOCK_SIZE}) == ERR_NOMEM)
        ;
    while (http_reply_file(p->e, &file, 0, 3u << 20) == ERR_NOMEM)
        ;
    while (http_reply_end(p->e) == ERR_NOMEM)
        ;
    mem_fail_after(0);
    play_take_output(p);
    buf_add(ret, buf_span(&p->wire));
    play_free(p);
    assert_int_equal(file.refs, 1);
}

static void replies_survive_failing_memory(void **state)
{
    const struct http_reply by_length = {
        .status = 200, .has_body = true, .length = 20 * 60000 + BLOCK_SIZE + (3u << 20)};
    const struct http_reply *replies[] = {&by_length, &chunked};
    struct block *b = block_new();
    struct buf want, got;

    (void)state;
    assert_non_null(b);
    memset(b->data, 'x', BLOCK_SIZE);
    buf_init(&want, 0);
    buf_init(&got, 0);
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        buf_reset(&want);
        reply_with_failures(replies[i], b, 0, &want);
        assert_true(want.n > 0);
        for (unsigned n = 1; n < 12; n++) {
            buf_reset(&got);
            reply_with_failures(replies[i], b, n, &got);
            assert_true(span_eq(buf_span(&got), buf_span(&want)));
        }
    }
    assert_int_equal(b->refs, 1);
    block_unref(b);
    buf_done(&want);
    buf_done(&got);
}

static void whole_replies_survive_failing_memory(void **state)
{
    static char body[BLOCK_SIZE];

    (void)state;
    for (unsigned n = 1; n < 4; n++) {
        struct play *p = play_after(GET);
        const struct span text = {body, sizeof body};

        mem_fail_after(n);
        assert_int_equal(http_reply_whole(p->e, &ok, text), ERR_NOMEM);
        mem_fail_after(0);
        assert_int_equal(http_output(p->e)->len, 0);
        assert_int_equal(http_reply_whole(p->e, &ok, text), OK);
        play_take_output(p);
        assert_int_equal(p->wire.n,
                         strlen("HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n") + sizeof body);
        play_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_framed),
        cmocka_unit_test(answers_without_a_body),
        cmocka_unit_test(whatever_is_handed_over_for_head),
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(status_lines),
        cmocka_unit_test(upgrade_is_listed_in_connection),
        cmocka_unit_test(illegal_statuses),
        cmocka_unit_test(illegal_fields),
        cmocka_unit_test(illegal_calls),
        cmocka_unit_test(lengths_are_kept),
        cmocka_unit_test(slices_and_files),
        cmocka_unit_test(heads_over_64k_are_not_sent),
        cmocka_unit_test(output_limit_changes_nothing),
        cmocka_unit_test(replies_survive_failing_memory),
        cmocka_unit_test(whole_replies_survive_failing_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
