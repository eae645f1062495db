/* SPDX-License-Identifier: Apache-2.0 */
/* record.c, record_log.c: what a line looks like, and that the writer loses none unseen. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/arena.h"
#include "observe/record.h"

#define POLLS_MAX 6000 /* of 5 ms */

/* ---- the line ---- */

static void test_minimal_line(void **state)
{
    struct record r = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    record_format(&r, &out);
    assert_string_equal(buf_cstr(&out), "{\"time\":\"1970-01-01T00:00:00.000Z\",\"bytes_in\":0,"
                                        "\"bytes_out\":0,\"body_len\":0}\n");
    buf_done(&out);
}

static const struct record_finding two_findings[] = {
    {"clamav", {"Eicar", 5}, {"a.zip/b", 7}, false},
    {"yara",   {"rule1", 5}, {NULL, 0},      true },
};

static const char *const causes[] = {"infected", "timeout"};

static struct record full_record(const sallyport_report *report)
{
    return (struct record){
        .id = "0123456789abcdefghjk",
        .time_wall_ms = 784111777123,
        .client = SPAN("192.0.2.7:4711"),
        .client_ip = SPAN("198.51.100.1"),
        .user = SPAN("joe"),
        .listener = "edge",
        .report = report,
        .service = "disarm",
        .method = "RESPMOD",
        .url_host = SPAN("www.example.com"),
        .icap_status = 200,
        .http_status = 403,
        .bytes_in = 1000,
        .bytes_out = 2000,
        .body_len = 900,
        .sha256 = "e3b0",
        .verdict = "block",
        .action = "block",
        .causes = causes,
        .n_causes = 2,
        .findings = two_findings,
        .n_findings = 2,
        .handshake_us = 1500,
        .head_us = 1,
        .body_us = 1000000,
        .scan_us = 20,
        .total_us = 2000003,
        .error = "timeout",
        .error_text = SPAN("too slow"),
    };
}

static void test_full_line_and_the_order_of_its_keys(void **state)
{
    sallyport_report *report = NULL;
    struct buf out;

    (void)state;
    assert_int_equal(sallyport_report_new(NULL, &report), 0);
    struct record r = full_record(report);

    buf_init(&out, 0);
    record_format(&r, &out);
    assert_string_equal(
        buf_cstr(&out),
        "{\"time\":\"1994-11-06T08:49:37.123Z\",\"id\":\"0123456789abcdefghjk\","
        "\"client\":\"192.0.2.7:4711\",\"client_ip\":\"198.51.100.1\",\"user\":\"joe\","
        "\"listener\":\"edge\",\"protection\":{\"how\":\"none\",\"version\":\"clear\","
        "\"resumed\":false},\"service\":\"disarm\",\"method\":\"RESPMOD\","
        "\"url_host\":\"www.example.com\",\"icap_status\":200,\"http_status\":403,"
        "\"bytes_in\":1000,\"bytes_out\":2000,\"body_len\":900,\"sha256\":\"e3b0\","
        "\"verdict\":\"block\",\"action\":\"block\",\"cause\":\"infected\",\"causes\":["
        "\"infected\",\"timeout\"],\"findings\":["
        "{\"engine\":\"clamav\",\"name\":\"Eicar\",\"where\":\"a.zip/b\"},"
        "{\"engine\":\"yara\",\"name\":\"rule1\",\"note\":true}],\"timing_ms\":{\"handshake\":1."
        "500,"
        "\"head\":0.001,\"body\":1000.000,\"scan\":0.020,\"total\":2000.003},"
        "\"error\":\"timeout\",\"error_text\":\"too slow\"}\n");
    buf_done(&out);
    sallyport_report_free(report);
}

