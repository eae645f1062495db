/* SPDX-License-Identifier: Apache-2.0 */
/* Connections under a want and the policy of the machine: the plan, the handshake, what the peer
 * says later, and policies that change meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protect/conn_int.h"
#include "sallyport/conn.h"
#include "test_two_ends.h"

static struct test_cert ca, other_ca, leaf, client_cert, foreign_cert;
static char path[] = "/tmp/test-conn-XXXXXX";

static int make_world(void **state)
{
    (void)state;
    ca = test_ca_new("Test CA");
    other_ca = test_ca_new("Other CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    client_cert = test_cert_new(&ca, (struct test_cert_spec){.cn = "c", .san = "DNS:c.example"});
    foreign_cert = test_cert_new(&other_ca, (struct test_cert_spec){.cn = "f"});
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    (void)close(fd);
    return 0;
}

static int drop_world(void **state)
{
    (void)state;
    test_cert_free(&foreign_cert);
    test_cert_free(&client_cert);
    test_cert_free(&leaf);
    test_cert_free(&other_ca);
    test_cert_free(&ca);
    (void)unlink(path);
    return 0;
}

static void write_policy(const char *lines)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fprintf(f, "version 1\n%s\n", lines);
    assert_int_equal(fclose(f), 0);
}

/* Only root can own a policy, so only root can be a test of one. */
static sallyport_ctx *open_policy(const char *lines)
{
    const sallyport_options o = {.size = sizeof o, .policy = path, .service = "icap"};
    sallyport_ctx *ctx;
    char why[256];

    if (geteuid() != 0)
        skip();
    write_policy(lines);
    if (sallyport_open(&o, &ctx, why, sizeof why) != 0)
        fail_msg("%s", why);
    return ctx;
}

static const struct sockaddr *remote_631(void)
{
    static struct sockaddr_in a = {.sin_family = AF_INET};

    a.sin_port = htons(631);
    a.sin_addr.s_addr = htonl(0x0a090001); /* 10.9.0.1 */
    return (const struct sockaddr *)&a;
}

/* ---- opening ---- */

static void test_open(void **state)
{
    sallyport_options o = {.size = sizeof o, .policy = "/nonexistent/policy"};
    sallyport_ctx *ctx = NULL;
    char why[256];

    (void)state;
    assert_int_equal(sallyport_open(&o, &ctx, why, sizeof why), -ENOENT);
    assert_null(ctx);
    assert_non_null(strstr(why, "/nonexistent/policy: there is no such file"));
    o.size--;
    assert_int_equal(sallyport_open(&o, &ctx, why, sizeof why), -EINVAL);
    sallyport_close(NULL);
    /* The default file need not be there. */
    if (access(SALLYPORT_POLICY_PATH, F_OK) == 0)
        return;
    assert_int_equal(sallyport_open(NULL, &ctx, NULL, 0), 0);
    assert_int_equal(sallyport_reload(ctx, NULL, 0), 0);
    sallyport_close(ctx);
}

static void expect_open(int e, const char *text)
{
    const sallyport_options o = {.size = sizeof o, .policy = path};
    sallyport_ctx *ctx = NULL;
    char why[256];

    assert_int_equal(sallyport_open(&o, &ctx, why, sizeof why), e);
    if (!strstr(why, text))
        fail_msg("said: %s", why);
    sallyport_close(ctx);
}

static void test_whose_file(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    write_policy("default min=none");
    expect_open(0, "");
    assert_int_equal(chmod(path, 0664), 0);
    expect_open(-EPERM, "chmod go-w");
    assert_int_equal(chmod(path, 0646), 0);
    expect_open(-EPERM, "chmod go-w");
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(chown(path, 1, 0), 0);
    expect_open(-EPERM, "must belong to root");
    assert_int_equal(chown(path, 0, 0), 0);
    write_policy("default min=medium");
    expect_open(-EBADMSG, ":2: 'medium' is no level");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_open(-EPERM, "not a regular file");
    assert_int_equal(rmdir(path), 0);
}

/* ---- within this machine ---- */

static const char *attr_of(const sallyport_report *r, int kind)
{
    const void *bytes = NULL;
    size_t n;

    assert_non_null(sallyport_report_peer(r));
    return sallyport_peer_attr(sallyport_report_peer(r), kind, 0, &bytes, &n) == 0 ? bytes : NULL;
}

