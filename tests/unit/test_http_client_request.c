/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_client_engine.h: requests and bodies as bytes, refusals, limits. */
#include "test_http_client_player.h"

/* ---- heads ---- */

static void expect_request(const char *name, const struct http_client_request *r, const char *wire)
{
    struct player p;

    player_init(&p);
    start(&p, r);
    assert_int_equal(http_client_request(p.e, r), ERR_BUG); /* one at a time */
    expect_wire(&p, name, wire);
    player_done(&p);
}

static void requests_as_bytes(void **state)
{
    struct http_client_request r = request("GET");

    (void)state;
    expect_request("GET", &r, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    r.fields = SPAN("Accept: */*\r\nX-Host: y\r\n");
    r.close = true;
    expect_request("fields, close", &r,
                   "GET /a HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nX-Host: y\r\n"
                   "Connection: close\r\n\r\n");
    r = request("POST");
    r.has_body = true;
    r.length = 0;
    r.expect = true; /* there is nothing to wait for */
    expect_request("length 0", &r, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    r.length = INT64_MAX;
    expect_request("length, Expect", &r,
                   "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                   "Content-Length: 9223372036854775807\r\n\r\n");
    r.length = HTTP_LENGTH_UNKNOWN;
    r.expect = false;
    expect_request("chunked", &r,
                   "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    r = request("OPTIONS");
    r.target = SPAN("*");
    r.host = SPAN("[::1]:631");
    r.head_only = true;
    r.upgrade = SPAN("TLS/1.2,TLS/1.0");
    expect_request("Upgrade", &r,
                   "OPTIONS * HTTP/1.1\r\nHost: [::1]:631\r\nUpgrade: TLS/1.2,TLS/1.0\r\n"
                   "Connection: Upgrade\r\n\r\n");
    r = request("CONNECT");
    r.target = r.host = SPAN("h:443");
    r.tunnel = true;
    expect_request("CONNECT", &r, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
    r = request("GET");
    r.host = SPAN_NONE;
    expect_request("no host", &r, "GET /a HTTP/1.1\r\nHost: \r\n\r\n");
}

static void expect_bug(struct player *p, const char *what, const struct http_client_request *r)
{
    if (http_client_request(p->e, r) != ERR_BUG)
        fail_msg("%s", what);
    assert_int_equal(http_client_output(p->e)->len, 0);
    assert_true(http_client_is_idle(p->e));
}

/* Nothing that a caller was tricked into can split a request, or frame it in two ways. */
static void illegal_texts_are_bugs(void **state)
{
    static const struct {
        char part; /* method, target, host, fields, upgrade */
        struct span text;
    } rows[] = {
        {'m', {"", 0}                               },
        {'m', {"G T", 3}                            },
        {'m', {"GET ", 4}                           },
        {'m', {"GET\r\n", 5}                        },
        {'m', {"GET\0", 4}                          },
        {'t', {"", 0}                               },
        {'t', {"/a b", 4}                           },
        {'t', {"/\t", 2}                            },
        {'t', {"/\r\nX: y", 7}                      },
        {'t', {"/\x7f", 2}                          },
        {'t', {"/\xc3\xa4", 3}                      },
        {'t', {"/\0", 2}                            },
        {'h', {"h x", 3}                            },
        {'h', {"h\r\nX: y", 7}                      },
        {'h', {"h,i", 3}                            },
        {'h', {"u@h", 3}                            },
        {'h', {"h/", 2}                             },
        {'f', {"X: y", 4}                           },
        {'f', {"X: y\n", 5}                         },
        {'f', {"X: y\r\n\r\n", 8}                   },
        {'f', {"X : y\r\n", 7}                      },
        {'f', {"X: y\r\n z\r\n", 10}                },
        {'f', {"X: \1\r\n", 6}                      },
        {'f', {"GET / HTTP/1.1\r\n", 16}            },
        {'f', {"host: i\r\n", 9}                    },
        {'f', {"X: y\r\nConnection: close\r\n", 25} },
        {'f', {"UPGRADE: x\r\n", 12}                },
        {'f', {"Expect: 100-continue\r\n", 22}      },
        {'f', {"Content-Length: 0\r\n", 19}         },
        {'f', {"Transfer-Encoding: chunked\r\n", 28}},
        {'u', {"x\r\ny", 4}                         },
    };
    struct player p;

    (void)state;
    player_init(&p);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_client_request r = request("GET");
        struct span *part = rows[i].part == 'm'   ? &r.method
                            : rows[i].part == 't' ? &r.target
                            : rows[i].part == 'h' ? &r.host
                            : rows[i].part == 'f' ? &r.fields
                                                  : &r.upgrade;

        *part = rows[i].text;
        expect_bug(&p, rows[i].text.p, &r);
    }
    player_done(&p);
}

static void illegal_requests_are_bugs(void **state)
{
    struct http_client_request post = request("POST"), connect = request("CONNECT"), r;
    struct player p;

    (void)state;
    player_init(&p);
    r = post;
    r.upgrade = SPAN("x");
    r.close = true;
    expect_bug(&p, "Upgrade and close", &r);
    r.close = false;
    r.has_body = true;
    expect_bug(&p, "Upgrade with a body", &r);
    r = post;
    r.expect = true;
    expect_bug(&p, "Expect without a body", &r);
    r = post;
    r.has_body = true;
    r.length = (uint64_t)INT64_MAX + 1;
    expect_bug(&p, "length over 63 bits", &r);
    r = post;
    r.tunnel = true;
    expect_bug(&p, "tunnel without CONNECT", &r);
    expect_bug(&p, "CONNECT without tunnel", &connect);
    connect.tunnel = connect.has_body = true;
    expect_bug(&p, "CONNECT with a body", &connect);
    connect.has_body = false;
    connect.upgrade = SPAN("x");
    expect_bug(&p, "CONNECT and Upgrade", &connect);
    ask(&p, &post);
    assert_int_equal(http_client_body(p.e, (struct slice){0}, true), ERR_BUG); /* has none */
    player_done(&p);
}

static void a_request_over_the_output_limit(void **state)
{
    struct http_client_request r = request("GET");
    struct player p;

    (void)state;
    player_init(&p);
    http_client_output(p.e)->max = 10;
    assert_int_equal(http_client_request(p.e, &r), ERR_LIMIT);
    assert_true(http_client_is_idle(p.e));
    http_client_output(p.e)->max = 100;
    start(&p, &r);
    expect_wire(&p, "GET", "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    player_done(&p);
}

/* ---- bodies ---- */

static void bodies_as_bytes(void **state)
{
    struct player p;

    (void)state;
    start_body(&p, HTTP_LENGTH_UNKNOWN, false);
    send_body(&p, "hello", false);
    send_body(&p, "", false);
    send_body(&p, " world", true);
    assert_int_equal(http_client_body(p.e, (struct slice){0}, true), ERR_BUG);
    expect_wire(&p, "chunked", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    player_done(&p);

    start_body(&p, HTTP_LENGTH_UNKNOWN, false);
    send_body(&p, "", true);
    expect_wire(&p, "chunked and empty", "0\r\n\r\n");
    player_done(&p);

    start_body(&p, 5, false);
    send_body(&p, "he", false);
    send_body(&p, "llo", false);
    send_body(&p, "", true);
    assert_int_equal(http_client_body(p.e, (struct slice){0}, true), ERR_BUG);
    expect_wire(&p, "length", "hello");
    player_done(&p);

    start_body(&p, 0, false);
    send_body(&p, "", true);
    expect_wire(&p, "length 0", "");
    feed(&p, OK_EMPTY);
    assert_true(http_client_is_idle(p.e));
    player_done(&p);
}

static void bodies_keep_their_length(void **state)
{
    struct slice s = text_slice("hello");
    struct player p;

    (void)state;
    start_body(&p, 4, false);
    assert_int_equal(http_client_body(p.e, s, false), ERR_BUG);
    assert_int_equal(http_client_body(p.e, s, true), ERR_BUG);
    assert_int_equal(http_client_body(p.e, slice_sub(s, 0, 3), true), ERR_BUG);
    assert_int_equal(http_client_body(p.e, slice_sub(s, 0, 3), false), OK);
    assert_int_equal(http_client_body(p.e, (struct slice){0}, true), ERR_BUG);
    assert_int_equal(http_client_body(p.e, slice_sub(s, 3, 1), true), OK);
    expect_wire(&p, "the legal ones", "hell");
    block_unref(s.block);
    player_done(&p);
}

static void large_slices_are_not_copied(void **state)
{
    struct block *b = block_new();
    struct slice s = {b, 0, HTTP_OUT_COPY_MAX + 1};
    struct player p;

    (void)state;
    assert_non_null(b);
    memset(b->data, 'x', s.len);
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        start_body(&p, chunked ? HTTP_LENGTH_UNKNOWN : s.len, false);
        assert_int_equal(http_client_body(p.e, s, true), OK);
        assert_int_equal(b->refs, 2);
        take_output(&p);
        assert_int_equal(p.wire.n, s.len + (chunked ? 5u + 2u + 5u : 0));
        assert_int_equal(b->refs, 1);
        player_done(&p);
    }
    block_unref(b);
}

static void released(struct file_ref *f)
{
    f->fd = -1;
}

static void files_are_sent_like_memory(void **state)
{
    struct file_ref f = {.fd = 3, .refs = 1, .release = released};
    struct player p;

    (void)state;
    start_body(&p, HTTP_LENGTH_UNKNOWN, false);
    assert_int_equal(http_client_body_file(p.e, &f, 10, HTTP_OUT_FILE_CHUNK + 1, false), OK);
    assert_int_equal(http_client_body_file(p.e, &f, 0, 0, true), OK);
    expect_wire(&p, "chunked", "100000\r\n<file 10+1048576>\r\n1\r\n<file 1048586+1>\r\n0\r\n\r\n");
    player_done(&p);

    start_body(&p, 12, true); /* also when it waits */
    assert_int_equal(http_client_body_file(p.e, &f, 10, 13, true), ERR_BUG);
    assert_int_equal(http_client_body_file(p.e, &f, 10, 3, false), OK);
    send_body(&p, "ab", false);
    assert_int_equal(http_client_body_file(p.e, &f, 20, 7, true), OK);
    expect_wire(&p, "waiting", "");
    http_client_send_body(p.e);
    expect_wire(&p, "length", "<file 10+3>ab<file 20+7>");
    player_done(&p);

    start_body(&p, HTTP_LENGTH_UNKNOWN, true); /* and when it is never sent */
    assert_int_equal(http_client_body_file(p.e, &f, 10, 3, false), OK);
    http_client_abort(p.e);
    assert_int_equal(f.refs, 1);
    player_done(&p);
    file_unref(&f);
    assert_int_equal(f.fd, -1);
}

/* Over a limit, or without memory, nothing has changed: the same piece may come again. */
static void bodies_over_limits(void **state)
{
    struct slice s = text_slice("hello");

    (void)state;
    for (unsigned waits = 0; waits < 2; waits++)
        for (unsigned chunked = 0; chunked < 2; chunked++) {
            struct player p;

            start_body(&p, chunked ? HTTP_LENGTH_UNKNOWN : 10, waits);
            http_client_output(p.e)->max = chunked ? 21 : 7; /* room for a chunk */
            assert_int_equal(http_client_body(p.e, s, false), OK);
            assert_int_equal(http_client_body(p.e, s, true), ERR_LIMIT);
            http_client_output(p.e)->max = 0;
            assert_int_equal(http_client_body(p.e, s, true), OK);
            http_client_output(p.e)->max = 1; /* what was taken goes out, all the same */
            if (waits)
                http_client_send_body(p.e);
            assert_int_equal(http_client_output(p.e)->max, 1);
            expect_wire(&p, "both",
                        chunked ? "5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n" : "hellohello");
            player_done(&p);
        }
    block_unref(s.block);
}

static void bodies_without_memory(void **state)
{
    struct slice s = text_slice("hello");

    (void)state;
    for (unsigned waits = 0; waits < 2; waits++) {
        enum err e = ERR_NOMEM;

        for (unsigned n = 1; e == ERR_NOMEM; n++) {
            struct player p;

            start_body(&p, HTTP_LENGTH_UNKNOWN, waits);
            http_out_rest(&p.e->out);
            mem_fail_after(n);
            e = http_client_body(p.e, s, true);
            mem_fail_after(0);
            assert_true(n > 1 || e == ERR_NOMEM);
            if (e) {
                expect_wire(&p, "nothing", "");
                assert_int_equal(http_client_body(p.e, s, true), OK);
            }
            http_client_send_body(p.e);
            expect_wire(&p, "again", "5\r\nhello\r\n0\r\n\r\n");
            player_done(&p);
        }
    }
    block_unref(s.block);
}

static void requests_without_memory(void **state)
{
    struct http_client_request r = request("GET");
    enum err e = ERR_NOMEM;

    (void)state;
    for (unsigned n = 1; e == ERR_NOMEM; n++) {
        struct player p;

        player_init(&p);
        mem_fail_after(n);
        e = http_client_request(p.e, &r);
        mem_fail_after(0);
        assert_true(n > 1 || e == ERR_NOMEM);
        assert_int_equal(http_client_is_idle(p.e), e == ERR_NOMEM);
        if (e)
            start(&p, &r);
        expect_wire(&p, "again", "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        player_done(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_as_bytes),
        cmocka_unit_test(illegal_texts_are_bugs),
        cmocka_unit_test(illegal_requests_are_bugs),
        cmocka_unit_test(a_request_over_the_output_limit),
        cmocka_unit_test(bodies_as_bytes),
        cmocka_unit_test(bodies_keep_their_length),
        cmocka_unit_test(large_slices_are_not_copied),
        cmocka_unit_test(files_are_sent_like_memory),
        cmocka_unit_test(bodies_over_limits),
        cmocka_unit_test(bodies_without_memory),
        cmocka_unit_test(requests_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
