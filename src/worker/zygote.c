/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/nursery.h"

#define CHANNEL_READS 64u  /* packets of one channel in one turn */
#define CHANNELS_MAX  256u /* loops of all gateway generations: three at most */
#define WORKERS_MAX   1024u
#define AREA          "zygote"

/* A gateway loop. An answer that its full socket did not take waits here, and no request is read
 * meanwhile, so that one is all there can be. Deaths wait in the table of workers. */
struct channel {
    int fd; /* -1: free slot */
    uint32_t serial;
    bool holds_answer;
    bool deaths_wait;
    struct wire_message answer;
    int answer_fd;
};

struct worker {
    pid_t pid;
    uint32_t channel; /* serial */
    bool dead;        /* reaped; DIED has still to be sent */
    uint32_t signal, exit_code;
};

struct zygote {
    int control; /* -1: the supervisor is gone */
    int signals;
    struct nursery nursery;
    uint32_t serial;
    unsigned n_channels, n_workers;
    struct worker workers[WORKERS_MAX]; /* the first n_workers */
    struct channel channels[CHANNELS_MAX];
    struct pollfd polls[2 + CHANNELS_MAX];
};

/* --- channels --- */

static void channel_close(struct zygote *z, struct channel *c)
{
    if (c->holds_answer && c->answer_fd >= 0)
        (void)close(c->answer_fd);
    (void)close(c->fd);
    *c = (struct channel){.fd = -1};
    z->n_channels--;
}

static void channel_add(struct zygote *z, int fd)
{
    int type = 0;
    socklen_t n = sizeof type;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0 || type != SOCK_SEQPACKET ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        log_error(AREA, "a channel that is no SOCK_SEQPACKET socket is refused");
        (void)close(fd);
        return;
    }
    for (size_t i = 0; i < CHANNELS_MAX; i++) {
        if (z->channels[i].fd >= 0)
            continue;
        z->channels[i] = (struct channel){.fd = fd, .serial = ++z->serial, .answer_fd = -1};
        z->n_channels++;
        return;
    }
    log_error(AREA, "more than %u channels; one is refused", CHANNELS_MAX);
    (void)close(fd);
}

/* False when the channel is gone or does not take more now. */
static bool channel_send(struct zygote *z, struct channel *c, const struct wire_message *m, int fd)
{
    enum err e = wire_send(c->fd, m, fd);

    if (e != OK && e != ERR_AGAIN)
        channel_close(z, c);
    return e == OK;
}

static void channel_answer(struct zygote *z, struct channel *c, const struct wire_message *m,
                           int fd)
{
    uint32_t serial = c->serial;

    if (channel_send(z, c, m, fd)) {
        if (fd >= 0)
            (void)close(fd);
    } else if (c->serial == serial) {
        c->holds_answer = true;
        c->answer = *m;
        c->answer_fd = fd;
    } else if (fd >= 0) {
        (void)close(fd); /* the channel failed; the worker sees the end of its socket */
    }
}

/* --- workers --- */

static struct worker *worker_of(struct zygote *z, const struct channel *c, uint32_t pid)
{
    for (unsigned i = 0; i < z->n_workers; i++)
        if ((uint32_t)z->workers[i].pid == pid && z->workers[i].channel == c->serial)
            return &z->workers[i];
    return NULL;
}

static void on_fork(struct zygote *z, struct channel *c, uint32_t id)
{
    struct wire_message m = {.kind = WIRE_FORKED, .forked = {.id = id}};
    enum err e = ERR_BUSY;
    int sock = -1;
    pid_t pid = 0;
    struct buf why;

    buf_init(&why, WIRE_TEXT_MAX - 1);
    if (z->n_workers < WORKERS_MAX)
        e = nursery_fork(&z->nursery, &pid, &sock, &why);
    else
        buf_fmt(&why, "%u workers are alive; that is the limit", WORKERS_MAX);
    if (e == OK) {
        z->workers[z->n_workers++] = (struct worker){.pid = pid, .channel = c->serial};
        m.forked.pid = (uint32_t)pid;
    } else {
        m = (struct wire_message){.kind = WIRE_FORK_FAILED, .fork_failed = {.id = id}};
        (void)span_copy(buf_span(&why), m.fork_failed.text, sizeof m.fork_failed.text);
    }
    channel_answer(z, c, &m, sock);
    buf_done(&why);
}

