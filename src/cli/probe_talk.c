/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/probe_talk.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define PIECE  65536u
#define IN_MAX (16u << 20)

static uint64_t now_ms(void)
{
    return clock_mono_ms(&clock_system);
}

enum err probe_target_resolve(struct probe_target *t, const char **ret_why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    char port[8];
    int rc;

    (void)snprintf(port, sizeof port, "%u", t->port & 0xffffu);
    rc = getaddrinfo(t->host, port, &hints, &list);
    if (rc != 0) {
        *ret_why = gai_strerror(rc);
        return ERR_UPSTREAM;
    }
    t->n_addresses = 0;
    for (struct addrinfo *a = list; a && t->n_addresses < PROBE_ADDRESSES_MAX; a = a->ai_next) {
        struct address *to = &t->addresses[t->n_addresses];

        if (a->ai_addrlen > sizeof to->ss)
            continue;
        memcpy(&to->ss, a->ai_addr, a->ai_addrlen);
        to->len = a->ai_addrlen;
        t->n_addresses++;
    }
    freeaddrinfo(list);
    *ret_why = "it has no address";
    return t->n_addresses ? OK : ERR_UPSTREAM;
}

/* ---- waiting ---- */

/* False: the time is over. */
static bool wait_for(const struct probe_talk *k, short events, uint64_t until_ms)
{
    for (;;) {
        struct pollfd p = {.fd = k->fd, .events = events};
        uint64_t now = now_ms();
        int left = now >= until_ms ? 0 : until_ms - now > 60000 ? 60000 : (int)(until_ms - now);
        int n = poll(&p, 1, left);

        if (n > 0)
            return true;
        if (n == 0 && now_ms() >= until_ms)
            return false;
        if (n < 0 && errno != EINTR)
            return true; /* the next read or write says what it is */
    }
}

static enum err fail(struct probe_talk *k, enum err e, const char *why)
{
    (void)snprintf(k->why, sizeof k->why, "%s", why);
    return e;
}

/* ---- connecting ---- */

static enum err connect_one(struct probe_talk *k, const struct address *a, uint64_t until_ms)
{
    int one = 1, error = 0;
    socklen_t len = sizeof error;

    k->fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (k->fd < 0)
        return fail(k, ERR_UPSTREAM, strerror(errno));
    (void)setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(k->fd, (const struct sockaddr *)&a->ss, a->len) != 0) {
        if (errno != EINPROGRESS)
            return fail(k, ERR_UPSTREAM, strerror(errno));
        if (!wait_for(k, POLLOUT, until_ms))
            return fail(k, ERR_TIMEOUT, "no answer to the attempt to connect");
        if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
            return fail(k, ERR_UPSTREAM, strerror(error ? error : errno));
    }
    k->address = *a;
    return OK;
}

enum err probe_talk_open_clear(struct probe_talk *k, const struct probe_target *t)
{
    enum err e = ERR_UPSTREAM;
    uint64_t start = clock_mono_us(&clock_system);

    *k = (struct probe_talk){.target = t, .fd = -1};
    buf_init(&k->in, IN_MAX);
    for (unsigned i = 0; i < t->n_addresses && e != OK; i++) {
        if (k->fd >= 0)
            (void)close(k->fd);
        e = connect_one(k, &t->addresses[i], now_ms() + t->connect_ms);
    }
    k->connect_us = clock_mono_us(&clock_system) - start;
    return e;
}

static enum err handshake(struct probe_talk *k)
{
    uint64_t until = now_ms() + k->target->connect_ms;

    for (;;) {
        bool writes = false;
        enum err e = tls_pipe_handshake(k->tls, &writes);

        if (e == OK)
            return OK;
        if (e == ERR_EOF || e == ERR_RESET)
            return fail(k, ERR_TLS, "the server closed the connection in the TLS handshake");
        if (e != ERR_AGAIN)
            return fail(k, ERR_TLS, tls_pipe_why(k->tls));
        if (!wait_for(k, writes ? POLLOUT : POLLIN, until))
            return fail(k, ERR_TLS, "the server does not go on with the TLS handshake");
    }
}

static enum err pipe_new(struct probe_talk *k, enum tls_pipe_rules rules)
{
    const struct probe_target *t = k->target;

    if (tls_pipe_new(t->tls, t->host, k->fd, rules, &k->tls) != OK)
        return fail(k, ERR_TLS, "TLS cannot be spoken to a server of that name");
    return OK;
}

enum err probe_talk_start_tls(struct probe_talk *k, enum tls_pipe_rules rules)
{
    TRY(pipe_new(k, rules));
    return handshake(k);
}

enum err probe_talk_open_tls(struct probe_talk *k, const struct probe_target *t,
                             enum tls_pipe_rules rules, const struct probe_talk *like)
{
    TRY(probe_talk_open_clear(k, t));
    TRY(pipe_new(k, rules));
    if (like && !tls_pipe_resume(k->tls, like->tls))
        return fail(k, ERR_MISSING, "the server gave no ticket");
    return handshake(k);
}

