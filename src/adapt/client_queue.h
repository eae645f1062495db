/* SPDX-License-Identifier: Apache-2.0 */
/* client_queue.h - what waits for something that is busy, each entry for a client. The next one is
 * the oldest of the client whose last turn is longest ago: who brings little does not wait behind
 * all that somebody else has brought. Where too many wait, who has most makes room for who has
 * fewer. Clients are told apart by some bits of their hash (keyed: they cannot choose them); two
 * that share these are as one.
 *
 * Holds no limit and allocates nothing. Threads: belongs to its owner's. */
#ifndef ADAPT_CLIENT_QUEUE_H
#define ADAPT_CLIENT_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#define CLIENT_QUEUE_CROWDS 256u /* a multiple of 64 */

/* Intrusive: embed it, recover the owner with CONTAINER_OF. All private. */
struct client_queue_entry {
    struct client_queue_entry *prev, *next;
    uint64_t client;
    uint64_t number; /* entries count from 1 */
    uint64_t turn;   /* its client's before it was taken */
    bool held;
};

struct client_queue_crowd {
    struct client_queue_entry *ready, *held; /* oldest first */
    unsigned n;                              /* in both */
    uint64_t turn;                           /* when one was taken last; 0: never */
};

/* Zeroed: empty. */
struct client_queue {
    unsigned n, n_ready; /* to be read only */
    uint64_t n_added, n_turns;
    uint64_t filled[CLIENT_QUEUE_CROWDS / 64]; /* a bit for each crowd that has an entry */
    struct client_queue_crowd crowds[CLIENT_QUEUE_CROWDS];
};

/* |client|: a keyed hash of whose it is. |held|: it has its place, but is not to be taken yet. */
void client_queue_add(struct client_queue *q, struct client_queue_entry *e, uint64_t client,
                      bool held);
/* One that is held may be taken, after its client's others. */
void client_queue_release(struct client_queue *q, struct client_queue_entry *e);
/* The next one, which leaves the queue: its client has had a turn. NULL: none is ready. */
struct client_queue_entry *client_queue_take(struct client_queue *q);
/* |e|, which was taken, got nothing for its turn: it waits again, as if it had not been taken. */
void client_queue_put_back(struct client_queue *q, struct client_queue_entry *e);
/* It does not wait any more, and that was no turn. */
void client_queue_remove(struct client_queue *q, struct client_queue_entry *e);

/* The queue is full for |client|, who has one more: the newest entry of whoever has most, to be
 * removed, if that is more than |client| has with this one. NULL: this one is to be refused. */
struct client_queue_entry *client_queue_last_of_most(const struct client_queue *q, uint64_t client);

/* All of them, held ones too, in no order: from the first to NULL. Ask for the next one before |e|
 * is removed. */
struct client_queue_entry *client_queue_first(const struct client_queue *q);
struct client_queue_entry *client_queue_next(const struct client_queue *q,
                                             const struct client_queue_entry *e);

#endif
