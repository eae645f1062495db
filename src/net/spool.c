/* SPDX-License-Identifier: Apache-2.0 */
#include "net/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "net/spool_file.h"

#define PAGE 4096u

/* Small bodies stay in |mem|. The append that does not fit there makes |disk| and queues; the first
 * job then moves what |mem| holds, and |mem| goes. While both exist, |mem| is where readable bytes
 * are. */
struct spool {
    struct loop *loop;
    struct spool_settings set;
    enum err err; /* sticky */
    struct spool_store *mem, *disk;
    struct chain queue;    /* not in the file yet; a job's batch stays at its front until written */
    uint64_t len, written; /* appended; readable in a store */
    uint64_t bytes_n;      /* taken from set.bytes */
    bool finishing, dead;

    struct work work;
    struct spool_job job;
    bool busy; /* the job is in the pool */
    struct task tell;
    bool tell_queued, telling;

    void (*on_written)(void *arg);
    void *on_written_arg;
    bool written_due; /* on_written is due */
    void (*drained)(void *arg);
    void *drained_arg;
    void (*done)(void *arg, enum err err);
    void *done_arg;
};

static void tell_run(struct task *t);
static void tell_now(struct spool *s);
static void job_run(struct work *w);
static void job_done(struct work *w);

enum err spool_new(struct loop *l, const struct spool_settings *set, struct spool **ret)
{
    struct spool *s = mem_fail_now() ? NULL : calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    s->loop = l;
    s->set = *set;
    s->work = (struct work){.run = job_run, .done = job_done};
    s->tell.run = tell_run;
    chain_init(&s->queue, 0);
    *ret = s;
    return OK;
}

/* The store that holds the |written| bytes. */
static struct spool_store *readable(const struct spool *s)
{
    return s->mem ? s->mem : s->disk;
}

static void spool_destroy(struct spool *s)
{
    struct spool_store *keep = readable(s);
    uint64_t kept = 0;

    chain_done(&s->queue);
    if (keep) /* others may go on reading: what is there stays paid for until they are done */
        keep->bytes_n = kept = s->written;
    budget_give(s->set.bytes, s->bytes_n - kept);
    if (s->mem)
        file_unref(&s->mem->ref);
    if (s->disk)
        file_unref(&s->disk->ref);
    free(s);
}

void spool_free(struct spool *s)
{
    if (!s)
        return;
    assert(!s->dead);
    s->dead = true;
    if (!s->busy && !s->tell_queued && !s->telling)
        spool_destroy(s);
}

/* Bytes that nobody will write are dropped at once; a batch in the pool still needs its blocks. */
static enum err spool_fail(struct spool *s, enum err e)
{
    if (!s->err)
        s->err = e;
    if (!s->busy)
        chain_done(&s->queue);
    return s->err;
}

/* ---- the memfd ---- */

static enum err mem_open(struct spool *s)
{
    int error;

    if (s->mem)
        return OK;
    s->mem = spool_store_new(s->loop, s->set.bytes, s->set.memory);
    if (!s->mem)
        return ERR_NOMEM;
    error = spool_memfd(&s->mem->fd);
    s->mem->ref.fd = s->mem->fd;
    s->mem->ref.in_memory = true;
    return err_from_errno(error);
}

/* Where there is a disk, the last quarter of the memory is for bytes on their way: memfds that took
 * it, too, would keep everybody from reading the rest of a body, and so from ever giving it back.
 */
static bool memory_is_short(const struct spool *s)
{
    const struct budget *m = s->set.memory;
    uint64_t max = m ? atomic_load_explicit(&m->max, memory_order_relaxed) : 0;

    return s->set.dir_fd >= 0 && max && budget_used(m) > max / 4 * 3;
}

/* A memfd's memory comes in pages, so it is paid for in pages. */
static bool mem_charge(struct spool *s, uint64_t len)
{
    uint64_t pages = (len + PAGE - 1) / PAGE * PAGE;

    if (pages > s->mem->memory_n) {
        if (memory_is_short(s) || !budget_take(s->set.memory, pages - s->mem->memory_n))
            return false;
        s->mem->memory_n = pages;
    }
    return true;
}

static enum err mem_append(struct spool *s, struct slice bytes)
{
    struct span view = slice_span(bytes);
    struct iovec iov = {(void *)(uintptr_t)view.p, view.n}; /* pwritev only reads */

    TRY(err_from_errno(spool_write_all(s->mem->fd, &iov, 1, s->len)));
    s->written = s->len + bytes.len;
    return OK;
}

/* OK and *ret_fits: the memfd has taken |bytes|. OK and not: the file has to. */
static enum err mem_try(struct spool *s, struct slice bytes, bool *ret_fits)
{
    *ret_fits = false;
    if (s->disk)
        return OK;
    if (s->len + bytes.len > s->set.memory_max)
        return s->set.dir_fd >= 0 ? OK : ERR_LIMIT;
    TRY(mem_open(s));
    if (!mem_charge(s, s->len + bytes.len))
        return s->set.dir_fd >= 0 ? OK : ERR_NOMEM;
    *ret_fits = true;
    return mem_append(s, bytes);
}

/* ---- the file ---- */

static void job_run(struct work *w)
{
    spool_job_run(&CONTAINER_OF(w, struct spool, work)->job);
}

