/* SPDX-License-Identifier: Apache-2.0 */
/* record_sealer.c and record_log.c write, cli/record_verify.c reads: what was written is good, also
 * by several processes and around failures, and whatever is changed is found. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "cli/record_verify.h"
#include "observe/record.h"
#include "observe/record_sealer.h"

#define POLLS_MAX 6000 /* of 5 ms */

struct files {
    char path[2][64], chain[72];
    int fd[2];
    uint8_t key[RECORD_MAC_LEN];
    struct buf said; /* "F 3: what\n", "N 0: what\n" */
    struct record_verify_counts counts;
};

static void write_chain(const struct files *f, const struct record_chain *c)
{
    char state[RECORD_CHAIN_STATE_LEN];
    int fd = open(f->chain, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    record_chain_encode(c, state);
    assert_int_equal(write(fd, state, sizeof state), sizeof state);
    (void)close(fd);
}

static struct record_chain read_chain(const struct files *f)
{
    char state[RECORD_CHAIN_STATE_LEN];
    int fd = open(f->chain, O_RDONLY | O_CLOEXEC);
    struct record_chain c;

    assert_int_equal(read(fd, state, sizeof state), sizeof state);
    assert_int_equal(record_chain_decode((struct span){state, sizeof state}, &c), OK);
    (void)close(fd);
    return c;
}

static int setup(void **state)
{
    struct files *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    struct record_chain c;

    assert_non_null(f);
    (void)signal(SIGXFSZ, SIG_IGN);
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(f->path[i], sizeof f->path[i], "%s/test_seals.XXXXXX", tmp ? tmp : "/tmp");
        f->fd[i] = mkostemp(f->path[i], O_APPEND | O_CLOEXEC);
        assert_true(f->fd[i] >= 0);
    }
    (void)snprintf(f->chain, sizeof f->chain, "%s.c", f->path[0]);
    memset(f->key, 0x42, sizeof f->key);
    record_chain_begin(f->key, &c);
    write_chain(f, &c);
    buf_init(&f->said, 0);
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
    (void)unlink(f->chain);
    buf_done(&f->said);
    free(f);
    return 0;
}

static struct record_sealer *new_sealer(const struct files *f)
{
    int fd = open(f->chain, O_RDWR | O_CLOEXEC);
    struct record_sealer *s = NULL;

    assert_true(fd >= 0);
    assert_int_equal(record_sealer_new(fd, &s), OK);
    return s;
}

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

static off_t size_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return st.st_size;
}

/* ---- verifying ---- */

static void on_say(void *arg, enum verify_kind kind, const char *name, uint64_t line,
                   const char *text)
{
    struct files *f = arg;

    (void)name;
    buf_fmt(&f->said, "%c %llu: %s\n", kind == VERIFY_FAULT ? 'F' : 'N', (unsigned long long)line,
            text);
}

static void verify_fds(struct files *f, const struct record_chain *chain, const int *fds,
                       unsigned n)
{
    const struct record_verify_settings set = {
        .key = f->key, .state = chain, .steps_max = 1 << 20, .say = on_say, .arg = f};
    struct record_verify_file files[3];
    const struct record_verify_file *file;
    struct record_verify_counts one;
    struct record_verify *v;
    int errnum;

    buf_reset(&f->said);
    for (unsigned i = 0; i < n; i++)
        files[i] = (struct record_verify_file){"f", fds[i], (uint64_t)size_of(fds[i])};
    assert_int_equal(record_verify_new(&set, files, n, &v), OK);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(record_verify_next(v, &file, &one, &errnum), OK);
        assert_ptr_equal(file, &files[i]);
    }
    assert_int_equal(record_verify_next(v, &file, &one, &errnum), ERR_EOF);
    assert_int_equal(record_verify_end(v, &f->counts), OK);
    record_verify_free(v);
}

/* Both files, with the state. */
static void verify(struct files *f)
{
    const struct record_chain c = read_chain(f);

    verify_fds(f, &c, f->fd, 2);
}

