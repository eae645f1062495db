/* SPDX-License-Identifier: Apache-2.0 */
/* icap_engine.h - server role of ICAP/1.0 (RFC 3507 with errata, Partial Content, ICAP Trailers) as
 * a sans-IO engine: slices of blocks in, events and a chain of output out. No descriptor, no clock,
 * no global, no log. Same events for any split of the input (BODY slices may be cut differently;
 * their bytes are the same).
 *
 * Two independent halves: the request half reads, the reply half writes; a reply may begin, and
 * even end, before the request is over. When both are finished the engine is ready for the next
 * request; until then it takes no byte of it (icap_feed() uses fewer bytes than given, the driver
 * keeps the rest: pipelining).
 *
 * A walk: feed -> REQUEST [BODY... PREVIEW_END [go_on]] BODY... END, and anywhere after REQUEST:
 * no_change, or reply_head [reply_body...] (reply_end | reply_original). On a refusal the engine
 * has queued its own error answer: REFUSED, then WANT_CLOSE once the output is out and the input is
 * drained. */
#ifndef ICAP_ENGINE_H
#define ICAP_ENGINE_H

#include "base/chain.h"
#include "icap/icap_message.h"

struct icap_engine;

struct icap_limits {
    size_t request_line_max;     /* 8 KiB */
    size_t head_max;             /* ICAP head, 64 KiB */
    unsigned fields_max;         /* per head, 128 */
    size_t http_head_max;        /* each encapsulated head, 256 KiB */
    size_t chunk_line_max;       /* 4 KiB */
    size_t trailer_max;          /* 16 KiB */
    uint64_t chunk_overhead_max; /* 1 MiB beyond the body's own size */
    uint64_t preview_max;        /* largest Preview a client may announce, 64 KiB */
    uint64_t discard_max;        /* request bytes read and dropped after an early answer, 64 MiB */
    unsigned empty_lines_max;    /* before a request-line, 4 */
    size_t memory_max;           /* arena of one transaction: heads, fields, decoded URI; 1 MiB */
    bool require_host; /* RFC 3507 4.3.2: 400 without Host; default no, real clients leave it out */
    /* Deadlines, ms; 0: none. */
    uint64_t head_ms;        /* from the first byte of a request to the end of its heads: 10 s */
    uint64_t body_idle_ms;   /* between bytes of a body: 60 s */
    uint64_t write_idle_ms;  /* output queued and none taken: 60 s */
    uint64_t idle_ms;        /* keep-alive between requests: 120 s */
    uint64_t transaction_ms; /* first byte of the request to last byte of the answer: 600 s */
};
extern const struct icap_limits icap_limits_default;

/* What every answer of this connection carries when the driver has not said otherwise (errors of
 * the engine itself). All spans must outlive the engine. */
struct icap_identity {
    struct span server; /* Server: value */
    struct span istag;  /* for answers that belong to no service, without quotes */
};

struct icap_request {
    enum icap_method method;
    struct icap_uri uri;
    struct icap_encapsulated encapsulated;
    const struct head *icap;          /* never NULL */
    const struct head *http_request;  /* encapsulated request head, or NULL */
    const struct head *http_response; /* encapsulated response head, or NULL */
    bool has_body;                    /* req-body, res-body or opt-body: BODY events may follow */
    bool has_preview;
    uint64_t preview; /* Preview: N */
    struct icap_allow allow;
    bool close; /* the client said Connection: close */
};

enum icap_event_kind {
    ICAP_EV_NONE,
    ICAP_EV_REQUEST,     /* heads are complete; icap_current() until both halves end */
    ICAP_EV_BODY,        /* |slice|: holds a reference that the receiver must block_unref() */
    ICAP_EV_PREVIEW_END, /* |ieof|: the preview is the whole body (END follows at once, go_on is
                            illegal) */
    ICAP_EV_END, /* the request half is over; |trailers|: raw HTTP trailer field-lines, or empty.
                    Once for each REQUEST that is not refused or gone, also when a final answer
                    ended it at PREVIEW_END, or when the rest was discarded */
    ICAP_EV_REFUSED, /* the peer broke the protocol or a deadline; |fault|. An answer is queued if
                        one is possible: |fault.status| is its status, 0 when none could be sent */
    ICAP_EV_GONE,    /* the peer closed inside a request; |fault| */
};

struct icap_event {
    enum icap_event_kind kind;
    struct slice slice;
    bool ieof;
    struct span trailers; /* valid until the next feed */
    struct fault fault;
};

enum icap_wants { ICAP_WANT_READ = 1, ICAP_WANT_WRITE = 2, ICAP_WANT_CLOSE = 4 };

/* |lim| and |id| are borrowed and must outlive the engine. ERR_NOMEM. */
NODISCARD enum err icap_engine_new(const struct icap_limits *lim, const struct icap_identity *id,
                                   uint64_t now_ms, struct icap_engine **ret);
void icap_engine_free(struct icap_engine *e); /* NULL is fine */
/* Field-lines, each closed by CR LF, for the errors that the engine answers by itself, such as the
 * number under which they are recorded. Borrowed until the next call or the engine's end. */
void icap_error_fields(struct icap_engine *e, struct span fields);

/* wire -> engine. *ret_used bytes of |in| were used (whole slice, unless the engine waits for its
 * reply half or is closing). Takes its own references to the block where it keeps bytes. Fails only
 * with ERR_NOMEM; a refused peer is an event. Call icap_next() until NONE after each feed: events
 * wait in a small queue, and a full queue stops feed early. */
