/* SPDX-License-Identifier: Apache-2.0 */
/* The IPP client before and after its printer does what the URI demands: TLS by Upgrade, TLS from
 * the first byte, and what becomes of printers that do something else. */
#include "test_ipp_client_world.h"

#include "net/stream_int.h"

/* ---- in clear text ---- */

static void test_clear(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/ipp/print");
    hear_request(f);
    assert_string_equal(f->target, "/ipp/print");
    assert_string_equal(f->authorization, "");
    assert_int_equal(f->header.code, IPP_OPERATION_GET_PRINTER_ATTRIBUTES);
    assert_int_equal(f->header.major, 2);
    assert_string_equal(f->uri, f->text);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->status, IPP_SUCCESSFUL_OK);
    assert_int_equal(f->result.level.channel, IPP_CHANNEL_CLEAR);
    assert_int_equal(f->result.lacks, IPP_NEED_NOTHING);
    assert_int_equal(f->n_warnings, 0);
}

/* An IPP error is an answer, too. */
static void test_ipp_error(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer(f, IPP_CLIENT_ERROR_NOT_FOUND, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->status, IPP_CLIENT_ERROR_NOT_FOUND);
}

/* RFC 8011 4.1.8: the older version, once. */
static void test_version(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer(f, IPP_SERVER_ERROR_VERSION_NOT_SUPPORTED, "");
    accept_one(f);
    hear_request(f);
    assert_int_equal(f->header.major, 1);
    assert_int_equal(f->header.minor, 1);
    answer(f, IPP_SERVER_ERROR_VERSION_NOT_SUPPORTED, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->status, IPP_SERVER_ERROR_VERSION_NOT_SUPPORTED);
}

static void test_nobody_there(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q");
    (void)close(f->listening);
    f->listening = -1;
    ask(f);
    finish_with(f, IPP_CLIENT_NETWORK, "cannot connect to 127.0.0.1");
}

