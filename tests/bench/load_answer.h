/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_answer.h - checks what an ICAP server answers, to the last byte. Bytes in, verdict out: it
 * owns no socket and no clock.
 */
#ifndef LOAD_ANSWER_H
#define LOAD_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "load_plan.h"

#define ANSWER_HEAD_MAX      16384 /* ICAP head and encapsulated heads */
#define ANSWER_EXTENSION_MAX 48    /* use-original-body with any number */

/* What can be wrong: id, name in the report, explanation. The last ones are those of IPP, whose
 * answers ipp_answer.h checks. */
#define ANSWER_FAULTS(X)                                                               \
    X(FAULT_NONE, "none", "nothing is wrong")                                          \
    X(FAULT_CONNECT, "connect", "no TCP connection")                                   \
    X(FAULT_HANDSHAKE, "handshake", "no TLS session")                                  \
    X(FAULT_STARVED, "starved", "the connection never got a whole answer")             \
    X(FAULT_NO_ANSWER, "no-answer", "this request got none in time")                   \
    X(FAULT_CLOSED, "closed-early", "the connection ended before the answer began")    \
    X(FAULT_NOT_CLOSED, "not-closed", "still open after Connection: close")            \
    X(FAULT_STATUS_LINE, "status-line", "not the protocol's status line")              \
    X(FAULT_STATUS, "status", "a status that this request must not get")               \
    X(FAULT_FIELD, "field", "a broken or doubled field line")                          \
    X(FAULT_ISTAG, "istag", "ISTag is missing, empty or longer than 32 bytes")         \
    X(FAULT_OPTIONS, "options", "the OPTIONS answer lacks a field")                    \
    X(FAULT_ENCAPSULATED, "encapsulated", "the list is missing, broken or not legal")  \
    X(FAULT_OFFSET, "encapsulated-offset", "an offset is not where the part begins")   \
    X(FAULT_HEAD_LONG, "head-too-long", "the heads exceed what any client accepts")    \
    X(FAULT_HEAD_SHORT, "head-truncated", "the answer ends inside its heads")          \
    X(FAULT_HTTP_HEAD, "http-head", "the encapsulated head is not the one sent")       \
    X(FAULT_CONTENT_LENGTH, "content-length", "missing, or not that of the body")      \
    X(FAULT_CONTINUE, "continue", "100 Continue where there must be none, or none")    \
    X(FAULT_CHUNK_SIZE, "chunk-size", "a broken size line, or more than the body has") \
    X(FAULT_CHUNK_END, "chunk-end", "no CR LF after the chunk's bytes")                \
    X(FAULT_BODY_BYTE, "body-byte", "an echoed byte differs")                          \
    X(FAULT_BODY_LENGTH, "body-length", "the body ends too early, or goes on")         \
    X(FAULT_BODY_SHORT, "body-truncated", "the answer ends inside its body")           \
    X(FAULT_ORIGINAL, "use-original-body", "206: it does not continue the body")       \
    X(FAULT_LAST_CHUNK, "last-chunk", "the body is complete, but no last chunk came")  \
    X(FAULT_TRAILER, "trailer", "trailers that were not asked for, or no empty line")  \
    X(FAULT_BODY_AFTER_204, "body-after-204", "a 204 has no body")                     \
    X(FAULT_EXTRA, "extra-bytes", "bytes after the answer")                            \
    X(FAULT_CONTENT_TYPE, "content-type", "it is not application/ipp")                 \
    X(FAULT_IPP_MESSAGE, "ipp-message", "broken, or does not end with the body")       \
    X(FAULT_IPP_VERSION, "ipp-version", "not that of the request")                     \
    X(FAULT_IPP_STATUS, "ipp-status", "not a successful one")                          \
    X(FAULT_REQUEST_ID, "request-id", "not that of the request")                       \
    X(FAULT_ATTRIBUTE, "attribute", "one that was asked for is missing")

#define X(id, name, text) id,
enum answer_fault { ANSWER_FAULTS(X) FAULTS_N };
#undef X

enum answer_state {
    ANSWER_HEAD,
    ANSWER_SIZE,
    ANSWER_EXTENSION,
    ANSWER_SIZE_LF,
    ANSWER_DATA,
    ANSWER_DATA_CR,
    ANSWER_DATA_LF,
    ANSWER_END_CR,
    ANSWER_END_LF,
    ANSWER_DONE,
};

/* The facts of a head that passed all checks. */
struct answer_facts {
    unsigned status;
    bool has_body;
    bool close;        /* Connection: close */
    bool blocked;      /* the block page or the 503 that the plan allows, no echo */
    uint64_t body_len; /* that the head promises */
};

/* Heads that were checked already, one slot for each kind (100, 204, 200). The same bytes deserve
 * the same verdict: comparing them is as strict as parsing them again, and keeps the load
 * generator from being the bottleneck. What names the moment or the transaction (Date, X-...) may
 * differ, if it is as long as before and still one line: no check looks at it. */
#define ANSWER_MEMO_N    3
#define ANSWER_MEMO_MAX  1536
#define ANSWER_LOOSE_MAX 4
struct answer_loose {
    size_t off, len;
};
struct answer_memo {
    struct answer_memo_slot {
        struct answer_facts facts;
        struct answer_loose loose[ANSWER_LOOSE_MAX]; /* in order */
        unsigned n_loose;
        size_t len; /* 0: empty */
        uint8_t bytes[ANSWER_MEMO_MAX];
    } slot[ANSWER_MEMO_N];
};

struct answer {
    const struct plan *plan;
    struct answer_memo *memo; /* shared by all connections */
    struct plan_body body;    /* the one that is to come back */
    enum answer_state state;
    struct answer_facts facts;
    uint64_t body_len;                    /* echoed so far */
    uint64_t left;                        /* of the chunk at hand */
    unsigned digits;                      /* of its size line so far */
    bool has_original;                    /* 206: the rest is as it was sent, from body_len on */
    char extension[ANSWER_EXTENSION_MAX]; /* of the last chunk of a 206 */
    size_t extension_len;
    bool continued; /* 100 Continue was seen */
    bool sent;      /* the caller says: the preview is out, 100 Continue is welcome */
    uint8_t *held;  /* ANSWER_HEAD_MAX bytes, or NULL: an incomplete head */
    size_t held_len;
    char detail[160]; /* of the fault */
};

enum answer_event { ANSWER_EV_MORE, ANSWER_EV_CONTINUE, ANSWER_EV_DONE, ANSWER_EV_FAULT };

/* Makes |a| ready for the next answer; keeps plan, memo and the memory behind |held|. */
void answer_reset(struct answer *a, const struct plan_body *body);

/* Eats bytes until something happens. *ret_used: how many; what follows ANSWER_EV_DONE is the
 * caller's to refuse (answer_extra). *ret_fault is written on ANSWER_EV_FAULT only. */
enum answer_event answer_feed(struct answer *a, const uint8_t *p, size_t n, size_t *ret_used,
                              enum answer_fault *ret_fault);

/* What it means that no byte will follow; never FAULT_NONE, except after ANSWER_EV_DONE. */
enum answer_fault answer_end(struct answer *a);

/* Bytes after the answer: names the fault. */
enum answer_fault answer_extra(struct answer *a, const uint8_t *p, size_t n);

/* True when at least one byte of the answer came. */
bool answer_begun(const struct answer *a);

const char *answer_fault_name(enum answer_fault f);
const char *answer_fault_text(enum answer_fault f);

#endif
