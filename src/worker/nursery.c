/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/sample.h"
#include "worker/serve.h"

/* The largest file that can be mapped. Page tables for it cost 1/512 of what is touched. */
#define MAP_MAX (16ull << 30)
/* Until its first JOB moves the limit on, a worker enters its jail only. */
#define CPU_FIRST_S 10u
#define SOCK_FD     3

/* Pages of the whole address space and of private writable memory, from /proc/self/statm (see
 * proc(5)); roomy guesses where /proc is not mounted. */
static void measure(uint64_t *ret_space, uint64_t *ret_data)
{
    uint64_t field[6] = {65536, 0, 0, 0, 0, 16384};
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    char text[256];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);

    if (n > 0) {
        struct span rest = {text, (size_t)n};

        for (size_t i = 0; i < ARRAY_LEN(field); i++)
            if (span_u64(span_cut(&rest, ' '), UINT32_MAX, &field[i]) != OK)
                break;
    }
    if (fd >= 0)
        (void)close(fd);
    *ret_space = field[0] * page;
    *ret_data = field[5] * page;
}

enum err nursery_init(struct nursery *n, const struct engines *engines, bool required,
                      uint64_t memory_max, struct buf *why)
{
    uint64_t space, data;

    TRY(sample_inspect(engines, why));
    measure(&space, &data);
    *n = (struct nursery){
        .jail = {.role = JAIL_WORKER,
                 .required = required,
                 .memory_max = data + memory_max,
                 .map_max = (space > data ? space - data : 0) + MAP_MAX,
                 .cpu_seconds = CPU_FIRST_S,
                 .keep_dir_fd = -1},
        .engines = engines,
        .null_fd = open("/dev/null", O_RDWR | O_CLOEXEC),
    };
    if (n->null_fd >= 0)
        return OK;
    buf_fmt(why, "/dev/null: %s", strerror(errno));
    return ERR_IO;
}

/* In the child: nothing of the zygote stays open but the one socket. */
static NODISCARD bool keep_only(const struct nursery *n, int sock)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)prctl(PR_SET_NAME, "sallyport-scan", 0, 0, 0);
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0)
        return false;
    /* /dev/null for the standard three: what a library prints about a hostile file is no log. The
     * runtime of a sanitizer is to be heard. */
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
#if defined(SALLYPORT_SANITIZED) && SALLYPORT_SANITIZED
        if (fd == STDERR_FILENO)
            continue;
#endif
        if (dup2(n->null_fd, fd) != fd)
            return false;
    }
    if (sock != SOCK_FD && dup2(sock, SOCK_FD) != SOCK_FD)
        return false;
    return close_range(SOCK_FD + 1, ~0u, 0) == 0;
}

/* *ret_pid is 0 in the child, whose socket is SOCK_FD then. */
static NODISCARD enum err spawn(const struct nursery *n, pid_t *ret_pid, int *ret_sock,
                                struct buf *why)
{
    int pair[2];

    *ret_pid = -1;
    *ret_sock = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        buf_fmt(why, "socketpair: %s", strerror(errno));
        return err_from_errno(errno);
    }
    pid_t pid = fork();

    if (pid == 0) {
        if (!keep_only(n, pair[1]))
            _exit(WORKER_EXIT_SOCKET);
    } else {
        enum err e = pid < 0 ? err_from_errno(errno) : OK;

        if (pid < 0)
            buf_fmt(why, "fork: %s", strerror(errno));
        (void)close(pair[1]);
        if (e != OK) {
            (void)close(pair[0]);
            return e == ERR_AGAIN ? ERR_BUSY : e;
        }
        *ret_sock = pair[0];
    }
    *ret_pid = pid;
    return OK;
}

enum err nursery_fork(const struct nursery *n, pid_t *ret_pid, int *ret_sock, struct buf *why)
{
    struct jail_report report;
    pid_t pid;
    int sock;

    TRY(spawn(n, &pid, &sock, why));
    if (pid == 0) {
        if (jail_enter(&n->jail, &report, NULL) != OK)
            _exit(WORKER_EXIT_JAIL);
        _exit((int)worker_serve(SOCK_FD, n->engines));
    }
    (void)fcntl(sock, F_SETFL, O_NONBLOCK);
    *ret_pid = pid;
    *ret_sock = sock;
    return OK;
}

/* In the child of nursery_try: answers READY or BROKEN, as the zygote will. */
static _Noreturn void trial(const struct nursery *n)
{
    struct wire_message m = {.kind = WIRE_READY};
    struct jail_report report;
    struct buf text;

    buf_init(&text, WIRE_TEXT_MAX - 1);
    if (jail_enter(&n->jail, &report, &text) != OK || sample_inspect(n->engines, &text) != OK) {
        m.kind = WIRE_BROKEN;
        (void)span_copy(buf_span(&text), m.broken.text, sizeof m.broken.text);
    } else {
        jail_report_text(&report, &text);
        (void)span_copy(buf_span(&text), m.ready.layers, sizeof m.ready.layers);
    }
    _exit(wire_send(SOCK_FD, &m, -1) == OK ? WORKER_EXIT_DONE : WORKER_EXIT_SOCKET);
}

enum err nursery_try(const struct nursery *n, struct buf *layers, struct buf *why)
{
    struct wire_message m;
    int sock, fd, status = 0;
    pid_t pid;

    TRY(spawn(n, &pid, &sock, why));
    if (pid == 0)
        trial(n);
    enum err e = wire_receive(sock, &m, &fd);

    (void)close(sock);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (e == OK && m.kind == WIRE_READY) {
        buf_text(layers, m.ready.layers);
        return OK;
    }
    if (e == OK && m.kind == WIRE_BROKEN)
        buf_text(why, m.broken.text);
    else if (WIFSIGNALED(status))
        buf_fmt(why, "a worker on trial was killed by signal %d (%s)", WTERMSIG(status),
                sigdescr_np(WTERMSIG(status)));
    else
        buf_fmt(why, "a worker on trial ended with exit code %d", WEXITSTATUS(status));
    return ERR_POLICY;
}
