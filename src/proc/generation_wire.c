/* SPDX-License-Identifier: Apache-2.0 */
/* generation_wire.c - one message of the supervisor and a gateway: codec, send, receive. Both ends
 * are the same build, so the packet has no version; it is checked all the same, because the gateway
 * is the process that an attacker gets first. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proc/generation.h"

static bool kind_is_known(unsigned kind)
{
    return kind >= PROC_BEGIN && kind <= PROC_DRAINED;
}

enum err proc_encode(const struct proc_message *m, struct writer *w)
{
    size_t n = strnlen(m->text, sizeof m->text);

    if (!kind_is_known((unsigned)m->kind) || n == sizeof m->text || m->live > 1)
        return ERR_BUG;
    write_u8(w, (uint8_t)m->kind);
    write_u8(w, (uint8_t)m->live);
    write_u32(w, m->number);
    write_u32(w, m->loop);
    write_u32(w, m->threads);
    write_u64(w, m->ms);
    write_u16(w, (uint16_t)n);
    write_span(w, (struct span){m->text, n});
    return w->err;
}

enum err proc_decode(struct span packet, struct proc_message *ret)
{
    struct reader r = reader_of(packet.p, packet.n);
    unsigned kind = read_u8(&r), live = read_u8(&r);
    uint32_t number = read_u32(&r), loop = read_u32(&r), threads = read_u32(&r);
    uint64_t ms = read_u64(&r);
    struct span text = read_span(&r, read_u16(&r));

    if (r.err || reader_left(&r) != 0 || !kind_is_known(kind) || live > 1 ||
        text.n >= sizeof ret->text || span_find(text, '\0') != text.n)
        return ERR_SYNTAX;
    ret->kind = (enum proc_kind)kind;
    ret->live = live;
    ret->number = number;
    ret->loop = loop;
    ret->threads = threads;
    ret->ms = ms;
    (void)span_copy(text, ret->text, sizeof ret->text);
    return OK;
}

enum err proc_send_packet(int sock, struct span packet, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    /* sendmsg() does not write to the packet; iovec has no const. */
    struct iovec iov = {.iov_base = (void *)(uintptr_t)packet.p, .iov_len = packet.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    for (;;) {
        if (sendmsg(sock, &msg, MSG_NOSIGNAL) >= 0)
            return OK;
        if (errno != EINTR)
            return err_from_errno(errno);
    }
}

enum err proc_send(int sock, const struct proc_message *m, int fd)
{
    char packet[PROC_PACKET_MAX];
    struct writer w = writer_of(packet, sizeof packet);

    TRY(proc_encode(m, &w));
    return proc_send_packet(sock, writer_span(&w), fd);
}

/* Takes the first descriptor of |msg| and closes the others: the padding of one has room for two.
 * Returns how many came. */
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

enum err proc_receive(int sock, struct proc_message *ret, int *ret_fd)
{
    char packet[PROC_PACKET_MAX + 1]; /* one more: a longer packet is seen, not cut */
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = packet, .iov_len = sizeof packet};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    ssize_t n;
    int fd = -1;

    *ret_fd = -1;
    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_from_errno(errno);

    unsigned n_fds = take_fds(&msg, &fd);
    bool whole = !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && n_fds <= 1;

    if (n == 0 && n_fds == 0)
        return ERR_EOF;
    enum err e = whole ? proc_decode((struct span){packet, (size_t)n}, ret) : ERR_SYNTAX;

    if (e && fd >= 0) {
        (void)close(fd);
        fd = -1;
    }
    *ret_fd = fd;
    return e;
}
