/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a connection: what was written last, close_notify and FIN leave in one segment. */
#include "test_net.h"

#include <openssl/err.h>

#include "net/stream_int.h"
#include "test_certs.h"

static struct test_cert ca, leaf;
static struct tls_context *server_tls, *client_tls;

static int make_certs(void **state)
{
    struct tls_settings set = {.role = TLS_SERVER, .tickets_on_request = true};
    struct buf why;

    (void)state;
    ca = test_ca_new("Test CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    set.certificate = span_of(leaf.cert_pem);
    set.key = span_of(leaf.key_pem);
    buf_init(&why, 0);
    assert_int_equal(tls_context_new(&set, &server_tls, &why), OK);
    buf_done(&why);
    client_tls = test_tls_client(&ca, NULL);
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    tls_context_unref(server_tls);
    tls_context_unref(client_tls);
    test_cert_free(&leaf);
    test_cert_free(&ca);
    return 0;
}

/* As linux/tcp.h has it, which does not go with netinet/tcp.h. */
struct counts {
    struct tcp_info known;
    uint64_t rates_and_bytes[4];
    uint32_t segs_out, segs_in;
};

static uint32_t segments_in(const struct stream *s)
{
    struct counts c = {0};
    socklen_t len = sizeof c;

    assert_int_equal(getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &c, &len), 0);
    assert_int_equal(len, sizeof c);
    return c.segs_in;
}

static void on_open(void *arg, unsigned events)
{
    bool *open = arg;

    *open |= (events & STREAM_OPEN) != 0;
}

struct ends {
    struct loop *l;
    struct stream *client, *server;
    bool client_open, server_open;
};

static void ends_open(struct ends *e, bool tls)
{
    int fds[2];

    *e = (struct ends){.l = test_loop(&clock_system)};
    test_tcp_pair(fds);
    assert_int_equal(stream_new(e->l, fds[0], NULL, on_open, &e->client_open, &e->client), OK);
    assert_int_equal(stream_new(e->l, fds[1], NULL, on_open, &e->server_open, &e->server), OK);
    if (!tls)
        return;
    assert_int_equal(stream_start_tls(e->client, client_tls, "localhost"), OK);
    assert_int_equal(stream_start_tls(e->server, server_tls, NULL), OK);
    TURN_UNTIL(e->l, e->client_open && e->server_open);
}

static void ends_close(struct ends *e)
{
    stream_close(e->client, 0);
    stream_close(e->server, 0);
    loop_free(e->l);
    block_pool_trim(0);
}

/* The client gets all of it, and a clean end. */
static void expect_answer(struct ends *e, const char *answer)
{
    struct block *b = block_new();
    enum err err = ERR_AGAIN;
    uint32_t n;

    stream_arm(e->client, STREAM_READABLE);
    while (err == OK || err == ERR_AGAIN) {
        (void)loop_turn(e->l, false);
        err = stream_read(e->client, b, 64, &n);
    }
    assert_int_equal(err, ERR_EOF);
    assert_true(span_eq((struct span){(const char *)b->data, b->used}, span_of(answer)));
    block_unref(b);
}

typedef enum err (*write_fn)(struct stream *s, struct chain *c, uint64_t *ret_n);

/* How many segments the client gets with |answer| and the end of the connection. */
static uint32_t segments_of_end(bool tls, bool ticket, write_fn write)
{
    struct ends e;
    struct chain c;
    uint64_t n;

    ends_open(&e, tls);
    uint32_t before = segments_in(e.client);

    if (ticket)
        assert_int_equal(stream_issue_ticket(e.server, SPAN("data"), UINT32_MAX), OK);
    chain_init(&c, 0);
    assert_int_equal(chain_append_text(&c, SPAN("answer")), OK);
    assert_int_equal(write(e.server, &c, &n), OK);
    assert_int_equal(n, 6);
    chain_done(&c);
    stream_shutdown(e.server);
    expect_answer(&e, "answer");
    uint32_t all = segments_in(e.client) - before;

    ends_close(&e);
    return all;
}

