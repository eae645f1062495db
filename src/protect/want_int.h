/* SPDX-License-Identifier: Apache-2.0 */
/* want_int.h - the body of a want, for the files that hold it against something. */
#ifndef PROTECT_WANT_INT_H
#define PROTECT_WANT_INT_H

#include "protect/report_int.h"
#include "sallyport/want.h"

#define WANT_VIA_ALL (unsigned)(SALLYPORT_VIA_CLEAR | SALLYPORT_VIA_TLS | SALLYPORT_VIA_IPSEC)
#define WANT_FLAGS_ALL                                                           \
    (unsigned)(SALLYPORT_END_TO_END | SALLYPORT_PEER_KNOWN | SALLYPORT_LATCHED | \
               SALLYPORT_TRANSPORT_COVERED | SALLYPORT_REPLAY_SAFE | SALLYPORT_LESS)

/* One of those who may be there. */
struct wanted {
    int kind; /* 0: |same| */
    char *pattern;
    sallyport_peer *same;
};

struct sallyport_want {
    sallyport_level level;
    unsigned via;   /* 0: any */
    unsigned flags; /* SALLYPORT_END_TO_END and so on */
    unsigned n_peers;
    struct wanted peers[SALLYPORT_WANT_PEERS_MAX];
};

/* Is |report| what was wanted? 0, or -errno and *ret_cause (its strings are static). As
 * sallyport_want_check() otherwise. */
int want_check(const sallyport_want *want, const sallyport_report *report,
               struct report_cause *ret_cause);

#endif
