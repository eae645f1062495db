/* SPDX-License-Identifier: Apache-2.0 */
/* test_net.h - what the tests of src/net share: a clock in the test's hand, and turning loops until
 * something is true, without sleeping. */
#ifndef TEST_NET_H
#define TEST_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/address.h"
#include "net/loop.h"

struct test_clock {
    struct clock clock;
    uint64_t now_ms;
};

static inline uint64_t test_clock_us(void *ctx)
{
    return ((struct test_clock *)ctx)->now_ms * 1000;
}

static inline uint64_t test_clock_wall(void *ctx)
{
    return ((struct test_clock *)ctx)->now_ms;
}

static inline void test_clock_init(struct test_clock *c, uint64_t now_ms)
{
    c->now_ms = now_ms;
    c->clock = (struct clock){test_clock_us, test_clock_wall, c};
}

#define TURNS_MAX 20000

/* Turns |l| until |condition| holds; fails the test after too many turns. The turns wait, so the
 * loop needs something to wait for. */
#define TURN_UNTIL(l, condition)                               \
    do {                                                       \
        unsigned turns_ = 0;                                   \
        while (!(condition)) {                                 \
            if (++turns_ > TURNS_MAX)                          \
                fail_msg("never became true: %s", #condition); \
            (void)loop_turn((l), true);                        \
        }                                                      \
    } while (0)

/* A few turns that do not wait: enough for what is ready, and for things that must not happen. */
static inline void test_settle(struct loop *l)
{
    for (unsigned i = 0; i < 20; i++)
        (void)loop_turn(l, false);
}

static inline struct loop *test_loop(const struct clock *clock)
{
    struct loop *l = NULL;

    assert_int_equal(loop_new(0, clock, &l), OK);
    return l;
}

static inline struct address test_loopback(uint16_t port)
{
    struct address a;
    char text[32];

    (void)snprintf(text, sizeof text, "127.0.0.1:%u", port);
    assert_int_equal(address_parse(span_of(text), &a), OK);
    return a;
}

static inline struct address test_local_address(int fd)
{
    struct address a = {.len = sizeof a.ss};

    assert_int_equal(getsockname(fd, (struct sockaddr *)&a.ss, &a.len), 0);
    return a;
}

/* A blocking connect, which on loopback ends as soon as the backlog has room; then non-blocking. */
static inline int test_connect(const struct address *a)
{
    int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a->ss, a->len), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

/* A connected pair over TCP, neither end of which waits for ACKs. */
/* Segments that |fd| has sent and the other side has not acknowledged. */
static inline unsigned test_unacknowledged(int fd)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;

    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n), 0);
    return info.tcpi_unacked;
}

static inline void test_tcp_pair(int fds[2])
{
    struct address a = test_loopback(0);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)setsockopt(listening, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    assert_int_equal(bind(listening, (struct sockaddr *)&a.ss, a.len), 0);
    assert_int_equal(listen(listening, 1), 0);
    a = test_local_address(listening);
    fds[0] = test_connect(&a);
    fds[1] = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fds[1] >= 0);
    (void)close(listening);
}

#endif
