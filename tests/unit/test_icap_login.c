/* SPDX-License-Identifier: Apache-2.0 */
/* Whose request it is, on the wire: 407 and what follows it, sessions and their end, tenants that
 * do not see each other, quotas. */
#include "test_icap_peer.h"

#include "icap/icap_progress_table.h"
#include "tenant/logins.h"

#define ALICE "Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==\r\n" /* alice:correct horse */
#define BOB   "Authorization: Basic Ym9iOmJhdHRlcnkgc3RhcGxl\r\n"     /* bob:battery staple */
#define WRONG "Authorization: Basic YWxpY2U6d3JvbmcgcGFzc3dvcmQ=\r\n" /* alice:wrong password */
#define ODD   "Authorization: Basic bm8gY29sb24=\r\n"                 /* "no colon" */
#define NOONE "Authorization: Basic bm9ib2R5Ondyb25nIHBhc3N3b3Jk\r\n" /* nobody:wrong password */

static const char config[] =
    "services:\n"
    "  - {name: echo, type: echo, path: /echo}\n"
    "  - {name: acme-own, type: echo, path: /own, tenants: [acme]}\n"
    "  - {name: shared, type: echo, path: /both}\n"
    "  - {name: acme-both, type: echo, path: /both, tenants: [acme]}\n"
    "  - {name: scan, type: inspect, path: /scan}\n"
    "  - {name: page, type: inspect, path: /page, deadline: 300s,\n"
    "     slow: {mode: progress, after: 10s, host: progress.example}}\n"
    "limits: {idle-timeout: 2h, body-timeout: 1h, transaction-timeout: 3h}";

static struct login_policy policy;
static struct tenant_settings rows[2];
static struct quotas *quotas;
static struct credential users[2];

static struct login_settings settings(void)
{
    return (struct login_settings){
        .rounds = CREDENTIAL_ROUNDS_MIN,
        .session_rounds = CREDENTIAL_ROUNDS_MIN,
        .session_ms = SESSION_MS_MAX,
        .failure_ms = 10000,
        .sessions_max = 1000,
        .threads = 2,
        .queue_max = 64,
        .per_source = {.burst = 20, .every_ms = 1000},
        .per_user = {.burst = 20, .every_ms = 1000}
    };
}

static struct tenants *make_tenants(bool acme_disabled)
{
    struct tenant_record records[] = {
        {.name = "acme", .disabled = acme_disabled, .key = "acme's key"},
        {.name = "other",              .key = "another key"                        }
    };
    const struct tenants_source src = {.rows = rows,
                                       .n_rows = ARRAY_LEN(rows),
                                       .records = records,
                                       .n_records = ARRAY_LEN(records),
                                       .credentials = users,
                                       .n_credentials = ARRAY_LEN(users),
                                       .quotas = quotas};
    struct tenants *t;

    assert_int_equal(tenants_new(&src, &t), OK);
    return t;
}

static void prepare(struct world *w)
{
    const struct login_settings set = settings();
    const struct logins_source src = {.clock = &w->clock.clock, .set = &set};

    assert_int_equal(logins_new(&src, &w->logins), OK);
    w->tenants = make_tenants(false);
    logins_set_tenants(w->logins, w->tenants);
    w->settings.login = &policy;
}

static struct credential user(const char *name, const char *tenant, const char *password)
{
    struct credential c = {.changed_wall_ms = 1000};

    (void)span_copy(span_of(name), c.user, sizeof c.user);
    (void)span_copy(span_of(tenant), c.tenant, sizeof c.tenant);
    assert_int_equal(credential_set_password(&c, span_of(password), CREDENTIAL_ROUNDS_MIN), OK);
    return c;
}

static int make_users(void **state)
{
    (void)state;
    users[0] = user("alice", "acme", "correct horse");
    users[1] = user("bob", "other", "battery staple");
    world_prepare = prepare;
    return 0;
}

static int setup(void **state)
{
    policy = (struct login_policy){.by = LOGIN_BY_PASSWORD};
    memset(rows, 0, sizeof rows);
    rows[0].name = "acme";
    rows[1].name = "other";
    assert_int_equal(quotas_new(&quotas), OK);
    *state = world_new(config, NULL);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    quotas_free(quotas);
    return 0;
}

