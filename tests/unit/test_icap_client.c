/* SPDX-License-Identifier: Apache-2.0 */
/* The ICAP client's driver: against our own server on the same loop, and against a script of raw
 * bytes that breaks every promise. */
#include "test_certs.h"
#include "test_icap_client_world.h"

/* ---- against our own server ---- */

static void test_pass(void **state)
{
    struct fixture *f = *state;

    use_world(f, "/scan", ICAP_RESPMOD);
    file_is(f, SPAN("hello"));
    scan(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->result.err, OK);
    assert_int_equal(f->result.status, 204);
    assert_string_equal(f->result.info, "Allowed");
    assert_true(span_starts(span_of(f->result.how), SPAN("clear text")));
    assert_string_equal(f->result.who, "");
    assert_int_equal(strlen(f->result.id), RECORD_ID_LEN);
    assert_int_equal(f->w->zygote.workers[0].job.job.len, 5);
    assert_string_equal(f->w->zygote.workers[0].job.job.name, "c%.txt");
    /* OPTIONS once, and the connection is kept. */
    scan(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(icap_server_connections(f->w->server), 1);
    json_t *j = world_record(f->w);

    assert_string_equal(record_text(j, "method"), "OPTIONS");
    json_decref(j);
    for (unsigned i = 0; i < 2; i++) {
        j = world_record(f->w);
        assert_string_equal(record_text(j, "method"), "RESPMOD");
        json_decref(j);
    }
}

static void test_empty_file(void **state)
{
    struct fixture *f = *state;

    use_world(f, "/scan", ICAP_RESPMOD);
    scan(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->w->zygote.n_jobs, 0);
}

static void test_blocked(void **state)
{
    struct fixture *f = *state;
    const enum icap_method methods[] = {ICAP_RESPMOD, ICAP_REQMOD};

    f->w->zygote.answer = fake_found("EICAR");
    file_is(f, SPAN("bad"));
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        use_world(f, "/scan", methods[i]);
        scan(f);
        assert_int_equal(f->result.verdict, ICAP_CLIENT_BLOCKED);
        assert_int_equal(f->result.status, 200);
        assert_int_equal(f->result.http_status, 403);
        assert_string_equal(f->result.infection, "Type=0; Resolution=2; Threat=EICAR;");
        assert_string_equal(f->result.info, "Blocked: infected");
        icap_client_free(f->client);
        f->client = NULL;
    }
}

