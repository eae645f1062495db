/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners: TLS from the first byte, or later, or not where it should be. */
#include "test_listener_world.h"

static void test_tls(void **state)
{
    struct site site;
    struct listener_settings *s = settings_new(server_tls);

    (void)state;
    s->policy.require = SALLYPORT_STRONG;
    site_open(&site, s);
    int fd = test_connect(&site.at);
    SSL *ssl = handshake(&site, fd, client_tls);

    TURN_UNTIL(site.l, book.n_open == 1);
    assert_true(stream_is_tls(book.open[0].stream));
    SSL_free(ssl);
    (void)close(fd);
    site_close(&site);
}

static void test_client_certificate(void **state)
{
    struct site site;
    struct listener_settings *s = settings_new(strict_tls);
    int fd;
    SSL *ssl;

    (void)state;
    s->policy.peer = true;
    site_open(&site, s);
    fd = test_connect(&site.at);
    ssl = handshake(&site, fd, known_client_tls);
    TURN_UNTIL(site.l, book.n_open == 1);
    assert_string_equal(
        sallyport_peer_text(sallyport_report_peer(stream_report(book.open[0].stream))),
        "CN=tenant one");
    SSL_free(ssl);
    (void)close(fd);

    fd = test_connect(&site.at);
    ssl = handshake(&site, fd, client_tls);
    TURN_UNTIL(site.l, book.n_refused == 1);
    assert_int_equal(book.err, ERR_TLS);
    assert_non_null(strstr(book.why, "did not return a certificate"));
    SSL_free(ssl);
    (void)close(fd);
    site_close(&site);
    ERR_clear_error();
}

/* What |text| in clear gets: a 403 and the end. book.why then is what the record will say. */
static void expect_no_clear_text(const char *text)
{
    struct site site;
    char got[64];

    site_open(&site, settings_new(server_tls));
    int fd = test_connect(&site.at);

    say(fd, text);
    TURN_UNTIL(site.l, book.n_refused == 1);
    assert_int_equal(book.err, ERR_PLAINTEXT);
    test_settle(site.l);
    ssize_t n = read(fd, got, sizeof got);

    assert_true(n > 0);
    assert_memory_equal(got, "ICAP/1.0 403 TLS", 16);
    assert_int_equal(read(fd, got, sizeof got), 0); /* FIN, no reset */
    (void)close(fd);
    test_settle(site.l);
    site_close(&site);
}

