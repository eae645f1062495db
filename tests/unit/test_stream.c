/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, clear and TLS: what goes in at one end comes out at the other, however it is cut. */
#include "test_net.h"

#include <errno.h>
#include <sys/mman.h>

#include <openssl/err.h>

#include "net/stream_int.h"
#include "test_certs.h"

static struct test_cert ca, leaf;
static struct tls_context *server_tls, *client_tls;

static int make_certs(void **state)
{
    (void)state;
    ca = test_ca_new("Test CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    server_tls = test_tls_server(&leaf, NULL, false);
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

/* One end: writes |out|, reads into a running checksum. */
struct end {
    struct stream *s;
    struct chain out;
    struct block *in;
    uint32_t read_max; /* bytes per stream_read */
    uint64_t got;
    uint64_t sum; /* position-dependent, so that order matters */
    bool reading, open, failed, shut_after;
    enum err read_end, write_end;
    unsigned calls;
};

static uint64_t mix(uint64_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ p[i]) * UINT64_C(1099511628211);
    return sum;
}

static void end_read(struct end *e)
{
    while (!e->read_end) {
        uint32_t n = 0;

        e->in->used = 0;
        enum err r = stream_read(e->s, e->in, e->read_max, &n);

        if (r == ERR_AGAIN)
            return;
        if (r) {
            e->read_end = r;
            return;
        }
        assert_true(n > 0 && n <= e->read_max);
        e->sum = mix(e->sum, e->in->data, n);
        e->got += n;
    }
}

static void end_write(struct end *e)
{
    uint64_t n, before = e->out.len;

    if (e->write_end)
        return;
    enum err r = stream_write(e->s, &e->out, &n);

    assert_true(n == before - e->out.len || e->out.memory_len > 0);
    if (r == OK) {
        assert_int_equal(e->out.len, 0);
        assert_false(stream_has_unsent(e->s));
        if (e->shut_after)
            stream_shutdown(e->s);
        e->shut_after = false;
    } else if (r != ERR_AGAIN) {
        e->write_end = r;
        chain_done(&e->out);
    }
}

static void end_pump(struct end *e)
{
    unsigned want = 0;

    if (e->reading)
        end_read(e);
    if (e->out.len || stream_has_unsent(e->s) || e->shut_after)
        end_write(e);
    if (e->reading && !e->read_end)
        want |= STREAM_READABLE;
    if ((e->out.len || stream_has_unsent(e->s)) && !e->write_end)
        want |= STREAM_WRITABLE;
    stream_arm(e->s, want);
}

static void on_end(void *arg, unsigned events)
{
    struct end *e = arg;

    e->calls++;
    if (events & STREAM_OPEN)
        e->open = true;
    if (events & STREAM_FAILED)
        e->failed = true;
    else
        end_pump(e);
}

static void end_init(struct end *e, struct loop *l, int fd)
{
    *e = (struct end){.read_max = BLOCK_SIZE, .reading = true, .in = block_new()};
    chain_init(&e->out, 0);
    assert_int_equal(stream_new(l, fd, NULL, on_end, e, &e->s), OK);
    stream_arm(e->s, STREAM_READABLE);
}

static void end_done(struct end *e)
{
    stream_close(e->s, 0);
    chain_done(&e->out);
    block_unref(e->in);
}

struct pair {
    struct loop *l;
    struct end a, b; /* a: client, b: server */
};

static void pair_open(struct pair *p, bool tls, bool tcp)
{
    int fds[2];

    p->l = test_loop(&clock_system);
    if (tcp)
        test_tcp_pair(fds);
    else
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    end_init(&p->a, p->l, fds[0]);
    end_init(&p->b, p->l, fds[1]);
    if (!tls)
        return;
    assert_int_equal(stream_start_tls(p->a.s, client_tls, "localhost"), OK);
    assert_int_equal(stream_start_tls(p->b.s, server_tls, NULL), OK);
    assert_false(p->a.open);
    TURN_UNTIL(p->l, p->a.open && p->b.open);
}

static void pair_close(struct pair *p)
{
    end_done(&p->a);
    end_done(&p->b);
    loop_free(p->l);
    block_pool_trim(0);
}

static void release_file(struct file_ref *f)
{
    (void)close(f->fd);
    free(f);
}

static struct file_ref *make_file(const uint8_t *p, size_t n)
{
    struct file_ref *f = calloc(1, sizeof *f);

    *f = (struct file_ref){
        .fd = memfd_create("test", MFD_CLOEXEC), .refs = 1, .release = release_file};
    assert_true(f->fd >= 0);
    for (size_t off = 0; off < n;) {
        ssize_t w = write(f->fd, p + off, n - off);

        assert_true(w > 0);
        off += (size_t)w;
    }
    return f;
}

/* |n| pseudo-random bytes into |c|, cut at random into slices, texts and file ranges. */
static uint64_t fill(struct chain *c, uint8_t *bytes, size_t n, bool files, unsigned seed)
{
    struct file_ref *f;
    uint64_t sum;

    srand(seed);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)rand();
    f = make_file(bytes, n);
    f->in_memory = seed % 2; /* of two ends one reads at once */
    sum = mix(0, bytes, n);
    for (size_t off = 0; off < n;) {
        size_t step = (size_t)rand() % (rand() % 4 ? 300 : 400000) + 1;
        struct span part = {(const char *)bytes + off, step < n - off ? step : n - off};
        int kind = rand() % 3;

        if (kind == 0)
            assert_int_equal(chain_append_text(c, part), OK);
        else if (kind == 1 && files)
            assert_int_equal(chain_append_file(c, f, off, part.n), OK);
        else
            assert_int_equal(chain_append_copy(c, part), OK);
        off += part.n;
    }
    file_unref(f);
    return sum;
}

