/* SPDX-License-Identifier: Apache-2.0 */
/* head_gather.h - what engines read before a body: heads that are whole in one slice are looked at
 * where they are (and their block is held), heads that come in pieces are gathered in a buffer that
 * grows with what came, never by what was announced. */
#ifndef HTTP_HEAD_GATHER_H
#define HTTP_HEAD_GATHER_H

#include "base/block.h"
#include "base/buf.h"
#include "http/head.h"

/* Zero it to start. */
struct head_gather {
    struct slice held; /* all of it, where it came */
    struct buf text;
    struct head_scan scan;
};

void head_gather_done(struct head_gather *g);
/* Before that: nobody was told of what was taken, and nobody shall find it. Passwords may be in
 * there, and who reads them wipes them only where they were found. */
void head_gather_wipe(struct head_gather *g);

/* Takes the bytes of one head from |*left|. OK: *ret_text is all of it, valid until
 * head_gather_done(). ERR_AGAIN: |*left| is used up, more is needed. Else as head_scan(). */
NODISCARD enum err head_gather_head(struct head_gather *g, struct slice *left,
                                    const struct head_limits *lim, struct span *ret_text,
                                    struct fault *reterr);
/* As head_gather_head(), for |need| > 0 bytes. */
NODISCARD enum err head_gather_bytes(struct head_gather *g, struct slice *left, uint64_t need,
                                     struct span *ret_text, struct fault *reterr);

#endif
