/* SPDX-License-Identifier: Apache-2.0 */
/* journal.h - a file of lines that is only appended to, by the gateways that are alive: the
 * exceptions'. What is appended is on the disk when the call returns, whole, or not there at all;
 * of two that append at once one is told to try again. */
#ifndef PROC_JOURNAL_H
#define PROC_JOURNAL_H

#include <time.h>

#include "base/buf.h"

#define JOURNAL_MAX (64u << 20) /* bytes of one */

struct journal {
    int fd; /* O_RDWR | O_APPEND; -1: none. Closing another one of the same file unlocks it */
    /* When it was last read, or appended to by us alone. */
    uint64_t size;
    struct timespec mtime;
};

/* Takes |fd| over; -1: there is none, then everything is ERR_MISSING. */
void journal_init(struct journal *j, int fd);
void journal_done(struct journal *j);
/* The whole file; free it with text_free() of generation_text.h. */
NODISCARD enum err journal_read(struct journal *j, struct span *ret);
/* Has somebody else appended to it since, or taken back what was there? */
bool journal_has_grown(const struct journal *j);
/* |lines|: each with its LF. |why|: a sentence, and what to do. ERR_BUSY while another process
 * appends. */
NODISCARD enum err journal_append(struct journal *j, struct span lines, struct buf *why);

#endif
