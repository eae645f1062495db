/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_backend.h: a printer that the test plays byte by byte; what its answers are taken for,
 * wherever they are cut, and which of its connections are used again. */
#include "ipp/ipp_backend.h"

#include "test_ipp_client_world.h"

#include "ipp/ipp_backend_int.h"
#include "net/stream_int.h"

#define REQUEST_ID 77u
#define TIMEOUT_MS 5000u
#define DOCUMENT   "%PDF-1.7 or so"

static struct told {
    unsigned n;
    enum err err;
    char why[256], detail[256];
    unsigned http_status;
    uint16_t code; /* of the message; 0xffff: there is none */
    bool sent;
} told;

static struct ipp_backend_known *known;
static struct ipp_backend *backend;
static struct ipp_errand *errand;
static struct buf request;

/* ---- the gateway's side ---- */

static void on_told(void *arg, const struct ipp_backend_answer *a)
{
    (void)arg;
    told.n++;
    told.err = a->err;
    told.http_status = a->http_status;
    told.sent = a->sent;
    told.code = a->err ? 0xffff : a->message->header.code;
    (void)span_copy(span_of(a->why), told.why, sizeof told.why);
    (void)span_copy(span_of(a->detail), told.detail, sizeof told.detail);
    errand = NULL;
}

/* What is demanded of the next backend. */
static struct {
    bool secure;
    sallyport_level require;
    const char *peer; /* NULL: anybody */
    struct protect_system system;
} demand;

/* |list|: that of its URI. */
static void use_backend(struct fixture *f, const char *list, struct tls_context *tls,
                        unsigned connections)
{
    struct ipp_backend_settings s = {
        .loop = f->loop,
        .tls = tls,
        .require = demand.require,
        .peers = {.v = &demand.peer, .n = demand.peer ? 1 : 0},
        .system = demand.system,
        .known = known,
        .message = IPP_LIMITS_DEFAULT,
        .timeout_ms = TIMEOUT_MS,
        .connections = connections,
    };
    struct ipp_uri_fault fault;

    (void)snprintf(f->text, sizeof f->text, "%s://127.0.0.1:%u/q%s", demand.secure ? "ipps" : "ipp",
                   address_port(&f->address), list);
    assert_int_equal(ipp_uri_parse(span_of(f->text), &s.uri, &fault), OK);
    assert_int_equal(ipp_backend_new(&s, &backend), OK);
}

static int backend_setup(void **state)
{
    int failed = setup(state);

    told = (struct told){0};
    memset(&demand, 0, sizeof demand);
    known = ipp_backend_known_new();
    assert_non_null(known);
    buf_init(&request, 0);
    add_answer(&request, IPP_OPERATION_VALIDATE_JOB, REQUEST_ID);
    return failed;
}

static int backend_teardown(void **state)
{
    struct fixture *f = *state;

    if (errand)
        ipp_errand_cancel(errand);
    errand = NULL;
    ipp_backend_free(backend);
    backend = NULL;
    test_settle(f->loop);
    ipp_backend_known_unref(known);
    buf_done(&request);
    return teardown(state);
}

static void ask_with(struct fixture *f, struct body *document, uint64_t deadline_ms)
{
    const struct ipp_backend_request r = {
        .attributes = buf_span(&request),
        .document = document,
        .deadline_ms = deadline_ms,
        .done = on_told,
        .arg = f,
    };
    unsigned before = told.n;

    assert_int_equal(ipp_backend_ask(backend, &r, &errand), OK);
    assert_int_equal(told.n, before); /* never inside the call */
}

static void ask_printer(struct fixture *f)
{
    told = (struct told){0};
    ask_with(f, NULL, 0);
}

static void finish_as(struct fixture *f, enum err err, const char *words)
{
    UNTIL(f, told.n);
    assert_int_equal(told.n, 1);
    if (told.err != err || !strstr(told.why, words))
        fail_msg("%s, '%s': not %s, '%s'", err_code(told.err), told.why, err_code(err), words);
}

/* ---- the printer's side ---- */

