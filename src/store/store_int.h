/* SPDX-License-Identifier: Apache-2.0 */
/* store_int.h - what a backend has to do, and what store.c does for it: check and copy what was
 * asked, count what waits, bring the answer to the asker's loop. For the files of this room.
 *
 * A backend gets whole operations and answers each once, from whatever thread, some time later or
 * at once: no cursor, iterator or transaction lives from one operation to the next, so that one
 * may as well be a server on another machine. */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include <stdatomic.h>

#include "store/store.h"

#define STORE_WAITING_MAX 4096u      /* operations of one store */
#define STORE_REPLY_MAX   (1u << 20) /* bytes of one list, from which on it stops */
#define STORE_RESERVE     131072u    /* bytes: what is left of a store for those who have asked */

enum store_op_kind { STORE_GET, STORE_PUT, STORE_DEL, STORE_INCR, STORE_LIST };

struct store_op {
    struct store_op *next; /* the backend's, while it has it */
    enum store_op_kind kind;
    bool more; /* another one follows at once */
    struct store *store;
    struct store_asker by;
    bool cancelled; /* by.loop's */
    struct task task;
    struct span space;
    struct span key;   /* of list: the prefix */
    struct span value; /* of list: after */
    uint64_t version, expires_wall_ms;
    uint64_t number; /* of incr: what to add; of list: the maximum */
    /* The answer; |text| holds what items point into. */
    struct store_reply reply;
    struct store_item *items;
    size_t cap_items;
    struct buf text;
    size_t n_bytes;
    char bytes[]; /* key and value */
};

struct store_backend {
    enum err (*start)(struct store *s);
    /* Takes |op|, which store_answer() gives back. */
    void (*submit)(struct store *s, struct store_op *op);
    uint64_t (*changes)(struct store *s);
    /* Is less than STORE_RESERVE left for others than those who have asked? */
    bool (*is_tight)(struct store *s);
    /* Answers what waits, and frees the backend's struct. */
    void (*free)(struct store *s);
};

/* First member of a backend's struct. */
struct store {
    const struct store_backend *backend;
    _Atomic unsigned waiting;
    _Atomic uint64_t gets, lists, changes, full, busy, failed;
    _Atomic bool cannot_read, cannot_change;
};

static inline bool store_is_change(const struct store_op *op)
{
    return op->kind != STORE_GET && op->kind != STORE_LIST;
}
/* May its namespace have a mark? */
static inline bool store_is_marked(const struct store_op *op)
{
    return store_is_change(op) && !span_eq(op->space, SPAN(STORE_MARKS));
}

/* Forgets what was gathered for an answer: the operation is tried again. */
void store_reply_reset(struct store_op *op);
/* One more item; false: this list is large enough, or no memory (reply.err says so). */
bool store_reply_add(struct store_op *op, const struct store_item *item);
/* |op| is done: |e| and what was gathered go to the asker. Not ours any more. */
void store_answer(struct store_op *op, enum err e);

/* Rules that are the same everywhere. |now|: what is there, version 0: nothing. */
NODISCARD enum err store_check_version(const struct store_op *op, uint64_t now);
/* <0, 0, >0: the order of lists, byte by byte. */
int store_key_order(struct span a, struct span b);
/* The number of |value| (empty: none yet) with what |op| adds, as text. */
#define STORE_NUMBER_LEN 20u
NODISCARD enum err store_add_number(struct store_op *op, struct span value,
                                    char ret[STORE_NUMBER_LEN + 1], struct span *ret_text);
static inline bool store_is_over(uint64_t expires_wall_ms, uint64_t now_wall_ms)
{
    return expires_wall_ms != 0 && expires_wall_ms <= now_wall_ms;
}

#endif
