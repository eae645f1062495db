/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipp_conn.c - one connection of ippload: sends a request, reads its answer, and goes on.
 */
#include "ipp_conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

#define SETTLE_MS 250 /* how long bytes that nobody asked for are waited for */

/* Of read and write: what is not a count of bytes. */
#define IO_LATE   (-1)
#define IO_CLOSED 0

uint64_t ipp_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void conn_fault(struct ipp_conn *c, enum answer_fault f, const char *detail)
{
    (void)pthread_mutex_lock(&c->run->lock);
    tally_fault(&c->run->tally, f, detail);
    (void)pthread_mutex_unlock(&c->run->lock);
}

static void conn_close(struct ipp_conn *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

/* --- bytes --- */

static ssize_t io_ssl(const struct ipp_conn *c, int n)
{
    int err;

    if (n > 0)
        return n;
    err = SSL_get_error(c->ssl, n);
    ERR_clear_error();
    return err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE ? IO_LATE : IO_CLOSED;
}

static ssize_t io_plain(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN ? IO_LATE : IO_CLOSED;
}

static ssize_t read_some(const struct ipp_conn *c, void *p, size_t n)
{
    if (c->ssl)
        return io_ssl(c, SSL_read(c->ssl, p, (int)n));
    return io_plain(recv(c->fd, p, n, 0));
}

static bool write_plain(const struct ipp_conn *c, struct iovec *v, int n_pieces)
{
    struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)n_pieces};

    while (m.msg_iovlen > 0) {
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        while (m.msg_iovlen > 0 && (size_t)n >= m.msg_iov->iov_len) {
            n -= (ssize_t)m.msg_iov->iov_len;
            m.msg_iov++;
            m.msg_iovlen--;
        }
        if (m.msg_iovlen > 0) {
            m.msg_iov->iov_base = (char *)m.msg_iov->iov_base + n;
            m.msg_iov->iov_len -= (size_t)n;
        }
    }
    return true;
}

/* Small pieces are one record, as a client would send them. */
static bool write_tls(const struct ipp_conn *c, const struct iovec *v, int n_pieces)
{
    char record[IPP_PLAN_HEAD_MAX + IPP_PLAN_SIZE_MIN];
    size_t len = 0;

    for (int i = 0; i < n_pieces; i++) {
        if (v[i].iov_len <= sizeof record - len) {
            memcpy(record + len, v[i].iov_base, v[i].iov_len);
            len += v[i].iov_len;
            continue;
        }
        if (len > 0 && SSL_write(c->ssl, record, (int)len) <= 0)
            return false;
        len = 0;
        if (SSL_write(c->ssl, v[i].iov_base, (int)v[i].iov_len) <= 0)
            return false;
    }
    return len == 0 || SSL_write(c->ssl, record, (int)len) > 0;
}

/* A write that fails is no fault yet: the answer may say why. */
static uint64_t request_send(struct ipp_conn *c)
{
    struct iovec v[IPP_PLAN_PIECES];
    uint64_t len = 0;
    int n = ipp_plan_iov(c->run->plan, &c->request, v);
    bool sent;

    for (int i = 0; i < n; i++)
        len += v[i].iov_len;
    sent = c->ssl ? write_tls(c, v, n) : write_plain(c, v, n);
    ERR_clear_error();
    return sent ? len : 0;
}

/* --- answers --- */

/* What is wrong about the wait that ended now. */
static enum answer_fault wait_fault(struct ipp_conn *c, ssize_t n)
{
    if (n == IO_CLOSED || c->answer.len > 0)
        return ipp_answer_end(&c->answer);
    (void)snprintf(c->answer.detail, sizeof c->answer.detail, "no answer in time");
    return FAULT_NO_ANSWER;
}

static enum answer_fault answer_read(struct ipp_conn *c)
{
    enum answer_fault f = FAULT_NONE;
    enum answer_event ev = ANSWER_EV_MORE;

    while (ev == ANSWER_EV_MORE) {
        size_t room;
        uint8_t *p = ipp_answer_room(&c->answer, &room);
        ssize_t n = read_some(c, p, room);

        if (n > 0)
            ev = ipp_answer_took(&c->answer, (size_t)n, &f);
        if (n <= 0 || (ev == ANSWER_EV_MORE && ipp_now_ns() > c->since_ns + c->run->timeout_ns))
            return wait_fault(c, n);
    }
    return f;
}

/* After the last answer of a connection nothing but its end may come; |asked| for, it has to. */
static enum answer_fault end_check(struct ipp_conn *c, bool asked)
{
    uint8_t byte;
    ssize_t n = read_some(c, &byte, 1);

    if (n > 0) {
        (void)snprintf(c->answer.detail, sizeof c->answer.detail, "0x%02x", byte);
        return FAULT_EXTRA;
    }
    if (n == IO_LATE && asked) {
        (void)snprintf(c->answer.detail, sizeof c->answer.detail, "the server keeps it open");
        return FAULT_NOT_CLOSED;
    }
    return FAULT_NONE;
}