/* The threads are below everything else, and this machine may be busy. */
static void let_derive(struct world *w)
{
    struct logins_counts c;

    do {
        world_settle(w);
        (void)usleep(1000);
        logins_count(w->logins, &c);
    } while (c.waiting > 0);
    world_settle(w);
}

static struct reply asks(struct world *w, struct peer *p, const struct ask *a)
{
    peer_ask(w, p, a);
    let_derive(w);
    return peer_reply(w, p);
}

static void answers(struct world *w, struct peer *p, const char *path, const char *fields,
                    unsigned status)
{
    struct reply r = asks(w, p, &(struct ask){.path = path, .fields = fields, .body = "x"});

    assert_status(&r, status);
    reply_done(&r);
}

static void record_is(struct world *w, const char *tenant, const char *service, const char *error)
{
    json_t *j = world_record(w);

    assert_string_equal(record_text(j, "tenant"), tenant);
    assert_string_equal(record_text(j, "service"), service);
    assert_string_equal(record_text(j, "error"), error);
    assert_int_equal(strlen(record_text(j, "session")), *tenant ? SESSION_ID_LEN : 0);
    json_decref(j);
}

/* ---- who is refused ---- */

static void test_challenge(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r = asks(w, p, &(struct ask){.path = "/echo", .body = "x"});

    assert_status(&r, 407);
    assert_reply_has(&r, "Proxy-Authenticate: Basic realm=\"sallyport\", charset=\"UTF-8\"\r\n");
    assert_reply_has(&r, "WWW-Authenticate: Basic realm=\"sallyport\", charset=\"UTF-8\"\r\n");
    reply_done(&r);
    record_is(w, "", "", "login");
    /* It may try again at once, on the same connection. */
    answers(w, p, "/echo", ALICE, 200);
    record_is(w, "acme", "echo", "");
}

static void test_the_third_one_closes(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    answers(w, p, "/echo", NULL, 407);
    answers(w, p, "/echo", "Authorization: Digest username=\"alice\"\r\n", 407);
    r = asks(w, p, &(struct ask){.path = "/echo", .body = "x"});
    assert_status(&r, 407);
    assert_reply_has(&r, "Connection: close\r\n");
    reply_done(&r);
    peer_ends(w, p);
}

static void without_lines(struct reply *r, struct buf *out)
{
    struct span rest = buf_span(&r->heads);

    buf_init(out, 0);
    while (rest.n) {
        struct span line = span_cut(&rest, '\n');

        if (!span_starts(line, SPAN("X-Request-ID")) && !span_starts(line, SPAN("Date")))
            buf_add(out, line);
    }
}

static void hold_refusals(struct world *w, uint32_t burst)
{
    struct login_settings set = settings();

    set.hold_ms = 1000;
    set.per_source.burst = burst;
    logins_set(w->logins, &set);
}

/* Asks, and nothing comes before a second has passed. */
static void is_held(struct world *w, struct peer *p, const char *fields, unsigned status)
{
    struct reply r;
    size_t heads;

    peer_ask(w, p, &(struct ask){.path = "/echo", .fields = fields, .body = "x"});
    let_derive(w);
    world_pass(w, 900);
    assert_int_equal(reply_len(buf_span(&p->in), &heads), 0);
    world_pass(w, 200);
    r = peer_reply(w, p);
    assert_status(&r, status);
    reply_done(&r);
}

/* A wrong password that is derived has waited for that; one that is not looked at waits, too. */
static void test_guessing_again_is_not_faster(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    hold_refusals(w, 1);
    answers(w, p, "/echo", WRONG, 407);
    is_held(w, p, WRONG, 407); /* remembered */
    is_held(w, p, ODD, 407);   /* nobody's: nothing to derive */
    peer_ends(w, p);
    p = peer_new(w);
    answers(w, p, "/echo", NOONE, 407);
    is_held(w, p, BOB, 503); /* too many from there; right or not */
    answers(w, p, "/echo", NULL, 407);
    world_pass(w, 2000);
    answers(w, p, "/echo", BOB, 200);
}

