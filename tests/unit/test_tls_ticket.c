/* SPDX-License-Identifier: Apache-2.0 */
/* Session tickets: who may come back with them, for how long, and what they bring back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <time.h>

#include "protect/tls_ticket.h"
#include "test_certs.h"
#include "test_meeting.h"

#define MINUTE 60L
#define SECRET SPAN("0123456789abcdef0123456789abcdef")

static struct test_cert ca, other_ca, leaf, known, brief, expired, stranger;
static char *crl, *revoking, *brief_crl;
static uint64_t now_ms; /* of servers */

static uint64_t fake_us(void *ctx)
{
    (void)ctx;
    return now_ms * 1000;
}

static uint64_t fake_ms(void *ctx)
{
    (void)ctx;
    return now_ms;
}

static const struct clock fake_clock = {.mono_us = fake_us, .wall_ms = fake_ms};

static void set_clock(long after_s)
{
    static time_t start;

    if (!start)
        start = time(NULL);
    now_ms = (uint64_t)(start + after_s) * 1000;
}

static uint64_t now_s(void)
{
    return now_ms / 1000;
}

static int make_certs(void **state)
{
    (void)state;
    ca = test_ca_new("CA");
    other_ca = test_ca_new("Other CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    known = test_cert_new(&ca, (struct test_cert_spec){.cn = "known"});
    brief = test_cert_new(
        &ca, (struct test_cert_spec){.cn = "brief", .from = -TEST_DAY, .until = 30 * MINUTE});
    expired = test_cert_new(
        &ca, (struct test_cert_spec){.cn = "expired", .from = -2 * TEST_DAY, .until = -TEST_DAY});
    stranger = test_cert_new(&other_ca, (struct test_cert_spec){.cn = "known"});
    crl = test_crl_new(&ca, &brief, -TEST_DAY, TEST_DAY);
    revoking = test_crl_new(&ca, &known, -TEST_DAY, TEST_DAY);
    brief_crl = test_crl_new(&ca, NULL, -TEST_DAY, 20 * MINUTE);
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    test_cert_free(&ca);
    test_cert_free(&other_ca);
    test_cert_free(&leaf);
    test_cert_free(&known);
    test_cert_free(&brief);
    test_cert_free(&expired);
    test_cert_free(&stranger);
    free(crl);
    free(revoking);
    free(brief_crl);
    return 0;
}

static int new_test(void **state)
{
    (void)state;
    set_clock(0);
    return 0;
}

/* ---- servers ---- */

static struct tls_settings mutual(void)
{
    return (struct tls_settings){.role = TLS_SERVER,
                                 .certificate = span_of(leaf.cert_pem),
                                 .key = span_of(leaf.key_pem),
                                 .trust = span_of(ca.cert_pem),
                                 .require_peer = true,
                                 .ticket_secret = SECRET,
                                 .clock = &fake_clock};
}

static struct tls_context *server(struct tls_settings s)
{
    struct tls_context *c = NULL;
    struct buf why;

    buf_init(&why, 0);
    if (tls_context_new(&s, &c, &why) != OK)
        fail_msg("%s", buf_cstr(&why));
    buf_done(&why);
    return c;
}

static struct tls_context *client_of(const struct test_cert *t, int version)
{
    struct tls_context *c = test_tls_client(&ca, NULL);
    SSL_CTX *ssl = tls_context_ssl(c);

    if (t) {
        assert_int_equal(SSL_CTX_use_certificate(ssl, t->x509), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ssl, t->key), 1);
    }
    assert_int_equal(SSL_CTX_set_max_proto_version(ssl, version), 1);
    return c;
}

/* ---- visits ---- */

struct visit {
    bool in, resumed, has_peer, got_ticket;
    int err;
    char tolerated[128];
};

/* Reads what came behind the handshake; returns the session to come back with. */
static SSL_SESSION *take_ticket(struct meeting *m, bool *ret_got)
{
    char byte;

    ERR_clear_error();
    (void)SSL_read(m->client, &byte, 1);
    ERR_clear_error();
    SSL_SESSION *session = SSL_get1_session(m->client);

    *ret_got = session && SSL_SESSION_is_resumable(session) == 1;
    return session;
}

