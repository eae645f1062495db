/* SPDX-License-Identifier: Apache-2.0 */
/* loop_load.h - how long the turns of a loop are, from one look at events to the next, without the
 * waiting: what comes meanwhile waits that long. All of it since the start, and the last seconds.
 *
 * Threads: the loop's own writes, any reads. Relaxed: while a second begins a reader may miss a
 * turn, or find one of an older second. */
#ifndef NET_LOOP_LOAD_H
#define NET_LOOP_LOAD_H

#include <stdatomic.h>
#include <stdint.h>

#define LOOP_LOAD_SECONDS 10u
#define LOOP_LOAD_SLOTS                                                      \
    16u /* above that, so that a second is not written over while it is read \
         */

struct loop_load_slot {
    _Atomic uint64_t second; /* which one; 0: none */
    _Atomic uint64_t turns, busy_us, longest_us;
};

/* Zeroed: nothing has happened. */
struct loop_load {
    _Atomic uint64_t began_us; /* the turn that goes on; 0: none */
    _Atomic uint64_t turns, busy_us;
    struct loop_load_slot slots[LOOP_LOAD_SLOTS]; /* by second */
};

/* |now_us|: monotonic. A turn begins; one that had begun has ended. */
void loop_load_begin(struct loop_load *l, uint64_t now_us);
/* The loop is about to wait. */
void loop_load_end(struct loop_load *l, uint64_t now_us);

struct loop_load_figures {
    uint64_t turns, busy_us;      /* since the start */
    uint64_t turns_per_s;         /* of the last LOOP_LOAD_SECONDS, as all below */
    uint64_t mean_us, longest_us; /* longest_us: also of the turn that goes on */
};
void loop_load_read(const struct loop_load *l, uint64_t now_us, struct loop_load_figures *ret);

#endif