static const struct http_row {
    const char *answer;
    enum ipp_client_end end;
    const char *words;
} http_rows[] = {
    {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",                                              IPP_CLIENT_REFUSED,  "HTTP 403"                  },
    {"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",                                              IPP_CLIENT_REFUSED,  "no such path"              },
    {"HTTP/1.1 302 No\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",                              IPP_CLIENT_REFUSED,  "302"                       },
    {"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",                                              IPP_CLIENT_NETWORK,  "busy"                      },
    {"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n",                                              IPP_CLIENT_REFUSED,  "407"                       },
    {"HTTP/1.1 418 Upgrade Required\r\nContent-Length: 0\r\n\r\n",                                IPP_CLIENT_REFUSED,
     "does not say that it wants TLS"                                                                                                              },
    {"HTTP/1.1 418 No\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
     IPP_CLIENT_REFUSED,                                                                                               "418"                       },
    {"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",                                IPP_CLIENT_SECURITY,
     "a proxy in between"                                                                                                                          },
    {"HTTP/1.1 101 Switching\r\nUpgrade: TLS/1.2\r\n\r\n",                                        IPP_CLIENT_NETWORK,
     "101 that was not asked for"                                                                                                                  },
    {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
     IPP_CLIENT_NETWORK,                                                                                               "not application/ipp"       },
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",                                              IPP_CLIENT_NETWORK,  "not application/ipp"       },
    {"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nContent-Length: 4\r\n\r\n\2\1\1\1",
     IPP_CLIENT_NETWORK,                                                                                               "ends within its attributes"},
    {"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nContent-Length: "
     "9\r\n\r\n\2\1\1\1\1\1\1\1\x21",                                                        IPP_CLIENT_NETWORK,  "no legal IPP"              },
    {"ICAP/1.0 200 OK\r\n\r\n",                                                                   IPP_CLIENT_NETWORK,  "no good answer"            },
};

static void test_http(void **state)
{
    const struct http_row *row = *state;
    void *own = NULL;

    (void)setup(&own);
    struct fixture *f = own;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    say(f, row->answer);
    finish_with(f, row->end, row->words);
    (void)teardown(&own);
}

static void test_wrong_request_id(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer_with(f, IPP_SUCCESSFUL_OK, f->header.request_id + 1, "", "application/ipp");
    finish_with(f, IPP_CLIENT_NETWORK, "instead of 1");
}

/* By a printer that says no more until it is known that the last piece came. */
static void test_held_back(void **state)
{
    struct fixture *f = *state;
    struct buf all;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    buf_init(&all, 0);
    write_answer(&all, IPP_SUCCESSFUL_OK, f->header.request_id, "", "application/ipp");
    for (size_t at = 0; at + 40 < all.n; at += 40) {
        say_span(f, span_sub(buf_span(&all), at, 40));
        settle(f);
        assert_int_equal(test_unacknowledged(f->server->fd), 0);
    }
    say_span(f, span_sub(buf_span(&all), (all.n - 1) / 40 * 40, 40));
    finish(f, IPP_CLIENT_ANSWERED);
    buf_done(&all);
}

static void test_no_answer(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    pass(f, 299000);
    assert_int_equal(f->n_done, 0);
    pass(f, 2000);
    finish_with(f, IPP_CLIENT_NETWORK, "does not answer");
}

static void test_answer_without_end(void **state)
{
    struct fixture *f = *state;
    static char much[70000];

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer_with(f, IPP_SUCCESSFUL_OK, f->header.request_id, "", "text/plain");
    finish(f, IPP_CLIENT_NETWORK);
    ask(f);
    accept_one(f);
    hear_request(f);
    struct buf message;

    buf_init(&message, 0);
    buf_text(&message, "HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\n\r\n");
    add_answer(&message, IPP_SUCCESSFUL_OK, f->header.request_id);
    buf_add(&message, (struct span){much, sizeof much});
    assert_int_equal(chain_append_copy(&f->out, buf_span(&message)), OK);
    buf_done(&message);
    finish_with(f, IPP_CLIENT_NETWORK, "does not end");
}

/* ---- connections that are kept ---- */

static void test_kept(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q");
    for (unsigned i = 1; i <= 3; i++) {
        ask(f);
        if (i == 1)
            accept_one(f);
        hear_request(f);
        assert_int_equal(f->header.request_id, i);
        answer(f, IPP_SUCCESSFUL_OK, "");
        finish(f, IPP_CLIENT_ANSWERED);
    }
    assert_int_equal(f->n_accepted, 1);
}

/* |farewell|: what the printer says before it closes a connection that nobody uses. */
static void check_kept_closed(struct fixture *f, const char *farewell)
{
    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    say(f, farewell);
    stream_shutdown(f->server);
    settle(f);
    ask(f);
    accept_one(f);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

static void test_kept_closed(void **state)
{
    check_kept_closed(*state, "");
}

static void test_kept_closed_with_words(void **state)
{
    check_kept_closed(*state, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
}

/* Closed while the request was on its way: once more, and no more. */
static void test_dies_under_way(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    ask(f);
    hear_request(f);
    stream_shutdown(f->server);
    accept_one(f);
    hear_request(f);
    stream_shutdown(f->server);
    finish_with(f, IPP_CLIENT_NETWORK, "closed before the first byte");
}

/* A fresh connection that dies has carried nothing else: nobody knows what became of the request.
 */
static void test_dies_at_once(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    stream_shutdown(f->server);
    finish_with(f, IPP_CLIENT_NETWORK, "closed before the first byte");
    assert_true(nobody_connects(f));
}

static void test_close(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q");
    for (unsigned i = 0; i < 2; i++) {
        ask(f);
        accept_one(f);
        hear_request(f);
        answer(f, IPP_SUCCESSFUL_OK, "Connection: close\r\n");
        finish(f, IPP_CLIENT_ANSWERED);
    }
    assert_int_equal(f->n_accepted, 2);
}

static void test_free_in_callback(void **state)
{
    struct fixture *f = *state;

    f->free_in_callback = true;
    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    UNTIL(f, f->n_done);
    assert_null(f->client);
}

static void test_free_under_way(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    ipp_client_free(f->client);
    f->client = NULL;
    ends_silently(f);
    assert_int_equal(f->n_done, 0);
}

/* ---- lists and gateways ---- */

/* The draft, 3.0: the list stays with those who know it, once they have said so. */
static void test_list_is_kept_for_ours(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    upgrade(f, FINAL_OURS);
    hear_request(f);
    assert_string_equal(f->uri, f->text);
    assert_string_equal(f->target, "/q");
    answer(f, IPP_SUCCESSFUL_OK, "Server: sallyport/2\r\n");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_true(ipp_client_is_sallyport(f->client));
}

static void test_list_is_stripped_for_others(void **state)
{
    static const char *const servers[] = {"CUPS/2.4 IPP/2.1", "sallyportish", "x sallyport"};
    struct fixture *f = *state;
    char fields[100];

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    upgrade(f, FINAL);
    for (unsigned i = 0; i <= ARRAY_LEN(servers); i++) {
        hear_request(f);
        assert_null(strstr(f->uri, "AUTH"));
        assert_non_null(strstr(f->uri, "/q"));
        (void)snprintf(fields, sizeof fields, "Server: %s\r\n", servers[i % ARRAY_LEN(servers)]);
        answer(f, IPP_SUCCESSFUL_OK, fields);
        finish(f, IPP_CLIENT_ANSWERED);
        if (i < ARRAY_LEN(servers))
            ask(f);
    }
}

static void test_no_userinfo_goes_out(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://joe:secret@127.0.0.1:%u/q");
    hear_request(f);
    assert_null(strstr(f->uri, "joe"));
    assert_null(strstr(f->uri, "secret"));
    assert_string_equal(f->authorization, "");
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

/* ---- TLS by upgrade ---- */

static void test_upgrade(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    upgrade(f, FINAL);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.channel, IPP_CHANNEL_UPGRADED);
    assert_int_equal(f->result.lacks, IPP_NEED_NOTHING);
    assert_non_null(strstr(f->result.how, "TLS"));
    assert_non_null(strstr(f->result.who, "printer"));
}

/* What servers in the field put into 101 and the final answer means nothing. */
static void test_upgrade_odd(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, "HTTP/1.1 101 Switching Protocols\r\nConnection: Keep-Alive\r\nUpgrade: tls/1.2,"
           "HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n");
    begin_tls(f, server_upgraded);
    say(f, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

/* A server that announces a last chunk and never sends it. */
static void test_upgrade_chunked_without_end(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    upgrade(f, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

static const struct refusal_row {
    const char *answer;
    enum ipp_client_end end;
    const char *words;
} refusals[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",                     IPP_CLIENT_SECURITY, "does not upgrade"                 },
    {"HTTP/1.1 204 OK\r\n\r\n",                                          IPP_CLIENT_SECURITY, "does not upgrade"                 },
    {"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n",                    IPP_CLIENT_SECURITY, "does not upgrade"                 },
    {"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n",                     IPP_CLIENT_SECURITY, "does not upgrade"                 },
    {"HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n",                     IPP_CLIENT_SECURITY, "does not upgrade"                 },
    {ASK_DIGEST,                                                         IPP_CLIENT_SECURITY, "asks for a password in clear text"},
    {"HTTP/1.1 426 No\r\nUpgrade: TLS/9.9\r\nContent-Length: 0\r\n\r\n", IPP_CLIENT_SECURITY,
     "a kind of TLS that is not spoken"                                                                                          },
    {"HTTP/1.1 418 No\r\nUpgrade: TLS/9.9\r\nContent-Length: 0\r\n\r\n", IPP_CLIENT_SECURITY,
     "a kind of TLS that is not spoken"                                                                                          },
    {"HTTP/1.1 418 No\r\nContent-Length: 0\r\n\r\n",                     IPP_CLIENT_SECURITY, "does not upgrade"                 },
    {"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",                     IPP_CLIENT_NETWORK,  "HTTP 503"                         },
    {"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",             IPP_CLIENT_SECURITY,
     "does not call TLS"                                                                                                         },
    {"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n\r\n",            IPP_CLIENT_SECURITY,
     "does not call TLS"                                                                                                         },
    {"HTTP/1.1 101 Switching\r\nUpgrade: TLS/x\r\n\r\n",                 IPP_CLIENT_SECURITY, "does not call TLS"                },
    {"HTTP/1.1 101 Switching\r\nUpgrade: TLSv1\r\n\r\n",                 IPP_CLIENT_SECURITY, "does not call TLS"                },
    {SWITCH "HTTP/1.1 200 OK\r\n\r\n",                                   IPP_CLIENT_SECURITY, "follows the printer's 101"        },
    {SWITCH "\x16",                                                      IPP_CLIENT_SECURITY, "follows the printer's 101"        },
    {"garbage\r\n\r\n",                                                  IPP_CLIENT_NETWORK,  "no good answer"                   },
};

/* Nothing of IPP is said, whatever the printer answers to the request for TLS. */
static void test_refusal(void **state)
{
    const struct refusal_row *row = *state;
    void *own = NULL;

    (void)setup(&own);
    struct fixture *f = own;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=TLS,DAA", USER);
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, row->answer);
    finish_with(f, row->end, row->words);
    ends_silently(f);
    assert_true(nobody_connects(f));
    assert_int_equal(f->n_passwords, 0);
    (void)teardown(&own);
}

static void test_lenient(void **state)
{
    struct fixture *f = *state;

    f->set.lenient = true;
    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, "HTTP/1.1 101 Yes\r\n\r\n");
    begin_tls(f, server_upgraded);
    say(f, FINAL);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

/* An attacker sends nothing but a 101, and waits for us to talk on. */
static void test_no_tls_behind_101(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, SWITCH);
    UNTIL(f, f->in.n > 0);
    assert_int_equal(f->in.p[0], 0x16); /* a ClientHello, and nothing else */
    buf_reset(&f->in);
    say(f, "HTTP/1.1 200 OK\r\n\r\n");
    finish_with(f, IPP_CLIENT_SECURITY, "no TLS with 127.0.0.1");
}

static void test_handshake_stands_still(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, SWITCH);
    pass(f, 9000);
    assert_int_equal(f->n_done, 0);
    pass(f, 2000);
    finish_with(f, IPP_CLIENT_SECURITY, "does not go on with the TLS handshake");
}

/* Everything else would be told inside TLS, but to the next request. */
static void test_no_final_answer(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, SWITCH);
    begin_tls(f, server_upgraded);
    pass(f, 11000);
    finish_with(f, IPP_CLIENT_NETWORK, "no good answer after TLS has begun");
    ends_silently(f);
}

static void test_bad_final_answer(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    upgrade(f, DENIED "\r\n");
    finish_with(f, IPP_CLIENT_NETWORK, "HTTP 401");
    ends_silently(f);
}

/* There is TLS then, and nothing can be said in it. */
static void test_final_answer_that_is_the_last(void **state)
{
    static const char *const finals[] = {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    };
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    for (size_t i = 0; i < ARRAY_LEN(finals); i++) {
        ask(f);
        upgrade(f, finals[i]);
        finish_with(f, IPP_CLIENT_NETWORK, "no request can follow");
        ends_silently(f);
    }
}

/* In TLS 1.3 the client learns it when its handshake is over: it is told what was wrong, and that
 * it is no affair of the network. */
static void check_alert(struct fixture *f, const char *uri, bool upgraded)
{
    const struct tls_settings s = {
        .role = TLS_SERVER,
        .certificate = span_of(test_leaf.cert_pem),
        .key = span_of(test_leaf.key_pem),
        .trust = span_of(test_ca.cert_pem),
        .require_peer = true,
    };
    struct tls_context *strict = NULL;
    struct buf why;

    buf_init(&why, 0);
    assert_int_equal(tls_context_new(&s, &strict, &why), OK);
    ask_at(f, uri);
    if (upgraded) {
        hear_options(f);
        say(f, SWITCH);
    }
    begin_tls(f, strict);
    finish_with(f, IPP_CLIENT_SECURITY, "the server demands a client certificate");
    tls_context_unref(strict);
    buf_done(&why);
}

static void test_alert_after_the_handshake(void **state)
{
    check_alert(*state, "ipps://127.0.0.1:%u/q", false);
}

static void test_alert_after_the_upgrade(void **state)
{
    check_alert(*state, "ipp://127.0.0.1:%u/q;AUTH=TLS", true);
}

/* Two answers to one request: somebody's in between was sent before ours. */
static void test_answers_too_many(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    upgrade(f, FINAL FINAL);
    finish_with(f, IPP_CLIENT_NETWORK, "says something before it was asked");
    ends_silently(f);
}

static void test_wrong_certificate(void **state)
{
    struct fixture *f = *state;
    struct test_cert other_ca = test_ca_new("Other CA");

    f->set.tls_upgraded = test_tls_client(&other_ca, NULL);
    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, SWITCH);
    begin_tls(f, server_upgraded);
    finish_with(f, IPP_CLIENT_SECURITY, "no TLS with 127.0.0.1");
    tls_context_unref(f->set.tls_upgraded);
    test_cert_free(&other_ca);
}

/* ---- downgrades ---- */

static void test_no_insist(void **state)
{
    struct fixture *f = *state;

    f->set.no_insist = true;
    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n");
    accept_one(f);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.channel, IPP_CHANNEL_CLEAR);
    assert_int_equal(f->result.lacks, IPP_NEED_UPGRADE);
    assert_int_equal(f->n_warnings, 1);
    assert_non_null(strstr(f->warning, "in clear text"));
}

