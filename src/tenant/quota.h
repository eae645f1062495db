/* SPDX-License-Identifier: Apache-2.0 */
/* quota.h - what a tenant may use at once and in a second, counted for the whole process.
 *
 * Threads: any; everything of a quota is an atomic of its own, so that no lock is on the way of a
 * request. Limits that change count at once, for what is there already, too. */
#ifndef TENANT_QUOTA_H
#define TENANT_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

/* 0: no limit. */
struct quota_limits {
    uint32_t connections;
    uint32_t requests; /* in a second; twice as many may come at once */
    uint64_t bytes;    /* of requests, in a second; twice as many may come at once */
    uint32_t scans;    /* at the same time */
};

struct quota; /* one tenant's */
struct quotas;

NODISCARD enum err quotas_new(struct quotas **ret);
void quotas_free(struct quotas *q); /* after all users */
/* The one of |name|, made when it is first asked for; lives as long as |q|. NULL without memory.
 * |limits| hold from now on; NULL: those of before, or none. */
struct quota *quotas_get(struct quotas *q, struct span name, const struct quota_limits *limits);

/* From now on. */
void quota_limit(struct quota *q, const struct quota_limits *limits);

/* One more connection; false: there are as many as may be. Nothing here counts as refused but
 * quota_refused(): whoever can wait need not refuse. */
bool quota_connect(struct quota *q);
void quota_disconnect(struct quota *q);
/* One more scan; false: not now. */
bool quota_scan(struct quota *q);
void quota_scanned(struct quota *q);
/* One request at |now_us| (of any monotonic clock). 0: go on; else microseconds until it may. */
uint64_t quota_request(struct quota *q, uint64_t now_us);
/* The same for one that can wait: takes the next turn that is free, in *ret_wait_us microseconds.
 * False: that is more than |longest_us| away, and nothing was taken. */
NODISCARD bool quota_turn(struct quota *q, uint64_t now_us, uint64_t longest_us,
                          uint64_t *ret_wait_us);
/* |n| bytes came in. Returns for how many microseconds nothing more should be read: 30 seconds at
 * most, whatever came. */
uint64_t quota_bytes(struct quota *q, uint64_t n, uint64_t now_us);

struct quota_use {
    uint32_t connections, scans;
    uint64_t requests, bytes, refused; /* since the start; refused: for any quota */
};
void quota_read(const struct quota *q, struct quota_use *ret);
void quota_refused(struct quota *q);

#endif
