/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/log.h"
#include "proc/gateway_int.h"

static void order_task(struct task *t)
{
    struct order *o = CONTAINER_OF(t, struct order, task);

    o->run(o);
    free(o);
}

/* Out of memory while a configuration changes is fatal: half a change is worse than a restart by
 * the supervisor. */
struct order *order_new(struct gateway_loop *to, void (*run)(struct order *o))
{
    struct order *o = calloc(1, sizeof *o);

    if (!o) {
        log_error("gateway", "no memory to pass an order to a loop; ending, to be started again");
        abort();
    }
    *o = (struct order){.task.run = order_task, .to = to, .run = run, .fd = -1};
    return o;
}

void order_post(struct order *o)
{
    loop_post(o->to->loop, &o->task);
}