static void test_the_client_leaves_while_it_is_held(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    hold_refusals(w, 20);
    answers(w, p, "/echo", WRONG, 407);
    peer_ask(w, p, &(struct ask){.path = "/echo", .fields = WRONG, .body = "x"});
    world_settle(w);
    peer_close(p);
    world_pass(w, 1100);
    expect_no_connection(w);
}

static void test_the_server_ends_while_it_is_held(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    hold_refusals(w, 20);
    answers(w, p, "/echo", WRONG, 407);
    peer_ask(w, p, &(struct ask){.path = "/echo", .fields = WRONG, .body = "x"});
    world_settle(w);
    icap_server_free(w->server);
    w->server = NULL;
    world_pass(w, 1100);
}

static void test_unknown_user_and_wrong_password_look_the_same(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w), *q = peer_new(w);
    struct reply r = asks(w, p, &(struct ask){.path = "/echo", .fields = WRONG, .body = "x"});
    struct reply s = asks(w, q, &(struct ask){.path = "/echo", .fields = NOONE, .body = "x"});
    struct buf a, b;

    assert_status(&r, 407);
    without_lines(&r, &a);
    without_lines(&s, &b);
    assert_string_equal(buf_cstr(&a), buf_cstr(&b));
    buf_done(&a);
    buf_done(&b);
    reply_done(&r);
    reply_done(&s);
    record_is(w, "", "", "login");
    record_is(w, "", "", "login");
}

static void test_two_authorizations(void **state)
{
    struct world *w = *state;

    answers(w, peer_new(w), "/echo", ALICE BOB, 400);
    answers(w, peer_new(w), "/echo", ALICE ALICE, 400);
}

static void test_a_large_body_of_nobody_is_not_read(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    peer_ask(w, p, &(struct ask){.path = "/echo", .body = "", .head_only = true});
    r = peer_reply(w, p);
    assert_status(&r, 407);
    assert_reply_has(&r, "Connection: close\r\n");
    reply_done(&r);
}

static void test_proxy_authorization(void **state)
{
    struct world *w = *state;

    answers(w, peer_new(w), "/echo", "Proxy-" ALICE, 407);
    policy.proxy_authorization = true;
    answers(w, peer_new(w), "/echo", "Proxy-" ALICE, 200);
    answers(w, peer_new(w), "/echo", "Proxy-" WRONG ALICE, 200); /* Authorization goes before */
}

/* ---- sessions ---- */

static void test_once_for_a_connection(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct logins_counts c;

    answers(w, p, "/echo", ALICE, 200);
    answers(w, p, "/echo", NULL, 200);
    answers(w, p, "/own", ALICE, 200);
    for (unsigned i = 0; i < 3; i++)
        record_is(w, "acme", i < 2 ? "echo" : "acme-own", "");
    /* Another tenant on the same connection. */
    answers(w, p, "/own", BOB, 404);
    record_is(w, "other", "", "not-found");
    logins_count(w->logins, &c);
    assert_int_equal(c.verified, 2);
    assert_int_equal(c.derived, 2);
}

/* Whose what does not say so is then cannot be known: not the last one's. */
static void test_once_is_not_enough_for_two(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    answers(w, p, "/own", ALICE, 200);
    answers(w, p, "/own", ALICE, 200); /* again is not another one */
    answers(w, p, "/own", NULL, 200);
    answers(w, p, "/echo", BOB, 200);
    answers(w, p, "/echo", NULL, 407);
    answers(w, p, "/own", ALICE, 200);
    answers(w, p, "/own", NULL, 407);
    answers(w, p, "/echo", BOB, 200);
    for (unsigned i = 0; i < 3; i++)
        record_is(w, "acme", "acme-own", "");
    record_is(w, "other", "echo", "");
    record_is(w, "", "", "login");
    record_is(w, "acme", "acme-own", "");
    record_is(w, "", "", "login");
    record_is(w, "other", "echo", "");
}

/* OPTIONS without a login is asked as nobody's there, as on a connection that has none. */
static void test_options_of_two(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    policy.options = LOGIN_OPTIONS_OPEN;
    answers(w, p, "/echo", ALICE, 200);
    answers(w, p, "/echo", BOB, 200);
    r = asks(w, p, &(struct ask){.method = "OPTIONS", .path = "/own"});
    assert_status(&r, 200);
    assert_reply_has(&r, "ISTag: \"sallyport\"\r\n");
    reply_done(&r);
}

