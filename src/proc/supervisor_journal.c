/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_journal.c - the journal of exceptions. The supervisor opens it, because the gateway
 * opens no path, and at a start takes out what is over: only then does nobody append to it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapt/exceptions.h"
#include "base/log.h"
#include "proc/generation_text.h"
#include "proc/supervisor_int.h"

static int journal_open(const char *path, int more)
{
    return open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | more, 0600);
}

static bool write_all(int fd, struct span text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text = span_sub(text, (size_t)n, SIZE_MAX);
    }
    return true;
}

/* The lines of what is still in force. */
static enum err journal_rewrite(struct span old, struct buf *out, unsigned *ret_bad)
{
    struct exceptions *set = NULL;

    TRY(exceptions_parse(old, clock_wall_ms(&clock_system), &set, ret_bad));
    for (size_t i = 0; i < exceptions_count(set); i++)
        exception_format_add(exceptions_at(set, i), out);
    exceptions_unref(set);
    return out->err;
}

/* Written beside it and renamed: a crash leaves the old one or the new one. Returns the new one's
 * descriptor; -1: errno says why. */
static int journal_replace(const char *path, struct span text)
{
    char fresh[4200];
    int n = snprintf(fresh, sizeof fresh, "%s.new", path), fd;

    if (n < 0 || (size_t)n >= sizeof fresh) {
        errno = ENAMETOOLONG;
        return -1;
    }
    (void)unlink(fresh);
    fd = journal_open(fresh, O_EXCL);
    if (fd < 0)
        return -1;
    if (write_all(fd, text) && fsync(fd) == 0 && rename(fresh, path) == 0)
        return fd;
    int errnum = errno;

    (void)close(fd);
    (void)unlink(fresh);
    errno = errnum;
    return -1;
}

/* Leaves the journal as it is when that cannot be done: it is only longer than it need be. */
static void journal_compact(const char *path, int *fd)
{
    struct span old = SPAN_NONE;
    struct buf text;
    unsigned bad = 0;
    int fresh = -1;

    buf_init(&text, 0);
    enum err e = text_read(*fd, TEXT_PUBLIC, &old);

    if (!e)
        e = journal_rewrite(old, &text, &bad);
    if (!e && bad)
        log_warn("exceptions", "%s: %u lines cannot be read and are left out", path, bad);
    if (!e && !span_eq(old, buf_span(&text)) &&
        (fresh = journal_replace(path, buf_span(&text))) < 0)
        log_warn("exceptions", "%s is not freed of what is over: %s", path, strerror(errno));
    if (e)
        log_warn("exceptions", "%s is not freed of what is over: %s", path, err_text(e));
    if (fresh >= 0) {
        (void)close(*fd);
        *fd = fresh;
    }
    text_free(&old);
    buf_done(&text);
}

enum err files_open_exceptions(const struct settings_loaded *l, bool compact, int *ret_fd,
                               struct buf *why)
{
    const char *path = l->settings.exceptions_path;
    int fd = journal_open(path, 0);

    if (fd < 0) {
        buf_fmt(why, "cannot open the journal of exceptions %s: %s", path, strerror(errno));
        return ERR_IO;
    }
    if (compact)
        journal_compact(path, &fd);
    if (geteuid() == 0 && l->uid != 0 && fchown(fd, l->uid, l->gid) != 0)
        log_warn("exceptions", "cannot let the user %s have %s: %s", l->settings.user, path,
                 strerror(errno));
    *ret_fd = fd;
    return OK;
}
