/* SPDX-License-Identifier: Apache-2.0 */
/* edge.h - descriptors of which only news are told (EPOLLET): one that is ready and has to wait for
 * its turn is not shown again at each look, so that a look costs what has happened since the last
 * one, not what is waiting. For streams, which remember what they were told; everything else uses
 * a watch.
 *
 * Threads: belong to their loop's thread. */
#ifndef NET_EDGE_H
#define NET_EDGE_H

#include "net/loop.h"

/* Intrusive. |fn| gets EDGE_* bits that have come on since it was last called: bytes or room may be
 * there, until a read or write falls short. SHORT: from now on only a read that finds nothing means
 * that nothing is there, because what ends a read early may come before more bytes or the end: the
 * peer has sent its last byte, or urgent ones, or the connection is in error. */
struct edge {
    void (*fn)(struct edge *e, unsigned events);
};
enum { EDGE_READ = 1, EDGE_WRITE = 2, EDGE_SHORT = 4 };

/* What |fd| is ready for by now is news, too. |e| must live until the end of the turn in which |fd|
 * was closed: events may have been fetched already, so |fn| may still be called. ERR_NOMEM,
 * ERR_FULL. */
NODISCARD enum err edge_add(struct loop *l, int fd, struct edge *e);
/* Closes |fd|, which takes it out: it must not have been duplicated. */
void edge_close(struct loop *l, int fd);

/* For the loop. */
struct edges;
NODISCARD enum err edges_new(struct loop *l, struct edges **ret);
/* Ends with the loop's close callbacks. NULL is fine. */
void edges_close(struct edges *s);

#endif