/* The handshake took any certificate. */
static enum err prove(struct probe_talk *k)
{
    struct tls_peer peer;

    tls_pipe_peer(k->tls, &peer);
    if (peer.chain_ok && peer.name_ok)
        return OK;
    return fail(k, ERR_TLS, "the server has not proved who it is, and got no password");
}

enum err probe_talk_open(struct probe_talk *k, const struct probe_target *t)
{
    if (!t->tls)
        return probe_talk_open_clear(k, t);
    /* Whoever is in between may have made a loose one weak: no password goes over that. */
    TRY(probe_talk_open_tls(k, t, t->prove ? TLS_PIPE_OURS : TLS_PIPE_LOOSE, NULL));
    return t->prove ? prove(k) : OK;
}

void probe_talk_close(struct probe_talk *k)
{
    if (k->tls)
        tls_pipe_close(k->tls);
    tls_pipe_free(k->tls);
    k->tls = NULL;
    if (k->fd >= 0)
        (void)close(k->fd);
    k->fd = -1;
    buf_done(&k->in);
}

/* ---- bytes ---- */

static enum err read_some(struct probe_talk *k, bool *ret_writes)
{
    char *room = buf_reserve(&k->in, PIECE);
    size_t n = 0;
    enum err e = OK;

    *ret_writes = false;
    if (!room)
        return ERR_LIMIT;
    if (k->tls) {
        e = tls_pipe_read(k->tls, room, PIECE, &n, ret_writes);
    } else {
        ssize_t got = recv(k->fd, room, PIECE, 0);

        n = got > 0 ? (size_t)got : 0;
        e = got > 0 ? OK : got == 0 ? ERR_EOF : err_from_errno(errno);
    }
    k->in.n += n;
    k->heard = k->heard || n > 0;
    k->eof = k->eof || (e != OK && e != ERR_AGAIN);
    if (e == ERR_TLS) {
        k->tls_broke = true;
        (void)fail(k, e, tls_pipe_why(k->tls));
    }
    return e;
}

static enum err write_some(struct probe_talk *k, struct span bytes, size_t *ret_n, bool *ret_writes)
{
    ssize_t n;

    *ret_n = 0;
    *ret_writes = true;
    if (k->tls)
        return tls_pipe_write(k->tls, bytes, ret_n, ret_writes);
    n = send(k->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    if (n < 0)
        return err_from_errno(errno);
    *ret_n = (size_t)n;
    return OK;
}

/* Everything that is there now. */
static void drain(struct probe_talk *k)
{
    bool writes;

    while (!k->eof && read_some(k, &writes) == OK)
        continue;
}

enum err probe_talk_send(struct probe_talk *k, struct span bytes)
{
    uint64_t until = now_ms() + k->target->answer_ms;

    while (bytes.n > 0) {
        size_t n;
        bool writes;
        enum err e = write_some(k, bytes, &n, &writes);

        bytes = span_sub(bytes, n, SIZE_MAX);
        if (e == OK)
            continue;
        if (e != ERR_AGAIN) {
            drain(k);
            return k->tls_broke
                       ? ERR_TLS
                       : fail(k, ERR_RESET,
                              "the server closed the connection while it was sent a request");
        }
        drain(k); /* a server that echoes wants to be rid of it */
        if (k->eof)
            return fail(k, ERR_EOF, "the server closed the connection while it was sent a request");
        if (now_ms() >= until || !wait_for(k, (short)(POLLIN | (writes ? POLLOUT : 0)), until))
            return fail(k, ERR_TIMEOUT, "the server does not read");
    }
    return OK;
}

bool probe_talk_listen(struct probe_talk *k, uint64_t ms)
{
    uint64_t until = now_ms() + ms;

    for (;;) {
        bool writes = false;

        if (k->in.n > 0)
            return true;
        if (k->eof ||
            (read_some(k, &writes) == ERR_AGAIN && !wait_for(k, writes ? POLLOUT : POLLIN, until)))
            return false;
    }
}

enum err probe_talk_receive(struct probe_talk *k, struct probe_answer *a)
{
    uint64_t until = now_ms() + k->target->answer_ms;

    for (;;) {
        size_t used = 0;
        bool writes = false;
        enum err e = probe_answer_feed(a, buf_span(&k->in), &used);

        buf_drop(&k->in, used);
        if (e == OK && a->state != PROBE_ANSWER_DONE && k->eof) {
            probe_answer_eof(a);
            e = ERR_SYNTAX;
        }
        if (e)
            return k->tls_broke ? ERR_TLS : fail(k, e, a->fault ? a->fault : err_text(e));
        if (a->state == PROBE_ANSWER_DONE)
            return OK;
        if (read_some(k, &writes) == ERR_AGAIN && !wait_for(k, writes ? POLLOUT : POLLIN, until))
            return fail(k, ERR_TIMEOUT,
                        a->state == PROBE_ANSWER_START ? "no answer within the time"
                                                       : "no whole answer within the time");
    }
}
