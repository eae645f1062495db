/* SPDX-License-Identifier: Apache-2.0 */
/* Upstream pools: reuse, limits, what a server must prove, and what happens when it goes away. */
#include "test_net.h"

#include <openssl/err.h>

#include "net/listener.h"
#include "net/upstream.h"
#include "test_certs.h"

#define SERVED_MAX 32

static struct test_cert ca, leaf, ip_leaf, expired;
static struct tls_context *server_tls, *ip_server_tls, *client_tls;

static int make_certs(void **state)
{
    (void)state;
    ca = test_ca_new("Test CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    ip_leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "x", .san = "IP:127.0.0.1"});
    expired = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost",
                                                         .san = "DNS:localhost",
                                                         .from = -2 * TEST_DAY,
                                                         .until = -TEST_DAY});
    server_tls = test_tls_server(&leaf, NULL, false);
    ip_server_tls = test_tls_server(&ip_leaf, NULL, false);
    client_tls = test_tls_client(&ca, NULL);
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    tls_context_unref(server_tls);
    tls_context_unref(ip_server_tls);
    tls_context_unref(client_tls);
    test_cert_free(&leaf);
    test_cert_free(&ip_leaf);
    test_cert_free(&expired);
    test_cert_free(&ca);
    return 0;
}

/* A server that accepts and keeps quiet, and a pool that talks to it, on one loop. */
struct scene {
    struct test_clock clock;
    struct loop *l;
    struct loop_group *g;
    struct listener *li;
    struct listener_settings server;
    struct accepted served[SERVED_MAX];
    unsigned n_served, n_refused;
    int fd;
    unsigned port;
    struct upstream *pool;
};

static void on_open(void *arg, struct loop *l, const struct accepted *a)
{
    struct scene *sc = arg;

    (void)l;
    assert_true(sc->n_served < SERVED_MAX);
    sc->served[sc->n_served++] = *a;
    stream_arm(a->stream, 0);
}

static void on_refused(void *arg, struct loop *l, const struct listener_settings *s,
                       const struct address *peer, enum err e, const char *why,
                       const sallyport_report *report)
{
    (void)l;
    (void)s;
    (void)peer;
    (void)e;
    (void)why;
    (void)report;
    ((struct scene *)arg)->n_refused++;
}

static const struct listener_events events = {on_open, on_refused};

static void scene_open(struct scene *sc, struct tls_context *server, struct upstream_settings s)
{
    struct address any = test_loopback(0), at;
    int errnum;

    *sc = (struct scene){
        .server = {.refs = 1, .name = "s", .tls = server, .handshake_ms = 60000}
    };
    test_clock_init(&sc->clock, 1000);
    sc->l = test_loop(&sc->clock.clock);
    assert_int_equal(loop_group_new(&sc->l, 1, &sc->g), OK);
    assert_int_equal(listener_socket(&any, 64, &sc->fd, &errnum), OK);
    assert_int_equal(listener_new(sc->l, sc->g, sc->fd, &sc->server, &events, sc, &sc->li), OK);
    at = test_local_address(sc->fd);
    sc->port = address_port(&at);
    s.port = sc->port;
    if (!s.host)
        s.host = "127.0.0.1";
    assert_int_equal(upstream_new(sc->l, &s, &sc->pool), OK);
}

static void drop_served(struct scene *sc, unsigned i)
{
    if (!sc->served[i].stream)
        return;
    stream_close(sc->served[i].stream, 0);
    sc->served[i].stream = NULL;
    listener_connection_ended(sc->g, sc->l, &sc->server, (unsigned)-1);
    listener_settings_unref(&sc->server);
}

static void scene_close(struct scene *sc)
{
    upstream_free(sc->pool);
    for (unsigned i = 0; i < sc->n_served; i++)
        drop_served(sc, i);
    listener_free(sc->li);
    loop_free(sc->l);
    loop_group_free(sc->g);
    (void)close(sc->fd);
    assert_int_equal(sc->server.refs, 1);
}

