/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/generation_text.h"

void journal_init(struct journal *j, int fd)
{
    *j = (struct journal){.fd = fd};
}

void journal_done(struct journal *j)
{
    if (j->fd >= 0)
        (void)close(j->fd);
    j->fd = -1;
}

/* What the file is now is what we know of it. */
static void remember(struct journal *j, const struct stat *st)
{
    j->size = (uint64_t)st->st_size;
    j->mtime = st->st_mtim;
}

enum err journal_read(struct journal *j, struct span *ret)
{
    struct stat st;
    struct span text;

    if (j->fd < 0)
        return ERR_MISSING;
    if (fstat(j->fd, &st) != 0)
        return ERR_IO;
    TRY(text_read(j->fd, TEXT_PUBLIC, &text));
    remember(j, &st);
    *ret = text;
    return OK;
}

static bool is_known(const struct journal *j, const struct stat *st)
{
    return (uint64_t)st->st_size == j->size && st->st_mtim.tv_sec == j->mtime.tv_sec &&
           st->st_mtim.tv_nsec == j->mtime.tv_nsec;
}

bool journal_has_grown(const struct journal *j)
{
    struct stat st;

    return j->fd >= 0 && fstat(j->fd, &st) == 0 && !is_known(j, &st);
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

/* A lock of the process: what it was handed down is one open file for all generations, whose own
 * lock would be everybody's. It does not wait, because the other one may be stopped or on a disk
 * that hangs, and this is a loop's thread. */
static bool lock(const struct journal *j, short type)
{
    const struct flock l = {.l_type = type, .l_whence = SEEK_SET};

    return fcntl(j->fd, F_SETLK, &l) == 0;
}

/* Someone died, or found the disk full, in the middle of the last line. */
static bool is_torn(const struct journal *j, uint64_t end)
{
    char last = '\n';

    return end > 0 && (pread(j->fd, &last, 1, (off_t)end - 1) != 1 || last != '\n');
}

/* Behind |end|, where the file ended when it was locked: what is taken back again is ours alone.
 * Where even that fails the next one begins a line of its own. */
static enum err append_at(const struct journal *j, uint64_t end, struct span lines, struct buf *why)
{
    struct span lf = is_torn(j, end) ? SPAN("\n") : SPAN("");

    if (write_all(j->fd, lf) && write_all(j->fd, lines) && fdatasync(j->fd) == 0)
        return OK;
    int errnum = errno;
    bool undone = ftruncate(j->fd, (off_t)end) == 0;

    buf_fmt(why, "cannot be written to STATE/exceptions.jsonl, so nothing was changed: %s%s",
            strerrordesc_np(errnum),
            undone ? "" : " (what was written of it could not be taken back: look at the list)");
    return err_from_errno(errnum);
}

static enum err append_locked(struct journal *j, struct span lines, struct buf *why)
{
    struct stat before, after;

    if (fstat(j->fd, &before) != 0) {
        buf_text(why, "STATE/exceptions.jsonl cannot be looked at, so nothing was changed");
        return ERR_IO;
    }
    if ((uint64_t)before.st_size + lines.n > JOURNAL_MAX) {
        buf_text(why, "the journal is full: start Sallyport anew, which takes out what is over");
        return ERR_LIMIT;
    }
    bool known = is_known(j, &before);
    enum err e = append_at(j, (uint64_t)before.st_size, lines, why);

    /* What others wrote before us is still to be read. */
    if (known && fstat(j->fd, &after) == 0)
        remember(j, &after);
    return e;
}

enum err journal_append(struct journal *j, struct span lines, struct buf *why)
{
    if (j->fd < 0) {
        buf_text(why, "there is no journal to write it to");
        return ERR_MISSING;
    }
    if (!lock(j, F_WRLCK)) {
        bool busy = errno == EAGAIN || errno == EACCES;

        buf_fmt(why, "STATE/exceptions.jsonl %s, so nothing was changed: %s",
                busy ? "is being written by another process of Sallyport" : "cannot be locked",
                busy ? "try again" : strerrordesc_np(errno));
        return busy ? ERR_BUSY : ERR_IO;
    }
    enum err e = append_locked(j, lines, why);

    (void)lock(j, F_UNLCK);
    return e;
}
