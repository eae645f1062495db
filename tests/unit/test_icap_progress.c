/* SPDX-License-Identifier: Apache-2.0 */
/* slow.mode: progress. A browser gets a page while the scan goes on without its transaction, and
 * the file, or the block page, under the page's address; everybody else waits. */
#include "test_icap_peer.h"

#include <semaphore.h>

#include "icap/icap_progress_table.h"

#define AFTER 10000u
#define KEEP  60000u
#define MIB   (1u << 20)

static const char config[] =
    "services:\n"
    "  - {name: up, type: inspect, path: /up, methods: [REQMOD]}\n"
    "  - name: down\n"
    "    type: inspect\n"
    "    path: /down\n"
    "    contact: help@example <&>\n"
    "    deadline: 300s\n"
    "    memory-max: 64k\n"
    "    on: {worker-crash: error}\n"
    "    slow: {mode: progress, after: 10s, every: 4s, host: Progress.example, keep: 60s, files: "
    "2}\n"
    "    rules:\n"
    "      - {name: known, client: [192.0.2.7], host: [files.example], signature: ['Known*'],\n"
    "         then: allow}\n"
    "  - {name: wait, type: inspect, path: /wait, deadline: 300s}\n"
    "limits: {transaction-timeout: 1h, idle-timeout: 1h, write-timeout: 1h}\n";

static const char user[] = "X-Client-IP: 192.0.2.7\r\nAllow: 204\r\n";
static const char browser[] = "GET http://files.example/dir/r%C3%A9%22%3Cb%3E.pdf HTTP/1.1\r\n"
                              "Host: files.example\r\n"
                              "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
static const char download[] = "HTTP/1.1 200 OK\r\n"
                               "Content-Type: application/pdf\r\n"
                               "Content-Length: 77\r\n"
                               "Connection: X-Hop\r\n"
                               "X-Hop: 1\r\n"
                               "Set-Cookie: a=b\r\n"
                               "Cache-Control: public\r\n"
                               "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

static const struct cidr anybody = {.family = AF_INET, .bytes = {127}, .prefix = 8};

static int setup(void **state)
{
    struct world *w = world_new(config, NULL);

    w->settings.client_ip_from = &anybody;
    w->settings.n_client_ip_from = 1;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

/* ---- what a browser does ---- */

struct token {
    char text[PROGRESS_TOKEN_LEN + 1];
};

static void ask_download(struct world *w, struct peer *p, struct span body)
{
    unsigned jobs = w->zygote.n_jobs;

    peer_ask(w, p,
             &(struct ask){.path = "/down",
                           .fields = user,
                           .request = browser,
                           .response = download,
                           .body = body.p,
                           .body_n = body.n});
    WORLD_UNTIL(w, w->zygote.n_jobs > jobs);
}

static struct token token_of(struct reply *r)
{
    static const char mark[] = "url=http://Progress.example/";
    const char *at = strstr(buf_cstr(&r->body), mark);
    struct token t = {""};

    if (!at) {
        fail_msg("no address in the page:\n%s", buf_cstr(&r->body));
        return t;
    }
    (void)span_copy((struct span){at + sizeof mark - 1, PROGRESS_TOKEN_LEN}, t.text, sizeof t.text);
    assert_int_equal(strlen(t.text), PROGRESS_TOKEN_LEN);
    assert_memory_equal(at + sizeof mark - 1 + PROGRESS_TOKEN_LEN, "\">", 2);
    return t;
}

static void assert_body_has(struct reply *r, const char *text)
{
    if (!strstr(buf_cstr(&r->body), text))
        fail_msg("no '%s' in the page:\n%s", text, buf_cstr(&r->body));
}

/* Up to the page. */
static struct token get_page(struct world *w, struct peer *p, struct span body)
{
    struct token t;
    struct reply r;

    ask_download(w, p, body);
    world_pass(w, AFTER);
    r = peer_reply(w, p);
    assert_status(&r, 200);
    t = token_of(&r);
    reply_done(&r);
    return t;
}

static void ask_fetch(struct world *w, struct peer *p, const char *method, const char *token,
                      const char *fields)
{
    char request[256];

    (void)snprintf(request, sizeof request,
                   "%s http://progress.EXAMPLE/%s HTTP/1.1\r\nHost: progress.example\r\n", method,
                   token);
    peer_ask(
        w, p,
        &(struct ask){.method = "REQMOD", .path = "/up", .fields = fields, .request = request});
}

static struct reply fetch(struct world *w, struct peer *p, struct token t)
{
    struct reply r;

    ask_fetch(w, p, "GET", t.text, user);
    r = peer_reply(w, p);
    assert_status(&r, 200);
    return r;
}

/* The answer to a fetch has this HTTP status and text. */
static void assert_fetched(struct world *w, struct peer *p, struct token t, const char *status,
                           const char *text)
{
    struct reply r = fetch(w, p, t);

    assert_reply_has(&r, status);
    assert_body_has(&r, text);
    reply_done(&r);
}

static void skip_record(struct world *w)
{
    json_decref(world_record(w));
}

static char *noise(size_t n)
{
    char *p = malloc(n);

    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + i / 251);
    return p;
}