/* A request whose body is the attributes, and |document|. */
static void hear_all(struct fixture *f, const char *document)
{
    char head[1024], host[64];
    size_t n = request.n + strlen(document);

    take_request_head(f, head, sizeof head);
    assert_string_equal(f->target, "/q");
    (void)snprintf(host, sizeof host, "\r\nHost: 127.0.0.1:%u\r\n", address_port(&f->address));
    assert_non_null(strstr(head, host));
    assert_non_null(strstr(head, "\r\nContent-Type: application/ipp\r\n"));
    assert_int_equal(length_of(head), n);
    UNTIL(f, f->in.n >= n);
    assert_int_equal(f->in.n, n);
    assert_memory_equal(f->in.p, request.p, request.n);
    assert_memory_equal(f->in.p + request.n, document, strlen(document));
    buf_reset(&f->in);
}

enum body_kind { NO_BODY, GOOD, BEHIND, OTHERS, CUT, ILLEGAL };

static void add_body(struct buf *b, enum body_kind kind)
{
    if (kind == NO_BODY)
        return;
    add_answer(b, IPP_SUCCESSFUL_OK, kind == OTHERS ? REQUEST_ID + 1 : REQUEST_ID);
    if (kind == BEHIND)
        buf_text(b, "what nobody asked for");
    if (kind == CUT)
        b->n--;
    if (kind == ILLEGAL)
        b->p[8] = 0; /* the tag of the first group */
}

/* |head| without its empty line, the length, and the body. */
static void make_answer(struct buf *b, const char *head, enum body_kind kind)
{
    struct buf body;

    buf_init(&body, 0);
    add_body(&body, kind);
    buf_fmt(b, "%sContent-Length: %zu\r\n\r\n", head, body.n);
    buf_add(b, buf_span(&body));
    buf_done(&body);
}

static void say_answer(struct fixture *f, const char *head, enum body_kind kind)
{
    struct buf all;

    buf_init(&all, 0);
    make_answer(&all, head, kind);
    say_span(f, buf_span(&all));
    buf_done(&all);
}

#define FINE "HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\n"

/* ---- answers ---- */

struct answer_row {
    const char *name, *head;
    enum body_kind body;
    enum err want;
    const char *words;
    bool sent;
};