static void assert_said(struct files *f, const char *want)
{
    if (!strstr(buf_cstr(&f->said), want))
        print_error("lacks '%s':\n%s", want, buf_cstr(&f->said));
    assert_non_null(strstr(buf_cstr(&f->said), want));
}

static void assert_good(struct files *f)
{
    assert_string_equal(buf_cstr(&f->said), "");
    assert_int_equal(f->counts.faults, 0);
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
    /* The younger file alone is known to be good but for its first batch. */
    verify_fds(f, none, &second, 1);
    assert_said(f, "N 2: the first seal here is 1");
    assert_int_equal(f->counts.faults, 0);
    assert_int_equal(f->counts.good, 1);
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

/* ---- records that were changed ---- */

#define BATCHES 6

/* Each has two records and a seal: lines 3n+1 to 3n+3. */
struct sealed {
    struct buf text;
    size_t at[BATCHES + 1]; /* where batch n begins */
    size_t seal[BATCHES];
};

static void seal_batch(struct record_sealer *s, const char *records, struct buf *out,
                       size_t *ret_seal)
{
    char *text = span_dup(span_of(records));
    const struct iovec iov = {text, strlen(text)};
    struct span line;

    assert_int_equal(record_sealer_begin(s, &iov, 1, &line), OK);
    buf_text(out, records);
    *ret_seal = out->n;
    buf_add(out, line);
    assert_int_equal(record_sealer_commit(s), OK);
    free(text);
}

static void seal_file(const struct files *f, struct sealed *ret)
{
    struct record_sealer *s = new_sealer(f);

    buf_init(&ret->text, 0);
    for (unsigned i = 0; i < BATCHES; i++) {
        char records[64];

        (void)snprintf(records, sizeof records, "{\"id\":\"a%u\"}\n{\"id\":\"b%u\"}\n", i, i);
        ret->at[i] = ret->text.n;
        seal_batch(s, records, &ret->text, &ret->seal[i]);
    }
    ret->at[BATCHES] = ret->text.n;
    record_sealer_free(s);
}

static void fill(const struct files *f, struct span text)
{
    assert_int_equal(ftruncate(f->fd[0], 0), 0);
    assert_int_equal(write(f->fd[0], text.p, text.n), text.n);
}

struct change {
    const char *name;
    /* Pieces of the sealed file, in their new order: batches from, to (not included); or text. */
    struct {
        unsigned from, to;
        const char *text;
    } pieces[5];
    const char *said[3];
};

#define FORGED_SEAL(n)                                                                            \
    "forge\n{\"time\":\"2026-01-01T00:00:00.000Z\",\"event\":\"seal\",\"seal\":" n                \
    ",\"octets\":6,\"mac\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}" \
    "\n"

/* clang-format off */
static const struct change changes[] = {
    {"a batch is gone", {{0, 2, NULL}, {3, 6, NULL}},
     {"F 9: seals 2 to 2 are missing before seal 3"}},
    {"the first one is gone", {{1, 6, NULL}},
     {"N 3: the first seal here is 1"}},
    {"several are gone", {{0, 1, NULL}, {4, 6, NULL}},
     {"F 6: seals 1 to 3 are missing before seal 4"}},
    {"the last one is gone", {{0, 5, NULL}},
     {"F 0: the end is missing: the last seal here is 4, and the gateway had written up to 5"}},
    {"all but the first", {{0, 1, NULL}},
     {"F 0: the end is missing: the last seal here is 0, and the gateway had written up to 5"}},
    {"one before the last is gone", {{0, 4, NULL}, {5, 6, NULL}},
     {"F 15: seals 4 to 4 are missing before seal 5"}},
    {"two change places", {{0, 2, NULL}, {3, 4, NULL}, {2, 3, NULL}, {4, 6, NULL}},
     {"F 9: the order is wrong: seal 3 stands before seal 2"}},
    {"the last two change places", {{0, 4, NULL}, {5, 6, NULL}, {4, 5, NULL}},
     {"F 15: the order is wrong: seal 5 stands before seal 4"}},
    {"the first two change places", {{1, 2, NULL}, {0, 1, NULL}, {2, 6, NULL}},
     {"F 3: the order is wrong: seal 1 stands before seal 0"}},
    {"a copy", {{0, 3, NULL}, {2, 6, NULL}},
     {"F 12: a copy of seal 2 with its batch"}},
    {"a copy further down", {{0, 5, NULL}, {1, 2, NULL}, {5, 6, NULL}},
     {"F 18: a copy of seal 1 with its batch"}},
    {"a line at the end", {{0, 6, NULL}, {0, 0, "{\"id\":\"x\"}\n"}},
     {"F 19: 11 octets from here on (lines 19 to 19) are not sealed"}},
    {"half a line at the end", {{0, 6, NULL}, {0, 0, "{\"id\""}},
     {"F 19: 5 octets from here on (lines 19 to 19) are not sealed"}},
    {"lines in the middle", {{0, 3, NULL}, {0, 0, "x\ny\n"}, {3, 6, NULL}},
     {"F 10: 4 octets from here on (lines 10 to 11) are not sealed"}},
    {"a forged batch at the end", {{0, 6, NULL}, {0, 0, FORGED_SEAL("6")}},
     {"F 20: what seal 6 covers was altered (lines 19 to 19), or the seal was"}},
    {"a forged batch in the middle", {{0, 3, NULL}, {0, 0, FORGED_SEAL("3")}, {3, 6, NULL}},
     {"F 11: what seal 3 covers was altered", "F 14: seal 3 comes again and is good: the one in line 11 of f was put in"}},
    {"a forged one with a number far away",
     {{0, 3, NULL}, {0, 0, FORGED_SEAL("18446744073709551615")}, {3, 6, NULL}},
     {"F 11: seal 18446744073709551615 is too far from seal 3"}},
    {"a forged one with a number that the gateway has not come to",
     {{0, 3, NULL}, {0, 0, FORGED_SEAL("5000")}, {3, 6, NULL}},
     {"F 11: seal 5000 is too far from seal 3"}},
    {"a forged one with a number that is near", {{0, 3, NULL}, {0, 0, FORGED_SEAL("100")}, {3, 6, NULL}},
     {"F 11: seal 100 fits nothing: it is no seal of these records"}},
    {"a forged one with an old number", {{0, 3, NULL}, {0, 0, FORGED_SEAL("1")}, {3, 6, NULL}},
     {"F 11: seal 1 comes again (first: line 6 of f), and this one was altered or put in"}},
    {"a seal that covers more than there is", {{0, 6, NULL}, {0, 0, &FORGED_SEAL("6")[1]}},
     {"F 20: seal 6 covers 6 octets, and only 5 stand before it"}},
    {"nothing", {{0, 0, NULL}},
     {"F 0: there is no seal at all, and the gateway had written 6"}},
};
/* clang-format on */

static void test_changes(void **state)
{
    struct files *f = *state;
    struct sealed s;
    struct buf text;

    seal_file(f, &s);
    fill(f, buf_span(&s.text));
    verify(f);
    assert_good(f);
    assert_int_equal(f->counts.good, BATCHES);
    buf_init(&text, 0);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        const struct change *c = &changes[i];

        buf_reset(&text);
        for (unsigned k = 0; k < ARRAY_LEN(c->pieces); k++) {
            size_t from = s.at[c->pieces[k].from], to = s.at[c->pieces[k].to];

            buf_add(&text, (struct span){s.text.p + from, to - from});
            buf_text(&text, c->pieces[k].text);
        }
        fill(f, buf_span(&text));
        verify(f);
        for (unsigned k = 0; k < ARRAY_LEN(c->said) && c->said[k]; k++)
            assert_said(f, c->said[k]);
        assert_int_equal(f->counts.faults > 0, c->said[0][0] == 'F');
    }
    buf_done(&text);
    buf_done(&s.text);
}

