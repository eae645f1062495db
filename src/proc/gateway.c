/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/gateway.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/block.h"
#include "base/log.h"
#include "base/map.h"
#include "proc/gateway_int.h"

#define METRIC_SLOTS     16384u
#define SPOOL_QUEUE      (1u << 20)
#define FLUSH_MS         200u
#define FRESH_MS         2000u /* draining: how long a connection may take to get open */
#define FRESH_LOOK_MS    50u
#define ADMIN_LISTENER   "admin"
#define CONTROL_LISTENER "control"

/* ---- orders to loops ---- */

/* Something that another loop has to do: posted, run there, freed. */
struct order {
    struct task task;
    struct gateway_loop *to;
    void (*run)(struct order *o);
    struct icap_snapshot *snapshot;     /* referenced */
    struct listener_settings *listener; /* referenced */
    struct gateway_socket *socket;
    struct worker_settings workers;
    int fd;
};

static void order_task(struct task *t)
{
    struct order *o = CONTAINER_OF(t, struct order, task);

    o->run(o);
    free(o);
}

/* Out of memory while a configuration changes is fatal: half a change is worse than a restart by
 * the supervisor. */
static struct order *order_new(struct gateway_loop *to, void (*run)(struct order *o))
{
    struct order *o = calloc(1, sizeof *o);

    if (!o) {
        log_error("gateway", "no memory to pass an order to a loop; ending, to be started again");
        abort();
    }
    *o = (struct order){.task.run = order_task, .to = to, .run = run, .fd = -1};
    return o;
}

static void order_post(struct order *o)
{
    loop_post(o->to->loop, &o->task);
}

/* ---- building ---- */

static enum err fail(struct buf *why, enum err e, const char *what)
{
    buf_fmt(why, "%s: %s\n", what, err_text(e));
    return e;
}

static void set_descriptor_limit(unsigned want)
{
    const struct rlimit all = {.rlim_cur = want, .rlim_max = want};
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= want)
        return;
    if (want > r.rlim_max && setrlimit(RLIMIT_NOFILE, &all) == 0)
        return;
    r.rlim_cur = want < r.rlim_max ? want : r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur < want)
        log_warn("gateway",
                 "may open %llu descriptors only, limits.descriptors asks for %u: see ulimit -n",
                 (unsigned long long)r.rlim_cur, want);
}

static enum err build_shared(struct gateway_core *g, struct buf *why)
{
    const struct settings *s = &g->config->settings;
    struct record_log_settings records = {
        .fd = g->generation.records_fd,
        .loops = g->n_loops,
        .buffer_max = s->records.buffer,
        .flush_ms = FLUSH_MS,
        .on_full = s->records.on_full,
    };
    enum err e;

    budget_init(&g->memory, s->limits.memory);
    budget_init(&g->scans, s->limits.scans);
    budget_init(&g->spool_bytes, s->spool.total);
    block_set_budget(&g->memory);
    g->spool = (struct spool_settings){
        .dir_fd = g->generation.spool_fd,
        .memory_max = s->spool.memory,
        .file_max = s->spool.total,
        .reserve = s->spool.reserve,
        .bytes = &g->spool_bytes,
        .memory = &g->memory,
        .queue_max = SPOOL_QUEUE,
    };
    e = metrics_new(g->n_loops, METRIC_SLOTS, &g->metrics);
    if (e)
        return fail(why, e, "metrics");
    if (records.fd >= 0 && (e = record_log_new(&records, &g->records)) != OK)
        return fail(why, e, "records");
    e = gateway_config_snapshot(g->config, g->engines, g->metrics, &g->snapshot);
    return e ? fail(why, e, "services") : OK;
}

static uint64_t random_u64(void)
{
    uint64_t v = 0;

    if (getrandom(&v, sizeof v, 0) != (ssize_t)sizeof v)
        abort(); /* Linux: only before the pool is ready, long before us */
    return v;
}

static enum err build_loop(struct gateway_core *g, unsigned i)
{
    struct gateway_loop *gl = &g->loops[i];
    struct icap_server_environment env = {
        .spool = &g->spool,
        .scans = &g->scans,
        .records = g->records,
        .metrics = g->metrics,
        .id_seed = random_u64(),
    };