/* Whoever does not insist on TLS has not said that everybody may know the password. */
static void test_no_insist_and_a_password(void **state)
{
    struct fixture *f = *state;

    f->set.no_insist = true;
    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=TLS", USER);
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    accept_one(f);
    hear_request(f);
    say(f, ASK_DIGEST);
    finish_with(f, IPP_CLIENT_SECURITY, "in clear text");
    assert_int_equal(f->n_passwords, 0);
}

/* It wants what it does not do. */
static void test_no_insist_and_426(void **state)
{
    struct fixture *f = *state;

    f->set.no_insist = true;
    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    accept_one(f);
    hear_request(f);
    say(f, "HTTP/1.1 426 No\r\nUpgrade: TLS/1.2\r\nContent-Length: 0\r\n\r\n");
    finish_with(f, IPP_CLIENT_SECURITY, "does not take what it gets");
    assert_true(nobody_connects(f));
}

/* ---- printers that ask for an upgrade ---- */

static void check_demand(struct fixture *f, const char *status)
{
    char text[200];

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    (void)snprintf(text, sizeof text,
                   "HTTP/1.1 %s\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n"
                   "Content-Length: 0\r\n\r\n",
                   status);
    say(f, text);
    upgrade(f, FINAL);
    hear_request(f);
    assert_int_equal(f->header.request_id, 1);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.channel, IPP_CHANNEL_UPGRADED);
}

