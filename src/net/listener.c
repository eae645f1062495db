/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/listener_int.h"

/* Of one turn, and for how long: the others wait meanwhile. */
#define ACCEPTS_PER_TURN 64u
#define ACCEPT_US        100u
/* What a queue can hold at most (net.core.somaxconn is smaller); against a peer that refills it. */
#define ACCEPTS_AT_STOP 65536u
#define BACKOFF_MS      100u
#define WARN_EVERY_MS   10000u

/* Hand-over. */

struct handover {
    struct task task;
    struct loop_group *group;
    struct group_member *member; /* who takes it */
    const struct listener_events *events;
    void *arg;
    struct listener_count *count;
    struct listener_settings *settings;
    uint64_t accepted_us;
    unsigned source;
    int fd;
    struct address peer;
};

static struct listener *find_sibling(const struct handover *h)
{
    struct listener *li = h->member->listeners;

    while (li && (li->events != h->events || li->arg != h->arg || li->count != h->count))
        li = li->next;
    return li;
}

static void arrive(struct task *t)
{
    struct handover *h = CONTAINER_OF(t, struct handover, task);
    struct listener *li = find_sibling(h);

    if (li) {
        fresh_begin(li, h->fd, &h->peer, h->settings, h->accepted_us, h->source);
    } else { /* freed meanwhile: this process is ending */
        group_count_down(h->member, h->count, h->source);
        listener_settings_unref(h->settings);
        (void)close(h->fd);
    }
    free(h);
}

/* False: not enough memory for it. */
static bool hand_over(struct listener *li, struct group_member *to, int fd,
                      const struct address *peer, uint64_t accepted_us, unsigned source)
{
    struct handover *h = malloc(sizeof *h);

    if (!h)
        return false;
    *h = (struct handover){
        .task = {.run = arrive},
        .group = li->group,
        .member = to,
        .events = li->events,
        .arg = li->arg,
        .count = li->count,
        .settings = listener_settings_ref(li->settings),
        .accepted_us = accepted_us,
        .source = source,
        .fd = fd,
        .peer = *peer,
    };
    group_count_up(to, li->count, source);
    loop_post(to->loop, &h->task);
    return true;
}

/* Accept. */

static void accepted(struct listener *li, int fd, const struct address *peer)
{
    bool proxy = fresh_needs_proxy_header(li->settings, peer);
    unsigned source = proxy ? SOURCES : group_source_of(peer);
    uint64_t now_us = loop_now_us(li->loop);
    struct group_member *to = group_choose(li->group, li->member);
    const char *why;

    if (!proxy && !fresh_is_allowed(li->settings, peer)) {
        li->events->refused(li->arg, li->loop, li->settings, peer, ERR_POLICY, FRESH_NOT_ALLOWED,
                            NULL);
        (void)close(fd);
        return;
    }
    if (group_may_open(li->count, li->settings->connections_max, source, &why) != OK) {
        li->events->refused(li->arg, li->loop, li->settings, peer, ERR_BUSY, why, NULL);
        (void)close(fd);
        return;
    }
    if (to != li->member && hand_over(li, to, fd, peer, now_us, source))
        return;
    group_count_up(li->member, li->count, source);
    fresh_begin(li, fd, peer, listener_settings_ref(li->settings), now_us, source);
}

/* The listening socket stays readable while the queue waits: looking away for a moment is all that
 * keeps this from spinning. */
static void back_off(struct listener *li, int errnum)
{
    static struct log_limit limit;
    uint64_t now = loop_now_ms(li->loop), held;

    if (log_limit_pass(&limit, now, WARN_EVERY_MS, &held))
        log_warn("listener", "%s: cannot accept: %s; trying again in %u ms (held back: %llu)",
                 li->settings->name, strerrordesc_np(errnum), BACKOFF_MS, (unsigned long long)held);
    if (!li->watch)
        return;
    watch_arm(li->watch, 0);
    timer_set(li->loop, &li->backoff, now + BACKOFF_MS);
}

static void on_backoff_end(struct timer *t)
{
    struct listener *li = CONTAINER_OF(t, struct listener, backoff);

    if (li->watch)
        watch_arm(li->watch, WATCH_READ);
}

/* accept(2): errors of the connection that waited, not of ours. */
static bool is_peers_error(int errnum)
{
    switch (errnum) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM: return true;
    default: return false;
    }
}

/* Not after |until_us|, but one. */
static void accept_some(struct listener *li, unsigned max, uint64_t until_us)
{
    for (unsigned i = 0; i < max && !li->freed; i++) {
        struct address peer = {.len = sizeof peer.ss};
        int fd =
            accept4(li->fd, (struct sockaddr *)&peer.ss, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            accepted(li, fd, &peer);
        } else if (errno == EAGAIN) {
            return;
        } else if (!is_peers_error(errno)) {
            back_off(li, errno);
            return;
        }
        if (loop_now_us(li->loop) >= until_us)
            return; /* the socket stays readable while somebody waits */
    }
}