static void test_plaintext_on_tls_port(void **state)
{
    static const struct {
        const char *text;
        bool password;
    } cases[] = {
        {"OPTIONS icap://localhost/echo ICAP/1.0\r\nHost: localhost\r\n\r\n",               false},
        {"O",                                                                               false},
        {"OPTIONS icap://gw/e ICAP/1.0\r\nHost: gw\r\nX-Authorization: Basic YTpi\r\n\r\n", false},
        {"OPTIONS icap://gw/e ICAP/1.0\r\nAuthorization: Basic YTpi\r\nHost: gw\r\n\r\n",   true },
        {"OPTIONS icap://gw/e ICAP/1.0\nHost: gw\nproxy-AUTHORIZATION: Basic YTpi\r\n\r\n", true },
        {"OPTIONS icap://gw/e ICAP/1.0\r\nHost: gw\r\nAuthorization:",                      true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect_no_clear_text(cases[i].text);
        assert_int_equal(strstr(book.why, "a password in it, which has to be changed") != NULL,
                         cases[i].password);
        assert_null(strstr(book.why, "YTpi"));
    }
}

/* One port for both: the first byte says which it is. */
static void test_sniff(void **state)
{
    struct listener_settings *s = settings_new(server_tls);
    struct site site;

    (void)state;
    s->handshake = LISTENER_TLS_SNIFF;
    site_open(&site, s);
    int clear = test_connect(&site.at), secure = test_connect(&site.at),
        noise = test_connect(&site.at);

    test_settle(site.l);
    assert_int_equal(book.n_open, 0); /* nobody has said anything yet */
    say(clear, "P");
    TURN_UNTIL(site.l, book.n_open == 1);
    assert_false(stream_is_tls(book.open[0].stream));
    SSL *ssl = handshake(&site, secure, client_tls);

    TURN_UNTIL(site.l, book.n_open == 2);
    assert_true(stream_is_tls(book.open[1].stream));
    say(noise, "\x01");
    TURN_UNTIL(site.l, book.n_open == 3); /* what it is worth is the protocol's to say */
    assert_false(stream_is_tls(book.open[2].stream));
    assert_int_equal(book.n_refused, 0);
    SSL_free(ssl);
    (void)close(clear);
    (void)close(secure);
    (void)close(noise);
    site_close(&site);
}

/* The protocol starts it: the report is the clear one first, then another one. */
static void test_tls_later(void **state)
{
    struct listener_settings *s = settings_new(server_tls);
    struct site site;
    sallyport_how how = {.size = sizeof how};

    (void)state;
    s->handshake = LISTENER_TLS_LATER;
    site_open(&site, s);
    int fd = test_connect(&site.at);

    TURN_UNTIL(site.l, book.n_open == 1);
    struct stream *stream = book.open[0].stream;

    sallyport_report_how(stream_report(stream), &how);
    assert_int_equal(how.level, SALLYPORT_NONE);
    assert_int_equal(stream_start_tls(stream, s->tls, NULL), OK);
    SSL *ssl = tls_context_open(client_tls, "localhost");

    SSL_set_fd(ssl, fd);
    TURN_UNTIL(site.l, (ERR_clear_error(), SSL_do_handshake(ssl)) == 1);
    test_settle(site.l);
    sallyport_report_how(stream_report(stream), &how);
    assert_int_equal(how.level, SALLYPORT_STRONG);
    SSL_free(ssl);
    (void)close(fd);
    site_close(&site);
}

static void test_noise_on_tls_port(void **state)
{
    struct site site;
    static const char noise[][11] = {"\x15\x03\x01\0\x02\x02\x28\0\0\0",
                                     "\x01\x02\x03\x04\x05\x06\0\0\0\0", "\x16\x03\x01\0\x05zzzzz"};

    (void)state;
    site_open(&site, settings_new(server_tls));
    for (unsigned i = 0; i < ARRAY_LEN(noise); i++) {
        int fd = test_connect(&site.at);

        assert_true(write(fd, noise[i], 10) == 10);
        TURN_UNTIL(site.l, book.n_refused == i + 1);
        assert_int_equal(book.err, ERR_TLS);
        (void)close(fd);
    }
    site_close(&site);
}

static void test_gone_without_a_word(void **state)
{
    struct site site;

    (void)state;
    site_open(&site, settings_new(server_tls));
    (void)close(test_connect(&site.at));
    TURN_UNTIL(site.l, book.n_refused == 1);
    assert_int_equal(book.err, ERR_EOF);
    site_close(&site);
}

/* Certified, but not wanted here: told so within TLS, refused, and it is known who it was. */
static void test_unwanted_peer(void **state)
{
    static const struct {
        const char *wanted;
        bool open;
    } rows[] = {
        {"dn:CN=tenant two", false},
        {"dn:CN=*",          true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct site site;
        struct listener_settings *s = settings_new(strict_tls);
        sallyport_want *want = NULL;

        assert_int_equal(sallyport_want_new(&want), 0);
        assert_int_equal(sallyport_want_peer_text(want, "dns:other.example"), 0);
        assert_int_equal(sallyport_want_peer_text(want, rows[i].wanted), 0);
        s->policy.want = want;
        s->policy_refusal = SPAN("ICAP/1.0 403 Not you\r\n\r\n");
        site_open(&site, s);
        int fd = test_connect(&site.at);
        SSL *ssl = handshake(&site, fd, known_client_tls);

        TURN_UNTIL(site.l, book.n_open + book.n_refused == 1);
        assert_int_equal(book.n_open, rows[i].open);
        if (!rows[i].open) {
            assert_int_equal(book.err, ERR_POLICY);
            assert_non_null(strstr(book.why, "somebody who is not wanted here"));
            assert_string_equal(book.who, "CN=tenant one");
            test_settle(site.l);
            char got[64];

            assert_int_equal(SSL_read(ssl, got, sizeof got), s->policy_refusal.n);
            assert_memory_equal(got, s->policy_refusal.p, s->policy_refusal.n);
            assert_int_equal(SSL_read(ssl, got, sizeof got), 0);
            assert_int_equal(SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
        }
        SSL_free(ssl);
        (void)close(fd);
        site_close(&site);
        sallyport_want_free(want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_plaintext_on_tls_port),
        cmocka_unit_test(test_sniff),
        cmocka_unit_test(test_tls_later),
        cmocka_unit_test(test_noise_on_tls_port),
        cmocka_unit_test(test_gone_without_a_word),
        cmocka_unit_test(test_unwanted_peer),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
