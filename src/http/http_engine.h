/* SPDX-License-Identifier: Apache-2.0 */
/* http_engine.h - server role of HTTP/1.1 (RFC 9110, RFC 9112) as a sans-IO engine: slices of
 * blocks in, events and a chain of output out. No descriptor, no clock, no global, no log. Same
 * events for any split of the input (BODY slices may be cut differently; their bytes are the same).
 *
 * Two independent halves: the request half reads, the reply half writes; a reply may begin, and
 * even end, before the request is over. When both are finished the engine is ready for the next
 * request; until then it takes no byte of it (http_feed() uses fewer bytes than given, the driver
 * keeps the rest: pipelining).
 *
 * A walk: feed -> REQUEST [go_on] BODY... END, and anywhere after REQUEST: reply_head
 * [reply_body...] reply_end. On a refusal the engine has queued its own error answer, one sentence
 * of text/plain: REFUSED, then WANT_CLOSE once the output is out.
 *
 * TLS on the same connection (RFC 2817): after END, http_switch() queues the 101; the engine then
 * takes nothing in until the driver, which has written all output, holds no byte of input and has
 * done the handshake, says http_switched(); the final answer follows as usual. */
#ifndef HTTP_ENGINE_H
#define HTTP_ENGINE_H

#include "base/arena.h"
#include "base/chain.h"
#include "http/head.h"

struct http_engine;

struct http_limits {
    size_t request_line_max;     /* 8 KiB */
    size_t head_max;             /* 16 KiB */
    unsigned fields_max;         /* 100 */
    size_t chunk_line_max;       /* 4 KiB */
    size_t trailer_max;          /* 16 KiB */
    uint64_t chunk_overhead_max; /* 1 MiB beyond the body's own size */
    uint64_t discard_max;        /* request bytes read and dropped after an early answer, 64 KiB */
    unsigned empty_lines_max;    /* before a request-line, 4 */
    size_t memory_max;           /* arena of one exchange; 256 KiB */
    /* Deadlines, ms; 0: none. */
    uint64_t head_ms;       /* from the first byte of a request to the end of its head: 10 s */
    uint64_t body_idle_ms;  /* between bytes of a body that is asked for: 60 s */
    uint64_t discard_ms;    /* for what is dropped after an early answer, all of it: 2 s */
    uint64_t write_idle_ms; /* output queued and none taken: 60 s */
    uint64_t idle_ms;       /* keep-alive between requests: 120 s */
    uint64_t exchange_ms;   /* first byte of the request to last byte of the answer: 0 */
};
extern const struct http_limits http_limits_default;

#define HTTP_LENGTH_UNKNOWN UINT64_MAX

struct http_request {
    const struct head *head; /* strict field-lines only; any form of target: the driver's to read */
    bool has_body;           /* chunked, or a Content-Length above 0 */
    uint64_t length;         /* Content-Length; HTTP_LENGTH_UNKNOWN: chunked */
    bool expects;            /* Expect: 100-continue of an HTTP/1.1 request with a body */
    bool upgrades; /* Upgrade is there, Connection lists it, and the request is HTTP/1.1 (RFC 9110
                      7.8); to what is the driver's to read */
    bool upgrade_unlisted; /* the same, but Connection does not list it, so that nobody knows
                              whether this hop is meant: the driver passes over it, or takes it upon
                              itself with http_take_unlisted() */
    bool close;            /* the connection ends after it: the client said so, or is HTTP/1.0 */
};

enum http_event_kind {
    HTTP_EV_NONE,
    HTTP_EV_REQUEST, /* the head is complete; http_current() until both halves end */
    HTTP_EV_BODY,    /* |slice|: holds a reference that the receiver must block_unref() */
    HTTP_EV_END,     /* the request half is over; |trailers|: raw field-lines, or empty. Once for
                        each REQUEST that is not refused or gone, also when the rest was discarded:
                        then without trailers */
    HTTP_EV_REFUSED, /* the peer broke the protocol or a deadline; |fault|. An answer is queued if
                        one is possible: |fault.status| is its status, 0 when none could be sent */
    HTTP_EV_GONE,    /* the peer closed inside a request; |fault| */
};