/* clang-format off */
static const struct answer_row answer_rows[] = {
    {"good",            FINE, GOOD, OK, "", true},
    {"other spelling",  "HTTP/1.1 200 OK\r\ncontent-type:  Application/IPP ; x=y\r\n", GOOD, OK, "", true},
    {"data behind it",  FINE, BEHIND, OK, "", true},
    {"others' answer",  FINE, OTHERS, ERR_PROTO, "answered another request", true},
    {"ends early",      FINE, CUT, ERR_PROTO, "ends within its attributes", true},
    {"nothing",         FINE, NO_BODY, ERR_PROTO, "ends within its attributes", true},
    {"illegal",         FINE, ILLEGAL, ERR_PROTO, "no legal IPP", true},
    {"another type",    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n", GOOD, ERR_PROTO, "not application/ipp", true},
    {"two types",       FINE "Content-Type: application/ipp\r\n", GOOD, ERR_PROTO, "not application/ipp", true},
    {"no type",         "HTTP/1.1 200 OK\r\n", GOOD, ERR_PROTO, "not application/ipp", true},
    {"password",        "HTTP/1.1 401 No\r\n", NO_BODY, ERR_UPSTREAM, "asks the gateway for a password", false},
    {"not let in",      "HTTP/1.1 403 No\r\n", NO_BODY, ERR_UPSTREAM, "does not let the gateway in", false},
    {"no such path",    "HTTP/1.1 404 No\r\n", NO_BODY, ERR_UPSTREAM, "knows no such path", false},
    {"wants TLS",       "HTTP/1.1 426 No\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n", NO_BODY, ERR_UPSTREAM, "wants TLS",
     false},
    {"elsewhere",       "HTTP/1.1 302 No\r\nLocation: /\r\n", NO_BODY, ERR_UPSTREAM, "HTTP error", true},
    {"its fault",       "HTTP/1.1 500 No\r\n", NO_BODY, ERR_UPSTREAM, "HTTP error", true},
    {"unasked switch",  "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n", NO_BODY, ERR_PROTO, "", true},
    {"no HTTP",         "HELO printer\r\n", NO_BODY, ERR_PROTO, "", true},
};
/* clang-format on */

static void test_answers(void **state)
{
    struct fixture *f = *state;

    use_backend(f, "", NULL, 2);
    for (size_t i = 0; i < ARRAY_LEN(answer_rows); i++) {
        const struct answer_row *row = &answer_rows[i];

        ask_printer(f);
        if (!f->server || i == 0 || answer_rows[i - 1].want)
            accept_one(f);
        hear_all(f, "");
        say_answer(f, row->head, row->body);
        UNTIL(f, told.n);
        if (told.err != row->want || !strstr(told.why, row->words) || told.sent != row->sent)
            fail_msg("%s: %s, '%s', %d", row->name, err_code(told.err), told.why, told.sent);
        assert_int_equal(told.code, row->want ? 0xffff : IPP_SUCCESSFUL_OK);
    }
    settle(f);
    assert_int_equal(told.n, 1);
}

/* In two pieces, wherever they meet: the same answer, and the connection is good for the next one.
 */
static void test_cut_anywhere(void **state)
{
    struct fixture *f = *state;
    struct buf all;

    use_backend(f, "", NULL, 1);
    buf_init(&all, 0);
    make_answer(&all, FINE, BEHIND);
    for (size_t at = 1; at < all.n; at++) {
        ask_printer(f);
        if (at == 1)
            accept_one(f);
        hear_all(f, "");
        say_span(f, span_sub(buf_span(&all), 0, at));
        settle(f);
        assert_int_equal(told.n, 0);
        say_span(f, span_sub(buf_span(&all), at, SIZE_MAX));
        finish_as(f, OK, "");
    }
    assert_int_equal(f->n_accepted, 1);
    buf_done(&all);
}

static void answer_once(struct fixture *f)
{
    hear_all(f, "");
    say_answer(f, FINE, GOOD);
    finish_as(f, OK, "");
}

/* Long enough for the rest to be waited for in one piece. */
static void make_long_answer(struct buf *b)
{
    char text[1000];
    struct buf body;

    memset(text, 'x', sizeof text);
    buf_init(&body, 0);
    add_answer(&body, IPP_SUCCESSFUL_OK, REQUEST_ID);
    body.n--; /* its end: a group follows */
    buf_char(&body, IPP_GROUP_PRINTER);
    for (unsigned i = 0; i < 9; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "text-%u", i);
        ipp_record_add(&body, IPP_VALUE_TEXT, span_of(name), (struct span){text, sizeof text});
    }
    buf_char(&body, IPP_GROUP_END);
    buf_fmt(b, FINE "Content-Length: %zu\r\n\r\n", body.n);
    buf_add(b, buf_span(&body));
    buf_done(&body);
}

/* The printer has been asked, and has said nothing of |all| yet. */
static void begin_long_answer(struct fixture *f, struct buf *all)
{
    use_backend(f, "", NULL, 1);
    buf_init(all, 0);
    make_long_answer(all);
    ask_printer(f);
    accept_one(f);
    hear_all(f, "");
}

/* A few bytes now and then: no pause is as long as the limit, all together are, and what comes is
 * seen in time. A short answer behind it does not wait. Of one that stops it is seen, too. */
static void test_slow_answer(void **state)
{
    struct fixture *f = *state;
    struct buf all;

    begin_long_answer(f, &all);
    for (size_t at = 0; at < all.n; at += 500) {
        assert_int_equal(told.n, 0);
        say_span(f, span_sub(buf_span(&all), at, 500));
        settle(f);
        for (unsigned i = 0; i < TIMEOUT_MS / 100 - 1; i++) /* the whole limit, nearly */
            pass(f, 100);
    }
    finish_as(f, OK, "");
    ask_printer(f);
    answer_once(f);
    ask_printer(f);
    hear_all(f, "");
    say_span(f, span_sub(buf_span(&all), 0, 5000));
    pass(f, TIMEOUT_MS - 1);
    assert_int_equal(told.n, 0);
    pass(f, 2 * 200); /* in which it is seen what has come, and then that nothing comes */
    finish_as(f, ERR_TIMEOUT, "does not answer");
    assert_int_equal(f->n_accepted, 1);
    buf_done(&all);
}

