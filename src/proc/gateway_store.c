/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway tells about its store, and how it finds out that the store is well again. */
#include "base/json.h"
#include "proc/gateway_int.h"

#define PROBE_SPACE "probe"
#define PROBE_MS    30000u

static void read_counts(const struct gateway_core *g, struct store_counts *ret)
{
    *ret = (struct store_counts){0};
    if (g->keeper.store) /* else the gateway ends */
        store_count(g->keeper.store, ret);
}

#define STORE_READ(function, member)        \
    static double function(void *arg)       \
    {                                       \
        const struct gateway_core *g = arg; \
        struct store_counts c;              \
                                            \
        read_counts(g, &c);                 \
        return (double)c.member;            \
    }
STORE_READ(gauge_up, up)
STORE_READ(gauge_waiting, waiting)
STORE_READ(total_gets, gets)
STORE_READ(total_lists, lists)
STORE_READ(total_changes, changes)
STORE_READ(total_full, full)
STORE_READ(total_busy, busy)
STORE_READ(total_failed, failed)

#define OPERATIONS "What was asked of the store, and answered."
#define ERRORS     "What the store did not do, by reason."

void gateway_store_metrics(struct gateway_core *g)
{
    static const struct {
        const char *labels;
        double (*read)(void *arg);
    } operations[] =
        {
            {"kind=\"get\"",    total_gets   },
            {"kind=\"list\"",   total_lists  },
            {"kind=\"change\"", total_changes},
    },
      errors[] = {
          {"error=\"full\"", total_full},
          {"error=\"busy\"", total_busy},
          {"error=\"failed\"", total_failed},
      };
    struct metrics *m = g->metrics;

    (void)metrics_gauge(m, "sallyport_store_up", "",
                        "1 when the store was read and written without a failure last; while it is "
                        "0, that is tried every 30 s.",
                        gauge_up, g);
    (void)metrics_gauge(m, "sallyport_store_waiting", "", "What waits for the store.",
                        gauge_waiting, g);
    for (size_t i = 0; i < ARRAY_LEN(operations); i++)
        (void)metrics_total(m, "sallyport_store_operations_total", operations[i].labels, OPERATIONS,
                            operations[i].read, g);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        (void)metrics_total(m, "sallyport_store_errors_total", errors[i].labels, ERRORS,
                            errors[i].read, g);
}

void gateway_store_json(const struct gateway_core *g, struct json *j)
{
    struct store_counts c;

    read_counts(g, &c);
    json_open(j, "store", '{');
    json_bool(j, "up", c.up);
    json_u64(j, "waiting", c.waiting);
    json_u64(j, "changes", c.changes);
    json_u64(j, "full", c.full);
    json_u64(j, "busy", c.busy);
    json_u64(j, "failed", c.failed);
    json_close(j, '}');
}

/* ---- is it well again? ---- */

/* The store counts what becomes of it. */
static void on_probed(void *arg, const struct store_reply *r)
{
    (void)arg;
    (void)r;
}

/* Larger than what is kept of a user: where it finds room, others do. */
void gateway_store_look(struct gateway_core *g)
{
    static const char zeros[4096];
    struct gateway_tenants *t = &g->keeper;
    const struct store_asker by = {.loop = t->loop, .done = on_probed};
    const struct store_put put = {
        .key = SPAN("probe"), .value = {zeros, sizeof zeros},
             .version = STORE_ANY
    };
    uint64_t now = loop_now_ms(t->loop);
    struct store_counts c;

    read_counts(g, &c);
    if (!t->store || c.up) {
        t->probe_ms = now + PROBE_MS;
        return;
    }
    if (now < t->probe_ms)
        return;
    t->probe_ms = now + PROBE_MS;
    (void)!store_get(t->store, PROBE_SPACE, put.key, &by, NULL);
    (void)!store_put(t->store, PROBE_SPACE, &put, &by, NULL);
}