/* Every octet of the file, but for the times of its seals, which nobody vouches for. */
static void test_every_octet_counts(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    fill(f, buf_span(&s.text));
    for (size_t i = 0; i < s.text.n; i++) {
        unsigned batch = 0;

        while (i >= s.at[batch + 1])
            batch++;
        size_t in_seal = i - s.seal[batch];
        const char changed = s.text.p[i] == '1' ? '2' : '1', kept = s.text.p[i];
        int fd = open(f->path[0], O_WRONLY | O_CLOEXEC);

        assert_int_equal(pwrite(fd, &changed, 1, (off_t)i), 1);
        verify(f);
        if (i < s.seal[batch] || in_seal < 9 || in_seal >= 9 + 24)
            assert_true(f->counts.faults > 0);
        assert_int_equal(pwrite(fd, &kept, 1, (off_t)i), 1);
        (void)close(fd);
    }
    buf_done(&s.text);
}

/* Cut anywhere the end is missing; without the state a file that ends in a seal looks whole. */
static void test_cut_anywhere(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    for (size_t n = 0; n < s.text.n; n++) {
        bool at_seal = false;

        for (unsigned i = 0; i < BATCHES; i++)
            at_seal |= n == s.at[i];
        fill(f, (struct span){s.text.p, n});
        verify(f);
        assert_true(f->counts.faults > 0);
        verify_fds(f, NULL, f->fd, 1);
        assert_int_equal(f->counts.faults == 0, at_seal);
    }
    buf_done(&s.text);
}