/* A printer that says nothing more until it is known that the last piece came. */
static void test_held_back(void **state)
{
    struct fixture *f = *state;
    struct buf all;

    begin_long_answer(f, &all);
    for (unsigned i = 0; i < 3; i++) {
        for (size_t at = 0; at < 6 * 100; at += 100) { /* the first one is not all of the head */
            say_span(f, span_sub(buf_span(&all), at < 100 ? 0 : at - 90, at < 100 ? 10 : 100));
            pass(f, 8); /* a turn of the wheel */
            assert_int_equal(test_unacknowledged(f->server->fd), 0);
        }
        say_span(f, span_sub(buf_span(&all), 510, SIZE_MAX));
        finish_as(f, OK, "");
        if (i < 2) {
            ask_printer(f);
            hear_all(f, "");
        }
    }
    buf_done(&all);
}

/* Behind a long answer, too, it is seen at once that a connection that waits is no good any more.
 */
static void test_long_answer_and_more(void **state)
{
    struct fixture *f = *state;
    struct buf all;

    begin_long_answer(f, &all);
    say_span(f, span_sub(buf_span(&all), 0, 3000));
    settle(f);
    assert_int_equal(errand->stream->low_water, all.n - 3000); /* the rest wakes us once */
    say_span(f, span_sub(buf_span(&all), 3000, SIZE_MAX));
    finish_as(f, OK, "");
    settle(f);
    assert_false(f->eof);
    say_span(f, SPAN("x"));
    UNTIL(f, f->eof);
    buf_done(&all);
}

/* What does not come whole is no answer, and is not asked for again. */
static void test_ends_anywhere(void **state)
{
    struct fixture *f = *state;
    struct buf all;

    use_backend(f, "", NULL, 1);
    buf_init(&all, 0);
    make_answer(&all, FINE, GOOD);
    for (size_t n = 0; n < all.n; n++) {
        ask_printer(f);
        accept_one(f);
        hear_all(f, "");
        if (n)
            say_span(f, span_sub(buf_span(&all), 0, n));
        drop_server(f);
        UNTIL(f, told.n);
        if (told.err != ERR_UPSTREAM || !told.sent)
            fail_msg("%zu: %s, '%s'", n, err_code(told.err), told.why);
    }
    assert_true(nobody_connects(f));
    buf_done(&all);
}

/* ---- connections ---- */

static void test_kept(void **state)
{
    struct fixture *f = *state;

    use_backend(f, "", NULL, 2);
    ask_printer(f);
    accept_one(f);
    answer_once(f);
    ask_printer(f);
    answer_once(f);
    assert_true(nobody_connects(f));
}

/* The printer has closed one that it was to keep: that says nothing of the request. */
static void test_again(void **state)
{
    struct fixture *f = *state;

    use_backend(f, "", NULL, 2);
    ask_printer(f);
    accept_one(f);
    answer_once(f);
    ask_printer(f);
    hear_all(f, "");
    drop_server(f);
    accept_one(f);
    answer_once(f);
    /* But once only. */
    ask_printer(f);
    hear_all(f, "");
    drop_server(f);
    accept_one(f);
    hear_all(f, "");
    drop_server(f);
    finish_as(f, ERR_UPSTREAM, "");
    assert_true(nobody_connects(f));
}

static struct body *document_of(struct fixture *f, const char *text)
{
    static const struct spool_settings spool = {
        .dir_fd = -1, .memory_max = 1 << 20, .queue_max = 1 << 20};
    const struct body_settings set = {.loop = f->loop, .spool = &spool, .memory_max = 1 << 20};
    struct block *b = block_new();
    struct body *body = NULL;

    assert_int_equal(body_new(&set, &body), OK);
    memcpy(b->data, text, strlen(text));
    b->used = (uint32_t)strlen(text);
    assert_int_equal(body_append(body, (struct slice){b, 0, b->used}), OK);
    block_unref(b);
    return body;
}

