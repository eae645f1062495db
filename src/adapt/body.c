/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/body.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A slice keeps its whole block alive: below this a copy is cheaper than what a peer that dribbles
 * could make us hold. */
#define COPY_BELOW (BLOCK_SIZE / 4)
#define PAGE       4096u

struct body {
    struct body_settings set;
    struct chain mem;    /* bytes not taken yet, while there is no spool */
    struct spool *spool; /* everything from |spool_base| on, once memory was not enough */
    uint64_t spool_base; /* offset in the body of the spool's first byte */
    uint64_t len, taken;
    enum err err;
    EVP_MD_CTX *sha;
    struct block *gather;   /* small slices are copied in here; NULL: none yet */
    uint64_t file_memory_n; /* taken from the memory budget for memfds of ours */
    bool finished;          /* the spool was told that it is whole */
    body_file_fn file_done;
    void *file_arg;
    struct task later; /* tells |file_done| of a body that is in memory, or in a spool as a whole */
    bool later_queued;
    bool dead;
    bool behind;
};

static void later_run(struct task *t);

enum err body_new(const struct body_settings *s, struct body **ret)
{
    struct body *b = calloc(1, sizeof *b);

    if (!b)
        return ERR_NOMEM;
    b->set = *s;
    b->later.run = later_run;
    chain_init(&b->mem, 0);
    if (s->digest) {
        b->sha = EVP_MD_CTX_new();
        if (!b->sha || EVP_DigestInit_ex(b->sha, EVP_sha256(), NULL) != 1) {
            body_free(b);
            return ERR_NOMEM;
        }
    }
    *ret = b;
    return OK;
}

void body_free(struct body *b)
{
    if (!b)
        return;
    chain_done(&b->mem);
    spool_free(b->spool);
    b->spool = NULL;
    block_unref(b->gather);
    b->gather = NULL;
    budget_give(b->set.spool->memory, b->file_memory_n);
    EVP_MD_CTX_free(b->sha);
    b->sha = NULL;
    b->dead = true;
    if (!b->later_queued)
        free(b);
}

uint64_t body_len(const struct body *b)
{
    return b->len;
}

uint64_t body_taken(const struct body *b)
{
    return b->taken;
}

enum err body_error(const struct body *b)
{
    return b->err;
}

/* Bytes reached the disk, or were lost on the way: nobody may append any more, and so nobody would
 * hear of it. Appending nothing asks. */
static void body_written(void *arg)
{
    struct body *b = arg;

    if (!b->err && !b->file_done)
        b->err = spool_append(b->spool, (struct slice){0});
    b->set.progress(b->set.arg);
}

/* Moves what is in memory to the front of a new spool. */
static enum err body_spill(struct body *b)
{
    const struct segment *s;

    TRY(spool_new(b->set.loop, b->set.spool, &b->spool));
    b->spool_base = b->taken;
    spool_on_written(b->spool, body_written, b);
    while ((s = chain_first(&b->mem)) != NULL) {
        TRY(spool_append(b->spool, s->slice));
        chain_skip(&b->mem, s->slice.len);
    }
    return OK;
}

/* Three quarters of the memory of all connections are in use: bodies go to the disk at once. */
static bool memory_is_short(const struct body *b)
{
    const struct budget *m = b->set.spool->memory;
    uint64_t max = m ? atomic_load_explicit(&m->max, memory_order_relaxed) : 0;

    return max && budget_used(m) > max / 4 * 3;
}

static enum err body_store(struct body *b, struct slice s)
{
    if (!b->spool && b->mem.len + s.len <= b->set.memory_max && !memory_is_short(b))
        return chain_append_slice(&b->mem, s);
    if (!b->spool)
        TRY(body_spill(b));
    return spool_append(b->spool, s);
}

/* |s| itself or, when it is small, a copy behind the copies before it, so that they join. Without
 * memory for that the slice has to do. Borrowed. */
static struct slice body_compact(struct body *b, struct slice s)
{
    struct slice copy;

    if (s.len >= COPY_BELOW)
        return s;
    if (b->gather && s.len > BLOCK_SIZE - b->gather->used) {
        block_unref(b->gather);
        b->gather = NULL;
    }
    if (!b->gather)
        b->gather = block_new();
    if (!b->gather)
        return s;
    copy = (struct slice){b->gather, b->gather->used, s.len};
    memcpy(b->gather->data + copy.off, slice_span(s).p, s.len);
    b->gather->used += s.len;
    return copy;
}

enum err body_append(struct body *b, struct slice s)
{
    if (b->err || s.len == 0)
        return b->err;
    if (b->sha)
        (void)EVP_DigestUpdate(b->sha, slice_span(s).p, s.len);
    b->err = body_store(b, body_compact(b, s));
    if (b->err == OK)
        b->len += s.len;
    return b->err;
}

static void body_drained(void *arg)
{
    struct body *b = arg;

    b->behind = false;
    b->set.progress(b->set.arg);
}

bool body_is_behind(const struct body *b)
{
    /* The spool remembers whom to call: asking arms it, which changes nothing that a caller could
     * see. */
    struct body *self = (struct body *)(uintptr_t)b;

    if (b->spool && !b->behind)
        self->behind = spool_is_behind(b->spool, body_drained, self);
    return b->behind;
}

