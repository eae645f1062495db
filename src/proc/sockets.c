/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "net/listener.h"
#include "proc/control.h"

#define SYSTEMD_FIRST_FD 3

void sockets_done(struct socket_set *s)
{
    for (unsigned i = 0; i < s->n; i++)
        (void)close(s->v[i].fd);
    free(s->v);
    *s = (struct socket_set){0};
}

static int socket_option(int fd, int option)
{
    int v = 0;
    socklen_t n = sizeof v;

    return getsockopt(fd, SOL_SOCKET, option, &v, &n) == 0 ? v : 0;
}

static enum err entry_fill(struct socket_entry *e, const char *listener, int fd)
{
    socklen_t n = sizeof e->at.ss;
    int flags = fcntl(fd, F_GETFL);

    *e = (struct socket_entry){.fd = fd};
    if (flags < 0 || getsockname(fd, (struct sockaddr *)&e->at.ss, &n) != 0 ||
        socket_option(fd, SO_TYPE) != SOCK_STREAM)
        return ERR_SYNTAX;
    e->at.len = n;
    /* One that is bound only belongs to a listener that waits for its certificate. */
    if (!socket_option(fd, SO_ACCEPTCONN) &&
        (e->at.ss.ss_family == AF_UNIX || address_port(&e->at) == 0))
        return ERR_SYNTAX;
    /* What we open ourselves always has SO_REUSEPORT; so this is known after a takeover, too. */
    e->inherited = !socket_option(fd, SO_REUSEPORT);
    (void)span_copy(span_of(listener), e->listener, sizeof e->listener);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return ERR_IO;
    return OK;
}

enum err sockets_add(struct socket_set *s, const char *listener, int fd)
{
    struct socket_entry e = {.fd = fd};
    enum err err = s->n < SOCKETS_MAX ? entry_fill(&e, listener, fd) : ERR_LIMIT;

    if (!err && s->n == s->cap) {
        unsigned cap = s->cap ? 2 * s->cap : 16;
        struct socket_entry *v = reallocarray(s->v, cap, sizeof *v);

        if (v) {
            s->v = v;
            s->cap = cap;
        } else {
            err = ERR_NOMEM;
        }
    }
    if (err) {
        (void)close(fd);
        return err;
    }
    s->v[s->n++] = e;
    return OK;
}

/* ---- systemd ---- */

/* sd_listen_fds(3). */
static unsigned systemd_count(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t p, n;

    if (!pid || !fds || span_u64(span_of(pid), INT32_MAX, &p) != OK ||
        span_u64(span_of(fds), SOCKETS_MAX, &n) != OK || (pid_t)p != getpid())
        return 0;
    return (unsigned)n;
}

void sockets_from_systemd(struct socket_set *s, struct buf *why)
{
    const char *given = getenv("LISTEN_FDNAMES");
    struct span names = given ? span_of(given) : SPAN_NONE;
    unsigned n = systemd_count();

    for (unsigned i = 0; i < n; i++) {
        struct span name = names.p ? span_cut(&names, ':') : SPAN("unknown");
        char listener[SOCKETS_NAME_MAX];

        (void)span_copy(name, listener, sizeof listener);
        if (sockets_add(s, listener, SYSTEMD_FIRST_FD + (int)i) != OK)
            buf_fmt(why, "descriptor %u ('%s') from $LISTEN_FDS is no listening stream socket; ",
                    SYSTEMD_FIRST_FD + i, listener);
    }
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
}

/* ---- binding ---- */

/* One listener's wishes while its sockets are gathered. */
struct wanted {
    const char *name;
    struct address at;
    int backlog;
    bool waits; /* for its certificate: it gets sockets that refuse */
    unsigned n; /* sockets, one for each loop */
    unsigned threads;
    const struct socket_set *old;
    struct socket_set *ret;
    struct buf *why;
};

static bool host_is_same(const struct address *a, const struct address *b)
{
    char x[ADDRESS_TEXT_MAX], y[ADDRESS_TEXT_MAX];

    return a->ss.ss_family == b->ss.ss_family &&
           strcmp(address_host_text(a, x), address_host_text(b, y)) == 0;
}

/* Port 0 is whatever the listener of that name got the last time. */
static bool fits(const struct wanted *w, const struct socket_entry *e)
{
    bool named = strcmp(e->listener, w->name) == 0;

    if (e->at.ss.ss_family == AF_UNIX)
        return false;
    if (e->inherited && named)
        return true;
    if (!host_is_same(&e->at, &w->at))
        return false;
    return address_port(&w->at) ? address_port(&w->at) == address_port(&e->at) : named;
}

static enum err add_for(struct wanted *w, int fd)
{
    if (fd < 0)
        return err_from_errno(errno);
    TRY(sockets_add(w->ret, w->name, fd));
    return OK;
}

static enum err bind_failed(struct wanted *w, int errnum)
{
    char at[ADDRESS_TEXT_MAX];

    buf_fmt(w->why, "cannot listen on %s for listener '%s': %s", address_text(&w->at, at), w->name,
            strerror(errnum));
    if (errnum == EADDRINUSE)
        buf_text(w->why, "; another program has it: see 'ss -ltnp'");
    else if (errnum == EACCES)
        buf_text(w->why, "; ports below 1024 need root, CAP_NET_BIND_SERVICE or socket activation");
    else if (errnum == EADDRNOTAVAIL)
        buf_text(w->why, "; this machine does not have the address");
    return ERR_IO;
}

/* SO_REUSEPORT would let us share a port with a stranger of the same user, an old instance for
 * example, and each would get a part of the connections. A socket without it is refused then.
 * SO_REUSEADDR only forgives connections in TIME_WAIT. */
