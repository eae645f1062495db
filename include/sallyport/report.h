/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport/report.h - HOW a connection was protected, WHO was at the other end, WHY it was
 * refused: one immutable answer. Part of libsallyport.
 *
 * No call logs, exits, spawns threads or takes callbacks. Reports never change once made and may be
 * read from any thread; strings inside one live as long as it does. Functions return 0 or -errno.
 */
#ifndef SALLYPORT_REPORT_H
#define SALLYPORT_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include <sallyport/peer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Ordered: a larger one protects more. INTEGRITY: cannot be changed unseen, may be read. WEAK:
 * confidential, but by means that the strength table no longer calls strong. */
typedef enum {
    SALLYPORT_NONE,
    SALLYPORT_INTEGRITY,
    SALLYPORT_WEAK,
    SALLYPORT_STRONG
} sallyport_level;

/* By which layer; a bit mask. */
enum { SALLYPORT_VIA_CLEAR = 1, SALLYPORT_VIA_TLS = 2, SALLYPORT_VIA_IPSEC = 4 };

typedef struct sallyport_report sallyport_report;

typedef struct {
    uint32_t size; /* sizeof of the caller's struct, set before the call: the ABI may grow */
    sallyport_level level;
    unsigned via;         /* SALLYPORT_VIA_* */
    const char *protocol; /* "TLSv1.3", "clear" */
    const char *cipher;   /* human text only; NULL when clear */
    const char *text;     /* one line for people */
    int resumed;          /* 1: the TLS session was resumed */
} sallyport_how;

/* Why something was refused, or would be. |code| is stable text ("level-too-low"); |err| the errno
 * that callers may map to. */
typedef struct {
    uint32_t size;
    const char *code;
    int err;
    const char *text;
} sallyport_why;

/* A report on a TLS connection (|ssl|: an `SSL *` whose handshake ended, well or not) or, with
 * NULL, on a clear one. -ENOMEM, or 0 and *ret_report, which the caller frees. Takes no reference
 * on |ssl|. */
int sallyport_report_new(const void *ssl, sallyport_report **ret_report);
/* NULL is fine. */
void sallyport_report_free(sallyport_report *report);
/* -EINVAL when ret_how->size is too small. */
int sallyport_report_how(const sallyport_report *report, sallyport_how *ret_how);
/* WHO: the authenticated peer, or NULL: nobody authenticated, even where the connection is
 * protected. Lives as long as the report; a reference outlives it. */
const sallyport_peer *sallyport_report_peer(const sallyport_report *report);
/* The |i|-th reason; -ENOENT past the end. */
int sallyport_report_why(const sallyport_report *report, size_t i, sallyport_why *ret_why);
/* "none", "integrity", "weak", "strong". */
const char *sallyport_level_name(sallyport_level level);

#ifdef __cplusplus
}
#endif
#endif
