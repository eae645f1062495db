/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "config/config_int.h"

#define READ_SIZE 65536u

static enum err text_load(struct span text, const struct config_block *block,
                          struct config_report *r, void *ret)
{
    const struct config_node *root = NULL;

    TRY(config_tree_parse(r, text, &root));
    if (root && config_node_is_empty(root))
        root = NULL;
    if (root && root->kind != CONFIG_NODE_MAPPING) {
        if (!root->skip)
            config_complain(r, root, "the file must be a mapping of keys to values, got %s",
                            config_got(r, root));
        return ERR_CONFIG;
    }
    return config_root_read(r, block, root, ret);
}

static enum err file_name(struct config_report *r, const char *file)
{
    const char *copy = arena_text(&r->mem, span_of(file));

    if (!copy)
        return ERR_NOMEM;
    r->file = copy;
    return OK;
}

enum err config_load_text(struct span text, const char *file, const struct config_block *block,
                          struct arena *mem, struct config_report *r, void *ret)
{
    size_t before = r->n_errors;
    enum err e;

    memset(ret, 0, block->size);
    r->out = mem;
    e = file_name(r, file);
    if (e == OK)
        e = text_load(text, block, r, ret);
    r->out = NULL;
    if (e == OK && r->n_errors > before)
        e = ERR_CONFIG;
    if (e != OK)
        memset(ret, 0, block->size);
    return e;
}

/* One byte more than the limit is enough to know that the file is too large. */
static enum err file_read(int fd, struct buf *b)
{
    while (b->n <= CONFIG_TEXT_MAX) {
        char *room = buf_reserve(b, READ_SIZE);
        ssize_t n;

        if (!room)
            return b->err;
        n = read(fd, room, READ_SIZE);
        if (n == 0)
            return OK;
        if (n > 0)
            b->n += (size_t)n;
        else if (errno != EINTR)
            return ERR_IO;
    }
    return OK;
}

enum err config_load_file(const char *path, const struct config_block *block, struct arena *mem,
                          struct config_report *r, void *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    enum err e = ERR_IO;
    struct buf text;

    memset(ret, 0, block->size);
    buf_init(&text, 0);
    if (fd >= 0)
        e = file_read(fd, &text);
    if (e == ERR_IO) {
        const char *why = strerrordesc_np(errno);

        e = file_name(r, path);
        config_complain(r, NULL, "the file cannot be read: %s", why ? why : "unknown error");
        if (e == OK)
            e = ERR_CONFIG;
    } else if (e == OK) {
        e = config_load_text(buf_span(&text), path, block, mem, r, ret);
    }
    if (fd >= 0)
        (void)close(fd);
    buf_done(&text);
    return e;
}
