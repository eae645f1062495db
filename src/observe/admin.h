/* SPDX-License-Identifier: Apache-2.0 */
/* admin.h - the operators' HTTP/1.1 listener: /metrics, /healthz (the process lives), /readyz (it
 * can do its work; 503 with a sentence otherwise). Loopback by default, clear text, GET and HEAD
 * only, one request to a connection. A peer on loopback must ask for an IP literal or localhost
 * (403): behind any other Host may be a web page in a browser here (DNS rebinding).
 *
 * Threads: everything here belongs to the admin's loop. */
#ifndef OBSERVE_ADMIN_H
#define OBSERVE_ADMIN_H

#include "net/listener.h"
#include "observe/metrics.h"

struct admin_settings {
    const struct metrics *metrics;
    /* True when ready; else |why| gets a sentence. Called on the admin's loop. */
    bool (*ready)(void *arg, struct buf *why);
    void *arg;
    uint64_t timeout_ms;      /* whole connection; 10 s */
    unsigned connections_max; /* 16 */
};

struct admin;
/* The settings are copied. Use admin_listener_events() with |*ret| as the arg of one listener on
 * |l|, whose loop_group holds that loop alone, so that no connection is handed over. */
NODISCARD enum err admin_new(struct loop *l, const struct admin_settings *s, struct admin **ret);
/* After the listener; drops what is open. NULL is fine. */
void admin_free(struct admin *a);
const struct listener_events *admin_listener_events(void);

#endif
