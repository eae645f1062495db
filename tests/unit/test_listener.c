/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners: from accept to an open stream, or to a refusal that says why. */
#include "test_listener_world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "net/stream_int.h"

static void test_clear(void **state)
{
    struct site site;
    char got[8];
    struct chain c;
    uint64_t n;
    int no_delay = 0;
    socklen_t len = sizeof no_delay;

    (void)state;
    site_open(&site, settings_new(NULL));
    int fd = test_connect(&site.at);

    TURN_UNTIL(site.l, book.n_open == 1);
    assert_int_equal(loop_group_connections(site.g, 0), 1);
    /* Of the listening socket. */
    assert_int_equal(getsockopt(book.open[0].stream->fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &len),
                     0);
    assert_true(no_delay);
    assert_int_equal(book.open[0].accepted_us, 5000000);
    assert_int_equal(listener_handshaking(site.li), 0);
    chain_init(&c, 0);
    assert_int_equal(chain_append_text(&c, SPAN("hello")), OK);
    assert_int_equal(stream_write(book.open[0].stream, &c, &n), OK);
    chain_done(&c);
    assert_int_equal(read(fd, got, sizeof got), 5);
    (void)close(fd);
    site_close(&site);
}

static void test_policy_on_clear(void **state)
{
    struct site site;
    struct listener_settings *s = settings_new(NULL);

    (void)state;
    s->policy.require = SALLYPORT_STRONG;
    site_open(&site, s);
    int fd = test_connect(&site.at);

    TURN_UNTIL(site.l, book.n_refused == 1);
    assert_int_equal(book.err, ERR_POLICY);
    assert_non_null(strstr(book.why, "strong protection is required"));
    assert_string_equal(book.peer, "127.0.0.1");
    assert_int_equal(loop_group_connections(site.g, 0), 0);
    (void)close(fd);
    site_close(&site);
}

/* Silent peers cost a timer: others are served meanwhile, and all go at the deadline. */
static void test_handshake_deadline(void **state)
{
    struct site site;
    int fds[30];
    char c;

    (void)state;
    site_open(&site, settings_new(server_tls));
    for (unsigned i = 0; i < 30; i++) {
        fds[i] = test_connect(&site.at);
        if (i % 2)
            say(fds[i], "\x16\x03\x01");
    }
    TURN_UNTIL(site.l, listener_handshaking(site.li) == 30);
    int fd = test_connect(&site.at);
    SSL *ssl = handshake(&site, fd, client_tls);

    TURN_UNTIL(site.l, book.n_open == 1);
    site.clock.now_ms += 9990;
    test_settle(site.l);
    assert_int_equal(book.n_refused, 0);
    site.clock.now_ms += 30;
    test_settle(site.l);
    assert_int_equal(book.n_refused, 30);
    assert_int_equal(book.err, ERR_TIMEOUT);
    assert_int_equal(loop_group_connections(site.g, 0), 1);
    for (unsigned i = 0; i < 30; i++) {
        assert_true(read(fds[i], &c, 1) <= 0 && errno != EAGAIN);
        (void)close(fds[i]);
    }
    SSL_free(ssl);
    (void)close(fd);
    site_close(&site);
}

/* PROXY headers. */

struct proxy_row {
    const char *name, *say;
    bool listed, tls, bytewise;
    enum err err; /* OK: opens */
    const char *peer;
    const char *rest; /* what the protocol then reads */
};

