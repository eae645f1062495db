/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_scan.h - finds where the attributes of an IPP message end and its document data begins
 * (RFC 8010 3.1.1), in bytes that come in pieces. Nothing else tells: HTTP's framing knows the sum
 * of both only, and chunk borders mean nothing. Sans-IO; allocates nothing and keeps no pointer.
 *
 * It checks the shape on the way (tags, lengths, nesting), so that a message that cannot be read is
 * refused before more of it is taken; ipp_message.h checks what it says. Of the values it notes
 * whether there is one at all that has to be looked at again. */
#ifndef IPP_SCAN_H
#define IPP_SCAN_H

#include "base/span.h"
#include "ipp/ipp_flaw.h"

#define IPP_DEPTH_MAX 16u /* no limits may allow more */

struct ipp_limits {
    size_t size_max;         /* from the version to the end-of-attributes tag, octets; at least 8 */
    unsigned attributes_max; /* with a name of their own, all groups together */
    unsigned depth_max;      /* collections in collections; 1..IPP_DEPTH_MAX */
};

#define IPP_LIMITS_DEFAULT \
    ((struct ipp_limits){  \
        .size_max = 1024u * 1024, .attributes_max = 8192, .depth_max = IPP_DEPTH_MAX})

/* Zero it to start. One message, one thread at a time. */
struct ipp_scan {
    size_t at;             /* octets taken so far: after OK, where the document data begins */
    size_t last_group;     /* where the last group so far begins: its tag */
    unsigned n_attributes; /* with a name, so far */
    unsigned depth;        /* of collections */
    uint16_t left;         /* octets left of a field that is passed over */
    uint16_t number;       /* the length that is being read */
    uint8_t state;
    uint8_t tag; /* of the value that is being read */
    uint8_t expect;
    bool grouped; /* a group has begun */
    bool named;   /* and has an attribute that further values can belong to */
    bool doubt;   /* a value may be one that ipp_message_read() refuses: it looks at all then */
};

/* Takes the next octets of the message; |in| may be of any length. OK: the attributes are complete
 * and *ret_used octets of |in| were theirs; what follows is document data. ERR_AGAIN: all of |in|
 * was taken, more is needed. ERR_PROTO, ERR_LIMIT: refused, |reterr| (which may be NULL) says why
 * and where; the same for every split. ERR_BUG when called again after any of these but ERR_AGAIN.
 */
NODISCARD enum err ipp_scan_feed(struct ipp_scan *s, const struct ipp_limits *lim, struct span in,
                                 size_t *ret_used, struct ipp_fault *reterr);

#endif
