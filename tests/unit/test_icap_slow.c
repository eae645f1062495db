/* SPDX-License-Identifier: Apache-2.0 */
/* The trickle: when it begins, how much it gives away, and that it ends well, on a clock of the
 * test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_icap_peer.h"

#define LARGE (200u << 10)

static const char config[] =
    "services:\n"
    "  - {name: scan, type: inspect, path: /scan, deadline: 5m,\n"
    "     slow: {mode: trickle, after: 10s, every: 5s, bytes: 3, hold: 4}}\n"
    "  - {name: gush, type: inspect, path: /gush, deadline: 5m,\n"
    "     slow: {mode: trickle, after: 1s, every: 1s, bytes: 64k, hold: 1}}\n"
    "  - {name: wait, type: inspect, path: /wait, deadline: 5m}\n"
    "limits: {transaction-timeout: 10m}\n";

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

/* What of the answer is here: bytes of the body, without their chunks. SIZE_MAX: no head yet. */
static size_t trickled(const struct peer *p)
{
    struct span in = buf_span(&p->in);
    const char *end = in.n ? memmem(in.p, in.n, "HTTP/1.1 200 OK\r\n", 17) : NULL;
    const char *body = end ? memmem(end, in.n - (size_t)(end - in.p), "\r\n\r\n", 4) : NULL;
    size_t n = 0;

    if (!body)
        return SIZE_MAX;
    struct span rest = span_sub(in, (size_t)(body - in.p) + 4, SIZE_MAX);

    while (rest.n) {
        const char *line = memmem(rest.p, rest.n, "\r\n", 2);
        size_t size = strtoul(rest.p, NULL, 16);

        assert_non_null(line);
        n += size;
        rest = span_sub(rest, (size_t)(line - rest.p) + 2 + size + 2, SIZE_MAX);
    }
    return n;
}

static char *noise(size_t n)
{
    char *text = malloc(n + 1);

    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)('a' + i * 7 % 26);
    text[n] = '\0';
    return text;
}

static void ask_slow(struct world *w, struct peer *p, const char *path, const char *body)
{
    peer_ask(w, p, &(struct ask){.path = path, .body = body, .response = "HTTP/1.1 200 OK\r\n"});
    WORLD_UNTIL(w, fake_is_busy(&w->zygote));
}

static void answer(struct world *w, const struct scan_result *r)
{
    fake_answer(fake_busy(&w->zygote), r);
}

static const struct scan_result clean = {.verdict = VERDICT_PASS};

static void ends_clean(struct world *w, struct peer *p, const char *body)
{
    struct reply r;

    answer(w, &clean);
    r = peer_reply(w, p);
    assert_status(&r, 200);
    assert_int_equal(r.body.n, strlen(body));
    assert_memory_equal(r.body.p, body, r.body.n);
    reply_done(&r);
    expect_record(w, "", 200);
}

static void test_piece_by_piece(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    const char *body = "0123456789";

    ask_slow(w, p, "/scan", body);
    world_pass(w, 9999);
    assert_int_equal(p->in.n, 0); /* nothing before |after| */
    world_pass(w, 1);
    assert_int_equal(trickled(p), 3); /* the head, and the first piece */
    world_pass(w, 4999);
    assert_int_equal(trickled(p), 3);
    world_pass(w, 1);
    assert_int_equal(trickled(p), 6);
    for (unsigned i = 0; i < 5; i++)
        world_pass(w, 5000);
    assert_int_equal(trickled(p), 6); /* the last four are held back */
    ends_clean(w, p, body);
}

static void test_a_quick_verdict(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    ask_slow(w, p, "/scan", "0123456789");
    world_pass(w, 9000);
    ends_clean(w, p, "0123456789");
    world_pass(w, 60000);
    assert_int_equal(p->in.n, 0);
}

static void test_less_than_what_is_held_back(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    ask_slow(w, p, "/scan", "0123");
    world_pass(w, 30000);
    assert_int_equal(trickled(p), 0); /* the head alone */
    ends_clean(w, p, "0123");
}

static void test_blocked(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct scan_result found = fake_found("Eicar");

    ask_slow(w, p, "/scan", "0123456789");
    world_pass(w, 10000);
    assert_int_equal(trickled(p), 3);
    answer(w, &found);
    peer_ends(w, p);
    assert_int_equal(trickled(p), 3); /* and neither a page nor an end */
    json_t *j = world_record(w);

    assert_string_equal(record_text(j, "action"), "block");
    assert_non_null(strstr(record_text(j, "error_text"), "trickle"));
    json_decref(j);
}