/* Random bytes in every span: always one line, always JSON. */
static void test_hostile_spans_stay_one_json_line(void **state)
{
    unsigned seed = 7;
    char bytes[1000];

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        struct record r = full_record(NULL);
        struct record_finding f = {
            .engine = "e", .name = {bytes,     round           },
                 .where = {bytes + 1, sizeof bytes - 1}
        };
        struct buf out;

        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)rand_r(&seed);
        r.client = r.client_ip = r.user = r.url_host = r.error_text =
            (struct span){bytes, 600 + round};
        r.findings = &f;
        r.n_findings = 1;
        buf_init(&out, 0);
        record_format(&r, &out);
        assert_int_equal(out.err, OK);
        assert_int_equal(span_find(buf_span(&out), '\n'), out.n - 1);
        json_t *j = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

        assert_non_null(j);
        json_decref(j);
        buf_done(&out);
    }
}

static void test_long_text_is_cut_between_characters(void **state)
{
    char text[RECORD_TEXT_MAX * 2];

    (void)state;
    /* Three-byte characters behind 0, 1 and 2 bytes: the cut is never within one. */
    for (size_t shift = 0; shift < 3; shift++) {
        struct record r = {0};
        struct buf out;

        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 <= sizeof text; i += 3)
            memcpy(text + i, "\xe2\x82\xac", 3);
        r.error_text = (struct span){text, sizeof text - 3};
        buf_init(&out, 0);
        record_format(&r, &out);
        json_t *j = json_loadb(out.p, out.n, 0, NULL);
        const char *cut = json_string_value(json_object_get(j, "error_text"));

        assert_non_null(cut);
        assert_in_range(strlen(cut), RECORD_TEXT_MAX - 3, RECORD_TEXT_MAX);
        assert_null(strstr(cut, "\xef\xbf\xbd")); /* U+FFFD: a broken character */
        json_decref(j);
        buf_done(&out);
    }
}

static const struct id_row {
    uint64_t seed;
    unsigned loop;
    uint64_t counter;
    const char *id;
} id_rows[] = {
    {0,                            0,    0,                       "00000000000000000000"},
    {0,                            0,    1,                       "00000000000000000001"},
    {0,                            0,    31,                      "0000000000000000000z"},
    {0,                            0,    32,                      "00000000000000000010"},
    {0,                            1,    0,                       "00000000000100000000"},
    {1,                            0,    0,                       "00000000040000000000"},
    {UINT64_MAX,                   4095, (UINT64_C(1) << 40) - 1, "zzzzzzzzzzzzzzzzzzzz"},
    {UINT64_C(0xffff000000000000), 4096, UINT64_C(1) << 40,       "00000000000000000000"},
};

static void test_ids(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(id_rows); i++) {
        char id[RECORD_ID_LEN + 1];

        record_id(id_rows[i].seed, id_rows[i].loop, id_rows[i].counter, id);
        assert_string_equal(id, id_rows[i].id);
    }
}

/* ---- the writer ---- */

struct files {
    char path[2][64];
    int fd[2];
};

static int setup(void **state)
{
    struct files *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");

    assert_non_null(f);
    (void)signal(SIGXFSZ, SIG_IGN);
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(f->path[i], sizeof f->path[i], "%s/test_record.XXXXXX", tmp ? tmp : "/tmp");
        f->fd[i] = mkostemp(f->path[i], O_APPEND | O_CLOEXEC);
        assert_true(f->fd[i] >= 0);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct files *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        (void)unlink(f->path[i]);
        (void)close(f->fd[i]);
    }
    free(f);
    return 0;
}

static struct record_log *new_log(int fd, unsigned loops, uint64_t buffer_max, uint64_t flush_ms,
                                  enum record_on_full on_full)
{
    const struct record_log_settings set = {
        .fd = fd,
        .loops = loops,
        .buffer_max = buffer_max,
        .flush_ms = flush_ms,
        .on_full = on_full,
    };
    struct record_log *log = NULL;

    assert_int_equal(record_log_new(&set, &log), OK);
    return log;
}

static enum err append(struct record_log *log, unsigned loop, const char *text)
{
    return record_log_append(log, loop, span_of(text));
}

/* The file's text; the caller frees it. */
static char *content(int fd)
{
    off_t n = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)n + 1);

    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)n, 0), n);
    return text;
}