static void test_each_request(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    policy.each_request = true;
    answers(w, p, "/own", ALICE, 200);
    answers(w, p, "/own", NULL, 407);
    answers(w, p, "/own", ALICE, 200);
    record_is(w, "acme", "acme-own", "");
    record_is(w, "", "", "login");
    record_is(w, "acme", "acme-own", "");
}

/* The body, and a request behind it, come while the login is looked at. */
static void test_everything_at_once(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;
    size_t n = 300000;
    char *body = test_malloc(n);
    struct buf b;

    for (size_t i = 0; i < n; i++)
        body[i] = (char)('a' + i % 26);
    buf_init(&b, 0);
    ask_format(&(struct ask){.path = "/echo", .fields = ALICE, .body = body, .body_n = n}, &b);
    ask_format(&(struct ask){.path = "/both", .body = "second"}, &b);
    peer_send(w, p, buf_span(&b));
    let_derive(w);
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_int_equal(r.body.n, n);
    assert_memory_equal(r.body.p, body, n);
    reply_done(&r);
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_string_equal(buf_cstr(&r.body), "second");
    reply_done(&r);
    buf_done(&b);
    test_free(body);
}

static void test_the_client_leaves_meanwhile(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    /* The body does not come any more; that is seen when there is somebody to wait for it. */
    peer_ask(w, p, &(struct ask){.path = "/echo", .fields = ALICE, .body = "", .head_only = true});
    peer_close(p);
    world_settle(w);
    let_derive(w);
    expect_no_connection(w);
    record_is(w, "acme", "echo", "client-gone");
}

static void test_the_server_ends_meanwhile(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    peer_ask(w, p, &(struct ask){.path = "/echo", .fields = ALICE, .body = "x"});
    world_settle(w);
    icap_server_free(w->server);
    w->server = NULL;
    let_derive(w);
}

static void test_an_hour(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    answers(w, p, "/echo", ALICE, 200);
    w->clock.now_ms += 3200000; /* connections end between 54 minutes and 60 */
    answers(w, p, "/echo", NULL, 200);
    world_pass(w, 400000);
    peer_ends(w, p);
    answers(w, peer_new(w), "/echo", ALICE, 200);
}

/* Connections that were opened together do not come again together. */
static void test_ends_are_spread(void **state)
{
    struct world *w = *state;
    unsigned left = 8, steps = 0;

    for (unsigned i = 0; i < left; i++)
        answers(w, peer_new(w), "/echo", ALICE, 200);
    assert_int_equal(icap_server_connections(w->server), left);
    for (unsigned hundredth = 90; hundredth <= 100; hundredth++) {
        world_pass(w, hundredth == 90 ? 3240000 : 36000);
        unsigned now = icap_server_connections(w->server);

        steps += now < left;
        left = now;
    }
    assert_int_equal(left, 0);
    assert_true(steps >= 3);
}

/* What is under way is not cut off, and its answer says that the connection ends. */
static void test_the_hour_passes_in_a_request(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    answers(w, p, "/echo", ALICE, 200);
    w->clock.now_ms += 3100000;
    peer_ask(w, p, &(struct ask){.path = "/scan", .body = "", .head_only = true});
    peer_say(w, p, "5\r\nclean\r\n");
    world_pass(w, 600000);
    assert_false(p->eof);
    peer_say(w, p, "0\r\n\r\n");
    WORLD_UNTIL(w, fake_busy(&w->zygote));
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_string_equal(buf_cstr(&r.body), "clean");
    assert_reply_has(&r, "Connection: close\r\n");
    reply_done(&r);
    peer_ends(w, p);
}

static void test_disabled_meanwhile(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct tenants *t = make_tenants(true);

    answers(w, p, "/echo", ALICE, 200);
    logins_set_tenants(w->logins, t);
    answers(w, p, "/echo", NULL, 407);
    answers(w, p, "/echo", ALICE, 407);
    tenants_unref(t);
}

/* ---- tenants ---- */

