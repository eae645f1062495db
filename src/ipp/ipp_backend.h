/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_backend.h - a printer behind the gateway, as one loop sees it: IPP requests over kept
 * connections (RFC 8010 3.4: POST with application/ipp).
 *
 * Threads: belongs to its loop's thread. */
#ifndef IPP_BACKEND_H
#define IPP_BACKEND_H

#include "adapt/body.h"
#include "base/buf.h"
#include "config/config.h"
#include "http/http_engine.h"
#include "ipp/ipp_message.h"
#include "ipp/ipp_uri.h"
#include "net/upstream.h"

struct ipp_backend;
struct record_upstreams;

/* What all loops know of a printer. Counted; any thread. */
struct ipp_backend_known;
NODISCARD struct ipp_backend_known *ipp_backend_known_new(void); /* NULL: out of memory */
struct ipp_backend_known *ipp_backend_known_ref(struct ipp_backend_known *k);
void ipp_backend_known_unref(struct ipp_backend_known *k); /* NULL is fine */
/* What is configured for it is read again: whether it wants TLS it has to say once more. */
void ipp_backend_known_relearn(struct ipp_backend_known *k);

struct ipp_backend_report {
    bool answers;              /* to the last request that says something of it */
    uint64_t answered_wall_ms; /* its last answer; 0: none */
    uint64_t failed_wall_ms;   /* the same: it could not be reached, was not who it should be, or
                                  said nothing legal */
};
void ipp_backend_known_read(const struct ipp_backend_known *k, struct ipp_backend_report *ret);

struct ipp_backend_settings {
    struct loop *loop;
    struct ipp_uri uri; /* where it is; its texts outlive the backend */
    /* For ipps from the first byte; else for TLS by Upgrade (RFC 2817), where the URI's list has
     * TLS or the printer demands it (426). It takes a reference. NULL: clear text only. */
    struct tls_context *tls;
    sallyport_level require;         /* of each connection, and of those by Upgrade */
    struct config_strings peers;     /* who it may be; empty: whoever |tls| trusts. Read once */
    struct protect_system system;    /* policy of the machine */
    struct ipp_backend_known *known; /* it takes a reference */
    struct ipp_limits message;
    uint64_t timeout_ms; /* it may take nothing, and say nothing, for so long */
    unsigned connections;
};
/* ERR_NOMEM. */
NODISCARD enum err ipp_backend_new(const struct ipp_backend_settings *s, struct ipp_backend **ret);
/* Errands that are under way go on, and have an answer; then its connections end. NULL is fine. */
void ipp_backend_free(struct ipp_backend *b);

/* Valid inside |done|. */
struct ipp_backend_answer {
    /* OK: |message| is a whole and legal answer to the request. ERR_UPSTREAM, ERR_TIMEOUT, ERR_TLS,
     * ERR_POLICY, ERR_PROTO, ERR_LIMIT, ERR_NOMEM, ERR_DRAINING otherwise. */
    enum err err;
    const char *why;      /* a sentence, without the printer's name */
    const char *detail;   /* with addresses: for operators; "" */
    unsigned http_status; /* 0: none came */
    const struct ipp_message *message;
    struct buf *octets; /* private: those of |message| */
    bool sent; /* after an error: the printer may have got all of the request, and done what it says
                */
};
typedef void (*ipp_backend_fn)(void *arg, const struct ipp_backend_answer *a);

/* Did it let a request time out within the last minute, and has answered none since? Whoever can
 * do without it need not wait for it. */
bool ipp_backend_is_silent(const struct ipp_backend *b);
/* Inside |done|: takes the message over, which is gone behind it. What |octets| held is freed; *ret
 * is a view of what it holds then. */
void ipp_backend_keep(const struct ipp_backend_answer *a, struct buf *octets,
                      struct ipp_message *ret);

struct ipp_errand;
struct ipp_backend_request {
    struct span
        attributes; /* an IPP request up to its end-of-attributes tag; borrowed until |done| */
    struct body *document; /* follows it, whole and from its first byte on; NULL: none. Borrowed */
    uint64_t deadline_ms;  /* loop's clock: ERR_TIMEOUT then; 0: none but the backend's own */
    bool hurried;          /* less than others wait: that it took longer says nothing of it */
    struct buf *spare;     /* its memory is taken for the answer, if it has any then; NULL: none.
                              Lives until |done| */
    /* Gets the connection that it went over, or that was refused; NULL: nobody asks. Lives until
     * |done|, or until it is cancelled. */
    struct record_upstreams *upstreams;
    ipp_backend_fn done; /* once, never inside the call; not after ipp_errand_cancel() */
    void *arg;
};
/* A request without a document that finds its connection dead is tried again on a fresh one; one
 * with a document gets a fresh one at once. ERR_NOMEM. */
NODISCARD enum err ipp_backend_ask(struct ipp_backend *b, const struct ipp_backend_request *r,
                                   struct ipp_errand **ret);
void ipp_errand_cancel(struct ipp_errand *e);

#endif