    gl->gateway = g;
    TRY(loop_new(i, &clock_system, &gl->loop));
    TRY(workers_new(gl->loop, &g->config->settings.engines.workers, &gl->workers));
    workers_set_channel(gl->workers, g->generation.worker_fds[i]);
    g->generation.worker_fds[i] = -1;
    env.loop = gl->loop;
    env.workers = gl->workers;
    TRY(icap_server_new(&env, g->snapshot, &gl->icap));
    g->by_loop[i] = gl->icap;
    return OK;
}

static enum err build_loops(struct gateway_core *g)
{
    struct loop *loops[GENERATION_THREADS_MAX];

    g->loops = calloc(g->n_loops, sizeof *g->loops);
    g->by_loop = calloc(g->n_loops, sizeof *g->by_loop);
    if (!g->loops || !g->by_loop)
        return ERR_NOMEM;
    g->icap_servers.by_loop = g->by_loop;
    for (unsigned i = 0; i < g->n_loops; i++) {
        TRY(build_loop(g, i));
        loops[i] = g->loops[i].loop;
    }
    return loop_group_new(loops, g->n_loops, &g->group);
}

static void admin_settings_keep(struct listener_settings *s)
{
    (void)s; /* lives in struct gateway_core */
}

static enum err build_admin(struct gateway_core *g, struct gateway_socket *s)
{
    struct admin_settings set = {
        .metrics = g->metrics,
        .ready = gateway_is_ready,
        .arg = g,
        .timeout_ms = 10000,
        .connections_max = 16,
    };

    if (!g->admin) {
        TRY(loop_group_new(&g->loops[0].loop, 1, &g->admin_group)); /* it reads what is loop 0's */
        TRY(admin_new(g->loops[0].loop, &set, &g->admin));
    }
    atomic_init(&g->admin_settings.refs, 1);
    g->admin_settings.name = ADMIN_LISTENER;
    g->admin_settings.handshake_ms = 10000;
    g->admin_settings.connections_max = set.connections_max;
    g->admin_settings.destroy = admin_settings_keep;
    return listener_new(g->loops[0].loop, g->admin_group, s->fd, &g->admin_settings,
                        admin_listener_events(), g->admin, &s->listener);
}

static bool control_socket_at(void *arg, unsigned i, const char **ret_listener, unsigned *ret_loop,
                              int *ret_fd)
{
    const struct gateway_core *g = arg;

    if (i >= g->n_sockets)
        return false;
    *ret_listener = g->sockets[i].name;
    *ret_loop = g->sockets[i].loop;
    *ret_fd = g->sockets[i].fd;
    return true;
}

static void control_drain_order(void *arg, uint64_t ms)
{
    gateway_core_drain(arg, ms, false);
}

static enum err build_socket(struct gateway_core *g, struct gateway_socket *s, struct buf *why)
{
    struct listener_settings *set = gateway_config_listener(g->config, s->name);

    if (s->loop >= g->n_loops)
        return fail(why, ERR_PROTO, "a socket for a loop that is not there");
    if (set)
        return listener_new(g->loops[s->loop].loop, g->group, s->fd, set, &icap_listener_events,
                            &g->icap_servers, &s->listener);
    if (strcmp(s->name, ADMIN_LISTENER) == 0)
        return build_admin(g, s);
    if (strcmp(s->name, CONTROL_LISTENER) == 0)
        return control_server_new(g->loops[0].loop, s->fd, &g->control_handler, &g->control);
    return fail(why, ERR_PROTO, "a socket for a listener that the configuration does not have");
}

static enum err build_sockets(struct gateway_core *g, struct buf *why)
{
    g->control_handler = (struct control_handler){.status = gateway_status_json,
                                                  .socket = control_socket_at,
                                                  .drain = control_drain_order,
                                                  .arg = g};
    g->sockets = calloc(g->generation.n_sockets ? g->generation.n_sockets : 1, sizeof *g->sockets);
    if (!g->sockets)
        return ERR_NOMEM;
    for (unsigned i = 0; i < g->generation.n_sockets; i++) {
        struct generation_socket *from = &g->generation.sockets[i];

        g->sockets[i] =
            (struct gateway_socket){.name = from->listener, .loop = from->loop, .fd = from->fd};
        from->fd = -1;
        g->n_sockets++;
    }
    for (unsigned i = 0; i < g->generation.n_sockets; i++) {
        enum err e = build_socket(g, &g->sockets[i], why);

        if (e)
            return fail(why, e, g->sockets[i].name);
    }
    return OK;
}