static void test_services_of_tenants(void **state)
{
    struct world *w = *state;

    answers(w, peer_new(w), "/both", ALICE, 200);
    record_is(w, "acme", "acme-both", "");
    answers(w, peer_new(w), "/both", BOB, 200);
    record_is(w, "other", "shared", "");
    answers(w, peer_new(w), "/own", BOB, 404);
    record_is(w, "other", "", "not-found");
}

static void istag_of(struct world *w, const char *fields, char ret[64])
{
    struct reply r =
        asks(w, peer_new(w), &(struct ask){.path = "/echo", .fields = fields, .body = "x"});
    const char *at = strstr(buf_cstr(&r.heads), "ISTag: ");

    assert_status(&r, 200);
    assert_non_null(at);
    (void)span_copy((struct span){at, strcspn(at, "\r")}, ret, 64);
    reply_done(&r);
}

static void test_each_has_its_istag(void **state)
{
    struct world *w = *state;
    char a[64], b[64], again[64];

    istag_of(w, ALICE, a);
    istag_of(w, BOB, b);
    istag_of(w, ALICE, again);
    assert_string_equal(a, again);
    assert_string_not_equal(a, b);
}

/* An exception of acme's changes its ISTag, and nobody else's. */
static void test_exceptions_of_others_do_not_show(void **state)
{
    struct world *w = *state;
    struct exception e = {.kind = EXCEPTION_ALLOW,
                          .id = "abcd1234",
                          .created_wall_ms = w->clock.now_ms,
                          .expires_wall_ms = w->clock.now_ms + 1000000,
                          .by = "root",
                          .reason = "a test",
                          .host = "files.example",
                          .tenant = "acme"};
    char before[2][64], after[2][64];
    struct exceptions *old = w->exceptions;

    istag_of(w, ALICE, before[0]);
    istag_of(w, BOB, before[1]);
    assert_int_equal(exceptions_with(old, &e, w->clock.now_ms, &w->exceptions), OK);
    exceptions_unref(old);
    struct icap_snapshot *s = world_snapshot(w, config, "yara 4.2.3 rules 1");

    icap_server_set_snapshot(w->server, s);
    icap_snapshot_unref(s);
    istag_of(w, ALICE, after[0]);
    istag_of(w, BOB, after[1]);
    assert_string_not_equal(before[0], after[0]);
    assert_string_equal(before[1], after[1]);
}

static void ask_page(struct world *w, struct peer *p, const char *fields, const char *token)
{
    char request[256];

    (void)snprintf(request, sizeof request,
                   "GET http://progress.example/%s HTTP/1.1\r\nHost: progress.example\r\n", token);
    peer_ask(
        w, p,
        &(struct ask){.method = "REQMOD", .path = "/page", .fields = fields, .request = request});
    let_derive(w);
}

/* A scan goes on without its connection, which belongs to somebody; and the file is his. */
static void test_a_progress_page(void **state)
{
    static const char browser[] = "GET http://files.example/a.pdf HTTP/1.1\r\n"
                                  "Host: files.example\r\nAccept: text/html,*/*;q=0.8\r\n";
    static const char mark[] = "url=http://progress.example/";
    struct world *w = *state;
    struct peer *p = peer_new(w), *q = peer_new(w);
    char token[PROGRESS_TOKEN_LEN + 1];
    struct reply r;

    peer_ask(w, p,
             &(struct ask){.path = "/page", .fields = ALICE, .request = browser, .body = "file"});
    let_derive(w);
    WORLD_UNTIL(w, fake_busy(&w->zygote));
    world_pass(w, 10000);
    r = peer_reply(w, p);
    assert_status(&r, 200);
    const char *at = strstr(buf_cstr(&r.body), mark);

    assert_non_null(at);
    (void)span_copy((struct span){at + sizeof mark - 1, PROGRESS_TOKEN_LEN}, token, sizeof token);
    reply_done(&r);
    record_is(w, "acme", "page", "");
    peer_close(p);
    WORLD_UNTIL(w, icap_server_connections(w->server) == 1);
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    world_settle(w);
    record_is(w, "acme", "page", "");
    ask_page(w, q, BOB, token); /* from the same address */
    r = peer_reply(w, q);
    assert_reply_has(&r, "HTTP/1.1 404 ");
    reply_done(&r);
    ask_page(w, q, ALICE, token);
    r = peer_reply(w, q);
    assert_reply_has(&r, "HTTP/1.1 200 ");
    assert_string_equal(buf_cstr(&r.body), "file");
    reply_done(&r);
}

