/* SPDX-License-Identifier: Apache-2.0 */
/* notify.h - tells systemd how we are, as sd_notify(3) does: one datagram to $NOTIFY_SOCKET. */
#ifndef PROC_NOTIFY_H
#define PROC_NOTIFY_H

#include <stdint.h>

#include "base/attr.h"

/* "READY=1\nSTATUS=…". Nothing happens without $NOTIFY_SOCKET; a full queue loses the message.
 * Never blocks. */
PRINTF(1, 2) void notify(const char *fmt, ...);
/* How often "WATCHDOG=1" is due, ms; 0: never. */
uint64_t notify_watchdog_ms(void);

#endif