struct echo_row {
    const char *name;
    bool tls, tcp, files;
    uint32_t read_max;
};

static void test_echo(void **state)
{
    const struct echo_row *row = *state;
    const size_t n = 3000000;
    uint8_t *one = malloc(n), *two = malloc(n);
    struct pair p;

    pair_open(&p, row->tls, row->tcp);
    p.a.read_max = p.b.read_max = row->read_max;
    uint64_t sum_a = fill(&p.a.out, one, n, row->files, 1);
    uint64_t sum_b = fill(&p.b.out, two, n, row->files, 2);

    p.a.shut_after = p.b.shut_after = true;
    end_pump(&p.a);
    end_pump(&p.b);
    TURN_UNTIL(p.l, p.a.read_end && p.b.read_end);
    assert_int_equal(p.a.read_end, ERR_EOF);
    assert_int_equal(p.b.read_end, ERR_EOF);
    assert_int_equal(p.a.got, n);
    assert_int_equal(p.b.got, n);
    assert_true(p.a.sum == sum_b && p.b.sum == sum_a);
    assert_string_equal(stream_error(p.a.s), "");
    pair_close(&p);
    free(one);
    free(two);
}

/* A peer that reads nothing does not stop what it sends, and the other way round. */
static void test_halves_are_independent(void **state)
{
    const struct echo_row *row = *state;
    const size_t n = 8000000;
    uint8_t *one = malloc(n), *two = malloc(n);
    struct pair p;

    pair_open(&p, row->tls, row->tcp);
    uint64_t sum_a = fill(&p.a.out, one, n, false, 3);
    uint64_t sum_b = fill(&p.b.out, two, n, false, 4);

    p.a.reading = false; /* sends everything before it reads anything */
    end_pump(&p.a);
    end_pump(&p.b);
    TURN_UNTIL(p.l, p.b.got == n);
    assert_true(p.b.sum == sum_a);
    assert_true(p.b.out.len > 0);
    assert_int_equal(p.a.out.len, 0);
    p.a.reading = true;
    end_pump(&p.a);
    TURN_UNTIL(p.l, p.a.got == n);
    assert_true(p.a.sum == sum_b);
    pair_close(&p);
    free(one);
    free(two);
}

static void test_small_answer_is_one_record(void **state)
{
    struct pair p;
    struct block *b = block_new();

    (void)state;
    pair_open(&p, true, true);
    TURN_UNTIL(p.l, loop_now_ms(p.l) > 0);
    test_settle(p.l); /* tickets */
    assert_int_equal(chain_append_copy(&p.b.out, SPAN("head")), OK);
    assert_int_equal(chain_append_text(&p.b.out, SPAN("body")), OK);
    assert_int_equal(chain_append_text(&p.b.out, SPAN("0\r\n\r\n")), OK);
    end_pump(&p.b);
    assert_int_equal(p.b.out.len, 0);
    TURN_UNTIL(p.l, p.a.got == 13);
    assert_memory_equal(p.a.in->data, "headbody0\r\n\r\n", 13);
    block_unref(b);
    pair_close(&p);
}

/* Bytes inside TLS that no poll would tell of: a driver that takes little at a time still gets all.
 */
