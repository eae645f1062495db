/* SPDX-License-Identifier: Apache-2.0 */
/* scan_slots.h - how many scans may be open in this process, and whose: one client that sends more
 * than can be inspected must not shut the others out. A part of the slots is never given to a
 * client that has its share already, so that whoever comes new finds one.
 *
 * Threads: any; one mutex, held for a look-up. */
#ifndef ADAPT_SCAN_SLOTS_H
#define ADAPT_SCAN_SLOTS_H

#include "base/err.h"
#include "net/address.h"

struct scan_slots;
/* |max|: 1 at least. */
NODISCARD enum err scan_slots_new(unsigned max, struct scan_slots **ret);
void scan_slots_free(struct scan_slots *s); /* no slot is taken; NULL is fine */
void scan_slots_set_max(struct scan_slots *s, unsigned max);

/* |client|: who asks, address_hash(). Would a slot be there now? For a look before work that needs
 * one. */
bool scan_slots_have(struct scan_slots *s, uint64_t client);
/* False: no slot is free for this client. Of |max| slots an eighth (one at least, where there are
 * two) is kept for clients below their share, which is what is left, divided by the clients that
 * hold slots. */
bool scan_slots_take(struct scan_slots *s, uint64_t client);
void scan_slots_give(struct scan_slots *s, uint64_t client);

struct scan_slots_counts {
    unsigned used, max, peak, clients;
    uint64_t refused;
};
void scan_slots_count(struct scan_slots *s, struct scan_slots_counts *ret);

#endif