/* Only a worker of this channel that is not reaped yet, so that the number is still its. */
static void on_kill(struct zygote *z, const struct channel *c, uint32_t pid)
{
    struct worker *w = worker_of(z, c, pid);

    if (w && !w->dead)
        (void)kill(w->pid, SIGKILL);
}

static void channel_read(struct zygote *z, struct channel *c)
{
    struct wire_message m;
    int fd;

    /* Bounded: one gateway that floods must not starve the others. poll() tells of what is left. */
    for (unsigned i = 0; i < CHANNEL_READS && c->fd >= 0 && !c->holds_answer; i++) {
        enum err e = wire_receive(c->fd, &m, &fd);

        if (e == ERR_AGAIN)
            return;
        if (e == OK && m.kind == WIRE_FORK) {
            on_fork(z, c, m.fork.id);
        } else if (e == OK && m.kind == WIRE_KILL) {
            on_kill(z, c, m.kill.pid);
        } else {
            if (e == OK && fd >= 0)
                (void)close(fd);
            if (e == OK || e == ERR_SYNTAX)
                log_error(AREA, "a channel that breaks the protocol is closed");
            channel_close(z, c);
        }
    }
}

/* Sends what waits: the answer first, so that FORKED comes before the same worker's DIED. */
static void channel_flush(struct zygote *z, struct channel *c)
{
    if (c->holds_answer) {
        struct wire_message m = c->answer;
        int fd = c->answer_fd;

        c->holds_answer = false;
        channel_answer(z, c, &m, fd);
    }
    c->deaths_wait = false;
    for (unsigned i = 0; i < z->n_workers && c->fd >= 0 && !c->holds_answer;) {
        struct worker *w = &z->workers[i];
        struct wire_message m = {
            .kind = WIRE_DIED,
            .died = {.pid = (uint32_t)w->pid, .signal = w->signal, .exit_code = w->exit_code}
        };

        if (!w->dead || w->channel != c->serial) {
            i++;
        } else if (channel_send(z, c, &m, -1)) {
            *w = z->workers[--z->n_workers];
        } else if (c->fd >= 0) {
            c->deaths_wait = true;
            return;
        }
    }
}

static struct channel *channel_of(struct zygote *z, uint32_t serial)
{
    for (size_t i = 0; i < CHANNELS_MAX; i++)
        if (z->channels[i].fd >= 0 && z->channels[i].serial == serial)
            return &z->channels[i];
    return NULL;
}

static void on_death(struct zygote *z, pid_t pid, int status)
{
    for (unsigned i = 0; i < z->n_workers; i++) {
        struct worker *w = &z->workers[i];

        if (w->pid != pid || w->dead)
            continue;
        w->dead = true;
        w->signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
        w->exit_code = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 0;
        return;
    }
}

static void reap(struct zygote *z)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    while (read(z->signals, &info, sizeof info) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        on_death(z, pid, status);
    for (unsigned i = 0; i < z->n_workers; i++) {
        struct worker *w = &z->workers[i];
        struct channel *c = w->dead ? channel_of(z, w->channel) : NULL;

        if (c)
            c->deaths_wait = true;
    }
}

/* Nobody is left to tell about these. */
static void forget_orphans(struct zygote *z)
{
    for (unsigned i = 0; i < z->n_workers;)
        if (z->workers[i].dead && !channel_of(z, z->workers[i].channel))
            z->workers[i] = z->workers[--z->n_workers];
        else
            i++;
}

/* --- control and loop --- */

static void control_read(struct zygote *z)
{
    for (;;) {
        struct wire_message m;
        int fd = -1;
        enum err e = wire_receive(z->control, &m, &fd);

        if (e == ERR_AGAIN)
            return;
        if (e == OK && m.kind == WIRE_CHANNEL) {
            channel_add(z, fd);
        } else if (e == OK || e == ERR_SYNTAX) {
            log_error(AREA, "a packet of the supervisor is not understood and left out");
            if (fd >= 0)
                (void)close(fd);
        } else {
            (void)close(z->control);
            z->control = -1;
            return;
        }
    }
}

