/* SPDX-License-Identifier: Apache-2.0 */
/* spool.h - a body on its way through us that is too large for memory, or that another process must
 * read: a memfd while it is small, an unlinked file in the spool directory above. Written once,
 * front to back; read by ranges.
 *
 * Threads: a spool belongs to its loop's thread; writes to files run in the thread pool. */
#ifndef NET_SPOOL_H
#define NET_SPOOL_H

#include "base/chain.h"
#include "net/loop.h"

/* Shared by all loops. The directory is a descriptor, because the gateway may not open paths; its
 * owner removes files spool-* at start, which only a crash can leave. Budgets may be NULL. */
struct spool_settings {
    int dir_fd;            /* -1: memfd only, then |memory_max| is the end: ERR_LIMIT */
    uint64_t memory_max;   /* bytes of one body that stay in a memfd; default 1 MiB */
    uint64_t file_max;     /* bytes of one body at all; ERR_LIMIT above. 0: no limit */
    uint64_t reserve;      /* keep this much free on the file system: ERR_FULL before it is gone */
    struct budget *bytes;  /* all spools together: ERR_FULL */
    struct budget *memory; /* memfd pages count here, too: they are memory. When it is used up, a
                              body goes to its file early; without a directory: ERR_NOMEM */
    uint64_t queue_max;    /* bytes waiting for the pool before spool_is_behind() */
};

struct spool;

/* Copies |s|; the budgets and dir_fd must outlive the spool and every file_ref from it. */
NODISCARD enum err spool_new(struct loop *l, const struct spool_settings *s, struct spool **ret);
/* Takes its own reference to the block. Errors are sticky: once failed, every later call says the
 * same. ERR_BUG after spool_finish(). */
NODISCARD enum err spool_append(struct spool *s, struct slice bytes);
/* Bytes appended so far. */
uint64_t spool_len(const struct spool *s);
/* More is queued than queue_max: stop reading from the peer until |drained| is called (once, from
 * the loop): half of it is written, or the spool failed and the next append says how. */
bool spool_is_behind(struct spool *s, void (*drained)(void *arg), void *arg);
/* No more will be appended. |done| is called on the loop (never inside this call) when every byte
 * is in the file, or with the error that lost one. A memfd is sealed against writing then. */
void spool_finish(struct spool *s, void (*done)(void *arg, enum err err), void *arg);
/* After |done| with OK (also inside it): a read-only descriptor of the whole body, for another
 * process, at offset 0. The caller closes it. -1: errno. A memfd's is read-only by its seals, not
 * by its mode: reopening needs /proc, which the gateway has not. All descriptors of one spool share
 * one file offset: readers that may overlap use pread or mmap. */
int spool_open_readonly(struct spool *s);
/* A new reference, which the caller drops with file_unref(), and which outlives the spool: for
 * chain_append_file(), which takes one of its own. The file, and what it takes of the budgets, goes
 * when the last one is gone; that must be before loop_free(). Read at most the spool_written() of
 * the moment through it; bytes written later may be in another file. NULL when no bytes are there
 * yet. */
struct file_ref *spool_file(struct spool *s);
/* How many leading bytes are in the file by now: what may be read from it. */
uint64_t spool_written(const struct spool *s);
/* From now on |fn| is called on the loop, never inside a call, whenever spool_written() grew
 * through the thread pool, or the spool failed: for whoever takes bytes while others are still
 * appended. What goes into a memfd is there when spool_append() returns, and is not told of. */
void spool_on_written(struct spool *s, void (*fn)(void *arg), void *arg);
/* Drops it; calls no callback any more. A write that is under way ends by itself. NULL is fine. */
void spool_free(struct spool *s);

#endif
