/* SPDX-License-Identifier: Apache-2.0 */
/* The IPP client and answers that come before their request: somebody in between asked in our place
 * and then joined our handshake to that connection. Where TLS begins with the first byte nothing
 * but the order tells such an answer from ours, and the number of the request. */
#include "test_ipp_client_world.h"

#include <openssl/ssl.h>
#include <signal.h>

/* ---- a printer that answers with the end of its handshake ---- */

/* Without a stream, so that nothing comes in between: its words are there when the client's
 * handshake is over. */
struct hasty {
    SSL *ssl;
    int fd;
    bool over;
    size_t n_heard; /* bytes of what the client says inside TLS */
};

static void hasty_accept(struct fixture *f, struct hasty *h, int version)
{
    static const int on = 1;

    *h = (struct hasty){.fd = -1};
    UNTIL(f, (h->fd = accept4(f->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    assert_int_equal(setsockopt(h->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    h->ssl = tls_context_open(server_implicit, NULL);
    assert_non_null(h->ssl);
    assert_int_equal(SSL_set_max_proto_version(h->ssl, version), 1);
    assert_int_equal(SSL_set_fd(h->ssl, h->fd), 1);
}

static void hasty_close(struct hasty *h)
{
    SSL_free(h->ssl);
    (void)close(h->fd);
}

/* The end of what the client waits for was written. */
static bool has_finished(struct hasty *h, int version)
{
    char one;
    size_t n;

    if (version == TLS1_2_VERSION)
        return SSL_accept(h->ssl) == 1;
    return SSL_read_early_data(h->ssl, &one, 1, &n) == SSL_READ_EARLY_DATA_FINISH;
}

/* TLS 1.2: the server's Finished is the last one. TLS 1.3: a server may speak before it has the
 * client's (RFC 8446 4.4.4). */
static void hasty_say(struct fixture *f, struct hasty *h, int version, struct span text)
{
    size_t n = 0;

    UNTIL(f, has_finished(h, version));
    if (version == TLS1_2_VERSION)
        assert_int_equal(SSL_write_ex(h->ssl, text.p, text.n, &n), 1);
    else
        assert_int_equal(SSL_write_early_data(h->ssl, text.p, text.n, &n), 1);
    assert_int_equal(n, text.n);
    assert_int_equal(f->n_done, 0);
}

static bool hasty_hears_the_end(struct hasty *h)
{
    char room[4096];
    int n = h->over ? 0 : SSL_read(h->ssl, room, sizeof room);

    if (n > 0)
        h->n_heard += (size_t)n;
    else if (!h->over)
        h->over = SSL_get_error(h->ssl, n) != SSL_ERROR_WANT_READ;
    return h->over;
}

/* ---- before it was asked ---- */

#define ALIEN "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"

/* |text| NULL: an answer that nothing is wrong with, to the request that is to come. */
static const struct early_row {
    const char *name;
    int version;
    bool prints; /* a document */
    const char *text;
} early_rows[] = {
    {"nothing to the upgrade, TLS 1.2", TLS1_2_VERSION, false, FINAL                          },
    {"nothing to the upgrade",          TLS1_3_VERSION, false, FINAL                          },
    {"a page",                          TLS1_3_VERSION, false, ALIEN                          },
    {"who is it",                       TLS1_3_VERSION, false, ASK_DIGEST                     },
    {"interim",                         TLS1_3_VERSION, false, "HTTP/1.1 100 Continue\r\n\r\n"},
    {"interim, to a document",          TLS1_3_VERSION, true,  "HTTP/1.1 100 Continue\r\n\r\n"},
    {"one octet",                       TLS1_3_VERSION, false, "H"                            },
    {"one octet, TLS 1.2",              TLS1_2_VERSION, false, "H"                            },
    {"an empty line",                   TLS1_3_VERSION, false, "\r\n"                         },
    {"the right answer, TLS 1.2",       TLS1_2_VERSION, false, NULL                           },
    {"the right answer",                TLS1_3_VERSION, false, NULL                           },
    {"the right answer, to a document", TLS1_3_VERSION, true,  NULL                           },
};

/* An octet is enough, and none is said to whoever sent it: neither the request nor its head. */
static void test_early(void **state)
{
    const struct early_row *row = *state;
    void *own = NULL;
    struct hasty h;
    struct buf text;

    (void)setup(&own);
    struct fixture *f = own;

    buf_init(&text, 0);
    if (row->text)
        buf_text(&text, row->text);
    else
        write_answer(&text, IPP_SUCCESSFUL_OK, 1, "", "application/ipp");
    use_as(f, "ipps://127.0.0.1:%u/q", USER);
    if (row->prints)
        print(f, SPAN("%!PS"));
    else
        ask(f);
    hasty_accept(f, &h, row->version);
    hasty_say(f, &h, row->version, buf_span(&text));
    UNTIL(f, hasty_hears_the_end(&h) || f->n_done);
    finish_with(f, IPP_CLIENT_NETWORK, "says something before it was asked");
    UNTIL(f, hasty_hears_the_end(&h));
    assert_int_equal(SSL_version(h.ssl), row->version);
    assert_int_equal(h.n_heard, 0);
    assert_int_equal(f->status, 0xffff);
    assert_int_equal(f->result.http_status, 0);
    assert_false(f->result.document_sent);
    assert_int_equal(f->n_passwords, 0);
    assert_true(nobody_connects(f));
    hasty_close(&h);
    buf_done(&text);
    (void)teardown(&own);
}

/* The same printer, when it waits for its turn: nothing else is wrong with it, nor with what it
 * says. */
static void test_in_time(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct fixture *f = *state;
    struct hasty h;
    struct buf text;
    size_t n;

    use(f, "ipps://127.0.0.1:%u/q");
    for (uint32_t i = 0; i < ARRAY_LEN(versions); i++) {
        buf_init(&text, 0);
        write_answer(&text, IPP_SUCCESSFUL_OK, i + 1, "Connection: close\r\n", "application/ipp");
        ask(f);
        hasty_accept(f, &h, versions[i]);
        UNTIL(f, SSL_accept(h.ssl) == 1);
        UNTIL(f, !hasty_hears_the_end(&h) && h.n_heard > 100);
        assert_int_equal(SSL_write_ex(h.ssl, text.p, text.n, &n), 1);
        finish(f, IPP_CLIENT_ANSWERED);
        assert_int_equal(f->status, IPP_SUCCESSFUL_OK);
        hasty_close(&h);
        buf_done(&text);
    }
}

/* ---- numbers ---- */

/* Of a client's first request; the client is there no more. */
static uint32_t first_number(struct fixture *f)
{
    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "Connection: close\r\n");
    finish(f, IPP_CLIENT_ANSWERED);
    ipp_client_free(f->client);
    f->client = NULL;
    return f->header.request_id;
}

static void test_numbers(void **state)
{
    struct fixture *f = *state;

    f->next_random = 0;
    assert_int_equal(first_number(f), 1);
    f->next_random = 0x12;
    assert_int_equal(first_number(f), (0x12121212 >> 2) + 1);
    f->next_random = 0xff;
    assert_int_equal(first_number(f), 1u << 30);
    /* The system's: once in 2^30 they are the same. */
    f->set.random = NULL;
    uint32_t a = first_number(f), b = first_number(f);

    assert_in_range(a, 1, 1u << 30);
    assert_in_range(b, 1, 1u << 30);
    assert_int_not_equal(a, b);
}

/* One after the other, and the same one when a request is sent again. */
static void test_next_number(void **state)
{
    struct fixture *f = *state;

    f->next_random = 0xff;
    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer(f, IPP_SERVER_ERROR_VERSION_NOT_SUPPORTED, "");
    accept_one(f);
    hear_request(f);
    assert_int_equal(f->header.request_id, 1u << 30);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    ask(f);
    hear_request(f);
    assert_int_equal(f->header.request_id, (1u << 30) + 1);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

static bool fill_nothing(void *arg, void *dst, size_t n)
{
    (void)arg;
    (void)dst;
    (void)n;
    return false;
}

static void test_no_randomness(void **state)
{
    static const struct digest_random none = {fill_nothing, NULL};
    struct fixture *f = *state;
    struct ipp_client *c = NULL;

    use(f, "ipp://127.0.0.1:%u/q");
    f->set.random = &none;
    assert_int_equal(ipp_client_new(f->loop, &f->set, &c), ERR_IO);
    assert_null(c);
}

/* What a server owes to somebody in between may come when we have asked: then it is the number that
 * tells. Whoever has to say it in advance says the first one. */
static void test_guessed_number(void **state)
{
    struct fixture *f = *state;
    struct hasty h;
    struct buf text;
    size_t n;

    buf_init(&text, 0);
    write_answer(&text, IPP_SUCCESSFUL_OK, 1, "", "application/ipp");
    f->next_random = 0x55;
    use(f, "ipps://127.0.0.1:%u/q");
    ask(f);
    hasty_accept(f, &h, TLS1_3_VERSION);
    UNTIL(f, SSL_accept(h.ssl) == 1);
    assert_int_equal(SSL_write_ex(h.ssl, text.p, text.n, &n), 1);
    finish_with(f, IPP_CLIENT_NETWORK, "answered request 1 instead of 357913942");
    assert_int_equal(f->status, 0xffff);
    hasty_close(&h);
    buf_done(&text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest plain[] = {
    CASE(test_in_time),       CASE(test_numbers),        CASE(test_next_number),
    CASE(test_no_randomness), CASE(test_guessed_number),
};

int main(void)
{
    struct CMUnitTest all[ARRAY_LEN(plain) + ARRAY_LEN(early_rows)];
    size_t n = ARRAY_LEN(plain);

    (void)signal(SIGPIPE, SIG_IGN); /* tickets for a client that has gone */
    memcpy(all, plain, sizeof plain);
    for (size_t i = 0; i < ARRAY_LEN(early_rows); i++)
        all[n++] = (struct CMUnitTest){.name = early_rows[i].name,
                                       .test_func = test_early,
                                       .initial_state = (void *)(uintptr_t)&early_rows[i]};
    return cmocka_run_group_tests(all, make_certs, drop_certs);
}
