/* SPDX-License-Identifier: Apache-2.0 */
/* upstream.h - connections to a server, kept for reuse: look-up, connect, TLS with verification of
 * chain and name, policy on the report. One pool per loop and server.
 *
 * Threads: a pool belongs to its loop's thread. */
#ifndef NET_UPSTREAM_H
#define NET_UPSTREAM_H

#include "net/stream.h"
#include "protect/policy.h"

struct upstream_settings {
    const char *host; /* name or literal */
    unsigned port;
    struct tls_context *tls; /* NULL: clear. The pool takes its own reference. */
    const char *tls_name;    /* SNI and the name that the certificate must carry; NULL: |host| */
    struct protect_policy policy; /* asked for every connection */
    struct protect_system system; /* and this; borrowed */
    uint64_t connect_ms;          /* look-up, connect and handshake together; 10 s */
    uint64_t idle_ms;             /* how long an idle connection is kept; 30 s */
    unsigned idle_max;            /* 8 */
    unsigned connections_max;     /* 0: no limit; at it, requests wait in order */
};

/* Copies |s| and its strings. */
struct upstream;
NODISCARD enum err upstream_new(struct loop *l, const struct upstream_settings *s,
                                struct upstream **ret);
/* Closes idle connections and lets go: requests under way are called back with ERR_DRAINING;
 * streams that are out are still given back with upstream_put(), which then closes them. */
void upstream_free(struct upstream *u);

/* |stream| is the receiver's until upstream_put(), which must come even if it broke; NULL: |err|
 * (ERR_UPSTREAM, ERR_TIMEOUT, ERR_TLS, ERR_POLICY, ERR_BUSY, ERR_NOMEM, ERR_DRAINING) and |why| say
 * what failed; |why| lives for the call. |reused|:
 * it carried a transaction before (RFC 9110 9.2.2: a retry on a fresh one is fair if it dies
 * unanswered). */
typedef void (*upstream_fn)(void *arg, struct stream *stream, bool reused, enum err err,
                            const char *why);
struct upstream_ticket;
/* Never calls back inside the call. The ticket is valid until the call-back or upstream_cancel().
 * |fresh|: do not reuse. Waiting for a free place has no deadline of its own: cancel it. */
NODISCARD enum err upstream_get(struct upstream *u, bool fresh, upstream_fn fn, void *arg,
                                struct upstream_ticket **ret);
void upstream_cancel(struct upstream_ticket *t);
/* Gives it back; |reusable| false closes it (with close_notify and FIN). */
void upstream_put(struct upstream *u, struct stream *s, bool reusable);

/* Inside a call-back without a stream: what came of a connection that was made and could not be
 * used. |report| is borrowed for the call. NULL: none was made. */
struct upstream_refusal {
    sallyport_report *report;
    bool by_policy;    /* TLS was there, or none was asked for */
    sallyport_why why; /* then: its strings are static */
};
const struct upstream_refusal *upstream_refused(const struct upstream *u);

/* Something of the users' of a connection that the pool gave: |drop| is called when the connection
 * ends, or gets another one. NULL: nothing. */
void upstream_set_note(struct stream *s, void *note, void (*drop)(void *note));
void *upstream_note(const struct stream *s);

#endif
