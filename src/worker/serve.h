/* SPDX-License-Identifier: Apache-2.0 */
/* serve.h - the jailed worker: JOB in, RESULT out, one at a time, until its gateway is gone. */
#ifndef WORKER_SERVE_H
#define WORKER_SERVE_H

#include "worker/engine.h"

/* What a worker's end says to whoever reads DIED. */
enum worker_exit {
    WORKER_EXIT_DONE = 0,     /* the gateway closed its socket */
    WORKER_EXIT_SOCKET = 3,   /* the socket failed */
    WORKER_EXIT_PROTOCOL = 4, /* a packet that is no JOB */
    WORKER_EXIT_JAIL = 5,     /* the jail could not be entered */
};

/* |sock| is blocking. Never makes a system call that the worker's jail refuses. */
enum worker_exit worker_serve(int sock, const struct engines *engines);

#endif
