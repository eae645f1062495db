/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_logins.h - logins of the gateway: there when a listener asks for one, or is for printers;
 * told of every new set of tenants, and what they say of themselves.
 *
 * Threads: loop 0's. */
#ifndef PROC_GATEWAY_LOGINS_H
#define PROC_GATEWAY_LOGINS_H

#include "base/json.h"
#include "net/loop.h"
#include "tenant/logins.h"

struct gateway_core;
struct tenant_gauge;

struct gateway_logins {
    struct gateway_core *gateway;
    struct logins *logins; /* NULL: nobody asks */
    struct timer sweep;
    struct tenant_gauge *gauges;
};

/* After the tenants were loaded, before the loops. */
NODISCARD enum err gateway_logins_init(struct gateway_core *g, struct buf *why);
void gateway_logins_start(struct gateway_core *g);
void gateway_logins_stop(struct gateway_core *g);
/* After every loop was freed. */
void gateway_logins_done(struct gateway_core *g);

/* Another configuration is in force. */
void gateway_logins_configured(struct gateway_core *g);
/* |t| is the set in force: ends sessions, makes new ISTags. */
void gateway_logins_tenants(struct gateway_core *g, struct tenants *t);

/* A member "logins" of an open object. */
void gateway_logins_json(const struct gateway_core *g, struct json *j);
void gateway_logins_metrics(struct gateway_core *g);

#endif