static const struct proxy_row proxy_rows[] = {
    {"v1",                "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\nGET", true,  false, false, OK,          "192.0.2.7",
     "GET"                                                                                                                          },
    {"v1, byte by byte",  "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\nGET", true,  false, true,  OK,
     "192.0.2.7",                                                                                                        "GET"      },
    {"unknown",           "PROXY UNKNOWN\r\nGET",                         true,  false, false, OK,          "127.0.0.1", "GET"      },
    {"missing",           "OPTIONS *",                                    true,  false, false, ERR_PROTO,   "127.0.0.1", NULL       },
    {"bad",               "PROXY TCP4 x\r\n",                             true,  false, true,  ERR_PROTO,   "127.0.0.1", NULL       },
    {"not listed",        "PROXY UNKNOWN",                                false, false, false, OK,          "127.0.0.1", "PROXY UNK"},
    {"not listed, TLS",   "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n",    false, true,  false,
     ERR_PLAINTEXT,                                                                                         "127.0.0.1", NULL       },
    {"clear behind, TLS", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\nGET", true,  true,  true,
     ERR_PLAINTEXT,                                                                                         "192.0.2.7", NULL       },
    {"timeout",           "PROXY TCP4 192.0.2.7 198",                     true,  false, false, ERR_TIMEOUT, "127.0.0.1", NULL       },
};

static void test_proxy(void **state)
{
    const struct proxy_row *row = *state;
    const struct cidr from = {.family = AF_INET, .bytes = {127}, .prefix = 8};
    struct listener_settings *s = settings_new(row->tls ? server_tls : NULL);
    struct site site;
    char text[ADDRESS_TEXT_MAX];

    s->proxy_from = &from;
    s->n_proxy_from = row->listed ? 1 : 0;
    site_open(&site, s);
    int fd = test_connect(&site.at);

    for (const char *p = row->say; row->bytewise && *p && !book.n_refused; p++) {
        (void)send(fd, p, 1, MSG_NOSIGNAL); /* it may have been refused by now */
        test_settle(site.l);
    }
    if (!row->bytewise)
        say(fd, row->say);
    test_settle(site.l);
    if (row->err == ERR_TIMEOUT)
        site.clock.now_ms += 10100;
    TURN_UNTIL(site.l, book.n_open + book.n_refused == 1);
    if (row->err) {
        assert_int_equal(book.err, row->err);
        assert_string_equal(book.peer, row->peer);
    } else {
        struct block *b = block_new();
        uint32_t n = 0;

        assert_string_equal(peer_text(book.open[0].stream, text), row->peer);
        assert_int_equal(stream_read(book.open[0].stream, b, (uint32_t)strlen(row->rest), &n), OK);
        assert_int_equal(n, strlen(row->rest));
        assert_memory_equal(b->data, row->rest, n);
        block_unref(b);
    }
    (void)close(fd);
    test_settle(site.l);
    site_close(&site);
}

/* Allow lists. */

struct allow_row {
    const char *name, *say;
    unsigned n; /* how many of {192.0.2.0/24, 127.0.0.0/8} are allowed */
    bool proxy; /* the client is a balancer */
    bool tls;
    enum err err;
    const char *peer;
};

static const struct allow_row allow_rows[] = {
    {"no list",                  "x",                                           0, false, false, OK,         NULL         },
    {"in the list",              "x",                                           2, false, false, OK,         NULL         },
    {"not in the list",          NULL,                                          1, false, false, ERR_POLICY, "127.0.0.1"  },
    {"not in the list, TLS",     NULL,                                          1, false, true,  ERR_POLICY, "127.0.0.1"  },
    {"behind a header",          "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\nx",  1, true,  false, OK,         NULL         },
    {"stranger behind a header", "PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n", 2, true,  false,
     ERR_POLICY,                                                                                             "203.0.113.7"},
    {"header that names nobody", "PROXY UNKNOWN\r\n",                           1, true,  false, ERR_POLICY, "127.0.0.1"  },
    {"nobody, and both allowed", "PROXY UNKNOWN\r\nx",                          2, true,  false, OK,         NULL         },
};