static void test_pending_bytes_wake(void **state)
{
    struct pair p;
    uint8_t *bytes = malloc(100000);

    (void)state;
    pair_open(&p, true, true);
    p.a.reading = false;
    stream_arm(p.a.s, 0);
    (void)fill(&p.b.out, bytes, 100000, false, 5);
    end_pump(&p.b);
    test_settle(p.l);
    for (unsigned i = 0; p.a.got < 100000; i++) {
        uint32_t n = 0;

        assert_true(i < 1000000);
        p.a.calls = 0;
        stream_arm(p.a.s, STREAM_READABLE);
        TURN_UNTIL(p.l, p.a.calls > 0);
        p.a.in->used = 0;
        if (stream_read(p.a.s, p.a.in, 777, &n) == OK)
            p.a.got += n;
        stream_arm(p.a.s, 0);
    }
    pair_close(&p);
    free(bytes);
}

static void test_truncation(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, true, true);
    assert_int_equal(chain_append_text(&p.b.out, SPAN("half an ans")), OK);
    end_pump(&p.b);
    stream_close(p.b.s, 0); /* no close_notify */
    TURN_UNTIL(p.l, p.a.read_end);
    assert_int_equal(p.a.got, 11);
    assert_int_equal(p.a.read_end, ERR_TLS);
    assert_int_equal(stream_failure(p.a.s), ERR_TLS);
    assert_non_null(strstr(stream_error(p.a.s), "without a TLS close"));
    end_done(&p.a);
    chain_done(&p.b.out);
    block_unref(p.b.in);
    loop_free(p.l);
}

static void test_reset(void **state)
{
    const struct echo_row *row = *state;
    const struct linger hard = {1, 0};
    struct pair p;
    int fds[2];

    p.l = test_loop(&clock_system);
    test_tcp_pair(fds);
    end_init(&p.a, p.l, fds[0]);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    if (row->tls)
        assert_int_equal(stream_start_tls(p.a.s, client_tls, "localhost"), OK);
    (void)close(fds[1]);
    TURN_UNTIL(p.l, p.a.read_end || p.a.failed);
    assert_int_equal(stream_failure(p.a.s), ERR_RESET);
    assert_true(*stream_error(p.a.s) != '\0');
    end_done(&p.a);
    loop_free(p.l);
}

/* A driver may still hold what it was told of a reset when the peer's last word is read. */
static void test_held_error(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, false, true);
    stream_fail(p.a.s, ERR_RESET, "reset while it was written to");
    const char *held = stream_error(p.a.s);

    stream_fail(p.a.s, ERR_TLS, "it said why");
    assert_string_equal(stream_error(p.a.s), "it said why");
    stream_fail(p.a.s, ERR_TLS, "and more");
    stream_fail(p.a.s, ERR_RESET, "and went");
    assert_int_equal(stream_failure(p.a.s), ERR_TLS);
    assert_string_equal(stream_error(p.a.s), "it said why");
    assert_string_equal(held, "reset while it was written to");
    pair_close(&p);
}

static void test_wrong_name(void **state)
{
    struct pair p;
    int fds[2];
    sallyport_why why = {.size = sizeof why};

    (void)state;
    p.l = test_loop(&clock_system);
    test_tcp_pair(fds);
    end_init(&p.a, p.l, fds[0]);
    end_init(&p.b, p.l, fds[1]);
    assert_int_equal(stream_start_tls(p.a.s, client_tls, "other.example"), OK);
    assert_int_equal(stream_start_tls(p.b.s, server_tls, NULL), OK);
    TURN_UNTIL(p.l, p.a.failed && (p.b.failed || p.b.read_end));
    assert_int_equal(stream_failure(p.a.s), ERR_TLS);
    assert_non_null(strstr(stream_error(p.a.s), "for another name"));
    assert_int_equal(sallyport_report_why(stream_report(p.a.s), 0, &why), 0);
    assert_string_equal(why.code, "wrong-peer");
    assert_int_equal(sallyport_report_why(stream_report(p.b.s), 0, &why), 0);
    assert_string_equal(why.code, "peer-rejected-us");
    pair_close(&p);
}

