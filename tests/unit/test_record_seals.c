/* SPDX-License-Identifier: Apache-2.0 */
/* record_sealer.c and record_log.c write: what was written is good, also by several processes and
 * around failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/arena.h"
#include "observe/record.h"
#include "test_record_files.h"

#define POLLS_MAX 6000 /* of 5 ms */

static struct record_log *log_with(const struct files *f, struct record_sealer *s, unsigned loops)
{
    const struct record_log_settings set = {
        .fd = f->fd[0],
        .loops = loops,
        .buffer_max = 1 << 20,
        .flush_ms = 1,
        .on_full = RECORD_REFUSE,
        .sealer = s,
    };
    struct record_log *log = NULL;

    assert_int_equal(record_log_new(&set, &log), OK);
    return log;
}

static struct record_log *new_log(const struct files *f)
{
    return log_with(f, new_sealer(f), 2);
}

static enum err append(struct record_log *log, unsigned loop, const char *text)
{
    return record_log_append(log, loop, span_of(text));
}

static struct record_log_counts counts(const struct record_log *log)
{
    struct record_log_counts c;

    record_log_count(log, &c);
    return c;
}

static void await_seals(const struct record_log *log, uint64_t n)
{
    for (unsigned i = 0; counts(log).seals < n && i < POLLS_MAX; i++)
        (void)poll(NULL, 0, 5);
    assert_int_equal(counts(log).seals, n);
}

static void await_refusal(const struct record_log *log, bool refuses)
{
    for (unsigned i = 0; record_log_refuses(log) != refuses && i < POLLS_MAX; i++)
        (void)poll(NULL, 0, 5);
    assert_int_equal(record_log_refuses(log), refuses);
}

/* ---- writing ---- */

static void test_batches_are_sealed(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f);

    assert_int_equal(append(log, 0, "{\"time\":\"2026-01-01T00:00:00.000Z\",\"id\":\"a\"}\n"), OK);
    await_seals(log, 1);
    assert_int_equal(append(log, 1, "{\"time\":\"2026-01-02T00:00:00.000Z\",\"id\":\"b\"}\n"), OK);
    await_seals(log, 2);
    assert_int_equal(counts(log).written, 2);
    assert_int_equal(counts(log).bytes, size_of(f->fd[0]));
    record_log_free(log);
    verify(f);
    assert_good(f);
    assert_int_equal(f->counts.records, 2);
    assert_int_equal(f->counts.seals, 2);
    assert_int_equal(f->counts.good, 2);
    assert_int_equal(f->counts.last, 1);
    assert_string_equal(f->counts.from, "2026-01-01T00:00:00.000Z");
    assert_string_equal(f->counts.until, "2026-01-02T00:00:00.000Z");
}

static void test_rotation_goes_on(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f);
    const int second = f->fd[1];
    const struct record_chain *none = NULL;

    assert_int_equal(append(log, 0, "one\n"), OK);
    await_seals(log, 1);
    record_log_reopen(log, f->fd[1]);
    assert_int_equal(append(log, 0, "two\n"), OK);
    await_seals(log, 2);
    assert_int_equal(append(log, 0, "three\n"), OK);
    await_seals(log, 3);
    record_log_free(log);
    assert_true(size_of(f->fd[1]) > size_of(f->fd[0]));
    verify(f);
    assert_good(f);
    /* The younger file alone is good as a whole. */
    verify_fds(f, none, &second, 1);
    assert_said(f, "N 2: the first seal here is 1");
    assert_int_equal(f->counts.faults, 0);
    assert_int_equal(f->counts.good, 2);
}

#define PROCESSES 4
#define LINES     300

static void append_many(const struct files *f, unsigned process)
{
    struct record_log *log = new_log(f);

    for (unsigned i = 0; i < LINES; i++) {
        char line[64];

        (void)snprintf(line, sizeof line, "%u %u\n", process, i);
        if (append(log, i & 1, line) != OK)
            _exit(1);
        if (i % 8 == 0)
            (void)poll(NULL, 0, 1);
    }
    record_log_free(log);
    _exit(0);
}

