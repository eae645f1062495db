/* SPDX-License-Identifier: Apache-2.0 */
/* workers.h - the jailed workers of one loop: asks the zygote for them, gives each one file at a
 * time, replaces those that crash, hang or have done their share. A lost worker costs one file,
 * never a connection.
 *
 * Threads: belongs to its loop's thread, but for workers_counts(). */
#ifndef ADAPT_WORKERS_H
#define ADAPT_WORKERS_H

#include "adapt/adapt_settings.h"
#include "adapt/worker_wire.h"
#include "net/loop.h"

struct workers;
struct worker_job;

/* |objects|: what was found in the file (objects.h), the receiver's; -1: nothing to tell. It is a
 * memfd that is sealed against every change. */
typedef void (*worker_job_fn)(void *arg, const struct scan_result *result, int objects);

struct worker_job_request {
    int fd;               /* read-only; taken over, whatever the call answers */
    uint64_t len;         /* bytes in it */
    unsigned engines;     /* WIRE_ENGINE_* */
    struct span name;     /* declared file name, any bytes; cut to what the wire holds */
    struct span type;     /* Content-Type; ERR_LIMIT when the wire does not hold it */
    struct span encoding; /* Content-Encoding; likewise */
    struct wire_unpack unpack;
    bool want_objects;
    uint64_t client;      /* whose file: those that wait are taken from each client in turn */
    uint64_t deadline_ms; /* loop time: no later than that |done| is called */
    worker_job_fn done;   /* once, never inside the call; not after a cancel */
    void *arg;
};

/* |settings| is copied. */
NODISCARD enum err workers_new(struct loop *l, const struct worker_settings *settings,
                               struct workers **ret);
/* Every open job ends with CAUSE_ENGINE_DOWN first. NULL is fine. */
void workers_free(struct workers *w);
void workers_set_settings(struct workers *w, const struct worker_settings *settings);
/* A channel to a (new) zygote; taken over. Workers of the old one finish their file and go; files
 * that wait are given to the new ones. -1: none. */
void workers_set_channel(struct workers *w, int fd);

/* ERR_BUSY when the queue is full, and no other client has more files in it (then the newest of
 * these ends as overload), ERR_NOMEM, ERR_LIMIT. Without a zygote jobs wait for one until
 * their deadline. */
NODISCARD enum err workers_submit(struct workers *w, const struct worker_job_request *r,
                                  struct worker_job **ret);
/* Would workers_submit() find room for a file of |client| now? For a look before the file is made.
 */
bool workers_have_room(const struct workers *w, uint64_t client);
/* Nobody wants the answer any more. A file that waits is dropped; one that is being inspected runs
 * to its end. */
void workers_cancel(struct worker_job *j);
/* Is there a zygote or a live worker? Otherwise new files will end as engine-down. */
bool workers_are_up(const struct workers *w);

struct workers_counts {
    uint64_t started, jobs, crashed, killed;
    unsigned alive, busy, queued;
};
/* Any thread: figures for status and metrics. */
void workers_counts(const struct workers *w, struct workers_counts *ret);

#endif
