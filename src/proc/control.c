/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - the control socket's path, and the client's side: blocking, one deadline for all. */
#include "proc/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#define ANSWER_MAX  (32u << 20)
#define FDS_BATCH   253u /* SCM_MAX_FD */
#define HANGUPS_MAX 3u

/* ---- addresses ---- */

/* sun_path has room for 107 bytes; a deeper state directory is reached through a descriptor of it,
 * *ret_dir (-1 when none was needed), which the caller closes after bind or connect. */
static bool unix_address(const char *path, struct sockaddr_un *ret, int *ret_dir)
{
    struct span p = span_of(path);
    size_t slash = p.n;
    char dir[4096];

    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_dir = -1;
    if (p.n < sizeof ret->sun_path) {
        (void)span_copy(p, ret->sun_path, sizeof ret->sun_path);
        return true;
    }
    while (slash > 0 && path[slash - 1] != '/')
        slash--;
    if (slash == 0 || slash >= sizeof dir) {
        errno = ENAMETOOLONG;
        return false;
    }
    (void)span_copy(span_sub(p, 0, slash), dir, sizeof dir);
    *ret_dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*ret_dir < 0)
        return false;
    (void)snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%.64s", *ret_dir,
                   path + slash);
    return true;
}

static void close_kept(int fd)
{
    int kept = errno;

    if (fd >= 0)
        (void)close(fd);
    errno = kept;
}

enum err control_listen(const char *path, int *ret_fd, int *reterr_errno)
{
    struct sockaddr_un sa;
    int dir, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask;

    if (fd < 0 || !unix_address(path, &sa, &dir)) {
        *reterr_errno = errno;
        close_kept(fd);
        return ERR_IO;
    }
    (void)unlink(path);
    mask = umask(0177);
    int failed = bind(fd, (const struct sockaddr *)&sa, sizeof sa) != 0 || listen(fd, 64) != 0;

    (void)umask(mask);
    *reterr_errno = errno;
    close_kept(dir);
    if (failed) {
        (void)close(fd);
        return ERR_IO;
    }
    *ret_fd = fd;
    return OK;
}

/* ---- one connection ---- */

struct conn {
    const char *path;
    int fd;
    uint64_t deadline_ms;
    struct buf in;
    int *fds; /* received descriptors; NULL: none are wanted */
    unsigned fds_cap, n_fds;
    struct buf *why;
};

static enum err conn_fail(struct conn *c, enum err e, const char *what)
{
    buf_fmt(c->why, "the gateway at %s %s", c->path, what);
    return e;
}

static enum err conn_open(struct conn *c)
{
    struct sockaddr_un sa;
    int dir = -1;

    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd >= 0 && unix_address(c->path, &sa, &dir) &&
        connect(c->fd, (const struct sockaddr *)&sa, sizeof sa) == 0) {
        close_kept(dir);
        return OK;
    }
    int errnum = errno;

    close_kept(dir);
    close_kept(c->fd);
    c->fd = -1;
    if (errnum == ENOENT || errnum == ECONNREFUSED)
        buf_fmt(c->why, "no gateway answers at %s: is it running with this state directory?",
                c->path);
    else if (errnum == EACCES || errnum == EPERM)
        buf_fmt(c->why, "%s: ask as root, or as the user that Sallyport runs as", c->path);
    else
        buf_fmt(c->why, "cannot connect to %s: %s", c->path, strerror(errnum));
    return ERR_UPSTREAM;
}

static enum err conn_wait(struct conn *c, short events)
{
    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = events};
        uint64_t now = clock_mono_ms(&clock_system);
        uint64_t left = now < c->deadline_ms ? c->deadline_ms - now : 0;
        int r = poll(&p, 1, left > 60000 ? 60000 : (int)left);

        if (r > 0)
            return OK;
        if (r < 0 && errno != EINTR)
            return conn_fail(c, ERR_IO, "cannot be waited for");
        if (left == 0)
            return conn_fail(c, ERR_TIMEOUT, "does not answer in time");
    }
}

static enum err conn_send(struct conn *c, const char *command)
{
    struct span line = span_of(command);
    struct buf out;
    size_t sent = 0;
    enum err e = OK;

    buf_init(&out, 0);
    buf_add(&out, line);
    if (!span_ends(line, SPAN("\n")))
        buf_char(&out, '\n');
    if (out.err)
        e = out.err;
    while (!e && sent < out.n) {
        ssize_t n = send(c->fd, out.p + sent, out.n - sent, MSG_NOSIGNAL);

        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN)
            e = conn_wait(c, POLLOUT);
        else if (errno != EINTR)
            e = conn_fail(c, ERR_RESET, "closed the connection");
    }
    buf_done(&out);
    return e;
}

static enum err take_fds(struct conn *c, struct msghdr *msg)
{
    enum err e =
        msg->msg_flags & MSG_CTRUNC ? conn_fail(c, ERR_PROTO, "sent what does not fit here") : OK;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (c->n_fds < c->fds_cap) {
                c->fds[c->n_fds++] = fd;
                continue;
            }
            (void)close(fd);
            e = conn_fail(c, ERR_PROTO, "sent more descriptors than it announced");
        }
    }
    return e;
}

/* Reads what is there. Descriptors come with any byte: a stream may glue the line and the first
 * batch together. */
static enum err conn_read(struct conn *c)
{
    union {
        char bytes[CMSG_SPACE(FDS_BATCH * sizeof(int))];
        struct cmsghdr align;
    } control;
    char *room = buf_reserve(&c->in, 4096);
    struct iovec iov = {.iov_base = room, .iov_len = 4096};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};

    if (!room)
        return conn_fail(c, ERR_PROTO, "sent a line that is too long");
    TRY(conn_wait(c, POLLIN));
    ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return OK;
    if (n <= 0)
        return conn_fail(c, ERR_RESET, "closed the connection");
    c->in.n += (size_t)n;
    return take_fds(c, &msg);
}