/* It cannot be sent twice: on a connection of its own, and no other one. */
static void test_document(void **state)
{
    struct fixture *f = *state;
    struct body *document = document_of(f, DOCUMENT);

    use_backend(f, "", NULL, 2);
    ask_printer(f);
    accept_one(f);
    answer_once(f);
    told = (struct told){0};
    ask_with(f, document, 0);
    accept_one(f);
    hear_all(f, DOCUMENT);
    drop_server(f);
    finish_as(f, ERR_UPSTREAM, "");
    assert_true(told.sent);
    assert_true(nobody_connects(f));
    body_free(document);
}

static void test_only_one_connection(void **state)
{
    struct fixture *f = *state;
    struct ipp_errand *first;

    use_backend(f, "", NULL, 1);
    ask_printer(f);
    first = errand;
    accept_one(f);
    hear_all(f, "");
    ask_with(f, NULL, f->clock.now_ms + 100);
    assert_true(nobody_connects(f));
    pass(f, 200);
    finish_as(f, ERR_BUSY, "");
    assert_false(ipp_backend_is_silent(backend)); /* it was not asked */
    told = (struct told){0};
    errand = first;
    say_answer(f, FINE, GOOD);
    finish_as(f, OK, "");
}

/* ---- time ---- */

static void test_silence(void **state)
{
    struct fixture *f = *state;

    use_backend(f, "", NULL, 1);
    ask_printer(f);
    accept_one(f);
    hear_all(f, "");
    pass(f, TIMEOUT_MS - 1);
    assert_int_equal(told.n, 0);
    pass(f, 2);
    finish_as(f, ERR_TIMEOUT, "does not answer");
    assert_true(told.sent);
    assert_true(ipp_backend_is_silent(backend));
    ask_printer(f);
    accept_one(f);
    answer_once(f);
    assert_false(ipp_backend_is_silent(backend));
}

static void assert_known(bool answers, uint64_t answered, uint64_t failed)
{
    struct ipp_backend_report r;

    ipp_backend_known_read(known, &r);
    assert_int_equal(r.answers, answers);
    assert_int_equal(r.answered_wall_ms, answered);
    assert_int_equal(r.failed_wall_ms, failed);
}

/* What operators are told of it: the last request says whether it answers. */
static void test_what_is_known(void **state)
{
    struct fixture *f = *state;
    uint64_t answered, failed;

    use_backend(f, "", NULL, 1);
    assert_known(false, 0, 0);
    ask_printer(f);
    accept_one(f);
    answered = f->clock.now_ms;
    answer_once(f);
    assert_known(true, answered, 0);
    pass(f, 50);
    ask_printer(f);
    hear_all(f, "");
    pass(f, TIMEOUT_MS + 50); /* timers are not to the ms */
    failed = f->clock.now_ms;
    finish_as(f, ERR_TIMEOUT, "does not answer");
    assert_known(false, answered, failed);
    ask_printer(f);
    ipp_errand_cancel(errand); /* which says nothing of it */
    errand = NULL;
    test_settle(f->loop);
    assert_known(false, answered, failed);
}

static void test_deadline(void **state)
{
    struct fixture *f = *state;

    use_backend(f, "", NULL, 1);
    told = (struct told){0};
    ask_with(f, NULL, f->clock.now_ms + 100);
    accept_one(f);
    hear_all(f, "");
    pass(f, 50);
    assert_int_equal(told.n, 0);
    pass(f, 100); /* timers are not to the ms */
    finish_as(f, ERR_TIMEOUT, "does not answer in time");
}

/* Others would have waited longer, and are not to take it for a silent one. */
static void test_deadline_of_somebody_in_a_hurry(void **state)
{
    struct fixture *f = *state;
    const struct ipp_backend_request r = {
        .attributes = buf_span(&request),
        .deadline_ms = f->clock.now_ms + 100,
        .hurried = true,
        .done = on_told,
        .arg = f,
    };

    use_backend(f, "", NULL, 1);
    told = (struct told){0};
    assert_int_equal(ipp_backend_ask(backend, &r, &errand), OK);
    accept_one(f);
    hear_all(f, "");
    pass(f, 200);
    finish_as(f, ERR_TIMEOUT, "does not answer in time");
    assert_false(ipp_backend_is_silent(backend));
}

