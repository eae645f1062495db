/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - one event loop per thread, shared nothing. libuv gives signals, the thread pool and file
 * watching; this header is all that the rest of the tree sees of it. Nothing may block on a loop
 * thread.
 *
 * Threads: everything here belongs to the loop's own thread, except loop_post(), loop_stop() and
 * loop_figures(). */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/loop_load.h"

struct loop;

/* Intrusive: embed it, recover the owner with CONTAINER_OF. Owned by the loop while queued. */
struct task {
    void (*run)(struct task *t);
    struct task *next;
};

/* |clock|: borrowed; &clock_system, or a test's. |index|: 0.. of the process's loops. */
NODISCARD enum err loop_new(unsigned index, const struct clock *clock, struct loop **ret);
/* Runs until loop_stop(). */
void loop_run(struct loop *l);
/* One turn, for tests and small clients: waits at most until the next event when |wait|. False:
 * nothing is left that could happen, except posts from other threads, for which it does not wait.
 * With a test's clock, timers fire by that clock. */
bool loop_turn(struct loop *l, bool wait);
void loop_stop(struct loop *l);
/* After loop_run() returned, on the same thread or after joining it. Runs what is still posted or
 * deferred, ends lingering streams, waits for work in the pool. Streams, listeners and watches must
 * be closed by then. */
void loop_free(struct loop *l);
unsigned loop_index(const struct loop *l);
const struct clock *loop_clock(const struct loop *l);
/* Time at the beginning of this turn, ms, monotonic. */
uint64_t loop_now_ms(const struct loop *l);
/* Fresh, for timings. */
uint64_t loop_now_us(const struct loop *l);
/* Any thread: how long its turns are. */
void loop_figures(const struct loop *l, struct loop_load_figures *ret);
/* IMF-fixdate of this second, cached. Valid for this turn. */
const char *loop_http_date(struct loop *l);

/* From any thread: runs on the loop's thread, in order of posting, on a later turn. loop_free()
 * waits for calls that are not quite over although their task has run. */
void loop_post(struct loop *l, struct task *t);
/* On the own thread: runs after the current callback has returned, before the loop waits again. A
 * callback never runs inside the call that caused it; objects are freed only here. */
void loop_defer(struct loop *l, struct task *t);
/* The same, but after the events that wait by now: for work that goes on and lets others pass. */
void loop_yield(struct loop *l, struct task *t);

/* Whose connections are served next: see fair_queue.h. */
struct fair_queue *loop_turns(struct loop *l);

/* Work for the thread pool (files, DNS; nothing that computes for long). |run| in the pool, then
 * |done| on the loop. */
struct work {
    void (*run)(struct work *w);
    void (*done)(struct work *w);
    struct loop *loop;
    void *handle; /* private */
};
NODISCARD enum err loop_work(struct loop *l, struct work *w);

/* Deadlines on a wheel that says how long to wait; moving one costs a store. Resolution about 10
 * ms; never early. */
struct timer {
    void (*fire)(struct timer *t);
    uint64_t at_ms;   /* UINT64_MAX: off */
    uint64_t slot_ms; /* private: where it hangs in the wheel */
    struct timer *prev, *next;
};
/* Zeroed timers with |fire| set are fine. Setting a set timer moves it. */
void timer_set(struct loop *l, struct timer *t, uint64_t at_ms);
void timer_clear(struct loop *l, struct timer *t);

/* A descriptor to wait for. The descriptor stays the caller's; close the watch before closing it.
 */
struct watch;
enum { WATCH_READ = 1, WATCH_WRITE = 2 };
typedef void (*watch_fn)(void *arg, unsigned events);
NODISCARD enum err watch_new(struct loop *l, int fd, watch_fn fn, void *arg, struct watch **ret);
/* Level-triggered; 0 disarms. Cheap when nothing changes. A descriptor in error disarms the watch
 * and reports both events: the next read or write says what it is. */
void watch_arm(struct watch *w, unsigned events);
/* No callback after this; NULL is fine. */
void watch_close(struct watch *w);

/* Calls |fn| on the loop for each |signum| of the process. The watch closes like any other. */
struct signal_watch;
NODISCARD enum err signal_watch_new(struct loop *l, int signum, void (*fn)(void *arg, int signum),
                                    void *arg, struct signal_watch **ret);
void signal_watch_close(struct signal_watch *s);

/* Calls |fn| some time (about 200 ms, debounced) after something in the directory |path|, or the
 * file |path|, changed. A file may be replaced by rename or not exist yet: its directory is watched
 * (which must exist), and a link's target with it. May call when nothing changed. */
struct path_watch;
NODISCARD enum err path_watch_new(struct loop *l, const char *path, void (*fn)(void *arg),
                                  void *arg, struct path_watch **ret);
void path_watch_close(struct path_watch *p);

#endif
