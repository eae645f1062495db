/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/gateway_print.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "proc/gateway_int.h"
#include "tenant/throttle.h"

#define KEY_MS  3600000u
#define LOOK_MS 1000u

/* ---- snapshots ---- */

static void snapshot_release(void *owner)
{
    gateway_config_unref(owner);
}

/* Of a listener whose port the system chose, the one that it has: a socket of it is here. */
static unsigned port_of(const struct gateway_core *g, const struct listener_config *l)
{
    struct address a = {.len = sizeof a.ss};
    int fd = -1;

    if (l->address.port)
        return l->address.port;
    for (unsigned i = 0; i < g->n_sockets && fd < 0; i++)
        if (strcmp(g->sockets[i].name, l->name) == 0)
            fd = g->sockets[i].fd;
    for (unsigned i = 0; i < g->generation.n_sockets && fd < 0; i++)
        if (strcmp(g->generation.sockets[i].listener, l->name) == 0)
            fd = g->generation.sockets[i].fd;
    return fd >= 0 && getsockname(fd, (struct sockaddr *)&a.ss, &a.len) == 0 ? address_port(&a) : 0;
}

/* The ports of the first listeners that have what they are asked for. */
static void ports_of(const struct gateway_core *g, const struct settings *s,
                     struct ipp_snapshot_source *src)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        const struct listener_config *l = &s->listeners[i];
        bool clear = !l->tls || l->tls_begins != LISTENER_TLS_AT_ONCE;

        if (l->protocol != LISTENER_IPP)
            continue;
        if (clear && !src->port) {
            src->port = port_of(g, l);
            src->upgrades = l->tls && l->ipp.upgrade != IPP_UPGRADE_OFF;
        }
        if (settings_listener_is_secure(l) && !src->secure_port)
            src->secure_port = port_of(g, l);
    }
}

enum err gateway_print_snapshot(struct gateway_core *g, struct gateway_config *config,
                                struct ipp_snapshot **ret, struct buf *why)
{
    struct ipp_snapshot_source src = {
        .set = &config->settings.ipp,
        .before = g->print.snapshot,
        .printers = config->settings.printers,
        .backend_tls = config->backend_tls,
        .icap_tls = config->icap_tls,
        .n_printers = config->settings.n_printers,
        .worker_engines = g->engines,
        .clamav = g->policy.clamd_text,
        .urls = config->urls,
        .unpack = &config->settings.engines.unpack,
        .decision_steps = config->settings.limits.decision_steps,
        .tenants = g->tenants,
        .metrics = g->metrics,
        .system = {.file = config->policy, .service = "ipp"},
        .release = snapshot_release,
        .owner = config,
    };

    ports_of(g, &config->settings, &src);
    TRY(ipp_snapshot_new(&src, ret, why));
    (void)gateway_config_ref(config);
    return OK;
}

static void order_snapshot(struct order *o)
{
    if (ipp_server_set_snapshot(o->to->ipp, o->print) != OK) {
        log_error("gateway", "no memory for other printers; ending, to be started again");
        abort();
    }
    ipp_snapshot_unref(o->print);
}

void gateway_print_publish(struct gateway_core *g, struct ipp_snapshot *snapshot)
{
    ipp_snapshot_unref(g->print.snapshot);
    g->print.snapshot = snapshot;
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct order *o = order_new(&g->loops[i], order_snapshot);

        o->print = ipp_snapshot_ref(snapshot);
        order_post(o);
    }
}

/* ---- keys of challenges ---- */

static void order_keys(struct order *o)
{
    ipp_server_set_keys(o->to->ipp, &o->keys);
    digest_keys_done(&o->keys);
}

/* By the clock that challenges are as old as, so that none is given up before its time. */
static bool is_rotation_due(const struct gateway_core *g, uint64_t now_wall_ms)
{
    uint64_t lifetime = g->config->settings.ipp.digest.lifetime_ms;
    uint64_t period = lifetime > KEY_MS ? lifetime : KEY_MS;
    uint64_t made = g->print.rotated_wall_ms;

    return now_wall_ms < made || now_wall_ms - made >= period;
}

