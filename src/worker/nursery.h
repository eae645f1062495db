/* SPDX-License-Identifier: Apache-2.0 */
/* nursery.h - how a worker comes to life: a socket pair, fork, the jail, and then its jobs. The
 * zygote keeps what is the same for all of them here. */
#ifndef WORKER_NURSERY_H
#define WORKER_NURSERY_H

#include "jail/jail.h"
#include "worker/engine.h"

struct nursery {
    struct jail_spec jail; /* of a worker */
    const struct engines *engines;
    int null_fd;
};

/* Opens what workers need and measures this process, which they will be copies of. Before the
 * zygote's own jail. */
NODISCARD enum err nursery_init(struct nursery *n, const struct engines *engines, bool required,
                                uint64_t memory_max, struct buf *why);

/* A worker that waits for JOBs. *ret_sock is the gateway's end, non-blocking and the caller's. */
NODISCARD enum err nursery_fork(const struct nursery *n, pid_t *ret_pid, int *ret_sock,
                                struct buf *why);

/* A worker that enters its jail, inspects a few bytes and ends: tells what a worker's jail is made
 * of here, and finds out now whether it is one that the engines can live in. ERR_POLICY with |why|
 * if not. */
NODISCARD enum err nursery_try(const struct nursery *n, struct buf *layers, struct buf *why);

#endif