/* ---- the page ---- */

static void test_page(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;
    json_t *j;

    ask_download(w, p, SPAN("file"));
    world_pass(w, AFTER - 500);
    assert_int_equal(p->in.n, 0);
    world_pass(w, 1000);
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_reply_has(&r, "HTTP/1.1 200 OK\r\n");
    assert_reply_has(&r, "\r\nContent-Type: text/html; charset=utf-8\r\n");
    assert_reply_has(&r, "\r\nCache-Control: no-store\r\n");
    assert_reply_has(&r, "\r\nX-Content-Type-Options: nosniff\r\n");
    assert_reply_has(&r, "\r\nContent-Security-Policy: default-src 'none'; style-src "
                         "'unsafe-inline'\r\n");
    assert_body_has(&r, "<meta http-equiv=\"refresh\" content=\"4;url=http://Progress.example/");
    assert_body_has(&r, "<dd>r\303\251&quot;&lt;b&gt;.pdf</dd>");
    assert_body_has(&r, "<dd>files.example</dd>");
    assert_body_has(&r, "<dd>4 bytes</dd>");
    assert_body_has(&r, "help@example &lt;&amp;&gt;");
    assert_body_has(&r, "<progress value=\"10\" max=\"300\">");
    assert_body_has(&r, "at most 5 min 0 s");
    /* Nothing of the file. */
    assert_null(strstr(buf_cstr(&r.body), ">file<"));
    j = world_record(w);
    assert_string_equal(record_text(j, "action"), "deferred");
    assert_string_equal(record_text(j, "verdict"), "");
    assert_string_equal(record_text(j, "error"), "");
    assert_int_equal(record_number(j, "http_status"), 200);
    assert_int_equal(record_number(j, "body_len"), 4);
    json_decref(j);
    reply_done(&r);
    assert_int_equal(world_scans(w), 1);
    assert_int_equal(open_transactions(w), 0);
    /* The connection is free for others. */
    w->zygote.mode = FAKE_ANSWER;
    peer_gets(w, p, &(struct ask){.path = "/wait", .fields = user, .body = "y"}, 204);
}

static const struct waits_case {
    const char *name, *path, *request, *response;
} waits_cases[] = {
    {"no_accept",     "/down", "GET http://f.example/a HTTP/1.1\r\nHost: f.example\r\n",                NULL                        },
    {"any_type",      "/down", "GET http://f.example/a HTTP/1.1\r\nHost: f.example\r\nAccept: */*\r\n",
     NULL                                                                                                                           },
    {"post",          "/down",
     "POST http://f.example/a HTTP/1.1\r\nHost: f.example\r\nAccept: text/html\r\n",                    NULL                        },
    {"image",         "/down",
     "GET http://f.example/a HTTP/1.1\r\nHost: f.example\r\nAccept: text/html\r\n"
     "Sec-Fetch-Dest: image\r\n",                                                                       NULL                        },
    {"fetch",         "/down",
     "GET http://f.example/a HTTP/1.1\r\nHost: f.example\r\nAccept: text/html\r\n"
     "Sec-Fetch-Dest: empty\r\n",                                                                       NULL                        },
    {"not_found",     "/down", browser,                                                                 "HTTP/1.1 404 Not Found\r\n"},
    {"other_service", "/wait", browser,                                                                 NULL                        },
};

