/* SPDX-License-Identifier: Apache-2.0 */
/* The IPP client behind an HTTP proxy: tunnels and nothing else, whatever the URI demands. */
#include "test_ipp_client_world.h"

#define TUNNEL    "HTTP/1.1 200 Connection established\r\n\r\n"
#define PROXY_407 "HTTP/1.1 407 No\r\nContent-Length: 0\r\n"

static void use_through(struct fixture *f, const char *uri)
{
    f->set.proxy_host = "127.0.0.1";
    f->set.proxy_port = address_port(&f->address);
    use(f, uri);
}

static void ask_through(struct fixture *f, const char *uri)
{
    use_through(f, uri);
    ask(f);
    accept_one(f);
}

/* The URI's port is that of the proxy here, which is as good as any. */
static void hear_connect(struct fixture *f, char *head, size_t cap)
{
    char line[128];

    take_head(f, head, cap);
    (void)snprintf(line, sizeof line, "CONNECT 127.0.0.1:%u HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n",
                   address_port(&f->address), address_port(&f->address));
    if (strncmp(head, line, strlen(line)) != 0)
        fail_msg("no CONNECT: %s", head);
    assert_null(strstr(head, "Upgrade"));
    settle(f);
    assert_int_equal(f->in.n, 0); /* nothing before it is answered */
}

