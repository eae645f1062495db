/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/policy_load.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 4096u

static int refuse(struct buf *why, const char *path, int err, const char *text)
{
    buf_fmt(why, "%s: %s", path, text);
    return -err;
}

const char *policy_owner_fault(const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return "not a regular file";
    if (st->st_uid != 0)
        return "must belong to root: chown root it";
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return "others than its owner can write it: chmod go-w it";
    return NULL;
}

/* Of the file that is open, not of the name, which somebody may change meanwhile. */
static int check_owner(int fd, const char *path, struct buf *why)
{
    struct stat st;
    const char *fault = fstat(fd, &st) == 0 ? policy_owner_fault(&st) : "cannot be looked at";

    return fault ? refuse(why, path, EPERM, fault) : 0;
}

static int read_all(int fd, const char *path, struct buf *text, struct buf *why)
{
    for (;;) {
        char *room = buf_reserve(text, PIECE);
        ssize_t n = room ? read(fd, room, PIECE) : -1;

        if (!room)
            return refuse(why, path, text->err == ERR_NOMEM ? ENOMEM : EBADMSG,
                          "more than 256 KiB, or no memory for it");
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refuse(why, path, EIO, "cannot be read");
        if (n == 0)
            return 0;
        text->n += (size_t)n;
    }
}

static int parse(const char *path, const struct buf *text, struct policy_file **ret,
                 struct buf *why)
{
    struct policy_fault fault;
    enum err e = policy_parse(buf_span(text), ret, &fault);

    if (e == OK)
        return 0;
    if (e == ERR_NOMEM)
        return refuse(why, path, ENOMEM, "no memory for it");
    if (fault.line)
        buf_fmt(why, "%s:%u: %s", path, fault.line, fault.why);
    else
        buf_fmt(why, "%s: %s", path, fault.why);
    return -EBADMSG;
}

int policy_load(const char *path, struct policy_file **ret, struct buf *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct buf text;
    int e;

    if (fd < 0) {
        e = errno;
        return refuse(why, path, e,
                      e == ENOENT ? "there is no such file" : "cannot be opened for reading");
    }
    buf_init(&text, POLICY_TEXT_MAX + PIECE);
    e = check_owner(fd, path, why);
    if (!e)
        e = read_all(fd, path, &text, why);
    if (!e)
        e = parse(path, &text, ret, why);
    buf_done(&text);
    (void)close(fd);
    return e;
}
