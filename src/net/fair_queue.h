/* SPDX-License-Identifier: Apache-2.0 */
/* fair_queue.h - whose turn it is on a loop: stochastic fairness queueing (McKenney, 1990). What
 * has something to do waits in one of some hundred first-in-first-out buckets, chosen by a keyed
 * hash of whom it works for, and the buckets are served in turn. However many connections a client
 * has, and however much they bring at once, another client's waits for a few tasks, not for all of
 * them. A turn of the loop runs a bounded number of tasks, so that events are looked at often.
 *
 * Threads: belongs to its loop's thread. */
#ifndef NET_FAIR_QUEUE_H
#define NET_FAIR_QUEUE_H

#include "net/loop.h"

/* Intrusive: embed it, zeroed, with |run| set. Lives until it has run; it leaves the queue before,
 * so that it may be added again, or freed, in |run|. */
struct fair_task {
    void (*run)(struct fair_task *t);
    struct fair_task *next; /* private */
    bool queued;            /* to be read only */
};

struct fair_queue;
/* A turn of |l| ends after |turn_max| > 0 tasks, or with the first one that ends |turn_us| after
 * the turn began. While more wait than one turn runs, a turn has so many that with all that they
 * put off, and the look at events, it takes |round_us|: by what the last one took. Each loop has
 * one for all its connections: loop_turns(). */
NODISCARD enum err fair_queue_new(struct loop *l, unsigned turn_max, uint64_t turn_us,
                                  uint64_t round_us, struct fair_queue **ret);
/* Nothing may wait in it. NULL is fine. */
void fair_queue_free(struct fair_queue *q);
/* |client|: a hash of whom it works for (keyed: clients must not be able to choose their bucket).
 * Runs on this turn of the loop after its events, or on one of the next. No effect on a task that
 * is queued. */
void fair_queue_add(struct fair_queue *q, struct fair_task *t, uint64_t client);

#endif