static void test_allow(void **state)
{
    const struct allow_row *row = *state;
    const struct cidr known[] = {
        {.family = AF_INET, .bytes = {192, 0, 2}, .prefix = 24},
        {.family = AF_INET, .bytes = {127},       .prefix = 8 },
    };
    struct listener_settings *s = settings_new(row->tls ? server_tls : NULL);
    struct site site;
    char c;

    s->allow = known;
    s->n_allow = row->n;
    s->proxy_from = &known[1];
    s->n_proxy_from = row->proxy ? 1 : 0;
    site_open(&site, s);
    int fd = test_connect(&site.at);

    if (row->say)
        say(fd, row->say);
    TURN_UNTIL(site.l, book.n_open + book.n_refused == 1);
    assert_int_equal(book.n_refused, row->err ? 1 : 0);
    if (row->err) {
        assert_int_equal(book.err, row->err);
        assert_string_equal(book.peer, row->peer);
        assert_non_null(strstr(book.why, "may not connect"));
        test_settle(site.l);
        errno = 0;
        assert_true(read(fd, &c, 1) <= 0 && errno != EAGAIN); /* cut off without a word */
        assert_int_equal(loop_group_connections(site.g, 0), 0);
    }
    (void)close(fd);
    test_settle(site.l);
    site_close(&site);
}

/* What takes long is not done for all who wait at once: events are looked at in between. */
static void test_accepting_takes_turns(void **state)
{
    const struct cidr elsewhere = {
        .family = AF_INET, .bytes = {192, 0, 2},
             .prefix = 24
    };
    struct listener_settings *s = settings_new(NULL);
    struct site site;
    int fd[5];

    (void)state;
    s->allow = &elsewhere;
    s->n_allow = 1;
    site_open(&site, s);
    book.slow = &site.clock;
    for (size_t i = 0; i < ARRAY_LEN(fd); i++)
        fd[i] = test_connect(&site.at);
    for (unsigned i = 0; i < 1000 && book.n_refused < ARRAY_LEN(fd); i++) {
        unsigned before = book.n_refused;

        (void)loop_turn(site.l, false);
        assert_in_range(book.n_refused, before, before + 1);
    }
    assert_int_equal(book.n_refused, ARRAY_LEN(fd));
    for (size_t i = 0; i < ARRAY_LEN(fd); i++)
        (void)close(fd[i]);
    test_settle(site.l);
    site_close(&site);
}

static void test_proxy_then_tls(void **state)
{
    const struct cidr from = {.family = AF_INET, .bytes = {127}, .prefix = 8};
    struct listener_settings *s = settings_new(server_tls);
    struct site site;
    char text[ADDRESS_TEXT_MAX];

    (void)state;
    s->proxy_from = &from;
    s->n_proxy_from = 1;
    site_open(&site, s);
    int fd = test_connect(&site.at);

    say(fd, "PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n");
    SSL *ssl = handshake(&site, fd, client_tls);

    TURN_UNTIL(site.l, book.n_open == 1);
    assert_string_equal(peer_text(book.open[0].stream, text), "2001:db8::7");
    SSL_free(ssl);
    (void)close(fd);
    site_close(&site);
}

/* Limits. */

static void test_connections_max(void **state)
{
    struct listener_settings *s = settings_new(NULL);
    struct site site;
    int fds[4];
    char c;

    (void)state;
    s->connections_max = 2;
    site_open(&site, s);
    for (unsigned i = 0; i < 3; i++)
        fds[i] = test_connect(&site.at);
    TURN_UNTIL(site.l, book.n_open == 2 && book.n_refused == 1);
    assert_int_equal(book.err, ERR_BUSY);
    end_all(site.g);
    test_settle(site.l);
    fds[3] = test_connect(&site.at);
    TURN_UNTIL(site.l, book.n_open == 3);
    assert_true(read(fds[2], &c, 1) <= 0);
    for (unsigned i = 0; i < 4; i++)
        (void)close(fds[i]);
    site_close(&site);
}

struct share_row {
    const char *name;
    unsigned max, greedy; /* sources that open all they can, in turn */
    unsigned expect;      /* that they get together */
};

