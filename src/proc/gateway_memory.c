/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_memory.c - gives memory back to the system after a crowd has left. malloc returns only
 * the end of its arenas by itself, and something small that is still in use sits there. */
#include <malloc.h>

#include "proc/gateway_int.h"

#define LOOK_MS 1000u
/* Below it there is not much to give back: some ten KiB for each connection. */
#define CROWD_MIN 256u

static unsigned count_connections(const struct gateway_core *g)
{
    unsigned n = 0;

    for (unsigned i = 0; i < g->n_loops; i++)
        n += loop_group_connections(g->group, i);
    return n;
}

bool gateway_memory_is_due(struct gateway_memory *m, unsigned connections)
{
    bool due = m->peak >= CROWD_MIN && connections <= m->peak / 2;

    if (due || connections > m->peak)
        m->peak = connections;
    return due;
}

/* In the pool: it takes some ms, for which only one arena at a time is locked. */
static void trim_run(struct work *w)
{
    (void)w;
    (void)malloc_trim(0);
}

static void trim_done(struct work *w)
{
    CONTAINER_OF(w, struct gateway_memory, trim)->trimming = false;
}

static void on_look(struct timer *t)
{
    struct gateway_memory *m = CONTAINER_OF(t, struct gateway_memory, look);
    struct gateway_core *g = CONTAINER_OF(m, struct gateway_core, memory_look);
    struct loop *l = g->loops[0].loop;

    timer_set(l, t, loop_now_ms(l) + LOOK_MS);
    if (!gateway_memory_is_due(m, count_connections(g)) || m->trimming)
        return;
    m->trim = (struct work){.run = trim_run, .done = trim_done};
    m->trimming = loop_work(l, &m->trim) == OK;
}

void gateway_memory_start(struct gateway_core *g)
{
    struct loop *l = g->loops[0].loop;

    g->memory_look.look.fire = on_look;
    timer_set(l, &g->memory_look.look, loop_now_ms(l) + LOOK_MS);
}

void gateway_memory_stop(struct gateway_core *g)
{
    if (g->loops && g->loops[0].loop && g->memory_look.look.fire)
        timer_clear(g->loops[0].loop, &g->memory_look.look);
}
