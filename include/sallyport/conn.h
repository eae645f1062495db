/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport/conn.h - connections under the system's policy: what will be demanded of one
 * (sallyport_plan()), whether it is met, and what became of it later. Part of libsallyport.
 *
 * sallyport_report_new() of report.h is one look at an SSL, and enough for who makes its own
 * decision once. A sallyport_conn joins the program's want with the policy of the machine, and goes
 * on looking: a client of TLS 1.3 is told only after its handshake that the server refused it, and
 * the policy may change while the connection is open.
 *
 * The library reads and writes no application data: descriptor and SSL stay the caller's, who does
 * all calls on them. Nothing here logs, blocks, exits, takes callbacks or spawns threads. A context
 * may be used by many threads; a connection by one at a time. Functions return 0 or -errno. */
#ifndef SALLYPORT_CONN_H
#define SALLYPORT_CONN_H

#include <sys/socket.h>

#include <sallyport/want.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SALLYPORT_POLICY_PATH "/etc/sallyport/policy"

typedef struct sallyport_ctx sallyport_ctx;
typedef struct sallyport_conn sallyport_conn;

typedef struct {
    uint32_t size;       /* sizeof of the caller's struct: the ABI may grow */
    const char *policy;  /* the policy's file, which must be there; NULL: SALLYPORT_POLICY_PATH, if
                            it is there */
    const char *service; /* what this program is, for policies that name it; NULL: nothing */
} sallyport_options;

/* NULL |options|: the defaults. -ENOMEM; -EPERM: the policy belongs to somebody else than root, or
 * others can write it; -EBADMSG: it means nothing; other errors of reading it. Then *ret_ctx is
 * NULL and |ret_why|, of |cap| bytes, has a sentence with the line; it may be NULL. */
int sallyport_open(const sallyport_options *options, sallyport_ctx **ret_ctx, char *ret_why,
                   size_t cap);
/* Connections must be freed first. NULL is fine. */
void sallyport_close(sallyport_ctx *ctx);
/* Reads the policy again; on any error, as above, the old one stays. From the next
 * sallyport_drive() on it holds for open connections, too: call that for each. */
int sallyport_reload(sallyport_ctx *ctx, char *ret_why, size_t cap);
/* The |i|-th attribute that the policy gives |peer| ("role=printer"), or NULL past the last. It is
 * the policy's word, not the peer's: nobody authenticated it. Lives until the next
 * sallyport_reload(). */
const char *sallyport_derived(const sallyport_ctx *ctx, const sallyport_peer *peer, size_t i);

/* ---- before ---- */

/* What would be demanded of a connection from |local| (NULL: not known yet) to |remote| (NULL: one
 * that is listened for) over |proto| (IPPROTO_TCP). The report speaks of the future: its level is
 * the least, its |via| what is allowed; sallyport_report_why() says why it can never be, and
 * sallyport_report_decision() where each value comes from. NULL as |ctx| or |want|: no policy,
 * nothing wanted. -ENOMEM. */
int sallyport_plan(sallyport_ctx *ctx, const sallyport_want *want, const struct sockaddr *local,
                   const struct sockaddr *remote, int proto, sallyport_report **ret_report);

/* One demand. */
typedef struct {
    uint32_t size;
    const char
        *what; /* "level", "via", "end-to-end", "peer", "latched", "covered", "replay-safe" */
    const char *value; /* "strong", "tls,ipsec", "any", "dns:*.example.org" */
    const char *by;    /* "want", "interface", "rule", "default", "exempt" */
    unsigned line;     /* of the policy; 0: none */
    int decides;       /* 1: it is in force; 0: another one asks for more */
} sallyport_decision;

/* The |i|-th of a plan; -ENOENT past the last, and of reports that are none. */
int sallyport_report_decision(const sallyport_report *report, size_t i, sallyport_decision *ret);

/* ---- a connection ---- */

/* Of |ssl| (an `SSL *`, during its handshake or after it; NULL: a clear connection) on the socket
 * |fd| (-1: nothing is known of its addresses, so every line of the policy holds that could be
 * about it; the same as long as it is not connected, and the addresses are asked for again when the
 * handshake ends). Of a clear connection over a Unix socket the peer is the user at its other end,
 * whose name getpwuid_r() is asked for. |want| may be NULL; it, |fd| and |ssl| are borrowed for the
 * connection's life.
 *
 * 0: open and as it must be. -EAGAIN: the handshake is not over; sallyport_drive() goes on. Another
 * -errno: not as it must be; sallyport_conn_report() says why. *ret_conn is there in all of these
 * cases, and NULL for -EINVAL (|fd| is not a socket, or one that listens) and -ENOMEM only. */
int sallyport_adopt(sallyport_ctx *ctx, const sallyport_want *want, int fd, void *ssl,
                    sallyport_conn **ret_conn);

/* What the caller did with the SSL. */
enum { SALLYPORT_DID_HANDSHAKE = 1, SALLYPORT_DID_READ = 2, SALLYPORT_DID_WRITE = 3 };
/* Takes note that |did| returned |ret|: right after the call, in its thread, while the error queue
 * still says why it failed. Call it after each step of the handshake, after reads until one brought
 * something, after any call that failed, and after sallyport_reload(), then with 0 as |did| if
 * nothing was done: |ret| does not count. Other calls cost next to nothing. 0: as it must be.
 * -EAGAIN: the handshake goes on. Another -errno is final: stop using the connection. */
int sallyport_drive(sallyport_conn *conn, int did, int ret);
/* How it is now. The caller frees it. Never NULL. */
sallyport_report *sallyport_conn_report(const sallyport_conn *conn);
/* The descriptor and the SSL stay open. NULL is fine. */
void sallyport_conn_free(sallyport_conn *conn);

#ifdef __cplusplus
}
#endif
#endif
