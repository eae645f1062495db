/* SPDX-License-Identifier: Apache-2.0 */
/* From a set of the supervisor's to a gateway that serves, and back. */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/block.h"
#include "base/log.h"
#include "observe/record_sealer.h"
#include "proc/gateway_int.h"

#define METRIC_SLOTS 16384u
#define SPOOL_QUEUE  (256u << 10)
#define FLUSH_MS     200u

/* ---- parts ---- */

enum err gateway_fail(struct buf *why, enum err e, const char *what)
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

/* The chain's descriptor is the sealer's alone: the end of any other one would end its lock. */
static enum err build_records(struct gateway_core *g)
{
    const struct settings *s = &g->config->settings;
    struct record_log_settings records = {
        .fd = g->generation.records_fd,
        .loops = g->n_loops,
        .buffer_max = s->records.buffer,
        .flush_ms = FLUSH_MS,
        .on_full = s->records.on_full,
    };
    int chain = g->generation.chain_fd;

    if (records.fd < 0)
        return OK;
    g->generation.chain_fd = -1;
    if (chain >= 0)
        TRY(record_sealer_new(chain, &records.sealer));
    else if (s->records.chain)
        return ERR_BUG; /* never unsealed */
    enum err e = record_log_new(&records, &g->records);

    if (e)
        record_sealer_free(records.sealer);
    else
        g->records_chained = records.sealer != NULL;
    return e;
}

static enum err build_shared(struct gateway_core *g, struct buf *why)
{
    const struct settings *s = &g->config->settings;
    enum err e;

    budget_init(&g->memory, s->limits.memory);
    budget_init(&g->spool_bytes, s->spool.total);
    block_set_budget(&g->memory);
    if (scan_slots_new(s->limits.scans, &g->scans) != OK)
        return gateway_fail(why, ERR_NOMEM, "no memory");
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
        return gateway_fail(why, e, "metrics");
    e = build_records(g);
    if (e)
        return gateway_fail(why, e, "records");
    e = troubles_new(&g->troubles);
    if (e)
        return gateway_fail(why, e, "troubles");
    e = icap_progress_new(g->metrics, &g->progress);
    if (e)
        return gateway_fail(why, e, "progress pages");
    TRY(gateway_logins_init(g, why));
    int journal = g->generation.exceptions_fd;

    g->generation.exceptions_fd = -1;
    TRY(policy_init(g, journal, why));
    e = policy_snapshot(g, g->config, &g->snapshot, why);
    if (e)
        return gateway_fail(why, e, "services");
    return gateway_print_init(g, why);
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
        .scans = g->scans,
        .scan_wait_ms = g->config->settings.limits.scan_wait_ms,
        .records = g->records,
        .metrics = g->metrics,
        .troubles = g->troubles,
        .progress = g->progress,
        .clamd_health = g->policy.clamd_health,
        .logins = g->logins.logins,
        .id_seed = random_u64(),
    };

    gl->gateway = g;
    TRY(loop_new(i, &clock_system, &gl->loop));
    TRY(workers_new(gl->loop, &g->config->settings.engines.workers, &gl->workers));
    workers_set_channel(gl->workers, g->generation.worker_fds[i]);
    g->generation.worker_fds[i] = -1;
    TRY(policy_build_loop(gl));
    env.loop = gl->loop;
    env.workers = gl->workers;
    env.inspector = gl->inspector;
    TRY(icap_server_new(&env, g->snapshot, &gl->icap));
    g->by_loop[i] = gl->icap;
    return gateway_print_build_loop(gl, random_u64());
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

static bool listens(const struct gateway_socket *s)
{
    int on = 0;
    socklen_t n = sizeof on;

    return getsockopt(s->fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) == 0 && on;
}

enum err gateway_socket_listen(const struct gateway_socket *s)
{
    if (listens(s) || listen(s->fd, s->backlog) == 0)
        return OK;
    return err_from_errno(errno);
}

static const struct listener_config *listener_config_of(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        if (strcmp(s->listeners[i].name, name) == 0)
            return &s->listeners[i];
    return NULL;
}

enum err gateway_open_listener(struct gateway_core *g, struct gateway_socket *s,
                               struct listener_settings *set)
{
    const struct listener_config *l = listener_config_of(&g->config->settings, s->name);

    if (l && l->protocol == LISTENER_IPP)
        return listener_new(g->loops[s->loop].loop, g->group, s->fd, set, &ipp_listener_events,
                            &g->print.servers, &s->listener);
    return listener_new(g->loops[s->loop].loop, g->group, s->fd, set, &icap_listener_events,
                        &g->icap_servers, &s->listener);
}

static int backlog_of(const struct settings *s, const char *listener)
{
    const struct listener_config *l = listener_config_of(s, listener);

    return l ? l->backlog : 0;
}

static enum err build_socket(struct gateway_core *g, struct gateway_socket *s, struct buf *why)
{
    struct listener_settings *set = gateway_config_listener(g->config, s->name);

    if (s->loop >= g->n_loops)
        return gateway_fail(why, ERR_PROTO, "a socket for a loop that is not there");
    if (set) {
        TRY(gateway_socket_listen(s));
        return gateway_open_listener(g, s, set);
    }
    if (gateway_config_waits(g->config, s->name))
        return OK;
    if (strcmp(s->name, ADMIN_LISTENER) == 0)
        return build_admin(g, s);
    if (strcmp(s->name, CONTROL_LISTENER) == 0)
        return control_server_new(g->loops[0].loop, s->fd, &g->control_handler, &g->control);
    return gateway_fail(why, ERR_PROTO,
                        "a socket for a listener that the configuration does not have");
}

static bool command_later(void *arg, const char *name, const struct json_t *command, unsigned uid,
                          struct control_ticket *ticket)
{
    return gateway_print_command(arg, name, command, ticket) ||
           gateway_tenant_command(arg, name, command, uid, ticket);
}