static void test_options(void **state)
{
    static const struct {
        enum login_options options;
        const char *fields;
        unsigned status;
    } cases[] = {
        {LOGIN_OPTIONS_REQUIRED,    NULL,  407},
        {LOGIN_OPTIONS_CERTIFICATE, NULL,  407}, /* it has none */
        {LOGIN_OPTIONS_OPEN,        NULL,  200},
        {LOGIN_OPTIONS_OPEN,        WRONG, 407}, /* what it says must be right */
        {LOGIN_OPTIONS_REQUIRED,    ALICE, 200},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer *p = peer_new(w);
        struct reply r;

        policy.options = cases[i].options;
        r = asks(w, p,
                 &(struct ask){.method = "OPTIONS", .path = "/echo", .fields = cases[i].fields});
        assert_status(&r, cases[i].status);
        reply_done(&r);
        /* The services of tenants look like any other one. */
        if (cases[i].options == LOGIN_OPTIONS_OPEN && cases[i].status == 200) {
            r = asks(w, p, &(struct ask){.method = "OPTIONS", .path = "/own"});
            assert_status(&r, 200);
            assert_reply_has(&r, "ISTag: \"sallyport\"\r\n");
            assert_false(reply_has(&r, "acme"));
            reply_done(&r);
        }
        /* It opens nothing else. */
        answers(w, p, "/echo", NULL, cases[i].fields == NULL || cases[i].status == 407 ? 407 : 200);
        peer_close(p);
        expect_no_connection(w);
    }
}

/* ---- icaps without TLS ---- */

static void test_icaps_in_clear_text(void **state)
{
    static const struct {
        const char *proxy, *scheme; /* who connects, as a load balancer says */
        unsigned status;
    } cases[] = {
        {"PROXY TCP4 192.0.2.7 192.0.2.1 1000 1344\r\n", "icaps", 403},
        {"PROXY TCP4 192.0.2.7 192.0.2.1 1000 1344\r\n", "icap",  407},
        {"PROXY TCP4 127.0.0.1 127.0.0.1 1000 1344\r\n", "icaps",
         407                                                         }, /* a TLS end of this machine */
    };
    static const struct cidr all = {.family = AF_INET};
    struct world *w = *state;
    char text[256];

    w->settings.proxy_from = &all;
    w->settings.n_proxy_from = 1;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer *p = peer_of(w, test_connect(&w->address));
        struct reply r;

        (void)snprintf(text, sizeof text, "%sOPTIONS %s://gw/echo ICAP/1.0\r\nHost: gw\r\n\r\n",
                       cases[i].proxy, cases[i].scheme);
        peer_say(w, p, text);
        r = peer_reply(w, p);
        assert_status(&r, cases[i].status);
        reply_done(&r);
    }
}

/* ---- quotas ---- */

static int setup_limits(void **state, struct quota_limits limits)
{
    (void)setup(state);
    rows[0].limits = limits;
    struct world *w = *state;

    tenants_unref(w->tenants);
    w->tenants = make_tenants(false);
    tenants_limit(w->tenants);
    logins_set_tenants(w->logins, w->tenants);
    struct icap_snapshot *s = world_snapshot(w, config, "yara 4.2.3 rules 1");

    icap_server_set_snapshot(w->server, s);
    icap_snapshot_unref(s);
    return 0;
}

static int setup_quotas(void **state)
{
    return setup_limits(state, (struct quota_limits){.connections = 1, .requests = 1});
}

static int setup_scans(void **state)
{
    return setup_limits(state, (struct quota_limits){.scans = 1});
}

static void test_quota_of_connections(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w), *q = peer_new(w);
    struct reply r;

    answers(w, p, "/echo", ALICE, 200);
    r = asks(w, q, &(struct ask){.path = "/echo", .fields = ALICE, .body = "x"});
    assert_status(&r, 503);
    assert_reply_has(&r, "Retry-After: ");
    assert_reply_has(&r, "Connection: close\r\n");
    reply_done(&r);
    peer_ends(w, q);
    answers(w, peer_new(w), "/echo", BOB, 200); /* another tenant's business */
    peer_close(p);
    world_settle(w);
    answers(w, peer_new(w), "/echo", ALICE, 200);
}

