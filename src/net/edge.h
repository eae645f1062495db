/* SPDX-License-Identifier: Apache-2.0 */
/* edge.h - the descriptors that a loop waits for: one epoll(7) set.
 *
 * Streams are told of news only (EPOLLET): one that is ready and has to wait for its turn is not
 * shown again at each look, so that a look costs what has happened since the last one, not what is
 * waiting. Streams remember what they were told; everything else is shown as long as it is ready
 * (watches, and libuv, whose own set is a descriptor like any other).
 *
 * Threads: belong to their loop's thread. */
#ifndef NET_EDGE_H
#define NET_EDGE_H

#include "net/loop.h"

/* Intrusive. |fn| gets EDGE_* bits; of a stream those that have come on since it was last called:
 * bytes or room may be there, until a read or write falls short. SHORT: from now on only a read
 * that finds nothing means that nothing is there, because what ends a read early may come before
 * more bytes or the end: the peer has sent its last byte, or urgent ones, or the connection is in
 * error. ERROR: that it is, beside all of the others. */
struct edge {
    void (*fn)(struct edge *e, unsigned events);
};
enum { EDGE_READ = 1, EDGE_WRITE = 2, EDGE_SHORT = 4, EDGE_ERROR = 8 };

/* What |fd| is ready for by now is news, too. |e| must live until the end of the turn in which |fd|
 * was closed: events may have been fetched already, so |fn| may still be called. ERR_NOMEM,
 * ERR_FULL. */
NODISCARD enum err edge_add(struct loop *l, int fd, struct edge *e);
/* Closes |fd|, which takes it out: it must not have been duplicated. */
void edge_close(struct loop *l, int fd);

/* For the loop and its watches. */
struct edges;
NODISCARD enum err edges_new(struct edges **ret);
void edges_free(struct edges *s); /* NULL is fine */
/* Streams that are open, and watches that wait for something. */
unsigned edges_count(const struct edges *s);
/* Streams and watches that are open. */
unsigned edges_open(const struct edges *s);
/* Waits for |timeout_ms| at most (-1: without an end). */
void edges_wait(struct edges *s, int timeout_ms);
/* Tells what edges_wait() found, and what comes meanwhile. */
void edges_tell(struct edges *s);
/* News of |fd| that nobody counts: the loop's own. */
NODISCARD enum err edges_own(struct edges *s, int fd, struct edge *e, bool news_only);
/* Puts |fd| in, and takes it out again. Between them it is shown while it is ready for what
 * edges_level() named last (READ, WRITE; |before|: what it named before that, first 0), and in
 * error. ERR_NOMEM, ERR_FULL, ERR_IO: not a descriptor that can be waited for. */
NODISCARD enum err edges_add(struct edges *s, int fd, struct edge *e);
void edges_level(struct edges *s, int fd, struct edge *e, unsigned before, unsigned events);
void edges_remove(struct edges *s, int fd);

#endif