static struct visit judge(const struct meeting *m)
{
    sallyport_why why = {.size = sizeof why};
    struct visit v = {.in = how_of(m->server_report).level == SALLYPORT_STRONG,
                      .resumed = how_of(m->server_report).resumed != 0,
                      .has_peer = sallyport_report_peer(m->server_report) != NULL};

    for (size_t i = 0; sallyport_report_why(m->server_report, i, &why) == 0; i++) {
        if (strcmp(why.code, "tolerated") == 0)
            (void)snprintf(v.tolerated, sizeof v.tolerated, "%s", why.text);
        else if (!v.err)
            v.err = why.err;
    }
    return v;
}

/* |*session| is what the client comes with (NULL: nothing), and then what it leaves with. */
static struct visit visit(struct tls_context *s, struct tls_context *c, SSL_SESSION **session)
{
    SSL *client = tls_context_open(c, "localhost");

    if (*session)
        assert_int_equal(SSL_set_session(client, *session), 1);
    SSL_SESSION_free(*session);
    struct meeting m = meet(client, tls_context_open(s, NULL));
    struct visit v = judge(&m);

    *session = take_ticket(&m, &v.got_ticket);
    (void)SSL_shutdown(m.client);
    part(&m);
    return v;
}

static void forget(SSL_SESSION **session)
{
    SSL_SESSION_free(*session);
    *session = NULL;
}

/* ---- time ---- */

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* However often a session is resumed, an hour after its handshake it is over. */
static void test_an_hour(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_context *s = server(mutual()), *c = client_of(&known, versions[i]);
        SSL_SESSION *session = NULL;

        set_clock(0);
        assert_false(visit(s, c, &session).resumed);
        for (long minute = 10; minute < 60; minute += 10) {
            set_clock(minute * MINUTE);
            struct visit v = visit(s, c, &session);

            assert_true(v.in && v.resumed && v.has_peer);
            if (versions[i] == TLS1_3_VERSION)
                assert_true(v.got_ticket);
        }
        set_clock(60 * MINUTE - 1);
        assert_true(visit(s, c, &session).resumed);
        set_clock(60 * MINUTE);
        struct visit v = visit(s, c, &session);

        assert_true(v.in && !v.resumed && v.got_ticket);
        set_clock(61 * MINUTE); /* and from there on anew */
        assert_true(visit(s, c, &session).resumed);
        set_clock(0); /* a clock that was set back proves nothing */
        assert_false(visit(s, c, &session).resumed);
        forget(&session);
        tls_context_unref(s);
        tls_context_unref(c);
    }
}

/* ---- keys ---- */

#define HOUR     (60 * MINUTE)
#define KEY_NAME 16u /* RFC 5077 4: key_name, in front of everything else */

/* |after_s| from the beginning of the first whole hour of the clock, which is when keys change. */
static void set_hour(unsigned hours, long after_s)
{
    set_clock(0);
    uint64_t now = now_s();

    now_ms = (now - now % HOUR + (hours + 1) * HOUR + (uint64_t)after_s) * 1000;
}

/* Of the key that sealed the ticket of a first visit, which |*session| (or nobody: NULL) keeps. */
static void key_name(struct tls_context *s, struct tls_context *c, SSL_SESSION **session,
                     unsigned char ret[KEY_NAME])
{
    SSL_SESSION *fresh = NULL;
    const unsigned char *ticket;
    size_t n;

    assert_true(visit(s, c, &fresh).got_ticket);
    SSL_SESSION_get0_ticket(fresh, &ticket, &n);
    assert_true(n > KEY_NAME);
    memcpy(ret, ticket, KEY_NAME);
    if (session)
        *session = fresh;
    else
        SSL_SESSION_free(fresh);
}

/* Nodes and generations agree on the keys of an hour, and those of the next are others. */
static void test_hourly_keys(void **state)
{
    struct tls_context *a = server(mutual()), *b = server(mutual());

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_context *c = client_of(&known, versions[i]);
        unsigned char names[4][2][KEY_NAME];

        for (unsigned hour = 0; hour < ARRAY_LEN(names); hour++) {
            set_hour(hour, 0);
            key_name(a, c, NULL, names[hour][0]);
            set_hour(hour, HOUR - 1);
            key_name(b, c, NULL, names[hour][1]);
            assert_memory_equal(names[hour][0], names[hour][1], KEY_NAME);
            for (unsigned before = 0; before < hour; before++)
                assert_memory_not_equal(names[before][0], names[hour][0], KEY_NAME);
        }
        tls_context_unref(c);
    }
    tls_context_unref(a);
    tls_context_unref(b);
}