static void test_426(void **state)
{
    check_demand(*state, "426 Upgrade Required");
}

static void test_418(void **state)
{
    check_demand(*state, "418 Upgrade Required");
}

/* Not in a circle. */
static void test_426_again(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    say(f, "HTTP/1.1 426 No\r\nUpgrade: TLS\r\nContent-Length: 0\r\n\r\n");
    upgrade(f, FINAL);
    hear_request(f);
    say(f, "HTTP/1.1 426 No\r\nUpgrade: TLS\r\nContent-Length: 0\r\n\r\n");
    finish_with(f, IPP_CLIENT_SECURITY, "does not take what it gets");
    assert_true(nobody_connects(f));
}

static void test_426_without_upgrade(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    say(f, "HTTP/1.1 426 No\r\nUpgrade: TLS\r\nContent-Length: 0\r\n\r\n");
    accept_one(f);
    hear_options(f);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    finish_with(f, IPP_CLIENT_SECURITY, "does not upgrade");
}

/* ---- TLS from the first byte ---- */

static void check_implicit(struct fixture *f, const char *uri)
{
    ask_at(f, uri);
    begin_tls(f, server_implicit);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.channel, IPP_CHANNEL_IMPLICIT);
    assert_int_equal(f->result.lacks, IPP_NEED_NOTHING);
}

