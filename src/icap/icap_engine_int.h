/* SPDX-License-Identifier: Apache-2.0 */
/* icap_engine_int.h - the body of the server-role engine: icap_engine.c reads (request half),
 * icap_engine_reply.c writes (reply half), icap_engine_time.c knows the deadlines. */
#ifndef ICAP_ENGINE_INT_H
#define ICAP_ENGINE_INT_H

#include <assert.h>

#include "http/chunk.h"
#include "http/head_gather.h"
#include "http/http_out.h"
#include "icap/icap_engine.h"
#include "icap/icap_slots.h"

/* The request half: name, and the states that may follow (any may be followed by CLOSED and DEAD).
 */
#define ICAP_RQ_STATES(X)                                                              \
    X(RQ_IDLE, "between requests", 1u << RQ_HEAD)                                      \
    X(RQ_HEAD, "ICAP head", 1u << RQ_HEADS)                                            \
    X(RQ_HEADS, "encapsulated heads", 1u << RQ_PREVIEW | 1u << RQ_BODY | 1u << RQ_END) \
    X(RQ_PREVIEW, "preview", 1u << RQ_WAIT | 1u << RQ_END)                             \
    X(RQ_WAIT, "waiting for the decision", 1u << RQ_BODY | 1u << RQ_END)               \
    X(RQ_BODY, "body", 1u << RQ_END)                                                   \
    X(RQ_END, "request over", 1u << RQ_IDLE)                                           \
    X(RQ_CLOSED, "dropping input, closing", 0)                                         \
    X(RQ_DEAD, "dead", 0)

#define ICAP_RQ_ENUM(id, name, next) id,
enum icap_rq { ICAP_RQ_STATES(ICAP_RQ_ENUM) RQ_STATES };
#undef ICAP_RQ_ENUM

/* The reply half. */
enum icap_rp {
    RP_NONE, /* no request */
    RP_OPEN, /* no final answer yet */
    RP_BODY, /* its head is out, its body is not over */
    RP_DONE
};

/* A queued event. Faults wait outside the ring: there is one at most, and it comes last. */
struct icap_queued {
    struct slice slice;
    unsigned char kind; /* enum icap_event_kind */
    bool ieof;
};
#define ICAP_QUEUE       8u
#define ICAP_QUEUE_SPARE 3u /* events that one step can make at most */

struct icap_engine {
    const struct icap_limits *lim;
    const struct icap_identity *id;
    struct span error_fields; /* see icap_error_fields() */
    struct http_out out;
    /* state */
    enum icap_rq rq;
    enum icap_rp rp;
    enum icap_event_kind fault_kind; /* ICAP_EV_NONE: no fault waits */
    bool close_after; /* the driver, the peer or a refusal wants the connection closed */
    bool peer_eof;
    bool paused;      /* the driver does not read on purpose */
    bool discard;     /* no BODY events for the rest of this request */
    bool ieof;        /* the preview was the whole body */
    bool continued;   /* 100 is out */
    bool promised;    /* the answer's head promised ICAP trailers */
    bool original_ok; /* the answer is a 206 */
    bool over;        /* transaction over, its memory not yet given back */
    bool half_line;   /* a CR of an empty line before a request-line was the last byte */
    unsigned char empty_lines;
    struct fault fault;
    /* events */
    unsigned char q_first, q_n;
    struct icap_queued queue[ICAP_QUEUE];
    /* the open transaction */
    struct arena mem;
    struct icap_request *req; /* in |mem|; NULL before its ICAP head is read */
    bool req_known;           /* REQUEST has been queued */
    struct head_gather icap_head;
    struct head_gather http_heads;
    struct chunk_decoder chunks;
    uint64_t body_n; /* data bytes, preview included */
    uint64_t discarded;
    uint64_t n_in, n_out;
    /* time, ms */
    uint64_t now;
    uint64_t t_first; /* first byte of the request */
    uint64_t t_in;    /* last byte in */
    uint64_t t_out;   /* last progress of the output */
    uint64_t t_idle;  /* since when between requests */
};

static_assert(sizeof(struct icap_engine) <= 1000, "an idle connection must stay small");

/* Name of the request half's state, for tests and traces. */
const char *icap_engine_state(const struct icap_engine *e);
void icap_engine_set(struct icap_engine *e, enum icap_rq next);
/* The fault becomes the last event; an error answer is queued if none has begun; the connection
 * closes. */
void icap_engine_refuse(struct icap_engine *e, const struct fault *f);
/* As refuse, but nothing can be answered: output is dropped, WANT_CLOSE at once. */
void icap_engine_expire(struct icap_engine *e, const struct fault *f);
/* The request half is over: END is queued. */
void icap_engine_request_over(struct icap_engine *e);
/* The reply half is over. */
void icap_engine_reply_over(struct icap_engine *e);
/* Gives the memory of a transaction that is over back. */
void icap_engine_release(struct icap_engine *e);
/* Queues the engine's own error answer; its status, or 0 when there is no memory for it. */
unsigned icap_engine_answer_error(struct icap_engine *e, const struct fault *f);
void icap_engine_drop_events(struct icap_engine *e);
static inline bool icap_engine_queue_full(const struct icap_engine *e)
{
    return e->q_n > ICAP_QUEUE - ICAP_QUEUE_SPARE;
}

#endif
