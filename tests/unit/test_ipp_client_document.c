/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of the IPP client: when they go out, when they do not, and what early answers mean. */
#include "test_ipp_client_world.h"

#define DOCUMENT "%PDF-1.4 the document"
#define GO_ON    "HTTP/1.1 100 Continue\r\n\r\n"

static void hear_head(struct fixture *f, size_t *ret_length)
{
    char head[4096];

    take_request_head(f, head, sizeof head);
    assert_non_null(strstr(head, "\r\nExpect: 100-continue\r\n"));
    *ret_length = length_of(head);
    settle(f);
    assert_int_equal(f->in.n, 0); /* all of the body waits */
}

static void hear_document(struct fixture *f, size_t length, struct span document)
{
    size_t used;

    UNTIL(f, f->in.n >= length);
    assert_int_equal(f->in.n, length);
    used = read_message(f);
    assert_int_equal(f->header.code, f->message.operation);
    assert_true(span_eq(span_sub(buf_span(&f->in), used, SIZE_MAX), document));
    buf_reset(&f->in);
}

static void test_print(void **state)
{
    struct fixture *f = *state;
    size_t length;

    print_at(f, "ipp://127.0.0.1:%u/q", SPAN(DOCUMENT));
    hear_head(f, &length);
    say(f, GO_ON);
    hear_document(f, length, SPAN(DOCUMENT));
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_true(f->result.document_sent);
    /* The connection goes on. */
    f->message.operation = IPP_OPERATION_GET_JOBS;
    ask(f);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->n_accepted, 1);
}

/* Whoever knows no 100 Continue waits as long as we do. */
static void test_patience(void **state)
{
    struct fixture *f = *state;
    size_t length;

    print_at(f, "ipp://127.0.0.1:%u/q", SPAN(DOCUMENT));
    hear_head(f, &length);
    pass(f, 900);
    assert_int_equal(f->in.n, 0);
    pass(f, 200);
    hear_document(f, length, SPAN(DOCUMENT));
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

/* A refusal that comes before the document spares it. */
static void test_early_refusal(void **state)
{
    struct fixture *f = *state;
    size_t length;

    print_at(f, "ipp://127.0.0.1:%u/q", SPAN(DOCUMENT));
    hear_head(f, &length);
    f->header.request_id = 1;
    answer(f, IPP_CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->status, IPP_CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED);
    assert_false(f->result.document_sent);
    ends_silently(f);
}

/* What says yes to a document that it has not got says yes to another one. */
static void test_early_yes(void **state)
{
    struct fixture *f = *state;
    size_t length;

    print_at(f, "ipp://127.0.0.1:%u/q", SPAN(DOCUMENT));
    hear_head(f, &length);
    f->header.request_id = 1;
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish_with(f, IPP_CLIENT_NETWORK, "before it had the whole document");
}

static void test_401_before_the_document(void **state)
{
    struct fixture *f = *state;
    size_t length;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    print(f, SPAN(DOCUMENT));
    accept_one(f);
    hear_head(f, &length);
    assert_string_equal(f->authorization, "");
    say(f, ASK_DIGEST);
    accept_one(f); /* what was announced and does not come ends a connection */
    hear_head(f, &length);
    assert_int_equal(strncmp(f->authorization, "Digest ", 7), 0);
    say(f, GO_ON);
    hear_document(f, length, SPAN(DOCUMENT));
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.lacks, IPP_NEED_NOTHING);
}

/* ---- what the list demands ---- */

static void test_nobody_asks_for_digest(void **state)
{
    struct fixture *f = *state;
    size_t length;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    print(f, SPAN(DOCUMENT));
    accept_one(f);
    hear_head(f, &length);
    say(f, GO_ON);
    finish_with(f, IPP_CLIENT_SECURITY, "does not ask for it");
    assert_false(f->result.document_sent);
    ends_silently(f);
}

