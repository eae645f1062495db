/* SPDX-License-Identifier: Apache-2.0 */
/* adapt/body.h: what goes in at the end comes out at the front, wherever it lies in between. */
#include "test_net.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "adapt/body.h"
#include "base/arena.h"

#define PATTERN_LEN 1048573u /* a prime: repeats at no block boundary */

struct fixture {
    struct loop *loop;
    char dir[64];
    struct budget bytes, memory, blocks;
    struct spool_settings spool;
    struct body_settings set;
    struct body *body;
    unsigned n_progress;
    bool in_call, inside;
    /* body_file() */
    unsigned n_files;
    int fd;
    enum err err;
    bool free_in_callback;
    uint64_t rng, offset; /* of what comes out next */
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

static void on_progress(void *arg)
{
    struct fixture *f = arg;

    f->n_progress++;
    f->inside |= f->in_call;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");

    assert_non_null(f);
    (void)snprintf(f->dir, sizeof f->dir, "%s/test_body.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    f->loop = test_loop(&clock_system);
    budget_init(&f->bytes, 0);
    budget_init(&f->memory, 0);
    budget_init(&f->blocks, 0);
    block_set_budget(&f->blocks);
    f->spool = (struct spool_settings){
        .dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        .memory_max = 300000,
        .bytes = &f->bytes,
        .memory = &f->memory,
        .queue_max = 1 << 20,
    };
    f->set = (struct body_settings){.loop = f->loop,
                                    .spool = &f->spool,
                                    .memory_max = 100000,
                                    .digest = true,
                                    .progress = on_progress,
                                    .arg = f};
    f->fd = -1;
    f->rng = 1234567;
    *state = f;
    return 0;
}

/* Everything is given back, whatever happened. */
static int teardown(void **state)
{
    struct fixture *f = *state;

    body_free(f->body);
    test_settle(f->loop);
    if (f->fd >= 0)
        (void)close(f->fd);
    loop_free(f->loop);
    assert_int_equal(budget_used(&f->bytes), 0);
    assert_int_equal(budget_used(&f->memory), 0);
    assert_int_equal(budget_used(&f->blocks), 0);
    block_set_budget(NULL);
    (void)close(f->spool.dir_fd);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static void start(struct fixture *f)
{
    assert_int_equal(body_new(&f->set, &f->body), OK);
}

/* Appends the next |n| bytes of the pattern as one slice. */
static enum err append(struct fixture *f, uint32_t n)
{
    struct block *b = block_new();
    uint64_t off = body_len(f->body);
    enum err e;

    assert_non_null(b);
    assert_true(n <= BLOCK_SIZE);
    for (uint32_t i = 0; i < n; i++)
        b->data[i] = pattern_at(off + i);
    b->used = n;
    f->in_call = true;
    e = body_append(f->body, (struct slice){b, 0, n});
    f->in_call = false;
    block_unref(b);
    return e;
}

static void append_all(struct fixture *f, uint64_t n)
{
    while (n > 0) {
        uint32_t piece = n < 50000 ? (uint32_t)n : 50000;

        assert_int_equal(append(f, piece), OK);
        n -= piece;
    }
}

static void assert_bytes(const unsigned char *p, size_t n, uint64_t off)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != pattern_at(off + i))
            fail_msg("byte %llu is wrong", (unsigned long long)(off + i));
}

static void assert_file_bytes(int fd, uint64_t off, uint64_t n, uint64_t pattern_off)
{
    unsigned char piece[8192];

    while (n > 0) {
        size_t want = n < sizeof piece ? (size_t)n : sizeof piece;

        assert_int_equal(pread(fd, piece, want, (off_t)off), (ssize_t)want);
        assert_bytes(piece, want, pattern_off);
        off += want;
        pattern_off += want;
        n -= want;
    }
}

/* Takes at most |max| bytes and looks at them. Returns how many came. */
static uint64_t take(struct fixture *f, uint64_t max)
{
    uint64_t off = body_taken(f->body);
    struct segment s;
    uint64_t n;

    f->in_call = true;
    bool is = body_take(f->body, max, &s);

    f->in_call = false;
    if (!is)
        return 0;
    n = segment_len(&s);
    assert_true(n > 0 && n <= max);
    assert_int_equal(body_taken(f->body), off + n);
    if (s.kind == SEGMENT_SLICE) {
        assert_bytes((const unsigned char *)slice_span(s.slice).p, s.slice.len, off);
        block_unref(s.slice.block);
    } else {
        assert_int_equal(s.kind, SEGMENT_FILE);
        assert_file_bytes(s.file.ref->fd, s.file.off, n, off);
        file_unref(s.file.ref);
    }
    return n;
}

static void take_all(struct fixture *f)
{
    while (body_taken(f->body) < body_len(f->body))
        if (!take(f, 70001))
            TURN_UNTIL(f->loop, take(f, 1));
}

static void on_file(void *arg, int fd, enum err err)
{
    struct fixture *f = arg;

    f->n_files++;
    f->inside |= f->in_call;
    f->fd = fd;
    f->err = err;
    if (f->free_in_callback) {
        body_free(f->body);
        f->body = NULL;
    }
}

static void ask_for_file(struct fixture *f)
{
    f->in_call = true;
    body_file(f->body, on_file, f);
    f->in_call = false;
    assert_int_equal(f->n_files, 0);
}

static void get_file(struct fixture *f)
{
    ask_for_file(f);
    TURN_UNTIL(f->loop, f->n_files);
    assert_int_equal(f->n_files, 1);
    assert_false(f->inside);
}

/* ---- the queue ---- */

static void test_empty(void **state)
{
    struct fixture *f = *state;
    struct segment s;

    start(f);
    assert_false(body_take(f->body, 10, &s));
    assert_int_equal(append(f, 0), OK);
    assert_int_equal(body_len(f->body), 0);
    assert_false(body_is_behind(f->body));
    get_file(f);
    assert_int_equal(f->err, OK);
    assert_int_equal(lseek(f->fd, 0, SEEK_END), 0);
}

static void test_memory_only(void **state)
{
    struct fixture *f = *state;

    start(f);
    append_all(f, 100000);
    assert_int_equal(budget_used(&f->bytes), 0);
    assert_int_equal(take(f, 7), 7);
    take_all(f);
    append_all(f, 90000);
    take_all(f);
    assert_int_equal(budget_used(&f->bytes), 0);
    assert_int_equal(f->n_progress, 0);
}

static void test_memory_spool_memory(void **state)
{
    struct fixture *f = *state;

    start(f);
    append_all(f, 60000);
    assert_int_equal(take(f, 1000), 1000);
    append_all(f, 150000); /* more than memory has: a spool in a memfd */
    assert_int_equal(budget_used(&f->bytes), 209000);
    append_all(f, 400000); /* a file */
    take_all(f);
    assert_int_equal(body_taken(f->body), 610000);
    test_settle(f->loop);
    /* Out again: the disk is free, and what comes now is in memory. */
    TURN_UNTIL(f->loop, budget_used(&f->bytes) == 0);
    append_all(f, 50000);
    assert_int_equal(budget_used(&f->bytes), 0);
    take_all(f);
    append_all(f, 500000);
    take_all(f);
    assert_false(f->inside);
}

static void test_progress_tells_of_bytes_on_the_disk(void **state)
{
    struct fixture *f = *state;

    f->set.memory_max = 0;
    f->spool.memory_max = 0;
    start(f);
    append_all(f, 50000);
    assert_int_equal(take(f, 100000), 0);
    TURN_UNTIL(f->loop, f->n_progress);
    assert_int_equal(take(f, 100000), 50000);
    assert_false(f->inside);
}

static void test_short_memory_sends_bodies_to_the_disk(void **state)
{
    struct fixture *f = *state;

    budget_init(&f->memory, 1000000);
    assert_true(budget_take(&f->memory, 800000));
    start(f);
    append_all(f, 1000);
    assert_int_equal(budget_used(&f->bytes), 1000);
    take_all(f);
    budget_give(&f->memory, 800000);
}

/* A peer that sends a byte at a time, each in a block of its own. */
static void test_dribble_does_not_hold_blocks(void **state)
{
    struct fixture *f = *state;

    start(f);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(append(f, 13), OK);
    assert_in_range(budget_used(&f->blocks), 65000, 3 * BLOCK_SIZE);
    take_all(f);
    /* In the spool, too. */
    f->spool.memory_max = 0;
    append_all(f, 120000);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(append(f, 13), OK);
    assert_in_range(budget_used(&f->blocks), 0, 8 * BLOCK_SIZE);
    take_all(f);
}

static void test_behind_until_drained(void **state)
{
    struct fixture *f = *state;

    f->set.memory_max = 0;
    f->spool.memory_max = 0;
    f->spool.queue_max = 100000;
    start(f);
    assert_false(body_is_behind(f->body));
    append_all(f, 150000);
    assert_true(body_is_behind(f->body));
    assert_true(body_is_behind(f->body));
    unsigned before = f->n_progress;

    TURN_UNTIL(f->loop, !body_is_behind(f->body));
    assert_true(f->n_progress > before);
    assert_false(f->inside);
    take_all(f);
}

/* Against the flat model: whatever is appended and taken in whatever pieces, the bytes and their
 * order are the pattern's. */
static void test_random(void **state)
{
    struct fixture *f = *state;

    f->set.memory_max = 30000;
    f->spool.memory_max = 100000;
    f->spool.queue_max = 200000;
    for (unsigned round = 0; round < 12; round++) {
        start(f);
        while (body_len(f->body) < 2000000) {
            uint64_t r = next_random(&f->rng);

            switch (r % 8) {
            case 0:
            case 1:
            case 2: assert_int_equal(append(f, (uint32_t)(r >> 8) % (BLOCK_SIZE + 1)), OK); break;
            case 3: assert_int_equal(append(f, (uint32_t)(r >> 8) % 100), OK); break;
            case 4: (void)take(f, (r >> 8) % 100 + 1); break;
            case 5: (void)take(f, (r >> 8) % 500000 + 1); break;
            case 6: (void)loop_turn(f->loop, false); break;
            case 7:
                if (body_is_behind(f->body))
                    TURN_UNTIL(f->loop, !body_is_behind(f->body));
                else if (r >> 8 & 1)
                    take_all(f);
                break;
            }
        }
        if (round % 2)
            take_all(f);
        body_free(f->body);
        f->body = NULL;
    }
    assert_false(f->inside);
}

/* ---- the file ---- */

static void assert_sealed(const struct fixture *f)
{
    assert_int_equal(f->err, OK);
    assert_true(f->fd >= 0);
    assert_int_equal(lseek(f->fd, 0, SEEK_CUR), 0);
    assert_int_equal(write(f->fd, "x", 1), -1);
    assert_int_not_equal(ftruncate(f->fd, 1), 0);
    assert_true(fcntl(f->fd, F_GETFD) & FD_CLOEXEC);
    assert_file_bytes(f->fd, 0, body_len(f->body), 0);
    assert_int_equal(lseek(f->fd, 0, SEEK_END), (off_t)body_len(f->body));
}

static void test_file_from_memory(void **state)
{
    struct fixture *f = *state;

    start(f);
    append_all(f, 99999);
    get_file(f);
    assert_sealed(f);
    /* The copy is paid for, as long as the body lives. */
    assert_int_equal(budget_used(&f->memory), 102400);
    take_all(f);
}

static void test_file_from_memfd_and_disk(void **state)
{
    struct fixture *f = *state;
    const uint64_t sizes[] = {200000, 1500000};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        start(f);
        append_all(f, sizes[i]);
        get_file(f);
        assert_sealed(f);
        take_all(f);
        body_free(f->body);
        f->body = NULL;
        /* It outlives the body. */
        assert_file_bytes(f->fd, 0, sizes[i], 0);
        (void)close(f->fd);
        f->fd = -1;
        f->n_files = 0;
    }
}

