/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_conn.c - one connection of the closed loop.
 */
#include "load_conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

#define IOV_PIECES 24

/* Of read and write: what is not a count of bytes. */
#define IO_WAIT   0
#define IO_CLOSED (-1)

uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool is_active(enum conn_state s)
{
    return s != CONN_DOWN && s != CONN_IDLE;
}

static void state_set(struct run *r, struct conn *c, enum conn_state s)
{
    r->n_active -= is_active(c->state);
    r->n_active += is_active(s);
    c->state = s;
}

static void watch(struct run *r, struct conn *c, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};
    int op = c->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if (c->events == events)
        return;
    if (epoll_ctl(r->epoll, op, c->fd, &ev) != 0) {
        perror("icapload: epoll_ctl");
        exit(2);
    }
    c->events = events;
}

static void conn_close(struct run *r, struct conn *c)
{
    if (c->ssl) {
        (void)SSL_shutdown(c->ssl); /* else OpenSSL forgets the session */
        SSL_free(c->ssl);
        c->ssl = NULL;
        ERR_clear_error();
    }
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    c->events = 0;
    state_set(r, c, CONN_DOWN);
}

static void conn_down(struct run *r, struct conn *c, enum answer_fault f, const char *detail)
{
    tally_fault(&r->tally, f, detail);
    if (r->tally.faults_total >= r->faults_max)
        r->stopping = true;
    conn_close(r, c);
}

/* The connection is of no use any more; the load goes on with a new one. */
static void conn_fault(struct run *r, struct conn *c, enum answer_fault f)
{
    conn_down(r, c, f, c->answer.detail);
    if (!r->stopping && r->requests_left > 0)
        conn_open(r, c);
}

/* --- bytes --- */

/* > 0, IO_WAIT or IO_CLOSED; whichever way it is closed, the answer tells whether that is bad. */
static ssize_t read_some(struct run *r, struct conn *c)
{
    int n, err;

    if (!c->ssl) {
        ssize_t got = recv(c->fd, r->buf, CONN_READ_MAX, 0);

        if (got < 0 && errno == EAGAIN)
            return IO_WAIT;
        return got > 0 ? got : IO_CLOSED;
    }
    n = SSL_read(c->ssl, r->buf, CONN_READ_MAX);
    if (n > 0)
        return n;
    err = SSL_get_error(c->ssl, n);
    ERR_clear_error();
    return err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE ? IO_WAIT : IO_CLOSED;
}

/* Small pieces are joined to one record, large ones go out from where they are. Repeated after
 * IO_WAIT it offers the same bytes, as OpenSSL demands. */
static ssize_t write_tls(struct run *r, struct conn *c, const struct iovec *v, int n_pieces)
{
    const uint8_t *p = v[0].iov_base;
    size_t len = v[0].iov_len;
    int n, err;

    if (len < CONN_TLS_MAX) {
        len = 0;
        for (int i = 0; i < n_pieces && len < CONN_TLS_MAX; i++) {
            size_t take = v[i].iov_len;

            take = take < CONN_TLS_MAX - len ? take : CONN_TLS_MAX - len;
            memcpy(r->record + len, v[i].iov_base, take);
            len += take;
        }
        p = r->record;
    }
    n = SSL_write(c->ssl, p, (int)len);
    if (n > 0)
        return n;
    err = SSL_get_error(c->ssl, n);
    ERR_clear_error();
    return err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE ? IO_WAIT : IO_CLOSED;
}

static ssize_t write_some(struct run *r, struct conn *c)
{
    struct iovec v[IOV_PIECES] = {{0}};
    struct msghdr m = {.msg_iov = v};
    char line[PLAN_LINE_MAX];
    ssize_t n;
    int n_pieces = plan_part_iov(r->plan, &c->part, &c->answer.body, c->off, v, IOV_PIECES, line);

    if (c->ssl)
        return write_tls(r, c, v, n_pieces);
    m.msg_iovlen = (size_t)n_pieces;
    n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN ? IO_WAIT : IO_CLOSED;
    return n;
}

/* --- transactions --- */

static void part_begin(struct run *r, struct conn *c, unsigned part)
{
    c->part = plan_part_get(r->plan, c->seq - 1, c->first, part);
    c->part_len = plan_part_len(&c->part);
    c->off = 0;
    c->sending = true;
}

/* A write that fails is not yet a fault: the answer may say why. */
static void conn_send(struct run *r, struct conn *c)
{
    ssize_t n = 1;

    while (c->off < c->part_len && n > 0) {
        n = write_some(r, c);
        if (n > 0) {
            c->off += (uint64_t)n;
            r->tally.bytes_out += (uint64_t)n;
        }
    }
    if (n == IO_WAIT) {
        watch(r, c, EPOLLIN | EPOLLOUT);
        return;
    }
    c->sending = false;
    c->answer.sent = n > 0;
    watch(r, c, EPOLLIN);
}

/* A paced request counts from when it is due; one whose connection was busy then, from now, and the
 * pace goes on from here: an endless queue of our own would say nothing about the server. False: it
 * is not due yet. */