static void test_nobody_asks_for_digest_nor_answers(void **state)
{
    struct fixture *f = *state;
    size_t length;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    print(f, SPAN(DOCUMENT));
    accept_one(f);
    hear_head(f, &length);
    pass(f, 1100);
    finish_with(f, IPP_CLIENT_SECURITY, "does not ask for it");
    ends_silently(f);
}

static void test_nobody_asks_and_that_is_let_be(void **state)
{
    struct fixture *f = *state;
    size_t length;

    f->set.no_insist = true;
    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    print(f, SPAN(DOCUMENT));
    accept_one(f);
    hear_head(f, &length);
    say(f, GO_ON);
    hear_document(f, length, SPAN(DOCUMENT));
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->n_warnings, 1);
    assert_int_equal(f->result.lacks, IPP_NEED_DIGEST);
}

/* A request without a document that changes something: not a byte of it. */
static void test_change_without_digest(void **state)
{
    struct fixture *f = *state;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    f->message.operation = IPP_OPERATION_CANCEL_JOB;
    begin(f, false, SPAN_NONE);
    accept_one(f);
    finish_with(f, IPP_CLIENT_SECURITY, "the printer does not ask for it");
    ends_silently(f);
}

static void test_change_after_digest(void **state)
{
    struct fixture *f = *state;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    ask(f);
    accept_one(f);
    hear_request(f);
    say(f, ASK_DIGEST);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    f->message.operation = IPP_OPERATION_CANCEL_JOB;
    begin(f, false, SPAN_NONE);
    hear_request(f);
    assert_int_equal(strncmp(f->authorization, "Digest ", 7), 0);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

/* No document is in clear text where TLS is demanded, and none of it in the request for TLS. */
static void test_print_after_upgrade(void **state)
{
    struct fixture *f = *state;
    size_t length;

    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    print(f, SPAN(DOCUMENT));
    upgrade(f, FINAL);
    hear_head(f, &length);
    say(f, GO_ON);
    hear_document(f, length, SPAN(DOCUMENT));
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.channel, IPP_CHANNEL_UPGRADED);
}

static void test_426_before_the_document(void **state)
{
    struct fixture *f = *state;
    size_t length;

    print_at(f, "ipp://127.0.0.1:%u/q", SPAN(DOCUMENT));
    hear_head(f, &length);
    say(f, "HTTP/1.1 426 No\r\nUpgrade: TLS/1.2\r\nContent-Length: 0\r\n\r\n");
    upgrade(f, FINAL);
    hear_head(f, &length);
    say(f, GO_ON);
    hear_document(f, length, SPAN(DOCUMENT));
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

/* ---- large ones ---- */

#define LARGE (5u << 20)

static void test_large(void **state)
{
    struct fixture *f = *state;
    char *text = malloc(LARGE);
    size_t length;

    assert_non_null(text);
    for (size_t i = 0; i < LARGE; i++)
        text[i] = (char)(i * 7 + i / 251);
    use(f, "ipp://127.0.0.1:%u/q;AUTH=TLS");
    print(f, (struct span){text, LARGE});
    upgrade(f, FINAL);
    hear_head(f, &length);
    assert_int_equal(ipp_client_sent(f->client), 0);
    say(f, GO_ON);
    hear_document(f, length, (struct span){text, LARGE});
    assert_int_equal(ipp_client_sent(f->client), LARGE);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    free(text);
}

/* While it flows. */
static void test_refused_under_way(void **state)
{
    struct fixture *f = *state;
    char *text = calloc(1, LARGE);
    size_t length;

    assert_non_null(text);
    print_at(f, "ipp://127.0.0.1:%u/q", (struct span){text, LARGE});
    hear_head(f, &length);
    say(f, GO_ON);
    UNTIL(f, f->in.n > 100000);
    f->header.request_id = 1;
    answer(f, IPP_CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE, "Connection: close\r\n");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->status, IPP_CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE);
    free(text);
}

static const int little = 4096;

/* The client's end of the connection, so that the kernel does not take a document that nobody
 * reads. */
