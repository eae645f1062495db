/* SPDX-License-Identifier: Apache-2.0 */
/* control.h - the local control socket STATE/control.sock: a Unix stream socket, one JSON line in,
 * one JSON line out, as often as the client likes. The kernel says who asks (SO_PEERCRED): root, or
 * the user that the gateway runs as; anybody else is told so and cut off. Its listening socket is
 * handed from generation to generation like the others; a gateway that drains closes its server, so
 * that the next client meets the one that stays. docs/guide/control-protocol.md is the
 * specification.
 *
 *   {"command":"status"}            -> the gateway's state
 *   {"command":"exception-add",...} -> and others: what |command| of the handler knows
 *   {"command":"takeover"}          -> {"sockets":[{"listener":"edge","loop":0},...]}, then the
 *                                      descriptors (SCM_RIGHTS, in the same order, at most 200 with
 *                                      an LF, in as many batches as it takes)
 *   {"command":"drain","ms":30000}  -> {"ok":true}, and the gateway drains and exits
 *   anything else                   -> {"error":"..."} */
#ifndef PROC_CONTROL_H
#define PROC_CONTROL_H

#include "base/buf.h"
#include "net/loop.h"

struct json_t; /* jansson's */
struct control_server;
/* A command that is answered later: the client waits, or goes away. */
struct control_ticket;
struct control_handler {
    /* Writes the status object (without LF). */
    void (*status)(void *arg, struct buf *out);
    /* The |i|-th inherited socket; false past the end. The list must not change while the server
     * lives. */
    bool (*socket)(void *arg, unsigned i, const char **ret_listener, unsigned *ret_loop,
                   int *ret_fd);
    /* Called on a turn of its own, after the answer was written: control_server_free() is fine. */
    void (*drain)(void *arg, uint64_t ms);
    /* Any other command, whole, asked for by user |uid|: writes the answer (without LF). False:
     * there is no such command. May be NULL. */
    bool (*command)(void *arg, const char *name, const struct json_t *command, unsigned uid,
                    struct buf *out);
    /* The same for one that is answered later, or at once, by control_answer(). True: took
     * |ticket|. Asked when |command| does not know it. May be NULL. */
    bool (*command_later)(void *arg, const char *name, const struct json_t *command, unsigned uid,
                          struct control_ticket *ticket);
    void *arg;
};
/* |fd|: the listening Unix socket, non-blocking, stays the caller's. At most 16 clients at once,
 * 5 s for each command. */
NODISCARD enum err control_server_new(struct loop *l, int fd, const struct control_handler *h,
                                      struct control_server **ret);
/* Answers with |line| (without LF), and frees |ticket|; nobody may be there any more. The server
 * may be freed by then. */
void control_answer(struct control_ticket *ticket, struct span line);
/* NULL is fine. */
void control_server_free(struct control_server *c);

/* Opens the listening socket at |path| (mode 0600, non-blocking), in place of one that is left
 * over: the caller holds the lock of the state directory. ERR_IO: *reterr_errno. */
NODISCARD enum err control_listen(const char *path, int *ret_fd, int *reterr_errno);

/* Client side, blocking, for the CLI and the supervisor's start. Sends |command| (a JSON line, with
 * or without LF), returns the answer's line without its LF. ERR_UPSTREAM: nobody answers at |path|;
 * ERR_TIMEOUT, ERR_RESET, ERR_PROTO: something is there, but hangs or babbles. |why| says what to
 * do.
 */
NODISCARD enum err control_ask(const char *path, const char *command, uint64_t timeout_ms,
                               struct buf *ret_answer, struct buf *why);

struct control_socket {
    char listener[128];
    unsigned loop;
    int fd;
};
#define CONTROL_SOCKETS_MAX 1024u
/* Takes the sockets of a running gateway over. ERR_UPSTREAM: there is none (then start with fresh
 * ones). *ret_conn stays open, and is that gateway whoever else accepts on its sockets by then:
 * control_drain() ends it once the next one is ready. */
NODISCARD enum err control_takeover(const char *path, uint64_t timeout_ms,
                                    struct control_socket *ret, unsigned cap, unsigned *ret_n,
                                    int *ret_conn, struct buf *why);
/* Tells the gateway behind |conn| to drain, and waits for its {"ok":true}. Does not close |conn|.
 */
NODISCARD enum err control_drain(int conn, uint64_t ms, uint64_t timeout_ms, struct buf *why);

#endif
