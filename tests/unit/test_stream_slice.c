/* SPDX-License-Identifier: Apache-2.0 */
/* stream_read_slice() of net/stream.h: where what comes is put, and what there is without memory.
 */
#include "test_net.h"

#include <sys/socket.h>

#include "net/stream.h"

struct fixture {
    struct loop *loop;
    struct stream *stream;
    struct budget memory;
    int peer;
};

static void on_stream(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
}

static int setup(void **state)
{
    static struct fixture f;
    struct address nobody = {0};
    int fds[2];

    f.loop = test_loop(&clock_system);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(stream_new(f.loop, fds[0], &nobody, on_stream, NULL, &f.stream), OK);
    f.peer = fds[1];
    budget_init(&f.memory, 1600);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->peer >= 0)
        (void)close(f->peer);
    stream_close(f->stream, 0);
    loop_free(f->loop);
    return 0;
}

static void say(struct fixture *f, struct span text)
{
    assert_int_equal(write(f->peer, text.p, text.n), (ssize_t)text.n);
    test_settle(f->loop);
}

static void fill(struct fixture *f, uint64_t to)
{
    budget_give(&f->memory, budget_used(&f->memory));
    assert_true(budget_take(&f->memory, to));
}

static void drop(struct slice *s)
{
    block_unref(s->block);
    *s = (struct slice){0};
}

/* The last sixteenth is not for what comes. */
static void test_without_memory(void **state)
{
    struct fixture *f = *state;
    struct slice left = {0};
    uint32_t n = 77;

    fill(f, 1501);
    assert_int_equal(stream_read_slice(f->stream, &f->memory, &left, &n), ERR_AGAIN);
    say(f, SPAN("a question"));
    assert_int_equal(stream_read_slice(f->stream, &f->memory, &left, &n), ERR_BUSY);
    assert_null(left.block);
    assert_int_equal(n, 77);
    fill(f, 1500);
    assert_int_equal(stream_read_slice(f->stream, &f->memory, &left, &n), OK);
    assert_int_equal(n, 10);
    assert_true(span_eq(slice_span(left), SPAN("a question")));
    drop(&left);
}

/* What waits already has its memory. */
static void test_behind_what_waits(void **state)
{
    struct fixture *f = *state;
    struct slice left = {0};
    uint32_t n = 0;

    say(f, SPAN("a question"));
    assert_int_equal(stream_read_slice(f->stream, NULL, &left, &n), OK);
    left = slice_sub(left, 2, 8);
    fill(f, 1600);
    say(f, SPAN(" and more"));
    assert_int_equal(stream_read_slice(f->stream, &f->memory, &left, &n), OK);
    assert_int_equal(n, 9);
    assert_true(span_eq(slice_span(left), SPAN("question and more")));
    assert_int_equal(left.block->refs, 1);
    assert_int_equal(stream_read_slice(f->stream, &f->memory, &left, &n), ERR_AGAIN);
    assert_int_equal(left.len, 17);
    drop(&left);
}

/* Who has gone gives memory back, so that it is told with and without. */
static void test_the_end(void **state)
{
    struct fixture *f = *state;
    struct slice left = {0};
    uint32_t n = 0;

    (void)close(f->peer);
    f->peer = -1;
    test_settle(f->loop);
    fill(f, 1600);
    assert_int_equal(stream_read_slice(f->stream, &f->memory, &left, &n), ERR_EOF);
    assert_int_equal(stream_read_slice(f->stream, NULL, &left, &n), ERR_EOF);
    assert_null(left.block);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_memory),
        TEST(test_behind_what_waits),
        TEST(test_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