/* An altered MAC does not put the next batch into the wrong light. */
static void test_altered_mac_is_one_fault(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    char *digit = s.text.p + s.at[3] - 4;

    *digit = *digit == '0' ? '1' : '0';
    fill(f, buf_span(&s.text));
    verify(f);
    assert_said(f, "F 9: what seal 2 covers was altered (lines 7 to 8), or the seal was");
    assert_int_equal(f->counts.faults, 1);
    buf_done(&s.text);
}

/* As when a process is killed between its batch and its state; and a machine that lost more. */
static void test_repeated_numbers(void **state)
{
    struct files *f = *state;
    struct sealed s;
    struct record_sealer *sealer;
    size_t at;

    seal_file(f, &s);
    const struct record_chain before = read_chain(f);

    sealer = new_sealer(f);
    seal_batch(sealer, "first\n", &s.text, &at);
    const struct record_chain one = read_chain(f);

    seal_batch(sealer, "and one more\n", &s.text, &at);
    write_chain(f, &one);
    seal_batch(sealer, "after a kill\n", &s.text, &at);
    fill(f, buf_span(&s.text));
    verify(f);
    assert_said(f, "N 24: the number of seal 7 comes again and is good");
    assert_int_equal(f->counts.faults, 0);
    assert_int_equal(f->counts.repeated, 1);
    write_chain(f, &before);
    for (unsigned i = 0; i < 4; i++)
        seal_batch(sealer, "after the power came back\n", &s.text, &at);
    fill(f, buf_span(&s.text));
    verify(f);
    assert_int_equal(f->counts.faults, 0);
    assert_int_equal(f->counts.repeated, 3);
    /* And the state that is behind: the last batch of a process that was killed. */
    verify_fds(f, &one, f->fd, 1);
    assert_said(f, "N 0: the state of the chain is at seal 7 and the records are at 10");
    assert_int_equal(f->counts.faults, 0);
    /* But not one that somebody made up. */
    struct record_chain made_up = one;

    made_up.key[3] ^= 1;
    verify_fds(f, &made_up, f->fd, 1);
    assert_said(f, "F 0: the state of the chain is not that of these records and this key");
    made_up = before;
    made_up.next = 0;
    verify_fds(f, &made_up, f->fd, 1);
    assert_said(f, "F 0: the state of the chain is not that of these records and this key");
    record_sealer_free(sealer);
    buf_done(&s.text);
}

/* A number that the chain reaches later, and no state that knows better. */
static void test_forged_ahead_of_its_number(void **state)
{
    struct files *f = *state;
    struct sealed s;
    struct buf text;

    seal_file(f, &s);
    buf_init(&text, 0);
    buf_add(&text, (struct span){s.text.p, s.at[3]});
    buf_text(&text, FORGED_SEAL("4"));
    buf_add(&text, (struct span){s.text.p + s.at[3], s.text.n - s.at[3]});
    fill(f, buf_span(&text));
    verify_fds(f, NULL, f->fd, 1);
    assert_said(f, "F 11: seal 4 fits nothing");
    assert_int_equal(f->counts.faults, 1);
    assert_int_equal(f->counts.good, BATCHES);
    buf_done(&text);
    buf_done(&s.text);
}

