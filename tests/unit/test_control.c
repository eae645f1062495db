/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: the server on a loop of the test's, the client in a thread, since it blocks.
 */
#include "test_net.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "proc/control.h"

struct fixture {
    char dir[32];
    char path[64];
    int fd;
    struct loop *loop;
    struct control_server *server;
    unsigned n_sockets;
    int spare[2]; /* what is handed out: even ones the first, odd ones the second */
    uint64_t drained;
    bool free_in_drain;
    struct control_ticket *ticket; /* kept, to be answered later */
    struct task later;
    /* the client */
    pthread_t thread;
    _Atomic bool finished;
    void (*ask)(struct fixture *f);
    enum err err;
    struct buf answer, why;
    struct control_socket *taken;
    unsigned n_taken;
    int conn;
};

static void on_status(void *arg, struct buf *out)
{
    (void)arg;
    buf_text(out, "{\"version\":\"x\"}");
}

static bool on_socket(void *arg, unsigned i, const char **ret_listener, unsigned *ret_loop,
                      int *ret_fd)
{
    const struct fixture *f = arg;

    if (i >= f->n_sockets)
        return false;
    *ret_listener = i % 2 ? "odd" : "even";
    *ret_loop = i;
    *ret_fd = f->spare[i % 2];
    return true;
}

static void on_drain(void *arg, uint64_t ms)
{
    struct fixture *f = arg;

    f->drained = ms;
    if (f->free_in_drain) {
        control_server_free(f->server);
        f->server = NULL;
    }
}

/* What the gateway adds: one command that says who asks, and one that says too much. */
static bool on_command(void *arg, const char *name, const struct json_t *command, unsigned uid,
                       struct buf *out)
{
    (void)arg;
    assert_non_null(command);
    if (strcmp(name, "who") == 0) {
        buf_fmt(out, "{\"uid\":%u}", uid);
        return true;
    }
    if (strcmp(name, "flood") != 0)
        return false;
    while (!out->err)
        buf_fmt(out, "%01024d", 0);
    return true;
}

static void answer_later(struct task *t)
{
    struct fixture *f = CONTAINER_OF(t, struct fixture, later);
    struct control_ticket *ticket = f->ticket;

    f->ticket = NULL; /* the client's next command may want one */
    control_answer(ticket, SPAN("{\"ok\":\"later\"}"));
}

