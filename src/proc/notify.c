/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"

static socklen_t notify_address(struct sockaddr_un *sa)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct span p = span_of(path);

    if (p.n < 2 || p.n >= sizeof sa->sun_path || (p.p[0] != '/' && p.p[0] != '@'))
        return 0;
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)span_copy(p, sa->sun_path, sizeof sa->sun_path);
    if (p.p[0] == '@')
        sa->sun_path[0] = '\0'; /* abstract: the length counts, there is no NUL */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + p.n);
}

void notify(const char *fmt, ...)
{
    struct sockaddr_un sa;
    socklen_t len = notify_address(&sa);
    struct buf text;
    va_list ap;

    if (len == 0)
        return;
    buf_init(&text, 4096);
    va_start(ap, fmt);
    buf_vfmt(&text, fmt, ap);
    va_end(ap);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd >= 0) {
        if (!text.err)
            (void)sendto(fd, text.p, text.n, MSG_DONTWAIT | MSG_NOSIGNAL,
                         (const struct sockaddr *)&sa, len);
        (void)close(fd);
    }
    buf_done(&text);
}

uint64_t notify_watchdog_ms(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t period, who;

    if (!us || span_u64(span_of(us), UINT64_MAX, &period) != OK)
        return 0;
    if (pid && (span_u64(span_of(pid), INT32_MAX, &who) != OK || (pid_t)who != getpid()))
        return 0;
    return period / 2000; /* twice as often as it is wanted */
}
