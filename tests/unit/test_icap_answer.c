/* SPDX-License-Identifier: Apache-2.0 */
/* What the ICAP server answers, and what it records: each cause with each action, block pages,
 * OPTIONS. */
#include "test_icap_peer.h"

#define ALL(action)                                                                        \
    "{infected: " action ", denied: " action ", engine-down: " action ", timeout: " action \
    ", too-large: " action ", not-inspected: " action ", worker-crash: " action            \
    ", overload: " action ", disk-full: " action "}"

static const char config[] =
    "services:\n"
    "  - {name: echo, type: echo, path: /echo, max-connections: off}\n"
    "  - {name: scan, type: inspect, path: /scan, aliases: [/avscan], body-max: 100, preview: 1k,\n"
    "     contact: 'help <desk> & co', deadline: 5s}\n"
    "  - {name: up, type: inspect, path: /up, methods: [REQMOD], via: false}\n"
    "  - {name: p, type: inspect, path: /pass, body-max: 100, deadline: 5s, on: " ALL(
        "pass") "}\n"
                "  - {name: b, type: inspect, path: /block, body-max: 100, deadline: 5s, on: " ALL(
                    "block") "}\n"
                             "  - {name: e, type: inspect, path: /error, body-max: 100, deadline: "
                             "5s, on: " ALL("error") "}\n";

static int setup(void **state)
{
    *state = world_new(config, NULL);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

static struct reply ask(struct world *w, struct peer *p, const struct ask *a)
{
    peer_ask(w, p, a);
    return peer_reply(w, p);
}

/* ---- each cause with each action ---- */

static void assert_record(struct world *w, const char *action, const char *verdict,
                          const char *cause)
{
    json_t *j = world_record(w);

    assert_string_equal(record_text(j, "action"), action);
    assert_string_equal(record_text(j, "verdict"), verdict);
    assert_string_equal(record_text(j, "cause"), cause);
    json_decref(j);
}

/* The request |a| runs into |cause| at each of the three services. */
static void expect_actions(struct world *w, struct ask a, enum cause cause, enum verdict verdict,
                           void (*meanwhile)(struct world *w))
{
    struct peer *p = peer_new(w);
    struct reply r;

    for (enum action action = ACTION_PASS; action <= ACTION_ERROR; action++) {
        static const char *const paths[] = {"/pass", "/block", "/error"};

        a.path = paths[action];
        peer_ask(w, p, &a);
        if (meanwhile)
            meanwhile(w);
        r = peer_reply(w, p);
        if (action == ACTION_PASS) {
            assert_status(&r, 200);
            assert_string_equal(buf_cstr(&r.body), a.body);
            assert_reply_has(&r, "X-Response-Info: Allowed\r\n");
            assert_reply_has(&r, cause == CAUSE_INFECTED || cause == CAUSE_DENIED
                                     ? "X-Response-Desc: passed although "
                                     : "X-Response-Desc: not inspected: ");
            assert_reply_has(&r, cause_name(cause));
        } else if (action == ACTION_BLOCK) {
            assert_status(&r, 200);
            assert_reply_has(&r, "HTTP/1.1 403 Forbidden\r\n");
            assert_reply_has(&r, "X-Response-Info: Blocked\r\n");
        } else {
            assert_status(&r, cause == CAUSE_INFECTED || cause == CAUSE_DENIED ? 403 : 503);
            assert_reply_has(&r, "Encapsulated: null-body=0\r\n");
        }
        reply_done(&r);
        assert_record(w, action_name(action), verdict_name(verdict), cause_name(cause));
    }
    peer_close(p);
    world_settle(w);
}

static void test_causes_that_workers_find(void **state)
{
    struct world *w = *state;

    w->zygote.mode = FAKE_ANSWER;
    for (enum cause c = CAUSE_INFECTED; c < CAUSES; c++) {
        enum verdict v = c == CAUSE_INFECTED || c == CAUSE_DENIED           ? VERDICT_BLOCK
                         : c == CAUSE_TOO_LARGE || c == CAUSE_NOT_INSPECTED ? VERDICT_NOT_INSPECTED
                                                                            : VERDICT_ERROR;

        w->zygote.answer = (struct scan_result){.verdict = v, .cause = c};
        expect_actions(w, (struct ask){.body = "file"}, c, v, NULL);
    }
}

static void test_smuggling_is_denied(void **state)
{
    expect_actions(*state,
                   (struct ask){.body = "file",
                                .response = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"
                                            "Content-Length: 5\r\n"},
                   CAUSE_DENIED, VERDICT_BLOCK, NULL);
}

/* The second one is what some origin servers go by. In a RESPMOD rules go by the request's. */
static void test_two_hosts_are_denied(void **state)
{
    static const char request[] =
        "GET /a HTTP/1.1\r\nHost: updates.example\r\nHost: evil.example\r\n";

    expect_actions(*state, (struct ask){.body = "file", .request = request}, CAUSE_DENIED,
                   VERDICT_BLOCK, NULL);
    expect_actions(*state, (struct ask){.method = "REQMOD", .body = "file", .request = request},
                   CAUSE_DENIED, VERDICT_BLOCK, NULL);
}

/* Which host that is depends on who reads it. */
static void test_targets_of_two_hosts_are_denied(void **state)
{
    static const char *const targets[] = {
        "GET http://evil.example\\@updates.example/a",
        "GET http://u@evil.example@updates.example/a",
        "GET http://updates.example#@evil.example/a",
        "GET http://updates.example:80,evil.example/a",
        "GET http://updates.example:80:81/a",
        "GET http://updates.example:evil.example/a",
        "GET http://[2001:db8::1]evil.example/a",
        "CONNECT updates.example:443:evil.example",
        "CONNECT u@evil.example:443",
    };

    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char request[128];

        print_message("%s\n", targets[i]);
        (void)snprintf(request, sizeof request, "%s HTTP/1.1\r\n", targets[i]);
        expect_actions(*state, (struct ask){.body = "file", .request = request}, CAUSE_DENIED,
                       VERDICT_BLOCK, NULL);
    }
}