static void test_others_wait(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    for (size_t i = 0; i < ARRAY_LEN(waits_cases); i++) {
        const struct waits_case *c = &waits_cases[i];
        struct reply r;

        peer_ask(w, p,
                 &(struct ask){.path = c->path,
                               .fields = user,
                               .request = c->request,
                               .response = c->response,
                               .body = "x"});
        WORLD_UNTIL(w, fake_is_busy(&w->zygote));
        world_pass(w, 2 * AFTER);
        if (p->in.n != 0)
            fail_msg("%s: an answer before the verdict:\n%s", c->name, buf_cstr(&p->in));
        fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
        r = peer_reply(w, p);
        assert_status(&r, 204);
        reply_done(&r);
        skip_record(w);
    }
}

static void test_navigations_that_say_so(void **state)
{
    static const char *const dests[] = {"document", "iframe"};
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(dests); i++) {
        struct peer *p = peer_new(w);
        char request[512];
        struct reply r;

        (void)snprintf(request, sizeof request, "%sSec-Fetch-Dest: %s\r\n", browser, dests[i]);
        peer_ask(w, p,
                 &(struct ask){.path = "/down", .fields = user, .request = request, .body = "x"});
        WORLD_UNTIL(w, w->zygote.n_jobs == i + 1);
        world_pass(w, AFTER);
        r = peer_reply(w, p);
        (void)token_of(&r);
        reply_done(&r);
    }
}

/* ---- fetching ---- */

static void test_while_it_scans(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w), *q = peer_new(w);
    struct token t = get_page(w, p, SPAN("file"));
    json_t *first = world_record(w), *j;
    struct reply r;

    world_pass(w, 65000);
    r = fetch(w, q, t);
    assert_reply_has(&r, "HTTP/1.1 200 OK\r\n");
    assert_string_equal(token_of(&r).text, t.text);
    assert_body_has(&r, "<progress value=\"75\" max=\"300\">");
    assert_body_has(&r, "It has taken 1 min 15 s so far");
    reply_done(&r);
    j = world_record(w);
    assert_string_equal(record_text(j, "action"), "deferred");
    assert_string_equal(record_text(j, "follows"), record_text(first, "id"));
    assert_string_equal(record_text(j, "file"), record_text(first, "file"));
    assert_string_equal(record_text(j, "method"), "REQMOD");
    json_decref(j);
    /* HEAD: the same head, no body. */
    ask_fetch(w, q, "HEAD", t.text, user);
    r = peer_reply(w, q);
    assert_status(&r, 200);
    assert_reply_has(&r, "null-body=");
    assert_reply_has(&r, "HTTP/1.1 200 OK\r\n");
    reply_done(&r);
    json_decref(first);
}

/* Each record belongs to the first one; the scan's says what the file was. */
static void expect_linked(struct world *w, const char *first_id, const char *action,
                          const char *verdict)
{
    json_t *j = world_record(w);

    assert_string_equal(record_text(j, "follows"), first_id);
    assert_string_equal(record_text(j, "action"), action);
    assert_string_equal(record_text(j, "verdict"), verdict);
    assert_string_not_equal(record_text(j, "id"), first_id);
    assert_string_equal(record_text(j, "client_ip"), "192.0.2.7");
    assert_string_equal(record_text(j, "file"), "r\303\251\"<b>.pdf");
    assert_string_equal(record_text(j, "listener"), "edge");
    json_decref(j);
}

