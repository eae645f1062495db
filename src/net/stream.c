/* SPDX-License-Identifier: Apache-2.0 */
#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/stream_int.h"
#include "protect/policy.h"

#define IOV_MAX_HERE  64u
#define WRITE_MAX     (1u << 20) /* bytes of one sendmsg(2) */
#define EXPECT_MIN    2048u      /* bytes: fewer come together anyway */
#define EXPECT_MAX    (64u << 10)
#define LINGER_ROUNDS 16u /* reads per turn of a lingering stream */

uint8_t *stream_scratch(void)
{
    static _Thread_local uint8_t scratch[STREAM_RECORD_MAX];

    return scratch;
}

/* Errors. */

void stream_fail(struct stream *s, enum err e, const char *why)
{
    /* A peer that goes away while it is written to may have said why, which is read later. */
    bool better = s->failure == ERR_RESET && e == ERR_TLS;

    if (s->failure && !better)
        return;
    s->first_error = s->error; /* drivers may hold it */
    s->failure = e;
    s->error = span_dup(span_of(why));
}

enum err stream_fail_out(struct stream *s, enum err e, const char *why)
{
    s->out_err = e;
    chain_done(&s->out);
    stream_fail(s, e, why);
    return e;
}

enum err stream_fail_errno(struct stream *s, int errnum)
{
    enum err e = err_from_errno(errnum);
    char text[128];

    /* The GNU one: returns the text, perhaps not in |text|. */
    stream_fail(s, e, strerror_r(errnum, text, sizeof text));
    return e;
}

/* Events. */

static unsigned wanted(const struct stream *s)
{
    unsigned events = stream_has_unsent(s) ? EDGE_WRITE : 0;

    switch (s->state) {
    case STREAM_HANDSHAKE: return s->turn.queued ? 0 : events | EDGE_READ;
    case STREAM_LINGER: return events | (s->transport_eof ? 0 : EDGE_READ);
    case STREAM_BROKEN:
    case STREAM_GONE: return 0;
    case STREAM_CLEAR:
    case STREAM_TLS: break;
    }
    if (!s->in_err && (s->armed & STREAM_READABLE || s->write_wants_read))
        events |= EDGE_READ;
    /* The socket has room while a file is being loaded: waiting for that would spin. */
    if (s->armed & STREAM_WRITABLE && !stream_is_loading(s) && !s->write_wants_read)
        events |= EDGE_WRITE;
    return events;
}

void stream_update(struct stream *s)
{
    if (s->state == STREAM_GONE)
        return;
    /* An edge comes once. Who wants what it told of, now or still, hears of it in the next turn. */
    if (s->ready & wanted(s) && !s->again_queued) {
        s->again_queued = true;
        loop_yield(s->loop, &s->again);
    }
    if (s->armed & STREAM_READABLE && stream_has_pending(s))
        stream_kick(s, STREAM_READABLE);
}

void stream_deliver(struct stream *s, unsigned events)
{
    if (events && s->fn)
        s->fn(s->arg, events);
    stream_update(s);
}

static void run_kick(struct task *t)
{
    struct stream *s = CONTAINER_OF(t, struct stream, kick);
    unsigned events = s->kicks;

    s->kicked = false;
    s->kicks = 0;
    if (s->state == STREAM_GONE || s->state == STREAM_LINGER)
        return;
    if (!stream_has_pending(s))
        events &= ~(unsigned)STREAM_READABLE;
    stream_deliver(s, events & (s->armed | STREAM_OPEN | STREAM_FAILED));
}

void stream_kick(struct stream *s, unsigned events)
{
    s->kicks |= events;
    if (s->kicked)
        return;
    s->kicked = true;
    loop_defer(s->loop, &s->kick);
}

static void on_ready(struct stream *s, unsigned events)
{
    unsigned tell = 0;

    if (events & EDGE_READ) {
        s->starved = false;
        tell |= STREAM_READABLE;
        if (s->write_wants_read) {
            s->write_wants_read = false;
            tell |= STREAM_WRITABLE;
        }
    }
    if (events & EDGE_WRITE && stream_flush(s) != ERR_AGAIN && !stream_is_loading(s))
        tell |= STREAM_WRITABLE;
    stream_shut_if_due(s);
    stream_deliver(s, tell & s->armed);
}

