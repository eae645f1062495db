/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/record_follow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/record_find.h"

#define BLOCK 65536u

struct record_follow {
    char *path;
    int fd;
    struct buf text; /* what was read; lines before |at| are done with */
    size_t at;
    bool too_long; /* the line that is being read is no record */
};

static enum err open_file(struct record_follow *f, int *ret_errnum)
{
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (f->fd >= 0 && fcntl(f->fd, F_SETFL, O_RDONLY) == 0) /* only open(2) must not wait */
        return OK;
    *ret_errnum = errno;
    return ERR_IO;
}

enum err record_follow_open(const char *path, struct record_follow **ret, int *ret_errnum)
{
    struct record_follow *f = calloc(1, sizeof *f);

    *ret_errnum = 0;
    if (!f)
        return ERR_NOMEM;
    f->fd = -1;
    buf_init(&f->text, 0);
    f->path = span_dup(span_of(path));
    enum err e = f->path ? open_file(f, ret_errnum) : ERR_NOMEM;

    if (e)
        record_follow_close(f);
    else
        *ret = f;
    return e;
}

void record_follow_close(struct record_follow *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        (void)close(f->fd);
    buf_done(&f->text);
    free(f->path);
    free(f);
}

/* A whole line of what was read, if there is one. */
static bool take_line(struct record_follow *f, struct span *ret)
{
    for (;;) {
        struct span rest = {f->text.p + f->at, f->text.n - f->at};
        size_t lf = span_find(rest, '\n');

        if (lf == rest.n)
            return false;
        f->at += lf + 1;
        *ret = span_sub(rest, 0, lf);
        if (!f->too_long)
            return true;
        f->too_long = false;
    }
}

/* ERR_EOF: the file has no more now. */
static enum err read_more(struct record_follow *f, int *ret_errnum)
{
    buf_drop(&f->text, f->at);
    f->at = 0;
    if (f->text.n > RECORD_FIND_LINE_MAX) {
        f->too_long = true;
        buf_reset(&f->text);
    }
    char *p = buf_reserve(&f->text, BLOCK);

    if (!p)
        return ERR_NOMEM;
    ssize_t n = read(f->fd, p, BLOCK);

    if (n > 0)
        f->text.n += (size_t)n;
    if (n >= 0)
        return n > 0 ? OK : ERR_EOF;
    *ret_errnum = errno;
    return errno == EINTR ? OK : ERR_IO;
}

/* The rest of a line that the writer has not finished yet would never come. */
static void begin_anew(struct record_follow *f)
{
    buf_reset(&f->text);
    f->at = 0;
    f->too_long = false;
}

static enum err take_next_file(struct record_follow *f, int *ret_errnum)
{
    int old = f->fd;
    enum err e = open_file(f, ret_errnum);

    if (e) {
        f->fd = old;
        return *ret_errnum == ENOENT ? ERR_AGAIN : e;
    }
    (void)close(old);
    begin_anew(f);
    return OK;
}

/* At the end of the file: is there another one at its path by now? One that is empty has no writer
 * yet: until it has, lines still go to the old one, and when it has, the old one is whole. So the
 * new one is looked at first. */
static enum err look_again(struct record_follow *f, int *ret_errnum)
{
    struct stat there, here;
    bool other = stat(f->path, &there) == 0 && there.st_size > 0;
    off_t at = lseek(f->fd, 0, SEEK_CUR);

    if (fstat(f->fd, &here) != 0) {
        *ret_errnum = errno;
        return ERR_IO;
    }
    if (at < 0) /* a pipe: its end is the end */
        return ERR_AGAIN;
    if (at < here.st_size)
        return OK;
    if (at > here.st_size) { /* cut short */
        begin_anew(f);
        return lseek(f->fd, 0, SEEK_SET) == 0 ? OK : ERR_IO;
    }
    if (!other || (there.st_dev == here.st_dev && there.st_ino == here.st_ino))
        return ERR_AGAIN;
    return take_next_file(f, ret_errnum);
}

enum err record_follow_next(struct record_follow *f, struct span *ret, int *ret_errnum)
{
    while (!take_line(f, ret)) {
        enum err e = read_more(f, ret_errnum);

        if (e == ERR_EOF)
            e = look_again(f, ret_errnum);
        if (e)
            return e;
    }
    return OK;
}
