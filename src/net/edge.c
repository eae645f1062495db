/* SPDX-License-Identifier: Apache-2.0 */
/* edge.c - libuv polls by level only, so these descriptors have an epoll(7) set of their own, which
 * libuv polls like any other descriptor. */
#include "net/edge.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <uv.h>

#include "net/loop_int.h"

#define EVENTS 256 /* of one epoll_wait(2) */
#define ROUNDS 4u  /* of one turn: what comes meanwhile shall not keep timers waiting */

struct edges {
    uv_poll_t poll;
    int fd;
    unsigned n; /* descriptors */
};

static unsigned edge_events(uint32_t events)
{
    unsigned ret = 0;

    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        return EDGE_READ | EDGE_WRITE | EDGE_SHORT;
    if (events & EPOLLPRI)
        ret |= EDGE_READ | EDGE_SHORT;
    if (events & EPOLLIN)
        ret |= EDGE_READ;
    if (events & EPOLLOUT)
        ret |= EDGE_WRITE;
    return ret;
}

static void on_news(uv_poll_t *h, int status, int uv_events)
{
    struct edges *s = h->data;
    int n = EVENTS;

    (void)status;
    (void)uv_events;
    for (unsigned i = 0; i < ROUNDS && n == EVENTS; i++) {
        struct epoll_event ev[EVENTS];

        n = epoll_wait(s->fd, ev, EVENTS, 0);
        for (int k = 0; k < n; k++) {
            struct edge *e = ev[k].data.ptr;

            e->fn(e, edge_events(ev[k].events));
        }
    }
}

enum err edges_new(struct loop *l, struct edges **ret)
{
    struct edges *s = calloc(1, sizeof *s);
    int r;

    if (!s)
        return ERR_NOMEM;
    s->fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->fd < 0) {
        free(s);
        return ERR_BUSY; /* no descriptors left */
    }
    r = uv_poll_init(loop_uv(l), &s->poll, s->fd);
    if (r != 0) {
        (void)close(s->fd);
        free(s);
        return err_from_errno(-r);
    }
    s->poll.data = s;
    (void)uv_poll_start(&s->poll, UV_READABLE, on_news); /* fails for closing handles only */
    uv_unref((uv_handle_t *)&s->poll);
    *ret = s;
    return OK;
}

static void on_closed(uv_handle_t *h)
{
    struct edges *s = h->data;

    (void)close(s->fd);
    free(s);
}

void edges_close(struct edges *s)
{
    if (s)
        uv_close((uv_handle_t *)&s->poll, on_closed);
}

enum err edge_add(struct loop *l, int fd, struct edge *e)
{
    struct edges *s = loop_edges(l);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET,
                             .data.ptr = e};

    if (epoll_ctl(s->fd, EPOLL_CTL_ADD, fd, &ev) != 0)
        return err_from_errno(errno);
    if (s->n++ == 0)
        uv_ref((uv_handle_t *)&s->poll);
    return OK;
}

void edge_close(struct loop *l, int fd)
{
    struct edges *s = loop_edges(l);

    (void)close(fd);
    if (--s->n == 0)
        uv_unref((uv_handle_t *)&s->poll);
}
