/* SPDX-License-Identifier: Apache-2.0 */
/* report_int.h - the body of a report, for the files that fill it. */
#ifndef PROTECT_REPORT_INT_H
#define PROTECT_REPORT_INT_H

#include <openssl/types.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "sallyport/report.h"

#define REPORT_LEVELS   4u
#define REPORT_WHYS_MAX 4u
#define REPORT_TEXT_MAX 160u

struct report_why {
    sallyport_why why; /* |why.text| is |text| */
    char text[REPORT_TEXT_MAX];
};

/* Of a plan: sallyport_decision, with memory. */
struct report_decision {
    const char *what, *by; /* static */
    char *value;
    unsigned line;
    bool decides;
};

struct sallyport_report {
    _Atomic unsigned refs;
    sallyport_how how; /* |how.text| is |text|; other strings are OpenSSL's static names, or ours */
    sallyport_peer *peer;
    struct report_why *whys; /* REPORT_WHYS_MAX, allocated with the first */
    size_t n_whys;
    struct report_decision *decisions;
    size_t n_decisions;
    char text[REPORT_TEXT_MAX];
};

/* With one reference, no values but the version of the table. NULL: out of memory. */
sallyport_report *report_alloc(void);
sallyport_report *report_ref(sallyport_report *r);

/* ---- reasons (report_reason.c) ---- */

/* One row for each code: who is to blame, whether to try again, and the errno values that it may
 * come with, the usual one first. */
struct reason_row {
    const char *code;
    int side;
    bool retry;
    int errs[3];
};
/* NULL past the end, or for a code that is none. */
const struct reason_row *reason_at(size_t i);
const struct reason_row *reason_find(const char *code);

/* What is known of one reason. */
struct report_cause {
    const char *code;   /* of the table */
    int err;            /* 0: the usual one of |code| */
    int stage;          /* SALLYPORT_STAGE_* */
    const char *source; /* static; NULL: none */
    int64_t raw;
    bool inferred;
    const char *text;
};
/* |text| of |cause| is borrowed. */
sallyport_why reason_why(const struct report_cause *cause);
/* Is the caller's struct at least as large as the first one was? */
bool reason_fits(const sallyport_why *ret_why);
/* Fills what the caller's |size| has room for; it fits. */
void reason_give(const sallyport_why *why, sallyport_why *ret_why);
/* 0 or -ENOMEM. Past the last place a reason is dropped: the first is the cause. */
int report_add(sallyport_report *r, const struct report_cause *cause);
/* The same for what was told while the identity was judged. */
int report_add_why(sallyport_report *r, const char *code, int err, const char *text);

/* ---- parts of a report; all return 0 or -ENOMEM ---- */

/* Why a connection of level |got| is not what was |required|, which is more. */
const char *report_level_why(sallyport_level required, sallyport_level got);
/* After a handshake that ended well: HOW, but for the text; and WHO, or why nobody. */
int report_read_how(sallyport_report *r, SSL *ssl);
int report_read_peer(sallyport_report *r, SSL *ssl);
/* Has the peer sent an alert, by the thread's error queue? In TLS 1.3 a client learns only after
 * its handshake that it was refused (RFC 8446 4.4.2). */
bool report_alert_waits(void);
/* After one that did not: WHY, from the verification result and the thread's error queue (which
 * stays as it is). */
int report_read_failure(sallyport_report *r, SSL *ssl);
/* After a call on an open connection that failed: WHY, if the error queue says something. Sets
 * |how.accepted_by_peer| to NO where the peer said so. */
int report_read_later_failure(sallyport_report *r);

/* A clear one that reasons can be added to, which those of sallyport_report_new() cannot. |fd|: its
 * socket, which may say who is there (peer_of_socket()); -1: not known. */
int report_of_clear(int fd, sallyport_report **ret_report);
/* Of an SSL whose handshake is over, then looked at again: |failed|: a call failed since then;
 * |heard|: the peer has answered. As sallyport_report_new() otherwise. */
int report_of_open(SSL *ssl, bool heard, bool failed, sallyport_report **ret_report);

#endif