static enum err enter_jail(struct gateway_core *g, struct buf *why)
{
    const struct settings *s = &g->config->settings;
    struct jail_spec spec = {
        .role = JAIL_GATEWAY,
        .required = s->sandbox_required,
        .keep_dir_fd = g->generation.spool_fd,
    };

    if (s->user && geteuid() == 0) {
        const struct passwd *p = getpwnam(s->user);

        if (!p) {
            buf_fmt(why, "user '%s' does not exist\n", s->user);
            return ERR_CONFIG;
        }
        spec.uid = p->pw_uid;
        spec.gid = p->pw_gid;
    }
    return jail_enter(&spec, &g->jail, why);
}

/* ---- threads ---- */

static void *loop_thread(void *arg)
{
    struct gateway_loop *gl = arg;
    char name[16];

    (void)snprintf(name, sizeof name, "loop-%u", loop_index(gl->loop));
    (void)prctl(PR_SET_NAME, name);
    loop_run(gl->loop);
    block_pool_trim(0);
    return NULL;
}

static enum err start_threads(struct gateway_core *g, struct buf *why)
{
    for (unsigned i = 1; i < g->n_loops; i++) {
        if (pthread_create(&g->loops[i].thread, NULL, loop_thread, &g->loops[i]) != 0)
            return fail(why, ERR_NOMEM, "a loop's thread");
        g->loops[i].thread_started = true;
    }
    return OK;
}

/* ---- drain ---- */

static void order_stop(struct order *o)
{
    loop_stop(o->to->loop);
}

static void stop_all(struct gateway_core *g)
{
    for (unsigned i = 1; i < g->n_loops; i++)
        if (g->loops[i].thread_started)
            order_post(order_new(&g->loops[i], order_stop));
    loop_stop(g->loops[0].loop);
}

static void order_drain(struct order *o);

static void drain_loops(struct gateway_core *g)
{
    g->drained_loops = 0;
    for (unsigned i = 0; i < g->n_loops; i++)
        order_post(order_new(&g->loops[i], order_drain));
}

static void drain_again(struct timer *t)
{
    drain_loops(CONTAINER_OF(t, struct gateway_core, drain_again));
}

/* Those before or in their handshake, or on their way to another loop: no server knows them yet. */
static bool has_fresh_connections(const struct gateway_core *g)
{
    for (unsigned i = 0; i < g->n_loops; i++)
        if (loop_group_connections(g->group, i) > 0)
            return true;
    return false;
}

static void order_loop_drained(struct order *o)
{
    struct gateway_core *g = o->to->gateway; /* runs on loop 0 */
    uint64_t now = loop_now_ms(o->to->loop);

    if (++g->drained_loops < g->n_loops)
        return;
    if (now < g->fresh_end_ms && has_fresh_connections(g)) {
        g->drain_again.fire = drain_again;
        timer_set(o->to->loop, &g->drain_again, now + FRESH_LOOK_MS);
        return;
    }
    log_info("gateway", "drained: every connection is finished");
    stop_all(g);
}

static void on_drained(void *arg)
{
    struct gateway_loop *gl = arg;

    order_post(order_new(&gl->gateway->loops[0], order_loop_drained));
}

/* Load balancers are told until the end that nothing more shall come. */
static bool stays_open(const struct gateway_core *g, const struct gateway_socket *s)
{
    return g->last && strcmp(s->name, ADMIN_LISTENER) == 0;
}

/* Where nobody takes over the socket is closed: a client is refused at once, and goes elsewhere,
 * instead of waiting in a queue that nobody will look at. */
static void stop_socket(struct gateway_core *g, struct gateway_socket *s)
{
    listener_stop(s->listener);
    if (!g->last || s->fd < 0)
        return;
    (void)close(s->fd);
    s->fd = -1;
}

static void order_drain(struct order *o)
{
    struct gateway_core *g = o->to->gateway;
    unsigned loop = loop_index(o->to->loop);

    for (unsigned i = 0; i < g->n_sockets; i++)
        if (g->sockets[i].listener && g->sockets[i].loop == loop && !stays_open(g, &g->sockets[i]))
            stop_socket(g, &g->sockets[i]);
    icap_server_drain(o->to->icap, on_drained, o->to);
}

static void drain_over(struct timer *t)
{
    struct gateway_core *g = CONTAINER_OF(t, struct gateway_core, drain_timer);

    log_warn("gateway", "the drain's time is over: connections that are still open are cut");
    stop_all(g);
}

/* Connections that wait in a listener's queue are taken and served; a new gateway, if there is one,
 * has the sockets. */
