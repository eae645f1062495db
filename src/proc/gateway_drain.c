/* SPDX-License-Identifier: Apache-2.0 */
/* The way out: listeners stop, connections end, loops stop. */
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/gateway_int.h"

#define FRESH_MS      2000u /* how long a connection may take to get open */
#define FRESH_LOOK_MS 50u

static void order_stop(struct order *o)
{
    loop_stop(o->to->loop);
}

void gateway_stop_loops(struct gateway_core *g)
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
    gateway_stop_loops(g);
}

static void on_drained(void *arg)
{
    struct gateway_loop *gl = arg;

    if (--gl->draining > 0)
        return;
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
    o->to->draining = 2;
    icap_server_drain(o->to->icap, on_drained, o->to);
    ipp_server_drain(o->to->ipp, on_drained, o->to);
}

static void drain_over(struct timer *t)
{
    struct gateway_core *g = CONTAINER_OF(t, struct gateway_core, drain_timer);

    log_warn("gateway", "the drain's time is over: connections that are still open are cut");
    gateway_stop_loops(g);
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
