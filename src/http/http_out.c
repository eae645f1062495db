/* SPDX-License-Identifier: Apache-2.0 */
#include "http/http_out.h"

#include <assert.h>
#include <string.h>

void http_out_init(struct http_out *o)
{
    chain_init(&o->chain, 0);
    o->frame = NULL;
}

static void drop_frame(struct http_out *o)
{
    block_unref(o->frame);
    o->frame = NULL;
}

void http_out_done(struct http_out *o)
{
    chain_done(&o->chain);
    drop_frame(o);
}

void http_out_rest(struct http_out *o)
{
    if (o->chain.len)
        return;
    chain_done(&o->chain);
    drop_frame(o);
}

void http_out_sent(struct http_out *o, uint64_t n)
{
    chain_skip(&o->chain, n);
    /* Only ours again: from the front, while it is in the cache. */
    if (o->chain.len == 0 && o->frame && o->frame->refs == 1)
        o->frame->used = 0;
}

static struct segment *last_segment(struct chain *c)
{
    return &c->segs[(c->first + c->n - 1) % c->cap];
}

static void shorten(struct http_out *o, struct segment *s, uint64_t cut)
{
    switch (s->kind) {
    case SEGMENT_SLICE:
        s->slice.len -= (uint32_t)cut;
        o->chain.memory_len -= cut;
        if (s->slice.block == o->frame)
            o->frame->used -= (uint32_t)cut;
        break;
    case SEGMENT_TEXT: s->text.n -= cut; break;
    case SEGMENT_FILE: s->file.len -= cut; break;
    }
    o->chain.len -= cut;
}

void http_out_cut(struct http_out *o, uint64_t len)
{
    struct chain *c = &o->chain;

    while (c->len > len) {
        struct segment *s = last_segment(c);
        uint64_t have = segment_len(s);
        uint64_t cut = c->len - len < have ? c->len - len : have;

        shorten(o, s, cut);
        if (cut < have)
            break;
        if (s->kind == SEGMENT_SLICE)
            block_unref(s->slice.block);
        else if (s->kind == SEGMENT_FILE)
            file_unref(s->file.ref);
        c->n--;
    }
}

char *http_out_reserve(struct http_out *o, size_t n)
{
    assert(n <= BLOCK_SIZE);
    if (o->frame && n > BLOCK_SIZE - o->frame->used)
        drop_frame(o);
    if (!o->frame)
        o->frame = block_new_text();
    return o->frame ? (char *)o->frame->data + o->frame->used : NULL;
}

enum err http_out_commit(struct http_out *o, size_t n)
{
    struct block *b = o->frame;

    assert(n <= BLOCK_SIZE - b->used);
    TRY(chain_append_slice(&o->chain, (struct slice){b, b->used, (uint32_t)n}));
    b->used += (uint32_t)n;
    return OK;
}

/* Copies as much of |s| as fits into the frame block. */
static enum err copy_some(struct http_out *o, struct span *s)
{
    char *room = http_out_reserve(o, 1);
    size_t n;

    if (!room)
        return ERR_NOMEM;
    n = s->n < BLOCK_SIZE - o->frame->used ? s->n : BLOCK_SIZE - o->frame->used;
    memcpy(room, s->p, n);
    TRY(http_out_commit(o, n));
    *s = span_sub(*s, n, SIZE_MAX);
    return OK;
}

enum err http_out_copy(struct http_out *o, struct span s)
{
    uint64_t before = o->chain.len;

    while (s.n) {
        enum err e = copy_some(o, &s);

        if (e) {
            http_out_cut(o, before);
            return e;
        }
    }
    return OK;
}

static enum err copy_size(struct http_out *o, uint64_t size)
{
    char line[CHUNK_SIZE_LINE_MAX];

    return http_out_copy(o, (struct span){line, chunk_size_line(size, line)});
}

/* Undoes to |before| when |e| is an error. */
static enum err all_or_nothing(struct http_out *o, uint64_t before, enum err e)
{
    if (e)
        http_out_cut(o, before);
    return e;
}

static enum err append_chunk_copy(struct http_out *o, struct span bytes)
{
    TRY(copy_size(o, bytes.n));
    TRY(http_out_copy(o, bytes));
    return http_out_copy(o, SPAN("\r\n"));
}

enum err http_out_chunk_copy(struct http_out *o, struct span bytes)
{
    if (bytes.n == 0)
        return OK;
    uint64_t before = o->chain.len;
    enum err e = append_chunk_copy(o, bytes);

    return all_or_nothing(o, before, e);
}

static enum err append_chunk_slice(struct http_out *o, struct slice s)
{
    TRY(copy_size(o, s.len));
    TRY(chain_append_slice(&o->chain, s));
    return http_out_copy(o, SPAN("\r\n"));
}

enum err http_out_chunk_slice(struct http_out *o, struct slice s)
{
    if (s.len <= HTTP_OUT_COPY_MAX)
        return http_out_chunk_copy(o, slice_span(s));
    uint64_t before = o->chain.len;
    enum err e = append_chunk_slice(o, s);

    return all_or_nothing(o, before, e);
}

static enum err append_chunk_file(struct http_out *o, struct file_ref *f, uint64_t off,
                                  uint64_t len)
{
    while (len) {
        uint64_t n = len < HTTP_OUT_FILE_CHUNK ? len : HTTP_OUT_FILE_CHUNK;

        TRY(copy_size(o, n));
        TRY(chain_append_file(&o->chain, f, off, n));
        TRY(http_out_copy(o, SPAN("\r\n")));
        off += n;
        len -= n;
    }
    return OK;
}

enum err http_out_chunk_file(struct http_out *o, struct file_ref *f, uint64_t off, uint64_t len)
{
    uint64_t before = o->chain.len;
    enum err e = append_chunk_file(o, f, off, len);

    return all_or_nothing(o, before, e);
}