static void test_nobody_there(void **state)
{
    struct fixture *f = *state;

    use_backend(f, "", NULL, 1);
    (void)close(f->listening);
    f->listening = -1;
    ask_printer(f);
    finish_as(f, ERR_UPSTREAM, "cannot be reached");
    assert_null(strstr(told.why, "127.0.0.1")); /* where it is is nobody's business */
    assert_false(told.sent);
}

/* ---- TLS by Upgrade ---- */

#define ASKED                                                                        \
    "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: sallyport\r\nUpgrade: " \
    "TLS/1.3, TLS/1.2\r\nConnection: Upgrade\r\n\r\n"
#define SWITCH_TO(upgrade) \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" upgrade "\r\n"

static void hear_asked(struct fixture *f)
{
    char text[512];

    (void)snprintf(text, sizeof text, ASKED, address_port(&f->address));
    hear(f, text);
}

static void upgrade_printer(struct fixture *f)
{
    accept_one(f);
    hear_asked(f);
    say(f, SWITCH);
    begin_tls(f, server_upgraded);
    assert_true(f->tls);
    say(f, FINAL);
    answer_once(f);
}

static void test_upgrade(void **state)
{
    struct fixture *f = *state;

    use_backend(f, ";AUTH=TLS", client_upgraded, 1);
    ask_printer(f);
    upgrade_printer(f);
    ask_printer(f); /* on the connection that is TLS now */
    answer_once(f);
    assert_true(nobody_connects(f));
}

/* The printer says so itself: and from then on it is begun with that. */
static void test_upgrade_on_demand(void **state)
{
    struct fixture *f = *state;

    use_backend(f, "", client_upgraded, 1);
    ask_printer(f);
    accept_one(f);
    hear_all(f, "");
    say(f,
        "HTTP/1.1 426 No\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\nContent-Length: 0\r\n\r\n");
    upgrade_printer(f);
    drop_server(f);
    ask_printer(f);
    upgrade_printer(f);
}

static void test_no_upgrade(void **state)
{
    static const struct {
        const char *said, *words;
        enum err want;
    } rows[] = {
        {SWITCH_TO(""),                                  "something else than TLS", ERR_PROTO},
        {SWITCH_TO("Upgrade: foo\r\n"),                  "something else than TLS", ERR_PROTO},
        {SWITCH_TO("Upgrade: TLSfoo\r\n"),               "something else than TLS", ERR_PROTO},
        {SWITCH_TO("Upgrade: TLS/\r\n"),                 "something else than TLS", ERR_PROTO},
        {SWITCH_TO("Upgrade: TLS/1.x\r\n"),              "something else than TLS", ERR_PROTO},
        {SWITCH_TO("Upgrade: HTTP/2.0\r\n"),             "something else than TLS", ERR_PROTO},
        {SWITCH FINAL,                                   "said more in clear text", ERR_PROTO},
        {SWITCH "\x16",                                  "said more in clear text", ERR_PROTO},
        {FINAL,                                          "does not begin TLS",      ERR_TLS  },
        {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "does not begin TLS",      ERR_TLS  },
    };
    struct fixture *f = *state;

    use_backend(f, ";AUTH=TLS", client_upgraded, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ask_printer(f);
        accept_one(f);
        hear_asked(f);
        say(f, rows[i].said);
        finish_as(f, rows[i].want, rows[i].words);
        assert_false(told.sent); /* nothing was asked of it yet */
        UNTIL(f, f->eof);
        assert_int_equal(f->in.n, 0); /* nor said in clear text */
    }
}

/* ---- what is demanded of it ---- */

#define UNPROTECTED "not protected as is demanded"
#define HIMSELF     "ip:127.0.0.1"
#define SOMEBODY    "dns:other.test"

/* Nothing of the request: with TLS not a byte inside it, without not a byte. */
static void hear_nothing(struct fixture *f)
{
    UNTIL(f, f->eof);
    assert_int_equal(f->in.n, 0);
    assert_false(told.sent);
}