/* The next line that is not empty, without its LF; valid until the next read. */
static enum err conn_line(struct conn *c, struct span *ret)
{
    for (;;) {
        while (c->in.n > 0 && c->in.p[0] == '\n')
            buf_drop(&c->in, 1);
        size_t end = span_find(buf_span(&c->in), '\n');

        if (end < c->in.n) {
            *ret = span_sub(buf_span(&c->in), 0, end);
            return OK;
        }
        TRY(conn_read(c));
    }
}

static struct conn conn_to(const char *path, int fd, uint64_t timeout_ms, struct buf *why)
{
    struct conn c = {.path = path,
                     .fd = fd,
                     .deadline_ms = clock_mono_ms(&clock_system) + timeout_ms,
                     .why = why};

    buf_init(&c.in, ANSWER_MAX);
    return c;
}

static enum err conn_ask(struct conn *c, const char *command, struct span *ret)
{
    if (c->fd < 0)
        TRY(conn_open(c));
    TRY(conn_send(c, command));
    return conn_line(c, ret);
}

enum err control_ask(const char *path, const char *command, uint64_t timeout_ms,
                     struct buf *ret_answer, struct buf *why)
{
    struct conn c = conn_to(path, -1, timeout_ms, why);
    struct span line;
    enum err e = conn_ask(&c, command, &line);

    /* A gateway that hands over to the next one hangs up on those whom it has not heard; what it
     * has heard it has answered. */
    for (unsigned i = 0; i < HANGUPS_MAX && e == ERR_RESET && c.in.n == 0; i++) {
        close_kept(c.fd);
        c.fd = -1;
        buf_reset(why);
        e = conn_ask(&c, command, &line);
    }
    if (!e) {
        buf_add(ret_answer, line);
        e = ret_answer->err;
    }
    close_kept(c.fd);
    buf_done(&c.in);
    return e;
}

/* ---- takeover ---- */

/* {"error":"..."} as our own complaint. */
static enum err refused(struct conn *c, const json_t *answer)
{
    const char *text = json_string_value(json_object_get(answer, "error"));

    buf_fmt(c->why, "the gateway at %s refused: %s", c->path, text ? text : "no sentence");
    return ERR_POLICY;
}

static enum err read_list(struct conn *c, struct span line, struct control_socket *ret,
                          unsigned cap, unsigned *ret_n)
{
    json_error_t why;
    json_t *answer = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &why);
    const json_t *list = json_object_get(answer, "sockets");
    size_t n = json_array_size(list);
    enum err e = OK;

    if (!json_is_array(list))
        e = refused(c, answer);
    else if (n > cap)
        e = conn_fail(c, ERR_PROTO, "has more sockets than fit here");
    for (size_t i = 0; !e && i < n; i++) {
        const json_t *one = json_array_get(list, i);
        const json_t *name = json_object_get(one, "listener");
        const json_t *loop = json_object_get(one, "loop");

        if (!json_is_string(name) || json_string_length(name) >= sizeof ret[i].listener ||
            !json_is_integer(loop) || json_integer_value(loop) < 0 ||
            json_integer_value(loop) > 65535) {
            e = conn_fail(c, ERR_PROTO, "sent a list that cannot be read");
            break;
        }
        (void)span_copy(span_of(json_string_value(name)), ret[i].listener, sizeof ret[i].listener);
        ret[i].loop = (unsigned)json_integer_value(loop);
    }
    json_decref(answer);
    if (!e)
        *ret_n = (unsigned)n;
    return e;
}

static enum err takeover(struct conn *c, struct control_socket *ret, unsigned cap, unsigned *ret_n)
{
    struct span line;
    unsigned n = 0;

    TRY(conn_ask(c, "{\"command\":\"takeover\"}", &line));
    TRY(read_list(c, line, ret, cap, &n));
    buf_drop(&c->in, line.n + 1);
    while (c->n_fds < n)
        TRY(conn_read(c));
    if (c->n_fds > n)
        return conn_fail(c, ERR_PROTO, "sent more descriptors than it announced");
    for (unsigned i = 0; i < n; i++)
        ret[i].fd = c->fds[i];
    *ret_n = n;
    return OK;
}

enum err control_takeover(const char *path, uint64_t timeout_ms, struct control_socket *ret,
                          unsigned cap, unsigned *ret_n, int *ret_conn, struct buf *why)
{
    struct conn c = conn_to(path, -1, timeout_ms, why);

    c.fds = calloc(cap ? cap : 1, sizeof *c.fds);
    if (!c.fds)
        return ERR_NOMEM;
    c.fds_cap = cap;
    enum err e = takeover(&c, ret, cap, ret_n);

    if (e) {
        for (unsigned i = 0; i < c.n_fds; i++)
            (void)close(c.fds[i]);
        close_kept(c.fd);
    } else {
        *ret_conn = c.fd;
    }
    free(c.fds);
    buf_done(&c.in);
    return e;
}

enum err control_drain(int conn, uint64_t ms, uint64_t timeout_ms, struct buf *why)
{
    struct conn c = conn_to("the other end", conn, timeout_ms, why);
    struct span line;
    char command[64];

    (void)snprintf(command, sizeof command, "{\"command\":\"drain\",\"ms\":%llu}",
                   (unsigned long long)ms);
    enum err e = conn_ask(&c, command, &line);

    if (!e && !span_eq(line, SPAN("{\"ok\":true}")))
        e = conn_fail(&c, ERR_PROTO, "refused to drain");
    buf_done(&c.in);
    return e;
}