/* The peer is raw OpenSSL, which can do what our streams never do. */
static void test_key_update_is_answered(void **state)
{
    struct pair p;
    int fds[2];
    SSL *raw;
    char got[8];

    (void)state;
    p.l = test_loop(&clock_system);
    test_tcp_pair(fds);
    end_init(&p.b, p.l, fds[1]);
    assert_int_equal(stream_start_tls(p.b.s, server_tls, NULL), OK);
    raw = tls_context_open(client_tls, "localhost");
    SSL_set_fd(raw, fds[0]);
    TURN_UNTIL(p.l, SSL_do_handshake(raw) == 1 && p.b.open);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(SSL_key_update(raw, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(raw, "ping", 4), 4);
        TURN_UNTIL(p.l, p.b.got == 4 * (i + 1));
        assert_int_equal(chain_append_text(&p.b.out, SPAN("pong")), OK);
        end_pump(&p.b);
        TURN_UNTIL(p.l, SSL_read(raw, got, sizeof got) == 4);
        assert_memory_equal(got, "pong", 4);
    }
    (void)SSL_shutdown(raw);
    TURN_UNTIL(p.l, p.b.read_end == ERR_EOF);
    SSL_free(raw);
    (void)close(fds[0]);
    ERR_clear_error();
    end_done(&p.b);
    loop_free(p.l);
}

static void count_key_updates(int write_p, int version, int content_type, const void *bytes,
                              size_t n, SSL *ssl, void *arg)
{
    unsigned *count = arg;

    (void)version;
    (void)ssl;
    if (!write_p && content_type == SSL3_RT_HANDSHAKE && n > 0 &&
        ((const uint8_t *)bytes)[0] == SSL3_MT_KEY_UPDATE)
        ++*count;
}

/* Each time both directions change their keys: the raw peer is asked for its own. */
static void test_rekey(void **state)
{
    struct pair p;
    int fds[2];
    unsigned updates = 0;
    SSL *raw;
    char got[8];

    (void)state;
    p.l = test_loop(&clock_system);
    test_tcp_pair(fds);
    end_init(&p.b, p.l, fds[1]);
    assert_int_equal(stream_rekey(p.b.s), ERR_MISSING); /* clear text */
    assert_int_equal(stream_start_tls(p.b.s, server_tls, NULL), OK);
    raw = tls_context_open(client_tls, "localhost");
    SSL_set_fd(raw, fds[0]);
    SSL_set_msg_callback(raw, count_key_updates);
    SSL_set_msg_callback_arg(raw, &updates);
    TURN_UNTIL(p.l, SSL_do_handshake(raw) == 1 && p.b.open);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(stream_rekey(p.b.s), OK);
        assert_int_equal(stream_issue_ticket(p.b.s, SPAN("still possible"), UINT32_MAX), OK);
        assert_int_equal(chain_append_text(&p.b.out, SPAN("pong")), OK);
        end_pump(&p.b);
        TURN_UNTIL(p.l, SSL_read(raw, got, sizeof got) == 4);
        assert_memory_equal(got, "pong", 4);
        assert_int_equal(updates, i + 1);
        assert_int_equal(SSL_write(raw, "ping", 4), 4);
        TURN_UNTIL(p.l, p.b.got == 4 * (i + 1));
    }
    SSL_free(raw);
    (void)close(fds[0]);
    ERR_clear_error();
    end_done(&p.b);
    loop_free(p.l);
}

/* TLS 1.2 would need a handshake for that, which we do not have. */
static void test_rekey_needs_1_3(void **state)
{
    struct pair p;
    int fds[2];
    SSL *raw;

    (void)state;
    p.l = test_loop(&clock_system);
    test_tcp_pair(fds);
    end_init(&p.b, p.l, fds[1]);
    assert_int_equal(stream_start_tls(p.b.s, server_tls, NULL), OK);
    raw = tls_context_open(client_tls, "localhost");
    SSL_set_max_proto_version(raw, TLS1_2_VERSION);
    SSL_set_fd(raw, fds[0]);
    TURN_UNTIL(p.l, SSL_do_handshake(raw) == 1 && p.b.open);
    assert_int_equal(stream_rekey(p.b.s), ERR_MISSING);
    SSL_free(raw);
    (void)close(fds[0]);
    ERR_clear_error();
    end_done(&p.b);
    loop_free(p.l);
}

static void test_start_tls_twice(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, true, false);
    assert_int_equal(stream_start_tls(p.a.s, client_tls, "localhost"), ERR_PROTO);
    assert_int_equal(stream_peek(p.a.s, &(char){0}, 1), 0);
    pair_close(&p);
}

