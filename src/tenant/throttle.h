/* SPDX-License-Identifier: Apache-2.0 */
/* throttle.h - who has failed, or asked, too often lately: a bucket for each key (an address, a
 * user's name), in a table of fixed size. A bucket fills again by itself.
 *
 * Pure but for what it remembers; one thread at a time, but for the shared one. */
#ifndef TENANT_THROTTLE_H
#define TENANT_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_SETS 512u
#define THROTTLE_WAYS 4u

/* |burst| failures at once, and one more each |every_ms| plus |every_us|. */
struct throttle_limits {
    uint32_t burst;
    uint64_t every_ms, every_us;
};

/* A bucket is the time at which it will be whole again: nothing is counted down. */
struct throttle {
    struct {
        uint64_t key, whole_us;
    } slots[THROTTLE_SETS][THROTTLE_WAYS];
};

/* May |key| (a keyed hash; not 0) try? */
bool throttle_allows(const struct throttle *t, uint64_t key, const struct throttle_limits *l,
                     uint64_t now_us);
/* It failed. In a full set the bucket goes that is nearest to being whole. */
void throttle_failed(struct throttle *t, uint64_t key, const struct throttle_limits *l,
                     uint64_t now_us);

/* One for all threads. */
struct throttle_shared;
struct throttle_shared *throttle_shared_new(void);    /* NULL: out of memory */
void throttle_shared_free(struct throttle_shared *s); /* NULL is fine */
bool throttle_shared_allows(struct throttle_shared *s, uint64_t key,
                            const struct throttle_limits *l, uint64_t now_us);
void throttle_shared_failed(struct throttle_shared *s, uint64_t key,
                            const struct throttle_limits *l, uint64_t now_us);
/* Both at once: where |key| may, it is counted. */
bool throttle_shared_take(struct throttle_shared *s, uint64_t key, const struct throttle_limits *l,
                          uint64_t now_us);

#endif