static bool pace(const struct run *r, struct conn *c, uint64_t *now)
{
    if (r->pace_ns == 0)
        return true;
    if (c->due_ns == 0)
        c->due_ns = *now + c->index * r->stagger_ns;
    if (*now < c->due_ns)
        return false;
    if (c->state == CONN_PAUSED)
        *now = c->due_ns;
    c->due_ns = *now + r->pace_ns;
    return true;
}

/* Each connection has its own bytes, and the last request's are not the next one's. */
static void answer_begin(struct run *r, struct conn *c)
{
    struct plan_body body = {.phase = (c->index * 4099 + (c->seq++ & 7) * 509) % PATTERN_PERIOD};

    if (r->plan->unique)
        plan_body_stamp(&body, r->serial++);
    answer_reset(&c->answer, &body);
    c->answered = false;
}

static void conn_begin(struct run *r, struct conn *c, uint64_t now)
{
    if (r->stopping || r->requests_left == 0 || (r->hold && c->n_answers > 0)) {
        state_set(r, c, CONN_IDLE);
        watch(r, c, EPOLLIN);
        return;
    }
    if (!pace(r, c, &now)) {
        state_set(r, c, CONN_PAUSED);
        watch(r, c, EPOLLIN);
        return;
    }
    r->requests_left--;
    answer_begin(r, c);
    if (!r->plan->close) /* else the connection's begin counts */
        c->since_ns = now;
    state_set(r, c, CONN_BUSY);
    part_begin(r, c, 0);
    conn_send(r, c);
}

static void conn_complete(struct run *r, struct conn *c)
{
    uint64_t now = now_ns();
    bool counts = now >= r->from_ns && now < r->to_ns;

    c->n_answers++;
    c->first = false;
    tally_answer(&r->tally, &c->answer, now - c->since_ns, counts);
    if (counts)
        r->last_ns = now;
    if (!r->plan->close && !c->answer.facts.close) {
        conn_begin(r, c, now);
        return;
    }
    r->tally.reconnects += !r->plan->close;
    c->since_ns = now;
    state_set(r, c, CONN_CLOSING);
}

/* False: the connection is another one now, or none. */
static bool conn_feed(struct run *r, struct conn *c, const uint8_t *p, size_t n)
{
    enum answer_event ev = ANSWER_EV_MORE;
    enum answer_fault f = FAULT_NONE;
    size_t used;

    if (c->answered || c->state != CONN_BUSY) {
        conn_fault(r, c, answer_extra(&c->answer, p, n));
        return false;
    }
    while (n > 0 && ev != ANSWER_EV_DONE) {
        ev = answer_feed(&c->answer, p, n, &used, &f);
        if (ev == ANSWER_EV_FAULT) {
            conn_fault(r, c, f);
            return false;
        }
        if (ev == ANSWER_EV_CONTINUE) {
            part_begin(r, c, 1);
            conn_send(r, c);
        }
        p += used;
        n -= used;
    }
    if (n > 0) {
        conn_fault(r, c, answer_extra(&c->answer, p, n));
        return false;
    }
    c->answered = ev == ANSWER_EV_DONE;
    return true;
}

static void conn_closed(struct run *r, struct conn *c)
{
    /* OpenSSL may tell the end together with the last bytes */
    if (c->state == CONN_BUSY && c->answered && !c->sending)
        conn_complete(r, c);
    if (c->state == CONN_BUSY) {
        enum answer_fault f = answer_end(&c->answer);

        if (f == FAULT_NONE) {
            f = FAULT_CLOSED;
            (void)snprintf(c->answer.detail, sizeof c->answer.detail,
                           "before the whole request was read");
        }
        conn_fault(r, c, f);
        return;
    }
    conn_close(r, c);
    if (!r->stopping && r->requests_left > 0)
        conn_open(r, c);
}

/* Reads until the kernel has no more, or a plain read was not full; events are level-triggered.
 * What OpenSSL holds is looked at before the next request goes out. */
static void conn_recv(struct run *r, struct conn *c)
{
    bool more = true;

    while (more) {
        ssize_t n = read_some(r, c);

        if (n == IO_CLOSED) {
            conn_closed(r, c);
            return;
        }
        if (n == IO_WAIT)
            break;
        r->tally.bytes_in += (uint64_t)n;
        if (!conn_feed(r, c, r->buf, (size_t)n))
            return;
        more = c->ssl ? SSL_has_pending(c->ssl) || !c->answered : n == CONN_READ_MAX;
    }
    if (c->state == CONN_BUSY && c->answered && !c->sending)
        conn_complete(r, c);
}

/* --- the connection itself --- */

static void handshake_step(struct run *r, struct conn *c)
{
    int n = SSL_do_handshake(c->ssl);
    int err;

    if (n == 1) {
        r->tally.handshakes++;
        r->tally.resumed += SSL_session_reused(c->ssl) == 1;
        conn_begin(r, c, now_ns());
        return;
    }
    err = SSL_get_error(c->ssl, n);
    if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE) {
        watch(r, c, err == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
        return;
    }
    (void)snprintf(c->answer.detail, sizeof c->answer.detail, "%s",
                   ERR_peek_error() ? ERR_reason_error_string(ERR_peek_error()) : "closed");
    ERR_clear_error();
    conn_fault(r, c, FAULT_HANDSHAKE);
}