/* What is answered inside the call, on another turn, and only when the test says so. */
static bool on_command_later(void *arg, const char *name, const struct json_t *command,
                             unsigned uid, struct control_ticket *ticket)
{
    struct fixture *f = arg;

    assert_non_null(command);
    assert_int_equal(uid, geteuid());
    if (strcmp(name, "now") == 0) {
        control_answer(ticket, SPAN("{\"ok\":\"now\"}"));
        return true;
    }
    if (strcmp(name, "later") != 0 && strcmp(name, "kept") != 0)
        return false;
    assert_null(f->ticket);
    f->ticket = ticket;
    f->later.run = answer_later;
    if (strcmp(name, "later") == 0)
        loop_defer(f->loop, &f->later);
    return true;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    int errnum = 0;

    assert_non_null(f);
    (void)span_copy(SPAN("/tmp/test_control-XXXXXX"), f->dir, sizeof f->dir);
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/s", f->dir);
    assert_int_equal(control_listen(f->path, &f->fd, &errnum), OK);
    f->loop = test_loop(&clock_system);
    f->spare[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    f->spare[1] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    const struct control_handler h = {.status = on_status,
                                      .socket = on_socket,
                                      .drain = on_drain,
                                      .command = on_command,
                                      .command_later = on_command_later,
                                      .arg = f};

    assert_int_equal(control_server_new(f->loop, f->fd, &h, &f->server), OK);
    buf_init(&f->answer, 0);
    buf_init(&f->why, 0);
    f->taken = calloc(CONTROL_SOCKETS_MAX, sizeof *f->taken);
    f->conn = -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < f->n_taken; i++)
        (void)close(f->taken[i].fd);
    if (f->conn >= 0)
        (void)close(f->conn);
    free(f->taken);
    control_server_free(f->server);
    test_settle(f->loop);
    loop_free(f->loop);
    (void)close(f->fd);
    (void)close(f->spare[0]);
    (void)close(f->spare[1]);
    buf_done(&f->answer);
    buf_done(&f->why);
    (void)unlink(f->path);
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

static void *client(void *arg)
{
    struct fixture *f = arg;

    f->ask(f);
    atomic_store(&f->finished, true);
    return NULL;
}

/* Runs |ask| in a thread, and the loop until it is through. */
static void with_client(struct fixture *f, void (*ask)(struct fixture *f))
{
    f->ask = ask;
    atomic_store(&f->finished, false);
    assert_int_equal(pthread_create(&f->thread, NULL, client, f), 0);
    while (!atomic_load(&f->finished)) {
        struct pollfd p = {.fd = -1};

        (void)loop_turn(f->loop, false);
        (void)poll(&p, 0, 1);
    }
    assert_int_equal(pthread_join(f->thread, NULL), 0);
    test_settle(f->loop);
}

static void ask_status(struct fixture *f)
{
    f->err = control_ask(f->path, "{\"command\":\"status\"}", 5000, &f->answer, &f->why);
}

static void status(void **state)
{
    struct fixture *f = *state;

    with_client(f, ask_status);
    assert_int_equal(f->err, OK);
    assert_string_equal(buf_cstr(&f->answer), "{\"version\":\"x\"}");
}

static void say_all(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Turns until |fd| has said |want|. */
static void expect_said(struct fixture *f, int fd, const char *want)
{
    char got[512];
    size_t n = 0;

    for (unsigned i = 0; i < 2000 && n < strlen(want); i++) {
        (void)loop_turn(f->loop, false);
        ssize_t more = recv(fd, got + n, sizeof got - 1 - n, MSG_DONTWAIT);

        n += more > 0 ? (size_t)more : 0;
    }
    got[n] = '\0';
    assert_string_equal(got, want);
}

static int connect_client(struct fixture *f)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)span_copy(span_of(f->path), at.sun_path, sizeof at.sun_path);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* Several at once: in order, one at a time. */
static void answers_later(void **state)
{
    struct fixture *f = *state;
    int fd = connect_client(f);

    say_all(fd, "{\"command\":\"later\"}\n{\"command\":\"now\"}\n{\"command\":\"later\"}\n"
                "{\"command\":\"status\"}\n{\"command\":\"never\"}\n");
    expect_said(f, fd,
                "{\"ok\":\"later\"}\n{\"ok\":\"now\"}\n{\"ok\":\"later\"}\n{\"version\":\"x\"}\n"
                "{\"error\":\"unknown command; docs/guide/control-protocol.md lists them\"}\n");
    (void)close(fd);
}

/* Nothing else is answered before it. */
static void answer_is_waited_for(void **state)
{
    struct fixture *f = *state;
    int fd = connect_client(f);

    say_all(fd, "{\"command\":\"kept\"}\n{\"command\":\"status\"}\n");
    test_settle(f->loop);
    assert_non_null(f->ticket);
    expect_said(f, fd, "");
    answer_later(&f->later);
    expect_said(f, fd, "{\"ok\":\"later\"}\n{\"version\":\"x\"}\n");
    (void)close(fd);
}

/* The answer comes when nobody is there any more: the client left, or the server is gone. */
static void answer_for_nobody(void **state)
{
    struct fixture *f = *state;
    int fd = connect_client(f);

    say_all(fd, "{\"command\":\"kept\"}\n");
    test_settle(f->loop);
    (void)close(fd);
    test_settle(f->loop);
    answer_later(&f->later);
    test_settle(f->loop);
    fd = connect_client(f);
    say_all(fd, "{\"command\":\"kept\"}\n");
    test_settle(f->loop);
    assert_non_null(f->ticket);
    control_server_free(f->server);
    f->server = NULL;
    answer_later(&f->later);
    (void)close(fd);
}

static void ask_nonsense(struct fixture *f)
{
    static const char *const lines[] = {"{}",
                                        "nonsense",
                                        "{\"command\":\"drain\"}",
                                        "{\"command\":\"drain\",\"ms\":-1}",
                                        "{\"command\":1}",
                                        "{\"command\":\"a\",\"command\":\"b\"}"};

    for (size_t i = 0; i < ARRAY_LEN(lines) && !f->err; i++) {
        f->err = control_ask(f->path, lines[i], 5000, &f->answer, &f->why);
        buf_char(&f->answer, '\n');
    }
}

static void errors(void **state)
{
    struct fixture *f = *state;

    with_client(f, ask_nonsense);
    assert_int_equal(f->err, OK);
    assert_string_equal(
        buf_cstr(&f->answer),
        "{\"error\":\"unknown command; docs/guide/control-protocol.md lists them\"}\n"
        "{\"error\":\"a command is one line of JSON, as {\\\"command\\\":\\\"status\\\"}\"}\n"
        "{\"error\":\"drain needs \\\"ms\\\": milliseconds until what still runs is cut off\"}\n"
        "{\"error\":\"drain needs \\\"ms\\\": milliseconds until what still runs is cut off\"}\n"
        "{\"error\":\"unknown command; docs/guide/control-protocol.md lists them\"}\n"
        "{\"error\":\"a command is one line of JSON, as {\\\"command\\\":\\\"status\\\"}\"}\n");
    assert_int_equal(f->drained, 0);
}

static void ask_others(struct fixture *f)
{
    static const char *const lines[] = {"{\"command\":\"who\",\"more\":[1]}",
                                        "{\"command\":\"flood\"}"};

    for (size_t i = 0; i < ARRAY_LEN(lines) && !f->err; i++) {
        f->err = control_ask(f->path, lines[i], 5000, &f->answer, &f->why);
        buf_char(&f->answer, '\n');
    }
}

static void other_commands(void **state)
{
    struct fixture *f = *state;
    char want[128];

    with_client(f, ask_others);
    assert_int_equal(f->err, OK);
    (void)snprintf(want, sizeof want, "{\"uid\":%u}\n{\"error\":\"the answer does not fit\"}\n",
                   geteuid());
    assert_string_equal(buf_cstr(&f->answer), want);
}

static void ask_takeover(struct fixture *f)
{
    f->err = control_takeover(f->path, 5000, f->taken, CONTROL_SOCKETS_MAX, &f->n_taken, &f->conn,
                              &f->why);
    if (!f->err && f->n_sockets)
        f->err = control_drain(f->conn, 1234, 5000, &f->why);
}

/* 0, 1, a whole batch, one more, three batches. */
static void takeover(void **state)
{
    static const unsigned counts[] = {0, 1, 200, 201, 600};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        f->n_sockets = counts[i];
        f->drained = 0;
        with_client(f, ask_takeover);
        assert_string_equal(buf_cstr(&f->why), "");
        assert_int_equal(f->err, OK);
        assert_int_equal(f->n_taken, counts[i]);
        for (unsigned k = 0; k < f->n_taken; k++) {
            ino_t want, got;
            struct stat st;

            assert_string_equal(f->taken[k].listener, k % 2 ? "odd" : "even");
            assert_int_equal(f->taken[k].loop, k);
            assert_int_equal(fstat(f->spare[k % 2], &st), 0);
            want = st.st_ino;
            assert_int_equal(fstat(f->taken[k].fd, &st), 0);
            got = st.st_ino;
            assert_int_equal(got, want);
            assert_true(fcntl(f->taken[k].fd, F_GETFD) & FD_CLOEXEC);
            (void)close(f->taken[k].fd);
        }
        f->n_taken = 0;
        assert_int_equal(f->drained, counts[i] ? 1234 : 0);
        (void)close(f->conn);
        f->conn = -1;
    }
}