void gateway_core_drain(struct gateway_core *g, uint64_t ms, bool last)
{
    if (g->draining)
        return;
    g->draining = true;
    g->last = last;
    log_info("gateway", "draining for at most %llu ms", (unsigned long long)ms);
    control_server_free(g->control);
    g->control = NULL;
    g->fresh_end_ms = loop_now_ms(g->loops[0].loop) + FRESH_MS;
    drain_loops(g);
    g->drain_timer.fire = drain_over;
    timer_set(g->loops[0].loop, &g->drain_timer, loop_now_ms(g->loops[0].loop) + ms);
}

/* ---- live changes ---- */

static void order_snapshot(struct order *o)
{
    icap_server_set_snapshot(o->to->icap, o->snapshot);
    icap_snapshot_unref(o->snapshot);
}

static void publish_snapshot(struct gateway_core *g)
{
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct order *o = order_new(&g->loops[i], order_snapshot);

        o->snapshot = icap_snapshot_ref(g->snapshot);
        order_post(o);
    }
}

static void order_listener(struct order *o)
{
    if (o->socket->listener)
        listener_set_settings(o->socket->listener, o->listener);
    listener_settings_unref(o->listener);
}

static void publish_listeners(struct gateway_core *g)
{
    for (unsigned i = 0; i < g->n_sockets; i++) {
        struct listener_settings *set = gateway_config_listener(g->config, g->sockets[i].name);
        struct order *o;

        if (!set)
            continue;
        o = order_new(&g->loops[g->sockets[i].loop], order_listener);
        o->socket = &g->sockets[i];
        o->listener = listener_settings_ref(set);
        order_post(o);
    }
}

static void order_workers(struct order *o)
{
    workers_set_settings(o->to->workers, &o->workers);
}

static enum err new_snapshot(struct gateway_core *g, struct gateway_config *c,
                             struct icap_snapshot **ret)
{
    return gateway_config_snapshot(c, g->engines, g->metrics, ret);
}

static enum err apply_live(struct gateway_core *g, struct buf *why)
{
    struct gateway_config *config = NULL, *old = g->config;
    struct icap_snapshot *snapshot = NULL;
    enum err e = gateway_config_new(&g->live, &config, why);

    if (e)
        return e;
    e = new_snapshot(g, config, &snapshot);
    if (e) {
        gateway_config_retire(config);
        return fail(why, e, "services");
    }
    icap_snapshot_unref(g->snapshot);
    g->snapshot = snapshot;
    g->config = config;
    log_set_level(config->settings.log.level);
    atomic_store(&g->memory.max, config->settings.limits.memory);
    atomic_store(&g->scans.max, config->settings.limits.scans);
    atomic_store(&g->spool_bytes.max, config->settings.spool.total);
    publish_snapshot(g);
    publish_listeners(g);
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct order *o = order_new(&g->loops[i], order_workers);

        o->workers = config->settings.engines.workers;
        order_post(o);
    }
    gateway_config_retire(old);
    return OK;
}

/* ---- messages of the supervisor ---- */

static enum err answer(struct gateway_core *g, enum proc_kind kind, unsigned number,
                       struct span text)
{
    struct proc_message m = {.kind = kind, .number = number};

    (void)span_copy(text, m.text, sizeof m.text);
    return g->control_fd < 0 ? ERR_EOF : proc_send(g->control_fd, &m, -1);
}

/* The supervisor may be gone by now; what it would be told is in the log, too. */
static void tell(struct gateway_core *g, enum proc_kind kind, unsigned number, struct span text)
{
    enum err e = answer(g, kind, number, text);

    if (e)
        log_debug("gateway", "the supervisor does not hear: %s", err_text(e));
}

static void on_live_complete(struct gateway_core *g)
{
    struct buf why;
    enum err e;

    buf_init(&why, PROC_TEXT_MAX - 1);
    e = apply_live(g, &why);
    if (e == OK) {
        g->number = g->live.number;
        log_info("gateway", "configuration %u is in force", g->number);
    }
    tell(g, e ? PROC_FAILED : PROC_READY, g->live.number, e ? span_of(buf_cstr(&why)) : SPAN_NONE);
    buf_done(&why);
    generation_done(&g->live);
    generation_init(&g->live);
}

static void order_channel(struct order *o)
{
    workers_set_channel(o->to->workers, o->fd);
}