/* One request. */
struct ask {
    struct upstream_ticket *ticket;
    struct stream *stream;
    bool called, reused;
    enum err err;
    char why[256];
    unsigned order;
    struct upstream *pool;
    bool was_refused, by_policy; /* there was a connection, and what a policy said of it */
    char code[32];               /* the first reason against it */
};

static unsigned order;

static void note_refusal(struct ask *a)
{
    const struct upstream_refusal *r = upstream_refused(a->pool);
    sallyport_why why = {.size = sizeof why};

    a->was_refused = r != NULL;
    if (!r)
        return;
    a->by_policy = r->by_policy;
    if (r->by_policy)
        why = r->why;
    else
        assert_int_equal(sallyport_report_why(r->report, 0, &why), 0);
    (void)snprintf(a->code, sizeof a->code, "%s", why.code);
}

static void on_got(void *arg, struct stream *s, bool reused, enum err e, const char *why)
{
    struct ask *a = arg;

    assert_false(a->called);
    a->called = true;
    a->stream = s;
    a->reused = reused;
    a->err = e;
    a->order = ++order;
    (void)snprintf(a->why, sizeof a->why, "%s", why);
    note_refusal(a);
}

static void ask(struct scene *sc, struct ask *a, bool fresh)
{
    *a = (struct ask){.pool = sc->pool};
    assert_int_equal(upstream_get(sc->pool, fresh, on_got, a, &a->ticket), OK);
    assert_false(a->called); /* never inside the call */
}

static void ask_and_get(struct scene *sc, struct ask *a, bool fresh)
{
    ask(sc, a, fresh);
    TURN_UNTIL(sc->l, a->called);
    assert_int_equal(a->err, OK);
    assert_non_null(a->stream);
}

static void test_reuse_is_last_in_first_out(void **state)
{
    struct scene sc;
    struct ask a, b, c;

    (void)state;
    scene_open(&sc, NULL, (struct upstream_settings){.idle_max = 4});
    ask_and_get(&sc, &a, false);
    ask_and_get(&sc, &b, false);
    assert_false(a.reused || b.reused);
    assert_ptr_not_equal(a.stream, b.stream);
    upstream_put(sc.pool, a.stream, true);
    upstream_put(sc.pool, b.stream, true);
    ask_and_get(&sc, &c, false);
    assert_true(c.reused);
    assert_ptr_equal(c.stream, b.stream);
    upstream_put(sc.pool, c.stream, true);
    ask_and_get(&sc, &c, true);
    assert_false(c.reused); /* asked for a fresh one */
    upstream_put(sc.pool, c.stream, false);
    TURN_UNTIL(sc.l, sc.n_served == 3);
    scene_close(&sc);
}

static void test_idle_ends(void **state)
{
    struct scene sc;
    struct ask a;

    (void)state;
    scene_open(&sc, NULL, (struct upstream_settings){.idle_ms = 5000});
    ask_and_get(&sc, &a, false);
    upstream_put(sc.pool, a.stream, true);
    sc.clock.now_ms += 5100;
    test_settle(sc.l);
    ask_and_get(&sc, &a, false);
    assert_false(a.reused);
    upstream_put(sc.pool, a.stream, true);
    scene_close(&sc);
}

static void test_dead_idle_connection(void **state)
{
    struct scene sc;
    struct ask a;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bool tls = i & 1, at_once = i & 2;

        scene_open(
            &sc, tls ? server_tls : NULL,
            (struct upstream_settings){.tls = tls ? client_tls : NULL, .tls_name = "localhost"});
        ask_and_get(&sc, &a, false);
        upstream_put(sc.pool, a.stream, true);
        TURN_UNTIL(sc.l, sc.n_served == 1);
        test_settle(sc.l); /* a ticket is not death */
        ask_and_get(&sc, &a, false);
        assert_true(a.reused);
        upstream_put(sc.pool, a.stream, true);
        drop_served(&sc, 0);
        if (!at_once)
            test_settle(sc.l); /* seen while idle; otherwise when taken */
        ask_and_get(&sc, &a, false);
        assert_false(a.reused);
        upstream_put(sc.pool, a.stream, true);
        scene_close(&sc);
    }
}