/* Whether the last ticket could be read; whether it was still good is not asked. */
static SSL_TICKET_STATUS last_status;

static SSL_TICKET_RETURN spy(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t n,
                             SSL_TICKET_STATUS status, void *arg)
{
    (void)ssl;
    (void)session;
    (void)name;
    (void)n;
    (void)arg;
    last_status = status;
    return SSL_TICKET_RETURN_IGNORE;
}

static bool is_read(struct tls_context *s, struct tls_context *c, SSL_SESSION *session)
{
    last_status = SSL_TICKET_NONE;
    assert_int_equal(SSL_SESSION_up_ref(session), 1);
    assert_false(visit(s, c, &session).resumed);
    SSL_SESSION_free(session);
    assert_true(last_status == SSL_TICKET_SUCCESS || last_status == SSL_TICKET_NO_DECRYPT);
    return last_status == SSL_TICKET_SUCCESS;
}

/* A ticket of the hour before opens for as long as its session lives, also for a process that began
 * meanwhile. Two hours after their beginning its keys are nobody's any more: nobody can read it,
 * whatever stands in it. */
static void test_tickets_of_the_hour_before(void **state)
{
    struct tls_context *s = server(mutual());

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_context *c = client_of(&known, versions[i]), *later = server(mutual());
        struct tls_context *reader = server(mutual());
        SSL_SESSION *first = NULL, *last = NULL, *kept;
        unsigned char names[2][KEY_NAME];

        assert_int_equal(SSL_CTX_set_session_ticket_cb(tls_context_ssl(reader), NULL, spy, NULL),
                         1);
        set_hour(0, 0);
        key_name(s, c, &first, names[0]);
        set_hour(0, HOUR - 1);
        key_name(s, c, &last, names[1]);
        assert_memory_equal(names[0], names[1], KEY_NAME);
        set_hour(1, 0);
        kept = last;
        assert_int_equal(SSL_SESSION_up_ref(kept), 1);
        assert_true(visit(s, c, &kept).resumed);
        forget(&kept);
        set_hour(1, HOUR - 2);
        assert_true(is_read(reader, c, first));
        assert_true(is_read(reader, c, last));
        set_hour(2, 0);
        assert_false(is_read(reader, c, first));
        assert_false(is_read(reader, c, last));
        set_hour(1, HOUR - 2);
        assert_true(visit(later, c, &last).resumed);
        forget(&first);
        forget(&last);
        tls_context_unref(c);
        tls_context_unref(later);
        tls_context_unref(reader);
    }
    tls_context_unref(s);
}

/* Nodes and generations of the same secret; others, and those with keys of their own. */
static void test_secrets(void **state)
{
    struct tls_settings other = mutual(), random = mutual();

    (void)state;
    other.ticket_secret = SPAN("0123456789abcdef0123456789abcdeX");
    random.ticket_secret = SPAN_NONE;
    struct tls_context *a = server(mutual()), *b = server(mutual()), *x = server(other);
    struct tls_context *r1 = server(random), *r2 = server(random);

    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_context *c = client_of(&known, versions[i]);
        SSL_SESSION *session = NULL;

        assert_false(visit(a, c, &session).resumed);
        assert_true(visit(b, c, &session).resumed);
        assert_true(visit(a, c, &session).resumed);
        struct visit v = visit(x, c, &session);

        assert_true(v.in && !v.resumed && v.got_ticket);
        assert_true(visit(x, c, &session).resumed);
        assert_false(visit(r1, c, &session).resumed);
        assert_true(visit(r1, c, &session).resumed);
        assert_false(visit(r2, c, &session).resumed);
        forget(&session);
        tls_context_unref(c);
    }
    tls_context_unref(a);
    tls_context_unref(b);
    tls_context_unref(x);
    tls_context_unref(r1);
    tls_context_unref(r2);
}

static void expect_refused(struct tls_settings s, const char *text)
{
    struct tls_context *c = NULL;
    struct buf why;

    buf_init(&why, 0);
    assert_int_equal(tls_context_new(&s, &c, &why), ERR_CONFIG);
    assert_non_null(strstr(buf_cstr(&why), text));
    buf_done(&why);
}

