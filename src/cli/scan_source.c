/* SPDX-License-Identifier: Apache-2.0 */
/* scan_source.c - the files to scan: named, listed, below folders, or standard input. */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/scan_int.h"

#define LIST_MAX (256u << 20)
#define PIECE    65536u

struct scan_source {
    struct buf list; /* what --files-from had; |paths| point into it */
    char **paths;
    size_t n_paths;
    FTS *tree; /* with the first file: glibc's fts_close() leaks what was never read */
    bool walked;
    bool has_stdin; /* and it was not handed out yet */
    struct scan_found input;
};

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool add_path(char ***paths, size_t *n_paths, char *path)
{
    char **grown = *paths;

    /* Doubles at powers of two; one place stays for the closing NULL. */
    if ((*n_paths & (*n_paths + 1)) == 0)
        grown = reallocarray(*paths, 2 * (*n_paths + 1) + 1, sizeof *grown);
    if (!grown)
        return false;
    *paths = grown;
    grown[(*n_paths)++] = path;
    grown[*n_paths] = NULL;
    return true;
}

bool scan_list_split(struct buf *text, char ***paths, size_t *n_paths)
{
    char separator = span_find(buf_span(text), '\0') < text->n ? '\0' : '\n';
    size_t start = 0;

    if (text->n == 0)
        return true;
    if (text->p[text->n - 1] != separator)
        buf_char(text, separator);
    if (text->err)
        return false;
    for (size_t i = 0; i < text->n; i++) {
        if (text->p[i] != separator)
            continue;
        text->p[i] = '\0';
        if (i > start && !add_path(paths, n_paths, text->p + start))
            return false;
        start = i + 1;
    }
    return true;
}

static bool read_all(int fd, struct buf *out)
{
    for (;;) {
        char *room = buf_reserve(out, PIECE);
        ssize_t n = room ? read(fd, room, PIECE) : -1;

        if (n < 0 && room && errno == EINTR)
            continue;
        if (n < 0 && !room)
            errno = EFBIG;
        if (n <= 0)
            return n == 0;
        out->n += (size_t)n;
    }
}

static bool read_list(struct scan_source *s, const char *from)
{
    bool is_stdin = strcmp(from, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(from, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read_all(fd, &s->list);
    int errnum = errno;

    if (fd >= 0 && !is_stdin)
        (void)close(fd);
    if (!ok) {
        (void)fprintf(stderr, "sallyport scan: --files-from %s: %s\n", from, strerror(errnum));
        return false;
    }
    return scan_list_split(&s->list, &s->paths, &s->n_paths);
}

/* ---- standard input ---- */

/* Memory is short where files are large: a temporary file without a name, if there is room for
 * one. */
static int spool_new(void)
{
    const char *dir = getenv("TMPDIR");
    int fd = open(dir && dir[0] ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    return fd >= 0 ? fd : memfd_create("sallyport-scan", MFD_CLOEXEC);
}

static bool copy_all(int from, int to)
{
    char piece[PIECE];

    for (;;) {
        ssize_t n = read(from, piece, sizeof piece);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        for (ssize_t done = 0; done < n;) {
            ssize_t w = write(to, piece + done, (size_t)(n - done));

            if (w < 0 && errno != EINTR)
                return false;
            done += w > 0 ? w : 0;
        }
    }
}

int scan_spool(int fd)
{
    char again[64];
    int spool = spool_new(), ret = -1, errnum;

    if (spool < 0)
        return -1;
    (void)snprintf(again, sizeof again, "/proc/self/fd/%d", spool);
    if (copy_all(fd, spool))
        ret = open(again, O_RDONLY | O_CLOEXEC); /* workers get nothing that they could write */
    errnum = errno;
    (void)close(spool);
    errno = errnum;
    return ret;
}

/* ---- opening ---- */

static bool take_stdin(struct scan_source *s, const char *name)
{
    s->has_stdin = true;
    s->input = (struct scan_found){.path = strdup(name ? name : "stdin"), .spooled = true};
    s->input.name = s->input.path;
    s->input.fd = scan_spool(STDIN_FILENO);
    s->input.errnum = s->input.fd < 0 ? errno : 0;
    return s->input.path != NULL;
}

static bool fill(struct scan_source *s, const struct scan_source_options *o)
{
    for (unsigned i = 0; o->paths[i]; i++) {
        if (strcmp(o->paths[i], "-") == 0) {
            if (!take_stdin(s, o->name))
                return false;
        } else if (!add_path(&s->paths, &s->n_paths, o->paths[i])) {
            return false;
        }
    }
    return !o->files_from || read_list(s, o->files_from);
}

struct scan_source *scan_source_open(const struct scan_source_options *o, int *ret_code)
{
    struct scan_source *s = calloc(1, sizeof *s);

    if (s) {
        buf_init(&s->list, LIST_MAX);
        if (fill(s, o))
            return s;
        scan_source_close(s);
    }
    *ret_code = EXIT_USAGE;
    return NULL;
}

void scan_source_close(struct scan_source *s)
{
    if (!s)
        return;
    if (s->tree)
        (void)fts_close(s->tree);
    if (s->has_stdin) {
        if (s->input.fd >= 0)
            (void)close(s->input.fd);
        free(s->input.path);
    }
    free(s->paths);
    buf_done(&s->list);
    free(s);
}

/* ---- one after the other ---- */

static bool found_path(struct scan_found *ret, const char *path, int errnum)
{
    *ret = (struct scan_found){.path = strdup(path), .fd = -1, .errnum = errnum};
    if (ret->path) {
        char *slash = strrchr(ret->path, '/');

        ret->name = slash && slash[1] ? slash + 1 : ret->path;
    }
    return ret->path != NULL;
}

static bool open_tree(struct scan_source *s, int *ret_errnum)
{
    s->walked = true;
    s->tree = fts_open(s->paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, by_name);
    *ret_errnum = s->tree ? 0 : errno;
    return s->tree != NULL;
}

bool scan_source_next(struct scan_source *s, struct scan_found *ret)
{
    FTSENT *f;
    int errnum;

    if (s->has_stdin) {
        *ret = s->input;
        s->has_stdin = false;
        return true;
    }
    if (!s->walked && s->n_paths > 0 && !open_tree(s, &errnum))
        return found_path(ret, s->paths[0], errnum);
    while (s->tree && (f = fts_read(s->tree)) != NULL) {
        if (f->fts_info == FTS_F)
            return found_path(ret, f->fts_path, 0);
        if (f->fts_info == FTS_DNR || f->fts_info == FTS_ERR || f->fts_info == FTS_NS)
            return found_path(ret, f->fts_path, f->fts_errno);
        if (f->fts_info == FTS_DEFAULT && f->fts_level == 0)
            return found_path(ret, f->fts_path, EINVAL);
    }
    return false;
}
