/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_client_int.h - the body behind ipp_client.h, for its own files:
 *
 *   ipp_client.c           its life, the connection's bytes, who is told what became of a request
 *   ipp_client_open.c      from nothing to a connection that is as the URI demands
 *   ipp_client_exchange.c  one request and its answer
 *   ipp_client_login.c     challenges, and what is said to them
 *   ipp_client_plan.c, ipp_client_head.c  what URIs and heads say */
#ifndef IPP_CLIENT_INT_H
#define IPP_CLIENT_INT_H

#include "http/digest_client.h"
#include "http/http_client_engine.h"
#include "ipp/ipp_client.h"
#include "net/upstream.h"

#define IPP_CLIENT_REST_MAX (64u << 10) /* bytes of answers that nobody reads */

/* Where it is. IDLE: no connection, nothing asked. KEPT: a connection, nothing asked. START: to go
 * on with the request on a turn of its own, with the connection if there is one. CONNECT. TUNNEL:
 * CONNECT is with the proxy. UPGRADE: OPTIONS is out. HANDSHAKE: TLS begins. FINAL: OPTIONS is to
 * be answered inside TLS. REQUEST. DONE: the result is there, and to be told. */
enum ipp_client_state {
    CLIENT_IDLE,
    CLIENT_KEPT,
    CLIENT_START,
    CLIENT_CONNECT,
    CLIENT_TUNNEL,
    CLIENT_UPGRADE,
    CLIENT_HANDSHAKE,
    CLIENT_FINAL,
    CLIENT_REQUEST,
    CLIENT_DONE,
};

/* One of those who may ask for credentials: the printer, or the proxy. */
struct ipp_client_door {
    const struct ipp_client_login *login;
    struct digest_client_policy policy;
    struct digest_client digest;
    struct digest_attempt attempt; /* of the request that is under way */
    unsigned asked;                /* challenges to it */
    const char *password;          /* once it was asked for */
};

struct ipp_client {
    struct loop *loop;
    struct ipp_client_settings set;
    struct http_limits http;
    char host[256];      /* of the URI */
    char authority[300]; /* host and port of |way|, as in Host */
    char target[IPP_URI_MAX + 1];
    char uri[IPP_URI_MAX + 1]; /* for the message */
    bool sallyport;
    /* the connection */
    enum ipp_client_state state;
    struct ipp_client_way way;
    unsigned next_way;   /* of the plan's */
    bool upgrade_wanted; /* by a printer that was asked in clear text */
    bool not_upgraded;   /* a way failed because the printer did not */
    bool in_spite;       /* in clear text, although the list demands TLS */
    struct upstream *upstream;
    struct upstream_ticket *ticket;
    struct stream *stream;
    struct http_client_engine *engine;
    struct slice leftover; /* read, and not taken by the engine */
    struct timer timer;
    uint64_t until_ms; /* of waiting for 100 Continue, or for the rest of an answer to |repeat| */
    bool reused, again;
    bool little; /* came last */
    struct ipp_level level;
    /* the request */
    struct ipp_client_request r;
    uint32_t request_id; /* of the last request */
    uint8_t major;
    struct file_ref *document;
    struct buf message; /* as it was written */
    uint64_t handed;    /* bytes of message and document that the engine has */
    bool holds;         /* the body waits for 100 Continue */
    bool repeat;        /* the answer that is being read is no result */
    bool doubted;       /* that the printer asks for no user was told */
    unsigned status;    /* of the answer that is being read; 0: none yet */
    uint64_t rest;      /* bytes of it that nobody reads */
    struct ipp_scan scan;
    bool scanned;
    struct buf answer;
    struct ipp_message parsed;
    struct ipp_client_door printer, proxy;
    /* what became of it */
    struct ipp_client_result result;
    bool failed_before; /* |result| is of a way that failed */
    bool keep;          /* the connection, after DONE */
    struct task task;
    bool queued, dead;
};

/* ---- ipp_client.c ---- */

/* Ends the request; the first sentence stays. The connection goes. */
PRINTF(3, 4)
void ipp_client_fail(struct ipp_client *c, enum ipp_client_end end, const char *fmt, ...);
/* The same where the connection has ended: "|what|: |why|", or in place of |why| what TLS was told,
 * which is about security. */
void ipp_client_broke(struct ipp_client *c, const char *what, const char *why);
/* The answer is in |parsed|. */
void ipp_client_done(struct ipp_client *c);
/* Closes the connection. */
void ipp_client_let_go(struct ipp_client *c);
/* On a connection of its own, from the way that is now. */
void ipp_client_start_over(struct ipp_client *c);
PRINTF(2, 3) void ipp_client_warn(struct ipp_client *c, const char *fmt, ...);
void ipp_client_queue(struct ipp_client *c);
/* What it says that it is. */
void ipp_client_note_server(struct ipp_client *c, const struct head *h);
/* A fresh engine. False: it was told. */
bool ipp_client_engine(struct ipp_client *c);

/* ---- ipp_client_open.c ---- */

/* Goes to the next way of the plan. */
void ipp_client_open(struct ipp_client *c);
/* Connects by the way that is now. */
void ipp_client_connect(struct ipp_client *c);
void ipp_client_open_event(struct ipp_client *c, const struct http_client_event *ev);
/* The stream's, in HANDSHAKE. */
void ipp_client_handshake(struct ipp_client *c, unsigned events);

/* ---- ipp_client_exchange.c ---- */

void ipp_client_begin(struct ipp_client *c);
void ipp_client_exchange_event(struct ipp_client *c, const struct http_client_event *ev);
/* Gives the engine what there is. True: something moved. */
bool ipp_client_hand_over(struct ipp_client *c);
/* The time for 100 Continue is over. */
void ipp_client_release(struct ipp_client *c);
/* Not all of the request has gone out, and no more will. */
bool ipp_client_is_cut_short(const struct ipp_client *c);
/* The demand held against what has happened. */
enum ipp_need ipp_client_lacks(const struct ipp_client *c);

/* ---- ipp_client_login.c ---- */

void ipp_client_login_init(struct ipp_client *c);
/* Appends a field-line with credentials for a request, if there are any to be sent. False: they
 * cannot be made, and the request has failed. */
NODISCARD bool ipp_client_credentials(struct ipp_client *c, struct ipp_client_door *d,
                                      struct span method, struct span target, struct buf *fields);
/* 401 or 407: |repeat| if the request is to be sent again; else it has failed. */
void ipp_client_challenged(struct ipp_client *c, struct ipp_client_door *d, const struct head *h);
/* The answer let us in. False: the printer did not prove itself, and the request has failed. */
bool ipp_client_let_in(struct ipp_client *c, const struct head *h);

#endif