static void release(struct stream *s);

static void linger_on(struct stream *s, unsigned events)
{
    if (events & EDGE_WRITE) {
        stream_push(s);
        stream_shut_if_due(s);
    }
    for (unsigned i = 0; i < LINGER_ROUNDS && !s->transport_eof; i++) {
        /* To TCP, MSG_TRUNC says that nobody wants the bytes: they are dropped where they are. */
        ssize_t n = recv(s->fd, stream_scratch(), STREAM_RECORD_MAX, MSG_DONTWAIT | MSG_TRUNC);

        if (n < 0 && errno == EAGAIN)
            s->ready &= ~(unsigned)EDGE_READ;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0)
            s->out_err = err_from_errno(errno);
        s->transport_eof = n <= 0;
    }
    /* A peer that has ended its half may still be reading ours. */
    if (s->out_err || (s->transport_eof && s->out.len == 0))
        release(s);
    else
        stream_update(s);
}

/* A stream that went is freed once no queue holds it any more. */
static void free_if_gone(struct stream *s)
{
    if (s->state == STREAM_GONE && !s->turn.queued && !s->again_queued)
        loop_defer(s->loop, &s->free_task);
}

/* A step of a handshake is long, and a client may have many of them. */
static void run_turn(struct fair_task *t)
{
    struct stream *s = CONTAINER_OF(t, struct stream, turn);

    if (s->state == STREAM_HANDSHAKE) {
        stream_tls_handshake(s);
    } else if (s->held) { /* its driver had a turn before */
        stream_push(s);
        stream_update(s);
    } else {
        free_if_gone(s);
    }
}

void stream_wait_turn(struct stream *s)
{
    const struct address peer = stream_peer(s);

    fair_queue_add(loop_turns(s->loop), &s->turn, address_hash(&peer));
}

static void on_wanted(struct stream *s, unsigned events)
{
    if (events & EDGE_READ)
        s->dry = false;
    switch (s->state) {
    case STREAM_HANDSHAKE: stream_wait_turn(s); break;
    case STREAM_LINGER: linger_on(s, events); break;
    case STREAM_CLEAR:
    case STREAM_TLS: on_ready(s, events); break;
    case STREAM_BROKEN:
    case STREAM_GONE: break;
    }
}

static void on_edge(struct edge *e, unsigned events)
{
    struct stream *s = CONTAINER_OF(e, struct stream, edge);

    if (s->state == STREAM_GONE)
        return;
    s->ready |= events & (EDGE_READ | EDGE_WRITE);
    s->may_fall_short |= events & EDGE_SHORT;
    if (events & EDGE_READ)
        s->dry = false;
    events = s->ready & wanted(s);
    if (events)
        on_wanted(s, events);
}

static void run_again(struct task *t)
{
    struct stream *s = CONTAINER_OF(t, struct stream, again);
    unsigned events = s->ready & wanted(s);

    s->again_queued = false;
    if (events)
        on_wanted(s, events);
    else
        free_if_gone(s);
}

/* Life. */

static void run_free(struct task *t)
{
    struct stream *s = CONTAINER_OF(t, struct stream, free_task);

    stream_tls_free(s);
    sallyport_report_free(s->report);
    sallyport_report_free(s->late_report);
    free(s->first_error);
    free(s->error);
    free(s);
}

/* Everything but the memory: callers may be in the middle of it. */
static void release(struct stream *s)
{
    if (s->state == STREAM_LINGER) {
        timer_clear(s->loop, &s->linger);
        loop_hook_remove(s->loop, &s->hook);
    }
    s->state = STREAM_GONE;
    stream_load_drop(s);
    s->held = false;
    chain_done(&s->out);
    edge_close(s->loop, s->fd);
    s->fd = -1;
    free_if_gone(s);
}

static void on_linger_end(struct timer *t)
{
    release(CONTAINER_OF(t, struct stream, linger));
}