static void test_one_segment(void **state)
{
    (void)state;
    assert_int_equal(segments_of_end(false, false, stream_write_last), 1);
    assert_int_equal(segments_of_end(true, false, stream_write_last), 1);
    assert_int_equal(segments_of_end(true, true, stream_write_last), 1);
    /* So that the figures above mean something. */
    assert_int_equal(segments_of_end(false, false, stream_write), 2);
    assert_int_equal(segments_of_end(true, false, stream_write), 2);
    assert_int_equal(segments_of_end(true, true, stream_write), 2);
}

struct early {
    struct ends ends;
    bool answers; /* in the turn in which it hears that the handshake is over */
    bool open;
};

static void on_server_open(void *arg, unsigned events)
{
    struct early *e = arg;
    struct block *b;
    struct chain c;
    uint32_t got;
    uint64_t n;

    if (!(events & STREAM_OPEN))
        return;
    e->open = true;
    if (!e->answers)
        return;
    b = block_new();
    chain_init(&c, 0);
    assert_int_equal(stream_read(e->ends.server, b, BLOCK_SIZE, &got), OK);
    assert_int_equal(got, 7);
    assert_int_equal(chain_append_text(&c, SPAN("answer")), OK);
    assert_int_equal(stream_write(e->ends.server, &c, &n), OK);
    assert_false(stream_has_unsent(e->ends.server));
    chain_done(&c);
    block_unref(b);
}

/* Reads on; has |raw| its ticket and, if one is to come, the answer? */
static bool has_all(SSL *raw, bool answer)
{
    char got[16];
    int n = SSL_read(raw, got, sizeof got);

    return answer ? n == 6 : SSL_SESSION_is_resumable(SSL_get0_session(raw)) == 1;
}

/* The client's request comes with the end of its handshake. Returns the segments that it gets from
 * then on until it has its ticket and, if there is one, the answer. */
static uint32_t segments_behind_handshake(bool answers)
{
    struct tls_context *tls = test_tls_server(&leaf, NULL, false); /* sends tickets by itself */
    struct early e = {.answers = answers};
    int fds[2];
    SSL *raw = tls_context_open(client_tls, "localhost");

    e.ends.l = test_loop(&clock_system);
    test_tcp_pair(fds);
    assert_int_equal(stream_new(e.ends.l, fds[1], NULL, on_server_open, &e, &e.ends.server), OK);
    assert_int_equal(stream_start_tls(e.ends.server, tls, NULL), OK);
    /* Its last flight and its request leave in one segment. */
    SSL_set_fd(raw, fds[0]);
    assert_int_equal(setsockopt(fds[0], IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int)), 0);
    assert_true(SSL_do_handshake(raw) != 1);
    assert_int_equal(setsockopt(fds[0], IPPROTO_TCP, TCP_CORK, &(int){0}, sizeof(int)), 0);
    assert_int_equal(setsockopt(fds[0], IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int)), 0);
    while (SSL_do_handshake(raw) != 1)
        (void)loop_turn(e.ends.l, false);
    assert_int_equal(SSL_write(raw, "request", 7), 7);
    const struct stream client = {.fd = fds[0]};
    uint32_t before = segments_in(&client);

    assert_int_equal(setsockopt(fds[0], IPPROTO_TCP, TCP_CORK, &(int){0}, sizeof(int)), 0);
    TURN_UNTIL(e.ends.l, e.open);
    while (!has_all(raw, answers))
        (void)loop_turn(e.ends.l, false);
    assert_int_equal(SSL_SESSION_is_resumable(SSL_get0_session(raw)), 1);
    uint32_t all = segments_in(&client) - before;

    (void)SSL_shutdown(raw);
    SSL_free(raw);
    ERR_clear_error();
    (void)close(fds[0]);
    stream_close(e.ends.server, 0);
    loop_free(e.ends.l);
    tls_context_unref(tls);
    block_pool_trim(0);
    return all;
}

