/* SPDX-License-Identifier: Apache-2.0 */
/* test_rules_engine.c - how verdicts of engines become one, and what a worker says of a file, with
 * an engine that is made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/inspect.h"

/* --- judging --- */

/* clang-format off */
static const struct {
    enum verdict first;
    enum verdict second;
    bool second_wins;
} pairs[] = {
    {VERDICT_PASS,          VERDICT_CHANGED,       true },
    {VERDICT_CHANGED,       VERDICT_NOT_INSPECTED, true },
    {VERDICT_NOT_INSPECTED, VERDICT_ERROR,         true },
    {VERDICT_ERROR,         VERDICT_BLOCK,         true },
    {VERDICT_PASS,          VERDICT_BLOCK,         true },
    {VERDICT_BLOCK,         VERDICT_ERROR,         false},
    {VERDICT_BLOCK,         VERDICT_BLOCK,         false},
    {VERDICT_ERROR,         VERDICT_NOT_INSPECTED, false},
    {VERDICT_NOT_INSPECTED, VERDICT_PASS,          false},
};
/* clang-format on */

static void test_gravest_wins(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct scan_result r = {.verdict = VERDICT_PASS};

        engine_judge(&r, pairs[i].first, CAUSE_DENIED, ERR_IO, "first");
        engine_judge(&r, pairs[i].second, CAUSE_TIMEOUT, ERR_TIMEOUT, "second %d", 2);
        assert_int_equal(r.verdict, pairs[i].second_wins ? pairs[i].second : pairs[i].first);
        assert_memory_equal(r.why, pairs[i].second_wins ? "second 2" : "first", 5);
        assert_int_equal(r.cause, pairs[i].second_wins ? CAUSE_TIMEOUT : CAUSE_DENIED);
        /* the other one's cause stays known, unless it let pass */
        bool both = pairs[i].first != VERDICT_PASS && pairs[i].second != VERDICT_PASS;

        assert_int_equal(r.also, !both                  ? 0
                                 : pairs[i].second_wins ? 1u << CAUSE_DENIED
                                                        : 1u << CAUSE_TIMEOUT);
    }
}

static void test_why_is_cut(void **state)
{
    struct scan_result r = {.verdict = VERDICT_PASS};
    char text[400];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    engine_judge(&r, VERDICT_BLOCK, CAUSE_INFECTED, OK, "%s", text);
    assert_int_equal(strlen(r.why), sizeof r.why - 1);
}

static void test_findings_that_block_stay(void **state)
{
    struct scan_result r = {.n_findings = 0};
    struct finding note = {.engine = "e", .name = "note", .note = true};
    struct finding block = {.engine = "e", .name = "block"};

    (void)state;
    for (unsigned i = 0; i < FINDINGS_MAX + 3; i++)
        engine_find(&r, &note);
    assert_int_equal(r.n_findings, FINDINGS_MAX);
    for (unsigned i = 0; i < FINDINGS_MAX + 3; i++)
        engine_find(&r, &block);
    assert_int_equal(r.n_findings, FINDINGS_MAX);
    for (unsigned i = 0; i < FINDINGS_MAX; i++)
        assert_false(r.findings[i].note);
    engine_find(&r, &note);
    assert_false(r.findings[FINDINGS_MAX - 1].note);
}

/* --- inspecting --- */

static struct {
    unsigned calls;
    size_t n;
    uint32_t time_ms;
    char text[16];
} seen;

static void look(void *ctx, const struct engine_file *file, struct scan_result *r)
{
    (void)r;
    assert_ptr_equal(ctx, &seen);
    seen.calls++;
    seen.n = file->n;
    seen.time_ms = file->time_ms;
    (void)span_copy((struct span){(const char *)file->p, file->n}, seen.text, sizeof seen.text);
}

static int file_with(const char *text)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    ssize_t n = (ssize_t)strlen(text);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), n);
    return fd;
}

static struct scan_result inspect(const char *text, uint64_t len, uint32_t wanted)
{
    const struct engines engines = {
        .n = 1, .list = {{.name = "look", .bit = WIRE_ENGINE_YARA, .ctx = &seen, .scan = look}}};
    struct wire_message job = {.kind = WIRE_JOB};
    struct scan_result r;
    int fd = file_with(text), objects = 0;

    memset(&seen, 0, sizeof seen);
    job.job.engines = wanted;
    job.job.time_ms = 1000;
    job.job.len = len;
    worker_inspect(&engines, &job, fd, &r, &objects);
    assert_int_equal(objects, -1);
    assert_int_equal(close(fd), 0);
    return r;
}

static void test_engine_sees_the_file(void **state)
{
    struct scan_result r = inspect("hello", 5, WIRE_ENGINE_YARA);

    (void)state;
    assert_int_equal(r.verdict, VERDICT_PASS);
    assert_int_equal(seen.calls, 1);
    assert_string_equal(seen.text, "hello");
    assert_in_range(seen.time_ms, 1, 1000);
}

static void test_only_the_announced_bytes(void **state)
{
    struct scan_result r = inspect("hello", 4, WIRE_ENGINE_YARA);

    (void)state;
    assert_int_equal(r.verdict, VERDICT_PASS);
    assert_string_equal(seen.text, "hell");
}

static void test_shorter_file(void **state)
{
    struct scan_result r = inspect("hello", 6, WIRE_ENGINE_YARA);

    (void)state;
    assert_int_equal(r.verdict, VERDICT_ERROR);
    assert_int_equal(r.cause, CAUSE_NOT_INSPECTED);
    assert_int_equal(seen.calls, 0);
}

static void test_empty_file(void **state)
{
    struct scan_result r = inspect("", 0, WIRE_ENGINE_YARA);

    (void)state;
    assert_int_equal(r.verdict, VERDICT_PASS);
    assert_int_equal(seen.calls, 0);
}

static void test_missing_engine(void **state)
{
    struct scan_result r = inspect("hello", 5, WIRE_ENGINE_YARA | 0x100);

    (void)state;
    assert_int_equal(r.verdict, VERDICT_ERROR);
    assert_int_equal(r.cause, CAUSE_ENGINE_DOWN);
    assert_int_equal(seen.calls, 1); /* what can be found is found */
    r = inspect("", 0, 0x100);
    assert_int_equal(r.verdict, VERDICT_ERROR);
}

static void test_no_engine(void **state)
{
    struct scan_result r = inspect("hello", 5, 0);

    (void)state;
    assert_int_equal(r.verdict, VERDICT_NOT_INSPECTED);
    assert_int_equal(seen.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gravest_wins),
        cmocka_unit_test(test_why_is_cut),
        cmocka_unit_test(test_findings_that_block_stay),
        cmocka_unit_test(test_engine_sees_the_file),
        cmocka_unit_test(test_only_the_announced_bytes),
        cmocka_unit_test(test_shorter_file),
        cmocka_unit_test(test_empty_file),
        cmocka_unit_test(test_missing_engine),
        cmocka_unit_test(test_no_engine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
