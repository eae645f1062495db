/* SPDX-License-Identifier: Apache-2.0 */
/* Files that wait for a slot among the open scans: in order, as soon as one is free, and not for
 * ever. */
#include "test_icap_peer.h"

static const char config[] = "services:\n"
                             "  - {name: scan, type: inspect, path: /scan, deadline: 5s}\n";

static int setup(void **state)
{
    struct world *w = world_new(config, NULL);

    scan_slots_set_max(w->scans, 1);
    w->zygote.mode = FAKE_HOLD;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

static struct peer *asks(struct world *w)
{
    struct peer *p = peer_new(w);

    peer_ask(w, p, &(struct ask){.path = "/scan", .fields = "Allow: 204\r\n", .body = "x"});
    world_settle(w);
    return p;
}

static bool has_answer(struct peer *p)
{
    size_t heads;

    return reply_len(buf_span(&p->in), &heads) > 0;
}

static void expect(struct world *w, struct peer *p, unsigned status)
{
    struct reply r = peer_reply(w, p);

    assert_status(&r, status);
    reply_done(&r);
}

/* The worker that has a file finds nothing. */
static void scan_ends(struct world *w)
{
    fake_answer(fake_busy(&w->zygote), &(struct scan_result){.verdict = VERDICT_PASS});
    world_settle(w);
}

/* No moment passes between the end of one and the beginning of the next. */
static void test_in_order_at_once(void **state)
{
    struct world *w = *state;
    struct peer *p[5];

    for (unsigned i = 0; i < ARRAY_LEN(p); i++)
        p[i] = asks(w);
    for (unsigned i = 0; i < ARRAY_LEN(p); i++) {
        assert_int_equal(w->zygote.n_jobs, i + 1);
        scan_ends(w);
        for (unsigned j = i; j < ARRAY_LEN(p); j++)
            assert_int_equal(has_answer(p[j]), i == j);
        expect(w, p[i], 204);
    }
    assert_int_equal(world_scans(w), 0);
}

/* Somebody else had the slot, who tells nobody here. Whoever comes now does not get it before the
 * one who waits. */
static void test_nobody_overtakes(void **state)
{
    struct world *w = *state;

    assert_true(scan_slots_take(w->scans, 1));
    struct peer *first = asks(w);

    scan_slots_give(w->scans, 1);
    struct peer *second = asks(w);

    assert_int_equal(w->zygote.n_jobs, 0);
    world_pass(w, 40);
    assert_int_equal(w->zygote.n_jobs, 1);
    scan_ends(w);
    assert_true(has_answer(first) && !has_answer(second));
    scan_ends(w);
    expect(w, first, 204);
    expect(w, second, 204);
}

/* The first of the queue goes away, or one in it. */
static void test_who_leaves_holds_up_nobody(void **state)
{
    struct world *w = *state;
    struct peer *holder = asks(w), *p[4];

    for (unsigned i = 0; i < ARRAY_LEN(p); i++)
        p[i] = asks(w);
    peer_close(p[0]);
    peer_close(p[2]);
    world_settle(w);
    scan_ends(w);
    expect(w, holder, 204);
    assert_int_equal(w->zygote.n_jobs, 2);
    scan_ends(w);
    expect(w, p[1], 204);
    scan_ends(w);
    expect(w, p[3], 204);
    assert_int_equal(w->zygote.n_jobs, 3);
}

/* limits.scan-wait is over: a crowd is told so, and the one that has the slot keeps it. */
static void test_a_crowd_gives_up(void **state)
{
    struct world *w = *state;
    struct peer *holder = asks(w), *p[12];

    for (unsigned i = 0; i < ARRAY_LEN(p); i++)
        p[i] = asks(w);
    world_pass(w, 50);
    for (unsigned i = 0; i < ARRAY_LEN(p); i++)
        assert_false(has_answer(p[i]));
    world_pass(w, 100);
    for (unsigned i = 0; i < ARRAY_LEN(p); i++) {
        struct reply r = peer_reply(w, p[i]);

        assert_reply_has(&r, "X-Response-Desc: overload\r\n");
        reply_done(&r);
    }
    assert_int_equal(w->zygote.n_jobs, 1);
    scan_ends(w);
    expect(w, holder, 204);
}

/* How many records say that no slot was free, up to that of a file that passed. */
static unsigned refusals_recorded(struct world *w)
{
    unsigned n = 0;

    for (;;) {
        json_t *j = world_record(w);
        bool passed = strcmp(record_text(j, "verdict"), "pass") == 0;

        n += strstr(record_text(j, "error_text"), "limits.scans") != NULL;
        json_decref(j);
        if (passed)
            return n;
    }
}

/* Without memory for a queue nobody can wait: the answer comes at once, not after a while. */
static void test_no_memory_to_wait(void **state)
{
    struct world *w = *state;
    struct peer *holder = asks(w);
    struct buf request;

    buf_init(&request, 0);
    ask_format(&(struct ask){.path = "/scan", .body = "x"}, &request);
    for (unsigned n = 1; n < 100; n++) { /* wherever it ends */
        struct peer *p = peer_new(w);

        world_settle(w);
        mem_fail_after(n);
        peer_send(w, p, buf_span(&request));
        world_settle(w);
        mem_fail_after(0);
        peer_close(p);
        world_settle(w);
        buf_done(&p->in);
        w->n_peers--; /* the last one's place is free again */
    }
    buf_done(&request);
    assert_int_equal(w->zygote.n_jobs, 1);
    scan_ends(w);
    expect(w, holder, 204);
    assert_int_equal(refusals_recorded(w), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_in_order_at_once),           TEST(test_nobody_overtakes),
        TEST(test_who_leaves_holds_up_nobody), TEST(test_a_crowd_gives_up),
        TEST(test_no_memory_to_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