static void test_unasked_bytes_end_it(void **state)
{
    struct scene sc;
    struct ask a;
    struct chain c;
    uint64_t n;

    (void)state;
    scene_open(&sc, NULL, (struct upstream_settings){.idle_max = 0});
    ask_and_get(&sc, &a, false);
    TURN_UNTIL(sc.l, sc.n_served == 1);
    upstream_put(sc.pool, a.stream, true);
    chain_init(&c, 0);
    assert_int_equal(chain_append_text(&c, SPAN("HTTP/1.1 408 Request Timeout\r\n\r\n")), OK);
    assert_int_equal(stream_write(sc.served[0].stream, &c, &n), OK);
    chain_done(&c);
    ask_and_get(&sc, &a, false);
    assert_false(a.reused);
    upstream_put(sc.pool, a.stream, false);
    scene_close(&sc);
}

static void test_connections_max(void **state)
{
    struct scene sc;
    struct ask a[5];

    (void)state;
    scene_open(&sc, NULL, (struct upstream_settings){.connections_max = 2});
    order = 0;
    for (unsigned i = 0; i < 5; i++)
        ask(&sc, &a[i], i == 3);
    TURN_UNTIL(sc.l, a[0].called && a[1].called);
    test_settle(sc.l);
    assert_false(a[2].called || a[3].called || a[4].called);
    upstream_put(sc.pool, a[0].stream, true);
    TURN_UNTIL(sc.l, a[2].called);
    assert_true(a[2].reused);
    test_settle(sc.l);
    assert_false(a[3].called);
    upstream_put(sc.pool, a[2].stream, true); /* the next wants a fresh one: this makes room */
    TURN_UNTIL(sc.l, a[3].called);
    assert_false(a[3].reused);
    upstream_put(sc.pool, a[1].stream, false);
    TURN_UNTIL(sc.l, a[4].called);
    assert_true(a[2].order < a[3].order && a[3].order < a[4].order);
    upstream_put(sc.pool, a[3].stream, true);
    upstream_put(sc.pool, a[4].stream, true);
    scene_close(&sc);
}

static void test_cancel(void **state)
{
    struct scene sc;
    struct ask a, b, c;

    (void)state;
    scene_open(&sc, NULL, (struct upstream_settings){.connections_max = 1});
    ask(&sc, &a, false); /* being made */
    ask(&sc, &b, false); /* waiting */
    ask(&sc, &c, false);
    upstream_cancel(b.ticket);
    upstream_cancel(a.ticket);
    TURN_UNTIL(sc.l, c.called);
    assert_int_equal(c.err, OK);
    upstream_put(sc.pool, c.stream, true);
    ask(&sc, &a, false); /* ready, not delivered yet */
    upstream_cancel(a.ticket);
    ask_and_get(&sc, &b, false);
    assert_true(b.reused);
    assert_false(a.called);
    upstream_put(sc.pool, b.stream, true);
    scene_close(&sc);
}

static void test_free_with_everything_open(void **state)
{
    struct scene sc;
    struct ask a[3];

    (void)state;
    scene_open(&sc, NULL, (struct upstream_settings){.connections_max = 2});
    ask_and_get(&sc, &a[0], false);
    ask(&sc, &a[1], false);
    ask(&sc, &a[2], false);
    upstream_free(sc.pool);
    TURN_UNTIL(sc.l, a[1].called && a[2].called);
    assert_int_equal(a[1].err, ERR_DRAINING);
    assert_int_equal(a[2].err, ERR_DRAINING);
    upstream_put(sc.pool, a[0].stream, true); /* the last one frees it */
    sc.pool = NULL;
    scene_close(&sc);
}

