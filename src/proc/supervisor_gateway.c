/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/generation_text.h"
#include "proc/supervisor_int.h"

/* ---- packets that wait for room in the socket ---- */

struct packet {
    struct packet *next;
    int fd; /* -1: none; ours */
    size_t n;
    char bytes[];
};

static void packet_free(struct packet *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    /* Paths and texts of errors only: nothing to wipe. */
    free(p);
}

static void gateway_flush(struct gateway *g)
{
    while (g->first) {
        struct packet *p = g->first;
        enum err e = proc_send_packet(g->control, (struct span){p->bytes, p->n}, p->fd);

        if (e == ERR_AGAIN) {
            watch_arm(g->watch, WATCH_READ | WATCH_WRITE);
            return;
        }
        g->first = p->next;
        if (!g->first)
            g->last = &g->first;
        packet_free(p); /* after an error, too: SIGCHLD will come */
    }
    watch_arm(g->watch, WATCH_READ);
}

/* Takes |fd| over in any case. */
static enum err gateway_queue(struct gateway *g, const struct proc_message *m, int fd)
{
    char bytes[PROC_PACKET_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);
    enum err e = proc_encode(m, &w);
    struct packet *p = e ? NULL : malloc(sizeof *p + w.n);

    if (!p) {
        if (fd >= 0)
            (void)close(fd);
        return e ? e : ERR_NOMEM;
    }
    *p = (struct packet){.fd = fd, .n = w.n};
    memcpy(p->bytes, bytes, w.n);
    *g->last = p;
    g->last = &p->next;
    return OK;
}

/* A duplicate: what waits must not depend on what happens to the original. */
static enum err queue_shared(struct gateway *g, const struct proc_message *m, int fd)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    return own < 0 ? ERR_BUSY : gateway_queue(g, m, own);
}

static enum err queue_memfd(struct gateway *g, const struct proc_message *m, struct span text)
{
    int fd = text_memfd(m->kind == PROC_CONFIG ? "sallyport-config" : "sallyport-file", text);

    return fd < 0 ? ERR_NOMEM : gateway_queue(g, m, fd);
}

static enum err queue_text(struct gateway *g, enum proc_kind kind, const char *name,
                           struct span text, bool is_list)
{
    struct proc_message m = {.kind = kind, .number = g->set, .live = is_list};

    (void)span_copy(span_of(name), m.text, sizeof m.text);
    return queue_memfd(g, &m, text);
}

static enum err queue_file(struct gateway *g, const struct settings_file *f)
{
    struct proc_message m = {
        .kind = PROC_FILE, .number = g->set, .loop = f->owner, .live = f->is_list};

    (void)span_copy(span_of(f->path), m.text, sizeof m.text);
    return queue_memfd(g, &m, f->text);
}

/* ---- sets ---- */

/* What the configuration names no file for. */
static enum err queue_made_up(struct gateway *g, const struct settings_loaded *l)
{
    char flags[16];
    struct writer w = writer_of(flags, sizeof flags);

    write_dec(&w, l->environment_flags);
    TRY(queue_text(g, PROC_FILE, GENERATION_FLAGS, writer_span(&w), true));
    return queue_text(g, PROC_FILE, GENERATION_TICKET_SECRET, g->sup->ticket_secret, false);
}

static enum err queue_texts(struct gateway *g, const struct settings_loaded *l)
{
    TRY(queue_text(g, PROC_CONFIG, l->file, l->config_text, false));
    for (unsigned i = 0; i < l->n_files; i++)
        TRY(queue_file(g, &l->files[i]));
    return queue_made_up(g, l);
}

static enum err queue_begin(struct gateway *g, bool live)
{
    struct proc_message m = {.kind = PROC_BEGIN, .threads = g->threads, .live = live};

    m.number = g->set = ++g->sup->sets;
    return gateway_queue(g, &m, -1);
}

static enum err queue_end(struct gateway *g)
{
    struct proc_message m = {.kind = PROC_END, .number = g->set};

    TRY(gateway_queue(g, &m, -1));
    g->answer_due = true;
    timer_set(g->sup->loop, &g->deadline, loop_now_ms(g->sup->loop) + READY_MS);
    return OK;
}

