/* SPDX-License-Identifier: Apache-2.0 */
/* http_connection.h - the server's side of one connection that speaks HTTP/1.1: moves bytes between
 * a stream and an engine (http_engine.h), keeps their deadlines, gives other connections their
 * turn, and starts TLS on the way (RFC 2817). What requests mean is the handler's.
 *
 * Threads: belongs to its loop's thread. */
#ifndef HTTP_HTTP_CONNECTION_H
#define HTTP_HTTP_CONNECTION_H

#include "base/budget.h"
#include "http/http_engine.h"
#include "net/listener.h"

struct http_connection;

/* |arg| is the one of http_connection_new(). Each may answer through http_connection_engine(); none
 * may free the connection, which tells its end by |closed|. */
struct http_handler {
    /* A request's head is here: http_current(). */
    void (*request)(void *arg);
    void (*body)(void *arg, struct slice s); /* takes the reference over */
    void (*end)(void *arg);                  /* the request is over; its answer need not be */
    /* Nothing more is put into the answer: the peer broke the protocol, a deadline or the
     * connection, or has gone. |f->status|: what the engine has answered by itself, 0: nothing. May
     * come without a request, and in place of |over| where the answer was whole and nobody there
     * to take it. */
    void (*failed)(void *arg, const struct fault *f);
    /* Moves bytes of an answer to the engine, while its output is short; true when some moved. */
    bool (*drive)(void *arg);
    /* The peer is to be kept from sending: what it sent cannot be put anywhere. */
    bool (*is_behind)(const void *arg);
    /* Nobody is to blame for the silence, but a peer that goes away shall be noticed: then |failed|
     * comes with ERR_ABORTED. */
    bool (*is_working)(const void *arg);
    /* Both halves are over, and the request's memory goes when this returns. */
    void (*over)(void *arg);
    /* After http_connection_switch(): TLS is there, and the final answer is due. NULL: never. */
    void (*switched)(void *arg);
    void (*closed)(void *arg); /* the last call: after |over| or |failed| of what was open */
};

struct http_connection_settings {
    struct loop *loop;
    const struct http_limits *limits;
    const struct http_handler *handler;
    void *arg;
    const struct budget *memory; /* reading waits near its end; NULL: never */
    struct span error_fields;    /* of the engine's own answers; http_error_fields() */
};
/* Takes the stream of |a| and its settings over, and nothing on failure. |s| is copied, what it
 * points to outlives the connection. Calls back on a later turn. ERR_NOMEM. */
NODISCARD enum err http_connection_new(const struct http_connection_settings *s,
                                       const struct accepted *a, struct http_connection **ret);

struct http_engine *http_connection_engine(struct http_connection *c);
struct stream *http_connection_stream(const struct http_connection *c);
const struct accepted *http_connection_accepted(const struct http_connection *c);
/* Did TLS begin on the way? */
bool http_connection_is_upgraded(const struct http_connection *c);
/* Whose turn it is among connections: a hash of the peer's address, until somebody says better. */
void http_connection_set_client(struct http_connection *c, uint64_t client);

/* Goes on when it is the connection's turn: after anything was put into the engine, or could be. */
void http_connection_wake(struct http_connection *c);

/* Answers 101 with |fields| and begins TLS with the listener's |tls_upgrade|. Only within |end|, or
 * later before there is an answer. ERR_PROTO: bytes came behind the request, which would be taken
 * for protected ones; ERR_MISSING: the listener has no TLS; else what http_switch() says. Nothing
 * was sent then. */
NODISCARD enum err http_connection_switch(struct http_connection *c, struct span fields);

/* Finish what is under way, say Connection: close; close what is idle. One that has not carried a
 * request may still bring one. */
void http_connection_drain(struct http_connection *c);
/* An answer is lost, or none may be given: |failed| and |closed| come soon, not within the call,
 * and of the request that is open nothing else. |why| is copied. */
void http_connection_lose(struct http_connection *c, enum err err, const char *why);
/* At once: |failed| if something was open, |closed|, within the call. */
void http_connection_end(struct http_connection *c, enum err err, const char *why);

#endif
