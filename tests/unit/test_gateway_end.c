/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a gateway process while its supervisor still talks to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/gateway.h"
#include "proc/generation.h"
#include "proc/generation_text.h"

#define THREADS 3u
#define ROUNDS  6u

static const char configuration[] = "sandbox: best-effort\n"
                                    "threads: 3\n"
                                    "log: {level: error}\n"
                                    "records: {enabled: false}\n"
                                    "admin: {enabled: false}\n"
                                    "listeners:\n"
                                    "  - {name: edge, address: '127.0.0.1:0', protocol: icap,\n"
                                    "     proxy-protocol-from: [127.0.0.1/32]}\n"
                                    "services:\n"
                                    "  - {name: echo, type: echo, path: /echo}\n";

static char store_dir[] = "/tmp/test_gateway_end-XXXXXX";

/* Consumes |fd|. */
static enum err tell(int sock, enum proc_kind kind, unsigned loop, const char *text, int fd)
{
    static struct proc_message m;

    m = (struct proc_message){.kind = kind, .number = 1, .threads = THREADS, .loop = loop};
    (void)span_copy(span_of(text), m.text, sizeof m.text);
    enum err e = proc_send(sock, &m, fd);

    if (fd >= 0)
        (void)close(fd);
    return e;
}

static enum err tell_to_drain(int sock, uint64_t ms)
{
    static struct proc_message m;

    m = (struct proc_message){.kind = PROC_DRAIN, .ms = ms};
    return proc_send(sock, &m, -1);
}

static int connect_to(int listener)
{
    struct sockaddr_in at;
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, n), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static int listen_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static void send_set(int sock, int *ret_client)
{
    int config = text_memfd("config", SPAN(configuration)), spool = text_memfd("s", SPAN_NONE);

    assert_int_equal(tell(sock, PROC_BEGIN, 0, "", -1), OK);
    assert_int_equal(tell(sock, PROC_CONFIG, 0, "test.yaml", config), OK);
    for (unsigned i = 0; i < THREADS; i++) {
        int fd = listen_somewhere();

        if (i == 0)
            *ret_client = connect_to(fd);
        assert_int_equal(tell(sock, PROC_SOCKET, i, "edge", fd), OK);
    }
    assert_int_equal(tell(sock, PROC_SPOOL, 0, "", spool), OK);
    assert_int_equal(tell(sock, PROC_STORE, 0, "", open(store_dir, O_RDONLY | O_DIRECTORY)), OK);
    assert_int_equal(tell(sock, PROC_END, 0, "", -1), OK);
}

/* Channels to a zygote, until nobody listens. */
static void send_channels(int sock)
{
    enum err e = OK;

    for (unsigned i = 0; e == OK; i++) {
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        e = tell(sock, PROC_WORKERS, i % THREADS, "engine", pair[1]);
        (void)close(pair[0]);
    }
}

/* A gateway in a process of its own that serves, and a connection to it. */
static pid_t start(int *ret_sock, int *ret_client)
{
    static struct proc_message got;
    int pair[2], fd;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = fork();

    if (pid == 0) {
        (void)close(pair[0]);
        (void)fcntl(pair[1], F_SETFL, O_NONBLOCK);
        _exit(gateway_main(pair[1]));
    }
    (void)close(pair[1]);
    send_set(pair[0], ret_client);
    assert_int_equal(proc_receive(pair[0], &got, &fd), OK);
    assert_string_equal(got.text, "");
    assert_int_equal(got.kind, PROC_READY);
    *ret_sock = pair[0];
    return pid;
}

static void ends_well(pid_t pid, int sock, int client)
{
    int status = -1;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    (void)close(client);
    (void)close(sock);
}

static void orders_until_the_end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        int sock, client;
        pid_t pid = start(&sock, &client);

        /* in the middle of a request: the drain is over by its time only */
        say(client, "PROXY UNKNOWN\r\nREQMOD");
        assert_int_equal(tell_to_drain(sock, 20), OK);
        send_channels(sock);
        ends_well(pid, sock, client);
    }
}

/* A connection that is not open yet when the drain begins is not cut. */
static void handshake_during_a_drain(void **state)
{
    static struct proc_message got;
    char answer[4096];
    int sock, client, fd;
    pid_t pid = start(&sock, &client);

    (void)state;
    say(client, "PROXY ");
    (void)usleep(50000);
    assert_int_equal(tell_to_drain(sock, 20000), OK);
    (void)usleep(300000);
    say(client, "UNKNOWN\r\nOPTIONS icap://h/echo ICAP/1.0\r\nHost: h\r\n\r\n");
    assert_true(recv(client, answer, sizeof answer, 0) > 12);
    assert_memory_equal(answer, "ICAP/1.0 200", 12);
    assert_int_equal(proc_receive(sock, &got, &fd), OK);
    assert_int_equal(got.kind, PROC_DRAINED);
    ends_well(pid, sock, client);
}

/* But one that says nothing does not hold the drain up for long. */
static void silence_during_a_drain(void **state)
{
    static struct proc_message got;
    int sock, client, fd;
    pid_t pid = start(&sock, &client);

    (void)state;
    assert_int_equal(tell_to_drain(sock, 20000), OK);
    assert_int_equal(proc_receive(sock, &got, &fd), OK);
    assert_int_equal(got.kind, PROC_DRAINED);
    ends_well(pid, sock, client);
}

static void store_remove(void)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    int dir = open(store_dir, O_RDONLY | O_DIRECTORY);

    for (size_t i = 0; i < 2; i++)
        (void)unlinkat(dir, names[i], 0);
    (void)close(dir);
    (void)rmdir(store_dir);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_until_the_end),
        cmocka_unit_test(handshake_during_a_drain),
        cmocka_unit_test(silence_during_a_drain),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    if (!mkdtemp(store_dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    store_remove();
    return failed;
}