/* The stream, or the chain, goes while the pool reads the file. */
static void test_gone_while_loading(void **state)
{
    static uint8_t bytes[300000];
    struct pair p;
    struct file_ref *f = make_file(bytes, sizeof bytes);
    uint64_t n;

    (void)state;
    pair_open(&p, false, false);
    assert_int_equal(chain_append_file(&p.a.out, f, 0, sizeof bytes), OK);
    assert_int_equal(stream_write(p.a.s, &p.a.out, &n), ERR_AGAIN);
    chain_done(&p.a.out);
    assert_int_equal(chain_append_text(&p.a.out, SPAN("other")), OK);
    assert_int_equal(chain_append_file(&p.a.out, f, 7, 10), OK);
    end_pump(&p.a);
    TURN_UNTIL(p.l, p.b.got == 15);
    assert_int_equal(chain_append_file(&p.b.out, f, 0, sizeof bytes), OK);
    assert_int_equal(stream_write(p.b.s, &p.b.out, &n), ERR_AGAIN);
    file_unref(f);
    pair_close(&p);
}

static void test_short_file(void **state)
{
    static uint8_t bytes[1000];
    struct pair p;
    struct file_ref *f = make_file(bytes, sizeof bytes);

    (void)state;
    pair_open(&p, false, false);
    assert_int_equal(chain_append_file(&p.a.out, f, 500, 1000), OK);
    end_pump(&p.a);
    TURN_UNTIL(p.l, p.a.write_end);
    assert_int_equal(p.a.write_end, ERR_IO);
    assert_int_equal(p.b.got, 500);
    file_unref(f);
    pair_close(&p);
}

/* What can be known of a stream for which there is no memory to read. */
static void test_look(void **state)
{
    (void)state;
    for (unsigned tls = 0; tls <= 1; tls++) {
        struct pair p;

        pair_open(&p, tls, true);
        p.b.reading = false;
        stream_arm(p.b.s, 0);
        test_settle(p.l);
        end_read(&p.b); /* what the handshake left behind */
        assert_int_equal(stream_look(p.b.s), ERR_AGAIN);
        assert_int_equal(chain_append_text(&p.a.out, SPAN("a question")), OK);
        end_pump(&p.a);
        test_settle(p.l);
        assert_int_equal(stream_look(p.b.s), OK);
        assert_int_equal(stream_look(p.b.s), OK);
        end_read(&p.b);
        assert_int_equal(p.b.got, 10);
        assert_int_equal(stream_look(p.b.s), ERR_AGAIN);
        assert_int_equal(chain_append_text(&p.a.out, SPAN("the last")), OK);
        p.a.shut_after = true;
        end_pump(&p.a);
        test_settle(p.l);
        assert_int_equal(stream_look(p.b.s), ERR_EOF); /* read or not */
        pair_close(&p);
    }
}

static void test_linger_drains(void **state)
{
    struct pair p;
    int fds[2];
    char got[64];
    static char junk[200000];

    (void)state;
    p.l = test_loop(&clock_system);
    test_tcp_pair(fds);
    end_init(&p.a, p.l, fds[0]);
    p.a.reading = false;
    stream_arm(p.a.s, 0);
    ssize_t sent = write(fds[1], junk, sizeof junk);

    assert_true(sent > 0);
    assert_int_equal(chain_append_text(&p.a.out, SPAN("answer")), OK);
    end_pump(&p.a);
    stream_close(p.a.s, 60000);
    /* Reading the answer and sending on both work: no reset. */
    for (unsigned i = 0; i < 10; i++) {
        test_settle(p.l);
        assert_true(write(fds[1], junk, 1000) == 1000);
    }
    assert_int_equal(read(fds[1], got, sizeof got), 6);
    assert_int_equal(read(fds[1], got, sizeof got), 0);
    (void)close(fds[1]);
    test_settle(p.l);
    chain_done(&p.a.out);
    block_unref(p.a.in);
    loop_free(p.l);
}

/* The peer has ended its half and reads slowly: what is unsent still arrives. */
static void test_linger_sends_the_rest(void **state)
{
    const size_t n = 12000000;
    uint8_t *bytes = malloc(n);
    struct pair p;

    (void)state;
    pair_open(&p, true, true);
    p.a.reading = false;
    stream_arm(p.a.s, 0);
    uint64_t sum = fill(&p.b.out, bytes, n, false, 6);

    end_pump(&p.b);
    stream_shutdown(p.a.s);
    TURN_UNTIL(p.l, p.b.read_end == ERR_EOF);
    test_settle(p.l);
    assert_true(stream_has_unsent(p.b.s));
    uint64_t sent = n - p.b.out.len;

    stream_close(p.b.s, 60000);
    p.a.reading = true;
    end_pump(&p.a);
    TURN_UNTIL(p.l, p.a.read_end);
    assert_int_equal(p.a.read_end, ERR_EOF);
    assert_int_equal(p.a.got, sent);
    assert_true(sent == n || p.a.sum != sum);
    end_done(&p.a);
    chain_done(&p.b.out);
    block_unref(p.b.in);
    loop_free(p.l);
    free(bytes);
}

