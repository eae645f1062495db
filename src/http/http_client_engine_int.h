/* SPDX-License-Identifier: Apache-2.0 */
/* http_client_engine_int.h - the body of the client-role engine: http_client_engine.c reads
 * answers, http_client_engine_request.c writes requests, http_client_engine_time.c knows the
 * deadlines. */
#ifndef HTTP_CLIENT_ENGINE_INT_H
#define HTTP_CLIENT_ENGINE_INT_H

#include <assert.h>

#include "http/chunk.h"
#include "http/head_gather.h"
#include "http/http_client_engine.h"
#include "http/http_out.h"

/* The reading half: name, and the states that may follow (any may be followed by CLOSED). */
#define HTTP_CR_STATES(X)                                                                       \
    X(CR_IDLE, "no request", 1u << CR_HEAD)                                                     \
    X(CR_HEAD, "status-line and fields",                                                        \
      1u << CR_LENGTH | 1u << CR_CHUNKED | 1u << CR_TO_END | 1u << CR_SWITCHED | 1u << CR_IDLE) \
    X(CR_LENGTH, "body of a known length", 1u << CR_IDLE)                                       \
    X(CR_CHUNKED, "body in chunks", 1u << CR_IDLE)                                              \
    X(CR_TO_END, "body up to the connection's end", 0)                                          \
    X(CR_SWITCHED, "another protocol", 1u << CR_HEAD | 1u << CR_IDLE)                           \
    X(CR_CLOSED, "closed", 0)

#define HTTP_CR_ENUM(id, name, next) id,
enum http_cr { HTTP_CR_STATES(HTTP_CR_ENUM) CR_STATES };
#undef HTTP_CR_ENUM

/* The writing half. */
enum http_cw {
    CW_NONE, /* no body, or all of it is queued */
    CW_WAIT, /* what is handed over is held until 100, or http_client_send_body() */
    CW_BODY,
    CW_DROP /* the rest is not wanted: the connection will close */
};

struct http_client_queued {
    struct slice slice;
    enum http_client_event_kind kind;
};
/* SPARE: events that one step and the end of input can make at most. */
#define HTTP_CLIENT_QUEUE       16u
#define HTTP_CLIENT_QUEUE_SPARE 3u

struct http_client_engine {
    const struct http_limits *lim;
    struct http_out out;
    struct http_out held; /* of a body in CW_WAIT, as it will go on the wire */
    enum http_cr cr;
    enum http_cw cw;
    unsigned char q_first, q_n;
    unsigned char n_interim; /* answers that were passed over */
    unsigned char lone_n;    /* bytes of a lone last-chunk that came */
    struct http_client_queued queue[HTTP_CLIENT_QUEUE];
    bool fault_waits;
    bool dead; /* failed or aborted */
    struct fault fault;
    /* the request */
    bool is_head, head_only, tunnel, upgrade, close;
    bool open;
    bool body_ended;    /* the driver has handed all of it over */
    bool sent;          /* all of it, head and body, was taken from |out| */
    bool answered;      /* a byte of an answer came */
    uint64_t put;       /* bytes that went into |out| */
    uint64_t body_left; /* bytes that the driver has to hand over; HTTP_LENGTH_UNKNOWN: chunked */
    /* the answer */
    struct arena mem;
    struct head_gather head;
    struct http_answer *answer; /* in |mem| */
    bool told;                  /* ANSWER or SWITCHED is queued */
    bool over;                  /* memory not yet given back */
    bool resting;
    bool paused;
    bool lone; /* a lone last-chunk may come: the answer was cut at its head, and said chunked */
    struct chunk_decoder chunks;
    uint64_t left; /* CR_LENGTH */
    /* time, ms */
    uint64_t now, t_begin, t_head, t_in, t_out, t_idle, t_paused;
};

static_assert(sizeof(struct http_client_engine) <= 1200, "an idle connection must stay small");

/* Reading waits until events are taken. */
static inline bool http_client_queue_full(const struct http_client_engine *e)
{
    return e->q_n > HTTP_CLIENT_QUEUE - HTTP_CLIENT_QUEUE_SPARE;
}

/* Is all of the request, head and body, out? */
static inline bool http_client_is_written(const struct http_client_engine *e)
{
    return e->cw == CW_NONE && e->out.chain.len == 0;
}

void http_client_set(struct http_client_engine *e, enum http_cr next);
/* The fault becomes the last event, output is dropped, WANT_CLOSE. */
void http_client_fail(struct http_client_engine *e, const struct fault *f);
/* What of the request is not sent yet stays unsent, and what is still handed over, too. */
void http_client_drop_request(struct http_client_engine *e);
/* What is held goes out. */
NODISCARD enum err http_client_release_body(struct http_client_engine *e);
/* Output was taken, or the body has ended: is that the end of the request? */
void http_client_note_sent(struct http_client_engine *e);

#endif