struct http_event {
    enum http_event_kind kind;
    struct slice slice;
    struct span trailers; /* valid as long as http_current() */
    struct fault fault;
};

enum http_wants { HTTP_WANT_READ = 1, HTTP_WANT_WRITE = 2, HTTP_WANT_CLOSE = 4 };

/* |lim| is borrowed and must outlive the engine. ERR_NOMEM. */
NODISCARD enum err http_engine_new(const struct http_limits *lim, uint64_t now_ms,
                                   struct http_engine **ret);
void http_engine_free(struct http_engine *e); /* NULL is fine */
/* Field-lines, each with CRLF, for answers that the engine makes by itself, such as Date and
 * Server. As http_reply.fields, and no Content-Type: with others nothing is answered. Borrowed
 * until the next call or the engine's end. */
void http_error_fields(struct http_engine *e, struct span fields);

/* wire -> engine. *ret_used bytes of |in| were used (whole slice, unless the engine waits for its
 * reply half or for http_switched(), or more than 64 KiB of earlier answers are queued). Takes its
 * own references to the block where it keeps bytes. Fails only with ERR_NOMEM; a refused peer is an
 * event. Call http_next() until NONE after each feed: events wait in a small queue, and a full
 * queue stops feed early.
 *
 * Refused, besides what head.h refuses: versions other than 1.x (505), field-lines that head.h
 * calls odd, HTTP/1.1 without Host, any Host that names no single host (RFC 9112 3.2), a
 * Content-Length that is malformed or in conflict (RFC 9112 6.3) or beside Transfer-Encoding,
 * Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1), one other than exactly `chunked` (501), Expect
 * other than 100-continue (417). */
NODISCARD enum err http_feed(struct http_engine *e, struct slice in, size_t *ret_used);
/* The peer half-closed: input too, so feed what has been read before it first. Inside a request
 * GONE; between requests the engine wants CLOSE when output is out. A client that waits for its
 * answer may have half-closed: that is no GONE once the request is over, or its rest is discarded.
 */
void http_eof(struct http_engine *e);
bool http_next(struct http_engine *e, struct http_event *ret);
/* The exchange that is open, from REQUEST until both halves are over; NULL otherwise. It and the
 * arena live on until http_next() has said NONE after that (or the next feed or tick), so that a
 * driver that has just ended a reply can still write its record. */
const struct http_request *http_current(const struct http_engine *e);
/* Both halves are over and all events taken: the next call of those three gives the memory back. */
bool http_is_over(const struct http_engine *e);
/* Memory of the open exchange: what the driver puts here lives until both halves are over. */
struct arena *http_arena(struct http_engine *e);

/* Replies. Each returns ERR_BUG when it is illegal in this state, ERR_ABORTED when the exchange has
 * been refused or is gone, ERR_NOMEM, ERR_LIMIT over the output chain's limit (http_output()->max)
 * or for a head over 64 KiB, and then changes nothing. */

/* 100 Continue. Nothing is sent, and it is OK, where nobody expects it (any more) or the whole body
 * is here; that a part of it is says nothing of the rest. Before the first byte no deadline runs
 * for a body that is held back. */
NODISCARD enum err http_go_on(struct http_engine *e);

