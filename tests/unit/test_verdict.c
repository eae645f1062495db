/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/verdict.h"

/* The names are what configuration, records and metrics hold: they never change. */
static void test_names(void **state)
{
    static const char *const verdicts[VERDICTS] = {"pass", "changed", "block", "not-inspected",
                                                   "error"};
    static const char *const causes[CAUSES] = {
        "none",      "infected",      "denied",       "engine-down", "timeout",
        "too-large", "not-inspected", "worker-crash", "overload",    "disk-full"};
    static const char *const actions[ACTIONS] = {"pass", "block", "error"};

    (void)state;
    for (unsigned i = 0; i < VERDICTS; i++)
        assert_string_equal(verdict_name((enum verdict)i), verdicts[i]);
    for (unsigned i = 0; i < CAUSES; i++)
        assert_string_equal(cause_name((enum cause)i), causes[i]);
    for (unsigned i = 0; i < ACTIONS; i++)
        assert_string_equal(action_name((enum action)i), actions[i]);
}

static void test_no_such_value(void **state)
{
    (void)state;
    assert_string_equal(verdict_name((enum verdict)VERDICTS), "unknown");
    assert_string_equal(cause_name((enum cause)CAUSES), "unknown");
    assert_string_equal(action_name((enum action)ACTIONS), "unknown");
    assert_string_equal(verdict_name((enum verdict)UINT32_MAX), "unknown");
}

#define BIT(c) (1u << CAUSE_##c)

/* ---- several verdicts on one file ---- */

static const struct step {
    enum verdict verdict;
    enum cause cause;
    const char *why;
} steps[][3] = {
    {{VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, "encrypted"},
     {VERDICT_ERROR, CAUSE_ENGINE_DOWN, "clamd is away"}      },
    {{VERDICT_ERROR, CAUSE_ENGINE_DOWN, "clamd is away"},
     {VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, "encrypted"}},
    {{VERDICT_ERROR, CAUSE_TIMEOUT, "late"},
     {VERDICT_ERROR, CAUSE_ENGINE_DOWN, "away"},
     {VERDICT_BLOCK, CAUSE_INFECTED, "Eicar"}},
    {{VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, "part 1"},
     {VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, "part 2"},
     {VERDICT_CHANGED, CAUSE_NONE, ""}},
    {{VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, "a limit"},
     {VERDICT_ERROR, CAUSE_NOT_INSPECTED, "no file"}                      },
    {{VERDICT_CHANGED, CAUSE_NONE, "changed"},           {VERDICT_NOT_INSPECTED, CAUSE_TOO_LARGE, "large"}},
};

static const struct {
    enum verdict verdict;
    enum cause cause;
    unsigned also;
    bool incomplete;
    const char *why;
} joined[ARRAY_LEN(steps)] = {
    {VERDICT_ERROR,         CAUSE_ENGINE_DOWN,   BIT(NOT_INSPECTED),              true, "clamd is away; encrypted"},
    {VERDICT_ERROR,         CAUSE_ENGINE_DOWN,   BIT(NOT_INSPECTED),              true, "clamd is away; encrypted"},
    {VERDICT_BLOCK,         CAUSE_INFECTED,      BIT(TIMEOUT) | BIT(ENGINE_DOWN), true, "Eicar; late; away"       },
    {VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, 0,                               true, "part 1"                  },
    {VERDICT_ERROR,         CAUSE_NOT_INSPECTED, 0,                               true, "no file; a limit"        },
    {VERDICT_NOT_INSPECTED, CAUSE_TOO_LARGE,     0,                               true, "large; changed"          },
};

static void assert_joined(size_t i, const struct scan_result *r)
{
    if (r->verdict != joined[i].verdict || r->cause != joined[i].cause ||
        r->also != joined[i].also || r->incomplete != joined[i].incomplete ||
        strcmp(r->why, joined[i].why) != 0)
        fail_msg("row %zu: %s %s also %x: %s", i, verdict_name(r->verdict), cause_name(r->cause),
                 r->also, r->why);
}

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct scan_result r = {0};

        for (const struct step *s = steps[i]; s < steps[i] + 3 && s->why; s++)
            scan_result_judge(&r, s->verdict, s->cause, OK, "%s", s->why);
        assert_joined(i, &r);
        assert_int_equal(scan_result_causes(&r), r.also | 1u << r.cause);
    }
}

/* The same when engines are heard one by one and their results joined. */
static void test_join(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct scan_result r = {0};

        for (const struct step *s = steps[i]; s < steps[i] + 3 && s->why; s++) {
            struct scan_result one = {0};

            scan_result_judge(&one, s->verdict, s->cause, OK, "%s", s->why);
            scan_result_join(&r, &one);
        }
        assert_joined(i, &r);
    }
}

