/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - descriptors and signals. A libuv handle must outlive its close callback, so each one
 * frees itself there. */
#include <stdlib.h>

#include <uv.h>

#include "net/loop_int.h"

struct watch {
    uv_poll_t poll;
    watch_fn fn;
    void *arg;
    unsigned armed;
};

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct watch *w = h->data;
    unsigned got = 0;

    if (status < 0) {
        w->armed = 0; /* libuv has stopped the handle */
        w->fn(w->arg, WATCH_READ | WATCH_WRITE);
        return;
    }
    if (events & UV_READABLE)
        got |= WATCH_READ;
    if (events & UV_WRITABLE)
        got |= WATCH_WRITE;
    if (got & w->armed)
        w->fn(w->arg, got & w->armed);
}

enum err watch_new(struct loop *l, int fd, watch_fn fn, void *arg, struct watch **ret)
{
    struct watch *w = calloc(1, sizeof *w);

    if (!w)
        return ERR_NOMEM;
    int r = uv_poll_init(loop_uv(l), &w->poll, fd);

    if (r != 0) {
        free(w);
        return err_from_errno(-r);
    }
    w->poll.data = w;
    w->fn = fn;
    w->arg = arg;
    *ret = w;
    return OK;
}

void watch_arm(struct watch *w, unsigned events)
{
    int uv_events = 0;

    if (events == w->armed)
        return;
    w->armed = events;
    if (!events) {
        (void)uv_poll_stop(&w->poll);
        return;
    }
    if (events & WATCH_READ)
        uv_events |= UV_READABLE;
    if (events & WATCH_WRITE)
        uv_events |= UV_WRITABLE;
    (void)uv_poll_start(&w->poll, uv_events, on_poll);
}

static void free_watch(uv_handle_t *h)
{
    free(h->data);
}

void watch_close(struct watch *w)
{
    if (w)
        uv_close((uv_handle_t *)&w->poll, free_watch);
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
        uv_close((uv_handle_t *)&s->signal, free_watch);
}
