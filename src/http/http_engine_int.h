/* SPDX-License-Identifier: Apache-2.0 */
/* http_engine_int.h - the body of the server-role engine: http_engine.c reads (request half), with
 * http_engine_check.c for what a head says; http_engine_reply.c writes (reply half);
 * http_engine_time.c knows the deadlines. */
#ifndef HTTP_ENGINE_INT_H
#define HTTP_ENGINE_INT_H

#include <assert.h>

#include "http/chunk.h"
#include "http/head_gather.h"
#include "http/http_engine.h"
#include "http/http_out.h"

/* The request half: name, and the states that may follow (any may be followed by CLOSED and DEAD).
 */
#define HTTP_RQ_STATES(X)                                      \
    X(RQ_IDLE, "between requests", 1u << RQ_HEAD)              \
    X(RQ_HEAD, "head", 1u << RQ_BODY | 1u << RQ_END)           \
    X(RQ_BODY, "body", 1u << RQ_END)                           \
    X(RQ_END, "request over", 1u << RQ_IDLE | 1u << RQ_SWITCH) \
    X(RQ_SWITCH, "switching protocols", 1u << RQ_END)          \
    X(RQ_CLOSED, "dropping input, closing", 0)                 \
    X(RQ_DEAD, "dead", 0)

#define HTTP_RQ_ENUM(id, name, next) id,
enum http_rq { HTTP_RQ_STATES(HTTP_RQ_ENUM) RQ_STATES };
#undef HTTP_RQ_ENUM

/* The reply half. */
enum http_rp {
    RP_NONE, /* no request */
    RP_OPEN, /* no final answer yet */
    RP_BODY, /* its head is out, its body is not over */
    RP_DONE
};

/* How the body of an answer ends. */
enum http_framing {
    FRAMING_NONE, /* it has none, and its head says nothing: 204, 304 */
    FRAMING_LENGTH,
    FRAMING_CHUNKED,
    FRAMING_CLOSE /* with the connection: to HTTP/1.0 */
};

/* A queued event. Faults wait outside the ring: there is one at most, and it comes last. */
struct http_queued {
    struct slice slice;
    unsigned char kind; /* enum http_event_kind */
    bool trailers;      /* END: of a body that was not discarded */
};
#define HTTP_QUEUE       8u
#define HTTP_QUEUE_SPARE 3u /* two events that a step can make, and an END outside of steps */

/* Bytes of answers that a pipelining client has not taken: above, its next request waits. */
#define HTTP_AHEAD_MAX 65536u

struct http_engine {
    const struct http_limits *lim;
    struct span error_fields; /* see http_error_fields() */
    struct http_out out;
    /* state */
    enum http_rq rq;
    enum http_rp rp;
    enum http_event_kind fault_kind; /* HTTP_EV_NONE: no fault waits */
    bool close_after; /* the driver, the peer or a refusal wants the connection closed */
    bool peer_eof;
    bool paused;    /* the driver does not read on purpose */
    bool body_here; /* a byte of the body has come */
    bool continued; /* 100 is out */
    bool switched;  /* 101 is out, and was followed by http_switched() */
    bool mute;      /* the open answer is one to HEAD: its body is dropped */
    bool over;      /* exchange over, its memory not yet given back */
    bool half_line; /* a CR of an empty line before a request-line was the last byte */
    unsigned char empty_lines;
    enum http_framing framing; /* of the open answer */
    struct fault fault;
    /* events */
    unsigned char q_first, q_n;
    struct http_queued queue[HTTP_QUEUE];
    /* the open exchange */
    struct arena mem;
    struct http_request *req; /* in |mem|; NULL before its head is read */
    bool req_known;           /* REQUEST has been queued */
    struct head_gather head;
    struct chunk_decoder chunks;
    uint64_t body_n; /* data bytes */
    uint64_t discarded;
    uint64_t reply_left; /* FRAMING_LENGTH: bytes that the answer's body still has to have */
    uint64_t n_in, n_out;
    /* time, ms */
    uint64_t now;
    uint64_t t_first;   /* first byte of the request */
    uint64_t t_in;      /* last byte in */
    uint64_t t_discard; /* since when its body is discarded */
    uint64_t t_out;     /* last progress of the output */
    uint64_t t_idle;    /* since when between requests */
};

static_assert(sizeof(struct http_engine) <= 700, "an idle connection must stay small");

/* Name of the request half's state, for tests and traces. */
const char *http_engine_state(const struct http_engine *e);
void http_engine_set(struct http_engine *e, enum http_rq next);
/* What the head of a request says besides its fields: fills |r|, whose |head| is set. Refuses what
 * http_feed() lists. */
NODISCARD enum err http_engine_check(struct http_request *r, struct fault *reterr);
/* The fault becomes the last event; an error answer is queued; the connection closes. Only while no
 * answer has begun. */
void http_engine_refuse(struct http_engine *e, const struct fault *f);
/* As refuse, but nothing can be answered: output is dropped, WANT_CLOSE at once. */
void http_engine_expire(struct http_engine *e, const struct fault *f);
/* An answer has begun, and the body behind it is read for nobody. */
bool http_engine_discards(const struct http_engine *e);
/* The client waits for 100 before it sends its body. */
bool http_engine_is_held_back(const struct http_engine *e);
/* What is left of a discarded body is not worth reading: the request half is over, and the
 * connection closes when the answer is out. */
void http_engine_stop_discarding(struct http_engine *e);
/* The reply half is over. */
void http_engine_reply_over(struct http_engine *e);
/* Gives the memory of an exchange that is over back, if its last event has been taken. */
void http_engine_release(struct http_engine *e);
/* Queues the engine's own error answer; its status, or 0 when there is no memory for it. */
unsigned http_engine_answer_error(struct http_engine *e, const struct fault *f);

#endif
