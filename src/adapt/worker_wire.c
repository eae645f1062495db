/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/worker_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "adapt/objects.h"

/* First byte of every packet. Gateway and worker are installed together, but an upgrade can leave
 * an old zygote beside a new gateway for a moment: they must notice. */
#define WIRE_VERSION 4u

#define ERR_ROW(id, value, class, status, code, text) +1
enum {
    ERRS = 0
#include "base/codes.def"
};
#undef ERR_ROW

/* A text is its length (16 bits) and its bytes without the closing NUL, so that one message has one
 * encoding only. */
static void write_field(struct writer *w, const char *text, size_t cap)
{
    size_t n = strnlen(text, cap);

    if (n == cap) {
        w->err = ERR_LIMIT;
        return;
    }
    write_u16(w, (uint16_t)n);
    write_span(w, (struct span){text, n});
}

static void read_field(struct reader *r, char *dst, size_t cap)
{
    struct span s = read_span(r, read_u16(r));

    if (s.n >= cap || span_find(s, '\0') != s.n) {
        r->err = ERR_SYNTAX;
        return;
    }
    (void)span_copy(s, dst, cap);
}

/* An enumeration or flag on the wire: |n| values from 0. */
static uint8_t read_range(struct reader *r, unsigned n)
{
    uint8_t v = read_u8(r);

    if (v >= n) {
        r->err = ERR_SYNTAX;
        return 0;
    }
    return v;
}

/* Further causes, each once, and none of what is passed. */
static bool also_is_sound(const struct scan_result *s, bool passed)
{
    return !(s->also & ~((1u << CAUSES) - 2)) && !(passed && s->also) &&
           !(s->also & 1u << ((unsigned)s->cause % CAUSES));
}

/* What a verdict may say: PASS has no cause, and what is not passed has one, because the service's
 * action is looked up by it. */
static bool result_is_sound(const struct scan_result *s)
{
    bool passed = s->verdict == VERDICT_PASS || s->verdict == VERDICT_CHANGED;

    return (size_t)s->verdict < VERDICTS && (size_t)s->cause < CAUSES && (size_t)s->err < ERRS &&
           s->n_findings <= FINDINGS_MAX && s->n_objects <= OBJECTS_MAX &&
           passed == (s->cause == CAUSE_NONE) && also_is_sound(s, passed);
}

static void write_result(struct writer *w, const struct scan_result *s)
{
    if (!result_is_sound(s)) {
        w->err = ERR_BUG;
        return;
    }
    write_u8(w, (uint8_t)s->verdict);
    write_u8(w, (uint8_t)s->cause);
    write_u16(w, (uint16_t)s->also);
    write_u8(w, (uint8_t)s->err);
    write_u64(w, s->scan_us);
    write_field(w, s->why, sizeof s->why);
    write_u8(w, (uint8_t)s->n_findings);
    for (unsigned i = 0; i < s->n_findings; i++) {
        const struct finding *f = &s->findings[i];

        write_field(w, f->engine, sizeof f->engine);
        write_field(w, f->name, sizeof f->name);
        write_field(w, f->where, sizeof f->where);
        write_u8(w, f->note);
    }
    write_field(w, s->sniffed, sizeof s->sniffed);
    write_u32(w, s->n_objects);
    write_u8(w, s->incomplete);
    write_u32(w, s->pages);
}

static void read_result(struct reader *r, struct scan_result *s)
{
    s->verdict = (enum verdict)read_range(r, VERDICTS);
    s->cause = (enum cause)read_range(r, CAUSES);
    s->also = read_u16(r);
    s->err = (enum err)read_range(r, ERRS);
    s->scan_us = read_u64(r);
    read_field(r, s->why, sizeof s->why);
    s->n_findings = read_range(r, FINDINGS_MAX + 1);
    for (unsigned i = 0; i < s->n_findings; i++) {
        struct finding *f = &s->findings[i];

        read_field(r, f->engine, sizeof f->engine);
        read_field(r, f->name, sizeof f->name);
        read_field(r, f->where, sizeof f->where);
        f->note = read_range(r, 2);
    }
    read_field(r, s->sniffed, sizeof s->sniffed);
    s->n_objects = read_u32(r);
    s->incomplete = read_range(r, 2);
    s->pages = read_u32(r);
    if (!r->err && !result_is_sound(s))
        r->err = ERR_SYNTAX;
}

