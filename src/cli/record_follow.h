/* SPDX-License-Identifier: Apache-2.0 */
/* record_follow.h - the lines of a file of records one after the other, and those that come, also
 * when the file is rotated meanwhile. */
#ifndef CLI_RECORD_FOLLOW_H
#define CLI_RECORD_FOLLOW_H

#include "base/buf.h"

struct record_follow;

/* |path| is copied; it may be a pipe, too, as of a program that unpacks old records. ERR_IO:
 * *ret_errnum says why it cannot be read. */
NODISCARD enum err record_follow_open(const char *path, struct record_follow **ret,
                                      int *ret_errnum);
/* The next whole line, without its LF; borrowed until the next call. Lines that are longer than a
 * record can be are passed over. Waits for pipes only. ERR_AGAIN: there is none now; a file that
 * was replaced by another one at its path, or cut short, goes on at its beginning then. ERR_IO as
 * above. */
NODISCARD enum err record_follow_next(struct record_follow *f, struct span *ret, int *ret_errnum);
/* NULL is fine. */
void record_follow_close(struct record_follow *f);

#endif
