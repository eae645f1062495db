/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c: the page is Prometheus text, and rows of several threads add up. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "observe/metrics.h"

static struct metrics *new_metrics(unsigned loops, unsigned slots_max)
{
    struct metrics *m = NULL;

    assert_int_equal(metrics_new(loops, slots_max, &m), OK);
    return m;
}

static void assert_page(const struct metrics *m, const char *want)
{
    struct buf page;

    buf_init(&page, 0);
    metrics_print(m, &page);
    assert_string_equal(buf_cstr(&page), want);
    buf_done(&page);
}

static void test_counters(void **state)
{
    struct metrics *m = new_metrics(2, 10);
    metric_id pass = metrics_counter(m, "scans_total", "verdict=\"pass\"", "Bodies scanned.");
    metric_id bytes = metrics_counter(m, "bytes_total", "", "One\ntwo \\ \"three\".");
    metric_id block = metrics_counter(m, "scans_total", "verdict=\"block\"", "ignored");

    (void)state;
    assert_true(pass && bytes && block);
    assert_int_equal(metrics_counter(m, "scans_total", "verdict=\"pass\"", "again"), pass);
    metrics_add(m, 0, pass, 1);
    metrics_add(m, 1, pass, 41);
    metrics_add(m, 1, bytes, UINT64_C(1) << 40);
    metrics_observe(m, 0, pass, 5); /* not a histogram: nothing */
    assert_int_equal(metrics_value(m, pass), 42);
    /* One family is in one place, whenever its members came. */
    assert_page(m, "# HELP scans_total Bodies scanned.\n"
                   "# TYPE scans_total counter\n"
                   "scans_total{verdict=\"pass\"} 42\n"
                   "scans_total{verdict=\"block\"} 0\n"
                   "# HELP bytes_total One\\ntwo \\\\ \"three\".\n"
                   "# TYPE bytes_total counter\n"
                   "bytes_total 1099511627776\n");
    metrics_free(m);
}

static void test_histograms(void **state)
{
    static const uint64_t bounds[] = {500, 5000, 1000000, 2500000};
    static const uint64_t other[] = {500, 5000, 1000000, 2500001};
    struct metrics *m = new_metrics(2, 20);
    metric_id plain = metrics_histogram(m, "scan_seconds", "", "Time.", bounds, 4);
    metric_id label = metrics_histogram(m, "scan_seconds", "e=\"y\"", "Time.", bounds, 4);

    (void)state;
    assert_int_equal(metrics_histogram(m, "scan_seconds", "e=\"z\"", "", other, 4), 0);
    assert_int_equal(metrics_counter(m, "scan_seconds", "", ""), 0); /* another kind */
    assert_false(metrics_is_full(m));
    metrics_observe(m, 0, plain, 0);
    metrics_observe(m, 1, plain, 500); /* le: its own bound is in it */
    metrics_observe(m, 0, plain, 501);
    metrics_observe(m, 1, plain, 2500001);
    metrics_add(m, 0, plain, 5); /* not a counter: nothing */
    assert_int_equal(metrics_value(m, plain), 4);
    metrics_observe(m, 0, label, 7000000);
    assert_page(m, "# HELP scan_seconds Time.\n"
                   "# TYPE scan_seconds histogram\n"
                   "scan_seconds_bucket{le=\"0.0005\"} 2\n"
                   "scan_seconds_bucket{le=\"0.005\"} 3\n"
                   "scan_seconds_bucket{le=\"1\"} 3\n"
                   "scan_seconds_bucket{le=\"2.5\"} 3\n"
                   "scan_seconds_bucket{le=\"+Inf\"} 4\n"
                   "scan_seconds_sum 2.501002\n"
                   "scan_seconds_count 4\n"
                   "scan_seconds_bucket{e=\"y\",le=\"0.0005\"} 0\n"
                   "scan_seconds_bucket{e=\"y\",le=\"0.005\"} 0\n"
                   "scan_seconds_bucket{e=\"y\",le=\"1\"} 0\n"
                   "scan_seconds_bucket{e=\"y\",le=\"2.5\"} 0\n"
                   "scan_seconds_bucket{e=\"y\",le=\"+Inf\"} 1\n"
                   "scan_seconds_sum{e=\"y\"} 7\n"
                   "scan_seconds_count{e=\"y\"} 1\n");
    metrics_free(m);
}

static double read_double(void *arg)
{
    return *(double *)arg;
}

static const struct gauge_row {
    double v;
    const char *text;
} gauge_rows[] = {
    {0,                 "g 0\n"              },
    {0.5,               "g 0.5\n"            },
    {-3,                "g -3\n"             },
    {1048576.0,         "g 1048576\n"        },
    {1e14 + 1,          "g 100000000000001\n"},
    {(double)NAN,       "g NaN\n"            },
    {(double)INFINITY,  "g +Inf\n"           },
    {-(double)INFINITY, "g -Inf\n"           },
};

static void test_gauges(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(gauge_rows); i++) {
        struct metrics *m = new_metrics(1, 1);
        double v = gauge_rows[i].v, first = 77;
        struct buf want;

        /* A reload registers again: the later reader counts. */
        assert_true(metrics_gauge(m, "g", "", "h", read_double, &first));
        assert_true(metrics_gauge(m, "g", "", "h", read_double, &v));
        buf_init(&want, 0);
        buf_fmt(&want, "# HELP g h\n# TYPE g gauge\n%s", gauge_rows[i].text);
        assert_page(m, buf_cstr(&want));
        buf_done(&want);
        metrics_free(m);
    }
}

