/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/made_config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"

/* A JSON string is a YAML string, whatever the path has in it. */
void made_quoted(struct buf *out, const char *dir, const char *name)
{
    struct buf path;
    struct json j = json_to(out);

    buf_init(&path, 0);
    buf_fmt(&path, "%s%s", dir, name);
    json_text(&j, NULL, buf_cstr(&path));
    buf_done(&path);
}

enum err made_failed(struct buf *why, const char *what, const char *path)
{
    buf_fmt(why, "cannot %s %s: %s", what, path, strerror(errno));
    return ERR_IO;
}

enum err made_directory(const char *path, struct buf *why)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return OK;
    return made_failed(why, "make", path);
}

enum err made_save(const char *path, const struct buf *text, struct buf *why)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool ok;

    if (text->err)
        return text->err;
    if (fd < 0)
        return made_failed(why, "write", path);
    ok = write(fd, text->p, text->n) == (ssize_t)text->n;
    ok = close(fd) == 0 && ok;
    return ok ? OK : made_failed(why, "write", path);
}

char *made_below(const char *dir, const char *name)
{
    struct buf path;

    buf_init(&path, 0);
    buf_fmt(&path, "%s%s", dir, name);
    char *ret = path.err ? NULL : span_dup(buf_span(&path));

    buf_done(&path);
    return ret;
}
