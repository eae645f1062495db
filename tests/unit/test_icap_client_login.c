/* SPDX-License-Identifier: Apache-2.0 */
/* The ICAP client's driver and a server that wants to know who asks, or is busy: against a script
 * of raw bytes. What the statuses mean. */
#include "test_icap_client_world.h"

#include "icap/icap_client_status.h"

/* ---- a login ---- */

#define LOGIN      "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"
#define DENIED     "ICAP/1.0 407 Proxy Authentication Required\r\nISTag: \"d\"\r\n"
#define CHALLENGE  "Proxy-Authenticate: Basic realm=\"s\", charset=\"UTF-8\"\r\n"
#define NO_CONTENT "ICAP/1.0 204 No Content\r\n\r\n"
#define PREVIEWED  "he\r\n0\r\n\r\n"

static void log_in(struct fixture *f)
{
    f->login = (struct icap_client_login){
        .user = "user", .authorization = "Basic dXNlcjpzZWNyZXQ=", .insecure = true};
}

static bool has_heard(const struct fixture *f, const char *text)
{
    const struct peer *p = f->server;

    return p->in.n && memmem(p->in.p, p->in.n, text, strlen(text));
}

/* Waits for a request that ends so; it must have carried the login. */
static void hear_login(struct fixture *f, const char *end)
{
    WORLD_UNTIL(f->w, has_heard(f, end));
    assert_true(has_heard(f, LOGIN));
    buf_reset(&f->server->in);
}

static void begin_logged_in(struct fixture *f)
{
    log_in(f);
    use_script(f);
    begin(f);
    accept_one(f);
    hear_login(f, "\r\n\r\n");
    peer_say(f->w, f->server, OPTIONS_ANSWER);
}

static void denied_for(struct fixture *f, const char *why)
{
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_ERROR);
    assert_int_equal(f->result.status, 407);
    if (!strstr(f->result.why, why))
        fail_msg("%s", f->result.why);
    assert_null(strstr(f->result.why, "ecret"));
    assert_null(strstr(f->result.why, "dXNl"));
}

/* The server's session ends in the middle of a run, twice, and nobody notices. */
static void test_renewal(void **state)
{
    struct fixture *f = *state;

    begin_logged_in(f);
    for (unsigned i = 0; i < 3; i++) {
        if (i > 0)
            begin(f);
        hear_login(f, PREVIEWED);
        peer_say(f->w, f->server, DENIED CHALLENGE "\r\n");
        hear_login(f, PREVIEWED);
        peer_say(f->w, f->server, "ICAP/1.0 204 No Content\r\nISTag: \"u\"\r\n\r\n");
        finish(f);
        assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
        assert_int_equal(f->result.status, 204);
        assert_string_equal(f->result.istag, "\"u\"");
        assert_string_equal(f->result.why, "");
    }
    assert_int_equal(f->n_accepted, 1);
}

static void test_renewal_in_options(void **state)
{
    struct fixture *f = *state;

    log_in(f);
    use_script(f);
    begin(f);
    accept_one(f);
    hear_login(f, "\r\n\r\n");
    peer_say(f->w, f->server, DENIED CHALLENGE "\r\n");
    hear_login(f, "\r\n\r\n");
    peer_say(f->w, f->server, OPTIONS_ANSWER);
    hear_login(f, PREVIEWED);
    peer_say(f->w, f->server, NO_CONTENT);
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->n_accepted, 1);
}

/* With a body of its own, which is none of the file's. */
static void test_renewal_with_a_page(void **state)
{
    struct fixture *f = *state;

    begin_logged_in(f);
    hear_login(f, PREVIEWED);
    peer_say(f->w, f->server,
             DENIED CHALLENGE "Encapsulated: res-hdr=0, res-body=26\r\n\r\n"
                              "HTTP/1.1 403 Forbidden\r\n\r\n5\r\nLogin\r\n0\r\n\r\n");
    hear_login(f, PREVIEWED);
    peer_say(f->w, f->server,
             "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n"
             "HTTP/1.1 200 OK\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->result.body_len, 5);
}

static void test_renewal_on_another_connection(void **state)
{
    struct fixture *f = *state;

    begin_logged_in(f);
    hear_login(f, PREVIEWED);
    peer_say(f->w, f->server, DENIED CHALLENGE "Connection: close\r\n\r\n");
    peer_close(f->server);
    accept_one(f);
    hear_login(f, PREVIEWED);
    peer_say(f->w, f->server, NO_CONTENT);
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->n_accepted, 2);
}

/* A session that will end soon: the server closes behind a good answer, and the next file logs in
 * anew. */
static void test_a_close_before_the_end(void **state)
{
    struct fixture *f = *state;

    begin_logged_in(f);
    hear_login(f, PREVIEWED);
    peer_say(f->w, f->server, "ICAP/1.0 204 No Content\r\nConnection: close\r\n\r\n");
    finish(f);
    peer_ends(f->w, f->server);
    begin(f);
    accept_one(f);
    hear_login(f, PREVIEWED);
    peer_say(f->w, f->server, NO_CONTENT);
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->n_accepted, 2);
}

