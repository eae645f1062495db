/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.h - one JOB: the file is unpacked, every engine looks at everything that was in it, and
 * what they say becomes one result. */
#ifndef WORKER_INSPECT_H
#define WORKER_INSPECT_H

#include "worker/engine.h"

/* Inspects the file behind |fd|, which stays open, as |job| says; |job| is a WIRE_JOB. *ret_objects
 * is a descriptor that is the caller's (adapt/objects.h), or -1 when there is nothing to tell, or
 * nobody who wants to know. Never makes a system call that the worker's jail refuses. */
void worker_inspect(const struct engines *engines, const struct wire_message *job, int fd,
                    struct scan_result *ret, int *ret_objects);

#endif