static void test_secret_sizes(void **state)
{
    static char large[4097];
    struct tls_settings s = mutual();

    (void)state;
    s.ticket_secret = span_sub(SECRET, 0, 31);
    expect_refused(s, "less than 32");
    s.ticket_secret = SPAN("");
    expect_refused(s, "less than 32");
    s.ticket_secret = (struct span){large, sizeof large};
    expect_refused(s, "more than 4096");
    s.ticket_secret.n--;
    tls_context_unref(server(s));
}

/* ---- trust ---- */

/* A ticket is good where exactly the same is trusted. */
static void test_other_trust(void **state)
{
    struct span crls[] = {span_of(crl)};
    struct tls_settings rows[6];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        rows[i] = mutual();
    rows[0].trust = span_of(other_ca.cert_pem);
    rows[1].crls = crls;
    rows[1].n_crls = 1;
    rows[2].flags = TLS_FLAG_WRONG_USAGE;
    rows[3].require_peer = false;
    rows[4].depth = 2;
    rows[5].trust = SPAN_NONE;
    rows[5].require_peer = false;
    for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
        struct tls_context *a = server(mutual()), *b = server(rows[i / 2]);
        struct tls_context *c = client_of(&known, versions[i % 2]);
        SSL_SESSION *session = NULL;

        print_message("row %zu\n", i / 2);
        assert_true(visit(a, c, &session).got_ticket);
        struct visit v = visit(b, c, &session);

        assert_false(v.resumed);
        assert_int_equal(v.in, i / 2 != 0);
        forget(&session);
        /* Nor the other way round. */
        if (i / 2 != 0) {
            assert_true(visit(b, c, &session).got_ticket);
            assert_false(visit(a, c, &session).resumed);
            forget(&session);
        }
        tls_context_unref(a);
        tls_context_unref(b);
        tls_context_unref(c);
    }
}

/* Resumption skips the verification, so what it rested on must still be good. */
static void test_peer_expires(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_context *s = server(mutual()), *c = client_of(&brief, versions[i]);
        SSL_SESSION *session = NULL;

        set_clock(0);
        assert_true(visit(s, c, &session).in);
        set_clock(29 * MINUTE);
        assert_true(visit(s, c, &session).resumed);
        set_clock(31 * MINUTE);
        struct visit v = visit(s, c, &session);

        assert_false(v.in);
        assert_int_equal(v.err, EKEYEXPIRED);
        forget(&session);
        tls_context_unref(s);
        tls_context_unref(c);
    }
}

static void test_peer_is_revoked(void **state)
{
    struct span before[] = {span_of(crl)}, after[] = {span_of(revoking)};
    struct tls_settings s = mutual();

    (void)state;
    s.n_crls = 1;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        s.crls = before;
        struct tls_context *a = server(s);

        s.crls = after;
        struct tls_context *b = server(s), *c = client_of(&known, versions[i]);
        SSL_SESSION *session = NULL;

        assert_true(visit(a, c, &session).in);
        assert_true(visit(a, c, &session).resumed);
        struct visit v = visit(b, c, &session);

        assert_false(v.in);
        assert_int_equal(v.err, EKEYREVOKED);
        forget(&session);
        tls_context_unref(a);
        tls_context_unref(b);
        tls_context_unref(c);
    }
}

static void test_crl_expires(void **state)
{
    struct span crls[] = {span_of(brief_crl)};
    struct tls_settings settings = mutual();

    (void)state;
    settings.crls = crls;
    settings.n_crls = 1;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_context *s = server(settings), *c = client_of(&known, versions[i]);
        SSL_SESSION *session = NULL;

        set_clock(0);
        assert_true(visit(s, c, &session).in);
        set_clock(19 * MINUTE);
        assert_true(visit(s, c, &session).resumed);
        set_clock(21 * MINUTE);
        assert_int_equal(visit(s, c, &session).err, EKEYREJECTED);
        forget(&session);
        tls_context_unref(s);
        tls_context_unref(c);
    }
}