static enum err build_sockets(struct gateway_core *g, struct buf *why)
{
    g->control_handler = (struct control_handler){.status = gateway_status_json,
                                                  .socket = control_socket_at,
                                                  .drain = control_drain_order,
                                                  .command = gateway_command,
                                                  .command_later = command_later,
                                                  .arg = g};
    g->sockets = calloc(g->generation.n_sockets ? g->generation.n_sockets : 1, sizeof *g->sockets);
    if (!g->sockets)
        return ERR_NOMEM;
    for (unsigned i = 0; i < g->generation.n_sockets; i++) {
        struct generation_socket *from = &g->generation.sockets[i];

        g->sockets[i] =
            (struct gateway_socket){.name = from->listener,
                                    .loop = from->loop,
                                    .fd = from->fd,
                                    .backlog = backlog_of(&g->config->settings, from->listener)};
        from->fd = -1;
        g->n_sockets++;
    }
    for (unsigned i = 0; i < g->generation.n_sockets; i++) {
        enum err e = build_socket(g, &g->sockets[i], why);

        if (e)
            return gateway_fail(why, e, g->sockets[i].name);
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
    gateway_thread_be_prompt();
    loop_run(gl->loop);
    block_pool_trim(0);
    arena_pool_trim();
    return NULL;
}

static enum err start_threads(struct gateway_core *g, struct buf *why)
{
    for (unsigned i = 1; i < g->n_loops; i++) {
        if (pthread_create(&g->loops[i].thread, NULL, loop_thread, &g->loops[i]) != 0)
            return gateway_fail(why, ERR_NOMEM, "a loop's thread");
        g->loops[i].thread_started = true;
    }
    return OK;
}

/* ---- start ---- */

static void on_signal(void *arg, int signum)
{
    struct gateway_core *g = arg;

    log_info("gateway", "signal %d", signum);
    gateway_core_drain(g, g->config->settings.drain_ms, false);
}

static enum err watch_supervisor(struct gateway_core *g)
{
    struct loop *l = g->loops[0].loop;

    TRY(signal_watch_new(l, SIGTERM, on_signal, g, &g->term));
    TRY(signal_watch_new(l, SIGINT, on_signal, g, &g->interrupt));
    TRY(watch_new(l, g->control_fd, gateway_on_control, g, &g->control_watch));
    watch_arm(g->control_watch, WATCH_READ);
    return OK;
}

enum err gateway_build(struct gateway_core *g, struct buf *why)
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
    policy_learn_names(&g->policy, &g->config->settings);
    int store = g->generation.store_fd;

    g->generation.store_fd = -1;
    e = gateway_tenants_open(g, store, why);
    if (store >= 0)
        (void)close(store);
    if (e)
        return e;
    TRY(enter_jail(g, why)); /* before any thread: Landlock and seccomp cover those made later */
    TRY(gateway_tenants_load(g, why));
    TRY(build_shared(g, why));
    e = build_loops(g);
    if (e)
        return gateway_fail(why, e, "loops");
    generation_drop_texts(&g->generation);
    gateway_tenants_start(g);
    gateway_logins_start(g);
    TRY(policy_start(g, why));
    TRY(build_sockets(g, why));
    gateway_status_metrics(g);
    gateway_certificates_learn(g);
    gateway_memory_start(g);
    gateway_print_start(g);
    e = watch_supervisor(g);
    if (e)
        return gateway_fail(why, e, "watching the supervisor");
    e = start_threads(g, why);
    if (e)
        gateway_stop_loops(g); /* those that did start */
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

void gateway_unbuild(struct gateway_core *g)
{
    for (unsigned i = 1; i < g->n_loops && g->loops; i++)
        if (g->loops[i].thread_started)
            (void)pthread_join(g->loops[i].thread, NULL);
    watch_close(g->control_watch);
    /* Both give orders by the clock, which nobody would take any more. */
    gateway_print_stop(g);
    policy_stop(g);
    take_late_orders(g);
    control_server_free(g->control);
    for (unsigned i = 0; i < g->n_loops && g->loops; i++)
        gateway_print_free_loop(
            &g->loops[i]); /* what waits for the store is cancelled while there is one */
    gateway_logins_stop(g);
    gateway_tenants_stop(g);
    gateway_memory_stop(g);
    for (unsigned i = 0; i < g->n_sockets; i++)
        if (g->sockets[i].listener)
            listener_free(g->sockets[i].listener);
    admin_free(g->admin);
    signal_watch_close(g->term);
    signal_watch_close(g->interrupt);
    for (unsigned i = 0; i < g->n_loops && g->loops; i++) {
        icap_server_free(g->loops[i].icap);
        policy_free_loop(&g->loops[i]);
        workers_free(g->loops[i].workers);
        for (unsigned turn = 0; g->loops[i].loop && turn < 16;
             turn++) /* what was deferred, handles that close */
            (void)loop_turn(g->loops[i].loop, false);
        loop_free(g->loops[i].loop);
    }
    loop_group_free(g->group);
    loop_group_free(g->admin_group);
    record_log_free(g->records);
    policy_done(g);
    icap_snapshot_unref(g->snapshot);
    gateway_print_done(g);
    gateway_logins_done(g);
    gateway_tenants_done(g);
    troubles_free(g->troubles);
    icap_progress_free(g->progress);
    gateway_config_retire(g->config);
    metrics_free(g->metrics);
    gateway_certificates_free(g);
    scan_slots_free(g->scans);
    free(g->by_loop);
    free(g->loops);
    free(g->sockets);
    generation_done(&g->live);
    generation_done(&g->generation);
    block_pool_trim(0);
    arena_pool_trim();
}
