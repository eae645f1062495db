/* SPDX-License-Identifier: Apache-2.0 */
/* watch_path.c - files that people and secret stores replace under us.
 *
 * An editor writes a new file and renames it over the old one, so a watch on the file alone goes
 * blind with the old inode; a Kubernetes volume swaps the link "..data" beside the file. Both show
 * in the directory. Writing through a link shows only at its target: that is watched as well, and
 * looked up again after each change. */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <uv.h>

#include "base/span.h"
#include "net/loop_int.h"

#define DEBOUNCE_MS 200u

struct path_watch {
    struct loop *loop;
    uv_fs_event_t dir;  /* the directory of |path|, or |path| itself when it is one */
    uv_fs_event_t file; /* |path|, through links; best effort */
    bool is_dir;
    unsigned open; /* handles that are not closed yet */
    char *path;
    char *name; /* last part of |path|; inside |path_parts| */
    char *parent;
    char *path_parts[2];
    void (*fn)(void *arg);
    void *arg;
    struct timer timer;
};

static void changed(struct path_watch *p)
{
    /* From the first change on, not the last: a file that is written all the time is still seen. */
    if (p->timer.next == NULL)
        timer_set(p->loop, &p->timer, loop_now_ms(p->loop) + DEBOUNCE_MS);
}

static void on_file(uv_fs_event_t *h, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    (void)status;
    changed(h->data);
}

static void on_dir(uv_fs_event_t *h, const char *name, int events, int status)
{
    struct path_watch *p = h->data;

    (void)events;
    if (status < 0 || !name || p->is_dir || strcmp(name, p->name) == 0 ||
        strncmp(name, "..", 2) == 0)
        changed(p);
}

static void watch_file(struct path_watch *p)
{
    (void)uv_fs_event_stop(&p->file);
    if (!p->is_dir)
        (void)uv_fs_event_start(&p->file, on_file, p->path, 0);
}

static void on_debounced(struct timer *t)
{
    struct path_watch *p = CONTAINER_OF(t, struct path_watch, timer);

    watch_file(p);
    p->fn(p->arg);
}

static void path_free(struct path_watch *p)
{
    free(p->path);
    free(p->path_parts[0]);
    free(p->path_parts[1]);
    free(p);
}

static void on_closed(uv_handle_t *h)
{
    struct path_watch *p = h->data;

    if (--p->open == 0)
        path_free(p);
}

void path_watch_close(struct path_watch *p)
{
    if (!p)
        return;
    timer_clear(p->loop, &p->timer);
    uv_close((uv_handle_t *)&p->dir, on_closed);
    uv_close((uv_handle_t *)&p->file, on_closed);
}

static bool set_names(struct path_watch *p, const char *path)
{
    struct stat st;

    p->path = span_dup(span_of(path));
    p->path_parts[0] = span_dup(span_of(path));
    p->path_parts[1] = span_dup(span_of(path));
    if (!p->path || !p->path_parts[0] || !p->path_parts[1])
        return false;
    p->is_dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    p->name = basename(p->path_parts[0]);
    p->parent = p->is_dir ? p->path : dirname(p->path_parts[1]);
    return true;
}

enum err path_watch_new(struct loop *l, const char *path, void (*fn)(void *arg), void *arg,
                        struct path_watch **ret)
{
    struct path_watch *p = calloc(1, sizeof *p);

    if (!p || !set_names(p, path)) {
        if (p)
            path_free(p);
        return ERR_NOMEM;
    }
    p->loop = l;
    p->fn = fn;
    p->arg = arg;
    p->timer.fire = on_debounced;
    p->open = 2;
    (void)uv_fs_event_init(loop_uv(l), &p->dir);
    (void)uv_fs_event_init(loop_uv(l), &p->file);
    p->dir.data = p;
    p->file.data = p;
    int r = uv_fs_event_start(&p->dir, on_dir, p->parent, 0);

    if (r != 0) {
        path_watch_close(p);
        return err_from_errno(-r);
    }
    watch_file(p);
    *ret = p;
    return OK;
}
