/* SPDX-License-Identifier: Apache-2.0 */
/* passwords.h - the threads that derive keys from passwords, which takes tens of milliseconds each
 * time: bounded, and below everything else that wants the processor. Whoever waits is served in
 * turn by source, so that one that guesses does not keep the others waiting.
 *
 * Threads: any. */
#ifndef TENANT_PASSWORDS_H
#define TENANT_PASSWORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct passwords;

/* Intrusive: embed it; belongs to the pool until |done| is called, which may free it, or hand it in
 * again. |run| computes, on a thread that may not be given the processor for a while: it holds no
 * lock for long that loops wait for, and wakes nobody. |done| is called afterwards, on a thread
 * like any other; with |dropped| the pool ends, and nothing was computed. */
struct password_job {
    void (*run)(struct password_job *j);
    void (*done)(struct password_job *j, bool dropped);
    struct password_job *next; /* private */
};

/* |queue_max|: jobs that wait, of all sources. ERR_NOMEM also when no thread can be started. */
NODISCARD enum err passwords_new(unsigned threads, unsigned queue_max, struct passwords **ret);
/* Waits for what runs, drops what waits. NULL is fine. */
void passwords_free(struct passwords *p);
/* ERR_BUSY: too many wait, or too many of |source|, which gets at most seven times what is left.
 * ERR_NOMEM. */
NODISCARD enum err passwords_submit(struct passwords *p, struct password_job *j, uint64_t source);

struct passwords_counts {
    unsigned waiting, running, threads;
    uint64_t done, refused;
};
void passwords_count(struct passwords *p, struct passwords_counts *ret);

#endif
