/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an ICAP server, and its new beginnings: draining, leaving at any time, another
 * configuration under running connections. */
#include "test_icap_peer.h"

static const char config[] =
    "services:\n"
    "  - {name: echo, type: echo, path: /echo}\n"
    "  - {name: scan, type: inspect, path: /scan, preview: 4, revision: one}\n";

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

/* ---- drain ---- */

static void on_drained(void *arg)
{
    ((struct world *)arg)->n_drained++;
}

static void test_drain_with_nobody(void **state)
{
    struct world *w = *state;

    icap_server_drain(w->server, on_drained, w);
    assert_int_equal(w->n_drained, 0);
    world_settle(w);
    assert_int_equal(w->n_drained, 1);
    world_settle(w);
    assert_int_equal(w->n_drained, 1);
}

static void test_drain(void **state)
{
    struct world *w = *state;
    struct peer *idle = peer_new(w), *busy = peer_new(w), *fresh = peer_new(w),
                *silent = peer_new(w);
    struct reply r;

    peer_gets(w, idle, &(struct ask){.path = "/echo"}, 200);
    ask_for_a_scan(w, busy);
    icap_server_drain(w->server, on_drained, w);
    peer_ends(w, idle);
    assert_false(busy->eof);
    assert_int_equal(w->n_drained, 0);
    /* Its connection was made, but it has not had its turn. */
    peer_ask(w, fresh, &(struct ask){.path = "/echo", .body = "x"});
    r = peer_reply(w, fresh);
    assert_status(&r, 200);
    assert_reply_has(&r, "Connection: close\r\n");
    reply_done(&r);
    peer_ends(w, fresh);
    /* OPTIONS is what balancers ask: the next generation may serve already. */
    struct peer *late = peer_new(w);

    peer_ask(w, late, &(struct ask){.method = "OPTIONS", .path = "/echo"});
    r = peer_reply(w, late);
    assert_status(&r, 200);
    assert_reply_has(&r, "Connection: close\r\n");
    reply_done(&r);
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    r = peer_reply(w, busy);
    assert_status(&r, 200);
    assert_reply_has(&r, "Connection: close\r\n");
    reply_done(&r);
    peer_ends(w, busy);
    assert_false(silent->eof);
    world_pass(w, 2100);
    peer_ends(w, silent);
    expect_no_connection(w);
    WORLD_UNTIL(w, w->n_drained == 1);
    world_settle(w);
    assert_int_equal(w->n_drained, 1);
}

static void test_free_between_drained_and_its_callback(void **state)
{
    struct world *w = *state;

    icap_server_drain(w->server, on_drained, w);
    listener_free(w->listener);
    w->listener = NULL;
    icap_server_free(w->server);
    w->server = NULL;
    world_settle(w);
    assert_int_equal(w->n_drained, 0);
}

static void test_free_with_open_transactions(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w), *q = peer_new(w);

    ask_for_a_scan(w, p);
    peer_say(w, q, "RESPMOD ");
    world_settle(w);
    icap_server_free(w->server);
    w->server = NULL;
    assert_int_equal(world_scans(w), 0);
    world_settle(w);
    assert_true(p->eof || p->reset);
    expect_record(w, "draining", 0);
    fake_answer(fake_busy(&w->zygote), &w->zygote.answer);
    world_settle(w);
}

static void test_connection_close_is_obeyed(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r;

    peer_ask(w, p, &(struct ask){.path = "/echo", .fields = "Connection: close\r\n", .body = "x"});
    peer_say(w, p, "0\r\n\r\n"); /* and a habit of some clients */
    r = peer_reply(w, p);
    assert_reply_has(&r, "Connection: close\r\n");
    reply_done(&r);
    peer_ends(w, p);
    assert_false(p->reset);
    world_pass(w, 2100);
    expect_no_connection(w);
}

/* ---- reload ---- */

static void tag_of(struct world *w, struct peer *p, char tag[64])
{
    struct reply r;

    peer_ask(w, p, &(struct ask){.method = "OPTIONS", .path = "/scan"});
    r = peer_reply(w, p);
    const char *at = strstr(buf_cstr(&r.heads), "ISTag: ");

    assert_non_null(at);
    (void)span_copy((struct span){at + 7, strcspn(at + 7, "\r")}, tag, 64);
    reply_done(&r);
}

static void swap(struct world *w, const char *text, const char *engines)
{
    struct icap_snapshot *next = world_snapshot(w, text, engines);

    icap_server_set_snapshot(w->server, next);
    icap_snapshot_unref(w->snapshot);
    w->snapshot = next;
}

static void test_a_new_snapshot(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w), *q = peer_new(w);
    char tag[4][64];
    struct reply r;

    tag_of(w, q, tag[0]);
    ask_for_a_scan(w, p);
    swap(w, config, "yara 4.2.3 rules 2");
    tag_of(w, q, tag[1]);
    assert_string_not_equal(tag[0], tag[1]);
    /* Equal configuration and engines: equal tags. */
    swap(w, config, "yara 4.2.3 rules 1");
    tag_of(w, q, tag[2]);
    assert_string_equal(tag[0], tag[2]);
    swap(w,
         "services: [{name: scan, type: inspect, path: /scan, preview: 4, revision: two,\n"
         "            on: {infected: error}}]\n",
         "yara 4.2.3 rules 1");
    tag_of(w, q, tag[3]);
    assert_string_not_equal(tag[0], tag[3]);
    /* What was under way keeps its services: block, not error; and its tag. */
    assert_int_equal(w->n_released, 2);
    struct scan_result found = fake_found("bad");

    fake_answer(fake_busy(&w->zygote), &found);
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_reply_has(&r, "HTTP/1.1 403 Forbidden");
    assert_reply_has(&r, tag[0]);
    reply_done(&r);
    /* The same connection's next request is served by the new ones. */
    w->zygote.mode = FAKE_ANSWER;
    w->zygote.answer = found;
    peer_gets(w, p, &(struct ask){.path = "/scan", .body = "x"}, 403);
    peer_gets(w, p, &(struct ask){.path = "/echo", .body = "x"}, 404);
    /* Its limits were the first's: that one goes with the connections. */
    assert_int_equal(w->n_released, 2);
    peer_close(p);
    peer_close(q);
    expect_no_connection(w);
    assert_int_equal(w->n_released, 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_drain_with_nobody),
        TEST(test_drain),
        TEST(test_free_between_drained_and_its_callback),
        TEST(test_free_with_open_transactions),
        TEST(test_connection_close_is_obeyed),
        TEST(test_a_new_snapshot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