static void on_loop_end(struct loop_hook *h)
{
    release(CONTAINER_OF(h, struct stream, hook));
}

/* Fails on Unix sockets, which do not wait. */
void stream_no_delay(int fd)
{
    const int one = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

enum err stream_new(struct loop *l, int fd, const struct address *peer, stream_fn fn, void *arg,
                    struct stream **ret)
{
    struct stream *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    if (sallyport_report_new(NULL, &s->report) != 0) {
        free(s);
        return ERR_NOMEM;
    }
    s->edge.fn = on_edge;
    enum err e = edge_add(l, fd, &s->edge);

    if (e) {
        sallyport_report_free(s->report);
        free(s);
        return e;
    }
    s->loop = l;
    s->fd = fd;
    s->fn = fn;
    s->arg = arg;
    s->kick.run = run_kick;
    s->turn.run = run_turn;
    s->again.run = run_again;
    s->free_task.run = run_free;
    s->linger.fire = on_linger_end;
    s->hook.leave = on_loop_end;
    stream_set_peer(s, peer);
    *ret = s;
    return OK;
}

void stream_shut_if_due(struct stream *s)
{
    if (!s->must_shut || s->shut || (s->out.len && !s->out_err))
        return;
    s->shut = true;
    (void)shutdown(s->fd, SHUT_WR);
}

void stream_shutdown(struct stream *s)
{
    if (s->must_shut)
        return;
    s->must_shut = true;
    stream_tls_close_notify(s);
    stream_push(s);
    stream_shut_if_due(s);
    stream_update(s);
}

/* Is there anything to wait for: an answer under way, or bytes that would make the kernel reset? */
static bool is_worth_lingering(const struct stream *s)
{
    if (s->in_err == ERR_EOF)
        return s->out.len > 0;
    return s->out_err == OK && s->failure != ERR_RESET;
}

void stream_close(struct stream *s, uint64_t linger_ms)
{
    if (!s)
        return;
    assert(s->state != STREAM_LINGER && s->state != STREAM_GONE);
    s->fn = NULL;
    s->armed = 0;
    if (linger_ms)
        stream_shutdown(s);
    if (!linger_ms || !is_worth_lingering(s)) {
        release(s);
        return;
    }
    stream_load_drop(s);
    s->state = STREAM_LINGER;
    loop_hook_add(s->loop, &s->hook);
    timer_set(s->loop, &s->linger, loop_now_ms(s->loop) + linger_ms);
    stream_update(s);
}

/* Bytes. */

static enum err end_input(struct stream *s, enum err e)
{
    s->in_err = e;
    return e;
}

/* Nothing is there until an edge says so. */
static void ran_dry(struct stream *s)
{
    s->dry = true;
    s->ready &= ~(unsigned)EDGE_READ;
}

/* recv(2) and send(2) themselves: those of the C library are cancellation points, and pay for it
 * with two atomic operations on each side of the call. Nobody cancels a loop. */
ssize_t stream_recv(struct stream *s, void *dst, size_t max)
{
    ssize_t n;

    if (s->dry) {
        errno = EAGAIN;
        return -1;
    }
    do
        n = syscall(SYS_recvfrom, s->fd, dst, max, MSG_DONTWAIT, NULL, NULL);
    while (n < 0 && errno == EINTR);
    if (n < 0 || (n > 0 && (size_t)n < max && !s->may_fall_short))
        ran_dry(s);
    else
        s->dry = false;
    return n;
}

bool stream_may_read(const struct stream *s)
{
    return !s->dry || stream_has_pending(s);
}

void stream_ask_again(struct stream *s)
{
    s->dry = false;
}

static enum err read_clear(struct stream *s, uint8_t *dst, uint32_t max, uint32_t *ret_n)
{
    ssize_t n = stream_recv(s, dst, max);

    if (n < 0)
        return errno == EAGAIN ? ERR_AGAIN : end_input(s, stream_fail_errno(s, errno));
    if (n == 0)
        return end_input(s, ERR_EOF);
    *ret_n = (uint32_t)n;
    return OK;
}

enum err stream_read(struct stream *s, struct block *b, uint32_t max, uint32_t *ret_n)
{
    uint32_t room = BLOCK_SIZE - b->used;
    uint32_t n = 0;
    enum err e;

    assert(room > 0 && max > 0);
    if (max > room)
        max = room;
    if (s->in_err) {
        s->in_err_told = true;
        return s->in_err;
    }
    if (s->state == STREAM_TLS)
        e = stream_tls_read(s, b->data + b->used, max, &n);
    else if (s->state == STREAM_CLEAR)
        e = read_clear(s, b->data + b->used, max, &n);
    else
        return s->failure ? s->failure : ERR_AGAIN;
    if (e) {
        s->in_err_told = s->in_err != OK;
        return e;
    }
    b->used += n;
    *ret_n = n;
    /* The caller took less than there is, and may now wait for us. */
    if (s->armed & STREAM_READABLE && stream_has_pending(s))
        stream_kick(s, STREAM_READABLE);
    return OK;
}

enum err stream_look(struct stream *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN | POLLRDHUP};

    if (s->in_err)
        return ERR_EOF;
    if (poll(&p, 1, 0) < 0)
        return OK; /* not known */
    if (p.revents & (POLLRDHUP | POLLHUP | POLLERR))
        return ERR_EOF;
    if (p.revents & POLLIN || stream_has_pending(s))
        return OK;
    ran_dry(s);
    return ERR_AGAIN;
}

