/* SPDX-License-Identifier: Apache-2.0 */
/* wheel.h - deadlines in five rings of 64 slots, a tick (8 ms) wide in the first, 64 times wider in
 * each that follows. Pure: the time is a parameter.
 *
 * Nearly all deadlines of a gateway are moved on before they fire, so moving one later only stores
 * the new time: the timer keeps hanging where it is and is hung again when that slot comes up. */
#ifndef NET_WHEEL_H
#define NET_WHEEL_H

#include "net/loop.h"

#define WHEEL_TICK_MS 8u
#define WHEEL_RINGS   5u
#define WHEEL_SLOTS   64u

struct wheel {
    struct timer slots[WHEEL_RINGS][WHEEL_SLOTS]; /* heads of circular lists */
    uint64_t filled[WHEEL_RINGS]; /* bit per slot; may be set for a slot emptied since */
    uint64_t tick;                /* all slots up to this one have been worked off */
    size_t n;                     /* timers that hang */
};

void wheel_init(struct wheel *w, uint64_t now_ms);
/* True when |t| was hung anew, so that wheel_next_ms() may have come closer. */
bool wheel_set(struct wheel *w, struct timer *t, uint64_t at_ms, uint64_t now_ms);
void wheel_clear(struct wheel *w, struct timer *t);
/* Fires what is due at |now_ms|; callbacks may set and clear any timer, also their own. */
void wheel_advance(struct wheel *w, uint64_t now_ms);
/* When wheel_advance() wants to be called next (not later than the first deadline's tick);
 * UINT64_MAX without timers. */
uint64_t wheel_next_ms(const struct wheel *w);

#endif