static void test_targets_of_one_host_are_not(void **state)
{
    static const char *const targets[] = {
        "GET http://updates.example:8080/a",
        "GET http://updates.example:/a",
        "GET ftp://u:p@updates.example/a@b",
        "GET http://[2001:db8::1]:80/a,b#c",
        "GET http://updates.example?a",
        "CONNECT [2001:db8::1]:443",
        "GET /a:b",
        "OPTIONS *",
    };
    struct world *w = *state;
    struct peer *p = peer_new(w);

    w->zygote.mode = FAKE_ANSWER;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char request[128];

        print_message("%s\n", targets[i]);
        (void)snprintf(request, sizeof request, "%s HTTP/1.1\r\n", targets[i]);
        peer_gets(w, p,
                  &(struct ask){
                      .path = "/scan", .body = "x", .fields = "Allow: 204\r\n", .request = request},
                  204);
    }
}

static void test_codings_of_the_hop_and_fragments_are_not_inspected(void **state)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: deflate\r\n",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/10\r\n",
        "HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        expect_actions(*state, (struct ask){.body = "file", .response = heads[i]},
                       CAUSE_NOT_INSPECTED, VERDICT_NOT_INSPECTED, NULL);
}

/* Clients leave the chunked coding's field in, though they have decoded it. */
static void test_identity_is_inspected(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    w->zygote.mode = FAKE_ANSWER;
    peer_gets(w, p,
              &(struct ask){.path = "/scan",
                            .body = "x",
                            .fields = "Allow: 204\r\n",
                            .response = "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\n"
                                        "Transfer-Encoding: Chunked\r\n"},
              204);
    assert_int_equal(w->zygote.n_jobs, 1);
}