static void test_preview(void **state)
{
    struct fixture *f = *state;

    use_world(f, "/look", ICAP_RESPMOD);
    file_is(f, SPAN("short"));
    scan(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    file_is_big(f);
    scan(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->w->zygote.workers[0].job.job.len, BIG);
}

static void test_big_files(void **state)
{
    struct fixture *f = *state;

    file_is_big(f);
    use_world(f, "/scan", ICAP_REQMOD);
    scan(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->w->zygote.workers[0].job.job.len, BIG);
}

static void ask(struct fixture *f)
{
    f->n_done = 0;
    f->in_call = true;
    assert_int_equal(icap_client_ask(f->client, on_done, f), OK);
    assert_int_equal(icap_client_ask(f->client, on_done, f), ERR_BUG);
    f->in_call = false;
    WORLD_UNTIL(f->w, f->n_done);
    assert_int_equal(f->n_done, 1);
    assert_false(f->inside);
}

/* OPTIONS alone; the connection is kept for files, which do not ask again. */
static void test_ask(void **state)
{
    struct fixture *f = *state;

    use_world(f, "/scan", ICAP_RESPMOD);
    ask(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->result.status, 200);
    assert_true(strlen(f->result.istag) > 2);
    ask(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    file_is(f, SPAN("hello"));
    scan(f);
    assert_int_equal(f->result.status, 204);
    assert_int_equal(icap_server_connections(f->w->server), 1);
}

static void test_ask_for_no_such_service(void **state)
{
    struct fixture *f = *state;

    use_world(f, "/nothing", ICAP_RESPMOD);
    ask(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_ERROR);
    assert_int_equal(f->result.status, 404);
}

static void test_no_such_service(void **state)
{
    struct fixture *f = *state;

    use_world(f, "/nothing", ICAP_RESPMOD);
    file_is(f, SPAN("x"));
    scan(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_ERROR);
    assert_int_equal(f->result.status, 404);
    assert_non_null(strstr(f->result.why, "404"));
}

static void test_nobody_listens(void **state)
{
    struct fixture *f = *state;
    struct address a = test_loopback(1);

    connect_to(f, &a, "/scan", ICAP_RESPMOD);
    file_is(f, SPAN("x"));
    scan(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_ERROR);
    assert_int_equal(f->result.err, ERR_UPSTREAM);
    assert_string_not_equal(f->result.why, "");
    /* It may be asked again. */
    scan(f);
    assert_int_equal(f->result.err, ERR_UPSTREAM);
}

static void test_free_in_each_state(void **state)
{
    struct fixture *f = *state;

    f->w->zygote.mode = FAKE_HOLD;
    file_is(f, SPAN("x"));
    for (unsigned turns = 0; turns < 12; turns++) {
        use_world(f, "/scan", ICAP_RESPMOD);
        begin(f);
        for (unsigned i = 0; i < turns; i++)
            world_step(f->w, false);
        icap_client_free(f->client);
        f->client = NULL;
        WORLD_UNTIL(f->w, icap_server_connections(f->w->server) == 0);
        assert_int_equal(f->n_done, 0);
        if (fake_is_busy(&f->w->zygote))
            fake_answer(fake_busy(&f->w->zygote), &f->w->zygote.answer);
        world_settle(f->w);
    }
    f->w->zygote.mode = FAKE_ANSWER;
    f->free_in_callback = true;
    use_world(f, "/scan", ICAP_RESPMOD);
    scan(f);
    assert_null(f->client);
}

static void test_tls(void **state)
{
    struct test_cert ca = test_ca_new("Test CA");
    struct test_cert leaf =
        test_cert_new(&ca, (struct test_cert_spec){.cn = "gw", .san = "DNS:gw"});
    struct tls_context *server = test_tls_server(&leaf, NULL, false);
    struct tls_context *client = test_tls_client(&ca, NULL);
    struct fixture f = {.w = world_new(client_config, server), .listening = -1};
    struct icap_client_settings s = {
        .upstream = {.host = "127.0.0.1",
                     .port = address_port(&f.w->address),
                     .tls = client,
                     .tls_name = "gw"},
        .uri = "icaps://gw/scan",
        .host_header = "gw",
        .method = ICAP_REQMOD,
        .login = {.user = "user",    .authorization = "Basic dXNlcjpzZWNyZXQ="                 },
    };

    (void)state;
    f.fd = memfd_create("file", MFD_CLOEXEC);
    f.w->zygote.mode = FAKE_ANSWER;
    assert_int_equal(icap_client_new(f.w->loop, &s, &f.client), OK);
    file_is_big(&f);
    scan(&f);
    assert_int_equal(f.result.verdict, ICAP_CLIENT_PASS);
    assert_non_null(strstr(f.result.how, "TLS"));
    assert_non_null(strstr(f.result.who, "gw"));
    json_t *j = world_record(f.w);

    assert_string_equal(record_text(json_object_get(j, "protection"), "how"), "strong");
    json_decref(j);
    icap_client_free(f.client);
    (void)close(f.fd);
    world_settle(f.w);
    world_free(f.w);
    tls_context_unref(client);
    tls_context_unref(server);
    test_cert_free(&leaf);
    test_cert_free(&ca);
}

/* ---- against a script ---- */

static void test_changed(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    answer_options(f);
    hear(f, "2\r\nhe\r\n0\r\n\r\n");
    peer_say(f->w, f->server,
             "ICAP/1.0 200 OK\r\nISTag: \"u\"\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n"
             "HTTP/1.1 200 OK\r\n\r\n5\r\nother\r\n0\r\n\r\n");
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_CHANGED);
    assert_int_equal(f->result.body_len, 5);
    assert_string_equal(f->result.istag, "\"u\"");
    /* The same bytes: nothing was changed. */
    begin(f);
    hear(f, "2\r\nhe\r\n0\r\n\r\n");
    peer_say(f->w, f->server, "ICAP/1.0 100 Continue\r\n\r\n");
    hear(f, "3\r\nllo\r\n0\r\n\r\n");
    peer_say(f->w, f->server,
             "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n"
             "HTTP/1.1 200 OK\r\n\r\n1\r\nh\r\n4\r\nello\r\n0\r\n\r\n");
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    assert_int_equal(f->result.status, 200);
    assert_int_equal(f->n_accepted, 1);
}

static void test_signs_of_infection(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *field;
        enum icap_client_verdict verdict;
    } rows[] = {
        {"X-Infection-Found: Type=0; Resolution=2; Threat=a;\r\n", ICAP_CLIENT_BLOCKED},
        {"X-Virus-ID: a\r\n",                                      ICAP_CLIENT_BLOCKED},
        {"X-Virus-ID: no threats\r\n",                             ICAP_CLIENT_PASS   },
    };

    use_script(f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(f);
        if (i == 0)
            answer_options(f);
        hear(f, "he\r\n0\r\n\r\n");
        peer_say(f->w, f->server, "ICAP/1.0 204 No Content\r\n");
        peer_say(f->w, f->server, rows[i].field);
        peer_say(f->w, f->server, "\r\n");
        finish(f);
        assert_int_equal(f->result.verdict, rows[i].verdict);
    }
}

