/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"

#define LOG_LINE_MAX 4096u

static struct {
    int fd;
    _Atomic int level;
    enum log_format format;
    const char *role;
    bool journal;
} sink = {.fd = STDERR_FILENO, .level = LOG_LEVEL_INFO, .role = "sallyport"};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
/* sd-daemon(3): <3> error, <4> warning, <6> info, <7> debug. */
static const char level_priority[] = {'3', '4', '6', '7'};

void log_setup(int fd, enum log_level level, enum log_format format, const char *role)
{
    sink.fd = fd;
    atomic_store(&sink.level, (int)level);
    sink.format = format;
    sink.role = role;
    sink.journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&sink.level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&sink.level, memory_order_relaxed);
}

/* Length of the character at |i|, or 0 when a terminal might obey it or cannot show it: C0, DEL, C1
 * (U+0080..U+009F; U+009B is what ESC [ is), and bytes that are not UTF-8. */
static size_t plain_len(struct span s, size_t i)
{
    unsigned char c = (unsigned char)s.p[i];
    size_t len = utf8_len(span_sub(s, i, SIZE_MAX));

    if (c < 0x20 || c == 0x7f)
        return 0;
    if (len == 2 && c == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0)
        return 0;
    return len;
}

static void add_escaped(struct buf *out, struct span s)
{
    for (size_t i = 0; i < s.n;) {
        size_t len = plain_len(s, i);

        if (len)
            buf_add(out, span_sub(s, i, len));
        else
            buf_fmt(out, "\\x%02x", (unsigned char)s.p[i]);
        i += len ? len : 1;
    }
}

static void line_text(struct buf *out, enum log_level level, const char *area, struct span message)
{
    char when[ISO_TIME_LEN + 1];

    if (sink.journal) {
        buf_fmt(out, "<%c>", level_priority[level]);
    } else {
        clock_iso_time(clock_wall_ms(&clock_system), when);
        buf_fmt(out, "%s ", when);
    }
    buf_fmt(out, "%s %s[%d] %s: ", level_names[level], sink.role, (int)getpid(), area);
    add_escaped(out, message);
    buf_char(out, '\n');
}

static void line_json(struct buf *out, enum log_level level, const char *area, struct span message)
{
    char when[ISO_TIME_LEN + 1];
    struct json j = json_to(out);

    clock_iso_time(clock_wall_ms(&clock_system), when);
    json_open(&j, NULL, '{');
    json_text(&j, "time", when);
    json_text(&j, "level", level_names[level]);
    json_text(&j, "role", sink.role);
    json_u64(&j, "pid", (uint64_t)getpid());
    json_text(&j, "area", area);
    json_span(&j, "message", message);
    json_close(&j, '}');
    buf_char(out, '\n');
}

void log_event(enum log_level level, const char *area, const char *fmt, ...)
{
    char text[LOG_LINE_MAX];
    int saved_errno = errno; /* callers log between a failed call and their look at errno */
    struct buf line;
    va_list ap;
    int n;

    if (level > log_get_level())
        return;
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    struct span message = {text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1};

    buf_init(&line, 0);
    if (sink.format == LOG_FORMAT_JSON)
        line_json(&line, level, area, message);
    else
        line_text(&line, level, area, message);
    /* Nothing sensible can be done when the log cannot be written. */
    ssize_t written = line.err ? 0 : write(sink.fd, line.p, line.n);
    (void)written;
    buf_done(&line);
    errno = saved_errno;
}

bool log_limit_pass(struct log_limit *l, uint64_t now_ms, uint64_t every_ms, uint64_t *ret_held)
{
    uint64_t next = atomic_load_explicit(&l->next_ms, memory_order_relaxed);

    if (now_ms < next || !atomic_compare_exchange_strong(&l->next_ms, &next, now_ms + every_ms)) {
        atomic_fetch_add_explicit(&l->held, 1, memory_order_relaxed);
        return false;
    }
    *ret_held = atomic_exchange_explicit(&l->held, 0, memory_order_relaxed);
    return true;
}
