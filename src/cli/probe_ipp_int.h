/* SPDX-License-Identifier: Apache-2.0 */
/* probe_ipp_int.h - the parts of `sallyport probe ipp(s)://`: probe_ipp_talk.c asks,
 * probe_ipp_tls.c, probe_ipp_login.c and probe_ipp_printer.c each look at one side of the printer,
 * probe_ipp.c puts them in order and says what a list in the URI would get. Nothing that is asked
 * changes anything, and no credentials are sent. */
#ifndef CLI_PROBE_IPP_INT_H
#define CLI_PROBE_IPP_INT_H

#include "base/arena.h"
#include "cli/client_tls.h"
#include "cli/probe_int.h"
#include "http/http_client_engine.h"
#include "ipp/ipp_client_message.h"

/* One connection to the printer, and the last answer on it. */
struct ipp_talk {
    struct probe_talk k;
    struct http_client_engine *engine;
    struct http_limits limits;
    unsigned status;  /* 0: no answer */
    bool switched;    /* 101 */
    bool keep_alive;  /* another request may follow the answer */
    struct head head; /* of the answer, in |mem| */
    struct arena mem;
    struct buf head_text, body;
    struct ipp_message message; /* a view into |body| */
    bool has_message;
    char why[200]; /* after an error: a sentence */
};

struct probe_ipp {
    struct probe base; /* target, report, url, insecure */
    struct tls_context *tls_upgraded, *tls_implicit;
    const char *host_header; /* host:port */
    struct span target;      /* of requests */
    struct span uri;         /* for printer-uri: without a list */
    bool only_implicit;      /* the URL says so */
    /* What was found. */
    bool upgrades, implicit;
    bool clear_attributes, clear_jobs; /* taken in clear text */
    bool basic, digest;                /* offered to Validate-Job, over the best channel */
    bool asked;                        /* Validate-Job is asked who it is from */
    struct ipp_talk tls;               /* of |upgrades|, or else of |implicit| */
    char protocol[16];                 /* of the handshake */
    char subject[TLS_PEER_TEXT_MAX];   /* of the certificate behind the upgrade */
    int64_t not_after;                 /* the same */
};

/* ---- probe_ipp_talk.c ---- */

/* Connects in clear text. Ended by ipp_talk_done() in any case. */
NODISCARD enum err ipp_talk_open(struct ipp_talk *t, const struct probe_target *to);
/* TLS from the first byte. */
NODISCARD enum err ipp_talk_open_tls(struct ipp_talk *t, const struct probe_target *to);
void ipp_talk_done(struct ipp_talk *t);
/* Sends |r| with |body| (at most a block) and reads up to the end of the answer, or 101.
 * ERR_TIMEOUT, ERR_TLS, ERR_PROTO, ERR_EOF: t->why. */
NODISCARD enum err ipp_talk_exchange(struct ipp_talk *t, const struct http_client_request *r,
                                     struct span body);
/* TLS behind a 101 that nothing follows. Errors as of probe_talk_start_tls(), and ERR_PROTO;
 * t->why.
 */
NODISCARD enum err ipp_talk_start_tls(struct ipp_talk *t, enum tls_pipe_rules rules);
/* Goes on reading after 101 and a handshake: the answer to the same request. */
NODISCARD enum err ipp_talk_final(struct ipp_talk *t);
/* An IPP request: |m| says which. OK for any HTTP status; |has_message|: it is an IPP answer. */
NODISCARD enum err ipp_talk_ask(struct ipp_talk *t, const struct probe_ipp *p,
                                const struct ipp_client_message *m);

/* ---- the sides ---- */

void probe_ipp_upgrade(struct probe_ipp *p);
void probe_ipp_implicit(struct probe_ipp *p);
void probe_ipp_clear(struct probe_ipp *p);
void probe_ipp_login(struct probe_ipp *p);
void probe_ipp_printer(struct probe_ipp *p);
/* As ipp_talk_ask(), within TLS, whichever way it begins; the answer is in p->tls. */
NODISCARD enum err probe_ipp_ask_tls(struct probe_ipp *p, const struct ipp_client_message *m);
/* What the challenges of |h| are like; |clear|: anybody could read them. */
void probe_ipp_challenges(struct probe_ipp *p, const struct head *h, bool clear);
/* Validate-Job, which makes no job. */
struct ipp_client_message probe_ipp_validate(void);

/* ---- probe_ipp.c ---- */

struct probe_ipp_options {
    const char *url;
    struct client_tls_options tls; /* whose |insecure| is the user's word */
    uint64_t ms;
    bool json;
};
/* The exit code. */
int probe_ipp(const struct probe_ipp_options *o);

#endif