static void fetch_whole(struct world *w, struct peer *p, struct token t, struct span body)
{
    char length[64];
    struct reply r = fetch(w, p, t);

    (void)snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", body.n);
    assert_reply_has(&r, "HTTP/1.1 200 OK\r\n");
    assert_reply_has(&r, length);
    assert_reply_has(&r, "\r\nContent-Type: application/pdf\r\n");
    assert_reply_has(&r, "\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    assert_reply_has(&r, "\r\nContent-Disposition: attachment; filename=\"r___<b>.pdf\"; "
                         "filename*=UTF-8''r%C3%A9%22%3Cb%3E.pdf\r\n");
    assert_reply_has(&r, "\r\nCache-Control: no-store\r\n");
    assert_false(reply_has(&r, "X-Hop"));
    assert_false(reply_has(&r, "Set-Cookie"));
    assert_false(reply_has(&r, "public"));
    assert_false(reply_has(&r, "77"));
    assert_int_equal(r.body.n, body.n);
    assert_memory_equal(r.body.p, body.p, body.n);
    reply_done(&r);
}

static void check_file(struct world *w, size_t n)
{
    struct peer *p = peer_new(w), *q = peer_new(w);
    char *bytes = noise(n);
    struct token t = get_page(w, p, (struct span){bytes, n});
    json_t *first = world_record(w);
    struct reply r;

    peer_close(p);
    world_settle(w);
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    world_settle(w);
    expect_linked(w, record_text(first, "id"), "pass", "pass");
    assert_int_equal(world_scans(w), 0);
    for (unsigned i = 0; i < 2; i++) { /* browsers may ask again */
        fetch_whole(w, q, t, (struct span){bytes, n});
        expect_linked(w, record_text(first, "id"), "pass", "");
    }
    ask_fetch(w, q, "HEAD", t.text, user);
    r = peer_reply(w, q);
    assert_reply_has(&r, "null-body=");
    assert_reply_has(&r, "\r\nContent-Type: application/pdf\r\n");
    reply_done(&r);
    json_decref(first);
    free(bytes);
    world_pass(w, KEEP + 2000);
    assert_int_equal(budget_used(&w->spooled), 0);
    assert_fetched(w, q, t, "HTTP/1.1 410 Gone\r\n", "<h1>This file is no longer here</h1>");
}

static void test_file_in_memory(void **state)
{
    check_file(*state, 4);
}

static void test_file_in_the_spool(void **state)
{
    check_file(*state, 3 * MIB + 5);
}