static void assert_file(int fd, const char *want)
{
    char *text = content(fd);

    assert_string_equal(text, want);
    free(text);
}

static struct record_log_counts counts(const struct record_log *log)
{
    struct record_log_counts c;

    record_log_count(log, &c);
    return c;
}

static void await(const struct record_log *log, bool (*is)(const struct record_log *log))
{
    for (unsigned i = 0; !is(log) && i < POLLS_MAX; i++)
        (void)poll(NULL, 0, 5);
    assert_true(is(log));
}

static bool wrote_one(const struct record_log *log)
{
    return counts(log).written >= 1;
}

static bool wrote_three(const struct record_log *log)
{
    return counts(log).written >= 3;
}

static bool had_an_error(const struct record_log *log)
{
    return counts(log).write_errors >= 1;
}

static bool refuses(const struct record_log *log)
{
    return record_log_refuses(log);
}

static bool accepts(const struct record_log *log)
{
    return !record_log_refuses(log);
}

static void test_free_flushes(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], 2, 1 << 20, 3600000, RECORD_DROP);

    assert_int_equal(append(log, 0, "one\n"), OK);
    assert_int_equal(append(log, 1, "two\n"), OK);
    assert_int_equal(append(log, 0, "three\n"), OK);
    record_log_free(log);
    assert_file(f->fd[0], "one\nthree\ntwo\n");
    record_log_free(NULL);
}

static void test_lines_come_out_by_themselves(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], 1, 1 << 20, 20, RECORD_DROP);

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(append(log, 0, "x\n"), OK);
    await(log, wrote_three);
    assert_int_equal(counts(log).written, 3);
    assert_int_equal(counts(log).bytes, 6);
    assert_in_range(counts(log).batches, 1, 3);
    record_log_free(log);
}

static void test_half_a_buffer_does_not_wait(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], 1, 100, 3600000, RECORD_DROP);

    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(append(log, 0, "123456789\n"), OK);
    await(log, wrote_one);
    record_log_free(log);
}

static void test_off(void **state)
{
    struct record_log *log = new_log(-1, 4, 1 << 20, 200, RECORD_REFUSE);

    (void)state;
    assert_int_equal(append(log, 3, "x\n"), OK);
    record_log_reopen(log, 1);
    assert_false(record_log_refuses(log));
    assert_int_equal(counts(log).written, 0);
    record_log_free(log);
}

#define THREADS 4
#define LINES   20000

struct appender {
    struct record_log *log;
    unsigned loop;
    pthread_t thread;
    unsigned full;
};

static void *append_many(void *arg)
{
    struct appender *a = arg;

    for (unsigned i = 0; i < LINES; i++) {
        char line[64];

        (void)snprintf(line, sizeof line, "%u %u\n", a->loop, i);
        while (append(a->log, a->loop, line) == ERR_FULL) {
            a->full++;
            (void)poll(NULL, 0, 1);
        }
    }
    return NULL;
}

/* Every line once, and each thread's lines in order, while files rotate under it. */
static void check_threads_file(const char *text, unsigned next[THREADS])
{
    struct span rest = span_of(text);

    while (rest.n) {
        struct span line = span_cut(&rest, '\n');
        struct span first = span_cut(&line, ' ');
        uint64_t loop = THREADS, i = LINES;

        assert_int_equal(span_u64(first, THREADS - 1, &loop), OK);
        assert_int_equal(span_u64(line, LINES - 1, &i), OK);
        assert_int_equal(i, next[loop]);
        next[loop]++;
    }
}

static void test_threads(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], THREADS, 64 << 10, 1, RECORD_DROP);
    struct appender a[THREADS];
    unsigned next[THREADS] = {0}, full = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        a[i] = (struct appender){.log = log, .loop = i};
        assert_int_equal(pthread_create(&a[i].thread, NULL, append_many, &a[i]), 0);
    }
    await(log, wrote_one);
    (void)record_log_refuses(log);
    record_log_reopen(log, f->fd[1]);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(a[i].thread, NULL), 0);
        full += a[i].full;
    }
    assert_int_equal(counts(log).lost, full); /* each was appended again, by the thread */
    record_log_free(log);
    for (unsigned i = 0; i < 2; i++) {
        char *text = content(f->fd[i]);

        check_threads_file(text, next);
        free(text);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(next[i], LINES);
}