static void test_too_large(void **state)
{
    char body[102];

    memset(body, 'x', sizeof body - 1);
    body[101] = '\0';
    expect_actions(*state, (struct ask){.body = body}, CAUSE_TOO_LARGE, VERDICT_NOT_INSPECTED,
                   NULL);
}

static void crash_the_worker(struct world *w)
{
    WORLD_UNTIL(w, fake_is_busy(&w->zygote));
    fake_die(fake_busy(&w->zygote));
}

static void test_worker_crash(void **state)
{
    expect_actions(*state, (struct ask){.body = "x"}, CAUSE_WORKER_CRASH, VERDICT_ERROR,
                   crash_the_worker);
}

static void let_the_deadline_pass(struct world *w)
{
    WORLD_UNTIL(w, fake_is_busy(&w->zygote));
    world_pass(w, 5100);
}

static void test_timeout(void **state)
{
    expect_actions(*state, (struct ask){.body = "x"}, CAUSE_TIMEOUT, VERDICT_ERROR,
                   let_the_deadline_pass);
}

static void wait_without_workers(struct world *w)
{
    world_settle(w);
    world_pass(w, 5100);
}

static void test_engine_down(void **state)
{
    struct world *w = *state;

    fake_close(&w->zygote);
    world_settle(w);
    expect_actions(w, (struct ask){.body = "x"}, CAUSE_ENGINE_DOWN, VERDICT_ERROR,
                   wait_without_workers);
}

static void wait_for_a_slot(struct world *w)
{
    for (unsigned i = 0; i < 5; i++) /* it asks again now and then */
        world_pass(w, 80);
}

static void test_overload_by_scans(void **state)
{
    struct world *w = *state;

    scan_slots_set_max(w->scans, 1);
    assert_true(scan_slots_take(w->scans, 1));
    expect_actions(w, (struct ask){.body = "x"}, CAUSE_OVERLOAD, VERDICT_ERROR, wait_for_a_slot);
    scan_slots_give(w->scans, 1);
}

/* A burst is not overload. */
static void test_a_slot_that_gets_free_in_time(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    w->zygote.mode = FAKE_ANSWER;
    scan_slots_set_max(w->scans, 1);
    assert_true(scan_slots_take(w->scans, 1));
    peer_ask(w, p, &(struct ask){.path = "/scan", .fields = "Allow: 204\r\n", .body = "x"});
    world_pass(w, 40);
    assert_int_equal(w->zygote.n_jobs, 0);
    scan_slots_give(w->scans, 1);
    world_pass(w, 50);
    r = peer_reply(w, p);
    assert_status(&r, 204);
    reply_done(&r);
    assert_int_equal(w->zygote.n_jobs, 1);
}

/* The client goes away while its file waits for one. */
static void test_gone_before_a_slot_is_free(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    scan_slots_set_max(w->scans, 1);
    assert_true(scan_slots_take(w->scans, 1));
    peer_ask(w, p, &(struct ask){.path = "/scan", .body = "x"});
    world_pass(w, 30);
    peer_close(p);
    world_pass(w, 300);
    assert_int_equal(icap_server_connections(w->server), 0);
    scan_slots_give(w->scans, 1);
    world_pass(w, 100);
    assert_int_equal(w->zygote.n_jobs, 0);
}

static void test_overload_by_the_queue(void **state)
{
    struct world *w = *state;

    fake_close(&w->zygote);
    world_settle(w);
    w->worker_settings.queue = 0;
    workers_set_settings(w->workers, &w->worker_settings);
    expect_actions(w, (struct ask){.body = "x"}, CAUSE_OVERLOAD, VERDICT_ERROR, NULL);
}