NODISCARD enum err icap_feed(struct icap_engine *e, struct slice in, size_t *ret_used);
/* The peer half-closed: input too, so feed what has been read before it first. Inside a request
 * GONE; between requests the engine wants CLOSE when output is out. */
void icap_eof(struct icap_engine *e);
bool icap_next(struct icap_engine *e, struct icap_event *ret);
/* The transaction that is open, from REQUEST until both halves are over; NULL otherwise. It and the
 * arena live on until icap_next() has said NONE after that (or the next feed or tick), so that a
 * driver that has just ended a reply can still write its record. */
const struct icap_request *icap_current(const struct icap_engine *e);
/* Both halves are over and all events taken: the next call of those three gives the memory back. */
bool icap_is_over(const struct icap_engine *e);
/* Memory of the open transaction: what the driver puts here lives until both halves are over. */
struct arena *icap_arena(struct icap_engine *e);

/* Replies. Each returns ERR_BUG when it is illegal in this state (go_on twice or after ieof, 204
 * where RFC 3507 4.6 does not allow it, 206 without Allow, body without head, field-lines that are
 * none), ERR_ABORTED when the transaction has been refused or is gone, ERR_NOMEM, ERR_LIMIT over
 * the output chain's limit (icap_output()->max) or when ICAP and HTTP head together are over 64
 * KiB, and then changes nothing. A reply without a body is over with its head. */
NODISCARD enum err icap_go_on(struct icap_engine *e); /* 100 Continue */

enum icap_part { ICAP_PART_NONE, ICAP_PART_REQUEST, ICAP_PART_RESPONSE };

struct icap_reply {
    unsigned status;           /* 200, 206, 4xx, 5xx; 204 through icap_no_change() */
    struct span istag;         /* without quotes; empty: the identity's */
    struct span fields;        /* further ICAP field-lines, each with CRLF */
    enum icap_part part;       /* what is encapsulated */
    struct span http_head;     /* raw, with the empty line; empty with ICAP_PART_NONE. Copied. */
    bool http_head_is_parsed;  /* it is the text of a struct head, so known to be whole */
    bool has_body;             /* reply_body... then reply_end or reply_original */
    struct span trailer_names; /* non-empty: ICAP trailers are promised (only where the client
                                  allows them) */
    bool close;                /* Connection: close, and close after it */
};
/* May the open request be answered by 204 now (preview, or Allow: 204), by 206 now (Allow: 206, and
 * inside a preview or with Allow: 204 too)? */
bool icap_may_204(const struct icap_engine *e);
bool icap_may_206(const struct icap_engine *e);
/* Bytes of the body that are still to come, as far as the heads tell; UINT64_MAX: they do not. An
 * answer that leaves more than discard_max unread should say close. */
uint64_t icap_rest(const struct icap_engine *e);
NODISCARD enum err icap_no_change(struct icap_engine *e,
                                  const struct icap_reply *r); /* 204; istag, fields, close used */
NODISCARD enum err icap_reply_head(struct icap_engine *e, const struct icap_reply *r);
NODISCARD enum err icap_reply_body(struct icap_engine *e,
                                   struct slice s); /* takes its own reference */
NODISCARD enum err icap_reply_copy(struct icap_engine *e, struct span bytes);
NODISCARD enum err icap_reply_file(struct icap_engine *e, struct file_ref *f, uint64_t off,
                                   uint64_t len);
/* 206: the rest of the body is the original from |from| on. Ends the reply. */
NODISCARD enum err icap_reply_original(struct icap_engine *e, uint64_t from);
/* Ends the body. |http_trailers|: raw field-lines inside the chunked coding; |icap_trailers|: raw
 * field-lines after it, as promised in the head. Either may be empty. */
NODISCARD enum err icap_reply_end(struct icap_engine *e, struct span http_trailers,
                                  struct span icap_trailers);

/* Read on, keep nothing, up to discard_max (then the connection closes after the answer): no more
 * BODY events. The engine does this by itself once the reply half has ended. */
void icap_discard_rest(struct icap_engine *e);
/* The driver stops reading on purpose (a body limit or budget), or reads again: while it does, the
 * engine does not want READ and the body deadline stands still. Ends with the transaction. */
void icap_pause(struct icap_engine *e, bool paused);
/* Say Connection: close on the next answer and close after it; between requests close now. For
 * draining. */
void icap_close_after(struct icap_engine *e);
/* Drop everything: WANT_CLOSE at once. */
void icap_abort(struct icap_engine *e);

struct chain *icap_output(struct icap_engine *e);      /* segments to write, in order */
bool icap_output_is_last(const struct icap_engine *e); /* WANT_CLOSE follows when it is out */
void icap_sent(struct icap_engine *e,
               uint64_t n); /* |n| bytes of the output are written: drops them */
unsigned icap_wants(const struct icap_engine *e); /* ICAP_WANT_* */
uint64_t icap_deadline(
    const struct icap_engine *e); /* when icap_tick() wants to be called, ms; UINT64_MAX: never */
/* Tells the time, before feed/sent of the same turn: progress is stamped with it, passed deadlines
 * are events. */
void icap_tick(struct icap_engine *e, uint64_t now_ms);
/* Request bytes in, reply bytes out of the open or last transaction: for the record. Counts wire
 * bytes. */
void icap_counts(const struct icap_engine *e, uint64_t *ret_in, uint64_t *ret_out);
/* Is a request or its answer under way? */
bool icap_is_busy(const struct icap_engine *e);

#endif