static void test_ipps(void **state)
{
    check_implicit(*state, "ipps://127.0.0.1:%u/q");
}

static void test_ssl3(void **state)
{
    check_implicit(*state, "ipp://127.0.0.1:%u/q;AUTH=SSL3");
}

static void test_clear_text_for_ipps(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipps://127.0.0.1:%u/q");
    say(f, "HTTP/1.1 400 Bad\r\n\r\n");
    finish_with(f, IPP_CLIENT_SECURITY, "no TLS with 127.0.0.1");
}

/* Either channel will do. */
static void test_second_way(void **state)
{
    struct fixture *f = *state;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=SSL3,TLS");
    ask(f);
    accept_one(f);
    hear_options(f);
    say(f, "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n");
    accept_one(f);
    begin_tls(f, server_implicit);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.channel, IPP_CHANNEL_IMPLICIT);
    assert_int_equal(f->n_warnings, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest plain[] = {
    CASE(test_clear),
    CASE(test_ipp_error),
    CASE(test_version),
    CASE(test_nobody_there),
    CASE(test_wrong_request_id),
    CASE(test_held_back),
    CASE(test_no_answer),
    CASE(test_answer_without_end),
    CASE(test_kept),
    CASE(test_kept_closed),
    CASE(test_kept_closed_with_words),
    CASE(test_dies_under_way),
    CASE(test_dies_at_once),
    CASE(test_close),
    CASE(test_free_in_callback),
    CASE(test_free_under_way),
    CASE(test_list_is_kept_for_ours),
    CASE(test_list_is_stripped_for_others),
    CASE(test_no_userinfo_goes_out),
    CASE(test_upgrade),
    CASE(test_upgrade_odd),
    CASE(test_upgrade_chunked_without_end),
    CASE(test_lenient),
    CASE(test_no_tls_behind_101),
    CASE(test_handshake_stands_still),
    CASE(test_no_final_answer),
    CASE(test_bad_final_answer),
    CASE(test_final_answer_that_is_the_last),
    CASE(test_alert_after_the_handshake),
    CASE(test_alert_after_the_upgrade),
    CASE(test_answers_too_many),
    CASE(test_wrong_certificate),
    CASE(test_no_insist),
    CASE(test_no_insist_and_a_password),
    CASE(test_no_insist_and_426),
    CASE(test_426),
    CASE(test_418),
    CASE(test_426_again),
    CASE(test_426_without_upgrade),
    CASE(test_ipps),
    CASE(test_ssl3),
    CASE(test_clear_text_for_ipps),
    CASE(test_second_way),
};

int main(void)
{
    struct CMUnitTest all[ARRAY_LEN(plain) + ARRAY_LEN(http_rows) + ARRAY_LEN(refusals)];
    size_t n = ARRAY_LEN(plain);

    memcpy(all, plain, sizeof plain);
    for (size_t i = 0; i < ARRAY_LEN(http_rows); i++)
        all[n++] = (struct CMUnitTest){.name = http_rows[i].words,
                                       .test_func = test_http,
                                       .initial_state = (void *)(uintptr_t)&http_rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        all[n++] = (struct CMUnitTest){.name = refusals[i].answer,
                                       .test_func = test_refusal,
                                       .initial_state = (void *)(uintptr_t)&refusals[i]};
    return cmocka_run_group_tests(all, make_certs, drop_certs);
}
