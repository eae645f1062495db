/* SPDX-License-Identifier: Apache-2.0 */
#include "base/chain.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/arena.h"

#define CHAIN_FIRST_CAP 8u

struct file_ref *file_ref(struct file_ref *f)
{
    assert(f->refs > 0);
    f->refs++;
    return f;
}

void file_unref(struct file_ref *f)
{
    if (!f)
        return;
    assert(f->refs > 0);
    if (--f->refs == 0)
        f->release(f);
}

void chain_init(struct chain *c, uint64_t max)
{
    *c = (struct chain){.max = max};
}

uint64_t segment_len(const struct segment *s)
{
    switch (s->kind) {
    case SEGMENT_SLICE: return s->slice.len;
    case SEGMENT_TEXT: return s->text.n;
    case SEGMENT_FILE: return s->file.len;
    }
    return 0;
}

static void segment_drop(struct segment *s)
{
    if (s->kind == SEGMENT_SLICE)
        block_unref(s->slice.block);
    else if (s->kind == SEGMENT_FILE)
        file_unref(s->file.ref);
}

static struct segment *seg(const struct chain *c, uint32_t i)
{
    return &c->segs[(c->first + i) % c->cap];
}

const struct segment *chain_at(const struct chain *c, uint32_t i)
{
    return i < c->n ? seg(c, i) : NULL;
}

const struct segment *chain_first(const struct chain *c)
{
    return chain_at(c, 0);
}

void chain_done(struct chain *c)
{
    for (uint32_t i = 0; i < c->n; i++)
        segment_drop(seg(c, i));
    free(c->segs);
    *c = (struct chain){.max = c->max};
}

/* Room for |more| segments; the ring is laid out from 0 again when it grows. */
static enum err chain_reserve(struct chain *c, uint32_t more)
{
    uint32_t need = c->n + more;
    uint32_t cap = c->cap ? c->cap : CHAIN_FIRST_CAP;

    if (need <= c->cap)
        return OK;
    while (cap < need)
        cap *= 2;
    struct segment *segs = mem_fail_now() ? NULL : malloc(cap * sizeof *segs);

    if (!segs)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < c->n; i++)
        segs[i] = *seg(c, i);
    free(c->segs);
    c->segs = segs;
    c->cap = cap;
    c->first = 0;
    return OK;
}

static bool chain_has_room(const struct chain *c, uint64_t n)
{
    return c->max == 0 || (c->memory_len <= c->max && n <= c->max - c->memory_len);
}

/* The last segment, when it is a slice that ends exactly where |s| begins. */
static struct segment *chain_joinable(const struct chain *c, struct slice s)
{
    struct segment *last = c->n ? seg(c, c->n - 1) : NULL;

    if (!last || last->kind != SEGMENT_SLICE || last->slice.block != s.block)
        return NULL;
    return last->slice.off + last->slice.len == s.off ? last : NULL;
}

enum err chain_append_slice(struct chain *c, struct slice s)
{
    struct segment *last;

    if (s.len == 0)
        return OK;
    if (!chain_has_room(c, s.len))
        return ERR_LIMIT;
    last = chain_joinable(c, s);
    if (last) {
        last->slice.len += s.len;
    } else {
        TRY(chain_reserve(c, 1));
        *seg(c, c->n++) = (struct segment){.kind = SEGMENT_SLICE, .slice = s};
        (void)block_ref(s.block);
    }
    c->len += s.len;
    c->memory_len += s.len;
    return OK;
}

/* The block at the end, when the chain alone fills it: nobody else's bytes can follow. */
static struct block *chain_tail_block(const struct chain *c)
{
    struct segment *last = c->n ? seg(c, c->n - 1) : NULL;

    if (!last || last->kind != SEGMENT_SLICE)
        return NULL;
    struct block *b = last->slice.block;

    return b->refs == 1 && b->used == last->slice.off + last->slice.len && b->used < BLOCK_SIZE
               ? b
               : NULL;
}

static enum err chain_copy_some(struct chain *c, struct span *bytes)
{
    struct block *tail = chain_tail_block(c);
    struct block *b = tail ? tail : block_new();

    if (!b)
        return ERR_NOMEM;
    uint32_t room = BLOCK_SIZE - b->used;
    uint32_t n = bytes->n < room ? (uint32_t)bytes->n : room;
    enum err e = chain_append_slice(c, (struct slice){b, b->used, n});

    if (e == OK) {
        memcpy(b->data + b->used, bytes->p, n);
        b->used += n;
        *bytes = span_sub(*bytes, n, SIZE_MAX);
    }
    if (!tail)
        block_unref(b);
    return e;
}