static void write_job(struct writer *w, const struct wire_message *m)
{
    if (m->job.engines & ~WIRE_ENGINES_ALL) {
        w->err = ERR_BUG;
        return;
    }
    write_u64(w, m->job.id);
    write_u32(w, m->job.engines);
    write_u32(w, m->job.time_ms);
    write_u64(w, m->job.len);
    write_field(w, m->job.name, sizeof m->job.name);
    write_field(w, m->job.type, sizeof m->job.type);
    write_field(w, m->job.encoding, sizeof m->job.encoding);
    write_u64(w, m->job.unpack.size_max);
    write_u32(w, m->job.unpack.ratio_max);
    write_u32(w, m->job.unpack.codings_max);
    write_u32(w, m->job.unpack.parts_max);
    write_u8(w, m->job.want_objects);
}

static void read_job(struct reader *r, struct wire_message *m)
{
    m->job.id = read_u64(r);
    m->job.engines = read_u32(r);
    m->job.time_ms = read_u32(r);
    m->job.len = read_u64(r);
    read_field(r, m->job.name, sizeof m->job.name);
    read_field(r, m->job.type, sizeof m->job.type);
    read_field(r, m->job.encoding, sizeof m->job.encoding);
    m->job.unpack.size_max = read_u64(r);
    m->job.unpack.ratio_max = read_u32(r);
    m->job.unpack.codings_max = read_u32(r);
    m->job.unpack.parts_max = read_u32(r);
    m->job.want_objects = read_range(r, 2);
    if (m->job.engines & ~WIRE_ENGINES_ALL)
        r->err = ERR_SYNTAX;
}

static void write_body(struct writer *w, const struct wire_message *m)
{
    switch (m->kind) {
    case WIRE_CHANNEL: break;
    case WIRE_READY:
        write_field(w, m->ready.engines, sizeof m->ready.engines);
        write_field(w, m->ready.layers, sizeof m->ready.layers);
        break;
    case WIRE_BROKEN: write_field(w, m->broken.text, sizeof m->broken.text); break;
    case WIRE_FORK: write_u32(w, m->fork.id); break;
    case WIRE_FORKED:
        write_u32(w, m->forked.id);
        write_u32(w, m->forked.pid);
        break;
    case WIRE_FORK_FAILED:
        write_u32(w, m->fork_failed.id);
        write_field(w, m->fork_failed.text, sizeof m->fork_failed.text);
        break;
    case WIRE_KILL: write_u32(w, m->kill.pid); break;
    case WIRE_DIED:
        write_u32(w, m->died.pid);
        write_u32(w, m->died.signal);
        write_u32(w, m->died.exit_code);
        break;
    case WIRE_JOB: write_job(w, m); break;
    case WIRE_RESULT:
        write_u64(w, m->result.id);
        write_result(w, &m->result.result);
        if (w->err == OK) /* a later write would make ERR_LIMIT of every error */
            write_u8(w, m->result.has_objects);
        break;
    }
}

static void read_body(struct reader *r, struct wire_message *m)
{
    switch (m->kind) {
    case WIRE_CHANNEL: break;
    case WIRE_READY:
        read_field(r, m->ready.engines, sizeof m->ready.engines);
        read_field(r, m->ready.layers, sizeof m->ready.layers);
        break;
    case WIRE_BROKEN: read_field(r, m->broken.text, sizeof m->broken.text); break;
    case WIRE_FORK: m->fork.id = read_u32(r); break;
    case WIRE_FORKED:
        m->forked.id = read_u32(r);
        m->forked.pid = read_u32(r);
        break;
    case WIRE_FORK_FAILED:
        m->fork_failed.id = read_u32(r);
        read_field(r, m->fork_failed.text, sizeof m->fork_failed.text);
        break;
    case WIRE_KILL: m->kill.pid = read_u32(r); break;
    case WIRE_DIED:
        m->died.pid = read_u32(r);
        m->died.signal = read_u32(r);
        m->died.exit_code = read_u32(r);
        break;
    case WIRE_JOB: read_job(r, m); break;
    case WIRE_RESULT:
        m->result.id = read_u64(r);
        read_result(r, &m->result.result);
        m->result.has_objects = read_range(r, 2);
        break;
    }
}

