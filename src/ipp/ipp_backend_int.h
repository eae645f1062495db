/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_backend_int.h - the bodies behind ipp_backend.h, for its own files: ipp_backend.c
 * (connections and requests), ipp_backend_answer.c (what comes back), ipp_backend_upgrade.c (TLS by
 * Upgrade). */
#ifndef IPP_BACKEND_INT_H
#define IPP_BACKEND_INT_H

#include <stdatomic.h>

#include "http/http_client_engine.h"
#include "ipp/ipp_backend.h"

struct ipp_backend_known {
    _Atomic unsigned refs;
    _Atomic bool upgrades; /* connections begin in clear text and become TLS */
    _Atomic uint64_t silent_until_ms;
    _Atomic bool answers;
    _Atomic uint64_t answered_wall_ms, failed_wall_ms;
};

struct ipp_backend {
    struct ipp_backend_settings set;
    struct policy_file *policy; /* set.system's, referenced */
    struct protect_policy demand;
    bool upgrades;         /* the same as |known|'s, because it is demanded */
    sallyport_want *peers; /* of |demand|; NULL: anybody */
    struct upstream *pool;
    struct http_limits http;
    char host[300]; /* Host: */
    char target[IPP_URI_MAX + 1];
    unsigned errands;
    bool freed;
};

struct ipp_errand {
    struct ipp_backend *backend;
    struct ipp_backend_request r;
    struct upstream_ticket *ticket; /* a connection is being got */
    struct stream *stream;
    struct http_client_engine *engine;
    struct slice leftover; /* read, but not taken by the engine */
    struct timer timer;
    struct timer deadline; /* the request's */
    struct task task;      /* tells the answer, or goes on */
    uint64_t handed;       /* bytes of attributes and document that the engine has */
    uint64_t rest;         /* bytes behind the answer's attributes */
    struct ipp_scan scan;
    struct buf octets; /* the answer's attributes */
    struct ipp_message message;
    bool scanned;
    bool little;    /* came last */
    unsigned looks; /* soon, at what came behind it */
    bool reused, again;
    bool greeted; /* TLS is there, and the request is to begin */
    enum { NOT_UPGRADING, UPGRADE_ASKED, UPGRADE_HANDSHAKE, UPGRADE_END } upgrade;
    bool is_done; /* the answer is there, and to be told */
    bool queued, dead;
    struct ipp_backend_answer answer;
    char why[256];
    char detail[200];
};

/* ---- ipp_backend.c ---- */

/* Bytes of attributes and document. */
uint64_t ipp_errand_len(const struct ipp_errand *e);
extern const char ipp_errand_unprotected[]; /* what is said of one that is not as is demanded */
/* The answer is told on a turn of its own. |why| is copied. */
void ipp_errand_end(struct ipp_errand *e, enum err err, const char *why);
/* For the record: the connection that there is, and |why| it is not used; NULL: it is. */
void ipp_errand_note(struct ipp_errand *e, const sallyport_why *why);
/* Once more, on another connection. */
void ipp_errand_again(struct ipp_errand *e);

/* ---- ipp_backend_answer.c ---- */

void ipp_errand_event(struct ipp_errand *e, const struct http_client_event *ev);

/* ---- ipp_backend_upgrade.c ---- */

NODISCARD enum err ipp_errand_upgrade(struct ipp_errand *e);
/* The answer to OPTIONS: its head, its switch, and its end. */
void ipp_errand_upgrade_answer(struct ipp_errand *e, const struct http_answer *a);
void ipp_errand_switched(struct ipp_errand *e);
/* TLS is there. */
void ipp_errand_handshaken(struct ipp_errand *e);

#endif