static void test_processes_share_a_chain(void **state)
{
    struct files *f = *state;
    pid_t pids[PROCESSES];

    for (unsigned i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0)
            append_many(f, i);
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    verify(f);
    assert_good(f);
    assert_int_equal(f->counts.records, PROCESSES * LINES);
    assert_int_equal(f->counts.good, f->counts.seals);
    assert_true(f->counts.seals > PROCESSES * 4);
}

/* More loops than one writev takes: several batches. */
static void test_many_lanes(void **state)
{
    struct files *f = *state;
    struct record_log *log = log_with(f, new_sealer(f), 150);

    for (unsigned i = 0; i < 150; i++)
        assert_int_equal(append(log, i, "line\n"), OK);
    record_log_free(log);
    verify(f);
    assert_good(f);
    assert_int_equal(f->counts.records, 150);
    assert_true(f->counts.seals >= 3);
}

/* ---- full disks ---- */

static void limit_files(rlim_t max)
{
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = max < r.rlim_max ? max : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* What a failed write left is not sealed, and the number goes to the next batch. The limit counts
 * for the state, too, which is longer than that. */
static void full_disk(struct files *f, rlim_t at, const char *complaint)
{
    struct record_log *log = new_log(f);

    assert_int_equal(append(log, 0, "a line that fills a part of the file, and many of them do\n"),
                     OK);
    assert_int_equal(append(log, 0, "a line that fills a part of the file, and many of them do\n"),
                     OK);
    await_seals(log, 1);
    const rlim_t first = (rlim_t)size_of(f->fd[0]);

    limit_files(first + at);
    assert_int_equal(append(log, 0, "aaaaaaaa\nbbbbbbbb\n"), OK);
    await_refusal(log, true);
    assert_int_equal(size_of(f->fd[0]), first + at);
    limit_files(RLIM_INFINITY);
    await_refusal(log, false);
    assert_int_equal(append(log, 1, "cccccccc\n"), OK);
    record_log_free(log);
    verify(f);
    assert_said(f, complaint);
    assert_int_equal(f->counts.faults, strncmp(complaint, "F", 1) == 0);
    assert_int_equal(f->counts.repeated, 0);
    assert_int_equal(f->counts.good, f->counts.seals);
}

static void test_full_disk_within_a_line(void **state)
{
    full_disk(*state, 12, "F 4: 13 octets from here on (lines 4 to 5) are not sealed");
}

static void test_full_disk_at_a_line_end(void **state)
{
    full_disk(*state, 9, "F 4: 9 octets from here on (lines 4 to 4) are not sealed");
}

/* The batch is whole, its seal is not: somebody may say that it was altered, and is right. */
static void test_full_disk_within_the_seal(void **state)
{
    struct files *f = *state;
    struct record_log *log = new_log(f);

    assert_int_equal(append(log, 0,
                            "a line that is there so that the state is no longer than the "
                            "file, and this one is whole\n"),
                     OK);
    await_seals(log, 1);
    const rlim_t first = (rlim_t)size_of(f->fd[0]);

    limit_files(first + 9 + 70);
    assert_int_equal(append(log, 0, "aaaaaaaa\n"), OK);
    await_refusal(log, true);
    limit_files(RLIM_INFINITY);
    await_refusal(log, false);
    assert_int_equal(append(log, 0, "bbbbbbbb\n"), OK);
    record_log_free(log);
    verify(f);
    assert_said(f, "F 4: this was a seal, and was altered");
    assert_said(f, "F 3: 80 octets from here on (lines 3 to 4) are not sealed");
    assert_int_equal(f->counts.good, 2);
    assert_int_equal(f->counts.last, 1);
}

static void test_full_disk_before_the_batch(void **state)
{
    struct files *f = *state;

    full_disk(f, 0, "");
    assert_good(f);
}

/* ---- a state that cannot be used ---- */

static void test_garbage_in_the_state(void **state)
{
    struct files *f = *state;
    const struct record_chain c = read_chain(f);
    struct record_log *log = new_log(f);

    assert_int_equal(truncate(f->chain, 12), 0);
    assert_int_equal(append(log, 0, "waits\n"), OK);
    await_refusal(log, true);
    assert_int_equal(size_of(f->fd[0]), 0);
    assert_true(counts(log).write_errors > 0);
    assert_int_equal(counts(log).lost, 0);
    write_chain(f, &c);
    await_refusal(log, false);
    record_log_free(log);
    verify(f);
    assert_good(f);
    assert_int_equal(f->counts.records, 1);
}

/* One batch more is written than the state knows, and then none. */
static void test_state_that_cannot_be_written(void **state)
{
    struct files *f = *state;
    int fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const struct record_chain c = read_chain(f);
    char text[RECORD_CHAIN_STATE_LEN];
    struct record_sealer *s;

    record_chain_encode(&c, text);
    assert_int_equal(write(fd, text, sizeof text), sizeof text);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(record_sealer_new(fd, &s), OK);
    struct record_log *log = log_with(f, s, 1);

    assert_int_equal(append(log, 0, "one\n"), OK);
    await_refusal(log, true);
    const off_t n = size_of(f->fd[0]);

    assert_int_equal(append(log, 0, "two\n"), OK);
    record_log_free(log);
    assert_int_equal(size_of(f->fd[0]), n);
    verify_fds(f, NULL, f->fd, 1);
    assert_good(f);
    assert_int_equal(f->counts.records, 1);
}

static enum err seal_once(struct record_sealer *s, struct span *ret)
{
    char text[] = "one\n";
    const struct iovec iov = {text, 4};

    return record_sealer_begin(s, &iov, 1, ret);
}

static void assert_why(const struct record_sealer *s, const char *want)
{
    struct buf why;

    buf_init(&why, 0);
    record_sealer_why(s, &why);
    assert_non_null(strstr(buf_cstr(&why), want));
    buf_done(&why);
}

static void test_sealer_failures(void **state)
{
    struct files *f = *state;
    struct record_sealer *s = NULL;
    struct span line;
    int fd = open(f->chain, O_RDONLY | O_CLOEXEC);

    mem_fail_after(1);
    assert_int_equal(record_sealer_new(fd, &s), ERR_NOMEM);
    mem_fail_after(0);
    assert_null(s);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* taken over, also then */
    assert_int_equal(record_sealer_new(open(f->chain, O_RDONLY | O_CLOEXEC), &s), OK);
    assert_int_equal(seal_once(s, &line), ERR_IO);
    assert_why(s, "cannot lock the state of the records' chain: Bad file descriptor");
    record_sealer_free(s);
    s = new_sealer(f);
    for (unsigned n = 1; n < 3; n++) {
        mem_fail_after(n);
        assert_int_equal(seal_once(s, &line), ERR_NOMEM);
        mem_fail_after(0);
    }
    assert_why(s, "Cannot allocate memory");
    assert_int_equal(seal_once(s, &line), OK);
    mem_fail_after(1);
    assert_int_equal(record_sealer_commit(s), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(read_chain(f).next, 0);
    assert_int_equal(truncate(f->chain, 0), 0);
    assert_int_equal(seal_once(s, &line), ERR_SYNTAX);
    assert_why(s, "it is garbage");
    record_sealer_free(s);
    record_sealer_free(NULL);
}

/* A process that was killed within a write, and another one that goes on behind half a line. */
static void test_behind_half_a_line(void **state)
{
    struct files *f = *state;

    fill(f, SPAN("whole\nhal"));
    struct record_log *log = new_log(f);

    assert_int_equal(append(log, 0, "one\n"), OK);
    record_log_free(log);
    verify(f);
    assert_string_equal(
        buf_cstr(&f->said),
        "F 1: 9 octets from here on (lines 1 to 2) are not sealed: nobody vouches for them\n");
    assert_int_equal(f->counts.good, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_batches_are_sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_processes_share_a_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_lanes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_within_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_at_a_line_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_within_the_seal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_before_the_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage_in_the_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_state_that_cannot_be_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sealer_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_behind_half_a_line, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