static void freed_while_draining(void **state)
{
    struct fixture *f = *state;

    f->n_sockets = 1;
    f->free_in_drain = true;
    with_client(f, ask_takeover);
    assert_int_equal(f->err, OK);
    assert_int_equal(f->drained, 1234);
    assert_null(f->server);
}

static void ask_bytewise(struct fixture *f)
{
    static const char line[] = "{\"command\":\"status\"}\n{\"command\":\"status\"}\n";
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answer[64];
    size_t n = 0;

    (void)span_copy(span_of(f->path), sa.sun_path, sizeof sa.sun_path);
    f->err = connect(fd, (const struct sockaddr *)&sa, sizeof sa) ? ERR_IO : OK;
    for (size_t i = 0; !f->err && i < sizeof line - 1; i++)
        if (send(fd, line + i, 1, MSG_NOSIGNAL) != 1)
            f->err = ERR_IO;
    while (!f->err && n < 32) {
        ssize_t r = recv(fd, answer + n, sizeof answer - n, 0);

        if (r <= 0)
            f->err = ERR_EOF;
        else
            n += (size_t)r;
    }
    buf_add(&f->answer, (struct span){answer, n});
    (void)close(fd);
}

static void two_commands_in_pieces(void **state)
{
    struct fixture *f = *state;

    with_client(f, ask_bytewise);
    assert_int_equal(f->err, OK);
    assert_string_equal(buf_cstr(&f->answer), "{\"version\":\"x\"}\n{\"version\":\"x\"}\n");
}