static void test_quota_of_requests(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;
    size_t heads;

    answers(w, p, "/echo", ALICE, 200);
    answers(w, p, "/echo", NULL, 200);
    /* Twice as many as in a second: the next one waits for its turn. */
    peer_ask(w, p, &(struct ask){.path = "/echo", .body = "x"});
    world_settle(w);
    assert_int_equal(reply_len(buf_span(&p->in), &heads), 0);
    world_pass(w, 1100);
    r = peer_reply(w, p);
    assert_status(&r, 200);
    reply_done(&r);
}

/* A tenant's files wait for one another, longer than for slots that all have in common; not for
 * ever, and another tenant's do not notice. */
static void test_quota_of_scans(void **state)
{
    struct world *w = *state;
    struct peer *p[4], *other = peer_new(w);
    struct reply r;
    size_t heads;

    for (unsigned i = 0; i < ARRAY_LEN(p); i++) {
        p[i] = peer_new(w);
        answers(w, p[i], "/echo", ALICE, 200);
        peer_ask(w, p[i], &(struct ask){.path = "/scan", .body = "x"});
        world_settle(w);
    }
    assert_int_equal(w->zygote.n_jobs, 1);
    world_pass(w, 1500);
    for (unsigned i = 0; i < ARRAY_LEN(p); i++)
        assert_int_equal(reply_len(buf_span(&p[i]->in), &heads), 0);
    fake_answer(fake_busy(&w->zygote), &(struct scan_result){.verdict = VERDICT_PASS});
    world_settle(w);
    r = peer_reply(w, p[0]);
    assert_status(&r, 200);
    reply_done(&r);
    assert_int_equal(w->zygote.n_jobs, 2); /* the next one, at once */
    answers(w, other, "/echo", BOB, 200);
    peer_ask(w, other, &(struct ask){.path = "/scan", .body = "x"});
    world_settle(w);
    assert_int_equal(w->zygote.n_jobs, 3);
    world_pass(w, 600); /* two seconds and more for the other two */
    for (unsigned i = 2; i < ARRAY_LEN(p); i++) {
        r = peer_reply(w, p[i]);
        assert_reply_has(&r, "X-Response-Desc: overload\r\n");
        reply_done(&r);
    }
    struct quota_use use;

    quota_read(tenants_find(w->tenants, SPAN("acme"))->quota, &use);
    assert_int_equal(use.refused, 2);
}

int main(void)
{
#define TEST(f)   cmocka_unit_test_setup_teardown(f, setup, teardown)
#define QUOTAS(f) cmocka_unit_test_setup_teardown(f, setup_quotas, teardown)
#define SCANS(f)  cmocka_unit_test_setup_teardown(f, setup_scans, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_challenge),
        TEST(test_the_third_one_closes),
        TEST(test_guessing_again_is_not_faster),
        TEST(test_the_client_leaves_while_it_is_held),
        TEST(test_the_server_ends_while_it_is_held),
        TEST(test_unknown_user_and_wrong_password_look_the_same),
        TEST(test_two_authorizations),
        TEST(test_a_large_body_of_nobody_is_not_read),
        TEST(test_proxy_authorization),
        TEST(test_once_for_a_connection),
        TEST(test_once_is_not_enough_for_two),
        TEST(test_options_of_two),
        TEST(test_each_request),
        TEST(test_everything_at_once),
        TEST(test_the_client_leaves_meanwhile),
        TEST(test_the_server_ends_meanwhile),
        TEST(test_an_hour),
        TEST(test_ends_are_spread),
        TEST(test_the_hour_passes_in_a_request),
        TEST(test_disabled_meanwhile),
        TEST(test_services_of_tenants),
        TEST(test_each_has_its_istag),
        TEST(test_exceptions_of_others_do_not_show),
        TEST(test_a_progress_page),
        TEST(test_options),
        TEST(test_icaps_in_clear_text),
        QUOTAS(test_quota_of_connections),
        QUOTAS(test_quota_of_requests),
        SCANS(test_quota_of_scans),
    };

    return cmocka_run_group_tests(tests, make_users, NULL);
}
