/* SPDX-License-Identifier: Apache-2.0 */
/* icap_client_status.h - what a status of a server means for its client: words for it, whether a
 * login helps, whether to come back. Pure. */
#ifndef ICAP_CLIENT_STATUS_H
#define ICAP_CLIENT_STATUS_H

#include "http/head.h"

/* May the challenge of a 407 be answered with Basic? True also without one: RFC 9110 15.5.8 wants
 * it, but the draft's drawing has none. */
bool icap_client_takes_basic(const struct head *icap);
/* Retry-After in seconds; false without one, or for a date (RFC 9110 10.2.3), which asks for two
 * clocks that agree. */
bool icap_client_retry_after(const struct head *icap, uint64_t *ret_s);
/* A sentence about an answer that is no verdict. |user|: in whose name it was asked; NULL: in
 * nobody's. |clear|: it came in clear text. */
void icap_client_status_text(const struct head *icap, const char *user, bool clear, char *dst,
                             size_t cap);

#endif