static void test_own_disposition_stays(void **state)
{
    static const struct {
        const char *field, *want;
    } cases[] = {
        {"Content-Disposition: Attachment; filename=x.bin\r\n",
         "\r\nContent-Disposition: Attachment; filename=x.bin\r\n"                            },
        {"Content-Disposition: inline; filename=\"y.bin\"\r\n",
         "\r\nContent-Disposition: attachment; filename=\"y.bin\"; filename*=UTF-8''y.bin\r\n"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer *p = peer_new(w);
        char response[256];
        struct reply r;
        struct token t;

        (void)snprintf(response, sizeof response, "HTTP/1.1 200 OK\r\n%s", cases[i].field);
        peer_ask(w, p,
                 &(struct ask){.path = "/down",
                               .fields = user,
                               .request = browser,
                               .response = response,
                               .body = "x"});
        WORLD_UNTIL(w, w->zygote.n_jobs == i + 1);
        world_pass(w, AFTER);
        r = peer_reply(w, p);
        t = token_of(&r);
        reply_done(&r);
        fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
        world_settle(w);
        r = fetch(w, p, t);
        assert_reply_has(&r, cases[i].want);
        reply_done(&r);
    }
}

static void test_blocked(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct token t = get_page(w, p, SPAN("virus"));
    json_t *first = world_record(w), *j;
    const struct scan_result found = fake_found("Bad.Thing");
    struct icap_server_counts counts;
    struct reply r;

    fake_answer(fake_busy(&w->zygote), &found);
    world_settle(w);
    j = world_record(w);
    assert_string_equal(record_text(j, "action"), "block");
    assert_string_equal(record_text(j, "verdict"), "block");
    assert_string_equal(record_text(j, "cause"), "infected");
    assert_string_equal(record_text(j, "url_host"), "files.example");
    assert_string_equal(record_text(j, "follows"), record_text(first, "id"));
    icap_server_count(w->server, &counts);
    assert_int_equal(counts.blocked, 1);
    r = fetch(w, p, t);
    assert_reply_has(&r, "HTTP/1.1 403 Forbidden\r\n");
    assert_reply_has(&r, "X-Infection-Found: Type=0; Resolution=2; Threat=Bad.Thing;\r\n");
    assert_body_has(&r, "<h1>This file was blocked</h1>");
    assert_body_has(&r, "Bad.Thing");
    assert_body_has(&r, record_text(j, "id"));
    reply_done(&r);
    json_decref(j);
    expect_linked(w, record_text(first, "id"), "block", "");
    json_decref(first);
    world_pass(w, KEEP + 2000);
    assert_fetched(w, p, t, "HTTP/1.1 410 Gone\r\n", "no longer here");
}

/* The same rules decide as for one who waits, by facts whose texts the connection had. */
static void test_rule_after_the_engines(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct token t = get_page(w, p, SPAN("file"));
    const struct scan_result found = fake_found("Known.Thing");
    struct reply r;
    json_t *j;

    skip_record(w);
    peer_gets(w, p, &(struct ask){.method = "OPTIONS", .path = "/up"}, 200); /* other texts */
    skip_record(w);
    fake_answer(fake_busy(&w->zygote), &found);
    world_settle(w);
    j = world_record(w);
    assert_string_equal(record_text(j, "action"), "pass");
    assert_string_equal(record_text(j, "rule"), "known");
    json_decref(j);
    r = fetch(w, p, t);
    assert_string_equal(buf_cstr(&r.body), "file");
    reply_done(&r);
}

/* An action without a page of its own. */
static void test_worker_that_dies(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct token t = get_page(w, p, SPAN("file"));
    json_t *j;

    skip_record(w);
    fake_die(fake_busy(&w->zygote));
    world_settle(w);
    j = world_record(w);
    assert_string_equal(record_text(j, "action"), "error");
    assert_string_equal(record_text(j, "cause"), "worker-crash");
    assert_fetched(w, p, t, "HTTP/1.1 410 Gone\r\n", "<h1>This file could not be checked</h1>");
    assert_fetched(w, p, t, "HTTP/1.1 410 Gone\r\n", record_text(j, "id"));
    json_decref(j);
    world_pass(w, KEEP + 2000);
    assert_fetched(w, p, t, "HTTP/1.1 410 Gone\r\n", "<h1>This file could not be checked</h1>");
}

static void test_deadline(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct token t = get_page(w, p, SPAN("file"));

    world_pass(w, 300000);
    world_pass(w, 1000);
    assert_fetched(w, p, t, "HTTP/1.1 403 Forbidden\r\n", "in the time that is allowed");
    assert_int_equal(world_scans(w), 0);
}

/* ---- those who have no business here ---- */

static void assert_no_record_tells(struct world *w, unsigned n, struct token t)
{
    for (unsigned i = 0; i < n; i++) {
        json_t *j = world_record(w);

        assert_null(strstr(record_text(j, "file"), t.text));
        json_decref(j);
    }
}

static void test_strangers(void **state)
{
    static const char other[] = "X-Client-IP: 192.0.2.8\r\n";
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct token t = get_page(w, p, SPAN("file")), wrong = t;
    const struct stranger {
        const char *name, *method, *path, *fields, *status;
    } cases[] = {
        {"other_client", "GET",  t.text,                        other, "HTTP/1.1 404 Not Found\r\n"     },
        {"no_client",    "GET",  t.text,                        NULL,  "HTTP/1.1 404 Not Found\r\n"     },
        {"wrong_token",  "GET",  wrong.text,                    user,  "HTTP/1.1 404 Not Found\r\n"     },
        {"no_token",     "GET",  "",                            user,  "HTTP/1.1 404 Not Found\r\n"     },
        {"only_query",   "GET",  "?x",                          user,  "HTTP/1.1 404 Not Found\r\n"     },
        {"favicon",      "GET",  "favicon.ico",                 user,  "HTTP/1.1 404 Not Found\r\n"     },
        {"long",         "GET",  "00000000000000000000000000/", user,  "HTTP/1.1 404 Not Found\r\n"     },
        {"post",         "POST", t.text,                        user,  "HTTP/1.1 405 Method Not Allowed"},
    };

    wrong.text[0] = wrong.text[0] == '0' ? '1' : '0';
    for (unsigned scanned = 0; scanned < 2; scanned++) {
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct reply r;

            ask_fetch(w, p, cases[i].method, cases[i].path, cases[i].fields);
            r = peer_reply(w, p);
            if (!reply_has(&r, cases[i].status) || strstr(buf_cstr(&r.body), t.text))
                fail_msg("%s:\n%s%s", cases[i].name, buf_cstr(&r.heads), buf_cstr(&r.body));
            reply_done(&r);
        }
        if (scanned == 0)
            fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
        world_settle(w);
    }
    /* A query does no harm, and a body is not looked at. */
    char path[64];
    struct reply r;

    (void)snprintf(path, sizeof path, "%s?again", t.text);
    ask_fetch(w, p, "GET", path, user);
    r = peer_reply(w, p);
    assert_string_equal(buf_cstr(&r.body), "file");
    reply_done(&r);
    peer_ask(w, p,
             &(struct ask){.method = "REQMOD",
                           .path = "/up",
                           .fields = user,
                           .request = "GET http://progress.example/x HTTP/1.1\r\n",
                           .body = "body"});
    r = peer_reply(w, p);
    assert_reply_has(&r, "HTTP/1.1 405 Method Not Allowed\r\n");
    reply_done(&r);
    world_settle(w);
    assert_no_record_tells(w, 18, t);
}

