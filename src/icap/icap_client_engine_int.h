/* SPDX-License-Identifier: Apache-2.0 */
/* icap_client_engine_int.h - the body of the client-role engine: icap_client_engine.c reads
 * answers, icap_client_engine_request.c writes requests. */
#ifndef ICAP_CLIENT_ENGINE_INT_H
#define ICAP_CLIENT_ENGINE_INT_H

#include <assert.h>

#include "http/chunk.h"
#include "http/head_gather.h"
#include "http/http_out.h"
#include "icap/icap_client_engine.h"
#include "icap/icap_slots.h"

/* The reading half: name, and the states that may follow (any may be followed by CLOSED). */
#define ICAP_CR_STATES(X)                                                \
    X(CR_IDLE, "no request", 1u << CR_HEAD)                              \
    X(CR_HEAD, "status-line and fields", 1u << CR_HEADS | 1u << CR_HEAD) \
    X(CR_HEADS, "encapsulated heads", 1u << CR_BODY | 1u << CR_IDLE)     \
    X(CR_BODY, "body", 1u << CR_TRAILERS | 1u << CR_IDLE)                \
    X(CR_TRAILERS, "ICAP trailers", 1u << CR_IDLE)                       \
    X(CR_CLOSED, "closed", 0)

#define ICAP_CR_ENUM(id, name, next) id,
enum icap_cr { ICAP_CR_STATES(ICAP_CR_ENUM) CR_STATES };
#undef ICAP_CR_ENUM

/* The writing half. */
enum icap_cw {
    CW_NONE,    /* no body, or all of it is queued */
    CW_PREVIEW, /* |preview_left| bytes to go */
    CW_WAIT,    /* the preview is queued, without ieof: 100 or a final answer */
    CW_IEOF,    /* the preview was the whole body: only a final answer */
    CW_BODY,    /* no preview, or after 100 */
    CW_DROP     /* a final answer came instead of 100: the rest is not wanted */
};

struct icap_client_queued {
    struct slice slice;
    uint64_t from;
    enum icap_client_event_kind kind;
};
#define ICAP_CLIENT_QUEUE       16u
#define ICAP_CLIENT_QUEUE_SPARE 3u

struct icap_client_engine {
    const struct icap_limits *lim;
    struct http_out out;
    enum icap_cr cr;
    enum icap_cw cw;
    unsigned char q_first, q_n;
    struct icap_client_queued queue[ICAP_CLIENT_QUEUE];
    bool fault_waits;
    struct fault fault;
    /* the request */
    enum icap_method method;
    struct icap_allow allow;
    bool open, has_preview, close;
    bool continued;  /* a 100 was taken */
    bool ignored;    /* a 100 after ieof was passed over, once */
    bool body_ended; /* the driver has handed all of it over */
    bool answered;   /* a byte of the answer came */
    uint64_t preview_left;
    uint64_t body_n;   /* bytes that the driver handed over */
    struct chain rest; /* raw body behind the preview */
    /* the answer */
    struct arena mem;
    struct head_gather icap_head;
    struct head_gather http_heads;
    struct icap_encapsulated list;
    struct icap_client_reply *reply; /* in |mem| */
    bool told;                       /* REPLY is queued */
    bool promised;                   /* ICAP trailers will follow the body */
    bool over;                       /* memory not yet given back */
    bool resting;
    struct chunk_decoder chunks;
    struct span http_trailers; /* in |mem| */
    /* time, ms */
    uint64_t now, t_begin, t_head, t_in, t_out, t_idle;
};

static_assert(sizeof(struct icap_client_engine) <= 1200, "an idle connection must stay small");

void icap_client_set(struct icap_client_engine *e, enum icap_cr next);
/* The fault becomes the last event, output is dropped, WANT_CLOSE. */
void icap_client_fail(struct icap_client_engine *e, const struct fault *f);
/* 100: the rest goes out. */
NODISCARD enum err icap_client_release_rest(struct icap_client_engine *e);

#endif
