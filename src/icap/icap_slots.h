/* SPDX-License-Identifier: Apache-2.0 */
/* icap_slots.h - where the heads lie that ICAP encapsulates, for both engines. */
#ifndef ICAP_SLOTS_H
#define ICAP_SLOTS_H

#include "icap/icap_message.h"

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
