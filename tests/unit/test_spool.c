/* SPDX-License-Identifier: Apache-2.0 */
/* spool.c against real files: order, content, seals, limits, budgets, and leaving at any time. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#undef BLOCK_SIZE /* <sys/mount.h> has one, too: how long a sector was in 1992 */
#include "base/arena.h"
#include "net/spool.h"

#define TURNS_MAX   100000
#define PATTERN_LEN 1048573u /* a prime: repeats at no block boundary */

struct fixture {
    struct loop *loop;
    char dir[64];
    struct budget bytes, memory;
    struct spool_settings set;
    unsigned n_done, n_drained, n_written;
    enum err done_err;
    struct spool *free_me; /* in the next callback */
    uint64_t rng;
};

static unsigned char *pattern;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static unsigned char pattern_at(uint64_t off)
{
    return pattern[off % PATTERN_LEN];
}

static int group_setup(void **state)
{
    uint64_t rng = 88172645463325252u;

    (void)state;
    pattern = malloc(PATTERN_LEN);
    for (size_t i = 0; pattern && i < PATTERN_LEN; i++)
        pattern[i] = (unsigned char)(next_random(&rng) >> 32);
    return pattern ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    free(pattern);
    block_pool_trim(0);
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");

    assert_non_null(f);
    (void)snprintf(f->dir, sizeof f->dir, "%s/test_spool.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(loop_new(0, &clock_system, &f->loop), OK);
    budget_init(&f->bytes, 0);
    budget_init(&f->memory, 0);
    f->set = (struct spool_settings){
        .dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        .memory_max = 100000,
        .file_max = UINT64_C(1) << 40,
        .bytes = &f->bytes,
        .memory = &f->memory,
        .queue_max = 1 << 20,
    };
    assert_true(f->set.dir_fd >= 0);
    f->rng = 1234567;
    *state = f;
    return 0;
}

static unsigned dir_entries(int dir_fd)
{
    DIR *d = fdopendir(openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    unsigned n = 0;

    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

static void assert_nothing_left(struct fixture *f)
{
    assert_int_equal(budget_used(&f->bytes), 0);
    assert_int_equal(budget_used(&f->memory), 0);
    if (f->set.dir_fd >= 0)
        assert_int_equal(dir_entries(f->set.dir_fd), 0);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    loop_free(f->loop);
    assert_nothing_left(f);
    if (f->set.dir_fd >= 0)
        (void)close(f->set.dir_fd);
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

static void on_done(void *arg, enum err err)
{
    struct fixture *f = arg;

    f->n_done++;
    f->done_err = err;
    if (f->free_me)
        spool_free(f->free_me);
    f->free_me = NULL;
}

static void on_drained(void *arg)
{
    struct fixture *f = arg;

    f->n_drained++;
    if (f->free_me)
        spool_free(f->free_me);
    f->free_me = NULL;
}

static void on_written(void *arg)
{
    struct fixture *f = arg;

    f->n_written++;
    if (f->free_me)
        spool_free(f->free_me);
    f->free_me = NULL;
}

static struct spool *new_spool(struct fixture *f)
{
    struct spool *s = NULL;

    f->n_done = f->n_drained = f->n_written = 0;
    assert_int_equal(spool_new(f->loop, &f->set, &s), OK);
    return s;
}

/* The next |n| bytes of the pattern, each call from a block of its own. */
static enum err append(struct spool *s, uint32_t n)
{
    struct block *b = block_new();
    uint64_t at = spool_len(s);
    enum err e;

    if (!b)
        return ERR_NOMEM;
    assert_true(n <= BLOCK_SIZE);
    for (uint32_t i = 0; i < n; i++)
        b->data[i] = pattern_at(at + i);
    b->used = n;
    e = spool_append(s, (struct slice){b, 0, n});
    block_unref(b);
    return e;
}

static enum err append_all(struct spool *s, uint64_t n)
{
    while (n) {
        uint32_t now = n < BLOCK_SIZE ? (uint32_t)n : BLOCK_SIZE;

        TRY(append(s, now));
        n -= now;
    }
    return OK;
}

static void turn_until(struct fixture *f, const unsigned *counter, unsigned want)
{
    for (unsigned i = 0; *counter < want && i < TURNS_MAX; i++)
        (void)loop_turn(f->loop, true);
    assert_int_equal(*counter, want);
}

static void settle(struct fixture *f)
{
    for (unsigned i = 0; i < 20; i++)
        (void)loop_turn(f->loop, false);
}

static enum err finish(struct fixture *f, struct spool *s)
{
    f->n_done = 0;
    spool_finish(s, on_done, f);
    assert_int_equal(f->n_done, 0); /* never inside the call */
    turn_until(f, &f->n_done, 1);
    return f->done_err;
}

/* Reads from the offset that the descriptor has, to its end. */
static void assert_pattern(int fd, uint64_t len)
{
    unsigned char *chunk = malloc(1 << 20);
    uint64_t at = 0;
    ssize_t n;

    assert_non_null(chunk);
    while ((n = read(fd, chunk, 1 << 20)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (chunk[i] != pattern_at(at + (uint64_t)i))
                fail_msg("byte %llu differs", (unsigned long long)(at + (uint64_t)i));
        at += (uint64_t)n;
    }
    assert_int_equal(n, 0);
    assert_int_equal(at, len);
    free(chunk);
}

static void assert_content(struct spool *s, uint64_t len)
{
    int fd = spool_open_readonly(s);

    assert_true(fd >= 0);
    assert_pattern(fd, len);
    assert_true(write(fd, "x", 1) < 0);
    assert_true(errno == EPERM || errno == EBADF);
    assert_true(ftruncate(fd, (off_t)len + 1) != 0);
    assert_true(len == 0 || ftruncate(fd, 0) != 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    (void)close(fd);
}

/* ---- content, for sizes around the border between memory and file ---- */

static const struct size_row {
    const char *name;
    uint64_t memory_max, len;
    bool in_memory;
} size_rows[] = {
    {"an empty body is an empty memfd", 100000, 0,       true },
    {"an empty body without memory",    0,      0,       true },
    {"one byte",                        100000, 1,       true },
    {"one byte, no memory allowed",     0,      1,       false},
    {"all that memory may hold",        100000, 100000,  true },
    {"one more than memory may hold",   100000, 100001,  false},
    {"memory of one block",             65536,  65537,   false},
    {"several batches",                 100000, 9999999, false},
};

static void run_size_row(struct fixture *f, const struct size_row *row)
{
    struct spool *s;

    f->set.memory_max = row->memory_max;
    s = new_spool(f);
    assert_int_equal(append_all(s, row->len), OK);
    assert_int_equal(spool_len(s), row->len);
    assert_int_equal(spool_open_readonly(s), -1);
    assert_int_equal(finish(f, s), OK);
    assert_int_equal(spool_written(s), row->len);
    assert_int_equal(budget_used(&f->bytes), row->len);
    assert_int_equal(budget_used(&f->memory), row->in_memory ? (row->len + 4095) / 4096 * 4096 : 0);
    assert_content(s, row->len);
    assert_content(s, row->len); /* the second descriptor begins at 0 again */
    assert_int_equal(append(s, 1), ERR_BUG);
    spool_free(s);
    assert_nothing_left(f);
}

static void test_sizes(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(size_rows); i++) {
        print_message("  %s\n", size_rows[i].name);
        run_size_row(*state, &size_rows[i]);
    }
}

static void test_memfd_is_sealed(void **state)
{
    struct fixture *f = *state;
    struct spool *s = new_spool(f);
    int seals, fd;

    assert_int_equal(append(s, 5000), OK);
    assert_int_equal(finish(f, s), OK);
    fd = spool_open_readonly(s);
    seals = fcntl(fd, F_GET_SEALS);
    assert_true(seals >= 0);
    assert_int_equal(seals & (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL),
                     F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    spool_free(s);
    assert_pattern(fd, 5000); /* a descriptor outlives its spool */
    (void)close(fd);
}

static void test_hundred_megabytes_in_random_slices(void **state)
{
    struct fixture *f = *state;
    const uint64_t total = 100 << 20;
    struct spool *s = new_spool(f);
    unsigned waits = 0;

    for (uint64_t left = total; left;) {
        uint32_t n = 1 + (uint32_t)(next_random(&f->rng) % BLOCK_SIZE);

        if (n > left)
            n = (uint32_t)left;
        assert_int_equal(append(s, n), OK);
        left -= n;
        f->n_drained = 0;
        if (spool_is_behind(s, on_drained, f)) {
            assert_true(spool_len(s) - spool_written(s) > f->set.queue_max);
            turn_until(f, &f->n_drained, 1);
            assert_true(spool_len(s) - spool_written(s) <= f->set.queue_max / 2);
            waits++;
        }
        assert_true(spool_written(s) <= spool_len(s));
    }
    assert_true(waits > 10);
    assert_int_equal(finish(f, s), OK);
    assert_content(s, total);
    spool_free(s);
}

/* Many slices of one block, and blocks that go on being filled behind a slice. */
static void test_slices_share_a_block(void **state)
{
    struct fixture *f = *state;
    struct spool *s;
    struct block *b = block_new();
    uint32_t at = 0;

    assert_non_null(b);
    f->set.memory_max = 1000;
    s = new_spool(f);
    while (at < BLOCK_SIZE) {
        uint32_t n = 1 + (uint32_t)(next_random(&f->rng) % 700);

        if (n > BLOCK_SIZE - at)
            n = BLOCK_SIZE - at;
        for (uint32_t i = 0; i < n; i++)
            b->data[at + i] = pattern_at(at + i);
        assert_int_equal(spool_append(s, (struct slice){b, at, n}), OK);
        at += n;
        if (next_random(&f->rng) % 4 == 0)
            (void)loop_turn(f->loop, false);
    }
    block_unref(b);
    assert_int_equal(finish(f, s), OK);
    assert_content(s, BLOCK_SIZE);
    spool_free(s);
}

/* ---- limits and budgets ---- */

static const struct limit_row {
    const char *name;
    bool no_dir;
    uint64_t memory_max, file_max, bytes_max, memory_budget;
    uint64_t fits; /* this much is taken, one byte more is not */
    enum err err;
} limit_rows[] = {
    {"file_max in memory",            false, 100000, 50000,  0,      0,     50000,  ERR_LIMIT},
    {"file_max in the file",          false, 100000, 300000, 0,      0,     300000, ERR_LIMIT},
    {"no directory: memory_max",      true,  100000, 300000, 0,      0,     100000, ERR_LIMIT},
    {"no directory: memory budget",   true,  100000, 300000, 0,      65536, 65536,  ERR_NOMEM},
    {"bytes budget in memory",        false, 100000, 300000, 70000,  0,     70000,  ERR_FULL },
    {"bytes budget in the file",      false, 100000, 300000, 200000, 0,     200000, ERR_FULL },
    {"memory budget: goes to a file", false, 100000, 300000, 0,      65536, 300000, ERR_LIMIT},
};

static void run_limit_row(struct fixture *f, const struct limit_row *row)
{
    int dir_fd = f->set.dir_fd;
    struct spool *s;

    f->set.memory_max = row->memory_max;
    f->set.file_max = row->file_max;
    f->set.dir_fd = row->no_dir ? -1 : dir_fd;
    atomic_store(&f->bytes.max, row->bytes_max);
    atomic_store(&f->memory.max, row->memory_budget);
    s = new_spool(f);
    assert_int_equal(append_all(s, row->fits), OK);
    assert_int_equal(append(s, 1), row->err);
    atomic_store(&f->bytes.max, 0);
    atomic_store(&f->memory.max, 0);
    assert_int_equal(append(s, 1), row->err); /* sticky */
    assert_false(spool_is_behind(s, on_drained, f));
    assert_int_equal(finish(f, s), row->err);
    assert_int_equal(spool_open_readonly(s), -1);
    spool_free(s);
    f->set.dir_fd = dir_fd;
    assert_nothing_left(f);
}

static void test_limits(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(limit_rows); i++) {
        print_message("  %s\n", limit_rows[i].name);
        run_limit_row(*state, &limit_rows[i]);
    }
}

/* Appends until it fails, then looks at every way in which the failure shows. */
static void assert_fails_with(struct fixture *f, struct spool *s, enum err want)
{
    enum err e = OK;

    for (unsigned i = 0; !e && i < 1000; i++) {
        e = append(s, BLOCK_SIZE);
        if (!e && spool_is_behind(s, on_drained, f)) {
            f->n_drained = 0;
            turn_until(f, &f->n_drained, 1);
        }
    }
    assert_int_equal(e, want);
    assert_int_equal(finish(f, s), want);
    spool_free(s);
    assert_nothing_left(f);
}

/* The same with the directory of the settings, which is put back. */
static void assert_fails_with_dir(struct fixture *f, int dir_fd, enum err want)
{
    struct spool *s = new_spool(f);
    int bad = f->set.dir_fd;

    f->set.dir_fd = dir_fd;
    assert_fails_with(f, s, want);
    (void)close(bad);
}

static void test_reserve_is_kept(void **state)
{
    struct fixture *f = *state;

    f->set.reserve = UINT64_MAX - 1000;
    assert_fails_with(f, new_spool(f), ERR_FULL);
}

static void test_directory_is_none(void **state)
{
    struct fixture *f = *state;
    int dir_fd = f->set.dir_fd;

    f->set.dir_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_fails_with_dir(f, dir_fd, ERR_IO);
}

/* A file system of 4 MiB, in a mount namespace that this test makes for itself. */
static void test_full_disk(void **state)
{
    struct fixture *f = *state;
    int dir_fd = f->set.dir_fd;

    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", f->dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,mode=700") != 0) {
        print_message("  cannot mount a tmpfs here: %s\n", strerror(errno));
        skip();
    }
    f->set.dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f->set.dir_fd >= 0);
    assert_fails_with(f, new_spool(f), ERR_FULL);

    /* Room is back at once, and a reserve is kept on this small file system. */
    struct spool *s = new_spool(f);
    assert_int_equal(append_all(s, 3 << 20), OK);
    assert_int_equal(finish(f, s), OK);
    assert_content(s, 3 << 20);
    spool_free(s);
    f->set.reserve = 2 << 20;
    s = new_spool(f);
    assert_int_equal(append_all(s, 1 << 20), OK);
    assert_int_equal(finish(f, s), OK);
    spool_free(s);
    assert_fails_with(f, new_spool(f), ERR_FULL);

    (void)close(f->set.dir_fd);
    f->set.dir_fd = dir_fd;
    assert_int_equal(umount2(f->dir, MNT_DETACH), 0);
}

/* ---- references ---- */

static void test_reference_outlives_the_spool(void **state)
{
    struct fixture *f = *state;

    for (unsigned in_file = 0; in_file < 2; in_file++) {
        const uint64_t len = in_file ? 12 << 20 : 20000; /* large enough to be closed in the pool */
        struct spool *s = new_spool(f);
        struct file_ref *ref;

        assert_null(spool_file(s));
        assert_int_equal(append_all(s, len), OK);
        assert_int_equal(finish(f, s), OK);
        ref = spool_file(s);
        assert_non_null(ref);
        spool_free(s);
        assert_int_equal(budget_used(&f->bytes), len);
        assert_int_equal(lseek(ref->fd, 0, SEEK_SET), 0);
        assert_pattern(ref->fd, len);
        file_unref(ref);
        assert_nothing_left(f);
    }
}

/* What was readable in the memfd stays readable through a reference made before the bytes moved. */
static void test_reference_from_before_the_move(void **state)
{
    struct fixture *f = *state;
    struct spool *s = new_spool(f);
    struct file_ref *ref;

    assert_int_equal(append(s, 60000), OK);
    assert_int_equal(spool_written(s), 60000);
    ref = spool_file(s);
    assert_int_equal(append_all(s, 200000), OK);
    assert_int_equal(finish(f, s), OK);
    assert_content(s, 260000);
    assert_int_equal(lseek(ref->fd, 0, SEEK_SET), 0);
    assert_pattern(ref->fd, 60000);
    assert_int_equal(budget_used(&f->memory), 61440);
    spool_free(s);
    file_unref(ref);
    assert_nothing_left(f);
}

static void test_reference_to_an_unfinished_file(void **state)
{
    struct fixture *f = *state;
    struct spool *s = new_spool(f);
    struct file_ref *ref;
    uint64_t written;

    assert_int_equal(append_all(s, 4 << 20), OK);
    while (spool_written(s) <= f->set.memory_max)
        (void)loop_turn(f->loop, true);
    written = spool_written(s);
    ref = spool_file(s);
    spool_free(s);
    while (loop_turn(f->loop, false))
        ;
    assert_true(budget_used(&f->bytes) >= written);
    assert_true(budget_used(&f->bytes) <= 4 << 20);
    file_unref(ref);
    assert_nothing_left(f);
}

/* Whoever takes bytes while others are still appended hears of each batch, and of a failure. */
static void test_progress_is_told(void **state)
{
    struct fixture *f = *state;
    struct spool *s = new_spool(f);
    uint64_t before = 0;

    spool_on_written(s, on_written, f);
    assert_int_equal(append(s, 50000), OK); /* into the memfd: there already, not told */
    assert_int_equal(spool_written(s), 50000);
    settle(f);
    assert_int_equal(f->n_written, 0);
    for (unsigned i = 1; i <= 5; i++) {
        assert_int_equal(append(s, 60000), OK);
        assert_int_equal(f->n_written, i - 1); /* never inside the call */
        turn_until(f, &f->n_written, i);
        assert_true(spool_written(s) > before);
        before = spool_written(s);
    }
    spool_free(s);

    f->set.reserve = UINT64_MAX - 1000;
    s = new_spool(f);
    spool_on_written(s, on_written, f);
    assert_int_equal(append_all(s, 200000), OK);
    turn_until(f, &f->n_written, 1);
    assert_int_equal(append(s, 1), ERR_FULL);
    spool_free(s);
}

/* ---- leaving at any time ---- */

enum { STEP_TURN_MAX = 6 };

/* One life, cut off after |steps| steps. */
static void life(struct fixture *f, unsigned steps, bool turn)
{
    struct spool *s = new_spool(f);
    unsigned i = 0;

    for (; i < steps && i < 6; i++) {
        assert_int_equal(append(s, 50000), OK);
        if (turn)
            (void)loop_turn(f->loop, false);
    }
    (void)spool_is_behind(s, on_drained, f);
    if (i++ < steps)
        spool_finish(s, on_done, f);
    for (; i < steps; i++)
        (void)loop_turn(f->loop, false);
    f->n_done = f->n_drained = 0;
    spool_free(s);
    while (loop_turn(f->loop, false))
        ;
    assert_int_equal(f->n_done + f->n_drained, 0); /* no callback after it */
    assert_nothing_left(f);
}

static void test_free_in_every_state(void **state)
{
    struct fixture *f = *state;

    f->set.queue_max = 60000;
    spool_free(NULL);
    for (unsigned steps = 0; steps < 6 + 1 + STEP_TURN_MAX; steps++) {
        life(f, steps, false);
        life(f, steps, true);
    }
}

static void test_free_in_the_callbacks(void **state)
{
    struct fixture *f = *state;

    for (unsigned in_file = 0; in_file < 2; in_file++) {
        struct spool *s = new_spool(f);

        assert_int_equal(append_all(s, in_file ? 200000 : 1000), OK);
        f->free_me = s;
        spool_finish(s, on_done, f);
        turn_until(f, &f->n_done, 1);
        assert_nothing_left(f);
    }
    f->set.queue_max = 0;
    struct spool *s = new_spool(f);

    assert_int_equal(append_all(s, 200000), OK);
    spool_on_written(s, on_written, f);
    assert_true(spool_is_behind(s, on_drained, f));
    f->free_me = s;
    turn_until(f, &f->n_written, 1);
    settle(f);
    assert_int_equal(f->n_drained, 0);

    s = new_spool(f);
    assert_int_equal(append_all(s, 200000), OK);
    assert_true(spool_is_behind(s, on_drained, f));
    f->free_me = s;
    spool_finish(s, on_done, f);
    turn_until(f, &f->n_drained, 1);
    while (loop_turn(f->loop, false))
        ;
    assert_int_equal(f->n_done, 0);
}

/* ---- failing allocations ---- */

/* A whole life in which the |n|-th allocation fails. True when there was none to fail any more. */
static bool life_without_memory(struct fixture *f, unsigned n)
{
    struct spool *s = NULL;
    enum err e;

    mem_fail_after(n);
    f->n_done = 0;
    e = spool_new(f->loop, &f->set, &s);
    for (unsigned i = 0; !e && i < 20; i++)
        e = append(s, 30000);
    if (s) {
        enum err done = finish(f, s);

        assert_true(e == OK || done == e || done == OK); /* OK: the test's own block failed */
        if (!e && !done)
            assert_content(s, 600000);
    }
    mem_fail_after(0);
    assert_true(e == OK || e == ERR_NOMEM);
    spool_free(s);
    while (loop_turn(f->loop, false))
        ;
    assert_nothing_left(f);
    return e == OK;
}

static void test_failing_allocations(void **state)
{
    unsigned n = 1;

    while (!life_without_memory(*state, n) && n < 1000)
        n++;
    assert_in_range(n, 5, 999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memfd_is_sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hundred_megabytes_in_random_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slices_share_a_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reserve_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directory_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reference_outlives_the_spool, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reference_from_before_the_move, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reference_to_an_unfinished_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_progress_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_in_every_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_in_the_callbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failing_allocations, setup, teardown),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