static void test_reopen_divides_exactly(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], 2, 1 << 20, 3600000, RECORD_DROP);

    assert_int_equal(append(log, 0, "old 0\n"), OK);
    assert_int_equal(append(log, 1, "old 1\n"), OK);
    record_log_reopen(log, f->fd[1]);
    assert_int_equal(append(log, 0, "new 0\n"), OK);
    assert_int_equal(append(log, 1, "new 1\n"), OK);
    record_log_free(log);
    assert_file(f->fd[0], "old 0\nold 1\n");
    assert_file(f->fd[1], "new 0\nnew 1\n");
}

static void test_reopen_twice_before_the_writer_looks(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], 1, 1 << 20, 3600000, RECORD_DROP);

    record_log_reopen(log, f->fd[0]);
    record_log_reopen(log, f->fd[1]);
    record_log_reopen(log, -1); /* cannot be duplicated: stays where it is */
    assert_int_equal(counts(log).write_errors, 1);
    assert_int_equal(append(log, 0, "new\n"), OK);
    record_log_free(log);
    assert_file(f->fd[1], "new\n");
}

/* ---- full disks: RLIMIT_FSIZE cuts a write short and then says EFBIG, as ENOSPC comes ---- */

static void limit_files(rlim_t max)
{
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = max < r.rlim_max ? max : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void test_full_disk(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], 2, 1 << 20, 10, RECORD_REFUSE);

    limit_files(12);
    assert_int_equal(append(log, 0, "aaaaaaaa\n"), OK);
    assert_int_equal(append(log, 0, "bbbbbbbb\n"), OK);
    assert_int_equal(append(log, 0, "cccccccc\n"), OK);
    await(log, refuses);
    assert_file(f->fd[0], "aaaaaaaa\nbbb");
    assert_int_equal(counts(log).written, 1);
    assert_int_equal(counts(log).lost, 1);
    assert_int_equal(append(log, 1, "dddddddd\n"), OK); /* gathered, waits for room */
    limit_files(RLIM_INFINITY);
    await(log, accepts);
    record_log_free(log);
    assert_file(f->fd[0], "aaaaaaaa\nbbb\ncccccccc\ndddddddd\n");
}

/* The only line is cut: there is nothing left to write but its end. */
static void test_full_disk_recovers_without_lines(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], 1, 1 << 20, 10, RECORD_REFUSE);

    limit_files(4);
    assert_int_equal(append(log, 0, "aaaaaaaa\n"), OK);
    await(log, refuses);
    limit_files(RLIM_INFINITY);
    await(log, accepts);
    assert_file(f->fd[0], "aaaa\n");
    assert_int_equal(append(log, 0, "bbbbbbbb\n"), OK);
    record_log_free(log);
    assert_file(f->fd[0], "aaaa\nbbbbbbbb\n");
}

/* A disk that is full before the first byte costs no line. */
static void test_full_disk_at_a_line_end(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], 1, 1 << 20, 10, RECORD_DROP);

    limit_files(9);
    assert_int_equal(append(log, 0, "aaaaaaaa\n"), OK);
    assert_int_equal(append(log, 0, "bbbbbbbb\n"), OK);
    await(log, had_an_error);
    assert_false(record_log_refuses(log)); /* RECORD_DROP never refuses */
    limit_files(RLIM_INFINITY);
    record_log_free(log);
    assert_file(f->fd[0], "aaaaaaaa\nbbbbbbbb\n");
}

