/* SPDX-License-Identifier: Apache-2.0 */
/* object_file.h - the memfd that hands what was found in a body to the gateway, as adapt/objects.h
 * lays it out. */
#ifndef WORKER_OBJECT_FILE_H
#define WORKER_OBJECT_FILE_H

#include "base/buf.h"

/* A sealed memfd (F_SEAL_SHRINK, _GROW, _WRITE, _SEAL) of |derived| (may be empty), the table in
 * two pieces with |n| entries together, and the tail. *ret_fd only on OK; ERR_LIMIT for a table
 * that nobody would read, and what the system calls say. */
NODISCARD enum err object_file(struct span derived, struct span body, struct span leaves,
                               uint32_t n, int *ret_fd);

#endif