static void test_file_without_memory_goes_to_the_disk(void **state)
{
    struct fixture *f = *state;

    start(f);
    append_all(f, 90000);
    budget_init(&f->memory, 1000);
    get_file(f);
    assert_sealed(f);
    assert_int_equal(budget_used(&f->memory), 0);
    assert_int_equal(budget_used(&f->bytes), 90000);
    take_all(f);
}

/* Where it lies does not matter: in memory, in a memfd, on the disk. */
static void test_file_again(void **state)
{
    struct fixture *f = *state;
    const uint64_t sizes[] = {90000, 200000, 1500000};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        f->n_files = 0;
        start(f);
        append_all(f, sizes[i]);
        get_file(f);
        int first = f->fd;

        f->n_files = 0;
        get_file(f);
        assert_int_not_equal(f->fd, first);
        assert_sealed(f);
        assert_file_bytes(first, 0, sizes[i], 0);
        (void)close(first);
        (void)close(f->fd);
        f->fd = -1;
        take_all(f);
        body_free(f->body);
        f->body = NULL;
    }
}

static void allow_descriptors(rlim_t n)
{
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
    r.rlim_cur = n < r.rlim_max ? n : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
}

/* What was not copied is not paid for, and whoever asks again gets it. */
static void test_file_without_descriptors(void **state)
{
    struct fixture *f = *state;
    struct rlimit before;

    start(f);
    append_all(f, 90000);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    allow_descriptors(0);
    get_file(f);
    allow_descriptors(before.rlim_cur);
    assert_int_not_equal(f->err, OK);
    assert_int_equal(f->fd, -1);
    assert_int_equal(body_error(f->body), OK);
    assert_int_equal(budget_used(&f->memory), 0);
    f->n_files = 0;
    get_file(f);
    assert_sealed(f);
    assert_int_equal(budget_used(&f->memory), 90112);
}