static void test_join_keeps_findings_and_further_causes(void **state)
{
    struct scan_result r = {0}, other = {0};
    const struct finding f = {.engine = "clamav", .name = "Eicar"};

    (void)state;
    scan_result_judge(&r, VERDICT_ERROR, CAUSE_TIMEOUT, ERR_TIMEOUT, "late");
    scan_result_judge(&other, VERDICT_ERROR, CAUSE_ENGINE_DOWN, ERR_ENGINE, "away");
    scan_result_judge(&other, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK, "encrypted");
    scan_result_find(&other, &f);
    scan_result_join(&r, &other);
    assert_int_equal(r.cause, CAUSE_TIMEOUT);
    assert_int_equal(r.err, ERR_TIMEOUT);
    assert_int_equal(r.also, BIT(ENGINE_DOWN) | BIT(NOT_INSPECTED));
    assert_int_equal(r.n_findings, 1);
    assert_string_equal(r.findings[0].name, "Eicar");
}

static void test_nothing_stands_in_the_way(void **state)
{
    struct scan_result r = {0};

    (void)state;
    scan_result_judge(&r, VERDICT_PASS, CAUSE_NONE, OK, "fine");
    assert_int_equal(r.verdict, VERDICT_PASS);
    assert_int_equal(scan_result_causes(&r), 0);
    assert_false(r.incomplete);
    assert_string_equal(r.why, "");
}

static void test_sentences_are_cut_to_fit(void **state)
{
    struct scan_result r = {0};
    char text[300];

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    scan_result_judge(&r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK, "%s", text);
    assert_int_equal(strlen(r.why), sizeof r.why - 1);
    scan_result_judge(&r, VERDICT_BLOCK, CAUSE_INFECTED, OK, "%s", "Eicar");
    assert_int_equal(strlen(r.why), sizeof r.why - 1);
    assert_memory_equal(r.why, "Eicar; xxx", 10);
}

/* ---- several causes, one action ---- */

static void test_the_strictest_action_wins(void **state)
{
    static const struct {
        unsigned causes;
        enum cause named;
        enum action action;
        enum cause decides;
    } rows[] = {
        {0,                                                    CAUSE_NONE,          ACTION_PASS,  CAUSE_NONE         },
        {BIT(ENGINE_DOWN),                                     CAUSE_ENGINE_DOWN,   ACTION_PASS,  CAUSE_ENGINE_DOWN  },
        {BIT(NOT_INSPECTED),                                   CAUSE_NONE,          ACTION_BLOCK, CAUSE_NOT_INSPECTED},
 /* pass, and block or error: whatever was named */
        {BIT(ENGINE_DOWN) | BIT(NOT_INSPECTED),                CAUSE_ENGINE_DOWN,   ACTION_BLOCK,
         CAUSE_NOT_INSPECTED                                                                                         },
        {BIT(ENGINE_DOWN) | BIT(TIMEOUT),                      CAUSE_ENGINE_DOWN,   ACTION_ERROR, CAUSE_TIMEOUT      },
 /* an error may be a pass to the client, a block is none */
        {BIT(TIMEOUT) | BIT(NOT_INSPECTED),                    CAUSE_TIMEOUT,       ACTION_BLOCK, CAUSE_NOT_INSPECTED},
        {BIT(NOT_INSPECTED) | BIT(TIMEOUT) | BIT(ENGINE_DOWN), CAUSE_NOT_INSPECTED, ACTION_BLOCK,
         CAUSE_NOT_INSPECTED                                                                                         },
 /* as strict: the named one */
        {BIT(INFECTED) | BIT(NOT_INSPECTED),                   CAUSE_INFECTED,      ACTION_BLOCK, CAUSE_INFECTED     },
        {BIT(INFECTED) | BIT(NOT_INSPECTED),                   CAUSE_NOT_INSPECTED, ACTION_BLOCK,
         CAUSE_NOT_INSPECTED                                                                                         },
        {BIT(ENGINE_DOWN) | BIT(WORKER_CRASH),                 CAUSE_WORKER_CRASH,  ACTION_PASS,  CAUSE_WORKER_CRASH },
    };
    static const uint8_t on[CAUSES] = {
        [CAUSE_INFECTED] = ACTION_BLOCK,    [CAUSE_DENIED] = ACTION_BLOCK,
        [CAUSE_ENGINE_DOWN] = ACTION_PASS,  [CAUSE_TIMEOUT] = ACTION_ERROR,
        [CAUSE_TOO_LARGE] = ACTION_BLOCK,   [CAUSE_NOT_INSPECTED] = ACTION_BLOCK,
        [CAUSE_WORKER_CRASH] = ACTION_PASS, [CAUSE_OVERLOAD] = ACTION_ERROR,
        [CAUSE_DISK_FULL] = ACTION_ERROR,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum cause cause = rows[i].named;
        enum action action = causes_action(rows[i].causes, on, &cause);

        if (action != rows[i].action || cause != rows[i].decides)
            fail_msg("row %zu: %s for %s", i, action_name(action), cause_name(cause));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_no_such_value),
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_join_keeps_findings_and_further_causes),
        cmocka_unit_test(test_nothing_stands_in_the_way),
        cmocka_unit_test(test_sentences_are_cut_to_fit),
        cmocka_unit_test(test_the_strictest_action_wins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
