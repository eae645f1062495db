/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c - one connection under want and policy, looked at whenever something happened to it. */
#include <errno.h>
#include <stdlib.h>

#include <openssl/ssl.h>

#include "protect/conn_int.h"
#include "protect/report_int.h"

enum conn_state { CONN_HANDSHAKE, CONN_OPEN, CONN_BROKEN };

struct sallyport_conn {
    sallyport_ctx *ctx;
    const sallyport_want *want;
    SSL *ssl; /* NULL: clear */
    int fd;   /* -1: none */
    struct flow flow;
    enum conn_state state;
    bool heard;          /* the peer has answered since the handshake */
    int err;             /* of CONN_BROKEN; negative */
    uint64_t generation; /* of the policy that it was held against */
    sallyport_report *report;
};

/* ---- judging ---- */

static int broken(sallyport_conn *c, int err)
{
    c->state = CONN_BROKEN;
    c->err = err;
    return err;
}

/* Takes |r|. */
static void take_report(sallyport_conn *c, sallyport_report *r)
{
    sallyport_report_free(c->report);
    c->report = r;
}

/* What a failed connection is called by: its first reason. What was tolerated is none. */
static int errno_of(const sallyport_report *r)
{
    for (size_t i = 0; i < r->n_whys; i++)
        if (r->whys[i].why.err)
            return -r->whys[i].why.err;
    return -EIO;
}

/* Holds |r|, which nobody else has seen, against want and policy; takes it. */
static int judge(sallyport_conn *c, sallyport_report *r)
{
    struct report_cause cause;
    struct policy_file *policy = ctx_policy(c->ctx, &c->generation);
    int e = policy_check(policy, &c->flow.view, c->want, r, &cause);

    policy_unref(policy);
    if (e && report_add(r, &cause) != 0)
        e = -ENOMEM;
    take_report(c, r);
    c->state = CONN_OPEN;
    return e ? broken(c, e) : 0;
}

static int look_at_open(sallyport_conn *c)
{
    sallyport_report *r;
    int e = c->ssl ? report_of_open(c->ssl, c->heard, false, &r) : report_of_clear(c->fd, &r);

    return e ? broken(c, e) : judge(c, r);
}

/* ---- where it leads ---- */

/* Fills the flow from what the kernel knows of the descriptor. Before a socket is connected its
 * port may be any, and its peer's: every line holds that could be about it. */
static int read_socket(sallyport_conn *c)
{
    struct sockaddr_storage local, remote;
    socklen_t n_local = sizeof local, n_remote = sizeof remote, n = sizeof(int);
    int proto = 0, listens = 0;

    if (getsockopt(c->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) != 0 || listens ||
        getsockname(c->fd, (struct sockaddr *)&local, &n_local) != 0)
        return -EINVAL;
    bool has_peer = getpeername(c->fd, (struct sockaddr *)&remote, &n_remote) == 0;
    uint64_t generation;
    struct policy_file *policy = ctx_policy(c->ctx, &generation);

    n = sizeof proto;
    (void)getsockopt(c->fd, SOL_SOCKET, SO_PROTOCOL, &proto, &n);
    flow_fill(&c->flow, c->ctx, policy, has_peer ? (const struct sockaddr *)&local : NULL,
              has_peer ? (const struct sockaddr *)&remote : NULL, proto);
    policy_unref(policy);
    return 0;
}

static int find_flow(sallyport_conn *c)
{
    uint64_t generation;
    struct policy_file *policy;

    if (c->fd >= 0)
        return read_socket(c);
    policy = ctx_policy(c->ctx, &generation);
    flow_fill(&c->flow, c->ctx, policy, NULL, NULL, 0);
    policy_unref(policy);
    return 0;
}

/* Whoever connects without waiting has a peer by now. */
static int look_at_handshake(sallyport_conn *c)
{
    int e = 0;

    if (!SSL_is_init_finished(c->ssl))
        return -EAGAIN;
    if (!c->flow.view.remote)
        e = find_flow(c);
    return e ? broken(c, e) : look_at_open(c);
}

/* ---- news ---- */

/* A call failed. The queue says why, or nobody does. */
static int look_at_failure(sallyport_conn *c)
{
    sallyport_report *r;
    int e = c->state == CONN_OPEN ? report_of_open(c->ssl, c->heard, true, &r)
                                  : sallyport_report_new(c->ssl, &r);

    if (e)
        return broken(c, e);
    take_report(c, r);
    return broken(c, errno_of(r));
}

static int policy_may_have_changed(sallyport_conn *c)
{
    return ctx_generation(c->ctx) == c->generation ? 0 : look_at_open(c);
}

static bool failed(const sallyport_conn *c, int ret)
{
    switch (SSL_get_error(c->ssl, ret)) {
    case SSL_ERROR_SSL:
    case SSL_ERROR_SYSCALL: return true;
    default: return false; /* it waits for something, or the peer said good-bye */
    }
}

/* Did a read bring the first word of the peer: data, or, to a client of TLS 1.3, a ticket? */
static bool is_news(sallyport_conn *c, bool data)
{
    bool news = c->report->how.accepted_by_peer == SALLYPORT_UNKNOWN &&
                (data || SSL_SESSION_has_ticket(SSL_get0_session(c->ssl)) == 1);

    c->heard |= data;
    return news;
}

int sallyport_drive(sallyport_conn *c, int did, int ret)
{
    if (c->state == CONN_BROKEN)
        return c->err;
    /* Without a call there is nothing that |ret| could be of. */
    if (did && c->ssl && ret <= 0 && failed(c, ret))
        return look_at_failure(c);
    if (c->state == CONN_HANDSHAKE)
        return look_at_handshake(c);
    if (did == SALLYPORT_DID_READ && c->ssl && is_news(c, ret > 0))
        return look_at_open(c);
    return policy_may_have_changed(c);
}

/* ---- life ---- */

int sallyport_adopt(sallyport_ctx *ctx, const sallyport_want *want, int fd, void *ssl,
                    sallyport_conn **ret_conn)
{
    sallyport_conn *c = calloc(1, sizeof *c);
    int e;

    *ret_conn = NULL;
    if (!c)
        return -ENOMEM;
    c->ctx = ctx;
    c->want = want;
    c->ssl = ssl;
    c->fd = fd < 0 ? -1 : fd;
    e = find_flow(c);
    if (!e)
        e = sallyport_report_new(NULL, &c->report); /* nothing protects it yet */
    if (!e)
        e = c->ssl && !SSL_is_init_finished(c->ssl) ? -EAGAIN : look_at_open(c);
    /* A refusal has a report, which says why; without one there is nothing to give. */
    if (e == -EINVAL || e == -ENOMEM) {
        sallyport_conn_free(c);
        return e;
    }
    *ret_conn = c;
    return e;
}

sallyport_report *sallyport_conn_report(const sallyport_conn *c)
{
    return report_ref(c->report);
}

void sallyport_conn_free(sallyport_conn *c)
{
    if (!c)
        return;
    sallyport_report_free(c->report);
    free(c);
}