static void test_free_while_the_file_is_pending(void **state)
{
    struct fixture *f = *state;
    const uint64_t sizes[] = {100, 200000, 1500000};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        start(f);
        append_all(f, sizes[i]);
        ask_for_file(f);
        body_free(f->body);
        f->body = NULL;
        test_settle(f->loop);
        TURN_UNTIL(f->loop, budget_used(&f->bytes) == 0);
        assert_int_equal(f->n_files, 0);
    }
}

static void test_free_inside_the_callback(void **state)
{
    struct fixture *f = *state;
    const uint64_t sizes[] = {100, 200000, 1500000};

    f->free_in_callback = true;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        f->n_files = 0;
        start(f);
        append_all(f, sizes[i]);
        get_file(f);
        assert_int_equal(f->err, OK);
        assert_null(f->body);
        (void)close(f->fd);
        f->fd = -1;
        test_settle(f->loop);
    }
}

static void test_free_while_bytes_are_on_their_way(void **state)
{
    struct fixture *f = *state;

    f->set.memory_max = 0;
    f->spool.memory_max = 0;
    f->spool.queue_max = 1000;
    start(f);
    append_all(f, 500000);
    assert_true(body_is_behind(f->body));
    body_free(f->body);
    f->body = NULL;
    TURN_UNTIL(f->loop, budget_used(&f->bytes) == 0);
    assert_int_equal(f->n_progress, 0);
}