/* What begins inside a preview would end it (RFC 3507 4.5). */
static void test_not_inside_a_preview(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    peer_say(w, p,
             "RESPMOD icap://gw/scan ICAP/1.0\r\nPreview: 4\r\n"
             "Encapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n4\r\nab");
    world_pass(w, 20000);
    assert_int_equal(p->in.n, 0);
    peer_say(w, p, "cd\r\n0\r\n\r\n");
    world_settle(w);
    assert_memory_equal(p->in.p, "ICAP/1.0 100 ", 13);
    world_pass(w, 5000);
    assert_int_equal(trickled(p), 0); /* |hold| is all there is */
    peer_say(w, p, "6\r\nefghij\r\n0\r\n\r\n");
    world_pass(w, 5000);
    assert_int_equal(trickled(p), 3);
    WORLD_UNTIL(w, fake_is_busy(&w->zygote));
    answer(w, &clean);
    WORLD_UNTIL(w, trickled(p) == 10);
    expect_record(w, "", 200);
}

static void test_at_most_64k(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    char *body = noise(LARGE);

    ask_slow(w, p, "/gush", body);
    for (unsigned i = 0; i < 5; i++)
        world_pass(w, 1000);
    WORLD_UNTIL(w, trickled(p) == 64u << 10);
    world_pass(w, 5000);
    assert_int_equal(trickled(p), 64u << 10);
    ends_clean(w, p, body);
    free(body);
}

/* ---- limits.memory ---- */

/* Of what a waiting body takes, the part that is for the trickle. */
static uint64_t taken(struct world *w, const char *path, const char *body)
{
    struct peer *p = peer_new(w);
    uint64_t before = budget_used(&w->memory), n;

    ask_slow(w, p, path, body);
    world_settle(w);
    n = budget_used(&w->memory) - before;
    ends_clean(w, p, body);
    peer_close(p);
    world_settle(w);
    return n;
}

static void test_it_counts_as_memory(void **state)
{
    struct world *w = *state;
    char *body = noise(LARGE);
    uint64_t plain = taken(w, "/wait", body);

    assert_int_equal(taken(w, "/gush", body), plain + (64u << 10));
    /* 3 bytes each 5 s, for 10 minutes */
    assert_int_equal(taken(w, "/scan", body), plain + 3 * 121);
    free(body);
}

/* As much as the body has, if that is known. */
static void test_a_small_body_takes_little(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    uint64_t plain = taken(w, "/wait", "0123456789"), before = budget_used(&w->memory);

    peer_ask(w, p,
             &(struct ask){.path = "/gush",
                           .body = "0123456789",
                           .response = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n"});
    WORLD_UNTIL(w, fake_is_busy(&w->zygote));
    assert_int_equal(budget_used(&w->memory) - before, plain + 10);
    ends_clean(w, p, "0123456789");
}

/* Without room nothing trickles, and all else goes on. */
static void test_no_room(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    uint64_t refused = atomic_load(&w->memory.refused);

    atomic_store(&w->memory.max, budget_used(&w->memory) + 3 * BLOCK_SIZE / 2);
    peer_ask(w, p, &(struct ask){.path = "/gush", .body = "0123456789", .head_only = true});
    WORLD_UNTIL(w, open_transactions(w) == 1);
    world_settle(w);
    assert_true(atomic_load(&w->memory.refused) > refused);
    atomic_store(&w->memory.max, 0);
    peer_say(w, p, "a\r\n0123456789\r\n0\r\n\r\n");
    world_pass(w, 1000); /* reading begins again by itself */
    WORLD_UNTIL(w, fake_is_busy(&w->zygote));
    world_pass(w, 10000);
    assert_int_equal(p->in.n, 0);
    ends_clean(w, p, "0123456789");
}

static void test_a_client_that_goes_away(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    ask_slow(w, p, "/scan", "0123456789");
    world_pass(w, 10000);
    assert_int_equal(trickled(p), 3);
    peer_close(p);
    expect_no_connection(w);
    expect_record(w, "client-gone", 200);
    answer(w, &clean);
    world_settle(w); /* and world_free() sees that everything was given back */
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_piece_by_piece),
        TEST(test_a_quick_verdict),
        TEST(test_blocked),
        TEST(test_less_than_what_is_held_back),
        TEST(test_at_most_64k),
        TEST(test_not_inside_a_preview),
        TEST(test_it_counts_as_memory),
        TEST(test_a_small_body_takes_little),
        TEST(test_no_room),
        TEST(test_a_client_that_goes_away),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("icap_slow", tests, NULL, NULL);
}
