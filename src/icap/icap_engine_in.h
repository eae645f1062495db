/* SPDX-License-Identifier: Apache-2.0 */
/* icap_engine_in.h - what both engines read before a body: heads that are whole in one slice are
 * looked at where they are (and their block is held), heads that come in pieces are gathered in a
 * buffer that grows with what came, never by what was announced. */
#ifndef ICAP_ENGINE_IN_H
#define ICAP_ENGINE_IN_H

#include "base/block.h"
#include "base/buf.h"
#include "icap/icap_message.h"

/* Zero it to start. */
struct icap_gather {
    struct block *held;
    struct buf text;
    struct head_scan scan;
};

void icap_gather_done(struct icap_gather *g);

/* Takes the bytes of one head from |*left|. OK: *ret_text is all of it, valid until
 * icap_gather_done(). ERR_AGAIN: |*left| is used up, more is needed. Else as head_scan(). */
NODISCARD enum err icap_gather_head(struct icap_gather *g, struct slice *left,
                                    const struct head_limits *lim, struct span *ret_text,
                                    struct fault *reterr);
/* As icap_gather_head(), for |need| > 0 bytes. */
NODISCARD enum err icap_gather_bytes(struct icap_gather *g, struct slice *left, uint64_t need,
                                     struct span *ret_text, struct fault *reterr);

/* Where encapsulated heads lie (RFC 3507 4.4.1): none is empty or over |head_max|. Before a byte of
 * them is read. */
NODISCARD enum err icap_slots_check(const struct icap_encapsulated *list, uint64_t head_max,
                                    struct fault *reterr);
/* Bytes of all heads: the body's offset. */
uint64_t icap_slots_len(const struct icap_encapsulated *list);
/* Parses the heads in |text| and checks that each ends where its slot ends. */
NODISCARD enum err icap_slots_parse(const struct icap_encapsulated *list, struct span text,
                                    const struct head_limits *lim, struct arena *mem,
                                    const struct head **ret_request,
                                    const struct head **ret_response, struct fault *reterr);

#endif
