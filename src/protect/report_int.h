/* SPDX-License-Identifier: Apache-2.0 */
/* report_int.h - the body of a report, for the files that fill it. */
#ifndef PROTECT_REPORT_INT_H
#define PROTECT_REPORT_INT_H

#include <openssl/types.h>

#include "sallyport/report.h"

#define REPORT_LEVELS   4u
#define REPORT_WHYS_MAX 3u
#define REPORT_TEXT_MAX 160u

struct report_why {
    const char *code; /* static */
    int err;
    char text[REPORT_TEXT_MAX];
};

struct sallyport_report {
    sallyport_level level;
    unsigned via;
    const char *protocol, *cipher; /* OpenSSL's static names */
    int resumed;
    sallyport_peer *peer;
    struct report_why *whys; /* REPORT_WHYS_MAX, allocated with the first */
    size_t n_whys;
    char text[REPORT_TEXT_MAX];
};

/* Why a connection of level |got| is not what was |required|, which is more. */
const char *report_level_why(sallyport_level required, sallyport_level got);
/* All return 0 or -ENOMEM. Past the last place a reason is dropped: the first is the cause. */
int report_add_why(sallyport_report *r, const char *code, int err, const char *text);
/* After a handshake that ended well: WHO, or why nobody. */
int report_read_peer(sallyport_report *r, SSL *ssl);
/* After one that did not: WHY, from the verification result and the thread's error queue (which
 * stays as it is). */
int report_read_failure(sallyport_report *r, SSL *ssl);

#endif
