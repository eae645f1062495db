/* SPDX-License-Identifier: Apache-2.0 */
/* demo_ca.h - the demo's certificates. */
#ifndef PROC_DEMO_CA_H
#define PROC_DEMO_CA_H

#include "base/buf.h"

/* Makes DIR/ca.pem, ca.key, server.pem (leaf for localhost, 127.0.0.1 and ::1), server.key,
 * client.pem (for clients, client.demo.test) and client.key, or leaves those that are there and
 * good for another week. Keys are P-256, mode 0600. */
NODISCARD enum err demo_ca_prepare(const char *dir, struct buf *why);

#endif