/* A ticket leaves with the first answer, or by itself where that takes longer than a turn. */
static void test_ticket_and_answer(void **state)
{
    (void)state;
    assert_int_equal(segments_behind_handshake(true), 1);
    assert_int_equal(segments_behind_handshake(false), 1);
}

/* What the peer takes slowly is not held back either: the rest goes out as it makes room. */
static void test_more_than_fits(void **state)
{
    struct ends e;
    struct chain c;
    struct block *b = block_new();
    uint64_t n, got = 0, all = UINT64_C(64) << 20;
    enum err out = ERR_AGAIN, in = ERR_AGAIN;
    bool ended = false;
    uint32_t piece;

    (void)state;
    ends_open(&e, false);
    chain_init(&c, 0);
    for (uint64_t i = 0; i < all; i += BLOCK_SIZE) {
        struct block *full = block_new();

        memset(full->data, 'x', BLOCK_SIZE);
        full->used = BLOCK_SIZE;
        assert_int_equal(chain_append_slice(&c, (struct slice){full, 0, BLOCK_SIZE}), OK);
        block_unref(full);
    }
    assert_int_equal(stream_write_last(e.server, &c, &n), ERR_AGAIN);
    while (in != ERR_EOF) {
        if (out == ERR_AGAIN)
            out = stream_write_last(e.server, &c, &n);
        if (out == OK && !ended)
            stream_shutdown(e.server);
        ended = out == OK;
        stream_arm(e.server, ended ? 0 : STREAM_WRITABLE);
        stream_arm(e.client, STREAM_READABLE);
        (void)loop_turn(e.l, false);
        b->used = 0;
        in = stream_read(e.client, b, BLOCK_SIZE, &piece);
        got += in == OK ? piece : 0;
    }
    assert_int_equal(out, OK);
    assert_int_equal(got, all);
    chain_done(&c);
    block_unref(b);
    ends_close(&e);
}

/* What was in the way of the end goes out when somebody reads: the end is right behind it. */
static void test_end_behind_a_read(void **state)
{
    struct ends e;
    struct chain c;
    struct block *full = block_new(), *b = block_new();
    enum err in = OK;
    uint64_t n, sent = 0, got = 0;
    uint32_t piece;

    (void)state;
    ends_open(&e, true);
    memset(full->data, 'x', BLOCK_SIZE);
    full->used = BLOCK_SIZE;
    while (!stream_has_unsent(e.server)) {
        chain_init(&c, 0);
        assert_int_equal(chain_append_slice(&c, (struct slice){full, 0, BLOCK_SIZE}), OK);
        (void)!stream_write(e.server, &c, &n);
        sent += n;
        chain_done(&c);
    }
    stream_shutdown(e.server);
    assert_false(e.server->shut);
    /* No loop turns: nothing but these reads moves a byte. */
    for (unsigned i = 0; i < 100 && !e.server->shut; i++) {
        stream_ask_again(e.client);
        do {
            b->used = 0;
            in = stream_read(e.client, b, BLOCK_SIZE, &piece);
            got += in == OK ? piece : 0;
        } while (in == OK);
        full->used = 0;
        assert_int_equal(stream_read(e.server, full, BLOCK_SIZE, &piece), ERR_AGAIN);
    }
    assert_false(stream_has_unsent(e.server));
    assert_true(e.server->shut);
    while (in != ERR_EOF) {
        stream_ask_again(e.client);
        b->used = 0;
        in = stream_read(e.client, b, BLOCK_SIZE, &piece);
        got += in == OK ? piece : 0;
    }
    assert_int_equal(got, sent);
    block_unref(full);
    block_unref(b);
    ends_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_segment),
        cmocka_unit_test(test_ticket_and_answer),
        cmocka_unit_test(test_more_than_fits),
        cmocka_unit_test(test_end_behind_a_read),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