/* Everything that went through the spool is out again: back to memory, and the disk is free. */
static void body_unspool(struct body *b)
{
    if (b->spool && b->taken == b->len && !b->behind && !b->file_done) {
        spool_free(b->spool);
        b->spool = NULL;
    }
}

static bool take_file(struct body *b, uint64_t max, struct segment *ret)
{
    uint64_t off = b->taken - b->spool_base;
    uint64_t n = spool_written(b->spool) - off;
    struct file_ref *file;

    if (n == 0)
        return false;
    file = spool_file(b->spool);
    if (!file)
        return false;
    if (n > max)
        n = max;
    *ret = (struct segment){
        .kind = SEGMENT_FILE, .file = {file, off, n}
    };
    b->taken += n;
    body_unspool(b);
    return true;
}

static bool take_memory(struct body *b, uint64_t max, struct segment *ret)
{
    const struct segment *s = chain_first(&b->mem);
    uint32_t n;

    if (!s)
        return false;
    n = s->slice.len < max ? s->slice.len : (uint32_t)max;
    *ret = (struct segment){.kind = SEGMENT_SLICE, .slice = slice_sub(s->slice, 0, n)};
    (void)block_ref(ret->slice.block);
    chain_skip(&b->mem, n);
    b->taken += n;
    return true;
}

bool body_take(struct body *b, uint64_t max, struct segment *ret)
{
    return b->spool ? take_file(b, max, ret) : take_memory(b, max, ret);
}

/* ---- the whole body as a file ---- */

static void file_tell(struct body *b, int fd, enum err err)
{
    body_file_fn done = b->file_done;

    b->file_done = NULL;
    done(b->file_arg, fd, err);
}

static void file_tell_spool(struct body *b)
{
    int fd = b->err ? -1 : spool_open_readonly(b->spool);

    if (!b->err && fd < 0)
        b->err = err_from_errno(errno);
    file_tell(b, fd, b->err);
}

static void spool_finished(void *arg, enum err err)
{
    struct body *b = arg;

    if (err)
        b->err = err;
    file_tell_spool(b);
}

/* Memory segments to |fd|; the chain stays as it is, since the body may have to be handed back. */
static enum err chain_write_all(const struct chain *c, int fd)
{
    off_t at = 0; /* the descriptor's own offset stays at the front, for who reads it */

    for (uint32_t i = 0; i < c->n; i++) {
        struct span s = slice_span(chain_at(c, i)->slice);

        while (s.n) {
            ssize_t n = pwrite(fd, s.p, s.n, at);

            if (n < 0)
                return err_from_errno(errno);
            at += n;
            s = span_sub(s, (size_t)n, SIZE_MAX);
        }
    }
    return OK;
}

/* A sealed memfd: whoever gets it can neither change nor shrink it. */
static enum err memory_file(const struct chain *c, int *ret_fd)
{
    int fd = memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    enum err e;

    if (fd < 0)
        return err_from_errno(errno);
    e = chain_write_all(c, fd);
    if (e == OK &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        e = err_from_errno(errno);
    if (e) {
        (void)close(fd);
        return e;
    }
    *ret_fd = fd;
    return OK;
}

static uint64_t file_pages(const struct body *b)
{
    return (b->len + PAGE - 1) / PAGE * PAGE;
}

static void file_tell_memory(struct body *b)
{
    int fd = -1;
    enum err e = memory_file(&b->mem, &fd);

    if (e) { /* there is no copy that would have to be paid for */
        budget_give(b->set.spool->memory, file_pages(b));
        b->file_memory_n -= file_pages(b);
    }
    file_tell(b, fd, e);
}

static void later_run(struct task *t)
{
    struct body *b = CONTAINER_OF(t, struct body, later);

    b->later_queued = false;
    if (b->dead)
        free(b);
    else if (b->err || b->spool)
        file_tell_spool(b);
    else
        file_tell_memory(b);
}

/* Each copy in a memfd is memory, too, until the body goes. When there is none left the spool,
 * which has a file, takes it all. */
static void file_charge(struct body *b)
{
    if (b->spool || b->err)
        return;
    if (budget_take(b->set.spool->memory, file_pages(b)))
        b->file_memory_n += file_pages(b);
    else
        b->err = body_spill(b);
}

void body_file(struct body *b, body_file_fn done, void *arg)
{
    assert(b->taken == 0 && !b->file_done);
    b->file_done = done;
    b->file_arg = arg;
    file_charge(b);
    if (b->spool && !b->err && !b->finished) {
        b->finished = true;
        spool_finish(b->spool, spool_finished, b);
        return;
    }
    b->later_queued = true;
    loop_defer(b->set.loop, &b->later);
}

void body_sha256(struct body *b, char ret[BODY_SHA256_HEX + 1])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    ret[0] = '\0';
    if (!b->sha || EVP_DigestFinal_ex(b->sha, sum, &n) != 1)
        return;
    for (unsigned i = 0; i < n && i < BODY_SHA256_HEX / 2; i++) {
        ret[2 * i] = hex[sum[i] >> 4];
        ret[2 * i + 1] = hex[sum[i] & 15];
    }
    ret[BODY_SHA256_HEX] = '\0';
}
