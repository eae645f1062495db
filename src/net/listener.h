/* SPDX-License-Identifier: Apache-2.0 */
/* listener.h - accepts on one socket of one loop, spreads fresh connections over loops, takes a
 * PROXY header from listed sources, does the TLS handshake off the accept path under one deadline,
 * asks the protection policy, and hands an open stream to its protocol. Each loop has a listener
 * object of its own on its own SO_REUSEPORT socket.
 *
 * Threads: each listener belongs to its loop's thread; the hand-over between loops is the
 * listener's own business. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "net/stream.h"
#include "protect/policy.h"

struct login_policy;
struct ipp_listener_settings;

/* When the handshake is made. SNIFF: on connections whose first byte begins one; all others are
 * open in clear text, once they have said something. LATER: not here; the protocol starts TLS. */
enum listener_handshake { LISTENER_TLS_AT_ONCE, LISTENER_TLS_SNIFF, LISTENER_TLS_LATER };

/* Shared and immutable, counted with atomics; a reload posts a new one to each loop
 * (listener_set_settings). */
struct listener_settings {
    _Atomic unsigned refs;
    const char *name;        /* for records, logs and metrics */
    struct tls_context *tls; /* NULL: clear */
    enum listener_handshake handshake;
    /* For a protocol that starts TLS on a clear connection: with what. NULL: |tls| */
    struct tls_context *tls_upgrade;
    struct protect_policy policy;  /* checked on every connection once its report exists: also on a
                                      clear one, whatever the protocol may do later */
    struct protect_system system;  /* and this */
    const struct cidr *proxy_from; /* sources that must begin with a PROXY header (v1 or v2) */
    unsigned n_proxy_from;
    /* Who may connect (behind a PROXY header: whom it names); none: all. */
    const struct cidr *allow;
    unsigned n_allow;
    /* Peers whose word on their users is believed: the protocol's. */
    const struct cidr *client_ip_from;
    unsigned n_client_ip_from;
    const struct login_policy *login;        /* the protocol's; NULL: nobody has to say who he is */
    const struct ipp_listener_settings *ipp; /* the protocol's; NULL: another one's */
    uint64_t handshake_ms; /* from accept to an open stream: PROXY header and TLS handshake
                              together; 10 s */
    /* Of this listener on all loops together; 0: none. From 64 on no address gets all of them: at
     * most seven times as many as are left. Load balancers (|proxy_from|) do. */
    unsigned connections_max;
    /* TLS listeners: sent to a peer whose first byte is a letter, so clear text, then the
     * connection is closed. Static. Empty: just close. */
    struct span plaintext_refusal;
    /* Sent where a policy, the listener's or the machine's, does not let a peer in whose connection
     * stands; then that is closed. Static. Empty: just close. */
    struct span policy_refusal;
    void (*destroy)(struct listener_settings *s); /* frees it; called when refs reach 0 */
};
struct listener_settings *listener_settings_ref(struct listener_settings *s);
void listener_settings_unref(struct listener_settings *s);

struct loop_group;

/* What the protocol gets. |settings|: referenced for the connection; the receiver unrefs it when
 * the connection ends, and calls listener_connection_ended(). */
struct accepted {
    struct stream *stream; /* open, report made, policy passed; no callback set yet */
    struct listener_settings *settings;
    struct loop_group *group;
    uint64_t accepted_us; /* loop_now_us() at accept */
    uint64_t handshake_us;
    unsigned source; /* for listener_connection_ended() */
};

struct listener_events {
    /* On the loop that will keep the connection. */
    void (*open)(void *arg, struct loop *l, const struct accepted *a);
    /* A connection that ended before it was open: |err| (ERR_TLS, ERR_TIMEOUT, ERR_POLICY,
     * ERR_PLAINTEXT, ERR_BUSY, ERR_PROTO for a bad PROXY header, ERR_RESET, ERR_NOMEM; ERR_EOF: it
     * came and went without a word, as health checks do), |why| a sentence. For records, logs and
     * metrics; the connection needs no listener_connection_ended(). |report|: HOW and WHO, as far
     * as it came; NULL before there was a stream. |peer|, |why|, |report|: for the call. */
    void (*refused)(void *arg, struct loop *l, const struct listener_settings *s,
                    const struct address *peer, enum err err, const char *why,
                    const sallyport_report *report);
};

/* The process's loops, for hand-over: each knows how many connections it carries. Freed after all
 * listeners and after the loops, whose mailboxes may hold a connection on its way. */
NODISCARD enum err loop_group_new(struct loop *const *loops, unsigned n, struct loop_group **ret);
void loop_group_free(struct loop_group *g);
unsigned loop_group_connections(const struct loop_group *g, unsigned index);
/* On the loop that carries it, once per accepted connection. */
void listener_connection_ended(struct loop_group *g, struct loop *l, struct listener_settings *s,
                               unsigned source);

struct listener;
/* Takes its own reference to |settings|. Listeners with the same events, arg and settings' name on
 * other loops of the group are its siblings: connections may be handed over to them. A reload
 * keeps the name. |fd|: a listening, non-blocking socket; stays the caller's (the supervisor's, in
 * truth) and is not closed here. |arg| is the same for all loops. */
NODISCARD enum err listener_new(struct loop *l, struct loop_group *g, int fd,
                                struct listener_settings *settings,
                                const struct listener_events *events, void *arg,
                                struct listener **ret);
void listener_set_settings(struct listener *li, struct listener_settings *settings);
/* Takes what waits in the accept queue, then stops accepting. Open handshakes go on, and what other
 * loops hand over is still taken. */
void listener_stop(struct listener *li);
/* Stops and frees; handshakes that are under way are dropped. */
void listener_free(struct listener *li);
unsigned listener_handshaking(const struct listener *li);

/* Opens a listening TCP socket (SO_REUSEADDR, SO_REUSEPORT, non-blocking, close-on-exec; IPv6 any
 * takes IPv4, too). *reterr_errno says why not. */
NODISCARD enum err listener_socket(const struct address *a, int backlog, int *ret_fd,
                                   int *reterr_errno);
/* The same, but for listen(2): the port is ours, and whoever connects is refused. */
NODISCARD enum err listener_socket_closed(const struct address *a, int *ret_fd, int *reterr_errno);

#endif