static void test_who_it_is(void **state)
{
    static const struct {
        const char *peer, *words;
        enum err want;
    } rows[] = {
        {HIMSELF,         "",          OK        },
        {"dn:CN=printer", "",          OK        },
        {SOMEBODY,        UNPROTECTED, ERR_POLICY}
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        demand.secure = i % 2;
        demand.peer = rows[i / 2].peer;
        use_backend(f, demand.secure ? "" : ";AUTH=TLS",
                    demand.secure ? client_implicit : client_upgraded, 1);
        ask_printer(f);
        accept_one(f);
        if (!demand.secure) {
            hear_asked(f);
            say(f, SWITCH);
        }
        begin_tls(f, demand.secure ? server_implicit : server_upgraded);
        if (!demand.secure && !rows[i / 2].want)
            say(f, FINAL);
        if (rows[i / 2].want) {
            finish_as(f, rows[i / 2].want, rows[i / 2].words);
            assert_non_null(strstr(told.detail, "somebody who is not wanted here; it is "));
            hear_nothing(f);
        } else {
            answer_once(f);
        }
        ipp_backend_free(backend);
        backend = NULL;
        settle(f);
    }
}

/* Where TLS comes by Upgrade it is not waited for until the printer demands it. */
static void test_level_by_upgrade(void **state)
{
    struct fixture *f = *state;

    demand.require = SALLYPORT_STRONG;
    use_backend(f, "", client_upgraded, 1);
    ask_printer(f);
    upgrade_printer(f);
    ipp_backend_free(backend);
    backend = NULL;
    settle(f);
    ipp_backend_known_unref(known); /* it does not know that the printer wants TLS */
    known = ipp_backend_known_new();
    assert_non_null(known);
    demand.require = SALLYPORT_NONE;
    demand.peer = HIMSELF;
    use_backend(f, "", client_upgraded, 1);
    ask_printer(f);
    upgrade_printer(f);
}

/* The configuration does not allow it; nor does the connection. */
static void test_demands_in_clear_text(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        demand.require = i ? SALLYPORT_NONE : SALLYPORT_INTEGRITY;
        demand.peer = i ? HIMSELF : NULL;
        use_backend(f, "", NULL, 1);
        ask_printer(f);
        accept_one(f);
        finish_as(f, ERR_POLICY, UNPROTECTED);
        hear_nothing(f);
        ipp_backend_free(backend);
        backend = NULL;
        settle(f);
    }
}

/* ---- who does not wait ---- */

static void test_cancel(void **state)
{
    struct fixture *f = *state;

    use_backend(f, "", NULL, 1);
    for (unsigned i = 0; i < 4; i++) {
        ask_printer(f);
        if (i > 0)
            accept_one(f);
        if (i > 1)
            hear_all(f, "");
        if (i > 2)
            say(f, FINE);
        ipp_errand_cancel(errand);
        errand = NULL;
        settle(f);
        assert_int_equal(told.n, 0);
    }
    UNTIL(f, f->eof);
}

static void test_freed_while_it_waits(void **state)
{
    struct fixture *f = *state;

    use_backend(f, "", NULL, 1);
    ask_printer(f);
    accept_one(f);
    hear_all(f, "");
    ipp_backend_free(backend);
    backend = NULL;
    say_answer(f, FINE, GOOD);
    finish_as(f, OK, "");
    settle(f);
    assert_true(f->eof);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, backend_setup, backend_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answers),
        TEST(test_cut_anywhere),
        TEST(test_slow_answer),
        TEST(test_held_back),
        TEST(test_long_answer_and_more),
        TEST(test_ends_anywhere),
        TEST(test_kept),
        TEST(test_again),
        TEST(test_document),
        TEST(test_silence),
        TEST(test_what_is_known),
        TEST(test_deadline),
        TEST(test_only_one_connection),
        TEST(test_nobody_there),
        TEST(test_upgrade),
        TEST(test_upgrade_on_demand),
        TEST(test_no_upgrade),
        TEST(test_who_it_is),
        TEST(test_level_by_upgrade),
        TEST(test_demands_in_clear_text),
        TEST(test_cancel),
        TEST(test_freed_while_it_waits),
        TEST(test_deadline_of_somebody_in_a_hurry),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
