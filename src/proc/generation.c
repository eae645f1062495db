/* SPDX-License-Identifier: Apache-2.0 */
/* generation.c - gathers what comes between BEGIN and END. */
#include "proc/generation.h"

#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "proc/generation_text.h"

const char *files_kind_name(enum files_kind k)
{
    static const char *const names[FILES_KINDS] = {
        [FILES_POLICY] = "policy", [FILES_LISTS] = "lists", [FILES_PRINTER_CA] = "printer-ca"};

    return names[k];
}

void generation_init(struct generation *g)
{
    *g = (struct generation){.spool_fd = -1,
                             .records_fd = -1,
                             .chain_fd = -1,
                             .exceptions_fd = -1,
                             .store_fd = -1,
                             .engines = ""};
    arena_init(&g->mem, 0);
}

static void fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void generation_drop_texts(struct generation *g)
{
    for (unsigned i = 0; i < g->n_files; i++)
        text_free(&g->files[i].text);
    text_free(&g->config_text);
}

void generation_done(struct generation *g)
{
    generation_drop_texts(g);
    for (unsigned i = 0; i < g->n_sockets; i++)
        fd_close(&g->sockets[i].fd);
    for (unsigned i = 0; g->worker_fds && i < g->threads; i++)
        fd_close(&g->worker_fds[i]);
    fd_close(&g->spool_fd);
    fd_close(&g->records_fd);
    fd_close(&g->chain_fd);
    fd_close(&g->exceptions_fd);
    fd_close(&g->store_fd);
    arena_done(&g->mem);
    generation_init(g);
}

/* Room for one more element of an array that grows by doubling; the old one stays in the arena. */
static void *array_grow(struct arena *mem, void *array, unsigned n, size_t size)
{
    if (n > 0 && (n & (n - 1)) != 0)
        return array;
    void *more = arena_array(mem, n ? 2 * (size_t)n : 1, size);

    if (more && n)
        memcpy(more, array, n * size);
    return more;
}

static enum err add_begin(struct generation *g, const struct proc_message *m)
{
    if (g->state == GENERATION_OPEN || m->threads == 0 || m->threads > GENERATION_THREADS_MAX)
        return ERR_PROTO;
    generation_done(g);
    g->number = m->number;
    g->live = m->live != 0;
    if (!g->live) {
        g->worker_fds = arena_array(&g->mem, m->threads, sizeof *g->worker_fds);
        if (!g->worker_fds)
            return ERR_NOMEM;
        for (unsigned i = 0; i < m->threads; i++)
            g->worker_fds[i] = -1;
    }
    g->threads = m->threads;
    g->state = GENERATION_OPEN;
    return OK;
}

static enum err add_config(struct generation *g, const struct proc_message *m, int fd)
{
    if (g->config_file || fd < 0)
        return ERR_PROTO;
    TRY(text_read(fd, TEXT_SECRET, &g->config_text));
    g->config_file = arena_text(&g->mem, span_of(m->text));
    return g->config_file ? OK : ERR_NOMEM;
}

static struct span file_text(const struct generation *g, unsigned owner, const char *path)
{
    for (unsigned i = 0; path && i < g->n_files; i++)
        if (g->files[i].owner == owner && strcmp(g->files[i].path, path) == 0)
            return g->files[i].text;
    return SPAN_NONE;
}

static enum err add_file(struct generation *g, const struct proc_message *m, int fd)
{
    struct generation_file *files;

    if (fd < 0 || g->n_files == GENERATION_FILES_MAX || file_text(g, m->loop, m->text).p)
        return ERR_PROTO;
    files = array_grow(&g->mem, g->files, g->n_files, sizeof *files);
    if (!files)
        return ERR_NOMEM;
    g->files = files;
    struct generation_file *f = &files[g->n_files];

    f->path = arena_text(&g->mem, span_of(m->text));
    f->owner = m->loop;
    if (!f->path)
        return ERR_NOMEM;
    TRY(text_read(fd, m->live ? TEXT_PUBLIC : TEXT_SECRET, &f->text));
    g->n_files++;
    return OK;
}

/* These keep |*fd|: they set it to -1 when it moved in. */
static enum err add_socket(struct generation *g, const struct proc_message *m, int *fd)
{
    struct generation_socket *sockets;

    if (*fd < 0 || g->live || m->loop >= g->threads || g->n_sockets == GENERATION_SOCKETS_MAX)
        return ERR_PROTO;
    sockets = array_grow(&g->mem, g->sockets, g->n_sockets, sizeof *sockets);
    if (!sockets)
        return ERR_NOMEM;
    g->sockets = sockets;
    const char *listener = arena_text(&g->mem, span_of(m->text));

    if (!listener)
        return ERR_NOMEM;
    sockets[g->n_sockets++] =
        (struct generation_socket){.listener = listener, .loop = m->loop, .fd = *fd};
    *fd = -1;
    return OK;
}

static enum err add_single(struct generation *g, int *slot, int *fd)
{
    if (*fd < 0 || g->live || *slot >= 0)
        return ERR_PROTO;
    *slot = *fd;
    *fd = -1;
    return OK;
}

static enum err add_workers(struct generation *g, const struct proc_message *m, int *fd)
{
    if (g->live || m->loop >= g->threads)
        return ERR_PROTO;
    TRY(add_single(g, &g->worker_fds[m->loop], fd));
    g->engines = arena_text(&g->mem, span_of(m->text));
    return g->engines ? OK : ERR_NOMEM;
}

static enum err add_end(struct generation *g, bool *ret_done)
{
    if (!g->config_file)
        return ERR_PROTO;
    g->state = GENERATION_COMPLETE;
    *ret_done = true;
    return OK;
}

static enum err add(struct generation *g, const struct proc_message *m, int *fd, bool *ret_done)
{
    if (m->kind != PROC_BEGIN && g->state != GENERATION_OPEN)
        return ERR_PROTO;
    switch (m->kind) {
    case PROC_BEGIN: return add_begin(g, m);
    case PROC_CONFIG: return add_config(g, m, *fd);
    case PROC_FILE: return add_file(g, m, *fd);
    case PROC_SOCKET: return add_socket(g, m, fd);
    case PROC_SPOOL: return add_single(g, &g->spool_fd, fd);
    case PROC_RECORDS: return add_single(g, &g->records_fd, fd);
    case PROC_CHAIN: return add_single(g, &g->chain_fd, fd);
    case PROC_EXCEPTIONS: return add_single(g, &g->exceptions_fd, fd);
    case PROC_STORE: return add_single(g, &g->store_fd, fd);
    case PROC_WORKERS: return add_workers(g, m, fd);
    case PROC_END: return add_end(g, ret_done);
    case PROC_CERTIFICATE:
    case PROC_FILES:
    case PROC_DRAIN:
    case PROC_READY:
    case PROC_FAILED:
    case PROC_DRAINED: break;
    }
    return ERR_PROTO;
}

enum err generation_add(struct generation *g, const struct proc_message *m, int fd, bool *ret_done)
{
    *ret_done = false;
    enum err e = add(g, m, &fd, ret_done);

    fd_close(&fd);
    return e;
}

struct span generation_file_text(const struct generation *g, const char *path)
{
    return file_text(g, 0, path);
}

struct span generation_tls_text(const struct generation *g, size_t i, const char *path)
{
    return file_text(g, 1 + (unsigned)i, path);
}
