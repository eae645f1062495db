/* SPDX-License-Identifier: Apache-2.0 */
/* stream_expect(): a driver that has no use for a part is not woken for it, and never waits for
 * what does not come. */
#include "test_net.h"

#include <openssl/err.h>

#include "net/stream_int.h"
#include "test_certs.h"

#define SIZE 40000u

static char bytes[SIZE];

/* A stream that is being told of, and its peer. */
struct told {
    struct loop *l;
    struct stream *s;
    int peer;
    bool open;
    unsigned n; /* times */
};

static void on_stream(void *arg, unsigned events)
{
    struct told *t = arg;

    t->open |= (events & STREAM_OPEN) != 0;
    t->n += (events & STREAM_READABLE) != 0;
    if (events & STREAM_READABLE)
        stream_arm(t->s, 0);
}

static void told_open(struct told *t)
{
    int fds[2];

    *t = (struct told){.l = test_loop(&clock_system)};
    test_tcp_pair(fds);
    t->peer = fds[0];
    assert_int_equal(stream_new(t->l, fds[1], NULL, on_stream, t, &t->s), OK);
    test_settle(t->l);
}

static void told_close(struct told *t)
{
    if (t->peer >= 0)
        (void)close(t->peer);
    stream_close(t->s, 0);
    loop_free(t->l);
    block_pool_trim(0);
}

static void say(struct told *t, size_t n)
{
    assert_int_equal(send(t->peer, bytes, n, 0), n);
}

/* Waits for it, and only for it. */
static unsigned times_told(struct told *t)
{
    t->n = 0;
    stream_arm(t->s, STREAM_READABLE);
    test_settle(t->l);
    return t->n;
}

/* All that is there. */
static size_t read_all(struct told *t)
{
    struct block *b = block_new();
    enum err e = OK;
    size_t all = 0;

    while (e == OK) {
        uint32_t n = 0;

        b->used = 0;
        e = stream_read(t->s, b, BLOCK_SIZE, &n);
        all += n;
    }
    assert_int_equal(e, ERR_AGAIN);
    block_unref(b);
    return all;
}

/* In pieces: told once, when the last one is here. */
static void test_once(void **state)
{
    struct told t;

    (void)state;
    told_open(&t);
    assert_true(stream_expect(t.s, SIZE));
    for (size_t i = 0; i < 7; i++) {
        say(&t, SIZE / 8);
        assert_int_equal(times_told(&t), 0);
    }
    say(&t, SIZE - 7 * (SIZE / 8));
    assert_int_equal(times_told(&t), 1);
    assert_int_equal(read_all(&t), SIZE);
    /* So that this means something. */
    assert_false(stream_expect(t.s, 0));
    for (size_t i = 0; i < 8; i++) {
        say(&t, SIZE / 8);
        assert_int_equal(times_told(&t), 1);
        assert_int_equal(read_all(&t), SIZE / 8);
    }
    told_close(&t);
}

/* Who asks gets what there is. */
static void test_read_before(void **state)
{
    struct told t;

    (void)state;
    told_open(&t);
    assert_true(stream_expect(t.s, SIZE));
    say(&t, 100);
    assert_int_equal(times_told(&t), 0);
    stream_ask_again(t.s);
    assert_int_equal(read_all(&t), 100);
    told_close(&t);
}

/* What is there already when a driver asks for less is told of. */
static void test_less(void **state)
{
    struct told t;

    (void)state;
    told_open(&t);
    assert_true(stream_expect(t.s, SIZE));
    say(&t, 5000);
    assert_int_equal(times_told(&t), 0);
    assert_true(stream_expect(t.s, 5001));
    assert_int_equal(times_told(&t), 0);
    assert_true(stream_expect(t.s, 5000));
    assert_int_equal(times_told(&t), 1);
    told_close(&t);
}

