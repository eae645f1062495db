/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - the event log, for operators. Only drivers log, once per failure, at the place that
 * decides; engines and the library return errors instead. One line: time level area: text
 * key=value…; control characters are escaped. Never log body bytes, keys, credentials, or full URLs
 * above debug.
 *
 * Threads: any thread may log; one line is one write(2). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* At start, before threads. |fd| stays the caller's. |role|: "gateway", "supervisor"…, static text.
 * Under systemd
 * ($JOURNAL_STREAM) the lines carry <N> priorities instead of a time. */
void log_setup(int fd, enum log_level level, enum log_format format, const char *role);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
PRINTF(3, 4) void log_event(enum log_level level, const char *area, const char *fmt, ...);

#define log_error(area, ...) log_event(LOG_LEVEL_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_event(LOG_LEVEL_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_event(LOG_LEVEL_INFO, area, __VA_ARGS__)
#define log_debug(area, ...)                               \
    do {                                                   \
        if (log_get_level() >= LOG_LEVEL_DEBUG)            \
            log_event(LOG_LEVEL_DEBUG, area, __VA_ARGS__); \
    } while (0)

/* Lets one message through per |every_ms| and counts the rest. Returns true when this one may go;
 * *ret_held is then how many were held back since the last. Keep one per call site. */
struct log_limit {
    _Atomic uint64_t next_ms;
    _Atomic uint64_t held;
};
bool log_limit_pass(struct log_limit *l, uint64_t now_ms, uint64_t every_ms, uint64_t *ret_held);

#endif