struct http_reply {
    unsigned status;    /* 200..599; no 2xx to CONNECT: the engine makes no tunnels */
    struct span fields; /* field-lines, each with CRLF, Date and Server among them. Not Connection,
                           Content-Length, Transfer-Encoding, which are the engine's: ERR_BUG.
                           Upgrade is fine: the engine lists it in Connection (RFC 9110 7.8); 426
                           must have it (RFC 9110 15.5.22) */
    bool has_body;      /* reply_body... then reply_end; else the reply is over with its head. Not
                           for 204, 205, 304 */
    uint64_t length;    /* of the body; HTTP_LENGTH_UNKNOWN: chunked, or up to the connection's end
                           for HTTP/1.0 */
    bool close;         /* Connection: close, and close after it */
};
/* To HEAD no body goes out, whatever is handed over. An answer before the request is over makes the
 * rest discarded: no BODY events but those that wait already, for at most discard_max bytes and
 * discard_ms, and nothing in it is refused. It says close where the rest is more than discard_max,
 * is of unknown length, or is a body that a client holds back until 100 Continue, so that nobody
 * can tell whether it comes (RFC 9110 10.1.1). */
NODISCARD enum err http_reply_head(struct http_engine *e, const struct http_reply *r);
/* As http_reply_head() with |body| (copied), whose length counts, and the end. */
NODISCARD enum err http_reply_whole(struct http_engine *e, const struct http_reply *r,
                                    struct span body);
/* More than |length| says, and an end before it, are ERR_BUG (but not to HEAD). */
NODISCARD enum err http_reply_body(struct http_engine *e,
                                   struct slice s); /* takes its own reference */
NODISCARD enum err http_reply_copy(struct http_engine *e, struct span bytes);
NODISCARD enum err http_reply_file(struct http_engine *e, struct file_ref *f, uint64_t off,
                                   uint64_t len);
NODISCARD enum err http_reply_end(struct http_engine *e);

/* The open request upgrades, although its Connection does not list it; nothing changes for one
 * without such an Upgrade. */
void http_take_unlisted(struct http_engine *e);
/* 101 with |fields| (Upgrade among them; Connection: Upgrade is the engine's). Only for a request
 * that upgrades, after its END and before its reply, once. A 100 that the client expected and did
 * not get goes first (RFC 9110 7.8). */
NODISCARD enum err http_switch(struct http_engine *e, struct span fields);
/* The 101 is asked for, and http_switched() did not come yet. */
bool http_is_switching(const struct http_engine *e);
/* The connection speaks the new protocol now, and HTTP inside it. ERR_BUG while output is queued,
 * or without http_switch(). */
NODISCARD enum err http_switched(struct http_engine *e);

/* Bytes of the body that are still to come, as far as the head tells; HTTP_LENGTH_UNKNOWN. */
uint64_t http_rest(const struct http_engine *e);
/* The driver stops reading on purpose, or reads again: while it does, the engine does not want READ
 * and the body deadline stands still. Ends with the exchange, or when its body is discarded. */
void http_pause(struct http_engine *e, bool paused);
/* Say Connection: close on the next answer and close after it; between requests close now. */
void http_close_after(struct http_engine *e);
/* Drop everything: WANT_CLOSE at once. */
void http_abort(struct http_engine *e);

struct chain *http_output(struct http_engine *e);      /* segments to write, in order */
bool http_output_is_last(const struct http_engine *e); /* WANT_CLOSE follows when it is out */
void http_sent(struct http_engine *e,
               uint64_t n); /* |n| bytes of the output are written: drops them */
unsigned http_wants(const struct http_engine *e); /* HTTP_WANT_* */
uint64_t http_deadline(
    const struct http_engine *e); /* when http_tick() wants to be called, ms; UINT64_MAX: never */
/* Tells the time, before feed/sent of the same turn: progress is stamped with it, passed deadlines
 * are events. */
void http_tick(struct http_engine *e, uint64_t now_ms);
/* Tells the time and no more: for answers that begin, or go out, before the turn's http_tick(). */
void http_now(struct http_engine *e, uint64_t now_ms);
/* Wire bytes of the open or last exchange: in of its request and of what was dropped behind it, out
 * of its reply. */
void http_counts(const struct http_engine *e, uint64_t *ret_in, uint64_t *ret_out);
/* Bytes of the open request's body that came, also of one that is discarded. */
uint64_t http_body_bytes(const struct http_engine *e);
/* Is a request or its answer under way? */
bool http_is_busy(const struct http_engine *e);

#endif