/* What greedy sources leave is for others. */
static void shares(void **state)
{
    const struct share_row *row = *state;
    struct listener_count *count = calloc(1, sizeof *count);
    struct group_member member = {0};
    const char *why = "";
    unsigned refused = 0;

    for (unsigned i = 0; refused < row->greedy; i++) {
        if (group_may_open(count, row->max, i % row->greedy, &why) == OK) {
            group_count_up(&member, count, i % row->greedy);
            refused = 0;
        } else {
            refused++;
        }
    }
    assert_int_equal(count->open, row->expect);
    for (unsigned i = count->open; i < row->max; i++) { /* a balancer, or one that is new */
        assert_int_equal(group_may_open(count, row->max, i % 2 ? SOURCES : 900, &why), OK);
        group_count_up(&member, count, SOURCES);
    }
    assert_int_equal(group_may_open(count, row->max, 900, &why), ERR_BUSY);
    assert_string_equal(why, "the listener has as many connections as it may");
    free(count);
}

static void test_sources(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"192.0.2.1:1",     "192.0.2.1:2",          true },
        {"192.0.2.1:1",     "[::ffff:192.0.2.1]:2", true },
        {"192.0.2.1:1",     "192.0.2.2:1",          false},
        {"[2001:db8::1]:1", "[2001:db8::2:0:1]:1",  true }, /* of one network */
        {"[2001:db8::1]:1", "[2001:db8:0:1::1]:1",  false},
        {"unix:/run/a",     "unix:/run/b",          true }, /* not counted */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address a, b;

        assert_int_equal(address_parse(span_of(rows[i].a), &a), OK);
        assert_int_equal(address_parse(span_of(rows[i].b), &b), OK);
        assert_int_equal(group_source_of(&a) == group_source_of(&b), rows[i].same);
    }
}

static unsigned highest_fd(void)
{
    int fd = dup(0);

    assert_true(fd >= 0);
    (void)close(fd);
    return (unsigned)fd;
}

static void test_no_descriptors(void **state)
{
    struct site site;
    struct rlimit old, tight;
    int fds[3];

    (void)state;
    site_open(&site, settings_new(NULL));
    for (unsigned i = 0; i < 3; i++)
        fds[i] = test_connect(&site.at);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    tight = old;
    tight.rlim_cur = highest_fd();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    test_settle(site.l);
    assert_int_equal(book.n_open, 0);
    /* It looks away: nothing is ready now, so a turn without waiting does nothing. */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    test_settle(site.l);
    assert_int_equal(book.n_open, 0);
    site.clock.now_ms += 150;
    TURN_UNTIL(site.l, book.n_open == 3);
    for (unsigned i = 0; i < 3; i++)
        (void)close(fds[i]);
    site_close(&site);
}

static void test_stop_drains(void **state)
{
    struct site site;
    int fds[5];

    (void)state;
    site_open(&site, settings_new(NULL));
    for (unsigned i = 0; i < 5; i++)
        fds[i] = test_connect(&site.at);
    listener_stop(site.li);
    assert_int_equal(book.n_open, 5);
    listener_stop(site.li);
    for (unsigned i = 0; i < 5; i++)
        (void)close(fds[i]);
    site_close(&site);
}

static void test_free_drops_handshakes(void **state)
{
    struct site site;

    (void)state;
    site_open(&site, settings_new(server_tls));
    int fd = test_connect(&site.at);

    TURN_UNTIL(site.l, listener_handshaking(site.li) == 1);
    site_close(&site);
    assert_int_equal(book.n_refused, 0);
    (void)close(fd);
}

static void test_new_settings(void **state)
{
    struct site site;
    struct listener_settings *old = settings_new(NULL);
    int a, b;

    (void)state;
    site_open(&site, old);
    a = test_connect(&site.at);
    TURN_UNTIL(site.l, book.n_open == 1);
    site.settings = settings_new(NULL);
    site.settings->policy.require = SALLYPORT_WEAK;
    listener_set_settings(site.li, site.settings);
    listener_settings_unref(old);
    assert_int_equal(destroyed, 0); /* its connection keeps it */
    b = test_connect(&site.at);
    TURN_UNTIL(site.l, book.n_refused == 1);
    end_all(site.g);
    assert_int_equal(destroyed, 1);
    destroyed = 0;
    (void)close(a);
    (void)close(b);
    site_close(&site);
}