static enum err queue_sockets(struct gateway *g, const struct socket_set *sockets)
{
    for (unsigned i = 0; i < sockets->n; i++) {
        struct proc_message m = {.kind = PROC_SOCKET, .loop = sockets->v[i].loop};

        (void)span_copy(span_of(sockets->v[i].listener), m.text, sizeof m.text);
        TRY(queue_shared(g, &m, sockets->v[i].fd));
    }
    return OK;
}

static enum err queue_workers(struct gateway *g, struct zygote *z)
{
    for (unsigned i = 0; z && i < g->threads; i++) {
        struct proc_message m = {.kind = PROC_WORKERS, .loop = i};
        int fd = zygote_channel(z);

        (void)span_copy(span_of(z->engines), m.text, sizeof m.text);
        if (fd < 0)
            return ERR_ENGINE;
        TRY(gateway_queue(g, &m, fd));
    }
    return OK;
}

static enum err queue_set(struct gateway *g, const struct gateway_parts *p)
{
    struct proc_message spool = {.kind = PROC_SPOOL}, records = {.kind = PROC_RECORDS},
                        chain = {.kind = PROC_CHAIN}, exceptions = {.kind = PROC_EXCEPTIONS},
                        store = {.kind = PROC_STORE};

    TRY(queue_begin(g, false));
    g->generation = g->set;
    TRY(queue_texts(g, p->loaded));
    TRY(queue_sockets(g, p->sockets));
    TRY(queue_shared(g, &spool, p->spool_fd));
    if (p->records_fd >= 0)
        TRY(queue_shared(g, &records, p->records_fd));
    if (p->chain_fd >= 0)
        TRY(queue_shared(g, &chain, p->chain_fd));
    TRY(queue_shared(g, &exceptions, p->exceptions_fd));
    TRY(queue_shared(g, &store, p->store_fd));
    /* A zygote that died a moment ago is replaced, and then the gateway hears of the new one. */
    enum err e = queue_workers(g, p->zygote);

    if (e && e != ERR_ENGINE)
        return e;
    return queue_end(g);
}

enum err gateway_send_live(struct gateway *g, const struct settings_loaded *l)
{
    TRY(queue_begin(g, true));
    TRY(queue_texts(g, l));
    TRY(queue_end(g));
    gateway_flush(g);
    return OK;
}

enum err gateway_send_workers(struct gateway *g, struct zygote *z)
{
    enum err e = queue_workers(g, z);

    gateway_flush(g);
    return e;
}

enum err gateway_send_records(struct gateway *g, int fd)
{
    struct proc_message m = {.kind = PROC_RECORDS};

    TRY(queue_shared(g, &m, fd));
    gateway_flush(g);
    return OK;
}

/* ---- what it says ---- */

static void gateway_answered(struct gateway *g, const char *failed)
{
    g->answer_due = false;
    timer_clear(g->sup->loop, &g->deadline);
    if (!failed && g->state == GATEWAY_STARTING)
        g->state = GATEWAY_SERVING;
    change_gateway_answer(g->sup, g, failed);
}

static void gateway_hear(struct gateway *g, const struct proc_message *m)
{
    switch (m->kind) {
    case PROC_READY:
        if (g->answer_due && m->number == g->set)
            gateway_answered(g, NULL);
        return;
    case PROC_FAILED:
        if (g->answer_due && m->number == g->set)
            gateway_answered(g, m->text[0] ? m->text : "it does not say why");
        return;
    case PROC_DRAINED: return; /* its end will say it again */
    case PROC_BEGIN:
    case PROC_CONFIG:
    case PROC_FILE:
    case PROC_SOCKET:
    case PROC_SPOOL:
    case PROC_RECORDS:
    case PROC_CHAIN:
    case PROC_EXCEPTIONS:
    case PROC_STORE:
    case PROC_WORKERS:
    case PROC_END:
    case PROC_CERTIFICATE:
    case PROC_FILES:
    case PROC_DRAIN: break;
    }
    log_error("gateway", "broke the control protocol and is killed pid=%d", (int)g->pid);
    gateway_kill(g);
}