static void test_nobody_there(void **state)
{
    struct scene sc;
    struct ask a;

    (void)state;
    scene_open(&sc, NULL, (struct upstream_settings){.connections_max = 1});
    listener_free(sc.li);
    sc.li = NULL;
    (void)close(sc.fd);
    ask(&sc, &a, false);
    TURN_UNTIL(sc.l, a.called);
    assert_int_equal(a.err, ERR_UPSTREAM);
    assert_non_null(strstr(a.why, "Connection refused"));
    assert_non_null(strstr(a.why, "127.0.0.1"));
    ask(&sc, &a, false); /* the place is free again */
    TURN_UNTIL(sc.l, a.called);
    scene_close(&sc);
}

static void test_names(void **state)
{
    struct scene sc;
    struct ask a;

    (void)state;
    scene_open(&sc, NULL, (struct upstream_settings){.host = "localhost"});
    ask_and_get(&sc, &a, false); /* ::1 is refused first, where it is known */
    upstream_put(sc.pool, a.stream, true);
    scene_close(&sc);

    scene_open(&sc, NULL, (struct upstream_settings){.host = "does-not-exist.invalid"});
    ask(&sc, &a, false);
    TURN_UNTIL(sc.l, a.called);
    assert_int_equal(a.err, ERR_UPSTREAM);
    assert_non_null(strstr(a.why, "cannot find does-not-exist.invalid"));
    ask(&sc, &a, false);
    upstream_cancel(a.ticket); /* the look-up ends by itself */
    ask(&sc, &a, false);
    test_settle(sc.l);
    scene_close(&sc);
}

/* A server that accepts and never answers the handshake. */
static void test_deadline(void **state)
{
    struct scene sc;
    struct ask a;

    (void)state;
    scene_open(
        &sc, NULL,
        (struct upstream_settings){.tls = client_tls, .tls_name = "localhost", .connect_ms = 3000});
    ask(&sc, &a, false);
    TURN_UNTIL(sc.l, sc.n_served == 1);
    sc.clock.now_ms += 2900;
    test_settle(sc.l);
    assert_false(a.called);
    sc.clock.now_ms += 200;
    test_settle(sc.l);
    assert_true(a.called);
    assert_int_equal(a.err, ERR_TIMEOUT);
    scene_close(&sc);
}

struct tls_row {
    const char *name;
    const char *tls_name; /* NULL: the literal host */
    bool ip_cert, expired, peer;
    sallyport_level require;
    enum err err;
    const char *why;
};

static void test_tls(void **state)
{
    const struct tls_row *row = *state;
    struct tls_context *server = row->ip_cert ? ip_server_tls : server_tls;
    struct scene sc;
    struct ask a;

    if (row->expired) { /* such a thing cannot be loaded the regular way */
        server = test_tls_server(&leaf, NULL, false);
        assert_int_equal(SSL_CTX_use_certificate(tls_context_ssl(server), expired.x509), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(tls_context_ssl(server), expired.key), 1);
    }
    scene_open(&sc, server,
               (struct upstream_settings){
                   .tls = client_tls,
                   .tls_name = row->tls_name,
                   .policy = {.require = row->require, .peer = row->peer}
    });
    ask(&sc, &a, false);
    TURN_UNTIL(sc.l, a.called);
    assert_int_equal(a.err, row->err);
    if (row->err) {
        if (!strstr(a.why, row->why))
            fail_msg("%s", a.why);
        assert_true(a.was_refused && !a.by_policy);
        assert_string_equal(a.code, row->expired ? "we-rejected-peer" : "wrong-peer");
        TURN_UNTIL(sc.l, sc.n_refused + sc.n_served > 0);
    } else {
        upstream_put(sc.pool, a.stream, true);
    }
    scene_close(&sc);
    if (row->expired)
        tls_context_unref(server);
    ERR_clear_error();
}