static void hold_little(const struct fixture *f)
{
    unsigned n = 0;

    for (int fd = 3; fd < 1000; fd++) {
        struct address peer = {.len = sizeof peer.ss};

        if (getpeername(fd, (struct sockaddr *)&peer.ss, &peer.len) == 0 &&
            address_port(&peer) == address_port(&f->address))
            n += setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof little) == 0;
    }
    assert_int_equal(n, 1);
}

/* A yes that ends the connection drops what waits: that was not sent, although the engine had all
 * of it. */
static void test_yes_under_way(void **state)
{
    struct fixture *f = *state;
    static char text[1u << 20];
    size_t length;

    assert_int_equal(setsockopt(f->listening, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    print_at(f, "ipp://127.0.0.1:%u/q", (struct span){text, sizeof text});
    hear_head(f, &length);
    hold_little(f);
    f->eof = true; /* it reads nothing of it */
    say(f, GO_ON);
    settle(f);
    f->header.request_id = 1;
    answer(f, IPP_SUCCESSFUL_OK, "Connection: close\r\n");
    finish_with(f, IPP_CLIENT_NETWORK, "before it had the whole document");
    assert_true(f->result.document_sent);
}

/* It is no fault of the printer's. */
static void test_document_that_gets_shorter(void **state)
{
    struct fixture *f = *state;
    char *text = calloc(1, LARGE);
    size_t length;

    assert_non_null(text);
    print_at(f, "ipp://127.0.0.1:%u/q", (struct span){text, LARGE});
    hear_head(f, &length);
    assert_int_equal(ftruncate(f->fd, 1000), 0);
    say(f, GO_ON);
    finish_with(f, IPP_CLIENT_LOCAL, "the document cannot be read: ");
    free(text);
}

static void test_dies_under_way(void **state)
{
    struct fixture *f = *state;
    size_t length;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    print(f, SPAN(DOCUMENT));
    hear_head(f, &length);
    say(f, GO_ON);
    hear_document(f, length, SPAN(DOCUMENT));
    stream_shutdown(f->server);
    /* Nobody knows whether it was printed: not again. */
    finish_with(f, IPP_CLIENT_NETWORK, "no good answer from the printer: closed");
    assert_true(nobody_connects(f));
}

/* The same where no 100 came, so that it looks as if nothing had been heard. */
static void test_dies_without_a_word(void **state)
{
    struct fixture *f = *state;
    size_t length;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    print(f, SPAN(DOCUMENT));
    hear_head(f, &length);
    pass(f, 1100);
    hear_document(f, length, SPAN(DOCUMENT));
    stream_shutdown(f->server);
    finish_with(f, IPP_CLIENT_NETWORK, "closed before the first byte");
    assert_true(nobody_connects(f));
}

/* But what waited for its 100 may be sent again. */
static void test_dies_before_the_document(void **state)
{
    struct fixture *f = *state;
    size_t length;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    print(f, SPAN(DOCUMENT));
    hear_head(f, &length);
    stream_shutdown(f->server);
    accept_one(f);
    hear_head(f, &length);
    say(f, GO_ON);
    hear_document(f, length, SPAN(DOCUMENT));
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_print),
        CASE(test_patience),
        CASE(test_early_refusal),
        CASE(test_early_yes),
        CASE(test_401_before_the_document),
        CASE(test_nobody_asks_for_digest),
        CASE(test_nobody_asks_for_digest_nor_answers),
        CASE(test_nobody_asks_and_that_is_let_be),
        CASE(test_change_without_digest),
        CASE(test_change_after_digest),
        CASE(test_print_after_upgrade),
        CASE(test_426_before_the_document),
        CASE(test_large),
        CASE(test_refused_under_way),
        CASE(test_yes_under_way),
        CASE(test_document_that_gets_shorter),
        CASE(test_dies_under_way),
        CASE(test_dies_without_a_word),
        CASE(test_dies_before_the_document),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