/* Who connected from a process of |uid| (0: this one); the caller frees it. */
static sallyport_report *report_on_client(sallyport_ctx *ctx, const sallyport_want *want, uid_t uid,
                                          int e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    socklen_t n = offsetof(struct sockaddr_un, sun_path) + 1 +
                  (socklen_t)snprintf(a.sun_path + 1, 64, "sallyport-conn-%d", getpid());
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sallyport_report *r;
    sallyport_conn *c;

    assert_int_equal(bind(listening, (const struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(listening, 1), 0);
    pid_t child = fork();

    if (child == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char byte;

        if ((uid && setresuid(uid, uid, uid) != 0) ||
            connect(fd, (const struct sockaddr *)&a, n) != 0)
            _exit(1);
        _exit(read(fd, &byte, 1) != 0); /* until the other side has looked */
    }
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC), status;

    assert_int_equal(sallyport_adopt(ctx, want, fd, NULL, &c), e);
    r = sallyport_conn_report(c);
    sallyport_conn_free(c);
    (void)close(fd);
    (void)close(listening);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return r;
}

static void test_local_user(void **state)
{
    sallyport_how how = {.size = sizeof how};
    const struct passwd *self = getpwuid(geteuid());
    char number[16];
    sallyport_want *want;

    (void)state;
    assert_int_equal(sallyport_want_new(&want), 0);
    sallyport_want_known_peer(want);
    sallyport_report *r = report_on_client(NULL, want, 0, 0), *again;

    (void)snprintf(number, sizeof number, "%u", geteuid());
    assert_string_equal(attr_of(r, SALLYPORT_PEER_UID), number);
    assert_string_equal(attr_of(r, SALLYPORT_PEER_METHOD), "local");
    if (self)
        assert_string_equal(attr_of(r, SALLYPORT_PEER_USER), self->pw_name);
    assert_int_equal(sallyport_report_how(r, &how), 0);
    assert_int_equal(how.level, SALLYPORT_NONE);
    assert_int_equal(how.via, SALLYPORT_VIA_CLEAR);
    assert_non_null(strstr(how.text, "clear text within this machine, peer "));
    assert_non_null(strstr(how.text, sallyport_peer_text(sallyport_report_peer(r))));
    again = report_on_client(NULL, want, 0, 0);
    assert_int_equal(sallyport_peer_equal(sallyport_report_peer(r), sallyport_report_peer(again),
                                          SALLYPORT_SAME_NAME),
                     1);
    assert_int_equal(sallyport_peer_equal(sallyport_report_peer(r), sallyport_report_peer(again),
                                          SALLYPORT_SAME_KEY),
                     0);
    sallyport_report_free(again);
    /* Knowing him protects nothing. */
    assert_int_equal(sallyport_want_protect(want, SALLYPORT_INTEGRITY, 0), 0);
    sallyport_report_free(report_on_client(NULL, want, 0, -EACCES));
    sallyport_want_free(want);
    sallyport_report_free(r);
}

static void test_other_local_users(void **state)
{
    sallyport_want *want;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(sallyport_want_new(&want), 0);
    sallyport_want_known_peer(want);
    sallyport_report *r = report_on_client(NULL, want, 4242424, 0);
    sallyport_report *own = report_on_client(NULL, want, 0, 0);

    assert_string_equal(attr_of(r, SALLYPORT_PEER_UID), "4242424");
    assert_null(attr_of(r, SALLYPORT_PEER_USER));
    assert_string_equal(attr_of(r, SALLYPORT_PEER_AUDIT), "uid:4242424");
    assert_int_equal(sallyport_peer_equal(sallyport_report_peer(r), sallyport_report_peer(own),
                                          SALLYPORT_SAME_NAME),
                     0);
    sallyport_report_free(own);
    sallyport_report_free(r);
    /* Whom the kernel calls so may be anybody of another namespace. */
    r = report_on_client(NULL, want, 65534, -EACCES);
    assert_null(sallyport_report_peer(r));
    sallyport_report_free(r);
    sallyport_want_free(want);
}

/* Where the kernel knows nobody. */
static void test_no_local_user(void **state)
{
    int pair[2];
    sallyport_want *want;
    sallyport_conn *c;

    (void)state;
    assert_int_equal(sallyport_want_new(&want), 0);
    sallyport_want_known_peer(want);
    for (unsigned i = 0; i < 2; i++) {
        pair[0] = socket(i ? AF_INET : AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(sallyport_adopt(NULL, want, pair[0], NULL, &c), -EACCES);
        sallyport_report *r = sallyport_conn_report(c);

        assert_null(sallyport_report_peer(r));
        sallyport_report_free(r);
        sallyport_conn_free(c);
        (void)close(pair[0]);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(sallyport_adopt(NULL, want, pair[0], NULL, &c), 0);
    sallyport_conn_free(c);
    (void)close(pair[0]);
    (void)close(pair[1]);
    sallyport_want_free(want);
}

/* ---- plans ---- */

static void test_plan(void **state)
{
    static const struct {
        const char *what, *value, *by;
        unsigned line;
        int decides;
    } rows[] = {
        {"level",      "weak",            "default", 2, 0},
        {"level",      "strong",          "rule",    3, 1},
        {"via",        "ipsec,tls",       "rule",    3, 1},
        {"end-to-end", "any",             "rule",    3, 1},
        {"level",      "none",            "want",    0, 0},
        {"via",        "tls",             "want",    0, 1},
        {"peer",       "dns:*.a.example", "want",    0, 1},
    };
    sallyport_ctx *ctx = open_policy("default min=weak\n"
                                     "rule port=631 min=strong via=ipsec,tls end-to-end\n"
                                     "rule port=632 covered");
    sallyport_how how = {.size = sizeof how};
    sallyport_why why = {.size = sizeof why};
    sallyport_decision d = {.size = sizeof d};
    sallyport_want *want;
    sallyport_report *r;

    (void)state;
    assert_int_equal(sallyport_want_new(&want), 0);
    assert_int_equal(sallyport_want_protect(want, SALLYPORT_NONE, SALLYPORT_VIA_TLS), 0);
    assert_int_equal(sallyport_want_peer_text(want, "dns:*.a.example"), 0);
    assert_int_equal(sallyport_plan(ctx, want, NULL, remote_631(), IPPROTO_TCP, &r), 0);
    assert_int_equal(sallyport_report_how(r, &how), 0);
    assert_int_equal(how.level, SALLYPORT_STRONG);
    assert_int_equal(how.via, SALLYPORT_VIA_TLS);
    assert_int_equal(how.end_to_end, SALLYPORT_YES);
    assert_int_equal(how.transport_covered, SALLYPORT_UNKNOWN);
    assert_string_equal(how.text,
                        "at least strong, by tls, from end to end, with a peer of those named");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(sallyport_report_decision(r, i, &d), 0);
        print_message("%s=%s by %s:%u\n", d.what, d.value, d.by, d.line);
        assert_string_equal(d.what, rows[i].what);
        assert_string_equal(d.value, rows[i].value);
        assert_string_equal(d.by, rows[i].by);
        assert_int_equal(d.line, rows[i].line);
        assert_int_equal(d.decides, rows[i].decides);
    }
    assert_int_equal(sallyport_report_decision(r, sizeof rows / sizeof rows[0], &d), -ENOENT);
    assert_int_equal(sallyport_report_why(r, 0, &why), -ENOENT);
    d.size--;
    assert_int_equal(sallyport_report_decision(r, 0, &d), -EINVAL);
    sallyport_report_free(r);
    sallyport_want_free(want);
    sallyport_close(ctx);
}

static void expect_hopeless(const char *lines, const sallyport_want *want, const char *code)
{
    sallyport_ctx *ctx = open_policy(lines);
    sallyport_why why = {.size = sizeof why};
    sallyport_report *r;

    assert_int_equal(sallyport_plan(ctx, want, NULL, remote_631(), IPPROTO_TCP, &r), 0);
    assert_int_equal(sallyport_report_why(r, 0, &why), 0);
    assert_string_equal(why.code, code);
    assert_int_equal(why.err, EPERM);
    sallyport_report_free(r);
    sallyport_close(ctx);
}

/* Known before any packet is sent. */
static void test_hopeless_plans(void **state)
{
    sallyport_want *tls, *less;

    (void)state;
    assert_int_equal(sallyport_want_new(&tls), 0);
    assert_int_equal(sallyport_want_protect(tls, SALLYPORT_NONE, SALLYPORT_VIA_TLS), 0);
    assert_int_equal(sallyport_want_new(&less), 0);
    assert_int_equal(sallyport_want_flags(less, SALLYPORT_LESS), 0);
    expect_hopeless("default via=ipsec", tls, "local-policy");
    expect_hopeless("default via=ipsec\nrule port=631 via=tls", NULL, "local-policy");
    expect_hopeless("default via=clear min=weak", NULL, "local-policy");
    expect_hopeless("default min=weak", less, "privilege");
    sallyport_want_free(tls);
    sallyport_want_free(less);
}

/* ---- connections ---- */

struct pair {
    sallyport_ctx *ctx;
    const sallyport_want *want;
    sallyport_conn *client, *server;
    int client_result, server_result;
};

static void adopt(void *arg, SSL *ssl)
{
    struct pair *p = arg;

    if (!SSL_is_server(ssl)) {
        p->client_result = sallyport_adopt(p->ctx, p->want, -1, ssl, &p->client);
        return;
    }
    p->server_result = sallyport_adopt(NULL, NULL, -1, ssl, &p->server);
    if (p->server_result == -EAGAIN) /* it failed, and the queue says why */
        p->server_result = sallyport_drive(p->server, SALLYPORT_DID_HANDSHAKE, -1);
}

static void pair_end(struct pair *p, struct meeting *m)
{
    sallyport_conn_free(p->client);
    sallyport_conn_free(p->server);
    meeting_end(m);
}

static sallyport_how how_of(const sallyport_conn *c)
{
    sallyport_report *r = sallyport_conn_report(c);
    sallyport_how how = {.size = sizeof how};

    assert_int_equal(sallyport_report_how(r, &how), 0);
    how.text = NULL; /* goes with the report */
    sallyport_report_free(r);
    return how;
}

static void expect_why(const sallyport_conn *c, const char *code, int side, int stage)
{
    sallyport_report *r = sallyport_conn_report(c);
    sallyport_why why = {.size = sizeof why};

    assert_int_equal(sallyport_report_why(r, 0, &why), 0);
    assert_string_equal(why.code, code);
    assert_int_equal(why.side, side);
    assert_int_equal(why.stage, stage);
    sallyport_report_free(r);
}

/* RFC 8446 4.4.2: the client is through before the server judges it, and hears of it by its first
 * read. */
static void test_rejected_later(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, &ca, true);
    const struct {
        struct tls_context *client;
        const char *code; /* NULL: accepted */
    } rows[] = {
        {test_tls_client(&ca, &client_cert),  NULL              },
        {test_tls_client(&ca, NULL),          "peer-rejected-us"},
        {test_tls_client(&ca, &foreign_cert), "peer-rejected-us"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair p = {0};
        char byte;
        struct meeting m = meeting_of(tls_context_open(rows[i].client, "localhost"),
                                      tls_context_open(s, NULL), adopt, &p);

        assert_int_equal(p.client_result, 0);
        assert_int_equal(how_of(p.client).accepted_by_peer, SALLYPORT_UNKNOWN);
        assert_int_equal(p.server_result, rows[i].code ? -EKEYREJECTED : 0);
        if (!rows[i].code)
            assert_int_equal(SSL_write(m.server, "x", 1), 1);
        ERR_clear_error();
        int ret = SSL_read(m.client, &byte, 1);
        int e = sallyport_drive(p.client, SALLYPORT_DID_READ, ret);

        if (rows[i].code) {
            assert_int_equal(e, -ECONNREFUSED);
            expect_why(p.client, rows[i].code, SALLYPORT_SIDE_PEER, SALLYPORT_STAGE_IDENTITY);
            expect_why(p.server, "we-rejected-peer", SALLYPORT_SIDE_LOCAL,
                       rows[i].client == rows[1].client ? SALLYPORT_STAGE_HANDSHAKE
                                                        : SALLYPORT_STAGE_IDENTITY);
            assert_int_equal(how_of(p.client).accepted_by_peer, SALLYPORT_NO);
            assert_int_equal(how_of(p.client).level, SALLYPORT_STRONG); /* it was */
        } else {
            assert_int_equal(e, 0);
            assert_int_equal(how_of(p.client).accepted_by_peer, SALLYPORT_YES);
        }
        /* Final. */
        assert_int_equal(sallyport_drive(p.client, SALLYPORT_DID_READ, 1), e);
        pair_end(&p, &m);
        tls_context_unref(rows[i].client);
    }
    tls_context_unref(s);
}

/* Waiting is no failure, and a peer that says good-bye is none. */
static void test_waiting(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, NULL, false);
    struct tls_context *c = test_tls_client(&ca, NULL);
    struct pair p = {0};
    char byte;
    int ret;

    (void)state;
    assert_int_equal(SSL_CTX_set_num_tickets(tls_context_ssl(s), 0), 1);
    struct meeting m =
        meeting_of(tls_context_open(c, "localhost"), tls_context_open(s, NULL), adopt, &p);

    ERR_clear_error();
    ret = SSL_read(m.client, &byte, 1);
    assert_int_equal(ret, -1);
    assert_int_equal(sallyport_drive(p.client, SALLYPORT_DID_READ, ret), 0);
    assert_int_equal(how_of(p.client).accepted_by_peer, SALLYPORT_UNKNOWN);
    assert_int_equal(SSL_write(m.client, "x", 1), 1);
    assert_int_equal(sallyport_drive(p.client, SALLYPORT_DID_WRITE, 1), 0);
    assert_int_equal(how_of(p.client).accepted_by_peer, SALLYPORT_UNKNOWN); /* no word from it */
    (void)SSL_shutdown(m.server);
    ret = SSL_read(m.client, &byte, 1);
    assert_int_equal(SSL_get_error(m.client, ret), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(sallyport_drive(p.client, SALLYPORT_DID_READ, ret), 0);
    pair_end(&p, &m);
    tls_context_unref(c);
    tls_context_unref(s);
}

/* A caller that did nothing, and has only heard that the policy is another, breaks nothing; but a
 * reset is one, and the first word of the peer never came. */
static void test_reset(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, NULL, false);
    struct tls_context *c = test_tls_client(&ca, NULL);
    struct pair p = {0};
    char byte;

    (void)state;
    assert_int_equal(SSL_CTX_set_num_tickets(tls_context_ssl(s), 0), 1);
    struct meeting m =
        meeting_of(tls_context_open(c, "localhost"), tls_context_open(s, NULL), adopt, &p);
    /* As a socket that was reset: an end that cannot be tried again, and no word in the queue. */
    SSL_set_bio(m.client, BIO_new(BIO_s_null()), BIO_new(BIO_s_null()));
    assert_true(SSL_set_options(m.client, SSL_OP_IGNORE_UNEXPECTED_EOF) != 0);
    ERR_clear_error();
    assert_int_equal(sallyport_drive(p.client, 0, 0), 0);
    assert_int_equal(sallyport_drive(p.client, 0, -1), 0);
    SSL_set_bio(m.client, BIO_new_socket(-1, BIO_NOCLOSE), BIO_new(BIO_s_null()));
    int ret = SSL_read(m.client, &byte, 1);

    assert_int_equal(SSL_get_error(m.client, ret), SSL_ERROR_SYSCALL);
    assert_int_equal(sallyport_drive(p.client, SALLYPORT_DID_READ, ret), -ETIMEDOUT);
    expect_why(p.client, "no-answer", SALLYPORT_SIDE_UNKNOWN, SALLYPORT_STAGE_OPEN);
    pair_end(&p, &m);
    tls_context_unref(c);
    tls_context_unref(s);
}

/* RFC 8446 4.6.1: a ticket comes after the server has judged the client; that of a session that is
 * resumed says nothing of today. */
static void test_tickets(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, &ca, true);
    struct tls_context *c = test_tls_client(&ca, &client_cert);
    SSL_SESSION *session = NULL;

    (void)state;
    for (int resumed = 0; resumed < 2; resumed++) {
        SSL *client = tls_context_open(c, "localhost");
        struct pair p = {0};
        char byte;

        if (session)
            assert_int_equal(SSL_set_session(client, session), 1);
        struct meeting m = meeting_of(client, tls_context_open(s, NULL), adopt, &p);

        assert_int_equal(how_of(p.client).resumed, resumed);
        assert_int_equal(how_of(p.client).accepted_by_peer, SALLYPORT_UNKNOWN);
        ERR_clear_error();
        int ret = SSL_read(m.client, &byte, 1);

        assert_int_equal(ret, -1);
        assert_int_equal(sallyport_drive(p.client, SALLYPORT_DID_READ, ret), 0);
        assert_int_equal(how_of(p.client).accepted_by_peer,
                         resumed ? SALLYPORT_UNKNOWN : SALLYPORT_YES);
        SSL_SESSION_free(session);
        session = SSL_get1_session(m.client);
        (void)SSL_shutdown(m.client);
        pair_end(&p, &m);
    }
    SSL_SESSION_free(session);
    tls_context_unref(s);
    tls_context_unref(c);
}

