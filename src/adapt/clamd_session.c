/* SPDX-License-Identifier: Apache-2.0 */
/* clamd_session.c - one connection to clamd, kept: "zIDSESSION", then questions one after the
 * other.
 *
 * Seen with ClamAV 1.4.6: a descriptor's offset does not matter (it preads, and sets the offset to
 * 0, which all duplicates share); a session survives a reload of the database and uses the new one;
 * an idle one ends after IdleTimeout (30 s) with "COMMAND READ TIMED OUT\n" and no NUL; after most
 * errors the daemon closes the connection; a chunk that is larger than what StreamMaxLength leaves
 * is refused by its length alone, before its bytes are read. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "adapt/clamd_int.h"
#include "base/reader.h"
#include "net/stream.h"

#define REPLY_MAX 2048u
#define CHUNK_MAX (1u << 30)
#define WHY_MAX   160u

struct clamd_session {
    struct loop *loop;
    clamd_session_fn fn; /* NULL: closed */
    void *arg;
    struct address address;
    int fd; /* the stream's, once there is one */
    struct watch *connecting;
    struct stream *stream;
    bool opened; /* zIDSESSION was said */
    bool asked;
    uint32_t id;
    struct chain out;
    struct file_ref *pass; /* goes by descriptor when |out| is empty */
    char in[REPLY_MAX];
    size_t n_in;
    struct task later; /* frees, or tells of the loss */
    bool is_later, lost;
    char why[WHY_MAX];
};

/* ---- files ---- */

struct clamd_file {
    struct file_ref ref;
};

static void file_release(struct file_ref *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    free(CONTAINER_OF(f, struct clamd_file, ref));
}

void clamd_file_forget(struct file_ref *f)
{
    f->fd = -1;
}

struct file_ref *clamd_file_new(int fd)
{
    struct clamd_file *f = malloc(sizeof *f);

    if (!f)
        return NULL;
    f->ref = (struct file_ref){.fd = fd, .refs = 1, .release = file_release};
    return &f->ref;
}

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

int clamd_memfd(void)
{
    int fd = memfd_create("sallyport", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("sallyport", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd;
}

int clamd_memfd_seal(int fd)
{
    int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

    return fcntl(fd, F_ADD_SEALS, seals) == 0 ? 0 : errno;
}

/* ---- the end ---- */

static void run_later(struct task *t)
{
    struct clamd_session *s = CONTAINER_OF(t, struct clamd_session, later);

    s->is_later = false;
    if (!s->fn)
        free(s);
    else
        s->fn(s->arg, CLAMD_SESSION_LOST, span_of(s->why));
}

static void later(struct clamd_session *s)
{
    if (!s->is_later)
        loop_defer(s->loop, &s->later);
    s->is_later = true;
}

static void drop_socket(struct clamd_session *s)
{
    watch_close(s->connecting);
    s->connecting = NULL;
    if (s->stream)
        stream_close(s->stream, 0);
    else if (s->fd >= 0)
        (void)close(s->fd);
    s->stream = NULL;
    s->fd = -1;
    chain_done(&s->out);
    file_unref(s->pass);
    s->pass = NULL;
}

static PRINTF(2, 3) void lose(struct clamd_session *s, const char *fmt, ...)
{
    va_list ap;

    if (s->lost)
        return;
    s->lost = true;
    va_start(ap, fmt);
    (void)vsnprintf(s->why, sizeof s->why, fmt, ap);
    va_end(ap);
    drop_socket(s);
    later(s);
}

static void lose_errno(struct clamd_session *s, const char *what, int errnum)
{
    char text[96];

    lose(s, "%s: %s", what, strerror_r(errnum, text, sizeof text));
}

void clamd_session_close(struct clamd_session *s)
{
    if (!s)
        return;
    drop_socket(s);
    s->fn = NULL;
    later(s);
}

/* ---- out ---- */

/* Sends the descriptor with its command in one message. Only when nothing waits before it. */
static enum err send_file(struct clamd_session *s)
{
    static const char command[] =
        "zIDSESSION\0zFILDES\0"; /* its own NUL goes with the descriptor */
    size_t skip = s->opened ? sizeof "zIDSESSION" : 0;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)(command + skip),
                        .iov_len = sizeof command - skip};
    union {
        struct cmsghdr h;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t n;

    memset(&control, 0, sizeof control);
    control.h.cmsg_level = SOL_SOCKET;
    control.h.cmsg_type = SCM_RIGHTS;
    control.h.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.h), &s->pass->fd, sizeof(int));
    do
        n = sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        stream_wait_for_room(s->stream);
    if (n < 0)
        return err_from_errno(errno);
    s->opened = true;
    file_unref(s->pass);
    s->pass = NULL;
    /* A Unix socket takes so little whole, or not at all. */
    return (size_t)n == iov.iov_len ? OK : ERR_IO;
}