/* Few bytes, and more than a kernel holds. */
static void test_bounds(void **state)
{
    struct told t;
    struct block *b = block_new();
    size_t all = 0;

    (void)state;
    told_open(&t);
    assert_false(stream_expect(t.s, 1000));
    say(&t, 1);
    assert_int_equal(times_told(&t), 1);
    assert_int_equal(read_all(&t), 1);
    assert_true(stream_expect(t.s, UINT64_MAX));
    for (size_t i = 0; i < 4; i++)
        say(&t, SIZE);
    while (all < 2 * SIZE) {
        uint32_t n = 0;

        TURN_UNTIL(t.l, times_told(&t) == 1);
        b->used = 0;
        assert_int_equal(stream_read(t.s, b, BLOCK_SIZE, &n), OK);
        all += n;
    }
    block_unref(b);
    told_close(&t);
}

/* The peer will not send the rest. */
static void test_end(void **state)
{
    const struct linger reset = {.l_onoff = 1};

    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        struct told t;

        told_open(&t);
        assert_true(stream_expect(t.s, SIZE));
        say(&t, 100);
        assert_int_equal(times_told(&t), 0);
        if (how == 0) {
            assert_int_equal(shutdown(t.peer, SHUT_WR), 0);
        } else {
            if (how == 2)
                assert_int_equal(setsockopt(t.peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset),
                                 0);
            (void)close(t.peer);
            t.peer = -1;
        }
        assert_int_equal(times_told(&t), 1);
        told_close(&t);
    }
}

/* Part of a record is in OpenSSL's hands, so that less than the rest of the text will come. */
static void test_part_of_a_record(void **state)
{
    struct test_cert ca = test_ca_new("Test CA");
    struct test_cert leaf =
        test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    struct tls_context *server = test_tls_server(&leaf, NULL, false);
    struct tls_context *client = test_tls_client(&ca, NULL);
    SSL *raw = tls_context_open(client, "localhost");
    BIO *wire = BIO_new(BIO_s_mem());
    struct told t;
    char *record;

    (void)state;
    told_open(&t);
    assert_int_equal(stream_start_tls(t.s, server, NULL), OK);
    SSL_set_fd(raw, t.peer);
    while (SSL_do_handshake(raw) != 1)
        (void)loop_turn(t.l, false);
    TURN_UNTIL(t.l, t.open);
    SSL_set0_wbio(raw, wire);
    assert_int_equal(SSL_write(raw, bytes, 8000), 8000);
    long n = BIO_get_mem_data(wire, &record);

    assert_true(n > 8000);
    assert_int_equal(send(t.peer, record, 5000, 0), 5000);
    assert_int_equal(times_told(&t), 1);
    assert_int_equal(read_all(&t), 0);
    assert_false(stream_expect(t.s, 8000));
    assert_int_equal(send(t.peer, record + 5000, (size_t)n - 5000, 0), n - 5000);
    assert_int_equal(times_told(&t), 1);
    assert_int_equal(read_all(&t), 8000);
    /* A whole record behind it is waited for. */
    assert_true(stream_expect(t.s, 8000));
    assert_int_equal(BIO_reset(wire), 1);
    assert_int_equal(SSL_write(raw, bytes, 8000), 8000);
    n = BIO_get_mem_data(wire, &record);
    assert_int_equal(send(t.peer, record, 5000, 0), 5000);
    assert_int_equal(times_told(&t), 0);
    assert_int_equal(send(t.peer, record + 5000, (size_t)n - 5000, 0), n - 5000);
    assert_int_equal(times_told(&t), 1);
    assert_int_equal(read_all(&t), 8000);
    SSL_free(raw);
    ERR_clear_error();
    told_close(&t);
    tls_context_unref(server);
    tls_context_unref(client);
    test_cert_free(&leaf);
    test_cert_free(&ca);
}

/* Behind a question the kernel would say it with the next one. */
static void test_acknowledge(void **state)
{
    unsigned held = 0;
    struct told t;
    char q;

    (void)state;
    told_open(&t);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(send(t.s->fd, "q", 1, 0), 1);
        assert_int_equal(recv(t.peer, &q, 1, 0), 1);
        say(&t, 100);
        assert_int_equal(times_told(&t), 1);
        assert_int_equal(read_all(&t), 100);
        held += test_unacknowledged(t.peer);
        stream_acknowledge(t.s);
        assert_int_equal(test_unacknowledged(t.peer), 0);
    }
    assert_true(held > 0);
    told_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_read_before),
        cmocka_unit_test(test_less),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_acknowledge),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_part_of_a_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
