/* SPDX-License-Identifier: Apache-2.0 */
/* verdict_cache.h - verdicts of files that were seen before, shared by all loops and bounded; and
 * one scan for equal files that come at the same time. The key is a digest of everything that the
 * verdict depends on: the body, its declared name, type and encoding, and the ISTag of the service,
 * which stands for configuration, rules and engine versions. Only PASS, BLOCK and
 * (engine-independent) NOT_INSPECTED verdicts are kept; errors, timeouts and crashes never.
 *
 * Waiters belong to the cache: nobody embeds, moves or frees one. A waiter's only way out is its
 * call or verdict_cache_cancel(), both on its own loop, and cancelling is final however far the
 * other threads are.
 *
 * Threads: any; shards with a mutex each, held for a look-up. Waiters are called on their own loop.
 */
#ifndef ADAPT_VERDICT_CACHE_H
#define ADAPT_VERDICT_CACHE_H

#include "adapt/facts.h"
#include "net/loop.h"

#define VERDICT_KEY_LEN 32

struct verdict_key {
    uint8_t bytes[VERDICT_KEY_LEN]; /* SHA-256 */
};
/* Joins the parts, each with its length before it. ERR_NOMEM. */
NODISCARD enum err verdict_key_make(const struct span *parts, unsigned n, struct verdict_key *ret);

struct verdict_cache;
/* |bytes_max|: of all entries with their overhead; 0: nothing is kept, and equal files still wait
 * for one another. |ttl_ms|: an entry older than that is not used. */
NODISCARD enum err verdict_cache_new(uint64_t bytes_max, uint64_t ttl_ms,
                                     struct verdict_cache **ret);
/* After every loop that asked was freed: a cancelled waiter's task may still be in its mailbox.
 * NULL is fine. */
void verdict_cache_free(struct verdict_cache *c);
/* Any thread; what is over the new limit goes at once. */
void verdict_cache_set_limits(struct verdict_cache *c, uint64_t bytes_max, uint64_t ttl_ms);

struct verdict_cache_value {
    struct scan_result result;
    struct object_table *objects; /* NULL or one; after a HIT the receiver's own reference */
};

enum verdict_cache_answer {
    VERDICT_CACHE_HIT,  /* *ret_value is filled */
    VERDICT_CACHE_MINE, /* nobody scans it: the caller does, and must say verdict_cache_done() or
                           verdict_cache_give_up() */
    VERDICT_CACHE_WAIT, /* somebody scans it: |ready| will be called, *ret_waiter is filled */
    VERDICT_CACHE_NONE, /* no memory: the caller scans it and says nothing */
};

/* On the loop that asked, never inside a call, once; not after verdict_cache_cancel(). |value|
 * NULL: the one that scanned gave up; ask again (perhaps to be the next one that scans). |value|
 * lives for the call; its |objects| reference stays the cache's. The waiter is gone: forget it, do
 * not cancel it. */
typedef void (*verdict_ready_fn)(void *arg, const struct verdict_cache_value *value);

struct verdict_waiter; /* the cache's; a handle to cancel by */

/* On the thread of |loop|. *ret_waiter only for WAIT, *ret_value only for HIT. */
enum verdict_cache_answer verdict_cache_ask(struct verdict_cache *c, const struct verdict_key *key,
                                            struct loop *loop, verdict_ready_fn ready, void *arg,
                                            struct verdict_waiter **ret_waiter,
                                            struct verdict_cache_value *ret_value);
/* The waiter's own loop thread only, before its call. |ready| is not called any more, also when
 * that was already on its way; |arg| may be freed right away. NULL is fine. */
void verdict_cache_cancel(struct verdict_waiter *w);
/* Ends a MINE. Waiters get |value| (each verdict counts for those that wait, also one that is not
 * kept); kept if |keep| and if it is of a kind that may be. Takes its own reference to
 * value->objects. Any thread. */
void verdict_cache_done(struct verdict_cache *c, const struct verdict_key *key, uint64_t now_ms,
                        const struct verdict_cache_value *value, bool keep);
/* Ends a MINE without a verdict: waiters ask again. Any thread. */
void verdict_cache_give_up(struct verdict_cache *c, const struct verdict_key *key);

struct verdict_cache_counts {
    uint64_t hits, misses, waits, evicted, expired;
    uint64_t entries, bytes;
};
void verdict_cache_count(const struct verdict_cache *c, struct verdict_cache_counts *ret);

#endif
