/* SPDX-License-Identifier: Apache-2.0 */
/* Several causes at once: the strictest action of the service wins, exceptions take away only what
 * they are about, and the record names them all. */
#include "adapt/exceptions.h"
#include "test_icap_peer.h"

#define BIT(c) (1u << CAUSE_##c)

static const char config[] =
    "services:\n"
    "  - name: mixed\n"
    "    type: inspect\n"
    "    path: /mixed\n"
    "    on: {infected: pass, denied: pass, engine-down: pass, timeout: error, too-large: block,\n"
    "         not-inspected: block, worker-crash: pass, overload: error, disk-full: error}\n"
    "  - name: strict\n"
    "    type: inspect\n"
    "    path: /strict\n"
    "    on: {denied: pass}\n"
    "    rules: [{name: no-x, file: ['*.x'], larger: 1, then: block, why: No x}]\n"
    "  - name: lenient\n"
    "    type: inspect\n"
    "    path: /lenient\n"
    "    on: {engine-down: pass}\n";
/* Denied for it before anything is looked at. */
static const char two_hosts[] =
    "GET http://files.example/a HTTP/1.1\r\nHost: files.example\r\nHost: h.example\r\n";

/* "*.x" against "a" is 4 steps: once with the heads, once after the body. */
#define FOUR_STEPS 4u

