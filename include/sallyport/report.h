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

/* What can be known or not. UNKNOWN never counts as YES. */
typedef enum { SALLYPORT_NO, SALLYPORT_YES, SALLYPORT_UNKNOWN } sallyport_tri;

typedef struct sallyport_report sallyport_report;

/* Both structs below grow at their ends. A caller of an older version has a smaller |size|, and
 * gets what it knows. */
typedef struct {
    uint32_t size; /* sizeof of the caller's struct, set before the call: the ABI may grow */
    sallyport_level level;
    unsigned via;         /* SALLYPORT_VIA_* */
    const char *protocol; /* "TLSv1.3", "clear" */
    const char *cipher;   /* human text only; NULL when clear */
    const char *text;     /* one line for people */
    int resumed;          /* 1: the TLS session was resumed */

    /* The protection ends where the connection ends: nobody in between sees clear text. */
    sallyport_tri end_to_end;
    /* Accepted our identity, or needed none. After a TLS 1.3 handshake a client cannot know yet:
     * sallyport_drive() of conn.h. */
    sallyport_tri accepted_by_peer;
    sallyport_tri replay_safe;       /* nobody can have sent the same bytes a second time */
    sallyport_tri transport_covered; /* also TCP or UDP headers: nobody else can reset it */
    const char *group;               /* key exchange; human text only, NULL when there is none */
    const char *signature;           /* of the peer in the handshake; as |group| */
    const char *limit;   /* what makes the level less than strong, in words; NULL: nothing */
    const char *classes; /* version of the table of strengths: "2026-1" */
} sallyport_how;

/* Who found the reason, or whose it is. */
enum {
    SALLYPORT_SIDE_UNKNOWN = 0,
    SALLYPORT_SIDE_LOCAL = 1,
    SALLYPORT_SIDE_PEER = 2,
    SALLYPORT_SIDE_BOTH = 3
};
/* When. */
enum {
    SALLYPORT_STAGE_POLICY = 1,    /* before, or on what came of it */
    SALLYPORT_STAGE_CONNECT = 2,   /* nothing was said about protection yet */
    SALLYPORT_STAGE_HANDSHAKE = 3, /* while it was agreed upon */
    SALLYPORT_STAGE_IDENTITY = 4,  /* while who is there was judged */
    SALLYPORT_STAGE_OPEN = 5       /* after that */
};
enum {
    SALLYPORT_WHY_CERTAIN = 1, /* told, not inferred from what was seen */
    SALLYPORT_WHY_RETRY = 2    /* the same attempt may go well later */
};

/* Why something was refused, or would be. |code| is stable text ("level-too-low"); |err| the errno
 * that callers may map to. */
typedef struct {
    uint32_t size;
    const char *code;
    int err;
    const char *text;

    int side;           /* SALLYPORT_SIDE_* */
    int stage;          /* SALLYPORT_STAGE_* */
    unsigned flags;     /* SALLYPORT_WHY_* */
    const char *source; /* what |raw| is: "x509" (X509_V_ERR_*), "tls-alert" (RFC 8446 6.2), "tls"
                           (reason of the TLS library), "policy" (line of the policy file), ""
                           (nothing) */
    int64_t raw;
} sallyport_why;

/* A report on a TLS connection (|ssl|: an `SSL *` whose handshake ended, well or not) or, with
 * NULL, on a clear one. -ENOMEM, or 0 and *ret_report, which the caller frees. Takes no reference
 * on |ssl|.
 *
 * A resumed session is as strong as the handshake that it goes back to, at most. Of a client's, the
 * first report notes that in the SSL_SESSION (as ex_data): make it before you give the session
 * away. Where nothing is noted, as in a session that was read from a file, it is weak at most; but
 * for a TLS 1.3 server's whose client showed no certificate, where nothing that counts is gone. */
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
/* "unknown", "local", "peer", "both". */
const char *sallyport_side_name(int side);
/* "policy", "connect", "handshake", "identity", "open"; "unknown" for anything else. */
const char *sallyport_stage_name(int stage);
/* "no", "yes", "unknown". */
const char *sallyport_tri_name(sallyport_tri value);

#ifdef __cplusplus
}
#endif
#endif
