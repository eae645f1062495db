/* SPDX-License-Identifier: Apache-2.0 */
/* http_client_engine.h - client role of HTTP/1.1 (RFC 9110, RFC 9112) as a sans-IO engine; the
 * mirror of http_engine.h. Writes a request, reads answers while it writes, and takes nothing that
 * belongs to no request. Same events for any split of the input (BODY slices may be cut
 * differently; their bytes are the same).
 *
 * A walk: request [body...], then [GO_ON] ANSWER BODY... END, or FAILED anywhere.
 *
 * TLS on the same connection (RFC 2817): a request with |upgrade| may be answered by 101: SWITCHED.
 * Bytes behind the 101 fail the connection unless the driver's handshake is to read them: the
 * engine takes none (http_client_feed() uses fewer bytes than given), and a driver that got some
 * together with the 101 must give up, because TLS begins with what the client says. After the
 * handshake http_client_switched(); the final answer follows. */
#ifndef HTTP_CLIENT_ENGINE_H
#define HTTP_CLIENT_ENGINE_H

#include "http/http_engine.h"

struct http_client_engine;

struct http_client_request {
    struct span method, target; /* as they go on the wire: a token, visible ASCII */
    struct span host;           /* Host: value, one host or empty (RFC 9112 3.2) */
    struct span fields;         /* field-lines, each with CRLF; no Host, Connection, Upgrade, Expect
                                   and framing fields: ERR_BUG */
    bool has_body;
    uint64_t length;     /* of the body; HTTP_LENGTH_UNKNOWN: chunked */
    bool expect;         /* Expect: 100-continue; when to send the body anyway is the driver's. Only
                            with a body; left out when its length is 0 (RFC 9110 10.1.1) */
    struct span upgrade; /* value of Upgrade, with exactly "Connection: Upgrade" (some servers know
                            no list there); empty: none. Only without a body and |close| */
    bool tunnel;         /* the method is CONNECT, and only then: a 2xx has no body, and SWITCHED
                            follows ANSWER instead of END. Only without a body and |upgrade| */
    /* The answer to this request ends with its head, whatever its fields say: some servers announce
     * a body for OPTIONS that does not come. A lone last-chunk before the next answer is passed
     * over where a chunked body was announced. Where one of another kind was, the connection is not
     * kept, because nobody could tell it from the next answer. */
    bool head_only;
    bool close;
};

enum http_client_event_kind {
    HTTP_CLIENT_EV_NONE,
    HTTP_CLIENT_EV_GO_ON,    /* 100 to |expect|: the body goes out. At most once */
    HTTP_CLIENT_EV_SWITCHED, /* 101, or 2xx to CONNECT; http_client_answer() is its head. To which
                                protocol is the driver's to read */
    HTTP_CLIENT_EV_ANSWER,   /* final status; http_client_answer() */
    HTTP_CLIENT_EV_BODY,     /* |slice|, a reference for the receiver */
    HTTP_CLIENT_EV_END,      /* answer complete; |trailers| */
    HTTP_CLIENT_EV_FAILED    /* |fault|: the server broke the protocol or a deadline (ERR_TIMEOUT),
                                closed inside its answer (ERR_EOF) or before the first byte of it
                                (ERR_RESET: on a reused connection the request may be tried again);
                                |fault.status| is what a gateway says then. The last event; comes
                                also between requests, for bytes that belong to none */
};

struct http_client_event {
    enum http_client_event_kind kind;
    struct slice slice;
    struct span trailers; /* END: raw field-lines; valid until the next NONE */
    struct fault fault;
};

struct http_answer {
    unsigned status;         /* 101, 200..599 */
    const struct head *head; /* odd lines of it (head.h) are nothing to hand on */
    bool has_body;           /* false also for a length of 0 */
    uint64_t length; /* 0 without a body; HTTP_LENGTH_UNKNOWN: chunked, or up to the connection's
                        end */
    bool keep_alive; /* the connection can carry another exchange after this one: server and request
                        let it, and the end of the answer can be told from the next one. False for
                        HTTP/1.0, and when the body waits for 100 and now stays away */
    bool cut_short;  /* it came before all of the request was sent, and the rest stays unsent */
};

