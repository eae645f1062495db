/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_protocol.h - the PROXY protocol header, versions 1 and 2 (HAProxy's
 * proxy-protocol.txt 2.1, 2.2). Pure. */
#ifndef NET_PROXY_PROTOCOL_H
#define NET_PROXY_PROTOCOL_H

#include "net/address.h"

#define PROXY_HEADER_MAX                                                    \
    536 /* v1: 107 bytes; v2: we take up to 520 bytes of addresses and TLVs \
         */

/* |in|: the first bytes of a connection. OK: *ret_used bytes are the header; *ret_peer is the
 * source it names, or is left alone for LOCAL and UNKNOWN (*ret_has_peer false). ERR_AGAIN: more
 * bytes are needed. ERR_PROTO: not a header. */
NODISCARD enum err proxy_header_parse(struct span in, size_t *ret_used, bool *ret_has_peer,
                                      struct address *ret_peer, struct fault *reterr);

#endif
