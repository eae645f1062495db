/* SPDX-License-Identifier: Apache-2.0 */
/* http/chunk.h. Byte 0: step of the split, bare trailers. Properties: split = whole; format after
 * parse gives the same data; limits hold. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/chunk.h"

static const struct chunk_limits limits = {
    .line_max = 100, .trailer_max = 300, .trailers_max = 8, .overhead_max = 1000};

struct result {
    enum err err; /* ERR_AGAIN: not over */
    struct buf data, trailers;
    size_t used;
    bool ieof;
    uint64_t original;
};

static void feed(struct chunk_decoder *d, struct result *r, struct span in)
{
    while (r->err == ERR_AGAIN) {
        struct chunk_event ev;
        struct fault f = {0};
        size_t used = 0;

        r->err = chunk_next(d, &limits, in, &used, &ev, &f);
        if (r->err) {
            assert(f.err == r->err && f.why);
            return;
        }
        r->err = ERR_AGAIN;
        assert(used <= in.n);
        in = span_sub(in, used, SIZE_MAX);
        r->used += used;
        if (ev.kind == CHUNK_NEED) {
            assert(in.n == 0);
            return;
        }
        if (ev.kind == CHUNK_DATA)
            buf_add(&r->data, ev.data);
        if (ev.kind == CHUNK_LAST) {
            r->ieof = ev.ieof;
            r->original = ev.use_original;
        }
        if (ev.kind == CHUNK_END)
            r->err = OK;
    }
}

static struct result run(struct span in, size_t step, bool trailers)
{
    struct result r = {.err = ERR_AGAIN};
    struct chunk_decoder d;

    if (trailers)
        chunk_decoder_init_trailers(&d);
    else
        chunk_decoder_init(&d);
    for (size_t at = 0; at < in.n && r.err == ERR_AGAIN; at += step)
        feed(&d, &r, span_sub(in, at, step));
    buf_add(&r.trailers, chunk_trailers(&d));
    assert(r.trailers.n <= limits.trailer_max);
    chunk_decoder_done(&d);
    return r;
}

static void result_done(struct result *r)
{
    buf_done(&r->data);
    buf_done(&r->trailers);
}

/* What was read, written again, reads the same. */
static void check_format(const struct result *r)
{
    struct buf b;
    char line[CHUNK_SIZE_LINE_MAX];
    struct result again;

    buf_init(&b, 0);
    if (r->data.n) {
        buf_add(&b, (struct span){line, chunk_size_line(r->data.n, line)});
        buf_add(&b, buf_span(&r->data));
        buf_text(&b, "\r\n");
    }
    buf_text(&b, r->ieof ? "0; ieof\r\n" : "0\r\n");
    buf_add(&b, buf_span(&r->trailers));
    buf_text(&b, "\r\n");
    again = run(buf_span(&b), b.n, false);
    assert(again.err == OK && again.ieof == r->ieof && again.used == b.n);
    assert(span_eq(buf_span(&again.data), buf_span(&r->data)));
    assert(span_eq(buf_span(&again.trailers), buf_span(&r->trailers)));
    result_done(&again);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in;
    struct result whole, cut;

    if (size < 2)
        return 0;
    in = (struct span){(const char *)data + 1, size - 1};
    whole = run(in, in.n, data[0] & 1);
    cut = run(in, 1 + data[0] / 2u % 32, data[0] & 1);
    assert(whole.err == cut.err && whole.ieof == cut.ieof && whole.original == cut.original);
    assert(span_eq(buf_span(&whole.data), buf_span(&cut.data)));
    assert(span_eq(buf_span(&whole.trailers), buf_span(&cut.trailers)));
    if (whole.err == OK) {
        assert(whole.used == cut.used);
        check_format(&whole);
    }
    result_done(&whole);
    result_done(&cut);
    return 0;
}
