/* SPDX-License-Identifier: Apache-2.0 */
#include "net/edge.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net/loop_int.h"

#define EVENTS 256 /* of one epoll_wait(2) */
#define ROUNDS 4u  /* of one turn: what comes meanwhile shall not keep timers waiting */

struct edges {
    int fd;
    unsigned n, n_open; /* descriptors, without the loop's own: those that may be shown; all */
    int n_found;
    struct epoll_event found[EVENTS];
};

enum err edges_new(struct edges **ret)
{
    struct edges *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    s->fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->fd < 0) {
        free(s);
        return ERR_BUSY; /* no descriptors left */
    }
    *ret = s;
    return OK;
}

void edges_free(struct edges *s)
{
    if (!s)
        return;
    (void)close(s->fd);
    free(s);
}

unsigned edges_count(const struct edges *s)
{
    return s->n;
}

unsigned edges_open(const struct edges *s)
{
    return s->n_open;
}

/* ---- looking ---- */

static unsigned edge_events(uint32_t events)
{
    unsigned ret = events & EPOLLERR ? EDGE_ERROR : 0;

    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        return ret | EDGE_READ | EDGE_WRITE | EDGE_SHORT;
    if (events & EPOLLPRI)
        ret |= EDGE_READ | EDGE_SHORT;
    if (events & EPOLLIN)
        ret |= EDGE_READ;
    if (events & EPOLLOUT)
        ret |= EDGE_WRITE;
    return ret;
}

void edges_wait(struct edges *s, int timeout_ms)
{
    s->n_found = epoll_wait(s->fd, s->found, EVENTS, timeout_ms); /* -1: a signal */
}

void edges_tell(struct edges *s)
{
    for (unsigned i = 1;; i++) {
        for (int k = 0; k < s->n_found; k++) {
            struct edge *e = s->found[k].data.ptr;

            e->fn(e, edge_events(s->found[k].events));
        }
        if (s->n_found < EVENTS || i == ROUNDS)
            return;
        edges_wait(s, 0);
    }
}

/* ---- what is looked at ---- */

static enum err control(struct edges *s, int op, int fd, struct edge *e, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = e};

    return epoll_ctl(s->fd, op, fd, &ev) == 0 ? OK : err_from_errno(errno);
}

enum err edges_own(struct edges *s, int fd, struct edge *e, bool news_only)
{
    return control(s, EPOLL_CTL_ADD, fd, e, EPOLLIN | (news_only ? (uint32_t)EPOLLET : 0));
}

/* Errors cannot be masked, but they can be shown once. */
enum err edges_add(struct edges *s, int fd, struct edge *e)
{
    TRY(control(s, EPOLL_CTL_ADD, fd, e, (uint32_t)EPOLLET));
    s->n_open++;
    return OK;
}

void edges_level(struct edges *s, int fd, struct edge *e, unsigned before, unsigned events)
{
    uint32_t wanted = events ? 0 : (uint32_t)EPOLLET;

    if (events & EDGE_READ)
        wanted |= EPOLLIN;
    if (events & EDGE_WRITE)
        wanted |= EPOLLOUT;
    (void)!control(s, EPOLL_CTL_MOD, fd, e, wanted); /* fails for descriptors that are not there */
    s->n += events != 0;
    s->n -= before != 0;
}

void edges_remove(struct edges *s, int fd)
{
    (void)epoll_ctl(s->fd, EPOLL_CTL_DEL, fd, NULL);
    s->n_open--;
}

enum err edge_add(struct loop *l, int fd, struct edge *e)
{
    struct edges *s = loop_edges(l);

    TRY(control(s, EPOLL_CTL_ADD, fd, e,
                EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | (uint32_t)EPOLLET));
    s->n++;
    s->n_open++;
    return OK;
}

void edge_close(struct loop *l, int fd)
{
    struct edges *s = loop_edges(l);

    (void)close(fd);
    s->n--;
    s->n_open--;
}