static void on_control(void *arg, unsigned events)
{
    struct gateway *g = arg;
    struct proc_message m;
    int fd;

    if (events & WATCH_WRITE)
        gateway_flush(g);
    if (!(events & WATCH_READ))
        return;
    enum err e = proc_receive(g->control, &m, &fd);

    if (e == ERR_AGAIN)
        return;
    if (e == OK) {
        if (fd >= 0)
            (void)close(fd);
        gateway_hear(g, &m); /* may end the supervisor's loop, never frees |g| */
        return;
    }
    watch_arm(g->watch, 0);
    if (e != ERR_EOF && e != ERR_RESET)
        gateway_kill(g);
}

/* One that does not answer a live set would take it later, when nobody reckons with it any more: a
 * fresh process with the old configuration is the honest state. */
static void on_deadline(struct timer *t)
{
    struct gateway *g = CONTAINER_OF(t, struct gateway, deadline);

    if (g->state == GATEWAY_DRAINING)
        log_warn("gateway", "its drain time is over; what still runs is cut off pid=%d",
                 (int)g->pid);
    else
        log_error("gateway", "does not answer within %u s and is killed pid=%d", READY_MS / 1000,
                  (int)g->pid);
    gateway_kill(g);
}

/* ---- start, drain, end ---- */

static void gateway_free(struct gateway *g)
{
    while (g->first) {
        struct packet *p = g->first;

        g->first = p->next;
        packet_free(p);
    }
    timer_clear(g->sup->loop, &g->deadline);
    watch_close(g->watch);
    if (g->control >= 0)
        (void)close(g->control);
    free(g);
}

/* /proc/self/exe is the very program that we run, also when a newer one lies at its path by now:
 * the two speak the same protocol. */
static enum err gateway_spawn(struct gateway *g, struct buf *why)
{
    char name[] = "sallyport", serve[] = "serve", option[] = "--gateway-control",
         control[] = SPAWN_CONTROL_TEXT;
    char *argv[] = {name, serve, option, control, NULL};
    int pair[2];
    int r = spawn_pair(pair);

    if (r == 0) {
        (void)fcntl(pair[1], F_SETFL, O_NONBLOCK); /* its loop reads until there is no more */
        r = spawn("/proc/self/exe", argv, pair[1], &g->pid);
        (void)close(pair[1]);
        g->control = pair[0];
    }
    if (r == 0)
        return OK;
    buf_fmt(why, "cannot start the gateway process: %s", strerror(r));
    return ERR_IO;
}

static enum err gateway_fill(struct gateway *g, const struct gateway_parts *p, struct buf *why)
{
    TRY(gateway_spawn(g, why));
    enum err e = watch_new(g->sup->loop, g->control, on_control, g, &g->watch);

    if (!e)
        e = queue_set(g, p);
    for (const struct certificate *c = g->sup->certificates; c && !e; c = c->next)
        e = gateway_send_certificate(g, c);
    for (unsigned i = 0; i < FILES_KINDS && !e; i++)
        if (g->sup->files_told[i])
            e = gateway_send_files(g, (enum files_kind)i);
    if (e) {
        buf_fmt(why, "cannot hand the configuration to a gateway: %s", err_text(e));
        (void)kill(g->pid, SIGKILL);
        return e;
    }
    gateway_flush(g);
    return OK;
}

enum err gateway_start(struct supervisor *s, const struct gateway_parts *p, struct gateway **ret,
                       struct buf *why)
{
    struct gateway *g = calloc(1, sizeof *g);

    if (!g)
        return ERR_NOMEM;
    *g = (struct gateway){.sup = s, .control = -1, .deadline = {.fire = on_deadline}};
    g->last = &g->first;
    g->threads = p->loaded->settings.n_threads;
    g->started_ms = loop_now_ms(s->loop);
    enum err e = gateway_fill(g, p, why);

    if (e) {
        gateway_free(g);
        return e;
    }
    g->next = s->gateways;
    s->gateways = g;
    *ret = g;
    return OK;
}

enum err gateway_send_certificate(struct gateway *g, const struct certificate *c)
{
    struct proc_message m = {
        .kind = PROC_CERTIFICATE, .number = c->reloads, .live = c->told != NULL};
    struct writer w = writer_of(m.text, sizeof m.text - 1);

    write_fmt(&w, "%s %s", c->name, c->told ? c->told : "");
    TRY(gateway_queue(g, &m, -1));
    gateway_flush(g);
    return OK;
}

enum err gateway_send_files(struct gateway *g, enum files_kind k)
{
    struct proc_message m = {.kind = PROC_FILES, .number = k};
    const char *why = g->sup->files_told[k];

