/* SPDX-License-Identifier: Apache-2.0 */
/* listener_int.h - bodies of group and listener, for their files. */
#ifndef NET_LISTENER_INT_H
#define NET_LISTENER_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "net/listener.h"

/* Sources are counted by a hash of their address. Two that share a place are refused a little
 * earlier than they would be, when the listener is nearly full. */
#define SOURCES 1024u

/* Open connections of one listener name on all loops. Made once per name, freed with the group. */
struct listener_count {
    struct listener_count *next;
    char *name;
    _Atomic unsigned open;
    _Atomic unsigned by_source[SOURCES];
};

struct group_member {
    struct loop *loop;
    _Atomic unsigned connections; /* any thread */
    struct listener *listeners;   /* the loop's own thread */
};

struct loop_group {
    unsigned n;
    struct group_member *members;
    pthread_mutex_t lock; /* for adding to |counts|, which only grows at its head */
    _Atomic(struct listener_count *) counts;
};

struct listener {
    struct loop *loop;
    struct loop_group *group;
    struct group_member *member;
    struct listener *next; /* of the member */
    struct listener_count *count;
    int fd;
    struct watch *watch; /* NULL: stopped */
    struct listener_settings *settings;
    const struct listener_events *events;
    void *arg;
    struct timer backoff; /* no descriptors: look again then */
    struct fresh *fresh;  /* connections that are not open yet */
    unsigned n_fresh;
    bool freed;
    struct task free_task;
};

struct group_member *group_member_of(struct loop_group *g, const struct loop *l);
/* NULL: out of memory. */
struct listener_count *group_count_of(struct loop_group *g, const char *name);
/* The member that should carry a connection that |own| accepted. */
struct group_member *group_choose(struct loop_group *g, struct group_member *own);

/* The place of |a| in by_source. */
unsigned group_source_of(const struct address *a);
/* May this source have one more of |max| connections (0: no limit)? OK, or ERR_BUSY and why. */
NODISCARD enum err group_may_open(const struct listener_count *c, unsigned max, unsigned source,
                                  const char **reterr_why);

static inline void group_count_up(struct group_member *m, struct listener_count *c, unsigned source)
{
    atomic_fetch_add_explicit(&m->connections, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->open, 1, memory_order_relaxed);
    if (source < SOURCES)
        atomic_fetch_add_explicit(&c->by_source[source], 1, memory_order_relaxed);
}

static inline void group_count_down(struct group_member *m, struct listener_count *c,
                                    unsigned source)
{
    atomic_fetch_sub_explicit(&m->connections, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&c->open, 1, memory_order_relaxed);
    if (source < SOURCES)
        atomic_fetch_sub_explicit(&c->by_source[source], 1, memory_order_relaxed);
}

/* listener_fresh.c: must |peer| begin with a PROXY header, and may it, or whom its header names,
 * connect at all? */
bool fresh_needs_proxy_header(const struct listener_settings *s, const struct address *peer);
bool fresh_is_allowed(const struct listener_settings *s, const struct address *peer);
#define FRESH_NOT_ALLOWED "this address may not connect: it is not in the listener's allow list"

/* listener_fresh.c: an accepted descriptor, counted, on its way to be open. Takes |fd| and the
 * reference |settings|. */
void fresh_begin(struct listener *li, int fd, const struct address *peer,
                 struct listener_settings *settings, uint64_t accepted_us, unsigned source);
/* All of |li|, without a word. */
void fresh_drop_all(struct listener *li);

#endif