/* Without randomness the old ones serve until the next look. */
static void rotate(struct gateway_core *g, uint64_t now_wall_ms)
{
    struct gateway_print *p = &g->print;

    if (digest_keys_rotate(&p->keys, &digest_random_system) != DIGEST_OK)
        return;
    p->rotated_wall_ms = now_wall_ms;
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct order *o = order_new(&g->loops[i], order_keys);

        o->keys = p->keys;
        order_post(o);
    }
}

static void on_look(struct timer *t)
{
    struct gateway_print *p = CONTAINER_OF(t, struct gateway_print, look);
    struct gateway_core *g = CONTAINER_OF(p, struct gateway_core, print);
    struct loop *l = g->loops[0].loop;
    uint64_t now = clock_wall_ms(&clock_system);

    timer_set(l, t, loop_now_ms(l) + LOOK_MS);
    if (is_rotation_due(g, now))
        rotate(g, now);
}

void gateway_print_start(struct gateway_core *g)
{
    struct loop *l = g->loops[0].loop;

    g->print.look.fire = on_look;
    timer_set(l, &g->print.look, loop_now_ms(l) + LOOK_MS);
}

void gateway_print_stop(struct gateway_core *g)
{
    if (g->loops && g->loops[0].loop && g->print.look.fire)
        timer_clear(g->loops[0].loop, &g->print.look);
}

/* ---- life ---- */

enum err gateway_print_init(struct gateway_core *g, struct buf *why)
{
    struct gateway_print *p = &g->print;

    p->replay = digest_replay_new(g->config->settings.ipp.digest.nonces_max);
    p->servers.by_loop = calloc(g->n_loops, sizeof(struct ipp_server *));
    p->failures = throttle_shared_new();
    p->asked = throttle_shared_new();
    p->refusals = ipp_refusals_new();
    if (!p->replay || !p->failures || !p->asked || !p->refusals || !p->servers.by_loop ||
        digest_keys_rotate(&p->keys, &digest_random_system) != DIGEST_OK)
        return gateway_fail(why, ERR_NOMEM, "printing");
    p->rotated_wall_ms = clock_wall_ms(&clock_system);
    enum err e = gateway_print_snapshot(g, g->config, &p->snapshot, why);

    return e ? gateway_fail(why, e, "printers") : OK;
}

enum err gateway_print_build_loop(struct gateway_loop *gl, uint64_t id_seed)
{
    struct gateway_core *g = gl->gateway;
    TRY(gateway_remote_new(gl->loop, g->troubles, &gl->remote));
    const struct ipp_server_environment env = {
        .loop = gl->loop,
        .inspector = gl->inspector,
        .remote = gateway_remote_scanner(gl->remote),
        .spool = &g->spool,
        .scans = g->scans,
        .scan_wait_ms = g->config->settings.limits.scan_wait_ms,
        .store = g->keeper.store,
        .numbers = &g->print.numbers,
        .records = g->records,
        .metrics = g->metrics,
        .troubles = g->troubles,
        .logins = g->logins.logins,
        .digest_keys = &g->print.keys,
        .replay = g->print.replay,
        .failures = g->print.failures,
        .asked = g->print.asked,
        .refusals = g->print.refusals,
        .random = &digest_random_system,
        .id_seed = id_seed,
    };

    TRY(ipp_server_new(&env, g->print.snapshot, &gl->ipp));
    g->print.servers.by_loop[loop_index(gl->loop)] = gl->ipp;
    return OK;
}

void gateway_print_free_loop(struct gateway_loop *gl)
{
    struct ipp_server *s = gl->ipp;

    gl->ipp = NULL; /* whoever hears of its end asks it nothing more */
    ipp_server_free(s);
    gateway_remote_free(gl->remote);
    gl->remote = NULL;
}

void gateway_print_done(struct gateway_core *g)
{
    ipp_snapshot_unref(g->print.snapshot);
    digest_replay_free(g->print.replay);
    throttle_shared_free(g->print.failures);
    throttle_shared_free(g->print.asked);
    ipp_refusals_free(g->print.refusals);
    digest_keys_done(&g->print.keys);
    free(g->print.servers.by_loop);
}