static void ask_too_much(struct fixture *f)
{
    char line[8192];

    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    f->err = control_ask(f->path, line, 5000, &f->answer, &f->why);
}

static void long_line(void **state)
{
    struct fixture *f = *state;

    with_client(f, ask_too_much);
    /* Told so, or cut off before the whole line was sent. */
    if (f->err == OK)
        assert_string_equal(buf_cstr(&f->answer), "{\"error\":\"the line is too long\"}");
    else
        assert_int_equal(f->err, ERR_RESET);
}

/* 16 silent clients keep nobody out for longer than their time. */
static void silent_clients(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fds[16];

    (void)span_copy(span_of(f->path), sa.sun_path, sizeof sa.sun_path);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (const struct sockaddr *)&sa, sizeof sa), 0);
    }
    test_settle(f->loop);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (i % 2)
            (void)close(fds[i]);
    with_client(f, ask_status);
    assert_int_equal(f->err, OK);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (!(i % 2))
            (void)close(fds[i]);
}

static void nobody(void **state)
{
    struct fixture *f = *state;
    char path[96];

    (void)snprintf(path, sizeof path, "%s/nothing", f->dir);
    assert_int_equal(control_ask(path, "{}", 100, &f->answer, &f->why), ERR_UPSTREAM);
    assert_non_null(strstr(buf_cstr(&f->why), "no gateway answers at "));
    assert_int_equal(control_takeover(path, 100, f->taken, 8, &f->n_taken, &f->conn, &f->why),
                     ERR_UPSTREAM);
}

static void a_server_that_hangs(void **state)
{
    struct fixture *f = *state;

    /* The loop does not turn. */
    assert_int_equal(control_ask(f->path, "{}", 50, &f->answer, &f->why), ERR_TIMEOUT);
    assert_non_null(strstr(buf_cstr(&f->why), "does not answer in time"));
}

/* Longer than sun_path. */
static void deep_path(void **state)
{
    struct fixture *f = *state;
    char dir[200], path[256];
    struct buf answer, why;
    int fd, errnum;

    (void)snprintf(dir, sizeof dir, "%s/%0120d", f->dir, 0);
    assert_int_equal(mkdir(dir, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/control.sock", dir);
    assert_int_equal(control_listen(path, &fd, &errnum), OK);
    buf_init(&answer, 0);
    buf_init(&why, 0);
    /* Connects, and waits in vain: found, that is. */
    assert_int_equal(control_ask(path, "{}", 20, &answer, &why), ERR_TIMEOUT);
    (void)close(fd);
    /* One that is left over is replaced. */
    assert_int_equal(control_ask(path, "{}", 20, &answer, &why), ERR_UPSTREAM);
    assert_int_equal(control_listen(path, &fd, &errnum), OK);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    buf_done(&answer);
    buf_done(&why);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(status, setup, teardown),
        cmocka_unit_test_setup_teardown(errors, setup, teardown),
        cmocka_unit_test_setup_teardown(other_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_later, setup, teardown),
        cmocka_unit_test_setup_teardown(answer_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(answer_for_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(takeover, setup, teardown),
        cmocka_unit_test_setup_teardown(freed_while_draining, setup, teardown),
        cmocka_unit_test_setup_teardown(two_commands_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(long_line, setup, teardown),
        cmocka_unit_test_setup_teardown(silent_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_that_hangs, setup, teardown),
        cmocka_unit_test_setup_teardown(deep_path, setup, teardown),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