static void test_linger_ends(void **state)
{
    struct test_clock clock;
    struct loop *l;
    struct stream *s;
    int fds[2];

    (void)state;
    test_clock_init(&clock, 1000);
    l = test_loop(&clock.clock);
    test_tcp_pair(fds);
    assert_int_equal(stream_new(l, fds[0], NULL, NULL, NULL, &s), OK);
    stream_close(s, 2000);
    test_settle(l);
    assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    clock.now_ms += 2100;
    test_settle(l);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    (void)close(fds[1]);
    loop_free(l);
}

/* What |fd| has sent by now arrives at one end of a loop: |n| bytes, and the end if |eof|. */
static void expect_all(int fd, int at, uint64_t n, bool eof)
{
    struct loop *l = test_loop(&clock_system);
    struct end e;

    end_init(&e, l, at);
    TURN_UNTIL(l, e.got == n && (e.read_end == ERR_EOF) == eof);
    end_done(&e);
    (void)close(fd);
    loop_free(l);
    block_pool_trim(0);
}

/* A FIN right behind the bytes is part of the same news, and no read that finds less than it could
 * take may hide it. */
static void test_end_behind_the_bytes(void **state)
{
    int fds[2];

    (void)state;
    test_tcp_pair(fds);
    assert_int_equal(send(fds[0], "last words", 10, 0), 10);
    assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
    expect_all(fds[0], fds[1], 10, true);
}

/* Urgent data ends a read early; what stands behind it came with the same news. */
static void test_urgent_bytes_hide_nothing(void **state)
{
    int fds[2];

    (void)state;
    test_tcp_pair(fds);
    assert_int_equal(send(fds[0], "before", 6, 0), 6);
    assert_int_equal(send(fds[0], "!", 1, MSG_OOB), 1);
    assert_int_equal(send(fds[0], "behind", 6, 0), 6);
    expect_all(fds[0], fds[1], 12, false);
}

static struct {
    struct stream *s;
    unsigned calls, got;
    bool reads;
} lazy;

/* One byte each time, as a driver does that lets others have their turn. */
static void on_lazy(void *arg, unsigned events)
{
    struct block *b = block_new();
    uint32_t n = 0;

    (void)arg;
    assert_non_null(b);
    assert_int_equal(events, STREAM_READABLE);
    lazy.calls++;
    if (lazy.reads && stream_read(lazy.s, b, 1, &n) == OK)
        lazy.got += n;
    block_unref(b);
    if (!lazy.reads)
        stream_arm(lazy.s, 0);
}

/* An edge comes once; a driver is told as long as there is something and it wants to hear of it. */
static void test_readable_is_told_while_it_is_true(void **state)
{
    struct loop *l = test_loop(&clock_system);
    int fds[2];

    (void)state;
    memset(&lazy, 0, sizeof lazy);
    test_tcp_pair(fds);
    assert_int_equal(stream_new(l, fds[0], NULL, on_lazy, NULL, &lazy.s), OK);
    stream_arm(lazy.s, STREAM_READABLE);
    assert_int_equal(send(fds[1], "abcde", 5, 0), 5);
    TURN_UNTIL(l, lazy.calls == 1);
    test_settle(l);
    assert_int_equal(lazy.calls, 1); /* it did not want to be told again */
    lazy.reads = true;
    stream_arm(lazy.s, STREAM_READABLE);
    TURN_UNTIL(l, lazy.got == 5);
    test_settle(l);
    unsigned calls = lazy.calls;

    test_settle(l);
    assert_int_equal(lazy.calls, calls); /* nothing is there: silence */
    assert_int_equal(send(fds[1], "f", 1, 0), 1);
    TURN_UNTIL(l, lazy.got == 6);
    stream_close(lazy.s, 0);
    (void)close(fds[1]);
    loop_free(l);
    block_pool_trim(0);
}