static nfds_t fill_polls(struct zygote *z)
{
    nfds_t n = 2;

    z->polls[0] = (struct pollfd){.fd = z->control, .events = POLLIN};
    z->polls[1] = (struct pollfd){.fd = z->signals, .events = POLLIN};
    for (size_t i = 0; i < CHANNELS_MAX; i++) {
        const struct channel *c = &z->channels[i];
        short out = c->holds_answer || c->deaths_wait ? POLLOUT : 0;
        short in = c->holds_answer ? 0 : POLLIN;

        if (c->fd >= 0)
            z->polls[n++] = (struct pollfd){.fd = c->fd, .events = (short)(in | out)};
    }
    return n;
}

/* Until there is nobody to serve: a supervisor that died must not take running gateways with it. */
static void loop(struct zygote *z)
{
    while (z->control >= 0 || z->n_channels) {
        nfds_t n = fill_polls(z), at = 2;

        if (poll(z->polls, n, -1) < 0 && errno != EINTR)
            break;
        if (z->polls[1].revents)
            reap(z);
        for (size_t i = 0; i < CHANNELS_MAX && at < n; i++) {
            struct channel *c = &z->channels[i];

            if (c->fd < 0 || z->polls[at].fd != c->fd)
                continue;
            short got = z->polls[at++].revents;

            if ((got & POLLOUT) || c->deaths_wait)
                channel_flush(z, c);
            if (c->fd >= 0 && (got & (POLLIN | POLLHUP | POLLERR)))
                channel_read(z, c);
        }
        forget_orphans(z);
        if (z->control >= 0 && z->polls[0].revents)
            control_read(z);
    }
}

/* The supervisor and the terminal's Ctrl-C reach the whole process group; gateways that drain still
 * need their workers then. The zygote ends when its sockets do. */
static NODISCARD int take_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    sigset_t child;

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &child, NULL) != 0)
        return -1;
    return signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
}

static NODISCARD enum err settle(struct zygote *z, const struct zygote_spec *spec,
                                 struct buf *layers, struct buf *why)
{
    const struct jail_spec jail = {.role = JAIL_ZYGOTE,
                                   .required = spec->required,
                                   .uid = spec->uid,
                                   .gid = spec->gid,
                                   .keep_dir_fd = -1};
    struct jail_report report;

    z->signals = take_signals();
    if (z->signals < 0) {
        buf_fmt(why, "signalfd: %s", strerror(errno));
        return ERR_IO;
    }
    TRY(nursery_init(&z->nursery, spec->engines, spec->required, spec->memory_max, why));
    TRY(jail_enter(&jail, &report, why));
    z->nursery.jail.inherited = report.on;
    return nursery_try(&z->nursery, layers, why);
}

static NODISCARD enum err announce(struct zygote *z, const struct zygote_spec *spec)
{
    struct wire_message m = {.kind = WIRE_READY};
    struct buf layers, why;
    enum err e;

    buf_init(&layers, sizeof m.ready.layers - 1);
    buf_init(&why, sizeof m.broken.text - 1);
    e = settle(z, spec, &layers, &why);
    if (e == OK) {
        (void)span_copy(span_of(spec->engines->text), m.ready.engines, sizeof m.ready.engines);
        (void)span_copy(buf_span(&layers), m.ready.layers, sizeof m.ready.layers);
    } else {
        m.kind = WIRE_BROKEN;
        (void)span_copy(buf_span(&why), m.broken.text, sizeof m.broken.text);
        log_error(AREA, "%s", m.broken.text);
    }
    enum err sent = wire_send(z->control, &m, -1);

    buf_done(&layers);
    buf_done(&why);
    return e != OK ? e : sent;
}

int zygote_run(const struct zygote_spec *spec)
{
    struct zygote *z = calloc(1, sizeof *z);

    if (!z)
        return 1;
    z->control = spec->control;
    for (size_t i = 0; i < CHANNELS_MAX; i++)
        z->channels[i].fd = -1;
    enum err e = announce(z, spec);

    if (e == OK && fcntl(z->control, F_SETFL, O_NONBLOCK) == 0)
        loop(z);
    free(z);
    return e == OK ? 0 : 1;
}