/* ---- digest ---- */

static void test_digest(void **state)
{
    struct fixture *f = *state;
    char hex[BODY_SHA256_HEX + 1];

    start(f);
    body_sha256(f->body, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    body_free(f->body);
    start(f);
    append_all(f, 700000);
    body_sha256(f->body, hex);
    unsigned char sum[32], *flat = malloc(700000);

    assert_non_null(flat);
    for (size_t i = 0; i < 700000; i++)
        flat[i] = pattern_at(i);
    assert_int_equal(EVP_Digest(flat, 700000, sum, NULL, EVP_sha256(), NULL), 1);
    free(flat);
    for (unsigned i = 0; i < 32; i++) {
        char two[3];

        (void)snprintf(two, sizeof two, "%02x", sum[i]);
        assert_memory_equal(hex + 2 * (size_t)i, two, 2);
    }
    body_free(f->body);
    f->set.digest = false;
    start(f);
    append_all(f, 10);
    body_sha256(f->body, hex);
    assert_string_equal(hex, "");
}

/* ---- errors ---- */

static void test_errors_are_sticky(void **state)
{
    struct fixture *f = *state;

    budget_init(&f->bytes, 150000);
    start(f);
    append_all(f, 100000);
    assert_int_equal(append(f, 60000), ERR_FULL);
    assert_int_equal(body_error(f->body), ERR_FULL);
    assert_int_equal(append(f, 1), ERR_FULL);
    assert_int_equal(body_len(f->body), 100000);
    assert_false(body_is_behind(f->body));
    get_file(f);
    assert_int_equal(f->err, ERR_FULL);
    assert_int_equal(f->fd, -1);
}

static void test_spool_limits(void **state)
{
    struct fixture *f = *state;

    f->spool.file_max = 200000;
    start(f);
    append_all(f, 200000);
    assert_int_equal(append(f, 1), ERR_LIMIT);
    body_free(f->body);
    (void)close(f->spool.dir_fd);
    f->spool.dir_fd = -1;
    f->spool.memory_max = 120000;
    start(f);
    append_all(f, 110000);
    assert_int_equal(append(f, 20000), ERR_LIMIT);
}

/* The disk says no only while it writes: the file must say so. */
static void test_a_write_that_fails(void **state)
{
    struct fixture *f = *state;

    f->spool.memory_max = 0;
    f->set.memory_max = 0;
    f->spool.reserve = UINT64_C(1) << 60; /* no file system has that much free */
    start(f);
    assert_int_equal(append(f, 1000), OK);
    get_file(f);
    assert_int_equal(f->err, ERR_FULL);
    assert_int_equal(body_error(f->body), ERR_FULL);
    body_free(f->body);
    f->n_files = 0;
    /* Without asking for the file: progress tells, the next append says why. */
    start(f);
    f->n_progress = 0;
    assert_int_equal(append(f, 1000), OK);
    TURN_UNTIL(f->loop, f->n_progress);
    assert_int_equal(append(f, 1), ERR_FULL);
    assert_int_equal(take(f, 10), 0);
}

/* A reader that waits for bytes that will never be readable has to hear of it. */
static void test_a_write_that_fails_is_an_error_of_the_body(void **state)
{
    struct fixture *f = *state;

    f->spool.memory_max = 0;
    f->set.memory_max = 0;
    f->spool.reserve = UINT64_C(1) << 60;
    start(f);
    assert_int_equal(append(f, 1000), OK);
    TURN_UNTIL(f->loop, f->n_progress);
    assert_int_equal(take(f, 10), 0);
    assert_int_equal(body_error(f->body), ERR_FULL);
}

static void test_no_memory(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 1; i < 12; i++) {
        enum err e = OK;

        start(f);
        for (unsigned k = 0; k < 10 && e == OK; k++) {
            struct block *b = block_new();

            b->used = 40000;
            memset(b->data, 'x', b->used);
            mem_fail_after(i);
            e = body_append(f->body, (struct slice){b, 0, b->used});
            mem_fail_after(0);
            block_unref(b);
        }
        assert_true(e == OK || e == ERR_NOMEM);
        body_free(f->body);
        f->body = NULL;
        TURN_UNTIL(f->loop, budget_used(&f->bytes) == 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_empty),
        TEST(test_memory_only),
        TEST(test_memory_spool_memory),
        TEST(test_progress_tells_of_bytes_on_the_disk),
        TEST(test_short_memory_sends_bodies_to_the_disk),
        TEST(test_dribble_does_not_hold_blocks),
        TEST(test_behind_until_drained),
        TEST(test_random),
        TEST(test_file_from_memory),
        TEST(test_file_from_memfd_and_disk),
        TEST(test_file_without_memory_goes_to_the_disk),
        TEST(test_file_again),
        TEST(test_file_without_descriptors),
        TEST(test_free_while_the_file_is_pending),
        TEST(test_free_inside_the_callback),
        TEST(test_free_while_bytes_are_on_their_way),
        TEST(test_digest),
        TEST(test_errors_are_sticky),
        TEST(test_spool_limits),
        TEST(test_a_write_that_fails),
        TEST(test_a_write_that_fails_is_an_error_of_the_body),
        TEST(test_no_memory),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