static void test_a_dead_kept_connection_is_replaced_once(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    answer_options(f);
    /* It dies between OPTIONS and the file. */
    hear(f, "RESPMOD icap://gw/s ICAP/1.0\r\n");
    peer_close(f->server);
    accept_one(f);
    hear(f, "he\r\n0\r\n\r\n");
    peer_say(f->w, f->server, "ICAP/1.0 204 No Content\r\n\r\n");
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    /* It dies when the next file is on its way; and so does the second one. */
    begin(f);
    hear(f, "he\r\n0\r\n\r\n");
    peer_close(f->server);
    accept_one(f);
    hear(f, "he\r\n0\r\n\r\n");
    peer_close(f->server);
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_ERROR);
    assert_true(f->result.err == ERR_RESET || f->result.err == ERR_EOF);
    assert_int_equal(f->n_accepted, 3);
}

static void test_half_an_answer_is_not_tried_again(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    answer_options(f);
    hear(f, "he\r\n0\r\n\r\n");
    peer_say(f->w, f->server, "ICAP/1.0 20");
    world_settle(f->w);
    peer_close(f->server);
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_ERROR);
    assert_int_equal(f->result.err, ERR_EOF);
    assert_int_equal(f->n_accepted, 1);
}

static void test_options_that_close(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    accept_one(f);
    hear(f, "OPTIONS ");
    peer_say(f->w, f->server,
             "ICAP/1.0 200 OK\r\nConnection: close\r\nEncapsulated: null-body=0\r\n\r\n");
    peer_close(f->server);
    accept_one(f);
    hear(f, "5\r\nhello\r\n0\r\n\r\n");
    peer_say(f->w, f->server, "ICAP/1.0 204 No Content\r\nConnection: close\r\n\r\n");
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    peer_ends(f->w, f->server);
}

static void test_protocol_errors(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\n\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=9999\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "ICAP/1.0 200 OK\r\n\r\n",
        "ICAP/1.0 206 Partial Content\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n",
        ("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n"
         "HTTP/1.1 200 OK\r\n\r\nzz\r\n"),
        "ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 100 Continue\r\n\r\n",
        "\n\n",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        use_script(f);
        begin(f);
        answer_options(f);
        hear(f, "he\r\n0\r\n\r\n");
        peer_say(f->w, f->server, answers[i]);
        if (strstr(answers[i], "9999"))
            peer_close(f->server);
        finish(f);
        assert_int_equal(f->result.verdict, ICAP_CLIENT_ERROR);
        assert_int_not_equal(f->result.err, OK);
        assert_string_not_equal(f->result.why, "");
        assert_int_equal(f->n_accepted, i + 1);
        icap_client_free(f->client);
        f->client = NULL;
        (void)close(f->listening);
        f->listening = -1;
        world_settle(f->w);
    }
}

/* Erratum E7: the answer counts although the server does not take the rest. */
static void test_an_early_answer(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    file_is_big(f);
    begin(f);
    accept_one(f);
    hear(f, "OPTIONS ");
    peer_say(f->w, f->server, "ICAP/1.0 200 OK\r\nEncapsulated: null-body=0\r\n\r\n");
    hear(f, "RESPMOD ");
    f->server->deaf = true;
    world_settle(f->w);
    peer_say(f->w, f->server,
             "ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=t;\r\n"
             "Connection: close\r\nEncapsulated: res-hdr=0, res-body=26\r\n\r\n"
             "HTTP/1.1 403 Forbidden\r\n\r\n2\r\nno\r\n0\r\n\r\n");
    peer_close(f->server);
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_BLOCKED);
    assert_int_equal(f->result.http_status, 403);
    /* The caller's descriptor is the caller's again. */
    assert_int_equal(close(f->fd), 0);
    f->fd = -1;
    world_settle(f->w);
}