static void handshake_begin(struct run *r, struct conn *c)
{
    c->ssl = SSL_new(r->tls);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1 || SSL_set_app_data(c->ssl, c) != 1) {
        conn_down(r, c, FAULT_HANDSHAKE, "out of memory");
        return;
    }
    SSL_set_connect_state(c->ssl);
    if (r->resume && c->session)
        (void)SSL_set_session(c->ssl, c->session);
    state_set(r, c, CONN_HANDSHAKE);
    handshake_step(r, c);
}

int conn_session_new(SSL *ssl, SSL_SESSION *session)
{
    struct conn *c = SSL_get_app_data(ssl);

    SSL_SESSION_free(c->session);
    c->session = session;
    return 1; /* the reference is ours now */
}

static void conn_connected(struct run *r, struct conn *c)
{
    int err = 0;
    socklen_t len = sizeof err;

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err != 0) {
        conn_down(r, c, FAULT_CONNECT, strerror(err));
        return;
    }
    r->tally.connects++;
    if (r->tls)
        handshake_begin(r, c);
    else
        conn_begin(r, c, now_ns());
}

void conn_open(struct run *r, struct conn *c)
{
    int one = 1;

    c->since_ns = now_ns();
    c->first = true;
    c->fd = socket(r->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        conn_down(r, c, FAULT_CONNECT, strerror(errno));
        return;
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (r->from.sin_family != 0 &&
        bind(c->fd, (const struct sockaddr *)&r->from, sizeof r->from) != 0) {
        conn_down(r, c, FAULT_CONNECT, strerror(errno));
        return;
    }
    if (connect(c->fd, (const struct sockaddr *)&r->addr, r->addr_len) != 0 &&
        errno != EINPROGRESS) {
        conn_down(r, c, FAULT_CONNECT, strerror(errno));
        return;
    }
    state_set(r, c, CONN_CONNECTING);
    watch(r, c, EPOLLOUT);
}

void conn_ready(struct run *r, struct conn *c, uint32_t events)
{
    switch (c->state) {
    case CONN_DOWN: return;
    case CONN_CONNECTING: conn_connected(r, c); return;
    case CONN_HANDSHAKE: handshake_step(r, c); return;
    case CONN_BUSY:
    case CONN_CLOSING:
    case CONN_PAUSED:
    case CONN_IDLE: break;
    }
    if ((events & EPOLLOUT) != 0 && c->sending)
        conn_send(r, c);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        conn_recv(r, c);
    else if (c->answered && !c->sending && c->state == CONN_BUSY)
        conn_complete(r, c);
}

void conn_resume(struct run *r, struct conn *c, uint64_t now)
{
    if (c->state == CONN_PAUSED && (r->stopping || r->requests_left == 0 || now >= c->due_ns))
        conn_begin(r, c, now);
}

bool conn_is_held(const struct conn *c)
{
    return c->state == CONN_IDLE && c->n_answers > 0;
}

/* --- waiting in vain --- */

/* Names what |c| waits for. */
static enum answer_fault conn_wait_fault(struct conn *c)
{
    bool begun = c->state == CONN_BUSY && answer_begun(&c->answer);
    const char *what = "no answer in time";
    enum answer_fault f = c->n_answers == 0 ? FAULT_STARVED : FAULT_NO_ANSWER;

    if (begun && c->answer.state != ANSWER_DONE &&
        (c->answer.state != ANSWER_HEAD || c->answer.held_len > 0))
        return answer_end(&c->answer);
    if (c->state == CONN_CLOSING) {
        f = FAULT_NOT_CLOSED;
        what = "the server keeps it open";
    } else if (c->state == CONN_CONNECTING) {
        what = "no connection in time";
    } else if (c->state == CONN_HANDSHAKE) {
        what = "no TLS handshake in time";
    } else if (begun) {
        what = c->answer.state == ANSWER_DONE ? "the request is not read to its end"
                                              : "nothing after 100 Continue";
    }
    (void)snprintf(c->answer.detail, sizeof c->answer.detail, "%s", what);
    return f;
}

void conn_expire(struct run *r, struct conn *c)
{
    enum answer_fault f = conn_wait_fault(c);

    if (f == FAULT_STARVED) /* counted once for each connection */
        conn_down(r, c, f, c->answer.detail);
    else
        conn_fault(r, c, f);
}

void conn_finish(struct run *r, struct conn *c)
{
    if (is_active(c->state) && c->n_answers > 0) {
        r->tally.unfinished++;
    } else if (is_active(c->state)) {
        if (conn_wait_fault(c) != FAULT_STARVED)
            (void)snprintf(c->answer.detail, sizeof c->answer.detail,
                           "the first answer was still under way at the end");
        conn_down(r, c, FAULT_STARVED, c->answer.detail);
    }
    conn_close(r, c);
    SSL_SESSION_free(c->session);
    c->session = NULL;
    free(c->answer.held);
    c->answer.held = NULL;
}
