/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: whole lines or nothing, also where the room runs out in the middle of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/generation_text.h"
#include "proc/journal.h"

struct fixture {
    char path[32];
    struct journal j;
    struct buf why;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    (void)span_copy(SPAN("/tmp/test_journal-XXXXXX"), f->path, sizeof f->path);
    int fd = mkstemp(f->path);

    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
    journal_init(&f->j, fd);
    buf_init(&f->why, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    journal_done(&f->j);
    buf_done(&f->why);
    (void)unlink(f->path);
    free(f);
    return 0;
}

static void expect(struct fixture *f, const char *want)
{
    struct span text = SPAN_NONE;

    assert_int_equal(journal_read(&f->j, &text), OK);
    assert_string_equal(text.p, want);
    text_free(&text);
}

/* What is in it before, not through this object. */
static void put(struct fixture *f, const char *text)
{
    assert_int_equal(write(f->j.fd, text, strlen(text)), strlen(text));
}

static void appends(void **state)
{
    struct fixture *f = *state;

    expect(f, "");
    assert_int_equal(journal_append(&f->j, SPAN("a\n"), &f->why), OK);
    assert_false(journal_has_grown(&f->j));
    assert_int_equal(journal_append(&f->j, SPAN("b\nc\n"), &f->why), OK);
    assert_false(journal_has_grown(&f->j));
    put(f, "d\n");
    assert_true(journal_has_grown(&f->j));
    expect(f, "a\nb\nc\nd\n");
    assert_false(journal_has_grown(&f->j));
}

static void after_a_line_that_was_cut(void **state)
{
    struct fixture *f = *state;

    put(f, "a\n{\"op\":");
    expect(f, "a\n{\"op\":");
    assert_int_equal(journal_append(&f->j, SPAN("b\n"), &f->why), OK);
    assert_false(journal_has_grown(&f->j));
    expect(f, "a\n{\"op\":\nb\n");
}

/* Appends while the file may not get longer than |room|: as on a disk that is full. */
static enum err append_with_room(struct journal *j, rlim_t room, const char *line, struct buf *why)
{
    struct rlimit old, small = {.rlim_cur = room};

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum err e = journal_append(j, span_of(line), why);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    return e;
}

/* Room for half a line. */
static void no_room(void **state)
{
    struct fixture *f = *state;

    put(f, "a\n");
    expect(f, "a\n");
    enum err e = append_with_room(&f->j, 5, "0123456789\n", &f->why);

    assert_int_not_equal(e, OK);
    assert_non_null(strstr(buf_cstr(&f->why), "nothing was changed"));
    assert_false(journal_has_grown(&f->j));
    expect(f, "a\n");
    assert_int_equal(journal_append(&f->j, SPAN("b\n"), &f->why), OK);
    expect(f, "a\nb\n");
}

/* ---- two writers: while one gateway drains there is another ---- */

static void open_another(struct fixture *f, struct journal *ret)
{
    journal_init(ret, fcntl(f->j.fd, F_DUPFD_CLOEXEC, 0));
    assert_true(ret->fd >= 0);
}

/* What the other one wrote meanwhile stays, and is seen. */
static void no_room_behind_the_line_of_another(void **state)
{
    struct fixture *f = *state;
    struct journal other;

    put(f, "a\n");
    expect(f, "a\n");
    open_another(f, &other);
    assert_int_equal(journal_append(&other, SPAN("b\n"), &f->why), OK);
    assert_int_not_equal(append_with_room(&f->j, 7, "0123456789\n", &f->why), OK);
    assert_true(journal_has_grown(&f->j));
    expect(f, "a\nb\n");
    assert_false(journal_has_grown(&f->j));
    journal_done(&other);
}

static void appends_behind_the_line_of_another(void **state)
{
    struct fixture *f = *state;
    struct journal other;

    expect(f, "");
    open_another(f, &other);
    assert_int_equal(journal_append(&other, SPAN("b\n"), &f->why), OK);
    assert_int_equal(journal_append(&f->j, SPAN("c\n"), &f->why), OK);
    assert_true(journal_has_grown(&f->j)); /* |b| is not known here */
    expect(f, "b\nc\n");
    assert_false(journal_has_grown(&f->j));
    journal_done(&other);
}

/* The other one died in the middle of a line that we have not read. */
static void after_the_torn_line_of_another(void **state)
{
    struct fixture *f = *state;

    put(f, "a\n");
    expect(f, "a\n");
    put(f, "{\"op\":");
    assert_int_equal(journal_append(&f->j, SPAN("b\n"), &f->why), OK);
    expect(f, "a\n{\"op\":\nb\n");
}

/* Something else of the same length: not for the size alone. */
static void another_line_of_the_same_length(void **state)
{
    struct fixture *f = *state;
    const struct timespec then[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

    put(f, "a\n");
    assert_int_equal(futimens(f->j.fd, then), 0); /* the file system's clock goes in steps */
    expect(f, "a\n");
    assert_int_equal(ftruncate(f->j.fd, 0), 0);
    put(f, "b\n");
    assert_true(journal_has_grown(&f->j));
    expect(f, "b\n");
}

/* A child that runs |fn| on the journal; its exit code is what that returns. */
static pid_t fork_writer(struct fixture *f, int (*fn)(struct fixture *f, int fd), int fd)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn(f, fd));
    return pid;
}