static void test_overload_by_memory(void **state)
{
    struct world *w = *state;

    budget_init(&w->memory, 10 << 20);
    assert_true(budget_take(&w->memory, (10 << 20) / 100 * 91));
    expect_actions(w, (struct ask){.body = "x"}, CAUSE_OVERLOAD, VERDICT_ERROR, NULL);
    budget_give(&w->memory, (10 << 20) / 100 * 91);
}

/* What could not be kept cannot be handed back, whatever the service says. */
static void test_full_spool(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    budget_init(&w->memory, 10 << 20);
    assert_true(budget_take(&w->memory, (10 << 20) / 100 * 80)); /* straight to the spool */
    budget_init(&w->spooled, 2);
    r = ask(w, p, &(struct ask){.path = "/pass", .body = "file"});
    assert_status(&r, 503);
    reply_done(&r);
    assert_record(w, "pass", "error", "disk-full");
    r = ask(w, p, &(struct ask){.path = "/pass", .body = "file", .fields = "Allow: 204\r\n"});
    assert_status(&r, 204);
    reply_done(&r);
    r = ask(w, p, &(struct ask){.path = "/block", .body = "file"});
    assert_reply_has(&r, "HTTP/1.1 403 Forbidden\r\n");
    reply_done(&r);
    r = ask(w, p, &(struct ask){.path = "/error", .body = "file"});
    assert_status(&r, 503);
    reply_done(&r);
    budget_give(&w->memory, (10 << 20) / 100 * 80);
}

/* CHANGED would mean that the original must not be passed: no engine of ours says so. */
static void test_changed_is_not_passed(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    w->zygote.mode = FAKE_ANSWER;
    w->zygote.answer = (struct scan_result){.verdict = VERDICT_CHANGED};
    r = ask(w, p, &(struct ask){.path = "/scan", .fields = "Allow: 204\r\n", .body = "x"});
    assert_status(&r, 200);
    assert_reply_has(&r, "HTTP/1.1 403 Forbidden\r\n");
    reply_done(&r);
    assert_record(w, "block", "error", "worker-crash");
}

static void test_records_that_cannot_be_written_refuse(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    /* Nobody reads the pipe any more. */
    (void)close(w->record_fd);
    w->record_fd = -1;
    peer_gets(w, p, &(struct ask){.path = "/echo", .fields = "Allow: 204\r\n", .body = "x"}, 204);
    WORLD_UNTIL(w, record_log_refuses(w->records));
    struct reply r = ask(w, p, &(struct ask){.path = "/scan", .body = "x"});

    assert_reply_has(&r, "HTTP/1.1 403 Forbidden\r\n");
    assert_reply_has(&r, "X-Response-Desc: disk-full\r\n");
    reply_done(&r);
    peer_gets(w, p, &(struct ask){.path = "/error", .body = "x"}, 503);
}

/* ---- block pages ---- */

static const char hostile[] = "<script>alert('x')</script>;\"\r\nSet-Cookie: a=b\xc3\xa4 & \x01";