static void on_workers(struct gateway_core *g, const struct proc_message *m, int fd)
{
    struct icap_snapshot *snapshot = NULL;
    struct order *o;

    if (m->loop >= g->n_loops || fd < 0) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    o = order_new(&g->loops[m->loop], order_channel);
    o->fd = fd;
    order_post(o);
    if (span_eq(span_of(m->text), span_of(g->engines)))
        return;
    /* Other rules: cached answers of clients must go, so every ISTag changes. */
    (void)span_copy(span_of(m->text), g->engines, sizeof g->engines);
    if (new_snapshot(g, g->config, &snapshot) != OK) {
        log_error("gateway", "no memory for new ISTags; ending, to be started again");
        abort();
    }
    icap_snapshot_unref(g->snapshot);
    g->snapshot = snapshot;
    publish_snapshot(g);
    log_info("gateway", "engines: %s", g->engines);
}

static void on_live_message(struct gateway_core *g, const struct proc_message *m, int fd)
{
    bool done = false;
    enum err e = generation_add(&g->live, m, fd, &done);

    if (e) {
        tell(g, PROC_FAILED, g->live.number, span_of(err_text(e)));
        generation_done(&g->live);
        generation_init(&g->live);
    } else if (done) {
        on_live_complete(g);
    }
}

static void on_message(struct gateway_core *g, const struct proc_message *m, int fd)
{
    if (g->live.state == GENERATION_OPEN || m->kind == PROC_BEGIN) {
        on_live_message(g, m, fd);
        return;
    }
    if (m->kind == PROC_WORKERS) {
        on_workers(g, m, fd);
        return;
    }
    if (m->kind == PROC_RECORDS && g->records && fd >= 0)
        record_log_reopen(g->records, fd);
    else if (m->kind == PROC_DRAIN)
        gateway_core_drain(g, m->ms, m->live);
    if (fd >= 0)
        (void)close(fd);
}

static void supervisor_gone(struct gateway_core *g)
{
    watch_close(g->control_watch);
    g->control_watch = NULL;
    (void)close(g->control_fd);
    g->control_fd = -1;
    log_warn("gateway", "the supervisor is gone; this gateway goes on serving, but nothing "
                        "restarts it. Start Sallyport "
                        "again with the same configuration: it takes the sockets over");
}

static void on_control(void *arg, unsigned events)
{
    struct gateway_core *g = arg;
    struct proc_message m;

    (void)events;
    for (unsigned i = 0; i < 256 && g->control_fd >= 0; i++) {
        int fd = -1;
        enum err e = proc_receive(g->control_fd, &m, &fd);

        if (e == ERR_AGAIN)
            return;
        if (e == OK)
            on_message(g, &m, fd);
        else
            supervisor_gone(g);
    }
}

static void on_signal(void *arg, int signum)
{
    struct gateway_core *g = arg;

    log_info("gateway", "signal %d", signum);
    gateway_core_drain(g, g->config->settings.drain_ms, false);
}

/* ---- start and end ---- */

/* Blocking: nothing else happens before the first set is complete. */
static enum err first_set(struct gateway_core *g)
{
    struct proc_message m;
    bool done = false;

    while (!done) {
        struct pollfd p = {.fd = g->control_fd, .events = POLLIN};
        int fd = -1;
        enum err e;

        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return ERR_IO;
        e = proc_receive(g->control_fd, &m, &fd);
        if (e == ERR_AGAIN)
            continue;
        TRY(e);
        TRY(generation_add(&g->generation, &m, fd, &done));
    }
    return OK;
}

static enum err watch_supervisor(struct gateway_core *g)
{
    struct loop *l = g->loops[0].loop;

    TRY(signal_watch_new(l, SIGTERM, on_signal, g, &g->term));
    TRY(signal_watch_new(l, SIGINT, on_signal, g, &g->interrupt));
    TRY(watch_new(l, g->control_fd, on_control, g, &g->control_watch));
    watch_arm(g->control_watch, WATCH_READ);
    return OK;
}

static enum err gateway_build(struct gateway_core *g, struct buf *why)
{
    enum err e = gateway_config_new(&g->generation, &g->config, why);