/* A connection is given up before its session ends, and not while a file is on it. */
static void test_a_session_of_an_hour(void **state)
{
    struct fixture *f = *state;

    f->file_ms = 3u * 3600u * 1000u;
    begin_logged_in(f);
    hear_login(f, PREVIEWED);
    world_pass(f->w, 54u * 60u * 1000u);
    peer_say(f->w, f->server, NO_CONTENT);
    finish(f);
    begin(f);
    hear_login(f, PREVIEWED);
    world_pass(f->w, 2u * 60u * 1000u);
    peer_say(f->w, f->server, NO_CONTENT);
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->n_accepted, 1);
    peer_ends(f->w, f->server);
    begin(f);
    accept_one(f);
    hear_login(f, PREVIEWED);
    peer_say(f->w, f->server, NO_CONTENT);
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
}

/* The file is on its way already; all of it comes again, on a connection that is whole. */
static void test_renewal_in_the_middle_of_a_file(void **state)
{
    struct fixture *f = *state;

    log_in(f);
    use_script(f);
    file_is_big(f);
    begin(f);
    accept_one(f);
    hear_login(f, "\r\n\r\n");
    peer_say(f->w, f->server, "ICAP/1.0 200 OK\r\nEncapsulated: null-body=0\r\n\r\n");
    WORLD_UNTIL(f->w, f->server->in.n > 100000);
    f->server->deaf = true;
    world_settle(f->w);
    peer_say(f->w, f->server, DENIED CHALLENGE "\r\n");
    accept_one(f);
    WORLD_UNTIL(f->w, f->server->in.n > BIG && has_heard(f, "\r\n0\r\n\r\n"));
    hear_login(f, "RESPMOD icap://gw/s ICAP/1.0\r\n");
    peer_say(f->w, f->server, NO_CONTENT);
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->n_accepted, 2);
}

static void test_denied(void **state)
{
    struct fixture *f = *state;

    begin_logged_in(f);
    for (unsigned i = 0; i < 2; i++) {
        hear_login(f, PREVIEWED);
        peer_say(f->w, f->server, DENIED CHALLENGE "\r\n");
    }
    denied_for(f, "does not accept user 'user'");
    world_settle(f->w);
    assert_int_equal(f->server->in.n, 0);
    assert_int_equal(f->n_accepted, 1);
}

static void test_denied_options(void **state)
{
    struct fixture *f = *state;

    log_in(f);
    use_script(f);
    begin(f);
    accept_one(f);
    for (unsigned i = 0; i < 2; i++) {
        hear_login(f, "\r\n\r\n");
        peer_say(f->w, f->server, DENIED CHALLENGE "\r\n");
    }
    denied_for(f, "does not accept user 'user'");
    assert_int_equal(f->server->in.n, 0);
}

static void test_nobody_is_logged_in(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    answer_options(f);
    hear(f, PREVIEWED);
    peer_say(f->w, f->server, DENIED CHALLENGE "\r\n");
    denied_for(f, "icaps://user@host");
    world_settle(f->w);
    assert_int_equal(f->server->in.n, 0);
}

static void test_another_kind_of_login(void **state)
{
    struct fixture *f = *state;

    begin_logged_in(f);
    hear_login(f, PREVIEWED);
    peer_say(f->w, f->server,
             DENIED "Proxy-Authenticate: Negotiate, Digest realm=\"Basic\"\r\n\r\n");
    denied_for(f, "a kind of login");
    world_settle(f->w);
    assert_int_equal(f->server->in.n, 0);
}

static void test_no_login_in_clear_text(void **state)
{
    struct fixture *f = *state;

    log_in(f);
    f->login.insecure = false;
    use_script(f);
    begin(f);
    accept_one(f);
    finish(f);
    assert_int_equal(f->result.err, ERR_POLICY);
    assert_non_null(strstr(f->result.why, "no password was sent"));
    peer_ends(f->w, f->server);
    assert_int_equal(f->server->in.n, 0);
}

/* ---- a server that is busy ---- */

#define BUSY(seconds) "ICAP/1.0 503 Overloaded\r\nRetry-After: " seconds "\r\n\r\n"

static void test_busy_for_a_while(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    answer_options(f);
    for (unsigned i = 0; i < 3; i++) {
        hear(f, PREVIEWED);
        peer_say(f->w, f->server, BUSY("3"));
        world_pass(f->w, 2000);
        assert_int_equal(f->server->in.n, 0);
        world_pass(f->w, 2000);
    }
    hear(f, PREVIEWED);
    peer_say(f->w, f->server, NO_CONTENT);
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->n_accepted, 1);
}