static int writer_result(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Holds the lock, as who is just appending does, until the other end of |fd| closes. */
static int hold_lock(struct fixture *f, int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char c = 'x';

    return fcntl(f->j.fd, F_SETLK, &lock) == 0 && write(fd, &c, 1) == 1 && read(fd, &c, 1) == 0 ? 0
                                                                                                : 1;
}

/* Who stops in the middle of an append does not stop the others' loops. */
static void while_another_appends(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    char c;

    put(f, "a\n");
    expect(f, "a\n");
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(fds[0]);
        _exit(hold_lock(f, fds[1]));
    }
    (void)close(fds[1]);
    assert_int_equal(read(fds[0], &c, 1), 1);
    assert_int_equal(journal_append(&f->j, SPAN("b\n"), &f->why), ERR_BUSY);
    assert_non_null(strstr(buf_cstr(&f->why), "nothing was changed"));
    expect(f, "a\n");
    (void)close(fds[0]);
    assert_int_equal(writer_result(pid), 0);
    assert_int_equal(journal_append(&f->j, SPAN("b\n"), &f->why), OK);
    expect(f, "a\nb\n");
}

#define LINES 300u

/* Appends until LINES are in it; counts in its lines. */
static int write_lines(struct fixture *f, int room)
{
    struct journal j;
    struct buf why, line;
    unsigned n = 0, failed = 0;

    journal_init(&j, f->j.fd);
    buf_init(&why, 0);
    buf_init(&line, 0);
    while (n < LINES && failed < 100000) {
        buf_reset(&why);
        buf_reset(&line);
        buf_fmt(&line, "%c%u\n", room ? 'A' : 'B', n);
        enum err e = room ? append_with_room(&j, (rlim_t)room, buf_cstr(&line), &why)
                          : journal_append(&j, buf_span(&line), &why);

        if (e == OK)
            n++;
        else if (room && e != ERR_BUSY)
            break; /* full for this one, and for ever */
        else
            failed++;
    }
    buf_done(&line);
    buf_done(&why);
    return room || n == LINES ? 0 : 1;
}

/* One of two processes meets a full disk all the time; of the other one no line is lost, and none
 * is cut. */
static void two_processes_and_a_full_disk(void **state)
{
    struct fixture *f = *state;
    struct span text = SPAN_NONE, rest;
    unsigned next_a = 0, next_b = 0;
    pid_t a, b;

    b = fork_writer(f, write_lines, 0);
    for (unsigned i = 0; i < 20; i++) {
        a = fork_writer(f, write_lines, (int)(37 + i * 61));
        assert_int_equal(writer_result(a), 0);
    }
    assert_int_equal(writer_result(b), 0);
    assert_int_equal(journal_read(&f->j, &text), OK);
    assert_true(text.n > 0 && text.p[text.n - 1] == '\n');
    for (rest = text; rest.n;) {
        struct span line = span_cut(&rest, '\n');
        uint64_t n = 0;

        assert_int_equal(span_u64(span_sub(line, 1, SIZE_MAX), LINES, &n), OK);
        if (line.p[0] == 'B')
            assert_int_equal(n, next_b++);
        else
            next_a++;
    }
    assert_int_equal(next_b, LINES);
    text_free(&text);
}

static void without_a_file(void **state)
{
    struct fixture *f = *state;
    struct journal none;
    struct span text;

    journal_init(&none, -1);
    assert_int_equal(journal_read(&none, &text), ERR_MISSING);
    assert_false(journal_has_grown(&none));
    assert_int_equal(journal_append(&none, SPAN("a\n"), &f->why), ERR_MISSING);
    assert_true(f->why.n > 0);
    journal_done(&none);
}

static void not_for_ever(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ftruncate(f->j.fd, JOURNAL_MAX), 0);
    assert_int_equal(journal_append(&f->j, SPAN("a\n"), &f->why), ERR_LIMIT);
    assert_int_equal(ftruncate(f->j.fd, 0), 0);
    expect(f, "");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(appends, setup, teardown),
        cmocka_unit_test_setup_teardown(after_a_line_that_was_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(no_room_behind_the_line_of_another, setup, teardown),
        cmocka_unit_test_setup_teardown(appends_behind_the_line_of_another, setup, teardown),
        cmocka_unit_test_setup_teardown(after_the_torn_line_of_another, setup, teardown),
        cmocka_unit_test_setup_teardown(another_line_of_the_same_length, setup, teardown),
        cmocka_unit_test_setup_teardown(while_another_appends, setup, teardown),
        cmocka_unit_test_setup_teardown(two_processes_and_a_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_file, setup, teardown),
        cmocka_unit_test_setup_teardown(not_for_ever, setup, teardown),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