/* What was overlooked is said of resumed sessions, too; and nobody stays nobody. */
static void test_tolerated(void **state)
{
    struct tls_settings settings = mutual();

    (void)state;
    settings.require_peer = false;
    settings.flags = TLS_FLAG_UNKNOWN_CA | TLS_FLAG_NOT_TIME_VALID;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_context *s = server(settings);
        struct tls_context *late = client_of(&expired, versions[i]);
        struct tls_context *unknown = client_of(&stranger, versions[i]);
        SSL_SESSION *session = NULL;

        for (unsigned again = 0; again < 3; again++) {
            struct visit v = visit(s, late, &session);

            assert_int_equal(v.resumed, again > 0);
            assert_true(v.in && v.has_peer);
            assert_string_equal(v.tolerated, "IgnoreNotTimeValid");
        }
        forget(&session);
        for (unsigned again = 0; again < 3; again++) {
            struct visit v = visit(s, unknown, &session);

            assert_int_equal(v.resumed, again > 0);
            assert_true(v.in && !v.has_peer);
            assert_string_equal(v.tolerated, "AllowUnknownCertificateAuthority");
        }
        forget(&session);
        tls_context_unref(s);
        tls_context_unref(late);
        tls_context_unref(unknown);
    }
}

/* ---- off, early data ---- */

static void test_off(void **state)
{
    struct tls_settings settings = mutual();

    (void)state;
    settings.no_tickets = true;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_context *with = server(mutual()), *without = server(settings);
        struct tls_context *c = client_of(&known, versions[i]);
        SSL_SESSION *session = NULL;
        struct visit v = visit(without, c, &session);

        assert_true(v.in && !v.got_ticket);
        forget(&session);
        assert_true(visit(with, c, &session).got_ticket);
        v = visit(without, c, &session);
        assert_true(v.in && !v.resumed && !v.got_ticket);
        forget(&session);
        tls_context_unref(with);
        tls_context_unref(without);
        tls_context_unref(c);
    }
}

static void test_no_early_data(void **state)
{
    struct tls_context *s = server(mutual()), *c = client_of(&known, TLS1_3_VERSION);
    SSL_SESSION *session = NULL;

    (void)state;
    assert_true(visit(s, c, &session).got_ticket);
    assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
    assert_true(SSL_SESSION_get_ticket_lifetime_hint(session) <= 3600);
    set_clock(50 * MINUTE);
    assert_true(visit(s, c, &session).resumed);
    /* The hint is what is left, so that clients need not try in vain. */
    assert_in_range(SSL_SESSION_get_ticket_lifetime_hint(session), 1, 600);
    forget(&session);
    tls_context_unref(s);
    tls_context_unref(c);
}

/* ---- on request ---- */

static bool is_same_ticket(const SSL_SESSION *a, const SSL_SESSION *b)
{
    const unsigned char *p, *q;
    size_t n, k;

    SSL_SESSION_get0_ticket(a, &p, &n);
    SSL_SESSION_get0_ticket(b, &q, &k);
    return n == k && (n == 0 || memcmp(p, q, n) == 0);
}

/* As visit(), with a ticket of |data| (if it has p) after the handshake, and what came in its. */
static struct visit talk(struct tls_context *s, struct tls_context *c, SSL_SESSION **session,
                         struct span data, uint64_t deadline, struct buf *ret_data)
{
    SSL *client = tls_context_open(c, "localhost");
    SSL_SESSION *came = *session;

    if (came)
        assert_int_equal(SSL_set_session(client, came), 1);
    struct meeting m = meet(client, tls_context_open(s, NULL));
    struct visit v = judge(&m);
    struct span got;
    char byte;

    buf_reset(ret_data);
    if (tls_ticket_data(m.server, &got))
        buf_add(ret_data, got);
    *session = take_ticket(&m, &v.got_ticket);
    /* None by itself. */
    assert_true(v.resumed ? is_same_ticket(came, *session) : !v.got_ticket);
    SSL_SESSION_free(came);
    if (data.p) {
        assert_int_equal(tls_ticket_issue(m.server, data, deadline), OK);
        assert_int_equal(SSL_write(m.server, "x", 1), 1);
        assert_int_equal(SSL_read(m.client, &byte, 1), 1);
        SSL_SESSION_free(*session);
        *session = take_ticket(&m, &v.got_ticket);
        assert_true(v.got_ticket);
    }
    (void)SSL_shutdown(m.client);
    part(&m);
    return v;
}