/* Answers give back more memory than they take. */
static bool has_memory(const struct budget *m)
{
    uint64_t max = m ? atomic_load_explicit(&m->max, memory_order_relaxed) : 0;

    return !max || budget_used(m) <= max / 16 * 15;
}

enum err stream_read_slice(struct stream *s, const struct budget *memory, struct slice *left,
                           uint32_t *ret_n)
{
    bool behind = left->len > 0;
    struct block *b = behind ? left->block : has_memory(memory) ? block_new() : NULL;
    uint32_t n = 0;
    enum err e;

    if (!b) { /* who has gone gives memory back */
        e = stream_look(s);
        return e == OK ? ERR_BUSY : e;
    }
    e = stream_read(s, b, BLOCK_SIZE, &n);
    if (e) {
        if (!behind)
            block_unref(b);
        return e;
    }
    *left =
        behind ? (struct slice){b, left->off, left->len + n} : (struct slice){b, b->used - n, n};
    *ret_n = n;
    return OK;
}

size_t stream_peek(struct stream *s, void *dst, size_t n)
{
    ssize_t got;

    if (s->state != STREAM_CLEAR || s->in_err)
        return 0;
    got = recv(s->fd, dst, n, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        ran_dry(s);
    return got > 0 ? (size_t)got : 0;
}

ssize_t stream_send(struct stream *s, const struct iovec *iov, size_t n)
{
    const bool more = s->last || s->must_shut; /* the FIN, with which it leaves in one segment */
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0);
    const struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n};
    ssize_t sent, all = 0;

    do
        sent = n == 1 ? syscall(SYS_sendto, s->fd, iov->iov_base, iov->iov_len, flags, NULL, 0)
                      : syscall(SYS_sendmsg, s->fd, &m, flags);
    while (sent < 0 && errno == EINTR);
    for (size_t i = 0; i < n; i++)
        all += (ssize_t)iov[i].iov_len;
    if (sent < all)
        s->ready &= ~(unsigned)EDGE_WRITE;
    return sent;
}

static enum err write_clear(struct stream *s, struct chain *c, uint64_t *ret_n)
{
    while (c->len) {
        struct iovec iov[IOV_MAX_HERE];
        size_t bytes, pieces = chain_iovec(c, iov, IOV_MAX_HERE, WRITE_MAX, &bytes);

        if (pieces == 0) {
            TRY(stream_load_first(s, c));
            continue;
        }
        ssize_t n = stream_send(s, iov, pieces);

        if (n < 0 && errno == EAGAIN)
            return ERR_AGAIN;
        if (n < 0)
            return s->out_err = stream_fail_errno(s, errno);
        chain_skip(c, (uint64_t)n);
        *ret_n += (uint64_t)n;
        if ((size_t)n < bytes)
            return ERR_AGAIN;
    }
    return OK;
}