static void timeout_set(const struct ipp_conn *c, uint64_t ns)
{
    struct timeval t = {.tv_sec = (time_t)(ns / 1000000000u),
                        .tv_usec = (suseconds_t)(ns % 1000000000u / 1000)};

    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

/* --- the connection --- */

static bool handshake(struct ipp_conn *c)
{
    c->ssl = SSL_new(c->run->tls);
    if (c->ssl && SSL_set_fd(c->ssl, c->fd) == 1 && SSL_connect(c->ssl) == 1)
        return true;
    (void)snprintf(c->answer.detail, sizeof c->answer.detail, "%s",
                   ERR_peek_error() ? ERR_reason_error_string(ERR_peek_error()) : "closed");
    ERR_clear_error();
    return false;
}

static enum answer_fault conn_open(struct ipp_conn *c)
{
    const struct ipp_run *r = c->run;
    int one = 1;

    c->fd = socket(r->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd >= 0) {
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        timeout_set(c, r->timeout_ns);
    }
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&r->addr, r->addr_len) != 0) {
        (void)snprintf(c->answer.detail, sizeof c->answer.detail, "%s", strerror(errno));
        return FAULT_CONNECT;
    }
    return r->tls && !handshake(c) ? FAULT_HANDSHAKE : FAULT_NONE;
}

/* --- the loop --- */

/* False: the run is over. */
static bool request_take(struct ipp_conn *c)
{
    struct ipp_run *r = c->run;
    bool go;

    (void)pthread_mutex_lock(&r->lock);
    c->since_ns = ipp_now_ns();
    go = r->requests_left > 0 && c->since_ns < r->to_ns && r->tally.faults_total < r->faults_max;
    if (go) {
        uint64_t serial = r->serial++;
        uint32_t id = (uint32_t)(serial & 0x7fffffff);

        r->requests_left--;
        ipp_plan_request_set(&c->request, id ? id : 1, serial);
        ipp_answer_reset(&c->answer, id ? id : 1);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return go;
}

static void complete(struct ipp_conn *c, uint64_t sent, uint64_t now, bool opened)
{
    struct ipp_run *r = c->run;
    struct answer a = {.facts = {.status = 200}};
    bool counts = now >= r->from_ns && now < r->to_ns;

    a.body_len =
        r->plan->operation == IPP_PLAN_PRINT_JOB ? r->plan->size : (uint64_t)c->answer.body_len;
    (void)pthread_mutex_lock(&r->lock);
    tally_answer(&r->tally, &a, now - c->since_ns, counts);
    r->tally.bytes_in += c->answer.len;
    r->tally.bytes_out += sent;
    r->tally.connects += opened;
    r->tally.handshakes += opened && r->tls;
    r->tally.reconnects += opened && !r->plan->close && c->n_answers > 0;
    if (counts)
        r->last_ns = now;
    (void)pthread_mutex_unlock(&r->lock);
    c->n_answers++;
}

/* One request, with the connection that it needs. */
static enum answer_fault transact(struct ipp_conn *c)
{
    bool opens = c->fd < 0, ends;
    enum answer_fault f = opens ? conn_open(c) : FAULT_NONE;
    uint64_t sent, now;

    if (f != FAULT_NONE)
        return f;
    if (opens && !c->run->plan->close) /* else the connection's begin counts */
        c->since_ns = ipp_now_ns();
    sent = request_send(c);
    f = answer_read(c);
    if (f != FAULT_NONE)
        return f;
    if (sent == 0) {
        (void)snprintf(c->answer.detail, sizeof c->answer.detail,
                       "before the whole request was read");
        return FAULT_CLOSED;
    }
    now = ipp_now_ns();
    ends = c->run->plan->close || c->answer.close;
    f = ends ? end_check(c, true) : FAULT_NONE;
    if (f != FAULT_NONE)
        return f;
    complete(c, sent, now, opens);
    if (ends)
        conn_close(c);
    return FAULT_NONE;
}

/* A connection that never got anything is one fault, however often it tried. */
static void starved(struct ipp_conn *c, enum answer_fault f)
{
    char text[sizeof c->answer.detail];

    (void)snprintf(text, sizeof text, "%s: %.100s", answer_fault_name(f), c->answer.detail);
    conn_fault(c, FAULT_STARVED, text);
}

void *ipp_conn_main(void *arg)
{
    struct ipp_conn *c = arg;
    enum answer_fault f = FAULT_NONE;

    if (!ipp_answer_init(&c->answer, c->run->plan)) {
        conn_fault(c, FAULT_STARVED, "out of memory");
        return NULL;
    }
    while (request_take(c)) {
        f = transact(c);
        if (f == FAULT_NONE)
            continue;
        conn_close(c);
        if (f == FAULT_NO_ANSWER && c->n_answers == 0) {
            starved(c, f);
            break;
        }
        conn_fault(c, f, c->answer.detail);
        if (f == FAULT_CONNECT)
            break;
    }
    if (c->fd >= 0) {
        timeout_set(c, (uint64_t)SETTLE_MS * 1000000u);
        f = end_check(c, false);
        if (f != FAULT_NONE)
            conn_fault(c, f, c->answer.detail);
    }
    conn_close(c);
    ipp_answer_done(&c->answer);
    return NULL;
}
