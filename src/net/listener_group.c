/* SPDX-License-Identifier: Apache-2.0 */
/* listener_group.c - how many connections each loop and each listener carries, and which loop
 * should have the next. ICAP clients keep few connections for long, so the kernel's spreading by
 * 4-tuple piles them on one loop; counting does not. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "net/listener_int.h"

/* "Clearly more": a hand-over costs a wake-up, so not for a difference that the next close evens
 * out. */
#define MORE_THAN 4u
/* Nobody may have more than so many times what is left free for others: of a listener that has one
 * client, seven eighths. */
#define SHARE_OF_FREE 7u
/* Below it every connection counts, and there is one client as a rule. */
#define SHARED_MIN 64u

enum err loop_group_new(struct loop *const *loops, unsigned n, struct loop_group **ret)
{
    struct loop_group *g = calloc(1, sizeof *g);
    struct group_member *members = calloc(n, sizeof *members);

    if (!g || !members || pthread_mutex_init(&g->lock, NULL) != 0) {
        free(members);
        free(g);
        return ERR_NOMEM;
    }
    g->n = n;
    g->members = members;
    for (unsigned i = 0; i < n; i++)
        members[i].loop = loops[i];
    *ret = g;
    return OK;
}

void loop_group_free(struct loop_group *g)
{
    struct listener_count *c;

    if (!g)
        return;
    c = atomic_load_explicit(&g->counts, memory_order_acquire);
    while (c) {
        struct listener_count *next = c->next;

        free(c->name);
        free(c);
        c = next;
    }
    (void)pthread_mutex_destroy(&g->lock);
    free(g->members);
    free(g);
}

unsigned loop_group_connections(const struct loop_group *g, unsigned index)
{
    return index < g->n ? atomic_load_explicit(&g->members[index].connections, memory_order_relaxed)
                        : 0;
}

struct group_member *group_member_of(struct loop_group *g, const struct loop *l)
{
    for (unsigned i = 0; i < g->n; i++)
        if (g->members[i].loop == l)
            return &g->members[i];
    return NULL;
}

static struct listener_count *find_count(struct loop_group *g, const char *name)
{
    struct listener_count *c = atomic_load_explicit(&g->counts, memory_order_acquire);

    while (c && strcmp(c->name, name) != 0)
        c = c->next;
    return c;
}

static struct listener_count *add_count(struct loop_group *g, const char *name)
{
    struct listener_count *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->name = span_dup(span_of(name));
    if (!c->name) {
        free(c);
        return NULL;
    }
    c->next = atomic_load_explicit(&g->counts, memory_order_relaxed);
    atomic_store_explicit(&g->counts, c, memory_order_release);
    return c;
}

struct listener_count *group_count_of(struct loop_group *g, const char *name)
{
    struct listener_count *c;

    (void)pthread_mutex_lock(&g->lock);
    c = find_count(g, name);
    if (!c)
        c = add_count(g, name);
    (void)pthread_mutex_unlock(&g->lock);
    return c;
}

struct group_member *group_choose(struct loop_group *g, struct group_member *own)
{
    unsigned mine = atomic_load_explicit(&own->connections, memory_order_relaxed);
    struct group_member *best = own;
    unsigned least = mine;

    if (mine <= MORE_THAN)
        return own;
    for (unsigned i = 0; i < g->n; i++) {
        unsigned n = atomic_load_explicit(&g->members[i].connections, memory_order_relaxed);

        if (n < least) {
            least = n;
            best = &g->members[i];
        }
    }
    return mine - least > MORE_THAN && mine - least > least / 4 ? best : own;
}

unsigned group_source_of(const struct address *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->ss;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->ss;

    if (a->len && a->ss.ss_family == AF_INET)
        return (unsigned)map_hash(&v4->sin_addr, sizeof v4->sin_addr) % SOURCES;
    /* One host has a whole network of 64 bits. An IPv4 address is in the other half. */
    if (a->len && a->ss.ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return (unsigned)map_hash(&v6->sin6_addr, 8) % SOURCES;
    if (a->len && a->ss.ss_family == AF_INET6)
        return (unsigned)map_hash(v6->sin6_addr.s6_addr + 12, 4) % SOURCES;
    return SOURCES;
}

enum err group_may_open(const struct listener_count *c, unsigned max, unsigned source,
                        const char **reterr_why)
{
    unsigned open = atomic_load_explicit(&c->open, memory_order_relaxed);

    if (!max)
        return OK;
    if (open >= max) {
        *reterr_why = "the listener has as many connections as it may";
        return ERR_BUSY;
    }
    if (max >= SHARED_MIN && source < SOURCES &&
        atomic_load_explicit(&c->by_source[source], memory_order_relaxed) / SHARE_OF_FREE >=
            max - open) {
        *reterr_why = "this address has its share of the listener's connections";
        return ERR_BUSY;
    }
    return OK;
}

void listener_connection_ended(struct loop_group *g, struct loop *l, struct listener_settings *s,
                               unsigned source)
{
    struct group_member *m = group_member_of(g, l);
    struct listener_count *c = find_count(g, s->name);

    if (m && c)
        group_count_down(m, c, source);
}

struct listener_settings *listener_settings_ref(struct listener_settings *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void listener_settings_unref(struct listener_settings *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1 && s->destroy)
        s->destroy(s);
}
