/* SPDX-License-Identifier: Apache-2.0 */
/* zygote.h - the process that has loaded the engines and forks a jailed worker whenever a gateway
 * asks for one. docs/guide/worker-protocol.md is the specification. */
#ifndef WORKER_ZYGOTE_H
#define WORKER_ZYGOTE_H

#include <sys/types.h>

#include "worker/engine.h"

struct zygote_spec {
    int control;         /* socket of the supervisor */
    bool required;       /* sandbox: required */
    uint64_t memory_max; /* bytes that a worker may use on top of what the engines loaded */
    uid_t uid;           /* see jail.h */
    gid_t gid;
    const struct engines *engines;
};

/* Jails itself, tries a worker's jail once, says READY or BROKEN, and serves until the supervisor
 * and all gateways are gone. Returns the exit code. */
int zygote_run(const struct zygote_spec *spec);

#endif
