/* SPDX-License-Identifier: Apache-2.0 */
/* record_sealer.h - the chain of records at work: its state in a file that several processes share,
 * one of which seals at a time. No key stays in memory between two batches.
 *
 * Order: lock, read the state, MAC; the caller writes batch and seal; write the next state, unlock.
 * A process that dies before its state is written leaves a number that is used again. */
#ifndef OBSERVE_RECORD_SEALER_H
#define OBSERVE_RECORD_SEALER_H

#include <sys/uio.h>

#include "base/buf.h"

struct record_sealer;

/* |fd|: the state, readable and writable; it is taken over, also when this fails. Locks of POSIX
 * end when the process closes any descriptor of that file: it must have no other one. ERR_NOMEM. */
NODISCARD enum err record_sealer_new(int fd, struct record_sealer **ret);
/* NULL is fine. */
void record_sealer_free(struct record_sealer *s);
/* Waits until no other process is sealing; the seal of what |iov| holds, which may be nothing.
 * *ret_line, with its LF, is borrowed until the next call; then exactly one of commit and abandon.
 * After an error (ERR_IO, ERR_SYNTAX, ERR_NOMEM) there is nothing to end. */
NODISCARD enum err record_sealer_begin(struct record_sealer *s, const struct iovec *iov, unsigned n,
                                       struct span *ret_line);
/* Batch and line are in the file. ERR_IO: the number will be used again, and begin fails until the
 * state can be written. */
NODISCARD enum err record_sealer_commit(struct record_sealer *s);
/* They are not, or not whole: the number stays free. */
void record_sealer_abandon(struct record_sealer *s);
/* What the last error was about: a sentence without a full stop. */
void record_sealer_why(const struct record_sealer *s, struct buf *out);

#endif