static enum err send_all(struct clamd_session *s)
{
    uint64_t n;

    if (s->out.len > 0)
        TRY(stream_write(s->stream, &s->out, &n));
    return s->pass ? send_file(s) : OK;
}

/* A daemon that refuses says why and closes: the reason may wait to be read when writing fails. So
 * the end is told by reading, except for what is wrong on our side. */
static void pump_out(struct clamd_session *s)
{
    enum err e = send_all(s);

    if (e == OK || e == ERR_RESET)
        stream_arm(s->stream, STREAM_READABLE);
    else if (e == ERR_AGAIN)
        stream_arm(s->stream, STREAM_READABLE | STREAM_WRITABLE);
    else
        lose(s, "cannot send a file to the daemon: %s", err_text(e));
}

static void ask(struct clamd_session *s)
{
    s->asked = true;
    s->id++;
    if (!s->lost)
        pump_out(s);
}

static enum err open_session(struct clamd_session *s)
{
    if (s->opened)
        return OK;
    s->opened = true;
    return chain_append_text(&s->out, (struct span){"zIDSESSION", sizeof "zIDSESSION"});
}

static enum err fill_version(struct clamd_session *s)
{
    TRY(open_session(s));
    return chain_append_text(&s->out, (struct span){"zVERSION", sizeof "zVERSION"});
}

static enum err append_u32(struct chain *c, uint32_t v)
{
    uint8_t bytes[4];
    struct writer w = writer_of(bytes, sizeof bytes);

    write_u32(&w, v);
    return chain_append_copy(c, writer_span(&w));
}

static enum err fill_instream(struct clamd_session *s, struct file_ref *f, uint64_t off,
                              uint64_t len)
{
    TRY(open_session(s));
    TRY(chain_append_text(&s->out, (struct span){"zINSTREAM", sizeof "zINSTREAM"}));
    while (len > 0) {
        uint32_t n = len < CHUNK_MAX ? (uint32_t)len : CHUNK_MAX;

        TRY(append_u32(&s->out, n));
        TRY(chain_append_file(&s->out, f, off, n));
        off += n;
        len -= n;
    }
    return append_u32(&s->out, 0);
}

void clamd_session_version(struct clamd_session *s)
{
    enum err e = fill_version(s);

    if (e)
        lose(s, "%s", err_text(e));
    ask(s);
}

void clamd_session_fildes(struct clamd_session *s, struct file_ref *f)
{
    s->pass = file_ref(f);
    ask(s);
}

void clamd_session_instream(struct clamd_session *s, struct file_ref *f, uint64_t off, uint64_t len)
{
    enum err e = fill_instream(s, f, off, len);

    if (e)
        lose(s, "%s", err_text(e));
    ask(s);
}

/* ---- in ---- */

bool clamd_session_is_idle(const struct clamd_session *s)
{
    return s->stream && !s->asked && s->out.len == 0 && !s->pass;
}

uint32_t clamd_session_id(const struct clamd_session *s)
{
    return s->id;
}

