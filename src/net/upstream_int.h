/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_int.h - making one connection, for the pool. */
#ifndef NET_UPSTREAM_INT_H
#define NET_UPSTREAM_INT_H

#include "net/upstream.h"

/* One attempt to reach a server: look-up, each address in turn, TLS, policy. */
struct dial;
typedef void (*dial_fn)(void *arg, struct stream *s, enum err err, const char *why);
/* Inside |fn|; NULL: there was no connection. */
const struct upstream_refusal *dial_refusal(const struct dial *d);
/* Borrows |s| until |fn| is called or it is cancelled; calls from the run-next queue only. */
NODISCARD enum err dial_new(struct loop *l, const struct upstream_settings *s, dial_fn fn,
                            void *arg, struct dial **ret);
/* No call after this. */
void dial_cancel(struct dial *d);

#endif