/* Hand-over, first with both loops in the test's hand. */
static void test_hand_over(void **state)
{
    struct site site;
    struct loop *loops[2];
    struct listener *second;
    struct address any = test_loopback(0);
    int fds[CLIENTS_MAX], second_fd, errnum;
    unsigned n[2];

    (void)state;
    site_open(&site, settings_new(NULL));
    listener_free(site.li);
    loop_group_free(site.g);
    loops[0] = site.l;
    assert_int_equal(loop_new(1, &site.clock.clock, &loops[1]), OK);
    assert_int_equal(loop_group_new(loops, 2, &site.g), OK);
    assert_int_equal(listener_socket(&any, 128, &second_fd, &errnum), OK);
    assert_int_equal(listener_new(site.l, site.g, site.fd, site.settings, &events, &book, &site.li),
                     OK);
    assert_int_equal(
        listener_new(loops[1], site.g, second_fd, site.settings, &events, &book, &second), OK);
    for (unsigned i = 0; i < 40; i++) {
        fds[i] = test_connect(&site.at); /* all to the first */
        for (unsigned turns = 0; book.n_open <= i; turns++) {
            assert_true(turns < TURNS_MAX);
            (void)loop_turn(loops[0], false);
            (void)loop_turn(loops[1], false);
        }
    }
    n[0] = loop_group_connections(site.g, 0);
    n[1] = loop_group_connections(site.g, 1);
    assert_int_equal(n[0] + n[1], 40);
    assert_true(n[1] >= 14 && n[0] <= n[1] + n[1] / 4 + 6);
    /* On its way when its listener goes: closed, and not counted. */
    for (unsigned i = 40; i < 60; i++)
        fds[i] = test_connect(&site.at);
    listener_stop(site.li);
    listener_free(second);
    end_all(site.g);
    loop_free(loops[1]);
    assert_int_equal(loop_group_connections(site.g, 1), 0);
    for (unsigned i = 0; i < 60; i++)
        (void)close(fds[i]);
    (void)close(second_fd);
    site_close(&site);
}

/* And with threads, for TSan: each end of a connection is closed where it lives. */

static struct loop_group *shared_group;
static _Atomic unsigned ended[2];
static struct loop *thread_loops[2];

struct guest {
    struct stream *stream;
    struct accepted a;
};

static void on_guest(void *arg, unsigned ev)
{
    struct guest *guest = arg;
    struct loop *l = stream_loop(guest->stream);

    (void)ev;
    stream_close(guest->stream, 0);
    listener_connection_ended(shared_group, l, guest->a.settings, guest->a.source);
    listener_settings_unref(guest->a.settings);
    free(guest);
    atomic_fetch_add(&ended[loop_index(l)], 1);
}

static void on_threaded_open(void *arg, struct loop *l, const struct accepted *a)
{
    struct guest *guest = calloc(1, sizeof *guest);

    (void)arg;
    (void)l;
    *guest = (struct guest){a->stream, *a};
    stream_set_callback(a->stream, on_guest, guest);
    stream_arm(a->stream, STREAM_READABLE); /* until the client leaves */
}

static void on_threaded_refused(void *arg, struct loop *l, const struct listener_settings *s,
                                const struct address *peer, enum err e, const char *why,
                                const sallyport_report *report)
{
    (void)arg;
    (void)l;
    (void)s;
    (void)peer;
    (void)report;
    fail_msg("refused: %u %s", (unsigned)e, why);
}

static const struct listener_events threaded_events = {on_threaded_open, on_threaded_refused};