    if (e)
        return e;
    g->number = g->generation.number;
    g->n_loops = g->generation.threads;
    (void)span_copy(span_of(g->generation.engines), g->engines, sizeof g->engines);
    log_setup(STDERR_FILENO, g->config->settings.log.level, g->config->settings.log.format,
              "gateway");
    set_descriptor_limit(g->config->settings.limits.descriptors);
    TRY(enter_jail(g, why)); /* before any thread: Landlock and seccomp cover those made later */
    TRY(build_shared(g, why));
    e = build_loops(g);
    if (e)
        return fail(why, e, "loops");
    TRY(build_sockets(g, why));
    gateway_status_metrics(g);
    e = watch_supervisor(g);
    if (e)
        return fail(why, e, "watching the supervisor");
    e = start_threads(g, why);
    if (e)
        stop_all(g); /* those that did start */
    return e;
}

/* What was posted to a loop that had stopped already, while everything that it is about is there.
 */
static void take_late_orders(struct gateway_core *g)
{
    for (unsigned i = 0; i < g->n_loops && g->loops; i++)
        if (g->loops[i].loop)
            (void)loop_turn(g->loops[i].loop, false);
}

static void gateway_done(struct gateway_core *g)
{
    for (unsigned i = 1; i < g->n_loops && g->loops; i++)
        if (g->loops[i].thread_started)
            (void)pthread_join(g->loops[i].thread, NULL);
    watch_close(g->control_watch);
    take_late_orders(g);
    control_server_free(g->control);
    for (unsigned i = 0; i < g->n_sockets; i++)
        if (g->sockets[i].listener)
            listener_free(g->sockets[i].listener);
    admin_free(g->admin);
    signal_watch_close(g->term);
    signal_watch_close(g->interrupt);
    for (unsigned i = 0; i < g->n_loops && g->loops; i++) {
        icap_server_free(g->loops[i].icap);
        workers_free(g->loops[i].workers);
        for (unsigned turn = 0; g->loops[i].loop && turn < 16;
             turn++) /* what was deferred, handles that close */
            (void)loop_turn(g->loops[i].loop, false);
        loop_free(g->loops[i].loop);
    }
    loop_group_free(g->group);
    loop_group_free(g->admin_group);
    record_log_free(g->records);
    icap_snapshot_unref(g->snapshot);
    gateway_config_retire(g->config);
    metrics_free(g->metrics);
    free(g->by_loop);
    free(g->loops);
    free(g->sockets);
    generation_done(&g->live);
    generation_done(&g->generation);
    block_pool_trim(0);
}

static void ignore_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2};
    struct sigaction sa = {.sa_handler = SIG_IGN};

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        (void)sigaction(ignored[i], &sa, NULL);
}

/* Without a supervisor that hears it nobody would ever drain this gateway: one that is not serving
 * yet ends. */
static enum err tell_ready(struct gateway_core *g, struct buf *why)
{
    jail_report_text(&g->jail, why);
    log_info("gateway", "ready: generation %u, %u threads, sandbox: %s", g->number, g->n_loops,
             buf_cstr(why));
    buf_reset(why);
    if (answer(g, PROC_READY, g->number, SPAN_NONE) == OK)
        return OK;
    buf_text(why, "the supervisor went away");
    stop_all(g);
    return ERR_EOF;
}

static int gateway_serve(struct gateway_core *g)
{
    struct buf why;
    enum err e;

    buf_init(&why, PROC_TEXT_MAX - 1);
    e = first_set(g);
    if (e == OK)
        e = gateway_build(g, &why);
    if (e == OK)
        e = tell_ready(g, &why);
    if (e) {
        struct span text = span_of(why.n ? buf_cstr(&why) : err_text(e));

        log_error("gateway", "cannot start: " SPAN_FMT, SPAN_ARG(text));
        tell(g, PROC_FAILED, g->generation.number, text);
    } else {
        loop_run(g->loops[0].loop);
        tell(g, PROC_DRAINED, g->number, SPAN_NONE);
    }
    buf_done(&why);
    return e ? 1 : 0;
}

int gateway_main(int control_fd)
{
    struct gateway_core *g = calloc(1, sizeof *g);
    uint8_t seed[16];
    int code;

    log_setup(STDERR_FILENO, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "gateway");
    if (!g || getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        log_error("gateway", "cannot start: no memory or no randomness");
        free(g);
        return 1;
    }
    map_seed(seed);
    ignore_signals();
    generation_init(&g->generation);
    generation_init(&g->live);
    g->control_fd = control_fd;
    g->started_wall_ms = clock_wall_ms(&clock_system);
    code = gateway_serve(g);
    gateway_done(g);
    if (g->control_fd >= 0)
        (void)close(g->control_fd);
    free(g);
    return code;
}