static void test_another_key(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    fill(f, buf_span(&s.text));
    f->key[0] ^= 1;
    verify(f);
    assert_said(f, "F 0: no seal can be checked: is this the key of these records");
    assert_int_equal(f->counts.good, 0);
    fill(f, (struct span){s.text.p + s.at[2], s.text.n - s.at[2]});
    verify_fds(f, NULL, f->fd, 1);
    assert_said(f, "F 0: no seal can be checked");
    buf_done(&s.text);
}

/* One batch alone, which is not the first: its seal is vouched for by the state only. */
static void test_one_batch_alone(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    fill(f, (struct span){s.text.p + s.at[5], s.text.n - s.at[5]});
    verify(f);
    assert_said(f, "N 3: the first seal here is 5");
    assert_int_equal(f->counts.faults, 0);
    verify_fds(f, NULL, f->fd, 1);
    assert_said(f, "F 0: no seal can be checked");
    buf_done(&s.text);
}

/* Two processes, one of which has not heard of the rotation yet. */
static void test_written_while_rotated(void **state)
{
    static const bool younger[] = {false, false, true, false, true, true, false, true, true};
    struct files *f = *state;
    struct record_sealer *s = new_sealer(f);
    struct buf text[2];
    size_t at;

    buf_init(&text[0], 0);
    buf_init(&text[1], 0);
    for (size_t i = 0; i < ARRAY_LEN(younger); i++)
        seal_batch(s, "{\"id\":\"x\"}\n", &text[younger[i]], &at);
    record_sealer_free(s);
    fill(f, buf_span(&text[0]));
    assert_int_equal(write(f->fd[1], text[1].p, text[1].n), text[1].n);
    verify(f);
    assert_string_equal(buf_cstr(&f->said),
                        "N 2: seals from 2 on go before some of the file before: two processes "
                        "wrote while the files were rotated\n");
    assert_int_equal(f->counts.good, ARRAY_LEN(younger));
    assert_int_equal(f->counts.records, ARRAY_LEN(younger));
    /* Changed all the same. */
    text[1].p[7] = 'y';
    assert_int_equal(ftruncate(f->fd[1], 0), 0);
    assert_int_equal(write(f->fd[1], text[1].p, text[1].n), text[1].n);
    verify(f);
    assert_said(f, "F 2: what seal 2 covers was altered (lines 1 to 1), or the seal was");
    assert_int_equal(f->counts.faults, 1);
    buf_done(&text[0]);
    buf_done(&text[1]);
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

static void test_shrinking_file(void **state)
{
    struct files *f = *state;
    const struct record_verify_settings set = {
        .key = f->key, .steps_max = 10, .say = on_say, .arg = f};
    const struct record_verify_file files[] = {
        {"a", f->fd[0], 100},
        {"b", -1,       100},
    };
    const struct record_verify_file *file = NULL;
    struct record_verify *v;
    int errnum;

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(record_verify_new(&set, &files[i], 1, &v), OK);
        assert_int_equal(record_verify_next(v, &file, &f->counts, &errnum), ERR_IO);
        assert_ptr_equal(file, &files[i]);
        assert_int_equal(errnum, i ? EBADF : EIO);
        record_verify_free(v);
    }
    assert_int_equal(record_verify_new(&set, files, 0, &v), OK);
    assert_int_equal(record_verify_next(v, &file, &f->counts, &errnum), ERR_EOF);
    record_verify_free(v);
    record_verify_free(NULL);
    mem_fail_after(1);
    assert_int_equal(record_verify_new(&set, files, 2, &v), ERR_NOMEM);
    mem_fail_after(0);
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
        cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_octet_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_altered_mac_is_one_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repeated_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged_ahead_of_its_number, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_batch_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_written_while_rotated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_behind_half_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shrinking_file, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
