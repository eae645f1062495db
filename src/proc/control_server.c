/* SPDX-License-Identifier: Apache-2.0 */
/* control_server.c - the gateway's side of the control socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "base/json.h"
#include "base/log.h"
#include "proc/control.h"

#define CLIENTS_MAX    16u
#define LINE_MAX       4096u
#define ANSWER_MAX     (32u << 20)
#define BATCH_MAX      200u /* the kernel takes 253 (SCM_MAX_FD) */
#define COMMAND_MS     5000u
#define AFTER_TAKEOVER 300000u /* until the next gateway is ready and this one is told to drain */

struct control_ticket {
    struct client *client; /* NULL: gone */
};

struct client {
    struct control_server *server;
    int fd;
    uid_t uid;
    struct watch *watch;
    struct timer timer;
    char in[LINE_MAX];
    size_t in_n;
    struct buf out;
    size_t out_sent;
    unsigned sockets_sent, n_sockets; /* descriptors that follow |out| */
    uint64_t idle_ms;
    bool last;                     /* close when the answer is out */
    struct control_ticket *ticket; /* of the command that is being answered */
    bool asking;                   /* inside the call that took it */
};

struct control_server {
    struct loop *loop;
    int fd;
    struct watch *watch;
    struct control_handler handler;
    struct client *clients[CLIENTS_MAX];
    unsigned n_clients;
    struct task drain_task;
    uint64_t drain_ms;
    bool drain_posted, freed;
};

static void client_free(struct client *c)
{
    struct control_server *s = c->server;

    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (s->clients[i] == c)
            s->clients[i] = NULL;
    s->n_clients--;
    if (c->ticket)
        c->ticket->client = NULL;
    timer_clear(s->loop, &c->timer);
    watch_close(c->watch);
    (void)close(c->fd);
    buf_done(&c->out);
    free(c);
    watch_arm(s->watch, WATCH_READ);
}

static void client_timeout(struct timer *t)
{
    client_free(CONTAINER_OF(t, struct client, timer));
}

/* ---- commands ---- */

static void answer_error(struct client *c, const char *text)
{
    struct json j = json_to(&c->out);

    json_open(&j, NULL, '{');
    json_text(&j, "error", text);
    json_close(&j, '}');
}

static void answer_takeover(struct client *c)
{
    const struct control_handler *h = &c->server->handler;
    struct json j = json_to(&c->out);
    const char *listener;
    unsigned loop, n = 0;
    int fd;

    json_open(&j, NULL, '{');
    json_open(&j, "sockets", '[');
    for (; n < CONTROL_SOCKETS_MAX && h->socket(h->arg, n, &listener, &loop, &fd); n++) {
        json_open(&j, NULL, '{');
        json_text(&j, "listener", listener);
        json_u64(&j, "loop", loop);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    c->sockets_sent = 0;
    c->n_sockets = n;
    c->idle_ms = AFTER_TAKEOVER;
}

static void drain_run(struct task *t)
{
    struct control_server *s = CONTAINER_OF(t, struct control_server, drain_task);

    s->drain_posted = false;
    if (s->freed)
        free(s);
    else
        s->handler.drain(s->handler.arg, s->drain_ms);
}

static void answer_drain(struct client *c, const json_t *command)
{
    struct control_server *s = c->server;
    const json_t *ms = json_object_get(command, "ms");
    json_int_t v = json_integer_value(ms);

    if (!json_is_integer(ms) || v < 0) {
        answer_error(c, "drain needs \"ms\": milliseconds until what still runs is cut off");
        return;
    }
    s->drain_ms = (uint64_t)v;
    if (!s->drain_posted)
        loop_defer(s->loop, &s->drain_task);
    s->drain_posted = true;
    buf_text(&c->out, "{\"ok\":true}");
}

/* Commands that the gateway knows and this file does not. */
static bool answer_other(struct client *c, const char *name, const json_t *command)
{
    const struct control_handler *h = &c->server->handler;

    if (!name || !h->command || !h->command(h->arg, name, command, c->uid, &c->out))
        return false;
    if (c->out.err) {
        buf_reset(&c->out);
        answer_error(c, "the answer does not fit");
    }
    return true;
}

static bool answer_later(struct client *c, const char *name, const json_t *command)
{
    const struct control_handler *h = &c->server->handler;
    struct control_ticket *t = name && h->command_later ? calloc(1, sizeof *t) : NULL;

    if (!t)
        return false;
    t->client = c;
    c->ticket = t;
    c->asking = true;
    bool known = h->command_later(h->arg, name, command, c->uid, t);

    c->asking = false;
    if (!known) {
        c->ticket = NULL;
        free(t);
    }
    return known;
}

static void answer(struct client *c, struct span line)
{
    json_error_t why;
    json_t *command = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &why);
    struct span name = span_of(json_string_value(json_object_get(command, "command")));

    buf_reset(&c->out);
    c->out_sent = 0;
    if (!command)
        answer_error(c, "a command is one line of JSON, as {\"command\":\"status\"}");
    else if (span_eq(name, SPAN("status")))
        c->server->handler.status(c->server->handler.arg, &c->out);
    else if (span_eq(name, SPAN("takeover")))
        answer_takeover(c);
    else if (span_eq(name, SPAN("drain")))
        answer_drain(c, command);
    else if (!answer_other(c, name.p, command) && !answer_later(c, name.p, command))
        answer_error(c, "unknown command; docs/guide/control-protocol.md lists them");
    if (!c->ticket)
        buf_char(&c->out, '\n');
    json_decref(command);
}

/* ---- bytes ---- */