/* An operator who rotates away from a full disk loses nothing more. */
static void test_reopen_saves_what_a_full_disk_held_up(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], 2, 1 << 20, 10, RECORD_REFUSE);
    int pipe_fd[2];
    char text[64] = {0};

    limit_files(3);
    assert_int_equal(append(log, 0, "aaaaaaaa\n"), OK);
    assert_int_equal(append(log, 1, "bbbbbbbb\n"), OK);
    await(log, refuses);
    assert_int_equal(append(log, 0, "cccccccc\n"), OK);
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0); /* has no file size to limit */
    record_log_reopen(log, pipe_fd[1]);
    await(log, accepts);
    record_log_free(log);
    limit_files(RLIM_INFINITY);
    assert_file(f->fd[0], "aaa");
    assert_int_equal(read(pipe_fd[0], text, sizeof text), 18);
    assert_non_null(strstr(text, "bbbbbbbb\n"));
    assert_non_null(strstr(text, "cccccccc\n"));
    (void)close(pipe_fd[0]);
    (void)close(pipe_fd[1]);
}

/* A disk that hangs: the buffer fills, lines are dropped and counted, REFUSE refuses. */
static void test_slow_disk(void **state)
{
    static char line[4096];
    struct record_log *log;
    int pipe_fd[2];
    unsigned dropped = 0;

    (void)state;
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
    assert_true(fcntl(pipe_fd[1], F_SETPIPE_SZ, 4096) > 0);
    log = new_log(pipe_fd[1], 1, 65536, 1, RECORD_REFUSE);
    for (unsigned i = 0; i < 64; i++)
        dropped += append(log, 0, line) == ERR_FULL;
    assert_in_range(dropped, 64 - 18, 63);
    assert_int_equal(counts(log).lost, dropped);
    assert_true(record_log_refuses(log));
    for (size_t left = (64 - dropped) * (sizeof line - 1); left;) {
        char in[4096];
        ssize_t n = read(pipe_fd[0], in, sizeof in);

        assert_true(n > 0);
        left -= (size_t)n;
    }
    await(log, accepts);
    assert_int_equal(append(log, 0, "y\n"), OK);
    record_log_free(log);
    (void)close(pipe_fd[0]);
    (void)close(pipe_fd[1]);
}

/* A line is lost while none waits: nobody would come by to take the refusal back. */
static void test_refusal_ends_without_lines(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f->fd[0], 1, 1 << 20, 10, RECORD_REFUSE);

    mem_fail_after(1);
    assert_int_equal(append(log, 0, "lost\n"), ERR_NOMEM);
    mem_fail_after(0);
    await(log, accepts);
    record_log_free(log);
}

static void test_failing_allocations(void **state)
{
    struct files *f = *state;
    const struct record_log_settings set = {.fd = f->fd[0], .loops = 1, .buffer_max = 1 << 20};
    struct record_log *log = NULL;

    for (unsigned n = 1; n < 3; n++) {
        mem_fail_after(n);
        assert_int_equal(record_log_new(&set, &log), ERR_NOMEM);
        assert_null(log);
    }
    mem_fail_after(0);
    assert_int_equal(record_log_new(&set, &log), OK);
    mem_fail_after(1);
    assert_int_equal(append(log, 0, "lost\n"), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(append(log, 0, "kept\n"), OK);
    assert_int_equal(counts(log).lost, 1);
    record_log_free(log);
    assert_file(f->fd[0], "kept\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimal_line),
        cmocka_unit_test(test_full_line_and_the_order_of_its_keys),
        cmocka_unit_test(test_hostile_spans_stay_one_json_line),
        cmocka_unit_test(test_long_text_is_cut_between_characters),
        cmocka_unit_test(test_ids),
        cmocka_unit_test_setup_teardown(test_free_flushes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines_come_out_by_themselves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_a_buffer_does_not_wait, setup, teardown),
        cmocka_unit_test(test_off),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopen_divides_exactly, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopen_twice_before_the_writer_looks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_recovers_without_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_at_a_line_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopen_saves_what_a_full_disk_held_up, setup,
                                        teardown),
        cmocka_unit_test(test_slow_disk),
        cmocka_unit_test_setup_teardown(test_refusal_ends_without_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failing_allocations, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