static int setup(void **state)
{
    *state = world_new(config, NULL);
    ((struct world *)*state)->zygote.mode = FAKE_ANSWER;
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

/* ---- what is asked, and what is expected ---- */

enum outcome { PASSES, BLOCKED, FAILS };

struct row {
    const char *name;
    enum verdict verdict;
    enum cause cause;
    unsigned also;
    enum outcome outcome;
    const char *causes; /* as in the record, the one that decided first */
};

static struct reply ask_file(struct world *w, struct peer *p, const char *path, const char *file,
                             const struct scan_result *r)
{
    char request[128];

    (void)snprintf(request, sizeof request, "GET http://files.example/%s HTTP/1.1\r\n", file);
    w->zygote.answer = *r;
    peer_ask(w, p, &(struct ask){.path = path, .body = "abc", .request = request});
    return peer_reply(w, p);
}

static void assert_outcome(struct reply *r, enum outcome o)
{
    switch (o) {
    case PASSES:
        assert_status(r, 200);
        assert_string_equal(buf_cstr(&r->body), "abc");
        break;
    case BLOCKED:
        assert_status(r, 200);
        assert_reply_has(r, "HTTP/1.1 403 Forbidden\r\n");
        break;
    case FAILS: assert_status(r, 503); break;
    }
}

static void assert_causes(const json_t *record, const char *want)
{
    const json_t *list = json_object_get(record, "causes"), *c;
    struct buf got;
    size_t i;

    buf_init(&got, 0);
    json_array_foreach(list, i, c)
    {
        buf_fmt(&got, "%s%s", i ? " " : "", json_string_value(c));
    }
    if (!list)
        buf_text(&got, record_text(record, "cause"));
    assert_string_equal(buf_cstr(&got), want);
    /* the one that decided, whether or not there is a list */
    assert_true(span_starts(buf_span(&got), span_of(record_text(record, "cause"))));
    buf_done(&got);
}

static void assert_row(struct world *w, struct peer *p, const char *path, const char *file,
                       const struct row *row)
{
    const struct scan_result result = {
        .verdict = row->verdict, .cause = row->cause, .also = row->also, .why = "one; two"};
    struct reply r = ask_file(w, p, path, file, &result);

    print_message("%s\n", row->name);
    assert_outcome(&r, row->outcome);
    json_t *j = world_record(w);

    assert_causes(j, row->causes);
    json_decref(j);
    reply_done(&r);
}

/* ---- tests ---- */

static const struct row rows[] = {
    {"one that passes",                 VERDICT_ERROR,         CAUSE_ENGINE_DOWN,   0,                                 PASSES,  "engine-down"            },
    {"one that blocks",                 VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, 0,                                 BLOCKED, "not-inspected"          },
    {"the lesser one blocks",           VERDICT_ERROR,         CAUSE_ENGINE_DOWN,   BIT(NOT_INSPECTED),                BLOCKED,
     "not-inspected engine-down"                                                                                                                         },
    {"the lesser one is an error",      VERDICT_BLOCK,         CAUSE_INFECTED,      BIT(TIMEOUT),                      FAILS,
     "timeout infected"                                                                                                                                  },
    {"an error is less than a block",   VERDICT_ERROR,         CAUSE_TIMEOUT,       BIT(TOO_LARGE),                    BLOCKED,
     "too-large timeout"                                                                                                                                 },
    {"both pass",                       VERDICT_ERROR,         CAUSE_WORKER_CRASH,  BIT(ENGINE_DOWN),                  PASSES,
     "worker-crash engine-down"                                                                                                                          },
    {"both block: the graver is named", VERDICT_NOT_INSPECTED, CAUSE_TOO_LARGE,     BIT(NOT_INSPECTED),
     BLOCKED,                                                                                                                   "too-large not-inspected"},
    {"three",                           VERDICT_BLOCK,         CAUSE_INFECTED,      BIT(TIMEOUT) | BIT(NOT_INSPECTED), BLOCKED,
     "not-inspected infected timeout"                                                                                                                    },
};

static void test_the_strictest_action_wins(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(w, p, "/mixed", "a", &rows[i]);
}

/* What a rule blocks is denied, whatever else was found; what was found is not less for that. */
static void test_a_rule_that_blocks_adds_its_cause(void **state)
{
    static const struct row with_rule[] = {
        {"nothing else",   VERDICT_PASS,  CAUSE_NONE,        0, PASSES,  "denied"            },
        {"it is infected", VERDICT_BLOCK, CAUSE_INFECTED,    0, BLOCKED, "infected denied"   },
        {"nobody looked",  VERDICT_ERROR, CAUSE_ENGINE_DOWN, 0, BLOCKED, "engine-down denied"},
    };
    struct world *w = *state;
    struct peer *p = peer_new(w);

    for (size_t i = 0; i < ARRAY_LEN(with_rule); i++)
        assert_row(w, p, "/strict", "a.x", &with_rule[i]);
}

static void with_exception(struct world *w)
{
    struct exception e = {.kind = EXCEPTION_ALLOW,
                          .id = "abcdefgh",
                          .by = "root",
                          .reason = "a test",
                          .host = "files.example"};
    struct exceptions *set;
    uint64_t now = clock_wall_ms(loop_clock(w->loop));

    e.created_wall_ms = now;
    e.expires_wall_ms = now + 30000;
    assert_int_equal(exceptions_with(w->exceptions, &e, now, &set), OK);
    exceptions_unref(w->exceptions);
    w->exceptions = set;
    icap_snapshot_unref(w->snapshot);
    w->snapshot = world_snapshot(w, config, "");
    icap_server_set_snapshot(w->server, w->snapshot);
}

/* It is about the file, not about a bad moment: what it does not cover has to pass by itself. */
static void test_an_exception_takes_away_what_it_is_about(void **state)
{
    static const struct row excepted[] = {
        {"not-inspected",            VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, 0,                  PASSES,  "not-inspected"},
        {"what is left passes",      VERDICT_ERROR,         CAUSE_ENGINE_DOWN,   BIT(NOT_INSPECTED), PASSES,
         "not-inspected engine-down"                                                                                         },
        {"what is left does not",    VERDICT_ERROR,         CAUSE_TIMEOUT,       BIT(NOT_INSPECTED), BLOCKED,
         "not-inspected timeout"                                                                                             },
        {"nothing that it is about", VERDICT_ERROR,         CAUSE_TIMEOUT,       0,                  FAILS,   "timeout"      },
    };
    struct world *w = *state;
    struct peer *p;

    with_exception(w);
    p = peer_new(w);
    for (size_t i = 0; i < ARRAY_LEN(excepted); i++)
        assert_row(w, p, "/mixed", "a", &excepted[i]);
}

static void without_exceptions(struct world *w)
{
    exceptions_unref(w->exceptions);
    assert_int_equal(exceptions_new(&w->exceptions), OK);
    icap_snapshot_unref(w->snapshot);
    w->snapshot = world_snapshot(w, config, "");
    icap_server_set_snapshot(w->server, w->snapshot);
}

enum meanwhile { IT_STAYS, IT_IS_REMOVED, IT_EXPIRES, IT_IS_ADDED };

/* Something happens to the exception when half of the file is there. */
static void assert_meanwhile(struct world *w, enum meanwhile what, const char *request,
                             const struct row *row)
{
    struct peer *p = peer_new(w);

    print_message("%s\n", row->name);
    w->zygote.answer = (struct scan_result){
        .verdict = row->verdict, .cause = row->cause, .also = row->also, .why = "one; two"};
    peer_ask(w, p,
             &(struct ask){.path = "/lenient", .body = "", .head_only = true, .request = request});
    peer_say(w, p, "1\r\na\r\n");
    world_step(w, true);
    switch (what) {
    case IT_STAYS: break;
    case IT_IS_REMOVED: without_exceptions(w); break;
    case IT_EXPIRES: w->clock.now_ms += 30000; break;
    case IT_IS_ADDED: with_exception(w); break;
    }
    peer_say(w, p, "2\r\nbc\r\n0\r\n\r\n");
    struct reply r = peer_reply(w, p);

    assert_outcome(&r, row->outcome);
    json_t *j = world_record(w);

    assert_causes(j, row->causes);
    assert_int_equal(json_object_get(j, "exception") != NULL, what == IT_STAYS);
    json_decref(j);
    reply_done(&r);
    peer_close(p);
    expect_no_connection(w);
}

/* One that is gone when the verdict is taken lets nothing pass, neither what was found nor what the
 * heads were denied for; and one that came later is not what the ISTag of the answer tells of. */
static void test_an_exception_that_goes_meanwhile(void **state)
{
    static const struct row found[] = {
        [IT_STAYS] = {"found, and it stays",      VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, 0, PASSES,
                      "not-inspected"                                                                                    },
        [IT_IS_REMOVED] = {"found, and it is removed", VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED,
                      0,                                                                         BLOCKED, "not-inspected"},
        [IT_EXPIRES] = {"found, and it expires",    VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, 0,
                      BLOCKED,                                                                            "not-inspected"},
        [IT_IS_ADDED] = {"found, and it is added",   VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, 0,
                      BLOCKED,                                                                            "not-inspected"},
    };
    static const struct row heads[] = {
        [IT_STAYS] = {"heads, and it stays",      VERDICT_PASS, CAUSE_NONE, 0, PASSES,  ""      },
        [IT_IS_REMOVED] = {"heads, and it is removed", VERDICT_PASS, CAUSE_NONE, 0, BLOCKED,
                      "denied"                                                                  },
        [IT_EXPIRES] = {"heads, and it expires",    VERDICT_PASS, CAUSE_NONE, 0, BLOCKED, "denied"},
    };
    static const struct row both = {"heads, removed, and what is found may pass",
                                    VERDICT_ERROR,
                                    CAUSE_ENGINE_DOWN,
                                    0,
                                    BLOCKED,
                                    "denied engine-down"};
    struct world *w = *state;

    for (unsigned i = 0; i < ARRAY_LEN(found); i++) {
        without_exceptions(w);
        if (i != IT_IS_ADDED)
            with_exception(w);
        assert_meanwhile(w, (enum meanwhile)i, NULL, &found[i]);
    }
    for (unsigned i = 0; i < ARRAY_LEN(heads); i++) {
        without_exceptions(w);
        with_exception(w);
        assert_meanwhile(w, (enum meanwhile)i, two_hosts, &heads[i]);
    }
    without_exceptions(w);
    with_exception(w);
    assert_meanwhile(w, IT_IS_REMOVED, two_hosts, &both);
}

static void with_steps(struct world *w, uint64_t steps)
{
    w->decision_steps = steps;
    icap_snapshot_unref(w->snapshot);
    w->snapshot = world_snapshot(w, config, "");
    icap_server_set_snapshot(w->server, w->snapshot);
}

static uint64_t out_of_steps(const struct world *w)
{
    return metrics_value(w->metrics, w->snapshot->services[1].metrics.out_of_steps);
}

/* What the rules would have said nobody knows: that is not-inspected, beside what was found. */
static void test_rules_that_are_too_much_work(void **state)
{
    static const struct row exhausted[] = {
        {"nothing else",      VERDICT_PASS,  CAUSE_NONE,        0, BLOCKED, "not-inspected"         },
        {"it is infected",    VERDICT_BLOCK, CAUSE_INFECTED,    0, BLOCKED, "infected not-inspected"},
        {"an engine is down", VERDICT_ERROR, CAUSE_ENGINE_DOWN, 0, BLOCKED,
         "engine-down not-inspected"                                                                },
    };
    struct world *w = *state;
    struct peer *p;

    with_steps(w, 2 * FOUR_STEPS);
    p = peer_new(w);
    assert_row(w, p, "/strict", "a",
               &(struct row){"enough", VERDICT_PASS, CAUSE_NONE, 0, PASSES, ""});
    peer_close(p);
    expect_no_connection(w);
    assert_int_equal(out_of_steps(w), 0);
    with_steps(w, 2 * FOUR_STEPS - 1);
    p = peer_new(w);
    for (size_t i = 0; i < ARRAY_LEN(exhausted); i++)
        assert_row(w, p, "/strict", "a", &exhausted[i]);
    assert_int_equal(out_of_steps(w), 3);
    peer_close(p);
    expect_no_connection(w);
    with_steps(w, FOUR_STEPS - 1); /* with the heads already */
    p = peer_new(w);
    assert_row(w, p, "/strict", "a", &exhausted[0]);
    assert_int_equal(out_of_steps(w), 4);
}

static void test_the_record_of_too_much_work(void **state)
{
    static const struct scan_result clean = {.verdict = VERDICT_PASS};
    struct world *w = *state;
    struct peer *p;
    struct reply r;

    with_steps(w, 0);
    p = peer_new(w);
    r = ask_file(w, p, "/strict", "a", &clean);
    reply_done(&r);
    json_t *j = world_record(w);

    assert_string_equal(record_text(j, "verdict"), "not-inspected");
    assert_string_equal(record_text(j, "cause"), "not-inspected");
    assert_string_equal(record_text(j, "error"), "limit");
    assert_non_null(strstr(record_text(j, "error_text"), "decision-steps"));
    json_decref(j);
}

/* The ISTag is another one: a proxy forgets what it was told. */
static void test_the_istag_knows_the_steps(void **state)
{
    struct world *w = *state;
    char before[ICAP_ISTAG_LEN + 1];

    memcpy(before, w->snapshot->services[0].istag, sizeof before);
    with_steps(w, 4711);
    assert_string_not_equal(w->snapshot->services[0].istag, before);
}

static void test_the_record_says_why(void **state)
{
    static const struct scan_result result = {.verdict = VERDICT_BLOCK,
                                              .cause = CAUSE_INFECTED,
                                              .also = BIT(NOT_INSPECTED),
                                              .why = "Eicar; it is encrypted"};
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct reply r = ask_file(w, p, "/mixed", "a", &result);

    reply_done(&r);
    json_t *j = world_record(w);

    assert_string_equal(record_text(j, "verdict"), "block");
    assert_string_equal(record_text(j, "action"), "block");
    assert_string_equal(record_text(j, "error_text"), "Eicar; it is encrypted");
    json_decref(j);
}

/* Each is counted. */
static void test_metrics(void **state)
{
    struct world *w = *state;
    struct peer *p = peer_new(w);
    struct buf text;

    assert_row(w, p, "/mixed", "a", &rows[2]);
    buf_init(&text, 0);
    metrics_print(w->metrics, &text);
    assert_non_null(strstr(
        buf_cstr(&text), "sallyport_icap_causes_total{service=\"mixed\",cause=\"engine-down\"} 1"));
    assert_non_null(
        strstr(buf_cstr(&text),
               "sallyport_icap_causes_total{service=\"mixed\",cause=\"not-inspected\"} 1"));
    buf_done(&text);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_strictest_action_wins),
        TEST(test_a_rule_that_blocks_adds_its_cause),
        TEST(test_an_exception_takes_away_what_it_is_about),
        TEST(test_an_exception_that_goes_meanwhile),
        TEST(test_rules_that_are_too_much_work),
        TEST(test_the_record_of_too_much_work),
        TEST(test_the_istag_knows_the_steps),
        TEST(test_the_record_says_why),
        TEST(test_metrics),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("icap_causes", tests, NULL, NULL);
}