static void at_eof(struct clamd_session *s, enum err e)
{
    size_t n = 0;

    while (n < s->n_in && s->in[n] != '\n')
        n++;
    if (n > 0)
        lose(s, "the daemon closed the session: %.*s", (int)n, s->in);
    else
        lose(s, "the daemon closed the session%s", e == ERR_EOF ? "" : " without reading all");
}

/* |s| may be gone after it. */
static void take_reply(struct clamd_session *s)
{
    const char *end = memchr(s->in, '\0', s->n_in);
    struct span reply = {s->in, s->n_in};
    char text[REPLY_MAX];

    if (!end) {
        if (s->n_in == sizeof s->in)
            lose(s, "the daemon's answer has no end");
        return;
    }
    reply.n = (size_t)(end - s->in);
    if (!s->asked || reply.n + 1 != s->n_in) {
        lose(s, "the daemon answers what was not asked");
        return;
    }
    memcpy(text, reply.p, reply.n);
    reply.p = text;
    s->n_in = 0;
    s->asked = false;
    s->fn(s->arg, CLAMD_SESSION_REPLY, reply);
}

static void pump_in(struct clamd_session *s)
{
    struct block *b = block_new();
    uint32_t n = 0;
    enum err e = b ? stream_read(s->stream, b, (uint32_t)(sizeof s->in - s->n_in), &n) : ERR_NOMEM;

    if (e == OK) {
        memcpy(s->in + s->n_in, b->data, n);
        s->n_in += n;
    }
    block_unref(b);
    if (e == OK)
        take_reply(s); /* what waits behind it is told of again */
    else if (e == ERR_NOMEM)
        lose(s, "%s", err_text(e));
    else if (e != ERR_AGAIN)
        at_eof(s, e);
}

static void on_stream(void *arg, unsigned events)
{
    struct clamd_session *s = arg;

    if (events & STREAM_WRITABLE) {
        pump_out(s);
        if (s->lost)
            return;
    }
    if (events & STREAM_READABLE)
        pump_in(s);
}

/* ---- connecting ---- */

static void connected(struct clamd_session *s)
{
    watch_close(s->connecting);
    s->connecting = NULL;
    stream_no_delay(s->fd);
    enum err e = stream_new(s->loop, s->fd, &s->address, on_stream, s, &s->stream);

    if (e) {
        lose(s, "%s", err_text(e));
        return;
    }
    stream_arm(s->stream, STREAM_READABLE);
    s->fn(s->arg, CLAMD_SESSION_READY, SPAN_NONE);
}

static void on_connect(void *arg, unsigned events)
{
    struct clamd_session *s = arg;
    int errnum = 0;
    socklen_t n = sizeof errnum;

    (void)events;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &errnum, &n) != 0)
        errnum = errno;
    if (errnum)
        lose_errno(s, "cannot connect", errnum);
    else
        connected(s);
}

/* A Unix socket connects at once or, when the daemon's backlog is full, not at all (EAGAIN). Both
 * are told on a later turn. */
static void start_connect(struct clamd_session *s)
{
    s->fd = socket(s->address.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0 ||
        (connect(s->fd, (const struct sockaddr *)&s->address.ss, s->address.len) != 0 &&
         errno != EINPROGRESS)) {
        lose_errno(s, "cannot connect", errno);
        return;
    }
    enum err e = watch_new(s->loop, s->fd, on_connect, s, &s->connecting);

    if (e)
        lose(s, "%s", err_text(e));
    else
        watch_arm(s->connecting, WATCH_WRITE);
}

enum err clamd_session_new(struct loop *l, const struct address *a, clamd_session_fn fn, void *arg,
                           struct clamd_session **ret)
{
    struct clamd_session *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    s->loop = l;
    s->address = *a;
    s->fn = fn;
    s->arg = arg;
    s->fd = -1;
    s->later.run = run_later;
    chain_init(&s->out, 0);
    start_connect(s);
    *ret = s;
    return OK;
}
