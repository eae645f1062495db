/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_plan.h - what icapload asks for: one request, described once, sent many times.
 */
#ifndef LOAD_PLAN_H
#define LOAD_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define PLAN_CHUNK_LEN  65536 /* body bytes per chunk sent */
#define PLAN_NO_BODY    (-1)
#define PLAN_NO_PREVIEW (-1)

/* Body bytes repeat after a prime number of bytes: no lost, doubled or swapped block of a server's
 * own size goes unseen. */
#define PATTERN_PERIOD 65521

/* Bytes of a body that no other body has, with unique bodies: as many hexadecimal digits. */
#define PLAN_STAMP_LEN 16

enum plan_method { METHOD_OPTIONS, METHOD_REQMOD, METHOD_RESPMOD };

/* What a 100 Continue after a preview means. */
enum plan_continue { CONTINUE_ALLOW, CONTINUE_NEVER, CONTINUE_ALWAYS };

struct plan {
    enum plan_method method;
    enum plan_continue on_continue;
    int64_t size;    /* of the body, or PLAN_NO_BODY */
    int64_t preview; /* or PLAN_NO_PREVIEW */
    unsigned expect; /* the one status that will do, or 0: any that is legal */
    bool allow_204, allow_206;
    bool close; /* a connection for each request */
    bool fill;  /* all body bytes are 'e', which is what a canned answer can offer */
    bool tls;
    bool unique;         /* no two bodies are the same, also in different runs */
    unsigned parts;      /* above 0: the body is a form of so many parts of |size| bytes */
    bool files;          /* parts are texts with a file name, not fields of letters */
    const char *blocked; /* a block page is right, too, if this is its X-Response-Desc; or NULL */
    bool refused;        /* 503 is right, too */
    const char *host, *path;
    const char *also;  /* every other request of a connection goes to this path; or NULL */
    const char *field; /* a line of each request's ICAP head; or NULL */
    bool field_once;   /* of the first request of each connection only */

    /* Set by plan_init(). */
    struct plan_head {
        char text[2048]; /* the ICAP head and the encapsulated heads */
        size_t len;
    } head[2][2];           /* a connection's later requests, its first one; |path|, |also| */
    const char *start_line; /* of the HTTP message that comes back; its length */
    size_t start_line_len;
    int64_t preview_len; /* body bytes that go with the preview */
    bool ieof;           /* and that is all of them */
    uint8_t *pattern;    /* PATTERN_PERIOD + PLAN_CHUNK_LEN bytes */
    uint8_t *form;       /* the form, |size| bytes from now on; or NULL */
    uint64_t stamp_at;   /* where the stamp is in a body */
};

/* Which body: what makes the bytes of one request differ from those of another one. */
struct plan_body {
    unsigned phase; /* of the pattern, below PATTERN_PERIOD */
    uint8_t stamp[PLAN_STAMP_LEN];
};

/* A request falls into two parts only when it has a preview that is not the whole body: the second
 * part waits for 100 Continue. */
struct plan_part {
    const char *head;
    size_t head_len;
    uint64_t from, to; /* body bytes */
    const char *end;   /* the last chunk, or "" */
    size_t end_len;
};

/* Completes |p|; |size| becomes that of the whole form. False: out of memory or a path that is too
 * long. */
bool plan_init(struct plan *p);

void plan_done(struct plan *p);

/* Part 0 or 1 of the request number |seq|; |first|: of its connection. */
struct plan_part plan_part_get(const struct plan *p, unsigned seq, bool first, unsigned part);

/* True when the request goes on after 100 Continue. */
bool plan_has_rest(const struct plan *p);

uint64_t plan_part_len(const struct plan_part *part);

/* The pieces of |part| from byte |off| on, |max| at most; they stay valid with the plan, the chunk
 * size of the shorter chunk only with |line| (PLAN_LINE_MAX bytes). */
#define PLAN_LINE_MAX 24
int plan_part_iov(const struct plan *p, const struct plan_part *part, const struct plan_body *b,
                  uint64_t off, struct iovec *v, int max, char *line);

/* The body's bytes from |at| on. *n: in, how many are wanted, PLAN_CHUNK_LEN at most; out, how many
 * of them are there in one piece, at least one. */
const uint8_t *plan_bytes(const struct plan *p, const struct plan_body *b, uint64_t at, size_t *n);

/* |serial| differs for each body. */
void plan_body_stamp(struct plan_body *b, uint64_t serial);

#endif
