/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - small things by name, in namespaces: kept in memory (store_memory_new()) or on the disk
 * (store_lmdb_new()); later also by a server that several machines share. Asynchronous: what is
 * asked for is copied, and the answer comes by a task on the asker's loop, never inside the call.
 *
 * Order: operations of one thread are done, and answered, in the order in which it asked. A change
 * is answered when it is durable, as far as the backend is, and an answer never shows what is not.
 *
 * Versions: every entry has one, which no other state of that entry ever had or will have. Who
 * changes what it read hands the version back, so that two writers never overwrite each other
 * unseen. 0 is the version of an entry that is not there.
 *
 * Threads: any may ask; |loop| is the asker's own. Operations must have been answered, or the store
 * freed, before their loop is. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buf.h"
#include "net/loop.h"

#define STORE_SPACE_MAX 32u        /* bytes of a namespace's name */
#define STORE_KEY_MAX   400u       /* bytes, at least 1; any bytes */
#define STORE_VALUE_MAX 65536u     /* bytes */
#define STORE_LIST_MAX  1000u      /* entries of one answer */
#define STORE_ANY       UINT64_MAX /* as a version: whatever is there */
/* A namespace of marks: an entry in it that is called as another namespace, without a value, has
 * another version after each change there, in the same commit (what expires is no change). Whoever
 * wants to know whether anything changed makes it, once and for all. */
#define STORE_MARKS "marks"

struct store;
struct store_op;

struct store_item {
    struct span key, value;
    uint64_t version;
    uint64_t expires_wall_ms; /* 0: never */
};

/* Valid inside |done|. */
struct store_reply {
    enum err err;
    uint64_t version;               /* of put and incr: the new one */
    uint64_t number;                /* of incr: the new one */
    const struct store_item *items; /* of get: one; of list: in the order of their keys' bytes */
    size_t n_items;
    bool more; /* of list: ask again, |after| the last one of these */
};

/* Who asks. */
struct store_asker {
    struct loop *loop;
    void (*done)(void *arg, const struct store_reply *r);
    void *arg;
};

/* |expires_wall_ms|: when it is gone by itself; 0: never. */
struct store_put {
    struct span key, value;
    uint64_t version; /* what it must be now: 0 not there, STORE_ANY whatever it is */
    uint64_t expires_wall_ms;
    bool more; /* the same thread asks for something else at once: a backend may wait for that, and
                  make both durable in one go. If it cannot ask after all, this may be done late */
};

struct store_range {
    struct span prefix; /* of keys; empty: all of the namespace */
    struct span after;  /* keys behind this one; empty: from the first on */
    size_t max;         /* 1..STORE_LIST_MAX */
};

/* All of them: *ret (NULL: not wanted) is good until |done| runs, for store_cancel() alone. |space|
 * is static text of at most STORE_SPACE_MAX bytes. Errors of the call itself, after which |done|
 * never runs: ERR_LIMIT: key, value or range break the limits above; ERR_BUSY: too much waits
 * already; ERR_NOMEM. Errors of the answer: ERR_FULL (the store or the disk), ERR_IO, ERR_NOMEM,
 * ERR_ABORTED (the store was freed), and those named below. */

/* ERR_MISSING. */
NODISCARD enum err store_get(struct store *s, const char *space, struct span key,
                             const struct store_asker *by, struct store_op **ret);
/* ERR_CONFLICT: another version is there, or none; nothing was changed. */
NODISCARD enum err store_put(struct store *s, const char *space, const struct store_put *put,
                             const struct store_asker *by, struct store_op **ret);
/* ERR_MISSING: it was not there; ERR_CONFLICT. |version| 0 means nothing here: ERR_LIMIT. */
NODISCARD enum err store_del(struct store *s, const char *space, struct span key, uint64_t version,
                             const struct store_asker *by, struct store_op **ret);
/* Adds |n| to a number, which is 0 and gets |expires_wall_ms| when it was not there. ERR_SYNTAX:
 * what is there is no number, or would be too large for one. The value is its decimal digits. */
NODISCARD enum err store_incr(struct store *s, const char *space, struct span key, uint64_t n,
                              uint64_t expires_wall_ms, const struct store_asker *by,
                              struct store_op **ret);
/* At most range->max entries, and fewer when they are large (|more| says so). */
NODISCARD enum err store_list(struct store *s, const char *space, const struct store_range *range,
                              const struct store_asker *by, struct store_op **ret);
/* On |loop|'s thread: |done| will not run. What was asked for may happen all the same. */
void store_cancel(struct store_op *op);

/* A number that is another one after anything was written, by whichever process; cheap, any thread.
 * It may change when nothing did. */
uint64_t store_changes(struct store *s);
struct store_counts {
    unsigned waiting;              /* operations, now */
    uint64_t gets, lists, changes; /* that were answered since the start */
    uint64_t full, busy, failed; /* of those asked for: there was no room; too many waited; disk or
                                    memory failed */
    bool up; /* the last reading and the last change went well, so far as the store is concerned */
};
/* Any thread. */
void store_count(const struct store *s, struct store_counts *ret);
/* Whether a change can be counted upon, as far as is known from those before: for whoever has to
 * know that before something else happens. Cheap, any thread. ERR_FULL: what is left is for those
 * who have asked before; it is looked at again by itself. ERR_IO: the last change failed, and only
 * another one shows whether that is over. */
NODISCARD enum err store_ready(struct store *s);
/* Begins to work on what was asked for, now and later: threads are made here, after whatever covers
 * only threads that come later. ERR_NOMEM. */
NODISCARD enum err store_start(struct store *s);
/* What was asked for and not begun is answered ERR_ABORTED. No thread may ask any more. NULL is
 * fine. */
void store_free(struct store *s);

/* In memory, at most |bytes_max| with what the entries cost beside their bytes; over it ERR_FULL,
 * and nothing is thrown out for it that has not expired. |clock|: borrowed. */
NODISCARD enum err store_memory_new(const struct clock *clock, uint64_t bytes_max,
                                    struct store **ret);

struct store_lmdb_settings {
    const char *path;   /* an existing directory of its own, in which only we write */
    uint64_t bytes_max; /* of the file; the largest of all processes that have it open holds */
    const struct clock *clock; /* borrowed */
};
/* In an LMDB environment, which several processes may have open, each of them once. Opens the files
 * here and no other ones later. ERR_IO, ERR_NOMEM, ERR_FULL: |why| has a sentence. */
NODISCARD enum err store_lmdb_new(const struct store_lmdb_settings *set, struct store **ret,
                                  struct buf *why);

#endif
