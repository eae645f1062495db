/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_refusals.h - why documents were refused, for some seconds. The ipp backend of CUPS does not
 * show its users the sentence of a refusal; it shows them what the printer says of itself right
 * behind it (printer-state-message).
 *
 * Shared by all loops: any thread. */
#ifndef IPP_REFUSALS_H
#define IPP_REFUSALS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

#define IPP_REFUSALS    64u /* at once; then the oldest one goes */
#define IPP_REFUSAL_MS  15000u
#define IPP_REFUSAL_MAX 255u

/* Whose document it was, and for which printer of the gateway. Who comes in another way, or has not
 * proved that he is the same, is told nothing. */
struct ipp_refusal_key {
    struct span printer, user; /* of any length: of long ones the beginning counts */
    uint64_t source;           /* hash of the client's address */
    unsigned level;            /* how it came, and how the user is proved */
};

struct ipp_refusals;
struct ipp_refusals *ipp_refusals_new(void);    /* NULL: out of memory */
void ipp_refusals_free(struct ipp_refusals *r); /* NULL is fine */

/* Most of the time there are none; then no key need be made. */
bool ipp_refusals_are_none(const struct ipp_refusals *r, uint64_t now_ms);
/* |why| is cut to IPP_REFUSAL_MAX octets. One of before with that key is forgotten. */
void ipp_refusals_note(struct ipp_refusals *r, const struct ipp_refusal_key *k, struct span why,
                       uint64_t now_ms);
void ipp_refusals_forget(struct ipp_refusals *r, const struct ipp_refusal_key *k, uint64_t now_ms);
bool ipp_refusals_find(struct ipp_refusals *r, const struct ipp_refusal_key *k, uint64_t now_ms,
                       char ret[IPP_REFUSAL_MAX + 1]);

#endif