static void test_busy_for_ever(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    answer_options(f);
    for (unsigned i = 0; i < 4; i++) {
        hear(f, PREVIEWED);
        peer_say(f->w, f->server, BUSY("0"));
        world_settle(f->w);
        world_pass(f->w, 1000);
    }
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_ERROR);
    assert_int_equal(f->result.status, 503);
}

static void test_busy_for_too_long(void **state)
{
    static const char *const answers[] = {BUSY("31"), BUSY("5"), "ICAP/1.0 503 Overloaded\r\n\r\n"};
    struct fixture *f = *state;

    f->file_ms = 5000;
    use_script(f);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        begin(f);
        if (i == 0)
            answer_options(f);
        hear(f, PREVIEWED);
        peer_say(f->w, f->server, answers[i]);
        finish(f);
        assert_int_equal(f->result.status, 503);
        assert_non_null(strstr(f->result.why, "overloaded"));
    }
}

static void test_free_while_the_server_is_busy(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    answer_options(f);
    hear(f, PREVIEWED);
    peer_say(f->w, f->server, BUSY("3"));
    world_settle(f->w);
    icap_client_free(f->client);
    f->client = NULL;
    world_pass(f->w, 5000);
    assert_int_equal(f->n_done, 0);
}

/* ---- statuses ---- */

#define BASIC "Proxy-Authenticate: Basic realm=\"s\"\r\n"
#define OTHER "a kind of login that is not spoken"

/* clang-format off */
static const struct status_row {
    const char *name, *head, *user;
    const char *text;
} statuses[] = {
    {"202", "202 Accepted\r\n", NULL, "has not finished its inspection (202)"},
    {"403", "403 Forbidden\r\n", NULL, "does not let us use it (403)"},
    {"403, in clear text", "403 Forbidden\r\n", NULL, "it may want TLS: icaps://"},
    {"404", "404 Not Found\r\n", NULL, "no such service (404)"},
    {"407, nobody", "407 Login\r\n" BASIC, NULL, "icaps://user@host"},
    {"407, somebody", "407 Login\r\n" BASIC, "me", "does not accept user 'me'"},
    {"407, no challenge", "407 Login\r\n", "me", "does not accept user 'me'"},
    {"407, in the draft's way", "407 Login\r\nWWW-Authenticate: bAsIc\r\n", "me", "does not accept user"},
    {"407, the second of two", "407 Login\r\nProxy-Authenticate: Negotiate, Basic realm=\"x, y\"\r\n", "me", "not accept user"},
    {"407, in two fields", "407 Login\r\nProxy-Authenticate: Negotiate\r\n" BASIC, "me", "does not accept user"},
    {"407, Digest", "407 Login\r\nProxy-Authenticate: Digest realm=\"Basic\", nonce=\"Basic\"\r\n", "me", OTHER},
    {"407, Basics", "407 Login\r\nProxy-Authenticate: Basics realm=\"x\"\r\n", "me", OTHER},
    {"407, empty", "407 Login\r\nProxy-Authenticate: \r\n", "me", OTHER},
    {"503", "503 Busy\r\n", NULL, "overloaded (503)"},
    {"503, for a while", "503 Busy\r\nRetry-After: 120\r\n", NULL, "for about 120 seconds"},
    {"503, until a date", "503 Busy\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", NULL, "overloaded (503)"},
    {"500", "500 Error\r\n", NULL, "status 500"},
};
/* clang-format on */

static void test_status(void **state)
{
    const struct status_row *row = *state;
    const struct head_limits lim = {1000, 8000, 100};
    const bool clear = strstr(row->name, "in clear text") != NULL;
    char text[512], why[ICAP_CLIENT_TEXT_MAX];
    struct arena mem;
    struct head h;

    (void)snprintf(text, sizeof text, "ICAP/1.0 %s\r\n", row->head);
    arena_init(&mem, 1 << 16);
    assert_int_equal(head_parse(HEAD_ICAP_STATUS, span_of(text), &lim, &mem, &h, NULL), OK);
    icap_client_status_text(&h, row->user, clear, why, sizeof why);
    if (!strstr(why, row->text))
        fail_msg("%s", why);
    arena_done(&mem);
}

static void test_statuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        void *row = (void *)(uintptr_t)&statuses[i];

        print_message("%s\n", statuses[i].name);
        test_status(&row);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),
        TEST(test_renewal),
        TEST(test_renewal_in_options),
        TEST(test_renewal_with_a_page),
        TEST(test_renewal_on_another_connection),
        TEST(test_a_close_before_the_end),
        TEST(test_a_session_of_an_hour),
        TEST(test_renewal_in_the_middle_of_a_file),
        TEST(test_denied),
        TEST(test_denied_options),
        TEST(test_nobody_is_logged_in),
        TEST(test_another_kind_of_login),
        TEST(test_no_login_in_clear_text),
        TEST(test_busy_for_a_while),
        TEST(test_busy_for_ever),
        TEST(test_busy_for_too_long),
        TEST(test_free_while_the_server_is_busy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