static void test_clear(void **state)
{
    struct fixture *f = *state;
    char head[2048];

    ask_through(f, "ipp://127.0.0.1:%u/q");
    hear_connect(f, head, sizeof head);
    say(f, TUNNEL);
    hear_request(f);
    assert_string_equal(f->target, "/q");
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

static void test_upgrade(void **state)
{
    struct fixture *f = *state;
    char head[2048];

    use_through(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_connect(f, head, sizeof head);
    say(f, TUNNEL);
    hear_options(f);
    say(f, SWITCH);
    begin_tls(f, server_upgraded);
    say(f, FINAL);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.channel, IPP_CHANNEL_UPGRADED);
}

static void test_implicit(void **state)
{
    struct fixture *f = *state;
    char head[2048];

    ask_through(f, "ipps://127.0.0.1:%u/q");
    hear_connect(f, head, sizeof head);
    say(f, "HTTP/1.1 204 fine\r\n\r\n"); /* any 2xx */
    begin_tls(f, server_implicit);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

static void test_bytes_behind_the_tunnel(void **state)
{
    struct fixture *f = *state;
    char head[2048];

    use_through(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_connect(f, head, sizeof head);
    say(f, TUNNEL SWITCH);
    finish_with(f, IPP_CLIENT_NETWORK, "follows the proxy's answer");
    ends_silently(f);
}

/* ---- proxies that want to know who asks ---- */

static void be_user(struct fixture *f)
{
    f->set.proxy_login =
        (struct ipp_client_login){.user = USER, .password = give_password, .arg = f};
}

static void test_digest(void **state)
{
    struct fixture *f = *state;
    char head[2048];

    be_user(f);
    use_through(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_connect(f, head, sizeof head);
    assert_null(strstr(head, "Authorization"));
    say(f, PROXY_407 "Proxy-Authenticate: Basic realm=\"p\"\r\nProxy-Authenticate: Digest "
                     "realm=\"p\", qop=\"auth\", algorithm=MD5, nonce=\"n\"\r\n\r\n");
    accept_one(f);
    hear_connect(f, head, sizeof head);
    assert_non_null(strstr(head, "\r\nProxy-Authorization: Digest "));
    assert_non_null(strstr(head, "uri=\"127.0.0.1:"));
    say(f, TUNNEL);
    hear_options(f); /* which has none of it */
    say(f, SWITCH);
    begin_tls(f, server_upgraded);
    say(f, FINAL);
    hear_request(f);
    assert_string_equal(f->authorization, "");
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.user, IPP_USER_NONE); /* it is no affair of the printer's */
    assert_int_equal(f->n_passwords, 1);
}

#define PROXY_DIGEST \
    "Proxy-Authenticate: Digest realm=\"p\", qop=\"auth\", algorithm=MD5, nonce=\"n\"\r\n"

/* What counts of a 407 is its head, whatever becomes of the rest. */
static void check_rest_of_407(struct fixture *f, bool closes)
{
    char head[2048];

    be_user(f);
    ask_through(f, "ipp://127.0.0.1:%u/q");
    hear_connect(f, head, sizeof head);
    say(f, "HTTP/1.1 407 No\r\nContent-Length: 60000\r\n" PROXY_DIGEST "\r\nn");
    if (closes)
        stream_shutdown(f->server);
    else
        pass(f, 1200);
    accept_one(f);
    hear_connect(f, head, sizeof head);
    assert_non_null(strstr(head, "\r\nProxy-Authorization: Digest "));
    say(f, TUNNEL);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

static void test_407_that_drips(void **state)
{
    check_rest_of_407(*state, false);
}

static void test_407_that_is_cut(void **state)
{
    check_rest_of_407(*state, true);
}

static void check_407(struct fixture *f, const char *challenge, const char *words)
{
    char head[2048], text[300];

    use_through(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_connect(f, head, sizeof head);
    (void)snprintf(text, sizeof text, PROXY_407 "%s\r\n", challenge);
    say(f, text);
    finish_with(f, IPP_CLIENT_LOGIN, words);
    ends_silently(f);
}

static void test_basic(void **state)
{
    struct fixture *f = *state;

    f->set.allow_basic = true; /* of printers, within TLS */
    be_user(f);
    check_407(f, "Proxy-Authenticate: Basic realm=\"p\"\r\n", "to whoever listens");
    assert_int_equal(f->n_passwords, 0);
}

static void test_no_user(void **state)
{
    check_407(
        *state,
        "Proxy-Authenticate: Digest realm=\"p\", qop=\"auth\", algorithm=MD5, nonce=\"n\"\r\n",
        "name a user in its URL");
}

static void test_wrong_password(void **state)
{
    struct fixture *f = *state;
    char head[2048];

    be_user(f);
    use_through(f, "ipp://127.0.0.1:%u/q");
    ask(f);
    for (unsigned i = 0; i < 2; i++) {
        accept_one(f);
        hear_connect(f, head, sizeof head);
        say(f, PROXY_407 "Proxy-Authenticate: Digest realm=\"p\", qop=\"auth\", algorithm=MD5, "
                         "nonce=\"n\"\r\n\r\n");
    }
    finish_with(f, IPP_CLIENT_LOGIN, "the proxy does not accept user 'ann'");
    assert_true(nobody_connects(f));
}

/* ---- proxies that let nobody through ---- */

static void test_403(void **state)
{
    struct fixture *f = *state;
    char head[2048];

    use_through(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    ask(f);
    accept_one(f);
    hear_connect(f, head, sizeof head);
    say(f, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    finish_with(f, IPP_CLIENT_NETWORK, "lets nobody through to 127.0.0.1:");
    ends_silently(f);
    assert_true(nobody_connects(f));
}

/* Many let through to 443 alone: where the list has another way, that is tried. */
static void check_second_way(struct fixture *f, const char *refusal)
{
    char head[2048];

    use_through(f, "ipp://127.0.0.1/q;x=%u;AUTH=SSL3,TLS");
    ask(f);
    accept_one(f);
    take_head(f, head, sizeof head);
    assert_int_equal(strncmp(head, "CONNECT 127.0.0.1:631 ", 22), 0);
    say(f, refusal);
    accept_one(f);
    take_head(f, head, sizeof head);
    assert_int_equal(strncmp(head, "CONNECT 127.0.0.1:443 ", 22), 0);
    say(f, TUNNEL);
    begin_tls(f, server_implicit);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.channel, IPP_CHANNEL_IMPLICIT);
}

static void test_403_and_a_second_way(void **state)
{
    check_second_way(*state, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
}

static void test_405_and_a_second_way(void **state)
{
    check_second_way(*state, "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n");
}

static void test_502(void **state)
{
    struct fixture *f = *state;
    char head[2048];

    use_through(f, "ipp://127.0.0.1:%u/q;AUTH=TLS,SSL3");
    ask(f);
    accept_one(f);
    hear_connect(f, head, sizeof head);
    say(f, "HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n");
    finish_with(f, IPP_CLIENT_NETWORK, "the proxy answered HTTP 502");
    assert_true(nobody_connects(f));
}

static void test_no_proxy_there(void **state)
{
    struct fixture *f = *state;

    use_through(f, "ipp://127.0.0.1:%u/q");
    (void)close(f->listening);
    f->listening = -1;
    ask(f);
    finish_with(f, IPP_CLIENT_NETWORK, "the proxy: cannot connect");
}

static void test_proxy_resets(void **state)
{
    struct fixture *f = *state;
    char head[2048];

    ask_through(f, "ipp://127.0.0.1:%u/q");
    hear_connect(f, head, sizeof head);
    drop_server(f);
    finish_with(f, IPP_CLIENT_NETWORK, "no good answer from the proxy");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_clear),
        CASE(test_upgrade),
        CASE(test_implicit),
        CASE(test_bytes_behind_the_tunnel),
        CASE(test_digest),
        CASE(test_407_that_drips),
        CASE(test_407_that_is_cut),
        CASE(test_basic),
        CASE(test_no_user),
        CASE(test_wrong_password),
        CASE(test_403),
        CASE(test_403_and_a_second_way),
        CASE(test_405_and_a_second_way),
        CASE(test_502),
        CASE(test_no_proxy_there),
        CASE(test_proxy_resets),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