/* Takes the last |n| bytes away again: the undo of a copy that failed half way. */
static void chain_cut_tail(struct chain *c, uint64_t n)
{
    while (n > 0) {
        struct segment *last = seg(c, c->n - 1);
        uint32_t cut = n < last->slice.len ? (uint32_t)n : last->slice.len;

        last->slice.len -= cut;
        last->slice.block->used -= cut;
        c->len -= cut;
        c->memory_len -= cut;
        n -= cut;
        if (last->slice.len == 0) {
            segment_drop(last);
            c->n--;
        }
    }
}

enum err chain_append_copy(struct chain *c, struct span bytes)
{
    size_t total = bytes.n;

    if (!chain_has_room(c, bytes.n))
        return ERR_LIMIT;
    while (bytes.n) {
        enum err e = chain_copy_some(c, &bytes);

        if (e) {
            chain_cut_tail(c, total - bytes.n);
            return e;
        }
    }
    return OK;
}

enum err chain_append_text(struct chain *c, struct span text)
{
    if (text.n == 0)
        return OK;
    TRY(chain_reserve(c, 1));
    *seg(c, c->n++) = (struct segment){.kind = SEGMENT_TEXT, .text = text};
    c->len += text.n;
    return OK;
}

enum err chain_append_file(struct chain *c, struct file_ref *f, uint64_t off, uint64_t len)
{
    if (len == 0)
        return OK;
    TRY(chain_reserve(c, 1));
    *seg(c, c->n++) = (struct segment){
        .kind = SEGMENT_FILE, .file = {file_ref(f), off, len}
    };
    c->len += len;
    return OK;
}

enum err chain_move(struct chain *to, struct chain *from)
{
    if (!chain_has_room(to, from->memory_len))
        return ERR_LIMIT;
    TRY(chain_reserve(to, from->n));
    for (uint32_t i = 0; i < from->n; i++)
        *seg(to, to->n++) = *seg(from, i);
    to->len += from->len;
    to->memory_len += from->memory_len;
    from->n = 0;
    from->len = 0;
    from->memory_len = 0;
    return OK;
}

static void segment_skip(struct chain *c, struct segment *s, uint64_t n)
{
    switch (s->kind) {
    case SEGMENT_SLICE:
        s->slice.off += (uint32_t)n;
        s->slice.len -= (uint32_t)n;
        c->memory_len -= n;
        break;
    case SEGMENT_TEXT:
        s->text.p += n;
        s->text.n -= n;
        break;
    case SEGMENT_FILE:
        s->file.off += n;
        s->file.len -= n;
        break;
    }
    c->len -= n;
}

void chain_skip(struct chain *c, uint64_t n)
{
    assert(n <= c->len);
    while (n > 0) {
        struct segment *s = seg(c, 0);
        uint64_t len = segment_len(s);
        uint64_t cut = n < len ? n : len;

        segment_skip(c, s, cut);
        n -= cut;
        if (cut < len)
            break;
        segment_drop(s);
        c->first = (c->first + 1) % c->cap;
        c->n--;
    }
}

enum err chain_load_first(struct chain *c, struct slice *loaded, uint32_t n_loaded, uint64_t done)
{
    const struct segment *s = chain_first(c);

    assert(s && s->kind == SEGMENT_FILE && done <= s->file.len);
    uint64_t len = s->file.len;

    TRY(chain_reserve(c, n_loaded));
    segment_skip(c, seg(c, 0), done);
    if (done == len) {
        segment_drop(seg(c, 0));
        c->first = (c->first + 1) % c->cap;
        c->n--;
    }
    for (uint32_t i = n_loaded; i > 0; i--) {
        c->first = (c->first + c->cap - 1) % c->cap;
        c->n++;
        *seg(c, 0) = (struct segment){.kind = SEGMENT_SLICE, .slice = loaded[i - 1]};
        c->len += loaded[i - 1].len;
        c->memory_len += loaded[i - 1].len;
    }
    return OK;
}

uint32_t chain_iovec(const struct chain *c, struct iovec *iov, uint32_t max, size_t max_bytes,
                     size_t *ret_bytes)
{
    uint32_t n = 0;
    size_t bytes = 0;

    for (uint32_t i = 0; i < c->n && n < max && bytes < max_bytes; i++) {
        const struct segment *s = seg(c, i);
        struct span view;

        if (s->kind == SEGMENT_FILE)
            break;
        view = s->kind == SEGMENT_SLICE ? slice_span(s->slice) : s->text;
        if (view.n > max_bytes - bytes)
            view.n = max_bytes - bytes;
        /* iovec has no const; writev only reads. */
        iov[n++] = (struct iovec){(void *)(uintptr_t)view.p, view.n};
        bytes += view.n;
    }
    *ret_bytes = bytes;
    return n;
}