/* |lim|: as for servers; request_line_max is the status-line's, exchange_ms runs from the request
 * to the end of the answer, head_ms from the end of the request to the first byte of the answer,
 * and from each head's first byte to its end, and is mostly long; discards and empty lines there
 * are none. Borrowed. ERR_NOMEM. */
NODISCARD enum err http_client_engine_new(const struct http_limits *lim, uint64_t now_ms,
                                          struct http_client_engine **ret);
void http_client_engine_free(struct http_client_engine *e); /* NULL is fine */

/* Starts an exchange; ERR_BUG while one is open, when the connection is closing, or when a part of
 * |r| is no legal request; ERR_NOMEM, ERR_LIMIT over http_client_output()->max. Everything is
 * copied. Bytes that come before the first one of the request was sent are no answer to it, and
 * fail the connection. */
NODISCARD enum err http_client_request(struct http_client_engine *e,
                                       const struct http_client_request *r);
/* Body bytes, in order; |end| true on the last (possibly empty) piece. With |expect| nothing goes
 * out before GO_ON or http_client_send_body(); what is handed over waits. A final answer may come
 * while the body still goes out: after ANSWER what is not sent yet is dropped if the connection
 * will close, and must be handed over to the end if it is to be reused (http_client_is_idle()).
 * ERR_BUG without a body, after |end|, beyond |length|, or with an |end| before it; ERR_ABORTED
 * after FAILED and http_client_abort(); ERR_NOMEM, ERR_LIMIT as in http_engine.h, and then nothing
 * has changed. */
NODISCARD enum err http_client_body(struct http_client_engine *e, struct slice s, bool end);
NODISCARD enum err http_client_body_file(struct http_client_engine *e, struct file_ref *f,
                                         uint64_t off, uint64_t len, bool end);
/* The server said nothing for long enough: send the body without its 100. FAILED follows when there
 * is no memory for that. */
void http_client_send_body(struct http_client_engine *e);
/* ERR_BUG without SWITCHED. The head of the 101 or 2xx goes. After a tunnel the engine is ready for
 * a request inside it. */
NODISCARD enum err http_client_switched(struct http_client_engine *e);

/* Takes all bytes but when events wait (call http_client_next() until NONE), and none behind
 * SWITCHED. Bytes that belong to no request fail the connection. Interim answers other than 100 to
 * |expect| and 101 are passed over, 16 at most; 101 without |upgrade|, or before all of the request
 * was sent, fails. Framing as in RFC 9112 6.3, but for what it lets a client guess: a
 * Transfer-Encoding other than one chunked, beside Content-Length, or in HTTP/1.0 fails. Fails only
 * with ERR_NOMEM; then FAILED follows, too. */
NODISCARD enum err http_client_feed(struct http_client_engine *e, struct slice in,
                                    size_t *ret_used);
/* The server closed: input too, so feed what has been read before it first. Ends an answer that
 * has no other end. */
void http_client_eof(struct http_client_engine *e);
/* The connection broke: a reset, or TLS without close_notify. As http_client_eof(), but an answer
 * that has no other end FAILED: nobody knows how much is missing. */
void http_client_cut(struct http_client_engine *e);
bool http_client_next(struct http_client_engine *e, struct http_client_event *ret);
/* The answer, from ANSWER or SWITCHED until http_client_switched(), or until the engine has said
 * NONE after END or FAILED; NULL otherwise. */
const struct http_answer *http_client_answer(const struct http_client_engine *e);
struct chain *http_client_output(struct http_client_engine *e);
/* Bytes of the output were taken, |n| of which are to be dropped from it here. */
void http_client_sent(struct http_client_engine *e, uint64_t n);
unsigned http_client_wants(const struct http_client_engine *e); /* HTTP_WANT_* */
/* The driver stops reading on purpose, or reads again; deadlines of the answer stand still (not
 * exchange_ms). Only while an exchange is open, and ends with it. */
void http_client_pause(struct http_client_engine *e, bool paused);
/* So many bytes of the answer must come before it is whole; 0: nobody knows. */
uint64_t http_client_expects(const struct http_client_engine *e);
uint64_t http_client_deadline(const struct http_client_engine *e);
void http_client_tick(struct http_client_engine *e, uint64_t now_ms);
/* Drop everything: HTTP_WANT_CLOSE at once. */
void http_client_abort(struct http_client_engine *e);
/* True when the connection may carry another exchange now. */
bool http_client_is_idle(const struct http_client_engine *e);

#endif