/* Closed while it waits to be told again, and for a turn of its handshake. */
static void test_gone_in_every_queue(void **state)
{
    enum { PAIRS = 1500 };
    static struct stream *s[2 * PAIRS];
    struct loop *l = test_loop(&clock_system);

    (void)state;
    for (unsigned i = 0; i < PAIRS; i++) {
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        for (unsigned k = 0; k < 2; k++)
            assert_int_equal(stream_new(l, fds[k], NULL, NULL, NULL, &s[2 * i + k]), OK);
        assert_int_equal(send(fds[1], "not a hello", 11, 0), 11);
    }
    test_settle(l);
    for (unsigned i = 0; i < PAIRS; i++) {
        stream_arm(s[2 * i], STREAM_READABLE); /* it is: queued to be told */
        assert_int_equal(stream_start_tls(s[2 * i], server_tls, NULL), OK);
        assert_int_equal(stream_start_tls(s[2 * i + 1], client_tls, "localhost"), OK);
    }
    for (unsigned i = 0; i < 2 * PAIRS; i++)
        stream_close(s[i], 0);
    loop_free(l); /* frees all of them, however many rounds that takes */
    block_pool_trim(0);
}

static void test_report(void **state)
{
    struct pair p;
    sallyport_how how = {.size = sizeof how};

    (void)state;
    pair_open(&p, true, true);
    assert_int_equal(sallyport_report_how(stream_report(p.a.s), &how), 0);
    assert_int_equal(how.level, SALLYPORT_STRONG);
    assert_int_equal(how.via, SALLYPORT_VIA_TLS);
    assert_string_equal(how.text, "TLSv1.3 TLS_AES_128_GCM_SHA256, peer CN=localhost");
    assert_string_equal(sallyport_peer_text(sallyport_report_peer(stream_report(p.a.s))),
                        "CN=localhost");
    assert_null(sallyport_report_peer(stream_report(p.b.s)));
    assert_true(stream_is_tls(p.a.s));
    pair_close(&p);
    pair_open(&p, false, true);
    assert_int_equal(sallyport_report_how(stream_report(p.a.s), &how), 0);
    assert_int_equal(how.level, SALLYPORT_NONE);
    assert_int_equal(how.via, SALLYPORT_VIA_CLEAR);
    assert_false(stream_is_tls(p.a.s));
    pair_close(&p);
}

/* TLS with |server|; |session|: what the client comes with. */
static void pair_open_with(struct pair *p, struct tls_context *server, SSL_SESSION *session)
{
    pair_open(p, false, true);
    assert_int_equal(stream_start_tls(p->a.s, client_tls, "localhost"), OK);
    if (session)
        assert_int_equal(SSL_set_session(p->a.s->ssl, session), 1);
    assert_int_equal(stream_start_tls(p->b.s, server, NULL), OK);
    TURN_UNTIL(p->l, p->a.open && (p->b.open || p->b.failed));
}

static struct tls_context *server_with(struct tls_settings s)
{
    struct tls_context *c = NULL;
    struct buf why;

    s.role = TLS_SERVER;
    s.certificate = span_of(leaf.cert_pem);
    s.key = span_of(leaf.key_pem);
    buf_init(&why, 0);
    assert_int_equal(tls_context_new(&s, &c, &why), OK);
    buf_done(&why);
    return c;
}

/* A ticket of the protocol's own goes out with the answer, and is known when it comes back. */
static void test_ticket(void **state)
{
    struct tls_context *server = server_with((struct tls_settings){.tickets_on_request = true});
    uint64_t soon = clock_wall_ms(&clock_system) / 1000 + 600;
    struct span got;
    struct pair p;

    (void)state;
    pair_open_with(&p, server, NULL);
    assert_false(stream_ticket_data(p.b.s, &got));
    assert_int_equal(stream_issue_ticket(p.a.s, SPAN("x"), soon), ERR_MISSING); /* a client */
    assert_int_equal(stream_issue_ticket(p.b.s, SPAN("tenant one"), soon), OK);
    assert_int_equal(chain_append_text(&p.b.out, SPAN("answer")), OK);
    end_pump(&p.b);
    TURN_UNTIL(p.l, p.a.got == 6);
    SSL_SESSION *session = SSL_get1_session(p.a.s->ssl);

    assert_int_equal(SSL_SESSION_is_resumable(session), 1);
    p.a.shut_after = true;
    end_pump(&p.a);
    TURN_UNTIL(p.l, p.b.read_end == ERR_EOF);
    pair_close(&p);

    pair_open_with(&p, server, session);
    assert_true(stream_ticket_data(p.b.s, &got));
    assert_true(span_eq(got, SPAN("tenant one")));
    assert_false(stream_ticket_data(p.a.s, &got));
    SSL_SESSION_free(session);

    /* And where nothing is written behind it, with the end. */
    assert_int_equal(stream_issue_ticket(p.b.s, SPAN("last"), soon), OK);
    stream_shutdown(p.b.s);
    TURN_UNTIL(p.l, p.a.read_end);
    assert_int_equal(p.a.read_end, ERR_EOF);
    session = SSL_get1_session(p.a.s->ssl);
    stream_shutdown(p.a.s); /* or OpenSSL gives the session up */
    pair_close(&p);

    pair_open_with(&p, server, session);
    assert_true(stream_ticket_data(p.b.s, &got));
    assert_true(span_eq(got, SPAN("last")));
    pair_close(&p);
    SSL_SESSION_free(session);

    pair_open(&p, false, true);
    assert_int_equal(stream_issue_ticket(p.b.s, SPAN("x"), soon), ERR_MISSING);
    assert_false(stream_ticket_data(p.b.s, &got));
    pair_close(&p);
    tls_context_unref(server);
}

