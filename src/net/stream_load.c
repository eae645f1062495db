/* SPDX-License-Identifier: Apache-2.0 */
/* stream_load.c - file ranges on their way out: read in the thread pool, because a read of a file
 * blocks, into blocks that belong to the job. Stream and chain may go away meanwhile. Files that
 * are in memory are read at once, but for every eighth piece, which gives others their turn. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "net/stream_int.h"

#define LOAD_BLOCKS 4u
#define AT_ONCE_MAX 7u

struct stream_load {
    struct work work;
    struct stream *stream; /* NULL: it has gone */
    struct file_ref *file;
    uint64_t off;
    size_t len;
    struct block *blocks[LOAD_BLOCKS];
    struct iovec iov[LOAD_BLOCKS]; /* of |blocks| */
    int fd;                        /* |file|'s, which belongs to the loop's thread */
    unsigned n;
    bool done;
    ssize_t got; /* -errno, or bytes */
};

bool stream_is_loading(const struct stream *s)
{
    return s->load && !s->load->done;
}

static void load_free(struct stream_load *j)
{
    for (unsigned i = 0; i < j->n; i++)
        block_unref(j->blocks[i]);
    file_unref(j->file);
    free(j);
}

static void load_run(struct work *w)
{
    struct stream_load *j = CONTAINER_OF(w, struct stream_load, work);

    do
        j->got = preadv(j->fd, j->iov, (int)j->n, (off_t)j->off);
    while (j->got < 0 && errno == EINTR);
    if (j->got < 0)
        j->got = -errno;
}

static void load_done(struct work *w)
{
    struct stream_load *j = CONTAINER_OF(w, struct stream_load, work);
    struct stream *s = j->stream;

    j->done = true;
    if (!s)
        load_free(j);
    else
        stream_deliver(s, STREAM_WRITABLE & s->armed);
}

void stream_load_drop(struct stream *s)
{
    struct stream_load *j = s->load;

    s->load = NULL;
    if (!j)
        return;
    j->stream = NULL;
    if (j->done)
        load_free(j);
}

static struct stream_load *load_new(const struct segment *seg)
{
    struct stream_load *j = calloc(1, sizeof *j);
    uint64_t left = seg->file.len;

    if (!j)
        return NULL;
    j->work.run = load_run;
    j->work.done = load_done;
    j->off = seg->file.off;
    j->file = file_ref(seg->file.ref);
    j->fd = j->file->fd;
    while (left > 0 && j->n < LOAD_BLOCKS && (j->blocks[j->n] = block_new()) != NULL) {
        size_t n = left < BLOCK_SIZE ? (size_t)left : BLOCK_SIZE;

        j->iov[j->n] = (struct iovec){j->blocks[j->n]->data, n};
        j->n++;
        j->len += n;
        left -= n;
    }
    if (j->n > 0)
        return j;
    load_free(j);
    return NULL;
}

static enum err load_start(struct stream *s, const struct segment *seg)
{
    struct stream_load *j = load_new(seg);
    enum err e = OK;

    if (!j)
        return ERR_NOMEM;
    j->done = j->file->in_memory && s->loads < AT_ONCE_MAX;
    s->loads = j->done ? s->loads + 1 : 0;
    if (j->done)
        load_run(&j->work);
    else
        e = loop_work(s->loop, &j->work);
    if (e) {
        load_free(j);
        return e;
    }
    j->stream = s;
    s->load = j;
    return OK;
}

/* Moves the blocks into |c| in place of the range that they were read from. */
static enum err load_take(struct stream *s, struct chain *c)
{
    struct stream_load *j = s->load;
    struct slice loaded[LOAD_BLOCKS];
    uint64_t left, bytes = 0;
    uint32_t n = 0;

    if (j->got <= 0)
        return j->got == 0 ? stream_fail_out(s, ERR_IO, "a spooled file is shorter than it was")
                           : stream_fail_out(s, ERR_IO, "a spooled file cannot be read");
    left = (uint64_t)j->got;
    while (left > 0 && n < j->n) {
        struct block *b = j->blocks[n];

        b->used = left < BLOCK_SIZE ? (uint32_t)left : BLOCK_SIZE;
        loaded[n++] = (struct slice){b, 0, b->used};
        bytes += b->used;
        left -= b->used;
    }
    TRY(chain_load_first(c, loaded, n, bytes));
    for (uint32_t i = 0; i < n; i++)
        j->blocks[i] = NULL; /* moved */
    stream_load_drop(s);
    return OK;
}

enum err stream_load_first(struct stream *s, struct chain *c)
{
    const struct segment *seg = chain_first(c);
    struct stream_load *j = s->load;

    assert(seg && seg->kind == SEGMENT_FILE);
    if (j && (j->file != seg->file.ref || j->off != seg->file.off || j->len > seg->file.len)) {
        stream_load_drop(s); /* the chain is not what it was */
        j = NULL;
    }
    if (!j)
        TRY(load_start(s, seg));
    return s->load->done ? load_take(s, c) : ERR_AGAIN;
}