static bool kind_is_known(unsigned kind)
{
    return kind >= WIRE_CHANNEL && kind <= WIRE_RESULT;
}

enum err wire_encode(const struct wire_message *m, struct writer *w)
{
    if (!kind_is_known((unsigned)m->kind))
        return ERR_BUG;
    write_u8(w, WIRE_VERSION);
    write_u8(w, (uint8_t)m->kind);
    write_body(w, m);
    return w->err;
}

enum err wire_decode(struct span packet, struct wire_message *ret)
{
    struct reader r = reader_of(packet.p, packet.n);
    struct wire_message m;
    unsigned version = read_u8(&r), kind = read_u8(&r);

    if (r.err || packet.n > WIRE_MAX || version != WIRE_VERSION || !kind_is_known(kind))
        return ERR_SYNTAX;
    memset(&m, 0, sizeof m);
    m.kind = (enum wire_kind)kind;
    read_body(&r, &m);
    if (r.err || reader_left(&r))
        return ERR_SYNTAX;
    *ret = m;
    return OK;
}

bool wire_message_has_fd(const struct wire_message *m)
{
    return m->kind == WIRE_CHANNEL || m->kind == WIRE_FORKED || m->kind == WIRE_JOB ||
           (m->kind == WIRE_RESULT && m->result.has_objects);
}

/* Ancillary data is aligned for its header, not for char. */
union fd_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

enum err wire_send(int sock, const struct wire_message *m, int fd)
{
    uint8_t packet[WIRE_MAX];
    struct writer w = writer_of(packet, sizeof packet);
    union fd_control control = {0};
    ssize_t n;

    if (wire_message_has_fd(m) != (fd >= 0))
        return ERR_BUG;
    TRY(wire_encode(m, &w));
    struct iovec iov = {packet, w.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    do {
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    /* The kernel counts the descriptors that are on their way from all processes of a user. */
    if (n < 0 && errno == ETOOMANYREFS)
        return ERR_BUSY;
    return n < 0 ? err_from_errno(errno) : OK;
}

/* Takes the first descriptor of |msg| and closes the others: the padding of one has room for two,
 * and a peer that was taken over may use it. Returns how many came. */
static unsigned take_fds(struct msghdr *msg, int *ret_fd)
{
    unsigned n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t off = 0; CMSG_LEN(off + sizeof(int)) <= c->cmsg_len; off += sizeof(int), n++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + off, sizeof fd);
            if (n == 0)
                *ret_fd = fd;
            else
                (void)close(fd);
        }
    }
    return n;
}

enum err wire_receive(int sock, struct wire_message *ret, int *ret_fd)
{
    uint8_t packet[WIRE_MAX];
    union fd_control control;
    struct iovec iov = {packet, sizeof packet};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    ssize_t n;
    int fd = -1;

    *ret_fd = -1; /* callers close what they got without looking at the error first */
    do {
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_from_errno(errno);

    unsigned n_fds = take_fds(&msg, &fd);
    bool whole = !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && n_fds <= 1;
    enum err e = whole ? wire_decode((struct span){(char *)packet, (size_t)n}, ret) : ERR_SYNTAX;

    if (n == 0 && n_fds == 0)
        return ERR_EOF;
    if (e == OK && wire_message_has_fd(ret) != (n_fds == 1))
        e = ERR_SYNTAX;
    if (e != OK && fd >= 0)
        (void)close(fd);
    if (e == OK)
        *ret_fd = fd;
    return e;
}
