/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "adapt/worker_wire.h"

/* --- messages that may be sent --- */

struct row {
    const char *name;
    struct wire_message m;
    const char *bytes; /* the packet, where the layout is short enough to read; NULL: any */
    size_t n;
};

#define BYTES(literal) literal, sizeof(literal) - 1

/* clang-format off */
static const struct row rows[] = {
    {"channel", {.kind = WIRE_CHANNEL}, BYTES("\x04\x01")},
    {"ready",
     {.kind = WIRE_READY, .ready = {.engines = "yara 4", .layers = "seccomp"}},
     BYTES("\x04\x02\x00\x06yara 4\x00\x07seccomp")},
    {"ready, empty", {.kind = WIRE_READY}, BYTES("\x04\x02\0\0\0\0")},
    {"broken", {.kind = WIRE_BROKEN, .broken = {.text = "x:1"}}, BYTES("\x04\x03\x00\x03x:1")},
    {"fork", {.kind = WIRE_FORK, .fork = {.id = 0x01020304}}, BYTES("\x04\x04\x01\x02\x03\x04")},
    {"forked",
     {.kind = WIRE_FORKED, .forked = {.id = 1, .pid = 2}},
     BYTES("\x04\x05\0\0\0\x01\0\0\0\x02")},
    {"fork failed",
     {.kind = WIRE_FORK_FAILED, .fork_failed = {.id = 9, .text = "no"}},
     BYTES("\x04\x06\0\0\0\x09\x00\x02no")},
    {"kill", {.kind = WIRE_KILL, .kill = {.pid = 7}}, BYTES("\x04\x07\0\0\0\x07")},
    {"died",
     {.kind = WIRE_DIED, .died = {.pid = 7, .signal = 31, .exit_code = 0}},
     BYTES("\x04\x08\0\0\0\x07\0\0\0\x1f\0\0\0\0")},
    {"job",
     {.kind = WIRE_JOB,
      .job = {.id = 1,
              .engines = 13,
              .time_ms = 2,
              .len = 3,
              .name = "a",
              .type = "b/c",
              .encoding = "br",
              .unpack = {.size_max = 4, .ratio_max = 5, .codings_max = 6, .parts_max = 7},
              .want_objects = true}},
     BYTES("\x04\x09\0\0\0\0\0\0\0\x01\0\0\0\x0d\0\0\0\x02\0\0\0\0\0\0\0\x03\0\x01"
           "a\0\x03"
           "b/c\0\x02"
           "br\0\0\0\0\0\0\0\x04\0\0\0\x05\0\0\0\x06\0\0\0\x07\x01")},
    {"result, pass",
     {.kind = WIRE_RESULT, .result = {.id = 5}},
     BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"result, pages",
     {.kind = WIRE_RESULT, .result = {.id = 5, .result = {.pages = 0x01020304}}},
     BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04\0")},
    {"result, block",
     {.kind = WIRE_RESULT,
      .result = {.id = UINT64_MAX,
                 .has_objects = true,
                 .result = {.verdict = VERDICT_BLOCK,
                            .cause = CAUSE_INFECTED,
                            .why = "because",
                            .scan_us = 77,
                            .sniffed = "text/plain",
                            .n_objects = 65536,
                            .pages = UINT32_MAX,
                            .incomplete = true,
                            .n_findings = 2,
                            .findings = {{"yara", "EICAR-Test-File", "offset 0", false},
                                         {"yara", "\xff\x01", "", true}}}}},
     NULL,
     0},
    {"result, error",
     {.kind = WIRE_RESULT,
      .result = {.result = {.verdict = VERDICT_ERROR,
                            .cause = CAUSE_WORKER_CRASH,
                            .err = ERR_ABORTED}}},
     NULL,
     0},
    {"result, two causes",
     {.kind = WIRE_RESULT,
      .result = {.id = 5,
                 .result = {.verdict = VERDICT_BLOCK,
                            .cause = CAUSE_INFECTED,
                            .also = 1u << CAUSE_NOT_INSPECTED | 1u << CAUSE_DISK_FULL}}},
     BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\x02\x01\x02\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
};
/* clang-format on */

static struct span encode(const struct wire_message *m, uint8_t packet[WIRE_MAX])
{
    struct writer w = writer_of(packet, WIRE_MAX);

    assert_int_equal(wire_encode(m, &w), OK);
    return writer_span(&w);
}

static void test_row(void **state)
{
    const struct row *row = *state;
    uint8_t packet[WIRE_MAX], again[WIRE_MAX];
    struct span p = encode(&row->m, packet);
    struct wire_message m;

    if (row->bytes) {
        assert_int_equal(p.n, row->n);
        assert_memory_equal(p.p, row->bytes, row->n);
    }
    assert_int_equal(wire_decode(p, &m), OK);
    assert_int_equal(m.kind, row->m.kind);

    struct span q = encode(&m, again);

    assert_int_equal(q.n, p.n);
    assert_memory_equal(q.p, p.p, p.n);
}

/* Cut anywhere, and one byte more: never a message, and nothing written. The copy ends where its
 * memory ends, for the address sanitizer. */
static void test_row_cut(void **state)
{
    const struct row *row = *state;
    uint8_t packet[WIRE_MAX];
    struct span p = encode(&row->m, packet);
    struct wire_message m = {.kind = WIRE_KILL, .kill = {.pid = 4711}};

    for (size_t n = 0; n < p.n; n++) {
        char *cut = malloc(n ? n : 1);

        assert_non_null(cut);
        memcpy(cut, p.p, n);
        assert_int_equal(wire_decode((struct span){cut, n}, &m), ERR_SYNTAX);
        free(cut);
    }
    packet[p.n] = 0;
    assert_int_equal(wire_decode((struct span){p.p, p.n + 1}, &m), ERR_SYNTAX);
    assert_int_equal(m.kind, WIRE_KILL);
    assert_int_equal(m.kill.pid, 4711);
}

/* --- packets that may not be received --- */

/* clang-format off */
static const struct {
    const char *why;
    const char *bytes;
    size_t n;
} refused[] = {
    {"empty", BYTES("")},
    {"version 0", BYTES("\x00\x01")},
    {"version 1", BYTES("\x01\x01")},
    {"version 2", BYTES("\x02\x01")},
    {"version 3", BYTES("\x03\x01")},
    {"version 5", BYTES("\x05\x01")},
    {"kind 0", BYTES("\x04\x00")},
    {"kind 11", BYTES("\x04\x0b")},
    {"kind 255", BYTES("\x04\xff")},
    {"NUL in a text", BYTES("\x04\x03\x00\x03x\0y")},
    {"text longer than the packet", BYTES("\x04\x03\xff\xffxyz")},
    {"verdict 5", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\x05\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"cause 10", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"error 255", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\x04\x01\0\0\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"17 findings", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"note 2", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"pass with a cause", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\x00\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"changed with a cause", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"block without a cause", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\x02\x00\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"pass with a further cause", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"a cause twice", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\x02\x01\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"no cause as a further one", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\x02\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"further cause 10", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\x02\x01\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"65537 objects", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\0\0\0\0\0")},
    {"has objects 2", BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02")},
    {"engine 16", BYTES("\x04\x09\0\0\0\0\0\0\0\x01\0\0\0\x10\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0\x05\0\0\0\x06\0\0\0\x07\0")},
    {"engine 1 << 31", BYTES("\x04\x09\0\0\0\0\0\0\0\x01\x80\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0\x05\0\0\0\x06\0\0\0\x07\0")},
    {"wants objects 2", BYTES("\x04\x09\0\0\0\0\0\0\0\x01\0\0\0\x07\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0\x05\0\0\0\x06\0\0\0\x07\x02")},
};
/* clang-format on */

static void test_refused(void **state)
{
    struct wire_message m;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        enum err e = wire_decode((struct span){refused[i].bytes, refused[i].n}, &m);

        if (e != ERR_SYNTAX)
            print_error("%s: %s\n", refused[i].why, err_code(e));
        assert_int_equal(e, ERR_SYNTAX);
    }
}

static void test_text_one_too_long(void **state)
{
    uint8_t packet[2 + 2 + WIRE_TEXT_MAX];
    struct wire_message m;

    (void)state;
    memset(packet, 'x', sizeof packet);
    packet[0] = 4;
    packet[1] = WIRE_BROKEN;
    packet[2] = (WIRE_TEXT_MAX - 1) >> 8;
    packet[3] = (WIRE_TEXT_MAX - 1) & 0xff;
    assert_int_equal(wire_decode((struct span){(char *)packet, sizeof packet - 1}, &m), OK);
    assert_int_equal(strlen(m.broken.text), WIRE_TEXT_MAX - 1);
    packet[2] = WIRE_TEXT_MAX >> 8;
    packet[3] = WIRE_TEXT_MAX & 0xff;
    assert_int_equal(wire_decode((struct span){(char *)packet, sizeof packet}, &m), ERR_SYNTAX);
}

/* --- messages that may not be sent --- */

static void test_largest_fits(void **state)
{
    static struct wire_message m; /* too large for a comfortable stack */
    uint8_t packet[WIRE_MAX];

    (void)state;
    m.kind = WIRE_RESULT;
    m.result.result.verdict = VERDICT_BLOCK;
    m.result.result.cause = CAUSE_INFECTED;
    m.result.result.n_findings = FINDINGS_MAX;
    memset(m.result.result.why, 'w', sizeof m.result.result.why - 1);
    for (unsigned i = 0; i < FINDINGS_MAX; i++) {
        struct finding *f = &m.result.result.findings[i];

        memset(f->engine, 'e', sizeof f->engine - 1);
        memset(f->name, 'n', sizeof f->name - 1);
        memset(f->where, 'w', sizeof f->where - 1);
    }
    memset(m.result.result.sniffed, 's', sizeof m.result.result.sniffed - 1);
    assert_true(encode(&m, packet).n > 4000);
    memset(&m, 0, sizeof m);
    m.kind = WIRE_JOB;
    memset(m.job.name, 'n', sizeof m.job.name - 1);
    memset(m.job.type, 't', sizeof m.job.type - 1);
    memset(m.job.encoding, 'e', sizeof m.job.encoding - 1);
    assert_int_equal(encode(&m, packet).n,
                     2 + 24 + 6 + 2 * (WIRE_NAME_MAX) + (WIRE_TEXT_MAX - 1) + 20 + 1);
    memset(&m, 0, sizeof m);
    m.kind = WIRE_READY;
    memset(m.ready.engines, 'x', sizeof m.ready.engines - 1);
    memset(m.ready.layers, 'y', sizeof m.ready.layers - 1);
    assert_int_equal(encode(&m, packet).n, 2 + 2 * (2 + WIRE_TEXT_MAX - 1));
}

static void test_encode_refuses(void **state)
{
    static struct wire_message m;
    uint8_t packet[WIRE_MAX];
    struct writer w = writer_of(packet, sizeof packet);

    (void)state;
    m.kind = WIRE_BROKEN;
    memset(m.broken.text, 'x', sizeof m.broken.text);
    assert_int_equal(wire_encode(&m, &w), ERR_LIMIT);

    memset(&m, 0, sizeof m);
    m.kind = WIRE_RESULT;
    m.result.result.verdict = VERDICT_BLOCK; /* without a cause */
    w = writer_of(packet, sizeof packet);
    assert_int_equal(wire_encode(&m, &w), ERR_BUG);

    memset(&m, 0, sizeof m);
    w = writer_of(packet, sizeof packet);
    assert_int_equal(wire_encode(&m, &w), ERR_BUG); /* kind 0 */

    m.kind = WIRE_JOB;
    m.job.engines = WIRE_ENGINES_ALL + 1;
    w = writer_of(packet, sizeof packet);
    assert_int_equal(wire_encode(&m, &w), ERR_BUG);

    memset(&m, 0, sizeof m);
    m.kind = WIRE_RESULT;
    m.result.result.n_objects = 65537;
    w = writer_of(packet, sizeof packet);
    assert_int_equal(wire_encode(&m, &w), ERR_BUG);

    memset(&m, 0, sizeof m);
    m.kind = WIRE_KILL;
    w = writer_of(packet, 5);
    assert_int_equal(wire_encode(&m, &w), ERR_LIMIT);
}

/* --- sockets --- */

struct ends {
    int a, b;
};

static struct ends ends_new(void)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    return (struct ends){pair[0], pair[1]};
}

static void ends_done(struct ends e)
{
    (void)close(e.a);
    (void)close(e.b);
}

static void send_raw(int sock, const char *bytes, size_t n, const int *fds, size_t n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    char copy[64];
    struct iovec iov = {copy, n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    memcpy(copy, bytes, n);
    if (n_fds) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    assert_int_equal(sendmsg(sock, &msg, 0), (ssize_t)n);
}

/* The next descriptor that would be given: it moves when one leaks. */
static int next_fd(void)
{
    int fd = dup(STDERR_FILENO);

    assert_true(fd >= 0);
    (void)close(fd);
    return fd;
}

static void test_send_receive(void **state)
{
    struct wire_message in = {.kind = WIRE_FORK, .fork = {.id = 3}}, out;
    struct ends e = ends_new();
    int fd = 77;

    (void)state;
    assert_int_equal(wire_receive(e.b, &out, &fd), ERR_AGAIN);
    assert_int_equal(fd, -1);
    assert_int_equal(wire_send(e.a, &in, -1), OK);
    assert_int_equal(wire_receive(e.b, &out, &fd), OK);
    assert_int_equal(fd, -1);
    assert_int_equal(out.kind, WIRE_FORK);
    assert_int_equal(out.fork.id, 3);
    (void)close(e.a);
    assert_int_equal(wire_receive(e.b, &out, &fd), ERR_EOF);
    assert_int_equal(wire_send(e.b, &in, -1), ERR_RESET);
    (void)close(e.b);
}

static void test_descriptor_passes(void **state)
{
    struct wire_message in = {.kind = WIRE_CHANNEL}, out;
    struct ends e = ends_new();
    int fd = -1, pipe_ends[2];
    char c = 0;

    (void)state;
    assert_int_equal(pipe(pipe_ends), 0);
    assert_int_equal(wire_send(e.a, &in, pipe_ends[0]), OK);
    assert_int_equal(wire_receive(e.b, &out, &fd), OK);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(pipe_ends[1], "x", 1), 1);
    assert_int_equal(read(fd, &c, 1), 1);
    assert_int_equal(c, 'x');
    (void)close(fd);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
    ends_done(e);
}

static void test_descriptor_must_fit_the_kind(void **state)
{
    struct wire_message channel = {.kind = WIRE_CHANNEL}, fork_ = {.kind = WIRE_FORK}, out;
    struct wire_message result = {.kind = WIRE_RESULT};
    struct ends e = ends_new();
    const int fds[] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};
    int fd = -1, next = next_fd();

    (void)state;
    assert_int_equal(wire_send(e.a, &channel, -1), ERR_BUG);
    assert_int_equal(wire_send(e.a, &fork_, STDERR_FILENO), ERR_BUG);
    assert_int_equal(wire_send(e.a, &result, STDERR_FILENO), ERR_BUG);
    result.result.has_objects = true;
    assert_int_equal(wire_send(e.a, &result, -1), ERR_BUG);
    assert_int_equal(wire_send(e.a, &result, STDERR_FILENO), OK);
    assert_int_equal(wire_receive(e.b, &out, &fd), OK);
    assert_true(out.result.has_objects);
    assert_true(fd >= 0);
    (void)close(fd);

    send_raw(e.a, BYTES("\x04\x01"), NULL, 0); /* CHANNEL without one */
    assert_int_equal(wire_receive(e.b, &out, &fd), ERR_SYNTAX);
    send_raw(e.a, BYTES("\x04\x04\0\0\0\1"), fds, 1); /* FORK with one */
    assert_int_equal(wire_receive(e.b, &out, &fd), ERR_SYNTAX);
    send_raw(
        e.a,
        BYTES("\x04\x0a\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        fds, 1); /* RESULT, too */
    assert_int_equal(wire_receive(e.b, &out, &fd), ERR_SYNTAX);
    send_raw(e.a, BYTES("\x04\x01"), fds, 2);
    assert_int_equal(wire_receive(e.b, &out, &fd), ERR_SYNTAX);
    send_raw(e.a, BYTES("\x04\x01"), fds, 4);
    assert_int_equal(wire_receive(e.b, &out, &fd), ERR_SYNTAX);
    send_raw(e.a, BYTES("garbage"), fds, 1);
    assert_int_equal(wire_receive(e.b, &out, &fd), ERR_SYNTAX);
    assert_int_equal(fd, -1);
    assert_int_equal(next_fd(), next);
    ends_done(e);
}

static void test_oversize_packet(void **state)
{
    struct ends e = ends_new();
    struct wire_message out;
    char *big = calloc(1, WIRE_MAX + 1);
    int fd;

    (void)state;
    assert_non_null(big);
    assert_int_equal(send(e.a, big, WIRE_MAX + 1, 0), WIRE_MAX + 1);
    assert_int_equal(wire_receive(e.b, &out, &fd), ERR_SYNTAX);
    free(big);
    ends_done(e);
}

static void test_full_socket(void **state)
{
    struct wire_message m = {.kind = WIRE_KILL};
    struct ends e = ends_new();
    enum err got = OK;

    (void)state;
    for (unsigned i = 0; i < 1000000 && got == OK; i++)
        got = wire_send(e.a, &m, -1);
    assert_int_equal(got, ERR_AGAIN);
    ends_done(e);
}

#define ROWS ARRAY_LEN(rows)

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_text_one_too_long),
        cmocka_unit_test(test_largest_fits),
        cmocka_unit_test(test_encode_refuses),
        cmocka_unit_test(test_send_receive),
        cmocka_unit_test(test_descriptor_passes),
        cmocka_unit_test(test_descriptor_must_fit_the_kind),
        cmocka_unit_test(test_oversize_packet),
        cmocka_unit_test(test_full_socket),
    };
    struct CMUnitTest tests[2 * ROWS];
    static struct row copies[ROWS]; /* cmocka's state is not const */

    memcpy(copies, rows, sizeof rows);
    for (size_t i = 0; i < ROWS; i++) {
        tests[2 * i] = (struct CMUnitTest){rows[i].name, test_row, NULL, NULL, &copies[i]};
        tests[2 * i + 1] = (struct CMUnitTest){rows[i].name, test_row_cut, NULL, NULL, &copies[i]};
    }
    int failed = cmocka_run_group_tests_name("messages", tests, NULL, NULL);

    return failed + cmocka_run_group_tests_name("others", others, NULL, NULL);
}