static enum err send_batch(struct client *c)
{
    const struct control_handler *h = &c->server->handler;
    unsigned n = c->n_sockets - c->sockets_sent;
    union {
        char bytes[CMSG_SPACE(BATCH_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    char lf = '\n';
    struct iovec iov = {.iov_base = &lf, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes};
    int fds[BATCH_MAX];

    if (n > BATCH_MAX)
        n = BATCH_MAX;
    for (unsigned i = 0; i < n; i++) {
        const char *listener;
        unsigned loop;

        if (!h->socket(h->arg, c->sockets_sent + i, &listener, &loop, &fds[i]))
            return ERR_BUG;
    }
    msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
    if (sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return err_from_errno(errno);
    c->sockets_sent += n;
    return OK;
}

/* OK: nothing is left to write. */
static enum err client_write(struct client *c)
{
    while (c->out_sent < c->out.n) {
        ssize_t n = send(c->fd, c->out.p + c->out_sent, c->out.n - c->out_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return err_from_errno(errno);
        c->out_sent += (size_t)n;
    }
    while (c->sockets_sent < c->n_sockets)
        TRY(send_batch(c));
    return OK;
}

static enum err client_read(struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_n, sizeof c->in - c->in_n, MSG_DONTWAIT);

    if (n < 0)
        return err_from_errno(errno);
    if (n == 0)
        return ERR_EOF;
    c->in_n += (size_t)n;
    return OK;
}

/* Answers the first whole line of |in|, if there is one. */
static bool client_answer(struct client *c)
{
    size_t end = span_find((struct span){c->in, c->in_n}, '\n');

    if (end == c->in_n && end == sizeof c->in) {
        buf_reset(&c->out);
        c->out_sent = 0;
        answer_error(c, "the line is too long");
        buf_char(&c->out, '\n');
        c->last = true;
        c->in_n = 0;
        return true;
    }
    if (end == c->in_n)
        return false;
    answer(c, (struct span){c->in, end});
    c->in_n -= end + 1;
    memmove(c->in, c->in + end + 1, c->in_n);
    return true;
}

/* An answer is written whole before the next command is looked at; a client that does not read is
 * cut off by its timer. */
static enum err client_pump(struct client *c)
{
    for (unsigned round = 0; round < 64; round++) {
        enum err e = client_write(c);

        if (e == ERR_AGAIN) {
            watch_arm(c->watch, WATCH_WRITE);
            return OK;
        }
        TRY(e);
        if (c->last)
            return ERR_EOF;
        if (c->ticket) { /* its answer comes by itself */
            watch_arm(c->watch, 0);
            return OK;
        }
        if (client_answer(c)) {
            TRY(c->out.err);
            timer_set(c->server->loop, &c->timer, loop_now_ms(c->server->loop) + c->idle_ms);
            continue;
        }
        e = client_read(c);
        if (e && e != ERR_AGAIN)
            return e;
        if (e)
            break;
    }
    watch_arm(c->watch, WATCH_READ);
    return OK;
}

static void on_client(void *arg, unsigned events)
{
    struct client *c = arg;

    (void)events;
    if (client_pump(c) != OK)
        client_free(c);
}

void control_answer(struct control_ticket *ticket, struct span line)
{
    struct client *c = ticket->client;

    free(ticket);
    if (!c)
        return;
    c->ticket = NULL;
    buf_add(&c->out, line);
    if (c->asking)
        return;
    buf_char(&c->out, '\n');
    timer_set(c->server->loop, &c->timer, loop_now_ms(c->server->loop) + c->idle_ms);
    on_client(c, 0);
}

static bool peer_may(int fd, uid_t *ret_uid)
{
    struct ucred who;
    socklen_t n = sizeof who;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0)
        return false;
    *ret_uid = who.uid;
    return who.uid == 0 || who.uid == geteuid();
}

static void client_new(struct control_server *s, int fd)
{
    struct client *c = calloc(1, sizeof *c);

    if (!c || watch_new(s->loop, fd, on_client, c, &c->watch) != OK) {
        free(c);
        (void)close(fd);
        return;
    }
    c->server = s;
    c->fd = fd;
    c->idle_ms = COMMAND_MS;
    c->timer.fire = client_timeout;
    buf_init(&c->out, ANSWER_MAX);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (!s->clients[i]) {
            s->clients[i] = c;
            break;
        }
    s->n_clients++;
    timer_set(s->loop, &c->timer, loop_now_ms(s->loop) + c->idle_ms);
    if (!peer_may(fd, &c->uid)) {
        answer_error(c, "only root and the user that Sallyport runs as may ask");
        buf_char(&c->out, '\n');
        c->last = true;
        log_warn("control", "refused a client that runs as another user");
    }
    on_client(c, 0);
}

static void on_accept(void *arg, unsigned events)
{
    struct control_server *s = arg;

    (void)events;
    while (s->n_clients < CLIENTS_MAX) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0 && errno == EINTR)
            continue;
        if (fd < 0)
            return;
        client_new(s, fd);
    }
    watch_arm(s->watch, 0); /* client_free() arms it again */
}

enum err control_server_new(struct loop *l, int fd, const struct control_handler *h,
                            struct control_server **ret)
{
    struct control_server *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    *s = (struct control_server){
        .loop = l, .fd = fd, .handler = *h, .drain_task = {.run = drain_run}};
    enum err e = watch_new(l, fd, on_accept, s, &s->watch);

    if (e) {
        free(s);
        return e;
    }
    watch_arm(s->watch, WATCH_READ);
    *ret = s;
    return OK;
}

void control_server_free(struct control_server *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (c->clients[i])
            client_free(c->clients[i]);
    watch_close(c->watch);
    c->watch = NULL;
    c->freed = true;
    if (!c->drain_posted) /* else drain_run() frees it */
        free(c);
}