static void test_on_request(void **state)
{
    struct tls_settings settings = mutual();
    char large[TLS_TICKET_DATA_MAX];
    struct buf got;
    SSL_SESSION *session = NULL;

    (void)state;
    buf_init(&got, 0);
    memset(large, 'L', sizeof large);
    settings.tickets_on_request = true;
    struct tls_context *s = server(settings), *c = client_of(&known, TLS1_3_VERSION);

    (void)talk(s, c, &session, SPAN("tenant one"), now_s() + 600, &got);
    assert_string_equal(buf_cstr(&got), "");
    set_clock(9 * MINUTE);
    struct visit v = talk(s, c, &session, (struct span){large, sizeof large}, now_s() + 600, &got);

    assert_true(v.resumed && v.has_peer);
    assert_string_equal(buf_cstr(&got), "tenant one");
    v = talk(s, c, &session, SPAN("again"), now_s() + 600, &got);
    assert_true(v.resumed);
    assert_true(span_eq(buf_span(&got), (struct span){large, sizeof large}));
    /* The deadline of the last. */
    set_clock(19 * MINUTE);
    v = talk(s, c, &session, SPAN("late"), now_s() + 86400, &got);
    assert_true(v.in && !v.resumed);
    assert_string_equal(buf_cstr(&got), "");
    /* No deadline is later than an hour after the handshake. */
    set_clock((19 + 60) * MINUTE - 1);
    v = talk(s, c, &session, SPAN("more"), now_s() + 86400, &got);
    assert_true(v.resumed);
    assert_string_equal(buf_cstr(&got), "late");
    set_clock((19 + 60) * MINUTE);
    v = talk(s, c, &session, SPAN_NONE, 0, &got);
    assert_true(v.in && !v.resumed);
    forget(&session);
    tls_context_unref(s);
    tls_context_unref(c);
    buf_done(&got);
}

/* Not where nothing would come back: and then it is said. */
static void test_on_request_refused(void **state)
{
    static char large[TLS_TICKET_DATA_MAX + 1];
    struct tls_settings off = mutual(), on = mutual();

    (void)state;
    off.no_tickets = true;
    on.tickets_on_request = true;
    for (unsigned i = 0; i < 3; i++) {
        struct tls_context *s = server(i == 1 ? off : on);
        struct tls_context *c = client_of(&known, i == 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
        struct meeting m = meet(tls_context_open(c, "localhost"), tls_context_open(s, NULL));
        struct span data = i == 2 ? (struct span){large, sizeof large} : SPAN("x"), got;

        assert_int_equal(tls_ticket_issue(m.server, data, now_s() + 60),
                         i == 2 ? ERR_LIMIT : ERR_MISSING);
        assert_int_equal(tls_ticket_issue(m.client, SPAN("x"), now_s() + 60), ERR_MISSING);
        assert_false(tls_ticket_data(m.server, &got));
        assert_false(tls_ticket_data(m.client, &got));
        part(&m);
        tls_context_unref(s);
        tls_context_unref(c);
    }
}

/* In TLS 1.2 the ticket comes with the handshake, and brings back a session only. */
static void test_on_request_in_1_2(void **state)
{
    struct tls_settings on = mutual();
    SSL_SESSION *session = NULL;
    struct span got;

    (void)state;
    on.tickets_on_request = true;
    struct tls_context *s = server(on), *c = client_of(&known, TLS1_2_VERSION);

    assert_true(visit(s, c, &session).got_ticket);
    SSL *client = tls_context_open(c, "localhost");

    assert_int_equal(SSL_set_session(client, session), 1);
    struct meeting m = meet(client, tls_context_open(s, NULL));

    assert_true(judge(&m).resumed);
    assert_false(tls_ticket_data(m.server, &got));
    part(&m);
    forget(&session);
    tls_context_unref(s);
    tls_context_unref(c);
}

#define ROW(f) cmocka_unit_test_setup(f, new_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_an_hour),
        ROW(test_hourly_keys),
        ROW(test_tickets_of_the_hour_before),
        ROW(test_secrets),
        ROW(test_secret_sizes),
        ROW(test_other_trust),
        ROW(test_peer_expires),
        ROW(test_peer_is_revoked),
        ROW(test_crl_expires),
        ROW(test_tolerated),
        ROW(test_off),
        ROW(test_no_early_data),
        ROW(test_on_request),
        ROW(test_on_request_refused),
        ROW(test_on_request_in_1_2),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
