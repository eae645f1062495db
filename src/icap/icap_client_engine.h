/* SPDX-License-Identifier: Apache-2.0 */
/* icap_client_engine.h - client role of ICAP/1.0 as a sans-IO engine; the mirror of icap_engine.h.
 * Writes requests, reads answers while it writes (RFC 3507 erratum E7), checks that each answer is
 * legal for its request: Encapsulated list and offsets equal to the real head sizes, RESPMOD 200
 * has res-hdr, 204 and 206 only where allowed. */
#ifndef ICAP_CLIENT_ENGINE_H
#define ICAP_CLIENT_ENGINE_H

#include "icap/icap_engine.h"

struct icap_client_engine;

struct icap_client_request {
    enum icap_method method;
    struct span uri;           /* icap(s)://host[:port]/path */
    struct span host;          /* Host: value */
    struct span fields;        /* further ICAP field-lines, each with CRLF */
    struct span http_request;  /* raw head or empty */
    struct span http_response; /* raw head or empty (RESPMOD) */
    bool has_body;
    bool has_preview;
    uint64_t preview;
    struct icap_allow allow;
    bool close;
};

enum icap_client_event_kind {
    ICAP_CLIENT_EV_NONE,
    ICAP_CLIENT_EV_GO_ON,    /* 100: send the rest */
    ICAP_CLIENT_EV_REPLY,    /* final status; icap_client_reply() */
    ICAP_CLIENT_EV_BODY,     /* |slice|, a reference for the receiver */
    ICAP_CLIENT_EV_ORIGINAL, /* 206: append the original from |from| */
    ICAP_CLIENT_EV_END,      /* answer complete; |trailers|: ICAP trailers */
    ICAP_CLIENT_EV_FAILED    /* |fault|: the server broke the protocol or a deadline (ERR_TIMEOUT),
                                closed    inside its answer (ERR_EOF) or before the first byte of it
                                (ERR_RESET: on a    reused connection the request may be tried again)
                              */
};

struct icap_client_event {
    enum icap_client_event_kind kind;
    struct slice slice;
    uint64_t from;
    struct span trailers;      /* END: ICAP trailers, raw field-lines; valid until the next NONE */
    struct span http_trailers; /* END: HTTP trailers of the body, raw (erratum E2) */
    struct fault fault;
};

struct icap_client_reply {
    unsigned status;
    const struct head *icap;
    const struct head *http_request;  /* adapted request, or NULL */
    const struct head *http_response; /* adapted or satisfying response, or NULL */
    bool has_body;
    bool keep_alive;
};

NODISCARD enum err icap_client_engine_new(const struct icap_limits *lim, uint64_t now_ms,
                                          struct icap_client_engine **ret);
void icap_client_engine_free(struct icap_client_engine *e);

/* Starts a transaction; ERR_BUG while one is open, when the connection is closing, or when a part
 * of |r| is no legal request (heads that do not end, field-lines that are none, parts that do not
 * fit the method). Everything is copied. */
NODISCARD enum err icap_client_request(struct icap_client_engine *e,
                                       const struct icap_client_request *r);
/* Body bytes, in order. With a preview: the engine cuts at the preview's end by itself, keeps the
 * rest until 100, and drops it when the answer is final; what is handed over after that is dropped,
 * too. |end| true on the last (possibly empty) piece. An answer may begin while the body still goes
 * out, and may need the rest of it: after REPLY go on handing it over until END. ERR_BUG without a
 * body or after |end|; ERR_ABORTED after FAILED; ERR_NOMEM, ERR_LIMIT as in icap_engine.h, and then
 * nothing has changed. */
NODISCARD enum err icap_client_body(struct icap_client_engine *e, struct slice s, bool end);
NODISCARD enum err icap_client_body_file(struct icap_client_engine *e, struct file_ref *f,
                                         uint64_t off, uint64_t len, bool end);
/* Takes all bytes but when events wait (call icap_client_next() until NONE). Bytes that belong to
 * no request fail the connection. Fails only with ERR_NOMEM. */
NODISCARD enum err icap_client_feed(struct icap_client_engine *e, struct slice in,
                                    size_t *ret_used);
void icap_client_eof(struct icap_client_engine *e);
bool icap_client_next(struct icap_client_engine *e, struct icap_client_event *ret);
/* The answer, from REPLY until the engine has said NONE after END or FAILED. */
const struct icap_client_reply *icap_client_reply(const struct icap_client_engine *e);
struct chain *icap_client_output(struct icap_client_engine *e);
void icap_client_sent(struct icap_client_engine *e, uint64_t n);
unsigned icap_client_wants(const struct icap_client_engine *e);
uint64_t icap_client_deadline(const struct icap_client_engine *e);
void icap_client_tick(struct icap_client_engine *e, uint64_t now_ms);
/* Drop everything: ICAP_WANT_CLOSE at once. */
void icap_client_abort(struct icap_client_engine *e);
/* True when the connection may carry another transaction now. */
bool icap_client_is_idle(const struct icap_client_engine *e);

#endif