/* Step by step, as a program does it. */
static void test_drive_a_handshake(void **state)
{
    struct tls_context *s = test_tls_server(&leaf, NULL, false);
    struct tls_context *known = test_tls_client(&ca, NULL);
    struct tls_context *foreign = test_tls_client(&other_ca, NULL);

    (void)state;
    for (int good = 0; good < 2; good++) {
        SSL *ends[] = {tls_context_open(good ? known : foreign, "localhost"),
                       tls_context_open(s, NULL)};
        sallyport_conn *c;
        int e = -EAGAIN;
        BIO *a, *b;

        assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
        SSL_set_bio(ends[0], a, a);
        SSL_set_bio(ends[1], b, b);
        assert_int_equal(sallyport_adopt(NULL, NULL, -1, ends[0], &c), -EAGAIN);
        assert_int_equal(how_of(c).level, SALLYPORT_NONE);
        for (unsigned i = 0; i < 20 && e == -EAGAIN; i++) {
            ERR_clear_error();
            e = sallyport_drive(c, SALLYPORT_DID_HANDSHAKE, SSL_do_handshake(ends[0]));
            ERR_clear_error();
            (void)SSL_do_handshake(ends[1]);
        }
        assert_int_equal(e, good ? 0 : -EKEYREJECTED);
        assert_int_equal(how_of(c).level, good ? SALLYPORT_STRONG : SALLYPORT_NONE);
        if (!good)
            expect_why(c, "we-rejected-peer", SALLYPORT_SIDE_LOCAL, SALLYPORT_STAGE_IDENTITY);
        sallyport_conn_free(c);
        SSL_free(ends[0]);
        SSL_free(ends[1]);
    }
    ERR_clear_error();
    tls_context_unref(s);
    tls_context_unref(known);
    tls_context_unref(foreign);
}