static void test_policy_on_clear(void **state)
{
    struct scene sc;
    struct ask a;

    (void)state;
    scene_open(&sc, NULL, (struct upstream_settings){.policy = {.require = SALLYPORT_WEAK}});
    ask(&sc, &a, false);
    TURN_UNTIL(sc.l, a.called);
    assert_int_equal(a.err, ERR_POLICY);
    assert_true(a.was_refused && a.by_policy);
    assert_string_equal(a.code, "level-too-low");
    assert_null(upstream_refused(sc.pool)); /* only while it is told */
    TURN_UNTIL(sc.l, sc.n_served == 1);
    scene_close(&sc);
}

static void drop_note(void *note)
{
    ++*(unsigned *)note;
}

/* It is found again with the connection, and ends with it. */
static void test_notes(void **state)
{
    unsigned first = 0, second = 0;
    struct scene sc;
    struct ask a;

    (void)state;
    scene_open(&sc, NULL, (struct upstream_settings){.idle_max = 4});
    ask_and_get(&sc, &a, false);
    assert_null(upstream_note(a.stream));
    assert_false(a.was_refused);
    upstream_set_note(a.stream, &first, drop_note);
    upstream_put(sc.pool, a.stream, true);
    ask_and_get(&sc, &a, false);
    assert_true(a.reused);
    assert_ptr_equal(upstream_note(a.stream), &first);
    upstream_set_note(a.stream, &second, drop_note);
    assert_int_equal(first, 1);
    upstream_put(sc.pool, a.stream, false);
    assert_int_equal(second, 1);
    ask_and_get(&sc, &a, false);
    assert_null(upstream_note(a.stream));
    upstream_put(sc.pool, a.stream, false);
    scene_close(&sc);
    assert_int_equal(first + second, 2);
}

/* Of the machine, which knows the server's port. */
static void test_system_policy(void **state)
{
    struct policy_file *p = NULL;
    struct policy_fault fault;
    struct scene sc;
    struct ask a;

    (void)state;
    assert_int_equal(
        policy_parse(SPAN("version 1\nrule proto=tcp to=127.0.0.0/8 min=weak\n"), &p, &fault), OK);
    scene_open(&sc, NULL, (struct upstream_settings){.system = {.file = p}});
    ask(&sc, &a, false);
    TURN_UNTIL(sc.l, a.called);
    assert_int_equal(a.err, ERR_POLICY);
    TURN_UNTIL(sc.l, sc.n_served == 1);
    scene_close(&sc);
    policy_unref(p);
    assert_int_equal(
        policy_parse(SPAN("version 1\nrule proto=tcp to=192.0.2.0/24 min=weak\n"), &p, &fault), OK);
    scene_open(&sc, NULL, (struct upstream_settings){.system = {.file = p}});
    ask(&sc, &a, false);
    TURN_UNTIL(sc.l, a.called);
    assert_int_equal(a.err, OK);
    upstream_put(sc.pool, a.stream, false);
    scene_close(&sc);
    policy_unref(p);
}

#define TLS_ROW(label, ...)                                                                   \
    {                                                                                         \
        .name = "test_tls: " label, .test_func = test_tls, .initial_state = &(struct tls_row) \
        {                                                                                     \
            label, __VA_ARGS__                                                                \
        }                                                                                     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reuse_is_last_in_first_out),
        cmocka_unit_test(test_idle_ends),
        cmocka_unit_test(test_dead_idle_connection),
        cmocka_unit_test(test_unasked_bytes_end_it),
        cmocka_unit_test(test_connections_max),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_free_with_everything_open),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_deadline),
        TLS_ROW("right name", "localhost", false, false, true, SALLYPORT_STRONG, OK, NULL),
        TLS_ROW("IP literal", NULL, true, false, true, SALLYPORT_STRONG, OK, NULL),
        TLS_ROW("wrong name", "other.example", false, false, false, SALLYPORT_NONE, ERR_TLS,
                "for another name"),
        TLS_ROW("wrong IP", NULL, false, false, false, SALLYPORT_NONE, ERR_TLS,
                "not for the address"),
        TLS_ROW("expired", "localhost", false, true, false, SALLYPORT_NONE, ERR_TLS, "has expired"),
        cmocka_unit_test(test_policy_on_clear),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_system_policy),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