static void *run_thread(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void test_threads(void **state)
{
    struct listener_settings *s = settings_new(NULL);
    struct listener *li[2];
    struct address at = test_loopback(0);
    pthread_t threads[2];
    int listening[2], fds[50], errnum;

    (void)state;
    destroyed = 0;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(loop_new(i, &clock_system, &thread_loops[i]), OK);
        atomic_store(&ended[i], 0);
    }
    assert_int_equal(loop_group_new(thread_loops, 2, &shared_group), OK);
    for (unsigned i = 0; i < 2; i++) {
        /* Two ports, so that all knock at the first. */
        at = i ? test_loopback(0) : at;
        assert_int_equal(listener_socket(&at, 128, &listening[i], &errnum), OK);
        assert_int_equal(listener_new(thread_loops[i], shared_group, listening[i], s,
                                      &threaded_events, NULL, &li[i]),
                         OK);
        assert_int_equal(pthread_create(&threads[i], NULL, run_thread, thread_loops[i]), 0);
    }
    at = test_local_address(listening[0]);
    for (unsigned round = 0; round < 20; round++) {
        unsigned target = (round + 1) * 50;

        for (unsigned i = 0; i < 50; i++)
            fds[i] = test_connect(&at);
        for (unsigned i = 0; i < 50; i++)
            (void)close(fds[i]);
        while (atomic_load(&ended[0]) + atomic_load(&ended[1]) < target)
            (void)sched_yield();
    }
    for (unsigned i = 0; i < 2; i++) {
        loop_stop(thread_loops[i]);
        (void)pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < 2; i++) {
        listener_free(li[i]);
        (void)close(listening[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(loop_group_connections(shared_group, i), 0);
        loop_free(thread_loops[i]);
    }
    loop_group_free(shared_group);
    listener_settings_unref(s);
    assert_int_equal(destroyed, 1);
}

static void test_socket(void **state)
{
    struct address a, any = test_loopback(0);
    int one, two, errnum = 0;

    (void)state;
    assert_int_equal(listener_socket(&any, 16, &one, &errnum), OK);
    a = test_local_address(one);
    assert_int_equal(listener_socket(&a, 16, &two, &errnum), OK); /* SO_REUSEPORT */
    (void)close(two);
    (void)close(one);
    assert_int_equal(address_parse(SPAN("192.0.2.1:1"), &a), OK); /* not ours */
    assert_int_equal(listener_socket(&a, 16, &one, &errnum), ERR_IO);
    assert_int_equal(errnum, EADDRNOTAVAIL);
    assert_int_equal(address_parse(SPAN("*:0"), &a), OK);
    assert_int_equal(listener_socket(&a, 16, &one, &errnum), OK);
    a = test_local_address(one);
    a = test_loopback((uint16_t)address_port(&a));
    (void)close(test_connect(&a)); /* takes IPv4, too */
    (void)close(one);
}

#define ALLOW(i)                                             \
    {                                                        \
        .name = allow_rows[i].name, .test_func = test_allow, \
        .initial_state = (void *)(uintptr_t)&allow_rows[i]   \
    }
#define PROXY(i)                                           \
    {                                                      \
        .name = "test_proxy " #i, .test_func = test_proxy, \
        .initial_state = (void *)(uintptr_t)&proxy_rows[i] \
    }

#define SHARE(label, ...)                                                                   \
    {                                                                                       \
        .name = "shares: " label, .test_func = shares, .initial_state = &(struct share_row) \
        {                                                                                   \
            label, __VA_ARGS__                                                              \
        }                                                                                   \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_policy_on_clear),
        cmocka_unit_test(test_handshake_deadline),
        PROXY(0),
        PROXY(1),
        PROXY(2),
        PROXY(3),
        PROXY(4),
        PROXY(5),
        PROXY(6),
        PROXY(7),
        PROXY(8),
        ALLOW(0),
        ALLOW(1),
        ALLOW(2),
        ALLOW(3),
        ALLOW(4),
        ALLOW(5),
        ALLOW(6),
        ALLOW(7),
        cmocka_unit_test(test_proxy_then_tls),
        cmocka_unit_test(test_accepting_takes_turns),
        cmocka_unit_test(test_connections_max),
        cmocka_unit_test(test_sources),
        SHARE("one greedy client leaves an eighth", 800, 1, 700),
        SHARE("two leave a fifteenth", 1500, 2, 1400),
        SHARE("the smallest listener that is shared", 64, 1, 56),
        SHARE("a small listener is whoever's comes", 63, 1, 63),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_stop_drains),
        cmocka_unit_test(test_free_drops_handshakes),
        cmocka_unit_test(test_new_settings),
        cmocka_unit_test(test_hand_over),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_socket),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