/* ---- policy ---- */

static void test_policy_refuses(void **state)
{
    sallyport_ctx *ctx = open_policy("rule service=icap peer=dns:other.example");
    struct tls_context *s = test_tls_server(&leaf, NULL, false);
    struct tls_context *c = test_tls_client(&ca, NULL);
    struct pair p = {.ctx = ctx};
    sallyport_why why = {.size = sizeof why};
    sallyport_report *r;

    (void)state;
    struct meeting m =
        meeting_of(tls_context_open(c, "localhost"), tls_context_open(s, NULL), adopt, &p);

    assert_int_equal(p.client_result, -EACCES);
    r = sallyport_conn_report(p.client);
    assert_int_equal(sallyport_report_why(r, 0, &why), 0);
    assert_string_equal(why.code, "wrong-peer");
    assert_string_equal(why.source, "policy");
    assert_int_equal(why.raw, 2);
    assert_non_null(sallyport_report_peer(r)); /* known, and not wanted */
    pair_end(&p, &m);
    sallyport_report_free(r); /* outlives the connection */
    tls_context_unref(c);
    tls_context_unref(s);
    sallyport_close(ctx);
}

static void test_reload(void **state)
{
    sallyport_ctx *ctx = open_policy("default min=weak");
    struct tls_context *s = test_tls_server(&leaf, NULL, false);
    struct tls_context *c = test_tls_client(&ca, NULL);
    struct pair p = {.ctx = ctx};
    char why[256];

    (void)state;
    struct meeting m =
        meeting_of(tls_context_open(c, "localhost"), tls_context_open(s, NULL), adopt, &p);

    assert_int_equal(p.client_result, 0);
    write_policy("default min=strongest");
    assert_int_equal(sallyport_reload(ctx, why, sizeof why), -EBADMSG);
    assert_non_null(strstr(why, "no level"));
    assert_int_equal(sallyport_drive(p.client, SALLYPORT_DID_WRITE, 1), 0); /* the old one holds */
    write_policy("default min=strong");
    assert_int_equal(sallyport_reload(ctx, why, sizeof why), 0);
    assert_int_equal(sallyport_drive(p.client, SALLYPORT_DID_WRITE, 1), 0);
    write_policy("default covered");
    assert_int_equal(sallyport_reload(ctx, why, sizeof why), 0);
    assert_int_equal(sallyport_drive(p.client, SALLYPORT_DID_WRITE, 1), -EACCES);
    expect_why(p.client, "level-too-low", SALLYPORT_SIDE_LOCAL, SALLYPORT_STAGE_POLICY);
    /* A file that is gone does not open anything, either. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sallyport_reload(ctx, why, sizeof why), -ENOENT);
    pair_end(&p, &m);
    tls_context_unref(c);
    tls_context_unref(s);
    sallyport_close(ctx);
}

static void test_derived(void **state)
{
    sallyport_ctx *ctx = open_policy("attr role=front for=dns:localhost\n"
                                     "attr role=printer for=dns:printer.example\n"
                                     "attr floor=3 for=dns:localhost");
    struct tls_context *s = test_tls_server(&leaf, NULL, false);
    struct tls_context *c = test_tls_client(&ca, NULL);
    struct pair p = {.ctx = ctx};

    (void)state;
    struct meeting m =
        meeting_of(tls_context_open(c, "localhost"), tls_context_open(s, NULL), adopt, &p);
    sallyport_report *r = sallyport_conn_report(p.client);
    const sallyport_peer *peer = sallyport_report_peer(r);

    assert_string_equal(sallyport_derived(ctx, peer, 0), "role=front");
    assert_string_equal(sallyport_derived(ctx, peer, 1), "floor=3");
    assert_null(sallyport_derived(ctx, peer, 2));
    assert_null(sallyport_derived(ctx, NULL, 0));
    assert_null(sallyport_derived(NULL, peer, 0));
    sallyport_report_free(r);
    pair_end(&p, &m);
    tls_context_unref(c);
    tls_context_unref(s);
    sallyport_close(ctx);
}

/* ---- sockets ---- */

static void test_sockets(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t n = sizeof a;
    sallyport_ctx *ctx;
    sallyport_conn *c;
    char lines[128];

    (void)state;
    assert_int_equal(bind(listener, (const struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
    assert_int_equal(connect(client, (const struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(sallyport_adopt(NULL, NULL, listener, NULL, &c), -EINVAL);
    assert_null(c);
    assert_int_equal(sallyport_adopt(NULL, NULL, 9999, NULL, &c), -EINVAL);
    assert_int_equal(sallyport_adopt(NULL, NULL, client, NULL, &c), 0);
    assert_int_equal(how_of(c).level, SALLYPORT_NONE);
    assert_int_equal(sallyport_drive(c, SALLYPORT_DID_READ, 1), 0);
    sallyport_conn_free(c);
    (void)snprintf(lines, sizeof lines, "interface lo proto=tcp port=%u min=weak",
                   ntohs(a.sin_port));
    ctx = open_policy(lines);
    assert_int_equal(sallyport_adopt(ctx, NULL, client, NULL, &c), -EACCES);
    expect_why(c, "level-too-low", SALLYPORT_SIDE_LOCAL, SALLYPORT_STAGE_POLICY);
    sallyport_conn_free(c);
    sallyport_close(ctx);
    ctx = open_policy("interface no-such0 min=weak\nrule to=10.0.0.0/8 min=weak");
    assert_int_equal(sallyport_adopt(ctx, NULL, client, NULL, &c), 0);
    sallyport_conn_free(c);
    sallyport_close(ctx);
    (void)close(listener);
    (void)close(client);
    sallyport_conn_free(NULL);
}

static struct sockaddr_storage address_of(const char *text, uint32_t scope)
{
    struct sockaddr_storage ss = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)(void *)&ss;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)&ss;

    ss.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    if (ss.ss_family == AF_INET) {
        assert_int_equal(inet_pton(AF_INET, text, &four->sin_addr), 1);
        return ss;
    }
    assert_int_equal(inet_pton(AF_INET6, text, &six->sin6_addr), 1);
    six->sin6_scope_id = scope;
    return ss;
}

/* By which interface a connection goes: known only where it cannot be another one. */
static void test_interface(void **state)
{
    static const struct {
        const char *name, *address; /* NULL: as packet sockets have, or none at all */
        uint32_t scope;
    } have[] = {
        {"lo",     "127.0.0.1",   0},
        {"lo",     "::1",         0},
        {"ppp0",   NULL,          0},
        {"eth0",   "10.0.0.1",    0},
        {"eth0:1", "10.0.0.2",    0},
        {"eth0",   "fe80::1",     2},
        {"eth1",   "10.0.0.1",    0},
        {"eth1",   "fe80::1",     3},
        {"eth1",   "fe80::2",     3},
        {"eth1",   "2001:db8::1", 0},
        {"eth1",   "10.0.0.9",    0},
        {"eth1:a", "10.0.0.9",    0},
    };
    static const struct {
        const char *local;
        uint32_t scope;
        const char *interface; /* NULL: not known */
    } rows[] = {
        {"127.0.0.1",        0, "lo"  },
        {"::1",              0, "lo"  },
        {"10.0.0.2",         0, "eth0"},
        {"10.0.0.9",         0, "eth1"}, /* twice, but on one */
        {"10.0.0.1",         0, NULL  },
        {"::ffff:10.0.0.1",  0, NULL  },
        {"::ffff:127.0.0.1", 0, "lo"  },
        {"fe80::1",          2, "eth0"},
        {"fe80::1",          3, "eth1"},
        {"fe80::1",          4, NULL  },
        {"fe80::1",          0, NULL  }, /* without a scope it may be either */
        {"fe80::2",          0, "eth1"},
        {"2001:db8::1",      7, "eth1"}, /* no scope has a meaning there */
        {"10.0.0.3",         0, NULL  },
    };
    enum { N = sizeof have / sizeof have[0] };
    struct sockaddr_storage addresses[N];
    struct ifaddrs list[N];
    char name[IF_NAMESIZE];

    (void)state;
    for (size_t i = 0; i < N; i++) {
        if (have[i].address)
            addresses[i] = address_of(have[i].address, have[i].scope);
        list[i] = (struct ifaddrs){
            .ifa_next = i + 1 < N ? &list[i + 1] : NULL,
            .ifa_name = (char *)(uintptr_t)have[i].name,
            .ifa_addr = have[i].address ? (struct sockaddr *)&addresses[i] : NULL,
        };
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct sockaddr_storage local = address_of(rows[i].local, rows[i].scope);
        bool known = flow_interface(list, (const struct sockaddr *)&local, name);

        print_message("%s%%%u\n", rows[i].local, rows[i].scope);
        assert_int_equal(known, rows[i].interface != NULL);
        if (known)
            assert_string_equal(name, rows[i].interface);
    }
}

/* Before connect() has come to an end nobody knows whither it goes: a line that could be about it
 * holds. */
static void test_not_connected_yet(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sallyport_ctx *ctx;
    sallyport_conn *c;

    (void)state;
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof a), 0); /* to some port */
    ctx = open_policy("rule port=1 min=weak");
    assert_int_equal(sallyport_adopt(ctx, NULL, fd, NULL, &c), -EACCES);
    sallyport_conn_free(c);
    sallyport_close(ctx);
    (void)close(fd);
}

/* When the handshake ends it is known. */
static void test_connected_meanwhile(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    struct tls_context *s = test_tls_server(&leaf, NULL, false);
    struct tls_context *known = test_tls_client(&ca, NULL);
    sallyport_ctx *ctx = open_policy("rule port=1 peer=dns:other.example");
    SSL *ends[] = {tls_context_open(known, "localhost"), tls_context_open(s, NULL)};
    socklen_t n = sizeof a;
    sallyport_conn *c;
    int e = -EAGAIN;
    BIO *x, *y;

    (void)state;
    assert_int_equal(bind(listener, (const struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
    assert_int_equal(BIO_new_bio_pair(&x, 0, &y, 0), 1);
    SSL_set_bio(ends[0], x, x);
    SSL_set_bio(ends[1], y, y);
    assert_int_equal(sallyport_adopt(ctx, NULL, fd, ends[0], &c), -EAGAIN);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    for (unsigned i = 0; i < 20 && e == -EAGAIN; i++) {
        ERR_clear_error();
        e = sallyport_drive(c, SALLYPORT_DID_HANDSHAKE, SSL_do_handshake(ends[0]));
        (void)SSL_do_handshake(ends[1]);
    }
    assert_int_equal(e, 0); /* to another port than that of the line */
    sallyport_conn_free(c);
    SSL_free(ends[0]);
    SSL_free(ends[1]);
    sallyport_close(ctx);
    tls_context_unref(s);
    tls_context_unref(known);
    (void)close(listener);
    (void)close(fd);
}

/* ---- policies that change meanwhile ---- */

static _Atomic bool reloaded;

static void *reload_often(void *arg)
{
    int e = 0;

    for (unsigned i = 0; i < 300; i++)
        e |= sallyport_reload(arg, NULL, 0);
    write_policy("default min=weak");
    e |= sallyport_reload(arg, NULL, 0);
    reloaded = true;
    return e ? arg : NULL;
}

/* Connections ask for the policy's number in one thread while another one loads policies: without a
 * lock, and the last policy is not missed. */
static void test_reload_elsewhere(void **state)
{
    sallyport_ctx *ctx = open_policy("default min=none");
    sallyport_conn *c;
    pthread_t thread;
    void *failed;
    int e = 0;

    (void)state;
    assert_int_equal(sallyport_adopt(ctx, NULL, -1, NULL, &c), 0);
    assert_int_equal(pthread_create(&thread, NULL, reload_often, ctx), 0);
    while (e == 0 && !reloaded)
        e = sallyport_drive(c, 0, 0);
    if (e == 0)
        e = sallyport_drive(c, 0, 0);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    assert_int_equal(e, -EACCES);
    sallyport_conn_free(c);
    sallyport_close(ctx);
}

/* ---- without memory ---- */

static unsigned calloc_fails_at; /* 0: never */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
    return calloc_fails_at && --calloc_fails_at == 0 ? NULL : __real_calloc(n, size);
}

/* Whatever cannot be had, nothing is handed out, and nothing leaks. */
static void test_out_of_memory(void **state)
{
    sallyport_want *want, *none = (sallyport_want *)(uintptr_t)path;
    sallyport_conn *c = NULL;
    unsigned n = 0;
    int e;

    (void)state;
    assert_int_equal(sallyport_want_new(&want), 0);
    assert_int_equal(sallyport_want_protect(want, SALLYPORT_WEAK, 0), 0);
    do {
        calloc_fails_at = ++n;
        e = sallyport_adopt(NULL, want, -1, NULL, &c);
        calloc_fails_at = 0;
        if (e == -ENOMEM)
            assert_null(c);
    } while (e == -ENOMEM && n < 20);
    assert_int_equal(e, -EACCES);
    assert_int_equal(n, 4); /* after connection, report and reason failed in turn */
    expect_why(c, "level-too-low", SALLYPORT_SIDE_LOCAL, SALLYPORT_STAGE_POLICY);
    sallyport_conn_free(c);
    sallyport_want_free(want);
    calloc_fails_at = 1;
    assert_int_equal(sallyport_want_new(&none), -ENOMEM);
    assert_ptr_equal(none, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_whose_file),
        cmocka_unit_test(test_local_user),
        cmocka_unit_test(test_other_local_users),
        cmocka_unit_test(test_no_local_user),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_hopeless_plans),
        cmocka_unit_test(test_rejected_later),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_drive_a_handshake),
        cmocka_unit_test(test_policy_refuses),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_elsewhere),
        cmocka_unit_test(test_derived),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_interface),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_not_connected_yet),
        cmocka_unit_test(test_connected_meanwhile),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, make_world, drop_world);
}