/* ---- limits ---- */

static void test_full_table(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w), *q = peer_new(w), *late = peer_new(w);
    struct reply r;

    w->worker_settings.count = 4;
    workers_set_settings(w->workers, &w->worker_settings);
    (void)get_page(w, p, SPAN("one"));
    (void)get_page(w, q, SPAN("two"));
    ask_download(w, late, SPAN("three"));
    world_pass(w, 2 * AFTER);
    assert_int_equal(late->in.n, 0);
    while (fake_is_busy(&w->zygote))
        fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    r = peer_reply(w, late);
    assert_status(&r, 204);
    reply_done(&r);
    /* Those that are there to be fetched count, too. */
    ask_download(w, late, SPAN("four"));
    world_pass(w, 2 * AFTER);
    assert_int_equal(late->in.n, 0);
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    r = peer_reply(w, late);
    reply_done(&r);
    world_pass(w, KEEP + 2000);
    (void)get_page(w, late, SPAN("five"));
}

/* Whoever still reads when the time is over gets the rest. */
static void test_slow_reader_at_the_end(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w), *q = peer_new(w);
    size_t n = 12 * MIB;
    char *bytes = noise(n);
    struct token t = get_page(w, p, (struct span){bytes, n});
    struct reply r;

    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    world_settle(w);
    q->deaf = true;
    ask_fetch(w, q, "GET", t.text, user);
    world_settle(w);
    world_pass(w, KEEP + 5000);
    assert_int_equal(budget_used(&w->spooled), n);
    q->deaf = false;
    r = peer_reply(w, q);
    assert_int_equal(r.body.n, n);
    assert_memory_equal(r.body.p, bytes, n);
    reply_done(&r);
    world_pass(w, 3000);
    assert_int_equal(budget_used(&w->spooled), 0);
    free(bytes);
}