/* By a server that says no more until it is known that the last piece came. */
static void test_an_answer_that_is_held_back(void **state)
{
    static const char answer[] = OPTIONS_ANSWER;
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    accept_one(f);
    hear(f, "OPTIONS ");
    for (size_t at = 0; at < sizeof answer - 1; at += 30) {
        char piece[31] = "";

        (void)span_copy(span_sub(SPAN(OPTIONS_ANSWER), at, 30), piece, sizeof piece);
        peer_say(f->w, f->server, piece);
        world_settle(f->w);
        assert_int_equal(test_unacknowledged(f->server->fd), 0);
    }
    hear(f, "RESPMOD ");
}

static void test_a_silent_server(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    answer_options(f);
    hear(f, "he\r\n0\r\n\r\n");
    world_pass(f->w, 599000);
    assert_int_equal(f->n_done, 0);
    world_pass(f->w, 2000);
    finish(f);
    assert_int_equal(f->result.err, ERR_TIMEOUT);
    assert_int_equal(f->n_accepted, 1);
}

static void test_time_for_one_file(void **state)
{
    struct fixture *f = *state;

    f->file_ms = 5000;
    use_script(f);
    begin(f);
    answer_options(f);
    hear(f, "he\r\n0\r\n\r\n");
    world_pass(f->w, 4000);
    assert_int_equal(f->n_done, 0);
    world_pass(f->w, 2000);
    finish(f);
    assert_int_equal(f->result.err, ERR_TIMEOUT);
    assert_int_equal(f->n_accepted, 1);
}

static void test_a_server_that_says_more_than_asked(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    begin(f);
    answer_options(f);
    hear(f, "he\r\n0\r\n\r\n");
    peer_say(f->w, f->server, "ICAP/1.0 204 No Content\r\n\r\n");
    finish(f);
    peer_say(f->w, f->server, "ICAP/1.0 204 No Content\r\n\r\n");
    peer_ends(f->w, f->server);
    begin(f);
    accept_one(f);
    hear(f, "he\r\n0\r\n\r\n");
    peer_say(f->w, f->server, "ICAP/1.0 204 No Content\r\n\r\n");
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
}

/* Half a request is on the wire: what came next there would be taken for its rest. */
static void test_an_early_answer_ends_the_connection(void **state)
{
    struct fixture *f = *state;

    use_script(f);
    file_is_big(f);
    begin(f);
    accept_one(f);
    hear(f, "OPTIONS ");
    peer_say(f->w, f->server, "ICAP/1.0 200 OK\r\nEncapsulated: null-body=0\r\n\r\n");
    hear(f, "RESPMOD ");
    f->server->deaf = true;
    world_settle(f->w);
    peer_say(f->w, f->server, "ICAP/1.0 204 No Content\r\n\r\n");
    finish(f);
    assert_int_equal(f->result.verdict, ICAP_CLIENT_PASS);
    f->server->deaf = false;
    file_is(f, SPAN("hello"));
    begin(f);
    accept_one(f);
    hear(f, "5\r\nhello\r\n0\r\n\r\n");
    peer_say(f->w, f->server, "ICAP/1.0 204 No Content\r\n\r\n");
    finish(f);
    assert_int_equal(f->n_accepted, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_pass),
        TEST(test_empty_file),
        TEST(test_blocked),
        TEST(test_preview),
        TEST(test_big_files),
        cmocka_unit_test(test_tls),
        TEST(test_ask),
        TEST(test_ask_for_no_such_service),
        TEST(test_no_such_service),
        TEST(test_nobody_listens),
        TEST(test_free_in_each_state),
        TEST(test_changed),
        TEST(test_signs_of_infection),
        TEST(test_a_dead_kept_connection_is_replaced_once),
        TEST(test_half_an_answer_is_not_tried_again),
        TEST(test_options_that_close),
        TEST(test_protocol_errors),
        TEST(test_an_early_answer),
        TEST(test_an_answer_that_is_held_back),
        TEST(test_a_silent_server),
        TEST(test_time_for_one_file),
        TEST(test_a_server_that_says_more_than_asked),
        TEST(test_an_early_answer_ends_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