static void test_html_page_escapes(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    w->zygote.mode = FAKE_ANSWER;
    w->zygote.answer = fake_found(hostile);
    r = ask(w, p,
            &(struct ask){.path = "/scan",
                          .body = "x",
                          .request = "GET http://u:p@ex<a>mple:80/x HTTP/1.1\r\nAccept: text/html,"
                                     "application/json\r\n"});
    assert_status(&r, 200);
    assert_reply_has(&r, "Content-Type: text/html; charset=utf-8\r\n");
    assert_reply_has(&r, "Cache-Control: no-store\r\n");
    assert_reply_has(&r, "Via: ICAP/1.0 ");
    assert_null(strstr(buf_cstr(&r.heads), "\r\nSet-Cookie"));
    assert_reply_has(&r, "X-Infection-Found: Type=0; Resolution=2; "
                         "Threat=<script>alert('x')</script>_\"__Set-Cookie: a=b__ & _;\r\n");
    assert_reply_has(&r, "X-Virus-ID: <script>alert('x')</script>_\"__Set-Cookie: a=b__ & _\r\n");
    const char *page = buf_cstr(&r.body);

    assert_null(strstr(page, "<script"));
    assert_non_null(strstr(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;;&quot;??Set-"
                                 "Cookie: a=b\xc3\xa4 &amp; ?"));
    assert_non_null(strstr(page, "ex&lt;a&gt;mple"));
    assert_null(strstr(page, "u:p"));
    assert_non_null(strstr(page, "help &lt;desk&gt; &amp; co"));
    char length[40];

    (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", r.body.n);
    assert_reply_has(&r, length);
    reply_done(&r);
}

static void test_json_page(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    w->zygote.mode = FAKE_ANSWER;
    w->zygote.answer = fake_found(hostile);
    r = ask(w, p,
            &(struct ask){.path = "/scan",
                          .body = "x",
                          .request = "GET /x HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n"
                                     "Accept: application/problem+json;q=0.5\r\n"});
    assert_reply_has(&r, "Content-Type: application/json\r\n");
    json_t *j = json_loadb(r.body.p, r.body.n, 0, NULL);

    assert_non_null(j);
    assert_true(json_is_true(json_object_get(j, "blocked")));
    assert_string_equal(record_text(j, "cause"), "infected");
    assert_string_equal(record_text(j, "contact"), "help <desk> & co");
    assert_int_equal(strlen(record_text(j, "id")), RECORD_ID_LEN);
    assert_reply_has(&r, record_text(j, "id"));
    json_decref(j);
    reply_done(&r);
}

static void test_which_finding_is_named(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct scan_result *a = &w->zygote.answer;
    struct reply r;

    w->zygote.mode = FAKE_ANSWER;
    *a = fake_found("only a note");
    a->findings[0].note = true;
    r = ask(w, p, &(struct ask){.path = "/scan", .body = "x"});
    assert_reply_has(&r, "Threat=infected;\r\n");
    reply_done(&r);
    a->findings[1] = a->findings[0];
    a->findings[1].note = false;
    (void)span_copy(SPAN("real"), a->findings[1].name, sizeof a->findings[1].name);
    a->n_findings = 2;
    r = ask(w, p, &(struct ask){.path = "/scan", .body = "x"});
    assert_reply_has(&r, "Threat=real;\r\n");
    reply_done(&r);
    *a = fake_found("");
    r = ask(w, p, &(struct ask){.path = "/scan", .body = "x"});
    assert_reply_has(&r, "Threat=infected;\r\n");
    reply_done(&r);
    *a = (struct scan_result){.verdict = VERDICT_NOT_INSPECTED, .cause = CAUSE_NOT_INSPECTED};
    r = ask(w, p, &(struct ask){.path = "/scan", .body = "x"});
    assert_reply_has(&r, "X-Infection-Found: Type=2; Resolution=2; Threat=not-inspected;\r\n");
    reply_done(&r);
}

static void test_uploads_get_a_response(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    w->zygote.mode = FAKE_ANSWER;
    w->zygote.answer = fake_found("bad");
    r = ask(w, p,
            &(struct ask){.method = "REQMOD",
                          .path = "/up",
                          .body = "x",
                          .request = "POST /u HTTP/1.1\r\nHost: h\r\n"});
    assert_status(&r, 200);
    assert_reply_has(&r, "Encapsulated: res-hdr=0, res-body=");
    assert_null(strstr(buf_cstr(&r.heads), "Via:"));
    reply_done(&r);
}

/* ---- OPTIONS ---- */

static void test_options(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    r = ask(w, p, &(struct ask){.method = "OPTIONS", .path = "/scan"});
    assert_status(&r, 200);
    const char *tag = strstr(buf_cstr(&r.heads), "ISTag: \"");

    assert_non_null(tag);
    size_t n = strcspn(tag + 8, "\"");

    assert_in_range(n, 1, ICAP_ISTAG_MAX);
    assert_memory_equal(tag + 8 + n, "\"\r\n", 3);
    assert_reply_has(&r, "Date: Fri, 15 Jan 2027 08:00:00 GMT\r\n");
    assert_reply_has(&r, "Methods: REQMOD, RESPMOD\r\n");
    assert_reply_has(&r, "Allow: 204\r\n");
    assert_reply_has(&r, "Preview: 1024\r\n");
    assert_reply_has(&r, "Transfer-Preview: *\r\n");
    assert_reply_has(&r, "Max-Connections: 1000\r\n");
    assert_reply_has(&r, "Options-TTL: 600\r\n");
    assert_reply_has(&r, "Service-ID: scan\r\n");
    assert_reply_has(&r, "X-Request-ID: ");
    assert_reply_has(&r, "Connection: keep-alive\r\n");
    assert_reply_has(&r, "Encapsulated: null-body=0\r\n\r\n");
    reply_done(&r);
    r = ask(
        w, p,
        &(struct ask){.method = "OPTIONS", .path = "/up", .fields = "Allow: 206, trailers\r\n"});
    assert_reply_has(&r, "Allow: 204, 206, trailers\r\n");
    assert_reply_has(&r, "Methods: REQMOD\r\n");
    assert_null(strstr(buf_cstr(&r.heads), "Preview"));
    reply_done(&r);
    r = ask(w, p, &(struct ask){.method = "OPTIONS", .path = "/echo"});
    assert_null(strstr(buf_cstr(&r.heads), "Max-Connections"));
    reply_done(&r);
    json_t *j = world_record(w);

    assert_string_equal(record_text(j, "method"), "OPTIONS");
    assert_int_equal(record_number(j, "icap_status"), 200);
    assert_null(json_object_get(j, "verdict"));
    json_decref(j);
}

static void test_options_without_workers(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    fake_close(&w->zygote);
    world_settle(w);
    r = ask(w, p, &(struct ask){.method = "OPTIONS", .path = "/scan"});
    assert_status(&r, 503);
    assert_reply_has(&r, "Retry-After: ");
    assert_reply_has(&r, "ISTag: \"");
    reply_done(&r);
    peer_gets(w, p, &(struct ask){.method = "OPTIONS", .path = "/echo"}, 200);
    json_t *j = world_record(w);

    assert_int_equal(record_number(j, "icap_status"), 503);
    assert_string_equal(record_text(j, "error"), "engine-down");
    json_decref(j);
}

/* ---- routes and records ---- */

static void test_routes(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    w->zygote.mode = FAKE_ANSWER;
    peer_gets(w, p, &(struct ask){.path = "/nothing", .body = "x"}, 404);
    peer_gets(w, p, &(struct ask){.path = "/up", .body = "x"}, 405);
    peer_gets(w, p, &(struct ask){.path = "/avscan/?a=b", .body = "x"}, 200);
    peer_gets(w, p, &(struct ask){.method = "OPTIONS", .path = "/nothing"}, 404);
    json_t *j = world_record(w);

    assert_string_equal(record_text(j, "error"), "not-found");
    assert_null(json_object_get(j, "service"));
    json_decref(j);
    j = world_record(w);
    assert_int_equal(record_number(j, "icap_status"), 405);
    json_decref(j);
    j = world_record(w);
    assert_string_equal(record_text(j, "service"), "scan");
    json_decref(j);
    json_decref(world_record(w));
}

static void test_record_of_a_blocked_file(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    w->zygote.mode = FAKE_ANSWER;
    w->zygote.answer = fake_found("Eicar\xff<x>");
    (void)span_copy(SPAN("a.zip/b"), w->zygote.answer.findings[0].where, 100);
    r = ask(w, p,
            &(struct ask){.path = "/scan",
                          .fields = "X-Client-IP: 192.0.2.7\r\nX-Authenticated-User: TG9jYWw6\r\n",
                          .body = "abc",
                          .request = "GET http://u@[2001:db8::1]:8080?q=secret HTTP/1.1\r\n"});
    char *id = strstr(buf_cstr(&r.heads), "X-Request-ID: ");

    assert_non_null(id);
    json_t *j = world_record(w);

    assert_memory_equal(id + 14, record_text(j, "id"), RECORD_ID_LEN);
    reply_done(&r);
    assert_string_equal(record_text(j, "client_ip"), "192.0.2.7");
    assert_string_equal(record_text(j, "user"), "TG9jYWw6");
    assert_string_equal(record_text(j, "listener"), "edge");
    assert_string_equal(record_text(j, "method"), "RESPMOD");
    assert_string_equal(record_text(j, "url_host"), "[2001:db8::1]");
    assert_int_equal(record_number(j, "icap_status"), 200);
    assert_int_equal(record_number(j, "http_status"), 403);
    assert_int_equal(record_number(j, "body_len"), 3);
    assert_string_equal(record_text(j, "sha256"),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(record_text(j, "verdict"), "block");
    assert_string_equal(record_text(j, "action"), "block");
    assert_string_equal(record_text(j, "cause"), "infected");
    json_t *f = json_array_get(json_object_get(j, "findings"), 0);

    assert_string_equal(record_text(f, "engine"), "yara");
    assert_string_equal(record_text(f, "name"), "Eicar\xef\xbf\xbd<x>");
    assert_string_equal(record_text(f, "where"), "a.zip/b");
    assert_true(record_number(j, "bytes_in") > 100);
    assert_true(record_number(j, "bytes_out") > 500);
    json_decref(j);
    struct icap_server_counts c;

    icap_server_count(w->server, &c);
    assert_int_equal(c.transactions, 1);
    assert_int_equal(c.blocked, 1);
    assert_int_equal(c.open, 0);
}

static void test_worker_is_told_name_and_type(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    peer_ask(w, p,
             &(struct ask){.path = "/scan",
                           .body = "x",
                           .request = "GET /dir/evil.exe?x=/y HTTP/1.1\r\nHost: h\r\n",
                           .response = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; a=b\r\n"});
    WORLD_UNTIL(w, fake_is_busy(&w->zygote));
    struct fake_worker *k = fake_busy(&w->zygote);

    assert_string_equal(k->job.job.name, "evil.exe");
    assert_string_equal(k->job.job.type, "text/plain; a=b");
    assert_int_equal(k->job.job.time_ms, 5000);
    assert_int_equal(k->job.job.len, 1);
    fake_answer(k, &w->zygote.answer);
    struct reply r = peer_reply(w, p);

    reply_done(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_causes_that_workers_find),
        TEST(test_smuggling_is_denied),
        TEST(test_two_hosts_are_denied),
        TEST(test_targets_of_two_hosts_are_denied),
        TEST(test_targets_of_one_host_are_not),
        TEST(test_codings_of_the_hop_and_fragments_are_not_inspected),
        TEST(test_identity_is_inspected),
        TEST(test_too_large),
        TEST(test_worker_crash),
        TEST(test_timeout),
        TEST(test_engine_down),
        TEST(test_overload_by_scans),
        TEST(test_a_slot_that_gets_free_in_time),
        TEST(test_gone_before_a_slot_is_free),
        TEST(test_overload_by_the_queue),
        TEST(test_overload_by_memory),
        TEST(test_full_spool),
        TEST(test_changed_is_not_passed),
        TEST(test_records_that_cannot_be_written_refuse),
        TEST(test_html_page_escapes),
        TEST(test_json_page),
        TEST(test_which_finding_is_named),
        TEST(test_uploads_get_a_response),
        TEST(test_options),
        TEST(test_options_without_workers),
        TEST(test_routes),
        TEST(test_record_of_a_blocked_file),
        TEST(test_worker_is_told_name_and_type),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