static void test_reader_that_goes_away(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w), *q = peer_new(w);
    size_t n = 12 * MIB;
    char *bytes = noise(n);
    struct token t = get_page(w, p, (struct span){bytes, n});

    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    world_settle(w);
    q->deaf = true;
    ask_fetch(w, q, "GET", t.text, user);
    world_settle(w);
    peer_close(q);
    world_settle(w);
    fetch_whole(w, p, t, (struct span){bytes, n});
    world_pass(w, KEEP + 2000);
    assert_int_equal(budget_used(&w->spooled), 0);
    free(bytes);
}

/* Whichever allocation of the page fails: it waits, or its connection breaks; nothing is lost. */
static void test_no_memory_for_the_page(void **state)
{
    struct world *w = *state;
    unsigned pages = 0, others = 0;

    for (unsigned n = 1; n <= 12 && pages < 2; n++) {
        struct peer *p = peer_new(w);

        ask_download(w, p, SPAN("file"));
        mem_fail_after(n);
        world_pass(w, AFTER);
        mem_fail_after(0);
        pages += p->in.n > 0;
        others += p->in.n == 0;
        fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
        WORLD_UNTIL(w, p->in.n > 0 || p->eof || p->reset);
        peer_close(p);
        world_pass(w, KEEP + 2000);
        expect_no_connection(w);
        assert_int_equal(world_scans(w), 0);
    }
    assert_true(others > 0);
    assert_true(pages > 0); /* some |n| was beyond all of them */
}

/* ---- while the body is still on its way to the disk ---- */

struct blocker {
    struct work work;
    sem_t *gate;
};

static void blocker_run(struct work *work)
{
    (void)sem_wait(CONTAINER_OF(work, struct blocker, work)->gate);
}

static void blocker_done(struct work *work)
{
    (void)work;
}

static void test_page_before_the_engines_have_it(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct blocker blockers[16];
    size_t n = MIB + MIB / 4;
    char *bytes = noise(n);
    struct reply r;
    struct token t;
    sem_t gate;

    assert_int_equal(sem_init(&gate, 0, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(blockers); i++) {
        blockers[i] = (struct blocker){
            {.run = blocker_run, .done = blocker_done},
            &gate
        };
        assert_int_equal(loop_work(w->loop, &blockers[i].work), OK);
    }
    peer_ask(w, p,
             &(struct ask){.path = "/down",
                           .fields = user,
                           .request = browser,
                           .response = "HTTP/1.1 200 OK\r\nContent-Type: text/x-kept\r\n"
                                       "Content-Encoding: gzip\r\n",
                           .body = bytes,
                           .body_n = n});
    for (unsigned i = 0; i < 200; i++)
        world_step(w, false);
    world_pass(w, AFTER);
    r = peer_reply(w, p);
    t = token_of(&r);
    reply_done(&r);
    assert_int_equal(w->zygote.n_jobs, 0);
    /* Other texts take the place of the old ones. */
    peer_gets(w, p, &(struct ask){.method = "OPTIONS", .path = "/up"}, 200);
    for (size_t i = 0; i < ARRAY_LEN(blockers); i++)
        (void)sem_post(&gate);
    WORLD_UNTIL(w, w->zygote.n_jobs == 1);
    assert_string_equal(fake_busy(&w->zygote)->job.job.type, "text/x-kept");
    assert_string_equal(fake_busy(&w->zygote)->job.job.encoding, "gzip");
    assert_string_equal(fake_busy(&w->zygote)->job.job.name, "r\303\251\"<b>.pdf");
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    world_settle(w);
    r = fetch(w, p, t);
    assert_int_equal(r.body.n, n);
    assert_memory_equal(r.body.p, bytes, n);
    reply_done(&r);
    world_settle(w);
    (void)sem_destroy(&gate);
    free(bytes);
}

/* ---- the end of the gateway ---- */

static void on_drained(void *arg)
{
    ((struct world *)arg)->n_drained++;
}

static void test_drain_waits_for_the_scan(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    (void)get_page(w, p, SPAN("file"));
    skip_record(w);
    icap_server_drain(w->server, on_drained, w);
    peer_ends(w, p);
    world_pass(w, 5000);
    expect_no_connection(w);
    assert_int_equal(w->n_drained, 0);
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    WORLD_UNTIL(w, w->n_drained == 1);
    expect_record(w, "", 0);
}

static void test_no_page_while_draining(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    ask_download(w, p, SPAN("file"));
    icap_server_drain(w->server, on_drained, w);
    world_pass(w, 2 * AFTER);
    assert_int_equal(p->in.n, 0);
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    r = peer_reply(w, p);
    assert_status(&r, 204);
    reply_done(&r);
    WORLD_UNTIL(w, w->n_drained == 1);
}

static struct fake_worker *worker_with(struct world *w, uint64_t len)
{
    for (unsigned i = 0; i < w->zygote.n; i++)
        if (w->zygote.workers[i].busy && w->zygote.workers[i].job.job.len == len)
            return &w->zygote.workers[i];
    fail_msg("no worker holds such a file");
    return NULL;
}

static void test_end_while_it_scans(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w), *q = peer_new(w);
    struct token scanned = get_page(w, p, SPAN("file")), ready;
    enum progress_state now;

    skip_record(w);
    ready = get_page(w, q, SPAN("other"));
    skip_record(w);
    fake_answer(worker_with(w, 5), &w->zygote.answer);
    world_settle(w);
    skip_record(w);
    icap_server_free(w->server);
    w->server = NULL;
    expect_record(w, "draining", 0);
    world_settle(w);
    assert_int_equal(world_scans(w), 0);
    assert_null(progress_find(w->progress, span_of(scanned.text), SPAN("192.0.2.7"), &now));
    assert_int_equal(now, PROGRESS_FAILED);
    assert_null(progress_find(w->progress, span_of(ready.text), SPAN("192.0.2.7"), &now));
    assert_int_equal(now, PROGRESS_EXPIRED);
}