static int probe(const struct address *a)
{
    int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1, errnum = 0;

    if (fd < 0)
        return errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&a->ss, a->len) != 0)
        errnum = errno;
    (void)close(fd);
    return errnum;
}

/* Our own socket on the port, for another address of it, would make the probe fail. */
static bool port_is_ours(const struct wanted *w)
{
    for (unsigned i = 0; i < w->old->n; i++)
        if (w->old->v[i].at.ss.ss_family != AF_UNIX &&
            address_port(&w->old->v[i].at) == address_port(&w->at))
            return true;
    return false;
}

static enum err bind_one(struct wanted *w)
{
    int fd = -1, errnum = 0;

    enum err e = w->waits ? listener_socket_closed(&w->at, &fd, &errnum)
                          : listener_socket(&w->at, w->backlog, &fd, &errnum);

    if (e)
        return bind_failed(w, errnum);
    return add_for(w, fd);
}

/* The first socket of a listener; then its port is known. */
static enum err bind_first(struct wanted *w)
{
    int errnum = address_port(&w->at) == 0 || port_is_ours(w) ? 0 : probe(&w->at);

    if (errnum)
        return bind_failed(w, errnum);
    return bind_one(w);
}

/* What arrived at a port that is open would wait for nobody. systemd's are always open: then
 * waiting is what they are for. */
static enum err check_closed(const struct wanted *w, const struct socket_entry *e)
{
    if (!w->waits || e->inherited || !socket_option(e->fd, SO_ACCEPTCONN))
        return OK;
    buf_fmt(w->why,
            "listener '%s' has no certificate that can be used, and its port is open: mend the "
            "files that its tls entry names",
            w->name);
    return ERR_CONFIG;
}

/* Keeps every socket that fits, also when there are more than loops by now: each has a queue of its
 * own. Then adds what is missing. */
static enum err gather(struct wanted *w)
{
    unsigned first = w->ret->n;

    for (unsigned i = 0; i < w->old->n; i++)
        if (fits(w, &w->old->v[i])) {
            TRY(check_closed(w, &w->old->v[i]));
            TRY(add_for(w, fcntl(w->old->v[i].fd, F_DUPFD_CLOEXEC, 3)));
        }
    if (w->ret->n == first)
        TRY(bind_first(w));
    w->at = w->ret->v[first].at;
    while (w->ret->n - first < w->n) {
        if (w->ret->v[first].inherited)
            TRY(add_for(w, fcntl(w->ret->v[first].fd, F_DUPFD_CLOEXEC, 3)));
        else
            TRY(bind_one(w));
    }
    for (unsigned i = first; i < w->ret->n; i++)
        w->ret->v[i].loop = w->n > 1 ? (i - first) % w->threads : 0;
    return OK;
}

static enum err open_listeners(const struct settings *c, struct wanted *w)
{
    for (size_t i = 0; i < c->n_listeners; i++) {
        const struct listener_config *l = &c->listeners[i];

        w->name = l->name;
        w->backlog = l->backlog;
        w->waits = settings_listener_waits(c, l) != NULL;
        w->n = w->threads = c->n_threads;
        if (!settings_address(&l->address, &w->at))
            return ERR_BUG;
        TRY(gather(w));
    }
    if (c->admin.address.kind == CONFIG_ADDRESS_NONE)
        return OK;
    w->name = "admin";
    w->backlog = 64;
    w->waits = false;
    w->n = 1;
    return settings_address(&c->admin.address, &w->at) ? gather(w) : ERR_BUG;
}

static enum err open_control(const struct settings *c, struct wanted *w)
{
    int fd, errnum;

    w->name = "control";
    for (unsigned i = 0; i < w->old->n; i++)
        if (w->old->v[i].at.ss.ss_family == AF_UNIX && strcmp(w->old->v[i].listener, w->name) == 0)
            return add_for(w, fcntl(w->old->v[i].fd, F_DUPFD_CLOEXEC, 3));
    if (control_listen(c->control_path, &fd, &errnum) == OK)
        return add_for(w, fd);
    buf_fmt(w->why, "cannot open the control socket %s: %s", c->control_path, strerror(errnum));
    return ERR_IO;
}

enum err sockets_open(const struct settings *c, const struct socket_set *old,
                      struct socket_set *ret, struct buf *why)
{
    struct socket_set set = {0};
    struct wanted w = {.old = old, .ret = &set, .why = why};
    enum err e = open_listeners(c, &w);

    if (!e)
        e = open_control(c, &w);
    if (e) {
        if (why->n == 0)
            buf_fmt(why, "cannot prepare the sockets of listener '%s': %s", w.name, err_text(e));
        sockets_done(&set);
        return e;
    }
    *ret = set;
    return OK;
}

/* ---- telling ---- */

static bool is_first(const struct socket_set *s, unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (strcmp(s->v[k].listener, s->v[i].listener) == 0)
            return false;
    return s->v[i].at.ss.ss_family != AF_UNIX;
}

void sockets_json(const struct socket_set *s, struct buf *out)
{
    struct json j = json_to(out);
    char at[ADDRESS_TEXT_MAX];

    json_open(&j, NULL, '{');
    for (unsigned i = 0; i < s->n; i++)
        if (is_first(s, i))
            json_text(&j, s->v[i].listener, address_text(&s->v[i].at, at));
    json_close(&j, '}');
}

void sockets_text(const struct socket_set *s, struct buf *out)
{
    char at[ADDRESS_TEXT_MAX];

    for (unsigned i = 0; i < s->n; i++)
        if (is_first(s, i))
            buf_fmt(out, "%s%s=%s", out->n ? " " : "", s->v[i].listener,
                    address_text(&s->v[i].at, at));
}