enum err stream_write(struct stream *s, struct chain *c, uint64_t *ret_n)
{
    enum err e;

    *ret_n = 0;
    if (s->out_err)
        return s->out_err;
    if (s->state == STREAM_TLS)
        e = stream_tls_write(s, c, ret_n);
    else if (s->state == STREAM_CLEAR)
        e = write_clear(s, c, ret_n);
    else
        e = s->failure ? s->failure : ERR_AGAIN;
    /* What TLS holds back is the stream's to send, whether the driver arms or not. */
    if (s->out.len)
        stream_update(s);
    return e;
}

enum err stream_write_last(struct stream *s, struct chain *c, uint64_t *ret_n)
{
    s->last = true;
    enum err e = stream_write(s, c, ret_n);

    s->last = false;
    return e;
}

enum err stream_flush(struct stream *s)
{
    return s->out.len ? stream_tls_flush(s) : s->out_err;
}

void stream_push(struct stream *s)
{
    enum err e = stream_flush(s);

    (void)e; /* sticky, or the watch goes on with it */
}

void stream_wait_for_room(struct stream *s)
{
    s->ready &= ~(unsigned)EDGE_WRITE;
}

/* A ticket that is held is nothing of the driver's. */
bool stream_has_unsent(const struct stream *s)
{
    return s->out.len > 0 && !s->held;
}

void stream_arm(struct stream *s, unsigned events)
{
    s->armed = events;
    stream_update(s);
}

/* Each waking costs as much as reading 10 KiB. */
bool stream_expect(struct stream *s, uint64_t n)
{
    bool known = s->state == STREAM_CLEAR || !stream_tls_holds(s); /* else part of it is here */
    int low = n < EXPECT_MIN || !known ? 0 : n < EXPECT_MAX ? (int)n : (int)EXPECT_MAX;
    const int value = low ? low : 1;

    if (low != s->low_water &&
        setsockopt(s->fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value) == 0)
        s->low_water = low;
    return s->low_water > 0;
}

void stream_acknowledge(struct stream *s)
{
    const int one = 1;

    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

/* Questions. */

void stream_set_callback(struct stream *s, stream_fn fn, void *arg)
{
    s->fn = fn;
    s->arg = arg;
}

const sallyport_report *stream_report(const struct stream *s)
{
    return s->late_report ? s->late_report : s->report;
}

struct address stream_peer(const struct stream *s)
{
    struct address a = {.len = s->peer_len};

    memcpy(&a.ss, s->peer, s->peer_len);
    return a;
}

struct address stream_local(const struct stream *s)
{
    struct address a = {.len = sizeof a.ss};

    if (getsockname(s->fd, (struct sockaddr *)&a.ss, &a.len) != 0 || a.len > sizeof a.ss)
        a.len = 0;
    return a;
}

enum err stream_check_system(const struct stream *s, const struct protect_system *system,
                             sallyport_why *ret_why)
{
    if (!system->file)
        return OK;
    const struct address local = stream_local(s), remote = stream_peer(s);
    bool known = local.len > 0; /* else the line that is about our port would not be found */

    return protect_system_check(system, known ? (const struct sockaddr *)&local.ss : NULL,
                                known ? (const struct sockaddr *)&remote.ss : NULL, s->report,
                                ret_why);
}

void stream_set_peer(struct stream *s, const struct address *peer)
{
    s->peer_len = peer && peer->len <= sizeof s->peer ? (unsigned char)peer->len : 0;
    if (s->peer_len)
        memcpy(s->peer, &peer->ss, s->peer_len);
}

struct loop *stream_loop(const struct stream *s)
{
    return s->loop;
}

enum err stream_failure(const struct stream *s)
{
    return s->failure;
}

bool stream_is_cut(const struct stream *s)
{
    return s->transport_eof;
}

const char *stream_error(const struct stream *s)
{
    if (s->error)
        return s->error;
    return s->failure ? err_text(s->failure) : "";
}

bool stream_is_tls(const struct stream *s)
{
    return s->ssl != NULL;
}