static void test_totals(void **state)
{
    struct metrics *m = new_metrics(1, 1);
    double v = 4294967296.0;

    (void)state;
    assert_true(metrics_total(m, "t_total", "", "h", read_double, &v));
    assert_page(m, "# HELP t_total h\n# TYPE t_total counter\nt_total 4294967296\n");
    metrics_free(m);
}

static const struct label_row {
    const char *value, *text;
} label_rows[] = {
    {"plain",      "a=\"1\",name=\"plain\""          },
    {"",           "a=\"1\",name=\"\""               },
    {"q\"b\\n\nx", "a=\"1\",name=\"q\\\"b\\\\n\\nx\""},
};

static void test_labels(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(label_rows); i++) {
        struct buf b;

        buf_init(&b, 0);
        metrics_label(&b, "a", SPAN("1"));
        metrics_label(&b, "name", span_of(label_rows[i].value));
        assert_string_equal(buf_cstr(&b), label_rows[i].text);
        buf_done(&b);
    }
}

/* Each of several things has its own. */
static void test_owners(void **state)
{
    static const uint64_t bounds[] = {1};
    struct metrics *m = new_metrics(1, 20);
    const struct metrics_owner a = {m, "service", "a\"b"}, b = {m, "service", "b"};
    metric_id id = metrics_counter_of(&a, "c", NULL, NULL, "");

    (void)state;
    assert_int_equal(metrics_counter(m, "c", "service=\"a\\\"b\"", ""), id);
    assert_int_not_equal(metrics_counter_of(&b, "c", NULL, NULL, ""), id);
    id = metrics_counter_of(&b, "d", "action", "pass", "");
    assert_int_equal(metrics_counter(m, "d", "service=\"b\",action=\"pass\"", ""), id);
    id = metrics_histogram_of(&b, "h", "", bounds, 1);
    assert_int_equal(metrics_histogram(m, "h", "service=\"b\"", "", bounds, 1), id);
    assert_false(metrics_is_full(m));
    metrics_free(m);
}

static void test_full_table(void **state)
{
    static const uint64_t bounds[] = {1, 2};
    struct metrics *m = new_metrics(1, 5);

    (void)state;
    assert_true(metrics_histogram(m, "h", "", "", bounds, 2)); /* 4 of 5 */
    assert_int_equal(metrics_histogram(m, "h", "x=\"1\"", "", bounds, 2), 0);
    assert_true(metrics_is_full(m));
    assert_true(metrics_counter(m, "c", "", ""));
    assert_int_equal(metrics_counter(m, "d", "", ""), 0);
    assert_int_equal(metrics_histogram(m, "i", "", "", bounds, UINT32_MAX), 0);
    metrics_add(m, 0, 0, 1); /* goes nowhere */
    metrics_observe(m, 0, 0, 1);
    metrics_free(m);
    metrics_free(NULL);
}

static void test_failing_allocations(void **state)
{
    struct metrics *m = NULL;

    (void)state;
    for (unsigned n = 1; n <= 4; n++) {
        mem_fail_after(n);
        assert_int_equal(metrics_new(2, 100, &m), ERR_NOMEM);
        assert_null(m);
    }
    mem_fail_after(0);
    m = new_metrics(2, 100);
    mem_fail_after(1); /* the arena of the texts */
    assert_int_equal(metrics_counter(m, "c", "", ""), 0);
    mem_fail_after(0);
    assert_true(metrics_is_full(m));
    assert_true(metrics_counter(m, "c", "", ""));
    metrics_free(m);
}

#define LOOPS  3
#define ROUNDS 100000

struct bumper {
    struct metrics *m;
    unsigned loop;
    metric_id counter, histogram;
    pthread_t thread;
};

static void *bump(void *arg)
{
    struct bumper *b = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        metrics_add(b->m, b->loop, b->counter, 2);
        metrics_observe(b->m, b->loop, b->histogram, i % 100);
    }
    return NULL;
}

static void test_threads(void **state)
{
    static const uint64_t bounds[] = {10, 50};
    struct metrics *m = new_metrics(LOOPS, 100);
    metric_id counter = metrics_counter(m, "c", "", "");
    metric_id histogram = metrics_histogram(m, "h", "", "", bounds, 2);
    struct bumper b[LOOPS];
    struct buf page;

    (void)state;
    buf_init(&page, 0);
    for (unsigned i = 0; i < LOOPS; i++) {
        b[i] = (struct bumper){m, i, counter, histogram, 0};
        assert_int_equal(pthread_create(&b[i].thread, NULL, bump, &b[i]), 0);
    }
    for (unsigned i = 0; i < 50; i++) { /* scrapes and registers meanwhile */
        char name[3] = {'x', (char)('a' + i % 26), '\0'};

        metrics_print(m, &page);
        (void)metrics_counter(m, name, "", "");
        assert_true(metrics_value(m, counter) <= 2 * LOOPS * ROUNDS);
    }
    for (unsigned i = 0; i < LOOPS; i++)
        assert_int_equal(pthread_join(b[i].thread, NULL), 0);
    assert_int_equal(metrics_value(m, counter), 2 * LOOPS * ROUNDS);
    assert_int_equal(metrics_value(m, histogram), LOOPS * ROUNDS);
    buf_done(&page);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters),   cmocka_unit_test(test_histograms),
        cmocka_unit_test(test_totals),     cmocka_unit_test(test_gauges),
        cmocka_unit_test(test_labels),     cmocka_unit_test(test_owners),
        cmocka_unit_test(test_full_table), cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
