/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - descriptors and signals. What is closed may have been fetched already, or be in libuv's
 * hands, so each one frees itself when that is over. */
#include <stdlib.h>

#include <uv.h>

#include "net/edge.h"
#include "net/loop_int.h"

struct watch {
    struct edge edge;
    struct task gone;
    struct loop *loop;
    int fd;
    watch_fn fn;
    void *arg;
    unsigned armed; /* WATCH_*, which are the EDGE_* of the same names */
};

static void on_ready(struct edge *e, unsigned events)
{
    struct watch *w = CONTAINER_OF(e, struct watch, edge);
    unsigned got = events & w->armed;

    if (w->armed && (events & EDGE_ERROR)) {
        watch_arm(w, 0);
        got = WATCH_READ | WATCH_WRITE;
    }
    if (got)
        w->fn(w->arg, got);
}

enum err watch_new(struct loop *l, int fd, watch_fn fn, void *arg, struct watch **ret)
{
    struct watch *w = calloc(1, sizeof *w);

    if (!w)
        return ERR_NOMEM;
    *w = (struct watch){.edge.fn = on_ready, .loop = l, .fd = fd, .fn = fn, .arg = arg};
    enum err e = edges_add(loop_edges(l), fd, &w->edge);

    if (e) {
        free(w);
        return e;
    }
    *ret = w;
    return OK;
}

void watch_arm(struct watch *w, unsigned events)
{
    if (events == w->armed)
        return;
    edges_level(loop_edges(w->loop), w->fd, &w->edge, w->armed, events);
    w->armed = events;
}

static void free_watch(struct task *t)
{
    free(CONTAINER_OF(t, struct watch, gone));
}

void watch_close(struct watch *w)
{
    if (!w)
        return;
    watch_arm(w, 0);
    edges_remove(loop_edges(w->loop), w->fd);
    w->gone.run = free_watch;
    loop_defer(w->loop, &w->gone);
}

struct signal_watch {
    uv_signal_t signal;
    void (*fn)(void *arg, int signum);
    void *arg;
};

static void on_signal(uv_signal_t *h, int signum)
{
    struct signal_watch *s = h->data;

    s->fn(s->arg, signum);
}

static void free_signal_watch(uv_handle_t *h)
{
    free(h->data);
}

enum err signal_watch_new(struct loop *l, int signum, void (*fn)(void *arg, int signum), void *arg,
                          struct signal_watch **ret)
{
    struct signal_watch *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    int r = uv_signal_init(loop_uv(l), &s->signal);

    if (r != 0) {
        free(s);
        return err_from_errno(-r);
    }
    s->signal.data = s;
    s->fn = fn;
    s->arg = arg;
    r = uv_signal_start(&s->signal, on_signal, signum);
    if (r != 0) {
        signal_watch_close(s);
        return err_from_errno(-r);
    }
    *ret = s;
    return OK;
}

void signal_watch_close(struct signal_watch *s)
{
    if (s)
        uv_close((uv_handle_t *)&s->signal, free_signal_watch);
}