    (void)span_copy(span_of(why), m.text, sizeof m.text);
    TRY(gateway_queue(g, &m, -1));
    gateway_flush(g);
    return OK;
}

void gateway_drain(struct gateway *g, uint64_t ms)
{
    struct proc_message m = {.kind = PROC_DRAIN, .ms = ms, .live = g->sup->stopping};

    if (g->state == GATEWAY_DRAINING)
        return;
    /* One that is still starting serves nobody yet. */
    if (g->state == GATEWAY_STARTING || gateway_queue(g, &m, -1) != OK) {
        gateway_kill(g);
        return;
    }
    g->state = GATEWAY_DRAINING;
    g->answer_due = false;
    timer_set(g->sup->loop, &g->deadline, loop_now_ms(g->sup->loop) + ms + DRAIN_MARGIN_MS);
    gateway_flush(g);
}

void gateway_kill(struct gateway *g)
{
    timer_clear(g->sup->loop, &g->deadline);
    (void)kill(g->pid, SIGKILL);
}

unsigned gateway_count(const struct supervisor *s)
{
    unsigned n = 0;

    for (const struct gateway *g = s->gateways; g; g = g->next)
        n++;
    return n;
}

static void on_restart(struct timer *t);

/* Not before the loop turns, also when there is nothing to wait for. */
static void restart_later(struct supervisor *s, uint64_t lived_ms, const char *how, pid_t pid)
{
    uint64_t wait = backoff_next(&s->gateway_backoff, lived_ms);

    log_error("gateway", "%s; a new one starts in %llu ms on the same sockets pid=%d", how,
              (unsigned long long)wait, (int)pid);
    s->gateway_timer.fire = on_restart;
    timer_set(s->loop, &s->gateway_timer, loop_now_ms(s->loop) + wait);
}

/* A fresh one in place of the current one that died. */
static void on_restart(struct timer *t)
{
    struct supervisor *s = CONTAINER_OF(t, struct supervisor, gateway_timer);
    const struct gateway_parts parts = {.loaded = s->loaded,
                                        .sockets = &s->sockets,
                                        .spool_fd = s->spool_fd,
                                        .records_fd = s->records_fd,
                                        .chain_fd = s->chain_fd,
                                        .exceptions_fd = s->exceptions_fd,
                                        .store_fd = s->store_fd,
                                        .zygote = s->zygote};
    struct buf why;

    if (s->current || s->stopping)
        return;
    buf_init(&why, 0);
    if (gateway_start(s, &parts, &s->current, &why) != OK)
        restart_later(s, 0, buf_cstr(&why), 0);
    buf_done(&why);
}

static void gateway_lost(struct supervisor *s, const struct gateway *g, const char *how)
{
    uint64_t lived = loop_now_ms(s->loop) - g->started_ms;

    if (s->current == g) {
        s->current = NULL;
        if (!s->stopping)
            restart_later(s, lived, how, g->pid);
    }
}

static void log_end(const struct gateway *g, int status, const char *how)
{
    if (g->state == GATEWAY_DRAINING && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        log_info("gateway", "has drained and ended pid=%d generation=%u", (int)g->pid,
                 g->generation);
    else if (g->state == GATEWAY_DRAINING || g->sup->stopping)
        log_warn("gateway", "%s while it drained pid=%d generation=%u", how, (int)g->pid,
                 g->generation);
}

bool gateway_reaped(struct supervisor *s, pid_t pid, int status)
{
    struct gateway **at = &s->gateways;
    struct buf how;

    while (*at && (*at)->pid != pid)
        at = &(*at)->next;
    struct gateway *g = *at;

    if (!g)
        return false;
    *at = g->next;
    buf_init(&how, 0);
    spawn_status_text(status, &how);
    log_end(g, status, buf_cstr(&how));
    /* A gateway that dies of a live set is both: the change fails, and the old configuration gets a
     * fresh process. */
    (void)change_gateway_gone(s, g);
    gateway_lost(s, g, buf_cstr(&how));
    buf_done(&how);
    gateway_free(g);
    if (s->reload_waits) {
        s->reload_waits = false;
        s->wants |= WANT_RELOAD;
    }
    supervisor_progress(s);
    return true;
}