static void on_readable(void *arg, unsigned events)
{
    struct listener *li = arg;

    (void)events;
    accept_some(li, ACCEPTS_PER_TURN, loop_now_us(li->loop) + ACCEPT_US);
}

/* Life. */

static void run_free(struct task *t)
{
    struct listener *li = CONTAINER_OF(t, struct listener, free_task);

    listener_settings_unref(li->settings);
    free(li);
}

enum err listener_new(struct loop *l, struct loop_group *g, int fd,
                      struct listener_settings *settings, const struct listener_events *events,
                      void *arg, struct listener **ret)
{
    struct group_member *member = group_member_of(g, l);
    struct listener_count *count = group_count_of(g, settings->name);
    struct listener *li = calloc(1, sizeof *li);

    assert(member);
    if (!li || !count) {
        free(li);
        return ERR_NOMEM;
    }
    stream_no_delay(fd);
    enum err e = watch_new(l, fd, on_readable, li, &li->watch);

    if (e) {
        free(li);
        return e;
    }
    li->loop = l;
    li->group = g;
    li->member = member;
    li->count = count;
    li->fd = fd;
    li->settings = listener_settings_ref(settings);
    li->events = events;
    li->arg = arg;
    li->backoff.fire = on_backoff_end;
    li->free_task.run = run_free;
    li->next = member->listeners;
    member->listeners = li;
    watch_arm(li->watch, WATCH_READ);
    *ret = li;
    return OK;
}

void listener_set_settings(struct listener *li, struct listener_settings *settings)
{
    struct listener_settings *old = li->settings;

    assert(strcmp(old->name, settings->name) == 0);
    li->settings = listener_settings_ref(settings);
    listener_settings_unref(old);
}

static void stop_watching(struct listener *li)
{
    timer_clear(li->loop, &li->backoff);
    watch_close(li->watch);
    li->watch = NULL;
}

void listener_stop(struct listener *li)
{
    if (!li->watch)
        return;
    stop_watching(li);
    accept_some(li, ACCEPTS_AT_STOP, UINT64_MAX);
}

void listener_free(struct listener *li)
{
    if (!li)
        return;
    stop_watching(li);
    for (struct listener **p = &li->member->listeners; *p; p = &(*p)->next)
        if (*p == li) {
            *p = li->next;
            break;
        }
    fresh_drop_all(li);
    li->freed = true;
    loop_defer(li->loop, &li->free_task);
}

unsigned listener_handshaking(const struct listener *li)
{
    return li->n_fresh;
}

/* Sockets. */

/* |backlog| -1: binds only. */
static int try_listen(const struct address *a, int backlog)
{
    const int one = 1;
    bool v6 = a->ss.ss_family == AF_INET6;
    const struct sockaddr_in6 *sa6 = (const struct sockaddr_in6 *)(const void *)&a->ss;
    int v6only = v6 && !IN6_IS_ADDR_UNSPECIFIED(&sa6->sin6_addr);
    int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
              setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0 &&
              (!v6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) == 0) &&
              bind(fd, (const struct sockaddr *)&a->ss, a->len) == 0 &&
              (backlog < 0 || listen(fd, backlog) == 0);

    if (!ok) {
        int why = errno;

        (void)close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static enum err open_socket(const struct address *a, int backlog, int *ret_fd, int *reterr_errno)
{
    const struct sockaddr_in6 *sa6 = (const struct sockaddr_in6 *)(const void *)&a->ss;
    int fd = try_listen(a, backlog);

    /* "*:PORT" on a machine without IPv6. */
    if (fd < 0 && errno == EAFNOSUPPORT && a->ss.ss_family == AF_INET6 &&
        IN6_IS_ADDR_UNSPECIFIED(&sa6->sin6_addr)) {
        struct sockaddr_in sa4 = {.sin_family = AF_INET, .sin_port = sa6->sin6_port};
        struct address any = {.len = sizeof sa4};

        memcpy(&any.ss, &sa4, sizeof sa4);
        fd = try_listen(&any, backlog);
    }
    if (fd < 0) {
        *reterr_errno = errno;
        return err_from_errno(errno);
    }
    *ret_fd = fd;
    return OK;
}

enum err listener_socket(const struct address *a, int backlog, int *ret_fd, int *reterr_errno)
{
    return open_socket(a, backlog < 0 ? 0 : backlog, ret_fd, reterr_errno);
}

enum err listener_socket_closed(const struct address *a, int *ret_fd, int *reterr_errno)
{
    return open_socket(a, -1, ret_fd, reterr_errno);
}