/* In TLS 1.3 a client is through before the server has judged it: the report says so later. */
static void test_late_alert(void **state)
{
    struct tls_context *server =
        server_with((struct tls_settings){.trust = span_of(ca.cert_pem), .require_peer = true});
    sallyport_why why = {.size = sizeof why};
    sallyport_how how = {.size = sizeof how};
    struct pair p;

    (void)state;
    pair_open_with(&p, server, NULL);
    const sallyport_report *before = p.a.s->report;

    TURN_UNTIL(p.l, p.b.failed && p.a.read_end);
    assert_int_equal(p.a.read_end, ERR_TLS);
    assert_int_equal(sallyport_report_why(stream_report(p.b.s), 0, &why), 0);
    assert_string_equal(why.code, "we-rejected-peer");
    assert_int_equal(sallyport_report_why(stream_report(p.a.s), 0, &why), 0);
    assert_string_equal(why.code, "peer-rejected-us");
    assert_int_equal(why.err, ECONNREFUSED);
    assert_non_null(strstr(stream_error(p.a.s), "demands a client certificate"));
    /* It was as strong as it was, and with whom it was. */
    assert_int_equal(sallyport_report_how(stream_report(p.a.s), &how), 0);
    assert_int_equal(how.level, SALLYPORT_STRONG);
    assert_string_equal(sallyport_peer_text(sallyport_report_peer(stream_report(p.a.s))),
                        "CN=localhost");
    /* Who held the first one still may. */
    assert_int_equal(sallyport_report_why(before, 0, &why), -ENOENT);
    assert_string_equal(sallyport_peer_text(sallyport_report_peer(before)), "CN=localhost");
    pair_close(&p);
    tls_context_unref(server);
}

#define ROW(fn, label, ...)                                                          \
    {                                                                                \
        .name = #fn ": " label, .test_func = fn, .initial_state = &(struct echo_row) \
        {                                                                            \
            label, __VA_ARGS__                                                       \
        }                                                                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_echo, "clear, unix", false, false, false, BLOCK_SIZE),
        ROW(test_echo, "clear, tcp, files", false, true, true, BLOCK_SIZE),
        ROW(test_echo, "clear, tcp, files, small reads", false, true, true, 1000),
        ROW(test_echo, "tls, unix", true, false, false, BLOCK_SIZE),
        ROW(test_echo, "tls, tcp, files", true, true, true, BLOCK_SIZE),
        ROW(test_echo, "tls, tcp, files, small reads", true, true, true, 1000),
        ROW(test_halves_are_independent, "clear", false, true, false, 0),
        ROW(test_halves_are_independent, "tls", true, true, false, 0),
        ROW(test_reset, "clear", false, true, false, 0),
        ROW(test_reset, "tls", true, true, false, 0),
        cmocka_unit_test(test_small_answer_is_one_record),
        cmocka_unit_test(test_pending_bytes_wake),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_held_error),
        cmocka_unit_test(test_wrong_name),
        cmocka_unit_test(test_key_update_is_answered),
        cmocka_unit_test(test_rekey),
        cmocka_unit_test(test_rekey_needs_1_3),
        cmocka_unit_test(test_start_tls_twice),
        cmocka_unit_test(test_gone_while_loading),
        cmocka_unit_test(test_short_file),
        cmocka_unit_test(test_look),
        cmocka_unit_test(test_linger_drains),
        cmocka_unit_test(test_linger_sends_the_rest),
        cmocka_unit_test(test_linger_ends),
        cmocka_unit_test(test_end_behind_the_bytes),
        cmocka_unit_test(test_urgent_bytes_hide_nothing),
        cmocka_unit_test(test_readable_is_told_while_it_is_true),
        cmocka_unit_test(test_gone_in_every_queue),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_ticket),
        cmocka_unit_test(test_late_alert),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