/* Hands the front of the queue to the pool, one batch at a time. */
static void disk_kick(struct spool *s)
{
    struct spool_job *j = &s->job;
    enum err e;

    if (s->busy || s->err || s->queue.len == 0)
        return;
    j->dir_fd = s->set.dir_fd;
    j->reserve = s->set.reserve;
    j->memfd = s->mem ? s->mem->fd : -1;
    j->memfd_n = s->mem ? s->written : 0;
    j->fd = s->disk->fd;
    j->read_fd = s->disk->ref.fd;
    j->off = s->written;
    j->n_iov = chain_iovec(&s->queue, j->iov, SPOOL_BATCH_IOV, SPOOL_BATCH_MAX, &j->n);
    e = loop_work(s->loop, &s->work);
    if (e)
        (void)spool_fail(s, e);
    else
        s->busy = true;
}

static enum err disk_append(struct spool *s, struct slice bytes)
{
    if (!s->disk)
        s->disk = spool_store_new(s->loop, s->set.bytes, NULL);
    if (!s->disk)
        return ERR_NOMEM;
    TRY(chain_append_slice(&s->queue, bytes));
    return OK;
}

static void job_done(struct work *w)
{
    struct spool *s = CONTAINER_OF(w, struct spool, work);
    struct spool_job *j = &s->job;

    s->busy = false;
    s->disk->fd = j->fd;
    s->disk->ref.fd = j->read_fd;
    if (!j->error) {
        s->written = j->off + j->n;
        chain_skip(&s->queue, j->n);
        if (s->mem)
            file_unref(&s->mem->ref);
        s->mem = NULL;
    }
    if (s->dead) {
        spool_destroy(s);
        return;
    }
    if (j->error)
        (void)spool_fail(s, err_from_errno(j->error));
    else if (s->err)
        chain_done(&s->queue); /* an append failed while this batch was in the pool */
    disk_kick(s);
    s->written_due = true;
    tell_now(s);
}

/* ---- what the owner sees ---- */

static enum err spool_add(struct spool *s, struct slice bytes)
{
    uint64_t max = s->set.file_max ? s->set.file_max : UINT64_MAX / 2;
    bool fits;

    if (bytes.len > max - s->len)
        return ERR_LIMIT;
    if (!budget_take(s->set.bytes, bytes.len))
        return ERR_FULL;
    s->bytes_n += bytes.len;
    TRY(mem_try(s, bytes, &fits));
    if (!fits)
        TRY(disk_append(s, bytes));
    s->len += bytes.len;
    return OK;
}

enum err spool_append(struct spool *s, struct slice bytes)
{
    enum err e;

    if (s->err)
        return s->err;
    if (s->finishing)
        return ERR_BUG;
    if (bytes.len == 0)
        return OK;
    e = spool_add(s, bytes);
    if (e)
        return spool_fail(s, e);
    disk_kick(s);
    return s->err;
}

uint64_t spool_len(const struct spool *s)
{
    return s->len;
}

uint64_t spool_written(const struct spool *s)
{
    return s->written;
}

void spool_on_written(struct spool *s, void (*fn)(void *arg), void *arg)
{
    s->on_written = fn;
    s->on_written_arg = arg;
}

static uint64_t waiting(const struct spool *s)
{
    return s->len - s->written;
}

bool spool_is_behind(struct spool *s, void (*drained)(void *arg), void *arg)
{
    if (s->err || waiting(s) <= s->set.queue_max)
        return false;
    s->drained = drained;
    s->drained_arg = arg;
    return true;
}

static bool is_complete(const struct spool *s)
{
    return s->finishing && (s->err || (waiting(s) == 0 && !s->busy));
}

/* Nobody holds a descriptor any more that could write. */
static enum err spool_protect(struct spool *s)
{
    if (!s->disk) {
        TRY(mem_open(s)); /* an empty body has a descriptor, too */
        return err_from_errno(spool_memfd_seal(s->mem->fd));
    }
    (void)close(s->disk->fd);
    s->disk->fd = -1;
    return OK;
}

/* Calls back what is due. Each callback may free the spool. */
static void tell_now(struct spool *s)
{
    void (*drained)(void *arg) = s->drained;
    void (*done)(void *arg, enum err err) = s->done;

    s->telling = true;
    if (!s->dead && s->on_written && s->written_due)
        s->on_written(s->on_written_arg);
    s->written_due = false;
    if (!s->dead && drained && (s->err || waiting(s) <= s->set.queue_max / 2)) {
        s->drained = NULL;
        drained(s->drained_arg);
    }
    if (!s->dead && done && is_complete(s)) {
        s->done = NULL;
        if (!s->err) {
            enum err e = spool_protect(s);

            if (e)
                (void)spool_fail(s, e);
        }
        done(s->done_arg, s->err);
    }
    s->telling = false;
    if (s->dead && !s->busy && !s->tell_queued)
        spool_destroy(s);
}

static void tell_run(struct task *t)
{
    struct spool *s = CONTAINER_OF(t, struct spool, tell);

    s->tell_queued = false;
    tell_now(s);
}

void spool_finish(struct spool *s, void (*done)(void *arg, enum err err), void *arg)
{
    assert(!s->finishing && done);
    s->finishing = true;
    s->done = done;
    s->done_arg = arg;
    if (!s->busy) {
        s->tell_queued = true;
        loop_defer(s->loop, &s->tell);
    }
}

int spool_open_readonly(struct spool *s)
{
    struct spool_store *store = readable(s);

    if (s->err || s->done || !s->finishing || !store) {
        errno = EINVAL;
        return -1;
    }
    if (lseek(store->ref.fd, 0, SEEK_SET) < 0)
        return -1;
    return fcntl(store->ref.fd, F_DUPFD_CLOEXEC, 3);
}

struct file_ref *spool_file(struct spool *s)
{
    struct spool_store *store = readable(s);

    return store && store->ref.fd >= 0 ? file_ref(&store->ref) : NULL;
}
