/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipp_plan.h - what ippload asks for: one request, described once, sent many times.
 */
#ifndef IPP_PLAN_H
#define IPP_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define IPP_PLAN_HEAD_MAX  2048
#define IPP_PLAN_STAMP_LEN 16  /* hexadecimal digits that no other document has */
#define IPP_PLAN_SIZE_MIN  128 /* of a document: what makes it a PDF file, and some noise */
#define IPP_PLAN_PIECES    6

enum ipp_plan_operation {
    IPP_PLAN_ATTRIBUTES,       /* Get-Printer-Attributes, all of them */
    IPP_PLAN_ATTRIBUTES_SMALL, /* three: what a client asks for while it waits */
    IPP_PLAN_PRINT_JOB,
};

struct ipp_plan {
    enum ipp_plan_operation operation;
    size_t size; /* of the document; Print-Job only */
    bool close;  /* a connection for each request */
    bool tls;
    const char *host, *path; /* HOST:PORT; path of the printer */

    /* Set by ipp_plan_init(). */
    char head[IPP_PLAN_HEAD_MAX]; /* HTTP head and attributes */
    size_t head_len;
    size_t id_at;      /* where the request-id is in it */
    uint8_t *document; /* |size| bytes, of which the stamp is to be replaced; or NULL */
    size_t stamp_at;
};

/* What differs from one request to the next. */
struct ipp_plan_request {
    uint8_t id[4]; /* request-id, RFC 8010 3.1.2 */
    char stamp[IPP_PLAN_STAMP_LEN];
};

/* Completes |p|. False: out of memory, or a path that is too long. */
bool ipp_plan_init(struct ipp_plan *p);

void ipp_plan_done(struct ipp_plan *p);

/* |id| is above 0, |serial| differs for each document. */
void ipp_plan_request_set(struct ipp_plan_request *r, uint32_t id, uint64_t serial);

/* The pieces of the request |r|; they stay valid with the plan and |r|. Returns how many. */
int ipp_plan_iov(const struct ipp_plan *p, const struct ipp_plan_request *r,
                 struct iovec v[IPP_PLAN_PIECES]);

#endif
