/* SPDX-License-Identifier: Apache-2.0 */
/* Edges: news is told once, whatever is done about it. */
#include "test_net.h"

#include <errno.h>

#include "net/edge.h"

struct told {
    struct edge edge;
    unsigned calls, events; /* since the last look */
    int fd;
};

static struct loop *the_loop;

static void on_edge(struct edge *e, unsigned events)
{
    struct told *t = CONTAINER_OF(e, struct told, edge);

    t->calls++;
    t->events |= events;
}

static unsigned look(struct told *t)
{
    unsigned events;

    test_settle(the_loop);
    events = t->events;
    t->events = 0;
    return events;
}

static int open_pair(void **state)
{
    static struct told t[2];
    int fds[2];

    the_loop = test_loop(&clock_system);
    test_tcp_pair(fds);
    for (unsigned i = 0; i < 2; i++) {
        t[i] = (struct told){.edge.fn = on_edge, .fd = fds[i]};
        assert_int_equal(edge_add(the_loop, fds[i], &t[i].edge), OK);
    }
    *state = t;
    return 0;
}

static int close_pair(void **state)
{
    struct told *t = *state;

    for (unsigned i = 0; i < 2; i++) {
        edge_close(the_loop, t[i].fd);
    }
    assert_false(loop_turn(the_loop, true)); /* nothing left, and it does not hang */
    loop_free(the_loop);
    return 0;
}

static void what_is_unread_is_told_once(void **state)
{
    struct told *t = *state;
    char bytes[8];

    assert_int_equal(look(&t[0]), EDGE_WRITE); /* so it is from the beginning */
    assert_int_equal(look(&t[0]), 0);
    assert_int_equal(write(t[1].fd, "abc", 3), 3);
    assert_true(look(&t[0]) & EDGE_READ);
    assert_int_equal(look(&t[0]), 0); /* still there, but no news */
    assert_int_equal(write(t[1].fd, "d", 1), 1);
    assert_true(look(&t[0]) & EDGE_READ);
    assert_int_equal(read(t[0].fd, bytes, sizeof bytes), 4);
    assert_int_equal(look(&t[0]), 0);
    assert_true(look(&t[1]) & EDGE_WRITE);
}

static void room_after_a_full_buffer_is_news(void **state)
{
    struct told *t = *state;
    static char bytes[1 << 16];
    ssize_t sent = 0, n;

    (void)look(&t[0]);
    while ((n = write(t[0].fd, bytes, sizeof bytes)) > 0)
        sent += n;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(look(&t[0]), 0);
    while (sent > 0) {
        n = read(t[1].fd, bytes, sizeof bytes);
        if (n > 0)
            sent -= n;
        else
            (void)loop_turn(the_loop, false);
    }
    assert_int_equal(look(&t[0]), EDGE_WRITE);
}

static void the_end_is_told_with_everything(void **state)
{
    struct told *t = *state;

    (void)look(&t[0]);
    assert_int_equal(write(t[1].fd, "x", 1), 1);
    assert_int_equal(shutdown(t[1].fd, SHUT_WR), 0);
    assert_int_equal(look(&t[0]), EDGE_READ | EDGE_WRITE | EDGE_SHORT);
    assert_int_equal(look(&t[0]), 0);
}

/* More of them than one look fetches. */
static void many_at_once(void **state)
{
    enum { N = 700 };
    static struct told t[N];
    int other[N];

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        t[i] = (struct told){.edge.fn = on_edge, .fd = fds[0]};
        other[i] = fds[1];
        assert_int_equal(edge_add(the_loop, fds[0], &t[i].edge), OK);
    }
    test_settle(the_loop);
    for (unsigned i = 0; i < N; i++) {
        t[i].calls = t[i].events = 0;
        assert_int_equal(write(other[i], "x", 1), 1);
    }
    test_settle(the_loop);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(t[i].calls, 1);
        assert_true(t[i].events & EDGE_READ);
        edge_close(the_loop, t[i].fd);
        (void)close(other[i]);
    }
}

static void a_file_has_no_edges(void **state)
{
    struct told t = {.edge.fn = on_edge};
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    assert_int_not_equal(edge_add(the_loop, fd, &t.edge), OK);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_unread_is_told_once, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(room_after_a_full_buffer_is_news, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(the_end_is_told_with_everything, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(many_at_once, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(a_file_has_no_edges, open_pair, close_pair),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
