/* SPDX-License-Identifier: Apache-2.0 */
/* journal.h - a file of lines that is only appended to, by one process at a time: the exceptions'.
 * What is appended is on the disk when the call returns, whole, or not there at all. */
#ifndef PROC_JOURNAL_H
#define PROC_JOURNAL_H

#include "base/buf.h"

#define JOURNAL_MAX (64u << 20) /* bytes of one */

struct journal {
    int fd;        /* O_RDWR | O_APPEND; -1: none */
    uint64_t size; /* of what was read, or appended by us */
    bool torn;     /* its last line has no LF */
};

/* Takes |fd| over; -1: there is none, then everything is ERR_MISSING. */
void journal_init(struct journal *j, int fd);
void journal_done(struct journal *j);
/* The whole file; free it with text_free() of generation_text.h. */
NODISCARD enum err journal_read(struct journal *j, struct span *ret);
/* Has somebody else appended to it since? */
bool journal_has_grown(const struct journal *j);
/* |lines|: each with its LF. |why|: a sentence, and what to do. */
NODISCARD enum err journal_append(struct journal *j, struct span lines, struct buf *why);

#endif