/* A reload in between: the scan is judged by what it began with. */
static void test_reload(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct token t = get_page(w, p, SPAN("virus"));
    const struct scan_result found = fake_found("Bad.Thing");
    struct icap_snapshot *next =
        world_snapshot(w,
                       "services:\n"
                       "  - {name: up, type: inspect, path: /up, methods: [REQMOD],\n"
                       "     slow: {mode: progress, host: progress.example}}\n",
                       "other");

    icap_server_set_snapshot(w->server, next);
    icap_snapshot_unref(w->snapshot);
    w->snapshot = next;
    peer_gets(w, p, &(struct ask){.method = "OPTIONS", .path = "/up"}, 200);
    fake_answer(fake_busy(&w->zygote), &found);
    world_settle(w);
    p = peer_new(w);
    assert_fetched(w, p, t, "HTTP/1.1 403 Forbidden\r\n", "help@example &lt;&amp;&gt;");
    world_pass(w, KEEP + 2000);
}

static void test_metrics(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct token t = get_page(w, p, SPAN("file"));
    struct reply r = fetch(w, p, t);
    struct buf page;

    reply_done(&r);
    buf_init(&page, 0);
    metrics_print(w->metrics, &page);
    assert_non_null(strstr(buf_cstr(&page), "\nsallyport_progress_files 1\n"));
    assert_non_null(
        strstr(buf_cstr(&page), "\nsallyport_progress_pages_total{page=\"scanning\"} 2\n"));
    buf_done(&page);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_page),
        TEST(test_others_wait),
        TEST(test_navigations_that_say_so),
        TEST(test_while_it_scans),
        TEST(test_file_in_memory),
        TEST(test_file_in_the_spool),
        TEST(test_own_disposition_stays),
        TEST(test_blocked),
        TEST(test_rule_after_the_engines),
        TEST(test_worker_that_dies),
        TEST(test_deadline),
        TEST(test_strangers),
        TEST(test_full_table),
        TEST(test_slow_reader_at_the_end),
        TEST(test_reader_that_goes_away),
        TEST(test_no_memory_for_the_page),
        TEST(test_page_before_the_engines_have_it),
        TEST(test_drain_waits_for_the_scan),
        TEST(test_no_page_while_draining),
        TEST(test_end_while_it_scans),
        TEST(test_reload),
        TEST(test_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
