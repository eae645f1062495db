/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/journal.h"

#include <errno.h>
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

enum err journal_read(struct journal *j, struct span *ret)
{
    struct span text;

    if (j->fd < 0)
        return ERR_MISSING;
    TRY(text_read(j->fd, TEXT_PUBLIC, &text));
    j->size = text.n;
    j->torn = text.n > 0 && text.p[text.n - 1] != '\n';
    *ret = text;
    return OK;
}

bool journal_has_grown(const struct journal *j)
{
    struct stat st;

    return j->fd >= 0 && fstat(j->fd, &st) == 0 && (uint64_t)st.st_size != j->size;
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

/* Takes the part back that did get written. If even that fails, the next line begins on a new one.
 */
static void journal_undo(struct journal *j)
{
    int kept = errno;

    if (ftruncate(j->fd, (off_t)j->size) != 0)
        j->torn = true;
    errno = kept;
}

enum err journal_append(struct journal *j, struct span lines, struct buf *why)
{
    if (j->fd < 0) {
        buf_text(why, "there is no journal to write it to");
        return ERR_MISSING;
    }
    if (j->size + lines.n > JOURNAL_MAX) {
        buf_text(why, "the journal is full: start Sallyport anew, which takes out what is over");
        return ERR_LIMIT;
    }
    struct span lf = j->torn ? SPAN("\n") : SPAN("");

    if (!write_all(j->fd, lf) || !write_all(j->fd, lines) || fdatasync(j->fd) != 0) {
        journal_undo(j);
        enum err e = err_from_errno(errno);

        buf_fmt(why, "cannot be written to STATE/exceptions.jsonl, so nothing was changed: %s",
                strerrordesc_np(errno));
        return e;
    }
    j->size += lf.n + lines.n;
    j->torn = false;
    return OK;
}
