/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/record_find.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK  65536u
#define ID_MAX 32u

struct search {
    int fd;
    const char *id;
    char needle[ID_MAX + 16];
    struct buf
        window;    /* a block, then the beginning of the line that the block after it begins with */
    bool too_long; /* that line is none of ours: its beginning is dropped */
    struct buf *line;
    int errnum;
};

bool record_id_is_valid(const char *id)
{
    size_t n = strnlen(id, ID_MAX + 1);

    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)id[i]))
            return false;
    return n > 0 && n <= ID_MAX;
}

/* The needle may also stand somewhere else in a record: in an error's text, say. */
static bool is_record(const struct search *s, struct span line)
{
    if (!memmem(line.p, line.n, s->needle, strlen(s->needle)))
        return false;
    json_t *root = json_loadb(line.p, line.n, 0, NULL);
    const char *id = json_string_value(json_object_get(root, "id"));
    bool same = id && strcmp(id, s->id) == 0;

    json_decref(root);
    return same;
}

/* Reads the |n| bytes at |off| in front of what is left of the window. */
static enum err read_block(struct search *s, uint64_t off, size_t n)
{
    struct buf fresh;
    size_t got = 0;

    buf_init(&fresh, 0);
    char *p = buf_reserve(&fresh, n);

    while (p && got < n) {
        ssize_t r = pread(s->fd, p + got, n - got, (off_t)(off + got));

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            s->errnum = r < 0 ? errno : EIO;
            buf_done(&fresh);
            return ERR_IO;
        }
        got += (size_t)r;
    }
    fresh.n = got;
    buf_add(&fresh, buf_span(&s->window));
    buf_done(&s->window);
    s->window = fresh;
    return fresh.err;
}

static size_t last_lf(struct span text)
{
    const char *at = text.n ? memrchr(text.p, '\n', text.n) : NULL;

    return at ? (size_t)(at - text.p) : text.n;
}

/* Looks at the whole lines of the window, the last one first, and leaves its first one, which may
 * begin further ahead. */
static bool search_window(struct search *s, bool first)
{
    struct span rest = buf_span(&s->window);

    for (;;) {
        size_t lf = last_lf(rest);
        struct span line = lf < rest.n ? span_sub(rest, lf + 1, SIZE_MAX) : rest;

        if (lf == rest.n && !first)
            break;
        if (!s->too_long && is_record(s, line)) {
            buf_add(s->line, line);
            return true;
        }
        s->too_long = false;
        if (lf == rest.n)
            return false;
        rest = span_sub(rest, 0, lf);
    }
    s->window.n = rest.n;
    if (rest.n > RECORD_FIND_LINE_MAX) {
        s->too_long = true;
        s->window.n = 0;
    }
    return false;
}

static enum err search_file(struct search *s)
{
    struct stat st;

    if (fstat(s->fd, &st) != 0) {
        s->errnum = errno;
        return ERR_IO;
    }
    uint64_t off = (uint64_t)st.st_size;

    while (off > 0) {
        size_t n = off < BLOCK ? (size_t)off : BLOCK;

        off -= n;
        TRY(read_block(s, off, n));
        if (search_window(s, off == 0))
            return s->line->err;
    }
    return ERR_MISSING;
}

enum err record_find(const char *path, const char *id, struct buf *line, int *ret_errnum)
{
    struct search s = {.id = id, .line = line};

    *ret_errnum = 0;
    if (!record_id_is_valid(id))
        return ERR_MISSING;
    (void)snprintf(s.needle, sizeof s.needle, "\"id\":\"%s\"", id);
    s.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (s.fd < 0) {
        *ret_errnum = errno;
        return ERR_IO;
    }
    buf_init(&s.window, 0);
    enum err e = search_file(&s);

    *ret_errnum = s.errnum;
    buf_done(&s.window);
    (void)close(s.fd);
    return e;
}
