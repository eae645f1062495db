/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log.h"
#include "base/span.h"

static int pipe_fd[2];
static char text[1 << 16];

static int setup(void **state)
{
    (void)state;
    (void)unsetenv("JOURNAL_STREAM");
    return pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK);
}

static int teardown(void **state)
{
    (void)state;
    log_setup(STDERR_FILENO, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "test");
    (void)close(pipe_fd[0]);
    (void)close(pipe_fd[1]);
    return 0;
}

/* What was logged since the last call; "" for nothing. */
static const char *logged(void)
{
    ssize_t n = read(pipe_fd[0], text, sizeof text - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static const char *behind(const char *line, const char *mark)
{
    const char *at = strstr(line, mark);

    assert_non_null(at);
    return at;
}

static void test_text_lines(void **state)
{
    char want[64];
    const char *line;

    (void)state;
    log_setup(pipe_fd[1], LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "gateway");
    log_warn("net", "peer %s port=%d", "192.0.2.1", 25);
    line = logged();
    (void)snprintf(want, sizeof want, " warn gateway[%d] net: peer 192.0.2.1 port=25\n",
                   (int)getpid());
    assert_int_equal(span_find(span_of(line), ' '), 24); /* RFC 3339, milliseconds, Z */
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + 24, want);
}

static const struct escape_row {
    const char *in, *out;
} escape_rows[] = {
    {"a\nb\r\x1b[31m\x7f\t",            "a\\x0ab\\x0d\\x1b[31m\\x7f\\x09"},
    {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac"},
    {"\xc2\x9b"
     "2J \xc2\xa0",                "\\xc2\\x9b2J \xc2\xa0"          }, /* C1: U+009B is CSI */
    {"\xff \x9b \xe2\x82",              "\\xff \\x9b \\xe2\\x82"         }, /* not UTF-8 */
};

static void test_escapes(void **state)
{
    (void)state;
    log_setup(pipe_fd[1], LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "x");
    for (size_t i = 0; i < ARRAY_LEN(escape_rows); i++) {
        log_info("a", "%s", escape_rows[i].in);
        const char *line = behind(logged(), " a: ") + 4;

        assert_int_equal(strlen(line), strlen(escape_rows[i].out) + 1);
        assert_memory_equal(line, escape_rows[i].out, strlen(escape_rows[i].out));
    }
}

static void test_json_lines(void **state)
{
    json_t *j;

    (void)state;
    log_setup(pipe_fd[1], LOG_LEVEL_INFO, LOG_FORMAT_JSON, "guard");
    log_error("tls", "a \"quoted\" line\n\xff");
    j = json_loads(logged(), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "level")), "error");
    assert_string_equal(json_string_value(json_object_get(j, "role")), "guard");
    assert_string_equal(json_string_value(json_object_get(j, "area")), "tls");
    assert_string_equal(json_string_value(json_object_get(j, "message")),
                        "a \"quoted\" line\n\xef\xbf\xbd");
    assert_int_equal(json_integer_value(json_object_get(j, "pid")), getpid());
    assert_int_equal(json_string_length(json_object_get(j, "time")), 24);
    json_decref(j);
}

static void test_journal(void **state)
{
    (void)state;
    assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
    log_setup(pipe_fd[1], LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT, "x");
    (void)unsetenv("JOURNAL_STREAM");
    log_error("a", "1");
    log_warn("a", "2");
    log_info("a", "3");
    log_debug("a", "4");
    const char *lines = logged();

    assert_memory_equal(lines, "<3>error x[", 11);
    assert_memory_equal(behind(lines, "1\n") + 2, "<4>warn x[", 10);
    assert_memory_equal(behind(lines, " 2\n") + 3, "<6>info x[", 10);
    assert_memory_equal(behind(lines, " 3\n") + 3, "<7>debug x[", 11);
}

static void test_levels(void **state)
{
    (void)state;
    log_setup(pipe_fd[1], LOG_LEVEL_WARN, LOG_FORMAT_TEXT, "x");
    log_info("a", "no");
    assert_string_equal(logged(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
    log_debug("a", "yes");
    assert_non_null(strstr(logged(), "a: yes\n"));
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("a", "no");
    assert_string_equal(logged(), "");
}

static void test_long_lines_are_cut_but_whole(void **state)
{
    static char lots[8000];
    const char *line;

    (void)state;
    memset(lots, 'y', sizeof lots - 1);
    log_setup(pipe_fd[1], LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "x");
    log_info("a", "%s", lots);
    line = logged();
    assert_in_range(strlen(line), 4000, 4300);
    assert_int_equal(line[strlen(line) - 1], '\n');
}

static void test_errno_is_kept(void **state)
{
    (void)state;
    log_setup(-1, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "x"); /* the write fails with EBADF */
    errno = ENOTTY;
    log_info("a", "b");
    assert_int_equal(errno, ENOTTY);
}

static void test_limit(void **state)
{
    struct log_limit l = {0};
    uint64_t held = 99;

    (void)state;
    assert_true(log_limit_pass(&l, 1000, 500, &held));
    assert_int_equal(held, 0);
    for (uint64_t t = 1000; t < 1500; t += 100)
        assert_false(log_limit_pass(&l, t, 500, &held));
    assert_true(log_limit_pass(&l, 1500, 500, &held));
    assert_int_equal(held, 5);
    assert_true(log_limit_pass(&l, 9999, 500, &held));
    assert_int_equal(held, 0);
}

#define THREADS 4
#define LINES   100

static void *log_many(void *arg)
{
    struct log_limit *l = arg;
    uint64_t held;

    for (unsigned i = 0; i < LINES; i++) {
        log_info("t", "0123456789");
        log_set_level(LOG_LEVEL_INFO);
        (void)log_limit_pass(l, i, 10, &held);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct log_limit l = {0};
    pthread_t thread[THREADS];
    unsigned n = 0;

    (void)state;
    log_setup(pipe_fd[1], LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "x");
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, log_many, &l), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (struct span rest = span_of(logged()); rest.n; n++)
        assert_true(span_ends(span_cut(&rest, '\n'), SPAN(" t: 0123456789")));
    assert_int_equal(n, THREADS * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_lines_are_cut_but_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errno_is_kept, setup, teardown),
        cmocka_unit_test(test_limit),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
